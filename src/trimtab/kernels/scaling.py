"""Moves of a price in units of what it has moved of late, so that wild stretches weigh no more than calm ones.

Spectra, energies and ranges of a window compare its parts with each other. Where volatility clusters, raw returns are
mostly those of a few wild bars, and noise looks like structure far more often than bands for constant variance say. A
return that cannot be foretold, divided by a deviation that was known before it, cannot be foretold either.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.autocorrelation import STILL
from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import WindowMoments, deviation, moments_init, moments_step

#: Moves whose deviation scales the next one.
RECENT = 32

#: Scaled moves are cut off here: what comes after a standstill, or out of nowhere, is one move and not a hundred.
WIDEST = 4.0


class ScaledMoves(NamedTuple):
    """value: the last move over the deviation of the RECENT moves before it, NaN until there are as many.

    spread    deviation of the last RECENT moves, in the unit of log prices; 0 where they stand still
    previous  the last log price
    """

    moves: WindowMoments
    previous: float
    value: float
    spread: float


@compiled
def scaled_init() -> ScaledMoves:
    """No price yet."""
    return ScaledMoves(moments_init(RECENT), np.nan, np.nan, np.nan)


@inlined
def scaled_step(s: ScaledMoves, log_price: float) -> ScaledMoves:
    """Read a log price; one that is not finite makes value NaN for RECENT + 1 rows."""
    move = log_price - s.previous
    value = move / s.spread
    if s.spread == 0.0:
        value = 0.0 if abs(move) < STILL else (WIDEST if move > 0.0 else (-WIDEST if move < 0.0 else np.nan))
    if abs(value) > WIDEST:
        value = WIDEST if value > 0.0 else -WIDEST
    moves = moments_step(s.moves, move)
    spread = deviation(moves, 1)
    return ScaledMoves(moves, log_price, value, 0.0 if spread < STILL else spread)
