"""The cash of a run: wallets, exchange rates, cash flows, and returns that these do not flatter."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.research.prepared import market_of
from trimtab.research.ratios import money_weighted_return, returns_from_equity
from trimtab.research.report import verdict

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
FREE = tt.Costs()


def bars(closes: Any, **extra: Any) -> pl.DataFrame:
    """Daily bars that open at the close before, and go no further than from there to their close."""
    close = np.asarray(closes, dtype=np.float64)
    opened = np.concatenate((close[:1], close[:-1]))
    return pl.DataFrame(
        {
            "open_time": [START + dt.timedelta(days=k) for k in range(len(close))],
            "open": opened,
            "high": np.maximum(opened, close),
            "low": np.minimum(opened, close),
            "close": close,
            "volume": np.full(len(close), 1e9),
            **extra,
        }
    )


def panel_of(frames: dict[str, pl.DataFrame], **quotes: str) -> tt.Panel:
    """Instruments that can be cut as finely as one likes; X="EUR" says what X is quoted in."""
    made = [tt.Instrument(symbol=s, lot_size=1e-6, quote=quotes.get(s, "USD")) for s in frames]
    return tt.Panel.from_frames(frames, "1d", made)


def flow(day: int, amount: float, wallet: str = "") -> tt.CashFlow:
    return tt.CashFlow(at=f"2024-01-{day:02}", amount=amount, wallet=wallet)


# --- returns ----------------------------------------------------------------------------------------------------------


def test_a_deposit_is_no_return() -> None:
    """100 grow to 110, 110 come in, and the 220 lose a tenth: 1.1 x 0.9, whatever was paid in."""
    panel = panel_of({"X": bars([100.0, 100.0, 110.0, 110.0, 99.0, 99.0])})
    weights = [1.0, math.nan, 1.0000001, math.nan, math.nan, math.nan]  # sized anew when the cash has come
    run = tt.simulate(panel, weights, costs=FREE, capital=100.0, cash_flows=[flow(4, 110.0)])
    assert run.curves.returns(run.curves.equity) == pytest.approx([0.0, 0.0, 0.1, 0.0, -0.1, 0.0], abs=1e-6)
    net = run.metrics["net"]
    assert net["total_return"] == pytest.approx(1.1 * 0.9 - 1.0, abs=1e-6)
    assert net["max_drawdown"] == pytest.approx(-0.1, abs=1e-6)
    assert net["max_drawdown_daily"] == pytest.approx(-0.1, abs=1e-6)
    assert run.metrics["final_equity"] == pytest.approx(198.0, abs=1e-4)
    assert run.metrics["cash_paid_in"] == 110.0
    assert run.equity["paid"].to_list() == [0.0, 0.0, 110.0, 0.0, 0.0, 0.0]
    assert run.equity["drawdown"].min() == pytest.approx(-0.1, abs=1e-6)
    assert run.metrics["net"]["turnover"] > 0.0


def test_without_flows_nothing_is_weighted_by_money() -> None:
    run = tt.simulate(panel_of({"X": bars([100.0, 101.0, 102.0])}), [1.0, math.nan, math.nan], costs=FREE)
    assert math.isnan(run.metrics["money_weighted_return"]["net"])
    assert "paid" not in run.equity.columns
    assert run.metrics["net"]["total_return"] == pytest.approx(run.equity["equity"][-1] / 1e6 - 1.0, rel=1e-12)


def test_holding_gets_the_same_cash_and_puts_it_into_its_instruments() -> None:
    panel = panel_of({"X": bars([100.0, 100.0, 100.0, 200.0, 200.0]), "Y": bars([50.0] * 5)})
    run = tt.simulate(
        panel, np.full((5, 2), math.nan), costs=FREE, capital=100.0, cash_flows=[flow(3, 100.0), flow(5, -100.0)]
    )
    # 200 in equal parts before X doubles: 300, of which 100 are taken out on the day after
    assert run.curves.holding == pytest.approx([100.0, 200.0, 200.0, 200.0, 200.0], abs=1e-3)
    assert run.metrics["holding"]["total_return"] == pytest.approx(0.5, abs=1e-6)
    assert run.metrics["net"]["total_return"] == 0.0


@pytest.mark.parametrize(
    ("flows", "years", "final", "rate"),
    [
        ([100.0], [2.0], 121.0, 0.1),
        ([100.0, 100.0], [2.0, 1.0], 100.0 * 1.1**2 + 110.0, 0.1),
        ([100.0, -50.0], [1.0, 0.5], 100.0 * 1.21 - 50.0 * 1.1, 0.21),
        ([100.0], [1.0], 25.0, -0.75),
        ([100.0], [0.0], 100.0, math.nan),
        ([100.0], [1.0], -5.0, math.nan),
    ],
)
def test_the_money_weighted_return(flows: list[float], years: list[float], final: float, rate: float) -> None:
    assert money_weighted_return(flows, years, final) == pytest.approx(rate, abs=1e-12, nan_ok=True)


def test_returns_with_flows_refuse_what_returns_refuse() -> None:
    assert returns_from_equity([100.0, 150.0], [50.0]).tolist() == [0.0]
    with pytest.raises(tt.TrimtabError, match="positive again after 0"):
        returns_from_equity([100.0, 0.0, 100.0], [0.0, 0.0])


# --- law 3, at the level of a run -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed() -> tuple[tt.Panel, Any, tt.Run]:
    """A share in euros and a perpetual with funding in dollars, traded both ways, with cash in and out of both."""
    rng, size = np.random.default_rng(7), 60

    def walk(start: float, step: float) -> Any:
        return start * np.exp(np.cumsum(rng.normal(0.0, step, size)))

    euro = walk(1.1, 0.006)
    funding = np.where(rng.random(size) < 0.5, rng.normal(0.0, 1e-3, size), np.nan)
    none = np.full(size, np.nan)
    frames = {"E": bars(walk(80.0, 0.02), fx=euro, funding=none), "P": bars(walk(40.0, 0.03), fx=none, funding=funding)}
    instruments = [
        tt.Instrument(symbol="E", venue="xetra", quote="EUR", lot_size=0.001),
        tt.Instrument(
            symbol="P", venue="binance", lot_size=0.001, kind="perpetual", initial_margin=0.1, maintenance_margin=0.05
        ),
    ]
    panel = tt.Panel.from_frames(frames, "1d", instruments)
    weights = rng.uniform(-0.6, 0.8, (size, 2))
    weights[rng.random((size, 2)) < 0.6] = np.nan
    run = tt.simulate(
        panel,
        weights,
        costs=tt.Costs(taker_fee=0.001, half_spread=0.0005, borrow=0.04, margin_interest=0.06),
        capital={"EUR": 50_000.0, "binance/USD": 40_000.0},
        cash_flows=[flow(12, 9_000.0, "EUR"), flow(20, -3_000.0, "USD"), flow(20, 500.0, "xetra/EUR")],
    )
    return panel, euro, run


def test_equity_is_capital_profit_flows_and_revaluation(mixed: tuple[tt.Panel, Any, tt.Run]) -> None:
    _, euro, run = mixed
    curves = run.curves
    assert run.capital == pytest.approx(50_000.0 * euro[0] + 40_000.0)
    explained = curves.capital + curves.pnl.sum(axis=1) + curves.paid + curves.revaluation
    assert np.abs(curves.equity - explained).max() < 1e-9 * curves.capital
    assert np.abs(curves.costs - curves.cost.sum(axis=1)).max() < 1e-9 * curves.capital
    # What was brought in by euros: 50,000 from the first day on, 9,000 from the 12th, 500 from the 20th.
    last = euro[-1]
    by_hand = 50_000.0 * (last - euro[0]) + 9_000.0 * (last - euro[10]) + 500.0 * (last - euro[18])
    assert run.metrics["revaluation"] == pytest.approx(by_hand, rel=1e-9)
    assert run.metrics["cash_paid_in"] == pytest.approx(9_000.0 * euro[10] - 3_000.0 + 500.0 * euro[18], rel=1e-12)
    assert run.metrics["costs"]["funding"] != 0.0
    assert run.metrics["costs"]["borrow"] > 0.0


def test_equity_is_what_lies_in_the_wallets_and_what_is_held(mixed: tuple[tt.Panel, Any, tt.Run]) -> None:
    """From the fills, the flows and the costs of holding alone, each wallet in its own currency."""
    panel, euro, run = mixed
    fills, book = run.result.fills, run.result.book
    for wallet, (opening, paid, rate) in enumerate(((50_000.0, 9_500.0, euro[-1]), (40_000.0, -3_000.0, 1.0))):
        mine = fills[fills["instrument"] == wallet]
        spent = (mine["lots"] * book.unit[wallet] * mine["price"] + mine["fee"]).sum()
        carry = book.charges[:, wallet, 5:].sum()
        assert book.cash[wallet] == pytest.approx(opening + paid - spent - carry, abs=1e-6)
        close = panel.values[-1, wallet, 3]
        held = book.positions["lots"][wallet] * book.unit[wallet] * close
        rest = run.result.curve[-1, 0] - (book.cash[wallet] + held) * rate
        other = 1 - wallet
        price = panel.values[-1, other, 3] * (1.0 if other else euro[-1])
        cash = book.cash[other] * (1.0 if other else euro[-1])
        assert rest == pytest.approx(cash + book.positions["lots"][other] * book.unit[other] * price, abs=1e-6)


def test_figures_in_several_currencies_are_in_the_base_one(mixed: tuple[tt.Panel, Any, tt.Run]) -> None:
    _, euro, run = mixed
    charges = run.result.book.charges[0]
    fees = charges[0, 0] * euro[-1] + charges[1, 0]
    assert run.metrics["costs"]["fee"] == pytest.approx(fees, rel=1e-12)
    profit = float(run.curves.pnl[-1].sum())
    assert run.metrics["models"]["weights"]["pnl"] == pytest.approx(profit)
    notional = float(run.result.book.head["traded"][0])
    assert run.trips.traded[0] == pytest.approx(notional, rel=1e-9)
    carry = sum(run.metrics["costs"][kind] for kind in ("funding", "borrow", "interest"))
    total = sum(run.metrics["costs"].values())
    assert run.metrics["break_even_cost"] == pytest.approx((profit + total - carry) / notional)
    weights = run.weights
    day = int(run.curves.ts.searchsorted(run.panel.ts[30]))
    lots = run.fills.filter((pl.col("symbol") == "E") & (pl.col("ts") <= weights["ts"][day]))["quantity"].sum()
    worth = lots * run.panel.values[30, 0, 3] * euro[30] / run.curves.equity[day]
    assert weights["E"][day] == pytest.approx(worth, rel=1e-9)


def test_a_book_in_one_foreign_currency() -> None:
    """A capital of 900 EUR is 1,000 USD at 0.9; equity follows the rate although the price stands still."""
    rate = [0.9, 0.9, 0.9, 0.8]
    panel = panel_of({"X": bars([100.0] * 4, fx=rate)})
    run = tt.simulate(panel, [0.5, *[math.nan] * 3], costs=FREE, capital=900.0, base_currency="EUR")
    assert run.fold.setup.cash.tolist() == pytest.approx([1_000.0])
    assert run.equity["equity"].to_list() == pytest.approx([900.0, 900.0, 900.0, 800.0])
    assert run.fills["quantity"].to_list() == pytest.approx([5.0])
    assert run.metrics["revaluation"] == pytest.approx(-100.0)
    assert run.metrics["currency"] == "EUR"


def test_costs_of_a_sweep_are_in_base_currency() -> None:
    close = np.concatenate((np.arange(100.0, 130.0), np.arange(130.0, 100.0, -1.0)))
    panel = panel_of({"X": bars(close, fx=np.full(60, 0.5)), "Y": bars(close[::-1], fx=np.full(60, np.nan))}, Y="EUR")
    costs = tt.Costs(taker_fee=0.001)
    (row,) = tt.sweep(
        "sma_cross", panel, {"fast": [2], "slow": [5]}, costs=costs, capital={"USD": 1e4, "EUR": 1e4}
    ).iter_rows(named=True)
    run = tt.backtest("sma_cross", panel, params={"fast": 2, "slow": 5}, costs=costs, capital={"USD": 1e4, "EUR": 1e4})
    assert row["costs"] == pytest.approx(sum(run.metrics["costs"].values()), rel=1e-12)
    assert row["costs"] != pytest.approx(float(run.result.book.charges.sum()), rel=1e-3)


def test_the_base_currency_is_the_one_without_a_rate() -> None:
    known, none = np.full(3, 1.1), np.full(3, np.nan)
    panel = panel_of({"E": bars([1.0] * 3, fx=known), "D": bars([1.0] * 3, fx=none)}, E="EUR")
    run = tt.simulate(panel, np.full((3, 2), math.nan), costs=FREE, capital={"EUR": 10.0, "USD": 5.0})
    assert run.spec.base_currency == "USD"
    assert run.capital == pytest.approx(16.0)


def test_a_market_is_kept_per_base_currency() -> None:
    panel = panel_of({"X": bars([100.0] * 3, fx=[0.9, 0.8, 0.7])})
    dollars, euros = market_of(panel), market_of(panel, "EUR")
    assert market_of(panel, "USD") is dollars
    assert market_of(panel, "EUR") is euros
    assert dollars.mark[:, 0].tolist() == [100.0] * 3
    assert euros.mark.tolist() == [[90.0, 0.9], [80.0, 0.8], [70.0, 0.7]]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            {"cash_flows": [flow(20, 1.0)]},
            r"cash_flows.0.at: 2024-01-20 is outside the bars of this run, which go from",
        ),
        ({"cash_flows": [tt.CashFlow(at="2023-12-31", amount=1.0)]}, "cash_flows.0.at: 2023-12-31 is outside"),
        ({"cash_flows": [tt.CashFlow(at="soon", amount=1.0)]}, "cash_flows.0.at = 'soon' is no date"),
        ({"cash_flows": [tt.CashFlow(at="", amount=1.0)]}, "cash_flows.0.at is empty"),
        ({"cash_flows": [flow(2, math.nan)]}, "cash_flows.0.amount is nan: expected a number"),
        ({"cash_flows": [flow(2, 1.0, "sim/USDD")]}, "there is no wallet 'sim/USDD' .did you mean 'sim/USD'?"),
        ({"capital": {"USD": 1.0, "sim/USD": 2.0}}, "capital.sim/USD: the cash of this wallet is given twice"),
        ({"capital": {"USD": 0.0}}, "every wallet begins empty"),
        ({"capital": {"USD": -1.0}}, "capital.USD is -1: expected a number at least 0"),
        ({"capital": {}}, "capital says nothing of the wallet sim/USD: add sim/USD: 0"),
        ({"base_currency": "EUR"}, "base_currency is EUR, but X are quoted in USD: set base_currency: USD, or give"),
        (
            {"caps": tt.Caps(venues={"binance": 0.5})},
            "caps.venues.binance: there is no such name; known here: sim, and",
        ),
        ({"caps": tt.Caps(asset_classes={"cripto": 0.5})}, "caps.asset_classes.cripto: .* mean 'crypto'?"),
        ({"caps": tt.Caps(models={"mine": 0.5})}, "caps.models.mine: there is no such name; known here: weights, and"),
    ],
)
def test_settings_of_the_cash_that_are_refused(settings: dict[str, Any], fault: str) -> None:
    panel = panel_of({"X": bars([100.0] * 5)})
    with pytest.raises(tt.TrimtabError, match=fault):
        tt.simulate(panel, [1.0] * 5, costs=FREE, **settings)


def test_two_wallets_need_to_be_told_apart() -> None:
    two = [tt.Instrument(symbol=s, venue=s.lower(), lot_size=0.01) for s in ("A", "B")]
    panel = tt.Panel.from_frames({s: bars([100.0] * 3) for s in ("A", "B")}, "1d", two)
    held = np.full((3, 2), math.nan)
    with pytest.raises(tt.TrimtabError, match=r"2 wallets \(a/USD, b/USD\) but one capital, .*\{a/USD: 50_000, b/USD:"):
        tt.simulate(panel, held, costs=FREE)
    with pytest.raises(tt.TrimtabError, match=r"capital.USD: 2 wallets hold USD; say which: a/USD, b/USD"):
        tt.simulate(panel, held, costs=FREE, capital={"USD": 1.0})
    run = tt.simulate(panel, [[1.0, 1.0], *[[math.nan] * 2] * 2], costs=FREE, capital={"a/USD": 100.0, "b/USD": 200.0})
    assert run.fills["quantity"].to_list() == pytest.approx([1.0, 2.0])  # each with its own cash


def test_a_rate_has_to_be_known_at_the_first_row() -> None:
    late = np.array([np.nan, 0.9, 0.9])
    panel = panel_of({"X": bars([100.0] * 3, fx=late)})
    with pytest.raises(tt.TrimtabError, match="no exchange rate of USD in EUR is known at the first row"):
        tt.simulate(panel, [1.0] * 3, costs=FREE, base_currency="EUR")


def test_currencies_without_a_rate_say_how_one_is_given() -> None:
    panel = panel_of({"X": bars([100.0] * 3), "Y": bars([100.0] * 3)}, Y="EUR")
    with pytest.raises(tt.TrimtabError, match=r"mixes quote currencies \(EUR, USD\).*`fx: \{EUR: EURUSD\}` in a spec"):
        tt.simulate(panel, np.full((3, 2), math.nan), costs=FREE, capital={"USD": 1.0, "EUR": 1.0})


# --- caps and sweeps --------------------------------------------------------------------------------------------------


def test_caps_are_of_what_they_name() -> None:
    kinds = {"A": "crypto", "B": "crypto", "C": "equity"}
    made = [tt.Instrument(symbol=s, asset_class=k, lot_size=0.001) for s, k in kinds.items()]
    panel = tt.Panel.from_frames({s: bars([100.0] * 4) for s in kinds}, "1d", made)
    weights = np.array([[0.3, 0.3, 0.3], *[[math.nan] * 3] * 3])
    caps = tt.Caps(asset_classes={"crypto": 0.2, "*": 0.25}, models={"weights": 0.8})
    run = tt.simulate(panel, weights, costs=FREE, caps=caps)
    assert run.weights.row(2)[1:] == pytest.approx((0.1, 0.1, 0.25), abs=1e-6)
    told = [(a["limit"], a["model"], a["action"]) for a in run.actions.iter_rows(named=True)]
    assert told == [("model", "weights", "SCALE"), ("asset_class", "", "SCALE"), ("asset_class", "", "SCALE")]
    assert run.curves.holding == pytest.approx(np.full(4, 1e6))
    assert run.holding.book.positions["lots"].tolist() == pytest.approx([3_333_333] * 3)  # holding knows no caps


def test_a_sweep_pays_funding_and_keeps_all_limits() -> None:
    """The compiled sweep and a run agree: what falls due between decisions falls due in both."""
    rng, size = np.random.default_rng(3), 300
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, size)))
    one = tt.Instrument(symbol="P", kind="perpetual", lot_size=0.001, initial_margin=0.1, maintenance_margin=0.05)
    panel = tt.Panel.from_frames({"P": bars(close, funding=np.full(size, 1e-4))}, "1d", [one])
    settings: dict[str, Any] = {
        "costs": tt.Costs(taker_fee=0.001),
        "limits": tt.Limits(daily_loss=0.03, net_exposure=0.7),
        "caps": tt.Caps(models={"*": 0.9}),
        "capital": {"USD": 5_000.0},
    }
    swept = tt.sweep("sma_cross", panel, {"fast": [3, 5], "slow": [10]}, **settings)
    for row in swept.iter_rows(named=True):
        run = tt.backtest("sma_cross", panel, params={"fast": row["fast"], "slow": row["slow"]}, **settings)
        assert row["final_equity"] == run.equity["equity"][-1]
        assert row["costs"] == pytest.approx(sum(run.metrics["costs"].values()), rel=1e-12)
        assert run.metrics["costs"]["funding"] > 0.0
        assert {"daily_loss", "net_exposure", "model"} >= set(run.actions["limit"]) > set()


def test_a_sweep_knows_no_cash_flows() -> None:
    from trimtab.research.sweep import run_sets
    from trimtab.strategies import find

    panel = panel_of({"X": bars([100.0] * 30)})
    spec = tt.Spec(
        models=(tt.Model(strategy="sma_cross"),), universe=("X",), timeframe="1d", cash_flows=(flow(3, 1.0),)
    )
    strategy = find("sma_cross")
    with pytest.raises(tt.TrimtabError, match="a sweep knows no cash flows"):
        run_sets(spec, panel, strategy, [strategy.params], 1, None)


# --- what is owed -----------------------------------------------------------------------------------------------------


def noted(run: tt.Run) -> list[str]:
    return [note for note in run.notes if "took more than the cash" in note]


def test_a_withdrawal_of_what_is_not_there_is_said() -> None:
    panel = panel_of({"X": bars([100.0] * 6), "Y": bars([50.0] * 6)})
    weights = np.full((6, 2), math.nan)
    weights[0] = 0.45  # 900 and a fee of 0.90 are spent: 99.10 are left
    costs = tt.Costs(taker_fee=0.001)

    def after(*flows: tt.CashFlow, **more: float) -> list[str]:
        return noted(tt.simulate(panel, weights, costs=costs._replace(**more), capital=1_000.0, cash_flows=list(flows)))

    assert after(flow(3, -99.1)) == []
    (said,) = after(flow(3, -60.0), flow(4, -90.0), flow(5, 30.0))
    assert said.startswith(
        "sim/USD: a withdrawal took more than the cash that was there, first on 2024-01-04T00:00:00Z, when 50.90 USD "
        "were owed without interest (costs.margin_interest is 0)."
    )
    assert "3 withdrawals" in after(flow(3, -100.0), flow(4, -1.0), flow(5, -1.0))[0]
    assert "50.90 USD were owed. A venue" in after(flow(3, -150.0), margin_interest=0.05)[0]


def test_a_margin_account_may_owe() -> None:
    made = [tt.Instrument(symbol="X", lot_size=1e-6, initial_margin=0.5, maintenance_margin=0.25)]
    panel = tt.Panel.from_frames({"X": bars([100.0] * 6)}, "1d", made)
    run = tt.simulate(panel, [0.9] + [math.nan] * 5, costs=FREE, capital=1_000.0, cash_flows=[flow(3, -200.0)])
    assert run.result.book.cash[0] < 0.0
    assert noted(run) == []


def test_a_book_that_is_worth_less_than_nothing_has_a_report(tmp_path: Path) -> None:
    closes = [100.0, 100.0, 101.0, 102.0, 40.0, 41.0, 42.0]
    frame = bars(closes).with_columns(open=pl.Series([100.0, 100.0, 101.0, 102.0, 39.0, 41.0, 42.0]))
    frame = frame.with_columns(high=pl.max_horizontal("open", "close"), low=pl.min_horizontal("open", "close"))
    rules = {"kind": "perpetual", "initial_margin": 0.05, "maintenance_margin": 0.025, "shortable": True}
    panel = tt.Panel.from_frames({"X": frame}, "1d", [tt.Instrument(symbol="X", lot_size=1e-6, **rules)])
    run = tt.simulate(panel, [4.0] + [math.nan] * 6, costs=tt.Costs(taker_fee=0.001, funding=1e-4), capital=1e3)
    assert run.equity["equity"][-1] < 0.0
    assert run.halted
    assert run.verdict.startswith("Net of costs the book was worth nothing before the end; holding the same instr")
    page = (run.save(tmp_path) / "report.html").read_text(encoding="utf-8")
    assert "was worth nothing before the end" in page
    assert "nan%" not in page
    assert "nan pts" not in page


def test_a_book_beats_holding_that_lost_everything() -> None:
    alive = {"total_return": 0.1, "cagr": 0.05, "max_drawdown": -0.1, "sharpe": 1.0}
    dead = dict.fromkeys(alive, math.nan)
    assert verdict(alive, dead) == (
        True,
        "Net of costs the book made 5.0% a year with a deepest drawdown of 10%; holding the same instruments was worth "
        "nothing before the end.",
    )
    assert verdict(dead, alive)[0] is verdict(dead, dead)[0] is False
