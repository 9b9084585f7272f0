"""Several strategies before the court at once: all are run first, so that each is judged against everything tried.

Each is tried at its own parameters, and at the neighbours of these, which are trials too: nobody chose the best of
them, but somebody could. What is judged is the strategy at its own parameters.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.research.backtest import run_spec, spec_of
from trimtab.research.court.court import Held, hold
from trimtab.research.court.finding import Finding
from trimtab.research.court.stress import Progress
from trimtab.research.inference.multiple import adjusted
from trimtab.research.ledger.record import record_run, record_sweep
from trimtab.research.robustness.jitter import Jitter, neighbours_of, parameters_of
from trimtab.research.run import Run
from trimtab.research.sweep import run_sets
from trimtab.strategies import find, params_of
from trimtab.types import TIMEFRAMES, NotEnoughData, Panel, Spec, Strategy

#: Moves of the parameters that are tried beside a strategy's own: one by one, and so many of all together.
AROUND: Final = Jitter(steps=(0.2,), together=8)


class Judged(NamedTuple):
    """One strategy of several. q: its p-value with false discoveries among all controlled; NaN where undefined."""

    name: str
    held: Held
    q: float


class Refused(NamedTuple):
    """A strategy that could not be run on these bars, and why."""

    name: str
    why: str


def judge_all(
    names: Sequence[str],
    panel: Panel,
    root: str | Path | None = None,
    *,
    capital: float = 1_000_000.0,
    progress: Progress = None,
) -> tuple[tuple[Judged, ...], tuple[Refused, ...]]:
    """Run all, then judge each; in the order given.

    q is by Benjamini and Hochberg (1995) of 1 - PSR: the expected share of strategies without an edge among those whose
    q is at most 0.05 is 5%.
    """
    runs: list[tuple[str, Run]] = []
    refused: list[Refused] = []
    for k, name in enumerate(names):
        if progress is not None:
            progress(f"running {name}", k, len(names))
        try:
            runs.append((name, _tried(name, panel, root, capital)))
        except NotEnoughData as error:
            refused.append(Refused(name, str(error)))
    helds: list[Held] = []
    for k, (name, run) in enumerate(runs):
        if progress is not None:
            progress(f"judging {name}", k, len(runs))
        helds.append(hold(run, root, stressed=False))
    psr = [finding_of(held, "psr").figure for held in helds]
    q = adjusted(np.array([np.nan if value is None else 1.0 - value for value in psr]))
    judged = tuple(Judged(name, held, float(each)) for (name, _), held, each in zip(runs, helds, q, strict=True))
    return judged, tuple(refused)


def finding_of(held: Held, name: str) -> Finding:
    """The finding of that name."""
    return next(each for each in held.verdict.findings if each.name == name)


def _tried(name: str, panel: Panel, root: str | Path | None, capital: float) -> Run:
    """A strategy at its own parameters, recorded with its neighbours."""
    strategy = find(name)
    spec = spec_at(strategy, name, panel, capital)
    around, _, _ = neighbours_of(spec, parameters_of(spec, AROUND)[0], AROUND)
    sets: list[Any] = [params_of(strategy, one.models[0].params) for one in (spec, *around)]
    swept = run_sets(spec, panel, strategy, sets, os.cpu_count() or 1, None)
    if record_sweep(spec, panel, sets, swept, root) is None:
        raise NotEnoughData(f"no set of {name} has enough bars for a forecast, or none could be recorded")
    return record_run(run_spec(spec, panel), root)


def spec_at(
    strategy: Strategy, name: str, panel: Panel, capital: float, params: Mapping[str, Any] | None = None
) -> Spec:
    """The spec of a strategy on these bars, at the finest timeframe that it is made for and that they make up.

    Raises NotEnoughData where they make up none of them.
    """
    spec = spec_of(name, panel, params)
    own = TIMEFRAMES[panel.timeframe]
    fit = [t for t in strategy.timeframes if TIMEFRAMES[t] >= own and TIMEFRAMES[t] % own == 0]
    if not fit:
        made = ", ".join(strategy.timeframes)
        raise NotEnoughData(f"{name} is made for {made}, which bars of {panel.timeframe} do not make up")
    finest = min(fit, key=lambda t: TIMEFRAMES[t])
    model = msgspec.structs.replace(spec.models[0], timeframe="" if finest == panel.timeframe else finest)
    return msgspec.structs.replace(spec, models=(model,), capital=capital)
