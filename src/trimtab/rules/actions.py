"""What companies do to what is held: splits and dividends, at the first row that trades without them, before orders.

The account holds raw prices, so both are facts of the account: a split changes lots, prices of open orders and what
models want; a dividend is cash to who held at the last close, and from who was short. Equity stays what it was, but for
what the market makes of it.
"""

from __future__ import annotations

import numpy as np

from trimtab.compiled import apart, part
from trimtab.rules.account import add_cash, is_rounding
from trimtab.rules.book import STOP_LOSS, TARGET
from trimtab.rules.fills import Execution, add_up, list_fill, protect, set_band, stopped
from trimtab.rules.limits import ADJUST, DIVIDEND_PAID, PAY, SPLIT, note
from trimtab.rules.market import DURATION, OPEN
from trimtab.rules.orders import SPLIT_UP, on_tick
from trimtab.types import DIVIDEND, LIMIT, MAX_LOTS, Fill


@part
def whole(lots):
    """Lots rounded toward zero; what rounding alone keeps from being whole is whole. No more than can be counted."""
    if abs(lots) >= MAX_LOTS:
        return np.int64(MAX_LOTS - 1) if lots > 0.0 else np.int64(1 - MAX_LOTS)
    nearest = np.rint(lots)
    return np.int64(nearest) if is_rounding(lots - nearest, lots) else np.int64(lots)


@part
def pay_dividend(book, log, terms, i, each, row, ts):
    """Cash of `each` a share to whoever holds, from whoever is short: the account, and each model for what it holds."""
    unit, lots = terms[i].unit, book.positions[i].lots
    add_cash(book, terms[i].wallet, lots * unit * each)
    for m in range(book.held.shape[0]):
        amount = book.held[m, i] * unit * each
        book.ledger[m, i] += amount
        book.charges[m, i, DIVIDEND] -= amount
    if lots != 0:
        note(log, row, ts, DIVIDEND_PAID, i, each, lots * unit * each, PAY)


@part
def split_held(book, log, terms, i, split, price, row, ts):
    """What is held, in new shares: whole lots, and cash at a price for the fraction that is left.

    A lot that stays has cost what it cost before, over the ratio: a fraction brings no stop or target any nearer.
    The cost of a fraction is realised, and what is paid for it counts with the dividends.
    """
    position, unit = book.positions[i], terms[i].unit
    lots, k = position.lots, log.used[1]
    left = whole(lots * split)
    ratio = left / lots if lots != 0 else split
    fraction = lots * split - left
    if is_rounding(fraction, lots * split):
        fraction = 0.0
    moved = left != lots
    for m in range(book.held.shape[0]):
        log.shares[k, m] = book.held[m, i] * ratio - book.held[m, i]
    add_up(book, i, left, log.shares[k])
    for m in range(book.held.shape[0]):
        held = book.held[m, i]
        book.held[m, i] += log.shares[k, m]
        moved |= log.shares[k, m] != 0.0
        if fraction != 0.0:
            amount = held * (split - ratio) * unit * price
            book.ledger[m, i] += amount
            book.charges[m, i, DIVIDEND] -= amount
    if moved:  # who counts lots out of fills has to know; also where they cancel out
        book.head[0].fills += 1
        if log.fills.shape[0] != 0:
            new = Fill(book.head[0].fills, 0, ts, i, left - lots, 0.0, 0.0, 0)
            list_fill(log, new, row, Execution(0.0, 0.0, 0, price, 0.0, 0.0, 0.0, 0.0), left)
            log.fills[k].reason = SPLIT_UP
    if lots == 0:
        return
    cost = position.avg_price * lots
    position.avg_price = position.avg_price / split if left != 0 else 0.0
    if fraction != 0.0 or left == 0:
        position.realised -= (cost - position.avg_price * left) * unit
    if left == 0:
        book.head[0].round_trips += 1
        if terms[i].margin == 1:
            book.head[0].margined -= 1
    position.lots = left
    book.quantity[i] = left * unit
    note(log, row, ts, SPLIT, i, lots, left, ADJUST)
    if fraction != 0.0:
        add_cash(book, terms[i].wallet, fraction * unit * price)
        note(log, row, ts, SPLIT, i, fraction, fraction * unit * price, PAY)


@part
def split_orders(book, log, setup, i, split, was, ts):
    """Open orders, in new shares and prices; was: the lots held before. One of which nothing is left ends at its bar.

    What has filled of an order stays as it filled, so that it is still the sum of its fills.
    """
    position, order = book.positions[i], book.orders[i, TARGET]
    if (position.live >> TARGET) & 1 == 1:
        left = order.lots - order.filled
        order.lots = order.filled + whole(left * split)
        if order.kind == LIMIT:
            side = 1.0 if left > 0 else -1.0
            order.limit_price = on_tick(order.limit_price / split, setup.terms[i].tick_size, side)
        book.goal[i] = position.lots + order.lots - order.filled
    else:
        book.goal[i] = position.lots if book.goal[i] == was else whole(book.goal[i] * split)
    if position.live >> STOP_LOSS != 0:
        protect(book, log, setup, i, ts, 0)  # what protects follows the position, to the lot
    if was != 0 and position.lots == 0 and position.closing == 1:
        stopped(book, i)


@part
def split_shares(book, log, setup, i, split, price, row, ts):
    """Everything that is counted in shares of an instrument or priced by one, in new shares."""
    position, was = book.positions[i], book.positions[i].lots
    split_held(book, log, setup.terms, i, split, price, row, ts)
    position.best /= split
    position.used = whole(position.used * split)
    position.bought = whole(position.bought * split)
    position.sold = whole(position.sold * split)
    for m in range(book.target.shape[0]):
        book.target[m, i] *= split
    book.unsure[0, i] = np.int64(np.floor(book.unsure[0, i] * split))  # the most that may have filled
    book.unsure[1, i] = np.int64(np.ceil(book.unsure[1, i] * split))
    split_orders(book, log, setup, i, split, was, ts)
    set_band(book, i)


@apart
def act(book, log, market, setup, t):
    """The splits and dividends of row t, before anything of it is traded; dividends are those of the old shares."""
    for i in range(market.split.shape[1]):
        bar = market.rows[t, i]
        if not bar[OPEN] > 0.0 or not market.mark[t - 1, i] > 0.0:
            continue  # nobody held it before its first bar
        ts = market.ts[t] - np.int64(bar[DURATION])
        each = market.dividend[t, i] if market.dividend.shape[0] > 0 else np.nan
        if each == each:
            pay_dividend(book, log, setup.terms, i, each, t, ts)
        split = market.split[t, i] if market.split.shape[0] > 0 else np.nan
        if split == split:
            split_shares(book, log, setup, i, split, bar[OPEN], t, ts)
    book.head[0].floor, book.head[0].ceiling = np.inf, -np.inf  # the next mark sets them anew
