"""Sizing by a goal: the fastest growth, or the best chance of reaching an amount by a day."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from trimtab.bounds import Bounds
from trimtab.portfolio.sizing.edges import POSITIVE, Edge, Law, Sample, checked, gross_of, ruin_fractions
from trimtab.portfolio.sizing.kelly import kelly_from_moments
from trimtab.portfolio.sizing.normal import density, distribution, quantile
from trimtab.types import TrimtabError

#: Halvings of an interval: more than a float has digits.
BISECTIONS: Final = 200


class LogUtility(msgspec.Struct, frozen=True):
    """Maximise E[log wealth] per period: Kelly for whatever returns there are.

    cap  the largest |fraction| that is returned; inf: none but ruin, at which the worst return takes all

    Source: Kelly (1956); Breiman (1961), Proc. 4th Berkeley Symposium 1.
    Dangerous because the best fraction is ruled by the worst returns, and a sample holds too few of them: the next loss
    may be larger than any seen. Hold half of it or less. A sample without a loss has no optimum, and is refused unless
    there is a cap. Returns count as independent; losses that come in a row (a crisis) are worse than that.
    """

    cap: float = math.inf

    def __post_init__(self) -> None:
        checked("cap", self.cap, Bounds(0.0, infinite=True))

    def fraction(self, law: Law) -> float:
        """The growth-optimal fraction of wealth, within the cap; negative: short. 0 where the mean is cash's."""
        best = kelly_from_moments(law.mean, law.vol**2, law.rate) if isinstance(law, Edge) else self._of_sample(law)
        return math.copysign(min(abs(best), self.cap), best)

    def _of_sample(self, sample: Sample) -> float:
        if sample.mean == 0.0:
            return 0.0
        side = math.copysign(1.0, sample.mean)
        ruin = ruin_fractions(sample)[1 if side > 0.0 else 0]
        if math.isinf(ruin):
            if math.isinf(self.cap):
                raise TrimtabError(
                    "no return in the sample loses: growth has no maximum. Are these prices, or too few returns? "
                    "Give more of them, or a cap"
                )
            return side * self.cap
        near, far = 0.0, ruin
        for _ in range(BISECTIONS):  # the slope of a concave function has one root
            middle = 0.5 * (near + far)
            near, far = (middle, far) if side * _slope(sample, middle) > 0.0 else (near, middle)
        return 0.5 * (near + far)


def _slope(sample: Sample, fraction: float) -> float:
    """d E[log wealth] / d fraction."""
    gross = gross_of(sample, fraction)
    live = sample.probability > 0.0
    if float(gross[live].min()) <= 0.0:
        return -math.copysign(math.inf, fraction)
    return float(sample.probability[live] @ (sample.excess[live] / gross[live]))


class TargetUtility(msgspec.Struct, frozen=True):
    """Maximise P(wealth >= target at the horizon), for a diffusion.

    target    multiple of the starting wealth, above 0
    horizon   time to it, in the edge's periods, above 0
    cap       the largest |fraction| that is returned; inf: none
    shortest  time left below which the policy behaves as if there were that much: the guard near the deadline,
              by default a trading day of a year

    What is left over when the target is reached stays in cash, so a target once reached is safe.
    Source: Browne (1999), Advances in Applied Probability 31(2), 551-577, generalising Kulldorff (1993), Heath (1993).
    Dangerous by design: all that matters is the target, so being far from it late means holding more and more, without
    bound as the time runs out, and the paths that miss it mostly lose nearly everything. The chance it promises needs
    trading at every instant, any leverage and no costs; a cap, steps or costs lower it (`simulated` says by how much).
    Use it to learn what a goal asks for, not to trade rent money.
    """

    target: float
    horizon: float
    cap: float = math.inf
    shortest: float = 1.0 / 252.0

    def __post_init__(self) -> None:
        checked("target", self.target, POSITIVE)
        checked("horizon", self.horizon, POSITIVE)
        checked("cap", self.cap, Bounds(0.0, infinite=True))
        checked("shortest", self.shortest, POSITIVE)

    def fraction(self, edge: Edge, wealth: float = 1.0, elapsed: float = 0.0) -> float:
        """The fraction of wealth that Browne's policy holds now, cut by the cap; its size does not depend on the mean.

        wealth   multiple of the start, now
        elapsed  time since the start
        ->       phi(y) / (z vol sqrt(tau)) with z = wealth exp(rate tau) / target, y its normal quantile; short where
                 the mean is below cash's. 0 where cash alone reaches the target (z >= 1), when nothing is left, and
                 from the deadline on
        """
        left = self._left(elapsed)
        z = self._share(edge, wealth, left)
        if left == 0.0 or not 0.0 < z < 1.0:
            return 0.0
        size = density(quantile(z)) / (z * edge.vol * math.sqrt(max(left, self.shortest)))
        return math.copysign(min(size, self.cap), edge.excess)

    def probability(self, edge: Edge, wealth: float = 1.0, elapsed: float = 0.0) -> float:
        """The best chance there is, without cap or guard: Phi(Phi^-1(z) + |sharpe| sqrt(tau)); 1 where z >= 1."""
        left = self._left(elapsed)
        z = self._share(edge, wealth, left)
        if z >= 1.0 or z <= 0.0 or left == 0.0:
            return 1.0 if z >= 1.0 else 0.0
        return distribution(quantile(z) + abs(edge.sharpe) * math.sqrt(left))

    def best_constant(self, edge: Edge) -> float:
        """The constant fraction with the best chance at the horizon: sqrt(2 (log target - rate T) / (vol**2 T)).

        Short where the mean is below cash's; 0 where cash alone reaches the target; cut by the cap.
        """
        needed = math.log(self.target) - edge.rate * self.horizon
        if needed <= 0.0:
            return 0.0
        size = math.sqrt(2.0 * needed / self.horizon) / edge.vol
        return math.copysign(min(size, self.cap), edge.excess)

    def _left(self, elapsed: float) -> float:
        return max(0.0, self.horizon - checked("elapsed", elapsed, Bounds(0.0)))

    def _share(self, edge: Edge, wealth: float, left: float) -> float:
        """Wealth over what reaches the target by itself in cash."""
        return checked("wealth", wealth, Bounds()) * math.exp(edge.rate * left) / self.target
