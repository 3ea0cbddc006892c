"""Work on many files at once."""

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor


def in_threads(work: Callable, items: Sequence, at_once: int = 4) -> Generator:
    """What `work` makes of each item, in order, or its first error. Pillow and xxhash let go of Python's lock.

    A thread takes `at_once` items at a time, for handing over costs too; and 16 times as many at most are ahead of whoever
    takes the results, so that these do not pile up in memory.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead: deque[Future] = deque()
        try:
            for first in range(0, len(items), at_once):
                ahead.append(pool.submit(lambda some: [work(item) for item in some], items[first : first + at_once]))
                if len(ahead) == 16:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)  # after an error nothing more is begun
