"""The chart of `trimtab size`: growth and the chance of loss by size, and where each method stands; one HTML file."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trimtab.types import TrimtabError

if TYPE_CHECKING:
    from trimtab.portfolio.sizing.edges import Law
    from trimtab.portfolio.sizing.methods import Holding, Question

#: Sizes at which the curves are drawn; the chances of a sample are drawn at fewer, on fewer paths.
_POINTS: Final = 161
_SAMPLED: Final = 25
_PATHS: Final = 1_000

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sizes · Trimtab</title>
<style>body {{ margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #1d2939; background: #fff;
font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }} h1 {{ font-size: 1.4rem; margin: 0; }}
.quiet {{ color: #667085; margin: 0.2rem 0 1rem; }} .answer {{ font-weight: 600; }}</style></head>
<body><h1>What each method would hold</h1><p class="quiet">{edge}</p><p class="answer">{answer}</p>
{chart}
{notes}</body></html>
"""


def check_path(path: Path) -> None:
    """TrimtabError, before the work is done, if a page cannot be written there."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise TrimtabError(f"--plot {path}: expected a file name that ends in .html")
    if not path.parent.is_dir():
        raise TrimtabError(f"--plot {path}: there is no folder {path.parent}; make it first")


def write(path: Path, law: Law, question: Question, rows: tuple[Holding, ...], figures: dict[str, Any]) -> None:
    """The page, whole or not at all. It needs no network: plotly is inside."""
    from trimtab.app.console.size import answer, notes
    from trimtab.research.figures import PALETTE

    chart = chart_of(law, question, rows).to_html(full_html=False, include_plotlyjs=True, config={"responsive": True})
    for placeholder, (light, _) in PALETTE.items():
        chart = chart.replace(placeholder, light)
    said = "".join(f'<p class="quiet">{html.escape(note)}</p>' for note in notes(figures))
    page = _PAGE.format(edge=html.escape(figures["edge"]), answer=html.escape(answer(figures)), chart=chart, notes=said)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)


def chart_of(law: Law, q: Question, rows: tuple[Holding, ...]) -> Any:
    """Growth a year by the fraction held, each method a mark on it, beside the chance of ever being `fall` down."""
    import plotly.graph_objects as go

    from trimtab.portfolio.sizing.chances import growth_rate, prob_ever_below
    from trimtab.portfolio.sizing.edges import Draws, Edge
    from trimtab.research.figures import BAD, INK, MUTED, NET, frame, line

    low, high = _reach(law, q, rows)
    sizes = np.linspace(low, high, _POINTS)
    growth = np.array([growth_rate(law, float(f)) * q.per_year for f in sizes])
    growth[~np.isfinite(growth)] = np.nan
    few = sizes if isinstance(law, Edge) else np.linspace(low, high, _SAMPLED)
    draws = Draws(_PATHS, q.draws.steps, q.draws.seed)
    chance = [prob_ever_below(law, float(f), 1.0 - q.fall, draws).value for f in few]
    figure = frame("growth of log wealth a year", ".1%", dates=False, height=560)
    figure.update_layout(hovermode="closest", margin={"l": 8, "r": 70, "t": 60, "b": 8})
    figure.add_trace(line("Growth", sizes, growth, NET, width=2.2, hovertemplate="%{x:.0%}: %{y:.2%} a year"))
    figure.add_trace(
        line(f"Ever {100 * q.fall:.4g}% down", few, np.array(chance), BAD, dash="dot", yaxis="y2",
             hovertemplate="%{x:.0%}: %{y:.1%}")
    )  # fmt: skip
    held = [row for row in rows if math.isfinite(row.growth)]
    figure.add_trace(
        go.Scatter(
            name="Methods",
            x=[row.fraction for row in held],
            y=[row.growth for row in held],
            mode="markers",
            marker={"size": 10, "color": INK},
            text=[html.escape(row.label) for row in held],
            hovertemplate="%{text}: %{x:.1%} of wealth, %{y:.2%} a year<extra></extra>",
        )
    )
    for k, row in enumerate(sorted(held, key=lambda row: row.fraction)):  # names alternate, so neighbours part
        figure.add_annotation(
            x=row.fraction, y=row.growth, text=html.escape(row.label), showarrow=True, arrowhead=0, arrowcolor=MUTED,
            ax=0, ay=(-34, 34, -58, 58)[k % 4], font={"size": 11, "color": INK},
        )  # fmt: skip
    figure.update_xaxes(title_text="held, of wealth", tickformat=".0%", nticks=11)
    figure.update_layout(
        yaxis2={
            "overlaying": "y", "side": "right", "range": [0.0, 1.05], "tickformat": ".0%", "showgrid": False,
            "title": {"text": f"chance of ever being {100 * q.fall:.4g}% down", "font": {"size": 12, "color": MUTED}},
            "tickfont": {"size": 12, "color": MUTED},
        }
    )  # fmt: skip
    return figure


def _reach(law: Law, q: Question, rows: tuple[Holding, ...]) -> tuple[float, float]:
    """The sizes that the chart spans: from nothing (or the largest short) past every method and past break-even."""
    from trimtab.portfolio.sizing.chances import break_even_fraction
    from trimtab.portfolio.sizing.edges import Edge, ruin_fractions

    ends = [row.fraction for row in rows if math.isfinite(row.growth)]
    even = break_even_fraction(law)
    ends += [math.copysign(min(abs(even), 1.5 * max(map(abs, ends))), even)]
    low, high = min(0.0, 1.1 * min(ends)), max(0.0, 1.1 * max(ends))
    if not isinstance(law, Edge):
        short, long = ruin_fractions(law)
        low, high = max(low, 0.999 * short), min(high, 0.999 * long)
    return (low, high) if high > low else (0.0, 1.0)
