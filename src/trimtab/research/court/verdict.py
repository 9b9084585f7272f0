"""PASS, FAIL or NOT ENOUGH DATA: what follows from the findings, in words that say what failed and what is needed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.research.court.case import Case
from trimtab.research.court.finding import FAILED, SHORT, Finding, number
from trimtab.research.ledger.counting import Count

PASS: Final = "PASS"
FAIL: Final = "FAIL"
NOT_ENOUGH: Final = "NOT ENOUGH DATA"
#: Exit codes of the command.
CODES: Final = {PASS: 0, FAIL: 1, NOT_ENOUGH: 3}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the court says of one run.

    word        PASS, FAIL or NOT ENOUGH DATA
    reasons     what it follows from; needed: what would be needed for a PASS
    concerns    what does not decide and failed
    hurdles     what had to be beaten, by each way of counting
    ledger      hash of the trial ledger's last entry; entries: how many there were; place: its file
    """

    word: str
    reasons: tuple[str, ...]
    needed: tuple[str, ...]
    concerns: tuple[str, ...]
    findings: tuple[Finding, ...]
    hurdles: tuple[Count, ...]
    hypothesis: str
    hypothesis_id: str
    run_id: str
    data_hash: str
    code_version: str
    ledger: str
    entries: int
    place: str
    days: int
    sharpe: float | None
    periods: float

    @property
    def code(self) -> int:
        return CODES[self.word]


def judge(case: Case, findings: tuple[Finding, ...]) -> Verdict:
    """The verdict that follows: one deciding failure is a FAIL; else what cannot be said yet is NOT ENOUGH DATA."""
    deciding = [each for each in findings if each.decides]
    failed = [each for each in deciding if each.outcome == FAILED]
    short = [each for each in deciding if each.outcome == SHORT]
    word = FAIL if failed else NOT_ENOUGH if short else PASS
    cause = failed or short or [each for each in deciding if each.told]
    run = case.run
    return Verdict(
        word=word,
        reasons=tuple(f"{each.title}: {each.told}" for each in cause),
        needed=tuple(each.needed for each in cause if each.needed),
        concerns=tuple(f"{e.title}: {e.told}" for e in findings if not e.decides and e.outcome == FAILED),
        findings=findings,
        hurdles=case.counts,
        hypothesis=str(case.hypothesis),
        hypothesis_id=case.hypothesis.id,
        run_id=run.run_id,
        data_hash=run.data_hash,
        code_version=run.code_version,
        ledger=case.head,
        entries=case.entries,
        place=case.place,
        days=case.moments.n,
        sharpe=number(case.annual(case.moments.sharpe)),
        periods=case.periods,
    )


def plain(verdict: Verdict) -> dict[str, Any]:
    """Everything as plain values for JSON; hurdles also as people say them, per year."""
    told: dict[str, Any] = msgspec.to_builtins(verdict)
    for hurdle in told["hurdles"]:
        hurdle["hurdle_annual"] = hurdle["hurdle"] * verdict.periods**0.5
    return told
