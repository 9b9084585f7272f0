"""A spec as bytes: one canonical JSON whose sha256 names the run, and YAML that people read."""

from __future__ import annotations

import hashlib
import json
import math
import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from trimtab.types import Costs, Spec


def plain(spec: Spec) -> dict[str, Any]:
    """The whole spec, defaults included, as dicts, lists, texts and numbers (inf stays a float)."""
    values = msgspec.structs.asdict(spec)
    values["universe"] = list(spec.universe)
    values["models"] = [_plain_model(model) for model in spec.models]
    values["cash_flows"] = [msgspec.structs.asdict(flow) for flow in spec.cash_flows]
    values["costs"] = spec.costs._asdict() if isinstance(spec.costs, Costs) else spec.costs
    values["limits"] = spec.limits._asdict()
    values["caps"] = msgspec.structs.asdict(spec.caps)
    values["rules"] = [msgspec.structs.asdict(use) for use in spec.rules]
    values["execution"] = msgspec.structs.asdict(spec.execution)
    values["rebalance"] = msgspec.structs.asdict(spec.rebalance)
    values["sizer"] = _plain_use(spec.sizer)
    values["allocator"] = _plain_use(spec.allocator)
    values["regimes"] = [_plain_use(use) for use in spec.regimes]
    return values


def canonical_json(spec: Spec) -> str:
    """One text per spec: sorted keys, no spaces, the shortest numbers (2.0 is 2), inf as "inf", defaults included.

    Two specs that are equal have the same text, and the reader makes the same spec of it again.
    """
    return json.dumps(_written(plain(spec)), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def run_id(spec: Spec) -> str:
    """The run's name: sha256 of its canonical JSON, 64 hexadecimal digits, of which people are shown 16."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def to_yaml(spec: Spec) -> str:
    """The whole spec as YAML, defaults included, in the order of the noun's fields."""
    import yaml

    values = _written(plain(spec))
    ordered = {name: values[name] for name in ("name", *(key for key in values if key != "name"))}
    return yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def with_rooted_files(spec: Spec) -> Spec:
    """The spec with its files of strategies, rules and series by their whole paths, to be found from any folder."""
    from trimtab.strategies.files import rooted

    models = tuple(msgspec.structs.replace(model, strategy=rooted(model.strategy)) for model in spec.models)
    regimes = tuple(msgspec.structs.replace(use, reads=_rooted_reads(use.reads)) for use in spec.regimes)
    rules = tuple(msgspec.structs.replace(use, file=rooted(use.file)) for use in spec.rules)
    members = str(Path(spec.members).expanduser().absolute()) if spec.members else ""
    return msgspec.structs.replace(spec, models=models, regimes=regimes, rules=rules, members=members)


def _rooted_reads(reads: str | dict[str, str]) -> str | dict[str, str]:
    from trimtab.data.series import rooted

    return rooted(reads) if isinstance(reads, str) else {field: rooted(source) for field, source in reads.items()}


def _plain_model(model: Any) -> dict[str, Any]:
    values = msgspec.structs.asdict(model)
    values["universe"] = list(model.universe)
    values["sizer"], values["allocator"] = _plain_use(model.sizer), _plain_use(model.allocator)
    return values


def _plain_use(use: Any) -> dict[str, Any] | None:
    return None if use is None else msgspec.structs.asdict(use)


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _written(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in cast("Sequence[Any]", value)]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
