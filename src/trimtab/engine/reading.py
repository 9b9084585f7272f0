"""A journal as it is read: its events in order, its snapshots, and whether it is whole.

Readers look on while one process writes: each sees the journal as it was when it began.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from trimtab.chained import DAMAGE, link
from trimtab.engine.events import Event, RowClosed, RowDecided, decode, key_of, kind_of
from trimtab.engine.file import OBJECTS, JournalFailed, birth, connect, failing, first_link

#: Faults of the file itself are listed up to this many.
_MOST: Final = 20


class Fault(NamedTuple):
    """What is wrong, and from which row on nothing can be trusted; None: not of one row."""

    seq: int | None
    what: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found.

    events    rows whose chain is whole, from the first
    head      the hash of the last of them, in hex: whoever keeps a copy elsewhere can tell later that nothing before it
              was changed or cut off
    faults    none: the journal is whole
    warnings  what costs nothing but time: damaged snapshots
    """

    path: str
    account: str
    events: int
    first: int | None  # instant of the first event
    last: int | None
    head: str
    faults: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.faults

    @property
    def broken(self) -> int | None:
        """The first row that does not hold."""
        return min((fault.seq for fault in self.faults if fault.seq is not None), default=None)


class Snapshot(NamedTuple):
    """The state after the event `seq`, as whoever took it wrote it."""

    seq: int
    state: bytes


class _Broken(Exception):
    """A row that does not follow from those before it."""

    def __init__(self, seq: int, what: str) -> None:
        super().__init__(what)
        self.fault = Fault(seq, what)


# --- events ----------------------------------------------------------------------------------------------------------


def read(path: Path, from_seq: int = 1) -> Generator[Event]:
    """The events from `from_seq` on, in order, one at a time; each is held against the chain before it is given.

    JournalFailed names the first row that does not hold, after all that do.
    """
    db = connect(path, write=False)
    try:
        with failing(path, "reading"):
            db.execute("BEGIN")
            yield from _chained(db, _link_before(path, db, from_seq), max(from_seq, 1))
    except _Broken as broken:
        raise JournalFailed(f"{path}: row {broken.fault.seq} is broken: {broken.fault.what}; {_REMEDY}") from None
    finally:
        db.close()


_REMEDY: Final = (
    "keep a copy of the file and of those beside it, and see trimtab journal verify; the venue's own records say what "
    "came after"
)


def _link_before(path: Path, db: sqlite3.Connection, from_seq: int) -> bytes:
    if from_seq > 1:
        row = db.execute("SELECT hash FROM events WHERE seq = ?", (from_seq - 1,)).fetchone()
        if row is not None:
            return row[0]
    return first_link(*birth(path, db))


def _chained(db: sqlite3.Connection, prev: bytes, seq: int) -> Iterator[Event]:
    """Events that follow from prev, one after the other; _Broken at the first that does not."""
    try:
        rows = db.execute("SELECT seq, ts, kind, key, body, prev, hash FROM events WHERE seq >= ? ORDER BY seq", (seq,))
        for row in rows:
            event = _held(row, seq, prev)
            prev, seq = event.hash, seq + 1
            yield event
    except DAMAGE as error:
        raise _Broken(seq, f"it cannot be read ({error})") from None


def _held(row: tuple[int, int, str, str, str, bytes, bytes], expected: int, prev: bytes) -> Event:
    seq, ts, kind, key, body, before, own = row
    if seq != expected:
        raise _Broken(expected, f"it is missing, {seq} follows" if seq > expected else f"{seq} stands in its place")
    if before != prev:
        raise _Broken(seq, "it does not follow from the row before")
    if own != link(prev, seq, ts, kind, key, body):
        raise _Broken(seq, "it is not what was booked: its hash is another")
    try:
        found = decode(body)
    except msgspec.MsgspecError as error:
        raise _Broken(seq, f"its body is not of this version: {error}") from None
    if kind != kind_of(found) or key != key_of(found):
        raise _Broken(seq, "kind or key are not those of its body")
    return Event(seq, ts, key, found, own)


def head_of(db: sqlite3.Connection, path: Path) -> tuple[int, bytes]:
    """Sequence number and hash of the last event; 0 and the first link where there is none."""
    row = db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return row if row is not None else (0, first_link(*birth(path, db)))


def last_seq(path: Path) -> int:
    """Sequence number of the last event; 0 where there is none."""
    with failing(path, "reading"), contextlib.closing(connect(path, write=False)) as db:
        return head_of(db, path)[0]


def undecided(path: Path) -> int | None:
    """Sequence number of the bars of a row whose decision did not come to be booked; None: there is none."""
    query = (
        "SELECT min(seq) FROM events WHERE kind = ? AND seq > (SELECT ifnull(max(seq), 0) FROM events WHERE kind = ?)"
    )
    kinds = [str(body.__struct_config__.tag) for body in (RowClosed, RowDecided)]
    with failing(path, "reading"), contextlib.closing(connect(path, write=False)) as db:
        return db.execute(query, kinds).fetchone()[0]


# --- snapshots -------------------------------------------------------------------------------------------------------


def digest_of(hash_at: bytes, state: bytes) -> bytes:
    """Binds a snapshot to the history it was taken of."""
    return hashlib.sha256(hash_at + state).digest()


def latest(path: Path) -> Snapshot | None:
    """The newest snapshot that is whole and of this very history; None: fold from the first event."""
    with failing(path, "reading snapshots"), contextlib.closing(connect(path, write=False)) as db:
        seqs = [seq for (seq,) in db.execute("SELECT seq FROM snapshots ORDER BY seq DESC")]
        for seq in seqs:
            with contextlib.suppress(sqlite3.DatabaseError):  # a damaged page: the one before will do
                state = _whole_snapshot(db, seq)
                if state is not None:
                    return Snapshot(seq, state)
    return None


def _whole_snapshot(db: sqlite3.Connection, seq: int) -> bytes | None:
    row = db.execute(
        "SELECT bytes, snapshots.hash, events.hash FROM snapshots JOIN events USING (seq) WHERE seq = ?", (seq,)
    ).fetchone()
    return row[0] if row is not None and row[1] == digest_of(row[2], row[0]) else None


# --- verification ----------------------------------------------------------------------------------------------------


def verify(path: Path, head: str = "") -> Report:
    """Whether the journal is whole: chain, sequence, bodies, keys, triggers, and SQLite's own structure.

    head  a hash in hex that was noted before (its first digits will do): is it still part of the chain? Only this
          tells that a journal was cut off at its end

    JournalFailed where the file cannot be opened as a journal at all.
    """
    db = connect(path, write=False)
    try:
        with failing(path, "verifying"):
            db.execute("BEGIN")
        return _report(path, db, head.lower())
    finally:
        db.close()


def _report(path: Path, db: sqlite3.Connection, head: str) -> Report:
    faults: list[Fault] = []
    count, first, last, own, met = 0, None, None, b"", not head
    account = ""
    try:
        account, born = birth(path, db)
        own = first_link(account, born)
        for event in _chained(db, own, 1):
            count, last, own = event.seq, event.ts, event.hash
            first = event.ts if first is None else first
            met = met or own.hex().startswith(head)
    except _Broken as broken:
        faults.append(broken.fault)
    except (JournalFailed, *DAMAGE) as error:
        faults.append(Fault(None, f"the account cannot be read: {error}"))
    faults += [fault for check in (_repeated, _altered, _unsound) for fault in _asked(check, db)]
    if not met:
        faults.append(Fault(None, f"no row has the hash {head}: the end was cut off, or this is another journal"))
    return Report(
        path=str(path), account=account, events=count, first=first, last=last, head=own.hex(), faults=tuple(faults),
        warnings=tuple(_worn(db)),
    )  # fmt: skip


def _asked(check: Callable[[sqlite3.Connection], Iterator[Fault]], db: sqlite3.Connection) -> list[Fault]:
    try:
        return list(check(db))
    except DAMAGE as error:
        return [Fault(None, f"the file cannot be read: {error}")]


def _repeated(db: sqlite3.Connection) -> Iterator[Fault]:
    query = (
        "SELECT max(seq), kind, key FROM events NOT INDEXED WHERE key <> '' GROUP BY kind, key HAVING count(*) > 1 "
        "ORDER BY 1 LIMIT ?"
    )
    for seq, kind, key in db.execute(query, (_MOST,)):
        yield Fault(seq, f"{kind} {key} is booked a second time")


def _altered(db: sqlite3.Connection) -> Iterator[Fault]:
    """Tables, indexes and triggers that are not those of a journal."""
    found = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
    for name, statement in OBJECTS.items():
        if found.pop(name, None) != statement:
            yield Fault(None, f"{name} is missing or was changed")
    for name in found:
        yield Fault(None, f"{name} does not belong there")
    (mode,) = db.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        yield Fault(None, f"its mode is {mode}, expected wal")


def _unsound(db: sqlite3.Connection) -> Iterator[Fault]:
    for (said,) in db.execute(f"PRAGMA integrity_check({_MOST})"):
        if said != "ok":
            yield Fault(None, f"SQLite: {' '.join(str(said).split())}")


def _worn(db: sqlite3.Connection) -> Iterator[str]:
    try:
        for (seq,) in db.execute("SELECT seq FROM snapshots ORDER BY seq").fetchall():
            try:
                good = _whole_snapshot(db, seq) is not None
            except DAMAGE:
                good = False
            if not good:
                yield f"the snapshot of row {seq} is damaged and will not be used"
    except DAMAGE as error:
        yield f"snapshots cannot be read and will not be used ({error})"
