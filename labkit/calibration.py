"""Do probabilities mean what they say? Of the pixels called infected with probability 0.7, are 70 % infected?"""

import numpy as np
import torch
from torch import Tensor

BINS = 15  # equal parts of [0, 1]
SUMS = ("pixels", "probability", "true", "squared_error")


def bins(logits: Tensor, truth: Tensor, region: Tensor) -> np.ndarray:
    """Pixels of each film sorted by probability; tensors (B, 1, H, W), truth and region 0 or 1 -> float64 (B, BINS, 4).

    For each of BINS equal parts of [0, 1], over the pixels of the region (1 in it): how many there are, and the sums of
    their probability p, of their truth g, and of (p - g)^2.
    """
    # On the CPU: a GPU adds in another order each time.
    probability, truth, region = (part.flatten(1).double().cpu() for part in (logits.float().sigmoid(), truth, region))
    number = (probability * BINS).long().clamp(max=BINS - 1)
    sums = torch.zeros(len(logits), BINS, len(SUMS), dtype=torch.float64)
    for place, value in enumerate((torch.ones_like(truth), probability, truth, (probability - truth).square())):
        sums[:, :, place].scatter_add_(1, number, value * region)
    return sums.numpy()


def curve(films: np.ndarray) -> dict[str, np.ndarray]:
    """The reliability diagram of films' `bins` (N, BINS, 4): arrays (BINS,), NaN for a part of [0, 1] without pixels.

    `share` of all pixels that lie in the part; their mean `probability`; the `frequency` with which they are true.
    """
    pixels, probability, true, _ = films.sum(0).T
    with np.errstate(invalid="ignore"):
        return {"share": pixels / pixels.sum(), "probability": probability / pixels, "frequency": true / pixels}


def iou_by_threshold(films: np.ndarray) -> dict[str, np.ndarray]:
    """IoU of the pixels whose probability is above each `threshold` between two parts of [0, 1]; arrays (BINS - 1,).

    From films' `bins` (N, BINS, 4); `iou` is the mean over the films with a non-empty truth.
    """
    pixels, _, true, _ = films[films[..., SUMS.index("true")].sum(1) > 0].transpose(2, 0, 1)
    predicted, hits = (part[:, ::-1].cumsum(1)[:, -2::-1] for part in (pixels, true))
    iou = hits / (predicted + true.sum(1, keepdims=True) - hits)
    return {"threshold": np.arange(1, BINS) / BINS, "iou": iou.mean(0)}


def excess(films: np.ndarray) -> np.ndarray:
    """How over-confident a network is on each film; films' `bins` (N, BINS, 4) -> (N,), NaN where no pixel counts.

    The mean probability minus the true share of the pixels in the parts above the middle one, which holds 0.5: those with a
    probability of 8/15 or more. Over-confident if above 0.
    """
    pixels, probability, true, _ = films[:, BINS // 2 + 1 :].sum(1).T
    with np.errstate(invalid="ignore"):
        return (probability - true) / pixels


def summarise(films: np.ndarray) -> dict[str, float | None]:
    """Scores of films' `bins` (N, BINS, 4), over all their pixels; None where there is no pixel.

    `ece`, the expected calibration error: the mean distance of a pixel's probability from the frequency of its part,
    taken part by part (Naeini et al., AAAI 2015; of the probability of the mask, as for any binary outcome). `brier`: the
    mean squared error of the probability (Brier, Monthly Weather Review 78, 1950). Both in [0, 1]. `excess`: that of all films'
    pixels together.
    """
    pixels, probability, true, squared = films.sum(0).T
    if not pixels.sum():
        return {"ece": None, "brier": None, "excess": None}
    over = float(excess(films.sum(0, keepdims=True))[0])
    return {
        "ece": float(np.abs(probability - true).sum() / pixels.sum()),
        "brier": float(squared.sum() / pixels.sum()),
        "excess": None if np.isnan(over) else over,
    }
