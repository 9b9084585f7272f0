"""All that is wrong with one settings file, said at once: where, which key, what was expected, what was found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from trimtab.app.document import Mapping, Place, place_of
from trimtab.types import TrimtabError
from trimtab.words import near

#: No more faults than this are listed; the rest are counted.
MOST: Final = 25

Path = tuple[str, ...]


class Fault(NamedTuple):
    """One mistake: the place it was written, the path to its key, and the sentence a user reads."""

    place: Place
    path: Path
    problem: str


class Faults:
    """The faults of one tree, in the order of discovery."""

    def __init__(self, root: Mapping) -> None:
        self.root = root
        self.found: list[Fault] = []

    def add(self, path: Path, problem: str) -> None:
        self.found.append(Fault(place_of(self.root, path), path, problem))

    def unknown(self, path: Path, known: Iterable[str], hint: str = "") -> None:
        """A key that is none; hint: what was meant, where more is known of it than the names beside it."""
        names = list(known)
        self.add(path, f"there is no such key{hint or near(path[-1], names)}; known here: {', '.join(names)}")

    def at(self, path: Path) -> bool:
        """True if this path, or anything above it, already has a fault."""
        return any(fault.path == path[: len(fault.path)] for fault in self.found)

    def check(self) -> None:
        """TrimtabError with every fault, in the order of the lines; nothing if there is none."""
        if not self.found:
            return
        faults = sorted(self.found, key=lambda fault: (fault.place.source, fault.place.line))
        lines = [f"{_where(fault)}: {fault.problem}" for fault in faults[:MOST]]
        if len(faults) == 1:
            raise TrimtabError(lines[0])
        if len(faults) > MOST:
            lines.append(f"… and {len(faults) - MOST} more")
        raise TrimtabError(f"{self.root.place.source}: {len(faults)} mistakes\n  " + "\n  ".join(lines))


def _where(fault: Fault) -> str:
    """The place and the key; an option such as --start says both."""
    place, key = str(fault.place), ".".join(fault.path) or "the top"
    return place if place == f"--{key}" else f"{place}  {key}"
