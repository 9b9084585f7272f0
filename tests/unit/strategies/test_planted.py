"""Each strategy makes money where its effect is planted, after costs, and none where there is nothing to find.

How often it has to is computed and not chosen: a trader who knows the effect, and is in the market for the share of
time in which a window of that length shows it, earns a mean with a deviation (`Power`); from these follow the
probability that one run ends above its capital, and the number of runs that fall short of it once in 10,000 times.
Every run trades in the backtest, at 5 bps of notional per trade.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

import trimtab as tt
from trimtab.kernels.autocorrelation import sidak
from trimtab.strategies import find
from trimtab.strategies.folding import forecasts
from trimtab.types import TIMEFRAMES, Costs, Instrument, Panel

ROWS = 3_000
DEVIATION = 0.01
COST = 0.0005
#: One run in so many may fail a bound by chance.
CHANCE = 1e-4


def autoregression(lag: int, phi: float) -> Callable[..., np.ndarray]:
    def made(rng: np.random.Generator, rows: int) -> np.ndarray:
        weights = np.concatenate(([1.0], np.zeros(lag - 1), [-phi]))
        return lfilter([1.0], weights, rng.normal(0.0, DEVIATION, rows + 200))[200:]

    return made


def drift(sharpe: float) -> Callable[..., np.ndarray]:
    return lambda rng, rows: rng.normal(sharpe * DEVIATION, DEVIATION, rows)


def noise(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.normal(0.0, DEVIATION, rows)


def garch(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Clustered volatility without any correlation: what the usual bands take for an effect."""
    x, variance = np.empty(rows), 1.0
    for t, shock in enumerate(rng.standard_normal(rows)):
        x[t] = math.sqrt(variance) * shock
        variance = 0.05 + 0.20 * x[t] ** 2 + 0.75 * variance
    return DEVIATION * x


def panel_of(returns: np.ndarray, timeframe: str) -> Panel:
    """Bars that open where the one before closed."""
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate(([100.0], close[:-1]))
    length = TIMEFRAMES[timeframe]
    fields = ("open", "high", "low", "close", "volume", "duration")
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    values = np.stack(
        [opened, top, bottom, close, np.full(close.size, 1e9), np.full(close.size, float(length))], axis=1
    )
    ts = length * np.arange(400_000, 400_000 + close.size, dtype=np.int64)
    return Panel(ts, (Instrument(symbol="X"),), fields, values[:, None, :].copy(), timeframe)


def earned(name: str, returns: np.ndarray, cost: float = COST, **params: Any) -> float:
    """What a run ends with over what it began with, less 1."""
    panel = panel_of(returns, "4h")
    run = tt.backtest(name, panel, params=params, costs=Costs(taker_fee=cost))
    return float(run.bar_equity[-1]) / 1e6 - 1.0


# ---------------------------------------------------------------------------------------------------------------------
# What a run has to earn
# ---------------------------------------------------------------------------------------------------------------------


class Power(NamedTuple):
    """Of the logarithm of what one run earns: mean and deviation."""

    mean: float
    deviation: float

    @property
    def of_one(self) -> float:
        """The probability that a run makes money."""
        return float(stats.norm.cdf(self.mean / self.deviation))

    def least(self, runs: int) -> int:
        """Runs that make money, but for one case in 1 / CHANCE."""
        return int(stats.binom.ppf(CHANCE, runs, self.of_one))


def of_serial(effect: Callable[..., np.ndarray], wanted: Callable[..., np.ndarray], z: float, tests: int) -> Power:
    """Of a trader who holds wanted(returns) while the window shows the effect.

    z      expected robust z of the effect in a window, whose deviation is 1
    tests  bounds that are tried at once at the level of 5%

    A window that shows it or not does so for about its own length: hence the second term of the variance.
    """
    returns, window = effect(np.random.default_rng(123_456), 200_000), 500
    held = wanted(returns)[20:-1]
    gain = np.log1p(held * np.expm1(returns[21:]) - COST * np.abs(np.diff(held, prepend=held[0])))
    shown, bars = stats.norm.sf(sidak(0.05, tests) - z), ROWS - window
    variance = bars * shown * gain.var() + bars * window * shown * (1.0 - shown) * gain.mean() ** 2
    return Power(bars * shown * gain.mean(), math.sqrt(variance))


def of_drift(sharpe: float, full: float = 3.0, window: int = 400) -> Power:
    """Of drift_significance, from the law of its t: normal around sharpe * sqrt(window) with deviation 1."""
    t = sharpe * math.sqrt(window) + stats.norm.ppf(np.linspace(0.0005, 0.9995, 1_000))
    held = np.where(np.abs(t) > sidak(0.05, 1), np.clip((t - 1.0 / t) / full, -1.0, 1.0), 0.0)
    bars, drift = ROWS - window, sharpe * DEVIATION + 0.5 * DEVIATION**2  # of simple returns
    mean = bars * (drift * held.mean() - 0.5 * DEVIATION**2 * (held**2).mean())
    variance = bars * DEVIATION**2 * (held**2).mean() + bars * window * held.var() * drift**2
    return Power(mean, math.sqrt(variance))


def foretold(lag: int, phi: float) -> Callable[..., np.ndarray]:
    """Holdings of who knows the autoregression, at the strategies' default `full` and `edge`."""

    def wanted(x: np.ndarray) -> np.ndarray:
        move = phi * np.concatenate((np.zeros(lag - 1), x))[: x.size]
        return np.where(np.abs(move) > 0.0005, np.clip(move / (0.25 * x.std()), -1.0, 1.0), 0.0)

    return wanted


def two_bars(sign: float) -> Callable[..., np.ndarray]:
    """Holdings of who knows that VR(2) is not 1."""

    def wanted(x: np.ndarray) -> np.ndarray:
        return np.clip(sign * (x + np.concatenate(([0.0], x[:-1]))) / (x.std() * math.sqrt(2.0)) / 1.5, -1.0, 1.0)

    return wanted


#: Expected z of phi at its lag, in a window of 500.
Z = 0.2 * math.sqrt(500)


class Planted(NamedTuple):
    """A strategy, its effect as returns of (rng, rows), and the power of a run."""

    name: str
    effect: Callable[..., np.ndarray]
    power: Callable[[], Power]


def serial(name: str, lag: int, phi: float, tests: int, wanted: Callable[..., np.ndarray]) -> Planted:
    effect = autoregression(lag, phi)
    return Planted(name, effect, lambda: of_serial(effect, wanted, Z, tests))


def drifting(sharpe: float) -> Planted:
    return Planted("drift_significance", drift(sharpe), lambda: of_drift(sharpe))


PLANTED = {
    "continuation": serial("lag_autocorr", 1, 0.2, 5, foretold(1, 0.2)),
    "reversal": serial("lag_autocorr", 1, -0.2, 5, foretold(1, -0.2)),
    "ratio above 1": serial("variance_ratio", 1, 0.2, 4, two_bars(1.0)),
    "ratio below 1": serial("variance_ratio", 1, -0.2, 4, two_bars(-1.0)),
    "spike at lag 3": serial("pacf_spike", 3, 0.2, 10, foretold(3, 0.2)),
    "spike below 0": serial("pacf_spike", 3, -0.2, 10, foretold(3, -0.2)),
    "drift up": drifting(0.1),
    "drift down": drifting(-0.1),
}
NAMES = ("lag_autocorr", "variance_ratio", "pacf_spike", "drift_significance")
RUNS = [10, pytest.param(40, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("runs", RUNS)
def test_where_the_effect_is_planted_it_makes_money(planted: str, runs: int) -> None:
    name, effect, power = PLANTED[planted]
    least = power().least(runs)
    assert least >= 0.7 * runs, "so weak an effect proves nothing"
    ends = [earned(name, effect(np.random.default_rng(seed), ROWS)) for seed in range(runs)]
    assert sum(end > 0.0 for end in ends) >= least


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("none", [noise, garch])
@pytest.mark.parametrize("runs", RUNS)
def test_where_there_is_nothing_it_stays_out_and_makes_none(
    name: str, none: Callable[..., np.ndarray], runs: int
) -> None:
    """On noise its band is left as often as stated, also where volatility clusters; what it earns then is chance."""
    paths = [none(np.random.default_rng(seed), ROWS) for seed in range(runs)]
    ends = [earned(name, path) for path in paths]
    assert sum(end > 0.0 for end in ends) <= stats.binom.ppf(1.0 - CHANCE, runs, 0.5)
    strategy = find(name)
    p = strategy.params
    everywhere = p._replace(edge=0.0) if "edge" in p._fields else p
    closes = [100.0 * np.exp(np.cumsum(path))[:, None, None] for path in paths]
    inside = np.array([np.mean(forecasts(strategy, everywhere, close)[p.window :] != 0.0) for close in closes])
    windows = runs * (ROWS - p.window) / p.window
    assert inside.mean() < p.level + 4.0 * math.sqrt(p.level * (1.0 - p.level) / windows)


def test_the_power_is_what_is_stated() -> None:
    """One run makes money with these probabilities; of 40 so many have to."""
    found = {planted: power() for planted, (_, _, power) in PLANTED.items()}
    assert {planted: (round(p.of_one, 4), p.least(40)) for planted, p in found.items()} == {
        "continuation": (1.0, 40),
        "reversal": (1.0, 40),
        "ratio above 1": (1.0, 40),
        "ratio below 1": (0.9999, 39),
        "spike at lag 3": (1.0, 40),
        "spike below 0": (1.0, 40),
        "drift up": (0.9776, 34),
        "drift down": (0.9733, 34),
    }
