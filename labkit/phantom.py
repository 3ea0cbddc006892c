"""Phantom films: a synthetic COVID-QU-Ex tree, so that everything runs where no data set is at hand.

The films are drawn, not learnt: a bright thorax on black, two dark lungs between ribs, spine, heart and diaphragm, noise
and exposure that vary. COVID-19 films carry infections, soft irregular opacities that hide part of a lung; Non-COVID ones
a hazy lung base and no infection. Each says PHANTOM in a corner. They show that the pipeline works and nothing about people.
"""

import shutil
from pathlib import Path

import numpy as np
import scipy  # its parts are imported on first use: `make report` starts with this file, and rarely draws
from PIL import Image, ImageDraw
from tqdm import tqdm

from labkit.dataset import CLASSES, OFFICIAL_SIDE, PHANTOM_MARK, SPLITS, TREES
from labkit.files import ROOT, lock, read_json, shown, write_json, writing
from labkit.threads import in_threads

# The grid of a film: x from -1 (left) to 1 (right), y from -1 (top) to 1 (bottom).
Y, X = np.mgrid[-1 : 1 : OFFICIAL_SIDE * 1j, -1 : 1 : OFFICIAL_SIDE * 1j]
SHARE = {"Train": 1, "Val": 0.25, "Test": 0.3125}  # films of a split for one of Train: the official 64 : 16 : 20
SEED = 0
VERSION = 2  # count up when drawing changes, so that older trees are drawn again


def ensure(films: int) -> Path:
    """The tree of phantom films with `films` training films a task, drawn if it is not there yet."""
    root = ROOT / "data" / "phantom" / f"{films}-seed{SEED}"
    wanted = {"films": films, "seed": SEED, "version": VERSION}
    mark = root / PHANTOM_MARK
    # Two at once would remove each other's.
    with lock(root.parent / ".lock", "another process that draws films or looks for them"):
        if not mark.is_file() or read_json(mark) != wanted:
            shutil.rmtree(root, ignore_errors=True)
            write_tree(root, films, SEED)
    return root


def write_tree(root: Path, films: int, seed: int = 0) -> None:
    """Draw both trees in the official layout below `root`.

    The lung task gets `films` training films, shared among its three classes and rounded; the infection task as many COVID-19
    ones, and again as many controls, as the official data set has. The same arguments give the same pixels. The mark is
    written last: a tree without it was interrupted. Raises LabkitError where it cannot be written.
    """
    with writing(root, "free some space, or name another folder"):
        _write_tree(root, films, seed)


def _write_tree(root: Path, films: int, seed: int) -> None:
    jobs = []
    for task, tree in TREES.items():
        weights = {"lung": (1 / 3, 1 / 3, 1 / 3), "infection": (1, 1 / 2, 1 / 2)}[task]
        for split in SPLITS:
            for category, weight in zip(CLASSES, weights):
                folder = root / tree / tree / split / category
                for kind in ["images", "lung masks"] + ["infection masks"] * (task == "infection"):
                    (folder / kind).mkdir(parents=True, exist_ok=True)
                for number in range(max(1, round(films * weight * SHARE[split]))):
                    # Each film has a generator of its own, so that no film depends on how many others there are.
                    key = [seed, list(TREES).index(task), SPLITS.index(split), CLASSES.index(category), number]
                    jobs.append((folder, category, f"{category.lower()} ({number + 1}).png", key))
    # The filters and the PNG encoder let go of Python's lock.
    done = in_threads(lambda job: _write_film(*job), jobs)
    for _ in tqdm(done, f"drawing phantom films in {shown(root)}", len(jobs), unit="film", mininterval=1):
        pass
    write_json(root / PHANTOM_MARK, {"films": films, "seed": seed, "version": VERSION})


def _write_film(folder: Path, category: str, name: str, key: list[int]) -> None:
    film, lung, infection = draw(category, np.random.default_rng(key))
    for kind, pixels in [("images", film), ("lung masks", lung), ("infection masks", infection)]:
        if (folder / kind).is_dir():
            Image.fromarray(pixels).save(folder / kind / name)


def draw(category: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One film of a class of CLASSES, with its lung mask and its infection mask; all uint8 (256, 256), masks 0 and 255."""
    x, y = _pose(rng)
    body = _soft(
        1.05 - (np.abs(x) / rng.uniform(0.84, 1.0)) ** 2.6 - (np.abs(np.minimum(y + 0.5, 0)) / 0.62) ** 2.2, 0.06
    )
    lungs, heart, dome = _anatomy(x, y, rng)
    lung = scipy.ndimage.gaussian_filter(lungs.astype(np.float32), 2.5) > 0.5

    # What stops X-rays is bright: tissue, then air let in by the lungs, then the denser parts on top.
    density = 0.62 + 0.10 * y + 0.05 * _clouds(rng, 40)
    air = scipy.ndimage.gaussian_filter(lung.astype(np.float32), 1.5)
    density = density - rng.uniform(0.30, 0.42) * air
    density += rng.uniform(0.10, 0.16) * _soft(0.10 - np.abs(x), 0.03) * (1 + 0.25 * np.sin(2 * np.pi * 7 * y))  # spine
    density += rng.uniform(0.06, 0.12) * heart + 0.10 * dome
    density += rng.uniform(0.06, 0.12) * _ribs(x, y, rng) * (0.4 + 0.6 * air)
    density += air * rng.uniform(0.015, 0.035) * _clouds(rng, 3)  # vessels

    infection = np.zeros_like(lung)
    if category == "COVID-19":
        opacity, infection = _infection(lung, rng)
        density += opacity * air * rng.uniform(0.14, 0.28)
    if category == "Non-COVID":
        base = np.quantile(y[lung], rng.uniform(0.55, 0.95))
        density += rng.uniform(0.10, 0.25) * _soft(y - base, 0.15) * air * (x > 0 if rng.random() < 0.5 else x < 0)

    # Exposure: contrast, brightness, blur of the detector, noise.
    exposed = np.clip(density * body, 0, 1.2) ** rng.uniform(0.8, 1.25) * rng.uniform(0.9, 1.15) + rng.uniform(0, 0.06)
    blurred = scipy.ndimage.gaussian_filter(exposed, rng.uniform(0.4, 1.0))
    noisy = blurred + rng.normal(0, rng.uniform(0.01, 0.03), x.shape)
    film = Image.fromarray((np.clip(noisy, 0, 1) * 255).astype(np.uint8))
    ImageDraw.Draw(film).text((6, 4), "PHANTOM", fill=200)
    return np.asarray(film), lung.astype(np.uint8) * 255, infection.astype(np.uint8) * 255


def _pose(rng) -> tuple[np.ndarray, np.ndarray]:
    """The grid as this patient stands in it: turned, moved and sized a little differently."""
    angle, scale = np.deg2rad(rng.normal(0, 3)), rng.uniform(0.88, 1.12)
    x, y = X - rng.normal(0, 0.05), Y - rng.normal(0, 0.06)
    return (np.cos(angle) * x + np.sin(angle) * y) / scale, (np.cos(angle) * y - np.sin(angle) * x) / scale


def _anatomy(x, y, rng):
    """Lungs as a mask; heart and the abdomen below the diaphragm as soft maps from 0 to 1."""
    width = rng.uniform(0.66, 0.80) * (1 - 0.22 * np.clip(-y, 0, 1)) + 0.06 * np.clip(y, 0, 1)  # narrow at the top
    cage = (np.abs(x) / width) ** 2.2 + (np.abs(y - 0.10) / rng.uniform(0.82, 0.94)) ** rng.uniform(2, 2.8)
    mediastinum = rng.uniform(0.10, 0.16) + 0.06 * np.clip(y, 0, 1) + 0.03 * np.sin(3 * y + rng.uniform(0, 6))
    side = np.sign(x)
    # The diaphragm: a dome under each lung, the one over the liver (left in the picture) higher.
    level = rng.uniform(0.36, 0.58) + np.where(side < 0, -rng.uniform(0, 0.10), 0)
    diaphragm = level + rng.uniform(0.9, 2.0) * (np.abs(x) - rng.uniform(0.24, 0.34)) ** 2
    down = y - level + rng.uniform(0.10, 0.20)
    across = x - rng.uniform(0.08, 0.14) - 0.25 * np.clip(down, -0.3, 0.3)  # the apex points down and to the side
    heart = (across / rng.uniform(0.22, 0.34)) ** 2 + (down / rng.uniform(0.32, 0.46)) ** 2
    lungs = (cage < 1) & (np.abs(x) > mediastinum) & (y < diaphragm) & (heart > 1)
    above = _soft(diaphragm - y, 0.06)
    return lungs, _soft(1 - heart, 0.4) * above, 1 - above


def _ribs(x, y, rng) -> np.ndarray:
    """Ribs that fall towards the sides, 0 to 1: a wave along curved levels, sharpened to thin bands."""
    level = y - rng.uniform(0.15, 0.35) * np.abs(x) - rng.uniform(0.3, 0.5) * x**2
    return _soft(np.sin(2 * np.pi * rng.uniform(3.8, 5.2) * level + rng.uniform(0, 6)) - 0.45, 0.25)


def _infection(lung, rng) -> tuple[np.ndarray, np.ndarray]:
    """Opacities as a soft map from 0 to 1, and the mask of where they are: irregular patches inside the lung.

    Clouds of random noise are cut at the height that leaves the wanted share of the lung, from a speck to most of it.
    """
    side = 128 - 128 * rng.choice([-1, 0, 0, 1])  # 0 or 256: one lung only; 128: both
    weight = np.exp(-(((X + 1) * 128 - side) ** 2) / (2 * 90.0**2)) + 0.25
    height = _clouds(rng, rng.uniform(9, 20)) + 2 * weight + rng.uniform(0, 1.2) * Y
    share = 0.02 + 0.83 * rng.beta(1.1, 1.9)
    cut = np.quantile(height[lung], 1 - share)
    infection = lung & (scipy.ndimage.gaussian_filter(height, 1) > cut)
    texture = 1 + 0.2 * _clouds(rng, 3)
    return scipy.ndimage.gaussian_filter(infection.astype(np.float32), rng.uniform(2, 5)) * texture, infection


def _clouds(rng, grain: float) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1 whose features are about `grain` pixels wide."""
    # By Fourier transform, whose time does not grow with the grain as a filter's does.
    spectrum = scipy.fft.rfft2(rng.standard_normal(X.shape))
    smooth = scipy.fft.irfft2(scipy.ndimage.fourier_gaussian(spectrum, grain, n=X.shape[1]))
    return (smooth - smooth.mean()) / smooth.std()


def _soft(signed, width: float) -> np.ndarray:
    """A step from 0 to 1 where `signed` passes 0, about `width` wide."""
    return 1 / (1 + np.exp(-np.clip(signed / width * 4, -30, 30)))
