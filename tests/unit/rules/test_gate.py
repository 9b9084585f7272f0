"""The gate and the breakers (design §8, law 4), from single calls and from end to end."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.rules.book import HEAD, Style
from trimtab.rules.breakers import watch
from trimtab.rules.gate import clip_weight
from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.types import FOK, GTC, HALTED, IOC, LIMIT, MARKET, Costs, Instrument, Limits

PLAIN = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 0)
RESTING = PLAIN._replace(kind=LIMIT, offset=0.05)


def steps(*prices: float) -> list[list[tuple[float, ...]]]:
    return [[(p, p, p, p)] for p in prices]


def acted(result: object) -> list[tuple[int, str, str]]:
    a = result.actions  # type: ignore[attr-defined]
    return [(int(r), LIMIT_NAMES[k], ACTIONS[x]) for r, k, x in zip(a["row"], a["limit"], a["action"], strict=True)]


# --- single calls ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lots", "equity", "clipped"),
    [(50, 1_000.0, 40), (-50, 1_000.0, -40), (40, 1_000.0, 40), (39, 1_000.0, 39), (5, 0.0, 0), (-5, -10.0, 0)],
)
def test_clip_weight(lots: int, equity: float, clipped: int) -> None:
    assert clip_weight(lots, equity, 10.0, 0.4) == clipped


@pytest.mark.parametrize("equity", [1_000.0, 0.0, -1_000.0])
def test_no_limit_clips_nothing(equity: float) -> None:
    assert clip_weight(-5, equity, 10.0, np.inf) == -5


def head(equity: float = 1_000.0) -> np.ndarray:
    h = np.zeros(1, HEAD)
    h["equity"] = h["peak"] = equity
    return h


def test_breakers_are_strict_and_derisking_ends_below_half_its_trigger() -> None:
    limits = Limits(drawdown_derisk=0.1, drawdown_halt=0.2)
    h = head()
    trace = []
    for equity in (900.0, 899.9, 850.0, 949.9, 950.0, 950.1, 899.0, 1_100.0, 1_050.0, 880.0, 879.9, 2_000.0):
        crossed = int(watch(h[0], equity, limits))
        trace.append((equity, crossed, int(h["derisked"][0]), int(h["state"][0])))
    derisk, halt = LIMIT_NAMES.index("drawdown_derisk"), LIMIT_NAMES.index("drawdown_halt")
    assert trace == [
        (900.0, -1, 0, 0),  # exactly at the limit is not over it
        (899.9, derisk, 1, 0),
        (850.0, -1, 1, 0),
        (949.9, -1, 1, 0),
        (950.0, -1, 1, 0),
        (950.1, derisk, 0, 0),
        (899.0, derisk, 1, 0),
        (1_100.0, derisk, 0, 0),
        (1_050.0, -1, 0, 0),
        (880.0, derisk, 1, 0),  # from the peak of 1,100 that is 20%: at the halt, not over it
        (879.9, halt, 1, HALTED),
        (2_000.0, -1, 1, HALTED),  # halted is for good
    ]
    assert h["worst"][0] == pytest.approx(879.9 / 1_100.0 - 1.0)


def test_inside_the_band_that_watch_leaves_nothing_would_change() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        limits = Limits(drawdown_derisk=float(rng.uniform(0.01, 0.2)), drawdown_halt=float(rng.uniform(0.05, 0.4)))
        h = head()
        equity = 1_000.0
        watch(h[0], equity, limits)
        for _ in range(50):
            equity *= float(np.exp(rng.normal(0.0, 0.02)))
            before = h.copy()
            crossed = int(watch(h[0], equity, limits))
            if before["floor"][0] <= equity <= before["ceiling"][0]:
                assert crossed == -1
                for name in ("peak", "worst", "state", "derisked"):
                    assert h[name] == before[name], name


# --- end to end ------------------------------------------------------------------------------------------------------


def test_max_weight_and_gross_are_cut_before_the_order(play, lines) -> None:
    two = [[(100.0,) * 4, (50.0,) * 4]] * 3
    result = play(two, [(0, 0, 0, 0.9), (0, 0, 1, 0.4)], limits=Limits(max_weight=0.6))
    assert [x[1:3] for x in lines(result)] == [(0, 6), (1, 8)]
    assert acted(result) == [(0, "max_weight", "SCALE")]
    result = play(two, [(0, 0, 0, 0.6), (0, 0, 1, 0.4)], limits=Limits(gross_leverage=0.5))
    assert [x[1:3] for x in lines(result)] == [(0, 3), (1, 4)]
    assert acted(result) == [(0, "gross_leverage", "SCALE")]


def test_a_breach_by_drift_is_reduced_with_the_next_decision(play, lines) -> None:
    """The second instrument doubles and is over its limit; a decision about the first reduces it as well."""
    bars = [[(100.0,) * 4, (50.0,) * 4]] * 2 + [[(100.0,) * 4, (100.0,) * 4]] * 2
    result = play(bars, [(0, 0, 1, 0.5), (2, 0, 0, 0.1)], limits=Limits(max_weight=0.5))
    # Equity is 1,500 at row 2, ten lots of 100 are two thirds of it; half is 7 lots.
    assert sorted(x[1:3] for x in lines(result)[1:]) == [(0, 1), (1, -3)]
    assert (2, "max_weight", "SCALE") in acted(result)


def test_what_may_not_be_short_is_not(play, lines) -> None:
    instruments = [Instrument(symbol="A", lot_size=1.0, shortable=False)]
    result = play(steps(100.0, 100.0, 100.0), [(0, 0, 0, 0.5), (1, 0, 0, -0.5)], instruments=instruments)
    assert [x[2] for x in lines(result)] == [5, -5]
    assert acted(result) == [(1, "shortable", "REFUSE")]


def test_below_the_venues_least_notional_nothing_is_sent_but_an_exit_is(play, lines) -> None:
    instruments = [Instrument(symbol="A", lot_size=1.0, min_notional=250.0)]
    bars = steps(100.0, 100.0, 100.0, 100.0, 10.0, 10.0)
    result = play(bars, [(0, 0, 0, 0.5), (1, 0, 0, 0.6), (4, 0, 0, 0.0)], instruments=instruments)
    assert [x[2] for x in lines(result)] == [5, -5]
    assert acted(result) == [(1, "min_notional", "REFUSE")]


def test_a_reduction_below_the_least_notional_is_refused_at_each_decision_until_it_is_large_enough(play, lines) -> None:
    """It is the venue's own rule, which law 4 lets refuse what reduces: the excess over the limit stands that long."""
    instruments = [Instrument(symbol=s, lot_size=1.0, min_notional=m) for s, m in (("A", 0.0), ("B", 350.0))]
    doubled, tripled = [(100.0,) * 4, (100.0,) * 4], [(100.0,) * 4, (150.0,) * 4]
    bars = [[(100.0,) * 4, (50.0,) * 4]] * 2 + [doubled, doubled, doubled, tripled, tripled]
    weights = [(0, 0, 1, 0.5), (2, 0, 0, 0.1), (3, 0, 0, 0.11), (5, 0, 0, 0.12)]
    result = play(bars, weights, limits=Limits(max_weight=0.5), instruments=instruments)
    assert [a for a in acted(result) if a[1] == "min_notional"] == [(r, "min_notional", "REFUSE") for r in (2, 3)]
    refused = result.actions[result.actions["limit"] == LIMIT_NAMES.index("min_notional")]
    assert list(zip(refused["wanted"], refused["allowed"], strict=True)) == [(-3.0, 0.0)] * 2
    assert [x[1:3] for x in lines(result) if x[1] == 1] == [(1, 10), (1, -4)]


def test_derisk_halves_and_resumes_below_half_the_trigger(play, lines) -> None:
    bars = steps(100.0, 100.0, 88.0, 88.0, 89.0, 94.0, 97.0, 97.0, 97.0)
    limits = Limits(drawdown_derisk=0.1, derisk_factor=0.5)
    result = play(bars, [(0, 0, 0, 1.0)], limits=limits, costs=Costs())
    # 10 lots at 100; at 88 the drawdown is 12%, so 5 go at the next open. Equity 880 + 5 x (p - 88): at 97 it is
    # 925, a drawdown of 7.5%; it never falls under 5%, so nothing comes back.
    assert lines(result) == [(1, 0, 10, 100.0), (3, 0, -5, 88.0)]
    bars = steps(100.0, 100.0, 88.0, 88.0, 89.0, 94.0, 103.0, 103.0, 103.0)
    result = play(bars, [(0, 0, 0, 1.0)], limits=limits)
    assert result.equity[6] == 955.0
    assert [(x[0], x[2]) for x in lines(result)] == [(1, 10), (3, -5), (7, 4)]  # the fifth no longer fits
    assert [x[1:] for x in acted(result)] == [
        ("drawdown_derisk", "SCALE"),
        ("drawdown_derisk", "SCALE"),
        ("drawdown_derisk", "RESUME"),
    ]


def test_derisk_scales_new_decisions_too(play, lines) -> None:
    bars = [[(100.0,) * 4, (50.0,) * 4]] * 2 + [[(85.0,) * 4, (50.0,) * 4]] * 4
    result = play(bars, [(0, 0, 0, 0.8), (3, 0, 1, 0.4)], limits=Limits(drawdown_derisk=0.1, derisk_factor=0.25))
    assert [(x[0], x[1], x[2]) for x in lines(result)] == [(1, 0, 8), (3, 0, -6), (4, 1, 1)]


def test_a_halted_book_is_flat_and_stays_so(play, lines) -> None:
    bars = steps(100.0, 100.0, 79.0, 79.0, 79.0, 79.0, 79.0)
    result = play(bars, [(0, 0, 0, 1.0), (3, 0, 0, 0.5), (4, 0, 0, -0.5)], limits=Limits(drawdown_halt=0.2))
    assert lines(result) == [(1, 0, 10, 100.0), (3, 0, -10, 79.0)]
    assert (2, "drawdown_halt", "HALT") in acted(result)
    assert int(result.book.head["state"][0]) == HALTED


def test_a_halt_does_not_wait_for_a_limit_price(play, lines) -> None:
    """A limit order to sell everything rests above the market when the halt comes: it must give way to the market."""
    bars = steps(100.0, 100.0, 100.0, 70.0, 69.0, 68.0, 67.0)
    bars[1] = [(100.0, 100.0, 94.0, 100.0)]
    result = play(bars, [(0, 0, 0, 1.0), (2, 0, 0, 0.0)], limits=Limits(drawdown_halt=0.2), style=RESTING)
    assert lines(result)[0][2] > 0
    assert int(result.book.positions["lots"][0]) == 0
    assert lines(result)[-1][0] == 4


@pytest.mark.parametrize("tif", [IOC, FOK])
def test_a_halt_flattens_whatever_the_time_in_force(play, tif: int) -> None:
    """The book's own style may give up what does not fill at once; a halt may not."""
    bars = [
        [(p, p, p, p, v)] for p, v in ((100.0, 1e3), (100.0, 1e3), (70.0, 1e3), (70.0, 40.0), (70.0, 1e3), (70.0, 1e3))
    ]
    result = play(
        bars,
        [(0, 0, 0, 1.0)],
        limits=Limits(drawdown_halt=0.2),
        style=PLAIN._replace(tif=tif),
        costs=Costs(participation=0.1),
    )
    assert int(result.fills["lots"][0]) == 10
    assert int(result.book.positions["lots"][0]) == 0


def test_a_halt_survives_rejections(play) -> None:
    bars = steps(100.0, 100.0, 70.0, *[70.0] * 30)
    from trimtab.rules.orders import draw

    seed = next(s for s in range(100) if draw(s, 1) >= 0.5 > draw(s, 2))
    style = PLAIN._replace(seed=seed)
    result = play(bars, [(0, 0, 0, 1.0)], limits=Limits(drawdown_halt=0.2), style=style, costs=Costs(reject=0.5))
    assert len(result.orders) >= 2
    assert int(result.book.positions["lots"][0]) == 0


def test_a_cut_never_sends_what_had_ended(play, story, lines) -> None:
    """An IOC order found no volume. A later cut of the whole book may not buy that instrument after all."""
    bars = [[(100.0, 100.0, 100.0, 100.0, 1e6), (100.0, 100.0, 100.0, 100.0, v)] for v in (1e6, 0.0, 1e6, 1e6, 1e6)]
    result = play(
        bars, [(0, 0, 1, 0.5), (2, 0, 0, 0.8)], limits=Limits(gross_leverage=1.0), style=PLAIN._replace(tif=IOC)
    )
    assert [x[1] for x in lines(result)] == [0]
    assert lines(result)[0][2] == 8  # and what is not held does not count


def test_an_exit_that_waits_counts_as_held(play, lines) -> None:
    """The first cannot be sold (no bar); until it is, the second may not take its place under the limit."""
    one, none = (100.0,) * 4, None
    bars = [[one, one], [one, one], [none, one], [none, one], [none, one], [one, one]]
    result = play(bars, [(0, 0, 0, 0.5), (1, 0, 0, 0.0), (3, 0, 1, 0.5)], limits=Limits(gross_leverage=0.5))
    held = np.zeros((2, len(bars)))
    for row, i, lots, _ in lines(result):
        held[i, row:] += lots
    assert (np.abs(held).sum(axis=0) * 100.0 <= 0.5 * 1_000.0).all()


def test_only_what_the_gate_demands_goes_to_the_market(play, lines) -> None:
    """De-risking sells at market; coming back is the models' wish and goes the way the spec says: by limit."""
    bars = [[(100.0, 100.0, 94.0, 100.0)]] * 2 + steps(80.0, 80.0, 95.0, 120.0, 121.0, 122.0)
    result = play(bars, [(0, 0, 0, 0.9)], limits=Limits(drawdown_derisk=0.1), style=RESTING)
    kinds = {int(o["order_id"]): (int(o["lots"]) > 0, int(o["kind"])) for o in result.orders}
    assert any(not bought for bought, _ in kinds.values())
    for bought, kind in kinds.values():
        assert kind == (LIMIT if bought else MARKET)


def test_a_bankrupt_book_says_so_and_nothing_else(play) -> None:
    result = play(steps(100.0, 100.0, 350.0, 350.0, 350.0), [(0, 0, 0, -0.8)])
    assert [x[1:] for x in acted(result)] == [("bankrupt", "HALT")]
    assert int(result.book.positions["lots"][0]) == 0
    assert np.abs(result.actions["allowed"]).max() < 1e6


def test_breakers_that_are_crossed_at_one_close_all_act(play, lines) -> None:
    """A loss of 12%: flat for the day, and de-risked as well, so the next day begins with half."""
    limits = Limits(daily_loss=0.05, drawdown_derisk=0.1)
    result = play(steps(100.0, 100.0, 100.0, 88.0, *[94.0] * 24), [(0, 1.0)], limits=limits)
    assert acted(result)[:2] == [(3, "daily_loss", "FLATTEN"), (3, "drawdown_derisk", "SCALE")]
    assert [x[:3] for x in lines(result)] == [(1, 0, 10), (4, 0, -10), (24, 0, 5)]
