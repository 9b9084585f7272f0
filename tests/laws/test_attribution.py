"""Every view of the profit adds up to it, whatever moved the money: two currencies, margin, carry, cash in and out."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trimtab as tt
from trimtab.research.run import Fold, Run
from trimtab.rules.limits import LIQUIDATE
from trimtab.sim.simulate import simulate
from trimtab.types import BAR_FIELDS, COST_KINDS, DAY, HOUR


def run_of(w: Any) -> Run:
    """A world of random weights as a run: two regimes that change on the way are read from its own prices."""
    n = len(w.panel.instruments)
    spec = tt.Spec(
        models=tuple(tt.Model(strategy=f"m{m}", budget=1.0 / w.setup.models) for m in range(w.setup.models)),
        universe=w.panel.symbols,
        timeframe="1h",
        base_currency="USD",
        regimes=(
            tt.RegimeUse(regime="equity", timeframe="1h", reads="I0", params={"average": 5, "slope": 2, "band": 0.0}),
            tt.RegimeUse(regime="crypto", timeframe="1h", reads=f"I{n - 1}", params={"average": 5, "slope": 2}),
        ),
        limits=w.setup.limits,
    )
    result = simulate(w.market, w.weights, w.setup)
    return Run(spec, w.panel, (tt.Costs(),) * n, Fold(w.market, w.weights, w.setup, result, result))


@given(st.data())
@settings(max_examples=100)
def test_every_view_adds_up_in_any_world(full_worlds: Any, data: st.DataObject) -> None:
    """To 1e-9 of capital, and 1e-12 of everything traded, that passed through the ledgers."""
    w = data.draw(full_worlds)
    run = run_of(w)
    head, table, result = run.result.book.head[0], run.attribution, run.result
    unit = result.book.unit[result.fills["instrument"]]
    traded = float(np.abs(result.fills["lots"] * unit * result.fills["price"]).sum())
    tolerance = 1e-9 * (run.capital + float(np.abs(w.setup.flows.amount).sum())) + 1e-12 * traded
    profit = float(head["equity"]) - run.capital - float(head["flows"])
    spent = float(result.cost[-1].sum())
    cash = table.filter(pl.col("by") == "cash")["net"].sum()
    views = table.filter(pl.col("by") != "cash").partition_by("by", as_dict=True)
    assert {"model", "instrument", "asset_class", "side"} <= {by for (by,) in views}
    for (by,), view in views.items():
        assert abs(view["net"].sum() + cash - profit) < tolerance, by
        assert abs(view["costs"].sum() - spent) < tolerance, by
        assert (view["gross"] == view["net"] + view["costs"]).all()
    if "EUR" not in {i.quote for i in w.panel.instruments}:
        assert abs(cash) < tolerance


# --- a book by its spec ----------------------------------------------------------------------------------------------

ROWS = 1_200


def panel_of() -> tt.Panel:
    """Four instruments on a 4h grid in two currencies: shares on margin, a coin, and a perpetual with funding."""
    rng = np.random.default_rng(8)
    ts = 1_704_067_200 * 10**9 + 4 * HOUR * np.arange(1, ROWS + 1, dtype=np.int64)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.012, (ROWS, 4)), axis=0))
    opened = np.vstack([np.full((1, 4), 100.0), close[:-1]])
    values = np.full((ROWS, 4, len(BAR_FIELDS) + 2), np.nan)
    values[:, :, 0], values[:, :, 3] = opened, close
    values[:, :, 1], values[:, :, 2] = np.maximum(opened, close) * 1.003, np.minimum(opened, close) * 0.997
    values[:, :, 4], values[:, :, 5] = rng.lognormal(14.0, 1.0, (ROWS, 4)), 4.0 * HOUR
    values[1::2, 3, 6] = rng.normal(1e-4, 3e-4, ROWS // 2)
    values[:, 2:, 7] = (1.1 * np.exp(np.cumsum(rng.normal(0.0, 0.003, ROWS))))[:, None]
    values[rng.random((ROWS, 4)) < 0.02, :5] = np.nan
    shares = {"asset_class": "equity", "kind": "equity", "initial_margin": 0.5, "maintenance_margin": 0.25}
    swap = {"kind": "perpetual", "initial_margin": 0.1, "maintenance_margin": 0.05}
    made = (
        tt.Instrument(symbol="A", venue="broker", quote="USD", **shares),
        tt.Instrument(symbol="B", venue="broker", quote="USD", **shares),
        tt.Instrument(symbol="COIN", venue="exchange", quote="EUR"),
        tt.Instrument(symbol="SWAP", venue="exchange", quote="EUR", **swap),
    )
    return tt.Panel(ts, made, (*BAR_FIELDS, "funding", "fx"), values, "4h")


PANEL = panel_of()
BOOK = tt.Spec(
    models=(
        tt.Model(strategy="sma_cross", params={"fast": 4, "slow": 15, "short": True}, budget=0.5),
        tt.Model(strategy="momentum", params={"lookback": 12, "vol_window": 8}, budget=0.3),
        tt.Model(strategy="buy_and_hold", budget=0.2, universe=("SWAP",)),
    ),
    universe=PANEL.symbols,
    timeframe="4h",
    capital={"broker/USD": 20_000.0, "exchange/EUR": 70_000.0},
    cash_flows=(
        tt.CashFlow(at="2024-02-01", amount=15_000.0, wallet="USD"),
        tt.CashFlow(at="2024-04-02T08:00:00Z", amount=-9_000.0, wallet="EUR"),
        tt.CashFlow(at="2024-05-20", amount=4_000.0, wallet="EUR"),
    ),
    costs=tt.Costs(0.0005, 0.001, 0.0005, 0.02, 0.0002, 0.1, borrow=0.05, margin_interest=0.08, liquidation=0.01),
    regimes=(
        tt.RegimeUse(regime="equity", reads="A", params={"average": 20, "slope": 4, "band": 0.01}),
        tt.RegimeUse(regime="crypto", reads="COIN", params={"average": 20, "slope": 4}),
    ),
)


@pytest.fixture(scope="module")
def run() -> tt.Run:
    return tt.backtest(BOOK, PANEL)


def test_the_book_has_all_of_it(run: tt.Run) -> None:
    metrics = run.metrics
    assert all(metrics["costs"][kind] != 0.0 for kind in COST_KINDS if kind != "latency")
    assert metrics["crossing_saved"] > 0.0
    assert metrics["cash_paid_in"] != 0.0
    assert abs(metrics["revaluation"]) > 100.0
    assert (run.fills["position"] < 0).any()


def test_every_view_of_a_book_adds_up(run: tt.Run) -> None:
    table, metrics = run.attribution, run.metrics
    profit = metrics["final_equity"] - run.capital - metrics["cash_paid_in"]
    views = table.partition_by("by", as_dict=True)
    (cash,) = views.pop(("cash",)).rows(named=True)
    assert cash["name"] == "exchange rates"
    assert abs(cash["net"] - metrics["revaluation"]) < 1e-9 * run.capital
    assert {by for (by,) in views} == {
        "model", "instrument", "asset_class", "side", "regime equity", "regime crypto",
    }  # fmt: skip
    for (by,), view in views.items():
        assert abs(view["net"].sum() + cash["net"] - profit) < 1e-9 * run.capital, by
        assert abs(view["costs"].sum() - sum(metrics["costs"].values())) < 1e-9 * run.capital, by
        assert view.height > 1, by
    for name, figures in metrics["models"].items():
        (row,) = views["model",].filter(pl.col("name") == name).rows(named=True)
        assert abs(row["net"] - figures["pnl"]) < 1e-9 * run.capital
        assert abs(row["costs"] - figures["costs"]) < 1e-9 * run.capital
    for regime in ("equity", "crypto"):
        assert views[f"regime {regime}",]["days"].sum() == pytest.approx((PANEL.ts[-1] - PANEL.ts[0]) / DAY)


def test_at_every_day_end_equity_is_what_the_page_of_accounts_says(run: tt.Run) -> None:
    """equity - capital = profit of the models + cash paid in - cash paid out + revaluation."""
    curves = run.curves
    whole = curves.pnl.sum(axis=1) + curves.paid + curves.revaluation
    np.testing.assert_allclose(curves.equity - run.capital, whole, rtol=0.0, atol=1e-9 * run.capital)
    np.testing.assert_allclose(curves.cost.sum(axis=1), curves.costs, rtol=0.0, atol=1e-9 * run.capital)


def test_a_liquidation_is_in_every_view() -> None:
    """A perpetual at 8x of its wallet, and the bar that ends it: its loss and the venue's fee are in each view."""
    values = PANEL.values.copy()
    values[600:, 3, :4] *= 0.7
    panel = tt.Panel(PANEL.ts, PANEL.instruments, PANEL.fields, values, "4h")
    weights = np.full((ROWS, 4), np.nan)
    weights[20] = [0.1, -0.1, 0.05, 1.6]
    run = tt.simulate(
        panel, weights, capital=BOOK.capital, cash_flows=BOOK.cash_flows, base_currency="USD", costs=BOOK.costs
    )  # fmt: skip
    assert (run.result.actions["action"] == LIQUIDATE).any()
    profit = run.metrics["final_equity"] - run.capital - run.metrics["cash_paid_in"]
    cash = run.metrics["revaluation"]
    for (by,), view in run.attribution.filter(pl.col("by") != "cash").partition_by("by", as_dict=True).items():
        assert abs(view["net"].sum() + cash - profit) < 1e-9 * run.capital, by
        assert abs(view["costs"].sum() - sum(run.metrics["costs"].values())) < 1e-9 * run.capital, by


def test_the_money_weighted_return_discounts_every_flow_to_nothing(run: tt.Run) -> None:
    """In base currency at the rates of their days, from the capital at the first close to the equity at the last."""
    rate = run.metrics["money_weighted_return"]["net"]
    ts, fx = PANEL.ts, PANEL.values[:, 2, BAR_FIELDS.index("duration") + 2]
    years = (ts[-1] - ts) / (365.0 * DAY)
    worth = run.capital * (1.0 + rate) ** years[0]
    for at, amount, euro in (
        ("2024-02-01", 15_000.0, False), ("2024-04-02T08:00", -9_000.0, True), ("2024-05-20", 4_000.0, True),
    ):  # fmt: skip
        row = int(np.searchsorted(ts, np.datetime64(at, "ns").astype(np.int64)))
        worth += amount * (fx[row] if euro else 1.0) * (1.0 + rate) ** years[row]
    assert worth == pytest.approx(run.metrics["final_equity"], rel=1e-12)
    assert abs(rate - run.metrics["net"]["cagr"]) > 1e-4
