"""The verdict as one HTML page that opens without a network: every test, its threshold, its figure and its meaning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trimtab.research.court.case import Case
from trimtab.research.court.finding import ABSENT, FAILED, PASSED, SHORT, TOLD, Finding
from trimtab.research.court.stress import Stressed
from trimtab.research.court.verdict import FAIL, PASS, Verdict
from trimtab.research.robustness.outcome import Outcome
from trimtab.types import F64
from trimtab.words import day_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Trials from which their spread is worth a chart.
_FEW: Final = 5
#: How an outcome looks.
_GRADES: Final = {PASSED: "good", FAILED: "weak", SHORT: "doubt", ABSENT: "quiet", TOLD: "quiet"}
_TONES: Final = {PASS: "beats", FAIL: "lags"}


def headline(verdict: Verdict) -> str:
    """The answer in one sentence."""
    told = f"{verdict.word}. {'; '.join(verdict.reasons[:1])}."
    if verdict.concerns:
        told += f" {len(verdict.concerns)} concern{'s' if len(verdict.concerns) > 1 else ''} beside it."
    return told


def render_page(verdict: Verdict, case: Case, stressed: Stressed | None) -> str:
    """The page as text; without stress tests it has the charts of the record alone."""
    from trimtab.research.pages import render

    charts = {"equity": equity_chart(case)}
    if max(count.trials for count in case.counts) >= _FEW:
        charts["trials"] = trials_chart(case)
    if stressed is not None:
        charts |= {name: figure for name, figure in stress_charts(stressed).items() if figure is not None}
    bar = case.annual(case.strictest.hurdle)
    sharpe = verdict.sharpe
    return render(
        "verdict.html.j2",
        charts,
        verdict=verdict,
        headline=headline(verdict),
        tone=_TONES.get(verdict.word, ""),
        rows=[_row(finding) for finding in verdict.findings],
        hurdles=[(c, f"{case.annual(c.hurdle):.2f}", f"{case.annual(math.sqrt(c.variance)):.2f}") for c in case.counts],
        tiles=(
            ("Verdict", verdict.word, f"{verdict.days:,} days"),
            ("Sharpe", "–" if sharpe is None else f"{sharpe:.2f}", "annualised, net of costs"),
            ("To beat", f"{bar:.2f}", "the best of all trials without skill"),
            ("Trials", f"{max(c.trials for c in case.counts):,}", f"{verdict.entries:,} entries in the ledger"),
        ),
        span=f"{day_of(case.run.ts[0])} to {day_of(case.run.ts[-1])}",
        periods=_periods(stressed),
        shown=tuple(charts),
    )


def _row(finding: Finding) -> dict[str, str]:
    sign = "at least" if finding.at_least else "at most"
    return {
        "title": finding.title,
        "kind": "decides" if finding.decides else "",
        "outcome": finding.outcome,
        "grade": _GRADES[finding.outcome],
        "figure": _shown(finding.figure),
        "threshold": f"{sign} {_shown(finding.threshold)}" if finding.threshold is not None else "",
        "told": finding.told,
        "needed": finding.needed,
    }


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    if abs(value) >= 1_000 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 1e-3 else f"{value:.1e}"


def _periods(stressed: Stressed | None) -> list[dict[str, str]]:
    rows = stressed.periods.rows if stressed is not None else ()
    return [
        {
            "by": row.by,
            "name": row.name,
            "days": f"{row.days:,}",
            "total": _percent(row.total_return),
            "sharpe": "–" if math.isnan(row.sharpe) else f"{row.sharpe:.2f}",
            "drawdown": _percent(row.max_drawdown),
            "share": _percent(row.share),
        }
        for row in rows
    ]


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


# --- charts ----------------------------------------------------------------------------------------------------------


def equity_chart(case: Case) -> go.Figure:
    """Equity at day ends beside holding the same instruments."""
    from trimtab.research import figures

    curves = case.run.curves
    figure = figures.frame("equity", ",.0f")
    days = curves.ts.astype("M8[ns]").astype("M8[s]").astype(str).tolist()
    _line(figure, days, curves.equity, "net of costs", figures.NET)
    _line(figure, days, curves.holding, "holding", figures.HOLDING)
    return figure


def trials_chart(case: Case) -> go.Figure:
    """The Sharpe of every trial by the strictest count, the record's own, and what the best shows by chance."""
    import plotly.graph_objects as go

    from trimtab.research import figures

    figure = figures.frame("trials", ",d", dates=False, hovermode="closest", showlegend=False)
    those = case.trials if case.strictest.scope == "hypothesis" else case.family
    sharpe = those.sharpe[~np.isnan(those.sharpe)] * math.sqrt(case.periods)
    figure.add_trace(go.Histogram(x=sharpe.tolist(), nbinsx=40, marker={"color": figures.HOLDING}))
    own, bar = case.annual(case.moments.sharpe), case.annual(case.strictest.hurdle)
    marks = (("this record", own, figures.NET), ("best of all without skill", bar, figures.BAD))
    for name, at, colour in marks:
        if not math.isnan(at):
            figure.add_vline(x=at, line={"color": colour, "width": 2}, annotation={"text": name})
    figure.update_xaxes(title={"text": "annual Sharpe"}, tickformat=".2f")
    return figure


def stress_charts(of: Stressed) -> dict[str, go.Figure | None]:
    """What the other runs came to."""
    return {
        "costs": _curve(of.costs.multiples, of.costs.outcomes, "times the costs"),
        "capacity": _curve(of.capacity.capitals, of.capacity.outcomes, "capital", log=True),
        "noise": _spread(np.array(of.noise.sharpes), of.noise.centre.sharpe, "with noise in prices"),
        "entries": _spread(np.array(of.entries.sharpes), of.entries.rebuilt.sharpe, "entered at random"),
        "starts": _starts(of),
        "jitter": _jitter(of),
    }


def _curve(x: tuple[float, ...], outcomes: tuple[Outcome, ...], title: str, *, log: bool = False) -> go.Figure | None:
    from trimtab.research import figures

    y = np.array([each.sharpe for each in outcomes])
    if np.isnan(y).all():
        return None
    figure = figures.frame("annual Sharpe", ".2f", dates=False, hovermode="closest", showlegend=False)
    _line(figure, list(x), y, "Sharpe", figures.NET, mode="lines+markers")
    figure.update_xaxes(title={"text": title}, type="log" if log else "linear")
    return figure


def _spread(sharpes: F64, own: float, title: str) -> go.Figure | None:
    import plotly.graph_objects as go

    from trimtab.research import figures

    sharpes = sharpes[~np.isnan(sharpes)]
    if not len(sharpes):
        return None
    figure = figures.frame("runs", ",d", dates=False, hovermode="closest", showlegend=False)
    figure.add_trace(go.Histogram(x=sharpes.tolist(), nbinsx=30, marker={"color": figures.HOLDING}))
    if not math.isnan(own):
        figure.add_vline(x=own, line={"color": figures.NET, "width": 2}, annotation={"text": "as it was"})
    figure.update_xaxes(title={"text": f"annual Sharpe {title}"}, tickformat=".2f")
    return figure


def _starts(of: Stressed) -> go.Figure | None:
    from trimtab.research import figures

    y = np.array([start.outcome.sharpe for start in of.starts.starts])
    if not len(y) or np.isnan(y).all():
        return None
    figure = figures.frame("annual Sharpe", ".2f")
    days = [day_of(start.ts) for start in of.starts.starts]
    _line(figure, days, y, "begun there", figures.NET, mode="lines+markers")
    same = np.array([start.same_days for start in of.starts.starts])
    _line(figure, days, same, "the whole run on these days", figures.HOLDING, mode="lines+markers")
    return figure


def _jitter(of: Stressed) -> go.Figure | None:
    import plotly.graph_objects as go

    from trimtab.research import figures

    if not of.jitter.neighbours:
        return None
    figure = figures.frame("annual Sharpe", ".2f", dates=False, hovermode="closest", showlegend=False)
    names = [each.parameter.rsplit(".", 1)[-1] or "all together" for each in of.jitter.neighbours]
    figure.add_trace(
        go.Scatter(
            x=names,
            y=[None if math.isnan(each.sharpe) else each.sharpe for each in of.jitter.neighbours],
            mode="markers",
            marker={
                "color": [figures.NET if each.kept else figures.BAD for each in of.jitter.neighbours],
                "size": 8,
                "opacity": 0.7,
            },
            # Without their values: to take the best of them would be a choice that nobody counted.
            hovertemplate="%{x}: %{y:.2f}<extra></extra>",
        )
    )
    figure.add_hline(y=of.jitter.centre.sharpe, line={"color": figures.MUTED, "dash": "dot"})
    return figure


def _line(figure: go.Figure, x: list[Any], y: F64, name: str, colour: str, *, mode: str = "lines") -> None:
    import plotly.graph_objects as go

    values = [None if math.isnan(v) else v for v in y.tolist()]
    figure.add_trace(go.Scatter(x=x, y=values, name=name, mode=mode, line={"color": colour, "width": 2}))
