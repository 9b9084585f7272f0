"""What is judged: a run's daily record, and everything that the trial ledger holds against it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trimtab.research.backtest import GIVEN
from trimtab.research.curves import periods_of
from trimtab.research.inference.sharpe import Moments, moments_of
from trimtab.research.ledger.counting import Count, Record, Tried, counts, is_of_family, is_of_hypothesis, tried
from trimtab.research.ledger.file import folder_of
from trimtab.research.ledger.identity import Hypothesis, hypothesis_of, identity_of, values_of
from trimtab.research.ledger.reading import opened
from trimtab.research.ratios import per_period
from trimtab.research.robustness.outcome import returns_of
from trimtab.research.run import Run
from trimtab.types import F64, TrimtabError


class Case(NamedTuple):
    """A run before the court.

    returns   (D,) daily simple returns net of costs; ruin: why they mean nothing, or ""
    moments   of the returns over the risk-free rate, per day; rate: that, per day
    periods   days per year
    counts    what has to be beaten: of the hypothesis and of the family, by every trial and by groups
    trials    of the hypothesis, and of the family, on the record's days
    sets      those of the hypothesis that differ from the run in parameters alone: what it could have been chosen from
    place     of the ledger
    head      hash of the ledger's last entry when it was read, in hex; entries: how many there were
    """

    run: Run
    hypothesis: Hypothesis
    returns: F64
    ruin: str
    moments: Moments
    rate: float
    periods: float
    counts: tuple[Count, ...]
    trials: Tried
    family: Tried
    sets: Tried
    place: str
    head: str
    entries: int

    @property
    def strictest(self) -> Count:
        """The count with the highest hurdle."""
        return max(self.counts, key=lambda count: count.hurdle)

    def annual(self, sharpe: float) -> float:
        """A Sharpe per day as people say it."""
        return sharpe * math.sqrt(self.periods)


def case_of(run: Run, root: str | Path | None = None) -> Case:
    """A recorded run and its trials; TrimtabError where it is not in the ledger: how much was tried is not known."""
    if run.recorded is None:
        raise TrimtabError(
            f"this run is not in the trial ledger{f' ({run.unrecorded})' if run.unrecorded else ''}, and without it "
            "nobody knows how much was tried: mend that, and run it again"
        )
    returns, ruin = returns_of(run)
    hypothesis = hypothesis_of(run.spec)
    record = Record(hypothesis, int(run.panel.ts[0]), int(run.panel.ts[-1]), run.curves.ts)
    with opened(folder_of(root)) as ledger:
        identity = identity_of(run.spec, run.data_hash)
        key = identity.keys([values_of(run.spec)])[0]
        if ledger.seq_of(key) is None:
            raise TrimtabError(f"the trial ledger in {folder_of(root)} does not hold this run: name its own store")
        rows = list(ledger.rows())
        mine = [row for row in rows if is_of_hypothesis(row, record)]
        own = tried(ledger, mine, record)
        given = any(model.strategy == GIVEN for model in run.spec.models)  # whose numbers are their parameters
        sets = tried(ledger, (row for row in mine if given or row.entry.template == identity.template), record)
        family = tried(ledger, (row for row in rows if is_of_family(row, record)), record)
        head = ledger.head
    periods = periods_of(run.panel)
    rate = per_period(run.spec.risk_free_rate, periods)
    moments = moments_of(returns, rate) if not ruin else Moments(len(returns), np.nan, np.nan, np.nan)
    found = (*counts("hypothesis", own), *counts("family", family))
    return Case(
        run,
        hypothesis,
        returns,
        ruin,
        moments,
        rate,
        periods,
        found,
        own,
        family,
        sets,
        str(ledger.path),
        head,
        len(rows),
    )
