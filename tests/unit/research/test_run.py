"""A run's identity, names and notes, and the Spec that a panel gets."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.bounds import model_names
from trimtab.research.backtest import run_weights, window_of
from trimtab.research.prepared import hash_of_panel
from trimtab.types import HOUR, Weights

START = np.datetime64("2024-01-01T00:00:00", "us")


def bars(hours: int = 400, skip: tuple[int, ...] = (), **columns: Any) -> pl.DataFrame:
    """Hourly bars along a sine; `skip` leaves out rows."""
    close = 100 + 10 * np.sin(np.arange(hours) / 20)
    opened = np.concatenate(([100.0], close[:-1]))
    frame = pl.DataFrame(
        {
            "open_time": START + np.arange(hours) * np.timedelta64(1, "h"),
            "open": opened,
            "high": np.maximum(opened, close) + 0.1,
            "low": np.minimum(opened, close) - 0.1,
            "close": close,
            "volume": np.full(hours, 1e6),
        }
        | columns
    )
    return frame.filter(~pl.int_range(pl.len()).is_in(list(skip)))


def panel_of(*frames: pl.DataFrame, **instrument: Any) -> tt.Panel:
    symbols = [f"S{k}" for k in range(len(frames))]
    return tt.Panel.from_frames(
        dict(zip(symbols, frames, strict=True)), "1h", [tt.Instrument(symbol=s, **instrument) for s in symbols]
    )


def trade(panel: tt.Panel, rows: dict[int, float], **settings: Any) -> tt.Run:
    weights = np.full((len(panel.ts), len(panel.instruments)), np.nan)
    for row, weight in rows.items():
        weights[row] = weight
    return tt.simulate(panel, weights, **settings)


# --- identity --------------------------------------------------------------------------------------------------------


def test_the_hash_of_a_panel_follows_every_part_of_it():
    panel = panel_of(bars())
    assert hash_of_panel(panel) == hash_of_panel(panel_of(bars()))
    other = panel.values.copy()
    other[7, 0, 3] = np.nextafter(other[7, 0, 3], 1e9)
    changed = (
        msgspec.structs.replace(panel, values=other),
        msgspec.structs.replace(panel, ts=panel.ts + 1),
        msgspec.structs.replace(panel, timeframe="4h"),
        msgspec.structs.replace(panel, fields=(*panel.fields[:-1], "x")),
        msgspec.structs.replace(panel, instruments=(tt.Instrument(symbol="T"),)),
    )
    assert len({hash_of_panel(p) for p in (panel, *changed)}) == 6


def test_a_window_loads_just_the_panels_bars():
    start, end = window_of(panel_of(bars()))
    assert (start, end) == ("2024-01-01T00:00:00Z", "2024-01-17T16:00:00Z")


def test_a_window_leaves_out_what_closed_before_the_panel():
    """S1 has no bar in the first row: an earlier bar of it could close inside the first hour of S0."""
    start, _ = window_of(panel_of(bars(), bars(skip=(0,))))
    assert start == "2024-01-01T00:59:59Z"


def test_the_run_id_of_given_weights_is_theirs():
    panel = panel_of(bars())
    first, again, other = (trade(panel, rows) for rows in ({5: 0.5}, {5: 0.5}, {6: 0.5}))
    assert first.run_id == again.run_id != other.run_id
    assert list(first.spec.models[0].params) == ["sha256"]


def test_models_are_numbered_where_they_would_have_one_name():
    model = tt.Model(strategy="sma_cross", budget=0.2)
    named = tt.Model(strategy="sma_cross", name="mine", budget=0.2)
    file = tt.Model(strategy="/some/where/breakout.py", budget=0.2)
    spec = tt.Spec(models=(model, named, model, file), universe=("S0",))
    assert model_names(spec.models) == ("sma_cross_1", "mine", "sma_cross_2", "breakout")


# --- notes -----------------------------------------------------------------------------------------------------------


def noted(run: tt.Run, words: str) -> bool:
    return any(words in note for note in run.notes)


@pytest.mark.parametrize(
    ("costs", "said"), [(tt.Costs(), True), (tt.Costs(participation=0.1), True), (tt.Costs(taker_fee=1e-6), False)]
)
def test_a_frictionless_run_says_so(costs: tt.Costs, said: bool):
    assert noted(trade(panel_of(bars()), {5: 0.5}, costs=costs), "Frictionless") is said


def test_refused_short_sales_are_counted_by_instrument():
    panel = panel_of(bars(), bars(), shortable=False)
    run = trade(panel, {5: -0.3, 50: 0.2, 90: -0.4})
    assert noted(run, "S0 cannot be sold short: 2 decisions")
    assert noted(run, "S1 cannot be sold short: 2 decisions")
    assert (run.fills["position"] >= 0).all()
    assert not noted(trade(panel_of(bars()), {5: -0.3}), "cannot be sold short")


def test_ignored_volume_and_closes_only_are_said():
    closes = bars().with_columns(open=pl.col("close"), high=pl.col("close"), low=pl.col("close")).drop("volume")
    run = trade(panel_of(closes, close_only=True), {5: 0.5}, volume="ignore")
    assert noted(run, "S0: only closes were published")
    assert noted(run, "Volume is ignored")
    assert not noted(trade(panel_of(bars()), {5: 0.5}), "olume")


@pytest.mark.parametrize(
    ("funding", "rate", "said"),
    [
        (None, 0.0, "S0: held without funding. The bars have no field `funding`, and costs.funding is 0."),
        (None, 0.0001, None),
        (np.full(400, 0.0001), 0.0, None),
        (np.full(400, np.nan), 0.0001, "S0: held without funding. Its bars' field `funding` never holds a rate."),
        (
            np.where(np.arange(400) % 8 == 7, 0.0001, np.nan)[:200].tolist() + [np.nan] * 200,
            0.0,
            "S0: funding is known from 2024-01-01T08:00:00Z to 2024-01-09T08:00:00Z only; before and after that it was "
            "held without.",
        ),
    ],
)
def test_what_a_perpetual_was_not_charged_is_said(funding: Any, rate: float, said: str | None):
    frame = bars() if funding is None else bars(funding=funding)
    panel = panel_of(frame, kind="perpetual", initial_margin=0.1, maintenance_margin=0.05)
    run = trade(panel, {5: 1.5}, costs=tt.Costs(taker_fee=0.001, funding=rate))
    notes = [note for note in run.notes if "funding" in note]
    assert notes == ([] if said is None else [said])
    assert (run.metrics["costs"]["funding"] > 0.0) == (said is None or "only" in said)


def test_shorts_and_debts_that_cost_nothing_are_said():
    panel = panel_of(bars(), initial_margin=0.5, maintenance_margin=0.25)
    free = trade(panel, {5: 1.5, 90: -0.5}, costs=tt.Costs(taker_fee=0.001))
    assert noted(free, "S0: sold short without paying borrow (costs.borrow is 0).")
    assert noted(free, "S0: on margin without interest on what is owed (costs.margin_interest is 0).")
    paid = trade(panel, {5: 1.5, 90: -0.5}, costs=tt.Costs(taker_fee=0.001, borrow=0.02, margin_interest=0.05))
    assert paid.metrics["costs"]["borrow"] > 0.0
    assert paid.metrics["costs"]["interest"] > 0.0
    assert paid.notes == ("Cash earns no interest.",)


def test_bars_that_begin_late_or_end_early_are_said():
    early, late = bars().head(200), bars().tail(200)
    run = trade(panel_of(early, late), {5: 0.3})
    assert noted(run, "S0: its bars end on 2024-01-09T08:00:00Z; after that it is not traded, and what was held stayed")
    assert noted(run, "S1: its bars begin on 2024-01-09T09:00:00Z; until then it is not traded")
    whole = trade(panel_of(bars(), bars().tail(390)), {5: 0.3})
    assert not noted(whole, "its bars")


def test_an_order_that_never_met_a_market_is_said():
    panel = panel_of(bars())
    run = trade(panel, {len(panel.ts) - 1: 0.5})
    assert noted(run, "1 order was still working when the data ended.")
    assert run.fills.height == 0


# --- tables ----------------------------------------------------------------------------------------------------------


def test_an_open_position_is_an_open_trade():
    run = trade(panel_of(bars()), {5: 0.5, 50: 0.0, 100: 0.5}, costs=tt.Costs(taker_fee=0.001))
    book = run.trades.filter(pl.col("model") == "")
    assert book["open"].to_list() == [False, True]
    assert book["exit_ts"].to_list()[1] is None
    assert np.isnan(book["pnl"][1])
    assert book["entry_ts"][0] == dt.datetime(2024, 1, 1, 6, tzinfo=dt.UTC)
    assert book["holding_days"][0] == pytest.approx(45 / 24)


def test_one_lot_of_a_model_is_a_trade_of_that_model():
    """Two models, a lot each: nothing of it may be taken for what netting rounds away."""
    panel = panel_of(bars(close=100.0, open=100.0, high=100.0, low=100.0), lot_size=1.0)
    models = tuple(tt.Model(strategy=name, budget=0.5) for name in ("a", "b"))
    spec = tt.Spec(models=models, universe=panel.symbols, timeframe="1h", costs=tt.Costs(), capital=1_000.0)
    weights = Weights(
        np.array([3, 5, 10, 20]), np.array([0, 1, 0, 1]), np.zeros(4, np.int64), np.array([0.1, 0.1, 0, 0])
    )
    run = run_weights(spec, panel, weights)
    assert run.trades.select("model", "quantity", "open").rows() == [("", 2, False), ("a", 1, False), ("b", 1, False)]
    assert [run.metrics["models"][name]["net"]["trades"] for name in "ab"] == [1.0, 1.0]


def test_the_table_of_trades_and_the_metrics_are_of_the_same_trades():
    run = trade(panel_of(bars()), {5: 0.5, 50: 0.0, 90: -0.4, 120: 0.3, 200: 0.0}, costs=tt.Costs(taker_fee=0.001))
    for model, figures in (("", run.metrics["net"]), ("weights", run.metrics["models"]["weights"]["net"])):
        closed = run.trades.filter((pl.col("model") == model) & ~pl.col("open"))
        assert figures["trades"] == closed.height == 3
        assert figures["win_rate"] == pytest.approx((closed["pnl"] > 0).mean())
        assert figures["average_holding"] == pytest.approx(closed["holding_days"].mean())


def test_weights_are_notional_over_equity_at_day_ends():
    panel = panel_of(bars())
    run = trade(panel, {5: 0.5}, costs=tt.Costs())
    day = run.weights.row(0, named=True)
    row = int(np.flatnonzero(panel.ts == np.datetime64(day["ts"].replace(tzinfo=None), "ns").astype(np.int64))[0])
    lots = run.fills["quantity"][0]
    assert day["S0"] == pytest.approx(lots * panel.values[row, 0, 3] / run.equity["equity"][row], rel=1e-12)


def test_a_drawdown_halt_is_a_halted_run():
    falling = bars(close=100.0 - 0.1 * np.arange(400), open=100.0, high=101.0, low=50.0)
    run = trade(panel_of(falling), {5: 1.0}, limits=tt.Limits(drawdown_halt=0.05), costs=tt.Costs())
    assert run.halted
    assert run.fills["position"][-1] == 0
    assert not trade(panel_of(falling), {5: 1.0}, costs=tt.Costs()).halted


def test_an_hour_is_an_hour():
    assert int(panel_of(bars()).ts[0]) == int(START.astype("datetime64[ns]").astype(np.int64)) + HOUR
