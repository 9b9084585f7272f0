"""One order against one bar (design §6.2–§6.4): where it meets the market, and whether as taker or maker."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.rules.book import ORDER
from trimtab.rules.match import Row, Touch, meet_inside, meet_open
from trimtab.types import HOUR, LIMIT, MARKET, ORDER_KINDS, STOP, STOP_LIMIT, TAKE_PROFIT, TRAILING, Costs

FREE = Costs()
SPREAD = Costs(half_spread=0.01)
NAN = float("nan")


def order(kind: int, side: int, *, limit: float = NAN, stop: float = NAN, arrived: int = 1, triggered: int = 0):
    o = np.zeros(1, ORDER)
    o["lots"], o["kind"], o["limit_price"], o["stop_price"] = 10 * side, kind, limit, stop
    o["arrived"], o["triggered"] = arrived, triggered
    return o[0]


def bar(open: float, high: float, low: float, vol: float = 0.0) -> Row:
    return Row(open, high, low, 1e6, vol, 1e6, float(HOUR))


def at_open(o: object, side: int, row: Row, costs: Costs = FREE) -> Touch:
    return Touch(*meet_open(o, float(side), row, costs))


def inside(o: object, side: int, row: Row, costs: Costs = FREE, there: bool = True) -> Touch:
    return Touch(*meet_inside(o, float(side), row, costs, there))


def met(touch: Touch) -> bool:
    return touch.mid > 0.0


def test_market_takes_the_open_and_nothing_inside() -> None:
    o = order(MARKET, 1, arrived=0)
    touch = at_open(o, 1, bar(100.0, 110.0, 90.0))
    assert (touch.mid, touch.maker) == (100.0, 0)
    assert np.isnan(touch.limit)
    assert not met(inside(o, 1, bar(100.0, 110.0, 90.0)))


@pytest.mark.parametrize(
    ("side", "limit", "row", "fills"),
    [
        (1, 95.0, bar(100.0, 101.0, 95.0), False),  # touched is not through
        (1, 95.0, bar(100.0, 101.0, 94.99), True),
        (-1, 105.0, bar(100.0, 105.0, 99.0), False),
        (-1, 105.0, bar(100.0, 105.01, 99.0), True),
        (1, 95.0, bar(90.0, 91.0, 89.0), True),  # gapped through: still its own price
    ],
)
def test_a_resting_limit_fills_strictly_through_at_its_own_price_as_maker(
    side: int, limit: float, row: Row, fills: bool
) -> None:
    o = order(LIMIT, side, limit=limit)
    assert not met(at_open(o, side, row, SPREAD))
    touch = inside(o, side, row, SPREAD)
    assert met(touch) == fills
    if fills:
        assert (touch.mid, touch.maker) == (limit, 1)


@pytest.mark.parametrize(("side", "limit", "takes"), [(1, 101.0, True), (1, 100.99, False), (-1, 99.0, True)])
def test_a_limit_takes_on_arrival_when_it_reaches_the_near_side(side: int, limit: float, takes: bool) -> None:
    o = order(LIMIT, side, limit=limit, arrived=0)
    touch = at_open(o, side, bar(100.0, 102.0, 98.0), SPREAD)  # near side 101 and 99
    assert met(touch) == takes
    if takes:
        assert (touch.mid, touch.maker, touch.limit) == (100.0, 0, limit)
    assert not met(at_open(order(LIMIT, side, limit=limit, arrived=1), side, bar(100.0, 102.0, 98.0), SPREAD))


@pytest.mark.parametrize("kind", [STOP, TRAILING])
@pytest.mark.parametrize(
    ("side", "stop", "row", "opens", "level"),
    [
        (1, 105.0, bar(100.0, 105.0, 99.0), False, 105.0),  # touched is enough
        (1, 105.0, bar(100.0, 104.99, 99.0), False, None),
        (1, 105.0, bar(107.0, 108.0, 106.0), True, 107.0),  # gap: the open
        (-1, 95.0, bar(100.0, 101.0, 95.0), False, 95.0),
        (-1, 95.0, bar(100.0, 101.0, 95.01), False, None),
        (-1, 95.0, bar(90.0, 94.0, 89.0), True, 90.0),
    ],
)
def test_a_stop_triggers_on_touch_and_gaps_to_the_open(
    kind: int, side: int, stop: float, row: Row, opens: bool, level: float | None
) -> None:
    o = order(kind, side, stop=stop)
    first = at_open(o, side, row)
    assert met(first) == opens
    touch = first if opens else inside(o, side, row)
    assert met(touch) == (level is not None)
    if level is not None:
        assert (touch.mid, touch.maker, touch.triggered) == (level, 0, 1)


def test_a_stop_placed_inside_the_bar_knows_nothing_of_its_open() -> None:
    o = order(STOP, -1, stop=95.0)
    row = bar(94.0, 101.0, 93.0)  # a position opened inside, by a limit: the open is history
    assert inside(o, -1, row, there=True).mid == 94.0
    assert inside(o, -1, row, there=False).mid == 95.0


def test_a_triggered_stop_that_could_not_fill_takes_the_next_open() -> None:
    o = order(STOP, -1, stop=95.0, triggered=1)
    assert at_open(o, -1, bar(99.0, 101.0, 98.0)).mid == 99.0
    assert not met(inside(o, -1, bar(99.0, 101.0, 90.0)))


def test_stop_limit_triggers_then_takes_if_it_reaches_else_rests() -> None:
    reaches = order(STOP_LIMIT, 1, limit=106.1, stop=105.0)
    touch = inside(reaches, 1, bar(100.0, 107.0, 99.0), SPREAD)  # 105 x 1.01 = 106.05
    assert (touch.mid, touch.maker, touch.limit, touch.triggered) == (105.0, 0, 106.1, 1)
    short = order(STOP_LIMIT, 1, limit=106.0, stop=105.0)
    touch = inside(short, 1, bar(100.0, 107.0, 99.0), SPREAD)
    assert not met(touch)
    assert touch.triggered == 1
    rests = order(STOP_LIMIT, 1, limit=106.0, stop=105.0, triggered=1)
    assert not met(at_open(rests, 1, bar(100.0, 110.0, 99.0), SPREAD))
    touch = inside(rests, 1, bar(108.0, 110.0, 105.9), SPREAD)
    assert (touch.mid, touch.maker) == (106.0, 1)
    asleep = order(STOP_LIMIT, 1, limit=106.0, stop=105.0)
    assert not met(inside(asleep, 1, bar(100.0, 104.0, 99.0)))  # never triggered: its limit does not rest


def test_stop_limit_at_a_gapping_open() -> None:
    touch = at_open(order(STOP_LIMIT, 1, limit=106.0, stop=105.0), 1, bar(110.0, 111.0, 109.0))
    assert not met(touch)  # triggered, but the market is beyond its limit
    assert touch.triggered == 1
    touch = at_open(order(STOP_LIMIT, 1, limit=112.0, stop=105.0), 1, bar(110.0, 111.0, 109.0))
    assert (touch.mid, touch.limit, touch.triggered) == (110.0, 112.0, 1)


def test_take_profit_rests_like_a_limit() -> None:
    o = order(TAKE_PROFIT, -1, limit=110.0)
    assert not met(inside(o, -1, bar(100.0, 110.0, 99.0)))
    touch = inside(o, -1, bar(100.0, 110.01, 99.0))
    assert (touch.mid, touch.maker) == (110.0, 1)
    assert not met(at_open(o, -1, bar(115.0, 116.0, 114.0)))


def test_sells_mirror_buys_for_every_kind() -> None:
    """Reflecting prices about 100 turns every buy into a sell at the reflected price."""
    rng = np.random.default_rng(0)
    for _ in range(3_000):
        kind = int(rng.integers(len(ORDER_KINDS)))
        limit, stop = 100.0 + rng.integers(-6, 7, 2) * 1.0
        o = 100.0 + float(rng.integers(-4, 5))
        high, low = o + float(rng.integers(0, 4)), o - float(rng.integers(0, 4))
        arrived, triggered, there = (int(x) for x in rng.integers(0, 2, 3))
        buy = order(kind, 1, limit=limit, stop=stop, arrived=arrived, triggered=triggered)
        sell = order(kind, -1, limit=200.0 - limit, stop=200.0 - stop, arrived=arrived, triggered=triggered)
        mirrored = bar(200.0 - o, 200.0 - low, 200.0 - high)
        row = bar(o, high, low)
        pairs = [
            (at_open(buy, 1, row), at_open(sell, -1, mirrored)),
            (inside(buy, 1, row, there=bool(there)), inside(sell, -1, mirrored, there=bool(there))),
        ]
        for one, other in pairs:
            assert (one.maker, one.triggered, met(one)) == (other.maker, other.triggered, met(other))
            assert not met(one) or one.mid == 200.0 - other.mid
