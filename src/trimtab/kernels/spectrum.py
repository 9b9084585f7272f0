"""Power spectrum of the last `length` values: its peak beside red noise, and its entropy.

The transform is made anew from the window on every row, by a fast Fourier transform that compiles: it depends on
nothing but the window, so nothing drifts and nothing has to be recomputed on a schedule. 256 values take one or two
microseconds; a sliding transform would take less, and have an error that grows between its recomputations.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.autocorrelation import sidak
from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import ring_of
from trimtab.types import F64, I64


class WindowSpectrum(NamedTuple):
    """Spectrum of the last `length` values, a power of two, less their mean.

    power       (length / 2 + 1,)  2 / length * |X_k|^2 at k / length cycles per row, not doubled at the last; the
                first, of the mean, is 0. NaN until the window is full, and while it holds a value that is not finite
    real, imag  (length / 2 + 1,)  X_k = sum over t = 0 … length - 1 of (x_t - mean) e^(-2 pi i k t / length)
    rho         correlation of a value with the one before it; NaN where the window does not vary
    row, run    rows read, and those of them since the last value that is not finite
    work, turns, order: of the transform
    """

    ring: F64
    power: F64
    real: F64
    imag: F64
    work: F64
    turns: F64
    order: I64
    row: int
    run: int
    length: int
    mean: float
    rho: float


@compiled
def spectrum_init(length: int) -> WindowSpectrum:
    """An empty window of `length` values: a power of two, 8 or more."""
    half, bins = length // 2, length // 2 + 1
    turns, order = np.empty((2, half)), np.zeros(half, np.int64)
    for k in range(half):
        turns[0, k] = math.cos(2.0 * math.pi * k / length)
        turns[1, k] = -math.sin(2.0 * math.pi * k / length)
        left, turned = k, 0
        bits = half
        while bits > 1:
            turned = 2 * turned + left % 2
            left //= 2
            bits //= 2
        order[k] = turned
    nan = np.nan
    unknown, work = np.full(bins, nan), np.zeros((2, half))
    return WindowSpectrum(
        ring_of(length), unknown, unknown.copy(), unknown.copy(), work, turns, order, 0, 0, length, nan, nan
    )


@compiled
def butterflies(work: F64, turns: F64) -> None:
    """Transform of complex values in bit-reversed order, in place.

    work   (2, M)  real and imaginary parts, M a power of two
    turns  (2, M)  cos and -sin of pi k / M

    Source: Cooley, Tukey (1965), Mathematics of Computation 19(90).
    """
    size = work.shape[1]
    re, im = work[0], work[1]
    half = 1
    while half < size:
        stride = size // half
        for j in range(half):
            c, s = turns[0, j * stride], turns[1, j * stride]
            for a in range(j, size, 2 * half):
                b = a + half
                x, y = re[b] * c - im[b] * s, re[b] * s + im[b] * c
                re[b], im[b] = re[a] - x, im[a] - y
                re[a], im[a] = re[a] + x, im[a] + y
        half *= 2


@compiled
def unfold(work: F64, turns: F64, real: F64, imag: F64) -> None:
    """Transform of 2 M real values from that of M complex ones, whose parts are the even and the odd values."""
    half = work.shape[1]
    re, im = work[0], work[1]
    real[0], imag[0] = re[0] + im[0], 0.0
    real[half], imag[half] = re[0] - im[0], 0.0
    for k in range(1, half):
        even_re, even_im = 0.5 * (re[k] + re[half - k]), 0.5 * (im[k] - im[half - k])
        odd_re, odd_im = 0.5 * (im[k] + im[half - k]), 0.5 * (re[half - k] - re[k])
        c, s = turns[0, k], turns[1, k]
        real[k] = even_re + odd_re * c - odd_im * s
        imag[k] = even_im + odd_re * s + odd_im * c


@compiled
def analyse(s: WindowSpectrum, first: int) -> tuple[float, float]:
    """Write power, real and imag of the window from row `first` on; its mean and rho."""
    n, mask = s.length, np.uint64(s.ring.shape[0] - 1)
    # Taken from the oldest: of equal values all sums are exactly 0.
    shift = s.ring[np.uint64(first) & mask]
    gap = 0.0
    for t in range(n):
        gap += s.ring[np.uint64(first + t) & mask] - shift
    gap /= n
    own, cross, before, oldest = 0.0, 0.0, 0.0, 0.0
    for t in range(n):
        y = s.ring[np.uint64(first + t) & mask] - shift - gap
        s.work[t & 1, s.order[t >> 1]] = y
        own += y * y
        cross += y * before
        before = y
        if t == 0:
            oldest = y
    butterflies(s.work, s.turns)
    unfold(s.work, s.turns, s.real, s.imag)
    for k in range(1, n // 2 + 1):
        s.power[k] = 2.0 / n * (s.real[k] * s.real[k] + s.imag[k] * s.imag[k])
    s.power[0] = 0.0
    s.power[n // 2] *= 0.5
    late = own - oldest * oldest * (1.0 + 1.0 / (n - 1.0))
    early = own - before * before * (1.0 + 1.0 / (n - 1.0))
    rho = (cross - oldest * before / (n - 1.0)) / math.sqrt(late * early) if min(late, early) > 0.0 else np.nan
    return shift + gap, min(0.999, max(-0.999, rho)) if rho == rho else np.nan


@inlined
def spectrum_step(s: WindowSpectrum, x: float) -> WindowSpectrum:
    """Read x."""
    row, n = s.row, s.length
    run = s.run + 1 if abs(x) < np.inf else 0
    s.ring[np.uint64(row) & np.uint64(s.ring.shape[0] - 1)] = x
    mean, rho = np.nan, np.nan
    if run >= n:
        mean, rho = analyse(s, row + 1 - n)
    elif run == 0:
        s.power[:] = np.nan
        s.real[:] = np.nan
        s.imag[:] = np.nan
    return WindowSpectrum(s.ring, s.power, s.real, s.imag, s.work, s.turns, s.order, row + 1, run, n, mean, rho)


# --- peaks beside red noise ------------------------------------------------------------------------------------------


@inlined
def red_noise(s: WindowSpectrum, k: int) -> float:
    """Spectrum, up to a factor, at bin k of noise that leans on the value before it as the window does: AR(1)."""
    at = s.turns[0, k] if k < s.length // 2 else -1.0
    return (1.0 - s.rho * s.rho) / (1.0 + s.rho * s.rho - 2.0 * s.rho * at)


@compiled
def peak(s: WindowSpectrum, low: int, high: int) -> tuple[int, float]:
    """The bin from low to high whose power is the largest beside red noise, and its share of theirs: Fisher's g.

    ->  g is NaN where the window does not vary

    Source: Fisher (1929), Proc. Royal Society A 125; red noise: Torrence, Compo (1998), Bulletin of the American
    Meteorological Society 79(1).
    """
    best, most, total = low, -1.0, 0.0
    for k in range(low, high + 1):
        ratio = s.power[k] / red_noise(s, k)
        total += ratio
        if ratio > most:
            best, most = k, ratio
    return best, most / total if total > 0.0 else np.nan


@compiled
def fisher_p(g: float, bins: int) -> float:
    """Probability that the largest of `bins` exponentials, over their sum, is above g.

    The sum alternates: only terms with j g < 1 exist, and for small g, where they cancel, the answer is 1.
    Source: Fisher (1929); Brockwell, Davis (1991), Time Series: Theory and Methods, 10.2.
    """
    if not bins * g > 1.0:
        return 1.0
    if bins * math.exp(-bins * g) > 14.0:  # p is above 1 - 1e-6
        return 1.0
    total, chosen = 0.0, 0.0  # log of how many times j can be chosen
    for j in range(1, bins + 1):
        if j * g >= 1.0:
            break
        chosen += math.log((bins - j + 1.0) / j)
        term = math.exp(chosen + (bins - 1.0) * math.log1p(-j * g))
        total += term if j % 2 else -term
    return min(1.0, max(0.0, total))


@compiled
def fisher_bound(level: float, bins: int) -> float:
    """The g that noise passes with probability `level`, up to 0.5, of 2 bins or more."""
    low, high = 1.0 / bins, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if fisher_p(middle, bins) > level:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@compiled
def between(s: WindowSpectrum, k: int) -> float:
    """Where the frequency of the peak at bin k lies, in bins: between the two that share it, by their phases.

    Source: Jacobsen, Kootsookos (2007), IEEE Signal Processing Magazine 24(3), eq. 3.
    """
    over_re, over_im = s.real[k - 1] - s.real[k + 1], s.imag[k - 1] - s.imag[k + 1]
    under_re = 2.0 * s.real[k] - s.real[k - 1] - s.real[k + 1]
    under_im = 2.0 * s.imag[k] - s.imag[k - 1] - s.imag[k + 1]
    size = under_re * under_re + under_im * under_im
    gap = (over_re * under_re + over_im * under_im) / size if size > 0.0 else 0.0
    return k + min(0.5, max(-0.5, gap))


@compiled
def ahead(s: WindowSpectrum, at: float) -> float:
    """What a wave of `at` cycles per window, as large and as timed as in the window, has for the next row.

    at  in bins, not whole as a rule; away from 0 and length / 2, where a wave and its mirror run together
    """
    n, mask = s.length, np.uint64(s.ring.shape[0] - 1)
    angle = 2.0 * math.pi * at / n
    c, d = math.cos(angle), math.sin(angle)
    re, im, x, y = 0.0, 0.0, 1.0, 0.0
    # Backwards from the next row, whose phase is 0.
    for t in range(1, n + 1):
        x, y = x * c - y * d, x * d + y * c
        value = s.ring[np.uint64(s.row - t) & mask] - s.mean
        re += value * x
        im += value * y
    return 2.0 / n * re


# --- entropy ---------------------------------------------------------------------------------------------------------


@compiled
def spectral_entropy(power: F64) -> float:
    """Entropy of the shares that frequencies have in the power, over that of equal shares: 0 one wave, 1 even.

    ->  NaN where there is no power. The bin of the mean counts among those that could have a share, as in antropy

    Source: Inouye et al. (1991), Electroencephalography and Clinical Neurophysiology 79(3).
    """
    total = 0.0
    for k in range(power.shape[0]):
        total += power[k]
    if not total > 0.0:
        return np.nan
    surprise = 0.0
    for k in range(power.shape[0]):
        if power[k] > 0.0:
            surprise -= power[k] / total * math.log(power[k] / total)
    return surprise / math.log(float(power.shape[0]))


@compiled
def digamma(x: float) -> float:
    """Of x > 0; and trigamma below. Source: Abramowitz, Stegun (1964), 6.3.18 and 6.4.12, after ten recurrences."""
    down = 0.0
    for k in range(10):
        down -= 1.0 / (x + k)
    y = x + 10.0
    r = 1.0 / (y * y)
    return down + math.log(y) - 0.5 / y - r * (1.0 / 12.0 - r * (1.0 / 120.0 - r * (1.0 / 252.0 - r / 240.0)))


@compiled
def trigamma(x: float) -> float:
    up = 0.0
    for k in range(10):
        up += 1.0 / ((x + k) * (x + k))
    y = x + 10.0
    r = 1.0 / (y * y)
    return up + 1.0 / y + 0.5 * r + r / y * (1.0 / 6.0 - r * (1.0 / 30.0 - r * (1.0 / 42.0 - r / 30.0)))


@compiled
def entropy_moments(length: int) -> tuple[float, float]:
    """Mean and variance of the entropy, in nats, of the spectrum of `length` Gaussian values without correlation.

    Shares of such a spectrum have Dirichlet's law, of parameter 1 for each bin and 1/2 for the last, so both are exact:
    E H = psi(A + 1) - sum a / A psi(a + 1), A = sum of a.
    Source: Wolpert, Wolf (1995), Physical Review E 52(6).
    """
    whole, last = length // 2 - 1.0, 0.5
    a = whole + last
    one, half = digamma(2.0), digamma(1.0 + last)
    top, own = digamma(a + 1.0), (whole * one + last * half) / a
    # E H^2 over i = j and i /= j, with psi and psi' of raised parameters; p_i p_j has weights a_i a_j / (A (A + 1)).
    below, rest = digamma(a + 2.0), trigamma(a + 2.0)
    scale = 1.0 / (a * (a + 1.0))
    same = whole * 2.0 * ((digamma(3.0) - below) ** 2 + trigamma(3.0) - rest)
    same += last * (1.0 + last) * ((digamma(2.0 + last) - below) ** 2 + trigamma(2.0 + last) - rest)
    other = whole * (whole - 1.0) * ((one - below) * (one - below) - rest)
    other += 2.0 * whole * last * ((one - below) * (half - below) - rest)
    mean = top - own
    return mean, scale * (same + other) - mean * mean


@compiled
def entropy_bound(level: float, length: int) -> float:
    """The normalised entropy that noise falls below with probability `level`, up to 0.5, in a window of `length`.

    What is missing to even shares has nearly a gamma law of the same mean and variance, whose quantile is Wilson and
    Hilferty's. Source: Wilson, Hilferty (1931), PNAS 17(12).
    """
    mean, variance = entropy_moments(length)
    missing = math.log(length / 2.0) - mean
    shape = missing * missing / variance
    z = sidak(2.0 * level, 1) if level < 0.5 else 0.0
    cube = 1.0 - 1.0 / (9.0 * shape) + z / (3.0 * math.sqrt(shape))
    return (math.log(length / 2.0) - missing * cube * cube * cube) / math.log(length / 2.0 + 1.0)
