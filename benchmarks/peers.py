"""Peers on the same bars: each in an environment of its own under benchmarks/.envs, driven by a script of ours.

The set-up is one that every peer has: an SMA cross, long or flat, all cash, filled at the next open, a taker's fee and
nothing else. The opens differ from the last close by a millionth: enough that a fill on the wrong bar shows in the
equity, too little for the one difference in sizing (we size a weight at the close and fit it to the cash at the open;
they buy for all cash at the open) to reach the tolerance. Lots are 1e-9, prices have no ticks and so no ties: with
ties, whether an average equals another is each library's rounding.

A comparison counts where closed trades are the same and final equity agrees to 1e-6 of it; else its note says what
differs.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess  # nosec B404  # only interpreters and scripts of this folder are run
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

import trimtab as tt
from benchmarks.figures import Figure, Sample, sample_of
from benchmarks.markets import FAST, SLOW, panel_of
from benchmarks.research import GRID, cross_of, on_seen_and_new
from trimtab.types import Panel

FOLDER = Path(__file__).resolve().parent
ENVS = FOLDER / ".envs"
FEE = 1e-5
TOLERANCE = 1e-6
CAPITAL = 1_000_000.0


class Peer(NamedTuple):
    """requirements as pip reads them; python: the one minor version it needs, or None; modes it is compared in.

    whole   it computes its statistics together with the run, so ours are timed with them too
    """

    requirements: tuple[str, ...]
    python: str | None
    modes: tuple[str, ...]
    whole: bool


PEERS: Final = {
    "vectorbt": Peer(("vectorbt[rust]==1.2.0",), None, ("simulate", "sweep"), False),
    "raptorbt": Peer(("raptorbt==0.13.4", "numpy==2.4.6"), "3.12", ("simulate", "sweep"), True),
    "backtesting": Peer(("backtesting==0.6.6",), None, ("simulate",), True),
}


class Absent(RuntimeError):
    """What a peer needs is not on this machine."""


class Answer(msgspec.Struct, frozen=True):
    """What a peer's script prints per way of running it; closed trades and final equity per set."""

    way: str
    seconds: list[float]
    trades: list[int]
    equity: list[float]


class Ours(NamedTuple):
    """The same of ours: seconds on bars never seen before, since a peer prepares its bars in its own time too, and on
    bars that were; trades and equity per set."""

    new: Sample
    seen: Sample
    trades: Any
    equity: Any


def figures(name: str) -> Iterator[Figure]:
    """Time of the peer over ours, for each way in which it can run; a peer that cannot be had yields nothing."""
    peer = PEERS[name]
    try:
        python = environment(name, peer)
    except Absent as reason:
        print(f"  skipped: {reason}")
        return
    for mode in peer.modes:
        ours = _sweep() if mode == "sweep" else _simulate(peer.whole)
        for answer in ask(python, name, mode):
            yield compare(name, mode, ours, answer)


def compare(name: str, mode: str, ours: Ours, answer: Answer) -> Figure:
    """How many times our time the peer takes, and whether both did the same."""
    theirs = sample_of(answer.seconds)
    apart = np.abs(np.array(answer.equity) / ours.equity - 1.0)
    unequal = int((np.array(answer.trades) != ours.trades).sum())
    agrees = unequal == 0 and bool((apart <= TOLERANCE).all())
    sets = f"{len(apart):,} sets: " if len(apart) > 1 else ""
    trades = f"closed trades {'the same' if unequal == 0 else f'differ in {unequal} of {len(apart)}'}"
    total = f" ({int(np.sum(ours.trades)):,})"
    verdict = "counts" if agrees else "DOES NOT COUNT"
    note = (
        f"{verdict}: {sets}{trades}{total}, final equity within {apart.max():.1e}; {_time(theirs.median)} against "
        f"{_time(ours.new.median)} on bars never seen before, {_time(ours.seen.median)} when they were"
    )
    mine = ours.new.median
    ratio = Sample(theirs.median / mine, theirs.low / mine, theirs.high / mine, theirs.runs)
    return Figure(name=f"peers.{name} {mode}, {answer.way}", sample=ratio, unit="times ours", note=note)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{seconds * 1e3:.1f} ms"


# --- the same bars ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _panel(mode: str) -> Panel:
    panel = panel_of(1_000_000 if mode == "simulate" else 100_000, 1, seed=5, gap=1e-6 / 2.2e-4)
    fine = msgspec.structs.replace(panel.instruments[0], lot_size=1e-9)
    return Panel(panel.ts, (fine,), panel.fields, panel.values, panel.timeframe)


@lru_cache(maxsize=2)
def _simulate(whole: bool) -> Ours:
    """Ours of tt.simulate; whole: with every metric, beside peers that compute theirs together with the run."""
    panel, costs = _panel("simulate"), tt.Costs(taker_fee=FEE)
    weights = cross_of(panel)
    last: list[tt.Run] = []

    def work(bars: Panel) -> None:
        last[:] = [tt.simulate(bars, weights, costs=costs, capital=CAPITAL)]
        if whole:
            _ = last[0].metrics

    seen, new = on_seen_and_new(work, panel, 9)
    head = last[0].result.book.head[0]
    return Ours(new, seen, np.array([head["round_trips"]]), np.array([head["equity"]]))


@lru_cache(maxsize=1)
def _sweep() -> Ours:
    last: list[Any] = []

    def work(bars: Panel) -> None:
        last[:] = [tt.sweep("sma_cross", bars, GRID, costs=tt.Costs(taker_fee=FEE), capital=CAPITAL)]

    seen, new = on_seen_and_new(work, _panel("sweep"), 5)
    return Ours(new, seen, last[0]["trades"].to_numpy(), last[0]["final_equity"].to_numpy())


def arrays_of(mode: str) -> dict[str, Any]:
    """What a peer's script gets: bars, and the cross as two arrays of claims about each close."""
    panel = _panel(mode)
    bars = {name: np.ascontiguousarray(panel.values[:, 0, k]) for k, name in enumerate(panel.fields[:5])}
    weights = cross_of(panel)
    return {
        "ts": panel.ts,
        **bars,
        "long": weights == 1.0,
        "flat": weights == 0.0,
        "windows": np.array([FAST, SLOW]),
        "fast": np.array(GRID["fast"]),
        "slow": np.array(GRID["slow"]),
        "fee": np.array(FEE),
        "capital": np.array(CAPITAL),
    }


def ask(python: Path, name: str, mode: str) -> list[Answer]:
    """Run a peer's script on the arrays and read its answers, which are the last line that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.npz"
        np.savez(path, **arrays_of(mode))
        out = call([python, FOLDER / f"peer_{name}.py", path, mode], RAPTORBT_NO_VERSION_CHECK="1")
    return msgspec.json.decode(out.strip().splitlines()[-1], type=list[Answer])


# --- environments ----------------------------------------------------------------------------------------------------


def environment(name: str, peer: Peer) -> Path:
    """The interpreter of the peer's environment, made on first use and again when its requirements change."""
    folder = ENVS / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = folder / "requirements.txt", "\n".join(peer.requirements)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    base = interpreter(peer.python)
    print(f"  installing {', '.join(peer.requirements)} into benchmarks/.envs/{name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        call([base, "-m", "venv", folder])
        call([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *peer.requirements])
    except RuntimeError as error:
        raise Absent(f"{name} cannot be installed: {error}") from None
    stamp.write_text(wanted)
    return python


def interpreter(version: str | None) -> Path:
    """A Python of this minor version: this one, one on the path, or one of pyenv's."""
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if version is None or version == running:
        return Path(sys.executable)
    root = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *sorted(glob.glob(f"{root}/versions/{version}.*/bin/python{version}"))]
    for candidate in filter(None, found):
        try:
            says = call([Path(candidate), "-c", "import sys, ensurepip; print(*sys.version_info[:2], sep='.')"])
        except RuntimeError:  # a shim that names no version
            continue
        if says.strip() == version:
            return Path(candidate)
    raise Absent(f"it needs Python {version}, and none was found on the path or among pyenv's")


def call(command: list[Any], **variables: str) -> str:
    """What a program printed; RuntimeError with its last words where it failed."""
    clean: Mapping[str, str] = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(  # nosec B603
        [str(c) for c in command], capture_output=True, text=True, env={**clean, **variables}, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))[:100]}: {done.stderr.strip()[-600:]}")
    return done.stdout
