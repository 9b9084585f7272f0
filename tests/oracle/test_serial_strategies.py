"""The strategies that trade what is significant, against a second writing of their rules, window by window.

It shares no code with the package: numpy cuts the windows, scipy gives the bounds, statsmodels solves and estimates.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.tsa.stattools import levinson_durbin_pacf, pacf, pacf_burg

from trimtab.strategies import find, params_of
from trimtab.strategies.folding import forecasts


@pytest.fixture(scope="module", params=["made", "BTCEUR"])
def close(request: pytest.FixtureRequest) -> np.ndarray:
    """Closes with reversal, clusters and a jump; or of a coin."""
    if request.param == "made":
        rng = np.random.default_rng(21)
        x = rng.standard_t(4, 1_500) * 0.01 * np.exp(0.5 * np.sin(np.arange(1_500) / 60.0)) + 0.0008
        x[1:] -= 0.2 * x[:-1]
        x[700] = -0.3
        return 50.0 * np.exp(np.cumsum(x))
    shared: Path = request.getfixturevalue("shared")
    return pd.read_parquet(shared / "data/crypto_bitvavo/BTCEUR_1h.parquet")["close"].to_numpy(copy=True)[:1_500]


def bound_of(level: float, tests: int) -> float:
    return float(stats.norm.isf(0.5 * (1.0 - (1.0 - level) ** (1.0 / tests))))


def robust_error(d: np.ndarray, k: int) -> float:
    return math.sqrt(float((d[k:] ** 2) @ (d[:-k] ** 2))) / float(d @ d)


def clipped(move: float, deviation: float, p: Any) -> float:
    return 0.0 if abs(move) <= p.edge else float(np.clip(move / (deviation * p.full), -1.0, 1.0))


def lag_autocorr(p: Any, w: np.ndarray) -> float:
    d = w - w.mean()
    rho = [float(d[k:] @ d[:-k] / (d @ d)) for k in range(1, p.lags + 1)]
    counts = [abs(r) > bound_of(p.level, p.lags) * robust_error(d, k + 1) for k, r in enumerate(rho)]
    return clipped(sum(r * d[-1 - k] for k, r in enumerate(rho) if counts[k]), float(w.std(ddof=1)), p)


def pacf_spike(p: Any, w: np.ndarray) -> float:
    d = w - w.mean()
    partial = pacf_burg(d, nlags=p.lags)[0] if p.burg else pacf(w, nlags=p.lags, method="ldb")
    bound = [bound_of(p.level, p.lags) * robust_error(d, k) for k in range(1, p.lags + 1)]
    kept = np.where(np.abs(partial[1:]) > bound, partial[1:], 0.0)
    weights = levinson_durbin_pacf(np.concatenate(([1.0], kept)))[0]
    return clipped(float(weights @ d[::-1][: p.lags]), float(w.std(ddof=1)), p)


def variance_ratio(p: Any, w: np.ndarray) -> float:
    price, n, mean = np.concatenate(([0.0], np.cumsum(w))), w.size, w.mean()
    d, found = w - mean, []
    for q in (2, 4, 8, 16):
        moves = price[q:] - price[:-q] - q * mean
        ratio = moves @ moves / (q * (n - q + 1) * (1 - q / n)) / (d @ d / (n - 1))
        theta = sum((2 * (q - j) / q) ** 2 * n * robust_error(d, j) ** 2 for j in range(1, q))
        found.append((math.sqrt(n) * (ratio - 1.0) / math.sqrt(theta), q, moves[-1]))
    z, q, move = max(found, key=lambda each: abs(each[0]))
    if abs(z) <= bound_of(p.level, 4):
        return 0.0
    return float(np.clip(np.sign(z) * move / (w.std(ddof=1) * math.sqrt(q)) / p.full, -1.0, 1.0))


def drift_significance(p: Any, w: np.ndarray) -> float:
    w = np.expm1(w)
    fit = sm.OLS(w, np.ones(w.size)).fit(cov_type="HAC", cov_kwds={"maxlags": p.lags, "use_correction": False})
    t = w.mean() / max(float(fit.bse[0]), w.std(ddof=1) / math.sqrt(w.size))
    return 0.0 if abs(t) <= bound_of(p.level, 1) else float(np.clip(t * (1.0 - 1.0 / t**2) / p.full, -1.0, 1.0))


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        (lag_autocorr, {"window": 120, "level": 0.3}),
        (lag_autocorr, {"window": 200, "lags": 12, "level": 0.5, "edge": 0.0, "full": 0.1}),
        (variance_ratio, {"window": 120, "level": 0.3}),
        (variance_ratio, {"window": 60, "level": 0.5, "full": 0.5}),
        (pacf_spike, {"window": 120, "level": 0.3}),
        (pacf_spike, {"window": 150, "lags": 6, "level": 0.5, "edge": 0.0, "burg": True}),
        (drift_significance, {"window": 120, "level": 0.3}),
        (drift_significance, {"window": 60, "lags": 0, "level": 0.2, "full": 1.0}),
    ],
)
def test_every_seventh_forecast_is_that_of_the_second_writing(close: np.ndarray, rule: Any, changed: Any) -> None:
    strategy = find(rule.__name__)
    p = params_of(strategy, changed)
    out, returns = forecasts(strategy, p, close[:, None, None]), np.diff(np.log(close))
    assert np.isnan(out[: p.window]).all()
    rows = range(p.window, close.size, 7)
    expected = [rule(p, returns[t - p.window : t]) for t in rows]
    assert 0.01 < np.mean(np.array(expected) != 0.0) < 1.0
    np.testing.assert_allclose(out[p.window :: 7], expected, rtol=1e-7, atol=1e-9)
