"""Settings files as a `Spec`: read, checked, every mistake named with its place.

The tree of a file (`document`) is converted key by key (`fields`), then checked as a whole (`consistency`); only a spec
without any fault is returned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.app import fields
from trimtab.app.consistency import CHECKS
from trimtab.app.document import (
    Items,
    Mapping,
    Node,
    Override,
    Scalar,
    kind_of,
    override,
    parse_document,
    read_document,
)
from trimtab.app.faults import Faults
from trimtab.app.fields import Field
from trimtab.bounds import Bounds
from trimtab.research.canonical import canonical_json, plain, run_id, to_yaml
from trimtab.types import Costs, Execution, Limits, Model, Rebalance, Spec, Strategy, TrimtabError
from trimtab.words import near

__all__ = ["Override", "canonical_json", "complete", "parse_spec", "plain", "read_spec", "run_id", "to_yaml"]

_SECTIONS: Final = ("universe", "models", "costs", "limits", "execution", "rebalance")


def read_spec(path: str | Path, overrides: Sequence[Override] = ()) -> Spec:
    """The spec that a YAML or JSON file says, with everything it includes and the overrides laid over it.

    ->  a Spec whose every value was accepted
    TrimtabError: every fault of the file at once, each with its line, its path, what was expected and what was found.
    """
    return _spec(_overridden(read_document(Path(path)), overrides))


def parse_spec(text: str, source: str = "spec", overrides: Sequence[Override] = ()) -> Spec:
    """The spec that a text says; source is what faults call it. `include:` needs a file and is refused here."""
    root = parse_document(text, source, json=text.lstrip().startswith("{"))
    return _spec(_overridden(root, overrides))


def complete(spec: Spec) -> Spec:
    """The same run with nothing left to defaults: names, universes, timeframes and parameters of its models.

    Specs that differ only in what they leave out become equal, and so do their run_ids.
    """
    models = tuple(_completed(model, spec) for model in spec.models)
    return msgspec.structs.replace(spec, models=models)


def _completed(model: Model, spec: Spec) -> Model:
    strategy = find_strategy(model.strategy)
    return msgspec.structs.replace(
        model,
        name=model.name or Path(model.strategy).stem,
        params={**strategy.params._asdict(), **model.params},
        universe=model.universe or spec.universe,
        timeframe=model.timeframe or spec.timeframe,
    )


def _overridden(root: Mapping, overrides: Sequence[Override]) -> Mapping:
    for change in overrides:
        root = override(root, change)
    return root


def _spec(root: Mapping) -> Spec:
    faults = Faults(root)
    values = _values(root, faults)
    for check in CHECKS:
        check(values, faults)
    faults.check()
    models = tuple(
        Model(**{key: value for key, value in model.items() if key != "found"}) for model in values["models"]
    )
    costs = values["costs"]
    return Spec(
        **{key: values[key] for key in fields.SPEC},
        models=models,
        universe=values["universe"],
        costs=costs if isinstance(costs, str) else Costs(**costs),
        limits=Limits(**values["limits"]),
        execution=Execution(**values["execution"]),
        rebalance=Rebalance(**values["rebalance"]),
    )


def _values(root: Mapping, faults: Faults) -> dict[str, Any]:
    """Every key of the spec, converted; None where it was refused."""
    values = _section(root, (), fields.SPEC, defaults_of(Spec), faults, also=_SECTIONS)
    values["universe"] = _universe(_child(root, "universe"), ("universe",), faults, required=True)
    values["models"] = _models(_child(root, "models"), faults)
    values["costs"] = _costs(_child(root, "costs"), faults)
    for name, noun, table in (
        ("limits", Limits, fields.LIMITS),
        ("execution", Execution, fields.EXECUTION),
        ("rebalance", Rebalance, fields.REBALANCE),
    ):
        values[name] = _section(_child(root, name), (name,), table, defaults_of(noun), faults)
    return values


def _section(
    node: Node | None,
    path: tuple[str, ...],
    table: AbstractMapping[str, Field],
    defaults: AbstractMapping[str, Any],
    faults: Faults,
    also: tuple[str, ...] = (),
) -> dict[str, Any]:
    values = {key: defaults.get(key) for key in table}
    if node is None:
        return values
    if not isinstance(node, Mapping):
        faults.add(path, f"expected a mapping with keys such as {', '.join(list(table)[:3])}, found {kind_of(node)}")
        return dict.fromkeys(table)
    for key, entry in node.entries.items():
        if key in table:
            values[key] = _value(entry.value, (*path, key), table[key], defaults.get(key), faults)
        elif key not in also:
            faults.unknown((*path, key), (*table, *also))
    return values


def _value(node: Node, path: tuple[str, ...], field: Field, default: Any, faults: Faults) -> Any:
    if isinstance(node, Scalar):
        if default is not None and (node.null or (not node.text and default == "")):
            return default  # a key without a value says nothing
        try:
            return fields.convert(field, node)
        except ValueError as error:
            faults.add(path, f"expected {error}; found {kind_of(node)}")
            return None
    faults.add(path, f"expected {fields.expected(field)}; found {kind_of(node)}")
    return None


def _child(node: Mapping, key: str) -> Node | None:
    entry = node.entries.get(key)
    if entry is None or (isinstance(entry.value, Scalar) and entry.value.null):
        return None
    return entry.value


def _universe(node: Node | None, path: tuple[str, ...], faults: Faults, *, required: bool) -> tuple[str | None, ...]:
    if node is None:
        if required:
            faults.add(path, "is missing; expected a list of instruments such as [BTCEUR, ETHEUR]")
        return ()
    items = node.items if isinstance(node, Items) else (node,)
    if required and not items:
        faults.add(path, "is empty; expected at least one instrument")
    return tuple(_value(item, (*path, str(i)), fields.SYMBOL, None, faults) for i, item in enumerate(items))


def _costs(node: Node | None, faults: Faults) -> Any:
    if node is None:
        return defaults_of(Spec)["costs"]
    if isinstance(node, Mapping):
        return _section(node, ("costs",), fields.COSTS, defaults_of(Costs), faults)
    name = _value(node, ("costs",), fields.PRESET, None, faults)
    if name is not None and name != "venue":
        _check_preset(name, faults)
    return name


def _check_preset(name: str, faults: Faults) -> None:
    from trimtab.data.catalogue import preset

    try:
        preset(name)
    except TrimtabError as error:
        faults.add(
            ("costs",), f"{error}; or `venue` for each instrument's own, or a mapping such as {{taker_fee: 10bps}}"
        )


def _models(node: Node | None, faults: Faults) -> list[dict[str, Any]]:
    if not isinstance(node, Items) or not node.items:
        found = "is missing" if node is None else f"found {kind_of(node)}"
        faults.add(("models",), f"{found}; expected a list of models such as `- strategy: sma_cross`")
        return []
    return [_model(item, ("models", str(i)), faults) for i, item in enumerate(node.items)]


def _model(node: Node, path: tuple[str, ...], faults: Faults) -> dict[str, Any]:
    values = _section(node, path, fields.MODEL, defaults_of(Model), faults, also=("params", "universe"))
    values.update(universe=(), params={}, found=None)
    if not isinstance(node, Mapping):
        return values
    values["universe"] = _universe(_child(node, "universe"), (*path, "universe"), faults, required=False)
    if values["strategy"] is not None:
        values["strategy"] = _resolved(values["strategy"], node)
        values["found"] = _strategy(values["strategy"], path, faults)
    elif not faults.at((*path, "strategy")):
        faults.add((*path, "strategy"), "is missing; expected the name of a strategy (`trimtab strategies` lists them)")
    values["params"] = _params(_child(node, "params"), (*path, "params"), values["found"], faults)
    return values


def _resolved(name: str, node: Mapping) -> str:
    """A strategy's file is looked for beside the settings file that names it."""
    if not name.endswith(".py"):
        return name
    beside = Path(node.entries["strategy"].place.source).parent / name
    return str(beside) if beside.is_file() else name


def _strategy(name: str, path: tuple[str, ...], faults: Faults) -> Strategy | None:
    try:
        return find_strategy(name)
    except TrimtabError as error:
        faults.add((*path, "strategy"), str(error))
        return None


def find_strategy(name: str) -> Strategy:
    """A strategy by its name, entry point or file; TrimtabError with the closest name if there is none."""
    from trimtab.strategies import find

    return find(name)


def _params(node: Node | None, path: tuple[str, ...], strategy: Strategy | None, faults: Faults) -> dict[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        faults.add(path, f"expected a mapping of parameters, found {kind_of(node)}")
        return {}
    if strategy is None:
        return {}  # already refused: nothing is known of its parameters
    defaults = strategy.params._asdict()
    values: dict[str, Any] = {}
    for key, entry in node.entries.items():
        if key in defaults:
            field = param_field(strategy, key)
            values[key] = _value(entry.value, (*path, key), field, defaults[key], faults)
        else:
            known = ", ".join(defaults) or "none: it has no parameters"
            faults.add((*path, key), f"{strategy.name} has no such parameter{near(key, defaults)}; known: {known}")
    if not any(faults.at((*path, key)) for key in values):
        _check_together(strategy, values, path, faults)
    return values


def _check_together(strategy: Strategy, values: dict[str, Any], path: tuple[str, ...], faults: Faults) -> None:
    """Parameters that are fine one by one and not together (a fast window above the slow one)."""
    try:
        strategy.warmup(strategy.params._replace(**values))
    except TrimtabError as error:
        faults.add(path, str(error))


def param_field(strategy: Strategy, name: str) -> Field:
    """What a strategy's parameter accepts: the type of its default, within the range that is searched."""
    default = getattr(strategy.params, name)
    low, high = strategy.ranges.get(name, (-math.inf, math.inf))
    meaning = f"parameter of {strategy.name}"
    if isinstance(default, bool):
        return Field("flag", meaning)
    if isinstance(default, int):
        return Field("whole", meaning, Bounds(low, high))
    if isinstance(default, float):
        bounds = Bounds(low, high, infinite=high == math.inf or math.isinf(default))
        return Field("fraction", meaning, bounds)
    return Field("text", meaning)


def defaults_of(noun: Any) -> AbstractMapping[str, Any]:
    """The defaults of a noun of `trimtab.types`, by field."""
    if issubclass(noun, msgspec.Struct):
        found = msgspec.structs.fields(noun)
        return {field.name: field.default for field in found if field.default is not msgspec.NODEFAULT}
    return noun._field_defaults
