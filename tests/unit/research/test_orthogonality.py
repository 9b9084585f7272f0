"""Correlations, bets and contributions against closed forms and planted parts."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.research.backtest import run_spec, spec_of
from trimtab.research.orthogonality import (
    Part,
    Wanted,
    bets_by_correlation,
    bets_by_entropy,
    contributions,
    orthogonality,
    parts_of_models,
    parts_of_runs,
    wanted_of,
)
from trimtab.types import DAY, Costs, Model, Spec

DAYS = np.arange(1, 401) * DAY


def parts_of(returns: np.ndarray, shares: Any = None) -> list[Part]:
    shares = [1.0] * returns.shape[1] if shares is None else shares
    return [Part(f"p{k}", DAYS[: len(returns)], r, shares[k]) for k, r in enumerate(returns.T)]


# --- bets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 12])
def test_bets_of_independent_and_of_identical_parts(k: int):
    assert bets_by_entropy(np.eye(k)) == pytest.approx(k)
    assert bets_by_entropy(np.ones((k, k))) == pytest.approx(1.0)
    assert bets_by_correlation(0.0, k) == k
    assert bets_by_correlation(1.0, k) == pytest.approx(1.0)
    # m groups of identical parts are m bets to the entropy
    blocks = np.kron(np.eye(3), np.ones((k, k)))
    assert bets_by_entropy(blocks) == pytest.approx(3.0)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
def test_bets_of_equally_correlated_parts_are_their_closed_form(rho: float):
    """Eigenvalues: 1 + (K - 1) rho, and K - 1 times 1 - rho; the variance of the mean is (1 + (K - 1) rho) / K."""
    k = 5
    matrix = np.full((k, k), rho) + (1.0 - rho) * np.eye(k)
    first, rest = (1.0 + (k - 1) * rho) / k, (1.0 - rho) / k
    entropy = -first * math.log(first) - (k - 1) * rest * math.log(rest)
    assert bets_by_entropy(matrix) == pytest.approx(math.exp(entropy))
    mean = np.full(k, 1.0 / k)
    assert bets_by_correlation(rho, k) == pytest.approx(1.0 / (mean @ matrix @ mean))
    assert bets_by_correlation(-0.2, k) == k  # no more than there are


def test_bets_of_records_and_of_copies():
    """Four independent records and three copies of one of them: four bets to the entropy, two clusters fewer."""
    rng = np.random.default_rng(0)
    r = rng.normal(0.0005, 0.01, (400, 4))
    found = orthogonality(parts_of(r), 365.0)
    assert 3.9 < found.bets_entropy <= 4.0
    assert found.clusters == 4
    np.testing.assert_allclose(found.returns, np.corrcoef(r.T), atol=1e-12)
    copies = orthogonality(parts_of(np.column_stack((r[:, :1], r[:, :1], r[:, :1]))), 365.0)
    assert copies.bets_entropy == pytest.approx(1.0, abs=1e-6)
    assert copies.bets_correlation == pytest.approx(1.0)
    assert copies.clusters == 1


# --- contributions ---------------------------------------------------------------------------------------------------


def test_contributions_add_up_and_are_derivatives():
    rng = np.random.default_rng(1)
    r = rng.normal((0.001, 0.0002, -0.0003), (0.01, 0.02, 0.005), (400, 3))
    share = np.array([0.5, 0.2, 0.3])

    def sharpe(w: np.ndarray) -> float:
        book = r @ w
        return float(book.mean() / book.std(ddof=1) * math.sqrt(252))

    whole, (earned, risk, euler, drop_one) = contributions(r, share, 252.0)
    assert whole == pytest.approx(sharpe(share))
    assert earned.sum() == pytest.approx(whole)
    assert risk.sum() == pytest.approx(1.0)
    assert euler.sum() == pytest.approx(0.0, abs=1e-12)
    for k in range(3):
        step = 1e-6 * np.eye(3)[k]
        derivative = (sharpe(share + step) - sharpe(share - step)) / 2e-6
        assert euler[k] == pytest.approx(share[k] * derivative, rel=1e-6)
        assert drop_one[k] == pytest.approx(whole - sharpe(np.where(np.arange(3) == k, 0.0, share)))


def test_of_independent_equal_parts_each_adds_by_the_square_root():
    """K parts of one Sharpe S make a book of sqrt(K) S; without one it is sqrt(K - 1) S."""
    rng = np.random.default_rng(2)
    q, _ = np.linalg.qr(np.column_stack((np.ones(400), rng.normal(size=(400, 4)))))
    r = q[:, 1:] * 0.2 + 0.001  # exactly uncorrelated, of one mean and deviation
    found = orthogonality(parts_of(r), 365.0)
    alone = found.parts[0].sharpe
    assert found.sharpe == pytest.approx(2.0 * alone, rel=1e-9)
    for part in found.parts:
        assert part.drop_one == pytest.approx((2.0 - math.sqrt(3.0)) * alone, rel=1e-9)
        assert (part.risk, part.euler) == (pytest.approx(0.25), pytest.approx(0.0, abs=1e-9))
    assert found.bets_entropy == pytest.approx(4.0, rel=1e-9)


def test_shares_and_the_risk_free_rate_count():
    rng = np.random.default_rng(3)
    r = rng.normal(0.001, 0.01, (400, 2))
    found = orthogonality(parts_of(r, [3.0, 1.0]), 365.0, rate=0.05)
    excess = (r - (1.05 ** (1 / 365.0) - 1.0)) @ [0.75, 0.25]
    assert found.sharpe == pytest.approx(excess.mean() / excess.std(ddof=1) * math.sqrt(365))
    assert [part.share for part in found.parts] == [0.75, 0.25]


def test_a_part_that_never_moves_is_no_bet():
    rng = np.random.default_rng(4)
    r = np.column_stack((rng.normal(0.001, 0.01, (400, 2)), np.zeros(400)))
    found = orthogonality(parts_of(r), 365.0)
    assert found.bets_entropy <= 2.0
    assert found.clusters == 2
    assert np.isnan(found.returns[2]).all()
    assert math.isnan(found.parts[2].sharpe)
    assert found.parts[2].drop_one == pytest.approx(0.0, abs=1e-12)
    still = orthogonality(parts_of(np.zeros((40, 2))), 365.0)
    assert math.isnan(still.sharpe)
    assert math.isnan(still.bets_entropy)


def test_parts_are_compared_on_their_common_days():
    rng = np.random.default_rng(5)
    r = rng.normal(0.001, 0.01, 400)
    early, late = Part("early", DAYS[:300], r[:300], 1.0), Part("late", DAYS[200:], r[200:], 1.0)
    found = orthogonality([early, late], 365.0)
    assert (found.first, found.last, found.days) == (DAYS[200], DAYS[299], 100)
    assert found.returns[0, 1] == pytest.approx(1.0)
    with pytest.raises(tt.NotEnoughData, match="20 days in common, 30 are needed"):
        orthogonality([early, late._replace(ts=DAYS[280:], returns=r[280:])], 365.0)
    with pytest.raises(tt.TrimtabError, match="two or more"):
        orthogonality([early], 365.0)


# --- forecasts -------------------------------------------------------------------------------------------------------


def test_forecasts_are_compared_where_both_have_one():
    rng = np.random.default_rng(6)
    r = rng.normal(0.0, 0.01, (40, 4))
    ts = np.arange(1, 101) * DAY
    x = rng.normal(size=(100, 2))
    y = 0.6 * x + 0.8 * rng.normal(size=(100, 2))
    y[:30, 1] = np.nan
    a = Wanted(ts, ("A", "B"), x)
    b = Wanted(ts[10:], ("B", "A", "C"), np.column_stack((y[10:, 1], y[10:, 0], np.zeros(90))))
    c = Wanted(ts, ("Z",), x[:, :1])
    parts = [part._replace(wanted=w) for part, w in zip(parts_of(r), (a, b, c, None), strict=True)]
    found = orthogonality(parts, 365.0)
    pooled = np.corrcoef(np.append(x[10:, 0], x[30:, 1]), np.append(y[10:, 0], y[30:, 1]))[0, 1]
    assert found.forecasts[0, 1] == pytest.approx(pooled)
    assert ("p0", "p2", "no instrument in common") in found.unknown
    assert ("p0", "p3", "what it wanted is not known") in found.unknown
    assert math.isnan(found.forecasts[2, 3])


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def panel() -> tt.Panel:
    rng = np.random.default_rng(7)
    frames = {}
    for symbol in ("S", "T"):
        close = 100.0 * np.exp(np.cumsum(rng.normal(0.0005, 0.02, 500)))
        opened = np.concatenate(([100.0], close[:-1]))
        frames[symbol] = pl.DataFrame(
            {
                "open_time": np.datetime64("2020-01-01", "us") + np.arange(500) * np.timedelta64(1, "D"),
                "open": opened,
                "high": np.maximum(opened, close) * 1.001,
                "low": np.minimum(opened, close) * 0.999,
                "close": close,
                "volume": np.full(500, 1e6),
            }
        )
    return tt.Panel.from_frames(frames, "1d", [tt.Instrument(symbol=s) for s in frames])


def book(panel: tt.Panel) -> Spec:
    models = (
        Model(strategy="sma_cross", params={"fast": 5, "slow": 20, "short": True}, budget=0.6),
        Model(strategy="sma_cross", name="again", params={"fast": 5, "slow": 20, "short": True}, budget=0.3),
    )
    spec = spec_of("sma_cross", panel)
    return msgspec.structs.replace(spec, models=models, costs=Costs(taker_fee=0.001))


def test_two_equal_models_of_a_book_are_one_bet(panel: tt.Panel):
    parts, periods = parts_of_models(run_spec(book(panel), panel))
    assert [part.share for part in parts] == pytest.approx([2 / 3, 1 / 3])
    found = orthogonality(parts, periods)
    assert found.names == ("sma_cross", "again")
    assert found.returns[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert found.forecasts[0, 1] == pytest.approx(1.0)
    assert found.bets_entropy == pytest.approx(1.0, abs=1e-3)


def test_what_a_run_wanted_stands_until_it_changes(panel: tt.Panel):
    run = run_spec(book(panel), panel)
    wanted, second = wanted_of(run, [0, 1]).weights, wanted_of(run, [1]).weights
    for row, model, i, value in list(zip(*run.fold.weights, strict=True))[:50]:
        if model == 1:
            assert second[row, i] == value
            assert wanted[row, i] == pytest.approx(3.0 * value)
    assert np.isnan(wanted[:19]).all()
    assert np.isfinite(wanted[30:]).all()


def test_runs_are_equal_parts(panel: tt.Panel):
    runs = [(name, run_spec(spec_of(name, panel), panel)) for name in ("sma_cross", "buy_and_hold")]
    parts, periods = parts_of_runs(runs)
    found = orthogonality(parts, periods)
    assert periods == 365.0
    assert [part.share for part in found.parts] == [0.5, 0.5]
    for part, (_, run) in zip(found.parts, runs, strict=True):
        assert part.sharpe == pytest.approx(run.metrics["net"]["sharpe"], rel=1e-9)
    assert "never changes" in found.unknown[0][2]
    lost = run_spec(msgspec.structs.replace(spec_of("buy_and_hold", ruined(), {"weight": -1.0})), ruined())
    with pytest.raises(tt.TrimtabError, match="short lost all"):
        parts_of_runs([*runs, ("short", lost)])


def ruined() -> tt.Panel:
    close = np.linspace(100, 400, 60)
    opened = np.concatenate((close[:1], close[:-1]))
    frame = pl.DataFrame(
        {
            "open_time": np.datetime64("2020-01-01", "us") + np.arange(60) * np.timedelta64(1, "D"),
            "open": opened, "high": close, "low": opened, "close": close, "volume": np.full(60, 1e6),
        }
    )  # fmt: skip
    return tt.Panel.from_frames({"S": frame}, "1d", [tt.Instrument(symbol="S")])
