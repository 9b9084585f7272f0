"""What was tried, for people: hypotheses with their trials, and one of them with what its best has to beat."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import numpy as np

from trimtab.research.ledger.counting import Count, Record, counts, is_of_family, tried
from trimtab.research.ledger.file import LedgerFailed, Row
from trimtab.research.ledger.identity import Hypothesis
from trimtab.research.ledger.reading import Ledger
from trimtab.types import TrimtabError


class Idea(msgspec.Struct, frozen=True, kw_only=True):
    """A hypothesis and how often it was tried.

    first, last  when, ns UTC; days: of the longest record
    best         annual Sharpe of the best trial; None where none is defined, or returns are gone
    """

    id: str
    words: str
    hypothesis: Hypothesis
    entries: int
    trials: int
    first: int
    last: int
    days: int
    best: float | None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One set of parameters. sharpe: annual; seq: of its entry; first, last: closes of its bars, ns UTC."""

    place: str
    sharpe: float
    params: dict[str, float]
    seq: int
    days: int
    first: int
    last: int


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """What the best has to beat, by one way of counting. deviation of the trials' Sharpe, and the hurdle: annual."""

    scope: str
    how: str
    trials: int
    deviation: float
    hurdle: float


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A hypothesis, its entries in order, its best, median and worst trial, and what the best has to beat.

    unread  entries whose returns cannot be read, in words; why: nothing can be said of what has to be beaten, in words
    """

    idea: Idea
    entries: tuple[Row, ...]
    sets: tuple[Trial, ...]
    bars: tuple[Bar, ...]
    unread: tuple[str, ...] = ()
    why: str = ""


def ideas(ledger: Ledger) -> list[Idea]:
    """All hypotheses, the one that was tried last first."""
    rows: dict[str, list[Row]] = {}
    for row in ledger.rows():
        rows.setdefault(row.entry.hypothesis.id, []).append(row)
    found = [_idea(key, own, max((s for row in own for s in _annual(ledger, row)), default=None))
             for key, own in rows.items()]  # fmt: skip
    return sorted(found, key=lambda idea: (-idea.last, idea.id))


def _idea(key: str, rows: list[Row], best: float | None) -> Idea:
    hypothesis = rows[0].entry.hypothesis
    return Idea(
        id=key, words=str(hypothesis), hypothesis=hypothesis, entries=len(rows),
        trials=sum(row.entry.trials for row in rows), first=min(row.ts for row in rows),
        last=max(row.ts for row in rows), days=max(row.entry.count for row in rows), best=best,
    )  # fmt: skip


def _annual(ledger: Ledger, row: Row) -> list[float]:
    """Annual Sharpe of an entry's trials, as far as they are defined and can be read."""
    try:
        sharpe = ledger.params(row)[1] * math.sqrt(row.entry.periods)
    except LedgerFailed:
        return []
    return sharpe[~np.isnan(sharpe)].tolist()


def view(ledger: Ledger, hypothesis: str) -> View:
    """All of the hypothesis whose id begins so; TrimtabError where there is none, or several."""
    known = {row.entry.hypothesis.id for row in ledger.rows()}
    close = sorted(key for key in known if hypothesis and key.startswith(hypothesis.lower()))
    if len(close) != 1:
        what = f"{len(close)} begin so ({', '.join(close[:5])}); give more digits" if close else "there is none"
        raise TrimtabError(f"hypothesis {hypothesis}: {what}; trimtab trials lists those that were tried")
    rows = list(ledger.rows(close[0]))
    trials, unread = _trials(ledger, rows)
    idea = _idea(close[0], rows, trials[0].sharpe if trials else None)
    bars, why = (), "no trial has a Sharpe" if not trials else ""
    if trials:
        best = next(row for row in rows if row.seq == trials[0].seq)
        try:
            bars = tuple(_bars(ledger, rows, best))
        except TrimtabError as error:  # days that were changed, or scipy is not there
            why = str(error)
    return View(idea=idea, entries=tuple(rows), sets=_shown(trials), bars=bars, unread=tuple(unread), why=why)


def _trials(ledger: Ledger, rows: Iterable[Row]) -> tuple[list[Trial], list[str]]:
    """All trials that have a Sharpe, the best first; and of which entries they cannot be read."""
    found: list[Trial] = []
    unread: list[str] = []
    for row in rows:
        entry = row.entry
        try:
            params, sharpe = ledger.params(row)
        except LedgerFailed as error:
            unread.append(str(error))
            continue
        for k in np.flatnonzero(~np.isnan(sharpe)).tolist():
            values = dict(zip(entry.names, params[k].tolist(), strict=True))
            found.append(
                Trial(
                    place="",
                    sharpe=float(sharpe[k]) * math.sqrt(entry.periods),
                    params=values,
                    seq=row.seq,
                    days=entry.count,
                    first=entry.first,
                    last=entry.last,
                )
            )
    return sorted(found, key=lambda trial: -trial.sharpe), unread


def _shown(trials: list[Trial]) -> tuple[Trial, ...]:
    """The best, the median and the worst, as far as they are several."""
    places = {0: "best"}
    if len(trials) > 1:
        places[len(trials) - 1] = "worst"
    if len(trials) > 2:
        places[len(trials) // 2] = "median"
    return tuple(msgspec.structs.replace(trials[k], place=places[k]) for k in sorted(places) if k < len(trials))


def _bars(ledger: Ledger, rows: list[Row], best: Row) -> Iterable[Bar]:
    record = Record(best.entry.hypothesis, best.entry.first, best.entry.last, ledger.days(best))
    family = (row for row in ledger.rows() if is_of_family(row, record))
    found: tuple[Count, ...] = (
        *counts("hypothesis", tried(ledger, rows, record)),
        *counts("family", tried(ledger, family, record)),
    )
    year = math.sqrt(best.entry.periods)
    for count in found:
        yield Bar(
            scope=count.scope, how=count.how, trials=count.trials, deviation=math.sqrt(count.variance) * year,
            hurdle=count.hurdle * year,
        )  # fmt: skip
