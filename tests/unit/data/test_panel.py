"""Panels: every value at the instant it is known, never before; and the rows that a model steps on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.data.catalogue import default_instrument
from trimtab.data.panel import as_of, load, rows_of
from trimtab.data.resampling import resample
from trimtab.data.store import Store, write_bars
from trimtab.types import DAY, HOUR, MINUTE, Instrument, NotEnoughData, Panel, TrimtabError

MakeBars = Callable[..., pl.DataFrame]


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


# --- Panel.from_frames -----------------------------------------------------------------------------------------------


def test_a_bar_is_known_at_its_close(bars: MakeBars) -> None:
    frame = bars(10)
    panel = Panel.from_frames({"X": frame}, "1h")
    assert panel.ts[0] == ns("2021-01-04T01:00")
    assert panel.fields == ("open", "high", "low", "close", "volume", "duration")
    assert panel.values.shape == (10, 1, 6)
    np.testing.assert_array_equal(panel.values[:, 0, 3], frame["close"].to_numpy())
    np.testing.assert_array_equal(panel.values[:, 0, 5], np.full(10, HOUR))
    assert panel.instruments == (Instrument(symbol="X"),)


def test_pandas_and_polars_give_the_same_panel(bars: MakeBars) -> None:
    frame = bars(50)
    expected = Panel.from_frames({"X": frame}, "1h")
    plain = pd.DataFrame({c: frame[c].to_numpy() for c in frame.columns})
    zoned = plain.assign(open_time=plain["open_time"].dt.tz_localize("UTC").dt.tz_convert("America/New_York"))
    naive = frame.with_columns(pl.col("open_time").dt.replace_time_zone(None))
    millis = frame.with_columns(pl.col("open_time").dt.cast_time_unit("ms"))
    for other in (plain, zoned, naive, millis):
        panel = Panel.from_frames({"X": other}, "1h")
        np.testing.assert_array_equal(panel.ts, expected.ts)
        np.testing.assert_array_equal(panel.values, expected.values)


def test_the_grid_is_the_union_and_absent_bars_are_nan(bars: MakeBars) -> None:
    a, b = bars(6), bars(6, start="2021-01-04T03:00", seed=1)
    panel = Panel.from_frames({"A": a, "B": b.drop("volume")}, "1h", [default_instrument("B")])
    assert len(panel.ts) == 9
    assert np.isnan(panel.values[6:, 0]).all()
    assert np.isnan(panel.values[:3, 1]).all()
    assert not np.isnan(panel.values[3:, 1, :4]).any()
    assert np.isnan(panel.values[:, 1, 4]).all()
    assert not panel.instruments[1].shortable
    assert panel.symbols == ("A", "B")


def test_unknown_volume_is_nan_not_zero(bars: MakeBars) -> None:
    frame = bars(5).with_columns(volume=pl.lit(None, dtype=pl.Float64))
    assert np.isnan(Panel.from_frames({"X": frame}, "1h").values[:, 0, 4]).all()
    assert np.isnan(Panel.from_frames({"X": frame.with_columns(volume=pl.lit(None))}, "1h").values[:, 0, 4]).all()


def test_further_numeric_columns_that_all_share(bars: MakeBars) -> None:
    a = bars(5).with_columns(funding=pl.lit(0.5), name=pl.lit("x"), only_a=pl.lit(1))
    b = bars(5).with_columns(funding=pl.lit(2), name=pl.lit("y"))
    panel = Panel.from_frames({"A": a, "B": b}, "1h")
    assert panel.fields[6:] == ("funding",)
    np.testing.assert_array_equal(panel.values[0, :, 6], [0.5, 2.0])


def test_durations_move_the_close(bars: MakeBars) -> None:
    frame = bars(4, "4h").with_columns(duration=pl.Series([dt.timedelta(hours=h) for h in (4, 4, 3, 4)]))
    panel = Panel.from_frames({"X": frame}, "4h")
    assert panel.ts[2] == ns("2021-01-04T11:00")
    assert panel.values[2, 0, 5] == 3 * HOUR
    numbers = frame.with_columns(duration=pl.col("duration").dt.total_nanoseconds())
    np.testing.assert_array_equal(Panel.from_frames({"X": numbers}, "4h").ts, panel.ts)
    with pytest.raises(TrimtabError, match=r"row 1 .*duration is not positive"):
        Panel.from_frames({"X": frame.with_columns(duration=pl.Series([1, 0, 1, 1]))}, "4h")
    with pytest.raises(TrimtabError, match=r"close \(open_time \+ duration\)"):
        Panel.from_frames({"X": frame.with_columns(duration=pl.Series([9 * HOUR, HOUR, HOUR, HOUR]))}, "4h")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("close"), "X: no column close"),
        (lambda f: f.vstack(f.tail(1)), r"row 10 \(2021-01-04T09:00:00Z\): open_time is a duplicate"),
        (lambda f: f.reverse(), r"row 1 \(2021-01-04T08:00:00Z\): open_time is before"),
        (lambda f: f.with_columns(open_time=pl.col("open_time").cast(pl.String)), "open_time is String"),
        (lambda f: f.with_columns(high=pl.lit("a")), "column high is String, expected numbers"),
        (lambda f: f.with_columns(open_time=pl.lit(None, dtype=pl.Datetime("us"))), "row 0: open_time is missing"),
    ],
)
def test_wrong_frames_are_refused(bars: MakeBars, change: Callable[[pl.DataFrame], pl.DataFrame], message: str) -> None:
    with pytest.raises(TrimtabError, match=message):
        Panel.from_frames({"X": change(bars(10))}, "1h")


def test_wrong_arguments_are_refused(bars: MakeBars) -> None:
    with pytest.raises(TrimtabError, match="unknown timeframe '7h'"):
        Panel.from_frames({"X": bars(5)}, "7h")
    with pytest.raises(TrimtabError, match="no frames"):
        Panel.from_frames({}, "1h")


@settings(max_examples=60)
@given(presence=st.lists(st.lists(st.booleans(), min_size=1, max_size=80), min_size=1, max_size=4))
def test_alignment_equals_a_plain_dictionary(bars: MakeBars, presence: list[list[bool]]) -> None:
    frames = {}
    for i, there in enumerate(presence):
        frame = bars(len(there), seed=i).filter(pl.Series(there))
        frames[f"S{i}"] = frame
    panel = Panel.from_frames(frames, "1h")
    cells = {}
    for n, frame in enumerate(frames.values()):
        for row in frame.iter_rows(named=True):
            cells[int(row["open_time"].timestamp()) * 10**9 + HOUR, n] = row
    assert panel.ts.tolist() == sorted({t for t, _ in cells})
    for t, instant in enumerate(panel.ts.tolist()):
        for n in range(len(frames)):
            if (instant, n) in cells:
                row = cells[instant, n]
                expected = [*(row[c] for c in ("open", "high", "low", "close", "volume")), HOUR]
                assert panel.values[t, n].tolist() == expected
            else:
                assert np.isnan(panel.values[t, n]).all()


# --- load ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(store: Store, bars: MakeBars) -> Store:
    write_bars(store, default_instrument("BTCEUR"), "1h", bars(24 * 30))
    write_bars(store, default_instrument("ETHEUR"), "1h", bars(24 * 30, seed=1, start="2021-01-06T00:00"))
    return store


def test_load_as_stored_and_resampled(filled: Store) -> None:
    hourly = load("BTCEUR", timeframe="H1", root=filled.root)
    assert hourly.values.shape == (720, 1, 6)
    four = load("BTCEUR", "ETHEUR", timeframe="4h", root=filled.root)
    assert four.timeframe == "4h"
    assert four.ts[0] == ns("2021-01-04T04:00")
    assert four.values[0, 0, 3] == hourly.values[3, 0, 3]
    assert np.isnan(four.values[0, 1, 3])


def test_windows_are_on_the_close_and_do_not_overlap(filled: Store) -> None:
    before = load("BTCEUR", timeframe="1h", end="2021-01-10", root=filled.root)
    after = load("BTCEUR", timeframe="1h", start="2021-01-10", root=filled.root)
    assert before.ts[-1] == ns("2021-01-10T00:00")
    assert after.ts[0] == ns("2021-01-10T01:00")
    assert len(before.ts) + len(after.ts) == 720
    zoned = load("BTCEUR", timeframe="1h", start="2021-01-10T01:00+01:00", root=filled.root)
    typed = load("BTCEUR", timeframe="1h", start=dt.date(2021, 1, 10), root=filled.root)
    np.testing.assert_array_equal(zoned.ts, after.ts)
    np.testing.assert_array_equal(typed.ts, after.ts)


def test_load_refuses_with_one_clear_message(filled: Store) -> None:
    for arguments, options, message in [
        (("BTCUSD",), {}, "did you mean BTCEUR"),
        ((), {}, "at least one symbol"),
        (("BTCEUR", "BTCEUR"), {}, "given twice"),
        (("BTCEUR",), {"start": "tomorrow"}, "is no date"),
        (("BTCEUR",), {"timeframe": "9h"}, "unknown timeframe"),
        (("BTCEUR",), {"features": ("close@5m",)}, "finer than the panel's"),
        (("BTCEUR",), {"features": ("sma@1d",)}, "expected a field and a timeframe"),
        (("BTCEUR",), {"features": ("close@1d", "close@1d")}, "given twice"),
    ]:
        with pytest.raises(TrimtabError, match=message):
            load(*arguments, **({"timeframe": "1h", "root": filled.root} | options))
    with pytest.raises(NotEnoughData, match="no 1h bar closes after 2030"):
        load("BTCEUR", timeframe="1h", start="2030-01-01", root=filled.root)
    with pytest.raises(NotEnoughData, match="Import 5m or finer"):
        load("BTCEUR", timeframe="5m", root=filled.root)


def test_daily_session_bars_are_known_a_day_after_their_label(store: Store, bars: MakeBars) -> None:
    write_bars(store, default_instrument("SPY", "equity"), "1d", bars(5, "1d", "2021-01-04T00:00"))
    assert load("SPY", timeframe="1d", root=store.root).ts[0] == ns("2021-01-05T00:00")


def test_a_daily_feature_appears_at_its_close_and_stays(filled: Store) -> None:
    panel = load("BTCEUR", timeframe="4h", features=("close@1d", "high@1w"), root=filled.root)
    daily = panel.values[:, 0, panel.fields.index("close@1d")]
    closes = panel.values[:, 0, 3]
    assert np.isnan(daily[:5]).all()
    assert daily[5] == closes[5]  # the row of 2021-01-05 00:00, when the day closed
    np.testing.assert_array_equal(daily[5:11], [closes[5]] * 6)
    assert daily[11] == closes[11]
    cut = load("BTCEUR", timeframe="4h", start="2021-01-10", features=("close@1d",), root=filled.root)
    assert not np.isnan(cut.values[:, 0, -1]).any()  # known from before the window


@settings(max_examples=200)
@given(
    known=st.lists(st.integers(0, 10_000), min_size=0, max_size=60, unique=True).map(sorted),
    grid=st.lists(st.integers(-10, 10_010), min_size=1, max_size=120, unique=True).map(sorted),
)
def test_no_value_appears_before_it_is_known(known: list[int], grid: list[int]) -> None:
    """Each value is its own instant: what is seen must be the latest instant not after the row."""
    seen = as_of(np.array(known, dtype=np.int64), np.array(known, dtype=np.float64), np.array(grid, dtype=np.int64))
    for row, value in zip(grid, seen, strict=True):
        past = [k for k in known if k <= row]
        assert (np.isnan(value) and not past) or value == past[-1]


@settings(max_examples=25)
@given(seed=st.integers(0, 1_000), step=st.sampled_from(["15m", "1h", "4h"]), present=st.floats(0.2, 1.0))
def test_features_of_random_grids_are_never_early(
    bars: MakeBars, tmp_path_factory: pytest.TempPathFactory, seed: int, step: str, present: float
) -> None:
    """Through the store: a daily close in a row is that of the last day that was over by then."""
    rng = np.random.default_rng(seed)
    store = Store(tmp_path_factory.mktemp("store"))
    fine = bars(300, step, seed=seed)
    daily = bars(30, "1d", "2021-01-01T00:00", seed=seed + 1)
    daily = daily.filter(pl.Series(rng.random(30) < present))
    fine = fine.filter(pl.Series(rng.random(300) < present))
    instrument = default_instrument("X")
    write_bars(store, instrument, "1d", daily)
    write_bars(store, instrument, step, fine)
    panel = load("X", timeframe=step, features=("close@1d",), root=store.root)
    ends = [(int(t.timestamp()) * 10**9 + DAY, c) for t, c in zip(daily["open_time"], daily["close"], strict=True)]
    for t, value in zip(panel.ts.tolist(), panel.values[:, 0, -1], strict=True):
        over = [close for end, close in ends if end <= t]
        assert (np.isnan(value) and not over) or value == over[-1]


# --- rows_of ---------------------------------------------------------------------------------------------------------


def test_the_panels_own_rows(bars: MakeBars) -> None:
    panel = Panel.from_frames({"X": bars(50)}, "1h", [Instrument(symbol="X", tick_size=0.05)])
    index, x = rows_of(panel, ["X"], "1h", ("close", "ticks", "volume"))
    np.testing.assert_array_equal(index, np.arange(50))
    assert x.shape == (50, 1, 3)
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(x[:, 0, 1], np.rint(panel.values[:, 0, 3] / 0.05))
    packed = Panel(panel.ts, panel.instruments, panel.fields, np.ascontiguousarray(panel.values), "1h")
    _, whole = rows_of(packed, [0], "1h", panel.fields)
    assert np.shares_memory(whole, packed.values)
    _, plain = rows_of(Panel.from_frames({"X": bars(50)}, "1h"), ["X"], "1h", ("ticks",))
    np.testing.assert_array_equal(plain[:, 0, 0], panel.values[:, 0, 3])  # no tick known: the close itself


def test_only_rows_where_all_legs_are_fresh(bars: MakeBars) -> None:
    a, b = bars(20), bars(20, seed=1).filter(~pl.int_range(20).is_in([3, 4, 11]))
    panel = Panel.from_frames({"A": a, "B": b}, "1h")
    index, x = rows_of(panel, ["B", "A"], "1h", ("close",))
    assert index.tolist() == [i for i in range(20) if i not in (3, 4, 11)]
    np.testing.assert_array_equal(x[:, 1, 0], panel.values[index, 0, 3])
    np.testing.assert_array_equal(x[:, 0, 0], panel.values[index, 1, 3])
    only_a, _ = rows_of(panel, ["A"], "1h", ("close",))
    assert len(only_a) == 20


def test_coarser_rows_are_those_of_resample(bars: MakeBars) -> None:
    frame = bars(24 * 20, start="2021-01-04T05:00")
    panel = Panel.from_frames({"X": frame}, "1h")
    for target in ("4h", "1d", "1w"):
        fields = ("open", "high", "low", "close", "volume", "duration")
        index, x = rows_of(panel, ["X"], target, fields)
        made = Panel.from_frames({"X": resample(frame, "1h", target)}, target)
        np.testing.assert_array_equal(panel.ts[index], made.ts)
        np.testing.assert_array_equal(x[:, 0], made.values[:, 0])


def test_a_bar_whose_last_part_is_missing_waits_for_the_next_row(bars: MakeBars) -> None:
    frame = bars(12).filter(~pl.int_range(12).is_in([3]))
    panel = Panel.from_frames({"X": frame}, "1h")
    index, x = rows_of(panel, ["X"], "4h", ("close",))
    assert panel.ts[index].tolist() == [ns("2021-01-04T05:00"), ns("2021-01-04T08:00"), ns("2021-01-04T12:00")]
    assert x[0, 0, 0] == frame["close"][2]
    other = Panel.from_frames({"X": frame, "Y": bars(12, seed=1)}, "1h")  # another instrument's row is a clock too
    index, _ = rows_of(other, ["X"], "4h", ("close",))
    assert other.ts[index[0]] == ns("2021-01-04T04:00")


def test_of_bars_that_wait_for_one_row_the_last_counts(bars: MakeBars) -> None:
    frame = bars(16).filter(~pl.int_range(16).is_between(2, 14))  # 00:00, 01:00 and 15:00
    panel = Panel.from_frames({"X": frame}, "1h")
    index, x = rows_of(panel, ["X"], "4h", ("close", "open"))
    assert index.tolist() == [2]  # the bars that end at 04:00 and at 16:00 both wait for the row of 16:00
    assert x[0, 0].tolist() == [frame["close"][2], frame["open"][2]]


def session_and_crypto(bars: MakeBars, n_days: int, seed: int) -> Panel:
    local = pl.col("open_time").dt.convert_time_zone("America/New_York")
    crypto = bars(24 * n_days, start="2021-03-08T00:00", seed=seed)
    equity = bars(24 * n_days, start="2021-03-08T00:00", seed=seed + 1).filter(
        (local.dt.weekday() <= 5) & local.dt.hour().is_between(9, 15)
    )
    rng = np.random.default_rng(seed)
    crypto = crypto.filter(pl.Series(rng.random(len(crypto)) < 0.9))
    equity = equity.filter(pl.Series(rng.random(len(equity)) < 0.9))
    return Panel.from_frames({"BTC": crypto, "SPY": equity}, "1h", [default_instrument("SPY", "equity")])


def cut_at(panel: Panel, t: int) -> Panel:
    return Panel(panel.ts[:t], panel.instruments, panel.fields, panel.values[:t], panel.timeframe)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 500),
    cut=st.floats(0.0, 1.0),
    legs=st.sampled_from([["BTC"], ["SPY"], ["BTC", "SPY"]]),
    target=st.sampled_from(["1h", "4h", "1d", "1w"]),
)
def test_cutting_the_panel_changes_no_earlier_row(
    bars: MakeBars, seed: int, cut: float, legs: list[str], target: str
) -> None:
    panel = session_and_crypto(bars, 17, seed)
    t = int(cut * len(panel.ts))
    fields = ("open", "high", "low", "close", "volume")
    index, x = rows_of(panel, legs, target, fields)
    early, y = rows_of(cut_at(panel, t), legs, target, fields)
    np.testing.assert_array_equal(early, index[index < t])
    np.testing.assert_array_equal(y, x[index < t])


@settings(max_examples=30)
@given(seed=st.integers(0, 500), target=st.sampled_from(["4h", "1d"]))
def test_a_row_holds_nothing_that_closes_after_it(bars: MakeBars, seed: int, target: str) -> None:
    """Prices are made to be their own instants, so that a value tells when it came into being."""
    panel = session_and_crypto(bars, 12, seed)
    stamped = panel.values.copy()
    stamped[:, :, :4] = np.where(np.isnan(stamped[:, :, :4]), np.nan, (panel.ts / MINUTE)[:, None, None])
    marked = Panel(panel.ts, panel.instruments, panel.fields, stamped, panel.timeframe)
    for leg in ("BTC", "SPY"):
        index, x = rows_of(marked, [leg], target, ("open", "high", "low", "close"))
        assert len(index) > 5
        assert (np.diff(index) > 0).all()
        assert (x[:, 0, :] <= (panel.ts[index] / MINUTE)[:, None]).all()
        assert (x[:, 0, 1] == x[:, 0, 3]).all()  # the high is the latest part, and the close is the latest part
        assert (x[1:, 0, 2] > x[:-1, 0, 3]).all()  # no part is in two bars


def test_rows_of_refuses_what_is_not_there(bars: MakeBars) -> None:
    panel = Panel.from_frames({"BTCEUR": bars(20)}, "1h")
    for arguments, message in [
        ((["BTCUSD"], "1h", ("close",)), "did you mean BTCEUR"),
        (([3], "1h", ("close",)), "no instrument 3"),
        ((["BTCEUR"], "1h", ("vwap",)), "no field 'vwap'"),
        ((["BTCEUR"], "5m", ("close",)), "5m bars cannot be made from 1h bars"),
    ]:
        with pytest.raises(TrimtabError, match=message):
            rows_of(panel, *arguments)


def test_real_bars_of_two_markets(shared: Path, store: Store) -> None:
    """SPY beside BTC on one 4h grid: each session gives one row at 13:00 and one at 16:00 in New York."""
    data = shared / "data"
    write_bars(store, default_instrument("BTCEUR"), "1h", pl.read_parquet(data / "crypto_bitvavo/BTCEUR_1h.parquet"))
    write_bars(store, default_instrument("SPY", "equity"), "1h", pl.read_parquet(data / "equity_us/SPY_1h.parquet"))
    panel = load("BTCEUR", "SPY", timeframe="4h", features=("close@1d",), root=store.root)
    spy, _ = rows_of(panel, ["SPY"], "4h", ("close",))
    local = pl.Series(panel.ts[spy]).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone("America/New_York")
    assert set(local.dt.hour().to_list()) <= {13, 16, 17}
    assert (local.dt.hour() == 16).sum() >= 4_480
    daily = panel.values[spy, 1, panel.fields.index("close@1d")]
    close = panel.values[spy, 1, 3]
    at_close = local.dt.hour().to_numpy() == 16
    np.testing.assert_array_equal(
        daily[at_close], close[at_close]
    )  # known at the session's close, from the hourly bars
    hours = local.dt.hour().to_numpy()
    assert (daily[1:][hours[1:] == 13] != close[1:][hours[1:] == 13]).mean() > 0.9
