"""Tests of what a record rests on: by other runs, recorded nowhere, because nothing is chosen from them.

None of them decides: an edge that is real may be small, and fail one of them by chance. A failure is a concern, and is
told beside the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from trimtab.research.court.case import Case
from trimtab.research.court.finding import ABSENT, FAILED, PASSED, TOLD, Finding, held, number
from trimtab.research.robustness.bootstrap import Banded, bootstrap_of
from trimtab.research.robustness.capacity import CapacityCurve, capacity
from trimtab.research.robustness.costs import CostSwept, cost_sweep
from trimtab.research.robustness.entries import Entered, entries_of
from trimtab.research.robustness.jitter import KEEP, TOGETHER, Jittered, jitter
from trimtab.research.robustness.noise import Noised, noise
from trimtab.research.robustness.periods import PeriodTable, periods_of_run
from trimtab.research.robustness.starts import Started, starts
from trimtab.words import day_of

#: Costs may rise by half before nothing is left.
_BREAK_EVEN: Final = 1.5
#: Share of starts after which there was a gain.
_STARTS: Final = 0.75
#: The largest share of the profit that one of four parts of the time may have.
_PART: Final = 0.75
_LEVEL: Final = 0.05

#: Told the stage, how much of it is done, and of how much.
Progress = Callable[[str, int, int], None] | None


class Stressed(NamedTuple):
    """What the other runs came to; the page draws them."""

    bands: Banded
    jitter: Jittered
    costs: CostSwept
    noise: Noised
    entries: Entered
    starts: Started
    periods: PeriodTable
    capacity: CapacityCurve


def stress(case: Case, progress: Progress = None, seed: int = 0) -> Stressed:
    """All of them; a few hundred runs."""
    run = case.run
    spec, panel = run.spec, run.panel

    def tell(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(stage, done, total) if progress is not None else None

    return Stressed(
        bootstrap_of(run),
        jitter(spec, panel, progress=tell("moving parameters")),
        cost_sweep(spec, panel, progress=tell("raising costs")),
        noise(spec, panel, progress=tell("adding noise to prices")),
        entries_of(run, progress=tell("entering at random")),
        starts(spec, panel, progress=tell("starting later")),
        periods_of_run(run),
        capacity(spec, panel, progress=tell("raising capital")),
    )


def concerns(of: Stressed) -> tuple[Finding, ...]:
    """What each says, in the order in which they are read."""
    return (
        _bands(of.bands),
        _jitter(of.jitter),
        _costs(of.costs),
        _noise(of.noise),
        _entries(of.entries),
        _starts(of.starts),
        _periods(of.periods),
        _capacity(of.capacity),
    )


def _bands(of: Banded) -> Finding:
    low, high = of.bands.sharpe.low, of.bands.sharpe.high
    told = (
        f"resampled in blocks of {of.mean_block:.0f} days, {of.level:.0%} of histories have a Sharpe from {low:.2f} to "
        f"{high:.2f} and a drawdown from {of.bands.max_drawdown.low:.0%} to {of.bands.max_drawdown.high:.0%}"
    )
    return _finding("bootstrap", "Bootstrap bands", low, 0.0, told, of.why)


def _jitter(of: Jittered) -> Finding:
    title = "Parameters"
    if not of.neighbours:
        why = of.why or "no parameter can be moved"
        return Finding(name="jitter", title=title, outcome=ABSENT, told=why)
    where = "all parameters together" if of.worst == TOGETHER else of.worst
    told = f"a {of.verdict}: moving {where} keeps half of the Sharpe in {of.least:.0%} of cases"
    return _finding("jitter", title, of.least, KEEP, told, of.why)


def _costs(of: CostSwept) -> Finding:
    told = f"costs may be {of.break_even:.2f} times as high before nothing is left"
    if math.isnan(of.break_even) and of.outcomes and of.outcomes[-1].total_return > 0.0:
        told = f"a gain is left at {of.multiples[-1]:g} times the costs"
        return Finding(name="cost_multiple", title="Higher costs", outcome=PASSED, threshold=_BREAK_EVEN, told=told)
    if math.isnan(of.break_even):
        return Finding(
            name="cost_multiple", title="Higher costs", outcome=FAILED, threshold=_BREAK_EVEN, told=of.why or "no gain"
        )
    return _finding("cost_multiple", "Higher costs", of.break_even, _BREAK_EVEN, told, "")


def _noise(of: Noised) -> Finding:
    kept = of.middle / of.centre.sharpe if of.centre.sharpe > 0.0 else math.nan
    told = f"with noise in the prices the middle Sharpe is {of.middle:.2f}, {kept:.0%} of {of.centre.sharpe:.2f}"
    return _finding("noise", "Noise in prices", kept, KEEP, told, of.why or "the record has no gain to keep")


def _entries(of: Entered) -> Finding:
    told = (
        f"{of.trips:,} round trips of the same lengths, entered at random, do as well in {of.p_value:.1%} of "
        f"{len(of.sharpes):,} books"
    )
    return _finding("entries", "Random entries", of.p_value, _LEVEL, told, of.why, at_least=False)


def _starts(of: Started) -> Finding:
    told = f"begun later, {of.positive:.0%} of {len(of.starts)} runs have a Sharpe above 0, the middle {of.middle:.2f}"
    return _finding("starts", "Later starts", of.positive, _STARTS, told, of.why)


def _periods(of: PeriodTable) -> Finding:
    parts = [row for row in of.rows if row.by == "part"]
    shares = [row.share for row in parts if not math.isnan(row.share)]
    if not shares:
        return Finding(name="periods", title="Parts of the time", outcome=ABSENT, told=of.why or "there is no profit")
    best = max(parts, key=lambda row: row.share)
    told = (
        f"{best.share:.0%} of the profit is of {day_of(best.first)} to {day_of(best.last)}, one of {len(parts)} parts"
    )
    return _finding("periods", "Parts of the time", best.share, _PART, told, "", at_least=False)


def _capacity(of: CapacityCurve) -> Finding:
    if math.isnan(of.capacity):
        return Finding(name="capacity", title="Capacity", outcome=TOLD, told=of.why)
    told = f"a capital of {of.capacity:,.0f} leaves half of the Sharpe"
    return Finding(name="capacity", title="Capacity", outcome=TOLD, figure=number(of.capacity), told=told)


def _finding(
    name: str, title: str, figure: float, threshold: float, told: str, why: str, *, at_least: bool = True
) -> Finding:
    if math.isnan(figure):
        return Finding(name=name, title=title, outcome=ABSENT, threshold=threshold, at_least=at_least, told=why)
    outcome = held(figure, threshold, at_least=at_least)
    return Finding(
        name=name,
        title=title,
        outcome=outcome,
        figure=number(figure),
        threshold=threshold,
        at_least=at_least,
        told=told,
    )
