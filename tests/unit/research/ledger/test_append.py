"""What is written: each trial once, with the returns and moments of its run; and what happens where it cannot be."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trimtab as tt
from tests.unit.research.ledger.making import FREE, GRID, batch_of, noise, panel_of, recorded
from trimtab.research.inference.sharpe import moments_of
from trimtab.research.ledger.file import LedgerFailed, Row
from trimtab.research.ledger.reading import Ledger, opened, verify

ROOT = Path(__file__).resolve().parents[4]


@contextlib.contextmanager
def entries(folder: Path) -> Iterator[tuple[Ledger, list[Row]]]:
    with opened(folder) as ledger:
        yield ledger, list(ledger.rows())


def test_of_a_sweep_that_is_half_known_the_other_half_is_written(ledger: Path):
    panel = panel_of()
    tt.sweep("sma_cross", panel, {"fast": [5], "slow": [30, 40]}, costs=FREE)
    tt.sweep("sma_cross", panel, GRID, costs=FREE)
    tt.sweep("sma_cross", panel, GRID, costs=FREE)
    with entries(ledger) as (found, rows):
        assert [row.entry.trials for row in rows] == [2, 2]
        fast, slow = (found.cells(rows[1]).params[:, rows[1].entry.names.index(f"0.{name}")] for name in GRID)
        assert (fast.tolist(), slow.tolist()) == ([10.0, 10.0], [30.0, 40.0])
        assert [row.kind for row in rows] == ["sweep", "sweep"]
    assert verify(ledger).faults == ()


def test_a_set_that_is_asked_twice_in_one_sweep_is_one_trial(ledger: Path):
    tt.sweep("sma_cross", panel_of(), {"fast": [5, 5, 10], "slow": [30]}, costs=FREE)
    assert verify(ledger).trials == 2


def test_sets_without_a_forecast_are_no_trials(ledger: Path):
    frame = tt.sweep("sma_cross", panel_of(), {"fast": [5], "slow": [30, 200]}, costs=FREE)
    assert frame["final_equity"].is_nan().to_list() == [False, True]
    assert verify(ledger).trials == 1


def test_returns_and_moments_are_those_of_the_runs(ledger: Path):
    panel = panel_of(400)
    tt.sweep("sma_cross", panel, GRID, costs=FREE)
    run = tt.simulate(panel, np.where(np.arange(400) % 30 < 15, 1.0, 0.0), costs=FREE)
    with entries(ledger) as (found, rows):
        cells, alone = (found.cells(row) for row in rows)
    runs = [
        tt.backtest("sma_cross", panel, params={"fast": f, "slow": s}, costs=FREE) for f in (5, 10) for s in (30, 40)
    ]
    for k, (own, of) in enumerate([*((cells, run) for run in runs), (alone, run)]):
        place = k if of is not run else 0
        curves = of.curves
        returns = curves.returns(curves.equity)
        np.testing.assert_array_equal(own.returns[place], returns.astype(np.float32))
        assert own.ts.tolist() == curves.ts.tolist()
        expected = moments_of(own.returns[place].astype(np.float64))
        np.testing.assert_allclose(own.moments[place], expected[1:], rtol=1e-12, atol=1e-14)


def test_a_trial_that_never_traded_counts_without_a_sharpe(ledger: Path):
    panel = panel_of()
    tt.simulate(panel, np.zeros(len(panel.ts)), costs=FREE)
    with entries(ledger) as (found, rows):
        assert rows[0].entry.trials == 1
        assert np.isnan(found.cells(rows[0]).moments).all()
    assert verify(ledger).faults == ()


def test_where_nothing_can_be_written_the_run_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / "trials"
    place.write_text("a file where the folder ought to be")
    monkeypatch.setenv("TRIMTAB_TRIALS", str(place))
    panel = panel_of()
    run = tt.backtest("sma_cross", panel, params={"fast": 5, "slow": 30}, costs=FREE)
    assert run.recorded is None
    assert str(place) in run.unrecorded
    assert run.notes[0].startswith("Warning: this run is not in the trial ledger")
    assert run.unrecorded in run.notes[0]
    with pytest.warns(RuntimeWarning, match="this sweep is not in the trial ledger"):
        assert tt.sweep("sma_cross", panel, GRID, costs=FREE).height == 4
    assert place.read_text() == "a file where the folder ought to be"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read(ledger: Path, monkeypatch: pytest.MonkeyPatch):
    panel = panel_of()
    tt.sweep("sma_cross", panel, GRID, costs=FREE)
    kept = ledger.with_name("kept")
    shutil.copytree(ledger, kept)
    monkeypatch.setenv("TRIMTAB_TRIALS", str(kept))
    for path in (*kept.rglob("*"), kept):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        run = tt.backtest("sma_cross", panel, params={"fast": 6, "slow": 30}, costs=FREE)
        assert "cannot be written to" in run.unrecorded
        assert verify(kept).faults == ()
    finally:
        for path in (kept, *kept.rglob("*")):
            path.chmod(0o700)


def test_a_store_that_is_a_file_does_not_stop_a_run_of_given_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRIMTAB_TRIALS")
    monkeypatch.setenv("TRIMTAB_DATA", str(tmp_path / "store"))
    (tmp_path / "store").write_text("")
    panel = panel_of()
    run = tt.simulate(panel, np.ones(len(panel.ts)), costs=FREE)
    assert run.recorded is None
    assert "is a file" in run.unrecorded


def test_a_ledger_that_was_moved_away_is_begun_anew(ledger: Path):
    recorded(ledger, batch_of(noise(1, 20)))
    shutil.move(ledger, ledger.with_name("away"))
    assert recorded(ledger, batch_of(noise(1, 20)))[0].fresh == 1
    shutil.rmtree(ledger)
    shutil.copytree(ledger.with_name("away"), ledger)  # another file by the same name
    assert recorded(ledger, batch_of(noise(1, 20), 7))[0].seq == 2


# --- several at once --------------------------------------------------------------------------------------------------


def test_processes_that_append_at_once_leave_one_chain_with_each_trial_once(ledger: Path):
    ledger.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, str(Path(__file__).with_name("writer.py")), "race", str(ledger), "4"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    report = verify(ledger)
    own, shared = sum(6 if n % 3 else 1 for n in range(1, 12, 2)), sum(6 if n % 3 else 1 for n in range(0, 12, 2))
    assert (report.faults, report.trials) == ((), 4 * own + shared)


def test_threads_that_append_the_same_at_once_write_it_once(ledger: Path):
    fresh: list[int] = []
    begin = threading.Barrier(4)

    def work() -> None:
        begin.wait()
        fresh.extend(recorded(ledger, batch_of(noise(5, 30, n), 3 * n))[0].fresh for n in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify(ledger)
    assert (sum(fresh), report.trials, report.faults) == (32, 32, ())


def test_what_another_wrote_between_the_look_and_the_write_is_not_written_again(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
):
    from trimtab.research.ledger import file

    recorded(ledger, batch_of(noise(1, 30), 90))
    insert, raced = file._insert, [False]

    def late(*args: Any) -> Any:
        if not raced[0]:
            raced[0] = True
            recorded(ledger, batch_of(noise(3, 30), 0))
        return insert(*args)

    monkeypatch.setattr(file, "_insert", late)
    found = recorded(ledger, batch_of(noise(5, 30), 0))[0]
    assert (found.seq, found.fresh) == (3, 2)
    report = verify(ledger)
    assert (report.trials, report.faults) == (6, ())


def test_a_damaged_index_is_no_reason_to_look_for_ever(ledger: Path, monkeypatch: pytest.MonkeyPatch):
    from trimtab.research.ledger import file

    recorded(ledger, batch_of(noise(2, 30)))
    monkeypatch.setattr(file, "_unknown", lambda db, cells: cells)
    with pytest.raises(LedgerFailed, match="trimtab trials verify"):
        recorded(ledger, batch_of(noise(2, 30)))
