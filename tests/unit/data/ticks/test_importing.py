"""Days are whole or absent, the same file twice changes nothing, and what was cut off goes on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from trimtab.data.store import Store, instruments
from trimtab.data.ticks import days, files
from trimtab.data.ticks.days import coverage, kinds_of, path_of, read_day, ticking
from trimtab.data.ticks.importing import import_ticks
from trimtab.data.ticks.kinds import TRADES
from trimtab.types import Instrument, NotEnoughData, TrimtabError

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
