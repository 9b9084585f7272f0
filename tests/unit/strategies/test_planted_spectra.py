"""Cycles, ordered stretches, moves of one scale, long memory: where one is planted its strategy makes money.

As in test_planted.py the share of runs that has to is computed from a trader who knows the effect, and not chosen.
Every run trades in the backtest, at 5 bps of notional per trade.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from tests.unit.strategies.paths import fractional_noise
from tests.unit.strategies.test_planted import CHANCE, COST, DEVIATION, ROWS, RUNS, Power, earned, garch, noise
from trimtab.kernels.hurst_bands import hurst_band
from trimtab.kernels.spectrum import entropy_bound, fisher_bound
from trimtab.strategies import find
from trimtab.strategies.folding import forecasts

Effect = Callable[[np.random.Generator, int], np.ndarray]

# --- effects ---------------------------------------------------------------------------------------------------------

#: Bars of a cycle, and its share of the variance.
PERIOD, CYCLE = 24.0, 0.15


def cycle(rng: np.random.Generator, rows: int) -> np.ndarray:
    """A swing of the price whose phase drifts a little, under noise."""
    phase = rng.uniform(0.0, 2.0 * np.pi) + np.cumsum(rng.normal(0.0, 0.01, rows))
    wave = math.sqrt(2.0 * CYCLE) * np.cos(2.0 * np.pi * np.arange(rows) / PERIOD + phase)
    return DEVIATION * (wave + math.sqrt(1.0 - CYCLE) * rng.standard_normal(rows))


#: Bars of a stretch, of a trend in it, and the trend's drift in deviations.
STRETCH, TREND, DRIFT = 400, 40.0, 0.6


def trends(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise and trends by turns of a stretch: returns, and whether a row lies in a stretch of trends."""
    turns = np.cumprod(np.where(rng.random(rows) < 1.0 / TREND, -1.0, 1.0))
    ordered = np.arange(rows) // STRETCH % 2 == 1
    return DEVIATION * (DRIFT * turns * ordered + rng.standard_normal(rows)), ordered


def ordered(rng: np.random.Generator, rows: int) -> np.ndarray:
    return trends(rng, rows)[0]


def one_scale(rng: np.random.Generator, rows: int) -> np.ndarray:
    """A third of the variance in moves of 16 to 32 bars, without a steady phase; the rest is noise."""
    w, r = 2.0 * np.pi / 24.0, 0.9
    y = lfilter([1.0], [1.0, -2.0 * r * math.cos(w), r * r], rng.standard_normal(rows + 300))[300:]
    unit = math.sqrt((1.0 + r**2) / (1.0 - r**2) / ((1.0 + r**2) ** 2 - 4.0 * r**2 * math.cos(w) ** 2))
    return DEVIATION * (math.sqrt(1.0 / 3.0) * y / unit + math.sqrt(2.0 / 3.0) * rng.standard_normal(rows))


def fractional(exponent: float) -> Effect:
    return lambda rng, rows: DEVIATION * fractional_noise(exponent, rng.standard_normal(2 * rows))


# --- power -----------------------------------------------------------------------------------------------------------


def of_holding(returns: np.ndarray, held: np.ndarray, shown: float, window: int) -> Power:
    """Of a trader whose holdings after each row are known, while windows of that length show the effect."""
    held, returns = held[:-1], returns[1:]
    gain = np.log1p(held * np.expm1(returns) - COST * np.abs(np.diff(held, prepend=held[0])))
    bars = ROWS - window
    variance = bars * shown * gain.var() + bars * window * shown * (1.0 - shown) * gain.mean() ** 2
    return Power(bars * shown * gain.mean(), math.sqrt(variance))


def of_cycle() -> Power:
    """Of who knows the cycle but for its phase's error, while it stands out.

    The peak over the mean of the others is half a chi-square with two degrees of freedom, not central by
    N * CYCLE / (1 - CYCLE). Half-way between two bins (2 / pi)^2 = 0.4 of it is left, so 0.7 on average; red noise that
    is fitted to the cycle too takes its part.
    """
    p = find("spectral_peaks").params
    n = 1 << p.octaves
    bins = n // p.shortest - p.cycles + 1
    rho = CYCLE * math.cos(2.0 * math.pi / PERIOD)
    bound = fisher_bound(p.level, bins) * bins
    size = n * CYCLE * 0.7 * (1.0 - rho) / (1.0 + rho) / (1.0 - CYCLE)
    # Of the mean of the others' too: the peak is a part of the sum.
    shown = float(stats.ncx2.sf(2.0 * bound * (1.0 + size / 2.0 / bins), 2, size))
    rng, rows = np.random.default_rng(1), 100_000
    wave = math.sqrt(2.0 * CYCLE) * np.cos(2.0 * np.pi * np.arange(1, rows + 1) / PERIOD)
    x = DEVIATION * (np.roll(wave, 1) + math.sqrt(1.0 - CYCLE) * rng.standard_normal(rows))
    error = 2.0 / math.sqrt(size)  # of the phase at the window's end: twice that in its middle
    late = math.sqrt(2.0 * CYCLE) * np.cos(2.0 * np.pi * np.arange(1, rows + 1) / PERIOD + error)
    return of_holding(x, np.clip(late / p.full, -1.0, 1.0), shown, n)


def of_order() -> Power:
    """Of who follows the trend in stretches of trends, from half a window after their beginning to their end.

    The rest of the window is noise then, and its entropy lies where half of the trends' share puts it: of 20,000 such
    windows the share below the bound.
    """
    p = find("spectral_entropy").params
    n, rng = 1 << p.octaves, np.random.default_rng(1)
    turns = np.cumprod(np.where(rng.random((4_000, n)) < 1.0 / TREND, -1.0, 1.0), axis=1)
    turns[:, : n // 2] = 0.0
    x = DRIFT * turns + rng.standard_normal((4_000, n))
    power = np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True))) ** 2
    power[:, 0], power[:, -1] = 1e-300, power[:, -1] / 2.0
    shares = power / power.sum(axis=1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(axis=1) / math.log(n // 2 + 1)
    shown = float(np.mean(entropy < entropy_bound(p.level, n)))
    returns, on = trends(np.random.default_rng(2), 200_000)
    score = np.convolve(returns / DEVIATION, np.ones(p.trend))[: returns.size] / (math.sqrt(p.trend) * p.full)
    inside = on & (np.arange(returns.size) % STRETCH >= n // 2)
    return of_holding(returns, np.where(inside, np.clip(score, -1.0, 1.0), 0.0), shown, n)


def of_scale() -> Power:
    """Of who follows Haar's coefficient of the fourth scale: every window shows that much energy."""
    p, x = find("wavelet_energy").params, one_scale(np.random.default_rng(1), 200_000)
    h = np.repeat([1.0, -1.0], 8) / 16.0
    w = np.convolve(x, h)[: x.size]
    return of_holding(x, np.clip(w / w.std() / p.full, -1.0, 1.0), 1.0, p.window + 15)


def of_memory(exponent: float) -> Power:
    """Of who knows the exponent, while windows show it: both estimates of 300 of them, by another writing."""
    p, rng = find("hurst_exponent").params, np.random.default_rng(1)
    n, found = 1 << p.octaves, list[float]()
    sizes = [size for size in (8, 16, 32, 64, 128, 256) if size <= n // 4]
    for _ in range(300):
        w, points = fractional_noise(exponent, rng.standard_normal(2 * n)), list[tuple[float, float]]()
        for size in sizes:
            blocks = w.reshape(-1, size)
            profile, t = np.cumsum(blocks - blocks.mean(axis=1, keepdims=True), axis=1), np.arange(size)
            line = np.polynomial.polynomial.polyfit(t, profile.T, 1)
            residual = profile - line[0][:, None] - line[1][:, None] * t
            expected = math.exp(math.lgamma((size - 1) / 2) - math.lgamma(size / 2)) / math.sqrt(math.pi)
            expected *= sum(math.sqrt((size - r) / r) for r in range(1, size))
            ranges = np.mean(np.ptp(profile, axis=1) / blocks.std(axis=1)) / expected
            points.append((math.log(ranges), 0.5 * math.log(np.mean(residual**2))))
        found.append(0.25 + np.polyfit(np.log(sizes), np.array(points).mean(axis=1), 1)[0])
    low, high = hurst_band(p.level, p.octaves - 7)
    shown = np.mean((np.array(found) > high) if exponent > 0.5 else (np.array(found) < low))
    x, q, h = fractional(exponent)(np.random.default_rng(2), 100_000), p.memory, 2.0 * exponent
    known = np.convolve(x, np.ones(q))[: x.size] * ((q + 1.0) ** h - q**h - 1.0) / (2.0 * q**h)
    held = np.where(np.abs(known) > p.edge, np.clip(known / (p.full * DEVIATION), -1.0, 1.0), 0.0)
    return of_holding(x, held, float(shown), n)


# --- proofs ----------------------------------------------------------------------------------------------------------


class Planted(NamedTuple):
    """A strategy, its effect, and the power of a run."""

    name: str
    effect: Effect
    power: Callable[[], Power]


PLANTED = {
    "cycle": Planted("spectral_peaks", cycle, of_cycle),
    "ordered stretches": Planted("spectral_entropy", ordered, of_order),
    "one scale": Planted("wavelet_energy", one_scale, of_scale),
    "memory": Planted("hurst_exponent", fractional(0.7), lambda: of_memory(0.7)),
    "reversal": Planted("hurst_exponent", fractional(0.3), lambda: of_memory(0.3)),
}
NAMES = ("spectral_peaks", "spectral_entropy", "wavelet_energy", "hurst_exponent")


def inside(name: str, path: np.ndarray, **changed: Any) -> np.ndarray:
    """On which bars after the warm-up it wants a position."""
    strategy = find(name)
    p = strategy.params._replace(**changed)
    return forecasts(strategy, p, 100.0 * np.exp(np.cumsum(path))[:, None, None])[strategy.warmup(p) :] != 0.0


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("runs", RUNS)
def test_where_the_effect_is_planted_it_makes_money(planted: str, runs: int) -> None:
    name, effect, power = PLANTED[planted]
    least = power().least(runs)
    assert least >= 0.7 * runs, "so weak an effect proves nothing"
    ends = [earned(name, effect(np.random.default_rng(seed), ROWS)) for seed in range(runs)]
    assert sum(end > 0.0 for end in ends) >= least


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("none", [noise, garch])
@pytest.mark.parametrize("runs", RUNS)
def test_where_there_is_nothing_it_stays_out_and_makes_none(name: str, none: Effect, runs: int) -> None:
    """On noise its bound is passed as often as stated, or less, also where volatility clusters."""
    paths = [none(np.random.default_rng(seed), ROWS) for seed in range(runs)]
    ends = [earned(name, path) for path in paths]
    assert sum(end > 0.0 for end in ends) <= stats.binom.ppf(1.0 - CHANCE, runs, 0.5)
    p = find(name).params
    everywhere = {"edge": 0.0} if "edge" in p._fields else {}
    length = p.window if "window" in p._fields else 1 << p.octaves
    windows, level = runs * (ROWS - length) / length, p.level
    found = np.mean([inside(name, path, **everywhere).mean() for path in paths])
    assert found < level + 4.0 * math.sqrt(level * (1.0 - level) / windows)


def test_red_noise_has_no_cycle() -> None:
    """Neighbours that are correlated at 0.8: a null of white noise would find a slow cycle in most windows."""

    def red(rng: np.random.Generator, rows: int) -> np.ndarray:
        return lfilter([1.0], [1.0, -0.8], DEVIATION * rng.standard_normal(rows))

    paths = [red(np.random.default_rng(seed), ROWS) for seed in range(10)]
    found = np.mean([inside("spectral_peaks", path, edge=0.0).mean() for path in paths])
    assert found < 0.05 + 4.0 * math.sqrt(0.05 * 0.95 / (10 * ROWS / 256))


def test_order_of_fast_swings_is_not_followed() -> None:
    """Neighbours that are correlated at -0.4 are order too; a trend there is none."""
    path = lfilter([1.0], [1.0, 0.4], DEVIATION * np.random.default_rng(0).standard_normal(ROWS))
    assert inside("spectral_entropy", path).mean() < 0.01


def test_the_power_is_what_is_stated() -> None:
    """One run makes money with these probabilities; of 40 so many have to."""
    found = {planted: power() for planted, (_, _, power) in PLANTED.items()}
    assert {planted: (round(p.of_one, 4), p.least(40)) for planted, p in found.items()} == {
        "cycle": (1.0, 40),
        "ordered stretches": (0.9957, 37),
        "one scale": (1.0, 40),
        "memory": (1.0, 40),
        "reversal": (1.0, 40),
    }
