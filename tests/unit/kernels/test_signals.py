"""Buckets, orders, ranges and slopes: beside what is not known, after long histories, and for volumes of any size."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from trimtab.kernels.ordinal import after, beginning, patterns_init, patterns_step
from trimtab.kernels.range import range_init, range_step, trend_init, trend_step
from trimtab.kernels.vpin import buckets_init, buckets_step


@njit
def ordered(s, x):
    for value in x:
        s = patterns_step(s, value)
    return s


@njit
def sloped(s, x):
    for value in x:
        s = trend_step(s, value)
    return s


def test_orders_after_a_million_rows_are_those_of_their_window() -> None:
    rng = np.random.default_rng(1)
    long = ordered(patterns_init(200, 4, 2), rng.standard_t(2, 1_000_000))
    short, last = patterns_init(200, 4, 2), rng.normal(0.0, 1.0, 206)
    long, short = ordered(long, last), ordered(short, last)
    assert long.entropy == short.entropy
    np.testing.assert_array_equal(long.counts, short.counts)
    np.testing.assert_allclose(long.sums, short.sums, atol=1e-9)
    assert after(long, beginning(long))[0] == after(short, beginning(short))[0]


@pytest.mark.parametrize("gone", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_known_for_one_window_and_then_forgotten(gone: float) -> None:
    x = np.random.default_rng(2).normal(0.0, 1.0, 300)
    orders, clean = patterns_init(50, 3, 1), patterns_init(50, 3, 1)
    line, straight = trend_init(50), trend_init(50)
    orders, line = ordered(orders, x[:150]), sloped(line, x[:150])
    orders, line = patterns_step(orders, gone), trend_step(line, gone)
    for t, value in enumerate(x[151:]):
        orders, clean = patterns_step(orders, value), patterns_step(clean, value)
        line, straight = trend_step(line, value), trend_step(straight, value)
        assert math.isnan(orders.entropy) == (t < 51)
        assert math.isnan(line.slope) == (t < 49)
        np.testing.assert_equal(orders.entropy, clean.entropy)
        np.testing.assert_allclose(line.slope, straight.slope, atol=1e-14)


def test_equal_values_are_in_the_order_of_their_time() -> None:
    s = ordered(patterns_init(20, 4, 1), np.full(40, 3.0))
    assert (s.entropy, np.count_nonzero(s.counts)) == (0.0, 1)
    rising = ordered(patterns_init(20, 4, 1), np.arange(40.0))
    np.testing.assert_array_equal(s.counts, rising.counts)


def test_a_slope_after_a_million_rows_is_that_of_its_window() -> None:
    s = sloped(trend_init(30), 1e3 + np.cumsum(np.random.default_rng(3).normal(0.0, 1.0, 1_000_000)))
    last = np.random.default_rng(4).normal(0.0, 1e-3, 290)
    s = sloped(s, last)
    assert s.slope == pytest.approx(np.polyfit(np.arange(30), last[-30:], 1)[0], rel=1e-9)
    assert sloped(trend_init(30), np.full(90, 0.1)).slope == 0.0


@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(0.0), st.floats(1e-6, 1e9)), st.floats(0.0, 1.0), st.floats(1e-3, 1e6)
        ),
        max_size=60,
    ),
    st.integers(1, 6),
)  # fmt: skip
def test_no_volume_is_lost_and_none_counted_twice(rows: list[tuple[float, float, float]], n: int) -> None:
    s, volume, filled = buckets_init(n), 0.0, 0.0
    for read, share, size in rows:
        was = copy.deepcopy(s)
        s = buckets_step(s, read, share, size)
        volume += read
        new = s.full - was.full
        if new:
            filled += (was.size if was.volume > 0.0 else size) + (new - 1) * size
        assert 0.0 <= s.volume <= max(s.size, 0.0) or s.full == 0
        assert abs(s.side) <= s.volume * (1.0 + 1e-9)
        if s.full >= n:
            assert 0.0 <= abs(s.net) <= s.vpin * (1.0 + 1e-12) <= 1.0 + 1e-9
        else:
            assert math.isnan(s.vpin)
    assert filled + s.volume == pytest.approx(volume, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("volume", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_volume_changes_nothing(volume: float) -> None:
    s = buckets_step(buckets_init(2), 3.0, 0.7, 10.0)
    assert str(buckets_step(s, volume, 0.5, 10.0)) == str(s)
    assert str(buckets_step(s, 5.0, 0.5, math.nan)) == str(s)


def test_a_bar_that_is_not_observed_leaves_the_range_as_it_was() -> None:
    s = range_step(range_init(3), 11.0, 9.0, 10.0)
    for bar in ((math.nan, 9.0, 10.0), (11.0, math.nan, 10.0), (11.0, 9.0, math.nan), (math.inf, 9.0, 10.0)):
        assert str(range_step(s, *bar)) == str(s)
    assert range_step(s, 10.5, 10.25, 10.5).value == 0.5  # from the close before to the high
