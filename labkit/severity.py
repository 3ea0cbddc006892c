"""How much of the lung is infected: the share that a network finds against the true one, film by film."""

import numpy as np
import pandas as pd
from torch import Tensor

# Extent grades of chest films: none, up to a quarter, a half, three quarters, more (Wong et al., Radiology 296, 2020, who
# grade each lung; here both together).
GRADES = (0.0, 0.25, 0.5, 0.75)


def count(logits: Tensor, truth: Tensor, lung: Tensor) -> dict[str, Tensor]:
    """Pixels of each film's true lung, and how many of them are predicted and truly infected; (B, 1, H, W) -> (B,)."""
    predicted, truth, lung = (mask.flatten(1) > 0 for mask in (logits.float(), truth, lung))
    return {
        "lung": lung.sum(1),
        "predicted_in_lung": (predicted & lung).sum(1),
        "truth_in_lung": (truth & lung).sum(1),
    }


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns `predicted` and `true`: the infected share of each film's true lung, in [0, 1]; NaN for an empty lung."""
    lung = rows["lung"].where(rows["lung"] > 0)
    return pd.DataFrame({"predicted": rows["predicted_in_lung"] / lung, "true": rows["truth_in_lung"] / lung})


def whole_lung_iou(rows: pd.DataFrame) -> pd.Series:
    """The IoU of whoever calls the whole true lung infected, film by film; NaN for an empty truth. What a network must beat."""
    union = rows["lung"] + rows["truth"] - rows["truth_in_lung"]
    return (rows["truth_in_lung"] / union).where(rows["truth"] > 0)


def grade(share: np.ndarray) -> np.ndarray:
    """Grade 0 to 4 of each infected share in [0, 1]: 0 for none, 1 up to 25 %, 2 up to 50 %, 3 up to 75 %, 4 above."""
    return np.searchsorted(GRADES, share, side="left")


def limits(pairs: pd.DataFrame) -> tuple[float, float, float]:
    """Mean of predicted minus true shares, and the limits of agreement: it -/+ 1.96 standard deviations, NaN of one film."""
    difference = pairs["predicted"] - pairs["true"]
    bias, reach = float(difference.mean()), 1.96 * float(difference.std())
    return bias, bias - reach, bias + reach


def summarise(rows: pd.DataFrame) -> dict[str, float | int | None]:
    """Agreement of predicted with true infected shares over films; None where a number is not defined.

    `films`: how many have a lung. `mae`: mean absolute difference, in [0, 1]. `bias`: mean of predicted minus true, with `low`
    and `high`, the limits of agreement, bias -/+ 1.96 standard deviations (Bland and Altman, Lancet 327, 1986). `same_grade`:
    share of films with the same `grade`; `kappa`: Cohen's kappa of the grades with quadratic weights (Psychological Bulletin
    70, 1968).
    """
    from statsmodels.stats.inter_rater import cohens_kappa  # half a second to import: only where it is used

    pairs = shares(rows).dropna()
    if pairs.empty:
        return {"films": 0} | dict.fromkeys(("mae", "bias", "low", "high", "same_grade", "kappa"))
    bias, low, high = limits(pairs)
    predicted, true = (grade(pairs[name].to_numpy()) for name in ("predicted", "true"))
    table = np.zeros((len(GRADES) + 1, len(GRADES) + 1))
    np.add.at(table, (predicted, true), 1)
    # With all films in one grade, chance alone gives full agreement, and kappa is not defined.
    graded = len(set(predicted) | set(true)) > 1
    return {
        "films": len(pairs),
        "mae": float((pairs["predicted"] - pairs["true"]).abs().mean()),
        "bias": bias,
        "low": None if np.isnan(low) else low,
        "high": None if np.isnan(high) else high,
        "same_grade": float((predicted == true).mean()),
        "kappa": float(cohens_kappa(table, wt="quadratic", return_results=False)) if graded else None,
    }
