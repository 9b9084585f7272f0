"""A run before the court, from the laws to the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.research.backtest import GIVEN
from trimtab.research.check import check_strategy
from trimtab.research.court.case import Case, case_of
from trimtab.research.court.finding import FAILED, PASSED, Finding
from trimtab.research.court.statistics import statistics
from trimtab.research.court.stress import Progress, Stressed, concerns, stress
from trimtab.research.court.verdict import Verdict, judge
from trimtab.research.court.walk import walk, walked
from trimtab.research.ledger.identity import is_own
from trimtab.research.run import Run
from trimtab.strategies import find
from trimtab.types import TrimtabError


class Held(NamedTuple):
    """What was judged, what was found, and what follows; stressed: None where no other runs were asked for."""

    case: Case
    stressed: Stressed | None
    verdict: Verdict


def hold(
    run: Run,
    root: str | Path | None = None,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    stressed: bool = True,
    progress: Progress = None,
) -> Held:
    """Judge a recorded run; TrimtabError where it is not in the trial ledger.

    root      of the store beside which the ledger is
    grid      what could have been chosen in its place, path -> values: walked forward, and trials like itself
    stressed  also ask what the record rests on, by a few hundred other runs; they do not decide
    """
    if stressed and any(model.strategy == GIVEN for model in run.spec.models):
        raise TrimtabError("weights that were given cannot be run in other ways: judge them with stressed=False")
    walks = (walked(walk(run, grid, root, progress)),) if grid else ()
    case = case_of(run, root)
    if progress is not None:
        progress("weighing the record", 0, 0)
    found = (*lawful(run), *statistics(case), *walks)
    seen = stress(case, progress) if stressed else None
    if seen is not None:
        found = (*found, *concerns(seen))
    return Held(case, seen, judge(case, found))


def lawful(run: Run) -> tuple[Finding, ...]:
    """Do strategies of the user's own keep the laws on these bars? One that peeks makes every other figure void.

    Built-in ones are held against the laws by the tests of Trimtab itself.
    """
    found: list[Finding] = []
    for model in run.spec.models:
        name = Path(model.strategy).name
        if model.strategy == GIVEN:
            told = "weights that were given cannot be asked what they knew"
            found.append(Finding(name="laws", title="Laws", outcome=FAILED, told=told))
        elif is_own(model.strategy):
            broken = [e for e in check_strategy(find(model.strategy), run.panel, model.params) if not e.passed]
            told = f"{name}: {broken[0].law}: {broken[0].seen}" if broken else f"{name} keeps them"
            outcome, needed = (FAILED, f"trimtab check {model.strategy}") if broken else (PASSED, "")
            found.append(Finding(name="laws", title="Laws", outcome=outcome, decides=True, told=told, needed=needed))
    return tuple(found)
