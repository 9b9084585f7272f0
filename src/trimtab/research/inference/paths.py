"""The loops of the stationary bootstrap: which rows a path takes, and what follows from them.

Compiled, and only loaded when it is asked for.
"""

from __future__ import annotations

import math

import numpy as np

from trimtab.compiled import loop
from trimtab.rules.orders import draw
from trimtab.types import F64, I64


@loop
def follow(starts: I64, uniforms: F64, p: float, rows: int, out: I64) -> None:
    """One path from given draws, in out (L,): a new block at starts[t] where uniforms[t] < p, else the next row."""
    at = 0
    for t in range(out.shape[0]):
        if t == 0 or uniforms[t] < p:
            at = starts[t]
        else:
            at = at + 1 if at + 1 < rows else 0
        out[t] = at


@loop
def resample(seed: int, first: int, p: float, rows: int, out: I64) -> None:
    """Paths first, first + 1, … in out (B, L): each step by a draw keyed by (seed, path, step), whoever draws it.

    One draw decides both: below p there is a new block, and u / p is uniform again and says where it begins.
    """
    scale = rows / p
    for b in range(out.shape[0]):
        key = np.uint64(first + b) << np.uint64(32)
        at = min(np.int64(draw(seed, key) * rows), rows - 1)
        out[b, 0] = at
        for t in range(1, out.shape[1]):
            u = draw(seed, key | np.uint64(t))
            if u < p:
                at = min(np.int64(u * scale), rows - 1)
            else:
                at = at + 1 if at + 1 < rows else 0
            out[b, t] = at


@loop
def figures_of_paths(returns: F64, index: I64, out: F64) -> None:
    """Total return, maximum drawdown (fraction <= 0), mean and deviation (ddof = 1) of paths (B, L), in out (B, 4).

    The deviation is NaN where a path is flat but for rounding.
    """
    centre = returns.mean()
    length = index.shape[1]
    for b in range(index.shape[0]):
        equity, peak, floor, worst = 1.0, 1.0, 1.0, 0.0
        total, squares, low, high = 0.0, 0.0, np.inf, -np.inf
        for t in range(length):
            r = returns[index[b, t]]
            equity *= 1.0 + r
            if equity > peak:
                peak = equity
                floor = peak * (1.0 + worst)
            elif equity < floor:
                worst = equity / peak - 1.0
                floor = equity
            gap = r - centre
            total += gap
            squares += gap * gap
            low, high = min(low, r), max(high, r)
        out[b, 0], out[b, 1], out[b, 2], out[b, 3] = equity - 1.0, worst, centre + total / length, np.nan
        if length > 1 and high - low > 1e-12 * max(abs(low), abs(high)):
            out[b, 3] = math.sqrt((squares - total * total / length) / (length - 1.0))


@loop
def means_of_paths(values: F64, index: I64, out: F64) -> None:
    """Mean of each column of values (T, K) over the rows of each path (B, L), in out (B, K)."""
    length = index.shape[1]
    for b in range(index.shape[0]):
        out[b, :] = 0.0
        for t in range(length):
            row = index[b, t]
            for k in range(values.shape[1]):
                out[b, k] += values[row, k]
        for k in range(values.shape[1]):
            out[b, k] /= length
