"""What holds for every record: how the probability of a Sharpe moves, what is undefined, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trimtab.research.inference import sharpe
from trimtab.research.inference.sharpe import Moments
from trimtab.types import TrimtabError

SHARPES = st.floats(-0.5, 0.5)


@st.composite
def records(draw: st.DrawFn, most_skew: float = 2.0) -> Moments:
    skew = draw(st.floats(-3.0, most_skew))
    kurtosis = skew * skew + 1.0 + draw(st.floats(0.1, 12.0))
    return Moments(draw(st.integers(2, 5_000)), draw(SHARPES), skew, kurtosis)


@given(records(most_skew=0.0), SHARPES, st.floats(0.0, 0.3))
def test_a_higher_sharpe_is_more_probable_where_the_tail_is_on_the_left(m: Moments, other: float, b: float) -> None:
    """With positive skew the formula itself turns round at 2 / skew; no market's Sharpe per day is there."""
    low, high = sorted((m.sharpe, other))
    assume(low >= b)
    first, second = (sharpe.probabilistic_sharpe(m._replace(sharpe=s), b) for s in (low, high))
    assert second >= first - 1e-12


@given(records(), SHARPES, SHARPES)
def test_a_higher_benchmark_is_less_probable(m: Moments, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert sharpe.probabilistic_sharpe(m, high) <= sharpe.probabilistic_sharpe(m, low)


@given(records(), st.floats(1.0, 1e6), st.floats(0.0, 1.0), st.floats(1.0, 10.0))
def test_more_trials_never_help(m: Moments, trials: float, variance: float, more: float) -> None:
    one, plain = sharpe.deflated_sharpe(m, trials, variance), sharpe.probabilistic_sharpe(m)
    assert one <= plain
    assert sharpe.deflated_sharpe(m, trials * more, variance) <= one + 1e-12
    assert sharpe.deflated_sharpe(m, trials, variance * more) <= one + 1e-12
    assert sharpe.deflated_sharpe(m, 1, variance) == plain


@given(st.floats(1.0, 1e7))
def test_the_hurdle_is_never_below_what_the_best_shows(trials: float) -> None:
    exact = sharpe.exact_max_sharpe(trials, 1.0)
    assert 0.0 <= exact <= sharpe.hurdle(trials, 1.0) <= 1.03 * exact + 1e-9
    if trials >= 3.0:
        assert sharpe.hurdle(trials, 1.0) == sharpe.expected_max_sharpe(trials, 1.0)


@given(records(), st.floats(-0.2, 0.2), st.floats(0.5, 0.999))
def test_length_critical_sharpe_and_probability_tell_the_same(m: Moments, benchmark: float, confidence: float) -> None:
    psr, needed = sharpe.probabilistic_sharpe(m, benchmark), sharpe.minimum_track_record(m, benchmark, confidence)
    if m.sharpe <= benchmark:
        assert needed == math.inf
    else:
        assert psr > confidence - 1e-9 or m.n <= needed * (1 + 1e-9)
        assert psr < confidence + 1e-9 or m.n >= needed * (1 - 1e-9)
    critical = sharpe.critical_sharpe(m, benchmark, confidence)
    if not math.isnan(critical) and m.n > 100:
        at = sharpe.probabilistic_sharpe(m._replace(sharpe=critical), benchmark)
        assert at == pytest.approx(confidence, abs=1e-6)
        assert sharpe.power(m._replace(sharpe=critical), benchmark, confidence) == pytest.approx(0.5, abs=1e-6)


def test_too_short_for_such_tails_no_sharpe_passes() -> None:
    assert math.isnan(sharpe.critical_sharpe(Moments(8, 0.1, 0.0, 30.0)))
    assert math.isnan(sharpe.power(Moments(8, 0.1, 0.0, 30.0)))
    assert math.isnan(sharpe.critical_sharpe(Moments(1, 0.1)))


@given(st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=60), st.floats(0.1, 10.0))
def test_moments_do_not_depend_on_the_unit(returns: list[float], scale: float) -> None:
    r = np.round(np.array(returns), 3)
    m = sharpe.moments_of(r)
    if np.ptp(r) == 0.0:
        assert all(math.isnan(x) for x in m[1:])
        return
    other = sharpe.moments_of(r * scale / 10.0)
    assert other == pytest.approx(m, rel=1e-6, abs=1e-9)
    assert m.kurtosis >= m.skew**2 + 1.0 - 1e-9
    sharpe.probabilistic_sharpe(m)  # whatever was measured is no mistake of the user's


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        ([], "0 returns"),
        ([0.01], "1 returns"),
        ([0.01, 0.02], "fewer than three"),
        ([0.0] * 50, "all the same"),
        ([0.001] * 50, "all the same"),
    ],
)
def test_undefined_is_nan_with_a_reason(returns: list[float], reason: str) -> None:
    m = sharpe.moments_of(returns)
    assert reason in sharpe.why_undefined(m)
    for value in (
        sharpe.probabilistic_sharpe(m),
        sharpe.deflated_sharpe(m, 5, 0.01),
        sharpe.minimum_track_record(m),
        sharpe.sharpe_error(m),
        sharpe.power(m),
        sharpe.robust_sharpe_error(returns, 0),
    ):
        assert math.isnan(value)


def test_excess_return_is_what_counts() -> None:
    r = np.random.default_rng(0).normal(0.001, 0.01, 300)
    assert sharpe.moments_of(r, 0.0002) == pytest.approx(sharpe.moments_of(r - 0.0002), rel=1e-9)
    assert sharpe.robust_sharpe_error(r, 3, 0.0002) == pytest.approx(
        sharpe.robust_sharpe_error(r - 0.0002, 3), rel=1e-12
    )


def test_annual_factor() -> None:
    assert sharpe.annual_factor([], 252) == pytest.approx(math.sqrt(252), rel=1e-15)
    assert sharpe.annual_factor([0.3], 1) == 1.0  # what is beyond the year does not count
    assert math.isnan(sharpe.annual_factor([-0.9] * 11, 12))
    r = np.array([1.0, -1.0] * 8) / 100.0
    assert sharpe.autocorrelations(r, 2) == pytest.approx([-15 / 16, 14 / 16])
    assert np.isnan(sharpe.autocorrelations(np.zeros(9), 3)).all()


def test_annual_sharpe_of_returns_that_go_on_is_below_the_square_root_rule_and_its_error_is_right() -> None:
    """2,000 records of an AR(1) of 0.2: the mean estimate and its deviation, to 4 standard errors."""
    rng, phi, rows, per_day = np.random.default_rng(0), 0.2, 750, 0.05
    shocks = rng.standard_normal((2_000, rows + 50))
    r = np.zeros((2_000, rows + 50))
    for t in range(1, rows + 50):
        r[:, t] = phi * r[:, t - 1] + shocks[:, t]
    r = 0.01 * (r[:, 50:] * math.sqrt(1 - phi**2) + per_day)
    found = [sharpe.annual_sharpe(each, 252, 1) for each in r]
    values, errors = np.array(found).T
    truth = sharpe.annual_factor(phi ** np.arange(1, 252), 252) * per_day
    assert truth < 0.85 * math.sqrt(252) * per_day
    # The lag that is left out (0.04) makes the factor some 3% too large.
    assert values.mean() == pytest.approx(truth, abs=0.05 * truth + 4 * values.std() / math.sqrt(2_000))
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)
    assert all(math.isnan(x) for x in sharpe.annual_sharpe([0.01] * 9, 252, 1))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sharpe.probabilistic_sharpe(Moments(100, 0.1, -3.0, 7.0)), "excess kurtosis"),
        (lambda: sharpe.probabilistic_sharpe(Moments(100, math.inf)), "finite moments"),
        (lambda: sharpe.probabilistic_sharpe(Moments(100, 0.1), math.nan), "benchmark"),
        (lambda: sharpe.probabilistic_sharpe(Moments(-1, 0.1)), "number of returns"),
        (lambda: sharpe.moments_of([0.1, math.nan, 0.2]), r"returns\[1\]"),
        (lambda: sharpe.moments_of([[0.1], [0.2]]), "one axis"),
        (lambda: sharpe.minimum_track_record(Moments(100, 0.1), 0.0, 95.0), "0.95"),
        (lambda: sharpe.minimum_track_record(Moments(100, 0.1), 0.0, 0.3), "0.95"),
        (lambda: sharpe.deflated_sharpe(Moments(100, 0.1), 0, 0.1), "trials is 0"),
        (lambda: sharpe.deflated_sharpe(Moments(100, 0.1), math.nan, 0.1), "trials is nan"),
        (lambda: sharpe.deflated_sharpe(Moments(100, 0.1), 5, math.nan), "variance is nan"),
        (lambda: sharpe.deflated_sharpe(Moments(100, 0.1), 5, -0.1), "variance is -0.1"),
        (lambda: sharpe.minimum_backtest_length(5, 0.0), "above 0"),
        (lambda: sharpe.annual_factor([1.5], 12), "from -1 to 1"),
        (lambda: sharpe.annual_factor([0.5], 0), "periods is 0"),
        (lambda: sharpe.autocorrelations([0.1, 0.2], 2), "lags is 2"),
        (lambda: sharpe.robust_sharpe_error([0.1, 0.2, 0.3], -1), "lags is -1"),
    ],
)
def test_what_is_no_input_is_refused(call: object, said: str) -> None:
    with pytest.raises(TrimtabError, match=said):
        call()  # type: ignore[operator]
