"""Spectral entropy: follow the trend only while the market is ordered, and nothing where it is noise.

Idea      noise has all frequencies alike; a market that goes somewhere has its power in a few slow ones. A trend that
          is read off noise is luck, so it is followed only while the spectrum is less even than noise can make it.
Formula   y = log returns over the deviation of the 32 before each (at most 4 in size), over the last N = 2^octaves.
          H = entropy of the shares of the frequencies in their power, over log(N / 2 + 1). Of noise it is not 1 but
          0.91 at N = 256; its mean and variance are known exactly (shares have Dirichlet's law), and with them the
          bound that noise falls below with the probability `level`.
          Ordered: H below the bound, and neighbours correlated above 0: order of fast swings (a bouncing price) is no
          trend. forecast = sum of the last `trend` y / (sqrt(trend) * full), at most 1 in size; 0 outside of order.
Source    Inouye et al. (1991), Electroencephalography and Clinical Neurophysiology 79(3); Wolpert, Wolf (1995),
          Physical Review E 52(6). The bound and the trend are ours.
Fails     late by a part of the window when order ends, and at every turn of the trend; a cycle faster than `trend` is
          order too and is followed at the wrong time. A steady drift is no order: it is the mean, which has no
          frequency. While the window holds a return that is not defined (a price that is not above 0) it abstains.
Typical   on coins of 2020 to 2023, 1h and 4h, in the market 1-3% of the bars, four at a time; win rate 28-60%,
          payoff mostly 1.5-3: -60 to 50 bps of gross profit per turnover, out of too few stretches to tell.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.scaling import RECENT, ScaledMoves, scaled_init, scaled_step
from trimtab.kernels.spectrum import WindowSpectrum, entropy_bound, spectral_entropy, spectrum_init, spectrum_step
from trimtab.types import F64, Reason, Strategy, TrimtabError


class Params(NamedTuple):
    """octaves: 2^octaves returns are looked at; level: probability that noise is taken for order, at most.

    trend: returns whose sum is followed; full: that sum at which the forecast is 1, in its deviations.
    """

    octaves: int = 8
    level: float = 0.05
    trend: int = 8
    full: float = 1.5


class State(NamedTuple):
    """moves, spectrum: of the window; entropy: its own, and bound: what noise is above."""

    moves: ScaledMoves
    spectrum: WindowSpectrum
    entropy: float
    bound: float


@compiled
def init(p: Params) -> State:
    length = 1 << p.octaves
    return State(scaled_init(), spectrum_init(length), np.nan, entropy_bound(p.level, length))


@inlined
def followed(p: Params, spectrum: WindowSpectrum) -> float:
    """The forecast where there is order: the sum of the last moves."""
    mask, total = np.uint64(spectrum.ring.shape[0] - 1), 0.0
    for t in range(1, p.trend + 1):
        total += spectrum.ring[np.uint64(spectrum.row - t) & mask]
    return min(1.0, max(-1.0, total / (math.sqrt(p.trend) * p.full)))


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    moves = scaled_step(s.moves, math.log(x[0, 0]) if x[0, 0] > 0.0 else np.nan)
    spectrum = spectrum_step(s.spectrum, moves.value)
    entropy = spectral_entropy(spectrum.power)
    forecast = spectrum.power[0]  # 0, or NaN where the window is not whole
    if entropy < s.bound and spectrum.rho > 0.0:
        forecast = followed(p, spectrum)
    return State(moves, spectrum, entropy, s.bound), forecast


def warmup(p: Params) -> int:
    if p.trend > 1 << p.octaves:
        raise TrimtabError(
            f"spectral_entropy: trend ({p.trend}) must not be above 2^octaves ({1 << p.octaves}), the window."
        )
    return RECENT + (1 << p.octaves)


def explain(p: Params, s: State) -> Reason:
    """The entropy, and which way neighbours go."""
    kind = "slow" if s.spectrum.rho > 0.0 else "fast"
    what = f"spectral entropy of {1 << p.octaves} returns (power at {kind} frequencies)"
    return Reason(what, float(s.entropy), s.bound, math.inf, p.level)


STRATEGY = Strategy(
    name="spectral_entropy",
    asset_classes=("crypto",),
    timeframes=("1h", "4h"),
    fields=("close",),
    params=Params(),
    ranges={"octaves": (5, 12), "level": (1e-6, 0.5), "trend": (1, 1_000), "full": (0.01, 10.0)},
    init=init,
    step=step,
    warmup=warmup,
    explain=explain,
)
