"""Which orders of two runs are one and the same, and which lots of their fills belong together."""

from __future__ import annotations

import bisect
import collections
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

#: Orders by id, and their fills in order, as rows of a bundle's tables.
Orders = dict[int, dict[str, Any]]
Fills = dict[int, list[dict[str, Any]]]

#: An order of each run; None: it is in the other one only.
Match = tuple[int | None, int | None]

#: Orders whose decisions are no more than so many bars apart may be one order, late.
WITHIN: Final = 10


class Trade(NamedTuple):
    """An order that filled in one run or in both: its decisions, and what was filled; None, 0 and NaN where it did not.

    lots      filled in each run, signed; price: their average price; fee: what was paid, quote currency
    """

    symbol: str
    side: str
    decided: tuple[int | None, int | None]
    filled: tuple[int | None, int | None]
    lots: tuple[int, int]
    price: tuple[float, float]
    fee: tuple[float, float]


class Slice(NamedTuple):
    """So many lots of a fill, unsigned."""

    lots: int
    fill: dict[str, Any]


def pairs_of(orders: tuple[Orders, Orders], filled: tuple[Fills, Fills], within: int) -> Iterator[Match]:
    """Orders of the two runs that belong together, by decision and side; then those nearest in time; then alone."""
    keyed: list[dict[tuple[Any, ...], list[int]]] = []
    for sent, fills in zip(orders, filled, strict=True):
        keys: dict[tuple[Any, ...], list[int]] = collections.defaultdict(list)
        for k, order in sent.items():
            if k in fills or order["status"] == "REJECTED":
                keys[(order["ts"], order["lots"] > 0, order["kind"])].append(k)
        keyed.append(keys)
    rest: tuple[list[int], list[int]] = ([], [])
    for key in dict.fromkeys((*keyed[0], *keyed[1])):
        for one, two in itertools.zip_longest(keyed[0].get(key, ()), keyed[1].get(key, ())):
            if one is not None and two is not None:
                if one in filled[0] or two in filled[1]:
                    yield one, two
            elif one is not None and one in filled[0]:
                rest[0].append(one)
            elif two is not None and two in filled[1]:
                rest[1].append(two)
    yield from _late(orders, rest, within)


def _late(orders: tuple[Orders, Orders], rest: tuple[list[int], list[int]], within: int) -> Iterator[Match]:
    """Of orders without their like: the pairs of one side and kind that are nearest to each other, then the rest."""
    a, b = orders
    near: list[tuple[int, int, int]] = []
    groups: dict[tuple[bool, str], list[tuple[int, int]]] = collections.defaultdict(list)
    for k in rest[1]:
        groups[(b[k]["lots"] > 0, b[k]["kind"])].append((b[k]["ts"], k))
    for group in groups.values():
        group.sort()
    for k in rest[0]:
        order = a[k]
        group = groups.get((order["lots"] > 0, order["kind"]), [])
        low = bisect.bisect_left(group, (order["ts"] - within, -1))
        for ts, other in itertools.islice(group, low, low + 2 * WITHIN + 1):
            if abs(ts - order["ts"]) <= within:
                near.append((abs(ts - order["ts"]), k, other))
    taken: tuple[set[int], set[int]] = (set(), set())
    for _, one, two in sorted(near):
        if one not in taken[0] and two not in taken[1]:
            taken[0].add(one)
            taken[1].add(two)
            yield one, two
    yield from ((k, None) for k in rest[0] if k not in taken[0])
    yield from ((None, k) for k in rest[1] if k not in taken[1])


def by_symbol(orders: dict[int, dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    found: dict[str, dict[int, dict[str, Any]]] = collections.defaultdict(dict)
    for k, order in orders.items():
        found[order["symbol"]][k] = order
    return found


def openings_of(fills: list[dict[str, Any]]) -> dict[str, list[int]]:
    """By symbol, the decisions that opened a position or turned one around, in order."""
    found: dict[str, list[int]] = collections.defaultdict(list)
    for fill in fills:
        before = fill["position"] - fill["lots"]
        if fill["position"] and (before > 0) - (before < 0) != (1 if fill["position"] > 0 else -1):
            found[fill["symbol"]].append(fill["decision_ts"])
    return found


def fates_of(orders: dict[int, dict[str, Any]]) -> dict[tuple[str, int, bool], str]:
    """What became of the orders that did not fill, by symbol, decision and side."""
    return {
        (o["symbol"], o["ts"], o["lots"] > 0): o["reason"] or o["waited"] or o["status"].lower()
        for o in orders.values()
        if o["filled"] == 0
    }


def trade_of(symbol: str, orders: tuple[Any, Any], fills: tuple[Any, Any]) -> Trade:
    """The two fillings of one order."""
    lots = tuple(sum(f["lots"] for f in part) for part in fills)
    prices = tuple(
        sum(abs(f["lots"]) * f["price"] for f in part) / lots_of(part) if part else math.nan for part in fills
    )
    order = next(o for o in orders if o is not None)
    return Trade(
        symbol,
        "buy" if order["lots"] > 0 else "sell",
        (orders[0] and orders[0]["ts"], orders[1] and orders[1]["ts"]),
        tuple(part[0]["bar_ts"] if part else None for part in fills),  # type: ignore[arg-type]  # two of each
        lots,  # type: ignore[arg-type]
        prices,  # type: ignore[arg-type]
        tuple(sum(f["fee"] for f in part) for part in fills),  # type: ignore[arg-type]
    )


def slices_of(ones: list[dict[str, Any]], twos: list[dict[str, Any]]) -> Iterable[tuple[Slice | None, Slice | None]]:
    """The fills of one order in two runs lot by lot, in order: what both have beside each other, then what is left."""
    i = j = 0
    left = [abs(f["lots"]) for f in ones], [abs(f["lots"]) for f in twos]
    while i < len(ones) and j < len(twos):
        lots = min(left[0][i], left[1][j])
        yield Slice(lots, ones[i]), Slice(lots, twos[j])
        left[0][i] -= lots
        left[1][j] -= lots
        i, j = i + (left[0][i] == 0), j + (left[1][j] == 0)
    for k in range(i, len(ones)):
        yield Slice(left[0][k], ones[k]), None
    for k in range(j, len(twos)):
        yield None, Slice(left[1][k], twos[k])


def lots_of(fills: list[dict[str, Any]]) -> int:
    return sum(abs(f["lots"]) for f in fills)
