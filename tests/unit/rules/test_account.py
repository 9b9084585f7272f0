"""Average cost (design §7): every case a user could check with a pencil."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.rules.account import apply, mark
from trimtab.types import Position

FLAT = Position(0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("before", "lots", "price", "after"),
    [
        (FLAT, 10, 100.0, Position(10, 100.0, 0.0)),
        (FLAT, -10, 100.0, Position(-10, 100.0, 0.0)),
        (Position(10, 100.0, 0.0), 30, 120.0, Position(40, 115.0, 0.0)),
        (Position(-10, 100.0, 0.0), -30, 120.0, Position(-40, 115.0, 0.0)),
        (Position(40, 115.0, 0.0), -10, 125.0, Position(30, 115.0, 50.0)),  # 10 x (125 - 115) x 0.5
        (Position(-40, 115.0, 0.0), 10, 125.0, Position(-30, 115.0, -50.0)),
        (Position(40, 115.0, 7.0), -40, 125.0, Position(0, 0.0, 207.0)),
        (Position(10, 100.0, 0.0), -25, 90.0, Position(-15, 90.0, -50.0)),  # through zero: the rest opens at 90
        (Position(-10, 100.0, 0.0), 25, 90.0, Position(15, 90.0, 50.0)),
    ],
)
def test_average_cost_by_hand(before: Position, lots: int, price: float, after: Position) -> None:
    assert Position(*apply(before, lots, price, 0.5)) == after


@given(
    st.lists(
        st.tuples(st.integers(-1000, 1000).filter(bool), st.floats(0.01, 1e4)),
        min_size=1,
        max_size=30,
    )
)
def test_realised_plus_unrealised_is_cash_flow_plus_value(trades: list[tuple[int, float]]) -> None:
    position, cash, gross = FLAT, 0.0, 1.0
    for lots, price in trades:
        position = Position(*apply(position, lots, price, 0.25))
        cash -= lots * price * 0.25
        gross += abs(lots) * price
        mark_price = 17.0
        unrealised = (mark_price - position.avg_price) * position.lots * 0.25
        value = cash + position.lots * mark_price * 0.25
        assert position.realised_pnl + unrealised == pytest.approx(value, abs=1e-10 * gross)
    assert position.lots == sum(lots for lots, _ in trades)


def test_mark_adds_in_instrument_order() -> None:
    quantity, marks = np.array([1.0, 1e16, -1e16]), np.array([3.0, 1.0, 1.0])
    assert mark(0.5, quantity, marks) == ((0.5 + 3.0) + 1e16) - 1e16
