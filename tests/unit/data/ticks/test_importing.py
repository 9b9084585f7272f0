"""Days are whole or absent, the same file twice changes nothing, and what was cut off goes on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from trimtab.data.catalogue import default_instrument
from trimtab.data.store import Store, instruments
from trimtab.data.ticks import days, files
from trimtab.data.ticks.days import coverage, kinds_of, path_of, read_day, ticking
from trimtab.data.ticks.importing import import_ticks
from trimtab.data.ticks.kinds import KINDS, TRADES
from trimtab.types import Instrument, NotEnoughData, TrimtabError

BEGIN = dt.datetime(2024, 3, 4, tzinfo=dt.UTC)
MakeTrades = Callable[..., pl.DataFrame]
Saved = Callable[..., Path]


def stored(store: Store, coin: Instrument) -> pl.DataFrame:
    return pl.concat(read_day(store, coin, TRADES, day) for day in days.days(store, coin, TRADES))


def stamps(store: Store) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in (store.root / "ticks").rglob("*.parquet")}


def test_a_file_becomes_days(store: Store, coin: Instrument, trades: MakeTrades, saved: Saved) -> None:
    made = trades(5_000)
    done = import_ticks(store, saved(made), coin)
    assert [str(day) for day in days.days(store, coin, TRADES)] == ["2024-03-04", "2024-03-05", "2024-03-06"]
    assert (done.rows, done.new, done.refused, done.report.counts) == (5_000, 5_000, {}, {})
    assert stored(store, coin).select(made.columns).equals(made)
    for day in days.days(store, coin, TRADES):
        assert (read_day(store, coin, TRADES, day)["ts"].dt.date() == day).all()
    assert instruments(store) == (coin,) == tuple(ticking(store))
    assert kinds_of(store, coin) == [TRADES]
    assert coverage(store, coin, TRADES)[2:4] == (3, 5_000)


def test_the_same_again_writes_nothing(store: Store, coin: Instrument, trades: MakeTrades, saved: Saved) -> None:
    import_ticks(store, saved(trades(3_000)), coin)
    before = stamps(store)
    assert import_ticks(store, saved(trades(3_000)), coin).new == 0
    assert import_ticks(store, saved(trades(3_000)), coin, replace=True).new == 0
    other_clock = trades(3_000).with_columns(ts_local=pl.col("ts").dt.cast_time_unit("ns"))
    assert import_ticks(store, saved(other_clock), coin).new == 0  # who received it when is no fact of a trade
    assert stamps(store) == before


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_parts_in_any_order_and_overlapping_make_the_whole(
    order: tuple[int, ...], store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    made = trades(3_000, days=1)
    parts = [made[:1_200], made[1_000:2_000], made[1_900:]]
    new = [import_ticks(store, saved(parts[k]), coin).new for k in order]
    assert sum(new) == 3_000
    assert stored(store, coin).select(made.columns).equals(made)


def test_an_import_that_is_cut_off_goes_on(
    store: Store, coin: Instrument, trades: MakeTrades, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(trades(4_000, days=4))
    monkeypatch.setattr(files, "BATCH", 500)

    def cut(stage: str, done: int, total: int) -> None:
        if done > 3_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_ticks(store, path, coin, tell=cut)
    whole = days.days(store, coin, TRADES)
    assert 1 <= len(whole) < 4
    before = stamps(store)
    left = path_of(store, coin, TRADES, dt.date(2024, 3, 7)).with_name(".2024-03-07.parquet.killed.part")
    left.write_bytes(b"half")
    done = import_ticks(store, path, coin)
    assert not left.exists()
    assert [day for day, what in done.days.items() if not what.written] == [str(day) for day in whole]
    assert {path: stamp for path, stamp in stamps(store).items() if path in before} == before
    assert stored(store, coin).select(trades(1).columns).equals(trades(4_000, days=4))


def test_a_day_with_faults_is_refused_and_the_others_stay(
    store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    made = trades(3_000)
    second = (made["ts"].dt.day() == 5).arg_true()[7]
    bad = made.with_columns(price=pl.when(pl.int_range(pl.len()) == second).then(-1.0).otherwise("price"))
    done = import_ticks(store, saved(bad), coin)
    assert list(done.refused) == ["2024-03-05"]
    assert f"row {second} (2024-03-05T" in done.refused["2024-03-05"]
    assert "non_positive_price: price is -1" in done.refused["2024-03-05"]
    assert len(days.days(store, coin, TRADES)) == 2


def test_a_trade_that_is_stored_otherwise_is_refused(
    store: Store, coin: Instrument, trades: MakeTrades, saved: Saved
) -> None:
    made = trades(1_000, days=1)
    import_ticks(store, saved(made), coin)
    other = made.with_columns(qty=pl.when(pl.col("trade_id") == 1_500).then(9.9).otherwise("qty"))
    done = import_ticks(store, saved(other), coin)
    assert "trade_id 1500 is stored otherwise" in done.refused["2024-03-04"]
    assert stored(store, coin).select(made.columns).equals(made)
    assert import_ticks(store, saved(other), coin, replace=True).refused == {}
    assert stored(store, coin).select(made.columns).equals(other)
    early = made.with_columns(trade_id=pl.col("trade_id") + 10_000)
    assert "not in the order of time" in import_ticks(store, saved(early), coin).refused["2024-03-04"]


def test_a_row_out_of_time_is_named(store: Store, coin: Instrument, trades: MakeTrades, saved: Saved) -> None:
    made = trades(1_000)
    with pytest.raises(TrimtabError, match=r"row 900 is of 2024-03-04.*expected the order of time"):
        import_ticks(store, saved(pl.concat([made[:900], made[:100]])), coin)
    with pytest.raises(TrimtabError, match="row 3 has no instant"):
        import_ticks(store, saved(made.with_columns(ts=pl.when(pl.int_range(pl.len()) != 3).then("ts"))), coin)


def test_a_damaged_day_says_what_to_do(store: Store, coin: Instrument, trades: MakeTrades, saved: Saved) -> None:
    import_ticks(store, saved(trades(100, days=1)), coin)
    day = days.days(store, coin, TRADES)[0]
    path = path_of(store, coin, TRADES, day)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TrimtabError, match="remove it and import that day again"):
        read_day(store, coin, TRADES, day)
    with pytest.raises(TrimtabError, match="remove it"):
        coverage(store, coin, TRADES)
    assert import_ticks(store, saved(trades(100, days=1)), coin, replace=True).new == 100
    path.unlink()
    with pytest.raises(NotEnoughData, match="no trades of 2024-03-04"):
        read_day(store, coin, TRADES, day)


@pytest.mark.parametrize("kind", ["trades", "quotes", "depth"])
@pytest.mark.parametrize("order", [("spot", "perpetual"), ("perpetual", "spot")])
def test_ticks_of_two_instruments_are_not_mixed(kind: str, order: tuple[str, str], store: Store, saved: Saved) -> None:
    """Ids of two markets are of two counts: put together by them, time goes back. Neither names its market."""
    coin = default_instrument("BTCUSDT", "crypto", "binance")
    made = {market: market_of(kind, market) for market in order}
    first = import_ticks(store, saved(made[order[0]]), coin)
    assert not first.refused
    day = days.days(store, coin, KINDS[kind])[0]
    before = read_day(store, coin, KINDS[kind], day)
    done = import_ticks(store, saved(made[order[1]]), coin)
    said = done.refused["2024-03-04"]
    row = made[order[1]].filter(~pl.col("is_snapshot")).height if kind == "depth" else 300
    place = f"row {0 if order[1] == 'perpetual' else row - 1} "
    assert place in said
    assert "not in the order of time" in said
    assert "another --symbol" in said
    assert read_day(store, coin, KINDS[kind], day).equals(before)
    assert import_ticks(store, saved(made[order[1]]), coin, replace=True).refused == {}


def market_of(kind: str, market: str) -> pl.DataFrame:
    """Five minutes of a market; the spot's quotes have no instant of the exchange, the perpetual's ids are larger."""
    n, begin = 300, 0 if market == "spot" else 1_000_000
    received = pl.datetime_range(
        BEGIN + dt.timedelta(hours=12), BEGIN + dt.timedelta(hours=12, minutes=5), "1s", closed="left", eager=True
    ).dt.cast_time_unit("ns")
    ids = pl.Series(range(begin + 1, begin + n + 1))
    frame = pl.DataFrame({"ts": received.dt.cast_time_unit("us"), "ts_local": received})
    if kind == "trades":
        return frame.with_columns(trade_id=ids, price=100.0, qty=1.0)
    if kind == "quotes":
        ts = pl.lit(None, pl.Datetime("us", "UTC")) if market == "spot" else pl.col("ts")
        return frame.with_columns(ts=ts, update_id=ids, bid=100.0, bid_qty=1.0, ask=101.0, ask_qty=1.0)
    updates = frame.with_columns(side=pl.lit("b"), price=100.0, qty=1.0, first_id=ids, final_id=ids, is_snapshot=False)
    snapshot = updates[:1].with_columns(ts=pl.lit(None, pl.Datetime("us", "UTC")), is_snapshot=True)
    return pl.concat([updates, snapshot.with_columns(ts_local=pl.lit(received[-1]).dt.cast_time_unit("ns"))])
