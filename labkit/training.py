"""fit(): one training, from films to best.pt; interrupted at any time, it goes on from the last whole epoch."""

import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from labkit import checkpoint, code, losses, metrics, parallel, pretraining, progress, provenance, store
from labkit.augment import augment
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import checksum, intact, lock, read_json, shown, write_json, written
from labkit.hardware import autocast, set_up_device
from labkit.model import ResidualUNet, network_of
from labkit.schedule import scheduler_of
from labkit.scoring import batches, lungs_of, network_input, score
from labkit.store import Pack

HISTORY = ["epoch", "train_loss", "val_loss", "mae", "iou", "lr", "seconds"]


def identity_of(experiment: Experiment, pack: Pack, stage: str = "train") -> dict:
    """What a result of a stage belongs to: the knobs, the films, the code, and the weights that training starts from.

    Results with another identity are not used.
    """
    made_of = {"knobs": experiment.identifying(), "films": pack.about["fingerprint"], "code": code.HASHES[stage]}
    return made_of | pretraining.digest(experiment)


def fit(experiment: Experiment, pack: Pack | None = None) -> pd.DataFrame:
    """Train an experiment by the report's recipe (III-D) and return its history, a row an epoch.

    Writes into experiment.folder: experiment.json (identity, environments, where the films are); after each epoch
    history.csv and last.pt, which holds all there is to go on with, and previous.pt, the one before it; once all epochs are
    done best.pt, the network of the best epoch, and training.json. A training that is done is not done again; an
    interrupted one goes on where it was, to the same result as without the interruption. One whose knobs, films or code have
    changed starts anew. Prints a line an epoch, and more in long ones (progress.track). Two trainings of one run at once: the
    second waits. `pack`: the experiment's films, if they are open already.

    Raises LabkitError, which says what is kept, for Ctrl-C, a full disk, and numbers that are no longer finite.

    History columns: epoch from 1, train_loss (mean over the epoch's augmented films while the network learns), val_loss,
    mae, iou (metrics.REDUCTION), lr used in that epoch, seconds.
    """
    pack = pack or store.load(experiment)
    with lock(experiment.folder / ".lock", "another training"):
        return _fit(experiment, pack)


def _fit(experiment: Experiment, pack: Pack) -> pd.DataFrame:
    folder, identity = experiment.folder, identity_of(experiment, pack)
    known = read_json(folder / "experiment.json", {"identity": None, "environments": []})
    if known["identity"] == identity and intact(folder / "training.json"):
        return pd.read_csv(folder / "history.csv")
    if known["identity"] != identity:
        for name in ("training.json", "history.csv", "best.pt", "evaluation.json"):
            (folder / name).unlink(missing_ok=True)
        if known["identity"]:  # else it was lost, and what there is to go on with knows its own
            for name in ("last.pt", "previous.pt"):
                (folder / name).unlink(missing_ok=True)

    device = set_up_device(experiment)
    environment = provenance.environment(experiment, device)
    parallel.of_first(identity)  # other processes, where there are any, begin with this one: see distributed.follow
    state = Trainee(experiment, device)
    state.restore(folder, identity)
    history = state.history
    # Those that computed an epoch: another one is added once it has.
    environments = (known["environments"] if history else []) or [environment]
    about = {"identity": identity, "environments": environments, "data": experiment.data}
    write_json(folder / "experiment.json", about)
    if environments[-1] != environment and not finished(experiment, history):
        print("this run goes on with another machine, thread count or code version than before: last digits may differ")
    train_rows, val_rows = (pack.rows(split, experiment.controls) for split in ("Train", "Val"))
    if experiment.controls and not pack.samples["control"].to_numpy()[train_rows].any():
        raise LabkitError(f"controls: there is no control film to train on in {shown(store.root_of(experiment))}")
    films = f"{len(train_rows)} films to train on, {len(val_rows)} to validate with"
    print(f"{experiment.preset}/{experiment.label}: {films}", flush=True)
    kept = len(history)
    try:
        while not parallel.of_first(finished(experiment, history)):
            epoch = len(history) + 1
            start, lr = time.perf_counter(), state.optimizer.param_groups[0]["lr"]
            train_loss = train_epoch(state, pack, train_rows, epoch)
            rows = score(state.judged, pack, val_rows, experiment, device)
            row = {"epoch": epoch, "train_loss": train_loss, "val_loss": float(rows["loss"].mean())}
            row |= {"mae": metrics.mae(rows), "iou": metrics.iou(rows), "lr": lr}
            if not np.isfinite(list(row.values())).all():
                raise LabkitError(_not_finite(experiment, row, rows))
            state.scheduler.step(parallel.of_first(row["val_loss"]))
            history.append(row | {"seconds": round(time.perf_counter() - start, 3)})
            if best_epoch(history) == epoch:
                state.best = {name: value.clone() for name, value in state.judged.state_dict().items()}
            checkpoint.save(folder / "last.pt", state.saved(identity), keep=folder / "previous.pt")
            kept = epoch
            _write_history(folder, history)
            if environments[-1] != environment:
                environments.append(environment)
                write_json(folder / "experiment.json", about)
            print(_line(history, experiment), flush=True)
    except KeyboardInterrupt:
        raise LabkitError(
            f"interrupted: {kept} of {experiment.epochs} epochs are kept in {shown(folder)}; run the same again to go on"
        ) from None
    _write_history(folder, history)
    checkpoint.save(folder / "best.pt", {"network": state.best, "epoch": best_epoch(history)})
    sums = {name: checksum(folder / name) for name in ("history.csv", "best.pt")}
    write_json(folder / "training.json", {"best_epoch": best_epoch(history), "files": sums})
    return pd.DataFrame(history, columns=HISTORY)


def finished(experiment: Experiment, history: list[dict]) -> bool:
    """Whether all epochs are done, or `stop_after` epochs have not bettered the validation IoU."""
    waited = len(history) - best_epoch(history) if history else 0
    return len(history) >= experiment.epochs or 0 < experiment.stop_after <= waited


def best_epoch(history: list[dict]) -> int:
    """The epoch with the best validation IoU; the first of equals."""
    return max(history, key=lambda row: row["iou"])["epoch"]


def load_best(experiment: Experiment, device: torch.device) -> ResidualUNet:
    """The network of a finished training as it was in its best epoch. Raises checkpoint.Damaged for a file that is not it."""
    path = experiment.folder / "best.pt"
    network = network_of(experiment).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    saved = checkpoint.load(path, device)
    try:
        network.load_state_dict(saved["network"])
    except (KeyError, RuntimeError):
        raise checkpoint.Damaged(f"{shown(path)}: does not hold the network of {experiment.name}") from None
    return network


class Trainee:
    """All that changes while training: network, optimizer, scheduler, history, and the best network so far.

    With `ema`, also an exponential moving average of the network's weights over the steps (Polyak and Juditsky, 1992).
    """

    def __init__(self, experiment: Experiment, device: torch.device):
        torch.manual_seed(experiment.seed)  # the initial weights
        self.experiment, self.device = experiment, device
        self.network = network_of(experiment).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pretraining.start(self.network, experiment)
        self.average = None
        if experiment.ema:  # of batch normalisation's means it has the network's own
            self.average = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(experiment.ema))
        self.shared = parallel.wrapped(self.network)  # the same network, whose gradients are all processes'
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=experiment.lr, weight_decay=experiment.weight_decay, fused=True
        )
        self.scheduler = scheduler_of(experiment, self.optimizer)
        self.history: list[dict] = []  # a row an epoch
        self.best: dict[str, Tensor] = {}  # the network's state in its best epoch

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the average where there is one."""
        return self.average.module if self.average else self.network

    def step(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """One step down the gradient on a batch: images (B, 1, H, W), and masks (B, 1, H, W), or (B, 2, H, W) with the lungs.

        Returns the films' losses (B,), of the mask alone where more is learnt, and the gradient's norm.
        Of several processes each computes with its share of the batch, and returns the losses of that.
        """
        experiment, films_in_all = self.experiment, len(images)
        mine = parallel.share()
        images, truth, lungs = images[mine], masks[mine, :1], masks[mine, 1:]
        with autocast(experiment, self.device):
            # A prior is for the trained network: while it learns, the lungs are found for an input alone.
            given = lungs_of(self.network, images, lungs, experiment) if experiment.lung_input else lungs
            outputs = self.shared(network_input(images, given, experiment))
        logits = outputs.infection if experiment.multitask else outputs
        film_losses = losses.film_losses(experiment.loss, experiment.alpha, logits, truth)
        minimised = film_losses
        if experiment.multitask:
            minimised = film_losses + losses.other_heads(outputs, truth, lungs, experiment)
        self.optimizer.zero_grad()
        # Shares may differ by a film: weighted by their size, the mean over processes is that over the batch's films.
        (minimised.mean() * (len(minimised) * parallel.processes() / films_in_all)).backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.experiment.clip)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
        return film_losses.detach(), norm

    def saved(self, identity: dict) -> dict:
        """What last.pt holds. Film order and augmentation are not in it: they follow from seed and epoch."""
        states = {name: part.state_dict() for name, part in self._parts().items()}
        return states | {"history": self.history, "best": self.best, "identity": identity}

    def restore(self, folder: Path, identity: dict) -> None:
        """Take over the state in last.pt, or, if that is damaged, in previous.pt; a fresh start where neither will do."""
        for path in (folder / "last.pt", folder / "previous.pt"):
            if not path.is_file():
                continue
            try:
                saved = checkpoint.load(path, self.device)
                if saved.get("identity") != identity:
                    raise checkpoint.Damaged(f"{shown(path)}: is of another run")
                for name, part in self._parts().items():
                    part.load_state_dict(saved[name])
                self.history, self.best = saved["history"], saved["best"]
                if path.name == "previous.pt":  # which the next checkpoint would otherwise replace by the damaged one
                    (folder / "last.pt").unlink(missing_ok=True)
                return
            except checkpoint.Damaged as error:
                print(f"{error}; going on from the epoch before it, or from the start", flush=True)

    def _parts(self) -> dict:
        parts = {"network": self.network, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return parts | ({"average": self.average} if self.average else {})


def train_epoch(state: Trainee, pack: Pack, rows: np.ndarray, epoch: int) -> float:
    """One pass over the pack's `rows` in a new order, augmented; returns the mean of the films' losses.

    Order and augmentation come from a generator made from seed and epoch, so that an epoch is the same whether the
    training was interrupted before it or not. Raises LabkitError, which names step and films, if a loss or a gradient was
    not finite: the weights are of no use from then on.
    """
    experiment, device = state.experiment, state.device
    random = torch.Generator().manual_seed(experiment.seed * 100_003 + epoch)
    order = rows[torch.randperm(len(rows), generator=random).numpy()]
    state.network.train()
    film_losses, norms = [], []
    taken = batches(pack, order, experiment.batch, device, experiment.trains_on_true_lungs)
    steps = math.ceil(len(order) / experiment.batch)
    for images, masks in progress.track(taken, steps, f"{experiment.label} epoch {epoch}, training"):
        loss, norm = state.step(*augment(images, masks, experiment, random))
        # Looked at after the epoch: asking for each number would make a GPU wait.
        film_losses.append(loss)
        norms.append(norm)
    finite = torch.stack([norm.isfinite() & loss.isfinite().all() for loss, norm in zip(film_losses, norms)])
    if not finite.all():
        step = int(finite.int().argmin())
        names = pack.samples.loc[order[step * experiment.batch :][: experiment.batch], "name"]
        raise LabkitError(
            f"{experiment.name}: loss or gradient is not finite in epoch {epoch}, step {step + 1} (films "
            f"{', '.join(names)}); {epoch - 1} epochs are kept in {shown(experiment.folder)}; try a lower lr"
        )
    return float(parallel.mean(torch.cat(film_losses)))


def _write_history(folder: Path, history: list[dict]) -> None:
    with written(folder / "history.csv") as temporary:
        pd.DataFrame(history, columns=HISTORY).to_csv(temporary, index=False)


def _line(history: list[dict], experiment: Experiment) -> str:
    row = history[-1]
    left = (experiment.epochs - len(history)) * np.median([past["seconds"] for past in history])
    return (
        f"{experiment.label} epoch {row['epoch']}/{experiment.epochs}  train loss {row['train_loss']:.4f}  val loss "
        f"{row['val_loss']:.4f}  MAE {row['mae']:.4f}  IoU {row['iou']:.4f}  {row['seconds']:.1f} s, {left:.0f} s left"
        + ("  best" if best_epoch(history) == row["epoch"] else "")
    )


def _not_finite(experiment: Experiment, row: dict, rows: pd.DataFrame) -> str:
    if not (rows["truth"] > 0).any():
        return "data: no validation film has a non-empty mask, so there is no IoU to choose the best epoch by"
    names = ", ".join(name for name, value in row.items() if not np.isfinite(value))
    kept = f"{row['epoch'] - 1} epochs are kept in {shown(experiment.folder)}"
    return f"{experiment.name}: {names} is no finite number in epoch {row['epoch']}; {kept}; try a lower lr"
