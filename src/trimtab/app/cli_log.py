"""A run as structured events: one JSON object per line, for a file or another program.

Events: run_started, action, fit_refused, trade, run_finished, error. Every row of a trade or an action is told with its
own columns.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from trimtab.app.console import jsonable
from trimtab.words import utc

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    Events = FilteringBoundLogger | None


@contextlib.contextmanager
def opened(target: str | None) -> Generator[Events]:
    """A log that writes to a file (appended), to stderr for `-`, or None for None. What is raised inside is logged."""
    if target is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        stream = sys.stderr if target == "-" else stack.enter_context(_file(target))
        events = _logger(stream)
        try:
            yield events
        except Exception as error:
            if not hasattr(error, "exit_code"):
                events.error("error", kind=type(error).__name__, message=str(error), code=getattr(error, "code", None))
            raise


def log_run(events: Events, run: Any) -> None:
    """What the limits did and every closed trade, in order, between the run's start and its figures."""
    if events is None:
        return
    events.info("run_started", run_id=run.run_id, name=run.spec.name, universe=list(run.spec.universe))
    for row in run.actions.iter_rows(named=True):
        events.warning("action", **_fields(row))
    for refusal, m in run.refused:
        events.warning("fit_refused", model=run.model_names[m], ts=utc(refusal.ts), reason=refusal.reason)
    for split in run.splits:
        for refusal in split.refused:
            model = run.model_names[split.model] if split.model >= 0 else ""
            events.warning("allocator_refused", model=model, ts=utc(refusal.ts), reason=refusal.reason)
    for row in run.trades.iter_rows(named=True):
        events.info("trade", **_fields(row))
    events.info("run_finished", run_id=run.run_id, net=jsonable(run.metrics.get("net")), verdict=run.verdict)


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    # `event` and `level` are the log's own words.
    return {f"{name}_" if name in ("event", "level", "timestamp") else name: jsonable(row[name]) for name in row}


def _file(target: str) -> TextIO:
    from trimtab.types import TrimtabError

    try:
        return Path(target).open("a", encoding="utf-8")
    except OSError as error:
        raise TrimtabError(f"--log {target}: cannot be written: {error.strerror}") from None


def _logger(stream: TextIO) -> FilteringBoundLogger:
    import structlog

    return structlog.wrap_logger(
        structlog.WriteLogger(stream),
        wrapper_class=structlog.make_filtering_bound_logger(0),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ],
    )
