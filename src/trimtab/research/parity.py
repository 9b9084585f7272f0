"""Two runs of one window beside each other, trade by trade: what each difference is due to, and what it was worth.

A fill is worth what it made by the end of the window: signed lots x unit x (closing mark - price) - fee. These worths,
the positions held at the start, and what was paid for holding add up to the profit of a run; so the differences between
two runs add up to the difference in their profits. Lots that one run has and the other has not are followed until a
later difference undoes them (first in, first out): what they made is due to whatever opened them.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import math
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.research.parity_sides import Side, Window, check_comparable, read_side, window_of
from trimtab.research.parity_trades import (
    WITHIN,
    Slice,
    Trade,
    by_symbol,
    fates_of,
    lots_of,
    openings_of,
    pairs_of,
    slices_of,
    trade_of,
)
from trimtab.research.parity_window import Overlap
from trimtab.types import F64, I64, TIMEFRAMES, TrimtabError
from trimtab.words import utc

#: What a difference may be due to, in the order in which they are told.
CAUSES: Final[dict[str, str]] = {
    "data": "the bars of the decision or of the fill differ",
    "timing": "the same order filled in another bar",
    "price": "another price in the same bar",
    "fee": "another fee",
    "size": "other lots",
    "missed": "a trade of one run only",
    "rejected": "refused in one run",
    "carried": "held longer, or what holding cost",
}
#: Days of bars that spread, impact and latency depend on: vol and average volume.
_COST_DAYS: Final = 40 * 86_400 * 10**9


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One cause of one trade's difference, first run less second.

    trade    its number in Parity.trades; -1: no trade's
    money    base currency, at the rate of the end of the window; quote: the same in the instrument's quote currency
    follows  it only follows another one: lots in proportion to the equity, or lots that undo an earlier difference
    """

    trade: int
    cause: str
    symbol: str
    money: float
    quote: float
    currency: str
    follows: bool
    words: str


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing two runs has found; money in base currency, first run less second.

    equal        no trade and no equity in the window differs by more than the tolerance
    window       first and last instant compared; whole: that is all of both runs
    difference   of the final equities = before (there at the start, cash paid in included) + causes + residual
    worst        the largest difference of equity at one row, relative
    basis        equity of the first run at the start: basis points are of it
    causes       name -> (trades, money, money of what only follows another difference)
    differences  the trades with the most money first
    curves       the rows of the window that both have, and the two equities there
    """

    names: tuple[str, str]
    equal: bool
    tolerance: float
    currency: str
    window: tuple[int, int]
    whole: bool
    matched: int
    trades: tuple[Trade, ...]
    final: tuple[float, float]
    difference: float
    before: float
    residual: float
    worst: float
    basis: float
    causes: dict[str, tuple[int, float, float]]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    curves: tuple[I64, F64, F64]

    def bps(self, money: float) -> float:
        """Money in basis points of the equity at the start of the window."""
        return money / self.basis * 1e4


def parity(first: str | Path, second: str | Path, *, tolerance: float = 0.0, within: int = WITHIN) -> Parity:
    """Compare two bundles over the window that both have.

    tolerance   relative: differences of price, fee, lots and equity up to it are none; 0: bit for bit
    within      bars that the decisions of one order may lie apart

    TrimtabError where a bundle is none, and where there is nothing to compare.
    """
    if not (0.0 <= tolerance < 1.0):
        raise TrimtabError(f"tolerance: expected a fraction from 0 to below 1, found {tolerance:g}")
    if within < 0:
        raise TrimtabError(f"within: expected a number of bars, 0 or more, found {within}")
    a, b = read_side(Path(first)), read_side(Path(second))
    check_comparable(a, b)
    return Comparison(a, b, window_of(a, b), tolerance, within).result()


# ---------------------------------------------------------------------------------------------------------------------
# Comparing
# ---------------------------------------------------------------------------------------------------------------------


class Extra(NamedTuple):
    """Lots that one run has and the other has not: signed as the first run's position differs by them.

    cost     what they paid in fees, as the first run's difference (negative: it paid more), quote currency
    certain  the cause is on record: however few lots, they do not just follow the equity
    follows  lots by which the order may differ only because the equities do
    """

    when: int
    lots: int
    price: float
    cost: float
    cause: str
    trade: int
    words: str
    certain: bool = True
    follows: float = 0.0


class Comparison(Overlap):
    """The work of comparing two runs over one window."""

    def __init__(self, a: Side, b: Side, window: Window, tolerance: float, within: int) -> None:
        super().__init__(a, b, window)
        self.tolerance = tolerance
        self.within = within * TIMEFRAMES.get(str(a.spec.get("timeframe", "")), 0)
        self.trades: list[Trade] = []
        self.found: list[Difference] = []
        self.extras: dict[str, list[Extra]] = collections.defaultdict(list)
        self.matched = 0
        self.differs = False
        self.openings = tuple(openings_of(side.fills) for side in self.sides)
        self.orders = tuple(by_symbol(side.orders) for side in self.sides)
        self.fates = tuple(fates_of(side.orders) for side in self.sides)
        self.counts_volume = any(
            cost.get(name)
            for side in self.sides
            for cost in side.summary["costs"].values()
            for name in ("vol_spread", "impact", "latency")
        )

    def _explained(self, symbol: str, when: int, fills: tuple[Any, Any]) -> float:
        """Lots that an order may differ by only because the two equities do: it and what is held are sized by them."""
        after = max(abs(part[-1]["position"]) for part in fills if part)
        before = max(abs(part[0]["position"] - part[0]["lots"]) for part in fills if part)
        opened = when
        for side in (0, 1):
            known = self.openings[side].get(symbol, [])
            k = bisect.bisect_left(known, when) - 1
            opened = min(opened, known[k]) if k >= 0 else opened
        return 1.02 * (self.drift_at(when, when) * after + self.drift_at(opened, when) * before)

    def near(self, one: float, two: float) -> bool:
        return one == two or abs(one - two) <= self.tolerance * max(abs(one), abs(two))

    # --- trades ----------------------------------------------------------------------------------------------------

    def compare(self, symbol: str) -> None:
        """Every trade of one instrument."""
        filled = self.filled[0][symbol], self.filled[1][symbol]
        for one, two in pairs_of((self.orders[0][symbol], self.orders[1][symbol]), filled, self.within):
            fills = filled[0].get(one, []) if one is not None else [], filled[1].get(two, []) if two is not None else []
            orders = tuple(
                None if k is None else side.orders[k] for side, k in zip(self.sides, (one, two), strict=True)
            )
            self.matched += bool(fills[0] and fills[1])
            self._pair(symbol, orders, fills)  # type: ignore[arg-type]  # two of each

    def _pair(
        self, symbol: str, orders: tuple[Any, Any], fills: tuple[list[dict[str, Any]], list[dict[str, Any]]]
    ) -> None:
        trade = trade_of(symbol, orders, fills)
        number, count = len(self.trades), len(self.found) + sum(map(len, self.extras.values()))
        self.trades.append(trade)
        left: list[list[Slice]] = [[], []]
        for one, two in slices_of(fills[0], fills[1]):
            if one is not None and two is not None:
                self._same_lots(number, symbol, one, two)
            elif one is not None:
                left[0].append(one)
            elif two is not None:
                left[1].append(two)
        if left[0] or left[1]:
            self._other_lots(number, symbol, orders, fills, left)
        if len(self.found) + sum(map(len, self.extras.values())) == count:
            self.trades.pop()

    def _add(self, number: int, cause: str, symbol: str, quote: float, words: str, *, follows: bool = False) -> None:
        rate = self.end_of(symbol, 1)[1]
        currency = str(self.instruments[symbol].get("quote", ""))
        self.found.append(
            Difference(
                trade=number, cause=cause, symbol=symbol, money=quote * rate, quote=quote, currency=currency,
                follows=follows, words=words,
            )
        )  # fmt: skip

    def _same_lots(self, number: int, symbol: str, one: Slice, two: Slice) -> None:
        """Lots that filled in both runs: what their bar, their price and their fee made."""
        a, b, unit = one.fill, two.fill, self.unit(symbol)
        lots = one.lots * (1 if a["lots"] > 0 else -1)
        rates = [f["fee"] / (abs(f["lots"]) * unit * f["price"]) if f["fee"] else 0.0 for f in (a, b)]
        moved = a["bar_ts"] != b["bar_ts"]
        self.differs |= moved or not self.near(a["price"], b["price"]) or not self.near(rates[0], rates[1])
        if moved or a["price"] != b["price"]:
            # A price is the market that was met times what was paid beyond it.
            beyond = [f["price"] / f["mid"] if f["mid"] else 1.0 for f in (a, b)]
            cause, words = self._price_cause(symbol, a, b, moved)
            whole, market = a["price"] - b["price"], (a["mid"] - b["mid"]) * beyond[1]
            if cause != "timing" or abs(beyond[0] - beyond[1]) <= 1e-12:
                market = whole
            per_price = -(lots + abs(lots) * rates[1]) * unit
            self._add(number, cause, symbol, per_price * market, words)
            if market != whole:
                words = f"paid {(beyond[0] - beyond[1]) * 1e4:+.3g} bps beyond the market"
                self._add(number, "price", symbol, per_price * (whole - market), words)
        if abs(rates[0] - rates[1]) > 1e-12 * max(abs(rates[0]), abs(rates[1])):
            words = f"paid {rates[0] * 1e4:.4g} bps of fee instead of {rates[1] * 1e4:.4g}"
            self._add(number, "fee", symbol, -abs(lots) * unit * a["price"] * (rates[0] - rates[1]), words)

    def _price_cause(self, symbol: str, a: dict[str, Any], b: dict[str, Any], moved: bool) -> tuple[str, str]:
        """Why lots of both runs have another price."""
        if moved:
            decided = a["decision_ts"], b["decision_ts"]
            if decided[0] != decided[1] and (words := self.bars_differ(symbol, min(decided), self.memory)):
                return "data", words
            return "timing", f"filled in the bar of {utc(a['bar_ts'])} instead of {utc(b['bar_ts'])}"
        if a["bar"] != b["bar"]:
            return "data", f"the bar of {utc(a['bar_ts'])}, in which it filled, differs"
        if self.counts_volume and (words := self.bars_differ(symbol, a["bar_ts"], _COST_DAYS)):
            return "data", words
        return "price", f"filled at {a['price']:.8g} instead of {b['price']:.8g}"

    def _other_lots(
        self, number: int, symbol: str, orders: tuple[Any, Any], fills: tuple[Any, Any], left: list[list[Slice]]
    ) -> None:
        cause, certain, words = self._lots_cause(symbol, orders, fills)
        when = min(o["ts"] for o in orders if o is not None)
        explained = 2.0 + self._explained(symbol, when, fills)
        mine = sum(s.lots for part in left for s in part)
        most = max(sum(abs(f["lots"]) for f in part) for part in fills)
        self.differs |= mine > self.tolerance * most
        for sign, part in ((1, left[0]), (-1, left[1])):
            for piece in part:
                fill = piece.fill
                lots = sign * piece.lots * (1 if fill["lots"] > 0 else -1)
                fee = -sign * fill["fee"] * piece.lots / abs(fill["lots"])
                self.extras[symbol].append(
                    Extra(fill["ts"], lots, fill["price"], fee, cause, number, words, certain, explained)
                )

    def _lots_cause(self, symbol: str, orders: tuple[Any, Any], fills: tuple[Any, Any]) -> tuple[str, bool, str]:
        """Why lots of one run are not in the other: cause, is that on record, and the words."""
        decided = [o["ts"] for o in orders if o is not None]
        when, names = min(decided), ("the first run", "the second run")
        for k in (0, 1):
            if orders[k] is not None and not fills[k] and orders[k]["status"] == "REJECTED":
                return "rejected", True, f"refused in {names[k]}: {orders[k]['reason']}"
        if fills[0] and fills[1]:
            one, two = fills[0][0], fills[1][0]
            if one["decision_ts"] == two["decision_ts"] and one["decision_bar"] != two["decision_bar"]:
                return "data", True, f"the bar of {utc(when)}, on which it was sized, differs"
        if words := self.bars_differ(symbol, when, self.memory):
            return "data", False, words
        if fills[0] and fills[1]:
            wanted = [abs(o["lots"]) for o in orders]
            told = wanted if wanted[0] != wanted[1] else [lots_of(part) for part in fills]
            words = f"{told[0]:,} lots {'ordered' if told is wanted else 'filled'} instead of {told[1]:,}"
            whys = dict.fromkeys(o["waited"] for o in orders if o["waited"])
            return "size", False, "; ".join((words, *whys))
        other = 1 if fills[0] else 0
        limits = {limit for ts, name, limit in self.sides[other].acts if ts == when and name in (symbol, "")}
        limits -= {limit for ts, name, limit in self.sides[1 - other].acts if ts == when and name in (symbol, "")}
        if limits:
            return "rejected", False, f"the gate of {names[other]} acted: {', '.join(sorted(limits))}"
        fate = self.fates[other].get((symbol, when, fills[1 - other][0]["lots"] > 0))
        return "missed", False, f"not in {names[other]}" if fate is None else f"not filled in {names[other]}: {fate}"

    # --- lots that only one run has --------------------------------------------------------------------------------

    def follow(self, symbol: str) -> None:
        """Follow the lots that only one run has until they are undone: what they made is due to what opened them."""
        unit, open_lots = self.unit(symbol), collections.deque[list[Any]]()
        mark = self.end_of(symbol, 1)[0]
        for extra in sorted(self.extras[symbol], key=lambda e: e.when):
            rest, fee, undone = extra.lots, extra.cost / abs(extra.lots), None
            while rest and open_lots and (open_lots[0][0] > 0) != (rest > 0):
                left, begun = open_lots[0]
                lots = min(abs(left), abs(rest)) * (1 if left > 0 else -1)
                made = lots * unit * (extra.price - begun.price)
                self._add(begun.trade, begun.cause, symbol, made, begun.words, follows=not begun.certain)
                words = f"undoes what {_told(begun)} had made different"
                self._add(extra.trade, begun.cause, symbol, fee * abs(lots), words, follows=True)
                open_lots[0][0] -= lots
                undone = begun
                rest += lots
                if not open_lots[0][0]:
                    open_lots.popleft()
            if rest:
                begun = self._opened(extra, rest, undone)
                self._add(begun.trade, begun.cause, symbol, fee * abs(rest), begun.words, follows=not begun.certain)
                open_lots.append([rest, begun])
        for lots, begun in open_lots:
            words = f"{abs(lots):,} lots {'more' if lots > 0 else 'less'} held at the end; begun by: {_told(begun)}"
            self._add(begun.trade, "carried", symbol, lots * unit * (mark - begun.price), words, follows=True)

    def _opened(self, extra: Extra, rest: int, undone: Extra | None) -> Extra:
        """The lots of an order that undid nothing, with what they are due to; certain: they do not follow the equity.

        undone  what the others undid. Where those were most of them, the rest has the same cause: the order came of it
        """
        if abs(rest) > extra.follows or (undone is None and extra.certain):
            if undone is not None and 2 * abs(rest) <= abs(extra.lots):
                words = f"overshot while it undid what {_told(undone)} had made different"
                return extra._replace(cause=undone.cause, certain=undone.certain, words=words)
            return extra._replace(certain=True)
        apart = self.drift_at(extra.when, extra.when)
        words = f"lots follow the equity, which differed by {apart:.2%}"
        return extra._replace(cause="size", certain=False, words=words)

    def stand(self, symbol: str) -> tuple[float, float]:
        """Profit of each run's trades and positions of an instrument in the window, base currency.

        Adds what differs because the two runs mark it differently, and the lots held at the start that only one has.
        """
        held, unit = self.held_at_start(symbol), self.unit(symbol)
        made: list[float] = []
        for side in (0, 1):
            mark, rate = self.end_of(symbol, side)
            opened = self.end_of(symbol, side, start=True)[0]
            worth = held[side] * unit * (mark - opened)
            for fill in itertools.chain(*self.filled[side][symbol].values()):
                worth += fill["lots"] * unit * (mark - fill["price"]) - fill["fee"]
            made.append(worth * rate)
        if held[0] != held[1]:
            price = self.end_of(symbol, 1, start=True)[0]
            start = self.window.first
            words = f"{held[0]:,} lots instead of {held[1]:,} when the window begins"
            self.extras[symbol].append(Extra(start, held[0] - held[1], price, 0.0, "carried", -1, words))
        return made[0], made[1]

    # --- all of it ---------------------------------------------------------------------------------------------------

    def result(self) -> Parity:
        a, b = self.sides
        stood = {symbol: self.stand(symbol) for symbol in self.instruments}
        for symbol in self.instruments:
            self.compare(symbol)
            self.follow(symbol)
            told = sum(d.money for d in self.found if d.symbol == symbol)
            marked = stood[symbol][0] - stood[symbol][1] - told
            if abs(marked) > 1e-9 * max(abs(self.equity_of(0)[1]), 1.0) and self.marked_apart(symbol):
                self._add(-1, "data", symbol, marked / self.end_of(symbol, 1)[1], f"closing marks of {symbol} differ")
        (begin_a, end_a), (begin_b, end_b) = self.equity_of(0), self.equity_of(1)
        flows = self.flows_of(0) - self.flows_of(1)
        before = begin_a - begin_b + flows
        carry = self.carry_of(0, stood) - self.carry_of(1, stood)
        if carry != 0.0:
            self.found.append(
                Difference(
                    trade=-1, cause="carried", symbol="", money=carry, quote=carry, currency=self.currency,
                    follows=False, words=self.carry_words,
                )
            )  # fmt: skip
        causes = self._causes()
        difference = end_a - end_b
        one, two = self.curves
        worst = float(np.max(np.abs(one - two) / np.maximum(np.abs(one), np.abs(two)), initial=0.0))
        equal = not self.differs and worst <= self.tolerance and before == 0.0
        return Parity(
            names=(a.name, b.name),
            equal=equal,
            tolerance=self.tolerance,
            currency=self.currency,
            window=(self.window.first, self.window.end),
            whole=self.window.whole,
            matched=self.matched,
            trades=tuple(self.trades),
            final=(end_a, end_b),
            difference=difference,
            before=before,
            residual=difference - before - math.fsum(money for _, money, _ in causes.values()),
            worst=worst,
            basis=begin_a,
            causes=causes,
            differences=self._ordered(),
            notes=tuple(self.notes()),
            curves=(self.rows, one, two),
        )

    def _causes(self) -> dict[str, tuple[int, float, float]]:
        found: dict[str, tuple[int, float, float]] = {}
        for cause in CAUSES:
            mine = [d for d in self.found if d.cause == cause]
            if mine:
                trades = len({d.trade for d in mine if d.trade >= 0})
                money = math.fsum(d.money for d in mine)
                found[cause] = trades, money, math.fsum(d.money for d in mine if d.follows)
        return found

    def _ordered(self) -> tuple[Difference, ...]:
        """One line per trade and cause, the trades with the most money first."""
        joined: dict[tuple[int, str, str, bool], Difference] = {}
        largest: dict[tuple[int, str, str, bool], float] = {}
        for d in self.found:
            key = (d.trade, d.symbol, d.cause, d.follows)
            so_far, most = joined.get(key), largest.get(key, -1.0)
            if so_far is not None:  # the words are those of the part with the most money
                words = d.words if abs(d.money) > most else so_far.words
                d = msgspec.structs.replace(d, money=so_far.money + d.money, quote=so_far.quote + d.quote, words=words)
                joined[key], largest[key] = d, max(most, abs(d.money - so_far.money))
            else:
                joined[key], largest[key] = d, abs(d.money)
        size: dict[tuple[int, str], float] = collections.defaultdict(float)
        for d in joined.values():
            size[(d.trade, d.symbol)] += abs(d.money)
        ordered = sorted(joined.values(), key=lambda d: (-size[(d.trade, d.symbol)], d.trade, -abs(d.money)))
        return tuple(ordered)


def _told(extra: Extra) -> str:
    return f"{extra.cause} of {utc(extra.when)}" if extra.trade >= 0 else extra.words
