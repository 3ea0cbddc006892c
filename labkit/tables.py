"""The report's tables of settings and scores."""

import pandas as pd

from labkit.experiment import RUNS, UNNAMED, Experiment
from labkit.files import ROOT, read_json

PUBLISHED = ROOT / "report" / "published.json"  # what the reference reports


def settings(experiments: list[Experiment]) -> list[dict]:
    """Knobs whose value is not the reference's: label, the reference's value, ours for each task."""
    named = ("preset", "name", "seed", "task", "loss", "controls", "precision", *UNNAMED)
    rows = []
    for knob, field in Experiment.model_fields.items():
        not_drawn = knob == "films" and experiments[0].data != "phantom"
        if knob in named or not_drawn:
            continue
        ours: dict[str, list] = {}
        for experiment in experiments:
            ours.setdefault(experiment.task, []).append(getattr(experiment, knob))
        reference = [] if knob == "films" else [field.default]  # the reference has no phantom films
        if any(set(values) != set(reference) for values in ours.values()):
            texts: dict = {column: ", ".join(map(_told, dict.fromkeys(values))) for column, values in ours.items()}
            rows.append({"label": field.description, "reference": _told(reference[0]) if reference else None} | texts)
    return rows


def _told(value: bool | str | int | float) -> str:
    """A knob's value in the words of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"


def beside_reported(results: dict, task: str | None = None) -> pd.DataFrame:
    """Tables I and II (of one task) and III (task None): our scores at the best epoch, the reported ones, test scores."""
    published = read_json(PUBLISHED)["experiments"]
    rows = []
    for (run_task, loss), name in RUNS.items():
        if task in (None, run_task):
            run = results["runs"][name]
            row = {"task": run_task, "loss": loss, "best_epoch": run["best_epoch"], "train_loss": run["train_loss"]}
            row |= {"val_loss": run["val"]["loss"], "val_mae": run["val"]["mae"], "val_iou": run["val"]["iou"]}
            row |= {f"reported_{key}": value for key, value in published[name].items()}
            row |= {"test_mae": run["test"]["mae"], "test_iou": run["test"]["iou"]}
            row |= {"reduction": run["test"]["reduction"]}
            rows.append(row)
    return pd.DataFrame(rows)


def all_scores(results: dict) -> pd.DataFrame:
    """Every score of every run, a row for each run and split: val, test, and test_without_leaked."""
    rows = []
    for name, run in results["runs"].items():
        for split in ("val", "test", "test_without_leaked"):
            flat = pd.json_normalize({key: value for key, value in run[split].items() if key != "intervals"}, sep="_")
            rows.append({"run": name, "split": split} | flat.iloc[0].to_dict())
    return pd.DataFrame(rows)
