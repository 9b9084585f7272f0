"""Seeded synthetic bars, and the pinned set-up in which every cost is charged and every limit acts.

Bars are of one minute: 16% volatility and 30% drift a year, half of the variance common to all instruments. The pinned
costs are all non-zero but small: a 50/200 cross of one-minute bars trades some 70,000 times in 10 M bars, and with an
exchange's fees every book would be empty long before the end, so that an empty book would be timed. The arithmetic does
not depend on their size.

A drawdown halt ends trading, so the last STAGE rows are staged: all in, a gap of -6% (de-risk), out, all in, a gap of
-97% (halt). The rows before are a trading book, and only they are timed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.types import BAR_FIELDS, TIMEFRAMES, Costs, Instrument, Limits, Panel, Weights

VOL = 0.16 / np.sqrt(525_600)
DRIFT = 0.30 / 525_600
FAST, SLOW = 50, 200
STAGE = 20

COSTS = Costs(
    maker_fee=1e-6,
    taker_fee=2e-6,
    half_spread=5e-7,
    vol_spread=1e-3,
    slippage=5e-7,
    impact=1e-5,
    impact_power=0.5,
    latency=1e-3,
    participation=0.1,
    reject=0.01,
)
CAPITAL = 1_000_000.0


class Case(NamedTuple):
    """A market with the weights of its books."""

    panel: Panel
    weights: Weights


def limits_of(instruments: int, **protection: float) -> Limits:
    """Every limit of the book finite; protection: stop_loss, take_profit, trailing_stop."""
    return Limits(
        gross_leverage=0.98,
        max_weight=1.0 / instruments,
        drawdown_derisk=0.03,
        derisk_factor=0.8,
        drawdown_halt=0.6,
        **protection,
    )


def panel_of(rows: int, instruments: int, seed: int = 0, gap: float = 0.1, timeframe: str = "1m") -> Panel:
    """(T, N) bars, by default of one minute; gap: standard deviation of open / last close - 1, in units of VOL."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(rows)
    values = np.empty((rows, instruments, len(BAR_FIELDS)))
    for i in range(instruments):
        moves = DRIFT + VOL * np.sqrt(0.5) * (common + rng.standard_normal(rows))
        close = 100.0 * np.exp(np.cumsum(moves))
        opened = np.concatenate(([100.0], close[:-1])) * (1.0 + gap * VOL * rng.standard_normal(rows))
        values[:, i, 0] = opened
        values[:, i, 1] = np.maximum(opened, close) * (1.0 + 0.25 * VOL * np.abs(rng.standard_normal(rows)))
        values[:, i, 2] = np.minimum(opened, close) * (1.0 - 0.25 * VOL * np.abs(rng.standard_normal(rows)))
        values[:, i, 3] = close
        values[:, i, 4] = 2.5e5 / instruments * np.exp(0.5 * rng.standard_normal(rows))
    length = TIMEFRAMES[timeframe]
    values[:, :, 5] = float(length)
    ts = np.arange(1, rows + 1, dtype=np.int64) * length
    return Panel(ts, tuple(Instrument(symbol=f"X{i}") for i in range(instruments)), BAR_FIELDS, values, timeframe)


def mean(close: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """(T,) moving average; NaN before the window is full."""
    total = np.concatenate(([0.0], np.cumsum(close)))
    out = np.full(len(close), np.nan)
    out[length - 1 :] = (total[length:] - total[:-length]) / length
    return out


def cross_weights(panel: Panel, seed: int = 1) -> Weights:
    """A 50/200 cross of each instrument: its share of equity, times 0.6 to 1.02 by lot, while the short average leads.

    Weights above the share are what max_weight cuts, and for one instrument gross_leverage.
    """
    rng = np.random.default_rng(seed)
    share = 1.0 / len(panel.instruments)
    rows, instruments, values = [], [], []
    for i in range(len(panel.instruments)):
        close = panel.values[:, i, 3]
        long = mean(close, FAST) > mean(close, SLOW)
        turns = np.flatnonzero(long[1:] != long[:-1]) + 1
        turns = turns[turns < len(close) - STAGE]
        rows.append(turns)
        instruments.append(np.full(len(turns), i))
        values.append(np.where(long[turns], share * rng.uniform(0.6, 1.02, len(turns)), 0.0))
    return _weights(np.concatenate(rows), np.concatenate(instruments), np.concatenate(values))


def _weights(rows: NDArray[np.int64], instruments: NDArray[np.int64], values: NDArray[np.float64]) -> Weights:
    order = np.lexsort((instruments, rows))
    return Weights(rows[order], np.zeros(len(order), np.int64), instruments[order], values[order])


def stage(panel: Panel, weights: Weights) -> Case:
    """The panel with its last STAGE rows rewritten, and what the book decides in them: see the head of this file."""
    values = panel.values.copy()
    rows, n = values.shape[:2]
    first = rows - STAGE
    level = values[first - 1, :, 3].copy()
    for t in range(first, rows):
        level *= {first + 6: 0.94, first + 14: 0.03}.get(t, 1.0)
        values[t, :, 0] = values[t, :, 3] = level
        values[t, :, 1] = level * (1.0 + 5e-6)
        values[t, :, 2] = level * (1.0 - 5e-6)
        values[t, :, 4] = 1e9
    acts = ((first, 0.0), (first + 1, 1.05), (first + 2, 1.06), (first + 3, 1.07))  # again: a venue may reject one
    acts = (*acts, *((row + 8, weight) for row, weight in acts))
    acted = _weights(
        np.concatenate([weights.row, np.repeat([row for row, _ in acts], n)]),
        np.concatenate([weights.instrument, np.tile(np.arange(n), len(acts))]),
        np.concatenate([weights.value, np.repeat([w / n for _, w in acts], n)]),
    )
    return Case(msgspec.structs.replace(panel, values=values), acted)


@lru_cache(maxsize=1)
def pinned(rows: int, instruments: int) -> Case:
    """The pinned market and weights; the last one asked for is kept.

    Nothing that pays impact trades before a day's volume is known: short panels have the same bars, but of 15 minutes.
    """
    panel = panel_of(rows, instruments, timeframe="1m" if rows > 100_000 else "15m")
    return stage(panel, cross_weights(panel))
