"""What the models of a spec want, fed one grid row at a time: bit for bit what a backtest plans for a whole panel.

The rules are those that `research.streams` folds over a panel. What differs: nothing here waits for enough data, and a
model that fails is quarantined while the others trade on.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

import msgspec
import numpy as np

from trimtab.bounds import is_plain
from trimtab.engine.allocation import BOOK, Days, Looked, Split
from trimtab.engine.coarser import Coarser
from trimtab.engine.findings import NOTHING_FOUND, Findings, bookable
from trimtab.engine.models import Factors, Grid, ModelRows, Told, fault_of
from trimtab.engine.regimes import RegimeRows
from trimtab.engine.saving import pack, unpack
from trimtab.portfolio.regime.budgets import factors_of
from trimtab.rules.adjust import columns_of, forward, is_eventful, unadjusted
from trimtab.types import (
    BAR_FIELDS,
    F64,
    I64,
    TIMEFRAMES,
    AllocatorUse,
    Instrument,
    Refusal,
    Spec,
    TrimtabError,
    Weights,
)
from trimtab.words import utc

#: Raised when what `save` writes means something else.
LAYOUT: Final = 2

#: Refusals that are kept for who has not looked yet.
UNREAD: Final = 1_000

_NONE: Final = np.empty(0, np.int64)
_NOTHING: Final = Weights(_NONE, _NONE, _NONE, np.empty(0))


class Planner:
    """What the models of a spec want, fed one grid row at a time.

    Make it with `planner`. It looks at nothing but what it is fed, and remembers no more rows than a window needs.
    """

    def __init__(self, spec: Spec, grid: Grid) -> None:
        self._spec, self._grid = spec, grid
        self._models = [ModelRows(spec, m, grid) for m in range(len(spec.models))]
        if sum(model.streams for model in self._models) > 1:
            for model in self._models:
                model.sort()
        self._regimes = _regimes(spec, grid)
        self._factors = [_factors(spec, m, self._regimes) for m in range(len(self._models))]
        self._coarser = _coarser(grid, self._models, self._regimes)
        self._splits: dict[int, Split] = {}
        self._days = _days(spec, self._models, self._splits)
        self._bars = np.full((len(grid.instruments), len(grid.fields)), np.nan)
        self._frames: dict[str, F64] = {grid.timeframe: self._bars}
        self._frames |= {name: coarser.bars for name, coarser in self._coarser.items()}
        size = sum(model.at.size for model in self._models)
        self._told = Told(np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size))
        self._places = np.concatenate([np.sort(model.at, axis=1).ravel() for model in self._models])
        self._owners = np.concatenate([np.full(model.at.size, model.m) for model in self._models])
        # Nothing but bars: compiled rows are called alone.
        self._is_bare = not (
            self._coarser or self._regimes or self._days or any(m.is_plain is False for m in self._models)
        )
        self._steady = Factors()
        self._events = columns_of(grid.fields)
        self._forward = unadjusted(len(grid.instruments)) if is_eventful(grid.fields) else None
        self._factor = np.ones((1, len(grid.instruments)))
        self._before: int | None = None
        self._refused: list[tuple[Refusal, int]] = []
        self._faults: list[tuple[int, str]] = []
        self._failed: dict[int, str] = {}
        self._recalled = NOTHING_FOUND
        #: [0]: the model that is being asked, -1 when all have answered. Whoever shares the memory sees where one does
        #: not come back.
        self.place = np.zeros(4, np.int64)
        self._warm()

    def advance(self, row: int, ts: int, bars: F64, marks: F64) -> Weights:
        """Read the row that closed at ts (ns UTC), later than the last; -> what its close decides and is new.

        row    the number that the weights carry
        bars   (N, K), NaN where there is no bar; prices are raw, and adjusted forward for what models read
        marks  (N + F,) in base currency, filled forward, 0 before the first; exchange rates may follow
        ->     sorted by model, then instrument. Never raises for what a strategy does, see `faults`
        """
        before = self._before
        if before is not None and ts <= before:
            raise TrimtabError(f"row {row} closed {utc(ts)}, not after the last, {utc(before)}: rows come in order")
        own = self._bars
        if bars.shape != own.shape:
            raise TrimtabError(
                f"row {row} has bars of shape {bars.shape}: expected {own.shape}, instruments and fields"
            )
        own[...] = bars
        if self._forward is not None:
            marks = marks.copy()
            forward(self._forward, own[None], *self._events, self._factor)
            marks[: len(own)] *= self._factor[0]
        self._failed = {}
        if not self._is_bare:
            self._look(before, ts, marks)
        n = 0
        for model in self._models:
            first, n = n, self._advance(model, ts, n)
            if n > first:
                self._told.model[first:n] = model.m
        self.place[0] = -1
        self._before, self._recalled = ts, NOTHING_FOUND
        if n == 0:
            return _NOTHING
        told = self._told
        return Weights(np.full(n, row), told.model[:n].copy(), told.instrument[:n].copy(), told.value[:n].copy())

    def _advance(self, model: ModelRows, ts: int, n: int) -> int:
        model.fitted, model.recalled = [], self._recalled.fits.get(model.m, ())
        if model.is_stopped:
            return model.flatten(self._told, n)
        if model.m in self._recalled.failed:
            return self._fail(model, self._recalled.failed[model.m], n)
        coarser = self._coarser.get(model.timeframe)
        bars, there = (self._bars, True) if coarser is None else (coarser.bars, coarser.any)
        self.place[0] = model.m
        try:
            return model.advance(ts, bars, there, self._factors_of(model), self._told, n)
        except Exception as error:  # whatever a user's strategy may raise
            return self._fail(model, bookable(fault_of(model.name, ts, error)), n)
        finally:
            self._refuse([(refusal, model.m) for refusal in model.refusals()])

    def _fail(self, model: ModelRows, why: str, n: int) -> int:
        self._faults.append((model.m, why))
        self._failed[model.m] = why
        model.stop()
        return model.flatten(self._told, n)

    def _refuse(self, refused: list[tuple[Refusal, int]]) -> None:
        if refused:
            self._refused += refused
            del self._refused[:-UNREAD]

    def _look(self, before: int | None, ts: int, marks: F64) -> None:
        """What is the same for all models: coarser bars, regimes, and the shares of allocators."""
        for coarser in self._coarser.values():
            coarser.advance(ts, self._bars)
        for regime in self._regimes:
            regime.advance(ts, self._bars, self._frames)
        if self._days is not None:
            held = np.concatenate([model.held() for model in self._models]) if BOOK in self._splits else np.empty(0)
            self._refuse(self._days.advance(before, ts, marks, held, self._places, self._owners))

    def _factors_of(self, model: ModelRows) -> Factors:
        if self._is_bare or model.is_plain:
            return self._steady
        regimes = book = 1.0
        for regime, factors in self._factors[model.m]:
            regimes *= factors[regime.label]
        parts: F64 | None = None
        if (split := self._splits.get(BOOK)) is not None and split.share is not None:
            budgets = [each.budget for each in self._spec.models]
            book = float(split.share[model.m] / (budgets[model.m] / math.fsum(budgets)))
        if (split := self._splits.get(model.m)) is not None and split.share is not None:
            parts = split.share / (1.0 / len(model.at))
        return Factors(regimes, book, parts)

    def _warm(self) -> None:
        """Compile now, on a row without bars, what the first row would have to wait for."""
        for model in self._models:
            model.warm(np.full_like(self._bars, np.nan), self._told)

    # --- what no bar says ----------------------------------------------------------------------------------------

    def found(self) -> Findings:
        """What the models did at the last row beside their weights, to be booked with it."""
        fitted = [model for model in self._models if model.fitted]
        if not fitted and not self._failed:
            return NOTHING_FOUND
        return Findings(self._failed, {model.m: tuple(model.fitted) for model in fitted})

    def recall(self, found: Findings) -> None:
        """The next row has been advanced before, and this was found: it comes to the same, whatever chance has now."""
        self._recalled = found

    # --- models that are stopped ---------------------------------------------------------------------------------

    def quarantine(self, m: int) -> None:
        """Model m is not stepped any more, and its weights are 0, which the next row says once."""
        if not 0 <= m < len(self._models):
            raise TrimtabError(f"no model {m} to quarantine: the book has {len(self._models)}, counted from 0")
        if not self._models[m].is_stopped:
            self._models[m].stop()

    @property
    def quarantined(self) -> tuple[int, ...]:
        """The numbers of the models that are not stepped."""
        return tuple(model.m for model in self._models if model.is_stopped)

    @property
    def refused(self) -> list[tuple[Refusal, int]]:
        """Windows that fits and allocators refused since the last look, with the model's number; -1: the book's.

        The newest 1,000 of them.
        """
        found, self._refused = self._refused, []
        return found

    @property
    def faults(self) -> list[tuple[int, str]]:
        """Models that have been quarantined for what they did since the last look: number, and what, where, when."""
        found, self._faults = self._faults, []
        return found

    @property
    def allocators(self) -> list[tuple[AllocatorUse, int, list[int]]]:
        """The allocators: use, the model whose budget each splits, and over which instruments; BOOK over the models."""
        own = [(m, split) for m, split in sorted(self._splits.items()) if m != BOOK]
        found = [(split.use, m, self._models[m].at[:, 0].tolist()) for m, split in own]
        book = self._splits.get(BOOK)
        return [(book.use, BOOK, list(range(len(self._models)))), *found] if book else found

    @property
    def looks(self) -> list[Looked]:
        """What allocators chose at the last row."""
        return [split.looked for _, split in sorted(self._splits.items()) if split.looked is not None]

    # --- memory --------------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """Everything remembered, for `load` of a planner of the same spec; what was not looked at yet included."""
        return pack(
            {
                "layout": LAYOUT,
                "of": self._identity(),
                "before": self._before,
                "models": [model.save() for model in self._models],
                "coarser": [coarser.save() for coarser in self._coarser.values()],
                "regimes": [regime.save() for regime in self._regimes],
                "days": self._days.save() if self._days is not None else None,
                "forward": [column.copy() for column in self._forward or ()],
                "refused": [[list(refusal), m] for refusal, m in self._refused],
                "faults": [list(fault) for fault in self._faults],
            }
        )

    def load(self, saved: bytes) -> None:
        """Go on from what `save` gave. TrimtabError if that is of another spec, feed or layout."""
        told = unpack(saved)
        if told.get("layout") != LAYOUT:
            raise TrimtabError("a saved memory of models is of another version: start without it, from the journal")
        if told["of"] != self._identity():
            raise TrimtabError(
                "a saved memory of models is of another spec, other instruments or other code: start without it"
            )
        self._before = told["before"]
        for model, own in zip(self._models, told["models"], strict=True):
            model.load(own)
        for coarser, own in zip(self._coarser.values(), told["coarser"], strict=True):
            coarser.load(own)
        for regime, own in zip(self._regimes, told["regimes"], strict=True):
            regime.load(own)
        if self._days is not None:
            self._days.load(told["days"])
        for column, own in zip(self._forward or (), told["forward"], strict=True):
            column[...] = own
        self._refused = [(Refusal(*refusal), m) for refusal, m in told["refused"]]
        self._faults = [(m, said) for m, said in told["faults"]]

    def _identity(self) -> str:
        """What a memory is of: spec, instruments, fields, and the strategies' code as far as its names tell."""
        modules = [[model.strategy.step.__module__, model.strategy.version] for model in self._models]
        whole = (self._spec, self._grid, modules)
        return hashlib.sha256(msgspec.msgpack.encode(whole, order="deterministic")).hexdigest()


def planner(spec: Spec, instruments: tuple[Instrument, ...], fields: tuple[str, ...]) -> Planner:
    """A planner that has seen no row.

    instruments  (N,) of the rows it will be fed, in their order
    fields       (K,) of the rows: open, high, low, close, volume, duration, then others

    TrimtabError where a model does not fit its strategy, the book or the rows, as a backtest says it.
    """
    if tuple(fields[: len(BAR_FIELDS)]) != BAR_FIELDS:
        raise TrimtabError(f"the fields of a feed begin with {', '.join(BAR_FIELDS)}; got {', '.join(fields)}")
    for timeframe in (spec.timeframe, *(model.timeframe for model in spec.models if model.timeframe)):
        if timeframe not in TIMEFRAMES:
            raise TrimtabError(f"{timeframe!r} is none of {', '.join(TIMEFRAMES)}")
    if not all(is_plain(spec, model) for model in spec.models):
        from trimtab.portfolio.book import check_book

        check_book(spec)
    return Planner(spec, Grid(tuple(instruments), tuple(fields), spec.timeframe))


def _regimes(spec: Spec, grid: Grid) -> list[RegimeRows]:
    """The regimes of a spec, where any of its models asks for one."""
    if not any(model.regime_budgets for model in spec.models):
        return []
    return [
        RegimeRows(use, f"regimes.{k}", grid.symbols, grid.fields, grid.timeframe) for k, use in enumerate(spec.regimes)
    ]


def _factors(spec: Spec, m: int, regimes: list[RegimeRows]) -> list[tuple[RegimeRows, F64]]:
    """The regimes that a model's budget follows, each with its factors by label."""
    from trimtab.portfolio.book import name_of
    from trimtab.portfolio.regime import table

    asked = spec.models[m].regime_budgets
    return [
        (regime, factors_of(table.find(regime.use.regime), asked[name_of(regime.use)]))
        for regime in regimes
        if name_of(regime.use) in asked
    ]


def _coarser(grid: Grid, models: list[ModelRows], regimes: list[RegimeRows]) -> dict[str, Coarser]:
    """The coarser timeframes that models and regimes step on, of the instruments that they read there."""
    which: dict[str, set[int]] = {}
    for model in models:
        which.setdefault(model.timeframe, set()).update(model.at.ravel().tolist())
    for regime in regimes:
        which.setdefault(regime.use.timeframe, set()).update(regime.reads)
    return {
        name: Coarser(grid.instruments, sorted(own), grid.fields, grid.timeframe, name)
        for name, own in which.items()
        if name != grid.timeframe
    }


def _days(spec: Spec, models: list[ModelRows], splits: dict[int, Split]) -> Days | None:
    """The allocators of a spec, which are put into `splits` by the model whose budget they split."""
    own: list[tuple[Split, I64]] = []
    for model in models:
        use = spec.models[model.m].allocator
        if use is not None:
            splits[model.m] = Split(use, model.m, len(model.at))
            own.append((splits[model.m], model.at[:, 0].copy()))
    if spec.allocator is not None:
        splits[BOOK] = Split(spec.allocator, BOOK, len(models))
    if not splits:
        return None
    return Days(own, splits.get(BOOK), [model.budget for model in spec.models])
