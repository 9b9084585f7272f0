"""Buy and hold: fully invested from the first bar. The yardstick for everything else.

Idea      the market's own premium, with the least trading there is.
Formula   forecast = 1.
Source    Sharpe (1991), The Arithmetic of Active Management, Financial Analysts Journal 47(1).
Fails     in every drawdown of the instrument: it has no exit.
Typical   one trade, held to the end; win rate is the sign of the whole period.
"""

from __future__ import annotations

from typing import NamedTuple

from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import F64, Strategy


class Params(NamedTuple):
    """weight: the constant forecast, a fraction of the model's share; negative is sell and hold."""

    weight: float = 1.0


class State(NamedTuple):
    """rows read."""

    rows: int


@compiled
def init(p: Params) -> State:
    return State(0)


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    return State(s.rows + 1), p.weight


def warmup(p: Params) -> int:
    return 0


STRATEGY = Strategy(
    name="buy_and_hold",
    fields=("close",),
    params=Params(),
    ranges={"weight": (-1.0, 1.0)},
    init=init,
    step=step,
    warmup=warmup,
)
