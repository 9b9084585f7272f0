"""How different parts of a book are, as words, as plain values and as one HTML page that opens without a network."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trimtab.research.orthogonality import ALIKE, Contribution, Orthogonality
from trimtab.types import F64
from trimtab.words import day_of

if TYPE_CHECKING:
    from pathlib import Path

#: Height of a heat-map: pixels for each part, and for the rest.
_ROW, _FRAME = 34, 110
#: Names are cut to this length beside a heat-map.
_NAME: Final = 24
#: Pairs that a note names.
PAIRS: Final = 4


def headline(found: Orthogonality) -> str:
    """The answer in one sentence."""
    told = f"{len(found.parts)} parts on {found.days:,} common days are worth {number(found.bets_entropy, 1)} bets"
    if math.isnan(found.bets_entropy):
        return f"{len(found.parts)} parts on {found.days:,} common days: none of them ever moved."
    pair = most_alike(found)
    if pair is None:
        return f"{told}: only one of them ever moved."
    a, b, rho = pair
    return f"{told}; the most alike are {a} and {b}, with a correlation of {number(rho)}."


def most_alike(found: Orthogonality) -> tuple[str, str, float] | None:
    """The two parts with the highest correlation of returns; None where no two are known."""
    pairs = np.where(np.triu(np.ones(found.returns.shape, np.bool_), 1), found.returns, np.nan)
    if np.isnan(pairs).all():
        return None
    a, b = divmod(int(np.nanargmax(pairs)), len(pairs))
    return found.names[a], found.names[b], float(pairs[a, b])


def notes_of(found: Orthogonality) -> list[str]:
    """What must be known to read the figures."""
    notes: list[str] = []
    still = [part.name for part in found.parts if math.isnan(part.sharpe)]
    if still:
        notes.append(
            f"{', '.join(still)}: the returns never move on these days, so it is no bet and correlates with none"
        )
    for reason in dict.fromkeys(why for _, _, why in found.unknown):
        pairs = [f"{a} and {b}" for a, b, why in found.unknown if why == reason]
        more = f", and {len(pairs) - PAIRS} more pairs" if len(pairs) > PAIRS else ""
        notes.append(f"no correlation of forecasts: {reason} ({'; '.join(pairs[:PAIRS])}{more})")
    error = 1.0 / math.sqrt(found.days)
    notes.append(f"with {found.days:,} days a correlation of 0 is measured as 0 ± {error:.2f} (standard error)")
    return notes


def number(value: float, places: int = 2) -> str:
    """A figure, or an en dash where there is none."""
    return "–" if math.isnan(value) else f"{round(value, places) + 0.0:.{places}f}"  # no -0.00


def plain(found: Orthogonality) -> dict[str, Any]:
    """Everything as plain values for JSON."""
    return {
        "verdict": headline(found),
        "names": list(found.names),
        "first": day_of(found.first),
        "last": day_of(found.last),
        "days": found.days,
        "periods": found.periods,
        "sharpe": found.sharpe,
        "bets": {"entropy": found.bets_entropy, "correlation": found.bets_correlation},
        "average_correlation": found.average,
        "clusters": found.clusters,
        "parts": [part._asdict() for part in found.parts],
        "returns": found.returns.tolist(),
        "forecasts": found.forecasts.tolist(),
        "notes": notes_of(found),
    }


def render_page(found: Orthogonality) -> str:
    """The page as text."""
    from trimtab.research.pages import render

    charts = {"returns": heat_map(found, found.returns)}
    if np.isfinite(found.forecasts[~np.eye(len(found.parts), dtype=np.bool_)]).any():
        charts["forecasts"] = heat_map(found, found.forecasts)
    return render(
        "orthogonality.html.j2",
        charts,
        verdict=headline(found),
        alike=found.clusters < len(found.parts),
        span=f"{day_of(found.first)} to {day_of(found.last)}, {found.days:,} common days",
        notes=notes_of(found),
        tiles=(
            ("Effective bets, entropy", number(found.bets_entropy, 1), f"of {len(found.parts)} parts"),
            ("Effective bets, correlation", number(found.bets_correlation, 1), f"average {number(found.average)}"),
            ("Clusters", str(found.clusters), f"correlated by {ALIKE} or more"),
            ("Sharpe of the book", number(found.sharpe), f"daily, annualised by {found.periods:g}"),
        ),
        height=_FRAME + _ROW * len(found.parts),
        rows=[row_of(part) for part in found.parts],
        names={name: name in charts for name in ("returns", "forecasts")},
    )


def row_of(part: Contribution) -> dict[str, str]:
    """One line of the table of parts."""
    figures = ("sharpe", "correlation", "earned", "risk", "euler", "drop_one")
    return {
        "name": part.name,
        "share": f"{part.share:.1%}",
        "cluster": str(part.cluster + 1),
        **{name: number(getattr(part, name)) for name in figures},
    }


def heat_map(found: Orthogonality, rho: F64) -> Any:
    """Correlations of parts: blue together, red against each other, blank where there is none."""
    import plotly.graph_objects as go

    from trimtab.research import figures

    names = [f"{k}. {name if len(name) <= _NAME else name[: _NAME - 1] + '…'}" for k, name in enumerate(found.names, 1)]
    shown = [html.escape(name) for name in names]
    figure = figures.frame("", "", dates=False, hovermode="closest", showlegend=False)
    turned = rho[::-1]
    figure.add_trace(
        go.Heatmap(
            x=shown,
            y=shown[::-1],
            z=[[None if math.isnan(v) else round(v, 4) for v in row] for row in turned.tolist()],
            zmin=-1.0,
            zmax=1.0,
            colorscale=[[0.0, figures.BAD], [0.5, figures.CARD], [1.0, figures.NET]],
            xgap=2,
            ygap=2,
            text=[[number(v) for v in row] for row in turned.tolist()],
            texttemplate="%{text}" if len(names) <= 16 else None,
            textfont={"size": 12},  # its colour is chosen against the cell
            hovertemplate="%{y}<br>%{x}<br>%{text}<extra></extra>",
            showscale=False,
        )
    )
    look = {"size": 12, "color": figures.INK}
    figure.update_layout(margin={"t": 8})
    figure.update_xaxes(type="category", showgrid=False, tickfont=look, nticks=len(names))
    figure.update_yaxes(type="category", tickformat=None, showgrid=False, tickfont=look, nticks=len(names))
    return figure


def write(found: Orthogonality, path: Path) -> None:
    """The page at a path, whole or not at all."""
    from trimtab.research import pages

    pages.write_page(render_page(found), path)
