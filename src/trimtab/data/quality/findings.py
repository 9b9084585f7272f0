"""What a check of bars finds, and the bars as it sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.types import F64, I64

if TYPE_CHECKING:
    import polars as pl

Severity = Literal["error", "warning"]

#: Faults of a row: it cannot be, and can be taken out.
ROW_ERRORS: Final = (
    "no_time", "duplicate", "disorder", "future", "misaligned", "no_price", "non_positive_price", "high_below_low",
    "outside_range", "negative_volume",
)  # fmt: skip
#: Faults of a whole series: no row is to blame.
SERIES_ERRORS: Final = ("early_label",)
ERRORS: Final = (*ROW_ERRORS, *SERIES_ERRORS)
WARNINGS: Final = (
    "gap", "short_session", "closed_day", "late_label", "split", "inverted", "adjusted", "zero_volume", "stale",
    "outlier",
)  # fmt: skip


class Finding(msgspec.Struct, frozen=True):
    """One fault: `row` counts from 0 in the frame as given; `instant` is the bar's open_time (ISO, UTC)."""

    fault: str
    severity: Severity
    row: int
    instant: str
    message: str


class Report(msgspec.Struct, frozen=True):
    """Findings by fault, a limited number of each; `counts` holds all of them, `missing` the bars that gaps lack.

    hours  what the gaps were held against: round the clock, a calendar of the exchange, or a rule without holidays
    """

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    rows: int
    missing: int = 0
    hours: str = ""

    @property
    def n_errors(self) -> int:
        return sum(n for fault, n in self.counts.items() if fault in ERRORS)

    @property
    def n_warnings(self) -> int:
        return sum(n for fault, n in self.counts.items() if fault in WARNINGS)


class Hit(NamedTuple):
    """Rows at which a fault was found, and what to say of the i-th of them (asked only for those that are listed)."""

    fault: str
    rows: I64
    say: Callable[[int], str]


class Bars(NamedTuple):
    """(R,) each; opens is ns UTC, NAT where the time is missing; unknown volume is NaN."""

    opens: I64
    open: F64
    high: F64
    low: F64
    close: F64
    volume: F64


NAT: Final = np.iinfo(np.int64).min


def columns_of(frame: pl.DataFrame) -> Bars:
    """The columns of a frame of bars as arrays."""
    import polars as pl

    times = frame["open_time"].cast(pl.Datetime("us", "UTC")).to_physical()
    opens = times.fill_null(NAT // 1_000).to_numpy().astype(np.int64) * 1_000
    if times.null_count():
        opens[times.is_null().to_numpy()] = NAT
    prices = [frame[c].cast(pl.Float64).to_numpy() for c in ("open", "high", "low", "close", "volume")]
    return Bars(opens, *prices)


def listed(hit: Hit, opens: I64, limit: int) -> list[Finding]:
    """The first `limit` findings of a hit."""
    severity: Severity = "error" if hit.fault in ERRORS else "warning"
    found: list[Finding] = []
    for i, row in enumerate(hit.rows[:limit]):
        found.append(Finding(hit.fault, severity, int(row), iso(int(opens[row])), hit.say(i)))
    return found


def iso(ts: int) -> str:
    """ns UTC as 2021-03-02T16:00Z (seconds and below only where they are not zero)."""
    if ts == NAT:
        return "no time"
    text = str(np.datetime64(ts, "ns"))
    text = text[:19] + text[19:].rstrip("0").rstrip(".")
    return (text[:-3] if text.endswith(":00") and len(text) == 19 else text) + "Z"


def always(message: str) -> Callable[[int], str]:
    def say(_: int) -> str:
        return message

    return say


def where(fault: str, wrong: NDArray[np.bool_], say: str) -> Hit:
    """A fault of which every row is told in the same words."""
    return Hit(fault, np.flatnonzero(wrong), always(say))


def whole(fault: str, say: str) -> Hit:
    """A fault of the series, told once, at its first row."""
    return Hit(fault, np.zeros(1, dtype=np.int64), always(say))


def number_of(n: int, noun: str) -> str:
    """1 bar, 2 bars."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
