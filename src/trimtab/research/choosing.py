"""Which of many parameter sets is taken: by one metric, the best of those for which it is defined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from trimtab.research.drawdown import max_drawdown
from trimtab.research.metrics import Curve, summarise
from trimtab.research.metrics_table import METRICS
from trimtab.research.ratios import (
    cagr,
    calmar_ratio,
    equity_from_returns,
    omega_ratio,
    sharpe_ratio,
    sortino_ratio,
    total_return,
    volatility,
)
from trimtab.sim.summary import SUMMARY
from trimtab.types import F64, I64, TrimtabError
from trimtab.words import near

#: Metrics that daily returns give, and which way is better.
DAILY: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        ("sharpe", "sortino", "calmar", "omega", "total_return", "cagr", "mean_daily", "max_drawdown", "worst_day"), 1
    ),
    **dict.fromkeys(
        ("positive_days", "win_rate_days", "positive_months", "max_drawdown_daily", "average_drawdown", "best_day"), 1
    ),
    **dict.fromkeys(("var_95", "cvar_95", "tail_ratio", "skew"), 1),
    **dict.fromkeys(("std_daily", "volatility_annual", "max_drawdown_length", "longest_drawdown"), -1),
    "average_drawdown_length": -1,
}
#: Figures of a run's own that a sweep tells as well.
OF_RUNS: Final[Mapping[str, int]] = {"trades": 1, "traded": -1, "costs": -1, "final_equity": 1}

#: Those that are asked for often, without all the others.
_ALONE: Final[Mapping[str, Callable[[F64, float, float], float]]] = {
    "sharpe": sharpe_ratio,
    "sortino": sortino_ratio,
    "calmar": lambda r, periods, rate: calmar_ratio(cagr(r, periods), max_drawdown(equity_from_returns(r))),
    "omega": lambda r, periods, rate: omega_ratio(r),
    "total_return": lambda r, periods, rate: total_return(r),
    "cagr": lambda r, periods, rate: cagr(r, periods),
    "mean_daily": lambda r, periods, rate: float(r.mean()) if r.size else math.nan,
    "max_drawdown": lambda r, periods, rate: max_drawdown(equity_from_returns(r)) if r.size else math.nan,
    "volatility_annual": lambda r, periods, rate: volatility(r, periods),
}


class Criterion(NamedTuple):
    """A metric to choose by.

    sign     1: more is better; -1: less
    periods  day ends per year
    rate     risk-free, per year
    """

    name: str
    sign: int
    periods: float
    rate: float

    @property
    def label(self) -> str:
        return METRICS[self.name].label if self.name in METRICS else self.name.replace("_", " ")

    def of(self, returns: F64, ts: I64, figures: F64 | None = None) -> float:
        """The metric of daily returns (D,); NaN where it is undefined, and where everything was lost.

        figures  (7,) SUMMARY of the run that gave them, for the names in OF_RUNS
        """
        if returns.size == 0 or not (np.isfinite(returns).all() and (returns > -1.0).all()):
            return math.nan
        if self.name in OF_RUNS:
            return math.nan if figures is None else float(figures[SUMMARY.index(self.name)])
        if self.name in _ALONE:
            return _ALONE[self.name](returns, self.periods, self.rate)
        return summarise(Curve(returns, ts), periods=self.periods, risk_free_rate=self.rate)[self.name]

    def best(self, values: F64) -> int:
        """The set with the best value, the first among equals; NaN never wins; -1: none is defined."""
        defined = np.flatnonzero(~np.isnan(values))
        return int(defined[(self.sign * values[defined]).argmax()]) if defined.size else -1


def criterion_of(name: str, periods: float, rate: float, *, of_days: bool = False) -> Criterion:
    """The metric of this name; TrimtabError where there is none to choose by.

    of_days  only what daily returns give: days of several runs are put together
    """
    known = DAILY if of_days else {**DAILY, **OF_RUNS}
    if name not in known:
        raise TrimtabError(
            f"metric {name}: nothing to choose by{near(name, known)}; expected one of {', '.join(known)}"
        )
    return Criterion(name, known[name], periods, rate)


def value_at(values: F64, k: int) -> float:
    """The value of set k; NaN for -1."""
    return float(values[k]) if k >= 0 else math.nan


def mean_known(values: Iterable[float]) -> float:
    """Mean of those that are numbers; NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def rank_correlation(x: F64, y: F64) -> float:
    """Spearman's rank correlation over the pairs in which both are numbers; ties have their mean rank.

    ->  [-1, 1]; NaN with fewer than three pairs, or where one side is all the same

    Source: Spearman (1904), American J. Psychology 15(1).
    """
    both = ~(np.isnan(x) | np.isnan(y))
    if both.sum() < 3:
        return math.nan
    a, b = _ranks(x[both]), _ranks(y[both])
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0.0 else math.nan


def _ranks(x: F64) -> F64:
    _, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    return (ends - 0.5 * (count - 1.0))[inverse]
