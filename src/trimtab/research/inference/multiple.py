"""Many tests at once: p-values that say what is left of each when all of them are counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from trimtab.types import F64, TrimtabError

# statsmodels has these, needs seconds to load, and answers nonsense for a NaN; the tests hold ours against it.


def _bonferroni(p: F64) -> F64:
    return p * p.size


def _holm(p: F64) -> F64:
    return np.maximum.accumulate(p * (p.size - np.arange(p.size)))


def _benjamini_hochberg(p: F64) -> F64:
    # Step-up: a p-value also passes when a larger one does.
    return np.minimum.accumulate((p * p.size / np.arange(1.0, p.size + 1.0))[::-1])[::-1]


def _benjamini_yekutieli(p: F64) -> F64:
    return _benjamini_hochberg(p) * float((1.0 / np.arange(1.0, p.size + 1.0)).sum())


#: Method -> p-values in rising order (M,) -> what each becomes.
METHODS: Final[dict[str, Callable[[F64], F64]]] = {
    "bonferroni": _bonferroni,
    "holm": _holm,
    "fdr_bh": _benjamini_hochberg,
    "fdr_by": _benjamini_yekutieli,
}


def adjusted(p: ArrayLike, method: str = "fdr_bh") -> F64:
    """p-values that count all tests: what is at most a level passes at that level.

    p       (M,)  of every test that was made, not only of those shown; NaN: the test was not made, and is not counted
    method        bonferroni, holm: the level bounds the chance of a single wrong pass, under any dependence;
                  fdr_bh: the expected share of wrong ones among those that pass, for tests that are independent or
                  depend positively on each other; fdr_by: the same under any dependence
    ->      (M,)  in the same order, at most 1; NaN where p is

    Source: Holm (1979), Scandinavian J. Statistics 6; Benjamini, Hochberg (1995), J. Royal Statistical Society B 57(1);
    Benjamini, Yekutieli (2001), Annals of Statistics 29(4).
    """
    if method not in METHODS:
        raise TrimtabError(f"no method {method!r} of multiple testing: expected one of {', '.join(METHODS)}")
    given = np.asarray(p, dtype=np.float64)
    if given.ndim != 1 or not (np.isnan(given) | ((given >= 0.0) & (given <= 1.0))).all():
        raise TrimtabError("p: expected one axis of p-values from 0 to 1, or NaN for a test that was not made")
    order = np.argsort(given, kind="stable")  # NaN last
    made = order[: int(np.count_nonzero(~np.isnan(given)))]
    found = np.full(given.shape, np.nan)
    found[made] = np.minimum(METHODS[method](given[made]), 1.0)
    return found
