"""Compiled once: a second process compiles nothing, and the driver carries no reference counts (numba is pinned)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np

from trimtab.compiled import _SOURCES, cache_folder, entry, rule

SCRIPT = """
import json, os
import numpy as np
import trimtab as tt
from trimtab.types import BAR_FIELDS, HOUR
rng = np.random.default_rng(0)
close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, 400)))
values = np.stack([close, close * 1.01, close * 0.99, close, close * 0 + 1e6, close * 0 + HOUR], axis=-1)[:, None, :]
ts = np.arange(1, 401) * HOUR
panel = tt.Panel(ts, (tt.Instrument(symbol="X"),), BAR_FIELDS, values, "1h")
tt.simulate(panel, np.sign(rng.normal(size=(400, 1))), costs=tt.Costs(taker_fee=0.001))
tt.backtest("sma_cross", panel, params={"fast": 5, "slow": 9})
tt.sweep("sma_cross", panel, {"fast": [3, 5], "slow": [9, 20]})
from trimtab.rules import derive
from trimtab.sim import driver, market, simulate, sweeping
from trimtab.strategies import find, folding
folds = [*folding.folds_of(find("sma_cross")), sweeping.sweep_of(find("sma_cross"))]
used = [driver.run, derive.derive, market.survey, simulate.changes, *(f for f in folds if f is not None)]
missed = sum(sum(f.stats.cache_misses.values()) for f in used)
hits = sum(sum(f.stats.cache_hits.values()) for f in used)
print(json.dumps([missed, hits, driver.run.stats.cache_path, os.environ["NUMBA_CACHE_DIR"]]))
"""


def python(script: str, environment: dict[str, str]) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.nb?")}


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """The first process fills the cache if it is cold; the second finds everything and adds no file.

    In a copy of the cache, because other tests add to the cache at the same time.
    """
    if cache_folder().is_dir():
        shutil.copytree(cache_folder(), tmp_path / cache_folder().name)
    environment = {**os.environ, "TRIMTAB_CACHE": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)  # this process has pointed it at the folder that all tests share
    _, _, path, folder = python(SCRIPT, environment)
    assert str(path).startswith(str(folder))  # never beside the sources, where edits elsewhere go unseen
    before = files(Path(str(folder)))
    assert before
    missed, hits, _, _ = python(SCRIPT, environment)
    assert missed == 0
    assert isinstance(hits, int)
    assert hits >= 6
    assert files(Path(str(folder))) == before


def test_the_cache_folder_follows_the_sources(tmp_path: Path) -> None:
    """An edit of a rule starts a new folder: numba itself would not see it from the driver."""
    root = Path(sys.modules["trimtab"].__path__[0])
    script = "import json; from trimtab.compiled import cache_folder; print(json.dumps([cache_folder().name]))"
    copy = tmp_path / "trimtab"
    for name in ("__init__.py", *_SOURCES):
        source = root / name
        for file in sorted(source.rglob("*.py")) if source.is_dir() else (source,):
            target = copy / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert python(script, environment) == [cache_folder().name]
    limits = copy / "rules" / "limits.py"
    limits.write_text(limits.read_text() + "\n# edited\n")
    assert python(script, environment) != [cache_folder().name]


def test_numbas_private_options_are_still_there() -> None:
    """`_nrt=False` and `forceinline` are not public: this fails on the day numba drops or renames them."""

    def add(total, values):
        for k in range(values.shape[0]):
            total += values[k]
        return total

    assert rule(add).targetoptions["_nrt"] is False
    assert rule(add).part.targetoptions["forceinline"] is True
    assert entry(add).targetoptions["_nrt"] is False
    bare = numba.njit(error_model="numpy", _nrt=False, forceinline=True)(add)  # not from the disk: it has a text
    assert bare(1.0, np.ones(3)) == 4.0
    assert "NRT_incref" not in bare.inspect_llvm(bare.signatures[0])


def test_the_driver_counts_no_references() -> None:
    """The object code of `run` names no function of numba's reference counting; that of a loop that allocates does.

    An increment per array of the book and row would cost more than the trading.
    """
    folder = Path(str(python(SCRIPT, dict(os.environ))[2]))
    driver, loop = sorted(folder.glob("driver.run-*.nbc")), sorted(folder.parent.glob("rules_*/derive.derive-*.nbc"))
    assert driver
    assert loop
    for name in (b"NRT_incref", b"NRT_decref"):
        assert all(name in path.read_bytes() for path in loop)
        assert not any(name in path.read_bytes() for path in driver)
