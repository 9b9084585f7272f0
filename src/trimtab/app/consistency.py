"""What no single key of a spec can tell: settings that contradict each other, models against their book.

Each check reads the converted values (None where a value was refused already) and adds its faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from trimtab.app import units
from trimtab.app.faults import Faults
from trimtab.bounds import contradictions, misfits, model_names, repeats, strangers
from trimtab.data.catalogue import ASSET_CLASSES
from trimtab.types import AllocatorUse, Caps, Execution, Limits, Model

Values = dict[str, Any]


def check_contradictions(values: Values, faults: Faults) -> None:
    """Budgets, limits and execution of which one makes the other meaningless; what was refused already does not."""
    budgets = [model["budget"] for model in values["models"]]
    limits = Limits(**{key: math.inf if value is None else value for key, value in values["limits"].items()})
    execution: Values = values["execution"] | {"offset": values["execution"]["offset"] or 0.0}
    given, caps = () if None in budgets else budgets, _caps(values)
    for path, problem in contradictions(given, limits, caps, Execution(**execution)):
        faults.add(tuple(path.split(".")), problem)


def check_caps(values: Values, faults: Faults) -> None:
    """A cap names a model of the book or an asset class; which venues there are, the instruments say."""
    known: Values = {"asset_classes": ASSET_CLASSES}
    if all(model["strategy"] for model in values["models"]):
        named = (Model(strategy=model["strategy"], name=model["name"] or "") for model in values["models"])
        known["models"] = model_names(named)
    for path, problem in strangers(_caps(values), **known):
        faults.add(tuple(path.split(".", 2)), problem)


def check_flows(values: Values, faults: Faults) -> None:
    """Cash is paid in and out while the run goes on."""
    start, end = values["start"], values["end"]
    for i, flow in enumerate(values["cash_flows"]):
        at = flow["at"]
        if at and start and units.instant(at) < units.instant(start):
            faults.add(("cash_flows", str(i), "at"), f"{at} is before the run's start {start}")
        if at and end and units.instant(at) > units.instant(end):
            faults.add(("cash_flows", str(i), "at"), f"{at} is after the run's end {end}")


def _caps(values: Values) -> Caps:
    """The caps without those that were refused already."""
    found = values["caps"].items()
    return Caps(**{section: {n: most for n, most in named.items() if most is not None} for section, named in found})


def check_window(values: Values, faults: Faults) -> None:
    """The run must end after it starts."""
    start, end = values["start"], values["end"]
    if start and end and units.instant(start) >= units.instant(end):
        faults.add(("end",), f"the run ends at {end}, which is not after its start {start}")


def check_universe(values: Values, faults: Faults) -> None:
    """An instrument is in the book once."""
    for problem in repeats(_symbols(values)):
        faults.add(("universe",), problem)


def check_models(values: Values, faults: Faults) -> None:
    """A model trades instruments of the book on a timeframe that its grid can hold, and as its strategy can."""
    for i, said in enumerate(values["models"]):
        given = said["allocator"] and AllocatorUse(name=said["allocator"]["name"] or "")
        model = Model(strategy="", universe=_symbols(said), timeframe=said["timeframe"] or "", allocator=given)
        for key, problem in misfits(model, said["found"], _symbols(values), values["timeframe"] or ""):
            faults.add(("models", str(i), *key.split(".")), problem)


def _symbols(values: Values) -> tuple[str, ...]:
    """The universe of a book or a model; empty texts where a symbol was refused already."""
    return tuple(symbol or "" for symbol in values["universe"] or ())


CHECKS: Final[tuple[Callable[[Values, Faults], None], ...]] = (
    check_contradictions,
    check_caps,
    check_window,
    check_flows,
    check_universe,
    check_models,
)
