"""The journal: what was booked is there, once and in order; one process writes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.chained import link as files_link
from trimtab.engine import events as ev
from trimtab.engine import lease
from trimtab.engine.events import Entry, encode, key_of, kind_of
from trimtab.engine.journal import Booked, JournalFailed, latest, open_journal, read, verify
from trimtab.types import SECOND, TrimtabError

_ids = st.text('ab/"[,é\x00', min_size=1, max_size=3)
_words = st.text(max_size=5).filter(lambda s: s.isprintable())
_instants = st.integers(0, 2**62)
_amounts = st.floats(allow_nan=False, allow_infinity=False)


def fill(trade_id: object = 1, **changed: Any) -> ev.Filled:
    given: dict[str, Any] = {
        "venue": "paper",
        "symbol": "BTCEUR",
        "trade_id": str(trade_id),
        "client_order_id": "T1",
        "lots": 5,
        "price": 40_000.25,
        "fee": 1.5,
        "executed": 7,
    }
    return ev.Filled(**{**given, **changed})


def order(client_order_id: str = "T1", **changed: Any) -> ev.OrderIntent:
    given: dict[str, Any] = {
        "client_order_id": client_order_id,
        "order_id": 1,
        "row": 3,
        "venue": "paper",
        "symbol": "BTCEUR",
        "lots": 5,
        "order_kind": "MARKET",
        "tif": "IOC",
    }
    return ev.OrderIntent(**{**given, **changed})


def bodies() -> st.SearchStrategy[ev.Body]:
    """Of all kinds; ids are few, so that many come twice."""
    array = st.sampled_from([np.ones((2, 3)), np.full((1, 2), np.nan), np.array([[np.inf, -0.0]])])
    return st.one_of(
        st.builds(fill, _ids, price=_amounts, lots=st.integers(-9, 9)),
        st.builds(order, _ids, lots=st.integers(-9, 9), limit_price=st.none() | _amounts),
        st.builds(ev.RowDecided, row=st.integers(0, 9), bars=array, weights=array),
        st.builds(ev.CancelIntent, cancel_id=_ids, client_order_id=_ids),
        st.builds(ev.Outcome, client_order_id=_ids, status=st.sampled_from(["NEW", "UNKNOWN", "FILLED"])),
        st.builds(
            ev.CashMoved, venue=_ids, currency=st.just("EUR"), amount=_amounts, flow=st.just("funding"), flow_id=_ids
        ),
        st.builds(ev.VenueChanged, venue=_ids, up=st.booleans()),
        st.builds(ev.Halted, reason=_words),
        st.builds(ev.Commanded, command=st.sampled_from(ev.COMMANDS), by=_words),
        st.builds(ev.Adjusted, venue=_ids, adjustment_id=_ids, reason=_words, amount=_amounts),
        st.builds(ev.BarLate, symbol=_ids, row=st.integers(0, 3), bar=st.just(np.array([1.0, np.nan]))),
        st.builds(ev.Started, run_id=_ids, code_version=_ids, symbols=st.just(("A",)), fields=st.just(("close",))),
    )


def entries() -> st.SearchStrategy[Entry]:
    return st.builds(Entry, _instants, bodies())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper.journal"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


def rows(path: Path) -> list[tuple[int, str, bytes]]:
    return [(e.ts, e.key, encode(e.body)) for e in read(path)]


# --- booking ---------------------------------------------------------------------------------------------------------


def test_what_is_booked_is_read_in_order_with_its_numbers(path: Path):
    with open_journal(path, "paper") as journal:
        assert journal.head[0] == 0
        assert journal.append([Entry(5, order()), Entry(4, fill())]) == [Booked(1, True), Booked(2, True)]
        assert journal.append([Entry(4, fill(2))]) == [Booked(3, True)]
        assert [(e.seq, e.ts, kind_of(e.body)) for e in read(path)] == [(1, 5, "order"), (2, 4, "fill"), (3, 4, "fill")]
        assert [e.seq for e in read(path, 3)] == [3]
        assert list(read(path, 4)) == []
        assert journal.head == (3, list(read(path))[-1].hash)


def test_what_comes_twice_is_booked_once_and_told(path: Path):
    with open_journal(path, "paper") as journal:
        journal.append([Entry(1, fill(1))])
        again = [Entry(9, fill(1)), Entry(9, fill(1, price=1.0)), Entry(9, fill(2)), Entry(9, fill(2))]
        assert journal.append(again) == [Booked(1, False), Booked(1, False, True), Booked(2, True), Booked(2, False)]
        assert journal.append([Entry(9, fill(1, symbol="ETHEUR"))]) == [Booked(3, True)]
        halts = [Entry(3, ev.Halted(reason="x"))] * 2
        assert [b.new for b in journal.append(halts)] == [True, True]
    assert verify(path).whole


def test_an_entry_that_cannot_be_stored_leaves_nothing_of_its_batch_and_the_journal_goes_on(path: Path):
    with open_journal(path, "paper") as journal:
        for bad in (Entry(1, fill(2, price=float("nan"))), Entry(-1, fill(2)), Entry(2**63, fill(2))):
            with pytest.raises(TrimtabError):
                journal.append([Entry(1, fill(1)), bad])
        assert journal.append([]) == []
        assert journal.append([Entry(1, fill(3))]) == [Booked(1, True)]


def test_an_append_is_one_commit(path: Path):
    with open_journal(path, "paper") as journal:
        said: list[str] = []
        journal._db.set_trace_callback(said.append)
        journal.append([Entry(1, fill(k)) for k in range(50)])
        assert [s for s in said if s.split()[0] in ("BEGIN", "COMMIT")] == ["BEGIN IMMEDIATE", "COMMIT"]
        said.clear()
        journal.append([])
        assert said == []


def test_every_commit_is_flushed_to_the_disk(path: Path):
    with open_journal(path, "paper") as journal:
        for setting, value in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 5000),
        ):
            assert journal._db.execute(f"PRAGMA {setting}").fetchone() == (value,)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(entries(), max_size=6), max_size=8), data=st.data())
def test_the_fold_is_what_was_appended_whatever_is_appended_and_however_often_it_is_opened(
    batches: list[list[Entry]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("journal") / "paper.journal"
    expected: list[tuple[int, str, bytes]] = []
    seen: dict[tuple[str, str], int] = {}
    journal = open_journal(path, "paper")
    for batch in batches:
        told = journal.append(batch)
        for (ts, body), booked in zip(batch, told, strict=True):
            key = (kind_of(body), key_of(body))
            new = not key[1] or key not in seen
            if new:
                expected.append((ts, key[1], encode(body)))
                seen[key] = len(expected)
            at = len(expected) if new else seen[key]
            assert booked == Booked(at, new, not new and expected[at - 1][2] != encode(body))
        if data.draw(st.booleans()):
            journal.close()
            journal = open_journal(path, "paper")
    journal.close()
    assert rows(path) == expected
    report = verify(path)
    assert report.whole
    assert report.events == len(expected)


# --- rows stay -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET ts = 9 WHERE seq = 1",
        "DELETE FROM events",
        "DELETE FROM events WHERE seq = 2",
        "INSERT OR REPLACE INTO events SELECT seq, 9, kind, key, body, prev, hash FROM events WHERE seq = 1",
        "INSERT OR REPLACE INTO events SELECT 3, 9, kind, key, body, prev, hash FROM events WHERE seq = 1",
        "INSERT INTO events SELECT 9, ts, kind, '', body, prev, hash FROM events WHERE seq = 1",
        "UPDATE journal SET account = 'mine'",
        "DELETE FROM journal",
    ],
)
def test_no_row_is_changed_or_taken_away(statement: str, path: Path):
    with open_journal(path, "paper") as journal:
        journal.append([Entry(1, fill(1)), Entry(2, fill(2))])
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(statement)
    db.close()
    assert verify(path).whole


# --- which journal ---------------------------------------------------------------------------------------------------


def test_a_journal_belongs_to_one_account(path: Path):
    open_journal(path, "paper").close()
    with pytest.raises(JournalFailed, match="'paper', not of 'live'"):
        open_journal(path, "live")
    open_journal(path, "paper").close()


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(path: Path):
    open_journal(path, "paper").close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    for use in (lambda: open_journal(path, "paper"), lambda: verify(path), lambda: list(read(path))):
        with pytest.raises(JournalFailed, match=r"newer Trimtab \(journal version 99.*update Trimtab"):
            use()


def test_another_sqlite_file_is_not_taken_for_a_journal(path: Path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE prices (x)")
    db.close()
    before = path.read_bytes()
    for use in (lambda: open_journal(path, "paper"), lambda: verify(path)):
        with pytest.raises(JournalFailed, match="no journal of Trimtab's"):
            use()
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"just text\n" * 500])
def test_a_file_that_is_no_database_is_not_read(content: bytes, path: Path):
    path.write_bytes(content)
    with pytest.raises(JournalFailed, match="no journal"):
        verify(path)


def test_a_journal_that_is_not_there_is_not_made_by_reading(path: Path):
    for use in (lambda: verify(path), lambda: list(read(path)), lambda: latest(path)):
        with pytest.raises(JournalFailed, match="there is no such journal"):
            use()
    assert not path.exists()


# --- opening and closing ---------------------------------------------------------------------------------------------


def test_whoever_could_not_open_a_journal_does_not_hold_it(path: Path):
    with open_journal(path, "paper") as journal:
        journal.append([Entry(1, fill(1))])
    altered(path, "UPDATE events SET ts = 2")
    with pytest.raises(JournalFailed, match="row 1 is broken"):
        open_journal(path, "paper")
    db = sqlite3.connect(path)
    assert lease.holder_of(db) is None
    db.close()


def test_a_heartbeat_lays_the_log_into_the_file_so_that_commits_need_not(path: Path):
    clock = Clock()
    log = path.with_name("paper.journal-wal")
    with open_journal(path, "paper", clock=clock) as journal:
        sizes: list[int] = []
        for k in range(40):
            journal.append([Entry(k, fill(f"{k}-{n}")) for n in range(100)])
            clock.now += SECOND
            journal.heartbeat()
            sizes.append(log.stat().st_size)
        assert max(sizes) == sizes[-1] < 500_000 < path.stat().st_size
        assert verify(path).whole


def test_a_closed_journal_takes_nothing(path: Path):
    journal = open_journal(path, "paper")
    journal.close()
    journal.close()
    with pytest.raises(JournalFailed, match="is closed"):
        journal.append([Entry(1, fill())])


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_the_newest_whole_snapshot_is_found_and_two_are_kept(path: Path):
    with open_journal(path, "paper") as journal:
        assert latest(path) is None
        for k in range(4):
            journal.append([Entry(k, fill(k))])
            assert journal.snapshot(k, bytes([k]) * 10) == 2 * k + 1
        assert latest(path) == (7, bytes([3]) * 10)
    marks = [e.body.seq for e in read(path) if isinstance(e.body, ev.SnapshotTaken)]
    assert marks == [1, 3, 5, 7]
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM snapshots").fetchone() == (2,)
    db.execute("UPDATE snapshots SET bytes = x'00' WHERE seq = 7")
    db.commit()
    assert latest(path) == (5, bytes([2]) * 10)
    report = verify(path)
    assert report.whole
    assert report.warnings == ("the snapshot of row 7 is damaged and will not be used",)
    before = rows(path)
    db.execute("DELETE FROM snapshots")
    db.commit()
    db.close()
    assert latest(path) is None
    assert rows(path) == before
    assert verify(path).whole


def test_a_snapshot_of_another_history_is_not_used(path: Path, tmp_path: Path):
    other = tmp_path / "other.journal"
    for place, price in ((path, 1.0), (other, 2.0)):
        with open_journal(place, "paper", clock=Clock()) as journal:
            journal.append([Entry(1, fill(1, price=price))])
            journal.snapshot(2, b"state")
    db = sqlite3.connect(path)
    db.execute("ATTACH ? AS other", (str(other),))
    db.execute("DELETE FROM snapshots")
    db.execute("INSERT INTO snapshots SELECT * FROM other.snapshots")
    db.commit()
    db.close()
    assert latest(other) == (1, b"state")
    assert latest(path) is None


# --- what verify names -----------------------------------------------------------------------------------------------


def altered(path: Path, *statements: str) -> None:
    """Someone changes the file by SQL, and puts the triggers back so that it looks as before."""
    db = sqlite3.connect(path)
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    for _, sql in triggers:
        db.execute(sql)
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("statement", "seq", "said"),
    [
        ("UPDATE events SET ts = 99 WHERE seq = 4", 4, "not what was booked"),
        ("UPDATE events SET body = replace(body, '40000.25', '40000.26') WHERE seq = 6", 6, "not what was booked"),
        ("UPDATE events SET kind = 'halt' WHERE seq = 2", 2, "not what was booked"),
        ("UPDATE events SET key = key || ' ' WHERE seq = 2", 2, "not what was booked"),
        ("UPDATE events SET prev = zeroblob(32) WHERE seq = 5", 5, "does not follow"),
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 5", 5, "not what was booked"),
        ("DELETE FROM events WHERE seq = 7", 7, "missing, 8 follows"),
        ("DELETE FROM events WHERE seq < 3", 1, "missing, 3 follows"),
        ("UPDATE events SET seq = -1 WHERE seq = 1", 1, "missing, 2 follows"),
        ("UPDATE journal SET account = 'mine'", 1, "does not follow"),
    ],
)
def test_the_first_row_that_was_tampered_with_is_named(statement: str, seq: int, said: str, path: Path):
    with open_journal(path, "paper") as journal:
        journal.append([Entry(k, fill(k)) for k in range(10)])
    altered(path, statement)
    report = verify(path)
    assert not report.whole
    assert (report.broken, report.events) == (seq, seq - 1)
    assert any(fault.seq == seq and said in fault.what for fault in report.faults), report.faults
    good: list[int] = []
    with pytest.raises(JournalFailed, match=rf"row {seq} is broken"):
        good += [event.seq for event in read(path)]


def test_a_forged_chain_is_caught_by_the_hash_that_was_noted(path: Path):
    with open_journal(path, "paper") as journal:
        journal.append([Entry(k, fill(k)) for k in range(10)])
    noted = verify(path).head
    with open_journal(path, "paper") as journal:
        journal.append([Entry(11, fill(11))])
    assert verify(path, head=noted[:16].upper()).whole
    altered(path, "DELETE FROM events WHERE seq > 9")
    assert verify(path).whole  # the chain alone cannot know of an end that is gone
    assert "was cut off" in verify(path, head=noted).faults[0].what


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TRIGGER events_stay", "events_stay is missing"),
        ("DROP INDEX events_once", "events_once is missing"),
        ("DROP TABLE lease", "lease is missing"),
        ("CREATE TRIGGER quiet AFTER INSERT ON events BEGIN SELECT 1; END", "quiet does not belong"),
    ],
)
def test_what_guards_the_rows_is_looked_at_too(statement: str, said: str, path: Path):
    open_journal(path, "paper").close()
    db = sqlite3.connect(path)
    db.execute(statement)
    db.close()
    assert any(said in fault.what for fault in verify(path).faults)


def test_a_key_that_is_booked_twice_behind_the_journals_back_is_named(path: Path):
    with open_journal(path, "paper") as journal:
        journal.append([Entry(1, fill(1))])
        _, prev = journal.head
    ts, kind, key, body = 2, "fill", key_of(fill(1)), encode(fill(1)).decode()
    own = files_link(prev, 2, ts, kind, key, body)
    db = sqlite3.connect(path)
    db.execute("DROP INDEX events_once")
    db.execute("DROP TRIGGER events_follow")
    db.execute("INSERT INTO events VALUES (2, ?, ?, ?, ?, ?, ?)", (ts, kind, key, body, prev, own))
    db.commit()
    db.close()
    report = verify(path)
    assert report.broken == 2
    assert any("a second time" in fault.what for fault in report.faults)


def test_a_reader_sees_the_journal_as_it_was_when_it_began(path: Path):
    with open_journal(path, "paper") as journal:
        journal.append([Entry(1, fill(1)), Entry(1, fill(2))])
        reader = read(path)
        assert next(reader).seq == 1
        journal.append([Entry(1, fill(3))])
        assert [event.seq for event in reader] == [2]
