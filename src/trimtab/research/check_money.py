"""The law of conservation: equity is the cash that was brought in and what became of it, whatever moved it.

The money of a run is counted here a second time, from its fills and the panel alone: what was traded, what the venue
took at a liquidation, funding, borrow, interest, dividends, and cash paid in and out, each in the currency of its
wallet. It is slow and plain on purpose: the rules are the other count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np

from trimtab.research import check_path
from trimtab.research.check_subject import Finding, Subject
from trimtab.research.run import Run
from trimtab.rules.limits import LIQUIDATE
from trimtab.types import DAY, F64, HOUR, I64, CashFlow, Limits, Panel, Spec
from trimtab.words import utc

_CLOSE: Final = 1e-9
_FUNDING_EVERY: Final = 8 * HOUR
#: Another wallet of the book with everything on: its venue and its currency.
_VENUE, _CURRENCY = "elsewhere", "XTS"  # ISO 4217's code for tests


def conservation(subject: Subject) -> list[Finding]:
    """Equity is what fills, carry and cash flows made of the capital; the models' profits and costs add up to it.

    Three books: each weight sized anew at every bar, one under tight limits, and one with everything on.
    """
    books = (
        (subject, check_path.book_of(subject, Limits(), "always")),
        (subject, check_path.book_of(subject, check_path.TIGHT)),
        _with_everything(subject),
    )
    for held, book in books:
        found = _money_break(held, check_path.run_book(held, book, held.panel))
        if found:
            return [found]
    return []


def _with_everything(subject: Subject) -> tuple[Subject, check_path.Book]:
    """Every second instrument as a perpetual on margin, in another currency and venue, and cash paid in and out;
    all split their shares and pay dividends."""
    panel = _abroad(subject.panel, subject.rng("conservation"))
    changed = subject._replace(panel=_companies(panel, subject.rng("dividends")))
    book = check_path.book_of(changed, Limits(), "always")
    home, whole, ts = subject.panel.instruments[0], 1_000_000.0, changed.panel.ts
    first, other = f"{home.venue}/{home.quote}", f"{_VENUE}/{_CURRENCY}"
    alone = len(changed.panel.instruments) == 1
    capital: dict[str, float] | float = whole if alone else {first: 0.8 * whole, other: 0.2 * whole}
    paid = ((0.05 * whole, first), (-0.03 * whole, first if alone else other), (0.02 * whole, first))
    flows = tuple(
        CashFlow(at=utc(ts[len(ts) * k // 4]), amount=amount, wallet=wallet)
        for k, (amount, wallet) in enumerate(paid, start=1)
    )
    spec: Spec = msgspec.structs.replace(book.spec, base_currency=home.quote, capital=capital, cash_flows=flows)
    return changed, book._replace(spec=spec)


def _abroad(panel: Panel, rng: np.random.Generator) -> Panel:
    """The same bars with another currency, margin and funding for every second instrument, the last one included."""
    n, rows = len(panel.instruments), len(panel.ts)
    away = np.arange((n - 1) % 2, n, 2)
    names = [f for f in panel.fields if f not in ("funding", "fx")]
    columns = [panel.values[:, :, panel.fields.index(f)] for f in names]
    funding, fx = np.full((rows, n), np.nan), np.full((rows, n), np.nan)
    funding[:, away] = np.where(rng.random((rows, 1)) < 0.2, rng.normal(0.0, 2e-4, (rows, len(away))), np.nan)
    made = list(panel.instruments)
    for i in range((n - 1) % 2, n, 2):
        made[i] = msgspec.structs.replace(made[i], kind="perpetual", initial_margin=0.2, maintenance_margin=0.1)
        if n > 1:
            made[i] = msgspec.structs.replace(made[i], venue=_VENUE, quote=_CURRENCY)
    fx[:, away] = 1.2 * np.exp(np.cumsum(rng.normal(0.0, 0.004, (rows, 1)), axis=0))
    values = np.stack([*columns, funding, fx], axis=2)
    return Panel(panel.ts, tuple(made), (*names, "funding", "fx"), values, panel.timeframe)


def _companies(panel: Panel, rng: np.random.Generator) -> Panel:
    """The same bars with splits, after which prices are what they were a share, and dividends of every instrument."""
    names = [f for f in panel.fields if f not in ("split", "dividend")]
    values = np.full((*panel.values.shape[:2], len(names) + 2), np.nan)
    for k, name in enumerate(names):
        values[:, :, k] = panel.values[:, :, panel.fields.index(name)]
    prices = [names.index(f) for f in ("open", "high", "low", "close")]
    for i in range(len(panel.instruments)):
        there, shares = np.flatnonzero(np.isfinite(values[:, i, prices[3]]))[1:], 1.0
        for t in there[rng.random(len(there)) < 0.03]:
            if rng.random() < 0.7:
                ratio = float(rng.choice([2.0, 0.5, 1.5, 1.0 / 3.0, 7.0, 1.0 / 7.0]))
                ratio = ratio if shares == 1.0 else 1.0 / shares  # each is undone by the next, or nothing would be left
                shares = shares * ratio if shares == 1.0 else 1.0
                values[t, i, -2] = ratio
                for k in prices:
                    values[t:, i, k] /= ratio
            if rng.random() < 0.7:
                values[t, i, -1] = 0.01 * values[t, i, prices[3]]
    return Panel(panel.ts, panel.instruments, (*names, "split", "dividend"), values, panel.timeframe)


def _money_break(subject: Subject, run: Run) -> Finding | None:
    """Where the run's own numbers are not those of the second count."""
    capital, result = run.capital, run.result
    counted = count(run)
    wrong = ~(np.abs(counted.equity - run.bar_equity) <= _CLOSE * capital)  # NaN is wrong too
    if wrong.any():
        row = int(wrong.argmax())
        told = f"equity is {run.bar_equity[row]:,.2f}; fills, carry and cash flows make {counted.equity[row]:,.2f}"
        return _money(subject, "equity", row, told)
    sums = (
        ("pnl", result.pnl.sum(axis=1), result.curve[:, 0] - counted.own[result.sample]),
        ("costs", result.cost.sum(axis=1), result.curve[:, 1]),
    )
    for name, parts, total in sums:
        wrong = ~(np.abs(parts - total) <= _CLOSE * capital)
        if wrong.any():
            row = int(result.sample[wrong.argmax()])
            return _money(subject, name, row, f"{name} by model do not add up to the book's")
    return None


def _money(subject: Subject, field: str, row: int, seen: str) -> Finding:
    return Finding(
        "conservation",
        False,
        field,
        row,
        f"{seen}. A strategy cannot cause this: it is a fault of Trimtab, please report it with the data",
        int(subject.panel.ts[row]),
    )


# --- the second count ------------------------------------------------------------------------------------------------


class Count(NamedTuple):
    """equity  (T,) of the book; own: (T,) the cash brought in, at each row's rates. Base currency."""

    equity: F64
    own: F64


class Held(NamedTuple):
    """What is known of every row: T rows, N instruments, C wallets.

    quantity  (T, N) units held at the close; price: (T, N) last close, quote currency
    rate      (T, C) base currency per unit of a wallet's; wallet: (N,) of each instrument
    """

    quantity: F64
    price: F64
    rate: F64
    wallet: I64


def count(run: Run) -> Count:
    """Equity at every row, from the fills, the panel, the costs' rates and the spec's cash flows."""
    held, setup = _held(run), run.fold.setup
    rows = len(run.panel.ts)
    moved, paid = np.zeros((rows, len(setup.cash))), np.zeros((rows, len(setup.cash)))
    np.add.at(paid, (setup.flows.row, setup.flows.wallet), setup.flows.amount)
    fills, unit = run.result.fills, run.result.book.unit
    spent = fills["lots"] * unit[fills["instrument"]] * fills["price"] + fills["fee"]
    np.subtract.at(moved, (fills["row"], held.wallet[fills["instrument"]]), spent)
    _take_liquidations(run, held, moved)
    _take_dividends(run, held, moved)
    funding = held.quantity * held.price * _funding_rates(run)
    for i, c in enumerate(held.wallet):
        moved[:, c] -= funding[:, i]
    _take_days(run, held, moved, paid)
    cash = setup.cash + np.cumsum(moved + paid, axis=0)
    own = ((setup.cash + np.cumsum(paid, axis=0)) * held.rate).sum(axis=1)
    positions = (held.quantity * held.price * held.rate[:, held.wallet]).sum(axis=1)
    return Count((cash * held.rate).sum(axis=1) + positions, own)


def _held(run: Run) -> Held:
    panel, fills, unit = run.panel, run.result.fills, run.result.book.unit
    wallet: I64 = np.ascontiguousarray(run.fold.setup.terms["wallet"])
    lots = np.zeros((len(panel.ts), len(panel.instruments)))
    np.add.at(lots, (fills["row"], fills["instrument"]), fills["lots"])
    price = _standing(panel.values[:, :, panel.fields.index("close")])
    rate = np.ones((len(panel.ts), int(wallet.max()) + 1))
    for c in range(rate.shape[1]):
        mine = np.flatnonzero(wallet == c)
        if panel.instruments[int(mine[0])].quote != run.spec.base_currency:
            rate[:, c] = _standing(panel.values[:, mine, panel.fields.index("fx")])[:, 0]
    return Held(np.cumsum(lots, axis=0) * unit, price, rate, wallet)


def _standing(values: F64) -> F64:
    """(T, K) filled forward; 0 before the first."""
    seen = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.nan_to_num(np.take_along_axis(values, np.maximum.accumulate(seen, axis=0), axis=0))


def _take_liquidations(run: Run, held: Held, moved: F64) -> None:
    """What venues took beside their fee, of the positions that they closed."""
    acts, fills, terms = run.result.actions, run.result.fills, run.fold.setup.terms
    for act in acts[acts["action"] == LIQUIDATE]:
        i, row = int(act["instrument"]), int(act["row"])
        mine = fills[(fills["row"] == row) & (fills["instrument"] == i) & (fills["lots"] == -int(act["wanted"]))]
        notional = abs(float(act["wanted"])) * terms["unit"][i] * float(mine["price"][-1])
        moved[row, held.wallet[i]] -= notional * terms["liquidation"][i]


def _take_dividends(run: Run, held: Held, moved: F64) -> None:
    """Dividends on what was held a row before, and cash for what a split left of a lot, at the open of its row."""
    panel, unit = run.panel, run.result.book.unit
    events = {f: panel.values[:, :, panel.fields.index(f)] for f in ("split", "dividend") if f in panel.fields}
    for name, column in events.items():
        for t, i in np.argwhere(np.isfinite(column)):
            if t == 0:
                continue
            before, told = held.quantity[t - 1, i], float(column[t, i])
            cash = before * told
            if name == "split":
                lots = before * told / unit[i]
                cash = (lots - np.trunc(lots + np.sign(lots) * (1e-9 + 1e-15 * abs(lots)))) * unit[i]
                cash *= float(panel.values[t, i, panel.fields.index("open")])
            moved[t, held.wallet[i]] += cash


def _funding_rates(run: Run) -> F64:
    """(T, N) what longs pay to shorts at each row, of notional: the panel's field, else the fallback by the clock."""
    panel, terms = run.panel, run.fold.setup.terms
    if "funding" in panel.fields:
        rates = np.nan_to_num(panel.values[:, :, panel.fields.index("funding")])
    else:
        times = np.diff(panel.ts // _FUNDING_EVERY, prepend=panel.ts[:1] // _FUNDING_EVERY)
        rates = times[:, None] * terms["funding"][None, :]
    return np.where(terms["perpetual"] == 1, rates, 0.0)


def _take_days(run: Run, held: Held, moved: F64, paid: F64) -> None:
    """Borrow and interest at the end of every UTC day, on what was held and owed then; writes them into `moved`."""
    terms = run.fold.setup.terms
    borrow = np.where(terms["perpetual"] == 1, 0.0, terms["borrow"])
    interest = np.zeros(moved.shape[1])
    np.maximum.at(interest, held.wallet, terms["margin_interest"])
    cash, counted = run.fold.setup.cash.copy(), 0
    for row, at, days in _days(run.panel.ts):
        cash += moved[counted:row].sum(axis=0) + paid[counted:row].sum(axis=0)
        counted = row
        notional = np.maximum(-held.quantity[at], 0.0) * held.price[at]
        due = np.bincount(held.wallet, notional * borrow * days / 365.0, len(cash))
        # A day that ended before this row has seen nothing of it, and cash that comes in at its close is too late.
        left = cash - due + (moved[row] if at == row else 0.0)
        # A perpetual is in the books at its notional, of which nothing was paid.
        left += np.bincount(held.wallet, held.quantity[at] * held.price[at] * (terms["perpetual"] == 1), len(cash))
        moved[row] -= due + np.maximum(-left, 0.0) * interest * days / 365.0


def _days(ts: I64) -> Iterator[tuple[int, int, int]]:
    """(row that pays, row whose close counts, days): at a close at midnight, else in the first row after it."""
    last = (int(ts[0]) - 1) // DAY
    for t, now in enumerate(ts.tolist()):
        before, after = (now - 1) // DAY, now // DAY
        if before > last:
            yield t, t - 1, before - last
            last = before
        if after > last:
            yield t, t, after - last
            last = after
