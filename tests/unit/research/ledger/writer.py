"""A process of its own that appends to a ledger; and one that kills such processes, again and again.

writer.py write FOLDER SEED    twelve entries of which half are also made by others, once FOLDER/go is there
writer.py kill FOLDER SEED N   N writers one after the other, each killed at a random moment of its work; what was
                               answered to them is in FOLDER/answers, a key per line
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tests.unit.research.ledger.making import batch_of, noise, recorded


def race(folder: Path, count: int) -> None:
    batch_of(noise(1, 30))  # what is compiled is loaded once, before there are several
    children: list[int] = []
    for seed in range(count):
        child = os.fork()
        if not child:
            while not (folder / "go").exists():
                time.sleep(0.001)
            for n in range(12):
                base = 100 * n + (1_000_000 * (seed + 1) if n % 2 else 0)
                recorded(folder, batch_of(noise(6 if n % 3 else 1, 30, base), base))
            os._exit(0)
        children.append(child)
    (folder / "go").touch()
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit("a writer failed")


def kill(folder: Path, seed: int, count: int) -> None:
    batch_of(noise(1, 30))
    chance = np.random.default_rng(seed)
    for n in range(count):
        child = os.fork()
        if not child:
            work(folder, 1_000_000 * n)
        time.sleep(chance.uniform(0.0, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def work(folder: Path, first: int) -> None:
    answers = os.open(folder / "answers", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for n in itertools.count():
        base = first + 1_000 * n
        batch = batch_of(noise(1 if n % 2 else 100, 300, base), base)
        recorded(folder, batch)
        os.write(answers, b"".join(key.hex().encode() + b"\n" for key in batch.cells.keys))


if __name__ == "__main__":
    what, place, *numbers = sys.argv[1:]
    {"race": race, "kill": kill}[what](Path(place), *map(int, numbers))
