"""Law 5 against every order of faults that hypothesis can think of: nothing lost, nothing twice."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.chaos.world import MODELS, SYMBOLS, World, bars_of, setup_of, throw
from trimtab.engine import control, core
from trimtab.engine.ledger import POINTS
from trimtab.engine.shell import Habits

MEMORY = Path("/dev/shm")  # what is durable there outlives a process, which is all that dies here

MOVES = st.sampled_from((0.0, 0.005, -0.005, 0.015, -0.015, 0.04, -0.04, 0.12, -0.12, 0.3, -0.3))
VOLUMES = st.sampled_from((1e6, 1e6, 1e6, 300.0, 20.0, 0.0, -1.0))
WISH = st.tuples(
    st.integers(0, MODELS - 1), st.integers(0, len(SYMBOLS) - 1), st.sampled_from((0.0, 0.2, 0.5, 0.9, -0.3, -0.7, 2.0))
)
FATES = st.lists(st.sampled_from(("", "", "lost", "unanswered")), max_size=4)
SPOIL = st.lists(st.sampled_from(("", "", "drop", "late", "twice")), max_size=4)


class Chaos(RuleBasedStateMachine):
    """The engine of an account, its venue, and everything that can go wrong between and within them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.prices = [100.0] * len(SYMBOLS)
        self.world: World | None = None

    @initialize(protected=st.booleans(), margin=st.integers(0, 2), limit=st.booleans(), adopt=st.booleans())
    def begin(self, protected: bool, margin: int, limit: bool, adopt: bool) -> None:
        habits = Habits(snapshot_every=3, adopt=adopt)
        self.world = World(self.folder / "account", setup_of(protected, margin == 0, limit), habits)
        self.world.do(self.world.shell.begin)

    @property
    def it(self) -> World:
        assert self.world is not None
        return self.world

    def row(self, moves: list[float], volumes: list[float], wishes: list[tuple[int, int, float]], absent: bool) -> None:
        bars = bars_of(self.prices, moves, volumes)
        self.prices = [float(b[3]) if b[3] > 0.0 else p for b, p in zip(bars, self.prices, strict=True)]
        self.it.row(bars, list({w[:2]: w for w in wishes}.values()), absent)

    @rule(
        moves=st.lists(MOVES, min_size=2, max_size=2),
        volumes=st.lists(VOLUMES, min_size=2, max_size=2),
        wishes=st.lists(WISH, max_size=4),
        fates=FATES,
        spoil=SPOIL,
        turn=st.integers(0, 3),
    )
    def trades(self, moves: list, volumes: list, wishes: list, fates: list, spoil: list, turn: int) -> None:
        self.it.line.fates.extend(fates)
        self.it.line.spoil, self.it.line.turn = spoil, turn
        self.row(moves, volumes, wishes, False)

    @rule(moves=st.lists(MOVES, min_size=2, max_size=2), wishes=st.lists(WISH, max_size=4))
    def trades_well(self, moves: list, wishes: list) -> None:
        self.row(moves, [1e6] * 2, wishes, False)

    @rule(moves=st.lists(MOVES, min_size=2, max_size=2), wishes=st.lists(WISH, max_size=2))
    def is_down_for_a_row(self, moves: list, wishes: list) -> None:
        self.row(moves, [1e6] * 2, wishes, True)
        self.it.restart()

    @rule(point=st.sampled_from(POINTS), count=st.integers(1, 4))
    def will_crash(self, point: str, count: int) -> None:
        self.it.arm(point, count)

    @rule()
    def crashes(self) -> None:
        self.it.restart()

    @rule(cut=st.booleans(), mute=st.booleans())
    def line(self, cut: bool, mute: bool) -> None:
        self.it.line.cut, self.it.line.mute = cut, mute

    @rule()
    def reconciles(self) -> None:
        self.it.reconcile()

    @rule(flatten=st.booleans(), at_once=st.booleans())
    def is_killed(self, flatten: bool, at_once: bool) -> None:
        throw(self.it, flatten)
        if at_once:
            self.it.look()

    @rule()
    def resumes(self) -> None:
        control.resume(self.it.folder, "a test")

    @rule()
    def speaks(self) -> None:
        self.it.speak()

    @rule()
    def withdraws(self) -> None:
        """As an engine does that is asked to leave nothing behind."""
        self.it.do(lambda: self.it.shell.line.order(core.Command("withdraw", "a test", self.it.now())))

    @rule(hours=st.sampled_from((-48.0, -0.5, 0.1, 5.0)))
    def clock_jumps(self, hours: float) -> None:
        self.it.clock += int(hours * 3600e9)

    @rule()
    def settles(self) -> None:
        self.it.settle()

    def teardown(self) -> None:
        try:
            if self.world is not None:
                self.world.settle()
        finally:
            if self.world is not None:
                self.world.close()
            shutil.rmtree(self.folder, ignore_errors=True)


Chaos.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestChaos = Chaos.TestCase
TestChaos.pytestmark = [pytest.mark.filterwarnings("error")]
