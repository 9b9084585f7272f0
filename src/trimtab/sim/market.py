"""From a Panel to the arrays that the rules read: padded rows, marks, causal volatility and average volume."""

from __future__ import annotations

import math
import weakref
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.compiled import loop, part
from trimtab.rules.book import wallets_of
from trimtab.rules.market import VOL_WINDOW, Market
from trimtab.sim.driver import BLOCK
from trimtab.sim.prefetch import prefetch
from trimtab.types import DAY, F64, I64, LINE, Panel, TrimtabError

#: UTC days over which the daily volume is averaged.
VOLUME_DAYS: Final = 20
#: Rows that are derived together, a multiple of BLOCK: what they need fits in the first cache.
STRETCH: Final = 256
#: How many rows ahead memory is fetched.
AHEAD: Final = 64


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
def deviations(closes, n, ring, sums, scratch, found):
    """found[k + 1]: the deviation of the last 20 returns after the k-th of n bars; found[0] stands before the first.

    closes   the close before the first bar (0: none), then those of the bars
    ring     (20,) the last returns, 0 where there were fewer
    sums     Sums before the first bar; -> those after the last
    scratch  (4, n)

    In three passes, so that the divisions and the square roots of many bars overlap: of one bar after the other they
    take longer than its memory.
    """
    moves, totals, squares, counts = scratch[0], scratch[1], scratch[2], scratch[3]
    for k in range(n):
        moves[k] = closes[k + 1] / closes[k] - 1.0
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
def derive(ts, bars, rows, mark, low, high, block_low, block_high):
    """Lay out bars as lines and write what is derived from them, in one pass over memory.

    bars                    (T x N, K) the panel's values; empty where rows are its own memory, which holds them
    rows                    (T, N, 8) the fields of each bar, NaN where there is none, then vol and average_volume
    mark, low, high         (T, N)
    block_low, block_high   (T // BLOCK,) extremes of the mark of one instrument; or empty

    All is causal: vol and average_volume are known before the bar that they stand beside. vol is the sample deviation
    of the last 20 returns (2 at least); average_volume the mean of the last 20 finished UTC days that had bars with a
    known volume (a bar belongs to the day of its open; longer bars are spread over theirs).

    The arrays are numpy's, because numpy asks for huge pages and numba does not: at a million bars the page faults cost
    more than the arithmetic.
    """
    T, N = rows.shape[0], rows.shape[1]
    closes, found, scratch = np.zeros(STRETCH + 1), np.empty(STRETCH + 1), np.empty((4, STRETCH))
    for i in range(N):
        ring, sums = np.zeros(VOL_WINDOW), Sums(0, 0, 0.0, 0.0, 0.0, 0.0)
        average, volumes, days, midnight = np.nan, np.zeros(VOLUME_DAYS), 0, np.int64(-(2**62))
        traded, is_known = 0.0, False  # of the day under way
        n, closes[0], found[0] = 0, 0.0, np.nan
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
            sums = deviations(closes, n, ring, sums, scratch, found)
            bar = 0
            for t in range(first, end):
                rows[t, i, 6] = found[bar]
                bar += 1 if rows[t, i, 0] > 0.0 else 0
            if block_low.shape[0] > 0:
                extremes(mark, first, end, block_low, block_high)


@loop
def survey(values, first, silent):
    """Look at all bars (T, N, K) once: t x N + i of the first of which only some prices are positive numbers, or -1.

    first   (N,) the row of each instrument's first close; 0 where there is none
    silent  (N,) 1 where no bar has a known volume
    """
    T, N = values.shape[0], values.shape[1]
    first[:], silent[:] = -1, 1
    for t in range(T):
        for i in range(N):
            prefetch(values, t + AHEAD, i)
            x = values[t, i]
            whole = (x[0] > 0.0) & (x[1] > 0.0) & (x[2] > 0.0) & (x[3] > 0.0) & (x[0] + x[1] + x[2] + x[3] < np.inf)
            if not whole:  # or too large to be added up: each by itself
                seen = 0
                for k in range(4):
                    seen += 1 if 0.0 < x[k] < np.inf else 0
                if seen != 0 and seen != 4:
                    return t * N + i
                whole = seen == 4
            if whole & (first[i] < 0):
                first[i] = t
            if x[4] > 0.0:
                silent[i] = 0
    for i in range(N):
        first[i] = max(first[i], 0)
    return -1


def day_ends(ts: I64) -> I64:
    """Rows that end a UTC day: the last at or before each 00:00; a bar that closes at 00:00 ends the day before."""
    if not len(ts):
        return np.empty(0, np.int64)
    midnights = np.arange((ts[0] - 1) // DAY + 1, (ts[-1] - 1) // DAY + 2) * DAY
    return np.unique(np.searchsorted(ts, midnights, side="right") - 1)


#: Memory of panels that a market already writes to, by id: another panel over the same bars gets a copy.
_taken: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def lines_of(panel: Panel) -> tuple[F64, F64]:
    """(T, N, 8) lines, and the bars (T x N, K) to copy into them: none where they are the panel's own memory."""
    values, lines = panel.values, panel.lines
    shape = (*values.shape[:2], LINE)
    if lines is not None and lines.shape == shape and values.strides == lines.strides and id(lines) not in _taken:
        _taken[id(lines)] = lines
        nothing = np.empty((0, shape[2]))
        nothing.flags.writeable = False  # of the same type to numba as a panel's values
        return lines, nothing
    return np.empty(shape), np.ascontiguousarray(values).reshape(-1, values.shape[2])


def build_market(panel: Panel, base: str = "") -> Market:
    """The Market of a panel, see docs/fills.md for the windows of vol and average_volume.

    base   the currency of equity; empty: that of the first instrument. Where an instrument is quoted in another one,
           the panel's field `fx` holds base currency per unit of it, as it is known at each row
    """
    shape, base = panel.values.shape[:2], base or panel.instruments[0].quote
    rows, bars = lines_of(panel)
    mark, low, high = np.empty(shape), np.empty(shape), np.empty(shape)
    alone = shape[1] == 1 and panel.instruments[0].quote == base
    block_low, block_high = (np.empty(shape[0] // BLOCK if alone else 0) for _ in range(2))
    derive(panel.ts, bars, rows, mark, low, high, block_low, block_high)
    mark = in_base(panel, mark, base)
    funding, spread = (field_of(panel, name) for name in ("funding", "spread"))
    return Market(panel.ts, rows, mark, low, high, funding, spread, block_low, block_high, day_ends(panel.ts))


def field_of(panel: Panel, name: str) -> F64:
    """(T, N) of a further field; (0, N) where the panel has none of that name."""
    if name not in panel.fields:
        return np.empty((0, len(panel.instruments)))
    return panel.values[:, :, panel.fields.index(name)].copy()


def in_base(panel: Panel, mark: F64, base: str) -> F64:
    """Marks (T, N) in base currency, then a column of exchange rates per foreign wallet; 0: not known yet."""
    foreign = [(place, wallet) for wallet, place in wallets_of(panel.instruments).items() if wallet[1] != base]
    if not foreign:
        return mark
    rates = {quote: rate_of_currency(panel, quote, base) for quote in {wallet[1] for _, wallet in foreign}}
    for i, instrument in enumerate(panel.instruments):
        if instrument.quote != base:
            mark[:, i] *= rates[instrument.quote]
    return np.column_stack([mark, *(rates[wallet[1]] for _, wallet in foreign)])


def rate_of_currency(panel: Panel, quote: str, base: str) -> F64:
    """(T,) base currency per unit of quote, filled forward; 0 before the first."""
    if "fx" not in panel.fields:
        raise TrimtabError(
            f"{quote} is not the base currency {base}, and the panel has no field `fx` ({base} per {quote} at each "
            "row): add it, or run one spec per currency"
        )
    own = [i for i, instrument in enumerate(panel.instruments) if instrument.quote == quote]
    given = panel.values[:, own, panel.fields.index("fx")]
    known = np.where(given > 0.0, given, np.nan)
    first = np.full(len(panel.ts), np.nan)
    for column in known.T:  # whichever instrument of this currency has a rate
        first = np.where(np.isnan(first), column, first)
    at = np.maximum.accumulate(np.where(np.isnan(first), -1, np.arange(len(first))))
    return np.where(at >= 0, first[at], 0.0)
