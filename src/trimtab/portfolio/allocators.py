"""Allocators: how a budget is split anew, from returns of closed days only. Plain Python; a run calls them seldom.

An allocator is a function of returns (D, K) -> shares (K,), none negative, with sum 1. What stood still through the
whole window says nothing of its risk and keeps an equal part; the rest is shared among the others.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.types import F64, NotEnoughData, TrimtabError
from trimtab.words import near

#: A deviation of daily returns below this is rounding: what has it stood still.
_STILL: Final = 1e-9

#: Steps of the search for equal risk, and how close the contributions have to come.
_STEPS: Final = 10_000
_CLOSE: Final = 1e-12


class Allocator(NamedTuple):
    """about: one line for people, with when it is dangerous; split(returns (D, K)) -> (K,); needs: a library that is
    installed with the extra `allocation`."""

    name: str
    about: str
    split: Callable[[F64], F64]
    needs: str = ""


def shares_of(allocator: Allocator, returns: F64) -> F64:
    """The share of each column: returns (D, K), simple, per day, finite -> (K,), none negative, sum 1.

    NotEnoughData where the allocator finds no shares for this window.
    """
    count = returns.shape[1]
    moved = np.flatnonzero(returns.std(axis=0) > _STILL)
    shares = np.full(count, 1.0 / count)
    if len(moved) > 1:
        found = np.maximum(allocator.split(np.ascontiguousarray(returns[:, moved])), 0.0)
        if not 0.0 < found.sum() < np.inf:
            raise NotEnoughData(f"{allocator.name} found no shares for this window")
        shares[moved] = found / found.sum() * (len(moved) / count)
    return shares


def shares_at(allocator: Allocator, returns: F64) -> F64:
    """The share of each column from a window of returns (D, K), NaN where one is not known.

    A part with a day in it that is not known says nothing, and keeps an equal share. NotEnoughData as `shares_of`.
    """
    returns = returns.copy()
    returns[:, np.isnan(returns).any(axis=0)] = 0.0
    return shares_of(allocator, returns)


def inverse_volatility(returns: F64) -> F64:
    """1 / volatility, scaled to 1: equal risk where nothing is correlated."""
    inverse = 1.0 / returns.std(axis=0, ddof=1)
    return inverse / inverse.sum()


def equal_risk(returns: F64) -> F64:
    """Shares whose contributions to the variance of the whole are equal.

    The minimum of x' C x / 2 - sum of log x / K, scaled to 1, by coordinate descent: it is convex, so there is one.
    Source: Maillard, Roncalli, Teiletche (2010), J. Portfolio Management 36(4); Griveau-Billion, Richard, Roncalli
    (2013), arXiv:1311.4057.
    """
    scale = returns.std(axis=0, ddof=1)
    correlation: F64 = np.asarray(np.corrcoef(returns, rowvar=False), dtype=np.float64)
    count = len(scale)
    x = np.full(count, 1.0 / np.sqrt(count))
    for _ in range(_STEPS):
        for i in range(count):
            others = float(correlation[i] @ x) - float(x[i])
            x[i] = (-others + np.sqrt(others * others + 4.0 / count)) / 2.0
        if np.ptp(x * (correlation @ x)) < _CLOSE:
            break
    shares = x / scale
    return shares / shares.sum()


def hierarchical_risk_parity(returns: F64) -> F64:
    """Risk parity down a tree of correlations (López de Prado 2016), by skfolio."""
    from skfolio.optimization import HierarchicalRiskParity

    return _fitted(HierarchicalRiskParity(), returns)


def maximum_diversification(returns: F64) -> F64:
    """The largest ratio of the parts' volatility to the whole's (Choueifaty, Coignard 2008), by skfolio."""
    from skfolio.optimization import MaximumDiversification

    return _fitted(MaximumDiversification(), returns)


def _fitted(model: Any, returns: F64) -> F64:
    """skfolio's weights. They do not depend on the unit of the returns: in their own deviations solvers are most exact.

    What it cannot solve is refused; what it mends by itself it need not warn of.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(model.fit(returns / returns.std()).weights_, dtype=np.float64)
        except Exception as error:  # whatever its solvers may raise
            reason = str(error).strip().partition("\n")[0]
            raise NotEnoughData(f"skfolio could not solve it ({type(error).__name__}: {reason})") from error


#: Name in a spec -> allocator.
ALLOCATORS: Final[Mapping[str, Allocator]] = {
    a.name: a
    for a in (
        Allocator(
            "inverse_volatility",
            "in proportion to 1 / volatility. Dangerous where the quiet ones fall together, and after quiet times",
            inverse_volatility,
        ),
        Allocator(
            "equal_risk",
            "the same contribution to the variance of the whole from each. Dangerous where correlations change",
            equal_risk,
        ),
        Allocator(
            "hierarchical_risk_parity",
            "risk parity down a tree of correlations; needs no inverse. Dangerous where the tree is noise",
            hierarchical_risk_parity,
            "skfolio",
        ),
        Allocator(
            "maximum_diversification",
            "the largest ratio of the parts' volatility to the whole's. Dangerous where correlations are estimated "
            "from few days: it concentrates in what looked unlike",
            maximum_diversification,
            "skfolio",
        ),
    )
}


def find_allocator(name: str) -> Allocator:
    """The allocator of that name; TrimtabError with the nearest one where there is none, or its library is missing."""
    if name in ALLOCATORS:
        found = ALLOCATORS[name]
        if found.needs and importlib.util.find_spec(found.needs) is None:
            free = " or ".join(other.name for other in ALLOCATORS.values() if not other.needs)
            raise TrimtabError(
                f"allocator {name} needs {found.needs}, which is not installed: pip install 'trimtab[allocation]', or "
                f"take {free}, which need nothing"
            )
        return found
    known = ", ".join(ALLOCATORS)
    raise TrimtabError(f"no allocator is named {name!r}{near(name, ALLOCATORS)}; expected one of {known}")
