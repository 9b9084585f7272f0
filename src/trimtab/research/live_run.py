"""A Run out of an account's journal: what an engine did, in the tables and figures of a backtest.

The journal is folded again by the engine's own core, and what the driver would have noted on the way is noted here: the
same bars give the Run that a backtest of them gives, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from trimtab.bounds import model_names
from trimtab.engine import events as ev
from trimtab.engine.booking import Names
from trimtab.engine.core import Record, State
from trimtab.engine.planner import Planner
from trimtab.engine.reading import undecided
from trimtab.engine.recovery import fold_journal
from trimtab.portfolio.caps import groups_of
from trimtab.research.allocation import Split
from trimtab.research.attribution import standing
from trimtab.research.funds import dated_flows
from trimtab.research.holding import holding_of
from trimtab.research.prepared import market_of, watched
from trimtab.research.run import Fold, Run
from trimtab.research.setup import costs_of_panel
from trimtab.rules.book import ACTION, FILL, NO_ALARM, ORDER, SLOTS, Log, Setup, new_log
from trimtab.sim.driver import sample_now
from trimtab.sim.market import day_ends
from trimtab.sim.simulate import Result, joined
from trimtab.types import DAY, F64, I64, Flows, Instrument, NotEnoughData, Panel, Refusal, Spec, Weights

#: The columns of a log that are sampled at day ends.
_CURVES: Final = ("curve", "pnl", "cost")


def run_of_journal(
    path: Path,
    spec: Spec,
    instruments: tuple[Instrument, ...],
    state_of: Callable[[], State],
    names: Names,
) -> Run:
    """What the account of a journal did, as a Run over the bars that it saw.

    spec         that the account trades
    instruments  (N,) of its rows, in their order
    state_of     makes the account before its first row
    names        of the account, as its journal spells them

    A row that was not decided, because the engine ended in the middle of it, is left out. TrimtabError where the
    journal was written by other code, NotEnoughData where it holds no decided row.
    """
    diary = Diary(spec, names)
    folded = fold_journal(path, state_of, names, keep=True, until=undecided(path), told=diary.note)
    if not diary.ts:
        raise NotEnoughData(f"{path}: no row has been decided yet, so there is nothing to report")
    panel = diary.panel(instruments)
    costs = costs_of_panel(panel, spec.costs)
    setup = _setup_of(spec, panel, folded.state.setup, diary.paid)
    market = market_of(panel, spec.base_currency)
    result = diary.result(folded.state, folded.records or [])
    fold = Fold(market, diary.weights(), setup, result, holding_of(panel, market, setup), diary.standings())
    return Run(spec, panel, costs, fold, None, diary.refusals(), diary.splits(folded.state))


def _setup_of(spec: Spec, panel: Panel, opened: Setup, paid: list[tuple[int, int, float]]) -> Setup:
    """The set-up that an account was opened with, with what the bars since have told.

    paid   cash that came and went beside the spec's cash flows: (row, wallet, amount)
    """
    flows, when = dated_flows(spec, panel.instruments)
    rows = np.searchsorted(panel.ts, when)
    columns = [rows, flows.wallet, flows.amount]
    if paid:
        columns = [np.concatenate(pair) for pair in zip(columns, map(np.array, zip(*paid, strict=True)), strict=True)]
    came = columns[0] < len(panel.ts)  # the others are still to come
    order = np.argsort(columns[0][came], kind="stable")
    row, wallet, amount = (column[came][order] for column in columns)
    setup = opened._replace(
        flows=Flows(row.astype(np.int64), wallet.astype(np.int64), amount.astype(np.float64)),
        groups=groups_of(spec.caps, panel.instruments, model_names(spec.models)),
        stamps=np.empty(0, np.int64),
        alarm=NO_ALARM,
    )
    return watched(setup, panel, spec.base_currency)


class Diary:
    """What is noted while a journal is folded, row by row."""

    def __init__(self, spec: Spec, names: Names) -> None:
        self._spec, self._names = spec, names
        self.ts: list[int] = []
        self._at: list[int] = []  # the numbers of the rows, as the engine counts them
        #: Cash that came and went beside the spec's cash flows: (row, wallet, amount).
        self.paid: list[tuple[int, int, float]] = []
        self._fields: tuple[str, ...] = ()
        self._bars: list[F64] = []
        self._equity: list[float] = []
        self._weights: list[Weights] = []
        self._standings: list[tuple[float, float]] = []
        self._refused: list[tuple[Refusal, int]] = []
        self._looks: dict[int, list[tuple[int, F64, Refusal | None]]] = {}
        self._log: Log | None = None
        self._days: list[tuple[F64, ...]] = []

    def note(self, event: ev.Event, state: State) -> None:
        """An event was handled."""
        body = event.body
        if isinstance(body, ev.RowDecided):
            self._row(body.row, state)
        elif isinstance(body, ev.CashMoved):  # after a close it belongs to the next one
            wallet = self._names.wallets.index((body.venue, body.currency))
            self.paid.append((len(self.ts), wallet, body.amount))
        elif isinstance(body, ev.Started):
            self._fields = body.fields

    def _row(self, ts: int, state: State) -> None:
        if self.ts and (ts - 1) // DAY != (self.ts[-1] - 1) // DAY:
            self._end_day()
        row = len(self.ts)
        self.ts.append(ts)
        self._at.append(state.tape.row)
        self._bars.append(state.bars)
        self._equity.append(float(state.book.head[0]["equity"]))
        self._sample(state)
        said = state.said
        if len(said.row):
            self._weights.append(said._replace(row=np.full(len(said.row), row)))
        if self._spec.regimes:
            now = standing(state.book, state.tape.market.mark[state.tape.t], state.setup.terms)
            self._standings.append((float(now.net.sum()), float(now.cost.sum())))
        if isinstance(state.planner, Planner):
            self._ask(state.planner, row)

    def _sample(self, state: State) -> None:
        if self._log is None:
            self._log = new_log(0, len(state.setup.terms), state.setup.models, 0, np.zeros(1, np.int64))
        self._log.sample[0] = state.tape.t
        sample_now(state.book, self._log, state.tape.market, state.setup.terms)

    def _end_day(self) -> None:
        """The last row ends a UTC day."""
        assert self._log is not None  # nosec B101  # for the types
        self._days.append(tuple(getattr(self._log, name)[0].copy() for name in _CURVES))

    def _ask(self, planner: Planner, row: int) -> None:
        """What fits and allocators chose or refused at the last row."""
        looks = planner.looks
        for model, share, refusal in looks:
            self._looks.setdefault(model, []).append((row, share, refusal))
        of_splits = [(refusal, model) for model, _, refusal in looks]
        self._refused += [told for told in planner.refused if told not in of_splits]

    # --- what comes of it --------------------------------------------------------------------------------------------

    def panel(self, instruments: tuple[Instrument, ...]) -> Panel:
        """The bars of the rows that were decided."""
        return Panel(np.array(self.ts, np.int64), instruments, self._fields, np.stack(self._bars), self._spec.timeframe)

    def weights(self) -> Weights:
        """The rows at which a weight was new."""
        none = np.empty(0, np.int64)
        parts = [Weights(none, none, none, np.empty(0)), *self._weights]
        row, model, instrument, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Weights(row, model, instrument, value)

    def standings(self) -> F64 | None:
        """(T, 2) net profit and costs of all models up to each row; only regimes ask for them."""
        return np.array(self._standings) if self._standings else None

    def refusals(self) -> tuple[tuple[Refusal, int], ...]:
        """Windows that fits refused, by instant, with the model's number."""
        return tuple(sorted(self._refused))

    def splits(self, state: State) -> tuple[Split, ...]:
        """What allocators chose, look by look."""
        if not isinstance(state.planner, Planner):
            return ()
        found: list[Split] = []
        for use, model, parts in state.planner.allocators:
            looks = self._looks.get(model, [])
            row: I64 = np.array([look[0] for look in looks], np.int64)
            share = np.array([look[1] for look in looks]).reshape(len(looks), len(parts))
            refused = tuple(look[2] for look in looks if look[2] is not None)
            found.append(Split(use, model, np.array(parts, np.int64), row, share, refused))
        return tuple(found)

    def result(self, state: State, records: list[Record]) -> Result:
        """The tables and curves, as the compiled driver leaves them."""
        self._end_day()
        book, models = state.book, state.setup.models
        empty = Record(np.empty(0, ORDER), np.empty(0, FILL), np.empty((0, models)), np.empty(0, ACTION))
        ended, fills, shares, actions = (
            joined([getattr(record, name) for record in (empty, *records)]) for name in Record._fields
        )
        for table in (fills, actions):  # rows that were only read, to warm up, are not of the run
            table["row"] = np.searchsorted(self._at, table["row"])
        live = [
            book.orders[i, slot]
            for i in range(len(book.positions))
            for slot in range(SLOTS)
            if int(book.positions[i]["live"]) >> slot & 1
        ]
        orders = joined([ended, np.array(live, ORDER)]) if live else ended
        curves = (np.stack(column) for column in zip(*self._days, strict=True))
        sample = day_ends(np.array(self.ts, np.int64))
        return Result(book, orders, fills, shares, actions, np.array(self._equity), sample, *curves)
