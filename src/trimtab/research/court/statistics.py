"""Tests of the record: is it net of costs, is it long enough, and does it beat what so many trials show by chance?"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from trimtab.research.court.case import Case
from trimtab.research.court.finding import ABSENT, FAILED, PASSED, SHORT, Finding, held, number
from trimtab.research.inference.bootstrap import Resampling, block_length
from trimtab.research.inference.overfitting import probability_of_overfitting
from trimtab.research.inference.sharpe import minimum_track_record, probabilistic_sharpe, why_undefined
from trimtab.research.inference.superiority import superior
from trimtab.research.inference.trials import flat_columns
from trimtab.research.ledger.counting import Count
from trimtab.types import F64, NotEnoughData, TrimtabError

#: The probability that a record has to reach.
CONFIDENCE: Final = 0.95
#: Days that a record has at least: its moments mean nothing with fewer.
LEAST_DAYS: Final = 60
#: A winner that is below the median of the others more often than not was chosen by chance.
MOST_OVERFIT: Final = 0.5
#: Paths of the reality check, and its level.
_PATHS, _LEVEL = 2_000, 0.05
_BLOCKS: Final = 16
#: Costs of trading, by their names in the metrics.
_TRADING: Final = ("fee", "spread", "slippage", "impact", "latency")
#: Years beyond which nobody waits.
_LIFETIME: Final = 100.0
#: Share of the record's days that a trial has to have, to be put beside the others.
_SHARE: Final = 0.5


def statistics(case: Case, seed: int = 0) -> tuple[Finding, ...]:
    """All of them, in the order in which they are read."""
    matrix = trials_matrix(case)
    return (
        counted(case),
        net_of_costs(case),
        length(case),
        probabilistic(case),
        deflated(case),
        overfitting(matrix, len(case.sets.sharpe) + case.sets.unread),
        superiority(matrix, seed),
    )


def counted(case: Case) -> Finding:
    """Is all that was tried known? Trials whose returns are gone are counted, and how they differed is not known."""
    gone = max(case.trials.unread, case.family.unread)
    told, outcome, needed = f"{case.entries:,} entries, all of them read", PASSED, ""
    if gone:
        told, outcome = f"the returns of {gone:,} trials are gone, so nobody knows what chance shows among them", SHORT
        needed = "the files of the ledger as they were; trimtab trials verify names them"
    return Finding(name="ledger", title="Trial ledger", outcome=outcome, decides=True, told=told, needed=needed)


def net_of_costs(case: Case) -> Finding:
    """A record without costs is no record. What holding cost or earned is no price of trading."""
    paid = sum(case.run.metrics["costs"][kind] for kind in _TRADING)
    traded = float(case.run.result.book.head[0]["traded"])
    rate = paid / traded if traded > 0.0 else math.nan
    told = f"costs of {1e4 * rate:.1f} bps of what was traded are in the record"
    if traded <= 0.0:
        told, outcome = "nothing was traded", SHORT
    elif paid == 0.0:
        told, outcome = "every fill was free, which no venue offers", FAILED
    else:
        outcome = PASSED
    needed = "judge it with the costs of the venue" if outcome == FAILED else ""
    return Finding(
        name="costs", title="Net of costs", outcome=outcome, decides=True, figure=number(rate), told=told, needed=needed
    )


def length(case: Case) -> Finding:
    """Days enough for the moments of the record; a day on which nothing moved says nothing.

    One lucky day among zeros has a Sharpe of one standard error for each day of them, however few they are.
    """
    days = moved(case)
    told, needed, outcome = f"{days:,} of {case.moments.n:,} daily returns are not 0", "", PASSED
    if case.ruin:
        told, outcome = case.ruin, FAILED
    elif days < LEAST_DAYS:
        told, outcome, needed = f"{told}: they say nothing", SHORT, f"{LEAST_DAYS - days:,} more days in the market"
    elif why := why_undefined(case.moments):
        told, outcome = why, SHORT
        needed = "a record in which something was traded"
    return Finding(
        name="length", title="Length of the record", outcome=outcome, decides=True, figure=float(days),
        threshold=float(LEAST_DAYS), told=told, needed=needed,
    )  # fmt: skip


def moved(case: Case) -> int:
    """Days on which the record was not flat."""
    return int(np.count_nonzero(case.returns))


def probabilistic(case: Case) -> Finding:
    """PSR against 0: what the record would prove if nothing else had ever been tried."""
    figure = _psr(case, 0.0)
    told = f"the true Sharpe is above 0 with a probability of {figure:.1%}, were this the only thing ever tried"
    outcome = held(figure, CONFIDENCE) if moved(case) >= LEAST_DAYS else SHORT
    return Finding(
        name="psr", title="Probabilistic Sharpe", outcome=outcome, figure=number(figure),
        threshold=CONFIDENCE, told=told if not math.isnan(figure) else "undefined",
    )  # fmt: skip


def deflated(case: Case) -> Finding:
    """DSR: is the true Sharpe above what the best of all trials shows without skill? By the strictest count."""
    count, m = case.strictest, case.moments
    figure = _psr(case, count.hurdle)
    own, bar = case.annual(m.sharpe), case.annual(count.hurdle)
    against = f"{bar:.2f}, what the best of {_of(count)} shows without skill" if count.trials > 1 else "0"
    if math.isnan(figure):
        told, outcome, needed = "undefined", SHORT, ""
    elif moved(case) < LEAST_DAYS:
        told, outcome, needed = f"a Sharpe of {own:.2f} over {moved(case):,} days says nothing", SHORT, ""
    elif figure >= CONFIDENCE:
        told, outcome, needed = (
            f"a Sharpe of {own:.2f} is above {against}, with a probability of {figure:.1%}",
            PASSED,
            "",
        )
    elif m.sharpe <= count.hurdle:
        told, outcome = f"a Sharpe of {own:.2f} is not above {against}", FAILED
        needed = f"a Sharpe above {bar:.2f}, which more days like these do not bring"
    else:
        told = f"a Sharpe of {own:.2f} is above {against}, but only with a probability of {figure:.1%}"
        outcome, needed = SHORT, _more_days(case, minimum_track_record(m, count.hurdle, CONFIDENCE) - m.n)
    return Finding(
        name="dsr", title="Deflated Sharpe", outcome=outcome, decides=True, figure=number(figure), threshold=CONFIDENCE,
        told=told, needed=needed,
    )  # fmt: skip


def _more_days(case: Case, more: float) -> str:
    """What a record lacks, of which every further day is as those that it has."""
    years = more / case.periods
    if years > _LIFETIME:
        return f"more than {_LIFETIME:.0f} years at this Sharpe: it is too close to what chance shows"
    return f"{max(math.ceil(more), 1):,} more days at this Sharpe ({years:.1f} years), and no new trials"


def _of(count: Count) -> str:
    whose = "of this hypothesis" if count.scope == "hypothesis" else "on these data"
    return f"{count.trials:,} {'trials' if count.how == 'every trial' else 'groups of trials'} {whose}"


def _psr(case: Case, hurdle: float) -> float:
    if case.ruin or case.moments.n < 2 or why_undefined(case.moments):
        return math.nan
    return probabilistic_sharpe(case.moments, hurdle)


# --- many trials beside each other -----------------------------------------------------------------------------------


def trials_matrix(case: Case) -> F64:
    """(T, N) excess returns of the sets beside the record, on the days that all of them have; flat ones stand aside.

    Sets that have less than half of the record's days are left out: they would leave no common days.
    """
    returns = case.sets.returns
    there = ~np.isnan(returns)
    returns = returns[:, there.mean(axis=0) >= _SHARE] if returns.size else returns
    common = ~np.isnan(returns).any(axis=1)
    returns = returns[common]
    if len(returns) < 2 or not returns.shape[1]:
        return np.empty((0, 0))
    return returns[:, ~flat_columns(returns)] - case.rate


def overfitting(matrix: F64, sets: int) -> Finding:
    """PBO by CSCV: does the best set of one half of the time do well in the other half?

    sets  that were tried beside each other, also those that have too few of the days
    """
    title = "Probability of overfitting"
    rest: dict[str, Any] = {
        "name": "pbo",
        "title": title,
        "decides": True,
    }
    if sets < 2:
        return Finding(**rest, outcome=ABSENT, told="no other set was tried at these costs: nothing was chosen")
    if matrix.shape[1] < 2:
        told = f"of {sets:,} sets no two traded on half of these days; the deflated Sharpe counts them"
        return Finding(**rest, outcome=ABSENT, told=told)
    if len(matrix) < LEAST_DAYS:
        return Finding(**rest, outcome=ABSENT, told=f"{len(matrix):,} days that all sets have say nothing")
    try:
        found = probability_of_overfitting(matrix, _BLOCKS)
    except NotEnoughData as error:
        return Finding(**rest, outcome=ABSENT, told=str(error))
    told = (
        f"of {matrix.shape[1]:,} sets, the best of one half of the time is below the median of the other half in "
        f"{found.pbo:.0%} of {len(found.logits):,} splits, and loses there in {found.loss:.0%}"
    )
    # On a plateau all sets are good and the best is any of them: PBO alone would fail what has an edge everywhere. So
    # no threshold stands beside it.
    chosen_by_chance = found.pbo > MOST_OVERFIT and found.loss > MOST_OVERFIT
    needed = "fewer parameters, or a rule that chooses the middle of a plateau" if chosen_by_chance else ""
    return Finding(
        **rest, outcome=FAILED if chosen_by_chance else PASSED, figure=number(found.pbo), told=told, needed=needed
    )


def superiority(matrix: F64, seed: int) -> Finding:
    """Hansen's SPA and White's reality check: is the best of all sets better than cash?"""
    rest: dict[str, Any] = {
        "name": "spa",
        "title": "Superior predictive ability",
        "threshold": _LEVEL,
        "at_least": False,
    }
    if not matrix.size:
        return Finding(**rest, outcome=ABSENT, told="no set traded")
    best = matrix[:, int(np.argmax(matrix.mean(axis=0) / matrix.std(axis=0)))]
    try:
        block = float(block_length(best)[0])
        found = superior(matrix, Resampling(paths=_PATHS, mean_block=block, seed=seed))
    except TrimtabError as error:  # few days, or a set that hardly moves
        return Finding(**rest, outcome=ABSENT, told=str(error))
    told = (
        f"were no set better than cash, the best of {matrix.shape[1]:,} would look as good as this in "
        f"{found.consistent:.1%} of resampled histories (reality check: {found.reality:.1%})"
    )
    return Finding(
        **rest, outcome=held(found.consistent, _LEVEL, at_least=False), figure=number(found.consistent), told=told
    )
