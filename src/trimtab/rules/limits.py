"""The gate: what the models want goes in, what the account may hold comes out (design §8). Nothing goes round it.

Limits are data and hard. Comparisons are strict: a measure exactly at its limit has not broken it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.compiled import apart, entry, part, rule, spliced
from trimtab.rules.account import mark
from trimtab.rules.book import TARGET
from trimtab.rules.orders import NO_REASON, NO_ROOM_YET, ROOM_CUT
from trimtab.types import ACTIVE, DAY, HALTED, codes

#: Relative room for rounding where a fill is measured by a limit: weights that are exactly at it are not cut.
SLACK: Final = 1e-9

# What acted; index = code, the word is what a user reads in the actions table.
LIMIT_NAMES: Final = (
    "max_weight",
    "gross_leverage",
    "drawdown_derisk",
    "drawdown_halt",
    "shortable",
    "stop_loss",
    "take_profit",
    "trailing_stop",
    "min_notional",
    "no_price",
    "bankrupt",
    "lot_range",
    "margin_call",
    "daily_loss",
    "weekly_loss",
)
(
    MAX_WEIGHT,
    GROSS_LEVERAGE,
    DRAWDOWN_DERISK,
    DRAWDOWN_HALT,
    SHORTABLE,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT_LIMIT,
    TRAILING_LIMIT,
    MIN_NOTIONAL,
    NO_PRICE,
    BANKRUPT,
    LOT_RANGE,
    MARGIN_CALL,
    DAILY_LOSS,
    WEEKLY_LOSS,
) = codes(15)

ACTIONS: Final = ("SCALE", "REFUSE", "FLATTEN", "HALT", "RESUME", "REDUCE", "LIQUIDATE")
SCALE, REFUSE, FLATTEN, HALT, RESUME, REDUCE, LIQUIDATE = codes(7)


@part
def note(log, row, ts, limit, instrument, wanted, allowed, action):
    """Write one row of the actions table: every refusal and scaling has a name."""
    if log.actions.shape[0] == 0:
        return
    k = log.used[2]
    log.used[2] = k + 1
    entry = log.actions[k]
    entry.ts = ts
    entry.row = row
    entry.limit = limit
    entry.instrument = instrument
    entry.model = -1
    entry.wanted = wanted
    entry.allowed = allowed
    entry.action = action


@rule
def watch(head, equity, limits):
    """The breakers on equity, and the peak and worst drawdown they are measured by; changes `head`.

    ->   -1 when nothing changed, else the code of the limit whose crossing makes this row a decision

    Leaves in head.floor and head.ceiling the band in which the next equity changes nothing, so that a driver may skip
    every row inside it without asking again.
    """
    if equity > head.peak:
        head.peak = equity
    peak = head.peak
    if equity < peak * (1.0 + head.worst):
        head.worst = equity / peak - 1.0
    crossed = -1
    if head.state != HALTED and (equity < 0.0 or equity < peak * (1.0 - limits.drawdown_halt)):
        head.state = HALTED
        crossed = BANKRUPT if equity < 0.0 else DRAWDOWN_HALT
    elif head.locked & 2 == 0 and equity < head.week_equity * (1.0 - limits.weekly_loss):
        head.locked |= 2
        crossed = WEEKLY_LOSS
    elif head.locked & 1 == 0 and equity < head.day_equity * (1.0 - limits.daily_loss):
        head.locked |= 1
        crossed = DAILY_LOSS
    elif head.derisked == 0 and equity < peak * (1.0 - limits.drawdown_derisk):
        head.derisked = 1
        crossed = DRAWDOWN_DERISK
    elif head.derisked == 1 and equity > peak * (1.0 - 0.5 * limits.drawdown_derisk):
        head.derisked = 0
        crossed = DRAWDOWN_DERISK
    floor = peak * (1.0 + head.worst)
    if head.state != HALTED:
        floor = max(floor, max(0.0, peak * (1.0 - limits.drawdown_halt)))
        if head.locked & 1 == 0:
            floor = max(floor, head.day_equity * (1.0 - limits.daily_loss))
        if head.locked & 2 == 0:
            floor = max(floor, head.week_equity * (1.0 - limits.weekly_loss))
    ceiling = peak
    if head.derisked == 0:
        floor = max(floor, peak * (1.0 - limits.drawdown_derisk))
    else:
        ceiling = min(ceiling, peak * (1.0 - 0.5 * limits.drawdown_derisk))
    head.floor = floor
    head.ceiling = ceiling
    return crossed


@part
def observe(book, log, limits, row, ts):
    """Ask the breakers about this row's equity; 1 when it becomes a decision by force."""
    head = book.head[0]
    crossed = watch(head, head.equity, limits)
    if crossed < 0:
        return 0
    drawdown = 1.0 - head.equity / head.peak
    if crossed == DAILY_LOSS:
        note(log, row, ts, crossed, -1, 1.0 - head.equity / head.day_equity, limits.daily_loss, FLATTEN)
    elif crossed == WEEKLY_LOSS:
        note(log, row, ts, crossed, -1, 1.0 - head.equity / head.week_equity, limits.weekly_loss, FLATTEN)
    elif crossed == DRAWDOWN_DERISK:
        note(log, row, ts, crossed, -1, drawdown, limits.drawdown_derisk, SCALE if head.derisked == 1 else RESUME)
    else:
        note(log, row, ts, crossed, -1, drawdown, limits.drawdown_halt if crossed == DRAWDOWN_HALT else 0.0, HALT)
    return 1


@apart
def turn_clock(book, day):
    """A new UTC day begins: losses are measured from this equity, and what was closed for the day may be opened."""
    head = book.head[0]
    if day <= head.clock:
        return
    opened = head.locked & 1
    head.day_equity = head.equity
    head.locked &= 2
    if (day + 3) // 7 > (head.clock + 3) // 7:  # 1970-01-01 was a Thursday
        opened = head.locked | opened
        head.week_equity = head.equity
        head.locked = 0
    head.clock = day
    head.floor, head.ceiling = np.inf, -np.inf  # the next mark sets them anew
    if opened != 0 and head.locked == 0:
        head.retry = 1
        for i in range(book.dirty.shape[0]):
            book.dirty[i] = 1


@part
def judge_row(book, log, market, setup, t):
    """Mark the book at the close of row t and ask the breakers; 1 when the row becomes a decision by force."""
    head = book.head[0]
    head.equity = mark(head.cash, book.quantity, market.mark[t])
    forced = 0
    if head.equity < head.floor or head.equity > head.ceiling:
        forced = observe(book, log, setup.limits, t, market.ts[t])
    if head.stamped == market.ts[t]:
        turn_clock(book, market.ts[t] // DAY)  # a day that ends with this row is over
    return forced


@entry
def judge(book, log, market, setup, t):
    """judge_row for callers outside a compiled loop."""
    return judge_row(book, log, market, setup, t)


@rule
def clip_weight(lots, equity, notional_per_lot, max_weight):
    """The lots nearest to `lots` whose notional is at most max_weight of equity."""
    if max_weight == np.inf:
        return lots
    bound = max(equity, 0.0) * max_weight / notional_per_lot
    if abs(lots) <= bound:
        return lots
    return np.int64(bound) if lots > 0 else -np.int64(bound)


@part
def gate_position(book, log, i, equity, per_lot, setup, row, ts):
    """Position limits of one instrument: what may not be short, and the largest weight."""
    wanted = book.allowed[i]
    allowed = wanted
    if allowed < 0 and setup.terms[i].shortable == 0:
        allowed = np.int64(0)
        note(log, row, ts, SHORTABLE, i, wanted, allowed, REFUSE)
    clipped = clip_weight(allowed, equity, per_lot, setup.limits.max_weight)
    if clipped != allowed:
        note(log, row, ts, MAX_WEIGHT, i, allowed, clipped, SCALE)
    book.allowed[i] = clipped


@part
def gate_account(book, log, limits, row, ts):
    """The account's state over every instrument: de-risked, reducing or halted; toward zero only."""
    head = book.head[0]
    for i in range(book.allowed.shape[0]):
        allowed = book.allowed[i]
        if head.derisked == 1 and book.dirty[i] == 1 and allowed != 0:
            scaled = np.int64(allowed * limits.derisk_factor)
            if scaled != book.goal[i]:  # else it stands at that already
                note(log, row, ts, DRAWDOWN_DERISK, i, allowed, scaled, SCALE)
            book.allowed[i] = allowed = scaled
        if head.state == HALTED or head.locked != 0:
            book.allowed[i] = 0
        elif head.state != ACTIVE:
            lots = book.positions[i].lots
            if (allowed > 0) != (lots > 0):
                book.allowed[i] = 0
            else:
                book.allowed[i] = min(allowed, lots) if lots > 0 else max(allowed, lots)


@part
def is_going(book, i):
    """Is something on its way that makes the position of an instrument smaller?"""
    position, order = book.positions[i], book.orders[i, TARGET]
    if position.lots == 0:
        return False
    if position.closing == 1:
        return True
    return (position.live >> TARGET) & 1 == 1 and (order.lots > order.filled) != (position.lots > 0)


@part
def room_for(book, marks, limits, i, lots, reducible, fresh):
    """How many of `lots` > 0 of an order may fill now, so that the book stays inside gross leverage and max_weight.

    The gate lets a purchase take the place of a sale that was decided with it or before it. Whether the sale has
    filled is known only here: until it has, the purchase waits; what does not fit even so is not waited for.

    marks       (N,) last prices seen before this bar
    reducible   of the lots, those that only undo what is held: never refused
    fresh       the order was decided on these marks, so the gate has measured it by them
    ->          lots, and the reason why not all
    """
    head = book.head[0]
    if (fresh and head.tight == 0) or min(limits.gross_leverage, limits.max_weight) == np.inf:
        return lots, NO_REASON
    equity = head.equity * (1.0 + SLACK)
    if not equity > 0.0:
        return reducible, ROOM_CUT
    per_lot = book.unit[i] * marks[i]
    gross, going = 0.0, False
    for j in range(marks.shape[0]):
        gross += abs(book.quantity[j]) * marks[j]
        going |= j != i and is_going(book, j)
    held = abs(book.positions[i].lots)
    # What is held on the other side goes first: it makes room, and afterwards nothing is held.
    room = (limits.gross_leverage * equity - gross) / per_lot + reducible
    weight_room = limits.max_weight * equity / per_lot - (held - reducible)
    if room >= lots - reducible and weight_room >= lots - reducible:
        return lots, NO_REASON
    fits = reducible + np.int64(max(min(room, weight_room), 0.0))
    return fits, NO_ROOM_YET if going and room < weight_room else ROOM_CUT


@spliced
def gate(book, log, marks, setup, row, ts):
    """book.wanted -> book.allowed for the whole book, in the order of design §8; each cut is noted.

    Position limits, then gross leverage, then the account's state. Every step moves lots toward zero only, so no step
    can break what an earlier one kept. What is to go counts as gone here; that it has gone before anything comes in
    its place is seen to where an order fills (room_for), and head.tight says whether it has to be.

    ->   1 when anything was cut
    """
    head, limits = book.head[0], setup.limits
    equity = max(head.equity, 0.0)
    most = equity * limits.max_weight if limits.max_weight != np.inf else np.inf
    gross, worst, cut = 0.0, 0.0, 0
    for i in range(book.wanted.shape[0]):
        wanted = book.wanted[i]
        book.allowed[i] = wanted
        per_lot = book.unit[i] * marks[i]
        notional = abs(wanted) * per_lot
        if notional > most or wanted < 0:
            gate_position(book, log, i, equity, per_lot, setup, row, ts)
            notional = abs(book.allowed[i]) * per_lot
            cut |= book.allowed[i] != wanted
        gross += notional
        worst += max(abs(book.quantity[i]) * marks[i], notional)
    head.tight = 1 if worst > limits.gross_leverage * equity else 0
    if gross > limits.gross_leverage * equity:
        scale = limits.gross_leverage * equity / gross
        for i in range(book.allowed.shape[0]):
            book.allowed[i] = np.int64(book.allowed[i] * scale)
        leverage = gross / equity if equity > 0.0 else np.inf
        note(log, row, ts, GROSS_LEVERAGE, -1, leverage, limits.gross_leverage, SCALE)
        cut = 1
    if head.derisked == 1 or head.state != ACTIVE or head.locked != 0:
        gate_account(book, log, limits, row, ts)
        cut = 1
    return cut
