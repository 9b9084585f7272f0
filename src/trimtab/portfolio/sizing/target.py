"""Reaching a target: bold and timid play of even-money bets, exactly, and what a capped policy really attains."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from trimtab.bounds import Bounds
from trimtab.portfolio.sizing.edges import BETWEEN, Draws, Edge, Estimate, checked
from trimtab.portfolio.sizing.normal import density, distribution
from trimtab.portfolio.sizing.paths import bridge_crossing, estimate
from trimtab.portfolio.sizing.utility import TargetUtility
from trimtab.types import F64, TrimtabError

#: Binary digits of wealth that can matter: the probability of needing more is below 2**-_DIGITS.
_DIGITS: Final = 1_100
#: The policy phi(y) / Phi(y) is read from a table by its Phi(y), y from -_REACH to _REACH.
_REACH: Final = 9.0
_ROWS: Final = 8_001


class Attained(NamedTuple):
    """What a policy for a target did up to the horizon: growth of log wealth, and chances.

    growth   per period
    reached  the target, at the horizon
    fell     by the depth from a peak, at some time
    below    each of the levels, at some time
    """

    growth: Estimate
    reached: Estimate
    fell: Estimate
    below: tuple[Estimate, ...]


def bold_play(win_rate: float, share: float) -> float:
    """P(reaching the target) by staking all, or just what is missing, on even-money bets: the best there is.

    win_rate  above 0, at most 1/2
    share     wealth over target; 1 and more: it is reached, 0: nothing is left
    ->        Q(x) = p Q(2x) up to x = 1/2, and p + q Q(2x - 1) beyond; exact for binary fractions

    Source: Dubins, Savage (1965), How to Gamble If You Must, ch. 5.
    Dangerous in that it is the best of bad choices: with p < 1/2 the expected wealth falls with every bet, and not
    betting is worth more to anybody who can live without the target. Above 1/2 and without a deadline small bets are
    better, as close to certain as their size is to nothing, so this refuses; with one, see `best_play`.
    """
    p = checked("win_rate", win_rate, Bounds(0.0, 1.0, low_open=True, high_open=True))
    x = checked("share", share, Bounds(0.0))
    if p > 0.5:
        raise TrimtabError(
            f"win_rate is {p:g}: bold play is best up to 1/2 only. Above it the smaller the bet the surer the target; "
            "with a deadline take best_play"
        )
    found, weight = 0.0, 1.0
    for _ in range(_DIGITS):
        if x >= 1.0 or x <= 0.0:
            return found + weight if x >= 1.0 else found
        if x <= 0.5:
            x, weight = 2.0 * x, weight * p
        else:
            x, found, weight = 2.0 * x - 1.0, found + weight * p, weight * (1.0 - p)
    return found


def timid_play(win_rate: float, units: int, target: int) -> float:
    """P(reaching `target` units from `units` before 0) by staking one unit at a time on even-money bets.

    Source: Feller (1968), An Introduction to Probability Theory, vol. 1, XIV.2 (gambler's ruin).
    Dangerous with p < 1/2: each small stake hands a little more to the odds.
    """
    p = checked("win_rate", win_rate, BETWEEN)
    _check_units(units, target)
    if p == 0.5:
        return units / target
    ratio = (1.0 - p) / p
    if ratio > 1.0:  # in powers of a number below 1, which cannot overflow
        return (ratio ** (units - target) - ratio**-target) / (1.0 - ratio**-target)
    return (1.0 - ratio**units) / (1.0 - ratio**target)


def best_play(win_rate: float, target: int, bets: int) -> F64:
    """The best P(reaching `target` units within so many even-money bets) from each number of units.

    ->  (target + 1,)  by units held, staking whole units, any number of them, never more than is missing

    Exact, by dynamic programming. Source: Dubins, Savage (1965).
    Dangerous like every policy for a target: what happens to the paths that miss it does not count.
    """
    p = checked("win_rate", win_rate, BETWEEN)
    checked("bets", bets, Bounds(0.0))
    _check_units(0, target)
    best = np.zeros(target + 1)
    best[target] = 1.0
    for _ in range(int(bets)):
        after = best.copy()  # staking nothing
        for units in range(1, target):
            stake = np.arange(1, min(units, target - units) + 1)
            after[units] = max(after[units], float((p * best[units + stake] + (1.0 - p) * best[units - stake]).max()))
        best = after
    return best


def simulated(
    goal: TargetUtility, edge: Edge, levels: tuple[float, ...], depth: float, draws: Draws | None = None
) -> Attained:
    """What the policy attains with its cap, in steps: Monte Carlo of wealth up to the horizon.

    levels  of the start, and depth of a fall from the peak, whose chances are wanted; each between 0 and 1
    draws   the fraction is chosen anew at each of `draws.steps` equal steps, and held constant in between
    ->      growth is that of log wealth per period

    Reaching the target and falling below the levels are looked for between the steps as well (Brownian bridges), falls
    from the peak at the steps only. As the steps shrink and the cap grows, `reached` tends to `goal.probability`.
    """
    barriers = [math.log(checked("level", level, BETWEEN)) for level in levels]
    checked("depth", depth, BETWEEN)
    drawn = draws or Draws()
    rng = np.random.default_rng(drawn.seed)
    dt = goal.horizon / drawn.steps
    y = np.linspace(-_REACH, _REACH, _ROWS)
    share = np.array([distribution(float(v)) for v in y])
    mills = np.array([density(float(v)) for v in y]) / share
    w, peak = np.zeros(drawn.paths), np.zeros(drawn.paths)
    done, fallen = (np.zeros(drawn.paths, np.bool_) for _ in range(2))
    below = np.zeros((len(barriers), drawn.paths), np.bool_)
    side = math.copysign(1.0, edge.excess)
    for step in range(drawn.steps):
        left = goal.horizon - step * dt
        need, need_after = (math.log(goal.target) - edge.rate * t for t in (left, left - dt))
        done |= w >= need
        size = np.interp(np.exp(w - need), share, mills) / (edge.vol * math.sqrt(max(left, goal.shortest)))
        f = np.where(done, 0.0, side * np.minimum(size, goal.cap))
        variance = (f * edge.vol) ** 2 * dt
        after = w + (edge.rate + f * edge.excess) * dt - 0.5 * variance
        after += np.sqrt(variance) * rng.standard_normal(drawn.paths)
        uniform = rng.random((2, drawn.paths))
        won = ~done & (uniform[0] < bridge_crossing(need - w, need_after - after, 0.0, variance))
        after[won] = need_after  # from the moment of reaching it the wealth is in cash
        for k, barrier in enumerate(barriers):
            below[k] |= uniform[1] < bridge_crossing(w, after, barrier, variance)
        done |= won
        w, peak = after, np.maximum(peak, after)
        fallen |= w - peak <= math.log1p(-depth)
    reached = estimate(w >= math.log(goal.target) - 1e-12)
    return Attained(estimate(w / goal.horizon), reached, estimate(fallen), tuple(estimate(flag) for flag in below))


def _check_units(units: int, target: int) -> None:
    if not 0 <= units <= target or target < 1:
        raise TrimtabError(f"{units} of {target} units: expected whole units from 0 to a target of 1 at least")
