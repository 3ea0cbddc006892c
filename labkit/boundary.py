"""How far a predicted outline lies from the true one, in pixels, a row a film.

A mask's boundary pixels are those with one of their four neighbours outside it, or outside the film. Distances run from each
boundary pixel of one mask to the nearest boundary pixel of the other, both ways. Published tools disagree about all this; it
is MONAI's way, and the tests hold the scores against MONAI's.
"""

import math

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree
from torch import Tensor

TOLERANCE = 2.0  # pixels: how far apart two outlines may be and still count as the same
COLUMNS = ("hd95", "asd", "surface_dice")


def distances(predicted: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Boundary scores of each film; masks (B, 1, H, W), bool or 0 and 1 -> tensors (B,), float64.

    `hd95`: the larger of the two ways' 95th percentiles (Huttenlocher et al., IEEE TPAMI 15, 1993, with a percentile for
    the maximum), pixels. `asd`: mean of the distances of both ways together (average symmetric surface distance; Heimann et
    al., IEEE TMI 28, 2009), pixels. `surface_dice`: share of both boundaries that is within TOLERANCE of the other (Nikolov
    et al., Journal of Medical Internet Research 23, 2021), in [0, 1].

    If one mask alone is empty, distances are the film's diagonal and surface_dice is 0; if both are, all are NaN.
    """
    rows = [_film(p, g) for p, g in zip((predicted[:, 0] > 0).cpu().numpy(), (truth[:, 0] > 0).cpu().numpy())]
    return {name: torch.tensor([row[i] for row in rows], dtype=torch.float64) for i, name in enumerate(COLUMNS)}


def summarise(rows: pd.DataFrame) -> dict[str, float | None]:
    """Means over the films of `distances` whose true mask is not empty; None where there is none."""
    some = rows.loc[rows["truth"] > 0, list(COLUMNS)]
    return {name: float(some[name].mean()) if len(some) else None for name in COLUMNS}


def _film(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    if not predicted.any() or not truth.any():
        if predicted.any() == truth.any():
            return math.nan, math.nan, math.nan
        return math.hypot(*truth.shape), math.hypot(*truth.shape), 0.0
    outlines = [np.argwhere(mask & ~binary_erosion(mask)) for mask in (predicted, truth)]
    ways = [KDTree(there).query(here)[0] for here, there in (outlines, outlines[::-1])]
    both = np.concatenate(ways)
    return (
        float(max(np.percentile(way, 95) for way in ways)),
        float(both.mean()),
        float((both <= TOLERANCE).mean()),
    )
