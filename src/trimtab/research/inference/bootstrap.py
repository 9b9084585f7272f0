"""The stationary bootstrap: other records that the same market could have given, and bands of their figures.

A path takes rows in blocks of random length, geometric about a mean, and goes round from the last row to the first, so
that what depends on the row before still does. Source: Politis, Romano (1994), J. American Statistical Association 89.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab.research.inference.spread import spread
from trimtab.research.inference.trials import needed
from trimtab.research.ratios import annual_growth, check_returns, is_flat, per_period
from trimtab.types import F64, I64, NotEnoughData, TrimtabError

#: Paths whose rows are in memory at a time, per thread.
_CHUNK: Final = 64
#: Returns without which neither a block nor its length means anything.
_LEAST: Final = 10


class Resampling(NamedTuple):
    """How paths are drawn: so many, in blocks of that mean length (rows, >= 1; 1 is independent rows), from that seed.

    Path k is the same whatever the number of paths and threads.
    """

    mean_block: float
    paths: int = 10_000
    seed: int = 0


class Band(NamedTuple):
    """Quantiles of a figure over paths, at (1 - level) / 2, the middle, and (1 + level) / 2.

    undefined  share of paths on which the figure is NaN; the quantiles are of the others
    """

    low: float
    middle: float
    high: float
    undefined: float = 0.0


class Bands(NamedTuple):
    """cagr fraction per year; max_drawdown fraction <= 0; sharpe annualised by sqrt(periods)."""

    cagr: Band
    max_drawdown: Band
    sharpe: Band


def block_length(returns: ArrayLike) -> F64:
    """The mean block length that estimates a mean's variance best, per column, rows >= 1.

    returns  (T,) or (T, K)
    ->       (K,), for several columns on one index take the longest; 1 where a column is flat

    arch's (pip install 'trimtab[research]'). Source: Politis, White (2004), Econometric Reviews 23(1), with the
    correction of Patton, Politis, White (2009), 28(4).
    """
    x = np.asarray(returns, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or not np.isfinite(x).all():
        raise TrimtabError("returns: expected finite numbers, (T,) or (T, K)")
    _check_rows(len(x))
    found = np.ones(x.shape[1])
    moving = np.flatnonzero([not is_flat(column) for column in x.T])
    if moving.size:
        best: Any = needed("arch.bootstrap", "block lengths").optimal_block_length(x[:, moving])
        found[moving] = np.maximum(np.asarray(best["stationary"], dtype=np.float64), 1.0)
    return found


def indices(rows: int, how: Resampling, length: int | None = None) -> I64:
    """(paths, length) rows that each path takes, 0 … rows - 1; length None: as many as there are rows.

    One index serves all columns of a matrix: what depends on each other at one instant still does.
    """
    _check(rows, how)
    found = np.empty((how.paths, rows if length is None else length), np.int64)
    from trimtab.research.inference.paths import resample

    resample(how.seed, 0, 1.0 / how.mean_block, rows, found)
    return found


def figures(returns: ArrayLike, how: Resampling, threads: int | None = None) -> F64:
    """(paths, 4) total return, maximum drawdown, mean and deviation per period of records resampled at full length.

    returns  (D,)  simple returns, fraction
    threads        None: as many as there are cores; the figures do not depend on it
    ->             the drawdown is a fraction <= 0; the deviation (ddof = 1) is NaN where a path is flat
    """
    r = check_returns(returns)
    _check(r.size, how)
    from trimtab.research.inference.paths import figures_of_paths, resample

    out = np.empty((how.paths, 4))

    def work(first: int, last: int) -> None:
        index = np.empty((last - first, r.size), np.int64)
        resample(how.seed, first, 1.0 / how.mean_block, r.size, index)
        figures_of_paths(r, index, out[first:last])

    spread(work, how.paths, _CHUNK, threads)
    return out


def bands(
    returns: ArrayLike, periods: float, how: Resampling, level: float = 0.9, rate: float = 0.0,
    threads: int | None = None,
) -> Bands:  # fmt: skip
    """Between what CAGR, maximum drawdown and Sharpe lie in that share of resampled records.

    returns  (D,)  simple returns, fraction
    periods        per year
    level          share of the paths inside the band, 0 to 1
    rate           risk-free, per year, for Sharpe
    """
    if not 0.0 < level < 1.0:
        raise TrimtabError(f"level is {level}: expected a fraction between 0 and 1, such as 0.9")
    r = check_returns(returns)
    total, fall, mean, deviation = figures(r, how, threads).T
    growth = np.array([annual_growth(each, r.size, periods) for each in total.tolist()])
    sharpe = (mean - per_period(rate, periods)) / deviation * math.sqrt(periods)
    return Bands(_band(growth, level), _band(fall, level), _band(sharpe, level))


def resampled_means(values: F64, how: Resampling, threads: int | None = None) -> F64:
    """(paths, K) mean of each column of values (T, K) over resampled rows, the same rows for all columns of a path."""
    _check(len(values), how)
    from trimtab.research.inference.paths import means_of_paths, resample

    v = np.ascontiguousarray(values, dtype=np.float64)
    out = np.empty((how.paths, v.shape[1]))

    def work(first: int, last: int) -> None:
        index = np.empty((last - first, len(v)), np.int64)
        resample(how.seed, first, 1.0 / how.mean_block, len(v), index)
        means_of_paths(v, index, out[first:last])

    spread(work, how.paths, _CHUNK, threads)
    return out


def long_run_variance(values: F64, mean_block: float) -> F64:
    """(K,) variance of sqrt(T) times the bootstrapped mean of each column of (T, K), exactly, without any path.

    g_0 + 2 sum of k_i g_i over lags i, k_i = (1 - i / T) (1 - p)^i + i / T (1 - p)^(T - i), p = 1 / mean_block, and g_i
    the autocovariances, divided by T. Source: Politis, Romano (1994), lemma 1; Hansen (2005), J. Business & Economic
    Statistics 23(4).
    """
    t = len(values)
    centred = values - values.mean(axis=0)
    size = 1 << (2 * t - 1).bit_length()  # room for all lags without going round
    power = np.abs(np.fft.rfft(centred, size, axis=0)) ** 2
    covariance = np.fft.irfft(power, size, axis=0)[:t] / t
    lag, keep = np.arange(t), 1.0 - 1.0 / mean_block
    weight = 2.0 * ((1.0 - lag / t) * keep**lag + lag / t * keep ** (t - lag))
    weight[0] = 1.0
    return np.maximum(weight @ covariance, 0.0)


def _band(x: F64, level: float) -> Band:
    defined = x[~np.isnan(x)]
    undefined = 1.0 - defined.size / x.size
    if defined.size == 0:
        return Band(math.nan, math.nan, math.nan, undefined)
    low, middle, high = np.quantile(defined, [0.5 - 0.5 * level, 0.5, 0.5 + 0.5 * level]).tolist()
    return Band(low, middle, high, undefined)


def _check(rows: int, how: Resampling) -> None:
    _check_rows(rows)
    if not 1.0 <= how.mean_block < math.inf:
        raise TrimtabError(f"mean_block is {how.mean_block}: expected the mean length of a block, 1 row or more")
    if not 1 <= how.paths < 2**31:
        raise TrimtabError(f"paths is {how.paths}: expected their number, 1 or more")
    if how.seed < 0:
        raise TrimtabError(f"seed is {how.seed}: expected a whole number, 0 or more")


def _check_rows(rows: int) -> None:
    if rows < _LEAST:
        raise NotEnoughData(f"{rows} returns: at least {_LEAST} are needed to resample them")
