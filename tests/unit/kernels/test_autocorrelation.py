"""Windows of lagged products: the same after any history, not defined beside what is not known, and without drift."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from numba import njit

from trimtab.kernels.autocorrelation import WindowLags, behind, lags_init, lags_step, robust_z, sized, spread
from trimtab.kernels.partial import burg, durbin_levinson, kept
from trimtab.kernels.variance_ratio import ratios_init, ratios_step


@njit
def fed(s, x):
    for value in x:
        s = lags_step(s, value)
    return s


def expected(w: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    d = w - w.mean()
    pairs = [(d[k:], d[: d.size - k]) for k in range(lags + 1)]
    return np.array([y @ z for y, z in pairs]), np.array([(y * y) @ (z * z) for y, z in pairs])


@pytest.mark.parametrize(("length", "lags"), [(3, 0), (5, 4), (64, 10), (100, 15)])
def test_products_are_those_of_the_window_at_every_row(length: int, lags: int) -> None:
    x = np.random.default_rng(length).standard_t(3, 600) * np.where(np.arange(600) < 300, 1.0, 1e-4)
    s = lags_init(length, lags)
    for t, value in enumerate(x):
        s = lags_step(s, float(value))
        if t < length - 1:
            assert np.isnan(s.cross).all()
            assert np.isnan(s.mean)
            continue
        w = x[t - length + 1 : t + 1]
        cross, square = expected(w, lags)
        np.testing.assert_allclose(s.cross, cross, rtol=1e-8, atol=1e-9 * cross[0])
        np.testing.assert_allclose(s.square, square, rtol=1e-7, atol=1e-8 * square[0])
        assert s.mean == pytest.approx(w.mean(), rel=1e-9, abs=1e-12 * np.abs(w).max())
        assert behind(s, 1) == pytest.approx(w[-2] - w.mean(), rel=1e-9, abs=1e-12)


def test_ten_million_rows_leave_no_trace() -> None:
    rng = np.random.default_rng(1)
    s = lags_init(50, 4)
    for _ in range(10):
        s = fed(s, 5.0 + rng.standard_t(2, 1_000_000))
    last = 5.0 + rng.normal(0.0, 1.0, 50)
    cross, square = expected(last, 4)
    s = fed(s, last)
    np.testing.assert_allclose(s.cross, cross, rtol=1e-9, atol=1e-9 * cross[0])
    np.testing.assert_allclose(s.square, square, rtol=1e-7, atol=1e-9 * square[0])


@pytest.mark.parametrize("gone", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_known_for_one_window_and_then_forgotten(gone: float) -> None:
    x = np.random.default_rng(2).normal(0.0, 1.0, 200)
    x[100] = gone
    s = lags_init(20, 3)
    for t, value in enumerate(x):
        s = lags_step(s, float(value))
        known = t >= 19 and not 100 <= t < 120
        assert np.isfinite(s.cross).all() == known
        assert np.isnan(s.mean) != known
    np.testing.assert_allclose(s.cross, expected(x[-20:], 3)[0], rtol=1e-12)


def test_what_stands_still_varies_by_exactly_nothing() -> None:
    s = fed(lags_init(30, 3), np.concatenate((np.random.default_rng(3).normal(0.0, 1.0, 500), np.full(30, 0.1))))
    assert not s.cross.any()
    assert not s.square.any()
    assert spread(s) == 0.0
    assert np.isnan(robust_z(s, 1))
    rounding = fed(lags_init(30, 3), 1e-15 * np.random.default_rng(3).normal(0.0, 1.0, 60))
    assert spread(rounding) == 0.0


def test_a_copy_goes_on_by_itself() -> None:
    x = np.random.default_rng(4).normal(0.0, 1.0, 900)
    whole: WindowLags = fed(lags_init(40, 5), x)
    half = fed(lags_init(40, 5), x[:451])
    saved = copy.deepcopy(half)
    fed(half, x[::-1].copy())
    resumed = fed(saved, x[451:])
    assert resumed.cross.tobytes() == whole.cross.tobytes()
    assert resumed.square.tobytes() == whole.square.tobytes()


def test_a_price_that_is_not_known_leaves_the_ratios_after_a_window() -> None:
    price = np.cumsum(np.random.default_rng(5).normal(0.0, 0.01, 300))
    price[100] = np.nan
    s = ratios_init(40)
    for t, level in enumerate(price):
        s = ratios_step(s, float(level))
        # The move into it and the one out of it are not known.
        assert np.isfinite(s.ratio).all() == (t >= 40 and not 100 <= t <= 140)


@pytest.mark.parametrize("way", ["durbin_levinson", "burg"])
def test_partial_autocorrelations_of_what_is_foretold_exactly_and_of_nothing(way: str) -> None:
    def of(x: np.ndarray) -> np.ndarray:
        s, out = fed(lags_init(x.size, 4), x), np.empty(4)
        if way == "burg":
            burg(s, out)
        else:
            durbin_levinson(s.cross, out)
        return out

    wave = of(np.tile([1.0, 0.0, -1.0, 0.0], 100))
    assert (np.abs(wave) <= 1.0 + 1e-12).all()
    assert wave[1] == pytest.approx(-1.0, abs=0.01)
    assert np.isnan(of(np.full(40, 2.0))).all()
    assert np.isnan(of(np.append(np.ones(39), np.nan))).all()


def test_only_what_is_beyond_its_bound_is_kept() -> None:
    weights, bound = np.empty(3), np.full(3, 0.1)
    assert kept(np.array([0.05, -0.4, 0.02]), bound, weights) == 1
    np.testing.assert_allclose(weights, [0.0, -0.4, 0.0])
    assert kept(np.array([0.5, -0.3, 0.02]), bound, weights) == 2
    np.testing.assert_allclose(weights, [0.65, -0.3, 0.0])  # phi_1 = phi_11 (1 - phi_22)
    assert kept(np.full(3, np.nan), bound, weights) == 0
    assert not weights.any()


def test_a_foretold_move_is_sized_by_deviations_and_by_what_it_is_worth() -> None:
    assert sized(0.01, 0.02, 1.0, 0.0) == 0.5
    assert sized(-0.01, 0.02, 0.1, 0.0) == -1.0
    assert sized(0.01, 0.02, 1.0, 0.01) == 0.0
    assert sized(0.01, 0.0, 1.0, 0.0) == 0.0
    assert np.isnan(sized(np.nan, 0.02, 1.0, 0.0))
