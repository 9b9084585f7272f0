"""How people reach an engine: files in its account's folder, which outlive a crash and need no port and no password.

KILL stands while the switch is on (trimtab.killswitch); its reason begins with `flatten` where positions are to be
closed too. RESUME is taken away by the engine that has resumed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from trimtab.killswitch import NAME, thrown

RESUME: Final = "RESUME"
FLATTEN: Final = "flatten"


def orders(folder: Path, killed: int) -> list[tuple[str, str]]:
    """What people have ordered and is still to be done: (word, reason).

    killed  how the book stands, see rules.book: an order that stands already is none
    """
    reason = thrown(folder)
    if reason is not None:
        first = reason.split()[0].rstrip(":") if reason else ""
        if first == FLATTEN:
            return [] if killed == 1 else [(FLATTEN, reason)]
        return [] if killed else [("kill", reason)]
    if (folder / RESUME).exists():
        return [("resume", _text(folder / RESUME))]
    return []


def done(folder: Path, word: str) -> None:
    """An order was carried out and is durable."""
    if word == "resume":
        (folder / RESUME).unlink(missing_ok=True)


def resume(folder: Path, reason: str) -> None:
    """Order an account to resume: the switch is off, and its engine is told when it next looks."""
    temporary = folder / f".{RESUME}"
    temporary.write_text(f"{reason}\n", encoding="utf-8")
    os.replace(temporary, folder / RESUME)
    (folder / NAME).unlink(missing_ok=True)


def _text(path: Path) -> str:
    try:
        return " ".join(path.read_text(encoding="utf-8", errors="replace").split())[:500]
    except OSError:
        return ""


class Marker:
    """Where a watchdog sees which row is being decided, and since when: one line in a file of its own.

    The line is written in place: a kill in the middle of it leaves the one before or a torn one, which says nothing.
    """

    def __init__(self, path: Path, clock: object) -> None:
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115  # open as long as the engine lives
        self._clock = clock

    def step(self, ts: int) -> None: ...

    def rest(self) -> None: ...
