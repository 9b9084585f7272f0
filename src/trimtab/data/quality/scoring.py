"""How much of a series is there, month by month, and one figure for how far it can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from trimtab.data.quality.findings import NAT, ROW_ERRORS, Hit
from trimtab.data.quality.gaps import Gaps
from trimtab.types import F64, I64

#: The highest score of a series that has a fault, by fault: one of these spoils more than its own row.
CAPS: Final = {
    "early_label": 20,
    **dict.fromkeys(ROW_ERRORS, 60),
    "adjusted": 60,
    "inverted": 60,
    "split": 70,
    "late_label": 80,
}
#: Warnings that make a row doubtful.
_DOUBTFUL: Final = ("outlier", "zero_volume", "closed_day")


class Coverage(NamedTuple):
    """Bars by month: (M,) each, every month from the first bar's to the last one's.

    months   months since 1970-01
    bars     bars that are there
    missing  bars that lack, those of a gap of several months spread evenly over its time
    """

    months: I64
    bars: I64
    missing: F64

    @property
    def share(self) -> F64:
        """(M,) of the bars that should be there, those that are; NaN where none should be."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.bars / (self.bars + self.missing)


class Score(NamedTuple):
    """score, 0 to 100, and what it is made of: shares from 0 to 1, and the fault that caps it (empty: none)."""

    score: float
    complete: float
    sound: float
    plausible: float
    capped_by: str


def coverage_of(opens: I64, gaps: Gaps | None) -> Coverage:
    """Bars by month; what is missing is known only where time is in order."""
    opens = opens[opens != NAT]
    if len(opens) == 0:
        return Coverage(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
    if gaps is None:
        opens = np.sort(opens)
    first, last = (int(_month_of(opens[[k]])[0]) for k in (0, -1))
    months = np.arange(first, last + 1)
    edges = np.arange(first, last + 2).astype("M8[M]").astype("M8[ns]").astype(np.int64)
    bars = np.diff(np.searchsorted(opens, edges))
    missing = np.zeros(len(months))
    if gaps is not None:
        for after, before, n in zip(gaps.after.tolist(), gaps.before.tolist(), gaps.bars.tolist(), strict=True):
            i, j = np.searchsorted(edges, (after, before), side="right") - 1
            if i == j:
                missing[i] += n
                continue
            inside = np.clip(edges[i : j + 2], after, before)
            missing[i : j + 1] += n * np.diff(inside) / (before - after)
    return Coverage(months, bars, missing)


def score_of(rows: int, hits: Sequence[Hit], missing: int, idle: I64) -> Score:
    """100 × complete × sound × plausible, at most what the worst fault of CAPS allows.

    complete   bars that are there, of those and the missing
    sound      rows without an error
    plausible  rows that are no outlier, have volume, are on a day of trading and no part of a stale run
    """
    if rows == 0:
        return Score(0.0, 0.0, 0.0, 0.0, "")
    wrong, doubtful = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    doubtful[idle] = True
    for hit in hits:
        if hit.fault in ROW_ERRORS:
            wrong[hit.rows] = True
        elif hit.fault in _DOUBTFUL:
            doubtful[hit.rows] = True
    complete = rows / (rows + missing)
    sound, plausible = 1.0 - float(wrong.mean()), 1.0 - float(doubtful.mean())
    score = 100.0 * complete * sound * plausible
    found = {hit.fault for hit in hits if len(hit.rows)} & CAPS.keys()
    worst = min(found, key=CAPS.__getitem__, default="")
    if worst and CAPS[worst] < score:
        return Score(float(CAPS[worst]), complete, sound, plausible, worst)
    return Score(score, complete, sound, plausible, "")


def _month_of(ts: I64) -> I64:
    return ts.astype("M8[ns]").astype("M8[M]").astype(np.int64)
