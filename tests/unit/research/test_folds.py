"""Folds: where their edges are, that no fold chooses on what it trades, and what does not fit is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trimtab.research.folds import Calendar, Length, Scheme, folds_of, read_length
from trimtab.sim.windows import Window
from trimtab.types import NotEnoughData, TrimtabError


def calendar(days: int, bars: int = 1, start: str = "2020-01-01") -> Calendar:
    first = np.arange(days + 1, dtype=np.int64) * bars
    return Calendar(first, int(np.datetime64(start, "D").astype(np.int64)) + np.arange(days, dtype=np.int64))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("2y", Length(months=24)), ("6mo", Length(months=6)), ("26w", Length(days=182)), ("180d", Length(days=180)),
        ("500", Length(bars=500)), ("1_000 bars", Length(bars=1000)), ("0", Length()),
    ],
)  # fmt: skip
def test_lengths_are_read(text: str, length: Length) -> None:
    assert read_length(text, "train") == length


@pytest.mark.parametrize("text", ["", "x", "-3d", "1.5y", "3m", "1y6mo"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(TrimtabError, match="expected a length"):
        read_length(text, "train")


def test_a_month_is_a_month_of_the_calendar() -> None:
    days = calendar(400, start="2021-01-31")
    assert days.moved(0, Length(months=1)) == 28  # the end of February
    assert days.moved(0, Length(months=2)) == 59  # and not the 28th of March
    assert days.moved(365, Length(months=12), -1) == 0
    assert days.moved(390, Length(months=12)) == 400  # behind the last


def test_folds_by_hand() -> None:
    """100 days of 4 bars; 40 days to choose, 20 to trade; 6 bars of purge and a day of embargo before each test."""
    found, notes = folds_of(Scheme(train="40d", test="20d", purge="6", embargo="1d"), calendar(100, 4))
    assert [(fold.train, fold.test, fold.days) for fold in found] == [
        (Window(0, 148), Window(160, 240), (40, 60)),  # 160 - 6 lies in day 38; the day before it begins at 37 * 4
        (Window(80, 228), Window(240, 320), (60, 80)),
        (Window(160, 308), Window(320, 400), (80, 100)),
    ]
    assert notes == []


def test_anchored_folds_begin_with_the_history() -> None:
    found, _ = folds_of(Scheme(train="40d", test="20d", anchored=True), calendar(100, 4))
    assert [fold.train for fold in found] == [Window(0, 160), Window(0, 240), Window(0, 320)]


def test_a_number_of_folds_shares_what_is_left() -> None:
    found, _ = folds_of(Scheme(train="40d", folds=3), calendar(100))
    assert [fold.test for fold in found] == [Window(40, 60), Window(60, 80), Window(80, 100)]
    found, _ = folds_of(Scheme(folds=4), calendar(100))
    assert [(fold.train, fold.test) for fold in found] == [
        (Window(20 * k, 20 * k + 20), Window(20 * k + 20, 20 * k + 40)) for k in range(4)
    ]


def test_the_last_test_may_be_short_and_what_is_too_short_is_told() -> None:
    found, notes = folds_of(Scheme(train="40d", test="30d"), calendar(95))
    assert [fold.test for fold in found] == [Window(40, 70), Window(70, 95)]
    assert notes == ["the last test is 25 days, shorter than 30d"]
    found, notes = folds_of(Scheme(train="40d", test="30d"), calendar(80))
    assert [fold.test for fold in found] == [Window(40, 70)]
    assert notes == ["the last 10 days are too few for a fold"]


@pytest.mark.parametrize(
    ("scheme", "error", "message"),
    [
        (Scheme(test="30d"), TrimtabError, "train is missing"),
        (Scheme(train="30d"), TrimtabError, "test is missing"),
        (Scheme(train="30d", test="20d", folds=2), TrimtabError, "both given"),
        (Scheme(train="0", test="20d"), TrimtabError, "lengths above 0"),
        (Scheme(train="30d", test="20d", step="10d"), TrimtabError, "counted twice"),
        (Scheme(train="30d", test="20d", exit_bars=0), TrimtabError, "exit is 0 bars"),
        (Scheme(folds=-1), TrimtabError, "folds is -1"),
        (Scheme(train="1y", test="20d"), NotEnoughData, r"100 days \(2020-01-01 to 2020-04-09\) hold no train of 1y"),
        (Scheme(train="30d", test="20d", purge="15d"), NotEnoughData, "fold 1 has 15 days in-sample, 20 are the least"),
        (Scheme(train="30d", test="2d"), NotEnoughData, "2 bars, 3 are the least"),
        (Scheme(train="30d", test="20d", exit_bars=30), NotEnoughData, "take longer windows, or a shorter exit"),
        (Scheme(folds=9), NotEnoughData, "9 folds take 180"),
    ],
)
def test_what_does_not_fit_is_said(scheme: Scheme, error: type[TrimtabError], message: str) -> None:
    with pytest.raises(error, match=message):
        folds_of(scheme, calendar(100))


def lengths(low: int, high: int) -> st.SearchStrategy[str]:
    days = st.integers(low, high)
    return st.one_of(
        days.map(lambda n: f"{n}d"), days.map(lambda n: f"{3 * n}"), st.integers(1, 4).map(lambda n: f"{n}mo")
    )


@settings(max_examples=200)
@given(
    bars=st.lists(st.integers(0, 6), min_size=60, max_size=400),
    train=lengths(20, 150),
    test=lengths(20, 60),
    step=st.one_of(st.just(""), lengths(20, 90)),
    anchored=st.booleans(),
    purge=st.integers(0, 40),
    embargo=st.integers(0, 5),
)
def test_no_fold_chooses_on_what_it_trades(
    bars: list[int], train: str, test: str, step: str, anchored: bool, purge: int, embargo: int
) -> None:
    """Days with and without bars: the gap is kept to the row, tests follow each other, edges are those of days."""
    there = np.flatnonzero(bars)
    assume(there.size)
    rows = np.concatenate(([0], np.cumsum(np.array(bars)[there])))
    days = Calendar(rows, 18_000 + there)
    scheme = Scheme(train=train, test=test, step=step, anchored=anchored, purge=f"{purge}", embargo=f"{embargo}d")
    try:
        found, _ = folds_of(scheme, days)
    except TrimtabError:  # NotEnoughData too: what does not fit has tests of its own
        return
    edges, last = set(rows.tolist()), 0
    for fold in found:
        assert fold.train.stop <= fold.test.first - purge
        assert fold.train.first == 0 or not anchored
        assert 0 <= fold.train.first < fold.train.stop
        assert fold.train.first in edges
        assert {fold.test.first, fold.test.stop} <= edges
        gone = days.number[days.day_at(max(fold.test.first - purge, 0))] - embargo
        assert days.number[days.day_at(fold.train.stop - 1)] < gone or embargo == 0
        assert fold.test.first >= last
        assert step or last in (0, fold.test.first)  # without a step of its own no day is left out
        last = fold.test.stop
