"""A network's view of a split: probabilities, and the counts that scores are made of, a row a film."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from labkit import losses, metrics, progress
from labkit.experiment import Experiment
from labkit.hardware import autocast
from labkit.model import BACKGROUND_LOGIT
from labkit.store import Pack


def batches(
    pack: Pack, rows: np.ndarray, size: int, device: torch.device, lungs: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Films and masks of the pack's `rows`, `size` at a time; float32 (B, 1, H, W), films in [0, 1], masks 0 or 1.

    With `lungs`, masks are (B, 2, H, W): the lungs' masks lie behind those of the task.
    """
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        arrays = (pack.images, pack.masks, pack.lungs) if lungs else (pack.images, pack.masks)
        images, *masks = (torch.from_numpy(array[chosen]).to(device)[:, None].float() for array in arrays)
        yield images / 255, torch.cat(masks, dim=1)


@torch.inference_mode()
def predictions(
    network: nn.Module, pack: Pack, rows: np.ndarray, experiment: Experiment, device: torch.device
) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """What the network says of the pack's `rows`, a batch at a time: row numbers (B,), logits and masks (B, 1, H, W)."""
    network.eval()
    size = experiment.batch
    found = batches(pack, rows, size, device, experiment.needs_true_lungs)
    found = progress.track(found, math.ceil(len(rows) / size), f"{experiment.label}, scoring {len(rows):,} films")
    for start, (images, masks) in zip(range(0, len(rows), size), found):
        with autocast(experiment, device):
            logits = logits_of(network, images, masks[:, 1:], experiment)
        yield rows[start : start + size], logits, masks[:, :1]


def logits_of(network: nn.Module, images: Tensor, lungs: Tensor, experiment: Experiment) -> Tensor:
    """The network's logits (B, 1, H, W) of images of that shape, whose lung masks are `lungs`.

    Unless the experiment needs_true_lungs, these may be (B, 0, H, W). With `tta`, the mean over that many views of a film:
    itself, its mirror image, and the two moved by a pixel; in float32, as all means are. Whatever judges a network goes
    through here, validation during training too: the best epoch is chosen by what is then scored.
    """
    lungs = lungs_of(network, images, lungs, experiment)
    films = network_input(images, lungs, experiment)
    logits = torch.stack([_of_view(network, films, view).float() for view in range(experiment.tta)]).mean(0)
    return logits.masked_fill(lungs == 0, BACKGROUND_LOGIT) if experiment.lung_prior else logits


def _of_view(network: nn.Module, films: Tensor, view: int) -> Tensor:
    """Logits of a view of films, laid back onto the films: 0 the films themselves, 1 mirrored, 2 moved, 3 moved and mirrored.

    Which pixels share one when the network halves a film is chance; a pixel down and to the right they are other ones. What
    leaves the film comes in at the other side.
    """
    shift = view // 2
    seen = films.roll((shift, shift), (2, 3)) if shift else films
    logits = network(seen.flip(3)).flip(3) if view % 2 else network(seen)
    return logits.roll((-shift, -shift), (2, 3)) if shift else logits


def lungs_of(network: nn.Module, images: Tensor, true: Tensor, experiment: Experiment) -> Tensor:
    """The lung masks by which `lung_input` and `lung_prior` go: the `true` ones, or those that the lung run finds."""
    if not experiment.uses_lung_run:
        return true
    with torch.no_grad():
        return (network.get_submodule("finder")(images.to(memory_format=torch.channels_last)) > 0).to(images.dtype)


def network_input(images: Tensor, lungs: Tensor, experiment: Experiment) -> Tensor:
    """What the network is given: images (B, 1, H, W), behind them the lungs where the experiment says so."""
    films = torch.cat([images, lungs], dim=1) if experiment.lung_input else images
    return films.to(memory_format=torch.channels_last)


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
def probabilities(
    network: nn.Module, images: np.ndarray, lungs: np.ndarray | None, experiment: Experiment, device: torch.device
) -> np.ndarray:
    """Films uint8 (B, H, W) -> probabilities float32 (B, H, W) in [0, 1].

    `lungs`: their lung masks, uint8 (B, H, W), 0 and 1; None will do unless the experiment needs_true_lungs.
    """
    network.eval()
    films = torch.from_numpy(images).to(device)[:, None].float() / 255
    masks = films[:, :0] if lungs is None else torch.from_numpy(lungs).to(device)[:, None].float()
    with autocast(experiment, device):
        logits = logits_of(network, films, masks, experiment)
    return logits.float().sigmoid()[:, 0].cpu().numpy()
