"""Walk-forward and cross-validation of a grid: every set in every window, the choice, and what is stitched together."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from benchmarks.figures import Figure, timed
from benchmarks.markets import COSTS, panel_of
from trimtab.research.backtest import spec_of
from trimtab.research.crossval import Combinations, cross_validate
from trimtab.research.folds import Scheme, calendar_of, folds_of
from trimtab.research.prepared import market_of
from trimtab.research.walkforward import walk_forward

ROWS, FOLDS = 35_000, 8
GRID = {"models.0.params.fast": list(range(5, 25)), "models.0.params.slow": [40, 80, 120, 160, 200]}
SETS = 100


def figures() -> Iterator[Figure]:
    """All cores, bars of an hour; the result is looked at once outside the clock."""
    panel = panel_of(ROWS, 1, timeframe="1h")
    spec = msgspec.structs.replace(spec_of("sma_cross", panel, {}), costs=COSTS)
    scheme = Scheme(train="1y", folds=FOLDS, purge="200")
    found = walk_forward(spec, panel, GRID, scheme)
    if len(found.folds) != FOLDS or len(found.sets.specs) != SETS or any(fold.chosen < 0 for fold in found.folds):
        raise RuntimeError(f"walkforward: {len(found.folds)} folds, {len(found.sets.specs)} sets, {found.notes}")
    sample = timed(lambda: walk_forward(spec, panel, GRID, scheme), 7)
    yield Figure(name="walkforward 8 folds x 100 sets x 35,000 bars", sample=sample, unit="s", target=2.0)
    folds, _ = folds_of(scheme, calendar_of(market_of(panel)))
    rows = SETS * sum(window.stop - window.first for fold in folds for window in (fold.train, fold.test))
    yield Figure(
        name="walkforward per set and bar traded",
        sample=sample.scaled(1e9 / rows),
        unit="ns",
        note=f"{rows / 1e6:.1f} M bars in {2 * FOLDS * SETS:,} runs, in-sample and out",
    )
    how = Combinations(groups=10, held_out=2, purge="200")
    sample = timed(lambda: cross_validate(spec, panel, GRID, how), 7)
    yield Figure(name="walkforward 45 splits x 100 sets, 9 paths", sample=sample, unit="s")
