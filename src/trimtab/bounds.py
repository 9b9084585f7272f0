"""What the settings of a run may be, and which of them contradict each other (L0): one table for files and programs.

`app` reads settings files by it and says a fault with the line and the path of its key; `check` says it of a Spec that
a program made, with the name of the argument.
"""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.types import (
    TIFS,
    TIMEFRAMES,
    AllocatorUse,
    Caps,
    Costs,
    Execution,
    Limits,
    Model,
    SizerUse,
    Spec,
    Strategy,
    TrimtabError,
)
from trimtab.words import near, shortest

#: Budgets may exceed 1 together by rounding only.
BUDGET_ROUNDING: Final = 1e-9


class Bounds(NamedTuple):
    """The numbers that are accepted: from low to high, each end itself left out where it is open.

    infinite  inf is accepted as well and means that there is no limit
    whole     whole numbers only
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    infinite: bool = False
    whole: bool = False


def _share(*, low_open: bool = False, high_open: bool = True, infinite: bool = False) -> Bounds:
    return Bounds(0.0, 1.0, low_open, high_open, infinite)


_CEILING: Final = Bounds(0.0, low_open=True, infinite=True)  # anything above 0, or no limit
_CAP: Final = Bounds(0.0, infinite=True)  # a cap of 0 keeps a whole kind out

#: Path of a setting -> the numbers that it may be, in the unit of its noun (fractions, seconds); where a setting is a
#: mapping or a list, of each number in it.
RANGES: Final[Mapping[str, Bounds]] = {
    "capital": Bounds(0.0, 1e15, low_open=True),
    "capital.*": Bounds(0.0, 1e15),  # by wallet: one may begin empty
    "cash_flows.amount": Bounds(-1e15, 1e15),
    "rules.bound": Bounds(-1e15, 1e15),
    "fx.*": Bounds(0.0, 1e15, low_open=True),
    "risk_free_rate": Bounds(-1.0, 1.0, low_open=True, high_open=True),
    "seed": Bounds(0, 2**63 - 1, whole=True),
    "models.budget": _share(low_open=True, high_open=False),
    "costs.maker_fee": Bounds(-1.0, 1.0, low_open=True, high_open=True),  # negative: a rebate
    "costs.taker_fee": _share(),
    "costs.half_spread": _share(),
    "costs.vol_spread": Bounds(0.0, 100.0),
    "costs.slippage": _share(),
    "costs.impact": Bounds(0.0, 100.0),
    "costs.impact_power": Bounds(0.0, 5.0),
    "costs.latency": Bounds(0.0, 7 * 86400.0),
    "costs.participation": _share(low_open=True, high_open=False, infinite=True),
    "costs.reject": _share(high_open=False),
    "costs.funding": Bounds(-1.0, 1.0, low_open=True, high_open=True),  # negative: shorts pay longs
    "costs.borrow": Bounds(0.0, 100.0),
    "costs.margin_interest": Bounds(0.0, 100.0),
    "costs.liquidation": _share(),
    "limits.gross_leverage": _CEILING,
    "limits.max_weight": _CEILING,
    "limits.drawdown_derisk": _share(low_open=True, infinite=True),
    "limits.derisk_factor": _share(),
    "limits.drawdown_halt": _share(low_open=True, high_open=False, infinite=True),
    "limits.stop_loss": _share(low_open=True, infinite=True),
    "limits.take_profit": _CEILING,
    "limits.trailing_stop": _share(low_open=True, infinite=True),
    "limits.daily_loss": _share(low_open=True, high_open=False, infinite=True),
    "limits.weekly_loss": _share(low_open=True, high_open=False, infinite=True),
    "limits.stale": _CEILING,
    "limits.order_notional": _CEILING,
    "limits.collar": _share(low_open=True, infinite=True),
    "limits.max_holding": _CEILING,
    "limits.concentration": _share(low_open=True, high_open=False, infinite=True),
    "limits.net_exposure": _CEILING,
    "limits.heat": _CEILING,
    "limits.group_gross": _CEILING,
    "limits.group_correlation": _share(),
    "limits.unusual_vol": _CEILING,
    "limits.unusual_gap": _CEILING,
    "limits.unusual_spread": _CEILING,
    "caps.asset_classes": _CAP,
    "caps.venues": _CAP,
    "caps.models": _CAP,
    "execution.offset": Bounds(-1.0, 1.0, low_open=True, high_open=True),
    "rebalance.buffer": _share(),
    "rebalance.min_trade": _share(),
    "rebalance.every": Bounds(0.0, 3_660 * 86_400.0),
    "allocator.window": Bounds(5, 5_000, whole=True),
    "allocator.every": Bounds(60.0, 3_660 * 86_400.0),
}

#: Path of a setting -> the words that it may be.
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "volume": ("require", "ignore"),
    "models.sizing": ("equal", "fixed"),
    "execution.kind": ("MARKET", "LIMIT"),
    "execution.tif": TIFS,
    "rebalance.when": ("on_change", "always"),
}


def inside(bounds: Bounds, value: float) -> bool:
    """Is the value accepted? NaN never is, and infinity only where it means that there is no limit."""
    if math.isinf(value):
        return bounds.infinite and value > 0.0
    above = value > bounds.low if bounds.low_open else value >= bounds.low
    return above and (value < bounds.high if bounds.high_open else value <= bounds.high)


def told(bounds: Bounds, unit: str = "") -> str:
    """`above 0 and below 1, or inf for no limit`, as the end of a sentence; nothing where any number will do."""
    ends: list[str] = []
    if bounds.low > -math.inf:
        ends.append(("above " if bounds.low_open else "at least ") + shortest(bounds.low))
    if bounds.high < math.inf:
        ends.append(("below " if bounds.high_open else "at most ") + shortest(bounds.high))
    parts = [" and ".join(ends) + unit] if ends else []
    return ", ".join([*parts, "or inf for no limit"] if bounds.infinite else parts)


def contradictions(
    budgets: Iterable[float], limits: Limits, caps: Caps, execution: Execution
) -> Iterator[tuple[str, str]]:
    """What no single value can tell, as (path of a setting, sentence): the first makes the second meaningless."""
    given = tuple(budgets)
    total = math.fsum(given)
    if total > 1.0 + BUDGET_ROUNDING:
        listed = " + ".join(shortest(budget) for budget in given)
        yield (
            "models",
            f"the budgets add up to {total:.6g} ({listed}); together they may not exceed 1: lower them, "
            "and use limits.gross_leverage and a model's own weights for leverage",
        )
    yield from _out_of_reach(limits, caps)
    halt = limits.drawdown_halt
    for name, what in (
        ("drawdown_derisk", "de-risking at a drawdown"),
        ("daily_loss", "closing the book for the day at a loss"),
        ("weekly_loss", "closing the book for the week at a loss"),
    ):
        trigger = getattr(limits, name)
        if halt <= trigger < math.inf:
            yield (
                f"limits.{name}",
                f"{what} of {shortest(trigger)} never happens: the book is halted at drawdown_halt = "
                f"{shortest(halt)}; put {name} below it",
            )
    yield from _of_execution(execution)


def _out_of_reach(limits: Limits, caps: Caps) -> Iterator[tuple[str, str]]:
    """Parts of the book that may be larger than the whole."""
    gross = limits.gross_leverage
    parts = [
        ("limits.max_weight", "in one instrument", limits.max_weight),
        ("limits.net_exposure", "of net exposure", limits.net_exposure),
        ("limits.group_gross", "in one group", limits.group_gross),
    ]
    for section, named in msgspec.structs.asdict(caps).items():
        parts += [(f"caps.{section}.{name}", f"in {name}", most) for name, most in named.items()]
    for path, where, most in parts:
        if gross < most < math.inf:
            name = path.partition(".")[2]
            yield (
                path,
                f"{shortest(most)} {where} can never be reached: gross_leverage allows {shortest(gross)} in all; lower "
                f"{name} or raise gross_leverage",
            )


def strangers(caps: Caps, **known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Caps of what is not in the book, as (path of a setting, sentence); a cap with a wrong name would cap nothing.

    known   per section of the caps the names that there are; sections that are left out are not looked at
    """
    for section, names in known.items():
        there = list(names)
        for name in getattr(caps, section):
            if name != ALL and name not in there:
                yield (
                    f"caps.{section}.{name}",
                    f"there is no such name{near(name, there)}; known here: {', '.join(there)}, and {ALL} for all that "
                    "are not named",
                )


#: The name of a cap that stands for everything that is not named, each by itself.
ALL: Final = "*"


def model_names(models: Iterable[Model]) -> tuple[str, ...]:
    """A name per model: its own, else its strategy's; numbered where two would be the same."""
    given = [model.name or Path(model.strategy).stem for model in models]
    return tuple(
        f"{name}_{given[:k].count(name) + 1}" if given.count(name) > 1 else name for k, name in enumerate(given)
    )


def _of_execution(sent: Execution) -> Iterator[tuple[str, str]]:
    """Settings of a limit order mean nothing for a market order, and a resting order cannot be immediate."""
    if sent.kind == "MARKET" and sent.offset:
        yield "execution.offset", "a MARKET order has no limit price to offset; set execution.kind to LIMIT"
    if sent.kind == "MARKET" and sent.post_only:
        yield "execution.post_only", "a MARKET order always takes; set execution.kind to LIMIT"
    if sent.kind == "LIMIT" and sent.post_only and sent.tif in ("IOC", "FOK"):
        yield "execution.tif", f"{sent.tif} fills at once or never, post_only never at once; choose GTC or DAY"
    if sent.kind == "LIMIT" and sent.post_only and sent.offset < 0:
        yield "execution.offset", "a negative offset prices through the market and post_only forbids that"


def misfits(
    model: Model, strategy: Strategy | None, universe: Sequence[str], timeframe: str
) -> Iterator[tuple[str, str]]:
    """Where a model does not fit its book or its strategy, as (key of the model, sentence).

    universe, timeframe  the book's; what is empty there or in the model is not known yet and fits
    strategy             None: not known
    """
    for i, symbol in enumerate(model.universe):
        if universe and symbol and symbol not in universe:
            meant, known = near(symbol, universe), ", ".join(universe)
            yield f"universe.{i}", f"{symbol} is not in the book's universe{meant}; the book has: {known}"
    for problem in repeats(model.universe):
        yield "universe", problem
    own = model.timeframe
    length, grid = TIMEFRAMES.get(own, 0), TIMEFRAMES.get(timeframe, 0)
    if length and grid and (length < grid or length % grid):
        yield (
            "timeframe",
            f"{own} does not fit on the book's grid of {timeframe}: a model's timeframe is equal to it or a coarser "
            "multiple; set `timeframe:` of the book to the finest of its models",
        )
    if strategy is None:
        return
    at = own or timeframe
    if at and at not in strategy.timeframes:
        yield "timeframe", f"{strategy.name} is not made for {at}; it works on {', '.join(strategy.timeframes)}"
    count, legs = len(model.universe or universe), strategy.n_legs
    if not legs and count < 2:
        yield "universe", f"{strategy.name} trades its instruments together and needs 2 or more; it has {count}"
    elif legs and count % legs:
        yield (
            "universe",
            f"{strategy.name} trades {legs} legs at a time, so its universe needs a multiple of {legs} instruments, "
            f"its legs in order; it has {count}",
        )
    if model.allocator is not None and (what := _whole(strategy, count)):
        yield (
            "allocator",
            f"splits a budget over instruments, and this model {what}: leave it out, or put one on the book, to split "
            "the budgets over its models",
        )


def _whole(strategy: Strategy, count: int) -> str:
    """Why a model's budget cannot be split over its instruments; empty: it can."""
    if strategy.n_legs != 1:
        return "trades pairs or baskets"
    if strategy.across is not None:
        return "splits its budget itself"
    return "has one instrument" if count == 1 else ""


def repeats(universe: Sequence[str]) -> Iterator[str]:
    """A sentence for each instrument that is listed more than once."""
    for symbol, times in Counter(universe).items():
        if symbol and times > 1:
            yield f"{symbol} is listed {times} times; list each instrument once"


def check(spec: Spec, costs: Iterable[Costs]) -> None:
    """TrimtabError for the first setting of a Spec, or of the costs it stands for, that is not accepted."""
    for path, key, value in _settings(spec, costs):
        if key in RANGES:
            _check_number(path, value, RANGES[key])
        elif value not in WORDS.get(key, (value,)):
            raise TrimtabError(f"{path} is {value!r}: expected one of {', '.join(WORDS[key])}")
    budgets = [model.budget for model in spec.models]
    for path, problem in contradictions(budgets, spec.limits, spec.caps, spec.execution):
        raise TrimtabError(f"{path}: {problem}")
    for path, problem in strangers(spec.caps, models=model_names(spec.models)):
        raise TrimtabError(f"{path}: {problem}")


def _settings(spec: Spec, costs: Iterable[Costs]) -> Iterator[tuple[str, str, Any]]:
    """Path, key in the tables, and value of every setting, the costs of each instrument among them."""
    nouns: list[tuple[str, dict[str, Any]]] = [
        ("", msgspec.structs.asdict(spec)),
        *((f"models.{k}.", msgspec.structs.asdict(model)) for k, model in enumerate(spec.models)),
        *((f"cash_flows.{k}.", msgspec.structs.asdict(flow)) for k, flow in enumerate(spec.cash_flows)),
        *((f"rules.{k}.", msgspec.structs.asdict(use)) for k, use in enumerate(spec.rules)),
        *(("costs.", each._asdict()) for each in dict.fromkeys(costs)),
        ("limits.", spec.limits._asdict()),
        ("execution.", msgspec.structs.asdict(spec.execution)),
        ("rebalance.", msgspec.structs.asdict(spec.rebalance)),
        *((f"{path}.", msgspec.structs.asdict(use)) for path, use in allocators_of(spec)),
    ]
    for prefix, values in nouns:
        section = "allocator." if prefix.endswith("allocator.") else prefix.partition(".")[0] + "." if prefix else ""
        for name, value in values.items():
            if not isinstance(value, dict):
                yield prefix + name, section + name, value
    for key, named in (("capital", spec.capital), ("fx", spec.fx)):
        if isinstance(named, dict):
            yield from ((f"{key}.{name}", f"{key}.*", v) for name, v in named.items() if not isinstance(v, str))
    for section, named in msgspec.structs.asdict(spec.caps).items():
        yield from ((f"caps.{section}.{name}", f"caps.{section}", most) for name, most in named.items())


def sizer_of(spec: Spec, model: Model) -> SizerUse | None:
    """The sizer of a model: its own, else the book's."""
    return model.sizer or spec.sizer


def is_plain(spec: Spec, model: Model) -> bool:
    """Is a model's weight its forecast times its share of the book, and nothing else?"""
    again = spec.rebalance
    return (
        sizer_of(spec, model) is None
        and not model.regime_budgets
        and model.allocator is None
        and spec.allocator is None
        and again.min_trade == 0.0
        and again.every == 0.0
    )


def allocators_of(spec: Spec) -> Iterator[tuple[str, AllocatorUse]]:
    """The allocators of a book and of its models, each with the path of its setting."""
    if spec.allocator is not None:
        yield "allocator", spec.allocator
    for k, model in enumerate(spec.models):
        if model.allocator is not None:
            yield f"models.{k}.allocator", model.allocator


def _check_number(path: str, value: Any, bounds: Bounds) -> None:
    kind = numbers.Integral if bounds.whole else numbers.Real
    number = not isinstance(value, bool) and isinstance(value, kind)
    if not number or not inside(bounds, float(value)):
        shown = shortest(value) if isinstance(value, float) else repr(value)
        what = "a whole number" if bounds.whole else "a number"
        raise TrimtabError(f"{path} is {shown}: expected {what} {told(bounds)}")


def typed(owner: str, defaults: Any, ranges: Mapping[str, tuple[float, float]], given: Mapping[str, Any]) -> Any:
    """The NamedTuple of defaults with the given values, each checked for name, type and range.

    An integral float stands for an int, an int for a float; nothing else is converted. Compiled code is typed by the
    defaults, so every value gets its default's type. TrimtabError names the owner's parameter that is not accepted.
    """
    known = defaults._fields
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            expected = ", ".join(known) or "none"
            raise TrimtabError(
                f"{owner}: no parameter is named {name!r}{near(name, known)}; its parameters: {expected}."
            )
        values[name] = _typed(f"{owner}.{name}", getattr(defaults, name), ranges.get(name), value)
    return defaults._replace(**values)


def _typed(where: str, default: Any, limits: tuple[float, float] | None, value: Any) -> bool | int | float:
    number: Any = value.item() if isinstance(value, np.generic) else value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(default, bool):
        if isinstance(number, bool):
            return number
        raise TrimtabError(f"{where}: expected true or false, got {value!r}.")
    kind = "a whole number" if isinstance(default, int) else "a number"
    if isinstance(number, bool) or not isinstance(number, int | float) or math.isnan(number):
        raise TrimtabError(f"{where}: expected {kind}, got {value!r}.")
    if isinstance(default, int) and not float(number).is_integer():
        raise TrimtabError(f"{where}: expected {kind}, got {value!r}.")
    low, high = limits or (-math.inf, math.inf)
    if not low <= number <= high:
        raise TrimtabError(f"{where}: expected {kind} from {low:g} to {high:g}, got {value!r}.")
    return int(number) if isinstance(default, int) else float(number)
