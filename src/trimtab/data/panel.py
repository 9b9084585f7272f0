"""Panels out of the store, and the rows of a panel that a model steps on.

Everything here is joined on the instant at which a value is known: a bar's close.
"""

from __future__ import annotations

import datetime as dt
import difflib
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from trimtab.data.resampling import resample
from trimtab.data.store import EXTRAS, Store, find_instrument, open_store, read_bars, source_for
from trimtab.data.timeframes import canonical
from trimtab.rules.adjust import adjusted_bars, is_eventful
from trimtab.schedule.buckets import aggregate, buckets
from trimtab.types import F64, I64, TIMEFRAMES, Instrument, NotEnoughData, Panel, TrimtabError

if TYPE_CHECKING:
    import polars as pl

Instant = str | dt.date | None


def load(
    *symbols: str,
    timeframe: str,
    start: Instant = None,
    end: Instant = None,
    root: str | Path | None = None,
    features: Sequence[str] = (),
    series: Iterable[str] | Mapping[str, int] = (),
    fx: Mapping[str, str | float] | None = None,
    members: str | Path = "",
) -> Panel:
    """Bars of instruments in the store as one panel.

    timeframe   taken as stored, else resampled from the finest stored timeframe that divides it
    start, end  ISO dates or datetimes (UTC; a date is its 00:00): bars that close after start and not after end
    root        the store's folder; default $TRIMTAB_DATA, else ./trimtab-data
    features    slower series as extra fields, such as "close@1d": the last value known at each row
    series      series that are not traded, as fields: symbols of the store or file.csv#column, see data.series
    fx          exchange rates as the field `fx`, by quote currency: a pair of the store, in either direction, or a rate
                that stands; the currency that the pairs share is the base one, see data.rates

    members     a file of who belongs to the universe when (symbol, from, to), as the field `member`, see data.members;
                listings and delistings of the catalogue count without one
    Where any of the stored bars have them, funding, spread and fx are fields too; and so are split and dividend, where
    any are stored of an instrument. Prices are raw, and features adjusted forward.
    TrimtabError for an unknown symbol (with the closest known), NotEnoughData where no bar is in the window.
    """
    timeframe = canonical(timeframe)
    if not symbols:
        raise TrimtabError("load: expected at least one symbol, such as load('BTCEUR', timeframe='1h')")
    repeated = [s for i, s in enumerate(symbols) if s in symbols[:i]]
    if repeated:
        raise TrimtabError(f"load: {repeated[0]} is given twice")
    first, last = instant(start, "start"), instant(end, "end")
    if first is not None and last is not None and last <= first:
        raise TrimtabError(f"load: the end {end} is not after the start {start}")
    store = open_store(root)
    instruments = [find_instrument(store, s) for s in symbols]
    frames = {i.symbol: _window(bars_at(store, i, timeframe), timeframe, first, last) for i in instruments}
    for symbol, frame in frames.items():
        if frame.is_empty():
            window = f"after {start or 'the first bar'} and until {end or 'the last'}"
            raise NotEnoughData(f"{symbol}: no {timeframe} bar closes {window}; see `trimtab data show {symbol}`")
    panel = Panel.from_frames(_alike(frames), timeframe, instruments)
    if fx:
        from trimtab.data.rates import with_rates

        panel = with_rates(panel, fx, root)
    panel = _with_features(panel, store, features) if features else panel
    if members or any(i.listed or i.delisted for i in instruments):
        from trimtab.data.members import with_members

        panel = with_members(panel, members)
    if not series:
        return panel
    from trimtab.data.series import with_series

    return with_series(panel, series, root)


def _alike(frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The frames with the same extra columns: null where only others know them."""
    import polars as pl

    known = (*EXTRAS, "split", "dividend")
    more = [name for name in known if any(name in frame.columns for frame in frames.values())]
    nothing = pl.lit(None, pl.Float64)
    return {
        symbol: frame.with_columns(nothing.alias(name) for name in more if name not in frame.columns)
        for symbol, frame in frames.items()
    }


def bars_at(store: Store, instrument: Instrument, timeframe: str) -> pl.DataFrame:
    """Bars of a timeframe as stored, else resampled (then with a `duration` column), with splits and dividends."""
    from trimtab.data.events import read_events, with_events

    stored = source_for(store, instrument, timeframe)
    frame = read_bars(store, instrument, stored)
    events = read_events(store, instrument)
    if len(events) and len(frame):
        frame = with_events(frame, events, instrument, stored)
    return frame if stored == timeframe else resample(frame, stored, timeframe, instrument.calendar)


def instant(value: Instant, name: str) -> dt.datetime | None:
    """An ISO date or instant, UTC where it says no zone; None for nothing. TrimtabError, with its name, for no date."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise TrimtabError(f"{name} = {value!r} is no date: expected 2021-03-02 or 2021-03-02T16:00") from None
    if not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _window(frame: pl.DataFrame, timeframe: str, start: dt.datetime | None, end: dt.datetime | None) -> pl.DataFrame:
    import polars as pl

    if start is None and end is None:
        return frame
    length = dt.timedelta(microseconds=TIMEFRAMES[timeframe] // 1_000)
    close = pl.col("open_time") + (pl.col("duration") if "duration" in frame.columns else length)
    inside = pl.lit(True)
    if start is not None:
        inside &= close > start
    if end is not None:
        inside &= close <= end
    return frame.filter(inside)


# --- slower series ---------------------------------------------------------------------------------------------------


def as_of(known: I64, values: F64, ts: I64) -> F64:
    """The last value known at each instant: known (B,) sorted, values (B,), ts (T,) -> (T,); NaN before the first.

    A value that becomes known exactly at an instant counts there, never before.
    """
    at = np.searchsorted(known, ts, side="right") - 1
    padded = np.append(values, np.nan)  # at is -1 before the first: the NaN
    return padded[at]


def _with_features(panel: Panel, store: Store, features: Sequence[str]) -> Panel:
    columns = [_feature(panel, store, name) for name in features]
    fields = (*panel.fields, *features)
    if len(set(fields)) < len(fields):
        raise TrimtabError(f"load: a feature is given twice or has a field's name: {', '.join(features)}")
    return Panel(
        panel.ts,
        panel.instruments,
        fields,
        np.concatenate((panel.values, np.stack(columns, axis=2)), axis=2),
        panel.timeframe,
    )


def _feature(panel: Panel, store: Store, name: str) -> F64:
    """One feature for all instruments: (T, N)."""
    field, _, suffix = name.partition("@")
    if not suffix or field not in ("open", "high", "low", "close", "volume"):
        raise TrimtabError(f"feature {name!r}: expected a field and a timeframe, such as close@1d")
    timeframe = canonical(suffix)
    if TIMEFRAMES[timeframe] < TIMEFRAMES[panel.timeframe]:
        raise TrimtabError(f"feature {name!r}: {timeframe} is finer than the panel's {panel.timeframe}")
    out = np.empty((len(panel.ts), len(panel.instruments)))
    for n, instrument in enumerate(panel.instruments):
        bars = Panel.from_frames({instrument.symbol: bars_at(store, instrument, timeframe)}, timeframe)
        values = bars.values[:, 0, bars.fields.index(field)]
        if is_eventful(bars.fields):
            values = _adjusted_from(bars, field, int(panel.ts[0]))
        out[:, n] = as_of(bars.ts, values, panel.ts)
    return out


def _adjusted_from(bars: Panel, field: str, begins: int) -> F64:
    """(B,) a field of one instrument's bars, adjusted forward from what it was at an instant."""
    volume = bars.fields.index("volume")
    ones = bars.values.copy()
    ones[:, :, volume] = 1.0  # what becomes of it is the factor of volume, also of a bar that has none
    seen, prices = adjusted_bars(msgspec.structs.replace(bars, values=ones))
    factor = seen[:, 0, volume] if field == "volume" else prices[:, 0]
    at = max(int(np.searchsorted(bars.ts, begins, side="right")) - 1, 0)
    return bars.values[:, 0, bars.fields.index(field)] * (factor / factor[at])


# --- the rows of a model ---------------------------------------------------------------------------------------------

_signals: weakref.WeakKeyDictionary[Panel, Panel] = weakref.WeakKeyDictionary()


def signals_of(panel: Panel) -> Panel:
    """The panel as strategies see it: prices and volume adjusted forward (see rules.adjust), remembered per panel.

    Without the fields `split` and `dividend` it is the panel itself.
    """
    if not is_eventful(panel.fields):
        return panel
    found = _signals.get(panel)
    if found is None:
        found = _signals[panel] = msgspec.structs.replace(panel, values=adjusted_bars(panel)[0])
    return found


def rows_of(panel: Panel, instruments: Sequence[str | int], timeframe: str, fields: Sequence[str]) -> tuple[I64, F64]:
    """The rows at which all the instruments have a freshly closed bar of `timeframe`, and those bars.

    instruments  L symbols or positions in the panel
    timeframe    the panel's or a coarser one; coarser bars are made of the panel's own, by the rules of `resample`
    fields       K of the panel's, and `ticks`: the close in ticks (the close itself where the tick is unknown); prices
                 and volume are adjusted forward
    ->           index (R,) of panel rows; x (R, L, K), C-contiguous

    A coarser bar belongs to the first row at or after its end, so that cutting the panel changes no row before the cut
    (if several wait for one row after a gap, the last of them counts). A bar without a close is not fresh. Where all is
    there and nothing is to be left out, x may be the panel's own memory: do not write to it.
    """
    timeframe, panel = canonical(timeframe), signals_of(panel)
    legs = [_position(panel, i) for i in instruments]
    needed = tuple("close" if f == "ticks" else f for f in fields)
    columns = _positions(panel, needed)
    if timeframe == panel.timeframe and _is_whole(panel, legs, fields):
        return np.arange(len(panel.ts), dtype=np.int64), panel.values
    fresh = [_fresh(panel, n, timeframe, needed, columns) for n in legs]
    index = fresh[0][0]
    for rows, _ in fresh[1:]:
        index = np.intersect1d(index, rows, assume_unique=True)
    x = np.empty((len(index), len(legs), len(fields)))
    for leg, (rows, values) in enumerate(fresh):
        taken = slice(None) if len(rows) == len(index) else np.searchsorted(rows, index)
        tick = panel.instruments[legs[leg]].tick_size
        for k, field in enumerate(fields):
            column, out = values[k][taken], x[:, leg, k]
            if field == "ticks" and tick > 0:
                np.divide(column, tick, out=out)
                np.rint(out, out=out)
            else:
                out[:] = column
    return index, x


def _position(panel: Panel, instrument: str | int) -> int:
    if isinstance(instrument, str):
        if instrument in panel.symbols:
            return panel.symbols.index(instrument)
        near = difflib.get_close_matches(instrument, panel.symbols, n=1, cutoff=0.0)
        raise TrimtabError(f"unknown symbol {instrument!r} in the panel: did you mean {near[0]}?")
    if not 0 <= instrument < len(panel.instruments):
        raise TrimtabError(f"no instrument {instrument} in the panel: it has {len(panel.instruments)}")
    return int(instrument)


def _positions(panel: Panel, fields: tuple[str, ...]) -> list[int]:
    unknown = [f for f in fields if f not in panel.fields]
    if unknown:
        raise TrimtabError(f"the panel has no field {unknown[0]!r}: it has {', '.join(panel.fields)}, and ticks")
    return [panel.fields.index(f) for f in fields]


def _is_whole(panel: Panel, legs: list[int], fields: Sequence[str]) -> bool:
    if tuple(fields) != panel.fields or legs != list(range(len(panel.instruments))):
        return False
    close = panel.values[:, :, panel.fields.index("close")]
    return panel.values.flags.c_contiguous and not bool(np.isnan(close).any())


def _fresh(panel: Panel, n: int, timeframe: str, fields: tuple[str, ...], columns: list[int]) -> tuple[I64, list[F64]]:
    """Rows with a freshly closed bar of one instrument, and the columns of those bars."""
    at_close, at_duration = _positions(panel, ("close", "duration"))
    close = np.ascontiguousarray(panel.values[:, n, at_close])
    absent = np.isnan(close)
    rows = np.flatnonzero(~absent) if absent.any() else None
    if timeframe == panel.timeframe:
        index = np.arange(len(close), dtype=np.int64) if rows is None else rows
        picked = slice(None) if rows is None else rows
        values = [panel.values[picked, n, k] for k in columns]
        return index, [close[picked] if f == "close" else v for f, v in zip(fields, values, strict=True)]
    own = slice(None) if rows is None else rows
    duration = panel.values[own, n, at_duration].astype(np.int64)
    opens = panel.ts[own] - duration
    found = buckets(opens, duration, panel.timeframe, timeframe, panel.instruments[n].calendar)
    bars = aggregate(panel.values[own, n][:, columns], fields, found)
    index = np.searchsorted(panel.ts, found.end)
    kept = index < len(panel.ts)
    kept[:-1] &= index[1:] != index[:-1]
    return index[kept], [np.ascontiguousarray(bars[kept, k]) for k in range(len(fields))]
