"""The same forecasts in a process of its own: `python -m trimtab.research.check_process FOLDER` prints their sha256.

A strategy that leans on the clock, on addresses or on hashes of text has other constants there (compiled code may hide
that, for the disk cache keeps the old ones); one that draws random numbers has other forecasts. FOLDER holds `ask.json`
(strategy, params, timeframe), `ts.npy` (R,) and `x.npy` (R, L, K).
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
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.types import F64, I64

_SECONDS: Final = 300


def forecasts_hash(out: F64) -> str:
    """sha256 of forecasts; every NaN counts as the same."""
    return hashlib.sha256(np.where(np.isnan(out), np.nan, out).tobytes()).hexdigest()


class Elsewhere(NamedTuple):
    """What another process made of the same rows; error is what went wrong there, empty if nothing did."""

    forecasts: str
    constants: dict[str, str]
    error: str


def forecasts_elsewhere(source: str, params: Mapping[str, Any], ts: I64, x: F64, timeframe: str) -> Elsewhere:
    """Hashes of the forecasts and of the file's constants in a new process with another hash seed."""
    with tempfile.TemporaryDirectory() as folder:
        ask = {"strategy": source, "params": dict(params), "timeframe": timeframe}
        Path(folder, "ask.json").write_text(json.dumps(ask))
        np.save(Path(folder, "ts.npy"), ts)
        np.save(Path(folder, "x.npy"), x)
        done = subprocess.run(  # nosec B603
            [sys.executable, "-m", "trimtab.research.check_process", folder],
            env=os.environ | {"PYTHONHASHSEED": "20011"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode or not lines:
        return Elsewhere("", {}, lines[-1] if lines else f"exit code {done.returncode}")
    told = json.loads(lines[-1])
    return Elsewhere(told["forecasts"], told["constants"], "")


def main(folder: Path) -> str:
    """Fold the strategy that the folder asks for; JSON with the hashes of its forecasts and constants."""
    from trimtab.research.check_contract import constants_of
    from trimtab.strategies import find, params_of
    from trimtab.strategies.folding import forecasts
    from trimtab.strategies.indicators import Origin

    ask = json.loads((folder / "ask.json").read_text())
    strategy = find(ask["strategy"])
    x, ts = np.load(folder / "x.npy"), np.load(folder / "ts.npy")
    out = forecasts(strategy, params_of(strategy, ask["params"]), x, ts, Origin(ask["timeframe"]))
    return json.dumps({"forecasts": forecasts_hash(out), "constants": constants_of(strategy)})


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])) + "\n")
