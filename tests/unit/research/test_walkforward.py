"""Walk-forward: a fold is a run of its window, it knows nothing of what follows, and it finds what there is to find."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

import trimtab as tt
from trimtab.portfolio.budgets import combine
from trimtab.research.backtest import spec_of
from trimtab.research.choosing import Criterion, criterion_of, rank_correlation
from trimtab.research.folds import Scheme, calendar_of, folds_of
from trimtab.research.prepared import market_of
from trimtab.research.setup import costs_of_panel, setup_of
from trimtab.research.streams import streams_of
from trimtab.research.walkforward import Walked, efficiency_of, stability_of, walk_forward
from trimtab.research.windowed import Sets, sets_of
from trimtab.sim.simulate import simulate_window
from trimtab.sim.windows import weights_in

FAST, SLOW = "models.0.params.fast", "models.0.params.slow"
GRID = {FAST: [3, 5, 8], SLOW: [10, 20, 40]}
COSTS = tt.Costs(taker_fee=5e-4, half_spread=1e-4)
SCHEME = Scheme(train="60d", test="20d", purge="8")


def panel_of(returns: Any, hours: int) -> tt.Panel:
    """Bars of so many hours that open at the last close; returns (T,) or (T, N), simple."""
    r = np.asarray(returns).reshape(len(returns), -1)
    close = 100.0 * np.cumprod(1.0 + r, axis=0)
    opened = np.vstack([np.full((1, r.shape[1]), 100.0), close[:-1]])
    ts = (1 + np.arange(len(r), dtype=np.int64)) * hours * 3_600 * 10**9
    length = np.full(close.shape, hours * 3_600e9)
    bars = [opened, np.maximum(opened, close), np.minimum(opened, close), close, np.full(close.shape, 1e9), length]
    instruments = tuple(tt.Instrument(symbol=name, lot_size=1e-6) for name in "XYZ"[: r.shape[1]])
    fields = ("open", "high", "low", "close", "volume", "duration")
    return tt.Panel(ts, instruments, fields, np.stack(bars, 2), f"{hours}h" if hours < 24 else "1d")


def noise(rows: int, seed: int, n: int = 1, hours: int = 4) -> tt.Panel:
    """Independent returns of mean 0."""
    return panel_of(np.random.default_rng(seed).normal(0.0, 0.01, (rows, n)), hours)


def spec_for(panel: tt.Panel, strategy: str = "sma_cross", **params: Any) -> tt.Spec:
    return msgspec.structs.replace(spec_of(strategy, panel, params), costs=COSTS)


def walked(panel: tt.Panel, **more: Any) -> Walked:
    return walk_forward(spec_for(panel, fast=3, slow=10), panel, GRID, SCHEME, **more)


@pytest.mark.parametrize("n", [1, 2])
def test_a_fold_is_a_run_of_its_window(n: int) -> None:
    panel = noise(1_200, 1, n)
    found = walked(panel)
    folds, _ = folds_of(SCHEME, calendar_of(market_of(panel)))
    assert len(found.folds) == len(folds) == 7
    spec = found.sets.specs[found.folds[2].chosen]
    of, setup = market_of(panel), setup_of(spec, panel, costs_of_panel(panel, spec.costs))
    for window, told in ((folds[2].test, found.folds[2].returns), (folds[2].train, None)):
        weights = weights_in(combine(streams_of(spec, panel)), window, 1, n, exit_row=window.stop - 2)
        done = simulate_window(of, weights, setup, window)
        equity = np.concatenate(([1e6], done.curve[:, 0]))
        returns = equity[1:] / equity[:-1] - 1.0
        assert done.fills["lots"].sum() == 0
        if told is None:
            assert found.folds[2].mean_inside == returns.mean()
            continue
        assert told.tolist() == returns.tolist()
        assert found.folds[2].trades == done.book.head[0]["round_trips"]
        assert found.folds[2].costs == pytest.approx(done.curve[-1, 1], rel=1e-12)
        assert found.folds[2].ts.tolist() == of.ts[done.sample].tolist()
    assert all(fold.left == 0.0 for fold in found.folds)


def test_days_are_counted_once_and_compound_to_the_equity() -> None:
    panel = noise(1_200, 1)
    found = walked(panel)
    assert found.ts.tolist() == panel.ts[market_of(panel).days[60:]].tolist()
    product = math.prod(float(np.prod(1.0 + fold.returns)) for fold in found.folds)
    assert found.equity[0] == 1e6
    assert found.equity[-1] == pytest.approx(1e6 * product, rel=1e-12)
    assert found.tested.shape == (9, len(found.ts))
    chosen = np.concatenate([np.full(fold.returns.size, fold.chosen) for fold in found.folds])
    assert found.tested[chosen, np.arange(len(chosen))].tolist() == found.returns.tolist()


def test_the_future_changes_nothing() -> None:
    """Bars after a fold leave the fold as it was; bars of its test leave what was chosen for it."""
    panel = noise(1_200, 2)
    whole = walked(panel)
    folds, _ = folds_of(SCHEME, calendar_of(market_of(panel)))
    rng = np.random.default_rng(9)
    for row, f in ((folds[3].test.stop, 3), (folds[3].test.first, 2)):
        values = panel.values.copy()
        values[row:, :, :4] *= np.exp(rng.normal(0.0, 0.2, (len(values) - row, 1, 1)))
        other = walked(tt.Panel(panel.ts, panel.instruments, panel.fields, values, panel.timeframe))
        for one, two in zip(whole.folds[: f + 1], other.folds[: f + 1], strict=True):
            assert one.returns.tobytes() == two.returns.tobytes()
            assert (one.chosen, one.trades, one.costs) == (two.chosen, two.trades, two.costs)
            assert one.outside.tobytes() == two.outside.tobytes()
        assert whole.folds[3].inside.tobytes() == other.folds[3].inside.tobytes()
        assert whole.folds[3].chosen == other.folds[3].chosen
        assert whole.folds[4].outside.tobytes() != other.folds[4].outside.tobytes()  # the change was seen


def test_threads_change_nothing() -> None:
    panel = noise(1_200, 3)
    told: list[int] = []
    one, two = walked(panel, threads=1), walked(panel, threads=4, progress=lambda done, total: told.append(done))
    assert one.tested.tobytes() == two.tested.tobytes()
    assert [f.inside.tobytes() for f in one.folds] == [f.inside.tobytes() for f in two.folds]
    assert sorted(told)[-1] == 9 * 14


def test_the_planted_parameter_is_the_one_that_is_chosen() -> None:
    """Signs of returns that repeat themselves seven times in ten, and depend on the last one alone.

    The best forecast of the next sign is then the last, lookback 1: 0.4 of a bar's move against 0.232 for three bars.
    Over two years of days that is a Sharpe of 8.3 against 4.6, of which the difference has an error of about 0.7; the
    chance of a wrong choice in a fold is below 1e-6.
    """
    for seed in range(5):
        rng = np.random.default_rng(seed)
        sign = np.cumprod(np.where(rng.random(2_000) < 0.7, 1.0, -1.0))
        panel = panel_of(0.01 * sign, 24)
        spec = msgspec.structs.replace(spec_for(panel, "momentum", vol_window=20), costs=tt.Costs())
        path = "models.0.params.lookback"
        found = walk_forward(spec, panel, {path: [21, 7, 3, 1, 45]}, Scheme(train="2y", test="6mo"))
        assert [found.sets.told(fold.chosen)[path] for fold in found.folds] == [1] * len(found.folds)
        assert found.sharpe > 5.0
        assert 0.5 < found.efficiency < 1.5
        assert found.stability[0][1:] == (1, 1.0, 0.0)


def test_nothing_is_found_in_noise() -> None:
    """40 seeds, 1,000 days of which 730 are traded: each Sharpe out-of-sample has an error of 1 / sqrt(2) a year.

    The mean of 40 has one of 0.11: a look ahead that is worth a Sharpe of 0.45 is found with a probability of 0.84, one
    of 0.6 with 0.99. In-sample the best of nine is above 0 on average, because it was picked.
    """
    inside, outside, paid = [], [], []
    scheme = Scheme(train="270d", test="73d")
    for seed in range(40):
        panel = noise(1_000, seed, hours=24)
        spec = spec_for(panel, fast=3, slow=10)
        free = walk_forward(msgspec.structs.replace(spec, costs=tt.Costs()), panel, GRID, scheme, threads=1)
        outside.append(free.sharpe)
        inside.append(np.mean([fold.inside[fold.chosen] for fold in free.folds]))
        costly = walk_forward(spec, panel, GRID, scheme, threads=1)
        paid.append(costly.returns.sum() + sum(fold.costs for fold in costly.folds) / 1e6)
    assert abs(np.mean(outside)) < 3.0 * 2**-0.5 / 40**0.5
    assert np.mean(inside) > 0.5
    # With costs the mean return is that of nothing, less what was paid.
    assert abs(np.mean(paid)) < 3.0 * np.std(paid, ddof=1) / 40**0.5


def test_a_fold_without_a_choice_stands_aside() -> None:
    """The average of 362 bars has no value in the first train of 360 bars; later ones have a choice."""
    panel = noise(1_200, 4)
    found = walk_forward(spec_for(panel), panel, {SLOW: [362, 380]}, Scheme(train="60d", test="20d"))
    first = found.folds[0]
    assert first.chosen == -1
    assert not first.returns.any()
    assert first.returns.size == 20
    assert found.notes[0].startswith(("fold 1 stands aside", "folds 1, "))
    assert "no set had a Sharpe ratio in-sample" in found.notes[0]
    assert any(fold.chosen >= 0 for fold in found.folds[1:])
    with pytest.raises(tt.NotEnoughData, match="no set has enough bars"):
        walk_forward(spec_for(panel), panel, {SLOW: [1_300]}, SCHEME)


def test_without_a_grid_the_parameters_are_walked_as_they_are() -> None:
    panel = noise(1_200, 5)
    found = walk_forward(spec_for(panel, fast=3, slow=10), panel, {}, SCHEME)
    assert [fold.chosen for fold in found.folds] == [0] * 7
    assert (found.stability, math.isnan(found.correlation)) == ((), True)
    inside = np.array([fold.mean_inside for fold in found.folds])
    if inside.mean() > 0.0:
        assert found.efficiency == pytest.approx(found.returns.mean() / inside.mean())
    assert all(math.isnan(efficiency_of(f)) == (f.mean_inside <= 0.0) for f in found.folds)


def test_what_cannot_be_sold_at_the_end_is_told() -> None:
    """Bars that let a hundredth of the position trade: one open does not sell it, two hundred do."""
    panel = noise(1_200, 6)
    spec = spec_for(panel, "buy_and_hold")
    thin = panel.values.copy()
    thin[:, :, 4] = 1_000.0
    thin = tt.Panel(panel.ts, panel.instruments, panel.fields, thin, panel.timeframe)
    spec = msgspec.structs.replace(spec, costs=COSTS._replace(participation=0.1))
    held = walk_forward(spec, thin, {}, Scheme(train="60d", test="60d"))
    assert held.folds[0].left > 0.5
    assert "could not be sold at the end" in held.notes[-1]
    sold = walk_forward(spec, thin, {}, Scheme(train="60d", test="60d", exit_bars=110))
    assert sold.folds[0].left == 0.0


def test_a_halt_counts_from_the_start_of_its_fold_and_is_told() -> None:
    """A market that falls by a tenth in the second test only: its fold is halted, the next one trades again."""
    returns = np.random.default_rng(0).normal(0.0, 0.001, 1_200)
    returns[500] = -0.1
    panel = panel_of(returns, 4)
    spec = msgspec.structs.replace(spec_for(panel, "buy_and_hold"), limits=tt.Limits(drawdown_halt=0.08))
    found = walk_forward(spec, panel, {}, Scheme(train="60d", test="20d"))
    assert [fold.halted for fold in found.folds] == [False, True, False, False, False, False, False]
    assert "the book was halted before the end of fold 2" in found.notes
    assert found.folds[1].returns[-1] == 0.0
    assert found.folds[2].returns[-1] != 0.0


def test_several_models_may_vary_and_what_they_rule_out_is_left_out() -> None:
    panel = noise(600, 7)
    model = tt.Model(strategy="sma_cross", params={"fast": 3, "slow": 10}, budget=0.5)
    spec = msgspec.structs.replace(spec_for(panel), models=(model, msgspec.structs.replace(model, name="two")))
    sets = sets_of(spec, {FAST: [3, 9, 30], "models.1.params.slow": [10, 20]})
    assert sets.values == [(3, 10), (3, 20), (9, 10), (9, 20)]
    assert [m.params["slow"] for m in sets.specs[1].models] == [10, 20]
    for path, message in (("seed", "cannot vary seed"), ("models.2.params.fast", "has 2 models")):
        with pytest.raises(tt.TrimtabError, match=message):
            sets_of(spec, {path: [1]})


# ---------------------------------------------------------------------------------------------------------------------
# Choosing
# ---------------------------------------------------------------------------------------------------------------------


def test_nan_never_wins_and_the_first_of_equals_does() -> None:
    more, less = Criterion("sharpe", 1, 365.0, 0.0), Criterion("costs", -1, 365.0, 0.0)
    values = np.array([np.nan, 1.0, 2.0, 2.0, -np.inf])
    assert (more.best(values), less.best(values)) == (2, 4)
    assert less.best(np.array([np.nan, 3.0, 1.0, 1.0])) == 2
    assert more.best(np.array([np.nan, -np.inf])) == 1
    assert more.best(np.full(3, np.nan)) == -1


def test_metrics_are_those_of_the_table_and_ruin_has_none() -> None:
    r = np.random.default_rng(0).normal(0.001, 0.01, 100)
    ts = (1 + np.arange(100)) * 86_400 * 10**9
    from trimtab.research.choosing import DAILY
    from trimtab.research.metrics import Curve, summarise

    table = summarise(Curve(r, ts), periods=365.0, risk_free_rate=0.02)
    for name in DAILY:
        criterion = criterion_of(name, 365.0, 0.02)
        assert criterion.of(r, ts) == pytest.approx(table[name], rel=1e-12), name
        assert math.isnan(criterion.of(np.append(r[:-1], -1.0), ts))
        assert math.isnan(criterion.of(np.full(100, np.nan), ts))
    figures = np.array([0.1, 1.0, -0.1, 12.0, 3.0, 500.0, 1.1e6])
    assert criterion_of("trades", 365.0, 0.0).of(r, ts, figures) == 12.0
    with pytest.raises(tt.TrimtabError, match="did you mean 'sharpe'"):
        criterion_of("sharp", 365.0, 0.0)


def test_rank_correlation_is_spearmans() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 8, 40).astype(float), rng.normal(size=40)
    x[3], y[5] = np.nan, np.nan
    both = ~(np.isnan(x) | np.isnan(y))
    assert rank_correlation(x, y) == pytest.approx(stats.spearmanr(x[both], y[both])[0], rel=1e-12)
    assert math.isnan(rank_correlation(x[:2], y[:2]))
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))


def test_stability_by_hand() -> None:
    sets = Sets(("a.b.c.fast", "a.b.c.kind"), [(5, "x"), (10, "x"), (25, "y")], [])
    fast, kind = stability_of(sets, [0, 2, 2, 1])
    assert (fast.mode, fast.share, fast.dispersion) == (25, 0.5, pytest.approx((20 + 0 + 15) / 3 / 20))
    assert (kind.mode, kind.share, math.isnan(kind.dispersion)) == ("x", 0.5, True)
