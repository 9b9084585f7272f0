"""A weight that is no finite number is refused by name: which model, which leg, which row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trimtab as tt
from trimtab.types import BAR_FIELDS, HOUR

HEAD = """
from typing import NamedTuple
import numpy as np
from numba import njit
from trimtab.types import Strategy

class Params(NamedTuple):
    at: int = 5

class State(NamedTuple):
    row: int

@njit(cache=True)
def init(p):
    return State(-1)
"""

LEGS = """
@njit(cache=True)
def step(p, s, x):
    return State(s.row + 1), 1.0 if s.row % 2 == 0 else 0.5

@njit(cache=True)
def legs(p, s, x, f):
    return np.array([0.5 * f, np.nan if s.row == p.at else -0.5 * f])

STRATEGY = Strategy(
    name="gapped", fields=("close",), params=Params(), ranges={"at": (0, 100)}, n_legs=2,
    init=init, step=step, legs=legs, warmup=lambda p: 0,
)
"""

STEP = """
@njit(cache=True)
def step(p, s, x):
    return State(s.row + 1), np.inf if s.row + 1 == p.at else 0.5

STRATEGY = Strategy(
    name="endless", fields=("close",), params=Params(), ranges={"at": (0, 100)},
    init=init, step=step, warmup=lambda p: 0,
)
"""


def panel_of(*symbols: str, rows: int = 30) -> tt.Panel:
    values = np.full((rows, len(symbols), len(BAR_FIELDS)), 100.0)
    values[:, :, 5] = HOUR
    ts = 1_704_067_200 * 10**9 + HOUR * np.arange(1, rows + 1, dtype=np.int64)
    return tt.Panel(ts, tuple(tt.Instrument(symbol=s) for s in symbols), BAR_FIELDS, values, "1h")


def said(call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(tt.TrimtabError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def test_a_leg_weight_of_nan_names_its_model_leg_and_row(tmp_path: Path) -> None:
    file = tmp_path / "gapped.py"
    file.write_text(HEAD + LEGS)
    wrong = said(tt.backtest, str(file), panel_of("A", "B", "C", "D"), params={"at": 7})
    assert wrong == (
        "model gapped: weight 1 of `legs` for B at row 7 (closed 2024-01-01T08:00:00Z) is nan: expected finite "
        "numbers; where a pair is not to be traded, `step` returns NaN"
    )
    assert said(tt.sweep, str(file), panel_of("A", "B"), {"at": [7]}) == wrong


def test_an_infinite_forecast_names_its_instrument_and_row(tmp_path: Path) -> None:
    file = tmp_path / "endless.py"
    file.write_text(HEAD + STEP)
    assert said(tt.backtest, str(file), panel_of("A", "B"), params={"at": 3}) == (
        "model endless: the forecast for A at row 3 (closed 2024-01-01T04:00:00Z) is inf: expected a finite number, or "
        "NaN to abstain"
    )


def test_a_given_weight_names_its_instrument_and_row() -> None:
    weights = np.full((30, 2), np.nan)
    weights[4, 1] = -np.inf
    assert said(tt.simulate, panel_of("A", "B"), weights) == (
        "weights: that of B at row 4 (closed 2024-01-01T05:00:00Z) is -inf: expected a finite fraction of equity, or "
        "NaN to hold"
    )
