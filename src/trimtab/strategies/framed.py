"""Frame strategies: a forecast that is a function of a Polars frame is an indicator, and a step that passes it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from trimtab.strategies.folding import generated
from trimtab.types import TIMEFRAMES, Indicator, Strategy, TrimtabError

#: How the names of modules begin that hold the step of frame strategies.
MODULE: Final = "trimtab_framed_"

#: What the indicator of a frame strategy is called.
FORECAST: Final = "forecast"

#: Compiled code that meets a user's Params is kept with the user's module, as that of every other strategy is.
_TEXT: Final = '''"""The step of frame strategies of {module}: written by trimtab.strategies.framed, safe to delete."""

from trimtab.kernels.compiled import compiled, inlined
from trimtab.strategies.framed import State


@compiled
def init(p):
    return State(0)


@inlined
def step(p, s, x):
    return State(s.rows + 1), x[0, 0]
'''


class Fixed(NamedTuple):
    """The Params of a strategy that has none: one that nothing reads."""

    nothing: int = 0


class State(NamedTuple):
    """rows read."""

    rows: int


def frame_strategy(
    *,
    name: str,
    forecast: Callable[..., Any],
    fields: tuple[str, ...],
    warmup: int | Callable[..., int],
    params: Any = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    version: str = "1",
    asset_classes: tuple[str, ...] = (),
    timeframes: tuple[str, ...] = tuple(TIMEFRAMES),
) -> Strategy:
    """A strategy whose forecast is a function of a Polars frame of each instrument's rows.

    forecast(p, frame)  -> an expression, or a Series as long as the frame, in [-1, 1]; null abstains. See `Indicator`
    fields              the columns of the frame beside `ts`
    warmup              rows before the first forecast, a number or a function of Params; what the function remembers
                        must be gone by then
    params, ranges      a NamedTuple of defaults, and what is searched and accepted; None: there are none

    TrimtabError where `forecast` is no function of a module.
    """
    module = getattr(forecast, "__module__", None)
    if not callable(forecast) or not isinstance(module, str):
        raise TrimtabError(f"frame_strategy {name}: forecast is {forecast!r}; expected a function forecast(p, frame)")
    compiled = generated("framed", module, lambda: _TEXT.format(module=module))

    def rows(p: Any) -> int:
        return warmup(p) if callable(warmup) else warmup

    return Strategy(
        name=name,
        fields=(FORECAST,),
        params=Fixed() if params is None else params,
        ranges=ranges or {},
        init=compiled.init,
        step=compiled.step,
        warmup=rows,
        version=version,
        asset_classes=asset_classes,
        timeframes=timeframes,
        indicators=(Indicator(FORECAST, forecast, fields, warmup),),
    )


def home_of(strategy: Strategy) -> str:
    """The module that a strategy was written in."""
    module = strategy.step.__module__
    return strategy.indicators[0].make.__module__ if module.startswith(MODULE) else module
