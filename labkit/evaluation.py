"""evaluate(): the best checkpoint of a run on validation and test films, a row a film, then a summary."""

import numpy as np
import pandas as pd

from labkit import metrics, provenance, store
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import read_json, write_json, written
from labkit.hardware import device_of
from labkit.model import parameter_count
from labkit.scoring import probabilities, score
from labkit.store import Pack
from labkit.training import fit, identity_of, load_best

SHOWN = 4  # test films in Fig. 2 and 3


def evaluate(experiment: Experiment) -> dict:
    """Score a run's best checkpoint and return the summary; trains first if that is not done.

    Writes into experiment.folder: val.csv and test.csv (a row a film, see scoring.score, control films among them; the
    summary keeps them apart), samples.npz (films of the test
    split with truth and probabilities, for Fig. 2 and 3), then evaluation.json. What is there already is not done again.
    """
    pack = store.load(experiment)
    history = fit(experiment, pack)
    folder, identity = experiment.folder, identity_of(experiment, pack, "evaluate")
    path = folder / "evaluation.json"
    if path.is_file() and read_json(path)["identity"] == identity:
        return read_json(path)

    device = device_of(experiment)
    network = load_best(experiment, device)
    summary = {
        "identity": identity,
        "best_epoch": int(read_json(folder / "training.json")["best_epoch"]),
        "parameters": parameter_count(network),
        "training_seconds": float(history["seconds"].sum()),
        "environment": provenance.environment(experiment, device),
    }
    for split in ("Val", "Test"):
        numbers = pack.rows(split, controls=True)
        rows = score(network, pack, numbers, experiment, device)
        with written(folder / f"{split.lower()}.csv") as temporary:
            rows.to_csv(temporary, index=False)
        summary[split.lower()] = metrics.summarise(rows[~rows["control"]])
        summary[split.lower()]["controls"] = metrics.control_scores(rows[rows["control"]])
        if summary[split.lower()]["iou"] is None:
            raise LabkitError(
                f"data: no {split} film of the {experiment.task} task has a non-empty mask, so none can be scored"
            )
    # `rows` are now those of the test films, in the order of `numbers`.
    film_iou = pd.Series(metrics.film_iou(rows).to_numpy(), index=numbers)
    shown = shown_films(pack)
    with written(folder / "samples.npz") as temporary:
        np.savez_compressed(
            temporary,
            images=pack.images[shown],
            masks=pack.masks[shown],
            probabilities=probabilities(network, pack.images[shown], experiment, device),
            iou=film_iou[shown],
            names=pack.samples.loc[shown, "name"].to_numpy(str),
            classes=pack.samples.loc[shown, "class"].to_numpy(str),
        )
    write_json(path, summary)
    return summary


def shown_films(pack: Pack) -> np.ndarray:
    """Rows of the test films that figures show: evenly spread from the smallest non-empty mask to the largest.

    They depend on the films alone, never on a prediction, so that all experiments of a task show the same ones.
    """
    rows = pack.rows("Test")
    area = pd.Series([int(pack.masks[row].sum()) for row in rows], index=rows)
    area = area[area > 0].sort_values(kind="stable")
    places = np.linspace(0, len(area) - 1, SHOWN + 2)[1:-1].round().astype(int)
    return area.index.to_numpy()[np.unique(places)]
