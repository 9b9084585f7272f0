"""Needles and plateaus that were planted, and random entries with and without an edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

import trimtab as tt
from trimtab.research.backtest import run_spec, spec_of
from trimtab.research.robustness.entries import Entries, Trips, entries, shuffled, trips_of_run, weights_of_trips
from trimtab.research.robustness.jitter import Jitter, jitter
from trimtab.types import Costs, Spec

PATHS = 39


def free(strategy: str, panel: tt.Panel, **params: Any) -> Spec:
    return msgspec.structs.replace(spec_of(strategy, panel, params), costs=Costs())


# --- jitter ----------------------------------------------------------------------------------------------------------


def wave(panel_of: Callable[..., tt.Panel], period: float, rows: int = 1500) -> tt.Panel:
    """A price that swings with a period and trembles a little.

    The return of the last L bars foretells the next one as sin(2 pi L / period) does.
    """
    t = np.arange(rows)
    tremble = np.random.default_rng(0).normal(0.0, 0.0005, rows)
    return panel_of(100.0 * np.exp(0.05 * np.sin(2.0 * np.pi * t / period) + tremble))


def swing(panel: tt.Panel, lookback: int) -> Spec:
    return free("momentum", panel, lookback=lookback, vol_window=20, vol_target=5.0)


def test_a_needle_is_called_a_needle(panel_of: Callable[..., tt.Panel]):
    """97 = 3 x 30 + 7: the best phase; 10% and 20% more or less of it (87, 107, 78, 116) all foretell the opposite."""
    panel = wave(panel_of, 30.0)
    found = jitter(swing(panel, 97), panel)
    assert found.centre.sharpe > 3.0
    assert (found.verdict, found.worst, found.least) == ("needle", "models.0.params.lookback", 0.0)
    alone = {each.parameter: each for each in found.moved}
    assert alone["models.0.params.lookback"].kept == 0.0
    assert alone["models.0.params.lookback"].median < 0.0
    assert alone["models.0.params.vol_window"].kept == 1.0  # it does nothing, and hides nothing
    assert [n.value for n in found.neighbours if n.parameter.endswith("lookback")] == [87.0, 107.0, 78.0, 116.0]


def test_a_plateau_is_called_a_plateau(panel_of: Callable[..., tt.Panel]):
    """A quarter of the period, and 20% beside it, foretell nearly as well: sin(0.4 pi) = 0.95."""
    panel = wave(panel_of, 100.0)
    found = jitter(swing(panel, 25), panel, Jitter(seed=1))
    assert found.verdict == "plateau"
    assert found.kept == found.least == 1.0
    assert 0.8 < found.median < 1.2
    assert found == jitter(swing(panel, 25), panel, Jitter(seed=1), threads=1)
    assert ("models.0.params.long_only", "a switch has no neighbours") in found.left
    assert ("models.0.params.entry_z", "stands at 0, and a share of 0 is 0") in found.left


def test_neighbours_keep_ranges_types_and_rules(panel_of: Callable[..., tt.Panel]):
    panel = wave(panel_of, 60.0)
    found = jitter(free("sma_cross", panel, fast=3, slow=4, short=True), panel, Jitter(together=20))
    assert all(n.value == round(n.value) for n in found.neighbours if n.parameter)
    beside = {n.parameter[-4:]: [] for n in found.neighbours if n.parameter}
    for n in found.neighbours:
        if n.parameter:
            beside[n.parameter[-4:]].append(n.value)
    assert beside == {"fast": [2.0], "slow": [5.0]}  # by 1 at least; 4 beside 4, and 3 beside 3, are ruled out
    together = sum(n.parameter == "" for n in found.neighbours)
    assert found.refused == 2 + 20 - together
    edge = jitter(free("momentum", panel, lookback=5, band=1.0), panel, Jitter(together=0))
    assert [n.value for n in edge.neighbours if n.parameter.endswith("band")] == [0.9, 0.8]  # 1 is its highest


def test_by_shares_of_the_range(panel_of: Callable[..., tt.Panel]):
    panel = wave(panel_of, 60.0)
    found = jitter(free("momentum", panel, lookback=5), panel, Jitter(of="range", steps=(0.1,), together=0))
    values = {n.parameter.split(".")[-1]: n.value for n in found.neighbours}
    assert values["entry_z"] == 1.0  # 0 + 0.1 x 10
    assert values["lookback"] == 505.0  # 5 + 0.1 x 4,999, rounded


def test_nothing_to_keep_is_said(panel_of: Callable[..., tt.Panel]):
    fall = panel_of(np.linspace(100, 50, 80))
    found = jitter(free("buy_and_hold", fall, weight=0.5), fall)
    assert "nothing that a neighbour could keep" in found.why
    assert found.verdict == ""
    assert math.isnan(found.median)
    assert math.isnan(found.least)
    for how in (Jitter(steps=()), Jitter(steps=(1.5,)), Jitter(of="both"), Jitter(together=-1)):
        with pytest.raises(tt.TrimtabError, match="expected"):
            jitter(free("buy_and_hold", fall), fall, how)


# --- entries ---------------------------------------------------------------------------------------------------------


def test_every_arrangement_is_as_likely():
    """Two trips of 1 and 2 bars in 5: 2 orders x C(4, 2) places = 12 arrangements."""
    one, none = np.array([0, 1]), np.zeros(2, np.int64)
    trips = Trips(np.array([10, 11]), np.array([1, 2]), one, none, none, np.array([1, 2]), np.array([0.5, -1]), 10, 15)
    rng, draws = np.random.default_rng(0), 6_000
    seen: dict[tuple[int, int], int] = {}
    for _ in range(draws):
        short, long = shuffled(trips, rng).row.tolist()
        assert 10 <= short <= 14
        assert 10 <= long <= 13
        assert short + 1 <= long or long + 2 <= short
        seen[short, long] = seen.get((short, long), 0) + 1
    assert len(seen) == 12
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_legs_of_a_pair_move_together(panel_of: Callable[..., tt.Panel]):
    """Every random book of a pair is hedged as the run is: both legs come and go in the same rows."""
    rng = np.random.default_rng(0)
    leader = np.cumsum(rng.normal(0.0, 0.01, 600))
    gap = np.zeros(600)
    for t in range(1, 600):
        gap[t] = 0.9 * gap[t - 1] + rng.normal(0.0, 0.01)
    one, two = (panel_of(100.0 * np.exp(path)) for path in (leader, leader + gap))
    values = np.concatenate((one.values, two.values), axis=1)
    both = (tt.Instrument(symbol="S"), tt.Instrument(symbol="T"))
    panel = msgspec.structs.replace(one, instruments=both, values=values, lines=None)
    run = run_spec(free("pairs_reversion", panel, lookback=40), panel)
    (trips,) = trips_of_run(run)
    assert len(trips.row) > 5
    assert len(trips.block) == 2 * len(trips.row)  # two legs each
    before = weights_of_trips([trips])
    moved = weights_of_trips([shuffled(trips, rng)])
    for weights in (before, moved):
        legs = [weights.row[weights.instrument == i] for i in (0, 1)]
        np.testing.assert_array_equal(*legs)
    held = [np.sort(weights.value[weights.instrument == 0]) for weights in (before, moved)]
    np.testing.assert_array_equal(*(values[values != 0.0] for values in held))
    found = entries(run.spec, panel, Entries(paths=19))
    assert found.rebuilt.sharpe == pytest.approx(found.run.sharpe, rel=0.1)
    assert found.trips == len(trips.block)


def test_the_run_is_rebuilt_from_its_round_trips(panel_of: Callable[..., tt.Panel]):
    """One trip at a time, entered at once and closed before the end: rebuilt it is the same book."""
    panel = wave(panel_of, 40.0, 390)
    spec = free("sma_cross", panel, fast=3, slow=8)
    run = run_spec(spec, panel)
    told: list[tuple[int, int]] = []
    found = entries(spec, panel, Entries(paths=5), progress=lambda done, total: told.append((done, total)))
    assert sorted(told) == [(k, 5) for k in range(1, 6)]
    (trips,) = trips_of_run(run)
    decided = run.fold.weights.row[run.fold.weights.value == 1.0]
    np.testing.assert_array_equal(trips.row, decided[: len(trips.row)])
    assert found.trips == len(run.trades.filter(~run.trades["open"], model=""))
    assert found.rebuilt.total_return == pytest.approx(found.run.total_return, rel=2e-2)
    assert found.rebuilt.sharpe == pytest.approx(found.run.sharpe, rel=2e-2)


def walk_of(seed: int, rows: int, memory: float) -> np.ndarray:
    """Closes whose returns remember a share of the one before."""
    rng = np.random.default_rng(seed)
    r = rng.normal(0.0, 0.01, rows)
    for t in range(1, rows):
        r[t] += memory * r[t - 1]
    return 100.0 * np.exp(np.cumsum(r))


def p_of(panel_of: Callable[..., tt.Panel], seed: int, rows: int, memory: float) -> float:
    panel = panel_of(walk_of(seed, rows, memory))
    spec = free("momentum", panel, lookback=1, vol_window=2, vol_target=10.0, long_only=True)
    return entries(spec, panel, Entries(paths=PATHS, seed=seed)).p_value


def test_entries_with_an_edge_beat_random_ones(panel_of: Callable[..., tt.Panel]):
    """Memory 0.3 in 400 days earns 0.3 x 0.8 deviations a day in the market, half of 400 days: 48 deviations.

    Random entries of the same days spread with sqrt(400) / 2 = 10: 4.8 of their deviations away. That a p of 0.05 (two
    of 39 do as well) is missed takes a fall of 3.1 deviations of the run's own luck (10): 1 in 1,000.
    """
    assert all(p_of(panel_of, seed, 400, 0.3) <= 0.05 for seed in range(10))


def test_without_an_edge_the_p_value_is_uniform(panel_of: Callable[..., tt.Panel]):
    """60 seeds: the test at 0.001 sees a p-value that is too small or too large by 0.25 somewhere (KS)."""
    found = np.array([p_of(panel_of, seed, 150, 0.0) for seed in range(60)])
    spread = found - np.random.default_rng(0).random(60) / (1.0 + PATHS)  # p-values stand on a grid of 1/40
    assert stats.kstest(spread, "uniform").pvalue > 1e-3
    assert (found <= 0.05).mean() <= 0.05 + 3.0 * math.sqrt(0.05 * 0.95 / 60)


@pytest.mark.nightly
@pytest.mark.parametrize("short", [False, True])
def test_without_an_edge_the_p_value_is_uniform_at_length(panel_of: Callable[..., tt.Panel], short: bool):
    """500 seeds, with clustered volatility: the test at 0.001 sees a p-value that is off by 0.09 somewhere (KS)."""
    found: list[float] = []
    for seed in range(500):
        rng = np.random.default_rng((seed, 1))
        r, variance = np.empty(300), 1e-4
        for t in range(300):
            r[t] = math.sqrt(variance) * rng.standard_normal()
            variance = 2e-6 + 0.1 * r[t] ** 2 + 0.88 * variance
        panel = panel_of(100.0 * np.exp(np.cumsum(r)))
        spec = free("momentum", panel, lookback=5, vol_window=2, vol_target=10.0, long_only=not short)
        found.append(entries(spec, panel, Entries(paths=PATHS, seed=seed)).p_value)
    spread = np.array(found) - np.random.default_rng(0).random(500) / (1.0 + PATHS)
    assert stats.kstest(spread, "uniform").pvalue > 1e-3
    # Never more often than it says; less often where trips of one side meet and pay no cost in between.
    assert (np.array(found) <= 0.05).mean() <= 0.05 + 3.0 * math.sqrt(0.05 * 0.95 / 500)


@pytest.mark.nightly
def test_an_edge_is_found_as_often_as_its_size_says(panel_of: Callable[..., tt.Panel]):
    """Memory 0.1 in 400 days: 0.1 x 0.8 x 200 = 16 deviations, against a spread of 10: z of 1.6.

    One-sided at 0.05 its power is Phi(1.6 - 1.645) = 0.48; of 200 seeds that is 96 give or take 7.
    """
    found = np.array([p_of(panel_of, seed, 400, 0.1) for seed in range(200)])
    power = stats.norm.cdf(16.0 / 10.0 - stats.norm.ppf(0.95))
    # The normal approximation knows nothing of the drift's own noise in the few trips that are open or merged.
    assert abs((found <= 0.05).mean() - power) < 3.0 * math.sqrt(power * (1.0 - power) / 200) + 0.05


def test_what_cannot_be_moved_says_why(panel_of: Callable[..., tt.Panel]):
    panel = wave(panel_of, 40.0, 200)
    held = entries(free("buy_and_hold", panel), panel, Entries(paths=3))
    assert (held.trips, held.why) == (0, "no round trip was closed")
    assert math.isnan(held.p_value)
    with pytest.raises(tt.TrimtabError, match="paths is 0"):
        entries(free("buy_and_hold", panel), panel, Entries(paths=0))


def test_shorts_and_costs_take_part(panel_of: Callable[..., tt.Panel]):
    """A short keeps its side; and a fee for each trade is paid by the random books as by the run."""
    panel = wave(panel_of, 40.0, 400)
    spec = free("sma_cross", panel, fast=3, slow=8, short=True)
    (trips,) = trips_of_run(run_spec(spec, panel))
    assert {-1.0, 1.0} == set(np.sign(trips.weight))
    none = entries(spec, panel, Entries(paths=20))
    paid = entries(msgspec.structs.replace(spec, costs=Costs(taker_fee=0.005)), panel, Entries(paths=20))
    assert (np.array(paid.sharpes) < np.array(none.sharpes)).mean() > 0.9
    assert none == entries(spec, panel, Entries(paths=20), threads=1)
