"""Every fault is found where it is, and nothing else is."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.quality import calendars
from trimtab.data.validation import Report, iso, validate

MakeBars = Callable[..., pl.DataFrame]
NOW = 1_790_000_000_000_000_000  # 2026-09-21


def check(frame: pl.DataFrame, timeframe: str = "1h", calendar: str = "24/7", limit: int = 20) -> Report:
    return validate(frame, timeframe, calendar, now=NOW, limit=limit)


def with_cell(frame: pl.DataFrame, column: str, row: int, value: object) -> pl.DataFrame:
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame[column].dtype))


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where exchange-calendars is not installed."""
    monkeypatch.setattr(calendars, "library", lambda: "")


def hits(report: Report) -> list[tuple[str, int]]:
    return [(f.fault, f.row) for f in report.findings]


def test_good_bars_have_no_findings(bars: MakeBars) -> None:
    report = check(bars(500))
    assert report == Report((), {}, 500, 0, "24/7")
    assert check(bars(0)) == Report((), {}, 0, 0)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("open_time", None, "no_time"),
        ("close", None, "no_price"),
        ("open", float("nan"), "no_price"),
        ("high", float("inf"), "no_price"),
        ("volume", -1.0, "negative_volume"),
        ("high", 1.0, "high_below_low"),
        ("open", 1e6, "outside_range"),
        ("close", 1e-6, "outside_range"),
    ],
)
def test_errors_name_their_row(bars: MakeBars, column: str, value: object, fault: str) -> None:
    report = check(with_cell(bars(300), column, 120, value))
    assert report.counts[fault] == 1
    found = next(f for f in report.findings if f.fault == fault)
    assert (found.row, found.severity) == (120, "error")
    assert found.instant == ("no time" if column == "open_time" else "2021-01-09T00:00Z")
    assert report.n_errors == 1


def test_non_positive_prices(bars: MakeBars) -> None:
    frame = bars(50)
    zero = frame.with_columns(
        [
            pl.when(pl.int_range(50) == 9).then(0.0).otherwise(pl.col(c)).alias(c)
            for c in ("open", "high", "low", "close")
        ]
    )
    assert hits(check(zero)) == [("non_positive_price", 9)]
    negative = frame.with_columns(-pl.col(c) for c in ("open", "high", "low", "close"))
    assert check(negative).counts["non_positive_price"] == 50


def test_unknown_volume_is_no_fault(bars: MakeBars) -> None:
    assert check(bars(50).with_columns(volume=pl.lit(None, dtype=pl.Float64))).counts == {}


def test_duplicates_and_disorder(bars: MakeBars) -> None:
    frame = bars(10)
    doubled = frame.head(6).vstack(frame.slice(5))
    assert hits(check(doubled)) == [("duplicate", 6)]
    far = frame.vstack(frame.slice(2, 1))
    assert hits(check(far)) == [("duplicate", 10), ("disorder", 10)]
    swapped = frame[[0, 1, 3, 2, 4, 5, 6, 7, 8, 9]]
    assert hits(check(swapped)) == [("disorder", 3)]


def test_the_future_is_refused_and_now_is_an_argument(bars: MakeBars) -> None:
    frame = bars(10)
    close = int(np.datetime64("2021-01-04T10:00", "ns").astype(np.int64))
    assert validate(frame, "1h", now=close).counts == {}
    late = validate(frame, "1h", now=close - 1)
    assert hits(late) == [("future", 9)]


@pytest.mark.parametrize(
    ("timeframe", "start", "calendar", "wrong"),
    [
        ("1h", "2021-01-04T00:30", "24/7", 20),
        ("4h", "2021-01-04T01:00", "24/7", 20),
        ("1d", "2021-01-04T05:00", "24/7", 20),
        ("1w", "2021-01-05T00:00", "24/7", 20),  # a Tuesday
        ("1w", "2021-01-04T00:00", "24/7", 0),
        ("1h", "2021-01-04T14:30", "XNYS", 0),
        ("1d", "2021-01-04T05:00", "XNYS", 0),
        ("1d", "2021-01-04T21:00", "24/5", 0),
    ],
)
def test_the_grid(bars: MakeBars, timeframe: str, start: str, calendar: str, wrong: int) -> None:
    report = check(bars(20, timeframe, start), timeframe, calendar)
    assert report.counts.get("misaligned", 0) == wrong


def test_a_session_bar_off_the_others_grid(bars: MakeBars) -> None:
    frame = bars(30, start="2021-01-04T14:30")
    moved = with_cell(frame, "open_time", 12, frame["open_time"][12] + dt.timedelta(minutes=7))
    assert ("misaligned", 12) in hits(check(moved, "1h", "XNYS"))


def test_gaps_round_the_clock(bars: MakeBars) -> None:
    frame = bars(100)
    report = check(frame.filter(~pl.int_range(100).is_in([10, 11, 12, 50])))
    assert hits(report) == [("gap", 10), ("gap", 47)]
    assert report.missing == 4
    assert "3 bars missing after 2021-01-04T09:00Z" in report.findings[0].message
    assert report.n_errors == 0
    assert report.n_warnings == 2


def test_gaps_between_daily_sessions_without_a_calendar(bars: MakeBars, no_library: None) -> None:
    frame = bars(60, "1d")
    weekdays = frame.filter(pl.col("open_time").dt.weekday() <= 5)
    assert check(weekdays, "1d", "XNYS").counts == {}
    holiday = weekdays.filter(pl.col("open_time").dt.date() != dt.date(2021, 1, 18))
    report = check(holiday, "1d", "XNYS")
    assert report.counts == {}
    assert (
        report.hours
        == "weekdays and usual hours, without holidays; holidays are not known: pip install 'trimtab[calendars]'"
    )
    closed = weekdays.filter(~pl.col("open_time").dt.date().is_between(dt.date(2021, 1, 14), dt.date(2021, 1, 18)))
    report = check(closed, "1d", "XNYS")
    assert report.counts == {"gap": 1}
    assert report.missing == 3
    assert "3 weekdays missing after 2021-01-13" in report.findings[0].message


def test_gaps_in_intraday_sessions_without_a_calendar(bars: MakeBars, no_library: None) -> None:
    local = pl.col("open_time").dt.convert_time_zone("America/New_York")
    frame = bars(24 * 40, start="2021-11-01T00:00").filter(
        (local.dt.weekday() <= 5) & local.dt.hour().is_between(9, 15)
    )
    frame = frame.filter(~((local.dt.date() == dt.date(2021, 11, 26)) & (local.dt.hour() >= 13)))  # an early close
    assert check(frame, "1h", "XNYS").counts == {}
    at = pl.datetime(2021, 11, 9, 17, time_zone="UTC")  # inside the session
    assert check(frame.filter(pl.col("open_time") != at), "1h", "XNYS").counts == {"gap": 1}
    first = pl.datetime(2021, 11, 10, 14, time_zone="UTC")
    report = check(frame.filter(pl.col("open_time") != first), "1h", "XNYS")
    assert report.counts == {"short_session": 1}
    assert report.missing == 1
    night = check(bars(5, start="2021-11-09T02:00"), "1h", "XNYS")
    assert "is the instrument's calendar right?" in night.findings[0].message


def test_currency_weekends_are_no_gaps(bars: MakeBars) -> None:
    frame = bars(24 * 14, start="2021-06-06T21:00")
    day, hour = pl.col("open_time").dt.weekday(), pl.col("open_time").dt.hour()
    weekend = (day == 6) | ((day == 5) & (hour >= 21)) | ((day == 7) & (hour < 21))
    week = frame.filter(~weekend)
    assert check(week, "1h", "24/5").counts == {}
    assert check(week, "1h", "24/7").counts["gap"] == 1
    assert check(week.filter(~pl.int_range(pl.len()).is_in([30, 31])), "1h", "24/5").counts == {"gap": 1}


def test_zero_volume_stale_runs_and_outliers(bars: MakeBars) -> None:
    frame = with_cell(bars(300), "volume", 7, 0.0)
    assert hits(check(frame)) == [("zero_volume", 7)]
    close = frame["close"].to_numpy().copy()
    close[100:112] = close[100]
    flat = around(bars(300).with_columns(close=pl.Series(close)))
    assert hits(check(flat)) == [("stale", 100)]
    jump = bars(300)["close"].to_numpy().copy()
    jump[200:] /= 6.6  # no split that anybody does
    report = check(around(bars(300).with_columns(close=pl.Series(jump))))
    assert hits(report) == [("outlier", 200)]
    assert "-84.9%" in report.findings[0].message


def around(frame: pl.DataFrame) -> pl.DataFrame:
    """The bars as they are where only closes are known."""
    return frame.with_columns(open=pl.col("close"), high=pl.col("close"), low=pl.col("close"))


def test_findings_are_limited_and_counts_are_not(bars: MakeBars) -> None:
    report = check(bars(100).with_columns(volume=pl.lit(0.0)), limit=5)
    assert len(report.findings) == 5
    assert report.counts == {"zero_volume": 100}


def test_instants_read_well() -> None:
    assert iso(0) == "1970-01-01T00:00Z"
    assert iso(61_000_000_000) == "1970-01-01T00:01:01Z"
    assert iso(1_500_000_000) == "1970-01-01T00:00:01.5Z"


def expected_missing(path: Path, step: dt.timedelta) -> tuple[int, int]:
    """Gaps and missing bars counted one by one, the slow way."""
    times = set(pl.read_parquet(path)["open_time"])
    gaps = missing = 0
    at, last, inside = min(times), max(times), False
    while at <= last:
        absent = at not in times
        missing += absent
        gaps += absent and not inside
        inside = absent
        at += step
    return gaps, missing


@pytest.mark.parametrize(
    ("file", "gaps", "missing"),
    [
        ("crypto_bitvavo/BTCEUR_1h", 9, 24),
        ("crypto_bitvavo/ETHEUR_1h", 6, 20),
        ("crypto_bitvavo/ADAEUR_1h", 7, 25),
        ("crypto_bitvavo/LTCEUR_1h", 9, 24),
        ("crypto_bitvavo/XRPEUR_1h", 6, 20),
        ("crypto_binance_2024/BTCUSDT_1h", 0, 0),
        ("crypto_binance_2021/BTCUSDT_5m", 6, 177),
    ],
)
def test_known_gaps_of_real_crypto(shared: Path, file: str, gaps: int, missing: int) -> None:
    path = shared / "data" / f"{file}.parquet"
    timeframe = file[-2:]
    report = check(pl.read_parquet(path), timeframe)
    assert (report.counts.get("gap", 0), report.missing) == (gaps, missing)
    step = dt.timedelta(hours=1) if timeframe == "1h" else dt.timedelta(minutes=5)
    assert expected_missing(path, step) == (gaps, missing)
    assert report.n_errors == 0


@pytest.mark.parametrize("symbol", ["SPY", "IWM", "AAPL", "IBM"])
def test_known_gaps_of_real_equities_without_a_calendar(shared: Path, symbol: str, no_library: None) -> None:
    """September 2001, the day of mourning after New Year 2007, and the storm of October 2012; nothing else."""
    frame = pl.read_parquet(shared / "data/equity_us" / f"{symbol}_1d.parquet")
    report = check(frame, "1d", "XNYS")
    gaps = [f.instant[:10] for f in report.findings if f.fault == "gap"]
    assert gaps == ["2001-09-17", "2007-01-03", "2012-10-31"]
    assert report.missing == 8
    assert report.n_errors == 0
    days = {d.date() for d in frame["open_time"]}
    all_days = [min(days) + dt.timedelta(days=i) for i in range((max(days) - min(days)).days)]
    absent = [d for d in all_days if d.weekday() < 5 and d not in days]
    pairs = sum((b - a).days == 1 or (a.weekday() == 4 and (b - a).days == 3) for a, b in itertools.pairwise(absent))
    assert pairs == 3 + 1 + 1  # four days in a row, two, two


def test_known_gaps_of_real_hourly_equities_without_a_calendar(shared: Path, no_library: None) -> None:
    """The trading halt of 2013-08-22 (Nasdaq) is in AAPL only; both opened late on 2002-09-11."""
    for symbol, gaps in (("SPY", 3), ("AAPL", 4)):
        report = check(pl.read_parquet(shared / "data/equity_us" / f"{symbol}_1h.parquet"), "1h", "XNYS")
        assert report.counts["gap"] == gaps
        assert report.counts["short_session"] == 1
        short = next(f for f in report.findings if f.fault == "short_session")
        assert short.instant.startswith("2002-09-11")
        assert report.n_errors == 0
        halt = [f.instant for f in report.findings if f.instant.startswith("2013-08-22")]
        assert bool(halt) == (symbol == "AAPL")


def test_real_prices_outside_their_range_are_errors(shared: Path) -> None:
    frame = pl.read_parquet(shared / "data/macro/VIX_1d.parquet")
    odd = frame.filter(
        (pl.min_horizontal("open", "close") < pl.col("low")) | (pl.max_horizontal("open", "close") > pl.col("high"))
    )
    report = check(frame, "1d", "XNYS")
    assert report.counts["outside_range"] == len(odd) == 47
