"""Folds of a history: the rows on which parameters are chosen, and the rows on which the choice is traded.

Rules of the edges, which hold for walk-forward and for cross-validation:

* Every test begins with the first row of a UTC day and ends with the last row of one. So no day is in two tests, and
  daily returns of one test after the other can be stitched together. A length in bars is taken from the edge it is
  counted from, and then on to the next day that begins.
* A test sees all bars before it (models are warmed, the book is flat). What stands when it opens is decided at its
  first row and fills at the open of the second. At its last row but one nothing is wanted any more, and the open of its
  last row sells what is held, at its costs; with `exit_bars` so many opens do, one after the other.
* In-sample rows end `purge` + `embargo` before the test: of walk-forward no in-sample row comes after it. In
  cross-validation `purge` is kept free before a test, and `purge` + `embargo` after it.
"""

from __future__ import annotations

import itertools
import re
from typing import Final, NamedTuple

import msgspec
import numpy as np

from trimtab.rules.market import Market
from trimtab.sim.windows import Window
from trimtab.types import DAY, I64, NotEnoughData, TrimtabError
from trimtab.words import day_of

#: Fewer days than this say nothing about a metric.
LEAST_DAYS: Final = 20
#: Rows that a window needs besides those of its exit: one to decide, and one to fill and to decide the exit.
LEAST_ROWS: Final = 2

_FORM: Final = "a length such as 2y, 6mo, 26w, 180d, or 500 (bars)"
_LENGTH: Final = re.compile(r"(\d[\d_]*)\s*(y|mo|w|d|b|bars?)?", re.IGNORECASE)


class Length(NamedTuple):
    """A length of history: calendar months, days, or bars; one of them counts, all 0: nothing."""

    months: int = 0
    days: int = 0
    bars: int = 0

    def __bool__(self) -> bool:
        return any(self)


def read_length(text: str, name: str) -> Length:
    """The Length that words say, `name` being what they are said of; TrimtabError where they say none."""
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise TrimtabError(f"{name} {text}: expected {_FORM}")
    count, unit = int(match[1].replace("_", "")), (match[2] or "b").lower()
    if unit in ("y", "mo"):
        return Length(months=count * (12 if unit == "y" else 1))
    return Length(days=count * (7 if unit == "w" else 1)) if unit in ("d", "w") else Length(bars=count)


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """How a history is walked: lengths in words (2y, 6mo, 26w, 180d; a bare number: bars).

    train     in-sample rows before each test, or before the first test if anchored. Empty with folds: as long as one
              test
    test      rows of each test; empty with folds
    step      from one test to the next; empty: a test's length, so that they follow each other without a gap
    folds     so many tests of equal numbers of days over all that is left after the first train; 0: as `test` says
    anchored  in-sample rows begin with the history, and grow; False: they move along
    purge, embargo  rows left out between in-sample and test, together
    exit_bars  opens at the end of each window at which what is held is sold: more than one where bars are too thin to
              take all of it at once
    """

    train: str = ""
    test: str = ""
    step: str = ""
    folds: int = 0
    anchored: bool = False
    purge: str = "0"
    embargo: str = "0"
    exit_bars: int = 1


class Fold(NamedTuple):
    """Rows to choose on, and rows to trade; days (first, stop) of the calendar that the test covers."""

    train: Window
    test: Window
    days: tuple[int, int]


class Calendar(NamedTuple):
    """The UTC days of a history that have a bar, each ended by the last of its rows.

    first   (D + 1,)  the first row of each day, and the number of rows
    number  (D,)      the day, counted from 1970
    """

    first: I64
    number: I64

    @property
    def days(self) -> int:
        return len(self.number)

    @property
    def rows(self) -> int:
        return int(self.first[-1])

    def day_at(self, row: int) -> int:
        """The day in which a row lies; D behind the last."""
        return int(np.searchsorted(self.first, row, side="right")) - 1

    def edge(self, row: int) -> int:
        """The first row of the day that begins at a row or next after it."""
        return int(self.first[min(np.searchsorted(self.first, max(row, 0)), self.days)])

    def window(self, first: int, stop: int) -> Window:
        """The rows of the days first ≤ d < stop."""
        return Window(int(self.first[first]), int(self.first[stop]))

    def moved(self, row: int, length: Length, times: int = 1) -> int:
        """A row so many lengths later (times < 0: earlier): an edge, but for bars, which are counted to the row."""
        if not length or not times:
            return row
        if length.bars:
            return min(max(row + times * length.bars, 0), self.rows)
        if row >= self.rows:
            return self.rows if times > 0 else self._on(int(self.number[-1]) + 1, length, times)
        return self._on(int(self.number[self.day_at(row)]), length, times)

    def _on(self, day: int, length: Length, times: int) -> int:
        target = day + times * length.days
        if length.months:
            date = np.datetime64(day, "D")
            month = date.astype("M8[M]")
            later = month + times * length.months
            last = int((later + 1).astype("M8[D]").astype(np.int64)) - 1  # 31 January and a month: the end of February
            inside = int((date - month.astype("M8[D]")).astype(np.int64))
            target = min(int(later.astype("M8[D]").astype(np.int64)) + inside, last)
        return int(self.first[np.searchsorted(self.number, target)])


def calendar_of(market: Market) -> Calendar:
    """The days of a market."""
    ends = market.days
    return Calendar(np.concatenate(([0], ends + 1)), (market.ts[ends] - 1) // DAY)


def folds_of(scheme: Scheme, calendar: Calendar) -> tuple[list[Fold], list[str]]:
    """The folds of a scheme, and what is to be told of them.

    The last test may be shorter than the others, from LEAST_DAYS on; what is shorter is left out and told.
    Raises TrimtabError for a scheme that contradicts itself, NotEnoughData where it does not fit.
    """
    _check(scheme)
    edges, notes = _by_count(scheme, calendar) if scheme.folds else _by_length(scheme, calendar)
    purge, embargo = read_length(scheme.purge, "purge"), read_length(scheme.embargo, "embargo")
    # Without a length of its own a train has as many rows as there are before the first test.
    train = read_length(scheme.train, "train") if scheme.train else Length(bars=edges[0][0])
    found: list[Fold] = []
    for k, (first, stop) in enumerate(edges):
        begin = 0 if scheme.anchored else calendar.edge(calendar.moved(first, train, -1))
        end = calendar.moved(calendar.moved(first, purge, -1), embargo, -1)
        days = calendar.day_at(end - 1) - calendar.day_at(begin) + 1 if end > begin else 0
        if days < LEAST_DAYS:
            raise NotEnoughData(
                f"fold {k + 1} has {days} days in-sample, {LEAST_DAYS} are the least: take a longer train, or a "
                "shorter purge and embargo"
            )
        check_rows(f"fold {k + 1}", min(stop - first, end - begin), scheme.exit_bars)
        span = calendar.day_at(first), calendar.day_at(stop - 1) + 1
        found.append(Fold(Window(begin, end), Window(first, stop), span))
    return found, notes


def _by_length(scheme: Scheme, calendar: Calendar) -> tuple[list[tuple[int, int]], list[str]]:
    """First row and stop of each test, by the lengths of a scheme."""
    train, test = read_length(scheme.train, "train"), read_length(scheme.test, "test")
    step = read_length(scheme.step, "step") if scheme.step else test
    if not (train and test and step):
        raise TrimtabError(f"train {scheme.train}, test {scheme.test}: expected lengths above 0, such as 2y and 6mo")
    begin = calendar.edge(calendar.moved(0, train))
    found: list[tuple[int, int]] = []
    notes: list[str] = []
    while (first := calendar.edge(calendar.moved(begin, step, len(found)))) < calendar.rows:
        stop = calendar.edge(calendar.moved(first, test))
        if found and first < found[-1][1]:
            raise TrimtabError(
                f"step {scheme.step} is shorter than test {scheme.test}: days would be counted twice; expected a "
                "step of at least a test"
            )
        days = calendar.day_at(stop - 1) - calendar.day_at(first) + 1
        usual = calendar.day_at(found[0][1] - 1) - calendar.day_at(found[0][0]) + 1 if found else LEAST_DAYS
        if stop == calendar.rows and days < min(usual, LEAST_DAYS):
            if found:
                notes.append(f"the last {days} {'day is' if days == 1 else 'days are'} too few for a fold")
            break
        if stop == calendar.rows and days < 0.9 * usual:
            notes.append(f"the last test is {days} days, shorter than {scheme.test}")
        found.append((first, stop))
    if not found:
        whole = f"{calendar.days:,} days ({_dates(calendar)})"
        raise NotEnoughData(
            f"{whole} hold no train of {scheme.train} with {LEAST_DAYS} days to test after it: load a longer window, "
            "or take a shorter train"
        )
    if scheme.step and any(a[1] < b[0] for a, b in itertools.pairwise(found)):
        notes.append("days between two tests are traded by none: step is longer than test")
    return found, notes


def _by_count(scheme: Scheme, calendar: Calendar) -> tuple[list[tuple[int, int]], list[str]]:
    """First row and stop of each of so many tests of equal numbers of days."""
    begin = calendar.days // (scheme.folds + 1)
    if scheme.train:
        begin = calendar.day_at(calendar.edge(calendar.moved(0, read_length(scheme.train, "train"))))
    left = calendar.days - begin
    if left < scheme.folds * LEAST_DAYS:
        raise NotEnoughData(
            f"{calendar.days:,} days ({_dates(calendar)}) leave {max(left, 0):,} after the first train: {scheme.folds} "
            f"folds take {scheme.folds * LEAST_DAYS:,} ({LEAST_DAYS} each); load a longer window or take fewer folds"
        )
    edges = begin + np.arange(scheme.folds + 1) * left // scheme.folds
    rows = calendar.first[edges].tolist()
    return list(itertools.pairwise(rows)), []


def check_rows(what: str, rows: int, exit_bars: int) -> None:
    """TrimtabError for an exit of no bar, NotEnoughData for a window of so few rows that nothing could be traded."""
    if exit_bars < 1:
        raise TrimtabError(f"exit is {exit_bars} bars: expected 1 or more")
    if rows < LEAST_ROWS + exit_bars:
        raise NotEnoughData(
            f"{what} has {rows} bars, {LEAST_ROWS + exit_bars} are the least with an exit of {exit_bars}: take longer "
            "windows, or a shorter exit"
        )


def _dates(calendar: Calendar) -> str:
    first, last = (day_of((int(calendar.number[k]) + 1) * DAY) for k in (0, -1))
    return f"{first} to {last}"


def _check(scheme: Scheme) -> None:
    if scheme.folds < 0:
        raise TrimtabError(f"folds is {scheme.folds}: expected 1 or more")
    if scheme.folds and (scheme.test or scheme.step):
        raise TrimtabError("folds and test (or step) were both given: a number of folds says how long each test is")
    if not scheme.folds and not (scheme.train and scheme.test):
        missing = "train" if not scheme.train else "test"
        raise TrimtabError(f"{missing} is missing: expected {_FORM}, or a number of folds in place of test")
