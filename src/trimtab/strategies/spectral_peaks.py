"""Spectral peaks: with the phase of a cycle in the price, where one frequency stands out of what red noise shows.

Idea      a price that swings at one period can be foretold by where in its swing it is. Every window has a highest
          peak, and persistent noise has its highest at slow frequencies; only a peak that red noise would not have
          counts.
Formula   y = log returns over the deviation of the 32 before each (at most 4 in size), less their mean over the last
          N = 2^octaves: the detrended log price, by differences, which turn a trend into a mean and a random walk into
          noise. P_k = 2/N |X_k|^2, the periodogram; R_k = (1 - r^2) / (1 + r^2 - 2 r cos(2 pi k / N)), the red noise
          of the window's own correlation r of neighbours.
          g = the largest P_k / R_k over their sum, k from `cycles` to N / `shortest`. Noise passes a bound with the
          probability `level`, by Fisher's exact law for so many frequencies; below it nothing is traded.
          The frequency lies between two bins, by the phases of the three around the peak (Jacobsen); the wave of this
          frequency in the window, as large and as timed as there, is the next return where its phase will then be.
          forecast = next return / (deviation * full), at most 1; 0 where |next return| <= edge.
Source    Fisher (1929), Proc. Royal Society A 125; Torrence, Compo (1998), Bulletin of the American Meteorological
          Society 79(1); Jacobsen, Kootsookos (2007), IEEE Signal Processing Magazine 24(3). The forecast is ours.
Fails     where a cycle is not kept (its phase is only as good as its last turns), on noise redder than a lag-one
          correlation tells (long memory has its peak at the slowest frequency: raise `cycles`), and where costs eat a
          half swing. A strong cycle raises r itself, so slow ones must be stronger to be seen. While the window holds a
          return that is not defined (a price that is not above 0) it abstains.
Typical   on coins of 2020 to 2023, 1h and 4h, in the market 3-7% of the bars, three or four at a time; win rate
          40-57%, payoff 0.9-1.5: -14 to 8 bps of gross profit per turnover, mostly less than its costs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from trimtab.kernels.autocorrelation import sized
from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.scaling import RECENT, ScaledMoves, scaled_init, scaled_step
from trimtab.kernels.spectrum import (
    WindowSpectrum,
    ahead,
    between,
    fisher_bound,
    peak,
    spectrum_init,
    spectrum_step,
)
from trimtab.types import F64, Reason, Strategy, TrimtabError


class Params(NamedTuple):
    """octaves: 2^octaves returns are looked at; shortest: period, in bars; cycles: least number of them in the window.

    level: probability that noise is traded; full: next return at which the forecast is 1, in deviations of a bar's;
    edge: below which it is 0, a fraction.
    """

    octaves: int = 8
    shortest: int = 6
    cycles: int = 4
    level: float = 0.05
    full: float = 0.25
    edge: float = 0.0005


class State(NamedTuple):
    """moves, spectrum: of the window; bound: of g."""

    moves: ScaledMoves
    spectrum: WindowSpectrum
    bound: float


@inlined
def fastest(p: Params) -> int:
    """The last bin that is looked at."""
    return (1 << p.octaves) // p.shortest


@compiled
def init(p: Params) -> State:
    return State(scaled_init(), spectrum_init(1 << p.octaves), fisher_bound(p.level, fastest(p) - p.cycles + 1))


@compiled
def foretold(p: Params, spectrum: WindowSpectrum, bound: float) -> float:
    """The next move, in deviations; 0 where no peak counts, NaN where the window is not whole."""
    if spectrum.power[0] != 0.0:  # NaN
        return math.nan
    k, g = peak(spectrum, p.cycles, fastest(p))
    return ahead(spectrum, between(spectrum, k)) if g > bound else 0.0


@inlined
def step(p: Params, s: State, x: F64) -> tuple[State, float]:
    moves = scaled_step(s.moves, math.log(x[0, 0]) if x[0, 0] > 0.0 else math.nan)
    spectrum = spectrum_step(s.spectrum, moves.value)
    move = foretold(p, spectrum, s.bound)
    return State(moves, spectrum, s.bound), sized(move * moves.spread, moves.spread, p.full, p.edge)


def warmup(p: Params) -> int:
    if fastest(p) <= p.cycles:
        raise TrimtabError(
            f"spectral_peaks: cycles ({p.cycles}) must be below 2^octaves / shortest ({fastest(p)}), so that there are "
            "frequencies to choose from."
        )
    return RECENT + (1 << p.octaves)


def explain(p: Params, s: State) -> Reason:
    """The period that stands out most, and how much."""
    k, g = peak(s.spectrum, p.cycles, fastest(p))
    period = (1 << p.octaves) / between(s.spectrum, k) if g == g else math.nan
    what = f"Fisher's g of the spectrum over red noise (period of {period:.1f} bars)"
    return Reason(what, float(g), -math.inf, s.bound, p.level)


STRATEGY = Strategy(
    name="spectral_peaks",
    asset_classes=("crypto",),
    timeframes=("1h", "4h"),
    fields=("close",),
    params=Params(),
    ranges={
        "octaves": (5, 12),
        "shortest": (3, 1_000),
        "cycles": (2, 1_000),
        "level": (1e-6, 0.5),
        "full": (0.001, 10.0),
        "edge": (0.0, 0.1),
    },
    init=init,
    step=step,
    warmup=warmup,
    explain=explain,
)
