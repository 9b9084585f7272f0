"""Bars that are made, and a store to put them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.store import Store, open_store
from trimtab.types import TIMEFRAMES

MakeBars = Callable[..., pl.DataFrame]


def make_bars(n: int, timeframe: str = "1h", start: str = "2021-01-04T00:00", seed: int = 0) -> pl.DataFrame:
    """n bars without a gap, walking at random from 100."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n))), 2)
    opened = np.concatenate(([100.0], close[:-1]))[:n]
    first = int(np.datetime64(start, "us").astype(np.int64))
    return pl.DataFrame(
        {
            "open_time": pl.Series(first + np.arange(n) * (TIMEFRAMES[timeframe] // 1_000))
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC"),
            "open": opened,
            "high": np.maximum(opened, close) + 0.01,
            "low": np.minimum(opened, close) - 0.01,
            "close": close,
            "volume": np.round(rng.random(n) * 10, 3),
        }
    )


@pytest.fixture(scope="session")
def bars() -> MakeBars:
    return make_bars


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")
