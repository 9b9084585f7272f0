"""Windows of the last values, held against the same windows cut out of the whole series."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from trimtab.kernels.window import (
    RECENTRE,
    RESUM,
    bollinger,
    deviation,
    lag_init,
    lag_step,
    moments_init,
    moments_step,
    ring_of,
    sum_init,
    sum_step,
)

NAN = float("nan")


@njit
def lags(s, x):
    out = np.empty(x.size)
    for t in range(x.size):
        s = lag_step(s, x[t])
        out[t] = s.value
    return s, out


@njit
def sums(s, x):
    out = np.empty(x.size)
    for t in range(x.size):
        s = sum_step(s, x[t])
        out[t] = s.total
    return s, out


@njit
def moments(s, x):
    mean, m2 = np.empty(x.size), np.empty(x.size)
    for t in range(x.size):
        s = moments_step(s, x[t])
        mean[t], m2[t] = s.mean, s.m2
    return s, mean, m2


def windows(x: np.ndarray, length: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(x, length)


def test_a_ring_holds_its_window_and_one_more() -> None:
    assert [ring_of(n).size for n in (1, 2, 3, 4, 7, 8)] == [2, 4, 4, 8, 8, 16]


@pytest.mark.parametrize("length", [1, 2, 3, 8, 50])
def test_a_lag_gives_what_was_read_that_many_rows_ago(length: int) -> None:
    x = np.arange(200.0)
    _, out = lags(lag_init(length), x)
    assert np.isnan(out[:length]).all()
    np.testing.assert_array_equal(out[length:], x[:-length])


@pytest.mark.parametrize("length", [1, 2, 7, 8, 200, RESUM - 1, RESUM, RESUM + 1, 2 * RESUM + 3])
def test_sums_of_integers_are_exact(length: int) -> None:
    x = np.random.default_rng(length).integers(-(2**30), 2**30, 3 * RESUM).astype(float)
    _, out = sums(sum_init(length), x)
    assert np.isnan(out[: length - 1]).all()
    np.testing.assert_array_equal(out[length - 1 :], windows(x, length).sum(axis=1))


def falling(rng: np.random.Generator) -> np.ndarray:
    """Ten million prices from 100,000 down to about 100: what the high ones round away is large for the low ones."""
    return np.geomspace(1e5, 1e2, 10_000_000) + rng.normal(0.0, 1.0, 10_000_000)


def test_after_ten_million_rows_a_window_mean_is_the_mean_of_its_window() -> None:
    rng = np.random.default_rng(1)
    x = falling(rng)
    for length in (20, 200):
        _, out = sums(sum_init(length), x)
        last = windows(x[-2 * RESUM :], length).mean(axis=1)
        np.testing.assert_allclose(out[-last.size :] / length, last, rtol=1e-12)
        some = np.append(rng.integers(length, x.size, 2_000), np.arange(RESUM - 2, RESUM + length + 2))
        np.testing.assert_allclose(out[some] / length, [x[t - length + 1 : t + 1].mean() for t in some], rtol=1e-12)


def test_without_readding_the_same_sum_drifts_out_of_tolerance() -> None:
    # So it is the schedule that the test above measures.
    x = falling(np.random.default_rng(1))
    bare = np.cumsum(np.concatenate([[x[:20].sum()], x[20:] - x[:-20]]))
    assert abs(bare[-1] / x[-20:].sum() - 1.0) > 1e-12


@pytest.mark.parametrize("length", [2, 5, 20, 300])
def test_a_nan_is_forgotten_with_the_row_that_held_it(length: int) -> None:
    x = np.random.default_rng(0).normal(100.0, 1.0, 1_000)
    x[[0, 400, 403]] = NAN
    good = np.array([not np.isnan(w).any() for w in windows(x, length)])
    _, total = sums(sum_init(length), x)
    _, mean, m2 = moments(moments_init(length), x)
    for out in (total, mean, m2):
        np.testing.assert_array_equal(np.isfinite(out[length - 1 :]), good)
    np.testing.assert_allclose(total[length - 1 :][good], windows(x, length).sum(axis=1)[good], rtol=1e-13)
    np.testing.assert_allclose(m2[length - 1 :][good], length * windows(x, length).var(axis=1)[good], rtol=1e-9)


@pytest.mark.parametrize("level", [0.0, 1e2, 1e6])
@pytest.mark.parametrize("length", [2, 20, 300])
def test_moments_are_those_of_the_window(level: float, length: int) -> None:
    x = level + np.cumsum(np.random.default_rng(length).normal(0.0, 1.0, 5_000))
    s, mean, m2 = moments(moments_init(length), x)
    assert np.isnan(mean[: length - 1]).all()
    assert np.isnan(m2[: length - 1]).all()
    np.testing.assert_allclose(mean[length - 1 :], windows(x, length).mean(axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(m2[length - 1 :], length * windows(x, length).var(axis=1), rtol=1e-8, atol=1e-12)
    assert deviation(s, 1) == pytest.approx(np.std(x[-length:], ddof=1), rel=1e-8)


def test_a_spike_leaves_nothing_behind() -> None:
    x = np.random.default_rng(3).normal(100.0, 1.0, 2 * RECENTRE)
    x[30] = 1e9
    _, _, m2 = moments(moments_init(20), x)
    np.testing.assert_allclose(m2[50:], 20 * windows(x, 20).var(axis=1)[31:], rtol=1e-8)


def test_a_constant_window_has_no_deviation_at_all() -> None:
    x = np.full(1_000, 0.1)
    x[:40] += np.random.default_rng(0).normal(0.0, 1.0, 40)
    _, _, m2 = moments(moments_init(20), x)
    assert (m2[19:59] > 0.0).all()
    assert (m2[59:] == 0.0).all()


def test_bollinger_bands_are_population_deviations_from_the_mean() -> None:
    s, _, _ = moments(moments_init(4), np.array([9.0, 1.0, 2.0, 3.0, 4.0]))
    reach = 2.0 * np.sqrt(1.25)
    assert bollinger(s, 2.0) == pytest.approx((2.5 - reach, 2.5, 2.5 + reach), rel=1e-15)


FOLDS: dict[str, tuple[Any, Any]] = {
    "lag": (lag_init, lags),
    "sum": (sum_init, sums),
    "moments": (moments_init, moments),
}


@pytest.mark.parametrize("name", FOLDS)
@given(length=st.integers(2, 40), cut=st.integers(0, 400), seed=st.integers(0, 2**32 - 1))
def test_cutting_and_resuming_changes_no_bit(name: str, length: int, cut: int, seed: int) -> None:
    init, fold = FOLDS[name]
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(400) < 0.01, NAN, rng.normal(50.0, 5.0, 400))
    _, *whole = fold(init(length), x)
    s, *first = fold(init(length), x[:cut])
    saved = copy.deepcopy(s)
    fold(s, x[::-1].copy())  # the original goes its own way and must not touch the snapshot
    _, *rest = fold(saved, x[cut:])
    for a, b, c in zip(whole, first, rest, strict=True):
        assert a.tobytes() == np.concatenate([b, c]).tobytes()
