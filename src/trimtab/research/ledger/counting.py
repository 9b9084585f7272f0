"""How many trials a record has to be held against, and how different they are: of its hypothesis, and of its family.

The hypothesis: the same strategies on the same instruments at the same timeframe, whatever the parameters and the
window. The family: every trial whose data held half of the record's own instrument-days or more, whatever it tried.

Trials are not all of one length, and a Sharpe of few days spreads wider by chance. Each is therefore read at the
record's length: times sqrt(its days / the record's), which leaves it as many of its own standard errors from 0 as it
was. Where all trials are as long as the record this changes nothing, and V is the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from trimtab.research.inference.sharpe import hurdle
from trimtab.research.inference.trials import cluster_returns, clusters, sharpe_variance, sharpes_of
from trimtab.research.ledger.file import Cells, LedgerFailed, Row
from trimtab.research.ledger.identity import Hypothesis
from trimtab.research.ledger.reading import Ledger
from trimtab.types import DAY, F64, I64

#: Two trials that share fewer days than this are taken as two things tried.
_SHARED: Final = 60
#: Trials that are correlated by this much are one before clusters are looked for, where there are very many.
_SAME: Final = 0.95
#: So many groups of trials are clustered at most: the linkage grows with their square.
_MOST: Final = 2_500
#: A record's share of instrument-days that a trial has to have seen to be of its family.
_HALF: Final = 0.5


class Record(NamedTuple):
    """What is judged: its hypothesis, the first and last close of its panel, and the instants that end its days."""

    hypothesis: Hypothesis
    first: int
    last: int
    ts: I64


class Tried(NamedTuple):
    """Trials that count, N of them; D days of the record that is judged.

    sharpe   (N,) per day, at the record's length; NaN: undefined
    returns  (D, N) daily returns on the record's days; NaN where a trial had no such day
    unread   trials whose returns are gone: they count, and nothing else is known of them
    """

    sharpe: F64
    returns: F64
    unread: int


class Count(msgspec.Struct, frozen=True):
    """What a record has to beat, by one way of counting.

    scope     hypothesis or family; how: every trial, or groups of trials that are alike
    trials    how many; variance: V of their Sharpe, per day at the record's length
    hurdle    SR0, what the best of so many without skill shows on average, per day
    """

    scope: str
    how: str
    trials: int
    variance: float
    hurdle: float


def is_of_hypothesis(row: Row, record: Record) -> bool:
    return row.entry.hypothesis == record.hypothesis


def is_of_family(row: Row, record: Record) -> bool:
    """Did the trial see half of the record's instrument-days or more?"""
    own, other = set(record.hypothesis.universe), set(row.entry.hypothesis.universe)
    days = min(record.last, row.entry.last) - max(record.first, row.entry.first)
    whole = max(record.last - record.first, DAY)
    return max(days, 0) / whole * len(own & other) / len(own) >= _HALF


def tried(ledger: Ledger, rows: Iterable[Row], record: Record) -> Tried:
    """All trials of some entries, on the days of the record."""
    sharpe: list[F64] = []
    returns: list[F64] = []
    unread = 0
    for row in rows:
        try:
            cells = ledger.cells(row)
        except LedgerFailed:
            unread += row.entry.trials
            continue
        sharpe.append(cells.moments[:, 0] * math.sqrt(len(cells.ts) / max(len(record.ts), 1)))
        returns.append(_on(record.ts, cells))
    if not sharpe:
        return Tried(np.empty(0), np.empty((len(record.ts), 0)), unread)
    return Tried(np.concatenate(sharpe), np.concatenate(returns, axis=1), unread)


def _on(ts: I64, cells: Cells) -> F64:
    """(D, S) returns of trials at the record's days; NaN: they had none."""
    if np.array_equal(ts, cells.ts):
        return cells.returns.T.astype(np.float64)
    found = np.full((len(ts), len(cells.keys)), np.nan)
    place = np.searchsorted(cells.ts, ts)
    there = (place < len(cells.ts)) & (cells.ts[np.minimum(place, len(cells.ts) - 1)] == ts)
    found[there] = cells.returns[:, place[there]].T
    return found


def counts(scope: str, trials: Tried) -> tuple[Count, ...]:
    """By every trial, and by groups of trials that are alike: the stricter counts.

    Groups have their own V: a thousand neighbours of one idea spread little, and would make it easy to beat.
    """
    n = len(trials.sharpe) + trials.unread
    if n == 0:
        return ()
    raw = _count(scope, "every trial", n, trials.sharpe)
    group = groups(trials.returns)
    if group is None or len(group) == 0:
        return (raw,)
    return raw, _count(scope, "groups of trials", int(group.max()) + 1 + trials.unread, _sharpes(trials, group))


def _count(scope: str, how: str, n: int, sharpes: F64) -> Count:
    variance = sharpe_variance(sharpes)
    variance = 0.0 if math.isnan(variance) else variance
    return Count(scope, how, n, variance, hurdle(float(n), variance))


def _sharpes(trials: Tried, group: I64) -> F64:
    """(G,) Sharpe of each group, at the record's length: of one trial its own, of several what they have in common."""
    size = int(group.max()) + 1
    found = np.full(size, np.nan)
    for g in range(size):
        members = np.flatnonzero(group == g)
        if len(members) == 1:
            found[g] = trials.sharpe[members[0]]
            continue
        own = trials.returns[:, members]
        days = ~np.isnan(own).any(axis=1)
        if days.sum() < 3:
            found[g] = np.nanmax(trials.sharpe[members], initial=-np.inf)
            continue
        together = cluster_returns(own[days], np.zeros(len(members), np.int64))
        found[g] = sharpes_of(together)[0] * math.sqrt(days.sum() / len(own))
    return np.where(np.isinf(found), np.nan, found)


def groups(returns: F64) -> I64 | None:
    """(N,) group of each trial, by the correlation of daily returns; None: there are too many that differ.

    returns  (D, N); NaN: the trial had no such day. Two that share fewer than 60 days are two things tried.
    """
    mask = ~np.isnan(returns)
    scaled = _scaled(returns, mask)
    many = returns.shape[1] > _MOST
    leader: I64 = _leaders(scaled, mask) if many else np.arange(returns.shape[1], dtype=np.int64)
    first: I64 = np.unique(leader)
    if len(first) > _MOST:
        return None
    rho = _correlations(scaled[:, first], mask[:, first])
    own = clusters(rho)
    return own[np.searchsorted(first, leader)]


def _scaled(returns: F64, mask: np.ndarray) -> F64:
    """(D, N) returns less their mean, over their deviation; 0 where a trial had no such day, or is flat."""
    days = np.maximum(mask.sum(axis=0), 1)
    centred = np.where(mask, returns, 0.0)
    centred = np.where(mask, centred - centred.sum(axis=0) / days, 0.0)
    spread = np.sqrt((centred * centred).sum(axis=0) / days)
    flat = spread <= 1e-12 * np.maximum(np.abs(np.where(mask, returns, 0.0)).max(axis=0, initial=0.0), 1e-300)
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, spread))


def _correlations(scaled: F64, mask: np.ndarray) -> F64:
    there = mask.astype(np.float64)
    shared = there.T @ there
    rho = np.where(shared >= _SHARED, (scaled.T @ scaled) / np.maximum(shared, 1.0), 0.0)
    rho = np.clip(0.5 * (rho + rho.T), -1.0, 1.0)
    np.fill_diagonal(rho, 1.0)
    return rho


def _leaders(scaled: F64, mask: np.ndarray) -> I64:
    """(N,) of each trial the first that it is the same as."""
    found = np.empty(scaled.shape[1], np.int64)
    leaders: list[int] = []
    for k in range(scaled.shape[1]):
        if leaders:
            own = _against(scaled, mask, leaders, k)
            best = int(own.argmax())
            if own[best] >= _SAME:
                found[k] = leaders[best]
                continue
        found[k] = k
        leaders.append(k)
        if len(leaders) > _MOST:
            found[k:] = np.arange(k, len(found))
            break
    return found


def _against(scaled: F64, mask: np.ndarray, leaders: Sequence[int], k: int) -> F64:
    shared = mask[:, leaders].T.astype(np.float64) @ mask[:, k]
    return np.where(shared >= _SHARED, (scaled[:, leaders].T @ scaled[:, k]) / np.maximum(shared, 1.0), 0.0)
