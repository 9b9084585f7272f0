"""Room where an order fills: what the gate allowed together must fit one after the other too (decision 004)."""

from __future__ import annotations

import numpy as np

from trimtab.compiled import apart, part
from trimtab.rules.account import rate_of
from trimtab.rules.alarms import is_alarmed
from trimtab.rules.book import TARGET
from trimtab.rules.exposure import clusters_at
from trimtab.rules.limits import SLACK
from trimtab.rules.orders import NO_REASON, NO_ROOM_YET, ROOM_CUT


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
def room_for(book, market, setup, t, i, lots, reducible, fresh):
    """How many of `lots` > 0 of an order may fill in row t, so that the book stays inside what limits its size.

    The gate lets a purchase take the place of a sale that was decided with it or before it. Whether the sale has
    filled is known only here: until it has, the purchase waits; what does not fit even so is not waited for. Measured
    by the last prices before this bar.

    reducible   of the lots, those that only undo what is held: never refused
    fresh       the order was decided on these prices, so the gate has measured it by them
    ->          lots, and the reason why not all
    """
    head, limits, marks = book.head[0], setup.limits, market.carried[t - 1]
    if fresh and head.tight == 0:
        return lots, NO_REASON
    if min(limits.gross_leverage, limits.max_weight) == np.inf and setup.more == 0:
        return lots, NO_REASON
    equity = head.equity * (1.0 + SLACK)
    if not equity > 0.0:
        return reducible, ROOM_CUT
    per_lot = book.unit[i] * marks[i]
    gross, going = 0.0, False
    for j in range(book.goal.shape[0]):
        gross += abs(book.quantity[j]) * marks[j]
        going |= j != i and is_going(book, j)
    # What is held on the other side goes first: it makes room, and afterwards nothing is held.
    held = abs(book.positions[i].lots) - reducible
    room = (limits.gross_leverage * equity - gross) / per_lot + reducible
    alone = limits.max_weight * equity / per_lot - held
    if setup.more != 0:
        room = min(room, room_more(book, market, setup, t, i, reducible, equity, fresh))
    if room >= lots - reducible and alone >= lots - reducible:
        return lots, NO_REASON
    fits = reducible + np.int64(max(min(room, alone), 0.0))
    return fits, NO_ROOM_YET if going and room < alone else ROOM_CUT


@part
def model_room(book, marks, setup, i, side, equity):
    """Lots that an order on a side may fill of instrument i, so that no model holds more than its cap.

    Of an order each model gets its part of the gaps on that side (see fills.split_fill); what it holds on the other
    side is undone first, which makes room.
    """
    caps, scale = setup.groups.model_cap, book.positions[i].scale
    per_lot, whole, room = book.unit[i] * marks[i], 0.0, np.inf
    for m in range(caps.shape[0]):
        whole += max((book.target[m, i] * scale - book.held[m, i]) * side, 0.0)
    for m in range(caps.shape[0]):
        gap = (book.target[m, i] * scale - book.held[m, i]) * side
        if not gap > 0.0 or caps[m] == np.inf:
            continue
        gross = 0.0
        for j in range(book.goal.shape[0]):
            gross += abs(book.held[m, j]) * book.unit[j] * marks[j]
        most = (caps[m] * equity - gross) / per_lot + 2.0 * max(-book.held[m, i] * side, 0.0)
        room = min(room, most * (whole / gap))
    return room


@part
def group_room(book, marks, group, i, cap, equity):
    """Notional that the group of an instrument leaves room for, beside what is held of it."""
    gross = 0.0
    for j in range(group.shape[0]):
        if group[j] == group[i]:
            gross += abs(book.quantity[j]) * marks[j]
    return cap * equity - gross


@apart
def room_more(book, market, setup, t, i, reducible, equity, fresh):
    """Lots by which an order may increase the position of instrument i, by the measures of exposure and alarms.

    reducible   lots that the order undoes first, which makes room
    fresh       the order was decided on these prices. Net exposure and concentration are then what the gate saw to:
                between the fills of one open they may be beyond their limits, as when one leg of a pair has filled
    """
    limits, groups, marks = setup.limits, setup.groups, market.carried[t - 1]
    if not fresh and is_alarmed(market, setup, t - 1):
        return 0.0
    per_lot = book.unit[i] * marks[i]
    room = np.inf
    if groups.class_cap.shape[0] > 0:
        cap = groups.class_cap[groups.asset_class[i]]
        room = min(room, group_room(book, marks, groups.asset_class, i, cap, equity) / per_lot + reducible)
    if groups.venue_cap.shape[0] > 0:
        cap = groups.venue_cap[groups.venue[i]]
        room = min(room, group_room(book, marks, groups.venue, i, cap, equity) / per_lot + reducible)
    day = clusters_at(groups, t - 1)
    if limits.group_gross < np.inf and day >= 0:
        left = group_room(book, marks, groups.cluster[day], i, limits.group_gross, equity)
        room = min(room, left / per_lot + reducible)
    side = 1.0 if book.orders[i, 0].lots > book.orders[i, 0].filled else -1.0
    if groups.model_cap.shape[0] > 0:
        room = min(room, model_room(book, marks, setup, i, side, equity) - reducible)
    gross, net, need = 0.0, 0.0, 0.0
    for j in range(book.goal.shape[0]):
        notional = book.quantity[j] * marks[j]
        gross += abs(notional)
        net += notional
        need += abs(notional) * setup.terms[j].initial_margin
    lots = book.positions[i].lots
    held = (abs(lots) - reducible) * per_lot
    gross -= reducible * per_lot
    if limits.concentration < 1.0 and not fresh:
        # (held + x) <= share x max(gross + x, equity), solved for x in either case
        share = limits.concentration
        room = min(room, max(share * equity - held, (share * gross - held) / (1.0 - share)) / per_lot)
    if limits.heat < np.inf and setup.terms[i].initial_margin > 0.0:
        room = min(room, (limits.heat * equity - need) / (setup.terms[i].initial_margin * per_lot) + reducible)
    if limits.net_exposure < np.inf and not fresh:
        room = min(room, (limits.net_exposure * equity - side * net) / per_lot - reducible)
    return room


@apart
def beyond_collar(market, setup, t, i, price):
    """Is a price (quote currency) further from the last mark than the collar allows?"""
    marks = market.carried[t - 1]
    return abs(price * rate_of(setup.terms, marks, i) / marks[i] - 1.0) > setup.limits.collar
