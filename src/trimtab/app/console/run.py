"""A backtest in the terminal: what was run, net beside gross and holding, models, costs, limits, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from trimtab.app.console.cells import Figures, cell, escaped, format_value, label_of, part, table_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: The figures of the summary, in the order a trader looks for them; the report has all of them.
HEADLINE: Final = (
    "total_return",
    "cagr",
    "volatility_annual",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "longest_drawdown",
    "var_95",
    "cvar_95",
    "win_rate",
    "profit_factor",
    "trades",
    "average_holding",
    "turnover",
    "exposure",
    "alpha",
    "beta",
)
#: Per model, with headings short enough for a terminal of 80 columns.
PER_MODEL: Final[Mapping[str, str]] = {
    "total_return": "Net\nreturn",
    "sharpe": "Sharpe",
    "max_drawdown": "Max\nfall",
    "trades": "Trades",
    "win_rate": "Win\nrate",
    "profit_factor": "Profit\nfactor",
}

#: So many instruments are named where a limit acted; all are in the bundle.
MOST_PLACES: Final = 2


def print_run(console: Console, run: Figures) -> None:
    """The summary of a backtest, down to the one sentence that answers the question.

    run  run_id, spec (plain), window, metrics (as Run.metrics), actions (counted), limits (told: a sentence), notes,
         verdict, bundle and report (paths; None: not written), trials (told: a sentence; None: not in the ledger)
    """
    spec, metrics = run["spec"], run["metrics"]
    currency = str(spec["base_currency"])
    console.print(settings_line(run, console.width))
    tables = [headline_table(metrics, currency)]
    if part(metrics, "models"):
        tables.append(models_table(part(metrics, "models"), currency, console.width))
    if part(metrics, "costs"):
        tables.append(costs_table(metrics, currency))
    if run.get("actions"):
        tables.append(actions_table(run["actions"]))
    for table in tables:
        console.print()
        console.print(table)
    console.print()
    if line := convention(metrics, float(spec["risk_free_rate"])):
        console.print(line, style="dim", markup=False)
    if limits := part(run, "limits").get("told"):
        console.print(limits, markup=False)
    for note in notes(run):
        console.print(note, style="dim" if note.startswith("Note") else "bold yellow", markup=False)
    console.print()
    for name in ("report", "bundle"):
        if run.get(name):
            console.print(f"{name.capitalize()}: {run[name]}", markup=False, soft_wrap=True)
    console.print(run["verdict"], style="bold", markup=False)
    if told := part(run, "trials").get("told"):
        console.print(told, markup=False)


def settings_line(run: Figures, width: int) -> RenderableType:
    """What was run: name and run id, then instruments, grid, window, capital and costs."""
    from rich.text import Text

    spec = run["spec"]
    symbols = list(spec["universe"])
    shown = " ".join(symbols[:6]) + (f" … ({len(symbols)} instruments)" if len(symbols) > 6 else "")
    costs = spec["costs"] if isinstance(spec["costs"], str) else named_costs(spec["costs"])
    parts = (
        shown,
        str(spec["timeframe"]),
        str(run["window"]),
        capital_line(spec, run["metrics"]),
        f"costs: {'as each venue charges' if costs == 'venue' else costs}",
    )
    text = Text()
    text.append(f"{spec['name'] or 'Backtest'}  ", style="bold")
    text.append(f"run {str(run['run_id'])[:16]}\n", style="dim")
    return text.append("\n".join(_lines(parts, " · ", width)))


def capital_line(spec: Figures, metrics: Figures) -> str:
    """The money at the start, wallet by wallet where there are several, and what was paid in on the way."""
    wallets, said, currency = part(spec, "capital"), spec["capital"], spec["base_currency"]
    if wallets:
        named = ", ".join(f"{name} {amount:,.0f}" for name, amount in wallets.items())
        text = f"capital {metrics['capital']:,.0f} {currency} ({named})"
    else:
        text = f"capital {said:,.0f} {currency}"
    flows = len(spec.get("cash_flows", ()))
    many = "s" if flows > 1 else ""
    return f"{text}, {flows} cash flow{many} of {metrics['cash_paid_in']:+,.0f} net" if flows else text


def _lines(parts: Sequence[str], separator: str, width: int) -> list[str]:
    """Parts joined into lines of at most `width`; a part is never broken."""
    lines = [parts[0]] if parts else []
    for more in parts[1:]:
        longer = f"{lines[-1]}{separator}{more}"
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(more)
    return lines


def named_costs(costs: Mapping[str, float]) -> str:
    """The costs that are not zero, or the plain words that there are none."""
    rates = ("maker_fee", "taker_fee", "half_spread", "slippage")
    parts = [f"{name} {costs[name] * 1e4:g} bps" for name in rates if costs.get(name)]
    parts += [f"{name} {costs[name]:g}" for name in ("vol_spread", "impact", "reject") if costs.get(name)]
    parts += [f"latency {costs['latency']:g} s"] if costs.get("latency") else []
    return ", ".join(parts) or "none (a frictionless run)"


def headline_table(metrics: Figures, currency: str) -> RenderableType:
    """Net, gross and holding side by side; figures that one of them does not have are left empty."""
    table = table_of("", "Net", "Gross", "Holding")
    columns = [part(metrics, name) for name in ("net", "gross", "holding")]
    weighted = part(metrics, "money_weighted_return")
    for name in HEADLINE:
        if any(name in column for column in columns):
            table.add_row(label_of(name), *(cell(column, name, currency) for column in columns))
        if name == "cagr" and isinstance(weighted.get("net"), float) and math.isfinite(weighted["net"]):
            rates = (weighted.get(column, math.nan) for column in ("net", "gross", "holding"))
            table.add_row("Money-weighted, a year", *(format_value("cagr", rate, currency) for rate in rates))
    return table


def models_table(models: Mapping[str, Figures], currency: str, width: int) -> RenderableType:
    """One row per model, on its budget's part of the book: net of costs, its gross return at the end."""
    present = [name for name in PER_MODEL if any(name in part(figures, "net") for figures in models.values())]
    heads = [*(PER_MODEL[name] for name in present), "Gross\nreturn"]
    rows = [
        [
            *(cell(part(f, "net"), name, currency) for name in present),
            cell(part(f, "gross"), "total_return", currency),
        ]
        for f in models.values()
    ]
    taken = sum(
        2 + max(len(text) for text in (*head.split("\n"), *column))
        for head, column in zip(heads, zip(*rows, strict=True), strict=True)
    )
    table = table_of("Model", *heads)
    for model, row in zip(models, rows, strict=True):
        table.add_row(escaped("\n".join(_lines_of_name(model, max(12, width - taken)))), *row)
    return table


def _lines_of_name(name: str, room: int) -> list[str]:
    """A name that is too long for its column, broken at its underscores."""
    words = name.split("_")
    return _lines([f"{word}_" for word in words[:-1]] + words[-1:], "", room)


def costs_table(metrics: Figures, currency: str) -> RenderableType:
    """What trading cost, by kind, and the cost per unit of turnover at which the gross profit is gone."""
    table = table_of("Costs", f"Paid, {currency}")
    paid = {kind: amount for kind, amount in part(metrics, "costs").items() if isinstance(amount, int | float)}
    for kind, amount in paid.items():
        if amount != 0.0:
            table.add_row(escaped(kind.replace("_", " ")), f"{amount:,.2f}" if math.isfinite(amount) else "–")
    if not any(paid.values()):
        table.add_row("none", "0.00")
    if saved := metrics.get("crossing_saved"):
        table.add_row("saved by crossing between models", f"{saved:,.2f}")
    if "break_even_cost" in metrics:
        level = format_value("break_even_cost", metrics["break_even_cost"], currency)
        table.add_row("break-even cost, per notional traded", level)
    return table


def actions_table(actions: Sequence[Figures]) -> RenderableType:
    """What the limits did, how often, and between which days; the bundle has every single act."""
    table = table_of("Limit", "Action", "Times", "First", "Last", "Where")
    table.columns[0].no_wrap, table.columns[-1].no_wrap = True, False
    table.columns[1].justify = table.columns[-1].justify = "left"
    for limit, action in dict.fromkeys((str(act["limit"]), str(act["action"])) for act in actions):
        acts = [act for act in actions if (act["limit"], act["action"]) == (limit, action)]
        places = list(dict.fromkeys(str(act["symbol"]) for act in acts))
        more = f" … ({len(places)})" if len(places) > MOST_PLACES else ""
        table.add_row(
            escaped(limit),
            escaped(action.lower()),
            f"{sum(act['times'] for act in acts):,}",
            min(str(act["first"]) for act in acts),
            max(str(act["last"]) for act in acts),
            escaped(", ".join(places[:MOST_PLACES]) + more),
        )
    return table


def convention(metrics: Figures, risk_free_rate: float) -> str:
    """How the ratios above were taken, on one line, so that nobody has to guess which Sharpe this is."""
    if not (periods := metrics.get("periods")):
        return ""
    return f"Sharpe: daily returns at 00:00 UTC, annualised by {periods:g}, over {risk_free_rate:.2%} risk-free."


def notes(run: Figures) -> list[str]:
    """The first sentence of each note, warnings as such; the whole of them is in the report and in summary.json."""
    told = [str(note).partition(". ")[0].removesuffix(".") for note in run.get("notes", ())]
    return [f"{note}." if note.startswith("Warning: ") else f"Note: {note}." for note in told]
