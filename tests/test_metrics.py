"""Counts, scores and conventions by hand and against other implementations."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice, compute_iou
from torchmetrics.classification import BinaryF1Score, BinaryJaccardIndex
from torchmetrics.regression import MeanAbsoluteError

from labkit import conventions, metrics


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


# IoU 1/2 and Dice 2/3 on a small mask, IoU 3/4 and Dice 6/7 on a large one.
SMALL, LARGE = ("##......", "#......."), ("#.##....", "####....")
# Nothing to find: nothing found, and three pixels found.
QUIET, LOUD = ("........", "........"), ("###.....", "........")


def convention(name: str, *pairs, weights=None):
    """The score of these films under the convention of that name, or the one that begins with it."""
    found = [key for key in conventions.CONVENTIONS if key.startswith(name)]
    return conventions.CONVENTIONS[name if name in found else found[0]](films(*pairs), weights)


def test_reductions_by_hand():
    rows = films(SMALL, LARGE)
    assert metrics.film_iou(rows).tolist() == [0.5, 0.75]
    assert metrics.film_dice(rows).tolist() == pytest.approx([2 / 3, 6 / 7])
    assert metrics.iou(rows) == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert metrics.pooled(rows) == pytest.approx((4 / 6, 8 / 10))
    assert metrics.mae(rows) == pytest.approx((1 / 8 + 1 / 8) / 2)


def test_conventions_by_hand():
    """The same four films under each convention: IoU 1/2, 3/4, none (nothing predicted), none (something predicted)."""
    four = (SMALL, LARGE, QUIET, LOUD)
    assert convention("per-image mean, empty truths left out", *four)[0] == pytest.approx(5 / 4 / 2)
    assert convention("per-image mean, empty truths 0", *four)[0] == pytest.approx(5 / 4 / 4)
    assert convention("per-image mean, empty truths 1", *four)[0] == pytest.approx((5 / 4 + 1) / 4)
    assert convention("per-image mean, empty truths left out if", *four)[0] == pytest.approx(5 / 4 / 3)
    assert convention("pooled", *four) == pytest.approx((4 / 9, 8 / 13))  # the false positives join the union
    for order in ("films in order", "shuffled"):  # four films are one batch
        assert convention(f"mean over batches of 16, {order}", *four) == pytest.approx((4 / 9, 8 / 13))
    assert convention("per-image mean, empty truths left out", *four)[1] == pytest.approx((2 / 3 + 6 / 7) / 2)


def test_batch_mean_is_over_batches_of_16():
    # 20 films: the mean of the pooled IoU and Dice of the first 16 and of the last 4; and the same over many orders.
    found, missed = ("#...", "#..."), (".##.", "#...")
    rows = films(*[found] * 9, *[missed] * 11)

    def by_hand(order):
        return np.mean([metrics.pooled(rows.iloc[half]) for half in (order[:16], order[16:])], axis=0)

    (in_order,) = conventions.in_order(20)
    assert conventions.CONVENTIONS["mean over batches of 16, films in order"](rows) == pytest.approx(by_hand(in_order))
    assert by_hand(in_order)[0] == pytest.approx((9 / (9 + 7 * 3) + 0) / 2)
    means = [by_hand(order) for order in conventions.shuffled(20)]
    assert conventions.CONVENTIONS["mean over batches of 16, shuffled"](rows) == pytest.approx(np.mean(means, axis=0))
    assert np.ptp(means, axis=0)[0] > 0.1 and len(means) == 100


def test_batch_mean_weighs_films_within_a_batch():
    weights = np.array([1.0, 3.0])
    name = "mean over batches of 16, films in order"
    assert convention(name, SMALL, LARGE, weights=weights)[0] == pytest.approx((1 + 3 * 3) / (2 + 3 * 4))


def test_weights_count_a_film_as_several():
    weights = np.array([1.0, 1.0, 2.0, 2.0])
    for name in conventions.CONVENTIONS:
        if "batches" not in name:
            twice = convention(name, SMALL, LARGE, QUIET, QUIET, LOUD, LOUD)
            assert convention(name, SMALL, LARGE, QUIET, LOUD, weights=weights) == pytest.approx(twice), name


def test_one_film_and_all_controls():
    for name in conventions.CONVENTIONS:
        assert convention(name, SMALL) == pytest.approx((1 / 2, 2 / 3)), name
    scores = {name: function(films(QUIET, QUIET))[0] for name, function in conventions.CONVENTIONS.items()}
    by_rule = {name: value for name, value in scores.items() if not np.isnan(value)}
    assert sorted(by_rule.values()) == [0, 1] and len(by_rule) == 2


def test_dice_and_iou_agree_for_pooled_values_only():
    rows = films(SMALL, LARGE, LOUD)
    assert not conventions.mixes_conventions(*metrics.pooled(rows))
    assert conventions.mixes_conventions(*metrics.per_image(films(SMALL, ("#...", "...#"))))
    # Tahir et al. 2021, as published for infection: no pooled pair.
    assert conventions.mixes_conventions(0.8305, 0.8821)


def test_film_scores_by_hand():
    logits = torch.logit(torch.tensor([0.8, 0.6, 0.4, 0.1])).reshape(1, 1, 1, 4)
    row = metrics.film_scores(rows_of(logits, torch.tensor([1.0, 0, 1, 0]).reshape(1, 1, 1, 4))).iloc[0]
    assert row["iou"] == pytest.approx(1 / 3) and row["dice"] == pytest.approx(1 / 2)
    assert row["soft_iou"] == pytest.approx(1.2 / (1.9 + 2 - 1.2))
    assert (row["sensitivity"], row["precision"], row["specificity"]) == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    assert row["area_similarity"] == 1  # as large as the truth, if not where it lies
    assert metrics.film_scores(films(("#...", "###.")))["area_similarity"].item() == pytest.approx(1 - 2 / 4)
    assert row["mae"] == pytest.approx((0.2 + 0.6 + 0.6 + 0.1) / 4) and row["hard_mae"] == pytest.approx(2 / 4)
    assert row["brier"] == pytest.approx((0.04 + 0.36 + 0.36 + 0.01) / 4)


def test_controls():
    assert metrics.control_scores(films(QUIET, LOUD, QUIET, QUIET)) == pytest.approx(
        {"films": 4, "with_false_positives": 1 / 4, "area": 3 / 8 / 4}
    )
    assert metrics.control_scores(films(QUIET)[:0])["with_false_positives"] is None


def test_empty_films():
    both, missed, found = ("....", "...."), ("....", "#..."), ("#...", "....")
    rows = films(both, missed, found, ("#...", "#..."))
    assert np.isnan(metrics.film_iou(rows)[[0, 2]]).all()  # an empty truth is left out, whatever is predicted
    assert metrics.iou(rows) == pytest.approx((0 + 1) / 2)
    assert metrics.pooled(rows)[0] == pytest.approx(1 / 3)  # but its false positives count in the pool
    summary = metrics.summarise(rows)
    assert (summary["films"], summary["left_out"]) == (4, 2)
    assert summary["empty_predictions"] == pytest.approx(1 / 2)  # of the films with something to find
    assert summary["located"] == pytest.approx(1 / 2)
    hit, beside, chance = ("#...", "##.."), ("#...", "...#"), ("#" * 16, "#" + "." * 15)
    assert metrics.summarise(films(hit, beside, missed))["located"] == pytest.approx(1 / 3)
    assert metrics.summarise(films(chance))["located"] == 0  # all of the film is no place
    assert summary["reduction"] == metrics.REDUCTION


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=12), st.randoms())
def test_properties(pictures, random):
    """For any films: scores in range, pooled identity, and no score but the batch mean asks for the films' order."""
    pairs = [tuple(f"{bits:08b}".replace("0", ".").replace("1", "#") for bits in picture) for picture in pictures]
    rows = films(*pairs)
    shuffled = films(*random.sample(pairs, len(pairs)))
    for name, score in conventions.CONVENTIONS.items():
        for value, other in zip(score(rows), score(shuffled)):
            assert np.isnan(value) or 0 <= value <= 1
            assert "batches" in name or value == pytest.approx(other, nan_ok=True)
    assert metrics.film_scores(rows).stack().dropna().between(0, 1).all()
    iou, dice = metrics.pooled(rows)
    assert np.isnan(iou) or not conventions.mixes_conventions(iou, dice, tolerance=1e-12)


def test_undefined_scores_are_none_not_nan():
    summary = metrics.summarise(films(("....", "....")))
    assert summary["iou"] is None and summary["pooled_iou"] is None and summary["empty_predictions"] is None
    assert summary["mae"] == pytest.approx(0, abs=1e-9)


def test_where_torchmetrics_and_monai_score_an_empty_mask_otherwise():
    """MONAI leaves such a film out unless it is told not to, as the headline does; the report's appendix tells this."""
    nothing, pixel = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    pixel[..., 0, 0] = 1
    for predicted, torchmetrics, monai in ((nothing, 0, 1), (pixel, 0, 0)):
        assert BinaryJaccardIndex()(predicted, nothing.int()) == torchmetrics
        assert compute_iou(predicted, nothing, ignore_empty=False) == monai
        assert compute_iou(predicted, nothing).isnan()
        assert np.isnan(metrics.film_iou(rows_of(20 * predicted - 10, nothing))).all()


def test_equals_torchmetrics_and_monai():
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(9, 1, 20, 20, generator=random)
    truth = (torch.rand(9, 1, 20, 20, generator=random) < 0.3).float()
    truth[4] = 0
    rows = rows_of(logits, truth)
    assert metrics.pooled(rows) == pytest.approx(
        (
            BinaryJaccardIndex()(logits.sigmoid(), truth.int()).item(),
            BinaryF1Score()(logits.sigmoid(), truth.int()).item(),
        )
    )
    theirs = compute_iou((logits > 0).float(), truth, ignore_empty=True).flatten()
    np.testing.assert_allclose(metrics.film_iou(rows), theirs, rtol=1e-6)
    assert metrics.iou(rows) == pytest.approx(theirs.nanmean().item())
    np.testing.assert_allclose(
        metrics.film_dice(rows), compute_dice((logits > 0).float(), truth, ignore_empty=True).flatten(), rtol=1e-6
    )
    assert metrics.mae(rows) == pytest.approx(MeanAbsoluteError()(logits.sigmoid(), truth).item())
