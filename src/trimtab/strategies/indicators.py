"""Derived fields of a model's rows, in blocks of time that lie where they lie whatever the data (L2).

An indicator is given a frame and not all of history. Blocks of time are counted from the epoch; the value of a row
comes from a frame of `warmup` rows before its block and the block itself. A backtest makes whole blocks at once, an
engine the block up to its newest row, of which only the last value counts: where a value does not depend on later rows,
the two are the same operations on the same numbers. Where it does, they differ, and `trimtab check` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from trimtab.types import F64, I64, TIMEFRAMES, Indicator, Strategy, TrimtabError
from trimtab.words import utc

if TYPE_CHECKING:
    import polars as pl

#: Bars that a block has at least: of longer ones each row costs an engine more, of shorter ones a backtest.
LEAST: Final = 256


class Origin(NamedTuple):
    """What the rows of a unit are of: its timeframe, by which blocks are counted, and names for messages.

    moved  ns by which the blocks begin later than they do: for who wants to see whether that matters
    """

    timeframe: str = ""
    symbols: tuple[str, ...] = ()
    model: str = ""
    moved: int = 0


class Past(NamedTuple):
    """The rows that the frames of later ones begin with: instants (B,), and rows (B, L, K) of `Strategy.reads`."""

    ts: I64
    rows: F64


#: Of a strategy without indicators.
NOTHING: Final = Past(np.empty(0, np.int64), np.empty((0, 0, 0)))


def no_past(strategy: Strategy, legs: int) -> Past:
    """The past of a unit that has seen no row."""
    if not strategy.indicators:
        return NOTHING
    return Past(np.empty(0, np.int64), np.empty((0, legs, len(strategy.reads))))


def rows_before(strategy: Strategy, indicator: Indicator, p: Any) -> int:
    """The warm-up of an indicator. TrimtabError unless it is a whole number, 0 or more."""
    told: Any = indicator.warmup(p) if callable(indicator.warmup) else indicator.warmup
    number: Any = told.item() if hasattr(told, "item") else told
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**31:
        raise TrimtabError(
            f"{strategy.name}: warmup of indicator {indicator.name} is {told!r}; expected a whole number of rows, 0 or "
            "more, or a function of Params that returns one"
        )
    return number


def block_of(warmup: int, timeframe: str) -> int:
    """ns of a block: the smallest power of two of bars that is not less than the warm-up, nor than `LEAST`."""
    return max(LEAST, 1 << max(warmup - 1, 0).bit_length()) * TIMEFRAMES[timeframe]


class _Frames(NamedTuple):
    """How the rows at ts are cut for one indicator: the first row of each row's block, and rows before it."""

    warmup: int
    first: I64

    def start(self, row: int) -> int:
        """Where the frame of a row begins."""
        return max(int(self.first[row]) - self.warmup, 0)


def _frames(strategy: Strategy, indicator: Indicator, p: Any, origin: Origin, ts: I64) -> _Frames:
    if origin.timeframe not in TIMEFRAMES:
        raise TrimtabError(f"strategy {strategy.name} has indicators: folding it needs the timeframe of its rows")
    warmup = rows_before(strategy, indicator, p)
    block = (ts - origin.moved) // block_of(warmup, origin.timeframe)
    return _Frames(warmup, np.searchsorted(block, block))


def with_indicators(strategy: Strategy, p: Any, origin: Origin, past: Past, ts: I64, x: F64) -> tuple[F64, Past]:
    """Rows as `step` reads them, and the past of those that follow.

    ts  (R,) close instants of further rows, increasing
    x   (R, L, K') of `Strategy.reads`
    ->  (R, L, K) of `Strategy.fields`

    TrimtabError names model, indicator, instrument and instants where `make` raises, or returns something else than a
    number per row.
    """
    if not len(ts):
        return np.empty((0, x.shape[1], len(strategy.fields))), past
    known = len(past.ts)
    whole, rows = np.concatenate((past.ts, ts)), np.concatenate((past.rows, x))
    reads = strategy.reads
    out = np.empty((len(ts), x.shape[1], len(strategy.fields)))
    derived = {each.name: each for each in strategy.indicators}
    keep = len(whole)
    for k, field in enumerate(strategy.fields):
        indicator = derived.get(field)
        if indicator is None:
            out[:, :, k] = x[:, :, reads.index(field)]
            continue
        frames = _frames(strategy, indicator, p, origin, whole)
        columns = [reads.index(name) for name in indicator.fields]
        for leg in range(x.shape[1]):
            told = (origin, leg)
            out[:, leg, k] = _values(indicator, p, told, whole, rows[:, leg][:, columns], frames, known)
        keep = min(keep, frames.start(len(whole) - 1))
    return out, Past(whole[keep:].copy(), rows[keep:].copy())


def _values(
    indicator: Indicator, p: Any, told: tuple[Origin, int], ts: I64, columns: F64, frames: _Frames, known: int
) -> F64:
    """The values of the rows from `known` on, a block at a time."""
    found = np.full(len(ts) - known, np.nan)
    end = known
    while end < len(ts):
        first = int(frames.first[end])
        begin, start = end, frames.start(end)
        end = int(np.searchsorted(frames.first, first, side="right"))
        # With fewer rows before it a value would depend on where history begins.
        warm = max(begin, start + frames.warmup)
        if warm < end:
            made = _made(indicator, p, told, ts[start:end], columns[start:end])
            found[warm - known : end - known] = made[warm - start :]
    return found


def _made(indicator: Indicator, p: Any, told: tuple[Origin, int], ts: I64, columns: F64) -> F64:
    """What `make` returns for one frame: rows at ts (B,), columns (B, its fields) -> (B,)."""
    import polars as pl

    frame = frame_of(indicator.fields, ts, columns)
    try:
        made = indicator.make(p, frame)
        if isinstance(made, pl.Expr):
            made = frame.select(made.alias(indicator.name)).to_series()
        fault = _fault(made, len(ts))
        values = None if fault else made.cast(pl.Float64).to_numpy()
    except (Exception, pl.exceptions.PanicException) as error:  # whatever a user's function, or Polars, may raise
        what = str(error) if isinstance(error, TrimtabError) else f"it raised {type(error).__name__}: {_line(error)}"
        raise TrimtabError(f"{_where(indicator, told, ts)}: {what}") from error
    if values is None:
        raise TrimtabError(f"{_where(indicator, told, ts)}: {fault}")
    return values


def frame_of(fields: Sequence[str], ts: I64, columns: F64) -> pl.DataFrame:
    """The frame of rows at ts (B,) with columns (B, K): `ts` and the fields, NaN as null."""
    import polars as pl

    instants = pl.Series("ts", ts).cast(pl.Datetime("ns", "UTC"))
    named = (pl.Series(name, columns[:, k].copy(), nan_to_null=True) for k, name in enumerate(fields))
    return pl.DataFrame([instants, *named])


def _fault(made: Any, rows: int) -> str:
    """What is wrong with the answer of an indicator; empty where nothing is."""
    import polars as pl

    if not isinstance(made, pl.Series):
        return f"it returned a {type(made).__name__}; expected a Polars expression or Series"
    if len(made) != rows:
        return (
            f"it returned {len(made):,} values for {rows:,} rows; expected one for each. A mean(), max() or last() of "
            "the whole frame is one number, and knows the last row: take rolling_ or cum_ of it"
        )
    if not (made.dtype.is_numeric() or made.dtype == pl.Boolean or made.dtype == pl.Null):
        return f"it returned values of type {made.dtype}; expected numbers"
    return ""


def _where(indicator: Indicator, told: tuple[Origin, int], ts: I64) -> str:
    origin, leg = told
    model = f"model {origin.model}: " if origin.model else ""
    of = f" of {origin.symbols[leg]}" if origin.symbols else ""
    return f"{model}indicator {indicator.name}{of}, {len(ts):,} rows closed {utc(ts[0])} to {utc(ts[-1])}"


def _line(error: BaseException) -> str:
    """The first line of what an error says; those of Polars go on with the whole plan."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
