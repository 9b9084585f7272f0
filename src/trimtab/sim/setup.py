"""What a set-up needs to know of the market before it runs: when something falls due, and what moves together."""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.compiled import loop
from trimtab.rules.account import rate_of
from trimtab.rules.alarms import ALARM_AGE, ALARM_GAP, ALARM_SPREAD, ALARM_VOL, YEAR, vol_now
from trimtab.rules.book import Setup
from trimtab.rules.carry import FUNDING_EVERY
from trimtab.rules.clusters import clusters
from trimtab.rules.market import DURATION, OPEN, VOL, Market, adjusted
from trimtab.types import DAY, I64, SECOND, Limits

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

#: Those of them that watch the bars themselves.
WATCHED: Final = ("stale", "unusual_vol", "unusual_gap", "unusual_spread")


def watch(setup: Setup, market: Market) -> Setup:
    """The set-up with what its limits watch in the bars: groups of correlated instruments day by day, and the worst of
    each row. What is there already stays: it depends on nothing else of a set-up, and many may share it."""
    groups, alarm = setup.groups, setup.alarm
    if setup.limits.group_gross < np.inf and not len(groups.cluster_row):
        days = adjusted(market, market.days)
        over = (market.ts[market.days] - 1) // DAY * DAY + DAY  # nobody knows sooner that no bar follows on that day
        groups = groups._replace(
            cluster=clusters(days, setup.limits.group_correlation), cluster_row=np.searchsorted(market.ts, over)
        )
    if not len(alarm) and any(getattr(setup.limits, name) < np.inf for name in WATCHED):
        alarm = alarms(market, setup.terms)
    return setup._replace(groups=groups, alarm=alarm)


def complete(setup: Setup, market: Market) -> Setup:
    """The set-up with its stamps, what it watches, and whether it has any of the rarer limits."""
    setup = watch(setup, market)
    groups = setup.groups
    capped = any(len(caps) for caps in (groups.class_cap, groups.venue_cap, groups.model_cap))
    more = int(capped or any(getattr(setup.limits, name) < np.inf for name in MORE))
    caps = np.concatenate((groups.class_cap, groups.venue_cap))
    sums = min(setup.limits.net_exposure, setup.limits.group_gross, float(caps.min(initial=np.inf)))
    heat = setup.limits.heat / max(1.0, float(setup.terms["initial_margin"].max()))
    return setup._replace(stamps=stamps_of(market, setup), more=more, least=min(sums, heat))


@loop
def alarms(market, terms):
    """(T, 4) the worst of all instruments at each row, see rules.exposure.is_calm; what is not known counts as 0.

    An instrument has no age before its first bar: it cannot be held.
    """
    T, N = market.low.shape
    found = np.zeros((T, 4))
    last = np.full(N, np.int64(-1))
    for t in range(T):
        vol, gap, spread, oldest = 0.0, 0.0, 0.0, market.ts[t]
        for i in range(N):
            bar = market.rows[t, i]
            if bar[OPEN] > 0.0:
                last[i] = market.ts[t]
                own = market.rows[t + 1, i, VOL] if t + 1 < T else vol_now(market, t, i)  # with this bar's return
                vol = max(vol, own * own / bar[DURATION]) if own >= 0.0 else vol
                if t > 0 and market.mark[t - 1, i] > 0.0:
                    marks = market.carried[t - 1]
                    gap = max(gap, abs(bar[OPEN] * rate_of(terms, marks, i) / marks[i] - 1.0))
                if market.spread.shape[0] > 0 and market.spread[t, i] > spread:
                    spread = market.spread[t, i]
            elif last[i] >= 0:
                oldest = min(oldest, last[i])
        # A hair too much rather than too little: what it lets pass is not looked at again.
        found[t, ALARM_VOL] = np.sqrt(vol * YEAR) * (1.0 + 1e-9)
        found[t, ALARM_GAP] = gap
        found[t, ALARM_SPREAD] = spread
        found[t, ALARM_AGE] = (market.ts[t] - oldest) / SECOND + 1e-6
    return found


def stamps_of(market: Market, setup: Setup) -> I64:
    """Rows at which something falls due: funding, splits, dividends, members, cash flows, and where days matter, the
    first row of each UTC day."""
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
    due += [np.flatnonzero(np.isfinite(field).any(axis=1)) for field in (market.split, market.dividend)]
    out = market.member <= 0.0
    due.append(np.flatnonzero((out[1:] != out[:-1]).any(axis=1)) + 1)
    due.append(np.flatnonzero((market.member == -1.0).any(axis=1)))
    rows = np.unique(np.concatenate(due))
    return np.union1d(rows, [0]) if len(rows) else rows  # from the first row on days are counted


def has_clock(limits: Limits) -> bool:
    """Is a loss measured from the start of a day or a week?"""
    return min(limits.daily_loss, limits.weekly_loss) < np.inf
