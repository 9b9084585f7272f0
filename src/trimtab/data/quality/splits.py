"""Splits that prices show and no event explains, and events that prices do not show.

A split is a jump from a close to the next open that (1) is far beyond the volatility of its time, (2) is near the ratio
k:m of a usual split, (3) stays, and (4) leaves the traded value as it was: after a 2:1 split twice the shares trade at
half the price, while a market that falls by half trades many times its usual value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from trimtab.data.quality.findings import Bars, Hit, iso
from trimtab.data.quality.prices import Moves, moves_of
from trimtab.types import DAY, F64, I64, TIMEFRAMES, Panel

if TYPE_CHECKING:
    import polars as pl

#: New shares for old ones, as companies have split; the reverse ones are their mirror.
_FORWARD: Final = (
    (5, 4), (4, 3), (3, 2), (5, 3), (2, 1), (5, 2), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1), (10, 1),
    (12, 1), (15, 1), (20, 1), (25, 1), (30, 1), (40, 1), (50, 1), (100, 1),
)  # fmt: skip
RATIOS: Final = (*_FORWARD, *((old, new) for new, old in _FORWARD))
_LOGS: Final = np.log([new / old for new, old in RATIOS])

JUMP_SCALE: Final = 6.0  # local deviations that an open must be away from the close before
_MOVE_SCALE: Final = 4.0  # local deviations that the market may have moved besides
_MOVE: Final = (0.005, 0.06)  # … and the bounds of that, log
_LEAST: Final = 0.16  # log of the smallest jump that is looked at, below 5:4 and its move
_VALUE: Final = 3.0  # times that the traded value may be more or less than before
_DAYS_BEFORE: Final = 20
_BARS_AROUND: Final = 10
_MOST: Final = 1_000  # jumps looked at: a series with more has another fault


class Event(NamedTuple):
    """A stored split: ns UTC of 00:00 of its day, and new shares per old one."""

    ts: int
    ratio: float


def splits_of(events: pl.DataFrame | None) -> tuple[Event, ...]:
    """The splits among stored events (ts, kind, value)."""
    if events is None or events.is_empty():
        return ()
    rows = events.filter(events["kind"] == "split").sort("ts")
    stamps = rows["ts"].dt.timestamp("ns").to_list()
    return tuple(Event(int(ts), float(value)) for ts, value in zip(stamps, rows["value"].to_list(), strict=True))


class Jump(NamedTuple):
    """What a row shows: fault, the sentence that says it, and the split that would explain it (NaN: none)."""

    row: int
    fault: str
    said: str
    ratio: float


def split_faults(b: Bars, moves: Moves, length: int, events: Sequence[Event]) -> tuple[list[Hit], I64]:
    """Unexplained splits, unseen and inverted events, of bars in order of time; and the rows at which a split shows."""
    jumps, known = _judged(b, moves, length, events)
    hits = [_hit(fault, [j for j in jumps if j.fault == fault]) for fault in ("split", "inverted", "adjusted")]
    shown = [j.row for j in jumps if j.fault != "adjusted"] + known
    return hits, np.array(shown, dtype=np.int64)


def _hit(fault: str, jumps: Sequence[Jump]) -> Hit:
    def say(i: int) -> str:
        return jumps[i].said

    return Hit(fault, np.array([j.row for j in jumps], dtype=np.int64), say)


def doubtful_splits(panel: Panel) -> Iterator[tuple[str, int, Jump]]:
    """The same of a panel's equities, whose events are its field `split`: symbol, ns UTC of the bar's close, what.

    Bars of more than a day are passed over: a split inside one is no jump at its open.
    """
    length = TIMEFRAMES[panel.timeframe]
    if length > DAY:
        return
    at = panel.fields.index
    for n, instrument in enumerate(panel.instruments):
        rows = np.flatnonzero(panel.values[:, n, at("close")] > 0.0)
        if instrument.asset_class != "equity" or len(rows) < 2:
            continue
        x, split = panel.values[rows, n], at("split") if "split" in panel.fields else -1
        told = x[:, split] if split >= 0 else np.full(len(rows), np.nan)
        there = np.flatnonzero(np.isfinite(told))
        if not len(there) and not (np.abs(np.log(x[1:, at("open")] / x[:-1, at("close")])) > _LEAST).any():
            continue  # nearly always: nothing to look at
        opens = panel.ts[rows] - x[:, at("duration")].astype(np.int64)
        bars = Bars(opens, *(x[:, at(name)] for name in ("open", "high", "low", "close", "volume")))
        events = [Event(int(opens[r]), float(told[r])) for r in there.tolist()]
        for jump in _judged(bars, moves_of(bars), length, events)[0]:
            yield instrument.symbol, int(panel.ts[rows[jump.row]]), jump


def _judged(b: Bars, moves: Moves, length: int, events: Sequence[Event]) -> tuple[list[Jump], list[int]]:
    """What is wrong, and the rows at which a stored split shows as it should."""
    if len(b.opens) < 2:
        return [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        jump = np.append(0.0, np.log(b.open[1:] / b.close[:-1]))
    scale = moves.unit.copy()
    scale[1:] *= np.sqrt(np.maximum(np.diff(b.opens) / length, 1.0))
    candidates = np.flatnonzero((np.abs(jump) > _LEAST) & (np.abs(jump) > JUMP_SCALE * scale))[:_MOST]
    found: list[Jump] = []
    known: list[int] = []
    wrong: set[Event] = set()
    for r in candidates.tolist():
        allowed = float(np.clip(_MOVE_SCALE * scale[r], *_MOVE))
        mine = [e for e in events if _explains(e, b.opens, r)]
        if any(abs(jump[r] + np.log(e.ratio)) < 2.0 * allowed for e in mine):
            known.append(r)
        elif turned := [e for e in mine if abs(jump[r] - np.log(e.ratio)) < 2.0 * allowed]:
            found.append(_inverted(b, float(jump[r]), r, turned[0]))
            wrong.add(turned[0])
        elif (split := _split_at(b, float(jump[r]), r, length, allowed, mine)) is not None:
            found.append(split)
            wrong.update(mine)
    return [*found, *_unseen(b, jump, [e for e in events if e not in wrong])], known


def _split_at(b: Bars, jump: float, r: int, length: int, allowed: float, stored: Sequence[Event]) -> Jump | None:
    """A split that nobody stored, if the jump of a row looks like one; stored: others of its day."""
    k = int(np.abs(_LOGS + jump).argmin())
    if abs(_LOGS[k] + jump) > min(allowed, 0.25 * abs(_LOGS[k])) or not _stays(b.close, r, jump):
        return None
    value = _value_ratio(b, r, length)
    if (np.isnan(value) and abs(_LOGS[k]) < 0.65) or abs(np.log(value)) > np.log(_VALUE):
        return None
    new, old = RATIOS[k]
    traded = "volume is unknown" if np.isnan(value) else f"the traded value stays ({value:.1f} times)"
    but = f", but one of {stored[0].ratio:g} new shares per old one" if stored else ""
    said = (
        f"open {b.open[r]:g} is {np.exp(jump):.3f} of the close before, near a {new}:{old} split, and {traded}: "
        f"no such split is stored{but}"
    )
    return Jump(r, "split", said, new / old)


def _inverted(b: Bars, jump: float, r: int, event: Event) -> Jump:
    """An event whose ratio is upside down: old shares per new one."""
    fits = float(f"{1.0 / event.ratio:.4g}")
    said = (
        f"open {b.open[r]:g} is {np.exp(jump):.3f} of the close before, and a split of {event.ratio:g} new shares per "
        f"old one is stored for {iso(event.ts)[:10]}: its ratio is upside down, {fits:g} would fit"
    )
    return Jump(r, "inverted", said, fits)


def _explains(event: Event, opens: I64, row: int) -> bool:
    """Whether a bar is the first one of an event's day, which may be labelled by the evening before it."""
    return any(opens[row - 1] < ts <= opens[row] for ts in (event.ts, event.ts - DAY // 2))


def _stays(close: F64, row: int, jump: float) -> bool:
    """Whether the closes after it are away from those before it by most of the jump."""
    earlier: F64 = close[max(row - _BARS_AROUND, 0) : row]
    later: F64 = close[row : row + _BARS_AROUND]
    before, after = float(np.median(earlier)), float(np.median(later))
    return before > 0.0 and after > 0.0 and abs(np.log(after / before) - jump) < 0.35 * abs(jump)


def _value_ratio(b: Bars, row: int, length: int) -> float:
    """Traded value of the first day from a row on, over that of a usual day before it; NaN where unknown."""
    if length < DAY:
        at = int(b.opens[row])
        end = int(np.searchsorted(b.opens, at + DAY // 2))  # a session, or half a day round the clock
        begin = int(np.searchsorted(b.opens, at - _DAYS_BEFORE * DAY))
    else:
        begin, end = row - _DAYS_BEFORE, row + 1
    begin = max(begin, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value: F64 = b.close[begin:end] * b.volume[begin:end]
        before = float(value[: row - begin].sum()) / (row - begin)
        return float(value[row - begin :].sum()) / (end - row) / before if before > 0.0 else float("nan")


def _unseen(b: Bars, jump: F64, events: Sequence[Event]) -> Iterator[Jump]:
    """Events at which prices go on as if nothing had been: they are adjusted already."""
    for event in events:
        row = int(np.searchsorted(b.opens, event.ts - DAY // 2))
        if not 0 < row < len(b.opens) or b.opens[row - 1] < event.ts - 30 * DAY:
            continue
        around = jump[row : int(np.searchsorted(b.opens, event.ts + DAY, side="right"))]
        log = float(np.log(event.ratio))
        if abs(log) > _LEAST and len(around) and (np.abs(around + log) > np.abs(around)).all():
            said = (
                f"a split of {event.ratio:g} new shares per old one is stored for {iso(event.ts)[:10]}, but prices do "
                "not jump: they are adjusted already, and the event would count twice"
            )
            yield Jump(row, "adjusted", said, np.nan)
