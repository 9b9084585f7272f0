"""Many sets of one strategy's parameters through the driver in one compiled call, generated like a fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trimtab.strategies.folding import folds_of, generated
from trimtab.types import Strategy

_TEXT: Final = '''"""Sweeps of {name}: written by trimtab.sim.sweeping, safe to delete."""

import numpy as np
from numba import njit

from {module} import init
from {params} import {tuple} as Params
from trimtab.rules.book import restart
from trimtab.sim.driver import run
from trimtab.sim.summary import summary
from trimtab.sim.windows import begin
from trimtab.types import Weights
from {folds} import fold


@njit(cache=True, nogil=True, error_model="numpy")
def sweep(sets, x, index, share, start_book, book, log, market, weights, setup, first, stop, periods, rate, out, daily):
    standing = np.empty((1, 1))
    for c in range(sets.shape[0]):
        p = Params({values})
        s, last, n = fold(p, init(p), x, np.nan, weights.row, weights.model, weights.value)
        for e in range(n):
            weights.row[e] = index[weights.row[e]]
            weights.model[e] = 0
            weights.value[e] *= share
        n = begin(weights, n, first, standing)
        restart(start_book, book)
        events = Weights(weights.row[:n], weights.model[:n], weights.instrument[:n], weights.value[:n])
        t = first
        while t < stop:
            log.used[:] = 0
            t = run(book, log, market, events, setup, t, stop)
        summary(book, log, start_book.head[0].equity, periods, rate, out[c], daily[c])
'''


def sweep_of(strategy: Strategy) -> Callable[..., Any] | None:
    """sweep(sets, x, index, …) of a strategy of one leg, see research.sweep; None where it has no such loop."""
    if strategy.n_legs != 1 or strategy.across is not None or strategy.fit or strategy.indicators:
        return None
    module, params = strategy.step.__module__, strategy.params
    folds = folds_of(strategy).fold.__module__
    values = ", ".join(f"{type(value).__name__}(sets[c, {k}])" for k, value in enumerate(params))

    def text() -> str:
        owner = type(params)
        return _TEXT.format(
            name=strategy.name, module=module, params=owner.__module__, tuple=owner.__name__, folds=folds, values=values
        )

    return generated("sweeps", module, text).sweep
