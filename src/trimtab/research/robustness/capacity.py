"""How much money it bears: the same decisions at other capitals, under market impact and with limited participation.

The impact of a fill grows with its size over the average daily volume (`impact` and `impact_power` of the costs), and
a bar's volume bounds what may fill in it. What is not cost but size stays as the spec has it, among it limits in
money. Capacity is the capital at which the Sharpe is half of what it is without impact and without that bound, found
by bisection on runs.

Source: Almgren, Thum, Hauptmann, Li (2005), Direct Estimation of Equity Market Impact, Risk 18(7), for impact by
power of size over volume; half of the Sharpe as the measure of capacity is ours.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import msgspec
import numpy as np

from trimtab.research.backtest import run_spec
from trimtab.research.robustness.outcome import NAN, Outcome, Progress, check_count, driven, outcome_of, outcomes
from trimtab.types import Costs, Panel, Spec, TrimtabError

#: The share of the Sharpe that is left at capacity.
HALF: Final = 0.5


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Capitals from low to high, base currency, in equal ratios.

    participation  largest share of a bar's volume, where the costs set none
    tolerance      of the capacity, relative
    """

    low: float = 1e4
    high: float = 1e9
    points: int = 11
    participation: float = 0.1
    tolerance: float = 0.01


class CapacityCurve(NamedTuple):
    """What each capital comes to; free: the spec's capital without impact and with all volume to itself.

    capacity  smallest capital at which the Sharpe is half of the free one; NaN, with why, where it is not among them
    """

    capitals: tuple[float, ...]
    outcomes: tuple[Outcome, ...]
    free: Outcome
    capacity: float
    why: str = ""


def capacity(
    spec: Spec, panel: Panel, how: Capacity | None = None, progress: Progress = None, threads: int | None = None
) -> CapacityCurve:
    """A spec's run at each capital. What strategies say knows no capital, so each is folded once."""
    how = how or Capacity()
    _check(how)
    base = run_spec(spec, panel)
    bounded = [_bounded(each, how.participation) for each in base.costs]
    free = outcome_of(driven(base, spec, [each._replace(impact=0.0, participation=np.inf) for each in base.costs]))

    def at(capital: float) -> Outcome:
        return outcome_of(driven(base, with_capital(spec, capital / base.capital), bounded))

    capitals = tuple(np.geomspace(how.low, how.high, how.points).tolist())
    found = outcomes(how.points, lambda k: at(capitals[k]), progress, threads)

    def ends(capital: float, why: str = "") -> CapacityCurve:
        return CapacityCurve(capitals, tuple(found), free, capital, why)

    if not any(each.impact > 0.0 for each in base.costs):
        return ends(NAN, "the costs have no impact, so size costs nothing: give `impact` in the costs")
    if not free.sharpe > 0.0:
        return ends(NAN, free.why or f"the Sharpe without impact is {free.sharpe:.2f}: there is no half of it to keep")
    enough = [one.sharpe >= HALF * free.sharpe for one in found]  # False where it is NaN
    if not enough[0]:
        return ends(NAN, f"half of the Sharpe is lost already at the smallest capital, {how.low:,.0f}")
    if all(enough):
        return ends(NAN, f"more than half of the Sharpe is left at the largest capital, {how.high:,.0f}")
    # Money that cannot be invested any more trades less, and may do better again: the first fall counts.
    k = enough.index(False)
    low, high = capitals[k - 1], capitals[k]
    while high / low > 1.0 + how.tolerance:
        middle = math.sqrt(low * high)
        if at(middle).sharpe >= HALF * free.sharpe:
            low = middle
        else:
            high = middle
    return ends(math.sqrt(low * high))


def with_capital(spec: Spec, factor: float) -> Spec:
    """The spec with its capital and its cash flows times a factor."""
    money = spec.capital
    capital = {name: v * factor for name, v in money.items()} if isinstance(money, dict) else money * factor
    flows = tuple(msgspec.structs.replace(flow, amount=flow.amount * factor) for flow in spec.cash_flows)
    return msgspec.structs.replace(spec, capital=capital, cash_flows=flows)


def _bounded(costs: Costs, participation: float) -> Costs:
    return costs if costs.participation < np.inf else costs._replace(participation=participation)


def _check(how: Capacity) -> None:
    check_count("points", how.points, 2)
    if not 0.0 < how.low < how.high < math.inf:
        raise TrimtabError(f"low {how.low:g} and high {how.high:g}: expected capitals above 0, the smaller one first")
    if not 0.0 < how.participation <= 1.0:
        raise TrimtabError(f"participation is {how.participation}: expected a share of a bar's volume, above 0 to 1")
    if not 0.0 < how.tolerance < 1.0:
        raise TrimtabError(f"tolerance is {how.tolerance}: expected a fraction between 0 and 1, such as 0.01")
