"""The limits that a user brings: their files loaded, checked, tried once and compiled, once per text."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from trimtab.rules.limits import LIMIT_NAMES
from trimtab.rules.plugged import MOST_RULES, address_of
from trimtab.strategies.files import module_of
from trimtab.types import F64, I64, LimitRule, RuleUse, TrimtabError

_TOLD = ("now", "equity", "weights", "held", "bars", "bound")

#: Module of a rule's file -> its address, with what keeps it valid.
_compiled: dict[str, tuple[int, Any]] = {}


def load_rule(path: str) -> LimitRule:
    """The RULE of a .py file; TrimtabError that says what is wrong with it."""
    module, file = module_of(path, "RULE")
    rule = getattr(module, "RULE", None)
    if rule is None:
        raise TrimtabError(f"{file}: holds no RULE; expected RULE = LimitRule(name=…, allow=…).")
    if not isinstance(rule, LimitRule):
        raise TrimtabError(f"{file}: RULE is of type {type(rule).__name__}; expected a trimtab.types.LimitRule.")
    name: Any = rule.name
    if not (isinstance(name, str) and name.isidentifier()):
        raise TrimtabError(f"{file}: RULE.name is {rule.name!r}; expected letters, digits and underscores.")
    if rule.name in LIMIT_NAMES:
        raise TrimtabError(
            f"{file}: RULE.name is {rule.name!r}, which is a limit of Trimtab; give it a name of its own."
        )
    plain = getattr(rule.allow, "py_func", rule.allow)
    if not callable(plain) or len(inspect.signature(plain).parameters) != len(_TOLD):
        raise TrimtabError(f"{file}: RULE.allow is {plain!r}; expected a function of ({', '.join(_TOLD)}).")
    return rule


def names_of(uses: Sequence[RuleUse]) -> tuple[str, ...]:
    """What the actions table calls each rule; TrimtabError where two have one name or there are too many."""
    names = tuple(load_rule(use.file).name for use in uses)
    if len(names) > MOST_RULES:
        raise TrimtabError(f"rules: {len(names)} rules; at most {MOST_RULES} can be asked at a decision.")
    for k, name in enumerate(names):
        if name in names[:k]:
            raise TrimtabError(
                f"rules.{k}: a second rule called {name!r}; the actions table could not tell them apart."
            )
    return names


def compiled_rules(uses: Sequence[RuleUse]) -> tuple[I64, F64]:
    """(R,) addresses and (R,) bounds, for rules.book.Setup."""
    names_of(uses)
    return (
        np.array([_address(use.file) for use in uses], np.int64),
        np.array([use.bound for use in uses], np.float64),
    )


def _address(path: str) -> int:
    module, file = module_of(path, "RULE")
    if module.__name__ not in _compiled:
        try:
            _compiled[module.__name__] = address_of(load_rule(path).allow)
        except Exception as error:  # numba's own errors share no base with anything of ours
            reason = str(error).strip().splitlines()
            raise TrimtabError(
                f"{file}: RULE.allow cannot be compiled: {reason[-1] if reason else type(error).__name__}. "
                "Numba compiles loops and arithmetic on numbers and NumPy arrays."
            ) from error
    return _compiled[module.__name__][0]
