"""Where the Hurst exponent of noise lies in a window: an exponent inside is no reason to think of memory.

A window of 512 independent values shows 0.41 to 0.59 in 95 cases of 100, so a threshold such as 0.55 trades noise.
"""

from __future__ import annotations

from trimtab.kernels.autocorrelation import sidak
from trimtab.kernels.compiled import compiled

LENGTHS = (128, 256, 512, 1024, 2048, 4096)

#: Probability that noise lies beyond, on one side.
TAILS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25)

#: The mean of both exponents (WindowHurst) that noise is below, and above, with the probabilities TAILS, by length.
#: Made by `python -m tests.oracle.hurst_bands`: 100,000 windows of normal values each.
LOW = (
    (0.2419, 0.2629, 0.2810, 0.3000, 0.3291, 0.3552, 0.3865, 0.4077, 0.4250, 0.4400),
    (0.3165, 0.3317, 0.3444, 0.3588, 0.3801, 0.3990, 0.4210, 0.4364, 0.4486, 0.4588),
    (0.3635, 0.3740, 0.3842, 0.3947, 0.4112, 0.4253, 0.4417, 0.4528, 0.4617, 0.4693),
    (0.3918, 0.4018, 0.4096, 0.4179, 0.4308, 0.4420, 0.4547, 0.4631, 0.4701, 0.4761),
    (0.4145, 0.4214, 0.4270, 0.4341, 0.4445, 0.4536, 0.4639, 0.4708, 0.4762, 0.4810),
    (0.4294, 0.4350, 0.4407, 0.4464, 0.4550, 0.4623, 0.4707, 0.4763, 0.4808, 0.4847),
)
HIGH = (
    (0.7983, 0.7673, 0.7466, 0.7211, 0.6868, 0.6573, 0.6234, 0.5999, 0.5814, 0.5655),
    (0.6928, 0.6757, 0.6622, 0.6455, 0.6240, 0.6044, 0.5820, 0.5669, 0.5544, 0.5437),
    (0.6400, 0.6275, 0.6171, 0.6066, 0.5894, 0.5753, 0.5592, 0.5481, 0.5389, 0.5314),
    (0.6057, 0.5962, 0.5884, 0.5805, 0.5680, 0.5575, 0.5453, 0.5367, 0.5297, 0.5239),
    (0.5831, 0.5759, 0.5699, 0.5633, 0.5535, 0.5452, 0.5354, 0.5286, 0.5234, 0.5188),
    (0.5682, 0.5619, 0.5567, 0.5515, 0.5436, 0.5364, 0.5285, 0.5231, 0.5188, 0.5151),
)


@compiled
def hurst_band(level: float, row: int) -> tuple[float, float]:
    """The band that noise leaves with probability `level`, 0.002 to 0.5, half on each side, for LENGTHS[row].

    Between the tails of the table by the normal quantile of the probability, in which these quantiles are nearly lines.
    """
    z = sidak(level, 1)
    k = len(TAILS) - 2
    while k > 0 and TAILS[k] > 0.5 * level:
        k -= 1
    far, near = sidak(2.0 * TAILS[k], 1), sidak(2.0 * TAILS[k + 1], 1)
    part = (z - near) / (far - near)
    low = LOW[row][k + 1] + part * (LOW[row][k] - LOW[row][k + 1])
    high = HIGH[row][k + 1] + part * (HIGH[row][k] - HIGH[row][k + 1])
    return low, high
