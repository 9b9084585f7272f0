"""What a trader reads in the terminal, as functions of plain values. Results go to stdout, everything else to stderr.

Rich is imported when something is printed; `trimtab --help` must not wait for it.
"""

from __future__ import annotations

import codecs
import datetime as dt
import io
import json
import math
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

#: progress(stage, done, total): called as often as the work likes; total 0 means that the end is not known.
Progress = Callable[[str, int, int], None]

#: Named figures, or anything else that JSON calls an object.
Figures = Mapping[str, Any]

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

_QUIET_SECONDS: Final = 1.0
#: So many instruments are named where a limit acted; all are in the bundle.
MOST_PLACES: Final = 2


def stdout() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


#: What a terminal without UTF-8 is shown in place of a character that it does not have.
_SPELLED: Final = {
    "…": "...",
    "·": "-",
    "–": "-",
    "—": "-",
    "✓": "+",
    "✗": "x",
    "≤": "<=",
    "≥": ">=",
    "−": "-",
    "∞": "inf",
}


def spell_out() -> None:
    """Let stdout and stderr write every character in some way, whatever the terminal's encoding."""

    def spelled(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        return "".join(_SPELLED.get(c, "?") for c in error.object[error.start : error.end]), error.end

    codecs.register_error("spelled", spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _is_unicode(stream):
            stream.reconfigure(errors="spelled")


def _is_unicode(stream: Any) -> bool:
    return str(getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def say(text: str) -> None:
    """A message for people, on stderr, one line and without markup."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def write_json(value: Any) -> None:
    """One JSON document on stdout: NaN and inf are null, since JSON has neither."""
    # JSON has its own spelling for what the stream cannot encode.
    plain = not _is_unicode(sys.stdout)
    text = json.dumps(jsonable(value), indent=2, ensure_ascii=plain, allow_nan=False, default=str)
    sys.stdout.write(text + "\n")


def jsonable(value: Any) -> Any:
    """The value in JSON's own types; what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in cast("Sequence[Any]", value)]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        return jsonable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dt.date):
        return value.isoformat().replace("+00:00", "Z")
    return value


@contextmanager
def progress(*, shown: bool = True) -> Generator[Progress]:
    """A progress bar on stderr for work that takes more than a second; silent where stderr is no terminal."""
    if not shown or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    bar = rich_progress.Progress(*columns, console=stderr(), transient=True)
    task = bar.add_task("working", total=None)
    # The first second may pass inside one call (compiling, reading), so the bar appears by the clock.
    start = threading.Timer(_QUIET_SECONDS, bar.start)
    start.daemon = True
    start.start()
    try:
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total or None)
    finally:
        start.cancel()
        start.join()
        bar.stop()


# ---------------------------------------------------------------------------------------------------------------------
# A run
# ---------------------------------------------------------------------------------------------------------------------


def print_run(console: Console, run: Figures) -> None:
    """The summary of a backtest, down to the one sentence that answers the question.

    run  run_id, spec (plain), window, metrics (as Run.metrics), actions (counted), notes, verdict, bundle and
         report (paths; None: not written)
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
    for note in notes(run):
        console.print(note, style="dim", markup=False)
    console.print()
    for name in ("report", "bundle"):
        if run.get(name):
            console.print(f"{name.capitalize()}: {run[name]}", markup=False, soft_wrap=True)
    console.print(run["verdict"], style="bold", markup=False)


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
        f"capital {spec['capital']:,.0f} {spec['base_currency']}",
        f"costs: {'as each venue charges' if costs == 'venue' else costs}",
    )
    text = Text()
    text.append(f"{spec['name'] or 'Backtest'}  ", style="bold")
    text.append(f"run {str(run['run_id'])[:16]}\n", style="dim")
    return text.append("\n".join(_lines(parts, " · ", width)))


def _lines(parts: Sequence[str], separator: str, width: int) -> list[str]:
    """Parts joined into lines of at most `width`; a part is never broken."""
    lines = [parts[0]] if parts else []
    for part in parts[1:]:
        longer = f"{lines[-1]}{separator}{part}"
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
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
    table = _table("", "Net", "Gross", "Holding")
    columns = [part(metrics, name) for name in ("net", "gross", "holding")]
    for name in HEADLINE:
        if any(name in column for column in columns):
            table.add_row(label_of(name), *(_cell(column, name, currency) for column in columns))
    return table


def models_table(models: Mapping[str, Figures], currency: str, width: int) -> RenderableType:
    """One row per model, on its budget's part of the book: net of costs, its gross return at the end."""
    present = [name for name in PER_MODEL if any(name in part(figures, "net") for figures in models.values())]
    heads = [*(PER_MODEL[name] for name in present), "Gross\nreturn"]
    rows = [
        [
            *(_cell(part(f, "net"), name, currency) for name in present),
            _cell(part(f, "gross"), "total_return", currency),
        ]
        for f in models.values()
    ]
    taken = sum(
        2 + max(len(text) for text in (*head.split("\n"), *column))
        for head, column in zip(heads, zip(*rows, strict=True), strict=True)
    )
    table = _table("Model", *heads)
    for model, row in zip(models, rows, strict=True):
        table.add_row(_plain("\n".join(_lines_of_name(model, max(12, width - taken)))), *row)
    return table


def _lines_of_name(name: str, room: int) -> list[str]:
    """A name that is too long for its column, broken at its underscores."""
    words = name.split("_")
    return _lines([f"{word}_" for word in words[:-1]] + words[-1:], "", room)


def costs_table(metrics: Figures, currency: str) -> RenderableType:
    """What trading cost, by kind, and the cost per unit of turnover at which the gross profit is gone."""
    table = _table("Costs", f"Paid, {currency}")
    paid = {kind: amount for kind, amount in part(metrics, "costs").items() if isinstance(amount, int | float)}
    for kind, amount in paid.items():
        if amount != 0.0:
            table.add_row(_plain(kind.replace("_", " ")), f"{amount:,.2f}" if math.isfinite(amount) else "–")
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
    table = _table("Limit", "Action", "Times", "First", "Last", "Where")
    table.columns[0].no_wrap, table.columns[-1].no_wrap = True, False
    table.columns[1].justify = table.columns[-1].justify = "left"
    for limit, action in dict.fromkeys((str(act["limit"]), str(act["action"])) for act in actions):
        acts = [act for act in actions if (act["limit"], act["action"]) == (limit, action)]
        places = list(dict.fromkeys(str(act["symbol"]) for act in acts))
        more = f" … ({len(places)})" if len(places) > MOST_PLACES else ""
        table.add_row(
            _plain(limit),
            _plain(action.lower()),
            f"{sum(act['times'] for act in acts):,}",
            min(str(act["first"]) for act in acts),
            max(str(act["last"]) for act in acts),
            _plain(", ".join(places[:MOST_PLACES]) + more),
        )
    return table


def convention(metrics: Figures, risk_free_rate: float) -> str:
    """How the ratios above were taken, on one line, so that nobody has to guess which Sharpe this is."""
    if not (periods := metrics.get("periods")):
        return ""
    return f"Sharpe: daily returns at 00:00 UTC, annualised by {periods:g}, over {risk_free_rate:.2%} risk-free."


def notes(run: Figures) -> list[str]:
    """The first sentence of each note; the whole of them is in the report and in summary.json."""
    told = [str(note) for note in run.get("notes", ())]
    return [f"Note: {note.partition('. ')[0].removesuffix('.')}." for note in told]


# ---------------------------------------------------------------------------------------------------------------------
# Sweeps, checks, strategies
# ---------------------------------------------------------------------------------------------------------------------


def print_sweep(console: Console, rows: Sequence[Figures], sort: str, total: int) -> None:
    """The best parameter sets, best first."""
    names = list(rows[0]) if rows else []
    labels = ["Traded over capital" if name == "traded" else label_of(name) for name in names]
    table = _table(*(_plain(label.replace("_", " ").replace(" ", "\n")) for label in labels), left=0)
    for row in rows:
        table.add_row(*(format_value(name, value, "") for name, value in row.items()))
    table.caption = f"the first {len(rows):,} of {total:,} sets by {label_of(sort)}"
    console.print(table)


def print_findings(console: Console, name: str, findings: Sequence[Figures]) -> None:
    """One line per law with a tick or a cross, then what to do about each break."""
    from rich.padding import Padding
    from rich.text import Text

    broken = [finding for finding in findings if not finding["passed"]]
    laws = {str(finding["law"]): [f for f in findings if f["law"] == finding["law"]] for finding in findings}
    wide = max((len(law) for law in laws), default=0)
    console.print(Text(f"The laws, on {name}", style="bold"))
    for law, told in laws.items():
        wrong = [f for f in told if not f["passed"]]
        line = Text("✗ " if wrong else "✓ ", style="bold red" if wrong else "green")
        line.append(law.ljust(wide + 2), style="bold")
        if wrong:
            line.append("FAIL  ", style="bold red").append("; ".join(_place(f) for f in wrong))
        else:
            line.append(str(told[0]["message"]))
        console.print(line, soft_wrap=True)
    if not broken:
        console.print(Text("\nEvery law that was tested holds.", style="bold"))
        return
    console.print(Text("\nWhat to do", style="bold"))
    for n, finding in enumerate(broken, 1):
        console.print(Text(f"{n}. {finding['law']}", style="bold"))
        console.print(Padding(Text(str(finding["message"])), (0, 0, 0, 3)))


def _place(finding: Figures) -> str:
    """Where a law broke: field, row and instant, as far as they are known."""
    parts = [str(finding["field"])] if finding.get("field") else []
    parts += [f"row {finding['row']}"] if finding.get("row") is not None else []
    parts += [f"({finding['ts']})"] if finding.get("ts") else []
    return " ".join(parts) or "see below"


def print_strategies(console: Console, rows: Sequence[Mapping[str, str]]) -> None:
    """One line per strategy: name, the idea, its parameters."""
    table = _table("Strategy", "Idea", "Parameters", left=3)
    for row in rows:
        table.add_row(_plain(row["name"]), _plain(row["idea"]), _plain(row["params"]))
    console.print(table)


def print_strategy(console: Console, strategy: Figures) -> None:
    """The strategy's own text, then its parameters with their defaults and ranges."""
    console.print(f"{strategy['name']}, version {strategy['version']}", style="bold", markup=False)
    console.print(strategy["about"] + "\n", markup=False, soft_wrap=True)
    console.print(
        f"reads {', '.join(strategy['fields'])} · {strategy['legs']} leg(s) · {strategy['warmup']:,} rows of "
        f"warm-up with the defaults · {', '.join(strategy['timeframes'])}",
        markup=False,
    )
    table = _table("Parameter", "Default", "From", "To")
    for name, param in part(strategy, "params").items():
        low, high = param["range"] or ("", "")
        table.add_row(_plain(name), _shown(param["default"]), _shown(low), _shown(high))
    console.print(table)


# ---------------------------------------------------------------------------------------------------------------------
# Cells
# ---------------------------------------------------------------------------------------------------------------------


def label_of(name: str) -> str:
    """A metric's label; a path or a name that is no metric stays as it is, without its section."""
    from trimtab.research.metrics_table import METRICS

    if name in METRICS:
        return METRICS[name].label
    return name.removeprefix("models.").replace(".params.", ".")


def format_value(name: str, value: Any, currency: str) -> str:
    """A figure with its metric's unit; an en dash where it is undefined."""
    from trimtab.research.metrics_table import METRICS, format_metric

    if value is None:
        return "–"
    if name in ("turnover", "traded") and isinstance(value, int | float) and math.isfinite(value):
        return f"{value:,.1f}x"
    if name in METRICS and isinstance(value, int | float):
        return format_metric(METRICS[name], float(value), currency)
    return _plain(_shown(value))


def part(figures: Figures, name: str) -> Figures:
    """The figures under a name; none where there are none."""
    found = figures.get(name)
    return cast("Figures", found) if isinstance(found, Mapping) else {}


def _cell(column: Figures, name: str, currency: str) -> str:
    return format_value(name, column[name], currency) if name in column else ""


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"
    return str(value)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _table(*headers: str, left: int = 1) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for i, header in enumerate(headers):
        # Words may be broken, figures never.
        table.add_column(header, justify="left" if i < left else "right", overflow="fold", no_wrap=i >= left)
    return table
