"""The journal as a file: its tables, its chain of hashes, how it is opened, and what is said when it fails.

A row's hash is sha256(hash of the row before || canonical JSON [seq, ts, kind, key, body]); before the first row stands
the hash of what the journal is (account and birth). Rows are never changed: triggers refuse it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from trimtab.types import TrimtabError

#: In the header of every journal, so that no other SQLite file is taken for one: "TRIM".
APPLICATION: Final = 0x5452_494D
#: Of tables and bodies. A journal of a later version is refused.
SCHEMA: Final = 1
#: Seconds to wait for another program that has the file locked.
PATIENCE: Final = 5.0

#: Pages of the log from which a commit itself lays it into the file (32 MB); a heartbeat does so long before, since a
#: commit that must is some ten times as slow as the others.
LOG_PAGES: Final = 8_000

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

#: First part of SQLite's name for an error -> what is wrong, and what to do.
_FAILURES: Final = {
    "SQLITE_FULL": ("the disk is full", "make room and start again"),
    "SQLITE_IOERR": (
        "the system refused to read or write it",
        "see that the disk is well and has room (df, dmesg, quotas), then start again",
    ),
    "SQLITE_READONLY": ("it cannot be written to", "see to the permissions of the file, its folder and its disk"),
    "SQLITE_PERM": ("it cannot be written to", "see to the permissions of the file, its folder and its disk"),
    "SQLITE_CANTOPEN": ("it cannot be opened", "see that the folder is there and may be written to"),
    "SQLITE_CORRUPT": (
        "the file is damaged",
        "keep a copy of it and of the files beside it, and run trimtab journal verify",
    ),
    "SQLITE_NOTADB": ("it is no journal, or its first page is damaged", "see that the path is right"),
    "SQLITE_BUSY": ("another program has locked it", "close what has it open and start again"),
    "SQLITE_LOCKED": ("another program has locked it", "close what has it open and start again"),
    "SQLITE_CONSTRAINT": ("its own rules refused a row", "run trimtab journal verify"),
}


class JournalFailed(TrimtabError):
    """The journal cannot be opened, read or written: what, where, what to do. What was booked before is still there.

    A batch that failed is in the file whole or not at all; which of the two is known when it is opened again, and what
    is then booked a second time counts once.
    """


#: What SQLite raises. Where it cites what is damaged, even its message may be no text.
DAMAGE: Final = (sqlite3.Error, UnicodeDecodeError)


@contextlib.contextmanager
def failing(path: Path, doing: str) -> Generator[None]:
    """What SQLite or the system says in this block, as JournalFailed."""
    try:
        yield
    except DAMAGE as error:
        raise JournalFailed(f"{path}: {doing} failed: {_said(error)}") from error
    except OSError as error:
        raise JournalFailed(f"{path}: {doing} failed: {error.strerror or error}") from error


def _said(error: Exception) -> str:
    name = str(getattr(error, "sqlite_errorname", ""))
    for first, (what, remedy) in _FAILURES.items():
        if name.startswith(first):
            return f"{what} ({name}: {error}); {remedy}"
    return f"{error}{f' ({name})' if name else ''}; run trimtab journal verify"


_ENCODER: Final = msgspec.json.Encoder()


def first_link(account: str, born: int) -> bytes:
    """The hash that stands before the first row."""
    return hashlib.sha256(msgspec.json.encode(["trimtab journal", account, born])).digest()


def link(prev: bytes, seq: int, ts: int, kind: str, key: str, body: str) -> bytes:
    """The hash of a row after the row whose hash is prev."""
    named = _ENCODER.encode((seq, ts, kind, key))
    return hashlib.sha256(b"%b%b,%b]" % (prev, named[:-1], body.encode())).digest()


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """An open journal: its account is checked by the caller, its kind and version here. JournalFailed: why not.

    write  creates it where there is none; else it must be there, and nothing of it is changed
    """
    if sqlite3.sqlite_version_info < (3, 37):
        raise JournalFailed(f"{path}: SQLite {sqlite3.sqlite_version} is too old: use a Python with 3.37 or newer")
    if not write and not path.is_file():
        raise JournalFailed(f"{path}: there is no such journal")
    with failing(path, "opening"):
        opened = _opened(path, write)
        try:
            _check_kind(path, opened, write)
            if write:
                _prepare(opened)
        except BaseException:
            opened.close()
            raise
    return opened


def _opened(path: Path, write: bool) -> sqlite3.Connection:
    mode = "rwc" if write else "ro"
    # A folder that may not be written to has no place for the shared memory of readers. Without a log beside it the
    # file is whole by itself.
    beside = path.with_name(f"{path.name}-wal")
    if not write and not os.access(path.parent, os.W_OK) and not (beside.exists() and beside.stat().st_size):
        mode = "ro&immutable=1"
    where = f"file:{quote(str(path.absolute()))}?mode={mode}"
    return sqlite3.connect(where, uri=True, isolation_level=None, timeout=PATIENCE, cached_statements=32)


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if sys.platform == "darwin":  # where fsync alone stops at the disk's own memory
        db.execute("PRAGMA fullfsync = ON")
        db.execute("PRAGMA checkpoint_fullfsync = ON")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA recursive_triggers = ON")
    db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")


def _check_kind(path: Path, db: sqlite3.Connection, write: bool) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if write and (application, version) == (0, 0) and is_empty(db):
        return
    if application != APPLICATION:
        raise JournalFailed(f"{path}: this SQLite file is no journal of Trimtab's; see that the path is right")
    if version > SCHEMA:
        raise JournalFailed(
            f"{path}: written by a newer Trimtab (journal version {version}, this one knows {SCHEMA}): update Trimtab; "
            "nothing was changed"
        )


def is_empty(db: sqlite3.Connection) -> bool:
    """Is there nothing in the file yet (also where its making was cut short)?"""
    return db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def has_begun(path: Path) -> bool:
    """Is there a journal at `path`? Not where its making was cut short: whoever opens it to write makes it anew."""
    if not path.is_file():
        return False
    with failing(path, "opening"), contextlib.closing(_opened(path, False)) as db:
        return not is_empty(db)


def create(db: sqlite3.Connection, account: str, born: int) -> None:
    """All of an empty journal in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in OBJECTS.values():
            db.execute(statement)
        db.execute("INSERT INTO journal VALUES (?, ?)", (account, born))
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def flush_folder(path: Path) -> None:
    """Make the name of a new file in its folder outlast a loss of power."""
    if os.name == "nt":  # which cannot open a folder
        return
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def birth(path: Path, db: sqlite3.Connection) -> tuple[str, int]:
    """Account and instant of birth."""
    rows = db.execute("SELECT account, born FROM journal").fetchall()
    if len(rows) != 1:
        raise JournalFailed(f"{path}: expected one account, found {len(rows)}; run trimtab journal verify")
    return rows[0]
