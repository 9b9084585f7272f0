"""The compiled fold of any strategy, as a backtest has it and the disk keeps it, and rows to put through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trimtab.strategies.fitting import NEVER
from trimtab.strategies.folding import folds_of, memory_of, resume_dense
from trimtab.strategies.indicators import Origin
from trimtab.types import DAY, Strategy

#: The close of the first row that a strategy with a fit sees; the others are a day apart.
FIRST = 19_000 * DAY
DAILY = Origin("1d")


class Fold:
    """Steps a strategy over daily rows (T, L, K); what comes back is the last state and the forecasts (T,).

    Of a strategy with a fit the state is its Memory, and the fits fall due as in a run.
    """

    def __call__(self, strategy: Strategy, params: Any, x: np.ndarray, state: Any = None) -> tuple[Any, np.ndarray]:
        if strategy.fit is not None:
            memory, out = state or memory_of(strategy, params, x.shape[1]), np.empty(len(x))
            last = FIRST - DAY if memory.ts == NEVER else memory.ts
            ts = last + DAY * np.arange(1, len(x) + 1, dtype=np.int64)
            return resume_dense(strategy, params, memory, ts, np.ascontiguousarray(x), out, DAILY)[0], out
        folds, out = folds_of(strategy), np.empty(len(x))
        s = folds.start(params) if state is None else state
        return folds.dense(params, s, np.ascontiguousarray(x), out), out

    def closes(self, strategy: Strategy, close: Any, **changed: Any) -> np.ndarray:
        """Forecasts of a single-leg strategy that reads one price."""
        x = np.asarray(close, dtype=np.float64).reshape(-1, 1, 1)
        return self(strategy, strategy.params._replace(**changed), x)[1]


@pytest.fixture(scope="session")
def fold() -> Fold:
    return Fold()
