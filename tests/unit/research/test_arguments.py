"""Arguments of a program that are of the wrong type: one sentence, whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import trimtab as tt

DATES = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 4, 9), "1d", eager=True)
CLOSE = 100.0 + np.arange(100.0) % 7
BARS = pl.DataFrame({"open_time": DATES, **dict.fromkeys(("open", "high", "low", "close"), CLOSE)})
PANEL = tt.Panel.from_frames({"X": BARS}, "1d")
ANY: Any = tt


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ANY.backtest("sma_cross", "X"), "panel is of type str: expected a Panel, such as load("),
        (lambda: ANY.backtest(None, PANEL), "what is of type NoneType: expected a strategy's name, its .py file"),
        (lambda: ANY.backtest("sma_cross", PANEL, params=[1]), "params is of type list: expected a mapping"),
        (lambda: ANY.backtest("sma_cross", PANEL, costs=3), "costs is of type int: expected Costs(…) or the name"),
        (lambda: ANY.backtest("sma_cross", PANEL, limits={}), "limits is of type dict: expected Limits(…)"),
        (lambda: ANY.backtest("sma_cross", PANEL, rules=["x"]), "rules.0 is of type str: expected RuleUse(…)"),
        (lambda: ANY.backtest("sma_cross", PANEL, cash_flows=3), "cash_flows.0 is of type int: expected CashFlow(…)"),
        (lambda: ANY.simulate([1.0], PANEL), "panel is of type list"),
        (lambda: ANY.simulate(PANEL, CLOSE, caps=0.5), "caps is of type float: expected Caps(…)"),
        (lambda: ANY.sweep("sma_cross", PANEL, [5]), "grid is of type list: expected a mapping of parameters"),
        (lambda: ANY.sweep("sma_cross", PANEL, {"fast": 5}), "the grid's fast is 5: expected several values"),
        (lambda: ANY.sweep("sma_cross", PANEL, {"fast": "5"}), "the grid's fast is '5': expected several values"),
        (lambda: ANY.sweep("sma_cross", PANEL, {"fast": [5, "x"]}), "sma_cross.fast: expected a whole number, got 'x'"),
        (lambda: tt.load("X", timeframe="1d", start="2024-02-01", end="2024-01-01"), "is not after the start"),
    ],
)
def test_a_wrong_type_is_named(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(tt.TrimtabError) as caught:
        call()
    assert said in str(caught.value)
