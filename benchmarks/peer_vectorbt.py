"""Runs in vectorbt's environment: `peer_vectorbt.py BARS.npz simulate|sweep`, answers as one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd  # pyright: ignore[reportMissingImports]
import vectorbt as vbt  # pyright: ignore[reportMissingImports]

ENGINES = ("numba", "rust")
CHUNK = 10  # sets at a time: with more of them its time per set grows


def portfolio(bars: Any, entries: Any, exits: Any, engine: str) -> Any:
    """Signals of a close are filled at the next open, for all cash."""
    late = [np.concatenate([np.zeros_like(signal[:1]), signal[:-1]]) for signal in (entries, exits)]
    price = bars["open"] if entries.ndim == 1 else bars["open"][:, None]
    close = pd.Series(bars["close"]) if entries.ndim == 1 else bars["close"][:, None]
    return vbt.Portfolio.from_signals(
        close, *late, price=price, fees=float(bars["fee"]), init_cash=float(bars["capital"]), freq="1min", engine=engine
    )


def simulate(bars: Any, engine: str, runs: int = 5) -> dict[str, Any]:
    seconds = []
    pf = portfolio(bars, bars["long"], bars["flat"], engine)
    for _ in range(runs):
        start = time.perf_counter()
        pf = portfolio(bars, bars["long"], bars["flat"], engine)
        seconds.append(time.perf_counter() - start)
    return answer(engine, seconds, [int(pf.trades.closed.count())], [float(pf.final_value())])


def sweep(bars: Any, engine: str) -> dict[str, Any]:
    """Every set with total return, daily Sharpe, max drawdown and trades, in one process, as it runs by itself.

    Its own Sharpe ratio is of every bar and takes as long as all the rest; the daily one is taken from its equity.
    """
    pairs = [(f, s) for f in bars["fast"] for s in bars["slow"]]
    warm = one_chunk(bars, pairs[:2], engine, means_of(bars, engine))
    _ = warm.total_return(), daily_sharpe(warm, bars), warm.max_drawdown(), warm.trades.closed.count()
    trades: list[int] = []
    equity: list[float] = []
    start = time.perf_counter()
    means = means_of(bars, engine)
    for k in range(0, len(pairs), CHUNK):
        pf = one_chunk(bars, pairs[k : k + CHUNK], engine, means)
        _ = pf.total_return(), daily_sharpe(pf, bars), pf.max_drawdown()
        trades += [int(v) for v in pf.trades.closed.count()]
        equity += [float(v) for v in pf.final_value()]
    return answer(engine, [time.perf_counter() - start], trades, equity)


def daily_sharpe(pf: Any, bars: Any) -> Any:
    days = np.flatnonzero(np.diff((bars["ts"] - 1) // 86_400_000_000_000, append=-1))
    equity = pf.value().to_numpy()[days]
    returns = equity[1:] / equity[:-1] - 1.0
    return returns.mean(axis=0) / returns.std(axis=0, ddof=1) * np.sqrt(365.0)


def means_of(bars: Any, engine: str) -> dict[int, Any]:
    """(T,) moving average per window length."""
    windows = sorted({int(w) for w in (*bars["fast"], *bars["slow"])})
    vbt.settings["engine"] = engine  # where a call has no argument for it
    found = vbt.MA.run(bars["close"], window=windows)
    return dict(zip(windows, found.ma.to_numpy().T, strict=True))


def one_chunk(bars: Any, pairs: Any, engine: str, means: dict[int, Any]) -> Any:
    fast = np.stack([means[int(f)] for f, _ in pairs], axis=1)
    slow = np.stack([means[int(s)] for _, s in pairs], axis=1)
    return portfolio(bars, fast > slow, fast < slow, engine)


def answer(way: str, seconds: Any, trades: Any, equity: Any) -> dict[str, Any]:
    return {"way": f"{way} engine", "seconds": seconds, "trades": trades, "equity": equity}


if __name__ == "__main__":
    loaded = dict(np.load(sys.argv[1]))
    run = {"simulate": simulate, "sweep": sweep}[sys.argv[2]]
    print(json.dumps([run(loaded, engine) for engine in ENGINES]))
