"""Work on many paths or splits, shared by threads: the result does not depend on how many there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def spread(work: Callable[[int, int], None], count: int, chunk: int, threads: int | None = None) -> None:
    """Call work(first, last) for every chunk of 0 … count, on so many threads (None: as many as there are cores).

    What a chunk writes must depend on first and last alone. The first error is raised, and no further chunk begun.
    """
    firsts = range(0, count, chunk)
    size = min(threads or os.cpu_count() or 1, len(firsts))
    if size <= 1:
        for first in firsts:
            work(first, min(first + chunk, count))
        return
    pool = ThreadPoolExecutor(size)
    try:
        for done in [pool.submit(work, first, min(first + chunk, count)) for first in firsts]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
