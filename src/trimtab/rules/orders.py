"""Orders: the status table, the words for what happened to one, and the two roundings between weights and orders."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from trimtab.compiled import rule
from trimtab.types import (
    CANCELED,
    EXPIRED,
    FILLED,
    MAX_LOTS,
    NEW,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_NEW,
    REJECTED,
    UNKNOWN,
    codes,
)

#: Legal next statuses (FIX). What is absent is illegal. A cancel may lose its race against a fill, and an order whose
#: outcome is not known may turn out to be anything but new to us.
TRANSITIONS: Final[dict[int, frozenset[int]]] = {
    PENDING_NEW: frozenset({NEW, PARTIALLY_FILLED, FILLED, PENDING_CANCEL, CANCELED, REJECTED, EXPIRED, UNKNOWN}),
    NEW: frozenset({PARTIALLY_FILLED, FILLED, PENDING_CANCEL, CANCELED, REJECTED, EXPIRED, UNKNOWN}),
    PARTIALLY_FILLED: frozenset({PARTIALLY_FILLED, FILLED, PENDING_CANCEL, CANCELED, EXPIRED, UNKNOWN}),
    PENDING_CANCEL: frozenset({NEW, PARTIALLY_FILLED, FILLED, CANCELED, EXPIRED, UNKNOWN}),
    UNKNOWN: frozenset({NEW, PARTIALLY_FILLED, FILLED, CANCELED, REJECTED, EXPIRED}),
    FILLED: frozenset(),
    CANCELED: frozenset(),
    REJECTED: frozenset(),
    EXPIRED: frozenset(),
}

# Why an order is where it is; index = code, the word is what a user reads in the orders table.
REASONS: Final = (
    "",
    "replaced by a new decision",
    "the other order of the pair filled",
    "the position it protected is gone",
    "a protective order closed the position",
    "rejected by the venue",
    "would have taken liquidity (post only)",
    "could not fill whole (FOK)",
    "not filled at once (IOC)",
    "end of day",
    "waiting: no volume in the bar",
    "waiting: participation cap",
    "waiting: volatility not known yet",
    "waiting: average volume not known yet",
    "cut to the cash that there is",
    "no cash",
    "costs exceed the price",
    "waiting: a limit of the book, until what is to go has gone",
    "cut to what a limit leaves room for",
    "liquidated by the venue",
    "cut to the margin that is free",
    "no free margin",
    "waiting: price beyond the collar",
    "nobody can say what became of it",
    "never reached the venue",
    "not sent: the order it replaces may still fill",
    "canceled at the venue",
    "nothing of it is left after a split",
    "a split",
    "it was delisted",
)
(
    NO_REASON,
    REPLACED,
    OCO,
    UNPROTECTED,
    STOPPED,
    REJECT,
    CROSSED,
    NOT_WHOLE,
    NOT_AT_ONCE,
    END_OF_DAY,
    NO_VOLUME,
    PARTICIPATION,
    NO_VOLATILITY,
    NO_AVERAGE_VOLUME,
    CASH_CUT,
    NO_CASH,
    ABSURD_COST,
    NO_ROOM_YET,
    ROOM_CUT,
    LIQUIDATED,
    MARGIN_CUT,
    NO_MARGIN,
    BEYOND_COLLAR,
    NOT_KNOWN,
    NOT_PLACED,
    WITHHELD,
    WITHDRAWN,
    SPLIT_AWAY,
    SPLIT_UP,
    GONE,
) = codes(30)


#: The status in which an order ends for a reason; without one it was filled.
ENDS: Final = np.full(len(REASONS), CANCELED)
ENDS[NO_REASON] = FILLED
ENDS[REJECT] = ENDS[CROSSED] = ENDS[NOT_PLACED] = ENDS[WITHHELD] = REJECTED
ENDS[NOT_KNOWN] = UNKNOWN
ENDS[END_OF_DAY] = EXPIRED


@rule
def size(weight, equity, price, unit):
    """Virtual lots of a weight: weight x equity / (price x unit), a float; NaN where there is no price yet."""
    if not price > 0.0:
        return np.nan
    return weight * equity / (price * unit)


@rule
def on_tick(price, tick_size, side):
    """A limit or stop price on the venue's grid: the next tick away from the market; as it is where no tick is known.

    side   1: the market is above (a buy limit, a sell stop), rounded down; -1: below, rounded up. What is within 1e-6
           ticks of the grid is on it.
    """
    if not tick_size > 0.0:
        return price
    return side * math.floor(side * price / tick_size + 1e-6) * tick_size


@rule
def net(virtual, i):
    """Wanted lots: the models' virtual lots added in model order, rounded toward zero once.

    virtual   (M, N) virtual lots, of which instrument i
    ->        signed whole lots; MAX_LOTS (with sign) where the sum is beyond what float64 counts exactly
    """
    total = 0.0
    for m in range(virtual.shape[0]):
        total += virtual[m, i]
    if total >= MAX_LOTS:
        return MAX_LOTS
    if total <= -MAX_LOTS:
        return -MAX_LOTS
    return int(total)


@rule
def draw(seed, order_id):
    """Uniform in [0, 1) keyed by (seed, order_id): the same whatever else happens, and on any thread.

    splitmix64's finaliser, twice. Source: Steele, Lea and Flood (2014), OOPSLA.
    """
    z = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(order_id)
    for _ in range(2):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)
