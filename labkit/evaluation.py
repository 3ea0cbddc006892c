"""evaluate(): the best checkpoint of a run on validation and test films, a row a film, then a summary."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from labkit import boundary, calibration, metrics, provenance, severity, store
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import checksum, intact, read_json, write_json, written
from labkit.hardware import set_up_device
from labkit.model import parameter_count
from labkit.scoring import film_counts, predictions, probabilities, table
from labkit.store import Pack
from labkit.training import fit, identity_of, load_best

SHOWN = 4  # test films in Fig. 2 and 3


def evaluate(experiment: Experiment) -> dict:
    """Score a run's best checkpoint and return the summary; trains first if that is not done.

    The summary: `identity`, `best_epoch`, `parameters`, `training_seconds`, `environment`, `files` with their checksums, and
    for `val` and `test` what `summarise` gives, with metrics.control_scores under `controls`.

    Writes into experiment.folder, for the splits val and test: <split>.csv, a row a film (control films among them; the
    summary keeps them apart); calibration.npz, the `calibration.bins` of the same films, by "<split>_<region>";
    samples.npz and extremes.npz, test films with truth and probabilities for the figures; then evaluation.json. What is
    there already is not done again.

    Raises LabkitError where no film of a split has a non-empty mask, and what fit() raises.
    """
    pack = store.load(experiment)
    history = fit(experiment, pack)
    folder = experiment.folder
    identity = identity_of(experiment, pack, "evaluate") | {"weights": checksum(folder / "best.pt")}
    path = folder / "evaluation.json"
    if intact(path) and read_json(path)["identity"] == identity:
        return read_json(path)

    device = set_up_device(experiment)
    network = load_best(experiment, device)
    summary: dict = {
        "identity": identity,
        "best_epoch": int(read_json(folder / "training.json")["best_epoch"]),
        "parameters": parameter_count(network),
        "training_seconds": float(history["seconds"].sum()),
        "environment": provenance.environment(experiment, device),
    }
    kept: dict = {}
    scored = {}
    for split in ("val", "test"):
        numbers = pack.rows(split.capitalize(), controls=True)
        rows, bins = score_all(network, pack, numbers, experiment, device)
        scored[split] = rows.set_index(numbers)
        with written(folder / f"{split}.csv") as temporary:
            rows.to_csv(temporary, index=False)
        kept |= {f"{split}_{region}": films for region, films in bins.items()}
        control = rows["control"].to_numpy()
        summary[split] = summarise(rows[~control], {region: films[~control] for region, films in bins.items()})
        summary[split]["controls"] = metrics.control_scores(rows[control])
        if summary[split]["iou"] is None:
            raise LabkitError(
                f"data: no {split.capitalize()} film of the {experiment.task} task has a non-empty mask, so none can be scored"
            )
    with written(folder / "calibration.npz") as temporary:
        np.savez_compressed(temporary, **kept)
    film_iou = metrics.film_iou(scored["test"])
    for name, shown in (("samples", shown_films(pack)), ("extremes", extreme_films(film_iou))):
        with written(folder / f"{name}.npz") as temporary:
            np.savez_compressed(
                temporary,
                images=pack.images[shown],
                masks=pack.masks[shown],
                probabilities=probabilities(network, pack.images[shown], pack.lungs[shown], experiment, device),
                iou=film_iou[shown],
                names=pack.samples.loc[shown, "name"].to_numpy(str),
            )
    names = ("val.csv", "test.csv", "calibration.npz", "samples.npz", "extremes.npz")
    write_json(path, summary | {"files": {name: checksum(folder / name) for name in names}})
    return read_json(path)


def score_all(
    network: nn.Module, pack: Pack, numbers: np.ndarray, experiment: Experiment, device: torch.device
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """All that is counted of the pack's films `numbers`, in one pass of the network.

    Returns a table with a row a film, as scoring.score gives it, with the columns of `boundary.distances` and, for the
    infection task, of `severity.count`; and the `calibration.bins` of the same films, by region: "image", all pixels, and
    for the infection task "lung", those of the true lung.
    """
    infection = experiment.task == "infection"
    parts = []
    bins: dict[str, list] = {"image": []} | ({"lung": []} if infection else {})
    for rows, logits, masks in predictions(network, pack, numbers, experiment, device):
        part = film_counts(experiment, logits, masks) | boundary.distances(logits > 0, masks)
        bins["image"].append(calibration.bins(logits, masks, torch.ones_like(masks)))
        if infection:
            lungs = torch.from_numpy(pack.lungs[rows]).to(device)[:, None]
            part |= severity.count(logits, masks, lungs)
            bins["lung"].append(calibration.bins(logits, masks, lungs))
        parts.append(part)
    return table(pack, numbers, parts), {region: np.concatenate(films) for region, films in bins.items()}


def bins_of(folder: Path, split: str) -> dict[str, np.ndarray]:
    """The `calibration.bins` that evaluate() kept of a split's films in a run's folder, by region.

    Control films are left out, as metrics.rows_of leaves them out, and the films have its order.
    """
    kept = np.load(folder / "calibration.npz")
    control = metrics.rows_of(folder, split, controls=True)["control"].to_numpy()
    return {name.split("_")[1]: kept[name][~control] for name in kept.files if name.startswith(f"{split}_")}


def summarise(rows: pd.DataFrame, bins: dict[str, np.ndarray]) -> dict:
    """All scores of films from what `score_all` counted of them; a score that is not defined is None.

    Those of metrics.summarise and boundary.summarise; `calibration`, calibration.summarise for each region; `severity`,
    severity.summarise, for the infection task.
    """
    found = metrics.summarise(rows) | boundary.summarise(rows)
    found["calibration"] = {region: calibration.summarise(films) for region, films in bins.items()}
    return found | ({"severity": severity.summarise(rows)} if "lung" in rows else {})


def shown_films(pack: Pack) -> np.ndarray:
    """Rows of the test films that figures show: evenly spread between the smallest non-empty mask and the largest.

    They depend on the films alone, never on a prediction, so that all experiments of a task show the same ones.
    """
    rows = pack.rows("Test")
    area = pd.Series([int(pack.masks[row].sum()) for row in rows], index=rows)
    area = area[area > 0].sort_values(kind="stable")
    places = np.linspace(0, len(area) - 1, SHOWN + 2)[1:-1].round().astype(int)
    return area.index.to_numpy()[np.unique(places)]


def extreme_films(film_iou: pd.Series) -> np.ndarray:
    """Index of the worst, the median and the best film by IoU; films without an IoU do not count."""
    ranked = film_iou.dropna().sort_values(kind="stable").index.to_numpy()
    return ranked[[0, (len(ranked) - 1) // 2, len(ranked) - 1]]
