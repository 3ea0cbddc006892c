"""How time and memory of a training grow with the films: one epoch over 1, 4 and 16 times as many.

Memory is the largest RssAnon of a process of its own: what it keeps for itself, pages of mapped arrays not counted.

Aim: a power of 1, memory flat within 10 %.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np
from packing import Peak, link_films

from labkit import phantom, store
from labkit.files import ROOT


def one(data: str) -> None:
    """Train one epoch in this process and print its films, its seconds, and MB."""
    from labkit.hardware import set_up_device
    from labkit.training import Trainee, train_epoch

    knobs = common.phantom(data=data, base=8, size=64, batch=16)
    pack, device = store.load(knobs), set_up_device(knobs)
    state = Trainee(knobs, device)
    rows = pack.rows("Train")
    train_epoch(state, pack, rows[:64], 1)
    with Peak() as peak:
        start = time.perf_counter()
        train_epoch(state, pack, rows, 1)
        seconds = time.perf_counter() - start
    print(len(rows), seconds, peak.mb)


def main() -> None:
    found = []
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        few = Path(folder) / "few"
        phantom.write_tree(few, films=60)
        for films in (600, 2400, 9600):
            root = Path(folder) / f"many{films}"
            link_films(few, root, films)
            store.pack(root, "lung", 64)
            command = [sys.executable, __file__, str(root)]
            runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
            found.append(np.median([[float(value) for value in run.split()] for run in runs], axis=0))
            shutil.rmtree(store.folder_of(root, "lung", 64))
    sizes, times, memory = np.array(found).T
    slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    common.show(
        ["films", "s an epoch", "films/s", "largest RssAnon, MB"],
        [[f"{films:.0f}", f"{t:.2f}", f"{films / t:.0f}", f"{mb:.0f}"] for films, t, mb in zip(sizes, times, memory)],
    )
    more = 100 * (memory[-1] / memory[0] - 1)
    print(f"\nTime grows with the power {slope:.2f} of the films; memory from first to last by {more:.0f} %.")


if __name__ == "__main__":
    one(sys.argv[1]) if sys.argv[1:] else main()
