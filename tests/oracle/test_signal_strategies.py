"""The strategies on volatility, volume, order and range, against a second writing of their rules.

numpy, scipy and pandas alone; of the package only the bound of the entropy, which test_signals.py holds against noise.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from scipy.signal import lfilter

from trimtab.kernels.ordinal import entropy_bound
from trimtab.strategies import find, params_of
from trimtab.strategies.folding import forecasts
from trimtab.strategies.indicators import Origin
from trimtab.types import HOUR

ROWS = 1_500
#: Hours: what is due every so many of them is due at their multiples.
TS = HOUR * np.arange(1, ROWS + 1, dtype=np.int64)


@pytest.fixture(scope="module", params=["made", "BTCEUR"])
def bars(request: pytest.FixtureRequest) -> pd.DataFrame:
    """Bars with clusters, a cycle, ties, a jump and volume that comes in bursts, some of it 0; or of a coin."""
    if request.param == "BTCEUR":
        shared: Path = request.getfixturevalue("shared")
        return pd.read_parquet(shared / "data/crypto_bitvavo/BTCEUR_1h.parquet").head(ROWS).reset_index(drop=True)
    rng = np.random.default_rng(21)
    wide = 0.01 * np.exp(0.5 * np.sin(np.arange(ROWS) / 60.0))
    x = wide * (rng.standard_t(4, ROWS) + 0.8 * np.array([1.0, 0.0, -1.0])[np.arange(ROWS) % 3])
    x[700] = -0.3
    x[::17] = 0.0
    close = 50.0 * np.exp(np.cumsum(x))
    opened = np.concatenate(([50.0], close[:-1]))
    high = np.maximum(opened, close) * (1.0 + wide * rng.random(ROWS))
    low = np.minimum(opened, close) * (1.0 - wide * rng.random(ROWS))
    volume = rng.lognormal(0.0, 1.0, ROWS) * np.where(rng.random(ROWS) < 0.01, 100.0, 1.0)
    volume[::29] = 0.0
    return pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volume})


def told(name: str, bars: pd.DataFrame, changed: dict[str, Any]) -> tuple[Any, np.ndarray]:
    strategy = find(name)
    p = params_of(strategy, changed)
    x = np.ascontiguousarray(bars[list(strategy.fields)].to_numpy(float)[:, None, :])
    out = forecasts(strategy, p, x, TS, Origin("1h"))
    assert np.isnan(out[: strategy.warmup(p)]).all()
    return p, out


def variances(theta: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """h of each row and of the one after; the mean square before."""
    e2 = (y - theta[0]) ** 2
    square = float(e2.mean())
    driven = theta[1] + theta[2] * np.concatenate(([square], e2))
    return lfilter([1.0], [1.0, -theta[3]], driven, zi=[theta[3] * square])[0], square


def likeliest(y: np.ndarray) -> np.ndarray:
    def cost(theta: np.ndarray) -> float:
        h = variances(theta, y)[0][:-1]
        return 0.5 * float(np.sum(np.log(h) + (y - theta[0]) ** 2 / h))

    starts = ([0.0, 0.05, 0.05, 0.9], [0.0, 0.3, 0.3, 0.3], [0.0, 0.1, 0.1, 0.8])
    found = [
        optimize.minimize(
            cost, start, method="SLSQP", bounds=[(-2, 2), (1e-6, 5), (0, 1), (0, 0.9999)],
            options={"ftol": 1e-13, "maxiter": 500},
        )
        for start in starts
    ]  # fmt: skip
    return min(found, key=lambda one: one.fun).x


@pytest.mark.parametrize("changed", [{"window": 300, "every": 7}, {"window": 400, "every": 24, "power": 1.0}])
def test_exposure_is_that_of_scipys_fit(bars: pd.DataFrame, changed: dict[str, Any]) -> None:
    p, out = told("volatility_clustering", bars, {**changed, "band": 0.0, "usual": 0.3})
    returns, found = np.diff(np.log(bars["close"])), list[bool]()
    for t in range(p.window + p.every, ROWS, 67):
        at = t - (t + 1) % p.every
        w = returns[at - p.window : at]
        scale = w.std()
        theta = likeliest(w / scale)
        _, square = variances(theta, w / scale)
        h = variances(theta, w / scale)[0][-1]
        for e in returns[at:t] / scale - theta[0]:
            h = theta[1] + theta[2] * e * e + theta[3] * h
        found.append(abs(out[t] - min(1.0, p.usual * (square / h) ** (p.power / 2.0))) < 3e-3)
    # Where the jump is in the window there are several tops, of nearly the same height.
    assert np.mean(found) >= 0.75
    assert np.nanstd(out) > 0.05
    # Else a warm start leaves no trace: where the data begins does not matter, at any hour.
    x = bars["close"].to_numpy()[:, None, None]
    later = forecasts(find("volatility_clustering"), p, np.ascontiguousarray(x[101:]), TS[101:], Origin("1h"))
    rest = p.window + p.every
    assert np.mean(np.abs(later[rest:] - out[101 + rest :]) < 1e-6) > 0.9


@pytest.mark.parametrize(
    "changed",
    [
        {"buckets": 5, "size": 2.5, "sigma_window": 20, "volume_window": 30, "history": 100, "percentile": 0.8},
        {"buckets": 8, "size": 0.3, "volume_window": 50, "history": 60, "hold": 4},
        {"buckets": 3, "size": 4.0, "volume_window": 25, "history": 80, "percentile": 0.7, "aside": True},
    ],
)
def test_flow_is_that_of_a_list_of_buckets(bars: pd.DataFrame, changed: dict[str, Any]) -> None:
    p, out = told("vpin", bars, changed)
    close, volume = bars["close"].to_numpy(), bars["volume"].to_numpy()
    change = np.diff(close, prepend=np.nan)
    full: list[tuple[float, float]] = []
    room, inside, side = 0.0, 0.0, 0.0
    past: list[float] = []
    expected, left, standing = np.full(ROWS, np.nan), 0, 0.0
    for t in range(ROWS):
        before = change[max(1, t - p.sigma_window) : t]
        sigma = before.std(ddof=1) if before.size == p.sigma_window else 0.0
        if t == 0 or change[t] == 0.0:
            lean = 0.0
        else:
            lean = 2.0 * stats.norm.cdf(change[t] / sigma) - 1.0 if sigma > 0.0 else np.sign(change[t])
        size = p.size * volume[t - p.volume_window : t].mean() if t >= p.volume_window else np.nan
        rest = volume[t] if size > 0.0 else 0.0
        while rest > 0.0:
            if inside == 0.0:
                room = size
            part = min(rest, room - inside)
            inside, side, rest = inside + part, side + part * lean, rest - part
            if inside >= room * (1.0 - 1e-13):
                full.append((room, side))
                inside, side = 0.0, 0.0
        last = np.array(full[-p.buckets :])
        vpin = np.abs(last[:, 1]).sum() / last[:, 0].sum() if len(full) >= p.buckets else np.nan
        net = last[:, 1].sum() / last[:, 0].sum() if len(full) >= p.buckets else np.nan
        known = [v for v in past[-p.history :] if v == v]
        toxic = 2 * len(known) >= p.history and np.mean(np.array(known) < vpin) >= p.percentile
        past.append(vpin)
        left = max(left - 1, 0)
        if toxic:
            left, standing = p.hold + 1, net / vpin
        elif left == 0:
            standing = 0.0
        if t >= find("vpin").warmup(p):
            expected[t] = float(left == 0 and vpin > 0.0) if p.aside else standing
    known = ~np.isnan(out)
    assert 0.02 < np.mean(expected[known] != float(p.aside)) < 0.6
    np.testing.assert_allclose(out[known], expected[known], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "changed",
    [
        {"length": 10, "window": 15, "entry": 0.6, "shrink": 0.05, "hold": 8},
        {"length": 5, "window": 8, "entry": 0.3, "full": 0.7, "shrink": 0.0, "hold": 3},
    ],
)
def test_faded_moves_are_those_of_pandas_averages_and_numpys_lines(bars: pd.DataFrame, changed: dict[str, Any]) -> None:
    p, out = told("true_range_divergence", bars, changed)
    before = bars["close"].shift()
    true = pd.concat([bars["high"] - bars["low"], (bars["high"] - before).abs(), (bars["low"] - before).abs()], axis=1)
    seeded = true.max(axis=1)[1:].to_numpy(copy=True)
    seeded[p.length - 1] = seeded[: p.length].mean()
    average = pd.Series(seeded[p.length - 1 :]).ewm(alpha=1.0 / p.length, adjust=False).mean().to_numpy()
    natr = np.concatenate((np.full(p.length, np.nan), average)) / bars["close"].to_numpy()
    log, rows, place = np.log(bars["close"].to_numpy()), np.arange(p.length + p.window - 1, ROWS), np.arange(p.window)
    left, standing, expected = 0, 0.0, list[float]()
    for t in rows:
        w = slice(t + 1 - p.window, t + 1)
        move = np.polyfit(place, log[w], 1)[0] * math.sqrt(p.window) / natr[t]
        grown = np.polyfit(place, natr[w], 1)[0] * p.window / natr[t]
        left -= 1
        if abs(move) > p.entry and grown < -p.shrink:
            left, standing = p.hold, -np.sign(move) * min(1.0, abs(move) / p.full)
        elif left <= 0 or np.sign(move) == np.sign(standing):
            left, standing = 0, 0.0
        expected.append(standing)
    assert 0.02 < np.mean(np.array(expected) != 0.0) < 0.6
    np.testing.assert_allclose(out[rows], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "changed",
    [
        {"window": 120, "order": 3, "level": 0.5, "edge": 0.0},
        {"window": 300, "order": 4, "level": 0.5, "full": 1.0},
        {"window": 100, "order": 3, "delay": 3, "level": 0.5, "edge": 0.0},
    ],
)
def test_what_follows_an_order_is_that_of_sorted_windows(bars: pd.DataFrame, changed: dict[str, Any]) -> None:
    p, out = told("permutation_entropy", bars, changed)
    x, reach = np.diff(np.log(bars["close"]), prepend=np.nan), (p.order - 1) * p.delay

    def order_of(last: int, values: int) -> tuple[int, ...]:
        return tuple(np.argsort(x[last - (values - 1) * p.delay : last + 1 : p.delay], kind="stable"))

    traded = 0
    for t in range(p.window + reach, ROWS, 7):
        ends = range(t - p.window + 1, t + 1)
        shares = np.unique([order_of(u, p.order) for u in ends], axis=0, return_counts=True)[1] / p.window
        expected = 0.0
        if -(shares @ np.log(shares)) / math.log(math.factorial(p.order)) < entropy_bound(p.level, p.window, p.order):
            now = order_of(t + 1 - p.delay, p.order - 1)
            found = np.array([x[u] for u in ends if order_of(u - p.delay, p.order - 1) == now])
            w = x[list(ends)]
            error = w.std(ddof=1) / math.sqrt(max(found.size, 1))
            mean = found.mean() - w.mean() if found.size else 0.0
            move = mean * max(0.0, 1.0 - (error / mean) ** 2) if mean else 0.0
            expected = 0.0 if abs(move) <= p.edge else float(np.clip(move / (w.std(ddof=1) * p.full), -1.0, 1.0))
        assert out[t] == pytest.approx(expected, rel=1e-6, abs=1e-9)
        traded += expected != 0.0
    assert traded > 2
