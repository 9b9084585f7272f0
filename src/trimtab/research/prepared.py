"""What is derived from a panel once, however many runs follow."""

from __future__ import annotations

import hashlib
import itertools
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from trimtab.data.panel import rows_of
from trimtab.rules.book import Setup
from trimtab.rules.market import Market
from trimtab.sim.market import build_market, survey
from trimtab.sim.setup import WATCHED, watch
from trimtab.types import F64, I64, Panel, TrimtabError
from trimtab.words import utc


class Prepared:
    """What is derived from a panel once, however many runs follow.

    markets  base currency -> the panel as the rules read it
    first    (N,) the row of each instrument's first bar
    silent   symbols of which no bar has a known volume
    watched  (base currency, limits that watch) -> what limits watch in the bars, see sim.setup.watch
    rows     (legs, timeframe, fields) -> the rows that models step on, see data.panel.rows_of
    """

    def __init__(self, panel: Panel) -> None:
        self.first, silent = check_bars(panel)
        self.silent = tuple(itertools.compress(panel.symbols, silent))
        self.markets: dict[str, Market] = {}
        self.watched: dict[Any, tuple[F64, I64, I64]] = {}
        self.rows: dict[Any, tuple[I64, F64]] = {}


def check_bars(panel: Panel) -> tuple[I64, I64]:
    """A bar is there whole or not at all: with half of its prices neither a stop nor a mark would mean anything.

    -> (N,) the row of each instrument's first bar; (N,) 1 where no bar of it has a known volume
    """
    first, silent = np.empty(len(panel.instruments), np.int64), np.empty(len(panel.instruments), np.int64)
    found = survey(panel.values, first, silent)
    if found >= 0:
        t, i = divmod(int(found), len(panel.instruments))
        shown = ", ".join(f"{n} {v:g}" for n, v in zip(panel.fields[:4], panel.values[t, i, :4].tolist(), strict=True))
        raise TrimtabError(
            f"{panel.symbols[i]}, row {t}, closed {utc(panel.ts[t])}: {shown}; expected four prices above 0, or none "
            "(NaN: no bar). Mend the bar, or leave it out."
        )
    check_events(panel)
    return first, silent


def check_events(panel: Panel) -> None:
    """TrimtabError for a split or a dividend that cannot be: not more than 0, or where there is no bar."""
    bars = np.isfinite(panel.values[:, :, 3])
    for name in ("split", "dividend"):
        if name not in panel.fields:
            continue
        told = panel.values[:, :, panel.fields.index(name)]
        wrong = ~np.isnan(told) & ~((told > 0.0) & (told < np.inf) & bars)
        if wrong.any():
            t, i = divmod(int(wrong.argmax()), told.shape[1])
            raise TrimtabError(
                f"{panel.symbols[i]}, row {t}, closed {utc(panel.ts[t])}: {name} is {told[t, i]:g}; expected more "
                "than 0, in a row where it has a bar, or NaN: none"
            )


_hashes: weakref.WeakKeyDictionary[Panel, Future[str]] = weakref.WeakKeyDictionary()


def hash_of_panel(panel: Panel) -> str:
    """sha256 over symbols, timeframe, fields, instants and values, in hex: the same bars have the same hash."""
    return hash_ahead(panel).result()


def hash_ahead(panel: Panel) -> Future[str]:
    """Begin to hash a panel beside whatever else is done with it: of a million bars that is some 40 ms."""
    found = _hashes.get(panel)
    if found is None:
        found = _hashes[panel] = Future()
        threading.Thread(target=_hash, args=(panel, found), daemon=True).start()
    return found


def _hash(panel: Panel, told: Future[str]) -> None:
    digest = hashlib.sha256(repr((panel.symbols, panel.timeframe, panel.fields)).encode())
    digest.update(np.ascontiguousarray(panel.ts).data)
    values, step = panel.values, max(1, (1 << 17) // max(1, panel.values[:1].size))
    try:
        for first in range(0, len(values), step):  # by slices: their lines are longer than their fields
            digest.update(np.ascontiguousarray(values[first : first + step]).data)
        told.set_result(digest.hexdigest())
    except BaseException as error:  # to whoever asks
        told.set_exception(error)


_prepared: weakref.WeakKeyDictionary[Panel, Prepared] = weakref.WeakKeyDictionary()


def prepared(panel: Panel) -> Prepared:
    """The panel's derived facts, made at its first use."""
    found = _prepared.get(panel)
    if found is None:
        found = _prepared[panel] = Prepared(panel)
    return found


def market_of(panel: Panel, base: str = "") -> Market:
    """The panel as the rules read it, built once per base currency; empty: that of the first instrument."""
    base, markets = base or panel.instruments[0].quote, prepared(panel).markets
    if base not in markets:
        markets[base] = build_market(panel, base)
    return markets[base]


def watched(setup: Setup, panel: Panel, base: str) -> Setup:
    """The set-up with what its limits watch in a panel's bars, remembered per panel."""
    limits = setup.limits
    grouped = limits.group_correlation if limits.group_gross < np.inf else None
    key = (base, grouped, any(getattr(limits, name) < np.inf for name in WATCHED))
    known = prepared(panel).watched
    if key not in known:
        seen = watch(setup, market_of(panel, base))
        known[key] = seen.alarm, seen.groups.cluster, seen.groups.cluster_row
    alarm, cluster, cluster_row = known[key]
    return setup._replace(alarm=alarm, groups=setup.groups._replace(cluster=cluster, cluster_row=cluster_row))


def model_rows(panel: Panel, unit: Sequence[int], timeframe: str, fields: Sequence[str]) -> tuple[I64, F64]:
    """data.panel.rows_of, remembered per panel: index (R,), x (R, L, K); do not write to them.

    A panel's own memory is read-only, which to numba is another type: a copy spares each strategy a second compilation.
    """
    rows, key = prepared(panel).rows, (tuple(unit), timeframe, tuple(fields))
    found = rows.get(key)
    if found is None:
        index, x = rows_of(panel, unit, timeframe, fields)
        found = rows[key] = index, x if x.flags.writeable else x.copy()
    return found
