"""Kernels against independent libraries: pandas, scipy, statsmodels, and figures worked by hand."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numba import njit
from scipy import stats
from statsmodels.regression.rolling import RollingOLS
from statsmodels.tools import add_constant

from trimtab.kernels.regression import pair_init, pair_step, slope, zscore
from trimtab.kernels.smoothing import ewm_init, ewm_step, rsi_init, rsi_step
from trimtab.kernels.window import moments_init, moments_step, sum_init, sum_step


@functools.cache
def folded(step: Any, *names: str) -> Any:
    """A compiled loop of a one-input kernel that returns (T, 2): its two columns are the named state fields."""
    first, second = names if len(names) == 2 else (names[0], names[0])
    source = (
        "def fold(s, x):\n"
        "    out = np.empty((x.size, 2))\n"
        "    for t in range(x.size):\n"
        "        s = step(s, x[t])\n"
        f"        out[t, 0], out[t, 1] = s.{first}, s.{second}\n"
        "    return out\n"
    )
    scope: dict[str, Any] = {"np": np, "step": step}
    exec(source, scope)
    return njit(scope["fold"])


@njit
def spreads(s, x, y, hedge):
    out = np.empty((x.size, 2))
    for t in range(x.size):
        s = pair_step(s, x[t], y[t])
        out[t, 0] = slope(s)
        out[t, 1] = zscore(s, out[t, 0] if hedge != hedge else hedge)
    return out


def walk(seed: int, size: int = 3_000) -> np.ndarray:
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.01, size)))


@pytest.fixture(scope="module", params=["random", "SPY", "AAPL"])
def prices(request: pytest.FixtureRequest) -> np.ndarray:
    if request.param == "random":
        return walk(0)
    shared: Path = request.getfixturevalue("shared")
    return pd.read_parquet(shared / "data" / "equity_us" / f"{request.param}_1d.parquet")["close"].to_numpy(copy=True)


@pytest.mark.parametrize("length", [2, 20, 200])
def test_sum_mean_and_deviation_are_those_of_pandas(prices: np.ndarray, length: int) -> None:
    rolling = pd.Series(prices).rolling(length)
    total = folded(sum_step, "total")(sum_init(length), prices)[:, 0]
    moments = folded(moments_step, "mean", "m2")(moments_init(length), prices)
    np.testing.assert_allclose(total, rolling.sum(), rtol=1e-11)
    np.testing.assert_allclose(moments[:, 0], rolling.mean(), rtol=1e-11)
    expected = rolling.apply(lambda w: np.var(w), raw=True)  # pandas' own rolling variance is not exact
    np.testing.assert_allclose(moments[:, 1] / length, expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("mass", [2, 20, 60])
def test_exponential_moments_are_those_of_pandas(prices: np.ndarray, mass: int) -> None:
    returns = np.insert(prices[1:] / prices[:-1] - 1.0, 0, np.nan)
    returns[77] = np.nan
    out = folded(ewm_step, "mean", "variance")(ewm_init(1.0 / (1.0 + mass)), returns)
    ewm = pd.Series(returns).ewm(com=mass, adjust=True, ignore_na=True)
    np.testing.assert_allclose(out[:, 0], ewm.mean(), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(out[:, 1], ewm.var(bias=True), rtol=1e-10, atol=1e-18)


@pytest.mark.parametrize("length", [2, 14])
def test_strength_is_wilders(prices: np.ndarray, length: int) -> None:
    change = np.diff(prices)
    gains, losses = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    gain, loss = gains[:length].mean(), losses[:length].mean()
    expected = [np.nan] * length + [100.0 - 100.0 / (1.0 + gain / loss) if loss else 100.0]
    for up, down in zip(gains[length:], losses[length:], strict=True):
        gain, loss = (gain * (length - 1) + up) / length, (loss * (length - 1) + down) / length
        expected.append(100.0 - 100.0 / (1.0 + gain / loss) if loss else 100.0)
    out = folded(rsi_step, "value")(rsi_init(length), prices)[:, 0]
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9)


def test_strength_of_wilders_kind_by_pandas(prices: np.ndarray) -> None:
    # Another seed (the first change instead of a mean), so only where it is forgotten: (13/14)**600 < 1e-19.
    change = pd.Series(prices).diff()
    gain = change.clip(lower=0.0).ewm(alpha=1 / 14, adjust=False).mean()
    loss = (-change).clip(lower=0.0).ewm(alpha=1 / 14, adjust=False).mean()
    out = folded(rsi_step, "value")(rsi_init(14), prices)[:, 0]
    np.testing.assert_allclose(out[700:], (100.0 * gain / (gain + loss))[700:], rtol=1e-9)


@pytest.mark.parametrize("length", [20, 60])
def test_rolling_slope_is_that_of_statsmodels(length: int) -> None:
    rng = np.random.default_rng(4)
    x = np.log(walk(5, 1_000))
    y = 0.3 + 1.2 * x + rng.normal(0.0, 0.02, x.size)
    expected = RollingOLS(y, add_constant(x), window=length).fit().params[:, 1]
    np.testing.assert_allclose(spreads(pair_init(length), x, y, np.nan)[:, 0], expected, rtol=1e-8, atol=1e-8)


def test_score_is_the_standardised_residual_of_scipys_line() -> None:
    x, y = np.log(walk(6, 400)), np.log(walk(7, 400))
    out = spreads(pair_init(60), x, y, np.nan)
    for t in range(59, 400, 7):
        wx, wy = x[t - 59 : t + 1], y[t - 59 : t + 1]
        line = stats.linregress(wx, wy)
        residual = wy - line.slope * wx - line.intercept
        assert out[t, 1] == pytest.approx(residual[-1] / residual.std(ddof=1), rel=1e-7)


def test_score_of_five_numbers() -> None:
    # (4 - 2.5) / 1.2909944 and (10 - 4.75) / 3.5939764: z with the current value included, ddof 1. Excluding the
    # current value the last one would be 5.8095.
    y = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
    out = spreads(pair_init(4), np.array([0.0, 1.0, 0.0, 1.0, 0.0]), y, 1e-300)[:, 1]
    np.testing.assert_allclose(out[3:], [1.161895003862225, 1.46077752164453], rtol=1e-14)
    assert np.isnan(out[:3]).all()


def test_slope_of_crude_oil_is_the_reference_figure(shared: Path) -> None:
    import json

    cases = json.loads((shared / "oracles" / "vectors" / "05d_hedge_zscore.json").read_text())["cases"]
    for case in (c for c in cases if "rolling_ols_beta" in c["expected"]):
        x, y = (np.array(case["inputs"][k], dtype=float) for k in "xy")
        expected = np.array([float(b) for b in case["expected"]["rolling_ols_beta"]])
        out = spreads(pair_init(int(case["inputs"]["window"])), x, y, np.nan)[:, 0]
        assert np.isfinite(expected).any()
        np.testing.assert_allclose(out, expected, rtol=1e-8)
        whole = spreads(pair_init(x.size), x, y, np.nan)[-1, 0]
        assert whole == pytest.approx(float(case["expected"]["static_ols_y_on_x"]), rel=1e-9)
        assert whole != pytest.approx(float(case["expected"]["static_inverse_ols"]), rel=1e-3)
