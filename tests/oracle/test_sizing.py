"""Sizing against reference figures, scipy, a differential equation, and simulations that share no code with it.

The figures of sizing.json come from the papers' formulas, checked by another implementation each. What a named mistake
gives must be missed. Simulated probabilities are held to 4 standard errors, on seeds 0, 1, 2, …: a right answer fails
one such comparison in 16,000, and one that is off by 6 standard errors passes in 2 of 100.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import linalg, optimize, stats

import trimtab.portfolio.sizing as sizing
from trimtab.portfolio.sizing import Draws, Edge, LogUtility, Sample, TargetUtility, bet, diffusion, normal, paths
from trimtab.portfolio.sizing.edges import ruin_fractions

FACTS = json.loads((Path(__file__).parent / "sizing.json").read_text())
REACH = 4.0  # standard errors


def binary(case: dict[str, Any]) -> dict[str, float]:
    p, b, a = (float(case["inputs"][name]) for name in ("p", "win_per_unit", "loss_per_unit"))
    law, f = bet(p, b, a), sizing.kelly_from_odds(p, b, a)
    assert LogUtility().fraction(law) == pytest.approx(f, rel=1e-7, abs=1e-12)
    return {
        "f_star": f,
        "f_no_short": max(0.0, f),
        "growth": sizing.growth_rate(law, f),
        "edge": law.mean,
        "growth_half": sizing.growth_rate(law, sizing.fractional_kelly(f, 0.5)),
        "growth_double": sizing.growth_rate(law, sizing.fractional_kelly(f, 2.0)),
        "f_c": sizing.break_even_fraction(law),
    }


def gaussian(case: dict[str, Any]) -> dict[str, float]:
    given = case["inputs"]
    if "sharpe_true" in given:
        sharpe, years = given["sharpe_true"], given["years"]
        shrink = sizing.shrink_for_error(sharpe, years)
        return {
            "shrink": shrink,
            "growth_plugin": sizing.growth_after_error(sharpe, years, 1.0),
            "growth_shrunk": sizing.growth_after_error(sharpe, years, shrink),
        }
    if "returns" in given:
        return empirical(np.array(given["returns"]))
    mu, vol, rate = given["mu"], given["sigma"], given["rf"]
    edge = Edge(mu, vol, rate)
    f = sizing.kelly_from_moments(mu, vol**2, rate)
    full, half = sizing.growth_rate(edge, f), sizing.growth_rate(edge, sizing.fractional_kelly(f, 0.5))
    return {
        "sharpe": edge.sharpe,
        "f_star": f,
        "f_from_sharpe": sizing.kelly_from_sharpe(edge.sharpe, vol),
        "optimal_vol": sizing.volatility(edge, f),
        "growth_full": full,
        "growth_half": half,
        "growth_double": sizing.growth_rate(edge, sizing.break_even_fraction(edge)),
        "half_share_of_excess": (half - rate) / (full - rate),
        "f_star_daily_inputs": sizing.kelly_from_moments(mu / 252, vol**2 / 252, rate / 252),
    }


def empirical(returns: np.ndarray) -> dict[str, float]:
    law = sizing.sample_of(returns)
    f = LogUtility().fraction(law)
    win, loss, p = returns[returns > 0].mean(), -returns[returns < 0].mean(), float((returns > 0).mean())
    return {
        "f_star": f,
        "growth": sizing.growth_rate(law, f),
        "f_max_before_ruin": ruin_fractions(law)[1],
        "mu_over_var": sizing.kelly_from_moments(float(returns.mean()), float(returns.var())),
        "mu_over_second_moment": sizing.kelly_from_moments(float(returns.mean()), float((returns**2).mean())),
        "win_loss_formula_fraction": sizing.kelly_from_odds(p, win / loss),
        "win_loss_formula_as_leverage": sizing.kelly_from_odds(p, win, loss),
    }


def drawdown(case: dict[str, Any]) -> dict[str, float]:
    given = case["inputs"]
    if "beta" in given:
        share = sizing.kelly_share_with_ruin(given["alpha"], given["beta"])
        held = sizing.kelly_with_ruin(Edge(0.3, 1.0), given["alpha"], given["beta"])
        assert held == pytest.approx(0.3 * share, rel=1e-12)
        return {
            "lam": sizing.ruin_exponent(given["alpha"], given["beta"]),
            "kelly_fraction": share,
            "check_prob": sizing.prob_ever_below(Edge(0.3, 1.0), held, given["alpha"]).value,
        }
    edge = Edge(given.get("sharpe", 0.7), 1.0)
    f = sizing.fractional_kelly(edge.sharpe, given["kelly_fraction"])
    ever = sizing.prob_ever_below(edge, f, given["alpha"]).value
    if "years" not in given:
        return {"prob_ever_below_alpha": ever}
    within = sizing.prob_below_within(edge, f, given["alpha"], given["years"]).value
    return {"prob_min_below": within, "infinite_T": ever}


def constrained(case: dict[str, Any]) -> dict[str, Any]:
    p, payoff, alpha, beta = (case["inputs"][name] for name in ("pi", "payoff", "alpha", "beta"))
    law = bet(p, payoff - 1.0)
    kelly, held = LogUtility().fraction(law), sizing.kelly_with_ruin(law, alpha, beta)
    power = sizing.ruin_exponent(alpha, beta)
    second = float(law.probability @ law.returns**2)
    return {
        "lam": power,
        "kelly_bet": kelly,
        "rck_bet": held,
        "growth_kelly": sizing.growth_rate(law, kelly),
        "growth_rck": sizing.growth_rate(law, held),
        "constraint_at_rck": math.exp(paths.log_power_mean(*paths.log_gross(law, held), -power)),
        "constraint_active": held < kelly,
        "quadratic_approx_bet": sizing.kelly_with_ruin(Edge(law.mean, math.sqrt(second)), alpha, beta),
    }


def target(case: dict[str, Any]) -> dict[str, Any]:
    given = case["inputs"]
    if "wealth_fraction" in given:
        return {
            "prob": [sizing.bold_play(given["p"], x) for x in given["wealth_fraction"]],
            "timid_unit_bets_N8": [sizing.timid_play(given["p"], k, 8) for k in range(9)],
        }
    if "periods" in given:
        return {"max_prob": sizing.best_play(given["p"], given["target"], given["periods"]).tolist()}
    edge = Edge(given.get("mu", 0.08), given.get("sigma", 0.2), given["rf"])
    goal = TargetUtility(given["target"], given["years"])
    constant = goal.best_constant(edge)
    kelly = LogUtility().fraction(edge)

    def reached(f: float) -> float:
        return sizing.prob_at_least(edge, f, goal.target, goal.horizon).value

    return {
        "theta": edge.sharpe,
        "max_prob": goal.probability(edge, given["wealth"]),
        "dollar_in_risky_now": given["wealth"] * goal.fraction(edge, given["wealth"]),
        "fraction_now": goal.fraction(edge, given["wealth"]),
        "fraction": goal.fraction(edge, given["wealth"]),
        "kelly_fraction": kelly,
        "prob_with_full_kelly": reached(kelly),
        "best_constant_multiple": constant / kelly,
        "prob_best_constant": reached(constant),
    }


FAMILIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "kelly_binary": binary,
    "kelly_gaussian": gaussian,
    "kelly_drawdown": drawdown,
    "risk_constrained_kelly": constrained,
    "target_probability": target,
}
CASES = [(family, case) for family in FAMILIES for case in FACTS[family]["cases"]]


@pytest.mark.parametrize(("family", "case"), CASES, ids=[f"{family}-{case['name']}" for family, case in CASES])
def test_reference_figures(family: str, case: dict[str, Any]) -> None:
    found = FAMILIES[family](case)
    tolerance = FACTS[family]["tolerance"]
    rel, close = tolerance["rtol"], tolerance["atol"]
    for name, expected in case["expected"].items():
        if name == "exact":  # the same figures as fractions
            numbers = [float(Fraction(text)) for text in expected]
            name, expected = ("prob" if "prob" in found else "max_prob"), numbers
        by_search = name == "best_constant_multiple"  # theirs was searched for on a flat top, ours is a formula
        assert found[name] == pytest.approx(expected, rel=1e-7 if by_search else rel, abs=close), name
    for mistake, wrong in case.get("naive_wrong", {}).items():
        if wrong != pytest.approx(case["expected"]["f_star"], rel=1e-6):
            assert found["f_star"] != pytest.approx(wrong, rel=1e-3, abs=1e-3), mistake


def test_every_mistake_is_told_apart_by_some_case() -> None:
    told = {
        mistake
        for _, case in CASES
        for mistake, wrong in case.get("naive_wrong", {}).items()
        if wrong != pytest.approx(case["expected"]["f_star"], rel=1e-2, abs=1e-2)
    }
    assert told == {mistake for _, case in CASES for mistake in case.get("naive_wrong", {})}


# --- other implementations -------------------------------------------------------------------------------------------


def test_the_normal_distribution_is_scipys() -> None:
    for x in np.linspace(-37.0, 37.0, 149):
        assert normal.distribution(x) == pytest.approx(stats.norm.cdf(x), rel=1e-12)
        assert normal.density(x) == pytest.approx(stats.norm.pdf(x), rel=1e-12)
    for x in np.linspace(-1_000.0, 0.0, 101):
        ratio = math.exp(stats.norm.logcdf(x) - stats.norm.logpdf(x))
        assert normal.mills_ratio(x) == pytest.approx(ratio, rel=1e-9)  # theirs is a difference of 500,000s
    for p in (1e-300, 1e-12, 0.01, 0.5, 0.77, 1.0 - 1e-12):
        assert normal.quantile(p) == pytest.approx(stats.norm.ppf(p), rel=1e-12)
    assert (normal.quantile(0.0), normal.quantile(1.0)) == (-math.inf, math.inf)


def fat_tailed(seed: int, size: int = 500, drift: float = 0.0006) -> np.ndarray:
    return np.clip(drift + 0.01 * np.random.default_rng(seed).standard_t(4, size), -0.5, 0.5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rate", [0.0, 0.0001])
def test_log_utility_is_the_maximum_that_scipy_finds(seed: int, rate: float) -> None:
    returns = fat_tailed(seed) * (-1.0 if seed == 3 else 1.0)
    law = sizing.sample_of(returns, rate=rate)
    best = optimize.minimize_scalar(
        lambda f: -np.log(np.maximum(1.0 + rate + f * (returns - rate), 1e-12)).mean(),
        bounds=(-30.0, 30.0),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert LogUtility().fraction(law) == pytest.approx(best.x, rel=1e-5, abs=1e-5)
    assert sizing.growth_rate(law, LogUtility().fraction(law)) >= -best.fun - 1e-15
    assert LogUtility(0.05).fraction(law) == pytest.approx(math.copysign(min(0.05, abs(best.x)), best.x), rel=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_ruin_constrained_kelly_is_the_optimum_that_scipy_finds(seed: int) -> None:
    returns = fat_tailed(seed, drift=0.002)
    law = sizing.sample_of(returns)
    power = sizing.ruin_exponent(0.8, 0.05)
    found = optimize.minimize(
        lambda f: -np.log1p(f[0] * returns).mean() * 1e4,
        [0.1],
        method="SLSQP",
        bounds=[(0.0, 0.99 / -returns.min())],
        constraints={"type": "ineq", "fun": lambda f: -np.log(np.mean((1.0 + f[0] * returns) ** -power)) * 1e3},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert sizing.kelly_with_ruin(law, 0.8, 0.05) == pytest.approx(found.x[0], rel=2e-4)


def moments(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    factor = rng.normal(0.0, 0.2, (n, 3))
    return rng.normal(0.05, 0.08, n), factor @ factor.T + np.diag(rng.uniform(0.002, 0.05, n))


@pytest.mark.parametrize("long_only", [False, True])
@pytest.mark.parametrize(("n", "leverage"), [(1, 1.0), (2, 0.5), (5, 1.0), (5, 3.0), (12, 2.0), (12, 1e6), (40, 1.5)])
def test_kelly_of_assets_is_the_optimum_that_scipy_finds(n: int, leverage: float, long_only: bool) -> None:
    for seed in range(3):
        mean, covariance = moments(seed, n)
        w = sizing.kelly_of_assets(mean, covariance, 0.01, leverage, long_only)
        excess = mean - 0.01
        gain = w @ excess - 0.5 * w @ covariance @ w
        # The cap split into long and short parts, which SLSQP can digest.
        both = np.concatenate((excess, -excess))
        block = np.block([[covariance, -covariance], [-covariance, covariance]])
        other = optimize.minimize(
            lambda x, c=block, m=both: 0.5 * x @ c @ x - m @ x,
            np.full(2 * n, min(leverage, 1.0) / (4 * n)),
            jac=lambda x, c=block, m=both: c @ x - m,
            method="SLSQP",
            bounds=[(0.0, None)] * n + [(0.0, 0.0 if long_only else None)] * n,
            constraints={"type": "ineq", "fun": lambda x: leverage - x.sum(), "jac": lambda x: -np.ones_like(x)},
            options={"ftol": 1e-15, "maxiter": 2_000},
        )
        assert np.abs(w).sum() <= leverage * (1.0 + 1e-12)
        assert not long_only or (w >= 0.0).all()
        assert gain >= -other.fun - 1e-12
        np.testing.assert_allclose(w, other.x[:n] - other.x[n:], atol=2e-4 * max(1.0, np.abs(w).max()))


def met_by_the_heat_equation(growth: float, vol: float, h: float, horizon: float) -> float:
    """P(drawdown of log wealth meets h): the backward equation of the reflected distance, by Crank and Nicolson."""
    n, steps = 2_000, 4_000
    x, dt = np.linspace(0.0, h, n + 1), horizon / steps
    dx = x[1]
    up, down = 0.5 * vol**2 / dx**2 - growth / (2 * dx), 0.5 * vol**2 / dx**2 + growth / (2 * dx)
    # Rows 0 … n - 1 of the unknown survival; a mirror point at 0, and nothing survives at h.
    upper, lower, middle = np.full(n, up), np.full(n, down), np.full(n, -(up + down))
    upper[0] += lower[0]

    def banded(scale: float) -> np.ndarray:
        band = np.zeros((3, n))
        band[0, 1:], band[1], band[2, :-1] = scale * upper[:-1], 1.0 + scale * middle, scale * lower[1:]
        return band

    u = np.ones(n)
    for k in range(steps + 2):
        damped = k < 4  # four backward half steps first: the start jumps at h
        size = dt / 2 if damped else dt
        if damped:
            u = linalg.solve_banded((1, 1), banded(-size), u)
            continue
        right = u + 0.5 * size * (middle * u + np.append(upper[:-1] * u[1:], 0.0) + np.append(0.0, lower[1:] * u[:-1]))
        u = linalg.solve_banded((1, 1), banded(-0.5 * size), right)
    return 1.0 - float(u[0])


@pytest.mark.parametrize(
    ("edge", "f"),
    [
        (Edge(0.08, 0.2, 0.02), 1.0),
        (Edge(0.08, 0.2, 0.02), 1.5),
        (Edge(0.08, 0.2, 0.02), 4.0),
        (Edge(0.08, 0.2, 0.02), -0.5),
        (Edge(0.0, 0.3), 1.0),
        (Edge(-0.2, 0.15), 1.0),
        (Edge(0.2, 0.2), 1.0),  # a = 0.999…: a root next to 0
        (Edge(0.3, 0.15), 1.0),  # a imaginary root
        (Edge(0.045, 0.3), 1.0),  # no growth: a = 0
    ],
)
def test_the_chance_of_a_drawdown_solves_the_heat_equation(edge: Edge, f: float) -> None:
    h = -math.log1p(-0.2)
    growth, vol = sizing.growth_rate(edge, f), sizing.volatility(edge, f)
    expected = met_by_the_heat_equation(growth, vol, h, 1.0)
    assert sizing.prob_drawdown_within(edge, f, 0.2, 1.0).value == pytest.approx(expected, abs=2e-5)


# --- simulations -----------------------------------------------------------------------------------------------------


def compared(estimates: list[sizing.Estimate], exact: float) -> None:
    """Each within 4 standard errors, these as large as they say: the squared ratios add up to about their count."""
    z = np.array([(value - exact) / error for value, error in estimates])
    assert np.abs(z).max() < REACH, z
    low, high = stats.chi2.ppf([1e-4, 1.0 - 1e-4], z.size)
    assert low < (z**2).sum() < high, z


@pytest.mark.parametrize("f", [0.75, 1.5, 3.0])
@pytest.mark.parametrize("steps", [1, 12])
def test_a_floor_is_watched_between_the_steps(f: float, steps: int) -> None:
    edge = Edge(0.08, 0.2, 0.02)
    exact = sizing.prob_below_within(edge, f, 0.8, 1.0).value
    compared([paths.below_within(edge, f, 0.8, 1.0, Draws(20_000, steps, seed)) for seed in range(8)], exact)


@pytest.mark.parametrize(
    ("edge", "f"), [(Edge(0.08, 0.2, 0.02), 1.0), (Edge(-0.2, 0.15), 1.0), (Edge(0.12, 0.16), 2.0)]
)
def test_drawdowns_are_watched_between_the_steps(edge: Edge, f: float) -> None:
    exact = sizing.prob_drawdown_within(edge, f, 0.2, 1.0).value
    compared([paths.drawdown_within(edge, f, 0.2, 1.0, Draws(4_000, 250, seed)) for seed in range(8)], exact)


def test_a_drawdown_that_the_series_cannot_do_is_simulated() -> None:
    steep = Edge(-0.22, 0.02)  # falls by 20% in a year for certain, nearly
    assert math.isnan(diffusion.prob_drawdown_within(steep, 1.0, 0.2, 1.0))
    drawn = sizing.prob_drawdown_within(steep, 1.0, 0.2, 1.0, Draws(20_000, 250, 0))
    # The peak is the start but for the first days, so it is the chance of a floor, and a little more.
    floor = sizing.prob_below_within(steep, 1.0, 0.8, 1.0).value
    assert drawn.error > 0.0
    assert floor - REACH * drawn.error < drawn.value < floor + 0.05


def test_the_chance_of_reaching_a_goal() -> None:
    edge, years = Edge(0.08, 0.2, 0.02), 3.0
    z = np.random.default_rng(0).standard_normal(200_000)
    wealth = np.exp(sizing.growth_rate(edge, 1.5) * years + sizing.volatility(edge, 1.5) * math.sqrt(years) * z)
    estimate = paths.estimate(wealth >= 1.3)
    compared([estimate, estimate], sizing.prob_at_least(edge, 1.5, 1.3, years).value)


def forward(law: Sample, f: float, floor: float, steps: int, count: int, seed: int) -> sizing.Estimate:
    """P(below the floor within so many steps), by simply playing."""
    rng = np.random.default_rng(seed)
    log_factor, worst, wealth = np.log1p(f * law.returns), np.zeros(count), np.zeros(count)
    for _ in range(steps):
        wealth += log_factor[rng.choice(law.returns.size, count, p=law.probability)]
        np.minimum(worst, wealth, out=worst)
    return paths.estimate(worst < math.log(floor))


@pytest.mark.parametrize("case", FACTS["risk_constrained_kelly"]["cases"], ids=lambda case: case["name"])
def test_the_promise_about_ruin_is_kept_by_bets(case: dict[str, Any]) -> None:
    p, payoff, alpha, beta = (case["inputs"][name] for name in ("pi", "payoff", "alpha", "beta"))
    law = bet(p, payoff - 1.0)
    held = sizing.kelly_with_ruin(law, alpha, beta)
    ever = sizing.prob_ever_below(law, held, alpha, Draws(20_000))
    assert ever.value + REACH * ever.error < beta
    # Another's simulation of 60,000 paths of 1,500 bets, and ours of the same length.
    theirs = case["mc"]["prob_Wmin_below_alpha_60000x1500"]
    ours = forward(law, held, alpha, 1_500, 20_000, 0)
    assert ours.value == pytest.approx(theirs, abs=REACH * math.hypot(ours.error, math.sqrt(theirs / 60_000)))
    assert theirs == pytest.approx(ever.value, abs=REACH * math.sqrt(theirs / 60_000) + ever.error)
    # Kelly itself breaks it, so there was something to keep.
    assert sizing.prob_ever_below(law, LogUtility().fraction(law), alpha).value > beta


@pytest.mark.parametrize("seed", range(3))
def test_the_promise_about_ruin_is_kept_by_a_sample_of_returns(seed: int) -> None:
    law = sizing.sample_of(fat_tailed(seed, drift=0.002))
    held = sizing.kelly_with_ruin(law, 0.8, 0.1)
    ever = sizing.prob_ever_below(law, held, 0.8)
    played = forward(law, held, 0.8, 3_000, 4_000, seed)
    assert ever.value + REACH * ever.error < 0.1
    assert ever.value == pytest.approx(played.value, abs=REACH * math.hypot(ever.error, played.error))
    more = sizing.prob_ever_below(law, 1.2 * held, 0.8)  # the largest: a fifth more breaks it
    assert more.value - REACH * more.error > 0.1


@pytest.mark.parametrize("rate", [0.0, 0.02])
def test_the_promise_about_ruin_is_kept_by_a_diffusion(rate: float) -> None:
    edge = Edge(0.08, 0.2, rate)
    held = sizing.kelly_with_ruin(edge, 0.8, 0.1)
    assert sizing.prob_ever_below(edge, held, 0.8).value == pytest.approx(0.1, rel=1e-12)
    horizon = 30.0
    exact = sizing.prob_below_within(edge, held, 0.8, horizon).value
    assert exact < 0.1
    compared([paths.below_within(edge, held, 0.8, horizon, Draws(20_000, 60, seed)) for seed in range(4)], exact)


def test_tilted_paths_agree_with_plain_ones() -> None:
    law = bet(0.55, 1.2)
    for seed, f in enumerate((0.05, 0.1, 0.17)):
        ever = sizing.prob_ever_below(law, f, 0.7, Draws(seed=seed))
        played = forward(law, f, 0.7, 3_000, 8_000, seed)
        assert ever.value == pytest.approx(played.value, abs=REACH * math.hypot(ever.error, played.error))


def test_small_bets_are_a_diffusion() -> None:
    """As the steps of a sample shrink, its figures become those of the diffusion: the chances from below."""
    edge = Edge(0.08, 0.2)
    gaps = []
    for per_year in (16, 256, 4_096):
        up = 0.2 / math.sqrt(per_year)
        law = sizing.sample_of([edge.mean / per_year + up, edge.mean / per_year - up])
        assert sizing.growth_rate(law, 1.0) * per_year == pytest.approx(
            sizing.growth_rate(edge, 1.0), abs=0.1 / per_year
        )
        drawn = sizing.prob_ever_below(law, 1.0, 0.8)
        gaps.append(sizing.prob_ever_below(edge, 1.0, 0.8).value - drawn.value)
    assert gaps[0] > gaps[1] > gaps[2] > -0.002
    assert gaps[2] < 0.01


def test_browne_is_what_simulation_tends_to_as_the_steps_shrink() -> None:
    edge, goal = Edge(0.08, 0.2, 0.02), TargetUtility(1.2, 1.0, shortest=1e-9)
    best = goal.probability(edge)
    draws = [Draws(20_000, steps, 0) for steps in (8, 64, 512)]
    found = [sizing.simulated(goal, edge, (0.8,), 0.2, each).reached for each in draws]
    short = [best - each.value for each in found]
    assert short[0] > short[1] + 2.0 * found[1].error
    assert short[1] > short[2] > -REACH * found[2].error
    assert short[2] < 0.01 + REACH * found[2].error
    capped = TargetUtility(1.2, 1.0, cap=1.0)
    less = sizing.simulated(capped, edge, (0.8,), 0.2, draws[1]).reached
    constant = sizing.prob_at_least(edge, 1.0, 1.2, 1.0).value
    assert constant - REACH * less.error < less.value < found[1].value - 0.1
