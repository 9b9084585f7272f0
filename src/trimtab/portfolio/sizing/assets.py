"""Kelly for several assets at once, under a cap on leverage.

The problem is a convex quadratic one whose only constraint is a bound on sum |w|. A small active-set method solves it
exactly in a few linear systems, so the core needs neither scipy nor a modelling language, and the answer does not
depend on a solver's tolerance.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.bounds import Bounds
from trimtab.portfolio.sizing.edges import FINITE, checked
from trimtab.types import F64, TrimtabError

#: A gradient beyond the multiplier by less than this share of the largest mean is rounding.
_ROUNDING = 1e-12


def kelly_of_assets(
    mean: ArrayLike, covariance: ArrayLike, rate: float = 0.0, leverage: float = math.inf, long_only: bool = False
) -> F64:
    """The fractions of wealth that grow fastest: maximise rate + w'(mean - rate) - w'Cw / 2 with sum |w| <= leverage.

    mean        (N,)    arithmetic means per period, fraction
    covariance  (N, N)  of the returns over the SAME period, symmetric and positive definite
    rate                of cash over that period
    leverage            largest sum of |w|, above 0; inf: none, and w is C^-1 (mean - rate)
    long_only           no fraction below 0
    ->          (N,)    fractions of wealth; the rest, 1 - sum w, is in cash (below 0: borrowed)

    Source: Merton (1969); MacLean, Thorp, Ziemba (2011), The Kelly Capital Growth Investment Criterion. The cap turns
    the problem into the lasso of Tibshirani (1996); the method is that of Lawson, Hanson (1974), ch. 23, with signs.
    Dangerous with estimated inputs: C^-1 looks for the combinations with the least variance, which are those that the
    sample understates most, and holds them with the most leverage. Two assets that move alike with slightly different
    means come out as a huge long and a huge short. Shrink the covariance, shrink the means harder, cap the leverage,
    hold half. Means and covariance say nothing of jumps that come together.

    Raises TrimtabError for shapes that do not fit, NaN, and a covariance that is not positive definite (an asset twice,
    or fewer returns than assets).
    """
    m, c = _checked_moments(mean, covariance)
    excess = m - checked("rate", rate, FINITE)
    budget = checked("leverage", leverage, Bounds(0.0, low_open=True, infinite=True))
    return _active_set(excess, c, budget, long_only)


def _active_set(excess: F64, c: F64, budget: float, long_only: bool) -> F64:
    """Grow the set of held assets by the one whose marginal growth exceeds the price of leverage most.

    Within a set, and with the signs as they are, the best is one linear system; a step to it stops where a fraction
    would change its sign, and that asset leaves. Each set that is settled grows faster than the last: it ends.
    """
    n = excess.size
    w, sign = np.zeros(n), np.zeros(n)
    price = 0.0
    for _ in range(100 * (n + 1)):
        marginal = excess - c @ w
        gain = np.where(sign == 0.0, marginal if long_only else np.abs(marginal), -np.inf) - price
        best = int(gain.argmax())
        if not gain[best] > _ROUNDING * np.abs(excess).max():
            return w
        sign[best] = math.copysign(1.0, marginal[best])
        w, price = _settle(w, sign, excess, c, budget)
    raise TrimtabError("the covariance is too close to singular to size by: leave out assets that move alike")


def _settle(w: F64, sign: F64, excess: F64, c: F64, budget: float) -> tuple[F64, float]:
    """The best fractions with these signs, assets that would change theirs left out (their sign set to 0)."""
    while True:
        held = np.flatnonzero(sign)
        wanted, price = _with_signs(excess[held], c[np.ix_(held, held)], sign[held], budget)
        crossed = wanted * sign[held] <= 0.0
        if not crossed.any():
            w = np.zeros_like(w)
            w[held] = wanted
            return w, price
        here = w[held]
        reach = np.full(held.size, np.inf)
        reach[crossed] = here[crossed] / (here[crossed] - wanted[crossed])
        step = float(reach.min())
        w = w.copy()
        w[held] = here + step * (wanted - here)
        gone = held[reach <= step]
        w[gone], sign[gone] = 0.0, 0.0
        if gone.size == held.size:
            return w, price


def _with_signs(excess: F64, c: F64, sign: F64, budget: float) -> tuple[F64, float]:
    """Maximise growth over fractions with sign @ w <= budget; the multiplier of that is the price of leverage."""
    free, priced = np.linalg.solve(c, np.column_stack((excess, sign))).T
    over = float(sign @ free) - budget
    if over <= 0.0:
        return free, 0.0
    price = over / float(sign @ priced)
    return free - price * priced, price


def _checked_moments(mean: ArrayLike, covariance: ArrayLike) -> tuple[F64, F64]:
    m: NDArray[np.float64] = np.array(mean, np.float64)
    c: NDArray[np.float64] = np.array(covariance, np.float64)
    if m.ndim != 1 or m.size == 0 or c.shape != (m.size, m.size):
        raise TrimtabError(f"mean {m.shape} and covariance {c.shape}: expected (N,) and (N, N)")
    if not (np.isfinite(m).all() and np.isfinite(c).all()):
        raise TrimtabError("mean and covariance: expected finite numbers, found NaN or infinity")
    scale = np.sqrt(np.outer(c.diagonal(), c.diagonal()))
    if not (c.diagonal() > 0.0).all() or (np.abs(c - c.T) > 1e-9 * scale).any():
        raise TrimtabError("covariance: expected a symmetric matrix with variances above 0 on its diagonal")
    if float(np.linalg.eigvalsh(c / scale).min()) < 1e-10:
        raise TrimtabError(
            "covariance: expected a positive definite matrix; an asset is there twice, or there are fewer returns than "
            "assets. Leave assets out, or shrink the covariance towards its diagonal"
        )
    return m, 0.5 * (c + c.T)
