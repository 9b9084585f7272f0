"""The commands that trade: paper, and status, kill and resume of an account that trades."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from trimtab.app import console
from trimtab.app.cli_config import read
from trimtab.app.cli_options import DataOption, JsonOption, SetOption, SpecFile, grouped
from trimtab.words import near

if TYPE_CHECKING:
    from trimtab.app.paper import Options, Outcome, Source
    from trimtab.engine.status import Status
    from trimtab.types import Instrument, Spec

#: Set in an engine that a watchdog has started.
CHILD: Final = "TRIMTAB_ENGINE_CHILD"

#: The program of that engine. An interrupt while it imports ends it without a word; its watchdog says so.
ENGINE: Final = (
    "import signal as s; s.signal(s.SIGINT, s.SIG_DFL); from trimtab.app.cli import main; "
    "s.signal(s.SIGINT, s.default_int_handler); main()"
)

#: Where the bars of a synthetic feed begin, ns UTC: 2020-01-01.
SYNTHETIC_BEGINS: Final = 1_577_836_800_000_000_000

#: What is said of orders when a run ends.
TOLD: Final = ("FILLED", "CANCELED", "REJECTED", "EXPIRED", "UNKNOWN")

#: Seconds for which a kill or a resumption waits for the engine to have carried it out.
HEARD: Final = 5.0

#: Where accounts lie if nothing else is said.
ACCOUNTS: Final = Path("paper")

Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="ACCOUNT", help="Its name under ./paper, or its folder; default: the only one.", show_default=False
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
        typer.Option("--history", min=0, help="Rows before now that a live feed shows to the models first."),
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
    no_report: Annotated[bool, typer.Option("--no-report", help="Write the bundle without report.html.")] = False


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
    _check_options(source, engine)
    chosen = _spec_of(read(spec, settings), capital, strategy)
    folder = out or ACCOUNTS / _folder_name(chosen.name or spec.stem)
    if engine.deadline > 0.0 and CHILD not in os.environ:
        raise typer.Exit(_supervised(chosen, folder, engine.deadline))
    with console.progress(shown=not as_json) as progress:
        from trimtab.app.paper import bundle_of, trade

        found = _source_of(chosen, source, data, seed, folder, progress)
        outcome = trade(found, folder, _options(engine, found, seed, source.days, progress))
        progress("writing the bundle", 0, 0)
        try:
            bundle = bundle_of(found, folder, report=not engine.no_report)
        except KeyboardInterrupt:  # the account is in order, whatever becomes of its bundle
            bundle = None
            console.say("No bundle was written: interrupted. The same command writes it")
    _print(outcome, bundle, as_json=as_json)
    if outcome.halted:
        raise typer.Exit(4)


def _check_options(source: FeedChoice, engine: EngineChoice) -> None:
    """What no type of an option can say."""
    if engine.on_stop not in ("keep", "cancel"):
        _refuse(f"--on-stop {engine.on_stop}: expected keep or cancel")
    if source.days is not None and source.days <= 0.0:
        _refuse(f"--days {source.days:g}: expected more than 0, such as 30 or 0.5")
    is_live = source.feed not in ("replay", "synthetic")
    if not source.feed.strip():
        _refuse("--feed: expected replay, synthetic, or a venue such as binance")
    if is_live and source.speed:
        _refuse(f"--speed {source.speed:g}: {source.feed} is live; only a replay has a speed")
    if source.history and not is_live:
        _refuse(f"--history {source.history}: is of a live feed; how much of a replay is traded is said by --days")


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


def _source_of(spec: Spec, choice: FeedChoice, data: Path | None, seed: int, folder: Path, progress: Any) -> Source:
    import msgspec

    from trimtab.app.paper import ccxt_source, kept_spec, replayed
    from trimtab.app.wire import panel_of

    root = str(data) if data else None
    if choice.feed == "replay":
        progress(f"loading {', '.join(spec.universe)} at {spec.timeframe}", 0, 0)
        kept = kept_spec(folder)
        panel = panel_of(spec, root)
        if choice.days is not None:
            spec = _last_days(spec, int(panel.ts[-1]), choice.days)
        if kept is not None and kept.start != spec.start and (choice.days is not None or not spec.start):
            spec = msgspec.structs.replace(spec, start=kept.start)  # it goes on, from where it began
        return replayed(spec, panel_of(spec, root), choice.speed)
    found = tuple(_instrument(symbol, choice.feed, root) for symbol in spec.universe)
    if choice.feed == "synthetic":
        return _synthetic(spec, found, choice, seed)
    _check_members(spec, found, choice.feed)
    return ccxt_source(msgspec.structs.replace(spec, start="", end=""), choice.feed, found, choice.history)


def _check_members(spec: Spec, instruments: tuple[Instrument, ...], feed: str) -> None:
    """Rows of a live feed have no field that says who may be held: refuse what would ask for it."""
    from trimtab.data.members import day_of

    instead = "leave it out, or trade the store's history with --feed replay"
    if spec.members:
        _refuse(f"members: {spec.members}: --feed {feed} cannot tell who belongs to the universe: {instead}")
    for i in instruments:
        if i.delisted:
            _refuse(f"{i.symbol}: delisted {i.delisted}: --feed {feed} cannot close it on that day: {instead}")
        if i.listed and day_of(i.listed, f"{i.symbol}: listed") > time.time_ns():
            _refuse(f"{i.symbol}: listed {i.listed}: --feed {feed} cannot wait for that day: {instead}")


def _synthetic(spec: Spec, found: tuple[Instrument, ...], choice: FeedChoice, seed: int) -> Source:
    """Bars made up for the instruments of a spec; the same seed makes the same ones."""
    import msgspec

    from trimtab.app.paper import replayed
    from trimtab.data.members import with_members
    from trimtab.research.synthetic import synthetic_frames
    from trimtab.types import DAY, TIMEFRAMES, Panel
    from trimtab.words import utc

    length = TIMEFRAMES[spec.timeframe]
    last = SYNTHETIC_BEGINS + max(length, int((choice.days or 30.0) * DAY) // length * length)
    frames = synthetic_frames(seed, found, spec.timeframe, SYNTHETIC_BEGINS, last)
    panel = with_members(Panel.from_frames(frames, spec.timeframe, found), spec.members)
    return replayed(msgspec.structs.replace(spec, start=utc(SYNTHETIC_BEGINS), end=utc(last)), panel, choice.speed)


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

    habits = Habits(
        adopt=engine.adopt, on_stop=engine.on_stop, reconcile_every=1 if engine.drill or found.live else 100
    )
    return Options(
        habits=habits, faults=DRILL if engine.drill else None, seed=seed, metrics=engine.metrics_port,
        lasting=days * 86_400.0 if found.live and days else 0.0, progress=progress,
        tell=console.say if found.live or not engine.drill else None, parent=int(os.environ.get(CHILD, "0")),
    )  # fmt: skip


def _folder_name(name: str) -> str:
    """How the account of a spec of that name is called."""
    words = "".join(c if c.isalnum() else "-" for c in name.lower())
    return "-".join(filter(None, words.split("-"))) or "account"


def _supervised(spec: Spec, folder: Path, deadline: float) -> int:
    """Run this very command in a process of its own, with a watchdog beside it."""
    from trimtab.bounds import model_names
    from trimtab.engine.watchdog import supervise

    command = [sys.executable, "-c", ENGINE, *sys.argv[1:]]
    environment = {**os.environ, CHILD: str(os.getpid())}
    return supervise(command, folder, model_names(spec.models), deadline, console.say, environment)


def _print(outcome: Outcome, bundle: Path | None, *, as_json: bool) -> None:
    import msgspec

    from trimtab.words import utc

    if as_json:
        document = msgspec.to_builtins(outcome)
        document["last_time"] = utc(outcome.last) if outcome.last else None
        console.write_json({**document, "bundle": None if bundle is None else str(bundle)})
        return
    for line in _lines(outcome, bundle):
        typer.echo(line)


def _lines(outcome: Outcome, bundle: Path | None) -> Iterator[str]:
    from trimtab.words import utc

    last = f", the last closed {utc(outcome.last)}" if outcome.last else ""
    rows = f"{outcome.rows:,} rows decided" if outcome.rows else "no row decided: its feed has none that is new"
    yield f"{outcome.account}: {rows}{last}"
    orders = ", ".join(f"{status.lower()} {n:,}" for status, n in outcome.orders.items() if n and status in TOLD)
    yield f"Equity {outcome.equity:,.2f} {outcome.currency}, {outcome.positions} positions" + (
        f"; orders: {orders}" if orders else ""
    )
    if any(outcome.faults_struck.values()):
        yield "Faults: " + ", ".join(f"{name} {n:,}" for name, n in outcome.faults_struck.items() if n)
    for model, why in outcome.quarantined.items():
        yield f"Quarantined: {model}: {why}"
    notes = Counter(text for text in outcome.alerts if text not in outcome.quarantined.values())
    for text in list(notes)[-10:]:
        yield f"Note: {text}" + (f" ({notes[text]} times)" if notes[text] > 1 else "")
    if len(notes) > 10:
        yield f"Notes before these: {len(notes) - 10}, in {outcome.folder}/logs/errors.jsonl"
    if outcome.halted:
        yield f"Halted: {outcome.halted}"
    yield f"Account: {outcome.folder}"
    if bundle is not None:
        yield f"Bundle: {bundle}"
        if (page := bundle / "report.html").is_file():
            yield f"Report: {page}"


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
      trimtab status momentum --watch
      trimtab status momentum --json | jq .equity
    """
    folder = _account(account)
    if watch and as_json:
        _refuse("--watch and --json: one of them")
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
      trimtab kill momentum --flatten --reason "exchange hacked"
    """
    from trimtab.engine.control import kill as ordered

    folder = _account(account)
    ordered(folder, reason, flatten)
    closing = ", and positions are closed at market" if flatten else ""
    _say_heard(folder, f"the kill switch is on{closing}", to_be=True)


def resume(
    account: Folder = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the journal.")] = "by hand",
) -> None:
    """Trade again after a kill or a halt: losses are measured from here on.

    [bold]Examples[/bold]
      trimtab resume momentum --reason "checked by hand"
    """
    from trimtab.engine.control import resume as ordered

    folder = _account(account)
    ordered(folder, reason)
    _say_heard(folder, "to resume", to_be=False)


def _say_heard(folder: Path, order: str, *, to_be: bool) -> None:
    """What was ordered, and whether an engine has carried it out; exit code 1: one runs, and has not.

    to_be  whether it is killed once that is done
    """
    from trimtab.app.engine_status import killed_of
    from trimtab.app.live import JOURNAL
    from trimtab.engine.control import pending
    from trimtab.engine.file import JournalFailed
    from trimtab.engine.lease import engine_of

    path, until = folder / JOURNAL, time.monotonic() + HEARD
    try:
        lives = path.exists() and engine_of(path)[1]
    except JournalFailed:
        lives = False
    if not lives:
        typer.echo(f"{folder}: ordered: {order}. No engine runs: the next one does so before it trades")
        return
    while (found := _status(folder)).killed != to_be or pending(folder, killed_of(found)):
        if time.monotonic() > until:
            console.say(
                f"{folder}: ordered: {order}. The engine has not done so within {HEARD:g} s; it will when it can"
            )
            raise typer.Exit(1)
        time.sleep(0.05)
    typer.echo(f"{folder}: done: {order}")


def _account(named: Path | None) -> Path:
    """The folder of an account: of its path, of its name or its spec's under ./paper; of nothing, where there is one
    only. A mistake where there is none, or more than one to choose from."""
    from trimtab.app.live import JOURNAL

    known = sorted(path.parent for path in ACCOUNTS.glob(f"*/{JOURNAL}"))
    if named is not None:
        folders = (named, ACCOUNTS / named, ACCOUNTS / _folder_name(named.name))
        found = next((f for f in folders if (f / JOURNAL).is_file()), named)
        if not found.is_dir():
            names = [folder.name for folder in known]
            there = f"under ./paper there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"
            _refuse(
                f"{named}: there is no such account{near(str(named), names)}; "
                + (f"{there}; elsewhere give its folder" if names else "trimtab paper SPEC makes one")
            )
        return found
    if len(known) != 1:
        what = f"which one? {', '.join(folder.name for folder in known)}" if known else "there is none under ./paper"
        _refuse(f"no account was named: {what}")
    return known[0]


def _status(folder: Path) -> Status:
    """As its engine wrote it, and how that engine is now."""
    import msgspec

    from trimtab.app.engine_status import as_found
    from trimtab.app.live import JOURNAL
    from trimtab.app.onlooker import STATUS
    from trimtab.engine.status import Status

    path = folder / STATUS
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Status)
    except FileNotFoundError:
        _refuse(f"{folder}: no engine has written a status here yet; trimtab paper SPEC --out {folder} starts one")
    except msgspec.MsgspecError as error:
        _refuse(f"{path}: cannot be read ({error}): its engine writes it anew when it runs")
    return as_found(found, folder, folder / JOURNAL, time.time_ns())


def _watch(folder: Path) -> None:
    from rich.live import Live

    from trimtab.app.watch import screen

    if not sys.stdout.isatty():
        _refuse("--watch needs a terminal; trimtab status --json gives the same to a program")
    shown = console.stdout()
    try:
        with Live(screen(_status(folder)), console=shown, refresh_per_second=2, screen=True) as live:
            while True:
                time.sleep(0.5)
                live.update(screen(_status(folder)))
    except KeyboardInterrupt:
        return


def _refuse(problem: str) -> NoReturn:
    from trimtab.types import TrimtabError

    raise TrimtabError(problem)
