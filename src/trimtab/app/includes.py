"""What a user should know of the files that a spec includes: which of two was taken, and what of a preset stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trimtab.app.document import Included, Mapping, Node, Place, Scalar, place_of, read_document


def warnings_of(root: Mapping, included: Sequence[Included]) -> Iterator[str]:
    """What is easily overlooked: a file in the place of a preset, and settings of a preset that are not in force.

    root  the settings with every layer and override
    """
    for one in dict.fromkeys(included):
        if one.shadows:
            yield f"{one.place} include {one.name}: took the file {one.path}, not the preset of that name"
        for path, place in changes(root, one):
            yield f"{place} {'.'.join(path)}: replaces what {one.preset} says"


def changes(root: Mapping, one: Included) -> Iterator[tuple[tuple[str, ...], Place]]:
    """Settings of a preset that something laid over it says anew: their path, and where."""
    if not one.preset:
        return
    for path, _ in settings_of(read_document(one.path)):
        place = place_of(root, path)
        if place.source != f"preset {one.preset}":
            yield path, place


def settings_of(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """(path of a setting, its value as it is written) of everything in a tree of mappings."""
    if isinstance(node, Mapping):
        for key, entry in node.entries.items():
            yield from settings_of(entry.value, (*path, key))
    elif isinstance(node, Scalar):
        yield path, node.text
