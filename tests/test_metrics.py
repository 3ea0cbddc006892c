import numpy as np
import pandas as pd
import pytest
import torch
from monai.metrics import compute_iou
from torchmetrics.classification import BinaryJaccardIndex
from torchmetrics.regression import MeanAbsoluteError

from labkit import metrics


def rows_of(logits, truth, loss=0.0) -> pd.DataFrame:
    return pd.DataFrame({key: value.numpy() for key, value in metrics.count(logits, truth).items()}).assign(loss=loss)


def film(predicted: str, truth: str):
    """Two films of one line from "#." pictures, as logits of certain predictions and a mask."""
    inside, true = ([float(pixel == "#") for pixel in line] for line in (predicted, truth))
    return 60 * (torch.tensor(inside).reshape(1, 1, 1, -1) - 0.5), torch.tensor(true).reshape(1, 1, 1, -1)


def films(*pairs) -> pd.DataFrame:
    return pd.concat([rows_of(*film(*pair)) for pair in pairs], ignore_index=True)


def test_counts_by_hand():
    row = films(("##..#...", ".##.#...")).iloc[0]
    assert row[["intersection", "union", "predicted", "truth", "pixels"]].tolist() == [2, 4, 3, 3, 8]
    assert row["absolute_error"] == pytest.approx(2)


def test_threshold_is_over_a_half():
    # A probability of exactly .5 is not over .5.
    logits, truth = torch.tensor([0.0, 1e-3, -1e-3]).reshape(1, 1, 1, 3), torch.ones(1, 1, 1, 3)
    assert metrics.count(logits, truth)["predicted"].item() == 1


def test_reductions_by_hand():
    # IoU 1/2 on a small mask, 3/4 on a large one.
    rows = films(("##......", "#......."), ("#.##....", "####...."))
    assert metrics.film_iou(rows).tolist() == [0.5, 0.75]
    assert metrics.iou(rows) == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert metrics.pooled_iou(rows) == pytest.approx((1 + 3) / (2 + 4))
    assert metrics.mae(rows) == pytest.approx((1 / 8 + 1 / 8) / 2)


def test_empty_films():
    both, missed, found = ("....", "...."), ("....", "#..."), ("#...", "....")
    rows = films(both, missed, found, ("#...", "#..."))
    assert np.isnan(metrics.film_iou(rows)[[0, 2]]).all()  # an empty truth is left out, whatever is predicted
    assert metrics.iou(rows) == pytest.approx((0 + 1) / 2)
    assert metrics.pooled_iou(rows) == pytest.approx(1 / 3)  # but its false positives count in the pool
    summary = metrics.summarise(rows)
    assert (summary["films"], summary["left_out"]) == (4, 2)
    assert summary["empty_predictions"] == pytest.approx(1 / 2)  # of the films with something to find
    assert summary["reduction"] == metrics.REDUCTION


def test_undefined_scores_are_none_not_nan():
    summary = metrics.summarise(films(("....", "....")))
    assert summary["iou"] is None and summary["pooled_iou"] is None and summary["empty_predictions"] is None
    assert summary["mae"] == pytest.approx(0, abs=1e-9)


def test_equals_torchmetrics_and_monai():
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(9, 1, 20, 20, generator=random)
    truth = (torch.rand(9, 1, 20, 20, generator=random) < 0.3).float()
    truth[4] = 0
    rows = rows_of(logits, truth)
    assert metrics.pooled_iou(rows) == pytest.approx(BinaryJaccardIndex()(logits.sigmoid(), truth.int()).item())
    theirs = compute_iou((logits > 0).float(), truth, ignore_empty=True).flatten()
    np.testing.assert_allclose(metrics.film_iou(rows), theirs, rtol=1e-6)
    assert metrics.iou(rows) == pytest.approx(theirs.nanmean().item())
    assert metrics.mae(rows) == pytest.approx(MeanAbsoluteError()(logits.sigmoid(), truth).item())
