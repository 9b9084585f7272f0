"""The regimes that there are, and folding one over its rows. Importing this loads numba."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from trimtab.portfolio.regime import macro, trend, volatility
from trimtab.portfolio.regime.labels import Labels, Regime
from trimtab.types import DAY, F64, TrimtabError

_TREND_RANGES: Final = {
    "average": (2, 2_000),
    "slope": (1, 2_000),
    "band": (0.0, 0.5),
    "flat": (0.0, 0.5),
}


def _doc(step: Callable[..., Any]) -> str:
    return inspect.cleandoc(step.__doc__ or "")


EQUITY: Final = Regime(
    name="equity",
    names=trend.NAMES[:3],
    fields=("close",),
    lags={"close": DAY},
    params=trend.EquityParams(),
    ranges=_TREND_RANGES,
    init=trend.equity_init,
    step=trend.equity_step,
    fold=trend.equity_fold,
    warmup=trend.equity_warmup,
    doc=_doc(trend.equity_step),
)

CRYPTO: Final = Regime(
    name="crypto",
    names=trend.NAMES,
    fields=("close",),
    lags={"close": DAY},
    params=trend.CryptoParams(),
    ranges={**_TREND_RANGES, "window": (2, 2_000), "crash": (0.01, 0.99), "calm": (0.0, 0.99)},
    init=trend.crypto_init,
    step=trend.crypto_step,
    fold=trend.crypto_fold,
    warmup=trend.crypto_warmup,
    doc=_doc(trend.crypto_step),
)

VOLATILITY: Final = Regime(
    name="volatility",
    names=volatility.NAMES,
    fields=("close",),
    lags={"close": DAY},
    params=volatility.VolatilityParams(),
    ranges={
        "window": (2, 2_000),
        "history": (2, 20_000),
        "least": (1, 20_000),
        "normal": (0.0, 1.0),
        "high": (0.0, 1.0),
        "crisis": (0.0, 1.0),
        "margin": (0.0, 0.5),
    },
    init=volatility.volatility_init,
    step=volatility.volatility_step,
    fold=volatility.volatility_fold,
    warmup=volatility.volatility_warmup,
    doc=_doc(volatility.volatility_step),
)

VIX: Final = Regime(
    name="vix",
    names=volatility.NAMES,
    fields=("vix",),
    lags={"vix": DAY},
    params=volatility.VixParams(),
    ranges={"normal": (0.0, 200.0), "high": (0.0, 200.0), "crisis": (0.0, 200.0), "margin": (0.0, 0.9)},
    init=volatility.vix_init,
    step=volatility.vix_step,
    fold=volatility.vix_fold,
    warmup=volatility.vix_warmup,
    doc=_doc(volatility.vix_step),
)

MACRO: Final = Regime(
    name="macro",
    names=macro.NAMES,
    fields=("term_spread", "activity"),
    # Yields are published the same evening. A monthly index of the month that began on its label appears in the middle
    # of the next one, payrolls sooner, trade and income later: the first day of the month after that is safe for all.
    lags={"term_spread": DAY, "activity": 62 * DAY},
    params=macro.Params(),
    ranges={
        "growth": (1, 2_000),
        "band": (0.0, 0.5),
        "smoothing": (1, 2_000),
        "inversion": (-0.1, 0.1),
        "lead": (0, 5_000),
    },
    init=macro.init,
    step=macro.step,
    fold=macro.fold,
    warmup=macro.warmup,
    doc=_doc(macro.step),
)

#: Name -> regime.
REGIMES: Final = {r.name: r for r in (EQUITY, CRYPTO, VOLATILITY, VIX, MACRO)}


def find(name: str) -> Regime:
    """The regime of that name; TrimtabError with the nearest one where there is none."""
    if name in REGIMES:
        return REGIMES[name]
    near = difflib.get_close_matches(name, REGIMES, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise TrimtabError(f"no regime is named {name!r}{hint}; expected one of {', '.join(REGIMES)}.")


def classify(regime: Regime, params: Any, x: F64) -> Labels:
    """The label at the close of every row, from that row and the rows before it.

    params  of the regime's own type; regime.params are the defaults
    x       (T, 1, K), or (T, K): the regime's fields, in their order; NaN where there was no observation
    ->      (T,)  int8: an index into regime.names, or UNKNOWN

    TrimtabError where the params contradict each other or are another regime's, or x has other columns.
    """
    if type(params) is not type(regime.params):
        raise TrimtabError(
            f"classify: {regime.name} takes {type(regime.params).__name__}, got {type(params).__name__}; "
            "change its defaults with regime.params._replace(…)."
        )
    for name, value in params._asdict().items():
        low, high = regime.ranges[name]
        if not low <= value <= high:
            raise TrimtabError(f"{regime.name}.{name}: expected {low:g} to {high:g}, got {value!r}.")
    regime.warmup(params)
    rows = x[:, None, :] if x.ndim == 2 else x
    if rows.ndim != 3 or rows.shape[1:] != (1, len(regime.fields)):
        expected = f"(T, {len(regime.fields)}) of {', '.join(regime.fields)}"
        raise TrimtabError(f"classify: {regime.name} reads {expected}; got an array of shape {x.shape}.")
    labels = np.empty(len(rows), np.int8)
    # A copy: compiled code is typed by the array's layout, and a read-only or strided one would compile once more.
    regime.fold(params, regime.init(params), np.array(rows, np.float64, order="C"), labels)
    return labels
