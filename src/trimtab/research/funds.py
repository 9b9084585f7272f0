"""The cash of a run: what is in each wallet at the start, what is paid in and out on the way, and what it is worth."""

from __future__ import annotations

import numpy as np

from trimtab.data.panel import instant
from trimtab.rules.book import Setup, wallets_of
from trimtab.rules.market import Market
from trimtab.types import F64, I64, SECOND, CashFlow, Flows, Instrument, Panel, Spec, TrimtabError
from trimtab.words import near, utc

#: (venue, currency) -> its place in the cash of a book.
Wallets = dict[tuple[str, str], int]


def check_currencies(spec: Spec, panel: Panel) -> None:
    """TrimtabError where the book's equity would need an exchange rate that the panel does not have."""
    quotes = sorted({i.quote for i in panel.instruments})
    foreign = [quote for quote in quotes if quote != spec.base_currency]
    if not foreign or "fx" in panel.fields:
        return
    if len(quotes) == 1:
        raise TrimtabError(
            f"base_currency is {spec.base_currency}, but {', '.join(panel.symbols)} are quoted in {quotes[0]}: set "
            f"base_currency: {quotes[0]}, or give an exchange rate: {_example(foreign[0], spec.base_currency)}"
        )
    raise TrimtabError(
        f"the book mixes quote currencies ({', '.join(quotes)}), so its equity in {spec.base_currency} needs exchange "
        f"rates: {_example(foreign[0], spec.base_currency)}. Or run one spec per currency."
    )


def _example(quote: str, base: str) -> str:
    """How a rate of exchange is given, in a spec and in a program."""
    pair = f"{quote}{base}"
    return (
        f"`fx: {{{quote}: {pair}}}` in a spec, load(…, fx={{{quote!r}: {pair!r}}}) in a program (a pair of the store)"
    )


def base_of(panel: Panel) -> str:
    """The base currency that a panel speaks of: that of the instruments whose field `fx` is never a number.

    Without such a field, or where it does not tell, the first instrument's.
    """
    quotes = [i.quote for i in panel.instruments]
    if "fx" in panel.fields:
        rates = panel.values[:, :, panel.fields.index("fx")]
        own = {quote for i, quote in enumerate(quotes) if not np.isfinite(rates[:, i]).any()}
        if len(own) == 1:
            return own.pop()
    return quotes[0]


def opening_of(spec: Spec, panel: Panel, rates: F64) -> tuple[float, F64]:
    """Equity at the start in base currency, and cash (C,) of each wallet in its own.

    rates  (C,) base currency per unit of each wallet's currency at the first row; 0: not known

    One capital is enough where there is one wallet: cash of one venue or currency buys nothing in another.
    """
    wallets = wallets_of(panel.instruments)
    for (_, quote), place in wallets.items():
        if not rates[place] > 0.0:
            raise TrimtabError(
                f"no exchange rate of {quote} in {spec.base_currency} is known at the first row ({utc(panel.ts[0])}): "
                f"start the run later, or load a longer series of the pair. The panel's field `fx` says {quote}'s rate "
                f"in {spec.base_currency} (NaN: not known)"
            )
    if not isinstance(spec.capital, dict):
        if len(wallets) > 1:
            raise TrimtabError(
                f"the book has {len(wallets)} wallets ({', '.join(map(name_of, wallets))}) but one capital, and cash "
                "is not fungible across venues and currencies: say how much is in each, such as capital: "
                f"{{{', '.join(f'{name_of(w)}: 50_000' for w in wallets)}}}"
            )
        return float(spec.capital), np.array([float(spec.capital) / rates[0]])
    cash = np.full(len(wallets), np.nan)
    for name, amount in spec.capital.items():
        place = place_of(name, wallets, f"capital.{name}")
        if cash[place] == cash[place]:
            raise TrimtabError(f"capital.{name}: the cash of this wallet is given twice")
        cash[place] = amount
    for wallet, place in wallets.items():
        if cash[place] != cash[place]:
            raise TrimtabError(
                f"capital says nothing of the wallet {name_of(wallet)}: add {name_of(wallet)}: 0 if it begins empty"
            )
    capital = float((cash * rates).sum())
    if not capital > 0.0:
        raise TrimtabError("capital: every wallet begins empty; expected some cash in one of them")
    return capital, cash


def name_of(wallet: tuple[str, str]) -> str:
    """`venue/currency`, as a wallet is called in a spec."""
    return "/".join(wallet)


def place_of(name: str, wallets: Wallets, path: str) -> int:
    """The place of a wallet by `venue/currency`, or by a currency (a venue) that only one wallet has.

    An empty name is the first. TrimtabError, beginning with the setting's path, for a name that fits none or several.
    """
    if not name:
        return 0
    fit = [place for wallet, place in wallets.items() if name == name_of(wallet) or name == wallet[1]]
    if len(fit) == 1:
        return fit[0]
    names = [name_of(wallet) for wallet in wallets]
    if fit:
        raise TrimtabError(f"{path}: {len(fit)} wallets hold {name}; say which: {', '.join(names)}")
    hint = near(name, [*names, *(wallet[1] for wallet in wallets)])
    raise TrimtabError(f"{path}: there is no wallet {name!r}{hint}; the book has {', '.join(names)}")


def flows_of(spec: Spec, panel: Panel) -> Flows:
    """The cash flows as rows of a panel: each counts at the first close from its instant on.

    TrimtabError for one outside the window of the bars: nothing would come of it.
    """
    flows, when = dated_flows(spec, panel.instruments)
    first, last = span_of(panel)
    for k, flow in enumerate(spec.cash_flows):
        if not first <= _instant_of(k, flow) <= last:
            raise TrimtabError(
                f"cash_flows.{k}.at: {flow.at} is outside the bars of this run, which go from {utc(first)} to "
                f"{utc(last)}"
            )
    return flows._replace(row=np.searchsorted(panel.ts, when))


def dated_flows(spec: Spec, instruments: tuple[Instrument, ...]) -> tuple[Flows, I64]:
    """The cash flows in the order of their instants (F,), ns UTC, which are given beside them; rows are 0."""
    wallets = wallets_of(instruments)
    when = np.array([_instant_of(k, f) for k, f in enumerate(spec.cash_flows)], np.int64)
    wallet = [place_of(f.wallet, wallets, f"cash_flows.{k}.wallet") for k, f in enumerate(spec.cash_flows)]
    amount = np.array([float(f.amount) for f in spec.cash_flows])
    order = np.argsort(when, kind="stable")
    return Flows(np.zeros(len(when), np.int64), np.array(wallet, np.int64)[order], amount[order]), when[order]


def _instant_of(k: int, flow: CashFlow) -> int:
    at = instant(flow.at, f"cash_flows.{k}.at")
    if at is None:
        raise TrimtabError(f"cash_flows.{k}.at is empty: expected a date such as 2021-03-02")
    return int(at.timestamp()) * SECOND + at.microsecond * 1_000


def span_of(panel: Panel) -> tuple[int, int]:
    """When the first bar of a panel opened, and when its last one closed, ns UTC."""
    return int(panel.ts[0] - np.nanmin(panel.values[0, :, panel.fields.index("duration")])), int(panel.ts[-1])


# --- what it is worth ------------------------------------------------------------------------------------------------


def rates_of(market: Market, columns: I64, rows: I64) -> F64:
    """Base currency per unit of a currency: columns (K,) of the marks, -1 for base currency, at rows (K,) -> (K,)."""
    foreign = columns >= 0
    if not foreign.any():
        return np.ones(len(columns))
    return np.where(foreign, market.mark[rows, columns], 1.0)


def columns_of(setup: Setup) -> I64:
    """(C,) where the rate of each wallet's currency stands among the marks; -1: base currency."""
    columns = np.full(int(setup.terms["wallet"].max()) + 1, -1, np.int64)
    columns[setup.terms["wallet"]] = setup.terms["column"]
    return columns


def worth_of_flows(market: Market, setup: Setup) -> F64:
    """(F,) each cash flow in base currency, at the rate of its row."""
    flows = setup.flows
    return flows.amount * rates_of(market, columns_of(setup)[flows.wallet], flows.row)


def revaluation_of(market: Market, setup: Setup, rows: I64) -> F64:
    """What the cash brought in gained by exchange rates alone, up to each of the rows (D,) -> (D,), base currency.

    A model's profit is made in the currency of its instrument and counted at the rate of the day; what remains of the
    change of equity, cash flows apart, is this.
    """
    columns, flows = columns_of(setup), setup.flows
    if not (columns >= 0).any():
        return np.zeros(len(rows))
    worth = np.full(len(rows), setup.capital)
    for row, value in zip(flows.row, worth_of_flows(market, setup), strict=True):
        worth[rows >= row] += value
    return brought_in(market, setup, rows).sum(axis=1) - worth


def brought_in(market: Market, setup: Setup, rows: I64) -> F64:
    """(R, C) the cash that was brought into each wallet up to each row, at that row's rates, base currency."""
    columns = columns_of(setup)
    brought = np.tile(setup.cash, (len(rows), 1))
    for row, wallet, amount in zip(*setup.flows, strict=True):
        brought[rows >= row, wallet] += amount
    return brought * np.where(columns >= 0, market.mark[rows][:, columns], 1.0)
