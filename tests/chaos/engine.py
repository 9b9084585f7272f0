"""An engine as a process of its own, as often as it is asked for: `python engine.py FOLDER SOCKET SEED`.

A line on stdin begets one: `engine [bytes that a file may have]`. Everything is imported and compiled once, before the
first; its number is printed when it lives. `stop` ends this process.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from tests.chaos.wire import Remote
from tests.chaos.world import FIRST, LENGTH, MODELS, NAMES, SYMBOLS, Said, Wish, World, bars_of, setup_of, state_of
from trimtab.engine import core
from trimtab.engine.events import Entry, Started
from trimtab.engine.journal import JournalFailed, open_journal
from trimtab.engine.ledger import Ledger
from trimtab.engine.recovery import fold_journal, last_row
from trimtab.engine.shell import Habits, shell_of
from trimtab.feeds import GridRow
from trimtab.types import BAR_FIELDS

#: Seconds between two rows.
PACE = 0.002
ROWS = 200_000


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def answer(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


class Drawn(Said):
    """Wishes of a seed, the same in every process."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def at(self, ts: int) -> list[Wish]:
        if ts in self.given:
            return self.given[ts]
        draw = random.Random(self.seed * 1_000_003 + (ts - FIRST) // LENGTH)
        found = [(m, i, draw.uniform(-0.5, 0.8)) for m in range(MODELS) for i in range(len(SYMBOLS))]
        return [wish for wish in found if draw.random() < 0.3]


class Market:
    """Rows of a seed, without an end."""

    def __init__(self, seed: int) -> None:
        steps = np.random.default_rng(seed).normal(0.0, 0.01, (ROWS, len(SYMBOLS)))
        swing = 0.2 * np.sin(np.arange(ROWS) / 50.0)[:, None]  # about the same price for ever
        noise = np.zeros_like(steps)
        for t in range(1, ROWS):
            noise[t] = 0.97 * noise[t - 1] + steps[t]
        self.prices = 100.0 * np.exp(noise + swing)

    async def rows(self, after: int) -> AsyncIterator[GridRow]:
        first = max(0, (after - FIRST) // LENGTH + 1)
        for t in range(first, ROWS - 1):
            yield GridRow(FIRST + t * LENGTH, self.bars(t))
            await asyncio.sleep(PACE)

    def bars(self, t: int) -> np.ndarray:
        moves = self.prices[t + 1] / self.prices[t] - 1.0
        return bars_of(self.prices[t].tolist(), moves.tolist(), [1e6 if t % 7 else 300.0] * len(SYMBOLS))


class Quiet:
    """Nobody looks on."""

    def booked(self, entries: object) -> None: ...

    def recorded(self, record: object) -> None: ...

    def alerted(self, ts: int, text: str) -> None:
        say(f"alert {text}")

    def decided(self, state: object, row: int, latency: float) -> None: ...

    def ticked(self, shell: object) -> None: ...


def trade(folder: Path, socket: Path, seed: int, market: Market) -> int:
    """One life of an engine; the code with which its process ends."""
    try:
        journal = open_journal(folder / "journal", "chaos")
    except JournalFailed as refused:
        say(f"refused {refused}")
        return 3
    with journal:
        if journal.head[0] == 0:
            journal.append([Entry(0, Started(run_id="r", code_version="1", symbols=SYMBOLS, fields=BAR_FIELDS))])

        def begin() -> core.State:
            return state_of(setup_of(True, False, True), Drawn(seed))

        state = fold_journal(journal.path, begin, NAMES).state
        remote = Remote(socket)
        ledger = Ledger(state, journal, NAMES, Quiet(), time.time_ns)
        shell = shell_of(ledger, remote, market, folder, Habits(50, 20))  # type: ignore[arg-type]
        asyncio.run(shell.run(last_row(journal.path)))
    say(f"ended {shell.halted}")
    return 2 if shell.halted else 0


def warm() -> None:
    """Load everything that is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), setup_of(True, False, True))
        world.do(world.shell.begin)
        for k in range(4):
            world.row(bars_of([100.0, 100.0], [0.01, -0.05], [1e6, 1e6]), [(0, k % 2, 0.5 - 0.4 * k)])
        core.handle(world.shell.state, core.Command("kill", "", 0))
        world.close()


def main() -> None:
    folder, socket, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    market = Market(seed)
    warm()
    answer("ready")
    for line in sys.stdin:
        words = line.split()
        if words[0] == "stop":
            return
        if words[0] == "wait":
            answer(os.waitstatus_to_exitcode(os.waitpid(int(words[1]), 0)[1]))
            continue
        child = os.fork()
        if child == 0:
            if len(words) > 1:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(words[1]), int(words[1])))
            code = 1
            try:
                code = trade(folder, socket, seed, market)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        answer(child)


if __name__ == "__main__":
    main()
