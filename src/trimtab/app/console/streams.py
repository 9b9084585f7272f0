"""Where output goes: results to stdout, everything else to stderr; as text, as JSON, as a progress bar.

Rich is imported when something is printed; `trimtab --help` must not wait for it.
"""

from __future__ import annotations

import codecs
import datetime as dt
import io
import json
import math
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from rich.console import Console

#: progress(stage, done, total): called as often as the work likes; total 0 means that the end is not known.
Progress = Callable[[str, int, int], None]

_QUIET_SECONDS: Final = 1.0


def stdout() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


#: What a terminal without UTF-8 is shown in place of a character that it does not have.
_SPELLED: Final = {
    "…": "...",
    "·": "-",
    "–": "-",
    "—": "-",
    "✓": "+",
    "✗": "x",
    "≤": "<=",
    "≥": ">=",
    "−": "-",
    "∞": "inf",
}


def spell_out() -> None:
    """Let stdout and stderr write every character in some way, whatever the terminal's encoding."""

    def spelled(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        return "".join(_SPELLED.get(c, "?") for c in error.object[error.start : error.end]), error.end

    codecs.register_error("spelled", spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _is_unicode(stream):
            stream.reconfigure(errors="spelled")


def _is_unicode(stream: Any) -> bool:
    return str(getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def say(text: str) -> None:
    """A message for people, on stderr, one line and without markup."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def write_json(value: Any) -> None:
    """One JSON document on stdout: NaN and inf are null, since JSON has neither."""
    # JSON has its own spelling for what the stream cannot encode.
    plain = not _is_unicode(sys.stdout)
    text = json.dumps(jsonable(value), indent=2, ensure_ascii=plain, allow_nan=False, default=str)
    sys.stdout.write(text + "\n")


def jsonable(value: Any) -> Any:
    """The value in JSON's own types; what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in cast("Sequence[Any]", value)]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        return jsonable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dt.date):
        return value.isoformat().replace("+00:00", "Z")
    return value


@contextmanager
def progress(*, shown: bool = True) -> Generator[Progress]:
    """A progress bar on stderr for work that takes more than a second; silent where stderr is no terminal."""
    if not shown or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    bar = rich_progress.Progress(*columns, console=stderr(), transient=True)
    task = bar.add_task("working", total=None)
    # The first second may pass inside one call (compiling, reading), so the bar appears by the clock.
    start = threading.Timer(_QUIET_SECONDS, bar.start)
    start.daemon = True
    start.start()
    try:
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total or None)
    finally:
        start.cancel()
        start.join()
        bar.stop()
