"""Rows of a page as a frame, once each of its cells is what it should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trimtab.data.sources import TryAgain

if TYPE_CHECKING:
    import polars as pl

_PRICES = ("open", "high", "low", "close")


def bars_of(source: str, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """(us UTC, open, high, low, close, volume) of each bar; only the volume may be unknown."""
    return rows_of(source, "open_time", rows, (*_PRICES, "volume"), free=("volume",))


def rows_of(
    source: str, time: str, rows: Sequence[Sequence[Any]], names: Sequence[str], free: Sequence[str] = ()
) -> pl.DataFrame:
    """A frame of an instant (us UTC) and numbers; TryAgain where a row is another, or a cell no number.

    free  columns whose cells may be empty
    """
    import polars as pl

    for n, row in enumerate(rows):
        good = len(row) == len(names) + 1 and isinstance(row[0], int) and not isinstance(row[0], bool)
        if not good or not all(_is_number(v) or (v is None and c in free) for c, v in zip(names, row[1:], strict=True)):
            raise TryAgain(
                f"{source} gave a page whose row {n} is {str(list(row))[:120]}, expected an instant and numbers"
            )
    columns = {time: [row[0] for row in rows]} | {c: [row[k + 1] for row in rows] for k, c in enumerate(names)}
    frame = pl.DataFrame(columns, schema={time: pl.Int64, **dict.fromkeys(names, pl.Float64)}, strict=False)
    return frame.with_columns(pl.col(time).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
