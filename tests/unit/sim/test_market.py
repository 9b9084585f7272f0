"""From a Panel to what the rules read (design §5, §6.2): causal columns, marks, bands, day ends, blocks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trimtab.rules.derive import STRETCH, VOLUME_DAYS, derive, underived
from trimtab.rules.market import AVERAGE_VOLUME, BLOCK, VOL, VOL_WINDOW
from trimtab.sim.market import build_market, day_ends, survey
from trimtab.sim.simulate import weights_of
from trimtab.types import BAR_FIELDS, DAY, HOUR, MINUTE, Instrument, Panel

START = 19_700 * DAY


def random_panel(rows: int, n: int, step: int, gaps: float, seed: int = 0) -> Panel:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (rows, n)), axis=0))
    values = np.empty((rows, n, len(BAR_FIELDS)))
    values[:, :, 0] = close * 1.001
    values[:, :, 1], values[:, :, 2], values[:, :, 3] = close * 1.01, close * 0.99, close
    values[:, :, 4] = rng.lognormal(3.0, 1.0, (rows, n))
    values[:, :, 5] = step
    values[rng.random((rows, n)) < gaps / 2, 4] = np.nan
    values[rng.random((rows, n)) < gaps] = np.nan
    ts = START + step * np.arange(1, rows + 1, dtype=np.int64)
    return Panel(ts, tuple(Instrument(symbol=f"I{k}") for k in range(n)), BAR_FIELDS, values, "1h")


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_volatility_is_that_of_the_returns_before_the_bar(gaps: float) -> None:
    panel = random_panel(300, 2, HOUR, gaps)
    vol = build_market(panel).rows[:, :, VOL]
    for i in range(2):
        close = panel.values[:, i, 3]
        for t in range(300):
            seen = close[:t][close[:t] > 0.0]
            returns = (seen[1:] / seen[:-1] - 1.0)[-VOL_WINDOW:]
            if len(returns) < 2:
                assert np.isnan(vol[t, i])
            else:
                assert vol[t, i] == pytest.approx(float(np.std(returns, ddof=1)), rel=1e-9)


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_average_volume_is_that_of_the_finished_days_before_the_bar(gaps: float) -> None:
    panel = random_panel(24 * 30, 2, HOUR, gaps)
    average = build_market(panel).rows[:, :, AVERAGE_VOLUME]
    day = (panel.ts - HOUR) // DAY
    for i in range(2):
        bars, volume = panel.values[:, i, 0] > 0.0, panel.values[:, i, 4]
        for t in np.flatnonzero(bars):
            before = {}
            for s in range(t):
                if bars[s] and volume[s] >= 0.0 and day[s] < day[t]:
                    before[day[s]] = before.get(day[s], 0.0) + volume[s]
            known = [before[d] for d in sorted(before)][-VOLUME_DAYS:]
            if known:
                assert average[t, i] == pytest.approx(np.mean(known), rel=1e-12)
            else:
                assert np.isnan(average[t, i])


def test_marks_carry_the_last_close_and_missing_bars_meet_no_order() -> None:
    panel = random_panel(200, 3, HOUR, 0.3)
    market = build_market(panel)
    for i in range(3):
        last = 0.0
        for t in range(200):
            close = panel.values[t, i, 3]
            if close > 0.0:
                last = close
                assert (market.low[t, i], market.high[t, i]) == (panel.values[t, i, 2], panel.values[t, i, 1])
            else:
                assert (market.low[t, i], market.high[t, i]) == (np.inf, -np.inf)
            assert market.mark[t, i] == last


def test_blocks_hold_the_extremes_of_the_mark() -> None:
    market = build_market(random_panel(STRETCH + BLOCK * 9 + 3, 1, HOUR, 0.1))
    whole = market.mark[: STRETCH + BLOCK * 9, 0].reshape(-1, BLOCK)
    assert market.block_low.tolist() == whole.min(axis=1).tolist()
    assert market.block_high.tolist() == whole.max(axis=1).tolist()
    assert len(build_market(random_panel(50, 2, HOUR, 0.0)).block_low) == 0


def test_a_survey_finds_half_bars_first_bars_and_silent_instruments() -> None:
    rng = np.random.default_rng(3)
    pool = [1.0, 2.0, 1e308, 5e-324, np.nan, np.inf, 0.0, -1.0]  # four of 1e308 are finite, their sum is not
    for _ in range(300):
        rows, n = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        values = rng.choice(pool, (rows, n, 6), p=[0.4, 0.2, 0.3, 0.02, 0.02, 0.02, 0.02, 0.02])
        values[rng.random((rows, n)) < 0.3] = np.nan
        first, silent = np.empty(n, np.int64), np.empty(n, np.int64)
        found = survey(values, first, silent)
        prices = ((values[:, :, :4] > 0.0) & (values[:, :, :4] < np.inf)).sum(axis=2)
        half = np.flatnonzero((prices > 0) & (prices < 4))
        assert found == (half[0] if len(half) else -1)
        if not len(half):
            assert first.tolist() == np.argmax(prices == 4, axis=0).tolist()
            assert silent.tolist() == (~(values[:, :, 4] > 0.0).any(axis=0)).tolist()


def test_day_ends_are_the_last_bars_at_or_before_midnight() -> None:
    hourly = START + HOUR * np.arange(1, 50, dtype=np.int64)  # closes 01:00 … 00:00 … 01:00
    assert day_ends(hourly).tolist() == [23, 47, 48]
    assert hourly[23] == START + DAY
    sessions = np.array([START + 14 * HOUR, START + 21 * HOUR, START + DAY + 21 * HOUR, START + 4 * DAY + 21 * HOUR])
    assert day_ends(sessions).tolist() == [1, 2, 3]
    assert day_ends(np.array([START], np.int64)).tolist() == [0]
    assert day_ends(np.empty(0, np.int64)).tolist() == []
    assert day_ends(START + MINUTE * np.arange(1, 1441, dtype=np.int64)).tolist() == [1439]


def test_weights_of_lists_what_is_new() -> None:
    nan = np.nan
    dense = np.array([[nan, 0.5], [0.25, 0.5], [0.25, nan], [nan, 0.4], [0.25, 0.5], [-0.0, 0.5], [0.0, 0.5]])
    w = weights_of(dense)
    found = list(zip(w.row.tolist(), w.instrument.tolist(), w.value.tolist(), strict=True))
    assert found == [(0, 1, 0.5), (1, 0, 0.25), (3, 1, 0.4), (4, 1, 0.5), (5, 0, 0.0)]
    assert set(w.model.tolist()) == {0}
    assert len(weights_of(np.full((5, 2), nan)).row) == 0


def test_weights_of_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    dense = rng.integers(-2, 3, (500, 4)) / 4.0
    dense[rng.random(dense.shape) < 0.3] = np.nan
    expected, last = [], [np.nan] * 4
    for t in range(500):
        for i in range(4):
            if not np.isnan(dense[t, i]) and dense[t, i] != last[i]:
                expected.append((t, i, dense[t, i]))
                last[i] = dense[t, i]
    w = weights_of(dense)
    assert list(zip(w.row.tolist(), w.instrument.tolist(), w.value.tolist(), strict=True)) == expected


def test_a_market_uses_the_panels_own_memory_once() -> None:
    close = 100.0 + np.arange(60.0)
    frame = dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": close}
    stamps = (START + HOUR * np.arange(60)).astype("datetime64[ns]")
    panel = Panel.from_frames({"X": pl.DataFrame({"open_time": stamps, **frame})}, "1h")
    bars = panel.values.copy()
    market = build_market(panel)
    assert np.shares_memory(market.rows, panel.values)
    later = Panel(panel.ts + DAY // 2, panel.instruments, panel.fields, panel.values, "1h")
    other = build_market(later)  # other instants, other daily volumes: not in the same memory
    assert not np.shares_memory(other.rows, market.rows)
    np.testing.assert_array_equal(panel.values, bars)
    copied = build_market(Panel(panel.ts, panel.instruments, panel.fields, bars, "1h"))
    assert copied.rows.tobytes() == market.rows.tobytes()


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_bars_may_come_one_at_a_time(gaps: float) -> None:
    """Lines and marks are the same to the last bit, whether the bars came at once, one by one or in pieces."""
    panel = random_panel(700, 3, 4 * HOUR, gaps)
    whole = build_market(panel)
    for lengths in ([1] * 700, [5, 1, 300, 2, 256, 136]):
        state, nothing, never = underived(3), np.empty(0), np.empty((0, 3))
        rows, mark = np.empty((700, 3, 8)), np.empty((700, 3))
        low, high = np.empty((700, 3)), np.empty((700, 3))
        first = 0
        for count in lengths:
            t = slice(first, first + count)
            bars = np.ascontiguousarray(panel.values[t]).reshape(-1, len(BAR_FIELDS))
            bars.flags.writeable = False
            derive(state, panel.ts[t], bars, rows[t], mark[t], low[t], high[t], nothing, nothing, never, never)
            first += count
        assert first == 700
        for found, made in ((rows, whole.rows), (mark, whole.mark), (low, whole.low), (high, whole.high)):
            assert found.tobytes() == made.tobytes()
