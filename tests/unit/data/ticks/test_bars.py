"""Bars out of trades against group-bys of two other engines and a fold in plain Python; nothing gets lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab.data.store import Store
from trimtab.data.ticks.bars import Span, threshold_bars, time_bars
from trimtab.data.ticks.importing import import_ticks
from trimtab.types import DAY, HOUR, Instrument, NotEnoughData, TrimtabError

MakeTrades = Callable[..., pl.DataFrame]
Saved = Callable[..., Path]
BEGIN = dt.datetime(2024, 3, 4, tzinfo=dt.UTC)
NS = int(BEGIN.timestamp()) * 10**9
OHLC = ["open", "high", "low", "close"]


def filled(store: Store, coin: Instrument, saved: Saved, made: pl.DataFrame) -> pl.DataFrame:
    assert import_ticks(store, saved(made), coin).refused == {}
    return made


@pytest.mark.parametrize(("every", "step"), [("10s", 10), ("1m", 60), ("15m", 900), ("1h", 3_600), ("1d", 86_400)])
def test_time_bars_equal_the_group_bys_of_duckdb_and_polars(
    every: str, step: int, store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    made = filled(store, coin, saved, trades(20_000))
    found = time_bars(store, coin, every)
    bars = found.frame
    sums = "sum(qty), sum(price * qty), sum(case when is_buyer_maker then 0 else qty end), count(*)"
    with duckdb.connect() as connection:
        path = saved(made.with_columns(ms=pl.col("ts").dt.epoch("ms")), "made")
        rows = connection.execute(
            f"select ms // {step * 1000} * {step * 1000} as o, arg_min(price, trade_id), max(price), min(price), "
            f"arg_max(price, trade_id), {sums} from '{path}' group by o order by o"
        ).fetchall()
    assert bars["open_time"].dt.epoch("ms").to_list() == [row[0] for row in rows]
    assert bars.select(OHLC).rows() == [row[1:5] for row in rows]  # to the bit
    np.testing.assert_allclose(bars.select("volume", "dollars", "buy_volume"), [row[5:8] for row in rows], rtol=1e-12)
    assert bars["trades"].to_list() == [row[8] for row in rows]
    other = made.group_by_dynamic("ts", every=f"{step}s").agg(
        pl.col("price").first().alias("open"), pl.col("price").max().alias("high"), pl.col("price").min().alias("low"),
        pl.col("price").last().alias("close"), pl.col("qty").sum(),
    )  # fmt: skip
    assert other.select(OHLC).equals(bars.select(OHLC))
    assert (found.trades, found.left_out, found.lacking) == (20_000, 0, 0)
    assert (bars["close_time"] - bars["open_time"]).unique().to_list() == [dt.timedelta(seconds=step)]


def test_a_week_reaches_over_days(store: Store, coin: Instrument, trades: MakeTrades, saved: Saved) -> None:
    made = filled(store, coin, saved, trades(60_000, days=14))
    bars = time_bars(store, coin, "1w").frame
    assert bars["open_time"].to_list() == [BEGIN, BEGIN + dt.timedelta(days=7)]
    first = made.filter(pl.col("ts") < BEGIN + dt.timedelta(days=7))
    assert bars["trades"].to_list() == [len(first), 60_000 - len(first)]
    assert bars.select(OHLC).row(0) == (
        first["price"][0], first["price"].max(), first["price"].min(), first["price"][-1]
    )  # fmt: skip


def test_only_whole_bars_are_bars(store: Store, coin: Instrument, trades: MakeTrades, saved: Saved) -> None:
    begin = BEGIN + dt.timedelta(hours=23, minutes=54, seconds=15)
    made = filled(store, coin, saved, trades(5_000, days=0.01, begin=begin))  # until 00:08:39
    found = time_bars(store, coin, "1m")
    assert str(found.frame["open_time"][0].time()) == "23:55:00"
    assert str(found.frame["close_time"][-1].time()) == "00:08:00"
    assert found.left_out == 5_000 - found.frame["trades"].sum() > 0
    assert found.frame["volume"].sum() == pytest.approx(
        made.filter(pl.col("ts").dt.time().is_between(dt.time(23, 55), dt.time(23, 59, 59, 999_999)) |
                    (pl.col("ts").dt.time() < dt.time(0, 8)))["qty"].sum(), rel=1e-12,
    )  # fmt: skip
    assert time_bars(store, coin, "1d").frame.is_empty()


def test_a_time_without_trades_has_no_bar_and_missing_ids_are_told(
    store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    made = trades(20_000)
    hole = made.filter(~pl.col("ts").is_between(BEGIN + dt.timedelta(hours=5.5), BEGIN + dt.timedelta(hours=7.5)))
    filled(store, coin, saved, hole)
    found = time_bars(store, coin, "1h")
    assert len(found.frame) == 71
    assert BEGIN + dt.timedelta(hours=6) not in found.frame["open_time"].to_list()
    assert found.lacking == 2  # the one that breaks off, and the one that begins late


def test_start_and_end_cut_whole_bars(store: Store, coin: Instrument, trades: MakeTrades, saved: Saved) -> None:
    filled(store, coin, saved, trades(20_000))
    span = Span(NS + 5 * HOUR + HOUR // 2, NS + DAY + 2 * HOUR)
    bars, whole = time_bars(store, coin, "1h", span).frame, time_bars(store, coin, "1h").frame
    assert bars.equals(whole[6:26])
    with pytest.raises(NotEnoughData, match="stored are 2024-03-04 to 2024-03-06"):
        time_bars(store, coin, "1h", Span(NS + 30 * DAY, None))


def folded(made: pl.DataFrame, amounts: list[float], threshold: float) -> list[tuple[float, ...]]:
    """Threshold bars by the rule, trade by trade: first and last price, volume, trades."""
    bars: list[tuple[float, ...]] = []
    first, total = 0, 0.0
    price, qty = made["price"].to_list(), made["qty"].to_list()
    for k, amount in enumerate(amounts):
        total += amount
        if total >= threshold * (1 - 1e-9):
            part = slice(first, k + 1)
            bars.append((price[first], max(price[part]), min(price[part]), price[k], sum(qty[part]), k + 1 - first))
            first, total = k + 1, 0.0
    return bars


@pytest.mark.parametrize(("measure", "threshold"), [("volume", 25.0), ("volume", 9_000.0), ("dollars", 3_333.0)])
def test_threshold_bars_equal_a_plain_fold_over_all_days(
    measure: str, threshold: float, store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    made = filled(store, coin, saved, trades(10_000))
    amounts = (made["qty"] if measure == "volume" else made["price"] * made["qty"]).to_list()
    found = threshold_bars(store, coin, measure, threshold)
    expected = folded(made, amounts, threshold)
    assert found.frame.select(OHLC).rows() == [row[:4] for row in expected]
    np.testing.assert_allclose(found.frame["volume"], [row[4] for row in expected], rtol=1e-12)
    assert found.frame["trades"].to_list() == [row[5] for row in expected]
    # Every trade is in one bar or behind the last one.
    rest = made.tail(found.left_out) if found.left_out else made.clear()
    assert found.frame["trades"].sum() + found.left_out == found.trades == 10_000
    assert float(found.frame["volume"].sum()) + float(rest["qty"].sum()) == pytest.approx(made["qty"].sum(), rel=1e-12)
    assert (found.frame[measure].to_numpy() >= threshold * (1 - 1e-9)).all()


def test_a_threshold_is_reached_although_decimals_do_not_add_up(
    store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    filled(store, coin, saved, trades(40).with_columns(qty=pl.lit(0.1)))
    assert sum([0.1] * 10) < 1.0
    assert threshold_bars(store, coin, "volume", 1.0).frame["trades"].to_list() == [10] * 4


def test_one_trade_beyond_the_threshold_is_one_bar(
    store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    filled(store, coin, saved, trades(5).with_columns(qty=pl.Series([1.0, 50.0, 1.0, 1.0, 9.0])))
    found = threshold_bars(store, coin, "volume", 10.0)
    assert found.frame["volume"].to_list() == [51.0, 11.0]
    with pytest.raises(NotEnoughData, match="no bar closes"):
        threshold_bars(store, coin, "volume", 1e6)
    with pytest.raises(TrimtabError, match="expected a number above 0"):
        threshold_bars(store, coin, "volume", -1.0)


def test_an_unknown_side_leaves_the_buy_volume_open(
    store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    made = trades(5_000).with_columns(is_buyer_maker=pl.when(pl.col("trade_id") > 3_000).then("is_buyer_maker"))
    filled(store, coin, saved, made)
    bars = time_bars(store, coin, "1d").frame
    assert bars["buy_volume"].is_null().to_list() == [True, True, False]


def test_bars_of_an_exchange_begin_with_its_session(store: Store, trades: MakeTrades, saved: Saved) -> None:
    from trimtab.data.catalogue import default_instrument

    stock = msgspec.structs.replace(default_instrument("SPY", "equity", "alpaca"), calendar="XNYS")
    begin = BEGIN + dt.timedelta(hours=14, minutes=30)  # 09:30 in New York
    made = filled(store, stock, saved, trades(50_000, days=6.5 / 24, begin=begin))
    bars = time_bars(store, stock, "4h").frame
    assert [str(t.time()) for t in bars["open_time"]] == ["14:30:00", "18:30:00"]
    assert [str(t.time()) for t in bars["close_time"]] == ["18:30:00", "21:00:00"]  # the last one ends with the session
    assert bars["trades"].sum() == len(made)
    assert bars["volume"].sum() == pytest.approx(made["qty"].sum(), rel=1e-12)
    late = time_bars(store, stock, "4h", Span(NS + 15 * HOUR, None)).frame
    assert len(late) == 1


@pytest.mark.parametrize("every", ["7s", "0s", "2y"])
def test_a_length_that_is_none_is_refused(every: str, store: Store, coin: Instrument) -> None:
    with pytest.raises(TrimtabError):
        time_bars(store, coin, every)
