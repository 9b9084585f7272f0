"""`trimtab validate`: does a strategy, or a book, deserve belief?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trimtab.app import cli_advice, console
from trimtab.app.bars_asked import AskedSymbols, AskedTimeframe, is_spec, panel_asked
from trimtab.app.cli_config import read
from trimtab.app.cli_options import JsonOption
from trimtab.app.cli_strategies import params_given

if TYPE_CHECKING:
    from trimtab.app.wire import Progress
    from trimtab.research.run import Run
    from trimtab.types import Panel, Spec

CAPITAL: Final = 1_000_000.0
_NO_DATA: Final = "there is no --data: give symbols of the store or a file of bars, e.g. --data BTCEUR_1h.csv"


def validate(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="STRATEGY…|SPEC", help="A strategy, several, or a spec.", show_default=False),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="A,B|FILE|DIR",
            help="Of a strategy: symbols of the store, or files. Of a spec, and with --symbols: a store's folder.",
        ),
    ] = None,
    symbols: AskedSymbols = None,
    timeframe: AskedTimeframe = "1d",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A strategy's parameter, or a spec's key. Repeatable."),
    ] = None,
    capital: Annotated[
        float | None,
        typer.Option(
            "--capital", min=0.0, help="Of a strategy: what it is run with (1,000,000); impact grows with it."
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid", metavar="PATH=VALUES", help="What could be chosen: walked forward, and trials. Repeatable."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the tests that decide, and their statistics.")] = False,
    page: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the verdict's page.")] = None,
    table: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Of several strategies: write their table.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a strategy or a book against everything that was ever tried: PASS, FAIL or NOT ENOUGH DATA.

    Runs it once, net of costs, which is a trial of its own. The number of
    trials comes from the trial ledger and never from you: the best of many is
    expected to look good. The verdict follows from costs, length, laws, the
    deflated Sharpe by the strictest count, and overfitting; other runs tell
    what the record rests on.

    Several strategies are all run first, at their own parameters and at the
    neighbours of these; then each is judged against all of it, and false
    discoveries among them are controlled. They pass if one of them does.

    Exit codes: 0 PASS, 1 FAIL, 2 a mistake in what was asked, 3 NOT ENOUGH DATA.

    [bold]Examples[/bold]
      trimtab validate momentum --data BTCEUR --timeframe 1h
      trimtab validate book.yaml --html verdict.html
      trimtab validate book.yaml --grid models.0.params.lookback=20,50,100
      trimtab validate sma_cross momentum --data BTCEUR --markdown table.md
      trimtab validate my_strategy.py --data BTCEUR_1h.csv --set lookback=50 --json
    """
    from trimtab.app.console.court import print_verdict
    from trimtab.app.grid import read_grid
    from trimtab.research import pages
    from trimtab.research.court.court import hold
    from trimtab.research.court.page import headline, render_page
    from trimtab.research.court.verdict import plain

    if page is not None:
        pages.check_path(page)
    if len(targets) > 1:
        _unused(quick, settings, grid, page)
        raise typer.Exit(_several(targets, (data, symbols, timeframe), capital or CAPITAL, table, as_json))
    target = targets[0]
    whole = is_spec(target)
    _unused_of_one(whole, capital, table)
    root = data if whole or symbols is not None else None
    with console.progress(shown=not as_json) as progress:
        if whole:
            spec, panel = _spec_asked(target, settings, root), None
        else:
            spec, panel = _strategy_asked(target, settings, capital or CAPITAL, (data, symbols, timeframe))
        axes = read_grid(spec, grid) if grid else None  # before anything is tried
        run = _run(spec, panel, root, progress)
        held = hold(run, root, grid=axes, stressed=not quick, progress=progress)
        if page is not None:
            pages.write_page(render_page(held.verdict, held.case, held.stressed), page)
    if as_json:
        beside = {"headline": headline(held.verdict), "page": str(page) if page else None}
        console.write_json(plain(held.verdict) | beside)
    else:
        print_verdict(console.stdout(), held.verdict, held.case)
        if page is not None:
            typer.echo(f"Page: {page}")
    if held.verdict.code:
        raise typer.Exit(held.verdict.code)


def _unused(quick: bool, settings: list[str] | None, grid: list[str] | None, page: Path | None) -> None:
    """TrimtabError where something was asked of several strategies that only one can have."""
    from trimtab.types import TrimtabError

    asked = {"--quick": quick, "--set": bool(settings), "--grid": bool(grid), "--html": page is not None}
    wrong = [name for name, given in asked.items() if given]
    if wrong:
        raise TrimtabError(f"{wrong[0]} is of one strategy or spec: validate them one by one, or leave it out")


def _unused_of_one(whole: bool, capital: float | None, table: Path | None) -> None:
    """TrimtabError where something was asked of one strategy or spec that it cannot have."""
    from trimtab.types import TrimtabError

    if table is not None:
        raise TrimtabError("--markdown is of several strategies: name more than one, or take --html or --json")
    if whole and capital is not None:
        raise TrimtabError("--capital is of a strategy: a spec says its own, or --set capital=…")


def _several(
    names: list[str],
    asked: tuple[str | None, str | None, str],
    capital: float,
    table: Path | None,
    as_json: bool,
) -> int:
    """Judge several strategies; -> 0 if one of them passes, 3 if none can be said yet, else 1."""
    from trimtab.app.console.court import print_field
    from trimtab.research.court.field import judge_all
    from trimtab.research.court.field_table import markdown, rows_of
    from trimtab.research.court.verdict import NOT_ENOUGH, PASS
    from trimtab.strategies import find
    from trimtab.types import TrimtabError

    if specs := [name for name in names if is_spec(name)]:
        raise TrimtabError(f"{specs[0]} is a spec: validate it alone")
    if twice := [name for k, name in enumerate(names) if name in names[:k]]:
        raise TrimtabError(f"{twice[0]} is named twice: once will do")
    if table is not None and not table.absolute().parent.is_dir():
        raise TrimtabError(f"--markdown {table}: there is no folder {table.parent}")
    data, symbols, timeframe = asked
    reads = {field for name in names for field in find(name).reads}
    panel = panel_asked(symbols, timeframe, data, sorted(reads))
    if panel is None:
        raise TrimtabError(_NO_DATA)
    with console.progress(shown=not as_json) as progress:
        judged, refused = judge_all(
            names, panel, data if symbols is not None else None, capital=capital, progress=progress
        )
    if table is not None:
        table.write_text(markdown(judged, refused), encoding="utf-8")
    if as_json:
        console.write_json({"strategies": rows_of(judged), "refused": [each._asdict() for each in refused]})
    else:
        print_field(console.stdout(), judged, refused)
    words = {each.held.verdict.word for each in judged}
    return 0 if PASS in words else 3 if words <= {NOT_ENOUGH} else 1


def _spec_asked(target: str, settings: list[str] | None, root: str | None) -> Spec:
    if root is not None and not Path(root).is_dir():
        from trimtab.types import TrimtabError

        raise TrimtabError(f"--data {root}: a spec says what it runs on; expected the folder of its store")
    return read(Path(target), settings, None, None)


def _strategy_asked(
    target: str, settings: list[str] | None, capital: float, asked: tuple[str | None, str | None, str]
) -> tuple[Spec, Panel]:
    from trimtab.research.court.field import spec_at
    from trimtab.strategies import find
    from trimtab.types import TrimtabError

    data, symbols, timeframe = asked
    strategy = find(target)
    panel = panel_asked(symbols, timeframe, data, strategy.reads)
    if panel is None:
        raise TrimtabError(_NO_DATA)
    return spec_at(strategy, target, panel, capital, params_given(settings)), panel


def _run(spec: Spec, panel: Panel | None, root: str | None, progress: Progress) -> Run:
    """The recorded run of a spec; panel: None where it is in the store that the spec means."""
    if panel is None:
        from trimtab.app.wire import run_backtest

        with cli_advice.given(lambda: spec, root):
            return run_backtest(spec, root=root, progress=progress)
    from trimtab.research.backtest import run_spec
    from trimtab.research.ledger.record import record_run

    if progress is not None:
        progress("running (the first time compiles)", 0, 0)
    return record_run(run_spec(spec, panel), root)
