"""All runs of a preset -> results.json and the tables: every number and every verdict that the report states."""

from pathlib import Path

import numpy as np
import pandas as pd

from labkit import dataset, metrics, store
from labkit.errors import LabkitError
from labkit.evaluation import evaluate
from labkit.experiment import RUNS, UNNAMED, Experiment, load_preset, require_runs
from labkit.files import ROOT, build_folder, read_json, shown, write_json, written

PUBLISHED = ROOT / "report" / "published.json"
# When is a difference one? The reference calls IoUs .0003 apart equal. The report's wording goes by these and states them.
THRESHOLDS = {
    "equal_iou": 0.01,  # IoUs closer than this are equal
    "far_iou": 0.1,  # a task is much harder if its IoU is lower by more than this
    "small_share": 0.25,  # a small part of the lung; much smaller than the lung's part of the film
    "rising_iou": 0.005,  # from one fifth of the epochs to the next, in the mean
    "alike": 0.1,  # masks are more alike if their overlap with the mean mask is larger by more than this
    "mostly_empty": 0.5,  # of the predictions
}


def collect(experiments: list[Experiment]) -> dict:
    """Everything the report states of a preset's `experiments`, which are trained and scored first where they are not.

    Raises LabkitError if one of the reference's four runs is missing, or if 1_eda has not looked at the same films.
    """
    preset = experiments[0].preset
    require_runs(experiments)
    chosen = {experiment.name: experiment for experiment in experiments if experiment.name in RUNS.values()}
    runs = {name: _run(experiment) for name, experiment in chosen.items()}
    eda = _eda(preset, runs)
    histories = {name: pd.read_csv(experiment.folder / "history.csv") for name, experiment in chosen.items()}
    roots = [store.root_of(experiment) for experiment in chosen.values()]
    return {
        "preset": preset,
        "about": load_preset(preset).about,
        "phantom": any(dataset.is_phantom(root) for root in roots),
        "data": ", ".join(sorted({root.name for root in roots})),
        "reduction": metrics.REDUCTION,
        "films": eda,
        "settings": settings(list(chosen.values())),
        "runs": runs,
        "verdicts": verdicts(runs, histories, eda),
        "thresholds": THRESHOLDS,
        "environment": _distinct([read_json(run.folder / "experiment.json")["environment"] for run in chosen.values()]),
        "training_minutes": sum(run["training_seconds"] for run in runs.values()) / 60,
    }


def verdicts(runs: dict[str, dict], histories: dict[str, pd.DataFrame], eda: dict[str, dict]) -> dict[str, bool | str]:
    """For each claim of the reference, whether these results bear it out.

    A claim about scores holds only if it does on the validation and on the test films. `plateau` is "rising", "flat",
    "falling", or "short" for fewer than two epochs.
    """
    lung, infection = ([runs[RUNS[task, loss]] for loss in ("bce", "bce_iou")] for task in ("lung", "infection"))
    by = THRESHOLDS

    def both(claim) -> bool:
        return all(claim(split) for split in ("val", "test"))

    def gain(bce: dict, bce_iou: dict, split: str, score: str = "iou") -> float:
        return bce_iou[split][score] - bce[split][score]

    def gaps(split: str) -> list[float]:
        return [a[split]["iou"] - b[split]["iou"] for a, b in zip(lung, infection)]

    return {
        # Discussion: "BCE and BCE+IoU yield comparable IoU, but the combined loss produces lower MAE".
        "lung_iou_equal": both(lambda split: abs(gain(*lung, split)) < by["equal_iou"]),
        "lung_mae_lower": both(lambda split: gain(*lung, split, "mae") < 0),
        "infection_mae_lower": both(lambda split: gain(*infection, split, "mae") < 0),
        # Discussion: the IoU term "is essential to avoid trivial all-zero predictions": without it, but not with it.
        "bce_all_zero": both(
            lambda split: (
                infection[0][split]["empty_predictions"]
                > by["mostly_empty"]
                >= infection[1][split]["empty_predictions"]
            )
        ),
        # Conclusion: BCE+IoU "is recommended for both tasks".
        "lung_bce_iou_better": both(lambda split: gain(*lung, split) >= by["equal_iou"]),
        "lung_bce_better": both(lambda split: gain(*lung, split) <= -by["equal_iou"]),
        "infection_bce_iou_better": both(lambda split: gain(*infection, split) >= by["equal_iou"]),
        "infection_bce_better": both(lambda split: gain(*infection, split) <= -by["equal_iou"]),
        # Results: infection "proves substantially harder".
        "infection_harder": both(lambda split: min(gaps(split)) > by["far_iou"]),
        "tasks_matter_more": both(
            lambda split: min(gaps(split)) > max(abs(gain(*lung, split)), abs(gain(*infection, split)))
        ),
        # Results: "continuous improvement without plateau".
        "plateau": _plateau(histories[RUNS["infection", "bce_iou"]]["iou"].to_numpy()),
        # Data: lung masks "relatively uniform", infections "irregular and variable".
        "lungs_more_alike": eda["lung"]["likeness_median"] > eda["infection"]["likeness_median"] + by["alike"],
        # Data: infections "occupy a much smaller fraction of the image" than lungs; discussion: "a small fraction of the
        # lung area".
        "small_in_image": eda["infection"]["image_share_mean"] < by["small_share"] * eda["lung"]["image_share_mean"],
        "small_in_lung": eda["infection"]["lung_share_median"] < by["small_share"],
    }


def _plateau(iou: np.ndarray) -> str:
    """How the IoU of the last fifth of the epochs stands to that of the fifth before."""
    if len(iou) < 2:
        return "short"
    fifth = max(1, len(iou) // 5)
    rise = iou[-fifth:].mean() - iou[-2 * fifth : -fifth].mean()
    if abs(rise) <= THRESHOLDS["rising_iou"]:
        return "flat"
    return "rising" if rise > 0 else "falling"


def settings(experiments: list[Experiment]) -> list[dict]:
    """Knobs whose value is not the reference's: label, the reference's value, ours for each task."""
    named = ("preset", "name", "seed", "task", "loss", "controls", "precision", *UNNAMED)
    rows = []
    for knob, field in Experiment.model_fields.items():
        phantom_only = knob == "films" and experiments[0].data != "phantom"
        if knob in named or phantom_only:
            continue
        ours = {}
        for experiment in experiments:
            ours.setdefault(experiment.task, []).append(getattr(experiment, knob))
        reference = [] if knob == "films" else [field.default]  # the reference has no phantom films
        if any(set(values) != set(reference) for values in ours.values()):
            texts = {
                column: ", ".join(f"{value:g}" for value in dict.fromkeys(values)) for column, values in ours.items()
            }
            rows.append({"label": field.description, "reference": f"{reference[0]:g}" if reference else None} | texts)
    return rows


def table(results: dict, task: str | None = None) -> pd.DataFrame:
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
            rows.append(row)
    return pd.DataFrame(rows)


def write(results: dict) -> Path:
    """Write results.json and tables/table{1,2,3}.csv; returns their folder."""
    folder = build_folder(results["preset"])
    for number, task in enumerate(("lung", "infection", None), start=1):
        with written(folder / "tables" / f"table{number}.csv") as temporary:
            table(results, task).to_csv(temporary, index=False)
    write_json(folder / "results.json", results)
    return folder


def _run(experiment: Experiment) -> dict:
    """The scores of one run at its best epoch."""
    summary = evaluate(experiment)
    history = pd.read_csv(experiment.folder / "history.csv").set_index("epoch")
    best = summary["best_epoch"]
    kept = {key: summary[key] for key in ("best_epoch", "val", "test", "parameters", "training_seconds")}
    return kept | {
        "task": experiment.task,
        "loss": experiment.loss,
        "seed": experiment.seed,
        "epochs": len(history),
        "train_loss": float(history.at[best, "train_loss"]),
        "folder": shown(experiment.folder),
        "fingerprint": summary["identity"]["films"],
    }


def _distinct(environments: list[dict]) -> dict:
    """Each entry's values over the runs as one text, "a, b" where they differ; entries of entries likewise."""
    return {
        key: _distinct([environment[key] for environment in environments])
        if isinstance(value, dict)
        else ", ".join(dict.fromkeys(str(environment[key]) for environment in environments))
        for key, value in environments[0].items()
    }


def _eda(preset: str, runs: dict[str, dict]) -> dict:
    """What 1_eda found, if it looked at the films that the runs were trained on."""
    path = build_folder(preset) / "eda.json"
    if not path.is_file():
        raise LabkitError(f"{shown(path)}: is not there yet; run notebooks/1_eda.ipynb with preset={preset!r} first")
    eda = read_json(path)
    for run in runs.values():
        if eda[run["task"]]["fingerprint"] != run["fingerprint"]:
            raise LabkitError(
                f"{shown(path)}: is about other films; run notebooks/1_eda.ipynb again with the same data"
            )
    return eda
