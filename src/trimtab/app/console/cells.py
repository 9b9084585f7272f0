"""Figures as a terminal shows them: names, units, undefined values, and the look of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from rich.table import Table

#: Named figures, or anything else that JSON calls an object.
Figures = Mapping[str, Any]


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
    return escaped(shown(value))


def part(figures: Figures, name: str) -> Figures:
    """The figures under a name; none where there are none."""
    found = figures.get(name)
    return cast("Figures", found) if isinstance(found, Mapping) else {}


def cell(column: Figures, name: str, currency: str) -> str:
    """One figure of a column; empty where the column does not have it."""
    return format_value(name, column[name], currency) if name in column else ""


def shown(value: Any) -> str:
    """A value that is no metric: a number of at most six digits, anything else as its text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"
    return str(value)


def escaped(text: str) -> str:
    """Text whose brackets rich prints as they are."""
    from rich.markup import escape

    return escape(text)


def table_of(*headers: str, left: int = 1) -> Table:
    """An empty table with these headings; the first `left` columns hold words, the others figures."""
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
