"""`trimtab orthogonality`: are several strategies several, and what does each add to the book?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trimtab.app import cli_advice, console
from trimtab.app.bars_asked import is_spec, panel_asked
from trimtab.app.cli_config import read
from trimtab.app.cli_options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.app.wire import Progress
    from trimtab.research.orthogonality import Orthogonality, Part
    from trimtab.research.run import Run
    from trimtab.types import Panel, Spec

#: Parts up to which the correlations are printed in full.
SHOWN: Final = 12

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="STRATEGY|SPEC|BUNDLE",
        help="Strategies by name or file, specs, runs' folders; or one spec, for its models.",
        show_default=False,
    ),
]


def orthogonality(
    targets: Targets,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="A,B|FILE|DIR",
            help="Of strategies: symbols of the store, or files. Of specs, and with --symbols: a store's folder.",
        ),
    ] = None,
    symbols: Annotated[
        str | None, typer.Option("--symbols", metavar="A,B", help="Instruments that strategies are run on.")
    ] = None,
    timeframe: Annotated[
        str, typer.Option("--timeframe", help="Timeframe of the bars from the store, and of files that do not say.")
    ] = "1d",
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the heat-maps and all figures.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold strategies, books, or the models of one book against each other.

    Tells the correlation of daily returns (net of costs) and of forecasts, how
    many independent bets the parts are worth, which of them are one thing, and
    what each adds to the Sharpe of a book of all: in equal parts, or of models
    at their budgets. Each run is a trial, once. Writes nothing else, or the page
    of --html.

    Exit codes: 2 a mistake in what was asked, 3 fewer than 30 common days.

    [bold]Examples[/bold]
      trimtab orthogonality sma_cross momentum --data BTCEUR --timeframe 1h
      trimtab orthogonality book.yaml --html orthogonality.html
      trimtab orthogonality one.yaml two.yaml results/3f1c0a9b --json
    """
    from trimtab.research import orthogonality_page, pages
    from trimtab.research.orthogonality import orthogonality as compare

    if page is not None:
        pages.check_path(page)
    with console.progress(shown=not as_json) as progress:
        parts, periods, rate = _parts(targets, (data, symbols, timeframe), progress)
        found = compare(parts, periods, rate)
        if page is not None:
            orthogonality_page.write(found, page)
    if as_json:
        console.write_json(orthogonality_page.plain(found) | {"page": None if page is None else str(page)})
        return
    print_orthogonality(console.stdout(), found)
    if page is not None:
        typer.echo(f"Page: {page}")


# --- what is compared ------------------------------------------------------------------------------------------------


def _parts(
    targets: Sequence[str], asked: tuple[str | None, str | None, str], progress: Progress
) -> tuple[Sequence[Part], float, float]:
    """The parts, periods per year, and the risk-free rate that all of them have."""
    from trimtab.research.orthogonality import parts_of_models, parts_of_runs
    from trimtab.types import TrimtabError

    plain = [target for target in targets if _is_strategy(target)]
    whole = [target for target in targets if target not in plain]
    if len(targets) == 1 and plain:
        raise TrimtabError(
            f"{targets[0]} alone: there is nothing to hold it against; give two or more, or a spec of several models"
        )
    data, symbols, timeframe = asked
    if whole and data is not None and not os.path.isdir(data):
        raise TrimtabError(f"--data {data}: specs and bundles say what they run on; expected the folder of their store")
    root = data if whole or symbols is not None else None
    panel = _panel(plain, data, symbols, timeframe) if plain else None
    runs: list[tuple[str, Run]] = []
    for k, target in enumerate(targets):
        if progress is not None:
            progress(f"running {target}", k, len(targets))
        runs.append(_run(target, root, panel if target in plain else None))
    rates = {run.spec.risk_free_rate for _, run in runs}
    if len(rates) > 1:
        shown = ", ".join(f"{name} {run.spec.risk_free_rate:g}" for name, run in runs)
        raise TrimtabError(f"the risk-free rates differ ({shown}): expected one, so that Sharpe ratios can be compared")
    if len(runs) > 1:
        parts, periods = parts_of_runs(_named(runs))
    elif len(runs[0][1].spec.models) > 1:
        parts, periods = parts_of_models(runs[0][1])
    else:
        raise TrimtabError(f"{targets[0]} has one model: give two or more, or a spec of several models")
    return parts, periods, rates.pop()


def _is_strategy(target: str) -> bool:
    """A name or a Python file; a path to anything else, and a folder that is no strategy's name, is a bundle."""
    from trimtab.strategies import names

    if target.endswith(".py") or target in names():
        return True
    return not is_spec(target) and "/" not in target and not Path(target).is_dir()


def _panel(plain: Sequence[str], data: str | None, symbols: str | None, timeframe: str) -> Panel:
    """The bars that all strategies are run on, with every field that one of them reads."""
    from trimtab.strategies import find
    from trimtab.types import TrimtabError

    reads = list(dict.fromkeys(field for name in plain for field in find(name).reads))
    panel: Panel | None = panel_asked(symbols, timeframe, data, reads)
    if panel is None:
        raise TrimtabError(
            f"there is no --data for {', '.join(plain)}: give symbols of the store or a file of bars, such as BTCEUR"
        )
    return panel


def _run(target: str, root: str | None, panel: Panel | None) -> tuple[str, Run]:
    """A name for a part, and its run: of a strategy over the panel, or of a spec or bundle over its own bars."""
    from trimtab.research.backtest import run_spec, spec_of
    from trimtab.research.ledger.record import record_run

    if panel is not None:
        run = record_run(run_spec(spec_of(target, panel), panel), root)
        return Path(target).stem if target.endswith(".py") else target, run
    from trimtab.app.wire import panel_of

    spec, name = _spec(target)
    with cli_advice.given(lambda: spec, root, near=(Path(target).parent / "data",)):
        return name, record_run(run_spec(spec, panel_of(spec, root)), root)


def _spec(target: str) -> tuple[Spec, str]:
    from trimtab.app.wire import spec_of_bundle
    from trimtab.research.bundle import found_bundle

    if is_spec(target):
        spec = read(Path(target))
        return spec, spec.name or Path(target).stem
    bundle = found_bundle(Path(target))
    spec = spec_of_bundle(bundle)
    return spec, spec.name or bundle.name[:8]


def _named(runs: Sequence[tuple[str, Run]]) -> list[tuple[str, Run]]:
    """The same with a number after names that several have."""
    names = [name for name, _ in runs]
    return [
        (name if names.count(name) == 1 else f"{name} {names[: k + 1].count(name)}", run)
        for k, (name, run) in enumerate(runs)
    ]


# --- telling ---------------------------------------------------------------------------------------------------------


def print_orthogonality(out: Console, found: Orthogonality) -> None:
    """The comparison in the terminal: the answer, each part, and the correlations of a few."""
    from trimtab.app.console.cells import escaped, table_of
    from trimtab.research.orthogonality_page import headline, notes_of, number, row_of
    from trimtab.words import day_of

    out.print(headline(found), style="bold", markup=False)
    out.print(
        f"{day_of(found.first)} to {day_of(found.last)}. Effective bets: {number(found.bets_entropy)} by entropy, "
        f"{number(found.bets_correlation)} by the average correlation of {number(found.average)}; "
        f"clusters: {found.clusters}. Sharpe of the book: {number(found.sharpe)}.",
        markup=False,
        soft_wrap=True,
    )
    table = table_of("Part", "Share", "Sharpe", "Corr.", "Earned", "Risk", "Euler", "Drop one", "Cluster")
    for k, part in enumerate(found.parts, 1):
        row = row_of(part)
        figures = ("share", "sharpe", "correlation", "earned", "risk", "euler", "drop_one", "cluster")
        table.add_row(escaped(f"{k}. {part.name}"), *(row[name] for name in figures))
    out.print()
    out.print(table)
    if len(found.parts) <= SHOWN:
        for title, rho in (("Returns", found.returns), ("Forecasts", found.forecasts)):
            grid = table_of(title, *(str(k) for k in range(1, len(found.parts) + 1)))
            for k, name in enumerate(found.names):
                cells = (number(float(v)) for v in rho[k])
                grid.add_row(escaped(f"{k + 1}. {name}"), *cells)
            out.print()
            out.print(grid)
    out.print()
    for note in notes_of(found):
        out.print(f"Note: {note}", style="dim", markup=False, soft_wrap=True)
