"""Weights as they stand, by rows worked out by hand, and the law of the split."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.portfolio.standing import Changes, Events, Pace, Room, Standing, fold, standing_init
from trimtab.types import DAY, HOUR

NAN = float("nan")
MONDAY = 4 * DAY
PLAIN = Pace(np.inf, 0, 0.0, 0, 0)
TS = 1_704_067_200 * 10**9 + HOUR * np.arange(1, 401, dtype=np.int64)  # from 2024-01-01, a Monday, 01:00


def events(*said: tuple[int, Any, float]) -> Events:
    """(row, leg weights or one weight, multiple)"""
    value = np.array([np.atleast_1d(v) for _, v, _ in said], np.float64).reshape(len(said), -1)
    return Events(np.array([r for r, _, _ in said], np.int64), value, np.array([m for _, _, m in said]))


def changes(*changed: tuple[int, float]) -> Changes:
    return Changes(np.array([r for r, _ in changed], np.int64), np.array([f for _, f in changed], np.float64))


def run(pace: Pace, said: Events, changed: Changes, cuts: tuple[int, ...] = (), ts: Any = TS) -> list[tuple[Any, ...]]:
    """(row, leg, weight) of every new weight; the state kept as a deep copy at each cut."""
    state, found = standing_init(said.value.shape[1]), []
    for a, b in zip((0, *cuts), (*cuts, len(ts)), strict=True):
        mine = (said.row >= a) & (said.row < b)
        part = Events(said.row[mine], np.ascontiguousarray(said.value[mine]), said.multiple[mine])
        size = said.value.shape[1] * (len(part.row) + len(changed.row))
        room = Room(np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size))
        kept = Standing(*copy.deepcopy(tuple(state)))
        fold(pace, state, ts, part, changed, b, room)  # the original goes its own way
        n = fold(pace, kept, ts, part, changed, b, room)
        found += list(zip(room.row[:n].tolist(), room.leg[:n].tolist(), room.value[:n].tolist(), strict=True))
        state = kept
    return found


def test_a_weight_is_forecast_times_multiple_times_factor_and_said_when_it_is_new() -> None:
    said = events((1, 1.0, 0.5), (2, 1.0, 0.5), (3, -0.5, 1.0), (5, 0.0, 1.0), (6, 0.0, 0.3))
    assert run(PLAIN, said, changes()) == [(1, 0, 0.5), (3, 0, -0.5), (5, 0, 0.0)]


def test_what_stands_is_sized_again_when_a_factor_changes() -> None:
    said = events((2, 0.8, 1.0), (6, 0.4, 1.0))
    changed = changes((0, 0.5), (4, 0.25), (6, 1.0), (9, 0.0), (9 + 1, 0.5))
    assert run(PLAIN, said, changed) == [
        (2, 0, 0.4), (4, 0, 0.2), (6, 0, 0.4), (9, 0, 0.0), (10, 0, 0.2),
    ]  # fmt: skip


def test_a_multiple_that_is_not_known_abstains() -> None:
    said = events((1, 1.0, NAN), (2, 1.0, 0.5), (3, 0.2, NAN))
    assert run(PLAIN, said, changes((3, 0.5))) == [(2, 0, 0.5), (3, 0, 0.25)]


def test_a_cap_holds_for_multiple_and_factor_together() -> None:
    assert run(PLAIN._replace(cap=1.5), events((1, 0.5, 1.0)), changes((2, 2.0))) == [(1, 0, 0.5), (2, 0, 0.75)]


def test_an_increase_waits_until_it_is_worth_a_trade_and_nothing_else_does() -> None:
    pace = PLAIN._replace(least=0.1)
    said = [(1, 0.05), (2, 0.2), (3, 0.25), (4, 0.31), (5, 0.30), (6, -0.02), (7, 0.0), (8, 0.09)]
    found = run(pace, events(*((r, w, 1.0) for r, w in said)), changes())
    assert [(r, w) for r, _, w in found] == [(2, 0.2), (4, 0.31), (5, 0.30), (6, -0.02), (7, 0.0)]


def test_a_size_waits_for_the_calendar_entries_exits_turns_and_regimes_do_not() -> None:
    daily = PLAIN._replace(every=DAY)
    # Row 22 closes at 23:00 and row 23 at midnight, where a new interval begins.
    said = [(1, 0.5), (2, 0.4), (22, 0.6), (23, 0.7), (24, 0.8), (25, 0.0), (26, 0.3), (27, -0.3), (28, -0.2)]
    found = run(daily, events(*((r, w, 1.0) for r, w in said)), changes((30, 0.5)))
    assert [(r, w) for r, _, w in found] == [
        (1, 0.5), (23, 0.7), (25, 0.0), (26, 0.3), (27, -0.3), (30, -0.1),
    ]  # fmt: skip


def test_weeks_are_counted_from_a_monday() -> None:
    weekly = PLAIN._replace(every=7 * DAY, anchor=MONDAY)
    said = events(*((r, 0.5 + r / 1000, 1.0) for r in range(400)))
    assert [r for r, *_ in run(weekly, said, changes())] == [0, 7 * 24 - 1, 14 * 24 - 1]


def test_a_late_step_decides_for_the_instant_that_it_missed() -> None:
    said = events((1, 0.5, 1.0), (30, 0.6, 1.0), (31, 0.7, 1.0))
    assert [r for r, *_ in run(PLAIN._replace(every=DAY), said, changes())] == [1, 30]


def test_drift_is_looked_at_again_where_it_is_asked_for() -> None:
    always = PLAIN._replace(always=1)
    said = [(1, 0.5), (2, 0.5), (3, 0.55)]
    assert [(r, w) for r, _, w in run(always, events(*((r, w, 1.0) for r, w in said)), changes())] == said
    held = run(always._replace(least=0.1), events(*((r, w, 1.0) for r, w in said)), changes())
    assert [w for *_, w in held] == [0.5, 0.5, 0.5]


def test_the_legs_of_a_unit_are_one_decision() -> None:
    pace = PLAIN._replace(least=0.1)
    said = events((1, (0.5, -0.5), 1.0), (2, (0.54, -0.52), 1.0), (3, (0.56, -0.55), 1.0), (4, (0.0, 0.0), 1.0))
    assert run(pace, said, changes()) == [
        (1, 0, 0.5), (1, 1, -0.5), (3, 0, 0.56), (3, 1, -0.55), (4, 0, 0.0), (4, 1, 0.0),
    ]  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> tuple[Pace, Events, Changes, tuple[int, ...]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, legs = draw(st.integers(1, 120)), draw(st.integers(1, 3))
    at = np.flatnonzero(rng.random(rows) < draw(st.sampled_from([0.1, 0.6, 1.0])))
    multiple = np.where(rng.random(len(at)) < 0.2, np.nan, rng.choice([0.0, 0.5, 1.0, 2.0], len(at)))
    said = Events(at, rng.choice([-1.0, -0.4, 0.0, 0.45, 0.5, 1.0], (len(at), legs)), multiple)
    turns = np.flatnonzero(rng.random(rows) < 0.2)
    pace = Pace(
        draw(st.sampled_from([np.inf, 1.0])),
        draw(st.integers(0, 1)),
        draw(st.sampled_from([0.0, 0.2])),
        draw(st.sampled_from([0, 5 * HOUR, DAY])),
        0,
    )
    cuts = tuple(sorted(draw(st.lists(st.integers(0, rows), max_size=4))))
    return pace, said, Changes(turns, rng.choice([0.0, 0.25, 1.0], len(turns))), cuts


@given(histories())
def test_cutting_and_resuming_changes_no_bit(history: tuple[Pace, Events, Changes, tuple[int, ...]]) -> None:
    pace, said, changed, cuts = history
    assert run(pace, said, changed, cuts) == run(pace, said, changed)


@given(histories(), st.integers(0, 120))
def test_nothing_after_a_row_changes_what_was_said_until_then(history: Any, last: int) -> None:
    pace, said, changed, _ = history
    known, turns = said.row <= last, changed.row <= last
    early = Events(said.row[known], np.ascontiguousarray(said.value[known]), said.multiple[known])
    whole = [x for x in run(pace, said, changed) if x[0] <= last]
    assert run(pace, early, Changes(changed.row[turns], changed.factor[turns])) == whole


@pytest.mark.parametrize("every", [0, DAY])
def test_a_world_without_sizing_is_the_forecasts(every: int) -> None:
    """Multiples and factors of 1: what is new is said, on a calendar only what enters, leaves or turns."""
    rng = np.random.default_rng(3)
    weight = rng.choice([-1.0, 0.0, 0.5, 1.0], 400)
    said = events(*((r, w, 1.0) for r, w in enumerate(weight)))
    found = run(PLAIN._replace(every=every), said, changes())
    new = np.flatnonzero(np.append(True, weight[1:] != weight[:-1]))
    if every == 0:
        assert [r for r, *_ in found] == new.tolist()
    sign = np.sign(weight)
    turned = set(np.flatnonzero(np.append(True, sign[1:] != sign[:-1])).tolist())
    assert turned <= {r for r, *_ in found} | {0}
