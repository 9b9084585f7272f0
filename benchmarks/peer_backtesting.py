"""Runs in the environment of backtesting.py: `peer_backtesting.py BARS.npz simulate`, answers as one line of JSON."""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd  # pyright: ignore[reportMissingImports]
from backtesting import Backtest, Strategy  # pyright: ignore[reportMissingImports]

SCALE = 1e-6  # it trades whole units only: of a unit so small that rounding does not show


def simulate(bars: Any) -> dict[str, Any]:
    """One run: it takes seconds. Orders of a close are filled at the next open; what is open at the end stays open."""
    frame = pd.DataFrame(
        {
            "Open": bars["open"] * SCALE,
            "High": np.maximum(bars["high"], bars["open"]) * SCALE,
            "Low": bars["low"] * SCALE,
            "Close": bars["close"] * SCALE,
            "Volume": bars["volume"],
        },
        index=pd.to_datetime(bars["ts"]),
    )
    signal = np.where(bars["long"], 1.0, 0.0)  # without NaN: it skips one bar more than an indicator has NaN

    class Cross(Strategy):
        def init(self) -> None:
            self.signal = self.I(lambda: signal, name="signal", plot=False)

        def next(self) -> None:
            now = self.signal[-1]
            if now > 0.5 and not self.position:
                self.buy()
            elif now < 0.5 and self.position:
                self.position.close()

    start = time.perf_counter()
    done = Backtest(frame, Cross, cash=float(bars["capital"]), commission=float(bars["fee"])).run()
    spent = time.perf_counter() - start
    return {
        "way": "run",
        "seconds": [spent],
        "trades": [int(done["# Trades"])],
        "equity": [float(done["Equity Final [$]"])],
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # it warns of a position that is open at the end
    print(json.dumps([simulate(dict(np.load(sys.argv[1])))]))
