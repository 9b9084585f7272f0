"""The court before noise and before an edge that is known: it passes as often as it says that it does.

A share measured on seeds 0, 1, 2, … is compared with one that is computed, in standard errors of their difference. By
day a comparison may be 4 of them off: a right one fails in 1 of 16,000, and one that is 6 off passes in 2 of 100. By
night there are more draws: none may be 4 off, and at most 4 of the 24 shares of noise more than 2. Were they
independent, right ones would break that in 1 of 200 nights, and shares that are 2 off by themselves keep it in 1 of
1,000.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from trimtab.portfolio.sizing.edges import Estimate
from trimtab.portfolio.sizing.paths import estimate
from trimtab.research.inference import bootstrap, calibration, sharpe
from trimtab.research.inference.bootstrap import Resampling
from trimtab.research.inference.calibration import VOLATILITY, Family, Noise, clustered, independent, shuffled
from trimtab.research.inference.sharpe import Moments
from trimtab.types import TrimtabError

REACH = 4.0


def off(found: Estimate, expected: Estimate, repeats: int) -> float:
    """Standard errors between a measured share and the computed one; that of the share from the computed one."""
    p = expected.value
    return (found.value - p) / math.sqrt(p * (1.0 - p) / repeats + expected.error**2)


def index_returns(shared: Path) -> np.ndarray:
    """Daily price returns of a real index fund: some 4,300 days with two crashes in them."""
    import polars as pl

    close = pl.read_parquet(shared / "data" / "equity_us" / "SPY_1d.parquet").sort("open_time")["close"].to_numpy()
    return close[1:] / close[:-1] - 1.0


# --- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise", [independent, clustered, shuffled(np.random.default_rng(0).standard_t(4, 900) / 50, 9.0)]
)
def test_noise_has_no_mean_the_stated_deviation_and_the_same_draws_for_a_seed(noise: Noise) -> None:
    one, other = (noise(np.random.default_rng(5), 1_000, 40) for _ in range(2))
    assert np.array_equal(one, other)
    assert one.shape == (1_000, 40)
    assert one.mean() == pytest.approx(0.0, abs=REACH * VOLATILITY / 200)
    assert one.std() == pytest.approx(VOLATILITY, rel=0.05)
    rho = np.corrcoef(one.T)[np.triu_indices(40, 1)]
    assert np.abs(rho).max() < 0.2
    assert not np.array_equal(one, noise(np.random.default_rng(6), 1_000, 40))


def test_clustered_noise_is_clustered_and_shuffled_noise_keeps_it() -> None:
    def memory(x: np.ndarray) -> float:
        return float(np.corrcoef(x[:-1] ** 2, x[1:] ** 2)[0, 1])

    source = clustered(np.random.default_rng(0), 20_000, 1)[:, 0]
    assert memory(source) > 0.1
    assert memory(shuffled(source, 50.0)(np.random.default_rng(0), 20_000, 1)[:, 0]) > 0.1
    assert abs(memory(shuffled(source, 1.0)(np.random.default_rng(0), 20_000, 1)[:, 0])) < 0.03


# --- deflated Sharpe -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("trials", [1, 2, 12])
def test_noise_passes_as_often_as_computed(trials: int, confidence: float) -> None:
    """0.95 is what counts, and with many trials so rare that only lower levels can show a mistake."""
    family = Family(trials, 250)
    found = calibration.deflated_pass_rate(independent, family, 600, confidence)
    assert abs(off(found, calibration.computed_pass_rate(family, confidence, 50_000), 600)) < REACH


def test_twelve_strategies_on_noise_are_not_passed_as_a_family() -> None:
    """Far below 5%: the best of twelve has to beat what the best of twelve shows, and that at 95%."""
    assert calibration.computed_pass_rate(Family(12, 500)).value < 0.001
    for noise in (independent, clustered):
        assert calibration.deflated_pass_rate(noise, Family(12, 250), 200).value <= 0.01


def test_real_returns_by_the_toss_of_a_coin_pass_as_often_as_noise(shared: Path) -> None:
    noise = shuffled(index_returns(shared), 20.0)
    for trials, confidence in ((1, 0.8), (5, 0.5)):
        family = Family(trials, 500)
        found = calibration.deflated_pass_rate(noise, family, 300, confidence)
        assert abs(off(found, calibration.computed_pass_rate(family, confidence, 50_000), 300)) < REACH


def test_a_single_trial_is_passed_at_one_minus_the_confidence() -> None:
    assert calibration.computed_pass_rate(Family(1, 500), 0.95) == pytest.approx((0.05, 0.0))
    by_draws = calibration.computed_pass_rate(Family(1, 10_000, 1e-9), 0.95)
    assert by_draws.value == pytest.approx(0.05, abs=REACH * by_draws.error)


@pytest.mark.parametrize("edge", [0.05, 0.12, 0.2])
def test_an_edge_is_passed_as_often_as_its_power_says(edge: float) -> None:
    """A court that always says no fails here: the powers are 0.30, 0.85 and 0.997."""
    truth = Moments(500, edge)
    found = calibration.edge_pass_rate(independent, truth, 1_000)
    # The law of the estimate is normal to some 0.002.
    assert abs(off(found, Estimate(sharpe.power(truth), 0.002), 1_000)) < REACH


def test_an_edge_among_noise_is_passed_as_often_as_computed() -> None:
    for family in (Family(5, 500, 0.15), Family(20, 500, 0.2)):
        expected = calibration.computed_pass_rate(family, draws=50_000)
        assert 0.1 < expected.value < 0.9
        assert abs(off(calibration.deflated_pass_rate(independent, family, 500), expected, 500)) < REACH


# --- overfitting and superiority -------------------------------------------------------------------------------------


def test_overfitting_of_noise_is_a_half_and_of_an_edge_nearly_none() -> None:
    found = calibration.mean_overfitting(independent, Family(10, 64), 6, 300)
    assert abs(found.value - 0.5) < REACH * found.error
    assert found.error == pytest.approx(0.23 / math.sqrt(300), rel=0.15)  # one value has a deviation of 0.23
    assert calibration.mean_overfitting(independent, Family(10, 500, 0.3), 6, 20).value < 0.02


def test_superiority_of_noise_is_found_at_its_level_and_an_edge_most_often() -> None:
    family, how = Family(6, 150), Resampling(2.0, 299)
    found = calibration.rejection_rate(independent, family, how, 300)
    for name in ("reality", "consistent", "upper"):
        assert abs(off(getattr(found, name), Estimate(0.05), 300)) < REACH, name
    assert found.upper.value <= found.consistent.value <= found.lower.value
    edge = calibration.rejection_rate(independent, family._replace(edge=0.3), how, 60)
    assert edge.consistent.value > 0.7


@pytest.mark.parametrize("family", [Family(0, 100), Family(3, 2)])
def test_no_family(family: Family) -> None:
    with pytest.raises(TrimtabError, match="expected one trial or more"):
        calibration.deflated_pass_rate(independent, family, 10)


def test_no_rate_of_a_single_draw_and_no_noise_of_a_constant() -> None:
    with pytest.raises(TrimtabError, match="repeats is 1"):
        calibration.mean_overfitting(independent, Family(3, 100), 4, 1)
    with pytest.raises(TrimtabError, match="nothing to shuffle"):
        shuffled(np.zeros(50), 5.0)


# --- at full size ----------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_every_kind_of_noise_passes_as_often_as_computed(shared: Path) -> None:
    gaps: dict[tuple[str, int, float], float] = {}
    kinds: dict[str, Noise] = {
        "independent": independent, "clustered": clustered, "shuffled": shuffled(index_returns(shared), 20.0),
    }  # fmt: skip
    for trials in (1, 2, 12, 50):
        family = Family(trials, 1_000)
        found = {name: calibration.deflated_sharpes(noise, family, 4_000) for name, noise in kinds.items()}
        for confidence in (0.5, 0.95):
            expected = calibration.computed_pass_rate(family, confidence, 1_000_000)
            for name, dsr in found.items():
                gaps[name, trials, confidence] = off(estimate(dsr >= confidence), expected, 4_000)
    assert max(map(abs, gaps.values())) < REACH, gaps
    assert sum(abs(gap) > 2.0 for gap in gaps.values()) <= 4, gaps


@pytest.mark.nightly
def test_every_edge_is_passed_as_often_as_its_power_says() -> None:
    gaps: dict[tuple[float, float], float] = {}
    for edge in (0.02, 0.05, 0.08, 0.12):
        for benchmark in (0.0, sharpe.hurdle(12, 1.0 / 1_000)):
            truth = Moments(1_000, edge)
            found = calibration.edge_pass_rate(independent, truth, 20_000, benchmark)
            gaps[edge, benchmark] = off(found, Estimate(sharpe.power(truth, benchmark), 0.002), 20_000)
    assert max(map(abs, gaps.values())) < REACH, gaps
    assert sum(abs(gap) > 2.0 for gap in gaps.values()) <= 2, gaps


@pytest.mark.nightly
@pytest.mark.parametrize("noise", [independent, clustered])
def test_overfitting_centres_on_a_half_and_superiority_keeps_its_level(noise: Noise) -> None:
    found = calibration.mean_overfitting(noise, Family(20, 500), 16, 300)
    assert abs(found.value - 0.5) < REACH * found.error
    rates = calibration.rejection_rate(noise, Family(12, 500), Resampling(2.0, 999), 2_000)
    for name in ("reality", "consistent", "upper"):
        assert abs(off(getattr(rates, name), Estimate(0.05), 2_000)) < REACH, name


@pytest.mark.nightly
def test_block_lengths_of_noise_are_short() -> None:
    lengths = bootstrap.block_length(independent(np.random.default_rng(0), 1_000, 200))
    assert float(np.median(lengths)) < 4.0
