"""Room under the limits where an order fills (design §8, decision 004): a purchase does not run ahead of a sale."""

from __future__ import annotations

import numpy as np

from trimtab.rules.book import NO_GROUPS, Style
from trimtab.rules.orders import REASONS
from trimtab.types import GTC, LIMIT, MARKET, Costs, Instrument, Limits

PLAIN = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 0)
RESTING = PLAIN._replace(kind=LIMIT, offset=0.05)
ONE = (100.0, 100.0, 100.0, 100.0)
DRY = (*ONE, 0.0)
WHOLE = Limits(gross_leverage=1.0)


def test_what_comes_in_waits_for_what_cannot_go(play, lines, story) -> None:
    """The first has no volume to be sold in: the second, sold short in its place, waits and comes in behind it."""
    bars = [[ONE, ONE]] * 2 + [[DRY, ONE]] * 2 + [[ONE, ONE]] * 2
    result = play(bars, [(0, 0, 0, 1.0), (1, 0, 0, 0.0), (1, 0, 1, -1.0)], limits=WHOLE)
    assert lines(result) == [(1, 0, 10, 100.0), (4, 0, -10, 100.0), (4, 1, -10, 100.0)]
    assert story(result)[2] == (-10, -10, "FILLED", "")
    waited = {int(o["order_id"]): REASONS[o["waited"]] for o in result.orders}
    assert waited == {
        1: "",
        2: "waiting: no volume in the bar",
        3: "waiting: a limit of the book, until what is to go has gone",
    }


def test_an_exit_at_a_limit_that_is_not_reached_holds_the_other_back(play, lines) -> None:
    """Both are limit orders; the exit's price is not met, the entry's is: it has no room and does not fill."""
    dip, rise = (100.0, 100.0, 90.0, 100.0), (100.0, 120.0, 100.0, 100.0)
    bars = [[ONE, ONE], [dip, ONE], [ONE, rise], [ONE, rise], [rise, ONE], [ONE, rise]]
    result = play(
        bars, [(0, 0, 0, 0.9), (1, 0, 0, 0.0), (1, 0, 1, -0.9)], limits=Limits(gross_leverage=0.9), style=RESTING
    )
    assert [x[:2] for x in lines(result)] == [(1, 0), (4, 0), (5, 1)]


def test_part_of_the_room_is_used_at_once(play, lines) -> None:
    bars = [[ONE, ONE]] * 4
    result = play(bars, [(0, 0, 0, 0.6), (1, 0, 0, 0.0), (1, 0, 1, -1.0)], limits=WHOLE, costs=[Costs(), Costs()])
    assert lines(result)[1:] == [(2, 0, -6, 100.0), (2, 1, -10, 100.0)]  # at one open reductions go first
    thin = [[ONE, ONE]] * 2 + [[DRY, ONE]] + [[ONE, ONE]]
    result = play(thin, [(0, 0, 0, 0.6), (1, 0, 0, 0.0), (1, 0, 1, -1.0)], limits=WHOLE)
    assert lines(result)[1:] == [(2, 1, -4, 100.0), (3, 0, -6, 100.0), (3, 1, -6, 100.0)]


def test_what_fits_no_more_is_not_waited_for(play, lines, story) -> None:
    """Half of a purchase waits for volume while the price doubles: the limit cuts the rest, and nothing is to go."""
    bars = [[ONE], [(*ONE, 40.0)], [(100.0, 200.0, 100.0, 200.0, 0.0)], [(200.0, 200.0, 200.0, 200.0)], [ONE]]
    limits = Limits(gross_leverage=0.6)
    result = play(bars, [(0, 0, 0, -0.6)], limits=limits, costs=Costs(participation=0.1))
    assert lines(result) == [(1, 0, -4, 100.0)]
    assert story(result) == [(-6, -4, "CANCELED", "cut to what a limit leaves room for")]


def test_max_weight_is_measured_where_a_late_order_fills(play, lines) -> None:
    bars = [[ONE], [(100.0, 200.0, 100.0, 200.0, 0.0)], [(200.0, 200.0, 200.0, 200.0)], [ONE]]
    result = play(bars, [(0, 0, 0, 0.5)], limits=Limits(max_weight=0.5))
    assert lines(result) == [(2, 0, 2, 200.0)]


def test_a_reversal_makes_its_own_room(play, lines) -> None:
    bars = [[ONE]] * 2 + [[DRY]] + [[ONE]] * 2
    result = play(bars, [(0, 0, 0, 1.0), (1, 0, 0, -1.0)], limits=WHOLE)
    assert lines(result) == [(1, 0, 10, 100.0), (3, 0, -10, 100.0), (3, 0, -10, 100.0)]


def test_weights_exactly_at_the_limit_are_not_cut(play, lines) -> None:
    instruments = [Instrument(symbol=s, lot_size=0.001) for s in "ABC"]
    bars = [[(p, p, p, p)] * 3 for p in (99.7, 99.7, 99.7)]
    decisions = [(0, 0, i, w) for i, w in enumerate((1 / 3, -1 / 3, -1 / 3))]
    result = play(bars, decisions, limits=WHOLE, instruments=instruments)
    assert [x[2] for x in lines(result)] == [3343, -3343, -3343]


def test_a_models_cap_holds_until_its_sale_has_gone(play, lines) -> None:
    """A model may hold 40% and turns from the first to the second; the first has no volume to be sold in."""
    capped = NO_GROUPS._replace(model_cap=np.array([0.4, np.inf]))
    bars = [[ONE, ONE]] * 2 + [[DRY, ONE]] * 2 + [[ONE, ONE]] * 2
    result = play(bars, [(0, 0, 0, 0.4), (1, 0, 0, 0.0), (1, 0, 1, 0.4)], groups=capped)
    assert lines(result) == [(1, 0, 4, 100.0), (4, 0, -4, 100.0), (4, 1, 4, 100.0)]
    other = play(bars, [(0, 0, 0, 0.4), (1, 0, 0, 0.0), (1, 1, 1, 0.4)], groups=capped)
    assert lines(other)[1] == (2, 1, 4, 100.0)  # another model's room is its own
