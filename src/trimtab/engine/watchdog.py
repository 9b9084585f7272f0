"""A process beside the engine: compiled code that never returns cannot be canceled, only its process can be ended.

It watches which model is being asked, and since when. Where one has not answered by the deadline it ends the engine,
orders the model into quarantine and starts the engine again; the account is what its journal says.
"""

from __future__ import annotations

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
#: Times that an engine is started again before its watchdog gives up.
MOST: Final = 10


def supervise(
    command: Sequence[str], folder: Path, deadline: float, tell: Callable[[str], None], environment: dict[str, str]
) -> int:
    """Run an engine until it ends by itself, and give its exit code.

    deadline  seconds that all models together may take for a row
    tell      told what the watchdog does
    """
    for _ in range(MOST):
        (folder / MARKER).unlink(missing_ok=True)
        process = subprocess.Popen(list(command), env=environment)  # nosec B603
        stuck = _watch(process, folder, deadline)
        if stuck is None:
            code = int(process.returncode)
            if code >= 0:
                return code
            tell(f"the engine was ended by signal {-code}; what it had booked is durable: start it again to go on")
            return 128 - code
        what = f"model {stuck + 1} has not answered for {deadline:g} s"
        quarantine(folder, stuck, what)
        tell(f"{what}: the engine was ended and starts again without it")
    tell(f"the engine was started {MOST} times; giving up")
    return 4


def _watch(process: subprocess.Popen[Any], folder: Path, deadline: float) -> int | None:
    """Until the engine ends; the model that it was ended for."""

    def forward(number: int, frame: object) -> None:
        del frame
        process.send_signal(number)

    before = {name: signal.signal(name, forward) for name in (signal.SIGINT, signal.SIGTERM)}
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
        for name, handler in before.items():
            signal.signal(name, handler)


def overdue(folder: Path, pid: int, deadline: float) -> int | None:
    """The model that has kept an engine waiting for longer than the deadline; None: none has."""
    path = folder / MARKER
    if not path.is_file() or os.path.getsize(path) < 32:
        return None
    model, _, since, owner = np.fromfile(path, np.int64, 4).tolist()
    if owner != pid or since == 0 or time.monotonic_ns() - since < deadline * 1e9:
        return None
    return int(model)
