"""ns per instrument-bar of the compiled driver, one core, in cache and in memory (issue: speed and memory)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from benchmarks.figures import Figure, one_core, timed
from benchmarks.markets import CAPITAL, COSTS, STAGE, Case, limits_of, pinned
from trimtab.rules.book import Log, Setup, Style, new_log, open_book, terms_of
from trimtab.rules.limits import DRAWDOWN_HALT, LIMIT_NAMES
from trimtab.rules.market import Market
from trimtab.rules.orders import REJECT
from trimtab.sim.driver import run
from trimtab.sim.market import build_market, day_ends
from trimtab.sim.simulate import LOG_ROWS, Result, joined, simulate
from trimtab.types import COST_KINDS, LATENCY, MARKET, Limits, Weights

#: Instruments -> rows in cache and in memory.
ROWS: Final = {1: (100_000, 10_000_000), 5: (20_000, 2_000_000), 50: (2_000, 200_000)}

#: What protects the positions, in units that a 50/200 cross of one-minute bars reaches.
PROTECTION: Final[dict[str, dict[str, float]]] = {
    "market": {},
    "stops": {"stop_loss": 0.003, "take_profit": 0.006},
    "trailing": {"trailing_stop": 0.003},
}

#: ns per instrument-bar in cache and in memory.
TARGETS: Final = {
    ("market", 1): (3.0, 4.0),
    ("market", 5): (2.0, 2.5),
    ("market", 50): (2.0, 2.0),
    ("stops", None): (4.0, 8.0),
    ("trailing", None): (8.0, 12.0),
}

ACTING: Final = {
    "market": ("max_weight", "gross_leverage", "drawdown_derisk", "drawdown_halt"),
    "stops": ("max_weight", "gross_leverage", "drawdown_derisk", "drawdown_halt", "stop_loss", "take_profit"),
    "trailing": ("max_weight", "gross_leverage", "drawdown_derisk", "drawdown_halt", "trailing_stop"),
}


def figures(orders: str, instruments: int) -> Iterator[Figure]:
    """Four figures of one kind of orders: in cache and in memory, per-bar equity kept or not."""
    limits = limits_of(instruments, **PROTECTION[orders])
    targets = TARGETS.get((orders, instruments)) or TARGETS[(orders, None)]
    for place, rows, target in zip(("cache", "memory"), ROWS[instruments], targets, strict=True):
        case = pinned(rows, instruments)
        market = build_market(case.panel)
        setup = _setup(case, limits)
        acted, fills = check(simulate(market, case.weights, setup), orders, rows)
        for kept in (False, True):
            log = new_log(LOG_ROWS, instruments, 1, rows if kept else 0, day_ends(market.ts))
            log.equity.fill(0.0)  # its memory is there before the clock starts
            fold = Fold(market, case.weights, setup, log, rest=STAGE)
            with one_core():
                sample = timed(fold, 201 if place == "cache" else 9, fold.open, warm=20 if place == "cache" else 1)
            yield Figure(
                name=f"simulate.{orders}.{instruments} {place}{', equity of every bar' if kept else ''}",
                sample=sample.scaled(1e9 / ((rows - STAGE) * instruments)),
                unit="ns per instrument-bar",
                target=None if kept else target,
                note=f"{rows:,} x {instruments}, {fills:,} fills in the clock; {acted}",
            )


def _setup(case: Case, limits: Limits) -> Setup:
    terms = terms_of(case.panel.instruments, (COSTS,) * len(case.panel.instruments))
    return Setup(terms, limits, Style(MARKET, 0.0, 0, 0, 0, 0, 0.0, 7), CAPITAL, 1)


class Fold:
    """The driver from the first row to the last but `rest`, its log copied out when it is full, as `simulate` does."""

    def __init__(self, market: Market, weights: Weights, setup: Setup, log: Log, rest: int = 0) -> None:
        self.rows = market.mark.shape[0] - rest
        self.market, self.weights, self.setup, self.log = market, weights, setup, log
        self.book = open_book(setup.capital, setup.terms, setup.models)

    def open(self) -> None:
        self.book = open_book(self.setup.capital, self.setup.terms, self.setup.models)

    def __call__(self) -> list[Any]:
        setup, log, book, rows = self.setup, self.log, self.book, self.rows
        kept: list[Any] = []
        t = 0
        while t < rows:
            log.used[:] = 0
            t = run(book, log, self.market, self.weights, setup, t, rows)
            orders, fills, actions = log.used
            kept.append([joined([x]) for x in (log.orders[:orders], log.fills[:fills], log.actions[:actions])])
        return kept


def check(result: Result, orders: str, rows: int) -> tuple[str, int]:
    """That every cost was charged and every limit acted in this run, and that it traded until the staged end.

    ->   how often, in words, and the fills before the staged end; raises ValueError naming what did not happen
    """
    charged = result.book.charges.sum(axis=(0, 1))
    counts = {name: int((result.actions["limit"] == k).sum()) for k, name in enumerate(LIMIT_NAMES)}
    rejects = int((result.orders["reason"] == REJECT).sum())
    pairs = np.unique(np.stack([result.fills["order_id"], result.fills["row"]]), axis=1)
    waits = pairs.shape[1] - len(np.unique(pairs[0]))  # an order that fills in two bars waited for volume
    makers = int(result.fills["maker"].sum())
    halts = result.actions["row"][result.actions["limit"] == DRAWDOWN_HALT]
    traded = COST_KINDS[: LATENCY + 1]  # the book is paid in full and never short: nothing is borrowed
    faults = [f"no {kind} was charged" for kind, paid in zip(traded, charged, strict=False) if not paid > 0.0]
    faults += [f"{name} did not act" for name in ACTING[orders] if counts[name] == 0]
    faults += ["no order was rejected"] * (rejects == 0) + ["no order waited for volume"] * (waits == 0)
    faults += ["no fill as maker"] * (orders == "stops" and makers == 0)
    faults += ["the book was halted before the staged end"] * (len(halts) > 0 and int(halts.min()) < rows - STAGE)
    if faults:
        raise ValueError(f"the pinned set-up does not exercise all it should: {'; '.join(faults)}")
    acted = ", ".join(f"{name} {counts[name]:,}" for name in ACTING[orders])
    return f"{rejects:,} rejects, {waits:,} waits, {acted}", int((result.fills["row"] < rows - STAGE).sum())
