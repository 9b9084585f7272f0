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


#: ns UTC; it may be set, and then steps.
WALL: Final = Clock(time.time_ns, asyncio.sleep)

#: ns since some instant; it never goes back.
MONOTONIC: Final = Clock(time.monotonic_ns, asyncio.sleep)
