"""Combinatorial purged cross-validation: many out-of-sample histories out of one, and the spread of their Sharpe.

The days are cut into N groups; each of the C(N, k) ways to hold k of them out chooses parameters on the others.
Held-out groups of different splits are put together to phi = k / N C(N, k) paths, each of which covers every day once.

Each set is run once in each group: flat before it, warmed on all bars before it, sold at its end. Everything else is
arithmetic on the daily returns. So a path is flat at the edges of groups and pays for it, and it knows one luck of
fills, not many; and where training follows a test, parameters were chosen on the future of what they are judged on.
That is meant: a path is no record that anybody could have had, but one of several draws of how choosing generalises.
Models look back over group edges, which is what `purge` and `embargo` are for: take at least their lookback.

Source: López de Prado (2018), Advances in Financial Machine Learning, chapters 7 and 12.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.research.choosing import Criterion, criterion_of, mean_known, rank_correlation
from trimtab.research.folds import LEAST_DAYS, Calendar, calendar_of, check_rows, read_length
from trimtab.research.ratios import sharpe_ratio
from trimtab.research.walkforward import Stability, stability_of
from trimtab.research.windowed import Progress, Ran, Sets, ground_of, run_windows, sets_of
from trimtab.types import F64, I64, NotEnoughData, Panel, Spec, TrimtabError

NAN = math.nan

#: More splits than this are refused: choosing in each is slow, and the paths are not independent anyway.
MOST_SPLITS = 20_000


class Combinations(msgspec.Struct, frozen=True, kw_only=True):
    """How a history is cut: N groups of equal numbers of days, k of them held out at a time.

    purge    left out of the training before each held-out group, in words (20d, 1mo; a bare number: bars)
    embargo  left out after it, beyond the purge
    exit_bars  opens at the end of each group at which what is held is sold
    """

    groups: int = 10
    held_out: int = 2
    purge: str = "0"
    embargo: str = "0"
    exit_bars: int = 1


class Split(NamedTuple):
    """One way to hold groups out.

    held         groups held out, counted from 0
    chosen       the set's number; -1: none had a metric
    inside       (S,) the metric of every set on the training days; outside on the days held out; NaN where undefined
    days         training days
    """

    held: tuple[int, ...]
    chosen: int
    inside: F64
    outside: F64
    days: int

    @property
    def correlation(self) -> float:
        """Rank correlation over all sets of inside with outside; NaN with fewer than three."""
        return rank_correlation(self.inside, self.outside)


class Crossed(NamedTuple):
    """What cross-validation found.

    ts       (D,) day ends
    edges    (N + 1,) the first day of each group, and D
    source   (P, N) the split that path p follows in group g
    paths    (P, D) simple returns of each path
    sharpes  (P,) annualised; NaN: the path never moved
    hurdle   annual Sharpe to beat; NaN: none was named
    left     the most that any run still held after its exit, gross, of equity
    """

    spec: Spec
    how: Combinations
    criterion: Criterion
    sets: Sets
    ts: I64
    edges: I64
    splits: tuple[Split, ...]
    source: I64
    paths: F64
    sharpes: F64
    hurdle: float
    left: float = 0.0

    @property
    def mean(self) -> float:
        """Mean Sharpe of the paths that have one; NaN where none has."""
        return mean_known(self.sharpes.tolist())

    @property
    def deviation(self) -> float:
        """Their sample deviation (ddof = 1); NaN with fewer than two."""
        known = self.sharpes[~np.isnan(self.sharpes)]
        return float(known.std(ddof=1)) if known.size > 1 else NAN

    def share_below(self, sharpe: float) -> float:
        """Share of all paths below an annual Sharpe; one without a Sharpe earned nothing, and counts as 0."""
        return NAN if math.isnan(sharpe) else float((np.nan_to_num(self.sharpes) < sharpe).mean())

    @property
    def correlation(self) -> float:
        """Mean over splits of `Split.correlation`; NaN where none has one."""
        return mean_known(split.correlation for split in self.splits)

    @property
    def stability(self) -> tuple[Stability, ...]:
        """Of each parameter, over the splits that chose, in their order."""
        return stability_of(self.sets, [split.chosen for split in self.splits if split.chosen >= 0])


def splits_of(groups: int, held_out: int) -> I64:
    """(C(N, k), k) the groups that each split holds out, in lexicographic order."""
    return np.array(list(itertools.combinations(range(groups), held_out)), np.int64)


def paths_of(splits: I64, groups: int) -> I64:
    """(P, N) for each path and group the split that it follows: path p takes the p-th that holds the group out."""
    return np.stack([np.flatnonzero((splits == g).any(axis=1)) for g in range(groups)], axis=1)


def edges_of(days: int, groups: int, least: int = LEAST_DAYS) -> I64:
    """(N + 1,) the first day of each group, as equal as can be, and their end; NotEnoughData for less than `least`."""
    if days // groups < least:
        raise NotEnoughData(
            f"{days:,} days in {groups} groups are {days // groups} each, {least} are the least: load "
            f"{groups * least - days:,} more days, or take at most {max(days // least, 1)} groups"
        )
    return np.arange(groups + 1, dtype=np.int64) * days // groups


def training_of(calendar: Calendar, edges: I64, held: Sequence[int], how: Combinations) -> NDArray[np.bool_]:
    """(D,) days on which a split may choose: of no group held out, and no row within purge and embargo of one."""
    purge, embargo = read_length(how.purge, "purge"), read_length(how.embargo, "embargo")
    first, last = calendar.first[:-1], calendar.first[1:] - 1
    free = np.ones(calendar.days, np.bool_)
    for g in held:
        before = calendar.moved(int(calendar.first[edges[g]]), purge, -1)
        after = calendar.moved(calendar.moved(int(calendar.first[edges[g + 1]]), purge), embargo)
        free &= (last < before) | (first >= after)
    return free


def cross_validate(
    spec: Spec,
    panel: Panel,
    grid: Mapping[str, Sequence[Any]],
    how: Combinations,
    *,
    metric: str = "sharpe",
    hurdle: float = NAN,
    threads: int | None = None,
    progress: Progress = None,
) -> Crossed:
    """Choose a set of the grid in every split by a metric of its training days, and judge it on the days held out.

    grid     path such as models.0.params.fast -> values; empty: the spec's own parameters, and all paths are the same
    metric   of daily returns: `choosing.DAILY`; NaN never wins, the first among equals does
    hurdle   annual Sharpe of which the share of paths below is told

    Raises TrimtabError for what is not possible, NotEnoughData where a group has fewer than LEAST_DAYS days, a split
    fewer training days, or no set could make a forecast in any group.
    """
    _check(how)
    ground = ground_of(spec, panel)
    sets = sets_of(spec, grid)
    criterion = criterion_of(metric, ground.periods, spec.risk_free_rate, of_days=True)
    calendar = calendar_of(ground.market)
    edges = edges_of(calendar.days, how.groups)
    windows = [calendar.window(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    check_rows("a group", min(window.stop - window.first for window in windows), how.exit_bars)
    training = [training_of(calendar, edges, held, how) for held in splits_of(how.groups, how.held_out)]
    _check_training(training, how)
    returns, left = np.full((len(sets.specs), calendar.days), np.nan), np.zeros(len(windows))

    def keep(k: int, w: int, ran: Ran) -> None:
        returns[k, edges[w] : edges[w + 1]] = ran.returns
        left[w] = max(left[w], np.nan_to_num(ran.left))

    run_windows(ground, sets, windows, keep, exit_bars=how.exit_bars, threads=threads, progress=progress)
    if np.isnan(returns).all():
        raise NotEnoughData(
            "no set has enough bars for a first forecast; load a longer window or shorten the lookbacks"
        )
    ts = ground.market.ts[calendar.first[1:] - 1]
    splits, source, paths = judge(returns, ts, edges, training, how, criterion)
    sharpes = np.array([sharpe_ratio(path, criterion.periods, criterion.rate) for path in paths])
    most = float(left.max())
    return Crossed(spec, how, criterion, sets, ts, edges, splits, source, paths, sharpes, hurdle, most)


def judge(
    returns: F64, ts: I64, edges: I64, training: Sequence[NDArray[np.bool_]], how: Combinations, criterion: Criterion
) -> tuple[tuple[Split, ...], I64, F64]:
    """Choose in every split, and put the groups held out together to paths.

    returns   (S, D) of every set, group after group; NaN: no forecast could be made in that group. A set is judged on
              the days that it has; one that has none of a split's training days is not chosen there
    training  per split (D,) the days on which it may choose
    ->        the splits, (P, N) which split each path follows in each group, (P, D) returns of the paths, 0 where the
              split chose nothing, and where the set chosen could make no forecast yet
    """
    held_out = splits_of(how.groups, how.held_out)
    known = ~np.isnan(returns)
    splits: list[Split] = []
    for held, free in zip(held_out, training, strict=True):
        tested = np.zeros(returns.shape[1], np.bool_)
        for g in held:
            tested[edges[g] : edges[g + 1]] = True
        inside, outside = (
            _metrics(returns, known & free, ts, criterion),
            _metrics(returns, known & tested, ts, criterion),
        )
        splits.append(Split(tuple(held.tolist()), criterion.best(inside), inside, outside, int(free.sum())))
    source = paths_of(held_out, how.groups)
    followed: list[list[int]] = source.tolist()
    paths = np.zeros((len(source), returns.shape[1]))
    for p, follows in enumerate(followed):
        for g, s in enumerate(follows):
            k = splits[s].chosen
            if k >= 0:
                paths[p, edges[g] : edges[g + 1]] = np.nan_to_num(returns[k, edges[g] : edges[g + 1]])
    return tuple(splits), source, paths


def _metrics(returns: F64, days: NDArray[np.bool_], ts: I64, criterion: Criterion) -> F64:
    """(S,) the metric of each set on its days (S, D)."""
    return np.array([criterion.of(r[own], ts[own]) for r, own in zip(returns, days, strict=True)])


def _check(how: Combinations) -> None:
    if how.groups < 2 or not 1 <= how.held_out < how.groups:
        raise TrimtabError(
            f"groups {how.groups}, held-out {how.held_out}: expected two groups or more, and at least one of them "
            "but not all held out"
        )
    count = math.comb(how.groups, how.held_out)
    if count > MOST_SPLITS:
        raise TrimtabError(
            f"groups {how.groups}, held-out {how.held_out}: {count:,} splits are more than {MOST_SPLITS:,}; take fewer "
            "groups, or hold fewer out"
        )


def _check_training(training: Sequence[NDArray[np.bool_]], how: Combinations) -> None:
    least = min(int(free.sum()) for free in training)
    if least < LEAST_DAYS:
        raise NotEnoughData(
            f"a split has {least} days to choose on after purge {how.purge} and embargo {how.embargo}, {LEAST_DAYS} "
            "are the least: hold fewer groups out, shorten purge and embargo, or load a longer window"
        )
