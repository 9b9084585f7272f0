"""What makes two trials the same: the spec without names, the bars, and the values of all parameters."""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from trimtab.research.canonical import canonical_json
from trimtab.research.run import hash_file
from trimtab.strategies import BUILT_IN, find, params_of
from trimtab.strategies.files import rooted
from trimtab.types import Spec

#: The strategy's name in the spec of a run whose weights were given, see research.backtest.
_GIVEN: Final = "weights"


class Hypothesis(msgspec.Struct, frozen=True):
    """What is believed: these strategies, on these instruments, at this timeframe; whatever their parameters are."""

    strategies: tuple[str, ...]
    universe: tuple[str, ...]
    timeframe: str

    @property
    def id(self) -> str:
        """12 hexadecimal digits."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]

    def __str__(self) -> str:
        shown = [name.rsplit("/", 1)[-1] for name in self.strategies]
        return f"{', '.join(shown)} on {', '.join(self.universe)}, {self.timeframe}"


class Identity(msgspec.Struct, frozen=True):
    """What all trials of a run or a sweep share.

    template  canonical JSON of the spec without names, window and parameters, then the sha256 of strategy files
    data      sha256 of the panel, in hex
    names     of all parameters of all models, in order: 0.fast
    """

    hypothesis: Hypothesis
    template: str
    data: str
    names: tuple[str, ...]

    def keys(self, sets: Iterable[Iterable[float]]) -> list[bytes]:
        """16 bytes that name the trial of each set of values of `names`."""
        begun = hashlib.blake2b(f"{self.data}\n{self.template}".encode(), digest_size=16)
        found: list[bytes] = []
        for values in map(tuple, sets):
            own = begun.copy()
            own.update(struct.pack(f"<{len(values)}d", *values))
            found.append(own.digest())
        return found


def hypothesis_of(spec: Spec) -> Hypothesis:
    """The hypothesis that a spec is a trial of: strategies and instruments in alphabetical order."""
    strategies = tuple(sorted({rooted(model.strategy) for model in spec.models}))
    return Hypothesis(strategies, tuple(sorted(spec.universe)), spec.timeframe)


def identity_of(spec: Spec, data: str) -> Identity:
    """The identity of trials of a spec on a panel of that hash. Given weights are part of the template."""
    models = tuple(
        msgspec.structs.replace(
            model,
            name="",
            strategy=rooted(model.strategy),
            params=model.params if model.strategy == _GIVEN else {},
        )
        for model in spec.models
    )
    bare = msgspec.structs.replace(spec, name="", start="", end="", models=models)
    files = [hash_file(file_of(model.strategy)) for model in models if is_own(model.strategy)]
    names = tuple(f"{m}.{name}" for m, params in enumerate(_params(spec)) for name in params)
    return Identity(hypothesis_of(spec), "\n".join((canonical_json(bare), *files)), data, names)


def is_own(strategy: str) -> bool:
    """Is a strategy none that Trimtab ships, but a file, or another package's? Then its text is part of a trial."""
    return strategy != _GIVEN and strategy not in BUILT_IN


def file_of(strategy: str) -> str:
    """The file that a strategy's `step` is written in."""
    if strategy.endswith(".py"):
        return strategy
    return str(sys.modules[find(strategy).step.__module__].__file__)


def values_of(spec: Spec) -> tuple[float, ...]:
    """The values of `Identity.names`, defaults included."""
    return tuple(value for params in _params(spec) for value in params.values())


def _params(spec: Spec) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []
    for model in spec.models:
        given: dict[str, Any] = {}
        if model.strategy != _GIVEN:
            given = params_of(find(model.strategy), model.params)._asdict()
        found.append({name: float(value) for name, value in given.items()})
    return found
