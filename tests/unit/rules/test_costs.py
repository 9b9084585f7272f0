"""What taking costs, number for number (design §6.1, §6.2, §6.12)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trimtab.rules.match import (
    Quote,
    Row,
    Touch,
    affordable,
    cap_of,
    capped_quote,
    delay_of,
    half_spread_now,
    impact_of,
    latency_of,
    outlay,
    taker_quote,
)
from trimtab.types import HOUR, Costs

BPS = 1e-4


def row(mid: float = 100.0, vol: float = 0.02, average: float = 1e6, volume: float = 1e6) -> Row:
    return Row(mid, mid, mid, volume, vol, average, float(HOUR))


# side, mid, full spread, size, average daily volume, bps of impact at size = average -> price, naive prices
VECTORS = [
    ("buy", 100.0, 0.02, 10_000.0, 1e6, 10.0, 100.02, (100.03, 101.01, 100.011)),
    ("sell", 100.0, 0.02, 10_000.0, 1e6, 10.0, 99.98, (99.97, 98.99, 99.989, 100.02)),
    ("buy", 100.0, 0.02, 40_000.0, 1e6, 10.0, 100.03, (100.04, 102.01, 100.014)),
    ("buy", 2.5, 0.0001, 1.0, 1e9, 8.0, 2.500050063245553, (2.500100063245553, 2.5000563245553202, 2.500050000002)),
    ("buy", 10.0, 0.01, 4e6, 1e6, 10.0, 10.025, (10.03, 12.005, 10.045)),
    ("buy", 100.0, 0.02, 10_000.0, 1e6, 0.0, 100.01, (100.02,)),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_square_root_impact_and_half_spread(vector: tuple[object, ...]) -> None:
    side, mid, spread, size, average, bps, price, naive = vector
    costs = Costs(half_spread=spread / 2 / mid, impact=bps * BPS)  # type: ignore[operator]
    signed = 1.0 if side == "buy" else -1.0
    quote = Quote(*taker_quote(signed, mid, size, 0.0, row(mid, average=average), costs, 0))
    assert quote.price == pytest.approx(price, rel=1e-12)
    for wrong in naive:  # type: ignore[attr-defined]
        assert quote.price != pytest.approx(wrong, rel=1e-9)
    total = quote.spread + quote.slippage + quote.impact + quote.latency
    assert quote.price == pytest.approx(mid * (1.0 + signed * total), rel=1e-15)  # type: ignore[operator]


def test_children_of_one_order_pay_what_the_whole_pays() -> None:
    costs = Costs(impact=10 * BPS)
    children = [impact_of(10_000.0, 10_000.0 * k, 1e6, costs) for k in range(4)]
    expected = [1.0, 1.8284271247461903, 2.3677252979604417, 2.803847577293368]
    assert np.allclose(np.array(children) / BPS, expected, rtol=1e-12, atol=0.0)
    assert sum(children) / 4 == pytest.approx(impact_of(40_000.0, 0.0, 1e6, costs), rel=1e-12)
    assert sum(c * 100.0 * 10_000.0 for c in children) == pytest.approx(800.0, rel=1e-12)


@given(
    st.lists(st.floats(1.0, 1e6), min_size=2, max_size=8),
    st.floats(1e3, 1e9),
    st.sampled_from([0.25, 0.5, 0.6, 1.0]),
)
def test_slicing_is_never_cheaper(slices: list[float], average: float, power: float) -> None:
    costs = Costs(impact=0.01, impact_power=power)
    paid, done = 0.0, 0.0
    for size in slices:
        part = impact_of(size, done, average, costs)
        assert part >= 0.0
        paid += part * size
        done += size
    whole = impact_of(done, 0.0, average, costs) * done
    assert paid >= whole * (1.0 - 1e-9)


def test_impact_needs_a_known_volume() -> None:
    costs = Costs(impact=0.001)
    assert impact_of(100.0, 0.0, np.nan, costs) == 0.0  # execute() refuses such a fill: see test_fills
    assert impact_of(100.0, 0.0, 0.0, costs) == 0.0


def test_spread_widens_with_volatility() -> None:
    assert half_spread_now(Costs(half_spread=0.001, vol_spread=0.1), 0.02) == 0.001 + 0.1 * 0.02
    assert half_spread_now(Costs(half_spread=0.001), np.nan) == 0.001
    assert np.isnan(half_spread_now(Costs(half_spread=0.001, vol_spread=0.1), np.nan))


@pytest.mark.parametrize(
    ("seconds", "bars", "rest"),
    [(0.0, 0, 0.0), (900.0, 0, 0.25), (3600.0, 1, 0.0), (4500.0, 1, 0.25), (9900.0, 2, 0.75)],
)
def test_latency_below_the_bar_costs_and_beyond_it_shifts(seconds: float, bars: int, rest: float) -> None:
    costs = Costs(latency=seconds)
    assert delay_of(costs, float(HOUR)) == bars * HOUR
    assert latency_of(costs, row(vol=0.02)) == pytest.approx(0.02 * math.sqrt(rest), abs=1e-15)


def test_a_limit_caps_what_a_taker_pays() -> None:
    quote = Quote(*taker_quote(1.0, 100.0, 100.0, 0.0, row(), Costs(half_spread=0.001, slippage=0.002), 1))
    assert Quote(*capped_quote(quote, 1.0, 100.0, np.nan)) == quote
    assert Quote(*capped_quote(quote, 1.0, 100.0, 101.0)) == quote
    capped = Quote(*capped_quote(quote, 1.0, 100.0, 100.2))
    assert capped.price == 100.2
    assert capped.spread == 0.001
    assert capped.slippage == pytest.approx(0.001, rel=1e-9)


@given(
    st.sampled_from([1.0, -1.0]),
    st.floats(0.0, 0.002),
    st.floats(0.0, 0.01),
    st.floats(0.0, 0.01),
    st.floats(0.0, 3599.0),
    st.floats(0.0, 0.05),
)
def test_no_kind_of_cost_is_negative(
    side: float, half: float, slippage: float, impact: float, latency: float, reach: float
) -> None:
    costs = Costs(half_spread=half, slippage=slippage, impact=impact, latency=latency)
    quote = Quote(*taker_quote(side, 100.0, 1e5, 0.0, row(), costs, 1))
    limit = 100.0 * (1.0 + side * (half + reach))  # marketable: at or through the near side
    capped = Quote(*capped_quote(quote, side, 100.0, limit))
    assert side * (limit - capped.price) >= 0.0
    parts = (capped.spread, capped.slippage, capped.impact, capped.latency)
    assert min(parts) >= -1e-15
    assert capped.price == pytest.approx(100.0 * (1.0 + side * sum(parts)), rel=1e-14)


def test_participation_cap_in_whole_lots() -> None:
    assert cap_of(0.1, 1_005.0, 1.0, 0) == 100
    assert cap_of(0.1, 1_005.0, 0.5, 0) == 201
    assert cap_of(np.inf, 1_005.0, 1.0, 0) == 2**53
    for silent in (0.0, np.nan):
        assert cap_of(0.1, silent, 1.0, 0) == 0
        assert cap_of(0.1, silent, 1.0, 1) == 2**53
    assert cap_of(0.1, 1_005.0, 1.0, 1) == 100  # a known volume still caps


TAKER = Touch(100.0, 0, np.nan, 0, 0)


def pays(lots: int, before: float, costs: Costs, touch: Touch = TAKER) -> float:
    return float(outlay(lots, 1.0, 1.0, touch.mid, before, row(), costs, touch))


def test_outlay_is_price_and_fee() -> None:
    costs = Costs(taker_fee=0.001, maker_fee=0.0005, half_spread=0.002, slippage=0.003)
    assert pays(10, 0.0, costs) == pytest.approx(10 * 100.0 * 1.005 * 1.001, rel=1e-15)
    assert pays(10, 0.0, costs, Touch(100.0, 1, np.nan, 0, 0)) == pytest.approx(10 * 100.0 * 1.0005, rel=1e-15)
    assert pays(10, 0.0, costs, Touch(100.0, 0, 100.1, 0, 0)) == pytest.approx(10 * 100.1 * 1.001, rel=1e-15)


@given(
    st.integers(1, 10**7),
    st.floats(-10.0, 1e9),
    st.floats(0.0, 1e6),
    st.sampled_from([0.0, 0.001, 0.01, 0.1, 1.0, 10.0]),
    st.sampled_from([0.5, 1.0]),
    st.floats(0.0, 0.01),
)
def test_a_buy_takes_all_that_cash_pays_for_and_no_more(
    lots: int, cash: float, before: float, impact: float, power: float, fee: float
) -> None:
    costs = Costs(taker_fee=fee, half_spread=0.0005, impact=impact, impact_power=power)
    bought = int(affordable(lots, cash, 1.0, 1.0, 100.0, before, row(), costs, TAKER))
    assert 0 <= bought <= lots
    assert bought == 0 or pays(bought, before, costs) <= cash
    if bought < lots:
        assert pays(bought + 1, before, costs) > cash


def test_exactly_enough_cash_is_enough() -> None:
    for price, count in [(0.1, 3), (3.3, 7), (1.1, 49), (100.0, 10)]:
        touch = Touch(price, 0, np.nan, 0, 0)
        cash = float(outlay(count, 1.0, 1.0, price, 0.0, row(price), Costs(), touch))
        assert affordable(1_000, cash, 1.0, 1.0, price, 0.0, row(price), Costs(), touch) == count


@given(st.floats(0.01, 1e4), st.integers(1, 10**6), st.integers(1, 10**6))
def test_exactly_enough_cash_whatever_the_price(price: float, count: int, more: int) -> None:
    touch = Touch(price, 0, np.nan, 0, 0)
    cash = float(outlay(count, 1.0, 1.0, price, 0.0, row(price), Costs(), touch))
    assume(float(outlay(count + 1, 1.0, 1.0, price, 0.0, row(price), Costs(), touch)) > cash)
    assert affordable(count + more, cash, 1.0, 1.0, price, 0.0, row(price), Costs(), touch) == count
