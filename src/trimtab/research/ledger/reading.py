"""The ledger as it is read: its entries in order, the trials of each, and whether it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import zlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from trimtab import chained
from trimtab.research.ledger.file import (
    LEDGER,
    Cells,
    Entry,
    LedgerFailed,
    Row,
    digest,
    first_link,
    hash_of,
    head,
)
from trimtab.research.ledger.identity import Identity
from trimtab.types import F64, I64

if TYPE_CHECKING:
    import polars as pl


_OF_ONE: Final = "SELECT seq, ts, kind, body FROM entries WHERE key = ? ORDER BY seq"
_OF_ALL: Final = "SELECT seq, ts, kind, body FROM entries WHERE ? = '' ORDER BY seq"


class Ledger:
    """A ledger that is read, by `opened`: as it was when it was first asked."""

    def __init__(self, folder: Path, db: sqlite3.Connection | None) -> None:
        self.folder = folder
        self.path = folder / "ledger.sqlite"
        self._db = db

    @property
    def head(self) -> str:
        """Hash of the last entry in hex; "" where nothing was ever tried."""
        return "" if self._db is None else head(self._db, self.path)[1]

    @property
    def _written(self) -> sqlite3.Connection:
        """The file that a row came from."""
        if self._db is None:
            raise LedgerFailed(f"{self.path}: there is no such trial ledger")
        return self._db

    def rows(self, hypothesis: str = "") -> Iterator[Row]:
        """All entries in order; hypothesis: only those of the one with this id."""
        if self._db is None:
            return
        asked = _OF_ONE if hypothesis else _OF_ALL
        with chained.failing(LEDGER, self.path, "reading"):
            for seq, ts, kind, body in self._db.execute(asked, (hypothesis,)):
                yield Row(seq, ts, kind, _decoded(self.path, seq, body))

    def seq_of(self, key: bytes) -> int | None:
        """The entry that a trial was written with; None: it was never made."""
        if self._db is None:
            return None
        with chained.failing(LEDGER, self.path, "reading"):
            row = self._db.execute("SELECT seq FROM cells WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def cells(self, row: Row) -> Cells:
        """The trials of an entry. LedgerFailed where its returns are gone or are not those that were recorded."""
        ts = self.days(row)
        if row.entry.file:
            return _read(self.folder / "sweeps" / row.entry.file, row, ts)
        db = self._written
        with chained.failing(LEDGER, self.path, "reading"):
            found = db.execute("SELECT bytes FROM returns WHERE seq = ?", (row.seq,)).fetchone()
        if found is None or hashlib.sha256(found[0]).hexdigest() != row.entry.sha256:
            raise LedgerFailed(f"{self.path}: the returns of entry {row.seq} are not those that were recorded")
        moments = np.array([[np.nan if value is None else value for value in row.entry.moments]])
        returns = np.frombuffer(found[0], np.float32).reshape(1, -1)
        identity = Identity(row.entry.hypothesis, row.entry.template, row.entry.data, row.entry.names)
        return Cells(identity.keys([row.entry.values]), np.array([row.entry.values]), moments, returns, ts)

    def params(self, row: Row) -> tuple[F64, F64]:
        """(S, P) values of the entry's names and (S,) Sharpe per day, for lists: not held against the entry's hash.

        LedgerFailed as `cells`.
        """
        if not row.entry.file:
            sharpe = row.entry.moments[0]
            return np.array([row.entry.values]), np.array([np.nan if sharpe is None else sharpe])
        frame = _frame(self.folder / "sweeps" / row.entry.file, row, (*row.entry.names, "sharpe"))
        return frame.select(row.entry.names).to_numpy().astype(np.float64), frame["sharpe"].to_numpy()

    def days(self, row: Row) -> I64:
        db = self._written
        with chained.failing(LEDGER, self.path, "reading"):
            asked = "SELECT bytes FROM days WHERE digest = ?"
            found = db.execute(asked, (bytes.fromhex(row.entry.days),)).fetchone()
        with contextlib.suppress(zlib.error, ValueError):
            ts = np.frombuffer(zlib.decompress(found[0]), np.int64) if found is not None else np.empty(0, np.int64)
            if digest(ts).hex() == row.entry.days:
                return ts
        raise LedgerFailed(f"{self.path}: the days of entry {row.seq} are not those that were recorded")


@contextlib.contextmanager
def opened(folder: Path) -> Generator[Ledger]:
    """The ledger of a folder to read; one without entries where there is none yet."""
    path = folder / "ledger.sqlite"
    if not chained.has_begun(LEDGER, path):
        yield Ledger(folder, None)
        return
    with contextlib.closing(chained.connect(LEDGER, path, write=False)) as db:
        with chained.failing(LEDGER, path, "reading"):
            db.execute("BEGIN")  # entries and head are those of one moment, whatever others append meanwhile
        yield Ledger(folder, db)


def _read(path: Path, row: Row, ts: I64) -> Cells:
    if path.is_file() and hash_of(path) != row.entry.sha256:
        raise LedgerFailed(
            f"{path}: is not the file that entry {row.seq} recorded; its {row.entry.trials} trials still count"
        )
    frame = _frame(path, row)
    params = frame.select(row.entry.names).to_numpy().astype(np.float64)
    moments = frame.select("sharpe", "skew", "kurtosis").to_numpy()
    return Cells(frame["key"].to_list(), params, moments, frame["returns"].to_numpy(), ts)


def _frame(path: Path, row: Row, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The file of a sweep, or some columns of it."""
    import polars as pl

    if not path.is_file():
        raise LedgerFailed(
            f"{path}: the returns of entry {row.seq} are gone; its {row.entry.trials} trials still count"
        )
    try:
        return pl.read_parquet(path, columns=None if columns is None else list(columns))
    except (pl.exceptions.PolarsError, OSError) as error:
        what = str(error).strip().partition("\n")[0]
        raise LedgerFailed(f"{path}: damaged ({what}); its {row.entry.trials} trials still count") from None


def _decoded(path: Path, seq: int, body: str) -> Entry:
    try:
        return msgspec.json.decode(body, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerFailed(f"{path}: entry {seq} cannot be read ({error}); run {LEDGER.verify}") from None


# --- is it whole? ----------------------------------------------------------------------------------------------------


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found.

    entries, trials  whose chain is whole, from the first
    head             the hash of the last of them, in hex: a verdict names it, so that it can be told later that nothing
                     before it was changed or cut off
    faults           none: the ledger is whole
    """

    path: str
    entries: int
    trials: int
    head: str
    faults: tuple[str, ...] = ()


def verify(folder: Path, head: str = "") -> Report:
    """Read all of a ledger again: the chain, the index of trials, the bytes of all returns, and what refuses changes.

    head  the first digits of a hash that was noted before: it has to be one of the chain's
    ->    Report; LedgerFailed where the file is no ledger, or of a newer version

    A sweep's file without an entry is no fault: its writer was killed before it came to the entry.
    """
    path = folder / "ledger.sqlite"
    faults: list[str] = []
    if not chained.has_begun(LEDGER, path):
        if head:
            faults.append(f"no entry has the hash {head}: nothing is recorded here")
        return Report(path=str(path), entries=0, trials=0, head="", faults=tuple(faults))
    rows: list[Row] = []
    own = ""
    with contextlib.closing(chained.connect(LEDGER, path, write=False)) as db:
        try:
            with chained.failing(LEDGER, path, "reading"):
                faults.extend(_altered(db))
                own, is_known = _follow(db, path, rows, faults, head.lower())
                if not is_known:
                    faults.append(f"no entry has the hash {head}: entries were cut off, or it is of another ledger")
                faults.extend(_miscounted(db, Ledger(folder, db), rows))
        except LedgerFailed as error:
            faults.append(str(error))
    trials = sum(row.entry.trials for row in rows)
    return Report(path=str(path), entries=len(rows), trials=trials, head=own, faults=tuple(faults))


def _altered(db: sqlite3.Connection) -> Iterator[str]:
    """Tables, indices and triggers that are not those of a ledger: without triggers rows could be changed."""
    found = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
    for name, statement in LEDGER.objects.items():
        if found.pop(name, None) != statement:
            yield f"{name} is missing from the file, or was changed"
    for name in found:
        yield f"{name} does not belong in the file"


def _follow(db: sqlite3.Connection, path: Path, rows: list[Row], faults: list[str], head: str) -> tuple[str, bool]:
    """The rows up to the first that is not whole. -> hash of the last in hex; is `head` among the hashes?"""
    own, told, is_known = first_link(db, path), "", not head
    query = "SELECT seq, ts, kind, key, body, prev, hash FROM entries ORDER BY seq"
    for seq, ts, kind, key, body, prev, said in db.execute(query):
        if seq != len(rows) + 1 or prev != own or said != chained.link(own, seq, ts, kind, key, body):
            faults.append(f"entry {seq} does not follow the one before: it, or an earlier one, was changed or cut out")
            break
        rows.append(Row(seq, ts, kind, _decoded(path, seq, body)))
        own, told = said, said.hex()
        is_known = is_known or told.startswith(head)
    return told, is_known


def _miscounted(db: sqlite3.Connection, ledger: Ledger, rows: list[Row]) -> Iterator[str]:
    """Entries whose returns are not those that were recorded, or whose trials are not those of the index."""
    indexed: dict[int, set[bytes]] = {}
    for key, seq in db.execute("SELECT key, seq FROM cells"):
        indexed.setdefault(seq, set()).add(key)
    for row in rows:
        listed = indexed.pop(row.seq, set[bytes]())
        try:
            keys = ledger.cells(row).keys
        except LedgerFailed as error:
            yield str(error)
            continue
        if len(keys) != row.entry.trials:
            yield f"entry {row.seq} has {len(keys):,} trials, it says {row.entry.trials:,}"
        if set(keys) != listed:
            yield f"entry {row.seq}: its trials are not those that the index has for it"
    if indexed and not _beyond(db, rows):
        yield f"the index has trials of {len(indexed):,} entries that are not there: they were cut off"


def _beyond(db: sqlite3.Connection, rows: list[Row]) -> bool:
    """Does anything follow the rows that are whole? Then that was told, and what belongs to it is there."""
    return db.execute("SELECT count(*) FROM entries").fetchone()[0] > len(rows)
