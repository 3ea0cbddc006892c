"""Losses, each a value a film: a split's loss is the mean over its films. The report compares bce and bce_iou (III-B).

Everything is computed in float32, under autocast too: the sums over 256 x 256 pixels do not fit half precision.
"""

import torch.nn.functional as F
from torch import Tensor

from labkit.experiment import Experiment
from labkit.model import Heads

EPSILON = 1.0  # pixels; the report's epsilon, for which it gives no value. It keeps the loss defined on empty films.
LUNG_SHARE, FILM_SHARE = 0.5, 0.1  # of a multi-task network, beside the infection's 1: what the run is for leads
GAMMA = 2.0  # of the focal loss: the value that its paper found best
BETA = 0.7  # the Tversky loss's weight of false negatives, found best by its paper; false positives weigh the rest


def bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy with logits, the mean over a film's pixels; (B, 1, H, W), truth 0 or 1 -> (B,), >= 0."""
    pixels = F.binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="none")
    return pixels.flatten(1).mean(1)


def soft_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (|P and G| + e) / (|P or G| + e) with probabilities P as soft sets (eq. 1); (B, 1, H, W) -> (B,) in [0, 1).

    A film is its own set: films with a large mask do not outweigh those with a small one.
    """
    probability, truth = logits.float().sigmoid().flatten(1), truth.float().flatten(1)
    intersection = (probability * truth).sum(1)
    union = probability.sum(1) + truth.sum(1) - intersection
    return 1 - (intersection + EPSILON) / (union + EPSILON)


def soft_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 |P and G| + e) / (|P| + |G| + e), soft sets as in soft_iou (Milletari et al., 3DV 2016, without squares)."""
    probability, truth = logits.float().sigmoid().flatten(1), truth.float().flatten(1)
    intersection, sizes = (probability * truth).sum(1), probability.sum(1) + truth.sum(1)
    return 1 - (2 * intersection + EPSILON) / (sizes + EPSILON)


def focal(logits: Tensor, truth: Tensor) -> Tensor:
    """BCE of each pixel times (1 - p)**GAMMA, p the probability of its true class; (B, 1, H, W) -> (B,), >= 0.

    Pixels that are right already hardly count (Lin et al., ICCV 2017; without their weight for rare classes).
    """
    logits, truth = logits.float(), truth.float()
    pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    wrong = (logits * (1 - 2 * truth)).sigmoid()  # 1 - p
    return (wrong**GAMMA * pixels).flatten(1).mean(1)


def tversky(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (TP + e) / (TP + (1 - BETA) FP + BETA FN + e), soft sets as in soft_iou: TP = |P and G|.

    Prefers a mask that is too large to one that is too small (Salehi et al., MLMI 2017).
    """
    probability, truth = logits.float().sigmoid().flatten(1), truth.float().flatten(1)
    tp = (probability * truth).sum(1)
    fp, fn = probability.sum(1) - tp, truth.sum(1) - tp
    return 1 - (tp + EPSILON) / (tp + (1 - BETA) * fp + BETA * fn + EPSILON)


def bce_iou(logits: Tensor, truth: Tensor, alpha: float = 0.5) -> Tensor:
    """alpha BCE + (1 - alpha) soft IoU (eq. 1); (B, 1, H, W) -> (B,)."""
    return alpha * bce(logits, truth) + (1 - alpha) * soft_iou(logits, truth)


def bce_dice(logits: Tensor, truth: Tensor, alpha: float = 0.5) -> Tensor:
    """alpha BCE + (1 - alpha) soft Dice; (B, 1, H, W) -> (B,)."""
    return alpha * bce(logits, truth) + (1 - alpha) * soft_dice(logits, truth)


# Each by its name in experiment.LOSSES; those of SUMS take alpha, the weight of BCE, too.
SINGLE = {"bce": bce, "dice": soft_dice, "focal": focal, "tversky": tversky}
SUMS = {"bce_iou": bce_iou, "bce_dice": bce_dice}


def other_heads(found: Heads, truth: Tensor, lungs: Tensor, experiment: Experiment) -> Tensor:
    """What a MultiTaskUNet pays for its other two heads; truth and lungs 0 or 1, (B, 1, H, W) -> (B,).

    LUNG_SHARE of the experiment's loss on the lungs, and FILM_SHARE of the BCE of "is there any infection?".
    """
    infected = truth.flatten(1).amax(1)
    film = F.binary_cross_entropy_with_logits(found.film[:, 0].float(), infected.float(), reduction="none")
    return LUNG_SHARE * film_losses(experiment.loss, experiment.alpha, found.lung, lungs) + FILM_SHARE * film


def film_losses(name: str, alpha: float, logits: Tensor, truth: Tensor) -> Tensor:
    """The loss of that name, one of experiment.LOSSES, for each film; (B, 1, H, W) -> (B,)."""
    return SUMS[name](logits, truth, alpha) if name in SUMS else SINGLE[name](logits, truth)
