"""One row of all units of a model in one compiled call: what an engine takes where a backtest folds (L2).

The States of a model's units are a list that compiled code made and that only compiled code looks into: to hand a State
to compiled code and back costs more than most steps. Like a fold, the call is generated per strategy
(docs/decisions/001-generated-folds.md), around the same `step`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.strategies.folding import generated
from trimtab.types import F64, I64, Strategy

#: A column that stands for the close in ticks.
TICKS: Final = -1

#: What `row` gives back is this or below where unit -1 - n said something that is no finite number.
INFINITE: Final = -1

_LIST: Final = '''"""One row of {name}: written by trimtab.strategies.stepping, safe to delete."""

import numpy as np
from numba import njit
from numba.typed import List

{imports}


@njit(cache=True, nogil=True, error_model="numpy")
def hold(s):
    states = List()
    states.append(s)
    return states


@njit(cache=True, nogil=True, error_model="numpy")
def push(states, s):
    states.append(s)


@njit(cache=True, nogil=True, error_model="numpy")
def take(states, u):
    return states[u]


@njit(cache=True, nogil=True, error_model="numpy")
def put(states, u, s):
    states[u] = s

'''

_ROW: Final = """
@njit(cache=True, nogil=True, error_model="numpy")
def row(p, states, bars, at, columns, ticks, f, w, fresh, last, order, share, every, out, value, n):
    x = gather(bars, at, columns, ticks, fresh)
    f[:] = np.nan
    if not fresh.any():
        return max(n, 0)
    for u in range(at.shape[0]):
        if fresh[u]:
            s, g = step(p, states[u], x[u])
            states[u] = s
            f[u] = g
            if abs(g) == np.inf:
                return -1 - u
            {legs}
    {across}
    return emit{whole}(at, f, w, last, order, share, every, out, value, n) if n >= 0 else 0
"""

_LEGS: Final = """if {wanted}:
                v = legs(p, s, x[u], g)
                for k in range(at.shape[1]):
                    w[u, k] = v[k]
                    if not abs(v[k]) < np.inf:
                        return -1 - u"""

_ACROSS: Final = """v = across(p, f)
    for u in range(at.shape[0]):
        w[u, 0] = v[u]
        if abs(v[u]) == np.inf:
            return -1 - u"""

_SIZES: Final = """
@njit(cache=True, nogil=True, error_model="numpy")
def sizes(p, states, forecast, close, fresh, multiple):
    for u in range(fresh.size):
        if fresh[u]:
            states[u] = fold(p, states[u], forecast[u : u + 1], close[u : u + 1], multiple[u : u + 1])
"""


# ---------------------------------------------------------------------------------------------------------------------
# What every generated row does before and after its steps
# ---------------------------------------------------------------------------------------------------------------------


@inlined
def gather(bars: F64, at: I64, columns: I64, ticks: F64, fresh: Any) -> F64:
    """The rows (U, L, K) of all units, in memory of their own, which a State may keep.

    bars     (N, K') bars of one row; a bar without a close is not there
    at       (U, L) instruments of each unit
    columns  (1 + K,) of the close, then of each field; TICKS: the close in ticks
    ticks    (N,) tick sizes, 0 unknown
    fresh    (U,) out: do all legs have a bar?
    """
    x = np.empty((at.shape[0], at.shape[1], columns.shape[0] - 1))
    for u in range(at.shape[0]):
        there = True
        for leg in range(at.shape[1]):
            i = at[u, leg]
            close = bars[i, columns[0]]
            there &= close == close
            for k in range(1, columns.shape[0]):
                if columns[k] >= 0:
                    x[u, leg, k - 1] = bars[i, columns[k]]
                else:
                    x[u, leg, k - 1] = np.rint(close / ticks[i]) if ticks[i] > 0.0 else close
        fresh[u] = there
    return x


@compiled
def gathered(bars: F64, at: I64, columns: I64, ticks: F64, fresh: Any) -> F64:
    """`gather` for who calls it from Python."""
    return gather(bars, at, columns, ticks, fresh)


@inlined
def emit_whole(
    at: I64, f: F64, w: F64, last: F64, order: I64, share: float, every: bool, out: I64, value: F64, n: int
) -> int:
    """Weights of units whose forecast is new, into out and value from n on; how many there are then.

    order  (U x L,) in which legs are told: numbers u * L + leg
    """
    legs = at.shape[1]
    for o in order:
        u, k = o // legs, o % legs
        if f[u] == f[u] and (f[u] != last[u, 0] or every):
            out[n] = at[u, k]
            value[n] = w[u, k] * share
            n += 1
    for u in range(at.shape[0]):
        if f[u] == f[u]:
            last[u, 0] = f[u]
    return n


@inlined
def emit_each(
    at: I64, f: F64, w: F64, last: F64, order: I64, share: float, every: bool, out: I64, value: F64, n: int
) -> int:
    """Weights of legs that are new, each by itself: of a basket, which moves as a whole only by chance."""
    legs = at.shape[1]
    for o in order:
        u, k = o // legs, o % legs
        if f[u] == f[u] and (w[u, k] != last[u, k] or every):
            out[n] = at[u, k]
            value[n] = w[u, k] * share
            last[u, k] = w[u, k]
            n += 1
    return n


@inlined
def emit_across(
    at: I64, f: F64, w: F64, last: F64, order: I64, share: float, every: bool, out: I64, value: F64, n: int
) -> int:
    """Weights that `across` has changed, also of instruments without a bar; it keeps the others by NaN."""
    legs = at.shape[1]
    for o in order:
        u = o // legs
        if o % legs == 0 and w[u, 0] == w[u, 0] and (w[u, 0] != last[u, 0] or every):
            out[n] = at[u, 0]
            value[n] = w[u, 0] * share
            last[u, 0] = w[u, 0]
            n += 1
    return n


# ---------------------------------------------------------------------------------------------------------------------
# The calls of one strategy, and of one sizer
# ---------------------------------------------------------------------------------------------------------------------


class Steps(NamedTuple):
    """The compiled calls around one `step`.

    hold(s) -> states          a list of one State, in compiled memory; push(states, s) adds the next unit's
    take(states, u) -> s       put(states, u, s)
    row(p, states, bars, at, columns, ticks, f, w, fresh, last, order, share, every, out, value, n) -> n
                               of a strategy: step all units that are fresh (see `gather`); forecasts into f (U,), NaN
                               where there is none, leg weights into w (U, L), and from n on what is new (see `emit_*`);
                               with n = -1 nothing is emitted. INFINITE - u: unit u said what is no finite number
    sizes(p, states, forecast, close, fresh, multiple)
                               of a sizer: multiples (U,) of the units that are fresh
    """

    hold: Callable[..., Any]
    push: Callable[..., None]
    take: Callable[..., Any]
    put: Callable[..., None]
    row: Callable[..., int]
    sizes: Callable[..., None]


def _found(module: ModuleType) -> Steps:
    row, sizes = getattr(module, "row", None), getattr(module, "sizes", None)
    return Steps(module.hold, module.push, module.take, module.put, row, sizes)  # type: ignore[arg-type]


def steps_of(strategy: Strategy) -> Steps:
    """The compiled calls around a strategy, from this process, from the disk cache, or compiled now."""
    module = strategy.step.__module__
    return _found(generated("steps", module, lambda: _text(strategy, module)))


def _text(strategy: Strategy, module: str) -> str:
    whole = "_across" if strategy.across else "_whole" if strategy.n_legs else "_each"
    legged = strategy.legs is not None and strategy.across is None
    # Of a basket each leg is looked at on every row; the legs of a pair are asked for where the forecast is new.
    wanted = "g == g and (g != last[u, 0] or every)" if strategy.n_legs else "g == g"
    legs = _LEGS.format(wanted=wanted) if legged else "w[u, 0] = g"
    names = ["step", *(["legs"] if legged else []), *(["across"] if strategy.across else [])]
    imports = f"from {module} import {', '.join(names)}\nfrom trimtab.strategies.stepping import emit{whole}, gather"
    body = _ROW.format(legs=legs, across=_ACROSS if strategy.across else "", whole=whole)
    return _LIST.format(name=strategy.name, imports=imports) + body


def sizes_of(name: str, fold: Callable[..., Any]) -> Steps:
    """The compiled calls around a sizer, by its name and its fold."""
    imports = f"from {fold.__module__} import {fold.__name__} as fold"
    return _found(
        generated(f"sizes_{name}", fold.__module__, lambda: _LIST.format(name=name, imports=imports) + _SIZES)
    )


def held(steps: Steps, states: Sequence[Any]) -> Any:
    """States, one or more, in compiled memory."""
    found = steps.hold(states[0])
    for s in states[1:]:
        steps.push(found, s)
    return found
