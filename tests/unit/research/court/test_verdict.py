"""What follows from what was found: a table of outcomes, and the words of a verdict."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.unit.research.court.making import case_by_hand, count_of, record_with
from trimtab.research.court.finding import ABSENT, FAILED, PASSED, SHORT, TOLD, Finding, held, number
from trimtab.research.court.statistics import statistics
from trimtab.research.court.verdict import CODES, FAIL, NOT_ENOUGH, PASS, Verdict, judge, plain
from trimtab.research.run import Run


def finding(outcome: str, decides: bool = True, name: str = "a") -> Finding:
    needed = "" if outcome in (PASSED, ABSENT, TOLD) else f"needed by {name}"
    return Finding(name=name, title=name.upper(), outcome=outcome, decides=decides, told=f"told {name}", needed=needed)


@pytest.mark.parametrize(
    ("deciding", "beside", "word"),
    [
        ((PASSED, PASSED), (), PASS),
        ((PASSED, ABSENT), (), PASS),
        ((PASSED, TOLD), (), PASS),
        ((PASSED, FAILED), (), FAIL),
        ((SHORT, PASSED), (), NOT_ENOUGH),
        ((SHORT, FAILED), (), FAIL),
        ((SHORT, ABSENT), (), NOT_ENOUGH),
        ((PASSED,), (FAILED, FAILED), PASS),
        ((PASSED,), (SHORT,), PASS),
        ((FAILED,), (PASSED,), FAIL),
    ],
)
def test_the_verdict_follows_from_what_decides(
    anyone: Run, deciding: tuple[str, ...], beside: tuple[str, ...], word: str
) -> None:
    given = (
        *(finding(outcome, True, f"d{k}") for k, outcome in enumerate(deciding)),
        *(finding(outcome, False, f"b{k}") for k, outcome in enumerate(beside)),
    )
    for order in (given, given[::-1]):
        verdict = judge(case_by_hand(anyone, record_with(1.0, 100)), order)
        assert (verdict.word, verdict.code) == (word, CODES[word])
        assert len(verdict.concerns) == beside.count(FAILED)
    cause = {PASS: (PASSED, ABSENT, TOLD), FAIL: (FAILED,), NOT_ENOUGH: (SHORT,)}[word]
    assert {reason.split(":")[0] for reason in verdict.reasons} == {
        f"D{k}" for k, outcome in enumerate(deciding) if outcome in cause
    }
    assert bool(verdict.needed) == (word != PASS)


def test_exit_codes() -> None:
    assert CODES == {PASS: 0, FAIL: 1, NOT_ENOUGH: 3}


@pytest.mark.parametrize(
    ("figure", "at_least", "outcome"),
    [(0.95, True, PASSED), (0.9499, True, FAILED), (0.5, False, PASSED), (2.0, False, FAILED), (math.nan, True, SHORT)],
)
def test_a_figure_is_held_against_a_threshold(figure: float, at_least: bool, outcome: str) -> None:
    assert held(figure, 0.95, at_least=at_least) == outcome
    assert number(figure) == (None if math.isnan(figure) else figure)


def verdict_of(anyone: Run, returns: np.ndarray, *, ruin: str = "", trials: np.ndarray | None = None) -> Verdict:
    case = case_by_hand(anyone, returns, count_of(12, 1.0), count_of(30, 0.9, "family"), ruin=ruin, trials=trials)
    return judge(case, statistics(case))


def test_an_edge_that_is_large_enough_passes(anyone: Run) -> None:
    verdict = verdict_of(anyone, record_with(3.5, 900))
    dsr = next(each for each in verdict.findings if each.name == "dsr")
    assert (verdict.word, dsr.outcome) == (PASS, PASSED)
    assert dsr.figure is not None
    assert dsr.figure >= 0.95
    assert verdict.sharpe == pytest.approx(3.5, rel=1e-9)


def test_ruin_is_a_failure(anyone: Run) -> None:
    verdict = verdict_of(anyone, record_with(3.5, 900), ruin="the book lost all that it had")
    assert (verdict.word, verdict.sharpe) == (FAIL, None)
    assert verdict.reasons == ("Length of the record: the book lost all that it had",)


@pytest.mark.parametrize(
    ("returns", "ruin"),
    [
        (record_with(1.3, 900), ""),
        (record_with(-5.0, 70), ""),
        (record_with(1.0, 5), ""),
        (np.zeros(300), ""),
        (np.array([0.01]), ""),
        (np.empty(0), ""),
        (np.full(300, 0.01), ""),
        (np.resize([0.01, -0.01], 300), ""),
        (record_with(1.0, 300), "the book lost all that it had"),
    ],
)
def test_words_are_words_and_documents_have_no_undefined_numbers(anyone: Run, returns: np.ndarray, ruin: str) -> None:
    trials = np.random.default_rng(0).normal(0.0, 0.01, (len(returns), 4))
    for beside in (None, trials):
        document = plain(verdict_of(anyone, returns, ruin=ruin, trials=beside))
        text = json.dumps(document, allow_nan=False)  # raises for a figure that is no number
        assert not {"nan", "inf", "-inf", "nan%", "inf%", "undefined."} & set(text.replace(",", " ").lower().split())
        assert document["word"] in (FAIL, NOT_ENOUGH)
        for hurdle in document["hurdles"]:
            assert hurdle["hurdle_annual"] == pytest.approx(hurdle["hurdle"] * 365**0.5)
