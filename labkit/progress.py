"""How far long work is, in lines that stand in a terminal and in an executed notebook alike."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

LONG = 5.0  # seconds for a tenth of the work: what takes less is over soon enough
T = TypeVar("T")


def track(items: Iterable[T], count: int, what: str) -> Iterator[T]:
    """Pass `count` items on; after each tenth of them print a line that begins with `what`, if a tenth takes LONG or more.

    A bar would be a line of output for each second in a notebook that papermill runs.
    """
    start, tenth = time.perf_counter(), 0
    for done, item in enumerate(items, start=1):
        yield item
        spent = time.perf_counter() - start
        if 10 * done // count > tenth and done < count:
            tenth = 10 * done // count
            if spent >= LONG * tenth:
                print(f"{what}: {10 * tenth} %, {spent * (count - done) / done:.0f} s left", flush=True)
