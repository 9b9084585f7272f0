"""What a regime is as a value, and what can be said of a series of its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.types import DAY, I64

#: Labels of a regime, (T,): indices into its names, or UNKNOWN.
Labels = NDArray[np.int8]

#: The label before a classifier has seen enough.
UNKNOWN: Final = -1

#: The length of a mean Gregorian year, ns.
YEAR: Final = 31_556_952 * (DAY // 86_400)


class Regime(msgspec.Struct, frozen=True, kw_only=True):
    """A classifier is a value: compiled `init(p) -> s` and `step(p, s, x) -> (s, label)` with what is known of them.

    names           the word of each label; step gives an index into them, or UNKNOWN
    fields          the K axis of x, in this order; x is (1, K), this row only
    lags            per field, ns from a value's date label (00:00 UTC) to the instant from which it may be used
    params, ranges  a NamedTuple of defaults; per name the inclusive (low, high) that is searched and accepted
    warmup(p)       observed rows before every label is known; raises TrimtabError where parameters contradict
    fold(p, s, x, out) -> s    step over x (T, 1, K), labels into out (T,)
    doc             idea, formula, source, and when it fails

    A row in which a field was not observed (NaN, infinite, or no positive price) is passed over: the label stands, and
    no window moves. Windows are counted in observed rows.
    """

    name: str
    names: tuple[str, ...]
    fields: tuple[str, ...]
    lags: Mapping[str, int]
    params: Any
    ranges: Mapping[str, tuple[float, float]]
    init: Callable[..., Any]
    step: Callable[..., Any]
    fold: Callable[..., Any]
    warmup: Callable[..., int]
    doc: str


class Bands(NamedTuple):
    """Stretches of one label, for a report to draw; parallel arrays (B,), in order, unknown stretches left out.

    start, end  ns UTC: from the close at which the label was named to the close at which it was named no longer (the
                last row, for the last band)
    """

    start: I64
    end: I64
    label: Labels


def bands(labels: Labels, ts: I64) -> Bands:
    """Stretches of equal labels: labels (T,), ts (T,) close instants, ns UTC, increasing."""
    edges = np.flatnonzero(np.diff(labels)) + 1
    first = np.concatenate((np.zeros(min(len(labels), 1), np.int64), edges))
    last = np.append(edges, len(labels) - 1)[: len(first)]
    known = labels[first] != UNKNOWN
    return Bands(ts[first][known], ts[last][known], labels[first][known])


def flips_per_year(labels: Labels, ts: I64) -> float:
    """How often the regime changed, per calendar year between the first and the last known label.

    labels  (T,)
    ts      (T,)  close instants, ns UTC, increasing
    ->            changes from one known label to another / years; NaN if fewer than two labels are known
    """
    known = labels != UNKNOWN
    named, at = labels[known], ts[known]
    if len(named) < 2:
        return float("nan")
    return int((np.diff(named) != 0).sum()) * YEAR / int(at[-1] - at[0])
