"""Time as an argument: a feed reads the clock that it is given, so that tests can drive it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple


class Clock(NamedTuple):
    """now() in ns, and sleep(seconds), which returns once the clock has moved on by that much."""

    now: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]


#: ns since some instant; it never goes back.
MONOTONIC: Final = Clock(time.monotonic_ns, asyncio.sleep)


def _ticks() -> int:
    """ns since the machine was started, also while it sleeps where the system counts that."""
    counts_sleep: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if counts_sleep is None else time.clock_gettime_ns(counts_sleep)


_EPOCH: Final = time.time_ns() - _ticks()

#: ns UTC as the machine saw it when this was loaded, and steady from there, whatever its clock is set to.
STEADY: Final = Clock(lambda: _EPOCH + _ticks(), asyncio.sleep)
