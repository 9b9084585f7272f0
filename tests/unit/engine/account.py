"""A small account for tests of an engine's parts."""

from __future__ import annotations

import numpy as np

from tests.chaos.world import FIRST, LENGTH, Said, bars_of, setup_of, state_of
from trimtab.engine import core
from trimtab.engine.state import Sent, State
from trimtab.rules.book import ORDER, TARGET

STILL = bars_of([100.0, 50.0], [0.0, 0.0], [1e6, 1e6])


def account(rows: int = 1) -> State:
    """An account of two instruments and one wallet that has seen so many rows, at 100 and 50."""
    state = state_of(setup_of(False, False, False), Said())
    for k in range(rows):
        for event in (core.Bars(FIRST + k * LENGTH, STILL), core.Close(FIRST + k * LENGTH)):
            state, _ = core.handle(state, event)
    return state


def sent(
    state: State, number: int, instrument: int = 0, slot: int = TARGET, lots: int = 10, leaving: bool = False
) -> str:
    """An order that a venue may hold; its id."""
    record = np.zeros(1, ORDER)[0]
    record["order_id"], record["lots"], record["instrument"] = number, lots, instrument
    cid = core.cid_of(state, number)
    state.sent[cid] = Sent(number, instrument, slot, record, leaving)
    return cid
