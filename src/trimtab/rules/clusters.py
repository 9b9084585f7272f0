"""What moves together: groups of correlated instruments, estimated anew each day on closed bars (design §8)."""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.compiled import loop

#: Days of returns from which correlations are estimated, and how many are needed at least.
CLUSTER_DAYS: Final = 60
CLUSTER_LEAST: Final = 20


@loop
def clusters(marks, threshold):
    """Groups of correlated instruments by day: single linkage of |correlation| of daily returns.

    marks       (D, N) marks at day ends; 0: none yet
    threshold   |correlation| from which two instruments are linked
    ->          (D, N) group of each instrument after that day: the smallest index in it

    Correlations are of the last 60 daily returns, 20 at least; an instrument with fewer is alone.
    """
    D, N = marks.shape
    found = np.empty((D, N), np.int64)
    returns = np.full((D, N), np.nan)
    for d in range(1, D):
        for i in range(N):
            if marks[d - 1, i] > 0.0:
                returns[d, i] = marks[d, i] / marks[d - 1, i] - 1.0
    scaled, rho = np.empty((CLUSTER_DAYS, N)), np.empty(N)
    for d in range(D):
        for i in range(N):
            found[d, i] = i
        first = max(d - CLUSTER_DAYS + 1, 1)
        if d - first + 1 < CLUSTER_LEAST:
            continue
        days = scaled[: d - first + 1]
        standardise(returns[first : d + 1], days)
        for i in range(1, N):
            correlate(days, i, rho)
            for j in range(i):
                if abs(rho[j]) >= threshold and found[d, i] != found[d, j]:
                    join(found[d], found[d, i], found[d, j])
    return found


@loop
def standardise(values, out):
    """Write (K, N) values less their column's mean, over its norm, into out: dot products of columns are correlations.

    NaN where a value of the column is, or all are the same: nothing is correlated with that.
    """
    K, N = values.shape
    mean, norm = np.zeros(N), np.zeros(N)
    for k in range(K):
        for i in range(N):
            mean[i] += values[k, i]
    for i in range(N):
        mean[i] /= K
    for k in range(K):
        for i in range(N):
            out[k, i] = values[k, i] - mean[i]
            norm[i] += out[k, i] * out[k, i]
    for i in range(N):
        norm[i] = np.sqrt(norm[i]) if norm[i] > 1e-24 * K else np.nan
    for k in range(K):
        for i in range(N):
            out[k, i] /= norm[i]


@loop
def correlate(columns, i, rho):
    """The dot product of column i of (K, N) with each column before it, into rho; vectorises."""
    for j in range(i):
        rho[j] = 0.0
    for k in range(columns.shape[0]):
        own = columns[k, i]
        for j in range(i):
            rho[j] += own * columns[k, j]


@loop
def join(group, one, other):
    """Make two groups one, under the smaller of their numbers."""
    low, high = min(one, other), max(one, other)
    for k in range(group.shape[0]):
        if group[k] == high:
            group[k] = low
