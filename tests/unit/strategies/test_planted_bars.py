"""Effects of volatility, volume, order and range: where one is planted its strategy makes money, and elsewhere none.

As in test_planted.py the share of runs that has to is computed from a trader who knows the effect, and not chosen. Bars
have a range and a volume of their own; every run trades in the backtest, at 5 bps of notional per trade.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

import trimtab as tt
from tests.unit.strategies.test_planted import CHANCE, COST, DEVIATION, ROWS, RUNS, Power
from trimtab.kernels.ordinal import entropy_bound
from trimtab.strategies import find
from trimtab.strategies.folding import forecasts
from trimtab.types import HOUR, Costs, Instrument, Panel


class Bars(NamedTuple):
    """returns: log, close to close; wide: deviation of what high and low add to open and close; volume."""

    returns: np.ndarray
    wide: np.ndarray
    volume: np.ndarray


def plain(returns: np.ndarray, rng: np.random.Generator) -> Bars:
    """Volume that knows nothing, and ranges as wide as the returns are on average."""
    volume = 1e9 * np.exp(rng.normal(0.0, 0.3, returns.size))
    return Bars(returns, np.full(returns.size, 0.5 * DEVIATION), volume)


def panel_of(bars: Bars, rng: np.random.Generator) -> Panel:
    close = 100.0 * np.exp(np.cumsum(bars.returns))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, 1.0, close.size)) * bars.wide)
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, 1.0, close.size)) * bars.wide)
    fields = ("open", "high", "low", "close", "volume", "duration")
    values = np.stack([opened, high, low, close, bars.volume, np.full(close.size, float(HOUR))], axis=1)
    ts = HOUR * np.arange(400_000, 400_000 + close.size, dtype=np.int64)
    return Panel(ts, (Instrument(symbol="X"),), fields, values[:, None, :].copy(), "1h")


def made(effect: Callable[[np.random.Generator], Bars], seed: int) -> Panel:
    rng = np.random.default_rng(seed)
    return panel_of(effect(rng), rng)


def equity(name: str, panel: Panel, **params: Any) -> np.ndarray:
    return np.asarray(tt.backtest(name, panel, params=params, costs=Costs(taker_fee=COST)).bar_equity) / 1e6


def inside(name: str, panel: Panel, **params: Any) -> float:
    """The share of bars on which it wants a position."""
    strategy = find(name)
    x = np.ascontiguousarray(panel.values[:, :, [panel.fields.index(field) for field in strategy.fields]])
    p = strategy.params._replace(**params)
    return float(np.mean(forecasts(strategy, p, x)[strategy.warmup(p) :] != 0.0))


# --- effects ---------------------------------------------------------------------------------------------------------


def garch(rng: np.random.Generator, rows: int, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Variances of mean 1, and values of these variances."""
    z, h = rng.standard_normal(rows), np.ones(rows)
    for t in range(1, rows):
        h[t] = 1.0 - alpha - beta + (alpha * z[t - 1] ** 2 + beta) * h[t - 1]
    return h, np.sqrt(h) * z


def noise(rng: np.random.Generator) -> Bars:
    return plain(rng.normal(0.0, DEVIATION, ROWS), rng)


def clustered(rng: np.random.Generator) -> Bars:
    """Volatility that clusters around no drift, and ranges and volume that go with it."""
    h, values = garch(rng, ROWS, 0.2, 0.75)
    bars = plain(DEVIATION * values, rng)
    return Bars(bars.returns, bars.wide * np.sqrt(h), bars.volume * np.sqrt(h))


#: Of a bar, in deviations.
DRIFT = 0.15


def drifting(rng: np.random.Generator) -> Bars:
    """A drift that does not grow with the variance, which clusters."""
    return plain(DEVIATION * (DRIFT + garch(rng, ROWS, 0.1, 0.88)[1]), rng)


def steady(rng: np.random.Generator) -> Bars:
    """The same drift where the variance is constant: nothing to time."""
    return plain(rng.normal(DRIFT * DEVIATION, DEVIATION, ROWS), rng)


class Informed(NamedTuple):
    """Stretches of `length` bars, a `share` of all, in which some buy, or sell, `volume` times what is usual."""

    drift: float = 0.5
    length: int = 60
    share: float = 0.15
    volume: float = 3.0


def informed(rng: np.random.Generator, e: Informed = Informed()) -> Bars:  # noqa: B008
    bars, t = noise(rng), 0
    while t < ROWS:
        t += 1 + int(rng.exponential(e.length * (1.0 / e.share - 1.0)))
        bars.returns[t : t + e.length] += rng.choice([-1.0, 1.0]) * e.drift * DEVIATION
        bars.volume[t : t + e.length] *= e.volume
        t += e.length
    return bars


class Moves(NamedTuple):
    """Moves of `up` bars of `drift` while ranges shrink to `least`, which `back` bars undo; `quiet` bars between."""

    drift: float = 0.35
    up: int = 25
    back: int = 15
    least: float = 0.3
    quiet: int = 60


def moves(rng: np.random.Generator, e: Moves = Moves()) -> Bars:  # noqa: B008
    bars, t, fading = noise(rng), 0, np.linspace(1.0, e.least, e.up)
    while True:
        t += 1 + int(rng.exponential(e.quiet))
        if t + e.up + e.back >= ROWS:
            return bars
        move = rng.choice([-1.0, 1.0]) * e.drift * DEVIATION
        bars.returns[t : t + e.up] = bars.returns[t : t + e.up] * fading + move
        bars.wide[t : t + e.up] *= fading
        t += e.up
        bars.returns[t : t + e.back] -= move * e.up / e.back
        t += e.back


def cycle(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Up, nothing, down, and noise: of variance 1 without it."""
    return 0.8 * np.array([1.0, 0.0, -1.0])[np.arange(rows) % 3] + rng.standard_normal(rows)


def chaos(rng: np.random.Generator, rows: int) -> np.ndarray:
    """The logistic map and a little noise: not correlated at any lag, and three falling in a row never occur."""
    x, values = 0.0, np.empty(rows)
    for t in range(rows):
        x = 4.0 * x * (1.0 - x) if 1e-9 < x < 1.0 - 1e-9 else float(rng.random())
        values[t] = (x - 0.5) * math.sqrt(8.0)
    return 0.9 * values + math.sqrt(0.19) * rng.standard_normal(rows)


# --- power -----------------------------------------------------------------------------------------------------------


def of_timing() -> Power:
    """Of Sharpe ratio over that of a constant exposure, per bar times bars: of a trader who knows the variances."""
    h, values = garch(np.random.default_rng(123_456), 100_000, 0.1, 0.88)
    returns = np.expm1(DEVIATION * (DRIFT + values))
    held, now = np.minimum(1.0, 0.5 / h), 0.0
    for t in range(held.size):
        now = held[t] if abs(held[t] - now) > 0.2 else now
        held[t] = now
    timed = held * returns - COST * np.abs(np.diff(held, prepend=0.0))
    gain, bars = timed / timed.std() - returns / returns.std(), ROWS - 500
    return Power(bars * gain.mean(), math.sqrt(bars) * gain.std())


def of_flow(e: Informed = Informed()) -> Power:  # noqa: B008
    """Of a trader who goes with the flow from when it has filled the buckets until it ends, as often as is toxic."""
    p = find("vpin").params
    bars = ROWS - find("vpin").warmup(p)
    known = e.length - p.buckets * p.size / e.volume
    shown = min(1.0, (1.0 - p.percentile) / (e.share * known / e.length))
    # Of a bucket, which holds size / volume bars: bought less sold, by mean and deviation of 2 Phi(z + drift) - 1.
    share = 2.0 * stats.norm.cdf(e.drift + np.random.default_rng(1).standard_normal(100_000)) - 1.0
    side = stats.norm(share.mean(), share.std() / math.sqrt(p.size / e.volume))
    size = share.mean() / float(side.expect(abs))
    gain = shown * size * (known * e.drift * DEVIATION - 4.0 * COST)
    often = bars * e.share / e.length  # as by Poisson
    return Power(often * gain, math.sqrt(often * gain**2 + bars * (1.0 - p.percentile) * (size * DEVIATION) ** 2))


def of_fading(e: Moves = Moves()) -> Power:  # noqa: B008
    """Of a trader who is against a move that shows from its last third on, until it is undone.

    A move shows by the slope of a window of the walk: deviation of window * slope is sqrt(6 / 5 window) of a bar's.
    """
    p = find("true_range_divergence").params
    fade = np.linspace(1.0, e.least, e.up)[-p.window :].mean()
    rng = np.random.default_rng(1)
    low, high = np.abs(rng.normal(0.0, 0.5 * fade, (2, 100_000)))
    ranges = np.mean(np.abs(rng.normal(0.0, fade, 100_000) + e.drift) + low + high)
    size = e.drift * math.sqrt(p.window) / ranges
    error = math.sqrt(1.2) * fade / ranges
    shown, held = stats.norm.sf((p.entry - size) / error), min(1.0, size / p.full)
    often = ROWS / (e.quiet + e.up + e.back)
    gain = held * (DEVIATION * e.drift * (e.up - e.up / 3.0) - 2.0 * COST)
    risk = (held * DEVIATION) ** 2 * (e.up / 3.0 + e.back)
    return Power(often * shown * gain, math.sqrt(often * (shown * (gain**2 + risk))))


def of_order(effect: Callable[[np.random.Generator, int], np.ndarray]) -> Power:
    """Of a trader who knows what is expected after each beginning, while the window shows an order.

    The entropy of a window has a deviation of that of -ln share over sqrt(window), and lies below the true one by the
    mean of its law for noise.
    """
    p = find("permutation_entropy").params
    x = DEVIATION * effect(np.random.default_rng(123_456), 60_000)
    ranks = np.argsort(np.lib.stride_tricks.sliding_window_view(x, p.order), axis=1)
    place = {order: k for k, order in enumerate(permutations(range(p.order)))}
    codes = np.array([place[tuple(row)] for row in ranks.tolist()])
    shares = np.bincount(codes, minlength=len(place)) / codes.size
    surprise = -np.log(shares[codes]) / math.log(len(place))
    bias = (len(place) - 1) / (2.0 * p.window * math.log(len(place)))
    bound = entropy_bound(p.level, p.window, p.order)
    shown = float(stats.norm.cdf((bound - surprise.mean() + bias) / (surprise.std() / math.sqrt(p.window))))
    begun = np.argsort(np.lib.stride_tricks.sliding_window_view(x[:-1], p.order - 1), axis=1)
    kind = np.unique(begun @ p.order ** np.arange(p.order - 1), return_inverse=True)[1]
    after = x[p.order - 1 :]
    mean = (np.bincount(kind, after) / np.bincount(kind))[kind]
    held = np.where(np.abs(mean) > p.edge, np.clip(mean / (p.full * x.std()), -1.0, 1.0), 0.0)
    gain = np.log1p(held * np.expm1(after) - COST * np.abs(np.diff(held, prepend=held[0])))
    bars = ROWS - p.window
    variance = bars * shown * gain.var() + bars * p.window * shown * (1.0 - shown) * gain.mean() ** 2
    return Power(bars * shown * gain.mean(), math.sqrt(variance))


# --- proofs ----------------------------------------------------------------------------------------------------------


class Planted(NamedTuple):
    """A strategy, its effect, and the power of a run."""

    name: str
    effect: Callable[[np.random.Generator], Bars]
    power: Callable[[], Power]


def ordered(effect: Callable[[np.random.Generator, int], np.ndarray]) -> Planted:
    def bars(rng: np.random.Generator) -> Bars:
        return plain(DEVIATION * effect(rng, ROWS), rng)

    return Planted("permutation_entropy", bars, lambda: of_order(effect))


PLANTED = {
    "informed flow": Planted("vpin", informed, of_flow),
    "moves without range": Planted("true_range_divergence", moves, of_fading),
    "cycle": ordered(cycle),
    "chaos": ordered(chaos),
}
NAMES = ("permutation_entropy", "true_range_divergence", "vpin")


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("runs", RUNS)
def test_where_the_effect_is_planted_it_makes_money(planted: str, runs: int) -> None:
    name, effect, power = PLANTED[planted]
    least = power().least(runs)
    assert least >= 0.7 * runs, "so weak an effect proves nothing"
    ends = [equity(name, made(effect, seed))[-1] for seed in range(runs)]
    assert sum(end > 1.0 for end in ends) >= least


def sharper(effect: Callable[[np.random.Generator], Bars], runs: int) -> int:
    """Runs in which timing by volatility has a higher Sharpe ratio, after costs, than an exposure that is constant."""
    wins = 0
    for seed in range(runs):
        panel, ratio = made(effect, seed), list[float]()
        for curve in (equity("volatility_clustering", panel), equity("buy_and_hold", panel, weight=0.5)):
            returns = np.diff(curve[530:]) / curve[530:-1]
            ratio.append(returns.mean() / returns.std())
            assert curve[-1] > 1.0
        wins += ratio[0] > ratio[1]
    return wins


@pytest.mark.parametrize("runs", RUNS)
def test_where_volatility_clusters_around_a_drift_timing_beats_constant_exposure(runs: int) -> None:
    least = of_timing().least(runs)
    assert least >= 0.7 * runs, "so weak an effect proves nothing"
    assert sharper(drifting, runs) >= least


@pytest.mark.parametrize("runs", RUNS)
def test_where_volatility_is_constant_there_is_nothing_to_time(runs: int) -> None:
    assert sharper(steady, runs) <= stats.binom.ppf(1.0 - CHANCE, runs, 0.5)


@pytest.mark.parametrize("name", [*NAMES, "volatility_clustering"])
@pytest.mark.parametrize("none", [noise, clustered])
@pytest.mark.parametrize("runs", RUNS)
def test_where_there_is_nothing_it_makes_none(name: str, none: Callable[..., Bars], runs: int) -> None:
    ends = [equity(name, made(none, seed))[-1] for seed in range(runs)]
    assert sum(end > 1.0 for end in ends) <= stats.binom.ppf(1.0 - CHANCE, runs, 0.5)


@pytest.mark.parametrize("none", [noise, clustered])
@pytest.mark.parametrize("runs", RUNS)
def test_where_there_is_nothing_it_is_in_the_market_as_rarely_as_is_stated(
    none: Callable[..., Bars], runs: int
) -> None:
    """Of order: with the probability `level`, by windows. Of flow: a share of 1 - percentile, by the buckets' bars."""
    panels = [made(none, seed) for seed in range(runs)]
    p = find("permutation_entropy").params
    found = np.mean([inside("permutation_entropy", panel, edge=0.0) for panel in panels])
    assert found < p.level + 4.0 * math.sqrt(p.level * (1.0 - p.level) * p.window / (runs * (ROWS - p.window)))
    p = find("vpin").params
    found, bars = np.mean([inside("vpin", panel) for panel in panels]), runs * (ROWS - p.history)
    share = 1.0 - p.percentile
    assert abs(found - share) < 4.0 * math.sqrt(share * (1.0 - share) * p.buckets * p.size / bars)


def test_the_power_is_what_is_stated() -> None:
    """One run makes money, or is sharper, with these probabilities; of 40 so many have to."""
    found = {planted: power() for planted, (_, _, power) in PLANTED.items()} | {"timing": of_timing()}
    assert {planted: (round(p.of_one, 4), p.least(40)) for planted, p in found.items()} == {
        "informed flow": (0.9895, 36),
        "moves without range": (0.9999, 39),
        "cycle": (1.0, 40),
        "chaos": (1.0, 40),
        "timing": (0.9856, 35),
    }
