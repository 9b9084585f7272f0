"""Bars that are missing, held against the exchange's own calendar: holidays, half days, unplanned closures.

The calendars come from the library exchange-calendars (extra `calendars`). A calendar serves only where its hours are
those of `trimtab.schedule.sessions`; of the others, and where the library or the years are missing, nothing is known
here and the rule of `trimtab.data.quality.gaps` stands in.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.data.quality.findings import Hit, iso, number_of, where, whole
from trimtab.data.quality.gaps import Gaps, lacks, no_regular_hours
from trimtab.data.quality.times import usual_of
from trimtab.schedule.sessions import is_round_the_clock, local_times, session_of
from trimtab.types import DAY, I64, TIMEFRAMES

#: Our calendars that the library has with the same hours, by its names.
_NAMES: Final = {
    **dict.fromkeys(("XNYS", "XNAS", "ARCX", "XASE", "BATS", "IEXG"), "XNYS"),
    **{name: name for name in ("XTSE", "XLON", "XETR", "XPAR", "XAMS", "XSWX", "XHKG", "XASX")},
}
#: The days only: the library's Globex day has no hour of rest.
_DAYS_ONLY: Final = {"CMES": "CMES"}
#: Label and session may differ by a day (a local midnight in UTC) or by a weekday; what fits best is taken.
_SHIFTS: Final = (0, 1, -1)

_NONE: Final = np.zeros(0, dtype=np.int64)


class Sessions(NamedTuple):
    """Sessions of an exchange, oldest first: (S,) each, instants in ns UTC; no pause: one of no length."""

    days: I64  # session dates, days since 1970-01-01
    opens: I64
    closes: I64
    pause_from: I64
    pause_to: I64


def library() -> str:
    """The library with its version; empty where it is not installed."""
    if importlib.util.find_spec("exchange_calendars") is None:
        return ""
    from importlib.metadata import version

    return f"exchange-calendars {version('exchange-calendars')}"


def why_not(calendar: str, timeframe: str) -> str:
    """Why an exchange's calendar was not used, and what would help; empty where there is none to use."""
    if is_round_the_clock(calendar) or TIMEFRAMES[timeframe] > DAY:
        return ""
    if calendar not in _NAMES and not (calendar in _DAYS_ONLY and TIMEFRAMES[timeframe] == DAY):
        return f"{calendar} is not a calendar that exchange-calendars has with these hours"
    if not library():
        return "holidays are not known: pip install 'trimtab[calendars]'"
    return "exchange-calendars does not cover these years"


def sessions_of(opens: I64, timeframe: str, calendar: str) -> Sessions | None:
    """The sessions around bars in order of time; None where the calendar is not to be had."""
    length = TIMEFRAMES[timeframe]
    names = _NAMES if length < DAY else {**_NAMES, **_DAYS_ONLY}
    if is_round_the_clock(calendar) or length > DAY or calendar not in names or not library() or not len(opens):
        return None
    # Whole years: series of one exchange share their calendar.
    first, last = (np.datetime64(int(ts), "ns").astype("M8[Y]") for ts in (opens[0] - 7 * DAY, opens[-1] + 7 * DAY))
    return _read(names[calendar], str(first.astype("M8[D]")), str((last + 1).astype("M8[D]")))


@functools.lru_cache(maxsize=64)
def _read(name: str, first: str, last: str) -> Sessions | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about what the library calls
        import exchange_calendars
        from exchange_calendars.errors import CalendarError

        try:
            table: Any = exchange_calendars.get_calendar(name, start=first, end=last).schedule
        except (ValueError, CalendarError):
            return None
        days: Any = table.index.to_numpy().astype("M8[D]").astype(np.int64)
        columns: dict[str, Any] = {
            c: table[c].dt.tz_localize(None).to_numpy().astype("M8[ns]").astype(np.int64) for c in table.columns
        }
    breaks = columns["break_start"] > 0
    ends = columns["close"]
    return Sessions(
        days,
        columns["open"],
        ends,
        np.where(breaks, columns["break_start"], ends),
        np.where(breaks, columns["break_end"], ends),
    )


def gaps_by_calendar(opens: I64, timeframe: str, calendar: str, sessions: Sessions) -> Gaps:
    """Gaps, short sessions and bars on closed days, of bars in order of time, one row or more."""
    hours = f"the calendar {calendar} ({library()})"
    if TIMEFRAMES[timeframe] == DAY:
        return _day_gaps(opens, calendar, sessions, hours)
    return _bar_gaps(opens, TIMEFRAMES[timeframe], calendar, sessions, hours)


# --- daily -----------------------------------------------------------------------------------------------------------


def shift_of_days(opens: I64, sessions: Sessions) -> int:
    """Days from a daily bar's UTC date to its session's: the one of _SHIFTS with which most labels are sessions."""
    days = opens // DAY
    fits = [int(np.isin(days + shift, sessions.days).sum()) for shift in _SHIFTS]
    return _SHIFTS[int(np.argmax(fits))]


def _day_gaps(opens: I64, calendar: str, sessions: Sessions, hours: str) -> Gaps:
    days = opens // DAY + shift_of_days(opens, sessions)
    expected = sessions.days[(sessions.days >= days[0]) & (sessions.days <= days[-1])]
    position = np.searchsorted(expected, days)
    there = np.isin(days, expected)
    # Sessions strictly between a bar and the one before it: those that begin before it, less those up to the last.
    upto = np.searchsorted(expected, days, side="right")
    lacking = position[1:] - upto[:-1]
    rows = np.flatnonzero(lacking > 0) + 1

    def say(i: int) -> str:
        r = int(rows[i]) - 1
        return lacks(int(lacking[r]), "session", int(opens[r]))

    closed = where("closed_day", ~there, f"{calendar} was closed on this day")
    return Gaps([Hit("gap", rows, say), closed], opens[rows - 1], opens[rows], lacking[rows - 1], hours)


# --- intraday --------------------------------------------------------------------------------------------------------


class _Grid(NamedTuple):
    """Every bar that sessions have: its open_time and the index of its session, (E,) each."""

    times: I64
    session: I64


def _grid(sessions: Sessions, lead: int, length: int) -> _Grid:
    """Bars of each session, the first of them `lead` ns before the session opens."""
    starts = sessions.opens - lead
    each = -((starts - sessions.closes) // length)
    index = np.repeat(np.arange(len(starts)), each)
    number = np.arange(len(index)) - np.repeat(np.cumsum(each) - each, each)
    times = starts[index] + number * length
    resting = (times >= sessions.pause_from[index]) & (times + length <= sessions.pause_to[index])
    return _Grid(times[~resting], index[~resting]) if resting.any() else _Grid(times, index)


def lead_of(opens: I64, length: int, sessions: Sessions) -> int | None:
    """ns from the first bar of a session to its open, 0 <= lead < length, as most sessions have it; None: no bars."""
    at = np.searchsorted(opens, sessions.opens - length, side="right")
    inside = np.flatnonzero(at < len(opens))
    inside = inside[opens[at[inside]] < sessions.closes[inside]]
    if len(inside) == 0:
        return None
    return usual_of((sessions.opens[inside] - opens[at[inside]]) % length)


def _bar_gaps(opens: I64, length: int, calendar: str, sessions: Sessions, hours: str) -> Gaps:
    lead = lead_of(opens, length, sessions)
    if lead is None:
        return Gaps([whole("short_session", no_regular_hours(calendar))], _NONE, _NONE, _NONE, hours)
    grid = _grid(sessions, lead, length)
    there = np.isin(grid.times, opens, assume_unique=True)
    seen = np.flatnonzero(there)
    if len(seen) == 0:
        return Gaps([whole("short_session", no_regular_hours(calendar))], _NONE, _NONE, _NONE, hours)
    begin, end = int(seen[0]), int(seen[-1]) + 1
    lost = np.flatnonzero(~there[begin:end]) + begin
    runs = np.flatnonzero(np.append(True, np.diff(lost) > 1)) if len(lost) else _NONE
    first, count = lost[runs], np.diff(np.append(runs, len(lost)))
    last = first + count - 1
    one = grid.session[first] == grid.session[last]
    opening = np.append(True, grid.session[1:] != grid.session[:-1])[first]
    closing = np.append(grid.session[1:] != grid.session[:-1], True)[last]
    short = one & (opening != closing)
    return Gaps(
        [
            _stretches(grid, opens, first[~short], count[~short]),
            _short(grid, opens, first[short], count[short], opening[short]),
            _closed_days(opens, sessions, calendar),
        ],
        grid.times[first - 1],
        grid.times[last + 1],
        count,
        hours,
    )


def _stretches(grid: _Grid, opens: I64, first: I64, count: I64) -> Hit:
    def say(i: int) -> str:
        sessions = grid.session[first[i] : first[i] + count[i]]
        told = lacks(int(count[i]), "bar", int(grid.times[first[i] - 1]))
        begins = grid.session[first[i] - 1] != sessions[0]
        ends = grid.session[first[i] + count[i]] != sessions[-1]
        whole_days = int(sessions[-1] - sessions[0]) - 1 + int(begins) + int(ends)
        return told + (f", {number_of(whole_days, 'whole session')}" if whole_days > 0 else "")

    return Hit("gap", _rows_after(opens, grid.times[first]), say)


def _short(grid: _Grid, opens: I64, first: I64, count: I64, opening: np.ndarray[Any, np.dtype[np.bool_]]) -> Hit:
    def say(i: int) -> str:
        lost, place = number_of(int(count[i]), "bar"), "start" if opening[i] else "end"
        return f"{lost} missing at the session's {place}, from {iso(int(grid.times[first[i]]))}"

    return Hit("short_session", _rows_after(opens, grid.times[first]), say)


def _rows_after(opens: I64, times: I64) -> I64:
    return np.minimum(np.searchsorted(opens, times), len(opens) - 1)


def _closed_days(opens: I64, sessions: Sessions, calendar: str) -> Hit:
    """Bars on a local date without a session."""
    session = session_of(calendar)
    # A day's dates are looked up once, not once a bar.
    day = (local_times(opens, session.zone) - session.day_start) // DAY
    firsts = np.flatnonzero(np.append(True, day[1:] != day[:-1]))
    closed = ~np.isin(day[firsts], sessions.days)
    each = np.diff(np.append(firsts, len(opens)))
    return where("closed_day", np.repeat(closed, each), f"{calendar} was closed on this day")
