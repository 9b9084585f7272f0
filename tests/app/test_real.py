"""Real bars through the commands: import, validate, backtest, replay, report.

Equities 1998-2015 (raw prices: splits are jumps) and crypto 2020-2024, from `../shared/data`. The figures of a run are
held against computations of this file's own, from the source files and not from the store.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

COINS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "LINKUSDT", "LTCUSDT")

SPECS = {
    "trend": """\
name: Trend of four
universe: [SPY, IWM, AAPL, IBM]
timeframe: 1d
start: 1999-01-01
models: [{strategy: equity_trend, sizing: fixed}]
""",
    "trend_4h": """\
name: Daily trend on the 4h grid
universe: [SPY, AAPL]
timeframe: 4h
start: 1999-01-01
models: [{strategy: equity_trend, timeframe: 1d, sizing: fixed}]
""",
    "cross": """\
name: Cross of five
universe: [BTCEUR, ETHEUR, ADAEUR, LTCEUR, XRPEUR]
base_currency: EUR
timeframe: 4h
start: 2021-03-02
end: 2023-12-31
capital: 100_000
models: [{strategy: sma_cross, params: {fast: 20, slow: 50}}]
""",
    "pair": """\
name: Bitcoin against ether
universe: [BTCEUR, ETHEUR]
base_currency: EUR
timeframe: 4h
start: 2021-03-02
end: 2023-12-31
capital: 100_000
models: [{strategy: pairs_reversion}]
""",
    "book": """\
name: Three models
universe: [BTCUSDT, ETHUSDT, SOLUSDT, XRPUSDT, ADAUSDT, LINKUSDT, LTCUSDT]
base_currency: USDT
timeframe: 1h
models:
  - {strategy: sma_cross, timeframe: 4h, budget: 40%}
  - strategy: momentum
    timeframe: 1d
    budget: 30%
    universe: [BTCUSDT, ETHUSDT]
    params: {lookback: 30, long_only: true}
  - {strategy: buy_and_hold, budget: 30%, universe: BTCUSDT}
limits: {drawdown_derisk: 10%, max_weight: 40%}
rebalance: {buffer: 1%}
""",
}


class Place(NamedTuple):
    folder: Path
    files: Path  # the source files

    @property
    def store(self) -> Path:
        return self.folder / "store"


class Ran(NamedTuple):
    told: dict[str, Any]
    bundle: Path

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.bundle / f"{name}.parquet")


def trimtab(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "100", "TRIMTAB_TRACEBACK": ""})


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type, misc]


def told(*args: object) -> Any:
    result = trimtab(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store with all of it, imported by the command."""
    where = Place(tmp_path_factory.mktemp("real"), shared / "data")
    equity = [where.files / f"equity_us/{name}.parquet" for name in
              ("SPY_1d", "IWM_1d", "AAPL_1d", "IBM_1d", "SPY_1h", "AAPL_1h")]  # fmt: skip
    euro = sorted((where.files / "crypto_bitvavo").glob("*.parquet"))
    coins = sorted((where.files / "crypto_binance_2024").glob("*.parquet"))
    for files, options in (
        (equity, ("--asset-class", "equity", "--venue", "alpaca")),
        (euro, ("--venue", "bitvavo")),
        (coins, ("--venue", "binance")),
    ):
        done = told("data", "import", *files, *options, "--data", where.store)
        assert (len(done["imported"]), done["refused"]) == (len(files), [])
    return where


@pytest.fixture(scope="module")
def ran(place: Place) -> dict[str, Ran]:
    """Every spec backtested, and what the command said."""
    return {name: backtest(place, name, text) for name, text in SPECS.items()}


def backtest(place: Place, name: str, text: str, *options: object) -> Ran:
    spec = place.folder / f"{name}.yaml"
    spec.write_text(text)
    said = told("backtest", spec, "--data", place.store, "--out", place.folder / "out", "--no-report", *options)
    return Ran(said, Path(said["bundle"]))


# --- import and validation -------------------------------------------------------------------------------------------


def test_validation_finds_the_known_gaps_and_nothing_worse(place: Place):
    found = told("data", "validate", "--data", place.store)
    report = {(r["name"], r["timeframe"]): r for r in found["series"]}
    assert all(r["errors"] == 0 for r in report.values())
    assert {key: (r["rows"], r["missing"], r["counts"].get("gap", 0)) for key, r in report.items()} == {
        ("SPY", "1d"): (4529, 0, 0),
        ("IWM", "1d"): (3924, 0, 0),
        ("AAPL", "1d"): (4529, 0, 0),
        ("IBM", "1d"): (4529, 0, 0),
        ("SPY", "1h"): (31625, 2, 0),
        ("AAPL", "1h"): (31624, 3, 1),
        ("BTCEUR", "1h"): (35041, 24, 9),
        ("ETHEUR", "1h"): (24781, 20, 6),
        ("ADAEUR", "1h"): (24776, 25, 7),
        ("LTCEUR", "1h"): (24777, 24, 9),
        ("XRPEUR", "1h"): (24781, 20, 6),
        **{(coin, "1h"): (8762, 0, 0) for coin in COINS},
    }


def test_the_hours_that_validation_misses_are_the_files_own(place: Place):
    """Round the clock every hour between the first and the last must be there: counted from the files alone."""
    report = {r["name"]: r for r in told("data", "validate", "BTCEUR", "LTCEUR", "--data", place.store)["series"]}
    for symbol, found in report.items():
        times = pl.read_parquet(place.files / f"crypto_bitvavo/{symbol}_1h.parquet")["open_time"]
        hours = (times[-1] - times[0]) // dt.timedelta(hours=1) + 1
        steps = times.diff().drop_nulls()
        assert found["missing"] == hours - len(times)
        assert found["counts"]["gap"] == int((steps > dt.timedelta(hours=1)).sum())


def test_the_splits_of_raw_prices_are_named(place: Place):
    found = told("data", "validate", "AAPL", "IBM", "-t", "1d", "--data", place.store)
    days = {r["name"]: [f["instant"][:10] for f in r["findings"] if f["fault"] == "split"] for r in found["series"]}
    assert days == {"AAPL": ["2000-06-21", "2005-02-28", "2014-06-09"], "IBM": ["1999-05-27"]}


def test_the_store_answers_sql_with_the_files_numbers(place: Place):
    query = "select max(high) as high, count(*) as n from bars where symbol = 'SOLUSDT' and timeframe = '1h'"
    (row,) = told("data", "sql", query, "--data", place.store)
    frame = pl.read_parquet(place.files / "crypto_binance_2024/SOLUSDT_1h.parquet")
    assert row == {"high": frame["high"].max(), "n": frame.height}


# --- figures against computations of our own -------------------------------------------------------------------------

HOLD = """\
universe: AAPL
timeframe: 1d
start: 2000-01-01
end: 2010-12-31
costs: {taker_fee: 10bps, half_spread: 5bps, slippage: 1bps}
models: [{strategy: buy_and_hold}]
"""


def test_holding_apple_is_one_purchase_computed_by_hand(place: Place):
    """Decided at the first close after the start, bought at the next open, marked at the last close."""
    run = backtest(place, "hold", HOLD)
    days = pl.read_parquet(place.files / "equity_us/AAPL_1d.parquet")
    days = days.filter(pl.col("open_time").is_between(utc(2000, 1, 1), utc(2010, 12, 30)))
    lots = math.floor(1_000_000 / days["close"][0])
    price = days["open"][1] * (1 + 0.0005 + 0.0001)
    cash = 1_000_000 - lots * price * (1 + 0.001)
    assert cash > 0  # else the purchase were cut to the cash, and this were another computation
    metrics = run.told["metrics"]
    assert metrics["final_equity"] == pytest.approx(cash + lots * days["close"][-1], rel=1e-12)
    assert run.table("fills")["lots"].to_list() == [lots]
    assert run.table("fills")["price"][0] == pytest.approx(price, rel=1e-12)
    mid = lots * days["open"][1]
    assert metrics["costs"] == pytest.approx(
        dict.fromkeys(metrics["costs"], 0.0)
        | {"fee": lots * price * 0.001, "spread": mid * 0.0005, "slippage": mid * 0.0001},
        rel=1e-9,
    )
    marks = np.concatenate(([1e6, 1e6], cash + lots * days["close"].to_numpy()[1:]))
    assert metrics["net"]["max_drawdown"] == pytest.approx((marks / np.maximum.accumulate(marks) - 1).min(), rel=1e-9)


def test_the_impact_of_the_venues_preset_is_the_square_root_law(place: Place):
    run = backtest(place, "hold_venue", "\n".join(line for line in HOLD.splitlines() if "costs" not in line))
    days = pl.read_parquet(place.files / "equity_us/AAPL_1d.parquet").filter(pl.col("open_time") >= utc(2000, 1, 1))
    lots = int(run.table("fills")["lots"][0])
    volume = days["volume"][0]  # one day is known when the order is sent
    impact = 0.015 * math.sqrt(lots / volume) * lots * days["open"][1]
    assert run.told["metrics"]["costs"]["impact"] == pytest.approx(impact, rel=1e-9)
    assert run.told["metrics"]["costs"]["fee"] == 0.0


CROSS = """\
universe: BTCUSDT
base_currency: USDT
timeframe: 4h
costs: {taker_fee: 10bps}
models: [{strategy: sma_cross, params: {fast: 10, slow: 40}}]
"""


def test_a_cross_of_averages_is_a_loop_of_fifteen_lines(place: Place):
    run = backtest(place, "alone", CROSS)
    hours = pl.read_parquet(place.files / "crypto_binance_2024/BTCUSDT_1h.parquet")
    bars = hours.group_by_dynamic("open_time", every="4h").agg(
        pl.col("open").first(), pl.col("close").last(), pl.len()
    ).filter(pl.col("len") == 4)  # fmt: skip
    bars = bars.with_columns(fast=pl.col("close").rolling_mean(10), slow=pl.col("close").rolling_mean(40))
    cash, held, side, wanted, target = 1_000_000.0, 0.0, 0, 0, 0.0
    for row in bars.iter_rows(named=True):
        if wanted != side and wanted:
            size = min(target, cash / (row["open"] * 1.001))
            held = math.floor(size / 1e-6 + 1e-9) * 1e-6
            cash -= held * row["open"] * 1.001
        elif wanted != side:
            cash, held = cash + held * row["open"] * 0.999, 0.0
        side = wanted
        wanted = int(row["slow"] is not None and row["fast"] > row["slow"])
        target = (cash + held * row["close"]) / row["close"]
    assert run.told["metrics"]["final_equity"] == pytest.approx(cash + held * bars["close"][-1], rel=1e-8)
    assert run.told["metrics"]["net"]["trades"] > 20


@pytest.mark.parametrize("name", SPECS)
def test_the_money_adds_up_from_fills_and_the_files(place: Place, ran: dict[str, Ran], name: str):
    """Capital, less what the fills cost, and what is held at the files' last close: the final equity."""
    run = ran[name]
    fills, metrics = run.table("fills"), run.told["metrics"]
    assert fills.height > 10
    cash = metrics["capital"] - float((fills["quantity"] * fills["price"] + fills["fee"]).sum())
    held = fills.group_by("symbol").agg(pl.col("quantity").sum())
    worth = sum(q * last_close(place, name, symbol) for symbol, q in held.iter_rows())
    assert metrics["final_equity"] == pytest.approx(cash + worth, rel=1e-9)
    assert run.table("equity")["equity"][-1] == metrics["final_equity"]
    assert metrics["net"]["total_return"] == pytest.approx(metrics["final_equity"] / metrics["capital"] - 1, rel=1e-12)
    paid = sum(float(fills[kind].sum()) for kind in ("fee", "spread", "slippage", "impact", "latency"))
    assert sum(metrics["costs"].values()) == pytest.approx(paid, rel=1e-9)
    assert metrics["gross"]["total_return"] > metrics["net"]["total_return"]
    pnl = sum(model["pnl"] for model in run.told["models"].values())
    assert pnl == pytest.approx(metrics["final_equity"] - metrics["capital"], rel=1e-6, abs=1e-3)


def last_close(place: Place, name: str, symbol: str) -> float:
    folder = {"trend": "equity_us", "trend_4h": "equity_us", "cross": "crypto_bitvavo", "pair": "crypto_bitvavo"}
    step = "1d" if name == "trend" else "1h"
    frame = pl.read_parquet(place.files / folder.get(name, "crypto_binance_2024") / f"{symbol}_{step}.parquet")
    if name in ("cross", "pair"):
        frame = frame.filter(pl.col("open_time") < utc(2023, 12, 31))
    return float(frame["close"][-1])


@pytest.mark.parametrize("name", SPECS)
def test_no_fill_is_earlier_than_its_decision_nor_better_than_the_market(ran: dict[str, Ran], name: str):
    run = ran[name]
    fills = run.table("fills").filter(pl.col("order_id") > 0)
    both = fills.join(run.table("orders").select("order_id", decided="ts"), on="order_id")
    assert both.height == fills.height
    assert (both["ts"] >= both["decided"]).all()
    assert ((both["price"] - both["mid"]) * both["lots"].sign() > 0).all()


def test_the_hourly_coins_fill_at_opens_of_the_files(place: Place, ran: dict[str, Ran]):
    fills = ran["book"].table("fills").filter(pl.col("order_id") > 0)
    for symbol in fills["symbol"].unique():
        bars = pl.read_parquet(place.files / f"crypto_binance_2024/{symbol}_1h.parquet")
        mine = fills.filter(pl.col("symbol") == symbol).with_columns(pl.col("ts").cast(bars.schema["open_time"]))
        met = mine.join(bars, left_on="ts", right_on="open_time")
        assert met.height == mine.height
        assert (met["mid"] == met["open"]).all()
        assert (met["quantity"].abs() <= 0.1 * met["volume"] + 1e-6).all()  # the preset's participation


def test_daily_trends_are_entered_where_the_averages_say(place: Place, ran: dict[str, Ran]):
    orders = ran["trend"].table("orders").filter((pl.col("lots") > 0) & ~pl.col("reduce_only"))
    assert orders.height > 50
    for symbol in ("SPY", "IWM", "AAPL", "IBM"):
        bars = pl.read_parquet(place.files / f"equity_us/{symbol}_1d.parquet").with_columns(
            known=(pl.col("open_time") + dt.timedelta(days=1)).cast(pl.Datetime("ns", "UTC")),
            above=pl.col("close") > pl.col("close").rolling_mean(50) - 1e-9,
        )
        mine = orders.filter(pl.col("symbol") == symbol).join(bars, left_on="ts", right_on="known")
        assert mine.height == orders.filter(pl.col("symbol") == symbol).height > 5
        assert mine["above"].all()  # a holder that falls under its exit average is never bought


def test_a_daily_model_on_the_4h_grid_decides_when_the_session_is_over(ran: dict[str, Ran]):
    run = ran["trend_4h"]
    grid = run.table("equity")["ts"].dt.convert_time_zone("America/New_York").dt.hour().unique().to_list()
    assert {13, 16} <= set(grid)  # two bars a session, from its open
    decided = run.table("orders")["ts"].dt.convert_time_zone("America/New_York")
    assert set(decided.dt.hour().unique()) <= {16, 13}
    assert decided.dt.hour().to_list().count(16) > 0.95 * len(decided)  # 13:00 closes the half days only


def test_spot_is_not_sold_short_and_the_run_says_so(ran: dict[str, Ran]):
    run = ran["pair"]
    refused = [a for a in run.told["actions"] if (a["limit"], a["action"]) == ("shortable", "REFUSE")]
    assert {a["symbol"] for a in refused} == {"BTCEUR", "ETHEUR"}
    assert (run.table("fills")["position"] >= 0).all()
    assert any("cannot be sold short" in note for note in run.told["notes"])


def test_three_models_are_one_book(ran: dict[str, Ran]):
    run = ran["book"]
    assert list(run.told["models"]) == ["sma_cross", "momentum", "buy_and_hold"]
    assert {a["limit"] for a in run.told["actions"]} >= {"drawdown_derisk"}
    assert run.table("weights").drop("ts").to_numpy().max() < 0.45  # max_weight 40%, and a day's rise
    assert set(run.table("trades")["model"]) == {"", "sma_cross", "momentum", "buy_and_hold"}
    net = run.told["metrics"]["net"]
    assert -1 < net["total_return"] < 2
    assert -0.5 < net["max_drawdown"] < -0.1
    assert net["exposure"] <= 1.0


# --- replay and report -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_a_bundle_replays_to_the_bit(place: Place, ran: dict[str, Ran], name: str):
    said = told("replay", ran[name].bundle, "--data", place.store)
    assert said["identical"], said["differences"]


@pytest.mark.parametrize("name", ["trend_4h", "book"])
def test_a_bundle_gets_a_report_that_needs_nothing_else(place: Place, ran: dict[str, Ran], name: str):
    page = place.folder / f"{name}.html"
    made = trimtab("report", ran[name].bundle, "--data", place.store, "--out", page)
    assert made.exit_code == 0, made.output
    text = page.read_text(encoding="utf-8")
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert ran[name].told["run_id"] in text
    assert all(symbol in text for symbol in ran[name].table("fills")["symbol"].unique())
    assert "<script src" not in text
    assert "<link" not in text


def test_bars_imported_again_with_a_change_do_not_replay(place: Place, ran: dict[str, Ran]):
    """Other data in the store is named, also where no figure came out differently."""
    store = place.folder / "other"
    files = [place.files / f"crypto_bitvavo/{symbol}_1h.parquet" for symbol in ("BTCEUR", "ETHEUR")]
    bars = pl.read_parquet(files[0])
    changed = place.folder / "BTCEUR_1h.parquet"
    late = pl.col("open_time") == utc(2023, 12, 1, 3)  # the close of a 4h bar
    bars.with_columns(
        pl.when(late).then(pl.col("close") + 0.1).otherwise(pl.col("close")).alias("close")
    ).write_parquet(changed)
    told("data", "import", changed, files[1], "--venue", "bitvavo", "--data", store)
    result = trimtab("replay", ran["pair"].bundle, "--data", store)
    assert result.exit_code == 1
    assert "the store's bars are not those that the run saw" in result.stdout
