"""Budgets: the share of book equity that each model may use, and how it is split over what the model trades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trimtab.bounds import WORDS
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
    row = np.concatenate([s.row for s in streams]) if streams else np.empty(0, np.int64)
    instrument = np.concatenate([s.instrument for s in streams]) if streams else np.empty(0, np.int64)
    model = np.concatenate([np.full(len(s.row), s.model, np.int64) for s in streams]) if streams else row
    value = np.concatenate([s.forecast * s.share for s in streams]) if streams else np.empty(0)
    order = np.lexsort((instrument, model, row))
    return Weights(row[order], model[order], instrument[order], value[order])
