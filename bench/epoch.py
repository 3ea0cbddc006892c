"""A training epoch with its data (base 16, 128x128) against the bare step on tensors that lie ready.

Aim: 95 % of the speed of the bare step.
"""

import torch
from common import interleave, phantom, rates, show

from labkit import store
from labkit.hardware import set_up_device
from labkit.training import Trainee, train_epoch


def main() -> None:
    rows = []
    for batch in (8, 16):
        knobs = phantom(batch=batch)
        pack, device = store.load(knobs), set_up_device(knobs)
        state, chosen = Trainee(knobs, device), pack.rows("Train")
        images = torch.rand(batch, 1, knobs.size, knobs.size)
        masks = (images < 0.3).float()

        def bare():
            state.network.train()
            for _ in range(len(chosen) // batch):
                state.step(images, masks)

        seconds = interleave({"epoch": lambda: train_epoch(state, pack, chosen, 1), "bare": bare}, rounds=9)
        rows.append([batch, *rates(len(chosen), seconds["epoch"], seconds["bare"])])
    show(["batch", "epoch, films/s", "bare step, films/s", "epoch's speed over the step's"], rows)


if __name__ == "__main__":
    main()
