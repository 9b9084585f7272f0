"""Many parameter sets of one strategy over one panel, on all cores, in flat memory."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.bounds import is_plain
from trimtab.portfolio.budgets import combine, share_of
from trimtab.portfolio.standing import resizes
from trimtab.research.arguments import check_arguments
from trimtab.research.backtest import check_weights, run_spec, said, spec_of
from trimtab.research.curves import periods_of
from trimtab.research.funds import rates_of
from trimtab.research.ledger.record import record_run, record_sweep
from trimtab.research.prepared import hash_ahead, market_of, model_rows
from trimtab.research.ratios import per_period
from trimtab.research.setup import costs_of_panel, setup_of
from trimtab.research.streams import streams_of, units_of
from trimtab.rules.book import Setup, new_log, open_book
from trimtab.rules.market import Market
from trimtab.sim.driver import run
from trimtab.sim.setup import complete
from trimtab.sim.summary import SUMMARY, summarise
from trimtab.sim.sweeping import sweep_of
from trimtab.sim.windows import Window, samples_in, setup_in, weights_in, whole
from trimtab.strategies import find, params_of
from trimtab.types import (
    DIVIDEND,
    F64,
    I64,
    Caps,
    Costs,
    Limits,
    NotEnoughData,
    Panel,
    Spec,
    Strategy,
    TrimtabError,
    Weights,
)

if TYPE_CHECKING:
    import polars as pl

#: Sets that a thread takes at a time: enough to forget the call's price, few enough to share the work evenly.
CHUNK = 8

#: The figure of a set that the rules book in the instruments' own currencies.
COSTS = SUMMARY.index("costs")

Progress = Callable[[int], None] | None


class Swept(NamedTuple):
    """What a sweep found of S sets over D days.

    figures  (S, 7) SUMMARY; NaN where a set has too few bars for a forecast
    returns  (S, D) float32 simple returns by day, fraction; NaN as above
    ts       (D,) instants at which the days end, ns UTC
    """

    figures: F64
    returns: NDArray[np.float32]
    ts: I64


def sweep(
    strategy: str,
    panel: Panel,
    grid: Mapping[str, Iterable[Any]],
    *,
    costs: str | Costs | None = None,
    limits: Limits | None = None,
    caps: Caps | None = None,
    capital: float | Mapping[str, float] = 1_000_000.0,
    volume: str = "require",
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> pl.DataFrame:
    """Every combination of the grid's values, each through the same path as `backtest`.

    strategy  a name, or the path of a strategy file
    grid      parameter name -> values; the others keep their defaults. Sets that the strategy itself rules out
              (fast >= slow) are left out
    threads   None: as many as there are cores; the figures do not depend on it
    progress  told how many sets were done since it was told last
    ->        a row per set, in the grid's order: its parameters, then total_return, sharpe (daily, annualised, no
              risk-free rate), max_drawdown (per bar), trades (closed), traded (notional over capital),
              costs, final_equity; undefined is NaN

    costs, limits, caps, capital, volume and seed are those of `backtest`; cash is not paid in or out. Raises
    TrimtabError for unknown parameters and values out of range.
    """
    check_arguments(strategy=strategy, panel=panel, grid=grid, costs=costs, limits=limits, caps=caps)
    hash_ahead(panel)
    found = find(strategy)
    sets = parameter_sets(found, grid)
    spec = msgspec.structs.replace(
        spec_of(strategy, panel, sets[0]._asdict()),
        costs=costs if costs is not None else "venue",
        limits=limits or Limits(),
        caps=caps or Caps(),
        capital=said(capital),
        volume=volume,
        seed=seed,
    )
    swept = run_sets(spec, panel, found, sets, threads or os.cpu_count() or 1, progress)
    record_sweep(spec, panel, sets, swept)
    return table_of(sets, list(grid), swept.figures)


def try_all(specs: Sequence[Spec], panel: Panel, root: str | Path | None = None) -> bool:
    """Specs that differ in parameters alone, each as a trial over all bars: for whoever chooses from them.

    ->  are all of them in the ledger now?
    """
    first = specs[0]
    if len(first.models) != 1 or first.cash_flows:
        return all(record_run(run_spec(spec, panel), root).recorded is not None for spec in specs)
    strategy = find(first.models[0].strategy)
    sets = [params_of(strategy, spec.models[0].params) for spec in specs]
    swept = run_sets(first, panel, strategy, sets, os.cpu_count() or 1, None)
    return record_sweep(first, panel, sets, swept, root) is not None


def parameter_sets(strategy: Strategy, grid: Mapping[str, Iterable[Any]]) -> list[Any]:
    """Params of every combination, in the grid's order; combinations that the strategy rules out are dropped."""
    if not grid:
        raise TrimtabError("the grid is empty: expected parameter names with their values")
    named: Mapping[str, Any] = grid
    for name, values in named.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TrimtabError(f"the grid's {name} is {values!r}: expected several values, such as [10, 20]")
    axes = [list(values) for values in grid.values()]
    for name, axis in zip(grid, axes, strict=True):
        if not axis:
            raise TrimtabError(f"the grid gives no value for {name}")
        _check_axis(strategy, name, axis)
    found: list[Any] = []
    reason = ""
    for combination in itertools.product(*axes):
        try:
            found.append(params_of(strategy, dict(zip(grid, combination, strict=True))))
        except TrimtabError as error:
            reason = str(error)
    if not found:
        raise TrimtabError(f"no combination of the grid is possible: {reason}")
    return found


def _check_axis(strategy: Strategy, name: str, axis: list[Any]) -> None:
    """Unknown names and values out of range are mistakes; only rules between parameters may drop a combination."""
    low, high = strategy.ranges.get(name, (-np.inf, np.inf))
    outside = [v for v in axis if isinstance(v, str) or not low <= v <= high]
    if name not in strategy.params._fields or outside:
        params_of(strategy, {name: outside[0] if outside else axis[0]})  # raises, in the words of every other place


def table_of(sets: list[Any], names: list[str], figures: F64) -> pl.DataFrame:
    """The frame of a sweep: the named parameters of each set beside its SUMMARY (S, 7)."""
    import polars as pl

    columns: dict[str, Any] = {name: [getattr(p, name) for p in sets] for name in names}
    columns |= {name: figures[:, k] for k, name in enumerate(SUMMARY)}
    return pl.DataFrame(columns).with_columns(pl.col("trades").fill_nan(None).cast(pl.Int64))


def run_sets(
    spec: Spec,
    panel: Panel,
    strategy: Strategy,
    sets: list[Any],
    threads: int,
    progress: Progress,
    window: Window | None = None,
) -> Swept:
    """Every set through the driver.

    window  the rows that are traded, from a flat book; models have seen what came before. None: all rows
    """
    if spec.cash_flows:
        raise TrimtabError(
            "a sweep knows no cash flows: its figures are of one capital from start to end. Leave `cash_flows` out to "
            "find parameters, and run the ones that you choose with them"
        )
    market, periods = market_of(panel, spec.base_currency), periods_of(panel)
    window = window or whole(market)
    setup = setup_in(complete(setup_of(spec, panel, costs_of_panel(panel, spec.costs)), market), window)
    last = np.full(len(panel.instruments), window.stop - 1)
    rates = rates_of(market, setup.terms["column"], last)
    rate = per_period(spec.risk_free_rate, periods)
    sample = samples_in(market, window)
    given = _Given(spec, panel, strategy, sets, setup, market, window, sample, rates, periods, rate)
    alone = len(panel.instruments) == 1 and not resizes(spec.rebalance) and is_plain(spec, spec.models[0])
    fill = _compiled(given) if alone and sweep_of(strategy) is not None else partial(_one_by_one, given)
    out, daily = np.empty((len(sets), len(SUMMARY))), np.empty((len(sets), len(sample)), np.float32)
    queue = iter(range(0, len(sets), CHUNK))
    lock = threading.Lock()
    failures: list[BaseException] = []
    stopped = threading.Event()  # by a failure, or by the caller's Ctrl-C, wherever that fell

    def work() -> None:
        cells = _Cells(setup, market, sample)
        while not stopped.is_set():
            with lock:
                start = next(queue, None)
            if start is None:
                return
            stop = min(start + CHUNK, len(sets))
            try:
                fill(cells, start, out[start:stop], daily[start:stop])
            except BaseException as error:  # carried to the caller's thread
                failures.append(error)
                stopped.set()
            if progress is not None:
                with lock:
                    progress(stop - start)

    # An interrupted caller waits for no chunk: what its threads still write is read by nobody.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(sets)) - 1)]
    try:
        for worker in workers:
            worker.start()
        work()
        if not any(isinstance(failure, KeyboardInterrupt) for failure in failures):
            for worker in workers:
                worker.join()
    finally:
        stopped.set()
    if failures:
        raise failures[0]
    return Swept(out, daily, market.ts[sample])


#: Fills the figures and daily returns of the sets from one on, with a thread's buffers.
Fill = Callable[["_Cells", int, F64, NDArray[np.float32]], None]


class _Given(NamedTuple):
    """What all sets of a sweep share.

    sample  (D,) rows of the window that end its days
    fx      (N,) base per quote currency at the last row, at which costs are told
    rate    risk-free, per period
    """

    spec: Spec
    panel: Panel
    strategy: Strategy
    sets: list[Any]
    setup: Setup
    market: Market
    window: Window
    sample: I64
    fx: F64
    periods: float
    rate: float


class _Cells:
    """The buffers of one thread: reused for every set it runs, so memory is flat in their number."""

    def __init__(self, setup: Setup, market: Market, sample: I64) -> None:
        self.start = open_book(setup.capital, setup.terms, 1, setup.cash)
        self.book = open_book(setup.capital, setup.terms, 1, setup.cash)
        self.log = new_log(0, market.low.shape[1], 1, 0, sample, curves=False)
        self.weights: Weights | None = None

    def room(self, rows: int) -> Weights:
        """Memory for the decisions of one set."""
        if self.weights is None:
            row, model, instrument = np.empty(rows, np.int64), np.empty(rows, np.int64), np.zeros(rows, np.int64)
            self.weights = Weights(row, model, instrument, np.empty(rows))
        return self.weights


def _compiled(given: _Given) -> Fill:
    """One instrument and one leg: fold, driver and summary of a whole chunk in one compiled call."""
    spec, setup, strategy, model = given.spec, given.setup, given.strategy, given.spec.models[0]
    call: Any = sweep_of(strategy)
    (unit,) = units_of(model, strategy, given.panel)
    index, x = model_rows(given.panel, unit, model.timeframe or spec.timeframe, strategy.fields)
    first, stop = (np.int64(row) for row in given.window)
    x = x[: int(np.searchsorted(index, stop))]
    share = share_of(model, strategy, 1)
    matrix = np.array([[float(v) for v in p] for p in given.sets])
    short = np.array([strategy.warmup(p) >= len(x) for p in given.sets])

    def fill(cells: _Cells, at: int, out: F64, daily: NDArray[np.float32]) -> None:
        rows = slice(at, at + len(out))
        call(
            matrix[rows], x, index, share, cells.start, cells.book, cells.log, given.market, cells.room(len(x)),
            setup, first, stop, given.periods, given.rate, out, daily,
        )  # fmt: skip
        out[:, COSTS] *= given.fx[0]
        out[short[rows]] = daily[short[rows]] = np.nan  # no forecast was made: nothing is known of it

    return fill


def _one_by_one(given: _Given, cells: _Cells, first: int, out: F64, daily: NDArray[np.float32]) -> None:
    """Books of several instruments, pairs and baskets: each set's weights as `backtest` makes them."""
    spec, panel, setup, market = given.spec, given.panel, given.setup, given.market
    window, n = given.window, len(panel.instruments)
    for k, (figures, returns) in enumerate(zip(out, daily, strict=True)):
        model = msgspec.structs.replace(spec.models[0], params=given.sets[first + k]._asdict())
        one = msgspec.structs.replace(spec, models=(model,))
        try:
            weights = combine(streams_of(one, panel))
        except NotEnoughData:
            figures[:] = returns[:] = np.nan
            continue
        check_weights(weights, one, panel)
        weights = weights_in(weights, window, 1, n)
        book = open_book(setup.capital, setup.terms, 1, setup.cash)
        t = window.first
        while t < window.stop:
            cells.log.used[:] = 0
            t = run(book, cells.log, market, weights, setup, t, window.stop)
        summarise(book, cells.log, setup.capital, given.periods, given.rate, figures, returns)
        if (given.fx != 1.0).any():
            figures[COSTS] = (book.charges[:, :, :DIVIDEND].sum(axis=(0, 2)) * given.fx).sum()
