"""Exploratory data analysis (reference report, II): what the films and masks are like, as tables of one row a film."""

import numpy as np
import pandas as pd
from skimage.measure import label, regionprops
from tqdm import tqdm

from labkit.errors import LabkitError
from labkit.store import Pack


def describe(pack: Pack) -> pd.DataFrame:
    """Size and shape of each film's mask; the samples' split, class and name with these columns:

    `image_share` mask / film and `lung_share` mask / lung, in [0, 1]; `regions`, how many connected parts; `solidity`, area
    of the largest part over its convex hull, in (0, 1], 1 for a shape without dents; `likeness`, the overlap of the mask
    with the mean mask of the same class as soft sets (sum of minima / sum of maxima), in [0, 1], 1 if all masks are
    the same. Shape columns are NaN for an empty mask, lung_share for an empty lung.
    """
    table = pack.samples[["task", "split", "class", "name"]].copy()
    means = mean_masks(pack)
    rows = []
    for row in tqdm(range(len(table)), "measuring masks", unit="mask", mininterval=1, leave=False):
        mask, mean = pack.masks[row], means[table.at[row, "class"]]
        parts = regionprops(label(mask))
        largest = max(parts, key=lambda part: part.area, default=None)
        lung = int(pack.lungs[row].sum())
        rows.append(
            {
                "image_share": mask.mean(),
                "lung_share": mask.sum() / lung if lung else np.nan,
                "regions": len(parts) or np.nan,
                "solidity": largest.solidity if largest else np.nan,
                "likeness": np.minimum(mask, mean).sum() / np.maximum(mask, mean).sum() if largest else np.nan,
            }
        )
    return table.join(pd.DataFrame(rows))


def mean_masks(pack: Pack) -> dict[str, np.ndarray]:
    """The mean mask of each class, float64 (H, W): how often a pixel lies inside."""
    means = {}
    for category in pack.samples["class"].unique():
        rows = np.flatnonzero(pack.samples["class"] == category)
        # Summed one by one, so that memory does not grow with the number of films.
        means[category] = sum(pack.masks[row].astype(np.int64) for row in rows) / len(rows)
    return means


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Number of films by split and class; splits in their usual order, with totals."""
    return pd.crosstab(table["split"], table["class"], margins=True, margins_name="All").reindex(
        ["Train", "Val", "Test", "All"]
    )


def summarise(table: pd.DataFrame, pack: Pack) -> dict:
    """What the report says of a task's films, over all splits. Raises LabkitError where every mask is black."""
    if not table["image_share"].any():
        raise LabkitError(
            f"data: all masks of the {table['task'].iloc[0]} task are black; are these the right folders?"
        )
    return {
        "films": {split: {category: int(n) for category, n in row.items()} for split, row in counts(table).iterrows()},
        "image_share_mean": float(table["image_share"].mean()),
        "image_share_median": float(table["image_share"].median()),
        "lung_share_median": float(table["lung_share"].median()),
        "regions_median": float(table["regions"].median()),
        "solidity_median": float(table["solidity"].median()),
        "likeness_median": float(table["likeness"].median()),
        "empty_masks": int((table["image_share"] == 0).sum()),
        "fingerprint": pack.about["fingerprint"],
        "warnings": pack.about["warnings"],
    }
