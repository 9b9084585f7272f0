"""One writer per account: who is refused, who takes over, and what whoever only looks is told. Real processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.engine.test_journal import Clock, fill
from trimtab.engine import lease
from trimtab.engine.events import Entry
from trimtab.engine.journal import JournalFailed, open_journal, verify
from trimtab.types import SECOND


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper.journal"


HOLD = """
import sys
from trimtab.engine.journal import open_journal
journal = open_journal(sys.argv[1], "paper")
print("held", journal.took_over_from is not None, flush=True)
sys.stdin.read()
if len(sys.argv) > 2: journal.close()
"""


def holder(path: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_process_is_refused_and_told_who_holds_it_since_when(path: Path):
    with holder(path) as first:
        assert told(first) == "held False"
        with pytest.raises(JournalFailed, match=rf"held by process {first.pid} since 20..-..-..T.*one writer"):
            open_journal(path, "paper")
        assert verify(path).whole  # readers need no lease
        first.kill()


def test_the_lease_of_a_dead_process_is_taken_over_and_one_that_was_given_back_is_not(path: Path):
    with holder(path) as first:
        assert told(first) == "held False"
        first.kill()
    with open_journal(path, "paper") as journal:
        assert journal.took_over_from is not None
        assert journal.took_over_from.pid == first.pid
    with holder(path, "close") as second:
        assert told(second) == "held False"
        second.communicate()
    with open_journal(path, "paper") as journal:
        assert journal.took_over_from is None


def test_deleting_the_lock_file_lets_nobody_in_while_the_holder_lives(path: Path):
    with holder(path) as first:
        assert told(first) == "held False"
        path.with_name(f"{path.name}.lock").unlink()
        with pytest.raises(JournalFailed, match=f"held by process {first.pid}"):
            open_journal(path, "paper")
        first.kill()
    open_journal(path, "paper").close()


@pytest.mark.parametrize("changed", [{"boot": "of another start"}, {"begun": 1}, {"pid": 2**22 + 1}])
def test_a_process_of_another_start_or_with_a_used_number_holds_nothing(changed: dict[str, Any], path: Path):
    open_journal(path, "paper").close()
    mine = lease.this_process(5)
    if not mine.begun:
        pytest.skip("this system does not tell when a process began")
    db = sqlite3.connect(path)
    db.execute("INSERT INTO lease VALUES (1, ?, ?, ?, ?, ?)", mine._replace(pid=os.getppid())._replace(**changed))
    db.commit()
    db.close()
    with open_journal(path, "paper") as journal:
        assert journal.took_over_from is not None


def test_one_process_does_not_open_a_journal_twice(path: Path):
    with open_journal(path, "paper"), pytest.raises(JournalFailed, match=f"held by process {os.getpid()}"):
        open_journal(path, "paper")
    open_journal(path, "paper").close()


def test_signs_of_life_go_along_with_appends_and_need_not_wait_for_one(path: Path):
    clock = Clock()
    with open_journal(path, "paper", clock=clock) as journal:

        def beat() -> int:
            found = lease.holder_of(journal._db)
            assert found is not None
            return found.heartbeat

        begun = clock.now
        clock.now += SECOND // 2
        journal.append([Entry(1, fill(1))])
        journal.heartbeat()
        assert beat() == begun
        clock.now += SECOND
        journal.append([Entry(1, fill(2))])
        assert beat() == clock.now
        clock.now += SECOND
        journal.heartbeat()
        assert beat() == clock.now
        clock.now -= 3_600 * SECOND  # the clock is set back
        journal.heartbeat()
        assert beat() == clock.now


def altered(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


def test_of_many_that_begin_at_once_one_takes_over(path: Path):
    with holder(path) as dead:
        assert told(dead) == "held False"
        dead.kill()
    begun = [holder(path) for _ in range(4)]
    said = [told(process) for process in begun]
    assert sorted(said) == ["", "", "", "held True"]
    for process in begun:
        process.communicate()
        assert (process.returncode == 0) == (said[begun.index(process)] != "")


def test_a_process_that_is_only_stopped_still_holds(path: Path):
    """Nobody may take over from one that can wake up in the midst of an order."""
    with holder(path) as first:
        assert told(first) == "held False"
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(JournalFailed, match=f"held by process {first.pid}"):
            open_journal(path, "paper")
        first.kill()


@pytest.mark.parametrize("statement", ["DELETE FROM lease", "UPDATE lease SET pid = 4194305, boot = 'another'"])
def test_the_lock_decides_whatever_the_row_says(statement: str, path: Path):
    with holder(path) as first:
        assert told(first) == "held False"
        altered(path, statement)
        with pytest.raises(JournalFailed, match=r"held by (another process|process 4194305)"):
            open_journal(path, "paper")
        first.kill()


def test_who_only_looks_is_told_who_holds_it_and_keeps_nobody_out(path: Path):
    with holder(path, "close") as first:
        assert told(first) == "held False"
        found, lives = lease.engine_of(path)
        assert found is not None
        assert (found.pid, found.boot, lives) == (first.pid, lease.boot_id(), True)
        first.communicate()
    assert lease.engine_of(path) == (None, False)
    with holder(path) as second:
        assert told(second) == "held False"
        second.kill()
    found, lives = lease.engine_of(path)
    assert found is not None
    assert (found.pid, lives) == (second.pid, False)
    open_journal(path, "paper").close()


def test_who_looks_at_what_is_no_journal_is_told(path: Path):
    with pytest.raises(JournalFailed, match=r"paper\.journal"):
        lease.engine_of(path)
    path.write_bytes(b"no database " * 400)
    with pytest.raises(JournalFailed, match=r"paper\.journal"):
        lease.engine_of(path)
