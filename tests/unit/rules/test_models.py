"""Several models over one account (design §6.13, §6.14, §7): decisions, netting, crossing, sharing."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.rules.book import Style
from trimtab.types import GTC, HOUR, MARKET, Costs, Instrument, Limits

PLAIN = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 0)


def steps(*opens: float) -> list[list[tuple[float, ...]]]:
    """One instrument whose bars open and close at these prices."""
    return [[(p, p, p, p)] for p in opens]


def test_an_equal_weight_is_no_decision(play, lines) -> None:
    bars = steps(100.0, 100.0, 200.0, 200.0, 200.0)
    same = play(bars, [(0, 0, 0, 0.5), (2, 0, 0, 0.5)])
    assert lines(same) == [(1, 0, 5, 100.0)]
    always = play(bars, [(0, 0, 0, 0.5), (2, 0, 0, 0.5)], style=PLAIN._replace(always=1))
    assert lines(always) == [(1, 0, 5, 100.0), (3, 0, -2, 200.0)]  # half of 1,500 is 3 lots of 200


def test_the_last_bit_of_a_weight_is_a_decision(play, lines) -> None:
    bars = steps(100.0, 100.0, 200.0, 200.0, 200.0)
    result = play(bars, [(0, 0, 0, 0.5), (2, 0, 0, np.nextafter(0.5, 1.0))])
    assert lines(result) == [(1, 0, 5, 100.0), (3, 0, -2, 200.0)]


def test_a_buffer_stops_small_trades_and_no_exit(play, lines) -> None:
    style = PLAIN._replace(always=1, buffer=0.05)
    bars = steps(100.0, 100.0, 104.0, 104.0, 104.0)
    inside = play(bars, [(0, 0, 0, 0.5), (2, 0, 0, 0.48)], style=style)
    assert [x[2] for x in lines(inside)] == [5]
    outside = play(bars, [(0, 0, 0, 0.5), (2, 0, 0, 0.3)], style=style)
    assert [x[2] for x in lines(outside)] == [5, -3]  # 0.3 x 1,020 / 104 = 2.9
    leaves = play(bars, [(0, 0, 0, 0.04), (2, 0, 0, 0.0)], style=style, capital=10_000.0)
    assert [x[2] for x in lines(leaves)] == [4, -4]
    enters = play(bars, [(0, 0, 0, 0.04)], style=style, capital=10_000.0)
    assert [x[2] for x in lines(enters)] == [4]


def test_drift_inside_the_buffer_stays_and_beyond_it_is_traded(play, lines) -> None:
    style = PLAIN._replace(always=1, buffer=0.05)
    bars = steps(100.0, 100.0, 110.0, 140.0, 140.0)
    every = [(k, 0, 0, 0.5) for k in range(4)]
    # At 110 the drift is 0.5 x (1,050 / 110) = 4.77 lots against 5: 2.4% of equity. At 140: 4.29 lots, 8.3%.
    assert [(x[0], x[2]) for x in lines(play(bars, every, style=style))] == [(1, 5), (4, -1)]


def test_models_are_netted_and_rounded_once(play, lines) -> None:
    bars = steps(100.0, 100.0)
    result = play(bars, [(0, 0, 0, 0.16), (0, 1, 0, 0.16)])
    assert lines(result) == [(1, 0, 3, 100.0)]
    assert result.shares.tolist() == [[1.5, 1.5]]
    assert result.book.target[:, 0].tolist() == [1.6, 1.6]


def test_opposite_wishes_from_flat_cross_at_mid_and_the_rest_trades(play, lines) -> None:
    costs = Costs(taker_fee=0.001, half_spread=0.002, slippage=0.003)
    bars = steps(100.0, 100.0, 100.0)
    result = play(bars, [(0, 0, 0, 0.8), (0, 1, 0, -0.3)], costs=costs)
    crossed, traded = result.fills
    assert (crossed["order_id"], crossed["lots"], crossed["crossed"], crossed["price"]) == (0, 0, 3.0, 100.0)
    assert (crossed["fee"], crossed["spread"], crossed["slippage"]) == (0.0, 0.0, 0.0)
    assert result.shares.tolist() == [[3.0, -3.0], [5.0, 0.0]]
    assert traded["lots"] == 5
    # Two sides of three lots would each have paid fee, half spread and slippage.
    assert result.book.head["saved"][0] == pytest.approx(2 * 300.0 * 0.006)
    paid = float(traded["fee"] + traded["spread"] + traded["slippage"])
    assert result.cost[-1].tolist() == pytest.approx([paid, 0.0])
    assert result.pnl[-1].sum() == pytest.approx(result.equity[-1] - 1_000.0)


def test_a_hand_over_trades_nothing(play, lines) -> None:
    bars = steps(100.0, 100.0, 120.0, 150.0)
    costs = Costs(taker_fee=0.01)
    result = play(bars, [(0, 0, 0, 0.5), (1, 0, 0, 0.0), (1, 1, 0, 0.51)], costs=costs)
    fills = result.fills
    # 51% of 995 is 5.07 lots: five of them are there for the taking, and no whole lot is missing.
    assert [int(x) for x in fills["lots"]] == [5, 0]
    assert fills["crossed"][1] == pytest.approx(5.0)
    assert fills["price"][1] == 120.0
    # The first model made the step to 120 and paid the fee; the second has what came after.
    assert result.pnl[-1].tolist() == pytest.approx([5 * 20.0 - 5.0, 5 * 30.0])
    assert result.book.held[:, 0].tolist() == pytest.approx([0.0, 5.0])


def test_crossings_meet_no_open_from_before_the_decision(play, lines) -> None:
    """A daily instrument decided in mid-day: that day's open is history for an exchange between models, too."""
    day = 24.0 * HOUR
    bars: list[list[object]] = [[(50.0, 50.0, 50.0, 50.0), None] for _ in range(72)]
    for t, p in ((23, 100.0), (47, 110.0), (71, 130.0)):
        bars[t][1] = (p, p, p, p, 1e6, day)
    result = play(bars, [(30, 0, 1, 0.5), (30, 1, 1, -0.2)])
    assert all(x[0] == 71 and x[3] == 130.0 for x in lines(result)), lines(result)


def test_saved_costs_stay_a_number_before_volatility_is_known(play) -> None:
    bars = steps(*[100.0] * 6)
    result = play(bars, [(0, 0, 0, 0.5), (0, 1, 0, -0.2)], costs=Costs(taker_fee=0.001, vol_spread=0.1))
    assert result.book.head["saved"][0] >= 0.0


def test_what_remains_is_shared_by_the_gaps_and_fees_by_size(play) -> None:
    costs = Costs(taker_fee=0.01)
    result = play(steps(100.0, 100.0), [(0, 0, 0, 0.6), (0, 1, 0, 0.2), (0, 2, 0, 0.0)], costs=costs)
    assert result.shares.tolist() == [[6.0, 2.0, 0.0]]
    assert result.book.charges[:, 0, 0].tolist() == pytest.approx([6.0, 2.0, 0.0])


def test_a_partial_fill_is_shared_by_the_gaps_and_completed_later(play) -> None:
    bars = [[(100.0, 100.0, 100.0, 100.0, v)] for v in (1e3, 40.0, 40.0, 1e3)]
    result = play(bars, [(0, 0, 0, 0.6), (0, 1, 0, 0.2)], costs=Costs(participation=0.1))
    assert result.fills["lots"].tolist() == [4, 4]
    assert result.shares == pytest.approx(np.array([[3.0, 1.0], [3.0, 1.0]]))


def test_a_cut_by_the_gate_is_shared_pro_rata(play) -> None:
    result = play(steps(100.0, 100.0), [(0, 0, 0, 0.6), (0, 1, 0, 0.2)], limits=Limits(max_weight=0.4))
    assert result.fills["lots"].tolist() == [4]
    assert result.shares == pytest.approx(np.array([[3.0, 1.0]]))


def test_parts_add_up_after_many_decisions(play) -> None:
    rng = np.random.default_rng(2)
    bars = steps(*(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, 400)))).tolist())
    decisions = [(int(t), int(m), 0, float(rng.integers(-4, 5)) / 10) for t in range(399) for m in range(3)]
    result = play(
        bars, decisions, costs=Costs(taker_fee=0.001, half_spread=0.0005), limits=Limits(0.9, 0.5), capital=1e6
    )
    whole = result.fills["lots"]
    assert np.abs(result.shares.sum(axis=1) - whole).max() <= 1e-9 * np.abs(result.shares).max()
    assert result.book.held.sum() == pytest.approx(int(result.book.positions["lots"][0]), abs=1e-6)
    assert result.pnl[-1].sum() == pytest.approx(result.equity[-1] - 1e6, abs=1e-5)
    assert (result.fills["crossed"] > 0.0).sum() > 100


def test_a_part_of_one_lot_is_a_holding_however_many_lots_it_traded(play) -> None:
    """A model gives back a billion lots of a millionth each: what whole lots leave it short of is its own."""
    instruments = [Instrument(symbol="A", lot_size=1e-6)]
    bars = steps(100.0, 100.0, 100.0, 100.0, 50.0)
    # Half of equity is 2,000,000,000.6 lots, a quarter is 1,000,000,000.3; three billion whole ones are bought. When
    # the second model leaves, the first takes over the 0.6 that it still wants, and a billion whole ones are sold.
    decisions = [(0, 0, 0, 0.5), (0, 1, 0, 0.25), (1, 1, 0, 0.0)]
    result = play(bars, decisions, instruments=instruments, capital=400_000.00012)
    assert result.fills["lots"].tolist() == [3_000_000_000, 0, -1_000_000_000]
    assert result.fills["crossed"][1] == pytest.approx(0.6, abs=1e-5)
    assert result.book.held[:, 0].tolist() == pytest.approx([2e9 + 0.6, -0.6], rel=0.0, abs=1e-5)
    assert result.book.held.sum() == 2e9
    # 0.6 lots of 50 would be 3e-5; the parts add up to what sums of 4e5 can say.
    assert result.pnl[-1].sum() == pytest.approx(result.equity[-1] - 400_000.00012, rel=0.0, abs=4e-10)


def test_parts_are_those_of_the_position_to_the_last_bits(play) -> None:
    """Three models, thousands of exchanges of up to 1e10 lots: what rounding leaves does not grow with their number."""
    rng = np.random.default_rng(3)
    instruments = [Instrument(symbol="A", lot_size=1e-6)]
    prices = (100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, 2_000)))).tolist()
    decisions = [(int(t), int(m), 0, float(rng.integers(-3, 4)) / 10) for t in range(1_998) for m in range(3)]
    decisions += [(1_998, m, 0, 0.0) for m in range(3)]
    result = play(steps(*prices), decisions, instruments=instruments, capital=1e6, costs=Costs(taker_fee=1e-5))
    largest = float(np.abs(result.shares).max())
    assert result.book.held[:, 0].tolist() == [0.0, 0.0, 0.0]  # nothing of what was given back whole
    assert np.abs(result.shares.sum(axis=1) - result.fills["lots"]).max() <= 4.0 * np.spacing(largest)
    assert result.pnl[-1].sum() == pytest.approx(result.equity[-1] - 1e6, rel=0.0, abs=1e-7)


def test_a_weight_without_a_price_is_refused_by_name(play) -> None:
    bars = [[(100.0, 100.0, 100.0, 100.0), None]] * 3
    result = play(bars, [(0, 0, 1, 0.5)])
    assert len(result.orders) == 0
    assert result.actions["limit"].tolist() == [9]
    assert result.actions["instrument"].tolist() == [1]
