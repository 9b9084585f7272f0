"""A verdict in the terminal: the word, why, what is needed, the concerns, and every test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table

from trimtab.app.console.cells import escaped
from trimtab.research.court.finding import FAILED, PASSED, SHORT
from trimtab.research.court.verdict import FAIL, PASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from trimtab.research.court.case import Case
    from trimtab.research.court.field import Judged, Refused
    from trimtab.research.court.verdict import Verdict

_STYLES: Final = {PASSED: "green", FAILED: "red", SHORT: "yellow"}
_WORDS: Final = {PASS: "bold green", FAIL: "bold red"}


def print_verdict(console: Console, verdict: Verdict, case: Case) -> None:
    """The verdict, from its reasons to the ledger that it was given on."""
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for name, justify in (("Test", "left"), ("Outcome", "left"), ("Figure", "right"), ("Threshold", "right")):
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for each in verdict.findings:
        title = f"{each.title} *" if each.decides else each.title
        sign = ">=" if each.at_least else "<="
        table.add_row(
            title,
            f"[{_STYLES.get(each.outcome, 'dim')}]{each.outcome}[/]",
            "" if each.figure is None else f"{each.figure:,.4g}",
            "" if each.threshold is None else f"{sign} {each.threshold:g}",
        )
    console.print(f"{escaped(verdict.hypothesis)}, {verdict.days:,} days")
    console.print()
    console.print(table)
    console.print("[dim]* decides[/]")
    console.print()
    more = [count for count in verdict.hurdles if count.trials > 1]
    for count in more:
        what = "trials" if count.how == "every trial" else "groups of trials"
        bar = f"without skill the best of them shows a Sharpe of {case.annual(count.hurdle):.2f}"
        console.print(f"[dim]{count.trials:,} {what} of the {count.scope}: {bar}[/]")
    if not more:
        console.print("[dim]Nothing else was ever tried on these data.[/]")
    console.print()
    console.print(f"[{_WORDS.get(verdict.word, 'bold yellow')}]{verdict.word}[/]")
    for reason in verdict.reasons:
        console.print(f"  {escaped(reason)}")
    for need in verdict.needed:
        console.print(f"  Needed: {escaped(need)}")
    for concern in verdict.concerns:
        console.print(f"  Concern: {escaped(concern)}")
    console.print(
        f"[dim]Trial ledger: {verdict.entries:,} entries, head {verdict.ledger[:16]}, in {escaped(verdict.place)}[/]"
    )


def print_field(console: Console, judged: Sequence[Judged], refused: Sequence[Refused]) -> None:
    """Verdicts of several strategies, one line each, then why."""
    from trimtab.research.court.field_table import rows_of

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for name in ("Strategy", "Bars"):
        table.add_column(name)
    for name in ("Sharpe", "To beat", "DSR", "PBO", "q"):
        table.add_column(name, justify="right")
    table.add_column("Verdict")
    rows = rows_of(judged)
    for row in rows:
        figures = (row[name] for name in ("sharpe", "hurdle", "dsr", "pbo", "q"))
        cells = ("" if value is None else f"{value:.2f}" for value in figures)
        word = f"[{_WORDS.get(row['verdict'], 'bold yellow')}]{row['verdict']}[/]"
        table.add_row(escaped(row["strategy"]), row["timeframe"], *cells, word)
    console.print(table)
    console.print()
    for row in rows:
        console.print(f"{escaped(row['strategy'])}: {escaped(row['reason'])}")
        if row["needed"]:
            console.print(f"  [dim]needed: {escaped(row['needed'])}[/]")
    for each in refused:
        console.print(f"{escaped(each.name)} was not run: {escaped(each.why)}")
