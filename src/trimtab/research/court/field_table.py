"""Several verdicts as one table: plain values, and Markdown for a page of documentation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trimtab.research.court.field import Judged, Refused, finding_of
from trimtab.research.court.finding import number
from trimtab.words import day_of


def rows_of(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """A row per strategy. Sharpe is annualised and net of costs; hurdle: what the strictest count has to beat."""
    return [_row(each) for each in judged]


def _row(each: Judged) -> dict[str, Any]:
    verdict, case = each.held.verdict, each.held.case
    strictest = case.strictest
    return {
        "strategy": each.name,
        "timeframe": case.run.spec.models[0].timeframe or case.run.spec.timeframe,
        "sharpe": verdict.sharpe,
        "trials": strictest.trials,
        "counted": f"{strictest.how} of the {strictest.scope}",
        "hurdle": number(case.annual(strictest.hurdle)),
        "dsr": finding_of(each.held, "dsr").figure,
        "pbo": finding_of(each.held, "pbo").figure,
        "q": number(each.q),
        "verdict": verdict.word,
        "reason": verdict.reasons[0],
        "needed": verdict.needed[0] if verdict.needed else "",
    }


def markdown(judged: Sequence[Judged], refused: Sequence[Refused]) -> str:
    """The table, with a sentence that says what it is of; figures are rounded so that platforms agree on them."""
    head = ("strategy", "timeframe", "net Sharpe", "hurdle", "DSR", "PBO", "q", "verdict")
    lines = [_sentence(judged), ""]
    if judged:
        lines += [_line(head), _line(["---", "---", *["---:"] * 5, "---"])]
    for row in rows_of(judged):
        figures = (_shown(row[name], places) for name, places in (("sharpe", 2), ("hurdle", 2), ("dsr", 2), ("pbo", 2)))
        lines.append(_line((f"`{row['strategy']}`", row["timeframe"], *figures, _shown(row["q"], 2), row["verdict"])))
    lines += ["", *(f"`{each.name}` was not run: {each.why}." for each in refused)]
    return "\n".join(lines).rstrip() + "\n"


def _sentence(judged: Sequence[Judged]) -> str:
    if not judged:
        return "No strategy could be run."
    case = judged[0].held.case
    run = case.run
    trials = max(count.trials for each in judged for count in each.held.case.counts)
    return (
        f"{', '.join(run.panel.symbols)}, {len(run.panel.ts):,} bars of {run.panel.timeframe}, {day_of(run.ts[0])} to "
        f"{day_of(run.ts[-1])}, {trials:,} trials in the ledger, capital {run.capital:,.0f}."
    )


def _line(cells: Sequence[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: float | None, places: int) -> str:
    if value is None or math.isnan(value):
        return "–"
    told = f"{value:.{places}f}"
    return told.removeprefix("-") if float(told) == 0.0 else told
