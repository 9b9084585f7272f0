"""What a Sharpe ratio proves: its probability, the record it needs, and what the best of many trials has to beat.

All of it is per period: Sharpe, its variance among trials, and the number of observations count the same periods. An
annualised Sharpe beside daily observations gives a probability of nearly 1 to anything.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab.portfolio.sizing.edges import Estimate
from trimtab.portfolio.sizing.normal import density, distribution, quantile
from trimtab.research.ratios import check_returns, is_flat, sharpe_ratio, skewness
from trimtab.types import F64, TrimtabError

NAN: Final = math.nan
EULER: Final = 0.5772156649015329

#: Skew and kurtosis of any sample obey kurtosis >= skew^2 + 1; what is below by more than this was not measured.
_ROUNDING: Final = 1e-9
_NORMAL_SKEW: Final = 0.0
_NORMAL_KURTOSIS: Final = 3.0


class Moments(NamedTuple):
    """What the tests here need to know of a record.

    n         observations
    sharpe    per period, sample deviation (ddof = 1)
    skew      population moments
    kurtosis  population moments, full: 3 for the normal distribution
    """

    n: int
    sharpe: float
    skew: float = _NORMAL_SKEW
    kurtosis: float = _NORMAL_KURTOSIS


def moments_of(returns: ArrayLike, rate: float = 0.0) -> Moments:
    """Moments of a record; the three figures are NaN with fewer than three returns, or when all are the same.

    returns  (D,)  simple returns, fraction
    rate           risk-free, per period: taken off each return
    """
    r = check_returns(returns)
    skew = skewness(r)
    if math.isnan(skew):
        return Moments(r.size, NAN, NAN, NAN)
    centred = r - r.mean()
    squared = centred * centred
    kurtosis = float((squared * squared).mean()) / float(squared.mean()) ** 2
    return Moments(r.size, sharpe_ratio(r, 1.0, rate), skew, kurtosis)


def why_undefined(m: Moments) -> str:
    """Why the probability of this record's Sharpe is NaN, in words; empty where it is a number."""
    if m.n < 2:
        return f"{m.n} returns: a deviation takes two at least"
    if math.isnan(m.sharpe):
        return "the returns are all the same, or fewer than three: Sharpe is undefined"
    if math.isnan(m.skew) or math.isnan(m.kurtosis):
        return "skew or kurtosis is undefined"
    if not _spread(m) > 0.0:
        return "skew, kurtosis and Sharpe lie where the variance of the estimate is 0 (two outcomes only)"
    return ""


def probabilistic_sharpe(m: Moments, benchmark: float = 0.0) -> float:
    """PSR: the probability that the true Sharpe is above the benchmark.

    benchmark  Sharpe per period
    ->         (0, 1); NaN where `why_undefined` says so

    Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)).
    Source: Bailey, López de Prado (2012), J. Risk 15(2).
    """
    _check(m)
    _check_finite("benchmark", benchmark)
    if why_undefined(m):
        return NAN
    return distribution((m.sharpe - benchmark) * math.sqrt(m.n - 1) / math.sqrt(_spread(m)))


def minimum_track_record(m: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """MinTRL: how many observations this Sharpe takes to be above the benchmark at the confidence.

    ->  observations, not whole; m.n does not enter. inf where Sharpe is not above the benchmark: no record will do.
        NaN where `why_undefined` says so

    Source: Bailey, López de Prado (2012), J. Risk 15(2).
    """
    _check(m)
    _check_finite("benchmark", benchmark)
    z = _quantile_of(confidence)
    if math.isnan(m.sharpe) or not _spread(m) > 0.0:
        return NAN
    if m.sharpe <= benchmark:  # the square below would hide the sign
        return math.inf
    reach = z / (m.sharpe - benchmark)
    return 1.0 + _spread(m) * reach * reach


# ---------------------------------------------------------------------------------------------------------------------
# The best of many
# ---------------------------------------------------------------------------------------------------------------------


def expected_max_sharpe(trials: float, variance: float) -> float:
    """What the best of N trials without skill shows on average, by the paper's formula.

    trials    N >= 1, every trial that was made; not whole where it is an effective number
    variance  V of the trials' Sharpe, per period
    ->        per period; 0 for a single trial

    sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e))), g Euler's constant. It is up to 2.5% high, and 8% low for N = 2.
    Source: Bailey, López de Prado (2014), J. Portfolio Management 40(5).
    """
    _check_family(trials, variance)
    if trials == 1.0:
        return 0.0
    typical = (1.0 - EULER) * -quantile(1.0 / trials) + EULER * -quantile(1.0 / (trials * math.e))
    return math.sqrt(variance) * typical


def exact_max_sharpe(trials: float, variance: float) -> float:
    """As `expected_max_sharpe`, by the integral that the formula approximates: the mean of the largest of N normals."""
    _check_family(trials, variance)
    return math.sqrt(variance) * _mean_of_largest(float(trials))


def hurdle(trials: float, variance: float) -> float:
    """SR0, what the best of N trials has to beat: the formula, or the integral where that is higher (N < 3).

    For N of 3 and more this is the paper's figure; for fewer its formula is too kind, and below 1.6 negative.
    """
    return max(expected_max_sharpe(trials, variance), exact_max_sharpe(trials, variance))


def deflated_sharpe(m: Moments, trials: float, variance: float) -> float:
    """DSR: the probability that the true Sharpe is above what the best of N trials without skill shows.

    trials, variance  N and V over every trial that was made, the discarded ones too; V per period, as m.sharpe
    ->                (0, 1); NaN where `why_undefined` says so; with one trial PSR against 0

    Source: Bailey, López de Prado (2014), J. Portfolio Management 40(5).
    """
    return probabilistic_sharpe(m, hurdle(trials, variance))


def minimum_backtest_length(trials: float, sharpe: float) -> float:
    """Years below which the best of N trials without skill is expected to show this annual Sharpe; 0 for one trial.

    Source: Bailey, Borwein, López de Prado, Zhu (2014), Notices of the AMS 61(5).
    """
    if not sharpe > 0.0:
        raise TrimtabError(f"sharpe is {sharpe}: expected an annual Sharpe above 0")
    return (expected_max_sharpe(trials, 1.0) / sharpe) ** 2


@lru_cache(maxsize=256)
def _mean_of_largest(n: float) -> float:
    """E of the largest of n standard normals, n not always whole: integral of x n phi(x) Phi(x)^(n - 1).

    The trapezoid rule is exact to rounding here, because the integrand and all its derivatives vanish at both ends.
    """
    if n == 1.0:
        return 0.0
    step = 1.0 / 32.0
    total = 0.0
    for k in range(-12 * 32, 12 * 32 + 1):
        x = k * step
        # log1p keeps what is left of 1 in the upper tail, where it decides when n is large.
        below = math.log1p(-distribution(-x)) if x > 0.0 else math.log(distribution(x))
        total += x * density(x) * math.exp((n - 1.0) * below)
    return n * total * step


# ---------------------------------------------------------------------------------------------------------------------
# Power: what would be needed
# ---------------------------------------------------------------------------------------------------------------------


def critical_sharpe(m: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """The Sharpe from which a record of this length, skew and kurtosis passes; m.sharpe does not enter.

    ->  per period; NaN where no Sharpe passes: the record is too short for such tails
    """
    _check(m._replace(sharpe=0.0))
    _check_finite("benchmark", benchmark)
    z = _quantile_of(confidence)
    if m.n < 2:
        return NAN
    left, square = m.n - 1.0, z * z
    # (x - benchmark)^2 (n - 1) = z^2 (1 - skew x + (kurtosis - 1) / 4 x^2): the root above the benchmark counts.
    a = left - square * (m.kurtosis - 1.0) / 4.0
    b = -2.0 * benchmark * left + square * m.skew
    c = benchmark * benchmark * left - square
    if a == 0.0:
        return NAN
    inside = b * b - 4.0 * a * c
    if inside < 0.0:
        return NAN
    roots = sorted((-b + sign * math.sqrt(inside)) / (2.0 * a) for sign in (-1.0, 1.0))
    return next((x for x in roots if x >= benchmark), NAN)


def power(m: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """The probability that a record with this true Sharpe passes: PSR at or above the confidence.

    m   the truth: Sharpe per period, length, skew and kurtosis
    ->  (0, 1), by the normal law of the estimate; NaN where no Sharpe passes
    """
    _check(m)
    needed = critical_sharpe(m, benchmark, confidence)
    if math.isnan(needed) or why_undefined(m):
        return NAN
    return distribution((m.sharpe - needed) / math.sqrt(_spread(m) / (m.n - 1)))


# ---------------------------------------------------------------------------------------------------------------------
# Error and annualisation
# ---------------------------------------------------------------------------------------------------------------------


def sharpe_error(m: Moments) -> float:
    """Standard error of a Sharpe of independent returns: sqrt((1 - skew SR + (kurtosis - 1) / 4 SR^2) / n), per period.

    Source: Lo (2002), Financial Analysts J. 58(4) for normal returns, Mertens (2002) for others.
    """
    _check(m)
    return NAN if why_undefined(m) else math.sqrt(_spread(m) / m.n)


def robust_sharpe_error(returns: ArrayLike, lags: int, rate: float = 0.0) -> float:
    """Standard error of a Sharpe of returns that depend on each other or change their volatility, per period.

    returns  (D,)  simple returns, fraction
    lags           of the Newey-West weights: 0 takes returns as independent
    rate           risk-free, per period
    ->             NaN where Sharpe is undefined, or lags are not fewer than returns

    The deviation of both mean and variance, by the delta method. Source: Lo (2002), Financial Analysts J. 58(4), GMM.
    """
    r = check_returns(returns)
    if lags < 0:
        raise TrimtabError(f"lags is {lags}: expected 0 or more")
    if r.size < 3 or is_flat(r) or lags >= r.size:
        return NAN
    centred = r - r.mean()
    variance = float((centred * centred).mean())
    deviation = math.sqrt(variance)
    sharpe = (float(r.mean()) - rate) / deviation
    # What one return adds to the estimate: its influence on the mean, less that on the deviation.
    influence = centred / deviation - 0.5 * sharpe * (centred * centred / variance - 1.0)
    total = float(influence @ influence)
    for lag in range(1, lags + 1):
        total += 2.0 * (1.0 - lag / (lags + 1.0)) * float(influence[lag:] @ influence[:-lag])
    return math.sqrt(total) / r.size


def annual_factor(correlations: ArrayLike, periods: int) -> float:
    """What multiplies a Sharpe per period to that of `periods` of them, when returns depend on each other.

    correlations  (L,)  autocorrelations of the returns from lag 1 on; beyond them 0
    periods             whole number, 252 for days of a year
    ->                  sqrt(periods) where all are 0; NaN where they are no autocorrelations (a variance below 0)

    periods / sqrt(periods + 2 sum (periods - k) rho_k). Source: Lo (2002), Financial Analysts J. 58(4).
    """
    rho = np.asarray(correlations, dtype=np.float64)
    if rho.ndim != 1 or not np.isfinite(rho).all() or (np.abs(rho) > 1.0).any():
        raise TrimtabError("correlations: expected one axis of autocorrelations from lag 1 on, each from -1 to 1")
    if periods < 1:
        raise TrimtabError(f"periods is {periods}: expected a whole number of periods, 1 or more")
    rho = rho[: periods - 1]
    variance = periods + 2.0 * float((periods - np.arange(1.0, rho.size + 1.0)) @ rho)
    return periods / math.sqrt(variance) if variance > 0.0 else NAN


def annual_sharpe(returns: ArrayLike, periods: int, lags: int, rate: float = 0.0) -> Estimate:
    """Sharpe of a year and its standard error, for returns that depend on each other over so many lags.

    returns  (D,)  simple returns, fraction
    periods        per year, a whole number
    lags           autocorrelations that are estimated and not taken as 0; few beside D, or they are noise
    rate           risk-free, per period
    ->             value: `annual_factor` times the Sharpe per period; error: as many times `robust_sharpe_error`, which
                   takes the factor as known. NaN where either is undefined
    """
    r = check_returns(returns)
    factor = annual_factor(autocorrelations(r, lags), periods) if r.size > 2 and not is_flat(r) else NAN
    return Estimate(factor * moments_of(r, rate).sharpe, factor * robust_sharpe_error(r, lags, rate))


def autocorrelations(returns: ArrayLike, lags: int) -> F64:
    """(lags,) autocorrelations from lag 1 on, about the mean of the whole record; NaN where the returns are flat."""
    r = check_returns(returns)
    if not 0 <= lags < max(r.size, 1):
        raise TrimtabError(f"lags is {lags}: expected 0 or more, and fewer than the {r.size} returns")
    if is_flat(r):
        return np.full(lags, NAN)
    centred = r - r.mean()
    whole = float(centred @ centred)
    return np.array([float(centred[k:] @ centred[:-k]) / whole for k in range(1, lags + 1)])


# ---------------------------------------------------------------------------------------------------------------------
# What is no input
# ---------------------------------------------------------------------------------------------------------------------


def _spread(m: Moments) -> float:
    """(n - 1) times the variance of the estimated Sharpe."""
    return 1.0 - m.skew * m.sharpe + 0.25 * (m.kurtosis - 1.0) * m.sharpe * m.sharpe


def _check(m: Moments) -> None:
    if m.n < 0:
        raise TrimtabError(f"n is {m.n}: expected the number of returns")
    if math.isinf(m.sharpe) or math.isinf(m.skew) or math.isinf(m.kurtosis):
        raise TrimtabError(f"{m}: expected finite moments, or NaN where they are undefined")
    least = m.skew * m.skew + 1.0
    if m.kurtosis < least - _ROUNDING * least:
        raise TrimtabError(
            f"kurtosis {m.kurtosis:.6g} with skew {m.skew:.6g}: no returns have less than skew^2 + 1 = {least:.6g}; "
            "is it excess kurtosis? Add 3: the normal distribution has 3 here"
        )


def _check_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise TrimtabError(f"{name} is {value}: expected a finite Sharpe per period")


def _check_family(trials: float, variance: float) -> None:
    if not 1.0 <= trials < math.inf:
        raise TrimtabError(f"trials is {trials}: expected the number of trials, 1 or more")
    if not 0.0 <= variance < math.inf:
        raise TrimtabError(f"variance is {variance}: expected that of the trials' Sharpe per period, 0 or more")


def _quantile_of(confidence: float) -> float:
    if not 0.5 <= confidence < 1.0:
        raise TrimtabError(f"confidence is {confidence}: expected a fraction from 0.5 to below 1, such as 0.95")
    return quantile(confidence)
