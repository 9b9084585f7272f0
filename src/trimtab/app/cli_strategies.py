"""`trimtab strategies` and `trimtab check`: what is there to run, and does it keep the laws."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import console
from trimtab.app.cli_config import JsonOption

if TYPE_CHECKING:
    from trimtab.types import Strategy

app = typer.Typer()


@app.callback(invoke_without_command=True)
def strategies(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the strategies, or show one.

    Prints on stdout and writes nothing.

    [bold]Examples[/bold]
      trimtab strategies
      trimtab strategies show pairs_reversion
      trimtab strategies show my_strategy.py
    """
    if ctx.invoked_subcommand is not None:
        return
    from trimtab.strategies import find, names

    found = [find(name) for name in names()]
    if as_json:
        console.write_json([describe(strategy) for strategy in found])
        return
    rows = [
        {"name": s.name, "idea": idea_of(s), "params": ", ".join(f"{k} {v}" for k, v in s.params._asdict().items())}
        for s in found
    ]
    console.print_strategies(console.stdout(), rows)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A strategy's name, or its Python file.")],
    as_json: JsonOption = False,
) -> None:
    """Show one strategy: the idea, its source, when it fails, its parameters with their ranges.

    Prints on stdout and writes nothing.

    [bold]Examples[/bold]
      trimtab strategies show sma_cross
      trimtab strategies show my_strategy.py --json
    """
    from trimtab.strategies import find

    strategy = find(name)
    if as_json:
        console.write_json(describe(strategy))
        return
    console.print_strategy(console.stdout(), describe(strategy))


def check(
    strategy: Annotated[str, typer.Argument(metavar="STRATEGY", help="A strategy's name, or its Python file.")],
    symbols: Annotated[
        str | None,
        typer.Option(
            "--symbols", metavar="A,B", help="Check on these instruments of the store; default: synthetic bars."
        ),
    ] = None,
    timeframe: Annotated[str, typer.Option("--timeframe", help="Timeframe of the bars from the store.")] = "1d",
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The store of --symbols.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a strategy against the laws (no look-ahead, live equals backtest).

    Exit code 1 if a law is broken: the table names the law, the field and the row, and what that usually means. Runs on
    synthetic bars, or on the store's with --symbols. Writes nothing.

    [bold]Examples[/bold]
      trimtab check sma_cross
      trimtab check my_strategy.py --symbols BTCEUR,ETHEUR --timeframe 1h
    """
    from trimtab.research.check import check_strategy
    from trimtab.strategies import find

    found = find(strategy)
    panel = _panel(symbols, timeframe, data)
    with console.progress(shown=not as_json):
        findings = [finding_of(finding) for finding in check_strategy(found, panel)]
    passed = all(finding["passed"] for finding in findings)
    if as_json:
        console.write_json({"strategy": found.name, "passed": passed, "findings": findings})
    else:
        console.print_findings(console.stdout(), found.name, findings)
    if not passed:
        raise typer.Exit(1)


def describe(strategy: Strategy) -> dict[str, Any]:
    """What is known of a strategy, as plain values."""
    params = strategy.params._asdict()
    return {
        "name": strategy.name,
        "version": strategy.version,
        "idea": idea_of(strategy),
        "about": about(strategy),
        "fields": list(strategy.fields),
        "legs": strategy.n_legs,
        "timeframes": list(strategy.timeframes),
        "asset_classes": list(strategy.asset_classes),
        "warmup": strategy.warmup(strategy.params),
        "params": {name: {"default": value, "range": strategy.ranges.get(name)} for name, value in params.items()},
    }


def about(strategy: Strategy) -> str:
    """The text of the strategy's module: idea, formula, source, when it fails."""
    module = sys.modules.get(type(strategy.params).__module__)
    return inspect.cleandoc(module.__doc__ or "") if module else ""


def idea_of(strategy: Strategy) -> str:
    """The first sentence of that text, without the strategy's name before it."""
    first = about(strategy).split("\n\n")[0].replace("\n", " ")
    _, colon, idea = first.partition(": ")
    return (idea if colon else first).rstrip(".")


def finding_of(finding: Any) -> dict[str, Any]:
    """A Finding of the checker as plain values."""
    return {name: getattr(finding, name) for name in ("law", "passed", "field", "row", "message")}


def _panel(symbols: str | None, timeframe: str, data: Path | None) -> Any:
    if symbols is None:
        if data is None:
            return None
        from trimtab.types import TrimtabError

        raise TrimtabError("--data names a store, --symbols what to read from it: give both, e.g. --symbols BTCEUR")
    from trimtab.data.panel import load

    return load(*symbols.replace(" ", "").split(","), timeframe=timeframe, root=data)
