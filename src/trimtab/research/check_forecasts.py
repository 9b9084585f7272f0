"""Split, prefix, determinism: forecasts depend on the rows up to theirs, and on nothing else.

Each function takes a Subject and returns what it found; nothing found means that the law held.
"""

from __future__ import annotations

import copy
import pickle  # nosec B403  # only states made in this process are unpickled
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from trimtab.research.check_contract import constants_of
from trimtab.research.check_process import forecasts_elsewhere, forecasts_hash
from trimtab.research.check_subject import (
    Finding,
    Subject,
    Unit,
    changed_member,
    first_difference,
    fold,
    fold_until_error,
    looks_ahead,
    reach,
    shared_members,
    size_of,
    source_of,
    stored,
)
from trimtab.research.check_tables import tables
from trimtab.strategies.folding import decisions
from trimtab.types import F64

CUTS: Final = 6
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
        end, whole = fold(subject, unit.ts, unit.x)
        for n, cut in enumerate(cuts_of(subject, "split", len(unit.x))):
            found = _resumed(subject, unit, whole, end, cut, SNAPSHOTS[n % len(SNAPSHOTS)])
            if found:
                return [found]
        found = _one_by_one(subject, unit, whole)
        if found:
            return [found]
    return []


def _pickled(state: Any) -> Any:
    return pickle.loads(pickle.dumps(state))  # nosec B301


#: Ways in which a state is saved: in memory, between processes, member by member as in a file.
SNAPSHOTS: Final[tuple[Callable[[Any], Any], ...]] = (copy.deepcopy, _pickled, stored)


def _resumed(
    subject: Subject, unit: Unit, whole: F64, end: Any, cut: int, snapshot: Callable[[Any], Any]
) -> Finding | None:
    memory, _ = fold(subject, unit.ts, unit.x[:cut])
    try:
        saved = snapshot(memory)
    except Exception as error:  # whatever a member's own copying may raise
        return subject.broken(
            "split",
            f"State cannot be saved: {type(error).__name__}: {error}. It may hold numbers, arrays of numbers and "
            "NamedTuples of them only; compiled lists and dicts cannot be stored",
            "State",
            (unit, cut),
        )
    # The original goes on over other rows: what the snapshot shares with it shows up as a difference.
    fold(subject, unit.ts[cut:], unit.x[::-1][: len(unit.x) - cut], memory=memory)
    last, rest = fold(subject, unit.ts[cut:], unit.x[cut:], memory=saved)
    row = first_difference(whole[cut:], rest)
    member = changed_member(end, last)
    if row is None and member is None:
        return None
    shared = shared_members(memory, memory)
    at = cut + (row if row is not None else len(rest) - 1)
    if shared:
        cause = (
            f"{shared[0]} and {shared[1]} are the same memory, which a stored snapshot takes apart. Usual cause: "
            "keeping the previous state's array, which step then writes in place. Copy it (array.copy()), or keep the "
            "one number that is needed"
        )
    elif subject.strategy.indicators and row is not None:
        cause = (
            "an indicator looks at later rows of its frame (see prefix), or `make` remembers something outside its "
            "arguments, or draws at random"
        )
    elif neighbours_seen(subject, unit) is not None:
        cause = "step reads beyond its row, where live has no next row (see prefix)"
    else:
        cause = (
            "something is remembered outside State, or drawn at random: a default argument, a module-level buffer, "
            "np.random. Move it into State"
        )
    seen = f"the forecast of row {unit.place(at)} differs" if row is not None else f"{member} differs at the end"
    return subject.broken(
        "split", f"{unit.name}: cut after row {unit.place(cut - 1)} and resumed from a snapshot, {seen}: {cause}",
        shared[0] if shared else member, (unit, at),
        None if row is None else size_of(whole[at], rest[row]),
    )  # fmt: skip


def _one_by_one(subject: Subject, unit: Unit, whole: F64) -> Finding | None:
    """One row at a time, as live does, each from a snapshot of the state before."""
    rows = min(len(unit.x), subject.warmup + 200)
    memory, out = subject.start(), np.full(rows, np.nan)
    for t in range(rows):
        one = slice(t, t + 1)
        memory = subject.dense(copy.deepcopy(memory), unit.ts[one], unit.x[one].copy(), out[one])
    row = first_difference(whole[:rows], out)
    if row is None:
        return None
    return subject.broken(
        "split",
        f"{unit.name}: one row at a time (as live runs it) the forecast of row {unit.place(row)} is {out[row]:g}, "
        f"in one go it is {whole[row]:g}. Usual cause: step, or an indicator, reads beyond its row, or State is not "
        "all it remembers",
        "forecast",
        (unit, row),
        size_of(out[row], whole[row]),
    )


# --- prefix ----------------------------------------------------------------------------------------------------------


def prefix(subject: Subject) -> list[Finding]:
    """What comes after row t changes nothing up to t, and no row sees its neighbours."""
    first = subject.units[0]
    moved = first_difference(*(fold(subject, first.ts, first.x)[1] for _ in range(2))) is not None
    if moved and neighbours_seen(subject, first) is None:
        told = "cannot be tested while the same rows give different forecasts: mend determinism first"
        return [subject.broken("prefix", told)]
    for unit in subject.units:
        _, whole = fold(subject, unit.ts, unit.x)
        found = _future_changed(subject, unit, whole) or _shortened(subject, unit, whole)
        found = found or _filled_back(subject, unit)
        row = neighbours_seen(subject, unit) if found is None else None
        if row is not None:
            told = "what stands in memory before or after it changes the forecast"
            found = _peeked(subject, unit, row, None, told, None)
        if found:
            return [found, *tables(subject)]
    return tables(subject)


def _shortened(subject: Subject, unit: Unit, whole: F64) -> Finding | None:
    """The first rows alone, in memory of their own, against the first rows of all."""
    for cut in cuts_of(subject, "prefix", len(unit.x)):
        _, first = fold(subject, unit.ts, unit.x[:cut])
        row = first_difference(whole[:cut], first)
        if row is not None:
            told = f"the first {cut} rows alone give another forecast"
            return _peeked(subject, unit, row, None, told, (whole[row], first[row]))
    return None


def _peeked(
    subject: Subject, unit: Unit, row: int, field: str | None, seen: str, moved: tuple[float, float] | None
) -> Finding:
    legs, fields = unit.x.shape[1], len(subject.strategy.fields)
    indexed = (
        "step indexes past its row, which compiled code does not catch but reads from the next one: "
        f"x is ({legs}, {fields}), so x[0 … {legs - 1}, 0 … {fields - 1}] is all there is; more legs need n_legs, "
        "more fields a name in STRATEGY.fields"
    )
    named = ", ".join(each.name for each in subject.strategy.indicators)
    framed = (
        f"{named} looks at later rows of its frame: a shift(-1), a centred window, a mean, maximum or last value of "
        "the whole frame, a fill backwards. Take rolling_, ewm_ or cum_ functions and shifts of 1 or more"
    )
    return subject.broken(
        "prefix",
        f"{unit.name}: look-ahead: {seen} of row {unit.place(row)}{_moved(moved)}. Usual cause: "
        f"{framed if named else indexed}",
        field,
        (unit, row),
        None if moved is None else size_of(*moved),
    )


def _moved(forecasts: tuple[float, float] | None) -> str:
    return "" if forecasts is None else f", from {forecasts[0]:.6g} to {forecasts[1]:.6g}"


def _future_changed(subject: Subject, unit: Unit, whole: F64) -> Finding | None:
    """Change one field of one leg after row t, in the same memory; nothing up to t may move."""
    strategy, params = subject.strategy, (subject.params,)
    cuts = [
        (cut, reach(strategy, params, subject.timeframe, unit.ts, cut))
        for cut in cuts_of(subject, "prefix", len(unit.x))
    ]
    for leg in range(unit.x.shape[1]):
        for k, field in enumerate(subject.strategy.reads):
            for name, change in CHANGES:
                for cut, rows in cuts:
                    x = unit.x[:rows].copy()
                    x[cut:, leg, k] = change(x[cut:, leg, k])
                    out, _ = fold_until_error(subject, unit.ts, x)
                    row = first_difference(whole[:cut], out[:cut])
                    if row is not None:
                        seen = (
                            f"{field} of {unit.symbols[leg]} {name} from row {unit.place(cut)} on changes the forecast"
                        )
                        return _peeked(subject, unit, row, field, seen, (whole[row], out[row]))
    return None


def _filled_back(subject: Subject, unit: Unit) -> Finding | None:
    """Where a field has no values before a row, those after it do not take their place."""
    for field in subject.strategy.reads if subject.strategy.indicators else ():
        if field in ("close", "ticks"):
            continue  # never missing in a row that is stepped
        k = subject.strategy.reads.index(field)
        for cut in cuts_of(subject, "prefix", len(unit.x))[2:6]:
            holed, changed = unit.x.copy(), unit.x.copy()
            holed[cut - 3 : cut, :, k] = np.nan
            changed[cut - 3 : cut, :, k] = np.nan
            changed[cut:, :, k] *= 1.37
            before, after = (fold_until_error(subject, unit.ts, x)[0] for x in (holed, changed))
            row = first_difference(before[:cut], after[:cut])
            if row is not None:
                seen = f"without {field} in the 3 rows before row {unit.place(cut)}, {field} from there on changes the "
                moved = (before[row], after[row])
                return _peeked(subject, unit, row, field, f"{seen}forecast", moved)
    return None


def neighbours_seen(subject: Subject, unit: Unit) -> int | None:
    """The first row whose forecast depends on what stands before or after it in memory."""
    rows = min(len(unit.x), subject.warmup + 60)
    answers: list[F64] = []
    for poison in (*POISONS, POISONS[0]):
        memory, out = subject.start(), np.full(rows, np.nan)
        around = np.full((17, *unit.x.shape[1:]), poison)
        for t in range(rows):
            around[:] = poison
            around[8] = unit.x[t]
            memory = subject.dense(memory, unit.ts[t : t + 1], around[8:9], out[t : t + 1])
        answers.append(out)
    if first_difference(answers[0], answers[2]) is not None:
        return None  # not even the same neighbours give the same forecast: that is no peeking
    return first_difference(answers[0], answers[1])


# --- determinism -----------------------------------------------------------------------------------------------------


def determinism(subject: Subject) -> list[Finding]:
    """Twice, side by side with other instruments, in another process: the same bits."""
    if any(neighbours_seen(subject, unit) is not None for unit in subject.units):
        return []  # what lies beside a row in memory is chance; the law of prefix tells
    for unit in subject.units:
        _, once = fold(subject, unit.ts, unit.x)
        _, again = fold(subject, unit.ts, unit.x)
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
                    size_of(once[row], again[row]),
                )
            ]
        found = _fold_agrees(subject, unit, once)
        if found:
            return [found]
    # Rows that are stepped in other parts differ where an indicator looks ahead; the law of prefix tells.
    found = (None if looks_ahead(subject) else _side_by_side(subject)) or _elsewhere(subject)
    return [found] if found else []


def _fold_agrees(subject: Subject, unit: Unit, dense: F64) -> Finding | None:
    """The loop of a backtest, which skips unchanged forecasts, decides at the same rows."""
    if subject.strategy.legs is not None:
        return None
    made = decisions(subject.strategy, subject.params, unit.x.copy(), True, unit.ts, subject.origin(unit))
    kept = np.flatnonzero(~np.isnan(dense))
    if np.array_equal(made.row, kept) and first_difference(made.value, dense[kept]) is None:
        return None
    return subject.broken("determinism", f"{unit.name}: two compiled loops over the same rows disagree", "forecast")


def _side_by_side(subject: Subject) -> Finding | None:
    """Two units stepped in turns, as live does, against each on its own."""
    pair = (subject.units * 2)[:2]
    alone = [fold(subject, unit.ts, unit.x)[1] for unit in pair]
    memories = [subject.start() for _ in pair]
    outs = [np.full(len(unit.x), np.nan) for unit in pair]
    step = 7
    for t in range(0, min(max(len(u.x) for u in pair), 4 * subject.warmup + 400), step):
        for n, unit in enumerate(pair):
            rows = unit.x[t : t + step].copy()
            if len(rows):
                memories[n] = subject.dense(memories[n], unit.ts[t : t + len(rows)], rows, outs[n][t : t + step])
                row = first_difference(alone[n][t : t + step], outs[n][t : t + step])
                if row is not None:
                    return subject.broken(
                        "determinism",
                        f"{unit.name}: stepped in turns with {pair[1 - n].name}, its forecast of row "
                        f"{unit.place(t + row)} is {outs[n][t + row]:g}, alone it is {alone[n][t + row]:g}: "
                        "instruments share memory. Usual cause: a buffer or counter outside State (module level, a "
                        "default argument). Move it to State",
                        "forecast",
                        (unit, t + row),
                        size_of(outs[n][t + row], alone[n][t + row]),
                    )
    return None


def _elsewhere(subject: Subject) -> Finding | None:
    source = source_of(subject.strategy)
    if source is None:
        return None
    unit = subject.units[0]
    here = forecasts_hash(fold(subject, unit.ts, unit.x)[1])
    there = forecasts_elsewhere(source, subject.params._asdict(), unit.ts, unit.x, subject.timeframe)
    constants = constants_of(subject.strategy)
    moved = [name for name in constants if there.constants.get(name, constants[name]) != constants[name]]
    if there.error:
        seen = f"it failed: {there.error}"
    elif moved:
        seen = f"the module's {moved[0]} has another value"
    elif here != there.forecasts:
        seen = "the forecasts differ"
    else:
        return None
    return subject.broken(
        "determinism",
        f"{unit.name}: in a fresh process with another hash seed {seen}. Usual cause: when it is imported the file "
        "reads the clock, the environment, an address or the hash of a text, or draws at random. Make it a parameter",
        moved[0] if moved else "forecast",
    )
