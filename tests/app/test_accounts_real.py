"""Accounts on real history: perpetuals with the funding that their venue charged, and a dollar fund held in euros.

Every figure is computed again here from the source files, with Polars and plain sums.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from trimtab.app.cli import app

PERPETUALS = """\
name: Two perpetuals, one against the other
universe: [BTCUSDT, ETHUSDT]
base_currency: USDT
timeframe: 1h
capital: 100_000
cash_flows: [{at: 2025-05-20, amount: 30_000}]
models:
  - {name: long, strategy: buy_and_hold, universe: BTCUSDT, params: {weight: 0.8}, budget: 50%}
  - {name: cross, strategy: sma_cross, universe: ETHUSDT, params: {fast: 10, slow: 40, short: true}, budget: 50%}
costs: {taker_fee: 5bps}
limits: {heat: 30%}
"""

FUND = """\
name: A dollar fund in euros
universe: SPY
base_currency: EUR
timeframe: 1d
start: 2007-02-01
capital: 100_000
fx: {USD: EURUSD}
cash_flows: [{at: 2009-03-09, amount: 50_000}]
models: [{strategy: buy_and_hold}]
rebalance: {when: always, buffer: 2%}
"""


def told(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args), "--json"], env={"COLUMNS": "100", "TRIMTAB_TRACEBACK": ""})
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class Ran:
    """A spec backtested by the command: what it said, its tables, and its summary."""

    def __init__(self, folder: Path, text: str) -> None:
        spec = folder / "book.yaml"
        spec.write_text(text)
        self.said = told("backtest", spec, "--data", folder / "store", "--out", folder / "out", "--no-report")
        self.bundle = Path(self.said["bundle"])
        self.summary = json.loads((self.bundle / "summary.json").read_text())

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.bundle / f"{name}.parquet")


@pytest.fixture(scope="module")
def perpetuals(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    folder, files = tmp_path_factory.mktemp("perpetuals"), shared / "data/crypto_binance_perp"
    for symbol in ("BTCUSDT", "ETHUSDT"):
        rates = files / f"{symbol}_funding8h.parquet"
        done = told(
            "data", "import", files / f"{symbol}_1m.parquet", "--kind", "perpetual", "--venue", "binance",
            "--funding", rates, "--data", folder / "store",
        )  # fmt: skip
        assert done["refused"] == []
    return Ran(folder, PERPETUALS), files


def closes_of(files: Path, symbol: str) -> pl.DataFrame:
    """Closes by the hour: ts and close, from the minutes of the file."""
    minutes = pl.read_parquet(files / f"{symbol}_1m.parquet").with_columns(
        ts=pl.col("open_time") + pl.duration(minutes=1)
    )
    return minutes.filter(pl.col("ts").dt.minute() == 0).select("ts", "close")


def funding_of(ran: Ran, files: Path, symbol: str) -> pl.DataFrame:
    """Each stamp while bars are there: rate, close, units held at it, and what was paid.

    An order that fills at the open of the stamp's instant came after it, and pays nothing.
    """
    rates = pl.read_parquet(files / f"{symbol}_funding8h.parquet").with_columns(ts=pl.col("ts").dt.truncate("1s"))
    fills = ran.table("fills").filter(pl.col("symbol") == symbol)
    held = fills.select(ts="ts", held=pl.col("quantity").cum_sum()).with_columns(
        pl.col("ts").cast(pl.Datetime("us", "UTC"))
    )
    at = rates.join(closes_of(files, symbol), on="ts", how="inner").sort("ts")
    at = at.join_asof(held.sort("ts"), on="ts", strategy="backward", allow_exact_matches=False).with_columns(
        pl.col("held").fill_null(0.0)
    )
    return at.with_columns(paid=pl.col("held") * pl.col("close") * pl.col("funding_rate"))


def test_funding_is_what_the_venue_charged_on_what_was_held(perpetuals: tuple[Ran, Path]) -> None:
    ran, files = perpetuals
    paid = {symbol: funding_of(ran, files, symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
    for symbol, stamps in paid.items():
        assert stamps.height > 80, symbol
        assert stamps["ts"].dt.hour().unique().sort().to_list() == [0, 8, 16]
        assert (stamps["held"] != 0.0).sum() > 60
    assert (paid["ETHUSDT"]["held"] < 0.0).any()
    whole = sum(float(stamps["paid"].sum()) for stamps in paid.values())
    assert ran.said["metrics"]["costs"]["funding"] == pytest.approx(whole, rel=1e-9)
    for name, symbol in (("long", "BTCUSDT"), ("cross", "ETHUSDT")):
        fees = ran.table("fills").filter(pl.col("symbol") == symbol)["fee"].sum()
        costs = ran.summary["attribution"]["model"][name]["costs"]
        assert costs - fees == pytest.approx(float(paid[symbol]["paid"].sum()), rel=1e-6)


def test_the_close_stands_for_the_mark_price_of_the_venue(perpetuals: tuple[Ran, Path]) -> None:
    """The venue charges its mark price; the last trade before the stamp is within a few bps of it."""
    ran, files = perpetuals
    for symbol in ("BTCUSDT", "ETHUSDT"):
        mark = pl.read_parquet(files / f"{symbol}_mark_8h.parquet").select(ts="open_time", mark="open")
        both = funding_of(ran, files, symbol).join(mark, on="ts", how="inner")
        assert both.height > 80
        gap = (both["close"] / both["mark"] - 1.0).abs()
        assert float(gap.max()) < 0.002
        assert float(gap.mean()) < 0.0005


def test_equity_is_cash_and_marks_less_fees_and_funding_at_every_hour(perpetuals: tuple[Ran, Path]) -> None:
    ran, files = perpetuals
    equity = ran.table("equity").with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))
    whole = np.full(equity.height, 100_000.0)
    whole += np.where(equity["ts"] >= pl.Series(["2025-05-20"]).str.to_datetime(time_zone="UTC")[0], 30_000.0, 0.0)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        fills = ran.table("fills").filter(pl.col("symbol") == symbol).sort("ts")
        flows = fills.select(
            pl.col("ts").cast(pl.Datetime("us", "UTC")),
            held=pl.col("quantity").cum_sum(),
            spent=(pl.col("quantity") * pl.col("price") + pl.col("fee")).cum_sum(),
        )
        paid = funding_of(ran, files, symbol).select("ts", funding=pl.col("paid").cum_sum())
        at = equity.select("ts").join_asof(closes_of(files, symbol).sort("ts"), on="ts", strategy="backward")
        at = (
            at.join_asof(flows, on="ts", strategy="backward", allow_exact_matches=False)
            .join_asof(paid, on="ts", strategy="backward")
            .fill_null(0.0)
        )
        whole += (at["held"] * at["close"] - at["spent"] - at["funding"]).to_numpy()
    np.testing.assert_allclose(equity["equity"].to_numpy(), whole, rtol=0.0, atol=1e-6)


def test_heat_is_the_margin_in_use(perpetuals: tuple[Ran, Path]) -> None:
    """Perpetuals come with 5% of initial margin, so 30% of heat is six times the equity: a tenth of it is in use."""
    ran, _ = perpetuals
    used = ran.table("utilisation")
    assert used["limit"].unique().to_list() == ["heat"]
    gross = ran.table("weights").select(pl.sum_horizontal(pl.col("BTCUSDT", "ETHUSDT").abs())).to_series()
    np.testing.assert_allclose(used["measure"], 0.05 * gross, rtol=1e-9)
    np.testing.assert_allclose(used["used"], 0.05 * gross / 0.3, rtol=1e-9)
    assert ran.said["limits"][0]["worst"] == pytest.approx(used["highest"].max())


# --- a dollar fund in euros ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fund(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, pl.DataFrame]:
    """The run, and beside its rows the close of the fund and of the pair as a reader of the files knows them."""
    folder = tmp_path_factory.mktemp("fund")
    for file, options in (
        ("equity_us/SPY_1d.parquet", ("--asset-class", "equity", "--venue", "alpaca")),
        ("fx/EURUSD_1h.parquet", ("--asset-class", "fx")),
    ):
        done = told("data", "import", shared / "data" / file, *options, "--data", folder / "store")
        assert done["refused"] == []
    ran = Ran(folder, FUND)
    spy = pl.read_parquet(shared / "data/equity_us/SPY_1d.parquet").select(
        ts=pl.col("open_time") + pl.duration(days=1), close="close"
    )
    pair = pl.read_parquet(shared / "data/fx/EURUSD_1h.parquet").select(
        ts=pl.col("open_time") + pl.duration(hours=1), rate="close"
    )
    rows = ran.table("equity").with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))
    rows = rows.join(spy, on="ts", how="left").join_asof(pair.sort("ts"), on="ts", strategy="backward")
    assert rows["close"].null_count() == rows["rate"].null_count() == 0
    return ran, rows


def test_euros_are_dollars_at_the_rate_that_was_known(fund: tuple[Ran, pl.DataFrame]) -> None:
    ran, rows = fund
    fills = ran.table("fills").with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))
    assert fills.height >= 2
    flows = fills.select(
        "ts",
        held=pl.col("quantity").cum_sum(),
        spent=(pl.col("quantity") * pl.col("price") + pl.col("fee")).cum_sum(),
    )
    # A fill at the open bears that instant, which is the close of the row before: it belongs to the row after.
    at = rows.join_asof(flows, on="ts", strategy="backward", allow_exact_matches=False).with_columns(
        pl.col("held", "spent").fill_null(0.0)
    )
    deposit = pl.Series(["2009-03-09"]).str.to_datetime(time_zone="UTC")[0]
    paid = np.where(at["ts"] >= deposit, 50_000.0, 0.0)  # of the wallet: dollars
    dollars = 100_000.0 * at["rate"][0] + paid - at["spent"].to_numpy()
    euros = (dollars + (at["held"] * at["close"]).to_numpy()) / at["rate"].to_numpy()
    np.testing.assert_allclose(at["equity"].to_numpy(), euros, rtol=1e-9)


def test_what_the_dollar_did_is_no_profit_of_the_model(fund: tuple[Ran, pl.DataFrame]) -> None:
    """Profit in dollars at the last rate, what the rate made of the cash brought in, and the deposit: all there is."""
    ran, rows = fund
    metrics, views = ran.summary["metrics"], ran.summary["attribution"]
    first, last = float(rows["rate"][0]), float(rows["rate"][-1])
    deposit = pl.Series(["2009-03-09"]).str.to_datetime(time_zone="UTC")[0]
    then = float(rows.filter(pl.col("ts") >= deposit)["rate"][0])
    brought = 100_000.0 * first  # dollars
    assert metrics["cash_paid_in"] == pytest.approx(50_000.0 / then, rel=1e-12)
    assert metrics["revaluation"] == pytest.approx(
        (brought / last - 100_000.0) + 50_000.0 * (1 / last - 1 / then), rel=1e-9
    )
    assert views["cash"]["exchange rates"]["net"] == pytest.approx(metrics["revaluation"], rel=1e-9)
    profit = metrics["final_equity"] - 100_000.0 - metrics["cash_paid_in"] - metrics["revaluation"]
    for by in ("model", "instrument", "asset_class", "side"):
        assert sum(part["net"] for part in views[by].values()) == pytest.approx(profit, abs=1e-4), by
    assert last < first  # the euro fell: what was brought in as dollars gained
    assert metrics["revaluation"] > 15_000.0
    assert set(metrics["money_weighted_return"]) == {"net", "holding"}
    assert 0.03 < metrics["money_weighted_return"]["net"] < 0.15
