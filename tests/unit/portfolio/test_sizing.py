"""Sizing functions: what they refuse, their edges, and what must hold whatever the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trimtab.portfolio.sizing as sizing
from trimtab.portfolio.sizing import Draws, Edge, Estimate, LogUtility, TargetUtility, bet, sample_of
from trimtab.portfolio.sizing.methods import Question, annual_edge, holdings
from trimtab.types import NotEnoughData, TrimtabError

NAN, INF = math.nan, math.inf
EDGE = Edge(0.08, 0.2, 0.02)
means = st.floats(-0.5, 0.5).map(lambda mean: round(mean, 6))
vols = st.floats(0.01, 1.0)
levels = st.floats(0.05, 0.95)


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: Edge(x, 0.2),
        lambda x: Edge(0.1, x),
        lambda x: Edge(0.1, 0.2, x),
        lambda x: sizing.edge_from_sharpe(x, 0.2),
        lambda x: bet(x, 1.0),
        lambda x: bet(0.5, x),
        lambda x: sample_of([0.1, x]),
        lambda x: sample_of([0.1, -0.1], rate=x),
        lambda x: sizing.fixed_fraction(x),
        lambda x: sizing.volatility_target(x, 0.2),
        lambda x: sizing.volatility_target(0.1, x),
        lambda x: sizing.confidence_scaled(x),
        lambda x: sizing.confidence_of(x, 1.0),
        lambda x: sizing.kelly_from_odds(x, 1.0),
        lambda x: sizing.kelly_from_moments(x, 0.04),
        lambda x: sizing.kelly_from_moments(0.1, x),
        lambda x: sizing.kelly_from_sharpe(x, 0.2),
        lambda x: sizing.fractional_kelly(x, 0.5),
        lambda x: sizing.fractional_kelly(1.0, x),
        lambda x: sizing.shrink_for_error(x, 5.0),
        lambda x: sizing.measured_kelly_share(1.0, x),
        lambda x: sizing.kelly_with_ruin(EDGE, x, 0.1),
        lambda x: sizing.kelly_with_ruin(EDGE, 0.8, x),
        lambda x: sizing.growth_rate(EDGE, x),
        lambda x: sizing.prob_ever_below(EDGE, x, 0.8),
        lambda x: sizing.prob_ever_below(EDGE, 1.0, x),
        lambda x: sizing.prob_below_within(EDGE, 1.0, 0.8, x),
        lambda x: sizing.prob_drawdown_within(EDGE, 1.0, x, 1.0),
        lambda x: sizing.prob_at_least(EDGE, 1.0, x, 1.0),
        lambda x: TargetUtility(x, 1.0),
        lambda x: TargetUtility(1.2, x),
        lambda x: TargetUtility(1.2, 1.0).fraction(EDGE, x),
        lambda x: sizing.bold_play(x, 0.5),
        lambda x: sizing.kelly_of_assets([0.1, x], np.eye(2)),
        lambda x: sizing.kelly_of_assets([0.1, 0.1], [[1.0, 0.0], [0.0, x]]),
    ],
)
def test_what_is_no_number_is_refused(call, bad: float) -> None:
    with pytest.raises(TrimtabError):
        call(bad)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Edge(0.1, 0.0), "vol is 0: expected a number above 0"),
        (lambda: bet(1.0, 1.0), "win_rate is 1: expected a number above 0 and below 1"),
        (lambda: bet(0.5, 1.0, 1.5), "loss is 1.5"),
        (lambda: sample_of([0.1, -0.02, -1.5, NAN]), "return 2 is -1.5: expected simple returns"),
        (lambda: sample_of([[0.1], [0.2]]), "one column"),
        (lambda: sample_of([0.1, -0.1], [0.5, 0.6]), "adding up to 1"),
        (lambda: sample_of([0.1, -0.1], [1.0]), "one number from 0 to 1 for each return"),
        (lambda: sizing.fixed_fraction(0.02, 0.0), "loss is 0"),
        (lambda: sizing.fractional_kelly(1.0, 2.5), "share is 2.5: expected a number at least 0 and at most 2"),
        (lambda: sizing.kelly_with_ruin(EDGE, 1.0, 0.1), "floor is 1"),
        (lambda: sizing.kelly_with_ruin(Edge(0.01, 0.2, -0.01), 0.9, 0.01), "cash shrinks"),
        (lambda: sizing.kelly_with_ruin(sample_of([0.02, -0.02, 0.001], rate=-0.001), 0.9, 0.01), "cash shrinks"),
        (lambda: LogUtility().fraction(sample_of([0.01, 0.02])), "no return in the sample loses"),
        (lambda: sizing.prob_at_least(sample_of([0.1, -0.1]), 1.0, 1.1, 2.5), "whole periods only"),
        (lambda: sizing.bold_play(0.6, 0.5), "bold play is best up to 1/2 only"),
        (lambda: sizing.timid_play(0.5, 5, 4), "5 of 4 units"),
        (lambda: sizing.kelly_of_assets([0.1], np.eye(2)), "expected (N,) and (N, N)"),
        (lambda: sizing.kelly_of_assets([0.1, 0.1], [[1.0, 0.5], [0.2, 1.0]]), "symmetric"),
        (lambda: sizing.kelly_of_assets([0.1, 0.1], [[0.04, 0.04], [0.04, 0.04]]), "an asset is there twice"),
        (lambda: sizing.kelly_of_assets([0.1], [[1.0]], leverage=0.0), "leverage is 0"),
    ],
)
def test_a_refusal_says_what_and_what_was_expected(call, said: str) -> None:
    with pytest.raises(TrimtabError, match=said.replace("(", "\\(").replace(")", "\\)")):
        call()


def test_one_return_is_not_enough() -> None:
    with pytest.raises(NotEnoughData, match="expected 2 at least"):
        sample_of([0.1])


# --- formulas at their edges -----------------------------------------------------------------------------------------


def test_simple_sizes() -> None:
    assert sizing.fixed_fraction(0.02, 0.01) == 2.0
    assert sizing.volatility_target(0.15, 0.2) == pytest.approx(0.75)
    assert sizing.volatility_target(0.15, 0.01, 2.0) == 2.0
    assert sizing.confidence_scaled(0.2, 0.2) == 0.0
    assert sizing.confidence_scaled(0.6, 0.2) == pytest.approx(0.5)
    assert sizing.confidence_scaled(0.6, 0.2, 2.0) == pytest.approx(0.25)
    assert sizing.confidence_scaled(1.0, 0.9, 3.0) == 1.0
    assert sizing.confidence_of(0.0, 10.0) == 0.0
    assert sizing.confidence_of(-0.5, 4.0) == pytest.approx(0.6826894921370859)
    assert sizing.measured_kelly_share(0.3, 10.0) == 0.0  # within a standard error of nothing
    assert sizing.measured_kelly_share(1.0, 4.0) == 0.75
    assert sizing.shrink_for_error(0.0, 4.0) == 0.0


def test_a_fraction_at_risk_is_no_leverage() -> None:
    at_risk = sizing.kelly_from_odds(0.55, 1.2)
    position = sizing.kelly_from_odds(0.55, 1.2 * 0.02, 0.02)
    assert position == pytest.approx(sizing.fixed_fraction(at_risk, 0.02))
    assert position == pytest.approx(LogUtility().fraction(bet(0.55, 1.2 * 0.02, 0.02)), rel=1e-9)


def test_nothing_held_is_cash() -> None:
    for law in (EDGE, bet(0.6, 1.0, rate=0.001)):
        assert sizing.growth_rate(law, 0.0) == pytest.approx(0.02 if law is EDGE else math.log1p(0.001))
        assert sizing.prob_ever_below(law, 0.0, 0.8) == Estimate(0.0)
        assert sizing.prob_drawdown_within(law, 0.0, 0.2, 10.0).value == 0.0
        assert sizing.prob_below_within(law, 0.0, 0.8, 10.0).value == 0.0
    shrinking = Edge(0.08, 0.2, -0.5)
    assert sizing.prob_ever_below(shrinking, 0.0, 0.8).value == 1.0
    assert sizing.prob_drawdown_within(shrinking, 0.0, 0.2, 1.0).value == 1.0
    assert sizing.prob_drawdown_within(shrinking, 0.0, 0.2, 0.1).value == 0.0
    assert sizing.prob_at_least(shrinking, 0.0, 0.6, 1.0).value == 1.0


def test_what_can_take_all_takes_all() -> None:
    coin = bet(0.9, 1.0)
    assert sizing.growth_rate(coin, 1.0) == -INF
    assert sizing.prob_ever_below(coin, 1.0, 0.01).value == 1.0
    assert sizing.prob_drawdown_within(coin, 1.0, 0.5, 400.0, Draws(2_000)).value == 1.0
    assert LogUtility().fraction(coin) < 1.0
    assert sizing.prob_ever_below(coin, -0.5, 0.5).value == 1.0  # on the wrong side


def test_a_sample_without_a_loss() -> None:
    law = sample_of([0.0, 0.01])
    assert LogUtility(3.0).fraction(law) == 3.0
    assert sizing.break_even_fraction(law) == INF
    assert sizing.prob_ever_below(law, 5.0, 0.9).value == 0.0
    assert LogUtility().fraction(sample_of([0.01, -0.01])) == 0.0
    assert math.isnan(sample_of([0.01, 0.01]).sharpe)


def test_a_bet_against_you_is_taken_from_the_other_side() -> None:
    against, other = bet(0.4, 1.0), bet(0.6, 1.0)
    assert LogUtility().fraction(against) == pytest.approx(-LogUtility().fraction(other))
    assert sizing.kelly_with_ruin(against, 0.7, 0.1) == pytest.approx(-sizing.kelly_with_ruin(other, 0.7, 0.1))
    assert sizing.break_even_fraction(against) == pytest.approx(-sizing.break_even_fraction(other))
    assert sizing.kelly_with_ruin(Edge(-0.04, 0.2), 0.8, 0.1) == -sizing.kelly_with_ruin(Edge(0.04, 0.2), 0.8, 0.1)


def test_drawings_repeat_with_their_seed() -> None:
    law = bet(0.55, 1.2)
    a, b, other = (sizing.prob_drawdown_within(law, 0.05, 0.2, 250, Draws(seed=seed)) for seed in (1, 1, 2))
    assert a == b != other
    a, b, other = (sizing.prob_ever_below(law, 0.05, 0.7, Draws(seed=seed)) for seed in (1, 1, 2))
    assert a == b != other


# --- what must hold --------------------------------------------------------------------------------------------------


@given(mean=means, vol=vols, rate=st.floats(0.0, 0.1), floor=levels, risk=levels)
def test_kelly_with_ruin_keeps_its_promise_and_holds_all_it_may(
    mean: float, vol: float, rate: float, floor: float, risk: float
) -> None:
    edge = Edge(mean, vol, rate)
    kelly, held = LogUtility().fraction(edge), sizing.kelly_with_ruin(edge, floor, risk)
    assert abs(held) <= abs(kelly)
    assert held * kelly >= 0.0
    assert sizing.prob_ever_below(edge, held, floor).value <= risk * (1.0 + 1e-9)
    if 1e-12 < abs(held) < 0.999 * abs(kelly):  # below, one thousandth more is no other number
        assert sizing.prob_ever_below(edge, 1.001 * held, floor).value > risk


@given(
    returns=st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=30),
    rate=st.floats(0.0, 0.01),
    floor=levels,
    risk=levels,
)
def test_the_same_of_samples(returns: list[float], rate: float, floor: float, risk: float) -> None:
    law = sample_of(returns, rate=rate)
    low, high = law.excess.min(), law.excess.max()
    if not low < -1e-6 < 1e-6 < high:
        return
    kelly, held = LogUtility().fraction(law), sizing.kelly_with_ruin(law, floor, risk)
    assert abs(held) <= abs(kelly)
    assert sizing.growth_rate(law, kelly) >= sizing.growth_rate(law, 0.5 * kelly) - 1e-12
    assert sizing.growth_rate(law, kelly) >= sizing.growth_rate(law, 0.0) - 1e-12
    power = sizing.ruin_exponent(floor, risk)
    factor = 1.0 + rate + held * law.excess
    assert np.mean(factor**-power) <= 1.0 + 1e-9


@given(mean=means, vol=vols, f=st.floats(-3.0, 3.0), level=levels, horizon=st.floats(0.01, 50.0))
def test_chances_are_chances_and_grow_with_time(
    mean: float, vol: float, f: float, level: float, horizon: float
) -> None:
    edge = Edge(mean, vol, 0.02)
    soon, later = (sizing.prob_below_within(edge, f, level, t).value for t in (horizon, 2.0 * horizon))
    ever = sizing.prob_ever_below(edge, f, level).value
    assert 0.0 <= soon <= later + 1e-9 <= ever + 2e-9 <= 1.0 + 2e-9
    fell = sizing.prob_drawdown_within(edge, f, 1.0 - level, horizon, Draws(200, 50))
    assert soon <= fell.value + 1e-7 + 6.0 * fell.error + (0.2 if fell.error else 0.0) <= 1.5
    assert sizing.prob_below_within(edge, f, 0.99 * level, horizon).value <= soon + 1e-12


@given(p=st.floats(0.05, 0.5), x=st.floats(0.0, 1.0))
def test_bold_play_solves_its_equation(p: float, x: float) -> None:
    q = sizing.bold_play(p, x)
    assert 0.0 <= q <= min(1.0, x + 1e-12) if p < 0.5 else q == pytest.approx(x)
    if x <= 0.5:
        assert q == pytest.approx(p * sizing.bold_play(p, 2.0 * x), abs=1e-12)
    else:
        assert q == pytest.approx(p + (1.0 - p) * sizing.bold_play(p, 2.0 * x - 1.0), abs=1e-12)


def test_the_best_play_grows_with_time_into_bold_play() -> None:
    ever = [sizing.bold_play(0.45, k / 16) for k in range(17)]
    last = sizing.best_play(0.45, 16, 0)
    for bets in range(1, 12):
        now = sizing.best_play(0.45, 16, bets)
        assert (now >= last - 1e-15).all()
        assert (now <= np.array(ever) + 1e-12).all()
        last = now
    np.testing.assert_allclose(last, ever, atol=1e-12)
    assert [sizing.timid_play(0.5, k, 4) for k in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert sizing.timid_play(0.3, 500, 1_000) == pytest.approx((3.0 / 7.0) ** 500)  # no overflow


# --- a target --------------------------------------------------------------------------------------------------------


def test_a_target_that_cash_reaches_needs_no_risk() -> None:
    goal = TargetUtility(1.02, 1.0)
    rich = Edge(0.08, 0.2, 0.03)
    assert (goal.fraction(rich), goal.probability(rich), goal.best_constant(rich)) == (0.0, 1.0, 0.0)
    assert (goal.fraction(rich, 0.0), goal.probability(rich, 0.0)) == (0.0, 0.0)
    assert (goal.fraction(rich, -1.0), goal.probability(rich, -1.0)) == (0.0, 0.0)


def test_near_the_deadline_the_policy_is_bounded() -> None:
    goal = TargetUtility(1.2, 1.0)
    far = [abs(goal.fraction(EDGE, 0.6, t)) for t in (0.0, 0.9, 0.99, 0.996, 0.9999)]
    assert far == sorted(far)
    assert far[-1] < 70.0  # the guard: a day's worth
    assert goal.fraction(EDGE, 0.6, 1.0) == 0.0
    assert goal.fraction(EDGE, 0.6, 1.5) == 0.0
    assert TargetUtility(1.2, 1.0, cap=2.0).fraction(EDGE, 0.6, 0.999) == 2.0
    assert goal.probability(EDGE, 1.3, 1.0) == 1.0
    assert goal.probability(EDGE, 1.1, 1.0) == 0.0


def test_the_size_does_not_depend_on_the_mean_but_the_side_does() -> None:
    goal = TargetUtility(1.2, 1.0)
    sizes = [goal.fraction(Edge(mean, 0.2, 0.02)) for mean in (0.5, 0.03, -0.1)]
    assert sizes[0] == sizes[1] == -sizes[2] > 0.0
    assert goal.probability(Edge(0.12, 0.2, 0.02)) == pytest.approx(goal.probability(Edge(-0.08, 0.2, 0.02)))


@given(mean=means, target=st.floats(1.05, 3.0), f=st.floats(-4.0, 4.0))
def test_no_constant_fraction_beats_the_policy_or_the_best_constant(mean: float, target: float, f: float) -> None:
    edge, goal = Edge(mean, 0.25, 0.01), TargetUtility(target, 2.0)
    best = sizing.prob_at_least(edge, goal.best_constant(edge), target, 2.0).value
    assert sizing.prob_at_least(edge, f, target, 2.0).value <= best + 1e-12 <= goal.probability(edge) + 2e-12


# --- several assets --------------------------------------------------------------------------------------------------


def test_one_asset_is_kelly_under_its_cap() -> None:
    assert sizing.kelly_of_assets([0.08], [[0.04]], 0.02) == pytest.approx([1.5])
    assert sizing.kelly_of_assets([0.08], [[0.04]], 0.02, 1.0) == pytest.approx([1.0])
    assert sizing.kelly_of_assets([-0.08], [[0.04]], 0.02, 1.0) == pytest.approx([-1.0])
    assert sizing.kelly_of_assets([-0.08], [[0.04]], 0.02, 1.0, long_only=True) == pytest.approx([0.0])
    assert sizing.kelly_of_assets([0.02, 0.02], np.eye(2), 0.02).tolist() == [0.0, 0.0]


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), leverage=st.floats(0.05, 20.0), long_only=st.booleans())
def test_what_is_held_is_where_no_change_helps(seed: int, n: int, leverage: float, long_only: bool) -> None:
    """The conditions of Karush, Kuhn and Tucker: equal marginal growth of all that is held, less of the rest."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(0.0, 0.2, (n, 2))
    covariance = factor @ factor.T + np.diag(rng.uniform(1e-3, 0.1, n))
    mean = np.round(rng.normal(0.0, 0.1, n), 2)  # with ties
    w = sizing.kelly_of_assets(mean, covariance, 0.0, leverage, long_only)
    marginal, held, gross = mean - covariance @ w, w != 0.0, np.abs(w).sum()
    close = 1e-9 * max(1.0, np.abs(mean).max())
    assert gross <= leverage * (1.0 + 1e-12)
    price = np.abs(marginal[held]).max() if held.any() else 0.0
    assert (np.abs(marginal[held] * np.sign(w[held]) - price) <= close).all()
    rest = marginal[~held] if long_only else np.abs(marginal[~held])
    assert (rest <= price + close).all()
    assert gross >= leverage * (1.0 - 1e-9) or price <= close


# --- every method beside every other ---------------------------------------------------------------------------------


def test_a_row_for_every_method_and_its_figures() -> None:
    rows = {row.name: row for row in holdings(EDGE, Question())}
    assert list(rows) == [
        "fixed_fraction", "volatility_target", "confidence", "kelly", "kelly_fraction", "kelly_shrunk",
        "kelly_with_ruin", "target",
    ]  # fmt: skip
    assert rows["kelly"].fraction == pytest.approx(1.5)
    assert rows["kelly"].growth == pytest.approx(0.065)
    assert rows["kelly"].volatility == pytest.approx(0.3)
    assert rows["kelly_fraction"].fraction == pytest.approx(0.75)
    assert rows["kelly_with_ruin"].below.value == pytest.approx(0.1)
    assert rows["kelly_shrunk"].fraction == pytest.approx(1.5 * 0.09 / 0.19)
    assert rows["target"].fraction == pytest.approx(1.3702284605387804)
    assert rows["kelly"].reached.value == pytest.approx(0.34787206152954664)
    assert rows["kelly"].ruined.value == pytest.approx(sizing.prob_ever_below(EDGE, 1.5, 0.5).value)


def test_figures_of_a_year_whatever_the_period() -> None:
    daily = Edge(0.08 / 252, 0.2 / math.sqrt(252), 0.02 / 252)
    for a, b in zip(holdings(EDGE, Question()), holdings(daily, Question(per_year=252.0)), strict=True):
        assert a.label == b.label
        for name in ("fraction", "growth", "volatility"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), nan_ok=True)
        for name in ("below", "fell", "ruined", "reached"):
            assert getattr(a, name).value == pytest.approx(getattr(b, name).value, abs=1e-9)


def test_what_is_wanted_beyond_the_cap_is_cut_and_said() -> None:
    rows = {row.name: row for row in holdings(EDGE, Question(cap=1.0))}
    assert (rows["kelly"].fraction, rows["kelly"].wanted) == (1.0, pytest.approx(1.5))
    assert rows["volatility_target"].fraction == rows["volatility_target"].wanted < 0.76
    assert all(abs(row.fraction) <= 1.0 for row in rows.values())


def test_methods_of_a_bet_and_of_returns() -> None:
    asked = Question(per_year=100.0, fraction=0.02, draws=Draws(500))
    rows = {row.name: row for row in holdings(bet(0.55, 1.2), asked)}
    assert "target" not in rows
    assert rows["kelly"].fraction == pytest.approx(sizing.kelly_from_odds(0.55, 1.2))
    assert rows["volatility_target"].volatility == pytest.approx(0.15)
    returns = sample_of(np.random.default_rng(0).normal(0.001, 0.01, 300))
    names = [row.name for row in holdings(returns, Question(per_year=252.0, years=300 / 252, draws=Draws(500)))]
    assert names.index("kelly_moments") < names.index("kelly") < names.index("target")
    edge = annual_edge(returns, 252.0)
    assert edge is not None
    assert edge.sharpe == pytest.approx(returns.sharpe * math.sqrt(252.0))
