"""`trimtab check` over 35,000 bars: a compiled strategy, one that reads a made column, a frame strategy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.figures import Figure, timed
from trimtab.research.check import check_strategy
from trimtab.research.check_fields import fields
from trimtab.research.check_subject import subject_of
from trimtab.research.synthetic import synthetic_panel
from trimtab.strategies import find
from trimtab.types import Panel

ROWS = 35_000
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "frame_reversal.py"


def figures() -> Iterator[Figure]:
    """Hourly synthetic bars of one instrument; compiled code is warm, the process of the law of determinism is new."""
    panel = synthetic_panel(0, ROWS, 1, "1h")
    for name, target in (("sma_cross", 5.0), (str(EXAMPLE), None)):
        strategy = find(name)
        broken = [f.law for f in check_strategy(strategy, panel) if not f.passed]
        if broken:
            raise RuntimeError(f"check: {strategy.name} breaks {', '.join(broken)}")
        sample = timed(lambda strategy=strategy: check_strategy(strategy, panel), 3)
        yield Figure(name=f"check {strategy.name}, 35,000 bars", sample=sample, unit="s", target=target)
    column = _with_column(panel)
    made = msgspec.structs.replace(find("sma_cross"), fields=("made", "close"))
    subject = subject_of(made, column, {}, 0)
    sample = timed(lambda: fields(subject), 3)
    yield Figure(name="check, the law of fields of one column", sample=sample, unit="s")


def _with_column(panel: Panel) -> Panel:
    """With an honest average of 48 closes, to which every test is put."""
    close = np.nan_to_num(panel.values[:, 0, 3], nan=100.0)
    total = np.cumsum(close)
    made = np.full(len(close), np.nan)
    made[48:] = (total[48:] - total[:-48]) / 48.0
    values = np.concatenate((panel.values, made[:, None, None]), axis=2)
    return msgspec.structs.replace(panel, fields=(*panel.fields, "made"), values=values)
