"""What a run is worth: pure functions on daily simple returns, trades and money.

Undefined is NaN (null in JSON), never 0. The one infinity is a ratio of gains to losses with gains and no loss (Omega,
profit factor). Returns that are not finite or below -1 are refused, never dropped. `METRICS` (metrics_table) says in
words what each figure means, how it is taken, and what good looks like.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.research.drawdown import drawdowns, drawdowns_from_depth, max_drawdown, recovery_length, underwater
from trimtab.research.metrics_table import METRICS
from trimtab.research.ratios import (
    annual_growth,
    bps_score,
    cagr,
    calmar_ratio,
    check_returns,
    equity_from_returns,
    gain_to_loss,
    is_flat,
    money_weighted_return,
    omega_ratio,
    per_period,
    period_returns,
    returns_from_equity,
    sharpe_ratio,
    skewness,
    sortino_ratio,
    tail_mean,
    tails,
    total_return,
    volatility,
)
from trimtab.types import F64, I64, TrimtabError

__all__ = [
    "METRICS",
    "Curve",
    "Market",
    "Trades",
    "Trading",
    "against_benchmark",
    "annual_growth",
    "bps_score",
    "cagr",
    "calmar_ratio",
    "check_returns",
    "cost_metrics",
    "drawdowns",
    "equity_from_returns",
    "gain_to_loss",
    "information_ratio",
    "is_flat",
    "max_drawdown",
    "money_weighted_return",
    "nulled",
    "omega_ratio",
    "per_period",
    "period_returns",
    "returns_from_equity",
    "sharpe_ratio",
    "skewness",
    "sortino_ratio",
    "summarise",
    "tail_mean",
    "tails",
    "total_return",
    "trade_metrics",
    "treynor_ratio",
    "underwater",
    "volatility",
]

NAN = math.nan


class Curve(NamedTuple):
    """One equity curve at day ends, and what is known beside it; None or NaN: not known.

    returns         (D,)    simple returns, fraction
    ts              (D,)    day-end instants, ns UTC, rising; a stamp of exactly 00:00 ends the day before
    equity          (D+1,)  money, the starting equity first; None: 1.0 compounded with returns
    is_funded               cash was paid in or out: equity moves with it, and falls are those of 1.0 compounded
    benchmark       (D,)    simple returns of what it is measured against (holding), fraction
    gross_exposure  (D,)    sum of |notional| / equity at day ends
    max_drawdown            deepest drawdown seen at every bar, fraction <= 0; NaN: day ends only
    """

    returns: F64
    ts: I64 | None = None
    equity: F64 | None = None
    benchmark: F64 | None = None
    gross_exposure: F64 | None = None
    max_drawdown: float = NAN
    is_funded: bool = False


class Trades(NamedTuple):
    """Closed round trips, parallel arrays (K,): pnl in money, returns a fraction of entry notional, holding in days."""

    pnl: F64
    returns: F64
    holding: F64


class Trading(NamedTuple):
    """What was traded over the whole run, in money.

    notional      sum of |notional| of all fills, buys and sells
    gross_profit  profit of the same fills at mid, before every cost
    costs         all costs paid (positive), so that net profit = gross_profit - costs
    carry         of them what holding cost: funding (negative: earned), borrow, interest
    """

    notional: float
    gross_profit: float
    costs: float
    carry: float = 0.0


# ---------------------------------------------------------------------------------------------------------------------
# Against a benchmark
# ---------------------------------------------------------------------------------------------------------------------


class Market(NamedTuple):
    """How a curve moves with its benchmark: alpha per year, beta, and the share of its up and down days captured."""

    alpha: float
    beta: float
    upside_capture: float
    downside_capture: float


def _paired(returns: ArrayLike, benchmark: ArrayLike) -> tuple[F64, F64]:
    r, b = check_returns(returns), check_returns(benchmark, "benchmark")
    if r.shape != b.shape:
        raise TrimtabError(f"benchmark has {b.size} returns, the curve {r.size}: sample both at the same day ends")
    return r, b


def against_benchmark(returns: ArrayLike, benchmark: ArrayLike, periods: float, risk_free_rate: float = 0.0) -> Market:
    """Least squares of excess returns on the benchmark's excess returns, and the captures.

    returns, benchmark  (D,)  simple returns of the same days, fraction
    ->                  alpha: intercept times periods (not compounded); beta: covariance over variance (same ddof);
                        captures: mean return on days when the benchmark rose (fell) over the benchmark's own mean
                        there. NaN if D < 2 or the benchmark is flat; a capture also if there is no such day

    Source: Jensen (1968), J. Finance 23(2).
    """
    r, b = _paired(returns, benchmark)
    if r.size < 2 or is_flat(b):
        return Market(NAN, NAN, NAN, NAN)
    # One scratch array for everything: on long series fresh memory costs more than the arithmetic.
    scratch = b - b.mean()
    variance = float(np.square(scratch, out=scratch).sum())
    np.subtract(b, b.mean(), out=scratch)
    beta = float(np.multiply(scratch, r, out=scratch).sum()) / variance
    rate = per_period(risk_free_rate, periods)
    alpha = (float(r.mean()) - rate) - beta * (float(b.mean()) - rate)
    return Market(alpha * periods, beta, _capture(r, b, b > 0.0, scratch), _capture(r, b, b < 0.0, scratch))


def _capture(r: F64, b: F64, days: NDArray[np.bool_], scratch: F64) -> float:
    if not days.any():
        return NAN
    over = float(np.multiply(r, days, out=scratch).sum())
    return over / float(np.multiply(b, days, out=scratch).sum())


def information_ratio(returns: ArrayLike, benchmark: ArrayLike, periods: float) -> float:
    """Sharpe ratio of the difference to the benchmark (no risk-free rate); NaN if D < 2 or the difference is flat."""
    r, b = _paired(returns, benchmark)
    active = r - b
    if r.size < 2 or float(np.ptp(active)) <= 1e-12 * float(np.abs(r).max() + np.abs(b).max()):
        return NAN
    return float(active.mean()) / float(active.std(ddof=1)) * math.sqrt(periods)


def treynor_ratio(returns: ArrayLike, benchmark: ArrayLike, periods: float, risk_free_rate: float = 0.0) -> float:
    """Annual mean excess return over beta; NaN if beta is undefined or 0. Source: Treynor (1965)."""
    beta = against_benchmark(returns, benchmark, periods, risk_free_rate).beta
    r = check_returns(returns)
    excess = (float(r.mean()) - per_period(risk_free_rate, periods)) * periods if r.size else NAN
    return excess / beta if beta else NAN


# ---------------------------------------------------------------------------------------------------------------------
# Trades and costs
# ---------------------------------------------------------------------------------------------------------------------


def trade_metrics(trades: Trades, years: float) -> dict[str, float]:
    """Figures of closed trades; a scratch (pnl exactly 0) counts as a trade, but neither as won nor as lost.

    years  length of the run, to state the trades per year
    ->     trades, trades_per_year, win_rate, profit_factor, payoff_ratio, average_win, average_loss, expectancy,
           average_trade, average_holding. Without trades all but the two counts are NaN
    """
    pnl = np.asarray(trades.pnl, dtype=np.float64)
    for name, column in zip(Trades._fields, trades, strict=True):
        if column.shape != pnl.shape or not bool(np.isfinite(column).all()):
            raise TrimtabError(f"trades.{name}: expected {pnl.size} finite numbers, one per closed trade")
    won, lost = pnl[pnl > 0.0], pnl[pnl < 0.0]
    average_win = float(won.mean()) if won.size else NAN
    average_loss = float(lost.mean()) if lost.size else NAN
    decided = won.size + lost.size
    return {
        "trades": float(pnl.size),
        "trades_per_year": pnl.size / years if years > 0.0 else NAN,
        "win_rate": won.size / decided if decided else NAN,
        "profit_factor": gain_to_loss(pnl),
        "payoff_ratio": average_win / -average_loss,
        "average_win": average_win,
        "average_loss": average_loss,
        "expectancy": float(pnl.mean()) if pnl.size else NAN,
        "average_trade": float(np.mean(trades.returns)) if pnl.size else NAN,
        "average_holding": float(np.mean(trades.holding)) if pnl.size else NAN,
    }


def cost_metrics(trading: Trading, average_equity: float, years: float) -> dict[str, float]:
    """Turnover, what it cost, and how much it could have cost.

    average_equity  money, mean over day ends
    ->  turnover           notional / 2 / average equity / years: one-sided, times the book per year
        costs              money; cost_drag the same per year, a fraction of average equity
        break_even_cost    (gross_profit - carry) / notional, fraction: the cost per unit traded, on each side, at
                           which net profit is 0. Negative: no cost is low enough. Sizes are held as they were traded
        break_even_multiple  the same profit / costs of trading: by how much these could have been multiplied
    """
    earned, paid = trading.gross_profit - trading.carry, trading.costs - trading.carry
    yearly = average_equity * years if years > 0.0 and average_equity > 0.0 else NAN
    return {
        "turnover": trading.notional / 2.0 / yearly,
        "costs": trading.costs,
        "cost_drag": trading.costs / yearly,
        "break_even_cost": earned / trading.notional if trading.notional > 0.0 else NAN,
        "break_even_multiple": earned / paid if paid > 0.0 else NAN,
    }


# ---------------------------------------------------------------------------------------------------------------------
# All of them
# ---------------------------------------------------------------------------------------------------------------------


def summarise(
    curve: Curve,
    *,
    periods: float,
    risk_free_rate: float = 0.0,
    trades: Trades | None = None,
    trading: Trading | None = None,
) -> dict[str, float]:
    """Every metric of `METRICS` for one curve, by name, in its order; what cannot be known is NaN.

    periods         day ends per year: 365 if anything in the book trades round the clock, else 252
    risk_free_rate  per year; used in Sharpe, Sortino (as the target) and alpha
    Raises TrimtabError for returns that are not finite or below -1, and for arrays that do not fit together.
    """
    r = check_returns(curve.returns)
    if curve.equity is not None and curve.equity.shape != (r.size + 1,):
        raise TrimtabError(f"equity has shape {curve.equity.shape}: expected ({r.size + 1},), the start and each day")
    equity = equity_from_returns(r) if curve.equity is None else curve.equity
    years = r.size / periods
    grown = equity_from_returns(r) if curve.is_funded else equity
    found = _growth(r, curve.ts, periods) | _falls(grown, curve.max_drawdown)
    found["var_95"], found["cvar_95"], found["tail_ratio"] = tails(r)
    found["skew"] = skewness(r)
    found["sharpe"] = sharpe_ratio(r, periods, risk_free_rate)
    found["sortino"] = sortino_ratio(r, periods, risk_free_rate)
    found["calmar"] = calmar_ratio(found["cagr"], found["max_drawdown"])
    found["omega"] = omega_ratio(r)
    if trades is not None:
        found |= trade_metrics(trades, years)
    if trading is not None:
        found |= cost_metrics(trading, float(equity.mean()), years)
    if curve.benchmark is not None:
        found |= against_benchmark(r, curve.benchmark, periods, risk_free_rate)._asdict()
    if curve.gross_exposure is not None and curve.gross_exposure.size:
        found["exposure"] = float(curve.gross_exposure.mean())
        found["time_in_market"] = float((curve.gross_exposure > 0.0).mean())
    found["bps"] = bps_score(found["sharpe"], found["cagr"], found.get("win_rate", NAN), found["max_drawdown"])
    return {name: found.get(name, NAN) for name in METRICS}


def _growth(r: F64, ts: I64 | None, periods: float) -> dict[str, float]:
    total = total_return(r)
    deviation = volatility(r)
    moved = r[r != 0.0].size
    rose = int((r > 0.0).sum())
    found = {
        "days": float(r.size),
        "total_return": total,
        "cagr": annual_growth(total, r.size, periods),
        "mean_daily": float(r.mean()) if r.size else NAN,
        "std_daily": deviation,
        "volatility_annual": deviation * math.sqrt(periods),
        "best_day": float(r.max()) if r.size else NAN,
        "worst_day": float(r.min()) if r.size else NAN,
        "positive_days": rose / r.size if r.size else NAN,
        "win_rate_days": rose / moved if moved else NAN,
    }
    if ts is not None and r.size:
        found["positive_months"] = float((period_returns(r, ts)[1] > 0.0).mean())
    return found


def _falls(equity: F64, per_bar: float) -> dict[str, float]:
    depth = underwater(equity)
    spells = drawdowns_from_depth(depth)
    daily = float(depth.min()) if depth.size > 1 else NAN
    some = spells.depth.size > 0
    return {
        "max_drawdown": daily if math.isnan(per_bar) else per_bar,
        "max_drawdown_daily": daily,
        "max_drawdown_length": float(recovery_length(spells, depth.size - 1)) if depth.size > 1 else NAN,
        "longest_drawdown": float(spells.length.max()) if some else (0.0 if depth.size > 1 else NAN),
        "average_drawdown": float(spells.depth.mean()) if some else NAN,
        "average_drawdown_length": float(spells.length.mean()) if some else NAN,
    }


def nulled(metrics: dict[str, float]) -> dict[str, float | None]:
    """The same metrics for JSON, which knows neither: NaN and infinity become null."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
