"""What people write, as numbers."""

from __future__ import annotations

import pytest

from trimtab.app import units


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5%", 0.05),
        ("0.7%", 0.007),  # 0.7 / 100 in binary is not
        ("10bps", 0.001),
        ("1 bp", 0.0001),
        ("-2.5bps", -0.00025),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("0", 0.0),
    ],
)
def test_fractions(text: str, value: float):
    assert units.fraction(text) == value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2.0), ("15m", 900.0), ("2h", 7200.0), ("1d", 86400.0), ("250us", 0.00025), ("3", 3.0)],
)
def test_durations(text: str, seconds: float):
    assert units.duration(text) == seconds


@pytest.mark.parametrize(("text", "value"), [("1_000_000", 1e6), ("1e6", 1e6), ("+3.", 3.0), ("-0.5", -0.5)])
def test_numbers(text: str, value: float):
    assert units.number(text) == value


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "", "1__0", "1,000", "0x10", "true", "5 %%", "1e999", "1:30"])
@pytest.mark.parametrize("read", [units.number, units.fraction, units.duration, units.whole])
def test_refused(read: object, text: str):
    with pytest.raises(ValueError, match=r"such as"):
        read(text)  # type: ignore[operator]


def test_whole_numbers():
    assert [units.whole(text) for text in ("50", "1_000", "1e3", "50.0", "010")] == [50, 1000, 1000, 50, 10]
    for text in ("2.5", "1e-3", "5%"):
        with pytest.raises(ValueError, match="whole number"):
            units.whole(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2021-03-02", "2021-03-02"),
        ("2021-03-02T14:00:00Z", "2021-03-02T14:00:00Z"),
        ("2021-03-02 14:00", "2021-03-02T14:00:00Z"),
        ("2021-03-02T14:00:00+02:00", "2021-03-02T12:00:00Z"),
    ],
)
def test_dates(text: str, read: str):
    assert units.date(text) == read
    assert units.date(read) == read


@pytest.mark.parametrize("text", ["2021-02-30", "02.03.2021", "2021", "20210302", "yesterday", "2021-03-02T25:00"])
def test_dates_refused(text: str):
    with pytest.raises(ValueError, match="a date such as"):
        units.date(text)


def test_no_limit():
    assert all(units.is_infinite(text) for text in ("inf", ".inf", "Infinity", "none", "unlimited"))
    assert not any(units.is_infinite(text) for text in ("-inf", "nan", "", "info"))
