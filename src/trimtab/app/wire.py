"""The one place that constructs things: a spec becomes a panel, a panel a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trimtab.types import Model, Panel, Spec, TrimtabError

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.crossval import Combinations, Crossed
    from trimtab.research.folds import Scheme
    from trimtab.research.ledger.standing import Standing
    from trimtab.research.run import Run
    from trimtab.research.walkforward import Walked

#: Told the stage, how much of it is done, and of how much (0: not known).
Progress = Callable[[str, int, int], None] | None


class SweepDone(NamedTuple):
    """A row per parameter set, and where they stand in the trial ledger; None: they are not in it, which was said."""

    sets: pl.DataFrame
    standing: Standing | None


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody is watching."""


def panel_of(spec: Spec, root: str | None) -> Panel:
    """The spec's universe, timeframe and window from the store, with the series that its regimes read."""
    from trimtab.data.panel import load

    start, end = spec.start or None, spec.end or None
    panel = load(*spec.universe, timeframe=spec.timeframe, start=start, end=end, root=root, members=spec.members)
    if spec.fx:
        from trimtab.data.rates import with_rates

        panel = with_rates(panel, spec.fx, root, spec.base_currency)
    if not spec.regimes:
        return panel
    from trimtab.data.series import with_series
    from trimtab.portfolio.book import series_of

    return with_series(panel, series_of(spec, (*panel.symbols, *panel.fields)), root)


def run_backtest(spec: Spec, *, root: str | None = None, progress: Progress = None) -> Run:
    """Load the panel from the store, run the spec on it, and record the trial; progress is told each step."""
    run = rerun(spec, root=root, progress=progress)
    from trimtab.research.ledger.record import record_run

    return record_run(run, root)


def rerun(spec: Spec, *, root: str | None = None, progress: Progress = None) -> Run:
    """The same, recorded nowhere: to look again at a run that was made."""
    tell = progress or _silent
    tell(f"loading {', '.join(spec.universe)} at {spec.timeframe}", 0, 0)
    panel = panel_of(spec, root)
    tell("running (the first time compiles)", 0, 0)
    from trimtab.research.backtest import run_spec

    return run_spec(spec, panel)


def run_sweep(
    spec: Spec, grid: dict[str, list[Any]], *, root: str | None = None, progress: Progress = None
) -> SweepDone:
    """Every combination of the grid's values over the spec; grid: path such as models.0.params.fast -> values."""
    from trimtab.research.backtest import check_panel
    from trimtab.research.ledger.record import record_sweep
    from trimtab.research.ledger.standing import standing_of_sweep
    from trimtab.research.sweep import parameter_sets, run_sets, table_of
    from trimtab.strategies import find

    prefix = "models.0.params."
    strange = [path for path in grid if not path.startswith(prefix)]
    if strange or len(spec.models) != 1:
        what = f"cannot vary {strange[0]}" if strange else f"the spec has {len(spec.models)} models"
        raise TrimtabError(f"sweep: {what}; expected one model and paths such as {prefix}fast")
    panel = panel_of(spec, root)
    check_panel(spec, panel)
    model = spec.models[0]
    strategy = find(model.strategy)
    names = [path.removeprefix(prefix) for path in grid]
    fixed = {name: [value] for name, value in model.params.items() if name not in names}
    axes = {**fixed, **dict(zip(names, grid.values(), strict=True))}
    sets = parameter_sets(strategy, axes)
    tell, done = progress or _silent, 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        tell("sweeping", done, len(sets))

    swept = run_sets(spec, panel, strategy, sets, os.cpu_count() or 1, count)
    recorded = record_sweep(spec, panel, sets, swept, root)
    standing = standing_of_sweep(spec, panel, swept, recorded, root)
    return SweepDone(table_of(sets, names, swept.figures), standing)


def run_walkforward(
    spec: Spec,
    grid: dict[str, list[Any]],
    how: Scheme | Combinations,
    *,
    metric: str,
    hurdle: float,
    root: str | None = None,
    progress: Progress = None,
) -> Walked | Crossed:
    """Walk a spec forward, or cross-validate it; grid: path such as models.0.params.fast -> values, empty: none.

    Every set that it chooses from is a trial over all bars. What windows came to is none: a fold chooses from them, and
    nobody else does.
    """
    from trimtab.research.crossval import cross_validate
    from trimtab.research.folds import Scheme
    from trimtab.research.sweep import try_all
    from trimtab.research.walkforward import walk_forward

    tell = progress or _silent
    tell(f"loading {', '.join(spec.universe)} at {spec.timeframe}", 0, 0)
    panel = panel_of(spec, root)

    def count(done: int, total: int) -> None:
        tell("running windows", done, total)

    if isinstance(how, Scheme):
        found = walk_forward(spec, panel, grid, how, metric=metric, progress=count)
    else:
        found = cross_validate(spec, panel, grid, how, metric=metric, hurdle=hurdle, progress=count)
    tell("recording what was tried", 0, 0)
    try_all(found.sets.specs, panel, root)
    return found


def replay(bundle: Path, root: str | None = None) -> list[str]:
    """Run a bundle's spec again and compare every table; empty: the same, bit for bit."""
    from trimtab.research.bundle import differences

    return differences(rerun(spec_of_bundle(bundle), root=root), bundle)


def spec_of_bundle(bundle: Path) -> Spec:
    """The spec that a bundle ran; TrimtabError where the folder is none, or where its weights were given as numbers."""
    from trimtab.app.config import read_spec
    from trimtab.research.bundle import read_summary

    summary = read_summary(bundle)
    if summary.get("weights_given"):
        raise TrimtabError(
            f"{bundle}: this run's weights were given as numbers (tt.simulate) and are not in the bundle; "
            "run the program that made them again"
        )
    path = bundle / "spec.yaml"
    if not path.is_file():
        raise TrimtabError(f"{path}: missing, so the run cannot be repeated")
    return read_spec(path)


DEMO_MODELS = (
    Model(strategy="equity_trend", universe=("SP500", "NASDAQ"), budget=0.3),
    Model(strategy="index_mean_reversion", universe=("SP500", "NASDAQ"), budget=0.25),
    Model(strategy="pairs_reversion", universe=("NASDAQ", "SP500"), budget=0.2),
    Model(strategy="momentum", universe=("WTI",), budget=0.25),
)


def demo_spec() -> Spec:
    """The four models of the demo as one book over real daily bars."""
    return Spec(
        name="Four models, one book",
        models=DEMO_MODELS,
        universe=("SP500", "NASDAQ", "WTI"),
        timeframe="1d",
        start="1999-01-01",
        end="2019-01-01",
        capital=1_000_000.0,
        volume="ignore",
    )


def run_demo(out: Path, progress: Progress = None) -> Run:
    """Store the demo's series under out/data and run the demo's book on them."""
    from trimtab.app.config import complete
    from trimtab.data.demo import import_demo
    from trimtab.data.store import open_store

    tell = progress or _silent
    tell("storing S&P 500, Nasdaq and WTI", 0, 0)
    root = str(out / "data")
    import_demo(open_store(root), now=time.time_ns())
    return run_backtest(complete(demo_spec()), root=root, progress=progress)
