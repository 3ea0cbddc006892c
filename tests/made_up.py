"""Results as collect() gives them, made up; where a test gives nothing else, they bear out the reference's claims."""

import numpy as np
import pandas as pd
import torch

from labkit import boundary, metrics, run_results, statistics, verdicts

COUNTS = metrics.count(torch.ones(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]]))
FILM_SCORES = [
    *metrics.film_scores(pd.DataFrame({name: value.numpy() for name, value in COUNTS.items()})),
    *boundary.COLUMNS,
]
RUN_NAMES = ("lung-bce", "lung-bce_iou", "infection-bce", "infection-bce_iou")


def scores(iou, mae, empty=0.0, located=0.98):
    return {
        "located": located,
        "iou": iou,
        "pooled_iou": iou + 0.02,
        "mae": mae,
        "hard_mae": mae,
        "loss": 0.1,
        "reduction": "mean of a test",
        "empty_predictions": empty,
        "films": 9,
        "left_out": 0,
        "dice": 2 * iou / (1 + iou),
        "pooled_dice": 2 * (iou + 0.02) / (1.02 + iou),
        "hd95": 7.6,
        "asd": 1.5,
        "surface_dice": 0.91,
        "calibration": {
            "image": {"ece": 0.0123, "brier": 0.0234, "excess": 0.051},
            "lung": {"ece": 0.1, "brier": 0.2, "excess": 0.05},
        },
        "severity": {
            "films": 9,
            "mae": 0.08,
            "bias": -0.021,
            "low": -0.2,
            "high": 0.158,
            "same_grade": 0.7,
            "kappa": 0.8,
        },
        "intervals": {name: {"mean": iou, "low": iou - 0.005, "high": iou + 0.005, "count": 9} for name in FILM_SCORES},
        "controls": {"films": 9, "with_false_positives": 0.25, "area": 0.03},
    }


def asd_where_located(iou):
    return {"mean": 2 - iou, "low": 1.99 - iou, "high": 2.01 - iou, "count": 9}  # the better, the less


def compared(**given):
    """BCE+IoU against BCE, each as the interval of the difference; the reference's findings where nothing is given."""
    intervals = {"lung_iou": (-0.003, 0.002), "lung_mae": (-0.006, -0.002)}
    intervals |= {"infection_iou": (0.3, 0.4), "infection_mae": (-0.02, -0.01)}
    intervals |= {"lung_brier": (-0.01, 0.01), "infection_brier": (0.01, 0.02)}
    intervals |= {"lung_hard_mae": (-0.01, 0.01), "infection_hard_mae": (-0.02, -0.01)}
    intervals |= {"lung_excess": (-0.01, 0.01), "infection_excess": (0.03, 0.05)}
    intervals |= {"lung_asd": (-1.0, 1.0), "infection_asd": (-9.0, -3.0)}
    found = {"lung": {}, "infection": {}}
    for name, (low, high) in (intervals | given).items():
        task, score = name.split("_", maxsplit=1)
        difference = {"mean": (low + high) / 2, "low": low, "high": high, "p_adjusted": 0.02}
        difference |= {"median": difference["mean"], "ranks": 1 if low + high > 0 else -1}
        difference |= {"first": 1.5, "second": 1.5 + (low + high) / 2, "count": 9, "differing": 9}
        found[task][score] = difference | {"verdict": statistics.verdict(difference)}
    return found


def runs(excess=(0.01, 0.051), over=(0.1, 0.3), rank=(0.5, 0.0001), largest=0.4, whole=0.5, **given):
    """Four runs that bear out the reference's claims, each as (IoU, MAE, share of empty predictions, share located).

    All claims but one: what BCE leaves all black it does not locate. `excess`: of BCE and of BCE+IoU. `over`: the interval of
    the gain over the whole lung, which locates the share `whole`. `rank`: rho and p. `largest`: the upper end of the interval
    of the largest third's IoU.
    """
    values = {"lung_bce": (0.957, 0.015, 0, 1), "lung_bce_iou": (0.9567, 0.011, 0, 1)}
    values |= {"infection_bce": (0.01, 0.05, 0.9, 0.1), "infection_bce_iou": (0.37, 0.04, 0, 0.98)}
    values |= given
    runs = {
        name: {
            "name": name,
            "seed": 0,
            "task": name.split("-")[0],
            "loss": name.split("-")[1],
            "best_epoch": 9,
            "epochs": 10,
            "train_loss": 0.2,
            "late_rise": {"mean": 0.1, "error": 0.01},
            "val_loss_falls": 7,
            "asd_where_located": asd_where_located(values[name.replace("-", "_")][0]),
            "val": scores(*values[name.replace("-", "_")]),
            "test": scores(*values[name.replace("-", "_")]),
            "parameters": 8044545,
            "training_seconds": 60.0,
            "leaked": 0,
            "test_without_leaked": {
                k: v for k, v in scores(*values[name.replace("-", "_")]).items() if k != "controls"
            },
            "threshold": {"best": 0.4, "gain": -0.0123},
            "by_size": [{"smallest": 0.1, "largest": 0.2, "mean": 0.31, "low": 0.2, "high": largest, "count": 3}] * 3,
            "size_rank": {"rho": rank[0], "p": rank[1]},
            "over_whole_lung": {"mean": sum(over) / 2, "low": over[0], "high": over[1]},
        }
        for name in RUN_NAMES
    }
    for run in runs.values():
        run["test"]["calibration"]["image"]["excess"] = excess[run["loss"] == "bce_iou"]
        run["val"]["whole_lung"] = run["test"]["whole_lung"] = {"iou": 0.2345, "located": whole}
    return runs


def masks(image=(0.25, 0.05), lung=0.2, alike=(0.6, 0.15)):
    """What 1_eda found, as far as verdicts go by it: each pair is for lungs and infections."""
    return {
        "lung": {"image_share_mean": image[0], "likeness_median": alike[0], "lung_share_median": 1.0},
        "infection": {"image_share_mean": image[1], "likeness_median": alike[1], "lung_share_median": lung},
    }


RISING = tuple(np.linspace(0.05, 0.5, 10))


def reached(iou=RISING, image=(0.25, 0.05), lung=0.2, alike=(0.6, 0.15), intervals=(), spread=None, **given):
    found = runs(**given)
    found["infection-bce_iou"]["late_rise"] = run_results.late_rise(np.array(iou))
    return verdicts.reach(found, masks(image, lung, alike), compared(**dict(intervals)), spread)


def results() -> dict:
    """All that results.json has of a preset."""
    task = {
        "films": {split: {"Normal": 3, "All": 3} for split in ("Train", "Val", "Test", "All")},
        "fingerprint": "0123",
    }
    audit = {
        "films": 9,
        "pairs": 1,
        "exact": 1,
        "across": 1,
        "mask_iou": 0.876,
        "leaked": [],
        "tiny": 0,
        "specks": 2,
        "outside": 0,
    }
    shortcut = {"brightness": 130.0, "brightness_auc": 0.7, "marked": 0.2, "marks_auc": 0.6}
    audit |= {"official": 100, "shortcuts": {"COVID-19": shortcut, "Normal": shortcut}}
    task |= {
        "controls": 9,
        "audit": audit,
        "image_share_mean": 0.2,
        "lung_share_median": 0.2,
        "regions_median": 2.0,
        "likeness_median": 0.5,
        "solidity_median": 0.87,
    }
    return {
        "preset": "made",
        "about": "a test",
        "collection": "COVID-QU-Ex",
        "phantom": False,
        "data": "covidqu",
        "reduction": "mean of a test",
        "tolerance": 2.0,
        "size": "256",
        "spread": None,
        "consistency": {"pairs": 8, "pooled": 0, "per_image": 7},
        "films": {"lung": task, "infection": task},
        "experiments": [{"name": name, "seed": 0} for name in RUN_NAMES],
        "settings": [{"label": "epochs", "reference": "10", "lung": "7", "infection": "8"}],
        "runs": runs(),
        "verdicts": reached(),
        "thresholds": verdicts.THRESHOLDS,
        "comparisons": compared(),
        "conventions": None,
        "ablation": None,
        "environment": {
            "device": "CPU",
            "threads": "2",
            "processor": "a processor",
            "precision": "fp32",
            "commit": "abc",
        }
        | {"python": "3.11", "packages": {"torch": "2.13.0"}},
        "training_minutes": 4.0,
    }
