"""A training epoch with its data (base 16, 128x128) against the bare step on tensors that lie ready.

Aim: 95 % of the speed of the bare step.
"""

import numpy as np
import torch
from common import interleave, phantom, ratio, show

from labkit import store
from labkit.hardware import device_of
from labkit.training import Trainee, train_epoch


def main() -> None:
    rows = []
    for batch in (8, 16):
        knobs = phantom(batch=batch)
        pack, device = store.load(knobs), device_of(knobs)
        state, chosen = Trainee(knobs, device), pack.rows("Train")
        images = torch.rand(batch, 1, knobs.size, knobs.size)
        masks = (images < 0.3).float()

        def bare():
            state.network.train()
            for _ in range(len(chosen) // batch):
                state.step(images, masks)

        seconds = interleave({"epoch": lambda: train_epoch(state, pack, chosen, 1), "bare": bare}, rounds=9)
        films = len(chosen)
        rows.append(
            [
                batch,
                f"{films / np.median(seconds['epoch']):.1f}",
                f"{films / np.median(seconds['bare']):.1f}",
                ratio(seconds["bare"], seconds["epoch"]),
            ]
        )
    show(["batch", "epoch, films/s", "bare step, films/s", "epoch's speed over the step's"], rows)


if __name__ == "__main__":
    main()
