"""Serial correlation, partial correlation, variance ratios and drift: against statsmodels, arch and stored figures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.diagnostic import acorr_ljungbox
from statsmodels.tsa.stattools import acf, pacf, pacf_burg

from trimtab.kernels.autocorrelation import (
    WindowLags,
    correlation,
    error,
    lags_init,
    lags_step,
    long_run_variance,
    robust_z,
    sidak,
    spread,
)
from trimtab.kernels.partial import burg, durbin_levinson, extend
from trimtab.kernels.variance_ratio import HORIZONS, WindowRatios, ratios_init, ratios_step
from trimtab.strategies.drift_significance import score

FIGURES: dict[str, Any] = json.loads((Path(__file__).parent / "serial.json").read_text())
SERIES = {name: np.array(x) for name, x in FIGURES["series"].items()}
#: Numbers that have left the window when it is judged: what they were must not matter.
BEFORE = np.random.default_rng(0).standard_t(2, 900) * 0.1


def window(x: np.ndarray, lags: int, length: int | None = None) -> WindowLags:
    """The window after all of x, read after other values; of its own length or a given one."""
    s = lags_init(length or x.size, lags)
    for value in np.concatenate((BEFORE, x)):
        s = lags_step(s, float(value))
    return s


def ratios(log_price: np.ndarray, length: int) -> WindowRatios:
    s = ratios_init(length)
    for value in np.concatenate((3.0 + BEFORE, log_price)):
        s = ratios_step(s, float(value))
    return s


# --- stored figures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERIES)
def test_autocorrelation_is_that_of_the_figures(name: str) -> None:
    case, s = FIGURES["autocorrelation"]["cases"][name], window(SERIES[name], 10)
    np.testing.assert_allclose([correlation(s, k) for k in range(11)], case["acf"], rtol=1e-9)
    np.testing.assert_allclose([robust_z(s, k) for k in range(1, 11)], case["het_robust_z"], rtol=1e-9)
    np.testing.assert_allclose([correlation(s, k) / error(s, k) for k in range(1, 11)], case["het_robust_z"], rtol=1e-9)
    for wrong in case["naive_wrong"].values():
        assert abs(correlation(s, 1) / wrong - 1.0) > 1e-4


def test_autocorrelation_of_what_stands_still_is_not_defined_and_of_what_alternates_is_short_of_minus_1() -> None:
    still = window(np.zeros(20), 3)
    assert math.isnan(correlation(still, 1))
    assert math.isnan(robust_z(still, 1))
    s = window(np.tile([1.0, -1.0], 10), 3)
    np.testing.assert_allclose([correlation(s, k) for k in range(4)], [1.0, -0.95, 0.9, -0.85], rtol=1e-12)


@pytest.mark.parametrize("name", SERIES)
def test_partial_autocorrelation_is_that_of_the_figures(name: str) -> None:
    case, s, out = FIGURES["partial"]["cases"][name], window(SERIES[name], 8), np.empty(8)
    durbin_levinson(s.cross, out)
    np.testing.assert_allclose(out, case["ldb"][1:], rtol=1e-8)
    burg(s, out)
    np.testing.assert_allclose(out, case["burg"][1:], rtol=1e-8)


def test_partial_autocorrelation_of_a_known_autoregression_and_back() -> None:
    theory, out, weights = FIGURES["partial"]["theory"], np.empty(5), np.zeros(5)
    durbin_levinson(np.array(theory["acf"]), out)
    np.testing.assert_allclose(out, theory["pacf"][1:], atol=1e-14)
    for k in range(1, 6):
        extend(weights, k, out[k - 1])
    np.testing.assert_allclose(weights, [*theory["phi"], 0.0, 0.0, 0.0], atol=1e-14)


@pytest.mark.parametrize("name", SERIES)
def test_variance_ratios_are_those_of_the_figures(name: str) -> None:
    case, x = FIGURES["variance_ratio"]["cases"][name], SERIES[name]
    s = ratios(np.concatenate(([0.0], np.cumsum(x))), x.size)
    for i, q in enumerate(HORIZONS):
        assert s.ratio[i] == pytest.approx(case[f"q{q}"]["vr"], rel=1e-9)
        assert s.z[i] == pytest.approx(case[f"q{q}"]["z_robust"], rel=1e-8)
        assert abs(s.ratio[i] - case[f"q{q}"]["vr_biased"]) > 1e-3
        assert abs(s.z[i] - case[f"q{q}"]["z_homoskedastic"]) > 1e-4
    joint = case["chow_denning"]
    assert np.abs(s.z).max() == pytest.approx(joint["max_abs_z_robust"], rel=1e-8)
    assert sidak(joint["p"], 4) == pytest.approx(joint["max_abs_z_robust"], rel=1e-9)  # p is that of the same bound
    assert abs(s.ratio[0] - case["naive_wrong"]["vr2_computed_on_returns_instead_of_prices"]) > 0.3


@pytest.mark.parametrize("name", FIGURES["drift"]["cases"])
def test_the_error_of_a_drift_is_that_of_the_figures(name: str) -> None:
    case, s = FIGURES["drift"]["cases"][name], window(SERIES[name] + FIGURES["drift"]["shift"], 5)
    plain = s.mean / (spread(s) / math.sqrt(s.length))
    robust = s.mean / math.sqrt(long_run_variance(s, 5) / s.length)
    assert s.mean == pytest.approx(case["mean"], rel=1e-9)
    assert plain == pytest.approx(case["t_iid"], rel=1e-9)
    assert robust == pytest.approx(case["t_newey_west_L5"], rel=1e-9)
    assert spread(s) * math.sqrt(252.0 / (s.length / 252.0)) == pytest.approx(case["crlb_sd_annual_drift"], rel=1e-9)
    # The smaller of the two: an error below the bound is not believed.
    assert score(s, 5) == pytest.approx(min(plain, robust, key=abs), rel=1e-9)


def test_years_until_a_drift_is_significant() -> None:
    stated = FIGURES["drift"]["bound"]
    mu, sigma = stated["inputs"]["mu_annual"], stated["inputs"]["sigma_annual"]
    assert (sidak(0.05, 1) * sigma / mu) ** 2 == pytest.approx(stated["expected"]["years_t_1_96"], rel=1e-9)


@pytest.mark.parametrize("tests", [1, 4, 10, 50])
@pytest.mark.parametrize("level", [1e-6, 0.01, 0.05, 0.5])
def test_the_bound_of_several_is_scipys(level: float, tests: int) -> None:
    assert sidak(level, tests) == pytest.approx(stats.norm.isf(0.5 * (1.0 - (1.0 - level) ** (1 / tests))), rel=1e-9)
    if tests == 4 and level == 0.05:
        assert sidak(level, tests) == pytest.approx(2.491, abs=5e-4)  # Chow and Denning (1993)


# --- other libraries, on windows of a path ---------------------------------------------------------------------------


def path(seed: int, rows: int = 700) -> np.ndarray:
    """Clustered volatility, correlation, a jump, and a calm stretch of a thousandth of the rest."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(4, rows) * 0.01 * np.exp(0.5 * np.sin(np.arange(rows) / 40.0))
    x[1:] += 0.2 * x[:-1]
    x[300] = 0.5
    x[450:560] *= 1e-3
    return x


@pytest.mark.parametrize("length", [30, 100])
def test_rolling_windows_are_those_of_statsmodels(length: int) -> None:
    x, s, out = path(1), lags_init(length, 6), np.empty(6)
    for t in range(x.size):
        s = lags_step(s, float(x[t]))
        if t < length - 1 or t % 37:
            continue
        w = x[t - length + 1 : t + 1]
        np.testing.assert_allclose(
            [correlation(s, k) for k in range(7)], acf(w, nlags=6, fft=False), rtol=1e-7, atol=1e-9
        )
        durbin_levinson(s.cross, out)
        np.testing.assert_allclose(out, pacf(w, nlags=6, method="ldb")[1:], rtol=1e-6, atol=1e-8)
        burg(s, out)
        np.testing.assert_allclose(out, pacf_burg(w, nlags=6, demean=True)[0][1:], rtol=1e-6, atol=1e-8)
        d = w - w.mean()
        for k in range(1, 7):
            expected = d[k:] @ d[:-k] / math.sqrt((d[k:] ** 2) @ (d[:-k] ** 2))
            assert robust_z(s, k) == pytest.approx(expected, rel=1e-6, abs=1e-7)
        fit = sm.OLS(w, np.ones(length)).fit(cov_type="HAC", cov_kwds={"maxlags": 6, "use_correction": False})
        assert s.mean / math.sqrt(long_run_variance(s, 6) / length) == pytest.approx(fit.tvalues[0], rel=1e-6)


def test_rolling_variance_ratios_are_those_of_arch() -> None:
    unitroot = pytest.importorskip("arch.unitroot")
    log_price, length = np.cumsum(path(2)), 120
    s = ratios_init(length)
    for t, level in enumerate(log_price):
        s = ratios_step(s, float(level))
        if t < length or t % 53:
            continue
        for i, q in enumerate(HORIZONS):
            test = unitroot.VarianceRatio(log_price[t - length : t + 1], q, trend="c", debiased=True, robust=True)
            assert s.ratio[i] == pytest.approx(test.vr, rel=1e-7)
            assert s.z[i] == pytest.approx(test.stat, rel=1e-6, abs=1e-7)


def test_under_garch_ljung_box_rejects_too_often_and_the_robust_bound_does_not() -> None:
    """400 windows of 500 without any correlation at 5%: a share of rejections has an error of 1.1%."""
    rng, plain, robust = np.random.default_rng(0), 0, 0
    for _ in range(400):
        x, variance = np.empty(600), 1.0
        for t, shock in enumerate(rng.standard_normal(600)):
            x[t] = math.sqrt(variance) * shock
            variance = 0.05 + 0.25 * x[t] ** 2 + 0.70 * variance
        x = x[100:]
        plain += float(acorr_ljungbox(x, lags=[5])["lb_pvalue"].iloc[0]) < 0.05
        s = lags_init(500, 5)
        for value in x:
            s = lags_step(s, float(value))
        robust += max(abs(robust_z(s, k)) for k in range(1, 6)) > sidak(0.05, 5)
    assert plain > 400 * 0.15
    assert robust < 400 * (0.05 + 3.0 * 0.011)
