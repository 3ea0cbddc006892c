"""COVID-QU-Ex as it lies on disk, as a table of samples; and the checks that every film passes before it is used.

Tahir et al., "COVID-19 infection localization and severity grading from chest X-ray images", Computers in Biology and
Medicine 139 (2021) 105002. The layout, one or two outer folders deep, in any case of letters:

    Lung Segmentation Data/[Lung Segmentation Data/]{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/{images,lung masks}/
    Infection Segmentation Data/[...]/{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/{images,lung masks,infection masks}/
"""

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import xxhash
from PIL import Image, UnidentifiedImageError

from labkit.errors import LabkitError
from labkit.files import is_text, shown

SPLITS = ("Train", "Val", "Test")
CLASSES = ("COVID-19", "Non-COVID", "Normal")
TREES = {"lung": "Lung Segmentation Data", "infection": "Infection Segmentation Data"}
# The lung task is about all three classes. Only COVID-19 films have an infection to find: in the infection task the films of
# the other classes are controls, which a network may be trained with or scored on, and which are kept apart.
CONTROLS = {"lung": (), "infection": CLASSES[1:]}
OFFICIAL_SIDE = 256  # pixels
MAX_SIDE = 4096  # pixels: larger files are refused before they are decoded, whatever their header promises
PHANTOM_MARK = "PHANTOM.json"  # labkit.phantom leaves it at the root of a tree that it drew


def index(root: Path, task: str) -> pd.DataFrame:
    """The table of samples of a task ("lung" or "infection"): a row a film, in a fixed order.

    Columns: task, split, class, control (whether the film is one, see CONTROLS), name (the film's file name), image, mask,
    lung (paths as text, which takes half the memory of Path objects; in the lung task `mask` is `lung`).
    `attrs["warnings"]` lists, a line each, what was left out. Raises LabkitError for a missing folder, a film without its
    mask, a file whose name is not UTF-8, or a split without films.
    """
    tree = find_tree(root, task)
    rows, notes = [], []
    for split in SPLITS:
        split_folder = _subfolder(tree, split)
        for entry in sorted(split_folder.iterdir()):
            if entry.is_dir() and entry.name.casefold() not in map(str.casefold, CLASSES):
                notes.append(f"{shown(entry)}: is no class ({', '.join(CLASSES)}), so its films are left out")
        for category in CLASSES:
            control = category in CONTROLS[task]
            folder = _find(split_folder, category)
            films = _pngs(_subfolder(folder, "images"), notes) if folder else {}
            if not folder or not films:
                notes.append(f"{shown(split_folder)}: no films of class {category}")
                continue
            if control and not _find(folder, f"{task} masks"):
                notes.append(f"{shown(folder)}: has no folder '{task} masks', so these control films are left out")
                continue
            lungs = _pngs(_subfolder(folder, "lung masks"))
            masks = lungs if task == "lung" else _pngs(_subfolder(folder, f"{task} masks"))
            lungs_of, masks_of = _by_film(films, lungs), _by_film(films, masks)
            for name, image in films.items():
                masks_found = _found(image, masks_of[name]), _found(image, lungs_of[name])
                rows.append((task, split, category, control, name, image, *masks_found))
            extra = len({name.casefold() for name in masks} - {name.casefold() for name in films})
            if extra:
                notes.append(f"{shown(folder)}: {extra} {task} masks belong to no film and are left out")
        if not any(row[1] == split and not row[3] for row in rows):
            raise LabkitError(f"{shown(split_folder)}: no films for the {task} task; expected PNGs in <class>/images/")
    table = pd.DataFrame(rows, columns=["task", "split", "class", "control", "name", "image", "mask", "lung"])
    table.attrs["warnings"] = notes
    return table


def find_tree(root: Path, task: str) -> Path:
    """The folder that holds Train, Val and Test of a task. Raises LabkitError where there is none below `root`."""
    if not root.is_dir():
        raise LabkitError(
            f"data: {shown(root)} is not a folder; give the one that holds '{TREES['lung']}' and '{TREES['infection']}'"
        )
    outer = _subfolder(root, TREES[task])
    return _find(outer, TREES[task]) or outer


def is_phantom(root: Path) -> bool:
    """Whether labkit drew these films itself."""
    return (root / PHANTOM_MARK).is_file()


def counts(samples: pd.DataFrame) -> pd.DataFrame:
    """Number of films by split and class; splits in their usual order, with totals."""
    table = pd.crosstab(samples["split"], samples["class"], margins=True, margins_name="All")
    return table.reindex([*SPLITS, "All"])


def read_film(path: str | Path, notes: list[str] | None = None, sums: list[bytes] | None = None) -> np.ndarray:
    """A film as uint8 (H, W), 0 black to 255 white. Raises LabkitError unless it is a square PNG of 8-bit grey values.

    Grey values may be stored as colours (red = green = blue, nothing transparent): that is added to `notes`.
    The XXH3-128 of the file's bytes is added to `sums`: whoever needs it has no need to read the file once more.
    """
    # Pillow rather than skimage.io: it tells format, mode and size from the header, before anything large is decoded.
    try:
        with open(path, "rb") as file:
            content = file.read()
        if sums is not None:
            sums.append(xxhash.xxh3_128_digest(content))
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.width != image.height:
                size = f"{image.width}x{image.height}"
                raise LabkitError(f"{shown(path)}: is {size} pixels; films and masks must be square; crop or pad it")
            if image.width > MAX_SIDE:
                raise LabkitError(
                    f"{shown(path)}: is {image.width} pixels a side; at most {MAX_SIDE} are read; make it smaller"
                )
            return np.asarray(image) if image.mode == "L" else _grey(image, path, notes)
    except (LabkitError, MemoryError):
        raise
    except Exception as error:  # the decoder raises whatever a damaged file leads it to
        reason = "it does not begin like one" if isinstance(error, UnidentifiedImageError) else error
        raise LabkitError(f"{shown(path)}: cannot be read as a PNG ({reason}); replace or remove it") from None


def read_mask(
    path: str | Path,
    film: np.ndarray,
    control: bool = False,
    notes: list[str] | None = None,
    sums: list[bytes] | None = None,
) -> np.ndarray:
    """A mask as uint8 (H, W), 0 outside and 1 inside; `notes` and `sums` as for read_film.

    Raises LabkitError unless it fits the film and holds 0 and 255 only, and for a control film unless it is all black.
    """
    mask = read_film(path, notes, sums)
    if mask.shape != film.shape:
        raise LabkitError(
            f"{shown(path)}: is {_size(mask)} pixels, but its film is {_size(film)}; they must be the same"
        )
    inside = mask == 255
    if np.count_nonzero(mask) > np.count_nonzero(inside):
        grey = int(mask[~inside & (mask > 0)][0])
        raise LabkitError(f"{shown(path)}: a mask holds only black (0) and white (255), but this one holds {grey} too")
    if control and inside.any():
        raise LabkitError(
            f"{shown(path)}: the mask of a control film must be black, but this one is not; is the class right?"
        )
    return inside.view(np.uint8)


def _grey(image: Image.Image, path: str | Path, notes: list[str] | None) -> np.ndarray:
    """The grey values of a PNG that stores them in another way. Raises LabkitError if it holds anything else."""
    mode = image.mode
    if mode not in ("1", "P", "LA", "RGB", "RGBA", "PA"):
        raise LabkitError(f"{shown(path)}: is a PNG of mode {mode}; convert it to 8-bit grey (mode L)")
    red, green, blue, opacity = (np.asarray(channel) for channel in image.convert("RGBA").split())
    if not (red == green).all() or not (red == blue).all():
        raise LabkitError(f"{shown(path)}: is a PNG of mode {mode} with colours; convert it to 8-bit grey (mode L)")
    if not (opacity == 255).all():
        raise LabkitError(f"{shown(path)}: is a PNG of mode {mode} with transparent pixels; convert it to mode L")
    if notes is not None:
        notes.append(f"{shown(path)}: stores grey values as mode {mode}; they are used as they are")
    return red


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"


def _find(folder: Path, name: str) -> Path | None:
    """The folder of that name, in whatever case it is written; None where there is none. Raises LabkitError for two."""
    found = [entry for entry in sorted(folder.iterdir()) if entry.name.casefold() == name.casefold() and entry.is_dir()]
    if len(found) > 1:
        raise LabkitError(f"{shown(found[0])}: stands beside '{found[1].name}'; put their files into one folder")
    return found[0] if found else None


def _subfolder(folder: Path, name: str) -> Path:
    found = _find(folder, name)
    if found is None:
        raise LabkitError(f"{shown(folder)}: has no folder '{name}'; see data/README.md for the layout")
    return found


def _pngs(folder: Path, notes: list[str] | None = None) -> dict[str, str]:
    """The PNGs of a folder by their names; what else lies there, but for hidden files, is added to `notes`."""
    names = sorted(os.listdir(folder))
    for name in names:
        if not is_text(name):
            raise LabkitError(f"{shown(folder / name)}: its name is not UTF-8; rename it")
    found = {name: f"{folder}/{name}" for name in names if os.path.splitext(name)[1].casefold() == ".png"}
    others = [name for name in names if name not in found and not name.startswith(".")]
    if others and notes is not None:
        notes.append(f"{shown(folder / others[0])}: it and {len(others) - 1} more are no PNGs and are left out")
    return found


def _by_film(films: dict[str, str], masks: dict[str, str]) -> dict[str, str | None]:
    """For each film the mask of its file name; or, if no film has exactly that, of the same letters in another case."""
    in_any_case = {name.casefold(): path for name, path in masks.items() if name not in films}
    return {name: masks.get(name) or in_any_case.get(name.casefold()) for name in films}


def _found(image: str, mask: str | None) -> str:
    if mask is None:
        raise LabkitError(f"{shown(image)}: has no mask of the same name; add the mask or remove the film")
    return mask
