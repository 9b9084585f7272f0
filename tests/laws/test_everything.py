"""Laws 3 and 4 with everything on: margin, carry, cash flows, two currencies, gaps of 90%, and all the limits."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.rules.book import PROFIT, SLOTS, STOP_LOSS, TARGET, TRAIL, Book
from trimtab.rules.orders import REASONS
from trimtab.sim.simulate import simulate
from trimtab.types import HALTED, MARKET

EXAMPLES = int(os.environ.get("TRIMTAB_LAW_EXAMPLES", "120"))


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_equity_is_what_was_paid_in_and_what_the_models_earned(full_worlds: Any, data: st.DataObject) -> None:
    """At every row: equity = the wallets' own money at today's rates + every model's profit, to 1e-9 of capital."""
    w = data.draw(full_worlds)
    market = w.market._replace(days=np.arange(len(w.panel.ts), dtype=np.int64))  # the curves at every row
    setup = w.setup
    result = simulate(market, w.weights, setup)
    n = len(w.panel.instruments)
    columns = np.full(len(setup.cash), -1)
    columns[setup.terms["wallet"]] = setup.terms["column"]
    rates = np.array([np.ones(len(w.panel.ts)) if c < 0 else market.mark[:, c] for c in columns])
    paid = np.zeros((len(setup.cash), len(w.panel.ts)))
    for row, wallet, amount in zip(*setup.flows, strict=True):
        paid[wallet, row:] += amount
    own = ((setup.cash[:, None] + paid) * rates).sum(axis=0)
    traded = float(
        np.abs(result.fills["lots"] * result.book.unit[result.fills["instrument"]] * result.fills["price"]).sum()
    )
    tolerance = 1e-9 * (setup.capital + np.abs(paid).sum()) + 1e-12 * traded
    assert np.allclose(result.equity, own + result.pnl.sum(axis=1), rtol=0.0, atol=tolerance)
    assert np.allclose(result.cost.sum(axis=1), result.curve[:, 1], rtol=0.0, atol=tolerance)
    cash = (
        setup.cash
        + paid[:, -1]
        + np.array([result.book.ledger[:, setup.terms["wallet"] == c].sum() for c in range(len(setup.cash))])
    )
    assert np.allclose(result.book.cash, cash, rtol=0.0, atol=tolerance)
    held = result.book.held.sum(axis=0)
    largest = max(1.0, float(np.abs(result.shares).max(initial=0.0)))
    assert np.allclose(held, result.book.positions["lots"], rtol=0.0, atol=1e-9 * largest * (1 + len(result.fills)))
    assert result.book.quantity[:n].tolist() == (result.book.positions["lots"] * result.book.unit).tolist()


def new_shares(w: Any, t: int) -> np.ndarray:
    """(N,) what one share of the row before is at a row."""
    return np.nan_to_num(w.market.split[t], nan=1.0) if t and len(w.market.split) else np.ones(len(w.panel.instruments))


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_what_may_not_be_held_is_not_opened_and_on_its_way_out(
    full_worlds: Any, walk: Any, pending: Any, data: st.DataObject
) -> None:
    """From the close at which an instrument is out its position only shrinks, and it is gone where that was the end."""
    w = data.draw(full_worlds)
    member = w.market.member
    before = np.zeros(len(w.panel.instruments), np.int64)
    shut = np.zeros(len(before), bool)

    def look(book: Book, t: int) -> None:
        nonlocal before, shut
        lots = book.positions["lots"].copy()
        assert (np.abs(lots[shut]) <= (np.abs(before) * new_shares(w, t) * (1.0 + 1e-9))[shut]).all(), t
        if len(member):
            shut = member[t] <= 0.0
            assert (lots[member[t] == -1.0] == 0).all(), t
            assert (np.sign(pending(book)[shut]) * np.sign(lots[shut]) <= 0).all(), t
        before = lots

    walk(w, look)


def by_group(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    return np.array([values[group == k].sum() for k in range(count)])


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_no_fill_increases_a_measure_that_is_over_its_limit(full_worlds: Any, walk: Any, data: st.DataObject) -> None:
    """Gross, weight, heat and every group: after a bar, each is inside its limit or no larger than before the bar."""
    w = data.draw(full_worlds)
    limits, terms, groups = w.setup.limits, w.setup.terms, w.setup.groups
    n = len(w.panel.instruments)
    held, equity = np.zeros(n, np.int64), w.setup.capital

    def look(book: Book, t: int) -> None:
        nonlocal held, equity
        now = book.positions["lots"].copy()
        before = np.abs(held) * book.unit * w.market.mark[max(t - 1, 0), :n]
        after = np.abs(now) * book.unit * w.market.carried[max(t - 1, 0), :n]
        room, slack = max(equity, 0.0), 1e-8 * w.setup.capital

        def inside(measure: np.ndarray | float, was: np.ndarray | float, cap: np.ndarray | float) -> bool:
            bound = np.where(np.isfinite(cap), np.asarray(cap) * room if room > 0.0 else 0.0, np.inf)
            return bool((measure <= np.maximum(bound, was) + slack).all())

        assert inside(after.sum(), before.sum(), limits.gross_leverage), t
        assert inside(after, before, limits.max_weight), t
        margin = terms["initial_margin"]
        assert inside((after * margin).sum(), (before * margin).sum(), limits.heat), t
        for group, caps in ((groups.asset_class, groups.class_cap), (groups.venue, groups.venue_cap)):
            assert inside(by_group(after, group, 2), by_group(before, group, 2), caps), t
        day = int(np.searchsorted(groups.cluster_row, t - 1, side="right")) - 1
        if day >= 0:
            group = groups.cluster[day]
            assert inside(by_group(after, group, n), by_group(before, group, n), limits.group_gross), t
        short = (terms["shortable"] == 0) & (now < 0)
        assert (now[short] >= (held * new_shares(w, t))[short] - 1e-9 * np.abs(now[short])).all()
        held, equity = now, float(book.head["equity"][0])

    walk(w, look)


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_a_book_that_must_be_flat_only_reduces(full_worlds: Any, walk: Any, pending: Any, data: st.DataObject) -> None:
    """Halted, locked for the day or week: everything held is on its way out at market, and nothing grows."""
    w = data.draw(full_worlds)
    before = np.zeros(len(w.panel.instruments), np.int64)
    shut = False

    def look(book: Book, t: int) -> None:
        nonlocal before, shut
        lots, head = book.positions["lots"].copy(), book.head[0]
        if shut:
            assert (np.abs(lots) <= np.abs(before) * new_shares(w, t) * (1.0 + 1e-9)).all(), t
            assert (lots * before >= 0).all(), t
        shut = int(head["state"]) == HALTED or int(head["locked"]) != 0
        if shut:
            waits = lots != 0
            assert (pending(book)[waits] == -lots[waits]).all(), t
            assert (book.orders[waits, TARGET]["kind"] == MARKET).all(), t
        before = lots

    walk(w, look)


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_what_reduces_is_never_cut_or_held_back_by_a_limit(full_worlds: Any, data: st.DataObject) -> None:
    """No reason of a limit ever stands at an order that reduces; its lots are what the models and the gate ask for."""
    w = data.draw(full_worlds)
    forbidden = {"waiting: a limit of the book, until what is to go has gone", "waiting: price beyond the collar"}
    forbidden |= {"cut to what a limit leaves room for", "no free margin", "cut to the margin that is free"}
    result = simulate(w.market, w.weights, w.setup)
    for order in result.orders[result.orders["reduce_only"] == 1]:
        assert REASONS[order["reason"]] not in forbidden
        assert REASONS[order["waited"]] not in forbidden


@given(st.data())
@settings(max_examples=100)
def test_protective_orders_stand_for_what_is_held(
    full_worlds: Any, walk: Any, pending: Any, data: st.DataObject
) -> None:
    w = data.draw(full_worlds)

    def look(book: Book, t: int) -> None:
        left, held = pending(book), book.positions["lots"]
        for i in range(len(held)):
            if left[i] != 0:
                assert held[i] + left[i] == book.goal[i], (t, i)
            for slot in range(TARGET + 1, SLOTS):
                if (int(book.positions["live"][i]) >> slot) & 1:
                    order = book.orders[i, slot]
                    assert order["lots"] - order["filled"] == -held[i]

    walk(w, look)


@given(st.data())
@settings(max_examples=100)
def test_a_bar_that_meets_a_protective_order_is_never_passed_over(
    full_worlds: Any, walk: Any, data: st.DataObject
) -> None:
    """The band in which bars are skipped ends at the nearest level, and at the best price that a trailing stop saw."""
    w = data.draw(full_worlds)

    def look(book: Book, t: int) -> None:
        for i, position in enumerate(book.positions):
            live = {slot for slot in range(SLOTS) if (int(position["live"]) >> slot) & 1}
            orders = book.orders[i]
            if book.working[i] or TARGET in live or any(orders[slot]["triggered"] for slot in live):
                continue
            stops = [float(orders[slot]["stop_price"]) for slot in live & {STOP_LOSS, TRAIL}]
            targets = [float(orders[slot]["limit_price"]) for slot in live & {PROFIT}]
            targets += [float(position["best"])] if TRAIL in live else []
            long = position["lots"] > 0
            below, above = (stops, targets) if long else (targets, stops)
            assert book.low[i] == max(below, default=-np.inf), (t, i)
            assert book.high[i] == min(above, default=np.inf), (t, i)

    walk(w, look)


@given(st.data())
@settings(max_examples=100)
def test_a_goal_is_held_or_under_way(full_worlds: Any, walk: Any, pending: Any, data: st.DataObject) -> None:
    """Where nothing works, the book stands at its goal; what is flat is not closing."""
    w = data.draw(full_worlds)

    def look(book: Book, t: int) -> None:
        left, held, closing = pending(book), book.positions["lots"], book.positions["closing"]
        idle = (left == 0) & (closing == 0)
        assert (book.goal[idle] == held[idle]).all(), t
        assert (closing[held == 0] == 0).all(), t

    walk(w, look)


@given(st.data())
@settings(max_examples=100)
def test_what_is_asked_for_is_inside_net_exposure_and_concentration(
    full_worlds: Any, walk: Any, data: st.DataObject
) -> None:
    """After every other limit and breaker has cut: the goals of a decision keep both, to a lot."""
    w = data.draw(full_worlds)
    limits = w.setup.limits._replace(net_exposure=0.2, concentration=0.4)
    w = w._replace(setup=w.setup._replace(limits=limits))
    equity: dict[int, float] = {}
    n = len(w.panel.instruments)
    for decision in walk(w, lambda book, t: equity.update({t: float(book.head["equity"][0])}))[1]:
        if not decision.placed.any():
            continue
        room, per_lot = max(equity[decision.row], 0.0), w.setup.terms["unit"] * w.market.mark[decision.row, :n]
        notional = decision.goal * per_lot
        assert abs(notional.sum()) <= 0.2 * room * (1.0 + 1e-8) + 1e-6
        gross = np.abs(notional).sum()
        assert np.abs(notional).max() <= 0.4 * max(gross, room) * (1.0 + 1e-3) + per_lot.max()
