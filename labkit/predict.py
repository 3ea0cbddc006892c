"""A trained network on any film: PNG, JPEG or DICOM, of any size and bit depth. Not for clinical use."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from scipy.ndimage import binary_erosion
from torch import nn
from tqdm import tqdm

from labkit.code import HASHES
from labkit.errors import LabkitError
from labkit.experiment import RUNS, Experiment
from labkit.files import is_text, shown, writing, written
from labkit.hardware import set_up_device
from labkit.runs import Run, find
from labkit.scoring import probabilities
from labkit.style import PAGE, TASK_COLOURS
from labkit.training import load_best

NOTICE = "Not for clinical use: a teaching and research tool, trained on one data set."
PICTURES = (".png", ".jpg", ".jpeg")
DICOM = (".dcm", ".dicom")
SHEET = 40  # films on a contact sheet
MAX_PIXELS = 64_000_000  # a film has 10 million at most: what is larger is a mistake or an attack


@dataclass(frozen=True)
class Film:
    """A film and what a network finds in it, all (H, W) at the film's own size."""

    path: Path
    task: str  # what the mask shows: "lung" or "infection"
    pixels: np.ndarray  # uint8, 0 black to 255 white
    mask: np.ndarray  # bool: what the run's task is to find
    lung: np.ndarray | None  # bool: the lungs, where the task is the infection

    def row(self) -> dict:
        """File, size, share of the film inside the mask; where lungs were looked for, the share of them infected, or None."""
        height, width = self.pixels.shape
        row = {"file": str(self.path), "width": width, "height": height, "mask_share": float(self.mask.mean())}
        if self.lung is None:
            return row
        lung = int(self.lung.sum())
        return row | {"lung_share": float((self.mask & self.lung).sum() / lung) if lung else None}


class Predictor:
    """The network of a run, and for an infection run that of a lung run, ready for films."""

    def __init__(self, run: Run, lung: Run | None = None):
        """`lung`: the lung run that says where the lungs are in an infection run's films.

        Raises LabkitError where a run is not trained, or `lung` is no lung run.
        """
        self.run = run
        self.parts = {run.experiment.task: _network(run)}
        if lung and lung.experiment.task != "lung":
            raise LabkitError(f"lung: {lung.name} finds the {lung.experiment.task}; give a run of the lung task")
        if lung and run.experiment.task == "infection":
            self.parts["lung"] = _network(lung)

    def film(self, path: Path) -> Film:
        """What the run finds in the film at `path`. Raises LabkitError, which names the file, if it cannot be read."""
        pixels = read(path)
        masks = {task: find_in(pixels, *part) > 0.5 for task, part in self.parts.items()}
        task = self.run.experiment.task
        return Film(path, task, pixels, masks[task], masks.get("lung") if task == "infection" else None)


def lung_run_for(run: Run) -> Run | None:
    """The lung run beside an infection run: of the same preset and seed, with BCE+IoU or else BCE; None if none is trained."""
    for loss in ("bce_iou", "bce"):
        folder = run.folder.parent.parent / RUNS["lung", loss] / run.folder.name
        if run.experiment.task == "infection" and (folder / "training.json").is_file():
            return find(str(folder))
    return None


def refuse_oracle(run: Run) -> None:
    """Raise LabkitError for a run that needs a film's true lung mask: films of one's own have none."""
    if run.experiment.needs_true_lungs:
        raise LabkitError(
            f"{run.name}: was told the true lungs (lung_input or lung_prior), which no other film comes with; "
            "take another run"
        )


def _network(run: Run) -> tuple[nn.Module, Experiment]:
    if not (run.folder / "training.json").is_file():
        raise LabkitError(
            f"{run.name}: its training is not done; run notebooks/2_train.ipynb with its parameters first"
        )
    if run.about["identity"]["code"] != HASHES["train"]:
        raise LabkitError(f"{run.name}: was trained by another version of the code; run notebooks/2_train.ipynb again")
    refuse_oracle(run)
    return load_best(run.experiment, set_up_device(run.experiment)), run.experiment


def find_in(pixels: np.ndarray, network: nn.Module, experiment: Experiment) -> np.ndarray:
    """Probabilities float32 (H, W) in [0, 1] for a film uint8 (H, W) of any size.

    The film is padded with black to a square, since networks are trained on square films, and shrunk to the run's size
    as its training films were; the probabilities go the way back, interpolated linearly.
    """
    height, width = pixels.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), np.uint8)
    square[top : top + height, left : left + width] = pixels
    small = np.array(Image.fromarray(square).resize((experiment.size,) * 2, Image.Resampling.BOX))
    device = next(network.parameters()).device
    found = Image.fromarray(probabilities(network, small[None], None, experiment, device)[0])
    large = np.asarray(found.resize((side, side), Image.Resampling.BILINEAR))
    return large[top : top + height, left : left + width]


def read(path: Path) -> np.ndarray:
    """A film as uint8 (H, W), 0 black to 255 white, from a PNG, JPEG or DICOM file.

    8-bit grey values stay as they are, and colours become their luminance. Deeper ones are spread so that the darkest is
    0 and the brightest 255; those of a DICOM file after its own modality and window transformations, and turned over
    where it says that white is low. Raises LabkitError, which names the file, if it is none of these or too large.
    """
    if not is_text(path):
        raise LabkitError(f"{shown(path)}: its name is not UTF-8; rename it")
    suffix = path.suffix.lower()
    if suffix not in PICTURES + DICOM:
        raise LabkitError(
            f"{shown(path)}: is not a film; give a PNG, JPEG or DICOM file ({', '.join(PICTURES + DICOM)})"
        )
    try:
        pixels = _read_dicom(path) if suffix in DICOM else _read_picture(path)
    except LabkitError:
        raise
    except Exception as error:  # the decoders raise whatever a damaged file leads them to
        raise LabkitError(f"{shown(path)}: cannot be read ({' '.join(str(error).split())[:120]}); replace it") from None
    return pixels if pixels.dtype == np.uint8 else _spread(pixels)


def _read_picture(path: Path) -> np.ndarray:
    # Pillow warns of large pictures; they are refused here, before they are decoded.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            _check_size(path, image.width, image.height)
            upright = ImageOps.exif_transpose(image)  # as viewers show it
            deep = image.mode.startswith(("I", "F"))
            return np.asarray(upright).astype(float) if deep else np.asarray(upright.convert("L"))


def _read_dicom(path: Path) -> np.ndarray:
    import pydicom  # takes a moment to import: only where it is used
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    data = pydicom.dcmread(path)
    _check_size(path, data.Columns, data.Rows)
    if int(data.get("NumberOfFrames", 1)) != 1 or data.get("SamplesPerPixel", 1) != 1:
        raise LabkitError(f"{shown(path)}: holds several pictures or colours; give one grey film a file")
    stored = data.pixel_array
    values = apply_voi_lut(apply_modality_lut(stored, data), data)
    inverted = data.PhotometricInterpretation == "MONOCHROME1"
    # 8-bit grey values, which no table or window has changed, though one that changes nothing may have made them floats.
    if stored.dtype == np.uint8 and data.BitsStored == 8 and (np.round(values) == stored).all():
        return 255 - stored if inverted else stored
    return -values.astype(float) if inverted else values.astype(float)


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise LabkitError(
            f"{shown(path)}: is {width}x{height} pixels, more than any film; at most {MAX_PIXELS:,} are read"
        )


def _spread(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (
        np.zeros(values.shape, np.uint8)
        if high == low
        else np.round(255 * (values - low) / (high - low)).astype(np.uint8)
    )


def films_in(paths: list[Path], to: Path) -> list[Path]:
    """The files named, and those of the folders named, however deep, that look like films. Raises LabkitError if none do.

    What lies below `to`, the folder for what is found, is left out: pictures of an earlier call are no films.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise LabkitError(f"{shown(path)}: there is no such file or folder")
        if path.is_dir() and path.resolve().is_relative_to(to.resolve()):
            raise LabkitError(
                f"--to: {shown(path)} lies in it, and what is written there is left out; name another folder"
            )
        inside = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in PICTURES + DICOM and file.is_file()
            if not file.resolve().is_relative_to(to.resolve())
        ]
        found += inside if path.is_dir() else [path]
    for path in found:
        if path.resolve().parent == to.resolve():
            raise LabkitError(f"--to: {shown(path)} lies in it, beside which nothing is written; name another folder")
    if not found:
        raise LabkitError(f"{shown(paths[0])}: holds no film; give PNG, JPEG or DICOM files, or a folder of them")
    return found


def write(predictor: Predictor, paths: list[Path], folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Find masks in all films of `paths`, and write them into `folder`; returns a row a film, and what could not be read.

    For each film <name>-mask.png (0 and 255) and <name>-overlay.png (the outlines over the film), both of its own size;
    predictions.csv with the rows of Film.row; contact-sheet-<k>.png, SHEET films each. A file that cannot be read does not
    stop the others.
    """
    with writing(folder, "name another folder with --to"):
        # Of an earlier call, of other films.
        for old in (folder / "predictions.csv", *folder.glob("contact-sheet-*.png")):
            old.unlink(missing_ok=True)
    rows, refused, sheet, names = [], [], [], set()
    for number, path in enumerate(tqdm(paths, "finding masks", unit="film", mininterval=1)):
        try:
            film = predictor.film(path)
        except LabkitError as error:
            refused.append(str(error))
            continue
        name = path.stem
        while name in names:  # folders may hold films of one name
            name += f"-{number}"
        names.add(name)
        _save(film.mask.astype(np.uint8) * 255, folder / f"{name}-mask.png")
        row, outlined = film.row(), overlay(film)
        _save(outlined, folder / f"{name}-overlay.png")
        rows.append(row | {"mask": f"{name}-mask.png"})
        sheet.append((row, _thumbnail(outlined)))
        if len(sheet) == SHEET:
            _save_sheet(sheet, predictor.run.name, folder, len(rows))
            sheet = []
    if sheet:
        _save_sheet(sheet, predictor.run.name, folder, len(rows))
    if rows:
        with written(folder / "predictions.csv") as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)
    return pd.DataFrame(rows), refused


def overlay(film: Film) -> np.ndarray:
    """The film with the outlines of its masks in the report's colours, uint8 (H, W, 3)."""
    width = max(1, round(max(film.pixels.shape) / 250))  # pixels: to be seen on a large film too
    picture = np.repeat(film.pixels[..., None], 3, axis=2)
    for task, mask in (("lung", film.lung), (film.task, film.mask)):
        if mask is not None and mask.any():
            picture[mask & ~binary_erosion(mask, iterations=width)] = np.multiply(TASK_COLOURS[task], 255)
    return picture


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    small = Image.fromarray(picture)
    small.thumbnail((320, 320))
    return np.asarray(small)


def _save(pixels: np.ndarray, path: Path) -> None:
    with written(path) as temporary:
        Image.fromarray(pixels).save(temporary)


def _save_sheet(films: list[tuple[dict, np.ndarray]], run: str, folder: Path, done: int) -> None:
    """A page of overlays, five a row, each with its file's name and share; `done`: films so far, from which its number."""
    rows = -(-len(films) // 5)
    figure, panels = plt.subplots(rows, 5, figsize=(PAGE, 1.75 * rows + 0.5), squeeze=False)
    for panel in panels.flat:
        panel.axis("off")
    for panel, (row, picture) in zip(panels.flat, films):
        panel.imshow(picture)
        share = f"mask {100 * row['mask_share']:.1f} % of the film"
        if row.get("lung_share") is not None:
            share = f"{100 * row['lung_share']:.0f} % of the lungs"
        name = Path(row["file"]).name
        panel.set_title(f"{name if len(name) < 24 else name[:20] + '…'}\n{share}".replace("$", "\\$"), fontsize=6)
    figure.suptitle(f"{run}. {NOTICE}".replace("$", "\\$"), fontsize=7)
    with written(folder / f"contact-sheet-{-(-done // SHEET):02}.png") as temporary:
        figure.savefig(temporary, dpi=200)
    plt.close(figure)
