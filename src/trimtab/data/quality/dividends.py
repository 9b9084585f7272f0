"""Prices that are adjusted for dividends already, though the dividends are stored beside them: they would count twice.

A share without its dividend opens lower by it. On one ex-date that is lost in what a night moves; over many the two
series differ: what the opens of the ex-dates are away from the closes before has the mean of any night where prices are
adjusted, and that less the dividend where they are raw. Each ex-date gives the log of the odds between the two,

    log odds = ((r + y)^2 - r^2) / (2 s^2)      r: log open over the close before, y: -log(1 - dividend / close)

with s the robust deviation of the nights of its time, and counts for CLIP at most: no single night decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from trimtab.data.quality.findings import Bars, Hit, always
from trimtab.data.quality.prices import local_deviation
from trimtab.types import DAY, F64, I64

if TYPE_CHECKING:
    import polars as pl

#: Log odds beyond which prices are told to be adjusted: 1,000 to 1. On AAPL, IBM, SPY, QQQ and IWM with their dividends
#: put on other days, 1,500 times each, raw prices never reached it where ENOUGH was.
ODDS: Final = 7.0
#: Ex-dates, and standard error of the share of the dividends that opens go without, from which there is enough to tell.
FEWEST: Final = 20
ENOUGH: Final = 0.25
CLIP: Final = 4.0
_WIDE: Final = 4.0  # deviations at which a night is cut where their size is measured
_LONGEST: Final = 10 * DAY  # since the bar before: a share that was halted moves by more than a night


class Evidence(NamedTuple):
    """What ex-dates say.

    dates    that could be looked at; row: the first of them
    moved    mean log return over their nights; due: mean log return that a holder of a dividend is paid
    error    standard error of the share of the dividends that opens go without
    odds     log odds that prices are adjusted, against raw
    """

    dates: int
    row: int
    moved: float
    due: float
    error: float
    odds: float

    @property
    def is_enough(self) -> bool:
        return self.dates >= FEWEST and self.error <= ENOUGH


def evidence_of(b: Bars, length: int, events: pl.DataFrame | None) -> Evidence | None:
    """What the ex-dates of stored dividends say, of bars in order of time; None where there is none inside them."""
    if events is None or events.is_empty() or len(b.opens) < 2:
        return None
    rows, y = _ex_dates(b, events)
    if not len(rows):
        return None
    night, deviation = _nights(b, length)
    r, scale = night[rows], deviation[rows]
    usable = np.isfinite(r) & np.isfinite(scale) & (scale > 0.0)
    rows, r, y, scale = rows[usable], r[usable], y[usable], scale[usable]
    if not len(rows):
        return None
    odds = float(np.clip((2.0 * r * y + y * y) / (2.0 * scale**2), -CLIP, CLIP).sum())
    error = float(1.0 / np.sqrt(((y / scale) ** 2).sum()))
    return Evidence(len(rows), int(rows[0]), float(r.mean()), float(y.mean()), error, odds)


def dividend_faults(found: Evidence | None) -> tuple[list[Hit], list[str]]:
    """Dividends that would count twice; and a note where there are too few ex-dates to tell."""
    if found is None:
        return [], []
    dates = "1 ex-date" if found.dates == 1 else f"{found.dates:,} ex-dates"
    if not found.is_enough:
        needed = max(FEWEST, int(np.ceil(found.dates * (found.error / ENOUGH) ** 2)))
        return [], [
            f"NOT ENOUGH dividends to tell whether prices are adjusted for them already: {dates} of "
            f"{np.expm1(found.due):.2%} on average; about {needed:,} such would do"
        ]
    if found.odds <= ODDS:
        return [], []
    said = (
        f"{dates} open {np.expm1(found.moved):+.2%} from the close before on average, and the dividends stored for "
        f"them are {np.expm1(found.due):.2%}: prices are adjusted for dividends already (odds above 1,000 to 1), and "
        "each would count twice"
    )
    return [Hit("adjusted", np.array([found.row], dtype=np.int64), always(said))], []


def _ex_dates(b: Bars, events: pl.DataFrame) -> tuple[I64, F64]:
    """Rows that are the first of an ex-date without a split, and what was paid there as a log return: two of (E,)."""
    splits = set(events.filter(events["kind"] == "split")["ts"].to_list())
    paid = events.filter((events["kind"] == "dividend") & ~events["ts"].is_in(list(splits))).sort("ts")
    ts = paid["ts"].dt.timestamp("ns").to_numpy()
    rows = np.searchsorted(b.opens, ts - DAY // 2)  # a day may be labelled by the evening before it
    inside = (rows > 0) & (rows < len(b.opens))
    ts, rows, cash = ts[inside], rows[inside], paid["value"].to_numpy()[inside]
    close = b.close[rows - 1]
    good = (b.opens[rows] < ts + DAY) & (b.opens[rows] - b.opens[rows - 1] < _LONGEST) & (cash < close) & (cash > 0.0)
    rows, cash, close = rows[good], cash[good], close[good]
    return rows, -np.log1p(-cash / close)


def _nights(b: Bars, length: int) -> tuple[F64, F64]:
    """Log return from the close before to the open, where a day begins, and its deviation: (R,) each, else NaN."""
    night = np.full(len(b.opens), np.nan)
    begins = np.flatnonzero(np.diff(b.opens) > (length if length < DAY else 0)) + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.log(b.open[begins] / b.close[begins - 1])
    deviation = local_deviation(returns)
    with np.errstate(invalid="ignore"):
        sizes = np.clip(returns / deviation, -_WIDE, _WIDE)
    sizes = sizes[np.isfinite(sizes)]
    # The robust deviation is that of the middle; nights have fat tails.
    wide = max(1.0, float(sizes.std())) if len(sizes) else 1.0
    night[begins] = returns
    scale = np.full(len(b.opens), np.nan)
    scale[begins] = deviation * wide
    return night, scale
