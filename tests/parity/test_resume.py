"""The driver is resumable: where it is cut, how long its log is and which thread runs it change nothing (law 1)."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trimtab.rules.book import SLOTS, Book, Setup, new_log, open_book
from trimtab.rules.market import Market
from trimtab.sim.driver import run
from trimtab.sim.market import day_ends
from trimtab.sim.setup import complete
from trimtab.sim.simulate import simulate
from trimtab.types import Panel, Weights

Bars = tuple[Panel, Market, Weights, Weights]
Case = tuple[Callable[[Panel], Setup], set[str]]
TABLES = ("orders", "fills", "shares", "actions")


def pieces(market: Market, weights: Weights, setup: Setup, cuts: list[int], size: int) -> dict[str, bytes]:
    """Everything that a run cut at those rows writes, with a log of `size` rows beyond the least it needs."""
    rows, n = market.low.shape
    setup = complete(setup, market)
    log = new_log(size, n, setup.models, rows, day_ends(market.ts))
    book = open_book(setup.capital, setup.terms.copy(), setup.models)  # a copy: the book may look into it
    parts: dict[str, list[bytes]] = {name: [] for name in TABLES}
    t = 0
    for end in [*cuts, rows]:
        while t < end:
            t = run(book, log, market, weights, setup, t, end)
            orders, fills, actions = (int(c) for c in log.used)
            for name, used in zip(TABLES, (orders, fills, fills, actions), strict=True):
                parts[name].append(getattr(log, name)[:used].tobytes())
            log.used[:] = 0
        snapshot = Book(*(copy.deepcopy(array) for array in book))
        for array in book:
            array[...] = np.zeros((), array.dtype)  # nothing may survive but the snapshot
        book = snapshot
    found = {name: b"".join(kept) for name, kept in parts.items()}
    found |= {name: getattr(log, name).tobytes() for name in ("equity", "curve", "pnl", "cost")}
    found["cash"] = book.cash.tobytes()
    return found


def whole(market: Market, weights: Weights, setup: Setup) -> dict[str, bytes]:
    result = simulate(market, weights, setup)
    ended = len(result.orders) - int(
        sum((int(p["live"]) >> s) & 1 for p in result.book.positions for s in range(SLOTS))
    )
    found: dict[str, Any] = {name: getattr(result, name).tobytes() for name in TABLES}
    found["orders"] = result.orders[:ended].tobytes()
    found |= {name: getattr(result, name).tobytes() for name in ("equity", "curve", "pnl", "cost")}
    found["cash"] = result.book.cash.tobytes()
    return found


@pytest.mark.parametrize("which", ["daily", "alone"])
def test_cuts_and_logs_of_any_size(which: str, request: pytest.FixtureRequest, case: Case) -> None:
    panel, market, some, every = request.getfixturevalue(which)
    setup = case[0](panel)
    weights = every if setup.style.always else some
    expected = whole(market, weights, setup)
    rng = np.random.default_rng(0)
    for count, size in ((1, 5_000), (40, 1), (400, 17)):
        cuts = sorted(rng.integers(1, len(panel.ts), count).tolist())
        found = pieces(market, weights, setup, cuts, size)
        for name, value in expected.items():
            assert found[name] == value, (name, count, size)


def test_a_cut_at_every_row(daily: Bars, case: Case) -> None:
    panel, market, some, every = daily
    setup = case[0](panel)
    weights = every if setup.style.always else some
    assert pieces(market, weights, setup, list(range(1, len(panel.ts))), 1_000) == whole(market, weights, setup)


def test_threads_do_not_meet(daily: Bars, case: Case) -> None:
    panel, market, some, every = daily
    setup = case[0](panel)
    weights = every if setup.style.always else some
    expected = whole(market, weights, setup)
    found: list[dict[str, bytes]] = []
    work = [threading.Thread(target=lambda: found.append(whole(market, weights, setup))) for _ in range(4)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert found == [expected] * 4
