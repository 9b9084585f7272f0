"""One text per spec, and the reader makes the same spec of it again."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.app.config import complete, param_field, parse_spec
from trimtab.app.fields import CASH, CASH_FLOW, COSTS, EXECUTION, LIMITS, RATE, REBALANCE, SPEC, Field
from trimtab.bounds import RANGES, contradictions, model_names
from trimtab.data.catalogue import ASSET_CLASSES
from trimtab.research.canonical import canonical_json, plain, run_id, to_yaml
from trimtab.strategies import find
from trimtab.types import TIMEFRAMES, Caps, CashFlow, Costs, Execution, Limits, Model, Rebalance, Spec, TrimtabError

SINGLE = ("sma_cross", "momentum", "buy_and_hold", "index_mean_reversion", "equity_trend")
WALLETS = ("binance/USDT", "EUR", "sim/USD")
SYMBOLS = ("BTCEUR", "NO", "1_000", "null", "2021-03-02", "BRK.B", "^GSPC", "é€", "1e3", "~", "a:b", "#x")

texts = st.text(st.characters(codec="utf-8"), max_size=30).filter(lambda t: t.isprintable() and t == t.strip())


def value_of(field: Field) -> st.SearchStrategy[Any]:
    if field.kind == "choice":
        return st.sampled_from(field.choices)
    if field.kind == "flag":
        return st.booleans()
    low, high, low_open, high_open, infinite, _ = field.bounds
    if field.kind == "whole":
        return st.integers(int(max(low, 0)), int(min(high, 10_000)))
    numbers = st.floats(max(low, -1e300), min(high, 1e300), exclude_min=low_open, exclude_max=high_open)
    return numbers | st.just(math.inf) if infinite else numbers


def noun_of(table: Any, noun: Any) -> st.SearchStrategy[Any]:
    return st.builds(noun, **{key: value_of(field) for key, field in table.items()})


def timeframes_of(strategy: str, book: str) -> list[str]:
    return [name for name in find(strategy).timeframes if TIMEFRAMES[name] >= TIMEFRAMES[book]]


@st.composite
def models_of(draw: st.DrawFn, universe: tuple[str, ...], timeframe: str) -> tuple[Model, ...]:
    count = draw(st.integers(1, 3))
    models: list[Model] = []
    for i in range(count):
        fitting = {name: timeframes_of(name, timeframe) for name in SINGLE}
        strategy = find(draw(st.sampled_from([name for name in SINGLE if fitting[name]])))
        names = draw(st.sets(st.sampled_from(strategy.params._fields)))
        params = {name: draw(value_of(param_field(strategy, name))) for name in names}
        try:
            strategy.warmup(strategy.params._replace(**params))
        except TrimtabError:
            params = {}
        models.append(
            Model(
                strategy=strategy.name,
                name=f"{draw(texts)}{i}",
                params=params,
                universe=tuple(draw(st.lists(st.sampled_from(universe), unique=True))),
                timeframe=draw(st.sampled_from(fitting[strategy.name])),
                budget=draw(st.floats(1e-12, 1 / 3)),
                sizing=draw(st.sampled_from(("equal", "fixed"))),
            )
        )
    return tuple(models)


@st.composite
def caps_of(draw: st.DrawFn, models: tuple[str, ...]) -> Caps:
    names = {"asset_classes": ASSET_CLASSES, "venues": ("binance", "sim"), "models": models}
    cap = {section: value_of(Field("fraction", "", RANGES[f"caps.{section}"])) for section in names}
    return Caps(**{s: draw(st.dictionaries(st.sampled_from((*known, "*")), cap[s])) for s, known in names.items()})


def flows() -> st.SearchStrategy[CashFlow]:
    return st.builds(
        CashFlow,
        at=st.sampled_from(("2020-06-01", "2020-03-01T12:30:00Z")),
        amount=value_of(CASH_FLOW["amount"]),
        wallet=st.sampled_from(("", *WALLETS)),
    )


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    universe = tuple(draw(st.lists(st.sampled_from(SYMBOLS), unique=True, min_size=1)))
    timeframe = draw(st.sampled_from([*TIMEFRAMES]))
    models = draw(models_of(universe, timeframe))
    limits, caps = draw(noun_of(LIMITS, Limits)), draw(caps_of(model_names(models)))
    for path, _ in [*contradictions((), limits, caps, Execution())]:
        section, _, name = path.partition(".")
        limits = limits._replace(**{name: math.inf}) if section == "limits" else limits
        caps = caps if section == "limits" else Caps()
    execution = draw(noun_of(EXECUTION, Execution))
    if execution.kind == "MARKET" or execution.post_only:
        execution = msgspec.structs.replace(execution, offset=0.0, post_only=False)
    own = {key: value_of(SPEC[key]) for key in ("volume", "risk_free_rate", "seed")}
    own["capital"] = value_of(SPEC["capital"]) | st.dictionaries(st.sampled_from(WALLETS), value_of(CASH), min_size=1)
    return Spec(
        models=models,
        name=draw(texts),
        universe=universe,
        timeframe=timeframe,
        base_currency=draw(st.sampled_from(("USD", "EUR", "USDT"))),
        start=draw(st.sampled_from(("", "2020-02-29", "2020-01-01T12:30:00Z"))),
        end=draw(st.sampled_from(("", "2021-01-01"))),
        costs=draw(st.sampled_from(("venue", "binance", "none")) | noun_of(COSTS, Costs)),
        limits=limits,
        caps=caps,
        cash_flows=tuple(draw(st.lists(flows(), max_size=3))),
        fx=draw(st.dictionaries(st.sampled_from(("EUR", "USDT")), st.just("EURUSD") | value_of(RATE))),
        execution=execution,
        rebalance=draw(noun_of(REBALANCE, Rebalance)),
        **{key: draw(value) for key, value in own.items()},
    )


@settings(max_examples=150, deadline=None)
@given(specs())
def test_round_trip(spec: Spec):
    text = canonical_json(spec)
    again = parse_spec(text)
    assert again == spec
    assert canonical_json(again) == text
    assert parse_spec(to_yaml(spec)) == spec
    done = complete(spec)
    assert complete(done) == done
    assert parse_spec(canonical_json(done)) == done


BOOK = Spec(universe=("A",), models=(Model(strategy="sma_cross", params={"fast": 5}),), costs=Costs(latency=0.25))


def test_the_canonical_text():
    text = canonical_json(BOOK)
    stored = json.loads(text)
    assert text == json.dumps(stored, sort_keys=True, separators=(",", ":"))
    assert stored["capital"] == 1_000_000
    assert '"capital":1000000,' in text
    assert stored["limits"]["gross_leverage"] == "inf"
    assert stored["costs"]["latency"] == 0.25
    assert set(stored) == set(Spec.__struct_fields__)


def test_the_run_id_is_the_hash_of_that_text():
    assert run_id(BOOK) == hashlib.sha256(canonical_json(BOOK).encode()).hexdigest()


def test_equal_numbers_are_one_run_and_other_values_another():
    as_float = Spec(
        universe=("A",), models=(Model(strategy="sma_cross", params={"fast": 5.0}),), costs=Costs(latency=0.25)
    )
    assert run_id(as_float) == run_id(BOOK)
    assert run_id(msgspec.structs.replace(BOOK, seed=1)) != run_id(BOOK)


def test_complete_makes_what_was_left_out_explicit():
    short = parse_spec("universe: A\nmodels: [{strategy: sma_cross}]")
    spelled = parse_spec(
        "universe: A\ntimeframe: H4\n"
        "models: [{strategy: sma_cross, name: sma_cross, timeframe: 4h, universe: [A], params: {fast: 20, slow: 50}}]"
    )
    assert short != spelled
    assert complete(short) == complete(spelled)
    assert complete(short).models[0].params == {"fast": 20, "slow": 50, "short": False}


def test_plain_keeps_numbers():
    assert plain(BOOK)["limits"]["max_weight"] == math.inf


def test_nan_is_refused_by_the_reader():
    with pytest.raises(TrimtabError, match="capital"):
        parse_spec(canonical_json(msgspec.structs.replace(BOOK, capital=math.nan)))
