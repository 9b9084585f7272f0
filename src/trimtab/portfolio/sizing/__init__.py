"""How much to hold: Kelly and its kin as functions, and compiled sizers for models.

Functions of beliefs (no numba): beliefs are an `Edge` or a `Sample`; `kelly_*`, `LogUtility`, `TargetUtility` and the
rest turn them into a fraction of wealth; `growth_rate` and `prob_*` say what a fraction does. `sizers` holds the
init/step pairs that scale a model's forecast row by row, and is imported on its own, since it loads numba.
"""

from __future__ import annotations

from trimtab.portfolio.sizing.assets import kelly_of_assets
from trimtab.portfolio.sizing.chances import (
    break_even_fraction,
    growth_rate,
    prob_at_least,
    prob_below_within,
    prob_drawdown_within,
    prob_ever_below,
    volatility,
)
from trimtab.portfolio.sizing.edges import Draws, Edge, Estimate, Law, Sample, bet, edge_from_sharpe, sample_of
from trimtab.portfolio.sizing.kelly import (
    confidence_of,
    confidence_scaled,
    fixed_fraction,
    fractional_kelly,
    growth_after_error,
    kelly_from_moments,
    kelly_from_odds,
    kelly_from_sharpe,
    measured_kelly_share,
    shrink_for_error,
    volatility_target,
)
from trimtab.portfolio.sizing.ruin import kelly_share_with_ruin, kelly_with_ruin, ruin_exponent
from trimtab.portfolio.sizing.target import Attained, best_play, bold_play, simulated, timid_play
from trimtab.portfolio.sizing.utility import LogUtility, TargetUtility

__all__ = [
    "Attained",
    "Draws",
    "Edge",
    "Estimate",
    "Law",
    "LogUtility",
    "Sample",
    "TargetUtility",
    "best_play",
    "bet",
    "bold_play",
    "break_even_fraction",
    "confidence_of",
    "confidence_scaled",
    "edge_from_sharpe",
    "fixed_fraction",
    "fractional_kelly",
    "growth_after_error",
    "growth_rate",
    "kelly_from_moments",
    "kelly_from_odds",
    "kelly_from_sharpe",
    "kelly_of_assets",
    "kelly_share_with_ruin",
    "kelly_with_ruin",
    "measured_kelly_share",
    "prob_at_least",
    "prob_below_within",
    "prob_drawdown_within",
    "prob_ever_below",
    "ruin_exponent",
    "sample_of",
    "shrink_for_error",
    "simulated",
    "timid_play",
    "volatility",
    "volatility_target",
]
