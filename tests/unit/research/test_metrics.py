"""Metrics on random series against plain Python, scipy and statsmodels; what the table says; what is refused."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trimtab.research import metrics as m
from trimtab.research.metrics_table import METRICS, describe_bands, format_metric, grade, sampling_convention
from trimtab.types import DAY, TrimtabError

# On a grid of 1e-6, so that equal values occur and no series is flat by rounding alone.
SERIES = arrays(np.int64, st.integers(3, 60), elements=st.integers(-300_000, 300_000)).map(lambda x: x / 1e6)


def plain_sortino(r: list[float], periods: float, target: float) -> float:
    per = (1 + target) ** (1 / periods) - 1
    below = math.fsum(min(x - per, 0.0) ** 2 for x in r) / len(r)
    return math.nan if below == 0.0 else (math.fsum(r) / len(r) - per) / math.sqrt(below) * math.sqrt(periods)


def plain_cvar(r: list[float], level: float) -> float:
    left, total = (1 - level) * len(r), 0.0
    share = left
    for x in sorted(r):
        total += min(left, 1.0) * x
        left = max(left - 1.0, 0.0)
    return total / share


def plain_drawdowns(equity: list[float]) -> list[tuple[int, int, float, int]]:
    spells: list[tuple[int, int, float, int]] = []
    peak_at, deepest, length = 0, 0.0, 0
    for i, value in enumerate(equity):
        if value >= equity[peak_at]:
            if length:
                spells.append((peak_at, i, deepest, length))
            peak_at, deepest, length = i, 0.0, 0
        else:
            deepest, length = min(deepest, value / equity[peak_at] - 1.0), length + 1
    return [*spells, (peak_at, -1, deepest, length)] if length else spells


@given(SERIES)
def test_ratios_against_plain_python_and_scipy(r: np.ndarray) -> None:
    assert m.sortino_ratio(r, 252, 0.03) == pytest.approx(plain_sortino(r.tolist(), 252, 0.03), rel=1e-9, nan_ok=True)
    assert m.tails(r).cvar == pytest.approx(plain_cvar(r.tolist(), 0.95), rel=1e-9, abs=1e-15)
    assert m.tails(r).var == pytest.approx(float(np.quantile(r, 0.05)), rel=1e-12, abs=1e-15)
    if m.is_flat(r):
        assert math.isnan(m.sharpe_ratio(r, 252))
        assert math.isnan(m.skewness(r))
        assert m.volatility(r, 252) == 0.0
    else:
        mean, deviation = math.fsum(r) / r.size, math.sqrt(scipy.stats.tvar(r))
        assert m.sharpe_ratio(r, 365) == pytest.approx(mean / deviation * math.sqrt(365), rel=1e-9, abs=1e-12)
        assert m.skewness(r) == pytest.approx(scipy.stats.skew(r), rel=1e-8, abs=1e-9)
    total = math.exp(math.fsum(math.log1p(x) for x in r)) - 1
    assert m.total_return(r) == pytest.approx(total, rel=1e-9, abs=1e-12)
    assert m.cagr(r, 252) == pytest.approx((1 + total) ** (252 / r.size) - 1, rel=1e-8, abs=1e-11)


@given(SERIES)
def test_drawdowns_against_plain_python(r: np.ndarray) -> None:
    equity = m.equity_from_returns(r, 1000.0)
    expected = plain_drawdowns(equity.tolist())
    found = m.drawdowns(equity)
    assert list(zip(found.peak, found.recovery, found.length, strict=True)) == [(p, e, n) for p, e, _, n in expected]
    assert found.depth == pytest.approx([d for _, _, d, _ in expected], rel=1e-12)
    s = m.summarise(m.Curve(r, equity=equity), periods=252)
    assert s["longest_drawdown"] == max((n for *_, n in expected), default=0)
    assert s["max_drawdown"] == pytest.approx(min((d for _, _, d, _ in expected), default=0.0), rel=1e-12)
    if expected:
        assert s["average_drawdown"] == pytest.approx(sum(d for _, _, d, _ in expected) / len(expected), rel=1e-9)
        peak, end, *_ = min(expected, key=lambda x: x[2])
        assert s["max_drawdown_length"] == (end if end >= 0 else r.size) - peak
    else:
        assert math.isnan(s["average_drawdown"])


@given(st.integers(0, 10_000))
def test_alpha_and_beta_are_those_of_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    b = rng.normal(0.0004, 0.01, 60)
    r = 0.6 * b + rng.normal(0.0, 0.005, 60)
    rate = m.per_period(0.03, 252)
    fit = sm.OLS(r - rate, sm.add_constant(b - rate)).fit()
    found = m.against_benchmark(r, b, 252, 0.03)
    assert found.beta == pytest.approx(fit.params[1], rel=1e-9)
    assert found.alpha == pytest.approx(fit.params[0] * 252, rel=1e-8, abs=1e-12)
    rose, fell = b > 0, b < 0
    assert found.upside_capture == pytest.approx(r[rose].mean() / b[rose].mean(), rel=1e-9)
    assert found.downside_capture == pytest.approx(r[fell].mean() / b[fell].mean(), rel=1e-9)


def test_a_curve_against_itself() -> None:
    r = np.random.default_rng(1).normal(0.0, 0.01, 100)
    found = m.against_benchmark(r, r, 252)
    assert found == pytest.approx((0.0, 1.0, 1.0, 1.0), abs=1e-12)
    assert math.isnan(m.information_ratio(r, r, 252))
    assert all(math.isnan(x) for x in m.against_benchmark(r, np.full(100, 0.001), 252))


@given(st.integers(0, 10_000), st.sampled_from([0, 21 * 3600, 24 * 3600 - 1]))
def test_months_and_years_against_the_calendar(seed: int, close: int) -> None:
    """Stamped at 00:00 a day ends the day before; at 21:00 (a session's close) it is that day."""
    rng = np.random.default_rng(seed)
    day = dt.date(1969, 12, 20) + dt.timedelta(int(rng.integers(0, 20_000)))
    days = [day + dt.timedelta(int(i)) for i in np.cumsum(rng.integers(1, 45, 40))]
    r = rng.normal(0.0, 0.02, len(days))
    epoch = dt.date(1970, 1, 1)
    ts = np.array([((d - epoch).days + (close == 0)) * DAY + close * 10**9 for d in days], np.int64)
    for unit, key in (("M", lambda d: (d.year - 1970) * 12 + d.month - 1), ("Y", lambda d: d.year - 1970)):
        groups = itertools.groupby(zip(days, r, strict=True), lambda x, key=key: key(x[0]))
        expected = {number: math.prod(1 + x for _, x in rows) - 1 for number, rows in groups}
        number, value = m.period_returns(r, ts, unit)
        assert number.tolist() == list(expected)
        assert value == pytest.approx(list(expected.values()), rel=1e-9, abs=1e-14)
    share = m.summarise(m.Curve(r, ts), periods=252)["positive_months"]
    months = m.period_returns(r, ts)[1]
    assert share == (months > 0).mean()


@given(SERIES)
def test_equity_and_returns_are_inverse(r: np.ndarray) -> None:
    assert m.returns_from_equity(m.equity_from_returns(r, 5e5)) == pytest.approx(r, rel=1e-9, abs=1e-12)


def test_ruin_stays_ruin_and_debt_is_refused() -> None:
    ruined = m.returns_from_equity([100.0, 50.0, 0.0, 0.0])
    assert ruined.tolist() == [-0.5, -1.0, 0.0]
    s = m.summarise(m.Curve(ruined), periods=252)
    assert (s["cagr"], s["total_return"], s["max_drawdown"]) == (-1.0, -1.0, -1.0)
    with pytest.raises(TrimtabError, match=r"equity\[2\] is -5\.0.*limits\.drawdown_halt"):
        m.returns_from_equity([100.0, 50.0, -5.0])
    with pytest.raises(TrimtabError, match="positive again after 0"):
        m.returns_from_equity([100.0, 0.0, 5.0])
    for bad in ([], [0.0, 1.0], [math.nan, 1.0]):
        with pytest.raises(TrimtabError, match="starts with the capital"):
            m.returns_from_equity(bad)


def test_arrays_that_do_not_fit_are_refused() -> None:
    r = np.full(5, 0.01)
    cases = [
        (m.Curve(r, equity=np.ones(5)), r"equity has shape \(5,\)"),
        (m.Curve(r, ts=np.arange(4)), "one instant per return"),
        (m.Curve(r, benchmark=r[:4]), "benchmark has 4 returns, the curve 5"),
        (m.Curve(np.ones((2, 2))), "one axis"),
    ]
    for curve, message in cases:
        with pytest.raises(TrimtabError, match=message):
            m.summarise(curve, periods=252)
    with pytest.raises(TrimtabError, match=r"trades\.holding"):
        m.trade_metrics(m.Trades(r, r, r[:3]), 1.0)
    with pytest.raises(TrimtabError, match="rate above -1"):
        m.sharpe_ratio(r - np.arange(5.0) / 100, 252, -1.0)


def test_the_drawdown_of_every_bar_takes_the_place_of_the_daily_one() -> None:
    r = np.array([0.1, -0.2, 0.3])
    daily = m.summarise(m.Curve(r), periods=252)
    bars = m.summarise(m.Curve(r, max_drawdown=-0.35), periods=252)
    assert (daily["max_drawdown"], daily["max_drawdown_daily"]) == pytest.approx((-0.2, -0.2))
    assert (bars["max_drawdown"], bars["max_drawdown_daily"]) == pytest.approx((-0.35, -0.2))


def test_summary_has_every_metric_in_the_order_of_the_table() -> None:
    none = m.summarise(m.Curve(np.empty(0)), periods=252)
    assert list(none) == list(METRICS)
    assert none.pop("days") == 0.0
    assert all(math.isnan(x) for x in none.values())
    assert set(m.nulled(none).values()) == {None}
    r = np.random.default_rng(3).normal(0.0005, 0.01, 400)
    full = m.summarise(
        m.Curve(r, np.arange(1, 401) * DAY, None, np.roll(r, 1), np.abs(r) * 10),
        periods=365,
        risk_free_rate=0.02,
        trades=m.Trades(r * 100, r, np.full(400, 2.0)),
        trading=m.Trading(500.0, 3.0, 1.0),
    )
    assert all(math.isfinite(x) for x in full.values())
    assert full["exposure"] == pytest.approx(np.abs(r).mean() * 10)
    assert full["time_in_market"] == 1.0


def test_infinity_only_for_gains_without_a_loss() -> None:
    won = m.Trades(np.array([1.0, 2.0]), np.array([0.1, 0.2]), np.ones(2))
    s = m.summarise(m.Curve(np.array([0.01, 0.02, 0.0])), periods=252, trades=won)
    assert {name for name, value in s.items() if math.isinf(value)} == {"omega", "profit_factor"}
    assert math.isnan(s["payoff_ratio"])
    assert m.nulled(s)["omega"] is None


def test_grades_follow_the_bands_in_either_direction() -> None:
    sharpe, deepest, drag = METRICS["sharpe"], METRICS["max_drawdown"], METRICS["cost_drag"]
    assert [grade(sharpe, x) for x in (0.2, 0.5, 1.0, 3.0, math.nan)] == ["weak", "fair", "good", "doubt", ""]
    assert [grade(deepest, x) for x in (-0.5, -0.3, -0.1)] == ["weak", "fair", "good"]
    assert [grade(drag, x) for x in (0.05, 0.03, 0.01, 0.0)] == ["weak", "fair", "good", "good"]
    assert grade(METRICS["trades"], 5.0) == ""
    assert describe_bands(sharpe) == "good from 1.00, fair from 0.50, doubt from 3.00"
    assert describe_bands(drag) == "good up to 1.00%, fair up to 3.00%"
    assert describe_bands(METRICS["beta"]) == ""


def test_every_metric_says_what_it_is() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.unit in {"percent", "bps", "ratio", "days", "money", "count"}
        assert metric.label
        assert metric.convention
        assert metric.undefined
        assert metric.bands is None or metric.bands[0] != metric.bands[1]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cagr", 0.12345, "12.35%"),
        ("cagr", 123.0, "12,300%"),
        ("mean_daily", 0.000321, "0.032%"),
        ("sharpe", 1.234, "1.23"),
        ("omega", math.inf, "∞"),
        ("sharpe", math.nan, "\u2013"),
        ("costs", 12345.6, "12,346 USD"),
        ("expectancy", -12.345, "-12.35 USD"),
        ("break_even_cost", 0.00123, "12.3 bps"),
        ("longest_drawdown", 1234.0, "1,234 d"),
        ("average_drawdown_length", 12.34, "12.3 d"),
        ("trades", 1234.0, "1,234"),
        ("trades_per_year", 12.34, "12.3"),
    ],
)
def test_values_are_shown_with_their_unit(name: str, value: float, text: str) -> None:
    assert format_metric(METRICS[name], value, "USD") == text


def test_the_documentation_has_the_table_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, metric in METRICS.items():
        taken = metric.convention.replace("|", "\\|")
        row = f"| {metric.label} | `{name}` | {taken} | {metric.undefined} | {describe_bands(metric)} |\n"
        assert row in page, f"docs/metrics.md: {name} is missing or out of date"
    assert page.count("| `") == len(METRICS)


def test_sampling_convention_names_clock_and_rate() -> None:
    assert "365 (round the clock)" in sampling_convention(365, 0.0)
    assert "252 (sessions)" in sampling_convention(252, 0.02)
    assert "2.00% a year" in sampling_convention(252, 0.02)
