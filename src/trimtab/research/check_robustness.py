"""Range, missing data, parameters: what a strategy does on wild data, after gaps and with every accepted setting."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from trimtab.research.check_subject import Finding, Subject, Unit, fold, fold_until_error
from trimtab.strategies import params_of
from trimtab.types import F64, TrimtabError

# --- range -----------------------------------------------------------------------------------------------------------


def stress_of(subject: Subject, unit: Unit) -> Generator[tuple[str, F64]]:
    """Rows as markets bring them: the data, a series that stands still, wild moves, no volume, small prices."""
    yield "the data", unit.x
    still = np.repeat(unit.x[:1], min(len(unit.x), 3 * subject.warmup + 200), axis=0)
    yield "a series that stands still", still
    jumpy = unit.x.copy()
    prices = [k for k, f in enumerate(subject.strategy.reads) if f in ("open", "high", "low", "close", "ticks")]
    jumpy[len(jumpy) // 2 :, :, prices] *= 20.0
    yield "a price that rises twentyfold in one bar", jumpy
    small = unit.x.copy()
    small[:, :, prices] *= 1e-4
    yield "prices of a cent or less", small
    if "volume" in subject.strategy.reads:
        silent = unit.x.copy()
        silent[len(silent) // 3 :, :, subject.strategy.reads.index("volume")] = 0.0
        yield "bars without volume", silent


def in_range(subject: Subject) -> list[Finding]:
    """Every forecast is NaN or within [-1, 1], on quiet and on wild data, and no row makes the step raise."""
    for unit in subject.units:
        for name, x in stress_of(subject, unit):
            out, error = fold_until_error(subject, unit.ts, x)
            if error is not None:
                return [
                    subject.broken(
                        "range",
                        f"{unit.name}: on {name} step raised {type(error).__name__}: {error}. A step must answer every "
                        "row: guard the division or logarithm and return np.nan to abstain",
                        "forecast",
                    )
                ]
            found = out_of_range(subject, unit, out, f"on {name}")
            if found:
                return [found]
    return []


def out_of_range(subject: Subject, unit: Unit, out: F64, where: str, law: str = "range") -> Finding | None:
    wrong = np.abs(out) > 1.0  # NaN compares false, inf true
    if not wrong.any():
        return None
    row = int(wrong.argmax())
    infinite = np.isinf(out[row])
    cause = "a division by a deviation of zero" if infinite else "a score that is not scaled or clipped"
    return subject.broken(
        law,
        f"{unit.name}: {where} a forecast is {out[row]:g}; expected NaN or -1 to 1. Usual cause: "
        f"{cause}. A forecast of 1 is the whole of the model's share: clip with min(max(f, -1.0), 1.0)",
        "forecast",
        (unit, row) if row < len(unit.rows) else None,
    )


# --- missing data ----------------------------------------------------------------------------------------------------


def missing(subject: Subject) -> list[Finding]:
    """One NaN, and a few in a row, in a field: the strategy abstains or goes on, and comes back."""
    for unit in subject.units:
        _, clean = fold(subject, unit.ts, unit.x)
        at = subject.warmup + (len(unit.x) - subject.warmup) // 4
        tail = at + min(2 * subject.warmup + 50, (len(unit.x) - at) // 2)
        for leg in range(unit.x.shape[1]):
            for k, field in enumerate(subject.strategy.reads):
                if field in ("close", "ticks"):
                    continue  # a bar without a close is never stepped
                for length in (1, 3):
                    x = unit.x.copy()
                    x[at : at + length, leg, k] = np.nan
                    found = _recovers(subject, unit, clean, x, (at, tail), field)
                    if found:
                        return [found]
    return []


def _recovers(subject: Subject, unit: Unit, clean: F64, x: F64, rows: tuple[int, int], field: str) -> Finding | None:
    at, tail = rows
    out, error = fold_until_error(subject, unit.ts, x)
    if error is not None:
        seen = f"step raised {type(error).__name__}: {error}"
    elif out_of_range(subject, unit, out, "") is not None:
        seen = "a forecast left the range of -1 to 1"
    elif np.isfinite(clean[tail:]).any() and not np.isfinite(out[tail:]).any():
        seen = f"no forecast came any more in the {len(out) - at:,} rows after it"
    elif _changes(clean[tail:]) >= 3 and _changes(out[tail:]) == 0:
        seen = f"the forecast never changed again in the {len(out) - at:,} rows after it"
    else:
        return None
    return subject.broken(
        "missing data",
        f"{unit.name}: after one NaN in {field} at row {unit.place(at)} {seen}. Usual cause: the NaN entered a "
        "running sum or mean in State and stays there. Pass it over (if x == x), or use the "
        "kernels, which come back when it leaves the window",
        field,
        (unit, at),
    )


def _changes(out: F64) -> int:
    finite = out[np.isfinite(out)]
    return int((np.diff(finite) != 0.0).sum())


# --- parameters ------------------------------------------------------------------------------------------------------


def parameter_sets(subject: Subject) -> Generator[tuple[str, dict[str, Any]]]:
    """Each parameter at each end of its range with the others as given, then ten random points inside the ranges."""
    ranges, given = subject.strategy.ranges, subject.params._asdict()
    for name, bounds in ranges.items():
        for value in (b for b in bounds if np.isfinite(b)):
            yield name, {**given, name: _typed(given[name], value)}
    rng = subject.rng("parameters")
    for _ in range(10):
        drawn: dict[str, Any] = {}
        for name, (low, high) in ranges.items():
            if not np.isfinite(high - low):
                continue
            # A third of the way on a logarithmic scale where the range spans decades: where people search.
            share = float(rng.random())
            value = low + (high - low) * share
            if low > 0 and high / low > 100.0:
                value = low * (high / low) ** share
            drawn[name] = _typed(given[name], value)
        yield ", ".join(drawn), {**given, **drawn}


def _typed(default: Any, value: float) -> Any:
    if isinstance(default, bool):
        return bool(value >= 0.5)
    return round(value) if isinstance(default, int) else float(value)


def parameters(subject: Subject) -> list[Finding]:
    """Every accepted set of parameters runs, stays in range, and declares a warm-up that it keeps."""
    x = subject.units[0].x[:4_000]
    known = _fault_of(subject, x, subject.params._asdict())  # told by the other laws already
    found: dict[str, Finding] = {}
    for name, values in parameter_sets(subject):
        fault = _fault_of(subject, x, values)
        if fault and not (known and fault.split()[:2] == known.split()[:2]):
            found.setdefault(name, _fails(subject, name, values, fault))
    return list(found.values())[:3]


def _fault_of(subject: Subject, x: F64, values: dict[str, Any]) -> str | None:
    """What is wrong with one set of parameters; None also where it is refused with a reason."""
    try:
        params = params_of(subject.strategy, values)
        declared = int(subject.strategy.warmup(params))
        _, out = fold(subject, subject.units[0].ts, x, params)
    except TrimtabError:
        return None
    except Exception as error:  # whatever a user's functions may raise
        return f"it raised {type(error).__name__}: {error}"
    finite = np.flatnonzero(~np.isnan(out))
    worst = np.abs(out[finite]).max(initial=0.0)
    if worst > 1.0:
        return f"a forecast has size {worst:g}; expected 0 to 1"
    if len(finite) and finite[0] < declared:
        return f"the first forecast comes after {finite[0]} rows, before its warm-up of {declared}"
    return None


def _fails(subject: Subject, name: str, values: dict[str, Any], seen: str) -> Finding:
    shown = ", ".join(f"{k}={v:g}" for k, v in values.items())
    return subject.broken(
        "parameters",
        f"with {shown}: {seen}. Usual cause: a window of 0 or 1, or a combination that makes no sense. Narrow the "
        "range of the parameter in STRATEGY.ranges, or refuse the combination in warmup(p) with a TrimtabError",
        name,
    )
