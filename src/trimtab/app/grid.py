"""The sets of a sweep: `models.0.params.fast=5:30:1` or `=5,10,20`, each value read as the spec would read it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from trimtab.app import fields
from trimtab.app.config import find_strategy, param_field
from trimtab.app.document import Place, Scalar
from trimtab.app.fields import Field
from trimtab.types import Costs, Spec, TrimtabError
from trimtab.words import near

#: One axis of a sweep may not hold more values than this.
LONGEST: Final = 100_000

_FORM: Final = "a path and its values such as models.0.params.fast=5:30:1 (30 not included) or =5,10,20"


def read_grid(spec: Spec, texts: Sequence[str]) -> dict[str, list[Any]]:
    """The values of every axis, by path, in the order given.

    Each text is `path=start:stop:step` (plain numbers; stop is not included, as in Python) or `path=a,b,c` (anything
    that the key accepts). TrimtabError names the option, the path and the value that is not accepted.
    """
    if not texts:
        raise TrimtabError("--grid is missing; expected at least one, e.g. --grid models.0.params.fast=5:30:1")
    grid: dict[str, list[Any]] = {}
    for text in texts:
        path, equals, values = text.partition("=")
        if not equals or not path or not values:
            raise TrimtabError(f"--grid {text}: expected {_FORM}")
        if path in grid:
            raise TrimtabError(f"--grid {text}: {path} is given twice; list all its values in one --grid")
        grid[path] = _axis(text, field_at(spec, path), values)
    return grid


def field_at(spec: Spec, path: str) -> Field:
    """What the key at a path of this spec accepts."""
    steps = path.split(".")
    if steps[0] == "models":
        return _model_field(spec, steps, path)
    if len(steps) == 1:
        return _known(
            fields.SPEC,
            path,
            path,
            fields.home_of(path, [find_strategy(m.strategy).params._fields for m in spec.models]),
        )
    if len(steps) == 2 and steps[0] in fields.SECTIONS:
        if steps[0] == "costs" and not isinstance(spec.costs, Costs):
            raise TrimtabError(
                f"--grid {path}: costs is the preset {spec.costs!r}; give the spec a mapping of costs first"
            )
        return _known(fields.SECTIONS[steps[0]], steps[1], path)
    raise TrimtabError(f"--grid {path}: no such key; expected {_FORM}")


def _model_field(spec: Spec, steps: list[str], path: str) -> Field:
    if len(steps) < 3 or not steps[1].isdigit() or int(steps[1]) >= len(spec.models):
        last = len(spec.models) - 1
        raise TrimtabError(f"--grid {path}: expected models.INDEX.KEY with an index from 0 to {last}")
    if len(steps) == 3:
        return _known(fields.MODEL, steps[2], path)
    strategy = find_strategy(spec.models[int(steps[1])].strategy)
    defaults = strategy.params._asdict()
    if len(steps) != 4 or steps[2] != "params" or steps[3] not in defaults:
        known = ", ".join(defaults)
        raise TrimtabError(
            f"--grid {path}: {strategy.name} has no such parameter{near(steps[-1], defaults)}; known: {known}"
        )
    return param_field(strategy, steps[3])


def _known(table: Mapping[str, Field], key: str, path: str, hint: str = "") -> Field:
    if key not in table:
        hint = hint or near(key, table)
        raise TrimtabError(f"--grid {path}: there is no such key{hint}; known here: {', '.join(table)}")
    return table[key]


def _axis(text: str, field: Field, values: str) -> list[Any]:
    parts = (
        _steps(text, values) if ":" in values and field.kind in ("whole", "number", "fraction") else values.split(",")
    )
    axis: list[Any] = []
    for part in parts:
        try:
            axis.append(fields.convert(field, Scalar(part.strip(), not part.strip(), False, Place("--grid"))))
        except ValueError as error:
            raise TrimtabError(f"--grid {text}: expected {error}; found {part!r}") from None
    if len(set(axis)) < len(axis):
        raise TrimtabError(f"--grid {text}: a value is listed twice; list each value once")
    return axis


def _steps(text: str, values: str) -> list[str]:
    try:
        numbers = [Decimal(part.strip()) for part in values.split(":")]
    except InvalidOperation:
        numbers = []
    if len(numbers) == 2:
        numbers.append(Decimal(1))
    if len(numbers) != 3 or not all(number.is_finite() for number in numbers):
        raise TrimtabError(f"--grid {text}: expected start:stop:step in plain numbers, e.g. 5:30:1 (30 not included)")
    start, stop, step = numbers
    if step <= 0 or stop <= start:
        raise TrimtabError(f"--grid {text}: there is no value in it; expected start below stop and a step above 0")
    if (stop - start) / step > LONGEST:
        raise TrimtabError(f"--grid {text}: more than {LONGEST:,} values on one axis; take a larger step")
    count = math.ceil((stop - start) / step)
    return [str(start + i * step) for i in range(count)]
