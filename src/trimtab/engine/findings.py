"""What the models did at a row that its bars do not say: it is booked with the row, and a fold takes it from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

_NONE: Final[Mapping[int, str]] = MappingProxyType({})

#: Characters of what an exception says that are kept.
LONGEST: Final = 2_000


class Fitted(NamedTuple):
    """What a fit answered at a row.

    unit    of its model
    state   the unit's State with the answer in it, as `engine.saving` packs it
    reason  why the window was refused; None: it was not
    """

    unit: int
    state: bytes
    reason: str | None = None


_NO_FITS: Final[Mapping[int, Sequence[Fitted]]] = MappingProxyType({})


class Findings(NamedTuple):
    """Of one row.

    failed  model -> why it was quarantined there. Code may fail by chance (no memory, no time) and not again
    fits    model -> what its fits answered: another release of a library, or a solver's chance, answers otherwise
    """

    failed: Mapping[int, str] = _NONE
    fits: Mapping[int, Sequence[Fitted]] = _NO_FITS


#: Of a row at which nothing happened but what its bars say.
NOTHING_FOUND: Final = Findings()


def bookable(said: str) -> str:
    """What an exception says, as text that a journal can hold."""
    return said.encode("utf-8", "replace").decode()[:LONGEST]
