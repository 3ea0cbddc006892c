"""All runs of a preset -> results.json and the tables: every number and every verdict that the report states."""

from pathlib import Path

import pandas as pd

from labkit import dataset, metrics, store
from labkit.errors import LabkitError
from labkit.evaluation import evaluate
from labkit.experiment import RUNS, UNNAMED, Experiment, load_preset, require_runs
from labkit.files import ROOT, build_folder, read_json, shown, write_json, written

PUBLISHED = ROOT / "report" / "published.json"
# When is a difference one? The reference calls IoUs .0003 apart equal. These decide the report's wording, which states them.
EQUAL_IOU = 0.01
FAR_IOU = 0.1
SMALL_SHARE = 0.25  # of the lung, or of the lung's area
STILL_RISING = 0.005  # mean IoU of the last fifth of the epochs over that of the fifth before


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
    one = experiments[0]
    return {
        "preset": preset,
        "about": load_preset(preset).about,
        "phantom": dataset.is_phantom(store.root_of(one)),
        "data": store.root_of(one).name,
        "reduction": metrics.REDUCTION,
        "films": eda,
        "settings": settings(list(chosen.values())),
        "runs": runs,
        "verdicts": verdicts(runs, histories, eda),
        "environment": read_json(one.folder / "experiment.json")["environment"],
        "training_minutes": sum(run["training_seconds"] for run in runs.values()) / 60,
    }


def verdicts(runs: dict[str, dict], histories: dict[str, pd.DataFrame], eda: dict[str, dict]) -> dict[str, bool]:
    """For each claim of the reference, whether these results bear it out.

    A claim about scores holds only if it does on the validation and on the test films.
    """
    lung, infection = ([runs[RUNS[task, loss]] for loss in ("bce", "bce_iou")] for task in ("lung", "infection"))

    def both(claim) -> bool:
        return all(claim(split) for split in ("val", "test"))

    def better(bce: dict, bce_iou: dict, split: str) -> float:
        return bce_iou[split]["iou"] - bce[split]["iou"]

    iou = histories["infection-bce_iou"]["iou"].to_numpy()
    fifth = max(1, len(iou) // 5)
    return {
        # Discussion: "BCE and BCE+IoU yield comparable IoU, but the combined loss produces lower MAE".
        "lung_iou_equal": both(lambda split: abs(better(*lung, split)) < EQUAL_IOU),
        "lung_mae_lower": both(lambda split: lung[1][split]["mae"] < lung[0][split]["mae"]),
        # Discussion: "the IoU component is essential to avoid trivial all-zero predictions".
        "bce_all_zero": both(lambda split: infection[0][split]["empty_predictions"] > 0.5),
        # Conclusion: BCE+IoU "is recommended for both tasks".
        "lung_bce_iou_better": both(lambda split: better(*lung, split) >= EQUAL_IOU),
        "lung_bce_better": both(lambda split: better(*lung, split) <= -EQUAL_IOU),
        "infection_bce_iou_better": both(lambda split: better(*infection, split) >= EQUAL_IOU),
        "infection_bce_better": both(lambda split: better(*infection, split) <= -EQUAL_IOU),
        # Results: infection "proves substantially harder".
        "infection_harder": both(
            lambda split: all(a[split]["iou"] - b[split]["iou"] > FAR_IOU for a, b in zip(lung, infection))
        ),
        # Results: "continuous improvement without plateau".
        "no_plateau": len(iou) >= 2 and bool(iou[-fifth:].mean() - iou[-2 * fifth : -fifth].mean() > STILL_RISING),
        # Data: infections "occupy a much smaller fraction of the image" than lungs; discussion: "a small fraction of the
        # lung area".
        "small_in_image": eda["infection"]["image_share_mean"] < SMALL_SHARE * eda["lung"]["image_share_mean"],
        "small_in_lung": eda["infection"]["lung_share_median"] < SMALL_SHARE,
    }


def settings(experiments: list[Experiment]) -> list[dict]:
    """Knobs whose value is not the reference's: label, the reference's value, ours for each task."""
    named = ("preset", "name", "seed", "task", "loss", *UNNAMED)
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
        "last_iou": float(history["iou"].iloc[-1]),
        "folder": shown(experiment.folder),
        "fingerprint": summary["identity"]["films"],
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
