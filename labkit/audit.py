"""What may be wrong with a data set: films that stand in it twice, odd masks, and what gives a class away."""

import hashlib

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import mannwhitneyu
from skimage.measure import label

from labkit.store import Pack

THUMBNAIL = 24  # pixels a side
SMOOTH = (
    3.0  # pixels of a thumbnail: coarser shades, which all chest films share, are taken out before films are compared
)
# Films whose thumbnails correlate more than this are called near duplicates. Among 1,740 real films all eight pairs above it
# show one picture twice, and the first pair that does not stands at .925; distinct phantom films reach .945.
NEAR = 0.95
TINY, SPECK = 0.005, 0.001  # of the film


def duplicates(pack: Pack) -> pd.DataFrame:
    """Pairs of films that show the same picture, a row a pair, the most alike first.

    Columns: first, second (row numbers of the pack), correlation of the two thumbnails without their coarse shades,
    exact (the packed pixels are equal), across (they stand in different splits), mask_iou (overlap of the two masks; NaN
    where both are empty). Compares all pairs, block by block: memory grows with the number of films, not with its square.
    """
    thumbnails = np.stack([_thumbnail(image) for image in pack.images])
    seen, same, near = {}, set(), set()
    for row, image in enumerate(pack.images):
        others = seen.setdefault(hashlib.sha256(image).digest(), [])
        same |= {(other, row) for other in others}
        others.append(row)
    for start in range(0, len(thumbnails), 1024):
        alike = np.argwhere(thumbnails[start : start + 1024] @ thumbnails.T > NEAR) + [start, 0]
        near |= {(int(first), int(second)) for first, second in alike if first < second}
    rows = []
    for first, second in sorted(same | near):
        exact = (first, second) in same
        union = (pack.masks[first] | pack.masks[second]).sum()
        overlap = (pack.masks[first] & pack.masks[second]).sum() / union if union else np.nan
        rows.append((first, second, 1.0 if exact else float(thumbnails[first] @ thumbnails[second]), exact, overlap))
    table = pd.DataFrame(rows, columns=["first", "second", "correlation", "exact", "mask_iou"])
    table = table.astype({"first": int, "second": int, "exact": bool})
    split = pack.samples["split"].to_numpy()
    table["across"] = split[table["first"]] != split[table["second"]]
    return table.sort_values("correlation", ascending=False, ignore_index=True)


def leaked(pack: Pack, pairs: pd.DataFrame) -> list[str]:
    """Test films that also stand in another split, as "class/name"; `pairs` as `duplicates` gives them."""
    films = pack.samples.loc[
        sorted({row for pair in pairs.loc[pairs["across"], ["first", "second"]].to_numpy() for row in pair})
    ]
    films = films[films["split"] == "Test"]
    return list(films["class"] + "/" + films["name"])


def odd_masks(pack: Pack) -> pd.DataFrame:
    """Films with a mask to look at twice: the sample's split, class and name, and three columns of truth values.

    `tiny`: a mask that is not empty covers under 0.5 % of the film; `specks`: the lung mask has parts under 0.1 % of the
    film; `outside`: the infection mask leaves the lung mask.
    """
    rows = []
    for number in range(len(pack.images)):
        mask, lung = pack.masks[number], pack.lungs[number]
        areas = np.bincount(label(lung).ravel())[1:]
        rows.append((0 < mask.mean() < TINY, (areas < SPECK * lung.size).any(), (mask > lung).any()))
    odd = pd.DataFrame(rows, columns=["tiny", "specks", "outside"], index=pack.samples.index)
    return pack.samples[["split", "class", "name"]].join(odd)[odd.any(axis=1)]


def brightness(pack: Pack) -> pd.DataFrame:
    """Mean brightness of the films of each class (0 to 255), and how well it alone tells them from the other classes.

    Columns mean and auc: the probability that a film of the class is brighter than one of another, 0.5 for no shortcut
    (area under the ROC curve, from the Mann-Whitney statistic); NaN where there is one class only.
    """
    mean = pd.Series([image.mean() for image in pack.images], index=pack.samples.index)
    rows = {}
    for category, films in mean.groupby(pack.samples["class"]):
        others = mean.drop(films.index)
        auc = mannwhitneyu(films, others).statistic / (len(films) * len(others)) if len(others) else np.nan
        rows[category] = {"mean": films.mean(), "auc": auc}
    return pd.DataFrame(rows).T


def summarise(pack: Pack) -> dict:
    """What the report says of a task's audit, control films included."""
    pairs, odd = duplicates(pack), odd_masks(pack)
    return {
        "films": len(pack.images),
        "pairs": len(pairs),
        "exact": int(pairs["exact"].sum()),
        "across": int(pairs["across"].sum()),
        "leaked": leaked(pack, pairs),
        **{kind: int(odd[kind].sum()) for kind in ("tiny", "specks", "outside")},
        "brightness": {
            category: {key: None if np.isnan(value) else value for key, value in row.items()}
            for category, row in brightness(pack).to_dict("index").items()
        },
    }


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """A film as a small picture without its coarse shades: float32 vector of mean 0 and length 1."""
    small = np.asarray(Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), np.float32)
    fine = (small - gaussian_filter(small, SMOOTH)).ravel()
    fine -= fine.mean()
    return fine / max(float(np.linalg.norm(fine)), 1e-6)
