"""Budgets by regime: which share of its budget a model may use while a label stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from trimtab.portfolio.regime.labels import Labels, Regime
from trimtab.types import F64, TrimtabError

#: What a table calls the label UNKNOWN.
UNKNOWN_NAME = "unknown"


def regime_budgets(regime: Regime, labels: Labels, tables: Sequence[Mapping[str, float]]) -> F64:
    """Multipliers of the models' budgets.

    labels  (T,)    known at the close of each row, as `classify` gives them
    tables          per model: label's name (or "unknown") -> multiplier, finite and not negative; a label that is not
                    named multiplies by 1
    ->      (T, M)  row t is for the decision made at the close of t, and no earlier one

    Multipliers of several regimes are multiplied with each other. Above 1 they may add up to more than the whole book:
    whoever holds the budgets has to check that. TrimtabError names the model's position and the entry that is wrong.
    """
    factors = np.ones((len(tables), len(regime.names) + 1))  # the last column, index -1, is unknown's
    words = (*regime.names, UNKNOWN_NAME)
    for m, table in enumerate(tables):
        for word, factor in table.items():
            where = f"regime_budgets: model {m}, regime {regime.name}"
            if word not in words:
                raise TrimtabError(f"{where}: no label is named {word!r}; expected {', '.join(words)}.")
            if isinstance(factor, bool) or not (math.isfinite(factor) and factor >= 0.0):
                raise TrimtabError(f"{where}: {word} is {factor!r}; expected a multiplier of 0 or more (1: unchanged).")
            factors[m, words.index(word)] = factor
    return np.ascontiguousarray(factors[:, labels].T)
