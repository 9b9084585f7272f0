"""The report's charts as plotly figures: each a function of ReportData.

Colours are placeholders from PALETTE that the page swaps for its light or dark value, so one figure serves both. Long
series are thinned for drawing only (every bucket keeps its lowest and highest point); the numbers never are.
"""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import plotly.graph_objects as go

from trimtab.research.drawdown import underwater
from trimtab.research.ratios import equity_from_returns, is_flat, period_returns, returns_from_equity, tails
from trimtab.types import DAY, F64, I64

Styled = tuple[str, F64, str, dict[str, Any]]  # name, values, colour, line style

if TYPE_CHECKING:
    from trimtab.research.report import Fills, Prices, ReportData

#: Points of a line that are drawn at most, bars of a candle chart, and fills marked on one price chart.
POINTS: Final = 2_000
CANDLES: Final = 2_000
MARKS: Final = 3_000
BANDS: Final = 1_000
COLUMNS: Final = 400
ROLLING: Final = 126
#: Instruments and models of which the slippage is drawn; the table has all of them.
MOST_BARS: Final = 12

#: placeholder -> (light, dark)
PALETTE: Final[dict[str, tuple[str, str]]] = {
    "#f00001": ("#1d2939", "#e6e9ef"),  # ink
    "#f00002": ("#667085", "#9aa4b5"),  # muted
    "#f00003": ("#e6e9ee", "#2a3240"),  # grid
    "#f00004": ("#1d5fd1", "#78a9ff"),  # net
    "#f00005": ("#0d9488", "#5eead4"),  # gross
    "#f00006": ("#98a2b3", "#7d8798"),  # holding
    "#f00007": ("#0a7f56", "#4cc38a"),  # good
    "#f00008": ("#c4320a", "#ff8a65"),  # bad
    "#f00009": ("#dbe7fb", "#20324f"),  # net, as a surface
    "#f00010": ("#7a4fd0", "#b794f6"),
    "#f00011": ("#c2610c", "#f0a35e"),
    "#f00012": ("#a3266b", "#f08cc0"),
    "#f00013": ("#5d7a0f", "#b5d154"),
    "#f00014": ("#8a6d00", "#e0c14a"),
    "#f00015": ("#ffffff", "#161c26"),  # card
}
INK, MUTED, GRID, NET, GROSS, HOLDING, GOOD, BAD, NET_SURFACE = list(PALETTE)[:9]
CARD: Final = "#f00015"
#: What a regime's label is to a reader -> its colour.
TONES: Final = {"good": GOOD, "bad": BAD, "high": "#f00011"}
#: Shares of a limit beyond this look alike; where the colours of the heat-map stand between 0 and it.
SHOWN: Final = 1.2
HEAT: Final = (
    (0.0, CARD),
    (0.5 / SHOWN, NET_SURFACE),
    (0.9 / SHOWN, NET),
    (0.9 / SHOWN + 1e-6, "#f00011"),
    (1.0 / SHOWN, "#f00011"),
    (1.0 / SHOWN + 1e-6, BAD),
    (1.0, BAD),
)
MODEL_COLOURS: Final = (NET, "#f00011", GROSS, "#f00010", "#f00012", "#f00013", "#f00014", BAD)


def figures(data: ReportData) -> dict[str, go.Figure]:
    """Every chart of the page by name, but for the prices; those without anything to show are left out."""
    found = {
        "equity": equity(data),
        "underwater": drawdown(data),
        "rolling": rolling_sharpe(data),
        "distribution": distribution(data),
        "exposure": exposure(data),
        "limits": limits(data),
        "costs": costs(data),
        "execution": execution(data),
        "contribution": contribution(data),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def frame(y_title: str, y_format: str, *, dates: bool = True, **more: Any) -> go.Figure:
    """An empty figure in the page's style: axes with units, unified hover, legend above."""
    axis: dict[str, Any] = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "automargin": True,
        "ticks": "",
        "tickfont": {"size": 12, "color": MUTED},
        "title": {"font": {"size": 12, "color": MUTED}, "standoff": 8},
    }
    x: dict[str, Any] = {"type": "date", "showgrid": False, "hoverformat": "%a %d %b %Y"} if dates else {}
    layout: dict[str, Any] = {
        "template": {},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 12, "color": INK},
        "margin": {"l": 8, "r": 10, "t": 34, "b": 8},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": CARD, "bordercolor": GRID, "font": {"color": INK, "size": 12}},
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 12}},
        "xaxis": axis | x,
        "yaxis": axis | {"title": axis["title"] | {"text": y_title}, "tickformat": y_format, "nticks": 7},
        "dragmode": "zoom",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": NET},
    }
    return go.Figure(layout=layout | more)


def thin(*series: F64, limit: int = POINTS) -> I64:
    """About `limit` indices that keep the ends, and each bucket's lowest and highest point of every series."""
    n = series[0].size
    if n <= limit:
        return np.arange(n)
    edges = np.linspace(0, n, max(limit // (2 * len(series)), 1) + 1).astype(np.int64)
    kept = [np.array([0, n - 1])]
    for values in series:
        for low, high in itertools.pairwise(edges):
            part = values[low:high]
            if not np.isnan(part).all():
                kept.append(low + np.array([np.nanargmin(part), np.nanargmax(part)]))
    return np.unique(np.concatenate(kept)).astype(np.int64)


def stamps(ts: I64, daily: bool = True) -> F64:
    """Milliseconds for a date axis; a day end of 00:00 is shown as the day that it ends."""
    shown = (ts - 1) // DAY * DAY if daily else ts
    return shown / 1e6


def net_returns(data: ReportData) -> F64:
    """(D,) daily simple returns after costs."""
    return returns_of(data, data.equity)


def returns_of(data: ReportData, values: F64) -> F64:
    """(D,) daily simple returns of a curve of money (D,) that began at the capital, without the cash paid in.

    A curve that comes to zero or below is lost from there on: a return of -1 and then none, whatever is owed.
    """
    lost = np.logical_or.accumulate(values <= 0.0)
    flows = None if data.flows is None else np.where(lost, 0.0, data.flows)
    return returns_from_equity(np.concatenate(([data.capital], np.where(lost, 0.0, values))), flows)


def fall_of(data: ReportData, values: F64) -> F64:
    """(D,) how far such a curve is below its peak; where cash was paid in, that of its compounded returns."""
    grown = equity_from_returns(returns_of(data, values))
    is_whole = data.flows is None and bool((values > 0.0).all())
    return underwater(np.concatenate(([data.capital], values)) if is_whole else grown)[1:]


def line(name: str, x: F64, y: F64, colour: str, **more: Any) -> go.Scatter:
    """One line with its value in the unified hover; names are shown literally."""
    style = {"color": colour, "width": more.pop("width", 1.6), "dash": more.pop("dash", "solid")}
    return go.Scatter(name=html.escape(name), x=x, y=y, mode="lines", line=style, **more)


# ---------------------------------------------------------------------------------------------------------------------
# The book
# ---------------------------------------------------------------------------------------------------------------------


def equity(data: ReportData) -> go.Figure:
    figure = frame(f"equity, {data.currency}", "~s")
    ts = np.concatenate(([data.ts[0] - DAY], data.ts))
    curves: list[Styled] = [("Net of costs", data.equity, NET, {"width": 2.2, "zorder": 2})]
    if not np.array_equal(data.equity, data.equity_gross):
        curves.append(("Before costs", data.equity_gross, GROSS, {"dash": "dot"}))
    if data.holding is not None:
        curves.append(("Holding", data.holding, HOLDING, {}))
    curves = [(name, np.concatenate(([data.capital], values)), colour, style) for name, values, colour, style in curves]
    at = thin(*(values for _, values, _, _ in curves))
    for name, values, colour, style in curves:
        figure.add_trace(line(name, stamps(ts[at]), values[at], colour, hovertemplate="%{y:,.0f}", **style))
    figure.update_layout(shapes=bands(data))
    return figure


def bands(data: ReportData) -> list[dict[str, Any]]:
    """Rectangles behind a chart over time, one strip per regime; of very many the longest."""
    names = list(dict.fromkeys(s.regime for s in data.regimes))
    found: list[dict[str, Any]] = []
    for stretches in data.regimes:
        if not stretches.tone:
            continue
        top = 1.0 - names.index(stretches.regime) / len(names)
        strip = {"yref": "paper", "y0": top - 1.0 / len(names), "y1": top, "line": {"width": 0}, "layer": "below"}
        look = {"type": "rect", "fillcolor": TONES[stretches.tone], "opacity": 0.13, **strip}
        for first, last in zip(stamps(stretches.start), stamps(stretches.end), strict=True):
            found.append(look | {"x0": float(first), "x1": float(last)})
    return sorted(found, key=lambda shape: shape["x0"] - shape["x1"])[:BANDS]


def drawdown(data: ReportData) -> go.Figure:
    figure = frame("below the peak, %", ".0%")
    net = fall_of(data, data.equity)
    falls = [net]
    if data.holding is not None:
        falls.append(fall_of(data, data.holding))
    at = thin(*falls)
    x = stamps(data.ts[at])
    fill = {"fill": "tozeroy", "fillcolor": NET_SURFACE}
    figure.add_trace(line("Net of costs", x, net[at], NET, hovertemplate="%{y:.1%}", **fill))
    if len(falls) > 1:
        figure.add_trace(line("Holding", x, falls[1][at], HOLDING, width=1.2, hovertemplate="%{y:.1%}"))
    return figure


def rolling_sharpe(data: ReportData) -> go.Figure | None:
    """Sharpe of the last ROLLING days; windows without any movement are gaps."""
    if data.ts.size < ROLLING + 20:
        return None
    figure = frame("Sharpe ratio, annual", ".1f")
    curves: list[Styled] = [("Net of costs", data.equity, NET, {"width": 1.8, "zorder": 2})]
    if data.holding is not None:
        curves.append(("Holding", data.holding, HOLDING, {"width": 1.2}))
    ends = np.unique(np.linspace(ROLLING - 1, data.ts.size - 1, min(POINTS, data.ts.size)).astype(np.int64))
    for name, values, colour, style in curves:
        r = returns_of(data, values)
        windows = r[ends[:, None] + np.arange(1 - ROLLING, 1)]
        deviation = windows.std(axis=1, ddof=1)
        deviation[np.ptp(windows, axis=1) <= 1e-12 * np.abs(windows).max(axis=1)] = np.nan
        ratio = windows.mean(axis=1) / deviation * np.sqrt(data.periods)
        figure.add_trace(line(name, stamps(data.ts[ends]), ratio, colour, hovertemplate="%{y:.2f}", **style))
    figure.add_hline(y=0.0, line_color=MUTED, line_width=1)
    return figure


def distribution(data: ReportData) -> go.Figure | None:
    """Daily net returns in bins, with VaR and CVaR of all days; the outermost bins hold all that lies beyond.

    Days of exactly 0 are not drawn; the page says how many there were.
    """
    r = net_returns(data)
    tail = tails(r)
    r = r[r != 0.0]  # a book that is often out of the market would show one bar and nothing else
    if is_flat(r):
        return None
    low, high = np.quantile(r, [0.001, 0.999])
    reach = max(abs(float(low)), abs(float(high)), float(r.std()))
    edges = np.linspace(-reach, reach, 61)
    count, _ = np.histogram(np.clip(r, -reach, reach), edges)
    middle = (edges[1:] + edges[:-1]) / 2.0
    figure = frame("days", ",d", dates=False, showlegend=False, bargap=0.08, hovermode="closest")
    colours = np.where(middle < 0.0, BAD, GOOD).tolist()
    figure.add_trace(
        go.Bar(
            x=middle,
            y=count,
            marker={"color": colours},
            name="days",
            hovertemplate="%{x:.2%}: %{y} days<extra></extra>",
        )
    )
    figure.update_xaxes(tickformat=".1%", title_text="return of a day, %", showgrid=False, nticks=9)
    for name, value, place, anchor in (("VaR 95%", tail.var, 1.0, "left"), ("CVaR 95%", tail.cvar, 1.0, "right")):
        figure.add_vline(x=value, line_color=INK, line_width=1.2, line_dash="dash")
        figure.add_annotation(
            x=value,
            y=place,
            yref="paper",
            yanchor="bottom",
            xanchor=anchor,
            text=f"{name} {value:.2%}",
            showarrow=False,
            font={"size": 12, "color": INK},
        )
    return figure


def exposure(data: ReportData) -> go.Figure:
    figure = frame("share of equity, %", ".0%", showlegend=True)
    at = thin(data.gross_exposure, data.net_exposure)
    x = stamps(data.ts[at])
    curves = [("Gross", data.gross_exposure, HOLDING), ("Net", data.net_exposure, NET)]
    if np.array_equal(data.gross_exposure, data.net_exposure):
        curves = [("Gross and net, long only", data.net_exposure, NET)]
    for name, values, colour in curves:
        figure.add_trace(line(name, x, values[at], colour, width=1.3, hovertemplate="%{y:.1%}"))
    figure.update_yaxes(rangemode="tozero")
    return figure


def limits(data: ReportData) -> go.Figure | None:
    """Limits by time: the share of each in use, the most of every day, or of the days that one column stands for.

    From the colour of the card (nothing in use) to blue; a warning from 90% on, and red beyond the bound.
    """
    if not data.usage:
        return None
    figure = frame("", "", hovermode="closest", showlegend=False)
    days = data.ts.size
    begins = np.unique(np.linspace(0, days, min(days, COLUMNS) + 1).astype(np.int64)[:-1])
    rows = data.usage[::-1]  # the first on top
    used = np.array([np.maximum.reduceat(u.used, begins) for u in rows])
    ends = np.append(begins[1:], days) - 1
    first, last = (stamps(data.ts[at]).astype("M8[ms]").astype("M8[D]").astype(str) for at in (begins, ends))
    spans = [a if a == b else f"{a} to {b}" for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    text = [[f"{v:.0%}" if v < np.inf else "without end" for v in row] for row in used.tolist()]
    figure.add_trace(
        go.Heatmap(
            x=stamps(data.ts[ends]),
            y=[html.escape(u.title.replace("_", " ")) for u in rows],
            z=np.round(np.minimum(used, SHOWN), 4),
            zmin=0.0,
            zmax=SHOWN,
            colorscale=[list(stop) for stop in HEAT],
            ygap=3,
            text=text,
            customdata=[spans] * len(rows),
            hovertemplate="%{y}<br>%{customdata}<br>at most %{text} in use<extra></extra>",
            colorbar={
                "tickvals": [0.0, 0.5, 0.9, 1.0, SHOWN],
                "ticktext": ["0%", "50%", "90%", "100%", "over"],
                "thickness": 10,
                "outlinewidth": 0,
                "tickfont": {"size": 12, "color": MUTED},
            },
        )
    )
    figure.update_yaxes(tickformat=None, showgrid=False, nticks=len(rows), tickfont={"size": 12, "color": INK})
    return figure


def costs(data: ReportData) -> go.Figure | None:
    """What was paid, by kind, and what internal crossing saved."""
    rows = [(kind.capitalize(), paid, BAD if paid > 0.0 else GOOD) for kind, paid in data.cost_kinds.items() if paid]
    if data.crossing_saved:
        rows.append(("Saved by crossing", data.crossing_saved, GOOD))
    if not rows:
        return None
    total = sum(data.cost_kinds.values())
    names, values, colours = (list(column) for column in zip(*reversed(rows), strict=True))
    text = [f"{value:,.0f}" + (f" ({value / total:.0%})" if colour == BAD else "") for _, value, colour in rows[::-1]]
    figure = frame("", "", dates=False, showlegend=False, hovermode="closest")
    bar = {"color": colours}
    template = f"%{{y}}: %{{x:,.2f}} {html.escape(data.currency)}<extra></extra>"
    figure.add_trace(
        go.Bar(
            x=values,
            y=names,
            orientation="h",
            marker=bar,
            text=text,
            textposition="outside",
            cliponaxis=False,
            hovertemplate=template,
        )
    )
    reach = max(max(values), -min(values))  # funding may have been earned
    low = -1.3 * reach if min(values) < 0.0 else 0.0
    figure.update_xaxes(title_text=f"money, {data.currency}", tickformat="~s", range=[low, 1.3 * reach], nticks=6)
    figure.update_yaxes(tickformat=None, showgrid=False, tickfont={"size": 12, "color": INK})
    return figure


def execution(data: ReportData) -> go.Figure | None:
    """Slippage of each instrument and model against the two prices, basis points of notional."""
    rows = [r for r in data.execution if r["decision_slippage"] is not None or r["arrival_slippage"] is not None]
    if not rows:
        return None
    figure = frame("", "", dates=False, hovermode="closest", barmode="group")
    names = [html.escape(str(r["name"] or "the book")) for r in rows[::-1]][-MOST_BARS:]
    for key, label, colour in (("arrival", "against arrival", GROSS), ("decision", "against the decision", NET)):
        values = [None if (x := r[f"{key}_slippage"]) is None else 1e4 * x for r in rows[::-1]][-MOST_BARS:]
        figure.add_trace(
            go.Bar(
                name=label, x=values, y=names, orientation="h", marker={"color": colour},
                hovertemplate=f"%{{y}}, {label}: %{{x:,.2f}} bps<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(title_text="slippage, bps of notional (positive: paid)", tickformat="~f", nticks=7)
    figure.update_yaxes(tickformat=None, showgrid=False, tickfont={"size": 12, "color": INK})
    return figure


def contribution(data: ReportData) -> go.Figure | None:
    """Cumulative net profit of each model and of all of them."""
    if not data.models:
        return None
    figure = frame(f"net profit, {data.currency}", "~s")
    whole = data.pnl.sum(axis=1)
    at = thin(*data.pnl.T[:4], whole)
    x = stamps(data.ts[at])
    for i, name in enumerate(data.models):
        colour = MODEL_COLOURS[i % len(MODEL_COLOURS)]
        figure.add_trace(line(name, x, data.pnl[at, i], colour, hovertemplate="%{y:,.0f}"))
    if len(data.models) > 1:
        figure.add_trace(line("All", x, whole[at], INK, dash="dot", hovertemplate="%{y:,.0f}"))
    figure.add_hline(y=0.0, line_color=MUTED, line_width=1)
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Prices and fills
# ---------------------------------------------------------------------------------------------------------------------

_MARKS: Final = (  # (name, bought, opens, symbol, colour)
    ("Buy, opens", True, True, "triangle-up", GOOD),
    ("Sell, closes", False, False, "triangle-down-open", BAD),
    ("Sell, opens", False, True, "triangle-down", BAD),
    ("Buy, closes", True, False, "triangle-up-open", GOOD),
)


def price_chart(prices: Prices, fills: Fills | None) -> go.Figure:
    """Candles (or a line where there are many bars, or closes only) with the fills on them."""
    daily = prices.ts.size < 2 or int(np.median(np.diff(prices.ts))) >= DAY
    figure = frame(f"price, {prices.quote}", ",~f")
    if not daily:
        figure.update_xaxes(hoverformat="%a %d %b %Y %H:%M")
    if prices.ts.size <= CANDLES and prices.open is not None and not prices.close_only:
        figure.add_trace(
            go.Candlestick(
                x=stamps(prices.ts, daily),
                open=prices.open,
                high=prices.high,
                low=prices.low,
                close=prices.close,
                name=html.escape(prices.symbol),
                increasing={"line": {"color": GOOD, "width": 1}},
                decreasing={"line": {"color": BAD, "width": 1}},
                opacity=0.7,
            )
        )
        figure.update_xaxes(rangeslider_visible=False)
    else:
        at = thin(prices.close, limit=4 * POINTS)
        x, y = stamps(prices.ts[at], daily), prices.close[at]
        figure.add_trace(line(prices.symbol, x, y, HOLDING, width=1.3, hovertemplate="%{y:,.6~g}"))
    ends = stamps(prices.ts[[0, -1]], daily)  # markers would otherwise push the axis years beyond the prices
    figure.update_xaxes(autorangeoptions={"clipmin": ends[0], "clipmax": ends[1]})
    if fills is not None and fills.ts.size:
        _mark_fills(figure, fills, daily)
    return figure


def _mark_fills(figure: go.Figure, fills: Fills, daily: bool) -> None:
    recent = np.zeros(fills.ts.size, np.bool_)
    recent[np.argsort(fills.ts, kind="stable")[-MARKS:]] = True
    for name, bought, opens, symbol, colour in _MARKS:
        at = np.flatnonzero(recent & ((fills.quantity > 0.0) == bought) & (fills.opens == opens))
        if at.size == 0:
            continue
        figure.add_trace(
            go.Scatter(
                name=name,
                x=stamps(fills.ts[at], daily),
                y=fills.price[at],
                mode="markers",
                marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.4, "color": colour}},
                text=[_describe_fill(fills, int(i)) for i in at],
                hovertemplate="%{text}",
            )
        )


def _describe_fill(fills: Fills, i: int) -> str:
    profit = float(fills.pnl[i])
    words = [fills.model[i], f"{fills.quantity[i]:+,.6g} at {fills.price[i]:,.6g}", fills.reason[i]]
    if not np.isnan(profit):
        words.append(f"pnl {profit:+,.0f}")
    return html.escape(" · ".join(word for word in words if word))


def years_of_months(data: ReportData) -> tuple[list[int], F64, F64]:
    """Net returns by month for the heat-map: years (Y,), months (Y, 12) and whole years (Y,); NaN: no day in it."""
    r = net_returns(data)
    number, value = period_returns(r, data.ts)
    year, total = period_returns(r, data.ts, "Y")
    table = np.full((int(year[-1] - year[0]) + 1, 12), np.nan)
    table[number // 12 - year[0], number % 12] = value
    whole = np.full(table.shape[0], np.nan)
    whole[year - year[0]] = total
    return list(range(int(year[0]) + 1970, int(year[-1]) + 1971)), table, whole
