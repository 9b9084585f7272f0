"""Where a record stands when it is shown: which trial it is, and what the best of so many shows by chance.

By every trial: to look for groups of them takes longer than a small run does (`trimtab trials show` does it).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from trimtab.research.inference.sharpe import hurdle
from trimtab.research.inference.trials import sharpe_variance
from trimtab.research.ledger.counting import Record
from trimtab.research.ledger.file import LedgerFailed, Recorded, Row, folder_of
from trimtab.research.ledger.identity import hypothesis_of
from trimtab.research.ledger.reading import Ledger, opened
from trimtab.types import F64, TrimtabError

if TYPE_CHECKING:
    from trimtab.research.run import Run
    from trimtab.research.sweep import Swept
    from trimtab.types import Panel, Spec


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A run or a sweep in the ledger, and its hypothesis there.

    hypothesis  its id; trials: how many there are of it
    fresh       how many of those that were made now are new, of so many that were made
    hurdle      annual Sharpe that the best of so many without skill shows on average; None: with one trial, or where
                no Sharpe is defined
    """

    seq: int
    head: str
    fresh: int
    made: int
    hypothesis: str
    trials: int
    hurdle: float | None

    @property
    def told(self) -> str:
        """One sentence."""
        said = f"{self.trials:,} trial{'' if self.trials == 1 else 's'} of this hypothesis"
        if self.made > 1:
            new = {0: "no set is", 1: "1 set is", self.made: f"all {self.made:,} sets are"}
            which = new.get(self.fresh, f"{self.fresh:,} of {self.made:,} sets are")
            begun = f"{which[0].upper()}{which[1:]} new: {said}"
        else:
            begun = f"Trial {self.trials:,} of this hypothesis" if self.fresh else f"Tried before: {said}"
        if self.hurdle is None:
            return f"{begun}."
        return f"{begun}; the best of so many without skill shows a Sharpe of {self.hurdle:.2f}."


def standing_of_run(run: Run, root: str | Path | None = None) -> Standing | None:
    """Where a run stands; None: it is not in the ledger, or that cannot be read now."""
    from trimtab.research.curves import periods_of

    if run.recorded is None:
        return None
    panel = run.panel
    record = Record(hypothesis_of(run.spec), int(panel.ts[0]), int(panel.ts[-1]), run.curves.ts)
    return standing(record, run.recorded, 1, periods_of(panel), root)


def standing_of_sweep(
    spec: Spec, panel: Panel, swept: Swept, recorded: Recorded | None, root: str | Path | None = None
) -> Standing | None:
    """Where the sets of a sweep stand; None as above."""
    from trimtab.research.curves import periods_of

    if recorded is None:
        return None
    record = Record(hypothesis_of(spec), int(panel.ts[0]), int(panel.ts[-1]), swept.ts)
    return standing(record, recorded, int((~np.isnan(swept.figures[:, -1])).sum()), periods_of(panel), root)


def standing(
    record: Record, recorded: Recorded, made: int, periods: float, root: str | Path | None = None
) -> Standing | None:
    """Where what was recorded stands; None where the ledger cannot be read now. periods: days per year"""
    try:
        with opened(folder_of(root)) as ledger:
            rows = list(ledger.rows(record.hypothesis.id))
            variance = sharpe_variance(sharpes_at(ledger, rows, len(record.ts)))
    except TrimtabError:
        return None
    total = sum(row.entry.trials for row in rows)
    least = 0.0 if math.isnan(variance) else hurdle(float(total), variance)
    return Standing(
        seq=recorded.seq, head=recorded.head, fresh=recorded.fresh, made=made, hypothesis=record.hypothesis.id,
        trials=total, hurdle=least * math.sqrt(periods) if least > 0.0 else None,
    )  # fmt: skip


def sharpes_at(ledger: Ledger, rows: list[Row], days: int) -> F64:
    """Sharpe per day of all trials of some entries, at the length of a record of so many days, see `counting`."""
    found: list[F64] = [np.empty(0)]
    for row in rows:
        try:
            found.append(ledger.params(row)[1] * math.sqrt(row.entry.count / max(days, 1)))
        except LedgerFailed:
            continue
    return np.concatenate(found)
