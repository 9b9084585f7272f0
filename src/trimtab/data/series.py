"""Series that nobody trades, as fields of a panel: each value in the first row at which it may be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from trimtab.data import macro
from trimtab.data.columns import find_columns, read_times
from trimtab.data.importing import read_table
from trimtab.data.store import Store, find_instrument, instruments, open_store, read_bars, timeframes
from trimtab.types import DAY, F64, I64, TIMEFRAMES, Panel, TrimtabError
from trimtab.words import OF_FILE, field_of

if TYPE_CHECKING:
    import polars as pl


def with_series(panel: Panel, series: Iterable[str] | Mapping[str, int], root: str | Path | None = None) -> Panel:
    """The panel with a field for each series (`field_of`), the same for all instruments; NaN where nothing is new.

    series  symbols of the store (their closes, of the finest timeframe of a day or more, else the coarsest), series
            that were downloaded into it (each used after its publication lag if nothing is said), and columns of CSV or
            Parquet files, as `curve.csv#term_10y_3m`; or a mapping of these to ns, the least from a value's date label
            to its use. A file's value is used a day after its label if nothing is said
    root    the store's folder, as for `load`

    A value stands in the first row that closes at or after the instant at which it is known: the close of its bar, or
    its label and the lag where that is later. Where several become known between two rows the last one counts.
    """
    mapped = isinstance(series, Mapping)
    lags = {**cast("Mapping[str, int]", series)} if mapped else dict.fromkeys(series, 0)
    store = open_store(root)
    columns = [_column(panel.ts, *_known(name, lag, store)) for name, lag in lags.items()]
    if not columns:
        return panel
    fields = (*panel.fields, *map(field_of, lags))
    taken = [name for name in fields[len(panel.fields) :] if (*fields, *panel.symbols).count(name) > 1]
    if taken:
        raise TrimtabError(f"series: {taken[0]} is already a field or an instrument of the panel")
    shape = panel.values.shape[:2]
    more = np.stack([np.broadcast_to(column[:, None], shape) for column in columns], axis=2)
    values = np.concatenate((panel.values, more), axis=2)
    return Panel(panel.ts, panel.instruments, fields, values, panel.timeframe)


def rooted(name: str) -> str:
    """A series of a file by its whole path, so that it is found from any folder; a symbol stays as it is."""
    path, mark, column = name.rpartition(OF_FILE)
    return f"{Path(path).expanduser().resolve()}{mark}{column}" if mark else name


def _column(ts: I64, known: I64, values: F64) -> F64:
    """(T,) each value in the first row at or after its instant, the last where there are several; NaN elsewhere."""
    row = np.searchsorted(ts, known)
    last = np.append(row[1:] != row[:-1], True) & (row < len(ts)) if len(row) else np.zeros(0, bool)
    out = np.full(len(ts), np.nan)
    out[row[last]] = values[last]
    return out


def _known(name: str, lag: int, store: Store) -> tuple[I64, F64]:
    """When each value of a series is known, rising, and the values: (B,) each."""
    if OF_FILE in name:
        label, values = _of_file(name)
        return label + (lag or DAY), values
    if not any(i.symbol == name for i in instruments(store)) and (kept := macro.all_series(store).get(name)):
        frame = macro.read_series(store, name)
        return _ns(frame["open_time"]) + (lag or kept.lag), frame["close"].to_numpy().copy()
    instrument = find_instrument(store, name)
    stored = timeframes(store, instrument)
    slow = [t for t in stored if TIMEFRAMES[t] >= DAY]
    timeframe = min(slow, key=TIMEFRAMES.__getitem__) if slow else max(stored, key=TIMEFRAMES.__getitem__)
    bars = Panel.from_frames({name: read_bars(store, instrument, timeframe)}, timeframe)
    opened = bars.ts - bars.values[:, 0, bars.fields.index("duration")].astype(np.int64)
    return np.maximum(bars.ts, opened + lag), bars.values[:, 0, bars.fields.index("close")].copy()


def _of_file(name: str) -> tuple[I64, F64]:
    """The date labels of a column of a file, rising, and its values; cells without one left out."""
    import polars as pl

    path, _, column = name.rpartition(OF_FILE)
    file = Path(path).expanduser()
    if not file.is_file():
        raise TrimtabError(f"{name}: there is no file {file}; expected a CSV or Parquet file and a column of it")
    table = read_table(file)
    if column not in table.columns:
        raise TrimtabError(f"{file}: no column {column!r}; the file has {', '.join(table.columns)}")
    names, _ = find_columns(table.columns, {"close": column}, True, str(file))
    times, _ = read_times(table[names["open_time"]], "", str(file))
    values = table[column].cast(pl.Float64, strict=False)
    frame = pl.DataFrame({"at": times, "value": values}).drop_nulls().filter(pl.col("value").is_finite())
    if frame.is_empty():
        raise TrimtabError(f"{file}: column {column!r} holds no number")
    if not frame["at"].is_sorted() or frame["at"].is_duplicated().any():
        raise TrimtabError(f"{file}: column {names['open_time']!r} is not rising; expected one row per date, sorted")
    return _ns(frame["at"]), frame["value"].to_numpy().copy()


def _ns(times: pl.Series) -> I64:
    return times.dt.timestamp("ns").to_numpy().astype(np.int64)
