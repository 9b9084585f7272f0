"""The breakers: what equity, the calendar and the clock forbid, judged at the close of every row (design §8).

Comparisons are strict: a measure exactly at its limit has not broken it.
"""

from __future__ import annotations

import numpy as np

from trimtab.compiled import apart, entry, part, rule
from trimtab.rules.account import mark
from trimtab.rules.book import TARGET
from trimtab.rules.fills import ask_again, stop_out
from trimtab.rules.limits import (
    BANKRUPT,
    DAILY_LOSS,
    DRAWDOWN_DERISK,
    DRAWDOWN_HALT,
    FLATTEN,
    HALT,
    KILLED,
    MAX_HOLDING,
    RESUME,
    SCALE,
    WEEKLY_LOSS,
    note,
)
from trimtab.types import ACTIVE, DAY, HALTED, SECOND


@rule
def watch(head, equity, limits):
    """The breakers on equity, and the peak and worst drawdown they are measured by; changes `head`.

    ->   -1 when nothing changed, else the code of one limit whose crossing makes this row a decision; another may have
         been crossed with it, so it is asked until nothing changes

    Leaves in head.floor and head.ceiling the band in which the next equity changes nothing, so that a driver may skip
    every row inside it without asking again.
    """
    if equity > head.peak:
        head.peak = equity
    peak = head.peak
    if equity < peak * (1.0 + head.worst):
        head.worst = equity / peak - 1.0
    crossed = -1
    if head.state == HALTED:  # for good: what else it crosses changes nothing
        head.floor, head.ceiling = peak * (1.0 + head.worst), peak
        return crossed
    if equity < 0.0 or equity < peak * (1.0 - limits.drawdown_halt):
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
    floor = max(peak * (1.0 + head.worst), max(0.0, peak * (1.0 - limits.drawdown_halt)))
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
    crossed, forced = watch(head, head.equity, limits), 0
    while crossed >= 0:
        forced = 1
        drawdown = 1.0 - head.equity / head.peak
        if crossed == DAILY_LOSS:
            note(log, row, ts, crossed, -1, 1.0 - head.equity / head.day_equity, limits.daily_loss, FLATTEN)
        elif crossed == WEEKLY_LOSS:
            note(log, row, ts, crossed, -1, 1.0 - head.equity / head.week_equity, limits.weekly_loss, FLATTEN)
        elif crossed == DRAWDOWN_DERISK:
            note(log, row, ts, crossed, -1, drawdown, limits.drawdown_derisk, SCALE if head.derisked == 1 else RESUME)
        else:
            note(log, row, ts, crossed, -1, drawdown, limits.drawdown_halt if crossed == DRAWDOWN_HALT else 0.0, HALT)
        crossed = watch(head, head.equity, limits)
    return forced


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


@rule
def sooner(expiry, opened, max_holding):
    """The instant from which something may be held for too long: the one known (0: none), or that of a new position.

    max_holding   seconds, finite
    """
    end = opened + np.int64(max_holding * SECOND)
    return end if expiry == 0 or end < expiry else expiry


@apart
def expire(book, log, setup, row, ts):
    """Close what has been held for max_holding, like after a stop, and say when to look again (head.expiry)."""
    head = book.head[0]
    head.expiry = 0
    for i in range(book.goal.shape[0]):
        position = book.positions[i]
        if position.lots == 0:
            continue
        if ts < sooner(0, position.opened, setup.limits.max_holding):
            head.expiry = sooner(head.expiry, position.opened, setup.limits.max_holding)
            continue
        if position.closing == 0:
            stop_out(book, i, MAX_HOLDING, log, row, ts)
        elif (position.live >> TARGET) & 1 == 0:  # the rest of a target rests, and its price may never come again
            note(log, row, ts, MAX_HOLDING, i, position.lots, 0.0, FLATTEN)
        ask_again(book, i)


@entry
def kill(book, log, row, ts, flatten):
    """The kill switch, at the close of a row, for good: its decision withdraws every order that is no protection.

    flatten   1: and closes all that is held; 0: what is held stays as it is
    """
    head = book.head[0]
    head.killed = 1 if flatten == 1 or head.killed == 1 else 2
    note(log, row, ts, KILLED, -1, 1.0, 0.0, FLATTEN if head.killed == 1 else HALT)
    for i in range(book.goal.shape[0]):
        ask_again(book, i)


@entry
def revive(book, log, row, ts):
    """By hand only: the kill switch is off, a halt is over, and losses are measured from here."""
    head = book.head[0]
    head.killed, head.locked, head.derisked, head.state = 0, 0, 0, ACTIVE
    head.peak = head.day_equity = head.week_equity = head.equity
    head.floor, head.ceiling = np.inf, -np.inf  # the next mark sets them anew
    note(log, row, ts, KILLED, -1, 0.0, 1.0, RESUME)
    for i in range(book.goal.shape[0]):
        ask_again(book, i)


@part
def judge_row(book, log, market, setup, t):
    """Mark the book at the close of row t and ask the breakers; 1 when the row becomes a decision by force."""
    head = book.head[0]
    head.equity = mark(head.cash, book.quantity, market.mark[t])
    forced = 0
    if head.equity < head.floor or head.equity > head.ceiling:
        forced = observe(book, log, setup.limits, t, market.ts[t])
    if head.expiry != 0 and market.ts[t] >= head.expiry:
        expire(book, log, setup, t, market.ts[t])
    if head.stamped == market.ts[t] and forced == 0:
        turn_clock(book, market.ts[t] // DAY)  # a day that ends with this row is over; what it closed stays for a bar
    return forced


@entry
def judge(book, log, market, setup, t):
    """judge_row for callers outside a compiled loop."""
    return judge_row(book, log, market, setup, t)
