"""What a ready-made column betrays of how it was made: tests of one column against the bars that it stands beside.

Nothing here knows a strategy. A column f (R,) stands on rows of one instrument, of which it may use those up to its
own. Each test returns what it found, or None; `proof` says whether an honest column could not have done it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from trimtab.types import F64, I64

#: Two numbers are the same if they differ by no more than this share of them: the rounding of another order of sums.
_SAME: Final = 1e-9
#: Rows that must tell one thing from the other.
_LEAST: Final = 50
#: Bars by which a copied series is looked for ahead, and behind.
_SHIFTS: Final = 10
_BEHIND: Final = 10
#: Rows ahead in which a new extreme is looked for.
_AHEAD: Final = 256
#: Shares of rows that prove a copy from later rows, and that clear it.
_COPIED: Final = 0.98
_CLEARED: Final = 0.9

Bool = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


class Seen(NamedTuple):
    """row: the first that shows it; size: share of rows, or of the column's news, that stem from later rows."""

    row: int
    size: float
    told: str
    cause: str
    proof: bool = True


def same(a: F64, b: F64) -> Bool:
    """Equal but for rounding; NaN is equal to nothing."""
    with np.errstate(invalid="ignore"):
        return np.abs(a - b) <= _SAME * np.maximum(np.abs(a), np.abs(b))


def derived_of(bars: Mapping[str, F64]) -> dict[str, F64]:
    """Series that people copy: the columns of the bars, and changes of the close."""
    found = {name: bars[name] for name in ("open", "high", "low", "close", "volume") if name in bars}
    close = bars["close"]
    with np.errstate(all="ignore"):
        before = np.concatenate(([np.nan], close[:-1]))
        found["the change of close"] = close - before
        found["the return of close"] = close / before - 1.0
        found["the log return of close"] = np.log(close / before)
        found["the log of close"] = np.log(close)
        found["the sign of the change of close"] = np.sign(close - before)
        found["whether close rose"] = np.where(np.isnan(before), np.nan, (close > before).astype(np.float64))
        found["the return from open to close"] = close / bars["open"] - 1.0
        found["the sign of close less open"] = np.sign(close - bars["open"])
    return found


# --- copies of later rows --------------------------------------------------------------------------------------------


def shifted(f: F64, bars: Mapping[str, F64]) -> Seen | None:
    """Is the column a series of the bars, moved up by one to ten rows, and none that is moved down?"""
    sources = derived_of(bars)
    known = np.isfinite(f)
    if known.sum() < _LEAST or len(np.unique(f[known])) < 2:
        return None
    first = np.flatnonzero(known)[: 4 * _LEAST]  # most columns are copies of nothing: a look at the first rows says so
    best: tuple[float, str, int] | None = None
    for name, g in sources.items():
        for k in range(1, min(_SHIFTS, len(f) - 1) + 1):
            few = first[first < len(f) - k]
            if same(f[few], g[few + k]).mean() < 0.8 * np.isfinite(g[few + k]).mean():
                continue
            both = known[:-k] & np.isfinite(g[k:])
            share = float(same(f[:-k], g[k:])[both].mean()) if both.sum() >= _LEAST else 0.0
            if share >= _COPIED and (best is None or share > best[0]):
                best = share, name, k
    if best is None:
        return None
    share, name, k = best
    # The open of a bar is the close of the one before it in many markets: what stands behind clears the column.
    if _from_behind(f, sources, known) > _CLEARED:
        return None
    g = sources[name]
    row = int(np.argmax(same(f[:-k], g[k:])))
    rows = "the next row" if k == 1 else f"{k} rows later"
    told = f"is {name} of {rows} in {share:.1%} of its rows"
    return Seen(row, share, told, f"a shift(-{k}), or bars labelled by their open and taken as known then")


def _from_behind(f: F64, sources: Mapping[str, F64], known: Bool) -> float:
    """The largest share of rows in which one series of the bars, of the same row or a few before, says the same."""
    largest = 0.0
    for g in sources.values():
        for k in range(_BEHIND + 1):
            late = f[k:]
            both = known[k:] & np.isfinite(g[: len(g) - k])
            if both.sum() >= _LEAST:
                largest = max(largest, float(same(late, g[: len(g) - k])[both].mean()))
    return largest


def first_seen_later(f: F64, bars: Mapping[str, F64]) -> Seen | None:
    """Are its values prices that the bars show in later rows only, as those of a bar joined on its open time are?"""
    known = np.flatnonzero(np.isfinite(f))
    if len(known) < _LEAST:
        return None
    names = [name for name in ("open", "high", "low", "close") if name in bars]
    prices = np.concatenate([bars[name] for name in names])
    rows = np.tile(np.arange(len(f)), len(names))
    there = np.isfinite(prices)
    order = np.lexsort((rows[there], prices[there]))
    values, at = np.unique(prices[there][order], return_index=True)
    first = rows[there][order][at]
    if len(values) < 20:
        return None

    def later(column: F64) -> tuple[Bool, I64]:
        place = np.minimum(np.searchsorted(values, column), len(values) - 1)
        return (values[place] == column) & (first[place] > known), first[place]

    hit, source = later(f[known])
    if hit.sum() < _LEAST or len(np.unique(f[known][hit])) < 20:
        return None
    # On a coarse grid of ticks a number is met later by chance: as often as its neighbours on that grid are.
    tick = float(np.diff(values).min())
    chance = max(float(later(f[known] + step)[0].mean()) for step in (tick, -tick))
    share = float(hit.mean())
    if share < 0.2 or chance > share / 4.0:
        return None
    row = int(known[hit.argmax()])
    ahead = int(np.median((source - known)[hit]))
    return Seen(
        row,
        share,
        f"holds prices that the bars show only later, {ahead} rows at the median, in {share:.1%} of its rows",
        "a slower bar joined on its open time, a resample with the label on the wrong side, a window that is not "
        "moved to its last row, or a fill backwards",
    )


def led_extreme(f: F64, bars: Mapping[str, F64]) -> Seen | None:
    """Does a running maximum rise, or a minimum fall, a constant number of rows before the bars do?"""
    change = np.diff(f, prepend=np.nan)
    for name in ("high", "low", "close", "volume"):
        g = bars[name]
        for moves, what in ((change > 0.0, "maximum"), (change < 0.0, "minimum")):
            rows = np.flatnonzero(moves)
            rows = rows[rows < len(f) - _AHEAD]
            if len(rows) < 30 or same(f[rows], g[rows]).mean() > 0.05:
                continue
            rows = rows[:: max(len(rows) // 2_000, 1)]
            hits = same(f[rows][:, None], g[rows[:, None] + np.arange(_AHEAD)])
            found = hits.any(axis=1)
            leads = hits.argmax(axis=1)[found]
            if found.mean() < _CLEARED:
                continue
            lead = int(np.bincount(leads).argmax())
            share = float((leads == lead).mean() * found.mean())
            if lead > 0 and share >= _CLEARED:
                told = f"moves to a new {what} of {name} {lead} rows before the bars do, {share:.1%} of the times"
                cause = "a centred window, or one that is not moved to its last row"
                return Seen(int(rows[found][leads == lead][0]), share, told, cause)
    return None


class Slow(NamedTuple):
    """A slower series: known (B,) instants from which each value may be used, rising; values (B,)."""

    known: I64
    values: F64


def early(f: F64, ts: I64, slow: Slow) -> tuple[int, float, int] | None:
    """Does a column show values of a slower series before they are known?

    ts  (R,) closes of the rows of f
    ->  the first row that does, the share of telling rows that do, ns by which that row is early; None
    """
    finite = np.isfinite(slow.values)
    known, values = slow.known[finite], slow.values[finite]
    if len(values) < 10:
        return None
    at = np.searchsorted(known, ts, side="right") - 1  # the newest that may be used
    last = len(values) - 1
    told = [values[np.clip(at + k, 0, last)] for k in (0, 1, 2, 3)]
    telling = np.isfinite(f) & (at >= 0) & (at < last) & ~same(f, told[0])
    if telling.sum() < 10 or telling.sum() < 0.02 * np.isfinite(f).sum():
        return None
    ahead = same(f, told[1])
    for k in (2, 3):
        ahead |= (at + k <= last) & same(f, told[k])
    hit = telling & ahead
    share = float(hit.sum() / telling.sum())
    if share < 0.95 or len(np.unique(f[hit])) < 10:
        return None
    row = int(hit.argmax())
    step = next(k for k in (1, 2, 3) if same(f[row : row + 1], told[k][row : row + 1])[0])
    return row, share, int(known[at[row] + step] - ts[row])


def filled_back(f: F64, bars: Mapping[str, F64]) -> Seen | None:
    """Does it have values where a column of the bars has none, and are they the next that comes?"""
    for name, g in bars.items():
        absent = np.isnan(g)
        rows = np.flatnonzero(absent & np.isfinite(f))
        if len(rows) < 5 or absent.all():
            continue
        there = np.flatnonzero(~absent)
        after = np.searchsorted(there, rows)
        inside = (after > 0) & (after < len(there))
        rows, after = rows[inside], after[inside]
        following, before = g[there[after]], g[there[after - 1]]
        apart = ~same(following, before)
        if apart.sum() < 5:
            continue
        hit = same(f[rows], following) & apart
        share = float(hit.sum() / apart.sum())
        if share >= _CLEARED:
            told = f"has the next {name} in {share:.1%} of the rows that have no {name}"
            return Seen(int(rows[hit.argmax()]), share, told, "a fill backwards (bfill, backward_fill, interpolate)")
    return None


def filled_head(f: F64) -> Seen | None:
    """Does it begin with copies of its own first value? An honest column has nothing there, or a round number."""
    known = np.flatnonzero(np.isfinite(f))
    if len(known) < 2 * _LEAST or known[0] != 0:
        return None
    moves = np.flatnonzero(f[known[1:]] != f[known[:-1]])
    if not len(moves) or moves[0] < 4:
        return None
    head, after = int(moves[0]) + 1, f[known[moves[0] + 1 :]]
    lively = float((after[1:] != after[:-1]).mean()) if len(after) > _LEAST else 0.0
    if lively < 0.9 or _is_round(float(f[0]), 4):
        return None
    told = f"begins with {head} rows of {f[0]:.12g} and changes with nearly every row after them"
    return Seen(0, head / len(known), told, "its warm-up was filled backwards with its first value", proof=False)


def _is_round(value: float, digits: int = 6) -> bool:
    """A number that a person writes down: so many digits at most."""
    return float(f"{value:.{digits}g}") == value


# --- the whole sample ------------------------------------------------------------------------------------------------


def moments_of(g: F64) -> dict[str, float]:
    """What people normalise by, of a whole series."""
    g = g[np.isfinite(g)]
    if len(g) < _LEAST:
        return {}
    return {
        "mean": float(g.mean()),
        "deviation": float(g.std(ddof=1)),
        "deviation (of the population)": float(g.std()),
        "largest value": float(g.max()),
        "smallest value": float(g.min()),
        "median": float(np.median(g)),
    }


def normalised(f: F64, bars: Mapping[str, F64]) -> Seen | None:
    """Is it scaled by moments or extremes of the whole sample, its own or those of a series of the bars?"""
    known = np.isfinite(f)
    own = f[known]
    if len(own) < 2 * _LEAST or len(np.unique(own)) < _LEAST:
        return None
    mean, spread = float(own.mean()), float(own.std())
    centred = abs(mean) <= 1e-10 * spread
    unit = min(abs(spread - 1.0), abs(float(own.std(ddof=1)) - 1.0)) <= 1e-9
    row = int(known.argmax())
    if centred and unit:
        told = f"has a mean of 0 and a deviation of 1 over its {len(own):,} rows, to the last digit"
        return Seen(row, 1.0, told, "it was standardised by the mean and deviation of the whole sample")
    for name, g in derived_of(bars).items():
        if name.startswith(("the sign", "whether")):
            continue
        found = _affine(f, g, name)
        if found:
            return found
    ranks = _ranked(f, bars)
    if ranks:
        return ranks
    low, high = float(own.min()), float(own.max())
    once = (own == low).sum() == 1 and (own == high).sum() == 1
    # A place in a moving range is near both its ends often; one in the range of the whole sample near one at most.
    edge = 0.02 * (high - low)
    near = min(float((own < low + edge).mean()), float((own > high - edge).mean()))
    if once and near < 0.005 and low in (0.0, -1.0) and abs(high - 1.0) <= 1e-12:
        told = f"lies within {low:g} and 1, and touches each of them exactly once in {len(own):,} rows"
        return Seen(row, 1.0, told, "it was scaled by the extremes of the whole sample", proof=False)
    if centred and len(np.unique(np.round(own / spread, 9))) > 0.5 * len(own):
        told = f"has a mean of 0 over its {len(own):,} rows, to the last digit"
        return Seen(row, 1.0, told, "the mean of the whole sample was taken off", proof=False)
    return None


def _affine(f: F64, g: F64, name: str) -> Seen | None:
    """f = a + b g with a and b made of g's own whole sample: proof; with an a that nobody would write: suspicion."""
    both = np.isfinite(f) & np.isfinite(g)
    if both.sum() < 2 * _LEAST or both.sum() < 0.9 * np.isfinite(f).sum():
        return None
    x, y = g[both], f[both]
    i, j = int(x.argmin()), int(x.argmax())
    if not _is_line(x, y):
        return None
    slope = (y[j] - y[i]) / (x[j] - x[i])
    start = y[i] - slope * x[i]
    scale = max(float(np.abs(y).max()), abs(start))
    moved = abs(start) > 1e-12 * scale
    row = int(both.argmax())
    at, spread = -start / slope, abs(1.0 / slope)
    moments = moments_of(x)
    reach = moments["largest value"] - moments["smallest value"]
    exact = 1e-8 * float(np.abs(x).max())
    level = next((k for k, v in moments.items() if "dev" not in k and abs(v - at) <= exact), None) if moved else None
    width = {**moments, "range": reach}
    size = next((k for k, v in width.items() if abs(abs(v) - spread) <= 1e-8 * spread), None)
    if level is not None or (size is not None and abs(start) <= 1e-9 * scale and spread != 1.0):
        parts = [f"less its {level}"] if level else []
        parts += [f"divided by its {size}"] if size else []
        told = f"is {name} {', '.join(parts)}, those of all {both.sum():,} rows"
        return Seen(row, 1.0, told, "it was normalised by the whole sample")
    if abs(start) > 1e-6 * scale and not (_is_round(float(f"{at:.9g}")) or _is_round(float(f"{start:.9g}"))):
        told = f"is {name} less {at:.9g}, divided by {spread:.9g}, in every row"
        return Seen(row, 1.0, told, "moments of a sample that is not all of these rows", proof=False)
    return None


def _ranked(f: F64, bars: Mapping[str, F64]) -> Seen | None:
    """The rank of each row among all rows, in any scale."""
    known = np.isfinite(f)
    ordered: F64 = np.sort(f[known])
    steps: F64 = np.diff(ordered) / (ordered[-1] - ordered[0]) * len(ordered)
    if len(np.unique(np.round(steps, 3))) > 0.1 * len(ordered):
        return None  # ranks stand in equal steps
    for name, g in derived_of(bars).items():
        if name.startswith(("the sign", "whether")) or not np.isfinite(g[known]).all():
            continue
        _, inverse, counts = np.unique(g[known], return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        for ranks in (2 * ends - counts, ends, ends - counts, np.arange(len(ends))):
            if _is_line(ranks.astype(np.float64)[inverse], f[known]):
                told = f"is the rank of {name} among all {known.sum():,} rows"
                return Seen(int(known.argmax()), 1.0, told, "a rank() over the whole sample")
    return None


def _is_line(x: F64, y: F64) -> bool:
    """y = a + b x, but for rounding."""
    i, j = int(x.argmin()), int(x.argmax())
    slope = (y[j] - y[i]) / (x[j] - x[i]) if x[i] != x[j] else 0.0
    start = y[i] - slope * x[i]
    scale = max(float(np.abs(y).max()), abs(start))
    return bool(np.isfinite(scale) and slope != 0.0 and float(np.abs(start + slope * x - y).max()) <= 1e-9 * scale)
