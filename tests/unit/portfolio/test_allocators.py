"""Allocators on returns whose answer is known, and when they look."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from trimtab.portfolio.allocators import ALLOCATORS, Allocator, find_allocator, shares_of
from trimtab.research.allocation import Days, Split, split_of
from trimtab.types import DAY, HOUR, AllocatorUse, NotEnoughData, TrimtabError

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
    returns[:, 1] = 0.001  # a deviation of rounding
    for name in ("inverse_volatility", "equal_risk"):
        np.testing.assert_allclose(shares_of(find_allocator(name), returns), [0.8 * 2 / 3, 1 / 3, 0.2 * 2 / 3])
        np.testing.assert_allclose(shares_of(find_allocator(name), np.zeros((30, 4))), 0.25)


@pytest.mark.parametrize("name", ["hierarchical_risk_parity", "maximum_diversification"])
def test_skfolios(name: str) -> None:
    shares = shares_of(find_allocator(name), made(0.01, 0.02, 0.04))
    assert shares.sum() == pytest.approx(1.0)
    # Nothing is correlated: one is the inverse of the variance, the other of the volatility.
    expected = np.array([4.0, 2.0, 1.0]) ** (2 if name.startswith("hier") else 1)
    np.testing.assert_allclose(shares, expected / expected.sum(), rtol=1e-4)


def test_an_unknown_name_says_the_nearest() -> None:
    with pytest.raises(TrimtabError, match=r"did you mean 'equal_risk'.*expected one of inverse_volatility"):
        find_allocator("equl_risk")
    assert all("Dangerous" in allocator.about for allocator in ALLOCATORS.values())


@pytest.mark.parametrize("name", ALLOCATORS)
def test_whatever_the_window_the_shares_add_up_to_one_and_none_is_negative(name: str) -> None:
    """Few days of many columns, copies and opposites: the covariance has no inverse."""
    rng = np.random.default_rng(3)
    few = rng.normal(0.0, 0.01, (8, 12))
    twice = few[:, [0, 1, 0]]
    against = np.stack([few[:, 0], -few[:, 0], few[:, 1]], axis=1)
    for returns in (few, twice, against, 1e-5 * few, made(0.001, 0.1, correlation=0.99)):
        shares = shares_of(find_allocator(name), returns)
        assert (shares >= 0.0).all()
        assert shares.sum() == pytest.approx(1.0)
        np.testing.assert_array_equal(shares, shares_of(find_allocator(name), returns))


@pytest.mark.parametrize("name", ["hierarchical_risk_parity", "maximum_diversification"])
def test_without_skfolio_it_is_said_before_anything_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skfolio", None)
    free = "inverse_volatility or equal_risk"
    with pytest.raises(TrimtabError, match=rf"needs skfolio.*pip install 'trimtab\[allocation\]', or take {free}"):
        find_allocator(name)
    assert find_allocator("equal_risk").needs == ""


def days(returns: np.ndarray) -> Days:
    return Days(returns, START + DAY * np.arange(1, len(returns) + 1, dtype=np.int64))


def split(returns: np.ndarray, ts: np.ndarray, **changed: Any) -> Split:
    given = {"name": "inverse_volatility", "window": 10, "every": 86_400.0, **changed}
    return split_of(AllocatorUse(**given), days(returns), ts, 0, range(returns.shape[1]))


def test_looks_are_counted_from_the_epoch_and_weeks_from_a_monday() -> None:
    ts = START + 4 * HOUR * np.arange(1, 200, dtype=np.int64)

    def looks(at: np.ndarray, weeks: float = 1.0) -> list[int]:
        return at[split(made(0.01, 0.02, days=60), at, window=5, every=weeks * 7 * 86_400.0).row].tolist()

    assert [t - START for t in looks(ts)] == [7 * DAY * k for k in (1, 2, 3, 4)]
    assert [t - START for t in looks(ts + HOUR)] == [7 * DAY * k + HOUR for k in (1, 2, 3, 4)]
    assert looks(ts[30:]) == [t for t in looks(ts) if t > ts[30]]  # wherever the rows begin
    assert all((t - 4 * DAY) % (14 * DAY) == 0 for t in looks(ts, 2.0))


def test_only_days_that_are_over_are_seen() -> None:
    ts = START + 4 * HOUR * np.arange(1, 601, dtype=np.int64)
    returns = made(0.01, 0.02, days=100)
    found = split(returns, ts)
    allocator = find_allocator("inverse_volatility")
    for row, share in zip(found.row.tolist(), found.share, strict=True):
        over = int((ts[row] - START) // DAY)  # at this close
        np.testing.assert_array_equal(share, shares_of(allocator, returns[over - 10 : over]))
    assert (ts[found.row] - START).tolist() == [DAY * k for k in range(10, 101)]
    other = returns.copy()
    other[50:] *= np.array([3.0, 1.0])
    changed = (split(other, ts).share != found.share).any(axis=1)
    assert changed.argmax() == 51 - 10  # the first look after the 51st day is over


def test_a_factor_is_of_the_part_that_stood_before_and_one_until_the_first_look() -> None:
    ts = START + DAY * np.arange(1, 41, dtype=np.int64)
    found = split(made(0.01, 0.03, days=40), ts, every=10 * 86_400.0)
    factor = found.factor(0, 0.5, len(ts))
    assert (factor[: found.row[0]] == 1.0).all()
    for a, b, share in zip(found.row, [*found.row[1:], len(ts)], found.share[:, 0], strict=True):
        assert (factor[a:b] == share / 0.5).all()


def test_a_part_with_an_unknown_day_keeps_an_equal_share() -> None:
    returns = made(0.01, 0.02, 0.04, days=40)
    returns[20, 2] = np.nan
    ts = START + DAY * np.arange(1, 41, dtype=np.int64)
    share = split(returns, ts).share
    unknown = share[:, 2] == 1 / 3
    assert np.flatnonzero(unknown).tolist() == list(range(11, 21))  # the looks whose window holds day 20
    np.testing.assert_allclose(share.sum(axis=1), 1.0)


def test_a_window_that_is_refused_keeps_the_shares_that_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    def moody(returns: np.ndarray) -> np.ndarray:
        if returns[-1, 0] > 0.0:
            raise NotEnoughData("not today")
        return np.abs(returns[-1])

    monkeypatch.setitem(ALLOCATORS, "moody", Allocator("moody", "", moody))  # type: ignore[arg-type]
    returns, ts = made(0.01, 0.02, days=40), START + DAY * np.arange(1, 41, dtype=np.int64)
    found = split(returns, ts, name="moody")
    refuses = returns[9:, 0] > 0.0
    assert [r.ts for r in found.refused] == ts[9:][refuses].tolist()
    assert {r.reason for r in found.refused} == {"not today"}
    expected = np.array([0.5, 0.5])
    for last, refused, share in zip(returns[9:], refuses, found.share, strict=True):
        expected = expected if refused else np.abs(last) / np.abs(last).sum()
        np.testing.assert_array_equal(share, expected)
    monkeypatch.setitem(ALLOCATORS, "lost", Allocator("lost", "", lambda r: r[0] * np.nan))  # type: ignore[arg-type]
    assert len(split(returns, ts, name="lost").refused) == 31
