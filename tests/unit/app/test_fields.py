"""The table of keys is the nouns' own, and its JSON Schema says the same as the reader."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec
import pytest

from trimtab.app import fields
from trimtab.app.document import Place, Scalar
from trimtab.app.fields import Field
from trimtab.app.schema import schema
from trimtab.types import (
    AllocatorUse,
    Caps,
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

SECTIONS = {"universe", "models", "cash_flows", "fx", "costs", "limits", "caps", "rules", "execution", "rebalance"} | {
    "sizer",
    "allocator",
    "regimes",
}


def scalar(text: str) -> Scalar:
    return Scalar(text, null=False, quoted=False, place=Place("f", 1))


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (fields.COSTS, set(Costs._fields)),
        (fields.LIMITS, set(Limits._fields)),
        (fields.EXECUTION, set(Execution.__struct_fields__)),
        (fields.REBALANCE, set(Rebalance.__struct_fields__)),
        (fields.CAPS, set(Caps.__struct_fields__)),
        (fields.CASH_FLOW, set(CashFlow.__struct_fields__)),
        (fields.RULE, set(RuleUse.__struct_fields__)),
        (fields.MODEL, set(Model.__struct_fields__) - {"params", "universe", "sizer", "allocator", "regime_budgets"}),
        (fields.SIZER, set(SizerUse.__struct_fields__) - {"params"}),
        (fields.ALLOCATOR, set(AllocatorUse.__struct_fields__)),
        (fields.REGIME, set(RegimeUse.__struct_fields__) - {"params", "reads"}),
        (fields.SPEC, set(Spec.__struct_fields__) - SECTIONS),
    ],
)
def test_every_field_of_a_noun_has_an_entry(table: dict[str, Field], names: set[str]):
    assert set(table) == names


@pytest.mark.parametrize(
    ("table", "noun"),
    [
        (fields.COSTS, Costs()),
        (fields.LIMITS, Limits()),
        (fields.EXECUTION, Execution()),
        (fields.REBALANCE, Rebalance()),
    ],
)
def test_defaults_are_accepted(table: dict[str, Field], noun: Any):
    for key, field in table.items():
        default = getattr(noun, key)
        assert fields.convert(field, scalar(str(default))) == default


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        (fields.COSTS["taker_fee"], "10", r"at least 0 and below 1 \(10 is 1000%; did you mean 10% or 10bps\?\)"),
        (fields.COSTS["taker_fee"], "-1bps", "at least 0"),
        (fields.COSTS["taker_fee"], "inf", "a fraction such as"),
        (fields.LIMITS["stop_loss"], "0", "above 0 and below 1, or inf for no limit"),
        (fields.LIMITS["derisk_factor"], "1", "at least 0 and below 1"),
        (fields.COSTS["latency"], "8d", "at most 604800 seconds"),
        (fields.SPEC["capital"], "true", "a number such as"),
        (fields.SPEC["capital"], "5%", "a number such as"),
        (fields.SPEC["seed"], "1.5", "a whole number"),
        (fields.SPEC["seed"], "-1", "at least 0"),
        (fields.SPEC["timeframe"], "H5", "one of 1m, 5m"),
        (fields.SPEC["base_currency"], "euro", "in capitals"),
        (fields.EXECUTION["post_only"], "yes", "true or false"),
        (fields.EXECUTION["kind"], "STOP", "one of MARKET, LIMIT"),
        (fields.SPEC["name"], "a\nb", "printable"),
        (fields.SYMBOL, "A B", "one word"),
    ],
)
def test_refused(field: Field, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        fields.convert(field, scalar(text))


def test_no_limit_is_a_limit_of_infinity():
    assert fields.convert(fields.LIMITS["max_weight"], scalar("none")) == math.inf
    assert fields.convert(fields.SPEC["timeframe"], scalar("H4")) == "4h"
    assert fields.convert(fields.EXECUTION["kind"], scalar("limit")) == "LIMIT"


# ---------------------------------------------------------------------------------------------------------------------
# JSON Schema
# ---------------------------------------------------------------------------------------------------------------------


def test_the_schema_knows_every_key():
    properties = schema()["properties"]
    assert set(properties) == {*Spec.__struct_fields__, "include"}
    assert set(properties["models"]["items"]["properties"]) == set(Model.__struct_fields__)
    assert set(properties["limits"]["properties"]) == set(Limits._fields)
    assert set(properties["costs"]["anyOf"][1]["properties"]) == set(Costs._fields)
    assert set(properties["caps"]["properties"]) == set(Caps.__struct_fields__)
    assert set(properties["cash_flows"]["items"]["properties"]) == set(CashFlow.__struct_fields__)
    assert not properties["limits"]["additionalProperties"]
    json.dumps(schema(), allow_nan=False)


def test_the_schema_says_meaning_unit_range_and_default():
    limits = schema()["properties"]["limits"]["properties"]
    assert limits["drawdown_halt"]["description"].endswith("[fraction]")
    assert limits["drawdown_halt"]["default"] == "inf"
    assert limits["drawdown_halt"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    assert schema()["properties"]["execution"]["properties"]["tif"]["enum"] == ["GTC", "IOC", "FOK", "DAY"]


@pytest.mark.parametrize(
    "text", ["5%", "10bps", "0.001", "1_000", "1e-3", ".5", "5 bps", "-3", "five", "5 %%", "", "1s"]
)
def test_the_schema_takes_the_texts_that_the_reader_takes(text: str):
    field = Field("fraction", "any")
    pattern = next(
        form["pattern"] for form in schema()["properties"]["risk_free_rate"]["anyOf"] if form["type"] == "string"
    )
    try:
        fields.convert(field, scalar(text))
        accepted = True
    except ValueError:
        accepted = False
    assert (re.match(pattern, text) is not None) == accepted


def test_defaults_of_the_schema_are_the_nouns():
    for key, default in Costs._field_defaults.items():
        stated = schema()["properties"]["costs"]["anyOf"][1]["properties"][key]["default"]
        assert float(stated) == default
    assert schema()["properties"]["capital"]["default"] == next(
        field.default for field in msgspec.structs.fields(Spec) if field.name == "capital"
    )
