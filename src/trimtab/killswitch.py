"""The kill switch as a file: while it is there the gate lets nothing stand, and only a person takes it away.

A file needs no running process, no port and no password, and outlives a crash: any shell can make one. Whoever drives
the rules looks at it before every decision and tells the gate by `rules.breakers.kill`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

#: The file's name, in the folder of the account's state.
NAME: Final = "KILL"

#: More than this of a reason is not read.
_LONGEST: Final = 500


def thrown(folder: Path) -> str | None:
    """Why the switch is on, or None: it is off. A switch that cannot be read is on: nobody knows that it is off."""
    try:
        with open(folder / NAME, encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the file {NAME} cannot be read ({error.strerror})"
    return " ".join(text.split()) or "no reason given"


def throw(folder: Path, reason: str) -> Path:
    """Turn the switch on; it is on when this returns, whatever happens to the machine. A reason that stands stays."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(f"{reason}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return path
    if os.name != "nt":  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return path
