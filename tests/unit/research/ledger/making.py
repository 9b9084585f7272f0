"""What the tests of the ledger share: a panel that strategies trade on, and batches of trials made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

import trimtab as tt
from trimtab.research.inference.moments import moments_of_rows
from trimtab.research.ledger.file import Batch, Cells, Recorded, append
from trimtab.research.ledger.identity import Hypothesis, Identity
from trimtab.types import DAY, F64, I64

GRID = {"fast": [5, 10], "slow": [30, 40]}
FREE = tt.Costs()


def panel_of(days: int = 100, seed: int = 0, symbol: str = "X", timeframe: str = "1d") -> tt.Panel:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, days)))
    opened = np.concatenate(([100.0], close[:-1]))
    begin, step = np.datetime64("2024-01-01T00:00:00", "us"), np.timedelta64(24 if timeframe == "1d" else 1, "h")
    frame = pl.DataFrame(
        {
            "open_time": begin + np.arange(days) * step,
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": np.full(days, 1e6),
        }
    )
    return tt.Panel.from_frames({symbol: frame}, timeframe, [tt.Instrument(symbol=symbol)])


def days_of(count: int, first: int = 0) -> I64:
    return (np.arange(count) + 1 + first) * DAY


def batch_of(
    returns: F64, k: int = 0, *, ts: I64 | None = None, strategy: str = "idea", universe: Sequence[str] = ("X",)
) -> Batch:
    """Trials k, k + 1, … of a hypothesis, with these daily returns (S, D)."""
    given = np.atleast_2d(returns).astype(np.float32)
    ts = days_of(given.shape[1]) if ts is None else ts
    hypothesis = Hypothesis((strategy,), tuple(universe), "1d")
    identity = Identity(hypothesis, f"{strategy} on {','.join(universe)}", f"{int(ts[0])}", ("0.k",))
    params = np.arange(k, k + len(given), dtype=np.float64)[:, None]
    cells = Cells(identity.keys(params.tolist()), params, moments_of_rows(given, 0.0, 1), given, ts)
    return Batch(identity, cells, (int(ts[0]), int(ts[-1])), 0.0, 365.0, "test")


def noise(sets: int, days: int, seed: int = 0) -> F64:
    return np.random.default_rng(seed).normal(0.0, 0.01, (sets, days))


def recorded(folder: Path, *batches: Batch) -> list[Recorded]:
    return [append(folder, batch, 1_000 + n) for n, batch in enumerate(batches)]
