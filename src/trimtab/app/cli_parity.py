"""`trimtab parity`: two runs of one window, trade by trade, and what each difference is due to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.app import console
from trimtab.app.cli_options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.research.parity import Parity

First = Annotated[
    Path,
    typer.Argument(metavar="RUN_A", help="A run's folder; the first digits of its name will do.", show_default=False),
]
Second = Annotated[Path, typer.Argument(metavar="RUN_B", help="The run to hold it against.", show_default=False)]


def parity(
    first: First,
    second: Second,
    tolerance: Annotated[
        str, typer.Option("--tolerance", metavar="FRACTION", help="Relative; 1e-9, 1bps. Default: to the last bit.")
    ] = "0",
    within: Annotated[
        int, typer.Option("--within", metavar="BARS", min=0, help="Orders so far apart may be one order, late.")
    ] = 10,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with both curves and all trades.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many differences to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs, such as a backtest and paper, trade by trade.

    Each difference is put down to data, timing, price, fee, size, a missed or a
    rejected trade, or to what was carried; in money and in basis points, which
    add up to the difference in final equity. Where the windows overlap only in
    part, the overlap is compared. Writes nothing, or the page of --html.

    Exit code 0: equal within the tolerance; 1: not; 2: nothing to compare.

    [bold]Examples[/bold]
      trimtab parity results/3f1c0a9be2d47781 results/9a77f0c2d1e4b583
      trimtab parity results/3f1c paper/9a77 --html parity.html
      trimtab parity results/3f1c paper/9a77 --tolerance 1e-9 --json
    """
    from trimtab.research import pages, parity_page
    from trimtab.research.parity import parity as compare

    if page is not None:
        pages.check_path(page)
    found = compare(first, second, tolerance=_fraction(tolerance), within=within)
    if page is not None:
        pages.write_page(parity_page.render_page(found), page)
    if as_json:
        console.write_json(parity_page.plain(found) | {"page": None if page is None else str(page)})
    else:
        print_parity(console.stdout(), found, top)
        if page is not None:
            typer.echo(f"Page: {page}")
    if not found.equal:
        raise typer.Exit(1)


def _fraction(text: str) -> float:
    """A tolerance as it is said: 1e-9, 0.5%, 1bps."""
    from trimtab.app.units import fraction
    from trimtab.types import TrimtabError

    try:
        found = fraction(text)
    except ValueError as error:
        raise TrimtabError(f"--tolerance {text}: expected {error}") from None
    if not 0.0 <= found < 1.0:
        raise TrimtabError(f"--tolerance {text}: expected a fraction from 0 to below 1, such as 1e-9")
    return found


def print_parity(out: Console, p: Parity, top: int) -> None:
    """The comparison in the terminal: the answer, the sum by cause, and the largest differences."""
    from trimtab.app.console.cells import escaped, table_of
    from trimtab.research.parity_page import amount, decided_of, headline, sums_of
    from trimtab.words import utc

    out.print(f"{p.names[0]} (first) against {p.names[1]} (second)", markup=False, soft_wrap=True)
    part = "" if p.whole else ", a part of them"
    out.print(f"{utc(p.window[0])[:10]} to {utc(p.window[1])[:10]}{part}", style="dim", markup=False)
    for note in p.notes:
        out.print(f"Note: {note}", style="dim", markup=False)
    out.print(headline(p), style="bold", markup=False)
    if p.equal:
        return
    table = table_of("Cause", "Trades", p.currency, "bps", "Follows", "Meaning")
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    for name, meaning, trades, money, follows in (*sums_of(p), ("all", "final equities", None, p.difference, 0.0)):
        told = "" if trades is None else f"{trades:,}"
        table.add_row(
            name, told, amount(money), amount(p.bps(money), "+"), amount(follows) if follows else "", escaped(meaning)
        )
    out.print()
    out.print(table)
    rows = table_of("Decided", "Instrument", "Side", "Cause", p.currency, "What", left=4)
    rows.columns[-1].justify, rows.columns[-1].no_wrap = "left", False
    for d in p.differences[:top]:
        when = decided_of(p, d)
        side = p.trades[d.trade].side if d.trade >= 0 else ""
        at = "" if when is None else utc(when)[:16].replace("T", " ")
        rows.add_row(at, escaped(d.symbol), side, d.cause, amount(d.money), escaped(d.words))
    if p.differences:
        out.print()
        out.print(rows)
        if len(p.differences) > top:
            out.print(f"the first {top} of {len(p.differences):,} differences", style="dim")
