"""Losses by hand and against other implementations."""

import math

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss, FocalLoss, TverskyLoss

from labkit import losses, style
from labkit.errors import LabkitError
from labkit.experiment import LOSSES
from labkit.model import Heads
from labkit.presets import load
from labkit.training import fit

# Logits of probability 0.5, 0.25, 0.75.
HALF, QUARTER, THREE_QUARTERS = 0.0, -math.log(3), math.log(3)


def film(*pixels) -> torch.Tensor:
    return torch.tensor(pixels, dtype=torch.float32).reshape(1, 1, 1, -1)


def random_films(count=5, side=24):
    random = torch.Generator().manual_seed(4)
    logits = torch.randn(count, 1, side, side, generator=random) * 3
    truth = (torch.rand(count, 1, side, side, generator=random) < torch.rand(count, 1, 1, 1, generator=random)).float()
    return logits, truth


def test_every_loss_can_be_asked_for_and_drawn():
    assert sorted([*losses.SINGLE, *losses.SUMS]) == sorted(LOSSES) and list(LOSSES) == list(style.LOSS_COLOURS)
    assert len(set(style.LOSS_COLOURS.values())) == len(LOSSES)
    for name in LOSSES:
        assert load("smoke", "lung-bce", loss=name).loss == name
    with pytest.raises(LabkitError, match="loss: there is no such loss; there are bce, .* .got 'BCE'."):
        load("smoke", "lung-bce", loss="BCE")


def test_bce_by_hand():
    # -ln .5 for the first pixel, -ln .75 for the others: each is right with that probability.
    logits, truth = film(HALF, QUARTER, THREE_QUARTERS), film(1, 0, 1)
    assert losses.bce(logits, truth).item() == pytest.approx((math.log(2) + 2 * math.log(4 / 3)) / 3)


def test_soft_iou_by_hand():
    # Intersection .5 + .75 = 1.25; union (.5 + .25 + .75) + 2 - 1.25 = 2.25.
    logits, truth = film(HALF, QUARTER, THREE_QUARTERS), film(1, 0, 1)
    assert losses.soft_iou(logits, truth).item() == pytest.approx(1 - (1.25 + 1) / (2.25 + 1))


def test_bce_iou_by_hand():
    logits, truth = film(HALF, QUARTER, THREE_QUARTERS), film(1, 0, 1)
    bce, overlap = losses.bce(logits, truth).item(), losses.soft_iou(logits, truth).item()
    assert losses.bce_iou(logits, truth).item() == pytest.approx(0.5 * bce + 0.5 * overlap)
    assert losses.bce_iou(logits, truth, alpha=0.2).item() == pytest.approx(0.2 * bce + 0.8 * overlap)


def test_soft_dice_by_hand():
    # Intersection 1.25, sizes 1.5 + 2, as in test_soft_iou_by_hand.
    logits, truth = film(HALF, QUARTER, THREE_QUARTERS), film(1, 0, 1)
    assert losses.soft_dice(logits, truth).item() == pytest.approx(1 - (2 * 1.25 + 1) / (3.5 + 1))
    bce = losses.bce(logits, truth).item()
    mixed = losses.bce_dice(logits, truth, alpha=0.2).item()
    assert mixed == pytest.approx(0.2 * bce + 0.8 * (1 - 3.5 / 4.5))


def test_focal_by_hand():
    # Wrong by .5, .25, .25: each pixel's BCE times the square of that.
    logits, truth = film(HALF, QUARTER, THREE_QUARTERS), film(1, 0, 1)
    expected = (0.5**2 * math.log(2) + 2 * 0.25**2 * math.log(4 / 3)) / 3
    assert losses.focal(logits, truth).item() == pytest.approx(expected)


def test_tversky_by_hand():
    # Found 1.25; false .25; missed .75.
    logits, truth = film(HALF, QUARTER, THREE_QUARTERS), film(1, 0, 1)
    expected = 1 - (1.25 + 1) / (1.25 + 0.3 * 0.25 + 0.7 * 0.75 + 1)
    assert losses.tversky(logits, truth).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["dice", "bce_dice", "focal", "tversky"])
def test_a_loss_that_no_preset_names_trains(smoke, name):
    run = smoke("lung-bce", loss=name, epochs=1)
    history = fit(run)
    assert run.name == f"lung-bce,epochs=1,loss={name}" and history["train_loss"].notna().all()


def test_empty_film():
    """All-black truth: predicting black costs nothing, predicting white nearly everything, and the gradient says so."""
    truth = torch.zeros(1, 1, 16, 16)
    black, white = torch.full_like(truth, -30), torch.full_like(truth, 30)
    assert losses.soft_iou(black, truth).item() == pytest.approx(0, abs=1e-6)
    assert losses.soft_iou(white, truth).item() == pytest.approx(1 - 1 / 257)
    logits = torch.full_like(truth, -2.0, requires_grad=True)
    losses.bce_iou(logits, truth).sum().backward()
    assert (logits.grad > 0).all()  # down is better


def test_better_masks_cost_less():
    truth = torch.zeros(1, 1, 8, 8)
    truth[..., :4] = 1
    right, half, wrong = (10 * (mask - 0.5) for mask in (truth, truth.roll(2, 3), 1 - truth))
    for name in LOSSES:
        costs = [losses.film_losses(name, 0.5, logits, truth).item() for logits in (right, half, wrong)]
        assert costs == sorted(costs) and costs[0] < 0.02 and costs[2] > 0.9


def test_each_film_is_its_own_set():
    logits, truth = random_films()
    for name in LOSSES:
        together = losses.film_losses(name, 0.5, logits, truth)
        alone = torch.cat(
            [losses.film_losses(name, 0.5, logits[i : i + 1], truth[i : i + 1]) for i in range(len(logits))]
        )
        assert together.shape == (len(logits),)
        torch.testing.assert_close(together, alone)


def test_equals_torch_and_monai():
    logits, truth = random_films()
    torch.testing.assert_close(
        losses.bce(logits, truth).mean(), torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    )
    # MONAI's Jaccard doubles numerator and denominator, so its smoothing is twice our epsilon.
    smooth = 2 * losses.EPSILON
    theirs = DiceLoss(sigmoid=True, jaccard=True, smooth_nr=smooth, smooth_dr=smooth, reduction="none")
    torch.testing.assert_close(losses.soft_iou(logits, truth), theirs(logits, truth).flatten())


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_dice_equals_monai(alpha):
    logits, truth = random_films()
    truth[0] = 0  # an empty film too
    smooth = {"smooth_nr": losses.EPSILON, "smooth_dr": losses.EPSILON}
    theirs = DiceLoss(sigmoid=True, reduction="none", **smooth)(logits, truth).flatten()
    torch.testing.assert_close(losses.film_losses("dice", alpha, logits, truth), theirs)
    both = DiceCELoss(sigmoid=True, lambda_dice=1 - alpha, lambda_ce=alpha, **smooth)(logits, truth)
    torch.testing.assert_close(losses.film_losses("bce_dice", alpha, logits, truth).mean(), both)


def test_focal_and_tversky_equal_monai():
    logits, truth = random_films()
    truth[0] = 0
    theirs = FocalLoss(gamma=losses.GAMMA, reduction="none")(logits, truth).flatten(1).mean(1)
    torch.testing.assert_close(losses.focal(logits, truth), theirs)
    smooth = {"smooth_nr": losses.EPSILON, "smooth_dr": losses.EPSILON}
    theirs = TverskyLoss(sigmoid=True, alpha=1 - losses.BETA, beta=losses.BETA, reduction="none", **smooth)
    torch.testing.assert_close(losses.tversky(logits, truth), theirs(logits, truth).flatten())


@pytest.mark.parametrize("name", LOSSES)
def test_float32_under_autocast(name):
    """Sums over 256 x 256 pixels overflow fp16 and lose digits in bf16; the loss must not notice either."""
    truth = torch.ones(1, 1, 256, 256)
    logits = torch.full_like(truth, 1.5)
    exact = losses.film_losses(name, 0.5, logits, truth)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(losses.film_losses(name, 0.5, logits, truth), exact)
        half = losses.film_losses(name, 0.5, logits.bfloat16(), truth)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact)  # 1.5 is exact in bf16


def test_other_heads_by_hand():
    """Half the run's loss on the lungs, a tenth of the BCE of "infected or not"."""
    truth, lungs = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    truth[0, 0, 1, 1] = 1  # the first film is infected
    heads = Heads(torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 3.0), torch.tensor([[2.0], [-1.0]]))
    run = load("smoke", "infection-bce", multitask=True)
    expected = [0.5 * math.log1p(math.exp(-3)) + 0.1 * math.log1p(math.exp(-said)) for said in (2, 1)]
    assert losses.other_heads(heads, truth, lungs, run).tolist() == pytest.approx(expected)
