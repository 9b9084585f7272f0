"""What a model wants to hold, as it stands: forecasts, multiples and factors folded into weights (compiled).

One unit of a model (an instrument, a pair, a basket) is folded on its own. Its events are the rows at which it said
something; between them its weight stands, until a factor on its budget (a regime's, an allocation's) changes: then the
standing weight is sized again in that row. A rebalance calendar and a least trade hold changes of size back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.bounds import sizer_of
from trimtab.kernels.compiled import compiled, inlined
from trimtab.schedule import anchor_of
from trimtab.types import F64, I64, SECOND, Model, Rebalance, Spec, Strategy


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


def resizes(again: Rebalance) -> bool:
    """Is an unchanged weight sized again whenever its model steps? A buffer asks for it: drift may leave the band."""
    return again.when == "always" or again.buffer > 0.0


def looks_always(spec: Spec, model: Model, strategy: Strategy) -> bool:
    """Is each forecast of a model that is sized looked at, and not only those that are new?

    A sizer and a calendar may make a decision of any row; of a basket, all its legs are.
    """
    waits = spec.rebalance.every > 0.0
    return resizes(spec.rebalance) or sizer_of(spec, model) is not None or waits or strategy.n_legs == 0


def pace_of(spec: Spec, model: Model, share: float) -> Pace:
    """How a model's weights follow what it wants, in units of the share of one of its units."""
    use, again = sizer_of(spec, model), spec.rebalance
    cap = np.inf
    if use is not None and use.name == "adaptive":
        from trimtab.portfolio.book import sizer_params

        cap = sizer_params(use).cap  # of volatility and regime together
    every = round(again.every * SECOND)
    return Pace(cap, int(resizes(again)), again.min_trade / share, every, anchor_of(every))


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


@inlined
def read_row(
    pace: Pace, s: Standing, t: int, ts: int, value: F64, multiple: float, changed: bool, n: int, room: Room
) -> int:
    """One row of a unit: what it said there (a multiple of NaN: nothing) and whether its factor, which stands in
    s.size[1] by now, is another one."""
    said = multiple == multiple
    due = changed or pace.every == 0
    if said:
        for k in range(s.wanted.size):
            s.wanted[k] = value[k]
        s.size[0] = multiple
        if pace.every > 0:
            interval = (ts - pace.anchor) // pace.every
            due |= interval > s.at[1]
            s.at[1] = interval
    return _decide(pace, s, t, due, n, room) if said or changed else n


@compiled
def stand(pace: Pace, s: Standing, t: int, ts: int, value: F64, multiple: F64, factor: F64, room: Room) -> int:
    """One row of all units of a model: the weights that are new into room, legs numbered u x L + leg; how many.

    s         of all units: wanted, sent (U, L), size (U, 2), at (U, 2), which are written to
    value     (U, L) what was said
    multiple  (U,) NaN where nothing was
    factor    (U,) that stands from this row on
    """
    n = 0
    for u in range(multiple.size):
        one = Standing(s.wanted[u], s.sent[u], s.size[u], s.at[u])
        changed = factor[u] != one.size[1]
        one.size[1] = factor[u]
        before = n
        n = read_row(pace, one, t, ts, value[u], multiple[u], changed, n, room)
        for k in range(before, n):
            room.leg[k] += u * value.shape[1]
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
        n = read_row(pace, s, t, int(ts[t]), events.value[e], events.multiple[e], changed, n, room)
    return n
