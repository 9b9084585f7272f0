"""Prices that cannot be, and those that are hard to believe."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from trimtab.data.quality.findings import Bars, Hit, where
from trimtab.types import F64, I64

STALE_BARS: Final = 12  # identical closes in a row from which a run is listed
SAME_BARS: Final = 3  # bars in a row that are the same in every price and in a volume above zero
OUTLIER_SCALE: Final = 20.0  # local robust standard deviations of log returns beyond which a return is listed
LOCAL_BARS: Final = 250  # returns that make up a stretch of time with a volatility of its own
_FEWEST: Final = 20  # returns below which nothing is known about their size
_TO_DEVIATION: Final = 1.4826  # of a normal distribution: median absolute size to standard deviation


def price_faults(b: Bars) -> list[Hit]:
    """What no market can have printed."""
    lowest = np.minimum(np.minimum(b.open, b.close), np.minimum(b.high, b.low))
    highest = np.maximum(np.maximum(b.open, b.close), np.maximum(b.high, b.low))
    absent = ~(np.isfinite(lowest) & np.isfinite(highest))
    odd = np.flatnonzero((b.high >= b.low) & ((lowest < b.low) | (highest > b.high)))

    def say(i: int) -> str:
        r = odd[i]
        return f"open {b.open[r]:g} or close {b.close[r]:g} lies outside low {b.low[r]:g} … high {b.high[r]:g}"

    return [
        where("no_price", absent, "a price is missing, NaN or infinite"),
        where("non_positive_price", lowest <= 0, "a price is zero or negative"),
        where("high_below_low", b.high < b.low, "high is below low"),
        Hit("outside_range", odd, say),
        where("negative_volume", b.volume < 0, "volume is negative"),
    ]


def stale_runs(b: Bars) -> tuple[Hit, I64]:
    """Runs in which nothing moves, and the rows (D,) that they hold beyond their first."""
    rows, runs = _runs(b.close[1:] == b.close[:-1])
    long = runs >= STALE_BARS
    same = (b.volume[1:] == b.volume[:-1]) & (b.volume[1:] > 0)
    for column in (b.open, b.high, b.low, b.close):
        same &= column[1:] == column[:-1]
    again, copies = _runs(same)
    often = copies >= SAME_BARS
    at = np.concatenate((rows[long], again[often]))
    order = np.argsort(at, kind="stable")
    n_long = int(long.sum())

    def say(i: int) -> str:
        k = int(order[i])
        if k < n_long:
            return f"{runs[long][k]} closes in a row are {b.close[at[k]]:g}"
        return f"{copies[often][k - n_long]} bars in a row are the same, their volume too"

    marked = np.zeros(len(b.close) + 1, dtype=np.int64)
    for starts, sizes in ((rows[long], runs[long]), (again[often], copies[often])):
        np.add.at(marked, starts + 1, 1)
        np.add.at(marked, starts + sizes, -1)
    return Hit("stale", at[order], say), np.flatnonzero(np.cumsum(marked)[:-1] > 0)


def _runs(as_before: np.ndarray) -> tuple[I64, I64]:
    """First rows and sizes of runs of rows that are as the one before: (R - 1,) -> two of (runs,)."""
    starts = np.flatnonzero(np.append(True, ~as_before))
    return starts, np.diff(np.append(starts, len(as_before) + 1))


# --- outliers --------------------------------------------------------------------------------------------------------


def local_deviation(returns: F64) -> F64:
    """The robust standard deviation of returns around each of them: (R,) -> (R,), inf where too few are known.

    1.4826 times the median absolute return of each LOCAL_BARS; of a stretch and its two neighbours the largest
    counts, so that a market that wakes up is not taken for a fault. Stretches in which most returns are zero have the
    deviation of the whole series.
    """
    n = len(returns)
    usable = returns[np.isfinite(returns)]
    if len(usable) < _FEWEST:
        return np.full(n, np.inf)
    whole = _deviation(usable[None, :])[0] or float(usable.std()) or np.inf
    if n <= LOCAL_BARS:
        return np.full(n, whole)
    count = n // LOCAL_BARS
    blocks = returns[: count * LOCAL_BARS].reshape(count, LOCAL_BARS)
    if count * LOCAL_BARS < n:
        blocks = np.vstack((blocks, returns[-LOCAL_BARS:]))
    if len(usable) < n:
        blocks = np.where(np.isfinite(blocks), blocks, 0.0)
    each = _deviation(blocks)
    each[each == 0.0] = whole
    wide = np.maximum(each, np.maximum(np.append(each[1:], 0.0), np.append(0.0, each[:-1])))
    return np.repeat(wide, LOCAL_BARS)[:n]


def _deviation(blocks: F64) -> F64:
    # Around zero, not around the median: what only drifts is no outlier in every bar.
    return _TO_DEVIATION * np.median(np.abs(blocks), axis=1)


class Moves(NamedTuple):
    """returns (R - 1,) log, from close to close; unit (R,) their robust deviation at the time of each bar."""

    returns: F64
    unit: F64


def moves_of(b: Bars) -> Moves:
    """How closes move, and how much is usual."""
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(b.close))
    unit = local_deviation(returns)
    return Moves(returns, np.append(unit[:1], unit) if len(unit) else np.full(len(b.close), np.inf))


def outliers(b: Bars, moves: Moves, length: int, explained: I64) -> Hit:
    """Closes, highs and lows far beyond what is usual at their time; volatility grows with the root of the step.

    explained  rows whose jump has another name already
    """
    returns, unit = moves
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.append(0.0, returns)
        moved[1:] /= np.sqrt(np.maximum(np.diff(b.opens) / length, 1.0))
        far = np.abs(moved) > OUTLIER_SCALE * unit
        above, below = np.log(b.high / np.maximum(b.open, b.close)), np.log(np.minimum(b.open, b.close) / b.low)
        up, down = above > OUTLIER_SCALE * unit, below > OUTLIER_SCALE * unit
    for wrong, size in ((far, moved), (up, above), (down, below)):
        wrong &= np.isfinite(size)  # what is not has another name
    far[explained] = False
    rows = np.flatnonzero(far | up | down)

    def say(i: int) -> str:
        r = int(rows[i])
        if far[r]:
            return _of_close(float(returns[r - 1]), returns[r : r + 1].tolist(), abs(float(moved[r])) / unit[r])
        name, price, body = ("high", b.high[r], max(b.open[r], b.close[r])) if up[r] else (
            "low", b.low[r], min(b.open[r], b.close[r])
        )  # fmt: skip
        times = abs(float(np.log(price / body))) / unit[r]
        return (
            f"{name} {price:g} is {price / body - 1:+.1%} off open and close, {times:.0f} times the usual: a bad tick?"
        )

    return Hit("outlier", rows, say)


def _of_close(move: float, next_move: list[float], times: float) -> str:
    told = f"close moves {np.expm1(move):+.1%}, {times:.0f} times the usual of its time"
    if next_move and abs(next_move[0] + move) < 0.2 * abs(move):
        return f"{told}, and back with the next bar: a bad tick?"
    return f"{told}: a bad tick, an event or a crash"
