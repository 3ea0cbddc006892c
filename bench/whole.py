"""From films to report with as many films as COVID-QU-Ex has, 39,746: what each stage takes, and how much memory.

The films are some hundred phantoms, moved, mirrored, brighter or darker, each with shades of its own; a few still pass for the
same picture. The networks have 4 channels and one epoch: what is looked at is all but training. Memory is the largest RssAnon
of a process, what it keeps of its own: pages of the mapped arrays are the system's to drop, and are not counted.

Runs in a fresh clone of the last commit, so commit before. It takes half an hour and 3 GB of disk.
"""

import tempfile
from pathlib import Path

import numpy as np
import psutil
from packing import Peak, anonymous_mb
from PIL import Image

from labkit import audit, dataset, phantom
from labkit.files import ROOT
from labkit.threads import in_threads
from report import cloned, stages

PRESET = """
about: as many films as the whole collection, one epoch of very small networks
at_once: 2
settings: {size: 128, base: 4, epochs: 1, lr: 0.002}
experiments:
  lung-bce: {task: lung, loss: bce}
  lung-bce_iou: {task: lung, loss: bce_iou}
  infection-bce: {task: infection, loss: bce}
  infection-bce_iou: {task: infection, loss: bce_iou}
"""


def main() -> None:
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        few, films = Path(folder) / "few", Path(folder) / "films"
        phantom.write_tree(few, films=192)
        draw(few, films)
        clone, python = cloned(Path(folder))
        (clone / "workflow" / "presets" / "whole.yml").write_text(PRESET)
        with Peak(of_children) as peak:
            stages(clone, python, "whole", "--data", str(films))
        print(f"The largest RssAnon of a process was {peak.mb:.0f} MB.")


def draw(few: Path, root: Path) -> None:
    """A tree with as many films as the collection has of each task, split and class, made of those of the tree `few`."""
    jobs = []
    for task, official in audit.OFFICIAL.items():
        samples = dataset.index(few, task)
        total = sum(official[split] for split in dataset.SPLITS)
        for split in dataset.SPLITS:
            for category in dataset.CLASSES:
                some = samples[samples["class"] == category]
                for number in range(round(official[split] * official[category] / total)):
                    sample = some.iloc[number % len(some)]
                    jobs.append((sample, root / dataset.TREES[task] / split / category, len(jobs)))
    for _ in in_threads(lambda job: vary(*job), jobs):
        pass
    (root / dataset.PHANTOM_MARK).write_bytes((few / dataset.PHANTOM_MARK).read_bytes())


def vary(sample, folder: Path, number: int) -> None:
    """Write one film and its masks, made of those of a sample."""
    random = np.random.default_rng(number)
    shift, mirrored, gain = random.integers(-30, 31, 2), random.random() < 0.5, random.uniform(0.8, 1.15)
    shades = Image.fromarray(random.integers(0, 60, (9, 9), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    for path in {sample["image"], sample["mask"], sample["lung"]}:
        pixels = np.roll(np.asarray(Image.open(path)), shift, (0, 1))[:, :: -1 if mirrored else 1]
        if path == sample["image"]:
            pixels = (pixels * gain + np.asarray(shades, float) - 30 + random.normal(0, 3, pixels.shape)).clip(0, 255)
        there = folder / Path(path).parent.name
        there.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pixels, np.uint8)).save(there / f"film {number:05}.png", compress_level=1)


def of_children() -> float:
    """The largest RssAnon of the processes that this one has started, in MB."""
    found = [0.0]
    for child in psutil.Process().children(recursive=True):
        try:
            found.append(anonymous_mb(str(child.pid)))
        except (OSError, StopIteration):  # it has just ended
            pass
    return max(found)


if __name__ == "__main__":
    main()
