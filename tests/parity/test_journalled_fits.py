"""What a fit answered is booked with its row: a fold takes it from there, whatever the fit would answer now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.parity.engaged import Account, head, opened, trade
from tests.parity.planned import SHORT, book
from trimtab.engine import events as ev
from trimtab.engine.journal import read
from trimtab.engine.planner import Planner
from trimtab.engine.recovery import fold_journal, save
from trimtab.engine.shell import Habits
from trimtab.research.synthetic import synthetic_panel
from trimtab.types import Model

STRATEGY = '''"""Long above the mean of the last rows, times a number in a file: chance, as far as anybody can tell."""
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from trimtab.types import Fit, Strategy, TrimtabError

MOMENT = Path({moment!r})


class Params(NamedTuple):
    scale: float = 1.0


class State(NamedTuple):
    fitted: float
    rows: int


@njit(cache=True)
def init(p):
    return State(np.nan, 0)


@njit(cache=True)
def step(p, s, x):
    forecast = np.nan
    if s.fitted > 0.0:
        forecast = 1.0 if x[0] > s.fitted else 0.0
    return State(s.fitted, s.rows + 1), forecast


def warmup(p):
    return 0


def of(p, x):
    word = MOMENT.read_text()
    if word == "fails":
        raise MemoryError("no memory just now")
    if word == "refuses":
        raise TrimtabError("nothing can be fitted just now")
    return float(np.mean(x[:, 0, 0])) * float(word)


STRATEGY = Strategy(
    name="chancy", fields=("close",), params=Params(), ranges={{"scale": (0.0, 2.0)}}, init=init, step=step,
    warmup=warmup, fit=Fit(of=of, window=lambda p: 10, every=lambda p: 5 * 86_400 * 10**9),
)
'''

PANEL = synthetic_panel(3, 120, 2, "1d")


class World:
    """An account of a model that trades by rule and one whose fits answer what `now` says."""

    def __init__(self, folder: Path) -> None:
        self._moment = folder / "moment"
        file = folder / "chancy.py"
        file.write_text(STRATEGY.format(moment=str(self._moment)))
        self.now("1.0")
        good = Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.4, name="good")
        chancy = Model(strategy=str(file), budget=0.4, name="chancy")
        self.account: Account = opened(book(PANEL, good, chancy), PANEL, folder / "account")

    def now(self, word: str) -> None:
        self._moment.write_text(word)

    def trade(self, rows: int, habits: Habits | None = None) -> bytes:
        return save(trade(self.account, head(PANEL, rows), habits)[0].state)

    def fold(self) -> bytes:
        return save(fold_journal(self.account.path, self.account.before, self.account.names, whole=True).state)

    def fits(self) -> list[tuple[int, ev.Fitted]]:
        rows = (e.body for e in read(self.account.path) if isinstance(e.body, (ev.RowDecided, ev.RowWarmed)))
        return [(row.row, told) for row in rows for told in row.fits]


@pytest.fixture
def world(memory_path: Path) -> World:
    return World(memory_path)


def test_a_fit_that_answers_otherwise_changes_no_history(world: World) -> None:
    first = world.trade(40)
    assert {(told.model, told.unit, told.refused) for _, told in world.fits()} == {
        ("chancy", 0, None),
        ("chancy", 1, None),
    }
    for word in ("1.1", "refuses", "fails"):
        world.now(word)
        assert world.fold() == first
    world.now("0.9")
    second = world.trade(80)  # on the journalled past, with new answers from here on
    world.now("refuses")
    third = world.trade(120)
    world.now("1.0")
    assert len({first, second, third}) == 3
    assert world.fold() == third
    said = [told.refused for row, told in world.fits() if row > PANEL.ts[80]]
    assert said
    assert set(said) == {"nothing can be fitted just now"}


def test_refusals_are_told_again_as_they_were(world: World) -> None:
    world.now("refuses")
    world.trade(60)
    world.now("1.0")
    state = fold_journal(world.account.path, world.account.before, world.account.names, whole=True).state
    assert isinstance(state.planner, Planner)
    assert [refusal.ts for refusal, _ in state.planner.refused] == [row for row, _ in world.fits()]


def test_fits_of_rows_that_are_only_shown_are_booked_too(world: World) -> None:
    live = world.trade(60, Habits(snapshot_every=0, warm_until=int(PANEL.ts[30])))
    world.now("1.3")
    assert world.fold() == live


def test_rows_without_a_fit_are_as_short_as_they_were(world: World) -> None:
    world.trade(30)
    rows = [event.body for event in read(world.account.path) if isinstance(event.body, ev.RowDecided)]
    assert not np.array([b"fits" in ev.encode(row) for row in rows if not row.fits]).any()
    assert 0 < sum(bool(row.fits) for row in rows) < 10
