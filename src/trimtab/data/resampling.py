"""Resampling a frame of stored bars, by the rules of `trimtab.schedule.buckets`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trimtab.data.timeframes import canonical
from trimtab.schedule.buckets import aggregate, buckets
from trimtab.types import TIMEFRAMES

if TYPE_CHECKING:
    import polars as pl


def resample(frame: pl.DataFrame, source: str, target: str, calendar: str = "24/7") -> pl.DataFrame:
    """Bars of a coarser timeframe: open_time, open … volume, and duration, the true length of each bar.

    frame     sorted bars of `source` (aliases welcome); `duration` is read where there is one
    calendar  "24/7", "24/5", or an exchange such as XNYS

    A bar appears only if its end is not after the last source bar's. TrimtabError if target is no multiple of source.
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
    values = aggregate(np.stack(columns, axis=1), fields, found)
    known = opens[-1] + durations[-1] if len(opens) else 0
    kept = found.end <= known
    out = {"open_time": pl.Series(found.start[kept] // 1_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")}
    out |= {f: pl.Series(values[kept, k]).fill_nan(None) for k, f in enumerate(fields)}
    length = (found.end - found.start)[kept] // 1_000
    return pl.DataFrame(out | {"duration": pl.Series(length).cast(pl.Duration("us"))})
