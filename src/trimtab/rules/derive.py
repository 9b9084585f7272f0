"""What the rules read beside bars, bar by bar: the volatility and average volume that were known before it, marks.

A fold like any other: `Derived` is all it carries, so bars may come all at once or one at a time.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from trimtab.compiled import apart, loop, part
from trimtab.compiled.prefetch import prefetch
from trimtab.rules.adjust import ex_close
from trimtab.rules.market import BLOCK, VOL_WINDOW
from trimtab.types import DAY, F64, I64

#: UTC days over which the daily volume is averaged.
VOLUME_DAYS: Final = 20
#: Rows that are derived together, a multiple of BLOCK: what they need fits in the first cache.
STRETCH: Final = 256
#: How many rows ahead memory is fetched.
AHEAD: Final = 64


class Derived(NamedTuple):
    """What is carried from one bar to the next, of N instruments; `underived` is before the first."""

    close: F64  # (N,) last close; 0: none
    vol: F64  # (N,) deviation of the last returns; NaN: fewer than 2
    ring: F64  # (N, 20) the last returns, 0 where there were fewer
    counts: I64  # (N, 2) at and seen of Sums
    sums: F64  # (N, 4) the rest of Sums
    volumes: F64  # (N, 20) of the last UTC days that had a known one
    days: I64  # (N, 3) how many there were; the next midnight, ns; 1 where today's volume is known
    traded: F64  # (N, 2) average of the days; so far today


def underived(instruments: int) -> Derived:
    """Before the first bar."""
    n = instruments
    days = np.zeros((n, 3), np.int64)
    days[:, 1] = -(2**62)
    traded = np.zeros((n, 2))
    traded[:, 0] = np.nan
    counts = np.zeros((n, 2), np.int64)
    return Derived(
        np.zeros(n), np.full(n, np.nan), np.zeros((n, VOL_WINDOW)), counts, np.zeros((n, 4)),
        np.zeros((n, VOLUME_DAYS)), days, traded,
    )  # fmt: skip


@part
def lay(bar, x):
    """Begin a line with the six fields of a bar; where there is none, with NaN."""
    a, b, c, d, e, f = bar[0], bar[1], bar[2], bar[3], bar[4], bar[5]
    if not a > 0.0:
        a = b = c = d = e = f = np.nan
    x[0], x[1], x[2], x[3], x[4], x[5] = a, b, c, d, e, f


class Sums(NamedTuple):
    """Of the last 20 returns, which stand in a ring.

    at, seen              the place of the next one; how many there were
    total, squares        of the 20: added to and taken from
    fresh, fresh_squares  of those since place 0, added up anew: at the end of a round they replace the others, so that
                          rounding does not pile up
    """

    at: int
    seen: int
    total: float
    squares: float
    fresh: float
    fresh_squares: float


@part
def deviations(closes, since, n, ring, sums, scratch, found):
    """found[k + 1]: the deviation of the last 20 returns after the k-th of n bars; found[0] stands before the first.

    closes   the close before the first bar (0: none), then those of the bars
    since    the closes before, less what splits and dividends took of them; empty: nothing
    ring     (20,) the last returns, 0 where there were fewer
    sums     Sums before the first bar; -> those after the last
    scratch  (4, n)

    In three passes, so that the divisions and the square roots of many bars overlap: of one bar after the other they
    take longer than its memory.
    """
    moves, totals, squares, counts = scratch[0], scratch[1], scratch[2], scratch[3]
    for k in range(n):
        moves[k] = closes[k + 1] / closes[k] - 1.0
    if since.shape[0] > 0:
        for k in range(n):
            moves[k] = closes[k + 1] / since[k] - 1.0
    at, seen, total, square, fresh, fresh_square = sums
    for k in range(n):
        if closes[k] > 0.0:
            r, old = moves[k], ring[at]
            ring[at] = r
            total += r - old
            square += r * r - old * old
            fresh += r
            fresh_square += r * r
            seen += 1
            at += 1
            if at == VOL_WINDOW:
                at, total, square, fresh, fresh_square = 0, fresh, fresh_square, 0.0, 0.0
        totals[k], squares[k], counts[k] = total, square, min(seen, VOL_WINDOW)
    for k in range(n):
        count = counts[k]
        spread = math.sqrt(max(squares[k] - totals[k] * totals[k] / count, 0.0) / (count - 1.0))
        found[k + 1] = spread if count >= 2.0 else np.nan
    return Sums(at, seen, total, square, fresh, fresh_square)


@apart
def in_new_shares(volumes, shares):
    """The volumes of the last days, in the shares of a split; apart, so that the loop around it stays fast."""
    for d in range(volumes.shape[0]):
        volumes[d] *= shares


@part
def extremes(mark, first, end, low, high):
    """Lowest and highest mark of the whole blocks of one instrument among the rows from `first` to before `end`."""
    for b in range(first // BLOCK, end // BLOCK):
        lo = hi = mark[b * BLOCK, 0]
        for k in range(1, BLOCK):
            x = mark[b * BLOCK + k, 0]
            lo, hi = min(lo, x), max(hi, x)
        low[b], high[b] = lo, hi


@loop
def derive(state, ts, bars, rows, mark, low, high, block_low, block_high, split, dividend):
    """Lay out bars as lines and write what is derived from them, in one pass over memory.

    state                   Derived, before these bars and then after them
    bars                    (T x N, K) the panel's values; empty where rows are its own memory, which holds them
    rows                    (T, N, 8) the fields of each bar, NaN where there is none, then vol and average_volume
    mark, low, high         (T, N)
    block_low, block_high   (T // BLOCK,) extremes of the mark of one instrument; or empty
    split, dividend         (T, N) as in Market, or (0, N): returns are measured across them, volumes in the new shares

    All is causal: vol and average_volume are known before the bar that they stand beside. vol is the sample deviation
    of the last 20 returns (2 at least); average_volume the mean of the last 20 finished UTC days that had bars with a
    known volume (a bar belongs to the day of its open; longer bars are spread over theirs).

    The arrays are numpy's, because numpy asks for huge pages and numba does not: at a million bars the page faults cost
    more than the arithmetic.
    """
    T, N = rows.shape[0], rows.shape[1]
    closes, found, scratch = np.zeros(STRETCH + 1), np.empty(STRETCH + 1), np.empty((4, STRETCH))
    eventful = split.shape[0] > 0 or dividend.shape[0] > 0
    since = np.empty(STRETCH if eventful else 0)
    for i in range(N):
        ring, volumes = state.ring[i], state.volumes[i]
        counts, totals = state.counts[i], state.sums[i]
        sums = Sums(counts[0], counts[1], totals[0], totals[1], totals[2], totals[3])
        days, midnight, is_known = state.days[i, 0], state.days[i, 1], state.days[i, 2] != 0
        average, traded = state.traded[i, 0], state.traded[i, 1]
        n, closes[0], found[0] = 0, state.close[i], state.vol[i]
        for first in range(0, T, STRETCH):
            end = min(first + STRETCH, T)
            closes[0], found[0] = closes[n], found[n]
            n = 0
            for t in range(first, end):
                x = rows[t, i]
                if bars.shape[0] > 0:
                    prefetch(bars, (t + AHEAD) * N + i, 0)
                    lay(bars[t * N + i], x)
                if x[0] > 0.0:
                    if eventful:
                        shares = split[t, i] if split.shape[0] > 0 else np.nan
                        since[n] = ex_close(closes[n], shares, dividend[t, i] if dividend.shape[0] > 0 else np.nan)
                        if shares == shares and closes[n] > 0.0:
                            in_new_shares(volumes, shares)
                            traded *= shares
                            average *= shares
                    opened = ts[t] - np.int64(x[5])
                    if opened >= midnight:  # the first bar of a day: the one before is finished
                        if is_known:
                            volumes[days % VOLUME_DAYS] = traded
                            days += 1
                            d = min(days, VOLUME_DAYS)
                            average = volumes[:d].sum() / d
                        traded, is_known = 0.0, False
                        midnight = (opened // DAY + 1) * DAY
                    if x[4] >= 0.0:
                        traded += x[4] if x[5] <= DAY else x[4] * DAY / x[5]
                        is_known = True
                    n += 1
                    closes[n] = x[3]
                    low[t, i], high[t, i], mark[t, i] = x[2], x[1], x[3]
                else:
                    low[t, i], high[t, i], mark[t, i] = np.inf, -np.inf, closes[n]
                x[7] = average
            sums = deviations(closes, since, n, ring, sums, scratch, found)
            bar = 0
            for t in range(first, end):
                rows[t, i, 6] = found[bar]
                bar += 1 if rows[t, i, 0] > 0.0 else 0
            if block_low.shape[0] > 0:
                extremes(mark, first, end, block_low, block_high)
        state.close[i], state.vol[i] = closes[n], found[n]
        counts[0], counts[1] = sums.at, sums.seen
        totals[0], totals[1], totals[2], totals[3] = sums.total, sums.squares, sums.fresh, sums.fresh_squares
        state.days[i, 0], state.days[i, 1], state.days[i, 2] = days, midnight, 1 if is_known else 0
        state.traded[i, 0], state.traded[i, 1] = average, traded
