"""What is believed of a bet: its drift and volatility, or the returns that it may have. Everything else is derived."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.bounds import Bounds, inside, told
from trimtab.types import F64, NotEnoughData, TrimtabError
from trimtab.words import shortest

#: Any number that is one.
FINITE: Final = Bounds()
#: A size, a volatility, a time.
POSITIVE: Final = Bounds(0.0, low_open=True)
#: A probability or a level of wealth of which the ends mean nothing.
BETWEEN: Final = Bounds(0.0, 1.0, low_open=True, high_open=True)

#: Probabilities add up to 1 by rounding only.
_ROUNDING: Final = 1e-9


class Edge(msgspec.Struct, frozen=True):
    """A geometric Brownian motion beside cash: dP / P = mean dt + vol dW.

    mean  arithmetic drift per period, fraction: the geometric mean of past returns is about vol**2 / 2 below it
    vol   volatility per square root of that period, fraction, above 0
    rate  of cash over the same period, continuously compounded, fraction

    The period (a year, a day) is the caller's, and all three have the same. NaN and infinity are refused.
    """

    mean: float
    vol: float
    rate: float = 0.0

    def __post_init__(self) -> None:
        checked("mean", self.mean, FINITE)
        checked("vol", self.vol, POSITIVE)
        checked("rate", self.rate, FINITE)

    @property
    def excess(self) -> float:
        """Drift over cash."""
        return self.mean - self.rate

    @property
    def sharpe(self) -> float:
        """Excess over volatility, per square root of the period."""
        return self.excess / self.vol


class Sample(msgspec.Struct, frozen=True, eq=False):
    """Returns that one period may have, each with its probability, independent from period to period.

    returns      (n,)  simple returns per unit of position, fraction; none below -1
    probability  (n,)  of each, adding up to 1
    rate               of cash per period, simple, fraction

    `sample_of` and `bet` make one.
    """

    returns: F64
    probability: F64
    rate: float = 0.0

    @property
    def excess(self) -> F64:
        """(n,) returns over cash."""
        return self.returns - self.rate

    @property
    def mean(self) -> float:
        """Expected return over cash per period."""
        return float(self.probability @ self.excess)

    @property
    def vol(self) -> float:
        """Deviation of the returns, of the law itself (ddof = 0)."""
        return math.sqrt(float(self.probability @ (self.excess - self.mean) ** 2))

    @property
    def sharpe(self) -> float:
        """Mean over cash over deviation, per period; NaN without deviation."""
        vol = self.vol
        return self.mean / vol if vol > 0.0 else math.nan


#: Either belief; what is said of a Sample per period is said of an Edge per unit of its time.
Law = Edge | Sample


class Estimate(NamedTuple):
    """A probability and its standard error, which is 0 where the value is exact."""

    value: float
    error: float = 0.0


class Draws(NamedTuple):
    """How a Monte Carlo is drawn: so many paths of so many steps (of a diffusion), from that seed."""

    paths: int = 20_000
    steps: int = 500
    seed: int = 0


def edge_from_sharpe(sharpe: float, vol: float, rate: float = 0.0) -> Edge:
    """The edge of a Sharpe ratio and a volatility, both of the same period."""
    return Edge(rate + checked("sharpe", sharpe, FINITE) * checked("vol", vol, POSITIVE), vol, rate)


def sample_of(
    returns: Sequence[float] | NDArray[np.floating], probability: Sequence[float] | F64 | None = None, rate: float = 0.0
) -> Sample:
    """Observed returns as a Sample.

    returns      (n,)  simple returns per period, fraction, at least 2
    probability  (n,)  of each; None: every one counts the same
    rate               of cash per period, fraction

    TrimtabError names the first return that is not finite or below -1, and probabilities that do not fit;
    NotEnoughData if there are fewer than two. Nothing is dropped.
    """
    values = np.array(returns, np.float64)
    if values.ndim != 1:
        raise TrimtabError(f"returns have shape {values.shape}: expected one column of them")
    if values.size < 2:
        raise NotEnoughData(f"there are {values.size} returns: expected 2 at least, and hundreds to size by")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= -1.0)))
    if wrong.size:
        k = int(wrong[0])
        raise TrimtabError(f"return {k} is {shortest(float(values[k]))}: expected simple returns, fractions from -1 up")
    weight = np.full(values.size, 1.0 / values.size) if probability is None else np.array(probability, np.float64)
    if weight.shape != values.shape or not (weight >= 0.0).all() or abs(math.fsum(weight) - 1.0) > _ROUNDING:
        raise TrimtabError("probability: expected one number from 0 to 1 for each return, adding up to 1")
    for array in (values, weight):
        array.flags.writeable = False
    return Sample(values, weight, checked("rate", rate, Bounds(-1.0, low_open=True)))


def bet(win_rate: float, win: float, loss: float = 1.0, rate: float = 0.0) -> Sample:
    """A bet that wins `win` or loses `loss` per unit staked, beside cash that earns `rate` per bet.

    win_rate   probability of winning, between 0 and 1
    win, loss  fractions of the stake, above 0; loss at most 1: with a stop at 2% of the price, loss is 0.02
    """
    p = checked("win_rate", win_rate, BETWEEN)
    up = checked("win", win, POSITIVE)
    down = checked("loss", loss, Bounds(0.0, 1.0, low_open=True))
    return sample_of([up, -down], [p, 1.0 - p], rate)


def gross_of(sample: Sample, fraction: float) -> F64:
    """(n,) factors by which wealth changes in a period with `fraction` of it in the bet and the rest in cash."""
    return 1.0 + sample.rate + fraction * sample.excess


def ruin_fractions(sample: Sample) -> tuple[float, float]:
    """The fractions, short and long, at which the worst return takes all: (low, high); infinite without a loss.

    Source: 1 + rate + f * (return - rate) = 0.
    """
    live = sample.excess[sample.probability > 0.0]
    worst, best = float(live.min()), float(live.max())
    low = -(1.0 + sample.rate) / best if best > 0.0 else -math.inf
    high = -(1.0 + sample.rate) / worst if worst < 0.0 else math.inf
    return low, high


def checked(name: str, value: float, bounds: Bounds) -> float:
    """The value; TrimtabError with its name if it is not accepted. NaN never is."""
    if not inside(bounds, value):
        expected = f"a number {told(bounds)}".rstrip()
        raise TrimtabError(f"{name} is {shortest(float(value))}: expected {expected}")
    return float(value)
