"""Every method beside every other: what each would hold of one edge, and what that does to wealth."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from trimtab.bounds import Bounds
from trimtab.portfolio.sizing import paths
from trimtab.portfolio.sizing.chances import (
    growth_rate,
    prob_at_least,
    prob_drawdown_within,
    prob_ever_below,
    volatility,
)
from trimtab.portfolio.sizing.edges import BETWEEN, POSITIVE, Draws, Edge, Estimate, Law, Sample, checked
from trimtab.portfolio.sizing.kelly import (
    confidence_of,
    confidence_scaled,
    fractional_kelly,
    kelly_from_moments,
    measured_kelly_share,
    shrink_for_error,
    volatility_target,
)
from trimtab.portfolio.sizing.ruin import kelly_with_ruin
from trimtab.portfolio.sizing.target import simulated
from trimtab.portfolio.sizing.utility import LogUtility, TargetUtility

#: The policy for a target is simulated on this many paths, in as many steps: it costs more than all the rest.
_TARGET_DRAWS = (10_000, 250)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the methods are asked; times in years, shares as fractions.

    per_year    periods of the law in a year: 1 for an annual Edge, 252 for daily returns
    years       of experience behind the edge
    fraction    that a fixed fraction holds
    target_vol  of a volatility target, per year
    share       of Kelly that fractional Kelly holds
    fall        the loss whose chances are told: from the start, ever, and from a peak within a year
    risk        chance of ever being below 1 - fall that kelly_with_ruin accepts
    ruin        loss of the start that counts as ruin
    goal        multiple of the start to be reached at the horizon
    cap         the largest |fraction| that is held
    """

    per_year: float = 1.0
    years: float = 10.0
    fraction: float = 1.0
    target_vol: float = 0.15
    share: float = 0.5
    fall: float = 0.2
    risk: float = 0.1
    ruin: float = 0.5
    goal: float = 1.2
    horizon: float = 1.0
    cap: float = 10.0
    draws: Draws = Draws()

    def __post_init__(self) -> None:
        for name in ("per_year", "years", "cap", "goal", "horizon"):
            checked(name, getattr(self, name), POSITIVE)
        for name in ("fall", "risk", "ruin"):
            checked(name, getattr(self, name), BETWEEN)
        checked("fraction", self.fraction, Bounds())


class Holding(NamedTuple):
    """What one method holds, and what comes of it; figures per year.

    name       of the method; label: the same for people, with its settings
    fraction   of wealth; wanted: before the cap
    growth     expected log growth; NaN where it is no rate (a policy with a deadline)
    below      P(ever `fall` below the start), by the horizon for a policy with a deadline
    fell       P(a fall of `fall` from a peak within a year), or by that horizon
    ruined     P(ever `ruin` below the start), likewise
    reached    P(the goal at the horizon)
    """

    name: str
    label: str
    fraction: float
    wanted: float
    growth: float
    volatility: float
    below: Estimate
    fell: Estimate
    ruined: Estimate
    reached: Estimate


def holdings(law: Law, question: Question) -> tuple[Holding, ...]:
    """One row per method, from the simplest to the one that asks most."""
    rows = [_held(law, question, *size) for size in _sizes(law, question)]
    edge = annual_edge(law, question.per_year)
    return (*rows, _aimed(edge, question)) if edge is not None else tuple(rows)


def annual_edge(law: Law, per_year: float) -> Edge | None:
    """The diffusion with the law's mean and deviation per year; None for a single bet, which is like none."""
    if isinstance(law, Edge):
        return Edge(law.mean * per_year, law.vol * math.sqrt(per_year), law.rate * per_year)
    if law.returns.size == 2:
        return None
    rate = law.rate * per_year
    return Edge(law.mean * per_year + rate, law.vol * math.sqrt(per_year), rate)


def _sizes(law: Law, q: Question) -> list[tuple[str, str, float]]:
    """Name, label and fraction wanted of the methods that hold a constant fraction."""
    sharpe = law.sharpe * math.sqrt(q.per_year)
    sure = confidence_of(sharpe, q.years)
    kelly = LogUtility().fraction(law)
    sampled = isinstance(law, Sample) and law.returns.size > 2
    # A ratio that was measured is larger than the truth on average; one that is stated is believed.
    kept = measured_kelly_share(sharpe, q.years) if sampled else shrink_for_error(sharpe, q.years)
    target = volatility_target(q.target_vol, volatility(law, 1.0) * math.sqrt(q.per_year))
    rows = [
        ("fixed_fraction", f"Fixed fraction {percent(q.fraction)}", q.fraction),
        ("volatility_target", f"Volatility target {percent(q.target_vol)}", target),
        ("confidence", f"Fixed, {sure:.0%} confidence", q.fraction * confidence_scaled(sure)),
        ("kelly", "Kelly", kelly),
        ("kelly_fraction", f"{percent(q.share)} of Kelly", fractional_kelly(kelly, q.share)),
        ("kelly_shrunk", f"Kelly, shrunk to {kept:.0%}", fractional_kelly(kelly, kept)),
        ("kelly_with_ruin", f"Kelly with ruin, {percent(q.risk)}", kelly_with_ruin(law, 1.0 - q.fall, q.risk)),
    ]
    if sampled:
        moments = kelly_from_moments(law.mean, law.vol**2)
        rows.insert(3, ("kelly_moments", "Kelly, mean/variance", moments))
    return rows


def _held(law: Law, q: Question, name: str, label: str, wanted: float) -> Holding:
    f = math.copysign(min(abs(wanted), q.cap), wanted)
    return Holding(
        name,
        label,
        f,
        wanted,
        growth_rate(law, f) * q.per_year,
        volatility(law, f) * math.sqrt(q.per_year),
        prob_ever_below(law, f, 1.0 - q.fall, q.draws),
        *_in_time(law, q, f),
    )


def _in_time(law: Law, q: Question, f: float) -> tuple[Estimate, Estimate, Estimate]:
    """P(a fall within a year), P(ever ruined), P(the goal at the horizon)."""
    ruined = prob_ever_below(law, f, 1.0 - q.ruin, q.draws)
    if isinstance(law, Edge):
        fell = prob_drawdown_within(law, f, q.fall, q.per_year, q.draws)
        return fell, ruined, prob_at_least(law, f, q.goal, q.horizon * q.per_year)
    year, end = (max(1, round(q.per_year * years)) for years in (1.0, q.horizon))
    walk = paths.walks(law, f, max(year, end), q.draws)  # one set of paths answers both
    reached = paths.estimate(walk[:, end - 1] >= math.log(q.goal))
    return paths.estimate(paths.fell(walk[:, :year], q.fall)), ruined, reached


def _aimed(edge: Edge, q: Question) -> Holding:
    goal = TargetUtility(q.goal, q.horizon, q.cap)
    now, wanted = goal.fraction(edge), TargetUtility(q.goal, q.horizon).fraction(edge)
    paths, steps = _TARGET_DRAWS
    draws = Draws(min(paths, q.draws.paths), steps, q.draws.seed)
    attained = simulated(goal, edge, (1.0 - q.fall, 1.0 - q.ruin), q.fall, draws)
    return Holding(
        "target",
        "Target, at first",
        now,
        wanted,
        math.nan,
        volatility(edge, now),
        attained.below[0],
        attained.fell,
        attained.below[1],
        attained.reached,
    )


def percent(share: float) -> str:
    """0.1 as `10%`, with as many digits as it takes, up to four."""
    return f"{100.0 * share:.4g}%"
