"""Figures of one series of simple returns: growth, reward per unit of risk, tails.

Undefined is NaN, never 0. The one infinity is a ratio of gains to losses with gains and no loss. Returns that are not
finite or below -1 are refused, never dropped.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab.types import F64, I64, TrimtabError

NAN = math.nan

# ---------------------------------------------------------------------------------------------------------------------
# Reading the input
# ---------------------------------------------------------------------------------------------------------------------


def check_returns(returns: ArrayLike, name: str = "returns") -> F64:
    """The same returns as float64 (D,); refused with the place and the remedy if one is not finite or below -1."""
    r = np.ascontiguousarray(returns, dtype=np.float64)
    if r.ndim != 1:
        raise TrimtabError(f"{name}: expected one axis (D,), got shape {r.shape}; pass one series at a time")
    # One pass each, no temporary: a NaN anywhere makes min NaN, and the comparison false.
    if r.size and not (r.min() >= -1.0 and r.max() < math.inf):
        at = int(np.flatnonzero(~((r >= -1.0) & (r < math.inf)))[0])
        raise TrimtabError(
            f"{name}[{at}] is {r[at]}: expected a finite simple return of at least -1 (-100%); "
            "mend the series first, a missing day cannot be guessed"
        )
    return r


def returns_from_equity(equity: ArrayLike, flows: ArrayLike | None = None) -> F64:
    """Simple returns between neighbouring points of an equity curve, time-weighted where cash was paid in or out.

    equity  (D+1,)  money, the starting equity first, > 0; it may end at 0 (a book that lost everything stays there)
    flows   (D,)    net cash paid in before each point, taken off before the point is compared; None: none was
    ->      (D,)    fraction
    Raises TrimtabError where equity is negative or not finite, or is positive again after 0.
    """
    e = np.ascontiguousarray(equity, dtype=np.float64)
    if e.ndim != 1 or e.size == 0 or not e[0] > 0.0:
        raise TrimtabError("equity: expected one axis (D+1,) that starts with the capital, above 0")
    if not (e.min() >= 0.0 and e.max() < math.inf):
        at = int(np.flatnonzero(~((e >= 0.0) & (e < math.inf)))[0])
        raise TrimtabError(
            f"equity[{at}] is {e[at]}: expected a finite amount of at least 0; the book lost more than it had, "
            "so returns from here mean nothing; lower the leverage or set limits.drawdown_halt"
        )
    before, after = e[:-1], e[1:] if flows is None else e[1:] - np.asarray(flows, dtype=np.float64)
    ruined = before == 0.0
    if ruined.any() and bool((after[ruined] > 0.0).any()):
        raise TrimtabError("equity is positive again after 0: returns are not defined; cut the series where it ends")
    return np.divide(after, before, out=np.ones_like(after), where=~ruined) - 1.0


def is_flat(returns: ArrayLike) -> bool:
    """True if the returns are one number but for rounding: their range is at most 1e-12 of the largest magnitude.

    The standard deviation of a constant is rarely exactly 0 in floating point, so it must not be what is tested.
    """
    r = np.asarray(returns, dtype=np.float64)
    if r.size == 0:
        return True
    low, high = float(r.min()), float(r.max())
    return high - low <= 1e-12 * max(abs(low), abs(high))


def equity_from_returns(returns: ArrayLike, start: float = 1.0) -> F64:
    """start compounded with returns: (D+1,), the start first, so that a loss on the first day is a drawdown."""
    r = check_returns(returns)
    equity = np.empty(r.size + 1)
    equity[0] = start
    np.add(r, 1.0, out=equity[1:])
    return np.cumprod(equity, out=equity)


def per_period(rate: float, periods: float) -> float:
    """An annual rate as a rate per period, compounding: (1 + rate) ** (1 / periods) - 1."""
    if not rate > -1.0 or not periods > 0.0:
        raise TrimtabError(f"rate {rate} and periods {periods}: expected a rate above -1 and periods per year above 0")
    return (1.0 + rate) ** (1.0 / periods) - 1.0


# ---------------------------------------------------------------------------------------------------------------------
# Return
# ---------------------------------------------------------------------------------------------------------------------


def total_return(returns: ArrayLike) -> float:
    """Growth over the whole span: product of (1 + r) - 1, fraction; NaN if empty."""
    r = check_returns(returns)
    return float(np.prod(1.0 + r)) - 1.0 if r.size else NAN


def cagr(returns: ArrayLike, periods: float) -> float:
    """Compound annual growth: (1 + total return) ** (periods / D) - 1.

    returns  (D,)  simple returns, fraction
    periods        periods per year; time is counted in observations, not by the calendar
    ->             fraction per year; -1 after losing everything; NaN if empty
    """
    r = check_returns(returns)
    return annual_growth(total_return(r), r.size, periods)


def money_weighted_return(flows: ArrayLike, years: ArrayLike, final: float) -> float:
    """The annual rate at which everything paid in would have grown to the final equity (internal rate of return).

    flows  (F,)  money paid in (negative: out), the capital among it
    years  (F,)  from each flow to the end
    ->           fraction per year; of several rates that fit, the one nearest to 0; NaN where none does
    """
    paid, left = np.asarray(flows, dtype=np.float64), np.asarray(years, dtype=np.float64)
    if not left.size or not left.max() > 0.0:
        return NAN

    def short(rate: float) -> float:
        return float((paid * np.exp(rate * left)).sum()) - final

    reach = 30.0 / float(left.max())  # the largest growth that is looked for: a factor of e^30
    grid = np.linspace(-1.0, 1.0, 2001) ** 3 * reach  # finer around 0
    values = np.array([short(float(rate)) for rate in grid])
    crossed = np.flatnonzero((values[1:] > 0.0) != (values[:-1] > 0.0))
    if not crossed.size:
        return NAN
    at = int(crossed[np.abs(grid[crossed]).argmin()])
    low, high, rising = float(grid[at]), float(grid[at + 1]), bool(values[at + 1] > values[at])
    for _ in range(200):
        middle = 0.5 * (low + high)
        if (short(middle) > 0.0) == rising:
            high = middle
        else:
            low = middle
    return math.expm1(0.5 * (low + high))


def annual_growth(total: float, n: int, periods: float) -> float:
    """A total return over n periods as growth per year; see cagr."""
    if n == 0:
        return NAN
    if total <= -1.0:
        return -1.0
    try:
        return math.expm1(math.log1p(total) * periods / n)
    except OverflowError:  # a span of a few days may compound past the largest float
        return NAN


def volatility(returns: ArrayLike, periods: float = 1.0) -> float:
    """Sample standard deviation (ddof = 1) times sqrt(periods), fraction; 0 if flat; NaN if D < 2."""
    r = check_returns(returns)
    if r.size < 2:
        return NAN
    return 0.0 if is_flat(r) else float(r.std(ddof=1)) * math.sqrt(periods)


def period_returns(returns: ArrayLike, ts: I64, unit: str = "M") -> tuple[I64, F64]:
    """Returns compounded over calendar months ("M") or years ("Y"), UTC.

    returns, ts  (D,)  daily simple returns and their day-end instants, ns UTC, rising; 00:00 ends the day before
    ->           (P,)  months (years) since 1970, and (P,) their returns; periods without a day are left out
    """
    r = check_returns(returns)
    if ts.shape != r.shape:
        raise TrimtabError(f"ts has shape {ts.shape}, returns {r.shape}: expected one instant per return")
    if r.size == 0:
        return np.empty(0, np.int64), np.empty(0)
    # Month edges are searched for in ts: far cheaper than turning every stamp into a calendar date.
    ends = np.array([ts[0] - 1, ts[-1] - 1], np.int64).view("M8[ns]").astype(f"M8[{unit}]").astype(np.int64)
    number = np.arange(ends[0], ends[1] + 1, dtype=np.int64)
    edges = number.view(f"M8[{unit}]").astype("M8[ns]").astype(np.int64)
    start = np.searchsorted(ts, edges, side="right")
    start[0] = 0
    present = np.diff(np.append(start, r.size)) > 0
    return number[present], np.multiply.reduceat(1.0 + r, start[present]) - 1.0


# ---------------------------------------------------------------------------------------------------------------------
# Reward per unit of risk
# ---------------------------------------------------------------------------------------------------------------------


def sharpe_ratio(returns: ArrayLike, periods: float, risk_free_rate: float = 0.0) -> float:
    """Mean over standard deviation of excess returns, annualised: reward per unit of risk.

    returns         (D,)  simple returns, fraction
    periods               periods per year (365 round-the-clock, 252 sessions)
    risk_free_rate        per year; taken off each period as (1 + rate) ** (1 / periods) - 1
    ->                    per sqrt(year); NaN if D < 2 or the returns are flat

    Sample deviation (ddof = 1). Source: Sharpe (1994), J. Portfolio Management 21(1).
    """
    r = check_returns(returns)
    if r.size < 2 or is_flat(r):
        return NAN
    return (float(r.mean()) - per_period(risk_free_rate, periods)) / float(r.std(ddof=1)) * math.sqrt(periods)


def sortino_ratio(returns: ArrayLike, periods: float, target: float = 0.0) -> float:
    """Mean excess over the downside deviation, annualised: reward per unit of bad risk.

    returns  (D,)  simple returns, fraction
    target         minimum acceptable return per year; per period (1 + target) ** (1 / periods) - 1
    ->             per sqrt(year); NaN if D < 2 or no return is below the target

    The downside deviation is sqrt(mean(min(r - target, 0) ** 2)) over ALL D observations.
    Source: Sortino & van der Meer (1991), J. Portfolio Management 17(4).
    """
    r = check_returns(returns)
    if r.size < 2:
        return NAN
    shortfall = r - per_period(target, periods)
    mean = float(shortfall.mean())
    np.minimum(shortfall, 0.0, out=shortfall)
    downside = math.sqrt(float(np.square(shortfall, out=shortfall).mean()))
    # A constant return at the target itself leaves only rounding below it.
    if downside <= 1e-12 * max(abs(float(r.min())), abs(float(r.max()))):
        return NAN
    return mean / downside * math.sqrt(periods)


def calmar_ratio(growth: float, deepest: float) -> float:
    """CAGR over |maximum drawdown|: NaN without a drawdown. Source: Young (1991), Futures 20(1)."""
    return growth / abs(deepest) if deepest < 0.0 else NAN


def omega_ratio(returns: ArrayLike, threshold: float = 0.0) -> float:
    """Sum of gains over sum of losses about a threshold per period.

    threshold  per-period return, fraction
    ->         inf with gains and no loss; NaN with neither. Source: Keating & Shadwick (2002)
    """
    r = check_returns(returns)
    return gain_to_loss(r - threshold if threshold else r)


def gain_to_loss(x: F64) -> float:
    """Sum of what is above 0 over |sum of what is below|; inf without losses, NaN with neither."""
    part = np.maximum(x, 0.0)
    gains = float(part.sum())
    losses = -float(np.minimum(x, 0.0, out=part).sum())
    if losses > 0.0:
        return gains / losses
    return math.inf if gains > 0.0 else NAN


def bps_score(sharpe: float, growth: float, win_rate: float, deepest: float) -> float:
    """0.4 Sharpe + 0.3 CAGR + 0.2 win rate - 0.1 |maximum drawdown|, all as fractions.

    The sign of the drawdown does not matter. NaN if any part is: an undefined score ranks last. Here the win rate is
    that of closed trades. It has nothing to do with basis points.
    """
    return 0.4 * sharpe + 0.3 * growth + 0.2 * win_rate - 0.1 * abs(deepest)


def skewness(returns: ArrayLike) -> float:
    """Third central moment over the 1.5th power of the second (population moments); NaN if D < 3 or flat."""
    r = check_returns(returns)
    if r.size < 3 or is_flat(r):
        return NAN
    centred = r - r.mean()
    squared = centred * centred
    second = float(squared.mean())
    return float(np.multiply(squared, centred, out=squared).mean()) / second**1.5


# ---------------------------------------------------------------------------------------------------------------------
# Tails
# ---------------------------------------------------------------------------------------------------------------------


class Tails(NamedTuple):
    """The two ends of a distribution of returns, each as a return: a loss is negative."""

    var: float
    cvar: float
    tail_ratio: float


def tails(returns: ArrayLike, level: float = 0.95) -> Tails:
    """Value at risk, expected shortfall and tail ratio of one series, from a single partial sort.

    returns  (D,)  simple returns, fraction
    ->       var         the (1 - level) quantile, linear between order statistics (Hyndman-Fan type 7): historical,
                         not the Gaussian approximation
             cvar        mean of the worst (1 - level) share; where (1 - level) D is not whole, the next order
                         statistic enters with the fraction that is left, which keeps the measure coherent
             tail_ratio  the level quantile over |var|; NaN unless the one is a gain and the other a loss
             NaN if empty

    Source: Acerbi & Tasche (2002), J. Banking & Finance 26(7).
    """
    r = check_returns(returns)
    n = r.size
    if n == 0:
        return Tails(NAN, NAN, NAN)
    low, high = (1.0 - level) * (n - 1), level * (n - 1)
    share = (1.0 - level) * n
    whole = min(math.floor(share + 1e-9), n - 1)  # 20 days at 95% are one day, though (1 - 0.95) * 20 is a hair above
    ordered = np.partition(r, sorted({whole, *_neighbours(low, n), *_neighbours(high, n)}))
    var, top = _between(ordered, low), _between(ordered, high)
    tail = float(ordered[:whole].sum()) + max(share - whole, 0.0) * float(ordered[whole])
    return Tails(var, tail / share, top / -var if var < 0.0 < top else NAN)


def _neighbours(at: float, n: int) -> tuple[int, int]:
    return math.floor(at), min(math.floor(at) + 1, n - 1)


def _between(ordered: F64, at: float) -> float:
    lower, upper = (float(ordered[i]) for i in _neighbours(at, ordered.size))
    return lower + (upper - lower) * (at - math.floor(at))


def tail_mean(returns: ArrayLike, level: float = 0.95) -> float:
    """Mean of the returns at or below the value at risk: the simpler shortfall that many tools print."""
    r = check_returns(returns)
    return float(r[r <= tails(r, level).var].mean()) if r.size else NAN
