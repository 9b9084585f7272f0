"""Volume in buckets of equal size, how one-sided each of them was, and the share of it that was (VPIN).

A bar's volume is split into bought and sold by its price change (bulk classification): bought = volume * Phi(change /
sigma). Bars fill buckets of equal volume: one that does not fit is split, one that is large fills several. Of the last
n buckets

    VPIN = sum of |bought - sold| / sum of their volume          net = sum of (bought - sold) / sum of their volume

What lies in a bucket that is not full yet is no value.
Source: Easley, López de Prado, O'Hara (2012), Rev. Financial Studies 25(5).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import F64


class Buckets(NamedTuple):
    """vpin and net of the last buckets, NaN until as many as there are to be were full.

    sizes, sides  (buckets,)  volume of each that is full, and what of it was bought less sold, in a ring
    full          buckets that were filled since the beginning
    size          of the bucket that is being filled; volume and side: what is in it
    """

    sizes: F64
    sides: F64
    full: int
    size: float
    volume: float
    side: float
    vpin: float
    net: float


@compiled
def buckets_init(buckets: int) -> Buckets:
    """No volume yet; vpin is that of `buckets` buckets, 1 or more."""
    return Buckets(np.zeros(buckets), np.zeros(buckets), 0, np.nan, 0.0, 0.0, np.nan, np.nan)


@inlined
def bought(change: float, sigma: float) -> float:
    """The share of a bar's volume that was bought: Phi(change / sigma).

    Without a deviation (0 or NaN) 1 for a rise, 0 for a fall; one half for no change or one that is not known.
    """
    if change == 0.0 or change != change:
        return 0.5
    if not sigma > 0.0:
        return 1.0 if change > 0.0 else 0.0
    return 0.5 * math.erfc(-change / sigma / math.sqrt(2.0))


@compiled
def judge(s: Buckets, full: int, size: float, volume: float, side: float) -> Buckets:
    """The buckets with vpin and net made anew: only where one was filled."""
    n = s.sizes.shape[0]
    if full < n:
        return Buckets(s.sizes, s.sides, full, size, volume, side, np.nan, np.nan)
    total, one_sided, net = 0.0, 0.0, 0.0
    for k in range(n):
        total += s.sizes[k]
        one_sided += abs(s.sides[k])
        net += s.sides[k]
    return Buckets(s.sizes, s.sides, full, size, volume, side, one_sided / total, net / total)


@inlined
def buckets_step(s: Buckets, volume: float, share: float, size: float) -> Buckets:
    """Read a bar's volume, of which `share` was bought. A bucket that begins in it will hold `size`, above 0.

    A volume that is not above 0, or a size that is not, is passed over.
    """
    if not (volume > 0.0 and volume < np.inf and size > 0.0):
        return s
    held, side, full = s.volume, s.side, s.full
    # One that was filled to the brim is closed: the next begins with this bar.
    limit = s.size if held > 0.0 else size
    rest, lean = volume, 2.0 * share - 1.0
    if held + rest < limit:
        return Buckets(s.sizes, s.sides, full, limit, held + rest, side + rest * lean, s.vpin, s.net)
    n = s.sizes.shape[0]
    part = limit - held
    s.sizes[full % n], s.sides[full % n] = limit, side + part * lean
    full += 1
    rest -= part
    # More than n at once would only overwrite each other.
    more = int(min(math.floor(rest / size), 1e15))
    for k in range(max(more - n, 0), more):
        s.sizes[(full + k) % n], s.sides[(full + k) % n] = size, size * lean
    full += more
    rest = max(rest - more * size, 0.0)
    return judge(s, full, size, rest, rest * lean)
