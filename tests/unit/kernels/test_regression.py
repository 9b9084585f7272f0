"""Rolling least squares and the z-score of the spread, on windows where the answer is known or hard."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from trimtab.kernels.regression import pair_init, pair_step, slope, zscore
from trimtab.kernels.window import RECENTRE


@njit
def fold(s, x, y, hedge):
    """Slope and z-score per row; the slope is the hedge where `hedge` is NaN."""
    slopes, scores = np.empty(x.size), np.empty(x.size)
    for t in range(x.size):
        s = pair_step(s, x[t], y[t])
        slopes[t] = slope(s)
        scores[t] = zscore(s, slopes[t] if hedge != hedge else hedge)
    return s, slopes, scores


def score(x: np.ndarray, y: np.ndarray, hedge: float) -> float:
    spread = y - hedge * x
    return (spread[-1] - spread.mean()) / spread.std(ddof=1)


def test_a_line_is_found_exactly_and_leaves_no_spread() -> None:
    x = np.arange(50.0)
    _, slopes, scores = fold(pair_init(10), x, 3.0 + 0.5 * x, np.nan)
    assert np.isnan(slopes[:9]).all()
    np.testing.assert_allclose(slopes[9:], 0.5, rtol=1e-14)
    assert np.isnan(scores).all()


def test_a_series_against_its_copy_has_no_score() -> None:
    x = 5.0 + np.cumsum(np.random.default_rng(0).normal(0.0, 0.01, 1_000))
    for hedge in (np.nan, 1.0):
        _, _, scores = fold(pair_init(60), x, x.copy(), hedge)
        assert np.isnan(scores).all()


def test_where_x_stands_still_there_is_no_slope() -> None:
    y = np.random.default_rng(0).normal(0.0, 1.0, 100)
    x = np.where(np.arange(100) < 40, np.sin(np.arange(100.0)), 0.3)
    _, slopes, _ = fold(pair_init(10), x, y, np.nan)
    assert np.isfinite(slopes[9:49]).all()
    assert np.isnan(slopes[49:]).all()


@pytest.mark.parametrize("noise", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("length", [3, 20, RECENTRE + 7])
def test_every_window_of_a_wandering_pair(noise: float, length: int) -> None:
    rng = np.random.default_rng(7)
    x = 1_000.0 + np.cumsum(rng.normal(0.0, 1.0, 2_000))
    y = 40.0 + 1.5 * x + noise * rng.normal(0.0, 1.0, 2_000)
    for hedge in (np.nan, 1.5):
        _, slopes, scores = fold(pair_init(length), x, y, hedge)
        for t in range(length - 1, x.size, 13):
            wx, wy = x[t - length + 1 : t + 1], y[t - length + 1 : t + 1]
            dx = wx - wx.mean()
            ratio = (dx * (wy - wy.mean())).sum() / (dx * dx).sum()
            assert slopes[t] == pytest.approx(ratio, rel=1e-9)
            if length > 3:  # a line through three points leaves a spread that is one number
                expected = score(wx, wy, ratio if hedge != hedge else hedge)
                assert scores[t] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_score_cannot_exceed_its_bound() -> None:
    y = np.zeros(60)
    y[-1] = 1.0
    x = np.random.default_rng(0).normal(0.0, 1.0, 60)
    _, _, scores = fold(pair_init(30), x, y, 1e-300)
    assert scores[-1] == pytest.approx(29.0 / np.sqrt(30.0), rel=1e-12)


def test_a_nan_is_forgotten_with_its_row() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.0, 1.0, (2, 400))
    x[100], y[200] = np.nan, np.nan
    _, slopes, scores = fold(pair_init(20), x, y, np.nan)
    held = np.r_[0:19, 100:120, 200:220]
    for out in (slopes, scores):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(out)), held)


@given(length=st.integers(3, 40), cut=st.integers(0, 300), seed=st.integers(0, 2**32 - 1))
def test_cutting_and_resuming_changes_no_bit(length: int, cut: int, seed: int) -> None:
    x, y = np.random.default_rng(seed).normal(50.0, 5.0, (2, 300))
    _, *whole = fold(pair_init(length), x, y, np.nan)
    s, *first = fold(pair_init(length), x[:cut], y[:cut], np.nan)
    saved = copy.deepcopy(s)
    fold(s, y, x, np.nan)
    _, *rest = fold(saved, x[cut:], y[cut:], np.nan)
    for a, b, c in zip(whole, first, rest, strict=True):
        assert a.tobytes() == np.concatenate([b, c]).tobytes()
