"""Bars that are missing, by a rule that needs no calendar of holidays.

Round the clock (24/7): every bar between the first and the last is expected. Sessions: between two sessions one missing
weekday is a holiday, two or more in a row are a gap; inside a session every bar between its first and its last is
expected, and a session that begins later or ends earlier than the usual hours (the times of day seen on more than half
of the days, up to the scheduled early closes) is listed as short. 24/5 (currencies): a step is a gap if it is longer
than one bar and than the usual weekend (over a Saturday, at most 3 days).

Where the exchange's calendar is at hand, `trimtab.data.quality.calendars` knows better.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from trimtab.data.quality.findings import Hit, iso, whole
from trimtab.schedule import WEEK, interval_of
from trimtab.schedule.sessions import closes_of, is_round_the_clock, local_times, session_of
from trimtab.types import DAY, I64, TIMEFRAMES

#: What gaps of a session market are held against here.
WITHOUT_CALENDAR: Final = "weekdays and usual hours, without holidays"


class Gaps(NamedTuple):
    """Findings about bars that lack, and the stretches without them: (G,) each.

    after, before  ns UTC: open_times of the bars around a stretch; the same bar where a session is short
    bars           how many are missing in it
    hours          what was expected, in words
    """

    hits: list[Hit]
    after: I64
    before: I64
    bars: I64
    hours: str

    @property
    def missing(self) -> int:
        return int(self.bars.sum())


def gaps_by_rule(opens: I64, timeframe: str, calendar: str) -> Gaps:
    """Gaps and short sessions of bars in order of time."""
    length = TIMEFRAMES[timeframe]
    if not is_round_the_clock(calendar) and length < DAY:
        return _session_gaps(opens, timeframe, calendar)
    hours = calendar if is_round_the_clock(calendar) else WITHOUT_CALENDAR
    if calendar == "24/7":
        lacking = np.diff(opens) // length - 1
    elif calendar == "24/5" and length < DAY:
        lacking = _currency_gaps(opens, length)
    elif length == DAY:
        lacking = _missing_weekdays(opens // DAY)
        lacking = np.where(lacking >= 2, lacking, 0)
    else:
        lacking, hours = np.diff(interval_of(opens, WEEK)) - 1, "every week"
    rows = np.flatnonzero(lacking > 0) + 1
    unit = "weekday" if length == DAY and calendar != "24/7" else "bar"

    def say(i: int) -> str:
        r = int(rows[i]) - 1
        return lacks(int(lacking[r]), unit, int(opens[r]))

    return Gaps([Hit("gap", rows, say)], opens[rows - 1], opens[rows], lacking[rows - 1], hours)


def lacks(n: int, unit: str, after: int) -> str:
    return f"{n:,} {unit if n == 1 else unit + 's'} missing after {iso(after)}"


def _missing_weekdays(days: I64) -> I64:
    """Mondays to Fridays strictly between consecutive dates, days since 1970-01-01: (R,) -> (R - 1,)."""
    dates = days.astype("datetime64[D]")
    return np.busday_count(dates[:-1] + np.timedelta64(1, "D"), dates[1:]).astype(np.int64)


def _currency_gaps(opens: I64, length: int) -> I64:
    """Bars missing between consecutive ones, but for a step of at most 3 days over a Saturday."""
    step = np.diff(opens)
    week = interval_of(opens - 5 * DAY, WEEK)  # weeks that begin on Saturday 00:00 UTC
    weekend = (step <= 3 * DAY) & (week[1:] != week[:-1])
    return np.where(weekend, 0, step // length - 1)


def _session_gaps(opens: I64, timeframe: str, calendar: str) -> Gaps:
    """Bars missing inside regular hours, weekdays missing between sessions, and sessions that are short."""
    length = TIMEFRAMES[timeframe]
    session = session_of(calendar)
    wall = local_times(opens, session.zone)
    day = (wall - session.day_start) // DAY
    of_day = wall - day * DAY
    regular = np.flatnonzero((of_day + length > session.open) & (of_day < session.close))
    if len(regular) == 0:
        none = np.zeros(0, dtype=np.int64)
        return Gaps([whole("short_session", no_regular_hours(calendar))], none, none, none, WITHOUT_CALENDAR)
    o, d, t = opens[regular], day[regular], of_day[regular]
    same = d[1:] == d[:-1]
    times, seen = np.unique(t, return_counts=True)
    usual = times[2 * seen > int((~same).sum()) + 1]
    weekdays = np.where(same, 0, _missing_weekdays(d))
    weekdays[weekdays < 2] = 0
    lacking = np.where(same, np.diff(o) // length - 1, weekdays)
    rows = np.flatnonzero(lacking > 0) + 1

    def say_gap(i: int) -> str:
        r = int(rows[i]) - 1
        return lacks(int(lacking[r]), "bar" if same[r] else "weekday", int(o[r]))

    short, n_short = _short_sessions(d, t, usual, length, calendar)
    bars = np.where(same, lacking, lacking * len(usual))[rows - 1]
    hits = [Hit("gap", regular[rows], say_gap), short._replace(rows=regular[short.rows])]
    return Gaps(
        hits,
        np.concatenate((o[rows - 1], o[short.rows])),
        np.concatenate((o[rows], o[short.rows])),
        np.concatenate((bars, n_short)),
        WITHOUT_CALENDAR,
    )


def no_regular_hours(calendar: str) -> str:
    zone = session_of(calendar).zone
    return f"no bar lies in the regular hours of {calendar} ({zone}): is the instrument's calendar right?"


def _short_sessions(day: I64, of_day: I64, usual: I64, length: int, calendar: str) -> tuple[Hit, I64]:
    """Sessions that begin after the usual first bar or end before the last usual one that the schedule allows."""
    first = np.flatnonzero(np.append(True, day[1:] != day[:-1]))
    last = np.append(first[1:], len(day)) - 1
    if len(usual) == 0:
        return Hit("short_session", np.zeros(0, dtype=np.int64), str), np.zeros(0, dtype=np.int64)
    position = np.searchsorted(usual, closes_of(calendar, day[first])) - 1
    expected_last = usual[np.maximum(position, 0)]
    early = np.maximum(of_day[first] - usual[0], 0) // length
    late = np.maximum(expected_last - of_day[last], 0) // length
    rows = np.flatnonzero(early + late > 0)

    def say(i: int) -> str:
        return f"bars missing: {early[rows[i]]} at the session's start, {late[rows[i]]} at its end"

    return Hit("short_session", first[rows], say), (early + late)[rows]
