"""The label of a regime at the close of each grid row: what `research.regimes` says of a whole panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trimtab.engine.saving import leaves, rebuilt
from trimtab.portfolio.book import regime_params, sources_of
from trimtab.portfolio.regime import table
from trimtab.portfolio.regime.labels import UNKNOWN
from trimtab.schedule import end_of
from trimtab.types import F64, TIMEFRAMES, RegimeUse, TrimtabError
from trimtab.words import field_of, near


class _Symbol:
    """The close of an instrument, new with each of its bars."""

    def __init__(self, position: int, close: int) -> None:
        self._at = position, close
        self.known = np.nan

    def advance(self, ts: int, grid: F64, bars: F64) -> bool:
        value = float(bars[self._at])
        if value != value:  # NaN
            return False
        self.known = value
        return True

    def save(self) -> Any:
        return [self.known]

    def load(self, saved: Any) -> None:
        (self.known,) = saved


class _Column:
    """A field of the grid's rows: its last value of each interval, once that is over; every one, on the grid's own."""

    def __init__(self, column: int, length: int) -> None:
        self._column, self._length = column, length
        self.known = np.nan
        self._waiting, self._over = np.nan, 0

    def advance(self, ts: int, grid: F64, bars: F64) -> bool:
        values = grid[:, self._column]
        there = values[~np.isnan(values)]
        new = False
        if self._over and self._over <= ts:
            self.known, self._over, new = self._waiting, 0, True
        if len(there):  # whichever instrument has it: a series of the market is the same for all
            value, over = float(there[0]), end_of(ts, self._length) if self._length else ts
            if over <= ts:
                self.known, new = value, True
            else:
                self._waiting, self._over = value, over
        return new

    def save(self) -> Any:
        return [self.known, self._waiting, self._over]

    def load(self, saved: Any) -> None:
        self.known, self._waiting, self._over = saved


class RegimeRows:
    """One regime of a spec: its label after each row, UNKNOWN before the first."""

    def __init__(self, use: RegimeUse, path: str, symbols: tuple[str, ...], fields: tuple[str, ...], grid: str) -> None:
        self.use = use
        self._regime, self._params = table.find(use.regime), regime_params(use)
        sources = sources_of(use)
        self._sources = [_source(use, sources[field], path, symbols, fields, grid) for field in self._regime.fields]
        self.reads = tuple(symbols.index(s) for s in sources.values() if s in symbols)
        self._x, self._out = np.empty((1, 1, len(self._sources))), np.empty(1, np.int8)
        self._x[:] = np.nan
        self._regime.fold(
            self._params, self._regime.init(self._params), self._x, self._out
        )  # compiled before a row waits
        self._state = self._regime.init(self._params)
        self.label = UNKNOWN

    def advance(self, ts: int, grid: F64, frames: Mapping[str, F64]) -> None:
        """Read a grid row (N, K), and the bars that have closed by it on other timeframes."""
        bars = frames[self.use.timeframe]
        new = [source.advance(ts, grid, bars) for source in self._sources]
        if new[0]:
            self._x[0, 0] = [source.known for source in self._sources]
            self._state = self._regime.fold(self._params, self._state, self._x, self._out)
            self.label = int(self._out[0])

    def save(self) -> Any:
        return [self.label, leaves(self._state), [source.save() for source in self._sources]]

    def load(self, saved: Any) -> None:
        self.label, state, sources = saved
        self._state = rebuilt(self._regime.init(self._params), state)
        for source, values in zip(self._sources, sources, strict=True):
            source.load(values)


def _source(
    use: RegimeUse, source: str, path: str, symbols: tuple[str, ...], fields: tuple[str, ...], grid: str
) -> _Symbol | _Column:
    if source in symbols:
        return _Symbol(symbols.index(source), fields.index("close"))
    source = field_of(source)
    if source not in fields:
        known = (*symbols, *fields)
        raise TrimtabError(
            f"{path}.reads: {source!r} is neither a symbol nor a field of the feed{near(source, known)}: say what "
            f"{use.regime} reads, and let the feed bring it"
        )
    return _Column(fields.index(source), 0 if use.timeframe == grid else TIMEFRAMES[use.timeframe])
