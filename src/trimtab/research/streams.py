"""What every model of a spec decided, row by row: strategies folded over their rows into streams of weights.

forecast -> the sizer's multiple -> the regimes' and the allocators' factors -> the share of the budget. A model without
any of these is its forecasts, and nothing of it is computed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from trimtab.bounds import is_plain, sizer_of
from trimtab.data.panel import as_of
from trimtab.data.timeframes import canonical
from trimtab.portfolio.budgets import Stream, positions_of, share_of
from trimtab.portfolio.standing import (
    Changes,
    Events,
    Pace,
    Room,
    fold,
    looks_always,
    pace_of,
    resizes,
    standing_init,
)
from trimtab.research.prepared import market_of, model_rows
from trimtab.strategies import find, params_of
from trimtab.strategies.folding import decisions, forecasts, memory_of, resume_dense, spread
from trimtab.strategies.indicators import Origin
from trimtab.types import (
    F64,
    I64,
    AllocatorUse,
    Model,
    NotEnoughData,
    Panel,
    Refusal,
    SizerUse,
    Spec,
    Strategy,
)

if TYPE_CHECKING:
    from trimtab.research.allocation import Split

#: No change of factor: it is 1 throughout.
STEADY = Changes(np.empty(0, np.int64), np.empty(0))


class Plan(NamedTuple):
    """What the models of a spec decided: a stream per unit of each, and how allocators split budgets on the way."""

    streams: list[Stream]
    splits: tuple[Split, ...]


def streams_of(spec: Spec, panel: Panel) -> list[Stream]:
    """Every unit of every model folded over its rows."""
    return plan_of(spec, panel).streams


def plan_of(spec: Spec, panel: Panel) -> Plan:
    """Every unit of every model folded over its rows, with what allocators chose."""
    if not all(is_plain(spec, model) for model in spec.models):
        from trimtab.portfolio.book import check_book

        check_book(spec)
    every = resizes(spec.rebalance)
    streams: list[list[Stream]] = []
    sized: list[Sized] = []
    for m, model in enumerate(spec.models):
        strategy = find(model.strategy)
        params = params_of(strategy, model.params)
        if is_plain(spec, model):
            streams.append(model_streams(m, model, strategy, params, panel, every))
            continue
        one = sized_of(spec, m, strategy, params, panel)
        sized.append(one)
        # An allocator of the book looks at what the models would have earned, whatever the regime was.
        streams.append(stand(one, None if spec.allocator else regime_factor(spec, model, panel), panel.ts))
    splits = [one.split for one in sized if one.split is not None]
    if spec.allocator is not None:
        splits.insert(0, _over_models(spec, spec.allocator, streams, panel))
        total = math.fsum(model.budget for model in spec.models)
        for one in sized:
            model = spec.models[one.model]
            factor = splits[0].factor(one.model, model.budget / total, len(panel.ts))
            known = regime_factor(spec, model, panel)
            streams[one.model] = stand(one, factor if known is None else factor * known, panel.ts)
    return Plan(list(itertools.chain(*streams)), tuple(splits))


def units_of(model: Model, strategy: Strategy, panel: Panel) -> list[list[int]]:
    """The panel positions that each unit of a model trades: one instrument, or its legs in order."""
    named = msgspec.structs.replace(model, timeframe=canonical(model.timeframe or panel.timeframe))
    return positions_of(named, strategy, panel.symbols, panel.timeframe)


def model_streams(m: int, model: Model, strategy: Strategy, params: Any, panel: Panel, every: bool) -> list[Stream]:
    """What each unit of one model decided, at the rows of the panel at which it decided it, before any sizing."""
    units = units_of(model, strategy, panel)
    share = share_of(model, strategy, len(units))
    blocks = blocks_of(model, strategy, params, panel, units)
    if strategy.across is not None:
        index, table, refused = _table_of(model, strategy, params, panel, units, blocks)
        made = spread(strategy, params, table, every)
        first = np.array([u[0] for u in units])
        return [Stream(m, index[made.row], first[made.leg], made.value, share, tuple(itertools.chain(*refused)))]
    found: list[Stream] = []
    for unit, (index, x) in zip(units, blocks, strict=True):
        origin = origin_of(model, strategy, panel, unit)
        made = decisions(strategy, params, x, every, _instants(strategy, panel.ts, index), origin)
        found.append(Stream(m, index[made.row], np.array(unit)[made.leg], made.value, share, made.refused))
    return found


def blocks_of(
    model: Model, strategy: Strategy, params: Any, panel: Panel, units: Sequence[Sequence[int]]
) -> list[tuple[I64, F64]]:
    """The rows of each unit of a model; NotEnoughData where none of them is long enough for a forecast."""
    timeframe, need = model.timeframe or panel.timeframe, strategy.warmup(params)
    blocks = [model_rows(panel, unit, timeframe, strategy.reads) for unit in units]
    longest = max(len(index) for index, _ in blocks)
    if longest <= need:
        raise NotEnoughData(
            f"model {model.name or strategy.name}: {longest} {'bar' if longest == 1 else 'bars'} of {timeframe} "
            f"{'is' if longest == 1 else 'are'} fewer than the {need + 1} it "
            "needs before its first forecast; load a longer window or shorten its lookbacks"
        )
    return blocks


def _instants(strategy: Strategy, ts: I64, index: I64) -> I64 | None:
    """The instants of a unit's rows: only fits and indicators read them, and to gather them costs as much as a fold."""
    return ts[index] if strategy.fit or strategy.indicators else None


def origin_of(model: Model, strategy: Strategy, panel: Panel, unit: Sequence[int]) -> Origin:
    """What the rows of a unit are of."""
    timeframe = canonical(model.timeframe or panel.timeframe)
    return Origin(timeframe, tuple(panel.symbols[i] for i in unit), model.name or strategy.name)


def _table_of(
    model: Model,
    strategy: Strategy,
    params: Any,
    panel: Panel,
    units: Sequence[Sequence[int]],
    blocks: Sequence[tuple[Any, F64]],
) -> tuple[Any, F64, list[tuple[Refusal, ...]]]:
    """Forecasts of all units on the union of their rows: index (R,), (R, units); NaN where a unit has no bar.

    Beside them what each unit's fit refused.
    """
    index = np.unique(np.concatenate([rows for rows, _ in blocks]))
    table = np.full((len(index), len(blocks)), np.nan)
    refused: list[tuple[Refusal, ...]] = []
    for k, (unit, (rows, x)) in enumerate(zip(units, blocks, strict=True)):
        out = np.full(len(rows), np.nan)
        memory, when = memory_of(strategy, params, x.shape[1]), _instants(strategy, panel.ts, rows)
        origin = origin_of(model, strategy, panel, unit)
        refused.append(resume_dense(strategy, params, memory, when, x, out, origin)[1])
        table[np.searchsorted(index, rows), k] = out
    return index, table, refused


# ---------------------------------------------------------------------------------------------------------------------
# With a sizer, factors, a calendar or a least trade
# ---------------------------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """What one unit of a model said: its panel instruments (L,), when it said which leg weights, what fits refused."""

    instruments: I64
    events: Events
    refused: tuple[Refusal, ...]


def said_of(spec: Spec, model: Model, strategy: Strategy, params: Any, panel: Panel) -> list[Said]:
    """The forecasts of each unit of a model with the multiples of its sizer."""
    units = units_of(model, strategy, panel)
    blocks = blocks_of(model, strategy, params, panel, units)
    use = sizer_of(spec, model)
    every = looks_always(spec, model, strategy)
    found: list[Said] = []
    if strategy.across is not None:
        index, table, refused = _table_of(model, strategy, params, panel, units, blocks)
        made = spread(strategy, params, table, every)
        for k, (unit, (own, _)) in enumerate(zip(units, blocks, strict=True)):
            mine = made.leg == k
            row, value = index[made.row[mine]], made.value[mine]
            forecast = _at(np.full(len(own), np.nan), own, row, value)
            multiple = as_of(own, _multiples(use, model, panel, unit, forecast), row)
            found.append(Said(np.array(unit), Events(row, value[:, None].copy(), multiple), refused[k]))
        return found
    for unit, (index, x) in zip(units, blocks, strict=True):
        when, origin = _instants(strategy, panel.ts, index), origin_of(model, strategy, panel, unit)
        made = decisions(strategy, params, x, every, when, origin)
        row, value = made.row[:: len(unit)], made.value.reshape(-1, len(unit))
        forecast = np.full(len(index), np.nan)
        if len(unit) == 1:
            forecast[row] = value[:, 0]
        elif use is not None:
            forecast = forecasts(strategy, params, x, when, origin)
        multiple = _multiples(use, model, panel, unit, forecast)[row]
        found.append(Said(np.array(unit), Events(index[row], value, multiple), made.refused))
    return found


def _at(out: F64, own: I64, row: I64, value: F64) -> F64:
    """Values put in at those of their rows that are an instrument's own."""
    at = np.searchsorted(own, row)
    there = np.append(own, -1)[at] == row
    out[at[there]] = value[there]
    return out


def _multiples(use: SizerUse | None, model: Model, panel: Panel, unit: Sequence[int], forecast: F64) -> F64:
    """The sizer's multiple at the rows of a unit, from its forecasts there: (R,), NaN abstains."""
    if use is None:
        return np.ones(len(forecast))
    from trimtab.portfolio.book import find_sizer, sizer_params

    sizer, params = find_sizer(use.name), sizer_params(use)
    _, x = model_rows(panel, unit, model.timeframe or panel.timeframe, ("close",))
    out = np.empty(len(forecast))
    sizer.fold(params, sizer.init(params), forecast, np.ascontiguousarray(x[:, 0, 0]), out)
    return out


class Sized(NamedTuple):
    """A model before any factor on its budget: what its units said, the pace of their weights, and its allocator's
    split over them."""

    model: int
    said: list[Said]
    pace: Pace
    share: float
    split: Split | None


def sized_of(spec: Spec, m: int, strategy: Strategy, params: Any, panel: Panel) -> Sized:
    """What a model's units said, with how the book follows them."""
    model = spec.models[m]
    said = said_of(spec, model, strategy, params, panel)
    share = share_of(model, strategy, len(said))
    split = None
    if model.allocator is not None:
        from trimtab.research.allocation import days_of_instruments, split_of

        instruments = [int(unit.instruments[0]) for unit in said]
        days = days_of_instruments(market_of(panel, spec.base_currency), instruments)
        split = split_of(model.allocator, days, panel.ts, m, instruments)
    return Sized(m, said, pace_of(spec, model, share), share, split)


def _over_models(spec: Spec, use: AllocatorUse, streams: Sequence[Sequence[Stream]], panel: Panel) -> Split:
    """How the book's allocator splits the sum of the budgets over its models."""
    from trimtab.research.allocation import BOOK, days_of_models, split_of

    budgets = [model.budget for model in spec.models]
    days = days_of_models(market_of(panel, spec.base_currency), streams, budgets)
    return split_of(use, days, panel.ts, BOOK, range(len(budgets)))


def regime_factor(spec: Spec, model: Model, panel: Panel) -> F64 | None:
    """(T,) what the regimes multiply a model's budget by, for the decision of each row; None: nothing."""
    if not model.regime_budgets:
        return None
    from trimtab.portfolio.book import factor_of
    from trimtab.research.regimes import regime_labels

    return factor_of(spec, model, regime_labels(spec, panel))


def stand(one: Sized, factor: F64 | None, ts: I64) -> list[Stream]:
    """A model's weights as they stand, under a factor (T,) on its budget; None: 1."""
    found: list[Stream] = []
    changes = STEADY if factor is None else changes_of(factor)
    for k, unit in enumerate(one.said):
        if one.split is not None:
            part = one.split.factor(k, 1.0 / len(one.said), len(ts))
            changes = changes_of(part if factor is None else part * factor)
        legs = len(unit.instruments)
        size = legs * (len(unit.events.row) + len(changes.row))
        room = Room(np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size))
        n = fold(one.pace, standing_init(legs), ts, unit.events, changes, len(ts), room)
        instrument, weight = unit.instruments[room.leg[:n]], room.value[:n]
        found.append(Stream(one.model, room.row[:n], instrument, weight, one.share, unit.refused))
    return found


def changes_of(factor: F64) -> Changes:
    """The rows at which a factor (T,) is another one than before; it is 1 before the first."""
    before = np.concatenate(([1.0], factor[:-1]))
    row = np.flatnonzero(factor != before).astype(np.int64)
    return Changes(row, np.ascontiguousarray(factor[row]))
