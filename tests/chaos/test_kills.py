"""Processes that are killed for real while their venue lives on (law 5)."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import Maker
from tests.chaos.engine import Drawn
from tests.chaos.test_points import Market
from tests.chaos.wire import Served
from tests.chaos.world import FIRST, LENGTH, World, setup_of, venue_of
from trimtab.engine.journal import read, verify
from trimtab.engine.recovery import last_row
from trimtab.engine.shell import Habits
from trimtab.venues import Submit
from trimtab.venues.link import Faults, PaperLink

Capture = pytest.CaptureFixture[str]

ROOT = Path(__file__).resolve().parents[2]
#: What goes wrong on the line while engines are killed.
LINE = Faults(lost=0.03, unanswered=0.03, dropped=0.05, delayed=0.05, repeated=0.05, mixed=0.1, cut=0.005)


class Mother:
    """A process that begets engines of one account, each in a process of its own."""

    def __init__(self, folder: Path, seed: int, faults: Faults | None) -> None:
        folder.mkdir(parents=True)
        self.folder, self.seed = folder, seed
        self.venue = venue_of(setup_of(True, False, True))
        self.served = Served(PaperLink(self.venue, faults, seed), folder / "socket")
        self.said = open(folder / "said", "w+", encoding="utf-8")  # noqa: SIM115  # closed below
        command = [sys.executable, str(Path(__file__).with_name("engine.py")), str(folder), str(folder / "socket")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        self.process = subprocess.Popen(
            [*command, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True,
            env=environment,
        )  # fmt: skip
        assert self._line() == "ready", self.heard()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def _tell(self, what: str) -> str:
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        return self._line()

    def engine(self, most: int | None = None) -> int:
        """An engine's process; most: bytes that a file of its may have."""
        return int(self._tell("engine" if most is None else f"engine {most}"))

    def wait(self, engine: int) -> int:
        """The code with which an engine has ended; negative: by which signal."""
        return int(self._tell(f"wait {engine}"))

    def end(self, engine: int) -> None:
        """Ask an engine that trades to end, which it does in good order."""
        row, deadline = self.venue.tape.row, time.monotonic() + 60.0
        while self.venue.tape.row < row + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(engine, signal.SIGTERM)
        assert self.wait(engine) == 0, self.heard()

    def heard(self) -> str:
        self.said.flush()
        self.said.seek(0)
        return self.said.read()

    def settle(self) -> World:
        """Take over in this process: nothing is lost, nothing is there twice."""
        world = World(self.folder, setup_of(True, False, True), Habits(50, 20), self.venue, Drawn(self.seed))
        try:
            world.tried.update(self.served.sent)
            world.begun = last_row(world.path) + LENGTH
            assert world.begun > FIRST + LENGTH
            world.do(world.shell.begin)
            world.settle()
        finally:
            world.close()
        assert len(set(self.served.sent)) == len(self.served.sent), "no id came twice"
        intents = {e.key for e in read(world.path) if type(e.body).__name__ == "OrderIntent"}
        assert set(self.served.sent) <= intents, "every order has an intent that was durable before"
        assert not self.served.faults
        assert "differ" not in self.heard()
        return world

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print("stop", file=self.process.stdin, flush=True)
            self.process.stdin.close()
        self.process.wait(30.0)
        self.process.stdout.close()
        self.served.close()
        self.said.close()


@pytest.fixture
def mothers(tmp_path: Path) -> Iterator[list[Mother]]:
    made: list[Mother] = []
    yield made
    for mother in made:
        mother.close()
        shutil.rmtree(mother.folder, ignore_errors=True)


def place(tmp_path: Path) -> Path:
    """Memory, where there is such a place: what dies here is a process, not the machine."""
    memory = Path("/dev/shm")
    return (memory if os.access(memory, os.W_OK) else tmp_path) / f"trimtab-{os.getpid()}-{tmp_path.name}"


def kill(mother: Mother, draw: random.Random, kills: int) -> None:
    for k in range(kills):
        engine = mother.engine()
        time.sleep(draw.choice((draw.uniform(0.0, 0.05), draw.uniform(0.0, 0.3))))
        if k % 5 == 0:  # a machine that was away for a while
            os.kill(engine, signal.SIGSTOP)
            time.sleep(draw.uniform(0.0, 0.1))
            os.kill(engine, signal.SIGCONT)
            time.sleep(draw.uniform(0.0, 0.05))
        os.kill(engine, signal.SIGKILL)
        assert mother.wait(engine) == -signal.SIGKILL, mother.heard()


@pytest.mark.parametrize(
    ("faults", "kills"),
    [
        pytest.param(None, 25, id="a good line", marks=pytest.mark.nightly),  # a bad one is good most of the time
        pytest.param(LINE, 30, id="a bad line"),
        pytest.param(LINE, 1_000, id="a thousand", marks=pytest.mark.nightly),
    ],
)
def test_kills(faults: Faults | None, kills: int, tmp_path: Path, mothers: list[Mother], capsys: Capture) -> None:
    seed = int(os.environ.get("TRIMTAB_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    mother = Mother(place(tmp_path), seed, faults)
    mothers.append(mother)
    kill(mother, random.Random(seed), kills)
    mother.end(mother.engine())
    world = mother.settle()
    trades, events = len(mother.venue.since("")), verify(world.path).events
    with capsys.disabled():
        sent = len(mother.served.sent)
        sys.stdout.write(f"\n{kills} kills, seed {seed}: {sent} orders, {trades} trades, {events} events\n")
    assert trades > 10


def test_one_engine_for_one_account(tmp_path: Path, mothers: list[Mother]) -> None:
    mother = Mother(place(tmp_path), 1, None)
    mothers.append(mother)
    first = mother.engine()
    deadline = time.monotonic() + 30.0
    while not mother.served.sent and time.monotonic() < deadline:
        time.sleep(0.02)
    sent = len(mother.served.sent)
    assert sent
    assert mother.wait(mother.engine()) == 3
    assert f"held by process {first}" in mother.heard()
    mother.end(first)
    mother.settle()


def test_a_full_disk(tmp_path: Path, mothers: list[Mother]) -> None:
    """The engine halts, says why, and loses nothing: another one goes on where there is room again."""
    mother = Mother(place(tmp_path), 2, LINE)
    mothers.append(mother)
    assert mother.wait(mother.engine(400_000)) == 2
    said = mother.heard()
    assert "the journal failed, so nothing is decided any more" in said
    assert "disk" in said
    kill(mother, random.Random(2), 2)
    mother.settle()


@pytest.mark.parametrize("seed", range(4))
def test_a_torn_log(seed: int, make: Maker, tmp_path: Path) -> None:
    """Of a log that was cut off anywhere a prefix is left; the venue's records say what came after."""
    world = make(setup_of(True, False, seed % 2 == 0), Habits(snapshot_every=5))
    market = Market(world, seed)
    for _ in range(12):
        market.row(seed > 1)
    whole = [e.hash for e in read(world.path)]
    log = world.path.with_name("journal-wal").read_bytes()
    file = world.path.read_bytes()
    draw = random.Random(seed)
    lost = 0
    for k in range(12):
        folder = tmp_path / f"torn{k}"
        folder.mkdir()
        at = draw.randrange(len(log) * 2 // 3, len(log))
        torn = log[:at] if k % 3 else log[:at] + draw.randbytes(len(log) - at)
        (folder / "journal").write_bytes(file)
        (folder / "journal-wal").write_bytes(torn)
        report = verify(folder / "journal")
        assert report.whole, report.faults
        assert [e.hash for e in read(folder / "journal")] == whole[: report.events]
        lost += len(whole) - report.events
        again = World(folder, world.setup, world.habits, copy.deepcopy(world.line.venue), world.said)
        try:
            again.rows, again.clock = list(world.rows), world.clock
            again.tried = {c.cid for c in world.line.arrived if isinstance(c, Submit) and c.slot == 0}
            again.do(again.shell.begin)
            again.settle()
        finally:
            again.close()
    assert lost > 0


@pytest.mark.parametrize("seed", range(4))
def test_a_journal_that_is_gone(seed: int, make: Maker) -> None:
    """Nothing is left but the venue: what it knows is booked again, and no id that it has seen is used."""
    world = make(setup_of(True, seed % 2 == 1, seed > 1))
    market = Market(world, seed)
    for _ in range(12):
        market.row()
    again = World(world.folder / "again", world.setup, world.habits, copy.deepcopy(world.line.venue), world.said)
    try:
        again.tried = {c.cid for c in world.line.arrived if isinstance(c, Submit) and c.slot == 0}
        again.begun = world.rows[-1].ts + LENGTH
        again.do(again.shell.begin)
        again.settle()
    finally:
        again.close()
