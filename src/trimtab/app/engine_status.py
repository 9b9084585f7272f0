"""How an account stands, read off its state: what `trimtab status` shows and what metrics and logs are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from trimtab.engine.booking import Names
from trimtab.engine.control import pending, switch
from trimtab.engine.core import State
from trimtab.engine.file import JournalFailed
from trimtab.engine.lease import engine_of
from trimtab.engine.pulse import Bounds, Pulse, Standing, degraded
from trimtab.engine.status import Act, Check, Decided, Held, LimitUse, Status, Wish, Working, lasting
from trimtab.feeds import FeedState
from trimtab.types import ORDER_KINDS, ORDER_STATUSES, SECOND, TRADING_STATES, Spec
from trimtab.words import utc

#: How a reason ends where the kill switch closes nothing.
_STAY: Final = ", positions stay"
#: What the bits of head.locked mean.
_LOCKS: Final = ((1, "the daily loss was exceeded"), (2, "the weekly loss was exceeded"))


def standing_of(state: State, quarantined: Iterable[str] = ()) -> Standing:
    """The figures of an account after its last row; exposures are NaN where it is worth nothing."""
    book, head = state.book, state.book.head[0]
    equity = float(head["equity"])
    notional = notionals(state)
    worth = equity if equity > 0.0 else np.nan
    margin = state.setup.terms["initial_margin"]
    return Standing(
        equity=equity,
        drawdown=max(0.0, 1.0 - equity / float(head["peak"])) if head["peak"] > 0.0 else np.nan,
        gross=float(np.abs(notional).sum() / worth),
        net=float(notional.sum() / worth),
        heat=float((np.abs(notional) * margin).sum() / worth),
        positions=int(np.count_nonzero(book.positions["lots"])),
        open_orders=len(state.sent),
        state=state_word(state),
        reason=reason_of(state),
        killed=bool(head["killed"]),
        quarantined=tuple(quarantined),
    )


def notionals(state: State) -> Any:
    """(N,) what each position is worth at its last mark, signed, base currency."""
    n = len(state.setup.terms)
    if state.tape.t < 0:
        return np.zeros(n)
    return state.book.quantity[:n] * state.tape.market.mark[state.tape.t, :n]


def state_word(state: State) -> str:
    """ACTIVE, REDUCING or HALTED, for everything that makes it so."""
    head = state.book.head[0]
    if head["killed"] or head["state"] == TRADING_STATES.index("HALTED") or head["locked"]:
        return "HALTED"
    return "REDUCING" if head["unsure"] else TRADING_STATES[int(head["state"])]


def reason_of(state: State) -> str:
    """Why an account is not ACTIVE."""
    head = state.book.head[0]
    if head["killed"]:
        return f"the kill switch is on{_STAY if head['killed'] == 2 else ''}"
    if head["state"] == TRADING_STATES.index("HALTED"):
        return "the drawdown halted it" if head["equity"] >= 0.0 else "it is worth less than nothing"
    locked = [words for bit, words in _LOCKS if head["locked"] & bit]
    if locked:
        return " and ".join(locked)
    return "an order's outcome is not known" if head["unsure"] else ""


def halt_of(state: State, folder: Path, said: str = "") -> str:
    """Why an account sends nothing but what reduces, and what ends that where a person has to; empty: it sends all.

    A switch that is on and that no engine has seen yet counts. said: why its engine has halted, where that is known.
    """
    on = switch(folder)
    if not on and state_word(state) != "HALTED":
        return said
    why = f"the kill switch is on: {on}" if on else said or reason_of(state)
    by_hand = on or not state.book.head[0]["locked"]
    return f"{why}; to trade again: trimtab resume {folder}" if by_hand else why


def status_of(
    state: State,
    names: Names,
    spec: Spec,
    ts: int,
    *,
    checks: Sequence[Check] = (),
    acts: Sequence[Act] = (),
    day_equity: float | None = None,
    quarantined: dict[str, str] | None = None,
) -> Status:
    """All of an account; ts: ns UTC, of the market; day_equity: at the last 00:00 UTC."""
    standing = standing_of(state)
    day = None if day_equity is None else standing.equity - day_equity
    return Status(
        ts=ts,
        account=names.account,
        spec=spec.name or ", ".join(names.models),
        currency=spec.base_currency,
        state=standing.state,
        equity=standing.equity,
        drawdown=_known(standing.drawdown),
        day=day,
        day_fraction=None if day is None or not day_equity else day / day_equity,
        gross=_known(standing.gross),
        net=_known(standing.net),
        reason=standing.reason,
        killed=standing.killed,
        positions=tuple(_held(state, names)),
        orders=tuple(_working(state, names, ts)),
        limits=tuple(_limits(state, standing)),
        health=tuple(checks),
        decided=_decided(state, names),
        actions=tuple(acts),
        quarantined=quarantined or {},
    )


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _held(state: State, names: Names) -> Iterable[Held]:
    positions, worth = state.book.positions, notionals(state)
    for i in np.flatnonzero(positions["lots"]):
        lots, price = int(positions["lots"][i]), float(positions["avg_price"][i])
        term, marks = state.setup.terms[i], state.tape.market.mark[state.tape.t]
        rate = 1.0 if term["column"] < 0 else float(marks[term["column"]])
        mark = state.prices.get(int(i), float(marks[i]) / rate)
        gained = (mark - price) * lots * float(term["unit"]) * rate
        yield Held(
            symbol=names.symbols[i], lots=lots, avg_price=price, mark=mark, notional=float(worth[i]), unrealised=gained
        )


def _working(state: State, names: Names, ts: int) -> Iterable[Working]:
    for cid, sent in state.sent.items():
        order = state.book.orders[sent.instrument, sent.slot]
        if order["order_id"] != sent.order_id:
            order = sent.record
        limit, stop = float(order["limit_price"]), float(order["stop_price"])
        price = limit if limit == limit else stop
        status = ORDER_STATUSES[int(order["status"])]
        if sent.is_leaving:
            status = "UNKNOWN" if status == "UNKNOWN" else "PENDING_CANCEL"
        yield Working(
            client_order_id=cid,
            symbol=names.symbols[sent.instrument],
            lots=int(order["lots"]),
            filled=int(order["filled"]),
            kind=ORDER_KINDS[int(order["kind"])],
            status=status,
            age=max(0.0, (ts - int(order["ts"])) / SECOND),
            price=_known(price),
        )


def _limits(state: State, standing: Standing) -> Iterable[LimitUse]:
    """The limits that are set and have a measure at any time."""
    limits, head = state.setup.limits, state.book.head[0]
    worth = np.abs(notionals(state)) / standing.equity if standing.equity > 0.0 else np.zeros(1)

    def lost(since: str) -> float:
        return max(0.0, 1.0 - standing.equity / float(head[since])) if head[since] > 0.0 else 0.0

    measures = {
        "gross_leverage": standing.gross,
        "max_weight": float(worth.max(initial=0.0)),
        "net_exposure": abs(standing.net),
        "heat": standing.heat,
        "drawdown_derisk": standing.drawdown,
        "drawdown_halt": standing.drawdown,
        "daily_loss": lost("day_equity"),
        "weekly_loss": lost("week_equity"),
    }
    for name, measure in measures.items():
        bound = float(getattr(limits, name))
        if np.isfinite(bound):
            yield LimitUse(name=name, measure=_known(measure), bound=bound)


def _decided(state: State, names: Names) -> Decided | None:
    """What every model wants, and what keeps it from having it."""
    if state.tape.t < 0:
        return None
    book, wishes = state.book, list[Wish]()
    fresh = set(zip(state.said.model.tolist(), state.said.instrument.tolist(), strict=True))
    for m, model in enumerate(names.models):
        for i, symbol in enumerate(names.symbols):
            weight = float(book.weight[m, i])
            if weight != weight:
                continue
            wishes.append(Wish(model=model, symbol=symbol, weight=weight, why=_why(state, m, i, (m, i) in fresh)))
    return Decided(row=state.tape.ts, wishes=tuple(wishes))


def _why(state: State, m: int, i: int, is_fresh: bool) -> str:
    book = state.book
    if book.blocked[m, i] != 0.0:
        return "waits for its signal to turn: a protective order closed the position"
    if book.unsure[:, i].any():
        return "waits: an order's outcome is not known"
    scale = float(book.positions[i]["scale"])
    stands = "new at this row" if is_fresh else "stands"
    if book.target[m, i] == 0.0 or abs(scale - 1.0) <= 0.005:
        return stands
    return stands + (f", cut to {scale:.0%} by the gate" if scale > 0.005 else ", but the gate lets nothing of it pass")


# --- how well its engine is ------------------------------------------------------------------------------------------

#: Seconds without a sign of life after which an engine is not well, for its status and for `/healthz`.
SILENCE: Final = 30.0


def checks_of(pulse: Pulse, feed: FeedState, bounds: Bounds) -> list[Check]:
    """What an engine says of its own health."""
    health, last = pulse.health, pulse.staleness()
    rows = f"{pulse.rows:,} rows" if pulse.rows else "no row has come"  # since when: whoever reads it says
    stopped = pulse.standing.quarantined
    lost = "" if feed.is_up else f"its source cannot be reached ({feed.reason}); "
    latencies = pulse.latencies
    timing = ""
    if latencies.p50 is not None and latencies.p99 is not None:
        timing = f"decisions took {latencies.p50 * 1e3:.1f} ms, one in a hundred {latencies.p99 * 1e3:.1f} ms; "
    return [
        Check(name="feed", well=feed.is_up and last <= bounds.staleness, said=lost + rows),
        *(Check(name=f"venue {name}", well=is_up, said=_reached(is_up)) for name, is_up in pulse.venues.items()),
        Check(name="models", well=not stopped, said=degraded(stopped) if stopped else "all are asked"),
        Check(name="journal", well=not health.journal_failure, said=health.journal_failure or "takes what it is given"),
        Check(
            name="lag",
            well=health.loop_lag <= bounds.loop_lag,
            said=f"{timing}the loop ran late by {health.loop_lag:.2f} s at most",
        ),
    ]


def _reached(is_up: bool) -> str:
    return "can be reached" if is_up else "cannot be reached: nothing is sent until it can"


def killed_of(status: Status) -> int:
    """How the book of a status stands, see rules.book: 0 not killed, 1 and what it held is closed, 2 and it stays."""
    return 0 if not status.killed else 2 if _STAY in status.reason else 1


def as_found(status: Status, folder: Path, journal: Path, now: int) -> Status:
    """A status as whoever reads it at `now` (ns, the machine's clock) should: whether its engine lives, how old what it
    said is by now, and orders that it has not carried out yet."""
    engine, lives = _engine(status, journal, now)
    checks = [engine, *(_aged(check, status, lives, now) for check in status.health)]
    waiting = pending(folder, killed_of(status))
    if waiting:
        checks.append(Check(name="orders", well=False, said=waiting))
    words = status.reason
    if status.killed and (on := switch(folder)):
        words = f"{words}: {on}" if words else on
    said = "; ".join(filter(None, (words, waiting)))
    return msgspec.structs.replace(status, health=tuple(checks), reason=said)


def _aged(check: Check, status: Status, lives: bool, now: int) -> Check:
    """What an engine said of itself, with the age of its last bar; where it lives no more, as a thing of the past."""
    said = check.said
    if check.name == "feed" and status.last_bar:
        said = f"{said}, the last bar came {_ago(now, status.last_bar)} ago"
    if not lives and check.name != "models":  # a quarantine lasts
        said = f"at the end: {said}"
    return msgspec.structs.replace(check, said=said)


def _engine(status: Status, journal: Path, now: int) -> tuple[Check, bool]:
    """Does the engine that wrote a status still live, and is it well?"""
    try:
        holder, lives = engine_of(journal)
    except JournalFailed as failed:
        return Check(name="engine", well=False, said=f"its journal cannot be read: {failed}"), False
    if holder is None:
        how = status.ended or "without saying how"
        return Check(name="engine", well=True, said=f"ended {_ago(now, status.written)} ago: {how}"), False
    heard = max(holder.heartbeat, status.written)
    if not lives:
        said = (
            f"process {holder.pid} was ended from outside, last heard of {_ago(now, heard)} ago; what it booked is "
            "durable: the same trimtab paper goes on"
        )
        return Check(name="engine", well=False, said=said), False
    silent = (now - heard) / SECOND > SILENCE
    since = f"process {holder.pid}, since {utc(holder.since)}"
    return Check(name="engine", well=not silent, said=f"{since}, last heard of {_ago(now, heard)} ago"), True


def _ago(now: int, then: int) -> str:
    return lasting(max(0, now - then) / SECOND) if then else "an unknown time"
