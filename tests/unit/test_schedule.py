"""Weeks begin on Monday 00:00 UTC, every other length is counted from the epoch."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from trimtab.schedule import MONDAY, WEEK, anchor_of, interval_of
from trimtab.types import DAY, HOUR, MINUTE


def day_name(ts: int) -> str:
    return f"{dt.datetime.fromtimestamp(ts / 1e9, dt.UTC):%A %H:%M}"


def test_weeks_begin_on_monday() -> None:
    ts = HOUR * np.arange(-500, 500_000, 7, dtype=np.int64)
    assert day_name(MONDAY) == "Monday 00:00"
    for weeks in (1, 2, 4):
        number = interval_of(ts, weeks * WEEK)
        edges = np.unique(number) * weeks * WEEK + anchor_of(weeks * WEEK)
        assert {day_name(edge) for edge in edges.tolist()} == {"Monday 00:00"}
        assert (np.diff(edges) == weeks * WEEK).all()


@pytest.mark.parametrize("every", [MINUTE, 4 * HOUR, DAY, 5 * DAY, 10 * DAY, WEEK + HOUR])
def test_other_lengths_are_counted_from_the_epoch(every: int) -> None:
    assert anchor_of(every) == 0
    assert [interval_of(ts, every) for ts in (-1, 0, every - 1, every)] == [-1, 0, 0, 1]


def test_one_instant_and_many_are_in_the_same_interval() -> None:
    ts = 1_700_000_000 * 10**9 + 5 * HOUR * np.arange(300, dtype=np.int64)
    for every in (DAY, 3 * DAY, WEEK):
        assert interval_of(ts, every).tolist() == [interval_of(int(t), every) for t in ts]
