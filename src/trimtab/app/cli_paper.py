"""The commands that trade: paper, and status, kill and resume of an account that trades."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from trimtab.app import console
from trimtab.app.cli_config import read
from trimtab.app.cli_options import DataOption, JsonOption, SetOption, SpecFile, grouped

if TYPE_CHECKING:
    from trimtab.app.paper import Options, Outcome, Source
    from trimtab.engine.status import Status
    from trimtab.types import Instrument, Spec

#: Set in an engine that a watchdog has started.
CHILD: Final = "TRIMTAB_ENGINE_CHILD"

#: Where accounts lie if nothing else is said.
ACCOUNTS: Final = Path("paper")

Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="ACCOUNT", help="The account's folder; default: the only one under ./paper.", show_default=False
    ),
]


@dataclass(frozen=True)
class FeedChoice:
    """Where bars come from, and which."""

    feed: Annotated[
        str,
        typer.Option(
            "--feed",
            metavar="NAME",
            help="replay (the store's history), synthetic, or live bars of a venue: binance, bybit, kraken, … (ccxt).",
        ),
    ] = "replay"
    speed: Annotated[
        float, typer.Option("--speed", min=0.0, help="Of a replay: times real time; 0: as fast as it goes.")
    ] = 0.0
    days: Annotated[
        float | None, typer.Option("--days", min=0.0, help="Only the last days of a replay; how long a live run lasts.")
    ] = None
    history: Annotated[
        int,
        typer.Option("--history", min=0, help="Rows before now with which a live feed begins; traded on paper."),
    ] = 0


@dataclass(frozen=True)
class EngineChoice:
    """How the engine behaves."""

    drill: Annotated[
        bool, typer.Option("--drill", help="Fire drill: orders, answers and reports are lost, late, doubled, mixed up.")
    ] = False
    on_stop: Annotated[
        str, typer.Option("--on-stop", metavar="keep|cancel", help="What happens to open orders on Ctrl-C.")
    ] = "keep"
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Where the venue still differs, adopt what it says; default: halt.")
    ] = False
    metrics_port: Annotated[
        int, typer.Option("--metrics-port", min=0, max=65535, help="Prometheus and /healthz on 127.0.0.1; 0: none.")
    ] = 0
    deadline: Annotated[
        float,
        typer.Option("--deadline", min=0.0, help="Seconds that the models may take for a row; 0: no watchdog."),
    ] = 60.0


@grouped
def paper(
    spec: SpecFile,
    source: FeedChoice,
    engine: EngineChoice,
    capital: Annotated[float | None, typer.Option("--capital", min=0.0, help="Over the spec's.")] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME|all", help="Only this model of the spec, by name or strategy.")
    ] = "all",
    settings: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The account's folder; default: paper/NAME of the spec."),
    ] = None,
    data: DataOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Of a synthetic feed and of a fire drill.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Trade a spec with simulated money, by the rules of its backtest.

    The account is a folder: its journal, logs, status and, when the run ends,
    the bundle of a Run. Started again it goes on where its journal ends,
    whatever ended it. Ctrl-C ends it in good order.

    A replay gives what the backtest of the spec gives, to the last bit (see
    trimtab parity).

    Exit codes: 2 a mistake, 3 not enough data, 4 halted: by a limit, the kill
    switch, a venue that differs, or a journal that cannot be written.

    [bold]Examples[/bold]
      trimtab paper book.yaml --days 30
      trimtab paper book.yaml --feed binance --metrics-port 9108
      trimtab paper book.yaml --feed synthetic --drill --seed 7
    """
    if engine.on_stop not in ("keep", "cancel"):
        _refuse(f"--on-stop {engine.on_stop}: expected keep or cancel")
    chosen = _spec_of(read(spec, settings), capital, strategy)
    folder = out or ACCOUNTS / _folder_name(chosen, spec)
    if engine.deadline > 0.0 and CHILD not in os.environ:
        raise typer.Exit(_supervised(folder, engine.deadline))
    with console.progress(shown=not as_json) as progress:
        from trimtab.app.paper import trade

        found = _source_of(chosen, source, data, seed, progress)
        outcome = trade(found, folder, _options(engine, found, seed, source.days, progress))
        bundle = _bundle(folder, found, progress)
    _print(outcome, bundle, as_json=as_json)
    if outcome.halted:
        raise typer.Exit(4)


def _spec_of(spec: Spec, capital: float | None, strategy: str) -> Spec:
    import msgspec

    from trimtab.bounds import model_names

    if capital is not None:
        spec = msgspec.structs.replace(spec, capital=capital)
    if strategy == "all":
        return spec
    names = model_names(spec.models)
    mine = tuple(m for m, n in zip(spec.models, names, strict=True) if strategy in (n, m.strategy))
    if not mine:
        _refuse(f"--strategy {strategy}: the spec has no such model; it has {', '.join(names)}")
    return msgspec.structs.replace(spec, models=mine)


def _source_of(spec: Spec, choice: FeedChoice, data: Path | None, seed: int, progress: Any) -> Source:
    import msgspec

    from trimtab.app.paper import ccxt_source, replayed
    from trimtab.app.wire import panel_of

    root = str(data) if data else None
    if choice.feed == "replay":
        progress(f"loading {', '.join(spec.universe)} at {spec.timeframe}", 0, 0)
        panel = panel_of(spec, root)
        if choice.days is not None:
            spec = _last_days(spec, int(panel.ts[-1]), choice.days)
            panel = panel_of(spec, root)
        return replayed(spec, panel, choice.speed)
    if choice.feed == "synthetic":
        from trimtab.research.synthetic import synthetic_panel
        from trimtab.types import DAY, TIMEFRAMES

        rows = int((choice.days or 30.0) * DAY / TIMEFRAMES[spec.timeframe])
        panel = synthetic_panel(seed, max(rows, 1), len(spec.universe), spec.timeframe)
        spec = msgspec.structs.replace(spec, universe=panel.symbols, base_currency=panel.instruments[0].quote)
        return replayed(spec, panel, choice.speed)
    found = tuple(_instrument(symbol, choice.feed, root) for symbol in spec.universe)
    return ccxt_source(msgspec.structs.replace(spec, start="", end=""), choice.feed, found, choice.history)


def _instrument(symbol: str, venue: str, root: str | None) -> Instrument:
    """What the store knows of a symbol, else the usual rules of a coin at its venue."""
    from trimtab.data.catalogue import default_instrument
    from trimtab.data.store import find_instrument, open_store
    from trimtab.types import TrimtabError

    try:
        return find_instrument(open_store(root), symbol)
    except TrimtabError:
        return default_instrument(symbol, venue=venue)


def _last_days(spec: Spec, last: int, days: float) -> Spec:
    import msgspec

    from trimtab.types import DAY
    from trimtab.words import utc

    return msgspec.structs.replace(spec, start=utc(last - int(days * DAY)), end=utc(last))


def _options(engine: EngineChoice, found: Source, seed: int, days: float | None, progress: Any) -> Options:
    from trimtab.app.paper import Options
    from trimtab.engine.shell import Habits
    from trimtab.venues.link import DRILL

    habits = Habits(adopt=engine.adopt, on_stop=engine.on_stop, reconcile_every=1 if engine.drill else 0)
    return Options(
        habits=habits, faults=DRILL if engine.drill else None, seed=seed, metrics=engine.metrics_port,
        progress=progress, total=found.total, lasting=days * 86_400.0 if found.live and days else 0.0,
    )  # fmt: skip


def _folder_name(spec: Spec, path: Path) -> str:
    words = "".join(c if c.isalnum() else "-" for c in (spec.name or path.stem).lower())
    return "-".join(filter(None, words.split("-"))) or "account"


def _supervised(folder: Path, deadline: float) -> int:
    """Run this very command in a process of its own, with a watchdog beside it."""
    from trimtab.engine.watchdog import supervise

    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "from trimtab.app.cli import main; main()", *sys.argv[1:]]
    return supervise(command, folder, deadline, console.say, {**os.environ, CHILD: "1"})


def _bundle(folder: Path, found: Source, progress: Any) -> str | None:
    """The bundle of the Run that the journal tells; None: nothing was traded long enough to be one."""
    del found
    del progress
    del folder
    return None


def _print(outcome: Outcome, bundle: str | None, *, as_json: bool) -> None:
    import msgspec

    from trimtab.words import utc

    if as_json:
        console.write_json({**msgspec.to_builtins(outcome), "bundle": bundle})
        return
    lines = [f"{outcome.account}: {outcome.rows:,} rows decided, the last closed {utc(outcome.last)}"]
    lines.append(f"equity {outcome.equity:,.2f}")
    if any(outcome.faults_struck.values()):
        lines.append("faults: " + ", ".join(f"{name} {n}" for name, n in outcome.faults_struck.items() if n))
    lines += [f"note: {text}" for text in outcome.alerts[-10:]]
    if outcome.halted:
        lines.append(f"halted: {outcome.halted}")
    lines.append(f"account: {outcome.folder} (trimtab status {outcome.folder})")
    if bundle:
        lines.append(f"bundle: {bundle}")
    for line in lines:
        typer.echo(line)


# --- an account that trades ------------------------------------------------------------------------------------------


def status(
    account: Folder = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show every change; Ctrl-C ends it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """How an account stands: positions, orders, equity, limits, health, and its last decision.

    Read from the status that its engine writes; the engine may be another
    process, or have ended.

    Exit codes: 0 well, 1 something is not, 2 there is no such account, 4 halted.

    [bold]Examples[/bold]
      trimtab status
      trimtab status paper/momentum --watch
      trimtab status paper/momentum --json | jq .equity
    """
    folder = _account(account)
    if watch:
        _watch(folder)
        return
    found = _status(folder)
    if as_json:
        from trimtab.app.watch import to_json

        console.write_json(to_json(found))
    elif sys.stdout.isatty():
        from trimtab.app.watch import screen

        console.stdout().print(screen(found))
    else:
        from trimtab.app.watch import status_lines

        for line in status_lines(found):
            typer.echo(line)
    if found.state == "HALTED":
        raise typer.Exit(4)
    if not found.is_well:
        raise typer.Exit(1)


def kill(
    account: Folder = None,
    flatten: Annotated[bool, typer.Option("--flatten", help="Close all positions too, at market.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the journal.")] = "by hand",
) -> None:
    """Turn the kill switch of an account on: nothing new is ordered, and what is open is withdrawn.

    It acts within one decision, whether or not its engine runs now, and stands
    until trimtab resume. Protective orders stay. It is a file, KILL, in the
    account's folder: any shell can make one.

    [bold]Examples[/bold]
      trimtab kill
      trimtab kill paper/momentum --flatten --reason "exchange hacked"
    """
    from trimtab.engine.control import kill as ordered

    folder = _account(account)
    ordered(folder, reason, flatten)
    typer.echo(f"{folder}: the kill switch is on{' and positions are closed' if flatten else ''}; {_heard(folder)}")


def resume(
    account: Folder = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the journal.")] = "by hand",
) -> None:
    """Trade again after a kill or a halt: losses are measured from here on.

    [bold]Examples[/bold]
      trimtab resume paper/momentum --reason "checked by hand"
    """
    from trimtab.engine.control import resume as ordered

    folder = _account(account)
    ordered(folder, reason)
    typer.echo(f"{folder}: resumes; {_heard(folder)}")


def _heard(folder: Path) -> str:
    """Whether an engine is there to hear it."""
    from trimtab.app.live import JOURNAL
    from trimtab.engine.lease import is_held

    path = folder / JOURNAL
    if path.exists() and is_held(path):
        return "its engine acts on it at once"
    return "no engine runs: it acts when one is started"


def _account(folder: Path | None) -> Path:
    """An account's folder; a mistake where there is none, or more than one to choose from."""
    from trimtab.app.live import JOURNAL

    if folder is not None:
        if not folder.is_dir():
            _refuse(f"{folder}: there is no such account; trimtab paper SPEC makes one")
        return folder
    found = sorted(path.parent for path in ACCOUNTS.glob(f"*/{JOURNAL}"))
    if len(found) != 1:
        what = f"which one? {', '.join(map(str, found))}" if found else "there is none under ./paper"
        _refuse(f"no account was named: {what}")
    return found[0]


def _status(folder: Path) -> Status:
    import msgspec

    from trimtab.app.paper import STATUS
    from trimtab.engine.status import Status

    path = folder / STATUS
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except FileNotFoundError:
        _refuse(f"{folder}: no engine has written a status here yet")
    except msgspec.MsgspecError as error:
        _refuse(f"{path}: cannot be read ({error}): its engine writes it anew when it runs")


def _watch(folder: Path) -> None:
    from rich.live import Live

    from trimtab.app.watch import screen

    with Live(screen(_status(folder)), console=console.stdout(), refresh_per_second=2, screen=True) as live:
        while True:
            time.sleep(0.5)
            live.update(screen(_status(folder)))


def _refuse(problem: str) -> NoReturn:
    from trimtab.types import TrimtabError

    raise TrimtabError(problem)
