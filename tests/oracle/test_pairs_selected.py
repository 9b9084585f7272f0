"""Automatic pairs: which are found, which are refused, and the whole strategy written a second time on statsmodels."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.tsa.stattools import coint
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from trimtab.strategies import find, params_of
from trimtab.strategies.folding import decisions, forecasts
from trimtab.strategies.pairs_selected import fit
from trimtab.types import DAY, HOUR, NotEnoughData, TrimtabError


def walk(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.cumsum(rng.normal(0.0, 0.015, size))


def follower(rng: np.random.Generator, leader: np.ndarray, slope: float, phi: float = 0.85) -> np.ndarray:
    gap = np.zeros(leader.size)
    for t in range(1, leader.size):
        gap[t] = phi * gap[t - 1] + rng.normal(0.0, 0.004)
    return slope * leader + gap


def universe(seed: int, size: int) -> np.ndarray:
    """Log prices of six: 0 and 3 are tied, 1 and 4 are tied, 2 copies 0, 5 is alone."""
    rng = np.random.default_rng(seed)
    a, b, alone = walk(rng, size), walk(rng, size), walk(rng, size)
    copy = a + rng.normal(0.0, 1e-4, size)
    return np.stack([a, b, copy, follower(rng, a, 0.8), follower(rng, b, 1.2), alone], axis=1) + 4.0


def window_of(logs: np.ndarray) -> np.ndarray:
    return np.exp(logs)[:, :, None]


def p_of(**changed: Any) -> Any:
    return params_of(find("pairs_selected"), changed)


def pairs_in(fitted: Any) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in zip(fitted.first.tolist(), fitted.second.tolist(), strict=True)}


def test_the_tied_ones_are_found_and_the_copy_is_left_out() -> None:
    tied = (frozenset((0, 3)), frozenset((1, 4)))
    seen = [pairs_in(fit(p_of(), window_of(universe(seed, 250)))) for seed in range(10)]
    # Johansen takes a walk without drift for stationary about one time in four (his table is for one with drift): of 20
    # true pairs 15 are expected, and 9 are three standard errors below.
    assert sum(pair in found for found in seen for pair in tied) >= 9
    assert not any(2 in pair for found in seen for pair in found)


def test_what_is_known_of_a_pair_is_that_of_the_window() -> None:
    logs = universe(0, 250)
    found = fit(p_of(), window_of(logs))
    for k in range(found.pairs):
        y, x = logs[:, found.first[k]], logs[:, found.second[k]]
        slope, level = np.polyfit(x, y, 1)
        assert found.hedge[k] == pytest.approx(slope, rel=1e-7)
        assert found.mean[k] == pytest.approx(level, rel=1e-6)
        assert found.deviation[k] == pytest.approx((y - slope * x).std(ddof=1), rel=1e-6)


def test_few_of_many_independent_walks_are_believed() -> None:
    """Ten times 435 tests of which none is true: a selection that believes any of them happens one time in ten."""

    def found(seed: int, **changed: Any) -> int:
        logs = np.stack([walk(np.random.default_rng((seed, n)), 250) for n in range(30)], axis=1)
        return fit(p_of(min_correlation=-1.0, max_pairs=15, **changed), window_of(logs)).pairs

    assert sum(found(seed) > 0 for seed in range(10)) <= 4
    assert all(found(seed, rate=1.0) > 0 for seed in range(10))  # without control


def test_each_rule_can_refuse_the_pair() -> None:
    logs = universe(0, 250)[:, [0, 3]]
    assert fit(p_of(), window_of(logs)).pairs == 1
    for refused in (
        {"min_correlation": 0.999, "max_correlation": 1.0},
        {"max_correlation": 0.51},
        {"min_half_life": 30.0},
        {"max_half_life": 2.5},
    ):
        assert fit(p_of(**refused), window_of(logs)).pairs == 0, refused
    back = np.stack([logs[:, 0], 8.0 - logs[:, 1]], axis=1)
    assert fit(p_of(min_correlation=-1.0), window_of(back)).pairs == 0  # the hedge would be below 0
    rng = np.random.default_rng(3)
    still = np.stack([4.0 + 0.01 * rng.normal(size=250), 4.0 + 0.01 * rng.normal(size=250)], axis=1)
    assert fit(p_of(min_correlation=-1.0, min_half_life=0.0), window_of(still)).pairs == 0  # each comes back by itself
    assert fit(p_of(), window_of(np.stack([logs[:, 0]] * 2, axis=1))).pairs == 0  # the same series twice


def test_instruments_that_cannot_be_tested_are_left_out() -> None:
    x = window_of(universe(0, 250))
    x[3, 4, 0] = np.nan
    assert pairs_in(fit(p_of(), x)) == {frozenset((0, 3))}
    x[:, 1:] = 7.0
    with pytest.raises(NotEnoughData, match="1 of 6 instruments moved in the window; a pair needs two"):
        fit(p_of(), x)


def test_contradictions_are_refused() -> None:
    for changed in ({"exit_z": 2.0}, {"min_correlation": 0.99}, {"min_half_life": 60.0}):
        with pytest.raises(TrimtabError, match="pairs_selected: expected"):
            p_of(**changed)


# --- written a second time -------------------------------------------------------------------------------------------


def selected(p: Any, logs: pd.DataFrame) -> dict[frozenset[int], tuple[int, int, float, float, float]]:
    """Chosen pairs of a window, by statsmodels: legs, hedge, mean and deviation of the spread."""
    correlation = logs.diff().corr().to_numpy()
    names: list[int] = []
    for j in range(logs.shape[1]):
        if all(abs(correlation[i, j]) <= p.max_correlation for i in names):
            names.append(j)
    tested = []
    for i, j in itertools.combinations(names, 2):
        if correlation[i, j] >= p.min_correlation:
            ways = [(coint(logs[a], logs[b], maxlag=p.lags, autolag=None)[1], a, b) for a, b in ((i, j), (j, i))]
            low, a, b = min(ways, key=lambda way: way[0])
            tested.append((min(1.0, 2.0 * low), a, b))
    if not tested:
        return {}
    believed = multipletests([t[0] for t in tested], p.rate, method="fdr_bh")[0]
    chosen: dict[frozenset[int], tuple[int, int, float, float, float]] = {}
    for _, a, b in sorted(t for t, good in zip(tested, believed, strict=True) if good):
        slope, level = np.polyfit(logs[b], logs[a], 1)
        spread = logs[a] - slope * logs[b]
        phi = np.polyfit(spread[:-1], spread[1:], 1)[0]
        life = np.log(2.0) / -np.log(phi) if 0.0 < phi < 1.0 else (np.inf if phi >= 1.0 else 0.0)
        trace = coint_johansen(logs[[a, b]], 0, p.lags)
        tied = trace.lr1[0] > trace.cvt[0, 1] and not trace.lr1[1] > trace.cvt[1, 1]
        free = not any({a, b} & pair for pair in chosen)
        if len(chosen) < p.max_pairs and slope > 0.0 and free and tied and p.min_half_life <= life <= p.max_half_life:
            chosen[frozenset((a, b))] = (a, b, slope, level, spread.std(ddof=1))
    return chosen


def traded(p: Any, ts: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Leg weights (R, L) of the strategy; NaN rows abstain."""

    def edge(instant: int) -> int:
        """The last Monday before it that begins a selection: all of `every` here are whole weeks."""
        weeks = (pd.Timestamp(instant).normalize() - pd.Timestamp("1970-01-05")).days // 7
        return weeks // (p.every // 7)

    logs = pd.DataFrame(np.log(close))
    out = np.full(close.shape, np.nan)
    known: dict[frozenset[int], list[Any]] | None = None  # pair -> [legs and spread, side, held, blocked]
    chosen: dict[frozenset[int], Any] = {}
    for t in range(p.window - 1, len(ts)):
        if edge(ts[t]) != edge(ts[t - 1]):
            chosen = selected(p, logs.iloc[t + 1 - p.window : t + 1].reset_index(drop=True))
            known = {pair: (known or {}).get(pair, [None, 0, 0, False]) for pair in chosen}
        if known is None:
            continue
        out[t] = 0.0
        for pair, state in known.items():
            if not state[1]:
                state[0] = chosen[pair]  # the newest, as soon as it is flat
            (a, b, hedge, mean, deviation), side, held, blocked = state
            z = (logs.iat[t, a] - hedge * logs.iat[t, b] - mean) / deviation
            blocked = blocked and abs(z) >= p.exit_z
            if side:
                held += 1
                if -side * z < p.exit_z:
                    side = 0
                elif -side * z >= p.stop_z or (p.max_holding and held >= p.max_holding):
                    side, blocked = 0, True
            elif not blocked and p.entry_z <= abs(z) < p.stop_z:
                side, held = (-1 if z > 0.0 else 1), 0
            state[1:] = side, held, blocked
            if side:
                ratio = hedge if p.neutral else 1.0
                part = side * p.max_notional / p.max_pairs
                out[t, a] += part / (1.0 + ratio)
                out[t, b] -= part * ratio / (1.0 + ratio)
    return out


@pytest.fixture(scope="module", params=["made", "coins", "stocks"])
def prices(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Closes (R, L) at instants ts (R,)."""
    if request.param == "made":
        return DAY * np.arange(19_000, 20_200, dtype=np.int64), np.exp(universe(7, 1_200))
    shared: Path = request.getfixturevalue("shared")
    if request.param == "coins":
        folder, names, step = shared / "data" / "crypto_binance_2024", ("BTC", "ETH", "SOL", "XRP", "ADA", "LTC"), 4
        files = [folder / f"{name}USDT_1h.parquet" for name in names]
    else:
        folder, names, step = shared / "data" / "equity_us", ("SPY", "IWM", "AAPL", "IBM"), 1
        files = [folder / f"{name}_1d.parquet" for name in names]
    both = pd.concat([pd.read_parquet(file).set_index("open_time")["close"] for file in files], axis=1, join="inner")
    both = both.iloc[step - 1 :: step].iloc[:2_200]
    length = HOUR if step > 1 else DAY
    return both.index.astype("datetime64[ns, UTC]").astype("int64").to_numpy() + length, both.to_numpy(copy=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"window": 250, "every": 14, "entry_z": 1.5},
        {"window": 120, "every": 28, "rate": 0.5, "min_correlation": 0.2, "neutral": 0, "max_holding": 8, "lags": 2},
    ],
)
def test_the_whole_strategy(prices: tuple[np.ndarray, np.ndarray], changed: dict[str, Any]) -> None:
    ts, close = prices
    strategy, p = find("pairs_selected"), p_of(**changed)
    made = decisions(strategy, p, close[:, :, None].copy(), True, ts)
    out = np.full(close.shape, np.nan)
    out[made.row, made.leg] = made.value
    expected = traded(p, ts, close)
    assert np.nanmax(np.abs(expected)) > 0.0
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-12)
    gross = forecasts(strategy, p, close[:, :, None].copy(), ts)
    np.testing.assert_allclose(gross, np.abs(expected).sum(axis=1), rtol=1e-9, atol=1e-12)
