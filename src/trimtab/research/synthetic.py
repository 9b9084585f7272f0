"""Synthetic bars with the habits of real ones, for checks and examples that must run without data.

Each pair of instruments is tied together (cointegrated). A panel for checks takes turns between round-the-clock trading
and exchange sessions; frames for a store are of the instruments that are asked for.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from trimtab.data.timeframes import canonical
from trimtab.schedule.sessions import Session, closes_of, is_round_the_clock, local_times, session_of
from trimtab.types import DAY, F64, HOUR, I64, TIMEFRAMES, Instrument, Panel, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: The first open: a Monday, so that weeks are whole.
FIRST: Final = int(np.datetime64("2001-01-01", "ns").astype(np.int64))
_LONGEST: Final = 200 * 365 * DAY

# GARCH(1, 1) of daily returns as a first look at most markets finds it (Bollerslev 1986; Engle and Patton 2001).
_SHOCK: Final = 0.08
_PERSISTENCE: Final = 0.90
_JUMPS: Final = 0.005
_TICK: Final = 0.01
#: A weak pull per bar keeps decades of bars away from prices of a cent, or of a trillion.
_PULL: Final = 0.0005
#: Bars in which the spread of a pair halves, and its deviation per bar in that of the leader.
_HALF_LIFE: Final = 20.0
_SPREAD: Final = 0.6
#: Annual volatility round the clock and in sessions; days in which the spread of a pair in a store halves.
_VOL_ANNUAL: Final = (0.60, 0.25)
_HALF_LIFE_DAYS: Final = 5.0
_HOLIDAYS: Final = 0.03


def synthetic_panel(seed: int, rows: int, instruments: int = 4, timeframe: str = "1d") -> Panel:
    """Bars that cluster in volatility, jump, gap and go missing; the same seed gives the same bits.

    rows         bars of the round-the-clock grid; sessions lie inside its time and have fewer
    instruments  SYN1 and SYN2 trade round the clock, SYN3 and SYN4 in New York's sessions, and so on in pairs; the
                 second of a pair is cointegrated with the first (elasticity 0.8, half-life of the spread 20 bars)
    ->           Panel with volume (some bars have none traded), about 1% of the bars missing and one outage

    TrimtabError if rows or instruments are below 1, or the rows would span more than 200 years.
    """
    import polars as pl

    timeframe = canonical(timeframe)
    if rows < 1 or instruments < 1:
        raise TrimtabError(f"synthetic_panel: expected rows and instruments of 1 or more, got {rows} and {instruments}")
    if rows * TIMEFRAMES[timeframe] > _LONGEST:
        raise TrimtabError(f"synthetic_panel: {rows:,} bars of {timeframe} span more than 200 years; ask for fewer")
    frames: dict[str, Any] = {}
    made: list[Instrument] = []
    leader: F64 = np.empty(0)
    for n in range(instruments):
        session = n // 2 % 2 == 1
        rng = np.random.default_rng((seed, n))
        opens, lengths = _session_bars(rng, rows, timeframe) if session else _clock_bars(rows, timeframe)
        second = n % 2 == 1
        if not second:
            leader = _log_prices(np.random.default_rng((seed, n, 1)), len(opens) + 64, _vol(timeframe, session))
        path = _tied(rng, leader, _vol(timeframe, session)) if second else leader
        bars = _bars(rng, path[: len(opens) + 1], session)
        kept = _present(rng, len(opens))
        columns = {"open_time": opens.view("datetime64[ns]"), **bars, "duration": lengths}
        symbol = f"SYN{n + 1}"
        frames[symbol] = pl.DataFrame({name: column[kept] for name, column in columns.items()})
        made.append(_instrument(symbol, session))
    return Panel.from_frames(frames, timeframe, made)


def synthetic_frames(
    seed: int, instruments: Sequence[Instrument], timeframe: str, first: int, last: int
) -> dict[str, pl.DataFrame]:
    """Bars of instruments between two instants, as a store holds them; the same seed gives the same bits.

    instruments  in their own hours, round the clock or in the sessions of their calendar; prices begin near 100. Of
                 those with equal hours the second, fourth … is cointegrated with the one before it (elasticity 0.8,
                 half-life of the spread 5 days)
    timeframe    1d or finer for sessions
    first, last  ns UTC: bars that open from `first` on and close by `last`
    ->           symbol -> open_time, open, high, low, close, volume; about 1% of the bars are missing, and one outage

    A symbol's bars depend on the seed, the times, its symbol and, for a follower, its leader's; not on the others.
    Returns have no drift: nothing here can be earned by holding. TrimtabError where no bar lies between the instants.
    """
    import polars as pl

    timeframe = canonical(timeframe)
    frames: dict[str, pl.DataFrame] = {}
    leaders: dict[str, str] = {}
    for instrument in instruments:
        symbol, session = instrument.symbol, not is_round_the_clock(instrument.calendar)
        opens = _opens(_rng(seed, instrument.calendar, "days"), instrument, timeframe, first, last)
        if len(opens) < 2:
            raise TrimtabError(f"{symbol}: no two bars of {timeframe} lie between the start and the end; ask for more")
        years = (last - first) / (365.25 * DAY)
        bar = _VOL_ANNUAL[session] * float(np.sqrt(years / len(opens)))
        day = (last - first) / DAY / len(opens)  # per bar
        leader = leaders.pop(instrument.calendar, "")
        path = _log_prices(_rng(seed, leader or symbol, "path"), len(opens), bar, _PULL * day)
        if leader:
            path = _tied(_rng(seed, symbol, "path"), path, bar, _HALF_LIFE_DAYS / day)
        else:
            leaders[instrument.calendar] = symbol
        rng = _rng(seed, symbol, "bars")
        columns = {"open_time": opens // 1_000, **_bars(rng, path, session)}
        kept = _present(rng, len(opens))
        frame = pl.DataFrame({name: column[kept] for name, column in columns.items()})
        frames[symbol] = frame.with_columns(pl.col("open_time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    return frames


def _rng(seed: int, symbol: str, what: str) -> np.random.Generator:
    return np.random.default_rng((seed, zlib.crc32(f"{symbol}/{what}".encode())))


def _opens(rng: np.random.Generator, instrument: Instrument, timeframe: str, first: int, last: int) -> I64:
    """Opens of the bars of an instrument between two instants: (R,) ns UTC."""
    length = TIMEFRAMES[timeframe]
    if is_round_the_clock(instrument.calendar):
        opens = np.arange(-(-first // length) * length, last, length, dtype=np.int64)
        return opens[opens + length <= last]
    days = np.arange(first // DAY, -(-last // DAY), dtype=np.int64)
    days = days[((days + 3) % 7 < 5) & (rng.random(len(days)) > _HOLIDAYS)]  # 1970-01-01 was a Thursday
    if length >= DAY:
        opens = days * DAY
        return opens[(opens >= first) & (opens + length <= last)]
    session = session_of(instrument.calendar)
    # Hourly bars lie on the clock's hours, as vendors have them: the 09:00 bar holds what is left from 09:30 on.
    anchor = session.open // length * length if length <= HOUR else session.open
    closes = closes_of(instrument.calendar, days)
    starts = np.arange(anchor, session.close, length, dtype=np.int64)
    wall = (days[:, None] * DAY + starts[None, :])[starts[None, :] < closes[:, None]]
    opens = _instants(wall, session)
    return opens[(opens >= first) & (opens + length <= last)]


def _instants(wall: I64, session: Session) -> I64:
    """UTC instants of wall times: (R,) -> (R,). Sessions do not lie in the hour in which clocks change."""
    guess = wall - (local_times(wall, session.zone) - wall)
    return wall - (local_times(guess, session.zone) - guess)


def _instrument(symbol: str, session: bool) -> Instrument:
    if session:
        return Instrument(
            symbol=symbol, asset_class="equity", kind="equity", tick_size=_TICK, lot_size=1.0, calendar="XNYS"
        )
    return Instrument(symbol=symbol, asset_class="crypto", tick_size=_TICK, lot_size=1e-6)


def _clock_bars(rows: int, timeframe: str) -> tuple[I64, I64]:
    """Opens and lengths of round-the-clock bars: (R,), ns."""
    length = TIMEFRAMES[timeframe]
    return FIRST + length * np.arange(rows, dtype=np.int64), np.full(rows, length, np.int64)


def _session_bars(rng: np.random.Generator, rows: int, timeframe: str) -> tuple[I64, I64]:
    """Opens and lengths of the bars of New York's sessions within the time of `rows` round-the-clock bars."""
    length = TIMEFRAMES[timeframe]
    span = rows * length
    days = np.arange(max(span // DAY, 1), dtype=np.int64)
    open_days = (days % 7 < 5) & (rng.random(len(days)) > _HOLIDAYS)
    open_days[0] = True
    days = days[open_days]
    if length == 7 * DAY:
        opens = FIRST + np.arange(rows, dtype=np.int64) * length
        return opens, np.full(len(opens), 5 * DAY, np.int64)
    if length == DAY:
        return FIRST + days * DAY, np.full(len(days), DAY, np.int64)
    first = dt.date(2001, 1, 1)
    zone = ZoneInfo("America/New_York")
    offsets = np.array(
        [
            int(dt.datetime.combine(first + dt.timedelta(days=int(d)), dt.time(12), zone).utcoffset().total_seconds())  # type: ignore[union-attr]
            for d in days
        ],
        dtype=np.int64,
    )
    starts = np.arange(0, 6 * HOUR + HOUR // 2, length, dtype=np.int64)
    lengths = np.minimum(length, 6 * HOUR + HOUR // 2 - starts)
    midnight = FIRST + days * DAY - offsets * 1_000_000_000
    opens = (midnight[:, None] + 9 * HOUR + HOUR // 2 + starts[None, :]).ravel()
    every = np.broadcast_to(lengths, (len(days), len(starts))).ravel()
    inside = opens + every <= FIRST + span
    if not inside.any():
        inside[0] = True
    return opens[inside], every[inside].copy()


def _log_prices(rng: np.random.Generator, rows: int, bar: float, pull: float = _PULL) -> F64:
    """A path of log closes (rows + 1,) with clustered volatility, fat tails and jumps, held in a broad band.

    bar   deviation of one bar's log return
    pull  share of the level that a bar takes back
    """
    shocks = rng.standard_t(6, rows + 1) / np.sqrt(1.5)
    jumps = (rng.random(rows + 1) < _JUMPS) * rng.normal(0.0, 5.0 * bar, rows + 1)
    calm = 1.0 - _SHOCK - _PERSISTENCE
    path = np.empty(rows + 1)
    level, variance = 0.0, 1.0
    for t in range(rows + 1):
        shock = float(np.sqrt(variance) * shocks[t])
        variance = min(calm + _SHOCK * shock * shock + _PERSISTENCE * variance, 25.0)
        level += bar * shock + jumps[t] - pull * level
        path[t] = level
    return path + np.log(100.0)


def _tied(rng: np.random.Generator, leader: F64, bar: float, half_life: float = _HALF_LIFE) -> F64:
    """A path that follows the leader's: 0.8 of its logarithm plus a spread that reverts.

    bar        deviation of one bar of the leader
    half_life  of the spread, bars
    """
    keep = 0.5 ** (1.0 / half_life)
    noise = rng.normal(0.0, _SPREAD * bar, len(leader))
    spread = np.empty(len(leader))
    gap = 0.0
    for t in range(len(leader)):
        gap = keep * gap + float(noise[t])
        spread[t] = gap
    return 0.8 * leader + spread + 0.2 * np.log(50.0)


def _vol(timeframe: str, session: bool) -> float:
    """Deviation of one bar's log return: 60% a year round the clock, 25% in sessions."""
    years = TIMEFRAMES[timeframe] / (365.0 * DAY)
    return _VOL_ANNUAL[session] * float(np.sqrt(years))


def _bars(rng: np.random.Generator, path: F64, session: bool) -> dict[str, F64]:
    """open, high, low, close, volume (R,) around a path of R + 1 log closes; prices lie on the tick."""
    size = len(path) - 1
    moves = np.diff(path)
    typical = float(np.std(moves)) if size > 1 else 0.01
    gaps = rng.normal(0.0, 0.4 * typical, size) * (rng.random(size) < (0.5 if session else 0.02))
    before, close = np.exp(path[:-1] + gaps), np.exp(path[1:])
    top = np.maximum(before, close) * np.exp(np.abs(rng.normal(0.0, 0.4 * typical, size)))
    bottom = np.minimum(before, close) * np.exp(-np.abs(rng.normal(0.0, 0.4 * typical, size)))
    opened, closed, high, low = (np.maximum(np.rint(v / _TICK), 1.0) * _TICK for v in (before, close, top, bottom))
    volume = np.exp(rng.normal(12.0, 0.5, size) + np.minimum(np.abs(moves) / typical, 6.0) * 0.3)
    volume[rng.random(size) < 0.002] = 0.0
    return {
        "open": opened,
        "high": np.maximum(high, np.maximum(opened, closed)),
        "low": np.minimum(low, np.minimum(opened, closed)),
        "close": closed,
        "volume": np.rint(volume),
    }


def _present(rng: np.random.Generator, rows: int) -> Any:
    """Which bars were published: (R,) of bool; 1% are lost one by one, ten in a row in one outage."""
    kept = rng.random(rows) >= 0.01
    if rows > 100:
        start = int(rng.integers(rows // 4, 3 * rows // 4))
        kept[start : start + 10] = False
    if not kept.any():
        kept[0] = True
    return kept
