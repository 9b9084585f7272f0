"""A second process compiles nothing: built-in strategies, their legs and across, and a user's file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "volatility_breakout.py"

SCRIPT = """
import json, sys
import numpy as np
from trimtab.strategies import find
compiled = 0
for name in ("pairs_reversion", "equity_trend", sys.argv[1]):
    strategy = find(name)
    x = np.full((strategy.n_legs, 1), 5.0)
    state = strategy.init(strategy.params)
    state, f = strategy.step(strategy.params, state, x)
    functions = [strategy.init, strategy.step]
    if strategy.legs is not None:
        strategy.legs(strategy.params, state, x, f)
        functions.append(strategy.legs)
    if strategy.across is not None:
        strategy.across(strategy.params, np.array([0.5, 0.0]))
        functions.append(strategy.across)
    compiled += sum(sum(function.stats.cache_misses.values()) for function in functions)
print(json.dumps(compiled))
"""


def run(cache: Path, file: Path) -> tuple[int, set[str]]:
    """Functions compiled in a process of its own, and the cache's files after it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | {"TRIMTAB_CACHE": str(cache)}
    command = [sys.executable, "-c", SCRIPT, str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), {str(p.relative_to(cache)) for p in cache.rglob("*.nb?")}


def test_a_second_process_compiles_nothing_and_an_edit_only_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(EXAMPLE.read_text())
    compiled, cold = run(tmp_path / "cache", file)
    assert compiled == 8
    assert cold
    assert run(tmp_path / "cache", file) == (0, cold)
    file.write_text(EXAMPLE.read_text().replace("entry: float = 2.0", "entry: float = 2.5"))
    compiled, warm = run(tmp_path / "cache", file)
    assert compiled == 2
    assert warm > cold
    assert all("mine" in path for path in warm - cold)
    file.write_text(EXAMPLE.read_text())
    assert run(tmp_path / "cache", file) == (0, warm)
