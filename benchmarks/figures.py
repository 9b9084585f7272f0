"""A figure: what was measured, how often, and what it was meant to be. Clocks, one core, and what ran it."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

#: What is printed as installed beside the figures.
LIBRARIES = ("trimtab", "numpy", "numba", "llvmlite", "polars", "duckdb", "msgspec")


class Sample(msgspec.Struct, frozen=True):
    """Median of several runs with the lowest and the highest."""

    median: float
    low: float
    high: float
    runs: int

    def scaled(self, factor: float) -> Sample:
        return Sample(self.median * factor, self.low * factor, self.high * factor, self.runs)

    def inverse(self, numerator: float) -> Sample:
        """numerator / each: seconds -> units per second; low and high change places."""
        return Sample(numerator / self.median, numerator / self.high, numerator / self.low, self.runs)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. target None: nothing was promised; `at_least`: more is better."""

    name: str
    sample: Sample
    unit: str
    target: float | None = None
    at_least: bool = False
    note: str = ""
    command: str = ""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.sample.median >= self.target if self.at_least else self.sample.median <= self.target


def sample_of(values: list[float]) -> Sample:
    return Sample(statistics.median(values), min(values), max(values), len(values))


def exact(value: float) -> Sample:
    """A count or a size: measured once, nothing to take a median of."""
    return Sample(value, value, value, 1)


def timed(work: Callable[[], Any], runs: int, before: Callable[[], Any] = lambda: None, warm: int = 1) -> Sample:
    """Seconds of `work()`: `warm` runs that do not count, then `runs` that do; `before()` is outside the clock.

    Nothing is collected in between: that would empty the processor's caches, and its memory of branches.
    """
    gc.collect()
    gc.disable()
    seconds: list[float] = []
    try:
        for k in range(warm + runs):
            before()
            start = time.perf_counter()
            result = work()
            spent = time.perf_counter() - start
            del result
            if k >= warm:
                seconds.append(spent)
    finally:
        gc.enable()
    return sample_of(seconds)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, where the system can (Linux)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def machine() -> dict[str, Any]:
    """What ran the figures, and how busy it was when they began."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
