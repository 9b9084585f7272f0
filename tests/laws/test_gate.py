"""Law 4, seen from outside: the book is folded row by row, and looked at before and after each decision."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.rules.book import SLOTS, TARGET, Book
from trimtab.rules.orders import TRANSITIONS
from trimtab.sim.simulate import simulate
from trimtab.types import FILLED, HALTED, MARKET, NEW, PARTIALLY_FILLED, REJECTED


@given(st.data())
@settings(max_examples=200)
def test_no_fill_increases_what_is_over_its_limit(worlds: Any, walk: Any, data: st.DataObject) -> None:
    """In every bar, whatever filled of whatever was open: measured by the last marks and equity before the bar."""
    w = data.draw(worlds)
    limits = w.setup.limits
    held = np.zeros(len(w.panel.instruments), np.int64)
    equity = w.setup.capital

    def look(book: Book, t: int) -> None:
        nonlocal held, equity
        now = book.positions["lots"].copy()
        per_lot = book.unit * w.market.mark[max(t - 1, 0)]
        before, after = np.abs(held) * per_lot, np.abs(now) * per_lot
        room, slack = max(equity, 0.0), 1e-8 * w.setup.capital
        if np.isfinite(limits.gross_leverage):
            assert after.sum() <= max(limits.gross_leverage * room, before.sum()) + slack, t
        if np.isfinite(limits.max_weight):
            assert (after <= np.maximum(limits.max_weight * room, before) + slack).all(), t
        short = (w.setup.terms["shortable"] == 0) & (now < 0)
        assert (now[short] >= held[short]).all()  # what may not be short is not made shorter
        held, equity = now, float(book.head["equity"][0])

    walk(w, look)


@given(st.data())
@settings(max_examples=150)
def test_a_wish_to_hold_less_is_never_refused(worlds: Any, walk: Any, data: st.DataObject) -> None:
    """Where the models together want less than is held, on the same side, at least so much is allowed to go."""
    w = data.draw(worlds)
    # A weight that is the same again is no decision, and one inside the buffer may be none.
    decided: set[tuple[int, int]] = set()
    last: dict[tuple[int, int], float] = {}
    for row, m, i, value in zip(*(column.tolist() for column in w.weights), strict=True):
        if value != last.get((m, i)) and (value == 0.0 or w.setup.style.buffer == 0.0):
            decided.add((row, i))
        last[m, i] = value
    for d in walk(w)[1]:
        for i in range(len(d.held)):
            reduces = abs(d.wanted[i]) < abs(d.held[i]) and d.wanted[i] * d.held[i] >= 0
            if (d.row, i) in decided and reduces and d.placed[i]:
                assert abs(d.goal[i]) <= abs(d.wanted[i])
                assert d.goal[i] * d.held[i] >= 0


@given(st.data())
@settings(max_examples=150)
def test_an_open_order_is_explained_by_what_the_gate_allowed(
    worlds: Any, walk: Any, pending: Any, data: st.DataObject
) -> None:
    w = data.draw(worlds)

    def look(book: Book, t: int) -> None:
        left, held = pending(book), book.positions["lots"]
        for i in range(len(held)):
            if left[i] != 0:
                assert held[i] + left[i] == book.goal[i], (t, i)
            for slot in range(TARGET + 1, SLOTS):
                if (int(book.positions["live"][i]) >> slot) & 1:
                    order = book.orders[i, slot]
                    assert order["reduce_only"] == 1
                    assert order["lots"] - order["filled"] == -held[i]

    walk(w, look)


@given(st.data())
@settings(max_examples=100)
def test_a_halted_book_only_reduces_until_it_is_flat(worlds: Any, walk: Any, pending: Any, data: st.DataObject) -> None:
    w = data.draw(worlds)
    tight = w.setup._replace(limits=w.setup.limits._replace(drawdown_halt=0.01))
    sizes: list[np.ndarray] = []

    def look(book: Book, t: int) -> None:
        if int(book.head["state"][0]) == HALTED:
            sizes.append(np.abs(book.positions["lots"]))
            waits = book.positions["lots"] != 0
            assert (book.goal[waits] == 0).all()
            assert (pending(book)[waits] == -book.positions["lots"][waits]).all(), t  # on its way, at market
            assert (book.orders[waits, TARGET]["kind"] == MARKET).all()

    walk(w._replace(setup=tight), look)
    for one, next_one in pairwise(sizes):
        assert (next_one <= one).all()


@given(st.data())
@settings(max_examples=100)
def test_what_a_run_writes_is_legal(worlds: Any, data: st.DataObject) -> None:
    """Statuses are reached through the table, filled orders are filled, and every other end has its reason."""
    w = data.draw(worlds)
    result = simulate(w.market, w.weights, w.setup)
    o = result.orders
    assert sorted(o["order_id"]) == list(range(1, len(o) + 1))
    for order in o:
        status = int(order["status"])
        if abs(int(order["filled"])) > 0 and status != FILLED:
            assert status == PARTIALLY_FILLED or status in TRANSITIONS[PARTIALLY_FILLED]
            assert status != REJECTED
        assert status == NEW or status in TRANSITIONS[NEW]
        assert (status == FILLED) == (order["filled"] == order["lots"])
        ended = not TRANSITIONS[status]
        assert ended == (order["done_ts"] > 0)
        assert order["done_ts"] == 0 or order["done_ts"] >= order["ts"]
        assert status in (FILLED, NEW, PARTIALLY_FILLED) or order["reason"] != 0
    filled = np.zeros(len(o) + 1, np.int64)
    np.add.at(filled, result.fills["order_id"], result.fills["lots"])
    assert filled[o["order_id"]].tolist() == o["filled"].tolist()
    placed = dict(zip(o["order_id"].tolist(), o["ts"].tolist(), strict=True))
    for f in result.fills[result.fills["order_id"] > 0]:
        assert f["ts"] >= placed[int(f["order_id"])]
