"""Stored ticks looked through from the first day to the last, so that what lies between two days is seen too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from trimtab.data.store import Store
from trimtab.data.ticks.checks import TickReport, check, merged
from trimtab.data.ticks.days import days, read_day
from trimtab.data.ticks.kinds import DEPTH, Kind
from trimtab.types import Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl


def validate_ticks(
    store: Store,
    instrument: Instrument,
    kind: Kind,
    *,
    limit: int = 20,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> TickReport:
    """Everything wrong with the stored ticks of a kind; rows are counted from 0 in each day.

    limit  findings listed of each fault and day; the counts are complete
    """
    import polars as pl

    there = days(store, instrument, kind)
    before: pl.DataFrame | None = None
    reports: list[TickReport] = []
    for n, day in enumerate(there):
        tell(f"validating {instrument.symbol} {kind.name} {day}", n, len(there))
        frame = read_day(store, instrument, kind, day)
        missing = [name for name in kind.columns if name not in frame.columns]
        if missing:
            raise TrimtabError(f"{instrument.symbol} {kind.name} of {day}: no column {missing[0]} in the stored file")
        rows = frame.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), *kind.columns)
        seen = rows if before is None else pl.concat([before, rows])
        reports.append(msgspec.structs.replace(check(seen, kind, limit=limit), rows=len(rows)))
        last = rows.filter(~pl.col("is_snapshot")) if kind is DEPTH else rows
        if len(last):
            before = last.tail(1).with_columns(row=pl.lit(-1, pl.Int64))
    return merged(reports)
