"""Would other entries have done as well? The run's own round trips, entered at random, through the same driver.

Every closed round trip of the book keeps its instrument, its side, its size (notional over equity at entry, at its
largest) and its holding time in bars; of each instrument they are put in random order at random places, without
overlapping, every arrangement as likely as any other. What is left to chance is the timing alone.

The book that is compared with them is the run's round trips in their own places, made in the same way, so that like
is held against like: a run that adds to a position bit by bit, or has one open at its end, differs from it, and both
figures are told.

p = (1 + arrangements with at least its Sharpe) / (1 + arrangements): Davison, Hinkley (1997), Bootstrap Methods and
their Application, ch. 4. A book that is always in the market leaves no room, and only the order of its trips is left
to chance.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from trimtab.research.backtest import GIVEN, run_spec
from trimtab.research.funds import rates_of
from trimtab.research.robustness.outcome import (
    NAN,
    Outcome,
    Progress,
    check_count,
    driven,
    outcome_of,
    outcomes,
    sharpes_of,
)
from trimtab.research.run import Run
from trimtab.types import F64, I64, Caps, Model, Panel, Spec, Weights


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """How many random books are made."""

    paths: int = 199
    seed: int = 0


class Entered(NamedTuple):
    """run: as it was; rebuilt: its round trips in their own places; sharpes (P,): of the random books.

    p_value  share of books that do as well as `rebuilt`, itself among them; NaN, with why, where nothing can be moved
    trips    closed round trips that were moved; held: bars in them, of those in which they may lie
    """

    run: Outcome
    rebuilt: Outcome
    sharpes: tuple[float, ...]
    p_value: float
    trips: int
    held: float
    why: str = ""


class Trips(NamedTuple):
    """Round trips of one instrument in order of time: decided at row, held for so many bars, at that weight (K,).

    They may lie between the rows `first` and `last`.
    """

    instrument: int
    row: I64
    bars: I64
    weight: F64
    first: int
    last: int

    @property
    def room(self) -> int:
        """Bars between first and last that no trip takes; below 0 they do not fit without overlapping."""
        return self.last - self.first - int(self.bars.sum())


def entries(
    spec: Spec, panel: Panel, how: Entries | None = None, progress: Progress = None, threads: int | None = None
) -> Entered:
    """The round trips of a spec's run against the same ones at random times."""
    return entries_of(run_spec(spec, panel), how, progress, threads)


def entries_of(
    run: Run, how: Entries | None = None, progress: Progress = None, threads: int | None = None
) -> Entered:  # fmt: skip
    """The same of a run that there is."""
    how = how or Entries()
    check_count("paths", how.paths)
    spec, trips = given_spec(run.spec), trips_by_instrument(run)
    count, wide = sum(len(each.row) for each in trips), sum(each.last - each.first for each in trips)
    held = sum(int(each.bars.sum()) for each in trips) / wide if wide else NAN
    none = Outcome(NAN, NAN, NAN, 0, 0)
    if not count:
        return Entered(outcome_of(run), none, (), NAN, 0, held, "no round trip was closed")

    def traded(weights: Weights) -> Outcome:
        return outcome_of(driven(run, spec, run.costs, weights))

    rebuilt = traded(weights_of_trips(trips))
    why = rebuilt.why
    if not why and any(each.room < 0 for each in trips):
        why = "the round trips take more bars than there are without overlapping"
    elif not why and all(each.room == 0 and len(each.row) == 1 for each in trips):
        why = "one round trip fills all bars: there is no other place for it"
    if why:
        return Entered(outcome_of(run), rebuilt, (), NAN, count, held, why)

    def one(k: int) -> Outcome:
        rng = np.random.default_rng((how.seed, k))
        return traded(weights_of_trips([shuffled(each, rng) for each in trips]))

    sharpes = sharpes_of(outcomes(how.paths, one, progress, threads))
    as_good = int((sharpes >= rebuilt.sharpe).sum())  # NaN is not
    p_value = (1.0 + as_good) / (1.0 + how.paths)
    return Entered(outcome_of(run), rebuilt, tuple(sharpes.tolist()), p_value, count, held)


def given_spec(spec: Spec) -> Spec:
    """The spec's account with weights that are given: its models, their sizers, regimes and caps left out."""
    caps = Caps(asset_classes=spec.caps.asset_classes, venues=spec.caps.venues)
    return msgspec.structs.replace(
        spec, models=(Model(strategy=GIVEN),), sizer=None, allocator=None, regimes=(), caps=caps
    )


def trips_by_instrument(run: Run) -> list[Trips]:
    """The closed round trips of the book, with the rows at whose close they were decided."""
    book, fills, weights = run.trips.book, run.result.fills, run.fold.weights
    closed = book[book["open"] == 0]
    last = len(run.panel.ts) - 2  # what is decided there still fills
    found: list[Trips] = []
    for i in range(len(run.panel.instruments)):
        mine, own = closed[closed["instrument"] == i], fills[fills["instrument"] == i]
        if not len(mine):
            continue
        entered, left = (own["row"][np.searchsorted(own["ts"], mine[name])] for name in ("entry_ts", "exit_ts"))
        row = np.maximum(entered - 1, 0)
        rate = rates_of(run.fold.market, np.full(len(row), run.fold.setup.terms["column"][i]), row)
        notional = mine["lots"] * run.result.book.unit[i] * mine["entry_price"] * rate
        first = min(int(weights.row[weights.instrument == i].min()), int(row[0]))
        bars = np.maximum(left - entered, 1)
        found.append(Trips(i, row, bars, notional / run.bar_equity[row], first, max(last, int(row[-1] + bars[-1]))))
    return found


def shuffled(trips: Trips, rng: np.random.Generator) -> Trips:
    """The trips in random order with the free bars shared out between them: each arrangement is as likely."""
    count = len(trips.row)
    order = rng.permutation(count)
    bars = trips.bars[order]
    free = np.sort(rng.choice(trips.room + count, count, replace=False, shuffle=False)) - np.arange(count)
    row = trips.first + free + np.cumsum(bars) - bars
    return trips._replace(row=row, bars=bars, weight=trips.weight[order])


def weights_of_trips(trips: list[Trips]) -> Weights:
    """Weights that enter and leave at these rows; where one trip follows another at once, they go from one to it."""
    rows: list[I64] = []
    instruments: list[I64] = []
    values: list[F64] = []
    for each in trips:
        ends = each.row + each.bars
        after = np.append(each.row[1:], np.iinfo(np.int64).max)
        leaves = ends < after
        row = np.concatenate((each.row, ends[leaves]))
        value = np.concatenate((each.weight, np.zeros(int(leaves.sum()))))
        order = np.argsort(row, kind="stable")
        row, value = row[order], value[order]
        new = np.append(True, value[1:] != value[:-1]) & np.append(row[1:] != row[:-1], True)
        rows.append(row[new])
        values.append(value[new])
        instruments.append(np.full(int(new.sum()), each.instrument, np.int64))
    row, instrument, value = np.concatenate(rows), np.concatenate(instruments), np.concatenate(values)
    order = np.argsort(row, kind="stable")
    return Weights(row[order], np.zeros(len(row), np.int64), instrument[order], value[order])
