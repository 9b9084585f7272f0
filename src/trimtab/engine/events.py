"""What the journal of an account holds: one struct per kind of event, and its one spelling as bytes.

A body is a fact that has happened or an intent that is about to be sent, never what follows from either. Instants are
ns UTC, quantities signed lots, prices and amounts float64. Numbers read back bit for bit: in arrays NaN is written as
null and infinity as a word; a lone float must be finite, and where there may be none it is None.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Union, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.types import ORDER_KINDS, ORDER_STATUSES, TIFS, TrimtabError

F64 = NDArray[np.float64]

COMMANDS: Final = ("kill", "resume", "flatten", "withdraw", "quarantine", "retry")
FLOWS: Final = ("deposit", "withdrawal", "funding", "borrow", "interest", "dividend", "fee", "other")


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", eq=False):
    """How every body is stored; bodies that say the same have the same bytes (`encode`)."""


class Started(Fact, frozen=True, tag="start"):
    """An engine has begun: of which spec and code, and what the axes of the following rows are."""

    run_id: str
    code_version: str
    symbols: tuple[str, ...]  # (N,)
    fields: tuple[str, ...]  # (K,)
    models: tuple[str, ...] = ()  # (M,)
    platform: str = ""


class RowClosed(Fact, frozen=True, tag="bars"):
    """A grid row whose bars have closed; what venues say of it follows, and then its decision."""

    row: int  # close instant
    bars: F64  # (N, K) NaN: a bar that had not come


class Fitted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a fit answered at a row; a fold takes it from here and does not fit again."""

    model: str
    unit: int  # of the model's, from 0
    state: bytes  # with the answer in it; base64 in JSON
    refused: str | None = None  # why the window could not be fitted


class RowWarmed(Fact, frozen=True, tag="warm", omit_defaults=True):
    """A grid row that the models saw and that was not traded."""

    row: int  # close instant
    bars: F64  # (N, K) NaN: a bar that had not come
    failed: dict[str, str] = {}  # model -> why it was quarantined at this row
    fits: tuple[Fitted, ...] = ()


class RowDecided(Fact, frozen=True, tag="row", omit_defaults=True):
    """A grid row and all that its decision saw; NaN: a bar that had not come, a weight that stays."""

    row: int  # close instant
    bars: F64  # (N, K); without rows where `bars` gave them before
    weights: F64  # (M, N) fraction of equity that each model wants
    failed: dict[str, str] = {}  # model -> why it was quarantined at this row, where it wants 0
    fits: tuple[Fitted, ...] = ()


class OrderIntent(Fact, frozen=True, tag="order"):
    """An order that will be sent once this is durable, and never a second time under its id."""

    client_order_id: str
    order_id: int
    row: int  # of its decision
    venue: str
    symbol: str
    lots: int
    order_kind: str
    tif: str
    limit_price: float | None = None
    stop_price: float | None = None
    post_only: bool = False
    reduce_only: bool = False
    parent: int = 0  # order_id; 0: none
    expires: int = 0  # instant after which it must not be sent; 0: none
    reason: str = ""
    slot: int = 0  # see rules.book: 0 is a model's, others protect a position
    replaces: str = ""  # client order id of one that must be gone before

    def __post_init__(self) -> None:
        _one_of("order_kind", self.order_kind, ORDER_KINDS)
        _one_of("tif", self.tif, TIFS)


class AmendIntent(Fact, frozen=True, tag="amend"):
    """A change of a protective order's lots and price that will be sent once this is durable."""

    client_order_id: str
    symbol: str
    slot: int
    lots: int
    limit_price: float | None = None
    stop_price: float | None = None


class CancelIntent(Fact, frozen=True, tag="cancel"):
    """A cancel that will be sent once this is durable; each attempt has an id of its own."""

    cancel_id: str
    client_order_id: str
    reason: str = ""


class Outcome(Fact, frozen=True, tag="outcome"):
    """What is known of an order from now on; UNKNOWN: it was sent and nobody can say."""

    client_order_id: str
    status: str
    venue_order_id: str = ""
    filled: int = 0  # lots in all, as the venue counts them
    reason: str = ""
    executed: int = 0  # instant at the venue; 0: not said
    symbol: str = ""
    slot: int = 0
    waited: str = ""  # what it has waited for
    arrived: bool = False  # it has met the market
    day: int = -1  # UTC day on which it came to the venue; -1: not there yet
    triggered: bool = False  # its stop price was touched
    lots: int = 0  # of the whole order, signed; 0: not said

    def __post_init__(self) -> None:
        _one_of("status", self.status, ORDER_STATUSES)


class Filled(Fact, frozen=True, tag="fill"):
    """An execution at a venue; its trade id names it once and for all."""

    venue: str
    symbol: str
    trade_id: str
    client_order_id: str  # empty: of an order that is not ours
    lots: int
    price: float
    fee: float  # positive: paid
    executed: int  # instant at the venue
    fee_currency: str = ""  # empty: the quote currency
    maker: bool = False
    slot: int = 0
    reason: str = ""  # why no more of the order filled
    waited: str = ""
    mid: float | None = None  # which the order met; what the price was made of follows, money, positive = paid
    spread: float = 0.0
    slippage: float = 0.0
    impact: float = 0.0
    latency: float = 0.0


class Crossed(Fact, frozen=True, tag="cross"):
    """What models want of each other is exchanged between them, at the market's mid price."""

    symbol: str
    price: float
    executed: int


class Liquidated(Fact, frozen=True, tag="liquidation"):
    """A venue has closed a position for want of margin; lots: signed, that it traded."""

    venue: str
    symbol: str
    trade_id: str
    lots: int
    price: float
    executed: int


class CashMoved(Fact, frozen=True, tag="cash"):
    """Cash that came (positive) or went without a fill; an id, where the venue gives one, books it once."""

    venue: str
    currency: str
    amount: float
    flow: str
    flow_id: str = ""

    def __post_init__(self) -> None:
        _one_of("flow", self.flow, FLOWS)


class VenueChanged(Fact, frozen=True, tag="venue"):
    """A venue can be reached again, or no longer."""

    venue: str
    up: bool
    reason: str = ""


class Halted(Fact, frozen=True, tag="halt"):
    """Trading has stopped until a person resumes it."""

    reason: str
    symbol: str = ""  # empty: the whole book


class Commanded(Fact, frozen=True, tag="command"):
    """What a person has ordered, and who it was."""

    command: str
    by: str = ""
    reason: str = ""
    model: str = ""  # that is quarantined

    def __post_init__(self) -> None:
        _one_of("command", self.command, COMMANDS)


class Adjusted(Fact, frozen=True, tag="adjustment"):
    """The venue's truth adopted where the books differed: a change of lots, of cash, or of both, and never a fill."""

    venue: str
    adjustment_id: str  # made from the evidence: the same evidence is booked once
    reason: str
    symbol: str = ""
    lots: int = 0
    price: float | None = None  # at which the lots enter the books
    currency: str = ""
    amount: float = 0.0


class BarLate(Fact, frozen=True, tag="late_bar"):
    """A bar that came after its row was decided without it."""

    symbol: str
    row: int
    bar: F64  # (K,)


class SnapshotTaken(Fact, frozen=True, tag="snapshot"):
    """The state after `seq` was kept aside; the snapshot itself may be lost, and nothing with it."""

    seq: int
    digest: str


Body = Union[  # noqa: UP007  # get_args below
    Started,
    RowClosed,
    RowWarmed,
    RowDecided,
    OrderIntent,
    AmendIntent,
    CancelIntent,
    Outcome,
    Filled,
    Crossed,
    Liquidated,
    CashMoved,
    VenueChanged,
    Halted,
    Commanded,
    Adjusted,
    BarLate,
    SnapshotTaken,
]


class Entry(NamedTuple):
    """What is to be booked: the instant at which the engine took notice, and what of."""

    ts: int
    body: Body


class Event(NamedTuple):
    """What is booked: its place in the journal, its key (empty: it may come again), and its link in the chain."""

    seq: int
    ts: int
    key: str
    body: Body
    hash: bytes


#: What may be booked only once, by what; kinds that are not here may come again.
_ONCE: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    RowClosed: lambda b: (b.row,),
    RowWarmed: lambda b: (b.row,),
    RowDecided: lambda b: (b.row,),
    OrderIntent: lambda b: (b.client_order_id,),
    CancelIntent: lambda b: (b.cancel_id,),
    Filled: lambda b: (b.venue, b.symbol, b.trade_id),
    Liquidated: lambda b: (b.venue, b.symbol, b.trade_id),
    CashMoved: lambda b: (b.venue, b.currency, b.flow, b.flow_id) if b.flow_id else (),
    Adjusted: lambda b: (b.venue, b.adjustment_id),
    BarLate: lambda b: (b.symbol, b.row),
}

_NOTHING: Final[F64] = np.empty(0)
_INFINITE: Final = {"inf": math.inf, "-inf": -math.inf}


_WORDS: Final[dict[type, str]] = {t: str(t.__struct_config__.tag) for t in get_args(Body)}

KINDS: Final = tuple(_WORDS.values())


def kind_of(body: Body) -> str:
    """The word that stands for its struct."""
    return _WORDS[type(body)]


def key_of(body: Body) -> str:
    """What it may be booked under only once, unmistakable whatever its parts hold; empty: any number of times."""
    once = _ONCE.get(type(body))
    if once is None:
        return ""
    parts = once(body)
    if len(parts) < 2:
        return str(*parts)
    return _ENCODER.encode([str(part) for part in parts]).decode()


def encode(body: Body) -> bytes:
    """Its canonical JSON: sorted keys, no spaces, shortest numbers. TrimtabError where it could not be read back."""
    arrays: dict[str, F64] = {}
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise TrimtabError(f"{kind_of(body)}.{name} is {value}: expected a finite number (none at all is None)")
        if isinstance(value, np.ndarray) and value.ndim:
            arrays[name] = _NOTHING
    try:
        written = _ENCODER.encode(body)
        # Read back, to be sure. Not arrays: those that can be written can be read, and it would take most of the time.
        decode(_ENCODER.encode(msgspec.structs.replace(body, **arrays)) if arrays else written)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise TrimtabError(f"a {kind_of(body)} that cannot be stored: {error}") from None
    return written


def decode(written: bytes | str) -> Body:
    """The body of its JSON; msgspec.MsgspecError where a field is missing, unknown or of another type."""
    return _DECODER.decode(written)


def _one_of(name: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ValueError(f"{name} is {word!r}, expected one of {', '.join(known)}")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = cast("NDArray[Any]", value)
        if array.dtype != np.float64:
            raise TypeError(f"an array of {array.dtype}, expected float64")
        return _worded(array.tolist()) if np.isinf(array).any() else array.tolist()
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    raise TypeError(f"{type(value).__name__} has no place in a journal")


def _worded(values: Any) -> Any:
    """Infinities as words; NaN becomes null by itself."""
    if isinstance(values, list):
        return [_worded(value) for value in cast("list[Any]", values)]
    return ("inf" if values > 0 else "-inf") if math.isinf(values) else values


def _array(wanted: type, values: Any) -> F64:
    del wanted  # float64 arrays are all there is
    try:
        if isinstance(values, list) and _is_plain(cast("list[Any]", values)):
            return np.array(values, dtype=np.float64)  # None is NaN to numpy too
        return np.array(_numbers(values), dtype=np.float64)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"expected a full array of numbers: {error}") from None


def _is_plain(values: list[Any]) -> bool:
    """Floats and None alone, in one or two dimensions: by far the most, and told in a fraction of the time."""
    within = set(map(type, values))
    if within == {list}:
        within = set(map(type, itertools.chain.from_iterable(values)))
    return within <= {float, type(None)}


def _numbers(values: Any) -> Any:
    if isinstance(values, list):
        return [v if type(v) is float else _numbers(v) for v in cast("list[Any]", values)]
    if values is None:
        return math.nan
    if isinstance(values, str):
        return _INFINITE[values]
    if type(values) is float:
        return values
    raise ValueError(f"{values!r} is no float")


_ENCODER: Final = msgspec.json.Encoder(order="sorted", enc_hook=_plain)
_DECODER: Final[msgspec.json.Decoder[Body]] = msgspec.json.Decoder(Body, dec_hook=_array)
