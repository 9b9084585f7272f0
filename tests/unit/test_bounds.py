"""One table of bounds and contradictions: what a settings file is refused for, a program is refused for too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trimtab as tt
from trimtab.app import fields
from trimtab.app.config import parse_spec
from trimtab.app.document import Override
from trimtab.bounds import RANGES, WORDS, Bounds, check, inside, told
from trimtab.research.canonical import canonical_json
from trimtab.types import BAR_FIELDS, HOUR, AllocatorUse
from trimtab.words import shortest

EXAMPLES = Path(__file__).parents[2] / "examples"
SECTIONS = {
    "": fields.SPEC,
    "models": fields.MODEL,
    "costs": fields.COSTS,
    "limits": fields.LIMITS,
    "caps": fields.CAPS,
    "cash_flows": fields.CASH_FLOW,
    "rules": fields.RULE,
    "execution": fields.EXECUTION,
    "rebalance": fields.REBALANCE,
    "allocator": fields.ALLOCATOR,
}
FILE = """\
universe: X
models: [{strategy: sma_cross, budget: 0.5}, {strategy: buy_and_hold, budget: 0.1}]
cash_flows: [{at: 2021-03-02, amount: 1}]
rules: [{file: thin_volume.py}]
costs: {taker_fee: 0}
execution: {kind: LIMIT}
allocator: {name: inverse_volatility}
"""
SPEC = tt.Spec(
    models=(tt.Model(strategy="sma_cross", budget=0.5), tt.Model(strategy="buy_and_hold", budget=0.1)),
    universe=("X",),
    costs=tt.Costs(),
    cash_flows=(tt.CashFlow(at="2021-03-02", amount=1.0),),
    rules=(tt.RuleUse(file=str(EXAMPLES / "thin_volume.py")),),
    allocator=AllocatorUse(name="inverse_volatility"),
)
#: Where the tables speak of every number of a mapping: one of them.
AT = {
    "capital.*": "capital.sim/USD",
    "fx.*": "fx.EUR",
    "caps.asset_classes": "caps.asset_classes.crypto",
    "caps.venues": "caps.venues.sim",
    "caps.models": "caps.models.sma_cross",
}
NUMBERS = sorted(path for path, bounds in RANGES.items() if not bounds.whole)


def refused_in_a_file(path: str, text: str) -> str:
    """The fault of a file with this value, or nothing."""
    at = AT.get(path, path)
    for name in ("models.", "cash_flows.", "rules."):
        at = at if at.startswith("caps.") else at.replace(name, f"{name}0.")
    try:
        parse_spec(FILE, str(EXAMPLES / "book.yaml"), [Override(at, text)])
    except tt.TrimtabError as error:
        return str(error)
    return ""


def refused_in_a_program(path: str, value: Any) -> str:
    """The fault of a Spec with this value, or nothing."""
    section, _, name = path.rpartition(".")
    spec = msgspec.structs.replace(SPEC, execution=tt.Execution(kind="LIMIT"))
    if path in AT:
        noun, _, names = AT[path].partition(".")
        named, _, last = names.rpartition(".")
        changed = tt.Caps(**{named: {last: value}}) if named else {last: value}
        spec = msgspec.structs.replace(spec, **{noun: changed})
    elif section in ("models", "cash_flows", "rules"):
        first, *others = getattr(spec, section)
        spec = msgspec.structs.replace(spec, **{section: (msgspec.structs.replace(first, **{name: value}), *others)})
    elif section in ("costs", "limits"):
        spec = msgspec.structs.replace(spec, **{section: getattr(spec, section)._replace(**{name: value})})
    elif section:
        noun = msgspec.structs.replace(getattr(spec, section), **{name: value})
        spec = msgspec.structs.replace(spec, **{section: noun})
    else:
        spec = msgspec.structs.replace(spec, **{name: value})
    assert isinstance(spec.costs, tt.Costs)
    try:
        check(spec, [spec.costs])
    except tt.TrimtabError as error:
        return str(error)
    return ""


def near_its_ends(path: str) -> st.SearchStrategy[float]:
    bounds = RANGES[path]
    ends = [end for end in (bounds.low, bounds.high, 0.0, 1.0) if math.isfinite(end)]
    beside = [math.nextafter(end, side) for end in ends for side in (-math.inf, math.inf)]
    return st.sampled_from([*ends, *beside, math.inf]) | st.floats(-2.0, 2.0)


@pytest.mark.parametrize("path", NUMBERS)
@given(data=st.data())
def test_a_file_and_a_program_may_say_the_same(path: str, data: st.DataObject) -> None:
    value = data.draw(near_its_ends(path))
    assert bool(refused_in_a_file(path, repr(value))) == bool(refused_in_a_program(path, value))


def test_every_path_is_a_key_of_a_spec() -> None:
    for path in (*RANGES, *WORDS):
        section, _, name = path.rpartition(".")
        field = {"capital": fields.CASH, "fx": fields.RATE}[section] if name == "*" else SECTIONS[section][name]
        assert field.bounds == RANGES.get(path, Bounds())
        assert field.choices == WORDS.get(path, ())
    numeric = ("number", "fraction", "duration", "whole")
    for section, table in SECTIONS.items():
        for name, field in table.items():
            path = f"{section}.{name}".lstrip(".")
            assert (path in RANGES) == (field.kind in numeric)
            assert (path in WORDS) == (field.kind == "choice")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("capital", 0, "capital is 0: expected a number above 0 and at most 1000000000000000"),
        ("capital", "much", "capital is 'much': expected a number above 0"),
        ("capital", math.nan, "capital is nan: expected a number"),
        ("seed", 1.5, "seed is 1.5: expected a whole number at least 0"),
        ("seed", True, "seed is True: expected a whole number"),
        ("models.budget", 2.0, "models.0.budget is 2: expected a number above 0 and at most 1"),
        ("costs.taker_fee", 10.0, "costs.taker_fee is 10: expected a number at least 0 and below 1"),
        ("costs.taker_fee", "10bps", "costs.taker_fee is '10bps': expected a number at least 0 and below 1"),
        ("limits.stop_loss", 0.0, "limits.stop_loss is 0: expected a number above 0 and below 1, or inf for no limit"),
        ("limits.derisk_factor", 1.0, "limits.derisk_factor is 1: expected a number at least 0 and below 1"),
        ("limits.drawdown_derisk", -math.inf, "limits.drawdown_derisk is -inf: expected a number above 0"),
        ("volume", "maybe", "volume is 'maybe': expected one of require, ignore"),
        ("models.sizing", "kelly", "models.0.sizing is 'kelly': expected one of equal, fixed"),
        ("execution.kind", "STOP", "execution.kind is 'STOP': expected one of MARKET, LIMIT"),
    ],
)
def test_a_program_is_told_the_name_of_the_argument(path: str, value: Any, said: str) -> None:
    assert refused_in_a_program(path, value).startswith(said)


CONTRADICTIONS = [
    ({"limits": tt.Limits(max_weight=2.0, gross_leverage=1.0)}, "limits.max_weight", "gross_leverage allows 1 in all"),
    ({"limits": tt.Limits(net_exposure=2.0, gross_leverage=1.0)}, "limits.net_exposure", "raise gross_leverage"),
    ({"limits": tt.Limits(group_gross=2.0, gross_leverage=1.0)}, "limits.group_gross", "2 in one group can never be"),
    (
        {"limits": tt.Limits(gross_leverage=1.0), "caps": tt.Caps(venues={"sim": 2.0})},
        "caps.venues.sim",
        "2 in sim can never be reached: gross_leverage allows 1 in all; lower venues.sim or raise gross_leverage",
    ),
    ({"limits": tt.Limits(daily_loss=0.3, drawdown_halt=0.3)}, "limits.daily_loss", "the day at a loss of 0.3 never"),
    ({"limits": tt.Limits(weekly_loss=0.4, drawdown_halt=0.3)}, "limits.weekly_loss", "put weekly_loss below it"),
    ({"caps": tt.Caps(models={"sma_cros": 0.1})}, "caps.models.sma_cros", "no such name (did you mean 'sma_cross'?)"),
    ({"limits": tt.Limits(drawdown_derisk=0.3, drawdown_halt=0.3)}, "limits.drawdown_derisk", "is halted at drawdown_"),
    ({"execution": tt.Execution(offset=0.01)}, "execution.offset", "a MARKET order has no limit price to offset"),
    ({"execution": tt.Execution(post_only=True)}, "execution.post_only", "a MARKET order always takes"),
    ({"execution": tt.Execution(kind="LIMIT", post_only=True, tif="FOK")}, "execution.tif", "choose GTC or DAY"),
    ({"execution": tt.Execution(kind="LIMIT", post_only=True, offset=-0.1)}, "execution.offset", "prices through"),
    ({"models": (tt.Model(strategy="sma_cross", budget=0.7),) * 2}, "models", "add up to 1.4 (0.7 + 0.7)"),
]


@pytest.mark.parametrize(("change", "path", "said"), CONTRADICTIONS)
def test_what_contradicts_itself_is_refused_in_the_same_words(change: dict[str, Any], path: str, said: str) -> None:
    spec = msgspec.structs.replace(SPEC, **change)
    with pytest.raises(tt.TrimtabError) as program:
        check(spec, [])
    assert str(program.value).startswith(f"{path}: ")
    assert said in str(program.value)
    with pytest.raises(tt.TrimtabError) as file:
        parse_spec(json.dumps(json.loads(canonical_json(spec)), indent=1), "book.json")
    assert str(file.value).endswith(str(program.value))
    assert str(file.value).startswith("book.json:")


MISFITS = [
    (
        tt.Model(strategy="sma_cross", universe=("X", "Z")),
        "universe.1",
        "Z is not in the book's universe; the book has",
    ),
    (tt.Model(strategy="sma_cross", universe=("X", "X")), "universe", "X is listed 2 times"),
    (tt.Model(strategy="sma_cross", timeframe="1h"), "timeframe", "1h does not fit on the book's grid of 4h"),
    (tt.Model(strategy="equity_trend"), "timeframe", "equity_trend is not made for 4h; it works on 1d"),
    (tt.Model(strategy="pairs_reversion", universe=("X",)), "universe", "trades 2 legs at a time, so its universe"),
]


@pytest.mark.parametrize(("model", "key", "said"), MISFITS)
def test_a_model_that_does_not_fit_is_refused_in_the_same_words(model: tt.Model, key: str, said: str) -> None:
    spec = tt.Spec(models=(model,), universe=("X", "Y"), timeframe="4h", costs=tt.Costs(), volume="ignore")
    with pytest.raises(tt.TrimtabError) as file:
        parse_spec(json.dumps(json.loads(canonical_json(spec)), indent=1), "book.json")
    where, _, problem = str(file.value).partition(": ")
    assert where.endswith(f"models.0.{key}")
    assert said in problem
    values = np.full((9, 2, len(BAR_FIELDS)), 100.0)
    ts = 4 * HOUR * np.arange(1, 10, dtype=np.int64)
    panel = tt.Panel(ts, tuple(tt.Instrument(symbol=s) for s in "XY"), BAR_FIELDS, values, "4h")
    with pytest.raises(tt.TrimtabError) as program:
        tt.backtest(spec, panel)
    assert str(program.value) == f"model {model.strategy}: {key}: {problem}"


@given(st.floats(allow_nan=False))
def test_the_shortest_text_reads_back(value: float) -> None:
    assert float(shortest(value)) == value


def test_bounds_are_told_as_they_are_held() -> None:
    assert told(Bounds()) == ""
    assert told(Bounds(0.0, infinite=True)) == "at least 0, or inf for no limit"
    assert told(Bounds(0.0, 604800.0), " seconds") == "at least 0 and at most 604800 seconds"
    assert [inside(Bounds(0.0, 1.0, low_open=True), x) for x in (0.0, 5e-324, 1.0, math.nan, math.inf)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert inside(Bounds(0.0, infinite=True), math.inf)
    assert not inside(Bounds(infinite=True), -math.inf)
