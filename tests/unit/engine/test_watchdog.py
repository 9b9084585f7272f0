"""The process beside the engine: what it ends and why, what it passes on, and with which code it ends itself.

The engines are real processes that import no more than they need: they write what a Marker writes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from trimtab.engine import watchdog
from trimtab.engine.control import MARKER, QUARANTINE, Marker
from trimtab.engine.watchdog import MOST, overdue, supervise

MODELS = ("slow", "fast")

#: Seconds that a model may take here; longer than it takes a script to begin.
DEADLINE = 0.4

#: What every script has: `lives` counts the engines that were begun, `deciding` writes the marker as a Marker does.
COMMON = """
import os, signal, struct, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
with open(folder / "lives", "a") as file: file.write("x")
lives = len((folder / "lives").read_text())
def deciding(model, since=None, owner=None):
    now = time.monotonic_ns() if since is None else since
    temporary = folder / "marker"
    temporary.write_bytes(struct.pack("4q", model, 7, now, os.getpid() if owner is None else owner))
    temporary.rename(folder / "DECIDING")
def hang(): time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK", 0.02)


class Told(list[str]):
    """What the watchdog has said."""

    def __call__(self, text: str) -> None:
        self.append(text)


def watch(folder: Path, script: str, deadline: float = DEADLINE) -> tuple[int, Told]:
    told = Told()
    command = [sys.executable, "-S", "-c", COMMON + script, str(folder)]
    code = supervise(command, folder, MODELS, deadline, told, dict(os.environ))
    return code, told


def lives(folder: Path) -> int:
    return len((folder / "lives").read_text())


def quarantined(folder: Path) -> list[str]:
    path = folder / QUARANTINE
    return path.read_text().split("\n")[:-1] if path.exists() else []


# --- how an engine ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 2, 4])
def test_an_engine_that_ends_by_itself_gives_its_code(code: int, tmp_path: Path) -> None:
    assert watch(tmp_path, f"sys.exit({code})") == (code, [])
    assert lives(tmp_path) == 1


def test_an_engine_that_somebody_killed_is_not_started_again(tmp_path: Path) -> None:
    code, told = watch(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert (code, lives(tmp_path)) == (128 + signal.SIGKILL, 1)
    assert len(told) == 1
    assert "ended by signal 9" in told[0]
    assert not quarantined(tmp_path)


# --- a model that does not answer ------------------------------------------------------------------------------------


def test_a_model_that_never_answers_is_quarantined_and_the_engine_begins_again(tmp_path: Path) -> None:
    began = time.monotonic()
    code, told = watch(tmp_path, "if lives > 1: sys.exit(0)\ndeciding(1); hang()")
    assert (code, lives(tmp_path)) == (0, 2)
    assert quarantined(tmp_path) == [f"1 fast had not answered after {DEADLINE:g} s"]
    assert told == [f"fast had not answered after {DEADLINE:g} s: the engine was ended and starts again without it"]
    assert time.monotonic() - began >= DEADLINE


def test_one_after_the_other(tmp_path: Path) -> None:
    code, _ = watch(tmp_path, "if lives > 2: sys.exit(0)\ndeciding(lives - 1); hang()")
    assert (code, lives(tmp_path)) == (0, 3)
    assert [line.split()[0] for line in quarantined(tmp_path)] == ["0", "1"]


def test_a_signal_that_is_ignored_helps_no_engine(tmp_path: Path) -> None:
    ignored = "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code, _ = watch(tmp_path, f"if lives > 1: sys.exit(0)\n{ignored}deciding(0); hang()")
    assert (code, lives(tmp_path)) == (0, 2)


@pytest.mark.parametrize("model", [-1, 2])
def test_what_no_model_is_to_blame_for_ends_with_a_halt(model: int, tmp_path: Path) -> None:
    """It would hang again."""
    code, told = watch(tmp_path, f"deciding({model}); hang()")
    assert (code, lives(tmp_path)) == (4, 1)
    assert "no model is being asked" in told[0]
    assert not quarantined(tmp_path)


def test_it_gives_up(tmp_path: Path) -> None:
    code, told = watch(tmp_path, "deciding(0); hang()", deadline=0.01)
    assert (code, lives(tmp_path)) == (4, MOST)
    assert len(quarantined(tmp_path)) == MOST
    assert told[-1] == f"the engine was started {MOST} times; giving up"


@pytest.mark.parametrize(
    "busy",
    [
        "time.sleep(0.3)",  # nobody is asked: no marker
        "deciding(0, since=0); time.sleep(0.3)",  # all have answered
        "deciding(0, since=-time.monotonic_ns() + 10**10); time.sleep(0.3)",  # it is the compiler that is waited for
        "deciding(0, owner=1, since=1); time.sleep(0.3)",  # of another process
        "(folder / 'DECIDING').write_bytes(b'short'); time.sleep(0.3)",
    ],
)
def test_an_engine_that_is_only_busy_is_let_be(busy: str, tmp_path: Path) -> None:
    assert watch(tmp_path, f"{busy}\nsys.exit(3)", deadline=0.2) == (3, [])
    assert lives(tmp_path) == 1


def test_models_that_each_answer_in_time_may_take_longer_together_row_by_row(tmp_path: Path) -> None:
    assert watch(tmp_path, "for k in range(12): deciding(k % 2); time.sleep(0.1)", deadline=1.0) == (0, [])


def test_the_marker_of_an_engine_before_means_nothing(tmp_path: Path) -> None:
    np.array([0, 7, 1, os.getpid()], np.int64).tofile(tmp_path / MARKER)
    assert watch(tmp_path, "sys.exit(0 if not (folder / 'DECIDING').exists() else 9)") == (0, [])


def test_a_folder_that_is_none_is_the_engines_to_complain_about(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    told = Told()
    folder = tmp_path / "a file" / "account"
    assert supervise([sys.executable, "-c", "exit(2)"], folder, MODELS, DEADLINE, told, dict(os.environ)) == 2


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", watchdog.ORDERS)
def test_a_signal_is_passed_on_and_the_engine_ends_as_it_likes(number: signal.Signals, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    timer = threading.Thread(target=_when_ready, args=(tmp_path, number))
    timer.start()
    handled = f"signal.signal({int(number)}, lambda *_: sys.exit(5))\n(folder / 'ready').write_text('')\nhang()"
    assert watch(tmp_path, handled) == (5, [])
    timer.join()
    assert signal.getsignal(number) is before, "afterwards the process hears them itself again"


def test_an_engine_that_a_passed_on_signal_has_ended_needs_no_words(tmp_path: Path) -> None:
    timer = threading.Thread(target=_when_ready, args=(tmp_path, signal.SIGTERM))
    timer.start()
    assert watch(tmp_path, "(folder / 'ready').write_text('')\nhang()") == (128 + signal.SIGTERM, [])
    timer.join()
    assert lives(tmp_path) == 1


def _when_ready(folder: Path, number: signal.Signals) -> None:
    until = time.monotonic() + 20.0
    while not (folder / "ready").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(os.getpid(), number)


# --- what a marker says ----------------------------------------------------------------------------------------------


def test_a_marker_is_read_as_it_was_written(tmp_path: Path) -> None:
    marker, me = Marker(tmp_path / MARKER), os.getpid()
    assert overdue(tmp_path, me, 0.0) is None, "nobody is asked yet"
    marker.step(5)
    assert overdue(tmp_path, me, 0.0) == -1
    marker.place[0] = 1
    assert overdue(tmp_path, me, 0.0) == 1
    assert overdue(tmp_path, me, 60.0) is None
    assert overdue(tmp_path, me + 1, 0.0) is None
    marker.pause()
    assert overdue(tmp_path, me, 0.0) is None
    time.sleep(0.02)
    marker.go_on()
    assert overdue(tmp_path, me, 0.02) is None, "the whole deadline is before it again"
    assert overdue(tmp_path, me, 0.0) == 1
    marker.rest()
    marker.go_on()
    assert overdue(tmp_path, me, 0.0) is None
