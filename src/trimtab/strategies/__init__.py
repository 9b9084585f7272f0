"""Strategies (L2): one file each, found by name, by entry point, or as a file of the user's own.

A strategy file holds `Params` and `State` (NamedTuples), compiled `init(p)` and `step(p, s, x)`, and `STRATEGY`, the
value that describes them. This module loads none of them until asked, so it does not import numba.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from trimtab.bounds import typed
from trimtab.strategies.files import checked, load
from trimtab.types import Strategy, TrimtabError
from trimtab.words import near

#: Name -> module. A test holds the names against the STRATEGY values.
BUILT_IN: Final[Mapping[str, str]] = {
    "buy_and_hold": "trimtab.strategies.buy_and_hold",
    "crypto_momentum": "trimtab.strategies.crypto_momentum",
    "drift_significance": "trimtab.strategies.drift_significance",
    "equity_trend": "trimtab.strategies.equity_trend",
    "hurst_exponent": "trimtab.strategies.hurst_exponent",
    "index_mean_reversion": "trimtab.strategies.index_mean_reversion",
    "lag_autocorr": "trimtab.strategies.lag_autocorr",
    "momentum": "trimtab.strategies.momentum",
    "pacf_spike": "trimtab.strategies.pacf_spike",
    "pairs_reversion": "trimtab.strategies.pairs_reversion",
    "pairs_selected": "trimtab.strategies.pairs_selected",
    "permutation_entropy": "trimtab.strategies.permutation_entropy",
    "sma_cross": "trimtab.strategies.sma_cross",
    "spectral_entropy": "trimtab.strategies.spectral_entropy",
    "spectral_peaks": "trimtab.strategies.spectral_peaks",
    "true_range_divergence": "trimtab.strategies.true_range_divergence",
    "variance_ratio": "trimtab.strategies.variance_ratio",
    "volatility_clustering": "trimtab.strategies.volatility_clustering",
    "vpin": "trimtab.strategies.vpin",
    "wavelet_energy": "trimtab.strategies.wavelet_energy",
}

#: Packages offer strategies here; an entry point is a Strategy, or a module that holds STRATEGY.
ENTRY_POINTS: Final = "trimtab.strategies"


def names() -> tuple[str, ...]:
    """Names of the built-in strategies and of those that installed packages offer, sorted."""
    return tuple(sorted({*BUILT_IN, *_offered()}))


def find(name_or_path: str | os.PathLike[str]) -> Strategy:
    """The strategy of that name, or the one in that .py file.

    A built-in name wins over an entry point's. The same file with the same text gives the same value, so its compiled
    code is shared. Raises TrimtabError that says what is missing or wrong, and where.
    """
    name = os.fspath(name_or_path)
    if name.endswith(".py") or os.sep in name:
        return load(name)
    if name in BUILT_IN:
        return importlib.import_module(BUILT_IN[name]).STRATEGY
    offered = _offered()
    if name in offered:
        return _enter(offered[name])
    raise TrimtabError(
        f"no strategy is named {name!r}{near(name, names())}; expected one of {', '.join(names())}, "
        "or the path of a .py file that holds STRATEGY."
    )


def params_of(strategy: Strategy, given: Mapping[str, Any]) -> Any:
    """The strategy's Params with the given values, each checked for name, type and range, then all together.

    An integral float stands for an int, an int for a float; nothing else is converted. Compiled code is typed by the
    defaults, so every value gets its default's type.
    """
    params = typed(strategy.name, strategy.params, strategy.ranges, given)
    # Rules between parameters (exit_z < entry_z) live in warmup, which no run can start without.
    strategy.warmup(params)
    return params


def _offered() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}


def _enter(point: metadata.EntryPoint) -> Strategy:
    where = f"entry point {point.name!r} ({point.value})"
    try:
        value = point.load()
    except Exception as error:
        raise TrimtabError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}. Reinstall its package."
        ) from error
    return checked(value if isinstance(value, Strategy) else getattr(value, "STRATEGY", None), where)
