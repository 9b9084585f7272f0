"""What the settings of a run may be, and which of them contradict each other (L0): one table for files and programs.

`app` reads settings files by it and says a fault with the line and the path of its key; `check` says it of a Spec that
a program made, with the name of the argument.
"""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.types import TIFS, TIMEFRAMES, Costs, Execution, Limits, Model, Spec, Strategy, TrimtabError
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


#: Path of a setting -> the numbers that it may be, in the unit of its noun (fractions, seconds).
RANGES: Final[Mapping[str, Bounds]] = {
    "capital": Bounds(0.0, 1e15, low_open=True),
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
    "limits.gross_leverage": Bounds(0.0, low_open=True, infinite=True),
    "limits.max_weight": Bounds(0.0, low_open=True, infinite=True),
    "limits.drawdown_derisk": _share(low_open=True, infinite=True),
    "limits.derisk_factor": _share(),
    "limits.drawdown_halt": _share(low_open=True, high_open=False, infinite=True),
    "limits.stop_loss": _share(low_open=True, infinite=True),
    "limits.take_profit": Bounds(0.0, low_open=True, infinite=True),
    "limits.trailing_stop": _share(low_open=True, infinite=True),
    "execution.offset": Bounds(-1.0, 1.0, low_open=True, high_open=True),
    "rebalance.buffer": _share(),
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


def contradictions(budgets: Iterable[float], limits: Limits, execution: Execution) -> Iterator[tuple[str, str]]:
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
    gross, weight = limits.gross_leverage, limits.max_weight
    if gross < weight < math.inf:
        yield (
            "limits.max_weight",
            f"{shortest(weight)} in one instrument can never be reached: gross_leverage allows {shortest(gross)} in "
            "all; lower max_weight or raise gross_leverage",
        )
    derisk, halt = limits.drawdown_derisk, limits.drawdown_halt
    if halt <= derisk < math.inf:
        yield (
            "limits.drawdown_derisk",
            f"de-risking at a drawdown of {shortest(derisk)} never happens: the book is halted at drawdown_halt = "
            f"{shortest(halt)}; put drawdown_derisk below it",
        )
    yield from _of_execution(execution)


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
    if count % legs:
        yield (
            "universe",
            f"{strategy.name} trades {legs} legs at a time, so its universe needs a multiple of {legs} instruments, "
            f"its legs in order; it has {count}",
        )


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
    for path, problem in contradictions(budgets, spec.limits, spec.execution):
        raise TrimtabError(f"{path}: {problem}")


def _settings(spec: Spec, costs: Iterable[Costs]) -> Iterator[tuple[str, str, Any]]:
    """Path, key in the tables, and value of every setting, the costs of each instrument among them."""
    nouns: list[tuple[str, dict[str, Any]]] = [
        ("", msgspec.structs.asdict(spec)),
        *((f"models.{k}.", msgspec.structs.asdict(model)) for k, model in enumerate(spec.models)),
        *(("costs.", each._asdict()) for each in dict.fromkeys(costs)),
        ("limits.", spec.limits._asdict()),
        ("execution.", msgspec.structs.asdict(spec.execution)),
        ("rebalance.", msgspec.structs.asdict(spec.rebalance)),
    ]
    for prefix, values in nouns:
        section = "models." if prefix.startswith("models.") else prefix
        for name, value in values.items():
            yield prefix + name, section + name, value


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
    number = value.item() if isinstance(value, np.generic) else value
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
