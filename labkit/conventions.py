"""Ways to make one score of many films, and what the reported infection score may mean by them."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from labkit import metrics

BATCH = 16  # films, of the batch mean: the reference's batch
# The mean relative distance under which a convention is said to come near the reported numbers.
NEAR = 0.1


def _batch_mean(orders: Callable[[int], list[np.ndarray]]):
    """Pooled within batches of 16 films, then averaged over batches, as a training loop shows it; over several `orders`.

    A batch in which nothing is true or predicted is left out.
    """

    def mean(rows, weights=None):
        counts = rows[["intersection", "union"]].to_numpy(float)
        counts = counts if weights is None else counts * np.asarray(weights)[:, None]
        starts = np.arange(0, len(rows), BATCH)
        sums = np.concatenate([np.add.reduceat(counts[order], starts) for order in orders(len(rows))])
        intersection, union = sums[sums[:, 1] > 0].T
        return metrics.mean(intersection / union), metrics.mean(2 * intersection / (union + intersection))

    return mean


def in_order(films: int) -> list[np.ndarray]:
    """That of the table: class by class, by name; a loader that does not shuffle."""
    return [np.arange(films)]


def shuffled(films: int) -> list[np.ndarray]:
    """A hundred orders, always the same: one alone moves the mean by some hundredths."""
    random = np.random.default_rng(0)
    return [random.permutation(films) for _ in range(100)]


def _empty_scored(score_if_both_empty: float, score_otherwise: float):
    """The mean over all films, where a film with an empty truth gets a score by rule."""

    def mean(rows, weights=None):
        given = np.where(rows["predicted"] == 0, score_if_both_empty, score_otherwise)
        empty = rows["truth"] == 0
        return tuple(
            metrics.mean(scores.where(~empty, given), weights)
            for scores in (metrics.film_iou(rows), metrics.film_dice(rows))
        )

    return mean


HEADLINE = "per-image mean, empty truths left out"
# Rules for empty truths change nothing where no truth is empty.
FOR_EMPTY_TRUTHS = {
    "per-image mean, empty truths 0": _empty_scored(0.0, 0.0),
    "per-image mean, empty truths 1 if predicted empty, else 0": _empty_scored(1.0, 0.0),
    "per-image mean, empty truths left out if predicted empty, else 0": _empty_scored(math.nan, 0.0),
}
# Name: (rows, weights) -> (IoU, Dice), each in [0, 1] or NaN. All are of the same rows.
CONVENTIONS = {
    HEADLINE: metrics.per_image,
    **FOR_EMPTY_TRUTHS,
    "pooled pixels": metrics.pooled,
    f"mean over batches of {BATCH}, films in order": _batch_mean(in_order),
    f"mean over batches of {BATCH}, shuffled": _batch_mean(shuffled),
}


def mixes_conventions(iou: float, dice: float, tolerance: float = 1.5e-4) -> bool:
    """Whether an IoU J and a Dice cannot both be pooled over the same pixels, for there Dice = 2 J / (1 + J).

    They are then means over films, or of different conventions. `tolerance` is for values rounded to four digits.
    """
    return abs(dice - 2 * iou / (1 + iou)) > tolerance


def consistency(runs: dict[str, dict]) -> dict[str, int]:
    """mixes_conventions on these results: of so many `pairs` of IoU and Dice, how many it flags.

    `pooled`: of the pooled pairs, none if all is well. `per_image`: of the means over films, as it should where films differ.
    """
    scored = [run[split] for run in runs.values() for split in ("val", "test")]
    flagged = {
        "pooled": [mixes_conventions(split["pooled_iou"], split["pooled_dice"]) for split in scored],
        "per_image": [mixes_conventions(split["iou"], split["dice"]) for split in scored],
    }
    return {"pairs": len(scored)} | {name: sum(found) for name, found in flagged.items()}


def weights_of(rows: pd.DataFrame) -> np.ndarray:
    """A weight a film that makes controls count as much as the others: the official mix of the infection tree is 1 : 1."""
    control = rows["control"].to_numpy()
    return np.where(control, (~control).sum() / max(1, control.sum()), 1.0)


def compare(trained: dict[str, pd.DataFrame], reported: dict) -> dict:
    """All conventions side by side for one split.

    `trained`: rows of metrics.count with columns `loss` and `control`, for each way of training; `reported`: iou, mae and
    val_loss. Returns `rows`, each with trained, films ("COVID-19 films" or "all films"), convention, iou, dice, mae,
    val_loss and distance, the mean of |ours - reported| / reported over IoU, MAE and loss; `nearest`, the row with the
    smallest distance; `near`, whether that is under NEAR; `near_distance`, which is NEAR; and `reported` again. MAE and loss
    are means over all the films named, with the same weights: they are defined for every film, also where a convention leaves
    some out of IoU and Dice.
    """
    found = []
    for name, rows in trained.items():
        for films, chosen in (("COVID-19 films", rows[~rows["control"]]), ("all films", rows)):
            if films == "all films" and not rows["control"].any():
                continue
            weights = weights_of(chosen)
            mae, loss = (np.average(values, weights=weights) for values in (metrics.film_mae(chosen), chosen["loss"]))
            for convention, score in CONVENTIONS.items():
                if convention in FOR_EMPTY_TRUTHS and (chosen["truth"] > 0).all():
                    continue
                iou, dice = score(chosen, weights)
                ours = {"iou": iou, "mae": float(mae), "val_loss": float(loss)}
                distance = float(np.mean([abs(value - reported[key]) / reported[key] for key, value in ours.items()]))
                found.append(
                    {"trained": name, "films": films, "convention": convention, "dice": dice}
                    | ours
                    | {"distance": distance}
                )
    nearest = min(found, key=lambda row: row["distance"])
    return {
        "rows": found,
        "nearest": nearest,
        "near": nearest["distance"] < NEAR,
        "near_distance": NEAR,
        "reported": reported,
    }


def without_controls(iou_with_controls: float) -> float:
    """The IoU on COVID-19 films that a mean over all films implies, if controls are half of them and each scored 1.

    An inference: no published table says that every control was predicted empty.
    """
    return 2 * iou_with_controls - 1
