"""What is a decision although it looks like none, through the API: a flip inside the buffer, a reduction unfilled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import trimtab as tt
from trimtab.rules.orders import draw
from trimtab.types import BAR_FIELDS, HOUR

#: Long a tenth of the equity while the close is above 100, short as much below.
SIDES = """
from typing import NamedTuple
from numba import njit
from trimtab.types import Strategy

class Params(NamedTuple):
    size: float = 0.1

class State(NamedTuple):
    rows: int

@njit(cache=True)
def init(p):
    return State(0)

@njit(cache=True)
def step(p, s, x):
    return State(s.rows + 1), p.size if x[0, 0] > 100.0 else -p.size

STRATEGY = Strategy(
    name="sides", fields=("close",), params=Params(), ranges={"size": (0.0, 1.0)},
    init=init, step=step, warmup=lambda p: 0,
)
"""


def panel_of(*closes: float) -> tt.Panel:
    """Hourly bars that stand still at their close; a lot is one unit."""
    values = np.repeat(np.array(closes)[:, None, None], len(BAR_FIELDS), axis=2)
    values[:, :, 4], values[:, :, 5] = 1e9, HOUR
    ts = 1_704_067_200 * 10**9 + HOUR * np.arange(1, len(closes) + 1, dtype=np.int64)
    return tt.Panel(ts, (tt.Instrument(symbol="X", lot_size=1.0),), BAR_FIELDS, values, "1h")


def test_a_flip_trades_however_wide_the_buffer(tmp_path: Path) -> None:
    file = tmp_path / "sides.py"
    file.write_text(SIDES)
    panel = panel_of(101.0, 101.0, 104.0, 102.0, 99.0, 98.0, 97.0, 97.0)
    run = tt.backtest(
        str(file), panel, costs=tt.Costs(), capital=10_000.0, rebalance=tt.Rebalance(when="always", buffer=0.5)
    )
    # From a tenth long to a tenth short is a fifth of the equity, inside the buffer; the drift before and after is too.
    assert run.orders["lots"].to_list() == [9, -19]
    assert run.fills["price"].to_list() == [101.0, 98.0, 98.0]  # out of the one side, into the other


def test_a_derisked_book_asks_again_for_a_reduction_that_was_rejected() -> None:
    seed = next(s for s in range(100) if draw(s, 1) >= 0.5 > draw(s, 2) and draw(s, 3) >= 0.5)
    panel = panel_of(100.0, 100.0, 88.0, 88.0, 88.0, 88.0, 88.0)
    weights = np.full(len(panel.ts), np.nan)
    weights[0] = 1.0
    run = tt.simulate(
        panel,
        weights,
        costs=tt.Costs(reject=0.5),
        limits=tt.Limits(drawdown_derisk=0.1, derisk_factor=0.5),
        capital=1_000.0,
        seed=seed,
    )
    # The fall of 12% is seen in row 2; what is sent there is rejected in row 3, sent again there and filled in row 4.
    assert run.orders.select("lots", "status").rows() == [(10, "FILLED"), (-5, "REJECTED"), (-5, "FILLED")]
    assert run.orders["ts"].dt.epoch("ns").to_list() == panel.ts[[0, 2, 3]].tolist()
    assert run.fills["position"].to_list() == [10, 5]
