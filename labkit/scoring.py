"""A network's view of a split: probabilities, and the counts that scores are made of, a row a film."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from labkit import losses, metrics
from labkit.experiment import Experiment
from labkit.hardware import autocast
from labkit.store import Pack


def batches(pack: Pack, rows: np.ndarray, size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Films and masks of the pack's `rows`, `size` at a time; float32 (B, 1, H, W), films in [0, 1], masks 0 or 1."""
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        images, masks = (torch.from_numpy(array[chosen]).to(device)[:, None] for array in (pack.images, pack.masks))
        yield images.float() / 255, masks.float()


@torch.inference_mode()
def predictions(
    network: nn.Module, pack: Pack, rows: np.ndarray, experiment: Experiment, device: torch.device
) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """What the network says of the pack's `rows`, a batch at a time: row numbers (B,), logits and masks (B, 1, H, W)."""
    network.eval()
    size = experiment.batch
    for start, (images, masks) in zip(range(0, len(rows), size), batches(pack, rows, size, device)):
        with autocast(experiment, device):
            logits = logits_of(network, images.to(memory_format=torch.channels_last), experiment)
        yield rows[start : start + size], logits, masks


def logits_of(network: nn.Module, films: Tensor, experiment: Experiment) -> Tensor:
    """The network's logits (B, 1, H, W) of films of that shape; with `tta`, the mean of a film's and its mirror image's.

    Whatever judges a network goes through here, validation during training too: the best epoch is chosen by what is then
    scored.
    """
    logits = network(films)
    return (logits + network(films.flip(3)).flip(3)) / 2 if experiment.tta else logits


@torch.inference_mode()
def score(
    network: nn.Module, pack: Pack, rows: np.ndarray, experiment: Experiment, device: torch.device
) -> pd.DataFrame:
    """One row for each film of the pack's `rows`: split, class, control, name, the counts of `metrics.count`, its loss."""
    found = predictions(network, pack, rows, experiment, device)
    return table(pack, rows, [film_counts(experiment, logits, masks) for _, logits, masks in found])


def film_counts(experiment: Experiment, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """The counts of `metrics.count` and the loss of each film; (B, 1, H, W) -> tensors (B,)."""
    loss = losses.film_losses(experiment.loss, experiment.alpha, logits, masks)
    return metrics.count(logits, masks) | {"loss": loss}


def table(pack: Pack, rows: np.ndarray, parts: list[dict[str, Tensor]]) -> pd.DataFrame:
    """The batches' columns put together, behind split, class, control and name of the pack's `rows`."""
    columns = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
    # As float64 a value is the same number after it was written to a CSV file and read again.
    columns = {name: column.astype(float) if column.dtype.kind == "f" else column for name, column in columns.items()}
    films = pack.samples.loc[rows, ["split", "class", "control", "name"]].reset_index(drop=True)
    return films.assign(**columns)


@torch.inference_mode()
def probabilities(network: nn.Module, images: np.ndarray, experiment: Experiment, device: torch.device) -> np.ndarray:
    """Films uint8 (B, H, W) -> probabilities float32 (B, H, W) in [0, 1]."""
    network.eval()
    films = torch.from_numpy(images).to(device)[:, None].float() / 255
    with autocast(experiment, device):
        logits = logits_of(network, films.to(memory_format=torch.channels_last), experiment)
    return logits.float().sigmoid()[:, 0].cpu().numpy()
