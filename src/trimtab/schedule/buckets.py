"""Resampling: coarser bars out of finer ones, each known only when its last instant has passed.

Round-the-clock instruments: bars are aligned to the epoch in UTC (1w starts on Monday 00:00 UTC).
Session instruments: intraday bars are anchored at the session's open in local time (moved to the source's own grid: an
hourly series whose 09:00 bar holds 09:30-10:00 is anchored at 09:00), and the session's last bar ends at the scheduled
close, so it is shorter. Bars before the open and after the close never mix with the session's; 1d and 1w hold regular
hours only. A daily source is grouped by its date label.

A bar is emitted only when it is complete: its end has passed in the source, and its beginning is not cut off by the
start of the source. Missing source bars inside it are left out, not invented (`trimtab data validate` lists them).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.schedule import MONDAY, WEEK, anchor_of, interval_of
from trimtab.schedule.sessions import Session, closes_of, is_round_the_clock, local_times, session_of
from trimtab.types import DAY, F64, HOUR, I64, TIMEFRAMES, TrimtabError

_FOLDS: Final = {"high": np.maximum, "low": np.minimum, "volume": np.add}


class Buckets(NamedTuple):
    """Coarser bars over source bars: `rows` (S,) are the source rows in use; the others are (B,).

    Bar b holds rows[first[b]] … rows[first[b + 1] - 1] (the last one to the end) and spans [start, end), ns UTC.
    """

    rows: I64
    first: I64
    start: I64
    end: I64

    @property
    def last(self) -> I64:
        """Index into `rows` of each bar's last source bar."""
        return np.append(self.first[1:], len(self.rows)) - 1


def buckets(opens: I64, durations: I64, source: str, target: str, calendar: str) -> Buckets:
    """Group source bars into bars of a coarser timeframe; the first is left out if the source begins inside it.

    opens, durations  (R,)  ns UTC, strictly increasing opens

    Bars outside regular hours are in no bar of 1d and 1w. Whether an end has passed is for the caller to say. Never
    looks at prices.
    """
    if not divides(source, target):
        raise TrimtabError(f"{target} bars cannot be made from {source} bars: the target must be a longer multiple")
    if len(opens) == 0:
        none = np.zeros(0, dtype=np.int64)
        return Buckets(none, none, none, none)
    start, end, inside = spans(opens, durations, source, target, calendar)
    rows = np.flatnonzero(inside)
    if not len(rows):
        raise TrimtabError(
            f"no bar lies in the regular hours of {calendar} ({session_of(calendar).zone}): is the instrument's "
            "calendar right?"
        )
    return _grouped(opens, durations, start[rows], end[rows], rows)


def divides(fine: str, coarse: str) -> bool:
    """Whether bars of `fine` can be put together to bars of `coarse` (both canonical, fine strictly shorter)."""
    return TIMEFRAMES[fine] < TIMEFRAMES[coarse] and TIMEFRAMES[coarse] % TIMEFRAMES[fine] == 0


def spans(opens: I64, durations: I64, source: str, target: str, calendar: str) -> tuple[I64, I64, NDArray[np.bool_]]:
    """Of each source bar by itself: start and end (R,) of the coarser bar that it is in, and whether it is in one.

    Bars with one start make one coarser bar; `ends` says when that is known.
    """
    if is_round_the_clock(calendar):
        length = TIMEFRAMES[target]
        start = interval_of(opens, length) * length + anchor_of(length)
        return start, start + length, np.ones(len(opens), np.bool_)
    return _session_spans(opens, durations, source, target, calendar)


def ends(end: I64, closed: I64) -> I64:
    """When coarser bars are known, from their scheduled end and the close of their last source bar.

    A source bar that reaches beyond the end of its bar moves that end: nothing is known before it closes.
    """
    return np.maximum(end, closed)


def aggregate(x: F64, fields: tuple[str, ...], found: Buckets) -> F64:
    """Values of the coarser bars: x (R, K) of source bars -> (B, K).

    First open, highest high, lowest low, last close, summed volume (NaN if any part is NaN), summed funding (NaN if no
    rate fell due), duration end - start, and the last value of every other field: what it was at the close.
    """
    rows = x if len(found.rows) == len(x) else x[found.rows]
    out = np.empty((len(found.first), len(fields)))
    if len(out) == 0:
        return out
    last = found.last
    for k, field in enumerate(fields):
        column = np.ascontiguousarray(rows[:, k])
        if field == "open":
            out[:, k] = column[found.first]
        elif field in _FOLDS:
            out[:, k] = _FOLDS[field].reduceat(column, found.first)
        elif field == "funding":
            due = np.add.reduceat(np.isfinite(column).astype(np.int64), found.first)
            out[:, k] = np.where(due > 0, np.add.reduceat(np.nan_to_num(column), found.first), np.nan)
        elif field == "duration":
            out[:, k] = found.end - found.start
        else:
            out[:, k] = column[last]
    return out


def _session_spans(
    opens: I64, durations: I64, source: str, target: str, calendar: str
) -> tuple[I64, I64, NDArray[np.bool_]]:
    session = session_of(calendar)
    everything = np.ones(len(opens), np.bool_)
    if TIMEFRAMES[source] >= DAY:
        # A session's date label at 00:00 UTC (or any stamp on that UTC date): the week ends with Friday's bar.
        monday = interval_of(opens, WEEK) * WEEK + MONDAY
        stamp = opens % DAY
        return monday + stamp, monday + stamp + 5 * DAY, everything
    wall = local_times(opens, session.zone)
    day = (wall - session.day_start) // DAY
    anchor, close = _hours(wall, day, session, source, calendar)
    regular = (wall + durations > day * DAY + session.open) & (wall < close)
    if TIMEFRAMES[target] < DAY:
        start, end = _intraday_spans(wall, anchor, close, regular, TIMEFRAMES[target])
    else:
        start, end = anchor, close
        if target == "1w":
            monday = (day - 4) // 7 * 7 + 4
            friday = monday + 4
            start = anchor - (day - monday) * DAY
            end = _on_grid(friday * DAY + closes_of(calendar, friday), wall, source)
    shift = opens - wall  # constant within a session: clocks change on Sunday nights
    return start + shift, end + shift, regular if TIMEFRAMES[target] >= DAY else everything


def _hours(wall: I64, day: I64, session: Session, source: str, calendar: str) -> tuple[I64, I64]:
    """Open and close of each bar's session in wall time, moved outward to the grid on which the source bars lie."""
    opens = day * DAY + session.open
    anchor = opens - (opens - wall) % TIMEFRAMES[source]
    return anchor, _on_grid(day * DAY + closes_of(calendar, day), wall, source)


def _on_grid(close: I64, wall: I64, source: str) -> I64:
    """A scheduled close moved to the end of the source bar it falls into (10:30-11:30 bars end at 16:30)."""
    step = TIMEFRAMES[source]
    return close + (wall - close) % step if step <= HOUR else close  # longer bars are a session's own: they end there


def _intraday_spans(wall: I64, anchor: I64, close: I64, regular: NDArray[np.bool_], length: int) -> tuple[I64, I64]:
    start = anchor + (wall - anchor) // length * length
    end = np.minimum(start + length, close)
    after = close + (wall - close) // length * length
    early = wall < anchor
    late = ~regular & ~early
    start = np.where(late, after, start)
    end = np.where(late, after + length, np.where(early, start + length, end))
    return start, end


def _grouped(opens: I64, durations: I64, start: I64, end: I64, rows: I64) -> Buckets:
    edges = np.flatnonzero(np.diff(start)) + 1
    first = np.concatenate((np.zeros(1, dtype=np.int64), edges))
    last = rows[np.append(first[1:], len(rows)) - 1]
    end = ends(end[first], opens[last] + durations[last])
    found = Buckets(rows, first, start[first], end)
    return found if is_whole(opens[:1], start[:1])[0] else Buckets(rows, first[1:], found.start[1:], end[1:])


def is_whole(opened: I64, start: I64) -> NDArray[np.bool_]:
    """Is an instrument's first coarser bar there from its beginning?

    opened  (R,) when each instrument's first source bar of all opened; start: of its first coarser bar
    """
    return opened <= start
