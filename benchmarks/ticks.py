"""Ticks: 10 M trades into the store, as Binance's CSV and as Parquet, and bars out of them."""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.figures import Figure, sample_of, timed
from trimtab.data.catalogue import default_instrument
from trimtab.data.store import Store, open_store
from trimtab.data.ticks.bars import threshold_bars, time_bars
from trimtab.data.ticks.importing import import_ticks

TRADES, DAYS = 10_000_000, 10
COIN = default_instrument("BTCUSDT", "crypto", "binance")


def figures() -> Iterator[Figure]:
    """Import, the same import again, bars of a minute and of a volume; all cores."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        note = f"{TRADES:,} trades of {DAYS} days, checked, flushed to the disk"
        path, store = root, open_store(root)
        for path, name in _files(root):
            spent: list[float] = []
            for k in range(3):
                store = open_store(root / f"{path.stem}-{path.suffix[1:]}-{k}")
                start = time.perf_counter()
                _imported(store, path, TRADES)
                spent.append(time.perf_counter() - start)
            yield Figure(name=f"ticks: import {name}", sample=sample_of(spent), unit="s", target=10.0, note=note)
        again = timed(lambda: _imported(store, path, 0), 2, warm=0)
        yield Figure(name="ticks: the same Parquet again", sample=again, unit="s", note="nothing is written")
        bars = timed(lambda: time_bars(store, COIN, "1m"), 5)
        note = f"{len(time_bars(store, COIN, '1m').frame):,} bars"
        yield Figure(name="ticks: 1m bars of the stored trades", sample=bars, unit="s", target=0.5, note=note)
        bars = timed(lambda: threshold_bars(store, COIN, "volume", 100.0), 3)
        note = f"{len(threshold_bars(store, COIN, 'volume', 100.0).frame):,} bars"
        yield Figure(name="ticks: volume bars of the stored trades", sample=bars, unit="s", note=note)


def _imported(store: Store, path: Path, new: int) -> None:
    done = import_ticks(store, path, COIN)
    if done.new != new or done.refused:
        raise RuntimeError(f"{done.new:,} of {new:,} new trades, refused: {done.refused}")


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """The same made-up trades as a dump of Binance's and as Parquet."""
    rng = np.random.default_rng(0)
    begin = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp() * 1e3)
    price = np.round(40_000 + np.cumsum(rng.normal(0, 0.5, TRADES)), 2)
    qty = np.round(rng.exponential(0.05, TRADES) + 1e-5, 5)
    dump = pl.DataFrame(
        {
            "id": np.arange(1, TRADES + 1),
            "price": price,
            "qty": qty,
            "quote_qty": np.round(price * qty, 8),
            "time": begin + np.sort(rng.integers(0, DAYS * 86_400_000, TRADES)),
            "is_buyer_maker": rng.random(TRADES) < 0.5,
            "is_best_match": True,
        }
    )
    dump.write_csv(root / "BTCUSDT-trades-2024-01.csv", include_header=False)
    ts = pl.col("time").cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").dt.cast_time_unit("us").alias("ts")
    own = dump.select(ts, "price", "qty", "is_buyer_maker", trade_id="id")
    own.write_parquet(root / "trades.parquet")
    del dump, own
    yield root / "BTCUSDT-trades-2024-01.csv", "CSV"
    yield root / "trades.parquet", "Parquet"
