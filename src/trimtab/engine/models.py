"""One model of a book, row by row: its units stepped together, fitted when due, sized, and told where they are new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from trimtab.bounds import is_plain, model_names, sizer_of
from trimtab.engine.findings import Fitted
from trimtab.engine.saving import alike, leaves, pack, rebuilt, unpack
from trimtab.portfolio.budgets import positions_of, share_of
from trimtab.portfolio.standing import Room, Standing, looks_always, pace_of, resizes, stand, standing_init
from trimtab.schedule import crossed
from trimtab.strategies import find, params_of
from trimtab.strategies.fitting import NEVER, every_of, refitted, window_of
from trimtab.strategies.folding import folds_of
from trimtab.strategies.indicators import Origin, Past, frame_of, no_past, rows_before, with_indicators
from trimtab.strategies.stepping import TICKS, gathered, held, sizes_of, steps_of
from trimtab.types import F64, I64, Instrument, Refusal, Spec, Strategy, TrimtabError
from trimtab.words import utc

#: What a model that failed is told to be, at the end of why.
QUARANTINED: Final = ". It is quarantined: its weights are 0 from here on"
#: A factor on every budget that is always 1.
ONE: Final = 1.0


class Grid(NamedTuple):
    """What the rows that a planner is fed are made of."""

    instruments: tuple[Instrument, ...]
    fields: tuple[str, ...]
    timeframe: str

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(i.symbol for i in self.instruments)


class Told(NamedTuple):
    """Room for the weights of one row: model, instrument and value of each."""

    model: I64
    instrument: I64
    value: F64


class ModelRows:
    """The units of one model; `at` (U, L) holds the instruments of each."""

    def __init__(self, spec: Spec, m: int, grid: Grid) -> None:
        model = spec.models[m]
        self.m, self.name = m, model_names(spec.models)[m]
        self.strategy = strategy = find(model.strategy)
        self.params = params_of(strategy, model.params)
        self.timeframe = model.timeframe or grid.timeframe
        self.at = np.array(positions_of(model, strategy, grid.symbols, grid.timeframe), np.int64)
        units, legs = self.at.shape
        self.is_plain = is_plain(spec, model)
        self.share = share_of(model, strategy, units)
        self.streams = 1 if self.is_plain and strategy.across is not None else units
        self.is_stopped, self._is_flat = False, True
        self._every = resizes(spec.rebalance) if self.is_plain else looks_always(spec, model, strategy)
        self._columns = _columns(strategy, grid, self.name)
        self._ticks = np.array([i.tick_size for i in grid.instruments], np.float64)
        self._seen = _Seen(np.empty((0, 0)), self.at, self._columns, self._ticks)
        self._derived = _Derived(self, grid) if strategy.indicators else None
        self._steps = steps_of(strategy)
        self._states = held(self._steps, [self._state() for _ in range(units)])
        self._forecast, self._fresh = np.full(units, np.nan), np.zeros(units, np.bool_)
        self._weight, self._last = np.full((units, legs), np.nan), np.full((units, legs), np.nan)
        self._order: I64 = np.arange(units * legs)  # legs as they are told
        self._place: I64 = self._order  # and where each of them is
        self.fitted: list[Fitted] = []  # what fits answered at the last row
        self.recalled: Sequence[Fitted] = ()  # what they answered at the next, when it was first advanced
        self._fit = _Fits(strategy, self.params, self.timeframe, units, legs) if strategy.fit else None
        self._sized = None if self.is_plain else _Sized(spec, m, self)

    def sort(self) -> None:
        """Tell instruments in order, as streams that are merged are, and not units and their legs."""
        self._order = np.argsort(self.at.ravel(), kind="stable")
        self._place = np.argsort(self._order)

    def _state(self) -> Any:
        return folds_of(self.strategy).start(self.params)

    def warm(self, nothing: F64, told: Told) -> None:
        """Compile what rows need, on a row without a bar: nothing is stepped by it."""
        self.advance(0, nothing, True, Factors(), told, 0)
        self._steps.put(self._states, 0, self._steps.take(self._states, 0))

    # --- a row ---------------------------------------------------------------------------------------------------

    def advance(self, ts: int, bars: F64, any_bar: bool, factors: Factors, told: Told, n: int) -> int:
        """Read a row; weights that are new go into `told` from n on. -> how many there are then.

        bars     (N, K) on the model's timeframe; any_bar: is there one?
        factors  on the budget, from this row on

        Raises whatever the strategy does.
        """
        if bars is not self._seen.bars:
            self._seen = self._seen._replace(bars=bars)
        seen = self._seen
        if any_bar and self._derived is not None:
            seen = self._derived.read(ts, seen)
        if any_bar and self._fit is not None:
            self._refit(self._fit, ts, seen)
        sized = self._sized
        if sized is None:
            return self._row(seen, told, n) if any_bar else n
        if any_bar:
            self._row(seen, told, -1)
            self._read(sized, bars)
        else:
            sized.said = np.zeros(len(self.at), np.bool_)
        leg, value = sized.stand(ts, self._weight, factors)
        k = len(leg)
        if k:
            order = np.argsort(self._place[leg])
            told.instrument[n : n + k] = self.at.ravel()[leg[order]]
            told.value[n : n + k] = value[order] * self.share
        return n + k

    def _row(self, seen: _Seen, told: Told, n: int) -> int:
        made = self._steps.row(
            self.params, self._states, *seen, self._forecast, self._weight, self._fresh, self._last, self._order,
            self.share, self._every, told.instrument, told.value, n,
        )  # fmt: skip
        if made < 0:
            self._blame(-1 - made)
        if self._derived is not None and made > n:
            told.instrument[n:made] = self.at.ravel()[told.instrument[n:made]]
        return made

    def _blame(self, u: int) -> None:
        what, mend = "the forecast", "a finite number, or NaN to abstain"
        value = self._forecast[u]
        if abs(value) < np.inf:
            value = self._weight[u][~np.isfinite(self._weight[u])][0]
            what, mend = "a weight of `legs`", "finite numbers; where a pair is not to be traded, `step` returns NaN"
            if self.strategy.across is not None:
                what, mend = "the weight from `across`", "a finite number, or NaN to keep what is held"
        raise TrimtabError(f"{what} of unit {u} is {value:g}: expected {mend}")

    def _read(self, sized: _Sized, bars: F64) -> None:
        """What the units said at this row, and the sizer's multiples there."""
        fresh, forecast, value = self._fresh, self._forecast, self._weight
        if self.strategy.across is not None:
            first, here = value[:, 0], bool(fresh.any())
            said = ~np.isnan(first) & ((first != self._last[:, 0]) | self._every) if here else fresh
            self._last[said, 0] = first[said]
        elif self.strategy.n_legs:
            said = ~np.isnan(forecast) & ((forecast != self._last[:, 0]) | self._every)
            self._last[said, 0] = forecast[said]
        else:
            said = ~np.isnan(forecast)
        seen = np.where(said, value[:, 0], np.nan) if self.at.shape[1] == 1 else forecast.copy()
        sized.read(seen, bars[self.at[:, 0], self._columns[0]], fresh, said)

    def _refit(self, fit: _Fits, ts: int, seen: _Seen) -> None:
        """Let the fit look where it is due, before its unit is stepped."""
        x = gathered(*seen, self._fresh)
        for u in fit.read(ts, x, self._fresh):
            told = next((told for told in self.recalled if told.unit == u), None)
            if told is not None:
                state = rebuilt(self._state(), unpack(told.state)["state"])
                refusal = Refusal(ts, told.reason) if told.reason is not None else None
            else:
                state, refusal = refitted(
                    self.strategy, fit.of, self.params, self._steps.take(self._states, u), fit.window(u), ts
                )
                told = Fitted(u, pack({"state": leaves(state)}), refusal.reason if refusal else None)
            self._steps.put(self._states, u, state)
            self.fitted.append(told)
            fit.refused += [refusal] if refusal else []

    def stop(self) -> None:
        """Step it no more; what it wants is nothing, which the next row says."""
        self.is_stopped, self._is_flat = True, False

    def flatten(self, told: Told, n: int) -> int:
        """A row of a model that is stopped: 0 in all its instruments, once."""
        if self._is_flat:
            return n
        self._is_flat = True
        instruments = np.unique(self.at)
        k = len(instruments)
        told.instrument[n : n + k], told.value[n : n + k] = instruments, 0.0
        return n + k

    def refusals(self) -> list[Refusal]:
        """What its fit refused since the last question."""
        if self._fit is None or not self._fit.refused:
            return []
        found, self._fit.refused = self._fit.refused, []
        return found

    def held(self) -> F64:
        """(U x L,) the weights in force, whatever regimes and the book's allocator were, by unit, then instrument."""
        if self.is_stopped or self._sized is None:
            return np.zeros(self.at.size)
        return self._sized.held(self.at) * self.share

    # --- memory --------------------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        states = [leaves(self._steps.take(self._states, u)) for u in range(len(self.at))]
        parts = [part.save() if part else None for part in (self._fit, self._sized, self._derived)]
        return {"states": states, "last": self._last, "stopped": [self.is_stopped, self._is_flat], "parts": parts}

    def load(self, saved: dict[str, Any]) -> None:
        if len(saved["states"]) != len(self.at):
            raise TrimtabError(f"a saved memory of model {self.name} has another number of units: start without it")
        self._states = held(self._steps, [rebuilt(self._state(), told) for told in saved["states"]])
        self._last = alike(self._last, saved["last"])
        self.is_stopped, self._is_flat = saved["stopped"]
        for part, own in zip((self._fit, self._sized, self._derived), saved["parts"], strict=True):
            if part is not None:
                part.load(own)


def _columns(strategy: Strategy, grid: Grid, name: str) -> I64:
    """(1 + K,) the columns of the close and of what a strategy is fed."""
    unknown = [f for f in strategy.reads if f not in (*grid.fields, "ticks")]
    if unknown:
        raise TrimtabError(
            f"model {name}: the feed has no field {unknown[0]!r}: it has {', '.join(grid.fields)}, and ticks"
        )
    own = [TICKS if f == "ticks" else grid.fields.index(f) for f in strategy.reads]
    return np.array([grid.fields.index("close"), *own], np.int64)


class Factors(NamedTuple):
    """What a model's budget is multiplied by: of the regimes and of the book's allocator, and of each unit's part."""

    regimes: float = ONE
    book: float = ONE
    parts: F64 | None = None

    def of(self, units: int, alone: bool) -> F64:
        """(U,); alone: whatever regimes and the book's allocator say."""
        whole = ONE if alone else self.book * self.regimes
        return np.full(units, whole) if self.parts is None else self.parts * whole


class _Seen(NamedTuple):
    """Where a step finds its rows, see `stepping.gather`: bars (N, K'), at (U, L), columns (1 + K,), ticks (N,)."""

    bars: F64
    at: I64
    columns: I64
    ticks: F64


class _Derived:
    """The indicators of a model: its rows with them, as bars of which each leg of each unit has one."""

    def __init__(self, rows: ModelRows, grid: Grid) -> None:
        self._strategy, self._params = strategy, params = rows.strategy, rows.params
        units, legs = rows.at.shape
        units_of: list[list[int]] = rows.at.tolist()
        self._origins = [Origin(rows.timeframe, tuple(grid.symbols[i] for i in unit)) for unit in units_of]
        for each in strategy.indicators:  # a warm-up that is none is refused now
            rows_before(strategy, each, params)
        self._past = [no_past(strategy, legs) for _ in range(units)]
        self._fresh = np.zeros(units, np.bool_)
        self._rows = np.full((units, legs, 1 + len(strategy.fields)), np.nan)  # a close that is there, then x
        bars = self._rows.reshape(units * legs, -1)
        places = np.arange(len(bars)).reshape(units, legs)
        self._seen = _Seen(bars, places, np.arange(bars.shape[1]), np.zeros(len(bars)))
        frame_of((), np.zeros(1, np.int64), np.zeros((1, 0)))  # Polars is imported now and not at the first row

    def read(self, ts: int, seen: _Seen) -> _Seen:
        """A row of the model's bars; only where all legs of a unit have one it is a row of theirs."""
        x = gathered(*seen, self._fresh)
        self._rows[:] = np.nan
        when = np.array([ts])
        for u in np.flatnonzero(self._fresh).tolist():
            made, self._past[u] = with_indicators(
                self._strategy, self._params, self._origins[u], self._past[u], when, x[u : u + 1]
            )
            self._rows[u, :, 0], self._rows[u, :, 1:] = 1.0, made[0]
        return self._seen

    def save(self) -> Any:
        return [list(past) for past in self._past]

    def load(self, saved: Any) -> None:
        found = [Past(*each) for each in saved]
        own = self._past[0].rows.shape[1:]
        if len(found) != len(self._past) or any(len(p.ts) != len(p.rows) or p.rows.shape[1:] != own for p in found):
            raise TrimtabError("a saved memory of models has rows of another size: start without it")
        self._past = found


class _Fits:
    """The last rows of each unit, and when its fit is due."""

    def __init__(self, strategy: Strategy, params: Any, timeframe: str, units: int, legs: int) -> None:
        assert strategy.fit is not None  # nosec B101  # for the types
        self.of = strategy.fit
        self._size, self._every = window_of(strategy, params), every_of(strategy, params, timeframe)
        self._rows = np.zeros((units, self._size, legs, len(strategy.fields)))
        self._count, self._before = np.zeros(units, np.int64), np.full(units, NEVER)
        self.refused: list[Refusal] = []

    def read(self, ts: int, x: F64, fresh: NDArray[np.bool_]) -> list[int]:
        """Rows x (U, L, K) of the units that are fresh; -> those whose fit is due."""
        u = np.flatnonzero(fresh)
        self._rows[u, self._count[u] % self._size] = x[u]
        self._count[u] += 1
        before = self._before[u]
        known = before != NEVER
        due = known & (self._count[u] >= self._size)
        due[due] = crossed(before[due], ts, self._every)
        self._before[u] = ts
        return u[due].tolist()

    def window(self, u: int) -> F64:
        """(W, L, K) the last rows of a unit, in memory of their own."""
        at = int(self._count[u] % self._size)
        return np.concatenate((self._rows[u, at:], self._rows[u, :at]))

    def save(self) -> Any:
        return [self._rows, self._count, self._before]

    def load(self, saved: Any) -> None:
        rows, count, before = saved
        self._rows, self._count = alike(self._rows, rows), alike(self._count, count)
        self._before = alike(cast(Any, self._before), before)


class _Sized:
    """The sizer of a model and its standing weights."""

    def __init__(self, spec: Spec, m: int, rows: ModelRows) -> None:
        use = sizer_of(spec, spec.models[m])
        units, legs = rows.at.shape
        self._pace = pace_of(spec, spec.models[m], rows.share)
        self._multiple = np.full(units, np.nan)
        self.said = np.zeros(units, np.bool_)
        self._sizer = _Sizer(use.name, use, units) if use is not None else None
        self._standing = _standing(units, legs)
        self._alone = _standing(units, legs) if spec.allocator is not None else None
        size = units * legs
        self._room = Room(np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size))

    def read(self, forecast: F64, close: F64, fresh: NDArray[np.bool_], said: NDArray[np.bool_]) -> None:
        """Forecasts and closes (U,) of the units that are fresh; said: those that are events."""
        self.said = said
        if self._sizer is None:
            self._multiple[fresh] = 1.0
        else:
            self._sizer.read(forecast, close, fresh, self._multiple)

    def stand(self, ts: int, value: F64, factors: Factors) -> tuple[I64, F64]:
        """The weights that are new: legs u x L + leg, and values per unit of share."""
        multiple, units = np.where(self.said, self._multiple, np.nan), len(value)
        if self._alone is not None:
            stand(self._pace, self._alone, 0, ts, value, multiple, factors.of(units, alone=True), self._room)
        own = factors.of(units, alone=False)
        n = stand(self._pace, self._standing, 0, ts, value, multiple, own, self._room)
        return self._room.leg[:n], self._room.value[:n]

    def held(self, at: I64) -> F64:
        sent = (self._alone or self._standing).sent
        return np.nan_to_num(np.take_along_axis(sent, np.argsort(at, axis=1, kind="stable"), axis=1)).ravel()

    def save(self) -> Any:
        standings = [list(s) if s else None for s in (self._standing, self._alone)]
        return [self._multiple, standings, self._sizer.save() if self._sizer else None]

    def load(self, saved: Any) -> None:
        multiple, (standing, alone), sizer = saved
        self._multiple = alike(self._multiple, multiple)
        self._standing = Standing(*(alike(*pair) for pair in zip(self._standing, standing, strict=True)))
        own = self._alone
        if own is not None:
            self._alone = Standing(*(alike(*pair) for pair in zip(own, alone, strict=True)))
        if self._sizer is not None:
            self._sizer.load(sizer)


def _standing(units: int, legs: int) -> Standing:
    one = [standing_init(legs) for _ in range(units)]
    wanted, sent, size, at = (np.stack(column) for column in zip(*one, strict=True))
    return Standing(wanted, sent, size, at)


class _Sizer:
    """A sizer's State for each unit, in compiled memory."""

    def __init__(self, name: str, use: Any, units: int) -> None:
        from trimtab.portfolio.book import find_sizer, sizer_params

        sizer = find_sizer(name)
        self._params = sizer_params(use)
        self._start: Callable[[], Any] = lambda: sizer.init(self._params)
        self._steps, self._units = sizes_of(name, sizer.fold), units
        self._states = self._made([self._start() for _ in range(units)])

    def _made(self, states: Sequence[Any]) -> Any:
        return held(self._steps, states)

    def read(self, forecast: F64, close: F64, fresh: NDArray[np.bool_], multiple: F64) -> None:
        self._steps.sizes(self._params, self._states, forecast, close, fresh, multiple)

    def save(self) -> Any:
        return [leaves(self._steps.take(self._states, u)) for u in range(self._units)]

    def load(self, saved: Any) -> None:
        self._states = self._made([rebuilt(self._start(), told) for told in saved])


def fault_of(name: str, ts: int, error: Exception) -> str:
    """What people are told of a model that is stopped."""
    told = str(error) if isinstance(error, TrimtabError) else f"it raised {type(error).__name__}: {error}"
    return f"model {name}, row closed {utc(ts)}: {told}{QUARANTINED}"
