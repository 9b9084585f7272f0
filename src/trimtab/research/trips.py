"""Round trips of a run, folded once out of its fills: its table of trades and its metrics read the same ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.sim.simulate import Result
from trimtab.sim.trades import costs_of_fills, round_trips, share_of_fills, slack_of
from trimtab.types import DAY, F64


class Trips(NamedTuple):
    """TRADE rows (see sim.trades) of the book, and of each model by its part of the fills.

    traded  (M,) notional that each model bought and sold, base currency
    """

    book: NDArray[np.void]
    models: tuple[NDArray[np.void], ...]
    traded: F64


def trips_of(result: Result, rates: F64) -> Trips:
    """The round trips of a finished run; rates (F,): base per quote currency at each fill."""
    fills, unit = result.fills, result.book.unit
    whole, fees = fills["lots"].astype(np.float64), np.ascontiguousarray(fills["fee"])
    book = round_trips(fills, whole, fees, costs_of_fills(fills), unit)
    slack, size = slack_of(result.shares), fills["price"] * unit[fills["instrument"]] * rates
    models: list[NDArray[np.void]] = []
    traded = np.zeros(result.shares.shape[1])
    for m in range(len(traded)):
        lots, fees, costs = share_of_fills(fills, result.shares, m)
        models.append(round_trips(fills, lots, fees, costs, unit, slack))
        traded[m] = (np.abs(lots) * size).sum()
    return Trips(book, tuple(models), traded)


def entry_notional(trips: NDArray[np.void], unit: F64) -> F64:
    """The largest position of each trade at its average entry price, quote currency; unit (N,) as in the book."""
    return np.abs(trips["lots"]) * unit[trips["instrument"]] * trips["entry_price"]


def holding_days(trips: NDArray[np.void]) -> F64:
    """Days from entry to exit; without meaning for a trade that is open."""
    return (trips["exit_ts"] - trips["entry_ts"]) / DAY
