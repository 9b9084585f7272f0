"""The book: everything a run remembers about its account, as arrays that a compiled rule can hold.

A Book's bytes are its snapshot. Cold state sits in records, hot state (read on every bar) in columns. `Terms` are the
facts of the instruments and their costs, `Style` how orders are sent; neither changes while running.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.compiled import part
from trimtab.types import CHARGE_KINDS, F64, I64, Costs, Flows, Instrument, Limits, codes

#: Slots of an instrument's order table, in the order in which they match inside a bar.
TARGET, STOP_LOSS, TRAIL, PROFIT = codes(4)
SLOTS = 4

HEAD = np.dtype(
    [
        ("equity", "f8"),  # at the last row marked
        ("cash", "f8"),  # sum over wallets, summed in wallet order
        ("peak", "f8"),
        ("worst", "f8"),  # deepest drawdown so far, a fraction <= 0
        ("floor", "f8"),  # equity below: something happens (see breakers.watch)
        ("ceiling", "f8"),  # equity above: something happens
        ("state", "i8"),
        ("derisked", "i8"),
        ("orders", "i8"),  # ids given so far
        ("fills", "i8"),
        ("working", "i8"),  # instruments with a target order that may meet the market, or a crossing due
        ("resting", "i8"),  # instruments whose resting orders have a band
        ("round_trips", "i8"),
        ("traded", "f8"),  # notional bought and sold, base currency
        ("saved", "f8"),  # costs that internal crossing saved
        ("retry", "i8"),  # something is to be asked for again: the row's end is a decision
        ("event", "i8"),  # cursor into Weights
        ("sample", "i8"),  # cursor into the rows at which the curves are sampled
        ("recorded", "i8"),  # rows of the per-bar equity written so far
        ("stamp", "i8"),  # cursor into the stamps of the setup
        ("flow", "i8"),  # cursor into the cash flows of the setup
        ("flows", "f8"),  # paid in less paid out so far, base currency
        ("margined", "i8"),  # instruments of margin accounts in which something is held
        ("day", "i8"),  # UTC day up to which borrow and interest are paid; -1: none yet
        ("clock", "i8"),  # UTC day from whose start the daily loss is measured; -1: none yet
        ("day_equity", "f8"),  # equity at 00:00 UTC, and at that of Monday; moved by cash flows
        ("week_equity", "f8"),
        (
            "killed",
            "i8",
        ),  # the kill switch. 1: flat, whatever anybody wants; 2: what is held stays
        ("expiry", "i8"),  # ts from which one of the positions may be held for too long; 0: none is
        ("locked", "i8"),  # bit 1: the daily loss was exceeded and the book stays flat today; bit 2: this week
        ("stamped", "i8"),  # ts of the last stamp
        ("tight", "i8"),  # at the last decision increases had no room beside what was still to go: see gate.room_for
        ("unsure", "i8"),  # instruments of which nobody can say whether an order has filled, see Book.unsure
    ]
)

POSITION = np.dtype(
    [
        ("lots", "i8"),
        ("avg_price", "f8"),
        ("realised", "f8"),  # before costs of closing fees; quote currency
        ("scale", "f8"),  # goal / wanted of that decision: how the gate's cut is shared between models
        ("best", "f8"),  # best price since entry, bars < t, for the trailing stop
        ("used", "i8"),  # lots filled in bar `used_row`, both sides
        ("used_row", "i8"),
        ("day", "i8"),  # UTC day of `bought` and `sold`
        ("bought", "i8"),  # lots bought (sold) on that day: impact is charged on the cumulative size
        ("sold", "i8"),
        ("opened", "i8"),  # ts of the fill that opened the position
        ("live", "i8"),  # bit per slot: an open order is there
        ("resting", "i8"),  # 1: has a band
        ("below", "f8"),  # a bar whose low is above it and whose high is below `above` can fill none of its orders,
        ("above", "f8"),  # but it may move the trailing stop: that has the narrower band of Book.low and Book.high
        ("crossing", "i8"),  # ts of a decision after which two models may exchange lots at the next open; 0: none
        ("grew", "i8"),  # ts of the last fill that increased the position
        ("sliced", "i8"),  # 1: its order was cut to what one order may hold, the rest is asked for again
        ("closing", "i8"),  # 1: a stop that filled in part, or max_holding, closes it; no more is asked for
    ]
)

ORDER = np.dtype(
    [
        ("order_id", "i8"),
        ("ts", "i8"),
        ("instrument", "i8"),
        ("lots", "i8"),
        ("filled", "i8"),
        ("kind", "i8"),
        ("limit_price", "f8"),
        ("stop_price", "f8"),
        ("tif", "i8"),
        ("post_only", "i8"),
        ("reduce_only", "i8"),
        ("parent", "i8"),
        ("status", "i8"),
        ("reason", "i8"),
        ("done_ts", "i8"),  # when it became terminal
        ("day", "i8"),  # UTC day of the open at which it reached the venue; -1: not there yet
        ("arrived", "i8"),  # it has met the market once
        ("triggered", "i8"),  # a stop whose level was touched
        ("waited", "i8"),  # the last reason it waited for; stays when it has filled
        ("after", "i8"),  # fills that the book had seen when it ended
    ]
)

TERMS = np.dtype(
    [
        ("unit", "f8"),  # lot_size x multiplier: quote currency per lot and unit of price
        ("lot_size", "f8"),
        ("tick_size", "f8"),  # 0: not known
        ("min_notional", "f8"),
        ("shortable", "i8"),
        ("initial_margin", "f8"),
        ("maintenance_margin", "f8"),
        ("perpetual", "i8"),
        ("margin", "i8"),  # 1: its wallet is a margin account
        ("wallet", "i8"),
        ("column", "i8"),  # of its wallet's currency in Book.quantity; -1: the base currency
        *[(name, "f8") for name in Costs._fields],
    ]
)

FILL = np.dtype(
    [
        ("fill_id", "i8"),
        ("order_id", "i8"),  # 0: models crossed internally, or by its reason a split
        ("ts", "i8"),
        ("row", "i8"),
        ("instrument", "i8"),
        ("lots", "i8"),  # of a split: the change of what is held
        ("price", "f8"),
        ("fee", "f8"),
        ("maker", "i8"),
        ("mid", "f8"),
        ("spread", "f8"),  # money, each kind apart; positive = paid
        ("slippage", "f8"),
        ("impact", "f8"),
        ("latency", "f8"),
        ("realised", "f8"),
        ("position", "i8"),  # lots held after it
        ("crossed", "f8"),  # lots exchanged between models
        ("slot", "i8"),  # of the order; SLOTS: the venue liquidated
        ("reason", "i8"),  # why no more of the order filled
        ("waited", "i8"),  # what the order had waited for
    ]
)

ACTION = np.dtype(
    [
        ("ts", "i8"),
        ("row", "i8"),
        ("limit", "i8"),
        ("instrument", "i8"),  # -1: the whole book
        ("model", "i8"),  # -1: all models
        ("wanted", "f8"),
        ("allowed", "f8"),
        ("action", "i8"),
    ]
)


#: An empty column.
NOTHING: F64 = np.empty(0)


class Book(NamedTuple):
    """The account of one run. N instruments, M models, C wallets (one per venue and currency).

    Cash in a currency other than the base one is a quantity like lots: it follows the instruments in `quantity`, and
    its exchange rate follows their marks. So equity is one sum, whatever the book holds.
    """

    head: NDArray[np.void]  # (1,) HEAD
    cash: F64  # (C,) each in its own currency
    column: I64  # (C,) where in quantity a wallet of another currency stands; -1: base currency
    positions: NDArray[np.void]  # (N,) POSITION
    orders: NDArray[np.void]  # (N, SLOTS) ORDER
    unit: F64  # (N,) quote currency per lot and unit of price
    quantity: F64  # (N + F,) lots x unit, signed, then F foreign cash: equity = cash + sum(quantity x mark)
    goal: I64  # (N,) lots that the gate allowed at the last decision
    wanted: I64  # (N,) scratch of one decision: lots asked of the gate
    allowed: I64  # (N,) scratch of one decision: lots that the gate lets through
    dirty: I64  # (N,) scratch: decided anew in this decision
    todo: I64  # (N,) scratch: instruments that a row has to look at
    sums: F64  # (3, N) scratch: notional by group, for each way to group instruments
    unsure: I64  # (2, N) signed lots sold and bought that may have filled, or may yet: outcomes that are not known
    working: I64  # (N,) 1: must be matched on every bar
    low: F64  # (N,) a bar whose low is at or below meets a resting order; -inf when there is none
    high: F64  # (N,) likewise for its high; +inf when there is none
    target: F64  # (M, N) virtual lots each model wants
    weight: F64  # (M, N) the weight they came from; NaN before the first
    blocked: F64  # (M, N) sign of the weight that a protective stop closed; 0 when free
    held: F64  # (M, N) each model's part of the lots held
    ledger: F64  # (M, N) each model's money: minus what its lots cost, plus what they earned, less costs
    charges: F64  # (M, N, 9) paid by kind, quote currency: costs, and the dividends, negative where received


class Style(NamedTuple):
    """How orders are sent and when a weight is worth a trade."""

    kind: int  # MARKET or LIMIT
    offset: float  # limit price away from the close, fraction
    tif: int
    post_only: int
    ignore_volume: int  # 1: a bar of zero or unknown volume still trades
    always: int  # 1: an unchanged weight is sized again whenever its model steps
    buffer: float  # no trade below this share of equity
    seed: int


class Groups(NamedTuple):
    """What is limited together. N instruments; a cap is a share of equity, inf: none.

    asset_class, venue  (N,) group of each instrument, 0 <= group < N; caps (G,) of each group
    model_cap           (M,)
    cluster             (D, N) groups of correlated instruments by day, in force from row cluster_row (D,) on
    """

    asset_class: I64
    class_cap: F64
    venue: I64
    venue_cap: F64
    model_cap: F64
    cluster: I64
    cluster_row: I64


#: Nothing is limited together.
NO_GROUPS: Final = Groups(
    np.empty(0, np.int64),
    NOTHING,
    np.empty(0, np.int64),
    NOTHING,
    NOTHING,
    np.empty((0, 0), np.int64),
    np.empty(0, np.int64),
)


#: No limits of the user's own.
NO_RULES: Final = np.empty(0, np.int64)

#: Nothing of the bars themselves is watched.
NO_ALARM: Final = np.empty((0, 4))


class Setup(NamedTuple):
    """Everything of a run but its bars and weights."""

    terms: NDArray[np.void]  # (N,) TERMS
    limits: Limits
    style: Style
    capital: float  # opening equity, base currency
    models: int
    stamps: I64 = np.empty(0, np.int64)  # (S,) rows at which something falls due: see rules.carry
    flows: Flows = Flows(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    more: int = 0  # 1: limits beyond gross leverage, weight, drawdown and protection are set, see rules.exposure
    groups: Groups = NO_GROUPS
    cash: F64 = NOTHING  # (C,) what is in each wallet at the start, in its own currency; empty: all in the first
    least: float = np.inf  # the smallest bound on a sum over any part of the book, share of equity; not max_weight
    rules: I64 = NO_RULES  # (R,) addresses of the user's own limits, see rules.plugged
    rule_bounds: F64 = NOTHING  # (R,) what each is told
    alarm: F64 = NO_ALARM  # (T, 4) the worst of each row, see rules.exposure.is_calm; (0, 4): nothing is watched


class Log(NamedTuple):
    """What a run writes down; a driver returns early when it is full and goes on once it is emptied.

    Tables without rows keep nothing (then one row of shares is scratch): for sweeps, which read the book only.
    """

    used: I64  # (3,) rows written in orders, fills, actions
    orders: NDArray[np.void]  # orders that ended
    fills: NDArray[np.void]
    shares: F64  # (fills, M) lots of each fill by model
    actions: NDArray[np.void]
    equity: F64  # (T,) per bar, or empty: not kept
    sample: I64  # (D,) rows at which the curves below are sampled, ascending
    curve: F64  # (D, 6) equity, costs paid, gross notional, net notional, notional traded, net cash paid in
    pnl: F64  # (D, M) each model's net profit, cumulative; (0, M): of the curves only equity is kept
    cost: F64  # (D, M) each model's costs, cumulative


def new_log(rows: int, instruments: int, models: int, kept: int, sample: I64, curves: bool = True) -> Log:
    """An empty Log of so many rows a table (0: keep nothing).

    kept     rows whose equity is recorded (0: none)
    curves   False: of the sampled curves only equity is kept
    """
    size = rows + 8 * SLOTS * (instruments + 1) * max(models, 1) if rows else 0
    days = len(sample)
    return Log(
        np.zeros(3, np.int64),
        np.empty(size, ORDER),
        np.empty(size, FILL),
        np.empty((max(size, 1), models)),
        np.empty(size, ACTION),
        np.empty(kept),
        sample,
        np.empty((days, 6)),
        np.empty((days if curves else 0, models)),
        np.empty((days if curves else 0, models)),
    )


def open_book(capital: float, terms: NDArray[np.void], models: int, cash: F64 = NOTHING) -> Book:
    """A flat book of M models over the instruments of `terms`.

    capital   opening equity, base currency; all in the first wallet, unless
    cash      (C,) says what is in each, in its own currency
    """
    n, m, wallets = len(terms), models, int(terms["wallet"].max()) + 1
    column = np.full(wallets, -1)
    column[terms["wallet"]] = terms["column"]
    foreign = int((column >= 0).sum())
    book = Book(
        head=np.zeros(1, HEAD),
        cash=cash.copy() if len(cash) else np.zeros(wallets),
        column=column,
        positions=np.zeros(n, POSITION),
        orders=np.zeros((n, SLOTS), ORDER),
        unit=terms["unit"].copy(),  # a column of one row would be a view
        quantity=np.zeros(n + foreign),
        goal=np.zeros(n, np.int64),
        wanted=np.zeros(n, np.int64),
        allowed=np.zeros(n, np.int64),
        dirty=np.zeros(n, np.int64),
        todo=np.zeros(n, np.int64),
        sums=np.zeros((3, n)),
        unsure=np.zeros((2, n), np.int64),
        working=np.zeros(n, np.int64),
        low=np.full(n, -np.inf),
        high=np.full(n, np.inf),
        target=np.zeros((m, n)),
        weight=np.full((m, n), np.nan),
        blocked=np.zeros((m, n)),
        held=np.zeros((m, n)),
        ledger=np.zeros((m, n)),
        charges=np.zeros((m, n, len(CHARGE_KINDS))),
    )
    if not len(cash):
        book.cash[0] = capital
    fund(book, capital)
    return book


def fund(book: Book, capital: float) -> None:
    """Set what a new book starts from: its equity, and marks that stand for nothing yet."""
    head = book.head[0]
    head["equity"] = head["peak"] = capital
    for c, at in enumerate(book.column):
        if at >= 0:
            book.quantity[at] = book.cash[c]
        else:
            head["cash"] += book.cash[c]
    head["day"] = head["clock"] = head["stamped"] = -1
    head["day_equity"] = head["week_equity"] = capital
    head["floor"], head["ceiling"] = np.inf, -np.inf  # the first mark sets them
    book.positions["scale"] = 1.0
    book.positions["used_row"] = -1
    book.positions["day"] = -1


def wallets_of(instruments: tuple[Instrument, ...]) -> dict[tuple[str, str], int]:
    """(venue, currency) -> its place in Book.cash, by first use."""
    wallets: dict[tuple[str, str], int] = {}
    for instrument in instruments:
        wallets.setdefault((instrument.venue, instrument.quote), len(wallets))
    return wallets


def terms_of(instruments: tuple[Instrument, ...], costs: tuple[Costs, ...], base: str = "") -> NDArray[np.void]:
    """(N,) TERMS of the instruments under their costs; base: the currency of equity, empty for the first one's.

    A wallet is a margin account as soon as something in it may be held without being paid in full.
    """
    terms = np.zeros(len(instruments), TERMS)
    wallets = wallets_of(instruments)
    base = base or instruments[0].quote
    foreign = [wallet for wallet in wallets if wallet[1] != base]
    margin = {(i.venue, i.quote) for i in instruments if i.initial_margin < 1.0}
    for i, (instrument, cost) in enumerate(zip(instruments, costs, strict=True)):
        terms[i]["unit"] = instrument.lot_size * instrument.multiplier
        terms[i]["lot_size"] = instrument.lot_size
        terms[i]["tick_size"] = instrument.tick_size
        terms[i]["min_notional"] = instrument.min_notional
        terms[i]["shortable"] = instrument.shortable
        wallet = (instrument.venue, instrument.quote)
        terms[i]["initial_margin"] = instrument.initial_margin
        terms[i]["maintenance_margin"] = instrument.maintenance_margin
        terms[i]["perpetual"] = instrument.kind == "perpetual"
        terms[i]["margin"] = wallet in margin
        terms[i]["wallet"] = wallets[wallet]
        terms[i]["column"] = len(instruments) + foreign.index(wallet) if wallet in foreign else -1
        for name, value in zip(cost._fields, cost, strict=True):
            terms[i][name] = value
    return terms


@part
def costs_of(terms):
    """The Costs of one record of TERMS."""
    return Costs(
        terms.maker_fee,
        terms.taker_fee,
        terms.half_spread,
        terms.vol_spread,
        terms.slippage,
        terms.impact,
        terms.impact_power,
        terms.latency,
        terms.participation,
        terms.reject,
        terms.funding,
        terms.borrow,
        terms.margin_interest,
        terms.liquidation,
    )


@part
def restart(start, book):
    """Make a book what `start` is: a copy array by array, for drivers that run many cells on one book."""
    book.head[0] = start.head[0]
    for c in range(start.cash.shape[0]):
        book.cash[c] = start.cash[c]
    for i in range(start.quantity.shape[0]):
        book.quantity[i] = start.quantity[i]
    models, n = start.held.shape
    for i in range(n):
        book.positions[i] = start.positions[i]
        for slot in range(SLOTS):
            book.orders[i, slot] = start.orders[i, slot]
        book.goal[i] = start.goal[i]
        book.dirty[i] = start.dirty[i]
        book.working[i] = start.working[i]
        book.low[i] = start.low[i]
        book.high[i] = start.high[i]
        for m in range(models):
            book.target[m, i] = start.target[m, i]
            book.weight[m, i] = start.weight[m, i]
            book.blocked[m, i] = start.blocked[m, i]
            book.held[m, i] = start.held[m, i]
            book.ledger[m, i] = start.ledger[m, i]
            for kind in range(start.charges.shape[2]):
                book.charges[m, i, kind] = start.charges[m, i, kind]
