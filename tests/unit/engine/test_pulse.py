"""What is measured of an engine: exact quantiles, counts that begin at zero, and when it is not well."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.engine.events import Filled, Outcome, VenueChanged
from trimtab.engine.pulse import (
    LATENCY_BOUNDS,
    WINDOW,
    Bounds,
    Health,
    Meter,
    Pulse,
    Standing,
    ailments,
    cumulative,
)
from trimtab.types import HOUR, ORDER_STATUSES, SECOND, TrimtabError

BEGAN = 1_772_409_600 * SECOND
WELL = Standing(equity=1_000.0)


def pulse_of(meter: Meter, now: int = BEGAN, standing: Standing = WELL, **health: float | str) -> Pulse:
    return meter.pulse(now, standing, msgspec.convert(health, Health))


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=40), st.integers(0, 3))
def test_latencies_are_those_of_a_sorted_list(latencies: list[float], turns: int):
    meter, told = Meter(BEGAN), []
    for latency in [0.0] * WINDOW * turns + latencies:
        meter.add_row(BEGAN, BEGAN, latency)
        told.append(latency)
    got = pulse_of(meter).latencies
    recent = np.array(told[-WINDOW:])
    assert got.count == len(told)
    assert got.total == pytest.approx(math.fsum(told))
    assert got.p50 == np.quantile(recent, 0.5, method="inverted_cdf")
    assert got.p99 == np.quantile(recent, 0.99, method="inverted_cdf")
    assert [count for _, count in cumulative(got)] == [sum(t <= b for t in told) for b in (*LATENCY_BOUNDS, math.inf)]


def test_nothing_is_known_before_the_first_row():
    got = pulse_of(Meter(BEGAN, limits=("max_weight",), venues=("paper",), restarts=2))
    assert (got.rows, got.row, got.decision_latency, got.event_lag, got.latencies.p50) == (0, 0, None, None, None)
    assert got.orders == dict.fromkeys(ORDER_STATUSES, 0)
    assert (got.limit_actions, got.venues, got.restarts) == ({"max_weight": 0}, {"paper": True}, 2)
    assert got.staleness(BEGAN + 3 * SECOND) == 3.0


def test_occurrences_are_counted():
    meter = Meter(BEGAN, limits=("max_weight",))
    for status in ("NEW", "PARTIALLY_FILLED", "PARTIALLY_FILLED", "UNKNOWN"):
        meter.add(Outcome(client_order_id="T1", status=status))
    meter.add(VenueChanged(venue="paper", up=False))
    meter.add(
        Filled(
            venue="paper", symbol="A", trade_id="1", client_order_id="T1", lots=1, price=1.0, fee=0.0, executed=BEGAN
        )
    )
    meter.add_limit_action("max_weight")
    meter.add_limit_action("my_rule")
    meter.add_row(BEGAN - HOUR, BEGAN + SECOND // 2, 0.25)
    before = pulse_of(meter)
    meter.add_limit_action("max_weight")
    meter.add_row(BEGAN, BEGAN + SECOND, 0.5)
    assert {k: n for k, n in before.orders.items() if n} == {"NEW": 1, "PARTIALLY_FILLED": 2, "UNKNOWN": 1}
    assert before.limit_actions == {"max_weight": 1, "my_rule": 1}
    assert before.venues == {"paper": False}
    assert (before.rows, before.row, before.decision_latency, before.event_lag) == (1, BEGAN - HOUR, 0.25, 3600.5)
    assert pulse_of(meter).limit_actions["max_weight"] == 2


def test_rows_without_bars_do_not_make_a_feed_fresh():
    meter = Meter(BEGAN)
    meter.add_bars(BEGAN + 5 * SECOND, 3)
    meter.add_bars(BEGAN + 9 * SECOND, 0)
    got = pulse_of(meter, BEGAN + 10 * SECOND)
    assert got.staleness() == 5.0
    assert got.staleness(BEGAN + 25 * SECOND) == 20.0


@pytest.mark.parametrize("latency", [-0.001, math.nan, math.inf])
def test_a_latency_by_a_clock_that_jumped_is_refused(latency: float):
    with pytest.raises(TrimtabError, match="monotonic clock"):
        Meter(BEGAN).add_row(BEGAN, BEGAN, latency)


@pytest.mark.parametrize(
    ("standing", "health", "said"),
    [
        (WELL, {}, ()),
        (Standing(state="REDUCING", reason="unusual_gap"), {}, ()),
        (Standing(state="HALTED", reason="drawdown_halt"), {}, ("halted: drawdown_halt",)),
        (Standing(state="HALTED", killed=True), {}, ("killed",)),
        (
            Standing(quarantined=("a", "b")),
            {},
            ("degraded: a, b are in quarantine, with weights of 0 for as long as the account lasts",),
        ),
        (WELL, {"journal_failure": "disk full"}, ("journal failed: disk full",)),
        (WELL, {"loop_lag": 1.5}, ("loop lag: 1.500 s late, 1 s are allowed",)),
    ],
)
def test_what_is_wrong_is_said(standing: Standing, health: dict[str, float | str], said: tuple[str, ...]):
    assert ailments(pulse_of(Meter(BEGAN), BEGAN, standing, **health), BEGAN, Bounds()) == said


def test_an_engine_that_has_fallen_silent_is_not_well():
    meter = Meter(BEGAN, venues=("b", "a"))
    for venue in ("a", "b"):
        meter.add(VenueChanged(venue=venue, up=False))
    bounds = Bounds(staleness=60.0, silence=10.0)
    assert ailments(pulse_of(meter), BEGAN + 61 * SECOND, bounds) == (
        "venue a cannot be reached",
        "venue b cannot be reached",
        "feed stale: the last bar came 61.0 s ago, 60 s are allowed",
        "loop lag: nothing was heard of the engine for 61.0 s",
    )
    meter.add(VenueChanged(venue="a", up=True))
    assert ailments(pulse_of(meter), BEGAN + 10 * SECOND, bounds) == ("venue b cannot be reached",)


def test_a_pulse_is_written_as_json_with_nothing_that_json_lacks():
    written = msgspec.json.decode(msgspec.json.encode(pulse_of(Meter(BEGAN), standing=Standing())))
    assert written["standing"]["equity"] is None
    assert written["standing"]["state"] == "ACTIVE"
