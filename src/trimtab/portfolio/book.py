"""The sizers, regimes and allocators that a spec names: what they are, and where they do not fit the book."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import numpy as np

from trimtab.bounds import BUDGET_ROUNDING, allocators_of, model_names, typed
from trimtab.portfolio.allocators import find_allocator
from trimtab.portfolio.regime import adaptive, table
from trimtab.portfolio.regime.budgets import factors_of, words_of
from trimtab.portfolio.regime.labels import Regime
from trimtab.portfolio.sizing import sizers
from trimtab.portfolio.sizing.sizers import Sizer
from trimtab.types import F64, TIMEFRAMES, AllocatorUse, Model, RegimeUse, SizerUse, Spec, TrimtabError
from trimtab.words import near, shortest

#: Name in a spec -> sizer. `adaptive` moves only by steps of its own band, so it asks for no buffer.
SIZERS: Final[Mapping[str, Sizer]] = {
    **sizers.SIZERS,
    "adaptive": Sizer(
        name="adaptive",
        about="min(cap, target / volatility) x the regimes' multipliers, at most cap. Dangerous as volatility_target",
        params=adaptive.AdaptiveSizer(),
        ranges=adaptive.RANGES,
        init=adaptive.init,
        step=adaptive.step,
        fold=adaptive.exposure_fold,
        moves=False,
    ),
}

Problems = Iterator[tuple[str, str]]


def find_sizer(name: str) -> Sizer:
    """The sizer of that name; TrimtabError with the nearest one where there is none."""
    if name in SIZERS:
        return SIZERS[name]
    raise TrimtabError(f"no sizer is named {name!r}{near(name, SIZERS)}; expected one of {', '.join(SIZERS)}")


def sizer_params(use: SizerUse) -> Any:
    """The parameters of a sizer's use; TrimtabError names the one that is not accepted."""
    sizer = find_sizer(use.name)
    return typed(sizer.name, sizer.params, sizer.ranges, use.params)


def name_of(use: RegimeUse) -> str:
    """What budgets and reports call a regime."""
    return use.name or use.regime


def regime_params(use: RegimeUse) -> Any:
    """The parameters of a regime's use; TrimtabError names the one that is not accepted, or what contradicts."""
    regime = table.find(use.regime)
    params = typed(regime.name, regime.params, regime.ranges, use.params)
    regime.warmup(params)
    return params


def sources_of(use: RegimeUse) -> dict[str, str]:
    """Each field of a regime -> the symbol, field or column that it reads; fields that are not named read themselves.

    TrimtabError where a field is named that it has not, or one source is given for several fields.
    """
    regime = table.find(use.regime)
    if isinstance(use.reads, str):
        if use.reads and len(regime.fields) > 1:
            raise TrimtabError(
                f"{regime.name} reads {' and '.join(regime.fields)}: say what each of them is, such as "
                f"{{{', '.join(f'{field}: …' for field in regime.fields)}}}"
            )
        return {field: use.reads or field for field in regime.fields}
    for field in use.reads:
        if field not in regime.fields:
            raise TrimtabError(f"{regime.name} has no field {field!r}; it reads {', '.join(regime.fields)}")
    return {field: use.reads.get(field, field) for field in regime.fields}


def series_of(spec: Spec, there: Collection[str]) -> dict[str, int]:
    """The series that regimes read and that are not there -> ns, the least from a value's date label to its use."""
    found: dict[str, int] = {}
    for use in spec.regimes:
        lags = table.find(use.regime).lags
        for field, source in sources_of(use).items():
            if source not in there and source != field:  # a field that is not said is one of the panel's own
                found[source] = max(found.get(source, 0), lags[field])
    return found


# ---------------------------------------------------------------------------------------------------------------------
# What does not fit
# ---------------------------------------------------------------------------------------------------------------------


def misfits_of_book(spec: Spec) -> Problems:
    """Sizers, regimes and allocators that are not known, are set wrongly, or together break the book.

    ->  (path of a setting, sentence)
    """
    for path, use in _sizers(spec):
        yield from _of_sizer(path, use, spec)
    for k, use in enumerate(spec.regimes):
        yield from _of_regime(f"regimes.{k}", use, spec)
    for path, use in allocators_of(spec):
        yield from _of_allocator(path, use)
    if spec.allocator is not None and len(spec.models) < 2:
        yield (
            "allocator",
            "splits the sum of the budgets over models, and the book has one: put it on the model to split its budget "
            "over its instruments",
        )
    for k, model in enumerate(spec.models):
        if model.allocator is not None and model.sizing != "equal":
            yield (
                f"models.{k}.allocator",
                f"splits the budget over the model's instruments, but sizing is {model.sizing}: leave sizing out",
            )
    named = {name_of(use): use for use in spec.regimes}
    if len(named) < len(spec.regimes):
        twice = [name_of(use) for use in spec.regimes]
        first = next(name for name in twice if twice.count(name) > 1)
        yield "regimes", f"two of them are called {first}: give each a name of its own"
    problems = [*_of_budgets(spec, named)]
    yield from problems
    if not problems:
        yield from _of_sums(spec, named)


def check_book(spec: Spec) -> None:
    """TrimtabError for the first sizer, regime or allocator of a Spec that does not fit."""
    for path, problem in misfits_of_book(spec):
        raise TrimtabError(f"{path}: {problem}")


def _sizers(spec: Spec) -> Iterator[tuple[str, SizerUse]]:
    if spec.sizer is not None:
        yield "sizer", spec.sizer
    for k, model in enumerate(spec.models):
        if model.sizer is not None:
            yield f"models.{k}.sizer", model.sizer


def _of_sizer(path: str, use: SizerUse, spec: Spec) -> Problems:
    try:
        sizer_params(use)
    except TrimtabError as error:
        yield path, str(error)
        return
    if SIZERS[use.name].moves and not spec.rebalance.buffer > 0.0:
        yield (
            path,
            f"{use.name} says another size at every bar, so without a buffer every bar trades: add rebalance: "
            "{buffer: 1%} (share of equity that a size may drift before it is traded)",
        )


def _of_regime(path: str, use: RegimeUse, spec: Spec) -> Problems:
    try:
        regime_params(use)
        sources_of(use)
    except TrimtabError as error:
        yield path, str(error)
    length, grid = TIMEFRAMES.get(use.timeframe, 0), TIMEFRAMES.get(spec.timeframe, 0)
    if not length:
        yield f"{path}.timeframe", f"{use.timeframe!r} is none of {', '.join(TIMEFRAMES)}"
    elif grid and (length < grid or length % grid):
        yield (
            f"{path}.timeframe",
            f"{use.timeframe} does not fit on the book's grid of {spec.timeframe}: expected it or a coarser multiple",
        )


def _of_allocator(path: str, use: AllocatorUse) -> Problems:
    try:
        find_allocator(use.name)
    except TrimtabError as error:
        yield f"{path}.name", str(error)


def _of_budgets(spec: Spec, named: Mapping[str, RegimeUse]) -> Problems:
    for k, model in enumerate(spec.models):
        for name, multipliers in model.regime_budgets.items():
            path = f"models.{k}.regime_budgets.{name}"
            if name not in named:
                known = ", ".join(named) or "none: add it to regimes"
                yield path, f"the book has no regime of this name{near(name, named)}; known: {known}"
                continue
            if named[name].regime in table.REGIMES:
                try:
                    factors_of(table.REGIMES[named[name].regime], multipliers)
                except TrimtabError as error:
                    yield path, str(error)


def _of_sums(spec: Spec, named: Mapping[str, RegimeUse]) -> Problems:
    """Whatever the regimes are, the budgets that are left add up to no more than the book.

    An allocator may give the whole sum to the model whose multiplier is largest.
    """
    used = [name for name in named if any(name in model.regime_budgets for model in spec.models)]
    if not used:
        return
    regimes = [table.REGIMES[named[name].regime] for name in used if named[name].regime in table.REGIMES]
    if len(regimes) < len(used):
        return  # one is not known, which was said
    budgets = np.array([model.budget for model in spec.models])
    for labels in itertools.product(*(range(len(words_of(regime))) for regime in regimes)):
        factors = np.array([_factor(model, used, regimes, labels) for model in spec.models])
        total = math.fsum(budgets) * factors.max() if spec.allocator else math.fsum(budgets * factors)
        if total > 1.0 + BUDGET_ROUNDING:
            words = ", ".join(f"{n} {words_of(r)[k]}" for n, r, k in zip(used, regimes, labels, strict=True))
            parts = " + ".join(
                f"{name} {shortest(float(b * f))}"
                for name, b, f in zip(model_names(spec.models), budgets, factors, strict=True)
            )
            first = next(k for k, model in enumerate(spec.models) if model.regime_budgets)
            yield (
                f"models.{first}.regime_budgets",
                f"while {words}, the budgets add up to {total:.6g} ({parts}); in no regime may they exceed 1: lower "
                "the multipliers or the budgets",
            )
            return


def _factor(model: Model, used: list[str], regimes: list[Regime], labels: tuple[int, ...]) -> float:
    """The product of a model's multipliers for one label of each regime."""
    tables = (factors_of(r, model.regime_budgets.get(name, {})) for name, r in zip(used, regimes, strict=True))
    return math.prod(float(factors[label]) for factors, label in zip(tables, labels, strict=True))


def factor_of(spec: Spec, model: Model, labels: Mapping[str, Any]) -> F64 | None:
    """(T,) what the regimes multiply a model's budget by, for the decision at the close of each row; None: nothing.

    labels  regime's name -> (T,) labels known at the close of each row
    """
    found: F64 | None = None
    for use in spec.regimes:
        multipliers = model.regime_budgets.get(name_of(use))
        if multipliers is not None:
            factor = factors_of(table.find(use.regime), multipliers)[labels[name_of(use)]]
            found = factor if found is None else found * factor
    return found
