"""Trials on common days, and how many of them count."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.research.inference import multiple, trials
from trimtab.research.inference.sharpe import moments_of
from trimtab.types import DAY, NotEnoughData, TrimtabError

FIRST = int(np.datetime64("2024-01-01", "ns").astype(np.int64))


def days(first: int, last: int, but: tuple[int, ...] = ()) -> np.ndarray:
    return np.array([FIRST + d * DAY for d in range(first, last) if d % 7 not in but], dtype=np.int64)


def curve(ts: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return ts, np.random.default_rng(seed).normal(0.0, 0.01, len(ts))


def test_trials_meet_on_the_intersection_of_their_spans() -> None:
    first, second = curve(days(0, 50), 1), curve(days(10, 90), 2)
    ts, returns = trials.align([first, second])
    assert ts.tolist() == days(10, 50).tolist()
    np.testing.assert_allclose(returns, np.stack([first[1][10:], second[1][:40]], axis=1), rtol=1e-12)


def test_days_that_only_one_trial_has_are_compounded_into_the_next_common_one() -> None:
    clock, session = curve(days(0, 70), 1), curve(days(0, 70, but=(5, 6)), 2)
    ts, returns = trials.align([clock, session])
    assert ts.tolist() == session[0].tolist()
    np.testing.assert_allclose(returns[:, 1], session[1], rtol=1e-12)
    monday = np.searchsorted(ts, FIRST + 7 * DAY)
    assert returns[monday, 0] == pytest.approx(np.prod(1.0 + clock[1][5:8]) - 1.0, rel=1e-9)
    whole = np.prod(1.0 + clock[1][: int((ts[-1] - FIRST) // DAY) + 1])
    assert np.prod(1.0 + returns[:, 0]) == pytest.approx(whole, rel=1e-12)


def test_too_few_common_days_are_told_with_the_trials_that_cut_them() -> None:
    given = [curve(days(0, 60)), curve(days(0, 20)), curve(days(15, 60))]
    said = "3 trials have 5 days in common, 32 are needed: trial 2 begins on 2024-01-16, trial 1 ends on 2024-01-20"
    with pytest.raises(NotEnoughData, match=said):
        trials.align(given, 32)
    with pytest.raises(NotEnoughData, match="trial 1 has no day"):
        trials.align([curve(days(0, 60)), curve(days(0, 0))])


@pytest.mark.parametrize(
    ("curves", "said"),
    [
        ([], "no trials"),
        ([(days(0, 3), [0.1, 0.2])], "trial 0: ts has shape"),
        ([(days(0, 2)[::-1], [0.1, 0.2])], "rising"),
        ([(days(0, 2), [0.1, math.nan])], r"trial 0\[1\]"),
    ],
)
def test_what_is_no_trial_is_refused(curves: list[tuple[np.ndarray, list[float]]], said: str) -> None:
    with pytest.raises(TrimtabError, match=said):
        trials.align(curves)


def test_a_trial_that_never_traded_has_no_sharpe_and_is_still_a_trial() -> None:
    returns = np.random.default_rng(0).normal(0.0, 0.01, (100, 4))
    returns[:, 2] = 0.0
    found = trials.sharpes_of(returns)
    assert np.isnan(found).tolist() == [False, False, True, False]
    for k in (0, 1, 3):
        assert found[k] == pytest.approx(moments_of(returns[:, k]).sharpe, rel=1e-12)
    assert trials.sharpe_variance(found) == pytest.approx(found[[0, 1, 3]].var(ddof=1))
    assert trials.sharpe_variance([0.3]) == 0.0
    assert math.isnan(trials.sharpe_variance([math.nan]))
    assert np.isnan(trials.sharpes_of(returns[:1])).all()
    with pytest.raises(TrimtabError, match="finite or NaN"):
        trials.sharpe_variance([math.inf])


def test_correlations_are_those_of_numpy_and_a_flat_trial_has_none() -> None:
    returns = np.random.default_rng(0).normal(0.0, 0.01, (60, 3))
    np.testing.assert_allclose(trials.correlations(returns), np.corrcoef(returns.T), rtol=1e-12, atol=1e-15)
    returns[:, 1] = 0.002
    rho = trials.correlations(returns)
    assert rho[1].tolist() == [0.0, 1.0, 0.0]
    assert trials.average_correlation(rho) == pytest.approx(rho[0, 2] / 3.0)
    assert trials.average_correlation(np.ones((1, 1))) == 0.0
    with pytest.raises(NotEnoughData):
        trials.correlations(returns[:1])
    with pytest.raises(TrimtabError, match="align"):
        trials.correlations(np.full((5, 2), np.nan))


@given(st.floats(-1.0, 1.0), st.integers(1, 10_000))
def test_effective_trials_lie_between_one_and_all(correlation: float, count: int) -> None:
    found = trials.effective_trials(correlation, count)
    assert 1.0 <= found <= count
    assert correlation > 0.0 or found == count


@pytest.mark.parametrize(("correlation", "count"), [(1.1, 5), (math.nan, 5), (0.1, 0)])
def test_no_correlation_or_no_trials(correlation: float, count: int) -> None:
    with pytest.raises(TrimtabError):
        trials.effective_trials(correlation, count)


def test_clusters_find_the_things_that_were_tried() -> None:
    rng = np.random.default_rng(0)
    ideas = rng.normal(0.0, 0.01, (500, 3))
    of = np.array([0, 1, 0, 2, 2, 1, 0, 0])
    returns = ideas[:, of] + rng.normal(0.0, 0.003, (500, 8))
    group = trials.clusters(trials.correlations(returns))
    assert group.tolist() == of.tolist()
    merged = trials.cluster_returns(returns, group)
    assert merged.shape == (500, 3)
    assert np.corrcoef(merged[:, 0], ideas[:, 0])[0, 1] > 0.98
    assert trials.clusters(np.ones((1, 1))).tolist() == [0]


def test_a_chain_of_neighbours_is_not_one_idea() -> None:
    """Each is like the next, and the ends have nothing in common."""
    x = np.random.default_rng(0).normal(0.0, 0.01, (4_000, 30))
    chain = np.stack([x[:, k : k + 8].sum(axis=1) for k in range(20)], axis=1)
    rho = trials.correlations(chain)
    group = trials.clusters(rho)
    assert np.diag(rho, 1).min() > 0.5
    assert group.max() >= 3
    for g in range(group.max() + 1):
        assert rho[np.ix_(group == g, group == g)].min() >= 0.5 - 1e-9


def test_trials_that_stand_still_are_groups_of_their_own() -> None:
    returns = np.random.default_rng(0).normal(0.0, 0.01, (50, 3))
    returns[:, 1:] = 0.0
    group = trials.clusters(trials.correlations(returns))
    assert group.tolist() == [0, 1, 2]
    assert (trials.cluster_returns(returns, group)[:, 1:] == 0.0).all()


def test_a_library_that_is_absent_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.cluster.hierarchy", None)
    with pytest.raises(TrimtabError, match=r"clusters of trials need scipy: pip install 'trimtab\[research\]'"):
        trials.clusters(np.eye(3))


# --- many tests ------------------------------------------------------------------------------------------------------

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@given(P_VALUES, st.sampled_from(list(multiple.METHODS)))
def test_adjusting_keeps_the_order_and_never_helps(p: list[float], method: str) -> None:
    found = multiple.adjusted(p, method)
    assert (found >= np.array(p) * (1 - 1e-12)).all()
    assert (found <= 1.0).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= 0.0).all()
    shuffled = np.random.default_rng(len(p)).permutation(len(p))
    np.testing.assert_array_equal(multiple.adjusted(np.array(p)[shuffled], method), found[shuffled])


@given(P_VALUES)
def test_stricter_methods_are_stricter(p: list[float]) -> None:
    bonferroni, holm, bh, by = (multiple.adjusted(p, m) for m in ("bonferroni", "holm", "fdr_bh", "fdr_by"))
    assert (bonferroni >= holm * (1 - 1e-12)).all()
    assert (holm >= bh * (1 - 1e-12)).all()
    assert (by >= bh * (1 - 1e-12)).all()


def test_a_test_that_was_not_made_is_not_counted() -> None:
    found = multiple.adjusted([0.02, math.nan, 0.01], "bonferroni")
    assert found[[0, 2]].tolist() == [0.04, 0.02]
    assert math.isnan(found[1])
    assert multiple.adjusted([]).size == 0


@pytest.mark.parametrize(
    ("p", "method", "said"), [([1.2], "holm", "0 to 1"), ([-0.1], "holm", "0 to 1"), ([0.1], "sidak", "fdr_bh")]
)
def test_no_p_value_and_no_method(p: list[float], method: str, said: str) -> None:
    with pytest.raises(TrimtabError, match=said):
        multiple.adjusted(p, method)
