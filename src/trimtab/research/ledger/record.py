"""Runs and sweeps into the trial ledger, by everything that shows somebody a result.

What cannot be recorded does not stop a run: it says so, and no verdict will be given on it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.research.curves import periods_of
from trimtab.research.inference.moments import moments_of_rows
from trimtab.research.ledger.file import Batch, Cells, Recorded, append, folder_of
from trimtab.research.ledger.identity import identity_of, values_of
from trimtab.research.prepared import hash_of_panel
from trimtab.research.ratios import per_period
from trimtab.types import TrimtabError

if TYPE_CHECKING:
    from trimtab.research.run import Run
    from trimtab.research.sweep import Swept
    from trimtab.types import Panel, Spec


def record_run(run: Run, root: str | Path | None = None) -> Run:
    """Write a run as a trial, and into the run where it stands in the ledger: run.recorded, or run.unrecorded."""
    spec, curves = run.spec, run.curves
    returns = np.atleast_2d(curves.returns(curves.equity)).astype(np.float32)
    identity = identity_of(spec, run.data_hash)
    rate = per_period(spec.risk_free_rate, periods_of(run.panel))
    values = values_of(spec)
    cells = Cells(identity.keys([values]), np.array([values]), moments_of_rows(returns, rate, 1), returns, curves.ts)
    try:
        run.recorded = append(
            folder_of(root), _batch(identity, cells, run.panel, rate, run.code_version), time.time_ns()
        )
    except TrimtabError as error:
        run.unrecorded = str(error)
    return run


def record_sweep(
    spec: Spec, panel: Panel, sets: Sequence[Any], swept: Swept, root: str | Path | None = None
) -> Recorded | None:
    """Write the sets of a sweep that had a forecast as trials; None, with a warning, where that fails."""
    from trimtab.research.run import code_version

    made = np.flatnonzero(~np.isnan(swept.figures[:, -1]))  # of the others nothing was seen
    if not len(made):
        return None
    returns = swept.returns if len(made) == len(sets) else swept.returns[made]
    values: list[list[float]] = [[float(value) for value in sets[k]] for k in made.tolist()]
    identity = identity_of(spec, hash_of_panel(panel))
    rate = per_period(spec.risk_free_rate, periods_of(panel))
    cells = Cells(identity.keys(values), np.array(values), moments_of_rows(returns, rate), returns, swept.ts)
    try:
        return append(folder_of(root), _batch(identity, cells, panel, rate, code_version()), time.time_ns())
    except TrimtabError as error:
        warnings.warn(f"this sweep is not in the trial ledger: {error}", RuntimeWarning, stacklevel=3)
        return None


def _batch(identity: Any, cells: Cells, panel: Panel, rate: float, version: str) -> Batch:
    return Batch(identity, cells, (int(panel.ts[0]), int(panel.ts[-1])), rate, periods_of(panel), version)
