"""Few frozen runs over real daily sessions. Another number here is another rule: say why in the commit."""

from __future__ import annotations

import numpy as np
import pytest

import trimtab as tt
from trimtab.types import BAR_FIELDS, DAY

COSTS = tt.Costs(0.0005, 0.001, 0.0002, 0.02, 0.0001, 0.1, 0.5, 20.0, 0.05, 0.0)
LIMITS = tt.Limits(gross_leverage=0.9, max_weight=0.7, drawdown_derisk=0.08, stop_loss=0.05, take_profit=0.2)


@pytest.fixture(scope="module")
def panel() -> tt.Panel:
    """S&P 500 and Nasdaq, 1999 to 2018, as shipped with the arch package; opens at 14:30 UTC."""
    frames = [pytest.importorskip(f"arch.data.{name}").load() for name in ("sp500", "nasdaq")]
    ts = frames[0].index.to_numpy().astype("datetime64[ns]").astype(np.int64) + 21 * DAY // 24
    values = np.empty((len(ts), 2, len(BAR_FIELDS)))
    for i, frame in enumerate(frames):
        values[:, i, :5] = frame[["Open", "High", "Low", "Close", "Volume"]].to_numpy(np.float64)
        values[:, i, 5] = 6.5 * DAY / 24
    return tt.Panel(ts, tuple(tt.Instrument(symbol=s, lot_size=0.01) for s in ("SPX", "NDX")), BAR_FIELDS, values, "1d")


CASES = {
    "buy_and_hold": (tt.Costs(), tt.Limits(), {}),
    "sma_cross": (COSTS, LIMITS, {"fast": 20, "slow": 100}),
    "momentum": (COSTS, tt.Limits(trailing_stop=0.08), {}),
}
#: Orders, fills, actions, final equity, costs paid.
EXPECTED = {
    "buy_and_hold": (2, 2, 0, 2523187.3816852598, 0.0),
    "sma_cross": (235, 143, 121, 998485.7203459266, 62287.84911368662),
    "momentum": (307, 305, 31, 1210220.7720363424, 226880.33012200965),
}


@pytest.mark.parametrize("name", list(CASES))
def test_frozen(panel: tt.Panel, name: str) -> None:
    costs, limits, params = CASES[name]
    run = tt.backtest(name, panel, params=params, costs=costs, limits=limits, capital=1e6)
    r = run.result
    orders, fills, actions, equity, paid = EXPECTED[name]
    assert (len(r.orders), len(r.fills), len(r.actions)) == (orders, fills, actions)
    assert run.bar_equity[-1] == pytest.approx(equity, rel=1e-9)
    assert r.book.charges.sum() == pytest.approx(paid, rel=1e-9, abs=1e-9)
