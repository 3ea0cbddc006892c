"""fit(): one training, from films to best.pt; interrupted at any time, it goes on from the last whole epoch."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from labkit import code, losses, metrics, provenance, store
from labkit.augment import augment
from labkit.errors import LabkitError
from labkit.experiment import UNNAMED, Experiment
from labkit.files import lock, read_json, shown, write_json, written
from labkit.hardware import autocast, device_of
from labkit.model import ResidualUNet
from labkit.scoring import batches, score
from labkit.store import Pack

HISTORY = ["epoch", "train_loss", "val_loss", "mae", "iou", "lr", "seconds"]


def identity_of(experiment: Experiment, pack: Pack, stage: str = "train") -> dict:
    """What a result of a stage belongs to: the knobs, the films, the code. Results with another identity are not used."""
    knobs = {knob: value for knob, value in experiment.model_dump().items() if knob not in UNNAMED}
    return {"knobs": knobs, "films": pack.about["fingerprint"], "code": code.HASHES[stage]}


def fit(experiment: Experiment, pack: Pack | None = None) -> pd.DataFrame:
    """Train an experiment by the report's recipe (III-D) and return its history, a row an epoch.

    Writes into experiment.folder: experiment.json (identity, environment), history.csv, last.pt after each epoch, best.pt
    at each new best validation IoU, and training.json once all epochs are done. A training that is done is not done
    again; an interrupted one goes on where it was, to the same result as without the interruption. One whose knobs,
    films or code have changed starts anew. Prints a line an epoch. Two trainings of one run at once: the second waits.
    `pack`: the experiment's films, if they are open already.

    History columns: epoch from 1, train_loss (mean over the epoch's augmented films while the network learns), val_loss,
    mae, iou (metrics.REDUCTION), lr used in that epoch, seconds.
    """
    pack = pack or store.load(experiment)
    held = lock(experiment.folder / ".lock", "another training")
    try:
        return _fit(experiment, pack)
    finally:
        os.close(held)


def _fit(experiment: Experiment, pack: Pack) -> pd.DataFrame:
    folder, identity = experiment.folder, identity_of(experiment, pack)
    known = read_json(folder / "experiment.json") if (folder / "experiment.json").is_file() else {"identity": None}
    if known["identity"] == identity and (folder / "training.json").is_file():
        return pd.read_csv(folder / "history.csv")
    if known["identity"] != identity:
        for name in ("training.json", "history.csv", "last.pt", "best.pt", "evaluation.json"):
            (folder / name).unlink(missing_ok=True)

    device = device_of(experiment)
    environment = provenance.environment(experiment, device)
    state = Trainee(experiment, device)
    history = state.restore(folder / "last.pt")
    if history and known["environment"] != environment:
        print("this run goes on with another machine, thread count or code version than before: last digits may differ")
    write_json(folder / "experiment.json", {"identity": identity, "environment": environment})
    train_rows, val_rows = (pack.rows(split, experiment.controls) for split in ("Train", "Val"))
    films = f"{len(train_rows)} films to train on, {len(val_rows)} to validate with"
    print(f"{experiment.preset}/{experiment.name}: {films}", flush=True)
    try:
        for epoch in range(len(history) + 1, experiment.epochs + 1):
            start, lr = time.perf_counter(), state.optimizer.param_groups[0]["lr"]
            train_loss = train_epoch(state, pack, train_rows, epoch)
            rows = score(state.network, pack, val_rows, experiment, device)
            values = [train_loss, float(rows["loss"].mean()), metrics.mae(rows), metrics.iou(rows), lr]
            if not np.isfinite(values).all():
                raise LabkitError(_not_finite(experiment, epoch, values, rows))
            state.scheduler.step(values[1])
            history.append(dict(zip(HISTORY, [epoch, *values, round(time.perf_counter() - start, 3)])))
            _save(folder, state, history)
            print(_line(history, experiment), flush=True)
    except KeyboardInterrupt:
        done = len(history)
        kept = f"{done} of {experiment.epochs} epochs are kept in {shown(folder)}"
        raise LabkitError(f"interrupted: {kept}; run the same again to go on") from None
    _write_history(folder, history)
    write_json(folder / "training.json", {"identity": identity, "best_epoch": best_epoch(history)})
    return pd.DataFrame(history, columns=HISTORY)


def best_epoch(history: list[dict]) -> int:
    """The epoch with the best validation IoU; the first of equals."""
    return max(history, key=lambda row: row["iou"])["epoch"]


def load_best(experiment: Experiment, device: torch.device) -> ResidualUNet:
    """The network of a finished training as it was in its best epoch."""
    checkpoint = torch.load(experiment.folder / "best.pt", map_location=device, weights_only=True)
    best = read_json(experiment.folder / "training.json")["best_epoch"]
    if checkpoint["epoch"] != best:
        raise LabkitError(
            f"{shown(experiment.folder / 'best.pt')}: is not of epoch {best}, the best; remove the folder, train again"
        )
    network = ResidualUNet(experiment.base).to(device, memory_format=torch.channels_last)
    network.load_state_dict(checkpoint["network"])
    return network


class Trainee:
    """All that changes while training: network, optimizer, scheduler."""

    def __init__(self, experiment: Experiment, device: torch.device):
        torch.manual_seed(experiment.seed)  # the initial weights
        self.experiment, self.device = experiment, device
        self.network = ResidualUNet(experiment.base).to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=experiment.lr, weight_decay=experiment.weight_decay
        )
        # Watches the validation loss; the report does not say what its scheduler watched.
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, patience=experiment.patience, factor=experiment.factor
        )

    def step(self, images: Tensor, masks: Tensor) -> Tensor:
        """One step down the gradient on a batch, (B, 1, H, W); returns its films' losses (B,), from before the step."""
        with autocast(self.experiment, self.device):
            logits = self.network(images.to(memory_format=torch.channels_last))
        film_losses = losses.film_losses(self.experiment.loss, self.experiment.alpha, logits, masks)
        self.optimizer.zero_grad()
        film_losses.mean().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.experiment.clip)
        self.optimizer.step()
        return film_losses.detach()

    def parts(self) -> dict:
        return {"network": self.network, "optimizer": self.optimizer, "scheduler": self.scheduler}

    def restore(self, path: Path) -> list[dict]:
        """Take over the state that was saved last, and return the history up to it; [] where nothing was saved."""
        if not path.is_file():
            return []
        saved = torch.load(path, map_location=self.device, weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])
        return saved["history"]


def train_epoch(state: Trainee, pack: Pack, rows: np.ndarray, epoch: int) -> float:
    """One pass over the pack's `rows` in a new order, augmented; returns the mean of the films' losses.

    Order and augmentation come from a generator made from seed and epoch, so that an epoch is the same whether the
    training was interrupted before it or not.
    """
    experiment, device = state.experiment, state.device
    random = torch.Generator().manual_seed(experiment.seed * 100_003 + epoch)
    order = rows[torch.randperm(len(rows), generator=random).numpy()]
    state.network.train()
    total = torch.zeros((), device=device)
    for images, masks in batches(pack, order, experiment.batch, device):
        # Summed on the device: asking for each loss would make a GPU wait.
        total += state.step(*augment(images, masks, experiment, random)).sum()
    return float(total / len(rows))


def _save(folder: Path, state: Trainee, history: list[dict]) -> None:
    """best.pt if the last epoch is the best, history.csv, then last.pt: what is in last.pt is all there is to go on with."""
    saved = {name: part.state_dict() for name, part in state.parts().items()} | {"history": history}
    if best_epoch(history) == len(history):
        with written(folder / "best.pt") as temporary:
            torch.save({"network": saved["network"], "epoch": len(history)}, temporary)
    _write_history(folder, history)
    with written(folder / "last.pt") as temporary:
        torch.save(saved, temporary)


def _write_history(folder: Path, history: list[dict]) -> None:
    with written(folder / "history.csv") as temporary:
        pd.DataFrame(history, columns=HISTORY).to_csv(temporary, index=False)


def _line(history: list[dict], experiment: Experiment) -> str:
    row = history[-1]
    left = (experiment.epochs - len(history)) * np.mean([past["seconds"] for past in history])
    return (
        f"{experiment.name} epoch {row['epoch']}/{experiment.epochs}  train loss {row['train_loss']:.4f}  val loss "
        f"{row['val_loss']:.4f}  MAE {row['mae']:.4f}  IoU {row['iou']:.4f}  {row['seconds']:.1f} s, {left:.0f} s left"
        + ("  best" if best_epoch(history) == row["epoch"] else "")
    )


def _not_finite(experiment: Experiment, epoch: int, values: list[float], rows: pd.DataFrame) -> str:
    if not (rows["truth"] > 0).any():
        return "data: no validation film has a non-empty mask, so there is no IoU to choose the best epoch by"
    names = ", ".join(name for name, value in zip(HISTORY[1:], values) if not np.isfinite(value))
    return f"{experiment.name}: {names} is no finite number in epoch {epoch}; the epochs before it are kept; try a lower lr"
