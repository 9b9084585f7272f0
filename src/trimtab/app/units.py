"""What people write, as numbers: `5%`, `10bps`, `15m`, `1_000_000`, `2021-03-02`.

Every function reads one text and returns a float, an int or a text in one unit; what it cannot read raises ValueError
with the form that was expected. Decimal arithmetic keeps `0.7%` equal to 0.007 to the last bit.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d{1,4})?")
_INFINITE: Final = re.compile(r"\+?\.?inf(inity)?|none|unlimited", re.IGNORECASE)

_FRACTIONS: Final = {"": Decimal(1), "%": Decimal("1e-2"), "bps": Decimal("1e-4"), "bp": Decimal("1e-4")}
_SECONDS: Final = {
    "": Decimal(1),
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
    "w": Decimal(604800),
}

FRACTION: Final = "a fraction such as 0.001, 0.1% or 10bps"
DURATION: Final = "a duration such as 500ms, 2s, 15m or 2h (a bare number is seconds)"
NUMBER: Final = "a number such as 50, 0.5, 1_000_000 or 1e6"
WHOLE: Final = "a whole number such as 50 or 1_000"
DATE: Final = "a date such as 2021-03-02 (year-month-day) or an instant such as 2021-03-02T14:00:00Z"


def number(text: str) -> float:
    """The number that text says; underscores may group digits. ValueError if it is not finite."""
    return _finite(_split(text, {"": Decimal(1)}, NUMBER), NUMBER)


def whole(text: str) -> int:
    """The whole number that text says; `1e3` and `50.0` are whole, `2.5` is not."""
    value = _split(text, {"": Decimal(1)}, WHOLE)
    if value != value.to_integral_value() or value.adjusted() > 30:
        raise ValueError(WHOLE)
    return int(value)


def fraction(text: str) -> float:
    """A fraction, written as 0.001, 0.1% or 10bps."""
    return _finite(_split(text, _FRACTIONS, FRACTION), FRACTION)


def duration(text: str) -> float:
    """Seconds, written as 500ms, 2s, 15m, 2h, 1d or a bare number of seconds."""
    return _finite(_split(text, _SECONDS, DURATION), DURATION)


def is_infinite(text: str) -> bool:
    """True for the words that mean no limit: inf, infinity, none, unlimited."""
    return _INFINITE.fullmatch(text.strip()) is not None


def date(text: str) -> str:
    """A day `2021-03-02` or an instant `2021-03-02T14:00:00Z`, normalised; an instant without a zone is UTC."""
    text = text.strip()
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError(DATE)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(DATE) from None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return text
    try:
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:
        raise ValueError(DATE) from None
    return when.replace(tzinfo=None).isoformat(timespec="auto") + "Z"


def instant(text: str) -> datetime:
    """The first instant, in UTC, of what `date` returned."""
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def _split(text: str, units: dict[str, Decimal], expected: str) -> Decimal:
    text = text.strip()
    match = _NUMBER.match(text)
    unit = text[match.end() :].strip() if match else ""
    if match is None or unit not in units:
        raise ValueError(expected)
    return Decimal(match.group().replace("_", "")) * units[unit]


def _finite(value: Decimal, expected: str) -> float:
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(expected)
    return result
