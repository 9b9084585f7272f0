"""Round trips out of fills: from flat to flat, or to the other side."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.compiled import loop
from trimtab.rules.orders import SPLIT_UP
from trimtab.types import F64

TRADE: Final = np.dtype(
    [
        ("instrument", "i8"),
        ("entry_ts", "i8"),
        ("exit_ts", "i8"),
        ("lots", "f8"),  # largest held, signed
        ("entry_price", "f8"),  # average over everything that opened it
        ("exit_price", "f8"),  # average over everything that closed it
        ("pnl", "f8"),  # net of fees and costs
        ("fees", "f8"),
        ("costs", "f8"),  # all costs, fees among them
        ("open", "i8"),  # 1: not closed yet; exit columns are those so far
    ]
)


@loop
def fold_trades(fills, lots, fees, costs, unit, slack, out):
    """Write TRADE rows of fills (F,) with signed lots (F,), in order of their exits; -> count.

    lots    of each fill, whole or a model's part; 0 is passed over
    unit    (N,) quote currency per lot and unit of price
    slack   lots that still count as flat: 0 for the book, almost 1 for a model, whose part of whole lots is not whole
    A fill that crosses zero closes one trade and opens the next, its fee and costs shared by size. A split makes
    another number of lots of a trade, and of its prices what these cost.
    """
    n = unit.shape[0]
    held = np.zeros(n)
    inside = np.zeros(n, np.bool_)
    live: Any = np.zeros(n, out.dtype)  # records: the checker knows nothing of their fields
    bought = np.zeros((n, 2))  # lots and lots x price that opened
    sold = np.zeros((n, 2))  # that closed
    count = 0
    for k in range(fills.shape[0]):
        left = lots[k]
        if left == 0.0:
            continue
        i, price = fills[k].instrument, fills[k].price
        if fills[k].reason == SPLIT_UP:
            now, ratio = live[i], 1.0 + left / held[i] if held[i] != 0.0 else 1.0
            held[i] += left
            if not inside[i]:
                continue
            if abs(held[i]) <= slack:  # what is left was a fraction, and paid out with the dividends
                inside[i] = False
                now.exit_ts = fills[k].ts
                now.exit_price = sold[i, 1] / sold[i, 0] if sold[i, 0] > 0.0 else 0.0
                now.open = 0
                out[count] = now
                count += 1
                continue
            now.lots *= ratio
            bought[i, 0] *= ratio
            sold[i, 0] *= ratio
            now.entry_price = bought[i, 1] / bought[i, 0]
            now.exit_price = sold[i, 1] / sold[i, 0] if sold[i, 0] > 0.0 else np.nan
            continue
        while left != 0.0:
            now = live[i]
            if not inside[i]:
                if abs(held[i] + left) <= slack:
                    held[i] += left
                    break
                inside[i] = True
                now.instrument = i
                now.entry_ts = fills[k].ts
                now.lots = 0.0
                now.pnl = 0.0
                now.fees = 0.0
                now.costs = 0.0
                now.open = 1
                bought[i, 0] = 0.0
                bought[i, 1] = 0.0
                sold[i, 0] = 0.0
                sold[i, 1] = 0.0
            part = left
            closing = now.lots != 0.0 and (now.lots > 0.0) != (left > 0.0)
            if closing and abs(left) > abs(held[i]) + slack:
                part = -held[i]
            ratio = part / lots[k]
            fee, cost = fees[k] * ratio, costs[k] * ratio
            now.fees += fee
            now.costs += cost
            now.pnl -= part * unit[i] * price + fee
            side = sold if closing else bought
            side[i, 0] += abs(part)
            side[i, 1] += abs(part) * price
            held[i] += part
            left -= part
            if abs(held[i]) > abs(now.lots):
                now.lots = held[i]
            now.entry_price = bought[i, 1] / bought[i, 0]
            now.exit_price = sold[i, 1] / sold[i, 0] if sold[i, 0] > 0.0 else np.nan
            if closing:
                now.exit_ts = fills[k].ts
            if closing and abs(held[i]) <= slack:
                inside[i] = False
                now.open = 0
                out[count] = now
                count += 1
    for i in range(n):
        if inside[i]:
            out[count] = live[i]
            count += 1
    return count


def round_trips(
    fills: NDArray[np.void], lots: F64, fees: F64, costs: F64, unit: F64, slack: float = 0.0
) -> NDArray[np.void]:
    """TRADE rows: closed ones in order of their exits, then those still open (pnl: cash so far, without the mark)."""
    out = np.zeros(2 * len(fills) + len(unit), TRADE)
    return out[: fold_trades(fills, lots, fees, costs, unit, slack, out)]


def costs_of_fills(fills: NDArray[np.void]) -> F64:
    """All that each fill cost, fee included, money (F,)."""
    return fills["fee"] + fills["spread"] + fills["slippage"] + fills["impact"] + fills["latency"]


def slack_of(shares: F64) -> float:
    """Lots of a model's part that count as flat: netting rounds once, so a part of several is off by less than 1.

    One whole lot is a position, however its part was rounded in the last bits.
    """
    return 1.0 - 1e-9 if shares.shape[1] > 1 else 0.0


def share_of_fills(fills: NDArray[np.void], shares: F64, model: int) -> tuple[F64, F64, F64]:
    """One model's lots, fees and costs of each fill (F,): as the rules shared them, see rules.fills.share_fill."""
    lots = np.ascontiguousarray(shares[:, model])
    size = np.abs(shares).sum(axis=1)
    fees = fills["fee"] * np.divide(np.abs(lots), size, out=np.zeros_like(lots), where=size > 0.0)
    whole = fills["lots"].astype(np.float64)
    ratio = np.divide(lots, whole, out=np.zeros_like(lots), where=whole != 0.0)
    return lots, fees, fees + (costs_of_fills(fills) - fills["fee"]) * ratio
