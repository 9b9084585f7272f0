"""What a run is compared with: its instruments bought and held, by the same rules, with the same cash."""

from __future__ import annotations

import numpy as np

from trimtab.research.funds import brought_in
from trimtab.research.prepared import prepared
from trimtab.rules.book import NO_GROUPS, NO_RULES, NOTHING, Setup
from trimtab.rules.market import Market
from trimtab.sim.simulate import Result, simulate
from trimtab.types import F64, GTC, I64, MARKET, Limits, Panel, Weights


def holding_of(panel: Panel, market: Market, setup: Setup) -> Result:
    """The driver holding the instruments of a set-up: at its costs, with its cash flows, without limits or rules."""
    again = int(len(setup.flows.row) > 0)  # what is paid in is put into the instruments, and taken out of them
    style = setup.style._replace(kind=MARKET, tif=GTC, post_only=0, always=again, buffer=0.0)
    alone = setup._replace(
        models=1, limits=Limits(), groups=NO_GROUPS, rules=NO_RULES, rule_bounds=NOTHING, style=style
    )
    return simulate(market, hold_weights(panel, market, setup), alone, keep_equity=False)


def hold_weights(panel: Panel, market: Market, setup: Setup) -> Weights:
    """Buy every instrument once, at its first bar, in equal parts of its wallet; and again where cash flows."""
    first, terms = prepared(panel).first, setup.terms
    rows = np.unique(np.concatenate((first, setup.flows.row)))
    row: list[I64] = []
    instrument: list[I64] = []
    value: list[F64] = []
    shares = wallet_shares(market, setup, rows) / np.bincount(terms["wallet"])
    for t, share in zip(rows, shares, strict=True):
        there = np.flatnonzero(first <= t) if t in setup.flows.row else np.flatnonzero(first == t)
        row.append(np.full(len(there), t))
        instrument.append(there)
        value.append(share[terms["wallet"][there]])
    events = np.concatenate(row)
    return Weights(events, np.zeros(len(events), np.int64), np.concatenate(instrument), np.concatenate(value))


def wallet_shares(market: Market, setup: Setup, rows: I64) -> F64:
    """(R, C) the part of all cash that was brought into each wallet up to each row, at that row's rates."""
    worth = np.maximum(brought_in(market, setup, rows), 0.0)
    whole = worth.sum(axis=1, keepdims=True)
    return np.divide(worth, whole, out=np.zeros_like(worth), where=whole > 0.0)
