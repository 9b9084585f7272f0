"""Quarantine: good and bad rows are all rows, the good ones are good, and doing it again changes nothing."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.data import store as stores
from trimtab.data.catalogue import default_instrument
from trimtab.data.quality.quarantine import REASONS, part_rows, path_of, quarantine, quarantine_file
from trimtab.data.store import Store, open_store, read_bars, write_bars
from trimtab.data.validation import validate
from trimtab.types import TrimtabError

MakeBars = Callable[..., pl.DataFrame]
NOW = 1_790_000_000_000_000_000  # 2026-09-21
START = dt.datetime(2021, 3, 1, tzinfo=dt.UTC)
BTC = default_instrument("BTCEUR", "crypto", "bitvavo")

price = st.sampled_from([1.0, 2.0, 3.0, 0.0, -1.0, float("nan"), float("inf"), None])
row = st.fixed_dictionaries(
    {
        "open_time": st.one_of(
            st.integers(0, 12).map(lambda h: START + dt.timedelta(hours=h)),
            st.sampled_from([None, START + dt.timedelta(minutes=30), dt.datetime(2030, 1, 1, tzinfo=dt.UTC)]),
        ),
        "open": st.one_of(st.just(2.0), price),
        "high": st.one_of(st.just(3.0), price),
        "low": st.one_of(st.just(1.0), price),
        "close": st.one_of(st.just(2.0), price),
        "volume": st.sampled_from([1.0, 0.0, -1.0, None]),
    }
)
rows = st.lists(row, max_size=14).flatmap(
    lambda r: st.tuples(st.just(r), st.lists(st.sampled_from(r or [{}]), max_size=4))
)
SCHEMA = {
    "open_time": pl.Datetime("us", "UTC"),
    **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64),
}


def frame_of(drawn: tuple[list[dict[str, object]], list[dict[str, object]]]) -> pl.DataFrame:
    """Rows, and some of them again."""
    return pl.DataFrame([r for part in drawn for r in part if r], schema=SCHEMA)


def bag(frame: pl.DataFrame) -> list[str]:
    """The rows of a frame without their order; NaN is NaN."""
    return sorted(map(repr, frame.select(list(SCHEMA)).rows()))


def errors_of(frame: pl.DataFrame, timeframe: str, calendar: str) -> int:
    report = validate(frame, timeframe, calendar, now=NOW)
    return report.n_errors - report.counts.get("early_label", 0)


@given(drawn=rows, hours=st.sampled_from([("1h", "24/7"), ("1h", "XNYS"), ("1d", "XNYS"), ("4h", "24/5")]))
def test_good_and_bad_rows_are_all_rows(
    drawn: tuple[list[dict[str, object]], list[dict[str, object]]], hours: tuple[str, str]
) -> None:
    frame = frame_of(drawn)
    parted = part_rows(frame, *hours, now=NOW)
    assert bag(pl.concat([parted.good, parted.bad.drop(REASONS)])) == bag(frame)
    assert errors_of(parted.good, *hours) == 0
    assert parted.bad[REASONS].str.len_chars().min() != 0  # every one says why
    twice = part_rows(parted.good, *hours, now=NOW)
    assert (len(twice.bad), twice.moved) == (0, 0)
    assert twice.good.equals(parted.good)


@settings(max_examples=40)
@given(drawn=rows)
def test_a_stored_series_loses_nothing_and_the_second_time_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[list[dict[str, object]], list[dict[str, object]]]
) -> None:
    store = open_store(tmp_path_factory.mktemp("store"))
    sound = {"open_time": START - dt.timedelta(hours=1), **dict.fromkeys(("open", "high", "low", "close"), 2.0)}
    frame = pl.concat([frame_of(drawn), pl.DataFrame([sound | {"volume": 1.0}], schema=SCHEMA)])
    write_bars(store, BTC, "1h", frame)
    done = quarantine(store, BTC, "1h", now=NOW)
    good, path = read_bars(store, BTC, "1h"), path_of(store, BTC, "1h")
    bad = pl.read_parquet(path) if path.exists() else frame.clear()
    assert (done.kept, done.taken) == (len(good), len(bad))
    assert bag(pl.concat([good, bad.select(list(SCHEMA))])) == bag(frame)
    before = {p: p.read_bytes() for p in store.root.rglob("*.parquet")}
    again = quarantine(store, BTC, "1h", now=NOW)
    assert (again.taken, again.moved, again.kept) == (0, 0, done.kept)
    assert {p: p.read_bytes() for p in store.root.rglob("*.parquet")} == before


def damaged(frame: pl.DataFrame) -> pl.DataFrame:
    """A copy with a repeated row, two that contradict each other, an impossible one, and two out of order."""
    wrong = frame.slice(20, 1).with_columns(high=pl.lit(1.0), low=pl.lit(2.0))
    other = frame.slice(30, 1).with_columns(pl.col("close") + 0.001)
    parts = [frame.head(11), frame.slice(10, 10), wrong, frame.slice(21, 10), other, frame.slice(31, 9)]
    return pl.concat([*parts, frame[[41, 40]], frame.slice(42)])


def test_the_reasons_stand_beside_the_rows(store: Store, bars: MakeBars) -> None:
    frame = damaged(bars(100))
    write_bars(store, BTC, "1h", frame)
    done = quarantine(store, BTC, "1h", now=NOW)
    assert (done.kept, done.taken, done.reasons, done.moved) == (98, 4, {"duplicate": 3, "high_below_low": 1}, 1)
    bad = pl.read_parquet(done.path)
    assert bad[REASONS].to_list() == ["duplicate", "high_below_low", "duplicate", "duplicate"]
    assert done.path == store.root / "quarantine/crypto/BTCEUR/1h.parquet"
    kept = read_bars(store, BTC, "1h")
    assert kept["open_time"].is_sorted()
    assert validate(kept, "1h", "24/7", now=NOW).counts == {"gap": 2}  # what was taken out is missing, and says so


def test_bad_rows_that_come_later_stand_beside_the_first_ones(store: Store, bars: MakeBars) -> None:
    frame = bars(100)
    for n in (20, 50):
        here = pl.int_range(pl.len()) == n
        write_bars(store, BTC, "1h", frame.with_columns(pl.when(here).then(-1.0).otherwise(pl.col("low")).alias("low")))
        quarantine(store, BTC, "1h", now=NOW)
    bad = pl.read_parquet(path_of(store, BTC, "1h"))
    assert bad["open_time"].to_list() == [frame["open_time"][20], frame["open_time"][50]]


def test_a_quarantine_that_is_cut_off_loses_nothing_and_is_finished_by_the_next(
    store: Store, bars: MakeBars, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = damaged(bars(100))
    write_bars(store, BTC, "1h", frame)
    write = stores._write_atomically

    def cut(path: Path, work: Callable[[Path], object]) -> None:
        if "bars" in path.parts:
            raise OSError("the power fails")
        write(path, work)

    with monkeypatch.context() as patched:
        patched.setattr(stores, "_write_atomically", cut)
        with pytest.raises(OSError, match="power"):
            quarantine(store, BTC, "1h", now=NOW)
    assert read_bars(store, BTC, "1h").equals(frame)  # the series is as it was, its bad rows are there twice
    quarantine(store, BTC, "1h", now=NOW)
    bad = pl.read_parquet(path_of(store, BTC, "1h"))
    assert bag(pl.concat([read_bars(store, BTC, "1h"), bad.drop(REASONS)])) == bag(frame)


def test_where_every_row_is_faulty_nothing_is_touched(store: Store, bars: MakeBars) -> None:
    frame = bars(30).with_columns(pl.col("open_time") + pl.duration(minutes=30))
    write_bars(store, BTC, "1h", frame)
    with pytest.raises(TrimtabError, match=r"every row is faulty \(most of them: misaligned\)"):
        quarantine(store, BTC, "1h", now=NOW)
    assert read_bars(store, BTC, "1h").equals(frame)
    assert not path_of(store, BTC, "1h").exists()


def test_what_else_a_bar_holds_goes_with_it(store: Store, bars: MakeBars) -> None:
    frame = damaged(bars(100).with_columns(funding=pl.lit(0.001)))
    write_bars(store, BTC, "1h", frame)
    quarantine(store, BTC, "1h", now=NOW)
    bad = pl.read_parquet(path_of(store, BTC, "1h"))
    assert bad["funding"].to_list() == [0.001] * 4
    assert "funding" in read_bars(store, BTC, "1h")


def test_the_good_rows_of_a_file_are_imported_unless_stored_ones_would_be_lost(store: Store, bars: MakeBars) -> None:
    frame = damaged(bars(100))
    done = quarantine_file(store, frame, BTC, "1h", now=NOW)
    assert (done.kept, done.taken) == (98, 4)
    again = quarantine_file(store, frame, BTC, "1h", now=NOW)
    assert (again.kept, again.taken) == (98, 4)
    assert len(pl.read_parquet(done.path)) == 4
    with pytest.raises(TrimtabError, match="lacks or changes"):
        quarantine_file(store, damaged(bars(100, seed=1)), BTC, "1h", now=NOW)
    assert len(pl.read_parquet(done.path)) == 4
    assert quarantine_file(store, bars(100, seed=1), BTC, "1h", now=NOW, replace=True).kept == 100


def test_a_real_series_damaged_in_a_hundred_places_is_whole_again(shared: Path, store: Store) -> None:
    frame = pl.read_parquet(shared / "data/crypto_bitvavo/ETHEUR_1h.parquet")
    n = pl.int_range(pl.len())
    bad = (n % 250 == 249) & (n < 25_000)
    broken = frame.with_columns(pl.when(bad).then(pl.col("low") * 1.5).otherwise(pl.col("low")).alias("low"))
    write_bars(store, BTC, "1h", broken)
    done = quarantine(store, BTC, "1h", now=NOW)
    assert done.taken == math.floor(len(frame) / 250)
    assert read_bars(store, BTC, "1h").equals(frame.filter(~bad))
