"""The ledger on disk: one SQLite file whose rows are chained by hashes, and a Parquet file of daily returns per sweep.

    <data>/trials/ledger.sqlite       an entry per run or sweep, in order; who was tried before is not written again
    <data>/trials/sweeps/NAME.parquet a row per parameter set: key, parameters, moments, daily returns as float32

Any number of processes append; nothing is changed or deleted, which triggers refuse. An entry is there whole or not at
all: a sweep's file is in its place before its row is, and the row holds its sha256. A process that is killed loses
nothing that was recorded; a loss of power may cost the last moments, and leaves the chain whole. What a killed one left
is harmless: a file without a row is no trial of anybody's, and one half written (.writing-*) goes with the next writer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import tempfile
import threading
import zlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import chained
from trimtab.research.ledger.identity import Hypothesis, Identity
from trimtab.types import F64, I64, TrimtabError

#: Where the ledger is, over the folder `trials` of the store.
PLACE: Final = "TRIMTAB_TRIALS"

#: Tables of the file. `cells` and `days` say nothing that entries and their files do not: they are there to be fast.
_OBJECTS: Final = {
    "ledger": "CREATE TABLE ledger (born INTEGER NOT NULL) STRICT",
    "entries": (
        "CREATE TABLE entries (seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, "
        "body TEXT NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL) STRICT"
    ),
    "entries_of": "CREATE INDEX entries_of ON entries (key)",
    "returns": "CREATE TABLE returns (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT",
    "days": "CREATE TABLE days (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "cells": "CREATE TABLE cells (key BLOB PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "entries_follow": (
        "CREATE TRIGGER entries_follow BEFORE INSERT ON entries WHEN "
        "NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entries) "
        "BEGIN SELECT RAISE(ABORT, 'entries are written one after the other'); END"
    ),
    **{
        f"{table}_{word}": (
            f"CREATE TRIGGER {table}_{word} BEFORE {what} ON {table} BEGIN "
            f"SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        )
        for table in ("ledger", "entries", "returns", "days", "cells")
        for word, what in (("stay", "UPDATE"), ("remain", "DELETE"))
    },
}


class LedgerFailed(TrimtabError):
    """The trial ledger cannot be opened, read or written: what, where, what to do."""


#: "TRIL" in the header.
LEDGER: Final = chained.Kind(
    "trial ledger", 0x5452_494C, 1, _OBJECTS, "trimtab trials verify", is_durable=False, failed=LedgerFailed
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried at once: one run, or the sets of a sweep that nobody had tried before.

    names    of all parameters of all models; values: of a run, () of a sweep
    first    the panel's first and last close, ns UTC
    days     digest of the instants at which the days end, in hex; count: how many
    rate     risk-free, per day; periods: days per year
    trials   parameter sets that were new with this entry
    file     of a sweep, in `sweeps`, and the sha256 of its bytes; of a run "", and the sha256 of its returns
    """

    hypothesis: Hypothesis
    template: str
    data: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    first: int
    last: int
    days: str
    count: int
    rate: float
    periods: float
    trials: int
    moments: tuple[float | None, ...]
    file: str
    sha256: str
    version: str


class Row(NamedTuple):
    """An entry in its place. kind: run or sweep. In the file, and in the chain, its key is the id of its hypothesis."""

    seq: int
    ts: int
    kind: str
    entry: Entry


class Cells(NamedTuple):
    """The trials of an entry: S of them over D days.

    keys     (S,) 16 bytes each
    params   (S, P) values of the entry's names
    moments  (S, 3) Sharpe per day, skew, kurtosis; NaN: undefined
    returns  (S, D) daily simple returns, fraction
    ts       (D,) instants that end the days, ns UTC
    """

    keys: list[bytes]
    params: F64
    moments: F64
    returns: NDArray[np.float32]
    ts: I64


class Batch(NamedTuple):
    """Trials that were made together; span: first and last close of the panel, ns UTC; rate and periods as in Entry."""

    identity: Identity
    cells: Cells
    span: tuple[int, int]
    rate: float
    periods: float
    version: str


class Recorded(NamedTuple):
    """Where trials stand. fresh: how many of them were new; head: hash of the ledger's last entry after them, hex."""

    seq: int
    head: str
    fresh: int


def folder_of(root: str | Path | None = None) -> Path:
    """$TRIMTAB_TRIALS, else `trials` in the store; TrimtabError where a file is in its place."""
    from trimtab.data.store import open_store

    told = os.environ.get(PLACE)
    folder = Path(told).expanduser() if told else open_store(root).root / "trials"
    if folder.exists() and not folder.is_dir():
        raise LedgerFailed(
            f"{folder}: is a file; expected the folder of the trial ledger: move the file away, or name a folder in "
            f"{PLACE}"
        )
    return folder


# --- writing ---------------------------------------------------------------------------------------------------------

_open = threading.local()

#: Of sweeps' files while they are written.
_WRITING: Final = ".writing-"


def append(folder: Path, batch: Batch, ts: int) -> Recorded:
    """Write the trials that nobody made before; -> where the ledger stands then. LedgerFailed: nothing is written."""
    path = folder / "ledger.sqlite"
    db = _connected(path, ts)
    with chained.failing(LEDGER, path, "appending"):
        left = len(batch.cells.keys) + 1
        while True:
            cells = _unknown(db, batch.cells)
            if not cells.keys:
                return Recorded(*head(db, path), 0)
            made = _Made(folder, batch, cells)
            try:
                return Recorded(*_insert(db, path, made, ts), len(cells.keys))
            except sqlite3.IntegrityError as error:
                # Another program wrote some of these since we looked: then there are fewer now, and we look again.
                if error.sqlite_errorname != "SQLITE_CONSTRAINT_PRIMARYKEY" or len(cells.keys) >= left:
                    raise
                left = len(cells.keys)


class _Made:
    """An entry before it has its place: a sweep's file is written already."""

    def __init__(self, folder: Path, batch: Batch, cells: Cells) -> None:
        self.cells = cells
        self.alone = len(batch.cells.keys) == 1
        self.raw = np.ascontiguousarray(cells.returns).tobytes() if self.alone else b""
        file, proof = ("", hashlib.sha256(self.raw).hexdigest()) if self.alone else _write(folder, batch, cells)
        self.kind = "run" if self.alone else "sweep"
        self.key = batch.identity.hypothesis.id
        self.body = msgspec.json.encode(_entry(batch, cells, self.alone, file, proof)).decode()


def _insert(db: sqlite3.Connection, path: Path, made: _Made, ts: int) -> tuple[int, str]:
    """An entry with its trials into the ledger, whole or not at all. -> its place and hash"""
    days = zlib.compress(np.ascontiguousarray(made.cells.ts).tobytes(), 1)
    db.execute("BEGIN IMMEDIATE")
    try:
        seq, prev = last(db, path)
        own = chained.link(prev, seq + 1, ts, made.kind, made.key, made.body)
        db.executemany("INSERT INTO cells VALUES (?, ?)", [(key, seq + 1) for key in made.cells.keys])
        row = (seq + 1, ts, made.kind, made.key, made.body, prev, own)
        db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT OR IGNORE INTO days VALUES (?, ?)", (digest(made.cells.ts), days))
        if made.alone:
            db.execute("INSERT INTO returns VALUES (?, ?)", (seq + 1, made.raw))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return seq + 1, own.hex()


def _unknown(db: sqlite3.Connection, cells: Cells) -> Cells:
    """The trials that are not in the ledger, each once."""
    keys = cells.keys
    known = {key for key in keys if db.execute("SELECT 1 FROM cells WHERE key = ?", (key,)).fetchone()}
    fresh = _firsts(keys, known)
    if len(fresh) == len(keys):
        return cells
    return cells._replace(
        keys=[keys[k] for k in fresh], params=cells.params[fresh], moments=cells.moments[fresh],
        returns=cells.returns[fresh],
    )  # fmt: skip


def _firsts(keys: Sequence[bytes], known: set[bytes]) -> list[int]:
    """Places of the keys that are not known, each once."""
    seen = set(known)
    found: list[int] = []
    for k, key in enumerate(keys):
        if key not in seen:
            seen.add(key)
            found.append(k)
    return found


def _entry(batch: Batch, cells: Cells, alone: bool, file: str, sha256: str) -> Entry:
    told: list[float] = cells.moments[0].tolist() if alone else []
    return Entry(
        hypothesis=batch.identity.hypothesis,
        template=batch.identity.template,
        data=batch.identity.data,
        names=batch.identity.names,
        values=tuple(cells.params[0].tolist()) if alone else (),
        first=batch.span[0],
        last=batch.span[1],
        days=digest(cells.ts).hex(),
        count=len(cells.ts),
        rate=batch.rate,
        periods=batch.periods,
        trials=len(cells.keys),
        moments=tuple(None if value != value else value for value in told),
        file=file,
        sha256=sha256,
        version=batch.version,
    )


def digest(ts: I64) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(ts).data, digest_size=16).digest()


def _write(folder: Path, batch: Batch, cells: Cells) -> tuple[str, str]:
    """The file of a sweep, whole and in its place. -> name, sha256"""
    import polars as pl

    columns: dict[str, object] = {"key": cells.keys}
    columns |= {name: cells.params[:, k] for k, name in enumerate(batch.identity.names)}
    columns |= {name: cells.moments[:, k] for k, name in enumerate(("sharpe", "skew", "kurtosis"))}
    columns["returns"] = np.ascontiguousarray(cells.returns)
    sweeps = folder / "sweeps"
    sweeps.mkdir(parents=True, exist_ok=True)
    with _beside(sweeps) as beside:
        pl.DataFrame(columns).write_parquet(beside, compression="uncompressed", statistics=False)
        found = hash_of(beside)
        name = f"{found[:32]}.parquet"
        os.chmod(beside, 0o644)
        os.replace(beside, sweeps / name)
    return name, found


@contextlib.contextmanager
def _beside(sweeps: Path) -> Generator[Path]:
    """A file of ours to write in, held as long as it is; it is gone where the writing failed."""
    while True:
        handle, name = tempfile.mkstemp(dir=sweeps, prefix=_WRITING)
        if not _hold(handle) or os.fstat(handle).st_nlink:  # else it was cleared before we held it
            break
        os.close(handle)
    try:
        yield Path(name)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _clear(sweeps: Path) -> None:
    """Remove what writers that were killed left half written. What a writer holds is alive.

    Where there are no such locks (Windows, some network drives) nothing of others is cleared.
    """
    for path in sweeps.glob(f"{_WRITING}*"):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            try:
                if _hold(handle):
                    path.unlink(missing_ok=True)
            finally:
                os.close(handle)


def _hold(handle: int) -> bool:
    """Hold a file against other programs until it is closed; says whether that worked."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def hash_of(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Connection(NamedTuple):
    """A thread's own, and the file that it is of: another may lie in its place by now."""

    db: sqlite3.Connection
    file: tuple[int, int]


class _Connections(dict[tuple[int, Path], _Connection]):
    """Those of a thread, by process and path; closed with it."""

    def __del__(self) -> None:
        for (process, _), known in self.items():
            if process == os.getpid():
                known.db.close()


def _connected(path: Path, ts: int) -> sqlite3.Connection:
    """This thread's connection to the ledger; made, and the ledger with it, at the first use."""
    known: _Connections = getattr(_open, "files", None) or _Connections()
    _open.files = known
    key = os.getpid(), path.absolute()
    if key in known:
        if known[key].file == _file(path):
            return known[key].db
        known.pop(key).db.close()
    with chained.failing(LEDGER, path, "opening"):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path.parent / "sweeps")
    db = chained.connect(LEDGER, path, write=True)
    try:
        with chained.failing(LEDGER, path, "opening"):
            if chained.is_empty(db):
                try:
                    chained.create(LEDGER, db, "INSERT INTO ledger VALUES (?)", ts)
                except sqlite3.OperationalError:
                    if chained.is_empty(db):  # else another program made it at the same moment
                        raise
    except BaseException:
        db.close()
        raise
    known[key] = _Connection(db, _file(path))
    return db


def _file(path: Path) -> tuple[int, int]:
    """Which file lies at a path: none, (0, 0)."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def last(db: sqlite3.Connection, path: Path) -> tuple[int, bytes]:
    row = db.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    return row if row is not None else (0, first_link(db, path))


def head(db: sqlite3.Connection, path: Path) -> tuple[int, str]:
    with chained.failing(LEDGER, path, "reading"):
        seq, own = last(db, path)
        return seq, own.hex()


def first_link(db: sqlite3.Connection, path: Path) -> bytes:
    """The hash before the first entry."""
    rows = db.execute("SELECT born FROM ledger").fetchall()
    if len(rows) != 1:
        raise LedgerFailed(f"{path}: expected one instant of birth, found {len(rows)}; run {LEDGER.verify}")
    return chained.first_link(LEDGER, rows[0][0])
