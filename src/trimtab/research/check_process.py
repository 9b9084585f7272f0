"""The same forecasts in a process of its own: `python -m trimtab.research.check_process FOLDER` prints their sha256.

A strategy that leans on addresses, on hashes of text, or on random numbers seeded by the system gives other forecasts
there. FOLDER holds `ask.json` (strategy, params) and `x.npy` (R, L, K).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess  # nosec B404  # only this very interpreter and module are run
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from trimtab.types import F64

_SECONDS: Final = 300


def forecasts_hash(out: F64) -> str:
    """sha256 of forecasts; every NaN counts as the same."""
    return hashlib.sha256(np.where(np.isnan(out), np.nan, out).tobytes()).hexdigest()


def hash_elsewhere(source: str, params: Mapping[str, Any], x: F64) -> tuple[str, str]:
    """(hash, "") of the forecasts in a new process with another hash seed, or ("", what went wrong there)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ask.json").write_text(json.dumps({"strategy": source, "params": dict(params)}))
        np.save(Path(folder, "x.npy"), x)
        environment = os.environ | {"PYTHONHASHSEED": "20011"}
        done = subprocess.run(  # nosec B603
            [sys.executable, "-m", "trimtab.research.check_process", folder],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return "", lines[-1] if lines else f"exit code {done.returncode}"
    return done.stdout.strip().splitlines()[-1], ""


def main(folder: Path) -> str:
    """Fold the strategy that the folder asks for and return the hash of its forecasts."""
    from trimtab.sim.fold import forecasts
    from trimtab.strategies import find, params_of

    ask = json.loads((folder / "ask.json").read_text())
    strategy = find(ask["strategy"])
    return forecasts_hash(forecasts(strategy, params_of(strategy, ask["params"]), np.load(folder / "x.npy")))


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])) + "\n")
