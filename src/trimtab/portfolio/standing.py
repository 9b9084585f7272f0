"""What a model wants to hold, as it stands: forecasts, multiples and factors folded into weights (compiled).

One unit of a model (an instrument, a pair, a basket) is folded on its own. Its events are the rows at which it said
something; between them its weight stands, until a factor on its budget (a regime's, an allocation's) changes: then the
standing weight is sized again in that row. A rebalance calendar and a least trade hold changes of size back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import F64, I64


class Pace(NamedTuple):
    """How the weights of one unit follow what is wanted; all weights here are per unit of its budget share.

    cap     largest multiple x factor; inf: none
    always  1: a weight that is the same again is said again, so that its drift is looked at
    least   increases by less wait
    every   ns between two instants of the calendar; 0: none
    anchor  ns, an instant of the calendar
    """

    cap: float
    always: int
    least: float
    every: int
    anchor: int


class Standing(NamedTuple):
    """What is remembered of one unit of L legs; arrays, which the fold writes to.

    wanted  (L,) leg weights as they were last forecast; NaN before the first
    sent    (L,) weights as they were last said; NaN before the first
    size    (2,) the last multiple, and the factor that stands
    at      (2,) place of the next change of factor, and the calendar's interval in which a size was last decided
    """

    wanted: F64
    sent: F64
    size: F64
    at: I64


class Events(NamedTuple):
    """What one unit said: E rows in order, leg weights before any sizing, and the sizer's multiple at that row."""

    row: I64  # (E,)
    value: F64  # (E, L)
    multiple: F64  # (E,) NaN: the sizer abstains


class Changes(NamedTuple):
    """When the factor on a budget changes: C rows in order, and the factor from the close of that row on."""

    row: I64
    factor: F64


class Room(NamedTuple):
    """Memory for the weights that are new: parallel arrays of L x (E + C)."""

    row: I64
    leg: I64
    value: F64


@compiled
def standing_init(legs: int) -> Standing:
    return Standing(np.full(legs, np.nan), np.full(legs, np.nan), np.array([np.nan, 1.0]), np.array([0, -(1 << 62)]))


@inlined
def _passes(pace: Pace, s: Standing, scale: float, due: bool) -> bool:
    """Is what is wanted a decision? Entries, exits and turns are; a size waits for the calendar, an increase for the
    least trade."""
    gross, held, change, turned = 0.0, 0.0, 0.0, False
    for k in range(s.wanted.size):
        weight = s.wanted[k] * scale
        sent = s.sent[k] if s.sent[k] == s.sent[k] else 0.0
        gross += abs(weight)
        held += abs(sent)
        change += abs(weight - sent)
        turned |= weight * sent < 0.0
    if gross == 0.0 or turned:
        return True
    return (due or held == 0.0) and not (gross > held and change < pace.least)


@inlined
def _decide(pace: Pace, s: Standing, t: int, due: bool, n: int, room: Room) -> int:
    """One row: what is wanted is said if it passes and is new; what was said is said again where drift is watched."""
    if s.size[0] != s.size[0]:
        return n  # nothing was said yet
    scale = min(pace.cap, s.size[0] * s.size[1])
    same = True
    for k in range(s.wanted.size):
        same &= s.wanted[k] * scale == s.sent[k]
    if not same and _passes(pace, s, scale, due):
        for k in range(s.wanted.size):
            s.sent[k] = s.wanted[k] * scale
    elif not (pace.always == 1 and due and s.sent[0] == s.sent[0]):
        return n
    for k in range(s.sent.size):
        room.row[n] = t
        room.leg[n] = k
        room.value[n] = s.sent[k]
        n += 1
    return n


@compiled
def fold(pace: Pace, s: Standing, ts: I64, events: Events, changes: Changes, end: int, room: Room) -> int:
    """Fold events and changes of factor before row `end` into the weights that are new; returns how many there are.

    ts       (T,) close instants of the panel's rows
    events   those since the last piece of history
    changes  all there ever were, in order; what lies at `end` or after it is left for the next piece
    """
    n = 0
    for e in range(events.row.size + 1):
        t = int(events.row[e]) if e < events.row.size else end
        changed = False
        while s.at[0] < changes.row.size and changes.row[s.at[0]] <= t:
            row = int(changes.row[s.at[0]])
            if row == t and e == events.row.size:
                break
            s.size[1] = changes.factor[s.at[0]]
            s.at[0] += 1
            if row == t:
                changed = True  # acts together with what is said in this row
            else:
                n = _decide(pace, s, row, True, n, room)
        if e == events.row.size:
            break
        said = events.multiple[e] == events.multiple[e]
        due = changed or pace.every == 0
        if said:
            for k in range(s.wanted.size):
                s.wanted[k] = events.value[e, k]
            s.size[0] = events.multiple[e]
            if pace.every > 0:
                interval = (ts[t] - pace.anchor) // pace.every
                due |= interval > s.at[1]
                s.at[1] = interval
        if said or changed:
            n = _decide(pace, s, t, due, n, room)
    return n
