"""Names of timeframes as people type them."""

from __future__ import annotations

import pytest

from trimtab.data.timeframes import canonical, length_of
from trimtab.schedule.buckets import divides
from trimtab.types import HOUR, TIMEFRAMES, TrimtabError


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("H4", "4h"), ("4H", "4h"), ("240m", "4h"), ("240min", "4h"), ("4hours", "4h"), (" 4h ", "4h"),
        ("1D", "1d"), ("D1", "1d"), ("daily", "1d"), ("1440m", "1d"), ("24h", "1d"),
        ("60min", "1h"), ("60m", "1h"), ("H1", "1h"), ("1hour", "1h"), ("hourly", "1h"),
        ("M5", "5m"), ("5M", "5m"), ("5T", "5m"), ("M15", "15m"), ("30min", "30m"), ("M1", "1m"),
        ("1W", "1w"), ("W1", "1w"), ("7d", "1w"), ("weekly", "1w"),
    ],
)  # fmt: skip
def test_aliases(alias: str, name: str) -> None:
    assert canonical(alias) == name


def test_canonical_names_are_their_own() -> None:
    assert [canonical(t) for t in TIMEFRAMES] == list(TIMEFRAMES)
    assert length_of("H4") == 4 * HOUR


@pytest.mark.parametrize(
    ("wrong", "closest"),
    [
        ("3h", "closest is 4h"),
        ("2d", "closest is 1d"),
        ("H5", "closest is 4h"),
        ("1x", "did you mean"),
        ("", "did you"),
    ],
)
def test_unknown_names_say_what_is_known_and_close(wrong: str, closest: str) -> None:
    with pytest.raises(TrimtabError, match="known are 1m, 5m") as error:
        canonical(wrong)
    assert closest in str(error.value)


def test_divides() -> None:
    assert divides("1h", "4h")
    assert divides("15m", "1w")
    assert not divides("4h", "4h")
    assert not divides("4h", "1h")
