"""Fits that remember, draw, scribble or answer too early: each is caught by its law; an honest one passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trimtab.research.check import LAWS, judge
from trimtab.research.check_subject import Finding, subject_of
from trimtab.strategies import find
from trimtab.types import Panel, Strategy

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "autoregression.py"

Change = Callable[..., Strategy]


@pytest.fixture
def changed(tmp_path: Path) -> Change:
    """The example with one piece of its text replaced."""

    def make(*pairs: tuple[str, str]) -> Strategy:
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in (("window: int = 250", "window: int = 60"), *pairs):
            assert text.count(old) == 1
            text = text.replace(old, new)
        file = tmp_path / "changed.py"
        file.write_text(text, encoding="utf-8")
        return find(str(file))

    return make


def judged(strategy: Strategy, panel: Panel, law: str = "fit") -> Finding:
    subject = subject_of(strategy, panel, {}, 0)
    return judge(next(each for each in LAWS if each.name == law), subject)[0]


def test_an_honest_fit_passes(changed: Change, panel: Panel) -> None:
    for law in ("contract", "fit", "split", "prefix", "determinism", "path"):
        assert judged(changed(), panel, law).passed, law


def test_a_fit_that_starts_from_its_last_answer(changed: Change, panel: Panel) -> None:
    cached = ("    known = abs(slope)", "    LAST.append(slope)\n    slope = sum(LAST)\n    known = abs(slope)")
    found = judged(changed(cached, ("def fit(", "LAST: list[float] = []\n\n\ndef fit(")), panel)
    assert not found.passed
    assert "was fitted twice" in found.message
    assert found.row is not None


def test_a_fit_that_draws(changed: Change, panel: Panel) -> None:
    drawn = ("    known = abs(slope)", "    slope += np.random.normal()\n    known = abs(slope)")
    assert "drawn at random" in judged(changed(drawn), panel).message


def test_a_fit_that_writes_into_its_window(changed: Change, panel: Panel) -> None:
    wrote = ("    known = abs(slope)", "    x[0] = 1.0\n    known = abs(slope)")
    assert "wrote into its window" in judged(changed(wrote), panel).message


def test_a_forecast_without_any_fit(changed: Change, panel: Panel) -> None:
    eager = ("return State(Fitted(np.nan, np.nan), np.nan)", "return State(Fitted(0.1, 0.01), np.nan)")
    found = judged(changed(eager), panel)
    assert "without any fit the forecast of row 1 is" in found.message
    assert found.field == "fitted"


def test_a_fit_that_raises_or_answers_with_something_else(changed: Change, panel: Panel) -> None:
    raised = judged(changed(("    spread = float", "    [][1]\n    spread = float")), panel)
    assert "over 60 rows raised IndexError" in raised.message
    other = judged(changed(("return Fitted(slope if known else 0.0, deviation)", "return slope")), panel)
    assert "returned a float as fitted; expected a Fitted" in other.message
    homeless = (("    fitted: Fitted\n", "    last: Fitted\n"), ("slope * (close", "slope * 1.0 * (close"))
    text = (*homeless, ("forecast = s.fitted.slope", "forecast = s.last.slope"), ("/ s.fitted.dev", "/ s.last.dev"))
    assert (
        "expected State to have a member `fitted`"
        in judged(changed(*text, ("return State(s.fitted, close)", "return State(s.last, close)")), panel).message
    )


def test_windows_that_are_all_refused_or_never_come(changed: Change, panel: Panel) -> None:
    refused = (
        "    close = x[:, 0, 0]\n    if not",
        '    close = x[:, 0, 0]\n    raise NotEnoughData("no")\n    if not',
    )
    assert "every window that was tried was refused (no)" in judged(changed(refused), panel).message
    never = ("every=lambda p: p.every * DAY", "every=lambda p: 50_000 * DAY")
    assert "no fit was due" in judged(changed(never), panel).message
    half = ("window=lambda p: p.window,", "window=lambda p: p.window / 2,")
    assert "fit.window returned 30.0; expected a whole number of rows" in judged(changed(half), panel).message
