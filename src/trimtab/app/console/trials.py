"""The trial ledger in the terminal: hypotheses, one of them, and whether all of it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from trimtab.app.console.cells import escaped, shown, table_of
from trimtab.words import day_of

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.research.ledger.overview import Idea, Trial, View
    from trimtab.research.ledger.reading import Report

#: Entries of one hypothesis that are shown, the last ones; --json has all.
_SHOWN: Final = 20


def print_ideas(console: Console, ideas: list[Idea], head: str, path: str) -> None:
    """A row per hypothesis, then the totals."""
    if not ideas:
        console.print(f"Nothing was tried yet: {path} begins with the first backtest or sweep.", markup=False)
        return
    table = table_of("Hypothesis", "Of", "Trials", "Entries", "First", "Last", "Days", "Best\nSharpe", left=2)
    table.columns[0].no_wrap = True
    for idea in ideas:
        table.add_row(
            idea.id, escaped(idea.words), f"{idea.trials:,}", f"{idea.entries:,}", _day(idea.first), _day(idea.last),
            f"{idea.days:,}", _ratio(idea.best),
        )  # fmt: skip
    console.print(table)
    trials, entries = sum(idea.trials for idea in ideas), sum(idea.entries for idea in ideas)
    ideas_ = f"{len(ideas):,} hypothes{'i' if len(ideas) == 1 else 'e'}s"
    console.print(f"{_counted(trials, 'trial')} of {ideas_} in {_entries(entries)}; head {head}", soft_wrap=True)


def print_view(console: Console, view: View) -> None:
    """One hypothesis: when it was tried, its best, median and worst set, and what the best has to beat."""
    idea = view.idea
    console.print(f"{idea.id}  {idea.words}", style="bold", markup=False, soft_wrap=True)
    console.print(f"{_counted(idea.trials, 'trial')} in {_entries(idea.entries)}\n", markup=False)
    table = table_of("Entry", "Tried", "Kind", "Bars from", "to", "Days", "Trials", left=5)
    for row in view.entries[-_SHOWN:]:
        entry = row.entry
        span = day_of(entry.first), day_of(entry.last)
        table.add_row(f"{row.seq:,}", instant(row.ts), row.kind, *span, f"{entry.count:,}", f"{entry.trials:,}")
    console.print(table)
    if len(view.entries) > _SHOWN:
        console.print(f"the last {_SHOWN} of {len(view.entries):,} entries", style="dim")
    for said in view.unread:
        console.print(f"Note: {said}.", style="bold yellow", markup=False, soft_wrap=True)
    if view.sets:
        console.print()
        table = table_of("Set", "Parameters", "Sharpe", "Days", "Entry", left=2)
        for trial in view.sets:
            table.add_row(
                trial.place, escaped(_params(trial)), _ratio(trial.sharpe), f"{trial.days:,}", f"{trial.seq:,}"
            )
        console.print(table)
    if view.bars:
        console.print()
        table = table_of("Counted", "By", "Number", "Spread", "Hurdle", left=2)
        for bar in view.bars:
            table.add_row(bar.scope, bar.how, f"{bar.trials:,}", _ratio(bar.deviation), _ratio(bar.hurdle))
        console.print(table)
        console.print("Sharpe, spread (deviation) and hurdle are annual", style="dim")
    console.print()
    console.print(answer(view), style="bold", markup=False, soft_wrap=True)


def answer(view: View) -> str:
    """What the best has to beat, in one sentence."""
    if not view.bars:
        return f"What the best has to beat is not known: {view.why}."
    least = _ratio(max(bar.hurdle for bar in view.bars))
    return (
        f"The best shows a Sharpe of {_ratio(view.idea.best)}; the best of so many without skill shows {least}, by the "
        "strictest count."
    )


def print_report(console: Console, report: Report) -> None:
    """Whole, or BROKEN with each fault; then the head."""
    what = f"{_entries(report.entries)}, {_counted(report.trials, 'trial')}"
    if not report.faults:
        console.print(f"{report.path}: whole; {what}", markup=False, soft_wrap=True)
    else:
        console.print(f"{report.path}: BROKEN; {what} before the fault hold", markup=False, soft_wrap=True)
        for fault in report.faults:
            console.print(f"  {fault}", markup=False, soft_wrap=True)
    if report.head:
        console.print(f"head {report.head}", soft_wrap=True)


def instant(ts: int) -> str:
    """ns UTC to the minute."""
    return str(np.datetime64(ts, "ns").astype("datetime64[m]")).replace("T", " ")


def named(params: Mapping[str, float]) -> dict[str, float]:
    """Parameters as people name them: without the model's number where there is one model."""
    models = {name.partition(".")[0] for name in params}
    return {name.partition(".")[2] if len(models) == 1 else name: value for name, value in params.items()}


def _params(trial: Trial) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in named(trial.params).items()) or "none"


def _day(ts: int) -> str:
    return instant(ts)[:10]


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _entries(count: int) -> str:
    return f"{count:,} entr{'y' if count == 1 else 'ies'}"
