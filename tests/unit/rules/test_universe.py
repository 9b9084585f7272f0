"""Who may be held, by hand: before a listing, after a membership, on return, and when it is delisted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.rules.orders import REASONS
from trimtab.sim.simulate import Result
from trimtab.types import GTC, LIMIT, Costs, Instrument, Limits

NAN = float("nan")
Play = Callable[..., Result]
Flat = Callable[..., list[tuple[float, ...]]]


def acted(result: Result) -> list[tuple[Any, ...]]:
    a = result.actions
    names = [(LIMIT_NAMES[k], ACTIONS[c]) for k, c in zip(a["limit"], a["action"], strict=True)]
    return [(*n, r, w, v) for n, r, w, v in zip(names, a["row"].tolist(), a["wanted"], a["allowed"], strict=True)]


def filled(result: Result) -> list[tuple[int, int, float]]:
    return result.fills[["row", "lots", "price"]].tolist()


def test_what_is_not_listed_yet_is_not_bought_and_then_it_is(play: Play, flat: Flat) -> None:
    result = play(flat(10.0, 6), [(0, 0.5)], capital=1_000.0, member=[0, 0, 0, 1, 1, 1])
    assert acted(result) == [("member", "REFUSE", 0, 50.0, 0.0)]
    assert filled(result) == [(4, 50, 10.0)]


def test_what_leaves_is_sold_at_the_next_open_at_market_and_bought_when_it_comes_back(play: Play, flat: Flat) -> None:
    from tests.unit.rules.conftest import PLAIN

    style = PLAIN._replace(kind=LIMIT, offset=0.0, tif=GTC)
    bars = [(10.0, 11.0, 9.0, 10.0)] * 8
    result = play(bars, [(0, 0.5), (3, 0.6)], capital=1_000.0, style=style, member=[1, 1, 0, 0, 0, 1, 1, 1])
    assert acted(result) == [("member", "REFUSE", 2, 50.0, 0.0), ("member", "REFUSE", 3, 60.0, 0.0)]
    assert filled(result) == [(1, 50, 10.0), (3, -50, 10.0), (6, 60, 10.0)]


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("member", [[0, 0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 1, 1, 1]])
def test_a_return_is_sized_at_the_price_and_equity_of_its_day(
    play: Play, flat: Flat, member: list[int], side: float
) -> None:
    """20 lots at 10 are a fifth of the equity, and at 100 it takes 2; the lots of that day would be twice of it."""
    result = play([*flat(10.0, 3), *flat(100.0, 4)], [(0, side * 0.2)], capital=1_000.0, member=member)
    assert filled(result)[-1] == (5, side * int(0.2 * result.equity[4] / 100.0), 100.0)
    assert result.equity[-1] == result.equity[4]


def test_a_return_of_what_was_less_than_a_lot(play: Play, flat: Flat) -> None:
    result = play([*flat(100.0, 3), *flat(10.0, 4)], [(0, 0.05)], capital=1_000.0, member=[0, 0, 0, 0, 1, 1, 1])
    assert filled(result) == [(5, 5, 10.0)]


def test_each_model_of_a_return_is_sized_anew_and_what_a_stop_closed_stays_closed(play: Play, flat: Flat) -> None:
    bars = [*flat(10.0, 2), (10.0, 10.0, 8.0, 8.0), *flat(4.0, 5)]
    member = [1, 1, 1, 1, 0, 1, 1, 1]
    decisions = [(0, 0, 0, 0.5), (3, 1, 0, 0.1)]
    result = play(bars, decisions, capital=1_000.0, limits=Limits(stop_loss=0.1), member=member)
    equity = result.equity[5]
    assert result.book.target[:, 0].tolist() == [0.0, pytest.approx(0.1 * equity / 4.0)]
    assert result.book.positions[0]["lots"] == int(0.1 * equity / 4.0)


def test_a_return_inside_the_buffer_is_no_new_size(play: Play, flat: Flat) -> None:
    from tests.unit.rules.conftest import PLAIN

    style = PLAIN._replace(buffer=0.1)
    result = play([*flat(10.0, 3), *flat(11.0, 4)], [(0, 0.5)], capital=1_000.0, style=style,
                  member=[0, 0, 0, 0, 1, 1, 1])  # fmt: skip
    assert filled(result) == [(5, 50, 11.0)]


def test_nobody_said_otherwise(play: Play, flat: Flat) -> None:
    result = play(flat(10.0, 4), [(0, 0.5)], capital=1_000.0, member=[NAN] * 4)
    assert (acted(result), filled(result)) == ([], [(1, 50, 10.0)])


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_delisting_closes_at_the_last_price_without_costs(play: Play, flat: Flat, side: float) -> None:
    """With a stop and a target at the venue, and a purchase on its way; nothing is held or open afterwards."""
    costs, limits = Costs(taker_fee=0.01, participation=0.00000002), Limits(stop_loss=0.5, take_profit=0.9)
    bars = [*flat(10.0, 3), (10.0, 12.0, 9.0, 11.0, 1e9), None, None]
    result = play(bars, [(0, side * 0.8), (4, side * 0.5)], capital=1_000.0, costs=costs, limits=limits,
                  member=[1, 1, 1, -1, 0, 0])  # fmt: skip
    held = int(result.fills["lots"][:-1].sum())
    assert filled(result)[-1] == (3, -held, 11.0)
    assert result.fills["fee"][-1] == 0.0
    assert REASONS[result.fills["reason"][-1]] == "it was delisted"
    assert acted(result)[0] == ("delisted", "FLATTEN", 3, held, 0.0)
    assert ("member", "REFUSE", 4, pytest.approx(acted(result)[1][3]), 0.0) in acted(result)
    position = result.book.positions[0]
    assert (position["lots"], position["live"], result.book.goal[0]) == (0, 0, 0)
    assert "it was delisted" in {REASONS[k] for k in result.orders["reason"]}
    assert result.equity[-1] == pytest.approx(result.book.cash[0])
    assert np.allclose(result.pnl.sum(axis=1), result.curve[:, 0] - 1_000.0)


def test_a_delisting_closes_at_the_mark_where_there_is_no_bar(play: Play, flat: Flat) -> None:
    """A share in euros; the rate of the day on which it ends, and an order that waits for a bar that never comes."""
    euro = Instrument(symbol="E", quote="EUR", lot_size=1.0)
    result = play([*flat(10.0, 2), (10.0, 12.0, 9.0, 11.0), None, None, None], [(0, 0.8), (3, 0.1)], capital=1_000.0,
                  instruments=[euro], base="USD", cash=[500.0], fx=[2.0, 2.0, 2.0, 2.0, 2.5, 2.5],
                  member=[1, 1, 1, 1, -1, 0])  # fmt: skip
    assert filled(result) == [(1, 40, 10.0), (4, -40, pytest.approx(11.0))]
    assert result.equity.tolist()[-3:] == pytest.approx([1_080.0, 1_350.0, 1_350.0])
    assert [REASONS[k] for k in result.orders["reason"]].count("it was delisted") == 1
    position = result.book.positions[0]
    assert (position["lots"], position["live"], result.book.working[0]) == (0, 0, 0)


def test_each_model_gives_back_what_it_holds(play: Play, flat: Flat) -> None:
    bars = [*flat(10.0, 3), (10.0, 10.0, 8.0, 8.0, 1e9), None]
    result = play(bars, [(0, 0, 0, 0.8), (0, 1, 0, -0.3)], capital=1_000.0, member=[1, 1, 1, -1, 0])
    assert result.book.held.tolist() == [[0.0], [0.0]]
    assert result.pnl[-1].tolist() == pytest.approx([-160.0, 60.0])


def test_opposite_wishes_of_two_models_do_not_meet_in_what_may_not_be_held(play: Play, flat: Flat) -> None:
    decisions = [(0, 0, 0, 0.5), (0, 1, 0, -0.5)]
    result = play(flat(10.0, 6), decisions, capital=1_000.0, member=[0, 0, 0, 1, 1, 1])
    assert result.fills["row"].tolist() == [4]  # they cross when it is listed
    left = play(flat(10.0, 6), decisions, capital=1_000.0, member=[1, 1, 0, 0, 0, 0])
    assert left.fills["row"].tolist() == [1, 3]  # and what each of them had is given back when it leaves
    assert left.book.held[:, 0].tolist() == [0.0, 0.0]
