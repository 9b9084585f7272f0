"""Validation of one million bars: round the clock, and of an exchange against its calendar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure, timed
from benchmarks.markets import panel_of
from trimtab.data.quality.calendars import sessions_of
from trimtab.data.validation import assess
from trimtab.types import I64, MINUTE

if TYPE_CHECKING:
    import polars as pl

ROWS = 1_000_000
START = 1_293_840_000_000_000_000  # 2011-01-01


def figures() -> Iterator[Figure]:
    """Everything that is looked for in one series, with coverage and score; the calendar is read outside the clock."""
    whole = np.arange(ROWS) * MINUTE + START
    yield _figure("24/7", whole)
    yield _figure("XNYS", _minutes_of_new_york())


def _minutes_of_new_york() -> I64:
    span = np.array([START, START + 11 * 365 * 1_440 * MINUTE])
    sessions = sessions_of(span, "1m", "XNYS")
    if sessions is None:
        raise RuntimeError("quality: needs exchange-calendars (pip install 'trimtab[calendars]')")
    minutes = [np.arange(a, b, MINUTE) for a, b in zip(sessions.opens, sessions.closes, strict=True)]
    return np.concatenate(minutes)[:ROWS]


def _figure(calendar: str, opens: I64) -> Figure:
    frame, now = _frame(opens), time.time_ns()
    found = assess(frame, "1m", calendar, now=now).report
    if found.n_errors or found.missing or found.rows != ROWS:
        raise RuntimeError(f"quality: {calendar}: expected {ROWS} whole bars, found {found.counts}")
    sample = timed(lambda: assess(frame, "1m", calendar, now=now), 7)
    return Figure(name=f"quality 1 M bars of 1m, {calendar}", sample=sample, unit="s", target=1.0)


def _frame(opens: I64) -> pl.DataFrame:
    import polars as pl

    panel = panel_of(len(opens), 1)
    columns = dict(zip(("open", "high", "low", "close", "volume"), panel.values[:, 0, :5].T, strict=True))
    times = pl.Series("open_time", opens // 1_000).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"open_time": times, **columns})
