"""GARCH, VPIN, ordinal patterns and true ranges: against arch, scipy and stored figures."""

from __future__ import annotations

import json
import math
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from trimtab.kernels.garch import garch_fit, log_likelihood, variance_after
from trimtab.kernels.ordinal import (
    WEIGHTS,
    WindowPatterns,
    after,
    beginning,
    entropy_bound,
    patterns_init,
    patterns_step,
)
from trimtab.kernels.range import range_init, range_step, trend_init, trend_step
from trimtab.kernels.vpin import Buckets, bought, buckets_init, buckets_step

FIGURES: dict[str, Any] = json.loads((Path(__file__).parent / "signals.json").read_text())


def floats(values: list[Any]) -> np.ndarray:
    """Numbers of the figures, where "nan" is one."""
    return np.array([float(v) for v in values])


# --- GARCH -----------------------------------------------------------------------------------------------------------

GARCH = FIGURES["garch"]
Y = np.array(GARCH["y"])


class Likelihood:
    """What log_likelihood says of y at theta."""

    def __init__(self, y: np.ndarray, theta: Any) -> None:
        self.gradient, self.hessian, self.outer = np.empty(4), np.empty((4, 4)), np.empty((4, 4))
        self.value, self.after = log_likelihood(y, np.array(theta, float), self.gradient, self.hessian, self.outer)


def clustered(seed: int, rows: int, alpha: float, beta: float, mu: float = 0.0) -> np.ndarray:
    x, h = np.empty(rows), 1.0
    for t, shock in enumerate(np.random.default_rng(seed).standard_normal(rows)):
        e = math.sqrt(h) * shock
        x[t] = mu + e
        h = 1.0 - alpha - beta + alpha * e * e + beta * h
    return x


def test_the_filter_is_that_of_the_figures() -> None:
    expected, found = GARCH["filter"], Likelihood(Y, GARCH["theta"])
    assert found.value == pytest.approx(expected["loglik"], rel=1e-12)
    assert found.after == pytest.approx(expected["h_next"], rel=1e-12)
    h = [variance_after(Y[:t], np.array(GARCH["theta"]))[0] for t in range(Y.size - 5, Y.size)]
    # The mean square of a shorter series is another, which no longer matters after so many rows.
    np.testing.assert_allclose(h, expected["h_last5"], rtol=1e-10)
    assert abs(found.after / h[-1] - 1.0) > 0.01  # h of a row does not know that row
    assert GARCH["leaked"]["h_last_if_shifted_by_one_leaking_e_T"] == pytest.approx(found.after)


def test_gradient_and_hessian_are_those_of_differences() -> None:
    at = np.array([0.1, 0.08, 0.12, 0.8])
    found, step = Likelihood(Y, at), 1e-6 * np.eye(4)
    slopes = [(Likelihood(Y, at + d).value - Likelihood(Y, at - d).value) / 2e-6 for d in step]
    np.testing.assert_allclose(found.gradient, slopes, rtol=1e-5, atol=1e-4)
    curves = [(Likelihood(Y, at + d).gradient - Likelihood(Y, at - d).gradient) / 2e-6 for d in step]
    np.testing.assert_allclose(found.hessian, curves, rtol=1e-6)


@pytest.mark.parametrize("start", [[0.0, 1.0, 0.05, 0.9], [0.5, 0.001, 0.9, 0.0], [-3.0, 50.0, 0.0, 0.0]])
def test_the_top_and_its_three_errors_are_those_of_the_figures(start: list[float]) -> None:
    expected, theta = GARCH["maximum"], np.array(start)
    assert garch_fit(Y, theta) > 0
    np.testing.assert_allclose(theta, expected["params_mu_omega_alpha_beta"], atol=1e-7)
    top = Likelihood(Y, theta)
    assert top.value == pytest.approx(expected["loglik"], rel=1e-12)
    np.testing.assert_allclose(top.gradient, 0.0, atol=1e-5)
    inverse = np.linalg.inv(-top.hessian)
    for name, variance in {
        "se_hessian": inverse,
        "se_opg": np.linalg.inv(top.outer),
        "se_bollerslev_wooldridge": inverse @ top.outer @ inverse,
    }.items():
        np.testing.assert_allclose(np.sqrt(np.diag(variance)), expected[name], rtol=1e-4)


def test_the_filter_is_archs_given_its_presample_and_the_top_lies_by_archs() -> None:
    arch = pytest.importorskip("arch")
    model = arch.arch_model(Y, rescale=False)
    theta = np.array(GARCH["theta"])
    e = Y - theta[0]
    square = float(np.mean(e * e))
    h, bounds = np.empty(Y.size), np.tile([1e-12, 1e12], (Y.size, 1))
    model.volatility.compute_variance(theta[1:], e, h, square, bounds)
    value = -0.5 * float(np.sum(math.log(2.0 * math.pi) + np.log(h) + e * e / h))
    assert Likelihood(Y, theta).value == pytest.approx(value, rel=1e-12)
    own = np.array([0.0, 1.0, 0.05, 0.9])
    garch_fit(Y, own)
    # arch's presample is another: a third of an error apart would be a wrong top.
    theirs = model.fit(disp="off").params.to_numpy()
    assert (np.abs(own - theirs) < 0.1 * np.array(GARCH["maximum"]["se_hessian"])).all()
    assert Likelihood(Y, own).value >= Likelihood(Y, theirs).value


def highest(y: np.ndarray) -> float:
    """The highest top that scipy finds from three starts."""
    found = [
        optimize.minimize(
            lambda t: -Likelihood(y, t).value,
            start,
            jac=lambda t: -Likelihood(y, t).gradient,
            bounds=[(-3, 3), (1e-6, 10), (0, 1), (0, 0.9999)],
            method="L-BFGS-B",
        ).fun
        for start in ([0.0, 0.1, 0.1, 0.8], [0.0, 0.5, 0.3, 0.2], [0.0, 0.02, 0.02, 0.96])
    ]
    return -min(found)


#: alpha, beta of what is fitted: calm, persistent, at alpha = 0 (beta has no meaning), at beta = 0.
KINDS = [(0.1, 0.85), (0.05, 0.94), (0.0, 0.0), (0.5, 0.0)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_start_of_scipys_finds_a_higher_top(kind: tuple[float, float]) -> None:
    for seed in range(4):
        y = clustered(seed, 400, *kind, mu=0.05)
        y /= y.std()
        theta = np.array([0.0, 0.1, 0.1, 0.8])
        assert garch_fit(y, theta) > 0
        assert Likelihood(y, theta).value > highest(y) - 1e-3


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    y = clustered(5, 1_200, 0.08, 0.9)
    warm, passes = np.array([0.0, 1.0, 0.1, 0.8]), []
    for end in range(500, 1_200, 24):
        cold = np.array([0.0, 1.0, 0.1, 0.8])
        passes.append(garch_fit(y[end - 500 : end], warm))
        assert garch_fit(y[end - 500 : end], cold) > 0
        np.testing.assert_allclose(warm, cold, atol=2e-5)
    assert np.mean(passes) < 6.0


def test_a_series_that_cannot_be_fitted_gives_finite_numbers() -> None:
    spike = np.zeros(100)
    spike[50] = 10.0
    for y in (spike, np.tile([1.0, -1.0], 50), np.concatenate((np.full(60, 1e-9), np.full(40, 1.5)))):
        theta = np.array([0.0, 1.0, 0.1, 0.8])
        garch_fit(y, theta)
        assert np.isfinite(theta).all()
        assert variance_after(y, theta)[0] > 0.0


# --- VPIN ------------------------------------------------------------------------------------------------------------

VPIN = FIGURES["vpin"]


def filled(change: Any, sigma: Any, volume: Any, case: dict[str, Any]) -> tuple[Buckets, list[float], list[int]]:
    """Buckets after all bars, VPIN at each bar that filled some, and the bar at which each was full."""
    s, values, ends = buckets_init(case["n_buckets"]), list[float](), list[int]()
    for t, (d, e, v) in enumerate(zip(change, sigma, volume, strict=True)):
        known = s.full
        s = buckets_step(s, float(v), bought(float(d), float(e)), float(case["bucket_volume"]))
        ends += [t] * (s.full - known)
        if s.full > known and s.full >= case["n_buckets"]:
            values.append(s.vpin)
    return s, values, ends


def test_vpin_by_hand() -> None:
    case = VPIN["hand"]
    shares = [bought(d, 1.0) for d in case["price_change"]]
    np.testing.assert_allclose(shares, case["buy_fraction"], rtol=1e-14)
    np.testing.assert_allclose(shares, stats.norm.cdf(case["price_change"]), rtol=1e-12)
    s, values, ends = filled(case["price_change"], [1.0] * 7, case["volume"], case)
    np.testing.assert_allclose(values, case["vpin"], rtol=1e-12)
    assert (ends, s.volume) == (case["bucket_end_bar"], case["leftover_volume"])
    sides = np.array(case["buckets_buy"]) - case["buckets_sell"]
    assert s.net == pytest.approx(sides[-3:].sum() / 30.0)
    assert abs(values[0] - case["abs_outside_sum"][0]) > 0.1


def test_a_bar_that_fills_several_buckets_is_split_and_what_is_left_waits() -> None:
    case = VPIN["one_bar"]
    s, values, _ = filled(case["price_change"], [1.0], case["volume"], case)
    np.testing.assert_allclose(values, case["vpin"], rtol=1e-12)
    assert (s.full, s.volume) == (3, case["leftover_volume"])
    # More than there are: as many of that bar as there are, and counted all.
    s = buckets_step(s, 1e6 + 5.0, 0.25, 10.0)
    assert (s.full, s.volume, s.vpin, s.net) == (100_004, 0.0, 0.5, -0.5)


def test_vpin_with_a_deviation_of_the_bars_before_is_that_of_the_figures() -> None:
    case = VPIN["made"]
    change = np.diff(case["close"], prepend=np.nan)
    sigma = [np.std(w, ddof=1) if (w := change[max(1, t - 50) : t]).size > 1 else np.nan for t in range(change.size)]
    s, values, ends = filled(change, sigma, case["volume"], case)
    np.testing.assert_allclose(values, case["vpin"], rtol=1e-12)
    assert (ends, s.volume) == (case["bucket_end_bar"], case["leftover"])
    assert abs(values[0] - case["leaked"][0]) > 1e-3


def test_what_moves_without_a_deviation_is_one_sided_and_what_stands_still_is_not() -> None:
    for sigma in (0.0, math.nan):
        assert [bought(d, sigma) for d in (0.3, 0.0, -0.3, math.nan)] == [1.0, 0.5, 0.0, 0.5]


# --- ordinal patterns ------------------------------------------------------------------------------------------------

PERMUTATION = FIGURES["permutation"]


def patterns(x: Any, order: int, delay: int, before: Any = ()) -> WindowPatterns:
    """The window of all patterns of x, read after other values."""
    s = patterns_init(len(x) - (order - 1) * delay, order, delay)
    for value in (*before, *x):
        s = patterns_step(s, float(value))
    return s


@pytest.mark.parametrize("name", PERMUTATION["cases"])
def test_permutation_entropy_is_that_of_the_figures(name: str) -> None:
    case = PERMUTATION["cases"][name]
    for key, expected in case["norm"].items():
        order, delay = int(key[1]), int(key[-1])
        before = np.random.default_rng(1).integers(0, 4, 700)
        assert patterns(case["x"], order, delay, before).entropy == pytest.approx(expected, rel=1e-10, abs=1e-14), key


def test_permutation_entropy_is_that_of_bandt_and_pompe() -> None:
    case = PERMUTATION["example"]
    for order in (2, 3):
        found = patterns(case["x"], order, 1).entropy * math.log2(math.factorial(order))
        assert found == pytest.approx(case["bits"][f"order{order}"], rel=1e-12)
        assert found == pytest.approx(case["paper"][f"order{order}"], abs=5e-4)


def test_each_pattern_has_a_code_and_those_that_begin_alike_are_neighbours() -> None:
    for order in (2, 3, 4, 5):
        code, begun = {}, {}
        for x in permutations(range(order)):
            s = patterns(x, order, 1)
            code[x] = int(np.flatnonzero(s.counts)[0])
            begun[x] = tuple(np.argsort(x[:-1]))
        assert sorted(code.values()) == list(range(math.factorial(order)))
        for a, b in pairwise(sorted(code, key=lambda x: code[x])):
            if code[a] // order == code[b] // order:
                assert begun[a] == begun[b]
                assert a[-1] < b[-1]


@pytest.mark.parametrize(("order", "delay"), [(3, 1), (4, 1), (3, 2)])
def test_what_has_followed_is_what_a_search_of_the_window_finds(order: int, delay: int) -> None:
    x, length = np.random.default_rng(3).integers(0, 6, 900) * 0.01, 100
    s, reach = patterns_init(length, order, delay), (order - 1) * delay
    for t, value in enumerate(x):
        s = patterns_step(s, float(value))
        if t < length + reach or t % 41:
            continue
        ends = np.arange(t - length + 1, t + 1)

        def order_of(last: int, x: np.ndarray = x) -> tuple[int, ...]:
            return tuple(np.argsort(x[last - (order - 2) * delay : last + 1 : delay], kind="stable"))

        now = order_of(t + 1 - delay)
        found = [x[u] for u in ends if order_of(u - delay) == now]
        times, total = after(s, beginning(s))
        assert times == len(found)
        assert total == pytest.approx(sum(found) - times * x[ends].mean(), abs=1e-12)


@pytest.mark.parametrize("order", [2, 3, 4, pytest.param(5, marks=pytest.mark.nightly)])
def test_the_weights_of_the_noise_are_those_of_all_overlaps(order: int) -> None:
    """2 n (ln order! - H) is in the limit x' x, x normal with the covariance of the shares' sqrt(n order!)."""

    def codes(values: np.ndarray) -> np.ndarray:
        ranks = np.argsort(np.argsort(values, axis=1), axis=1)
        return np.unique(ranks @ order ** np.arange(order), return_inverse=True)[1]

    kinds = math.factorial(order)
    covariance = np.eye(kinds) - 1.0 / kinds
    for k in range(1, order):
        both = np.array(list(permutations(range(order + k))), dtype=np.int8)
        together = np.zeros((kinds, kinds))
        np.add.at(together, (codes(both[:, :order]), codes(both[:, k:])), 1.0 / len(both))
        covariance += kinds * (together + together.T - 2.0 / kinds**2)
    moments = [np.trace(np.linalg.matrix_power(covariance, power)) for power in (1, 2, 3)]
    np.testing.assert_allclose(WEIGHTS[order - 2], moments, rtol=1e-10)


def entropies(order: int, length: int, runs: int) -> np.ndarray:
    """Of noise, by numpy alone."""
    x = np.random.default_rng(0).standard_normal((runs, length + order - 1))
    ranks = np.argsort(np.lib.stride_tricks.sliding_window_view(x, order, axis=1), axis=2) @ order ** np.arange(order)
    codes = np.unique(ranks, return_inverse=True)[1].reshape(runs, length)
    shares = np.array([np.bincount(row, minlength=math.factorial(order)) for row in codes]) / length
    return -np.sum(np.where(shares > 0.0, shares * np.log(np.maximum(shares, 1e-300)), 0.0), axis=1) / math.log(
        math.factorial(order)
    )


@pytest.mark.parametrize(("order", "length"), [(3, 60), (3, 500), (4, 240), (4, 500), (5, 1_200)])
def test_noise_falls_below_the_bound_as_often_as_is_stated(order: int, length: int) -> None:
    found = entropies(order, length, 2_000)
    for level, most in ((0.01, 0.014), (0.05, 0.06), (0.2, 0.235)):
        share = np.mean(found < entropy_bound(level, length, order))
        error = math.sqrt(level / 2_000)
        assert level - 4.0 * error < share < most + 4.0 * error


def test_noise_is_not_1() -> None:
    null = PERMUTATION["null"]
    found = entropies(null["order"], null["n"] - null["order"] + 1, 500)
    assert found.mean() == pytest.approx(null["mean_norm_white"], abs=4.0 * found.std() / math.sqrt(250))


# --- true ranges -----------------------------------------------------------------------------------------------------

RANGE = FIGURES["range"]


@pytest.mark.parametrize(("name", "seed"), [("hand", "atr_seed_excl_first"), ("made", "atr_talib_convention")])
def test_the_average_true_range_is_that_of_the_figures(name: str, seed: str) -> None:
    case, s, found = RANGE[name], range_init(RANGE[name]["period"]), list[tuple[float, float]]()
    for bar in zip(case["high"], case["low"], case["close"], strict=True):
        s = range_step(s, *map(float, bar))
        found.append((s.value, s.average))
    value, average = np.array(found).T
    np.testing.assert_allclose(value[1:], floats(case["tr"])[1:], rtol=1e-12)
    np.testing.assert_allclose(average, floats(case[seed]), rtol=1e-12)
    if name == "made":
        other, n = floats(case["atr_wilder_seed_from_bar0"]), case["period"]
        gap = np.abs(other - average)[n:]
        np.testing.assert_allclose(gap[40:], gap[:-40] * (1.0 - 1.0 / n) ** 40, rtol=1e-6)
        for wrong in case["naive_wrong"].values():
            assert abs(average[-1] / wrong - 1.0) > 1e-3


def test_slopes_of_price_and_range_are_those_of_the_figures() -> None:
    case, slopes = RANGE["made"], RANGE["slopes"]
    s, price, ranges = range_init(case["period"]), trend_init(slopes["window"]), trend_init(slopes["window"])
    found = list[tuple[float, float]]()
    for high, low, close in zip(case["high"], case["low"], case["close"], strict=True):
        s = range_step(s, float(high), float(low), float(close))
        price, ranges = trend_step(price, math.log(close)), trend_step(ranges, s.average / close)
        found.append((price.slope, ranges.slope))
    expected = np.stack([floats(slopes["slope_log_close"]), floats(slopes["slope_natr"])], axis=1)
    known = ~np.isnan(expected)
    assert known[-80:].all()
    np.testing.assert_allclose(np.array(found)[known], expected[known], rtol=1e-9, atol=1e-15)
    divergence = -np.sign(np.array(found)).prod(axis=1)
    both = known.all(axis=1)
    np.testing.assert_array_equal(divergence[both], floats(slopes["divergence"])[both])


def test_rolling_slopes_are_those_of_a_fit_to_the_window() -> None:
    x = np.cumsum(np.random.default_rng(2).standard_t(3, 1_500)) * 0.01
    x[700] = np.nan
    x[1_100] += 1e3
    s = trend_init(37)
    for t, value in enumerate(x):
        s = trend_step(s, float(value))
        w = x[max(t - 36, 0) : t + 1]
        if w.size < 37 or np.isnan(w).any():
            assert math.isnan(s.slope)
        elif t % 11 == 0:
            assert s.slope == pytest.approx(np.polyfit(np.arange(37), w, 1)[0], rel=1e-7, abs=1e-10)
