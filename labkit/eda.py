"""Exploratory data analysis (reference report, II): what the films and masks are like, as tables of one row a film."""

import numpy as np
import pandas as pd
from skimage.measure import label, regionprops

from labkit import audit, dataset, progress
from labkit.code import HASHES
from labkit.errors import LabkitError
from labkit.store import Pack


def describe(pack: Pack) -> pd.DataFrame:
    """Size and shape of each film's mask, control films left out; the samples' columns of text, and these:

    `image_share`, that of the film, and `lung_share`, that of the lung, which the mask covers, in [0, 1]; `regions`, how many
    connected parts; `solidity`, area of the largest part over its convex hull, in (0, 1], 1 for a shape without dents;
    `likeness`, the overlap of the mask with the mean mask of the same class as soft sets (sum of minima / sum of maxima), in
    [0, 1], 1 if all masks are the same. Shape columns are NaN for an empty mask, lung_share for an empty lung.
    """
    table = pack.samples.loc[~pack.samples["control"], ["task", "split", "class", "name"]]
    means = mean_masks(pack)
    rows = []
    films = zip(table.index.to_numpy(), table["class"])  # row numbers, and to mypy too
    for row, category in progress.track(films, len(table), f"measuring {len(table):,} masks"):
        mask, mean = pack.masks[row], means[category]
        parts = regionprops(label(mask))
        largest = max(parts, key=lambda part: part.area, default=None)
        lung = int(pack.lungs[row].sum())
        rows.append(
            {
                "image_share": mask.mean(),
                "lung_share": (mask & pack.lungs[row]).sum() / lung if lung else np.nan,
                "regions": len(parts) or np.nan,
                "solidity": largest.solidity if largest else np.nan,
                "likeness": np.minimum(mask, mean).sum() / np.maximum(mask, mean).sum() if largest else np.nan,
            }
        )
    return table.join(pd.DataFrame(rows, index=table.index))


def mean_masks(pack: Pack) -> dict[str, np.ndarray]:
    """The mean mask of each class but controls, float64 (H, W): how often a pixel lies inside."""
    means = {}
    for category, films in pack.samples[~pack.samples["control"]].groupby("class"):
        rows = films.index
        # Summed one by one, so that memory does not grow with the number of films.
        means[str(category)] = sum(pack.masks[row].astype(np.int64) for row in rows) / len(rows)
    return means


def summarise(table: pd.DataFrame, pack: Pack, findings: audit.Findings) -> dict:
    """What the report says of a task's films, over all splits.

    Numbers of `films` by split and class, and of `controls`; mean or median of the columns of `describe`; the `audit`; and what
    this belongs to: the films' `fingerprint`, their `size`, and the `code`.
    Raises LabkitError where every mask, or lung mask, is black.
    """
    for kind, share in {"masks": table["image_share"], "lung masks": table["lung_share"].fillna(0)}.items():
        if not share.any():
            raise LabkitError(
                f"data: all {kind} of the {table['task'].iloc[0]} task are black; are these the right folders?"
            )
    return {
        "films": {
            split: {category: int(n) for category, n in row.items()} for split, row in dataset.counts(table).iterrows()
        },
        "image_share_mean": float(table["image_share"].mean()),
        "lung_share_median": float(table["lung_share"].median()),
        "regions_median": float(table["regions"].median()),
        "solidity_median": float(table["solidity"].median()),
        "likeness_median": float(table["likeness"].median()),
        "controls": int(pack.samples["control"].sum()),
        "audit": audit.summarise(pack, findings),
        "fingerprint": pack.about["fingerprint"],
        "size": pack.images.shape[1],
        "code": HASHES["eda"],
    }
