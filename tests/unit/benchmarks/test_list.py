"""The benchmarks can be named without measuring anything; what they measure is no test."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def benchmarks(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_list_names_every_promised_figure_and_its_peers() -> None:
    done = benchmarks("--list")
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()]
    driver = [f"simulate.{orders}.{n}" for n in (1, 5, 50) for orders in ("market", "stops", "trailing")]
    others = [
        "limits",
        "portfolio",
        "summary.10m",
        "run.1m",
        "sweep.speed",
        "sweep.cells",
        "sweep.memory",
        "start",
        "store",
        "panel",
        "quality",
        "check",
        "ticks",
        "inference",
        "walkforward",
        "signals",
        "trials",
        "journal",
        "planner",
        "engine",
    ]
    assert names == [*driver, *others, "peers.vectorbt", "peers.raptorbt", "peers.backtesting"]


def test_first_part_of_a_name_chooses_all_that_begin_with_it() -> None:
    done = benchmarks("--list", "sweep", "simulate.market")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "simulate.market.1",
        "simulate.market.5",
        "simulate.market.50",
        "sweep.speed",
        "sweep.cells",
        "sweep.memory",
    ]


def test_unknown_name_is_refused_with_the_way_to_the_list() -> None:
    done = benchmarks("sweeps")
    assert done.returncode == 2
    assert "no benchmark sweeps: see python -m benchmarks --list" in done.stderr
