"""SQLite files whose rows are chained by hashes and never changed: the journal of an account, the ledger of trials.

A row's hash is sha256(hash of the row before || canonical JSON [seq, ts, kind, key, body]); before the first row stands
the hash of what the file is. Here is how such a file is opened and made, and what is said when it fails; what its
tables are, its `Kind` says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from trimtab.types import TrimtabError

#: Seconds to wait for another program that has the file locked.
PATIENCE: Final = 5.0

#: Pages of the log from which a commit itself lays it into the file (32 MB); a heartbeat does so long before, since a
#: commit that must is some ten times as slow as the others.
LOG_PAGES: Final = 8_000


class Kind(NamedTuple):
    """What a file is.

    what         the word for it, in messages
    application  in the header of every file of its kind, so that no other SQLite file is taken for one
    schema       of tables and bodies; a file of a later one is refused
    objects      tables, indices and triggers by name, word for word as SQLite keeps them
    verify       the command that says what is damaged
    is_durable   does a commit outlast a loss of power, or only the death of the process?
    failed       what is raised
    """

    what: str
    application: int
    schema: int
    objects: Mapping[str, str]
    verify: str
    is_durable: bool
    failed: type[TrimtabError]


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
        "keep a copy of it and of the files beside it, and run {verify}",
    ),
    "SQLITE_NOTADB": ("it is no {what}, or its first page is damaged", "see that the path is right"),
    "SQLITE_BUSY": ("another program has locked it", "close what has it open and start again"),
    "SQLITE_LOCKED": ("another program has locked it", "close what has it open and start again"),
    "SQLITE_CONSTRAINT": ("its own rules refused a row", "run {verify}"),
}


#: What SQLite raises. Where it cites what is damaged, even its message may be no text.
DAMAGE: Final = (sqlite3.Error, UnicodeDecodeError)


@contextlib.contextmanager
def failing(kind: Kind, path: Path, doing: str) -> Generator[None]:
    """What SQLite or the system says in this block, as the kind's own error."""
    try:
        yield
    except DAMAGE as error:
        raise kind.failed(f"{path}: {doing} failed: {_said(kind, error)}") from error
    except OSError as error:
        raise kind.failed(f"{path}: {doing} failed: {error.strerror or error}") from error


def _said(kind: Kind, error: Exception) -> str:
    name = str(getattr(error, "sqlite_errorname", ""))
    for first, told in _FAILURES.items():
        if name.startswith(first):
            what, remedy = (text.format(what=kind.what, verify=kind.verify) for text in told)
            return f"{what} ({name}: {error}); {remedy}"
    return f"{error}{f' ({name})' if name else ''}; run {kind.verify}"


_ENCODER: Final = msgspec.json.Encoder()


def first_link(kind: Kind, *facts: str | int) -> bytes:
    """The hash that stands before the first row, of what the file is."""
    return hashlib.sha256(msgspec.json.encode([f"trimtab {kind.what}", *facts])).digest()


def link(prev: bytes, seq: int, ts: int, kind: str, key: str, body: str) -> bytes:
    """The hash of a row after the row whose hash is prev."""
    named = _ENCODER.encode((seq, ts, kind, key))
    return hashlib.sha256(b"%b%b,%b]" % (prev, named[:-1], body.encode())).digest()


def connect(kind: Kind, path: Path, *, write: bool) -> sqlite3.Connection:
    """An open file: whose it is, is checked by the caller, its kind and version here. The kind's error: why not.

    write  creates it where there is none; else it must be there, and nothing of it is changed
    """
    if sqlite3.sqlite_version_info < (3, 37):
        raise kind.failed(f"{path}: SQLite {sqlite3.sqlite_version} is too old: use a Python with 3.37 or newer")
    if not write and not path.is_file():
        raise kind.failed(f"{path}: there is no such {kind.what}")
    with failing(kind, path, "opening"):
        opened = _opened(path, write)
        try:
            _check_kind(kind, path, opened, write)
            if write:
                _prepare(kind, opened)
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


def _prepare(kind: Kind, db: sqlite3.Connection) -> None:
    _log_ahead(db)
    db.execute(f"PRAGMA synchronous = {'FULL' if kind.is_durable else 'NORMAL'}")
    if sys.platform == "darwin":  # where fsync alone stops at the disk's own memory
        db.execute("PRAGMA fullfsync = ON")
        db.execute("PRAGMA checkpoint_fullfsync = ON")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA recursive_triggers = ON")
    db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")


def _log_ahead(db: sqlite3.Connection) -> None:
    """Write ahead to a log. SQLite does not wait by itself where another process makes the file at the same moment."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            if not busy or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _check_kind(kind: Kind, path: Path, db: sqlite3.Connection, write: bool) -> None:
    db.execute("BEGIN")  # of one moment: another program may be making it, which it does in one step
    try:
        empty = is_empty(db)
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    if write and (application, version) == (0, 0) and empty:
        return
    if application != kind.application:
        raise kind.failed(f"{path}: this SQLite file is no {kind.what} of Trimtab's; see that the path is right")
    if version > kind.schema:
        raise kind.failed(
            f"{path}: written by a newer Trimtab ({kind.what} version {version}, this one knows {kind.schema}): update "
            "Trimtab; nothing was changed"
        )


def is_empty(db: sqlite3.Connection) -> bool:
    """Is there nothing in the file yet (also where its making was cut short)?"""
    return db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def has_begun(kind: Kind, path: Path) -> bool:
    """Is there such a file at `path`? Not where its making was cut short: whoever opens it to write makes it anew."""
    if not path.is_file():
        return False
    with failing(kind, path, "opening"), contextlib.closing(_opened(path, False)) as db:
        return not is_empty(db)


def create(kind: Kind, db: sqlite3.Connection, insert: str, *facts: str | int) -> None:
    """All of an empty file in one transaction; insert: the statement that says what it is, of the facts."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in kind.objects.values():
            db.execute(statement)
        db.execute(insert, facts)
        db.execute(f"PRAGMA application_id = {kind.application}")
        db.execute(f"PRAGMA user_version = {kind.schema}")
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
