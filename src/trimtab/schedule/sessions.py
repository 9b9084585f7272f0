"""Sessions: which local hours an instrument trades, so that its bars can be anchored at the session's open.

Round-the-clock calendars have no session: their bars are aligned to the epoch in UTC. For an exchange the time zone and
the regular hours are known in advance, and so are the early closes of New York; an early close that is not listed here
only makes a bar known later (at the regular close), never earlier.
"""

from __future__ import annotations

import datetime as dt
import difflib
from typing import Final, NamedTuple

import numpy as np

from trimtab.types import DAY, HOUR, I64, MINUTE, TrimtabError

ROUND_THE_CLOCK: Final = ("24/7", "24/5")


class Session(NamedTuple):
    """Regular hours in local wall time: ns from the session date's midnight; open is negative if the evening before."""

    zone: str
    open: int
    close: int

    @property
    def day_start(self) -> int:
        """Where a session date begins, ns from its midnight: bars from here on belong to that date."""
        return min(self.open, 0)


def _session(zone: str, opens: str, closes: str, *, evening_before: bool = False) -> Session:
    def at(text: str) -> int:
        hours, minutes = text.split(":")
        return int(hours) * HOUR + int(minutes) * MINUTE

    return Session(zone, at(opens) - (DAY if evening_before else 0), at(closes))


_NEW_YORK: Final = _session("America/New_York", "09:30", "16:00")

#: By exchange code (ISO 10383). Hours: the exchanges' own pages, regular trading.
SESSIONS: Final[dict[str, Session]] = {
    **dict.fromkeys(("XNYS", "XNAS", "ARCX", "XASE", "BATS", "IEXG"), _NEW_YORK),
    "XTSE": _session("America/Toronto", "09:30", "16:00"),
    "XLON": _session("Europe/London", "08:00", "16:30"),
    "XETR": _session("Europe/Berlin", "09:00", "17:30"),
    "XPAR": _session("Europe/Paris", "09:00", "17:30"),
    "XAMS": _session("Europe/Amsterdam", "09:00", "17:30"),
    "XSWX": _session("Europe/Zurich", "09:00", "17:30"),
    "XHKG": _session("Asia/Hong_Kong", "09:30", "16:00"),
    "XASX": _session("Australia/Sydney", "10:00", "16:00"),
    "XNYM": _session("America/New_York", "18:00", "17:00", evening_before=True),
    "CMES": _session("America/Chicago", "17:00", "16:00", evening_before=True),
}
_EARLY_CLOSE_AT_13: Final = frozenset(("XNYS", "XNAS", "ARCX", "XASE", "BATS", "IEXG"))


def is_round_the_clock(calendar: str) -> bool:
    """Whether bars are aligned to the epoch in UTC (24/7, and 24/5 as in foreign exchange) instead of to a session."""
    return calendar in ROUND_THE_CLOCK


def session_of(calendar: str) -> Session:
    """The regular hours of an exchange; unknown: TrimtabError with the closest name."""
    if calendar in SESSIONS:
        return SESSIONS[calendar]
    known = (*ROUND_THE_CLOCK, *SESSIONS)
    near = difflib.get_close_matches(calendar.upper(), known, n=1, cutoff=0.0)
    raise TrimtabError(f"unknown calendar {calendar!r}: did you mean {near[0]}? Known are {', '.join(known)}")


def local_times(ts: I64, zone: str) -> I64:
    """Wall time of UTC instants in a zone, as ns since 1970-01-01 00:00 local: (R,) -> (R,)."""
    import polars as pl

    instants = pl.Series(ts).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    wall = instants.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return wall.to_physical().to_numpy().astype(np.int64, copy=False)


def closes_of(calendar: str, days: I64) -> I64:
    """Scheduled close of each session date, ns from its midnight; days: (R,) days since 1970-01-01 -> (R,)."""
    closes = np.full(len(days), session_of(calendar).close, dtype=np.int64)
    if calendar in _EARLY_CLOSE_AT_13 and len(days):
        for day in np.unique(days):
            if _is_early_close(dt.date(1970, 1, 1) + dt.timedelta(days=int(day))):
                closes[days == day] = 13 * HOUR
    return closes


#: Early closes that follow no rule. Source: NYSE holiday notices.
_SINGLE_EARLY_CLOSES: Final = frozenset(
    dt.date.fromisoformat(d)
    for d in ("1996-07-05", "1997-12-26", "1999-12-31", "2002-07-05", "2003-12-26", "2013-07-03", "2019-07-03")
)


def _is_early_close(day: dt.date) -> bool:
    """13:00 in New York, since 1993: the day after Thanksgiving, Christmas Eve, the day before Independence Day."""
    if day.year < 1993:
        return False
    if day in _SINGLE_EARLY_CLOSES:
        return True
    weekday = day.weekday()
    if day.month == 11:
        return weekday == 4 and 23 <= day.day <= 29
    if (day.month, day.day) == (12, 24):
        return weekday <= 3
    # On a Wednesday only since 2013 (before, the Friday after the holiday closed early in some years).
    return (day.month, day.day) == (7, 3) and (weekday in (0, 1, 3) or (weekday == 2 and day.year >= 2013))
