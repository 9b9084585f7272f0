"""Margin accounts (design §6.11): what may be opened, and when and at which price a venue liquidates, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.types import HALTED, Costs, Instrument, Limits

PERP = Instrument(
    symbol="P", kind="perpetual", lot_size=0.001, initial_margin=0.05, maintenance_margin=0.025, quote="USDT"
)
OTHER = Instrument(
    symbol="Q", kind="perpetual", lot_size=0.001, initial_margin=0.05, maintenance_margin=0.025, quote="USDT"
)
ONE = (100.0, 100.0, 100.0, 100.0)


def actions(result) -> list[tuple[int, str, str]]:
    a = result.actions
    return [(int(r), LIMIT_NAMES[k], ACTIONS[x]) for r, k, x in zip(a["row"], a["limit"], a["action"], strict=True)]


def test_twenty_times_the_equity_can_be_opened_and_no_more(play) -> None:
    for weight, lots in ((10.0, 100_000), (20.0, 200_000), (25.0, 200_000)):
        for side in (1, -1):
            result = play([ONE] * 3, [(0, side * weight)], instruments=[PERP])
            assert int(result.book.positions["lots"][0]) == side * lots
    orders = play([ONE] * 3, [(0, 25.0)], instruments=[PERP]).orders
    assert int(orders["filled"][0]) == 200_000


def test_costs_are_inside_the_margin(play) -> None:
    """What was opened leaves at least the initial margin after its costs, and one lot more would not."""
    costs = Costs(taker_fee=0.0005, half_spread=0.0002, slippage=0.0001)
    result = play([ONE] * 3, [(0, 25.0)], instruments=[PERP], costs=costs)
    book, price = result.book, 100.0 * 1.0003
    equity = book.cash[0] + book.quantity[0] * 100.0
    lots = int(book.positions["lots"][0])
    assert equity >= 0.05 * lots * 0.001 * price
    each = 0.001 * (0.05 * price + (price - 100.0) + 0.0005 * price)
    assert lots == int(1_000.0 / each)


def test_a_long_at_twenty_times_is_liquidated_at_its_bankruptcy_price(play, lines) -> None:
    """1,000 hold 200 units from 100: worth nothing at 95, below maintenance under 95 / 0.975 = 97.4359."""
    safe = play([ONE, ONE, (100.0, 100.0, 97.44, 98.0), ONE], [(0, 20.0)], instruments=[PERP])
    assert len(safe.fills) == 1
    result = play([ONE, ONE, (100.0, 100.0, 97.43, 99.0), ONE], [(0, 20.0)], instruments=[PERP])
    assert lines(result)[1] == (2, 0, -200_000, pytest.approx(95.0, rel=1e-12))
    assert result.book.cash[0] == pytest.approx(0.0, abs=1e-9)
    assert (2, "margin_call", "LIQUIDATE") in actions(result)
    deep = play([ONE, ONE, (100.0, 100.0, 80.0, 99.0), ONE], [(0, 20.0)], instruments=[PERP])
    assert lines(deep)[1][3] == pytest.approx(95.0, rel=1e-12)  # the venue took over before the bar went on


def test_a_short_at_twenty_times_mirrors(play, lines) -> None:
    """Worth nothing at 105, below maintenance above 105 / 1.025 = 102.4390."""
    safe = play([ONE, ONE, (100.0, 102.43, 100.0, 100.0), ONE], [(0, -20.0)], instruments=[PERP])
    assert len(safe.fills) == 1
    result = play([ONE, ONE, (100.0, 102.45, 100.0, 100.0), ONE], [(0, -20.0)], instruments=[PERP])
    assert lines(result)[1] == (2, 0, 200_000, pytest.approx(105.0, rel=1e-12))


def test_a_gap_beyond_the_bankruptcy_price_is_liquidated_at_the_open(play, lines) -> None:
    """The account owes what the gap took beyond its equity, and the book is bankrupt."""
    result = play([ONE, ONE, (90.0, 95.0, 89.0, 94.0), ONE], [(0, 20.0)], instruments=[PERP])
    assert lines(result)[1] == (2, 0, -200_000, 90.0)
    assert result.book.cash[0] == pytest.approx(-1_000.0)
    assert int(result.book.head["state"][0]) == HALTED
    between = play([ONE, ONE, (96.0, 97.0, 95.5, 97.0), ONE], [(0, 20.0)], instruments=[PERP])
    assert lines(between)[1][3] == pytest.approx(95.0, rel=1e-12)  # below maintenance at the open, above bankruptcy


def test_the_venue_takes_its_fee_for_it(play) -> None:
    costs = Costs(taker_fee=0.0005, liquidation=0.01)
    result = play([ONE, ONE, (100.0, 100.0, 95.0, 99.0), ONE], [(0, 10.0)], instruments=[PERP], costs=costs)
    assert len(result.fills) == 1  # 100 units: 1,000 - 5 - 500 is above 2.5% of 9,500
    result = play([ONE, ONE, (100.0, 100.0, 91.0, 99.0), ONE], [(0, 10.0)], instruments=[PERP], costs=costs)
    opened, closed = result.fills
    price = 100.0 - (1_000.0 - 5.0) / 100.0
    assert closed["price"] == pytest.approx(price, rel=1e-12)
    assert closed["fee"] == pytest.approx(100.0 * price * 0.0005)
    paid = float(result.book.charges[0, 0, 0])
    assert paid == pytest.approx(float(opened["fee"]) + 100.0 * price * 0.0105)
    assert result.book.cash[0] == pytest.approx(-100.0 * price * 0.0105)


def test_a_stop_on_the_way_comes_before_the_venue(play, lines) -> None:
    result = play(
        [ONE, ONE, (100.0, 100.0, 90.0, 99.0), ONE], [(0, 20.0)], instruments=[PERP], limits=Limits(stop_loss=0.01)
    )
    assert lines(result)[1] == (2, 0, -200_000, 99.0)
    assert "margin_call" not in [x[1] for x in actions(result)]


def test_positions_of_one_wallet_stand_for_each_other(play, lines) -> None:
    """Long one and short the other: what one loses the other earns. Inside a bar each is taken at its own worst."""
    both, gap, there = [PERP, OTHER], [(92.0,) * 4] * 2, [[ONE, ONE]] * 2
    hedged = play([*there, gap, gap], [(0, 0, 0, 9.0), (0, 0, 1, -9.0)], instruments=both)
    assert len(hedged.fills) == 2
    fall = (100.0, 100.0, 92.0, 92.0)
    inside = play([*there, [fall, fall], gap], [(0, 0, 0, 9.0), (0, 0, 1, -9.0)], instruments=both)
    assert len(inside.fills) == 4  # 1,000 - 720 - 0 against 2.5% of 17,280
    long = [(0, 0, 0, 9.0), (0, 0, 1, 9.0)]
    enough = play([*there, [(100.0, 100.0, 94.0, 94.0), ONE], [ONE, ONE]], long, instruments=both)
    assert len(enough.fills) == 2  # 1,000 - 540 against 2.5% of 17,460
    worse = play([*there, [(100.0, 100.0, 90.0, 92.0), (100.0, 100.0, 98.0, 99.0)], [ONE, ONE]], long, instruments=both)
    assert [x[:2] for x in lines(worse)[2:]] == [(2, 0), (2, 1)]
    # 1,000 is gone after 1,000 / 1,080 of the way to the adverse prices
    assert lines(worse)[2][3] == pytest.approx(100.0 - 10.0 * 1_000.0 / 1_080.0)
    assert lines(worse)[3][3] == pytest.approx(100.0 - 2.0 * 1_000.0 / 1_080.0)


def test_a_liquidated_model_waits_like_after_a_stop(play, lines) -> None:
    """It wants more of the same: only a weight that was zero, or of the other sign, is bought again."""
    bars = [ONE, ONE, (100.0, 100.0, 93.0, 99.0), ONE, ONE, ONE]
    cash = [(2, 0, 500.0)]
    stays = play(bars, [(0, 15.0), (3, 1.6), (4, 1.4)], instruments=[PERP], flows=cash)
    assert [x[0] for x in lines(stays)] == [1, 2]
    again = play(bars, [(0, 15.0), (3, 0.0), (4, 1.4)], instruments=[PERP], flows=cash)
    assert [x[0] for x in lines(again)] == [1, 2, 5]


def test_a_spot_wallet_beside_a_margin_account_is_a_cash_account(play) -> None:
    spot = Instrument(symbol="S", lot_size=0.001, venue="other", quote="USDT")
    bars = [[ONE, ONE]] * 3
    result = play(bars, [(0, 0, 0, 5.0), (0, 0, 1, 5.0)], instruments=[PERP, spot], cash=(500.0, 500.0))
    assert result.book.positions["lots"].tolist() == [50_000, 5_000]
    assert result.book.cash[1] == pytest.approx(0.0)
    assert np.isclose(result.curve[-1, 0], 1_000.0)


def test_a_stop_that_a_liquidation_overtakes_leaves_what_was_decided_meanwhile(play, lines) -> None:
    """The stop sells in parts and the model has turned short: the venue closes the rest, then the short is sold."""
    bars = [(*ONE, 1e9)] * 2 + [(100.0, 100.0, 97.0, 98.0, 100.0), (98.0, 98.0, 80.0, 98.0, 100.0)] + [(98.0,) * 4] * 3
    result = play(
        bars,
        [(0, 10.0), (2, -1.0)],
        instruments=[PERP],
        limits=Limits(stop_loss=0.02),
        costs=Costs(participation=0.1),
        flows=[(3, 0, 1_000.0)],
    )
    assert [x[0] for x in lines(result)][-1] == 4
    assert result.book.positions["lots"][0] == result.book.goal[0] < 0
