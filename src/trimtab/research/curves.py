"""Curves at day ends, of the book, before costs, of holding, and of each model; and the figures taken from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.research import metrics as measure
from trimtab.research.funds import rates_of, revaluation_of, worth_of_flows
from trimtab.research.metrics_table import METRICS, sampling_convention
from trimtab.research.trips import entry_notional, holding_days
from trimtab.types import COST_KINDS, DAY, DIVIDEND, F64, FUNDING, I64, Panel

if TYPE_CHECKING:
    from trimtab.research.run import Run
    from trimtab.sim.simulate import Result


class Curves:
    """Day-end curves of a run, in money; D day ends, M models.

    equity        after costs; gross adds back what the same trades cost; holding: the instruments in equal parts
    flows         net cash paid in during each day; paid: the same, cumulative
    revaluation   what exchange rates alone made of the cash brought in, cumulative
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
        self.paid: F64 = result.curve[:, 5]
        self.flows: F64 = np.diff(self.paid, prepend=0.0)
        self.is_funded = len(run.fold.setup.flows.row) > 0
        self.revaluation: F64 = revaluation_of(run.fold.market, run.fold.setup, result.sample)
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
        """Simple returns of a curve of money that began at the capital, without the cash paid in: time-weighted."""
        return (values - self.flows) / self.before(values) - 1.0

    def model_returns(self, model: int, budget: float, gross: bool) -> F64:
        """A model's profit of each day over the equity that its budget gave it (budget x book equity)."""
        profit = self.pnl[:, model] + (self.cost[:, model] if gross else 0.0)
        return np.diff(profit, prepend=0.0) / (budget * self.before(self.equity))


def periods_of(panel: Panel) -> float:
    """Day ends per year: 365 if anything in the book trades round the clock, else 252 sessions."""
    return 365.0 if any(i.calendar == "24/7" for i in panel.instruments) else 252.0


class Line(NamedTuple):
    """One curve to be measured: money at day ends with the start first, its returns, and what is known beside it."""

    equity: F64  # (D+1,)
    returns: F64  # (D,)
    trades: measure.Trades | None
    trading: measure.Trading | None
    benchmark: F64 | None
    worst: float = np.nan  # deepest drawdown at every bar, where it was tracked
    exposure: F64 | None = None


def figures_of_run(run: Run) -> dict[str, Any]:
    """All metrics of a run as plain values; NaN where undefined."""
    curves, result, spec = run.curves, run.result, run.spec
    head, charges = result.book.head[0], charges_of(run)
    periods = periods_of(run.panel)
    trips = run.trips.book
    total, notional, final = float(charges[..., :DIVIDEND].sum()), float(head["traded"]), float(head["equity"])
    revaluation = float(curves.revaluation[-1]) if len(curves.revaluation) else 0.0
    profit = final - run.capital - float(head["flows"]) - revaluation
    trading = measure.Trading(notional, profit + total, total, carry_in(charges))
    held, exposure = curves.returns(curves.holding), np.nan_to_num(curves.gross_exposure)
    own = curves.returns(curves.equity)
    closed, before_costs = _trades(run, trips)
    net = Line(curves.begun(curves.equity), own, closed, trading, held, float(head["worst"]), exposure)
    gross = net._replace(
        equity=curves.begun(curves.gross),
        returns=curves.returns(curves.gross),
        trades=before_costs,
        trading=trading._replace(costs=0.0, carry=0.0),
        worst=np.nan,
    )
    holding = Line(curves.begun(curves.holding), held, None, None, None, float(run.holding.book.head[0]["worst"]))
    return {
        "net": _measured(run, net, periods),
        "gross": _measured(run, gross, periods),
        "holding": _measured(run, holding, periods),
        "models": {name: _model_figures(run, m, periods) for m, name in enumerate(run.model_names)},
        "costs": dict(zip(COST_KINDS, (float(v) for v in charges[..., :DIVIDEND].sum(axis=(0, 1))), strict=True)),
        "dividends": -float(charges[..., DIVIDEND].sum()),
        "crossing_saved": float(head["saved"]),
        "break_even_cost": (trading.gross_profit - trading.carry) / notional if notional > 0.0 else np.nan,
        "capital": run.capital,
        "final_equity": final,
        "cash_paid_in": float(head["flows"]),
        "revaluation": revaluation,
        "money_weighted_return": {
            "net": _money_weighted(run, run.result),
            "holding": _money_weighted(run, run.holding),
        },
        "currency": spec.base_currency,
        "periods": periods,
        "convention": sampling_convention(periods, spec.risk_free_rate),
    }


def _measured(run: Run, line: Line, periods: float) -> dict[str, float]:
    """METRICS of one curve; all NaN if it went to zero or below, where no ratio means anything."""
    if not (line.equity > 0.0).all() or not (line.returns > -1.0).all():
        return dict.fromkeys(METRICS, np.nan)
    curve = measure.Curve(
        line.returns, run.curves.ts, line.equity, line.benchmark, line.exposure, line.worst, run.curves.is_funded
    )
    return measure.summarise(
        curve, periods=periods, risk_free_rate=run.spec.risk_free_rate, trades=line.trades, trading=line.trading
    )


def _model_figures(run: Run, m: int, periods: float) -> dict[str, Any]:
    """Net and gross metrics of one model: its attributed profit over its budget's part of the book.

    Its curve compounds those daily returns from budget x capital.
    """
    curves, trips, notional = run.curves, run.trips.models[m], float(run.trips.traded[m])
    budget = run.spec.models[m].budget
    charges = charges_of(run)[m]
    total, carry = float(charges[..., :DIVIDEND].sum()), carry_in(charges)
    profit = float(curves.pnl[-1, m]) if len(curves.pnl) else np.nan
    pair: dict[str, Any] = {"budget": budget, "pnl": profit, "costs": total}
    market, (net, gross) = curves.returns(curves.holding), _trades(run, trips)
    for kind, spent, held, closed in (("net", total, carry, net), ("gross", 0.0, 0.0, gross)):
        returns = curves.model_returns(m, budget, kind == "gross")
        equity = budget * run.capital * np.concatenate(([1.0], np.cumprod(1.0 + returns)))
        trading = measure.Trading(notional, profit + total, spent, held)
        line = Line(equity, returns, closed, trading, market)
        pair[kind] = _measured(run, line, periods)
    return pair


def carry_in(charges: F64) -> float:
    """What holding cost (negative: earned), of charges (…, 9) by kind; dividends are no cost."""
    return float(charges[..., FUNDING:DIVIDEND].sum())


def charges_of(run: Run) -> F64:
    """(M, N, 9) charges by model, instrument and kind, base currency at the rate of the last row."""
    market, columns = run.fold.market, run.fold.setup.terms["column"]
    last = np.full(len(columns), len(market.ts) - 1)
    return run.result.book.charges * rates_of(market, columns, last)[None, :, None]


def _money_weighted(run: Run, result: Result) -> float:
    """Internal rate of return of the capital and all cash flows; NaN where there were none: CAGR says it."""
    market, setup = run.fold.market, run.fold.setup
    if not len(setup.flows.row):
        return np.nan
    when = np.concatenate(([run.panel.ts[0]], market.ts[setup.flows.row]))
    paid = np.concatenate(([run.capital], worth_of_flows(market, setup)))
    final = float(result.book.head[0]["equity"])
    return measure.money_weighted_return(paid, (market.ts[-1] - when) / (365.0 * DAY), final)


def _trades(run: Run, trips: NDArray[np.void]) -> tuple[measure.Trades, measure.Trades]:
    """Closed round trips as the metrics read them, net and with their costs added back."""
    closed, market = trips[trips["open"] == 0], run.fold.market
    columns = run.fold.setup.terms["column"][closed["instrument"]]
    foreign = bool((columns >= 0).any())  # only then does the row matter, and the search for it takes a while
    rates = rates_of(market, columns, np.searchsorted(market.ts, closed["exit_ts"])) if foreign else 1.0
    notional, held, net = entry_notional(closed, run.result.book.unit), holding_days(closed), closed["pnl"]
    gross = net + closed["costs"]
    return measure.Trades(net * rates, net / notional, held), measure.Trades(gross * rates, gross / notional, held)
