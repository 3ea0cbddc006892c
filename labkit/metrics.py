"""Scores. Pixels are counted once a film; every score is made from those counts, and says how it was averaged.

IoU and Dice depend on conventions that papers seldom state: the mean over films is not the ratio of pooled pixels, and a
film whose true mask is empty has no overlap unless a rule gives it one. The headline of this project is `iou`: the mean over
films with a non-empty truth. conventions.py has the others, for the same rows.

`rows` is everywhere a table with a row a film and the columns of `count`. `weights`, one a film, lets control films (films
with nothing to find) count as if there were more or fewer of them.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

REDUCTION = "per-image mean over films with a non-empty true mask"
LOCATED = 0.1  # IoU: detection of lesions calls one found by as much (Baumgartner et al., nnDetection, MICCAI 2021)


def count(logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """What scores are made of, for each film; logits (B, 1, H, W), truth 0 or 1 of that shape -> tensors (B,).

    Pixels: `intersection`, `union`, `predicted`, `truth`, where a pixel is predicted if its probability is over 0.5;
    `pixels` of the film. Sums over pixels, with probability p and mask g: `absolute_error` of |p - g|, `squared_error` of
    (p - g)^2, `soft_intersection` of p g, `probability` of p.
    """
    logits, inside = logits.float().flatten(1), truth.flatten(1) > 0
    predicted, probability = logits > 0, logits.sigmoid()
    intersection, n_predicted, n_truth = (mask.sum(1) for mask in (predicted & inside, predicted, inside))
    error = probability - inside.float()
    return {
        "intersection": intersection,
        "union": n_predicted + n_truth - intersection,
        "predicted": n_predicted,
        "truth": n_truth,
        "pixels": torch.full_like(n_truth, logits.shape[1]),
        "absolute_error": error.abs().sum(1),
        "squared_error": error.square().sum(1),
        "soft_intersection": (probability * inside).sum(1),
        "probability": probability.sum(1),
    }


def rows_of(folder: Path, split: str, controls: bool = False) -> pd.DataFrame:
    """The rows that a run keeps in `folder` of the films of "val" or "test", control films only if they are asked for."""
    rows = pd.read_csv(folder / f"{split}.csv")
    return rows[controls | ~rows["control"]]


# A film's own scores, each NaN where it is not defined.


def film_iou(rows: pd.DataFrame) -> pd.Series:
    """IoU of each film, in [0, 1]; NaN where the true mask is empty, for no overlap is defined there."""
    return (rows["intersection"] / rows["union"]).where(rows["truth"] > 0)


def film_dice(rows: pd.DataFrame) -> pd.Series:
    """Dice of each film, 2 |P and G| / (|P| + |G|), in [0, 1]; NaN where the true mask is empty."""
    return (2 * rows["intersection"] / (rows["predicted"] + rows["truth"])).where(rows["truth"] > 0)


def film_mae(rows: pd.DataFrame) -> pd.Series:
    """Mean absolute error of each film's probabilities, in [0, 1] (III-E)."""
    return rows["absolute_error"] / rows["pixels"]


def film_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """All scores of single films, in [0, 1].

    `iou`, `dice`; `soft_iou`, of probabilities instead of the thresholded mask; `sensitivity`, the part of the true mask
    that was found; `precision`, the part of the predicted mask that is true (NaN where nothing is predicted);
    `specificity`, the part of the background that was left alone (NaN where there is none); `area_similarity`, how alike the
    two masks are in size alone, 1 - ||P| - |G|| / (|P| + |G|) (Taha and Hanbury, 2015, for volumes); `mae` of the
    probabilities, `hard_mae` of the thresholded mask; `brier`, the mean squared error of the probabilities (Brier, 1950).
    The first four and `area_similarity` are NaN where the true mask is empty.
    """
    some = rows["truth"] > 0
    background = rows["pixels"] - rows["truth"]
    false_positives = rows["predicted"] - rows["intersection"]
    soft_union = rows["probability"] + rows["truth"] - rows["soft_intersection"]
    return pd.DataFrame(
        {
            "iou": film_iou(rows),
            "dice": film_dice(rows),
            "soft_iou": (rows["soft_intersection"] / soft_union).where(some),
            "sensitivity": (rows["intersection"] / rows["truth"]).where(some),
            "precision": (rows["intersection"] / rows["predicted"]).where(rows["predicted"] > 0),
            "specificity": (1 - false_positives / background).where(background > 0),
            "area_similarity": (
                1 - (rows["predicted"] - rows["truth"]).abs() / (rows["predicted"] + rows["truth"])
            ).where(some),
            "mae": film_mae(rows),
            "hard_mae": (rows["union"] - rows["intersection"]) / rows["pixels"],
            "brier": rows["squared_error"] / rows["pixels"],
        }
    )


# Ways to make one number of many films; conventions.py has more.


def mean(values: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Weighted mean of the values that are not NaN; NaN if none is left."""
    values, weights = np.asarray(values, float), np.ones(len(values)) if weights is None else np.asarray(weights, float)
    kept = ~np.isnan(values)
    return float(np.average(values[kept], weights=weights[kept])) if weights[kept].sum() else math.nan


def pooled(rows: pd.DataFrame, weights: np.ndarray | None = None) -> tuple[float, float]:
    """IoU and Dice of all pixels together; NaN where nothing is true or predicted anywhere."""
    weights = np.ones(len(rows), int) if weights is None else weights
    intersection, union = ((rows[name] * weights).sum() for name in ("intersection", "union"))
    # |P| + |G| = union + intersection, so that Dice = 2 J / (1 + J): true of pooled counts, not of means over films.
    return (intersection / union, 2 * intersection / (union + intersection)) if union else (math.nan, math.nan)


def per_image(rows: pd.DataFrame, weights: np.ndarray | None = None) -> tuple[float, float]:
    """IoU and Dice, the means over films with a non-empty truth, in [0, 1]; NaN where there is none."""
    return mean(film_iou(rows), weights), mean(film_dice(rows), weights)


def iou(rows: pd.DataFrame) -> float:
    """The headline: mean of the films' IoU over those with a non-empty true mask. NaN if there is none."""
    return per_image(rows)[0]


def mae(rows: pd.DataFrame) -> float:
    """Mean absolute error of the probabilities against the mask, over all films, in [0, 1] (III-E)."""
    return mean(film_mae(rows))


def summarise(rows: pd.DataFrame) -> dict:
    """All scores of a split from its rows, with the reduction named; a score that is not defined is None.

    `rows` has the columns of `count`, and `loss`. The scores of `film_scores` are means over the films for which they are
    defined. `pooled_iou`, `pooled_dice`; mean `loss`; of the films with a non-empty truth, the share with `empty_predictions`
    and the share `located`; `reduction`, that of IoU and Dice; numbers of `films`, and of those `left_out` of IoU and Dice.
    """
    pooled_iou, pooled_dice = pooled(rows)
    scores = {name: mean(values) for name, values in film_scores(rows).items()} | {
        "pooled_iou": pooled_iou,
        "pooled_dice": pooled_dice,
        "loss": float(rows["loss"].mean()),
        # How many masks came out empty although there is something to find.
        "empty_predictions": float((rows["predicted"] == 0)[rows["truth"] > 0].mean()),
        "located": float((film_iou(rows) >= LOCATED)[rows["truth"] > 0].mean()),
    }
    return {name: None if math.isnan(value) else float(value) for name, value in scores.items()} | {
        "reduction": REDUCTION,
        "films": len(rows),
        "left_out": int((rows["truth"] == 0).sum()),
    }


def control_scores(rows: pd.DataFrame) -> dict:
    """How films with nothing to find were treated; `rows` of such films only.

    `films`; `with_false_positives`, the share of them with any predicted pixel; `area`, the mean predicted share of the
    film, over all of them; each share in [0, 1], None where there is no film.
    """
    area = rows["predicted"] / rows["pixels"]
    return {
        "films": len(rows),
        "with_false_positives": float((area > 0).mean()) if len(rows) else None,
        "area": float(area.mean()) if len(rows) else None,
    }
