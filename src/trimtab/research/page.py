"""A Run as the data of its report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from trimtab.research import metrics as measure
from trimtab.research.attribution import by_view
from trimtab.research.canonical import plain
from trimtab.research.execution import memory
from trimtab.research.report import Fills, Prices, ReportData, Stretches, verdict
from trimtab.research.utilisation import plain as plain_usage
from trimtab.types import DAY, F64, ORDER_KINDS, TIMEFRAMES

if TYPE_CHECKING:
    from trimtab.research.run import Run

#: Rows of the actions table that the page shows.
MOST_ACTIONS = 200

#: How a label of a regime is drawn; what is usual is not.
TONE_OF = {
    "bull": "good",
    "low": "good",
    "expansion": "good",
    "high": "high",
    "slowdown": "high",
    "recovery": "good",
    "bear": "bad",
    "crisis": "bad",
    "contraction": "bad",
}


def report_data(run: Run) -> ReportData:
    """Everything that the page shows, from the run's arrays."""
    curves, figures = run.curves, run.metrics
    beats, sentence = verdict(figures["net"], figures["holding"], figures["periods"])
    daily = TIMEFRAMES[run.panel.timeframe] >= DAY
    actions = run.dated_actions.drop("ts" if daily else "day")
    models = figures["models"]
    return ReportData(
        title=run.spec.name or f"{', '.join(run.model_names)} on {', '.join(run.panel.symbols)}",
        verdict=sentence,
        beats=beats,
        ts=curves.ts,
        capital=curves.capital,
        equity=curves.equity,
        equity_gross=curves.gross,
        holding=curves.holding,
        flows=curves.flows if curves.is_funded else None,
        money_weighted=(figures["money_weighted_return"]["net"], figures["money_weighted_return"]["holding"]),
        gross_exposure=np.nan_to_num(curves.gross_exposure),
        net_exposure=np.nan_to_num(curves.net_exposure),
        net=figures["net"],
        gross=figures["gross"],
        held=figures["holding"],
        periods=figures["periods"],
        currency=figures["currency"],
        risk_free_rate=run.spec.risk_free_rate,
        models=run.model_names,
        pnl=curves.pnl,
        cost=curves.cost,
        model_net={name: pair["net"] for name, pair in models.items()},
        model_gross={name: pair["gross"] for name, pair in models.items()},
        cost_kinds=figures["costs"],
        crossing_saved=figures["crossing_saved"],
        attribution=tuple(run.attribution.select("by", "name", "net", "costs", "gross", "days").iter_rows()),
        execution=tuple(run.execution.iter_rows(named=True)),
        shares=tuple(parted(run)),
        regimes=stretches_of(run),
        prices=tuple(prices_of(run, i) for i in range(len(run.panel.instruments))),
        fills={symbol: fills_of(run, i) for i, symbol in enumerate(run.panel.symbols)},
        settings=plain(run.spec),
        provenance=provenance_of(run),
        notes=run.notes,
        usage=run.usage,
        action_columns=tuple(actions.columns),
        actions=tuple(tuple(_cell(value) for value in row) for row in actions.head(MOST_ACTIONS).iter_rows()),
        actions_total=actions.height,
    )


def parted(run: Run) -> Iterator[tuple[str, str, float, float, float, float]]:
    """Of each allocator and part: the title, the name, and the share at first, at least, at most and at the end."""
    for split in run.splits:
        if len(split.row):
            columns = zip(split.names(run.model_names, run.panel.symbols), split.share.T, strict=True)
            for name, share in columns:
                yield split.title(run.model_names), name, share[0], share.min(), share.max(), share[-1]


def stretches_of(run: Run) -> tuple[Stretches, ...]:
    """When each label of each regime stood."""
    if not run.spec.regimes:
        return ()
    from trimtab.portfolio.regime.labels import bands
    from trimtab.portfolio.regime.table import REGIMES
    from trimtab.research.regimes import regime_labels, use_names

    uses, found = use_names(run.spec), list[Stretches]()
    for name, labels in regime_labels(run.spec, run.panel).items():
        drawn = bands(labels, run.panel.ts)
        for k, label in enumerate(REGIMES[uses[name].regime].names):
            mine = drawn.label == k
            if mine.any():
                tone = TONE_OF.get(label, "")
                found.append(
                    Stretches(regime=name, label=label, tone=tone, start=drawn.start[mine], end=drawn.end[mine])
                )
    return tuple(found)


def provenance_of(run: Run) -> dict[str, str]:
    """What makes a run repeatable: the spec's, the data's and the code's hash, the platform, the seed."""
    return {
        "run_id": run.run_id,
        "data_hash": run.data_hash,
        "code_version": run.code_version,
        "platform": run.platform,
        "seed": str(run.spec.seed),
    }


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    if hasattr(value, "hour"):
        return value.strftime("%Y-%m-%d %H:%M")
    return str(value)


def prices_of(run: Run, i: int) -> Prices:
    """The bars of one instrument that its chart draws; rows without a bar left out."""
    panel, instrument = run.panel, run.panel.instruments[i]
    column = {name: panel.values[:, i, panel.fields.index(name)] for name in ("open", "high", "low", "close")}
    there = column["close"] > 0.0
    bars: dict[str, F64 | None] = {name: values[there] for name, values in column.items()}
    if instrument.close_only:
        bars["open"] = bars["high"] = bars["low"] = None
    return Prices(
        symbol=instrument.symbol,
        ts=panel.ts[there],
        quote=instrument.quote,
        close_only=instrument.close_only,
        **bars,  # type: ignore[arg-type]  # the four columns by name; close is never None
    )


def fills_of(run: Run, i: int) -> Fills:
    """The fills of one instrument with whose they were and why."""
    result, instrument = run.result, run.panel.instruments[i]
    at = np.flatnonzero((result.fills["instrument"] == i) & (result.fills["order_id"] != 0))
    mine = result.fills[at]
    before = mine["position"] - mine["lots"]
    kinds: dict[int, int] = dict(zip(result.orders["order_id"].tolist(), result.orders["kind"].tolist(), strict=True))
    sent: list[int] = mine["order_id"].tolist()
    closes = (before != 0) & (np.sign(before) != np.sign(mine["lots"]))
    largest = np.abs(result.shares[at]).argmax(axis=1) if len(at) else np.empty(0, np.int64)
    return Fills(
        ts=run.panel.ts[mine["row"]],
        price=mine["price"],
        quantity=mine["lots"] * instrument.lot_size,
        opens=np.abs(mine["position"]) > np.abs(before),
        pnl=np.where(closes, mine["realised"], np.nan),
        model=tuple(run.model_names[m] for m in largest.tolist()),
        reason=tuple(ORDER_KINDS[kinds[k]].lower() for k in sent),
    )


def nulled_figures(figures: Any) -> Any:
    """The metrics of a run with NaN as None, at every depth, for JSON."""
    if isinstance(figures, dict):
        return {key: nulled_figures(value) for key, value in cast("dict[str, Any]", figures).items()}
    if isinstance(figures, float):
        return measure.nulled({"x": figures})["x"]
    return figures


def summary_of(run: Run) -> dict[str, Any]:
    """What summary.json of a bundle holds."""
    return {
        **provenance_of(run),
        "trials": None if run.recorded is None else run.recorded._asdict(),
        "verdict": run.verdict,
        "halted": run.halted,
        "metrics": nulled_figures(run.metrics),
        "attribution": nulled_figures(by_view(run.attribution)),
        "limits": [nulled_figures(limit) for limit in plain_usage(run.usage)],
        "execution": run.execution.to_dicts(),
        "notes": list(run.notes),
        "instruments": [msgspec.to_builtins(i) for i in run.panel.instruments],
        "costs": {i.symbol: nulled_figures(_finite(c)) for i, c in zip(run.panel.instruments, run.costs, strict=True)},
        "strategy_files": run.strategy_files,
        "weights_given": run.given is not None,
        "rows": len(run.panel.ts),
        "memory": memory(run),
    }


def _finite(costs: Any) -> dict[str, float]:
    return {name: (value if np.isfinite(value) else np.nan) for name, value in costs._asdict().items()}
