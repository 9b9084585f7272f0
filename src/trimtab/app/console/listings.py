"""Sweeps, findings and strategies in the terminal: one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trimtab.app.console.cells import Figures, escaped, format_value, label_of, part, shown, table_of

if TYPE_CHECKING:
    from rich.console import Console


def print_sweep(console: Console, rows: Sequence[Figures], sort: str, total: int) -> None:
    """The best parameter sets, best first."""
    names = list(rows[0]) if rows else []
    labels = ["Traded over capital" if name == "traded" else label_of(name) for name in names]
    table = table_of(*(escaped(label.replace("_", " ").replace(" ", "\n")) for label in labels), left=0)
    for row in rows:
        table.add_row(*(format_value(name, value, "") for name, value in row.items()))
    counted = f"the first {len(rows):,} of {total:,} sets" if len(rows) < total else f"all {total:,} sets"
    console.print(table)
    told = f"{counted} by {label_of(sort)}" if total > 1 else "the only set"
    console.print(told, style="dim", markup=False, soft_wrap=True)  # as a caption it would be as narrow as the table


def print_findings(console: Console, name: str, findings: Sequence[Figures]) -> None:
    """One line per law with a tick or a cross, then what to do about each break."""
    from rich.padding import Padding
    from rich.text import Text

    broken = [finding for finding in findings if not finding["passed"]]
    doubtful = [finding for finding in findings if finding["passed"] and finding.get("suspicious")]
    laws = {str(finding["law"]): [f for f in findings if f["law"] == finding["law"]] for finding in findings}
    wide = max((len(law) for law in laws), default=0)
    console.print(Text(f"The laws, on {name}", style="bold"))
    for law, told in laws.items():
        wrong = [f for f in told if not f["passed"]]
        doubts = [f for f in told if f in doubtful]
        mark, style = ("✗ ", "bold red") if wrong else ("! ", "bold yellow") if doubts else ("✓ ", "green")
        line = Text(mark, style=style)
        line.append(law.ljust(wide + 2), style="bold")
        if wrong:
            line.append("FAIL  ", style="bold red").append("; ".join(_place(f) for f in wrong))
        elif doubts:
            line.append("suspicious  ", style="bold yellow").append("; ".join(_place(f) for f in doubts))
        else:
            line.append(str(told[0]["message"]))
        console.print(line, soft_wrap=True)
    if not broken:
        also = "; look at what is suspicious (--strict makes it fail)." if doubtful else "."
        console.print(Text(f"\nEvery law that was tested holds{also}", style="bold"))
        if not doubtful:
            return
    console.print(Text("\nWhat to do", style="bold"))
    for n, finding in enumerate((*broken, *doubtful), 1):
        console.print(Text(f"{n}. {finding['law']}", style="bold"))
        console.print(Padding(Text(str(finding["message"])), (0, 0, 0, 3)))


def _place(finding: Figures) -> str:
    """Where a law broke: field, row and instant, as far as they are known."""
    parts = [str(finding["field"])] if finding.get("field") else []
    parts += [f"of {finding['instrument']}"] if finding.get("instrument") else []
    parts += [f"row {finding['row']}"] if finding.get("row") is not None else []
    parts += [f"({finding['ts']})"] if finding.get("ts") else []
    parts += [f"size {finding['size']:.2g}"] if finding.get("size") is not None else []
    return " ".join(parts) or "see below"


def print_signals(console: Console, signals: Sequence[Figures], capital: float) -> None:
    """Per unit its signal with strength and reason, then the orders that it means for an account of cash."""
    from rich.text import Text

    styles = {"BUY": "bold green", "SELL": "bold red"}
    for told in signals:
        line = Text("/".join(told["instruments"]), style="bold")
        line.append(f"  {told['signal']}", style=styles.get(told["signal"], "bold"))
        line.append(f"  strength {told['strength']:.2f}  at the close of {told['at']} ({told['timeframe']})")
        console.print(line, soft_wrap=True)
        console.print(Text(f"  why    {told['words']}."), soft_wrap=True)
        for order in told["orders"]:
            console.print(Text(f"  order  {_order(order)}"), soft_wrap=True)
    console.print(
        Text(f"Orders are from cash to what stands, of a capital of {shown(capital)}, before costs and limits."),
        style="dim",
        soft_wrap=True,
    )


def _order(order: Figures) -> str:
    """One order as a trader says it."""
    if order["lots"]:
        return (
            f"{order['side']} {shown(float(order['quantity']))} {order['instrument']} at about "
            f"{shown(float(order['price']))}: {shown(round(float(order['notional']), 2))}"
        )
    why = f" ({order['why_not']}: {order['weight']:.2%} of the capital is wanted)" if order["why_not"] else ""
    return f"none of {order['instrument']}{why}"


def print_strategies(console: Console, rows: Sequence[Mapping[str, str]]) -> None:
    """One line per strategy: name, the idea, its parameters."""
    table = table_of("Strategy", "Idea", "Parameters", left=3)
    for row in rows:
        table.add_row(escaped(row["name"]), escaped(row["idea"]), escaped(row["params"]))
    console.print(table)


def print_strategy(console: Console, strategy: Figures) -> None:
    """The strategy's own text, then its parameters with their defaults and ranges."""
    console.print(f"{strategy['name']}, version {strategy['version']}", style="bold", markup=False)
    console.print(strategy["about"] + "\n", markup=False, soft_wrap=True)
    console.print(
        f"reads {', '.join(strategy['fields'])} · {strategy['legs'] or 'all'} leg(s) · {strategy['warmup']:,} rows of "
        f"warm-up with the defaults · {', '.join(strategy['timeframes'])}",
        markup=False,
    )
    for each in strategy["indicators"]:
        made_of = f"{each['name']} is made of {', '.join(each['fields'])}"
        console.print(f"{made_of}, with {each['warmup']:,} rows before the first value", markup=False)
    if fit := strategy["fit"]:
        every = f"{fit['every_bars']:,} bars" if "every_bars" in fit else f"{shown(fit['every_days'])} days"
        console.print(f"fitted on {fit['window']:,} rows every {every}", markup=False)
    table = table_of("Parameter", "Default", "From", "To")
    for name, param in part(strategy, "params").items():
        low, high = param["range"] or ("", "")
        table.add_row(escaped(name), shown(param["default"]), shown(low), shown(high))
    console.print(table)
