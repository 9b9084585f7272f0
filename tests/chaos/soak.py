"""A process that trades 100 instruments at 1m as fast as it can and measures itself: `python soak.py ROWS FOLDER`.

Prints JSON: by row the latency of its decision (s), resident memory (bytes) and tasks of the loop; and what is left.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.app import onlooker
from trimtab.app.paper import Options, replayed, trade
from trimtab.engine.shell import Habits
from trimtab.types import BAR_FIELDS, MINUTE, Costs, Instrument, Limits, Model, Panel, Spec

COUNT = 100


def panel_of(rows: int) -> Panel:
    """Random walks with gaps: one bar in fifty is missing."""
    draw = np.random.default_rng(7)
    close = 100.0 * np.exp(np.cumsum(draw.normal(0.0, 0.002, (rows, COUNT)), axis=0))
    before = np.vstack([np.full((1, COUNT), 100.0), close[:-1]])
    wide = 1.0 + np.abs(draw.normal(0.0, 0.0005, (rows, COUNT)))
    high, low = np.maximum(close, before) * wide, np.minimum(close, before) / wide
    volume, duration = draw.uniform(1e5, 2e5, (rows, COUNT)), np.full((rows, COUNT), 60.0 * 1e9)
    known = {"open": before, "high": high, "low": low, "close": close, "volume": volume, "duration": duration}
    values = np.stack([known[name] for name in BAR_FIELDS], axis=2)
    values[draw.random((rows, COUNT)) < 0.02] = np.nan
    ts = 1_704_067_200_000_000_000 + MINUTE * np.arange(1, rows + 1)
    instruments = tuple(Instrument(symbol=f"S{n:02}") for n in range(COUNT))
    return Panel(ts, instruments, BAR_FIELDS, values, "1m")


def main(rows: int, folder: Path) -> None:
    panel = panel_of(rows)
    quote = panel.instruments[0].quote
    spec = Spec(
        name="Soak", universe=panel.symbols, base_currency=quote, timeframe="1m", capital=1e7,
        models=(
            Model(strategy="sma_cross", params={"fast": 20, "slow": 60}, budget=0.4, name="fast"),
            Model(strategy="sma_cross", params={"fast": 30, "slow": 90}, budget=0.3, name="slow"),
            Model(strategy="momentum", params={"lookback": 60}, budget=0.3),
        ),
        costs=Costs(taker_fee=0.0005), limits=Limits(max_weight=0.05, stop_loss=0.02),
    )  # fmt: skip
    seen: list[tuple[float, int, int]] = []
    page = os.sysconf("SC_PAGE_SIZE")
    decided = onlooker.Onlooker.decided

    def noted(self: Any, state: Any, row: int, latency: float) -> None:
        decided(self, state, row, latency)
        with open("/proc/self/statm", encoding="ascii") as file:
            seen.append((latency, int(file.read().split()[1]) * page, len(asyncio.all_tasks())))

    onlooker.Onlooker.decided = noted  # type: ignore[method-assign]
    outcome = trade(replayed(spec, panel, 0.0), folder, Options(habits=Habits(snapshot_every=100)))
    latency, memory, tasks = zip(*seen, strict=True)
    left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    told = {"rows": outcome.rows, "orders": outcome.orders, "differs": outcome.differs, "alerts": outcome.alerts}
    sys.stdout.write(json.dumps({**told, "latency": latency, "memory": memory, "tasks": tasks, "threads": left}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
