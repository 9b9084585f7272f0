"""The strategies of spectra, wavelets and Hurst exponents against a second writing of their rules, window by window.

It shares no code with the package: numpy cuts the windows, transforms and fits, scipy gives the laws.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import signal, special, stats

from trimtab.kernels.hurst_bands import hurst_band
from trimtab.strategies import find, params_of
from trimtab.strategies.folding import forecasts


@pytest.fixture(scope="module", params=["made", "BTCEUR"])
def close(request: pytest.FixtureRequest) -> np.ndarray:
    """Closes with a cycle, memory, clusters, a jump and a standstill; or of a coin."""
    if request.param == "made":
        rng, t = np.random.default_rng(22), np.arange(1_600)
        x = rng.standard_t(4, t.size) * 0.01 * np.exp(0.5 * np.sin(t / 60.0))
        x[400:900] += 0.008 * np.cos(2.0 * np.pi * t[400:900] / 17.3)
        x[900:] = signal.lfilter([1.0], [1.0, -0.3], x[900:])
        x[700], x[1_200:1_250] = -0.3, 0.0
        return 50.0 * np.exp(np.cumsum(x))
    shared: Path = request.getfixturevalue("shared")
    return pd.read_parquet(shared / "data/crypto_bitvavo/BTCEUR_1h.parquet")["close"].to_numpy(copy=True)[:1_600]


def scaled(close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T,) each: moves over the deviation of the 32 before them, cut off at 4, and the deviation of the last 32."""
    x = np.diff(np.log(close), prepend=np.nan)
    spread = pd.Series(x).rolling(32).apply(lambda w: w.std(ddof=1), raw=True).to_numpy(copy=True)
    spread[spread < 1e-12] = 0.0
    before = np.concatenate(([np.nan], spread[:-1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.where((before == 0.0) & (np.abs(x) < 1e-12), 0.0, x / before)
    return np.clip(y, -4.0, 4.0), spread


def sized(move: float, spread: float, p: Any) -> float:
    return 0.0 if abs(move) * spread <= p.edge else float(np.clip(move / p.full, -1.0, 1.0))


def power_of(w: np.ndarray) -> np.ndarray:
    p = signal.periodogram(w, detrend="constant")[1]
    p[0] = 0.0
    return p


def g_bound(level: float, bins: int) -> float:
    """Where scipy's root of Fisher's sum is, in exact binomials."""
    from scipy.optimize import brentq

    def p(g: float) -> float:
        terms = [special.comb(bins, j, exact=True) * (1.0 - j * g) ** (bins - 1) for j in range(1, int(1.0 / g) + 1)]
        return math.fsum(term if j % 2 == 0 else -term for j, term in enumerate(terms))

    return float(brentq(lambda g: p(g) - level, 1.2 / bins, 0.999))


def spectral_peaks(p: Any, y: np.ndarray, spread: float) -> float:
    n = 1 << p.octaves
    w = y[-n:]
    r = np.corrcoef(w[1:], w[:-1])[0, 1]
    k = np.arange(p.cycles, n // p.shortest + 1)
    ratio = power_of(w)[k] * np.abs(1.0 - r * np.exp(-2j * np.pi * k / n)) ** 2
    if ratio.max() / ratio.sum() <= g_bound(p.level, k.size):
        return 0.0
    d = w - w.mean()
    top, x = k[ratio.argmax()], np.fft.fft(d)
    gap = ((x[top - 1] - x[top + 1]) / (2.0 * x[top] - x[top - 1] - x[top + 1])).real
    at = top + np.clip(gap, -0.5, 0.5)
    wave = 2.0 / n * d @ np.exp(-2j * np.pi * at * np.arange(n) / n)
    return sized((wave * np.exp(2j * np.pi * at)).real, spread, p)


def h_bound(level: float, n: int) -> float:
    """Moments of Dirichlet's entropy by its Beta margins, numerically."""
    a = np.array([1.0] * (n // 2 - 1) + [0.5])
    whole = a.sum()
    mean = special.digamma(whole + 1.0) - (a / whole) @ special.digamma(a + 1.0)
    up, two = special.digamma(whole + 2.0), special.polygamma(1, whole + 2.0)
    j = special.digamma(a + 1.0) - up
    cross = np.outer(a * j, a * j) - two * np.outer(a, a)
    same = (special.digamma(a + 2.0) - up) ** 2 + special.polygamma(1, a + 2.0) - two
    np.fill_diagonal(cross, a * (a + 1.0) * same)
    variance = cross.sum() / (whole * (whole + 1.0)) - mean**2
    missing = math.log(n / 2) - mean
    shape = missing**2 / variance
    cube = 1.0 - 1.0 / (9.0 * shape) + stats.norm.isf(level) / (3.0 * math.sqrt(shape))
    return float((math.log(n / 2) - missing * cube**3) / math.log(n / 2 + 1))


def spectral_entropy(p: Any, y: np.ndarray, spread: float) -> float:
    w = y[-(1 << p.octaves) :]
    shares = power_of(w) / power_of(w).sum()
    ordered = special.entr(shares).sum() / math.log(shares.size) < h_bound(p.level, w.size)
    if not (ordered and np.corrcoef(w[1:], w[:-1])[0, 1] > 0.0):
        return 0.0
    return float(np.clip(y[-p.trend :].sum() / math.sqrt(p.trend) / p.full, -1.0, 1.0))


def wavelet_energy(p: Any, y: np.ndarray, spread: float) -> float:
    z, moves = [], []
    for j in range(1, p.scales + 1):
        half = 1 << (j - 1)
        h = np.repeat([1.0, -1.0], half) / (2.0 * half)
        coefficients = np.convolve(y, h, mode="valid")[-p.window :]
        share = 2.0**j * np.mean(coefficients**2) / y[-p.window :].var()
        c = np.correlate(h, h, mode="full")[h.size :]
        k = np.arange(1, c.size + 1)
        inverse = 2.0 * 4.0**j * (c**2 @ (1.0 - k / p.window)) / p.window
        z.append((share ** (1.0 / 3.0) - 1.0 + 2.0 * inverse / 9.0) / math.sqrt(2.0 * inverse / 9.0))
        moves.append(coefficients[-1] / math.sqrt(np.mean(coefficients**2)))
    best = int(np.argmax(z))
    bound = stats.norm.isf(1.0 - (1.0 - p.level) ** (1.0 / p.scales))
    return float(np.clip(moves[best] / p.full, -1.0, 1.0)) if best > 0 and z[best] > bound else 0.0


def hurst_exponent(p: Any, y: np.ndarray, spread: float) -> float:
    w, points = y[-(1 << p.octaves) :], []
    n = 8
    while n <= w.size // 4:
        blocks = w.reshape(-1, n)
        blocks = blocks - blocks.mean(axis=1, keepdims=True)
        profile, s = np.cumsum(blocks, axis=1), blocks.std(axis=1)
        moves = s > 1e-12
        expected = special.gamma((n - 1) / 2) / math.sqrt(math.pi) / special.gamma(n / 2)
        expected *= sum(math.sqrt((n - r) / r) for r in range(1, n))
        line = np.polynomial.polynomial.polyfit(np.arange(n), profile.T, 1)
        residual = profile - line[0][:, None] - line[1][:, None] * np.arange(n)
        ranges = np.mean((np.ptp(profile, axis=1)[moves]) / s[moves])
        points.append((math.log(n), math.log(ranges / expected), 0.5 * math.log(np.mean(residual**2))))
        n *= 2
    size, ranges, fluctuations = np.array(points).T
    h = 0.5 * (0.5 + np.polyfit(size, ranges, 1)[0] + np.polyfit(size, fluctuations, 1)[0])
    low, high = hurst_band(p.level, p.octaves - 7)
    if low <= h <= high:
        return 0.0
    q, two = p.memory, 2.0 * min(0.99, max(0.01, h))
    covariance = sum(0.5 * ((k + 1.0) ** two - 2.0 * k**two + (k - 1.0) ** two) for k in range(1, q + 1))
    return sized(covariance / q**two * y[-q:].sum(), spread, p)


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        (spectral_peaks, {"octaves": 7, "level": 0.3}),
        (spectral_peaks, {"octaves": 6, "shortest": 3, "cycles": 2, "level": 0.5, "edge": 0.0, "full": 0.5}),
        (spectral_entropy, {"octaves": 6, "level": 0.3}),
        (spectral_entropy, {"octaves": 7, "level": 0.5, "trend": 3, "full": 0.5}),
        (wavelet_energy, {"window": 64, "scales": 3, "level": 0.3}),
        (wavelet_energy, {"window": 200, "scales": 4, "level": 0.2, "full": 0.4}),
        (hurst_exponent, {"octaves": 7, "level": 0.4}),
        (hurst_exponent, {"octaves": 8, "level": 0.3, "memory": 9, "edge": 0.0, "full": 0.1}),
    ],
)
def test_every_seventh_forecast_is_that_of_the_second_writing(close: np.ndarray, rule: Any, changed: Any) -> None:
    strategy = find(rule.__name__)
    p = params_of(strategy, changed)
    out, (y, spread) = forecasts(strategy, p, close[:, None, None]), scaled(close)
    first = strategy.warmup(p)
    assert np.isnan(out[:first]).all()
    rows = range(first, close.size, 7)
    expected = [rule(p, y[33 : t + 1], spread[t]) for t in rows]
    assert 0.01 < np.mean(np.array(expected) != 0.0) < 1.0
    np.testing.assert_allclose(out[first::7], expected, rtol=1e-7, atol=1e-9)
