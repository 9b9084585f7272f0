"""Events of a journal in words: one line for each, and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from trimtab.engine import events as ev
from trimtab.engine.events import Event, encode, kind_of
from trimtab.words import shortest


def line_of(event: Event) -> str:
    """Its number, instant, kind, and what it says."""
    return f"{event.seq:>8,}  {instant_of(event.ts)}  {kind_of(event.body):<10}  {said(event.body)}"


def said(body: ev.Body) -> str:
    """What a body says, on one line and without anything that a terminal would obey."""
    line = " ".join(_SENTENCES[type(body)](body).split())
    return "".join(c if c.isprintable() else "?" for c in line)


def document_of(event: Event) -> dict[str, Any]:
    """All of it in JSON's own types; the body as it is stored."""
    body = msgspec.json.decode(encode(event.body))
    kind = body.pop("kind")
    return {
        "seq": event.seq,
        "ts": event.ts,
        "time": instant_of(event.ts),
        "kind": kind,
        "key": event.key,
        "body": body,
        "hash": event.hash.hex(),
    }


def instant_of(ts: int) -> str:
    """ns UTC to the millisecond: 2021-03-02T16:00:00.000Z."""
    return f"{np.datetime64(ts, 'ns').astype('datetime64[ms]')}Z"


def _order(b: ev.OrderIntent) -> str:
    prices = [f"{name} {shortest(p)}" for name, p in (("at", b.limit_price), ("stop", b.stop_price)) if p is not None]
    flags = [name for name, on in (("post-only", b.post_only), ("reduce-only", b.reduce_only)) if on]
    what = " ".join([_lots(b.lots), b.symbol, b.order_kind, *prices, b.tif, *flags])
    return f"to {b.venue}: {what}, {b.client_order_id}{_because(b.reason)}"


def _fill(b: ev.Filled) -> str:
    of = b.client_order_id or "an order that is not ours"
    fee = f", fee {shortest(b.fee)} {b.fee_currency}".rstrip() if b.fee else ""
    return f"{_lots(b.lots)} {b.symbol} at {shortest(b.price)} on {b.venue}{fee}, trade {b.trade_id} of {of}"


def _outcome(b: ev.Outcome) -> str:
    filled = f", {b.filled:,} lots filled" if b.filled else ""
    named = f" ({b.venue_order_id})" if b.venue_order_id else ""
    return f"{b.client_order_id}{named} is {b.status}{filled}{_because(b.reason)}"


def _closed(b: ev.RowClosed | ev.RowWarmed | ev.RowDecided) -> str:
    missing = int(np.isnan(b.bars).all(axis=-1).sum()) if b.bars.ndim > 1 else 0
    absent = f", {missing} missing" if missing else ""
    return f"{instant_of(b.row)}: {_counted(len(b.bars), 'bar')}{absent}"


def _row(b: ev.RowDecided) -> str:
    before = _closed(b) if len(b.bars) else instant_of(b.row) + ": decided"
    return f"{before}, {_counted(int((~np.isnan(b.weights)).sum()), 'weight')}"


def _adjustment(b: ev.Adjusted) -> str:
    lots = f" {b.lots:+,} lots {b.symbol}" if b.lots else ""
    price = f" at {shortest(b.price)}" if b.price is not None else ""
    cash = f" {_signed(b.amount)} {b.currency}" if b.amount else ""
    return f"as {b.venue} has it:{lots}{price}{cash}{_because(b.reason)}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _lots(lots: int) -> str:
    return f"{'buy' if lots > 0 else 'sell'} {abs(lots):,} lots"


def _signed(amount: float) -> str:
    return f"{'+' if amount > 0 else ''}{shortest(amount)}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


_SENTENCES: Final[dict[type, Callable[[Any], str]]] = {
    ev.Started: lambda b: f"run {b.run_id[:16]}, code {b.code_version}, {', '.join(b.symbols)}",
    ev.RowDecided: _row,
    ev.RowClosed: _closed,
    ev.RowWarmed: _closed,
    ev.OrderIntent: _order,
    ev.AmendIntent: lambda b: f"{b.client_order_id}: {_lots(b.lots)} {b.symbol} are left to protect",
    ev.Crossed: lambda b: f"models exchange {b.symbol} at {shortest(b.price)}",
    ev.Liquidated: lambda b: f"{b.symbol} at {shortest(b.price)} by {b.venue}, trade {b.trade_id}",
    ev.CancelIntent: lambda b: f"{b.client_order_id}{_because(b.reason)}",
    ev.Outcome: _outcome,
    ev.Filled: _fill,
    ev.CashMoved: lambda b: f"{b.flow} of {_signed(b.amount)} {b.currency} at {b.venue}",
    ev.VenueChanged: lambda b: f"{b.venue} is {'up' if b.up else 'down'}{_because(b.reason)}",
    ev.Halted: lambda b: f"{b.symbol or 'the book'}{_because(b.reason)}",
    ev.Commanded: lambda b: (
        f"{b.command}{f' {b.model}' if b.model else ''}{f' by {b.by}' if b.by else ''}" + _because(b.reason)
    ),
    ev.Adjusted: _adjustment,
    ev.BarLate: lambda b: f"{b.symbol} of {instant_of(b.row)}",
    ev.SnapshotTaken: lambda b: f"state after event {b.seq:,}",
}
