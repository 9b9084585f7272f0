"""Resampled paths, the bands of their figures, and tests of superiority on them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.research import metrics
from trimtab.research.inference import bootstrap, paths
from trimtab.research.inference.bootstrap import Resampling
from trimtab.research.inference.superiority import judged, superior
from trimtab.types import NotEnoughData, TrimtabError

RETURNS = np.random.default_rng(0).normal(0.0005, 0.01, 400)


@settings(max_examples=40)
@given(st.integers(10, 200), st.floats(1.0, 60.0), st.integers(0, 2**40), st.integers(1, 20))
def test_paths_are_rows_in_blocks_that_go_round(rows: int, block: float, seed: int, count: int) -> None:
    index = bootstrap.indices(rows, Resampling(block, count, seed))
    assert index.shape == (count, rows)
    assert index.min() >= 0
    assert index.max() < rows
    again = bootstrap.indices(rows, Resampling(block, count + 5, seed))
    assert (again[:count] == index).all()  # a path is the same whatever the number of paths
    longer = bootstrap.indices(rows, Resampling(block, count, seed), rows + 7)
    assert (longer[:, :rows] == index).all()


@pytest.mark.parametrize("block", [1.0, 4.0, 25.0])
def test_blocks_are_as_long_as_was_asked_and_begin_anywhere(block: float) -> None:
    """Half a million steps: 5 standard errors of the share of new blocks, and of each row's count."""
    rows, count = 50, 10_000
    index = bootstrap.indices(rows, Resampling(block, count))
    p = 1.0 / block
    goes_on = index[:, 1:] == (index[:, :-1] + 1) % rows
    steps = goes_on.size
    expected = (1.0 - p) + p / rows  # a new block may begin where the last one would have gone on
    assert goes_on.mean() == pytest.approx(expected, abs=5.0 * math.sqrt(expected * (1.0 - expected) / steps) + 1e-12)
    first = np.bincount(index[:, 0], minlength=rows)
    assert np.abs(first - count / rows).max() < 5.0 * math.sqrt(count / rows)
    fresh = index[:, 1:][~goes_on]
    share = np.bincount(fresh, minlength=rows)
    assert np.abs(share - fresh.size / rows).max() < 5.0 * math.sqrt(fresh.size / rows)


def test_seeds_give_different_paths() -> None:
    one, other = (bootstrap.indices(400, Resampling(1.0, 50, seed)) for seed in (0, 1))
    assert (one == other).mean() == pytest.approx(1 / 400, abs=0.003)


def test_figures_are_those_of_the_metrics_on_each_path() -> None:
    how = Resampling(8.0, 150, 3)
    found = bootstrap.figures(RETURNS, how)
    for row, index in zip(found, bootstrap.indices(400, how), strict=True):
        path = RETURNS[index]
        assert row[0] == pytest.approx(metrics.total_return(path), rel=1e-9)
        assert row[1] == pytest.approx(metrics.max_drawdown(metrics.equity_from_returns(path)), rel=1e-9)
        assert row[2] == pytest.approx(path.mean(), rel=1e-9)
        assert row[3] == pytest.approx(path.std(ddof=1), rel=1e-9)


def test_plain_python_says_the_same_as_compiled_code() -> None:
    index, plain = np.empty((3, 400), np.int64), np.empty((3, 400), np.int64)
    paths.resample(5, 7, 0.2, 400, index)
    paths.resample.py_func(5, 7, 0.2, 400, plain)  # type: ignore[attr-defined]
    assert (index == plain).all()
    out, same = np.empty((3, 4)), np.empty((3, 4))
    paths.figures_of_paths(RETURNS, index, out)
    paths.figures_of_paths.py_func(RETURNS, index, same)  # type: ignore[attr-defined]
    np.testing.assert_allclose(out, same, rtol=1e-12)


def test_the_number_of_threads_does_not_matter() -> None:
    how = Resampling(8.0, 500)
    assert (bootstrap.figures(RETURNS, how, 1) == bootstrap.figures(RETURNS, how, 3)).all()
    both = np.stack([RETURNS, RETURNS[::-1]], axis=1)
    one, other = bootstrap.resampled_means(both, how, 1), bootstrap.resampled_means(both, how, 3)
    assert (one == other).all()
    # Both columns of a path take the same rows.
    index = bootstrap.indices(400, how)
    np.testing.assert_allclose(one, both[index].mean(axis=1), rtol=1e-9)


def test_bands_hold_what_they_say() -> None:
    how = Resampling(5.0, 2_000)
    found, wide = bootstrap.bands(RETURNS, 252, how), bootstrap.bands(RETURNS, 252, how, 0.99)
    f = bootstrap.figures(RETURNS, how)
    sharpe = f[:, 2] / f[:, 3] * math.sqrt(252)
    assert found.sharpe[:3] == pytest.approx(np.quantile(sharpe, [0.05, 0.5, 0.95]))
    assert ((sharpe >= found.sharpe.low) & (sharpe <= found.sharpe.high)).mean() == pytest.approx(0.9, abs=0.001)
    growth = (1.0 + f[:, 0]) ** (252 / 400) - 1.0
    assert found.cagr[:3] == pytest.approx(np.quantile(growth, [0.05, 0.5, 0.95]))
    for band, wider in zip(found, wide, strict=True):
        assert wider.low <= band.low <= band.middle <= band.high <= wider.high
        assert band.undefined == 0.0
    assert found.max_drawdown.high <= 0.0
    less = bootstrap.bands(RETURNS, 252, how, rate=0.05)
    assert less.sharpe.middle < found.sharpe.middle
    assert less.cagr == found.cagr


def test_paths_without_a_sharpe_are_told() -> None:
    rare = np.zeros(10)
    rare[4] = 0.1
    found = bootstrap.bands(rare, 252, Resampling(2.0, 3_000))
    assert 0.1 < found.sharpe.undefined < 0.6
    assert math.isfinite(found.sharpe.middle)
    assert found.cagr.undefined == 0.0
    never = bootstrap.bands(np.zeros(20), 252, Resampling(2.0, 100))
    assert never.sharpe.undefined == 1.0
    assert math.isnan(never.sharpe.middle)
    assert (never.cagr.low, never.max_drawdown.low) == (0.0, 0.0)


def test_what_lost_everything_stays_lost() -> None:
    r = np.full(20, 0.01)
    r[7] = -1.0
    found = bootstrap.figures(r, Resampling(1.0, 200))
    gone = found[:, 0] == -1.0
    assert gone.mean() == pytest.approx(1 - 0.95**20, abs=0.15)
    assert (found[gone, 1] == -1.0).all()
    assert bootstrap.bands(r, 252, Resampling(1.0, 200)).cagr.low == -1.0


# --- superiority -----------------------------------------------------------------------------------------------------


def models(seed: int, rows: int = 200, count: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (rows, count))


@settings(max_examples=25)
@given(st.integers(0, 1_000), st.floats(1.0, 20.0))
def test_superiority_does_not_depend_on_units_nor_on_the_order_of_models(seed: int, block: float) -> None:
    d = models(seed)
    means = bootstrap.resampled_means(d, Resampling(block, 200, seed))
    one = judged(d, means, block)
    assert one.lower <= one.consistent <= one.upper
    order, scale = np.random.default_rng(seed).permutation(5), 2.0 ** np.arange(5.0)
    other = judged((d * scale)[:, order], (means * scale)[:, order], block)
    for name in ("statistic", "lower", "consistent", "upper"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9)
    assert order[other.best] == one.best
    whole = judged(4.0 * d, 4.0 * means, block)
    assert whole[:6] == pytest.approx(one[:6])


def test_a_model_that_earns_is_found_and_more_hopeless_ones_do_not_hide_it() -> None:
    d = models(0, 400, 3)
    d[:, 1] += 0.002
    how = Resampling(3.0, 2_000)
    few = superior(d, how)
    assert few.best == 1
    assert max(few.reality, few.lower, few.consistent, few.upper) < 0.005
    weak = models(3, 300, 2)
    weak[:, 0] += 0.0012 - weak[:, 0].mean()
    hopeless = np.concatenate((weak, 5.0 * models(4, 300, 40) - 0.05), axis=1)
    one, many = superior(weak, how), superior(hopeless, how)
    # The reality check and the upper p drown in bad models of high variance, which is why there is a consistent one.
    assert many.consistent == pytest.approx(one.consistent, abs=0.02)
    assert many.reality > 0.9
    assert many.upper > 4.0 * many.consistent


def test_where_no_model_earns_anything_nothing_is_superior() -> None:
    """Without care the largest of nothing is 0 on every path, and p is 0: the strongest of rejections."""
    found = superior(models(0) - 0.02, Resampling(3.0, 200))
    assert (found.statistic, found.lower, found.consistent, found.upper) == (0.0, 1.0, 1.0, 1.0)


def test_p_values_do_not_depend_on_the_number_of_threads() -> None:
    d, how = models(1), Resampling(3.0, 300)
    assert superior(d, how, 1)[:6] == superior(d, how, 2)[:6]


HOW = Resampling(5.0, 100)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: bootstrap.figures(RETURNS[:9], HOW), NotEnoughData, "9 returns"),
        (lambda: bootstrap.figures([*RETURNS, math.nan], HOW), TrimtabError, r"returns\[400\]"),
        (lambda: bootstrap.indices(50, Resampling(0.5)), TrimtabError, "mean_block is 0.5"),
        (lambda: bootstrap.indices(50, Resampling(math.nan)), TrimtabError, "mean_block is nan"),
        (lambda: bootstrap.indices(50, Resampling(5.0, 0)), TrimtabError, "paths is 0"),
        (lambda: bootstrap.indices(50, Resampling(5.0, 10, -1)), TrimtabError, "seed is -1"),
        (lambda: bootstrap.bands(RETURNS, 252, HOW, 90.0), TrimtabError, "such as 0.9"),
        (lambda: bootstrap.block_length(RETURNS[:5]), NotEnoughData, "5 returns"),
        (lambda: bootstrap.block_length([math.nan] * 20), TrimtabError, "finite"),
        (lambda: superior(RETURNS, HOW), TrimtabError, r"\(T, K\)"),
        (lambda: superior(models(0)[:8], HOW), NotEnoughData, "8 periods"),
        (lambda: superior(np.zeros((50, 2)), HOW), TrimtabError, "model 0 differs from the benchmark by 0 in every"),
        (lambda: superior(np.c_[models(0)[:, 0], np.full(200, 0.01)], HOW), TrimtabError, "model 1 differs"),
        (lambda: superior(np.full((50, 2), np.inf), HOW), TrimtabError, r"differences\[0, 0\]"),
    ],
)
def test_refusals(call: object, kind: type[TrimtabError], said: str) -> None:
    with pytest.raises(kind, match=said):
        call()  # type: ignore[operator]
