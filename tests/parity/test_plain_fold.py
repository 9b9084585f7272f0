"""The compiled driver against a plain fold of the same rules, to the last bit (law 2).

The fold knows no quiet stretches, no blocks and no bands: it matches, marks, asks the breakers and decides on every
row, calling each compiled rule from Python.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trimtab.rules.account import mark
from trimtab.rules.book import NO_ALARM, SLOTS, Book, Log, Setup, new_log, open_book
from trimtab.rules.breakers import judge
from trimtab.rules.decide import decide, is_due
from trimtab.rules.limits import LIMIT_NAMES
from trimtab.rules.market import Market
from trimtab.rules.orders import REASONS, TRANSITIONS
from trimtab.rules.trade import trade
from trimtab.sim.market import day_ends
from trimtab.sim.setup import complete
from trimtab.sim.simulate import simulate
from trimtab.types import DIVIDEND, NEW, Panel, Weights

Bars = tuple[Panel, Market, Weights, Weights]
Case = tuple[Callable[[Panel], Setup], set[str]]


def fold(market: Market, weights: Weights, setup: Setup) -> tuple[Book, Log, np.ndarray, np.ndarray]:
    """-> book, log, equity (T,), curves (T, 6 + 2 M): the six of Log.curve, then pnl and cost per model."""
    rows, n = market.low.shape
    setup = complete(setup, market)._replace(alarm=NO_ALARM)  # each row is looked at where it is decided on
    book = open_book(setup.capital, setup.terms, setup.models)
    log = new_log(60_000, n, setup.models, 0, np.empty(0, np.int64))
    equity, curves = np.empty(rows), np.empty((rows, 6 + 2 * setup.models))
    head = book.head[0]
    for t in range(rows):
        low, high, was = book.low.copy(), book.high.copy(), book.positions[["below", "above"]].copy()
        book.low[:], book.high[:] = np.inf, -np.inf  # every instrument with a bar is looked at, and matched in full
        book.positions["below"], book.positions["above"] = np.inf, -np.inf
        head["resting"] += 1  # also when nothing rests
        trade(book, log, market, setup, t, bool((setup.stamps == t).any()))
        head["resting"] -= 1
        silent = ~(market.rows[t, :, 0] > 0.0)
        book.low[silent], book.high[silent] = low[silent], high[silent]
        for name in ("below", "above"):
            book.positions[name][silent] = was[name][silent]
        head["floor"] = np.inf  # the breakers are asked on every row
        forced = judge(book, log, market, setup, t)
        equity[t] = head["equity"]
        assert equity[t] == mark(head["cash"], book.quantity, market.mark[t])
        if is_due(head, weights, t, forced):
            decide(book, log, weights, market, setup, t, forced)
        curves[t] = figures(book, market.mark[t], float(equity[t]))
        if log.used.max() > 50_000:
            raise AssertionError("the log of the plain fold is too small")
    return book, log, equity, curves


def figures(book: Book, marks: np.ndarray, equity: float) -> list[float]:
    """The sampled curves, added up one number at a time: by instrument and kind, then by model."""
    paid = gross = net = 0.0
    for notional in book.quantity * marks:
        gross += abs(notional)
        net += notional
    pnl, cost = [], []
    for m in range(book.held.shape[0]):
        p = c = 0.0
        for i in range(book.held.shape[1]):
            p += book.ledger[m, i]
            for charge in book.charges[m, i, :DIVIDEND]:
                c += charge
        for i in range(book.held.shape[1]):
            p += book.held[m, i] * book.unit[i] * marks[i]
        paid += c
        pnl.append(p)
        cost.append(c)
    return [equity, paid, gross, net, float(book.head[0]["traded"]), float(book.head[0]["flows"]), *pnl, *cost]


def open_orders(book: Book) -> list[bytes]:
    return [
        book.orders[i, s].tobytes()
        for i in range(book.orders.shape[0])
        for s in range(SLOTS)
        if (int(book.positions[i]["live"]) >> s) & 1
    ]


#: Cursors of the driver's own bookkeeping, and scratch that has no meaning between rows.
CURSORS = ("floor", "ceiling", "sample", "recorded", "event", "stamp")
#: What filled earlier in a bar and on a day: looked at only where it is the same bar, or day.
BAR = ("used", "used_row", "day", "bought", "sold")
SCRATCH = ("wanted", "allowed", "todo", "sums")


def same_book(one: Book, other: Book) -> None:
    for name in Book._fields:
        a, b = getattr(one, name), getattr(other, name)
        if name in SCRATCH:
            continue
        if name in ("head", "positions"):
            for field in a.dtype.names:
                if field not in (*CURSORS, *BAR):
                    assert a[field].tobytes() == b[field].tobytes(), (name, field, a[field], b[field])
        elif name == "orders":
            assert open_orders(one) == open_orders(other)
        else:
            assert a.tobytes() == b.tobytes(), name


def compare(bars: Bars, case: Case, busy: bool = True, needs: frozenset[str] = frozenset()) -> None:
    """`busy`: the bars are known to bring about everything that the set-up is for; needs: what these do."""
    panel, market, some, every = bars
    setup = case[0](panel)
    weights = every if setup.style.always else some
    result = simulate(market, weights, setup)
    book, log, equity, curves = fold(market, weights, setup)
    assert result.equity.tobytes() == equity.tobytes()
    orders = log.orders[: log.used[0]].tobytes() + b"".join(open_orders(book))
    assert result.orders.tobytes() == orders
    assert result.fills.tobytes() == log.fills[: log.used[1]].tobytes()
    assert result.shares.tobytes() == log.shares[: log.used[1]].tobytes()
    assert result.actions.tobytes() == log.actions[: log.used[2]].tobytes()
    kept = np.concatenate([result.curve, result.pnl, result.cost], axis=1)
    assert kept.tobytes() == curves[day_ends(market.ts)].tobytes()
    same_book(result.book, book)
    acted = {REASONS[k] for k in result.orders["reason"]} | {LIMIT_NAMES[k] for k in result.actions["limit"]}
    acted |= {"maker"} if result.fills["maker"].any() else set()
    assert not busy or case[1] <= acted
    assert needs <= acted
    assert not busy or (result.fills["crossed"] > 0.0).any()
    assert len(result.fills) > 5
    assert set(result.orders["status"].tolist()) <= reachable()


def reachable() -> set[int]:
    found, queue = {NEW}, [NEW]
    while queue:
        for after in TRANSITIONS[queue.pop()] - found:
            found.add(after)
            queue.append(after)
    return found


#: What acts where shares split and pay.
EVENTS = frozenset({"split", "dividend"})


def test_daily_indices(daily: Bars, case: Case) -> None:
    compare(daily, case)


def test_one_index_with_long_quiet_stretches(alone: Bars, case: Case) -> None:
    compare(alone, case, busy=False)


def test_splits_and_dividends(acted: Bars, case: Case) -> None:
    compare(acted, case, busy=False, needs=EVENTS)


def test_members_that_come_and_go(joined: Bars, case: Case) -> None:
    compare(joined, case, busy=False, needs=frozenset({"member"}))


@pytest.mark.nightly
def test_splits_and_dividends_by_the_hour(acted_hourly: Bars, case: Case) -> None:
    compare(acted_hourly, case, busy=False, needs=EVENTS)


def test_hourly_coins_with_gaps(hourly: Bars, case: Case) -> None:
    compare(hourly, case)
