"""A day of 100 instruments at 1m with three models at full speed: no memory, no time and no task is lost on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trimtab.engine.inbox import MOST
from trimtab.engine.journal import verify

SOAK = Path(__file__).with_name("soak.py")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell the memory of a process")
@pytest.mark.parametrize("rows", [200, pytest.param(1_440, marks=pytest.mark.nightly)])
def test_a_soak_is_flat(rows: int, tmp_path: Path):
    words = [sys.executable, str(SOAK), str(rows), str(tmp_path / "account")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows"], told["differs"], told["alerts"], told["threads"]) == (rows, [], [], [])
    assert told["orders"]["FILLED"] > rows
    quarter = rows // 4
    memory, latency, tasks = (np.array(told[name]) for name in ("memory", "latency", "tasks"))
    # A snapshot takes memory for a moment, and a simulated venue keeps its last trades: a few MB in a day of this.
    before, after = np.median(memory[quarter : 2 * quarter]), np.median(memory[-quarter:])
    assert abs(after / before - 1.0) < 0.05, f"{before / 1e6:.1f} MB, and {after / 1e6:.1f} MB at the end"
    assert memory[quarter:].max() < 1.15 * before
    assert len(set(tasks[quarter : -MOST - 1])) == 1  # the feed's task ends while its last rows wait
    # Medians: what else the machine does must not be taken for a drift.
    second, last = np.median(latency[quarter : 2 * quarter]), np.median(latency[-quarter:])
    assert last < 1.5 * second, f"{second * 1e3:.2f} ms, and {last * 1e3:.2f} ms at the end"
    report = verify(tmp_path / "account" / "account.journal")
    assert report.whole
    assert report.events > rows
