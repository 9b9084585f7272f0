"""A venue's word against the book's: what differs, what has to be asked, and what is adopted. Pure, so no engine."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.world import FIRST, NAMES, Said, bars_of, setup_of, state_of
from tests.unit.engine.account import account, sent
from trimtab.engine import core
from trimtab.engine.reconcile import (
    ROUNDING,
    Difference,
    adjustments,
    differences,
    in_doubt,
    is_known,
    is_same,
    strange,
)
from trimtab.engine.state import State
from trimtab.rules.book import STOP_LOSS, TARGET
from trimtab.rules.fills import Execution
from trimtab.venues import Filled, Snapshot


def snapshot(state: State, lots: tuple[int, ...] = (0, 0), cash: float = 0.0, **told: object) -> Snapshot:
    """What a venue says that holds so many lots, and so much cash, more than the book."""
    book = state.book
    said = Snapshot(9, book.positions["lots"] + np.array(lots), book.cash + cash, {})
    return said._replace(**told)  # type: ignore[arg-type]


# --- what differs ----------------------------------------------------------------------------------------------------


def test_lots_and_cash_that_agree_are_no_difference() -> None:
    state = account()
    assert differences(state, snapshot(state)) == []


def test_lots_that_differ_are_told_and_cash_only_where_lots_agree() -> None:
    state = account()
    assert differences(state, snapshot(state, (0, 7), 12.5)) == [Difference(1, 0, 0, 7)]
    assert differences(state, snapshot(state, (-3, 7))) == [Difference(0, 0, 0, -3), Difference(1, 0, 0, 7)]
    cash = float(state.book.cash[0])
    assert differences(state, snapshot(state, (0, 0), 12.5)) == [Difference(-1, 0, cash, cash + 12.5)]


@given(st.floats(-1e7, 1e7), st.floats(0.01, 3.0))
def test_what_rounding_makes_of_cash_is_no_difference(cash: float, times: float) -> None:
    """Relative to the equity where there is next to no cash, so that a wallet near zero is not always in dispute."""
    state = account()
    state.book.cash[0] = cash
    scale = abs(float(state.book.head[0]["equity"])) + abs(cash)
    apart = times * ROUNDING * scale
    found = differences(state, snapshot(state, (0, 0), apart))
    if not math.isclose(times, 1.0, rel_tol=1e-3):
        assert bool(found) == (times > 1.0)


def test_a_difference_is_said_in_words() -> None:
    assert Difference(1, 0, 1200, -3).said(NAMES) == "BBB: the book holds 1,200 lots, the venue says -3"
    assert Difference(-1, 0, 10.0, 22.5).said(NAMES) == "cash at paper: the book has 10 USD, the venue says 22.5"


# --- whether a snapshot can be compared at all -----------------------------------------------------------------------


def test_a_snapshot_behind_which_the_book_stands_is_known() -> None:
    state = account()
    assert is_known(state, snapshot(state)), "no trade, or not said"
    assert not is_known(state, snapshot(state, trade_id="7"))
    done = Execution(100.0, 0.0, 0, 100.0, 0.0, 0.0, 0.0, 0.0)
    state, _ = core.handle(state, Filled("7", "", 0, TARGET, 5, done, 9))
    assert is_known(state, snapshot(state, trade_id="7"))


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"ts": 11}, True),
        ({"orders": {"T-0000000001": 3}}, True),
        ({"lots": np.array([0, 1])}, False),
        ({"cash": np.array([1.0])}, False),
        ({"trade_id": "8"}, False),
    ],
)
def test_two_snapshots_are_the_same_by_what_they_hold(changed: dict[str, object], same: bool) -> None:
    one = snapshot(account())
    assert is_same(one, one._replace(**changed)) is same  # type: ignore[arg-type]


# --- what has to be asked --------------------------------------------------------------------------------------------


def test_without_a_snapshot_only_what_is_in_doubt_is_asked_for() -> None:
    state = account()
    sent(state, 1)
    doubted = sent(state, 2, 1, leaving=True)
    guard = sent(state, 3, slot=STOP_LOSS, leaving=True)
    assert in_doubt(state) == [doubted, guard]


def test_with_a_snapshot_all_that_nobody_has_seen_end_is_asked_for() -> None:
    """A target order also where the venue lists it: part of it may have filled. One that protects only where it is
    missing, and not of a venue that protects by itself."""
    state = account()
    listed, missing = sent(state, 1), sent(state, 2, 1)
    guard, lost = sent(state, 3, slot=STOP_LOSS), sent(state, 4, 1, STOP_LOSS)
    open_ = {listed: 10, guard: -10}
    assert in_doubt(state, snapshot(state, orders=open_)) == [listed, missing, lost]
    assert in_doubt(state, snapshot(state, orders=open_, protects=True)) == [listed, missing]
    state.sent[lost].is_leaving = True
    assert in_doubt(state, snapshot(state, orders=open_, protects=True)) == [listed, missing, lost]


def test_orders_of_ours_that_the_book_has_not_are_strange_and_those_of_others_are_not() -> None:
    state = account()
    ours = sent(state, 1)
    ahead = core.cid_of(state, 5)
    others = {"by hand": 3, "T-": 1, "T-x1": 1, "U-0000000007": 2}
    assert strange(state, snapshot(state, orders={ours: 10, ahead: 4, **others})) == [ahead]


# --- what is adopted -------------------------------------------------------------------------------------------------


@given(st.tuples(st.integers(-500, 500), st.integers(-500, 500)), st.floats(-5e4, 5e4))
def test_what_was_adopted_is_settled_and_nothing_is_left(lots: tuple[int, int], cash: float) -> None:
    """Lots first, at their last mark; then what they have cost, which is the venue's to say; then nothing."""
    state = account()
    truth = snapshot(state, lots, cash)
    trades = int(state.book.head[0]["fills"])
    for when in range(2):
        found = differences(state, truth)
        made = adjustments(state, found, 10 + when)
        assert [(a.instrument, a.wallet) for a in made] == [(d.instrument, d.wallet) for d in found]
        assert all((a.amount == 0.0) == (a.instrument >= 0) for a in made), "lots or cash, never both"
        for adjusted in made:
            state, _ = core.handle(state, adjusted)
    assert differences(state, truth) == []
    assert adjustments(state, [], 12) == []
    assert state.book.positions["lots"].tolist() == list(lots)
    assert state.book.cash[0] == pytest.approx(float(truth.cash[0]), rel=1e-9, abs=1e-3)
    assert int(state.book.head[0]["fills"]) - trades == sum(n != 0 for n in lots)


def test_lots_come_in_at_their_last_mark() -> None:
    state = account()
    made = adjustments(state, differences(state, snapshot(state, (3, -4))), 10)
    assert [(a.instrument, a.lots, a.price, a.amount, a.ts) for a in made] == [
        (0, 3, 100.0, 0.0, 10),
        (1, -4, 50.0, 0.0, 10),
    ]


def test_the_same_adjustment_is_booked_once_and_another_one_of_the_same_size_too() -> None:
    state = account()
    truth = snapshot(state, (0, 0), 12.5)
    (once,) = adjustments(state, differences(state, truth), 10)
    for _ in range(2):
        state, _ = core.handle(state, once)
    assert state.book.cash[0] == truth.cash[0]
    (later,) = adjustments(state, differences(state, snapshot(state, (0, 0), 12.5)), 11)
    assert later.adjustment_id != once.adjustment_id
    before = float(state.book.cash[0])
    state, _ = core.handle(state, later)
    assert state.book.cash[0] == before + 12.5


def test_nothing_is_adopted_before_there_are_prices() -> None:
    nothing = account(rows=0)
    assert adjustments(nothing, [Difference(0, 0, 0, 7), Difference(-1, 0, 0.0, 5.0)], 10) == []
    state = state_of(setup_of(False, False, False), Said())
    bars = bars_of([100.0, 50.0], [0.0, 0.0], [1e6, -1.0])  # the second has none yet
    for event in (core.Bars(FIRST, bars), core.Close(FIRST)):
        state, _ = core.handle(state, event)
    found = differences(state, snapshot(state, (3, 4)))
    assert [a.instrument for a in adjustments(state, found, 10)] == [0]


def test_to_look_changes_nothing() -> None:
    state = account()
    sent(state, 1, leaving=True)
    truth = snapshot(state, (3, 0), 5.0, orders={core.cid_of(state, 9): 1})
    before = [array.tobytes() for array in state.book], list(state.sent), list(state.seen)
    adjustments(state, differences(state, truth), 10)
    in_doubt(state, truth)
    strange(state, truth)
    assert ([array.tobytes() for array in state.book], list(state.sent), list(state.seen)) == before
