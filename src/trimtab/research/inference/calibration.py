"""What the tests say of noise, and of an edge that is known: measured, beside what they should say.

A court that passes noise more often than it claims is worthless, and so is one that never passes anything. Noise is
drawn anew for each seed 0, 1, 2, …; none is ever chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab.portfolio.sizing.edges import Estimate
from trimtab.portfolio.sizing.normal import quantile
from trimtab.portfolio.sizing.paths import estimate
from trimtab.research.inference.bootstrap import Resampling, indices
from trimtab.research.inference.overfitting import probability_of_overfitting
from trimtab.research.inference.sharpe import Moments, deflated_sharpe, hurdle, moments_of, probabilistic_sharpe
from trimtab.research.inference.superiority import superior
from trimtab.research.inference.trials import sharpe_variance, sharpes_of
from trimtab.research.ratios import check_returns, is_flat
from trimtab.types import F64, TrimtabError

#: Deviation per period of every kind of noise: that of a day of a stock index.
VOLATILITY: Final = 0.01

#: (random numbers, rows, columns) -> (rows, columns) returns of mean 0 and deviation VOLATILITY, independent by column.
Noise = Callable[[np.random.Generator, int, int], F64]

#: Families that are drawn at a time where a rate is computed.
_CHUNK: Final = 4096


def independent(rng: np.random.Generator, rows: int, columns: int) -> F64:
    """Normal returns, independent of each other."""
    return rng.normal(0.0, VOLATILITY, (rows, columns))


def clustered(rng: np.random.Generator, rows: int, columns: int) -> F64:
    """GARCH(1, 1): calm and wild times, no correlation between returns; each column begins at its long-run variance.

    Source: Bollerslev (1986), J. Econometrics 31; shock 0.08 and persistence 0.90, as stock indices have them.
    """
    shock, persistence = 0.08, 0.90
    drawn = rng.standard_normal((rows, columns))
    variance = np.ones(columns)
    for t in range(rows):
        drawn[t] *= np.sqrt(variance)
        variance = (1.0 - shock - persistence) + shock * drawn[t] ** 2 + persistence * variance
    return VOLATILITY * drawn


def shuffled(returns: ArrayLike, mean_block: float) -> Noise:
    """Real returns (D,) in blocks drawn at random, held long or short by the toss of a coin for each of them.

    Tails, and calm and wild times, stay as they were. Without the coin more would: blocks of 20 days of a stock index
    still fall in wild times and turn round the day after, so that their Sharpe estimates lean upward and disperse by
    0.85 of what those of independent returns do; that is no noise.
    """
    r = check_returns(returns)
    if is_flat(r):
        raise TrimtabError("returns are all the same: there is nothing to shuffle")
    scaled = r / math.sqrt(float((r * r).mean())) * VOLATILITY

    def noise(rng: np.random.Generator, rows: int, columns: int) -> F64:
        how = Resampling(mean_block, columns, int(rng.integers(2**62)))
        coin = 2.0 * rng.integers(0, 2, (rows, columns)) - 1.0
        return coin * scaled[indices(scaled.size, how, rows)].T

    return noise


class Family(NamedTuple):
    """Trials of which the best is judged: `trials` records of `rows` returns; the first has a true Sharpe of `edge`.

    edge is per period; 0: all are noise
    """

    trials: int
    rows: int
    edge: float = 0.0


# ---------------------------------------------------------------------------------------------------------------------
# Deflated Sharpe
# ---------------------------------------------------------------------------------------------------------------------


def deflated_sharpes(noise: Noise, family: Family, repeats: int) -> F64:
    """(repeats,) DSR of the best trial of each family, N and V counted over the family; family k from seed k."""
    found = np.empty(repeats)
    for seed in range(repeats):
        returns = _drawn(noise, family, seed)
        sharpes = sharpes_of(returns)
        m = moments_of(returns[:, int(np.nanargmax(sharpes))])
        found[seed] = deflated_sharpe(m, family.trials, sharpe_variance(sharpes))
    return found


def deflated_pass_rate(noise: Noise, family: Family, repeats: int, confidence: float = 0.95) -> Estimate:
    """Share of families whose best trial has a DSR at or above the confidence."""
    _check(repeats)
    return estimate(deflated_sharpes(noise, family, repeats) >= confidence)


def computed_pass_rate(family: Family, confidence: float = 0.95, draws: int = 200_000) -> Estimate:
    """What `deflated_pass_rate` should be: from the law of the Sharpe estimates alone, no return is drawn.

    The estimates are normal with a deviation of sqrt((1 + SR^2 / 2) / rows); V is theirs, so it varies by family, and
    with few trials that matters: a rate for the true V would be another. Exact to 1 / rows; its error is that of the
    draws.
    """
    if family.trials == 1 and family.edge == 0.0:
        return Estimate(1.0 - confidence)
    rng = np.random.default_rng(0)
    z = quantile(confidence)
    expected = hurdle(family.trials, 1.0)
    passed: list[F64] = []
    for first in range(0, draws, _CHUNK):
        s = rng.standard_normal((min(_CHUNK, draws - first), family.trials))
        s[:, 0] = family.edge * math.sqrt(family.rows) + math.sqrt(1.0 + 0.5 * family.edge**2) * s[:, 0]
        best = s.max(axis=1)
        deviation = s.std(axis=1, ddof=1) if family.trials > 1 else np.zeros(len(s))
        passed.append((best - expected * deviation) / np.sqrt(1.0 + 0.5 * best * best / family.rows))
    return estimate(np.concatenate(passed) >= z)


def edge_pass_rate(
    noise: Noise, truth: Moments, repeats: int, benchmark: float = 0.0, confidence: float = 0.95
) -> Estimate:
    """Share of records with the truth's length and Sharpe that pass against a given benchmark; see sharpe.power.

    A Sharpe is known where the deviation is: with clustered volatility a record's own deviation is often below the
    long-run one, and its Sharpe above the truth by 3 / 8 of the relative variance of its variance (5% in 500 rows).
    """
    _check(repeats)
    passed = np.empty(repeats, np.bool_)
    family = Family(1, truth.n, truth.sharpe)
    for seed in range(repeats):
        m = moments_of(_drawn(noise, family, seed)[:, 0])
        passed[seed] = probabilistic_sharpe(m, benchmark) >= confidence
    return estimate(passed)


# ---------------------------------------------------------------------------------------------------------------------
# Overfitting and superiority
# ---------------------------------------------------------------------------------------------------------------------


def mean_overfitting(noise: Noise, family: Family, blocks: int, repeats: int) -> Estimate:
    """PBO on average over families and its standard error: 0.5 where all are noise, near 0 with a large edge."""
    _check(repeats)
    found = np.empty(repeats)
    for seed in range(repeats):
        found[seed] = probability_of_overfitting(_drawn(noise, family, seed), blocks).pbo
    return estimate(found)


class Rejections(NamedTuple):
    """How often each p-value is at or below the level."""

    reality: Estimate
    lower: Estimate
    consistent: Estimate
    upper: Estimate


def rejection_rate(noise: Noise, family: Family, how: Resampling, repeats: int, level: float = 0.05) -> Rejections:
    """Share of families in which a model is called better than cash; the level, where all are noise.

    how  of each test; its seed is followed by those of the families
    """
    _check(repeats)
    found = np.empty((repeats, 4), np.bool_)
    for seed in range(repeats):
        s = superior(_drawn(noise, family, seed), how._replace(seed=how.seed + seed))
        found[seed] = [p <= level for p in (s.reality, s.lower, s.consistent, s.upper)]
    return Rejections(*(estimate(column) for column in found.T))


def _check(repeats: int) -> None:
    if repeats < 2:
        raise TrimtabError(f"repeats is {repeats}: expected 2 or more, or a rate has no error")


def _drawn(noise: Noise, family: Family, seed: int) -> F64:
    if family.trials < 1 or family.rows < 3:
        raise TrimtabError(f"{family}: expected one trial or more, of three returns or more")
    returns = noise(np.random.default_rng(seed), family.rows, family.trials)
    returns[:, 0] += family.edge * VOLATILITY
    return returns
