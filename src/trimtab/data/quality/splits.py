"""Splits that prices show and no event explains, and events that prices do not show.

A split is a jump from a close to the next open that (1) is far beyond the volatility of its time, (2) is near the ratio
k:m of a usual split, (3) stays, and (4) leaves the traded value as it was: after a 2:1 split twice the shares trade at
half the price, while a market that falls by half trades many times its usual value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from trimtab.data.quality.findings import Bars, Hit, iso
from trimtab.data.quality.prices import Moves
from trimtab.types import DAY, F64, I64

if TYPE_CHECKING:
    import polars as pl

#: New shares for old ones, as companies have split; the reverse ones are their mirror.
_FORWARD: Final = (
    (5, 4), (4, 3), (3, 2), (5, 3), (2, 1), (5, 2), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1), (10, 1),
    (12, 1), (15, 1), (20, 1), (25, 1), (30, 1), (40, 1), (50, 1), (100, 1),
)  # fmt: skip
RATIOS: Final = (*_FORWARD, *((old, new) for new, old in _FORWARD))
_LOGS: Final = np.log([new / old for new, old in RATIOS])

JUMP_SCALE: Final = 6.0  # local deviations that an open must be away from the close before
_MOVE_SCALE: Final = 4.0  # local deviations that the market may have moved besides
_MOVE: Final = (0.005, 0.06)  # … and the bounds of that, log
_LEAST: Final = 0.16  # log of the smallest jump that is looked at, below 5:4 and its move
_VALUE: Final = 3.0  # times that the traded value may be more or less than before
_DAYS_BEFORE: Final = 20
_BARS_AROUND: Final = 10
_MOST: Final = 1_000  # jumps looked at: a series with more has another fault


class Event(NamedTuple):
    """A stored split: ns UTC of 00:00 of its day, and new shares per old one."""

    ts: int
    ratio: float


def splits_of(events: pl.DataFrame | None) -> tuple[Event, ...]:
    """The splits among stored events (ts, kind, value)."""
    if events is None or events.is_empty():
        return ()
    rows = events.filter(events["kind"] == "split").sort("ts")
    stamps = rows["ts"].dt.timestamp("ns").to_list()
    return tuple(Event(int(ts), float(value)) for ts, value in zip(stamps, rows["value"].to_list(), strict=True))


def split_faults(b: Bars, moves: Moves, length: int, events: Sequence[Event]) -> tuple[list[Hit], I64]:
    """Unexplained splits and unseen events, of bars in order of time; and every row at which a split shows."""
    if len(b.opens) < 2:
        return [], np.zeros(0, dtype=np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        jump = np.append(0.0, np.log(b.open[1:] / b.close[:-1]))
    scale = moves.unit.copy()
    scale[1:] *= np.sqrt(np.maximum(np.diff(b.opens) / length, 1.0))
    candidates = np.flatnonzero((np.abs(jump) > _LEAST) & (np.abs(jump) > JUMP_SCALE * scale))[:_MOST]
    seen: list[tuple[int, int, float]] = []  # row, index of the ratio, traded value after over before
    known: list[int] = []
    for r in candidates.tolist():
        allowed = float(np.clip(_MOVE_SCALE * scale[r], *_MOVE))
        if any(_explains(e, b.opens, r) and abs(jump[r] + np.log(e.ratio)) < 2.0 * allowed for e in events):
            known.append(r)
            continue
        k = int(np.abs(_LOGS + jump[r]).argmin())
        if abs(_LOGS[k] + jump[r]) > min(allowed, 0.25 * abs(_LOGS[k])) or not _stays(b.close, r, float(jump[r])):
            continue
        value = _value_ratio(b, r, length)
        if (np.isnan(value) and abs(_LOGS[k]) < 0.65) or abs(np.log(value)) > np.log(_VALUE):
            continue
        seen.append((r, k, value))

    def say(i: int) -> str:
        r, k, value = seen[i]
        new, old = RATIOS[k]
        traded = "volume is unknown" if np.isnan(value) else f"the traded value stays ({value:.1f} times)"
        return (
            f"open {b.open[r]:g} is {np.exp(jump[r]):.3f} of the close before, near a {new}:{old} split, and {traded}: "
            "no such split is stored"
        )

    rows = np.array([r for r, _, _ in seen], dtype=np.int64)
    hits = [Hit("split", rows, say), _unseen(b, jump, events)]
    return hits, np.concatenate((rows, np.array(known, dtype=np.int64)))


def _explains(event: Event, opens: I64, row: int) -> bool:
    """Whether a bar is the first one of an event's day, which may be labelled by the evening before it."""
    return any(opens[row - 1] < ts <= opens[row] for ts in (event.ts, event.ts - DAY // 2))


def _stays(close: F64, row: int, jump: float) -> bool:
    """Whether the closes after it are away from those before it by most of the jump."""
    earlier: F64 = close[max(row - _BARS_AROUND, 0) : row]
    later: F64 = close[row : row + _BARS_AROUND]
    before, after = float(np.median(earlier)), float(np.median(later))
    return before > 0.0 and after > 0.0 and abs(np.log(after / before) - jump) < 0.35 * abs(jump)


def _value_ratio(b: Bars, row: int, length: int) -> float:
    """Traded value of the first day from a row on, over that of a usual day before it; NaN where unknown."""
    if length < DAY:
        at = int(b.opens[row])
        end = int(np.searchsorted(b.opens, at + DAY // 2))  # a session, or half a day round the clock
        begin = int(np.searchsorted(b.opens, at - _DAYS_BEFORE * DAY))
    else:
        begin, end = row - _DAYS_BEFORE, row + 1
    begin = max(begin, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value: F64 = b.close[begin:end] * b.volume[begin:end]
        before = float(value[: row - begin].sum()) / (row - begin)
        return float(value[row - begin :].sum()) / (end - row) / before if before > 0.0 else float("nan")


def _unseen(b: Bars, jump: F64, events: Sequence[Event]) -> Hit:
    """Events at which prices go on as if nothing had been: they are adjusted already."""
    found: list[tuple[int, Event]] = []
    for event in events:
        row = int(np.searchsorted(b.opens, event.ts - DAY // 2))
        if not 0 < row < len(b.opens) or b.opens[row - 1] < event.ts - 30 * DAY:
            continue
        around = jump[row : int(np.searchsorted(b.opens, event.ts + DAY, side="right"))]
        log = float(np.log(event.ratio))
        if abs(log) > _LEAST and len(around) and (np.abs(around + log) > np.abs(around)).all():
            found.append((row, event))

    def say(i: int) -> str:
        event = found[i][1]
        return (
            f"a split of {event.ratio:g} new shares per old one is stored for {iso(event.ts)[:10]}, but prices do not "
            "jump: they are adjusted already, and the event would count twice"
        )

    return Hit("adjusted", np.array([row for row, _ in found], dtype=np.int64), say)
