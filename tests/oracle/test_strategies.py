"""Strategies against a second writing of their rules, on whole columns, over random and real prices.

These transcriptions share no code with the package: windows are cut by pandas, lines are fitted by scipy, and only the
side that is held is carried from row to row.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numba import njit
from scipy import stats

from trimtab.strategies import find, params_of


@functools.cache
def compiled_fold(init: Any, step: Any) -> Any:
    @njit
    def fold(p, x):
        s, out = init(p), np.empty(x.shape[0])
        for t in range(x.shape[0]):
            s, out[t] = step(p, s, x[t])
        return out

    return fold


def forecasts(name: str, close: np.ndarray, changed: dict[str, Any]) -> np.ndarray:
    """Forecasts (T,) over closes (T,) or (T, L)."""
    strategy = find(name)
    x = close.reshape(close.shape[0], strategy.n_legs, 1)
    return compiled_fold(strategy.init, strategy.step)(params_of(strategy, changed), x)


def equity(shared: Path, symbol: str) -> pd.Series:
    """Raw daily closes: splits and dividends are jumps, which are as good a test as any."""
    folder = shared / "data" / "equity_us"
    return pd.read_parquet(folder / f"{symbol}_1d.parquet").set_index("open_time")["close"]


@pytest.fixture(scope="module", params=["random", "coarse", "SPY", "IBM", "BTCEUR"])
def close(request: pytest.FixtureRequest) -> np.ndarray:
    rng = np.random.default_rng(11)
    if request.param in ("random", "coarse"):
        walk = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.015, 4_000)))
        return walk if request.param == "random" else np.round(walk)  # coarse: many ties
    shared: Path = request.getfixturevalue("shared")
    if request.param == "BTCEUR":
        return pd.read_parquet(shared / "data/crypto_bitvavo/BTCEUR_1h.parquet")["close"].to_numpy(copy=True)[:8_000]
    return equity(shared, request.param).to_numpy(copy=True)


def ticks(close: np.ndarray) -> np.ndarray:
    return np.round(close * 100.0)


@pytest.mark.parametrize("changed", [{}, {"fast": 5, "slow": 13, "short": True}, {"fast": 50, "slow": 200}])
def test_sma_cross(close: np.ndarray, changed: dict[str, Any]) -> None:
    p = params_of(find("sma_cross"), changed)
    price = pd.Series(ticks(close)).astype("int64")
    fast, slow = (price.rolling(n).sum() for n in (p.fast, p.slow))
    sign = np.sign(p.slow * fast - p.fast * slow)  # float64 sums of integers: exact
    side = sign.replace({0.0: np.nan}).ffill().fillna(0.0).where(sign.notna())
    expected = side if p.short else side.clip(lower=0.0)
    np.testing.assert_array_equal(forecasts("sma_cross", price.to_numpy(float), changed), expected)


@pytest.mark.parametrize("changed", [{}, {"trend": 50, "exit": 10, "momentum": 20, "rerank": 5}])
def test_equity_trend(close: np.ndarray, changed: dict[str, Any]) -> None:
    p = params_of(find("equity_trend"), changed)
    price = pd.Series(ticks(close))
    rise = 1.0 - price.shift(p.momentum) / price
    above = price * p.trend > price.rolling(p.trend).sum()
    under = price * p.exit < price.rolling(p.exit).sum()
    warm = max(p.trend - 1, p.momentum)
    expected, entered = [np.nan] * warm, -1
    for t in range(warm, len(price)):
        if entered >= 0 and under[t]:
            entered = -1
        elif entered < 0 and above[t] and rise[t] > 0.0 and not under[t]:
            entered = t
        if entered < 0:
            expected.append(0.0)
            continue
        taken = entered if not p.rerank else t - (t - entered) % p.rerank
        expected.append(rise[taken] if rise[taken] > 0.0 else 1e-9)
    assert np.nanmax(expected) > 0.0
    np.testing.assert_allclose(forecasts("equity_trend", price.to_numpy(), changed), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("changed", [{}, {"short": True, "entry_rsi": 15.0, "exit_rsi": 80.0, "width": 1.5}])
def test_index_mean_reversion(close: np.ndarray, changed: dict[str, Any]) -> None:
    p = params_of(find("index_mean_reversion"), changed)
    price = pd.Series(close)
    # Wilder's averages seeded with a mean: ewm on changes whose first entry is the mean of the first two.
    change = price.diff().iloc[1:]
    averages = []
    for part in (change.clip(lower=0.0), (-change).clip(lower=0.0)):
        seeded = pd.concat([pd.Series([part.iloc[: p.rsi_length].mean()]), part.iloc[p.rsi_length :]])
        averages.append(seeded.ewm(alpha=1.0 / p.rsi_length, adjust=False).mean().to_numpy())
    gain, loss = averages
    with np.errstate(invalid="ignore"):
        rsi = np.concatenate([np.full(p.rsi_length, np.nan), 100.0 - 100.0 * loss / (gain + loss)])
    middle = price.rolling(p.window).mean().to_numpy()
    reach = p.width * price.rolling(p.window).apply(lambda w: np.std(w), raw=True).to_numpy()
    expected, side = [], 0
    for t, c in enumerate(close):
        if side == 0:
            if rsi[t] < p.entry_rsi and c < middle[t] - reach[t]:
                side = 1
            elif p.short and rsi[t] > 100.0 - p.entry_rsi and c > middle[t] + reach[t]:
                side = -1
        elif (side == 1 and (rsi[t] > p.exit_rsi or c > middle[t])) or (
            side == -1 and (rsi[t] < 100.0 - p.exit_rsi or c < middle[t])
        ):
            side = 0
        expected.append(float(side) if t >= p.window - 1 else np.nan)
    assert {0.0, 1.0} <= set(expected[p.window :])
    out = forecasts("index_mean_reversion", close, changed)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
    # Where the close is the mean to the last bit, rounding decides, and a side can differ until the next exit.
    differs = out[p.window :] != np.array(expected[p.window :])
    ties = np.abs(close - middle)[p.window :] < 1e-12 * close[p.window :]
    assert differs.mean() <= (2e-3 if ties.any() else 0.0)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"lookback": 60, "vol_window": 20, "band": 0.0, "periods": 365},
        {"long_only": True},
        {"entry_z": 1.0, "full_z": 2.0, "lookback": 120},
        {"full_z": 1.5, "lookback": 40, "band": 0.02},
        {"entry_z": 0.5, "lookback": 20, "long_only": True},
    ],
)
def test_momentum(close: np.ndarray, changed: dict[str, Any]) -> None:
    p = params_of(find("momentum"), changed)
    price = pd.Series(close)
    vol = price.pct_change().ewm(com=p.vol_window).std(bias=True) * np.sqrt(p.periods)
    sign = np.sign(price - price.shift(p.lookback))
    target = (sign.clip(lower=0.0) if p.long_only else sign) * np.minimum(1.0, p.vol_target / vol)
    score = np.log(price / price.shift(p.lookback)).abs() / (vol / np.sqrt(p.periods) * np.sqrt(p.lookback))
    if p.full_z:
        target = target * (score / p.full_z).clip(upper=1.0)
    warm = max(p.lookback, p.vol_window)
    expected = [np.nan] * warm
    for t in range(warm, len(price)):
        last = expected[-1]
        enough = p.entry_z / 2 if np.sign(target[t]) == np.sign(last) else p.entry_z
        goal = target[t] if score[t] >= enough else 0.0
        keep = np.sign(goal) == np.sign(last) and abs(goal - last) <= p.band
        expected.append(last if keep else goal)
    np.testing.assert_allclose(forecasts("momentum", close, changed), expected, rtol=1e-9)


def pair_scores(first: np.ndarray, second: np.ndarray, lookback: int) -> tuple[np.ndarray, Any]:
    """Rolling slope of log closes by scipy, and z(t, hedge) by numpy."""
    y, x = np.log(first), np.log(second)
    hedges = np.full(y.size, np.nan)
    for t in range(lookback - 1, y.size):
        hedges[t] = stats.linregress(x[t - lookback + 1 : t + 1], y[t - lookback + 1 : t + 1]).slope

    def z(t: int, hedge: float) -> float:
        spread = (y - hedge * x)[t - lookback + 1 : t + 1]
        return float((spread[-1] - spread.mean()) / spread.std(ddof=1))

    return hedges, z


def pair_forecasts(p: Any, first: np.ndarray, second: np.ndarray) -> list[float]:
    rolling, z_of = pair_scores(first, second, p.lookback)
    side, since, frozen, waiting, out = 0, 0, 0.0, False, [np.nan] * (p.lookback - 1)
    for t in range(p.lookback - 1, first.size):
        fresh = p.hedge_ratio or rolling[t]
        hedge = frozen if side and not (p.rehedge and fresh > 0.0) else fresh
        z = z_of(t, hedge)
        frozen = hedge
        waiting = waiting and abs(z) >= p.exit_z
        if side:
            if -side * z < p.exit_z:
                side = 0
            elif -side * z >= p.stop_z or (p.max_holding and t - since >= p.max_holding):
                side, waiting = 0, True
        elif not waiting and hedge > 0.0 and p.entry_z <= abs(z) < p.stop_z:
            side, since = (-1 if z > 0.0 else 1), t
        out.append(side * p.max_notional)
    return out


@pytest.fixture(scope="module", params=["random", "SPY-IWM", "BTC-ETH"])
def pair(request: pytest.FixtureRequest) -> np.ndarray:
    rng = np.random.default_rng(12)
    if request.param == "random":
        common = np.cumsum(rng.normal(0.0, 0.01, 1_500))
        gap = np.zeros(1_500)
        for t in range(1, 1_500):
            gap[t] = 0.93 * gap[t - 1] + rng.normal(0.0, 0.01)
        return np.exp(np.stack([4.0 + 1.3 * common + gap, 3.0 + common], axis=1))
    shared: Path = request.getfixturevalue("shared")
    if request.param == "SPY-IWM":
        both = [equity(shared, symbol) for symbol in ("SPY", "IWM")]
    else:
        folder = shared / "data" / "crypto_bitvavo"
        both = [pd.read_parquet(folder / f"{s}EUR_1h.parquet").set_index("open_time")["close"] for s in ("BTC", "ETH")]
    return pd.concat(both, axis=1, join="inner").to_numpy(copy=True)[:1_500]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"lookback": 30, "hedge_ratio": 1.0, "entry_z": 1.5, "exit_z": 0.0, "stop_z": 2.5, "max_holding": 0},
        {"lookback": 40, "rehedge": True, "max_holding": 8, "max_notional": 0.5},
    ],
)
def test_pairs_reversion(pair: np.ndarray, changed: dict[str, Any]) -> None:
    p = params_of(find("pairs_reversion"), changed)
    expected = pair_forecasts(p, pair[:, 0], pair[:, 1])
    assert {0.0, p.max_notional} <= set(np.abs(expected))
    np.testing.assert_array_equal(forecasts("pairs_reversion", pair, changed), expected)


def test_buy_and_hold(close: np.ndarray) -> None:
    np.testing.assert_array_equal(forecasts("buy_and_hold", close, {}), np.ones(close.size))
