"""The gate: what the models want goes in, what the account may hold comes out (design §8). Nothing goes round it.

Limits are data and hard. Comparisons are strict: a measure exactly at its limit has not broken it. The measures that
most books do without (`Setup.more`) stand in `exposure` and are called, not inlined.
"""

from __future__ import annotations

import numpy as np

from trimtab.compiled import part, rule, spliced
from trimtab.rules.account import must_be_flat, reduced
from trimtab.rules.alarms import is_unusual
from trimtab.rules.exposure import gate_balance, gate_portfolio, gate_positions, is_calm, scale_to
from trimtab.rules.limits import DRAWDOWN_DERISK, GROSS_LEVERAGE, MAX_WEIGHT, REFUSE, SCALE, SHORTABLE, note
from trimtab.rules.plugged import gate_rules
from trimtab.types import ACTIVE


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
def gate_account(book, log, limits, row, ts, unusual):
    """The account's state over every instrument: de-risked, reducing or halted; toward zero only."""
    head = book.head[0]
    flat = must_be_flat(head)
    for i in range(book.allowed.shape[0]):
        allowed = book.allowed[i]
        if head.derisked == 1 and book.dirty[i] == 1 and allowed != 0:
            scaled = np.int64(allowed * limits.derisk_factor)
            if scaled != book.goal[i]:  # else it stands at that already
                note(log, row, ts, DRAWDOWN_DERISK, i, allowed, scaled, SCALE)
            book.allowed[i] = allowed = scaled
        if flat:
            book.allowed[i] = 0
            book.positions[i].sliced = 0  # nothing of it is asked for again
        elif unusual or head.state != ACTIVE:
            book.allowed[i] = reduced(allowed, book.positions[i].lots)


@spliced
def gate(book, log, market, setup, row, ts):
    """book.wanted -> book.allowed for the whole book, in the order of design §8; each cut is noted.

    Position limits, then the portfolio's, then what a user brought, then the account's state. Every step moves lots
    toward zero only, so no step can break what an earlier one kept, but for net exposure and concentration: they are
    looked at once more at the end. What is to go counts as gone here; that it has gone
    before anything comes in its place is seen to where an order fills (room_for), and head.tight says whether it has to
    be.

    ->   1 when anything was cut
    """
    head, limits, marks = book.head[0], setup.limits, market.mark[row]
    equity = max(head.equity, 0.0)
    most = equity * limits.max_weight if limits.max_weight != np.inf else np.inf
    gross, worst, held, cut, unusual = 0.0, 0.0, 0.0, 0, False
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
        standing = abs(book.quantity[i]) * marks[i]
        held += standing
        worst += max(standing, notional)
    calm = setup.more == 0 or is_calm(book, market, setup, row, worst)
    if not calm:
        gross = gate_positions(book, log, market, setup, row, ts)
        unusual = is_unusual(book, log, market, setup, row, ts)
        cut = 1
    if worst > limits.gross_leverage * equity:
        head.tight = 1
    if gross > limits.gross_leverage * equity:
        scale = scale_to(limits.gross_leverage * equity, gross, held)
        for i in range(book.allowed.shape[0]):
            book.allowed[i] = np.int64(book.allowed[i] * scale)
        leverage = gross / equity if equity > 0.0 else np.inf
        note(log, row, ts, GROSS_LEVERAGE, -1, leverage, limits.gross_leverage, SCALE)
        cut = 1
    if not calm:
        gate_portfolio(book, log, market, setup, row, ts)
        for i in range(book.allowed.shape[0]):
            if reduced(book.allowed[i], book.positions[i].lots) != book.positions[i].lots:
                head.tight = 1  # something is to go, and what comes in may have to wait for it
    if setup.rules.shape[0] != 0:
        cut |= gate_rules(book, log, market, setup, row, ts)
    if head.derisked == 1 or head.state != ACTIVE or must_be_flat(head) or unusual:
        gate_account(book, log, limits, row, ts, unusual)
        cut = 1
    if cut != 0 and min(limits.net_exposure, limits.concentration) < np.inf:
        gate_balance(book, log, marks, setup, row, ts)
    return cut
