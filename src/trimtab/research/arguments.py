"""What a program gives to `simulate`, `backtest` and `sweep`: values of the types they take, or one clear error."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from trimtab.types import Caps, CashFlow, Costs, Execution, Limits, Panel, Rebalance, RuleUse, Spec, TrimtabError

#: Argument -> what it may be, and how that is said.
_TAKEN: Final[Mapping[str, tuple[Any, str]]] = {
    "what": ((str, os.PathLike, Spec), "a strategy's name, its .py file, or a Spec"),
    "strategy": ((str, os.PathLike), "a strategy's name or its .py file"),
    "panel": (Panel, "a Panel, such as load('BTCEUR', timeframe='1h') gives"),
    "params": (Mapping, "a mapping of parameters, such as {'fast': 20}"),
    "grid": (Mapping, "a mapping of parameters to values, such as {'fast': range(5, 30)}"),
    "costs": ((str, Costs), "Costs(…) or the name of a preset"),
    "limits": (Limits, "Limits(…)"),
    "caps": (Caps, "Caps(…)"),
    "execution": (Execution, "Execution(…)"),
    "rebalance": (Rebalance, "Rebalance(…)"),
}
#: Arguments that hold several.
_HELD: Final[Mapping[str, type]] = {"rules": RuleUse, "cash_flows": CashFlow}


def check_arguments(**given: Any) -> None:
    """TrimtabError for the first argument of another type than is taken; None is one that was not given.

    What an argument's value means is checked with the Spec; `panel`, `what`, `strategy` and `grid` have to be there.
    """
    for name, value in given.items():
        taken, told = _TAKEN[name]
        if not isinstance(value, taken) and (value is not None or name in ("what", "strategy", "panel", "grid")):
            raise TrimtabError(f"{name} is of type {type(value).__name__}: expected {told}")


def held(name: str, values: Any) -> tuple[Any, ...]:
    """`rules` or `cash_flows` as a tuple; TrimtabError where something else is in it."""
    noun = _HELD[name]
    several: Iterable[Any] = [values] if isinstance(values, str) or not hasattr(values, "__iter__") else values
    found = tuple(several)
    for k, value in enumerate(found):
        if not isinstance(value, noun):
            raise TrimtabError(f"{name}.{k} is of type {type(value).__name__}: expected {noun.__name__}(…)")
    return found
