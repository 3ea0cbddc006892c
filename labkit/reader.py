"""A trained network and its films, opened to be looked at one by one."""

from functools import lru_cache

import numpy as np
import pandas as pd
import torch

from labkit import metrics, store
from labkit.evaluation import evaluate
from labkit.experiment import Experiment
from labkit.hardware import set_up_device
from labkit.presets import load_all
from labkit.scoring import probabilities
from labkit.store import Pack
from labkit.training import load_best

THRESHOLDS = np.linspace(0, 1, 101)
ALL = "all"


class Reader:
    """A trained network and its films. It reads a film once, however often that is shown."""

    def __init__(self, experiment: Experiment):
        """Open a run; it is trained and scored first where it is not, as in 3_evaluate."""
        evaluate(experiment)
        self.experiment, self.device = experiment, set_up_device(experiment)
        self.pack = store.load(experiment)
        self.network = load_best(experiment, self.device)
        self.films = scored_films(self.pack, experiment)
        self.probability = lru_cache(maxsize=256)(self._read)  # at 256x256 pixels 64 MB

    def _read(self, row: int) -> np.ndarray:
        """Probabilities of the film in the pack's row, float32 (H, W) in [0, 1]."""
        return probabilities(
            self.network, self.pack.images[[row]], self.pack.lungs[[row]], self.experiment, self.device
        )[0]

    def film(self, row: int) -> dict[str, np.ndarray]:
        """`image`, `truth` and `probability` of a film, each (H, W)."""
        return {"image": self.pack.images[row], "truth": self.pack.masks[row], "probability": self.probability(row)}


def open_runs(run: Experiment) -> dict[str, Reader]:
    """Readers of `run`, which comes first, and of the other runs of its preset, by name; what is not trained is trained."""
    # Opened in the preset's order, in which a run stands below those that it starts from.
    runs = {other.folder: other for other in load_all(run.preset, run.data)} | {run.folder: run}
    readers = {folder: Reader(each) for folder, each in runs.items()}
    run_first = sorted(runs.values(), key=lambda each: each.folder != run.folder)
    return {f"{each.name}, seed {each.seed}": readers[each.folder] for each in run_first}


def scored_films(pack: Pack, experiment: Experiment) -> pd.DataFrame:
    """Split, class, control and name of a pack's films, from the lowest `iou` to the highest, with `area`.

    The index is the row in the pack; `area` is the true mask's share of the film, in [0, 1]. Films that were not scored,
    those trained on, have neither; controls have no IoU. Both come last.
    """
    scores = []
    for split in ("Val", "Test"):
        rows = pd.read_csv(experiment.folder / f"{split.lower()}.csv")
        found = pd.DataFrame({"iou": metrics.film_iou(rows), "area": rows["truth"] / rows["pixels"]})
        scores.append(found.set_index(pack.rows(split, controls=True)))
    films = pack.samples[["split", "class", "control", "name"]].join(pd.concat(scores))
    return films.sort_values("iou", kind="stable")


def chosen(films: pd.DataFrame, category: str, split: str, iou: tuple[float, float]) -> pd.DataFrame:
    """The films of a class, a split and a range of IoU; ALL and (0, 1) leave out none, films without an IoU included."""
    kept = films["iou"].between(*iou) | (iou == (0, 1))
    kept &= (films["class"] == category) | (category == ALL)
    return films[kept & ((films["split"] == split) | (split == ALL))]


def scores_at(probability: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """Scores of a film's mask, all in [0, 1]: a pixel is predicted if its probability is over the threshold.

    `iou`, NaN for an empty truth; `hard_mae` of the mask; `mae` of the probabilities, which no threshold changes.
    """
    soft, true = torch.tensor(probability)[None], torch.tensor(truth)[None]
    sure = (soft > threshold).float().logit()  # logits of a network that is sure of its mask
    of_mask, of_probability = (
        metrics.film_scores(pd.DataFrame(metrics.count(logits, true))).iloc[0].to_dict()
        for logits in (sure, soft.logit())
    )
    return {"iou": of_mask["iou"], "hard_mae": of_mask["hard_mae"], "mae": of_probability["mae"]}


def iou_curve(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The film's IoU at each of THRESHOLDS; NaN for an empty truth."""

    def over(values: np.ndarray) -> np.ndarray:
        return values.size - np.searchsorted(np.sort(values, axis=None), THRESHOLDS, side="right")

    if not truth.any():
        return np.full(len(THRESHOLDS), np.nan)
    intersection = over(probability[truth > 0])
    return intersection / (over(probability) + truth.sum() - intersection)
