"""What one run came to, and many runs at once: what all tests of this package are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, NamedTuple

import numpy as np

from trimtab.research.backtest import run_spec
from trimtab.research.curves import periods_of
from trimtab.research.drawdown import max_drawdown
from trimtab.research.inference.spread import spread
from trimtab.research.ratios import equity_from_returns, is_flat, sharpe_ratio
from trimtab.research.run import Fold, Run
from trimtab.research.setup import setup_of
from trimtab.rules.book import Setup
from trimtab.sim.simulate import simulate
from trimtab.types import F64, Costs, NotEnoughData, Panel, Spec, TrimtabError, Weights

NAN: Final = math.nan

#: Told how many of how many runs are done.
Progress = Callable[[int, int], None] | None


class Outcome(NamedTuple):
    """What one run came to, of daily returns net of costs.

    sharpe        annualised, over the spec's risk-free rate
    total_return  fraction, cash flows apart; -1 where everything was lost
    max_drawdown  of day ends, fraction <= 0
    days          day ends
    trades        closed round trips of the book
    why           why Sharpe is NaN; empty where it is a number
    """

    sharpe: float
    total_return: float
    max_drawdown: float
    days: int
    trades: int
    why: str = ""


def outcome_of(run: Run) -> Outcome:
    """What a finished run came to."""
    trades = int(run.result.book.head[0]["round_trips"])
    returns, ruin = returns_of(run)
    if ruin:
        return Outcome(NAN, -1.0, -1.0, returns.size, trades, ruin)
    return measured(returns, periods_of(run.panel), run.spec.risk_free_rate, trades)


def measured(returns: F64, periods: float, rate: float = 0.0, trades: int = 0) -> Outcome:
    """The same of daily returns (D,)."""
    equity = equity_from_returns(returns)
    why = ""
    if returns.size < 2:
        why = f"{returns.size} daily returns: a deviation takes two at least"
    elif is_flat(returns):
        why = "all daily returns are the same: it never traded" if not returns.any() else "all returns are the same"
    total = float(equity[-1]) - 1.0 if returns.size else NAN
    return Outcome(sharpe_ratio(returns, periods, rate), total, max_drawdown(equity), returns.size, trades, why)


def returns_of(run: Run) -> tuple[F64, str]:
    """(D,) daily simple returns net of costs, and why they mean nothing; empty where they do."""
    curves = run.curves
    returns = curves.returns(curves.equity)
    whole = bool((curves.equity > 0.0).all() and (returns > -1.0).all())
    return returns, "" if whole else "the book lost all that it had, so its returns mean nothing"


def tried(spec: Spec, panel: Panel) -> Outcome:
    """What a spec comes to; too short a panel for a forecast is an outcome without figures."""
    try:
        return outcome_of(run_spec(spec, panel))
    except NotEnoughData as error:
        return Outcome(NAN, NAN, NAN, 0, 0, str(error))


def driven(
    base: Run, spec: Spec, costs: Sequence[Costs], weights: Weights | None = None, setup: Setup | None = None
) -> Run:
    """The driver again over a run's weights (or others) at other costs and with another spec's account.

    setup   of that spec at those costs, where it serves many runs; None: it is made

    Weights know nothing of accounts, so what strategies said need not be computed again. `holding` is the base's.
    """
    setup = setup or setup_of(spec, base.panel, tuple(costs))
    given = base.fold.weights if weights is None else weights
    result = simulate(base.fold.market, given, setup, keep_equity=False)
    return Run(spec, base.panel, tuple(costs), Fold(base.fold.market, given, setup, result, base.holding))


def outcomes(
    count: int, one: Callable[[int], Outcome], progress: Progress = None, threads: int | None = None
) -> list[Outcome]:
    """one(0) … one(count - 1), on so many threads (None: all cores); each must depend on its number alone."""
    found: list[Outcome] = [Outcome(NAN, NAN, NAN, 0, 0)] * count
    lock, done = Lock(), 0

    def work(first: int, last: int) -> None:
        nonlocal done
        for k in range(first, last):
            found[k] = one(k)
        with lock:
            done += last - first
            if progress is not None:
                progress(done, count)

    spread(work, count, 1, threads)
    return found


def sharpes_of(found: Sequence[Outcome]) -> F64:
    """(K,) Sharpe of each, NaN where undefined."""
    return np.array([each.sharpe for each in found], np.float64)


def check_count(name: str, value: int, least: int = 1) -> None:
    """TrimtabError for a number of runs that is too small to say anything."""
    if value < least:
        raise TrimtabError(f"{name} is {value}: expected {least} or more")
