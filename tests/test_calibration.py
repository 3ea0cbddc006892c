"""Bins of probabilities and what is made of them."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from labkit import calibration


def counted(probability, truth, region=None):
    """Lists of pixels, a film a list -> bins."""
    probability, truth = (torch.tensor(pixels, dtype=torch.float64)[:, None, None] for pixels in (probability, truth))
    region = torch.ones_like(truth) if region is None else torch.tensor(region)[:, None, None]
    return calibration.bins(torch.logit(probability), truth, region)


def test_by_hand():
    # Four pixels said to be inside with .9, of which three are: .15 too sure. Two with .1, of which none is.
    films = counted([[0.9, 0.9, 0.9, 0.9, 0.1, 0.1]], [[1, 1, 1, 0, 0, 0]])
    assert films.shape == (1, calibration.BINS, 4) and films[..., 0].sum() == 6
    found = calibration.summarise(films)
    assert found["ece"] == pytest.approx((4 * 0.15 + 2 * 0.1) / 6, abs=1e-6)
    assert found["brier"] == pytest.approx((3 * 0.01 + 0.81 + 2 * 0.01) / 6, abs=1e-6)
    assert found["excess"] == pytest.approx(0.15, abs=1e-6)
    # The part of [0, 1] that holds .5 is left out: of .52 and .9 only the latter counts.
    assert calibration.summarise(counted([[0.52, 0.9]], [[0, 1]]))["excess"] == pytest.approx(-0.1, abs=1e-6)
    curve = calibration.curve(films)
    assert curve["frequency"][13] == pytest.approx(0.75) and curve["share"][13] == pytest.approx(4 / 6)
    assert np.isnan(curve["probability"][5]) and curve["share"].sum() == pytest.approx(1)


def test_only_the_region_counts():
    inside = counted([[0.9, 0.2]], [[1, 0]])
    masked = counted([[0.9, 0.2, 0.7, 0.7]], [[1, 0, 0, 1]], [[1, 1, 0, 0]])
    np.testing.assert_allclose(masked, inside)


def test_no_pixels_no_score():
    films = counted([[0.9, 0.2]], [[1, 0]], [[0, 0]])
    assert calibration.summarise(films) == {"ece": None, "brier": None, "excess": None}
    assert calibration.summarise(films[:0]) == {"ece": None, "brier": None, "excess": None}
    assert calibration.summarise(counted([[0.1]], [[0]]))["excess"] is None  # nothing is called inside


def test_probabilities_of_0_and_1_have_a_part():
    films = calibration.bins(*(torch.tensor(part)[None, None, None] for part in ([-1e4, 1e4], [0.0, 1.0], [1.0, 1.0])))
    assert films[0, 0, 0] == 1 and films[0, -1, 0] == 1 and calibration.summarise(films)["ece"] == 0


def test_equals_torchmetrics():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 1, 30, 30, generator=random)
    truth = (torch.rand(5, 1, 30, 30, generator=random) < 0.3).float()
    found = calibration.summarise(calibration.bins(logits, truth, torch.ones_like(truth)))
    theirs = binary_calibration_error(logits.sigmoid().flatten(), truth.int().flatten(), n_bins=calibration.BINS)
    assert found["ece"] == pytest.approx(theirs.item(), abs=1e-6)
    assert found["brier"] == pytest.approx((logits.sigmoid() - truth).square().mean().item(), abs=1e-6)


def test_films_and_batches_add_up():
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 1, 8, 8, generator=random)
    truth = (torch.rand(6, 1, 8, 8, generator=random) < 0.5).float()
    whole = calibration.bins(logits, truth, torch.ones_like(truth))
    parts = [calibration.bins(logits[i : i + 2], truth[i : i + 2], torch.ones_like(truth[:2])) for i in (4, 0, 2)]
    assert calibration.summarise(np.concatenate(parts)) == pytest.approx(calibration.summarise(whole))


def test_iou_by_threshold_is_that_of_the_masks():
    random = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(5, 1, 16, 16, generator=random), torch.zeros(5, 1, 16, 16)
    truth[:4, :, 3:9, 3:9] = 1  # the last film has no mask, and no IoU
    found = calibration.iou_by_threshold(calibration.bins(logits + truth, truth, torch.ones_like(truth)))
    for threshold, iou in zip(found["threshold"], found["iou"], strict=True):
        predicted, true = (logits + truth)[:4].double().sigmoid() > threshold, truth[:4] > 0
        expected = (predicted & true).flatten(1).sum(1) / (predicted | true).flatten(1).sum(1)
        assert iou == pytest.approx(expected.mean().item(), rel=1e-6)
