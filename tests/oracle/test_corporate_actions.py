"""Splits and dividends of real companies: the raw account earns the adjusted return, and strategies see that series.

The other side is the vendor's file of factors: the last day of each, price_factor for dividends (of neighbours, 1 -
dividend / close) and split_factor, both cumulative from the end and rounded to seven digits.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.data.catalogue import default_instrument
from trimtab.data.events import merge_events
from trimtab.data.panel import signals_of
from trimtab.data.store import open_store, write_bars
from trimtab.types import Costs, Limits, Panel

#: How often each split its shares from 1998 to 2015, and by what.
SPLITS = {"AAPL": [2.0, 2.0, 7.0], "IBM": [2.0]}


class Known(NamedTuple):
    """What the factors say of each bar (T,): new shares per old, cash per old share, and the vendor's own series."""

    split: np.ndarray
    paid: np.ndarray
    adjusted: np.ndarray  # dividends put back, splits undone


def known_of(bars: pl.DataFrame, factors: pl.DataFrame) -> Known:
    close = bars["close"].to_numpy()
    at = np.searchsorted(factors["ts"].to_numpy(), bars["open_time"].to_numpy(), side="left")
    price, shares = factors["price_factor"].to_numpy()[at], factors["split_factor"].cast(pl.Float64).to_numpy()[at]
    split, paid = np.ones(len(close)), np.zeros(len(close))
    split[1:] = np.rint(shares[1:] / shares[:-1])
    paid[1:] = close[:-1] * (1.0 - price[:-1] / price[1:])
    return Known(split, paid, close * price * np.cumprod(split))


def events_of(bars: pl.DataFrame, known: Known) -> pl.DataFrame:
    """As a source tells them: on their day, a dividend per share as it was paid."""
    days = bars["open_time"].to_list()
    rows = [(days[t], "split", known.split[t]) for t in np.flatnonzero(known.split != 1.0)]
    rows += [(days[t], "dividend", known.paid[t] / known.split[t]) for t in np.flatnonzero(known.paid > 0.0)]
    return pl.DataFrame(rows, schema=["ts", "kind", "value"], orient="row").with_columns(
        pl.col("ts").cast(pl.Datetime("us", "UTC"))
    )


@pytest.fixture(params=list(SPLITS))
def company(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> tuple[str, Panel, Known]:
    """A company's raw bars and its events, out of a store."""
    symbol, folder = request.param, shared / "data/equity_us"
    bars = pl.read_parquet(folder / f"{symbol}_1d.parquet")
    known = known_of(bars, pl.read_parquet(folder / f"{symbol}_factors.parquet"))
    store, instrument = open_store(tmp_path), default_instrument(symbol, "equity", "alpaca")
    write_bars(store, instrument, "1d", bars)
    merge_events(store, instrument, events_of(bars, known))
    return symbol, tt.load(symbol, timeframe="1d", root=tmp_path), known


def test_the_raw_account_earns_the_adjusted_return(company: tuple[str, Panel, Known]) -> None:
    symbol, panel, known = company
    assert known.split[known.split != 1.0].tolist() == SPLITS[symbol]
    assert (known.paid > 0.0).sum() >= (14 if symbol == "AAPL" else 70)
    run = tt.backtest("buy_and_hold", panel, costs=Costs(), capital=1e6)
    close, equity = panel.values[:, 0, 3], run.bar_equity
    bought = int(run.result.fills["row"][0])
    lots = np.cumsum(np.bincount(run.result.fills["row"], run.result.fills["lots"], len(close)))
    held = (lots * close)[bought:-1]
    earned = np.diff(equity[bought:]) / held
    wanted = ((close * known.split + known.paid)[1:] / close[:-1] - 1.0)[bought:]
    assert np.abs(earned - wanted).max() < 1e-9
    assert np.prod(1.0 + earned) == pytest.approx(np.prod(1.0 + wanted), rel=1e-6)
    paid = float((known.paid[bought + 1 :] * lots[bought:-1]).sum())
    assert run.metrics["dividends"] == pytest.approx(paid, rel=1e-9)
    assert run.metrics["net"]["costs"] == 0.0
    told = run.actions.group_by("limit").len()
    assert dict(told.iter_rows()) == {"split": len(SPLITS[symbol]), "dividend": int((known.paid > 0.0).sum())}


def test_strategies_see_the_adjusted_return_and_no_jump(company: tuple[str, Panel, Known]) -> None:
    """From the raw price of the first day on, and whatever is known later changes nothing that was seen."""
    _, panel, known = company
    seen = signals_of(panel).values[:, 0]
    assert seen[0, :5].tolist() == panel.values[0, 0, :5].tolist()
    assert np.abs((seen[1:, 3] / seen[:-1, 3]) / (known.adjusted[1:] / known.adjusted[:-1]) - 1.0).max() < 1e-9
    assert seen[-1, 3] / seen[0, 3] == pytest.approx(known.adjusted[-1] / known.adjusted[0], rel=1e-6)
    assert seen[:, 4] == pytest.approx(panel.values[:, 0, 4] / np.cumprod(known.split), rel=1e-12)
    for cut in (400, 3_000, 4_140):
        shorter = Panel(panel.ts[:cut], panel.instruments, panel.fields, panel.values[:cut].copy(), "1d")
        assert signals_of(shorter).values[:, 0, :5].tobytes() == seen[:cut, :5].tobytes()


def test_a_split_is_no_unusual_market(shared: Path, tmp_path: Path) -> None:
    """Seven for one: no gap, no volatility, an average volume in new shares, and a stop that stays where it was."""
    bars = pl.read_parquet(shared / "data/equity_us/AAPL_1d.parquet")
    known = known_of(bars, pl.read_parquet(shared / "data/equity_us/AAPL_factors.parquet"))
    store, instrument = open_store(tmp_path), default_instrument("AAPL", "equity", "alpaca")
    write_bars(store, instrument, "1d", bars)
    merge_events(store, instrument, events_of(bars, known))
    panel = tt.load("AAPL", timeframe="1d", root=tmp_path, start="2014-05-01", end="2014-08-01")
    limits = Limits(unusual_gap=0.1, unusual_vol=0.6, stop_loss=0.2, trailing_stop=0.25, collar=0.1, stale=6 * 86_400.0)
    run = tt.backtest("buy_and_hold", panel, costs=Costs(participation=0.5), limits=limits, capital=1e6)
    row = int(np.flatnonzero(panel.values[:, 0, panel.fields.index("split")] == 7.0)[0])
    assert set(run.actions["limit"]) == {"split", "dividend"}
    rows = run.fold.market.rows[:, 0]
    assert 0.9 < rows[row + 1, 6] / rows[row - 1, 6] < 1.1
    assert 6.0 < rows[row, 7] / rows[row - 1, 7] < 8.0
    stops = run.orders.filter(pl.col("kind") == "STOP")
    bought = float(run.result.fills["price"][0])
    assert stops["stop_price"].to_list() == pytest.approx([bought / 7.0 * 0.8], abs=0.011)
    assert stops["lots"].to_list() == [-int(run.result.fills["lots"].sum())]
