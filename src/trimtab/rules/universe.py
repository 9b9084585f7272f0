"""Who may be held: a membership that begins and ends, and the end of an instrument (docs/decisions/016).

The panel's field `member` says at each close: 1 it may be held from the next open on, 0 it may not, and -1 it is gone
for good as of this close. NaN: nobody said otherwise, so it may.
"""

from __future__ import annotations

import numpy as np

from trimtab.compiled import apart, part
from trimtab.rules.account import rate_of
from trimtab.rules.book import TARGET
from trimtab.rules.fills import Execution, ask_again, end_order, place, set_band, settle
from trimtab.rules.limits import DELISTED, FLATTEN, note
from trimtab.rules.orders import GONE, NO_REASON, UNPROTECTED
from trimtab.types import GTC, MARKET, Order


@part
def is_out(market, t, i):
    """May an instrument not be held after the close of row t?"""
    return market.member.shape[0] > 0 and market.member[t, i] <= 0.0


@part
def is_back(market, t, i):
    """May an instrument be held after the close of row t, and not after the one before?"""
    return t > 0 and is_out(market, t - 1, i) and not is_out(market, t, i)


@part
def is_end(market, t, i):
    """Is an instrument gone for good as of the close of row t?"""
    return market.member[t, i] == -1.0


@part
def close_out(book, log, market, setup, i, t):
    """Close what is held at its last price, without costs: there is nobody left to trade with.

    That is its mark at row t, where it need not have a bar: a delisting is known on its day, and not at the last bar.
    """
    position, ts = book.positions[i], market.ts[t]
    for slot in range(TARGET + 1, book.orders.shape[1]):
        if (position.live >> slot) & 1 == 1:
            end_order(book, log, i, slot, UNPROTECTED, ts)
    position.scale, position.crossing, position.closing = 1.0, 0, 0
    for m in range(book.held.shape[0]):
        book.target[m, i] = book.held[m, i]  # no gap explains the fill: each gives back what it holds
    if position.lots != 0:
        price = market.mark[t, i] / rate_of(setup.terms, market.mark[t], i)
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
        if is_end(market, t, i) and (book.positions[i].live >> TARGET) & 1 == 1:
            end_order(book, log, i, TARGET, GONE, market.ts[t])
    for i in range(n):
        if is_end(market, t, i):
            close_out(book, log, market, setup, i, t)
        elif is_back(market, t, i):
            ask_again(book, i)  # the decision sizes what models want anew, see decide.take_up
        elif t > 0 and is_out(market, t, i) and not is_out(market, t - 1, i):
            wanted = book.positions[i].lots != 0 or book.positions[i].live != 0
            for m in range(book.held.shape[0]):  # each of them: opposite ones are nothing together
                wanted |= book.held[m, i] != 0.0 or book.target[m, i] != 0.0
            if wanted:
                ask_again(book, i)
