"""What no book has any more goes through a split too: orders in doubt, and late fills from before it."""

from __future__ import annotations

import numpy as np

from tests.chaos.world import FIRST, LENGTH, SYMBOLS, Said, Wishes, setup_of
from trimtab.engine import core
from trimtab.engine.recovery import restore, save
from trimtab.engine.state import State
from trimtab.rules.book import open_book
from trimtab.rules.fills import Execution
from trimtab.rules.tape import Tape, live_setup
from trimtab.types import BAR_FIELDS
from trimtab.venues import Filled, Submit, Unknown


def empty(said: Said) -> State:
    setup = live_setup(setup_of(False, False, False))
    book = open_book(setup.capital, setup.terms, setup.models)
    tape = Tape((*BAR_FIELDS, "split"), setup, LENGTH, np.empty(0, np.int64))
    return core.begin(setup, tape, book, Wishes(said), "T-")


def bars(price: float, split: float = np.nan) -> np.ndarray:
    rows = np.array([[price, price, price, price, 1e6, LENGTH, np.nan]] * len(SYMBOLS))
    rows[0, -1] = split
    return rows


def at(row: int) -> int:
    return FIRST + row * LENGTH


def in_doubt() -> tuple[State, Submit]:
    """An order of the first row of which nobody knows what became; then a share is split seven for one."""
    said = Said()
    said.given[at(0)] = [(0, 0, 0.5)]
    state = empty(said)
    state, _ = core.handle(state, core.Bars(at(0), bars(70.0)))
    state, commands = core.handle(state, core.Close(at(0)))
    order = next(c for c in commands if isinstance(c, Submit))
    state, _ = core.handle(state, Unknown(order.cid, 0, 0, at(0)))
    for row, split in ((1, np.nan), (2, 7.0)):
        state, _ = core.handle(state, core.Bars(at(row), bars(10.0 if row == 2 else 70.0, split)))
        state, _ = core.handle(state, core.Close(at(row)))
    return state, order


def test_an_order_in_doubt_is_counted_in_new_shares() -> None:
    state, order = in_doubt()
    assert state.book.unsure[:, 0].tolist() == [0, 7 * order.order.lots]


def test_a_late_fill_from_before_a_split_is_booked_in_new_shares() -> None:
    state, order = in_doubt()
    known = empty(Said())
    restore(known, save(state))  # also where the process is another one
    for one in (state, known):
        equity = one.book.cash.sum()
        done = Execution(70.0, 0.0, 0, 70.0, 0.0, 0.0, 0.0, 0.0)
        core.handle(one, Filled("1", order.cid, 0, 0, order.order.lots, done, at(0) + LENGTH // 2))
        position = one.book.positions[0]
        assert position["lots"] == 7 * order.order.lots
        assert position["avg_price"] == 10.0
        worth = one.book.cash.sum() + one.book.quantity[0] * 10.0
        assert abs(worth - equity) < 1e-6 * equity, "a split makes nobody richer or poorer"
