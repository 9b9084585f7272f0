"""The rarer limits (design §8), each alone and to hand-computed lots: what they cut, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.rules.book import NO_GROUPS, Groups, Setup, Style, new_log, open_book, terms_of
from trimtab.rules.breakers import judge, kill
from trimtab.rules.clusters import clusters
from trimtab.rules.decide import decide, is_due
from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.rules.orders import REASONS, draw
from trimtab.rules.trade import trade
from trimtab.sim.market import build_market
from trimtab.sim.setup import complete
from trimtab.types import DAY, GTC, LIMIT, MARKET, Costs, Instrument, Limits, Weights

ONE = (100.0, 100.0, 100.0, 100.0)
THREE = [Instrument(symbol=s, lot_size=1.0) for s in "ABC"]
STILL = [[ONE] * 3] * 4


def acted(result) -> list[tuple[int, str, int, str]]:
    a = result.actions
    return [
        (int(r), LIMIT_NAMES[k], int(i), ACTIONS[x])
        for r, k, i, x in zip(a["row"], a["limit"], a["instrument"], a["action"], strict=True)
    ]


def lots(result) -> list[int]:
    return result.book.positions["lots"].tolist()


def groups(**changes: object) -> Groups:
    return NO_GROUPS._replace(**{k: np.array(v) for k, v in changes.items()})


def test_a_kind_of_assets_has_a_cap_of_its_own(play) -> None:
    two = groups(asset_class=[0, 0, 1], class_cap=[0.4, np.inf])
    result = play(STILL, [(0, 0, i, 0.3) for i in range(3)], instruments=THREE, groups=two)
    assert lots(result) == [2, 2, 3]
    assert acted(result) == [(0, "asset_class", 0, "SCALE")]
    assert result.actions["wanted"][0] == pytest.approx(0.6)
    assert result.actions["allowed"][0] == 0.4


def test_a_venue_has_a_cap_of_its_own_both_sides_counted(play) -> None:
    one = groups(venue=[0, 1, 0], venue_cap=[0.5, 0.5])
    result = play(STILL, [(0, 0, 0, 0.5), (0, 0, 1, 0.5), (0, 0, 2, -0.5)], instruments=THREE, groups=one)
    assert lots(result) == [2, 5, -2]
    assert acted(result) == [(0, "venue", 0, "SCALE")]


def test_a_models_cap_scales_its_own_lots_alone(play) -> None:
    capped = groups(model_cap=[0.4, np.inf])
    decisions = [(0, 0, 0, 0.4), (0, 0, 1, 0.4), (0, 1, 2, 0.2)]
    result = play(STILL, decisions, instruments=THREE, groups=capped)
    assert lots(result) == [2, 2, 2]
    assert result.book.target.tolist() == [[2.0, 2.0, 0.0], [0.0, 0.0, 2.0]]
    assert result.actions["model"].tolist() == [0]
    later = play(STILL, [(0, 0, 0, 0.4), (1, 0, 1, 0.4)], instruments=THREE, groups=capped)
    assert lots(later) == [2, 2, 0]  # what stands makes room for what comes


def test_concentration_is_of_gross_and_lets_a_book_begin(play) -> None:
    limits = Limits(concentration=0.4)
    begun = play(STILL, [(0, 0, 0, 0.9)], instruments=THREE, limits=limits)
    assert lots(begun) == [4, 0, 0]  # of equity, while gross is less
    decisions = [(0, 0, 0, 1.0), (0, 0, 1, -0.5), (0, 0, 2, -0.5)]
    book = play(STILL, decisions, instruments=THREE, limits=limits)
    assert lots(book) == [6, -5, -5]  # 6.67 of 16.67
    assert acted(book) == [(0, "concentration", 0, "SCALE")]


def test_net_exposure_cuts_the_heavier_side(play) -> None:
    limits = Limits(net_exposure=0.2)
    decisions = [(0, 0, 0, 0.5), (0, 0, 1, 0.5), (0, 0, 2, -0.4)]
    result = play(STILL, decisions, instruments=THREE, limits=limits)
    assert lots(result) == [3, 3, -4]
    assert acted(result) == [(0, "net_exposure", -1, "SCALE")]
    assert result.actions["wanted"][0] == pytest.approx(0.6)


def test_heat_is_the_margin_in_use(play) -> None:
    perps = [
        Instrument(symbol="A", kind="perpetual", lot_size=1.0, initial_margin=0.1),
        Instrument(symbol="B", kind="perpetual", lot_size=1.0, initial_margin=0.2),
    ]
    bars = [[ONE] * 2] * 4
    result = play(bars, [(0, 0, 0, 2.0), (0, 0, 1, -2.0)], instruments=perps, limits=Limits(heat=0.3))
    assert lots(result) == [10, -10]  # 20 x 10 + 20 x 20 = 600 of 1,000; half of it is allowed
    assert acted(result) == [(0, "heat", -1, "SCALE")]


def test_one_order_adds_no_more_than_its_notional_and_the_rest_follows(play, lines) -> None:
    result = play([[ONE]] * 6, [(0, 0.9)], limits=Limits(order_notional=400.0))
    assert [x[:3] for x in lines(result)] == [(1, 0, 4), (2, 0, 4), (3, 0, 1)]
    out = play([[ONE]] * 6, [(0, 0.9), (4, 0.0)], limits=Limits(order_notional=400.0))
    assert lines(out)[-1][:3] == (5, 0, -9)  # what reduces is never cut
    turn = play([[ONE]] * 8, [(0, 0.4), (2, -0.6)], limits=Limits(order_notional=400.0))
    assert [x[2] for x in lines(turn)] == [4, -4, -4, -2]


def test_old_data_may_only_be_reduced(play, lines) -> None:
    bars = [[ONE, ONE]] * 2 + [[None, ONE]] * 4 + [[ONE, ONE]] * 2
    two = [Instrument(symbol=s, lot_size=1.0) for s in "AB"]
    decisions = [(0, 0, 0, 0.4), (4, 0, 0, 0.8), (4, 0, 1, 0.1)]
    free = play(bars, decisions, instruments=two)
    assert [x[:3] for x in lines(free)] == [(1, 0, 4), (5, 1, 1), (6, 0, 4)]
    result = play(bars, decisions, instruments=two, limits=Limits(stale=2 * 3600.0))
    assert [x[:3] for x in lines(result)] == [(1, 0, 4), (5, 1, 1)]
    assert acted(result) == [(4, "stale", 0, "REFUSE")]
    less = play(bars, [(0, 0, 0, 0.4), (4, 0, 0, 0.1)], instruments=two, limits=Limits(stale=2 * 3600.0))
    assert [x[:3] for x in lines(less)] == [(1, 0, 4), (6, 0, -3)]


def test_an_increase_waits_for_a_price_inside_the_collar(play, lines) -> None:
    gap = (120.0, 120.0, 120.0, 120.0)
    result = play([[ONE], [gap], [gap], [gap]], [(0, 0.5)], limits=Limits(collar=0.1))
    assert [x[:3] for x in lines(result)] == [(2, 0, 5)]
    assert REASONS[result.orders["waited"][0]] == "waiting: price beyond the collar"
    out = play([[ONE], [ONE], [gap], [gap]], [(0, 0.5), (1, 0.0)], limits=Limits(collar=0.1))
    assert [x[:3] for x in lines(out)] == [(1, 0, 5), (2, 0, -5)]


def test_what_is_held_too_long_is_closed_and_waits_for_a_new_wish(play, lines) -> None:
    bars = [[ONE]] * 30
    limits = Limits(max_holding=10 * 3600.0)
    stays = play(bars, [(0, 0.5), (15, 0.6)], limits=limits)
    assert [x[:3] for x in lines(stays)] == [(1, 0, 5), (11, 0, -5)]  # opened at 01:00, ten hours old at 11:00
    assert acted(stays) == [(10, "max_holding", 0, "FLATTEN")]
    again = play(bars, [(0, 0.5), (15, 0.0), (16, 0.6)], limits=limits)
    assert [x[:3] for x in lines(again)] == [(1, 0, 5), (11, 0, -5), (17, 0, 6), (27, 0, -6)]


def test_an_unusual_market_may_only_be_left(play, lines) -> None:
    """A gap of 8% in one instrument: nothing is added anywhere in that decision, what reduces goes on."""
    gap = (108.0, 108.0, 108.0, 108.0)
    bars = [[ONE, ONE]] * 3 + [[gap, ONE]] + [[gap, ONE]] * 3
    two = [Instrument(symbol=s, lot_size=1.0) for s in "AB"]
    decisions = [(0, 0, 0, 0.4), (3, 0, 0, 0.2), (3, 0, 1, 0.3), (5, 0, 1, 0.31)]
    result = play(bars, decisions, instruments=two, limits=Limits(unusual_gap=0.05))
    assert [x[:3] for x in lines(result)] == [(1, 0, 4), (4, 0, -3), (6, 1, 3)]
    assert acted(result) == [(3, "unusual_gap", 0, "REDUCE")]


def test_an_unusual_spread_and_volatility(play, lines) -> None:
    bars = [[ONE]] * 6
    wide = play(bars, [(0, 0.4), (2, 0.8)], limits=Limits(unusual_spread=0.01), spread=[0.001] * 2 + [0.02] * 4)
    assert [x[:3] for x in lines(wide)] == [(1, 0, 4)]
    wild = [[(p, p, p, p)] for p in (100.0, 110.0, 100.0, 110.0, 100.0, 110.0)]
    result = play(wild, [(4, 0.4)], limits=Limits(unusual_vol=2.0), capital=1_000.0)
    assert len(result.fills) == 0
    assert acted(result)[0][:3] == (4, "unusual_vol", 0)


def test_correlated_instruments_share_a_limit(play) -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal(60) * 0.01
    a = 100.0 * np.cumprod(1.0 + common)
    b = 100.0 * np.cumprod(1.0 - common)  # the opposite moves with it too
    c = 100.0 * np.cumprod(1.0 + rng.standard_normal(60) * 0.01)
    bars = [[(x, x, x, x) for x in row] for row in zip(a, b, c, strict=True)]
    fine = [Instrument(symbol=s, lot_size=0.001) for s in "ABC"]
    decisions = [(50, 0, i, 0.3) for i in range(3)]
    result = play(bars, decisions, instruments=fine, step=DAY, limits=Limits(group_gross=0.4), costs=Costs())
    held = result.book.quantity * np.array([a[50], b[50], c[50]])
    assert held == pytest.approx([200.0, 200.0, 300.0], abs=0.3)
    assert [(x[1], x[2] in (0, 1), x[3]) for x in acted(result)] == [("group_gross", True, "SCALE")]


def test_clusters_are_single_linkage_and_need_enough_days() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 100)) * 0.01
    returns = np.column_stack([x, 0.8 * x + 0.6 * y, y, rng.standard_normal(100) * 0.01])
    marks = np.cumprod(1.0 + np.vstack([np.zeros(4), returns]), axis=0) * 50.0
    found = clusters(marks, 0.5)
    assert found[15].tolist() == [0, 1, 2, 3]
    assert found[-1].tolist() == [0, 0, 0, 3]  # the first and the third are linked by the second alone
    rho = np.corrcoef(returns[-60:].T)
    assert abs(rho[0, 2]) < 0.5 < min(abs(rho[0, 1]), abs(rho[1, 2]))
    marks[:80, 2] = 0.0
    late = clusters(marks, 0.5)
    assert late[-1].tolist() == [0, 0, 2, 3]


def test_a_late_fill_is_measured_by_the_rarer_limits_too(play, lines) -> None:
    """The long cannot be sold (no volume); the short that was to take its place waits for the cap of their kind."""
    dry = (*ONE, 0.0)
    one = groups(asset_class=[0, 0], class_cap=[0.5])
    bars = [[ONE, ONE]] * 2 + [[dry, ONE]] * 2 + [[ONE, ONE]] * 2
    two = [Instrument(symbol=s, lot_size=1.0) for s in "AB"]
    decisions = [(0, 0, 0, 0.5), (1, 0, 0, 0.0), (1, 0, 1, -0.5)]
    result = play(bars, decisions, instruments=two, groups=one)
    assert [x[:3] for x in lines(result)] == [(1, 0, 5), (4, 0, -5), (4, 1, -5)]


def test_the_kill_switch_flattens_and_stays(flat, made) -> None:
    """Thrown at the close of row 3, by the engine's rules called one by one: out at the next open, for good."""
    market = build_market(made([[bar] for bar in flat(100.0, 8)], [THREE[0]]))
    terms = terms_of((THREE[0],), (Costs(),))
    setup = complete(Setup(terms, Limits(), Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 0), 1_000.0, 1), market)
    rows, zero = np.array([0, 5]), np.zeros(2, np.int64)
    weights = Weights(rows, zero, zero, np.array([0.5, 0.7]))
    book, log = open_book(1_000.0, terms, 1), new_log(100, 1, 1, 0, np.empty(0, np.int64))
    held = []
    for t in range(8):
        trade(book, log, market, setup, t, bool((setup.stamps == t).any()))
        forced = judge(book, log, market, setup, t)
        if t == 3:
            kill(book, log, t, market.ts[t], 1)
        if is_due(book.head[0], weights, t, forced):
            decide(book, log, weights, market, setup, t, forced)
        held.append(int(book.positions["lots"][0]))
    assert held == [0, 5, 5, 5, 0, 0, 0, 0]
    assert [LIMIT_NAMES[k] for k in log.actions["limit"][: log.used[2]]] == ["killed"]


def test_what_one_order_left_over_is_asked_for_again_in_a_quiet_book(play, lines) -> None:
    """In an unusual market the first slice is refused whole; nothing works and nothing is held, yet it comes again."""
    gap = (108.0, 108.0, 108.0, 108.0)
    limits = Limits(order_notional=400.0, unusual_gap=0.05)
    result = play([[ONE]] * 2 + [[gap]] * 6, [(2, 0.9)], limits=limits)
    assert [x[:3] for x in lines(result)] == [(4, 0, 3), (5, 0, 3), (6, 0, 2)]


def test_a_book_closed_for_the_day_leaves_at_market_whatever_its_models_decide(play, lines) -> None:
    resting = Style(LIMIT, 0.0, GTC, 0, 0, 0, 0.0, 0)
    low = (90.0, 90.0, 90.0, 90.0)
    lower = (80.0, 80.0, 80.0, 80.0)
    bars = [ONE, ONE, ONE, low, None, lower, lower]
    result = play(bars, [(0, 1.0), (4, 0.0)], style=resting, limits=Limits(daily_loss=0.05))
    assert lines(result) == [(1, 0, 10, 100.0), (5, 0, -10, 80.0)]  # a limit at 90 would never be met


def test_a_book_closed_for_the_day_asks_again_for_what_a_venue_rejects(play) -> None:
    low = (90.0, 90.0, 90.0, 90.0)
    tried = 0
    for seed in range(10):
        style = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, seed)
        bars = [ONE] * 8 + [low] * 13
        decisions = [(row, 1.0 - row / 100) for row in range(7)]  # one of them gets in
        result = play(bars, decisions, style=style, costs=Costs(reject=0.5), limits=Limits(daily_loss=0.05))
        tried += int((result.orders["reduce_only"] == 1).sum())
        assert lots(result) == [0]
    assert tried > 10


def test_what_is_held_too_long_is_closed_although_a_venue_rejects_it(play, lines) -> None:
    seed = next(s for s in range(99) if draw(s, 1) >= 0.5 and draw(s, 2) < 0.5 and draw(s, 3) >= 0.5)
    style = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, seed)
    limits = Limits(max_holding=3 * 3600.0)
    result = play([ONE] * 12, [(0, 0.5)], costs=Costs(reject=0.5), limits=limits, style=style)
    assert [x[:3] for x in lines(result)] == [(1, 0, 5), (5, 0, -5)]  # asked for at the close of row 3, then of row 4


def test_the_rest_of_a_target_is_not_held_too_long(play, lines) -> None:
    """The target sells two of five, and its price does not come again."""
    bars = [(*ONE, 1e9)] * 2 + [(100.0, 112.0, 100.0, 105.0, 20.0)] + [(105.0, 105.0, 105.0, 105.0, 1e9)] * 6
    limits = Limits(max_holding=5 * 3600.0, take_profit=0.1)
    result = play(bars, [(0, 0.5)], costs=Costs(participation=0.1), limits=limits)
    assert [x[:3] for x in lines(result)] == [(1, 0, 5), (2, 0, -2), (6, 0, -3)]
    assert acted(result) == [(2, "take_profit", 0, "FLATTEN"), (5, "max_holding", 0, "FLATTEN")]


def test_small_orders_reach_what_derisking_leaves(play, lines) -> None:
    """Half of 10 lots, one lot an order: what is held already is not halved again with each order."""
    low = (88.0,) * 4
    result = play([ONE] * 2 + [low] * 8, [(0, 1.0)], limits=Limits(order_notional=100.0, drawdown_derisk=0.001))
    assert [x[:3] for x in lines(result)] == [(row, 0, 1) for row in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("limit", ["drawdown_halt", "daily_loss"])
def test_a_flat_book_does_not_ask_for_the_rest_of_an_order(play, limit: str) -> None:
    limits = Limits(order_notional=100.0)._replace(**{limit: 0.01})
    result = play([ONE] * 3 + [(90.0,) * 4] * 6, [(0, 1.0)], limits=limits)
    assert lots(result) == [0]
    assert result.actions["row"].max() == 3


def test_net_exposure_holds_after_a_group_was_cut(play) -> None:
    """Two shorts share a group and are halved: the longs beside them are cut to what then is even enough."""
    four = [Instrument(symbol=s, lot_size=1.0) for s in "ABCD"]
    bars = [[(10.0,) * 4] * 4] * 4
    decisions = [(0, 0, 0, 0.4), (0, 0, 1, -0.4), (0, 0, 2, -0.4), (0, 0, 3, 0.4)]
    together = groups(cluster=[[0, 1, 1, 3]], cluster_row=[0])
    result = play(bars, decisions, instruments=four, limits=Limits(net_exposure=0.1, group_gross=0.4), groups=together)
    assert lots(result) == [25, -20, -20, 25]
    assert [name for _, name, _, _ in acted(result)] == ["group_gross", "net_exposure"]


def test_concentration_holds_after_a_group_was_cut(play) -> None:
    bars = [[(10.0,) * 4] * 3] * 4
    decisions = [(0, 0, 0, 1.0), (0, 0, 1, -1.0), (0, 0, 2, -1.0)]
    together = groups(cluster=[[0, 1, 1]], cluster_row=[0])
    limits = Limits(concentration=0.4, group_gross=1.0)
    result = play(bars, decisions, instruments=THREE, limits=limits, groups=together)
    assert lots(result) == [66, -50, -50]  # 0.4 / 0.6 of the other two
    even = limits._replace(net_exposure=0.01)  # which pulls against it
    lopsided = lots(play(bars, decisions, instruments=THREE, limits=even, groups=together))
    assert abs(sum(lopsided)) <= 1
    assert max(map(abs, lopsided)) <= 0.4 * max(sum(map(abs, lopsided)), 100)


def test_what_waited_through_an_unusual_close_no_longer_comes_in(play, lines) -> None:
    """A gap of half: neither the rest of an order that waits for volume nor a resting entry fills in the next bar."""
    thin, high = (*ONE, 40.0), (150.0, 150.0, 150.0, 150.0, 40.0)
    part = play([thin] * 3 + [high] * 6, [(0, 1.0)], costs=Costs(participation=0.05), limits=Limits(unusual_gap=0.2))
    assert [x[:3] for x in lines(part)] == [(1, 0, 2), (2, 0, 2), (3, 0, 2)]  # the close of row 3 is the first to know
    resting = Style(LIMIT, 0.05, GTC, 0, 0, 0, 0.0, 0)
    bars = [ONE] * 3 + [(150.0,) * 4, (150.0, 150.0, 90.0, 100.0)] + [ONE] * 3
    assert len(play(bars, [(0, 0.5)], style=resting).fills) == 1
    assert not len(play(bars, [(0, 0.5)], style=resting, limits=Limits(unusual_gap=0.2)).fills)


def test_a_models_cap_is_kept_at_every_decision_of_the_book(play) -> None:
    """What a model holds has risen over its cap; another model's decision is enough to bring it back."""
    capped = groups(model_cap=[0.4, np.inf])
    rise = (200.0, 200.0, 200.0, 200.0)
    bars = [[ONE, ONE]] * 2 + [[rise, ONE]] * 4
    result = play(bars, [(0, 0, 0, 0.4), (3, 1, 1, 0.1)], groups=capped)
    assert result.actions["row"].tolist() == [3]
    assert result.book.held[0, 0] * 200.0 <= 0.4 * 1_400.0
