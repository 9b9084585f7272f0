"""Between what a run's figures would lie, had the same market dealt its days in another order."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from trimtab.research.backtest import run_spec
from trimtab.research.curves import periods_of
from trimtab.research.inference.bootstrap import Band, Bands, Resampling, bands, block_length
from trimtab.research.robustness.outcome import NAN, returns_of
from trimtab.research.run import Run
from trimtab.types import NotEnoughData, Panel, Spec

_UNKNOWN = Band(NAN, NAN, NAN, 1.0)


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """How paths are drawn: level of the bands; block: mean length in days, 0: by Politis and White."""

    paths: int = 10_000
    level: float = 0.9
    block: float = 0.0
    seed: int = 0


class Banded(NamedTuple):
    """Bands of CAGR, maximum drawdown and Sharpe at a level, from blocks of that mean length (days)."""

    bands: Bands
    level: float
    mean_block: float
    days: int
    why: str = ""


def bootstrap(spec: Spec, panel: Panel, how: Bootstrap | None = None) -> Banded:
    """The stationary bootstrap of the daily returns of a spec's run; see inference.bootstrap."""
    return bootstrap_of(run_spec(spec, panel), how)


def bootstrap_of(run: Run, how: Bootstrap | None = None) -> Banded:
    """The same of a run that there is. NaN, with the reason, where days are too few or the book lost everything."""
    how = how or Bootstrap()
    returns, why = returns_of(run)
    if not why:
        try:
            block = how.block or float(block_length(returns)[0])
            drawn = Resampling(block, how.paths, how.seed)
            found = bands(returns, periods_of(run.panel), drawn, how.level, run.spec.risk_free_rate)
        except NotEnoughData as error:
            why = str(error)
        else:
            flat = "the returns are all the same: Sharpe is undefined" if found.sharpe.undefined == 1.0 else ""
            return Banded(found, how.level, block, returns.size, flat)
    return Banded(Bands(_UNKNOWN, _UNKNOWN, _UNKNOWN), how.level, NAN, returns.size, why)
