"""Coarser bars as they close, one grid row at a time: what `data.panel.rows_of` makes of a whole panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.schedule.buckets import Buckets, aggregate, ends, is_whole, spans
from trimtab.types import F64, I64, Instrument

_NEVER: Final = np.iinfo(np.int64).min
_ROOM: Final = 8

#: The arrays that are remembered.
_KEPT: Final = ("_rows", "_count", "_start", "_scheduled", "_end", "_opened", "_begun", "_whole")


class _Part(NamedTuple):
    """Complete bars: places of their instruments, all their source rows, how many of each, and what they span."""

    at: I64
    rows: F64
    size: I64
    start: I64
    end: I64


class Coarser:
    """Bars of one timeframe, made of the grid's by the rules of `schedule.buckets`.

    A bar is given at the first row at or after its end; where several wait for one row, the last of them. The first
    bar of an instrument that was not seen from its beginning is left out.
    """

    def __init__(
        self, instruments: Sequence[Instrument], which: Sequence[int], fields: tuple[str, ...], grid: str, name: str
    ) -> None:
        self._fields, self._grid, self._timeframe = fields, grid, name
        self._which = np.array(sorted(which), np.int64)
        self._close, self._duration = fields.index("close"), fields.index("duration")
        calendars = [instruments[i].calendar for i in sorted(which)]
        self._calendars: list[tuple[str, NDArray[np.bool_]]] = [
            (calendar, np.array([calendar == other for other in calendars], np.bool_))
            for calendar in dict.fromkeys(calendars)
        ]
        for calendar, _ in self._calendars:  # an unknown one is refused now, and what sessions import is imported
            spans(np.zeros(1, np.int64), np.zeros(1, np.int64), grid, name, calendar)
        n = len(self._which)
        self._rows = np.zeros((n, _ROOM, len(fields)))  # of the bar that each instrument is in
        self._count = np.zeros(n, np.int64)
        self._start, self._scheduled, self._end = (np.zeros(n, np.int64) for _ in range(3))
        self._opened = np.full(n, _NEVER)  # when the first bar of all opened
        self._begun, self._whole = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        self.bars = np.full((len(instruments), len(fields)), np.nan)
        self.any = False

    def advance(self, ts: int, bars: F64) -> None:
        """Read a grid row, closed at ts: bars (N, K). `bars` then holds what has closed by it, and `any` says so."""
        if self.any:
            self.bars[:] = np.nan
            self.any = False
        own = bars[self._which]
        fresh = np.flatnonzero(~np.isnan(own[:, self._close]))
        done: list[_Part] = []
        if len(fresh):
            start, end, inside = self._spans(ts, own, fresh)
            unseen = self._opened[fresh] == _NEVER
            self._opened[fresh[unseen]] = ts - own[fresh[unseen], self._duration].astype(np.int64)
            fresh, start, end = fresh[inside], start[inside], end[inside]
            begins = (self._count[fresh] == 0) | (start != self._start[fresh])
            self._part(done, fresh[begins & (self._count[fresh] > 0) & (end > ts)])
            self._begin(fresh[begins], start[begins], end[begins])
            self._append(ts, fresh, own)
        due = np.flatnonzero((self._count > 0) & (self._end <= ts))
        self._part(done, due)
        self._count[due] = 0
        if done:
            self._give(done)

    def _spans(self, ts: int, own: F64, fresh: I64) -> tuple[I64, I64, Any]:
        """Start and end of the coarser bars of those that have a bar, and which of these are in one at all."""
        duration = own[fresh, self._duration].astype(np.int64)
        opens = ts - duration
        if len(self._calendars) == 1:
            return spans(opens, duration, self._grid, self._timeframe, self._calendars[0][0])
        start, end, inside = opens.copy(), opens.copy(), np.zeros(len(fresh), np.bool_)
        for calendar, members in self._calendars:
            mine = members[fresh]
            if mine.any():
                found = spans(opens[mine], duration[mine], self._grid, self._timeframe, calendar)
                start[mine], end[mine], inside[mine] = found
        return start, end, inside

    def _begin(self, at: I64, start: I64, end: I64) -> None:
        self._whole[at] = self._begun[at] | is_whole(self._opened[at], start)
        self._begun[at] = True
        self._count[at], self._start[at], self._scheduled[at] = 0, start, end

    def _append(self, ts: int, at: I64, own: F64) -> None:
        if len(at) and self._count[at].max() == self._rows.shape[1]:
            self._rows = np.concatenate((self._rows, np.zeros_like(self._rows)), axis=1)
        self._rows[at, self._count[at]] = own[at]
        self._count[at] += 1
        self._end[at] = ends(self._scheduled[at], np.full(len(at), ts))

    def _part(self, done: list[_Part], at: I64) -> None:
        """Set aside the bars that are complete."""
        at = at[self._whole[at]]
        if len(at):
            there = np.arange(self._rows.shape[1]) < self._count[at][:, None]
            done.append(_Part(at, self._rows[at][there], self._count[at], self._start[at], self._end[at]))

    def _give(self, done: list[_Part]) -> None:
        at, x, size, start, end = (np.concatenate(column) for column in zip(*done, strict=True))
        first = np.cumsum(size) - size
        rows = np.arange(len(x), dtype=np.int64)
        self.bars[self._which[at]] = aggregate(x, self._fields, Buckets(rows, first, start, end))
        self.any = True

    def save(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _KEPT}

    def load(self, saved: dict[str, Any]) -> None:
        for name in _KEPT:
            setattr(self, name, saved[name])
