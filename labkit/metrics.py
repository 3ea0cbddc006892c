"""Scores. Pixels are counted once a film; every score is made from those counts, and says how it was averaged.

IoU depends on conventions that papers seldom state: the mean over films is not the ratio of pooled pixels, and a film
whose true mask is empty has no IoU unless a rule gives it one. The headline of this project is `iou`: the mean over films
with a non-empty truth. `summarise` gives the pooled value and the number of films left out beside it.
"""

import math

import pandas as pd
import torch
from torch import Tensor

REDUCTION = "per-image mean over films with a non-empty true mask"


def count(logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """What scores are made of, for each film; logits (B, 1, H, W), truth 0 or 1 of that shape -> tensors (B,).

    `intersection`, `union`, `predicted`, `truth`: pixels, with a pixel predicted where its probability is over 0.5;
    `pixels`: of the film; `absolute_error`: the sum over pixels of |probability - truth|.
    """
    logits, inside = logits.float().flatten(1), truth.flatten(1) > 0
    predicted = logits > 0
    intersection, n_predicted, n_truth = (mask.sum(1) for mask in (predicted & inside, predicted, inside))
    return {
        "intersection": intersection,
        "union": n_predicted + n_truth - intersection,
        "predicted": n_predicted,
        "truth": n_truth,
        "pixels": torch.full_like(n_truth, logits.shape[1]),
        "absolute_error": (logits.sigmoid() - inside.float()).abs().sum(1),
    }


def film_iou(rows: pd.DataFrame) -> pd.Series:
    """IoU of each film, in [0, 1]; NaN where the true mask is empty, for no overlap is defined there."""
    return (rows["intersection"] / rows["union"]).where(rows["truth"] > 0)


def iou(rows: pd.DataFrame) -> float:
    """The headline: mean of the films' IoU over those with a non-empty true mask. NaN if there is none."""
    return float(film_iou(rows).mean())


def pooled_iou(rows: pd.DataFrame) -> float:
    """IoU of all films' pixels together: large masks weigh more. NaN if nothing is true or predicted anywhere."""
    return float(rows["intersection"].sum() / rows["union"].sum()) if rows["union"].sum() else float("nan")


def mae(rows: pd.DataFrame) -> float:
    """Mean absolute error of the probabilities against the mask, over all films, in [0, 1] (III-E)."""
    return float((rows["absolute_error"] / rows["pixels"]).mean())


def summarise(rows: pd.DataFrame) -> dict:
    """All scores of a split from its rows, with the reduction named; a score that is not defined is None."""
    scores = {
        "iou": iou(rows),
        "pooled_iou": pooled_iou(rows),
        "mae": mae(rows),
        "loss": float(rows["loss"].mean()),
        # How many masks came out empty although there is something to find.
        "empty_predictions": float((rows["predicted"] == 0)[rows["truth"] > 0].mean()),
    }
    return {name: None if math.isnan(value) else value for name, value in scores.items()} | {
        "reduction": REDUCTION,
        "films": len(rows),
        "left_out": int((rows["truth"] == 0).sum()),
    }
