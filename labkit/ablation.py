"""What the experiments beyond the reference's four gain over the run that they change, and what they cost."""

import numpy as np
import pandas as pd

from labkit import audit, metrics, statistics, store
from labkit.errors import LabkitError
from labkit.experiment import RUNS, UNNAMED, Experiment
from labkit.files import read_json


def compare(experiments: list[Experiment]) -> dict | None:
    """All experiments of a preset but the reference's four, each against its base; None where there are no others.

    The base is the reference's run with BCE+IoU on the same task, with the same seeds. Returns `alpha`, `bases` (those that
    are needed) and `rows`, both in the order of the preset. Of each of either:

    - `name`; `title`, the name and, where it is that, the lung task; `task`; `seeds` (of a row those that the base has too);
    - `iou` on test films, the mean over the seeds, and `ious`, with each seed.

    Of each row too:

    - `changes`: texts, a knob each that differs from the base's;
    - `gain`, a statistics.paired_difference of the films' IoU over the base's, both the mean over the seeds, with
      `p_adjusted` (Holm, over all rows) and `verdict`, by statistics.verdict;
    - `gains`: the mean gain with each seed; `val_gain`: on validation films, by which a recipe is to be chosen;
    - `time`, `parameters`: how many times the base's. Time is the fastest epoch's times the number of epochs, without the
      training of a run that it starts from or asks for the lungs;
    - `val_gain_in_time`: the same, of the best epoch among those that fit into the base's time.

    And `seen`: test films, as "class/name", that a run which others start from, or ask for the lungs, has learnt from; None
    where there is no such run.

    The runs must be trained and scored. Raises LabkitError where one was scored on other test films than its base.
    """
    runs: dict[str, dict[int, Experiment]] = {}  # by name and seed
    for run in experiments:
        runs.setdefault(run.name, {})[run.seed] = run
    rows = []
    for name, by_seed in runs.items():
        base = runs[RUNS[next(iter(by_seed.values())).task, "bce_iou"]]
        seeds = [seed for seed in by_seed if seed in base]
        if name not in RUNS.values():
            rows.append(_against([base[seed] for seed in seeds], [by_seed[seed] for seed in seeds]))
    for row, p in zip(rows, statistics.holm([row["gain"]["p"] for row in rows])):
        row["gain"]["p_adjusted"] = p
        row["gain"]["verdict"] = statistics.verdict(row["gain"])
    if not rows:
        return None
    needed = {RUNS[row["task"], "bce_iou"] for row in rows}
    bases = [list(by_seed.values()) for name, by_seed in runs.items() if name in needed]
    return {
        "alpha": statistics.ALPHA,
        "bases": [_described(base, _films([_outcome(run) for run in base])) for base in bases],
        "rows": rows,
        "seen": _seen(runs),
    }


def table(found: dict) -> pd.DataFrame:
    """What `compare` found, a row a base and then a row an experiment, for a CSV file."""
    rows = []
    for row in found["bases"] + found["rows"]:
        by_seed = "; ".join(f"{iou:.4f}" for iou in row["ious"])
        flat = {"experiment": row["name"], "changes": "the base", "seeds": len(row["seeds"])}
        flat |= {"test_iou": row["iou"], "test_iou_by_seed": by_seed}
        if "gain" in row:
            flat["changes"] = "; ".join(row["changes"])
            flat |= {
                f"gain_{key}": value
                for key, value in row["gain"].items()
                if key not in ("first", "second", "ranks", "median")
            }
            flat["gain_by_seed"] = "; ".join(f"{gain:.4f}" for gain in row["gains"])
            flat |= {key: row[key] for key in ("val_gain", "val_gain_in_time", "time", "parameters")}
        rows.append(flat)
    return pd.DataFrame(rows)


def changes(base: Experiment, run: Experiment) -> list[str]:
    """The knobs of `run` that are not those of `base`: "epochs 20", or the name alone of one switched on.

    "lungs true (an oracle)" is among them if the run is told the true lungs.
    """
    told = []
    for knob, value in run:
        if knob not in ("preset", "name", "seed", *UNNAMED) and value != getattr(base, knob):
            told.append(knob if value is True else f"{knob} {value}")
    return told + ["lungs true (an oracle)"] * (run.needs_true_lungs and not base.needs_true_lungs)


def _seen(runs: dict[str, dict[int, Experiment]]) -> list[str] | None:
    first = {name: next(iter(by_seed.values())) for name, by_seed in runs.items()}
    # Each pair of tasks once: all runs of a task have the same films.
    pairs = {
        (run.task, first[name].task): (run, first[name]) for run in first.values() for name in run.needed_runs.values()
    }
    films = (audit.shared(store.load(run), store.load(other)) for run, other in pairs.values())
    return sorted({film for some in films for film in some}) if pairs else None


def _against(base: list[Experiment], runs: list[Experiment]) -> dict:
    """One row of `compare`: the same seeds of the base and of what changes it."""
    old, new = ([_outcome(run) for run in each] for each in (base, runs))
    before, after = (_films(each) for each in (old, new))
    if set(before.index) != set(after.index):
        raise LabkitError(
            f"{runs[0].name}: is scored on other test films than {base[0].name}, which it is held against; give both the same "
            "`data` and `films`"
        )
    before = before.reindex(after.index)
    # A hair more, for a quotient that is whole may come out just below.
    epochs = [max(1, int(a["time"] / b["epoch"] + 1e-9)) for a, b in zip(old, new)]
    in_time = [b["iou"][:count].max() - a["iou"].max() for a, b, count in zip(old, new, epochs)]
    return _described(runs, after) | {
        "changes": changes(base[0], runs[0]),
        "gain": statistics.paired_difference(before.mean(axis=1).to_numpy(), after.mean(axis=1).to_numpy()),
        "gains": [float(gain) for gain in after.mean().to_numpy() - before.mean().to_numpy()],
        "val_gain": float(np.mean([b["iou"].max() - a["iou"].max() for a, b in zip(old, new)])),
        "val_gain_in_time": float(np.mean(in_time)),
        "time": sum(one["time"] for one in new) / sum(one["time"] for one in old),
        "parameters": new[0]["parameters"] / old[0]["parameters"],
    }


def _described(runs: list[Experiment], films: pd.DataFrame) -> dict:
    """What a base and a row of `compare` both have; `films`: IoU, a row a film and a column a seed."""
    return {
        "name": runs[0].name,
        "title": runs[0].name + " (on lungs)" * (runs[0].task == "lung"),
        "task": runs[0].task,
        "seeds": [run.seed for run in runs],
        "iou": float(films.mean().mean()),
        "ious": films.mean().tolist(),
    }


def _films(outcomes: list[dict]) -> pd.DataFrame:
    return pd.concat([one["films"] for one in outcomes], axis=1)


def _outcome(run: Experiment) -> dict:
    """A run's test films' IoU by class and name, its validation IoU epoch by epoch, and what it cost."""
    parameters = read_json(run.folder / "evaluation.json")["parameters"]
    history = pd.read_csv(run.folder / "history.csv")
    films = metrics.film_iou(metrics.rows_of(run.folder, "test").set_index(["class", "name"]))
    epoch = float(history["seconds"].min())  # the fastest: other work on the machine only ever slows one down
    cost = {"epoch": epoch, "time": epoch * len(history), "parameters": parameters}
    return {"films": films, "iou": history["iou"]} | cost
