"""Scoring a split, all metrics included, against an eager float32 loop that only finds each film's IoU, Dice and MAE.

The networks are trained for a moment first, for the outlines of noise are longer than those of masks. The scores of the two
are then compared on the same films.

Aim: 3 times, and scores within 1e-3.
"""

import numpy as np
import torch
from common import interleave, phantom, ratio, show

from labkit import evaluation, metrics, scoring, store
from labkit.hardware import device_of
from labkit.training import Trainee, train_epoch


def main() -> None:
    rows = []
    for base, size, films, epochs in ((16, 128, 240, 3), (64, 256, 24, 1)):
        knobs = phantom(base=base, size=size, batch=8)
        pack, device = store.load(knobs), device_of(knobs)
        state = Trainee(knobs, device)
        for epoch in range(epochs):
            train_epoch(state, pack, pack.rows("Train")[: films if base == 64 else None], epoch)
        chosen = np.arange(films)
        plain = phantom(base=base, size=size, batch=8, precision="fp32")
        network = Trainee(plain, device).network
        network.load_state_dict(state.network.state_dict())
        network = network.to(memory_format=torch.contiguous_format).eval()

        @torch.inference_mode()
        def plain_loop():
            scores = []
            for images, masks in scoring.batches(pack, chosen, 8, device):
                logits = network(images)
                inside, predicted = masks.flatten(1) > 0, logits.flatten(1) > 0
                both, either = (inside & predicted).sum(1), (inside | predicted).sum(1)
                error = (logits.sigmoid() - masks).abs().flatten(1).mean(1)
                scores.append(torch.stack([both / either, 2 * both / (inside.sum(1) + predicted.sum(1)), error]))
            return torch.cat(scores, 1)

        seconds = interleave(
            {
                "ours": lambda: evaluation.score_all(state.network, pack, chosen, knobs, device),
                "plain": plain_loop,
            },
            rounds=3,
        )
        ours = metrics.film_scores(evaluation.score_all(state.network, pack, chosen, knobs, device)[0])
        iou, _, mae = plain_loop().mean(1).tolist()
        rows.append(
            [
                f"base {base}, {size}²",
                f"{films / np.median(seconds['ours']):.1f}",
                f"{films / np.median(seconds['plain']):.1f}",
                ratio(seconds["plain"], seconds["ours"]),
                f"{abs(ours['iou'].mean() - iou):.1e}",
                f"{abs(ours['mae'].mean() - mae):.1e}",
            ]
        )
    show(["network", "ours, films/s", "plain, films/s", "times faster", "IoU differs by", "MAE differs by"], rows)


if __name__ == "__main__":
    main()
