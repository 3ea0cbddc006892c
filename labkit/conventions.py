"""What the reported infection score may mean: the same predictions under each convention, beside the reported numbers."""

import numpy as np
import pandas as pd

from labkit import metrics

# The mean relative distance under which a convention is said to come near the reported numbers.
NEAR = 0.1


def weights_of(rows: pd.DataFrame) -> np.ndarray:
    """A weight a film that makes controls count as much as the others: the official mix of the infection tree is 1 : 1."""
    control = rows["control"].to_numpy()
    return np.where(control, (~control).sum() / max(1, control.sum()), 1.0)


def compare(trained: dict[str, pd.DataFrame], reported: dict) -> dict:
    """All conventions side by side for one split.

    `trained`: rows of metrics.count with columns `loss` and `control`, for each way of training; `reported`: iou, mae and
    val_loss. Returns `rows`, each with trained, films ("COVID-19 films" or "all films"), convention, iou, dice, mae, loss
    and distance, the mean of |ours - reported| / reported over IoU, MAE and loss; `nearest`, the row with the smallest
    distance; and `near`, whether that is under NEAR. MAE and loss are means over all the films named, with
    the same weights: they are defined for every film, also where a convention leaves some out of IoU and Dice.
    """
    found = []
    for name, rows in trained.items():
        for films, chosen in (("COVID-19 films", rows[~rows["control"]]), ("all films", rows)):
            if films == "all films" and not rows["control"].any():
                continue
            weights = weights_of(chosen)
            mae, loss = (np.average(values, weights=weights) for values in (metrics.film_mae(chosen), chosen["loss"]))
            for convention, score in metrics.CONVENTIONS.items():
                # Rules for empty truths change nothing where no truth is empty.
                by_rule = "empty truths" in convention and convention != metrics.HEADLINE
                if by_rule and (chosen["truth"] > 0).all():
                    continue
                iou, dice = score(chosen, weights)
                ours = {"iou": iou, "mae": float(mae), "val_loss": float(loss)}
                distance = float(np.mean([abs(value - reported[key]) / reported[key] for key, value in ours.items()]))
                found.append(
                    {"trained": name, "films": films, "convention": convention, "dice": dice}
                    | ours
                    | {"distance": distance}
                )
    nearest = min(found, key=lambda row: row["distance"])
    return {
        "rows": found,
        "nearest": nearest,
        "near": nearest["distance"] < NEAR,
        "near_distance": NEAR,
        "reported": reported,
    }


def without_controls(iou_with_controls: float) -> float:
    """The IoU on COVID-19 films that a mean over all films implies, if controls are half of them and each scored 1.

    An inference: no published table says that every control was predicted empty.
    """
    return 2 * iou_with_controls - 1
