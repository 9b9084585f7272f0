"""Every key that a spec may hold: what it means and its unit. The reader and the JSON Schema share it.

Neither defaults nor bounds are repeated here: they are those of `trimtab.types` and of `trimtab.bounds`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from trimtab.app import units
from trimtab.app.document import Scalar
from trimtab.bounds import RANGES, WORDS, Bounds, inside, told
from trimtab.words import shortest


class Field(NamedTuple):
    """One value of a spec.

    kind     number, whole, fraction, duration, choice, flag, text, symbol, currency, date or timeframe
    bounds   the numbers that are accepted, in the field's unit (seconds, fractions)
    choices  the words that are
    """

    kind: str
    meaning: str
    bounds: Bounds = Bounds()
    choices: tuple[str, ...] = ()
    longest: int = 200


def _section(section: str, **said: tuple[str, str]) -> Mapping[str, Field]:
    """Kind and meaning of each key of a section, with what `trimtab.bounds` accepts there."""
    prefix = f"{section}." if section else ""
    return {
        key: Field(kind, meaning, RANGES.get(prefix + key, Bounds()), WORDS.get(prefix + key, ()))
        for key, (kind, meaning) in said.items()
    }


MODEL: Final = _section(
    "models",
    strategy=("text", "a built-in strategy's name, an entry point, or the path of a Python file"),
    name=("text", "how reports call the model; default: the strategy's name"),
    timeframe=("timeframe", "the model's own timeframe, equal to or coarser than the book's; default: the book's"),
    budget=("fraction", "share of the book's equity that the model may use"),
    sizing=("choice", "equal: the budget is split over the instruments; fixed: each instrument gets the whole budget"),
)

COSTS: Final = _section(
    "costs",
    maker_fee=("fraction", "fee of a resting fill, of its notional; negative: a rebate"),
    taker_fee=("fraction", "fee of a fill that takes, of its notional"),
    half_spread=("fraction", "half the bid-ask spread, of mid, paid on each side"),
    vol_spread=("number", "extra half spread per unit of per-bar volatility"),
    slippage=("fraction", "adverse price, of mid, whatever the size"),
    impact=("number", "adverse price, of mid, when the size equals the average volume of a day"),
    impact_power=("number", "exponent of size / average volume (0.5: the square-root law)"),
    latency=("duration", "time between the decision and its arrival at the venue"),
    participation=("fraction", "largest share of a bar's volume"),
    reject=("fraction", "probability that the venue rejects an order"),
    funding=("fraction", "paid by longs to shorts at 00:00, 08:00 and 16:00 UTC, of notional, where bars have no field "
             "`funding`; perpetuals only"),
    borrow=("fraction", "cost of a short position that is no perpetual's, of its notional, per year"),
    margin_interest=("fraction", "cost of the cash that a margin account owes, per year"),
    liquidation=("fraction", "taken by the venue beside the taker's fee when it liquidates, of notional"),
)  # fmt: skip

LIMITS: Final = _section(
    "limits",
    gross_leverage=("number", "largest sum of |notional| / equity"),
    max_weight=("fraction", "largest |notional| of one instrument / equity"),
    drawdown_derisk=("fraction", "drawdown beyond which every target is scaled by derisk_factor"),
    derisk_factor=("fraction", "the scale in force while de-risked"),
    drawdown_halt=("fraction", "drawdown beyond which the book is flattened and stays halted"),
    stop_loss=("fraction", "protective stop, distance from the average price"),
    take_profit=("fraction", "protective target, distance from the average price"),
    trailing_stop=("fraction", "protective stop, distance from the best price since entry"),
    daily_loss=("fraction", "loss since 00:00 UTC, of the equity then, beyond which the book is flat for the day"),
    weekly_loss=("fraction", "likewise since Monday 00:00 UTC, until the next Monday"),
    stale=("duration", "age of an instrument's last bar beyond which its position may only be reduced"),
    order_notional=("number", "largest notional by which one order may increase a position, base currency"),
    collar=("fraction", "an increase waits where the price is further than this from the last close"),
    max_holding=("duration", "time after which a position is closed, like after a stop"),
    concentration=("fraction", "largest |notional| of one instrument / the larger of gross notional and equity"),
    net_exposure=("fraction", "largest |sum of signed notional| / equity"),
    heat=("fraction", "largest initial margin in use / equity"),
    group_gross=("fraction", "largest sum of |notional| over a group of correlated instruments / equity"),
    group_correlation=("fraction", "|correlation| of daily returns from which instruments are linked into one group"),
    unusual_vol=("fraction", "volatility of an instrument per year beyond which the whole book may only reduce"),
    unusual_gap=("fraction", "|open / last close - 1| beyond which the whole book may only reduce"),
    unusual_spread=("fraction", "the bars' field `spread`, of mid, beyond which the whole book may only reduce"),
)

CAPS: Final = _section(
    "caps",
    asset_classes=("fraction", "largest sum of |notional| / equity per asset class, by its name; * for all others"),
    venues=("fraction", "likewise per venue"),
    models=("fraction", "likewise per model, of its virtual lots, by the model's name"),
)

CASH_FLOW: Final = _section(
    "cash_flows",
    at=("date", "when: it counts at the first close from then on"),
    amount=("number", "paid in; negative: paid out; in the wallet's currency"),
    wallet=("symbol", "venue/currency, or a currency that only one venue holds; default: the book's first"),
)

RULE: Final = _section(
    "rules",
    file=("text", "a Python file that holds a limit of your own as RULE"),
    bound=("fraction", "what the rule is told: 5% is 0.05, in whatever unit it counts"),
)

EXECUTION: Final = _section(
    "execution",
    kind=("choice", "how the working order is sent"),
    offset=("fraction", "limit price's distance from the close, away from the market"),
    tif=("choice", "how long an order lives"),
    post_only=("flag", "a limit order that would take at once is rejected instead"),
)

REBALANCE: Final = _section(
    "rebalance",
    when=("choice", "on_change: a standing weight is left alone; always: it is sized again at every step of its model"),
    buffer=("fraction", "no trade while the drift is below this share of equity"),
    min_trade=("fraction", "an increase of a weight by less than this share of equity waits; decreases always pass"),
    every=(
        "duration",
        "a standing weight changes its size only this often, counted from the epoch, whole weeks from a "
        "Monday; entries and exits always pass",
    ),
)

SIZER: Final = _section("sizer", name=("symbol", "a sizer, such as volatility_target or confidence"))

ALLOCATOR: Final = _section(
    "allocator",
    name=("symbol", "an allocator, such as inverse_volatility or equal_risk"),
    window=("whole", "UTC days of returns that it looks at"),
    every=("duration", "how often it looks, counted from the epoch, whole weeks from a Monday"),
)

REGIME: Final = _section(
    "regimes",
    regime=("symbol", "the classifier: equity, crypto, volatility, vix or macro"),
    name=("text", "what budgets and reports call it; default: the classifier's name"),
    timeframe=("timeframe", "of the rows that it counts, equal to or coarser than the book's"),
)

#: What a regime reads, and what a label multiplies a budget by.
SOURCE: Final = Field("text", "a symbol of the book or the store, a field of the panel, or file.csv#column")
MULTIPLIER: Final = Field("fraction", "what the budget is multiplied by", Bounds(0.0))

SPEC: Final = _section(
    "",
    name=("text", "what the run is called"),
    timeframe=("timeframe", "the decision grid"),
    base_currency=("currency", "the currency of equity and capital"),
    start=("date", "first instant of the run; default: the first bar"),
    end=("date", "last instant of the run; default: the last bar"),
    members=("text", "a CSV or Parquet file of who belongs to the universe when: symbol, from, to; default: everybody"),
    capital=("number", "starting equity in the base currency; or a mapping of cash by wallet, see `cash_flows.wallet`"),
    volume=("choice", "require: no fill where a bar's volume is zero or unknown; ignore: fill there too"),
    risk_free_rate=("fraction", "annual rate that Sharpe and its kin are in excess of"),
    seed=("whole", "seed of every random draw"),
)

#: Cash of one wallet at the start, and a rate of exchange that stands.
CASH: Final = Field("number", "cash in the wallet's currency", RANGES["capital.*"])
RATE: Final = Field("number", "a rate that stands, base currency per unit", RANGES["fx.*"])
PAIR: Final = Field("symbol", "a pair of the store, such as EURUSD", longest=100)

#: A symbol of an instrument, and a preset's name: one word.
SYMBOL: Final = Field("symbol", "an instrument's symbol", longest=100)
PRESET: Final = Field("symbol", "`venue` (each instrument's own preset) or the name of a cost preset", longest=100)


#: Sections that are a mapping of values.
SECTIONS: Final[Mapping[str, Mapping[str, Field]]] = {
    "costs": COSTS,
    "limits": LIMITS,
    "execution": EXECUTION,
    "rebalance": REBALANCE,
}


def home_of(key: str, parameters: Sequence[Collection[str]]) -> str:
    """` (did you mean 'models.0.params.fast'?)` for a key of the top that belongs further inside, or nothing.

    parameters  the names of those of each model
    """
    homes = [f"models.{k}.params.{key}" for k, names in enumerate(parameters) if key in names]
    homes += [f"{section}.{key}" for section, table in SECTIONS.items() if key in table]
    homes += [f"models.0.{key}"] if key in MODEL else []
    return f" (did you mean {homes[0]!r}?)" if homes else ""


def convert(field: Field, scalar: Scalar) -> Any:
    """The value that a scalar gives to a field; ValueError says what was expected instead."""
    if scalar.null:
        raise ValueError(expected(field))
    if field.bounds.infinite and units.is_infinite(scalar.text):
        return math.inf
    try:
        value = _READERS[field.kind](field, scalar)
    except ValueError:
        raise ValueError(expected(field)) from None
    if isinstance(value, float | int) and not isinstance(value, bool) and not inside(field.bounds, value):
        raise ValueError(f"{expected(field)}{_unit_slip(field, scalar, value)}")
    return value


def expected(field: Field) -> str:
    """What a field accepts, as the end of the sentence `expected …`."""
    if field.kind == "choice":
        return "one of " + ", ".join(field.choices)
    words = _EXPECTED[field.kind]
    if field.kind in ("text", "symbol"):
        words += f", at most {field.longest} characters"
    bounds = told(field.bounds, " seconds" if field.kind == "duration" else "")
    return words + (f", {bounds}" if bounds else "")


def _unit_slip(field: Field, scalar: Scalar, value: float) -> str:
    # The commonest slip of all: a percentage or basis points written as a bare number.
    if field.kind != "fraction" or field.bounds.high == math.inf or abs(value) < 1 or not scalar.text[-1:].isdigit():
        return ""
    text = scalar.text.strip()
    return f" ({text} is {shortest(value * 100)}%; did you mean {text}% or {text}bps?)"


def _number(_: Field, scalar: Scalar) -> float:
    return units.number(scalar.text)


def _whole(_: Field, scalar: Scalar) -> int:
    return units.whole(scalar.text)


def _fraction(_: Field, scalar: Scalar) -> float:
    return units.fraction(scalar.text)


def _duration(_: Field, scalar: Scalar) -> float:
    return units.duration(scalar.text)


def _choice(field: Field, scalar: Scalar) -> str:
    for choice in field.choices:
        if scalar.text.strip().lower() == choice.lower():
            return choice
    raise ValueError(scalar.text)


def _flag(_: Field, scalar: Scalar) -> bool:
    word = scalar.text.strip().lower()
    if word not in ("true", "false"):
        raise ValueError(word)
    return word == "true"


def _text(field: Field, scalar: Scalar) -> str:
    text = scalar.text
    if not text.isprintable() or text != text.strip() or not 0 < len(text) <= field.longest:
        raise ValueError(text)
    return text


def _symbol(field: Field, scalar: Scalar) -> str:
    text = _text(field, scalar)
    if re.search(r"\s", text):
        raise ValueError(text)
    return text


def _currency(_: Field, scalar: Scalar) -> str:
    if re.fullmatch(r"[A-Z0-9]{3,6}", scalar.text) is None:
        raise ValueError(scalar.text)
    return scalar.text


def _date(_: Field, scalar: Scalar) -> str:
    return units.date(scalar.text)


def _timeframe(_: Field, scalar: Scalar) -> str:
    from trimtab.data.timeframes import canonical
    from trimtab.types import TrimtabError

    try:
        return canonical(scalar.text)
    except TrimtabError as error:
        raise ValueError(scalar.text) from error


_READERS: Final[Mapping[str, Callable[[Field, Scalar], Any]]] = {
    "number": _number,
    "whole": _whole,
    "fraction": _fraction,
    "duration": _duration,
    "choice": _choice,
    "flag": _flag,
    "text": _text,
    "symbol": _symbol,
    "currency": _currency,
    "date": _date,
    "timeframe": _timeframe,
}

_EXPECTED: Final[Mapping[str, str]] = {
    "number": units.NUMBER,
    "whole": units.WHOLE,
    "fraction": units.FRACTION,
    "duration": units.DURATION,
    "flag": "true or false",
    "text": "printable text without spaces at its ends",
    "symbol": "one word without spaces",
    "currency": "a currency code in capitals such as USD, EUR or USDT",
    "date": units.DATE,
    "timeframe": "one of 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w (or an alias such as H4 or 1D)",
}
