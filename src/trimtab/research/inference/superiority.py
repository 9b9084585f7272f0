"""Is the best of many models better than a benchmark, once it is counted that it is the best of many?

Not arch's: its SPA (8.0) studentises where it chooses what to recentre, and not the largest mean, as Hansen does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab.research.inference.bootstrap import Resampling, long_run_variance, resampled_means
from trimtab.research.ratios import is_flat
from trimtab.types import F64, NotEnoughData, TrimtabError


class Superiority(NamedTuple):
    """p-values of 'no model is better than the benchmark': small ones say that one is.

    best         column with the largest studentised mean
    statistic    that mean, in its standard errors; 0 where no model's mean is above 0, and then every p of SPA is 1
    reality      p of White's reality check, which does not studentise
    lower        p of SPA that recentres only the models at or above the benchmark: too small on average
    consistent   p of SPA that leaves out what is far below the benchmark: the one to go by
    upper        p of SPA that recentres all: too large where there are hopeless models
    mean         (K,) mean difference per period
    omega        (K,) deviation of sqrt(T) times that mean
    paths        number of them: a p of 0 means below 1 / paths
    """

    best: int
    statistic: float
    reality: float
    lower: float
    consistent: float
    upper: float
    mean: F64
    omega: F64
    paths: int


def superior(differences: ArrayLike, how: Resampling, threads: int | None = None) -> Superiority:
    """White's reality check and Hansen's test of superior predictive ability, both on the same resampled paths.

    differences  (T, K)  what each model earned above the benchmark in each period (against cash: its excess return);
                         K counts all models that were tried
    how                  paths and mean block (see bootstrap.block_length); one index for all models
    threads              None: as many as there are cores; the result does not depend on it

    Raises TrimtabError where a model never differs from the benchmark, or always by the same: leave it out.
    Source: White (2000), Econometrica 68(5); Hansen (2005), J. Business & Economic Statistics 23(4).
    """
    d = _check(differences)
    return judged(d, resampled_means(d, how, threads), how.mean_block)


def judged(differences: ArrayLike, means: F64, mean_block: float) -> Superiority:
    """As `superior`, from the means (B, K) of resampled paths."""
    d = _check(differences)
    t = len(d)
    mean, root = d.mean(axis=0), math.sqrt(t)
    omega = np.sqrt(long_run_variance(d, mean_block))
    if not (omega > 0.0).all():
        raise TrimtabError(
            f"model {int(np.flatnonzero(~(omega > 0.0))[0])}: with blocks of {mean_block:g} its difference has no "
            "variance; leave it out, or take another block length"
        )
    gap = means - mean
    best = int((mean / omega).argmax())
    highest = root * float(mean[best]) / float(omega[best])
    reality = float((gap.max(axis=1) > mean.max()).mean())
    if not highest > 0.0:
        return Superiority(best, 0.0, reality, 1.0, 1.0, 1.0, mean, omega, len(means))
    # What a model's mean is under the null: 0 where it is recentred, and its own, below 0, where it is not.
    near = mean >= -omega / root * math.sqrt(2.0 * math.log(math.log(t)))
    nulls = (np.minimum(mean, 0.0), np.where(near, 0.0, mean), np.zeros_like(mean))
    lower, consistent, upper = (float((_largest(gap + null, omega, root) > highest).mean()) for null in nulls)
    return Superiority(best, highest, reality, lower, consistent, upper, mean, omega, len(means))


def _largest(z: F64, omega: F64, root: float) -> F64:
    return np.maximum((root * z / omega).max(axis=1), 0.0)


def _check(differences: ArrayLike) -> F64:
    d = np.ascontiguousarray(differences, dtype=np.float64)
    if d.ndim != 2 or d.shape[1] == 0:
        raise TrimtabError(f"differences have shape {d.shape}: expected (T, K), a column per model")
    if not np.isfinite(d).all():
        row, column = (int(k) for k in np.argwhere(~np.isfinite(d))[0])
        raise TrimtabError(
            f"differences[{row}, {column}] is {d[row, column]}: expected finite numbers; align the models"
        )
    if len(d) < 10:
        raise NotEnoughData(f"{len(d)} periods: at least 10 are needed to compare models")
    for k, column in enumerate(d.T):
        if is_flat(column):
            raise TrimtabError(
                f"model {k} differs from the benchmark by {column[0]:g} in every period: nothing can be said of its "
                "chance; leave it out"
            )
    return d
