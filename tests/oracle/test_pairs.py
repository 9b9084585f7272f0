"""Hedge ratios and scores of pairs against matrices written out, statsmodels, and the reference vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numba import njit
from scipy import stats

from trimtab.kernels.cointegration import (
    LARGEST_5,
    TRACE_5,
    discoveries,
    engle_granger,
    engle_granger_critical,
    half_life,
    johansen,
    rank_of,
)
from trimtab.kernels.kalman import DIFFUSE, kalman_init, kalman_step
from trimtab.kernels.regression import pair_init, pair_step, score, slope, zscore
from trimtab.strategies import find, params_of
from trimtab.strategies.folding import forecasts
from trimtab.types import TrimtabError


@njit
def filtered(s, x, y, walk, noise):
    """(R, 6): slope and intercept before the row, innovation, its variance, slope and intercept after it."""
    out = np.empty((x.size, 6))
    for t in range(x.size):
        out[t, 0], out[t, 1] = s.slope, s.intercept
        s = kalman_step(s, x[t], y[t], walk, noise)
        out[t, 2], out[t, 3], out[t, 4], out[t, 5] = s.innovation, s.variance, s.slope, s.intercept
    return out


@njit
def scored(s, x, y, lagged):
    """(R, 2): slope of the window before or with the row, and the row's score against that window."""
    out = np.empty((x.size, 2))
    for t in range(x.size):
        if not lagged:
            s = pair_step(s, x[t], y[t])
        out[t, 0] = slope(s)
        out[t, 1] = score(s, x[t], y[t], out[t, 0])
        if lagged:
            s = pair_step(s, x[t], y[t])
    return out


def cointegrated(seed: int, size: int, phi: float = 0.93) -> np.ndarray:
    """Two prices whose log spread is an AR(1): (R, 2)."""
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.normal(0.0, 0.01, size))
    gap = np.zeros(size)
    for t in range(1, size):
        gap[t] = phi * gap[t - 1] + rng.normal(0.0, 0.01)
    return np.exp(np.stack([4.0 + 1.3 * common + gap, 3.0 + common], axis=1))


def test_the_filter_is_the_matrix_recursion() -> None:
    prices = np.log(cointegrated(0, 500))
    y, x = prices[:, 0], prices[:, 1]
    walk, noise = 3e-6, 2e-4
    out = filtered(kalman_init(1.0), x, y, walk, noise)
    theta, p = np.zeros(2), np.eye(2)
    for t in range(500):
        f, r = np.array([x[t], 1.0]), p + walk * np.eye(2)
        e, q = y[t] - f @ theta, f @ r @ f + noise
        np.testing.assert_allclose(out[t, :4], [*theta, e, q], rtol=1e-7, atol=1e-12)
        k = r @ f / q
        theta = theta + k * e
        p = (np.eye(2) - np.outer(k, f)) @ r @ (np.eye(2) - np.outer(k, f)).T + noise * np.outer(k, k)  # Joseph's form
        np.testing.assert_allclose(out[t, 4:], theta, rtol=1e-7)


def test_without_a_walk_a_diffuse_filter_is_least_squares() -> None:
    """And with one innovation per row it is recursive least squares: statsmodels' residuals, standardised."""
    from statsmodels.api import OLS, RecursiveLS, add_constant

    prices = np.log(cointegrated(3, 300))
    y, x = prices[:, 0], prices[:, 1]
    out = filtered(kalman_init(DIFFUSE), x, y, 0.0, 1.0)
    intercept, ratio = OLS(y, add_constant(x)).fit().params
    np.testing.assert_allclose(out[-1, 4:], [ratio, intercept], rtol=1e-4)
    residuals = RecursiveLS(y, add_constant(x)).fit().resid_recursive
    np.testing.assert_allclose((out[:, 2] / np.sqrt(out[:, 3]))[20:], residuals[20:], rtol=2e-3, atol=1e-5)


def test_a_row_that_is_not_there_teaches_nothing() -> None:
    s = kalman_init(1.0)
    for x, y in ((1.0, 2.0), (2.0, 3.5)):
        s = kalman_step(s, x, y, 0.01, 1.0)
    after = kalman_step(s, np.nan, 3.0, 0.01, 1.0)
    assert after[:5] == s[:5]
    assert np.isnan(after.innovation)
    assert after.prior == s.slope


def cases_of(shared: Path, wanted: str) -> list[Any]:
    cases = json.loads((shared / "oracles" / "vectors" / "05d_hedge_zscore.json").read_text())["cases"]
    return [case for case in cases if wanted in case["expected"]]


def numbers(values: Any) -> np.ndarray:
    return np.array([float(v) for v in values])


def test_the_filter_has_the_reference_figures(shared: Path) -> None:
    for case in cases_of(shared, "kalman_innovation"):
        given, expected = case["inputs"], case["expected"]
        delta = float(given["kalman_delta"])
        x, y = numbers(given["x"]), numbers(given["y"])
        out = filtered(kalman_init(0.0), x, y, delta / (1.0 - delta), float(given["kalman_Ve"]))
        names = ("kalman_beta_prior", "kalman_alpha_prior", "kalman_innovation", "kalman_S")
        for k, name in enumerate(names):
            np.testing.assert_allclose(out[:, k], numbers(expected[name]), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(out[:, 2] / np.sqrt(out[:, 3]), numbers(expected["kalman_z"]), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(out[-5:, 4], numbers(expected["kalman_beta_post_last5"]), rtol=1e-9)
        # The posterior's residual is what must not be traded: it has seen the row.
        wrong = numbers(case["naive_wrong"]["kalman_posterior_residual_last5"])
        posterior = y - out[:, 4] * x - out[:, 5]
        np.testing.assert_allclose(posterior[-5:], wrong, rtol=1e-5, atol=1e-9)
        assert (np.abs(out[-5:, 2]) > 3.0 * np.abs(wrong)).all()


def test_a_score_against_the_window_before_is_the_out_of_sample_spread(shared: Path) -> None:
    for case in cases_of(shared, "spread_oos_beta_lagged"):
        x, y = numbers(case["inputs"]["x"]), numbers(case["inputs"]["y"])
        window = int(case["inputs"]["window"])
        out = scored(pair_init(window), x, y, True)
        expected = numbers(case["expected"]["spread_oos_beta_lagged"])
        for t in range(window, x.size, 11):
            spread = y[t - window : t] - out[t, 0] * x[t - window : t]
            assert out[t, 1] * spread.std(ddof=1) == pytest.approx(expected[t], rel=1e-6, abs=1e-9)


def test_scores_of_five_numbers_with_and_without_the_last() -> None:
    # With: (10 - 4.75) / 3.5939764 is at most 1.5; without: (10 - 2.5) / 1.2909944.
    y, x = np.array([1.0, 2.0, 3.0, 4.0, 10.0]), np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    s = pair_init(4)
    for t in range(4):
        s = pair_step(s, x[t], y[t])
    assert score(s, x[4], y[4], 1e-300) == pytest.approx(5.809475019311125, rel=1e-14)
    s = pair_step(s, x[4], y[4])
    assert zscore(s, 1e-300) == pytest.approx(1.46077752164453, rel=1e-14)


# --- pairs_reversion, written a second time ---------------------------------------------------------------------------


def turned(p: Any, scores: list[tuple[float, float]], z_of: Any) -> list[float]:
    """Forecasts from (hedge, z at that hedge) per row; z_of(t, hedge) where the hedge is frozen, None: z as it is."""
    side, since, frozen, waiting, out = 0, 0, 0.0, False, []
    for t, (fresh, z) in enumerate(scores):
        held = side and not (p.rehedge and fresh > 0.0)
        hedge = frozen if held else fresh
        if held and z_of is not None:
            z = z_of(t, hedge)
        frozen = hedge
        waiting = waiting and not abs(z) < p.exit_z
        if side:
            if -side * z < p.exit_z:
                side = 0
            elif -side * z >= p.stop_z or (p.max_holding and t - since >= p.max_holding):
                side, waiting = 0, True
        elif not waiting and hedge > 0.0 and p.entry_z <= abs(z) < p.stop_z:
            side, since = (-1 if z > 0.0 else 1), t
        out.append(side * p.max_notional)
    return out


@pytest.fixture(scope="module", params=["random", "SPY-IWM", "BTC-ETH"])
def pair(request: pytest.FixtureRequest) -> np.ndarray:
    if request.param == "random":
        return cointegrated(12, 1_500)
    shared: Path = request.getfixturevalue("shared")
    folder, step = shared / "data" / "equity_us", "1d"
    names = ("SPY", "IWM")
    if request.param == "BTC-ETH":
        folder, step, names = shared / "data" / "crypto_bitvavo", "1h", ("BTCEUR", "ETHEUR")
    both = [pd.read_parquet(folder / f"{name}_{step}.parquet").set_index("open_time")["close"] for name in names]
    return pd.concat(both, axis=1, join="inner").to_numpy(copy=True)[:1_500]


def of_strategy(pair: np.ndarray, changed: dict[str, Any]) -> np.ndarray:
    strategy = find("pairs_reversion")
    return forecasts(strategy, params_of(strategy, changed), pair[:, :, None].copy())


@pytest.mark.parametrize("changed", [{"current": False}, {"current": False, "hedge_ratio": 1.0, "lookback": 30}])
def test_pairs_reversion_against_the_window_before(pair: np.ndarray, changed: dict[str, Any]) -> None:
    p = params_of(find("pairs_reversion"), changed)
    y, x, n = np.log(pair[:, 0]), np.log(pair[:, 1]), p.lookback

    def z_of(t: int, hedge: float) -> float:
        before = (y - hedge * x)[t : t + n]
        return float((y[t + n] - hedge * x[t + n] - before.mean()) / before.std(ddof=1))

    hedges = [p.hedge_ratio or float(stats.linregress(x[t : t + n], y[t : t + n]).slope) for t in range(y.size - n)]
    expected = turned(p, [(h, z_of(t, h)) for t, h in enumerate(hedges)], z_of)
    assert len(set(expected)) == 3
    np.testing.assert_array_equal(of_strategy(pair, changed), [np.nan] * n + expected)


@pytest.mark.parametrize(
    "changed",
    [
        {"entry_z": 1.5},
        {"entry_z": 1.5, "delta": 1e-6, "rehedge": True},
        {"noise": 1e-4, "delta": 1e-8, "max_holding": 9},
    ],
)
def test_pairs_reversion_with_a_filter(pair: np.ndarray, changed: dict[str, Any]) -> None:
    given = {"kalman": True, **changed}
    p = params_of(find("pairs_reversion"), given)
    y, x, n = np.log(pair[:, 0]), np.log(pair[:, 1]), p.lookback
    walk, noise = p.delta / (1.0 - p.delta), p.noise or 1.0
    theta, spread, rows = np.zeros(2), DIFFUSE * np.eye(2), []
    for t in range(y.size):
        f, r = np.array([x[t], 1.0]), spread + walk * np.eye(2)
        e, q = float(y[t] - f @ theta), float(f @ r @ f + noise)
        rows.append((float(theta[0]), e, q))
        k = r @ f / q
        theta, spread = theta + k * e, r - np.outer(k, f @ r)
    square = np.array([e * e / q for _, e, q in rows])
    first = n + 2
    scores = [
        (rows[t][0], rows[t][1] / np.sqrt(rows[t][2] * (1.0 if p.noise else square[t - n : t].mean())))
        for t in range(first, y.size)
    ]
    expected = turned(p, scores, None)
    assert len(set(expected)) == 3
    np.testing.assert_array_equal(of_strategy(pair, given), [np.nan] * first + expected)


# --- cointegration ----------------------------------------------------------------------------------------------------


def walks(seed: int, size: int, count: int = 2) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(0.0, 1.0, (size, count)), axis=0)


@pytest.mark.parametrize("lags", [0, 1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_engle_granger_is_that_of_statsmodels(seed: int, lags: int) -> None:
    from statsmodels.tsa.stattools import coint

    pair = np.log(cointegrated(seed, 300)) if seed % 2 else walks(seed, 300)
    y, x = pair[:, 0], pair[:, 1]
    t, p, critical = coint(y, x, trend="c", maxlag=lags, autolag=None)
    found = engle_granger(y, x, lags)
    assert found.t == pytest.approx(t, rel=1e-9)
    assert found.p == pytest.approx(p, abs=1e-12)
    assert [engle_granger_critical(299, level) for level in (0.01, 0.05, 0.10)] == pytest.approx(critical, rel=1e-12)
    slope, intercept = np.polyfit(x, y, 1)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), rel=1e-8)


@pytest.mark.parametrize("lags", [1, 2, 3])
@pytest.mark.parametrize("count", [2, 3])
def test_johansen_is_that_of_statsmodels(count: int, lags: int) -> None:
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    for seed in range(4):
        data = np.concatenate((np.log(cointegrated(seed, 400)), walks(seed + 50, 400, count - 2)), axis=1)
        expected, found = coint_johansen(data, 0, lags), johansen(data, lags)
        np.testing.assert_allclose(found.eigenvalues, expected.eig, rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(found.trace, expected.lr1, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(found.largest, expected.lr2, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(found.vectors[:, 0], expected.evec[:, 0] / expected.evec[0, 0], rtol=1e-6)
        np.testing.assert_allclose(TRACE_5[:count][::-1], expected.cvt[:, 1], rtol=1e-12)
        np.testing.assert_allclose(LARGEST_5[:count][::-1], expected.cvm[:, 1], rtol=1e-12)


def test_false_discoveries_are_those_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for size in (1, 5, 40):
        for _ in range(50):
            p = np.where(rng.random(size) < 0.5, rng.random(size), rng.random(size) ** 6)
            expected = np.flatnonzero(multipletests(p, 0.1, method="fdr_bh")[0])
            assert sorted(discoveries(p, 0.1)) == expected.tolist()
    # Step-up: the first p is above its own line, and is believed because the second is not.
    assert discoveries(np.array([0.09, 0.06, np.nan]), 0.1) == [1, 0]
    assert discoveries(np.array([np.nan, 0.2]), 0.1) == []


def test_two_copies_and_what_stands_still_are_no_pair() -> None:
    x = np.log(cointegrated(1, 200))[:, 0]
    for y in (x, 2.0 * x + 3.0, np.full(200, 4.0)):
        assert np.isnan(engle_granger(y, x, 1).p)
    assert np.isnan(engle_granger(x, np.full(200, 4.0), 1).p)
    with pytest.raises(TrimtabError, match="not independent"):
        johansen(np.stack([x, np.full(200, 4.0)], axis=1), 1)
    with pytest.raises(TrimtabError, match="too few"):
        johansen(np.stack([x, x**2], axis=1)[:6], 1)


def test_one_in_twenty_of_independent_walks_is_rejected() -> None:
    """Of 400 the count is binomial: within three standard errors of 5%. A plain unit-root test rejects 15%."""
    p = [engle_granger(pair[:, 0], pair[:, 1], 0).p for pair in (walks(seed, 250) for seed in range(400))]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.033)


def test_half_lives() -> None:
    assert half_life(0.9 ** np.arange(40.0)) == pytest.approx(6.578813478960585, rel=1e-9)
    assert half_life(1.1 ** np.arange(40.0)) == np.inf
    assert half_life((-0.5) ** np.arange(40.0)) == 0.0
    assert np.isnan(half_life(np.full(40, 2.0)))


def vectors_of(shared: Path, name: str) -> list[Any]:
    return json.loads((shared / "oracles" / "vectors" / f"{name}.json").read_text())["cases"]


def test_engle_granger_has_the_reference_figures(shared: Path) -> None:
    cases = [case for case in vectors_of(shared, "05a_engle_granger") if "y" in case["inputs"]]
    assert len(cases) >= 3
    for case in cases:
        y, x, expected = numbers(case["inputs"]["y"]), numbers(case["inputs"]["x"]), case["expected"]
        for lags in range(3):
            found = engle_granger(y, x, lags)
            assert found.t == pytest.approx(expected[f"lag{lags}"]["stat"], rel=1e-7)
            assert found.p == pytest.approx(expected[f"lag{lags}"]["pvalue"], abs=1e-9)
            assert found.slope == pytest.approx(expected["beta"], rel=1e-9)
        turned_round = engle_granger(x, y, 1)
        assert turned_round.t == pytest.approx(expected["reversed_x_on_y_lag1"]["stat"], rel=1e-7)
        assert found.p != pytest.approx(case["naive_wrong"]["adf_pvalue_on_residuals"], rel=0.1)


def test_johansen_has_the_reference_figures(shared: Path) -> None:
    for case in vectors_of(shared, "05b_johansen"):
        data, expected = np.array(case["inputs"]["data_T_by_N"], dtype=float), case["expected"]
        found = johansen(data, int(case["inputs"]["k_ar_diff"]))
        np.testing.assert_allclose(found.eigenvalues, expected["eigenvalues"], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.trace, expected["trace"], rtol=1e-6)
        np.testing.assert_allclose(found.largest, expected["max_eig"], rtol=1e-6)
        np.testing.assert_allclose(found.vectors[:, 0], expected["first_vector_normalised"], rtol=1e-5)
        assert rank_of(found) == int(expected["rank_trace_95"])


def test_half_lives_have_the_reference_figures(shared: Path) -> None:
    cases = [case for case in vectors_of(shared, "05c_half_life") if "spread" in case["inputs"]]
    assert len(cases) >= 3
    for case in cases:
        found = half_life(numbers(case["inputs"]["spread"]))
        assert found == pytest.approx(case["expected"]["half_life_exact_bars"], rel=1e-8)
