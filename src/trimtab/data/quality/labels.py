"""Labels that are not the open: what is provably known before it happened, or later than it was.

A bar is known at open_time + timeframe. A series whose times are labelled too early hands a backtest the future; one
that is stamped with the close is late, which costs but does not lie. Only what can be proved is said: session hours
that are all moved by the same whole number of bars, daily labels that fit the exchange's calendar after a shift and not
before it, and two series of one instrument of which one runs ahead of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from trimtab.data.quality.calendars import Sessions
from trimtab.data.quality.findings import Hit, number_of, whole
from trimtab.data.quality.times import usual_of
from trimtab.schedule.sessions import is_round_the_clock, local_times, session_of
from trimtab.types import DAY, F64, I64, MINUTE, TIMEFRAMES

_FEWEST: Final = 10  # days that a proof by hours needs
_CLOSED: Final = 3  # labels on closed days that a proof by the calendar needs
_PAIRS: Final = 30  # common bars that a proof by another series needs
_SAME: Final = 0.9  # share of equal closes, and correlation, that prove a shift
_OTHER: Final = 0.5  # … and what must not be reached without it


def label_faults(opens: I64, timeframe: str, calendar: str, sessions: Sessions | None) -> list[Hit]:
    """What the labels of one series prove by themselves, in order of time."""
    length = TIMEFRAMES[timeframe]
    if is_round_the_clock(calendar) or length > DAY or len(opens) < _FEWEST:
        return []
    if length == DAY:
        return [] if sessions is None else _day_labels(opens, calendar, sessions)
    return _hour_labels(opens, length, calendar)


def _day_labels(opens: I64, calendar: str, sessions: Sessions) -> list[Hit]:
    """Daily labels that are sessions only after a shift by a day or a weekday."""
    days = opens // DAY
    dates = days.astype("M8[D]")
    weekdays = {n: np.busday_offset(dates, n, roll="backward" if n > 0 else "forward") for n in (1, -1)}
    shifted = {0: days, 1: days + 1, -1: days - 1}
    shifted |= {2 * n: found.astype(np.int64) for n, found in weekdays.items()}
    fits = {name: float(np.isin(found, sessions.days).mean()) for name, found in shifted.items()}
    best = max(fits, key=fits.__getitem__)
    closed = round((1.0 - fits[0]) * len(days))
    if best == 0 or closed < _CLOSED or fits[0] > 0.995 or fits[best] < 0.999:
        return []
    at = np.minimum(np.searchsorted(sessions.days, shifted[best]), len(sessions.days) - 1)
    ahead = sessions.closes[at] > opens + DAY
    step = "a day" if abs(best) == 1 else "a weekday"
    proof = f"{number_of(closed, 'label')} on days when {calendar} is closed, and none if they are moved by {step}"
    if best > 0 and ahead.mean() > _OTHER:
        return [whole("early_label", f"labels are {step} early, so bars are known before they happened: {proof}")]
    return [whole("late_label", f"labels are {step} late: {proof}")] if best < 0 else []


def _hour_labels(opens: I64, length: int, calendar: str) -> list[Hit]:
    """Sessions whose bars lie a whole number of bars before or after the hours, all year or in one half of it."""
    session = session_of(calendar)
    wall = local_times(opens, session.zone)
    day = (wall - session.day_start) // DAY
    of_day = wall - day * DAY
    first = np.flatnonzero(np.append(True, day[1:] != day[:-1]))
    sizes = np.diff(np.append(first, len(opens)))
    moved = _moved(of_day, first, sizes, length, session.open, session.close)
    # Which half of the year: the zone's offset from UTC, each day.
    offset = wall[first] - opens[first]
    found: list[Hit] = []
    halves = np.unique(offset)
    parts = {int(o): _shift_of(moved[offset == o]) for o in halves}
    if len(set(parts.values())) == 1:
        return _told(next(iter(parts.values())), length, "every session's bars", "")
    for o, shift in parts.items():
        if shift is not None:
            half = "summer" if o == halves.max() else "winter"
            found += _told(shift, length, f"the bars of sessions in {half} time", "daylight saving was left out")
    return found


def _moved(of_day: I64, first: I64, sizes: I64, length: int, opens: int, closes: int) -> I64:
    """Bars from where each day's first one should be to where it is, for days with as many bars as a session; else
    a number that no day has."""
    lead = (opens - of_day[first]) % length
    number = -((opens - lead - closes) // length)
    moved = (of_day[first] - (opens - lead)) // length
    return np.where(sizes == number, moved, np.iinfo(np.int64).max)


def _shift_of(moved: I64) -> int | None:
    """The shift that nearly all days have; None where they differ."""
    known = moved[moved != np.iinfo(np.int64).max]
    if len(known) < _FEWEST or len(known) < _SAME * len(moved):
        return None
    shift = usual_of(known)
    return shift if (known == shift).mean() >= _SAME else None


def _told(shift: int | None, length: int, what: str, why: str) -> list[Hit]:
    """What to say of a shift in bars; why: empty where it is not known."""
    if not shift:
        return []
    size = f"{abs(shift) * length // MINUTE:,} minutes"
    if shift < 0:
        known = "so they are known before they happened"
        return [
            whole("early_label", f"{what} begin {size} before the session, {known}: {why or 'times of another zone?'}")
        ]
    guess = "stamped with the close of the bar?" if shift == 1 else "times of another zone?"
    return [whole("late_label", f"{what} begin {size} after the session does: {why or guess}")]


# --- two series of one instrument ------------------------------------------------------------------------------------


class Closes(NamedTuple):
    """A series as far as this needs it: timeframe, open_time (ns UTC, rising) and close, (R,) each."""

    timeframe: str
    opens: I64
    close: F64


def against(coarse: Closes, fine: Closes) -> list[Hit]:
    """Whether a coarser series runs ahead of, or behind, a finer one of the same instrument.

    Each coarse close is held against the last fine close that is known by then, and against those some bars off; and
    the returns of both, a coarse bar ahead and behind. A shift is proved where at least 0.9 of the closes are equal (or
    the returns correlate by as much) with it, and at most half without it.
    """
    length, step = TIMEFRAMES[coarse.timeframe], TIMEFRAMES[fine.timeframe]
    if len(coarse.opens) < _PAIRS or len(fine.opens) < _PAIRS:
        return []
    known = coarse.opens + length
    at = np.searchsorted(fine.opens + step, known, side="right") - 1
    usable = np.flatnonzero((at >= 0) & (fine.opens[np.maximum(at, 0)] >= coarse.opens))
    if len(usable) < _PAIRS:
        return []
    at, close = at[usable], coarse.close[usable]
    ratio = int(min(length // step, 24 * 60))
    equal = {j: _equal(close, fine.close, at + j) for j in sorted({0, 1, -1, 2, -2, ratio, -ratio})}
    best = max(equal, key=equal.__getitem__)
    if best != 0 and equal[best] >= _SAME and equal[0] <= _OTHER:
        size = "1 bar" if abs(best) == 1 else f"{abs(best)} bars"
        proof = f"{equal[best]:.0%} of its closes are those of the {fine.timeframe} bars {size} {{}}, {equal[0]:.0%} "
        return [_ahead(best, coarse, fine, proof + "those known by then")]
    follows = _follows(usable, close, fine.close[at])
    best = max(follows, key=follows.__getitem__)
    if best != 0 and follows[best] >= _SAME and follows[0] <= _OTHER:
        proof = f"its returns correlate {follows[best]:.2f} with those one bar {{}}, and {follows[0]:.2f} with its own"
        return [_ahead(best, coarse, fine, proof)]
    return []


def _equal(close: F64, fine: F64, at: I64) -> float:
    inside = (at >= 0) & (at < len(fine))
    if inside.sum() < _PAIRS:
        return 0.0
    return float(np.isclose(close[inside], fine[at[inside]], rtol=1e-9, atol=0.0).mean())


def _follows(rows: I64, coarse: F64, fine: F64) -> dict[int, float]:
    """Correlation of coarse returns with the fine ones of the next (1), the same (0) and the last (-1) coarse bar."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = np.diff(np.log(coarse)), np.diff(np.log(fine))
    steps = (np.diff(rows) == 1) & np.isfinite(a) & np.isfinite(b)
    a, b = np.where(steps, a, 0.0), np.where(steps, b, 0.0)
    pairs = {0: (a, b), 1: (a[:-1], b[1:]), -1: (a[1:], b[:-1])}
    return {shift: _correlation(x, y) for shift, (x, y) in pairs.items()}


def _correlation(x: F64, y: F64) -> float:
    if len(x) < _PAIRS or x.std() == 0.0 or y.std() == 0.0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _ahead(shift: int, coarse: Closes, fine: Closes, proof: str) -> Hit:
    if shift > 0:
        said = f"the {coarse.timeframe} bars know what the {fine.timeframe} bars show later: "
        return whole("early_label", said + proof.format("on") + "; one of the two is labelled wrongly")
    said = f"the {coarse.timeframe} bars lag behind the {fine.timeframe} bars: "
    return whole("late_label", said + proof.format("back") + "; one of the two is labelled wrongly")


def compare(series: Sequence[Closes]) -> dict[str, tuple[Hit, ...]]:
    """What the series of one instrument, finest first, prove about each other: each with the next finer one."""
    found: dict[str, tuple[Hit, ...]] = {}
    sound = [s for s in series if len(s.opens) and bool((np.diff(s.opens) > 0).all())]
    for fine, coarse in itertools.pairwise(sound):
        if hits := against(coarse, fine):
            found[coarse.timeframe] = tuple(hits)
    return found
