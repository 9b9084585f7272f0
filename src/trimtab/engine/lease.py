"""One writer per account: a lock of the system, which ends with its process, and a row that says who it is.

The lock decides. The row names the holder to whoever is refused, tells a take-over from a fresh start, and stands in
where the lock file was deleted under a process that is still at work.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess  # nosec B404  # only the system's own sysctl is run
import sys
from pathlib import Path
from typing import NamedTuple

from trimtab.engine.file import JournalFailed, connect, failing
from trimtab.words import utc


class Holder(NamedTuple):
    """Who holds an account: a process of one start of one machine, since when, and its last sign of life (ns UTC)."""

    pid: int
    boot: str
    begun: int  # when the process began, in the system's own ticks: a pid is used again; 0: not known
    since: int
    heartbeat: int


def this_process(now: int) -> Holder:
    return Holder(os.getpid(), boot_id(), _begun(os.getpid()), now, now)


def lock(path: Path) -> int:
    """The descriptor that holds the journal at `path` until it is closed; JournalFailed names the process that does."""
    try:
        import fcntl
    except ImportError:
        raise JournalFailed(f"{path}: there are no file locks on this system; trade on Linux or macOS") from None
    with failing(path, "locking"):
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with failing(path, "locking"):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error.__cause__, BlockingIOError):
            raise JournalFailed(_refusal(path, _named(path))) from None
        raise
    return descriptor


def take(path: Path, db: sqlite3.Connection, now: int) -> Holder | None:
    """Write this process into the row, with the lock in hand; the one that died with the lease, if one did."""
    found = holder_of(db)
    mine = this_process(now)
    if found is not None and found[:3] != mine[:3] and _lives(found):
        raise JournalFailed(_refusal(path, found))
    db.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?, ?, ?)", mine)
    return found


def holder_of(db: sqlite3.Connection) -> Holder | None:
    row = db.execute("SELECT pid, boot, begun, since, heartbeat FROM lease").fetchone()
    return None if row is None else Holder(*row)


def engine_of(path: Path) -> tuple[Holder | None, bool]:
    """Whoever stands in the lease of the journal at `path` (None: it was given back), and whether that process lives.

    Nothing is locked, so nobody who begins is kept out. JournalFailed: the file cannot be read.
    """
    with failing(path, "reading"), contextlib.closing(connect(path, write=False)) as db:
        found = holder_of(db)
    return found, found is not None and _lives(found)


def _named(path: Path) -> Holder | None:
    with contextlib.suppress(JournalFailed, sqlite3.Error), contextlib.closing(connect(path, write=False)) as db:
        return holder_of(db)
    return None


def _refusal(path: Path, holder: Holder | None) -> str:
    who = "another process"
    if holder is not None:
        who = f"process {holder.pid} since {utc(holder.since)} (last sign of life {utc(holder.heartbeat)})"
    return f"{path}: held by {who}; an account has one writer: stop that one first, or give another account"


def _lives(holder: Holder) -> bool:
    if holder.boot != boot_id():
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    begun = _begun(holder.pid)
    return not (begun and holder.begun and begun != holder.begun)


def boot_id() -> str:
    """Names this start of the machine; empty where the system does not tell."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        with contextlib.suppress(OSError):
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # nosec B603
            return done.stdout.strip()
    return ""


def _begun(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The name of the program, in brackets, may hold anything.
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    return 0
