"""One row at the venue: every open order of the book meets its instrument's bar (design §6)."""

from __future__ import annotations

import numpy as np

from trimtab.compiled import entry, part, spliced
from trimtab.rules.book import PROFIT, SLOTS, STOP_LOSS, TARGET, TRAIL, costs_of
from trimtab.rules.breakers import sooner
from trimtab.rules.carry import after_trading, before_trading
from trimtab.rules.fills import Execution, cross, end_order, narrow, protect, set_band, settle, stop_out, stopped
from trimtab.rules.limits import STOP_LOSS_LIMIT, TAKE_PROFIT_LIMIT, TRAILING_LIMIT
from trimtab.rules.margin import liquidate, margin_room
from trimtab.rules.market import CLOSE, OPEN, row_of
from trimtab.rules.match import (
    Quote,
    Touch,
    affordable,
    cap_of,
    capped_quote,
    delay_of,
    fee_of,
    half_spread_now,
    meet_inside,
    meet_open,
    taker_quote,
)
from trimtab.rules.orders import (
    ABSURD_COST,
    BEYOND_COLLAR,
    CASH_CUT,
    CROSSED,
    END_OF_DAY,
    MARGIN_CUT,
    NO_AVERAGE_VOLUME,
    NO_CASH,
    NO_MARGIN,
    NO_REASON,
    NO_VOLATILITY,
    NO_VOLUME,
    NOT_AT_ONCE,
    NOT_WHOLE,
    OCO,
    PARTICIPATION,
    REJECT,
    ROOM_CUT,
    SPLIT_AWAY,
    STOPPED,
    draw,
    on_tick,
)
from trimtab.rules.room import beyond_collar, room_for
from trimtab.types import (
    DAY,
    DAY_ORDER,
    FILLED,
    FOK,
    IOC,
    LIMIT,
)


@part
def unknown_cost(costs, row, ignore_volume):
    """The reason why a taker's cost cannot be known yet, or NO_REASON."""
    if (costs.vol_spread != 0.0 or costs.latency != 0.0) and not row.vol >= 0.0:
        return NO_VOLATILITY
    if costs.impact != 0.0 and ignore_volume == 0 and not row.average_volume > 0.0:
        return NO_AVERAGE_VOLUME
    return NO_REASON


@part
def arrive(book, log, i, costs, row, style, now):
    """First contact of an order with the venue: it may reject it. True when the order is there.

    Without a known spread nobody can say whether an order takes or rests: it waits outside.
    """
    order = book.orders[i, TARGET]
    if costs.vol_spread != 0.0 and not row.vol >= 0.0:
        order.reason = order.waited = NO_VOLATILITY
        return False
    order.day = now // DAY
    if costs.reject > 0.0 and draw(style.seed, order.order_id) < costs.reject:
        end_order(book, log, i, TARGET, REJECT, now)
        return False
    side = 1.0 if order.lots > 0 else -1.0
    near = row.open * (1.0 + side * half_spread_now(costs, row.vol))
    if order.kind == LIMIT and order.post_only == 1 and side * (order.limit_price - near) >= 0.0:
        end_order(book, log, i, TARGET, CROSSED, now)
        return False
    return True


@part
def filled_before(order, position, lot_size, side):
    """Units already filled on this side: today's, or the order's own if more; slices over midnight stay one order."""
    return max(position.bought if side > 0 else position.sold, abs(order.filled)) * lot_size


@part
def lots_now(book, market, setup, t, costs, i, slot, touch, row, reduce_only, fresh):
    """How many signed lots of an order fill here and now, and why not more: participation, limits, cash."""
    order, position, terms = book.orders[i, slot], book.positions[i], setup.terms[i]
    left = order.lots - order.filled
    side = 1 if left > 0 else -1
    reducible = max(-position.lots * side, 0)
    want = abs(left)
    if reduce_only or order.reduce_only == 1:
        want = min(want, reducible)
    if want == 0:
        return np.int64(0), NO_REASON
    reason = NO_REASON
    cap = cap_of(costs.participation, row.volume, terms.lot_size, setup.style.ignore_volume) - position.used
    if cap < want:
        reason = PARTICIPATION if row.volume > 0.0 else NO_VOLUME
        want = max(cap, 0)
    if want > reducible:
        want, gate_reason = room_for(book, market, setup, t, i, want, reducible, fresh)
        reason = gate_reason if gate_reason != NO_REASON else reason
        if setup.more != 0 and want > reducible and beyond_collar(market, setup, t, i, touch.mid):
            want, reason = reducible, BEYOND_COLLAR
    if terms.margin == 1:
        if want > reducible:
            want, reason = on_margin(book, market.carried[t - 1], setup, costs, i, want, reducible, touch, row, reason)
    elif side > 0 and want > reducible:  # buying back a short is never refused for want of cash
        cash = book.cash[terms.wallet]
        before = filled_before(order, position, terms.lot_size, side)
        room = affordable(want, cash, terms.unit, terms.lot_size, touch.mid, before, row, costs, touch)
        if room < want:
            want = max(room, reducible)
            reason = CASH_CUT if want > 0 else NO_CASH
    return want * side, reason


@part
def on_margin(book, marks, setup, costs, i, want, reducible, touch, row, reason):
    """What an order that increases a position may fill on margin: lots, and the reason why not all.

    Every lot is priced like the last of all that are wanted, impact included. What is held on the other side is closed
    first, which frees its margin: that is not counted, so a reversal may open less than it could.
    """
    order, position, terms = book.orders[i, TARGET], book.positions[i], setup.terms[i]
    side = 1.0 if order.lots > 0 else -1.0
    price, fee = touch.mid, costs.maker_fee
    if touch.maker == 0:
        before = filled_before(order, position, terms.lot_size, side)
        quote = taker_quote(side, touch.mid, want * terms.lot_size, before, row, costs, touch.travels)
        price, fee = capped_quote(quote, side, touch.mid, touch.limit).price, costs.taker_fee
    room = margin_room(book, marks, setup.terms, i, touch.mid, price, max(fee, 0.0))
    if room >= want - reducible:
        return want, reason
    want = reducible + room
    return want, MARGIN_CUT if want > 0 else NO_MARGIN


@part
def start_bar(position, t, opened):
    """Forget what was filled in an earlier bar and on an earlier UTC day."""
    if position.used_row != t:
        position.used_row = t
        position.used = 0
    if opened // DAY != position.day:
        position.day = opened // DAY
        position.bought = 0
        position.sold = 0


@part
def execute(book, log, market, setup, i, slot, touch, row, t, ts, passing):
    """Fill what can be filled of an order that met the market; returns the lots filled.

    passing   0: reductions at the open, 1: increases at the open, 2: inside the bar
    """
    order, position = book.orders[i, slot], book.positions[i]
    costs = costs_of(setup.terms[i])
    if touch.maker == 0:
        reason = unknown_cost(costs, row, setup.style.ignore_volume)
        if reason != NO_REASON:
            order.reason = order.waited = reason
            return 0
    left = order.lots - order.filled
    whole = order.tif == FOK
    if passing == 0 and whole and abs(left) > abs(position.lots):
        return 0  # what must fill whole is not split into a reduction and an increase
    fresh = order.ts == market.ts[t - 1]  # the first row has no orders to meet
    lots, reason = lots_now(book, market, setup, t, costs, i, slot, touch, row, passing == 0, fresh)
    if whole and lots != left:
        end_order(book, log, i, slot, NOT_WHOLE, ts)
        return 0
    order.reason = reason
    if reason != NO_REASON:
        order.waited = reason
    if lots == 0:
        if reason in (NO_CASH, ROOM_CUT, NO_MARGIN):
            end_order(book, log, i, slot, reason, ts)
        return 0
    side = 1.0 if lots > 0 else -1.0
    quote = Quote(touch.mid, 0.0, 0.0, 0.0, 0.0)
    if touch.maker == 0:
        before = filled_before(order, position, setup.terms[i].lot_size, side)
        quote = taker_quote(side, touch.mid, abs(lots) * setup.terms[i].lot_size, before, row, costs, touch.travels)
        quote = capped_quote(quote, side, touch.mid, touch.limit)
        if not quote.price > 0.0:
            order.reason = ABSURD_COST
            return 0
    settle(book, log, setup.terms, market.mark[t], i, slot, lots, executed(setup.terms[i], lots, touch, quote), t, ts)
    return lots


@part
def executed(terms, lots, touch, quote):
    """The Execution of a Quote: its fractions are of the notional at mid."""
    paid = abs(touch.mid * lots * terms.unit)
    return Execution(
        quote.price,
        fee_of(terms, lots * terms.unit * quote.price, touch.maker),
        touch.maker,
        touch.mid,
        paid * quote.spread,
        paid * quote.slippage,
        paid * quote.impact,
        paid * quote.latency,
    )


@part
def after_fill(book, log, setup, i, slot, t, ts):
    """What follows a fill: the models told of a stop, its siblings canceled, protective orders in line again."""
    order, position = book.orders[i, slot], book.positions[i]
    parent = order.order_id
    if order.status == FILLED:
        end_order(book, log, i, slot, NO_REASON, ts)
    elif order.reason in (CASH_CUT, ROOM_CUT, MARGIN_CUT):
        end_order(book, log, i, slot, order.reason, ts)  # neither is waited for
    if slot != TARGET and (position.live >> TARGET) & 1 == 1:
        end_order(book, log, i, TARGET, STOPPED, ts)
    if slot != TARGET:
        limit = STOP_LOSS_LIMIT if slot == STOP_LOSS else (TRAILING_LIMIT if slot == TRAIL else TAKE_PROFIT_LIMIT)
        stop_out(book, i, limit, log, t, ts)
    if position.opened == ts and setup.limits.max_holding < np.inf:
        book.head[0].expiry = sooner(book.head[0].expiry, ts, setup.limits.max_holding)
    if position.closing == 1 and position.lots == 0:
        stopped(book, i)
    if slot != TARGET and position.lots == 0:
        for other in range(STOP_LOSS, SLOTS):
            if (position.live >> other) & 1 == 1:
                end_order(book, log, i, other, OCO, ts)
    protect(book, log, setup, i, ts, parent)


@part
def close_open(book, log, i, opened):
    """After its first open a target order rests, unless it was to fill at once."""
    order = book.orders[i, TARGET]
    order.arrived = 1
    if order.tif == IOC or order.tif == FOK:
        end_order(book, log, i, TARGET, NOT_AT_ONCE, opened)


@part
def close_bar(book, setup, i, row, close, opened):
    """The end of an instrument's bar: protective orders of this bar rest from now on, and the trailing stop follows it.

    The best price since entry takes the bar's extreme, or only its close if the position was opened inside the bar.
    """
    position = book.positions[i]
    for slot in range(STOP_LOSS, SLOTS):
        book.orders[i, slot].arrived = 1
    if position.lots == 0 or setup.limits.trailing_stop == np.inf:
        return
    extreme = row.high if position.lots > 0 else row.low
    if position.opened > opened:
        extreme = close
    follow(book, setup, i, extreme)


@part
def follow(book, setup, i, extreme):
    """Let the trailing stop follow a better extreme than the best price since entry."""
    position, long = book.positions[i], book.positions[i].lots > 0
    if (extreme > position.best) if long else (extreme < position.best):
        position.best = extreme
        order = book.orders[i, TRAIL]
        if (position.live >> TRAIL) & 1 == 1 and order.triggered == 0:
            side = 1.0 if long else -1.0
            order.stop_price = on_tick(
                extreme * (1.0 - side * setup.limits.trailing_stop), setup.terms[i].tick_size, side
            )


@part
def at_venue(book, log, i, costs, row, style, passing, opened):
    """Is the target order at the venue? It arrives at the first open after its latency, and may end there.

    An order that arrived on an earlier day ends before this open if it was good for that day only.
    """
    order = book.orders[i, TARGET]
    if passing == 0:
        if order.day < 0:
            if order.ts + delay_of(costs, row.duration) > opened:
                return False
            return arrive(book, log, i, costs, row, style, opened)
        if order.tif == DAY_ORDER and order.day != opened // DAY:
            end_order(book, log, i, TARGET, END_OF_DAY, opened)
            return False
    return order.day >= 0


@part
def meet(order, slot, side, row, costs, passing, opened, grew):
    """The Touch of an order in one of the three passes of a bar.

    After an increase inside the bar only the stop is live, not the take-profit. A protective order placed by a fill of
    this very open is met inside the bar.
    """
    if passing == 2:
        if slot == PROFIT and grew > opened:
            return Touch(np.nan, 0, np.nan, 0, 0)
        return meet_inside(order, side, row, costs, order.ts <= opened)
    if slot != TARGET and order.arrived == 0:
        return Touch(np.nan, 0, np.nan, 0, 0)
    return meet_open(order, side, row, costs)


@part
def concerned(book, market, setup, t):
    """Into book.todo: instruments with a bar at row t whose orders work, or rest where it touches them. -> count

    Where a bar does no more than move a trailing stop, that is all that is done.
    """
    todo, low, high = 0, np.inf, -np.inf
    resting = book.head[0].resting != 0
    for i in range(book.working.shape[0]):
        met = book.working[i] != 0 and market.rows[t, i, OPEN] > 0.0  # which matching reads anyway
        if resting:
            low, high = market.low[t, i], market.high[t, i]
            met |= ((low <= book.low[i]) | (high >= book.high[i])) & (low < np.inf)
        if met:
            position = book.positions[i]
            if book.working[i] == 0 and low > position.below and high < position.above:
                follow(book, setup, i, high if position.lots > 0 else low)
                narrow(book, i)
                continue
            book.todo[todo] = i
            todo += 1
    return todo


@part
def may_fill(position, order, slot, passing):
    """Has an order business in this pass? At the open reductions come first, and only a target order increases."""
    if passing == 2:
        return True
    left = order.lots - order.filled
    reduces = (left > 0) != (position.lots > 0) and position.lots != 0
    return reduces if passing == 0 else slot == TARGET


@spliced
def match_bar(book, log, market, setup, i, t, passing):
    """One pass over the open orders of one instrument in one bar."""
    position = book.positions[i]
    row = row_of(market.rows, t, i)
    costs = costs_of(setup.terms[i])
    opened = market.ts[t] - np.int64(row.duration)
    now = market.ts[t] if passing == 2 else opened
    if passing == 0 and position.crossing != 0 and position.crossing <= opened:
        cross(book, log, setup.terms, market.mark[t], i, row.open, t, opened, row.vol)
    exits = passing == 2 and position.lots != 0 and (book.orders[i, TARGET].lots > 0) != (position.lots > 0)
    for k in range(SLOTS):
        slot = k
        if exits and k <= TRAIL:  # a bar that touches both a stop and the limit of an exit has met the stop first
            slot = STOP_LOSS if k == 0 else (TRAIL if k == 1 else TARGET)
        if (position.live >> slot) & 1 == 0:
            continue
        if slot == TARGET and not at_venue(book, log, i, costs, row, setup.style, passing, opened):
            continue
        order = book.orders[i, slot]
        if order.lots == order.filled:  # a split has left nothing of it
            end_order(book, log, i, slot, SPLIT_AWAY, now)
            continue
        if not may_fill(position, order, slot, passing):
            continue
        side = 1.0 if order.lots > 0 else -1.0
        touch = meet(order, slot, side, row, costs, passing, opened, position.grew)
        order.triggered |= touch.triggered
        if touch.mid > 0.0:
            start_bar(position, t, opened)
            if execute(book, log, market, setup, i, slot, touch, row, t, now, passing) != 0:
                after_fill(book, log, setup, i, slot, t, now)
    if passing == 1 and (position.live >> TARGET) & 1 == 1 and book.orders[i, TARGET].day >= 0:
        close_open(book, log, i, opened)
    if passing == 2:
        close_bar(book, setup, i, row, market.rows[t, i, CLOSE], opened)


@spliced
def match_row(book, log, market, setup, t):
    """Match every open order against row t: crossings and reductions at the open, increases at the open, the inside.

    Instruments without a bar are passed over; their orders wait.
    """
    todo = concerned(book, market, setup, t)
    for passing in range(3):
        for k in range(todo):
            i = book.todo[k]
            live = book.positions[i].live
            if (live != 0 and (passing != 1 or (live >> TARGET) & 1 == 1)) or (passing == 0 and book.working[i] != 0):
                match_bar(book, log, market, setup, i, t, passing)
            if passing == 2:
                set_band(book, i)


@part
def trade_row(book, log, market, setup, t, due):
    """Everything that happens to the account in row t: what is due, liquidations, and every open order's bar."""
    head = book.head[0]
    if due:
        before_trading(book, log, market, setup, t)
    if head.margined != 0:
        liquidate(book, log, market, setup, t, False)
    match_row(book, log, market, setup, t)
    if head.margined != 0:
        liquidate(book, log, market, setup, t, True)
    if due:
        after_trading(book, log, market, setup, t)


@entry
def trade(book, log, market, setup, t, due):
    """trade_row for callers outside a compiled loop; market holds row t - 1 too, where orders may be open."""
    trade_row(book, log, market, setup, t, due)
