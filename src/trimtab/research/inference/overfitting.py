"""PBO: how often the best of many trials in one half of the time is below the median in the other half."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab.research.inference.spread import spread
from trimtab.research.inference.trials import is_flat_range
from trimtab.research.ratios import is_flat
from trimtab.types import F64, I64, NotEnoughData, TrimtabError

if TYPE_CHECKING:
    from trimtab.research.inference.splits import Blocks

#: Rows that a block has at least: a half of two blocks then has four.
_LEAST_ROWS: Final = 2
#: Splits that a thread takes at a time. The sums of a split follow from those before it, so this decides the rounding,
#: and the number of threads must not.
_CHUNK: Final = 256
#: C(20, 10) is 184,756 splits; more of them say no more about the same days.
_MOST_BLOCKS: Final = 20


class Overfitting(NamedTuple):
    """What the splits say, each (M,) in the lexicographic order of their in-sample blocks.

    pbo        share of splits whose winner is at or below the median outside: logit <= 0
    loss       share of splits whose winner has a Sharpe below 0 outside
    slope      of the line through (Sharpe in-sample, Sharpe outside): negative where more in-sample means less outside
    intercept  of that line; both NaN where all winners have one Sharpe in-sample
    logits     ln(w / (1 - w)), w = rank / (N + 1) of the winner outside, rank 1 the worst
    column     (M,) the winner
    inside     its Sharpe per period in-sample
    outside    its Sharpe per period out-of-sample
    """

    pbo: float
    loss: float
    slope: float
    intercept: float
    logits: F64
    column: I64
    inside: F64
    outside: F64


def probability_of_overfitting(returns: ArrayLike, blocks: int = 16, threads: int | None = None) -> Overfitting:
    """PBO by combinatorially symmetric cross-validation.

    returns  (T, N)  of N trials on common periods (see trials.align), fraction; finite. N counts all that were tried
    blocks           S, even: time is cut into S blocks of T // S rows, the first T % S with one more; each of the
                     C(S, S / 2) choices of half of them is in-sample once
    threads          None: as many as there are cores; the result does not depend on it

    Sharpe has ddof = 1. The first of equals wins in-sample; outside, equals share their middle rank. A trial that is
    flat in a half has no Sharpe there: it cannot win, and ranks as 0, like cash. (Last would make the winner look good
    beside trials that never trade.) One PBO proves little: on noise it is 0.5 on average with a deviation of 0.2.
    Raises NotEnoughData where blocks would have fewer than two rows, or a half has no trial that is not flat.
    Source: Bailey, Borwein, López de Prado, Zhu (2017), J. Computational Finance 20(4).
    """
    r = _check(returns, blocks)
    from trimtab.research.inference.splits import Picks, judge

    halves = np.array(
        [(0, *rest) for rest in itertools.combinations(range(1, blocks), blocks // 2 - 1)], dtype=np.int64
    )
    splits = 2 * len(halves)
    picks = Picks(np.full(splits, -1), np.empty(splits), np.empty(splits), np.empty(splits))
    sums = blocks_of(r, blocks)
    spread(lambda first, last: judge(sums, halves, first, last, picks), len(halves), _CHUNK, threads)
    if (picks.column < 0).any():
        raise NotEnoughData(
            f"in {int((picks.column < 0).sum())} of {splits} splits no trial has returns that are not all the same: "
            "there is no winner; cut the span to where the trials trade, or take fewer blocks"
        )
    share = picks.rank / (r.shape[1] + 1.0)
    logits = np.log(share / (1.0 - share))
    slope, intercept = _line(picks.inside, picks.outside)
    return Overfitting(
        float((logits <= 0.0).mean()), float((picks.outside < 0.0).mean()), slope, intercept,
        logits, picks.column, picks.inside, picks.outside,
    )  # fmt: skip


def blocks_of(returns: F64, size: int) -> Blocks:
    """Sums of (T, N) in `size` blocks of rows, the first of them one row longer where they cannot be equal."""
    from trimtab.research.inference.splits import Blocks

    rows, rest = divmod(len(returns), size)
    edges = np.cumsum([0, *(rows + (b < rest) for b in range(size))])
    parts = [returns[a:b] for a, b in itertools.pairwise(edges.tolist())]
    low, high = np.stack([p.min(axis=0) for p in parts]), np.stack([p.max(axis=0) for p in parts])
    # The middle of the blocks' means: one block with an outlier does not move it, so little is lost in the squares.
    centre = np.median(np.stack([p.mean(axis=0) for p in parts]), axis=0)
    total, squares = np.empty_like(low), np.empty_like(low)
    for b, part in enumerate(parts):
        gap = part - centre
        total[b] = gap.sum(axis=0)
        squares[b] = np.einsum("ij,ij->j", gap, gap)
    doubted = np.flatnonzero(is_flat_range(low, high).sum(axis=0) >= size // 2)
    return Blocks(centre, total, squares, np.diff(edges).astype(np.float64), doubted, low, high)


def _line(x: F64, y: F64) -> tuple[float, float]:
    if is_flat(x):
        return math.nan, math.nan
    gap = x - x.mean()
    slope = float(gap @ (y - y.mean())) / float(gap @ gap)
    return slope, float(y.mean()) - slope * float(x.mean())


def _check(returns: ArrayLike, blocks: int) -> F64:
    r = np.ascontiguousarray(returns, dtype=np.float64)
    if r.ndim != 2:
        raise TrimtabError(f"returns have shape {r.shape}: expected (T, N), a column per trial; align the trials first")
    if blocks % 2 or not 2 <= blocks <= _MOST_BLOCKS:
        raise TrimtabError(f"blocks is {blocks}: expected an even number from 2 to {_MOST_BLOCKS}")
    rows, trials = r.shape
    if trials < 2:
        raise NotEnoughData(f"{trials} trial: where nothing was chosen, nothing is overfitted; at least 2 are needed")
    if rows < _LEAST_ROWS * blocks:
        raise NotEnoughData(
            f"{rows} common periods in {blocks} blocks: at least {_LEAST_ROWS * blocks} are needed, {_LEAST_ROWS} per "
            "block; run the trials over more data, leave out the shortest, or take fewer blocks"
        )
    if not np.isfinite(r).all():
        row, column = (int(k) for k in np.argwhere(~np.isfinite(r))[0])
        raise TrimtabError(
            f"returns[{row}, {column}] is {r[row, column]}: expected finite returns; align the trials, and leave out "
            "those that are not known throughout"
        )
    return r
