"""Partial autocorrelation: what lag k says that the lags before it have not said, by Durbin-Levinson and by Burg.

Both give reflection coefficients, phi_kk in [-1, 1], and with them an autoregression: the same recursion turns any
such coefficients into the weights of a stationary one, so those inside the noise may be set to 0 first.
"""

from __future__ import annotations

import numpy as np

from trimtab.kernels.autocorrelation import WindowLags
from trimtab.kernels.compiled import compiled
from trimtab.types import F64


@compiled
def extend(weights: F64, k: int, reflection: float) -> None:
    """Weights of an autoregression of order k, in place, from those of order k - 1 and phi_kk.

    weights  (K,)  that of lag j at j - 1; from k - 1 on they are not read
    """
    for j in range((k - 1) // 2):
        near, far = weights[j], weights[k - 2 - j]
        weights[j] = near - reflection * far
        weights[k - 2 - j] = far - reflection * near
    if k % 2 == 0:
        middle = k // 2 - 1
        weights[middle] -= reflection * weights[middle]
    weights[k - 1] = reflection


@compiled
def durbin_levinson(cross: F64, partial: F64) -> None:
    """Partial autocorrelations of lags 1 … K from autocovariances (K + 1,), by Yule and Walker's equations.

    partial  (K,)  out; NaN where the variance is 0 or NaN. Autocovariances over the whole window's length (biased, as
                   `WindowLags.cross` is) keep every |phi_kk| at 1 or below

    Source: Durbin (1960), Rev. Int. Statistical Institute 28(3).
    """
    weights = np.zeros(partial.shape[0])
    left = cross[0]
    for k in range(1, partial.shape[0] + 1):
        gap = cross[k]
        for j in range(k - 1):
            gap -= weights[j] * cross[k - 1 - j]
        # A sequence that its past foretells exactly has nothing left for longer lags.
        reflection = gap / left if left > 1e-12 * cross[0] else (0.0 if cross[0] > 0.0 else np.nan)
        partial[k - 1] = reflection
        extend(weights, k, reflection)
        left *= 1.0 - reflection * reflection


@compiled
def burg(s: WindowLags, partial: F64) -> None:
    """Partial autocorrelations of lags 1 … K of a window's values less their mean, by Burg's recursion.

    partial  (K,)  out; as `durbin_levinson`. A pass over the window per lag: it takes no product over the window's end
                   for granted, so a short window's are less biased

    Source: Burg (1967), 37th meeting of the Society of Exploration Geophysicists.
    """
    n = s.length
    mask = np.uint64(s.ring.shape[0] - 1)
    ahead, back = np.empty(n), np.empty(n)
    for t in range(n):
        ahead[t] = s.ring[np.uint64(s.row - n + t) & mask] - s.mean if s.row >= n else np.nan
        back[t] = ahead[t]
    varies = s.cross[0] > 0.0
    for k in range(1, partial.shape[0] + 1):
        over, under = 0.0, 0.0
        for t in range(k, n):
            over += ahead[t] * back[t - 1]
            under += ahead[t] * ahead[t] + back[t - 1] * back[t - 1]
        reflection = 2.0 * over / under if under > 1e-12 * s.cross[0] else (0.0 if varies else np.nan)
        partial[k - 1] = reflection if varies else np.nan
        for t in range(n - 1, k - 1, -1):
            forward, backward = ahead[t], back[t - 1]
            ahead[t] = forward - reflection * backward
            back[t] = backward - reflection * forward


@compiled
def kept(partial: F64, bound: F64, weights: F64) -> int:
    """Weights (K,), out, of the autoregression whose phi_kk are those beyond their bound (K,); how many these are."""
    found = 0
    for k in range(1, partial.shape[0] + 1):
        passes = abs(partial[k - 1]) > bound[k - 1]
        found += passes
        extend(weights, k, partial[k - 1] if passes else 0.0)
    return found
