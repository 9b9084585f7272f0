"""`trimtab strategies` and `trimtab check`: what is there to run, and does it keep the laws."""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import console
from trimtab.app.bars_asked import AskedData, AskedSymbols, AskedTimeframe, described, panel_asked
from trimtab.app.cli_options import JsonOption

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
        {"name": s.name, "idea": idea_of(s), "params": ", ".join(f"{k}={v}" for k, v in s.params._asdict().items())}
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


@app.command("signal")
def signal(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A strategy's name, or its Python file.")],
    data: AskedData = None,
    symbols: AskedSymbols = None,
    timeframe: AskedTimeframe = "1d",
    params: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter's value. Repeatable.")
    ] = None,
    capital: Annotated[
        float, typer.Option("--capital", min=0.0, help="What the orders are for, in the quote currency.")
    ] = 10_000.0,
    as_json: JsonOption = False,
) -> None:
    """What a strategy says at the last bar: BUY, SELL or HOLD, how strongly, why, and the order it would mean.

    HOLD says that no position is wanted, or that the strategy abstains and
    keeps what it has. Orders are those of an account that holds only cash,
    before costs and limits; nothing is sent. Prints on stdout and writes nothing.

    Exit codes: 2 a mistake in what was asked, 3 not enough data.

    [bold]Examples[/bold]
      trimtab strategies signal sma_cross --data BTCEUR --timeframe 4h
      trimtab strategies signal lag_autocorr --data BTCEUR_1h.csv --capital 5000 --json
    """
    from trimtab.research.signals import plain_of, signals_of
    from trimtab.strategies import find
    from trimtab.types import TrimtabError

    found = find(name)
    given = params_given(params)
    panel = panel_asked(symbols, timeframe, data, found.reads)
    if panel is None:
        raise TrimtabError("there is no --data: give symbols of the store or a file of bars, e.g. --data BTCEUR_1h.csv")
    if not capital > 0.0:
        raise TrimtabError(f"--capital {capital:g}: expected a number above 0")
    told = plain_of(signals_of(found, given, panel, capital))
    if as_json:
        console.write_json({"strategy": found.name, "capital": capital, "signals": told})
        return
    console.print_signals(console.stdout(), told, capital)


def check(
    strategy: Annotated[str, typer.Argument(metavar="STRATEGY", help="A strategy's name, or its Python file.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="A,B|FILE|DIR",
            help="Symbols of the store, CSV or Parquet files, or a store's folder for --symbols. Default: synthetic.",
        ),
    ] = None,
    symbols: AskedSymbols = None,
    timeframe: AskedTimeframe = "1d",
    params: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter's value. Repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="What is only suspicious fails too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hold a strategy against the laws: no look-ahead, and live will do what the backtest did.

    One line per law; for a broken one the field, the instrument, the row, the
    size of the leak, the usual cause and what to do. Runs on synthetic bars
    unless --data or --symbols say otherwise. Other number columns of files are
    fields that a strategy can read; they are searched for later rows. Writes
    nothing.

    Exit codes: 1 a law is broken, 2 a mistake in what was asked, 3 not enough data.

    [bold]Examples[/bold]
      trimtab check sma_cross
      trimtab check my_strategy.py --data BTCEUR,ETHEUR --timeframe 1h
      trimtab check my_strategy.py --data BTCEUR_1h.csv --set lookback=50 --json
    """
    from trimtab.research.check import check_strategy
    from trimtab.strategies import find

    found = find(strategy)
    panel = panel_asked(symbols, timeframe, data, found.reads)
    given = params_given(params)
    root = data if symbols is not None else None
    with console.progress(shown=not as_json):
        judged = check_strategy(found, panel, given, series=_published(root) if panel is not None else None)
    findings = [finding_of(finding) for finding in judged]
    passed = all(finding["passed"] and not (strict and finding["suspicious"]) for finding in findings)
    if as_json:
        console.write_json({"strategy": found.name, "passed": passed, "findings": findings})
    else:
        console.print_findings(console.stdout(), f"{found.name} on {described(panel)}", findings)
    if not passed:
        raise typer.Exit(1)


def describe(strategy: Strategy) -> dict[str, Any]:
    """What is known of a strategy, as plain values."""
    from trimtab.strategies.fitting import window_of
    from trimtab.strategies.indicators import rows_before
    from trimtab.types import DAY

    params = strategy.params._asdict()
    fit = None
    if strategy.fit is not None:
        every = strategy.fit.every(strategy.params)
        told = {"every_bars": every} if strategy.fit.in_bars else {"every_days": every / DAY}
        fit = {"window": window_of(strategy, strategy.params)} | told
    return {
        "name": strategy.name,
        "version": strategy.version,
        "idea": idea_of(strategy),
        "about": about(strategy),
        "fields": list(strategy.fields),
        "indicators": [
            {"name": each.name, "fields": list(each.fields), "warmup": rows_before(strategy, each, strategy.params)}
            for each in strategy.indicators
        ],
        "legs": strategy.n_legs,
        "timeframes": list(strategy.timeframes),
        "asset_classes": list(strategy.asset_classes),
        "warmup": strategy.warmup(strategy.params),
        "fit": fit,
        "params": {name: {"default": value, "range": strategy.ranges.get(name)} for name, value in params.items()},
    }


def about(strategy: Strategy) -> str:
    """The text of the strategy's module: idea, formula, source, when it fails."""
    from trimtab.strategies.framed import home_of

    module = sys.modules.get(home_of(strategy))
    return inspect.cleandoc(module.__doc__ or "") if module else ""


def idea_of(strategy: Strategy) -> str:
    """The first sentence of that text, without the strategy's name before it."""
    first = about(strategy).split("\n\n")[0].replace("\n", " ")
    _, colon, idea = first.partition(": ")
    return (idea if colon else first).rstrip(".")


def finding_of(finding: Any) -> dict[str, Any]:
    """A Finding of the checker as plain values; its instant as ISO text, UTC."""
    names = ("law", "passed", "suspicious", "field", "instrument", "row", "size", "seen", "cause", "message")
    plain = {name: getattr(finding, name) for name in names}
    ts = getattr(finding, "ts", None)
    if ts is not None:
        import numpy as np

        plain["ts"] = f"{np.datetime64(ts, 'ns').astype('datetime64[s]')}Z"
    return plain


def params_given(settings: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE as a mapping; a value is read as in a settings file."""
    from trimtab.types import TrimtabError

    found: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        try:
            found[name.strip()] = json.loads(text)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise TrimtabError(f"--set {setting}: expected NAME=VALUE with a number, true or false, such as slow=50")
    return found


def _published(root: str | None) -> dict[str, Any]:
    """Published series of the store, with the instants from which each value may be used."""
    import numpy as np

    from trimtab.data.macro import all_series, read_series
    from trimtab.data.store import open_store
    from trimtab.research.check import Slow

    store = open_store(root)
    found: dict[str, Any] = {}
    for name, series in all_series(store).items():
        frame = read_series(store, name)
        labels = frame["open_time"].dt.timestamp("ns").to_numpy().astype(np.int64)
        found[name] = Slow(labels + series.lag, frame["close"].to_numpy().copy())
    return found
