"""Execution of runs on real bars, computed once more with Polars from nothing but their tables of orders and fills."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.research.execution import FIGURES
from trimtab.types import BAR_FIELDS, DAY, Model, Rebalance, Spec

COSTS = tt.Costs(0.0005, 0.001, 0.0002, 0.02, 0.0001, 0.1, 0.5, 20.0, 0.00002, 0.05)
LIMITS = tt.Limits(stop_loss=0.05, take_profit=0.2)
PROTECTIVE = ("STOP", "TRAILING", "TAKE_PROFIT")


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


@pytest.fixture(scope="module")
def run(panel: tt.Panel) -> tt.Run:
    spec = Spec(
        models=(
            Model(strategy="sma_cross", params={"fast": 20, "slow": 100}, budget=0.5),
            Model(strategy="momentum", params={"lookback": 60}, budget=0.4),
        ),
        universe=("SPX", "NDX"),
        timeframe="1d",
        capital=1e6,
        costs=COSTS,
        limits=LIMITS,
        rebalance=Rebalance(when="always", buffer=0.02),
    )
    from trimtab.research.backtest import backtest

    return backtest(spec, panel)


def joined(run: tt.Run, panel: tt.Panel) -> pl.DataFrame:
    """Fills beside their orders and the closes of their decisions."""
    closes = pl.concat(
        pl.DataFrame({"ts": panel.ts, "close": panel.values[:, i, 3]}).with_columns(
            pl.col("ts").cast(pl.Datetime("ns", "UTC")), symbol=pl.lit(s)
        )
        for i, s in enumerate(panel.symbols)
    ).sort("ts")
    orders = run.orders.select("order_id", "kind", "stop_price", "limit_price", decided="ts")
    fills = run.fills.filter(pl.col("lots") != 0).join(orders, on="order_id", how="left", maintain_order="left")
    with_close = fills.sort("decided", maintain_order=True).join_asof(
        closes,
        left_on="decided",
        right_on="ts",
        by="symbol",
        strategy="backward",
        suffix="_bar",
        check_sortedness=False,
    )
    level = pl.when(pl.col("kind") == "TAKE_PROFIT").then("limit_price").otherwise("stop_price")
    waited = (pl.col("ts") - pl.col("decided")).dt.total_nanoseconds() / 1e9
    return with_close.with_columns(
        decision=pl.when(pl.col("kind").is_in(PROTECTIVE)).then(level).otherwise("close"),
        waited=pl.when(~pl.col("kind").is_in(PROTECTIVE)).then(waited),
    ).sort("fill_id")  # fmt: skip


def figures_of(fills: pl.DataFrame) -> dict[str, Any]:
    """Slippage and time of a table of fills; quantity is signed."""
    bought = pl.col("quantity")
    return fills.select(
        decision_cost=(bought * (pl.col("price") - pl.col("decision"))).sum(),
        decision_slippage=(bought * (pl.col("price") - pl.col("decision"))).sum()
        / (bought.abs() * pl.col("decision")).sum(),
        arrival_cost=(bought * (pl.col("price") - pl.col("mid"))).sum(),
        arrival_slippage=(bought * (pl.col("price") - pl.col("mid"))).sum() / (bought.abs() * pl.col("mid")).sum(),
        time_to_fill=(bought.abs() * pl.col("price") * pl.col("waited")).sum()
        / (bought.abs() * pl.col("price")).filter(pl.col("waited").is_not_null()).sum(),
        longest_fill=pl.col("waited").max(),
        fills=pl.len(),
    ).row(0, named=True)


def assert_same(row: dict[str, Any], found: dict[str, Any]) -> None:
    for name, value in found.items():
        assert row[name] == pytest.approx(value, rel=1e-9), name


def test_slippage_and_times_are_those_of_the_tables(run: tt.Run, panel: tt.Panel):
    fills, table = joined(run, panel), run.execution
    assert tuple(table.columns) == FIGURES
    assert {"STOP", "TAKE_PROFIT"} <= set(fills["kind"])
    assert_same(table.row(by_predicate=pl.col("by") == "book", named=True), figures_of(fills))
    for symbol in panel.symbols:
        assert_same(
            table.row(by_predicate=pl.col("name") == symbol, named=True), figures_of(fills.filter(symbol=symbol))
        )
    told = run.slippage.sort("fill_id")
    assert told["decision_price"].to_list() == pytest.approx(fills["decision"].to_list())
    assert told["arrival_price"].to_list() == fills["mid"].to_list()
    assert told["waited"].to_list() == pytest.approx(fills["waited"].to_list(), nan_ok=True)
    side = np.sign(fills["lots"].to_numpy())
    against = side * (fills["price"] / fills["mid"] - 1.0).to_numpy()
    assert told["against_arrival"].to_list() == pytest.approx(against, abs=1e-15)
    assert told["arrival_cost"].sum() == pytest.approx(
        fills.select(pl.sum_horizontal("spread", "slippage", "impact", "latency")).to_series().sum(), rel=1e-9
    )  # what was paid beyond the open is the costs that the run charged, booked elsewhere


def test_fill_rates_and_rejects_are_those_of_the_orders(run: tt.Run, panel: tt.Panel):
    ended = run.orders.filter(pl.col("done_ts").is_not_null(), ~pl.col("kind").is_in(PROTECTIVE))
    assert (ended["filled"] != ended["lots"]).any()
    for symbol in panel.symbols:
        row = run.execution.row(by_predicate=pl.col("name") == symbol, named=True)
        mine, orders = ended.filter(symbol=symbol), run.orders.filter(symbol=symbol)
        assert row["fill_rate"] == pytest.approx(mine["filled"].abs().sum() / mine["lots"].abs().sum(), rel=1e-12)
        assert row["orders"] == orders.height
        assert row["rejected"] == (orders["status"] == "REJECTED").sum() > 0
        assert row["unknown"] == 0
    rates = run.execution.filter(by="instrument")["fill_rate"]
    book = run.execution.row(by_predicate=pl.col("by") == "book", named=True)
    assert rates.min() <= book["fill_rate"] <= rates.max()


def test_models_share_what_the_book_paid(run: tt.Run, panel: tt.Panel):
    models, book = run.execution.filter(by="model"), run.execution.row(0, named=True)
    assert models["name"].to_list() == ["sma_cross", "momentum"]
    for name in ("decision_cost", "arrival_cost"):
        assert models[name].sum() == pytest.approx(book[name], rel=1e-9)
    assert models.select("fill_rate", "rejected", "unknown").null_count().row(0) == (2, 2, 2)
    shares = run.result.shares[run.result.fills["lots"] != 0]
    fills = joined(run, panel)
    for m, name in enumerate(models["name"]):
        mine = fills.with_columns(quantity=pl.Series(shares[:, m]) * 0.01).filter(pl.col("quantity") != 0.0)
        assert_same(models.filter(name=name).row(0, named=True), figures_of(mine))


def test_what_is_undefined_is_null(panel: tt.Panel):
    nothing = tt.simulate(panel, np.full((len(panel.ts), 2), np.nan), capital=1e6)
    row = nothing.execution.row(0, named=True)
    assert (row["orders"], row["fills"], row["rejected"]) == (0, 0, 0)
    assert [row[name] for name in FIGURES[6:]] == [None] * 7
    assert nothing.slippage.is_empty()


def test_the_bundle_and_its_report_tell_it(run: tt.Run, tmp_path: Path):
    bundle = run.save(tmp_path)
    assert json.loads((bundle / "summary.json").read_text())["execution"] == run.execution.to_dicts()
    assert pl.read_parquet(bundle / "execution.parquet").equals(run.execution)
    page = (bundle / "report.html").read_text()
    assert "<h2>Execution</h2>" in page
    assert "against the decision" in page
