"""Curves at day ends, of the book, before costs, of holding, and of each model; and the figures taken from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.research import metrics as measure
from trimtab.research.metrics_table import METRICS
from trimtab.sim.simulate import Result
from trimtab.sim.trades import costs_of_fills, round_trips, share_of_fills
from trimtab.types import COST_KINDS, DAY, F64, I64, Panel, Spec, TrimtabError

if TYPE_CHECKING:
    from trimtab.research.run import Run


class Curves:
    """Day-end curves of a run, in money; D day ends, M models.

    equity        after costs; gross adds back what the same trades cost; holding: the instruments in equal parts
    pnl, cost     (D, M) cumulative
    """

    def __init__(self, result: Result, holding: Result, panel: Panel, spec: Spec) -> None:
        self.capital = spec.capital
        self.ts: I64 = panel.ts[result.sample]
        self.equity: F64 = result.curve[:, 0]
        self.costs: F64 = result.curve[:, 1]
        self.gross: F64 = self.equity + self.costs
        self.holding: F64 = holding.curve[:, 0]
        self.pnl: F64 = result.pnl
        self.cost: F64 = result.cost
        positive = np.where(self.equity > 0.0, self.equity, np.nan)
        self.gross_exposure: F64 = result.curve[:, 2] / positive
        self.net_exposure: F64 = result.curve[:, 3] / positive
        self.traded: F64 = result.curve[:, 4]

    def before(self, values: F64) -> F64:
        """The book's equity at the day end before each: (D,), beginning with the capital."""
        return np.concatenate(([self.capital], values[:-1]))

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


def figures_of_run(run: Run) -> dict[str, Any]:
    """All metrics of a run as plain values; NaN where undefined."""
    curves, result, spec = run.curves, run.result, run.spec
    periods = periods_of(run.panel)
    unit = result.book.unit
    paid = costs_of_fills(result.fills)
    lots = result.fills["lots"].astype(np.float64)
    trips = round_trips(result.fills, lots, np.ascontiguousarray(result.fills["fee"]), paid, unit)
    notional, total = float(result.book.head[0]["traded"]), float(result.book.charges.sum())
    profit = float(curves.equity[-1]) - spec.capital if len(curves.equity) else np.nan
    trading = measure.Trading(notional, profit + total, total)
    worst = float(result.book.head[0]["worst"])
    held = curves.returns(curves.holding)

    def summary(returns: F64, trips: Any, trading: Any, benchmark: F64 | None, worst: float, exposure: Any) -> Any:
        curve = measure.Curve(returns, curves.ts, None, benchmark, exposure, worst)
        try:
            return measure.summarise(
                curve, periods=periods, risk_free_rate=spec.risk_free_rate, trades=trips, trading=trading
            )
        except TrimtabError:  # equity went through zero: no ratio means anything
            return dict.fromkeys(METRICS, np.nan)

    exposure = np.nan_to_num(curves.gross_exposure)
    figures: dict[str, Any] = {
        "net": summary(curves.returns(curves.equity), _trades(trips, unit, "pnl"), trading, held, worst, exposure),
        "gross": summary(
            curves.returns(curves.gross),
            _trades(trips, unit, "gross"),
            trading._replace(costs=0.0),
            held,
            np.nan,
            exposure,
        ),
        "holding": summary(held, None, None, None, float(run.holding.book.head[0]["worst"]), None),
        "models": {},
        "costs": dict(zip(COST_KINDS, (float(v) for v in result.book.charges.sum(axis=(0, 1))), strict=True)),
        "crossing_saved": float(result.book.head[0]["saved"]),
        "break_even_cost": trading.gross_profit / notional if notional > 0.0 else np.nan,
        "capital": spec.capital,
        "final_equity": float(result.book.head[0]["equity"]),
        "currency": spec.base_currency,
        "periods": periods,
        "convention": measure_convention(periods, spec.risk_free_rate),
    }
    for m, name in enumerate(run.model_names):
        figures["models"][name] = _model_figures(run, m, summary)
    return figures


def measure_convention(periods: float, risk_free_rate: float) -> str:
    from trimtab.research.metrics_table import sampling_convention

    return sampling_convention(periods, risk_free_rate)


def _model_figures(run: Run, m: int, summary: Any) -> dict[str, Any]:
    """Net and gross metrics of one model: its attributed profit over its budget's part of the book."""
    curves, result, unit = run.curves, run.result, run.result.book.unit
    budget = run.spec.models[m].budget
    lots, fees, paid = share_of_fills(result.fills, result.shares, m)
    trips = round_trips(result.fills, lots, fees, paid, unit)
    notional = float((np.abs(lots) * result.fills["price"] * unit[result.fills["instrument"]]).sum())
    total = float(result.book.charges[m].sum())
    profit = float(curves.pnl[-1, m]) if len(curves.pnl) else np.nan
    trading = measure.Trading(notional, profit + total, total)
    held = curves.returns(curves.holding)
    pair: dict[str, Any] = {"budget": budget, "pnl": profit, "costs": total}
    for gross in (False, True):
        returns = curves.model_returns(m, budget, gross)
        pair["gross" if gross else "net"] = summary(
            returns,
            _trades(trips, unit, "gross" if gross else "pnl"),
            trading._replace(costs=0.0) if gross else trading,
            held,
            np.nan,
            None,
        )
    return pair


def _trades(trips: Any, unit: F64, kind: str) -> measure.Trades:
    """Closed round trips as the metrics read them; kind: pnl (net) or gross (costs added back)."""
    closed = trips[trips["open"] == 0]
    pnl = closed["pnl"] + (closed["costs"] if kind == "gross" else 0.0)
    entry = np.abs(closed["lots"]) * unit[closed["instrument"]] * closed["entry_price"]
    return measure.Trades(pnl, pnl / entry, (closed["exit_ts"] - closed["entry_ts"]) / DAY)
