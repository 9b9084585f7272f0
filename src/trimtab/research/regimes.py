"""The regimes of a spec over a panel: which label is known at the close of each row."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from trimtab.data.panel import as_of, signals_of
from trimtab.portfolio.book import name_of, regime_params, sources_of
from trimtab.portfolio.regime import table
from trimtab.portfolio.regime.budgets import words_of
from trimtab.portfolio.regime.labels import UNKNOWN, Labels
from trimtab.research.prepared import model_rows
from trimtab.schedule import end_of
from trimtab.types import F64, I64, TIMEFRAMES, Panel, RegimeUse, Spec, TrimtabError
from trimtab.words import field_of, near

if TYPE_CHECKING:
    import polars as pl

_known: weakref.WeakKeyDictionary[Panel, dict[str, Labels]] = weakref.WeakKeyDictionary()


def regime_labels(spec: Spec, panel: Panel) -> dict[str, Labels]:
    """Regime's name -> (T,) its label at the close of each row, UNKNOWN before the first; made once per panel."""
    kept = _known.setdefault(panel, {})
    found: dict[str, Labels] = {}
    for k, use in enumerate(spec.regimes):
        key = repr(use)
        if key not in kept:
            kept[key] = labels_of(use, panel, f"regimes.{k}")
        found[name_of(use)] = kept[key]
    return found


def use_names(spec: Spec) -> dict[str, RegimeUse]:
    """Regime's name -> its use."""
    return {name_of(use): use for use in spec.regimes}


def labels_of(use: RegimeUse, panel: Panel, path: str = "regime") -> Labels:
    """The label of one regime known at the close of each row: (T,).

    Its rows are those at which its first field has a new value; its other fields are what was known then.
    """
    regime = table.find(use.regime)
    sources = sources_of(use)
    read = [_observed(use, panel, sources[field], f"{path}.reads") for field in regime.fields]
    index = read[0][0]
    columns = [read[0][1], *(as_of(rows, values, index) for rows, values in read[1:])]
    found = table.classify(regime, regime_params(use), np.stack(columns, axis=1))
    at = np.searchsorted(index, np.arange(len(panel.ts)), side="right") - 1
    return np.append(found, np.int8(UNKNOWN))[at]


def _observed(use: RegimeUse, panel: Panel, source: str, path: str) -> tuple[I64, F64]:
    """Rows of the panel at which a source has a new value, and those values: (R,) each."""
    if source in panel.symbols:
        index, x = model_rows(panel, [panel.symbols.index(source)], use.timeframe, ("close",))
        return index, np.ascontiguousarray(x[:, 0, 0])
    source = field_of(source)
    if source not in panel.fields:
        known = (*panel.symbols, *panel.fields)
        raise TrimtabError(
            f"{path}: {source!r} is neither a symbol nor a field of the panel{near(source, known)}: say what "
            f"{use.regime} reads, such as `reads: SYMBOL` (a spec file joins it from the store; a program loads it "
            f"with load(…, series=['SYMBOL']))"
        )
    return _field_rows(panel, source, use.timeframe)


def _field_rows(panel: Panel, field: str, timeframe: str) -> tuple[I64, F64]:
    """Rows at which a field of the panel is new on a timeframe: its last value of each interval, once that is over."""
    values = signals_of(panel).values[:, :, panel.fields.index(field)]
    column = values[:, 0].copy()
    for other in values.T[1:]:  # whichever instrument has it: a series of the market is the same for all
        column = np.where(np.isnan(column), other, column)
    rows = np.flatnonzero(~np.isnan(column))
    if timeframe == panel.timeframe:
        return rows, column[rows]
    length = TIMEFRAMES[timeframe]
    due = np.searchsorted(panel.ts, end_of(panel.ts[rows], length))
    last = np.append(due[1:] != due[:-1], True) & (due < len(panel.ts))
    return due[last].astype(np.int64), column[rows][last]


def regime_frame(spec: Spec, panel: Panel) -> pl.DataFrame:
    """ts, regime, label: from that close on the label stands; a row for the first and for each change."""
    import polars as pl

    parts: list[pl.DataFrame] = []
    uses = use_names(spec)
    for name, labels in regime_labels(spec, panel).items():
        rows = np.flatnonzero(np.append(True, labels[1:] != labels[:-1])) if len(labels) else np.empty(0, np.int64)
        words = pl.Series(words_of(table.find(uses[name].regime)), dtype=pl.String)
        parts.append(
            pl.DataFrame(
                {
                    "ts": pl.Series(np.ascontiguousarray(panel.ts[rows])).cast(pl.Datetime("ns", "UTC")),
                    "regime": pl.Series([name], dtype=pl.String).new_from_index(0, len(rows)),
                    "label": words.gather(labels[rows].astype(np.int64) % len(words)),
                }
            )
        )
    if not parts:
        return pl.DataFrame(schema={"ts": pl.Datetime("ns", "UTC"), "regime": pl.String, "label": pl.String})
    return pl.concat(parts)
