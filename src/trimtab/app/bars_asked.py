"""The bars that a command is asked to look at: symbols of the store, files, or a store's folder with its symbols."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.app import cli_advice

if TYPE_CHECKING:
    import polars as pl

    from trimtab.types import Panel

AskedData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="A,B|FILE|DIR",
        help="Symbols of the store, CSV or Parquet files, or a store's folder for --symbols.",
    ),
]
AskedSymbols = Annotated[
    str | None, typer.Option("--symbols", metavar="A,B", help="Instruments of the store that --data names.")
]
AskedTimeframe = Annotated[
    str, typer.Option("--timeframe", help="Timeframe of the bars from the store, and of files that do not say.")
]


def is_spec(target: str) -> bool:
    """Does a target name a file that holds a spec, and not a strategy?"""
    return Path(target).suffix.lower() in (".yaml", ".yml", ".json")


def panel_asked(symbols: str | None, timeframe: str, data: str | None, reads: Sequence[str]) -> Panel | None:
    """The bars to look at, of the store or of files, with the slower fields that are read; None: nothing was named."""
    from trimtab.types import TrimtabError

    if data is None and symbols is None:
        return None
    from trimtab.data.importing import SUFFIXES

    if symbols is not None:
        return _stored(listed(symbols), timeframe, data, reads)
    named = listed(str(data))
    if all(Path(name).is_file() for name in named):
        return _panel_of_files([Path(name) for name in named], timeframe, reads)
    if len(named) == 1 and Path(named[0]).is_dir():
        raise TrimtabError(
            f"--data {data} is a folder: --data names a store, --symbols what to read from it. Give both, e.g. "
            "--symbols BTCEUR"
        )
    lost = [name for name in named if Path(name).suffix.lower() in SUFFIXES]
    if lost:
        raise TrimtabError(f"--data: there is no file {lost[0]}")
    return _stored(
        named,
        timeframe,
        None,
        reads,
        "\n--data takes symbols of the store, files of bars, or a store's folder with --symbols (give both).",
    )


def _stored(symbols: list[str], timeframe: str, root: str | None, reads: Sequence[str], also: str = "") -> Panel:
    """Bars of a store; `also` is said too where they are not in it."""
    from trimtab.data.panel import load
    from trimtab.types import TrimtabError

    missing = cli_advice.on_missing_bars(symbols, root, near=(Path("demo/data"),))
    if missing:
        raise TrimtabError(missing + also)
    return load(*symbols, timeframe=timeframe, root=root, features=[name for name in reads if "@" in name])


def described(panel: Panel | None) -> str:
    """A panel in words."""
    if panel is None:
        return "synthetic bars (yours: --data)"
    shown = " ".join(panel.symbols[:4]) + (" …" if len(panel.symbols) > 4 else "")
    return f"{shown}, {len(panel.ts):,} rows of {panel.timeframe}"


def listed(text: str) -> list[str]:
    """A,B as its parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _panel_of_files(paths: list[Path], timeframe: str, reads: Sequence[str]) -> Panel:
    """Bars of files as they are, with their other columns of numbers: BTCEUR_1h.csv says symbol and timeframe."""
    from trimtab.data.catalogue import default_instrument
    from trimtab.data.importing import names_of
    from trimtab.data.timeframes import canonical
    from trimtab.research.check_subject import with_slower
    from trimtab.types import Panel, TrimtabError

    named = [names_of(path) for path in paths]
    said = {name for _, name in named if name} or {canonical(timeframe)}
    if len(said) > 1:
        raise TrimtabError(f"the files have different timeframes ({', '.join(sorted(said))}): give files of one")
    frames = {symbol: _frame_of(path, reads) for (symbol, _), path in zip(named, paths, strict=True)}
    panel = Panel.from_frames(frames, said.pop(), [default_instrument(symbol) for symbol in frames])
    return with_slower(panel, reads)


def _frame_of(path: Path, reads: Sequence[str]) -> pl.DataFrame:
    """The bars of a file, and those of its other columns that are read."""
    import polars as pl

    from trimtab.data.importing import Source, read_source, read_table

    frame = read_source(Source(path=path))[0]
    table = read_table(path)
    wanted = [name for name in reads if name in table.columns and name not in frame.columns]
    return frame.with_columns(table[name].cast(pl.Float64, strict=False) for name in wanted)
