"""Funding, borrow, interest, cash flows and exchange rates (design §6.10, §7), to hand-computed amounts."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from trimtab.types import BORROW, DAY, FUNDING, HOUR, INTEREST, Costs, Instrument, Limits

PERP = Instrument(symbol="P", kind="perpetual", lot_size=0.001, initial_margin=0.1, quote="USDT")
SHARE = Instrument(symbol="S", lot_size=1.0, kind="equity", initial_margin=0.5, maintenance_margin=0.25)
CASH = Instrument(symbol="C", lot_size=1.0)
ONE = (100.0, 100.0, 100.0, 100.0)
START = 1_704_067_200 * 1_000_000_000


def test_longs_pay_shorts_at_the_stamp_on_what_they_hold_then(play) -> None:
    """The rate of row 3 falls due at its close, on its mark; an order of that row fills later and pays nothing."""
    bars = [ONE] * 3 + [(100.0, 110.0, 100.0, 110.0), (110.0,) * 4, (110.0,) * 4]
    rates = [np.nan, np.nan, np.nan, 0.001, np.nan, np.nan]
    long = play(bars, [(0, 1.0)], instruments=[PERP], funding=rates)
    assert long.book.charges[0, 0, FUNDING] == pytest.approx(10.0 * 110.0 * 0.001)
    assert long.book.cash[0] == pytest.approx(1_000.0 - 10.0 * 100.0 - 1.1)
    short = play(bars, [(0, -1.0)], instruments=[PERP], funding=rates)
    assert short.book.charges[0, 0, FUNDING] == pytest.approx(-1.1)
    late = play(bars, [(3, 1.0)], instruments=[PERP], funding=rates)
    assert late.book.charges[0, 0, FUNDING] == 0.0


def test_opposite_models_pay_each_other(play) -> None:
    bars = [ONE] * 4
    result = play(bars, [(0, 0, 0, 1.0), (0, 1, 0, -0.4)], instruments=[PERP], funding=[np.nan, np.nan, 0.01, np.nan])
    assert result.book.charges[:, 0, FUNDING].tolist() == pytest.approx([10.0, -4.0])
    assert result.book.cash[0] + 600.0 == pytest.approx(1_000.0 - 6.0)


def test_without_a_field_the_fallback_rate_falls_due_thrice_a_day(play) -> None:
    bars = [ONE] * 26
    result = play(bars, [(0, 1.0)], instruments=[PERP], costs=Costs(funding=0.0001))
    assert result.book.charges[0, 0, FUNDING] == pytest.approx(3 * 1_000.0 * 0.0001)  # at 08:00, 16:00 and 00:00
    spot = play(bars, [(0, 1.0)], instruments=[CASH], costs=Costs(funding=0.0001))
    assert spot.book.charges[0, 0, FUNDING] == 0.0


def test_borrow_runs_on_the_calendar_and_on_shorts_only(play) -> None:
    """Sold short on Monday, bars on Monday, Tuesday and (after a gap) Friday: days that begin while it is held."""
    bars = [(*ONE, 1e9, 6.0 * HOUR), (*ONE, 1e9, 6.0 * HOUR), None, None, (*ONE, 1e9, 6.0 * HOUR)]
    costs = Costs(borrow=0.365)
    first = START + 16 * HOUR - DAY  # closes at 16:00
    short = play(bars, [(0, -0.5)], instruments=[SHARE], costs=costs, first=first, step=DAY)
    days = short.book.charges[0, 0, BORROW] / (500.0 * 0.001)
    assert days == pytest.approx(3.0)  # sold on the second day: three midnights to the fifth
    long = play(bars, [(0, 0.5)], instruments=[SHARE], costs=costs, first=first, step=DAY)
    assert long.book.charges[0, 0, BORROW] == 0.0


def test_a_bar_that_closes_at_midnight_pays_for_its_day_at_its_close(play) -> None:
    bars = [ONE] * 23 + [(100.0, 120.0, 100.0, 120.0)] + [(120.0,) * 4] * 2
    result = play(bars, [(3, -0.5)], instruments=[SHARE], costs=Costs(borrow=0.365))
    assert result.book.charges[0, 0, BORROW] == pytest.approx(5 * 120.0 * 0.001)


def test_interest_on_what_the_account_owes(play) -> None:
    bars = [ONE] * 26
    result = play(bars, [(0, 2.0)], instruments=[SHARE], costs=Costs(margin_interest=0.0365))
    assert result.book.charges[0, 0, INTEREST] == pytest.approx(1_000.0 * 0.0001)
    assert result.book.cash[0] == pytest.approx(-1_000.1)
    unlevered = play(bars, [(0, 0.9)], instruments=[SHARE], costs=Costs(margin_interest=0.0365))
    assert unlevered.book.charges[0, 0, INTEREST] == 0.0


def test_a_perpetual_owes_its_loss_and_not_its_notional(play) -> None:
    """Three times equity in a perpetual is not bought with cash; a loss of 2,000 on 1,000 of cash leaves 1,000 owed."""
    costs = Costs(margin_interest=0.0365)
    calm = play([ONE] * 26, [(0, 3.0)], instruments=[PERP], costs=costs)
    assert calm.book.charges[0, 0, INTEREST] == 0.0
    assert calm.book.positions["lots"][0] == 30_000
    both = [PERP, msgspec.structs.replace(SHARE, quote="USDT")]
    bars = [[ONE, ONE]] * 4 + [[(80.0,) * 4, ONE]] * 24
    result = play(bars, [(0, 0, 0, 1.0), (0, 0, 1, 1.0)], instruments=both, costs=costs)
    assert result.book.charges[0, :, INTEREST] == pytest.approx([200.0 * 0.0001 * 1 / 6, 200.0 * 0.0001 * 5 / 6])


def test_cash_paid_in_is_no_profit(play) -> None:
    bars = [ONE] * 6
    result = play(bars, [(0, 1.0)], instruments=[CASH], flows=[(2, 0, 500.0), (4, 0, -200.0)])
    head = result.book.head[0]
    assert head["equity"] == pytest.approx(1_300.0)
    assert head["peak"] == pytest.approx(1_300.0)
    assert head["worst"] == 0.0
    assert head["flows"] == pytest.approx(300.0)
    assert result.curve[-1, 5] == pytest.approx(300.0)
    assert result.pnl[-1].sum() == pytest.approx(0.0)


def test_a_withdrawal_is_no_loss_to_the_breakers(play) -> None:
    limits = Limits(drawdown_halt=0.2, daily_loss=0.05)
    result = play([ONE] * 6, [(0, 0.5)], instruments=[CASH], limits=limits, flows=[(3, 0, -400.0)])
    assert len(result.actions) == 0


def test_the_daily_loss_closes_the_book_until_the_next_day(play, lines) -> None:
    """-6% at 05:00: flat at the next open, back at the next day's first: the models' wish still stands."""
    bars = [ONE] * 4 + [(100.0, 100.0, 94.0, 94.0)] + [(94.0,) * 4] * 24
    result = play(bars, [(0, 1.0)], instruments=[CASH], limits=Limits(daily_loss=0.05))
    assert [x[:3] for x in lines(result)] == [(1, 0, 10), (5, 0, -10), (24, 0, 10)]


def test_the_weekly_loss_closes_it_until_monday(play, lines) -> None:
    """2024-01-01 is a Monday: a loss of 8% on Tuesday keeps the book flat until the 8th."""
    bars = [ONE, ONE] + [(92.0,) * 4] * 10
    result = play(bars, [(0, 1.0)], instruments=[CASH], limits=Limits(weekly_loss=0.07), step=DAY)
    assert [x[:3] for x in lines(result)] == [(1, 0, 10), (3, 0, -10), (7, 0, 10)]


def test_equity_is_in_base_currency_and_cash_is_not_fungible(play) -> None:
    """1,000 EUR and 1,000 USD; a share in USD is bought with dollars alone, and its worth follows the rate."""
    euro = Instrument(symbol="E", lot_size=1.0, venue="x", quote="EUR")
    dollar = Instrument(symbol="D", lot_size=1.0, venue="x", quote="USD")
    bars = [[ONE, ONE]] * 4 + [[ONE, (110.0,) * 4]]
    fx = [[1.0, 0.9]] * 3 + [[1.0, 0.8]] * 2
    result = play(
        bars, [(0, 0, 1, 1.0)], instruments=[euro, dollar], base="EUR", cash=(1_000.0, 1_000.0), capital=1_900.0, fx=fx
    )
    assert result.book.positions["lots"].tolist() == [0, 10]  # 1,900 EUR would be 21 shares; there are 1,000 USD
    assert result.book.cash.tolist() == [1_000.0, 0.0]
    assert result.equity.tolist() == pytest.approx([1_900.0, 1_900.0, 1_900.0, 1_800.0, 1_880.0])
    assert result.pnl[-1].sum() == pytest.approx(100.0 * 0.8)  # a hundred dollars, at today's rate
    assert result.curve[-1, 4] == pytest.approx(1_000.0 * 0.9)


def test_weights_are_of_equity_in_base_currency(play) -> None:
    yen = Instrument(symbol="J", lot_size=1.0, quote="JPY")
    result = play(
        [ONE] * 3, [(0, 0.5)], instruments=[yen], base="USD", cash=(100_000.0,), capital=1_000.0, fx=[0.01] * 3
    )
    assert int(result.book.positions["lots"][0]) == 500


def test_what_was_paid_out_and_is_owed_bears_interest(play) -> None:
    """Nothing was ever bought in the wallet that owes 200: a day later it pays for it all the same."""
    share = msgspec.structs.replace(SHARE, venue="x")
    other = Instrument(symbol="B", lot_size=1.0, venue="y")
    rate = Costs(margin_interest=0.365)
    result = play(
        [[ONE, ONE]] * 30, [(0, 0, 1, 0.5)], costs=rate, instruments=[share, other], cash=(100.0, 900.0),
        flows=[(2, 0, -300.0)],
    )  # fmt: skip
    assert result.book.cash.tolist() == pytest.approx([-200.2, 400.0])
    assert result.book.charges[0, :, INTEREST].tolist() == pytest.approx([0.2, 0.0])
    assert result.pnl[-1].sum() == pytest.approx(-0.2)


def test_cash_that_is_taken_out_is_no_drawdown(play, lines) -> None:
    """10% below the peak before and after two thirds of it are paid out; a halt at 20% does not act."""
    bars = [ONE] * 3 + [(80.0,) * 4] * 6
    limits = Limits(drawdown_halt=0.2, daily_loss=0.15, weekly_loss=0.15)
    result = play(bars, [(0, 0.5)], instruments=[CASH], limits=limits, flows=[(5, 0, -600.0)])
    assert [x[:3] for x in lines(result)] == [(1, 0, 5)]
    head = result.book.head[0]
    assert 1.0 - head["equity"] / head["peak"] == pytest.approx(0.1)
    assert head["worst"] == pytest.approx(-0.1)
    gone = play(bars, [(0, 0.9)], instruments=[CASH], flows=[(5, 0, -1_200.0)])
    assert gone.book.head["worst"][0] < 0.0
    assert gone.book.head["peak"][0] > 0.0
