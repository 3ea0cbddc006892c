"""What the report states of one run at its best epoch."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from labkit import boundary, calibration, evaluation, metrics, severity, statistics
from labkit.experiment import Experiment


def describe(experiment: Experiment, summary: dict, scores: pd.DataFrame, leaked: list[str]) -> dict:
    """What results.json has of a run.

    `summary` is what evaluate() gave for it, `scores` its film_scores; `leaked` the test films of its task that also stand in
    another split, as "class/name".

    Of `summary` it keeps `best_epoch`, `parameters`, `training_seconds`, `val` and `test`; each of these two has also
    `intervals` (statistics.mean_interval by score: those of film_scores but its last two for test, IoU for val) and, for
    infections, `whole_lung`, the IoU and the share located of whoever calls the whole lung infected. `over_whole_lung`: the
    test films' IoU above that; `asd_where_located`, that column of film_scores: both mean_intervals.
    `test_without_leaked`: `test` without the `leaked` ones, so many. `by_size`, `size_rank`, `threshold` (other_threshold),
    `late_rise`: by the functions below. Then `name`, `seed`, `task`, `loss`, `epochs`; the `train_loss` of the best epoch; and
    how often the validation loss fell from one epoch to the next, `val_loss_falls`.
    """
    history = pd.read_csv(experiment.folder / "history.csv").set_index("epoch")
    best = summary["best_epoch"]
    val, test = (metrics.rows_of(experiment.folder, split) for split in ("val", "test"))
    bins = {split: evaluation.bins_of(experiment.folder, split) for split in ("val", "test")}
    found = {key: summary[key] for key in ("best_epoch", "parameters", "training_seconds")}
    apart = ("excess", "asd_where_located")
    intervals = {name: statistics.mean_interval(scores[name].to_numpy()) for name in scores if name not in apart}
    of_val = {"iou": statistics.mean_interval(metrics.film_iou(val).to_numpy())}  # of these only the headline is judged
    found["val"], found["test"] = summary["val"] | {"intervals": of_val}, summary["test"] | {"intervals": intervals}
    found["asd_where_located"] = statistics.mean_interval(scores["asd_where_located"].to_numpy())
    if experiment.task == "infection":
        whole = {split: severity.whole_lung_iou(rows).to_numpy() for split, rows in (("val", val), ("test", test))}
        for split, ious in whole.items():
            located = float((ious[~np.isnan(ious)] >= metrics.LOCATED).mean())
            found[split]["whole_lung"] = {"iou": float(np.nanmean(ious)), "located": located}
        found["over_whole_lung"] = statistics.mean_interval(scores["iou"].to_numpy() - whole["test"])
    known = (test["class"] + "/" + test["name"]).isin(leaked)
    others = evaluation.summarise(test[~known], {region: films[~known] for region, films in bins["test"].items()})
    found |= {"leaked": int(known.sum()), "test_without_leaked": others}
    found |= {"by_size": by_size(test), "size_rank": size_rank(test), "threshold": other_threshold(bins, summary)}
    return found | {
        "name": experiment.name,
        "seed": experiment.seed,
        "task": experiment.task,
        "loss": experiment.loss,
        "epochs": len(history),
        "train_loss": float(history["train_loss"][best]),
        "late_rise": late_rise(history["iou"].to_numpy()),
        "val_loss_falls": int((history["val_loss"].diff() < 0).sum()),  # from one epoch to the next
    }


def film_scores(folder: Path) -> pd.DataFrame:
    """The scores of the test films of the run in a folder, control films left out, by class and name.

    Those of metrics.film_scores, boundary.distances, and calibration.excess over all pixels; NaN where not defined;
    and `asd_where_located`.
    """
    rows, bins = metrics.rows_of(folder, "test"), evaluation.bins_of(folder, "test")["image"]
    others = rows[list(boundary.COLUMNS)].assign(excess=calibration.excess(bins)).where(rows["truth"] > 0)
    scores = metrics.film_scores(rows).join(others)
    return scores.assign(asd_where_located=asd_where_located).set_index([rows["class"], rows["name"]])


def asd_where_located(scores: pd.DataFrame) -> pd.Series:
    """Films' ASD where their IoU is LOCATED or more, else NaN: there it tells of a missed place and not of outlines."""
    return scores["asd"].where(scores["iou"] >= metrics.LOCATED)


def other_threshold(bins: dict[str, dict[str, np.ndarray]], scores: dict) -> dict[str, float]:
    """Of 0.5 and the fifteenths, the threshold that is `best` on validation films, and the test IoU's gain by it over 0.5.

    `bins`: evaluation.bins_of the splits val and test; `scores`: the evaluate() of the same run.
    """
    val, test = (calibration.iou_by_threshold(bins[split]["image"]) for split in ("val", "test"))
    place = int(val["iou"].argmax())
    if val["iou"][place] <= scores["val"]["iou"] + 1e-9:  # two sums of the same films may differ in their last digit
        return {"best": 0.5, "gain": 0.0}
    return {"best": float(val["threshold"][place]), "gain": float(test["iou"][place]) - scores["test"]["iou"]}


def by_size(rows: pd.DataFrame) -> list[dict]:
    """IoU of the films with the smallest, middle and largest thirds of true masks.

    Each a statistics.mean_interval, with `smallest` and `largest` mask, as a share of the film.
    """
    rows = rows[rows["truth"] > 0].sort_values("truth", kind="stable")
    share, iou = (rows["truth"] / rows["pixels"]).to_numpy(), metrics.film_iou(rows).to_numpy()
    thirds = [third for third in np.array_split(np.arange(len(rows)), 3) if len(third)]
    return [
        {"smallest": float(share[third[0]]), "largest": float(share[third[-1]])} | statistics.mean_interval(iou[third])
        for third in thirds
    ]


def size_rank(rows: pd.DataFrame) -> dict[str, float | None]:
    """Whether films with larger true masks have the higher IoU: Spearman's `rho` and its `p`; None where it is not defined."""
    rows = rows[rows["truth"] > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        rho, p = stats.spearmanr(rows["truth"], metrics.film_iou(rows)) if len(rows) > 2 else (np.nan, np.nan)
    return {"rho": None, "p": None} if np.isnan(rho) else {"rho": float(rho), "p": float(p)}


def late_rise(iou: np.ndarray) -> dict[str, float] | None:
    """By how much the mean IoU of the last fifth of the epochs is above that of the fifth before: `mean`, and its `error`.

    That is the standard error of a difference of two means, by the spread of the epochs within each fifth. None for fewer
    than ten epochs: a fifth of one has no spread.
    """
    fifth = len(iou) // 5
    if fifth < 2:
        return None
    before, last = iou[-2 * fifth : -fifth], iou[-fifth:]
    error = np.sqrt((before.var(ddof=1) + last.var(ddof=1)) / fifth)
    return {"mean": float(last.mean() - before.mean()), "error": float(error)}
