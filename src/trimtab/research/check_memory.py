"""Warm-up and history: from which row on a forecast is honest, and how long the first rows matter."""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.research.check_subject import Finding, Subject, Unit, fold, size_of
from trimtab.types import F64

#: Two forecasts closer than this are the same when memory fades (EWM) or sums were added in another order.
SAME: Final = 1e-9
#: A window that ends moves a forecast by more than this; a fading memory has come down to less.
ABRUPT: Final = 1e-6


def starts_of(subject: Subject, unit: Unit) -> list[int]:
    """Rows to begin at, all of which leave room for two warm-ups and a little more."""
    room = len(unit.x) - 2 * subject.warmup - 40
    if room < 2:
        return []
    drawn = subject.rng("starts").integers(1, room, 8)
    return sorted({int(a) for a in drawn})


def warm_up(subject: Subject) -> list[Finding]:
    """The first forecast comes after exactly the declared rows, and is as good as with all of history before it."""
    declared = subject.warmup
    firsts: list[int] = []
    ends: list[tuple[int, float]] = []
    for unit in subject.units:
        _, whole = fold(subject, unit.ts, unit.x)
        for start in (0, *starts_of(subject, unit)):
            _, out = fold(subject, unit.ts[start:], unit.x[start:])
            finite = np.flatnonzero(~np.isnan(out))
            if not len(finite):
                continue
            firsts.append(int(finite[0]))
            if finite[0] < declared:
                return [_early(subject, unit, start, int(finite[0]))]
            ends.extend(_last_difference(whole[start:], out, declared) if start else ())
    if not firsts:
        return [
            subject.broken(
                "warm-up",
                f"no forecast at all in {max(len(u.x) for u in subject.units):,} rows, so nothing was tested. Usual "
                "cause: a NaN that never leaves the state, or a condition that never holds. Try other data or params",
                "forecast",
            )
        ]
    if min(firsts) == max(firsts) > declared and len(firsts) > 1:
        return [_late(subject, firsts[0], f"the first forecast comes at row {firsts[0]}")]
    rows = [row for row, _ in ends]
    if len(ends) >= 5 and len(set(rows)) == 1 and min(size for _, size in ends) > ABRUPT and rows[0] > declared:
        seen = f"forecasts depend on where history starts up to row {rows[0]} and not after it"
        return [_late(subject, rows[0] + 1, seen)]
    return []


def _early(subject: Subject, unit: Unit, start: int, row: int) -> Finding:
    return subject.broken(
        "warm-up",
        f"{unit.name}: warmup says {subject.warmup} rows, but the first forecast comes after {row} rows, before its "
        "windows are full. Usual cause: a count that starts at 1, or > where >= is meant. Return np.nan until warm",
        "warmup",
        (unit, start + row),
    )


def _late(subject: Subject, rows: int, seen: str) -> Finding:
    unit = subject.units[0]
    return subject.broken(
        "warm-up",
        f"warmup says {subject.warmup} rows, but {seen}, whatever the data: the true warm-up is {rows}. Usual cause: "
        "one lookback was forgotten, a window counts returns instead of closes, or forecasts begin before the longest "
        "window is full. Correct warmup(p), and abstain (np.nan) until then",
        "warmup",
        (unit, rows),
    )


def _last_difference(whole: F64, late: F64, declared: int) -> list[tuple[int, float]]:
    """The last row, and its size, at which a later start still matters; none where it never does or never ends."""
    gap = differences(whole, late)[declared:]
    wrong = np.flatnonzero(gap > SAME)
    if not len(wrong) or wrong[-1] >= len(gap) - 2:
        return []
    return [(declared + int(wrong[-1]), float(gap[wrong[-1]]))]


def differences(a: F64, b: F64) -> F64:
    """|a - b| row by row; where one abstains, how far the other is from 0."""
    return np.abs(np.nan_to_num(a) - np.nan_to_num(b))


def history(subject: Subject) -> list[Finding]:
    """How much the first row still matters, after the warm-up and after ten: a size, unless it matters for ever."""
    found = _phase(subject)
    if found:
        return [found]
    near, far, reach = 0.0, 0.0, False
    for unit in subject.units:
        _, whole = fold(subject, unit.ts, unit.x)
        for start in starts_of(subject, unit):
            _, out = fold(subject, unit.ts[start:], unit.x[start:])
            gap = differences(whole[start:], out)
            w = subject.warmup
            near = max(near, float(gap[w : w + max(w, 20)].max(initial=0.0)))
            later = gap[10 * max(w, 5) :]
            reach = reach or len(later) > 0
            far = max(far, float(later.max(initial=0.0)))
    if near <= SAME and far <= SAME:
        said = "no row before the warm-up matters"
    else:
        after = f"{far:.2g} after 10 warm-ups" if reach else "not measured after 10 warm-ups (too few rows)"
        said = f"starting later moves a forecast by up to {near:.2g} after the warm-up, {after}"
        if far > 0.01:
            said += ": what is held stays held, so compare runs from the same first bar, and live from a saved state"
    return [Finding("history", True, None, None, said)]


# --- the row that history starts at, for ever ------------------------------------------------------------------------

#: Rows after a warm-up in which two starts may still come together, at least.
_PATIENCE: Final = 400
_ANCHORS: Final = 4


def _phase(subject: Subject) -> Finding | None:
    """A start one row later that moves forecasts for ever, without fading: something counts rows from the first one.

    What is held comes together at the next signal, what fades or expands hardly notices one row, and an extreme only
    if it stood in that row.
    """
    unit = max(subject.units, key=lambda u: len(u.x))
    ends = subject.warmup + max(_PATIENCE, 10 * subject.warmup)
    room = len(unit.x) - ends - _ANCHORS - 2
    if room < _ANCHORS:
        return None
    shown: list[tuple[float, int, float, float]] = []
    for start in (int(a) for a in subject.rng("phase").integers(1, room, _ANCHORS)):
        _, a = fold(subject, unit.ts[start:], unit.x[start:])
        _, b = fold(subject, unit.ts[start + 1 :], unit.x[start + 1 :])
        gap = differences(a[1:], b)[subject.warmup :]
        third = len(gap) // 3
        early, late = gap[:third], gap[-third:]
        lively = np.count_nonzero(np.diff(np.nan_to_num(b[-third:]))) >= 10
        lasting = float((late > ABRUPT).mean()) > 0.1 and float(late.mean()) > 0.5 * float(early.mean())
        if not (lively and lasting and float(late.max()) > 0.01):
            return None
        at = len(gap) - third + int(late.argmax())
        row = start + 1 + subject.warmup + at
        shown.append((float(late.mean()), row, a[row - start], b[row - start - 1]))
    size, row, first, second = max(shown)
    return subject.broken(
        "history",
        f"{unit.name}: beginning one row later moves forecasts by {size:.2g} on average, for ever: that of row "
        f"{unit.place(row)} from {first:.6g} to {second:.6g}. Usual cause: rows are counted from the first one (every "
        "fifth row, a block of 20). Live begins elsewhere, and so does a longer backtest. Decide on the calendar (a "
        "Fit every 7 days, a close at 00:00) or on what the bars say",
        "forecast",
        (unit, row),
        size_of(first, second),
    )
