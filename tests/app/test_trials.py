"""`trimtab trials`, and what backtest and sweep say of the ledger: whole commands over a store of made-up bars."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from trimtab.app.cli import app

SPEC = """\
name: One model
universe: AAA
base_currency: USD
timeframe: 1d
models: [{strategy: sma_cross, params: {fast: 5, slow: 30}}]
"""
GRID = ("--grid", "models.0.params.fast=5,10,15", "--grid", "models.0.params.slow=30,40")


def trimtab(*args: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "120", "TRIMTAB_TRACEBACK": ""})
    assert result.exit_code == code, result.output
    return result


def told(*args: object, code: int = 0) -> Any:
    return json.loads(trimtab(*args, "--json", code=code).stdout)


def said(*args: object, code: int = 0) -> str:
    return " ".join(trimtab(*args, code=code).output.split())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ground")
    trimtab(
        "data", "synthetic", "crypto=AAA", "-t", "1d", "--start", "2020-01-01", "--end", "2022-01-01",
        "--data", folder / "store",
    )  # fmt: skip
    return folder / "store"


@pytest.fixture
def book(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec in a folder of its own, whose ledger is in `trials` beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIMTAB_DATA", str(store))
    monkeypatch.setenv("TRIMTAB_TRIALS", str(tmp_path / "trials"))
    path = tmp_path / "book.yaml"
    path.write_text(SPEC)
    return path


def test_results_say_which_trial_they_are(book: Path):
    assert said("backtest", book, "--no-report").endswith("Trial 1 of this hypothesis.")
    assert "Tried before: 1 trial of this hypothesis." in said("backtest", book, "--no-report", "--set", "name=Other")
    swept = said("sweep", book, *GRID)
    assert "5 of 6 sets are new: 6 trials of this hypothesis; the best of so many without skill shows" in swept
    assert "No set is new: 6 trials" in said("sweep", book, *GRID)
    document = told("sweep", book, *GRID)["trials"]
    assert (document["made"], document["fresh"], document["trials"], document["seq"]) == (6, 0, 6, 2)
    document = told("backtest", book, "--no-report", "--set", "models.0.params.fast=6")
    assert (document["trials"]["fresh"], document["trials"]["trials"], document["trials"]["seq"]) == (1, 7, 3)
    assert document["trials"]["hurdle"] > 0.0


def test_a_bundle_names_the_ledger_and_replays_whatever_became_of_it(book: Path, tmp_path: Path):
    told("backtest", book, "--no-report")
    (bundle,) = (tmp_path / "results").iterdir()
    summary = json.loads((bundle / "summary.json").read_text())
    assert summary["trials"] == {"seq": 1, "head": told("trials")["head"], "fresh": 1}
    head = told("trials")["head"]
    assert "Identical" in said("replay", bundle)
    assert told("trials")["head"] == head  # a replay is no trial
    said("sweep", book, *GRID)
    for trials in ({"seq": 9, "head": "0" * 64, "fresh": 0}, None, "absent"):
        other = {key: value for key, value in summary.items() if key != "trials"}
        (bundle / "summary.json").write_text(json.dumps(other if trials == "absent" else {**other, "trials": trials}))
        assert "Identical" in said("replay", bundle)
        assert "Report: " in said("report", bundle, "--out", tmp_path / "page.html")


def test_hypotheses_are_listed_and_one_is_shown(book: Path, tmp_path: Path):
    assert "Nothing was tried yet" in said("trials")
    assert told("trials")["hypotheses"] == []
    said("sweep", book, *GRID)
    said("backtest", book, "--no-report", "--set", "models.0.params.fast=6", "--set", "name=Other")
    said("backtest", book, "--no-report", "--set", "models.0={strategy: momentum}")
    document = told("trials")
    assert (document["entries"], document["trials"]) == (3, 8)
    assert [idea["hypothesis"]["strategies"] for idea in document["hypotheses"]] == [["momentum"], ["sma_cross"]]
    assert [idea["trials"] for idea in document["hypotheses"]] == [1, 7]
    listed = said("trials")
    assert "8 trials of 2 hypotheses in 3 entries; head " + document["head"] in listed
    assert "sma_cross on AAA, 1d" in listed
    idea = document["hypotheses"][1]
    found = told("trials", "show", idea["id"][:6])
    assert [entry["kind"] for entry in found["entries"]] == ["sweep", "run"]
    assert [one["place"] for one in found["sets"]] == ["best", "median", "worst"]
    assert found["sets"][0]["sharpe"] == idea["best"] >= found["sets"][1]["sharpe"] >= found["sets"][2]["sharpe"]
    assert set(found["sets"][0]["params"]) == {"0.fast", "0.slow", "0.short"}
    assert [(count["scope"], count["how"]) for count in found["counts"]] == [
        (scope, how) for scope in ("hypothesis", "family") for how in ("every trial", "groups of trials")
    ]
    assert [found["counts"][k]["trials"] for k in (0, 2)] == [7, 8]
    shown = said("trials", "show", idea["id"])
    least = max(count["hurdle"] for count in found["counts"])
    assert (
        f"The best shows a Sharpe of {idea['best']:.2f}; the best of so many without skill shows {least:.2f}" in shown
    )
    best = found["sets"][0]["params"]
    assert f"fast {best['0.fast']:g}, slow {best['0.slow']:g}, short 0" in shown


def test_the_best_of_the_list_is_that_of_the_sweep(book: Path):
    best = told("sweep", book, *GRID)["top"][0]["sharpe"]
    assert told("trials")["hypotheses"][0]["best"] == pytest.approx(best, abs=1e-5)


def test_an_id_that_is_not_there_is_told(book: Path):
    said("backtest", book, "--no-report")
    assert "hypothesis zz: there is none; trimtab trials lists" in said("trials", "show", "zz", code=2)


def test_verify_says_whether_it_is_whole(book: Path, tmp_path: Path):
    assert told("trials", "verify")["whole"] is True
    said("sweep", book, *GRID)
    said("backtest", book, "--no-report", "--set", "models.0.params.fast=6")
    document = told("trials", "verify")
    assert (document["whole"], document["entries"], document["trials"]) == (True, 2, 7)
    assert "whole; 2 entries, 7 trials head " + document["head"] in said("trials", "verify")
    assert said("trials", "verify", "--head", document["head"][:16])
    assert "no entry has the hash 00000000" in said("trials", "verify", "--head", "00000000", code=1)
    assert "expected 8 or more digits" in said("trials", "verify", "--head", "xyz", code=2)
    next((tmp_path / "trials" / "sweeps").iterdir()).unlink()
    broken = told("trials", "verify", code=1)
    assert (broken["whole"], len(broken["faults"])) == (False, 1)
    shown = said("trials", "verify", code=1)
    assert "BROKEN" in shown
    assert "the returns of entry 1 are gone" in shown
    assert "are gone" in said("trials", "show", told("trials")["hypotheses"][0]["id"])
    with sqlite3.connect(tmp_path / "trials" / "ledger.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for words in (["verify"], []):
        assert "newer Trimtab" in said("trials", *words, code=2)


def test_options_stand_before_or_after_the_subcommand(book: Path, store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRIMTAB_TRIALS")
    monkeypatch.delenv("TRIMTAB_DATA")
    said("backtest", book, "--no-report", "--data", store)
    for words in (("--data", store, "verify"), ("verify", "--data", store)):
        assert told("trials", *words)["trials"] == 1
    assert json.loads(trimtab("trials", "--data", store, "--json", "verify").stdout)["entries"] == 1
    assert not Path("trimtab-data").exists()


def test_a_run_that_cannot_be_recorded_is_shown_and_says_so(book: Path, tmp_path: Path):
    (tmp_path / "trials").write_text("a file where the folder ought to be")
    shown = said("backtest", book, "--no-report")
    assert "Warning: this run is not in the trial ledger" in shown
    assert "of this hypothesis" not in shown
    (bundle,) = (tmp_path / "results").iterdir()
    summary = json.loads((bundle / "summary.json").read_text())
    assert summary["trials"] is None
    assert summary["notes"][0].startswith("Warning: this run is not in the trial ledger")


def test_a_sweep_that_cannot_be_recorded_is_shown_and_warns(book: Path, tmp_path: Path):
    place = tmp_path / "trials"
    place.write_text("a file where the folder ought to be")
    program = Path(sys.executable).with_name("trimtab")
    done = subprocess.run([program, "sweep", book, *GRID], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "all 6 sets" in done.stdout, "of this hypothesis" in done.stdout) == (0, True, False)
    assert done.stderr.splitlines() == [
        f"Warning: this sweep is not in the trial ledger: {place}: is a file; expected the folder of the trial ledger: "
        "move the file away, or name a folder in TRIMTAB_TRIALS"
    ]
    assert "is a file; expected the folder" in said("trials", code=2)
