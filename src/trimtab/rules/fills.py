"""What a fill does to the book: cash, position, costs by kind, each model's part of it, and the orders around it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.compiled import part, spliced
from trimtab.rules.account import add_cash, apply, is_rounding, must_be_flat, rate_of
from trimtab.rules.book import PROFIT, SLOTS, STOP_LOSS, TARGET, TRAIL, costs_of
from trimtab.rules.limits import FLATTEN, note
from trimtab.rules.match import half_spread_now
from trimtab.rules.orders import ENDS, NO_REASON, REPLACED, UNPROTECTED, net, on_tick
from trimtab.types import (
    DAY_ORDER,
    FEE,
    FILLED,
    GTC,
    IMPACT,
    LATENCY,
    LIMIT,
    MARKET,
    NEW,
    PARTIALLY_FILLED,
    SLIPPAGE,
    SPREAD,
    STOP,
    STOP_LIMIT,
    TAKE_PROFIT,
    TRAILING,
    Fill,
    Order,
    Position,
)


class Execution(NamedTuple):
    """At which price an order filled, and what that price was made of; money in quote currency, positive = paid.

    mid     the price that the order met; with the four costs it explains the fill's price
    maker   1: it rested
    """

    price: float
    fee: float
    maker: int
    mid: float
    spread: float
    slippage: float
    impact: float
    latency: float


@part
def ask_again(book, i):
    """Make the end of this row a decision about an instrument, although no weight is new."""
    book.dirty[i] = 1
    book.head[0].retry = 1


@part
def end_order(book, log, i, slot, reason, ts):
    """Make an order terminal, in the status that the reason means: write it to the log and free its slot."""
    order = book.orders[i, slot]
    order.status = ENDS[reason]
    order.reason = reason
    order.done_ts = ts
    order.after = book.head[0].fills
    if log.orders.shape[0] != 0:
        log.orders[log.used[0]] = order
        log.used[0] += 1
    position = book.positions[i]
    position.live &= ~(1 << slot)
    if slot == TARGET and reason != NO_REASON and reason != REPLACED:
        book.goal[i] = 0 if position.closing == 1 else position.lots  # what was not filled is no longer asked for
        derisks = book.head[0].derisked == 1 and order.reduce_only == 1
        if position.closing == 1 or must_be_flat(book.head[0]) or derisks:
            ask_again(book, i)  # what an account limit or max_holding demands is asked for until it is done


@part
def set_band(book, i):
    """Bring the driver's view of an instrument up to date: its band, and whether it must be matched on every bar.

    A bar whose low is above book.low[i] and whose high is below book.high[i] can meet none of its resting orders.
    """
    position = book.positions[i]
    was_working = book.working[i]
    low, high, working = -np.inf, np.inf, 1 if position.crossing != 0 else 0
    best_low, best_high = -np.inf, np.inf
    if position.live >> STOP_LOSS != 0 or (position.live != 0 and book.orders[i, TARGET].arrived == 1):
        for slot in range(SLOTS):
            if (position.live >> slot) & 1 == 0:
                continue
            order = book.orders[i, slot]
            if slot == TARGET and (order.arrived == 0 or order.tif == DAY_ORDER or order.lots == order.filled):
                working = 1  # not there yet, or it has a day to end on, or nothing is left of it
            elif order.kind == MARKET or (order.triggered == 1 and order.kind != STOP_LIMIT):
                working = 1
            elif order.kind == LIMIT or order.kind == TAKE_PROFIT or order.triggered == 1:
                price = order.limit_price
                low, high = (max(low, price), high) if order.lots > 0 else (low, min(high, price))
            else:
                price = order.stop_price
                low, high = (low, min(high, price)) if order.lots > 0 else (max(low, price), high)
                if order.kind == TRAILING:  # a better extreme moves its level
                    best_low, best_high = (position.best, np.inf) if order.lots > 0 else (-np.inf, position.best)
    elif position.live != 0:
        working = 1
    position.below, position.above = low, high
    low, high = max(low, best_low), min(high, best_high)
    book.low[i] = low
    book.high[i] = high
    book.working[i] = working
    head = book.head[0]
    head.working += working - was_working
    resting = 1 if (low > -np.inf or high < np.inf) else 0
    head.resting += resting - position.resting
    position.resting = resting


@part
def narrow(book, i):
    """Bring the band of an instrument up to date where nothing has changed but its trailing stop, which came closer."""
    position, stop = book.positions[i], book.orders[i, TRAIL].stop_price
    if position.lots > 0:
        book.low[i] = position.below = max(position.below, stop)
        book.high[i] = min(position.above, position.best)
    else:
        book.high[i] = position.above = min(position.above, stop)
        book.low[i] = max(position.below, position.best)


@part
def place(book, slot, new):
    """Put a new Order into its instrument's slot; its id is the next of the book's."""
    head = book.head[0]
    head.orders += 1
    order = book.orders[new.instrument, slot]
    order.order_id = head.orders
    order.ts = new.ts
    order.instrument = new.instrument
    order.lots = new.lots
    order.filled = 0
    order.kind = new.kind
    order.limit_price = new.limit_price
    order.stop_price = new.stop_price
    order.tif = new.tif
    order.post_only = new.post_only
    order.reduce_only = new.reduce_only
    order.parent = new.parent
    order.status = NEW
    order.reason = NO_REASON
    order.done_ts = 0
    order.day = -1
    order.arrived = 0
    order.triggered = 0
    order.waited = NO_REASON
    order.after = 0
    book.positions[new.instrument].live |= 1 << slot


@part
def protect(book, log, setup, i, ts, parent):
    """Bring the reduce-only OCO orders into line with the net position and its average price, after each fill.

    An order that stays keeps its id and is resized; all are canceled when the position is gone, and all are new when
    it has changed sign.
    """
    position, tick_size, limits = book.positions[i], setup.terms[i].tick_size, setup.limits
    for slot in range(STOP_LOSS, SLOTS):
        distance = limits.stop_loss
        if slot == TRAIL:
            distance = limits.trailing_stop
        elif slot == PROFIT:
            distance = limits.take_profit
        if distance == np.inf:
            continue
        live = (position.live >> slot) & 1 == 1
        order = book.orders[i, slot]
        if live and (position.lots == 0 or (order.lots > 0) == (position.lots > 0)):
            end_order(book, log, i, slot, UNPROTECTED, ts)
            live = False
        if position.lots == 0:
            continue
        side = 1.0 if position.lots > 0 else -1.0
        if not live:
            kind = STOP if slot == STOP_LOSS else (TRAILING if slot == TRAIL else TAKE_PROFIT)
            place(book, slot, Order(0, ts, i, -position.lots, kind, np.nan, np.nan, GTC, 0, 1, parent))
        order.lots = order.filled - position.lots
        if slot == PROFIT:
            order.limit_price = on_tick(position.avg_price * (1.0 + side * distance), tick_size, -side)
        elif slot == STOP_LOSS:
            order.stop_price = on_tick(position.avg_price * (1.0 - side * distance), tick_size, side)
        else:
            order.stop_price = on_tick(position.best * (1.0 - side * distance), tick_size, side)


@part
def add_up(book, i, lots, shares):
    """Let what the models will hold add up to the lots held after an exchange of shares (M,), which rounding alone
    keeps from it.

    Who gives back all that it holds, but for rounding, gives back all of it; what is left over goes to whoever holds
    most then. Nothing is dropped: a lot may be as small as rounding of so many is elsewhere.
    """
    left, most, largest = float(lots), 0.0, 0
    for m in range(book.held.shape[0]):
        held = book.held[m, i] + shares[m]
        if shares[m] != 0.0 and is_rounding(held, shares[m]):
            shares[m] = -book.held[m, i]
            held = 0.0
        left -= held
        if abs(held) > most:
            most, largest = abs(held), m
    shares[largest] += left


@part
def split_fill(book, i, lots, protective, shares):
    """Each model's part of a fill, signed lots into shares (M,) (design §6.14).

    What a decision left over goes by each model's part of the gap on the fill's side; a protective fill, or one that
    no gap explains, pro rata to the lots held.
    """
    models = book.held.shape[0]
    position = book.positions[i]
    if models == 1:
        shares[0] = lots
        return
    before = position.lots - lots  # the position is already applied
    whole = 0.0
    if protective == 0:
        for m in range(models):
            gap = book.target[m, i] * position.scale - book.held[m, i]
            if gap * lots > 0.0:
                whole += gap
    for m in range(models):
        shares[m] = 0.0
        if whole != 0.0:
            gap = book.target[m, i] * position.scale - book.held[m, i]
            if gap * lots > 0.0:
                shares[m] = lots * (gap / whole)
        elif before != 0:
            shares[m] = lots * (book.held[m, i] / before)
    add_up(book, i, position.lots, shares)


@part
def share_fill(book, i, lots, notional, done, shares):
    """Book each model's part of a fill: lots, money, and costs by kind; fees go by the part's absolute value."""
    models = book.held.shape[0]
    size = 0.0
    for m in range(models):
        size += abs(shares[m])
    for m in range(models):
        if shares[m] == 0.0:
            continue
        ratio = shares[m] / lots
        due = done.fee * (abs(shares[m]) / size)
        book.held[m, i] += shares[m]
        book.ledger[m, i] -= notional * ratio + due
        charges = book.charges
        charges[m, i, FEE] += due
        charges[m, i, SPREAD] += done.spread * ratio
        charges[m, i, SLIPPAGE] += done.slippage * ratio
        charges[m, i, IMPACT] += done.impact * ratio
        charges[m, i, LATENCY] += done.latency * ratio


@part
def list_fill(log, new, row, done, position):
    """Write a Fill into the log with what it is made of; position: lots held after it."""
    k = log.used[1]
    log.used[1] = k + 1
    fill = log.fills[k]
    fill.fill_id = new.fill_id
    fill.order_id = new.order_id
    fill.ts = new.ts
    fill.row = row
    fill.instrument = new.instrument
    fill.lots = new.lots
    fill.price = new.price
    fill.fee = new.fee
    fill.maker = new.maker
    fill.mid = done.mid
    fill.spread = done.spread
    fill.slippage = done.slippage
    fill.impact = done.impact
    fill.latency = done.latency
    fill.realised = 0.0
    fill.position = position
    fill.crossed = 0.0
    fill.slot = TARGET
    fill.reason = NO_REASON
    fill.waited = NO_REASON


@spliced
def settle(book, log, terms, marks, i, slot, lots, done, row, ts):
    """Book a fill of an order: cash, position, models, turnover, and its line in the log.

    marks   for what a foreign currency is worth
    lots    signed, within what the order has left
    done    Execution: at which price, and what that was made of
    """
    head, position, order = book.head[0], book.positions[i], book.orders[i, slot]
    unit = terms[i].unit
    notional = lots * unit * done.price
    was = Position(position.lots, position.avg_price, position.realised)
    now = apply(was, lots, done.price, unit)
    position.lots, position.avg_price, position.realised = now.lots, now.avg_price, now.realised_pnl
    if was.lots == 0 or (was.lots > 0) != (now.lots > 0):
        position.best = done.price
        position.opened = ts
    if abs(now.lots) > abs(was.lots) or (was.lots > 0) != (now.lots > 0):
        position.grew = ts
    if was.lots != 0 and (now.lots == 0 or (was.lots > 0) != (now.lots > 0)):
        head.round_trips += 1
    book.quantity[i] = now.lots * unit
    add_cash(book, terms[i].wallet, -(notional + done.fee))
    if terms[i].margin == 1:
        head.margined += (now.lots != 0) - (was.lots != 0)
    head.fills += 1
    head.traded += abs(notional) * rate_of(terms, marks, i)
    position.used += abs(lots)
    if lots > 0:
        position.bought += lots
    else:
        position.sold -= lots
    order.filled += lots
    order.status = FILLED if order.filled == order.lots else PARTIALLY_FILLED
    k = log.used[1]
    split_fill(book, i, lots, 1 if slot != TARGET else 0, log.shares[k])
    share_fill(book, i, lots, notional, done, log.shares[k])
    if log.fills.shape[0] == 0:
        return
    fill = Fill(head.fills, order.order_id, ts, i, lots, done.price, done.fee, done.maker)
    list_fill(log, fill, row, done, now.lots)
    log.fills[k].realised = now.realised_pnl - was.realised_pnl
    log.fills[k].slot = slot
    log.fills[k].reason = order.reason
    log.fills[k].waited = order.waited


@part
def stop_out(book, i, limit, log, row, ts):
    """The first fill of a protective order: the models' virtual lots are 0 until their forecast changes sign or is 0.

    What is decided while the rest of it still has to fill is kept, and asked for when it has (design §8).
    """
    position = book.positions[i]
    if position.closing == 1:
        return
    position.closing = 1
    book.goal[i] = 0
    position.scale = 1.0
    for m in range(book.target.shape[0]):
        if book.target[m, i] != 0.0:
            book.blocked[m, i] = 1.0 if book.weight[m, i] > 0.0 else -1.0
        book.target[m, i] = 0.0
    note(log, row, ts, limit, i, book.positions[i].lots, 0.0, FLATTEN)


@part
def stopped(book, i):
    """The position that a protective order was closing is gone: what was decided meanwhile is asked for now."""
    book.positions[i].closing = 0
    if net(book.target, i) != 0:
        ask_again(book, i)


@part
def cross(book, log, terms, marks, i, mid, row, ts, vol):
    """Let models that want opposite changes exchange lots at mid, free; what remains is one-sided and trades."""
    head, position = book.head[0], book.positions[i]
    position.crossing = 0
    models = book.held.shape[0]
    buying, selling = 0.0, 0.0
    for m in range(models):
        gap = book.target[m, i] * position.scale - book.held[m, i]
        if gap > 0.0:
            buying += gap
        else:
            selling -= gap
    lots = min(buying, selling)
    if not lots > 0.0:
        return
    unit = terms[i].unit
    k = log.used[1]
    for m in range(models):
        gap = book.target[m, i] * position.scale - book.held[m, i]
        log.shares[k, m] = lots * (gap / buying) if gap > 0.0 else lots * (gap / selling)
    add_up(book, i, position.lots, log.shares[k])
    for m in range(models):
        book.held[m, i] += log.shares[k, m]
        book.ledger[m, i] -= log.shares[k, m] * unit * mid
    half = half_spread_now(costs_of(terms[i]), vol)
    half = half if half == half else 0.0  # not known yet: nothing is claimed for it
    saved = 2.0 * lots * unit * mid * (terms[i].taker_fee + half + terms[i].slippage)
    head.saved += saved * rate_of(terms, marks, i)
    head.fills += 1
    if log.fills.shape[0] == 0:
        return
    fill = Fill(head.fills, 0, ts, i, 0, mid, 0.0, 0)
    list_fill(log, fill, row, Execution(mid, 0.0, 0, mid, 0.0, 0.0, 0.0, 0.0), position.lots)
    log.fills[k].crossed = lots
