"""Splits and dividends in the account, by hand: the row before they trade, its orders, what protects, who is paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trimtab.rules.adjust import ex_close, forward, unadjusted
from trimtab.rules.book import PROFIT, STOP_LOSS
from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.rules.orders import REASONS
from trimtab.sim.simulate import Result
from trimtab.types import DIVIDEND, GTC, LIMIT, Costs, Instrument, Limits

NAN = float("nan")
Play = Callable[..., Result]
Flat = Callable[..., list[tuple[float, ...]]]


def only(rows: int, **told: tuple[int, float]) -> dict[str, list[float]]:
    """Fields that hold one number at one row."""
    return {name: [value if t == row else NAN for t in range(rows)] for name, (row, value) in told.items()}


def acted(result: Result) -> list[tuple[Any, ...]]:
    a = result.actions
    names = [(LIMIT_NAMES[k], ACTIONS[c]) for k, c in zip(a["limit"], a["action"], strict=True)]
    return [(*n, r, w, v) for n, r, w, v in zip(names, a["row"].tolist(), a["wanted"], a["allowed"], strict=True)]


def test_a_split_multiplies_lots_and_leaves_equity_as_it_was(play: Play, flat: Flat) -> None:
    result = play([*flat(70.0, 3), *flat(10.0, 3)], [(0, 1.0)], capital=7_000.0, **only(6, split=(3, 7.0)))
    assert result.equity.tolist() == [7_000.0] * 6
    assert result.book.positions[0]["lots"] == 700
    assert result.book.positions[0]["avg_price"] == pytest.approx(10.0)
    assert acted(result) == [("split", "ADJUST", 3, 100.0, 700.0)]
    fills = result.fills[["row", "lots", "price", "position"]].tolist()
    assert fills == [(1, 100, 70.0, 100), (3, 600, 0.0, 700)]
    assert REASONS[result.fills["reason"][1]] == "a split"
    assert result.book.head[0]["traded"] == 7_000.0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_fraction_of_a_reverse_split_is_paid_at_the_open(play: Play, flat: Flat, side: float) -> None:
    """103 shares, one for ten: 10 are held, and 3/10 of one are paid for at the open, by who is short."""
    bars = [*flat(10.0, 3), (110.0, 120.0, 100.0, 120.0), *flat(120.0, 1)]
    result = play(bars, [(0, side * 1.0)], capital=1_030.0, **only(5, split=(3, 0.1)))
    assert result.book.positions[0]["lots"] == side * 10
    assert result.equity[-1] == pytest.approx(1_030.0 + side * (0.3 * 10.0 + 10 * 20.0))
    assert acted(result) == [
        ("split", "ADJUST", 3, side * 103.0, side * 10.0),
        ("split", "PAY", 3, pytest.approx(side * 0.3), pytest.approx(side * 33.0)),
    ]
    assert result.book.charges[0, 0, DIVIDEND] == pytest.approx(-side * 33.0)
    assert result.cost[-1, 0] == 0.0


def test_less_than_a_lot_is_all_paid_out(play: Play, flat: Flat) -> None:
    """With a stop at the venue, which ends with its position; equity is nothing but cash."""
    limits = Limits(stop_loss=0.1)
    result = play([*flat(10.0, 3), *flat(1_000.0, 2)], [(0, 0.5)], capital=1_000.0, limits=limits,
                  **only(5, split=(3, 0.01)))  # fmt: skip
    assert result.book.positions[0]["lots"] == 0
    assert result.book.cash[0] == pytest.approx(1_000.0)
    assert [REASONS[k] for k in result.orders["reason"]] == ["", "the position it protected is gone"]
    assert result.book.head[0]["round_trips"] == 1


def test_an_order_for_the_open_of_a_split_is_for_new_shares(play: Play, flat: Flat) -> None:
    """Decided at 70 for 100 shares, met at 10: 700; and what a limit was is a seventh."""
    result = play([*flat(70.0, 1), *flat(70.0, 1), *flat(10.0, 2)], [(1, 1.0)], capital=7_000.0,
                  **only(4, split=(2, 7.0)))  # fmt: skip
    assert result.fills[["row", "lots", "price"]].tolist() == [(2, 700, 10.0)]
    from tests.unit.rules.conftest import PLAIN

    style = PLAIN._replace(kind=LIMIT, offset=0.1, tif=GTC)
    bars = [*flat(70.0, 2), *flat(10.0, 2), (10.0, 10.0, 8.0, 9.0)]
    result = play(bars, [(1, 0.9)], capital=7_000.0, style=style, **only(5, split=(2, 7.0)))
    assert result.orders["limit_price"].tolist() == [pytest.approx(9.0)]
    assert result.fills[["row", "lots"]].tolist() == [(4, 630)]


def test_an_order_of_which_nothing_is_left_ends(play: Play, flat: Flat) -> None:
    result = play([*flat(10.0, 2), *flat(100.0, 3)], [(1, 0.05)], capital=1_000.0, **only(5, split=(2, 0.1)))
    assert [REASONS[k] for k in result.orders["reason"]] == ["nothing of it is left after a split"]
    assert (result.book.goal[0], result.book.positions[0]["live"], len(result.fills)) == (0, 0, 0)


def test_what_protects_follows_the_shares(play: Play, flat: Flat) -> None:
    """Stop at 63 becomes 9, target 84 becomes 12, and the best price of the trailing stop a seventh of itself."""
    limits = Limits(stop_loss=0.1, take_profit=0.2, trailing_stop=0.15)
    bars = [*flat(70.0, 2), (70.0, 80.0, 69.0, 79.0), *flat(11.0, 2), (11.0, 11.0, 9.5, 9.6)]
    result = play(bars, [(0, 0.5)], capital=14_000.0, limits=limits, **only(6, split=(3, 7.0)))
    assert acted(result)[0] == ("split", "ADJUST", 3, 100.0, 700.0)
    sold = result.fills[-1]
    assert (sold["row"], sold["lots"]) == (5, -700)
    assert sold["price"] == pytest.approx(80.0 / 7.0 * 0.85)  # the trailing stop is nearer than that of 9


@pytest.mark.parametrize(
    ("price", "ratio", "lots", "left"),
    [(10.0, 0.1, 15, 1), (90.0, 1.5, 1, 1), (90.0, 1.5, -1, -1), (10.0, 0.4, -9, -3), (60.0, 4.0 / 3.0, 10, 13)],
)
def test_a_fraction_moves_nothing_that_protects(
    play: Play, flat: Flat, price: float, ratio: float, lots: int, left: int
) -> None:
    """The price is over the ratio, and nothing else happens: no stop or target is any nearer, and money adds up."""
    limits = Limits(stop_loss=0.2, take_profit=0.2, trailing_stop=0.2)
    bars = [*flat(price, 3), *flat(price / ratio, 3)]
    weight = lots * price / 10_000.0 * (1.0 + 1e-12)
    result = play(bars, [(0, weight)], capital=10_000.0, limits=limits, **only(6, split=(3, ratio)))
    assert {limit for limit, *_ in acted(result)} == {"split"}
    position, side = result.book.positions[0], np.sign(lots)
    assert position["lots"] == left
    assert position["avg_price"] == pytest.approx(price / ratio)
    orders = result.book.orders[0]
    assert orders["stop_price"][STOP_LOSS] == pytest.approx(price / ratio * (1.0 - 0.2 * side))
    assert orders["limit_price"][PROFIT] == pytest.approx(price / ratio * (1.0 + 0.2 * side))
    assert result.equity[-1] == pytest.approx(10_000.0)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_what_is_realised_and_what_is_not_add_up_over_a_fraction(play: Play, flat: Flat, side: float) -> None:
    """15 at 10, one for ten at 120: half a share is paid 60 and cost 50; what is left cost 100, and stands at 130."""
    bars = [*flat(10.0, 3), *flat(120.0, 1), *flat(130.0, 3)]
    held = play(bars, [(0, side * 0.15)], capital=1_000.0, **only(7, split=(3, 0.1)))
    position, paid = held.book.positions[0], -held.book.charges[0, 0, DIVIDEND]
    assert (position["realised"], paid) == (pytest.approx(-side * 50.0), pytest.approx(side * 60.0))
    profit = position["realised"] + paid + position["lots"] * (130.0 - position["avg_price"])
    assert held.equity[-1] - 1_000.0 == pytest.approx(profit)
    sold = play(bars, [(0, side * 0.15), (4, 0.0)], capital=1_000.0, **only(7, split=(3, 0.1)))
    assert sold.book.positions[0]["realised"] == pytest.approx(-side * 20.0)
    assert sold.equity[-1] == pytest.approx(1_000.0 + side * 40.0)


def test_a_dividend_goes_to_who_held_at_the_last_close_and_from_who_was_short(play: Play, flat: Flat) -> None:
    """Two models hold 80 and -30 of 50 shares: 2 a share is 160 and -60. Who buys on the day gets none."""
    decisions = [(0, 0, 0, 0.8), (0, 1, 0, -0.3), (2, 0, 0, 1.6)]
    bars = [*flat(10.0, 3), *flat(8.0, 3)]
    result = play(bars, decisions, capital=1_000.0, **only(6, dividend=(3, 2.0)))
    assert acted(result) == [("dividend", "PAY", 3, 2.0, 100.0)]
    assert result.book.charges[:, 0, DIVIDEND].tolist() == pytest.approx([-160.0, 60.0])
    assert result.equity[2] == pytest.approx(1_000.0)
    assert result.equity[3] == pytest.approx(1_000.0)
    assert np.allclose(result.pnl.sum(axis=1), result.curve[:, 0] - 1_000.0)
    assert result.cost.sum() == 0.0


def test_a_dividend_of_the_day_of_a_split_is_of_the_old_shares(play: Play, flat: Flat) -> None:
    result = play([*flat(20.0, 3), *flat(9.0, 2)], [(0, 1.0)], capital=2_000.0,
                  **only(5, split=(3, 2.0), dividend=(3, 2.0)))  # fmt: skip
    assert result.equity.tolist() == [2_000.0] * 5
    assert result.book.positions[0]["lots"] == 200


def test_in_another_currency_and_on_margin_nothing_is_cut_or_liquidated(play: Play, flat: Flat) -> None:
    """Ten times the lots at a tenth of the price: margin, leverage and collar see the same notional."""
    euro = Instrument(symbol="E", quote="EUR", lot_size=1.0, initial_margin=0.5, maintenance_margin=0.4)
    limits = Limits(gross_leverage=1.9, max_weight=1.9, collar=0.05, unusual_gap=0.05)
    bars, rows = [*flat(100.0, 4), *flat(10.0, 4)], 8
    result = play(
        bars, [(0, 1.8), (3, 1.85)], capital=20_000.0, instruments=[euro], base="USD", cash=[10_000.0], limits=limits,
        fx=[2.0] * rows, **only(rows, split=(4, 10.0)),
    )  # fmt: skip
    assert {LIMIT_NAMES[k] for k in result.actions["limit"]} == {"split"}
    assert result.book.positions[0]["lots"] == 1_850
    assert result.equity.tolist() == pytest.approx([20_000.0] * rows)


def test_an_instrument_without_a_bar_before_has_no_events(play: Play, flat: Flat) -> None:
    bars = [[bar, other] for bar, other in zip(flat(10.0, 4), [None, *flat(5.0, 3)], strict=True)]
    nothing = [[NAN, NAN], [NAN, 2.0], [NAN, NAN], [NAN, NAN]]
    result = play(bars, [(0, 0, 0, 0.5), (1, 0, 1, 0.4)], capital=1_000.0, split=nothing, dividend=nothing)
    assert len(result.actions) == 0
    assert result.equity.tolist() == [1_000.0] * 4


def test_volume_and_volatility_are_measured_across_a_split(play: Play) -> None:
    """Participation and impact look at the average volume in new shares, which is what the next order is of."""
    day = 86_400 * 10**9
    before = [(70.0, 71.0, 69.0, 70.0 + k % 2, 1_000.0) for k in range(6)]
    after = [(10.0, 10.2, 9.8, 10.0 + (k % 2) / 7.0, 7_000.0) for k in range(6)]
    costs = Costs(impact=0.1, impact_power=1.0)
    split = play([*before, *after], [(5, 0.5)], costs=costs, capital=70_000.0, step=day, **only(12, split=(6, 7.0)))
    same = play([(*(p / 7.0 for p in bar[:4]), bar[4] * 7.0) for bar in before] + after, [(5, 0.5)],
                costs=costs, capital=70_000.0, step=day)  # fmt: skip
    one, other = (r.fills[r.fills["order_id"] != 0][0] for r in (split, same))
    assert one["price"] == pytest.approx(other["price"], rel=1e-2)
    assert one["impact"] == pytest.approx(other["impact"], rel=1e-2)


# --- series ----------------------------------------------------------------------------------------------------------


def test_what_a_close_is_worth_after_an_event() -> None:
    assert ex_close(70.0, 7.0, NAN) == 10.0
    assert ex_close(70.0, NAN, 7.0) == 63.0
    assert ex_close(70.0, 7.0, 7.0) == 9.0
    assert ex_close(70.0, NAN, NAN) == 70.0
    assert ex_close(5.0, NAN, 6.0) == 5.0  # more than there is: not of this share


def test_the_series_is_adjusted_forward_from_the_first_bar_wherever_it_is_cut() -> None:
    bars = np.array([[70.0, 70, 70, 70, 5, 1, NAN, NAN], [NAN] * 8, [10.0, 10, 10, 9, 35, 1, 7.0, 7.0],
                     [9.0, 9, 9, 9, 35, 1, NAN, 1.8]]).reshape(4, 1, 8)  # fmt: skip
    whole, factor = bars.copy(), np.empty((4, 1))
    forward(unadjusted(1), whole, 6, 7, factor)
    by = 7.0 * 70.0 / 63.0
    assert factor[:, 0].tolist() == pytest.approx([1.0, 1.0, by, by * 9.0 / 7.2])
    assert whole[2, 0, :5].tolist() == pytest.approx([10.0 * by, 10.0 * by, 10.0 * by, 9.0 * by, 5.0])
    assert whole[2, 0, 3] / whole[0, 0, 3] == pytest.approx(9.0 / 9.0)
    state, rows = unadjusted(1), []
    for t in range(4):
        row, one = bars[t : t + 1].copy(), np.empty((1, 1))
        forward(state, row, 6, 7, one)
        rows.append(row)
    assert np.concatenate(rows).tobytes() == whole.tobytes()
