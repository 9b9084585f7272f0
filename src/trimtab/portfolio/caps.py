"""Caps by kind, venue and model, as the gate reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trimtab.bounds import ALL
from trimtab.rules.book import NO_GROUPS, NOTHING, Groups
from trimtab.types import F64, I64, Caps, Instrument


def groups_of(caps: Caps, instruments: Sequence[Instrument], models: Sequence[str]) -> Groups:
    """The groups of a book's instruments and their caps; names that are not in the book cap nothing."""
    asset_class, class_cap = _grouped([i.asset_class for i in instruments], caps.asset_classes)
    venue, venue_cap = _grouped([i.venue for i in instruments], caps.venues)
    model_cap = _caps(models, caps.models) if caps.models else NOTHING
    return NO_GROUPS._replace(
        asset_class=asset_class, class_cap=class_cap, venue=venue, venue_cap=venue_cap, model_cap=model_cap
    )


def _grouped(names: Sequence[str], caps: Mapping[str, float]) -> tuple[I64, F64]:
    """(N,) the group of each name, by first use, and (G,) the cap of each; no groups where nothing is capped."""
    if not caps:
        return NO_GROUPS.asset_class, NOTHING
    known = list(dict.fromkeys(names))
    return np.array([known.index(name) for name in names], np.int64), _caps(known, caps)


def _caps(names: Sequence[str], caps: Mapping[str, float]) -> F64:
    return np.array([caps.get(name, caps.get(ALL, np.inf)) for name in names], np.float64)
