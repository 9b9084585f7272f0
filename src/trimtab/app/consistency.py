"""What no single key of a spec can tell: budgets, limits that contradict each other, models against their book.

Each check reads the converted values (None where a value was refused already) and adds its faults.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from trimtab.app import units
from trimtab.app.faults import Faults, near
from trimtab.types import TIMEFRAMES, Strategy

Values = dict[str, Any]

#: Budgets may exceed 1 by rounding only.
BUDGET_ROUNDING: Final = 1e-9


def check_budgets(values: Values, faults: Faults) -> None:
    """A book cannot hand out more than its equity."""
    budgets = [model["budget"] for model in values["models"]]
    if not budgets or None in budgets:
        return
    total = math.fsum(budgets)
    if total > 1.0 + BUDGET_ROUNDING:
        listed = " + ".join(units.shortest(budget) for budget in budgets)
        faults.add(
            ("models",),
            f"the budgets add up to {total:.6g} ({listed}); together they may not exceed 1: lower them, "
            "and use limits.gross_leverage and a model's own weights for leverage",
        )


def check_limits(values: Values, faults: Faults) -> None:
    """Limits of which one makes the other meaningless are refused."""
    limits = values["limits"]
    gross, weight = limits["gross_leverage"], limits["max_weight"]
    derisk, halt = limits["drawdown_derisk"], limits["drawdown_halt"]
    if None not in (gross, weight) and math.isfinite(weight) and weight > gross:
        faults.add(
            ("limits", "max_weight"),
            f"{units.shortest(weight)} in one instrument can never be reached: gross_leverage allows "
            f"{units.shortest(gross)} in all; lower max_weight or raise gross_leverage",
        )
    if None not in (derisk, halt) and math.isfinite(derisk) and derisk >= halt:
        faults.add(
            ("limits", "drawdown_derisk"),
            f"de-risking at a drawdown of {units.shortest(derisk)} never happens: the book is halted at "
            f"drawdown_halt = {units.shortest(halt)}; put drawdown_derisk below it",
        )


def check_execution(values: Values, faults: Faults) -> None:
    """Settings of a limit order mean nothing for a market order, and a resting order cannot be immediate."""
    kind, offset, tif, post_only = (values["execution"][key] for key in ("kind", "offset", "tif", "post_only"))
    if kind == "MARKET" and offset:
        faults.add(("execution", "offset"), "a MARKET order has no limit price to offset; set execution.kind to LIMIT")
    if kind == "MARKET" and post_only:
        faults.add(("execution", "post_only"), "a MARKET order always takes; set execution.kind to LIMIT")
    if kind == "LIMIT" and post_only and tif in ("IOC", "FOK"):
        faults.add(("execution", "tif"), f"{tif} fills at once or never, post_only never at once; choose GTC or DAY")
    if kind == "LIMIT" and post_only and offset is not None and offset < 0:
        faults.add(("execution", "offset"), "a negative offset prices through the market and post_only forbids that")


def check_window(values: Values, faults: Faults) -> None:
    """The run must end after it starts."""
    start, end = values["start"], values["end"]
    if start and end and units.instant(start) >= units.instant(end):
        faults.add(("end",), f"the run ends at {end}, which is not after its start {start}")


def check_universe(values: Values, faults: Faults) -> None:
    """An instrument is in the book once."""
    symbols = Counter(symbol for symbol in values["universe"] or () if symbol)
    for symbol in (symbol for symbol, times in symbols.items() if times > 1):
        faults.add(("universe",), f"{symbol} is listed {symbols[symbol]} times; list each instrument once")


def check_models(values: Values, faults: Faults) -> None:
    """A model trades instruments of the book, on a timeframe that the book's grid can hold."""
    universe = values["universe"]
    for path, model in _models(values):
        for i, symbol in enumerate(model["universe"] or ()):
            if universe and symbol is not None and symbol not in universe:
                faults.add(
                    (*path, "universe", str(i)),
                    f"{symbol} is not in the book's universe{near(symbol, universe)}; the book has: "
                    + ", ".join(str(known) for known in universe),
                )
        own = Counter(symbol for symbol in model["universe"] or () if symbol)
        for symbol in (symbol for symbol, times in own.items() if times > 1):
            faults.add((*path, "universe"), f"{symbol} is listed {own[symbol]} times; list each instrument once")
        _check_timeframe(values["timeframe"], path, model["timeframe"], faults)


def check_strategies(values: Values, faults: Faults) -> None:
    """A strategy says on which timeframes it works and how many legs it needs."""
    for path, model in _models(values):
        strategy: Strategy | None = model["found"]
        if strategy is None:
            continue
        timeframe = model["timeframe"] or values["timeframe"]
        if timeframe and timeframe not in strategy.timeframes:
            faults.add(
                (*path, "timeframe"),
                f"{strategy.name} is not made for {timeframe}; it works on {', '.join(strategy.timeframes)}",
            )
        universe = model["universe"] or values["universe"]
        if universe and len(universe) % strategy.n_legs:
            faults.add(
                (*path, "universe"),
                f"{strategy.name} trades {strategy.n_legs} legs at a time, so its universe needs a multiple of "
                f"{strategy.n_legs} instruments, its legs in order; it has {len(universe)}",
            )


def _check_timeframe(book: str | None, path: tuple[str, ...], own: str | None, faults: Faults) -> None:
    if not book or not own:
        return
    if TIMEFRAMES[own] < TIMEFRAMES[book] or TIMEFRAMES[own] % TIMEFRAMES[book]:
        faults.add(
            (*path, "timeframe"),
            f"{own} does not fit on the book's grid of {book}: a model's timeframe is equal to it or a coarser "
            "multiple; set `timeframe:` of the book to the finest of its models",
        )


def _models(values: Values) -> Iterator[tuple[tuple[str, ...], Values]]:
    for i, model in enumerate(values["models"]):
        yield ("models", str(i)), model


CHECKS: Final[tuple[Callable[[Values, Faults], None], ...]] = (
    check_budgets,
    check_limits,
    check_execution,
    check_window,
    check_universe,
    check_models,
    check_strategies,
)
