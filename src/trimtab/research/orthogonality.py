"""Are several strategies several? Correlation of what they earn and of what they want, and what each adds to the book.

A part is a strategy, a whole spec, or one model of a book. Its returns are daily and net of costs, on the days that all
parts have; what it wants is its weight in an instrument at a bar, compared where two parts have one.

Effective number of bets, twice, of the parts whose returns move, between 1 and their number:

entropy      exp(-sum p ln p), p the eigenvalues of the correlation matrix over their sum: the exponential of the
             entropy of the variance that each principal portfolio has. Source: Meucci (2009), Managing
             Diversification, Risk 22(5), for the entropy over principal portfolios, here with each part scaled to
             the same risk and each principal portfolio held alike; the same number is the effective rank of Roy,
             Vetterli (2007), EUSIPCO.
correlation  K / (1 + (K - 1) rho), rho the average correlation (below 0 it counts as 0): so many independent parts
             would diversify as well in equal shares. Source: Buckle (2004), How to calculate breadth, J. Asset
             Management 4(6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from trimtab.research.curves import periods_of
from trimtab.research.inference.trials import align, average_correlation, clusters, correlations, flat_columns
from trimtab.research.ratios import is_flat, per_period, sharpe_ratio
from trimtab.research.run import Run
from trimtab.types import F64, I64, TrimtabError, Weights

NAN: Final = math.nan
#: Common days without which a correlation says nothing: at 30 its standard error is 0.19 around 0.
LEAST: Final = 30
#: Two parts with this correlation or more are one thing.
ALIKE: Final = 0.5


class Wanted(NamedTuple):
    """What a part wanted: weights (T, N) as they stand from each close on; NaN: nothing was said yet."""

    ts: I64
    symbols: tuple[str, ...]
    weights: F64


class Part(NamedTuple):
    """One of the things that are compared: daily returns (D,) at day ends ts (D,), and its share of the book."""

    name: str
    ts: I64
    returns: F64
    share: float
    wanted: Wanted | None = None


class Contribution(NamedTuple):
    """What one part is to the book. Sharpe ratios are annualised; the book holds all parts at their shares.

    sharpe       of the part alone
    correlation  of its returns with the others', averaged
    earned       its part of the book's Sharpe: share x mean / deviation of the book; they add up to it
    risk         its part of the book's variance; they add up to 1
    euler        share x derivative of the book's Sharpe by it: earned - Sharpe x risk; they add up to 0. Above 0: a
                 little more of it makes the book's Sharpe higher
    drop_one     the book's Sharpe less that of the book without it
    cluster      number of its group from 0: any two in it are correlated by ALIKE or more
    """

    name: str
    share: float
    sharpe: float
    correlation: float
    earned: float
    risk: float
    euler: float
    drop_one: float
    cluster: int


class Orthogonality(NamedTuple):
    """Parts against each other on their common days.

    first, last   instants that end the first and the last of them, ns UTC
    returns       (K, K) correlations of daily returns; NaN beside a part whose returns never move
    forecasts     (K, K) correlations of weights, over instruments and bars; NaN, with the reason in `unknown`
    bets_entropy, bets_correlation  effective number of bets, see above; NaN where no part moves
    """

    parts: tuple[Contribution, ...]
    first: int
    last: int
    days: int
    periods: float
    returns: F64
    forecasts: F64
    unknown: tuple[tuple[str, str, str], ...]
    sharpe: float
    average: float
    bets_entropy: float
    bets_correlation: float
    clusters: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts)


# ---------------------------------------------------------------------------------------------------------------------
# The parts
# ---------------------------------------------------------------------------------------------------------------------


def parts_of_runs(runs: Sequence[tuple[str, Run]]) -> tuple[tuple[Part, ...], float]:
    """Whole runs as equal parts of a book, and its periods per year: 365 if any of them trades round the clock."""
    parts = tuple(
        Part(name, run.curves.ts, _returns(name, run), 1.0 / len(runs), wanted_of(run, range(len(run.spec.models))))
        for name, run in runs
    )
    return parts, max(periods_of(run.panel) for _, run in runs)


def parts_of_models(run: Run) -> tuple[tuple[Part, ...], float]:
    """The models of one book as its parts, at their budgets, and its periods per year."""
    _returns("the book", run)  # must not have lost everything
    total = math.fsum(model.budget for model in run.spec.models)
    parts = tuple(
        Part(name, run.curves.ts, run.curves.model_returns(m, model.budget, False), model.budget / total, _of(run, m))
        for m, (name, model) in enumerate(zip(run.model_names, run.spec.models, strict=True))
    )
    return parts, periods_of(run.panel)


def _of(run: Run, model: int) -> Wanted:
    return wanted_of(run, [model])


def _returns(name: str, run: Run) -> F64:
    curves = run.curves
    returns = curves.returns(curves.equity)
    if not (curves.equity > 0.0).all() or not (returns > -1.0).all():
        raise TrimtabError(f"{name} lost all that it had, so its returns mean nothing: leave it out, or risk less")
    return returns


def wanted_of(run: Run, models: Sequence[int]) -> Wanted:
    """The weights of some models of a run together, as they stand at each bar."""
    given: Weights = run.fold.weights
    rows, n = len(run.panel.ts), len(run.panel.instruments)
    found = np.full((rows, n), np.nan)
    for m in models:
        for i in range(n):
            mine = (given.model == m) & (given.instrument == i)
            row, value = given.row[mine], given.value[mine]
            if not len(row):
                continue
            lasting = np.diff(np.append(row, rows))
            stands = np.repeat(value, lasting)
            found[row[0] :, i] = np.where(np.isnan(found[row[0] :, i]), 0.0, found[row[0] :, i]) + stands
    return Wanted(run.panel.ts, run.panel.symbols, found)


# ---------------------------------------------------------------------------------------------------------------------
# Against each other
# ---------------------------------------------------------------------------------------------------------------------


def orthogonality(parts: Sequence[Part], periods: float, rate: float = 0.0) -> Orthogonality:
    """Hold parts against each other.

    periods  per year
    rate     risk-free, per year: taken off each part's returns
    Raises NotEnoughData where they have fewer than 30 days in common.
    """
    if len(parts) < 2:
        raise TrimtabError(f"{len(parts)} part: expected two or more to be held against each other")
    if not all(part.share > 0.0 for part in parts):
        raise TrimtabError("shares of the book: expected numbers above 0")
    ts, returns = align([(part.ts, part.returns) for part in parts], LEAST)
    moving = ~flat_columns(returns)
    rho = correlations(returns)
    group = clusters(rho, ALIKE)
    shown = np.where(moving[:, None] & moving[None, :], rho, np.nan)
    forecasts, unknown = forecast_correlations(parts)
    live = rho[np.ix_(moving, moving)]
    average = average_correlation(live) if len(live) > 1 else NAN
    excess = returns - per_period(rate, periods)
    share = np.array([part.share for part in parts])
    sharpe, told = contributions(excess, share / share.sum(), periods)
    listed: list[Contribution] = []
    for k, part in enumerate(parts):
        earned, risk, euler, drop_one = told[:, k].tolist()
        own, part_of_book = sharpe_ratio(excess[:, k], periods), float(share[k] / share.sum())
        beside = _others(shown, k)
        listed.append(Contribution(part.name, part_of_book, own, beside, earned, risk, euler, drop_one, int(group[k])))
    return Orthogonality(
        tuple(listed),
        int(ts[0]), int(ts[-1]), len(ts), periods, shown, forecasts, unknown, sharpe, average,
        bets_by_entropy(live) if len(live) else NAN,
        bets_by_correlation(average if len(live) > 1 else 0.0, len(live)) if len(live) else NAN,
        len(set(group[moving].tolist())),
    )  # fmt: skip


def _others(rho: F64, k: int) -> float:
    mine = np.delete(rho[k], k)
    return float(np.nanmean(mine)) if np.isfinite(mine).any() else NAN


def bets_by_entropy(rho: F64) -> float:
    """Effective number of bets by the entropy of the eigenvalues of correlations (K, K): 1 to K."""
    share = np.maximum(np.linalg.eigvalsh(rho), 0.0)
    share = share[share > 0.0] / share.sum()
    return math.exp(-float((share * np.log(share)).sum()))


def bets_by_correlation(average: float, parts: int) -> float:
    """How many independent parts diversify as well as so many with that average correlation: 1 to their number."""
    return parts / (1.0 + (parts - 1) * max(average, 0.0))


def contributions(excess: F64, share: F64, periods: float) -> tuple[float, F64]:
    """The book's Sharpe, and (4, K) what each part is to it: earned, risk, euler, drop_one; see Contribution.

    excess  (D, K)  daily returns over the risk-free rate; share (K,) adds up to 1
    ->              NaN where the book's returns are all the same
    """
    book = excess @ share
    sharpe = sharpe_ratio(book, periods)
    if math.isnan(sharpe):
        return NAN, np.full((4, len(share)), np.nan)
    variance = float(book.var(ddof=1))
    covariance = ((excess - excess.mean(axis=0)) * (book - book.mean())[:, None]).sum(axis=0) / (len(book) - 1)
    earned = share * excess.mean(axis=0) / math.sqrt(variance) * math.sqrt(periods)
    risk = share * covariance / variance
    return sharpe, np.stack((earned, risk, earned - sharpe * risk, sharpe - _without(excess, share, periods)))


def _without(excess: F64, share: F64, periods: float) -> F64:
    """(K,) the book's Sharpe without each part; NaN where nothing that moves is left."""
    rest = [np.delete(excess, k, axis=1) @ np.delete(share, k) for k in range(len(share))]
    return np.array([sharpe_ratio(book, periods) for book in rest])


def forecast_correlations(parts: Sequence[Part]) -> tuple[F64, tuple[tuple[str, str, str], ...]]:
    """(K, K) correlation of weights over the instruments and bars at which both parts have one; and why it is NaN."""
    found = np.eye(len(parts))
    unknown: list[tuple[str, str, str]] = []
    for a in range(len(parts)):
        for b in range(a + 1, len(parts)):
            rho, why = _forecasts(parts[a].wanted, parts[b].wanted)
            found[a, b] = found[b, a] = rho
            if why:
                unknown.append((parts[a].name, parts[b].name, why))
    return found, tuple(unknown)


def _forecasts(a: Wanted | None, b: Wanted | None) -> tuple[float, str]:
    if a is None or b is None:
        return NAN, "what it wanted is not known"
    symbols = [symbol for symbol in a.symbols if symbol in b.symbols]
    if not symbols:
        return NAN, "no instrument in common"
    _, rows_a, rows_b = np.intersect1d(a.ts, b.ts, assume_unique=True, return_indices=True)
    x = a.weights[rows_a][:, [a.symbols.index(s) for s in symbols]].ravel()
    y = b.weights[rows_b][:, [b.symbols.index(s) for s in symbols]].ravel()
    both = np.isfinite(x) & np.isfinite(y)
    if int(both.sum()) < 2:
        return NAN, "no bar at which both have a weight"
    x, y = x[both], y[both]
    if is_flat(x) or is_flat(y):
        return NAN, "one of them never changes its weight"
    return float(correlations(np.stack((x, y), axis=1))[0, 1]), ""
