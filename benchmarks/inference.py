"""Statistics of many trials: cross-validation of 1,000 trials, 10,000 resampled records, a test of superiority."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from benchmarks.figures import Figure, timed
from trimtab.research.inference import bootstrap
from trimtab.research.inference.bootstrap import Resampling
from trimtab.research.inference.overfitting import probability_of_overfitting
from trimtab.research.inference.superiority import superior

ROWS, TRIALS = 2_000, 1_000
DAYS, PATHS, BLOCK = 2_500, 10_000, 10.0


def figures() -> Iterator[Figure]:
    """All cores; each result is looked at once outside the clock, so that nothing empty is timed."""
    returns = np.random.default_rng(0).normal(0.0, 0.01, (ROWS, TRIALS))
    found = probability_of_overfitting(returns)
    if found.logits.size != math.comb(16, 8) or not 0.1 < found.pbo < 0.9:
        raise RuntimeError(f"inference: {found.logits.size} splits and a PBO of {found.pbo} on noise")
    sample = timed(lambda: probability_of_overfitting(returns), 7)
    yield Figure(name="CSCV 1,000 trials x 2,000 days, 12,870 splits", sample=sample, unit="s", target=0.6)

    record, how = np.random.default_rng(1).normal(0.0005, 0.01, DAYS), Resampling(BLOCK, PATHS)
    bands = bootstrap.bands(record, 252.0, how)
    if not bands.sharpe.low < bands.sharpe.middle < bands.sharpe.high or bands.max_drawdown.high >= 0.0:
        raise RuntimeError(f"inference: {bands}")
    sample = timed(lambda: bootstrap.bands(record, 252.0, how), 7)
    yield Figure(name="10,000 bootstrap paths of 2,500 days, bands", sample=sample, unit="s", target=0.6)

    models = np.random.default_rng(2).normal(0.0, 0.01, (DAYS, 12))
    if not 0.0 < superior(models, how).consistent < 1.0:
        raise RuntimeError("inference: a p-value of 0 or 1 on noise")
    sample = timed(lambda: superior(models, how), 5)
    yield Figure(name="SPA of 12 models, 10,000 paths of 2,500 days", sample=sample, unit="s")
