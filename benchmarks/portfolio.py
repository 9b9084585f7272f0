"""What sizing and regimes take of a run: the same book with and without, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

import trimtab as tt
from benchmarks.figures import Figure, one_core, sample_of, timed
from benchmarks.markets import panel_of
from trimtab.types import RegimeUse, SizerUse

ROWS, INSTRUMENTS, RUNS = 10_000, 50, 15
TARGET: Final = 20.0


def figures() -> Iterator[Figure]:
    """Percent of the whole run that each takes; runs alternate, so that what else the machine does meets both."""
    panel = panel_of(ROWS, INSTRUMENTS, timeframe="1h")
    model = tt.Model(strategy="sma_cross", params={"fast": 50, "slow": 200})
    plain = tt.Spec(
        models=(model,),
        universe=panel.symbols,
        timeframe="1h",
        costs=tt.Costs(taker_fee=1e-6),
        rebalance=tt.Rebalance(buffer=0.01),
    )
    seen = msgspec.structs.replace(model, regime_budgets={"equity": {"bear": 0.5}})
    specs = {
        "sizing volatility target": msgspec.structs.replace(plain, sizer=SizerUse(name="volatility_target")),
        "regimes one classifier and its budgets": msgspec.structs.replace(
            plain, models=(seen,), regimes=(RegimeUse(regime="equity", reads="X0"),)
        ),
    }
    for name, spec in specs.items():
        shares: list[float] = []
        with one_core():
            for k in range(RUNS + 1):
                bare = timed(lambda: tt.backtest(plain, panel).metrics, 1, warm=0).median
                full = timed(lambda spec=spec: tt.backtest(spec, panel).metrics, 1, warm=0).median
                if k:
                    shares.append(100.0 * (1.0 - bare / full))
        yield Figure(
            name=f"portfolio.{name}",
            sample=sample_of(shares),
            unit="% of a run",
            target=TARGET,
            note=f"{INSTRUMENTS} instruments x {ROWS:,} hours, a cross of averages, drift watched at every bar in both",
        )
