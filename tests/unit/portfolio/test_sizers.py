"""Sizers, folded over rows: the split law, no memory taken per step, and what each says of rows worked out by hand."""

from __future__ import annotations

import copy
import functools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from trimtab.portfolio.sizing import sizers
from trimtab.portfolio.sizing.sizers import SIZERS, Row, Sizer

ROWS = 300
NAN = math.nan
#: Values that the split law is tested at, where the defaults would not be warm within ROWS.
SHORT: dict[str, dict[str, Any]] = {
    "volatility_target": {"window": 7, "cap": 3.0},
    "volatility_target_window": {"window": 7, "cap": 3.0},
    "confidence": {"power": 1.7},
    "kelly": {"window": 30, "cap": 5.0, "rate": 0.02},
    "convexity": {"window": 25, "slope": 5.0, "low": 0.1, "high": 4.0},
}


@functools.cache
def folded(name: str) -> Any:
    step = SIZERS[name].step

    @njit(error_model="numpy")
    def fold(p, s, forecast, close, out):
        for t in range(close.size):
            s, out[t] = step(p, s, Row(forecast[t], close[t]))
        return s

    return fold


def run(sizer: Sizer, p: Any, forecast: np.ndarray, close: np.ndarray, cuts: tuple[int, ...] = ()) -> np.ndarray:
    """(T,) multiples, the state kept as a deep copy at each cut while the original goes its own way."""
    out, s, fold = np.empty(close.size), sizer.init(p), folded(sizer.name)
    for a, b in zip((0, *cuts), (*cuts, close.size), strict=True):
        kept = copy.deepcopy(s)
        fold(p, s, forecast[::-1].copy(), close[::-1].copy(), np.empty(close.size))
        s = fold(p, kept, forecast[a:b], close[a:b], out[a:b])
    return out


def short(name: str) -> Any:
    return SIZERS[name].params._replace(**SHORT.get(name, {}))


def series(seed: int, gaps: float = 0.03, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts and closes; some missing, a still stretch, a price that is none."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.001, 0.02, rows)))
    forecast = np.clip(rng.normal(0.3, 0.7, rows), -1.0, 1.0)
    close[rows // 2 : rows // 2 + 10] = close[rows // 2]
    if gaps:
        close[rows // 3] = -1.0
        close[rng.random(rows) < gaps] = NAN
        forecast[rng.random(rows) < 5 * gaps] = NAN
        forecast[rng.random(rows) < gaps] = 0.0
    return forecast, close


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZERS)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, ROWS), max_size=5))
def test_cutting_and_resuming_changes_no_bit(name: str, seed: int, cuts: list[int]) -> None:
    forecast, close = series(seed)
    whole = run(SIZERS[name], short(name), forecast, close)
    assert np.isfinite(whole).any()
    assert run(SIZERS[name], short(name), forecast, close, tuple(sorted(cuts))).tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", SIZERS)
@given(seed=st.integers(0, 2**32 - 1), row=st.integers(1, ROWS - 1))
def test_nothing_after_a_row_changes_its_multiple(name: str, seed: int, row: int) -> None:
    forecast, close = series(seed)
    other_forecast, other_close = forecast.copy(), close.copy()
    other_forecast[row:], other_close[row:] = -1.0, 1.0
    whole = run(SIZERS[name], short(name), forecast, close)
    assert run(SIZERS[name], short(name), other_forecast, other_close)[:row].tobytes() == whole[:row].tobytes()


@pytest.mark.parametrize("name", SIZERS)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_a_multiple_is_bounded_or_abstains(name: str, seed: int, data: st.DataObject) -> None:
    sizer, (forecast, close) = SIZERS[name], series(seed, 0.1)
    given_ = {
        key: data.draw(st.integers(int(low), min(int(high), 100)) if isinstance(default, int) else st.floats(low, high))
        for (key, (low, high)), default in zip(sizer.ranges.items(), sizer.params, strict=True)
    }
    p = sizer.params._replace(**{k: type(getattr(sizer.params, k))(v) for k, v in given_.items()})
    out = run(sizer, p, forecast, close)
    if name == "confidence":
        out = np.abs(forecast) * out  # what is bounded is the weight
    said = out[~np.isnan(out)]
    most = {
        "fixed_fraction": lambda: p.risk / p.stop,
        "confidence": lambda: 1.0,
        "convexity": lambda: p.high,
    }.get(name, lambda: p.cap)()
    assert (said >= 0.0).all()
    assert (said <= most * (1.0 + 1e-12)).all()


@pytest.mark.parametrize("name", SIZERS)
def test_the_unit_of_price_does_not_matter(name: str) -> None:
    forecast, close = series(3)
    close[close < 0.0] = NAN
    one, other = (run(SIZERS[name], short(name), forecast, close * unit) for unit in (1.0, 1_000.0))
    np.testing.assert_allclose(one, other, rtol=1e-9)


SCRIPT = """
import json, sys
import numpy as np
from trimtab.portfolio.sizing.sizers import SIZERS, Row

def rows(n):
    rng = np.random.default_rng(4)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.001, 0.02, n)))
    close[rng.random(n) < 0.02] = np.nan
    forecast = np.clip(rng.normal(0.3, 0.7, n), -1.0, 1.0)
    forecast[rng.random(n) < 0.1] = np.nan
    return forecast, close

def played(sizer, p, forecast, close):
    s, out = sizer.init(p), np.empty(close.size)
    for t in range(close.size):
        s, out[t] = sizer.step(p, s, Row(forecast[t], close[t]))
    return out

short = json.loads(sys.argv[2])
given = {name: sizer.params._replace(**short.get(name, {})) for name, sizer in SIZERS.items()}
if sys.argv[1] == "allocations":
    from numba import njit
    from numba.core.runtime import rtsys
    found = {}
    for name, sizer in SIZERS.items():
        init, step = sizer.init, sizer.step

        @njit(error_model="numpy")
        def fold(p, forecast, close, out):
            s = init(p)
            for t in range(close.size):
                s, out[t] = step(p, s, Row(forecast[t], close[t]))

        fold(given[name], *rows(10), np.empty(10))  # compiles
        counts = []
        for n in (1_000, 10_000):
            forecast, close = rows(n)
            out = np.empty(n)
            before = rtsys.get_allocation_stats().alloc
            fold(given[name], forecast, close, out)
            counts.append(rtsys.get_allocation_stats().alloc - before)
        found[name] = counts
    print(json.dumps(found))
else:
    forecast, close = rows(400)
    with np.errstate(all="ignore"):
        np.savez(sys.argv[3], **{name: played(SIZERS[name], p, forecast, close) for name, p in given.items()})
"""


def script(*words: str, **environment: str) -> str:
    command = [sys.executable, "-c", SCRIPT, words[0], json.dumps(SHORT), *words[1:]]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_step_takes_memory() -> None:
    counts = json.loads(script("allocations", NUMBA_NRT_STATS="1"))
    assert counts.keys() == SIZERS.keys()
    for name, (thousand, ten_thousand) in counts.items():
        assert thousand == ten_thousand < 10, name  # a ring, where there is one, is taken once


def test_compiled_and_plain_steps_agree_to_the_last_bit(tmp_path: Path) -> None:
    results = {}
    for way, disabled in (("compiled", "0"), ("plain", "1")):
        script("fold", str(tmp_path / f"{way}.npz"), NUMBA_DISABLE_JIT=disabled)
        results[way] = np.load(tmp_path / f"{way}.npz")
    for name in SIZERS:
        plain, compiled = (results[way][name] for way in ("plain", "compiled"))
        assert plain.tobytes() == compiled.tobytes(), name
        assert np.nanmin(plain) < np.nanmax(plain) or name == "fixed_fraction"


@pytest.mark.parametrize("name", SIZERS)
def test_a_sizer_knows_its_parameters(name: str) -> None:
    sizer = SIZERS[name]
    assert sizer.name == name
    assert "Dangerous" in sizer.about
    assert sizer.ranges.keys() == set(sizer.params._fields)
    forecast, close = series(0)
    for end in (0, 1):
        values = {k: type(getattr(sizer.params, k))(bounds[end]) for k, bounds in sizer.ranges.items()}
        run(sizer, sizer.params._replace(**values), forecast, close)
    assert all(low <= getattr(sizer.params, k) <= high for k, (low, high) in sizer.ranges.items())


# --- what each says --------------------------------------------------------------------------------------------------


def test_a_fixed_fraction_is_risk_over_stop_from_the_first_row() -> None:
    out = run(SIZERS["fixed_fraction"], sizers.FixedParams(0.02, 0.01), *series(0))
    assert (out == 2.0).all()


def test_volatility_targets_are_those_of_pandas() -> None:
    forecast, close = series(5, gaps=0.0)
    returns = pd.Series(close).pct_change()
    p = sizers.VolatilityParams(target=0.2, window=20, floor=0.05, cap=2.0)
    rolling = 0.2 / (returns.rolling(20).std() * math.sqrt(252.0))
    out = run(SIZERS["volatility_target_window"], p, forecast, close)
    np.testing.assert_allclose(out, np.minimum(rolling, 2.0), rtol=1e-9)
    smoothed = 0.2 / np.sqrt(returns.ewm(com=20, adjust=True, ignore_na=True).var(bias=True) * 252.0)
    out = run(SIZERS["volatility_target"], p, forecast, close)
    np.testing.assert_allclose(out[20:], np.minimum(smoothed, 2.0)[20:], rtol=1e-9)
    assert np.isnan(out[:20]).all()
    assert np.isfinite(out[20:]).all()


def test_a_still_market_is_not_a_safe_one() -> None:
    p = sizers.VolatilityParams(target=0.1, window=5, floor=0.05, cap=9.0)
    for name in ("volatility_target", "volatility_target_window"):
        assert run(SIZERS[name], p, np.ones(30), np.full(30, 7.0))[-1] == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["volatility_target", "volatility_target_window", "kelly"])
def test_missing_bars_count_with_the_move_across_them(name: str) -> None:
    forecast, close = series(6, gaps=0.0)
    keep = np.random.default_rng(0).random(ROWS) > 0.2
    holed = np.where(keep, close, NAN)
    forecast[~keep] = NAN
    out = run(SIZERS[name], short(name), forecast, holed)
    dense = run(SIZERS[name], short(name), forecast[keep], close[keep])
    assert out[keep].tobytes() == dense.tobytes()
    behind = np.flatnonzero(~keep)
    behind = behind[behind > 0]
    np.testing.assert_array_equal(out[behind], out[behind - 1])


def test_confidence_makes_weak_forecasts_weaker() -> None:
    p = sizers.ConfidenceParams(threshold=0.2, power=2.0)
    forecast = np.array([0.1, 0.2, 0.6, -0.6, 1.0, -1.0, 0.0, NAN])
    out = run(SIZERS["confidence"], p, forecast, np.full(8, 5.0))
    np.testing.assert_allclose(forecast * out, [0.0, 0.0, 0.25, -0.25, 1.0, -1.0, 0.0, NAN], atol=1e-15)


def shadow(forecast: np.ndarray, close: np.ndarray) -> np.ndarray:
    """(T,) what the forecast of the row before earned; NaN at the first."""
    standing = pd.Series(forecast).ffill().shift(1).to_numpy()
    return standing * pd.Series(close).pct_change().to_numpy()


@pytest.mark.parametrize("shrink", [False, True])
def test_kelly_is_that_of_what_the_model_earned(shrink: bool) -> None:
    forecast, close = series(8, gaps=0.0)
    p = sizers.KellyParams(window=60, share=0.5, shrink=shrink, rate=0.0, cap=4.0)
    earned = pd.Series(shadow(forecast, close))
    mean, variance = earned.rolling(60).mean(), earned.rolling(60).var(ddof=0)
    expected = 0.5 * mean / variance
    if shrink:
        expected *= np.maximum(0.0, 1.0 - variance / (60 * mean**2))
    out = run(SIZERS["kelly"], p, forecast, close)
    np.testing.assert_allclose(out[60:], np.clip(expected[60:], 0.0, 4.0), rtol=1e-6, atol=1e-9)
    assert np.isnan(out[:60]).all()
    assert len(np.unique(out[60:])) > 50


def test_kelly_counts_what_cash_would_have_earned() -> None:
    forecast, close = np.ones(400), 100.0 * np.exp(0.001 * np.arange(400) + 0.01 * np.sin(np.arange(400)))
    poor, rich = (
        run(SIZERS["kelly"], sizers.KellyParams(window=100, rate=rate, shrink=False, cap=99.0), forecast, close)[-1]
        for rate in (0.0, 0.126)
    )
    earned = close[300:] / close[299:-1] - 1.0
    assert poor == pytest.approx(0.5 * earned.mean() / earned.var())
    assert rich == pytest.approx(0.5 * (earned.mean() - 0.0005) / earned.var())


def test_kelly_holds_nothing_of_what_loses_or_stands_still() -> None:
    falling = 100.0 * 0.999 ** np.arange(400) * (1.0 + 0.001 * np.sin(np.arange(400)))
    p = sizers.KellyParams(window=100)
    assert run(SIZERS["kelly"], p, np.ones(400), falling)[-1] == 0.0
    assert run(SIZERS["kelly"], p, -np.ones(400), falling)[-1] == 1.0  # short of it the model wins: up to the cap
    assert run(SIZERS["kelly"], p, np.ones(400), np.full(400, 5.0))[-1] == 0.0
    assert run(SIZERS["kelly"], p, np.full(400, NAN), falling).tobytes() == np.full(400, NAN).tobytes()


def test_convexity_follows_the_models_own_shadow() -> None:
    forecast, close = series(9, gaps=0.0)
    p = sizers.ConvexityParams(window=40, slope=3.0, low=0.2, high=3.0)
    equity = np.cumprod(1.0 + np.nan_to_num(shadow(forecast, close)))
    then = np.concatenate((np.ones(40), equity[:-40]))
    out = run(SIZERS["convexity"], p, forecast, close)
    np.testing.assert_allclose(out, np.clip(1.0 + 3.0 * (equity / then - 1.0), 0.2, 3.0), rtol=1e-9)
    assert out[0] == 1.0
    assert out.min() < 1.0 < out.max()
    off = run(SIZERS["convexity"], p._replace(slope=0.0), forecast, close)
    assert (off == 1.0).all()


@pytest.mark.parametrize("factor", [3.0, 1.0 / 3.0])
def test_a_shadow_of_any_size_is_remembered(factor: float) -> None:
    """3**1000 is more than a float holds."""
    close = np.full(1_000, 1.0)
    forecast = np.ones(1_000)
    close[1::2] = factor  # up and down; the forecast is long before each rise, and flat before each fall
    forecast[1::2] = 0.0
    p = sizers.ConvexityParams(window=10, slope=1.0, low=0.0, high=1e6 if factor > 1.0 else 1.0)
    out = run(SIZERS["convexity"], p, forecast, close)
    np.testing.assert_allclose(out[20:], factor**5, rtol=1e-9)


def test_a_shadow_that_lost_everything_goes_on() -> None:
    forecast, close = np.full(200, -1.0), np.ones(200)
    close[50:] = 3.0  # short, and it trebles
    p = sizers.ConvexityParams(window=20, slope=2.0)
    out = run(SIZERS["convexity"], p, forecast, close)
    assert (out[50:70] == p.low).all()
    assert out[-1] == 1.0
