"""What every model of a spec decided, row by row: strategies folded over their rows into streams of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from trimtab.bounds import misfits
from trimtab.data.timeframes import canonical
from trimtab.portfolio.budgets import Stream, share_of
from trimtab.research.prepared import model_rows
from trimtab.sim.fold import decisions, forecasts, spread
from trimtab.strategies import find, params_of
from trimtab.types import F64, Model, NotEnoughData, Panel, Rebalance, Spec, Strategy, TrimtabError


def resizes(again: Rebalance) -> bool:
    """Is an unchanged weight sized again whenever its model steps? A buffer asks for it: drift may leave the band."""
    return again.when == "always" or again.buffer > 0.0


def streams_of(spec: Spec, panel: Panel) -> list[Stream]:
    """Every unit of every model folded over its rows."""
    found: list[Stream] = []
    every = resizes(spec.rebalance)
    for m, model in enumerate(spec.models):
        strategy = find(model.strategy)
        params = params_of(strategy, model.params)
        found.extend(model_streams(m, model, strategy, params, panel, every))
    return found


def units_of(model: Model, strategy: Strategy, panel: Panel) -> list[list[int]]:
    """The panel positions that each unit of a model trades: one instrument, or its legs in order."""
    named = msgspec.structs.replace(model, timeframe=canonical(model.timeframe or panel.timeframe))
    for key, problem in misfits(named, strategy, panel.symbols, panel.timeframe):
        raise TrimtabError(f"model {model.name or strategy.name}: {key}: {problem}")
    positions = [panel.symbols.index(s) for s in model.universe or panel.symbols]
    legs = strategy.n_legs
    return [positions[k : k + legs] for k in range(0, len(positions), legs)]


def model_streams(m: int, model: Model, strategy: Strategy, params: Any, panel: Panel, every: bool) -> list[Stream]:
    """What each unit of one model decided, at the rows of the panel at which it decided it."""
    timeframe = model.timeframe or panel.timeframe
    units = units_of(model, strategy, panel)
    share = share_of(model, strategy, len(units))
    need = strategy.warmup(params)
    found: list[Stream] = []
    blocks = [model_rows(panel, unit, timeframe, strategy.fields) for unit in units]
    longest = max(len(index) for index, _ in blocks)
    if longest <= need:
        raise NotEnoughData(
            f"model {model.name or strategy.name}: {longest} bars of {timeframe} are fewer than the {need + 1} it "
            "needs before its first forecast; load a longer window or shorten its lookbacks"
        )
    if strategy.across is not None:
        index, table = _table_of(strategy, params, blocks)
        made = spread(strategy, params, table, every)
        return [Stream(m, index[made.row], np.array([u[0] for u in units])[made.leg], made.value, share)]
    for unit, (index, x) in zip(units, blocks, strict=True):
        made = decisions(strategy, params, x, every)
        found.append(Stream(m, index[made.row], np.array(unit)[made.leg], made.value, share))
    return found


def _table_of(strategy: Strategy, params: Any, blocks: Sequence[tuple[Any, F64]]) -> tuple[Any, F64]:
    """Forecasts of all units on the union of their rows: index (R,), (R, units); NaN where a unit has no bar."""
    index = np.unique(np.concatenate([rows for rows, _ in blocks]))
    table = np.full((len(index), len(blocks)), np.nan)
    for k, (rows, x) in enumerate(blocks):
        table[np.searchsorted(index, rows), k] = forecasts(strategy, params, x)
    return index, table
