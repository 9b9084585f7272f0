"""Every key that a spec may hold: what it means, its unit, what is accepted. The reader and the JSON Schema share it.

Defaults are not repeated here: they are those of the nouns in `trimtab.types`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from trimtab.app import units
from trimtab.app.document import Scalar


class Field(NamedTuple):
    """One value of a spec.

    kind         number, whole, fraction, duration, choice, text, currency, date or timeframe
    low, high    accepted range in the field's unit (seconds, fractions); low_open, high_open leave the end itself out
    infinite     inf is accepted and means that there is no limit
    """

    kind: str
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    infinite: bool = False
    choices: tuple[str, ...] = ()
    longest: int = 200


def _share(meaning: str, *, low_open: bool = False, high_open: bool = True, infinite: bool = False) -> Field:
    return Field("fraction", meaning, 0.0, 1.0, low_open=low_open, high_open=high_open, infinite=infinite)


MODEL: Final[Mapping[str, Field]] = {
    "strategy": Field("text", "a built-in strategy's name, an entry point, or the path of a Python file"),
    "name": Field("text", "how reports call the model; default: the strategy's name"),
    "timeframe": Field(
        "timeframe", "the model's own timeframe, equal to or coarser than the book's; default: the book's"
    ),
    "budget": _share("share of the book's equity that the model may use", low_open=True, high_open=False),
    "sizing": Field(
        "choice",
        "equal: the budget is split over the instruments; fixed: each instrument gets the whole budget",
        choices=("equal", "fixed"),
    ),
}

COSTS: Final[Mapping[str, Field]] = {
    "maker_fee": Field("fraction", "fee of a resting fill, of its notional; negative: a rebate", -1.0, 1.0, True, True),
    "taker_fee": _share("fee of a fill that takes, of its notional"),
    "half_spread": _share("half the bid-ask spread, of mid, paid on each side"),
    "vol_spread": Field("number", "extra half spread per unit of per-bar volatility", 0.0, 100.0),
    "slippage": _share("adverse price, of mid, whatever the size"),
    "impact": Field("number", "adverse price, of mid, when the size equals the average volume of a day", 0.0, 100.0),
    "impact_power": Field("number", "exponent of size / average volume (0.5: the square-root law)", 0.0, 5.0),
    "latency": Field("duration", "time between the decision and its arrival at the venue", 0.0, 7 * 86400.0),
    "participation": _share("largest share of a bar's volume", low_open=True, high_open=False, infinite=True),
    "reject": _share("probability that the venue rejects an order", high_open=False),
}

LIMITS: Final[Mapping[str, Field]] = {
    "gross_leverage": Field("number", "largest sum of |notional| / equity", 0.0, low_open=True, infinite=True),
    "max_weight": Field("fraction", "largest |notional| of one instrument / equity", 0.0, low_open=True, infinite=True),
    "drawdown_derisk": _share(
        "drawdown beyond which every target is scaled by derisk_factor", low_open=True, infinite=True
    ),
    "derisk_factor": _share("the scale in force while de-risked"),
    "drawdown_halt": _share(
        "drawdown beyond which the book is flattened and stays halted", low_open=True, high_open=False, infinite=True
    ),
    "stop_loss": _share("protective stop, distance from the average price", low_open=True, infinite=True),
    "take_profit": Field(
        "fraction", "protective target, distance from the average price", 0.0, low_open=True, infinite=True
    ),
    "trailing_stop": _share("protective stop, distance from the best price since entry", low_open=True, infinite=True),
}

EXECUTION: Final[Mapping[str, Field]] = {
    "kind": Field("choice", "how the working order is sent", choices=("MARKET", "LIMIT")),
    "offset": Field("fraction", "limit price's distance from the close, away from the market", -1.0, 1.0, True, True),
    "tif": Field("choice", "how long an order lives", choices=("GTC", "IOC", "FOK", "DAY")),
    "post_only": Field("flag", "a limit order that would take at once is rejected instead"),
}

REBALANCE: Final[Mapping[str, Field]] = {
    "when": Field(
        "choice",
        "on_change: a standing weight is left alone; always: it is sized again at every step of its model",
        choices=("on_change", "always"),
    ),
    "buffer": _share("no trade while the drift is below this share of equity"),
}

SPEC: Final[Mapping[str, Field]] = {
    "name": Field("text", "what the run is called"),
    "timeframe": Field("timeframe", "the decision grid"),
    "base_currency": Field("currency", "the currency of equity and capital"),
    "start": Field("date", "first instant of the run; default: the first bar"),
    "end": Field("date", "last instant of the run; default: the last bar"),
    "capital": Field("number", "starting equity in the base currency", 0.0, 1e15, low_open=True),
    "volume": Field(
        "choice",
        "require: no fill where a bar's volume is zero or unknown; ignore: fill there too",
        choices=("require", "ignore"),
    ),
    "risk_free_rate": Field("fraction", "annual rate that Sharpe and its kin are in excess of", -1.0, 1.0, True, True),
    "seed": Field("whole", "seed of every random draw", 0, 2**63 - 1),
}

#: A symbol of an instrument, and a preset's name: one word.
SYMBOL: Final = Field("symbol", "an instrument's symbol", longest=100)
PRESET: Final = Field("symbol", "`venue` (each instrument's own preset) or the name of a cost preset", longest=100)


def convert(field: Field, scalar: Scalar) -> Any:
    """The value that a scalar gives to a field; ValueError says what was expected instead."""
    if scalar.null:
        raise ValueError(expected(field))
    if field.infinite and units.is_infinite(scalar.text):
        return math.inf
    try:
        value = _READERS[field.kind](field, scalar)
    except ValueError:
        raise ValueError(expected(field)) from None
    if isinstance(value, float | int) and not isinstance(value, bool) and not _inside(field, value):
        raise ValueError(f"{expected(field)}{_unit_slip(field, scalar, value)}")
    return value


def expected(field: Field) -> str:
    """What a field accepts, as the end of the sentence `expected …`."""
    if field.kind == "choice":
        return "one of " + ", ".join(field.choices)
    words = _EXPECTED[field.kind]
    if field.kind in ("text", "symbol"):
        words += f", at most {field.longest} characters"
    bounds = _range(field)
    return words + (f", {bounds}" if bounds else "") + (", or inf for no limit" if field.infinite else "")


def _range(field: Field) -> str:
    parts: list[str] = []
    if field.low > -math.inf:
        parts.append(("above " if field.low_open else "at least ") + units.shortest(field.low))
    if field.high < math.inf:
        parts.append(("below " if field.high_open else "at most ") + units.shortest(field.high))
    unit = " seconds" if field.kind == "duration" and parts else ""
    return " and ".join(parts) + unit


def _inside(field: Field, value: float) -> bool:
    above = value > field.low if field.low_open else value >= field.low
    return above and (value < field.high if field.high_open else value <= field.high)


def _unit_slip(field: Field, scalar: Scalar, value: float) -> str:
    # The commonest slip of all: a percentage or basis points written as a bare number.
    if field.kind != "fraction" or field.high == math.inf or abs(value) < 1 or not scalar.text[-1:].isdigit():
        return ""
    text = scalar.text.strip()
    return f" ({text} is {units.shortest(value * 100)}%; did you mean {text}% or {text}bps?)"


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
