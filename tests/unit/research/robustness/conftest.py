"""Panels of one instrument from a path of closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import trimtab as tt

START = np.datetime64("2020-01-01T00:00:00", "us")


@pytest.fixture(scope="session")
def panel_of() -> Callable[..., tt.Panel]:
    """Bars along closes: each opens at the close before it, and reaches `width` beyond both."""

    def panel(close: Any, timeframe: str = "1d", volume: float = 1e6, width: float = 0.001, **more: Any) -> tt.Panel:
        close = np.asarray(close, np.float64)
        opened = np.concatenate((close[:1], close[:-1]))
        step = np.timedelta64(1, {"1d": "D", "1h": "h"}[timeframe])
        frame = pl.DataFrame(
            {
                "open_time": START + np.arange(len(close)) * step,
                "open": opened,
                "high": np.maximum(opened, close) * (1.0 + width),
                "low": np.minimum(opened, close) * (1.0 - width),
                "close": close,
                "volume": np.full(len(close), volume),
            }
        )
        return tt.Panel.from_frames({"S": frame}, timeframe, [tt.Instrument(symbol="S", **more)])

    return panel


@pytest.fixture(scope="session")
def walk(panel_of: Callable[..., tt.Panel]) -> tt.Panel:
    """Three years of a walk with a drift."""
    return panel_of(100.0 * np.exp(np.cumsum(np.random.default_rng(0).normal(0.001, 0.02, 1096))))
