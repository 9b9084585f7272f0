"""Does a ready-made column know later rows? Measured, where no copy of anything gives it away.

A column f (R,) beside a series of the bars. Both it and the later changes of the series are freed of what the series'
past says of them (least squares); what is left of the column is its news. An honest column's news are of the past, or
of elsewhere: later changes explain nothing of them but what markets let anybody foretell, which is little.
"""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

import numpy as np

from trimtab.types import F64, I64

#: Rows that are looked at, the last ones; later rows that stand one by one, and spans of several beyond them.
ROWS: Final = 4_000
_FINE: Final = 16
_SPANS: Final = (32, 64, 128)
#: Rows of a block: coefficients of every second one are tried on the others.
_BLOCK: Final = 128
_SHIFTS: Final = 99
_LEAST: Final = 200


class Share(NamedTuple):
    """explained: squared rank correlation of news with what later rows make of them, 0 to 1, on blocks not fitted on;
    chance: the largest such share when the news are moved along by other numbers of rows; row: where it shows most."""

    explained: float
    chance: float
    row: int


def foretold(f: F64, level: F64, rng: np.random.Generator, least: float = 0.1) -> Share | None:
    """What later changes of a series `level` (R,) explain of the news in column f (R,).

    least  the share from which chance is measured too

    None where there are too few rows for it, or where the column is a function of the series' past.
    """
    spans = [span for span in _SPANS if 30 * span <= min(len(f), ROWS)]
    reach = spans[-1] if spans else _FINE
    start = max(len(f) - ROWS - 2 * reach, 0)
    f, level = f[start:], level[start:]
    past, future = _changes(level, spans, reach)
    kept = np.isfinite(f) & np.isfinite(level) & np.isfinite(past).all(axis=1) & np.isfinite(future).all(axis=1)
    if kept.sum() < max(_LEAST, 5 * past.shape[1]):
        return None
    if not level[kept].std() > 0.0:
        return None
    # A column may be made of prices or of their logarithms: the curve between the two is no news.
    bent = _bent(level[kept])
    known = np.column_stack((np.ones(int(kept.sum())), level[kept], bent, past[kept]))
    told = np.column_stack((f[kept], future[kept]))
    scale = told.std(axis=0)
    if not scale.all():
        return None
    left = _rest(known, told / scale)
    news, later = left[:, 0], _clipped(left[:, 1:])
    if news.std() <= 1e-7:
        return None
    explained, row = _explained(news, later)
    chance = 0.0
    if explained >= least:
        room = min(reach + _BLOCK, len(news) // 3)
        for moved in rng.integers(room, len(news) - room, _SHIFTS):
            chance = max(chance, _explained(np.roll(news, int(moved)), later)[0])
    return Share(explained, chance, start + int(np.flatnonzero(kept)[row]))


def _changes(level: F64, spans: list[int], reach: int) -> tuple[F64, F64]:
    """Changes of a series up to each row, and after it: single ones nearby, those of longer spans further off."""
    edges = [*range(_FINE + 1), *(span for span in spans if span > _FINE)]
    padded = np.concatenate((np.full(reach, np.nan), level, np.full(reach, np.nan)))
    at = np.arange(len(level)) + reach
    past = [padded[at - a] - padded[at - b] for a, b in itertools.pairwise(edges)]
    future = [padded[at + b] - padded[at + a] for a, b in itertools.pairwise(edges)]
    return np.column_stack(past), np.column_stack(future)


def _bent(level: F64) -> F64:
    """Powers of a level: a price as its logarithm, and the other way round, but for little."""
    centred = (level - level.mean()) / level.std()
    return np.column_stack((centred**2, centred**3))


def _rest(known: F64, told: F64) -> F64:
    """What least squares on `known` leaves of each column."""
    known = known / np.linalg.norm(known, axis=0)
    gram = known.T @ known  # small, where a decomposition of all rows would wait for threads
    gram[np.diag_indices_from(gram)] += 1e-12
    for _ in range(4):  # what is left may be a millionth of it
        told = told - known @ np.linalg.solve(gram, known.T @ told)
    return told


def _clipped(columns: F64) -> F64:
    low, high = np.quantile(columns, (0.005, 0.995), axis=0)
    return np.clip(columns, low, high)


def _explained(news: F64, later: F64) -> tuple[float, int]:
    """The share, and the row that shows it most: each half of the blocks by the coefficients of the other."""
    odd = np.arange(len(news)) // min(_BLOCK, len(news) // 4) % 2 == 1
    made = np.empty(len(news))
    for half in (odd, ~odd):
        x = later[half]
        gram = x.T @ x
        gram[np.diag_indices_from(gram)] *= 1.0 + 1e-9
        made[~half] = later[~half] @ np.linalg.solve(gram, x.T @ news[half])
    together = float(np.corrcoef(_ranks(news), _ranks(made))[0, 1])
    return max(together, 0.0) ** 2, int((made * news).argmax())


def _ranks(x: F64) -> F64:
    """Ranks, the mean of them where values are equal."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: I64 = 2 * ends - counts
    return middle[inverse].astype(np.float64)
