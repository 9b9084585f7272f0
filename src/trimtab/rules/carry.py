"""What holding costs and earns while nothing trades: funding, borrow, interest, dividends; and cash paid in and out.

All of it falls due at stamps: rows at which a UTC day begins, a funding rate, a split or a dividend is known, or cash
flows. Between them a book's cash stands still. Days are counted on the calendar, a year has 365.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.compiled import apart, part
from trimtab.rules.account import add_cash, mark, rate_of
from trimtab.rules.actions import act
from trimtab.rules.breakers import turn_clock
from trimtab.rules.universe import turn_members
from trimtab.types import BORROW, DAY, FUNDING, HOUR, INTEREST

#: Perpetuals without a field of their own pay their fallback rate at 00:00, 08:00 and 16:00 UTC.
FUNDING_EVERY: Final = 8 * HOUR


@part
def charge(book, terms, i, amount, kind):
    """Take a cost of holding an instrument (quote currency; negative: an income), shared by what each model holds."""
    models = book.held.shape[0]
    whole = 0.0
    for m in range(models):
        whole += abs(book.held[m, i])
    add_cash(book, terms[i].wallet, -amount)
    for m in range(models):
        part = abs(book.held[m, i]) / whole if whole > 0.0 else 1.0 / models
        book.ledger[m, i] -= amount * part
        book.charges[m, i, kind] += amount * part


@part
def fund_perpetual(book, terms, marks, i, rate):
    """Longs pay shorts `rate` of their notional; each model for what it holds, so that opposite ones pay each other."""
    price = marks[i] / rate_of(terms, marks, i)
    add_cash(book, terms[i].wallet, -book.quantity[i] * price * rate)
    for m in range(book.held.shape[0]):
        amount = book.held[m, i] * terms[i].unit * price * rate
        book.ledger[m, i] -= amount
        book.charges[m, i, FUNDING] += amount


@part
def stamps_between(first, last):
    """How many times a fallback rate falls due after `first` and up to `last` (ts)."""
    return last // FUNDING_EVERY - first // FUNDING_EVERY


@part
def pay_funding(book, market, terms, t, since):
    """Funding that falls due at the close of row t: from the panel's field, else the fallback rate by the clock."""
    for i in range(book.goal.shape[0]):
        if terms[i].perpetual == 0 or book.quantity[i] == 0.0:
            continue
        if market.funding.shape[0] > 0:
            rate = market.funding[t, i]
            if rate == rate:
                fund_perpetual(book, terms, market.mark[t], i, rate)
        elif terms[i].funding != 0.0 and since >= 0:
            times = stamps_between(since, market.ts[t])
            fund_perpetual(book, terms, market.mark[t], i, times * terms[i].funding)


@part
def pay_borrow(book, terms, marks, days):
    """Borrow of short positions over whole days, paid by the models that are short."""
    for i in range(book.goal.shape[0]):
        if terms[i].borrow == 0.0 or terms[i].perpetual == 1 or book.quantity[i] >= 0.0:
            continue
        amount = -book.quantity[i] * marks[i] / rate_of(terms, marks, i) * terms[i].borrow * days / 365.0
        add_cash(book, terms[i].wallet, -amount)
        short = 0.0
        for m in range(book.held.shape[0]):
            short += min(book.held[m, i], 0.0)
        for m in range(book.held.shape[0]):
            part = min(book.held[m, i], 0.0) / short
            book.ledger[m, i] -= amount * part
            book.charges[m, i, BORROW] += amount * part


@part
def debt_of(book, terms, marks, m, i):
    """What a model owes for an instrument, quote currency: what it paid; of a perpetual, what it has lost on it."""
    debt = -book.ledger[m, i]
    if terms[i].perpetual == 1:
        debt -= book.held[m, i] * terms[i].unit * marks[i] / rate_of(terms, marks, i)
    return max(debt, 0.0)


@part
def pay_interest(book, terms, marks, days):
    """Interest on the cash that a wallet owes over whole days, paid by what was bought with it.

    Where nothing was, because cash was paid out that was not there, all that may trade in the wallet share it.
    """
    n, models = book.goal.shape[0], book.held.shape[0]
    for wallet in range(book.cash.shape[0]):
        cash, rate, owed, shares = book.cash[wallet], 0.0, 0.0, 0
        for i in range(n):
            if terms[i].wallet != wallet:
                continue
            if terms[i].perpetual == 1:  # in the books at its notional, of which nothing was paid
                cash += book.quantity[i] * marks[i] / rate_of(terms, marks, i)
            rate = max(rate, terms[i].margin_interest)
            shares += models
            for m in range(models):
                owed += debt_of(book, terms, marks, m, i)
        amount = max(-cash, 0.0) * rate * days / 365.0
        if amount == 0.0:
            continue
        add_cash(book, wallet, -amount)
        for i in range(n):
            if terms[i].wallet == wallet:
                for m in range(models):
                    part = debt_of(book, terms, marks, m, i) / owed if owed > 0.0 else 1.0 / shares
                    book.charges[m, i, INTEREST] += amount * part
                    book.ledger[m, i] -= amount * part


@part
def pay_in(book, marks, wallet, amount):
    """One cash flow, in the wallet's currency; paid out where it is negative."""
    head = book.head[0]
    before = mark(head.cash, book.quantity, marks)
    add_cash(book, wallet, amount)
    at = book.column[wallet]
    worth = amount * (marks[at] if at >= 0 else 1.0)
    head.flows += worth
    if before > 0.0 and before + worth > 0.0:  # else nothing is left that a share could be of
        growth = (before + worth) / before
        head.peak *= growth
        head.day_equity *= growth
        head.week_equity *= growth


@part
def flow(book, marks, flows, t):
    """Cash paid in and out at the close of row t. It is neither profit nor loss: what losses are measured from grows or
    shrinks as equity does, so that a drawdown stays the share of the peak that it is."""
    head = book.head[0]
    while head.flow < flows.row.shape[0] and flows.row[head.flow] <= t:
        pay_in(book, marks, flows.wallet[head.flow], flows.amount[head.flow])
        head.flow += 1
    head.floor, head.ceiling = np.inf, -np.inf  # the next mark sets them anew


@part
def pay_days(book, terms, marks, day):
    """Borrow and interest for the days that ended up to `day`, the first of which began when the book did."""
    head = book.head[0]
    if head.day >= 0 and day > head.day:
        pay_borrow(book, terms, marks, day - head.day)
        pay_interest(book, terms, marks, day - head.day)
    head.day = max(head.day, day)


@apart
def before_trading(book, log, market, setup, t):
    """At a stamp, before row t is matched: days that ended before it, on what was held and marked at the row before;
    then splits and dividends."""
    day = (market.ts[t] - 1) // DAY  # a row that closes at midnight ends its day with what it holds at its close
    turn_clock(book, day)
    if t > 0:
        pay_days(book, setup.terms, market.mark[t - 1], day)
        if market.factor.shape[0] > 0:
            act(book, log, market, setup, t)


@apart
def after_trading(book, log, market, setup, t):
    """At a stamp, after row t was matched and before it is marked: who may be held no more, and what falls due."""
    head, terms, marks = book.head[0], setup.terms, market.mark[t]
    if market.member.shape[0] > 0:
        turn_members(book, log, market, setup, t)
    pay_funding(book, market, terms, t, head.stamped)
    head.stamped = market.ts[t]
    pay_days(book, terms, marks, market.ts[t] // DAY)
    flow(book, marks, setup.flows, t)
    head.stamp += 1


@part
def is_stamp(head, stamps, t):
    """Does something fall due at row t?"""
    return head.stamp < stamps.shape[0] and stamps[head.stamp] == t
