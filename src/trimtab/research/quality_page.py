"""What a validation of series found, as plain values and as one HTML page that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.data.quality.findings import Finding, number_of
from trimtab.data.quality.quarantine import Moved
from trimtab.data.quality.scoring import Coverage
from trimtab.data.validation import Assessment
from trimtab.types import F64
from trimtab.words import line_of

#: Findings of each series that the page lists.
MOST: Final = 200
#: Height of the heat-map: pixels for each series, and for the rest.
_ROW, _FRAME = 22, 60


class Checked(NamedTuple):
    """A series that was looked at; span: first and last day, empty where no time is known; stored: not in a file."""

    name: str
    timeframe: str
    span: tuple[str, str]
    assessment: Assessment
    stored: bool = True

    def place(self, finding: Finding) -> str:
        """Where a file has what was found; of the store its instant says it all."""
        return "" if self.stored else line_of(Path(self.name), finding.row)

    @property
    def title(self) -> str:
        return f"{self.name} {self.timeframe}"


class Found(NamedTuple):
    """All of a validation: series, notes on the universe, what was quarantined."""

    series: Sequence[Checked]
    notes: Sequence[str]
    moved: Sequence[Moved]

    @property
    def n_errors(self) -> int:
        return sum(c.assessment.report.n_errors for c in self.series)

    @property
    def n_warnings(self) -> int:
        return sum(c.assessment.report.n_warnings for c in self.series)


def headline(found: Found) -> str:
    """The answer in one sentence."""
    rows = sum(c.assessment.report.rows for c in found.series)
    told = f"{len(found.series)} series, {number_of(rows, 'bar')}: "
    wrong = [c.title for c in found.series if c.assessment.report.n_errors]
    if wrong:
        told += f"{number_of(found.n_errors, 'error')} in {_listed(wrong)}"
    else:
        told += "no errors"
    told += f", {number_of(found.n_warnings, 'warning')}"
    low = min(found.series, key=lambda c: c.assessment.score.score, default=None)
    if low is not None and len(found.series) > 1:
        told += f"; the lowest score is {score_text(low)} ({low.title})"
    return told + "."


def score_text(checked: Checked) -> str:
    """99.9, and 100 only where nothing was found that counts."""
    score = checked.assessment.score.score
    return "100" if score == 100.0 else f"{min(score, 99.9):.1f}".removesuffix(".0")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def plain(found: Found) -> dict[str, Any]:
    """Everything as plain values for JSON."""
    return {
        "verdict": headline(found),
        "errors": found.n_errors,
        "warnings": found.n_warnings,
        "series": [_plain(c) for c in found.series],
        "notes": list(found.notes),
        "quarantined": [plain_moved(m) for m in found.moved],
    }


def _plain(c: Checked) -> dict[str, Any]:
    report, coverage, score, _ = c.assessment
    return {
        "name": c.name,
        "timeframe": c.timeframe,
        "rows": report.rows,
        "first": c.span[0],
        "last": c.span[1],
        "score": round(score.score, 4),
        "complete": score.complete,
        "sound": score.sound,
        "plausible": score.plausible,
        "capped_by": score.capped_by,
        "hours": report.hours,
        "errors": report.n_errors,
        "warnings": report.n_warnings,
        "missing": report.missing,
        "counts": report.counts,
        "findings": [
            {"fault": f.fault, "severity": f.severity, "row": f.row, "instant": f.instant, "message": f.message}
            for f in report.findings
        ],
        "coverage": dict(zip(months_of(coverage), coverage.share.round(6).tolist(), strict=True)),
    }


def plain_moved(m: Moved) -> dict[str, Any]:
    """What a quarantine did."""
    return {
        "symbol": m.symbol,
        "timeframe": m.timeframe,
        "kept": m.kept,
        "taken": m.taken,
        "reasons": m.reasons,
        "reordered": m.moved,
        "file": str(m.path) if m.taken else None,
    }


def months_of(coverage: Coverage) -> list[str]:
    """The months of a coverage as 2024-01."""
    return coverage.months.astype("M8[M]").astype(str).tolist()


def grid_of(series: Sequence[Checked]) -> tuple[list[str], F64]:
    """Months from the first of all series to the last, (M,), and what share of each is there, (S, M); NaN: outside."""
    spans = [c.assessment.coverage.months for c in series if len(c.assessment.coverage.months)]
    if not spans:
        return [], np.zeros((len(series), 0))
    first, last = min(int(m[0]) for m in spans), max(int(m[-1]) for m in spans)
    shares = np.full((len(series), last - first + 1), np.nan)
    for row, c in zip(shares, series, strict=True):
        coverage = c.assessment.coverage
        row[coverage.months - first] = coverage.share
    return np.arange(first, last + 1).astype("M8[M]").astype(str).tolist(), shares


def render_page(found: Found) -> str:
    """The page as text."""
    from trimtab.research.pages import render

    scores = [c.assessment.score.score for c in found.series]
    bars = sum(c.assessment.report.rows for c in found.series)
    missing = sum(c.assessment.report.missing for c in found.series)
    return render(
        "quality.html.j2",
        {"coverage": coverage_chart(found.series)},
        found=found,
        verdict=headline(found),
        sound=not found.n_errors,
        tiles=(
            ("Series", f"{len(found.series):,}", f"{bars:,} bars"),
            ("Lowest score", f"{min(scores, default=0.0):.1f}", "of 100"),
            ("Errors", f"{found.n_errors:,}", f"{found.n_warnings:,} warnings"),
            ("Missing bars", f"{missing:,}", f"{missing / max(missing + bars, 1):.3%} of what should be there"),
        ),
        height=_FRAME + _ROW * len(found.series),
        rows=[_row(c) for c in found.series],
        listed=[(c, c.assessment.report.findings[:MOST], _beyond(c)) for c in found.series if _has(c)],
        moved=[plain_moved(m) for m in found.moved if m.taken or m.moved],
    )


def _has(c: Checked) -> bool:
    return bool(c.assessment.report.findings)


def _beyond(c: Checked) -> int:
    report = c.assessment.report
    return sum(report.counts.values()) - min(len(report.findings), MOST)


def _row(c: Checked) -> dict[str, str]:
    report, _, score, _ = c.assessment
    return {
        "title": c.title,
        "span": " to ".join(c.span),
        "score": score_text(c),
        "grade": _grade(score.score, report.n_errors),
        "cap": f"at most, for {score.capped_by}" if score.capped_by else "",
        "bars": f"{report.rows:,}",
        "errors": f"{report.n_errors:,}",
        "warnings": f"{report.n_warnings:,}",
        "missing": f"{report.missing:,}",
        "faults": ", ".join(f"{fault} {n:,}" for fault, n in report.counts.items()) or "none",
        "hours": report.hours,
    }


def _grade(score: float, errors: int) -> str:
    if errors or score < 90.0:
        return "weak"
    return "good" if score >= 99.0 else "fair"


def coverage_chart(series: Sequence[Checked]) -> Any:
    """Series by month: the share of the bars that are there. Blue is all of them, red few, blank none expected."""
    import html

    import plotly.graph_objects as go

    from trimtab.research import figures

    months, shares = grid_of(series)
    figure = figures.frame("", "", hovermode="closest", showlegend=False)
    text = [["" if np.isnan(v) else _percent(v) for v in row] for row in shares[::-1]]
    # What is nearly whole must not look whole, so the colours stand on the share that is missing, square root.
    lost = np.sqrt(1.0 - shares[::-1])
    figure.add_trace(
        go.Heatmap(
            x=months,
            y=[html.escape(c.title) for c in reversed(series)],
            z=[[None if np.isnan(v) else round(v, 4) for v in row] for row in lost.tolist()],
            zmin=0.0,
            zmax=1.0,
            colorscale=[
                [0.0, figures.NET],
                [1e-6, figures.NET_SURFACE],
                [0.22, "#f00011"],
                [0.5, figures.BAD],
                [1.0, figures.BAD],
            ],
            ygap=3,
            text=text,
            hovertemplate="%{y}<br>%{x|%b %Y}: %{text} of the bars<extra></extra>",
            showscale=False,
        )
    )
    figure.update_layout(margin={"t": 8})
    figure.update_xaxes(hoverformat="%b %Y")
    figure.update_yaxes(
        tickformat=None, showgrid=False, nticks=len(series), tickfont={"size": 12, "color": figures.INK}
    )
    return figure


def _percent(share: float) -> str:
    return "100%" if share == 1.0 else f"{min(share, 0.9999):.2%}"


def write(found: Found, path: Path) -> None:
    """The page at a path, whole or not at all."""
    from trimtab.research import pages

    pages.write_page(render_page(found), path)
