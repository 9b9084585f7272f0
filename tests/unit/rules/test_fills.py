"""Orders meeting bars from end to end (design §6.1–§6.3, §6.6–§6.9, §6.12), every number by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimtab.rules.book import Style
from trimtab.types import DAY_ORDER, FOK, GTC, HOUR, IOC, LIMIT, MARKET, Costs, Instrument

PLAIN = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 0)
RESTING = PLAIN._replace(kind=LIMIT, offset=0.01)
CLOSES = (100.0, 100.0, 100.0, 100.0)


def quiet(o: float, c: float) -> tuple[float, float, float, float]:
    return o, max(o, c), min(o, c), c


# --- time and price --------------------------------------------------------------------------------------------------


def test_a_decision_at_a_close_meets_the_next_open(play, lines) -> None:
    bars = [quiet(100.0, 100.0), quiet(103.0, 110.0), quiet(90.0, 91.0)]
    result = play(bars, [(0, 0.5), (1, 0.0)])
    # Half of 1,000 at the close of 100 is 5 lots, bought at 103; they are sold at 90, whatever the close of 110 was.
    assert lines(result) == [(1, 0, 5, 103.0), (2, 0, -5, 90.0)]
    assert result.equity.tolist() == [1_000.0, 1_000.0 + 5 * 7.0, 1_000.0 - 5 * 13.0]


def test_market_pays_spread_volatility_slippage_and_fee(play, lines) -> None:
    bars = [quiet(100.0, 100.0), quiet(100.0, 110.0), quiet(110.0, 99.0), quiet(100.0, 100.0), quiet(100.0, 100.0)]
    costs = Costs(taker_fee=0.001, half_spread=0.002, vol_spread=0.05, slippage=0.003)
    result = play(bars, [(2, 0.5), (3, 0.0)], costs=costs)
    vol = np.std([0.1, -0.1], ddof=1)  # the two returns that are known at the close of row 2
    half = 0.002 + 0.05 * vol
    bought = 100.0 * (1.0 + half + 0.003)
    assert lines(result)[0] == (3, 0, 5, pytest.approx(bought, rel=1e-15))
    fill = result.fills[0]
    assert fill["fee"] == pytest.approx(5 * bought * 0.001, rel=1e-15)
    assert fill["spread"] == pytest.approx(500.0 * half, rel=1e-14)
    assert fill["slippage"] == pytest.approx(500.0 * 0.003, rel=1e-14)
    vol = np.std([0.1, -0.1, 100.0 / 99.0 - 1.0], ddof=1)
    sold = 100.0 * (1.0 - (0.002 + 0.05 * vol) - 0.003)
    assert lines(result)[1] == (4, 0, -5, pytest.approx(sold, rel=1e-14))
    cash = 1_000.0 - 5 * bought * 1.001 + 5 * sold * 0.999
    assert result.equity[-1] == pytest.approx(cash, rel=1e-14)


def test_a_market_order_waits_until_volatility_is_known(play, lines, story) -> None:
    bars = [quiet(100.0, 100.0)] * 2 + [quiet(100.0, 101.0), quiet(101.0, 101.0), quiet(102.0, 102.0)]
    result = play(bars[:3], [(0, 0.5)], costs=Costs(vol_spread=0.1))
    assert story(result) == [(5, 0, "NEW", "waiting: volatility not known yet")]
    result = play(bars, [(0, 0.5)], costs=Costs(vol_spread=0.1))
    assert [x[:3] for x in lines(result)] == [(3, 0, 5)]


def test_a_limit_order_waits_too_until_its_spread_is_known(play, lines, story) -> None:
    """Nobody can say whether a limit of 99 takes at an open of 90; it may not rest and fill above the bar's high."""
    bars = [quiet(100.0, 100.0), (90.0, 91.0, 89.0, 90.0), (90.0, 91.0, 89.0, 90.0), (90.0, 91.0, 89.0, 90.0)]
    result = play(bars[:2], [(0, 0.5)], costs=Costs(vol_spread=0.001), style=RESTING)
    assert story(result) == [(5, 0, "NEW", "waiting: volatility not known yet")]
    result = play(bars, [(0, 0.5)], costs=Costs(vol_spread=0.001), style=RESTING)
    assert [x[:3] for x in lines(result)] == [(3, 0, 5)]
    assert 90.0 <= result.fills["price"][0] <= 91.0


def test_impact_is_charged_on_the_days_cumulative_size(play, flat) -> None:
    """Four buys of about 10,000 against a daily million pay 1.00, 1.83, 2.37 and 2.80 bps; a new day starts anew."""
    decisions = [(72 + k, (k + 1) * 1e6 / 1e9) for k in range(4)]
    decisions.append((96, 5 * 1e6 / 1e9))
    result = play(flat(100.0, 99, 1e6 / 24), decisions, costs=Costs(impact=10e-4), capital=1e9)
    lots, impact = result.fills["lots"], result.fills["impact"]
    assert np.abs(lots - 10_000).max() <= 2  # what was paid before is missing from equity
    bps = impact / (lots * 100.0) * 1e4
    assert bps == pytest.approx([1.0, 1.8284271, 2.3677253, 2.8038476, 1.0], rel=1e-3)


def test_impact_waits_for_an_average_volume(play, story) -> None:
    silent = (100.0, 100.0, 100.0, 100.0, math.nan)
    result = play([silent] * 4, [(0, 0.5)], costs=Costs(impact=0.001))
    assert story(result) == [(5, 0, "NEW", "waiting: average volume not known yet")]
    result = play([silent] * 4, [(0, 0.5)], costs=Costs(impact=0.001), style=PLAIN._replace(ignore_volume=1))
    assert result.fills["impact"].tolist() == [0.0]


def test_average_volume_is_per_day_also_where_a_day_has_few_bars(play) -> None:
    """Seven bars of a session sum to the day's volume: impact is measured against that, not against 24 bars."""
    bars: list[object] = []
    for _ in range(5):
        bars += [(100.0, 100.0, 100.0, 100.0, 1_000.0)] * 7 + [None] * 17
    bars = [[bar] for bar in bars]
    result = play(bars, [(4 * 24 + 2, 0.7)], costs=Costs(impact=0.01), capital=1e5)
    expected = 0.01 * math.sqrt(700 / 7_000.0)
    assert result.fills["impact"][0] == pytest.approx(700 * 100.0 * expected, rel=0.05)


def test_average_volume_of_a_daily_instrument_on_an_hourly_grid(play) -> None:
    daily = (100.0, 100.0, 100.0, 100.0, 24_000.0, 24.0 * HOUR)
    bars = [[(50.0, 50.0, 50.0, 50.0), daily if t % 24 == 23 else None] for t in range(24 * 6)]
    result = play(bars, [(24 * 4 - 1, 0, 1, 0.7)], costs=Costs(impact=0.01), capital=1e5)
    expected = 0.01 * math.sqrt(700 / 24_000.0)
    assert result.fills["impact"][0] == pytest.approx(700 * 100.0 * expected, rel=0.05)


def test_latency_below_the_bar_is_a_named_cost(play) -> None:
    bars = [quiet(100.0, 100.0), quiet(100.0, 110.0), quiet(110.0, 99.0), quiet(100.0, 100.0)]
    result = play(bars, [(2, 0.5)], costs=Costs(latency=900.0))
    adverse = np.std([0.1, -0.1], ddof=1) * math.sqrt(900.0 / 3600.0)
    fill = result.fills[0]
    assert fill["price"] == pytest.approx(100.0 * (1.0 + adverse), rel=1e-14)
    assert fill["latency"] == pytest.approx(500.0 * adverse, rel=1e-13)


def test_latency_beyond_the_bar_shifts_by_whole_bars(play, lines) -> None:
    bars = [quiet(100.0 + t, 100.0 + t) for t in range(8)]
    for seconds, row in [(0.0, 3), (3600.0, 4), (7200.0, 5)]:
        result = play(bars, [(2, 0.5)], costs=Costs(latency=seconds))
        assert [x[0] for x in lines(result)] == [row]
        assert result.fills["price"][0] == 100.0 + row
        assert result.fills["latency"][0] == 0.0


# --- limit orders ----------------------------------------------------------------------------------------------------


def test_a_limit_rests_until_the_bar_goes_strictly_through(play, lines, story) -> None:
    costs = Costs(maker_fee=0.001, taker_fee=0.005, half_spread=0.002)
    bars = [quiet(100.0, 100.0), (100.0, 101.0, 99.0, 100.0), (100.0, 101.0, 98.99, 100.5), quiet(100.0, 100.0)]
    result = play(bars, [(0, 0.5)], costs=costs, style=RESTING)  # 1% below the close of 100
    assert lines(result) == [(2, 0, 5, 99.0)]
    fill = result.fills[0]
    assert (fill["maker"], fill["fee"], fill["spread"]) == (1, pytest.approx(0.495, rel=1e-15), 0.0)
    assert story(result) == [(5, 5, "FILLED", "")]


def test_a_limit_may_fill_in_the_bar_in_which_it_arrives(play, lines) -> None:
    result = play([quiet(100.0, 100.0), (100.0, 100.0, 98.0, 99.0)], [(0, 0.5)], style=RESTING)
    assert lines(result) == [(1, 0, 5, 99.0)]
    assert result.fills["ts"][0] == result.fills["ts"].max() == (1_704_067_200 + 7_200) * 10**9


@pytest.mark.parametrize(
    ("opened", "price", "maker"),
    [
        (90.0, 90.0 * 1.002, 0),  # marketable on arrival: the market price, as taker
        (98.9, 99.0, 0),  # 98.9 x 1.002 = 99.0978 is beyond the limit... so it rests
    ],
)
def test_marketable_on_arrival_pays_the_better_of_limit_and_market(play, lines, opened, price, maker) -> None:
    costs = Costs(half_spread=0.002, slippage=0.0)
    result = play([quiet(100.0, 100.0), quiet(opened, opened)], [(0, 0.5)], costs=costs, style=RESTING)
    if opened * 1.002 > 99.0:
        assert lines(result) == [(1, 0, 5, 99.0)]  # inside the bar: the low of 98.9 is through
        assert result.fills["maker"][0] == 1
    else:
        assert lines(result) == [(1, 0, 5, pytest.approx(price, rel=1e-15))]
        assert result.fills["maker"][0] == maker


def test_a_taker_never_pays_more_than_its_limit(play, lines) -> None:
    costs = Costs(half_spread=0.002, slippage=0.01)
    result = play([quiet(100.0, 100.0), quiet(98.5, 98.5)], [(0, 0.5)], costs=costs, style=RESTING)
    assert lines(result) == [(1, 0, 5, 99.0)]  # 98.5 x 1.012 = 99.682 would be beyond 99
    assert result.fills["maker"][0] == 0


def test_post_only_that_would_cross_is_rejected(play, story) -> None:
    style = RESTING._replace(post_only=1)
    result = play([quiet(100.0, 100.0), quiet(90.0, 90.0), quiet(80.0, 80.0)], [(0, 0.5)], style=style)
    assert story(result) == [(5, 0, "REJECTED", "would have taken liquidity (post only)")]
    result = play([quiet(100.0, 100.0), (100.0, 100.0, 98.0, 99.0)], [(0, 0.5)], style=style)
    assert story(result) == [(5, 5, "FILLED", "")]


def test_a_new_decision_replaces_the_order_that_rests(play, story) -> None:
    bars = [quiet(100.0, 100.0)] * 3 + [(100.0, 100.0, 50.0, 60.0)]
    result = play(bars, [(0, 0.5), (1, 0.2)], style=RESTING)
    assert story(result) == [(5, 0, "CANCELED", "replaced by a new decision"), (2, 2, "FILLED", "")]


# --- volume and time in force ----------------------------------------------------------------------------------------


def test_participation_fills_in_parts_and_the_rest_waits(play, lines, story) -> None:
    bars = [(10.0, 10.0, 10.0, 10.0, v) for v in (1e3, 105.0, 250.0, 0.0, 1e3)]
    costs = Costs(participation=0.1)
    result = play(bars[:3], [(0, 0.5)], costs=costs)
    assert lines(result) == [(1, 0, 10, 10.0), (2, 0, 25, 10.0)]
    assert story(result) == [(50, 35, "PARTIALLY_FILLED", "waiting: participation cap")]
    result = play(bars[:4], [(0, 0.5)], costs=costs)
    assert story(result) == [(50, 35, "PARTIALLY_FILLED", "waiting: no volume in the bar")]
    result = play(bars, [(0, 0.5)], costs=costs)
    assert lines(result) == [(1, 0, 10, 10.0), (2, 0, 25, 10.0), (4, 0, 15, 10.0)]


def test_participation_is_of_the_bar_whatever_the_number_of_orders(play, lines) -> None:
    """A reversal is a reduction and an increase at one open: together they stay under the cap."""
    bars = [(10.0, 10.0, 10.0, 10.0, v) for v in (1e3, 1e3, 700.0, 1e3)]
    result = play(bars, [(0, 0.5), (1, -0.5)], costs=Costs(participation=0.1))
    assert lines(result) == [(1, 0, 50, 10.0), (2, 0, -50, 10.0), (2, 0, -20, 10.0), (3, 0, -30, 10.0)]


@pytest.mark.parametrize(
    ("tif", "volume", "expected"),
    [
        (IOC, 200.0, (50, 20, "CANCELED", "not filled at once (IOC)")),
        (IOC, 500.0, (50, 50, "FILLED", "")),
        (FOK, 200.0, (50, 0, "CANCELED", "could not fill whole (FOK)")),
        (FOK, 500.0, (50, 50, "FILLED", "")),
        (GTC, 200.0, (50, 50, "FILLED", "")),
    ],
)
def test_time_in_force(play, story, tif: int, volume: float, expected: tuple) -> None:
    bars = [(10.0, 10.0, 10.0, 10.0, v) for v in (1e3, volume, 1e3)]
    result = play(bars, [(0, 0.5)], costs=Costs(participation=0.1), style=PLAIN._replace(tif=tif))
    assert story(result) == [expected]


def test_fok_on_both_sides_of_zero_is_one_order(play, story, lines) -> None:
    bars = [(10.0, 10.0, 10.0, 10.0, v) for v in (1e3, 1e3, 900.0, 1e3)]
    result = play(bars, [(0, 0.5), (1, -0.5)], costs=Costs(participation=0.1), style=PLAIN._replace(tif=FOK))
    assert story(result)[1] == (-100, 0, "CANCELED", "could not fill whole (FOK)")
    assert lines(result) == [(1, 0, 50, 10.0)]


def test_a_day_order_ends_with_its_day(play, lines, story) -> None:
    """Decided at 22:00 and capped: it fills at the opens of 22:00 and 23:00, and never at the next day's."""
    bars = [(10.0, 10.0, 10.0, 10.0, 100.0)] * 27
    result = play(bars, [(21, 0.5)], costs=Costs(participation=0.1), style=PLAIN._replace(tif=DAY_ORDER))
    assert story(result) == [(50, 20, "EXPIRED", "end of day")]
    assert [x[0] for x in lines(result)] == [22, 23]


def test_a_resting_day_order_ends_with_its_day(play, story) -> None:
    bars = [quiet(100.0, 100.0)] * 24 + [(100.0, 100.0, 90.0, 90.0)] * 2
    result = play(bars, [(21, 0.5)], style=RESTING._replace(tif=DAY_ORDER))
    assert story(result) == [(5, 0, "EXPIRED", "end of day")]


def test_a_day_order_decided_at_a_sessions_close_lives_through_the_next_session(play, lines) -> None:
    """Decided at Friday's close, it first meets Monday's open: its day is Monday."""
    bars: list[object] = [[None]] * 96
    for hour in range(14, 21):
        bars[hour] = [quiet(100.0, 100.0)]
        bars[72 + hour] = [quiet(100.0, 100.0)]
    bars[72 + 18] = [(100.0, 100.0, 98.0, 99.5)]
    result = play(bars, [(20, 0, 0, 0.5)], style=RESTING._replace(tif=DAY_ORDER))
    assert lines(result) == [(90, 0, 5, 99.0)]


@pytest.mark.parametrize("volume", [0.0, math.nan])
def test_no_volume_no_fill_unless_it_is_ignored(play, lines, story, volume: float) -> None:
    bars = [(10.0, 10.0, 10.0, 10.0, v) for v in (1e3, volume, 1e3)]
    result = play(bars[:2], [(0, 0.5)])
    assert story(result) == [(50, 0, "NEW", "waiting: no volume in the bar")]
    assert lines(play(bars, [(0, 0.5)])) == [(2, 0, 50, 10.0)]
    assert lines(play(bars, [(0, 0.5)], style=PLAIN._replace(ignore_volume=1))) == [(1, 0, 50, 10.0)]


def test_a_missing_bar_waits_and_is_marked_at_the_last_price(play, lines) -> None:
    bars = [[quiet(100.0, 100.0)], [quiet(100.0, 104.0)], [None], [None], [quiet(90.0, 95.0)]]
    result = play(bars, [(0, 0, 0, 0.5), (1, 0, 0, 0.0)])
    assert lines(result) == [(1, 0, 5, 100.0), (4, 0, -5, 90.0)]
    assert result.equity.tolist() == [1_000.0, 1_020.0, 1_020.0, 1_020.0, 950.0]


def test_a_coarse_bar_opened_before_the_decision_is_history(play, lines) -> None:
    """A daily instrument among hourly bars, decided in mid-day: that day's bar, known at midnight, opened too early."""
    day = 24.0 * HOUR
    first, second, third = ((p, p + 5.0, p - 5.0, p, 1e6, day) for p in (100.0, 110.0, 120.0))
    bars = [[quiet(50.0, 50.0), None] for _ in range(72)]
    bars[23][1], bars[47][1], bars[71][1] = first, second, third
    result = play(bars, [(30, 0, 1, 0.5)])
    assert lines(result) == [(71, 1, 5, 120.0)]
    result = play(bars, [(23, 0, 1, 0.5)])
    assert lines(result) == [(47, 1, 5, 110.0)]


# --- rejections, order of matching, cash ----------------------------------------------------------------------------


def test_rejections_belong_to_the_seed_and_the_order(play, story, flat) -> None:
    decisions = [(k, 0.1 + 0.1 * (k % 2)) for k in range(60)]
    style = PLAIN._replace(seed=3)
    result = play(flat(10.0, 62), decisions, costs=Costs(reject=0.4), style=style)
    rejected = {int(o["order_id"]) for o in result.orders if o["reason"] == 5}
    assert 10 < len(rejected) < 40
    from trimtab.rules.orders import draw

    ids = [int(o["order_id"]) for o in result.orders]
    assert rejected == {k for k in ids if draw(3, k) < 0.4}
    other = play(flat(10.0, 62), decisions, costs=Costs(reject=0.4), style=style._replace(seed=4))
    assert rejected != {int(o["order_id"]) for o in other.orders if o["reason"] == 5}


def test_reductions_come_before_increases_at_one_open(play, lines) -> None:
    """The sale of the second instrument pays for the first, which stands before it."""
    bars = [[quiet(100.0, 100.0), quiet(50.0, 50.0)]] * 3
    result = play(bars, [(0, 0, 1, 1.0), (1, 0, 1, 0.0), (1, 0, 0, 1.0)])
    assert lines(result) == [(1, 1, 20, 50.0), (2, 1, -20, 50.0), (2, 0, 10, 100.0)]


def test_weight_one_buys_all_that_cash_pays_for(play, lines, story) -> None:
    costs = Costs(taker_fee=0.001, half_spread=0.0005)
    result = play([quiet(10.0, 10.0), quiet(10.2, 10.2), quiet(10.2, 10.2)], [(0, 1.0)], costs=costs)
    price = 10.2 * 1.0005
    lots = math.floor(1_000.0 / (price * 1.001))
    assert lines(result) == [(1, 0, lots, pytest.approx(price, rel=1e-15))]
    assert 0.0 <= result.book.cash[0] < price * 1.001
    assert story(result) == [(100, lots, "CANCELED", "cut to the cash that there is")]


def test_all_of_it_when_it_fits_exactly(play, lines) -> None:
    assert lines(play([quiet(3.3, 3.3)] * 2, [(0, 1.0)], capital=7 * 3.3)) == [(1, 0, 7, 3.3)]


def test_no_cash_no_purchase(play, story) -> None:
    bars = [[quiet(100.0, 100.0), quiet(100.0, 100.0)]] * 4
    result = play(bars, [(0, 0, 0, 1.0), (1, 0, 1, 1.0)])
    assert story(result) == [(10, 10, "FILLED", ""), (10, 0, "CANCELED", "no cash")]


def test_cash_is_the_wallet_of_the_venue(play, story) -> None:
    instruments = [Instrument(symbol="A", lot_size=1.0, venue="one"), Instrument(symbol="B", lot_size=1.0, venue="two")]
    bars = [[quiet(100.0, 100.0), quiet(100.0, 100.0)]] * 3
    result = play(bars, [(0, 0, 0, 0.3), (0, 0, 1, 0.3)], instruments=instruments)
    assert story(result) == [(3, 3, "FILLED", ""), (3, 0, "CANCELED", "no cash")]


def test_cash_is_never_overspent_by_an_order_of_yesterday(play) -> None:
    """Parts of one order on two days: what was bought yesterday counts for impact, and for the cash it takes."""
    bars = [(10.0, 10.0, 10.0, 10.0, 2_000.0)] * 48 + [(10.0, 10.0, 10.0, 10.0, 60_000.0)] * 3
    result = play(bars, [(45, 1.0)], costs=Costs(impact=0.3, participation=0.1), capital=10_000.0)
    assert len(result.fills) >= 2
    assert set((result.fills["ts"] // (24 * HOUR)).tolist()) == {19724, 19725}
    assert result.book.cash[0] >= 0.0


def test_buying_back_a_short_is_never_refused(play, lines) -> None:
    """Sold short at 100, bought back at 300: there is no cash for it, and it must happen."""
    bars = [quiet(100.0, 100.0), quiet(100.0, 100.0), quiet(300.0, 300.0)]
    result = play(bars, [(0, -1.0), (1, 0.0)])
    assert lines(result) == [(1, 0, -10, 100.0), (2, 0, 10, 300.0)]
    assert result.book.cash[0] == 1_000.0 + 1_000.0 - 3_000.0


def test_costs_beyond_the_price_do_not_fill(play, story) -> None:
    bars = [quiet(10.0, 10.0)] * 3
    result = play(bars, [(0, -0.5)], costs=Costs(slippage=1.5))
    assert story(result) == [(-50, 0, "NEW", "costs exceed the price")]
    assert len(result.fills) == 0
