"""Where the Hurst exponent of noise lies: the table in trimtab.kernels.hurst_bands, made anew.

    python -m tests.oracle.hurst_bands

prints it: quantiles of the mean of both exponents over 100,000 windows of independent normal values for each length,
seed = the length. It takes half a minute. A quantile that n windows lie beyond has an error of 1 / sqrt(n) in its
probability: 10% at the outermost, 1% at the innermost.
"""

from __future__ import annotations

import sys

import numpy as np
from numba import njit

from trimtab.kernels.fractal import hurst_of
from trimtab.kernels.hurst_bands import LENGTHS, TAILS

PATHS = 100_000


@njit
def exponents(values: np.ndarray) -> np.ndarray:
    """Both exponents (P, 2) of windows (P, n)."""
    out = np.empty((values.shape[0], 2))
    for i in range(values.shape[0]):
        out[i] = hurst_of(values[i])
    return out


def quantiles(length: int, paths: int) -> np.ndarray:
    """Lower and upper quantiles (2, P) at the tails of the table."""
    rng = np.random.default_rng(length)
    parts = [exponents(rng.standard_normal((1_000, length))).mean(axis=1) for _ in range(paths // 1_000)]
    found = np.concatenate(parts)
    return np.array([np.quantile(found, TAILS), np.quantile(found, 1.0 - np.array(TAILS))])


def table(paths: int = PATHS) -> np.ndarray:
    """(lengths, 2, tails)"""
    return np.array([quantiles(length, paths) for length in LENGTHS])


if __name__ == "__main__":
    made = table()
    for name, side in (("LOW", 0), ("HIGH", 1)):
        lines = ["    (" + ", ".join(f"{value:.4f}" for value in row) + "),\n" for row in made[:, side]]
        sys.stdout.writelines([f"{name} = (\n", *lines, ")\n"])
