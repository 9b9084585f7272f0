"""Exchange rates out of the store, as the field `fx` of a panel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trimtab.data.panel import as_of
from trimtab.data.store import Store, coverage, find_instrument, open_store, read_bars, timeframes
from trimtab.types import F64, I64, Instrument, Panel, TrimtabError


def with_rates(
    panel: Panel, fx: Mapping[str, str | float], root: str | Path | None = None, base_currency: str = ""
) -> Panel:
    """The panel with the field `fx`: base currency per unit of each instrument's quote currency, as known at each row.

    fx             quote currency -> a pair of the store (EURUSD serves EUR in USD, and USD in EUR), or a fixed rate
    root           the store's folder, as for `load`
    base_currency  what the rates have to be in; empty: what the pairs say

    A rate is known at the close of its bar, and stands until the next. NaN before the first, in base currency, and in
    currencies that fx does not name: there a field `fx` that the bars had stays. TrimtabError for a pair of other
    currencies, and for pairs that have no currency in common.
    """
    store, base = open_store(root), base_currency
    shape = panel.values.shape[:2]
    rates = panel.values[:, :, panel.fields.index("fx")].copy() if "fx" in panel.fields else np.full(shape, np.nan)
    for currency, source in fx.items():
        column = np.full(shape[0], float(source)) if not isinstance(source, str) else np.empty(0)
        if isinstance(source, str):
            pair = find_instrument(store, source)
            other, inverse = _direction(pair, currency)
            if base and other != base:
                raise TrimtabError(
                    f"fx: {pair.symbol} says {currency} in {other}, but the base currency is {base}: name a pair of "
                    f"{currency} and {base}"
                )
            base = other
            known, close = _closes(store, pair)
            column = as_of(known, 1.0 / close if inverse else close, panel.ts)
        for i, instrument in enumerate(panel.instruments):
            if instrument.quote == currency:
                rates[:, i] = column
    others = [(name, panel.values[:, :, k]) for k, name in enumerate(panel.fields) if name != "fx"]
    values = np.stack([*(values for _, values in others), rates], axis=2)
    return Panel(panel.ts, panel.instruments, (*(name for name, _ in others), "fx"), values, panel.timeframe)


def _direction(pair: Instrument, currency: str) -> tuple[str, bool]:
    """The other currency of a pair, and whether its price has to be inverted to tell what `currency` is worth."""
    if currency == pair.base:
        return pair.quote, False
    if currency == pair.quote and pair.base:
        return pair.base, True
    raise TrimtabError(
        f"fx: {pair.symbol} is {pair.base or '?'} in {pair.quote} and says nothing of {currency}: name a pair that has "
        f"it, such as {currency}{pair.quote}, imported with --asset-class fx"
    )


def _closes(store: Store, pair: Instrument) -> tuple[I64, F64]:
    """When each close of a pair is known, and the closes: of the series that begins first, the finest of these."""
    stored = timeframes(store, pair)
    timeframe = min(stored, key=lambda name: coverage(store, pair, name)[0])
    bars = Panel.from_frames({pair.symbol: read_bars(store, pair, timeframe)}, timeframe)
    close = bars.values[:, 0, bars.fields.index("close")]
    there = close > 0.0
    return bars.ts[there], close[there]
