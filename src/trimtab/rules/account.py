"""The only accounting in the project: positions, cash and equity (design §7).

Money is booked in the currency of its wallet. Cash in another currency than the base one is a quantity with the
exchange rate for its mark, so that equity is one sum.

Average cost: adding to a position moves its average price, reducing it realises profit at that average, and crossing
zero does both, closing the old part and opening the rest at the fill's price.
"""

from __future__ import annotations

import numpy as np

from trimtab.compiled import part, rule
from trimtab.types import HALTED, Position


@rule
def apply(position, lots, price, unit):
    """The position after a fill, and nothing else: fees are cash, not part of it.

    position   Position before the fill
    lots       signed lots filled, not 0
    price      fill price, quote currency
    unit       quote currency per lot and unit of price (lot_size x multiplier)
    ->         Position; realised_pnl grows by (price - avg_price) x lots closed x unit
    """
    held = position.lots
    after = held + lots
    if held == 0 or (held > 0) == (lots > 0):
        avg = price if held == 0 else (position.avg_price * held + price * lots) / after
        return Position(after, avg, position.realised_pnl)
    closed = -lots if abs(lots) <= abs(held) else held  # signed like the position
    realised = position.realised_pnl + (price - position.avg_price) * closed * unit
    if after == 0:
        return Position(0, 0.0, realised)
    return Position(after, price if (after > 0) != (held > 0) else position.avg_price, realised)


@part
def is_rounding(part, lots):
    """Is a part of so many lots nothing but what float64 could not say of them, or of a ratio such as 1/3?"""
    return abs(part) <= 1e-9 + 1e-15 * abs(lots)


@rule
def mark(cash, quantity, marks):
    """Equity: cash plus every position at its mark.

    Always summed in the same order: each fourth instrument, these four sums, and what is left over. One sum after the
    other would wait for the sum before it, and this is what a run spends most of its time on.

    cash       quote currency, all wallets
    quantity   (N,) lots x unit
    marks      (N,) last price seen; 0 before the first
    """
    whole = quantity.shape[0] // 4 * 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for i in range(0, whole, 4):
        a += quantity[i] * marks[i]
        b += quantity[i + 1] * marks[i + 1]
        c += quantity[i + 2] * marks[i + 2]
        d += quantity[i + 3] * marks[i + 3]
    equity = cash + ((a + b) + (c + d))
    for i in range(whole, quantity.shape[0]):
        equity += quantity[i] * marks[i]
    return equity


@part
def rate_of(terms, marks, i):
    """Base currency per unit of the currency in which an instrument is quoted."""
    at = terms[i].column
    return 1.0 if at < 0 else marks[at]


@part
def add_cash(book, wallet, amount):
    """Pay an amount, in the wallet's currency, into a wallet."""
    book.cash[wallet] += amount
    if book.column[wallet] >= 0:
        book.quantity[book.column[wallet]] = book.cash[wallet]
        return
    cash = 0.0
    for c in range(book.cash.shape[0]):
        if book.column[c] < 0:
            cash += book.cash[c]
    book.head[0].cash = cash


@rule
def must_be_flat(head):
    """Does a breaker or the kill switch want nothing held, whatever the models want?"""
    return head.state == HALTED or head.locked != 0 or head.killed == 1


@part
def reduced(allowed, held):
    """The lots nearest to `allowed` that do not increase what is held and do not cross zero."""
    if allowed == 0 or held == 0 or (allowed > 0) != (held > 0):
        return np.int64(0)
    return min(allowed, held) if held > 0 else max(allowed, held)
