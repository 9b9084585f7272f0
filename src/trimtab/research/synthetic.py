"""Synthetic bars with the habits of real ones, for checks that must run without data.

Each pair of instruments is tied together (cointegrated); pairs take turns between round-the-clock trading and
exchange sessions.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from trimtab.data.timeframes import canonical
from trimtab.types import DAY, F64, HOUR, I64, TIMEFRAMES, Instrument, Panel, TrimtabError

#: The first open: a Monday, so that weeks are whole.
FIRST: Final = int(np.datetime64("2001-01-01", "ns").astype(np.int64))
_LONGEST: Final = 200 * 365 * DAY

# GARCH(1, 1) of daily returns as a first look at most markets finds it (Bollerslev 1986; Engle and Patton 2001).
_SHOCK: Final = 0.08
_PERSISTENCE: Final = 0.90
_JUMPS: Final = 0.005
_TICK: Final = 0.01


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
            leader = _log_prices(np.random.default_rng((seed, n, 1)), len(opens) + 64, timeframe, session)
        path = _tied(rng, leader, timeframe, session) if second else leader
        bars = _bars(rng, path[: len(opens) + 1], session)
        kept = _present(rng, len(opens))
        columns = {"open_time": opens.view("datetime64[ns]"), **bars, "duration": lengths}
        symbol = f"SYN{n + 1}"
        frames[symbol] = pl.DataFrame({name: column[kept] for name, column in columns.items()})
        made.append(_instrument(symbol, session))
    return Panel.from_frames(frames, timeframe, made)


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
    open_days = (days % 7 < 5) & (rng.random(len(days)) > 0.03)  # 3%: holidays
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


def _log_prices(rng: np.random.Generator, rows: int, timeframe: str, session: bool) -> F64:
    """A path of log closes (rows + 1,) with clustered volatility, fat tails and jumps, held in a broad band."""
    bar = _vol(timeframe, session)
    shocks = rng.standard_t(6, rows + 1) / np.sqrt(1.5)
    jumps = (rng.random(rows + 1) < _JUMPS) * rng.normal(0.0, 5.0 * bar, rows + 1)
    calm = 1.0 - _SHOCK - _PERSISTENCE
    path = np.empty(rows + 1)
    level, variance = 0.0, 1.0
    for t in range(rows + 1):
        shock = float(np.sqrt(variance) * shocks[t])
        variance = min(calm + _SHOCK * shock * shock + _PERSISTENCE * variance, 25.0)
        # A weak pull keeps decades of bars away from prices of a cent, or of a trillion.
        level += bar * shock + jumps[t] - 0.0005 * level
        path[t] = level
    return path + np.log(100.0)


def _tied(rng: np.random.Generator, leader: F64, timeframe: str, session: bool) -> F64:
    """A path that follows the leader's: 0.8 of its logarithm plus a spread that reverts (half-life 20 bars)."""
    keep = 0.5 ** (1.0 / 20.0)
    noise = rng.normal(0.0, 0.6 * _vol(timeframe, session), len(leader))
    spread = np.empty(len(leader))
    gap = 0.0
    for t in range(len(leader)):
        gap = keep * gap + float(noise[t])
        spread[t] = gap
    return 0.8 * leader + spread + 0.2 * np.log(50.0)


def _vol(timeframe: str, session: bool) -> float:
    """Deviation of one bar's log return: 60% a year round the clock, 25% in sessions."""
    years = TIMEFRAMES[timeframe] / (365.0 * DAY)
    return (0.25 if session else 0.60) * float(np.sqrt(years))


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
