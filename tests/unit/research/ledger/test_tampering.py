"""Nobody changes the ledger unseen: SQLite refuses it, and where it is done by force `verify` says where."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.unit.research.ledger.making import batch_of, noise, recorded
from trimtab.research.ledger.counting import Record, is_of_hypothesis, tried
from trimtab.research.ledger.file import LEDGER, LedgerFailed
from trimtab.research.ledger.reading import opened, verify

BATCHES = [batch_of(noise(3, 80, 1), 0), batch_of(noise(1, 80, 2), 10), batch_of(noise(2, 80, 3), 20)]


@pytest.fixture
def written(ledger: Path) -> Path:
    """A sweep of 3, a run, a sweep of 2."""
    recorded(ledger, *BATCHES)
    return ledger


@contextlib.contextmanager
def by_force(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection for which the triggers are away; they are put back."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as db:
        triggers = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        for name in triggers:
            db.execute(f"DROP TRIGGER {name}")
        yield db
        for sql in triggers.values():
            db.execute(sql)


def faults(folder: Path) -> str:
    return "\n".join(verify(folder).faults)


def test_a_whole_ledger_has_no_faults_and_its_head_is_in_the_chain(written: Path):
    report = verify(written)
    assert (report.entries, report.trials, report.faults) == (3, 6, ())
    with opened(written) as found:
        assert found.head == report.head
    assert verify(written, report.head[:12].upper()).faults == ()
    assert "no entry has the hash" in "\n".join(verify(written, "0123456789").faults)


def test_nothing_can_be_changed_or_deleted(written: Path):
    with contextlib.closing(sqlite3.connect(written / "ledger.sqlite", isolation_level=None)) as db:
        for table, column in (
            ("entries", "ts"),
            ("cells", "seq"),
            ("returns", "seq"),
            ("days", "bytes"),
            ("ledger", "born"),
        ):
            for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    db.execute(statement)
        with pytest.raises(sqlite3.IntegrityError, match="one after the other"):
            db.execute("INSERT INTO entries SELECT seq + 5, ts, kind, key, body, prev, hash FROM entries")
    assert faults(written) == ""


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE entries SET body = replace(body, '\"trials\":3', '\"trials\":1')", "entry 1 does not follow"),
        ("UPDATE entries SET body = 'no JSON' WHERE seq = 2", "entry 2 does not follow"),
        ("UPDATE entries SET ts = ts + 1 WHERE seq = 2", "entry 2 does not follow"),
        ("UPDATE entries SET kind = 'sweep' WHERE seq = 2", "entry 2 does not follow"),
        ("UPDATE entries SET key = 'another idea' WHERE seq = 3", "entry 3 does not follow"),
        ("DELETE FROM entries WHERE seq = 2", "entry 3 does not follow"),
        ("DELETE FROM entries WHERE seq = 1", "entry 2 does not follow"),
        ("UPDATE ledger SET born = born + 1", "entry 1 does not follow"),
        ("DELETE FROM entries WHERE seq = 3", "the index has trials of 1 entries that are not there"),
        ("UPDATE returns SET bytes = zeroblob(320) WHERE seq = 2", "the returns of entry 2 are not those"),
        ("DELETE FROM returns WHERE seq = 2", "the returns of entry 2 are not those"),
        ("DELETE FROM cells WHERE seq = 3", "entry 3: its trials are not those that the index has"),
        ("UPDATE cells SET seq = 1 WHERE seq = 2", "entry 2: its trials are not those that the index has"),
        ("INSERT INTO cells VALUES (zeroblob(16), 2)", "entry 2: its trials are not those that the index has"),
        ("DELETE FROM days", "the days of entry 1 are not those"),
        ("UPDATE days SET bytes = x'00'", "the days of entry 1 are not those"),
        ("DROP INDEX entries_of", "entries_of is missing"),
        ("CREATE TABLE mine (a)", "mine does not belong"),
    ],
)  # fmt: skip
def test_what_was_done_by_force_is_told(written: Path, statement: str, said: str):
    with by_force(written) as db:
        db.execute(statement)
    assert said in faults(written)


def test_without_its_triggers_a_ledger_is_not_whole(written: Path):
    with contextlib.closing(sqlite3.connect(written / "ledger.sqlite", isolation_level=None)) as db:
        db.execute("DROP TRIGGER entries_stay")
    assert "entries_stay is missing" in faults(written)


def test_an_end_that_was_cut_off_cleanly_is_told_by_a_head_that_was_noted(written: Path):
    noted = verify(written).head
    with by_force(written) as db:
        db.execute("DELETE FROM cells WHERE seq = 3")
        db.execute("DELETE FROM entries WHERE seq = 3")
    assert faults(written) == ""  # the chain alone cannot know it
    assert "cut off" in "\n".join(verify(written, noted).faults)


def rewritten(path: Path) -> None:
    frame = pl.read_parquet(path)
    frame.with_columns(sharpe=pl.col("sharpe") / 10).write_parquet(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "the returns of entry 1 are gone"),
        (lambda path: path.write_bytes(b"PAR1 no more"), "is not the file that entry 1 recorded"),
        (rewritten, "is not the file that entry 1 recorded"),
    ],
    ids=["gone", "damaged", "rewritten"],
)
def test_returns_that_are_not_those_are_told_and_still_count(written: Path, spoil: Callable[[Path], None], said: str):
    with opened(written) as found:
        spoil(written / "sweeps" / next(found.rows()).entry.file)
    assert said in faults(written)
    record = Record(BATCHES[0].identity.hypothesis, 0, 1, BATCHES[0].cells.ts)
    with opened(written) as found:
        own = tried(found, [row for row in found.rows() if is_of_hypothesis(row, record)], record)
    assert (own.unread, len(own.sharpe)) == (3, 3)


def test_a_ledger_of_a_newer_version_is_refused_in_words(written: Path):
    with contextlib.closing(sqlite3.connect(written / "ledger.sqlite", isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {LEDGER.schema + 1}")
    for work in (lambda: verify(written), lambda: opened(written).__enter__()):
        with pytest.raises(LedgerFailed, match="newer Trimtab"):
            work()


def test_another_file_is_no_ledger(ledger: Path):
    ledger.mkdir()
    with contextlib.closing(sqlite3.connect(ledger / "ledger.sqlite")) as db:
        db.execute("CREATE TABLE mine (a)")
    with pytest.raises(LedgerFailed, match="no trial ledger of Trimtab's"):
        recorded(ledger, batch_of(noise(1, 30)))
    (ledger / "ledger.sqlite").write_bytes(np.arange(1_000).tobytes())
    with pytest.raises(LedgerFailed, match="no trial ledger"):
        verify(ledger)
