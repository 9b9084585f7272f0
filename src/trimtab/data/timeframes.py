"""Timeframes: canonical names, the aliases people type, and which divides which."""

from __future__ import annotations

import difflib
import re
from typing import Final

from trimtab.types import DAY, HOUR, MINUTE, TIMEFRAMES, TrimtabError

_UNITS: Final = {
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "t"), MINUTE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), HOUR),
    **dict.fromkeys(("d", "day", "days"), DAY),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 7 * DAY),
}
_WORDS: Final = {"hourly": "1h", "daily": "1d", "weekly": "1w", "hour": "1h", "day": "1d", "week": "1w", "minute": "1m"}
_NAMES: Final = {length: name for name, length in TIMEFRAMES.items()}
_COUNT_FIRST: Final = re.compile(r"(\d{1,6})\s*([a-z]+)")
_UNIT_FIRST: Final = re.compile(r"([a-z]+)\s*(\d{1,6})")


def canonical(name: str) -> str:
    """The canonical name of a timeframe: H4, 4H, 240m, 240min -> 4h; D1, 1D, daily -> 1d.

    A trailing m is minutes in either case (M5, 5M); there is no month. Unknown: TrimtabError with the closest name.
    """
    text = name.strip().lower()
    if text in TIMEFRAMES:
        return text
    if text in _WORDS:
        return _WORDS[text]
    length = 0
    if match := _COUNT_FIRST.fullmatch(text):
        length = int(match[1]) * _UNITS.get(match[2], 0)
    elif match := _UNIT_FIRST.fullmatch(text):
        length = int(match[2]) * _UNITS.get(match[1], 0)
    if length in _NAMES:
        return _NAMES[length]
    raise TrimtabError(f"unknown timeframe {name!r}: known are {', '.join(TIMEFRAMES)}{_closest(text, length)}")


def length_of(timeframe: str) -> int:
    """Nanoseconds of a timeframe given by its canonical name or an alias."""
    return TIMEFRAMES[canonical(timeframe)]


def _closest(text: str, length: int) -> str:
    if length > 0:
        nearest = min(TIMEFRAMES, key=lambda n: abs(TIMEFRAMES[n] / length - 1 if length else 0))
        return f"; the closest is {nearest}"
    near = difflib.get_close_matches(text, TIMEFRAMES, n=1, cutoff=0.0)
    return f"; did you mean {near[0]}?" if near else ""
