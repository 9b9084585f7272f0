"""Coarser bars: against a plain loop, in both kinds of market, across changes of the clock, and never too early."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.data.resampling import resample
from trimtab.schedule.sessions import closes_of
from trimtab.types import HOUR, TIMEFRAMES, TrimtabError

NEW_YORK = ZoneInfo("America/New_York")
UTC = dt.UTC


class Row(NamedTuple):
    open_time: dt.datetime
    open: float
    high: float
    low: float
    close: float
    volume: float | None


def frame_of(rows: Sequence[Row]) -> pl.DataFrame:
    schema = {"open_time": pl.Datetime("us", "UTC")} | dict.fromkeys(Row._fields[1:], pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def price_bar(at: dt.datetime, price: float, volume: float | None = 1.0) -> Row:
    return Row(at, price, price + 1, price - 1, price + 0.5, volume)


def naive(rows: Sequence[Row], source: dt.timedelta, start_end: object) -> list[tuple[object, ...]]:
    """One bar after the other, as one would by hand."""
    bars: dict[dt.datetime, tuple[list[Row], dt.datetime]] = {}
    for row in rows:
        start, end = start_end(row.open_time)  # type: ignore[operator]
        bars.setdefault(start, ([], end))[0].append(row)
    known = rows[-1].open_time + source
    out: list[tuple[object, ...]] = []
    for i, (start, (parts, end)) in enumerate(sorted(bars.items())):
        if end > known or (i == 0 and rows[0].open_time > start):
            continue
        volumes = [p.volume for p in parts]
        total = None if None in volumes else sum(v for v in volumes if v is not None)
        high, low = max(p.high for p in parts), min(p.low for p in parts)
        out.append((start, parts[0].open, high, low, parts[-1].close, total, end - start))
    return out


def same(frame: pl.DataFrame, expected: list[tuple[object, ...]]) -> None:
    got = frame.select("open_time", "open", "high", "low", "close", "volume", "duration").rows()
    assert [(*g[:5], g[6]) for g in got] == [(*e[:5], e[6]) for e in expected]
    for g, e in zip(got, expected, strict=True):
        assert (g[5] is None) == (e[5] is None)
        assert g[5] is None or g[5] == pytest.approx(e[5], rel=1e-12)


def clock_rule(target: dt.timedelta):
    origin = dt.datetime(1970, 1, 5, tzinfo=UTC)  # a Monday; also a multiple of all shorter timeframes

    def span(at: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
        start = origin + (at - origin) // target * target
        return start, start + target

    return span


def length(timeframe: str) -> dt.timedelta:
    return dt.timedelta(microseconds=TIMEFRAMES[timeframe] // 1_000)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    first=st.integers(0, 400),
    present=st.lists(st.booleans(), min_size=1, max_size=300),
    pair=st.sampled_from([("5m", "15m"), ("15m", "1h"), ("1h", "4h"), ("1h", "1d"), ("4h", "1w"), ("1m", "5m")]),
)
def test_round_the_clock_equals_a_plain_loop(seed: int, first: int, present: list[bool], pair: tuple[str, str]) -> None:
    source, target = pair
    rng = np.random.default_rng(seed)
    begin = dt.datetime(2021, 3, 1, tzinfo=UTC) + first * length(source)
    rows = [
        price_bar(
            begin + i * length(source), float(rng.integers(50, 150)), None if rng.random() < 0.05 else rng.random()
        )
        for i, there in enumerate(present)
        if there
    ]
    if rows:
        same(resample(frame_of(rows), source, target), naive(rows, length(source), clock_rule(length(target))))


def session_rule(target: str):
    """New York by hand: 09:30 to 16:00, hourly bars begin at 09:00."""

    def span(at: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
        local = at.astimezone(NEW_YORK)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        opened, closed = midnight.replace(hour=9), midnight.replace(hour=16)
        if target == "1d":
            return opened.astimezone(UTC), closed.astimezone(UTC)
        if target == "1w":
            monday = opened - dt.timedelta(days=local.weekday())
            friday = closed + dt.timedelta(days=4 - local.weekday())
            return monday.astimezone(UTC), friday.astimezone(UTC)
        start = opened if local.hour < 13 else midnight.replace(hour=13)
        return start.astimezone(UTC), (midnight.replace(hour=13) if local.hour < 13 else closed).astimezone(UTC)

    return span


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    week=st.sampled_from(["2021-03-08", "2021-10-25", "2021-06-07"]),  # over both changes of the clock
    target=st.sampled_from(["4h", "1d", "1w"]),
    holes=st.sets(st.integers(0, 69), max_size=40),
)
def test_sessions_equal_a_plain_loop(seed: int, week: str, target: str, holes: set[int]) -> None:
    rng = np.random.default_rng(seed)
    monday = dt.datetime.fromisoformat(week).replace(tzinfo=NEW_YORK)
    rows: list[Row] = []
    for day in [d for d in range(12) if d % 7 < 5]:
        for hour in range(9, 16):
            at = (monday + dt.timedelta(days=day)).replace(hour=hour).astimezone(UTC)
            rows.append(price_bar(at, float(rng.integers(50, 150)), rng.random()))
    rows = [r for i, r in enumerate(rows) if i not in holes]
    same(resample(frame_of(rows), "1h", target, "XNYS"), naive(rows, length("1h"), session_rule(target)))


@settings(max_examples=40)
@given(cut=st.integers(1, 200), calendar=st.sampled_from(["24/7", "XNYS"]), target=st.sampled_from(["4h", "1d", "1w"]))
def test_a_bar_never_depends_on_what_comes_after_its_end(cut: int, calendar: str, target: str) -> None:
    begin = dt.datetime(2021, 10, 25, tzinfo=UTC)
    rng = np.random.default_rng(cut)
    rows = [price_bar(begin + i * length("1h"), float(rng.integers(50, 150))) for i in range(240)]
    if calendar == "XNYS":
        local = [(r, r.open_time.astimezone(NEW_YORK)) for r in rows]
        rows = [r for r, at in local if at.weekday() < 5 and 9 <= at.hour < 16]
    cut = min(cut, len(rows))
    whole = resample(frame_of(rows), "1h", target, calendar)
    early = resample(frame_of(rows[:cut]), "1h", target, calendar)
    assert early.equals(whole.head(len(early)))
    known = rows[cut - 1].open_time + length("1h")
    ends = whole["open_time"] + whole["duration"]
    assert len(early) == (ends <= known).sum()


def test_the_last_bar_of_a_session_is_shorter_and_so_is_an_early_close() -> None:
    day = dt.datetime(2012, 11, 23, 14, tzinfo=UTC)  # the day after Thanksgiving: 09:00 to 13:00 in New York
    rows = [price_bar(day - dt.timedelta(days=2) + i * length("1h"), 100.0 + i) for i in range(7)]
    rows += [price_bar(day + i * length("1h"), 200.0 + i) for i in range(4)]
    four = resample(frame_of(rows), "1h", "4h", "XNYS")
    assert four["duration"].to_list() == [dt.timedelta(hours=h) for h in (4, 3, 4)]
    daily = resample(frame_of(rows), "1h", "1d", "XNYS")
    assert (daily["open_time"] + daily["duration"])[-1] == dt.datetime(2012, 11, 23, 18, tzinfo=UTC)


def test_an_open_bar_is_not_there() -> None:
    rows = [price_bar(dt.datetime(2021, 1, 1, h, tzinfo=UTC), 100.0) for h in range(7)]
    assert len(resample(frame_of(rows), "1h", "4h")) == 1
    assert len(resample(frame_of([*rows, price_bar(dt.datetime(2021, 1, 1, 7, tzinfo=UTC), 100.0)]), "1h", "4h")) == 2


def test_extended_hours_do_not_enter_the_session() -> None:
    opened = dt.datetime(2021, 6, 7, 12, 0, tzinfo=UTC)  # 08:00 in New York
    rows = [price_bar(opened + i * length("30m"), 500.0 if i < 3 or i >= 16 else 100.0) for i in range(20)]
    daily = resample(frame_of(rows), "30m", "1d", "XNYS")
    assert daily["high"].to_list() == [101.0]
    assert daily["open_time"].to_list() == [dt.datetime(2021, 6, 7, 13, 30, tzinfo=UTC)]
    four = resample(frame_of(rows), "30m", "4h", "XNYS")
    hours = [(t.astimezone(NEW_YORK).hour, t.minute) for t in four["open_time"]]
    assert hours == [(9, 30), (13, 30)]  # the one before the open is cut off by the start, the one after is still open


def test_hourly_bars_from_half_past_keep_their_last_hour() -> None:
    opened = dt.datetime(2021, 6, 7, 13, 30, tzinfo=UTC)
    rows = [price_bar(opened + i * length("1h"), 100.0 + i) for i in range(7)]  # the last one spans 15:30 to 16:30
    four = resample(frame_of(rows), "1h", "4h", "XNYS")
    assert four["duration"].to_list() == [dt.timedelta(hours=4), dt.timedelta(hours=3)]


def test_weeks_of_a_daily_session_source_follow_the_date_label() -> None:
    days = [dt.datetime(2021, 6, d, tzinfo=UTC) for d in (7, 8, 9, 10, 11, 14)]
    weekly = resample(frame_of([price_bar(d, 100.0) for d in days]), "1d", "1w", "XNYS")
    assert weekly["open_time"].to_list() == [days[0]]
    assert weekly["duration"].to_list() == [dt.timedelta(days=5)]


def test_no_coarser_bars_without_a_multiple() -> None:
    with pytest.raises(TrimtabError, match="1h bars cannot be made from 4h bars"):
        resample(frame_of([]), "4h", "1h")
    with pytest.raises(TrimtabError, match="unknown calendar 'XNYX': did you mean XNYS"):
        resample(frame_of([price_bar(dt.datetime(2021, 1, 1, tzinfo=UTC), 1.0)]), "1h", "4h", "XNYX")


def test_empty_stays_empty() -> None:
    assert len(resample(frame_of([]), "1h", "4h")) == 0
    assert len(resample(frame_of([]), "1h", "4h", "XNYS")) == 0


def test_real_hours_make_the_real_days(shared: Path) -> None:
    """SPY: hourly bars put together against the daily file, which counts prints after an early close too."""
    hourly = pl.read_parquet(shared / "data/equity_us/SPY_1h.parquet")
    daily = pl.read_parquet(shared / "data/equity_us/SPY_1d.parquet")
    made = resample(hourly, "1h", "1d", "XNYS").with_columns(day=pl.col("open_time").dt.date())
    both = made.join(daily.with_columns(day=pl.col("open_time").dt.date()), on="day", suffix="_daily")
    assert len(made) == len(both) == 4_529
    usual = both.filter(pl.col("duration") == dt.timedelta(hours=7))
    assert (usual["open"] == usual["open_daily"]).all()
    assert (usual["close"] != usual["close_daily"]).sum() <= 0.01 * len(usual)
    assert ((usual["volume"] - usual["volume_daily"]).abs() <= 1e-9 * usual["volume_daily"]).mean() > 0.97
    four = resample(hourly, "1h", "4h", "XNYS")
    local = four["open_time"].dt.convert_time_zone("America/New_York").dt.hour()
    assert set(local.to_list()) <= {9, 13}
    assert resample(four, "4h", "1d", "XNYS").equals(made.drop("day"))


def test_scheduled_early_closes_are_those_of_the_data(shared: Path) -> None:
    """Days on which SPY's hourly bars end early, 2007-2015; on four such days the source prints on after the close."""
    hourly = pl.read_parquet(shared / "data/equity_us/SPY_1h.parquet").filter(pl.col("open_time").dt.year() >= 2007)
    local = hourly.with_columns(t=pl.col("open_time").dt.convert_time_zone("America/New_York"))
    last = local.group_by(pl.col("t").dt.date().alias("day")).agg(pl.col("t").dt.hour().max().alias("hour"))
    days = last["day"].to_physical().to_numpy().astype(np.int64)
    scheduled = set(last.filter(pl.Series(closes_of("XNYS", days) == 13 * HOUR))["day"])
    seen = set(last.filter(pl.col("hour") == 12)["day"])
    printed_on = {dt.date(2007, 7, 3), dt.date(2007, 12, 24), dt.date(2008, 7, 3), dt.date(2008, 12, 24)}
    assert len(seen) == 17
    assert scheduled - seen == printed_on
    assert seen <= scheduled
    assert (closes_of("XLON", days) == 16.5 * HOUR).all()
