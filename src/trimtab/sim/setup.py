"""What a set-up needs to know of the market before it runs: when something falls due, and what moves together."""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.compiled import loop
from trimtab.rules.book import Setup
from trimtab.rules.carry import FUNDING_EVERY
from trimtab.rules.market import Market
from trimtab.types import DAY, I64, Limits

#: Days of returns from which correlations are estimated, and how many are needed at least.
CLUSTER_DAYS: Final = 60
CLUSTER_LEAST: Final = 20

#: The limits that `rules.exposure` keeps; the rest is in the gate and the breakers.
MORE: Final = (
    "stale",
    "order_notional",
    "collar",
    "concentration",
    "net_exposure",
    "heat",
    "group_gross",
    "unusual_vol",
    "unusual_gap",
    "unusual_spread",
)


def complete(setup: Setup, market: Market) -> Setup:
    """The set-up with its stamps, its groups of correlated instruments, and whether it has any of the rarer limits."""
    groups = setup.groups
    if setup.limits.group_gross < np.inf and not len(groups.cluster_row):
        days = market.mark[market.days, : market.low.shape[1]]
        groups = groups._replace(cluster=clusters(days, setup.limits.group_correlation), cluster_row=market.days)
    capped = any(len(caps) for caps in (groups.class_cap, groups.venue_cap, groups.model_cap))
    more = int(capped or any(getattr(setup.limits, name) < np.inf for name in MORE))
    return setup._replace(stamps=stamps_of(market, setup), more=more, groups=groups)


@loop
def clusters(marks, threshold):
    """Groups of correlated instruments by day: single linkage of |correlation| of daily returns.

    marks       (D, N) marks at day ends; 0: none yet
    threshold   |correlation| from which two instruments are linked
    ->          (D, N) group of each instrument after that day: the smallest index in it

    Correlations are of the last 60 daily returns, 20 at least; an instrument with fewer is alone.
    """
    D, N = marks.shape
    found = np.empty((D, N), np.int64)
    returns = np.full((D, N), np.nan)
    for d in range(1, D):
        for i in range(N):
            if marks[d - 1, i] > 0.0:
                returns[d, i] = marks[d, i] / marks[d - 1, i] - 1.0
    scaled = np.empty((N, CLUSTER_DAYS))
    known = np.empty(N, np.bool_)
    for d in range(D):
        for i in range(N):
            found[d, i] = i
        first = max(d - CLUSTER_DAYS + 1, 1)
        count = d - first + 1
        if count < CLUSTER_LEAST:
            continue
        for i in range(N):
            known[i] = standardised(returns[first : d + 1, i], scaled[i])
        for i in range(N):
            for j in range(i):
                if not (known[i] and known[j]) or found[d, i] == found[d, j]:
                    continue
                rho = 0.0
                for k in range(count):
                    rho += scaled[i, k] * scaled[j, k]
                if abs(rho) >= threshold:
                    low, high = min(found[d, i], found[d, j]), max(found[d, i], found[d, j])
                    for k in range(N):
                        if found[d, k] == high:
                            found[d, k] = low
    return found


@loop
def standardised(values, out):
    """Write values less their mean, over their norm, into out: their dot products are correlations. -> possible?

    False where a value is NaN or all are the same.
    """
    n = values.shape[0]
    mean = 0.0
    for k in range(n):
        mean += values[k]
    mean /= n
    squares = 0.0
    for k in range(n):
        out[k] = values[k] - mean
        squares += out[k] * out[k]
    if not squares > 1e-24 * n:
        return False
    norm = np.sqrt(squares)
    for k in range(n):
        out[k] /= norm
    return True


def stamps_of(market: Market, setup: Setup) -> I64:
    """Rows at which something falls due: funding, cash flows, and where days matter, the first row of each UTC day."""
    terms, limits = setup.terms, setup.limits
    perpetual = terms["perpetual"] == 1
    due: list[I64] = [setup.flows.row]
    if (terms["borrow"] > 0.0).any() or (terms["margin_interest"] > 0.0).any() or has_clock(limits):
        # A row that closes at midnight is the last of its day, and what the day costs is paid at its close.
        ends = market.days
        due += [ends[market.ts[ends] % DAY == 0], ends[ends + 1 < len(market.ts)] + 1]
    if market.funding.shape[0] > 0:
        due.append(np.flatnonzero(np.isfinite(market.funding[:, perpetual]).any(axis=1)))
    elif (terms["funding"][perpetual] != 0.0).any():
        times = market.ts // FUNDING_EVERY
        due.append(np.flatnonzero(times[1:] > times[:-1]) + 1)
    rows = np.unique(np.concatenate(due))
    return np.union1d(rows, [0]) if len(rows) else rows  # from the first row on days are counted


def has_clock(limits: Limits) -> bool:
    """Is a loss measured from the start of a day or a week?"""
    return min(limits.daily_loss, limits.weekly_loss) < np.inf
