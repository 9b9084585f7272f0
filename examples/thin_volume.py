"""A limit of your own: no position larger than a share of what its instrument trades in a day."""

from trimtab.types import LimitRule


def allow(now, equity, weights, held, bars, bound):
    """weights (N,) are cut in place; bars[i, 3] is the close, bars[i, 7] the average daily volume (NaN: unknown)."""
    for i in range(weights.shape[0]):
        most = bound * bars[i, 7] * bars[i, 3] / equity
        if not abs(weights[i]) <= most:  # what is not known allows nothing
            weights[i] = most if weights[i] > 0.0 else -most


RULE = LimitRule(name="thin_volume", allow=allow, about="position / average daily volume")
