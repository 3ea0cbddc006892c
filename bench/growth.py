"""How time and memory of a training grow with the films: one epoch over 1, 4 and 16 times as many.

Memory is the largest RssAnon of a process of its own: what it keeps for itself, pages of mapped arrays not counted.

Aim: a power of 1, memory flat within 10 %.
"""

import subprocess
import sys
import time

import numpy as np
from common import phantom, show
from packing import Peak

from labkit import store


def one(films: int) -> None:
    """Train one epoch in this process and print seconds, of the epoch, and MB."""
    from labkit.hardware import device_of
    from labkit.training import Trainee, train_epoch

    knobs = phantom(base=8, size=64, films=films, batch=16)
    pack, device = store.load(knobs), device_of(knobs)
    state = Trainee(knobs, device)
    rows = pack.rows("Train")
    train_epoch(state, pack, rows[:64], 1)
    with Peak() as peak:
        start = time.perf_counter()
        train_epoch(state, pack, rows, 1)
        seconds = time.perf_counter() - start
    print(seconds, peak.mb)


def main() -> None:
    sizes, found = (384, 1536, 6144), []
    for films in sizes:
        store.load(phantom(base=8, size=64, films=films))
    for films in sizes:
        runs = [
            subprocess.run([sys.executable, __file__, str(films)], capture_output=True, text=True, check=True).stdout
            for _ in range(3)
        ]
        found.append(np.median([[float(value) for value in run.split()] for run in runs], axis=0))
    times, memory = np.array(found).T
    slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    show(
        ["films", "s an epoch", "films/s", "largest RssAnon, MB"],
        [[films, f"{t:.2f}", f"{films / t:.0f}", f"{mb:.0f}"] for films, t, mb in zip(sizes, times, memory)],
    )
    more = 100 * (memory[-1] / memory[0] - 1)
    print(f"\nTime grows with the power {slope:.2f} of the films; memory from first to last by {more:.0f} %.")


if __name__ == "__main__":
    one(int(sys.argv[1])) if sys.argv[1:] else main()
