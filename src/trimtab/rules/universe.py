"""Who may be held: a membership that begins and ends, and the end of an instrument (docs/decisions/016).

The panel's field `member` says at each close: 1 it may be held from the next open on, 0 it may not, and -1 this was its
last bar. NaN: nobody said otherwise, so it may.
"""

from __future__ import annotations

import numpy as np

from trimtab.compiled import apart, part
from trimtab.rules.book import TARGET
from trimtab.rules.fills import Execution, ask_again, end_order, place, set_band, settle
from trimtab.rules.limits import DELISTED, FLATTEN, note
from trimtab.rules.market import CLOSE, OPEN
from trimtab.rules.orders import GONE, NO_REASON, UNPROTECTED, net
from trimtab.types import GTC, MARKET, Order


@part
def is_out(market, t, i):
    """May an instrument not be held after the close of row t?"""
    return market.member.shape[0] > 0 and market.member[t, i] <= 0.0


@part
def is_last(market, t, i):
    """Is the bar of row t the last that there will ever be of an instrument?"""
    return market.member[t, i] == -1.0 and market.rows[t, i, OPEN] > 0.0


@part
def close_out(book, log, market, setup, i, t):
    """Close what is held at the close of the last bar, without costs: there is nobody left to trade with."""
    position, ts = book.positions[i], market.ts[t]
    for slot in range(TARGET + 1, book.orders.shape[1]):
        if (position.live >> slot) & 1 == 1:
            end_order(book, log, i, slot, UNPROTECTED, ts)
    position.scale, position.crossing, position.closing = 1.0, 0, 0
    for m in range(book.held.shape[0]):
        book.target[m, i] = book.held[m, i]  # no gap explains the fill: each gives back what it holds
    if position.lots != 0:
        price = market.rows[t, i, CLOSE]
        note(log, t, ts, DELISTED, i, position.lots, 0.0, FLATTEN)
        place(book, TARGET, Order(0, ts, i, -position.lots, MARKET, np.nan, np.nan, GTC, 0, 1, 0))
        done = Execution(price, 0.0, 1, price, 0.0, 0.0, 0.0, 0.0)
        settle(book, log, setup.terms, market.mark[t], i, TARGET, -position.lots, done, t, ts)
        if log.fills.shape[0] != 0:
            log.fills[log.used[1] - 1].reason = GONE
        end_order(book, log, i, TARGET, NO_REASON, ts)
    for m in range(book.held.shape[0]):
        book.target[m, i] = 0.0
    book.goal[i] = 0
    set_band(book, i)


@apart
def turn_members(book, log, market, setup, t):
    """At the close of a row at which somebody comes or goes: the delisted are closed, the others decided on anew."""
    n = book.goal.shape[0]
    for i in range(n):
        if is_last(market, t, i) and (book.positions[i].live >> TARGET) & 1 == 1:
            end_order(book, log, i, TARGET, GONE, market.ts[t])
    for i in range(n):
        if is_last(market, t, i):
            close_out(book, log, market, setup, i, t)
            continue
        wanted = book.positions[i].lots != 0 or book.positions[i].live != 0 or net(book.target, i) != 0
        if wanted and t > 0 and is_out(market, t, i) != is_out(market, t - 1, i):
            ask_again(book, i)
