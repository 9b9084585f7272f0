"""Budgets by regime: which share of its budget a model may use while a label stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from trimtab.portfolio.regime.labels import Labels, Regime
from trimtab.types import F64, TrimtabError

#: What a table calls the label UNKNOWN.
UNKNOWN_NAME: Final = "unknown"


def words_of(regime: Regime) -> tuple[str, ...]:
    """The word of each label; the last, which is index -1, is unknown's."""
    return (*regime.names, UNKNOWN_NAME)


def factors_of(regime: Regime, table: Mapping[str, float]) -> F64:
    """What each of `words_of` multiplies a budget by: (labels + 1,), 1 where the table names it not.

    table  label's name (or "unknown") -> multiplier, finite and not negative; TrimtabError names the wrong entry
    """
    words = words_of(regime)
    factors = np.ones(len(words))
    for word, factor in table.items():
        if word not in words:
            raise TrimtabError(f"regime {regime.name}: no label is named {word!r}; expected {', '.join(words)}.")
        if isinstance(factor, bool) or not (math.isfinite(factor) and factor >= 0.0):
            raise TrimtabError(
                f"regime {regime.name}: {word} is {factor!r}; expected a multiplier of 0 or more (1: unchanged)."
            )
        factors[words.index(word)] = factor
    return factors


def regime_budgets(regime: Regime, labels: Labels, tables: Sequence[Mapping[str, float]]) -> F64:
    """Multipliers of the models' budgets.

    labels  (T,)    known at the close of each row, as `classify` gives them
    tables          per model, as `factors_of` reads them
    ->      (T, M)  row t is for the decision made at the close of t, and no earlier one

    Multipliers of several regimes are multiplied with each other. Above 1 they may add up to more than the whole book:
    whoever holds the budgets has to check that. TrimtabError names the model's position and the entry that is wrong.
    """
    columns = np.ones((len(regime.names) + 1, len(tables)))
    for m, table in enumerate(tables):
        try:
            columns[:, m] = factors_of(regime, table)
        except TrimtabError as error:
            raise TrimtabError(f"regime_budgets: model {m}, {error}") from None
    return np.ascontiguousarray(columns[labels])
