"""Start-up, memory and the store, as a user meets them: new processes, their wall clock, their peak memory."""

from __future__ import annotations

import os
import re
import subprocess  # nosec B404  # only this interpreter and its own trimtab are run
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import trimtab as tt
from benchmarks.figures import Figure, Sample, exact, sample_of, timed
from benchmarks.markets import FAST, SLOW, panel_of

ROOT = Path(__file__).resolve().parents[1]
TRIMTAB = Path(sys.executable).with_name("trimtab")

#: The first tt.simulate of a process, on 1,000 bars made on the spot.
FIRST = """
import numpy as np
import trimtab as tt
from trimtab.types import BAR_FIELDS, HOUR
close = 100.0 + np.sin(np.arange(1000.0) / 20.0)
columns = (close, close + 0.1, close - 0.1, close, np.full(1000, 1e6), np.full(1000, float(HOUR)))
values = np.stack(columns, axis=1).reshape(1000, 1, 6)
panel = tt.Panel(np.arange(1, 1001) * HOUR, (tt.Instrument(symbol="X"),), BAR_FIELDS, values, "1h")
run = tt.simulate(panel, np.where(close > 100.0, 1.0, 0.0), costs=tt.Costs(taker_fee=1e-3))
print(len(run.result.fills), flush=True)
"""

#: Prints the peak of this process's own resident memory at its end: the kernel's figure for a child counts its parent.
PEAK = """
import atexit, sys
def _peak():
    try:
        text = open("/proc/self/status").read()
        kib = int(text.partition("VmHWM:")[2].split()[0])
    except OSError:
        import resource
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    print(f"peak_kib={kib}", file=sys.stderr, flush=True)
atexit.register(_peak)
"""

SPEC = """name: Benchmark
universe: [BENCH]
timeframe: {timeframe}
base_currency: USD
costs: {{taker_fee: 0.02bps, half_spread: 0.01bps}}
models:
  - {{strategy: sma_cross, params: {{fast: {fast}, slow: {slow}}}}}
"""


def _environment(**changed: str) -> dict[str, str]:
    """A user's environment: this process has pointed numba at its cache, which a child must do for itself, and where
    Python writes no bytecode every start compiles the sources of all libraries again."""
    dropped = ("NUMBA_CACHE_DIR", "PYTHONDONTWRITEBYTECODE")
    return {**{k: v for k, v in os.environ.items() if k not in dropped}, **changed}


def run_child(command: Sequence[str | Path], **environment: str) -> tuple[float, str, str]:
    """Wall seconds, stdout and stderr of a new process; RuntimeError with its last words where it failed."""
    start = time.perf_counter()
    done = subprocess.run(  # nosec B603
        [str(c) for c in command],
        capture_output=True,
        text=True,
        env=_environment(**environment),
        cwd=ROOT,
        check=False,
    )
    spent = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))[:120]} exited with {done.returncode}: {done.stderr[-2000:]}")
    return spent, done.stdout, done.stderr


def until_first(**environment: str) -> float:
    """Seconds from the start of a new process until its first tt.simulate is done."""
    start = time.perf_counter()
    with subprocess.Popen(  # nosec B603
        [sys.executable, "-c", FIRST], stdout=subprocess.PIPE, text=True, env=_environment(**environment)
    ) as child:
        line = child.stdout.readline() if child.stdout else ""
        spent = time.perf_counter() - start
    if not line.strip().isdigit() or int(line) == 0:
        raise RuntimeError("the first tt.simulate of a new process filled no order")
    return spent


def peak_mb(code: str, *arguments: str) -> float:
    """Peak resident memory of a new Python process that runs `code`, MB."""
    _, _, words = run_child([sys.executable, "-c", PEAK + code, *arguments])
    found = re.search(r"peak_kib=(\d+)", words)
    if found is None:
        raise RuntimeError(f"the process did not say its peak memory: {words[-500:]}")
    return int(found[1]) * 1024 / 1e6


def write_csv(path: Path, rows: int, timeframe: str) -> Path:
    """A seeded series as a CSV file with the usual columns, from 2017 on; prices in cents, volume in thousandths."""
    import polars as pl

    panel = panel_of(rows, 1)
    length = {"1m": 60, "1h": 3600}[timeframe]
    times = pl.Series("open_time", range(rows), pl.Int64) * (length * 1_000_000) + 1_483_228_800_000_000
    columns = dict(zip(("open", "high", "low", "close", "volume"), panel.values[:, 0, :5].T, strict=True))
    frame = pl.DataFrame({"open_time": times.cast(pl.Datetime("us", "UTC")), **columns})
    frame.with_columns(pl.col("open", "high", "low", "close").round(2), pl.col("volume").round(3)).write_csv(path)
    return path


def stored(folder: Path, rows: int, timeframe: str) -> tuple[Path, Path]:
    """A store with one series, and the spec of an SMA cross on it."""
    data = folder / "data"
    file = write_csv(folder / f"BENCH_{timeframe}.csv", rows, timeframe)
    run_child([TRIMTAB, "data", "import", file, "--data", data, "--quote", "USD", "--tick-size", "0.01"])
    spec = folder / "spec.yaml"
    spec.write_text(SPEC.format(timeframe=timeframe, fast=FAST, slow=SLOW))
    return data, spec


def start_figures() -> Iterator[Figure]:
    """Cold and warm start of the command and of the library."""
    yield _figure("start.help trimtab --help", [run_child([TRIMTAB, "--help"])[0] for _ in range(11)][2:], 0.3)
    until_first()
    yield _figure("start.first tt.simulate in a new process, warm cache", [until_first() for _ in range(9)], 0.5)
    with tempfile.TemporaryDirectory() as folder:
        data, spec = stored(Path(folder), 8_760, "1h")
        command = [TRIMTAB, "backtest", spec, "--data", data, "--out", Path(folder) / "results", "--no-report"]
        run_child(command)
        seconds = [run_child(command)[0] for _ in range(7)]
        yield _figure("start.backtest trimtab backtest with its bundle, warm cache", seconds, 1.0, "8,760 bars")
    with tempfile.TemporaryDirectory() as folder:
        yield from _cold(Path(folder))


def _figure(name: str, seconds: list[float], target: float, note: str = "") -> Figure:
    return Figure(name=name, sample=sample_of(seconds), unit="s", target=target, note=note)


def _cold(folder: Path) -> Iterator[Figure]:
    """With no compiled code on the disk, and then again: does a second process write anything?"""
    data, spec = stored(folder, 8_760, "1h")
    caches = [folder / f"cache{k}" for k in range(3)]
    cold = [until_first(TRIMTAB_CACHE=str(cache)) for cache in caches]
    yield _figure("start.cold first tt.simulate, cold cache", cold, 7.0)
    cache = caches[0]
    command = [TRIMTAB, "backtest", spec, "--data", data, "--out", folder / "results", "--no-report"]
    first = run_child(command, TRIMTAB_CACHE=str(cache))[0]
    yield Figure(name="start.cold trimtab backtest, its strategy not yet compiled", sample=exact(first), unit="s")
    before = _files(cache)
    until_first(TRIMTAB_CACHE=str(cache))
    run_child(command, TRIMTAB_CACHE=str(cache))
    written = sum(_files(cache).get(name) != stamp for name, stamp in before.items()) + len(_files(cache)) - len(before)
    yield Figure(
        name="start.second compiled files that a second process writes",
        sample=exact(written),
        unit="files",
        target=0.0,
        note=f"{sum(name.endswith('.nbc') for name in before)} compiled functions in the cache",
    )


def _files(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.suffix in (".nbc", ".nbi")}


def store_figures() -> Iterator[Figure]:
    """1 M bars of one minute into the store, out of it, and through a backtest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, spec = stored(folder, 1_000_000, "1m")
        file = folder / "BENCH_1m.csv"
        size = f"{file.stat().st_size / 1e6:.0f} MB"
        imports = [run_child([TRIMTAB, "data", "import", file, "--data", folder / f"again{k}"])[0] for k in range(5)]
        yield _figure("store.import trimtab data import, 1 M-row CSV", imports, 2.0, f"{size}, validated, new process")
        sample = timed(lambda: tt.load("BENCH", timeframe="1m", root=data), 9)
        yield Figure(name="store.load 1 M bars into a panel", sample=sample.scaled(1e3), unit="ms", target=50.0)
        yield from _memory(data, spec, folder / "results")


def _memory(data: Path, spec: Path, results: Path) -> Iterator[Figure]:
    code = f"""
import trimtab as tt
panel = tt.load("BENCH", timeframe="1m", root={str(data)!r})
run = tt.backtest("sma_cross", panel, params={{"fast": {FAST}, "slow": {SLOW}}}, costs=tt.Costs(taker_fee=2e-6))
run.metrics
"""
    peaks = [peak_mb(code) for _ in range(3)]
    yield Figure(
        name="memory.backtest tt.load, tt.backtest, metrics of 1 M bars",
        sample=sample_of(peaks),
        unit="MB",
        target=400.0,
    )
    words = ["trimtab", "backtest", str(spec), "--data", str(data), "--out", str(results), "--no-report"]
    peaks = [peak_mb(f"sys.argv = {words!r}\nfrom trimtab.app.cli import main\nmain()") for _ in range(3)]
    yield Figure(
        name="memory.command trimtab backtest of 1 M bars with its bundle",
        sample=sample_of(peaks),
        unit="MB",
        target=400.0,
    )


def sweep_memory_figures() -> Iterator[Figure]:
    """Peak memory of 100 and of 1,000 sets over the same 100,000 bars, each in a process of its own."""
    peaks: dict[int, Sample] = {}
    for sets, fast, slow in (
        (100, "range(5, 30, 5)", "range(35, 235, 10)"),
        (1_000, "range(5, 30)", "range(35, 235, 5)"),
    ):
        code = f"""
import trimtab as tt
from benchmarks.markets import COSTS, panel_of
panel = panel_of(100_000, 1)
table = tt.sweep("sma_cross", panel, {{"fast": {fast}, "slow": {slow}}}, costs=COSTS)
if table.height != {sets}:
    raise SystemExit(f"{{table.height}} sets, expected {sets}")
"""
        peaks[sets] = sample_of([peak_mb(code) for _ in range(5)])
    growth = peaks[1_000].median - peaks[100].median
    yield Figure(
        name="memory.sweep growth from 100 to 1,000 sets",
        sample=exact(growth),
        unit="MB",
        target=10.0,
        note=f"peaks {peaks[100].median:.0f} and {peaks[1_000].median:.0f} MB",
    )
