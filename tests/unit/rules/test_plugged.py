"""Limits of the user's own: what they are told, what they may do, and what they may not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.types import DAY, HOUR, Instrument, Limits

ONE = (100.0, 100.0, 100.0, 100.0)
TWO = [Instrument(symbol=s, lot_size=1.0) for s in "AB"]
BARS = [[ONE] * 2] * 6


def halve(now: Any, equity: Any, weights: Any, held: Any, bars: Any, bound: Any) -> None:
    weights[0] = weights[0] * bound


def by_volume(now: Any, equity: Any, weights: Any, held: Any, bars: Any, bound: Any) -> None:
    for i in range(weights.shape[0]):
        most = bound * bars[i, 4] * bars[i, 3] / equity
        if abs(weights[i]) > most:
            weights[i] = most if weights[i] > 0.0 else -most


def not_at_night(now: Any, equity: Any, weights: Any, held: Any, bars: Any, bound: Any) -> None:
    if now % DAY < bound * HOUR:
        for i in range(weights.shape[0]):
            if abs(weights[i]) > abs(held[i]):
                weights[i] = held[i]


def enlarge(now: Any, equity: Any, weights: Any, held: Any, bars: Any, bound: Any) -> None:
    weights[0], weights[1] = 5.0 * weights[0], -weights[1]
    bars[:, :] = np.nan


def spoil(now: Any, equity: Any, weights: Any, held: Any, bars: Any, bound: Any) -> None:
    weights[0], weights[1] = np.nan, np.inf


def fail(now: Any, equity: Any, weights: Any, held: Any, bars: Any, bound: Any) -> None:
    if held[0] != 0.0:
        raise ValueError("a mistake in a rule")


def lots(result: Any) -> list[int]:
    return result.book.positions["lots"].tolist()


def acted(result: Any) -> list[tuple[int, int, int, float, float, str]]:
    return [
        (int(a["row"]), int(a["limit"]) - len(LIMIT_NAMES), int(a["instrument"]), *(float(a[k]) for k in
         ("wanted", "allowed")), ACTIONS[a["action"]]) for a in result.actions
    ]  # fmt: skip


def test_a_rule_cuts_what_it_makes_smaller_and_says_so(play) -> None:
    result = play(BARS, [(0, 0, 0, 0.5), (0, 0, 1, 0.4)], instruments=TWO, rules=[(halve, 0.4)])
    assert lots(result) == [2, 4]
    assert acted(result) == [(0, 0, 0, 5.0, 2.0, "SCALE")]


def test_rules_are_asked_in_their_order_with_their_own_bound(play) -> None:
    result = play(BARS, [(0, 0, 0, 0.8)], instruments=TWO, rules=[(halve, 0.5), (halve, 0.5)])
    assert lots(result) == [2, 0]
    assert [a[:3] for a in acted(result)] == [(0, 0, 0), (0, 1, 0)]


def test_a_rule_reads_the_bar_and_the_clock(play) -> None:
    thin = (100.0, 100.0, 100.0, 100.0, 30.0)
    result = play([[thin, ONE]] * 4, [(0, 0, 0, -0.8), (0, 0, 1, 0.8)], instruments=TWO, rules=[(by_volume, 0.1)])
    assert lots(result) == [-3, 8]
    decisions = [(0, 0, 0, 0.5), (2, 0, 0, 0.6), (3, 0, 0, 0.2)]  # closes of 01:00, 03:00 and 04:00
    late = play(BARS, decisions, instruments=TWO, rules=[(not_at_night, 4.0)])
    assert [int(f["lots"]) for f in late.fills] == [2]


def test_a_rule_can_neither_enlarge_nor_turn_nor_spoil(play) -> None:
    result = play(BARS, [(0, 0, 0, 0.5), (0, 0, 1, 0.4)], instruments=TWO, rules=[(enlarge, 0.0)])
    assert lots(result) == [5, 0]
    assert np.isfinite(result.equity).all()  # the market is not the rule's to write to
    spoiled = play(BARS, [(0, 0, 0, 0.5), (0, 0, 1, 0.4)], instruments=TWO, rules=[(spoil, 0.0)])
    assert lots(spoiled) == [0, 4]


def test_a_rule_that_fails_lets_nothing_grow_and_holds_up_nothing(play) -> None:
    decisions = [(0, 0, 0, 0.5), (2, 0, 1, 0.4), (3, 0, 0, 0.2)]
    result = play(BARS, decisions, instruments=TWO, rules=[(fail, 0.0)])
    assert [(int(f["row"]), int(f["instrument"]), int(f["lots"])) for f in result.fills] == [(1, 0, 5), (4, 0, -3)]
    assert (2, 0, 1, 4.0, 0.0, "REFUSE") in acted(result)


@pytest.mark.parametrize("rules", [[], [(halve, 1.0)]])
def test_a_rule_that_allows_everything_changes_nothing(play, rules) -> None:
    result = play(BARS, [(0, 0, 0, 0.5), (2, 0, 1, -0.4), (3, 0, 0, 0.2)], instruments=TWO, rules=rules)
    assert lots(result) == [2, -4]
    assert not len(result.actions)


def test_net_exposure_holds_after_a_rule_has_cut_one_side(play) -> None:
    decisions = [(0, 0, 0, 0.5), (0, 0, 1, -0.5)]
    result = play(BARS, decisions, instruments=TWO, capital=1e4, limits=Limits(net_exposure=0.1), rules=[(halve, 0.0)])
    assert lots(result) == [0, -10]
