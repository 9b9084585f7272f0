"""Validation: what is wrong with a series of bars, listed and never repaired.

Errors are bad input (an import is refused); warnings are facts about the market or the source that a user must know.
Each kind of fault has its file in `trimtab.data.quality`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trimtab.data.quality.calendars import gaps_by_calendar, sessions_of, why_not
from trimtab.data.quality.dividends import dividend_faults, evidence_of
from trimtab.data.quality.findings import (
    ERRORS,
    ROW_ERRORS,
    WARNINGS,
    Bars,
    Finding,
    Hit,
    Report,
    columns_of,
    iso,
    listed,
)
from trimtab.data.quality.gaps import Gaps, gaps_by_rule
from trimtab.data.quality.labels import label_faults
from trimtab.data.quality.prices import moves_of, outliers, price_faults, stale_runs
from trimtab.data.quality.scoring import Coverage, Score, coverage_of, score_of
from trimtab.data.quality.splits import split_faults, splits_of
from trimtab.data.quality.times import time_faults
from trimtab.data.timeframes import canonical
from trimtab.types import I64, TIMEFRAMES

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ERRORS", "ROW_ERRORS", "WARNINGS", "Assessment", "Finding", "Report", "assess", "faulty_rows", "iso", "validate",
]  # fmt: skip


class Assessment(NamedTuple):
    """A report with what it comes to: how much of each month is there, and a score; notes: what could not be told."""

    report: Report
    coverage: Coverage
    score: Score
    notes: tuple[str, ...] = ()


def validate(
    frame: pl.DataFrame,
    timeframe: str,
    calendar: str = "24/7",
    *,
    now: int,
    limit: int = 20,
    events: pl.DataFrame | None = None,
) -> Report:
    """Everything wrong with bars: open_time, open, high, low, close, volume (null = unknown), in the order given.

    now     ns UTC: a bar whose end is later is not closed yet
    limit   findings listed of each fault; the counts are complete
    events  stored splits of the instrument (`trimtab.data.events`): what they explain is no fault

    Pure. Warnings are looked for only where time is in order, since gaps mean nothing otherwise.
    """
    timeframe = canonical(timeframe)
    bars = columns_of(frame)
    hits, gaps, _, _ = _examine(bars, timeframe, calendar, now, events)
    return _report(bars, hits, gaps, limit)


def assess(
    frame: pl.DataFrame,
    timeframe: str,
    calendar: str = "24/7",
    *,
    now: int,
    limit: int = 20,
    events: pl.DataFrame | None = None,
    more: tuple[Hit, ...] = (),
) -> Assessment:
    """As `validate`, with coverage and score.

    more  what was found besides, such as by comparing two series
    """
    timeframe = canonical(timeframe)
    bars = columns_of(frame)
    hits, gaps, idle, notes = _examine(bars, timeframe, calendar, now, events)
    hits += more
    report = _report(bars, hits, gaps, limit)
    score = score_of(len(bars.opens), hits, report.missing, idle)
    return Assessment(report, coverage_of(bars.opens, gaps), score, tuple(notes))


def faulty_rows(frame: pl.DataFrame, timeframe: str, calendar: str, *, now: int) -> list[tuple[str, I64]]:
    """The errors of rows, all of them: fault and rows in the frame as given."""
    timeframe = canonical(timeframe)
    bars = columns_of(frame)
    hits = [*time_faults(bars.opens, timeframe, calendar, now), *price_faults(bars)]
    return [(h.fault, h.rows) for h in hits if len(h.rows)]


def _report(bars: Bars, hits: list[Hit], gaps: Gaps | None, limit: int) -> Report:
    counts: dict[str, int] = {}
    for hit in hits:
        if len(hit.rows):
            counts[hit.fault] = counts.get(hit.fault, 0) + len(hit.rows)
    findings = tuple(f for h in hits for f in listed(h, bars.opens, limit))
    return Report(findings, counts, len(bars.opens), gaps.missing if gaps else 0, gaps.hours if gaps else "")


def _examine(
    bars: Bars, timeframe: str, calendar: str, now: int, events: pl.DataFrame | None
) -> tuple[list[Hit], Gaps | None, I64, list[str]]:
    """All hits, the gaps (None: time is not in order), the rows in which nothing moves, and what could not be told."""
    hits = [*time_faults(bars.opens, timeframe, calendar, now), *price_faults(bars)]
    none = np.zeros(0, dtype=np.int64)
    if not len(bars.opens) or any(len(h.rows) for h in hits if h.fault in ("no_time", "duplicate", "disorder")):
        return hits, None, none, []
    length = TIMEFRAMES[timeframe]
    sessions = sessions_of(bars.opens, timeframe, calendar)
    if sessions is None:
        gaps = gaps_by_rule(bars.opens, timeframe, calendar)
        if why := why_not(calendar, timeframe):
            gaps = gaps._replace(hours=f"{gaps.hours}; {why}")
    else:
        gaps = gaps_by_calendar(bars.opens, timeframe, calendar, sessions)
    labels = label_faults(bars.opens, timeframe, calendar, sessions)
    moves = moves_of(bars)
    splits, explained = split_faults(bars, moves, length, splits_of(events))
    dividends, notes = dividend_faults(evidence_of(bars, length, events))
    stale, idle = stale_runs(bars)
    quiet = Hit("zero_volume", np.flatnonzero(bars.volume == 0), _no_volume)
    odd = outliers(bars, moves, length, explained)
    return [*hits, *gaps.hits, *labels, *splits, *dividends, quiet, stale, odd], gaps, idle, notes


def _no_volume(_: int) -> str:
    return "volume is zero: nothing can be filled in this bar"
