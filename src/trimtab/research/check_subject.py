"""What the laws are checked on: one strategy, the rows of its units, and how to fold, snapshot and compare them."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np

from trimtab.data.panel import rows_of
from trimtab.research.check_columns import Slow
from trimtab.research.synthetic import synthetic_panel
from trimtab.schedule.buckets import divides
from trimtab.strategies import BUILT_IN, find, params_of
from trimtab.strategies.fitting import Memory
from trimtab.strategies.folding import Folds, folds_of, memory_of, resume_dense
from trimtab.strategies.framed import home_of
from trimtab.strategies.indicators import Origin, block_of, no_past, rows_before, with_indicators
from trimtab.types import BAR_FIELDS, F64, I64, TIMEFRAMES, Instrument, NotEnoughData, Panel, Strategy, TrimtabError

#: Units that are folded; a wide universe adds time and no evidence.
MOST_UNITS: Final = 4
#: Rows that must remain after warm-up, or nothing could be said.
LEAST_ROWS: Final = 50
#: Rows after the warm-up that indicators are made of in parts, to see whether they look ahead.
_AHEAD: Final = 400
#: Rows after a block that are there too: what a step reads past its row.
_BEHIND: Final = 4
_SYNTHETIC_ROWS: Final = (1_500, 20_000)
_CAUSE: Final = "Usual cause: "


class Finding(msgspec.Struct, frozen=True):
    """What one law says: passed, or which field and row broke it and what that usually means.

    field    a field of the bars, a member of State or Params, or a part of the strategy
    row      row of the panel, ts its close (ns UTC); None where no single row is to blame
    message  for a break: what was seen, the usual cause, what to do
    instrument  the symbol, or the legs of a unit; None where it is about the strategy as a whole
    size     of a leak. Of a forecast that moved: by how much, as a share of the larger of the two (0 to 2, NaN against
             a number is 1). Of a column: the share of its rows, or of its news, that stem from later rows. None for
             breaks that have no size
    suspicious  a pass with a warning: nothing is proved
    """

    law: str
    passed: bool
    field: str | None
    row: int | None
    message: str
    ts: int | None = None
    instrument: str | None = None
    size: float | None = None
    suspicious: bool = False

    @property
    def seen(self) -> str:
        """The first part of the message: what was seen."""
        return self.message.partition(_CAUSE)[0].strip()

    @property
    def cause(self) -> str | None:
        """The rest of it: the usual cause, and what to do."""
        return self.message.partition(_CAUSE)[2].strip() or None


class Unit(NamedTuple):
    """What one forecast is about (an instrument, or the legs of a pair): panel rows and closes (R,), x (R, L, K)."""

    name: str
    symbols: tuple[str, ...]
    rows: I64
    ts: I64
    x: F64

    def place(self, row: int) -> int:
        """The panel's row of one of the unit's own."""
        return int(self.rows[min(max(row, 0), len(self.rows) - 1)])


class Subject(NamedTuple):
    """A strategy with the rows that it is held against."""

    strategy: Strategy
    params: Any
    panel: Panel
    timeframe: str
    units: tuple[Unit, ...]
    warmup: int
    seed: int
    series: Mapping[str, Slow] = MappingProxyType({})  # published ones, by name, with what is known of their lag

    @property
    def folds(self) -> Folds:
        return folds_of(self.strategy)

    def start(self, params: Any = None) -> Memory:
        """The memory of a unit before its first row."""
        return memory_of(self.strategy, self.params if params is None else params, self.units[0].x.shape[1])

    def origin(self, unit: Unit) -> Origin:
        """What the rows of a unit are of."""
        return Origin(self.timeframe, unit.symbols, self.strategy.name)

    def dense(self, memory: Memory, ts: I64, x: F64, out: F64, params: Any = None) -> Memory:
        """Step rows x into out, fits included where they are due; the memory that went in is used up."""
        chosen, origin = self.params if params is None else params, Origin(self.timeframe)
        return resume_dense(self.strategy, chosen, memory, ts, x, out, origin)[0]

    def derived(self, moved: int = 0) -> Subject:
        """The strategy with its indicators as plain fields, on rows that have them.

        moved  ns by which the blocks of indicators begin later
        """
        strategy = self.strategy
        if not strategy.indicators:
            return self
        units: list[Unit] = []
        for unit in self.units:
            origin, past = self.origin(unit)._replace(moved=moved), no_past(strategy, unit.x.shape[1])
            units.append(unit._replace(x=with_indicators(strategy, self.params, origin, past, unit.ts, unit.x)[0]))
        return self._replace(strategy=msgspec.structs.replace(strategy, indicators=()), units=tuple(units))

    def rng(self, law: str) -> np.random.Generator:
        """Random numbers of one law: the same in every process."""
        return np.random.default_rng((self.seed, *law.encode()))

    def broken(
        self,
        law: str,
        message: str,
        field: str | None = None,
        at: tuple[Unit, int] | None = None,
        size: float | None = None,
    ) -> Finding:
        """A Finding that a law is broken; at: the unit and its own row."""
        if at is None:
            return Finding(law, False, field, None, message, size=size)
        unit, row = at
        place = unit.place(row)
        return Finding(law, False, field, place, message, int(self.panel.ts[place]), unit.name, size)


# --- building --------------------------------------------------------------------------------------------------------


def missing_fields(strategy: Strategy, panel: Panel) -> list[str]:
    """The fields that a strategy reads and the panel does not have."""
    return [f for f in strategy.reads if f not in panel.fields and f != "ticks"]


def subject_of(
    strategy: Strategy, panel: Panel, params: Mapping[str, Any], seed: int, series: Mapping[str, Slow] | None = None
) -> Subject:
    """The rows to check a strategy on: the panel's instruments that one account can hold, in units.

    TrimtabError where the panel has no timeframe that the strategy takes, NotEnoughData where it is too short.
    """
    chosen = params_of(strategy, params)
    warmup = warmup_of(strategy, chosen)
    panel = _one_account(panel, together=strategy.n_legs == 0)
    timeframe = timeframe_for(strategy, panel)
    symbols = list(panel.symbols)
    legs = strategy.legs_of(len(symbols))
    if len(symbols) < legs:
        raise NotEnoughData(
            f"{strategy.name} trades {legs} legs at a time, but the data has {len(symbols)} instrument(s) on one venue "
            "and in one currency: give more symbols"
        )
    groups = [tuple(symbols[k : k + legs]) for k in range(0, len(symbols) - legs + 1, legs)][:MOST_UNITS]
    units: list[Unit] = []
    for group in groups:
        index, x = rows_of(panel, group, timeframe, strategy.reads)
        units.append(Unit("/".join(group), group, index, panel.ts[index], np.array(x, dtype=np.float64, order="C")))
    longest = max(len(unit.rows) for unit in units)
    if longest < warmup + LEAST_ROWS:
        raise NotEnoughData(
            f"{strategy.name}: {longest:,} bars of {timeframe} are too few to check it: its warm-up is {warmup:,} and "
            f"{LEAST_ROWS} more are needed. Load a longer window, shorten its lookbacks, or leave out the data to use "
            "synthetic bars"
        )
    kept = tuple(u for u in units if len(u.rows) >= warmup + LEAST_ROWS)
    return Subject(strategy, chosen, panel, timeframe, kept, warmup, seed, series or {})


def warmup_of(strategy: Strategy, params: Any) -> int:
    """The declared warm-up; TrimtabError if it is no whole number of rows."""
    rows: Any = strategy.warmup(params)
    number: Any = rows.item() if hasattr(rows, "item") else rows
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise TrimtabError(f"{strategy.name}: warmup returned {rows!r}; expected a whole number of rows, 0 or more")
    return number


def synthetic_for(strategy: Strategy, warmup: int, seed: int) -> Panel:
    """Bars made for this strategy: of a timeframe that it takes, long enough to see 10 warm-ups after the first."""
    timeframe = next((t for t in ("1d", "4h", "1h") if t in strategy.timeframes), strategy.timeframes[0])
    fewest, most = _SYNTHETIC_ROWS
    most = min(most, 190 * 365 * TIMEFRAMES["1d"] // TIMEFRAMES[timeframe])
    rows = min(max(fewest, 18 * warmup + 500), most)
    if rows < 2 * warmup + LEAST_ROWS:
        rows = min(3 * warmup + LEAST_ROWS, 8 * most)
    # Pairs take turns between clocks: of eight, the four that one basket can step on together.
    count = max(4, 2 * strategy.n_legs) if strategy.n_legs else 8
    return with_slower(synthetic_panel(seed, rows, count, timeframe), strategy.reads)


def with_slower(panel: Panel, fields: Sequence[str]) -> Panel:
    """Slower series as `load` would join them: close@1d and kin; other unknown fields stay unknown."""
    wanted = [f for f in fields if f not in panel.fields and f.partition("@")[2] in TIMEFRAMES]
    wanted = [f for f in wanted if f.partition("@")[0] in BAR_FIELDS[:5]]
    if not wanted:
        return panel
    columns: list[F64] = []
    for name in wanted:
        field, _, timeframe = name.partition("@")
        column = np.full(panel.values.shape[:2], np.nan)
        for n in range(len(panel.instruments)):
            index, x = rows_of(panel, [n], timeframe, (field,))
            at = np.searchsorted(index, np.arange(len(panel.ts)), side="right") - 1
            known = at >= 0
            column[known, n] = x[at[known], 0, 0]
        columns.append(column)
    values = np.concatenate((panel.values, np.stack(columns, axis=2)), axis=2)
    return msgspec.structs.replace(panel, fields=(*panel.fields, *wanted), values=values)


def _one_account(panel: Panel, together: bool) -> Panel:
    """The instruments that one account can hold: those of the first one's venue and quote currency.

    together  of its calendar too, for those that are stepped at the same closes
    """

    def kind(i: Instrument) -> tuple[str, ...]:
        return (i.venue, i.quote, i.calendar if together else "")

    kept = [n for n, i in enumerate(panel.instruments) if kind(i) == kind(panel.instruments[0])]
    if len(kept) == len(panel.instruments):
        return panel
    return msgspec.structs.replace(
        panel,
        instruments=tuple(panel.instruments[n] for n in kept),
        values=np.ascontiguousarray(panel.values[:, kept]),
    )


def timeframe_for(strategy: Strategy, panel: Panel) -> str:
    """The panel's timeframe if the strategy takes it, else the next coarser one that it takes."""
    if panel.timeframe in strategy.timeframes:
        return panel.timeframe
    for name in TIMEFRAMES:
        if name in strategy.timeframes and divides(panel.timeframe, name):
            return name
    raise TrimtabError(
        f"{strategy.name} takes bars of {', '.join(strategy.timeframes)}; {panel.timeframe} bars cannot be made into "
        "any of them: give finer data"
    )


def source_of(strategy: Strategy) -> str | None:
    """What another process can find the strategy by: its file or its name; None where it has neither."""
    module = home_of(strategy)
    if module.startswith("trimtab_strategy_"):
        file = getattr(sys.modules.get(module), "__file__", None)
        return str(file) if file and Path(str(file)).is_file() else None
    if BUILT_IN.get(strategy.name) == module:
        return strategy.name
    try:
        return strategy.name if find(strategy.name) is strategy else None
    except TrimtabError:
        return None


# --- folding ---------------------------------------------------------------------------------------------------------


def fold(subject: Subject, ts: I64, x: F64, params: Any = None, memory: Memory | None = None) -> tuple[Memory, F64]:
    """(memory, forecasts (R,)) over a copy of x, from a new memory unless one is given (which is then used up).

    ts  the closes of those rows; there may be more of them
    """
    out = np.full(len(x), np.nan)
    begun = subject.start(params) if memory is None else memory
    return subject.dense(begun, ts[: len(x)], np.array(x, order="C"), out, params), out


def fold_until_error(subject: Subject, ts: I64, x: F64) -> tuple[F64, Exception | None]:
    """Forecasts up to the row at which the strategy raised, and what it raised; later rows are NaN."""
    out = np.full(len(x), np.nan)
    try:
        subject.dense(subject.start(), ts[: len(x)], np.array(x, order="C"), out)
    except Exception as error:  # whatever a user's step may raise
        return out, error
    return out, None


def looks_ahead(subject: Subject) -> bool:
    """Are indicators others where their frames end with each row, or nearly so, than in whole blocks?"""
    strategy, params = subject.strategy, subject.params
    for unit, whole in zip(subject.units, subject.derived().units, strict=True) if strategy.indicators else ():
        past, end = no_past(strategy, unit.x.shape[1]), min(len(unit.x), subject.warmup + _AHEAD)
        for t in range(0, end, 7):
            part = slice(t, t + 7)
            x, past = with_indicators(strategy, params, subject.origin(unit), past, unit.ts[part], unit.x[part])
            if first_difference(whole.x[part].ravel(), x.ravel()) is not None:
                return True
    return False


def reach(strategy: Strategy, params: Sequence[Any], timeframe: str, ts: I64, row: int) -> int:
    """How many of the rows at ts can have a part in what is made of those up to `row`: to the end of its last block.

    Frames are made block by block, so later rows are only more of the same; all rows where there are no indicators.
    """
    before = (rows_before(strategy, each, p) for each in strategy.indicators for p in params)
    blocks = [block_of(rows, timeframe) for rows in before]
    end = max((int(ts[row]) // block + 1) * block for block in blocks) if blocks else int(ts[-1])
    return min(len(ts), int(np.searchsorted(ts, end)) + _BEHIND)


# --- comparing -------------------------------------------------------------------------------------------------------


def first_difference(a: F64, b: F64) -> int | None:
    """The first row at which two series are not the same bits (two NaN are the same); None where there is none."""
    same = (a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))
    return None if same.all() else int(np.argmin(same))


def size_of(a: float, b: float) -> float:
    """How far two forecasts are apart, as a share of the larger one; 1 where one of them is NaN."""
    if np.isnan(a) or np.isnan(b):
        return 1.0
    largest = max(abs(a), abs(b))
    return float(abs(a - b) / largest) if largest > 0.0 else 0.0


def leaves(value: Any, path: str = "State") -> Generator[tuple[str, Any]]:
    """Every number and array inside a state, with the name a user gave it: State.past.ring."""
    names = getattr(value, "_fields", None)
    if isinstance(value, Memory):
        yield from leaves(value.state, path)
        yield from ((f"Memory.{name}", kept) for name, kept in zip(("ts", "rows"), value[1:3], strict=True))
        yield from leaves(value.past, "Memory.past")
    elif isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        for k, item in enumerate(items):
            yield from leaves(item, f"{path}.{names[k]}" if names else f"{path}[{k}]")
    else:
        yield path, value


def stored(value: Any) -> Any:
    """A state as a file brings it back: every array copied on its own; what is neither number nor array is refused."""
    if isinstance(value, tuple):
        items = [stored(item) for item in cast("tuple[Any, ...]", value)]
        make = cast(Any, value).__class__
        return make(*items) if hasattr(make, "_fields") else tuple(items)
    if isinstance(value, np.ndarray):
        return cast("np.ndarray[Any, Any]", value).copy()
    if isinstance(value, bool | int | float):
        return value
    raise TypeError(f"it holds a {type(value).__name__}")


def bits(value: Any) -> bytes:
    """A leaf of a state as bytes, with its type; what is neither number nor array goes by its text."""
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        return repr((array.dtype.str, array.shape)).encode() + array.tobytes()
    if isinstance(value, int | float | np.generic):
        return np.asarray(value).tobytes()
    return repr(value).encode()


def changed_member(a: Any, b: Any) -> str | None:
    """The first member of a state that differs between two states."""
    pairs = zip(leaves(a), leaves(b), strict=False)
    return next((path for (path, first), (_, second) in pairs if bits(first) != bits(second)), None)


def shared_members(a: Any, b: Any) -> tuple[str, str] | None:
    """Two arrays, one in each state (or both in the same one), that are the same memory."""
    first = arrays_of(a)
    second = first if a is b else arrays_of(b)
    for k, (path, array) in enumerate(first):
        for other, twin in second[k + 1 :] if a is b else second:
            if np.shares_memory(array, twin):
                return path, other
    return None


def arrays_of(value: Any) -> list[tuple[str, Any]]:
    """The arrays of a state that hold anything, with their names."""
    return [(path, v) for path, v in leaves(value) if isinstance(v, np.ndarray) and v.nbytes]
