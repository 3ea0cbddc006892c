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
def score(
    network: nn.Module, pack: Pack, rows: np.ndarray, experiment: Experiment, device: torch.device
) -> pd.DataFrame:
    """One row for each film of the pack's `rows`: split, class, control, name, the counts of `metrics.count`, its loss."""
    network.eval()
    parts = []
    for images, masks in batches(pack, rows, experiment.batch, device):
        with autocast(experiment, device):
            logits = network(images.to(memory_format=torch.channels_last))
        loss = losses.film_losses(experiment.loss, experiment.alpha, logits, masks)
        parts.append(metrics.count(logits, masks) | {"loss": loss})
    columns = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
    films = pack.samples.loc[rows, ["split", "class", "control", "name"]].reset_index(drop=True)
    return films.assign(**columns)


@torch.inference_mode()
def probabilities(network: nn.Module, images: np.ndarray, experiment: Experiment, device: torch.device) -> np.ndarray:
    """Films uint8 (B, H, W) -> probabilities float32 (B, H, W) in [0, 1]."""
    network.eval()
    films = torch.from_numpy(images).to(device)[:, None].float() / 255
    with autocast(experiment, device):
        logits = network(films.to(memory_format=torch.channels_last))
    return logits.float().sigmoid()[:, 0].cpu().numpy()
