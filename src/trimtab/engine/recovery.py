"""An account out of its journal: state = fold(handle, events), from the first one or from a snapshot."""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec.structs import astuple

from trimtab.engine import events as ev
from trimtab.engine.booking import Names, events_of, intent_of, weights_of
from trimtab.engine.core import Close, EngineCommand, Record, Sent, State, Warm, handle
from trimtab.engine.file import connect, failing
from trimtab.engine.journal import latest, read
from trimtab.engine.models import QUARANTINED
from trimtab.engine.saving import pack, unpack
from trimtab.rules.book import Book
from trimtab.types import F64, TrimtabError
from trimtab.words import utc

_REMEDY: Final = "go on with the version and the strategy files that wrote it, or begin a new account"
_INTENTS: Final = frozenset({ev.OrderIntent, ev.CancelIntent, ev.AmendIntent, ev.Halted})


class Folded:
    """What a fold of a journal gives: the account, and what the book wrote down on the way, if it was kept."""

    def __init__(self, state: State, keep: bool) -> None:
        self.state = state
        self.records: list[Record] | None = [] if keep else None
        self.rows = 0
        self.seq = 0


def fold_journal(
    path: Path,
    begin: Callable[[], State],
    names: Names,
    *,
    keep: bool = False,
    whole: bool = False,
    until: int | None = None,
    told: Callable[[ev.Event, State], None] | None = None,
) -> Folded:
    """The state of an account: its journal, folded from the first event or from its newest snapshot.

    A snapshot only spares time: one that does not fit is as if there were none.

    begin  makes the account before its first row
    keep   keep the records that the core gives; then, or where `whole`, no snapshot is used
    until  stop before the event of this number
    told   is called after each event with the state as it is then, which it must not change

    TrimtabError where the code decides otherwise than the journal says: another version of it, or of a strategy.
    """
    snapshot = None if keep or whole else latest(path)
    restored = None if snapshot is None else _restored(begin, snapshot.state)
    folded = Folded(begin() if restored is None else restored, keep)
    if snapshot is not None and restored is not None:
        folded.seq = snapshot.seq
    folded.state.is_recorded = keep
    with _uncollected():
        _fold(folded, read(path, folded.seq + 1), names, until, told)
    folded.state.is_recorded = True
    return folded


@contextlib.contextmanager
def _uncollected() -> Generator[None]:
    """Without the collector of cycles: a fold makes none, and to look for them takes a twentieth of its time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _fold(
    folded: Folded,
    events: Iterable[ev.Event],
    names: Names,
    until: int | None,
    told: Callable[[ev.Event, State], None] | None,
) -> None:
    expected: deque[ev.Body] = deque()
    for event in events:
        if event.seq == until:
            break
        folded.seq = event.seq
        if type(event.body) in _INTENTS:
            _check(event, expected)
        for handled in events_of(event, names):
            folded.state, commands = handle(folded.state, handled)
            if isinstance(handled, (Close, Warm)):
                _check_models(event, folded.state, handled, names)
            if commands:
                expected.extend(_intents(commands, names))
            if folded.records is not None:
                folded.records.extend(c for c in commands if isinstance(c, Record))
        folded.rows += isinstance(event.body, ev.RowDecided)
        if told is not None:
            told(event, folded.state)


def _restored(begin: Callable[[], State], saved: bytes) -> State | None:
    """The account of a snapshot; None where it is not one of this account, this version and these strategies."""
    state = begin()
    try:
        restore(state, saved)
    except Exception:  # whatever bytes of another time may lead to: what they half filled is thrown away
        return None
    return state


def _intents(commands: list[EngineCommand], names: Names) -> list[ev.Body]:
    return [body for command in commands if (body := intent_of(command, names)) is not None]


def _check(event: ev.Event, expected: deque[ev.Body]) -> None:
    """An intent must be what the core came to from the events before it."""
    if not expected:
        if isinstance(event.body, ev.Halted):
            return  # by the rim: a disk, a lease
        found = "nothing"
    else:
        body = expected.popleft()
        if astuple(body) == astuple(event.body) and type(body) is type(event.body):
            return
        found = ev.encode(body).decode()
    raise TrimtabError(
        f"event {event.seq} of the journal is {ev.encode(event.body).decode()}, but from the events before it this "
        f"version comes to {found}: {_REMEDY}"
    )


def _check_models(event: ev.Event, state: State, row: Close | Warm, names: Names) -> None:
    """Models must do at a row what they did when it was traded."""
    for m, why in state.planner.found().failed.items():
        if m not in row.found.failed:
            raise TrimtabError(
                f"event {event.seq} of the journal is the row closed {utc(row.ts)}, at which model {names.models[m]} "
                f"did not fail; now it does: {why.removesuffix(QUARANTINED)}. This code decides otherwise: {_REMEDY}"
            )
    if isinstance(event.body, ev.RowDecided):
        _check_weights(event, event.body, weights_of(state, names), names)


def _check_weights(event: ev.Event, row: ev.RowDecided, comes_to: F64, names: Names) -> None:
    """To the last bit; NaN, nothing new, is NaN."""
    if row.weights.shape != comes_to.shape:
        raise TrimtabError(
            f"event {event.seq} of the journal is the row closed {utc(row.row)} with weights of shape "
            f"{row.weights.shape}, models and instruments: this account has {comes_to.shape}"
        )
    same = np.isnan(row.weights) & np.isnan(comes_to)
    same |= row.weights.view(np.int64) == comes_to.view(np.int64)
    if same.all():
        return
    m, i = np.argwhere(~same)[0]
    said, now = (_weight(float(weights[m, i])) for weights in (row.weights, comes_to))
    raise TrimtabError(
        f"event {event.seq} of the journal is the row closed {utc(row.row)}, at which model {names.models[m]} gave "
        f"{names.symbols[i]} {said}; from the events before it this version comes to {now}: {_REMEDY}"
    )


def _weight(value: float) -> str:
    return "no new weight" if np.isnan(value) else f"the weight {value!r}"


# --- snapshots -------------------------------------------------------------------------------------------------------

_FORMAT: Final = 5


def save(state: State) -> bytes:
    """Everything that a state holds and a set-up does not say."""
    tree: dict[str, Any] = {
        "format": _FORMAT,
        "book": {name: _plain(column) for name, column in zip(Book._fields, state.book, strict=True)},
        "tape": state.tape.save(),
        "planner": state.planner.save(),
        "bars": state.bars,
        "standing": state.standing,
        "sent": _told(state.sent),
        "gone": _told(state.gone),
        "seen": list(state.seen),
        "splits": [[i, opened, ratio] for i, (opened, ratio) in state.splits.items()],
        "numbered": state.numbered,
        "is_open": state.is_open,
        "is_up": state.is_up,
    }
    return pack(tree)


def restore(state: State, saved: bytes) -> None:
    """Into a state before its first row, what `save` gave. Raises where it is of another account or version: then the
    state is half filled, and must not be used."""
    tree = unpack(saved)
    if tree.get("format") != _FORMAT:
        raise TrimtabError("the snapshot is of another version: fold the journal from its first event")
    for name, column in zip(Book._fields, state.book, strict=True):
        found = np.frombuffer(tree["book"][name], column.dtype)
        if found.size != column.size:
            raise TrimtabError(f"the snapshot's book has another {name}: it is of another account")
        column[...] = found.reshape(column.shape)
    state.tape.load(tree["tape"])
    state.planner.load(tree["planner"])
    state.bars, state.standing = tree["bars"], tree["standing"]
    if state.bars.shape[0] != len(state.setup.terms) or (
        state.standing is not None and state.standing.shape != state.book.weight.shape
    ):
        raise TrimtabError("the snapshot's rows are of other instruments or models: it is of another account")
    dtype = state.book.orders.dtype
    state.sent, state.gone = (
        {
            cid: Sent(order_id, i, slot, np.frombuffer(record, dtype)[0].copy(), *rest)
            for cid, (order_id, i, slot, record, *rest) in tree[name].items()
        }
        for name in ("sent", "gone")
    )
    state.seen = dict.fromkeys(tree["seen"])
    state.splits = {i: (opened, ratio) for i, opened, ratio in tree["splits"]}
    for name in ("numbered", "is_open", "is_up"):
        setattr(state, name, tree[name])
    if save(state) != saved:  # a size that numpy made fit, a member that is not known any more
        raise TrimtabError("the snapshot holds what this version has no place for: it is of another version")


def _told(orders: dict[str, Sent]) -> dict[str, Any]:
    return {
        cid: [s.order_id, s.instrument, s.slot, _plain(np.array([s.record])), s.is_leaving, s.cancels, s.row]
        for cid, s in orders.items()
    }


def _plain(column: Any) -> bytes:
    return np.ascontiguousarray(column).tobytes()


def last_row(path: Path) -> int:
    """The close of the last row that a journal holds; 0: none yet."""
    query = "SELECT key FROM events WHERE kind IN (?, ?, ?) ORDER BY seq DESC LIMIT 1"
    kinds = [str(body.__struct_config__.tag) for body in (ev.RowClosed, ev.RowWarmed, ev.RowDecided)]
    with failing(path, "reading"), contextlib.closing(connect(path, write=False)) as db:
        found = db.execute(query, kinds).fetchone()
    return int(found[0]) if found is not None else 0


def first_row(path: Path) -> ev.RowDecided | ev.RowClosed | ev.RowWarmed | None:
    """The first row that a journal holds with its bars."""
    kinds = (ev.RowDecided, ev.RowClosed, ev.RowWarmed)
    rows = (e.body for e in read(path) if isinstance(e.body, kinds) and len(e.body.bars))
    return next(itertools.islice(rows, 1), None)
