"""Would other entries have done as well? The run's own round trips, entered at random, through the same driver.

Every closed round trip of the book keeps its instrument, its side, its size (notional over equity at entry, at its
largest) and its holding time in bars; of each instrument they are put in random order at random places, without
overlapping, every arrangement as likely as any other. What is left to chance is the timing alone. Instruments that a
model trades as legs of one position (a pair) are moved together: round trips of theirs that overlap stay as they are to
each other, or the random books would not be hedged as the run is.

The book that is compared with them is the run's round trips in their own places, made in the same way, so that like
is held against like: a run that adds to a position bit by bit, or has one open at its end, differs from it, and both
figures are told.

p = (1 + arrangements with at least its Sharpe) / (1 + arrangements): Davison, Hinkley (1997), Bootstrap Methods and
their Application, ch. 4. A book that is always in the market leaves no room, and only the order of its trips is left
to chance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
from trimtab.research.setup import setup_of
from trimtab.research.streams import units_of
from trimtab.strategies import find
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
    """What is moved as one, of instruments that nothing ties to others: K blocks, and J round trips in them.

    row, bars   (K,) where a block begins, and how long it is; blocks do not overlap, and lie between first and last
    block       (J,) the block of each round trip, then its instrument, the bars from the block's beginning to its own,
                how long it was held, and its weight
    """

    row: I64
    bars: I64
    block: I64
    instrument: I64
    offset: I64
    held: I64
    weight: F64
    first: int
    last: int

    @property
    def room(self) -> int:
        """Bars between first and last that no block takes; below 0 they do not fit without overlapping."""
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
    spec, trips = given_spec(run.spec), trips_of_run(run)
    count, wide = sum(len(each.block) for each in trips), sum(each.last - each.first for each in trips)
    held = sum(int(each.bars.sum()) for each in trips) / wide if wide else NAN
    none = Outcome(NAN, NAN, NAN, 0, 0)
    if not count:
        return Entered(outcome_of(run), none, (), NAN, 0, held, "no round trip was closed")

    setup = setup_of(spec, run.panel, run.costs)

    def traded(weights: Weights) -> Outcome:
        return outcome_of(driven(run, spec, run.costs, weights, setup))

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


def trips_of_run(run: Run) -> list[Trips]:
    """The closed round trips of the book, with the rows at whose close they were decided."""
    book, fills = run.trips.book, run.result.fills
    closed = book[book["open"] == 0]
    found: list[Trips] = []
    for instruments in tied(run):
        parts = [_decided(run, closed, fills, i) for i in instruments]
        instrument, row, held, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        if not len(row):
            continue
        order = np.argsort(row, kind="stable")
        instrument, row, held, weight = instrument[order], row[order], held[order], weight[order]
        reach = np.maximum.accumulate(row + held)  # a block ends where nothing in it is held any more
        block = np.cumsum(np.append(0, row[1:] >= reach[:-1])) if len(instruments) > 1 else np.arange(len(row))
        begins = np.flatnonzero(np.append(True, block[1:] != block[:-1]))
        start = row[begins]
        bars = np.maximum.reduceat(row + held, begins) - start
        spoke = run.fold.weights.row[np.isin(run.fold.weights.instrument, instruments)]
        first, last = min(int(spoke.min()), int(start[0])), len(run.panel.ts) - 2  # what is decided there still fills
        last = max(last, int(start[-1] + bars[-1]))
        found.append(Trips(start, bars, block, instrument, row - start[block], held, weight, first, last))
    return found


def tied(run: Run) -> list[list[int]]:
    """Instruments that are moved together, since one model trades them as the legs of one position."""
    group = np.arange(len(run.panel.instruments))
    for model in run.spec.models:
        if model.strategy == GIVEN:
            continue
        for unit in units_of(model, find(model.strategy), run.panel):
            group[np.isin(group, group[unit])] = group[unit].min()
    return [np.flatnonzero(group == g).tolist() for g in np.unique(group)]


def _decided(run: Run, closed: Any, fills: Any, i: int) -> tuple[I64, I64, I64, F64]:
    """Of the closed round trips of an instrument: itself, where they were decided, bars held, and weight at entry."""
    mine, own = closed[closed["instrument"] == i], fills[fills["instrument"] == i]
    entered, left = (own["row"][np.searchsorted(own["ts"], mine[name])] for name in ("entry_ts", "exit_ts"))
    row = np.maximum(entered - 1, 0).astype(np.int64)
    column = run.fold.setup.terms["column"][i]
    rate = rates_of(run.fold.market, np.full(len(row), column), row)
    notional = mine["lots"] * run.result.book.unit[i] * mine["entry_price"] * rate
    return np.full(len(row), i), row, np.maximum(left - entered, 1), notional / run.bar_equity[row]


def shuffled(trips: Trips, rng: np.random.Generator) -> Trips:
    """The blocks in random order with the free bars shared out between them: each arrangement is as likely."""
    count = len(trips.row)
    order = rng.permutation(count)
    bars = trips.bars[order]
    free = np.sort(rng.choice(trips.room + count, count, replace=False, shuffle=False)) - np.arange(count)
    row = np.empty(count, np.int64)
    row[order] = trips.first + free + np.cumsum(bars) - bars
    return trips._replace(row=row)


def weights_of_trips(trips: list[Trips]) -> Weights:
    """Weights that enter and leave at these rows; where one trip follows another at once, they go from one to it."""
    enter = np.concatenate([each.row[each.block] + each.offset for each in trips])
    instrument, held, weight = (
        np.concatenate(columns) for columns in zip(*((t.instrument, t.held, t.weight) for t in trips), strict=True)
    )
    rows: list[I64] = []
    instruments: list[I64] = []
    values: list[F64] = []
    for i in np.unique(instrument).tolist():
        mine = np.flatnonzero(instrument == i)
        mine = mine[np.argsort(enter[mine], kind="stable")]
        ends = enter[mine] + held[mine]
        leaves = ends < np.append(enter[mine][1:], np.iinfo(np.int64).max)
        row = np.concatenate((enter[mine], ends[leaves]))
        value = np.concatenate((weight[mine], np.zeros(int(leaves.sum()))))
        order = np.argsort(row, kind="stable")
        row, value = row[order], value[order]
        new = np.append(True, value[1:] != value[:-1]) & np.append(row[1:] != row[:-1], True)
        rows.append(row[new])
        values.append(value[new])
        instruments.append(np.full(int(new.sum()), i, np.int64))
    row, instrument, value = np.concatenate(rows), np.concatenate(instruments), np.concatenate(values)
    order = np.argsort(row, kind="stable")
    return Weights(row[order], np.zeros(len(row), np.int64), instrument[order], value[order])
