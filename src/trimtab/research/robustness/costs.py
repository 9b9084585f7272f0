"""What is left at another price of trading, and the price at which nothing is.

Trading costs are multiplied: fees, spreads, slippage, impact, and latency, whose cost grows with its square root and
which is therefore multiplied by the square. A rebate (a fee below 0) does not grow. What holding costs (funding,
borrow, interest), how much may fill and how often a venue rejects are no price of trading and stay.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from trimtab.bounds import RANGES
from trimtab.research.backtest import run_spec
from trimtab.research.robustness.outcome import NAN, Outcome, Progress, driven, outcome_of, outcomes
from trimtab.types import Costs, Panel, Spec, TrimtabError

#: Fields of Costs that are a fraction of the price or of the notional.
PRICED: Final = ("maker_fee", "taker_fee", "half_spread", "vol_spread", "slippage", "impact")
#: Beyond it nobody looks for a break-even.
MOST: Final = 1024.0


class CostSweep(msgspec.Struct, frozen=True, kw_only=True):
    """multiples of the spec's costs; tolerance: of the break-even multiple, relative to 1 or to itself."""

    multiples: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
    tolerance: float = 1e-3


class CostSwept(NamedTuple):
    """What each multiple of the costs comes to; break_even: the multiple at which the book earns nothing.

    break_even  found by bisection on runs: at it the total return changes its sign; NaN, with why, where it does not
    """

    multiples: tuple[float, ...]
    outcomes: tuple[Outcome, ...]
    break_even: float
    why: str = ""


def cost_sweep(
    spec: Spec, panel: Panel, how: CostSweep | None = None, progress: Progress = None, threads: int | None = None
) -> CostSwept:
    """A spec's run at multiples of its costs. What strategies say knows no costs, so each is folded once."""
    how = how or CostSweep()
    if not how.multiples or not all(0.0 <= k <= MOST for k in how.multiples):
        raise TrimtabError(f"multiples are {how.multiples}: expected factors from 0 to {MOST:g}, such as (0.5, 1, 2)")
    if not 0.0 < how.tolerance < 1.0:
        raise TrimtabError(f"tolerance is {how.tolerance}: expected a fraction between 0 and 1, such as 1e-3")
    base = run_spec(spec, panel)

    def at(multiple: float) -> Outcome:
        return outcome_of(driven(base, spec, [times(each, multiple) for each in base.costs]))

    found = outcomes(len(how.multiples), lambda k: at(how.multiples[k]), progress, threads)
    if all(times(each, 0.0) == each for each in base.costs):
        return CostSwept(how.multiples, tuple(found), NAN, "the costs are 0: a multiple of them changes nothing")
    if not at(0.0).total_return > 0.0:
        return CostSwept(how.multiples, tuple(found), NAN, "it earns nothing without any costs either")
    low, high = 0.0, 1.0
    while at(high).total_return > 0.0:
        low, high = high, 2.0 * high
        if high > MOST:
            return CostSwept(how.multiples, tuple(found), NAN, f"it still earns something at {MOST:g} times its costs")
    while high - low > how.tolerance * max(1.0, low):
        middle = 0.5 * (low + high)
        if at(middle).total_return > 0.0:
            low = middle
        else:
            high = middle
    return CostSwept(how.multiples, tuple(found), 0.5 * (low + high))


def times(costs: Costs, multiple: float) -> Costs:
    """Trading costs times a factor >= 0, no cost beyond the largest that is accepted; the rest of Costs as it is."""
    factors = dict.fromkeys(PRICED, multiple) | {"latency": multiple * multiple}
    if costs.maker_fee < 0.0:
        factors["maker_fee"] = min(multiple, 1.0)
    changed = {
        name: min(getattr(costs, name) * factor, RANGES[f"costs.{name}"].high) for name, factor in factors.items()
    }
    return costs._replace(**changed)
