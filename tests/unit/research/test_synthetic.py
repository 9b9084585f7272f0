"""Synthetic bars: the same for the same seed, valid, and with the habits that checks rely on."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from trimtab.data.catalogue import default_instrument
from trimtab.data.resampling import resample
from trimtab.research.synthetic import synthetic_frames, synthetic_panel
from trimtab.types import DAY, HOUR, TIMEFRAMES, TrimtabError

OPEN, HIGH, LOW, CLOSE, VOLUME, DURATION = range(6)


@pytest.mark.parametrize("timeframe", list(TIMEFRAMES))
def test_bars_are_valid_in_every_timeframe(timeframe: str) -> None:
    panel = synthetic_panel(1, 500, 4, timeframe)
    assert (np.diff(panel.ts) > 0).all()
    assert panel.symbols == ("SYN1", "SYN2", "SYN3", "SYN4")
    for n in range(4):
        x = panel.values[:, n]
        x = x[~np.isnan(x[:, CLOSE])]
        assert (x[:, LOW] > 0.0).all()
        assert (x[:, LOW] <= np.minimum(x[:, OPEN], x[:, CLOSE])).all()
        assert (x[:, HIGH] >= np.maximum(x[:, OPEN], x[:, CLOSE])).all()
        ticks = x[:, : CLOSE + 1] / panel.instruments[n].tick_size
        np.testing.assert_allclose(ticks, np.rint(ticks), atol=1e-6)
        assert (x[:, VOLUME] >= 0.0).all()


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again, other = (synthetic_panel(seed, 300) for seed in (5, 5, 6))
    assert first.values.tobytes() == again.values.tobytes()
    assert first.ts.tobytes() == again.ts.tobytes()
    assert not np.array_equal(first.values[:250], other.values[:250], equal_nan=True)


def test_sessions_trade_on_weekdays_within_their_hours() -> None:
    panel = synthetic_panel(2, 3_000, 3, "1h")
    assert [i.calendar for i in panel.instruments] == ["24/7", "24/7", "XNYS"]
    traded = ~np.isnan(panel.values[:, 2, CLOSE])
    length = panel.values[traded, 2, DURATION].astype(np.int64)
    opens = panel.ts[traded] - length
    assert ((opens // DAY + 3) % 7 < 5).all()  # 1970-01-01 was a Thursday
    minutes = opens % DAY // (60 * 1_000_000_000)
    assert minutes.min() >= 13 * 60 + 30, "09:30 in New York is 13:30 or 14:30 UTC"
    assert (panel.ts[traded] % DAY).max() <= 21 * HOUR
    assert set(np.unique(length)) == {HOUR, HOUR // 2}


def test_pairs_are_tied_and_single_ones_wander() -> None:
    panel = synthetic_panel(3, 6_000, 2)
    close = panel.values[:, :, CLOSE]
    logs = np.log(close[~np.isnan(close).any(axis=1)])
    spread = logs[:, 1] - 0.8 * logs[:, 0]
    spread -= spread.mean()
    decay = float(spread[1:] @ spread[:-1] / (spread @ spread))
    assert 0.94 < decay < 0.98, "half-life 20 bars: 0.966"
    single = logs[:, 0] - logs[:, 0].mean()
    assert float(single[1:] @ single[:-1] / (single @ single)) > 0.99


def test_volatility_clusters_tails_are_fat_and_bars_go_missing() -> None:
    panel = synthetic_panel(4, 8_000, 1)
    close = panel.values[:, 0, CLOSE]
    returns = np.diff(np.log(close[~np.isnan(close)]))
    sizes = np.abs(returns) - np.abs(returns).mean()
    # Of independent returns the mean of ten autocorrelations has a deviation of 0.0035.
    assert np.mean([sizes[k:] @ sizes[:-k] / (sizes @ sizes) for k in range(1, 11)]) > 0.05
    assert float((returns**4).mean() / (returns**2).mean() ** 2) > 4.0
    gaps = np.diff(panel.ts) // DAY
    assert gaps.max() >= 10, "one outage of ten bars"
    assert 0.985 < len(panel.ts) / 8_000 < 0.995
    assert (panel.values[:, 0, VOLUME] == 0.0).any()


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(TrimtabError, match="1 or more"):
        synthetic_panel(0, 0)
    with pytest.raises(TrimtabError, match="200 years"):
        synthetic_panel(0, 80_000, 1, "1d")
    with pytest.raises(TrimtabError, match="2d"):
        synthetic_panel(0, 10, 1, "2d")


# --- frames for a store -----------------------------------------------------------------------------------------------

SPY, QQQ, XLF = (default_instrument(symbol, "equity") for symbol in ("SPY", "QQQ", "XLF"))
BTC, ETH = (default_instrument(symbol, "crypto") for symbol in ("BTC", "ETH"))
FIRST, LAST = (int(dt.datetime(y, 1, 1, tzinfo=dt.UTC).timestamp()) * 10**9 for y in (2015, 2020))


def test_frames_hold_the_hours_that_the_instruments_trade() -> None:
    frames = synthetic_frames(3, [SPY, BTC], "1h", FIRST, LAST)
    opened = frames["SPY"]["open_time"].dt.convert_time_zone("America/New_York")
    assert sorted(opened.dt.hour().unique()) == list(range(9, 16)), "from 09:30 to 16:00, summer and winter"
    assert opened.dt.weekday().max() == 5
    halves = (
        frames["SPY"]
        .filter(opened.dt.date() == dt.date(2016, 11, 25))["open_time"]
        .dt.convert_time_zone("America/New_York")
    )
    assert halves.dt.hour().max() == 12, "the day after Thanksgiving closes at 13:00"
    clock = frames["BTC"]["open_time"]
    assert set(clock.dt.hour().unique()) == set(range(24))
    assert 0.98 < len(clock) / (5 * 365.2 * 24) < 0.995
    four = resample(frames["SPY"], "1h", "4h", "XNYS")
    ends = (four["open_time"] + four["duration"]).dt.convert_time_zone("America/New_York")
    assert {(t.hour, t.minute) for t in ends} <= {(13, 0), (16, 0)}


@pytest.mark.parametrize(("timeframe", "starts"), [("30m", {(9, 30)}), ("4h", {(9, 30)}), ("5m", {(9, 30)})])
def test_sessions_begin_at_their_open(timeframe: str, starts: set[tuple[int, int]]) -> None:
    frame = synthetic_frames(1, [SPY], timeframe, FIRST, FIRST + 90 * DAY)["SPY"]
    opened = frame["open_time"].dt.convert_time_zone("America/New_York")
    days = pl.DataFrame({"day": opened.dt.date(), "at": opened.dt.time()}).group_by("day").agg(pl.col("at").min())
    assert {(t.hour, t.minute) for t in days["at"].mode()} == starts


def test_a_symbol_has_its_bars_whoever_is_beside_it() -> None:
    alone = synthetic_frames(3, [SPY, BTC], "1d", FIRST, LAST)
    more = synthetic_frames(3, [BTC, SPY, ETH, QQQ], "1d", FIRST, LAST)
    assert all(alone[symbol].equals(more[symbol]) for symbol in ("SPY", "BTC"))
    other = synthetic_frames(4, [SPY, BTC], "1d", FIRST, LAST)
    assert not alone["SPY"]["close"].head(50).equals(other["SPY"]["close"].head(50))


def logs(frames: dict[str, pl.DataFrame], *symbols: str) -> list[np.ndarray]:
    both = frames[symbols[0]].join(frames[symbols[1]], on="open_time")
    return [np.log(both[name].to_numpy()) for name in ("close", "close_right")]


@pytest.mark.parametrize(("leader", "follower"), [("SPY", "QQQ"), ("BTC", "ETH")])
def test_the_second_of_equal_hours_follows_the_first(leader: str, follower: str) -> None:
    decays = []
    for seed in range(8):
        frames = synthetic_frames(seed, [SPY, BTC, QQQ, ETH], "1d", FIRST, LAST)
        first, second = logs(frames, leader, follower)
        spread = second - 0.8 * first
        spread -= spread.mean()
        decays.append(float(spread[1:] @ spread[:-1] / (spread @ spread)))
    days = (LAST - FIRST) / DAY / len(first)
    # One estimate deviates by 0.02, eight by 0.007; the 1% of bars that are missing take up to 0.01.
    assert np.mean(decays) == pytest.approx(0.5 ** (days / 5.0), abs=0.03)


def test_the_third_goes_its_own_way() -> None:
    frames = synthetic_frames(5, [SPY, QQQ, XLF], "1d", FIRST, LAST)
    first, third = (np.diff(path) for path in logs(frames, "SPY", "XLF"))
    assert abs(np.corrcoef(first, third)[0, 1]) < 0.12, "of 1,200 days: four deviations"


def test_annual_volatility_does_not_depend_on_the_timeframe() -> None:
    for timeframe, per_year in (("1h", 252 * 7), ("1d", 252)):
        close = synthetic_frames(6, [SPY], timeframe, FIRST, LAST)["SPY"]["close"].to_numpy()
        assert 0.2 < np.diff(np.log(close)).std() * np.sqrt(per_year) < 0.35


def test_frames_of_no_time_are_refused() -> None:
    with pytest.raises(TrimtabError, match="SPY: no two bars of 1d lie between"):
        synthetic_frames(0, [SPY], "1d", FIRST, FIRST + DAY)
