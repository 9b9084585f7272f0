"""One decision: new weights -> virtual lots -> wanted -> the gate -> orders. Both drivers call this row (design §1)."""

from __future__ import annotations

import numpy as np

from trimtab.compiled import entry, part, rule, spliced
from trimtab.rules.account import must_be_flat, rate_of, reduced
from trimtab.rules.book import TARGET
from trimtab.rules.exposure import cap_models
from trimtab.rules.fills import ask_again, end_order, place, set_band
from trimtab.rules.gate import gate
from trimtab.rules.limits import LOT_RANGE, MEMBER, MIN_NOTIONAL, NO_PRICE, REFUSE, note
from trimtab.rules.orders import REPLACED, net, on_tick, size
from trimtab.rules.universe import is_back, is_out
from trimtab.types import GTC, LIMIT, MARKET, MAX_LOTS, Order


@part
def resize(book, log, setup, m, i, weight, price, row, ts):
    """Take a model's new weight: its virtual lots change unless it is the same weight, blocked, or inside the buffer.

    A weight that is bit-equal to the last is no new decision. After a protective stop the lots stay 0 until the weight
    changes sign or passes through 0.
    """
    if weight == book.weight[m, i] and setup.style.always == 0:
        return
    if book.blocked[m, i] != 0.0:
        if weight * book.blocked[m, i] > 0.0:
            book.weight[m, i] = weight
            return
        book.blocked[m, i] = 0.0
    take(book, log, setup, m, i, weight, price, row, ts)


@part
def take(book, log, setup, m, i, weight, price, row, ts):
    """A model's weight in virtual lots, at a price and today's equity; those that stand stay inside the buffer."""
    equity = max(book.head[0].equity, 0.0)
    unit = setup.terms[i].unit
    lots = size(weight, equity, price, unit)
    if lots != lots:  # NaN
        note(log, row, ts, NO_PRICE, i, weight, 0.0, REFUSE)
        return
    standing = book.target[m, i]
    if weight * standing > 0.0 and abs(lots - standing) * unit * price <= setup.style.buffer * equity:
        book.weight[m, i] = weight
        return
    book.weight[m, i] = weight
    book.target[m, i] = lots
    book.dirty[i] = 1


@part
def take_up(book, log, setup, i, price, row, ts):
    """What models want of an instrument that may be held again: their standing weights, sized anew.

    The lots that stand are of another day's price and equity. What a protective stop closed stays closed.
    """
    for m in range(book.weight.shape[0]):
        weight = book.weight[m, i]
        if weight == weight and book.blocked[m, i] == 0.0:
            take(book, log, setup, m, i, weight, price, row, ts)


@spliced
def plan(book, log, setup, i, price, row, ts, forced, own):
    """At most one working target order per instrument: allowed - held, in place of the one that is there."""
    position, order = book.positions[i], book.orders[i, TARGET]
    terms, style = setup.terms[i], setup.style
    lots = book.allowed[i] - position.lots
    reduces = position.lots != 0 and (lots > 0) != (position.lots > 0) and abs(lots) <= abs(position.lots)
    kind, tif, post_only, limit = style.kind, style.tif, style.post_only, np.nan
    cut = abs(book.allowed[i]) < abs(book.wanted[i])
    if reduces and (forced != 0 or own == 0 or cut or must_be_flat(book.head[0]) or position.closing == 1):
        kind, tif, post_only = MARKET, GTC, 0  # what the gate or a stop demands does not wait for a price
    live = (position.live >> TARGET) & 1 == 1
    if live and order.lots - order.filled == lots and order.kind == kind and (kind == MARKET or own == 0):
        return  # it is on its way; a limit price is taken anew from this close
    if live:
        end_order(book, log, i, TARGET, REPLACED, ts)
    if lots == 0:
        return
    if abs(lots) * terms.unit * price < terms.min_notional and book.allowed[i] != 0:
        note(log, row, ts, MIN_NOTIONAL, i, lots, 0.0, REFUSE)
        book.goal[i] = position.lots
        return
    if kind == LIMIT:
        side = 1.0 if lots > 0 else -1.0
        limit = on_tick(price * (1.0 - side * style.offset), terms.tick_size, side)
    place(book, TARGET, Order(0, ts, i, lots, kind, limit, np.nan, tif, post_only, 1 if reduces else 0, 0))


@part
def want(book, log, market, i, row, ts):
    """Net the models' virtual lots of an instrument; more than can be counted exactly is refused, and so is any of what
    may not be held.

    While a protective order still closes the position nothing else is asked for.
    """
    if book.positions[i].closing == 1:
        book.wanted[i] = 0
        return
    if book.head[0].killed == 2:
        book.wanted[i] = book.positions[i].lots
        return
    wanted = net(book.target, i)
    if abs(wanted) >= MAX_LOTS:
        note(log, row, ts, LOT_RANGE, i, wanted, book.goal[i], REFUSE)
        wanted = book.goal[i]
    if wanted != 0 and is_out(market, row, i):
        note(log, row, ts, MEMBER, i, wanted, 0.0, REFUSE)
        wanted = 0
    book.wanted[i] = wanted


@part
def suppose(book):
    """Where nobody knows whether orders have filled, the gate is asked about the largest of what may be held."""
    for i in range(book.goal.shape[0]):
        if book.unsure[0, i] != 0 or book.unsure[1, i] != 0:
            held = book.positions[i].lots
            low, high = held + book.unsure[0, i], held + book.unsure[1, i]
            book.wanted[i] = low if abs(low) > abs(high) else high


@part
def hold_back(book):
    """There no order may add to what may be held: only what makes each of the possible positions smaller passes."""
    for i in range(book.goal.shape[0]):
        if book.unsure[0, i] == 0 and book.unsure[1, i] == 0:
            continue
        held = book.positions[i].lots
        low, high = held + book.unsure[0, i], held + book.unsure[1, i]
        wish = 0 if book.positions[i].closing == 1 else net(book.target, i)
        if must_be_flat(book.head[0]):
            wish = 0
        if (low <= 0 and high >= 0) or book.head[0].killed == 2:
            book.allowed[i] = held
            continue
        least = min(abs(low), abs(high))
        cut = abs(held) - min(abs(reduced(wish, held)), abs(reduced(book.allowed[i], held)))
        cut = min(cut, least)
        book.allowed[i] = held - cut if held > 0 else held + cut


@part
def divide(book, market, i, row, ts):
    """Remember how the gate's cut is shared between models, and whether two of them want opposite changes.

    Of what may not be held no model has anything, also where their wishes would cancel each other.
    """
    position = book.positions[i]
    wanted, allowed = book.wanted[i], book.allowed[i]
    if book.dirty[i] == 0:  # its models' wish stands, only the gate's cut is new
        wanted = net(book.target, i)
    position.scale = 1.0
    if wanted != allowed:
        position.scale = allowed / wanted if wanted != 0 else 0.0
    position.crossing = 0
    models = book.target.shape[0]
    if position.closing == 1:
        position.scale = 0.0
        return
    if is_out(market, row, i):
        position.scale = 0.0
    if models == 1:
        return
    up, down = 0, 0
    for m in range(models):
        gap = book.target[m, i] * position.scale - book.held[m, i]
        up |= 1 if gap > 1e-9 else 0
        down |= 1 if gap < -1e-9 else 0
    if up & down == 1:
        position.crossing = ts


@rule
def is_due(head, weights, row, forced):
    """Is this row a decision? A new weight, a breaker that was crossed, or a reduction to be asked for again."""
    new = head.event < weights.row.shape[0] and weights.row[head.event] == row
    return new or forced == 1 or head.retry == 1


@spliced
def decide_row(book, log, weights, market, setup, row, forced):
    """Turn the weights that are new at this row into orders; everything that reaches a venue has passed here.

    weights   Weights, consumed from head.event while their row is this one
    forced    a breaker was crossed: every instrument is decided again
    """
    head, marks, ts = book.head[0], market.mark[row], market.ts[row]
    e, todo = head.event, 0
    while e < weights.row.shape[0] and weights.row[e] == row:
        i = weights.instrument[e]
        was = book.dirty[i]
        resize(book, log, setup, weights.model[e], i, weights.value[e], marks[i], row, ts)
        if book.dirty[i] != was:
            book.todo[todo] = i
            todo += 1
        e += 1
    head.event = e
    n = book.goal.shape[0]
    if forced == 1 or head.retry == 1:
        todo = 0
        for i in range(n):
            book.dirty[i] |= forced
            if book.dirty[i] == 1:
                if is_back(market, row, i):
                    take_up(book, log, setup, i, marks[i], row, ts)
                book.todo[todo] = i
                todo += 1
    head.retry, head.tight = 0, 0
    if setup.more != 0:
        todo = cap_models(book, log, marks, setup, row, ts, todo)
    if todo == 0:
        return
    for i in range(n):
        book.wanted[i] = book.goal[i]
    for k in range(todo):
        want(book, log, market, book.todo[k], row, ts)
    if head.unsure != 0:
        suppose(book)
    if gate(book, log, market, setup, row, ts) != 0:
        for i in range(n):
            if book.dirty[i] == 0 and book.allowed[i] != book.goal[i]:
                book.todo[todo] = i
                todo += 1
    if head.unsure != 0:
        hold_back(book)
    for k in range(todo):
        i = book.todo[k]
        divide(book, market, i, row, ts)
        own = 0 if is_out(market, row, i) else book.dirty[i]  # its sale does not wait for a price
        book.goal[i] = book.allowed[i]
        book.dirty[i] = 0
        plan(book, log, setup, i, marks[i] / rate_of(setup.terms, marks, i), row, ts, forced, own)
        set_band(book, i)
        if book.positions[i].sliced == 1:
            book.positions[i].sliced = 0
            ask_again(book, i)


@entry
def decide(book, log, weights, market, setup, row, forced):
    """decide_row for callers outside a compiled loop."""
    decide_row(book, log, weights, market, setup, row, forced)
