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
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.compiled import cache_folder, point_cache
from trimtab.types import F64, I64, Strategy, TrimtabError

_HEAD: Final = '''"""Compiled folds of {name}: written by trimtab.sim.fold, safe to delete."""

from numba import njit

from {module} import {names}


@njit(cache=True, nogil=True, error_model="numpy")
def start(p):
    return init(p)


@njit(cache=True, nogil=True, error_model="numpy")
def dense(p, s, x, out):
    for t in range(x.shape[0]):
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

_SWEEP: Final = """
@njit(cache=True, nogil=True, error_model="numpy")
def sweep(sets, x, index, share, start_book, book, log, market, weights, setup, periods, rate, out):
    for c in range(sets.shape[0]):
        p = Params({values})
        s, last, n = fold(p, init(p), x, np.nan, weights.row, weights.model, weights.value)
        for e in range(n):
            weights.row[e] = index[weights.row[e]]
            weights.model[e] = 0
            weights.value[e] *= share
        restart(start_book, book)
        events = Weights(weights.row[:n], weights.model[:n], weights.instrument[:n], weights.value[:n])
        t = np.int64(0)  # a literal 0 would compile the driver once more
        while t < market.ts.shape[0]:
            log.used[:] = 0
            t = run(book, log, market, events, setup, t, market.ts.shape[0])
        summary(book, log, start_book.head[0].equity, periods, rate, out[c])
"""


class Folds(NamedTuple):
    """The compiled loops of one strategy; `legs` and `across` strategies have the matching one.

    start(p) -> s
    dense(p, s, x, out) -> s                  a forecast for every row of x (R, L, K)
    fold(p, s, x, last, row, leg, value) -> (s, last, n)          the n forecasts that are new
    fold_all(p, s, x, last, row, leg, value) -> (s, last, n)      all n forecasts, new or not
    spread(p, f, last, every, row, leg, value) -> n               across over forecasts (R, N)
    sweep(...)                                many sets of one-leg parameters through the driver, see research.sweep
    """

    start: Callable[..., Any]
    dense: Callable[..., Any]
    fold: Callable[..., Any]
    fold_all: Callable[..., Any]
    spread: Callable[..., Any] | None
    sweep: Callable[..., Any] | None


def _text(strategy: Strategy, module: str) -> str:
    names = ["init", "step", *(["legs"] if strategy.legs else []), *(["across"] if strategy.across else [])]
    text = _HEAD.format(name=strategy.name, module=module, names=", ".join(names))
    body = _LEGS if strategy.legs else _SINGLE
    text += body.format(loop="fold", wanted="f != last") + "\n" + body.format(loop="fold_all", wanted="True")
    if strategy.across:
        text += "\n" + _ACROSS
    if strategy.n_legs == 1 and not strategy.across:
        params = strategy.params
        values = ", ".join(f"{type(value).__name__}(sets[c, {k}])" for k, value in enumerate(params))
        text += f"\nimport numpy as np\n\nfrom {type(params).__module__} import {type(params).__name__} as Params\n"
        text += "from trimtab.rules.book import restart\nfrom trimtab.sim.driver import run\n"
        text += "from trimtab.sim.summary import summary\nfrom trimtab.types import Weights\n\n"
        text += _SWEEP.format(values=values)
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


_loaded: dict[str, Folds] = {}


def folds_of(strategy: Strategy) -> Folds:
    """The compiled loops of a strategy, from this process, from the disk cache, or compiled now."""
    module = strategy.step.__module__
    found = _loaded.get(module)
    if found is not None:
        return found
    if module not in sys.modules:
        raise TrimtabError(f"strategy {strategy.name}: its module {module!r} is not imported")
    point_cache()
    name = "trimtab_folds_" + module.replace(".", "_")
    path = cache_folder() / "folds" / f"{name}.py"
    _write_once(path, _text(strategy, module))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TrimtabError(f"cannot load {path}: remove the folder and try again")
    loaded: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    found = Folds(
        loaded.start,
        loaded.dense,
        loaded.fold,
        loaded.fold_all,
        getattr(loaded, "spread", None),
        getattr(loaded, "sweep", None),
    )
    _loaded[module] = found
    return found


class Decisions(NamedTuple):
    """New forecasts of one unit (instrument, pair or basket) or of one across model, in row order; arrays (E,)."""

    row: I64  # row of the model's own rows
    leg: I64
    value: F64


def decisions(strategy: Strategy, params: Any, x: F64, every: bool) -> Decisions:
    """Fold a strategy over all rows of one unit: x (R, L, K) -> the forecasts (leg weights, for L > 1) that are new."""
    folds = folds_of(strategy)
    size = x.shape[0] * x.shape[1]
    row, leg, value = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    loop = folds.fold_all if every else folds.fold
    _, _, n = loop(params, folds.start(params), x, np.nan, row, leg, value)
    return Decisions(row[:n], leg[:n], value[:n])


def forecasts(strategy: Strategy, params: Any, x: F64) -> F64:
    """Every forecast of one unit: x (R, L, K) -> (R,); NaN abstains."""
    folds = folds_of(strategy)
    out = np.empty(x.shape[0])
    folds.dense(params, folds.start(params), x, out)
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
