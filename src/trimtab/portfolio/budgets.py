"""Budgets: the share of book equity that each model may use, and how it is split over what the model trades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trimtab.bounds import WORDS, misfits
from trimtab.compiled import loop
from trimtab.types import F64, I64, Model, Refusal, Strategy, TrimtabError, Weights


class Stream(NamedTuple):
    """What one unit of one model decided: panel rows, panel instruments, leg forecasts; parallel arrays (E,).

    refused  the windows that the strategy's fit refused
    """

    model: int
    row: I64
    instrument: I64
    forecast: F64
    share: float
    refused: tuple[Refusal, ...] = ()


def positions_of(model: Model, strategy: Strategy, symbols: Sequence[str], timeframe: str) -> list[list[int]]:
    """The positions among a book's symbols that each unit of a model trades: one instrument, or its legs in order.

    timeframe  the book's grid; TrimtabError where the model does not fit
    """
    for key, problem in misfits(model, strategy, symbols, timeframe):
        raise TrimtabError(f"model {model.name or strategy.name}: {key}: {problem}")
    positions = [symbols.index(s) for s in model.universe or symbols]
    legs = strategy.legs_of(len(positions))
    return [positions[k : k + legs] for k in range(0, len(positions), legs)]


def share_of(model: Model, strategy: Strategy, units: int) -> float:
    """Book equity behind a forecast of 1 in one unit, a fraction.

    equal   the budget is split evenly over the model's units; a strategy with `across` has done so itself
    fixed   each unit may use the whole budget (the gross-leverage limit bounds the sum)
    """
    if model.sizing == "equal":
        return model.budget if strategy.across else model.budget / units
    if model.sizing == "fixed":
        return model.budget
    raise TrimtabError(f"sizing {model.sizing!r} is not known: expected one of {', '.join(WORDS['models.sizing'])}")


def combine(streams: Sequence[Stream]) -> Weights:
    """forecast x share of every unit as one list of weights, by row, then model, then instrument."""
    if len(streams) == 1:
        only = streams[0]
        model = np.full(len(only.row), only.model, np.int64)
        return Weights(only.row, model, only.instrument, only.forecast * only.share)
    first = np.cumsum([0, *(len(s.row) for s in streams)])
    model = np.array([s.model for s in streams], np.int64)
    share = np.array([s.share for s in streams], np.float64)
    none = np.empty(0, np.int64)
    row = np.concatenate([none, *(s.row for s in streams)])
    instrument = np.concatenate([none, *(s.instrument for s in streams)])
    forecast = np.concatenate([np.empty(0), *(s.forecast for s in streams)])
    made = np.empty_like(row), np.empty_like(row), np.empty_like(row), np.empty_like(forecast)
    merge(first, model, share, row, instrument, forecast, *made)
    return Weights(*made)


@loop
def merge(
    first: I64, model: I64, share: F64, row: I64, instrument: I64, forecast: F64,
    rows: I64, models: I64, instruments: I64, values: F64,
) -> None:  # fmt: skip
    """Merge S streams, each in the order of its rows, into the four last (E,): by row, then model, then instrument.

    first   (S + 1,) where each stream begins in row, instrument and forecast (E,)
    """
    last = np.int64(2**62)
    at = first.copy()
    n = 0
    while n < row.shape[0]:
        t = last
        for s in range(model.shape[0]):
            if at[s] < first[s + 1]:
                t = min(t, row[at[s]])
        start = n
        for s in range(model.shape[0]):
            while at[s] < first[s + 1] and row[at[s]] == t:
                e, k, m = at[s], n, model[s]
                i = instrument[e]
                while k > start and (models[k - 1] > m or (models[k - 1] == m and instruments[k - 1] > i)):
                    models[k], instruments[k], values[k] = models[k - 1], instruments[k - 1], values[k - 1]
                    k -= 1
                rows[n], models[k], instruments[k], values[k] = t, m, i, forecast[e] * share[s]
                at[s] += 1
                n += 1
