"""What a reader must know before believing the numbers of a run, in sentences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trimtab.rules.book import wallets_of
from trimtab.rules.limits import LIMIT_NAMES
from trimtab.rules.orders import GONE
from trimtab.types import DAY, TIMEFRAMES, Costs, Panel, TrimtabError
from trimtab.words import day_of, utc

if TYPE_CHECKING:
    from trimtab.research.run import Run

#: How a note begins without which the figures are not to be believed.
WARNING: Final = "Warning: "
#: What rounding may leave of a debt, in any currency.
CENT: Final = 0.005
#: Jumps of one instrument that look like splits: so many are told.
FEW: Final = 3
#: Bars that begin, or end, so much later, or earlier, than the run are a fact of its figures.
LATE: Final = 7 * DAY


def notes_of(run: Run) -> tuple[str, ...]:
    """What the numbers take for granted, in sentences."""
    spec, panel, costs, result = run.spec, run.panel, run.costs, run.result
    found: list[str] = [*_unrecorded(run), *unadjusted(panel), *_refusals(run), *_splits(run)]
    closes = [i.symbol for i in panel.instruments if i.close_only]
    if closes:
        found.append(
            f"{', '.join(closes)}: only closes were published. Open, high and low equal the close, so orders fill at "
            "the next close, stops see no intrabar move, and volume is unknown."
        )
    found.extend(_ragged(run))
    found.extend(_outsiders(run))
    if spec.volume == "ignore":
        found.append("Volume is ignored where it is zero or unknown: such bars still trade, without impact.")
    if all(cost._replace(participation=np.inf, impact_power=0.5) == Costs() for cost in costs):
        found.append("Frictionless: this run pays no fee, spread, slippage or impact. No market is like that.")
    else:
        free = [i.symbol for i, cost in zip(panel.instruments, costs, strict=True) if cost == Costs()]
        if free:
            found.append(f"{', '.join(free)}: traded without any cost.")
    refused = result.actions["instrument"][result.actions["limit"] == LIMIT_NAMES.index("shortable")]
    found.extend(
        f"{panel.symbols[n]} cannot be sold short: {(refused == n).sum():,} decisions to do so were refused, and the "
        "book held it long or not at all."
        for n in sorted(set(refused.tolist()))
    )
    waiting = int((result.book.positions["live"] & 1).sum())
    if waiting:
        found.append(f"{waiting} order{'s were' if waiting > 1 else ' was'} still working when the data ended.")
    return (*found, *_debts(run), *_carry_notes(run))


def _unrecorded(run: Run) -> Iterator[str]:
    if run.unrecorded:
        yield f"{WARNING}this run is not in the trial ledger, and no verdict is given on it: {run.unrecorded}."


def unadjusted(panel: Panel) -> Iterator[str]:
    """Splits that prices show and no event explains, and events that prices do not show: a run books what is stored."""
    from trimtab.data.quality.splits import doubtful_splits

    told: dict[str, int] = {}
    for symbol, close, jump in doubtful_splits(panel):
        told[symbol] = told.get(symbol, 0) + 1
        if told[symbol] > FEW:
            continue
        day = day_of(close)
        if jump.fault == "adjusted":
            how = f"give all its events anew, without it: trimtab data events {symbol} --import FILE --replace"
        else:
            how = (
                f"store it, as a line {day},split,{jump.ratio:g} of a file: trimtab data events {symbol} --import FILE"
            )
        yield f"{WARNING}{symbol}, {day}: {jump.said}, and this run books what is stored; {how}."
    for symbol, count in told.items():
        if count > FEW:
            yield f"{WARNING}{symbol}: {count - FEW:,} more of these: trimtab data validate {symbol}."


def bar_of(panel: Panel, close: Any) -> str:
    """A bar of a panel as people call it: one of a day or a week by its day, a shorter one by its close."""
    return day_of(close) if TIMEFRAMES[panel.timeframe] >= DAY else utc(close)


def _ragged(run: Run) -> Iterator[str]:
    """Instruments whose bars begin long after the run does, or end long before."""
    panel = run.panel
    closes = np.isfinite(panel.values[:, :, panel.fields.index("close")])
    for n, symbol in enumerate(panel.symbols):
        rows = np.flatnonzero(closes[:, n])
        if not len(rows):
            continue
        first, last = panel.ts[rows[0]], panel.ts[rows[-1]]
        if first - panel.ts[0] > LATE:
            until = "until then it is not traded, and its part of holding is cash"
            yield f"{symbol}: its bars begin on {bar_of(panel, first)}; {until}."
        gone = _delisted(run, n)
        if gone:
            yield gone
        elif panel.ts[-1] - last > LATE:
            held = ", and what was held stayed at that close" if run.result.book.positions["lots"][n] else ""
            yield f"{symbol}: its bars end on {bar_of(panel, last)}; after that it is not traded{held}."


def _outsiders(run: Run) -> Iterator[str]:
    """Who could not be held in the whole run, and members that are not traded."""
    member = run.fold.market.member
    never = np.flatnonzero((member != 1.0).all(axis=0)) if len(member) else np.empty(0, np.int64)
    for n in never.tolist():
        i = run.panel.instruments[n]
        days = [f"{word} {day}" for word, day in (("listed", i.listed), ("delisted", i.delisted)) if day]
        why = ", ".join([*days, *([Path(run.spec.members).name] if run.spec.members else [])])
        yield f"{i.symbol}: at no close of this run was it a member ({why}), so it was never held."
    if run.spec.members:
        from trimtab.data.members import passed_over

        with contextlib.suppress(TrimtabError):  # bars with the field `member` need no file
            if others := passed_over(run.spec.members, run.panel.symbols):
                yield f"{others}."


def _delisted(run: Run, n: int) -> str:
    """What became of an instrument that was delisted; empty where it was not."""
    member = run.fold.market.member
    ended = np.flatnonzero(member[:, n] == -1.0) if len(member) else np.empty(0, np.int64)
    if not len(ended):
        return ""
    symbol, bars = run.panel.symbols[n], run.panel.values[: ended[0] + 1, n, run.panel.fields.index("close")]
    there = np.flatnonzero(np.isfinite(bars))
    if not len(there):
        return ""
    closed = run.result.fills[(run.result.fills["instrument"] == n) & (run.result.fills["reason"] == GONE)]
    held = (
        f"the {abs(int(closed['lots'][0])):,} lots that were held {'long' if closed['lots'][0] < 0 else 'short'} were "
        f"closed at its last price, {closed['price'][0]:g}, without costs"
        if len(closed)
        else "nothing was held"
    )
    return f"{symbol}: delisted; its last bar is that of {bar_of(run.panel, run.panel.ts[there[-1]])}, and {held}."


def _debts(run: Run) -> Iterator[str]:
    """Withdrawals that took more from a cash account than it had: a venue would not have paid them."""
    setup, fills, terms = run.fold.setup, run.result.fills, run.fold.setup.terms
    flows = setup.flows
    paid = -fills["lots"] * terms["unit"][fills["instrument"]] * fills["price"] - fills["fee"]
    for (venue, currency), wallet in wallets_of(run.panel.instruments).items():
        mine, taken = terms["wallet"] == wallet, (flows.wallet == wallet) & (flows.amount < 0.0)
        if not taken.any() or terms["margin"][mine].any():
            continue
        there = setup.cash[wallet] if len(setup.cash) else setup.capital
        traded = mine[fills["instrument"]]
        left = np.array([
            there
            + flows.amount[(flows.wallet == wallet) & (np.arange(len(flows.row)) <= k)].sum()
            + paid[traded & (fills["row"] <= flows.row[k])].sum()
            for k in np.flatnonzero(taken)
        ])  # fmt: skip
        short = np.flatnonzero(left < -CENT)
        if not len(short):
            continue
        times = f"{len(short):,} withdrawals" if len(short) > 1 else "a withdrawal"
        day = utc(run.panel.ts[flows.row[np.flatnonzero(taken)[short[0]]]])
        free = "" if (terms["margin_interest"][mine] > 0.0).any() else " without interest (costs.margin_interest is 0)"
        yield (
            f"{venue}/{currency}: {times} took more than the cash that was there, first on {day}, when "
            f"{-left[short[0]]:,.2f} {currency} were owed{free}. A venue would have paid out only what was there: sell "
            "first, or withdraw less."
        )


def _carry_notes(run: Run) -> list[str]:
    """What holding would have cost elsewhere and did not here."""
    fills, terms = run.result.fills, run.fold.setup.terms
    held: set[int] = set(fills["instrument"].tolist())
    short: set[int] = set(fills["instrument"][fills["position"] < 0].tolist())
    perpetual = {n for n in held if terms["perpetual"][n]}

    def named(of: Iterable[int], rate: str) -> str:
        return ", ".join(run.panel.symbols[n] for n in sorted(of) if terms[rate][n] == 0.0)

    found: list[str] = []
    if names := named(short - perpetual, "borrow"):
        found.append(f"{names}: sold short without paying borrow (costs.borrow is 0).")
    if len(run.fold.market.funding):
        found.extend(note for n in sorted(perpetual) for note in _funding_notes(run, n))
    elif names := named(perpetual, "funding"):
        found.append(f"{names}: held without funding. The bars have no field `funding`, and costs.funding is 0.")
    if names := named({n for n in held - perpetual if terms["margin"][n]}, "margin_interest"):
        found.append(f"{names}: on margin without interest on what is owed (costs.margin_interest is 0).")
    return [*found, "Cash earns no interest."]


def _funding_notes(run: Run, n: int) -> Iterator[str]:
    """Where a perpetual was held while its bars named no rate: with a field `funding` there is no fallback."""
    symbol, ts = run.panel.symbols[n], run.panel.ts
    mine = run.result.fills[run.result.fills["instrument"] == n]
    until = ts[-1] if mine["position"][-1] else ts[mine["row"][-1]]
    known = ts[np.isfinite(run.fold.market.funding[:, n])]
    if not len(known):
        yield f"{symbol}: held without funding. Its bars' field `funding` never holds a rate."
    elif known[0] - ts[mine["row"][0]] > 2 * DAY or until - known[-1] > 2 * DAY:
        yield (
            f"{symbol}: funding is known from {bar_of(run.panel, known[0])} to {bar_of(run.panel, known[-1])} only; "
            "before and after that it was held without."
        )


def _refusals(run: Run) -> list[str]:
    """A sentence for each model whose fit refused a window."""
    found: list[str] = []
    for m, name in enumerate(run.model_names):
        mine = [refusal for refusal, model in run.refused if model == m]
        if mine:
            times = "once" if len(mine) == 1 else f"{len(mine):,} times, the first time"
            when, why = bar_of(run.panel, mine[0].ts), mine[0].reason.rstrip(".")
            found.append(f"{name} abstained until its next fit {times} on {when}: {why}.")
    return found


def _splits(run: Run) -> Iterator[str]:
    """Since when each allocator splits, into what at the end, and what it refused."""
    for split in run.splits:
        who, names = split.title(run.model_names), split.names(run.model_names, run.panel.symbols)
        before = "the budgets were those of the spec" if split.model < 0 else "its budget was in equal parts"
        if not len(split.row):
            yield f"{who} never had the {split.use.window:,} days that it looks at: {before}."
            continue
        times = f"{len(split.row):,} times" if len(split.row) > 1 else "once"
        first, last = bar_of(run.panel, run.panel.ts[split.row[0]]), zip(names, split.share[-1].tolist(), strict=True)
        shares = ", ".join(f"{name} {part:.1%}" for name, part in last)
        yield f"{who} chose shares {times}, first on {first}; until then {before}. The last: {shares}."
        if split.refused:
            kept = "once" if len(split.refused) == 1 else f"{len(split.refused):,} times, the first time"
            ts, reason = split.refused[0]
            yield f"{who} kept the shares that stood {kept} on {bar_of(run.panel, ts)}: {reason.rstrip('.')}."
