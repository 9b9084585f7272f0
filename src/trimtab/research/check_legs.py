"""Legs and across: what becomes of a forecast before it is sized."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from trimtab.research.check_subject import Finding, Subject, Unit, bits, first_difference, fold, leaves
from trimtab.strategies.folding import decisions
from trimtab.types import F64

_CLOSE: Final = 1e-9


def legs(subject: Subject) -> list[Finding]:
    """Leg weights: as many as legs, finite, with sum |w| = |f|; asking for them changes nothing."""
    subject = subject.derived()
    for unit in subject.units:
        end, dense = fold(subject, unit.ts, unit.x)
        kept = np.flatnonzero(~np.isnan(dense))
        made = decisions(subject.strategy, subject.params, unit.x.copy(), True, unit.ts, subject.origin(unit))
        count = unit.x.shape[1]
        rows, weights = made.row[::count], made.value.reshape(-1, count)
        if not np.array_equal(rows, kept):
            return [
                _leg_break(subject, unit, 0, "asking for legs changes later forecasts: legs writes into State or x")
            ]
        gap = np.abs(np.abs(weights).sum(axis=1) - np.abs(dense[kept]))
        wrong = ~(gap <= _CLOSE)  # NaN is wrong too
        if wrong.any():
            n = int(wrong.argmax())
            row = int(kept[n])
            seen = f"legs are {', '.join(f'{w:g}' for w in weights[n])} for a forecast of {dense[row]:g}"
            return [_leg_break(subject, unit, row, seen)]
        found = _legs_are_pure(subject, unit, end.state)
        if found:
            return [found]
    return []


def _leg_break(subject: Subject, unit: Unit, row: int, seen: str) -> Finding:
    return subject.broken(
        "legs",
        f"{unit.name}: {seen}; expected finite weights with Σ|w| = |f|. Usual cause: weights (1, -hedge) "
        "that are not divided by 1 + |hedge|, or a hedge ratio that is NaN or zero. Scale: w * abs(f) / sum(abs(w))",
        "legs",
        (unit, row),
    )


def _legs_are_pure(subject: Subject, unit: Unit, state: Any) -> Finding | None:
    """Called from outside with the last state and row: nothing that it was handed may change."""
    if subject.strategy.legs is None:
        return None
    x = unit.x[-1].copy()
    before = [(path, bits(v)) for path, v in leaves(state)]
    subject.strategy.legs(subject.params, state, x, 0.5)
    changed = next((p for (p, was), (_, v) in zip(before, leaves(state), strict=True) if bits(v) != was), None)
    if changed is None and bits(x) == bits(unit.x[-1]):
        return None
    return _leg_break(subject, unit, len(unit.x) - 1, f"legs wrote into {changed or 'x'}")


def across(subject: Subject) -> list[Finding]:
    """A function of one row of forecasts: shape, NaN, order and range, for several numbers of instruments."""
    rng = subject.rng("across")
    for size in (1, 2, 3, 7):
        for _ in range(12):
            row = rng.uniform(-1.0, 1.0, size)
            absent = rng.random(size) < 0.3
            row[absent] = np.nan
            try:
                seen = _across_break(subject, row, rng.permutation(size))
            except Exception as error:  # whatever a user's across may raise
                seen = f"it raised {type(error).__name__}: {error}"
            if seen:
                shown = ", ".join(f"{v:.3g}" for v in row)
                return [
                    subject.broken(
                        "across",
                        f"for forecasts ({shown}) {seen}. across must be a function of its row alone. Usual cause: a "
                        "sum or rank that counts NaN (use np.nansum or skip them), a division by one instrument, an "
                        "in-place edit of f. Leave NaN where NaN was, and values within -1 to 1",
                        "across",
                    )
                ]
    return []


def _across_break(subject: Subject, row: F64, order: Any) -> str | None:
    function: Any = subject.strategy.across

    def of(values: F64) -> Any:
        return function(subject.params, values)

    handed = row.copy()
    out = of(handed)
    if np.shape(out) != row.shape:
        return f"it returned shape {np.shape(out)}; expected {row.shape}"
    out = np.array(out, dtype=np.float64)
    if bits(handed) != bits(row):
        return "it wrote into the forecasts it was handed"
    absent = np.isnan(row)
    if (~np.isnan(out[absent])).any():
        return f"an instrument that abstains (NaN) got weight {out[absent][~np.isnan(out[absent])][0]:g}"
    if len(row) > 1 and (~absent).sum() > 1 and np.isnan(out[~absent]).any():
        return "an instrument with a forecast got NaN"
    if (np.abs(out) > 1.0 + _CLOSE).any():
        return f"a weight is {out[np.nanargmax(np.abs(out))]:g}"
    if first_difference(out, np.array(of(row.copy()), dtype=np.float64)) is not None:
        return "a second call gave other weights"
    if not np.allclose(of(row[order].copy()), out[order], rtol=0.0, atol=1e-12, equal_nan=True):
        return "another order of the same instruments gave other weights"
    more = np.append(row, np.nan)
    if not np.allclose(of(more)[:-1], out, rtol=0.0, atol=1e-12, equal_nan=True):
        return "one more instrument that abstains changed the weights of the others"
    return None
