"""What a venue reports, applied to the book: how a driver trades that does not match orders itself (design §1).

Book, log, market and set-up are found at the address of a `Bound`. One call per report, in the order in which things
happened; before the first of a row `open_row`, after its last `end_row`. A venue that matches by `rules.trade` on a
book of its own and a book that is told of it all this way agree to the last bit.
"""

from __future__ import annotations

import numpy as np

from trimtab.compiled import entry, part
from trimtab.rules.book import STOP_LOSS, TRAIL
from trimtab.rules.bound import account_at
from trimtab.rules.breakers import judge_row
from trimtab.rules.carry import after_trading, before_trading, pay_in
from trimtab.rules.decide import decide_row, is_due
from trimtab.rules.fills import cross, end_order, place, set_band, settle
from trimtab.rules.margin import take_over
from trimtab.rules.market import CLOSE, DURATION, OPEN, row_of
from trimtab.rules.trade import after_fill, close_bar, start_bar, trade_row


@part
def opened_at(market, t, i, ts):
    """The open of an instrument's bar at row t; where it has none, the instant of what is reported."""
    if market.rows[t, i, OPEN] > 0.0:
        return market.ts[t] - np.int64(market.rows[t, i, DURATION])
    return ts


@entry
def open_row(address, t):
    """What falls due before anything of row t is traded; only at its stamps."""
    book, log, market, setup = account_at(address)
    before_trading(book, log, market, setup, t)


@entry
def report_fill(address, t, i, slot, lots, done, reason, waited, ts):
    """An order filled: signed lots, an Execution, and the venue's reason why no more of it did."""
    book, log, market, setup = account_at(address)
    order = book.orders[i, slot]
    start_bar(book.positions[i], t, opened_at(market, t, i, ts))
    order.reason = reason
    order.waited = waited
    if slot in (STOP_LOSS, TRAIL):
        order.triggered = 1
    settle(book, log, setup.terms, market.mark[t], i, slot, lots, done, t, ts)
    after_fill(book, log, setup, i, slot, t, ts)
    set_band(book, i)


@entry
def report_end(address, i, slot, reason, waited, ts):
    """An order ended without a further fill."""
    book, log, _, _ = account_at(address)
    book.orders[i, slot].waited = waited
    end_order(book, log, i, slot, reason, ts)
    set_band(book, i)


@entry
def accept(address, slot, order):
    """An Order that somebody else decided on comes to stand in its slot, under the id that it has."""
    book, _, _, _ = account_at(address)
    book.head[0].orders = order.order_id - 1
    place(book, slot, order)
    set_band(book, order.instrument)


@entry
def report_working(address, i, slot, arrived, day, triggered, reason, waited):
    """An order stands at the venue: since which UTC day, whether it has met the market, and what it waits for."""
    book, _, _, _ = account_at(address)
    order = book.orders[i, slot]
    order.arrived = arrived
    order.day = day
    order.triggered = triggered
    order.reason = reason
    order.waited = waited
    set_band(book, i)


@entry
def report_cross(address, t, i, mid, ts):
    """Models exchange at mid what they want of each other, see fills.cross."""
    book, log, market, setup = account_at(address)
    cross(book, log, setup.terms, market.mark[t], i, mid, t, ts, row_of(market.rows, t, i).vol)
    set_band(book, i)


@entry
def report_liquidation(address, t, i, lots, price, ts):
    """The venue closed a position for want of margin: it traded so many signed lots, whatever the book knew of."""
    book, log, market, setup = account_at(address)
    take_over(book, log, setup.terms, market.mark[t], i, lots, price, t, ts)


@entry
def report_cash(address, t, wallet, amount):
    """Cash came into a wallet, or went (negative), in its currency, and not for a trade."""
    book, _, market, _ = account_at(address)
    pay_in(book, market.mark[t], wallet, amount)
    book.head[0].floor, book.head[0].ceiling = np.inf, -np.inf  # the next mark sets them anew


@part
def close_row(book, log, market, setup, t, due):
    """The end of row t: bars close, what is due is paid, the book is marked and judged.

    ->   1 when the row becomes a decision by force
    """
    for i in range(book.goal.shape[0]):
        if market.rows[t, i, OPEN] > 0.0 and book.positions[i].live != 0:
            bar = row_of(market.rows, t, i)
            close_bar(book, setup, i, bar, market.rows[t, i, CLOSE], opened_at(market, t, i, market.ts[t]))
            set_band(book, i)
    if due:
        after_trading(book, log, market, setup, t)
    return judge_row(book, log, market, setup, t)


@entry
def end_row(address, weights, t, due):
    """After the last report of row t: what closes with it, and its decision.

    weights   those that are new at this row, and no others
    due       the row is a stamp
    ->        1 when there was a decision
    """
    book, log, market, setup = account_at(address)
    head = book.head[0]
    forced = close_row(book, log, market, setup, t, due)
    head.event = 0
    if not is_due(head, weights, t, forced):
        return 0
    decide_row(book, log, weights, market, setup, t, forced)
    return 1


@entry
def venue_row(address, t, due):
    """trade_row for a venue that has an account of its own."""
    book, log, market, setup = account_at(address)
    trade_row(book, log, market, setup, t, due)


@entry
def order_row(address, weights, t, forced):
    """decide_row for a decision that does not wait for the end of a row."""
    book, log, market, setup = account_at(address)
    decide_row(book, log, weights, market, setup, t, forced)
