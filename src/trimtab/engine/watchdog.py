"""A process beside the engine: compiled code that never returns cannot be canceled, only its process can be ended.

It watches which model is being asked, and since when. Where one has not answered by the deadline it ends the engine,
orders the model into quarantine and starts the engine again; the account is what its journal says.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess  # nosec B404  # it starts what it is told to, no shell
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from trimtab.engine.control import MARKER, quarantine

#: Seconds between two looks.
LOOK: Final = 0.2
#: Signals that are meant for the engine.
ORDERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Times that an engine is started again before its watchdog gives up.
MOST: Final = 10


def supervise(
    command: Sequence[str],
    folder: Path,
    models: Sequence[str],
    deadline: float,
    tell: Callable[[str], None],
    environment: dict[str, str],
) -> int:
    """Run an engine until it ends by itself, and give its exit code; 128 + n where signal n ended it.

    models    names, in the order of the book
    deadline  seconds that all models together may take for a row
    tell      told what the watchdog does
    """
    for _ in range(MOST):
        with contextlib.suppress(OSError):  # there may be no folder yet, or none that is one
            (folder / MARKER).unlink(missing_ok=True)
        watched = _Watched(command, environment)
        stuck = watched.until_it_ends(folder, deadline)
        if stuck is None:
            code = watched.code
            if code >= 0:
                return code
            if -code not in watched.forwarded:
                tell(f"the engine was ended by signal {-code}; what it had booked is durable: start it again to go on")
            return 128 - code
        if not 0 <= stuck < len(models):
            tell(
                f"a row has not been decided for {deadline:g} s, and no model is being asked: the engine was ended. "
                "Where the spec has limits of its own (rules), one of them may never return"
            )
            return 4
        what = f"{models[stuck]} had not answered after {deadline:g} s"
        quarantine(folder, stuck, what)
        tell(f"{what}: the engine was ended and starts again without it")
    tell(f"the engine was started {MOST} times; giving up")
    return 4


class _Watched:
    """An engine in a process of its own, which hears what its watchdog is told to do."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.forwarded: set[int] = set()
        self._process: subprocess.Popen[Any] | None = None
        self._before = {number: signal.signal(number, self._forward) for number in ORDERS}
        self._process = subprocess.Popen(list(command), env=environment)  # nosec B603
        for number in self.forwarded:  # before there was anybody to tell
            self._process.send_signal(number)

    @property
    def code(self) -> int:
        assert self._process is not None  # nosec B101  # for the types
        return int(self._process.returncode)

    def _forward(self, number: int, frame: object) -> None:
        del frame
        self.forwarded.add(number)
        if self._process is not None:
            self._process.send_signal(number)

    def until_it_ends(self, folder: Path, deadline: float) -> int | None:
        """Wait for it; the model that it was ended for, None: it ended by itself, or was ended by somebody else."""
        process = self._process
        assert process is not None  # nosec B101  # for the types
        try:
            while True:
                try:
                    process.wait(LOOK)
                    return None
                except subprocess.TimeoutExpired:
                    stuck = overdue(folder, process.pid, deadline)
                if stuck is not None:
                    process.kill()
                    process.wait()
                    return stuck
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)


def overdue(folder: Path, pid: int, deadline: float) -> int | None:
    """The model that has kept an engine waiting for longer than the deadline, -1: what comes after them; None: none."""
    path = folder / MARKER
    if not path.is_file() or os.path.getsize(path) < 32:
        return None
    model, _, since, owner = np.fromfile(path, np.int64, 4).tolist()
    if owner != pid or since <= 0 or time.monotonic_ns() - since < deadline * 1e9:
        return None
    return int(model)
