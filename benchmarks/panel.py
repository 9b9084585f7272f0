"""A panel out of the store: many instruments, with a slower series joined as it was known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

import trimtab as tt
from benchmarks.figures import Figure, timed
from benchmarks.markets import panel_of
from trimtab.data.resampling import resample
from trimtab.data.store import open_store, write_bars
from trimtab.types import BAR_FIELDS, Instrument

INSTRUMENTS: Final = 50
ROWS: Final = 100_000
RUNS: Final = 5


def figures() -> Iterator[Figure]:
    """50 instruments x 100,000 hours, with the daily close that was known at each."""
    with tempfile.TemporaryDirectory() as root:
        symbols = _stored(Path(root))
        sample = timed(lambda: tt.load(*symbols, timeframe="1h", root=root, features=("close@1d",)), RUNS)
    note = "from Parquet files that the system has in memory"
    name = f"panel.load {INSTRUMENTS} instruments x {ROWS:,} rows with a daily as-of join"
    yield Figure(name=name, sample=sample, unit="s", target=1.0, note=note)


def _stored(root: Path) -> list[str]:
    panel = panel_of(ROWS, INSTRUMENTS, timeframe="1h")
    store = open_store(root)
    opens = (panel.ts - 3_600_000_000_000) // 1_000
    for n, symbol in enumerate(panel.symbols):
        columns = {name: panel.values[:, n, k] for k, name in enumerate(BAR_FIELDS[:5])}
        frame = pl.DataFrame({"open_time": opens, **columns}).with_columns(
            pl.col("open_time").cast(pl.Datetime("us", "UTC"))
        )
        instrument = Instrument(symbol=symbol)
        write_bars(store, instrument, "1h", frame)
        write_bars(store, instrument, "1d", resample(frame, "1h", "1d", instrument.calendar).drop("duration"))
    return list(panel.symbols)
