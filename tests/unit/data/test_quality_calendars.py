"""Gaps against the exchange's own calendar: holidays, half days, changes of the clock, pauses."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.quality import calendars
from trimtab.data.validation import Report, validate

xc = pytest.importorskip("exchange_calendars")

NOW = 1_790_000_000_000_000_000  # 2026-09-21


def check(frame: pl.DataFrame, timeframe: str, calendar: str = "XNYS") -> Report:
    return validate(frame, timeframe, calendar, now=NOW, limit=10_000)


def real(shared: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(shared / "data" / f"{name}.parquet")


def made(calendar: str, first: str, last: str, timeframe: str) -> pl.DataFrame:
    """Every bar of an exchange's sessions, from its open on, by the library and minute by minute: slow and plain."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minutes = xc.get_calendar(calendar, start=first, end=last).minutes
    times = pl.Series(np.array([m.value for m in minutes]) // 1_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    opens = times.filter(times.dt.minute() % int(timeframe[:-1]) == 0)
    price = 100.0 + np.arange(len(opens)) % 7 * 0.01
    return pl.DataFrame(
        {
            "open_time": opens,
            "open": price,
            "high": price + 0.1,
            "low": price - 0.1,
            "close": price,
            "volume": 1.0 + price,
        }
    )


@pytest.mark.parametrize("name", ["SPY_1d", "IWM_1d", "AAPL_1d", "IBM_1d", "QQQ_1d", "QQQold_1d"])
def test_real_daily_equities_have_every_session(shared: Path, name: str) -> None:
    """September 2001, the day of mourning of 2007 and the storm of 2012 were closed: the calendar knows."""
    report = check(real(shared, f"equity_us/{name}"), "1d")
    assert not {"gap", "closed_day"} & set(report.counts)
    assert (report.missing, report.n_errors) == (0, 0)
    assert report.hours.startswith("the calendar XNYS (exchange-calendars ")


def test_the_years_that_qqq_lacks_are_one_gap(shared: Path) -> None:
    frame = pl.concat([real(shared, "equity_us/QQQold_1d"), real(shared, "equity_us/QQQ_1d")])
    (gap,) = [f for f in check(frame, "1d").findings if f.fault == "gap"]
    days = real(shared, "equity_us/SPY_1d")["open_time"].dt.date()
    inside = days.filter(days.is_between(dt.date(2004, 11, 30), dt.date(2011, 3, 23), closed="none"))
    assert gap.message == f"{len(inside):,} sessions missing after 2004-11-30T00:00Z"
    assert gap.instant.startswith("2011-03-23")


def test_real_hourly_equities_lack_what_did_not_trade(shared: Path) -> None:
    """Both opened late on 2002-09-11; Nasdaq stood still on 2013-08-22. Half days lack nothing."""
    spy, aapl = (check(real(shared, f"equity_us/{name}_1h"), "1h") for name in ("SPY", "AAPL"))
    lacks = [(f.fault, f.instant[:10]) for r in (spy, aapl) for f in r.findings if f.fault in ("gap", "short_session")]
    assert lacks == [("short_session", "2002-09-11"), ("gap", "2013-08-22"), ("short_session", "2002-09-11")]
    assert (spy.missing, aapl.missing) == (2, 3)
    assert not {"closed_day"} & (set(spy.counts) | set(aapl.counts))


def test_half_days_end_early_and_whole_ones_do_not(shared: Path) -> None:
    frame = real(shared, "equity_us/SPY_1h")
    local = pl.col("open_time").dt.convert_time_zone("America/New_York")
    for day, missing in ((dt.date(2013, 11, 29), 0), (dt.date(2013, 11, 27), 3)):
        cut = frame.filter(~((local.dt.date() == day) & (local.dt.hour() >= 13)))
        report = check(cut, "1h")
        assert report.missing == 2 + missing
        short = [f for f in report.findings if f.fault == "short_session"]
        assert len(short) == 1 + bool(missing)
    assert "3 bars missing at the session's end, from 2013-11-27T18:00Z" in short[-1].message


def test_a_session_that_is_missing_is_a_gap_though_it_is_one_day(shared: Path) -> None:
    daily = real(shared, "equity_us/SPY_1d")
    day = dt.date(2013, 7, 5)
    report = check(daily.filter(pl.col("open_time").dt.date() != day), "1d")
    assert [f.message for f in report.findings if f.fault == "gap"] == ["1 session missing after 2013-07-03T00:00Z"]
    hourly = real(shared, "equity_us/SPY_1h").filter(pl.col("open_time").dt.date() != day)
    report = check(hourly, "1h")
    (gap,) = [f.message for f in report.findings if f.fault == "gap"]
    assert gap == "7 bars missing after 2013-07-03T16:00Z, 1 whole session"


def test_a_bar_on_a_holiday_is_told(shared: Path) -> None:
    frame = real(shared, "equity_us/SPY_1d")
    row = int(np.searchsorted(frame["open_time"].dt.date().to_numpy(), np.datetime64("2013-07-05")))
    holiday = pl.lit(dt.datetime(2013, 7, 4, tzinfo=dt.UTC)).cast(pl.Datetime("us", "UTC")).alias("open_time")
    more = pl.concat([frame.head(row), frame.slice(row, 1).with_columns(holiday), frame.slice(row)])
    report = check(more, "1d")
    assert [(f.row, f.message) for f in report.findings if f.fault == "closed_day"] == [
        (row, "XNYS was closed on this day")
    ]
    assert report.missing == 0


@pytest.mark.parametrize(
    ("calendar", "first", "last", "timeframe"),
    [
        ("XNYS", "2021-02-01", "2021-12-31", "30m"),  # both changes of the clock, two half days
        ("XNYS", "2021-10-25", "2021-11-30", "1m"),
        ("XLON", "2021-02-01", "2021-12-31", "30m"),
        ("XHKG", "2021-02-01", "2021-12-31", "30m"),  # a pause at noon
        ("XETR", "2021-02-01", "2021-12-31", "30m"),
        ("XASX", "2021-02-01", "2021-12-31", "30m"),  # its summer is in winter
    ],
)  # fmt: skip
def test_made_sessions_are_whole_and_what_is_taken_out_is_missing(
    calendar: str, first: str, last: str, timeframe: str
) -> None:
    frame = made(calendar, first, last, timeframe)
    faults = {"gap", "short_session", "closed_day", "early_label", "late_label", "misaligned"}
    assert not faults & set(check(frame, timeframe, calendar).counts)
    rng = np.random.default_rng(0)
    gone = np.sort(rng.choice(np.arange(1, len(frame) - 1), 60, replace=False))
    report = check(frame.filter(~pl.int_range(pl.len()).is_in(gone)), timeframe, calendar)
    assert report.missing == 60
    assert report.n_errors == 0


def test_other_names_of_new_york_have_its_calendar(shared: Path) -> None:
    frame = real(shared, "equity_us/QQQ_1d")
    for name in ("XNAS", "ARCX", "IEXG"):
        assert check(frame, "1d", name).hours.startswith(f"the calendar {name} (")


def test_without_a_calendar_the_rule_says_so(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = real(shared, "equity_us/SPY_1d")
    unknown = check(frame, "1d", "XNYM")
    assert unknown.hours.endswith("XNYM is not a calendar that exchange-calendars has with these hours")
    assert unknown.counts["gap"] == 3
    old = frame.with_columns(pl.col("open_time").dt.offset_by("-60y"))
    assert check(old, "1d", "XHKG").hours.endswith("exchange-calendars does not cover these years")
    monkeypatch.setattr(calendars, "library", lambda: "")
    assert check(frame, "1d").hours.endswith("holidays are not known: pip install 'trimtab[calendars]'")


def test_a_day_that_still_goes_on_lacks_nothing(shared: Path) -> None:
    frame = real(shared, "equity_us/SPY_1h")
    for n in range(1, 8):
        assert check(frame.head(len(frame) - n), "1h").missing == 2
        assert check(frame.tail(len(frame) - n), "1h").missing == 2
    assert check(frame.head(1), "1h").missing == 0


def test_bars_outside_every_session_ask_for_the_calendar() -> None:
    frame = made("XNYS", "2021-11-01", "2021-11-05", "30m").with_columns(pl.col("open_time") + pl.duration(hours=8))
    assert "is the instrument's calendar right?" in next(
        f.message for f in check(frame, "30m").findings if f.fault == "short_session"
    )
