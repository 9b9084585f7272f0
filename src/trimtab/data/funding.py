"""Funding rates from a file of their own, as a column of bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trimtab.data.columns import find_columns, read_times
from trimtab.data.importing import read_table
from trimtab.types import SECOND, TIMEFRAMES, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: Usual names of a column of rates, lower case without underscores.
_RATES = ("fundingrate", "lastfundingrate", "funding", "rate")


def with_funding(frame: pl.DataFrame, path: Path, timeframe: str) -> tuple[pl.DataFrame, str]:
    """The bars with a column `funding`: each rate in the first bar that closes at or after its instant, and a note.

    frame  open_time (us, UTC) and the rest, in order
    path   CSV or Parquet: an instant (ts, time, funding_time …) and a rate (funding_rate, rate …), fraction of notional

    Venues stamp a rate some milliseconds late: fractions of a second are dropped. Where several fall due in one bar
    they are added up. TrimtabError for a file without such columns, or with a rate that is none.
    """
    import polars as pl

    if not path.is_file():
        raise TrimtabError(f"{path}: no such file; expected a CSV or Parquet file of funding rates")
    table = read_table(path)
    simple = {column.lower().replace("_", "").replace(" ", ""): column for column in table.columns}
    rate = next((simple[name] for name in _RATES if name in simple), None)
    if rate is None:
        raise TrimtabError(
            f"{path}: no column of funding rates; expected one named funding_rate, the file has "
            f"{', '.join(table.columns)}"
        )
    names, _ = find_columns(table.columns, {"close": rate}, True, str(path))
    times, _ = read_times(table[names["open_time"]], "", str(path))
    values = table[rate].cast(pl.Float64, strict=False).to_numpy()
    instants = times.to_physical().fill_null(-1).to_numpy().astype(np.int64) * 1_000
    wrong = np.flatnonzero(~(np.abs(values) < 1.0) | (instants < 0))
    if len(wrong):
        row = int(wrong[0])
        raise TrimtabError(
            f"{path}: row {row}: {table[names['open_time']][row]}, {table[rate][row]}: expected an instant and a "
            "fraction of notional between -1 and 1, such as 0.0001"
        )
    joined, inside = join_funding(frame, times, pl.Series(values), timeframe)
    outside = len(values) - inside
    note = f"funding: {inside:,} rates from {path.name}"
    note += f", {outside:,} outside the bars left out" if outside else ""
    return joined, note


def join_funding(frame: pl.DataFrame, times: pl.Series, rates: pl.Series, timeframe: str) -> tuple[pl.DataFrame, int]:
    """The bars with a column `funding`: each rate in the first bar that closes at or after it; how many fell into one.

    frame  open_time (us, UTC) and the rest, in order
    times  instants (us, UTC) of the rates, to the second: venues stamp some milliseconds late
    rates  fractions of notional; several that fall due in one bar are added up
    """
    import polars as pl

    opens = frame["open_time"].to_physical().to_numpy().astype(np.int64) * 1_000
    closes = opens + TIMEFRAMES[timeframe]
    due = times.to_physical().to_numpy().astype(np.int64) * 1_000 // SECOND * SECOND
    inside = (due > opens[0]) & (due <= closes[-1]) if len(opens) else np.zeros(len(due), bool)
    column = np.full(len(opens), np.nan)
    rows = np.searchsorted(closes, due[inside])
    column[rows] = 0.0
    np.add.at(column, rows, rates.to_numpy()[inside])
    return frame.with_columns(pl.Series("funding", column).fill_nan(None)), int(inside.sum())
