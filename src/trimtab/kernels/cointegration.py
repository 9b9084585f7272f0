"""Do two series share one trend? Engle-Granger, Johansen, half-life, and the false discoveries among many tests.

Plain numpy over a whole window, for a strategy's `fit`: a test of cointegration has no step. Everything is a function
of the window alone, so that the same window gives the same bits.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from trimtab.types import F64, TrimtabError

#: MacKinnon (1994), J. Business & Economic Statistics 12(2), tables for two series with a constant: P(t) is the normal
#: distribution of a polynomial in t, another one above the star than below it; beyond the bounds it is 0 and 1.
_STAR: Final = -2.62
_BOUNDS: Final = (-18.86, 0.92)
_SMALL: Final = (2.92, 1.5012, 0.039796)
_LARGE: Final = (2.1945, 0.64695, -0.29198, -0.042377)

#: MacKinnon (2010), table 2, two series with a constant: critical value = b0 + b1 / n + b2 / n^2, by level.
_CRITICAL: Final = {
    0.01: (-3.89644, -10.9519, -33.527),
    0.05: (-3.33613, -6.1101, -6.823),
    0.10: (-3.04445, -4.2412, -2.72),
}

#: MacKinnon, Haug, Michelis (1999), J. Applied Econometrics 14(5), with a constant, 5%: trace and largest eigenvalue,
#: by the number of trends under the null, from 1.
TRACE_5: Final = (3.8415, 15.4943, 29.7961)
LARGEST_5: Final = (3.8415, 14.2639, 21.1314)

#: What least squares leaves of y below this share of its variance is rounding: the two are one series.
_SAME: Final = 1e-12


class EngleGranger(NamedTuple):
    """y = intercept + slope * x + residual: t of the residual's pull towards 0, and its probability without one."""

    slope: float
    intercept: float
    t: float
    p: float


class Johansen(NamedTuple):
    """Squared canonical correlations (N,), largest first; trace and largest-eigenvalue statistics for rank 0, 1, …

    vectors  (N, N) columns, each 1 on the first series: the combinations that come back
    """

    eigenvalues: F64
    trace: F64
    largest: F64
    vectors: F64


def line(y: F64, x: F64) -> tuple[float, float]:
    """Least squares of y on x with a constant: slope and intercept; NaN where x does not vary."""
    dx = x - x.mean()
    spread = float(dx @ dx)
    if not spread > 0.0:
        return math.nan, math.nan
    slope = float(dx @ (y - y.mean())) / spread
    return slope, float(y.mean() - slope * x.mean())


def unit_root_t(residual: F64, lags: int) -> float:
    """t of the level in change_t = rho * level_{t-1} + sum of a_j * change_{t-j} + e, j = 1 … lags, without a constant.

    ->  NaN where there are too few rows, or nothing varies

    Source: Dickey, Fuller (1979), J. American Statistical Association 74; Said, Dickey (1984) with lags.
    """
    change = np.diff(residual)
    rows = len(change) - lags
    if rows <= lags + 2:
        return math.nan
    columns = [residual[lags:-1], *(change[lags - j : len(change) - j] for j in range(1, lags + 1))]
    design, wanted = np.stack(columns, axis=1), change[lags:]
    squares = design.T @ design
    if not np.linalg.cond(squares) < 1e14:
        return math.nan
    inverse = np.linalg.inv(squares)
    found = inverse @ (design.T @ wanted)
    left = wanted - design @ found
    variance = float(left @ left) / (rows - lags - 1)
    if not variance > 0.0:
        return math.nan
    return float(found[0]) / math.sqrt(variance * float(inverse[0, 0]))


def engle_granger_p(t: float) -> float:
    """P(t or less) where two series are not cointegrated, with a constant in the line; NaN for NaN.

    Not the distribution of a plain unit-root test: the line was fitted to make the residual look stationary, and the
    plain one rejects three times too often. Source: MacKinnon (1994).
    """
    if math.isnan(t):
        return math.nan
    if t < _BOUNDS[0]:
        return 0.0
    if t > _BOUNDS[1]:
        return 1.0
    coefficients = _SMALL if t <= _STAR else _LARGE
    return 0.5 * math.erfc(-sum(c * t**k for k, c in enumerate(coefficients)) / math.sqrt(2.0))


def engle_granger_critical(rows: int, level: float) -> float:
    """The t below which a window of so many rows rejects at level 0.01, 0.05 or 0.10. Source: MacKinnon (2010)."""
    return sum(b / rows**k for k, b in enumerate(_CRITICAL[level]))


def engle_granger(y: F64, x: F64, lags: int) -> EngleGranger:
    """Engle-Granger test of y on x (T,): small p says that y - slope * x comes back.

    ->  t and p are NaN where x does not vary, and where y is x but for scale and rounding: a copy of a series looks
        perfectly cointegrated with it and is no pair

    Not symmetric: x on y is another test; the smaller of the two p counts twice. Source: Engle, Granger (1987),
    Econometrica 55(2).
    """
    slope, intercept = line(y, x)
    residual = y - slope * x - intercept
    gap = y - y.mean()
    if not float(residual @ residual) > _SAME * float(gap @ gap):  # NaN too
        return EngleGranger(slope, intercept, math.nan, math.nan)
    t = unit_root_t(residual, lags)
    return EngleGranger(slope, intercept, t, engle_granger_p(t))


def johansen(data: F64, lags: int) -> Johansen:
    """Johansen's test of N series (T, N) with a constant: how many of their combinations come back.

    lags  of the changes, one fewer than those of the autoregression in levels

    TrimtabError where the rows are too few, or the series are not independent of each other.
    Source: Johansen (1991), Econometrica 59(6).
    """
    change = np.diff(data, axis=0)
    size = data.shape[1]
    rows = len(change) - lags
    if rows <= size * (lags + 1) + 1:
        raise TrimtabError(f"johansen: {len(data)} rows are too few for {size} series and {lags} lags")
    known = [np.ones((rows, 1)), *(change[lags - j : len(change) - j] for j in range(1, lags + 1))]
    design = np.concatenate(known, axis=1)
    both = np.concatenate((change[lags:], data[lags:-1] - data.mean(axis=0)), axis=1)
    left = both - design @ np.linalg.lstsq(design, both, rcond=None)[0]
    s = left.T @ left / rows
    s00, s01, s11 = s[:size, :size], s[:size, size:], s[size:, size:]
    try:
        root = np.linalg.cholesky(s11)
        half = np.linalg.solve(root, s01.T)
        values, found = np.linalg.eigh(half @ np.linalg.solve(s00, half.T))
    except np.linalg.LinAlgError:
        raise TrimtabError("johansen: the series are not independent of each other, or stand still") from None
    values = np.clip(values[::-1], 0.0, 1.0 - 1e-16)
    vectors = np.linalg.solve(root.T, found[:, ::-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        vectors = vectors / vectors[0]
    steps = -rows * np.log1p(-values)
    return Johansen(values, np.cumsum(steps[::-1])[::-1], steps, vectors)


def rank_of(found: Johansen) -> int:
    """How many combinations come back by the trace statistic at 5%: the first rank that is not rejected.

    ->  0 no tie; N each series comes back by itself, which is no tie either
    """
    size = len(found.trace)
    return next((r for r in range(size) if not found.trace[r] > TRACE_5[size - r - 1]), size)


def half_life(spread: F64) -> float:
    """Rows after which half of a gap is closed: ln 2 / -ln(phi), spread_t = c + phi * spread_{t-1} + e, least squares.

    ->  inf where it does not come back (phi >= 1), 0 where the next row forgets it (phi <= 0), NaN where nothing varies

    A walk has a finite half-life too, for phi is biased down: test first. Source: Ornstein-Uhlenbeck in discrete time;
    Kendall (1954), Biometrika 41 (the bias).
    """
    phi, _ = line(spread[1:], spread[:-1])
    if math.isnan(phi):
        return math.nan
    if phi >= 1.0:
        return math.inf
    return math.log(2.0) / -math.log(phi) if phi > 0.0 else 0.0


def discoveries(p: F64, rate: float) -> list[int]:
    """Which of many tests to believe: at most `rate` of them are expected to be wrong.

    p   (M,) probabilities; NaN is a test that was not made
    ->  their places, the smallest p first, equals in order

    Step-up: all up to the last of the sorted p that is at most rate * its rank / M, whatever stands between. It holds
    where the tests are independent or depend positively on each other, as those of pairs with a common leg do.
    Source: Benjamini, Hochberg (1995), J. Royal Statistical Society B 57(1).
    """
    order = [int(k) for k in np.argsort(p, kind="stable") if not math.isnan(p[k])]
    passing = [rank for rank, k in enumerate(order, 1) if p[k] <= rate * rank / len(order)]
    return order[: passing[-1]] if passing else []
