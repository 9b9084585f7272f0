"""The self-test says that a good install is good, and of a bad one which part fails and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trimtab.app import doctor
from trimtab.app.cli import app
from trimtab.types import TrimtabError


def test_a_good_install_passes_from_import_to_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    told = json.loads(done.stdout)
    assert [part["name"] for part in told["parts"] if part["state"] == "failed"] == []
    assert (done.exit_code, told["passed"]) == (0, True)
    by = {part["name"]: part["told"] for part in told["parts"]}
    assert list(by) == [name for name, _ in doctor.PARTS]
    assert "bit for bit" in by["engine"]
    assert "caught" in by["laws"]
    assert by["figures"].endswith("0.9004")
    assert not list(tmp_path.iterdir())  # nothing is left behind, and no trial is anybody's


def test_each_part_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bench: doctor.Bench) -> str:
        raise TrimtabError("the store is a file: give a folder")

    def absent(bench: doctor.Bench) -> str:
        raise ImportError("no such library")

    def known(bench: doctor.Bench) -> str:
        raise doctor.Warned("the disk is nearly full", "make room")

    def well(bench: doctor.Bench) -> str:
        return "well"

    parts = (("one", broken), ("two", absent), ("three", known), ("four", well))
    monkeypatch.setattr(doctor, "PARTS", parts)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    told = json.loads(done.stdout)["parts"]
    assert [part["state"] for part in told] == ["failed", "failed", "warning", "ok"]
    assert "give a folder" in told[0]["told"]
    assert "ImportError" in told[1]["told"]
    assert all(part["remedy"] for part in told[:3])
    assert done.exit_code == 1
    words = CliRunner().invoke(app, ["doctor"])
    assert "2 of 4 parts failed." in words.stdout


def test_a_damaged_ledger_of_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PARTS", tuple(part for part in doctor.PARTS if part[0] == "trials"))
    monkeypatch.delenv("TRIMTAB_TRIALS")
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "ledger.sqlite").write_bytes(b"no ledger" * 1_000)
    (told,) = doctor.examine(str(tmp_path))
    assert told.state == "failed"
    assert "ledger.sqlite" in told.told
