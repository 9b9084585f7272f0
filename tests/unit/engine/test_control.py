"""What people order by files, and what is left of it when it was done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trimtab.engine import control
from trimtab.killswitch import NAME


def words(folder: Path, killed: int = 0, models: int = 3) -> list[tuple[str, int]]:
    return [(word, model) for word, _, model in control.orders(folder, killed, models)]


def test_nothing_is_ordered_where_there_is_no_file(tmp_path: Path):
    assert words(tmp_path) == []


@pytest.mark.parametrize("reason", ["flatten the curve", "flatten", "flatten: not asked for"])
def test_a_reason_closes_nothing(tmp_path: Path, reason: str):
    control.kill(tmp_path, reason, flatten=False)
    assert words(tmp_path) == [("kill", -1)]
    assert reason in control.orders(tmp_path, 0, 0)[0][1]


def test_to_flatten_takes_the_place_of_a_kill_and_stands_once_it_is_done(tmp_path: Path):
    control.kill(tmp_path, "first", flatten=False)
    assert words(tmp_path, killed=2) == []
    control.kill(tmp_path, "then", flatten=True)
    assert words(tmp_path, killed=2) == [("flatten", -1)]
    assert words(tmp_path, killed=1) == []
    control.kill(tmp_path, "again", flatten=False)
    assert words(tmp_path, killed=2) == [("flatten", -1)], "what was ordered is not taken back by less"


def test_why_and_since_when_the_switch_is_on_is_said(tmp_path: Path):
    assert control.switch(tmp_path) == ""
    control.kill(tmp_path, "exchange hacked", flatten=True)
    os.utime(tmp_path / NAME, (1_700_000_000, 1_700_000_000))
    assert control.switch(tmp_path) == "exchange hacked, since 2023-11-14T22:13:20Z"
    assert control.orders(tmp_path, 0, 0) == [("flatten", "exchange hacked", -1)]
    assert "(exchange hacked, since 2023-11-14T22:13:20Z)" in control.pending(tmp_path, 0)


def test_any_shell_can_throw_the_switch(tmp_path: Path):
    (tmp_path / NAME).touch()
    assert words(tmp_path) == [("kill", -1)]
    (tmp_path / NAME).write_text("flatten\n")
    assert words(tmp_path) == [("flatten", -1)]


def test_the_last_order_counts(tmp_path: Path):
    control.resume(tmp_path, "too early")
    control.kill(tmp_path, "no", flatten=False)
    assert words(tmp_path) == [("kill", -1)]
    control.resume(tmp_path, "checked")
    assert words(tmp_path, killed=2) == [("resume", -1)]
    control.done(tmp_path, "resume")
    assert words(tmp_path) == []


def test_models_go_into_quarantine_one_after_the_other(tmp_path: Path):
    control.quarantine(tmp_path, 2, "never\nreturned; twice")
    control.quarantine(tmp_path, 0, "raised")
    assert control.orders(tmp_path, 0, 3) == [("quarantine", "never returned; twice", 2)]
    control.done(tmp_path, "quarantine")
    assert words(tmp_path) == [("quarantine", 0)]
    control.done(tmp_path, "quarantine")
    assert words(tmp_path) == []
    assert not (tmp_path / control.QUARANTINE).exists()


def test_a_line_about_a_model_that_there_is_not_is_dropped(tmp_path: Path):
    (tmp_path / control.QUARANTINE).write_text("7 gone\n1 raised\n")
    assert words(tmp_path) == []
    assert words(tmp_path) == [("quarantine", 1)]
