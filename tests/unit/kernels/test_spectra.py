"""Scaled moves, spectra, wavelets and Hurst exponents: beside what is not known, and after long histories."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from trimtab.kernels.fractal import hurst_init, hurst_step
from trimtab.kernels.scaling import RECENT, WIDEST, scaled_init, scaled_step
from trimtab.kernels.spectrum import spectrum_init, spectrum_step
from trimtab.kernels.wavelets import reach, wavelets_init, wavelets_step


@njit
def spectral(s, x):
    for value in x:
        s = spectrum_step(s, value)
    return s


@njit
def fractal(s, x):
    for value in x:
        s = hurst_step(s, value)
    return s


@njit
def wavelets(s, x):
    for value in x:
        s = wavelets_step(s, value)
    return s


@njit
def scaled(s, x, out):
    for t in range(x.size):
        s = scaled_step(s, x[t])
        out[t] = s.value
    return s


def test_what_a_window_says_does_not_depend_on_what_was_before_it() -> None:
    """To the last bit for what is made anew on every row; energies are running sums, added again on a schedule."""
    rng = np.random.default_rng(1)
    before, last = rng.standard_t(2, 100_003), rng.normal(0.0, 1e-3, 300)
    long, short = spectral(spectrum_init(256), before), spectral(spectrum_init(256), last)
    long = spectral(long, last)
    np.testing.assert_array_equal(long.power, short.power)
    assert (long.mean, long.rho) == (short.mean, short.rho)
    one, two = fractal(fractal(hurst_init(256), before), last), fractal(hurst_init(256), last)
    assert (one.rescaled, one.fluctuation) == (two.rescaled, two.fluctuation)
    for db4, scales in ((False, 4), (True, 2)):
        a = wavelets(wavelets(wavelets_init(200, scales, db4), before), last)
        b = wavelets(wavelets_init(200, scales, db4), last)
        np.testing.assert_array_equal(a.detail, b.detail)
        np.testing.assert_allclose(a.energy, b.energy, rtol=1e-9)


def test_energies_after_a_million_rows_are_those_of_their_window() -> None:
    rng = np.random.default_rng(2)
    s = wavelets(wavelets_init(300, 5, False), 1e3 * rng.standard_t(2, 1_000_000))
    last = rng.normal(0.0, 1e-2, 500)
    s = wavelets(s, last)
    for j in range(1, 6):
        h = np.repeat([1.0, -1.0], 1 << (j - 1)) / 2.0**j
        expected = np.convolve(last, h, mode="valid")[-300:]
        assert s.energy[j - 1] == pytest.approx(expected @ expected, rel=1e-9)


@pytest.mark.parametrize("gone", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_known_for_one_window_and_then_forgotten(gone: float) -> None:
    x = np.random.default_rng(3).normal(0.0, 1.0, 500)
    x[150] = gone
    s, h, w = spectrum_init(64), hurst_init(128), wavelets_init(64, 3, False)
    for t, value in enumerate(x):
        s, h, w = spectrum_step(s, value), hurst_step(h, value), wavelets_step(w, value)
        since = t + 1 if t < 150 else t - 150
        assert np.isnan(s.power).all() == (since < 64) == np.isnan(s.power).any() == math.isnan(s.rho)
        assert math.isnan(h.rescaled) == math.isnan(h.fluctuation) == (since < 128)
        for j in range(3):
            assert math.isnan(w.detail[j]) == (since < reach(2, j + 1))
            assert math.isnan(w.energy[j]) == (since < reach(2, j + 1) + 63)
    clean = wavelets(wavelets_init(64, 3, False), x[151:])
    np.testing.assert_array_equal(w.detail, clean.detail)
    np.testing.assert_allclose(w.energy, clean.energy, rtol=1e-12)
    np.testing.assert_array_equal(s.power, spectral(spectrum_init(64), x[151:]).power)
    assert h.rescaled == fractal(hurst_init(128), x[151:]).rescaled


def test_what_stands_still_has_no_exponent_and_blocks_that_do_are_left_out() -> None:
    still = fractal(hurst_init(64), np.full(100, 0.1))
    assert math.isnan(still.rescaled)
    assert math.isnan(still.fluctuation)
    x = np.random.default_rng(4).normal(0.0, 1.0, 64)
    x[16:24] = 0.0
    s = fractal(hurst_init(64), x)
    assert math.isnan(s.ranges[0, 23])
    assert s.residuals[0, 23] == 0.0
    assert math.isfinite(s.rescaled)
    assert wavelets(wavelets_init(20, 3, False), np.full(100, 0.1)).energy.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("fold", "make"),
    [
        (spectral, lambda: spectrum_init(32)),
        (fractal, lambda: hurst_init(64)),
        (wavelets, lambda: wavelets_init(40, 3, True)),
    ],
)
def test_a_snapshot_goes_on_to_the_last_bit(fold: Any, make: Any) -> None:
    x = np.random.default_rng(5).standard_t(3, 700)
    whole, s = fold(make(), x), make()
    for a, b in ((0, 31), (31, 33), (33, 300), (300, 700)):
        s = fold(copy.deepcopy(s), x[a:b])
    for one, two in zip(whole, s, strict=True):
        np.testing.assert_array_equal(one, two)


def test_moves_are_scaled_by_those_before_them() -> None:
    rng, out = np.random.default_rng(6), np.empty(500)
    moves = rng.normal(0.0, 0.01, 500)
    moves[200], moves[300:380], moves[380] = 0.5, 0.0, 1e-3
    log_price = 4.0 + np.cumsum(moves)
    log_price[301:380] = log_price[300]
    scaled(scaled_init(), log_price, out)
    assert np.isnan(out[: RECENT + 1]).all()
    assert np.isfinite(out[RECENT + 1 :]).all()
    x = np.diff(log_price)
    for t in (RECENT + 1, 100, 199, 250):
        assert out[t] == pytest.approx(x[t - 1] / x[t - 1 - RECENT : t - 1].std(ddof=1), rel=1e-9)
    assert out[200] == out[380] == WIDEST
    assert (out[300 + RECENT + 1 : 380] == 0.0).all()
    log_price[450] = np.nan
    scaled(scaled_init(), log_price, out)
    assert np.isnan(out[450 : 450 + RECENT + 2]).all()
    assert np.isfinite(out[450 + RECENT + 2 :]).all()


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=120))
def test_scaled_moves_stay_in_their_bounds(moves: list[float]) -> None:
    s = scaled_init()
    for t, log_price in enumerate(np.cumsum(moves)):
        s = scaled_step(s, float(log_price))
        assert math.isnan(s.value) == (t < RECENT + 1)
        assert not abs(s.value) > WIDEST
        assert not s.spread < 0.0
