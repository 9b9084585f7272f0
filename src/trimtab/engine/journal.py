"""The journal of an account: what happened and what was intended, appended, durable and chained; state is its fold.

    with open_journal(path, "paper") as journal:
        booked = journal.append([Entry(ts, OrderIntent(…)), Entry(ts, RowDecided(…))])   # durable when this returns
    for event in read(path): …

One `append` is one transaction and one flush to the disk. What may be booked only once (a fill by its trade id, an
intent by its client order id, a row by its instant) and comes again is told, not raised, and not written.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from trimtab.chained import flush_folder, is_empty, link
from trimtab.engine import lease
from trimtab.engine.events import Body, Entry, Event, SnapshotTaken, encode, key_of, kind_of
from trimtab.engine.file import SCHEMA, JournalFailed, birth, connect, create, failing
from trimtab.engine.lease import Holder
from trimtab.engine.reading import Fault, Report, Snapshot, digest_of, head_of, latest, read, verify
from trimtab.types import SECOND, TrimtabError

__all__ = [
    "SCHEMA",
    "Body",
    "Booked",
    "Entry",
    "Event",
    "Fault",
    "Holder",
    "Journal",
    "JournalFailed",
    "Report",
    "Snapshot",
    "latest",
    "open_journal",
    "read",
    "verify",
]

#: Snapshots that are kept: the newest, and one to fall back on.
_KEPT: Final = 2
#: ns between two signs of life, and between two times that the log is laid into the file.
_BEAT: Final = SECOND


class Booked(NamedTuple):
    """Where an entry stands. Not new: it was booked before, at `seq`; differs: with another body, which stays."""

    seq: int
    new: bool
    differs: bool = False


def open_journal(path: str | Path, account: str, *, clock: Callable[[], int] = time.time_ns) -> Journal:
    """The journal of an account for its one writer; made where there is none.

    clock  ns UTC, for the lease and the instant of birth; events bring their own time

    JournalFailed: it is another account's, of a newer version or damaged at its end, or another process holds it.
    """
    place = Path(path)
    with failing(place, "opening"):
        place.parent.mkdir(parents=True, exist_ok=True)
    held = lease.lock(place)
    db: sqlite3.Connection | None = None
    try:
        db = connect(place, write=True)
        with failing(place, "opening"):
            if is_empty(db):
                create(db, account, clock())
                flush_folder(place)
            found, _ = birth(place, db)
            if found != account:
                raise JournalFailed(
                    f"{place}: the journal of the account {found!r}, not of {account!r}: give its own file"
                )
            _check_end(place, db)
            before = lease.take(place, db, clock())
    except BaseException:
        if db is not None:
            db.close()
        os.close(held)
        raise
    return Journal(place, account, db, held, clock, before)


def _check_end(path: Path, db: sqlite3.Connection) -> None:
    """The last row must hold before another is tied to it; whoever folds the journal holds all of them."""
    seq, _ = head_of(db, path)
    if seq:
        for _ in read(path, seq):
            pass


class Journal:
    """An open journal and its lease; by `open_journal`. One caller at a time, in the thread that opened it.

    After a JournalFailed it takes nothing more: open it again to know what is there.
    """

    def __init__(
        self,
        path: Path,
        account: str,
        db: sqlite3.Connection,
        held: int,
        clock: Callable[[], int],
        before: Holder | None,
    ) -> None:
        self.path = path
        self.account = account
        #: Who died with the lease before; None: it was given back.
        self.took_over_from = before
        self._db = db
        self._held = held
        self._clock = clock
        self._beaten = self._laid = clock()
        self._failure = ""

    @property
    def head(self) -> tuple[int, bytes]:
        """Sequence number and hash of the last event; 0 and the first link where there is none."""
        with failing(self.path, "reading"):
            return head_of(self._db, self.path)

    @property
    def failure(self) -> str:
        """Why it takes nothing more; empty: it does."""
        return self._failure

    def append(self, entries: Iterable[Entry]) -> list[Booked]:
        """Book all of them, in order, in one transaction: durable when this returns, else none of them is there.

        ->  for each where it stands; what was booked before is not booked again. Nothing to write is no commit.

        TrimtabError: an entry that cannot be stored (nothing is written, the journal goes on); JournalFailed: the disk.
        """
        rows = [_row(entry) for entry in entries]
        if not rows:
            return []
        with self._transaction("appending"):
            seq, prev = head_of(self._db, self.path)
            booked: list[Booked] = []
            for ts, kind, key, body in rows:
                try:
                    seq, prev = seq + 1, self._insert(seq + 1, prev, ts, kind, key, body)
                    booked.append(Booked(seq, True))
                except sqlite3.IntegrityError:  # the file's own rule: what is booked once is not booked again
                    before = self._booked(kind, key, body)
                    if before is None:
                        raise
                    booked.append(before)
            now = self._clock()
            if _due(self._beaten, now):
                self._beat(now)
        return booked

    def snapshot(self, ts: int, state: bytes) -> int:
        """Keep the state after the last event, and give that event's number. Snapshots may be lost: they spare time."""
        with self._transaction("keeping a snapshot"):
            seq, prev = head_of(self._db, self.path)
            digest = digest_of(prev, state)
            self._db.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (seq, state, digest))
            self._db.execute(
                "DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)", (_KEPT,)
            )
            self._insert(seq + 1, prev, *_row(Entry(ts, SnapshotTaken(seq=seq, digest=digest.hex()))))
        return seq

    def heartbeat(self) -> None:
        """What can wait until nothing is being decided: a sign of life in the lease, and the log laid into the file.

        For a timer; at most once a second it takes a flush to the disk, or a few where much was booked since.
        """
        now = self._clock()
        if _due(self._beaten, now):
            with self._transaction("a heartbeat"):
                self._beat(now)
        if _due(self._laid, now):
            self._lay()
            self._laid = now

    def close(self) -> None:
        """Give the lease back. Everything is durable already, so a disk that fails now costs nothing."""
        if self._held < 0:
            return
        try:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("DELETE FROM lease")
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        finally:
            os.close(self._held)
            self._held = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self, doing: str) -> Generator[None]:
        with self._working(doing):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._undo()
                raise

    def _lay(self) -> None:
        """Lay the log into the file as far as no reader needs it."""
        with self._working("laying the log into the file"):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextlib.contextmanager
    def _working(self, doing: str) -> Generator[None]:
        """While something is asked of the file: the first failure is the last thing that it is asked."""
        if self._held < 0:
            raise JournalFailed(f"{self.path}: {doing} failed: the journal is closed; open it again")
        if self._failure:
            raise JournalFailed(self._failure)
        try:
            with failing(self.path, doing):
                yield
        except JournalFailed as failed:
            self._failure = f"{failed} (after this failure the journal takes nothing more until it is opened again)"
            raise

    def _undo(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # what failed first is what is told
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _booked(self, kind: str, key: str, body: str) -> Booked | None:
        if not key:
            return None
        query = "SELECT seq, body FROM events WHERE kind = ? AND key = ? AND key <> ''"
        row = self._db.execute(query, (kind, key)).fetchone()
        return None if row is None else Booked(row[0], False, row[1] != body)

    def _insert(self, seq: int, prev: bytes, ts: int, kind: str, key: str, body: str) -> bytes:
        own = link(prev, seq, ts, kind, key, body)
        self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", (seq, ts, kind, key, body, prev, own))
        return own

    def _beat(self, now: int) -> None:
        self._db.execute("UPDATE lease SET heartbeat = ?", (now,))
        self._beaten = now


def _due(last: int, now: int) -> bool:
    """Is it time again? Also where the clock was set back."""
    return not 0 <= now - last < _BEAT


def _row(entry: Entry) -> tuple[int, str, str, str]:
    ts = int(entry.ts)
    if not 0 <= ts < 2**63:
        raise TrimtabError(f"an event at ts = {ts}: expected ns UTC since 1970")
    return ts, kind_of(entry.body), key_of(entry.body), encode(entry.body).decode()
