"""Law 1 for strategies: cut anywhere, kept as a deep copy and resumed, a fold gives the same bits."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from trimtab.strategies import BUILT_IN, find, params_of
from trimtab.strategies.folding import memory_of, nothing_before, resume, resume_dense
from trimtab.strategies.indicators import Origin
from trimtab.types import DAY

ROWS = 700
#: What finds nothing significant in so few rows at its defaults.
LENIENT = {
    "drift_significance": {"window": 60, "level": 0.3},
    "hurst_exponent": {"octaves": 7, "level": 0.5},
    "pacf_spike": {"window": 100, "level": 0.4},
    "permutation_entropy": {"window": 60, "order": 3, "level": 0.5},
    "spectral_entropy": {"octaves": 6, "level": 0.4},
    "spectral_peaks": {"octaves": 6, "level": 0.4},
    "vpin": {"history": 200},
    "wavelet_energy": {"window": 100, "scales": 3, "level": 0.4},
}
TS = DAY * np.arange(19_000, 19_000 + ROWS, dtype=np.int64)
DAILY = Origin("1d")


def prices(legs: int, fields: int) -> np.ndarray:
    """Walks that share a factor, so that pairs find something to do; one stretch is still."""
    rng = np.random.default_rng(5)
    common = np.cumsum(rng.normal(0.0, 0.012, (ROWS, 1)), axis=0)
    walk = 100.0 * np.exp(common + 0.03 * np.sin(np.arange(ROWS) / 9.0)[:, None] * np.arange(legs))
    walk = walk * np.exp(rng.normal(0.0, 0.006, (ROWS, legs)))
    walk[300:330] = walk[300]
    return np.ascontiguousarray(np.repeat(walk[:, :, None], fields, axis=2))


def fold(strategy: Any, p: Any, x: np.ndarray, cuts: list[int], every: bool) -> tuple[bytes, bytes, bytes]:
    """New forecasts as (row, leg, value) of a fold that is cut at those rows."""
    legs = x.shape[1]
    memory, last = memory_of(strategy, p, legs), nothing_before(strategy, legs)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for a, b in zip([0, *cuts], [*cuts, len(x)], strict=True):
        made, memory, last = resume(strategy, p, copy.deepcopy(memory), last, TS[a:b], x[a:b], every, DAILY)
        parts.append((made.row + a, made.leg, made.value))
    return tuple(np.concatenate([part[k] for part in parts]).tobytes() for k in range(3))  # type: ignore[return-value]


def dense(strategy: Any, p: Any, x: np.ndarray, cuts: list[int]) -> bytes:
    out = np.empty(len(x))
    memory = memory_of(strategy, p, x.shape[1])
    for a, b in zip([0, *cuts], [*cuts, len(x)], strict=True):
        memory, _ = resume_dense(strategy, p, copy.deepcopy(memory), TS[a:b], x[a:b], out[a:b], DAILY)
    return out.tobytes()


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_built_in_strategies(name: str) -> None:
    strategy = find(name)
    p = params_of(strategy, LENIENT.get(name, {}))
    x = prices(strategy.legs_of(4), len(strategy.fields))
    whole = {every: fold(strategy, p, x, [], every) for every in (False, True)}
    forecasts = dense(strategy, p, x, [])
    values = np.frombuffer(forecasts)
    assert strategy.warmup(p) < ROWS - 50
    assert len(np.unique(values[~np.isnan(values)])) > (1 if name != "buy_and_hold" else 0)
    rng = np.random.default_rng(0)
    choices = [sorted(rng.integers(1, ROWS, k).tolist()) for k in (1, 2, 5, 30)]
    for cuts in [*choices, list(range(1, ROWS))]:
        assert dense(strategy, p, x, cuts) == forecasts
        for every, expected in whole.items():
            assert fold(strategy, p, x, cuts, every) == expected
