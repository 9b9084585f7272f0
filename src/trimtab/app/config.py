"""Settings files as a `Spec`: read, checked, every mistake named with its place.

The tree of a file (`document`) is converted key by key (`fields`), then checked as a whole (`consistency`); only a spec
without any fault is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Mapping as AbstractMapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from trimtab.app import fields
from trimtab.app.consistency import CHECKS
from trimtab.app.document import (
    Included,
    Items,
    Mapping,
    Node,
    Override,
    Scalar,
    kind_of,
    override,
    parse_document,
    read_layers,
)
from trimtab.app.faults import Faults
from trimtab.app.fields import Field
from trimtab.bounds import Bounds, is_plain
from trimtab.research.canonical import canonical_json, plain, run_id, to_yaml
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
    Strategy,
    TrimtabError,
)
from trimtab.words import near

__all__ = ["Override", "canonical_json", "complete", "parse_spec", "plain", "read_spec", "run_id", "to_yaml"]

#: Reads the value that stands at a path.
Reader = Callable[[Node, tuple[str, ...], Faults], Any]

_SECTIONS: Final = (
    "universe", "models", "capital", "cash_flows", "fx", "costs", "limits", "caps", "rules", "execution", "rebalance",
    "sizer", "allocator", "regimes",
)  # fmt: skip


class Parametric(Protocol):
    """What has parameters with ranges: a strategy, a sizer, a regime."""

    @property
    def name(self) -> str: ...
    @property
    def params(self) -> Any: ...
    @property
    def ranges(self) -> AbstractMapping[str, tuple[float, float]]: ...


_OF_A_MODEL: Final = ("params", "universe", "sizer", "allocator", "regime_budgets")


def read_spec(path: str | Path, overrides: Sequence[Override] = ()) -> Spec:
    """The spec that a YAML or JSON file says, with everything it includes and the overrides laid over it.

    ->  a Spec whose every value was accepted
    TrimtabError: every fault of the file at once, each with its line, its path, what was expected and what was found.
    """
    return spec_of(read_tree(path, overrides)[0])


def read_tree(path: str | Path, overrides: Sequence[Override] = ()) -> tuple[Mapping, tuple[Included, ...]]:
    """What a file says with everything it includes and the overrides laid over it, not yet read; and the includes."""
    root, included = read_layers(Path(path))
    return _overridden(root, overrides), included


def parse_spec(text: str, source: str = "spec", overrides: Sequence[Override] = ()) -> Spec:
    """The spec that a text says; source is what faults call it. `include:` needs a file and is refused here."""
    root = parse_document(text, source, json=text.lstrip().startswith("{"))
    return spec_of(_overridden(root, overrides))


def complete(spec: Spec) -> Spec:
    """The same run with nothing left to defaults: names, universes, timeframes and parameters of its models.

    Specs that differ only in what they leave out become equal, and so do their run_ids.
    """
    models = tuple(_completed(model, spec) for model in spec.models)
    regimes = tuple(_completed_regime(use) for use in spec.regimes)
    return msgspec.structs.replace(spec, models=models, sizer=_completed_sizer(spec.sizer), regimes=regimes)


def _completed(model: Model, spec: Spec) -> Model:
    strategy = find_strategy(model.strategy)
    return msgspec.structs.replace(
        model,
        name=model.name or Path(model.strategy).stem,
        params={**strategy.params._asdict(), **model.params},
        universe=model.universe or spec.universe,
        timeframe=model.timeframe or spec.timeframe,
        sizer=_completed_sizer(model.sizer),
    )


def _completed_sizer(use: SizerUse | None) -> SizerUse | None:
    if use is None:
        return None
    from trimtab.portfolio.book import sizer_params

    return SizerUse(name=use.name, params=sizer_params(use)._asdict())


def _completed_regime(use: RegimeUse) -> RegimeUse:
    from trimtab.portfolio.book import name_of, regime_params, sources_of

    params = regime_params(use)._asdict()
    return msgspec.structs.replace(use, name=name_of(use), reads=sources_of(use), params=params)


def _overridden(root: Mapping, overrides: Sequence[Override]) -> Mapping:
    for change in overrides:
        root = override(root, change)
    return root


def spec_of(root: Mapping) -> Spec:
    """The spec that a tree says; TrimtabError with every fault of it."""
    faults = Faults(root)
    values = _values(root, faults)
    for check in CHECKS:
        check(values, faults)
    faults.check()
    models = tuple(_made(model) for model in values["models"])
    costs = values["costs"]
    spec = Spec(
        **{key: values[key] for key in fields.SPEC},
        models=models,
        universe=values["universe"],
        cash_flows=tuple(CashFlow(**flow) for flow in values["cash_flows"]),
        fx=values["fx"],
        costs=costs if isinstance(costs, str) else Costs(**costs),
        limits=Limits(**values["limits"]),
        caps=Caps(**values["caps"]),
        rules=tuple(RuleUse(**use) for use in values["rules"]),
        execution=Execution(**values["execution"]),
        rebalance=Rebalance(**values["rebalance"]),
        sizer=_noun(SizerUse, values["sizer"]),
        allocator=_noun(AllocatorUse, values["allocator"]),
        regimes=tuple(RegimeUse(**use) for use in values["regimes"]),
    )
    _check_book(spec, faults)
    return spec


def _made(values: dict[str, Any]) -> Model:
    said = {key: value for key, value in values.items() if key != "found"}
    uses = {"sizer": _noun(SizerUse, said["sizer"]), "allocator": _noun(AllocatorUse, said["allocator"])}
    return Model(**{**said, **uses})


def _noun(noun: Any, values: dict[str, Any] | None) -> Any:
    return None if values is None else noun(**values)


def _check_book(spec: Spec, faults: Faults) -> None:
    """Sizers, regimes and allocators against each other and the book; a spec without any does not load their code."""
    if all(is_plain(spec, model) for model in spec.models) and not spec.regimes:
        return
    from trimtab.portfolio.book import misfits_of_book

    for path, problem in misfits_of_book(spec):
        faults.add(tuple(path.split(".")), problem)
    faults.check()


def _values(root: Mapping, faults: Faults) -> dict[str, Any]:
    """Every key of the spec, converted; None where it was refused."""
    plain = {key: field for key, field in fields.SPEC.items() if key not in _SECTIONS}
    models = _models(_child(root, "models"), faults)
    parameters = [model["found"].params._fields if model.get("found") else () for model in models or ()]
    values = _section(root, (), plain, defaults_of(Spec), faults, also=_SECTIONS, parameters=parameters)
    values["models"] = models
    values["capital"] = _capital(_child(root, "capital"), faults)
    values["cash_flows"] = _flows(_child(root, "cash_flows"), faults)
    values["fx"] = _named(_child(root, "fx"), ("fx",), _rate, "{EUR: EURUSD}", faults)
    values["caps"] = _caps(_child(root, "caps"), faults)
    values["rules"] = _rules(_child(root, "rules"), faults)
    values["universe"] = _universe(_child(root, "universe"), ("universe",), faults, required=True)
    values["costs"] = _costs(_child(root, "costs"), faults)
    for name, noun, table in (
        ("limits", Limits, fields.LIMITS),
        ("execution", Execution, fields.EXECUTION),
        ("rebalance", Rebalance, fields.REBALANCE),
    ):
        values[name] = _section(_child(root, name), (name,), table, defaults_of(noun), faults)
    values["sizer"] = _sizer(_child(root, "sizer"), ("sizer",), faults)
    values["allocator"] = _allocator(_child(root, "allocator"), ("allocator",), faults)
    values["regimes"] = _regimes(_child(root, "regimes"), faults)
    values["members"] = _members(values, root, faults)
    return values


def _section(
    node: Node | None,
    path: tuple[str, ...],
    table: AbstractMapping[str, Field],
    defaults: AbstractMapping[str, Any],
    faults: Faults,
    also: tuple[str, ...] = (),
    parameters: Sequence[Sequence[str]] = (),
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
            faults.unknown((*path, key), (*table, *also), "" if path else fields.home_of(key, parameters))
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


def _named(node: Node | None, path: tuple[str, ...], read: Reader, example: str, faults: Faults) -> dict[str, Any]:
    """A mapping of names to values, each read with its path; None where one was refused."""
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        faults.add(path, f"expected a mapping such as {example}, found {kind_of(node)}")
        return {}
    return {name: read(entry.value, (*path, name), faults) for name, entry in node.entries.items()}


def _reader(field: Field) -> Reader:
    return lambda node, path, faults: _value(node, path, field, None, faults)


def _capital(node: Node | None, faults: Faults) -> Any:
    """A number, or cash by wallet."""
    default = defaults_of(Spec)["capital"]
    if isinstance(node, Mapping) and node.entries:
        return _named(node, ("capital",), _reader(fields.CASH), "", faults)
    return default if node is None else _value(node, ("capital",), fields.SPEC["capital"], default, faults)


def _members(values: dict[str, Any], root: Mapping, faults: Faults) -> str:
    """The file of who belongs when, looked for beside the settings file: all its rows, and the universe against it."""
    if not values["members"]:
        return values["members"]
    from trimtab.data.members import never_held, stays_of

    file = _beside(values["members"], root.entries["members"].place.source)
    stays, problems = stays_of(Path(file).expanduser())
    for problem in problems:
        faults.add(("members",), problem)
    for i, symbol in enumerate(() if problems else values["universe"]):
        if symbol and symbol not in stays:
            faults.add(("universe", str(i)), never_held(symbol, file, stays))
    return file


def _rate(node: Node, path: tuple[str, ...], faults: Faults) -> Any:
    """The pair of a currency, or the rate that stands for all time."""
    number = isinstance(node, Scalar) and _is_number(node.text)
    return _value(node, path, fields.RATE if number else fields.PAIR, None, faults)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _caps(node: Node | None, faults: Faults) -> dict[str, dict[str, Any]]:
    if not isinstance(node, Mapping | None):
        faults.add(("caps",), f"expected a mapping with keys such as asset_classes, found {kind_of(node)}")
        return {}
    known = fields.CAPS
    for key in node.entries if node else ():
        if key not in known:
            faults.unknown(("caps", key), known)
    example = "{crypto: 20%}"
    return {
        key: _named(_child(node, key) if node else None, ("caps", key), _reader(field), example, faults)
        for key, field in known.items()
    }


def _flows(node: Node | None, faults: Faults) -> list[dict[str, Any]]:
    if node is None:
        return []
    if not isinstance(node, Items):
        faults.add(
            ("cash_flows",), f"expected a list such as `- {{at: 2021-03-02, amount: 10_000}}`, found {kind_of(node)}"
        )
        return []
    return [_flow(item, ("cash_flows", str(i)), faults) for i, item in enumerate(node.items)]


def _flow(node: Node, path: tuple[str, ...], faults: Faults) -> dict[str, Any]:
    values = _section(node, path, fields.CASH_FLOW, defaults_of(CashFlow), faults)
    for key in ("at", "amount"):
        if values[key] is None and not faults.at((*path, key)):
            faults.add((*path, key), f"is missing; expected {fields.expected(fields.CASH_FLOW[key])}")
    return values


def _rules(node: Node | None, faults: Faults) -> list[dict[str, Any]]:
    if node is None:
        return []
    if not isinstance(node, Items):
        faults.add(
            ("rules",), f"expected a list such as `- {{file: thin_volume.py, bound: 1%}}`, found {kind_of(node)}"
        )
        return []
    return [_rule(item, ("rules", str(i)), faults) for i, item in enumerate(node.items)]


def _rule(node: Node, path: tuple[str, ...], faults: Faults) -> dict[str, Any]:
    from trimtab.research.limit_rules import load_rule

    values = _section(node, path, fields.RULE, defaults_of(RuleUse), faults)
    if not values["file"] and not faults.at((*path, "file")):
        faults.add((*path, "file"), f"is missing; expected {fields.expected(fields.RULE['file'])}")
    if values["file"] and isinstance(node, Mapping):
        values["file"] = _resolved(values["file"], node, "file")
        try:
            load_rule(values["file"])
        except TrimtabError as error:
            faults.add((*path, "file"), str(error))
    return values


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
    values = _section(node, path, fields.MODEL, defaults_of(Model), faults, also=_OF_A_MODEL)
    values.update(universe=(), params={}, found=None, sizer=None, allocator=None, regime_budgets={})
    if not isinstance(node, Mapping):
        return values
    values["universe"] = _universe(_child(node, "universe"), (*path, "universe"), faults, required=False)
    if values["strategy"] is not None:
        values["strategy"] = _resolved(values["strategy"], node, "strategy")
        values["found"] = _strategy(values["strategy"], path, faults)
    elif not faults.at((*path, "strategy")):
        faults.add((*path, "strategy"), "is missing; expected the name of a strategy (`trimtab strategies` lists them)")
    values["params"] = _params(_child(node, "params"), (*path, "params"), values["found"], faults)
    values["sizer"] = _sizer(_child(node, "sizer"), (*path, "sizer"), faults)
    values["allocator"] = _allocator(_child(node, "allocator"), (*path, "allocator"), faults)
    said, of = _child(node, "regime_budgets"), (*path, "regime_budgets")
    values["regime_budgets"] = _named(said, of, _multipliers, "{equity: {bear: 0.25}}", faults)
    return values


def _multipliers(node: Node, path: tuple[str, ...], faults: Faults) -> Any:
    return _named(node, path, _reader(fields.MULTIPLIER), "{bear: 0.25}", faults)


def _sizer(node: Node | None, path: tuple[str, ...], faults: Faults) -> dict[str, Any] | None:
    """A sizer by its name, or a mapping of name and params."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        return {"name": _value(node, path, fields.SIZER["name"], None, faults)}
    values = _section(node, path, fields.SIZER, {}, faults, also=("params",))
    if not isinstance(node, Mapping):
        return values
    from trimtab.portfolio.book import find_sizer

    found = _found(values, "name", path, find_sizer, faults)
    return {**values, "params": _params(_child(node, "params"), (*path, "params"), found, faults)}


def _found(values: dict[str, Any], key: str, path: tuple[str, ...], find: Any, faults: Faults) -> Any:
    """What a key names; None, with a fault, where it names nothing."""
    if values[key] is None:
        if not faults.at((*path, key)):
            faults.add((*path, key), f"is missing; expected {find.__name__.removeprefix('find_')} by name")
        return None
    try:
        return find(values[key])
    except TrimtabError as error:
        faults.add((*path, key), str(error))
        return None


def _allocator(node: Node | None, path: tuple[str, ...], faults: Faults) -> dict[str, Any] | None:
    """An allocator by its name, or a mapping of its settings."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        return {"name": _value(node, path, fields.ALLOCATOR["name"], None, faults)}
    values = _section(node, path, fields.ALLOCATOR, defaults_of(AllocatorUse), faults)
    from trimtab.portfolio.allocators import find_allocator

    _found(values, "name", path, find_allocator, faults)
    return values


def _regimes(node: Node | None, faults: Faults) -> list[dict[str, Any]]:
    if node is None:
        return []
    if not isinstance(node, Items):
        example = "a list such as `- {regime: equity, reads: SPY}`"
        faults.add(("regimes",), f"expected {example}, found {kind_of(node)}")
        return []
    return [_regime(item, ("regimes", str(i)), faults) for i, item in enumerate(node.items)]


def _regime(node: Node, path: tuple[str, ...], faults: Faults) -> dict[str, Any]:
    values = _section(node, path, fields.REGIME, defaults_of(RegimeUse), faults, also=("params", "reads"))
    if not isinstance(node, Mapping):
        return values
    from trimtab.portfolio.regime.table import find as find_regime

    found = _found(values, "regime", path, find_regime, faults)
    values["params"] = _params(_child(node, "params"), (*path, "params"), found, faults)
    reads = _child(node, "reads")
    if isinstance(reads, Mapping):
        named = _named(reads, (*path, "reads"), _reader(fields.SOURCE), "", faults)
        values["reads"] = {key: value and _series(value, node) for key, value in named.items()}
    elif reads is not None:
        said = _value(reads, (*path, "reads"), fields.SOURCE, "", faults)
        values["reads"] = said and _series(said, node)
    return values


def _series(name: str, node: Mapping) -> str:
    """The file of a series is looked for beside the settings file that names it, as a strategy's is."""
    from trimtab.words import OF_FILE

    file, mark, column = name.rpartition(OF_FILE)
    beside = Path(node.entries["reads"].place.source).parent / file
    return f"{beside}{mark}{column}" if mark and (beside.is_file() or not Path(file).is_file()) else name


def _beside(name: str, source: str) -> str:
    """A file that a settings file names is looked for beside it, then where the command was given."""
    beside = Path(source).parent / name
    return str(beside) if beside.is_file() else name


def _resolved(name: str, node: Mapping, key: str) -> str:
    """A strategy's or rule's file is looked for beside the settings file that names it with a key."""
    return _beside(name, node.entries[key].place.source) if name.endswith(".py") else name


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


def _params(node: Node | None, path: tuple[str, ...], strategy: Parametric | None, faults: Faults) -> dict[str, Any]:
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


def _check_together(strategy: Parametric, values: dict[str, Any], path: tuple[str, ...], faults: Faults) -> None:
    """Parameters that are fine one by one and not together (a fast window above the slow one)."""
    warmup = getattr(strategy, "warmup", None)
    if warmup is None:
        return  # a sizer's parameters go together as they are
    try:
        warmup(strategy.params._replace(**values))
    except TrimtabError as error:
        faults.add(path, str(error))


def param_field(strategy: Parametric, name: str) -> Field:
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
