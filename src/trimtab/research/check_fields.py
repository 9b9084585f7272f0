"""Fields: columns that came with the data, made before the run by somebody else's code.

A strategy cannot betray them, for they are the same in every cut of history; what they hold can. Where a column is a
later row of the panel, or scaled by the whole of it, that is proof. Where it only seems to know more than markets let
anybody know, that is a suspicion.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Final

import numpy as np

from trimtab.data.panel import rows_of
from trimtab.research.check_columns import (
    Seen,
    Slow,
    early,
    filled_back,
    filled_head,
    first_seen_later,
    led_extreme,
    normalised,
    shifted,
)
from trimtab.research.check_foretold import foretold
from trimtab.research.check_subject import Finding, Subject
from trimtab.schedule.buckets import divides
from trimtab.types import BAR_FIELDS, DAY, F64, HOUR, I64, TIMEFRAMES, Panel, Strategy, TrimtabError

#: Of a column's news, what later changes of the close explain: suspicion, and proof. Chance must stay far below.
_OF_CLOSE: Final = (0.20, 0.25)
#: Of volume and of squared changes, which honest columns foretell well.
_OF_OTHERS: Final = (0.50, 0.85)
_OVER_CHANCE: Final = 4.0
#: Proof is ten times over chance, or half of the news: short and slow columns come to a quarter by chance.
_FAR_OVER_CHANCE: Final = 10.0
_MOST: Final = 0.5
_REMEDY: Final = (
    "Make it of rows up to its own and of slower bars that are closed, or let its maker be an Indicator, which prefix "
    "then proves"
)
_STORED: Final = (*BAR_FIELDS, "ticks", "funding", "spread", "fx")


def made_before(strategy: Strategy) -> list[str]:
    """The fields that a strategy reads and that are no bars: columns of the user's, and slower series."""
    return [name for name in strategy.reads if name not in _STORED]


def fields(subject: Subject) -> list[Finding]:
    """No column that came with the data holds later rows, as far as they can tell: one finding per field."""
    found: list[Finding] = []
    for name in made_before(subject.strategy):
        judged = list(_judged(subject, name))
        proved = [f for f in judged if not f.passed]
        found.extend((proved or judged)[:1])
    return found


def _judged(subject: Subject, name: str) -> Generator[Finding]:
    """What is found in one field, an instrument at a time, until something is proved."""
    panel = subject.panel
    symbols = dict.fromkeys(s for unit in subject.units for s in unit.symbols)
    for symbol in symbols:
        n = panel.symbols.index(symbol)
        values = panel.values[:, n]
        rows = np.flatnonzero(~np.isnan(values[:, panel.fields.index("close")]))
        bars = {k: values[rows, panel.fields.index(k)].copy() for k in ("open", "high", "low", "close", "volume")}
        column = values[rows, panel.fields.index(name)].copy()
        if not np.isfinite(column).any():
            continue
        for seen in _seen(subject, name, n, rows, column, bars):
            yield _finding(panel, name, symbol, int(rows[seen.row]), seen)
            if seen.proof:
                return


def _seen(subject: Subject, name: str, n: int, rows: I64, f: F64, bars: Mapping[str, F64]) -> Generator[Seen]:
    """The tests, the cheap and certain ones first."""
    ts = subject.panel.ts[rows]
    found = shifted(f, bars) or _published_early(subject, f, ts) or _bar_early(subject.panel, n, f, ts)
    found = found or first_seen_later(f, bars) or led_extreme(f, bars) or filled_back(f, bars) or normalised(f, bars)
    if found:
        yield found
        if found.proof:
            return
    measured = _measured(f, bars, subject.rng(f"fields {name}"))
    for each in (measured, filled_head(f), _by_month(f, ts)):
        if each:
            yield each


def _finding(panel: Panel, name: str, symbol: str, row: int, seen: Seen) -> Finding:
    sure = "look-ahead" if seen.proof else "suspicious"
    message = f"{name} of {symbol}: {sure}: it {seen.told}. Usual cause: {seen.cause}. {_REMEDY}"
    return Finding(
        "fields",
        not seen.proof,
        name,
        row,
        message,
        int(panel.ts[row]),
        instrument=symbol,
        size=seen.size,
        suspicious=not seen.proof,
    )


# --- slower series before they are known -----------------------------------------------------------------------------


def _bar_early(panel: Panel, n: int, f: F64, ts: I64) -> Seen | None:
    """The high, low, close or volume of a slower bar while it is still open."""
    names = ("high", "low", "close", "volume")
    for timeframe in TIMEFRAMES:
        if TIMEFRAMES[timeframe] <= TIMEFRAMES[panel.timeframe] or not divides(panel.timeframe, timeframe):
            continue
        try:
            index, x = rows_of(panel, [n], timeframe, names)
        except TrimtabError:
            continue
        for k, name in enumerate(names):
            found = early(f, ts, Slow(panel.ts[index], x[:, 0, k]))
            if found:
                row, share, ahead = found
                told = f"shows the {name} of each {timeframe} bar before that bar is closed, by {_span(ahead)} there"
                cause = "a slower bar joined on its open time, or a resample with the label on the wrong side"
                return Seen(row, share, told, cause)
    return None


def _published_early(subject: Subject, f: F64, ts: I64) -> Seen | None:
    """A published series of the store before its date label and its lag."""
    for name, slow in subject.series.items():
        found = early(f, ts, slow)
        if found:
            row, share, ahead = found
            told = f"shows {name} before it was published, by {_span(ahead)} there"
            return Seen(row, share, told, "a macro series joined on its date label, without its publication lag")
    return None


def _span(ns: int) -> str:
    return f"{ns / DAY:.3g} days" if ns >= 2 * DAY else f"{ns / HOUR:.3g} hours"


def _by_month(f: F64, ts: I64) -> Seen | None:
    """A value that changes on the first row of a month only: perhaps a monthly series in force from its label on."""
    known = np.isfinite(f)
    moves = np.flatnonzero((f[1:] != f[:-1]) & known[1:] & known[:-1]) + 1
    month = ts.view("datetime64[ns]").astype("datetime64[M]")
    if len(moves) < 12 or len(moves) > 0.2 * known.sum() or not (month[moves] != month[moves - 1]).mean() > 0.95:
        return None
    told = "changes on the first row of a month only, where monthly series have their date label"
    cause = "a macro series without its publication lag, which comes weeks after the label; fine if it was known then"
    return Seen(int(moves[0]), float(len(moves) / known.sum()), told, cause, proof=False)


# --- foreknowledge ---------------------------------------------------------------------------------------------------


def _measured(f: F64, bars: Mapping[str, F64], rng: np.random.Generator) -> Seen | None:
    """Later changes of close, of volume, or of squared changes explain what honest columns cannot know."""
    with np.errstate(all="ignore"):
        close, log = bars["close"], np.log(bars["close"])
        squares = np.nancumsum(np.diff(close, prepend=np.nan) ** 2 / close**2)
        tries = (
            ("close", f, close, _OF_CLOSE),
            ("close", f, log, _OF_CLOSE),
            ("volume", f, np.nancumsum(bars["volume"]), _OF_OTHERS),
            ("squared changes of close", f * f, squares, _OF_OTHERS),
        )
    best: Seen | None = None
    for name, column, level, (suspicious, proof) in tries:
        share = foretold(column, level, rng, suspicious)
        if share is None or share.explained < suspicious or share.explained < _OVER_CHANCE * share.chance:
            continue
        far = share.explained >= _FAR_OVER_CHANCE * share.chance or share.explained >= _MOST
        sure = share.explained >= proof and far
        told = f"knows later rows: {name} after a row explains {share.explained:.0%} of what it says beyond their past"
        told += f" (at most {share.chance:.0%} when moved along)"
        cause = (
            "a centred window, a filter or transform over the whole sample (FFT, wavelets), or a label of the next bar"
        )
        if best is None or (sure, share.explained) > (best.proof, best.size):
            best = Seen(share.row, share.explained, told, cause, sure)
    return best
