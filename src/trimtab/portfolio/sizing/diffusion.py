"""What becomes of wealth that holds a constant fraction of a geometric Brownian motion: closed forms.

log wealth is then a Brownian motion with drift `growth_rate` and deviation `volatility` per unit of time.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from trimtab.portfolio.sizing.edges import Edge
from trimtab.portfolio.sizing.normal import density, distribution, mills_ratio
from trimtab.types import F64

#: A volatility whose square is no normal float.
_NOTHING: Final = 1e-150
#: Terms beyond exp(-_NEGLIGIBLE) of the series are left out; more than _TERMS would be a volatility of next to nothing.
_NEGLIGIBLE: Final = 46.0
_TERMS: Final = 20_000
#: Largest exponent before the series: beyond it, its terms cancel down to less than 9 digits.
_CANCELLATION: Final = 16.0


def growth_rate(edge: Edge, fraction: float) -> float:
    """Drift of log wealth: rate + f * excess - f**2 vol**2 / 2."""
    return edge.rate + fraction * edge.excess - 0.5 * (fraction * edge.vol) ** 2


def volatility(edge: Edge, fraction: float) -> float:
    """Deviation of log wealth per square root of time: |f| vol; 0 for less than a float can square."""
    vol = abs(fraction) * edge.vol
    return vol if vol > _NOTHING else 0.0


def prob_ever_below(edge: Edge, fraction: float, level: float) -> float:
    """P(wealth ever <= level * start) = level ** (2 growth / volatility**2); 1 without growth.

    Source: Thorp (2006), sec. 7.
    """
    growth, vol = growth_rate(edge, fraction), volatility(edge, fraction)
    if vol == 0.0:
        return 0.0 if growth >= 0.0 else 1.0
    return level ** (2.0 * growth / vol**2) if growth > 0.0 else 1.0


def prob_below_within(edge: Edge, fraction: float, level: float, horizon: float) -> float:
    """P(wealth <= level * start at some time up to the horizon).

    Source: Karatzas, Shreve (1991), Brownian Motion and Stochastic Calculus, 3.5.C.
    """
    growth, vol = growth_rate(edge, fraction), volatility(edge, fraction)
    k, drift, spread = math.log(level), growth * horizon, vol * math.sqrt(horizon)
    if spread == 0.0:
        return 1.0 if drift <= k else 0.0
    # The second term, exp(2 growth k / vol**2) Phi(beyond), is a large number times a small one where wealth falls.
    beyond, short = (k + drift) / spread, (k - drift) / spread
    if growth > 0.0:
        mirrored = math.exp(2.0 * growth * k / vol**2) * distribution(beyond)
    else:
        mirrored = density(short) * mills_ratio(beyond)
    return min(1.0, distribution(short) + mirrored)


def prob_at_least(edge: Edge, fraction: float, target: float, horizon: float) -> float:
    """P(wealth >= target * start at the horizon)."""
    drift = growth_rate(edge, fraction) * horizon
    spread = volatility(edge, fraction) * math.sqrt(horizon)
    gap = drift - math.log(target)
    if spread == 0.0:
        return 1.0 if gap >= 0.0 else 0.0
    return distribution(gap / spread)


def prob_drawdown_within(edge: Edge, fraction: float, depth: float, horizon: float) -> float:
    """P(a fall of `depth` from a running peak, the start included, within the horizon); NaN where it is not exact.

    The distance of log wealth from its peak is a Brownian motion reflected at 0; the chance that it has not met
    h = -log(1 - depth) is a sum over the roots of tan(theta) = theta / a, a = growth * h / volatility**2:
    2 exp(-a) theta sin(theta) / (theta**2 + a**2 - a) * exp(-(theta**2 + a**2) volatility**2 T / (2 h**2)).
    For a > 1 the first root is imaginary.

    NaN where wealth falls so surely, and so smoothly, that the terms of the series cancel.
    Source: Magdon-Ismail, Atiya, Pratap, Abu-Mostafa (2004), J. Applied Probability 41(1), brought into one form.
    """
    growth, vol, h = growth_rate(edge, fraction), volatility(edge, fraction), -math.log1p(-depth)
    if vol == 0.0:
        return 1.0 if growth * horizon <= -h else 0.0
    return _met(growth * h / vol**2, vol**2 * horizon / (2.0 * h * h))


def _met(a: float, time: float) -> float:
    """P(met) in the units of `prob_drawdown_within`: time = volatility**2 T / (2 h**2)."""
    if abs(a - 1.0) < 1e-4:  # two roots meet at 0: the series is smooth there, its terms are not
        return 0.5 * (_met(a - 2e-4, time) + _met(a + 2e-4, time))
    if a < -_CANCELLATION and -a - a * a * time > _CANCELLATION:
        return math.nan
    if time * math.pi**2 * _TERMS**2 < _NEGLIGIBLE:
        return 0.0 if a > -_CANCELLATION else math.nan  # deviation of less than h / 20,000
    count = min(_TERMS, int(math.sqrt(_NEGLIGIBLE / time) / math.pi) + 3)
    theta = _roots(a, count)
    square = theta * theta
    terms = theta * np.sin(theta) / (square + a * a - a) * np.exp(-a - (square + a * a) * time)
    survival = 2.0 * math.fsum(terms)
    if a > 1.0:
        survival += _imaginary_term(a, time)
    return min(1.0, max(0.0, 1.0 - survival))


def _roots(a: float, count: int) -> F64:
    """The positive roots of a sin(theta) = theta cos(theta), which are theta = n pi + atan2(theta, a), rising."""
    n = np.arange(1 if a > 1.0 else 0, count, dtype=np.float64)
    low, high = n * math.pi, (n + 1.0) * math.pi
    if 0.0 < a < 1.0:
        low[0] = math.sqrt(a - a * a)  # left of it lies the root 0, which is none
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = middle - np.arctan2(middle, a) > n * math.pi
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    return 0.5 * (low + high)


def _imaginary_term(a: float, time: float) -> float:
    """The term of the root theta = i eta, tanh(eta) = eta / a, for a > 1."""
    low, high = math.sqrt(a * a - a), a
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if a * math.tanh(middle) > middle else (low, middle)
    eta = 0.5 * (low + high)
    decay = (a / math.cosh(eta)) ** 2 if eta < 350.0 else 0.0  # a**2 - eta**2 without its cancellation
    # exp(-a) sinh(eta), neither of which a float holds for large a
    bounded = 0.5 * (math.exp(eta - a) - math.exp(-eta - a))
    return 2.0 * eta * bounded / (eta * eta + a - a * a) * math.exp(-decay * time)
