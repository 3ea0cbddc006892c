"""PNGs packed once into memory-mapped uint8 arrays: training then reads bytes instead of decoding pictures.

A pack is a folder data/packs/<task>-<size>-<key>/ with images.npy, masks.npy and, but in the lung task, lungs.npy, all uint8
(N, size, size); pack.json, and stamp.txt, by which a change of the films is seen. The arrays are never loaded whole: 33,920
films stay on disk.
"""

import hashlib
import html
import io
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from labkit import dataset, phantom
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import ROOT, checksum, intact, lock, read_json, resolve, shown, write_json, writing, written
from labkit.threads import in_threads

VERSION = 6  # count up when what a pack holds changes, so that older ones are packed again


@dataclass(frozen=True, repr=False)
class Pack:
    """The films of one task at one size, memory-mapped."""

    samples: pd.DataFrame  # as dataset.index gives it; the row number is the film's place in the arrays
    images: np.ndarray  # uint8 (N, H, W), 0 to 255
    masks: np.ndarray  # uint8 (N, H, W), 0 and 1: what the task is to find
    lungs: np.ndarray  # uint8 (N, H, W), 0 and 1; `masks` again in the lung task
    about: dict  # fingerprint of the films; warnings about them

    def rows(self, split: str, controls: bool = False) -> np.ndarray:
        """Row numbers of a split's films, in the table's order; control films only if they are asked for."""
        return np.flatnonzero((self.samples["split"] == split) & (controls | ~self.samples["control"]))

    def __repr__(self) -> str:
        counts = ", ".join(f"{split} {(self.samples['split'] == split).sum()}" for split in dataset.SPLITS)
        return f"<Pack: {self._described()}; {counts}>"

    def _repr_html_(self) -> str:
        """For notebooks: films by split and class."""
        return f"<p>{html.escape(self._described())}</p>{dataset.counts(self.samples).to_html()}"

    def _described(self) -> str:
        (count, height, width), task = self.images.shape, self.samples["task"].iat[0]
        controls, warnings = self.samples["control"].sum(), len(self.about["warnings"])
        return f"{task} task: {count} films of {width}x{height}, controls among them {controls}, warnings {warnings}"


def root_of(experiment: Experiment) -> Path:
    """The data folder of an experiment; phantom films are drawn first where they are asked for."""
    return phantom.ensure(experiment.films) if experiment.data == "phantom" else resolve(experiment.data)


def load(experiment: Experiment) -> Pack:
    """The pack of an experiment's films, packed first if it is not there or if the films have changed."""
    return pack(root_of(experiment), experiment.task, experiment.size)


def pack(root: Path, task: str, size: int) -> Pack:
    """Pack the films of a task at `size` pixels a side, or open the pack that is there.

    Films shrink by the mean of the pixels they cover, masks by the pixel nearest the centre. Raises LabkitError, which
    names the file, for a film or mask that cannot be used; nothing is left behind then.
    """
    samples = dataset.index(root, task)
    folder = folder_of(root, task, size)
    # Two at once would write into each other's arrays.
    with lock(folder.parent / ".lock", "another process that packs films or checks them"):
        return _packed(samples, task, size, folder)


def _packed(samples: pd.DataFrame, task: str, size: int, folder: Path) -> Pack:
    files = [path for column in _columns(task) for path in samples[column]]
    stamp, kept = _stamp(files), folder / "stamp.txt"
    about = read_json(folder / "pack.json", {"version": None})
    if about["version"] == VERSION and not intact(folder / "pack.json"):
        print(f"{shown(folder)}: is damaged; the films are packed again", flush=True)
        about = {"version": None}
    if about["version"] != VERSION or not kept.is_file() or kept.read_bytes() != stamp.encode():
        # Files that were copied or touched look new. Reading them is cheap beside decoding and tells whether they are.
        if about["version"] != VERSION or about["fingerprint"] != _fingerprint(samples, in_threads(_digest, files)):
            with writing(folder, "free some space"):
                about = {"version": VERSION, **_write(samples, task, size, folder)}
            write_json(folder / "pack.json", about)  # last: a pack without it was interrupted
        with written(kept) as temporary:
            temporary.write_text(stamp)
    return _open(folder, samples, task)


def folder_of(root: Path, task: str, size: int) -> Path:
    """Where the pack of a task's films below `root` lies."""
    key = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
    return ROOT / "data" / "packs" / f"{task}-{size}-{key}"


def _open(folder: Path, samples: pd.DataFrame, task: str) -> Pack:
    images, masks = (np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in ("images", "masks"))
    lungs = masks if task == "lung" else np.load(folder / "lungs.npy", mmap_mode="r")
    about = read_json(folder / "pack.json")
    about["warnings"] = samples.attrs["warnings"] + about["warnings"]  # about folders, as they are now; about files
    return Pack(samples, images, masks, lungs, about)


def _write(samples: pd.DataFrame, task: str, size: int, folder: Path) -> dict:
    """Decode, check and write all films; returns what pack.json tells, with warnings about files that look odd."""
    shutil.rmtree(folder, ignore_errors=True)
    kinds = [f"{column}s" for column in _columns(task)]
    paths, shape = [folder / f"{kind}.npy" for kind in kinds], (len(samples), size, size)
    try:
        folder.mkdir(parents=True)
        odd_sizes: list[str] = []
        notes: list[str] = []
        digests = [b""] * len(samples)  # of each film's files, 16 bytes each, in the order of `kinds`
        # Lists: to look up a row of the table takes longer than to write it.
        images, masks, lungs, controls = (samples[name].tolist() for name in ("image", "mask", "lung", "control"))

        def one(row: int) -> list[np.ndarray]:
            read: list[bytes] = []
            film = dataset.read_film(images[row], notes, read)
            pixels = [_resize(film, size, Image.Resampling.BOX)]
            for kind in kinds[1:]:
                path = masks[row] if kind == "masks" else lungs[row]
                control = kind == "masks" and controls[row]
                mask = dataset.read_mask(path, film, control, notes, read)
                pixels.append(_resize(mask, size, Image.Resampling.NEAREST))
                if not mask.any() and not control:
                    notes.append(f"{shown(path)}: the mask is all black")
            if film.shape[0] != dataset.OFFICIAL_SIDE:
                odd_sizes.append(images[row])
            digests[row] = b"".join(read)
            return pixels

        def some(rows: range) -> int:
            for array, pixels in zip(arrays, zip(*map(one, rows)), strict=True):
                array.write_rows(rows[0], pixels)  # the threads at once, each to rows of its own
            return len(rows)

        told = f"packing {task} films at {size}x{size}"
        with ExitStack() as opened, tqdm(None, told, len(samples), unit="film", mininterval=1) as bar:
            arrays = [opened.enter_context(_Array(path, shape)) for path in paths]
            # 16 films at a time, of 256x256 or less: one large write is quicker than many small ones.
            some_films = min(16, max(1, 2**20 // size**2))
            parts = [range(len(samples))[first : first + some_films] for first in range(0, len(samples), some_films)]
            done = opened.enter_context(closing(in_threads(some, parts, at_once=1)))  # no thread outlives the arrays
            for films in done:
                bar.update(films)
        # Of what the disk gives back: a film's place in an array is not known before all are written.
        sums = {path.name: found for path, found in zip(paths, in_threads(checksum, paths, at_once=1), strict=True)}
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    warnings = sorted(notes)
    if odd_sizes:
        side = dataset.OFFICIAL_SIDE
        warnings.append(f"{shown(min(odd_sizes))}: it and {len(odd_sizes) - 1} more are not {side}x{side} pixels")
    by_kind = (digest[16 * kind : 16 * (kind + 1)] for kind in range(len(kinds)) for digest in digests)
    return {"fingerprint": _fingerprint(samples, by_kind), "warnings": warnings, "files": sums}


class _Array(io.FileIO):
    """A new uint8 array (N, H, W) on disk, to be filled row by row, in any order."""

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        super().__init__(path, "w")
        np.lib.format.write_array_header_1_0(self, {"descr": "|u1", "fortran_order": False, "shape": shape})
        self.start, self.row = self.tell(), math.prod(shape[1:])
        # All space is taken at once: a full disk shows now, not in the middle of a row.
        try:
            os.posix_fallocate(self.fileno(), 0, self.start + math.prod(shape))
        except OSError:
            self.close()
            raise

    def write_rows(self, first: int, pixels: Sequence[np.ndarray]) -> None:
        """Fill rows from `first` on with arrays (H, W)."""
        rows = [row.data for row in pixels]
        if os.pwritev(self.fileno(), rows, self.start + first * self.row) < len(rows) * self.row:
            raise OSError("not all was written")


def _resize(array: np.ndarray, size: int, how: Image.Resampling) -> np.ndarray:
    return array if array.shape[0] == size else np.asarray(Image.fromarray(array).resize((size, size), how))


def _columns(task: str) -> list[str]:
    """The columns of the table whose files a pack is made of; in the lung task the lungs' masks are the masks."""
    return ["image", "mask"] + ["lung"] * (task != "lung")


def _stamp(files: list[str]) -> str:
    """A hash over each file's path, size and time of change: quick, and new whenever a file may have changed."""
    total = hashlib.sha256()
    for path in files:
        try:
            stat = os.stat(path)
        except OSError as error:
            raise LabkitError(f"{shown(path)}: cannot be read ({error.strerror}); replace or remove it") from None
        total.update(os.fsencode(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
    return total.hexdigest()


def _fingerprint(samples: pd.DataFrame, digests: Iterable[bytes]) -> str:
    """A hash over what the films are: their place in the table and the checksums of their files, wherever these lie.

    The digests come column by column, in the order of `_columns`.
    """
    total = hashlib.sha256(samples[["task", "split", "class", "name"]].to_csv(index=False).encode())
    for digest in digests:
        total.update(digest)
    return total.hexdigest()[:16]


def _digest(path: str) -> bytes:
    try:
        return bytes.fromhex(checksum(path))
    except OSError as error:
        raise LabkitError(f"{shown(path)}: cannot be read ({error.strerror}); replace or remove it") from None
