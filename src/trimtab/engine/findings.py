"""What the models did at a row that its bars do not say: it is booked with the row, and a fold takes it from there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

_NONE: Final[Mapping[int, str]] = MappingProxyType({})

#: Characters of what an exception says that are kept.
LONGEST: Final = 2_000


class Findings(NamedTuple):
    """Of one row.

    failed  model -> why it was quarantined there. Code may fail by chance (no memory, no time) and not again
    """

    failed: Mapping[int, str] = _NONE


#: Of a row at which nothing happened but what its bars say.
NOTHING_FOUND: Final = Findings()


def bookable(said: str) -> str:
    """What an exception says, as text that a journal can hold."""
    return said.encode("utf-8", "replace").decode()[:LONGEST]
