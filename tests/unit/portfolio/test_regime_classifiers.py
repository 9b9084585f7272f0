"""Each classifier against its formula written out over whole columns, and on cases made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trimtab.portfolio.regime.labels import UNKNOWN
from trimtab.portfolio.regime.table import REGIMES, classify
from trimtab.portfolio.regime.volatility import grade, percentile


def labels_of(name: str, x: Any, **changed: Any) -> np.ndarray:
    regime = REGIMES[name]
    rows = np.asarray(x, np.float64)
    return classify(regime, regime.params._replace(**changed), rows[:, None] if rows.ndim == 1 else rows)


def words_of(name: str, x: Any, **changed: Any) -> list[str]:
    return [REGIMES[name].names[k] if k >= 0 else "?" for k in labels_of(name, x, **changed)]


def walk(seed: int, rows: int = 600, vol: float = 0.015) -> np.ndarray:
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, vol, rows)))


def held(x: np.ndarray, band: float) -> np.ndarray:
    """The side of a band on which x was last; 0 before it ever left it."""
    beyond = np.where(x > band, 1, np.where(x < -band, -1, 0))
    last = np.maximum.accumulate(np.where(beyond != 0, np.arange(len(x)), -1))
    return np.where(last >= 0, beyond[last], 0)


# --- equity -----------------------------------------------------------------------------------------------------------


def trend_by_columns(close: np.ndarray, average: int, slope: int, band: float, flat: float) -> np.ndarray:
    mean = np.full(len(close), np.nan)
    mean[average - 1 :] = np.lib.stride_tricks.sliding_window_view(close, average).mean(axis=1)
    before = np.concatenate([np.full(slope, np.nan), mean[:-slope]])
    above, rising = held(close / mean - 1.0, band), held(mean / before - 1.0, flat)
    agreed = np.where(above + rising == 2, 0, np.where(above + rising == -2, 1, 2))
    return np.where(np.isnan(before), UNKNOWN, agreed)


@pytest.mark.parametrize("seed", range(10))
def test_equity_is_its_formula(seed: int):
    close = walk(seed)
    assert (labels_of("equity", close) == trend_by_columns(close, 200, 20, 0.01, 0.001)).all()
    short = {"average": 10, "slope": 3, "band": 0.02, "flat": 0.004}
    assert (labels_of("equity", close, **short) == trend_by_columns(close, **short)).all()


def test_a_price_inside_the_band_keeps_the_regime():
    """A rise, then a price that swings around its average by 0.8%: the average still rises, and nothing flips."""
    close = list(100.0 * 1.002 ** np.arange(400))
    for k in range(60):
        ratio = 1.008 if k % 2 else 0.992
        close.append(sum(close[-199:]) * ratio / (200.0 - ratio))  # close / average is the ratio, the close included
    words = words_of("equity", close)
    assert set(words[:219]) == {"?"}
    assert set(words[219:]) == {"bull"}
    assert words_of("equity", [*close, close[-1] * 0.97])[-1] == "neutral"  # out of the band; the slope is still up


def test_a_market_that_falls_long_enough_is_bear():
    words = words_of("equity", np.concatenate([100.0 * 1.001 ** np.arange(300), 130.0 * 0.995 ** np.arange(200)]))
    first = {word: words.index(word) for word in ("?", "bull", "neutral", "bear")}
    assert first["?"] < first["bull"] < first["neutral"] < first["bear"]
    assert words[-1] == "bear"


def test_a_price_that_stands_still_is_neutral():
    assert set(words_of("equity", np.full(300, 50.0))[219:]) == {"neutral"}


# --- crypto -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_crypto_is_its_formula(seed: int):
    close = walk(seed, vol=0.045)
    expected = trend_by_columns(close, 200, 20, 0.05, 0.005)
    crashed = False
    for t in range(len(close)):
        fall = 1.0 - close[t] / close[max(t - 29, 0) : t + 1].max()
        crashed = fall >= (0.15 if crashed else 0.30)
        expected[t] = 3 if crashed else expected[t]
    assert (expected == 3).any()
    assert (labels_of("crypto", close) == expected).all()


def test_a_crash_is_named_before_the_trend_is_known_and_ends_at_half_the_fall():
    words = words_of("crypto", [100.0, 80.0, 70.1, 70.0, 84.9, 85.1, 71.0])
    assert words == ["?", "?", "?", "crisis", "crisis", "?", "?"]


def test_a_crisis_ends_when_its_high_leaves_the_window():
    close = np.concatenate([[100.0], np.full(40, 65.0)])
    assert words_of("crypto", close) == ["?"] + ["crisis"] * 29 + ["?"] * 11


# --- volatility -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("history", "least"), [(60, 20), (400, 100)])
@pytest.mark.parametrize("seed", range(5))
def test_volatility_is_its_formula(seed: int, history: int, least: int):
    rng = np.random.default_rng(seed)
    vol = 0.01 * np.exp(np.cumsum(rng.normal(0.0, 0.1, 600)).clip(-2.0, 2.0))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1.0, 600) * vol))
    vols = np.lib.stride_tricks.sliding_window_view(close[1:] / close[:-1] - 1.0, 21).std(axis=1, ddof=1)
    expected, label = [UNKNOWN] * 21, UNKNOWN
    for t, now in enumerate(vols):
        past = vols[max(t + 1 - history, 0) : t + 1]
        if len(past) >= least:
            rank = ((past < now).sum() + 0.5 * (past == now).sum()) / len(past)
            up = sum(rank >= level for level in (0.25, 0.75, 0.95))
            down = sum(rank >= level - 0.05 for level in (0.25, 0.75, 0.95))
            label = up if label < up else down if label > down else label
        expected.append(label)
    got = labels_of("volatility", close, history=history, least=least)
    assert got.tolist() == expected
    assert {UNKNOWN, 1, 2, 3} <= set(got)


def test_a_price_that_stands_still_has_normal_volatility():
    assert set(words_of("volatility", np.full(600, 50.0))) == {"?", "normal"}  # every value is the median


def test_a_percentile_counts_ties_half_and_itself():
    past = np.array([1.0, 2.0, 2.0, 3.0, 99.0])
    assert [percentile(past, 4, x) for x in (1.0, 2.0, 3.0, 4.0)] == [0.125, 0.5, 0.875, 1.0]


STARTS, ENDS = (15.0, 25.0, 40.0), (13.5, 22.5, 36.0)


@pytest.mark.parametrize(
    ("before", "x", "after"),
    [
        (UNKNOWN, 10.0, 0), (UNKNOWN, 14.0, 0), (UNKNOWN, 15.0, 1), (UNKNOWN, 80.0, 3),
        (0, 14.9, 0), (0, 15.0, 1), (0, 41.0, 3),
        (1, 13.5, 1), (1, 13.4, 0), (1, 24.9, 1),
        (2, 22.5, 2), (2, 22.4, 1), (2, 5.0, 0),
        (3, 36.0, 3), (3, 35.9, 2), (3, 22.4, 1), (3, 5.0, 0),
    ],
)  # fmt: skip
def test_a_class_begins_at_its_start_and_ends_below_its_end(before: int, x: float, after: int):
    assert grade(before, x, STARTS, ENDS) == after
    assert grade(after, x, STARTS, ENDS) == after  # what was said once is said again


def test_vix_goes_up_at_once_and_down_late():
    levels = [12.0, 14.9, 15.1, 14.0, 13.4, 45.0, 37.0, 35.0, 23.0, 22.0]
    expected = ["low", "low", "normal", "normal", "low", "crisis", "crisis", "high", "high", "normal"]
    assert words_of("vix", levels) == expected


# --- macro ------------------------------------------------------------------------------------------------------------

SHORT: dict[str, Any] = {"growth": 4, "smoothing": 2, "lead": 6}


def cycle(*phases: tuple[int, float, float]) -> np.ndarray:
    """(T, 2) of phases (rows, spread, growth of activity per row)."""
    spread = np.concatenate([np.full(n, s) for n, s, _ in phases])
    activity = 100.0 * np.cumprod(np.concatenate([np.full(n, 1.0 + g) for n, _, g in phases]))
    return np.stack([spread, activity], axis=1)


def runs(words: list[str]) -> list[str]:
    return [word for n, word in enumerate(words) if n == 0 or words[n - 1] != word]


def test_a_whole_cycle_takes_its_phases_in_order():
    x = cycle((20, 0.02, 0.01), (10, -0.005, 0.005), (10, 0.01, -0.01), (40, 0.02, 0.01))
    assert runs(words_of("macro", x, **SHORT)) == [
        "?", "expansion", "slowdown", "contraction", "recovery", "expansion",
    ]  # fmt: skip


def test_a_recovery_ends_where_the_last_peak_is_seen_again():
    x = cycle((20, 0.02, 0.01), (10, 0.02, -0.02), (60, 0.02, 0.005))
    words, activity = words_of("macro", x, **SHORT), x[:, 1]
    peak = activity[:30].max()
    again = int(np.flatnonzero(activity[30:] >= peak)[0]) + 30
    assert words[again - 1] == "recovery"
    assert set(words[again:]) == {"expansion"}


def test_an_inversion_counts_for_its_lead_and_no_longer():
    x = cycle((20, 0.02, 0.01), (3, -0.01, 0.01), (30, 0.02, 0.01))
    words = words_of("macro", x, **SHORT)
    # The mean of two spreads is below zero from the second inverted row to the last, which is row 22.
    assert [t for t, word in enumerate(words) if word == "slowdown"] == list(range(21, 28))


def test_a_contraction_forgets_the_inversion_that_announced_it():
    x = cycle((20, 0.02, 0.01), (10, -0.01, 0.01), (8, -0.01, -0.02), (30, 0.02, 0.02))
    assert runs(words_of("macro", x, **SHORT))[-3:] == ["contraction", "recovery", "expansion"]


def test_growth_inside_the_band_keeps_the_phase():
    x = cycle((20, 0.02, 0.01), (30, 0.02, -0.001))  # -0.4% in four rows: less than the band
    assert runs(words_of("macro", x, **SHORT)) == ["?", "expansion"]
    x = cycle((20, 0.02, 0.01), (30, 0.02, -0.002))
    assert runs(words_of("macro", x, **SHORT)) == ["?", "expansion", "contraction"]
