"""Distances of outlines by hand and against MONAI's."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from labkit import boundary


def square(top, left, side, size=32):
    mask = torch.zeros(1, 1, size, size)
    mask[..., top : top + side, left : left + side] = 1
    return mask


def scores(predicted, truth):
    return {name: float(values[0]) for name, values in boundary.distances(predicted, truth).items()}


def test_by_hand():
    assert scores(square(8, 8, 6), square(8, 8, 6)) == {"hd95": 0, "asd": 0, "surface_dice": 1}
    # Two single pixels, 3 and 4 away: 5.
    assert scores(square(2, 2, 1), square(5, 6, 1)) == {"hd95": 5, "asd": 5, "surface_dice": 0}
    # A column of five pixels against the same, two to the right: within the tolerance of two pixels.
    column, beside = torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)
    column[..., 2:7, 2], beside[..., 2:7, 4] = 1, 1
    assert scores(column, beside) == {"hd95": 2, "asd": 2, "surface_dice": 1}


def test_empty_sides():
    empty, some = torch.zeros(1, 1, 32, 32), square(3, 3, 4)
    diagonal = math.hypot(32, 32)
    for pair in ((empty, some), (some, empty)):
        assert scores(*pair) == pytest.approx({"hd95": diagonal, "asd": diagonal, "surface_dice": 0})
    assert all(math.isnan(value) for value in scores(empty, empty).values())
    rows = pd.DataFrame(
        {"truth": [0, 9], "hd95": [math.nan, 4.0], "asd": [math.nan, 2.0], "surface_dice": [math.nan, 0.5]}
    )
    assert boundary.summarise(rows) == {"hd95": 4.0, "asd": 2.0, "surface_dice": 0.5}
    assert boundary.summarise(rows[:1]) == {"hd95": None, "asd": None, "surface_dice": None}


@pytest.mark.parametrize(("density", "other"), [(0.02, 0.02), (0.05, 0.6), (0.2, 0.2), (0.6, 0.3), (0.9, 0.9)])
def test_equals_monais_own_scores(density, other):
    random = torch.Generator().manual_seed(0)
    predicted, truth = (torch.rand(6, 1, 24, 20, generator=random) < share for share in (density, other))
    found = boundary.distances(predicted, truth)
    both = (predicted.float(), truth.float())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = {
            "hd95": compute_hausdorff_distance(*both, include_background=True, percentile=95),
            "asd": compute_average_surface_distance(*both, include_background=True, symmetric=True),
            "surface_dice": compute_surface_dice(*both, [boundary.TOLERANCE], include_background=True),
        }
    for name, values in theirs.items():
        np.testing.assert_allclose(found[name], values.flatten(), rtol=1e-5)
