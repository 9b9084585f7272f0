"""Laws of the forecasts alone: split, prefix, determinism, range, warm-up, missing data, history, parameters.

Each function takes a Subject and returns what it found; nothing found means that the law held.
"""

from __future__ import annotations

import copy
import pickle  # nosec B403  # only states made in this process are unpickled
from collections.abc import Callable, Generator
from typing import Any, Final

import numpy as np

from trimtab.research.check_contract import tables
from trimtab.research.check_process import forecasts_hash, hash_elsewhere
from trimtab.research.check_subject import (
    Finding,
    Subject,
    Unit,
    changed_member,
    first_difference,
    fold,
    fold_until_error,
    shared_members,
    source_of,
)
from trimtab.sim.fold import decisions
from trimtab.strategies import params_of
from trimtab.types import F64, TrimtabError

CUTS: Final = 6
#: Two forecasts closer than this are the same when memory fades (EWM) or sums were added in another order.
SAME: Final = 1e-9
#: A window that ends moves a forecast by more than this; a fading memory has come down to less.
ABRUPT: Final = 1e-6
#: What stands in the field of a row's neighbours to see whether a step reads them.
POISONS: Final = (7.0e7, -3.0e-7)

Change = Callable[[F64], F64]
CHANGES: Final[tuple[tuple[str, Change], ...]] = (
    ("multiplied by 1.37", lambda v: v * 1.37),
    ("turned in sign", lambda v: -v),
    ("made NaN", lambda v: np.full_like(v, np.nan)),
)


def cuts_of(subject: Subject, law: str, rows: int) -> list[int]:
    """Rows to cut at: the first, around the warm-up, random ones, the last."""
    drawn = subject.rng(law).integers(1, rows - 1, CUTS)
    fixed = (1, subject.warmup, subject.warmup + 1, rows - 1)
    return sorted({int(c) for c in (*drawn, *fixed) if 0 < c < rows})


# --- split -----------------------------------------------------------------------------------------------------------


def split(subject: Subject) -> list[Finding]:
    """Cut anywhere, resume from a snapshot: the same forecasts, bit for bit."""
    for unit in subject.units:
        end, whole = fold(subject, unit.x)
        for n, cut in enumerate(cuts_of(subject, "split", len(unit.x))):
            found = _resumed(subject, unit, whole, end, cut, pickled=n % 2 == 1)
            if found:
                return [found]
        found = _one_by_one(subject, unit, whole)
        if found:
            return [found]
    return []


def _resumed(subject: Subject, unit: Unit, whole: F64, end: Any, cut: int, *, pickled: bool) -> Finding | None:
    state, _ = fold(subject, unit.x[:cut])
    try:
        saved: Any = pickle.loads(pickle.dumps(state)) if pickled else copy.deepcopy(state)  # nosec B301
    except Exception as error:  # whatever a member's own copying may raise
        return subject.broken(
            "split",
            f"State cannot be saved: {type(error).__name__}: {error}. It may hold numbers, arrays of numbers and "
            "NamedTuples of them only; compiled lists and dicts cannot be stored",
            "State",
            (unit, cut),
        )
    # The original goes on over other rows: what the snapshot shares with it shows up as a difference.
    fold(subject, unit.x[::-1], state=state)
    last, rest = fold(subject, unit.x[cut:], state=saved)
    row = first_difference(whole[cut:], rest)
    member = changed_member(end, last)
    if row is None and member is None:
        return None
    shared = shared_members(state, state)
    at = cut + (row if row is not None else len(rest) - 1)
    if shared:
        cause = (
            f"{shared[0]} and {shared[1]} are the same memory, which a snapshot takes apart. Usual cause: keeping the "
            "previous state's array, which step then writes in place. Copy it (array.copy()), or keep the one number "
            "that is needed"
        )
    else:
        cause = (
            "something is remembered outside State, or drawn at random: a default argument, a module-level buffer, "
            "np.random. Move it into State"
        )
    seen = f"the forecast of row {at} differs" if row is not None else f"{member} differs at the end"
    return subject.broken(
        "split", f"{unit.name}: cut after row {cut} and resumed from a snapshot, {seen}: {cause}",
        shared[0] if shared else member, (unit, at),
    )  # fmt: skip


def _one_by_one(subject: Subject, unit: Unit, whole: F64) -> Finding | None:
    """One row at a time, as live does, each from a snapshot of the state before."""
    rows = min(len(unit.x), subject.warmup + 200)
    state, out = subject.folds.start(subject.params), np.full(rows, np.nan)
    for t in range(rows):
        state = subject.folds.dense(subject.params, copy.deepcopy(state), unit.x[t : t + 1].copy(), out[t : t + 1])
    row = first_difference(whole[:rows], out)
    if row is None:
        return None
    return subject.broken(
        "split",
        f"{unit.name}: one row at a time (as live runs it) the forecast of row {row} is {out[row]:g}, in one go it is "
        f"{whole[row]:g}. Usual cause: step reads beyond its row, or State is not all that it remembers",
        "forecast",
        (unit, row),
    )


# --- prefix ----------------------------------------------------------------------------------------------------------


def prefix(subject: Subject) -> list[Finding]:
    """What comes after row t changes nothing up to t, and no row sees its neighbours."""
    for unit in subject.units:
        _, whole = fold(subject, unit.x)
        for cut in cuts_of(subject, "prefix", len(unit.x)):
            _, first = fold(subject, unit.x[:cut])
            row = first_difference(whole[:cut], first)
            if row is not None:
                return [_peeked(subject, unit, row, None, f"the first {cut} rows alone give another forecast"), *tables(subject)]
        found = _future_changed(subject, unit, whole) or _neighbours(subject, unit)
        if found:
            return [found, *tables(subject)]
    return tables(subject)


def _peeked(subject: Subject, unit: Unit, row: int, field: str | None, seen: str) -> Finding:
    legs, fields = unit.x.shape[1:]
    return subject.broken(
        "prefix",
        f"{unit.name}: look-ahead: {seen} of row {row}. Usual cause: step indexes past its row, which compiled code does "
        f"not catch but reads from the next one: x is ({legs}, {fields}), so x[0 … {legs - 1}, 0 … {fields - 1}] is all "
        "there is; more legs need n_legs, more fields a name in STRATEGY.fields",
        field,
        (unit, row),
    )


def _future_changed(subject: Subject, unit: Unit, whole: F64) -> Finding | None:
    """Change one field of one leg after row t, in the same memory; nothing up to t may move."""
    cuts = cuts_of(subject, "prefix", len(unit.x))
    for leg in range(unit.x.shape[1]):
        for k, field in enumerate(subject.strategy.fields):
            for name, change in CHANGES:
                for cut in cuts:
                    x = unit.x.copy()
                    x[cut:, leg, k] = change(x[cut:, leg, k])
                    out, _ = fold_until_error(subject, x)
                    row = first_difference(whole[:cut], out[:cut])
                    if row is not None:
                        seen = f"{field} of {unit.symbols[leg]} {name} from row {cut} on changes the forecast"
                        return _peeked(subject, unit, row, field, seen)
    return None


def _neighbours(subject: Subject, unit: Unit) -> Finding | None:
    """The same row between two different pairs of neighbours gives the same forecast."""
    rows = min(len(unit.x), subject.warmup + 60)
    answers: list[F64] = []
    for poison in POISONS:
        state, out = subject.folds.start(subject.params), np.full(rows, np.nan)
        around = np.full((17, *unit.x.shape[1:]), poison)
        for t in range(rows):
            around[:] = poison
            around[8] = unit.x[t]
            state = subject.folds.dense(subject.params, state, around[8:9], out[t : t + 1])
        answers.append(out)
    row = first_difference(*answers)
    if row is None:
        return None
    return _peeked(subject, unit, row, None, "what stands in memory before or after it changes the forecast")


# --- determinism -----------------------------------------------------------------------------------------------------


def determinism(subject: Subject) -> list[Finding]:
    """Twice, side by side with other instruments, in another process: the same bits."""
    for unit in subject.units:
        _, once = fold(subject, unit.x)
        _, again = fold(subject, unit.x)
        row = first_difference(once, again)
        if row is not None:
            return [
                subject.broken(
                    "determinism",
                    f"{unit.name}: the same rows gave {once[row]:g}, then {again[row]:g}. Usual cause: random numbers "
                    "(np.random) in step or init, or a counter or buffer that outlives the run. Randomness is an "
                    "argument: keep a seed in Params and the generator's numbers in State",
                    "forecast",
                    (unit, row),
                )
            ]
        found = _fold_agrees(subject, unit, once)
        if found:
            return [found]
    found = _side_by_side(subject) or _elsewhere(subject)
    return [found] if found else []


def _fold_agrees(subject: Subject, unit: Unit, dense: F64) -> Finding | None:
    """The loop of a backtest, which skips unchanged forecasts, decides at the same rows."""
    if subject.strategy.n_legs > 1:
        return None
    made = decisions(subject.strategy, subject.params, unit.x.copy(), True)
    kept = np.flatnonzero(~np.isnan(dense))
    if np.array_equal(made.row, kept) and first_difference(made.value, dense[kept]) is None:
        return None
    return subject.broken("determinism", f"{unit.name}: two compiled loops over the same rows disagree", "forecast")


def _side_by_side(subject: Subject) -> Finding | None:
    """Two units stepped in turns, as live does, against each on its own."""
    pair = (subject.units * 2)[:2]
    alone = [fold(subject, unit.x)[1] for unit in pair]
    states = [subject.folds.start(subject.params) for _ in pair]
    outs = [np.full(len(unit.x), np.nan) for unit in pair]
    step = 7
    for t in range(0, min(max(len(u.x) for u in pair), 4 * subject.warmup + 400), step):
        for n, unit in enumerate(pair):
            rows = unit.x[t : t + step].copy()
            if len(rows):
                states[n] = subject.folds.dense(subject.params, states[n], rows, outs[n][t : t + step])
                row = first_difference(alone[n][t : t + step], outs[n][t : t + step])
                if row is not None:
                    return subject.broken(
                        "determinism",
                        f"{unit.name}: stepped in turns with {pair[1 - n].name}, its forecast of row {t + row} is "
                        f"{outs[n][t + row]:g}, alone it is {alone[n][t + row]:g}: instruments share memory. Usual "
                        "cause: a buffer or counter outside State (module level, a default argument). Move it into State",
                        "forecast",
                        (unit, t + row),
                    )
    return None


def _elsewhere(subject: Subject) -> Finding | None:
    source = source_of(subject.strategy)
    if source is None:
        return None
    unit = subject.units[0]
    here = forecasts_hash(fold(subject, unit.x)[1])
    there, error = hash_elsewhere(source, subject.params._asdict(), unit.x)
    if here == there:
        return None
    seen = f"it failed there: {error}" if error else "the forecasts differ"
    return subject.broken(
        "determinism",
        f"{unit.name}: in a fresh process with another hash seed {seen}. Usual cause: the file reads the clock, the "
        "environment, addresses or the order of a set when it is imported, or draws random numbers",
        "forecast",
    )


# --- range -----------------------------------------------------------------------------------------------------------


def stress_of(subject: Subject, unit: Unit) -> Generator[tuple[str, F64]]:
    """Rows that real markets have brought: the data, a series that stands still, limit moves, no volume, a new scale."""
    yield "the data", unit.x
    still = np.repeat(unit.x[:1], min(len(unit.x), 3 * subject.warmup + 200), axis=0)
    yield "a series that stands still", still
    jumpy = unit.x.copy()
    prices = [k for k, f in enumerate(subject.strategy.fields) if f in ("open", "high", "low", "close", "ticks")]
    jumpy[len(jumpy) // 2 :, :, prices] *= 20.0
    yield "a price that rises twentyfold in one bar", jumpy
    yield "prices of a cent or less", np.where(np.isin(np.arange(unit.x.shape[2]), prices), unit.x * 1e-4, unit.x)
    if "volume" in subject.strategy.fields:
        silent = unit.x.copy()
        silent[len(silent) // 3 :, :, subject.strategy.fields.index("volume")] = 0.0
        yield "bars without volume", silent


def in_range(subject: Subject) -> list[Finding]:
    """Every forecast is NaN or within [-1, 1], on quiet and on wild data, and no row makes the step raise."""
    for unit in subject.units:
        for name, x in stress_of(subject, unit):
            out, error = fold_until_error(subject, x)
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
        f"{unit.name}: {where} the forecast of row {row} is {out[row]:g}; expected NaN or -1 to 1. Usual cause: {cause}. "
        "A forecast of 1 is the whole of the model's share: clip with min(max(f, -1.0), 1.0)",
        "forecast",
        (unit, row) if row < len(unit.index) else None,
    )


# --- warm-up and history ---------------------------------------------------------------------------------------------


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
        _, whole = fold(subject, unit.x)
        for start in (0, *starts_of(subject, unit)):
            _, out = fold(subject, unit.x[start:])
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
        f"{unit.name}: warmup says {subject.warmup} rows, but the first forecast comes at row {row}, before its windows "
        "are full. Usual cause: a count that starts at 1, or > where >= is meant. Return np.nan until warm",
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
    """How much the first row still matters, right after the warm-up and after ten: a size, not a verdict."""
    near, far, reach = 0.0, 0.0, False
    for unit in subject.units:
        _, whole = fold(subject, unit.x)
        for start in starts_of(subject, unit):
            _, out = fold(subject, unit.x[start:])
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


# --- missing data ----------------------------------------------------------------------------------------------------


def missing(subject: Subject) -> list[Finding]:
    """One NaN, and a few in a row, in a field: the strategy abstains or goes on, and comes back."""
    for unit in subject.units:
        _, clean = fold(subject, unit.x)
        at = subject.warmup + (len(unit.x) - subject.warmup) // 4
        tail = at + min(2 * subject.warmup + 50, (len(unit.x) - at) // 2)
        for leg in range(unit.x.shape[1]):
            for k, field in enumerate(subject.strategy.fields):
                if field in ("close", "ticks"):
                    continue  # a bar without a close is never stepped
                for length in (1, 3):
                    x = unit.x.copy()
                    x[at : at + length, leg, k] = np.nan
                    found = _recovers(subject, unit, clean, x, (at, tail), field)
                    if found:
                        return [found]
    return []


def _recovers(
    subject: Subject, unit: Unit, clean: F64, x: F64, rows: tuple[int, int], field: str
) -> Finding | None:
    at, tail = rows
    out, error = fold_until_error(subject, x)
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
        f"{unit.name}: after one NaN in {field} at row {at} {seen}. Usual cause: the NaN entered a running sum or mean "
        "in State and stays there. Pass it over (if x == x), or use the kernels, which come back when it leaves the "
        "window",
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
    return int(round(value)) if isinstance(default, int) else float(value)


def parameters(subject: Subject) -> list[Finding]:
    """Every accepted set of parameters runs, stays in range, and declares a warm-up that it keeps."""
    unit = subject.units[0]
    x = unit.x[: min(len(unit.x), 4_000)]
    found: dict[str, Finding] = {}
    for name, values in parameter_sets(subject):
        try:
            params = params_of(subject.strategy, values)
            declared = int(subject.strategy.warmup(params))
        except TrimtabError:
            continue  # refused with a reason: that is the strategy's good right
        except Exception as error:  # warmup is the user's own Python
            found.setdefault(name, _fails(subject, name, values, f"warmup raised {type(error).__name__}: {error}"))
            continue
        try:
            _, out = fold(subject, x, params)
        except Exception as error:  # whatever a user's step may raise
            found.setdefault(name, _fails(subject, name, values, f"it raised {type(error).__name__}: {error}"))
            continue
        finite = np.flatnonzero(~np.isnan(out))
        if np.abs(out[finite]).max(initial=0.0) > 1.0:
            worst = float(out[finite][np.abs(out[finite]).argmax()])
            found.setdefault(name, _fails(subject, name, values, f"a forecast is {worst:g}; expected -1 to 1"))
        elif len(finite) and finite[0] < declared:
            seen = f"the first forecast is at row {finite[0]}, before its warm-up of {declared}"
            found.setdefault(name, _fails(subject, name, values, seen))
    return list(found.values())[:3]


def _fails(subject: Subject, name: str, values: dict[str, Any], seen: str) -> Finding:
    shown = ", ".join(f"{k}={v:g}" for k, v in values.items())
    return subject.broken(
        "parameters",
        f"with {shown}: {seen}. Usual cause: a window of 0 or 1, or a combination that makes no sense. Narrow the range "
        "of the parameter in STRATEGY.ranges, or refuse the combination in warmup(p) with a TrimtabError",
        name,
    )

