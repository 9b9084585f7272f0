"""The nouns of Trimtab (L0): everything else is functions between these.

A NamedTuple may enter a compiled loop, so it holds numbers and arrays of numbers only. A frozen Struct is stored,
sent or configured. This module never imports numba.

Conventions, everywhere: `ts` is int64 nanoseconds UTC and, for a bar, its CLOSE (the first instant at which the bar may
be known). Quantities are `lots`, signed int64 multiples of the instrument's lot_size. Prices and cash are float64.
Rates and limits are fractions. NaN means not observed (data) or abstain (forecasts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

#: Canonical timeframes and their length in nanoseconds. Aliases (H4, 4H, 1D, …) are read by `data.timeframes`.
TIMEFRAMES: Final[Mapping[str, int]] = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
    "1d": DAY,
    "1w": 7 * DAY,
}

#: The fields that every panel has, in this order; further columns follow.
BAR_FIELDS: Final = ("open", "high", "low", "close", "volume", "duration")

#: float64 in a cache line: one instrument's bar, with what is known before it.
LINE: Final = 8

#: Lots beyond this magnitude are refused: past 2**53 float64 no longer holds every integer.
MAX_LOTS: Final = 2**53

# ---------------------------------------------------------------------------------------------------------------------
# Codes. Compiled rules hold the integer; the tuples give the word a user reads (index = code). They are np.int64 and
# not int, because numba compiles a function anew for every literal int that it is called with.
# ---------------------------------------------------------------------------------------------------------------------


def codes(count: int) -> tuple[Any, ...]:
    """0 … count - 1 as np.int64; typed loosely, so that they compare and add like ints."""
    return tuple(np.int64(k) for k in range(count))


MARKET, LIMIT, STOP, STOP_LIMIT, TAKE_PROFIT, TRAILING = codes(6)
ORDER_KINDS: Final = ("MARKET", "LIMIT", "STOP", "STOP_LIMIT", "TAKE_PROFIT", "TRAILING")

GTC, IOC, FOK, DAY_ORDER = codes(4)
TIFS: Final = ("GTC", "IOC", "FOK", "DAY")

PENDING_NEW, NEW, PARTIALLY_FILLED, FILLED, PENDING_CANCEL, CANCELED, REJECTED, EXPIRED, UNKNOWN = codes(9)
ORDER_STATUSES: Final = (
    "PENDING_NEW",
    "NEW",
    "PARTIALLY_FILLED",
    "FILLED",
    "PENDING_CANCEL",
    "CANCELED",
    "REJECTED",
    "EXPIRED",
    "UNKNOWN",
)

ACTIVE, REDUCING, HALTED = codes(3)
TRADING_STATES: Final = ("ACTIVE", "REDUCING", "HALTED")

FEE, SPREAD, SLIPPAGE, IMPACT, LATENCY, FUNDING, BORROW, INTEREST, DIVIDEND = codes(9)
COST_KINDS: Final = ("fee", "spread", "slippage", "impact", "latency", "funding", "borrow", "interest")
#: What is booked by kind: costs, and after them the dividends, which are no cost but a part of the return.
CHARGE_KINDS: Final = (*COST_KINDS, "dividend")


class Bar(NamedTuple):
    """One closed bar: ts is the close instant, prices in quote currency, volume in base units (NaN: unknown)."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Costs(NamedTuple):
    """What trading costs; all fractions unless said. An explicit `Costs(...)` holds exactly what it names.

    maker_fee, taker_fee   of the fill's notional
    half_spread            of mid, paid on each side
    vol_spread             extra half spread per unit of per-bar volatility
    slippage               of mid, size-independent
    impact                 of mid when the day's same-side size equals the average daily volume
    impact_power           exponent of size / average_volume (0.5: the square-root law)
    latency                seconds between decision and arrival
    participation          largest share of a bar's volume that may be ours
    reject                 probability that the venue rejects an order
    funding                of notional, paid by longs to shorts at 00:00, 08:00 and 16:00 UTC, for perpetuals where the
                           panel has no field `funding`
    borrow                 of the notional of a short position that is not a perpetual's, per year
    margin_interest        of the cash that a margin account owes, per year
    liquidation            of notional, taken by the venue beside the taker's fee when it liquidates
    """

    maker_fee: float = 0.0
    taker_fee: float = 0.0
    half_spread: float = 0.0
    vol_spread: float = 0.0
    slippage: float = 0.0
    impact: float = 0.0
    impact_power: float = 0.5
    latency: float = 0.0
    participation: float = np.inf
    reject: float = 0.0
    funding: float = 0.0
    borrow: float = 0.0
    margin_interest: float = 0.0
    liquidation: float = 0.0


class Limits(NamedTuple):
    """Hard limits; inf means none. They cannot be raised while running.

    gross_leverage      largest sum of |notional| / equity
    max_weight          largest |notional| of one instrument / equity
    drawdown_derisk     drawdown (fraction of the peak) beyond which every target is scaled by derisk_factor
    derisk_factor       the scale in force while de-risked; ends when the drawdown is below half its trigger
    drawdown_halt       drawdown beyond which the book is flattened and stays HALTED
    stop_loss           protective stop below (above) the average price of the net position, fraction
    take_profit         protective target beyond the average price, fraction
    trailing_stop       protective stop below (above) the best price since entry, fraction
    daily_loss          loss since 00:00 UTC, a fraction of the equity then, beyond which the book is flat for the day
    weekly_loss         likewise since 00:00 UTC of Monday, until the next Monday
    stale               seconds since an instrument's last bar beyond which its position may only be reduced
    order_notional      largest notional by which one order may increase a position, base currency
    collar              an order that increases a position waits where the price is further from the last mark, fraction
    max_holding         seconds after which a position is closed, like after a stop
    concentration       largest |notional| of one instrument / the larger of gross notional and equity
    net_exposure        largest |sum of signed notional| / equity
    heat                largest initial margin in use / equity
    group_gross         largest sum of |notional| over a group of correlated instruments / equity
    group_correlation   |correlation| of daily returns from which instruments are linked into one group
    unusual_vol         volatility of an instrument per year beyond which the whole book may only reduce
    unusual_gap         |open / last close - 1| beyond which it may only reduce, fraction
    unusual_spread      the panel's field `spread` beyond which it may only reduce, fraction of mid
    """

    gross_leverage: float = np.inf
    max_weight: float = np.inf
    drawdown_derisk: float = np.inf
    derisk_factor: float = 0.5
    drawdown_halt: float = np.inf
    stop_loss: float = np.inf
    take_profit: float = np.inf
    trailing_stop: float = np.inf
    daily_loss: float = np.inf
    weekly_loss: float = np.inf
    stale: float = np.inf
    order_notional: float = np.inf
    collar: float = np.inf
    max_holding: float = np.inf
    concentration: float = np.inf
    net_exposure: float = np.inf
    heat: float = np.inf
    group_gross: float = np.inf
    group_correlation: float = 0.7
    unusual_vol: float = np.inf
    unusual_gap: float = np.inf
    unusual_spread: float = np.inf


class Order(NamedTuple):
    """An instruction to a venue. Prices that its kind has no use for are NaN, parent is 0 without one; 1 is yes."""

    order_id: int
    ts: int
    instrument: int
    lots: int
    kind: int
    limit_price: float
    stop_price: float
    tif: int
    post_only: int
    reduce_only: int
    parent: int


class Fill(NamedTuple):
    """An execution: lots signed, price in quote currency, fee in quote currency (positive = paid); maker 1 is yes."""

    fill_id: int
    order_id: int
    ts: int
    instrument: int
    lots: int
    price: float
    fee: float
    maker: int


class Position(NamedTuple):
    """Average-cost position in one instrument: realised_pnl in quote currency, before fees."""

    lots: int
    avg_price: float
    realised_pnl: float


class Weights(NamedTuple):
    """The rows at which a weight is new, sorted by row, then model, then instrument; parallel arrays (E,).

    A weight is the fraction of book equity that a model wants in an instrument, decided at the close of that row. Rows
    that are not listed keep what they have.
    """

    row: I64
    model: I64
    instrument: I64
    value: F64


class Flows(NamedTuple):
    """Cash paid in (positive) and out, by the row at whose close it counts, sorted; parallel arrays (F,)."""

    row: I64
    wallet: I64
    amount: F64  # currency of the wallet


# ---------------------------------------------------------------------------------------------------------------------
# Stored and configured values
# ---------------------------------------------------------------------------------------------------------------------


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """What is traded and the venue's rules for it. tick_size 0 means unknown; multiplier is units per contract.

    initial_margin      equity that a position needs, as a share of its notional, when it is opened; 1: paid in full
    maintenance_margin  the share below which the venue liquidates
    """

    symbol: str
    venue: str = "sim"
    asset_class: str = "crypto"  # crypto, equity, index, commodity, fx
    base: str = ""
    quote: str = "USD"
    kind: str = "spot"  # spot, equity, index, perpetual
    tick_size: float = 0.0
    lot_size: float = 1e-6
    multiplier: float = 1.0
    min_notional: float = 0.0
    initial_margin: float = 1.0
    maintenance_margin: float = 0.0
    shortable: bool = True
    calendar: str = "24/7"  # "24/7", or the name of an exchange calendar such as XNYS
    costs: str = ""  # cost preset; empty: the asset class's
    listed: str = ""  # the day from which it may be held, and the last day on which it trades; empty: not known
    delisted: str = ""
    close_only: bool = False  # only closes were ever published: open = high = low = close, volume unknown


class Panel(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """Bars of N instruments on one grid of close instants; axis order is always T, N, K; NaN is not observed.

    ts           (T,)       close instants, ns UTC, strictly increasing: the union of the instruments' closes
    instruments  (N,)
    fields       (K,)       open, high, low, close, volume, duration, then any extra columns
    values       (T, N, K)  float64; duration is ns from that bar's open to its close (a session's last bar is shorter)
    timeframe               name of the grid's timeframe
    lines        (T, N, 8)  the memory that values begin, where it was laid out for the market of a run; else None

    ts and values are read-only, since a run keeps what it derived from them for the next run: numpy refuses to write,
    and `panel.values.copy()` with `msgspec.structs.replace` makes another panel. An array that is given is taken over
    without a copy; a writable view of some other array is copied.
    """

    ts: I64
    instruments: tuple[Instrument, ...]
    fields: tuple[str, ...]
    values: F64
    timeframe: str
    lines: F64 | None = None

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        if self.lines is not None and _begin(self.values, self.lines):
            self.values.flags.writeable = False
        else:
            put(self, "lines", None)  # none, or another panel's in whose place these values were put
            put(self, "values", _frozen(self.values))
        put(self, "ts", _frozen(self.ts))

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(i.symbol for i in self.instruments)

    @classmethod
    def from_frames(
        cls, frames: Mapping[str, Any], timeframe: str, instruments: Iterable[Instrument] | None = None
    ) -> Panel:
        """Bars of several instruments on the union of their close instants; symbol -> Polars or pandas frame.

        frames       columns open_time (naive means UTC), open, high, low, close; volume (absent: unknown); duration
                     where a bar's true length differs from the timeframe; any other numeric columns all frames share
        instruments  for the symbols that are not plain round-the-clock `Instrument(symbol=…)`

        A bar is known at open_time + timeframe (or + duration). TrimtabError names the column that is missing or holds
        no numbers, and the row and instant of a duplicate or of disorder.
        """
        from trimtab.bars import grid_of

        known = {i.symbol: i for i in instruments or ()}
        ts, fields, lines = grid_of(frames, timeframe)
        values = lines[:, :, : len(fields)]
        values.flags.writeable = False
        named = tuple(known.get(s, Instrument(symbol=s)) for s in frames)
        return cls(ts, named, fields, values, timeframe, lines if len(fields) <= LINE - 2 else None)


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy estimates now and then from its last rows, in plain Python (a likelihood, a selection of pairs).

    of(p, x) -> fitted   x (W, L, K) are the last W rows, the one that has just closed included, in memory of their own;
                         fitted has the types that `State.fitted` has after `init`, whose place it takes before `step`
    window(p)            W, rows of the model's timeframe, 2 or more
    every(p)             ns: it is called on the first row at or after each multiple of this since 1970-01-01 00:00 UTC
                         (whole weeks: since a Monday), wherever the data begins, as soon as W rows are there
    in_bars              every(p) is a number of bars of the model's timeframe in place of ns

    A TrimtabError from `of` refuses the window: `State.fitted` is again what `init` makes it, with which `step` must
    abstain (NaN), until the next one.
    """

    of: Callable[..., Any]
    window: Callable[..., int]
    every: Callable[..., int]
    in_bars: bool = False


class Refusal(NamedTuple):
    """A window that a fit refused: the instant at which it was called (ns UTC), and its reason."""

    ts: int
    reason: str


class Reason(NamedTuple):
    """Why a strategy says what it says: a statistic, and the band inside which it is no reason to trade.

    statistic  what was measured, in words
    value      NaN where it is not defined
    low, high  of the band, in the unit of value; -inf or inf: no bound on that side
    level      probability that noise leaves the band; NaN: not stated
    """

    statistic: str
    value: float
    low: float
    high: float
    level: float = float("nan")


class Indicator(msgspec.Struct, frozen=True):
    """A field that is derived from a model's own rows of one instrument, by Polars expressions or by code on a frame.

    name            what `Strategy.fields` calls it
    make(p, frame)  -> an expression, or a Series as long as the frame; null is NaN, a bool 0 or 1
    fields          of the bars that it reads, and `ticks`; the frame has them beside `ts`, the close instants (ns, UTC)
    warmup          rows before the first value, or a function of Params: a value that has fewer before it is NaN

    A frame is rows of the model's timeframe up to some row, not all of them: those of one block of time and `warmup`
    rows before it (see strategies.indicators). What is not observed is null in it. No value may depend on later rows,
    nor on where the frame begins, as `trimtab check` finds out.
    """

    name: str
    make: Callable[..., Any]
    fields: tuple[str, ...]
    warmup: int | Callable[..., int]


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy is a value: compiled `init(p) -> s` and `step(p, s, x) -> (s, forecast)` with what is known of them.

    fields          the K axis of x, in this order; x is (L, K), this row only, for the strategy's L legs
    indicators      those of the fields that are derived from others
    params, ranges  a NamedTuple of defaults; per name the inclusive (low, high) that is searched and accepted
    warmup(p)       rows of its timeframe before the first forecast that is not NaN
    n_legs          instruments that one forecast is about; 0: all that the model trades
    legs(p, s, x, f) -> (L,)   leg weights with sum of |w| = |f| (pairs and baskets)
    across(p, f)    -> (N,)    over the model's instruments after step and before sizing, NaN = abstain (rank, demean)
    fit             what is estimated on a schedule and becomes `State.fitted`
    explain(p, s)   -> Reason for the forecast that came with State s; plain Python, only ever shown to people
    """

    name: str
    fields: tuple[str, ...]
    params: Any
    ranges: Mapping[str, tuple[float, float]]
    init: Callable[..., Any]
    step: Callable[..., Any]
    warmup: Callable[..., int]
    version: str = "1"
    asset_classes: tuple[str, ...] = ()
    timeframes: tuple[str, ...] = tuple(TIMEFRAMES)
    n_legs: int = 1
    legs: Callable[..., Any] | None = None
    across: Callable[..., Any] | None = None
    fit: Fit | None = None
    indicators: tuple[Indicator, ...] = ()
    explain: Callable[..., Reason] | None = None

    def legs_of(self, instruments: int) -> int:
        """Legs of one unit of a model that trades so many instruments."""
        return self.n_legs or instruments

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields of the bars that a model of it is fed: those of its own, then what only its indicators read."""
        if not self.indicators:
            return self.fields
        derived = {each.name for each in self.indicators}
        inputs = (field for each in self.indicators for field in each.fields)
        return tuple(dict.fromkeys((*(f for f in self.fields if f not in derived), *inputs)))


class SizerUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sizer that scales the forecasts of a model, by its name in `portfolio.book.SIZERS`."""

    name: str
    params: dict[str, Any] = {}


class RegimeUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A classifier that names the regime of the market at every row of a run.

    regime  its name in `portfolio.regime.table.REGIMES`
    name    what budgets and reports call it; empty: `regime`
    reads   what its one field is, or each of its fields: a symbol (then its close), a field of the panel, or a column
            of a file; empty: the panel's field of the same name. docs/regimes.md says which, and when it is known
    """

    regime: str
    name: str = ""
    reads: str | dict[str, str] = ""
    params: dict[str, Any] = {}
    timeframe: str = "1d"  # of the rows that it counts; equal to or coarser than the book's


class AllocatorUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a budget is split anew from time to time, by its name in `portfolio.allocators.ALLOCATORS`.

    window  UTC days of returns that it looks at, all closed
    every   seconds between two looks, counted from the epoch (whole weeks: from a Monday), not from the first row
    """

    name: str
    window: int = 60
    every: float = 7 * 86_400.0


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One strategy in a book: what it trades, with which parameters, and the share of equity it may use.

    sizer           scales its forecasts; None: the book's
    allocator       splits its budget over its instruments, in place of equal parts; None: does not
    regime_budgets  a regime's name -> a label's name (or "unknown") -> what the budget is multiplied by while it
                    stands; what is not named multiplies by 1
    """

    strategy: str
    name: str = ""  # defaults to the strategy's name
    params: dict[str, Any] = {}
    universe: tuple[str, ...] = ()  # instruments, or legs in order; empty: the book's
    timeframe: str = ""  # equal to or coarser than the book's; empty: the book's
    budget: float = 1.0
    sizing: str = "equal"  # equal: the budget is split over the instruments; fixed: each gets the whole budget
    sizer: SizerUse | None = None
    allocator: AllocatorUse | None = None
    regime_budgets: dict[str, dict[str, float]] = {}


class Execution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the one working order of an instrument is sent. offset: fraction of the close, away from the market."""

    kind: str = "MARKET"  # MARKET or LIMIT
    offset: float = 0.0
    tif: str = "GTC"
    post_only: bool = False


class Rebalance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a model's standing weight is sized again; `docs/fills.md` says how.

    when       on_change: when it differs from the last; always: at every bar of the model
    buffer     share of equity: a standing weight is traded again only where it has drifted by more. Above 0 it is
               looked at on every bar of the model, whatever `when` says; entries and exits always pass
    min_trade  share of equity: an increase of a weight by less waits until it is more; decreases always pass
    every      seconds: a standing weight changes its size only at its model's first step at or after each multiple,
               counted from the epoch (whole weeks: from a Monday). Entries, exits and what a change of regime or
               allocation demands always pass; 0: at any step
    """

    when: str = "on_change"  # on_change, or always: at every step of the model
    buffer: float = 0.0
    min_trade: float = 0.0
    every: float = 0.0


class Caps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Largest sum of |notional| / equity of everything of one kind; the name `*` stands for all that are not named.

    asset_classes   by Instrument.asset_class
    venues          by Instrument.venue
    models          by the model's name; of its virtual lots
    """

    asset_classes: dict[str, float] = {}
    venues: dict[str, float] = {}
    models: dict[str, float] = {}


class LimitRule(NamedTuple):
    """A limit that a user brings in a file as RULE, asked at every decision after the limits of the book.

    name    how the actions table calls it
    allow   allow(now, equity, weights, held, bars, bound), compiled by numba: it makes entries of `weights` smaller, in
            place. One that it makes larger stays as it was, one that it turns round or sets to NaN becomes 0, and where
            it raises nothing may grow. No reduction is ever held up.

            now      close of the row, ns since the epoch, UTC
            equity   base currency, > 0
            weights  (N,) signed notional / equity that the models want and the limits before this one allow
            held     (N,) likewise of what is held
            bars     (N, 8) open, high, low, close, volume, duration (ns), volatility per bar, average daily volume of
                     the row, NaN where there is no bar
            bound    the number of the spec
    about   one line for people
    """

    name: str
    allow: Callable[..., Any]
    about: str = ""


class RuleUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit rule of a spec: the file that holds it, and the bound that it is told."""

    file: str
    bound: float = 0.0


class CashFlow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cash paid into a wallet, or out of it where the amount is negative: it counts at the first close from `at` on."""

    at: str  # date or instant, UTC
    amount: float  # in the wallet's currency
    wallet: str = ""  # venue/currency or currency; empty: the book's first


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole run as one value; the sha256 of its canonical JSON names the run."""

    models: tuple[Model, ...]
    name: str = ""
    universe: tuple[str, ...]
    timeframe: str = "4h"
    base_currency: str = "USD"
    start: str = ""
    end: str = ""
    capital: float | dict[str, float] = 1_000_000.0  # base currency; or by wallet (venue/currency or currency)
    cash_flows: tuple[CashFlow, ...] = ()
    members: str = ""  # a file of who belongs to the universe when: symbol, from, to; empty: everybody, always
    fx: dict[str, str | float] = {}  # currency -> the pair in the store that says its rate, or a rate that stands
    costs: str | Costs = "venue"  # "venue": each instrument's preset; another preset's name; or exact costs
    limits: Limits = Limits()
    caps: Caps = Caps()
    rules: tuple[RuleUse, ...] = ()
    execution: Execution = Execution()
    rebalance: Rebalance = Rebalance()
    sizer: SizerUse | None = None  # of every model that has none of its own
    allocator: AllocatorUse | None = None  # splits the sum of the models' budgets over them; None: as they say
    regimes: tuple[RegimeUse, ...] = ()
    volume: str = "require"  # require: no fill where volume is zero or unknown; ignore
    risk_free_rate: float = 0.0
    seed: int = 0


class TrimtabError(Exception):
    """A mistake that the user can mend: what, where, what was expected, what to do. `code` is the exit code."""

    code = 2


class NotEnoughData(TrimtabError):
    """The data cannot answer the question that was asked."""

    code = 3


def _begin(values: F64, lines: F64) -> bool:
    """Are values the first columns of lines, in the same memory?"""
    first, second = values.__array_interface__["data"][0], lines.__array_interface__["data"][0]
    return first == second and values.strides == lines.strides and values.shape[:2] == lines.shape[:2]


def _frozen(array: Any) -> Any:
    """The array, read-only from now on; a copy where others could still write to its memory."""
    if array.flags.writeable:
        array = array if array.base is None else array.copy()
        array.flags.writeable = False
    return array
