"""Bars of several instruments, out of data frames and onto one grid of close instants.

`Panel.from_frames` is how this is called. Frames are Polars' or pandas'; neither is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trimtab.types import BAR_FIELDS, F64, I64, LINE, TIMEFRAMES, TrimtabError
from trimtab.words import utc


def grid_of(frames: Mapping[str, Any], timeframe: str) -> tuple[I64, tuple[str, ...], F64]:
    """Frames by symbol on the union of their close instants; NaN where an instrument has no bar.

    ->  ts (T,); the K fields; lines (T, N, 8 or more) that begin with them

    See `Panel.from_frames` for the columns and the faults that are refused.
    """
    if timeframe not in TIMEFRAMES:
        raise TrimtabError(f"Panel.from_frames: unknown timeframe {timeframe!r}, known are {', '.join(TIMEFRAMES)}")
    if not frames:
        raise TrimtabError("Panel.from_frames: no frames given, expected a mapping of symbol to frame")
    fields = (*BAR_FIELDS, *_extra_fields(tuple(frames.values())))
    bars = [_bars_of(symbol, frame, timeframe, fields) for symbol, frame in frames.items()]
    ts, lines = _aligned([b[0] for b in bars], [b[1] for b in bars])
    return ts, fields, lines


def _extra_fields(frames: Sequence[Any]) -> list[str]:
    """Numeric columns that all frames share, beyond those of every bar, in the order of the first frame."""
    first, *others = frames
    names = [str(c) for c in first.columns if c not in BAR_FIELDS and c != "open_time"]
    names = [n for n in names if all(n in f.columns for f in others)]
    return [n for n in names if all(f[n].to_numpy().dtype.kind in "fiu" for f in frames)]


def _bars_of(symbol: str, frame: Any, timeframe: str, fields: Sequence[str]) -> tuple[I64, list[F64 | float]]:
    """Close instants and columns of one frame; a scalar stands for a column that is the same everywhere."""
    columns = set(map(str, frame.columns))
    missing = [c for c in ("open_time", "open", "high", "low", "close") if c not in columns]
    if missing:
        raise TrimtabError(
            f"Panel.from_frames: {symbol}: no column {', '.join(missing)}; expected open_time, open, high, low, close "
            f"and (if known) volume, found {', '.join(map(str, frame.columns))}"
        )
    opens = _instants(symbol, frame["open_time"])
    _refuse_disorder(symbol, "open_time", opens, opens)
    lengths: I64 | int = TIMEFRAMES[timeframe]
    if "duration" in columns:
        lengths = _lengths(symbol, frame["duration"], opens)
    ts = opens + lengths
    if not isinstance(lengths, int):
        _refuse_disorder(symbol, "close (open_time + duration)", ts, opens)
    values: list[F64 | float] = []
    for field in fields:
        if field == "duration":
            values.append(float(lengths) if isinstance(lengths, int) else lengths.astype(np.float64))
        else:
            values.append(_numbers(symbol, field, frame[field]) if field in columns else np.nan)
    return ts, values


def _instants(symbol: str, column: Any) -> I64:
    """ns UTC of a datetime column; pandas converts a time zone only when it is asked for a dtype."""
    zoned = getattr(column.dtype, "tz", None) is not None
    raw = column.to_numpy(dtype="datetime64[ns]") if zoned else column.to_numpy()
    if raw.dtype.kind != "M":
        raise TrimtabError(
            f"Panel.from_frames: {symbol}: column open_time is {column.dtype}, expected datetimes "
            "(UTC, or naive for UTC)"
        )
    if np.isnat(raw).any():
        raise TrimtabError(f"Panel.from_frames: {symbol}: row {int(np.isnat(raw).argmax())}: open_time is missing")
    if raw.dtype == "datetime64[us]":  # as stored; the general conversion takes ten times as long
        return np.ascontiguousarray(raw).view(np.int64) * 1_000
    return np.ascontiguousarray(raw, dtype="datetime64[ns]").view(np.int64)


def _lengths(symbol: str, column: Any, opens: I64) -> I64:
    raw = column.to_numpy()
    lengths = raw.astype("timedelta64[ns]").astype(np.int64) if raw.dtype.kind == "m" else raw.astype(np.int64)
    if (lengths <= 0).any():
        row = int((lengths <= 0).argmax())
        raise TrimtabError(f"Panel.from_frames: {symbol}: row {row} ({utc(opens[row])}): duration is not positive")
    return lengths


def _numbers(symbol: str, field: str, column: Any) -> F64:
    try:
        return np.asarray(column.to_numpy(), dtype=np.float64)
    except (TypeError, ValueError):
        raise TrimtabError(f"Panel.from_frames: {symbol}: column {field} is {column.dtype}, expected numbers") from None


def _refuse_disorder(symbol: str, what: str, ts: I64, opens: I64) -> None:
    wrong = ts[1:] <= ts[:-1]
    if wrong.any():
        row = int(wrong.argmax()) + 1
        fault = "is a duplicate of" if ts[row] == ts[row - 1] else "is before"
        raise TrimtabError(
            f"Panel.from_frames: {symbol}: row {row} ({utc(opens[row])}): {what} {fault} the row above; "
            "rows must be sorted by open_time, each instant once"
        )


def _aligned(stamps: Sequence[I64], columns: Sequence[Sequence[F64 | float]]) -> tuple[I64, F64]:
    """N series of K columns on the union of their instants: -> ts (T,), (T, N, 8 or more) with NaN where absent."""
    ts = stamps[0]
    if any(len(s) != len(ts) or not np.array_equal(s, ts) for s in stamps[1:]):
        ts = np.unique(np.concatenate(stamps))
    # Plain bars lie in lines of eight: the market that a run reads is this memory, its last two columns filled in.
    width = max(len(columns[0]), LINE)
    shape = (len(ts), len(stamps), width)
    whole = all(len(s) == len(ts) for s in stamps)
    lines = np.empty(shape) if whole else np.full(shape, np.nan)
    step = max(1, 196_608 // (shape[1] * shape[2]))  # rows that fit in the cache: each line is written once
    for n, (instants, series) in enumerate(zip(stamps, columns, strict=True)):
        rows = None if len(instants) == len(ts) else np.searchsorted(ts, instants)
        for a in range(0, len(instants), step):
            target = slice(a, a + step) if rows is None else rows[a : a + step]
            for k, column in enumerate(series):
                lines[target, n, k] = column[a : a + step] if isinstance(column, np.ndarray) else column
    return ts, lines
