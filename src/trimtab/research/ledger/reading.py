"""The ledger as it is read: its entries in order, the trials of each, and whether it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

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
from trimtab.types import I64


class Ledger:
    """A ledger that is read, by `opened`; it sees what was there when it was opened, and later entries too."""

    def __init__(self, folder: Path, db: sqlite3.Connection | None) -> None:
        self.folder = folder
        self.path = folder / "ledger.sqlite"
        self._db = db

    @property
    def head(self) -> str:
        """Hash of the last entry in hex; "" where nothing was ever tried."""
        return "" if self._db is None else head(self._db, self.path)[1]

    def rows(self) -> Iterator[Row]:
        """All entries, in order."""
        if self._db is None:
            return
        with chained.failing(LEDGER, self.path, "reading"):
            for seq, ts, kind, body in self._db.execute("SELECT seq, ts, kind, body FROM entries ORDER BY seq"):
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
        ts = self._days(row)
        if row.entry.file:
            return _read(self.folder / "sweeps" / row.entry.file, row, ts)
        assert self._db is not None  # a row came from it
        with chained.failing(LEDGER, self.path, "reading"):
            found = self._db.execute("SELECT bytes FROM returns WHERE seq = ?", (row.seq,)).fetchone()
        if found is None or hashlib.sha256(found[0]).hexdigest() != row.entry.sha256:
            raise LedgerFailed(f"{self.path}: the returns of entry {row.seq} are not those that were recorded")
        moments = np.array([[np.nan if value is None else value for value in row.entry.moments]])
        returns = np.frombuffer(found[0], np.float32).reshape(1, -1)
        identity = Identity(row.entry.hypothesis, row.entry.template, row.entry.data, row.entry.names)
        return Cells(identity.keys([row.entry.values]), np.array([row.entry.values]), moments, returns, ts)

    def _days(self, row: Row) -> I64:
        assert self._db is not None  # a row came from it
        with chained.failing(LEDGER, self.path, "reading"):
            found = self._db.execute(
                "SELECT bytes FROM days WHERE digest = ?", (bytes.fromhex(row.entry.days),)
            ).fetchone()
        ts = np.frombuffer(zlib.decompress(found[0]), np.int64) if found is not None else np.empty(0, np.int64)
        if digest(ts).hex() != row.entry.days:
            raise LedgerFailed(f"{self.path}: the days of entry {row.seq} are not those that were recorded")
        return ts


@contextlib.contextmanager
def opened(folder: Path) -> Generator[Ledger]:
    """The ledger of a folder to read; one without entries where there is none yet."""
    path = folder / "ledger.sqlite"
    if not chained.has_begun(LEDGER, path):
        yield Ledger(folder, None)
        return
    with contextlib.closing(chained.connect(LEDGER, path, write=False)) as db:
        yield Ledger(folder, db)


def _read(path: Path, row: Row, ts: I64) -> Cells:
    import polars as pl

    if not path.is_file():
        raise LedgerFailed(
            f"{path}: the returns of entry {row.seq} are gone; its {row.entry.trials} trials still count"
        )
    try:
        frame = pl.read_parquet(path)
        returns = frame["returns"].to_numpy()
        params = frame.select(row.entry.names).to_numpy().astype(np.float64)
        moments = frame.select("sharpe", "skew", "kurtosis").to_numpy()
        return Cells(frame["key"].to_list(), params, moments, returns, ts)
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


def verify(folder: Path) -> Report:
    """Read all of a ledger again: the chain, the index of trials, and the bytes of all returns."""
    path = folder / "ledger.sqlite"
    if not chained.has_begun(LEDGER, path):
        return Report(path=str(path), entries=0, trials=0, head="")
    with contextlib.closing(chained.connect(LEDGER, path, write=False)) as db:
        faults: list[str] = []
        with chained.failing(LEDGER, path, "reading"):
            entries, trials, own = _follow(db, path, faults)
            _count(db, folder, faults)
    return Report(
        path=str(path), entries=entries, trials=trials, head=own.hex() if entries else "", faults=tuple(faults)
    )


def _follow(db: sqlite3.Connection, path: Path, faults: list[str]) -> tuple[int, int, bytes]:
    entries, trials, own = 0, 0, first_link(db, path)
    for seq, ts, kind, key, body, prev, said in db.execute("SELECT * FROM entries ORDER BY seq"):
        if seq != entries + 1 or prev != own or said != chained.link(own, seq, ts, kind, key, body):
            faults.append(f"entry {seq} does not follow the one before: it, or an earlier one, was changed or cut out")
            break
        entries, trials, own = seq, trials + msgspec.json.decode(body, type=Entry).trials, said
    return entries, trials, own


def _count(db: sqlite3.Connection, folder: Path, faults: list[str]) -> None:
    """Every entry has the trials that it says, and their returns are those that were recorded."""
    counted = dict(db.execute("SELECT seq, count(*) FROM cells GROUP BY seq"))
    with opened(folder) as ledger:
        for row in ledger.rows():
            path = folder / "sweeps" / row.entry.file
            if row.entry.file and path.is_file() and hash_of(path) != row.entry.sha256:
                faults.append(f"{path}: is not the file that entry {row.seq} recorded")
                continue
            try:
                cells = ledger.cells(row)
            except LedgerFailed as error:
                faults.append(str(error))
                continue
            if len(cells.keys) != row.entry.trials or counted.get(row.seq, 0) > row.entry.trials:
                faults.append(f"entry {row.seq} has {len(cells.keys)} trials, it says {row.entry.trials}")
            missing = [key for key in cells.keys if ledger.seq_of(key) is None]
            if missing:
                faults.append(f"entry {row.seq}: {len(missing)} of its trials are not in the index")
