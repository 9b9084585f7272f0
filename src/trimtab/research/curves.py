"""Curves at day ends, of the book, before costs, of holding, and of each model; and the figures taken from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.research import metrics as measure
from trimtab.research.metrics_table import METRICS, sampling_convention
from trimtab.research.trips import entry_notional, holding_days
from trimtab.types import COST_KINDS, F64, I64, Panel

if TYPE_CHECKING:
    from trimtab.research.run import Run


class Curves:
    """Day-end curves of a run, in money; D day ends, M models.

    equity        after costs; gross adds back what the same trades cost; holding: the instruments in equal parts
    pnl, cost     (D, M) cumulative
    """

    def __init__(self, run: Run) -> None:
        result = run.result
        self.capital = run.capital
        self.ts: I64 = run.panel.ts[result.sample]
        self.equity: F64 = result.curve[:, 0]
        self.costs: F64 = result.curve[:, 1]
        self.gross: F64 = self.equity + self.costs
        self.holding: F64 = run.holding.curve[:, 0]
        self.pnl: F64 = result.pnl
        self.cost: F64 = result.cost
        positive = np.where(self.equity > 0.0, self.equity, np.nan)
        self.gross_exposure: F64 = result.curve[:, 2] / positive
        self.net_exposure: F64 = result.curve[:, 3] / positive
        self.traded: F64 = result.curve[:, 4]

    def before(self, values: F64) -> F64:
        """The book's equity at the day end before each: (D,), beginning with the capital."""
        return np.concatenate(([self.capital], values[:-1]))

    def begun(self, values: F64) -> F64:
        """A curve of money with the capital before its first day: (D+1,)."""
        return np.concatenate(([self.capital], values))

    def returns(self, values: F64) -> F64:
        """Simple returns of a curve of money that began at the capital."""
        return values / self.before(values) - 1.0

    def model_returns(self, model: int, budget: float, gross: bool) -> F64:
        """A model's profit of each day over the equity that its budget gave it (budget x book equity)."""
        profit = self.pnl[:, model] + (self.cost[:, model] if gross else 0.0)
        return np.diff(profit, prepend=0.0) / (budget * self.before(self.equity))


def periods_of(panel: Panel) -> float:
    """Day ends per year: 365 if anything in the book trades round the clock, else 252 sessions."""
    return 365.0 if any(i.calendar == "24/7" for i in panel.instruments) else 252.0


class Line(NamedTuple):
    """One curve to be measured: money at day ends with the start first, and what is known beside it."""

    equity: F64  # (D+1,)
    trades: measure.Trades | None
    trading: measure.Trading | None
    benchmark: F64 | None
    worst: float = np.nan  # deepest drawdown at every bar, where it was tracked
    exposure: F64 | None = None


def figures_of_run(run: Run) -> dict[str, Any]:
    """All metrics of a run as plain values; NaN where undefined."""
    curves, result, spec = run.curves, run.result, run.spec
    head, charges = result.book.head[0], result.book.charges
    periods = periods_of(run.panel)
    trips = run.trips.book
    total, notional = float(charges.sum()), float(head["traded"])
    trading = measure.Trading(notional, float(head["equity"]) - run.capital + total, total)
    held, exposure = curves.returns(curves.holding), np.nan_to_num(curves.gross_exposure)
    net = Line(curves.begun(curves.equity), _trades(run, trips), trading, held, float(head["worst"]), exposure)
    gross = net._replace(
        equity=curves.begun(curves.gross),
        trades=_trades(run, trips, gross=True),
        trading=trading._replace(costs=0.0),
        worst=np.nan,
    )
    holding = Line(curves.begun(curves.holding), None, None, None, float(run.holding.book.head[0]["worst"]))
    return {
        "net": _measured(run, net, periods),
        "gross": _measured(run, gross, periods),
        "holding": _measured(run, holding, periods),
        "models": {name: _model_figures(run, m, periods) for m, name in enumerate(run.model_names)},
        "costs": dict(zip(COST_KINDS, (float(v) for v in charges.sum(axis=(0, 1))), strict=True)),
        "crossing_saved": float(head["saved"]),
        "break_even_cost": trading.gross_profit / notional if notional > 0.0 else np.nan,
        "capital": run.capital,
        "final_equity": float(head["equity"]),
        "currency": spec.base_currency,
        "periods": periods,
        "convention": sampling_convention(periods, spec.risk_free_rate),
    }


def _measured(run: Run, line: Line, periods: float) -> dict[str, float]:
    """METRICS of one curve; all NaN if it went to zero or below, where no ratio means anything."""
    if not (line.equity > 0.0).all():
        return dict.fromkeys(METRICS, np.nan)
    returns = line.equity[1:] / line.equity[:-1] - 1.0
    curve = measure.Curve(returns, run.curves.ts, line.equity, line.benchmark, line.exposure, line.worst)
    return measure.summarise(
        curve, periods=periods, risk_free_rate=run.spec.risk_free_rate, trades=line.trades, trading=line.trading
    )


def _model_figures(run: Run, m: int, periods: float) -> dict[str, Any]:
    """Net and gross metrics of one model: its attributed profit over its budget's part of the book.

    Its curve compounds those daily returns from budget x capital.
    """
    curves, trips, notional = run.curves, run.trips.models[m], float(run.trips.traded[m])
    budget = run.spec.models[m].budget
    total = float(run.result.book.charges[m].sum())
    profit = float(curves.pnl[-1, m]) if len(curves.pnl) else np.nan
    pair: dict[str, Any] = {"budget": budget, "pnl": profit, "costs": total}
    for kind, spent in (("net", total), ("gross", 0.0)):
        returns = curves.model_returns(m, budget, kind == "gross")
        equity = budget * run.capital * np.concatenate(([1.0], np.cumprod(1.0 + returns)))
        trading = measure.Trading(notional, profit + total, spent)
        line = Line(equity, _trades(run, trips, gross=kind == "gross"), trading, curves.returns(curves.holding))
        pair[kind] = _measured(run, line, periods)
    return pair


def _trades(run: Run, trips: NDArray[np.void], gross: bool = False) -> measure.Trades:
    """Closed round trips as the metrics read them; gross: costs added back."""
    closed = trips[trips["open"] == 0]
    pnl = closed["pnl"] + (closed["costs"] if gross else 0.0)
    return measure.Trades(pnl, pnl / entry_notional(closed, run.result.book.unit), holding_days(closed))
