"""Values that the command line lays over a settings file."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.app.document import Override
from trimtab.types import TrimtabError


def overrides_of(settings: Sequence[str] | None, *, start: str | None = None, end: str | None = None) -> list[Override]:
    """`--set path=value` in the order given, then `--start` and `--end`."""
    changes: list[Override] = []
    for text in settings or ():
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise TrimtabError(f"--set {text}: expected PATH=VALUE such as models.0.params.slow=50")
        changes.append(Override(path.strip(), value))
    if start is not None:
        changes.append(Override("start", start, "--start"))
    if end is not None:
        changes.append(Override("end", end, "--end"))
    return changes
