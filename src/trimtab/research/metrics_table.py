"""METRICS: what each metric is called, how it is taken, when it is undefined, and what good looks like.

The report, the command line and the documentation read this one table. The bands are rules of thumb for a liquid book
rebalanced daily or slower, net of costs, over three years or more. They are no tests: a number in the best band that
was searched for proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

NAN = math.nan


class Metric(NamedTuple):
    """One row of METRICS.

    unit        percent (a fraction, shown times 100), bps (a fraction, shown times 10,000), ratio, days, money or count
    convention  how it is taken, in words
    undefined   when it is NaN (null)
    bands       (fair, good): values from which a reader may call it fair and good; None: neither good nor bad
    doubt       from here a mistake is likelier than skill; NaN: no such value
    Where fair > good, smaller is better.
    """

    name: str
    label: str
    group: str
    unit: str
    convention: str
    undefined: str = "no observation"
    bands: tuple[float, float] | None = None
    doubt: float = NAN


_TWO_DAYS = "fewer than 2 days"
_FLAT = "fewer than 2 days, or all returns the same"
_NO_TRADES = "no closed trade"
_NO_BENCHMARK = "no benchmark, or a benchmark that never moves"

_TABLE: Final[tuple[Metric, ...]] = (
    Metric(
        "total_return",
        "Total return",
        "Return",
        "percent",
        "equity at the end over equity at the start, less 1; "
        "where cash was paid in or out, the daily returns without it, compounded",
    ),
    Metric(
        "cagr",
        "CAGR",
        "Return",
        "percent",
        "(1 + total return) ^ (periods per year / days) - 1; time counted in days observed, not by the calendar; "
        "over less than a year it only extrapolates",
        bands=(0.03, 0.10),
        doubt=1.0,
    ),
    Metric("mean_daily", "Mean per day", "Return", "percent", "arithmetic mean of simple daily returns"),
    Metric(
        "std_daily",
        "Deviation per day",
        "Return",
        "percent",
        "sample standard deviation (n - 1) of simple daily returns",
        undefined=_TWO_DAYS,
    ),
    Metric(
        "volatility_annual",
        "Volatility",
        "Return",
        "percent",
        "deviation per day times the square root of periods per year",
        undefined=_TWO_DAYS,
    ),
    Metric("best_day", "Best day", "Return", "percent", "largest daily return"),
    Metric("worst_day", "Worst day", "Return", "percent", "smallest daily return", bands=(-0.10, -0.05)),
    Metric(
        "positive_days",
        "Positive days",
        "Return",
        "percent",
        "days with a return above 0, of all days (flat days included)",
    ),
    Metric(
        "win_rate_days",
        "Win rate, days",
        "Return",
        "percent",
        "days with a return above 0, of the days with a return other than 0",
        undefined="no day with a return other than 0",
        bands=(0.50, 0.54),
        doubt=0.75,
    ),
    Metric(
        "positive_months",
        "Positive months",
        "Return",
        "percent",
        "calendar months (UTC) with a compounded return above 0, of all months with a day in them",
        undefined="no dates",
        bands=(0.50, 0.60),
        doubt=0.95,
    ),
    Metric(
        "sharpe",
        "Sharpe ratio",
        "Risk-adjusted",
        "ratio",
        "mean over sample deviation (n - 1) of daily excess returns, times the square root of periods per year; "
        "the risk-free rate is taken off each day, compounding",
        undefined=_FLAT,
        bands=(0.5, 1.0),
        doubt=3.0,
    ),
    Metric(
        "sortino",
        "Sortino ratio",
        "Risk-adjusted",
        "ratio",
        "mean excess over the downside deviation, the root mean square of shortfalls over ALL days, annualised as "
        "Sharpe; the target is the risk-free rate",
        undefined="fewer than 2 days, or no day below the target",
        bands=(0.7, 1.5),
        doubt=5.0,
    ),
    Metric(
        "calmar",
        "Calmar ratio",
        "Risk-adjusted",
        "ratio",
        "CAGR over |maximum drawdown|, over the whole run",
        undefined="no drawdown",
        bands=(0.3, 0.8),
        doubt=5.0,
    ),
    Metric(
        "omega",
        "Omega ratio",
        "Risk-adjusted",
        "ratio",
        "sum of daily gains over sum of daily losses (threshold 0); infinite with gains and no loss",
        undefined="neither a gain nor a loss",
        bands=(1.0, 1.2),
        doubt=2.0,
    ),
    Metric(
        "bps",
        "BPS score",
        "Risk-adjusted",
        "ratio",
        "0.4 Sharpe + 0.3 CAGR + 0.2 win rate of trades - 0.1 |maximum drawdown|, as fractions; not basis points",
        undefined="a part of it is undefined; ranks last",
        bands=(0.3, 0.6),
        doubt=1.7,
    ),
    Metric(
        "max_drawdown",
        "Maximum drawdown",
        "Drawdown",
        "percent",
        "deepest fall from a running peak that includes the starting equity; at every bar where the run tracked "
        "it, else at day ends",
        bands=(-0.30, -0.15),
    ),
    Metric(
        "max_drawdown_daily",
        "Maximum drawdown, day ends",
        "Drawdown",
        "percent",
        "the same, seen at day ends only",
        bands=(-0.30, -0.15),
    ),
    Metric(
        "max_drawdown_length",
        "Length of the deepest",
        "Drawdown",
        "days",
        "days from the peak of the deepest drawdown at day ends to its recovery, or to the end without one",
        bands=(504, 252),
    ),
    Metric(
        "longest_drawdown",
        "Longest drawdown",
        "Drawdown",
        "days",
        "most consecutive day ends strictly below the running peak; the longest need not be the deepest",
        bands=(756, 252),
    ),
    Metric(
        "average_drawdown",
        "Average drawdown",
        "Drawdown",
        "percent",
        "mean over all drawdowns of the depth of each",
        undefined="no drawdown",
        bands=(-0.04, -0.02),
    ),
    Metric(
        "average_drawdown_length",
        "Average length",
        "Drawdown",
        "days",
        "mean over all drawdowns of the day ends below the peak",
        undefined="no drawdown",
        bands=(60, 20),
    ),
    Metric(
        "var_95",
        "VaR 95%, one day",
        "Tails",
        "percent",
        "5% quantile of daily returns (historical, type 7), as a return: a loss is negative",
        bands=(-0.025, -0.015),
    ),
    Metric(
        "cvar_95",
        "CVaR 95%, one day",
        "Tails",
        "percent",
        "mean of the worst 5% of daily returns (Acerbi-Tasche: the last one counts with its fraction)",
        bands=(-0.04, -0.025),
    ),
    Metric(
        "tail_ratio",
        "Tail ratio",
        "Tails",
        "ratio",
        "95% quantile over |5% quantile| of daily returns",
        undefined="the 5% quantile is no loss, or the 95% quantile no gain",
        bands=(0.9, 1.1),
    ),
    Metric(
        "skew",
        "Skew",
        "Tails",
        "ratio",
        "third moment of daily returns (population); below 0 the large days are losses",
        undefined="fewer than 3 days, or all returns the same",
        bands=(-1.0, 0.0),
    ),
    Metric("trades", "Trades", "Trades", "count", "round trips closed", undefined="trades not given"),
    Metric("trades_per_year", "Trades per year", "Trades", "count", "trades over years (days / periods per year)"),
    Metric(
        "win_rate",
        "Win rate, trades",
        "Trades",
        "percent",
        "trades with a profit, of the trades with a profit or a loss (a pnl of exactly 0 is left out)",
        undefined=_NO_TRADES,
        bands=(0.40, 0.55),
        doubt=0.95,
    ),
    Metric(
        "profit_factor",
        "Profit factor",
        "Trades",
        "ratio",
        "sum of winning over |sum of losing| trades, money; infinite with wins and no loss",
        undefined=_NO_TRADES,
        bands=(1.0, 1.5),
        doubt=5.0,
    ),
    Metric(
        "payoff_ratio",
        "Payoff ratio",
        "Trades",
        "ratio",
        "average win over |average loss|; to be read beside the win rate",
        undefined="no winning or no losing trade",
    ),
    Metric("average_win", "Average win", "Trades", "money", "mean pnl of winning trades", undefined="no winning trade"),
    Metric("average_loss", "Average loss", "Trades", "money", "mean pnl of losing trades", undefined="no losing trade"),
    Metric("expectancy", "Expectancy", "Trades", "money", "mean pnl of all trades", undefined=_NO_TRADES),
    Metric(
        "average_trade",
        "Average trade",
        "Trades",
        "percent",
        "mean of pnl over the notional at entry, all trades",
        undefined=_NO_TRADES,
    ),
    Metric(
        "average_holding",
        "Average holding",
        "Trades",
        "days",
        "mean calendar days from entry to exit",
        undefined=_NO_TRADES,
    ),
    Metric(
        "exposure",
        "Exposure",
        "Book",
        "percent",
        "mean over day ends of gross exposure, the sum of |notional| over equity; above 100% is leverage",
        undefined="exposure not given",
    ),
    Metric(
        "time_in_market",
        "Time in the market",
        "Book",
        "percent",
        "day ends with any position, of all",
        undefined="exposure not given",
    ),
    Metric(
        "turnover",
        "Turnover per year",
        "Book",
        "ratio",
        "one-sided: notional of all buys and sells, over 2, over average equity, per year; 1 is the whole book once",
        undefined="fills not given",
    ),
    Metric("costs", "Costs", "Book", "money", "every cost paid over the run", undefined="fills not given"),
    Metric(
        "cost_drag",
        "Costs per year",
        "Book",
        "percent",
        "costs over average equity, per year",
        undefined="fills not given",
        bands=(0.03, 0.01),
    ),
    Metric(
        "break_even_cost",
        "Break-even cost",
        "Book",
        "bps",
        "gross profit, less funding, borrow and interest, over notional traded: the cost per unit traded, each way, at "
        "which net profit is 0; sizes held as traded; negative: no cost is low enough",
        undefined="nothing traded",
        bands=(0.0010, 0.0030),
    ),
    Metric(
        "break_even_multiple",
        "Break-even, times the costs",
        "Book",
        "ratio",
        "the same profit over the costs of trading: below 1 the run lost money",
        undefined="nothing was paid",
        bands=(1.5, 3.0),
    ),
    Metric(
        "alpha",
        "Alpha",
        "Against holding",
        "percent",
        "least-squares intercept of daily excess returns on the benchmark's, times periods per year (not compounded)",
        undefined=_NO_BENCHMARK,
        bands=(0.0, 0.03),
    ),
    Metric(
        "beta",
        "Beta",
        "Against holding",
        "ratio",
        "covariance with the benchmark over its variance, daily",
        undefined=_NO_BENCHMARK,
    ),
    Metric(
        "upside_capture",
        "Upside capture",
        "Against holding",
        "percent",
        "mean return on days when the benchmark rose, over the benchmark's mean on them",
        undefined=_NO_BENCHMARK,
    ),
    Metric(
        "downside_capture",
        "Downside capture",
        "Against holding",
        "percent",
        "mean return on days when the benchmark fell, over the benchmark's mean on them; smaller is better",
        undefined=_NO_BENCHMARK,
        bands=(1.0, 0.7),
    ),
    Metric("days", "Days", "Sample", "count", "daily returns observed", bands=(252, 756)),
)

#: Every metric by name, in the order in which they are shown.
METRICS: Final[Mapping[str, Metric]] = {m.name: m for m in _TABLE}


def grade(metric: Metric, value: float) -> str:
    """good, fair, weak or doubt by the metric's bands; empty where there is nothing to grade."""
    if metric.bands is None or math.isnan(value):
        return ""
    if value >= metric.doubt:
        return "doubt"
    fair, good = metric.bands
    sign = 1.0 if good > fair else -1.0
    if sign * value >= sign * good:
        return "good"
    return "fair" if sign * value >= sign * fair else "weak"


def describe_bands(metric: Metric) -> str:
    """The bands in words: "good from 1.00, fair from 0.50, doubt from 3.00"; empty without bands."""
    if metric.bands is None:
        return ""
    fair, good = metric.bands
    word = "from" if good > fair else "up to"
    text = f"good {word} {format_metric(metric, good)}, fair {word} {format_metric(metric, fair)}"
    return text if math.isnan(metric.doubt) else f"{text}, doubt from {format_metric(metric, metric.doubt)}"


def format_metric(metric: Metric, value: float, currency: str = "") -> str:
    """The value as a reader sees it, with its unit; an en dash where it is undefined."""
    if math.isnan(value):
        return "\u2013"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if metric.unit == "percent":
        digits = 3 if metric.name in ("mean_daily", "std_daily") else 2
        return f"{value:,.{digits}%}" if abs(value) < 100.0 else f"{value:,.0%}"
    if metric.unit == "bps":
        return f"{value * 1e4:,.1f} bps"
    if metric.unit == "days":
        return f"{value:,.1f} d" if value % 1.0 else f"{value:,.0f} d"
    if metric.unit == "count":
        return f"{value:,.1f}" if value % 1.0 else f"{value:,.0f}"
    if metric.unit == "money":
        return f"{value:,.0f} {currency}".strip() if abs(value) >= 1000.0 else f"{value:,.2f} {currency}".strip()
    return f"{value:,.2f}"


def sampling_convention(periods: float, risk_free_rate: float) -> str:
    """How the returns behind every annual figure are taken, in one sentence to print beside them."""
    clock = "round the clock" if periods > 300 else "sessions"
    return (
        f"Simple daily returns sampled at 00:00 UTC, annualised by {periods:g} ({clock}), "
        f"in excess of a risk-free rate of {risk_free_rate:.2%} a year."
    )
