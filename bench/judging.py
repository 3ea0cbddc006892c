"""Scoring a split, all metrics included, against an eager float32 loop that gets the same scores from MONAI and torchmetrics.

The networks are trained for a moment first, for the outlines of noise are longer than those of masks. The scores of the two
are then compared on the same films. Both are also timed without the scores, as the network alone.

Aim: 3 times, and scores within 1e-3.
"""

import warnings

import numpy as np
import torch
from common import in_its_own_process, interleave, phantom, ratio, show
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
)
from torchmetrics.functional.classification import binary_calibration_error

from labkit import evaluation, metrics, scoring, store
from labkit.hardware import set_up_device
from labkit.model import ResidualUNet
from labkit.training import Trainee, train_epoch


def plain_loop(state: dict, base: int, size: int, films: int, scored: bool):
    """A function that goes over the first films; with scores: IoU and MAE of each, and the others are found and dropped."""
    warnings.simplefilter("ignore")  # MONAI's about itself
    knobs = phantom(base=base, size=size)
    pack, network = store.load(knobs), ResidualUNet(base)
    network.load_state_dict(state)
    network.eval()

    @torch.inference_mode()
    def loop():
        scores = []
        for images, masks in scoring.batches(pack, np.arange(films), 8, torch.device("cpu")):
            logits = network(images)
            if not scored:
                continue
            predicted, probability = (logits > 0).float(), logits.sigmoid()
            error = (probability - masks).abs().flatten(1).mean(1)
            scores.append(torch.stack([compute_iou(predicted, masks)[:, 0], error]))
            compute_dice(predicted, masks)
            compute_hausdorff_distance(predicted, masks, include_background=True, percentile=95)
            compute_average_surface_distance(predicted, masks, include_background=True, symmetric=True)
            compute_surface_dice(predicted, masks, [2.0], include_background=True)
            binary_calibration_error(probability.flatten(), masks.int().flatten(), n_bins=15)
        return torch.cat(scores, 1).mean(1).tolist() if scored else None

    return loop


def main() -> None:
    rows = []
    for base, size, films, epochs in ((16, 128, 240, 3), (64, 256, 24, 1)):
        knobs = phantom(base=base, size=size, batch=8)
        pack, device = store.load(knobs), set_up_device(knobs)
        state, chosen = Trainee(knobs, device), np.arange(films)
        for epoch in range(epochs):
            train_epoch(state, pack, pack.rows("Train")[: films if base == 64 else None], epoch)
        weights = {name: value.contiguous() for name, value in state.network.state_dict().items()}
        plain = in_its_own_process(plain_loop, weights, base, size, films, True)
        iou, mae = plain()
        plain_network = in_its_own_process(plain_loop, weights, base, size, films, False)
        variants = {
            "ours": lambda: evaluation.score_all(state.network, pack, chosen, knobs, device),
            "plain": plain,
            "our network": lambda: list(scoring.predictions(state.network, pack, chosen, knobs, device)),
            "plain network": plain_network,
        }
        seconds = interleave(variants, rounds=3)
        ours = metrics.film_scores(evaluation.score_all(state.network, pack, chosen, knobs, device)[0])
        rows.append(
            [
                f"base {base}, {size}²",
                f"{films / np.median(seconds['ours']):.1f}",
                f"{films / np.median(seconds['plain']):.1f}",
                ratio(seconds["plain"], seconds["ours"]),
                ratio(seconds["plain network"], seconds["our network"]),
                f"{abs(ours['iou'].mean() - iou):.1e}",
                f"{abs(ours['mae'].mean() - mae):.1e}",
            ]
        )
    show(
        [
            "network",
            "ours, films/s",
            "plain, films/s",
            "times faster",
            "network alone",
            "IoU differs by",
            "MAE differs by",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
