"""Validation: what is wrong with a series of bars, listed and never repaired.

Errors are bad input (an import is refused); warnings are facts about the market or the source that a user must know.

Gap rule. Round the clock (24/7): every bar between the first and the last is expected. Sessions, without a calendar of
holidays: between two sessions one missing weekday is a holiday, two or more in a row are a gap; inside a session every
bar between its first and its last is expected, and a session that begins later or ends earlier than the usual hours
(the times of day seen on more than half of the days, up to the scheduled early closes) is listed as short. 24/5
(currencies): a step is a gap if it is longer than one bar and than the usual weekend (over a Saturday, at most 3 days).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.data.timeframes import canonical
from trimtab.schedule import WEEK, anchor_of, interval_of
from trimtab.schedule.sessions import closes_of, is_round_the_clock, local_times, session_of
from trimtab.types import DAY, F64, HOUR, I64, SECOND, TIMEFRAMES

if TYPE_CHECKING:
    import polars as pl

Severity = Literal["error", "warning"]

ERRORS: Final = (
    "no_time", "duplicate", "disorder", "future", "misaligned", "no_price", "non_positive_price", "high_below_low",
    "outside_range", "negative_volume",
)  # fmt: skip
WARNINGS: Final = ("gap", "short_session", "zero_volume", "stale", "outlier")

STALE_BARS: Final = 12  # identical closes in a row from which a run is listed
OUTLIER_SCALE: Final = 20.0  # robust standard deviations of log returns beyond which a return is listed


class Finding(msgspec.Struct, frozen=True):
    """One fault: `row` counts from 0 in the frame as given; `instant` is the bar's open_time (ISO, UTC)."""

    fault: str
    severity: Severity
    row: int
    instant: str
    message: str


class Report(msgspec.Struct, frozen=True):
    """Findings by fault, a limited number of each; `counts` holds all of them, `missing` the bars that gaps lack."""

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    rows: int
    missing: int = 0

    @property
    def n_errors(self) -> int:
        return sum(n for fault, n in self.counts.items() if fault in ERRORS)

    @property
    def n_warnings(self) -> int:
        return sum(n for fault, n in self.counts.items() if fault in WARNINGS)


class _Hit(NamedTuple):
    """Rows at which a fault was found, and what to say of the i-th of them (asked only for those that are listed)."""

    fault: str
    rows: I64
    say: Callable[[int], str]


class _Bars(NamedTuple):
    opens: I64  # ns UTC; the smallest integer where the time is missing
    open: F64
    high: F64
    low: F64
    close: F64
    volume: F64


_NAT: Final = np.iinfo(np.int64).min


def validate(frame: pl.DataFrame, timeframe: str, calendar: str = "24/7", *, now: int, limit: int = 20) -> Report:
    """Everything wrong with bars: open_time, open, high, low, close, volume (null = unknown), in the order given.

    now    ns UTC: a bar whose end is later is not closed yet
    limit  findings listed of each fault; the counts are complete

    Pure. Warnings are looked for only where time is in order, since gaps mean nothing otherwise.
    """
    timeframe = canonical(timeframe)
    bars = _columns(frame)
    hits = [*_time_faults(bars.opens, timeframe, calendar, now), *_price_faults(bars)]
    missing = 0
    if len(bars.opens) and not any(len(h.rows) for h in hits if h.fault in ("no_time", "duplicate", "disorder")):
        gaps, missing = _gaps(bars.opens, timeframe, calendar)
        hits += [*gaps, *_quality(bars)]
    counts = {h.fault: len(h.rows) for h in hits if len(h.rows)}
    findings = tuple(f for h in hits for f in _listed(h, bars.opens, limit))
    return Report(findings, counts, len(bars.opens), missing)


def _columns(frame: pl.DataFrame) -> _Bars:
    import polars as pl

    times = frame["open_time"].cast(pl.Datetime("us", "UTC")).to_physical()
    opens = times.fill_null(_NAT // 1_000).to_numpy().astype(np.int64) * 1_000
    if times.null_count():
        opens[times.is_null().to_numpy()] = _NAT
    prices = [frame[c].cast(pl.Float64).to_numpy() for c in ("open", "high", "low", "close", "volume")]
    return _Bars(opens, *prices)


def _listed(hit: _Hit, opens: I64, limit: int) -> list[Finding]:
    severity: Severity = "error" if hit.fault in ERRORS else "warning"
    found: list[Finding] = []
    for i, row in enumerate(hit.rows[:limit]):
        found.append(Finding(hit.fault, severity, int(row), iso(int(opens[row])), hit.say(i)))
    return found


def iso(ts: int) -> str:
    """ns UTC as 2021-03-02T16:00Z (seconds and below only where they are not zero)."""
    if ts == _NAT:
        return "no time"
    text = str(np.datetime64(ts, "ns"))
    text = text[:19] + text[19:].rstrip("0").rstrip(".")
    return (text[:-3] if text.endswith(":00") and len(text) == 19 else text) + "Z"


def _always(message: str) -> Callable[[int], str]:
    def say(_: int) -> str:
        return message

    return say


def _where(fault: str, wrong: NDArray[np.bool_], say: str) -> _Hit:
    return _Hit(fault, np.flatnonzero(wrong), _always(say))


# --- time ------------------------------------------------------------------------------------------------------------


def _time_faults(opens: I64, timeframe: str, calendar: str, now: int) -> list[_Hit]:
    length = TIMEFRAMES[timeframe]
    known = opens != _NAT
    open_bar = f"the bar is not closed at {iso(now // SECOND * SECOND)}, when it was read: leave it out"
    hits = [_where("no_time", ~known, "open_time is missing or not readable")]
    if (opens[1:] > opens[:-1]).all() and known.all():
        hits += [_where("future", opens > now - length, open_bar)]
        return [*hits, _misaligned(opens, timeframe, calendar)]
    order = np.argsort(opens, kind="stable")
    again = np.flatnonzero((opens[order][1:] == opens[order][:-1]) & known[order][1:])
    again = again[np.argsort(order[again + 1])]

    def say(i: int) -> str:
        above = order[again[i] + 1] - order[again[i]]
        return f"same open_time as {'the row above' if above == 1 else f'{above} rows above'}"

    hits.append(_Hit("duplicate", order[again + 1], say))
    late = np.zeros(len(opens), dtype=bool)
    late[1:] = (opens[1:] < opens[:-1]) & known[1:]
    hits.append(_where("disorder", late, "open_time is before the row above it: sort by open_time"))
    return [*hits, _where("future", known & (opens > now - length), open_bar)]


def _misaligned(opens: I64, timeframe: str, calendar: str) -> _Hit:
    """Off the timeframe's grid: UTC for round-the-clock calendars, else the phase that most of the bars have."""
    length = TIMEFRAMES[timeframe]
    if is_round_the_clock(calendar):
        phase = (opens - anchor_of(length)) % length
        # 24/5 markets label a day by their own evening, so only the phase itself must hold.
        wrong = phase != 0 if calendar == "24/7" or length < DAY else phase != _usual(phase)
        return _where("misaligned", wrong, f"open_time is not on the {timeframe} grid (UTC): is the timeframe right?")
    if length >= DAY:
        unit = "week" if length == WEEK else "day"
        period = interval_of(opens, length)
        wrong = np.zeros(len(opens), dtype=bool)
        wrong[1:] = period[1:] == period[:-1]
        return _where("misaligned", wrong, f"a second {timeframe} bar in the same {unit} (UTC)")
    phase = opens % min(length, HOUR)
    wrong = phase != _usual(phase)
    return _where("misaligned", wrong, f"open_time is off the grid that most {timeframe} bars are on")


def _usual(phase: I64) -> int:
    values, counts = np.unique(phase, return_counts=True)
    return int(values[counts.argmax()])


# --- prices ----------------------------------------------------------------------------------------------------------


def _price_faults(b: _Bars) -> list[_Hit]:
    lowest = np.minimum(np.minimum(b.open, b.close), np.minimum(b.high, b.low))
    highest = np.maximum(np.maximum(b.open, b.close), np.maximum(b.high, b.low))
    absent = ~(np.isfinite(lowest) & np.isfinite(highest))
    odd = np.flatnonzero((b.high >= b.low) & ((lowest < b.low) | (highest > b.high)))

    def say(i: int) -> str:
        r = odd[i]
        return f"open {b.open[r]:g} or close {b.close[r]:g} lies outside low {b.low[r]:g} … high {b.high[r]:g}"

    return [
        _where("no_price", absent, "a price is missing, NaN or infinite"),
        _where("non_positive_price", lowest <= 0, "a price is zero or negative"),
        _where("high_below_low", b.high < b.low, "high is below low"),
        _Hit("outside_range", odd, say),
        _where("negative_volume", b.volume < 0, "volume is negative"),
    ]


def _quality(b: _Bars) -> list[_Hit]:
    starts = np.flatnonzero(np.append(True, np.diff(b.close) != 0))
    runs = np.diff(np.append(starts, len(b.close)))
    starts, runs = starts[runs >= STALE_BARS], runs[runs >= STALE_BARS]

    def say(i: int) -> str:
        return f"{runs[i]} closes in a row are {b.close[starts[i]]:g}"

    return [
        _where("zero_volume", b.volume == 0, "volume is zero: nothing can be filled in this bar"),
        _Hit("stale", starts, say),
        _outliers(b.close),
    ]


def _outliers(close: F64) -> _Hit:
    """Log returns far beyond their robust standard deviation (1.4826 median absolute deviation)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(close))
    usable = returns[np.isfinite(returns)]
    middle = float(np.median(usable)) if len(usable) else 0.0
    vol = 1.4826 * float(np.median(np.abs(usable - middle))) if len(usable) >= 20 else np.inf
    if vol == 0.0:
        vol = float(usable.std()) or np.inf
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(np.isfinite(returns) & (np.abs(returns - middle) > OUTLIER_SCALE * vol)) + 1

    def say(i: int) -> str:
        r = returns[rows[i] - 1]
        return f"close moves {np.expm1(r):+.1%}, {abs(r) / vol:.0f} times the usual: a split, a bad tick or a crash"

    return _Hit("outlier", rows, say)


# --- gaps ------------------------------------------------------------------------------------------------------------


def _gaps(opens: I64, timeframe: str, calendar: str) -> tuple[list[_Hit], int]:
    """Gaps and short sessions, and the number of bars that they lack."""
    length = TIMEFRAMES[timeframe]
    if not is_round_the_clock(calendar) and length < DAY:
        return _session_gaps(opens, timeframe, calendar)
    if calendar == "24/7":
        lacking = np.diff(opens) // length - 1
    elif calendar == "24/5" and length < DAY:
        lacking = _currency_gaps(opens, length)
    elif length == DAY:
        lacking = _missing_weekdays(opens // DAY)
        lacking = np.where(lacking >= 2, lacking, 0)
    else:
        lacking = np.diff(interval_of(opens, WEEK)) - 1
    rows = np.flatnonzero(lacking > 0) + 1
    unit = "weekday" if length == DAY and calendar != "24/7" else "bar"

    def say(i: int) -> str:
        r = int(rows[i]) - 1
        return _lacks(int(lacking[r]), unit, int(opens[r]))

    return [_Hit("gap", rows, say)], int(lacking[rows - 1].sum())


def _lacks(n: int, unit: str, after: int) -> str:
    return f"{n} {unit if n == 1 else unit + 's'} missing after {iso(after)}"


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


def _session_gaps(opens: I64, timeframe: str, calendar: str) -> tuple[list[_Hit], int]:
    """Bars missing inside regular hours, weekdays missing between sessions, and sessions that are short."""
    length = TIMEFRAMES[timeframe]
    session = session_of(calendar)
    wall = local_times(opens, session.zone)
    day = (wall - session.day_start) // DAY
    of_day = wall - day * DAY
    regular = np.flatnonzero((of_day + length > session.open) & (of_day < session.close))
    if len(regular) == 0:
        say = f"no bar lies in the regular hours of {calendar} ({session.zone}): is the instrument's calendar right?"
        return [_Hit("short_session", np.zeros(1, dtype=np.int64), _always(say))], 0
    o, d, t = opens[regular], day[regular], of_day[regular]
    same = d[1:] == d[:-1]
    times, seen = np.unique(t, return_counts=True)
    usual = times[2 * seen > len(np.unique(d))]
    weekdays = np.where(same, 0, _missing_weekdays(d))
    weekdays[weekdays < 2] = 0
    lacking = np.where(same, np.diff(o) // length - 1, weekdays)
    rows = np.flatnonzero(lacking > 0) + 1

    def say_gap(i: int) -> str:
        r = int(rows[i]) - 1
        return _lacks(int(lacking[r]), "bar" if same[r] else "weekday", int(o[r]))

    short, n_short = _short_sessions(d, t, usual, length, calendar)
    bars = np.where(same, lacking, lacking * len(usual))
    hits = [_Hit("gap", regular[rows], say_gap), short._replace(rows=regular[short.rows])]
    return hits, int(bars[rows - 1].sum()) + n_short


def _short_sessions(day: I64, of_day: I64, usual: I64, length: int, calendar: str) -> tuple[_Hit, int]:
    """Sessions that begin after the usual first bar or end before the last usual one that the schedule allows."""
    first = np.flatnonzero(np.append(True, day[1:] != day[:-1]))
    last = np.append(first[1:], len(day)) - 1
    if len(usual) == 0:
        return _Hit("short_session", np.zeros(0, dtype=np.int64), str), 0
    position = np.searchsorted(usual, closes_of(calendar, day[first])) - 1
    expected_last = usual[np.maximum(position, 0)]
    early = np.maximum(of_day[first] - usual[0], 0) // length
    late = np.maximum(expected_last - of_day[last], 0) // length
    rows = np.flatnonzero(early + late > 0)

    def say(i: int) -> str:
        return f"bars missing: {early[rows[i]]} at the session's start, {late[rows[i]]} at its end"

    return _Hit("short_session", first[rows], say), int((early + late)[rows].sum())
