"""Metrics against reference figures: a long series, cases that can be checked by hand, and edge cases.

The expected figures agree with empyrical, quantstats, skfolio and statsmodels to 1e-15 where those define them. Each
known mistake must be missed by far more than the tolerance, so that a test here cannot pass for the wrong formula.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.research import metrics as m
from trimtab.research.ratios import Tails
from trimtab.types import TrimtabError

FACTS = json.loads((Path(__file__).parent / "metrics.json").read_text())
MAIN = FACTS["main"]
RETURNS = np.array(MAIN["returns_e8"]) / 1e8
BENCHMARK = np.array(MAIN["benchmark_e8"]) / 1e8
P = 252.0


def computed(returns: np.ndarray) -> dict[str, float]:
    """Every figure that the references name, from the public functions and the summary."""
    s = m.summarise(m.Curve(returns), periods=P)
    spells = m.drawdowns(m.equity_from_returns(returns))
    some = spells.depth.size > 0
    deepest = int(spells.depth.argmin()) if some else 0
    equity = m.equity_from_returns(returns)
    tail: Tails = m.tails(returns)
    assert (s["var_95"], s["cvar_95"]) == pytest.approx(tail[:2], abs=0.0, nan_ok=True)
    return {
        "sharpe": s["sharpe"],
        "sortino": s["sortino"],
        "cagr": s["cagr"],
        "max_drawdown": s["max_drawdown"],
        "calmar": s["calmar"],
        "volatility_annual": s["volatility_annual"],
        "var95_hist": tail.var,
        "cvar95_exact": tail.cvar,
        "cvar95_tail_mean": m.tail_mean(returns),
        "omega0": s["omega"],
        "tail_ratio": s["tail_ratio"],
        "win_rate_nonzero": s["win_rate_days"],
        "win_rate_all": s["positive_days"],
        "profit_factor": m.omega_ratio(returns),
        "total_return": s["total_return"],
        "longest_underwater_periods": s["longest_drawdown"],
        "max_dd_peak_to_recovery": s["max_drawdown_length"],
        "peak_index": float(spells.peak[deepest]) if some else math.nan,
        "trough_index": float(m.underwater(equity).argmin()) if some else math.nan,
        "recovery_index": float(spells.recovery[deepest]) if some else math.nan,
    }


def agree(found: dict[str, float], expected: dict[str, Any], rtol: float = 1e-9) -> None:
    for name, value in expected.items():
        want = float(value)
        assert found[name] == pytest.approx(want, rel=rtol, abs=1e-12, nan_ok=True), name


def test_a_long_series_agrees() -> None:
    against = m.against_benchmark(RETURNS, BENCHMARK, P)
    found = computed(RETURNS) | {
        "alpha_per_period": against.alpha / P,
        "alpha_annual_arith": against.alpha,
        "alpha_annual_compound": (1.0 + against.alpha / P) ** P - 1.0,
        "beta": against.beta,
        "sharpe_rf_4pct_geometric": m.sharpe_ratio(RETURNS, P, 0.04),
        "sortino_mar_5pct": m.sortino_ratio(RETURNS, P, 0.05),
        "omega_th_1bp": m.omega_ratio(RETURNS, 0.0001),
        "sharpe_365": m.sharpe_ratio(RETURNS, 365.0),
        "treynor": m.treynor_ratio(RETURNS, BENCHMARK, P),
        "information_ratio": m.information_ratio(RETURNS, BENCHMARK, P),
    }
    agree(found, MAIN["expected"])


@pytest.mark.parametrize("mistake", sorted(MAIN["mistakes"]))
def test_known_mistakes_are_not_made(mistake: str) -> None:
    found = computed(RETURNS) | {
        "beta": m.against_benchmark(RETURNS, BENCHMARK, P).beta,
        "sharpe-rf": m.sharpe_ratio(RETURNS, P, 0.04),
    }
    of = mistake.split("_")[0]
    name = {"mdd": "max_drawdown", "var": "var95_hist"}.get(of, of)
    assert found[name] != pytest.approx(MAIN["mistakes"][mistake], rel=1e-5), f"{name} is what {mistake} gives"


@pytest.mark.parametrize("case", FACTS["hand"], ids=lambda c: c["name"])
def test_cases_that_can_be_checked_by_hand(case: dict[str, Any]) -> None:
    found = computed(np.array(case["returns"]))
    agree(found, case["expected"], rtol=1e-12)
    for wrong in case["mistakes"].values():
        assert found["max_drawdown"] != pytest.approx(wrong, rel=1e-5)


@pytest.mark.parametrize("case", FACTS["edge"], ids=lambda c: c["name"])
def test_edge_cases_are_undefined_rather_than_wrong(case: dict[str, Any]) -> None:
    agree(computed(np.array(case["returns"], dtype=float)), case["expected"])


@pytest.mark.parametrize("bad", [-1.2, -1.0000001, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_impossible_returns_are_refused_with_their_place(bad: float, at: int) -> None:
    returns = np.array([0.01, 0.02, -0.03, 0.05])
    returns[at] = bad
    for measure in (
        lambda r: m.summarise(m.Curve(r), periods=P),
        lambda r: m.sharpe_ratio(r, P),
        lambda r: m.sortino_ratio(r, P),
        lambda r: m.cagr(r, P),
        m.total_return,
        m.volatility,
        m.omega_ratio,
        m.tails,
        m.skewness,
        m.equity_from_returns,
        lambda r: m.against_benchmark(r, np.zeros(4), P),
        lambda r: m.against_benchmark(np.zeros(4), r, P),
    ):
        with pytest.raises(TrimtabError, match=rf"\[{at}\]"):
            measure(returns)


def test_trades() -> None:
    pnl = np.array([120.0, -80.0, 0.0, 45.5, -10.25, -33.0, 210.0, -5.0])
    found = m.trade_metrics(m.Trades(pnl, pnl / 1e4, np.full(8, 3.0)), years=2.0)
    assert found == pytest.approx(
        {
            "trades": 8.0,
            "trades_per_year": 4.0,
            "win_rate": 3 / 7,
            "profit_factor": 375.5 / 128.25,
            "payoff_ratio": (375.5 / 3) / (128.25 / 4),
            "average_win": 125.16666666666667,
            "average_loss": -32.0625,
            "expectancy": 30.90625,
            "average_trade": 0.003090625,
            "average_holding": 3.0,
        },
        rel=1e-12,
    )
    assert found["win_rate"] != pytest.approx(0.375)  # the scratch counted as lost


@pytest.mark.parametrize(
    ("parts", "score", "wrong"),
    [
        ((1.5, 0.25, 0.55, -0.18), 0.767, (0.803, 17.3)),
        ((1.5, 0.25, 0.55, 0.18), 0.767, (17.3,)),
        ((-0.8, -0.12, 0.41, -0.45), -0.319, (-0.229, -0.21999999999999975)),
        ((3.2, 0.9, 0.7, -0.05), 1.685, (1.695, 41.78)),
        ((math.nan, 0.0, 0.0, 0.0), math.nan, (0.0,)),
    ],
)
def test_bps_score(parts: tuple[float, ...], score: float, wrong: tuple[float, ...]) -> None:
    found = m.bps_score(*parts)
    assert found == pytest.approx(score, rel=1e-12, nan_ok=True)
    for value in wrong:  # a signed drawdown, percents instead of fractions, 0 for what is undefined
        assert found != pytest.approx(value, rel=1e-6)


def test_bps_score_in_the_summary_is_made_of_the_figures_beside_it() -> None:
    trades = m.Trades(np.array([3.0, -1.0, 2.0]), np.array([0.03, -0.01, 0.02]), np.array([1.0, 2.0, 3.0]))
    s = m.summarise(m.Curve(RETURNS, max_drawdown=-0.2), periods=P, trades=trades)
    parts = 0.4 * s["sharpe"] + 0.3 * s["cagr"] + 0.2 * (2 / 3) - 0.1 * 0.2
    assert s["bps"] == pytest.approx(parts, rel=1e-12)
    assert s["calmar"] == pytest.approx(s["cagr"] / 0.2, rel=1e-12)
    assert math.isnan(m.summarise(m.Curve(RETURNS), periods=P)["bps"])


def test_cost_metrics_are_the_cost_at_which_nothing_is_left() -> None:
    trading = m.Trading(notional=4_000_000.0, gross_profit=8_000.0, costs=2_000.0)
    found = m.cost_metrics(trading, average_equity=500_000.0, years=2.0)
    assert found == pytest.approx(
        {
            "turnover": 2.0,
            "costs": 2_000.0,
            "cost_drag": 0.002,
            "break_even_cost": 0.002,
            "break_even_multiple": 4.0,
        },
        rel=1e-12,
    )
    assert trading.gross_profit - trading.notional * found["break_even_cost"] == pytest.approx(0.0, abs=1e-9)
    untraded = m.cost_metrics(m.Trading(0.0, 0.0, 0.0), 500_000.0, 2.0)
    assert math.isnan(untraded["break_even_cost"])
    assert math.isnan(untraded["break_even_multiple"])
    assert untraded["turnover"] == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_the_money_weighted_return_is_the_root_that_scipy_finds(seed: int) -> None:
    """Net present value of all flows and of the final equity, as spreadsheets' XIRR sees it: by days over 365."""
    from scipy.optimize import brentq

    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    days = np.sort(rng.integers(1, 2_000, count)).astype(float)
    flows = np.concatenate(([1e5], rng.uniform(-2_000.0, 20_000.0, count)))
    when = np.concatenate(([0.0], days))
    end = days[-1] + float(rng.integers(20, 400))
    final = float(flows.sum() * rng.uniform(0.3, 3.0))

    def present(rate: float) -> float:
        return float((flows / (1.0 + rate) ** (when / 365.0)).sum() - final / (1.0 + rate) ** (end / 365.0))

    rate = m.money_weighted_return(flows, (end - when) / 365.0, final)
    assert rate == pytest.approx(brentq(present, -0.99, 20.0, xtol=1e-14, rtol=1e-14), abs=1e-9)
