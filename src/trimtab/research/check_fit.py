"""Fit: what a strategy estimates on a schedule is a function of its parameters and of the window alone."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from trimtab.research.check_subject import Finding, Subject, Unit, bits, changed_member
from trimtab.strategies.fitting import begin, due, every_of, refitted, window_at, window_of
from trimtab.types import F64, Fit, Refusal, TrimtabError

#: Windows of a unit that are fitted twice.
_WINDOWS: Final = 6


def fit(subject: Subject) -> list[Finding]:
    """Abstains until the first fit; the same window gives the same answer, of State's types, and stays as it was."""
    subject = subject.derived()
    strategy, fit = subject.strategy, subject.strategy.fit
    if fit is None:
        return []
    try:
        window = window_of(strategy, subject.params)
        every = every_of(strategy, subject.params, subject.timeframe)
    except TrimtabError as error:
        return [subject.broken("fit", f"{error}. Each is a function of the parameters", "fit")]
    reasons: list[Refusal] = []
    fitted = 0
    for unit in subject.units:
        found = _unfitted(subject, unit)
        if found:
            return [found]
        at = due(begin(None, *unit.x.shape[1:]), unit.ts, every, window)
        found, answers, refused = _twice(subject, fit, unit, at[:: max(len(at) // _WINDOWS, 1)][:_WINDOWS], window)
        if found:
            return [found]
        fitted += answers
        reasons.extend(refused)
    if fitted:
        return []
    if reasons:
        seen = f"every window that was tried was refused ({reasons[0].reason})"
    else:
        seen = f"no fit was due in {max(len(u.x) for u in subject.units):,} rows, with a window of {window:,}"
    return [subject.broken("fit", f"{seen}, so nothing was tested. Try other data or params", "fit")]


def _unfitted(subject: Subject, unit: Unit) -> Finding | None:
    """With what `init` makes of `fitted`, before the first fit and after a refused one, every row abstains."""
    out = np.full(len(unit.x), np.nan)
    subject.folds.dense(subject.params, subject.folds.start(subject.params), unit.x.copy(), out)
    if np.isnan(out).all():
        return None
    row = int(np.argmax(~np.isnan(out)))
    return subject.broken(
        "fit",
        f"{unit.name}: without any fit the forecast of row {unit.place(row)} is {out[row]:g}; expected NaN. Usual "
        "cause: `init` fills State.fitted with numbers that look like an answer. Fill it with NaN or empty arrays, and "
        "let step abstain on them: so it does before the first fit and after a window that was refused",
        "fitted",
        (unit, row),
    )


def _twice(subject: Subject, fit: Fit, unit: Unit, rows: Any, window: int) -> tuple[Finding | None, int, list[Refusal]]:
    """Fit the windows forwards, then backwards: what was broken, how many answered, which were refused."""
    start = subject.start()
    refused: list[Refusal] = []
    first: dict[int, Any] = {}
    order = [*(int(t) for t in rows), *(int(t) for t in rows[::-1])]
    for t in order:
        x = window_at(start, unit.x, t, window)
        handed = x.copy()
        try:
            state, refusal = refitted(subject.strategy, fit, subject.params, start.state, x, int(unit.ts[t]))
        except TrimtabError as error:
            return subject.broken("fit", f"{unit.name}: {error}", "fit", (unit, t)), 0, refused
        wrote = _written(subject, unit, t, handed, x)
        if wrote:
            return wrote, 0, refused
        answer = (refusal is not None, state.fitted)
        member = changed_member(first.setdefault(t, answer), answer)
        if member is not None:
            return _moved(subject, unit, t), 0, refused
        refused.extend([refusal] if refusal else [])
    return None, sum(not refusal for refusal, _ in first.values()), refused


def _written(subject: Subject, unit: Unit, t: int, handed: F64, x: F64) -> Finding | None:
    if bits(handed) == bits(x):
        return None
    seen = f"{unit.name}: the fit of row {unit.place(t)} wrote into its window. Work on a copy"
    return subject.broken("fit", seen, "fit", (unit, t))


def _moved(subject: Subject, unit: Unit, t: int) -> Finding:
    return subject.broken(
        "fit",
        f"{unit.name}: the same window, up to row {unit.place(t)}, was fitted twice with other windows in between, and "
        "the answers differ. Usual cause: the last answer is kept as a starting point or in a cache outside its "
        "arguments, or numbers are drawn at random. Start from the window alone, with a seed from Params",
        "fit",
        (unit, t),
    )
