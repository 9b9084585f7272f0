"""The JSON Schema of a spec, made from the same table that the reader uses, so that an editor and the reader agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from trimtab.app import fields, presets
from trimtab.app.config import defaults_of
from trimtab.app.fields import Field
from trimtab.types import (
    AllocatorUse,
    CashFlow,
    Costs,
    Execution,
    Limits,
    Model,
    Rebalance,
    RegimeUse,
    RuleUse,
    SizerUse,
    Spec,
)

_NUMERIC_TEXT: Final = r"[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][+-]?\d+)?"
_SUFFIX: Final = {"fraction": r"\s*(%|bps?)?", "duration": r"\s*(ns|us|ms|s|m|min|h|d|w)?", "number": "", "whole": ""}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a spec file: descriptions, units, ranges and defaults of every key.

    What one key cannot tell (budgets that add up to more than 1, an unknown parameter) is left to `config check`.
    """
    properties = _properties(fields.SPEC, Spec)
    properties["include"] = {
        "description": "what this file is laid over: files, relative to this one, or a preset: "
        + ", ".join(presets.names()),
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
    properties["capital"] = {
        **properties["capital"],
        "anyOf": [*properties["capital"]["anyOf"], _by_name(_value(fields.CASH))],
    }
    properties["cash_flows"] = {
        "description": "cash paid in and out while the run goes on",
        "type": ["array", "null"],
        "items": {**_object(_properties(fields.CASH_FLOW, CashFlow)), "required": ["at", "amount"]},
    }
    properties["rules"] = {
        "description": "limits of your own, asked in this order after those of the book",
        "type": ["array", "null"],
        "items": {**_object(_properties(fields.RULE, RuleUse)), "required": ["file"]},
    }
    properties["fx"] = {
        "description": "exchange rates: currency -> a pair of the store, or a rate that stands",
        **_by_name({"anyOf": [_value(fields.RATE), _value(fields.PAIR)]}),
    }
    properties["costs"] = {
        "description": "a preset's name, or a mapping that holds exactly what it names (the rest costs nothing)",
        "default": "venue",
        "anyOf": [_value(fields.PRESET), _object(_properties(fields.COSTS, Costs))],
    }
    properties["limits"] = {"description": "hard limits of the book", **_object(_properties(fields.LIMITS, Limits))}
    properties["caps"] = {
        "description": "largest sum of |notional| / equity of everything of one kind",
        **_object({key: {"description": f.meaning, **_by_name(_value(f))} for key, f in fields.CAPS.items()}),
    }
    properties["execution"] = {
        "description": "how the one working order of an instrument is sent",
        **_object(_properties(fields.EXECUTION, Execution)),
    }
    properties["rebalance"] = {
        "description": "when a standing weight is sized again",
        **_object(_properties(fields.REBALANCE, Rebalance)),
    }
    properties["sizer"] = {"description": "the sizer of every model that has none of its own", **_sizer()}
    properties["allocator"] = {"description": "splits the sum of the budgets over the models anew", **_allocator()}
    properties["regimes"] = {
        "description": "classifiers that name the regime of the market",
        "type": ["array", "null"],
        "items": _regime(),
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
    properties["sizer"] = {"description": "scales the model's forecasts; default: the book's", **_sizer()}
    properties["allocator"] = {"description": "splits the model's budget over its instruments anew", **_allocator()}
    properties["regime_budgets"] = {
        "description": "regime -> label (or unknown) -> what the budget is multiplied by; in no regime do the budgets "
        "add up to more than 1",
        **_by_name(_by_name(_value(fields.MULTIPLIER))),
    }
    return {**_object(properties), "required": ["strategy"]}


_PARAMS: Final = {"type": ["object", "null"], "description": "its parameters"}


def _sizer() -> dict[str, Any]:
    properties = {**_properties(fields.SIZER, SizerUse), "params": _PARAMS}
    return {"anyOf": [_value(fields.SIZER["name"]), {**_object(properties), "required": ["name"]}]}


def _allocator() -> dict[str, Any]:
    properties = _properties(fields.ALLOCATOR, AllocatorUse)
    return {"anyOf": [_value(fields.ALLOCATOR["name"]), {**_object(properties), "required": ["name"]}]}


def _regime() -> dict[str, Any]:
    source = _value(fields.SOURCE)
    properties = {
        **_properties(fields.REGIME, RegimeUse),
        "reads": {"description": fields.SOURCE.meaning, "anyOf": [source, _by_name(source)]},
        "params": _PARAMS,
    }
    return {**_object(properties), "required": ["regime"]}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _by_name(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": value}


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
