"""Resampling a frame of stored bars, by the rules of `trimtab.schedule.buckets`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trimtab.data.timeframes import canonical
from trimtab.schedule.buckets import Buckets, aggregate, buckets
from trimtab.types import F64, TIMEFRAMES

if TYPE_CHECKING:
    import polars as pl


def resample(frame: pl.DataFrame, source: str, target: str, calendar: str = "24/7") -> pl.DataFrame:
    """Bars of a coarser timeframe: open_time, open … volume, and duration, the true length of each bar.

    frame     sorted bars of `source` (aliases welcome); `duration` is read where there is one
    calendar  "24/7", "24/5", or an exchange such as XNYS

    A bar appears only if its end is not after the last source bar's. Of columns split and dividend a bar has all that
    is in it. TrimtabError if target is no multiple of source.
    """
    import polars as pl

    source, target = canonical(source), canonical(target)
    opens = frame["open_time"].to_physical().to_numpy().astype(np.int64) * 1_000
    durations = np.full(len(opens), TIMEFRAMES[source], dtype=np.int64)
    if "duration" in frame.columns:
        durations = frame["duration"].dt.total_nanoseconds().to_numpy().astype(np.int64)
    found = buckets(opens, durations, source, target, calendar)
    fields = tuple(c for c in frame.columns if c not in ("open_time", "duration"))
    columns = [frame[c].cast(pl.Float64).to_numpy() for c in fields]
    finer = np.stack(columns, axis=1)
    values = aggregate(finer, fields, found)
    if len(values) and ("split" in fields or "dividend" in fields):
        _in_new_shares(finer, fields, found, values)
    known = opens[-1] + durations[-1] if len(opens) else 0
    kept = found.end <= known
    out = {"open_time": pl.Series(found.start[kept] // 1_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")}
    out |= {f: pl.Series(values[kept, k]).fill_nan(None) for k, f in enumerate(fields)}
    length = (found.end - found.start)[kept] // 1_000
    return pl.DataFrame(out | {"duration": pl.Series(length).cast(pl.Duration("us"))})


def _in_new_shares(x: F64, fields: tuple[str, ...], found: Buckets, out: F64) -> None:
    """Splits and dividends of coarser bars; where a share splits inside one, all of it is told in shares of its end.

    The split of a bar is the product of those in it, NaN where there is none; its dividend the sum of those in it, per
    share that was held when it began.
    """
    begun = found.first[0]  # what comes before it is of a bar that is left out
    rows, first, last = x[found.rows[begun:]], found.first - begun, found.last - begun
    none = np.full(len(rows), np.nan)
    split, dividend = (rows[:, fields.index(f)] if f in fields else none for f in ("split", "dividend"))
    sizes = np.diff(np.append(first, len(rows)))
    shares = np.cumprod(np.where(np.isnan(split), 1.0, split))  # that one of before the first bar has become
    before = np.concatenate((np.ones(1), shares))[:-1]
    began, ended = np.repeat(before[first], sizes), np.repeat(shares[last], sizes)
    for field, fold in (("high", np.maximum), ("low", np.minimum), ("open", None), ("volume", np.add)):
        if field not in fields:
            continue
        k = fields.index(field)
        told = rows[:, k] * (ended / shares if field == "volume" else shares / ended)
        out[:, k] = told[first] if fold is None else fold.reduceat(told, first)
    if "split" in fields:
        there = np.add.reduceat((~np.isnan(split)).astype(np.int64), first) > 0
        out[:, fields.index("split")] = np.where(there, shares[last] / before[first], np.nan)
    if "dividend" in fields:
        there = np.add.reduceat((~np.isnan(dividend)).astype(np.int64), first) > 0
        paid = np.add.reduceat(np.nan_to_num(dividend) * (before / began), first)
        out[:, fields.index("dividend")] = np.where(there, paid, np.nan)
