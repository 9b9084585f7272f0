"""Combinatorial purged cross-validation: numbers of splits and paths, an example by hand, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trimtab as tt
from tests.unit.research.test_walkforward import GRID, noise, spec_for
from trimtab.research.choosing import criterion_of
from trimtab.research.crossval import (
    Combinations,
    Crossed,
    cross_validate,
    edges_of,
    judge,
    paths_of,
    splits_of,
    training_of,
)
from trimtab.research.folds import Calendar


@pytest.mark.parametrize(("groups", "held_out", "splits", "paths"), [(6, 2, 15, 5), (10, 2, 45, 9), (3, 1, 3, 1)])
def test_the_numbers_of_the_book(groups: int, held_out: int, splits: int, paths: int) -> None:
    held = splits_of(groups, held_out)
    assert (len(held), len(paths_of(held, groups))) == (splits, paths)


@given(groups=st.integers(2, 9), data=st.data())
def test_every_path_covers_every_group_once(groups: int, data: st.DataObject) -> None:
    held_out = data.draw(st.integers(1, groups - 1))
    held = splits_of(groups, held_out)
    source = paths_of(held, groups)
    assert source.shape == (math.comb(groups, held_out) * held_out // groups, groups)
    for g in range(groups):
        assert sorted(source[:, g]) == [s for s, groups_out in enumerate(held) if g in groups_out]
    # Each split's groups are used once each over all paths.
    assert np.bincount(source.ravel(), minlength=len(held)).tolist() == [held_out] * len(held)


#: 12 days in 3 groups of 4. Percent a day of two sets: group means A 1, 0, -1 and B -1, 0, 2.
A = [1, 1, 1, 1, 0, 0, 0, 0, -1, -1, -1, -1]
B = [-1, -1, -1, -1, 0, 0, 0, 0, 2, 2, 2, 2]
TWELVE = Calendar(np.arange(13, dtype=np.int64), np.arange(12, dtype=np.int64))


def judged(rows: list[list[float]], how: Combinations) -> Any:
    edges = edges_of(12, 3, least=4)
    training = [training_of(TWELVE, edges, held, how) for held in splits_of(3, how.held_out)]
    ts = (1 + np.arange(12)) * 86_400 * 10**9
    return judge(np.array(rows) / 100.0, ts, edges, training, how, criterion_of("mean_daily", 365.0, 0.0))


def test_three_groups_one_held_out_by_hand() -> None:
    """Without group 1: A -0.5, B 1 -> B, which earns -1 there. Without 2: A 0, B 0.5 -> B, 0. Without 3: A 0.5,
    B -0.5 -> A, -1. The one path follows B, B, A: four days of -1, four of 0, four of -1."""
    splits, source, paths = judged([A, B], Combinations(groups=3, held_out=1))
    assert [split.held for split in splits] == [(0,), (1,), (2,)]
    assert [split.chosen for split in splits] == [1, 1, 0]
    assert [split.inside.round(12).tolist() for split in splits] == [[-0.005, 0.01], [0.0, 0.005], [0.005, -0.005]]
    assert [split.outside.round(12).tolist() for split in splits] == [[0.01, -0.01], [0.0, 0.0], [-0.01, 0.02]]
    assert [split.days for split in splits] == [8, 8, 8]
    assert source.tolist() == [[0, 1, 2]]
    assert paths.tolist() == [[-0.01] * 4 + [0.0] * 4 + [-0.01] * 4]


def test_purge_before_and_embargo_after_by_hand() -> None:
    """Group 2 (days 4 … 7) held out with a purge of 1 bar and an embargo of 2: day 3 goes, and days 8, 9 and 10."""
    how = Combinations(groups=3, held_out=1, purge="1", embargo="2d")
    free = training_of(TWELVE, edges_of(12, 3, least=4), [1], how)
    assert np.flatnonzero(free).tolist() == [0, 1, 2, 11]
    splits, _, _ = judged([A, B], how)
    assert splits[1].inside.tolist() == pytest.approx([(3 - 1) / 400, (-3 + 2) / 400])  # and so A is taken
    assert splits[1].chosen == 0


@given(
    bars=st.lists(st.integers(1, 5), min_size=12, max_size=80),
    groups=st.integers(2, 6),
    purge=st.integers(0, 12),
    embargo=st.integers(0, 12),
    data=st.data(),
)
def test_no_row_near_a_held_out_group_trains(
    bars: list[int], groups: int, purge: int, embargo: int, data: st.DataObject
) -> None:
    """Row by row, and no day more than whole days force it is left out."""
    calendar = Calendar(np.concatenate(([0], np.cumsum(bars))), np.arange(len(bars), dtype=np.int64))
    edges = edges_of(len(bars), groups, least=1)
    held = data.draw(st.sets(st.integers(0, groups - 1), min_size=1, max_size=groups - 1))
    how = Combinations(groups=groups, held_out=len(held), purge=f"{purge}", embargo=f"{embargo}")
    taken = np.zeros(calendar.rows, np.bool_)
    for g in held:
        first, stop = calendar.first[edges[g]], calendar.first[edges[g + 1]]
        taken[max(first - purge, 0) : stop + purge + embargo] = True
    expected = [not taken[a:b].any() for a, b in itertools.pairwise(calendar.first)]
    assert training_of(calendar, edges, sorted(held), how).tolist() == expected


def test_days_without_a_forecast_are_not_judged_and_a_set_without_any_is_not_chosen() -> None:
    late: list[float] = [math.nan] * 8 + [5.0, 5.0, 5.0, 5.0]
    splits, _, paths = judged([A, late], Combinations(groups=3, held_out=1))
    assert [split.chosen for split in splits] == [1, 1, 0]
    assert math.isnan(splits[2].inside[1])  # in groups 1 and 2 it has nothing
    assert paths[0].tolist() == [0.0] * 8 + [-0.01] * 4  # chosen for groups in which it could not trade: flat
    nothing, _, flat = judged([[math.nan] * 12], Combinations(groups=3, held_out=1))
    assert [split.chosen for split in nothing] == [-1] * 3
    assert not flat.any()


def crossed(panel: tt.Panel, how: Combinations, **more: Any) -> Crossed:
    return cross_validate(spec_for(panel, fast=3, slow=10), panel, GRID, how, **more)


def test_a_whole_cross_validation() -> None:
    panel = noise(1_200, 1)
    how = Combinations(groups=6, held_out=2, purge="40", embargo="2d")
    found = crossed(panel, how, hurdle=0.5)
    assert (len(found.splits), found.paths.shape, len(found.ts)) == (15, (5, 200), 200)
    assert found.mean == pytest.approx(found.sharpes.mean())
    assert found.deviation == pytest.approx(found.sharpes.std(ddof=1))
    assert found.share_below(0.5) == (found.sharpes < 0.5).mean()
    # Group by group a path is the set that its split chose, as that set is alone.
    alone = cross_validate(found.sets.specs[found.splits[4].chosen], panel, {}, how)
    for g in found.splits[4].held:
        p = found.source[:, g].tolist().index(4)
        days = slice(found.edges[g], found.edges[g + 1])
        assert found.paths[p, days].tolist() == alone.paths[0, days].tolist()
    assert len(np.unique(alone.sharpes)) == 1
    again = crossed(panel, how, threads=3)
    assert again.paths.tobytes() == found.paths.tobytes()
    assert found.left == 0.0


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        (Combinations(groups=1, held_out=1), tt.TrimtabError, "two groups or more"),
        (Combinations(groups=5, held_out=5), tt.TrimtabError, "not all held out"),
        (Combinations(groups=40, held_out=20), tt.TrimtabError, "splits are more than"),
        (
            Combinations(groups=20),
            tt.NotEnoughData,
            r"10 each, 20 are the least: load 200 more days, or take at most 10",
        ),
        (Combinations(groups=4, held_out=2, purge="90d"), tt.NotEnoughData, "a split has 0 days to choose on"),
        (Combinations(groups=4, exit_bars=300), tt.NotEnoughData, "a shorter exit"),
    ],
)
def test_what_does_not_fit_is_said(how: Combinations, error: type[tt.TrimtabError], message: str) -> None:
    with pytest.raises(error, match=message):
        crossed(noise(1_200, 1), how)


def test_a_figure_of_runs_is_no_metric_of_days_put_together() -> None:
    with pytest.raises(tt.TrimtabError, match="metric costs: nothing to choose by"):
        crossed(noise(1_200, 1), Combinations(groups=4), metric="costs")
