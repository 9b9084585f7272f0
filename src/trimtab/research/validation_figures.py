"""The charts of walk-forward and cross-validation, in the report's style."""

from __future__ import annotations

import html
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from trimtab.research import figures
from trimtab.research.choosing import value_at
from trimtab.research.crossval import Crossed
from trimtab.research.validation_page import LINES, PARAMETERS, short_names
from trimtab.research.walkforward import Walked
from trimtab.types import DAY

#: The title and the note of each chart by its name; those of parameters are made.
TITLES: Final = {
    "equity": ("Out-of-sample equity", "one fold after the other, compounded; every second fold is shaded"),
    "metric": ("In-sample and out-of-sample", "the metric of the set chosen, by fold"),
    "fan": ("Paths", "equity of each path from 1, and the mean of all"),
    "sharpes": ("Sharpe of the paths", "annualised"),
}


def sections_of(drawn: dict[str, go.Figure]) -> list[dict[str, Any]]:
    """What the page writes around each chart; timed: its axis is of days."""
    found: list[dict[str, Any]] = []
    for name in drawn:
        title, note = TITLES.get(name, (f"Chosen: {name.removeprefix('chosen ')}", "by fold"))
        timed = name in ("equity", "fan") or name.startswith("chosen ")
        look = "tall" if name in ("equity", "fan") else "short"
        found.append({"name": name, "title": title, "note": note, "timed": timed, "look": look})
    return found


def of_walk(w: Walked) -> dict[str, go.Figure]:
    """Stitched equity over shaded folds, the metric in- and out-of-sample, and each parameter over time."""
    equity = figures.frame("equity", "~s", showlegend=False)
    ts, values = np.concatenate(([w.ts[0] - DAY], w.ts)), w.equity
    at = figures.thin(values)
    x = figures.stamps(ts[at])
    equity.add_trace(figures.line("Out-of-sample", x, values[at], figures.NET, width=2.2, hovertemplate="%{y:,.0f}"))
    look = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 0}, "layer": "below"}
    shade = look | {"fillcolor": figures.HOLDING, "opacity": 0.13}
    edges = [(float(figures.stamps(fold.ts[:1])[0]), float(figures.stamps(fold.ts[-1:])[0])) for fold in w.folds]
    equity.update_layout(shapes=[shade | {"x0": a, "x1": b} for a, b in edges[1::2]])
    found = {"equity": equity}
    inside, outside = (
        [value_at(values, fold.chosen) for fold, values in zip(w.folds, side, strict=True)]
        for side in ([fold.inside for fold in w.folds], [fold.outside for fold in w.folds])
    )
    bars = figures.frame(w.criterion.label, "~g", dates=False, barmode="group")
    number = [str(f + 1) for f in range(len(w.folds))]
    for name, values_of, colour in (("In-sample", inside, figures.HOLDING), ("Out-of-sample", outside, figures.NET)):
        bars.add_trace(go.Bar(x=number, y=_finite(values_of), name=name, marker={"color": colour}))
    bars.update_xaxes(title_text="fold", type="category", showgrid=False)
    found["metric"] = bars
    names = short_names(w.sets)
    for j, path in enumerate(w.sets.names[:PARAMETERS]):
        picks = [w.sets.values[fold.chosen][j] if fold.chosen >= 0 else None for fold in w.folds]
        found[f"chosen {names[path]}"] = _steps(names[path], edges, picks)
    return found


def _steps(name: str, edges: list[tuple[float, float]], picks: list[Any]) -> go.Figure:
    """A parameter over time: level in each fold, a gap where it stands aside."""
    figure = figures.frame(name, "~g", showlegend=False)
    x: list[float | None] = []
    y: list[Any] = []
    for (first, last), pick in zip(edges, picks, strict=True):
        x += [first, last, None]
        y += [pick, pick, None]
    style = {"color": figures.NET, "width": 2.4}
    figure.add_trace(go.Scatter(x=x, y=y, mode="lines", line=style, name=html.escape(name), hovertemplate="%{y}"))
    return figure


def of_paths(c: Crossed) -> dict[str, go.Figure]:
    """The equities of the paths with their mean, and the distribution of their Sharpe."""
    fan = figures.frame("equity, from 1", ".2f", showlegend=False, hovermode="closest")
    ts = np.concatenate(([c.ts[0] - DAY], c.ts))
    curves = np.cumprod(np.hstack([np.ones((len(c.paths), 1)), 1.0 + c.paths]), axis=1)
    mean = curves.mean(axis=0)
    at = figures.thin(mean, limit=500)
    x = figures.stamps(ts[at])
    for p, curve in enumerate(curves[:LINES]):
        fan.add_trace(figures.line(f"path {p + 1}", x, curve[at], figures.HOLDING, width=0.8, hovertemplate="%{y:.2f}"))
    fan.add_trace(figures.line("Mean", x, mean[at], figures.NET, width=2.2, hovertemplate="%{y:.2f}"))
    known = c.sharpes[~np.isnan(c.sharpes)]
    found = {"fan": fan}
    if known.size > 1 and np.ptp(known) > 0.0:
        spread = figures.frame("paths", ",d", dates=False, showlegend=False, bargap=0.08, hovermode="closest")
        count, edges = np.histogram(known, bins=min(30, max(5, known.size // 2)))
        spread.update_yaxes(nticks=min(7, int(count.max()) + 1))
        middle = (edges[1:] + edges[:-1]) / 2.0
        colours = np.where(middle < 0.0, figures.BAD, figures.GOOD).tolist()
        spread.add_trace(
            go.Bar(x=middle, y=count, marker={"color": colours}, hovertemplate="%{x:.2f}: %{y}<extra></extra>")
        )
        spread.update_xaxes(title_text="Sharpe ratio, annual", tickformat=".2f", showgrid=False)
        if np.isfinite(c.hurdle):
            spread.add_vline(x=c.hurdle, line_color=figures.INK, line_width=1.2, line_dash="dash")
        found["sharpes"] = spread
    return found


def _finite(values: list[float]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values]
