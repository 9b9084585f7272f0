"""Each test of a record, on records made by hand, beside the functions that it rests on."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import trimtab as tt
from tests.unit.research.court.making import (
    NEARLY_FREE,
    YEAR,
    case_by_hand,
    case_of_moments,
    count_of,
    panel_from,
    record_with,
    weighed,
)
from trimtab.research.court import statistics
from trimtab.research.court.case import case_of
from trimtab.research.court.finding import ABSENT, FAILED, PASSED, SHORT
from trimtab.research.inference.bootstrap import Resampling, block_length
from trimtab.research.inference.overfitting import probability_of_overfitting
from trimtab.research.inference.sharpe import Moments, deflated_sharpe, probabilistic_sharpe
from trimtab.research.inference.superiority import superior
from trimtab.research.run import Run


def noise(days: int, sets: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (days, sets))


# --- costs and length ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("costs", "weight", "outcome"),
    [(NEARLY_FREE, 1.0, PASSED), (tt.Costs(), 1.0, FAILED), (NEARLY_FREE, 0.0, SHORT)],
)
def test_a_record_without_costs_is_no_record(ledger: object, costs: tt.Costs, weight: float, outcome: str) -> None:
    panel = panel_from(noise(90, 1)[:, 0])
    run = tt.simulate(panel, np.full(90, weight), costs=costs)
    found = statistics.net_of_costs(case_by_hand(run, record_with(1.0, 90)))
    assert (found.outcome, found.decides) == (outcome, True)


def test_costs_are_those_of_what_was_traded(ledger: object) -> None:
    run = weighed(panel_from(noise(90, 1)[:, 0]), 0, tt.Costs(taker_fee=0.0012))
    found = statistics.net_of_costs(case_by_hand(run, record_with(1.0, 90)))
    assert found.figure == pytest.approx(0.0012, rel=1e-9)
    assert "12.0 bps" in found.told


@pytest.mark.parametrize(
    ("returns", "ruin", "outcome", "needed"),
    [
        (record_with(1.0, 59), "", SHORT, "1 more days in the market"),
        (record_with(1.0, 60), "", PASSED, ""),
        (record_with(1.0, 200), "the book lost all that it had", FAILED, ""),
        (np.zeros(200), "", SHORT, "60 more days in the market"),
    ],
)
def test_a_record_is_as_long_as_it_must_be(
    anyone: Run, returns: np.ndarray, ruin: str, outcome: str, needed: str
) -> None:
    found = statistics.length(case_by_hand(anyone, returns, ruin=ruin))
    assert (found.outcome, found.needed, found.decides) == (outcome, needed, True)


# --- Sharpe ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharpe", [-1.0, 0.3, 1.0, 3.0])
def test_probabilities_are_those_of_the_formulas(anyone: Run, sharpe: float) -> None:
    count = count_of(40, 1.2)
    case = case_by_hand(anyone, record_with(sharpe, 700), count)
    psr, dsr = statistics.probabilistic(case), statistics.deflated(case)
    assert psr.figure == pytest.approx(probabilistic_sharpe(case.moments, 0.0), abs=1e-12)
    assert dsr.figure == pytest.approx(deflated_sharpe(case.moments, 40, count.variance), abs=1e-12)
    assert (psr.decides, dsr.decides) == (False, True)


@pytest.mark.parametrize(
    ("sharpe", "bar", "outcome", "words"),
    [
        (0.9, 1.0, FAILED, "a Sharpe above 1.00"),
        (1.5, 1.0, SHORT, "more days at this Sharpe"),
        (4.0, 1.0, PASSED, ""),
        (1.0 + 1e-5, 1.0, SHORT, "more than 100 years"),
        (1.0 + 1e-15, 1.0, SHORT, "more than 100 years"),
    ],
)
def test_what_a_sharpe_is_held_against(anyone: Run, sharpe: float, bar: float, outcome: str, words: str) -> None:
    # Of noise whose Sharpe is not above the bar no more days will do; above it they are counted.
    found = statistics.deflated(case_of_moments(anyone, Moments(700, sharpe / math.sqrt(YEAR)), count_of(50, bar)))
    assert found.outcome == outcome
    assert words in found.needed
    assert bool(words) == bool(found.needed)


@settings(max_examples=80)
@given(
    days=st.integers(60, 3_000),
    sharpe=st.floats(0.2, 6.0),
    bar=st.floats(0.0, 3.0),
    skew=st.floats(-2.0, 1.0),
    kurtosis=st.floats(6.0, 20.0),
)
def test_with_the_days_that_it_asks_for_the_same_record_passes(
    anyone: Run, days: int, sharpe: float, bar: float, skew: float, kurtosis: float
) -> None:
    """And with one day fewer it does not: the number is the least."""
    m = Moments(days, sharpe / math.sqrt(YEAR), skew, kurtosis)
    count = count_of(20, bar) if bar > 0.0 else count_of()
    found = statistics.deflated(case_of_moments(anyone, m, count))
    asked = re.match(r"([\d,]+) more days", found.needed)
    assume(asked is not None)
    assert asked is not None
    more = int(asked[1].replace(",", ""))

    def after(extra: int) -> str:
        return statistics.deflated(case_of_moments(anyone, m._replace(n=days + extra), count)).outcome

    assert after(more) == PASSED
    assert more == 1 or after(more - 1) == SHORT


def test_the_strictest_count_decides(anyone: Run) -> None:
    easy, hard = count_of(1_000, 0.2), count_of(4, 2.0, "family", "groups of trials")
    for found in ((easy, hard), (hard, easy)):
        told = statistics.deflated(case_by_hand(anyone, record_with(1.5, 900), *found))
        assert told.outcome == FAILED
        assert "2.00, what the best of 4 groups of trials on these data shows" in told.told


# --- many trials -----------------------------------------------------------------------------------------------------


def test_trials_beside_each_other_are_those_that_share_the_days_and_moved(anyone: Run) -> None:
    beside = noise(200, 4)
    beside[:150, 0] = np.nan  # too few days
    beside[:20, 1] = np.nan  # enough
    beside[:, 2] = 0.0  # never traded
    matrix = statistics.trials_matrix(case_by_hand(anyone, record_with(1.0, 200), trials=beside))
    assert matrix.shape == (180, 3)
    assert np.array_equal(matrix[:, 2], beside[20:, 3])


def test_overfitting_is_that_of_the_formula_and_takes_both_conditions() -> None:
    lost, least, edge = noise(320, 20) - 0.002, noise(320, 8, 1) - 0.004, noise(320, 8, 3)
    least[:, 2] += 0.003  # the best everywhere, and it loses: badly chosen is another thing
    edge[:, 5] += 0.004
    seen: set[tuple[bool, bool]] = set()
    for matrix, outcome in ((lost, FAILED), (least, PASSED), (edge, PASSED)):
        found, formula = statistics.overfitting(matrix, matrix.shape[1]), probability_of_overfitting(matrix, 16)
        assert found.figure == pytest.approx(formula.pbo, abs=1e-12)
        assert (found.outcome, found.decides) == (outcome, True)
        assert bool(found.needed) == (outcome == FAILED)
        seen.add((formula.pbo > 0.5, formula.loss > 0.5))
    assert seen == {(True, True), (False, True), (False, False)}  # the fourth is the plateau below


def test_a_plateau_may_have_a_high_probability_and_pass() -> None:
    """The seed is the first from 0 with which near copies of one edge change places by more than a half."""
    for seed in range(50):
        matrix = 1e-4 * noise(320, 8, seed) + 0.01 * noise(320, 1, 99) + 0.0005
        if probability_of_overfitting(matrix, 16).pbo > 0.5:
            assert statistics.overfitting(matrix, matrix.shape[1]).outcome == PASSED
            return
    pytest.fail("no such plateau")


@pytest.mark.parametrize("matrix", [np.empty((0, 0)), noise(300, 1), noise(20, 5)])
def test_where_nothing_was_chosen_nothing_is_overfitted(matrix: np.ndarray) -> None:
    found = statistics.overfitting(matrix, matrix.shape[1])
    assert (found.outcome, found.figure) == (ABSENT, None)


def test_superiority_is_that_of_the_formula() -> None:
    matrix = noise(400, 6)
    matrix[:, 2] += 0.002
    found = statistics.superiority(matrix, seed=4)
    best = int(np.argmax(matrix.mean(axis=0) / matrix.std(axis=0)))
    how = Resampling(paths=2_000, mean_block=float(block_length(matrix[:, best])[0]), seed=4)
    assert found.figure == superior(matrix, how).consistent
    assert (found.outcome, found.decides) == (PASSED, False)
    assert statistics.superiority(noise(400, 6, 7) - 0.001, seed=0).outcome == FAILED
    for nothing in (np.empty((0, 0)), noise(6, 3)):
        assert statistics.superiority(nothing, 0).outcome == ABSENT


# --- what a reader of the code found ---------------------------------------------------------------------------------


def test_one_lucky_day_among_zeros_is_no_record(anyone: Run) -> None:
    returns = np.zeros(1_000)
    returns[[3, 700]] = -0.001, 0.05
    case = case_by_hand(anyone, returns)
    found = [statistics.length(case), statistics.probabilistic(case), statistics.deflated(case)]
    assert probabilistic_sharpe(case.moments, 0.0) > 0.95  # what the formula says of it
    assert [each.outcome for each in found] == [SHORT] * 3


def test_trials_whose_returns_are_gone_leave_no_verdict(anyone: Run) -> None:
    case = case_by_hand(anyone, record_with(3.0, 700))
    assert statistics.counted(case).outcome == PASSED
    gone = statistics.counted(case._replace(family=case.family._replace(unread=40)))
    assert (gone.outcome, gone.decides) == (SHORT, True)
    assert "40 trials" in gone.told


def test_sets_at_other_costs_are_not_put_beside_a_record(ledger: object) -> None:
    panel = panel_from(noise(200, 1, seed=4)[:, 0])
    for costs in (tt.Costs(), tt.Costs(taker_fee=1e-3)):
        tt.sweep("sma_cross", panel, {"fast": [3, 4, 5], "slow": [10, 20]}, costs=costs)
    case = case_of(tt.backtest("sma_cross", panel, params={"fast": 4, "slow": 20}, costs=tt.Costs(taker_fee=1e-3)))
    assert (len(case.trials.sharpe), len(case.sets.sharpe)) == (12, 6)
    assert statistics.trials_matrix(case).shape[1] == 6


def test_what_holding_earned_is_no_cost_of_trading(anyone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    free = dict.fromkeys(anyone.metrics["costs"], 0.0) | {"funding": -1_000.0}
    monkeypatch.setitem(anyone.metrics, "costs", free)
    assert statistics.net_of_costs(case_by_hand(anyone, record_with(1.0, 90))).outcome == FAILED
