"""Statuses, the two roundings, and the draw that rejects (design §4, §6.7)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.rules.orders import REASONS, TRANSITIONS, draw, net, size
from trimtab.types import MAX_LOTS, ORDER_STATUSES

# FIX 4.4 appendix D, as a second writing of the table: one row per status, its legal successors in words.
LEGAL = {
    "PENDING_NEW": "NEW PARTIALLY_FILLED FILLED PENDING_CANCEL CANCELED REJECTED EXPIRED UNKNOWN",
    "NEW": "PARTIALLY_FILLED FILLED PENDING_CANCEL CANCELED REJECTED EXPIRED UNKNOWN",
    "PARTIALLY_FILLED": "PARTIALLY_FILLED FILLED PENDING_CANCEL CANCELED EXPIRED UNKNOWN",
    "FILLED": "",
    "PENDING_CANCEL": "NEW PARTIALLY_FILLED FILLED CANCELED EXPIRED UNKNOWN",
    "CANCELED": "",
    "REJECTED": "",
    "EXPIRED": "",
    "UNKNOWN": "NEW PARTIALLY_FILLED FILLED CANCELED REJECTED EXPIRED",
}


@pytest.mark.parametrize(("a", "b"), list(itertools.product(ORDER_STATUSES, ORDER_STATUSES)))
def test_every_pair_of_statuses(a: str, b: str) -> None:
    legal = ORDER_STATUSES.index(b) in TRANSITIONS[ORDER_STATUSES.index(a)]
    assert legal == (b in LEGAL[a].split())


def test_what_has_ended_stays_ended_and_every_status_can_end() -> None:
    ended = {k for k, after in TRANSITIONS.items() if not after}
    assert {ORDER_STATUSES[k] for k in ended} == {"FILLED", "CANCELED", "REJECTED", "EXPIRED"}
    for start in TRANSITIONS:
        reached, queue = {start}, [start]
        while queue:
            for after in TRANSITIONS[queue.pop()] - reached:
                reached.add(after)
                queue.append(after)
        assert reached & ended


def test_reasons_are_told_apart() -> None:
    assert len(set(REASONS)) == len(REASONS)
    assert REASONS[0] == ""


def test_size_and_net_round_toward_zero_once() -> None:
    assert size(0.5, 1_000.0, 8.0, 0.25) == 250.0
    assert np.isnan(size(0.5, 1_000.0, 0.0, 1.0))
    assert np.isnan(size(0.5, 1_000.0, np.nan, 1.0))
    # Rounded once: 1.6 + 1.6 is 3 lots, rounding each first would give 2.
    assert net(np.array([[1.6], [1.6]]), 0) == 3
    assert net(np.array([[-1.6], [-1.6]]), 0) == -3
    assert net(np.array([[1.6], [-1.2]]), 0) == 0
    assert net(np.array([[2.0**60], [0.0]]), 0) == MAX_LOTS
    assert net(np.array([[-(2.0**60)], [0.0]]), 0) == -MAX_LOTS


def splitmix(seed: int, order_id: int) -> float:
    """The same draw in Python's integers: splitmix64's finaliser, twice."""
    mask = 2**64 - 1
    z = (seed * 0x9E3779B97F4A7C15 + order_id) & mask
    for _ in range(2):
        z = (z + 0x9E3779B97F4A7C15) & mask
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        z ^= z >> 31
    return (z >> 11) / 2**53


@given(st.integers(0, 2**62), st.integers(1, 2**53))
def test_draw_is_a_function_of_seed_and_order_alone(seed: int, order_id: int) -> None:
    assert draw(seed, order_id) == splitmix(seed, order_id)


def test_draws_are_uniform_and_seeds_are_independent() -> None:
    n = 20_000
    one = np.array([draw(1, k) for k in range(1, n + 1)])
    two = np.array([draw(2, k) for k in range(1, n + 1)])
    counts = np.histogram(one, 10, (0.0, 1.0))[0]
    assert ((counts - n / 10) ** 2 / (n / 10)).sum() < 27.9  # chi-square, 9 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(one, two)[0, 1]) < 4.0 / np.sqrt(n)
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 4.0 / np.sqrt(n)
