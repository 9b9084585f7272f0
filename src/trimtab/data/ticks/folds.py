"""The two folds over ticks that no column operation can do: where threshold bars close, and the book.

Compiled, and only loaded when one of them is asked for.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.compiled import loop
from trimtab.types import F64, I64

#: A sum of decimal quantities that has reached a threshold may be below it by rounding: 10 x 0.1 < 1.
_REACHED: Final = 1.0 - 1e-9


@loop
def closings(amount: F64, threshold: float, closing: I64) -> int:
    """Which trades close a bar, in `closing`; how many there are. The sum begins anew behind each of them."""
    total, n = 0.0, 0
    for k in range(len(amount)):
        total += amount[k]
        if total >= threshold * _REACHED:
            closing[n] = k
            n += 1
            total = 0.0
    return n


@loop
def fold_book(
    ids: I64, snapshot: NDArray[np.bool_], bid: NDArray[np.bool_], rank: I64, qty: F64, sizes: F64, best: I64, size: F64
) -> None:
    """The best bid and ask after each update, from depth in the order of its ids.

    ids       (R, 3)  first_id, final_id, prev_id of each row; prev_id 0: not given
    snapshot, bid     (R,) the row is of a snapshot; of the bids
    rank, qty (R,)    the row's price as its place among all prices, lowest first; its new quantity
    sizes     (2, P)  scratch: quantity of bids and asks at each price
    best      (R, 2)  out, at the last row of each update: rank of the best bid and ask; -1: not known or none
    size      (R, 2)  out: their quantities

    An update that does not join the one before makes the book unknown until the next snapshot.
    """
    rows, prices = len(rank), sizes.shape[1]
    known = joining = skipped = False
    last = np.int64(-1)
    top, bottom = -1, prices
    for k in range(rows):
        first, final, prev = ids[k, 0], ids[k, 1], ids[k, 2]
        if k == 0 or final != ids[k - 1, 1] or snapshot[k] != snapshot[k - 1]:
            if snapshot[k]:
                sizes[:] = 0.0
                known, joining, skipped, last = True, True, False, final
                top, bottom = -1, prices
            else:
                skipped = known and final < last
                if known and not skipped:
                    if prev > 0:
                        known = prev == last or (joining and prev < last)
                    else:
                        known = first == last + 1 or (joining and first <= last)
                    joining, last = False, final
        if known and not skipped:
            place = rank[k]
            if bid[k]:
                sizes[0, place] = qty[k]
                if qty[k] > 0.0 and place > top:
                    top = place
                while top >= 0 and sizes[0, top] == 0.0:
                    top -= 1
            else:
                sizes[1, place] = qty[k]
                if qty[k] > 0.0 and place < bottom:
                    bottom = place
                while bottom < prices and sizes[1, bottom] == 0.0:
                    bottom += 1
        best[k, 0] = best[k, 1] = -1
        ends = k + 1 == rows or final != ids[k + 1, 1] or snapshot[k] != snapshot[k + 1]
        if ends and known and not skipped:
            if top >= 0:
                best[k, 0], size[k, 0] = top, sizes[0, top]
            if bottom < prices:
                best[k, 1], size[k, 1] = bottom, sizes[1, bottom]
    if not known:
        sizes[:] = 0.0
