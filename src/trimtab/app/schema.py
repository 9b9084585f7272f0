"""The JSON Schema of a spec, made from the same table that the reader uses, so that an editor and the reader agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from trimtab.app import fields
from trimtab.app.config import defaults_of
from trimtab.app.fields import Field
from trimtab.types import Costs, Execution, Limits, Model, Rebalance, Spec

_NUMERIC_TEXT: Final = r"[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][+-]?\d+)?"
_SUFFIX: Final = {"fraction": r"\s*(%|bps?)?", "duration": r"\s*(ns|us|ms|s|m|min|h|d|w)?", "number": "", "whole": ""}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a spec file: descriptions, units, ranges and defaults of every key.

    What one key cannot tell (budgets that add up to more than 1, an unknown parameter) is left to `config check`.
    """
    properties = _properties(fields.SPEC, Spec)
    properties["include"] = {
        "description": "files, relative to this one, that this one is laid over",
        **_one_or_many({"type": "string", "minLength": 1}),
    }
    properties["universe"] = {
        "description": "the instruments of the book",
        **_one_or_many(_value(fields.SYMBOL)),
    }
    properties["models"] = {
        "type": "array",
        "minItems": 1,
        "description": "the strategies of the book; their budgets add up to at most 1",
        "items": _model(),
    }
    properties["costs"] = {
        "description": "a preset's name, or a mapping that holds exactly what it names (the rest costs nothing)",
        "default": "venue",
        "anyOf": [_value(fields.PRESET), _object(_properties(fields.COSTS, Costs))],
    }
    properties["limits"] = {"description": "hard limits of the book", **_object(_properties(fields.LIMITS, Limits))}
    properties["execution"] = {
        "description": "how the one working order of an instrument is sent",
        **_object(_properties(fields.EXECUTION, Execution)),
    }
    properties["rebalance"] = {
        "description": "when a standing weight is sized again",
        **_object(_properties(fields.REBALANCE, Rebalance)),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Trimtab spec",
        "description": "A whole run as one value. Fractions: 0.001, 0.1% or 10bps; durations: 500ms, 15m, 2h.",
        **_object(properties),
    }


def _model() -> dict[str, Any]:
    properties = _properties(fields.MODEL, Model)
    properties["universe"] = {
        "description": "the model's instruments, or its legs in order; default: the book's",
        **_one_or_many(_value(fields.SYMBOL)),
    }
    properties["params"] = {
        "type": ["object", "null"],
        "description": "the strategy's parameters; `trimtab strategies show NAME` lists them with their ranges",
    }
    return {**_object(properties), "required": ["strategy"]}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _one_or_many(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _properties(table: Mapping[str, Field], noun: Any) -> dict[str, Any]:
    defaults = defaults_of(noun)
    return {key: _described(field, defaults.get(key)) for key, field in table.items()}


def _described(field: Field, default: Any) -> dict[str, Any]:
    unit = {"fraction": " [fraction]", "duration": " [seconds]"}.get(field.kind, "")
    described = {"description": f"{field.meaning}{unit}", **_value(field)}
    if default is None or default == "":
        return described
    number = isinstance(default, float)
    if default == math.inf:
        return {**described, "default": "inf"}
    return {**described, "default": int(default) if number and default.is_integer() else default}


def _value(field: Field) -> dict[str, Any]:
    if field.kind == "choice":
        # The reader takes either case of these words; an editor offers the one that is stored.
        return {"enum": list(field.choices)}
    if field.kind == "flag":
        return {"type": "boolean"}
    if field.kind in _SUFFIX:
        return _numeric(field)
    value: dict[str, Any] = {"type": "string", "maxLength": field.longest}
    if field.kind == "date":
        value["pattern"] = r"^(\d{4}-\d{2}-\d{2}([T ].+)?)?$"
    elif field.kind == "currency":
        value["pattern"] = "^[A-Z0-9]{3,6}$"
    elif field.kind == "symbol":
        value["pattern"] = r"^\S+$"
    elif field.kind == "timeframe":
        value["description"] = f"{field.meaning}: {fields.expected(field)}"
    return value


def _numeric(field: Field) -> dict[str, Any]:
    number: dict[str, Any] = {"type": "integer" if field.kind == "whole" else "number"}
    bounds = field.bounds
    for bound, open_end, inner, outer in (
        (bounds.low, bounds.low_open, "minimum", "exclusiveMinimum"),
        (bounds.high, bounds.high_open, "maximum", "exclusiveMaximum"),
    ):
        if math.isfinite(bound):
            number[outer if open_end else inner] = _number(bound)
    text = {"type": "string", "pattern": f"^{_NUMERIC_TEXT}{_SUFFIX[field.kind]}$"}
    forms = [number, text]
    if bounds.infinite:
        forms += [{"enum": ["inf", ".inf", "infinity", "none", "unlimited"]}, {"type": "null"}]
    return {"anyOf": forms}


def _number(value: float) -> int | float:
    return int(value) if isinstance(value, int) or value.is_integer() else value
