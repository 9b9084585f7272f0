"""Prices across splits and dividends: what a last close is worth after them, and series in which they leave no jump.

An account holds raw prices; what is measured over time (returns, volatility, average volume) and what strategies see is
adjusted forward: the factor is 1 at the first bar and changes with each event, so that no value once told is rewritten.

    factor x= split x close / (close - dividend)      close: the last before the event, dividend: per share held then

Adjusted prices are raw ones times the factor, adjusted volume is in shares of the first bar. Their return over an event
is that of a holder who puts the dividend back at the ex-dividend price of the evening before. It is the usual backward
adjustment (CRSP, Data Descriptions Guide: factor to adjust price; Yahoo: 1 - dividend / close) told from the other end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.compiled import loop, part, rule
from trimtab.types import F64, Panel


@part
def without(close, dividend):
    """A close less the dividend that the next session goes without; a dividend that is more than it is passed over."""
    left = close - dividend
    return left if left > 0.0 else close  # also without a dividend: NaN is not above 0


@rule
def ex_close(close, split, dividend):
    """What the last close before an event is worth after it, per new share.

    split      new shares per old one; NaN: none
    dividend   cash per old share; NaN: none
    """
    return without(close, dividend) / (split if split == split else 1.0)


class Forward(NamedTuple):
    """What adjusting carries from one bar to the next, of N instruments."""

    close: F64  # (N,) last raw close; 0: none
    factor: F64  # (N,) of prices
    shares: F64  # (N,) shares that one of the first bar has become


def unadjusted(instruments: int) -> Forward:
    """Before the first bar."""
    return Forward(np.zeros(instruments), np.ones(instruments), np.ones(instruments))


@loop
def forward(state, bars, split, dividend, factor):
    """Adjust bars (T, N, K) forward, in place; their further fields stay. factor (T, N): what is in force at each row.

    state            Forward, before these bars and then after them
    split, dividend  columns of these in bars; -1: none. At an instrument's first bar they change nothing
    """
    none = np.nan
    for t in range(bars.shape[0]):
        for i in range(bars.shape[1]):
            x = bars[t, i]
            if x[0] > 0.0:
                s = x[split] if split >= 0 else none
                d = x[dividend] if dividend >= 0 else none
                close = state.close[i]
                if close > 0.0:
                    if d == d:
                        state.factor[i] *= close / without(close, d)
                    if s == s:
                        state.factor[i] *= s
                        state.shares[i] *= s
                state.close[i] = x[3]
            for k in range(4):
                x[k] *= state.factor[i]
            x[4] /= state.shares[i]
            factor[t, i] = state.factor[i]


def adjusted_bars(panel: Panel) -> tuple[F64, F64]:
    """A panel's values (T, N, K) adjusted forward, and the factor (T, N) of prices at each row."""
    bars, factor = np.array(panel.values, order="C"), np.empty(panel.values.shape[:2])
    split, dividend = columns_of(panel.fields)
    forward(unadjusted(len(panel.instruments)), bars, split, dividend, factor)
    return bars, factor


def columns_of(fields: tuple[str, ...]) -> tuple[int, int]:
    """Where splits and dividends stand; -1: nowhere."""
    split, dividend = (fields.index(f) if f in fields else -1 for f in ("split", "dividend"))
    return split, dividend


def is_eventful(fields: tuple[str, ...]) -> bool:
    """Do fields hold what prices are adjusted by?"""
    return "split" in fields or "dividend" in fields


@loop
def carry_marks(marks, split, dividend, column):
    """Take out of marks (T, N + F) what splits and dividends (T, N) of the row after each take; (0, N): there are none.

    column   (N,) where in a row the exchange rate of each instrument's currency stands; -1: base currency
    """
    for t in range(marks.shape[0]):
        for i in range(column.shape[0]):
            s = split[t, i] if split.shape[0] > 0 else np.nan
            d = dividend[t, i] if dividend.shape[0] > 0 else np.nan
            if (s == s) | (d == d):
                rate = marks[t, column[i]] if column[i] >= 0 else 1.0
                marks[t, i] = ex_close(marks[t, i], s, d * rate)
