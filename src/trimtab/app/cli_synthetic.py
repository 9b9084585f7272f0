"""`trimtab data synthetic`: made-up bars in a store, so that anything can be tried without data."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from trimtab.app import console
from trimtab.app.cli_import import plain_imported, print_imported
from trimtab.app.cli_options import DataOption, JsonOption, instant_of
from trimtab.data.catalogue import SYNTHETIC, SYNTHETIC_CLASSES, default_instrument
from trimtab.data.importing import import_frame
from trimtab.data.store import open_store
from trimtab.data.timeframes import canonical
from trimtab.types import Instrument, TrimtabError
from trimtab.words import near


def synthetic(
    what: Annotated[
        list[str],
        typer.Argument(metavar="CLASS=SYMBOL,…", help=f"{', '.join(SYNTHETIC_CLASSES)}.", show_default=False),
    ],
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bars.")] = 0,
    start: Annotated[str, typer.Option("--start", metavar="DATE", help="First instant.")] = "2015-01-01",
    end: Annotated[str, typer.Option("--end", metavar="DATE", help="Last instant.")] = "2025-01-01",
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="Of the bars; coarser ones are made.")] = "1h",
    replace: Annotated[bool, typer.Option("--replace", help="Put them in the place of stored bars.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make seeded bars with clustered volatility, jumps and gaps, and store them.

    Stocks and indices trade in New York's sessions, crypto round the clock. Of
    each two that share their hours the second follows the first (cointegrated).
    Nothing in them can be earned by holding; real instruments of the same name
    are never touched. Writes Parquet files and the catalogue in the store.

    [bold]Examples[/bold]
      trimtab data synthetic equity=SPY,QQQ perpetual=BTC,ETH --seed 7
      trimtab data synthetic crypto=AAA,BBB -t 1d --start 2010-01-01 --data play
    """
    from trimtab.research.synthetic import synthetic_frames

    store, step = open_store(data), canonical(timeframe)
    made = [instrument for text in what for instrument in _instruments(text)]
    twice = next((i.symbol for i in made if [j.symbol for j in made].count(i.symbol) > 1), None)
    if twice:
        raise TrimtabError(f"{twice} is named twice; expected each symbol once")
    first, last = instant_of("--start", start), instant_of("--end", end)
    frames = synthetic_frames(seed, made, step, first, last)
    now = time.time_ns()
    done = [import_frame(store, frames[i.symbol], i, step, now=now, replace=replace) for i in made]
    if as_json:
        console.write_json({"imported": [plain_imported(d) for d in done], "seed": seed})
    else:
        print_imported(done, store)


def _instruments(text: str) -> list[Instrument]:
    """The instruments of one `class=symbols`."""
    named, equals, symbols = text.partition("=")
    if not equals or not all(symbols.split(",")):
        raise TrimtabError(f"{text}: expected CLASS=SYMBOL,SYMBOL… such as equity=SPY,QQQ")
    if named not in SYNTHETIC_CLASSES:
        raise TrimtabError(
            f"{text}: no class {named!r}{near(named, SYNTHETIC_CLASSES)}; expected one of "
            f"{', '.join(SYNTHETIC_CLASSES)}"
        )
    asset_class, kind = SYNTHETIC_CLASSES[named]
    return [default_instrument(symbol, asset_class, SYNTHETIC, kind) for symbol in symbols.split(",")]
