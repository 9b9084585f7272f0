"""Ticks that are made, an instrument to put them in, and a store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.catalogue import default_instrument
from trimtab.data.store import Store, open_store
from trimtab.types import Instrument

MakeTrades = Callable[..., pl.DataFrame]
BEGIN = dt.datetime(2024, 3, 4, tzinfo=dt.UTC)  # a Monday


def make_trades(n: int, days: float = 3.0, seed: int = 0, begin: dt.datetime = BEGIN) -> pl.DataFrame:
    """n trades over some days, some of them at the same millisecond, with decimal prices and quantities."""
    rng = np.random.default_rng(seed)
    ms = np.sort(rng.integers(0, int(days * 86_400_000), n))
    return pl.DataFrame(
        {
            "ts": pl.Series(int(begin.timestamp() * 1e6) + ms * 1_000).cast(pl.Datetime("us", "UTC")),
            "price": np.round(100.0 + np.cumsum(rng.normal(0, 0.02, n)), 2),
            "qty": np.round(rng.exponential(1.0, n) + 0.001, 3),
            "is_buyer_maker": rng.random(n) < 0.5,
            "trade_id": 1_000 + np.arange(n),
        }
    )


@pytest.fixture(scope="session")
def trades() -> MakeTrades:
    return make_trades


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture(scope="session")
def coin() -> Instrument:
    return default_instrument("BTCUSDT", "crypto", "binance")


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """A frame as a Parquet file."""

    def save(frame: pl.DataFrame, name: str = "ticks") -> Path:
        path = tmp_path / f"{name}.parquet"
        frame.write_parquet(path)
        return path

    return save
