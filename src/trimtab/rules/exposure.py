"""The limits that most books do without: by kind, venue, model and correlation; net, heat, size, concentration.

Every measure is a sum over the book in base currency against a share of equity. `Setup.more` says whether any is set;
where none is, nothing here is called.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.compiled import apart, part
from trimtab.rules.alarms import gate_stale, is_quiet
from trimtab.rules.limits import (
    ASSET_CLASS,
    CONCENTRATION,
    GROUP_GROSS,
    HEADROOM,
    HEAT,
    MODEL,
    NET_EXPOSURE,
    ORDER_NOTIONAL,
    SCALE,
    SLACK,
    VENUE,
    note,
)

#: How often concentration and net exposure are weighed against each other at the most; each turn may be noted.
BALANCE_TURNS: Final = 4


@part
def notional_of(lots, book, marks, i):
    """|notional| of lots of an instrument, base currency."""
    return abs(lots[i]) * book.unit[i] * marks[i]


@part
def scale_to(bound, asked, held):
    """The factor that brings what is asked inside a bound; a little below where what is held is beyond it already."""
    return bound * (1.0 - HEADROOM if held > bound else 1.0) / asked


# --- models ----------------------------------------------------------------------------------------------------------


@part
def largest_gross(book, marks, m):
    """Sum over instruments of the larger of what a model wants and holds, base currency; in four sums, see mark."""
    n = book.goal.shape[0]
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for i in range(0, n // 4 * 4, 4):
        a += max(abs(book.target[m, i]), abs(book.held[m, i])) * book.unit[i] * marks[i]
        b += max(abs(book.target[m, i + 1]), abs(book.held[m, i + 1])) * book.unit[i + 1] * marks[i + 1]
        c += max(abs(book.target[m, i + 2]), abs(book.held[m, i + 2])) * book.unit[i + 2] * marks[i + 2]
        d += max(abs(book.target[m, i + 3]), abs(book.held[m, i + 3])) * book.unit[i + 3] * marks[i + 3]
    total = (a + b) + (c + d)
    for i in range(n // 4 * 4, n):
        total += max(abs(book.target[m, i]), abs(book.held[m, i])) * book.unit[i] * marks[i]
    return total


@apart
def cap_models(book, log, marks, setup, row, ts, todo):
    """Scale the virtual lots of every model that wants or holds more than its cap. -> instruments in book.todo"""
    caps = setup.groups.model_cap
    equity = max(book.head[0].equity, 0.0)
    n = book.goal.shape[0]
    for m in range(caps.shape[0]):
        if not largest_gross(book, marks, m) > caps[m] * equity:
            continue
        book.head[0].tight = 1  # what it gives up has to be gone before what it wants comes
        gross, held = 0.0, 0.0
        for i in range(n):
            gross += abs(book.target[m, i]) * book.unit[i] * marks[i]
            held += abs(book.held[m, i]) * book.unit[i] * marks[i]
        if not gross > caps[m] * equity * (1.0 + SLACK):
            continue
        scale = scale_to(caps[m] * equity, gross, held)
        for i in range(n):
            if book.target[m, i] == 0.0:
                continue
            book.target[m, i] *= scale
            if book.dirty[i] == 0:
                book.dirty[i] = 1
                book.todo[todo] = i
                todo += 1
        note(log, row, ts, MODEL, -1, gross / equity if equity > 0.0 else np.inf, caps[m], SCALE)
        if log.actions.shape[0] != 0:
            log.actions[log.used[2] - 1].model = m
    return todo


# --- is there anything to do? ----------------------------------------------------------------------------------------


@part
def add_group(sums, group, i, notional):
    """Add to the sum of an instrument's group; nothing where instruments are not grouped that way."""
    if group.shape[0] != 0:
        sums[group[i]] += notional


@part
def is_inside(sums, caps, cap, equity):
    """Is every group inside its cap?"""
    inside = True
    for k in range(sums.shape[0]):
        inside &= not sums[k] > cap_of_group(caps, cap, k) * equity
    return inside


@apart
def is_calm(book, market, setup, row, worst):
    """True where no measure of this module is beyond its bound, whichever of allowed and held lots fill first.

    Then there is nothing to cut at this row, and nothing to measure again where its orders fill. A book at its limits
    is not calm.

    worst   sum over instruments of the larger notional, allowed or held: no sum over a part of the book is more
    """
    limits = setup.limits
    if not is_quiet(market, setup, row):
        return False
    equity = max(book.head[0].equity, 0.0)
    if min(limits.concentration, limits.order_notional) < np.inf:
        bound, marks, large = limits.concentration * equity, market.mark[row], False
        for i in range(book.goal.shape[0]):
            wanted, held = book.allowed[i] * book.unit[i] * marks[i], book.quantity[i] * marks[i]
            kept = abs(held) if (wanted > 0.0) == (held > 0.0) else 0.0
            large |= (abs(wanted) > bound) | (abs(wanted) - kept > limits.order_notional)
        if large:
            return False
    return worst <= setup.least * equity or are_groups_calm(book, market, setup, row, equity)


@part
def are_groups_calm(book, market, setup, row, equity):
    """Are all the sums over a part of the book inside their bounds?"""
    limits, groups, marks = setup.limits, setup.groups, market.mark[row]
    day = clusters_at(groups, row)
    cluster = groups.cluster[day] if day >= 0 and limits.group_gross < np.inf else groups.asset_class[:0]
    book.sums[:] = 0.0
    net, need = 0.0, 0.0
    for i in range(book.goal.shape[0]):
        per_lot = book.unit[i] * marks[i]
        notional, held = book.allowed[i] * per_lot, book.quantity[i] * marks[i]
        net += notional
        most = max(abs(notional), abs(held))
        need += most * setup.terms[i].initial_margin
        add_group(book.sums[0], groups.asset_class, i, most)
        add_group(book.sums[1], groups.venue, i, most)
        add_group(book.sums[2], cluster, i, most)
    none = groups.model_cap[:0]
    return (
        abs(net) <= limits.net_exposure * equity
        and need <= limits.heat * equity
        and is_inside(book.sums[0], groups.class_cap, np.inf, equity)
        and is_inside(book.sums[1], groups.venue_cap, np.inf, equity)
        and is_inside(book.sums[2], none, limits.group_gross, equity)
    )


# --- positions -------------------------------------------------------------------------------------------------------


@part
def gate_order(book, log, marks, setup, row, ts, i):
    """One order increases a position by no more than order_notional; what is left is asked for at the next row."""
    held, allowed = book.positions[i].lots, book.allowed[i]
    kept = held if (held > 0) == (allowed > 0) and held != 0 else np.int64(0)
    most = np.int64(min(setup.limits.order_notional / (book.unit[i] * marks[i]), 2.0**53))
    share = 1.0  # of it the account's state leaves, later
    if book.head[0].derisked == 1 and book.dirty[i] == 1:
        share = setup.limits.derisk_factor
    if abs(allowed) * share <= abs(kept) + most:
        return
    cut = min(np.int64(np.ceil((abs(kept) + most) / share)), abs(allowed))
    book.allowed[i] = cut if allowed > 0 else -cut
    book.positions[i].sliced = 1 if most > 0 else 0
    note(log, row, ts, ORDER_NOTIONAL, i, allowed, book.allowed[i], SCALE)


@part
def gate_group(book, log, marks, group, k, cap, limit, row, ts):
    """Scale everything of one group to its cap; noted at the largest of it."""
    bound = cap * max(book.head[0].equity, 0.0)
    gross, held, largest, at = 0.0, 0.0, -1.0, 0
    for i in range(group.shape[0]):
        if group[i] == k:
            notional = notional_of(book.allowed, book, marks, i)
            gross += notional
            held += abs(book.quantity[i]) * marks[i]
            if notional > largest:
                largest, at = notional, i
    if not gross > bound:
        return
    scale = scale_to(bound, gross, held)
    for i in range(group.shape[0]):
        if group[i] == k:
            book.allowed[i] = np.int64(book.allowed[i] * scale)
    note(log, row, ts, limit, at, gross / bound * cap if bound > 0.0 else np.inf, cap, SCALE)


@part
def cap_of_group(caps, cap, k):
    """The cap of group k: its own of caps (G,), or the same for all where there are none."""
    if caps.shape[0] == 0:
        return cap
    return caps[k] if k < caps.shape[0] else np.inf


@part
def gate_groups(book, log, marks, group, caps, cap, limit, row, ts):
    """Scale every group that is over its cap: that of caps (G,), or the same cap for all where there are none."""
    n = book.goal.shape[0]
    equity, sums = max(book.head[0].equity, 0.0), book.sums[0]
    for k in range(n):
        sums[k] = 0.0
    for i in range(n):
        sums[group[i]] += notional_of(book.allowed, book, marks, i)
    for k in range(n):
        if sums[k] > cap_of_group(caps, cap, k) * equity:
            gate_group(book, log, marks, group, k, cap_of_group(caps, cap, k), limit, row, ts)


@part
def gate_concentration(book, log, marks, setup, row, ts, strict):
    """No instrument is more than its share of the larger of gross notional and equity.

    Equity is there because a book could never begin otherwise: its first position is all of its gross. Cutting the
    largest makes the gross smaller, so the cuts are repeated until all keep the bound. -> True where it cut

    strict   of equity alone, which keeps the bound whatever else is cut
    """
    share = setup.limits.concentration
    found = False
    if not share < 1.0:
        return found
    equity = max(book.head[0].equity, 0.0)
    n = book.goal.shape[0]
    for _ in range(n):
        gross, largest, at = 0.0, -1.0, 0
        for i in range(n):
            notional = notional_of(book.allowed, book, marks, i)
            gross += notional
            if notional > largest:
                largest, at = notional, i
        gross = largest if strict else gross
        if not largest > share * (equity if strict else max(gross, equity)) * (1.0 + SLACK):
            break
        found = True
        bound = max(share * equity, share * (gross - largest) / (1.0 - share))
        allowed = np.int64(bound / (book.unit[at] * marks[at]))
        note(log, row, ts, CONCENTRATION, at, largest / max(gross, equity), share, SCALE)
        book.allowed[at] = allowed if book.allowed[at] > 0 else -allowed
    return found


@apart
def gate_positions(book, log, market, setup, row, ts):
    """Position limits of the whole book, on book.allowed; -> the gross notional that they leave."""
    marks, limits, groups = market.mark[row], setup.limits, setup.groups
    n = book.goal.shape[0]
    for i in range(n):
        if limits.stale < np.inf and book.allowed[i] != 0:
            gate_stale(book, log, market, setup, row, ts, i)
    if groups.class_cap.shape[0] > 0:
        gate_groups(book, log, marks, groups.asset_class, groups.class_cap, np.inf, ASSET_CLASS, row, ts)
    if groups.venue_cap.shape[0] > 0:
        gate_groups(book, log, marks, groups.venue, groups.venue_cap, np.inf, VENUE, row, ts)
    gate_concentration(book, log, marks, setup, row, ts, False)
    gross = 0.0
    for i in range(n):
        if limits.order_notional < np.inf and book.allowed[i] != 0:
            gate_order(book, log, marks, setup, row, ts, i)
        gross += notional_of(book.allowed, book, marks, i)
    return gross


# --- portfolio -------------------------------------------------------------------------------------------------------


@part
def gate_net(book, log, marks, setup, row, ts):
    """The heavier side is scaled until the sum of signed notionals is inside net_exposure. -> True where it was"""
    equity = max(book.head[0].equity, 0.0)
    long, short, held = 0.0, 0.0, 0.0
    for i in range(book.goal.shape[0]):
        held += book.quantity[i] * marks[i]
        notional = notional_of(book.allowed, book, marks, i)
        if book.allowed[i] > 0:
            long += notional
        else:
            short += notional
    bound = setup.limits.net_exposure * equity
    if not abs(long - short) > bound:
        return False
    heavy = 1 if long > short else -1
    drifted = abs(held) > bound and (held > 0.0) == (long > short)
    scale = (min(long, short) + bound * (1.0 - HEADROOM if drifted else 1.0)) / max(long, short)
    for i in range(book.goal.shape[0]):
        if book.allowed[i] * heavy > 0:
            book.allowed[i] = np.int64(book.allowed[i] * scale)
    wanted = (long - short) / equity if equity > 0.0 else np.inf
    note(log, row, ts, NET_EXPOSURE, -1, wanted, setup.limits.net_exposure, SCALE)
    return True


@part
def gate_heat(book, log, marks, setup, row, ts):
    """Everything is scaled until the initial margin it needs is inside heat."""
    equity = max(book.head[0].equity, 0.0)
    need, held = 0.0, 0.0
    for i in range(book.goal.shape[0]):
        need += notional_of(book.allowed, book, marks, i) * setup.terms[i].initial_margin
        held += abs(book.quantity[i]) * marks[i] * setup.terms[i].initial_margin
    if not need > setup.limits.heat * equity:
        return
    scale = scale_to(setup.limits.heat * equity, need, held)
    for i in range(book.goal.shape[0]):
        book.allowed[i] = np.int64(book.allowed[i] * scale)
    note(log, row, ts, HEAT, -1, need / equity if equity > 0.0 else np.inf, setup.limits.heat, SCALE)


@part
def clusters_at(groups, row):
    """The day of the clusters in force at a row, or -1 before the first."""
    first, last = 0, groups.cluster_row.shape[0]
    while first < last:
        middle = (first + last) // 2
        if groups.cluster_row[middle] <= row:
            first = middle + 1
        else:
            last = middle
    return first - 1


@apart
def gate_portfolio(book, log, market, setup, row, ts):
    """Net exposure, heat, and groups of correlated instruments, on book.allowed."""
    marks, limits, groups = market.mark[row], setup.limits, setup.groups
    if limits.net_exposure < np.inf:
        gate_net(book, log, marks, setup, row, ts)
    if limits.heat < np.inf:
        gate_heat(book, log, marks, setup, row, ts)
    day = clusters_at(groups, row)
    if limits.group_gross < np.inf and day >= 0:
        none = groups.model_cap[:0]
        gate_groups(book, log, marks, groups.cluster[day], none, limits.group_gross, GROUP_GROSS, row, ts)


@apart
def gate_balance(book, log, marks, setup, row, ts):
    """Concentration and net exposure once more, at the end: a cut of something else may have made them larger.

    One can make the other larger too, by less each time; the last turn is strict, and ends it.
    """
    limits, equity = setup.limits, max(book.head[0].equity, 0.0)
    for turn in range(BALANCE_TURNS):
        found = gate_concentration(book, log, marks, setup, row, ts, turn == BALANCE_TURNS - 1)
        net = 0.0
        for i in range(book.goal.shape[0]):
            net += book.allowed[i] * book.unit[i] * marks[i]
        if abs(net) > limits.net_exposure * equity * (1.0 + SLACK):
            found |= gate_net(book, log, marks, setup, row, ts)
        if not found:
            return
