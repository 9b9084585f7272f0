"""Walk-forward: parameters chosen on the past by one metric, traded on what follows, fold after fold.

Source: Pardo (1992), Design, Testing and Optimization of Trading Systems. The edges of folds are told in `folds`, what
a run of a window is in `windowed`, and what may be chosen by in `choosing`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trimtab.research.choosing import Criterion, criterion_of, mean_known, rank_correlation, value_at
from trimtab.research.folds import Fold, Scheme, calendar_of, folds_of
from trimtab.research.ratios import equity_from_returns, sharpe_ratio
from trimtab.research.windowed import Progress, Ran, Sets, ground_of, run_windows, sets_of
from trimtab.sim.summary import SUMMARY
from trimtab.sim.windows import samples_in
from trimtab.types import F64, I64, NotEnoughData, Panel, Spec

NAN = math.nan


class Walk(NamedTuple):
    """One fold: what was chosen on its train, and what became of it in its test.

    train, test  (first, last) closes of their first and last row, ns UTC
    chosen       the set's number; -1: no set had a metric, so the fold stands aside
    inside       (S,) the metric of every set in-sample; NaN where undefined
    outside      (S,) out-of-sample
    mean_inside  daily mean of the chosen set's returns in-sample; NaN if none was
    ts, returns  (D,) day ends of the test and the chosen set's simple returns; 0 where the fold stands aside
    trades       closed round trips of the chosen set in the test, and what it paid, base currency
    left         what it still held after its exit, gross, of equity
    halted       a limit ended its trading before the end of the test
    """

    train: tuple[int, int]
    test: tuple[int, int]
    chosen: int
    inside: F64
    outside: F64
    mean_inside: float
    ts: I64
    returns: F64
    trades: int
    costs: float
    left: float
    halted: bool

    @property
    def correlation(self) -> float:
        """Rank correlation over all sets of their metric in-sample with that out-of-sample; NaN with fewer than three.

        0: the order in-sample says nothing about the order out-of-sample.
        """
        return rank_correlation(self.inside, self.outside)


class Stability(NamedTuple):
    """How steady one parameter's choice was over the folds that chose.

    mode        the value chosen most often, the first among equals, and the share of folds that chose it
    dispersion  mean distance between the choices of consecutive folds, of the range of the values tried: 0 never moves,
                1/3 is a draw from many values, 1 jumps from end to end; NaN for what is no number, and with one fold
    """

    name: str
    mode: Any
    share: float
    dispersion: float


class Walked(NamedTuple):
    """What a walk-forward found. Out-of-sample days of one fold after the other; no day is counted twice.

    capital  with which each fold began, and the stitched equity begins
    tested   (S, D) simple returns of every set on the same days, chosen or not; NaN: no forecast could be made
    """

    spec: Spec
    scheme: Scheme
    criterion: Criterion
    sets: Sets
    capital: float
    folds: tuple[Walk, ...]
    tested: F64
    notes: tuple[str, ...]

    @property
    def ts(self) -> I64:
        """(D,) out-of-sample day ends, ns UTC."""
        return np.concatenate([fold.ts for fold in self.folds])

    @property
    def returns(self) -> F64:
        """(D,) simple returns of what was chosen, net of costs."""
        return np.concatenate([fold.returns for fold in self.folds])

    @property
    def equity(self) -> F64:
        """(D + 1,) the capital compounded with the returns, the capital first."""
        return equity_from_returns(self.returns, self.capital)

    @property
    def sharpe(self) -> float:
        """Of the out-of-sample returns, annualised; NaN where they are all the same."""
        return sharpe_ratio(self.returns, self.criterion.periods, self.criterion.rate)

    @property
    def efficiency(self) -> float:
        """Mean daily return out-of-sample over that in-sample, both of the sets chosen.

        Arithmetic means, so annualising both changes nothing. Over the days of the folds that chose; each fold's
        in-sample mean counts by its out-of-sample days. NaN where nothing was earned in-sample: there is nothing to
        keep a part of.
        """
        chose = [fold for fold in self.folds if fold.chosen >= 0]
        days = np.array([fold.returns.size for fold in chose], np.float64)
        if not days.size:
            return NAN
        inside = float(days @ np.array([fold.mean_inside for fold in chose]) / days.sum())
        outside = float(np.concatenate([fold.returns for fold in chose]).mean())
        return outside / inside if inside > 0.0 else NAN

    @property
    def correlation(self) -> float:
        """Mean over folds of `Walk.correlation`; NaN where no fold has one."""
        return mean_known(fold.correlation for fold in self.folds)

    @property
    def stability(self) -> tuple[Stability, ...]:
        """Of each parameter of the grid."""
        chosen = [fold.chosen for fold in self.folds if fold.chosen >= 0]
        return stability_of(self.sets, chosen)


def efficiency_of(fold: Walk) -> float:
    """`Walked.efficiency` of one fold."""
    return float(fold.returns.mean()) / fold.mean_inside if fold.mean_inside > 0.0 else NAN


def stability_of(sets: Sets, chosen: Sequence[int]) -> tuple[Stability, ...]:
    """Of each parameter that varies, over choices in their order."""
    found: list[Stability] = []
    for j, name in enumerate(sets.names):
        picks = [sets.values[k][j] for k in chosen]
        if not picks:
            found.append(Stability(name, None, NAN, NAN))
            continue
        mode, times = Counter(picks).most_common(1)[0]
        tried = [values[j] for values in sets.values]
        dispersion = NAN
        if len(picks) > 1 and all(isinstance(v, int | float) for v in tried) and max(tried) > min(tried):
            moves = np.abs(np.diff(np.array(picks, np.float64)))
            dispersion = float(moves.mean()) / (max(tried) - min(tried))
        found.append(Stability(name, mode, times / len(picks), dispersion))
    return tuple(found)


def walk_forward(
    spec: Spec,
    panel: Panel,
    grid: Mapping[str, Sequence[Any]],
    scheme: Scheme,
    *,
    metric: str = "sharpe",
    threads: int | None = None,
    progress: Progress = None,
) -> Walked:
    """Choose a set of the grid on each fold's train by the metric, and trade it on its test.

    grid     path such as models.0.params.fast -> values; empty: the spec's own parameters are walked as they are
    metric   of daily returns, or a figure of the run: `choosing.DAILY`, `choosing.OF_RUNS`; NaN never wins, the first
             among equals does
    threads  None: all cores; figures do not depend on it

    In-sample and out-of-sample are runs of the same kind: flat before, warmed on all bars before, sold at the end.
    Raises TrimtabError for a scheme, a grid or a metric that is not possible, NotEnoughData where folds do not fit or
    no set could make a forecast.
    """
    ground = ground_of(spec, panel)
    sets = sets_of(spec, grid)
    criterion = criterion_of(metric, ground.periods, spec.risk_free_rate)
    folds, notes = folds_of(scheme, calendar_of(ground.market))
    windows = [window for fold in folds for window in (fold.train, fold.test)]
    stamps = [ground.market.ts[samples_in(ground.market, window)] for window in windows]
    shape = (len(sets.specs), len(windows))
    values, means = np.full(shape, np.nan), np.full(shape, np.nan)
    figures, left = np.full((*shape, len(SUMMARY)), np.nan), np.full(shape, np.nan)
    halted = np.zeros(shape, np.bool_)
    tested = [np.full((len(sets.specs), len(stamps[w])), np.nan) for w in range(1, len(windows), 2)]

    def keep(k: int, w: int, ran: Ran) -> None:
        values[k, w] = criterion.of(ran.returns, stamps[w], ran.figures)
        means[k, w], figures[k, w] = ran.returns.mean(), ran.figures
        left[k, w], halted[k, w] = ran.left, ran.halted
        if w % 2:
            tested[w // 2][k] = ran.returns

    run_windows(ground, sets, windows, keep, exit_bars=scheme.exit_bars, threads=threads, progress=progress)
    if np.isnan(means).all():
        raise NotEnoughData(
            "no set has enough bars for a first forecast in any fold; load a longer window or shorten the lookbacks"
        )
    walks: list[Walk] = []
    for f, (fold, returns) in enumerate(zip(folds, tested, strict=True)):
        inner, outer = 2 * f, 2 * f + 1
        # A set that makes its first forecast after the train was not tried there, whatever a count of trades says.
        inside = np.where(np.isnan(means[:, inner]), np.nan, values[:, inner])
        k = criterion.best(inside)
        walks.append(
            Walk(
                train=_ends(ground.market.ts, fold.train.first, fold.train.stop),
                test=_ends(ground.market.ts, fold.test.first, fold.test.stop),
                chosen=k,
                inside=inside,
                outside=values[:, outer],
                mean_inside=value_at(means[:, inner], k),
                ts=stamps[outer],
                returns=returns[k] if k >= 0 else np.zeros(returns.shape[1]),
                trades=int(figures[k, outer, SUMMARY.index("trades")]) if k >= 0 else 0,
                costs=float(figures[k, outer, SUMMARY.index("costs")]) if k >= 0 else 0.0,
                left=float(left[k, outer]) if k >= 0 else 0.0,
                halted=k >= 0 and bool(halted[k, outer]),
            )
        )
    told = (*notes, *_notes(walks, folds, values, criterion))
    return Walked(spec, scheme, criterion, sets, ground.setup.capital, tuple(walks), np.hstack(tested), told)


def _ends(ts: I64, first: int, stop: int) -> tuple[int, int]:
    return int(ts[first]), int(ts[stop - 1])


def _notes(walks: Sequence[Walk], folds: Sequence[Fold], values: F64, criterion: Criterion) -> list[str]:
    """What a reader has to know of single folds."""
    found: list[str] = []
    aside = [str(f + 1) for f, walk in enumerate(walks) if walk.chosen < 0]
    if aside:
        found.append(
            f"{_fold(aside)} aside: no set had a {criterion.label} in-sample (too few bars for a forecast, no trade, "
            "or all was lost)"
        )
    halts = [str(f + 1) for f, walk in enumerate(walks) if walk.halted]
    if halts:
        found.append(f"the book was halted before the end of fold{'s' if len(halts) > 1 else ''} {', '.join(halts)}")
    held = [walk.left for walk in walks if walk.left > 0.0]
    if held:
        found.append(unsold(f"in {len(held):,} of {len(walks):,} folds", max(held)))
    if walks and not (folds[0].train.first or np.isfinite(values[:, 0]).all()):
        lacking = int(np.isnan(values[:, 0]).sum())
        found.append(f"fold 1: {lacking:,} of {len(values):,} sets had no {criterion.label} in-sample")
    return found


def unsold(where: str, most: float) -> str:
    """What to say of exits that did not fill."""
    return (
        f"{where} up to {most:.1%} of equity could not be sold at the end and counts at its last price, without the "
        "cost of selling it: take less capital, or a longer exit"
    )


def _fold(numbers: Sequence[str]) -> str:
    return f"fold {numbers[0]} stands" if len(numbers) == 1 else f"folds {', '.join(numbers)} stand"
