"""Margin accounts (design §6.11): what may be opened on margin, when a venue liquidates, and at which price.

A wallet is a margin account as a whole: its positions stand for each other (cross margin). Its equity is its cash and
its positions at their marks. Amounts are in base currency unless said.
"""

from __future__ import annotations

import numpy as np

from trimtab.compiled import apart, part
from trimtab.rules.account import rate_of
from trimtab.rules.book import SLOTS, TARGET
from trimtab.rules.carry import charge
from trimtab.rules.fills import Execution, end_order, place, set_band, settle, stop_out, stopped
from trimtab.rules.limits import LIQUIDATE, MARGIN_CALL, note
from trimtab.rules.market import DURATION, HIGH, LOW, OPEN
from trimtab.rules.match import fee_of
from trimtab.rules.orders import LIQUIDATED, NO_REASON
from trimtab.types import FEE, GTC, MARKET, Order


@part
def worth_of(book, marks, terms, wallet):
    """Equity of a wallet, and the initial margin that its positions bind."""
    at = book.column[wallet]
    equity, bound = book.cash[wallet] * (marks[at] if at >= 0 else 1.0), 0.0
    for i in range(book.goal.shape[0]):
        if terms[i].wallet == wallet:
            value = book.quantity[i] * marks[i]
            equity += value
            bound += terms[i].initial_margin * abs(value)
    return equity, bound


@apart
def margin_room(book, marks, terms, i, mid, price, fee):
    """How many lots of an instrument its margin account can open at `price` (quote currency), costs included.

    The account's other positions stand at their last marks, this one at mid. All lots are priced as the dearest of
    them, so what is opened never leaves less than the initial margin.
    """
    term = terms[i]
    rate = rate_of(terms, marks, i)
    equity, bound = worth_of(book, marks, terms, term.wallet)
    moved = mid * rate - marks[i]
    equity += book.quantity[i] * moved
    bound += term.initial_margin * abs(book.quantity[i]) * moved
    each = term.unit * rate * (term.initial_margin * price + abs(price - mid) + fee * price)
    if not equity > bound or not each > 0.0:
        return np.int64(0)
    lots = (equity - bound) / each
    return np.int64(lots) if lots < 2**53 else np.int64(2**53)


@part
def adverse(market, book, i, t, inside):
    """The worst price of an instrument at the open of row t, or inside its bar (quote currency); NaN without a bar."""
    row = market.rows[t, i]
    if not row[OPEN] > 0.0 or not inside:
        return row[OPEN]
    return row[LOW] if book.quantity[i] > 0.0 else row[HIGH]


@part
def in_danger(book, market, terms, wallet, t, inside):
    """Equity of a wallet at the worst prices of row t, and what it lacks of the maintenance margin (positive: lacks).

    Prices of one bar are taken as if they had come together: what really happened inside it is not known.
    """
    marks = market.mark[t]
    at = book.column[wallet]
    equity, need = book.cash[wallet] * (marks[at] if at >= 0 else 1.0), 0.0
    for i in range(book.goal.shape[0]):
        if terms[i].wallet == wallet and book.quantity[i] != 0.0:
            price = adverse(market, book, i, t, inside)
            value = book.quantity[i] * (price * rate_of(terms, marks, i) if price > 0.0 else marks[i])
            equity += value
            need += terms[i].maintenance_margin * abs(value)
    return equity, need - equity


@apart
def is_endangered(book, market, terms, t):
    """Does any margin account fall below its maintenance margin inside row t?"""
    for wallet in range(book.cash.shape[0]):
        for i in range(book.goal.shape[0]):
            if terms[i].wallet == wallet and terms[i].margin == 1 and book.quantity[i] != 0.0:
                if in_danger(book, market, terms, wallet, t, True)[1] > 0.0:
                    return True
                break
    return False


@apart
def liquidate(book, log, market, setup, t, inside):
    """What the venue does to margin accounts below their maintenance margin: it closes all that they hold.

    inside   False: at the open of row t, True: between its open and its close

    The price of each position is the worse of the market's and of the one at which the account is worth nothing. At the
    open the market's is the open; inside the bar the venue takes over before the account is worth nothing, at that
    price, however far the bar goes beyond.
    """
    terms = setup.terms
    for wallet in range(book.cash.shape[0]):
        margined = False
        for i in range(book.goal.shape[0]):
            margined |= terms[i].wallet == wallet and terms[i].margin == 1 and book.quantity[i] != 0.0
        if not margined:
            continue
        worst, lacking = in_danger(book, market, terms, wallet, t, inside)
        if lacking > 0.0:
            close_wallet(book, log, market, setup, wallet, t, inside, worst)


@part
def close_wallet(book, log, market, setup, wallet, t, inside, worst):
    """Close every position of a wallet at its bankruptcy price; worst: its equity at the bar's adverse prices."""
    terms, marks = setup.terms, market.mark[t]
    before = reference(book, market, terms, wallet, t, inside)
    # How far along the way from the reference to the adverse prices the account is worth nothing: 1 is all of it.
    way = before / (before - worst) if before > worst else 1.0
    if not inside:
        way = max(way, 1.0)
    for i in range(book.goal.shape[0]):
        position = book.positions[i]
        if terms[i].wallet != wallet or position.lots == 0:
            continue
        first = reference_price(market, terms, i, t, inside)
        last = adverse(market, book, i, t, inside)
        price = first + way * (last - first) if last > 0.0 else first
        price = max(price, 0.0)
        opened = market.ts[t - 1]
        if market.rows[t, i, OPEN] > 0.0:
            opened = market.ts[t] - np.int64(market.rows[t, i, DURATION])
        take_over(book, log, terms, marks, i, -position.lots, price, t, market.ts[t] if inside else opened)


@part
def take_over(book, log, terms, marks, i, lots, price, row, ts):
    """The venue closes a position by signed lots at a price (quote currency), for its fee and that of a liquidation."""
    position = book.positions[i]
    for slot in range(SLOTS):
        if (position.live >> slot) & 1 == 1:
            end_order(book, log, i, slot, LIQUIDATED, ts)
    charge(book, terms, i, abs(lots) * terms[i].unit * price * terms[i].liquidation, FEE)
    note(log, row, ts, MARGIN_CALL, i, position.lots, 0.0, LIQUIDATE)
    place(book, TARGET, Order(0, ts, i, lots, MARKET, np.nan, np.nan, GTC, 0, 1, 0))
    fee = fee_of(terms[i], lots * terms[i].unit * price, 0)
    settle(book, log, terms, marks, i, TARGET, lots, Execution(price, fee, 0, price, 0.0, 0.0, 0.0, 0.0), row, ts)
    if log.fills.shape[0] != 0:
        log.fills[log.used[1] - 1].slot = SLOTS
    end_order(book, log, i, TARGET, NO_REASON, ts)
    stop_out(book, i, MARGIN_CALL, log, row, ts)
    stopped(book, i)
    set_band(book, i)


@part
def reference_price(market, terms, i, t, inside):
    """Quote currency: the open for what happens inside the bar, the last price before for what happens at its open."""
    opened = market.rows[t, i, OPEN]
    if inside and opened > 0.0:
        return opened
    marks = market.carried[t - 1]
    return marks[i] / rate_of(terms, marks, i)


@part
def reference(book, market, terms, wallet, t, inside):
    """Equity of a wallet at its reference prices."""
    marks = market.mark[t]
    at = book.column[wallet]
    equity = book.cash[wallet] * (marks[at] if at >= 0 else 1.0)
    for i in range(book.goal.shape[0]):
        if terms[i].wallet == wallet and book.quantity[i] != 0.0:
            equity += book.quantity[i] * reference_price(market, terms, i, t, inside) * rate_of(terms, marks, i)
    return equity
