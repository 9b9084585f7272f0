"""Every class of fault, proved on damaged copies of real bars: it is found where it was put, and nowhere else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.quality.dividends import dividend_faults, evidence_of
from trimtab.data.quality.findings import columns_of
from trimtab.data.validation import ERRORS, WARNINGS, Report, assess, validate
from trimtab.types import DAY

NOW = 1_790_000_000_000_000_000  # 2026-09-21
AT = dt.datetime(2026, 9, 21, 14, tzinfo=dt.UTC)  # the hour that is not over then
PRICES = ("open", "high", "low", "close")
Damage = Callable[[pl.DataFrame], pl.DataFrame]


def check(frame: pl.DataFrame, timeframe: str, calendar: str, events: pl.DataFrame | None = None) -> Report:
    return validate(frame, timeframe, calendar, now=NOW, limit=10_000, events=events)


def rows_of(report: Report, fault: str) -> list[int]:
    return [f.row for f in report.findings if f.fault == fault]


def real(shared: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(shared / "data" / f"{name}.parquet")


def put(column: str, row: int, value: object) -> Damage:
    """One cell replaced."""
    here = pl.int_range(pl.len()) == row
    return lambda frame: frame.with_columns(pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


def scaled(rows: tuple[int, int], factor: float, *columns: str) -> Damage:
    """Prices of some rows times a factor."""
    inside = pl.int_range(pl.len()).is_between(*rows, closed="left")
    return lambda frame: frame.with_columns(
        pl.when(inside).then(pl.col(c) * factor).otherwise(pl.col(c)).alias(c) for c in columns or PRICES
    )


def without(*rows: int) -> Damage:
    return lambda frame: frame.filter(~pl.int_range(pl.len()).is_in(list(rows)))


def again(row: int) -> Damage:
    return lambda frame: pl.concat([frame.head(row + 1), frame.slice(row)])


def swapped(row: int) -> Damage:
    return lambda frame: frame[[*range(row), row + 1, row, *range(row + 2, len(frame))]]


def stuck(first: int, last: int) -> Damage:
    """The close of a row in all up to another."""

    def damage(frame: pl.DataFrame) -> pl.DataFrame:
        inside = pl.int_range(pl.len()).is_between(first, last)
        price = frame["close"][first]
        return frame.with_columns(pl.when(inside).then(price).otherwise(pl.col(c)).alias(c) for c in PRICES)

    return damage


def repeated(first: int, last: int) -> Damage:
    def damage(frame: pl.DataFrame) -> pl.DataFrame:
        inside = pl.int_range(pl.len()).is_between(first, last)
        columns = (*PRICES, "volume")
        return frame.with_columns(pl.when(inside).then(frame[c][first]).otherwise(pl.col(c)).alias(c) for c in columns)

    return damage


def late(row: int, by: dt.timedelta) -> Damage:
    here = pl.int_range(pl.len()) == row
    time = pl.col("open_time")
    return lambda frame: frame.with_columns(pl.when(here).then(time + by).otherwise(time).alias("open_time"))


ROW = 4_321
DAMAGES: list[tuple[str, Damage, list[int]]] = [
    ("no_time", put("open_time", ROW, None), [ROW]),
    ("duplicate", again(ROW), [ROW + 1]),
    ("disorder", swapped(ROW), [ROW + 1]),
    ("misaligned", late(ROW, dt.timedelta(minutes=7)), [ROW]),
    ("future", lambda f: f.with_columns(pl.col("open_time") + (AT - f["open_time"][ROW])), list(range(ROW, 8_762))),
    ("no_price", put("low", ROW, None), [ROW]),
    ("non_positive_price", scaled((ROW, ROW + 1), 0.0), [ROW]),
    ("non_positive_price", scaled((ROW, ROW + 1), -1.0, "low"), [ROW]),
    ("high_below_low", scaled((ROW, ROW + 1), 0.5, "high"), [ROW]),
    ("outside_range", scaled((ROW, ROW + 1), 1.5, "close"), [ROW]),
    ("negative_volume", scaled((ROW, ROW + 1), -1.0, "volume"), [ROW]),
    ("gap", without(ROW, ROW + 1, 5_000), [ROW, 4_998]),
    ("zero_volume", put("volume", ROW, 0.0), [ROW]),
    ("stale", stuck(ROW, ROW + 11), [ROW]),
    ("stale", repeated(ROW, ROW + 2), [ROW]),
    ("outlier", scaled((ROW, ROW + 1), 1.5), [ROW, ROW + 1]),  # a spike goes and comes
    ("outlier", scaled((ROW, ROW + 1), 0.7, "low"), [ROW]),
    ("split", scaled((0, ROW), 3.0), [ROW]),
]


@pytest.mark.parametrize(("fault", "damage", "rows"), DAMAGES, ids=[f"{n}-{d[0]}" for n, d in enumerate(DAMAGES)])
def test_damage_is_found_where_it_was_done(shared: Path, fault: str, damage: Damage, rows: list[int]) -> None:
    whole = real(shared, "crypto_binance_2024/BTCUSDT_1h")
    assert check(whole, "1h", "24/7").counts == {}
    if fault == "split":  # the traded value stays, as after a split
        shares = scaled((0, ROW), 1 / 3, "volume")
        report = check(damage(shares(whole)), "1h", "24/7")
        assert "near a 3:1 split" in report.findings[0].message
    else:
        report = check(damage(whole), "1h", "24/7")
    assert rows_of(report, fault) == rows
    expected = {fault} | ({"high_below_low"} if fault == "non_positive_price" and len(report.counts) > 3 else set())
    assert set(report.counts) >= expected
    others = set(report.counts) - expected
    assert others <= {"gap", "outside_range", "zero_volume", "outlier"}, others
    assert (report.n_errors > 0) == (fault in ERRORS)


def test_no_fault_is_without_a_proof() -> None:
    proved = {fault for fault, _, _ in DAMAGES}
    elsewhere = {
        "early_label",
        "late_label",
        "adjusted",
        "inverted",
        "short_session",
        "closed_day",
    }  # below, of calendars
    assert proved | elsewhere == {*ERRORS, *WARNINGS}


# --- splits ----------------------------------------------------------------------------------------------------------

SPLITS = [
    ("AAPL_1d", {"2000-06-21": 2.0, "2005-02-28": 2.0, "2014-06-09": 7.0}),
    ("AAPL_1h", {"2000-06-21": 2.0, "2005-02-28": 2.0, "2014-06-09": 7.0}),
    ("IBM_1d", {"1999-05-27": 2.0}),
    ("IWM_1d", {"2005-06-09": 2.0}),
    ("QQQold_1d", {"2000-03-20": 2.0}),
    ("SPY_1d", {}),
    ("SPY_1h", {}),
    ("QQQ_1d", {}),
]


def events_of(splits: dict[str, float]) -> pl.DataFrame:
    days = pl.Series(list(splits), dtype=pl.String).str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC")
    return pl.DataFrame({"ts": days, "kind": ["split"] * len(splits), "value": list(splits.values())})


@pytest.mark.parametrize(("name", "splits"), SPLITS, ids=[name for name, _ in SPLITS])
def test_real_splits_are_told_with_their_ratio_unless_they_are_stored(
    shared: Path, name: str, splits: dict[str, float]
) -> None:
    """Nothing else is: not AAPL's fall by half on 2000-09-29, when many times the usual value was traded."""
    frame = real(shared, f"equity_us/{name}")
    report = check(frame, name[-2:], "XNYS")
    found = {f.instant[:10]: f.message for f in report.findings if f.fault == "split"}
    assert list(found) == list(splits)
    for day, ratio in splits.items():
        assert f"near a {ratio:g}:1 split" in found[day]
    told = check(frame, name[-2:], "XNYS", events_of(splits))
    assert not {"split", "adjusted"} & set(told.counts)
    first = next(iter(splits), "")
    assert not [
        f for f in told.findings if f.fault == "outlier" and f.instant[:10] == first and "close moves" in f.message
    ]


def test_a_stored_split_of_another_ratio_or_day_explains_nothing(shared: Path) -> None:
    frame = real(shared, "equity_us/AAPL_1d")
    for wrong in ({"2014-06-09": 4.0}, {"2014-06-06": 7.0}, {"2014-06-10": 7.0}):
        report = check(frame, "1d", "XNYS", events_of(wrong))
        (told,) = [f.message for f in report.findings if f.fault == "split" and f.instant[:10] == "2014-06-09"]
        assert ("but one of 4 new shares" in told) == (4.0 in wrong.values())
    assert "adjusted" not in check(frame, "1d", "XNYS", events_of({"2014-06-09": 700.0})).counts, "prices do jump"


def test_adjusted_prices_beside_a_stored_split_are_told(shared: Path) -> None:
    frame = real(shared, "equity_us/AAPL_1d")
    row = int(np.searchsorted(frame["open_time"].dt.date().to_numpy(), np.datetime64("2014-06-09")))
    adjusted = scaled((0, row), 1 / 7)(frame)
    report = check(adjusted, "1d", "XNYS", events_of({"2014-06-09": 7.0}))
    assert rows_of(report, "adjusted") == [row]
    assert rows_of(report, "split") == [622, 1798]


def test_a_ratio_that_is_upside_down_is_told_as_such(shared: Path) -> None:
    """Not as prices that are adjusted already, nor as a split that nobody stored."""
    frame = real(shared, "equity_us/AAPL_1d")
    report = check(frame, "1d", "XNYS", events_of({"2014-06-09": 1 / 7}))
    (found,) = [f for f in report.findings if f.fault == "inverted"]
    assert (found.instant[:10], "7 would fit" in found.message) == ("2014-06-09", True)
    assert "adjusted" not in report.counts
    assert rows_of(report, "split") == [622, 1798]


# --- dividends -------------------------------------------------------------------------------------------------------

#: What each paid from 1998 to 2015, of the vendor's factors: ex-dates, and whether they are enough to tell.
PAID = [("IBM", 72, True), ("SPY", 73, True), ("IWM", 65, True), ("AAPL", 14, False), ("QQQ", 20, False)]


def dividends(shared: Path, symbol: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """Raw bars, their dividends as events, and the factor that adjusts each bar for them."""
    frame = real(shared, f"equity_us/{symbol}_1d")
    table = real(shared, f"equity_us/{symbol}_factors")
    at = np.searchsorted(table["ts"].to_numpy(), frame["open_time"].to_numpy())
    factor, shares = table["price_factor"].gather(at), table["split_factor"].cast(pl.Float64).gather(at)
    paid = frame["close"].shift(1) * (1.0 - factor.shift(1) / factor)
    there = ((paid > 0.0) & (shares == shares.shift(1))).fill_null(value=False)
    events = pl.DataFrame({"ts": frame["open_time"], "kind": "dividend", "value": paid}).filter(there)
    return frame, events, factor


@pytest.mark.parametrize(("symbol", "dates", "enough"), PAID, ids=[symbol for symbol, _, _ in PAID])
def test_prices_that_are_adjusted_for_stored_dividends_are_told(
    shared: Path, symbol: str, dates: int, enough: bool
) -> None:
    frame, events, factor = dividends(shared, symbol)
    assert len(events) == dates
    adjusted = frame.with_columns(pl.col(*PRICES) * factor)
    for bars, wrong in ((frame, False), (adjusted, True)):
        found = assess(bars, "1d", "XNYS", now=NOW, events=events)
        told = [f.message for f in found.report.findings if f.fault == "adjusted"]
        assert bool(told) == (wrong and enough)
        assert any("NOT ENOUGH dividends" in note for note in found.notes) == (not enough)
        assert all(f"{dates} ex-dates open" in message for message in told)


def test_dividends_on_other_days_of_raw_prices_are_no_proof_by_chance(shared: Path) -> None:
    """Nights that fall by what is paid, on days drawn at random: 40 times, seeds from 0. Told wrongly: 1 in 1,000."""
    frame, events, _ = dividends(shared, "IBM")
    bars = columns_of(frame)
    days = np.flatnonzero(~frame["open_time"].is_in(events["ts"].to_list()).to_numpy())
    caught = 0
    for seed in range(40):
        rows = np.sort(np.random.default_rng(seed).choice(days[1:], len(events), replace=False))
        moved = events.with_columns(ts=frame["open_time"].gather(rows))
        cut = bars.open.copy()
        cut[rows] *= 1.0 - moved["value"].to_numpy() / bars.close[rows - 1]
        raw = evidence_of(bars._replace(open=cut), DAY, moved)
        assert raw is not None
        assert not dividend_faults(raw)[0]
        put_back = evidence_of(bars, DAY, moved)
        assert put_back is not None
        caught += bool(dividend_faults(put_back)[0])
    assert caught >= 24  # 0.82 of them are expected; fewer than 24 of 40 come of that once in 1,000


def test_reverse_splits_and_unknown_volume(shared: Path) -> None:
    frame = real(shared, "equity_us/SPY_1d")
    reverse = scaled((0, 2_000), 0.1)(scaled((0, 2_000), 10.0, "volume")(frame))
    (found,) = [f for f in check(reverse, "1d", "XNYS").findings if f.fault == "split"]
    assert (found.row, "near a 1:10 split" in found.message) == (2_000, True)
    blind = reverse.with_columns(volume=pl.lit(None, dtype=pl.Float64))
    (found,) = [f for f in check(blind, "1d", "XNYS").findings if f.fault == "split"]
    assert "volume is unknown" in found.message


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SPY_1d", "IBM_1d", "QQQ_1d"])
def test_daily_labels_of_the_day_before_are_early(shared: Path, name: str) -> None:
    frame = real(shared, f"equity_us/{name}")
    assert not {"early_label", "late_label", "closed_day"} & set(check(frame, "1d", "XNYS").counts)
    early = frame.with_columns(pl.col("open_time") - pl.duration(days=1))
    report = check(early, "1d", "XNYS")
    assert report.counts["early_label"] == 1
    assert report.n_errors == 1
    late_ = frame.with_columns(pl.col("open_time") + pl.duration(days=1))
    assert check(late_, "1d", "XNYS").counts["late_label"] == 1
    before = frame.with_columns(frame["open_time"].dt.date().dt.add_business_days(-1).cast(pl.Datetime("us", "UTC")))
    assert (
        "a weekday early" in next(f for f in check(before, "1d", "XNYS").findings if f.fault == "early_label").message
    )


def test_bars_stamped_with_their_close_or_in_another_zone(shared: Path) -> None:
    frame = real(shared, "equity_us/SPY_1h").tail(5_000)
    assert not {"early_label", "late_label"} & set(check(frame, "1h", "XNYS").counts)
    stamped = check(frame.with_columns(pl.col("open_time") + pl.duration(hours=1)), "1h", "XNYS")
    assert "stamped with the close" in next(f for f in stamped.findings if f.fault == "late_label").message
    local = frame["open_time"].dt.convert_time_zone("America/New_York").dt.replace_time_zone(None)
    said = check(frame.with_columns(open_time=local.dt.replace_time_zone("UTC")), "1h", "XNYS")
    told = [f.message for f in said.findings if f.fault == "early_label"]
    assert any("240 minutes before" in t for t in told)  # summer
    assert any("300 minutes before" in t for t in told)  # winter


def test_daylight_saving_left_out(shared: Path) -> None:
    """New York's hours at a fixed distance from UTC: in summer every bar is an hour late or early."""
    frame = real(shared, "equity_us/SPY_1h").tail(5_000)
    local = frame["open_time"].dt.convert_time_zone("America/New_York").dt.replace_time_zone(None)
    for hours, fault in ((4, "early_label"), (5, "late_label")):
        fixed = local.dt.offset_by(f"{hours}h")
        report = check(frame.with_columns(open_time=fixed.dt.replace_time_zone("UTC")), "1h", "XNYS")
        (found,) = [f for f in report.findings if f.fault in ("early_label", "late_label")]
        assert (found.fault, "daylight saving" in found.message) == (fault, True)
        assert ("winter" if hours == 4 else "summer") in found.message
