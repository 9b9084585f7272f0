"""The journal when things go wrong: killed processes, torn logs, full disks, flipped bytes; nothing is half there."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trimtab import chained
from trimtab.engine import file as files
from trimtab.engine.events import Entry, Filled, Halted, encode
from trimtab.engine.journal import Journal, JournalFailed, open_journal, read, verify

KILLS = 12
FRAME = 24 + 4096  # bytes of a page in the log, with its header
LOG_HEADER = 32


def fill(trade_id: object, venue: str = "paper") -> Filled:
    return Filled(
        venue=venue, symbol="BTCEUR", trade_id=str(trade_id), client_order_id="T1", lots=5, price=40_000.25, fee=1.5,
        executed=7,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper.journal"


def bodies(path: Path) -> list[bytes]:
    return [encode(event.body) for event in read(path)]


# --- kill -9 ---------------------------------------------------------------------------------------------------------

WRITER = """
import itertools, random, sys
sys.path.insert(0, sys.argv[3])
from test_journal_damage import fill
from trimtab.engine.events import Entry
from trimtab.engine.journal import open_journal
seconds = itertools.count(0, 10**9)
journal = open_journal(sys.argv[1], "paper", clock=seconds.__next__)  # a heartbeat is always due
batch = int(sys.argv[2])
print("open", flush=True)
while True:
    size = random.randint(1, 40)
    journal.append([Entry(batch, fill(f"{batch}-{k}-{size}")) for k in range(size)])
    if batch % 3 == 0:
        journal.heartbeat()
    if batch % 7 == 0:
        journal.snapshot(batch, b"state" * 2000)
    print(batch, size, flush=True)
    batch += 1
"""


def run_until_killed(path: Path, batch: int, seconds: float) -> list[tuple[int, int]]:
    """(batch, its size) of all that a process said were durable before SIGKILL met it after so many seconds."""
    command = [sys.executable, "-c", WRITER, str(path), str(batch), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        time.sleep(seconds)
        writer.kill()
        said = writer.stdout.read().split("\n")[:-1]  # what follows the last end of line was cut short
    return [(int(batch), int(size)) for batch, size in (line.split() for line in said)]


def test_a_killed_process_loses_nothing_that_it_said_was_booked(path: Path):
    seed = int.from_bytes(os.urandom(4)) if not os.environ.get("CI") else 0
    rng = random.Random(seed)
    batch, durable = 0, 0
    for kill in range(KILLS):
        said = run_until_killed(path, batch, rng.uniform(0.0, 0.08))
        durable += sum(size for _, size in said)
        booked: dict[int, list[str]] = {}
        for event in read(path):
            if isinstance(event.body, Filled):
                booked.setdefault(event.ts, []).append(event.body.trade_id)
        where = f"seed {seed}, kill {kill}"
        assert all(len(booked.get(number, ())) == size for number, size in said), where
        for number, ids in booked.items():  # a batch is there whole or not at all, in its order
            assert ids == [f"{number}-{k}-{len(ids)}" for k in range(len(ids))], where
        assert sorted(booked) == list(range(len(booked))), where
        assert len(booked) - (batch + len(said)) in (0, 1), where  # one may be durable that was not said to be
        assert verify(path).whole, where
        batch = len(booked)
    assert durable > KILLS, "the processes were killed before they had booked anything"


# --- a log that was cut off or scribbled on ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[int]]:
    """A journal and the log beside it as a loss of power leaves them: nothing of the log is in the file yet. And how
    long the log was after each of the batches, the first of them with nothing booked."""
    folder = tmp_path_factory.mktemp("torn")
    path = folder / "live" / "paper.journal"
    lengths: list[int] = []
    with open_journal(path, "paper") as journal:
        journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        journal._db.execute("PRAGMA wal_autocheckpoint = 0")
        log = path.with_name("paper.journal-wal")
        for batch in range(25):
            journal.append([Entry(batch, fill(f"{batch}-{k}")) for k in range(batch % 4 * 8 + 1)])
            lengths.append(log.stat().st_size)
        copied = [shutil.copy(place, folder / place.name) for place in (path, log)]
    return Path(copied[0]), Path(copied[1]), lengths


def batches_of(path: Path) -> list[int]:
    """The batch of each event."""
    return [event.ts for event in read(path)]


WHOLE = [batch for batch in range(25) for _ in range(batch % 4 * 8 + 1)]


def laid_out(folder: Path, journal: Path, log: bytes) -> Path:
    folder.mkdir()
    path = Path(shutil.copy(journal, folder / "paper.journal"))
    path.with_name("paper.journal-wal").write_bytes(log)
    return path


def test_a_log_cut_anywhere_leaves_the_batches_that_are_whole(torn: tuple[Path, Path, list[int]], tmp_path: Path):
    journal, log_file, lengths = torn
    log = log_file.read_bytes()
    rng = random.Random(0)
    cuts = [LOG_HEADER + k * FRAME for k in range((len(log) - LOG_HEADER) // FRAME + 1)]
    cuts += [0, 1, LOG_HEADER - 1, *(rng.randrange(len(log)) for _ in range(60))]
    for n, cut in enumerate(cuts):
        path = laid_out(tmp_path / str(n), journal, log[:cut])
        whole = sum(cut >= length for length in lengths)
        assert verify(path).whole, cut
        assert batches_of(path) == [batch for batch in WHOLE if batch < whole], cut
        with open_journal(path, "paper") as again:  # and goes on from there
            again.append([Entry(99, fill("again"))])
        assert verify(path).whole, cut
        assert batches_of(path) == [*(batch for batch in WHOLE if batch < whole), 99], cut


def test_a_log_with_a_bad_byte_leaves_a_prefix_of_batches(torn: tuple[Path, Path, list[int]], tmp_path: Path):
    journal, log_file, lengths = torn
    log = log_file.read_bytes()
    rng = random.Random(1)
    for n in range(80):
        at = rng.randrange(len(log))
        bad = bytearray(log)
        bad[at] ^= 1 << rng.randrange(8)
        path = laid_out(tmp_path / str(n), journal, bytes(bad))
        report = verify(path)
        assert report.whole, (at, report)
        found = batches_of(path)
        assert found == WHOLE[: len(found)]
        assert set(found) == set(range(len(set(found)))), at
        assert len(set(found)) >= sum(at >= length for length in lengths), at  # what was before the byte is there


# --- bytes that change in the file ------------------------------------------------------------------------------------


def readable(path: Path) -> list[tuple[object, ...]]:
    """All that can be read of a journal but what is disposable (snapshots, the lease)."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = (
            db.execute("SELECT * FROM events ORDER BY seq").fetchall() + db.execute("SELECT * FROM journal").fetchall()
        )
        return [*found, *db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()]
    finally:
        db.close()


def test_a_flipped_byte_is_found_or_in_a_place_that_holds_nothing(path: Path, tmp_path: Path):
    with open_journal(path, "paper") as journal:
        journal.append([Entry(k, fill(k)) for k in range(60)])
        journal.append([Entry(99, Halted(reason="x" * 9_000))])  # longer than a page
        journal.snapshot(100, b"state" * 50)
    data, before = path.read_bytes(), readable(path)
    text = data.find(b"40000.25")
    assert text > 0
    rng = random.Random(2)
    found = 0
    places = [text, *rng.sample(range(len(data)), 700)]
    copy = tmp_path / "copy.journal"
    for at in places:
        bad = bytearray(data)
        bad[at] ^= 1 << rng.randrange(8)
        for beside in ("-wal", "-shm"):
            copy.with_name(f"{copy.name}{beside}").unlink(missing_ok=True)
        copy.write_bytes(bad)
        try:
            report = verify(copy)
        except JournalFailed:
            found += 1
            continue
        if not report.whole or report.warnings:
            found += 1
        else:
            assert readable(copy) == before, f"byte {at} of {len(data)}"
        assert at != text or report.broken, "a byte of a row"
    used = sum(byte != 0 for byte in data) / len(data)
    assert found / len(places) > 0.8 * used  # the rest of a page is empty


# --- disks that fail --------------------------------------------------------------------------------------------------


def fails(journal: Journal, *said: str) -> None:
    """The next append fails once, names the file and what is wrong, and from then on the journal takes nothing."""
    with pytest.raises(JournalFailed) as failed:
        journal.append([Entry(1, fill(f"lost-{k}")) for k in range(3_000)])
    text = str(failed.value)
    assert text.startswith(f"{journal.path}: appending failed: ")
    for words in said:
        assert words in text
    with pytest.raises(JournalFailed, match="nothing more until it is opened again"):
        journal.append([Entry(1, fill("after"))])
    journal.close()


def test_a_full_disk_stops_the_journal_and_loses_nothing(path: Path):
    journal = open_journal(path, "paper")
    journal.append([Entry(1, fill("kept"))])
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages + 3}")
    fails(journal, "the disk is full", "make room")
    assert bodies(path) == [encode(fill("kept"))]
    assert verify(path).whole
    with open_journal(path, "paper") as again:
        again.append([Entry(2, fill("next"))])
    assert len(bodies(path)) == 2


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from test_journal_damage import fill
from trimtab.engine.events import Entry
from trimtab.engine.journal import JournalFailed, open_journal
journal = open_journal(sys.argv[1], "paper")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
booked = 0
try:
    while True:
        journal.append([Entry(booked, fill(f"{booked}-{k}")) for k in range(7)])
        booked += 1
except JournalFailed as failed:
    print(booked, failed)
    journal.close()
"""


@pytest.mark.parametrize("limit", [30_000, 100_003, 262_144])
def test_a_file_that_may_not_grow_stops_the_journal_between_two_batches(limit: int, path: Path):
    command = [sys.executable, "-c", LIMITED, str(path), str(Path(__file__).parent), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    booked, said = done.stdout.split(" ", 1)
    assert "appending failed" in said
    assert "df, dmesg, quotas" in said or "make room" in said
    assert verify(path).whole
    assert batches_of(path) == [batch for batch in range(int(booked)) for _ in range(7)]
    with open_journal(path, "paper") as again:
        again.append([Entry(1, fill("next"))])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 96 KiB."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    if mount is None or umount is None or subprocess.run([mount, *words], capture_output=True, check=False).returncode:
        pytest.skip("needs a small disk, which only root may mount")
    yield folder
    subprocess.run([umount, str(folder)], check=True)


def test_a_disk_without_room_is_told_at_the_opening_and_later(small_disk: Path):
    path, ballast = small_disk / "paper.journal", small_disk / "ballast"
    ballast.write_bytes(b"x" * 60_000)
    with pytest.raises(JournalFailed, match=r"paper\.journal: opening failed: the (disk is full|system refused)"):
        open_journal(path, "paper")
    ballast.unlink()
    fails(open_journal(path, "paper"), "paper.journal")
    assert verify(path).whole
    assert batches_of(path) == []


def test_a_disk_that_may_only_be_read_is_told_and_read(small_disk: Path):
    path = small_disk / "paper.journal"
    with open_journal(path, "paper") as journal:
        journal.append([Entry(1, fill(1))])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(JournalFailed, match=r"paper\.journal: locking failed: Read-only"):
        open_journal(path, "paper")
    assert verify(path).whole
    assert bodies(path) == [encode(fill(1))]


def test_a_file_that_may_not_be_written_to_is_refused(path: Path):
    open_journal(path, "paper").close()
    os.chmod(path, 0o444)
    if os.access(path, os.W_OK):
        pytest.skip("root may write anywhere")
    with pytest.raises(JournalFailed, match="cannot be written to"):
        open_journal(path, "paper")


def test_a_journal_that_turns_read_only_stops(path: Path):
    journal = open_journal(path, "paper")
    journal._db.execute("PRAGMA query_only = ON")
    fails(journal, "it cannot be written to", "permissions")


def test_a_lock_of_another_program_is_waited_for_and_then_told(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chained, "PATIENCE", 0.1)
    journal = open_journal(path, "paper")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    fails(journal, "another program has locked it", "close what has it open")
    other.close()


def test_a_damaged_page_stops_the_journal(path: Path):
    journal = open_journal(path, "paper")
    journal.append([Entry(k, fill(k)) for k in range(500)])
    journal.close()
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(JournalFailed, match="damaged"):
        open_journal(path, "paper")
    assert not verify(path).whole


@pytest.mark.parametrize("place", ["a/file/x.journal", "folder"])
def test_a_place_where_no_file_can_be_is_told(place: str, tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(JournalFailed, match="failed: "):
        open_journal(tmp_path / place, "paper")


def test_an_interrupt_inside_an_append_leaves_nothing_of_it(path: Path, monkeypatch: pytest.MonkeyPatch):
    with open_journal(path, "paper") as journal:
        insert: Callable[..., bytes] = journal._insert

        def interrupted(seq: int, *row: object) -> bytes:
            if seq == 3:
                raise KeyboardInterrupt
            return insert(seq, *row)

        monkeypatch.setattr(journal, "_insert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append([Entry(1, fill(k)) for k in range(9)])
        monkeypatch.undo()
        journal.append([Entry(1, fill(k)) for k in range(2)])
    assert bodies(path) == [encode(fill(0)), encode(fill(1))]
    assert verify(path).whole


def test_a_making_that_was_cut_short_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = {**files.OBJECTS, "more": "CREATE NONSENSE"}
    with monkeypatch.context() as patched:
        patched.setattr(files, "JOURNAL", files.JOURNAL._replace(objects=broken))
        with pytest.raises(JournalFailed, match="opening failed"):
            open_journal(path, "paper")
    with open_journal(path, "paper") as journal:
        journal.append([Entry(1, fill(1))])
    assert verify(path).whole
