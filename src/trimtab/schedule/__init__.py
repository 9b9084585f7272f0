"""What happens every so often, and when: at absolute instants, wherever the data begins (L0).

Weeks begin on Monday 00:00 UTC, and whole weeks are counted from the first Monday of the epoch; every other length is
counted from the epoch itself, so days begin at 00:00 UTC. Bars, fits, the rebalance calendar and allocators all ask
here.
"""

from __future__ import annotations

from typing import Any, Final, overload

from trimtab.types import DAY, I64

WEEK: Final = 7 * DAY

#: 1970-01-05 00:00 UTC, the first Monday of the epoch.
MONDAY: Final = 4 * DAY


def anchor_of(every: int) -> int:
    """An instant (ns UTC) from which lengths of `every` ns are counted."""
    return MONDAY if every % WEEK == 0 else 0


@overload
def interval_of(ts: int, every: int) -> int: ...
@overload
def interval_of(ts: I64, every: int) -> I64: ...
def interval_of(ts: int | I64, every: int) -> int | I64:
    """The number of the interval of `every` ns that an instant (ns UTC) is in; the one that begins at it, at its edge.

    Something is due at the first row in a new interval: the first at or after each edge.
    """
    return (ts - anchor_of(every)) // every


@overload
def end_of(ts: int, every: int) -> int: ...
@overload
def end_of(ts: I64, every: int) -> I64: ...
def end_of(ts: int | I64, every: int) -> int | I64:
    """The first edge between two intervals of `every` ns that is at or after an instant (ns UTC)."""
    anchor = anchor_of(every)
    return anchor - (anchor - ts) // every * every


def crossed(before: int | I64, ts: int | I64, every: int) -> Any:
    """Is an instant the first in a new interval, after the instant before it? bool, or (R,) of them."""
    return interval_of(ts, every) != interval_of(before, every)
