"""How much to hold of one bet: fixed fraction, volatility target, confidence, and Kelly in its closed forms.

Fractions are of wealth; 1.5 is a leverage of 1.5, a negative one is short. Whoever cannot short holds max(0, fraction).
Every function refuses NaN and infinity with TrimtabError: a size must not be guessed.
"""

from __future__ import annotations

import math

from trimtab.bounds import Bounds
from trimtab.portfolio.sizing.edges import BETWEEN, FINITE, POSITIVE, checked
from trimtab.portfolio.sizing.formulas import (
    confidence_weight,
    kelly_fraction,
    measured_shrink,
    volatility_multiple,
)
from trimtab.portfolio.sizing.normal import distribution

_SHARE = Bounds(0.0, 1.0)


def fixed_fraction(risk: float, loss: float = 1.0) -> float:
    """The same part of wealth at risk in every trade, whatever the edge.

    risk  share of wealth that a losing trade may take, 0 to 1
    loss  what a losing trade loses of its position, fraction, 0 to 1: the distance of the stop
    ->    position as a fraction of wealth: 2% at risk with a stop 1% away is a position of 2.0

    Source: Vince (1990), Portfolio Management Formulas, ch. 1.
    Dangerous when a gap jumps over the stop (the loss is then larger than `loss` says), when several positions lose
    together, and when `risk` exceeds twice Kelly: wealth shrinks for sure although every trade has an edge.
    """
    return checked("risk", risk, _SHARE) / checked("loss", loss, Bounds(0.0, 1.0, low_open=True))


def volatility_target(target: float, vol: float, cap: float = math.inf) -> float:
    """The fraction at which the position has the volatility `target`.

    target, vol  per square root of the same period, fractions; vol above 0
    cap          the largest fraction that is returned; inf: none
    ->           target / vol, at most cap

    Source: Moreira, Muir (2017), J. Finance 72(4); Harvey et al. (2018), J. Portfolio Management 45(1).
    Dangerous after quiet years: leverage is largest just before volatility jumps, and the jump is not in `vol` yet. It
    knows nothing of the edge, so it sizes a worthless strategy as boldly as a good one. Always give a cap.
    """
    checked("target", target, Bounds(0.0))
    checked("cap", cap, Bounds(0.0, infinite=True))
    return volatility_multiple(target, checked("vol", vol, POSITIVE), cap)


def confidence_scaled(confidence: float, threshold: float = 0.0, power: float = 1.0) -> float:
    """The share of a full position that a confidence deserves.

    confidence  0 (none) to 1 (certain)
    threshold   confidence up to which nothing is held, 0 or more and below 1
    power       1: in proportion beyond the threshold; 2: late and steep; 0.5: early
    ->          0 to 1

    Dangerous when the confidence is not calibrated: a model that is most certain when it is most wrong (after a long
    trend, on data like its training set) is then largest exactly there. Check hit rates by confidence first.
    """
    checked("threshold", threshold, Bounds(0.0, 1.0, high_open=True))
    return confidence_weight(checked("confidence", confidence, _SHARE), threshold, checked("power", power, POSITIVE))


def confidence_of(sharpe: float, years: float) -> float:
    """How sure a measured Sharpe ratio is to have the right sign: 2 * Phi(|S| * sqrt(T)) - 1, from 0 to 1.

    sharpe  per square root of a year (or of any period)
    years   that it was measured over, in the same period

    Dangerous when the ratio is the best of many that were tried: then it is mostly luck, and this number does not know.
    """
    checked("years", years, POSITIVE)
    return 2.0 * distribution(abs(checked("sharpe", sharpe, FINITE)) * math.sqrt(years)) - 1.0


def kelly_from_odds(win_rate: float, win: float, loss: float = 1.0) -> float:
    """Kelly for a bet with two outcomes: the fraction that makes wealth grow fastest.

    win_rate   probability of winning, between 0 and 1
    win, loss  what a unit staked wins or loses, above 0; with loss 1, `win` is the payoff ratio
    ->         win_rate / loss - (1 - win_rate) / win, fraction of wealth staked; negative: the other side has the edge

    With loss = 1 this is the fraction AT RISK. As the size of a position whose losing trades lose `loss` of it, give
    that loss (and the win in the same unit).
    Source: Kelly (1956), Bell System Technical Journal 35(4); Thorp (2006), Handbook of Asset and Liability Management.
    Dangerous when trades do not have just two outcomes (a fat tail of losses: use `LogUtility` on the returns), when
    they overlap (the fractions of simultaneous bets do not add), and when the win rate is a small sample's.
    """
    p = checked("win_rate", win_rate, BETWEEN)
    return p / checked("loss", loss, POSITIVE) - (1.0 - p) / checked("win", win, POSITIVE)


def kelly_from_moments(mean: float, variance: float, rate: float = 0.0) -> float:
    """Kelly for a diffusion: (mean - rate) / variance.

    mean      arithmetic mean return, fraction per period: the geometric mean is too small by about variance / 2
    variance  of the returns over the SAME period, above 0 (an annual mean over a daily variance is 252 times too much)
    rate      of cash over that period
    ->        fraction of wealth; free of the period's length

    Source: Merton (1969), Review of Economics and Statistics 51(3); Thorp (2006).
    Dangerous because the mean is hardly known (its error over T years is vol / sqrt(T)) and enters undivided: an edge
    believed twice as large as it is leaves no growth at all. Returns with jumps can lose more than everything at a
    fraction that this formula finds optimal; `LogUtility` and `kelly_with_ruin` see the worst return, this does not.
    """
    excess = checked("mean", mean, FINITE) - checked("rate", rate, FINITE)
    return kelly_fraction(excess, checked("variance", variance, POSITIVE))


def kelly_from_sharpe(sharpe: float, vol: float) -> float:
    """Kelly from a Sharpe ratio and a volatility: S / vol; the position's volatility is then S itself.

    sharpe, vol  of the same period (an annual ratio over a daily volatility is 16 times too much)

    Source: Thorp (2006). Dangerous for the reasons of `kelly_from_moments`, and twice so with a ratio from a backtest:
    it is the best of those that were tried, so shrink it first.
    """
    return checked("sharpe", sharpe, FINITE) / checked("vol", vol, POSITIVE)


def fractional_kelly(kelly: float, share: float) -> float:
    """A share of Kelly. Of Kelly's excess growth it keeps share * (2 - share): half Kelly three quarters.

    kelly  the full fraction
    share  0 to 2; 1 is all of it, at 2 nothing is left of the growth

    The chance of ever falling to a fraction x of the start is x ** (2 / share - 1): 1/8 for half Kelly and x = 1/2,
    where full Kelly has 1/2.
    Source: MacLean, Thorp, Ziemba (2010), Quantitative Finance 10(7).
    Dangerous above 1: less growth for more risk. Below 1 it only guards against a wrong edge if the share was chosen
    before looking at the result.
    """
    return checked("kelly", kelly, FINITE) * checked("share", share, Bounds(0.0, 2.0))


def shrink_for_error(sharpe: float, years: float) -> float:
    """The share of plug-in Kelly that grows fastest when the mean had to be estimated: S**2 / (S**2 + 1 / T).

    sharpe  the TRUE ratio as far as it is believed, per square root of a year (or of any period)
    years   of data behind the estimated mean, in the same period
    ->      0 to 1

    An estimated mean errs with variance vol**2 / T, so a share k of plug-in Kelly has the expected growth
    k S**2 - k**2 (S**2 + 1/T) / 2 over cash: k = 1 loses 1 / (2 T).
    Dangerous because nobody knows the true ratio: believed too large, it bets too much. Put in what you would have
    believed before seeing the data, or use `measured_kelly_share`. The variance counts as known, the edge as constant.
    """
    square = checked("sharpe", sharpe, FINITE) ** 2
    return square / (square + 1.0 / checked("years", years, POSITIVE))


def measured_kelly_share(sharpe: float, years: float) -> float:
    """The same share from a MEASURED Sharpe ratio: 1 - 1 / (T S**2), at least 0.

    sharpe  measured over those years, per square root of a year (or of any period)
    ->      0 where the ratio is within one standard error of nothing, towards 1 as T S**2, its squared t statistic,
            grows

    The square of a measured ratio exceeds that of the true one by 1 / T on average; taking it off gives this share.
    It is careful rather than optimal. Over 10 years, of a true ratio of 0 plug-in Kelly loses 5.0% of log growth a
    year, half of it 1.3%, this share 1.7%; of a true 0.6 they gain 13.0%, 12.3% and 10.9% (the best share: 14.1%).
    Dangerous after a search: the best of many ratios needs far more taken off than one standard error.
    """
    square = checked("sharpe", sharpe, FINITE) ** 2
    return measured_shrink(square, checked("years", years, POSITIVE))


def growth_after_error(sharpe: float, years: float, share: float) -> float:
    """Expected growth over cash of a share of plug-in Kelly whose mean was estimated: k S**2 - k**2 (S**2 + 1/T) / 2.

    sharpe  the true ratio; years of data; share of plug-in Kelly
    ->      per period, log growth

    Own derivation, see `shrink_for_error`.
    """
    square = checked("sharpe", sharpe, FINITE) ** 2
    k = checked("share", share, FINITE)
    return k * square - 0.5 * k * k * (square + 1.0 / checked("years", years, POSITIVE))
