"""Faults of open_time: missing, repeated, out of order, not closed yet, off the grid."""

from __future__ import annotations

import numpy as np

from trimtab.data.quality.findings import NAT, Hit, iso, where
from trimtab.schedule import WEEK, anchor_of, interval_of
from trimtab.schedule.sessions import is_round_the_clock
from trimtab.types import DAY, HOUR, I64, SECOND, TIMEFRAMES


def time_faults(opens: I64, timeframe: str, calendar: str, now: int) -> list[Hit]:
    """What is wrong with the times alone; `misaligned` is looked for only where they are in order."""
    length = TIMEFRAMES[timeframe]
    known = opens != NAT
    open_bar = f"the bar is not closed at {iso(now // SECOND * SECOND)}, when it was read: leave it out"
    hits = [where("no_time", ~known, "open_time is missing or not readable")]
    if (opens[1:] > opens[:-1]).all() and known.all():
        hits += [where("future", opens > now - length, open_bar)]
        return [*hits, _misaligned(opens, timeframe, calendar)]
    order = np.argsort(opens, kind="stable")
    again = np.flatnonzero((opens[order][1:] == opens[order][:-1]) & known[order][1:])
    again = again[np.argsort(order[again + 1])]

    def say(i: int) -> str:
        above = order[again[i] + 1] - order[again[i]]
        return f"same open_time as {'the row above' if above == 1 else f'{above} rows above'}"

    hits.append(Hit("duplicate", order[again + 1], say))
    late = np.zeros(len(opens), dtype=bool)
    late[1:] = (opens[1:] < opens[:-1]) & known[1:]
    hits.append(where("disorder", late, "open_time is before the row above it: sort by open_time"))
    return [*hits, where("future", known & (opens > now - length), open_bar)]


def _misaligned(opens: I64, timeframe: str, calendar: str) -> Hit:
    """Off the timeframe's grid: UTC for round-the-clock calendars, else the phase that most of the bars have."""
    length = TIMEFRAMES[timeframe]
    if is_round_the_clock(calendar):
        phase = (opens - anchor_of(length)) % length
        # 24/5 markets label a day by their own evening, so only the phase itself must hold.
        wrong = phase != 0 if calendar == "24/7" or length < DAY else phase != usual_of(phase)
        return where("misaligned", wrong, f"open_time is not on the {timeframe} grid (UTC): is the timeframe right?")
    if length >= DAY:
        unit = "week" if length == WEEK else "day"
        period = interval_of(opens, length)
        wrong = np.zeros(len(opens), dtype=bool)
        wrong[1:] = period[1:] == period[:-1]
        return where("misaligned", wrong, f"a second {timeframe} bar in the same {unit} (UTC)")
    phase = opens % min(length, HOUR)
    wrong = phase != usual_of(phase)
    return where("misaligned", wrong, f"open_time is off the grid that most {timeframe} bars are on")


def usual_of(values: I64) -> int:
    """The value that occurs most often, the smallest of several; 0 where there is none."""
    if len(values) == 0:
        return 0
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])
