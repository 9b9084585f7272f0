"""Sizing methods in the terminal: a row each, then what the figures mean and what they do not know."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from trimtab.app.console.cells import Figures, table_of

if TYPE_CHECKING:
    from rich.console import Console


def print_sizes(console: Console, figures: Figures) -> None:
    """What `trimtab size` found, down to the sentence that answers the question."""
    asked = figures["question"]
    console.print("What each method would hold", style="bold")
    console.print(_sentence(figures["edge"]), markup=False)
    console.print(_sharpe_line(figures), markup=False)
    console.print()
    fall, ruin, gain = (_percent(share) for share in (asked["fall"], asked["ruin"], asked["goal"] - 1.0))
    heads = (f"Ever\n−{fall}", f"Year\n−{fall}", f"Ruin\n−{ruin}", f"Goal\n+{gain}")
    table = table_of("Method", "Holds", "Growth", "Vol.", *heads)
    for row in figures["methods"]:
        cut = "*" if row["fraction"] != row["wanted"] else ""
        chances = (_chance(row[name]) for name in ("below", "fell", "ruined", "reached"))
        growth = "–" if math.isnan(row["growth"]) else _rate(row["growth"])
        table.add_row(row["label"], f"{_tenths(row['fraction'])}%{cut}", growth, _rate(row["volatility"]), *chances)
    console.print(table)
    console.print()
    for note in notes(figures):
        console.print(note, style="dim", markup=False)
    console.print()
    console.print(answer(figures), style="bold", markup=False)


def answer(figures: Figures) -> str:
    """The sentence that a reader came for."""
    rows = {row["name"]: row for row in figures["methods"]}
    kelly, careful, asked = rows["kelly"], rows["kelly_with_ruin"], figures["question"]
    if kelly["fraction"] == 0.0:
        return "There is no edge over cash: Kelly holds nothing, and so should you."
    said = (
        f"Kelly would hold {_held(kelly)}, with a chance of {_chance(kelly['below'])} of ever being "
        f"{_percent(asked['fall'])} below the start"
    )
    if careful["fraction"] == kelly["fraction"]:
        return f"{said}: within the {_percent(asked['risk'])} that you accept."
    return f"{said}. To keep that chance at {_percent(asked['risk'])} or less, hold at most {_held(careful)}."


def notes(figures: Figures) -> list[str]:
    """What the columns are, how the figures were made, and what must be known before believing them."""
    asked, rows = figures["question"], figures["methods"]
    fall, ruin, gain = (_percent(share) for share in (asked["fall"], asked["ruin"], asked["goal"] - 1.0))
    worst = max(row[name]["error"] for row in rows for name in ("below", "fell", "ruined", "reached"))
    drawn = f"Monte Carlo (seed {asked['seed']}, standard errors up to {100.0 * worst:.1f} points)"
    said = [
        "Holds: part of wealth. Growth: expected log growth a year; the middle path multiplies wealth by exp(growth). "
        "Vol.: volatility a year.",
        f"Chances: ever {fall} below the start; a fall of {fall} from a peak within a year; ever {ruin} below the "
        f"start, which counts as ruin; a gain of {gain} after {_years(asked['horizon'])}.",
    ]
    if figures["exact"]:
        said.append(f"Closed forms of a geometric Brownian motion; for the target {drawn}.")
    else:
        which = "Bets" if figures["bet"] else "Returns"
        said.append(f"{which} drawn independently of each other, {asked['per_year']:g} a year: {drawn}.")
    if math.isfinite(figures["break_even"]) and figures["break_even"] != 0.0:
        at = _percent(figures["break_even"])
        said.append(f"At {at} of wealth growth is down to that of cash; beyond it is less, at more risk.")
    if figures["best_chance"] is not None:
        like = "" if figures["exact"] else ", of a diffusion with this mean and volatility,"
        said.append(
            f"Target{like} is Browne's policy for the gain: later it holds more the further it is behind, and its "
            f"chances count up to that day. No policy has a better chance than {100.0 * figures['best_chance']:.1f}%."
        )
    if any(row["fraction"] != row["wanted"] for row in rows):
        said.append(f"* wanted more, cut to {asked['cap']:g} times wealth (--cap).")
    if figures["bet"]:
        said.append(f"A losing bet takes {_percent(figures['loss'])} of what is held (--loss).")
    if any(row["fraction"] < 0.0 for row in rows):
        said.append("Below 0 is short: the edge is on that side. Whoever cannot sell short holds nothing.")
    return [*said, "Costs, jumps, losses that come in a row and a wrong edge are not in these figures."]


def _sharpe_line(figures: Figures) -> str:
    measured = not (figures["exact"] or figures["bet"])
    source = "measured over" if measured else "as if known from"
    return f"Sharpe ratio {figures['sharpe']:.2f} a year, {source} {_years(figures['years'])}"


def _held(row: Figures) -> str:
    return f"{100.0 * abs(row['fraction']):.1f}% of wealth" + (" short" if row["fraction"] < 0.0 else "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _years(years: float) -> str:
    return f"{years:.3g} year" + ("" if years == 1.0 else "s")


def _percent(share: float) -> str:
    return f"{100.0 * share:.4g}%"


def _rate(value: float) -> str:
    return "−∞" if value == -math.inf else f"{_tenths(value)}%"


def _tenths(share: float) -> str:
    """In percent, to one digit; never as -0.0."""
    return f"{round(100.0 * share, 1) + 0.0:.1f}"


def _chance(estimate: Any) -> str:
    """A probability to a tenth of a point; what is nearly none or nearly certain does not read as none or certain."""
    value = estimate["value"]
    if 0.0 < value < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= value < 1.0 else f"{100.0 * value:.1f}%"
