"""Writers that are killed: what was answered is there, all of it is whole, and what they left is no fault."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.research.ledger.making import batch_of, noise, recorded
from trimtab.research.ledger.reading import opened, verify

ROOT = Path(__file__).resolve().parents[4]


def killed(folder: Path, seed: int, count: int) -> None:
    """So many writers, each killed at a random moment of its work."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, str(Path(__file__).with_name("writer.py")), "kill", str(folder), str(seed), str(count)]
    subprocess.run(command, env=environment, check=True, timeout=60 + 0.2 * count)


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 25), pytest.param(1, 1_000, marks=pytest.mark.nightly)], ids=["25", "1000"]
)
def test_what_was_answered_before_a_kill_is_in_a_ledger_that_is_whole(ledger: Path, seed: int, count: int):
    killed(ledger, seed, count)
    report = verify(ledger)
    assert report.faults == ()
    answered = (ledger / "answers").read_text().split()
    assert len(answered) > count, "too few were answered to prove anything"
    with opened(ledger) as found:
        assert not [key for key in answered if found.seq_of(bytes.fromhex(key)) is None]
        rows = list(found.rows())
        # One more may have been written by each than was answered.
        assert 0 <= report.trials - len(answered) <= 100 * count
        for row in rows:
            found.cells(row)
    before = len(rows)
    assert recorded(ledger, batch_of(noise(2, 30), strategy="another"))[0].seq == before + 1
    assert not list((ledger / "sweeps").glob(".writing-*"))


def test_a_file_of_which_no_entry_came_is_no_fault(ledger: Path):
    recorded(ledger, batch_of(noise(3, 30)))
    (ledger / "sweeps" / f"{'0' * 32}.parquet").write_bytes(b"what a killed writer left")
    report = verify(ledger)
    assert (report.trials, report.faults) == (3, ())


def test_what_was_half_written_is_cleared_unless_its_writer_lives(ledger: Path):
    recorded(ledger, batch_of(noise(3, 30)))
    dead, alive = (ledger / "sweeps" / f".writing-{name}" for name in ("dead", "alive"))
    dead.write_bytes(b"half")
    with alive.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        other = threading.Thread(target=lambda: recorded(ledger, batch_of(noise(3, 30), 5)))
        other.start()
        other.join()
        assert (dead.exists(), alive.exists()) == (False, True)
    assert verify(ledger).trials == 6


def test_a_ledger_whose_making_was_cut_short_is_made_by_the_next(ledger: Path):
    ledger.mkdir()
    (ledger / "ledger.sqlite").touch()
    assert verify(ledger).entries == 0
    assert recorded(ledger, batch_of(noise(1, 30)))[0].seq == 1
    assert verify(ledger).faults == ()
