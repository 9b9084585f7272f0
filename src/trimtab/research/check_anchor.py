"""Anchor: where the blocks of an indicator begin must not matter, for they begin elsewhere in another timeframe."""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.research.check_subject import Finding, Subject, Unit, fold, looks_ahead, size_of
from trimtab.strategies.indicators import rows_before
from trimtab.types import F64, Indicator

#: Anchors that are tried beside the own ones.
_ANCHORS: Final = 8
#: What other sums in another order may come to: of a forecast, and of an indicator's largest value.
_CLOSE: Final = 1e-9


def anchor(subject: Subject) -> list[Finding]:
    """Blocks that begin at other rows: the same indicators and forecasts, to 1e-9."""
    if looks_ahead(subject):
        told = "cannot be tested while an indicator looks at later rows: mend prefix first"
        return [subject.broken("anchor", told)]
    own = subject.derived()
    known = [fold(own, unit.ts, unit.x)[1] for unit in own.units]
    found: dict[str, Finding] = {}
    for row in _rows_of(subject):
        moved = subject.derived(moved=int(subject.units[0].ts[row]))
        for n, (unit, other) in enumerate(zip(own.units, moved.units, strict=True)):
            for indicator in subject.strategy.indicators:
                k = subject.strategy.fields.index(indicator.name)
                for leg in range(unit.x.shape[1]):
                    a, b = unit.x[:, leg, k], other.x[:, leg, k]
                    at = _worst(a, b, _CLOSE * float(np.abs(a[np.isfinite(a)]).max(initial=0.0)))
                    if at is not None:
                        told = _moved(subject, indicator, unit, leg, (at, float(a[at]), float(b[at])))
                        found.setdefault(indicator.name, told)
            out = fold(moved, other.ts, other.x)[1]
            at = _worst(known[n], out, _CLOSE)
            if at is not None and not found:
                found["forecast"] = _flipped(subject, unit, (at, float(known[n][at]), float(out[at])))
    return list(found.values())[:3]


def _rows_of(subject: Subject) -> list[int]:
    """Rows of the first unit at which a block is made to begin: with two warm-ups before them, if there are so many."""
    rows, longest = len(subject.units[0].ts), _longest(subject)
    first = 2 * longest + 1 if rows > 2 * longest + _ANCHORS else min(longest + 1, rows - 1)
    return sorted({int(t) for t in subject.rng("anchor").integers(first, rows, _ANCHORS)})


def _longest(subject: Subject) -> int:
    return max(rows_before(subject.strategy, each, subject.params) for each in subject.strategy.indicators)


def _worst(a: F64, b: F64, close: float) -> int | None:
    """The row at which two series are furthest apart, by more than that; where one of them is NaN counts most."""
    lone = np.isnan(a) != np.isnan(b)
    if lone.any():
        return int(lone.argmax())
    with np.errstate(invalid="ignore"):
        gap = np.where(a == b, 0.0, np.abs(a - b))
    gap[np.isnan(gap)] = 0.0  # neither is there
    return int(gap.argmax()) if len(gap) and gap.max() > close else None


def _moved(subject: Subject, indicator: Indicator, unit: Unit, leg: int, seen: tuple[int, float, float]) -> Finding:
    row, value, other = seen
    where = f"{indicator.name} of {unit.symbols[leg]} at row {unit.place(row)}"
    before = rows_before(subject.strategy, indicator, subject.params)
    size = "" if np.isnan(value - other) else f": a difference of {abs(value - other):.2g}"
    return subject.broken(
        "anchor",
        f"{where} is {value:.12g}, and {other:.12g} in blocks that begin at other rows{size}. Usual cause: it "
        f"remembers more than the {before:,} rows that its warmup says. A window counts more rows, an ewm fades slower "
        "(40 half-lives come to 1e-12), a cum_ counts from the first row of the frame. Raise the warmup, or take a "
        "rolling_ of it. Or it compares two values that are equal but for rounding",
        indicator.name,
        (unit, row),
        size_of(value, other),
    )


def _flipped(subject: Subject, unit: Unit, seen: tuple[int, float, float]) -> Finding:
    row, value, other = seen
    return subject.broken(
        "anchor",
        f"{unit.name}: the forecast of row {unit.place(row)} is {value:.12g}, and {other:.12g} in blocks that begin at "
        "other rows, though its indicators agree to 1e-9 there. Usual cause: it compares two of them that are equal "
        "but for rounding. Read `ticks` in place of close, whose sums are exact, or keep the side at a tie",
        "forecast",
        (unit, row),
        size_of(value, other),
    )
