"""The journal as a file: its tables, and what it is opened as. How rows are chained: see `trimtab.chained`.

Rows are never changed: triggers refuse it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trimtab import chained
from trimtab.types import TrimtabError

#: Of tables and bodies. A journal of a later version is refused.
SCHEMA: Final = 1

#: Every object of the file by its name, word for word as SQLite keeps it. The triggers also refuse INSERT OR REPLACE,
#: which deletes without asking the trigger on DELETE.
OBJECTS: Final = {
    "journal": "CREATE TABLE journal (account TEXT NOT NULL, born INTEGER NOT NULL) STRICT",
    "events": (
        "CREATE TABLE events (seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, "
        "body TEXT NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL) STRICT"
    ),
    "events_once": "CREATE UNIQUE INDEX events_once ON events (kind, key) WHERE key <> ''",
    "events_follow": (
        "CREATE TRIGGER events_follow BEFORE INSERT ON events WHEN "
        "NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events) OR "
        "(NEW.key <> '' AND EXISTS (SELECT 1 FROM events WHERE kind = NEW.kind AND key = NEW.key AND key <> '')) "
        "BEGIN SELECT RAISE(ABORT, 'events are booked one after the other, and once'); END"
    ),
    "events_stay": (
        "CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
    ),
    "events_remain": (
        "CREATE TRIGGER events_remain BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
    ),
    "journal_stay": (
        "CREATE TRIGGER journal_stay BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'a journal keeps its account');"
        " END"
    ),
    "journal_remain": (
        "CREATE TRIGGER journal_remain BEFORE DELETE ON journal BEGIN "
        "SELECT RAISE(ABORT, 'a journal keeps its account'); END"
    ),
    "snapshots": "CREATE TABLE snapshots (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL, hash BLOB NOT NULL) STRICT",
    "lease": (
        "CREATE TABLE lease (one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, boot TEXT NOT NULL, "
        "begun INTEGER NOT NULL, since INTEGER NOT NULL, heartbeat INTEGER NOT NULL) STRICT"
    ),
}


class JournalFailed(TrimtabError):
    """The journal cannot be opened, read or written: what, where, what to do. What was booked before is still there.

    A batch that failed is in the file whole or not at all; which of the two is known when it is opened again, and what
    is then booked a second time counts once.
    """


#: "TRIM" in the header.
JOURNAL: Final = chained.Kind("journal", 0x5452_494D, SCHEMA, OBJECTS, "trimtab journal verify", True, JournalFailed)


@contextmanager
def failing(path: Path, doing: str) -> Generator[None]:
    """What SQLite or the system says in this block, as JournalFailed."""
    with chained.failing(JOURNAL, path, doing):
        yield


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """An open journal, see chained.connect."""
    return chained.connect(JOURNAL, path, write=write)


def has_begun(path: Path) -> bool:
    """Is there a journal at `path`?"""
    return chained.has_begun(JOURNAL, path)


def create(db: sqlite3.Connection, account: str, born: int) -> None:
    """All of an empty journal in one transaction."""
    chained.create(JOURNAL, db, "INSERT INTO journal VALUES (?, ?)", account, born)


def first_link(account: str, born: int) -> bytes:
    """The hash that stands before the first row."""
    return chained.first_link(JOURNAL, account, born)


def birth(path: Path, db: sqlite3.Connection) -> tuple[str, int]:
    """Account and instant of birth."""
    rows = db.execute("SELECT account, born FROM journal").fetchall()
    if len(rows) != 1:
        raise JournalFailed(f"{path}: expected one account, found {len(rows)}; run trimtab journal verify")
    return rows[0]
