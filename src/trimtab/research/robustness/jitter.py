"""Does the Sharpe stand on a plateau or on a needle? The parameters moved a little, one by one and all together.

A parameter is moved by shares of its own value, inside the range and the type that its strategy declares; a whole
number by 1 at least. Switches (true, false) have no neighbours, and a parameter that stands at 0 has none of a share
of 0: these are left where they are, and listed. Sets that the strategy rules out (fast >= slow) are counted and not
replaced.

The rule. A neighbour holds where it keeps half of the centre's Sharpe. Of each parameter, and of all moved together,
the share of neighbours that hold is looked at, and the smallest share decides, so that parameters that do nothing
cannot hide one that does everything:

plateau  3/4 or more hold       slope  at least half       needle  fewer
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.research.backtest import run_spec
from trimtab.research.robustness.outcome import NAN, Outcome, Progress, check_count, outcome_of, outcomes, tried
from trimtab.strategies import find, params_of
from trimtab.types import Panel, Spec, Strategy, TrimtabError

#: The share of the centre's Sharpe that a neighbour must keep, and what the smallest share of those makes of it.
KEEP: Final = 0.5
VERDICTS: Final = ((0.75, "plateau"), (0.5, "slope"), (0.0, "needle"))
#: The name of the moves of all parameters together.
TOGETHER: Final = ""


class Jitter(msgspec.Struct, frozen=True, kw_only=True):
    """How far parameters are moved.

    steps     up and down, each; a share
    of        value: of the parameter's own value; range: of the range that the strategy declares
    together  draws in which all of them are moved at once, each evenly within the largest step
    """

    steps: tuple[float, ...] = (0.1, 0.2)
    of: str = "value"
    together: int = 64
    seed: int = 0


class Neighbour(NamedTuple):
    """One set of parameters beside the centre; parameter: its path (models.0.params.fast), "" for all together.

    value  of that parameter, NaN for all together; sharpe, total_return as in Outcome; kept: did it keep half?
    """

    parameter: str
    value: float
    sharpe: float
    total_return: float
    kept: bool


class Moved(NamedTuple):
    """The moves of one parameter: how many, the share of them that kept half of the Sharpe, and their median over it.

    median  NaN where half of the neighbours have no Sharpe at all
    """

    parameter: str
    moves: int
    kept: float
    median: float


class Jittered(NamedTuple):
    """centre: the parameters as they are; moved: by parameter, all together last; kept, median: of all neighbours.

    verdict  plateau, slope or needle; "" where undefined
    worst    the parameter whose moves decided
    refused  sets that the strategy rules out
    left     parameters that were not moved: path, why
    """

    centre: Outcome
    neighbours: tuple[Neighbour, ...]
    moved: tuple[Moved, ...]
    kept: float
    median: float
    verdict: str
    worst: str
    refused: int
    left: tuple[tuple[str, str], ...]
    why: str = ""

    @property
    def least(self) -> float:
        """The share that decided: of the moves of the worst parameter, those that kept half; NaN where undefined."""
        return min((each.kept for each in self.moved), default=NAN)


class _Parameter(NamedTuple):
    """A parameter that can be moved: where it is, what it is, and how long a step of 1 is."""

    model: int
    name: str
    value: Any
    low: float
    high: float
    unit: float

    @property
    def path(self) -> str:
        return f"models.{self.model}.params.{self.name}"


def jitter(
    spec: Spec, panel: Panel, how: Jitter | None = None, progress: Progress = None, threads: int | None = None
) -> Jittered:
    """Every neighbour of a spec's parameters through the same path as a backtest."""
    how = how or Jitter()
    _check(how)
    centre = outcome_of(run_spec(spec, panel))
    movable, left = parameters_of(spec, how)
    specs, names, refused = neighbours_of(spec, movable, how)
    why = centre.why
    if not why and not centre.sharpe > 0.0:
        why = f"the Sharpe is {centre.sharpe:.2f}: there is nothing that a neighbour could keep"
    elif not why and not specs:
        why = "no parameter has a neighbour"
    found = outcomes(len(specs), lambda k: tried(specs[k], panel), progress, threads)
    neighbours = tuple(
        Neighbour(path, value, one.sharpe, one.total_return, bool(one.sharpe >= KEEP * centre.sharpe and not why))
        for (path, value), one in zip(names, found, strict=True)
    )
    if why:
        return Jittered(centre, neighbours, (), NAN, NAN, "", "", refused, left, why)
    moved = tuple(
        _moved(path, [each for each in neighbours if each.parameter == path], centre.sharpe)
        for path in dict.fromkeys(path for path, _ in names)
    )
    whole = _moved(TOGETHER, list(neighbours), centre.sharpe)
    worst = min(moved, key=lambda each: each.kept)
    verdict = next(name for least, name in VERDICTS if worst.kept >= least)
    return Jittered(
        centre, neighbours, moved, whole.kept, whole.median, verdict, worst.parameter, refused, left
    )  # fmt: skip


def parameters_of(spec: Spec, how: Jitter) -> tuple[tuple[_Parameter, ...], tuple[tuple[str, str], ...]]:
    """The parameters of all models that can be moved, and those that cannot: path, why."""
    movable: list[_Parameter] = []
    left: list[tuple[str, str]] = []
    for m, model in enumerate(spec.models):
        strategy = find(model.strategy)
        for name, value in params_of(strategy, model.params)._asdict().items():
            low, high = strategy.ranges.get(name, (-np.inf, np.inf))
            unit = abs(float(value)) if how.of == "value" else float(high - low)
            one = _Parameter(m, name, value, low, high, unit)
            if isinstance(value, bool):
                left.append((one.path, "a switch has no neighbours"))
            elif unit == 0.0:
                left.append((one.path, "stands at 0, and a share of 0 is 0"))
            elif not math.isfinite(unit):
                left.append((one.path, "has no finite range"))
            else:
                movable.append(one)
    return tuple(movable), tuple(left)


def neighbours_of(
    spec: Spec, movable: tuple[_Parameter, ...], how: Jitter
) -> tuple[list[Spec], list[tuple[str, float]], int]:
    """The specs beside one, (path, value) of what was moved in each, and how many sets were ruled out."""
    strategies = [find(model.strategy) for model in spec.models]
    specs: list[Spec] = []
    names: list[tuple[str, float]] = []
    refused = 0
    for one in movable:
        around = (one.value, *(_at(one, sign * step, least=1) for step in how.steps for sign in (-1.0, 1.0)))
        for value in list(dict.fromkeys(around))[1:]:
            beside = _with(spec, strategies, [(one, value)])
            refused += beside is None
            if beside is not None:
                specs.append(beside)
                names.append((one.path, float(value)))
    reach, rng = max(how.steps), np.random.default_rng(how.seed)
    for shares in rng.uniform(-reach, reach, (how.together if len(movable) > 1 else 0, len(movable))):
        drawn = [(one, _at(one, float(share), least=0)) for one, share in zip(movable, shares, strict=True)]
        beside = _with(spec, strategies, drawn)
        refused += beside is None
        if beside is not None:
            specs.append(beside)
            names.append((TOGETHER, NAN))
    return specs, names, refused


def _at(one: _Parameter, share: float, least: int) -> Any:
    """The parameter moved by a share of its unit: of its type, inside its range, whole numbers by `least` at least."""
    by = share * one.unit
    if isinstance(one.value, int):
        by = math.copysign(max(round(abs(by)), least), by)
    value = min(max(one.value + by, one.low), one.high)
    return int(value) if isinstance(one.value, int) else float(value)


def _with(spec: Spec, strategies: list[Strategy], moves: list[tuple[_Parameter, Any]]) -> Spec | None:
    """The spec with these values; None where a strategy rules them out."""
    models = list(spec.models)
    for one, value in moves:
        model = models[one.model]
        models[one.model] = msgspec.structs.replace(model, params={**model.params, one.name: value})
    try:
        for m in {one.model for one, _ in moves}:
            params_of(strategies[m], models[m].params)
    except TrimtabError:
        return None
    return msgspec.structs.replace(spec, models=tuple(models))


def _moved(path: str, neighbours: list[Neighbour], centre: float) -> Moved:
    """What is undefined sorts below every number: a neighbour that never traded is no better than one that lost."""
    ratios = np.array([each.sharpe / centre for each in neighbours])
    median = float(np.median(np.where(np.isnan(ratios), -np.inf, ratios)))
    kept = float(np.mean([each.kept for each in neighbours]))
    return Moved(path, len(neighbours), kept, median if math.isfinite(median) else NAN)


def _check(how: Jitter) -> None:
    if not how.steps or not all(0.0 < step < 1.0 for step in how.steps):
        raise TrimtabError(f"steps are {how.steps}: expected shares between 0 and 1, such as (0.1, 0.2)")
    if how.of not in ("value", "range"):
        raise TrimtabError(f"of is {how.of!r}: expected 'value' or 'range'")
    check_count("together", how.together, 0)
