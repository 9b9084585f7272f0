"""Protective orders of the account (design §6.4, §6.5, §8): stop-loss, take-profit and trailing stop."""

from __future__ import annotations

import math

import pytest

from trimtab.rules.book import Style
from trimtab.types import GTC, HOUR, LIMIT, MARKET, ORDER_KINDS, Costs, Instrument, Limits

PLAIN = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 0)
RESTING = PLAIN._replace(kind=LIMIT, offset=0.1)
STILL = (100.0, 100.0, 100.0, 100.0)
BOTH = Limits(stop_loss=0.1, take_profit=0.1)


def test_a_stop_fills_at_its_level_and_gaps_to_the_open(play, lines) -> None:
    stop = Limits(stop_loss=0.1)
    inside = play([STILL, STILL, (100.0, 101.0, 90.0, 95.0)], [(0, 0.5)], limits=stop)
    assert lines(inside) == [(1, 0, 5, 100.0), (2, 0, -5, 90.0)]
    gapped = play([STILL, STILL, (80.0, 101.0, 79.0, 95.0)], [(0, 0.5)], limits=stop)
    assert lines(gapped) == [(1, 0, 5, 100.0), (2, 0, -5, 80.0)]
    untouched = play([STILL, STILL, (100.0, 101.0, 90.01, 95.0)], [(0, 0.5)], limits=stop)
    assert len(untouched.fills) == 1


def test_a_short_mirrors(play, lines) -> None:
    inside = play([STILL, STILL, (100.0, 110.5, 99.0, 105.0)], [(0, -0.5)], limits=BOTH)
    assert lines(inside) == [(1, 0, -5, 100.0), (2, 0, 5, pytest.approx(110.0))]
    gapped = play([STILL, STILL, (120.0, 121.0, 99.0, 105.0)], [(0, -0.5)], limits=BOTH)
    assert lines(gapped)[1] == (2, 0, 5, 120.0)
    target = play([STILL, STILL, (100.0, 101.0, 89.9, 95.0)], [(0, -0.5)], limits=BOTH)
    assert lines(target)[1] == (2, 0, 5, 90.0)


def test_a_stop_pays_spread_slippage_and_the_takers_fee(play, lines) -> None:
    costs = Costs(maker_fee=0.001, taker_fee=0.002, half_spread=0.001, slippage=0.003)
    result = play([STILL, STILL, (100.0, 101.0, 80.0, 85.0)], [(0, 0.5)], limits=Limits(stop_loss=0.1), costs=costs)
    level = 100.0 * 1.004 * 0.9
    fill = result.fills[1]
    assert fill["price"] == pytest.approx(level * 0.996, rel=1e-14)
    assert fill["fee"] == pytest.approx(5 * level * 0.996 * 0.002, rel=1e-14)
    assert (fill["maker"], fill["mid"]) == (0, pytest.approx(level, rel=1e-15))


def test_a_target_fills_strictly_through_at_its_price_as_maker(play, lines) -> None:
    costs = Costs(maker_fee=0.001, taker_fee=0.002, half_spread=0.001)
    touched = play([STILL, STILL, (100.0, 110.11, 99.0, 105.0)], [(0, 0.5)], limits=BOTH, costs=costs)
    assert len(touched.fills) == 1  # 100.1 x 1.1 = 110.11 is touched, no more
    result = play([STILL, STILL, (100.0, 110.2, 99.0, 105.0)], [(0, 0.5)], limits=BOTH, costs=costs)
    fill = result.fills[1]
    assert fill["price"] == pytest.approx(110.11, rel=1e-14)
    assert (fill["maker"], fill["spread"]) == (1, 0.0)
    assert fill["fee"] == pytest.approx(5 * 110.11 * 0.001, rel=1e-14)


def test_the_stop_comes_first_when_one_bar_reaches_both(play, lines, story) -> None:
    result = play([STILL, STILL, (100.0, 150.0, 50.0, 100.0)], [(0, 0.5)], limits=BOTH)
    assert lines(result) == [(1, 0, 5, 100.0), (2, 0, -5, 90.0)]
    assert story(result)[1:] == [
        (-5, -5, "FILLED", ""),
        (-5, 0, "CANCELED", "the other order of the pair filled"),
    ]
    short = play([STILL, STILL, (100.0, 150.0, 50.0, 100.0)], [(0, -0.5)], limits=BOTH)
    assert lines(short)[1] == (2, 0, 5, pytest.approx(110.0))


def test_after_an_entry_at_the_open_both_are_live_in_that_bar(play, lines) -> None:
    stopped = play([STILL, (100.0, 101.0, 89.0, 100.0)], [(0, 0.5)], limits=BOTH)
    assert lines(stopped) == [(1, 0, 5, 100.0), (1, 0, -5, 90.0)]
    won = play([STILL, (100.0, 111.0, 99.0, 100.0)], [(0, 0.5)], limits=BOTH)
    assert lines(won) == [(1, 0, 5, 100.0), (1, 0, -5, pytest.approx(110.0))]
    both = play([STILL, (100.0, 111.0, 89.0, 100.0)], [(0, 0.5)], limits=BOTH)
    assert lines(both)[1] == (1, 0, -5, 90.0)


def test_after_an_entry_inside_the_bar_only_the_stop_is_live(play, lines) -> None:
    """Bought at 90 inside a bar that had already seen 105: its target of 99 may not use that high."""
    won = play([STILL, (100.0, 105.0, 89.0, 95.0), STILL], [(0, 0.5)], limits=BOTH, style=RESTING)
    assert lines(won) == [(1, 0, 5, 90.0), (2, 0, -5, pytest.approx(99.0))]
    stopped = play([STILL, (100.0, 105.0, 80.0, 95.0), STILL], [(0, 0.5)], limits=BOTH, style=RESTING)
    assert lines(stopped) == [(1, 0, 5, 90.0), (1, 0, -5, 81.0)]


def test_after_an_increase_inside_the_bar_the_moved_target_waits(play, lines) -> None:
    """Averaging down moves the target toward a high that came before: it is met from the next bar on."""
    tenth = Limits(take_profit=0.1)
    bars = [STILL, (100.0, 100.0, 89.9, 95.0), (95.0, 98.5, 85.0, 86.0), (90.0, 96.0, 89.0, 90.0)]
    result = play(bars, [(0, 0.3), (1, 0.9)], limits=tenth, style=RESTING)
    # 3 at 90, then 6 at 85.5: the average is 87, the target 95.7. The high of 98.5 came before the low.
    assert lines(result) == [(1, 0, 3, 90.0), (2, 0, 6, 85.5), (3, 0, -9, pytest.approx(95.7))]


def test_levels_follow_the_average_price_and_sizes_the_position(play, story, lines) -> None:
    bars = [STILL, STILL, (110.0, 110.0, 110.0, 110.0), (105.0, 105.0, 94.0, 94.0)]
    result = play(bars, [(0, 0.5), (1, 1.0)], limits=Limits(stop_loss=0.1))
    # 5 at 100 and then 4 at 110 (no more cash): average 104.444…, so the stop is 94 and not 90.
    assert [x[2] for x in lines(result)] == [5, 4, -9]
    assert lines(result)[2][3] == pytest.approx((500.0 + 440.0) / 9 * 0.9, rel=1e-14)
    assert story(result)[1][:2] == (-9, -9)
    assert int(result.orders["parent"].max()) == int(result.orders["order_id"].min())


def test_protective_orders_go_with_the_position(play, story, lines) -> None:
    bars = [STILL, STILL, STILL, (100.0, 200.0, 1.0, 100.0)]
    result = play(bars, [(0, 0.5), (1, 0.0)], limits=BOTH)
    assert len(result.fills) == 2
    kinds = [ORDER_KINDS[k] for k in sorted(result.orders["kind"])]
    assert kinds == ["MARKET", "MARKET", "STOP", "TAKE_PROFIT"]
    assert [x[2:] for x in story(result)[1:3]] == [("CANCELED", "the position it protected is gone")] * 2


def test_a_reversal_gets_protective_orders_of_its_own(play, lines) -> None:
    bars = [STILL, STILL, STILL, (100.0, 115.0, 95.0, 100.0)]
    result = play(bars, [(0, 0.5), (1, -0.5)], limits=Limits(stop_loss=0.1))
    assert lines(result) == [
        (1, 0, 5, 100.0),
        (2, 0, -5, 100.0),
        (2, 0, -5, 100.0),
        (3, 0, 5, pytest.approx(110.0)),
    ]


def test_a_trailing_level_uses_highs_before_the_bar(play, lines) -> None:
    trail = Limits(trailing_stop=0.1)
    rises = [STILL, STILL, (100.0, 120.0, 100.0, 118.0)]
    # A bar that makes the high of 120 and then falls to 105 is held against 90, the level before it.
    same = play([*rises[:2], (100.0, 120.0, 105.0, 106.0)], [(0, 0.5)], limits=trail)
    assert len(same.fills) == 1
    after = play([*rises, (118.0, 119.0, 108.0, 110.0)], [(0, 0.5)], limits=trail)
    assert lines(after)[1] == (3, 0, -5, 108.0)
    never = play([*rises, (118.0, 119.0, 108.01, 110.0)], [(0, 0.5)], limits=trail)
    assert len(never.fills) == 1
    gap = play([*rises, (107.0, 119.0, 105.0, 110.0)], [(0, 0.5)], limits=trail)
    assert lines(gap)[1] == (3, 0, -5, 107.0)


def test_a_trailing_level_never_loosens_and_mirrors_for_shorts(play, lines) -> None:
    trail = Limits(trailing_stop=0.1)
    bars = [STILL, STILL, (100.0, 100.0, 80.0, 82.0), (82.0, 85.0, 81.0, 84.0), (84.0, 88.0, 83.0, 87.0)]
    result = play(bars, [(0, -0.5)], limits=trail)
    assert lines(result)[1] == (4, 0, 5, pytest.approx(88.0))


def test_after_an_entry_inside_the_bar_its_high_does_not_trail(play, lines) -> None:
    """Bought at 90 in a bar that saw 120 before: the level is 10% under the close of 95, not under 120."""
    trail = Limits(trailing_stop=0.1)
    bars = [STILL, (100.0, 120.0, 89.0, 95.0), (95.0, 96.0, 85.5, 90.0)]
    result = play(bars, [(0, 0.5)], limits=trail, style=RESTING)
    assert lines(result) == [(1, 0, 5, 90.0), (2, 0, -5, 85.5)]
    bars[2] = (95.0, 96.0, 85.6, 90.0)
    assert len(play(bars, [(0, 0.5)], limits=trail, style=RESTING).fills) == 1


def test_a_stop_that_finds_no_volume_goes_at_the_next_opens(play, lines, story) -> None:
    thin = Costs(participation=0.1)
    bars = [
        (*STILL, 1e3),
        (*STILL, 1e3),
        (100.0, 101.0, 85.0, 86.0, 20.0),
        (88.0, 89.0, 87.0, 88.0, 10.0),
        (*STILL, 1e3),
    ]
    result = play(bars, [(0, 0.5)], limits=BOTH, costs=thin)
    assert lines(result) == [(1, 0, 5, 100.0), (2, 0, -2, 90.0), (3, 0, -1, 88.0), (4, 0, -2, 100.0)]
    assert story(result)[1] == (-5, -5, "FILLED", "")


def test_a_stop_is_reduce_only_beside_a_decision_at_the_same_open(play, lines) -> None:
    """The decision to sell and the gap through the stop meet one open: five lots are sold, not ten."""
    bars = [STILL, STILL, (70.0, 70.0, 70.0, 70.0), STILL]
    result = play(bars, [(0, 0.5), (1, 0.0)], limits=Limits(stop_loss=0.1))
    assert [x[2] for x in lines(result)] == [5, -5]
    assert int(result.book.positions["lots"][0]) == 0


def test_stopped_out_models_wait_for_a_change_of_sign_or_zero(play, lines) -> None:
    fall = (100.0, 100.0, 85.0, 100.0)
    rows = [STILL, STILL, fall, STILL, STILL, STILL, STILL]
    stop = Limits(stop_loss=0.1)
    stays = play(rows, [(0, 0.5), (3, 0.6), (4, 0.5)], limits=stop)
    assert [x[:3] for x in lines(stays)] == [(1, 0, 5), (2, 0, -5)]
    through_zero = play(rows, [(0, 0.5), (3, 0.0), (4, 0.5)], limits=stop)
    assert [x[0] for x in lines(through_zero)] == [1, 2, 5]
    turns = play(rows, [(0, 0.5), (3, -0.5)], limits=stop)
    assert [x[0] for x in lines(turns)] == [1, 2, 4]
    assert lines(turns)[2][2] < 0
    again = play(rows, [(0, 0.5), (3, -0.5), (4, 0.5)], limits=stop)
    assert [x[0] for x in lines(again)] == [1, 2, 4, 5, 5]


def test_a_blocked_model_does_not_block_the_others(play, lines) -> None:
    fall = (100.0, 100.0, 85.0, 100.0)
    rows = [[STILL], [STILL], [fall], [STILL], [STILL]]
    result = play(rows, [(0, 0, 0, 0.3), (0, 1, 0, 0.0), (3, 0, 0, 0.4), (3, 1, 0, 0.2)], limits=Limits(stop_loss=0.1))
    assert [x[:2] for x in lines(result)] == [(1, 0), (2, 0), (4, 0)]
    assert lines(result)[2][2] == 1  # 20% of 970 in whole lots of 100: the second model alone


def test_a_stop_is_shared_by_what_the_models_hold(play) -> None:
    rows = [[STILL], [STILL], [(100.0, 100.0, 85.0, 100.0)]]
    result = play(rows, [(0, 0, 0, 0.6), (0, 1, 0, 0.2)], limits=Limits(stop_loss=0.1))
    assert result.shares.tolist() == [[6.0, 2.0], [-6.0, -2.0]]
    assert result.book.held.tolist() == [[0.0], [0.0]]
    assert result.pnl[-1].tolist() == pytest.approx([-60.0, -20.0])


def test_the_fee_of_a_stop_is_shared_by_size_also_between_opposite_models(play) -> None:
    """Six lots long and two short: the stop sells four, which closes both; no model earns a fee."""
    rows = [[STILL], [STILL], [(100.0, 100.0, 85.0, 100.0)]]
    costs = Costs(taker_fee=0.01)
    result = play(rows, [(0, 0, 0, 0.6), (0, 1, 0, -0.2)], limits=Limits(stop_loss=0.1), costs=costs)
    assert result.shares.tolist() == [[2.0, -2.0], [4.0, 0.0], [-6.0, 2.0]]
    fee = 4 * 90.0 * 0.01
    assert result.book.charges[:, 0, 0].tolist() == pytest.approx([4.0 + fee * 6 / 8, fee * 2 / 8])


@pytest.mark.parametrize("latency", [0.0, 900.0])
def test_a_stop_at_the_venue_does_not_travel(play, latency: float) -> None:
    """Latency lies between decision and arrival; a stop that rests has arrived: spread and slippage, no more."""
    bars = [(100.0, 101.0, 99.0, 100.5), (100.0, 101.0, 99.0, 99.5), STILL, STILL, STILL, (100.0, 100.0, 80.0, 85.0)]
    costs = Costs(latency=latency, slippage=0.001)
    result = play(bars, [(3, 0.5)], limits=Limits(stop_loss=0.1), costs=costs)
    assert len(result.fills) == 2
    assert result.fills["latency"][1] == 0.0


def test_the_bar_of_a_coarse_instrument_protects_from_its_own_open(play, lines) -> None:
    day = 24.0 * HOUR
    bars: list[list[object]] = [[STILL, None] for _ in range(72)]
    bars[23][1] = (100.0, 100.0, 100.0, 100.0, 1e6, day)
    bars[47][1] = (100.0, 101.0, 95.0, 100.0, 1e6, day)
    bars[71][1] = (100.0, 101.0, 85.0, 90.0, 1e6, day)
    result = play(bars, [(23, 0, 1, 0.5)], limits=Limits(stop_loss=0.1))
    assert lines(result) == [(47, 1, 5, 100.0), (71, 1, -5, 90.0)]
    assert not math.isnan(result.equity[-1])


def test_a_stop_comes_before_the_limit_of_an_exit_in_one_bar(play, lines, story) -> None:
    """The path inside the bar is not known: the loss is taken, and the exit goes with the position."""
    bars = [STILL, (100.0, 100.0, 85.0, 88.0), (88.0, 120.0, 70.0, 100.0), STILL]
    stop = Limits(stop_loss=0.1)
    result = play(bars, [(0, 0.5), (1, 0.0)], limits=stop, style=RESTING)
    assert lines(result) == [(1, 0, 5, 90.0), (2, 0, -5, 81.0)]
    assert story(result)[2] == (-5, 0, "CANCELED", "a protective order closed the position")
    for bar, price in (((88.0, 120.0, 82.0, 100.0), 96.8), ((88.0, 90.0, 70.0, 80.0), 81.0)):  # one at a time
        result = play([*bars[:2], bar, STILL], [(0, 0.5), (1, 0.0)], limits=stop, style=RESTING)
        assert lines(result)[1] == (2, 0, -5, pytest.approx(price))


def test_what_is_decided_while_a_stop_still_sells_is_done_when_it_has(play, lines) -> None:
    """The stop finds volume for two of five lots; meanwhile the model turns short: the stop's rest, then the short."""
    thin = Costs(participation=0.1)
    bars = [
        (*STILL, 1e3),
        (*STILL, 1e3),
        (100.0, 101.0, 85.0, 100.0, 20.0),
        (*STILL, 20.0),
        (*STILL, 20.0),
        (*STILL, 1e3),
        (*STILL, 1e3),
    ]
    result = play(bars, [(0, 0.5), (3, -0.5)], limits=Limits(stop_loss=0.1), costs=thin)
    assert [x[:3] for x in lines(result)] == [(1, 0, 5), (2, 0, -2), (3, 0, -2), (4, 0, -1), (5, 0, -4)]
    assert int(result.book.positions["lots"][0]) == -4


def test_a_stop_that_sells_in_parts_blocks_once(play, lines) -> None:
    """Through zero and back while the stop's rest sells: the new weight is a wish of its own and is bought again."""
    thin = Costs(participation=0.1)
    bars = [
        (*STILL, 1e3),
        (*STILL, 1e3),
        (100.0, 101.0, 85.0, 100.0, 20.0),
        *[(*STILL, 10.0)] * 3,
        *[(*STILL, 1e3)] * 2,
    ]
    result = play(bars, [(0, 0.5), (2, 0.0), (3, 0.5)], limits=Limits(stop_loss=0.1), costs=thin)
    assert int(result.book.positions["lots"][0]) > 0
    flat = play(bars, [(0, 0.5), (2, 0.4), (3, 0.5)], limits=Limits(stop_loss=0.1), costs=thin)
    assert int(flat.book.positions["lots"][0]) == 0


def test_prices_of_resting_orders_lie_on_the_tick_away_from_the_market(play) -> None:
    half = [Instrument(symbol="A", lot_size=1.0, tick_size=0.5)]
    limits = Limits(stop_loss=0.013, take_profit=0.013, trailing_stop=0.027)
    bars = [STILL, STILL, (100.0, 100.9, 99.5, 100.0), STILL]
    long = play(bars, [(0, 0.5)], limits=limits, instruments=half)
    assert long.book.orders[0, 1:]["stop_price"][:2].tolist() == [98.5, 98.0]  # 98.7; 100.9 x 0.973 = 98.18
    assert long.book.orders[0, 3]["limit_price"] == 101.5  # 101.3
    short = play(bars, [(0, -0.5)], limits=limits, instruments=half)
    assert short.book.orders[0, 1:]["stop_price"][:2].tolist() == [101.5, 102.5]  # 101.3; 99.5 x 1.027 = 102.19
    assert short.book.orders[0, 3]["limit_price"] == 98.5
    entry = play([STILL] * 2, [(0, 0.5)], style=RESTING._replace(offset=0.013), instruments=half)
    assert entry.book.orders[0, 0]["limit_price"] == 98.5


def test_the_stop_of_an_entry_that_the_market_gapped_over_takes_at_the_open(play, lines) -> None:
    """Sold at its limit of 110 as the market opens at 130: the stop at 121 lies below all of the bar."""
    bars = [STILL, STILL, (130.0, 140.0, 125.0, 135.0), (135.0,) * 4]
    result = play(bars, [(0, -0.5)], limits=Limits(stop_loss=0.1), style=RESTING)
    assert lines(result) == [(2, 0, -5, pytest.approx(110.0)), (2, 0, 5, 130.0)]
    touched = play(
        [STILL, STILL, (130.0, 140.0, 115.0, 135.0)], [(0, -0.5)], limits=Limits(stop_loss=0.1), style=RESTING
    )
    assert lines(touched)[1] == (2, 0, 5, pytest.approx(121.0))


def test_what_a_stop_still_sells_is_no_goal_when_an_order_beside_it_ends(play, story) -> None:
    """An exit of the model travels two hours while the stop sells in parts: cuts of the book later buy nothing back."""
    other = (10.0, 10.0, 10.0, 10.0, 1e9)
    coin = [(*STILL, 1e9)] * 5 + [(95.0, 95.0, 89.0, 89.0, 20.0)] + [(89.0, 89.0, 89.0, 89.0, 20.0)] * 17
    result = play(
        [[bar, other] for bar in coin],
        [(0, 0, 0, 0.9), (5, 0, 0, 0.0), (13, 0, 1, 0.9), (14, 0, 1, 0.95)],
        costs=Costs(participation=0.1, latency=2.0 * 3600.0),
        limits=Limits(stop_loss=0.1, gross_leverage=1.0),
    )
    assert (-7, 0, "CANCELED", "a protective order closed the position") in story(result)
    assert result.book.positions["lots"][0] == 0
    assert result.book.goal[0] == 0
    assert not ((result.fills["instrument"] == 0) & (result.fills["row"] > 12)).any()
