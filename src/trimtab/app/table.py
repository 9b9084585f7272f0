"""The rows of a sweep: sorted, shown, written. The frame is Polars'; it is imported by whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.types import TrimtabError
from trimtab.words import near

if TYPE_CHECKING:
    import polars as pl

_FORMATS = (".parquet", ".csv")


def check_path(path: Path) -> None:
    """TrimtabError, before the work is done, if a table cannot be written there."""
    if path.suffix.lower() not in _FORMATS:
        raise TrimtabError(f"--out {path}: expected a file name that ends in {' or '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise TrimtabError(f"--out {path}: there is no folder {path.parent}; make it first")


def sorted_by(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Best first, undefined last. Of figures in which smaller is better, the smallest is first."""
    from trimtab.research.metrics_table import METRICS

    if column not in frame.columns:
        raise TrimtabError(
            f"--sort {column}: the sweep has no such column{near(column, frame.columns)}; "
            f"expected one of: {', '.join(frame.columns)}"
        )
    metric = METRICS.get(column)
    smaller_first = metric is not None and metric.bands is not None and metric.bands[0] > metric.bands[1]
    blank = frame.with_columns(frame[column].fill_nan(None)) if frame[column].dtype.is_float() else frame
    return blank.sort(column, descending=not smaller_first, nulls_last=True, maintain_order=True)


def rows(frame: pl.DataFrame, count: int) -> list[dict[str, Any]]:
    """The first rows as dicts."""
    return frame.head(count).to_dicts()


def write(frame: pl.DataFrame, path: Path) -> None:
    """The whole table, as the file's name says."""
    if path.suffix.lower() == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
