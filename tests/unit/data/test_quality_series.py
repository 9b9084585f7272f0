"""What series prove about each other, about survivors, how much of them is there, and how far they can be believed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.quality.findings import columns_of
from trimtab.data.quality.labels import Closes, compare
from trimtab.data.quality.scoring import CAPS
from trimtab.data.quality.universe import Span, survivors
from trimtab.data.validation import ERRORS, WARNINGS, Assessment, assess
from trimtab.types import DAY

MakeBars = Callable[..., pl.DataFrame]
NOW = 1_790_000_000_000_000_000  # 2026-09-21


def closes(frame: pl.DataFrame, timeframe: str) -> Closes:
    bars = columns_of(frame)
    return Closes(timeframe, bars.opens, bars.close)


def told(*series: Closes) -> dict[str, str]:
    """Fault -> message of what is proved."""
    return {hit.fault: hit.say(0) for hits in compare(series).values() for hit in hits}


# --- two series of one instrument ------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeframe", ["4h", "1d"])
def test_a_series_that_runs_ahead_of_a_finer_one_is_proved(shared: Path, timeframe: str) -> None:
    fine = pl.read_parquet(shared / "data/crypto_binance_2024/BTCUSDT_1h.parquet")
    coarse = fine.group_by_dynamic("open_time", every=timeframe).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    assert told(closes(fine, "1h"), closes(coarse, timeframe)) == {}
    step = dt.timedelta(hours=4 if timeframe == "4h" else 24)
    early = coarse.with_columns(pl.col("open_time") - step)
    found = told(closes(fine, "1h"), closes(early, timeframe))
    assert list(found) == ["early_label"]
    assert f"the {timeframe} bars know what the 1h bars show later" in found["early_label"]
    late = coarse.with_columns(pl.col("open_time") + step)
    assert list(told(closes(fine, "1h"), closes(late, timeframe))) == ["late_label"]
    # A fine series stamped with its closes makes the coarse one look early by one fine bar.
    stamped = fine.with_columns(pl.col("open_time") + pl.duration(hours=1))
    assert list(told(closes(stamped, "1h"), closes(coarse, timeframe))) == ["early_label"]


@pytest.mark.parametrize("symbol", ["SPY", "AAPL"])
def test_daily_prices_of_another_source_are_held_by_their_returns(shared: Path, symbol: str) -> None:
    """Official closes are not those of the last hour, but they move alike."""
    fine, coarse = (pl.read_parquet(shared / f"data/equity_us/{symbol}_{t}.parquet") for t in ("1h", "1d"))
    assert told(closes(fine, "1h"), closes(coarse, "1d")) == {}
    days = coarse["open_time"]
    ahead = coarse.head(-1).with_columns(coarse["close"].slice(1), open_time=days.head(-1))
    ahead = ahead.with_columns(pl.col("close") * 1.0001)  # not equal, but alike
    assert list(told(closes(fine, "1h"), closes(ahead, "1d"))) == ["early_label"]


def test_two_series_that_have_little_in_common_prove_nothing(bars: MakeBars) -> None:
    assert told(closes(bars(500), "1h"), closes(bars(20, "1d"), "1d")) == {}
    assert told(closes(bars(5_000), "1h"), closes(bars(200, "1d", seed=3), "1d")) == {}
    assert told(closes(bars(500), "1h"), closes(bars(100, "4h", "2023-01-02T00:00"), "4h")) == {}
    flat = bars(5_000).with_columns(close=pl.lit(5.0))
    assert told(closes(flat, "1h"), closes(flat.gather_every(24), "1d")) == {}


# --- survivors -------------------------------------------------------------------------------------------------------


def span(symbol: str, last: int, asset_class: str = "equity", timeframe: str = "1d") -> Span:
    return Span(symbol, asset_class, timeframe, 0, last * DAY)


def test_series_that_end_early_are_named() -> None:
    (note,) = survivors([span("A", 5_000), span("B", 4_000), span("C", 4_995), span("D", 100, "crypto")])
    assert "equity 1d: 1 of 3 ends before 1983-09-10" in note
    assert "(B 1980-12-14)" in note


def test_a_universe_in_which_nobody_failed_is_told() -> None:
    assert survivors([span(s, 5_000) for s in "ABCD"]) == []
    (note,) = survivors([span(s, 5_000) for s in "ABCDE"])
    assert "all of 5 series live to the end" in note
    assert survivors([]) == survivors([span("A", 1)]) == []


def test_many_names_are_cut_short() -> None:
    (note,) = survivors([span(f"S{n}", n) for n in range(100, 900, 100)])
    assert "and 2 more" in note


# --- coverage and score ----------------------------------------------------------------------------------------------


def judge(frame: pl.DataFrame, timeframe: str = "1h", calendar: str = "24/7") -> Assessment:
    return assess(frame, timeframe, calendar, now=NOW)


def test_coverage_counts_bars_and_what_is_missing_by_month(bars: MakeBars) -> None:
    frame = bars(24 * 90, start="2021-01-04T00:00")
    hours = frame["open_time"]
    gone = hours.is_between(dt.datetime(2021, 1, 30, tzinfo=dt.UTC), dt.datetime(2021, 2, 2, 23, tzinfo=dt.UTC))
    coverage = judge(frame.filter(~gone)).coverage
    assert coverage.months.astype("M8[M]").astype(str).tolist() == ["2021-01", "2021-02", "2021-03", "2021-04"]
    assert coverage.bars.tolist() == [26 * 24, 26 * 24, 31 * 24, 3 * 24]
    assert coverage.missing.sum() == pytest.approx(96)
    assert coverage.missing[:2] == pytest.approx([48, 48], abs=1.0)
    assert coverage.share[2:].tolist() == [1.0, 1.0]


def test_coverage_adds_up_on_real_gaps(shared: Path) -> None:
    for name, calendar in (("crypto_binance_2021/BTCUSDT_5m", "24/7"), ("equity_us/SPY_1h", "XNYS")):
        frame = pl.read_parquet(shared / "data" / f"{name}.parquet")
        found = judge(frame, name[-2:], calendar)
        assert found.coverage.bars.sum() == len(frame)
        assert found.coverage.missing.sum() == pytest.approx(found.report.missing)
        by_month = frame.group_by(pl.col("open_time").dt.truncate("1mo")).len().sort("open_time")["len"]
        assert found.coverage.bars.tolist() == by_month.to_list()


def test_the_score_is_what_its_formula_says(bars: MakeBars) -> None:
    frame = bars(1_000)
    assert judge(frame).score == (100.0, 1.0, 1.0, 1.0, "")
    gone = frame.filter(~pl.int_range(1_000).is_between(100, 299))
    assert judge(gone).score == (pytest.approx(80.0), 0.8, 1.0, 1.0, "")
    quiet = frame.with_columns(volume=pl.when(pl.int_range(1_000) < 100).then(0.0).otherwise(1.0))
    assert judge(quiet).score == (pytest.approx(90.0), 1.0, 1.0, 0.9, "")
    wrong = frame.with_columns(low=pl.when(pl.int_range(1_000) == 7).then(-1.0).otherwise(pl.col("low")))
    assert judge(wrong).score == (60.0, 1.0, 0.999, 1.0, "non_positive_price")
    assert judge(frame.head(0)).score.score == 0.0


def test_a_score_never_rises_with_damage(bars: MakeBars) -> None:
    frame, rng = bars(2_000), np.random.default_rng(0)
    last = 100.0
    for _ in range(20):
        frame = frame.filter(pl.Series(rng.random(len(frame)) > 0.01))
        score = judge(frame).score.score
        assert score <= last
        last = score


def test_caps_are_of_faults_that_there_are() -> None:
    assert set(CAPS) <= {*ERRORS, *WARNINGS}
    assert set(ERRORS) <= set(CAPS)


def test_unsorted_series_have_a_coverage_too(bars: MakeBars) -> None:
    found = judge(bars(100).reverse())
    assert found.coverage.bars.sum() == 100
    assert found.report.hours == ""
