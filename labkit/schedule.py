"""The learning rate, epoch by epoch: the report's plateau rule, or a cosine behind a warm-up."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from labkit.experiment import Experiment


def scheduler_of(experiment: Experiment, optimizer: Optimizer) -> LRScheduler:
    """What sets the optimizer's learning rate; its `step` takes the validation loss of the epoch that ends."""
    if experiment.schedule == "cosine":
        return Cosine(optimizer, lambda epoch: cosine(epoch, experiment.epochs, experiment.warmup))
    # Watches the validation loss; the report does not say what its scheduler watched.
    return ReduceLROnPlateau(optimizer, patience=experiment.patience, factor=experiment.factor)


def cosine(epoch: int, epochs: int, warmup: int) -> float:
    """The rate of an epoch, from 0, as a share of the highest: in equal steps up to 1 after `warmup` epochs, then down.

    Down along half a cosine, which would reach 0 an epoch behind the last (Loshchilov and Hutter, ICLR 2017).
    """
    if epoch < warmup:
        return (epoch + 1) / (warmup + 1)
    return (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))) / 2


class Cosine(LambdaLR):
    """Takes the validation loss as ReduceLROnPlateau does, and does not look at it."""

    def step(self, val_loss: float | None = None) -> None:
        super().step()
