"""The report of a run: one HTML file that opens without a network, made from plain arrays."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.research.metrics_table import METRICS, describe_bands, format_metric, grade, sampling_convention
from trimtab.research.utilisation import NEAR, Usage
from trimtab.types import DAY, F64, I64, NotEnoughData, TrimtabError
from trimtab.words import day_of

Metrics = Mapping[str, float]


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """Bars of one instrument for its chart; ts and columns (B,). Without open, high and low the closes are a line."""

    symbol: str
    ts: I64
    close: F64
    open: F64 | None = None
    high: F64 | None = None
    low: F64 | None = None
    quote: str = "USD"
    close_only: bool = False


class Fills(msgspec.Struct, frozen=True, kw_only=True):
    """Fills of one instrument, parallel (F,).

    ts        the close of the bar in which it happened, ns UTC
    price     in quote currency
    quantity  signed units, positive is bought
    opens     the position grew away from zero
    pnl       realised by it, money; NaN where it realised nothing
    model     whose it was, for the reader
    reason    why: the order's kind or the protective level
    """

    ts: I64
    price: F64
    quantity: F64
    opens: NDArray[np.bool_]
    pnl: F64
    model: tuple[str, ...]
    reason: tuple[str, ...]


class Stretches(msgspec.Struct, frozen=True, kw_only=True):
    """When one label of a regime stood, ns UTC: parallel (B,), in order; tone: good, bad, high or "" (not drawn)."""

    regime: str
    label: str
    tone: str
    start: I64
    end: I64


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page shows. D day ends, M models; money in `currency`, after costs unless said.

    ts              (D,)    day ends, ns UTC, rising
    capital                 equity before the first day
    equity          (D,)    after costs
    equity_gross    (D,)    the same trades without any cost
    holding         (D,)    the same instruments bought once and held; None: not compared
    flows           (D,)    net cash paid in during each day; None: none was
    gross_exposure  (D,)    sum of |notional| / equity
    net_exposure    (D,)    sum of notional / equity
    pnl, cost       (D, M)  cumulative net profit and cumulative cost of each model
    cost_kinds              money paid by kind, over the run; crossing_saved: not paid, thanks to netting
    attribution             by, name, net, costs, gross and days (None: not a regime's) of each part of each view
    execution               how well orders were carried out: a row of figures of the book, each instrument, each model
    shares                  allocator, part, and its share at first, at least, at most and at the end
    regimes                 a Stretches per label that stood
    net, gross, held        metrics by name, see METRICS; model_net, model_gross: the same for each model
    settings                the spec as plain values; provenance: run_id, data_hash, code_version, platform, seed
    notes                   what a reader must know before believing the page
    usage                   each limit that is set over the days: the most of it in use on each
    actions                 rows of what the limits did, under action_columns; actions_total: how many there were
    """

    title: str
    verdict: str
    ts: I64
    capital: float
    equity: F64
    equity_gross: F64
    gross_exposure: F64
    net_exposure: F64
    net: Metrics
    gross: Metrics
    periods: float
    holding: F64 | None = None
    flows: F64 | None = None
    money_weighted: tuple[float, float] = (math.nan, math.nan)  # the book's and holding's
    held: Metrics = {}
    beats: bool | None = None
    currency: str = "USD"
    risk_free_rate: float = 0.0
    models: tuple[str, ...] = ()
    pnl: F64 = msgspec.field(default_factory=lambda: np.empty((0, 0)))
    cost: F64 = msgspec.field(default_factory=lambda: np.empty((0, 0)))
    model_net: Mapping[str, Metrics] = {}
    model_gross: Mapping[str, Metrics] = {}
    cost_kinds: Mapping[str, float] = {}
    crossing_saved: float = 0.0
    attribution: tuple[tuple[str, str, float, float, float, float | None], ...] = ()
    execution: tuple[Mapping[str, Any], ...] = ()
    shares: tuple[tuple[str, str, float, float, float, float], ...] = ()
    regimes: tuple[Stretches, ...] = ()
    prices: tuple[Prices, ...] = ()
    fills: Mapping[str, Fills] = {}
    settings: Mapping[str, Any] = {}
    provenance: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()
    usage: tuple[Usage, ...] = ()
    action_columns: tuple[str, ...] = ()
    actions: tuple[tuple[str, ...], ...] = ()
    actions_total: int = 0


def verdict(net: Metrics, held: Metrics, periods: float = 0.0) -> tuple[bool, str]:
    """Does the book beat holding the same instruments net of costs, and the sentence that says by how much.

    net, held  metrics of the book after costs and of holding, over the same days
    periods    day ends per year: with fewer, returns are told as they were, since a year of them is extrapolation
    ->         True if the net total return is larger, or holding was worth nothing at last and the book was not
    """
    if math.isnan(net["total_return"]) or math.isnan(held["total_return"]):
        return _of_ruin(net, held)
    is_short = net.get("days", math.inf) < periods
    told = "total_return" if is_short else "cagr"
    span = f" in {net['days']:.0f} days" if is_short else " a year"
    ahead = net[told] - held[told]
    beats = net["total_return"] > held["total_return"]
    word = "beats" if beats else "does not beat"
    more = "more" if ahead > 0.0 else "less"
    gap = f"{abs(ahead) * 100.0:.1f} points {more}"
    if abs(net["total_return"] - held["total_return"]) <= 1e-6 * (1.0 + held["total_return"]):
        word, gap = "does the same as", "no points apart"
    text = (
        f"Net of costs the book {word} holding the same instruments: {net[told]:.1%}{span} against "
        f"{held[told]:.1%}, {gap}, with a deepest drawdown of "
        f"{abs(net['max_drawdown']):.0%} against {abs(held['max_drawdown']):.0%}"
    )
    if math.isfinite(net["sharpe"]) and math.isfinite(held["sharpe"]):
        text += f" and a Sharpe ratio of {net['sharpe']:.2f} against {held['sharpe']:.2f}"
    return beats, text + "."


def _of_ruin(net: Metrics, held: Metrics) -> tuple[bool, str]:
    """The sentence where a curve came to zero or below: it has no returns then."""

    def told(figures: Metrics) -> str:
        if math.isnan(figures["total_return"]):
            return "was worth nothing before the end"
        return f"made {figures['cagr']:.1%} a year with a deepest drawdown of {abs(figures['max_drawdown']):.0%}"

    text = f"Net of costs the book {told(net)}; holding the same instruments {told(held)}."
    return math.isfinite(net["total_return"]), text


def write_report(data: ReportData, path: str | os.PathLike[str]) -> Path:
    """Write the page as one self-contained file; an interrupted write leaves no half page behind.

    Raises NotEnoughData for less than two days and TrimtabError for arrays that do not fit together.
    """
    target = Path(path)
    page = render_report(data)
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise TrimtabError(f"{target}: cannot write the report ({error.strerror}); choose another place") from error
    return target


def render_report(data: ReportData) -> str:
    """The page as text: plotly.js once, the figures as JSON, everything else as HTML."""
    import jinja2
    import yaml
    from plotly.offline import get_plotlyjs

    from trimtab.research import figures

    check_report(data)
    charts = {name: json.loads(str(figure.to_json())) for name, figure in figures.figures(data).items()}
    prices = [
        (p.symbol, json.loads(str(figures.price_chart(p, data.fills.get(p.symbol)).to_json()))) for p in data.prices
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trimtab.research", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        data=data,
        cell=_cell,
        metrics=METRICS,
        describe_bands=describe_bands,
        charts=charts,
        symbols=[symbol for symbol, _ in prices],
        payload=script_json({"charts": charts, "prices": prices, "palette": figures.PALETTE}),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        tiles=_tiles(data),
        span=_span(data),
        months=_months(data),
        groups=_groups(),
        models=_model_rows(data),
        bands=_band_rows(data),
        attribution=_attribution_rows(data),
        limits=_limit_rows(data),
        execution=_execution_rows(data),
        near=NEAR,
        settings=yaml.safe_dump(dict(data.settings), sort_keys=False, allow_unicode=True) if data.settings else "",
        sampling=sampling_convention(data.periods, data.risk_free_rate),
        rolling=figures.ROLLING,
        flat_days=int((figures.net_returns(data) == 0.0).sum()),
    )


def check_report(data: ReportData) -> None:
    """Refuse arrays that do not belong together, naming the first."""
    days, models = data.ts.size, len(data.models)
    if days < 2:
        raise NotEnoughData(f"a report needs at least 2 day ends, the run has {days}; widen start and end")
    curves = ["equity", "equity_gross", "gross_exposure", "net_exposure"]
    shapes = dict.fromkeys(curves, (days,)) | dict.fromkeys(["pnl", "cost"] if models else [], (days, models))
    if data.holding is not None:
        shapes["holding"] = (days,)
    if data.flows is not None:
        shapes["flows"] = (days,)
    for name, shape in shapes.items():
        if getattr(data, name).shape != shape:
            raise TrimtabError(f"report: {name} has shape {getattr(data, name).shape}, expected {shape}")
    for usage in data.usage:
        if usage.used.shape != (days,):
            raise TrimtabError(f"report: usage of {usage.title} has shape {usage.used.shape}, expected {(days,)}")
    if missing := [m for m in data.models if m not in data.model_net or m not in data.model_gross]:
        raise TrimtabError(f"report: no metrics for the models {', '.join(missing)}; fill model_net and model_gross")


def script_json(value: Any) -> str:
    # "<" could end the script element that holds the JSON; JSON knows no NaN.
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# ---------------------------------------------------------------------------------------------------------------------
# What the template prints
# ---------------------------------------------------------------------------------------------------------------------


class Tile(msgspec.Struct, frozen=True):
    """A headline figure: label, value, what it is read against, and its grade (or none)."""

    label: str
    value: str
    beside: str
    grade: str = ""


def _shown(name: str, values: Metrics, currency: str = "") -> str:
    return format_metric(METRICS[name], values.get(name, math.nan), currency)


def _cell(name: str, values: Metrics) -> dict[str, str]:
    value = values.get(name, math.nan)
    return {
        "text": format_metric(METRICS[name], value),
        "grade": grade(METRICS[name], value),
        "why": f"undefined: {METRICS[name].undefined}" if math.isnan(value) else "",
    }


def _tiles(data: ReportData) -> list[Tile]:
    net, gross, held = data.net, data.gross, data.held

    def tile(name: str, label: str, beside: str) -> Tile:
        return Tile(label, _shown(name, net), beside, grade(METRICS[name], net.get(name, math.nan)))

    def against(name: str) -> str:
        return f"holding {_shown(name, held)}" if held else f"gross {_shown(name, gross)}"

    tiles = [
        tile("total_return", "Net return", f"gross {_shown('total_return', gross)}"),
        tile("cagr", "CAGR", against("cagr")),
        tile("sharpe", "Sharpe ratio", against("sharpe")),
        tile("max_drawdown", "Max drawdown", against("max_drawdown")),
        tile("volatility_annual", "Volatility, annual", against("volatility_annual")),
        tile("trades", "Trades", f"win rate {_shown('win_rate', net)}"),
        Tile("Costs", _shown("costs", net, data.currency), f"break-even {_shown('break_even_cost', net)} each way"),
    ]
    if data.flows is not None:
        own, other = (_percent(rate) for rate in data.money_weighted)
        beside = f"a year; holding {other}; {data.flows.sum():+,.0f} {data.currency} paid in"
        tiles.append(Tile("Money-weighted", own, beside))
    if held:
        ahead = net.get("cagr", math.nan) - held.get("cagr", math.nan)
        word = "" if math.isnan(ahead) else "good" if ahead > 0.0 else "weak"
        gap = "–" if math.isnan(ahead) else f"{ahead * 100.0:+.2f} pts"
        tiles.append(Tile("Against holding", gap, "CAGR, points a year", word))
    else:
        tiles.append(tile("profit_factor", "Profit factor", f"gross {_shown('profit_factor', gross)}"))
    return tiles


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2%}"


def _span(data: ReportData) -> str:
    first, last = (str(np.datetime64(int(t) - 1, "ns").astype("M8[D]")) for t in (data.ts[0], data.ts[-1]))
    return f"{first} to {last}, {data.ts.size:,} days"


def _months(data: ReportData) -> list[dict[str, Any]]:
    """Rows of the heat-map, latest year first; shade is 0..1 of the 95th percentile of the monthly magnitudes."""
    from trimtab.research.figures import years_of_months

    years, table, whole = years_of_months(data)
    months = max(float(np.nanquantile(np.abs(table), 0.95)), 1e-9)
    totals = max(float(np.nanquantile(np.abs(whole), 0.95)), 1e-9)

    def cell(value: float, full: float) -> dict[str, str]:
        if math.isnan(value):
            return {"text": "", "sign": "none", "shade": "0"}
        sign = "gain" if value > 0.0 else "loss" if value < 0.0 else "none"
        text = f"{value * 100.0:.1f}"
        return {"text": "0.0" if text == "-0.0" else text, "sign": sign, "shade": f"{min(abs(value) / full, 1.0):.2f}"}

    rows = [
        {"year": year, "months": [cell(float(v), months) for v in row], "total": cell(float(total), totals)}
        for year, row, total in zip(years, table, whole, strict=True)
    ]
    return rows[::-1]


def _groups() -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for name, metric in METRICS.items():
        groups.setdefault(metric.group, []).append(name)
    return list(groups.items())


def _band_rows(data: ReportData) -> list[dict[str, Any]]:
    """The legend of the bands behind the equity curve."""
    from trimtab.research.figures import PALETTE, TONES

    drawn = [s for s in data.regimes if s.tone]
    return [{"name": f"{s.regime} {s.label}", "colours": PALETTE[TONES[s.tone]]} for s in drawn]


def _attribution_rows(data: ReportData) -> list[dict[str, Any]]:
    """A view with its rows: name, gross, costs, net, and of a regime the share of days and the net profit a year."""
    views: dict[str, list[dict[str, str]]] = {}
    whole = (int(data.ts[-1]) - int(data.ts[0])) / DAY
    for by, name, net, costs, gross, days in data.attribution:
        row = {"name": name, "gross": f"{gross:,.0f}", "costs": f"{costs:,.0f}", "net": f"{net:,.0f}"}
        row["days"] = "" if days is None else f"{days:,.0f} days" + (f", {days / whole:.0%}" if whole > 0.0 else "")
        views.setdefault(by, []).append(row)
    return [{"by": by.replace("_", " "), "rows": rows} for by, rows in views.items()]


def _execution_rows(data: ReportData) -> list[dict[str, str]]:
    """A row per line of the table of execution; an en dash where something is undefined."""

    def shown(value: float | None, form: str, factor: float = 1.0) -> str:
        return "–" if value is None else format(factor * value, form)

    return [
        {
            "name": row["name"] or "the book",
            "kind": row["by"],
            "orders": f"{row['orders']:,}",
            "fills": f"{row['fills']:,}",
            "fill_rate": shown(row["fill_rate"], ".1%"),
            "rejected": shown(row["rejected"], ",d", 1),
            "unknown": shown(row["unknown"], ",d", 1),
            "decision": shown(row["decision_slippage"], "+,.1f", 1e4),
            "arrival": shown(row["arrival_slippage"], "+,.1f", 1e4),
            "decision_cost": shown(row["decision_cost"], ",.0f"),
            "arrival_cost": shown(row["arrival_cost"], ",.0f"),
            "time": _lasted(row["time_to_fill"]),
            "longest": _lasted(row["longest_fill"]),
        }
        for row in data.execution
        if row["orders"]
    ]


def _lasted(seconds: float | None) -> str:
    """A time in the largest unit that it fills."""
    if seconds is None:
        return "–"
    for unit, length in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.3g} s"


def _limit_rows(data: ReportData) -> list[dict[str, str]]:
    """A row per limit: bound, share in use at the end and at most, the day of that, days near and over, times acted."""

    def share(value: float) -> str:
        return f"{value:.1%}" if value < math.inf else "∞"

    return [
        {
            "title": u.title.replace("_", " "),
            "bound": f"{u.bound * 100.0:g}%",
            "last": share(u.last),
            "worst": share(u.worst),
            "tone": "weak" if u.over else "fair" if u.near else "",
            "on": day_of(u.worst_ts) if u.worst > 0.0 else "–",
            "near": f"{u.near:,}",
            "over": f"{u.over:,}",
            "acted": f"{u.acted:,}",
        }
        for u in data.usage
    ]


def _model_rows(data: ReportData) -> list[dict[str, Any]]:
    from trimtab.research.figures import MODEL_COLOURS, PALETTE

    rows: list[dict[str, Any]] = []
    for i, name in enumerate(data.models):
        net, gross = data.model_net[name], data.model_gross[name]
        profit, paid = float(data.pnl[-1, i]), float(data.cost[-1, i])
        columns = ("max_drawdown", "trades", "win_rate", "profit_factor", "break_even_cost")
        rows.append(
            {
                "name": name,
                "colours": PALETTE[MODEL_COLOURS[i % len(MODEL_COLOURS)]],
                "gross": f"{profit + paid:,.0f}",
                "cost": f"{paid:,.0f}",
                "net": f"{profit:,.0f}",
                "sharpe": _shown("sharpe", net),
                "sharpe_gross": _shown("sharpe", gross),
                "more": [_shown(column, net) for column in columns],
            }
        )
    return rows
