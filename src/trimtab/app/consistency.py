"""What no single key of a spec can tell: settings that contradict each other, models against their book.

Each check reads the converted values (None where a value was refused already) and adds its faults.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from trimtab.app import units
from trimtab.app.faults import Faults, near
from trimtab.bounds import contradictions
from trimtab.types import TIMEFRAMES, Execution, Limits, Strategy

Values = dict[str, Any]


def check_contradictions(values: Values, faults: Faults) -> None:
    """Budgets, limits and execution of which one makes the other meaningless; what was refused already does not."""
    budgets = [model["budget"] for model in values["models"]]
    limits = Limits(**{key: math.inf if value is None else value for key, value in values["limits"].items()})
    execution: Values = values["execution"] | {"offset": values["execution"]["offset"] or 0.0}
    for path, problem in contradictions(() if None in budgets else budgets, limits, Execution(**execution)):
        faults.add(tuple(path.split(".")), problem)


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
    check_contradictions,
    check_window,
    check_universe,
    check_models,
    check_strategies,
)
