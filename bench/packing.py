"""Packing films against only decoding their PNGs, as fast as the cores can; and the memory of packing 33,920 films.

Decoding has a thread a core, which takes 16 films at a time as packing's do, for that is the fastest that was found.

The many films are hard links to a few phantom films, so that the disk holds them. Memory is RssAnon, what the process keeps
of its own: pages of the mapped arrays are the system's to drop, and are not counted.

Aim: 90 % of decoding's speed, and constant memory.
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from common import interleave, ratio, show
from PIL import Image

from labkit import dataset, phantom, store


def anonymous_mb(process: str = "self") -> float:
    with open(f"/proc/{process}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024


class Peak(threading.Thread):
    """The largest of what `measure` gives, in MB, while the block runs."""

    def __init__(self, measure: Callable[[], float] = anonymous_mb):
        super().__init__()
        self.measure = measure

    def __enter__(self):
        self.mb, self.over = self.measure(), threading.Event()
        self.start()
        return self

    def run(self):
        while not self.over.wait(0.02):
            self.mb = max(self.mb, self.measure())

    def __exit__(self, *_):
        self.over.set()
        self.join()


def speed(folder: Path) -> None:
    root = folder / "films"
    phantom.write_tree(root, films=400)
    samples = dataset.index(root, "lung")

    pairs = list(zip(samples["image"], samples["mask"], strict=True))

    def decode(some: list[tuple[Path, Path]]):
        for pair in some:
            for path in pair:
                np.asarray(Image.open(path))

    def decode_all():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(decode, [pairs[first : first + 16] for first in range(0, len(pairs), 16)]))

    def forget():
        shutil.rmtree(store.folder_of(root, "lung", 256), ignore_errors=True)

    seconds = interleave(
        {"packing": lambda: store.pack(root, "lung", 256), "decoding": decode_all}, rounds=15, before=forget
    )
    films = len(samples)
    show(
        ["films", "packing at 256², films/s", "decoding alone, films/s", "packing's speed over decoding's"],
        [
            [
                films,
                *(f"{films / np.median(seconds[name]):.0f}" for name in seconds),
                ratio(seconds["decoding"], seconds["packing"]),
            ]
        ],
    )


def link_films(few: Path, root: Path, films: int) -> None:
    """A lung tree of so many films: hard links to those of the tree `few`, in its proportions."""
    samples = dataset.index(few, "lung")
    for number in range(films):
        sample = samples.iloc[number % len(samples)]
        for kind, name in (("image", "images"), ("mask", "lung masks")):
            path = root / "Lung Segmentation Data" / sample["split"] / sample["class"] / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(sample[kind], path)


def memory(folder: Path, total: int = 33_920) -> None:
    few = folder / "few"
    phantom.write_tree(few, films=60)
    rows = []
    for films in (total // 16, total // 4, total):
        root = folder / f"many{films}"
        link_films(few, root, films)
        start = time.perf_counter()
        with Peak() as peak:
            store.pack(root, "lung", 256)
        seconds = time.perf_counter() - start
        rows.append([f"{films:,}", f"{seconds:.1f}", f"{films / seconds:.0f}", f"{peak.mb:.0f}"])
        shutil.rmtree(store.folder_of(root, "lung", 256))
        shutil.rmtree(root)
    show(["films packed at 256²", "s", "films/s", "largest RssAnon, MB"], rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=store.ROOT / "data") as name:
        speed(Path(name))
        print()
        memory(Path(name))
