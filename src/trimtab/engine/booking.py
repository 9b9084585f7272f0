"""What the core handles and orders as the journal spells it: names and words outside, numbers inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from trimtab.engine import core
from trimtab.engine import events as ev
from trimtab.engine.findings import NOTHING_FOUND, Findings, Fitted
from trimtab.rules.fills import Execution
from trimtab.rules.orders import ENDS, NO_REASON, NOT_KNOWN, REASONS
from trimtab.types import ORDER_KINDS, ORDER_STATUSES, TIFS, TrimtabError
from trimtab.venues import Amend, Cancel, Cash, Crossed, Ended, Filled, Liquidated, Submit, Unknown, Working


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers of an account are called."""

    account: str
    venue: str
    symbols: tuple[str, ...]
    models: tuple[str, ...]
    wallets: tuple[tuple[str, str], ...]  # (venue, currency)
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {symbol: i for i, symbol in enumerate(self.symbols)})

    def instrument(self, symbol: str) -> int:
        """The number of an instrument; TrimtabError where the account has none of that name."""
        try:
            return self._places[symbol]
        except KeyError:
            known = ", ".join(self.symbols)
            raise TrimtabError(f"the journal speaks of {symbol}, which this account does not trade: {known}") from None

    def model(self, name: str) -> int:
        """The number of a model; TrimtabError where the account has none of that name."""
        try:
            return self.models.index(name)
        except ValueError:
            known = ", ".join(self.models)
            raise TrimtabError(f"the journal speaks of model {name}, which this account has not: {known}") from None


def _price(value: float) -> float | None:
    return None if value != value else value


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _said(code: int) -> str:
    return REASONS[code]


def _status(reason: int) -> str:
    return ORDER_STATUSES[int(ENDS[reason])]


#: Word of the journal -> reason; of words that stand for several, the first.
_CODES: Final = {word: code for code, word in reversed(list(enumerate(REASONS)))} | {"": NO_REASON}


# --- commands --------------------------------------------------------------------------------------------------------


def intent_of(command: core.EngineCommand, names: Names) -> ev.Body | None:
    """What has to be durable before a command is carried out; None: nothing."""
    if isinstance(command, Submit):
        o = command.order
        return ev.OrderIntent(
            client_order_id=command.cid, order_id=o.order_id, row=o.ts, venue=names.venue,
            symbol=names.symbols[o.instrument], lots=o.lots, order_kind=ORDER_KINDS[o.kind], tif=TIFS[o.tif],
            limit_price=_price(o.limit_price), stop_price=_price(o.stop_price), post_only=bool(o.post_only),
            reduce_only=bool(o.reduce_only), parent=o.parent, slot=command.slot, replaces=command.replaces,
        )  # fmt: skip
    if isinstance(command, Cancel):
        return ev.CancelIntent(cancel_id=f"{command.cid}-cancel-{command.attempt}", client_order_id=command.cid)
    if isinstance(command, Amend):
        return ev.AmendIntent(
            client_order_id=command.cid, symbol=names.symbols[command.instrument], slot=command.slot,
            lots=command.lots, limit_price=_price(command.limit_price), stop_price=_price(command.stop_price),
        )  # fmt: skip
    if isinstance(command, core.Halt):
        return ev.Halted(reason=command.reason)
    return None


# --- events ----------------------------------------------------------------------------------------------------------


def body_of(event: core.Event, names: Names) -> ev.Body | None:
    """How an event is journalled; a row that models saw: `decided` and `warmed`. None: not at all."""
    found = _BODIES.get(type(event))
    return found(event, names) if found is not None else None


def decided(ts: int, bars: Any, state: core.State, names: Names) -> ev.RowDecided:
    """A row's decision, once its close was handled; bars: None where they are booked already."""
    return ev.RowDecided(
        row=ts, bars=np.empty((0, 0)) if bars is None else bars, weights=weights_of(state, names),
        failed=_failed(state, names), fits=_fits(state, names),
    )  # fmt: skip


def warmed(ts: int, state: core.State, names: Names) -> ev.RowWarmed:
    """A row that was shown to the models, once that was handled."""
    return ev.RowWarmed(row=ts, bars=state.bars, failed=_failed(state, names), fits=_fits(state, names))


def weights_of(state: core.State, names: Names) -> ev.F64:
    """(M, N) what the models said at the last close; NaN: nothing new."""
    weights = np.full((len(names.models), len(names.symbols)), np.nan)
    weights[state.said.model, state.said.instrument] = state.said.value
    return weights


def _failed(state: core.State, names: Names) -> dict[str, str]:
    return {names.models[m]: why for m, why in state.planner.found().failed.items()}


def _fits(state: core.State, names: Names) -> tuple[ev.Fitted, ...]:
    return tuple(
        ev.Fitted(model=names.models[m], unit=told.unit, state=told.state, refused=told.reason)
        for m, fits in state.planner.found().fits.items()
        for told in fits
    )


def _found(body: ev.RowDecided | ev.RowWarmed, names: Names) -> Findings:
    if not (body.failed or body.fits):
        return NOTHING_FOUND
    fits: dict[int, list[Fitted]] = {}
    for told in body.fits:
        fits.setdefault(names.model(told.model), []).append(Fitted(told.unit, told.state, told.refused))
    return Findings({names.model(name): why for name, why in body.failed.items()}, fits)


def _filled(e: Filled, names: Names) -> ev.Body:
    d = e.done
    return ev.Filled(
        venue=names.venue, symbol=names.symbols[e.instrument], trade_id=e.trade_id, client_order_id=e.cid,
        lots=e.lots, price=d.price, fee=d.fee, executed=e.ts, maker=bool(d.maker), slot=e.slot,
        reason=_said(e.reason), waited=_said(e.waited), mid=_price(d.mid), spread=d.spread, slippage=d.slippage,
        impact=d.impact, latency=d.latency,
    )  # fmt: skip


def _ended(e: Ended, names: Names) -> ev.Body:
    return ev.Outcome(
        client_order_id=e.cid, status=_status(e.reason), reason=_said(e.reason),
        executed=e.ts, symbol=names.symbols[e.instrument], slot=e.slot, waited=_said(e.waited),
    )  # fmt: skip


def _working(e: Working, names: Names) -> ev.Body:
    return ev.Outcome(
        client_order_id=e.cid, status="NEW", symbol=names.symbols[e.instrument], slot=e.slot,
        arrived=bool(e.arrived), day=e.day, triggered=bool(e.triggered), reason=_said(e.reason), waited=_said(e.waited),
        lots=e.lots,
    )  # fmt: skip


def _unknown(e: Unknown, names: Names) -> ev.Body:
    return ev.Outcome(
        client_order_id=e.cid, status="UNKNOWN", reason=_said(NOT_KNOWN), executed=e.ts,
        symbol=names.symbols[e.instrument], slot=e.slot,
    )  # fmt: skip


def _cash(e: Cash, names: Names) -> ev.Body:
    venue, currency = names.wallets[e.wallet]
    return ev.CashMoved(venue=venue, currency=currency, amount=e.amount, flow="other", flow_id=e.flow_id)


def _adjusted(e: core.Adjusted, names: Names) -> ev.Body:
    venue, currency = names.wallets[e.wallet]
    return ev.Adjusted(
        venue=venue, adjustment_id=e.adjustment_id, reason="as the venue has it",
        symbol=names.symbols[e.instrument] if e.instrument >= 0 else "", lots=e.lots,
        price=e.price if e.instrument >= 0 else None, currency=currency, amount=e.amount,
    )  # fmt: skip


def _commanded(e: core.Command, names: Names) -> ev.Body:
    return ev.Commanded(command=e.word, reason=e.reason, model=names.models[e.model] if e.model >= 0 else "")


def _crossed(e: Crossed, names: Names) -> ev.Body:
    return ev.Crossed(symbol=names.symbols[e.instrument], price=e.mid, executed=e.ts)


def _liquidated(e: Liquidated, names: Names) -> ev.Body:
    symbol = names.symbols[e.instrument]
    return ev.Liquidated(
        venue=names.venue, symbol=symbol, trade_id=e.trade_id, lots=e.lots, price=e.price, executed=e.ts
    )


_BODIES: Final[dict[type, Callable[[Any, Names], ev.Body]]] = {
    core.Bars: lambda e, names: ev.RowClosed(row=e.ts, bars=e.bars),
    core.Command: _commanded,
    core.VenueState: lambda e, names: ev.VenueChanged(venue=names.venue, up=e.is_up, reason=e.reason),
    core.Adjusted: _adjusted,
    Filled: _filled,
    Ended: _ended,
    Working: _working,
    Unknown: _unknown,
    Crossed: _crossed,
    Liquidated: _liquidated,
    Cash: _cash,
}


def events_of(event: ev.Event, names: Names) -> list[core.Event]:
    """What of a journalled event the core has to handle again; intents and remarks: nothing."""
    body, ts = event.body, event.ts
    if isinstance(body, ev.RowDecided):
        close = core.Close(body.row, _found(body, names))
        return [core.Bars(body.row, body.bars), close] if len(body.bars) else [close]
    found = _EVENTS.get(type(body))
    return [found(body, ts, names)] if found is not None else []


def _outcome(b: ev.Outcome, ts: int, names: Names) -> core.Event:
    i = names.instrument(b.symbol)
    reason, waited = _CODES[b.reason], _CODES[b.waited]
    if b.status == "UNKNOWN":
        return Unknown(b.client_order_id, i, b.slot, b.executed)
    if b.status == "NEW":
        return Working(b.client_order_id, i, b.slot, int(b.arrived), b.day, int(b.triggered), reason, waited, b.lots)
    return Ended(b.client_order_id, i, b.slot, reason, waited, b.executed)


def _refilled(b: ev.Filled, ts: int, names: Names) -> core.Event:
    done = Execution(b.price, b.fee, int(b.maker), _number(b.mid), b.spread, b.slippage, b.impact, b.latency)
    i = names.instrument(b.symbol)
    return Filled(
        b.trade_id, b.client_order_id, i, b.slot, b.lots, done, b.executed, _CODES[b.reason], _CODES[b.waited]
    )


_EVENTS: Final[dict[type, Callable[[Any, int, Names], core.Event]]] = {
    ev.RowClosed: lambda b, ts, names: core.Bars(b.row, b.bars),
    ev.RowWarmed: lambda b, ts, names: core.Warm(b.row, b.bars, _found(b, names)),
    ev.Outcome: _outcome,
    ev.Filled: _refilled,
    ev.Crossed: lambda b, ts, names: Crossed(names.instrument(b.symbol), b.price, b.executed),
    ev.Liquidated: lambda b, ts, names: Liquidated(b.trade_id, names.instrument(b.symbol), b.lots, b.price, b.executed),
    ev.CashMoved: lambda b, ts, names: Cash(b.flow_id, names.wallets.index((b.venue, b.currency)), b.amount, ts),
    ev.VenueChanged: lambda b, ts, names: core.VenueState(b.up, b.reason, ts),
    ev.Commanded: lambda b, ts, names: core.Command(
        b.command, b.reason, ts, names.model(b.model) if b.model else -1
    ),
    ev.Adjusted: lambda b, ts, names: core.Adjusted(
        b.adjustment_id, names.instrument(b.symbol) if b.symbol else -1, b.lots, _number(b.price),
        names.wallets.index((b.venue, b.currency)), b.amount, ts,
    ),
}  # fmt: skip
