"""Folding a strategy over its rows: the loop is written once and compiled per strategy (design §5).

numba caches a compiled loop on disk only if the step it calls is a global of a real module. So each strategy gets a
small module of its own in the cache folder: this text with the strategy's names imported into it. A user's file is
treated like a built-in one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.compiled import cache_folder, point_cache
from trimtab.strategies.fitting import (
    Memory,
    advanced,
    begin,
    due,
    every_of,
    refitted,
    segments,
    window_at,
    window_of,
)
from trimtab.strategies.indicators import Origin, no_past, with_indicators
from trimtab.types import F64, I64, Refusal, Strategy, TrimtabError

#: Rows are fetched 512 ahead: across pages, which the processor does not do by itself. In memory that is half the time.
_HEAD: Final = '''"""Compiled folds of {name}: written by trimtab.strategies.folding, safe to delete."""

from numba import njit

from {module} import {names}
from trimtab.compiled.prefetch import prefetch


@njit(cache=True, nogil=True, error_model="numpy")
def start(p):
    return init(p)


@njit(cache=True, nogil=True, error_model="numpy")
def dense(p, s, x, out):
    for t in range(x.shape[0]):
        prefetch(x, t + 512, 0)
        s, f = step(p, s, x[t])
        out[t] = f
    return s

'''

#: One test per row: a forecast that differs. Where all are wanted, a second loop says so instead of a second test.
_SINGLE: Final = """
@njit(cache=True, nogil=True, error_model="numpy")
def {loop}(p, s, x, last, row, leg, value):
    n = 0
    for t in range(x.shape[0]):
        prefetch(x, t + 512, 0)
        s, f = step(p, s, x[t])
        if {wanted}:
            if f == f:
                row[n] = t
                leg[n] = 0
                value[n] = f
                n += 1
                last = f
    return s, last, n
"""

_LEGS: Final = """
@njit(cache=True, nogil=True, error_model="numpy")
def {loop}(p, s, x, last, row, leg, value):
    n = 0
    for t in range(x.shape[0]):
        prefetch(x, t + 512, 0)
        s, f = step(p, s, x[t])
        if {wanted}:
            if f == f:
                w = legs(p, s, x[t], f)
                for k in range(x.shape[1]):
                    row[n] = t
                    leg[n] = k
                    value[n] = w[k]
                    n += 1
                last = f
    return s, last, n
"""

#: Of a basket each leg has its own last weight: one may move while what all of them add up to stands still.
_BASKET: Final = """
@njit(cache=True, nogil=True, error_model="numpy")
def {loop}(p, s, x, last, row, leg, value):
    n = 0
    for t in range(x.shape[0]):
        prefetch(x, t + 512, 0)
        s, f = step(p, s, x[t])
        if f == f:
            w = legs(p, s, x[t], f)
            for k in range(x.shape[1]):
                if {wanted}:
                    row[n] = t
                    leg[n] = k
                    value[n] = w[k]
                    n += 1
                    last[k] = w[k]
    return s, last, n
"""

_ACROSS: Final = """
@njit(cache=True, nogil=True, error_model="numpy")
def spread(p, f, last, every, row, leg, value):
    n = 0
    for t in range(f.shape[0]):
        w = across(p, f[t])
        for k in range(f.shape[1]):
            if w[k] == w[k] and (w[k] != last[k] or every):
                row[n] = t
                leg[n] = k
                value[n] = w[k]
                n += 1
                last[k] = w[k]
    return n
"""


class Folds(NamedTuple):
    """The compiled loops of one strategy; `legs` and `across` strategies have the matching one.

    start(p) -> s
    dense(p, s, x, out) -> s                  a forecast for every row of x (R, L, K)
    fold(p, s, x, last, row, leg, value) -> (s, last, n)          the n forecasts that are new; last is the one before,
                                                                  of a basket (n_legs 0) the leg weights (L,) before
    fold_all(p, s, x, last, row, leg, value) -> (s, last, n)      all n forecasts, new or not
    spread(p, f, last, every, row, leg, value) -> n               across over forecasts (R, N)
    """

    start: Callable[..., Any]
    dense: Callable[..., Any]
    fold: Callable[..., Any]
    fold_all: Callable[..., Any]
    spread: Callable[..., Any] | None


def _text(strategy: Strategy, module: str) -> str:
    names = ["init", "step", *(["legs"] if strategy.legs else []), *(["across"] if strategy.across else [])]
    text = _HEAD.format(name=strategy.name, module=module, names=", ".join(names))
    body, new = (_LEGS if strategy.legs else _SINGLE, "f != last") if strategy.n_legs else (_BASKET, "w[k] != last[k]")
    text += body.format(loop="fold", wanted=new) + "\n" + body.format(loop="fold_all", wanted="True")
    if strategy.across:
        text += "\n" + _ACROSS
    return text


def _write_once(path: Path, text: str) -> None:
    """Whole or not at all, also when several processes write the same file; an equal file keeps its time stamp."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(fd, "w") as file:
        file.write(text)
    os.replace(temporary, path)


_making: Final = threading.RLock()


def generated(kind: str, module: str, text: Callable[[], str]) -> ModuleType:
    """A module of the cache folder that holds a generated text: of this process, else written and imported.

    kind    what the text does, such as `folds`; module: the one that the text imports from
    """
    name = f"trimtab_{kind}_{module.replace('.', '_')}"
    with _making:  # a module stands in sys.modules before it is whole, and another thread must not take it
        found = sys.modules.get(name)
        return found if found is not None else _made(kind, name, module, text)


def _made(kind: str, name: str, module: str, text: Callable[[], str]) -> ModuleType:
    if module not in sys.modules:
        raise TrimtabError(f"{module!r} is not imported, so nothing can be compiled around it")
    point_cache()
    path = cache_folder() / kind / f"{name}.py"
    _write_once(path, text())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TrimtabError(f"cannot load {path}: remove the folder and try again")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[name]
        raise
    return loaded


_loaded: dict[str, Folds] = {}


def folds_of(strategy: Strategy) -> Folds:
    """The compiled loops of a strategy, from this process, from the disk cache, or compiled now."""
    module = strategy.step.__module__
    found = _loaded.get(module)
    if found is None:
        loaded = generated("folds", module, lambda: _text(strategy, module))
        spread = getattr(loaded, "spread", None)
        found = _loaded[module] = Folds(loaded.start, loaded.dense, loaded.fold, loaded.fold_all, spread)
    return found


class Decisions(NamedTuple):
    """New forecasts of one unit (instrument, pair or basket) or of one across model, in row order; arrays (E,)."""

    row: I64  # row of the model's own rows
    leg: I64
    value: F64
    refused: tuple[Refusal, ...] = ()  # windows that the strategy's fit refused


def memory_of(strategy: Strategy, params: Any, legs: int) -> Memory:
    """The memory of a unit before its first row."""
    return begin(folds_of(strategy).start(params), legs, len(strategy.fields), no_past(strategy, legs))


def nothing_before(strategy: Strategy, legs: int) -> Any:
    """What a fold compares its first forecast with: nothing equals it."""
    return np.nan if strategy.n_legs else np.full(legs, np.nan)


#: Of rows of which nothing is said: enough for a strategy without indicators.
UNSAID: Final = Origin()


def _seen(
    strategy: Strategy, params: Any, memory: Memory, ts: I64 | None, x: F64, origin: Origin
) -> tuple[Memory, F64]:
    """Rows as `step` reads them, with the indicators of the strategy; the memory after them, but for State and fit."""
    if not strategy.indicators:
        return memory, x
    if ts is None:
        raise TrimtabError(f"strategy {strategy.name} has indicators: folding it needs the instants of its rows")
    seen, past = with_indicators(strategy, params, origin, memory.past, ts, x)
    return memory._replace(past=past), seen


def _in_segments(
    strategy: Strategy,
    params: Any,
    memory: Memory,
    ts: I64 | None,
    x: F64,
    timeframe: str,
    loop: Callable[[Any, int, int], Any],
) -> tuple[Memory, tuple[Refusal, ...]]:
    """Call loop(state, first, end) -> state from fit to fit; without a fit, once."""
    fit = strategy.fit
    if fit is None:
        return memory._replace(state=loop(memory.state, 0, len(x))), ()
    if ts is None:
        raise TrimtabError(f"strategy {strategy.name} has a fit: folding it needs the instants of its rows")
    window = window_of(strategy, params)
    state, refused = memory.state, list[Refusal]()
    at = due(memory, ts, every_of(strategy, params, timeframe), window)
    for first, end, fits in segments(memory, ts, at):
        if fits:
            state, refusal = refitted(strategy, fit, params, state, window_at(memory, x, first, window), int(ts[first]))
            refused.extend([refusal] if refusal else [])
        state = loop(state, first, end)
    return advanced(memory, state, ts, x, window), tuple(refused)


def resume(
    strategy: Strategy,
    params: Any,
    memory: Memory,
    last: Any,
    ts: I64 | None,
    x: F64,
    every: bool,
    origin: Origin = UNSAID,
) -> tuple[Decisions, Memory, Any]:
    """Fold further rows of one unit: what is new, the memory after them, and the last forecast (weights, of a basket).

    ts      (R,) close instants, increasing; only a strategy with a fit or indicators reads them
    x       (R, L, K) of `Strategy.reads`
    last    what the fold before gave back, or `nothing_before`
    origin  what the rows are of; a strategy with indicators needs its timeframe

    A memory that went in must not be used again.
    """
    memory, x = _seen(strategy, params, memory, ts, x, origin)
    size = x.shape[0] * x.shape[1]
    row, leg, value = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    folds = folds_of(strategy)
    fold = folds.fold_all if every else folds.fold
    used = 0

    def loop(state: Any, first: int, end: int) -> Any:
        nonlocal last, used
        state, last, n = fold(params, state, x[first:end], last, row[used:], leg[used:], value[used:])
        row[used : used + n] += first
        used += n
        return state

    memory, refused = _in_segments(strategy, params, memory, ts, x, origin.timeframe, loop)
    return Decisions(row[:used], leg[:used], value[:used], refused), memory, last


def resume_dense(
    strategy: Strategy, params: Any, memory: Memory, ts: I64 | None, x: F64, out: F64, origin: Origin = UNSAID
) -> tuple[Memory, tuple[Refusal, ...]]:
    """Fold further rows of one unit into out (R,), the forecast of every row; NaN abstains. See `resume`."""
    dense = folds_of(strategy).dense
    memory, x = _seen(strategy, params, memory, ts, x, origin)

    def loop(state: Any, first: int, end: int) -> Any:
        return dense(params, state, x[first:end], out[first:end])

    return _in_segments(strategy, params, memory, ts, x, origin.timeframe, loop)


def decisions(
    strategy: Strategy, params: Any, x: F64, every: bool, ts: I64 | None = None, origin: Origin = UNSAID
) -> Decisions:
    """Fold a strategy over all rows of one unit: x (R, L, K) -> the forecasts (leg weights, for L > 1) that are new.

    ts, origin  close instants (R,), which a strategy with a fit needs; one with indicators needs both, see `resume`
    """
    legs = x.shape[1]
    memory, last = memory_of(strategy, params, legs), nothing_before(strategy, legs)
    made, _, _ = resume(strategy, params, memory, last, ts, x, every, origin)
    return made


def forecasts(strategy: Strategy, params: Any, x: F64, ts: I64 | None = None, origin: Origin = UNSAID) -> F64:
    """Every forecast of one unit: x (R, L, K), ts and origin as `decisions` -> (R,); NaN abstains."""
    out = np.full(x.shape[0], np.nan)
    resume_dense(strategy, params, memory_of(strategy, params, x.shape[1]), ts, x, out, origin)
    return out


def spread(strategy: Strategy, params: Any, forecast: F64, every: bool) -> Decisions:
    """Run a strategy's `across` over forecasts (R, N): the weights that are new."""
    across = folds_of(strategy).spread
    if across is None:
        raise TrimtabError(f"strategy {strategy.name} has no across")
    size = forecast.size
    row, leg, value = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    n = across(params, forecast, np.full(forecast.shape[1], np.nan), every, row, leg, value)
    return Decisions(row[:n], leg[:n], value[:n])
