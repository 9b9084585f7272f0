"""Settings that ship with Trimtab and that a spec takes with `include:`, such as `include: limits/pairs`.

Each is a layer like any file that a spec includes. A preset is a set of limits that were chosen for each other, so no
two of them are mixed (`document` refuses that).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from trimtab.types import TrimtabError
from trimtab.words import near

_FOLDER: Final = Path(__file__).parent
_SUFFIX: Final = ".yaml"


class Preset(NamedTuple):
    """name: what `include:` calls it; about: its first line; text: the whole file."""

    name: str
    about: str
    text: str


def names() -> tuple[str, ...]:
    """What there is, such as limits/pairs, sorted."""
    found = (path.relative_to(_FOLDER).with_suffix("") for path in _FOLDER.rglob(f"*{_SUFFIX}"))
    return tuple(sorted(name.as_posix() for name in found))


def path_of(name: str) -> Path | None:
    """The file of a preset by its name, with or without .yaml; None where there is none."""
    known = name.removeprefix("./").removesuffix(_SUFFIX)
    return _FOLDER / f"{known}{_SUFFIX}" if known in names() else None


def name_of(path: Path) -> str:
    """The name of a preset's file; empty for any other file."""
    inside = path.is_relative_to(_FOLDER)
    return path.relative_to(_FOLDER).with_suffix("").as_posix() if inside else ""


def presets() -> tuple[Preset, ...]:
    """All of them, sorted by name."""
    texts = {name: (_FOLDER / f"{name}{_SUFFIX}").read_text(encoding="utf-8") for name in names()}
    return tuple(Preset(name, text.partition("\n")[0].lstrip("# "), text) for name, text in texts.items())


def find_preset(name: str) -> Preset:
    """The preset of that name; TrimtabError with the nearest one where there is none."""
    path = path_of(name)
    if path is None:
        known = names()
        raise TrimtabError(f"no preset is named {name!r}{near(name, known)}; expected one of {', '.join(known)}")
    return next(one for one in presets() if one.name == name_of(path))
