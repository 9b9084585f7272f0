"""Parameter sets over windows of one panel: each set decided once, and traded in each window from flat to flat.

Weights know nothing of accounts, so a set's strategies are folded over the whole panel once, and every window is a run
of the driver over those of its rows: a book that is flat before it, models that remember what came before it, and an
exit at its end that pays for itself. What is decided in a window depends on no bar after it (law 1).
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from trimtab.portfolio.budgets import combine
from trimtab.research.backtest import check_panel, check_weights
from trimtab.research.curves import periods_of
from trimtab.research.funds import rates_of
from trimtab.research.inference.spread import spread
from trimtab.research.prepared import market_of
from trimtab.research.ratios import per_period, returns_from_equity
from trimtab.research.setup import costs_of_panel, setup_of
from trimtab.research.streams import plan_of
from trimtab.research.sweep import COSTS, parameter_sets
from trimtab.rules.book import Setup, new_log, open_book
from trimtab.rules.market import Market
from trimtab.sim.driver import run
from trimtab.sim.setup import complete
from trimtab.sim.summary import SUMMARY, summarise
from trimtab.sim.windows import Window, samples_in, setup_in, weights_in
from trimtab.strategies import find
from trimtab.types import DIVIDEND, F64, HALTED, I64, NotEnoughData, Panel, Spec, TrimtabError, Weights

#: Told how many of how many runs are done.
Progress = Callable[[int, int], None] | None


class Sets(NamedTuple):
    """The parameter sets that are tried: what varies, by path in the spec, and a whole spec of each."""

    names: tuple[str, ...]
    values: list[tuple[Any, ...]]
    specs: list[Spec]

    def told(self, k: int) -> dict[str, Any]:
        """What set k gives each path; nothing for -1, and where nothing varies."""
        return {} if k < 0 else dict(zip(self.names, self.values[k], strict=True))


class Ran(NamedTuple):
    """What a set came to in a window.

    figures  (7,) SUMMARY
    returns  (D,) simple returns by day, fraction; NaN: it had not enough bars for a forecast by the window's end
    left     what it still held at the end, gross, of equity: 0, unless its exit did not fill
    halted   a limit ended its trading before the end
    """

    figures: F64
    returns: F64
    left: float
    halted: bool = False


class Ground(NamedTuple):
    """What all runs over a panel share."""

    spec: Spec
    panel: Panel
    market: Market
    setup: Setup
    periods: float


#: Told the set, the window and what came of it; called from any thread, once for each pair.
Keep = Callable[[int, int, Ran], None]


def sets_of(spec: Spec, grid: Mapping[str, Sequence[Any]]) -> Sets:
    """Every combination of a grid's values that its strategies do not rule out, in the grid's order; no grid: the spec.

    grid  path such as models.0.params.fast -> values
    """
    if not grid:
        return Sets((), [()], [spec])
    axes: dict[int, dict[str, list[Any]]] = {}
    for path, axis in grid.items():
        steps = path.split(".")
        if len(steps) != 4 or steps[0] != "models" or steps[2] != "params" or not steps[1].isdigit():
            raise TrimtabError(f"cannot vary {path}: expected parameters of models, such as models.0.params.fast")
        if int(steps[1]) >= len(spec.models):
            raise TrimtabError(f"cannot vary {path}: the spec has {len(spec.models)} models, counted from 0")
        axes.setdefault(int(steps[1]), {})[steps[3]] = list(axis)
    tried: list[list[Any]] = []
    for m, own in axes.items():
        model = spec.models[m]
        fixed = {name: [value] for name, value in model.params.items() if name not in own}
        tried.append(parameter_sets(find(model.strategy), {**fixed, **own}))
    paths = [path.split(".") for path in grid]
    values: list[tuple[Any, ...]] = []
    specs: list[Spec] = []
    for chosen in itertools.product(*tried):
        by_model = dict(zip(axes, chosen, strict=True))
        models = list(spec.models)
        for m, params in by_model.items():
            models[m] = msgspec.structs.replace(models[m], params=params._asdict())
        values.append(tuple(getattr(by_model[int(steps[1])], steps[3]) for steps in paths))
        specs.append(msgspec.structs.replace(spec, models=tuple(models)))
    return Sets(tuple(grid), values, specs)


def ground_of(spec: Spec, panel: Panel) -> Ground:
    """What runs over a panel share; TrimtabError where the spec is not about it, or has cash flows."""
    if spec.cash_flows:
        raise TrimtabError(
            "windows know no cash flows: each is a run of the same capital. Leave `cash_flows` out to validate the "
            "spec, and run it with them"
        )
    check_panel(spec, panel)
    market = market_of(panel, spec.base_currency)
    setup = complete(setup_of(spec, panel, costs_of_panel(panel, spec.costs)), market)
    return Ground(spec, panel, market, setup, periods_of(panel))


def run_windows(
    ground: Ground,
    sets: Sets,
    windows: Sequence[Window],
    keep: Keep,
    *,
    exit_bars: int = 1,
    threads: int | None = None,
    progress: Progress = None,
) -> None:
    """Every set in every window, on so many threads (None: all cores); what is kept does not depend on them.

    exit_bars  opens at which what is held is sold: the last ones of a window, from which on nothing is wanted
    """
    prepared = [_prepared(ground, window, exit_bars) for window in windows]
    lock, done = threading.Lock(), 0
    # Before there are threads: what a strategy's first fold generates and compiles is no work for two at once.
    begun = weights_of(ground, sets.specs[0])

    def work(first: int, last: int) -> None:
        nonlocal done
        for k in range(first, last):
            weights = weights_of(ground, sets.specs[k]) if k else begun
            for w, one in enumerate(prepared):
                keep(k, w, _run(ground, weights, one))
            with lock:
                done += len(prepared)
                if progress is not None:
                    progress(done, len(prepared) * len(sets.specs))

    spread(work, len(sets.specs), 1, threads)


def weights_of(ground: Ground, spec: Spec) -> Weights | None:
    """What a set decides over the whole panel; None: the panel is too short for a first forecast."""
    try:
        weights = combine(plan_of(spec, ground.panel).streams)
    except NotEnoughData:
        return None
    check_weights(weights, spec, ground.panel)
    return weights


class _Prepared(NamedTuple):
    """What all sets share in a window; exit_row: from which nothing is wanted; fx (N,) base per quote currency at its
    last row."""

    window: Window
    exit_row: int
    setup: Setup
    sample: I64
    fx: F64
    rate: float


def _prepared(ground: Ground, window: Window, exit_bars: int) -> _Prepared:
    last = np.full(len(ground.panel.instruments), window.stop - 1)
    fx = rates_of(ground.market, ground.setup.terms["column"], last)
    rate = per_period(ground.spec.risk_free_rate, ground.periods)
    setup, sample = setup_in(ground.setup, window), samples_in(ground.market, window)
    return _Prepared(window, window.stop - 1 - exit_bars, setup, sample, fx, rate)


def _run(ground: Ground, weights: Weights | None, one: _Prepared) -> Ran:
    window, n, models = one.window, len(ground.panel.instruments), len(ground.spec.models)
    out = one.exit_row
    if weights is None or not len(weights.row) or weights.row[0] >= out:
        return Ran(np.full(len(SUMMARY), np.nan), np.full(len(one.sample), np.nan), math.nan)
    own = weights_in(weights, window, models, n, exit_row=out)
    setup = one.setup
    book, log = open_book(setup.capital, setup.terms, models, setup.cash), new_log(0, n, models, 0, one.sample)
    t = window.first
    while t < window.stop:
        log.used[:] = 0
        t = run(book, log, ground.market, own, setup, t, window.stop)
    figures = np.empty(len(SUMMARY))
    summarise(book, log, setup.capital, ground.periods, one.rate, figures, np.empty(0, np.float32))
    figures[COSTS] = (book.charges[:, :, :DIVIDEND].sum(axis=(0, 2)) * one.fx).sum()
    equity = np.concatenate(([setup.capital], log.curve[:, 0]))
    lost = np.logical_or.accumulate(equity <= 0.0)  # a book that lost everything stays there: -1, then 0
    left = 0.0 if lost[-1] else float(log.curve[-1, 2] / equity[-1])
    halted = bool(book.head[0]["state"] == HALTED)
    return Ran(figures, returns_from_equity(np.where(lost, 0.0, equity)), left, halted)
