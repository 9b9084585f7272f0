"""What choosing is worth: the grid walked forward, each fold traded with the set that was best before it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trimtab.research.court.finding import ABSENT, Finding, held, number
from trimtab.research.court.stress import Progress
from trimtab.research.folds import Scheme
from trimtab.research.run import Run
from trimtab.research.sweep import try_all
from trimtab.research.validation_page import headline
from trimtab.research.walkforward import Walked, walk_forward
from trimtab.types import TrimtabError

#: Anchored folds over all of a record: the first train is as long as a test.
SCHEME: Final = Scheme(folds=6, anchored=True)


def walk(
    run: Run, grid: Mapping[str, Sequence[Any]], root: str | Path | None = None, progress: Progress = None
) -> Walked:
    """Walk a run's spec over a grid; every set of it is a trial.

    grid  path such as models.0.params.fast -> values
    """

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress("walking forward", done, total)

    found = walk_forward(run.spec, run.panel, grid, SCHEME, progress=tell)
    if not try_all(found.sets.specs, run.panel, root):
        raise TrimtabError("the sets of the grid could not be recorded as trials: without that there is no verdict")
    return found


def walked(of: Walked) -> Finding:
    """Is there a gain out-of-sample, by sets that were chosen before?"""
    sharpe = of.sharpe
    title, name = "Walk-forward", "walkforward"
    if math.isnan(sharpe):
        return Finding(name=name, title=title, outcome=ABSENT, threshold=0.0, told="nothing was traded out-of-sample")
    told = headline(of).rstrip(".")
    return Finding(name=name, title=title, outcome=held(sharpe, 0.0), figure=number(sharpe), threshold=0.0, told=told)
