"""`trimtab paper` without its command line: a spec, a feed and a folder become an engine at work."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import numpy as np

from trimtab.app.engine_status import halt_of
from trimtab.app.live import JOURNAL, Account, account_of, journalled_first
from trimtab.app.onlooker import Interest, Onlooker
from trimtab.engine import core
from trimtab.engine import events as ev
from trimtab.engine.control import MARKER, RESUME, Marker
from trimtab.engine.file import has_begun
from trimtab.engine.journal import Journal, open_journal
from trimtab.engine.ledger import Ledger
from trimtab.engine.reconcile import differences
from trimtab.engine.recovery import last_row
from trimtab.engine.shell import Habits, Shell, shell_of
from trimtab.feeds import Feed, GridRow
from trimtab.research.canonical import run_id, to_yaml
from trimtab.types import F64, SECOND, TIMEFRAMES, Instrument, NotEnoughData, Panel, Spec, TrimtabError
from trimtab.venues.link import Faults

#: Files of an account's folder.
SPEC, BUNDLE = "spec.yaml", "bundle"

#: Seconds after a request to end in which another one changes nothing: a terminal and a watchdog may both send it.
_PATIENCE: Final = 2.0


@dataclass(slots=True)
class Options:
    """What a paper run is asked for beside its spec.

    metrics   port of the metrics' endpoint, 0: none
    lasting   seconds after which it ends, 0: with its feed
    progress  told how far it is; tell: told what people should hear at once
    parent    process that watches over this one, 0: none does. Without it the engine ends
    """

    habits: Habits = field(default_factory=Habits)
    faults: Faults | None = None
    seed: int = 0
    metrics: int = 0
    lasting: float = 0.0
    progress: Callable[[str, int, int], None] | None = None
    tell: Callable[[str], None] | None = None
    parent: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a paper run ended.

    rows      that it decided, of the account's rows; last: close of the last one (ns UTC), 0: none yet
    state     a word of TRADING_STATES; halted: why nothing is sent but what reduces, empty: it is
    stopped   by a person or a signal, before its feed ended
    orders    FIX status -> times that an order was told to be in it
    differs   where the books and the venue's own ledger differ at its end, in words
    """

    account: str
    spec: str
    folder: str
    run_id: str
    rows: int
    last: int
    currency: str
    equity: float
    positions: int
    open_orders: int
    state: str
    halted: str
    stopped: bool
    restarts: int
    orders: dict[str, int]
    quarantined: dict[str, str]
    alerts: tuple[str, ...]
    faults_struck: dict[str, int]
    differs: tuple[str, ...]


# --- where bars come from --------------------------------------------------------------------------------------------


class Source(msgspec.Struct, frozen=True):
    """A feed with the instruments that it is about, and the spec as it is traded with it.

    total     rows, where that is known; live: rows come as they happen
    began     instant before the first row of a replay, ns UTC
    patience  seconds without a bar after which it is stale
    doubts    what must be known before its bars are believed, see research.notes
    """

    spec: Spec
    feed: Feed
    instruments: tuple[Instrument, ...]
    total: int = 0
    live: bool = False
    began: int = 0
    patience: float = np.inf
    doubts: tuple[str, ...] = ()


def replayed(spec: Spec, panel: Panel, speed: float) -> Source:
    """Rows of a panel, as they were."""
    from trimtab.feeds.replay import ReplayFeed
    from trimtab.research.notes import unadjusted

    length = TIMEFRAMES[spec.timeframe]
    longest = int(np.diff(panel.ts).max(initial=length)) / SECOND
    patience = 60.0 + (longest / speed if speed else 0.0)
    feed = ReplayFeed(panel, speed=speed)
    began = max(0, int(panel.ts[0]) - length)
    doubts = tuple(unadjusted(panel))
    return Source(spec, feed, panel.instruments, len(panel.ts), began=began, patience=patience, doubts=doubts)


def ccxt_source(spec: Spec, venue: str, instruments: tuple[Instrument, ...], history: int) -> Source:
    """Live public bars of a venue that ccxt knows."""
    from trimtab.feeds.ccxt import CcxtFeed, Settings

    feed = CcxtFeed(venue, instruments, spec.timeframe, settings=Settings(history=history))
    return Source(spec, feed, instruments, live=True, patience=60.0 + 2.0 * TIMEFRAMES[spec.timeframe] / SECOND)


async def _first(feed: Feed) -> tuple[int, F64]:
    events = cast("AsyncGenerator[Any, None]", feed.rows(0))
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, GridRow):
                return event.ts, event.bars
    raise NotEnoughData("the feed has no row: nothing can be traded")


# --- a run -----------------------------------------------------------------------------------------------------------


def trade(source: Source, folder: Path, options: Options) -> Outcome:
    """Trade a spec on paper until its feed ends or somebody stops it; an account that has a journal goes on with it."""
    kept = kept_spec(folder)
    _check_spec(source.spec, kept, folder)
    account = _account(source, folder)
    if options.tell is not None:
        for doubt in source.doubts:
            options.tell(doubt)
    _make(folder)
    with open_journal(account.path, account.names.account) as journal:
        if kept is None or kept != source.spec:
            temporary = folder / f".{SPEC}"
            temporary.write_text(to_yaml(source.spec), encoding="utf-8")
            os.replace(temporary, folder / SPEC)
        if journal.took_over_from is not None and options.tell is not None:
            before = journal.took_over_from
            options.tell(f"process {before.pid} ended without giving the account back: going on from its journal")
        return _trade(source, account, journal, options)


def _trade(source: Source, account: Account, journal: Journal, options: Options) -> Outcome:
    folder, names = account.folder, account.names
    _ready(account)
    state = account.state()
    interest = Interest(options.metrics, source.patience, source.total, options.progress, options.tell)
    onlooker = Onlooker(account, journal, state, interest)
    try:
        shell = _shell(source, account, journal, state, onlooker, options)
        started = ev.Started(
            run_id=run_id(source.spec), code_version=_version(), symbols=names.symbols, fields=account.fields,
            models=names.models,
        )  # fmt: skip
        entry = ev.Entry(shell.now(), started)
        journal.append([entry])
        onlooker.booked([entry])
        onlooker.begin(shell)
        if options.tell is not None and (why := halt_of(state, folder)) and not (folder / RESUME).exists():
            options.tell(f"{names.account} starts halted: {why}")
        assert shell.marker is not None  # nosec B101  # for the types
        with _pausing(shell.marker):
            _run(_traded(shell, onlooker, last_row(account.path), options))
        onlooker.ended = journal.failure or ("stopped by hand" if shell.is_stopping else "its feed ended")
        onlooker.show(shell.state)
    finally:
        onlooker.close()
    pulse = onlooker.pulse(shell.state)
    standing, link = pulse.standing, cast("Any", shell.line.venue)
    why = halt_of(shell.state, folder, shell.halted)
    return Outcome(
        account=names.account, spec=account.spec.name, folder=str(folder), run_id=run_id(source.spec), rows=shell.rows,
        last=shell.state.tape.ts if shell.state.tape.t >= 0 else 0, currency=account.spec.base_currency,
        equity=standing.equity, positions=standing.positions, open_orders=standing.open_orders, state=standing.state,
        halted=why, stopped=shell.is_stopping, restarts=pulse.restarts, orders=pulse.orders,
        quarantined=dict(onlooker.quarantined), alerts=tuple(onlooker.alerts), faults_struck=link.struck,
        differs=tuple(d.said(names) for d in differences(shell.state, link.venue.snapshot())),
    )  # fmt: skip


def _ready(account: Account) -> None:
    """Compile what a row and a kill need, on a row without a bar: while anything is traded neither may wait for it."""
    state, ts = account.before(), TIMEFRAMES[account.spec.timeframe]
    nothing = np.full((len(account.instruments), len(account.fields)), np.nan)
    events: list[core.Event] = [
        *(core.Command("quarantine", "", 0, m) for m in range(len(account.names.models))),  # no strategy is asked
        core.Bars(ts, nothing),
        core.Close(ts),
        *(core.Command(word, "", ts) for word in ("kill", "flatten", "resume")),
    ]
    account.paper(state).venue.row(ts, nothing)
    for event in events:
        state, _ = core.handle(state, event)


def _shell(
    source: Source, account: Account, journal: Journal, state: core.State, onlooker: Onlooker, options: Options
) -> Shell:
    def now() -> int:
        if source.live:
            return time.time_ns()
        return state.tape.ts if state.tape.t >= 0 else source.began

    marker = Marker(account.folder / MARKER)
    state.planner.place = marker.place  # type: ignore[attr-defined]  # a planner, of which the core knows less
    if source.live and state.book.head[0]["orders"] == 0:  # what has closed before it began only warms its models
        options.habits.warm_until = time.time_ns()
    venue = account.paper(state, options.faults, options.seed)
    ledger = Ledger(state, journal, account.names, onlooker, now)
    shell = shell_of(ledger, venue, onlooker.watched(source.feed), account.folder, options.habits)
    shell.marker = marker
    return shell


async def _traded(shell: Shell, onlooker: Onlooker, after: int, options: Options) -> None:
    loop = asyncio.get_running_loop()
    asked = [0.0]  # when it was first seen that somebody wants it to end

    def stop() -> None:
        asked[0] = time.monotonic()
        shell.stop()

    if options.lasting:
        loop.call_later(options.lasting, shell.stop)
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not under nohup
            loop.add_signal_handler(signal.SIGHUP, stop)
    aside = [asyncio.create_task(onlooker.watch_loop())]
    if options.parent:
        aside.append(asyncio.create_task(_with_parent(options.parent, shell, onlooker)))
    try:
        await shell.run(after)
    finally:
        _be_patient((asked[0] or time.monotonic()) if shell.is_stopping else -np.inf)
        for task in aside:
            task.cancel()


async def _with_parent(parent: int, shell: Shell, onlooker: Onlooker) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(1.0)
    onlooker.alerted(shell.now(), "the watchdog of this engine is gone, so it ends in good order: start it again")
    shell.stop()


def _be_patient(since: float) -> None:
    """What asked an engine to end may ask twice: from a terminal, and by its watchdog. What comes later interrupts."""

    def again(number: int, frame: object) -> None:
        del number, frame
        if time.monotonic() - since > _PATIENCE:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError, OSError):
            signal.signal(number, again)


@contextlib.contextmanager
def _pausing(marker: Marker) -> Generator[None]:
    """While numba compiles, no model is kept waiting for: the watchdog must not take the compiler for a strategy."""
    numba: Any = importlib.import_module("numba.core.event")

    depth = 0  # functions are compiled while others are

    def pause(*_: Any) -> None:
        nonlocal depth
        depth += 1
        marker.pause()

    def go_on(*_: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            marker.go_on()

    listener = type("Pausing", (numba.Listener,), {"on_start": pause, "on_end": go_on})()
    numba.register("numba:compile", listener)
    try:
        yield
    finally:
        numba.unregister("numba:compile", listener)


def _run(main: Any) -> None:
    """By uvloop where there is one."""
    try:
        factory: Any = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        factory = None
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)
    except BaseExceptionGroup as group:
        error: Any = group
        while isinstance(error, BaseExceptionGroup):
            error = cast("Any", error).exceptions[0]
        raise error from group


def _account(source: Source, folder: Path) -> Account:
    first = journalled_first(folder)
    if first is None:
        one = np.ones((len(source.instruments), len(source.feed.fields)))
        several = len({i.quote for i in source.instruments}) > 1
        first = asyncio.run(_first(source.feed)) if several else (0, one)
    ts, bars = first
    bare = msgspec.structs.replace(source.spec, start="", end="")  # an account goes on when its window has ended
    return account_of(bare, source.instruments, source.feed.fields, bars, ts, folder)


def bundle_of(source: Source, folder: Path, *, report: bool) -> Path | None:
    """Write the bundle of the Run that an account's journal tells; None: no row has been decided yet."""
    from trimtab.research.live_run import run_of_journal

    account = _account(source, folder)
    try:
        run = run_of_journal(account.path, source.spec, account.instruments, account.before, account.names)
    except NotEnoughData:
        return None
    return run.save(folder / BUNDLE, report=report)


# --- the account's folder --------------------------------------------------------------------------------------------


def kept_spec(folder: Path) -> Spec | None:
    """The spec that the account of a folder trades; None: it has not begun."""
    path = folder / SPEC
    if not has_begun(folder / JOURNAL) or not path.exists():
        return None
    from trimtab.app.config import read_spec

    return read_spec(path)


def _check_spec(spec: Spec, kept: Spec | None, folder: Path) -> None:
    """An account is of one spec from its first row to its last; only its window may move on."""
    if kept is None:
        return

    def bare(s: Spec) -> str:
        return to_yaml(msgspec.structs.replace(s, start="", end=""))

    if bare(spec) != bare(kept):
        differ = [name for name in spec.__struct_fields__ if getattr(spec, name) != getattr(kept, name)]
        what = ", ".join(name for name in differ if name not in ("start", "end"))
        raise TrimtabError(
            f"{folder}: this account trades another spec ({SPEC} in it; what differs: {what}): go on with that one, or "
            "begin another account with --out"
        )


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise TrimtabError(f"{folder}: is a file; expected a folder for the account: name another with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise TrimtabError(f"{folder}: a part of this path is a file; name another folder with --out") from None


def _version() -> str:
    from trimtab import __version__

    return __version__
