"""Exponential memories at their edges: the first rows, rows without a value, and series that never move."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from trimtab.kernels.smoothing import annualised, ewm_init, ewm_step, rsi_init, rsi_step

NAN = float("nan")


@njit
def ewms(s, x):
    mean, variance = np.empty(x.size), np.empty(x.size)
    for t in range(x.size):
        s = ewm_step(s, x[t])
        mean[t], variance[t] = s.mean, s.variance
    return s, mean, variance


@njit
def rsis(s, x):
    out = np.empty(x.size)
    for t in range(x.size):
        s = rsi_step(s, x[t])
        out[t] = s.value
    return s, out


def test_the_first_value_is_its_own_mean_without_variance() -> None:
    s, mean, variance = ewms(ewm_init(0.5), np.array([NAN, 3.0, 5.0]))
    assert np.isnan(mean[0])
    assert mean[1:].tolist() == [3.0, pytest.approx((0.5 * 3.0 + 5.0) / 1.5)]
    # Weights 1/3 and 2/3 on 3 and 5: mean 13/3, variance 8/9.
    assert variance[1:].tolist() == [0.0, pytest.approx(8.0 / 9.0)]
    assert s.weight == 1.5


def test_rows_without_a_value_are_passed_over() -> None:
    x = np.random.default_rng(0).normal(100.0, 1.0, 200)
    gappy = np.insert(x, [10, 10, 50, 120], NAN)
    kept = ~np.isnan(gappy)
    for fold, init in ((ewms, ewm_init(0.1)), (rsis, rsi_init(14))):
        for with_gaps, plain in zip(fold(init, gappy)[1:], fold(init, x)[1:], strict=True):
            assert with_gaps[kept].tobytes() == plain.tobytes()


@pytest.mark.parametrize("length", [1, 2, 14])
def test_strength_needs_its_changes_and_stays_in_bounds(length: int) -> None:
    x = 100.0 + np.cumsum(np.random.default_rng(1).normal(0.0, 1.0, 500))
    _, out = rsis(rsi_init(length), x)
    assert np.isnan(out[:length]).all()
    assert ((out[length:] >= 0.0) & (out[length:] <= 100.0)).all()


def test_strength_of_one_way_and_of_no_way() -> None:
    rise = np.arange(30.0)
    assert (rsis(rsi_init(2), rise)[1][2:] == 100.0).all()
    assert (rsis(rsi_init(2), -rise)[1][2:] == 0.0).all()
    assert np.isnan(rsis(rsi_init(2), np.full(30, 7.0))[1]).all()


def test_strength_by_hand() -> None:
    # Changes +1 -3 +2 -1: averages of the first two 0.5, 1.5; then (0.5 + 2) / 2, 0.75; then 0.625, (0.75 + 1) / 2.
    _, out = rsis(rsi_init(2), np.array([10.0, 11.0, 8.0, 10.0, 9.0]))
    assert out[2:].tolist() == pytest.approx([25.0, 62.5, 100.0 * 0.625 / 1.5])


def test_volatility_grows_with_the_root_of_time() -> None:
    assert annualised(0.01, 256.0) == pytest.approx(0.16)


FOLDS: dict[str, tuple[Any, Any]] = {"ewm": (ewms, lambda: ewm_init(0.07)), "rsi": (rsis, lambda: rsi_init(5))}


@pytest.mark.parametrize("name", FOLDS)
@given(cut=st.integers(0, 200), seed=st.integers(0, 2**32 - 1))
def test_cutting_and_resuming_changes_no_bit(name: str, cut: int, seed: int) -> None:
    fold, init = FOLDS[name]
    x = np.random.default_rng(seed).normal(50.0, 5.0, 200)
    _, *whole = fold(init(), x)
    s, *first = fold(init(), x[:cut])
    _, *rest = fold(copy.deepcopy(s), x[cut:])
    for a, b, c in zip(whole, first, rest, strict=True):
        assert a.tobytes() == np.concatenate([b, c]).tobytes()
