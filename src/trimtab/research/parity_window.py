"""Two runs over the window that both have: what there is to compare beside their orders."""

from __future__ import annotations

import bisect
import collections
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from trimtab.research.parity_sides import Side, Window
from trimtab.types import DAY, F64, I64
from trimtab.words import utc


class Overlap:
    """Two runs over the window that both have: their curves, fills, marks and bars, and what each made in it."""

    def __init__(self, a: Side, b: Side, window: Window) -> None:
        self.sides, self.window = (a, b), window
        self.instruments = {i["symbol"]: i for side in (b, a) for i in side.summary["instruments"]}
        self.filled = self._filled(0), self._filled(1)
        self.rows, self.curves = self._curves()
        one, two = self.curves
        self.drift: F64 = np.nan_to_num(np.abs(one / two - 1.0), nan=np.inf)
        self.changed = {symbol: self._changed_days(symbol) for symbol in self.instruments}

    @property
    def currency(self) -> str:
        return str(self.sides[0].summary["metrics"]["currency"])

    def _curves(self) -> tuple[I64, tuple[F64, F64]]:
        a, b = self.sides
        rows, at_a, at_b = np.intersect1d(a.rows, b.rows, return_indices=True)
        inside = (rows >= self.window.first) & (rows <= self.window.end)
        return rows[inside], (a.equity[at_a][inside], b.equity[at_b][inside])

    def _changed_days(self, symbol: str) -> I64:
        """Day ends in the window whose bars of an instrument differ, or which only one run has."""
        one, two = (side.marks.get(symbol) for side in self.sides)
        if one is None or two is None:
            return np.empty(0, np.int64)
        days = np.union1d(one[0], two[0])
        start = self.window.start
        days = days[(days <= self.window.end) & (days > (start if start is not None else -1))]
        seen = [dict(zip(ts.tolist(), bars.tolist(), strict=True)) for ts, _, _, bars in (one, two)]
        return np.array([d for d in days.tolist() if seen[0].get(d, 0) != seen[1].get(d, 0)], np.int64)

    def bars_differ(self, symbol: str, decided: int, memory: int | None) -> str:
        """Words where bars that a decision may have seen differ: the instrument's own, else of another one; else ""."""
        for name in (symbol, *self.changed):
            days = self.changed[name]
            k = bisect.bisect_left(days, decided)
            if k < len(days) and days[k] - DAY < decided:
                return f"bars of {name} on the day of the decision differ"
            if k > 0 and (memory is None or decided - days[k - 1] <= memory + DAY):
                return f"bars of {name} on {utc(int(days[k - 1]))[:10]}, which the decision saw, differ"
        return ""

    @property
    def memory(self) -> int | None:
        one, two = (side.summary.get("memory") for side in self.sides)
        return None if one is None or two is None else max(int(one), int(two))

    def drift_at(self, first: int, last: int) -> float:
        """The largest relative difference of the two equities between two instants."""
        low, high = np.searchsorted(self.rows, [first, last], side="right") - 1
        return float(self.drift[max(low, 0) : high + 1].max(initial=0.0))

    def end_of(self, symbol: str, side: int, *, start: bool = False) -> tuple[float, float]:
        """Mark (quote currency) and rate of an instrument at the end (the start) of the window, in one run."""
        at = self.window.start if start else self.window.end
        found = self.sides[side].marks.get(symbol)
        if found is None or at is None:
            return self.end_of(symbol, 1 - side, start=start) if found is None and at is not None else (0.0, 1.0)
        ts, mark, rate, _ = found
        k = int(np.searchsorted(ts, at, side="right")) - 1
        return (float(mark[k] / rate[k]), float(rate[k])) if k >= 0 and rate[k] > 0.0 else (0.0, 1.0)

    def unit(self, symbol: str) -> float:
        instrument = self.instruments[symbol]
        return float(instrument.get("lot_size", 1.0)) * float(instrument.get("multiplier", 1.0))

    def _filled(self, side: int) -> dict[str, dict[int, list[dict[str, Any]]]]:
        """The fills inside the window: symbol -> order -> fills."""
        start = self.window.start
        found: dict[str, dict[int, list[dict[str, Any]]]] = collections.defaultdict(
            lambda: collections.defaultdict(list)
        )
        for fill in self.sides[side].fills:
            if (start is None or fill["bar_ts"] > start) and fill["bar_ts"] <= self.window.end:
                found[fill["symbol"]][fill["order_id"]].append(fill)
        return found

    def held_at_start(self, symbol: str) -> tuple[int, int]:
        """Lots held in each run when the window begins."""
        start = self.window.start
        if start is None:
            return 0, 0
        held: list[int] = []
        for side in self.sides:
            before = (f["position"] for f in side.fills if f["symbol"] == symbol and f["bar_ts"] <= start)
            held.append(next(iter(collections.deque(before, maxlen=1)), 0))
        return held[0], held[1]

    def equity_of(self, side: int) -> tuple[float, float]:
        """Equity of a run at the start and at the end of the window."""
        of = self.sides[side]
        ends = np.searchsorted(of.rows, [self.window.first, self.window.end], side="right") - 1
        begin = of.capital if self.window.start is None else float(of.equity[ends[0]])
        return begin, float(of.equity[ends[1]])

    def flows_of(self, side: int) -> float:
        """Cash paid in during the window."""
        of = self.sides[side]
        ends = np.searchsorted(of.rows, [self.window.first, self.window.end], side="right") - 1
        return float(of.paid[ends[1]] - (0.0 if self.window.start is None else of.paid[ends[0]]))

    def carry_of(self, side: int, stood: dict[str, tuple[float, float]]) -> float:
        """What a run made beside its trades: carry, dividends, liquidation fees, and its foreign cash.

        Over the whole of a run it is what was booked; over a part of one, all that neither trades nor marks explain.
        """
        of = self.sides[side]
        if self.window.whole:
            metrics = of.summary["metrics"]
            fees = sum(f["fee"] * self.end_of(f["symbol"], side)[1] for f in of.fills)
            costs = metrics["costs"]
            held = sum(costs[name] for name in ("funding", "borrow", "interest")) + costs["fee"] - fees
            held -= metrics["dividends"]
            carry = float(metrics["revaluation"]) - held
            return carry if abs(carry) > 1e-9 * of.capital else 0.0
        begin, end = self.equity_of(side)
        carry = end - begin - self.flows_of(side) - math.fsum(made[side] for made in stood.values())
        return carry if abs(carry) > 1e-9 * abs(begin) else 0.0

    @property
    def carry_words(self) -> str:
        named = "funding, borrow, interest, dividends, liquidation and exchange of cash"
        return named if self.window.whole else f"{named}: all that neither trades nor marks explain"

    def marked_apart(self, symbol: str) -> bool:
        ends = [self.end_of(symbol, side) for side in (0, 1)]
        starts = [self.end_of(symbol, side, start=True) for side in (0, 1)]
        return ends[0] != ends[1] or starts[0] != starts[1]

    def notes(self) -> Iterator[str]:
        a, b = self.sides
        if not self.window.whole:
            yield (
                f"The windows overlap only in part ({utc(int(a.rows[0]))} to {utc(int(a.rows[-1]))} and "
                f"{utc(int(b.rows[0]))} to {utc(int(b.rows[-1]))}): compared from {utc(self.window.first)} to "
                f"{utc(self.window.end)}."
            )
        lone = [{i["symbol"] for i in side.summary["instruments"]} for side in self.sides]
        for k in (0, 1):
            if only := sorted(lone[k] - lone[1 - k]):
                yield f"Only {self.sides[k].name} has {', '.join(only)}."
        changed = {symbol: len(days) for symbol, days in self.changed.items() if len(days)}
        if changed:
            yield "Days whose bars differ: " + ", ".join(f"{symbol} {n:,}" for symbol, n in changed.items()) + "."
        rows = [int(((s.rows >= self.window.first) & (s.rows <= self.window.end)).sum()) for s in self.sides]
        if max(rows) > len(self.rows):
            yield f"Rows of one run only: {rows[0] - len(self.rows):,} and {rows[1] - len(self.rows):,}."
        settings = [name for name in dict.fromkeys((*a.spec, *b.spec)) if a.spec.get(name) != b.spec.get(name)]
        settings = [name for name in settings if name not in ("name", "start", "end")]
        if settings:
            yield f"Settings that differ: {', '.join(settings)}."
        for name, what in (("code_version", "versions of Trimtab"), ("platform", "platforms")):
            if a.summary[name] != b.summary[name]:
                yield f"The runs were made by two {what}."
