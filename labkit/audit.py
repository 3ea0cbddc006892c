"""What may be wrong with a data set: films missing, films that stand in it twice, odd masks, and what gives a class away."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import xxhash
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter, white_tophat
from scipy.stats import mannwhitneyu
from skimage.measure import label

from labkit import progress
from labkit.store import Pack
from labkit.threads import in_threads

THUMBNAIL = 24  # pixels a side
SMOOTH = 3.0  # pixels of a thumbnail: coarser shades, which all films share, are taken out before films are compared
# Films whose thumbnails correlate more than this are called near duplicates. Among 1,740 real films all eight pairs above it
# show one picture twice, and the first pair that does not stands at .925; distinct phantom films of the demo reach .947.
NEAR = 0.95
TINY, SPECK = 0.005, 0.001  # of the film
# Letters burned into a film are thin, bright, and lie outside the lungs. Thin: gone after an opening with a square of
# STROKE of the film's side; bright: over LETTER grey levels, and over CONTRAST above what the opening leaves.
STROKE, LETTER, CONTRAST = 0.04, 180, 90
# Films with more of such pixels than this share are called marked. Of 60 marked and 60 other real films that were looked at,
# nearly all marked ones carry letters or arrows, and so do about half of the others, small or in grey: this undercounts.
MARKED = 0.0004
# Films of the whole collection, control films among them (Tahir et al., 2021).
OFFICIAL = {
    "lung": {"Train": 21715, "Val": 5417, "Test": 6788, "COVID-19": 11956, "Non-COVID": 11263, "Normal": 10701},
    "infection": {"Train": 3728, "Val": 932, "Test": 1166, "COVID-19": 2913, "Non-COVID": 1457, "Normal": 1456},
}


def missing(pack: Pack) -> pd.DataFrame:
    """Films found here beside those of the whole collection: columns found and official, a row a split and a class."""
    samples = pack.samples
    official = OFFICIAL[samples["task"].iloc[0]]
    found = pd.concat([samples["split"].value_counts(), samples["class"].value_counts()])
    return pd.DataFrame({"found": found.reindex(list(official), fill_value=0), "official": official})


def duplicates(pack: Pack) -> pd.DataFrame:
    """Pairs of films that show the same picture, a row a pair, the most alike first.

    Columns: first, second (row numbers of the pack), correlation of the two thumbnails without their coarse shades,
    exact (the packed pixels are equal), across (they stand in different splits), mask_iou (overlap of the two masks; NaN
    where both are empty). Compares all pairs, block by block: memory grows with the number of films, not with its square.
    """
    thumbnails = _thumbnails(pack.images)
    seen: dict[bytes, list[int]] = {}
    same, near = set(), set()
    for row, image in enumerate(pack.images):
        others = seen.setdefault(xxhash.xxh3_128_digest(image), [])
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
    """Test films that also stand in another split, as "class/name"; `pairs` as `duplicates` gives them.

    Control films are left out, for nobody is scored on them.
    """
    films = pack.samples.loc[
        sorted({row for pair in pairs.loc[pairs["across"], ["first", "second"]].to_numpy() for row in pair})
    ]
    films = films[(films["split"] == "Test") & ~films["control"]]
    return list(films["class"] + "/" + films["name"])


def shared(pack: Pack, other: Pack) -> list[str]:
    """Test films of a pack that stand among the training and validation films of `other`, as "class/name".

    Control films are left out here too. Compared as in `duplicates`. A network that starts from one of
    the other task's has seen the films, not their masks.
    """
    tested, learnt = pack.rows("Test"), np.flatnonzero(other.samples["split"] != "Test")
    alike = _thumbnails(pack.images[row] for row in tested) @ _thumbnails(other.images[row] for row in learnt).T
    films = pack.samples.loc[tested[alike.max(axis=1) > NEAR]]
    return list(films["class"] + "/" + films["name"])


def odd_masks(pack: Pack) -> pd.DataFrame:
    """Films with a mask to look at twice: the sample's split, class and name, and three columns of truth values.

    `tiny`: a mask that is not empty covers under 0.5 % of the film; `specks`: the lung mask has parts under 0.1 % of the
    film; `outside`: the infection mask leaves the lung mask.
    """
    rows = []
    count = len(pack.images)
    for number in progress.track(range(count), count, f"looking at {count:,} masks"):
        mask, lung = pack.masks[number], pack.lungs[number]
        areas = np.bincount(label(lung).ravel())[1:]
        rows.append((0 < mask.mean() < TINY, (areas < SPECK * lung.size).any(), (mask > lung).any()))
    odd = pd.DataFrame(rows, columns=["tiny", "specks", "outside"], index=pack.samples.index)
    return pack.samples[["split", "class", "name"]].join(odd)[odd.any(axis=1)]


def shortcuts(pack: Pack) -> pd.DataFrame:
    """What might give a class away without a look at the lungs; a row a class.

    Columns: `brightness`, the mean of its films (0 to 255); `marked`, the share of its films with burned-in letters (see
    MARKED); and how well each tells its films from the others, `brightness_auc` and `marks_auc`: the probability that a
    film of the class is brighter, or has more pixels of letters, than one of another class, 0.5 for no shortcut (area under
    the ROC curve, from the Mann-Whitney statistic); NaN where there is one class only.
    """
    count = len(pack.images)
    # SciPy too lets go of Python's lock.
    looked = in_threads(lambda row: _marks(pack.images[row], pack.lungs[row]), range(count))
    marks = list(progress.track(looked, count, f"looking for letters on {count:,} films"))
    films = pd.DataFrame({"brightness": [image.mean() for image in pack.images], "marks": marks})
    rows = {}
    for category, own in films.groupby(pack.samples["class"]):
        others = films.drop(own.index)
        rows[category] = {"brightness": own["brightness"].mean(), "marked": (own["marks"] > MARKED).mean()}
        for name, values in own.items():
            auc = mannwhitneyu(values, others[name]).statistic / (len(own) * len(others)) if len(others) else np.nan
            rows[category][f"{name}_auc"] = auc
    return pd.DataFrame(rows).T


class Findings(NamedTuple):
    """The tables of an audit, each as the function of its name gives it."""

    duplicates: pd.DataFrame
    odd_masks: pd.DataFrame
    shortcuts: pd.DataFrame


def look(pack: Pack) -> Findings:
    """Audit a task's films, control films included."""
    return Findings(duplicates(pack), odd_masks(pack), shortcuts(pack))


def summarise(pack: Pack, findings: Findings) -> dict:
    """What the report says of a task's audit.

    Numbers of `films`; of `pairs` that show one picture, of these `exact` and `across` splits, and their `mask_iou` in the
    mean (None where there is none); the `leaked` test films; masks that are `tiny`, have `specks`, or leave the lung
    (`outside`); how many films the whole collection has, `official`; and the `shortcuts` by class.
    """
    pairs, odd, tell_tales = findings
    agreement = pairs["mask_iou"].astype(float).mean()  # pairs of two empty masks have none
    return {
        "films": len(pack.images),
        "pairs": len(pairs),
        "exact": int(pairs["exact"].sum()),
        "across": int(pairs["across"].sum()),
        "mask_iou": None if np.isnan(agreement) else float(agreement),
        "leaked": leaked(pack, pairs),
        **{kind: int(odd[kind].sum()) for kind in ("tiny", "specks", "outside")},
        "official": int(missing(pack)["official"].sum() // 2),  # each film stands in a split and in a class
        "shortcuts": {
            category: {key: None if np.isnan(value) else value for key, value in row.items()}
            for category, row in tell_tales.to_dict("index").items()
        },
    }


def _marks(image: np.ndarray, lung: np.ndarray) -> float:
    """The share of a film's pixels that look like burned-in letters, in [0, 1]."""
    side = max(3, round(STROKE * len(image)))
    strokes = (white_tophat(image, size=side) > CONTRAST) & (image > LETTER)
    # Ribs and vessels are thin and bright too: nothing in or beside the lungs counts.
    return float((strokes & ~binary_dilation(lung, iterations=side)).mean())


def _thumbnails(images: Iterable[np.ndarray]) -> np.ndarray:
    """Films as small pictures without their coarse shades: a row each, float32, of mean 0 and length 1."""
    return np.stack([_thumbnail(image) for image in images])


def _thumbnail(image: np.ndarray) -> np.ndarray:
    small = np.asarray(Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), np.float32)
    fine = (small - gaussian_filter(small, SMOOTH)).ravel()
    fine -= fine.mean()
    return fine / max(float(np.linalg.norm(fine)), 1e-6)
