"""Allocators on returns whose answer is known, and when they look."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from trimtab.portfolio.allocators import ALLOCATORS, find_allocator, shares_of
from trimtab.research.allocation import allocated, looks
from trimtab.types import DAY, HOUR, AllocatorUse, TrimtabError

START = 1_704_067_200 * 10**9  # 2024-01-01, a Monday


def made(*vols: float, days: int = 400, correlation: float = 0.0, seed: int = 1) -> np.ndarray:
    """Returns whose sample moments are these exactly; the first two are correlated."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(days, len(vols)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False)).T)
    rho = np.eye(len(vols))
    rho[0, 1] = rho[1, 0] = correlation
    return white @ np.linalg.cholesky(rho).T * np.array(vols)


def test_inverse_volatility() -> None:
    shares = shares_of(find_allocator("inverse_volatility"), made(0.01, 0.02, 0.04))
    np.testing.assert_allclose(shares, np.array([4.0, 2.0, 1.0]) / 7.0, rtol=1e-12)


def test_equal_risk_is_inverse_volatility_where_nothing_is_correlated_and_for_two() -> None:
    equal, inverse = find_allocator("equal_risk"), find_allocator("inverse_volatility")
    for returns in (made(0.01, 0.02, 0.04), made(0.01, 0.03, correlation=0.7)):
        np.testing.assert_allclose(shares_of(equal, returns), shares_of(inverse, returns), rtol=1e-9)


def test_contributions_to_the_variance_are_equal() -> None:
    returns = made(0.01, 0.02, 0.03, 0.01, correlation=0.8)
    shares = shares_of(find_allocator("equal_risk"), returns)
    risk = shares * (np.cov(returns, rowvar=False) @ shares)
    np.testing.assert_allclose(risk, risk.mean(), rtol=1e-9)
    assert shares[0] < shares[3]  # the same volatility, but it moves with another


def test_what_stood_still_keeps_an_equal_part() -> None:
    returns = made(0.01, 0.02, 0.04)
    returns[:, 1] = 0.0
    for name in ("inverse_volatility", "equal_risk"):
        np.testing.assert_allclose(shares_of(find_allocator(name), returns), [0.8 * 2 / 3, 1 / 3, 0.2 * 2 / 3])
        np.testing.assert_allclose(shares_of(find_allocator(name), np.zeros((30, 4))), 0.25)


@pytest.mark.parametrize("name", ["hierarchical_risk_parity", "maximum_diversification"])
def test_skfolios(name: str) -> None:
    if importlib.util.find_spec("skfolio") is None:
        with pytest.raises(TrimtabError, match=r"needs skfolio .*pip install 'trimtab\[allocators\]'"):
            shares_of(find_allocator(name), made(0.01, 0.02, 0.04))
        pytest.skip("skfolio is not installed")
    shares = shares_of(find_allocator(name), made(0.01, 0.02, 0.04))
    assert shares.sum() == pytest.approx(1.0)
    # Nothing is correlated: one is the inverse of the variance, the other of the volatility.
    expected = np.array([4.0, 2.0, 1.0]) ** (2 if name.startswith("hier") else 1)
    np.testing.assert_allclose(shares, expected / expected.sum(), rtol=0.02)


def test_an_unknown_name_says_the_nearest() -> None:
    with pytest.raises(TrimtabError, match=r"did you mean 'equal_risk'.*expected one of inverse_volatility"):
        find_allocator("equl_risk")
    assert all("Dangerous" in allocator.about for allocator in ALLOCATORS.values())


def test_looks_are_counted_from_the_epoch_and_weeks_from_a_monday() -> None:
    ts = START + 4 * HOUR * np.arange(1, 200, dtype=np.int64)
    assert (ts[looks(ts, 7 * DAY)] - START).tolist() == [7 * DAY * k for k in (1, 2, 3, 4)]
    late = ts + HOUR
    assert (late[looks(late, 7 * DAY)] - START).tolist() == [7 * DAY * k + HOUR for k in (1, 2, 3, 4)]
    assert set(ts[30:][looks(ts[30:], 7 * DAY)]) <= set(ts[looks(ts, 7 * DAY)])


def test_only_days_that_are_over_are_seen() -> None:
    ts = START + 4 * HOUR * np.arange(1, 601, dtype=np.int64)
    ends = ts[5::6]  # each closes at midnight
    returns = made(0.01, 0.02, days=100)
    use = AllocatorUse(name="inverse_volatility", window=10, every=86_400.0)
    found = allocated(use, returns, ends, ts)
    allocator = find_allocator("inverse_volatility")
    for row in range(len(ts)):
        days = int((ts[row] - START) // DAY)  # over at this close
        if days < 10:
            assert np.isnan(found[row]).all()
        else:
            np.testing.assert_array_equal(found[row], shares_of(allocator, returns[days - 10 : days]))
    other = returns.copy()
    other[50:] *= 3.0
    np.testing.assert_array_equal(allocated(use, other, ends, ts)[: 6 * 51 - 1], found[: 6 * 51 - 1])
