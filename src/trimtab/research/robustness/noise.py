"""Prices measured a little wrong: what of the Sharpe depends on the very prices that were?

All prices of a bar are multiplied by one factor, exp(scale x volatility x z) with z standard normal, so that the bar
stays a bar: low <= open, close <= high, all above 0. The volatility is the bar's own: that of its range (Parkinson),
and where the range is 0 (closes only) the size of its return. Volume and everything else stay. Each bar of each
instrument is drawn for itself, so the noise does not add up over time.

Source: Parkinson (1980), J. Business 53(1), for the volatility of a range.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import msgspec
import numpy as np

from trimtab.research.backtest import run_spec
from trimtab.research.robustness.outcome import (
    NAN,
    Outcome,
    Progress,
    check_count,
    outcome_of,
    outcomes,
    sharpes_of,
    tried,
)
from trimtab.types import F64, Panel, Spec, TrimtabError

PRICES: Final = ("open", "high", "low", "close")


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """scale: deviation of the noise in units of the bar's own volatility; level: share of the paths in the band."""

    scale: float = 0.1
    paths: int = 100
    level: float = 0.9
    seed: int = 0


class Noised(NamedTuple):
    """The Sharpe without noise beside that of each path (P,), and quantiles of these.

    positive  share of the paths with a Sharpe above 0; one without a Sharpe counts as not
    """

    centre: Outcome
    sharpes: tuple[float, ...]
    low: float
    middle: float
    high: float
    positive: float
    why: str = ""


def noise(
    spec: Spec, panel: Panel, how: Noise | None = None, progress: Progress = None, threads: int | None = None
) -> Noised:
    """A spec on so many panels with noise; path k is the same whatever the number of paths."""
    how = how or Noise()
    check_count("paths", how.paths)
    if not (0.0 <= how.scale < math.inf and 0.0 < how.level < 1.0):
        raise TrimtabError(f"scale {how.scale} and level {how.level}: expected 0 or more, and a share between 0 and 1")
    centre, sigma = outcome_of(run_spec(spec, panel)), volatility_of(panel)
    found = outcomes(
        how.paths, lambda k: tried(spec, with_noise(panel, sigma, how.scale, (how.seed, k))), progress, threads
    )
    sharpes = sharpes_of(found)
    known = sharpes[~np.isnan(sharpes)]
    if not known.size:
        return Noised(centre, tuple(sharpes.tolist()), NAN, NAN, NAN, 0.0, found[0].why)
    low, middle, high = np.quantile(known, [0.5 - 0.5 * how.level, 0.5, 0.5 + 0.5 * how.level]).tolist()
    return Noised(centre, tuple(sharpes.tolist()), low, middle, high, float((sharpes > 0.0).mean()), centre.why)


def volatility_of(panel: Panel) -> F64:
    """(T, N) the own volatility of each bar, fraction; NaN where there is no bar."""
    opened, high, low, close = (panel.values[:, :, panel.fields.index(name)] for name in PRICES)
    found = np.log(high / low) / (2.0 * math.sqrt(math.log(2.0)))
    size = np.abs(np.log(close / opened))
    for i in range(close.shape[1]):
        rows = np.flatnonzero(np.isfinite(close[:, i]))
        moved = np.abs(np.diff(np.log(close[rows, i]), prepend=np.nan))
        size[rows[1:], i] = np.maximum(size[rows[1:], i], moved[1:])
    return np.where(found > 0.0, found, size)


def with_noise(panel: Panel, sigma: F64, scale: float, seed: int | tuple[int, ...]) -> Panel:
    """The panel with noise in its prices; sigma (T, N) as of `volatility_of`."""
    drawn = np.random.default_rng(seed).standard_normal(sigma.shape)
    values = panel.values.copy()
    factor = np.exp(scale * sigma * drawn)
    for name in PRICES:
        values[:, :, panel.fields.index(name)] *= factor
    return msgspec.structs.replace(panel, values=values)
