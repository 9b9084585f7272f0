"""How people and the watchdog reach an engine: files in its account's folder, which outlive a crash.

KILL stands while the switch is on (trimtab.killswitch); its first line is `flatten` and nothing else where positions
are to be closed too. RESUME, and each line of QUARANTINE, is taken away by the engine once what it orders is durable.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

import numpy as np

from trimtab.killswitch import NAME, throw, thrown
from trimtab.words import utc

RESUME: Final = "RESUME"
QUARANTINE: Final = "QUARANTINE"
FLATTEN: Final = "flatten"

#: File in which a Marker stands.
MARKER: Final = "DECIDING"


def orders(folder: Path, killed: int, models: int) -> list[tuple[str, str, int]]:
    """What was ordered and is still to be done: (word, reason, model; -1: the book).

    killed  how the book stands, see rules.book: an order that stands already is none
    models  how many there are
    """
    found: list[tuple[str, str, int]] = []
    reason, word = _thrown(folder)
    if reason is not None:
        if not killed or (word == FLATTEN and killed != 1):
            found.append((word, reason, -1))
    elif (text := _text(folder / RESUME)) is not None:
        found.append(("resume", text, -1))
    for line in _lines(folder / QUARANTINE)[:1]:  # the others when this one is done
        number, _, why = line.partition(" ")
        if number.isdigit() and int(number) < models:
            found.append(("quarantine", why, int(number)))
        elif models:
            done(folder, "quarantine")
    return found


def switch(folder: Path) -> str:
    """Why the kill switch is on and since when, in words; empty: it is off."""
    reason, _ = _thrown(folder)
    since = ""
    with contextlib.suppress(OSError):
        since = f", since {utc((folder / NAME).stat().st_mtime_ns)}"
    return "" if reason is None else f"{reason}{since}"


def _thrown(folder: Path) -> tuple[str | None, str]:
    """Why the switch is on (None: it is off), and the word of what it orders."""
    reason = thrown(folder)
    if reason is None or _lines(folder / NAME)[:1] != [FLATTEN]:
        return reason, "kill"
    return reason.removeprefix(FLATTEN).strip() or "no reason given", FLATTEN


def pending(folder: Path, killed: int) -> str:
    """What people have ordered and no engine has carried out yet, in words; killed: as for `orders`."""
    on = switch(folder)
    if on and any(word != "resume" for word, _, model in orders(folder, killed, 0) if model < 0):
        return f"the kill switch is on ({on}), and no engine has acted on it yet"
    if not on and (text := _text(folder / RESUME)) is not None:
        return f"to resume ({text}), and no engine has acted on it yet"
    return ""


def done(folder: Path, word: str) -> None:
    """An order was carried out and is durable."""
    if word == "resume":
        (folder / RESUME).unlink(missing_ok=True)
    elif word == "quarantine":
        rest = _lines(folder / QUARANTINE)[1:]
        if rest:
            _put(folder / QUARANTINE, "\n".join(rest))
        else:
            (folder / QUARANTINE).unlink(missing_ok=True)


def kill(folder: Path, reason: str, flatten: bool) -> None:
    """Turn the switch on; it is on when this returns. A resumption that nobody has carried out yet is void."""
    if flatten:
        _put(folder / NAME, f"{FLATTEN}\n{reason}")  # in place of one that only withdraws, without a moment of none
    else:
        throw(folder, f"by hand: {reason}" if reason.split("\n")[0].strip() == FLATTEN else reason)
    (folder / RESUME).unlink(missing_ok=True)


def resume(folder: Path, reason: str) -> None:
    """Order an account to resume: the switch is off, and its engine is told when it next looks."""
    _put(folder / RESUME, reason)
    (folder / NAME).unlink(missing_ok=True)


def quarantine(folder: Path, model: int, reason: str) -> None:
    """Order that a model is not asked any more."""
    line = f"{model} {' '.join(reason.split())}"
    _put(folder / QUARANTINE, "\n".join([*_lines(folder / QUARANTINE), line]))


def _put(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _text(path: Path) -> str | None:
    """A file as one line; None: it is not there."""
    with contextlib.suppress(OSError):
        return " ".join(path.read_text(encoding="utf-8", errors="replace").split())
    return None


def _lines(path: Path) -> list[str]:
    """The lines of a file without the space around them; none where it is not there."""
    with contextlib.suppress(OSError):
        return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return []


class Marker:
    """Which model is being asked for which row, and since when, where another process sees it.

    place  (4,) model (-1: none of them), row, monotonic ns since which (0: nobody is asked), process
    """

    def __init__(self, path: Path) -> None:
        self.place = np.memmap(path, np.int64, "w+", shape=(4,))
        self.place[3] = os.getpid()

    def step(self, ts: int) -> None:
        """A row's models are being asked."""
        self.place[0] = -1
        self.place[1] = ts
        self.place[2] = time.monotonic_ns()

    def rest(self) -> None:
        """They have all answered."""
        self.place[2] = 0

    def pause(self) -> None:
        """What takes its time now is the compiler, and no fault of a model's."""
        self.place[2] = -abs(int(self.place[2]))

    def go_on(self) -> None:
        """The compiler is done: whoever was being asked has the whole deadline before it."""
        if self.place[2] < 0:
            self.place[2] = time.monotonic_ns()
