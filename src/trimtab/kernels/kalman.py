"""A line whose slope and intercept walk at random, followed by a Kalman filter: y = slope * x + intercept + noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined

#: Variance of slope and intercept before the first row, where nothing is known of them (in units of the noise).
DIFFUSE = 1e7


class Kalman(NamedTuple):
    """What is believed after the last row, and how that row came.

    slope, intercept     posterior: the next row's prior too, for both only walk
    p_ss, p_si, p_ii     their variances and covariance
    innovation           y less what the PRIOR slope and intercept said of it; NaN before the first row
    variance             of the innovation, before the row was seen
    prior                the slope that the innovation was measured with
    """

    slope: float
    intercept: float
    p_ss: float
    p_si: float
    p_ii: float
    innovation: float
    variance: float
    prior: float


@compiled
def kalman_init(variance: float) -> Kalman:
    """A filter that begins at slope 0 and intercept 0, each with this variance."""
    return Kalman(0.0, 0.0, variance, 0.0, variance, np.nan, np.nan, np.nan)


@inlined
def kalman_step(s: Kalman, x: float, y: float, walk: float, noise: float) -> Kalman:
    """Read (x, y); a row with a NaN leaves what is believed, and has no innovation.

    walk   variance by which slope and intercept each move from row to row
    noise  variance of y about the line, above 0

    The innovation is what may be traded: it compares y with what was known before it. What the posterior leaves of y
    has seen it, and is a small part of it. Source: Harvey (1989), Forecasting, Structural Time Series Models and the
    Kalman Filter, sec. 3.2; Chan (2013), Algorithmic Trading, ch. 3 (walk = delta / (1 - delta)).
    """
    innovation = y - (s.slope * x + s.intercept)
    if innovation != innovation:  # NaN
        return Kalman(s.slope, s.intercept, s.p_ss, s.p_si, s.p_ii, np.nan, np.nan, s.slope)
    r_ss, r_ii = s.p_ss + walk, s.p_ii + walk
    along_s, along_i = r_ss * x + s.p_si, s.p_si * x + r_ii
    variance = along_s * x + along_i + noise
    gain_s, gain_i = along_s / variance, along_i / variance
    return Kalman(
        s.slope + gain_s * innovation,
        s.intercept + gain_i * innovation,
        r_ss - gain_s * along_s,
        s.p_si - gain_s * along_i,
        r_ii - gain_i * along_i,
        innovation,
        variance,
        s.slope,
    )
