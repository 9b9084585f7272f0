"""Many trials as one matrix of returns on common days, and how many independent trials they are worth."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.research.ratios import check_returns
from trimtab.types import F64, I64, NotEnoughData, TrimtabError


class Aligned(NamedTuple):
    """Trials on the days that all of them have.

    ts       (T,)    instants that end the periods, ns UTC
    returns  (T, N)  simple returns since the common instant before, fraction
    """

    ts: I64
    returns: F64


def align(curves: Sequence[tuple[I64, ArrayLike]], least: int = 2) -> Aligned:
    """Put trials on the intersection of their spans.

    curves  one (ts, returns) per trial: (D,) instants that end the days, ns UTC, rising, and (D,) simple returns
    least   common days that are needed at least

    Days that one trial has and another has not (a round-the-clock book beside one of sessions) are compounded into the
    next common day, so that no return is lost; a trial's first common day keeps its own return.
    Raises NotEnoughData, with the trial that ends or begins the span, where fewer days are common than are needed.
    """
    if not curves:
        raise TrimtabError("no trials were given: expected at least one")
    stamps, returns = zip(*(_read(k, *curve) for k, curve in enumerate(curves)), strict=True)
    common = stamps[0]
    for ts in stamps[1:]:
        if not np.array_equal(ts, common):
            common = np.intersect1d(common, ts, assume_unique=True)
    if common.size < max(least, 1):
        raise NotEnoughData(_too_short(stamps, int(common.size), least))
    columns = [_compounded(ts, r, common) for ts, r in zip(stamps, returns, strict=True)]
    return Aligned(common, np.stack(columns, axis=1))


def _read(k: int, ts: I64, returns: ArrayLike) -> tuple[I64, F64]:
    r = check_returns(returns, f"trial {k}")
    stamps = np.asarray(ts, dtype=np.int64)
    if stamps.shape != r.shape:
        raise TrimtabError(
            f"trial {k}: ts has shape {stamps.shape}, returns {r.shape}: expected one instant per return"
        )
    if stamps.size > 1 and not (np.diff(stamps) > 0).all():
        raise TrimtabError(f"trial {k}: expected rising instants, each once")
    return stamps, r


def _compounded(ts: I64, r: F64, common: I64) -> F64:
    if ts.size == common.size:
        return r
    last = np.searchsorted(ts, common)
    starts = np.concatenate((last[:1], last[:-1] + 1))
    return np.multiply.reduceat(1.0 + r[: last[-1] + 1], starts) - 1.0


def _too_short(stamps: Sequence[I64], size: int, least: int) -> str:
    empty = [k for k, ts in enumerate(stamps) if not ts.size]
    if empty:
        return f"trial {empty[0]} has no day at all: {least} common days are needed; leave it out"
    first = max(range(len(stamps)), key=lambda k: int(stamps[k][0]))
    last = min(range(len(stamps)), key=lambda k: int(stamps[k][-1]))
    begins, ends = (str(np.datetime64(int(t), "ns"))[:10] for t in (stamps[first][0], stamps[last][-1]))
    return (
        f"{len(stamps)} trials have {size} days in common, {least} are needed: trial {first} begins on {begins}, "
        f"trial {last} ends on {ends}; leave out the trials that are too short, or run them over more data"
    )


# ---------------------------------------------------------------------------------------------------------------------
# How many, and how different
# ---------------------------------------------------------------------------------------------------------------------


def sharpes_of(returns: F64) -> F64:
    """(N,) Sharpe per period (ddof = 1) of each column of (T, N); NaN where a column is flat, or T < 2."""
    found = np.full((returns.shape[1],), math.nan)
    if len(returns) > 1:
        moving = ~flat_columns(returns)
        found[moving] = returns[:, moving].mean(axis=0) / returns[:, moving].std(axis=0, ddof=1)
    return found


def flat_columns(returns: F64) -> NDArray[np.bool_]:
    """(N,) columns of (T, N) that are one number but for rounding, by the rule of ratios.is_flat."""
    return is_flat_range(returns.min(axis=0), returns.max(axis=0))


def is_flat_range(low: F64, high: F64) -> NDArray[np.bool_]:
    """Are what lies between these one number but for rounding? The rule of ratios.is_flat, of many at once."""
    return high - low <= 1e-12 * np.maximum(np.abs(low), np.abs(high))


def sharpe_variance(sharpes: ArrayLike) -> float:
    """V, the sample variance (ddof = 1) of the trials' Sharpe, per period.

    sharpes  (N,)  of every trial; NaN (a trial that never traded) still counts in N, and not here
    ->             0 with one trial; NaN where no Sharpe is defined
    """
    s = np.asarray(sharpes, dtype=np.float64)
    if s.ndim != 1 or np.isinf(s).any():
        raise TrimtabError("sharpes: expected one axis (N,), finite or NaN where undefined")
    s = s[~np.isnan(s)]
    if s.size == 0:
        return math.nan
    return float(s.var(ddof=1)) if s.size > 1 else 0.0


def correlations(returns: F64) -> F64:
    """(N, N) correlations of the columns of (T, N); a flat column has 0 with every other."""
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 2 or not np.isfinite(r).all():
        raise TrimtabError("returns: expected finite returns (T, N); align the trials first")
    if r.shape[0] < 2:
        raise NotEnoughData(f"a correlation takes two common days, there are {r.shape[0]}")
    flat = flat_columns(r)
    centred = r - r.mean(axis=0)
    centred[:, flat] = 0.0
    length = np.sqrt((centred * centred).sum(axis=0))
    length[flat] = 1.0
    scaled = centred / length
    rho = np.clip(scaled.T @ scaled, -1.0, 1.0)
    np.fill_diagonal(rho, 1.0)
    return rho


def average_correlation(rho: F64) -> float:
    """Mean of what is off the diagonal of (N, N); 0 for a single trial."""
    n = rho.shape[0]
    return (float(rho.sum()) - n) / (n * (n - 1.0)) if n > 1 else 0.0


def effective_trials(correlation: float, trials: int) -> float:
    """Of how many independent trials so many correlated ones are worth: rho + (1 - rho) M.

    correlation  average of the trials' returns; below 0 it counts as 0, for no more were tried than were
    ->           1 to trials

    Source: Bailey, López de Prado (2014), J. Portfolio Management 40(5), appendix.
    """
    if not -1.0 <= correlation <= 1.0:
        raise TrimtabError(f"correlation is {correlation}: expected an average from -1 to 1")
    if trials < 1:
        raise TrimtabError(f"trials is {trials}: expected their number, 1 or more")
    rho = max(correlation, 0.0)
    return min(max(rho + (1.0 - rho) * trials, 1.0), float(trials))


def clusters(rho: F64, least: float = 0.5) -> I64:
    """Groups in which every two trials are correlated by `least` or more: each counts as one thing tried.

    rho  (N, N) correlations of returns
    ->   (N,) group of each trial, numbered from 0 in the order of their first trials

    Complete linkage: a chain of neighbouring parameters, whose ends have nothing in common, is not one group. Needs
    scipy (pip install 'trimtab[research]'). Source: López de Prado, Lewis (2019), Quantitative Finance 19(9), for
    clusters as the effective number of trials; the linkage is ours.
    """
    n = rho.shape[0]
    if n == 1:
        return np.zeros(1, np.int64)
    tree: Any = needed("scipy.cluster.hierarchy", "clusters of trials")
    distance = 1.0 - 0.5 * (rho + rho.T)
    pairs = distance[np.triu_indices(n, 1)]
    found = np.asarray(tree.fcluster(tree.linkage(pairs, "complete"), 1.0 - least + 1e-12, "distance"))
    _, first, group = np.unique(found, return_index=True, return_inverse=True)
    place = np.empty(first.size, np.int64)
    place[np.argsort(first)] = np.arange(first.size)
    return place[group]


def cluster_returns(returns: F64, group: I64) -> F64:
    """(T, G) return of each group of trials: the mean of its members, each scaled to a deviation of 1.

    A group's Sharpe is what its members have in common. Flat members add nothing; a group of them stays flat at 0.
    """
    deviation = returns.std(axis=0, ddof=1)
    flat = flat_columns(returns)
    scaled = np.where(flat, 0.0, returns / np.where(flat, 1.0, deviation))
    size = int(group.max()) + 1
    member = (group[:, None] == np.arange(size)).astype(np.float64)
    return (scaled @ member) / member.sum(axis=0)


def needed(module: str, what: str) -> Any:
    """A module of the research extra; TrimtabError with what to install where it is absent."""
    try:
        return cast(Any, importlib.import_module(module))
    except ImportError:
        library = module.partition(".")[0]
        raise TrimtabError(f"{what} need {library}: pip install 'trimtab[research]'") from None
