"""What holds for every strategy: warm-up, range, the split law, and a value that describes it truly."""

from __future__ import annotations

import copy
import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.strategies import BUILT_IN, find, params_of
from trimtab.strategies.fitting import every_of
from trimtab.types import DAY, TIMEFRAMES, Strategy

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "volatility_breakout.py"
ALL = (*BUILT_IN, str(EXAMPLE))

#: Short windows, so that a few hundred rows see every branch.
SHORT: dict[str, list[dict[str, Any]]] = {
    "crypto_momentum": [{"fast": 5, "slow": 12}, {"fast": 2, "slow": 9, "every": 2, "max_weight": 0.3}],
    "buy_and_hold": [{}, {"weight": -0.5}],
    "drift_significance": [
        {"window": 20, "lags": 2, "level": 0.3, "full": 0.5},
        {"window": 40, "lags": 0, "level": 0.2},
    ],
    "equity_trend": [
        {"trend": 20, "exit": 5, "momentum": 8},
        {"trend": 20, "exit": 5, "momentum": 30, "rerank": 3},
    ],
    "hurst_exponent": [
        {"octaves": 7, "level": 0.5, "edge": 0.0},
        {"octaves": 8, "level": 0.4, "memory": 1, "full": 1.0},
    ],
    "index_mean_reversion": [{"entry_rsi": 30.0, "exit_rsi": 70.0, "width": 0.5, "window": 10, "short": True}, {}],
    "lag_autocorr": [
        {"window": 20, "lags": 2, "level": 0.4, "edge": 0.0},
        {"window": 60, "lags": 4, "level": 0.5, "full": 1.0},
    ],
    "momentum": [
        {"lookback": 10, "vol_window": 5},
        {"lookback": 5, "vol_window": 9, "band": 0.0, "long_only": True},
        {"lookback": 8, "vol_window": 5, "entry_z": 0.8, "full_z": 1.6},
    ],
    "pacf_spike": [
        {"window": 20, "lags": 3, "level": 0.4, "edge": 0.0},
        {"window": 60, "lags": 4, "level": 0.5, "burg": True},
    ],
    "pairs_reversion": [
        {"lookback": 10, "entry_z": 1.0, "stop_z": 2.5, "max_holding": 5, "neutral": 1, "max_notional": 0.7},
        {"lookback": 15, "entry_z": 1.5, "hedge_ratio": 1.0},
        {"lookback": 10, "entry_z": 1.0, "rehedge": True, "neutral": 1},
        {"lookback": 10, "entry_z": 1.0, "current": False, "neutral": 1},
        {"lookback": 10, "entry_z": 1.0, "kalman": True, "neutral": 1},
        {"lookback": 10, "entry_z": 1.0, "kalman": True, "noise": 1e-4, "delta": 1e-7, "rehedge": True},
    ],
    "pairs_selected": [
        {"window": 60, "every": 5, "min_correlation": 0.0, "rate": 1.0, "lags": 0, "entry_z": 1.0, "max_pairs": 1},
        {"window": 60, "every": 20, "rate": 1.0, "entry_z": 1.0, "neutral": 0, "max_notional": 0.5},
    ],
    "permutation_entropy": [
        {"window": 60, "order": 3, "level": 0.5, "edge": 0.0},
        {"window": 70, "order": 3, "delay": 3, "level": 0.4, "full": 0.1},
    ],
    "sma_cross": [{"fast": 3, "slow": 7}, {"fast": 1, "slow": 64, "short": True}],
    "spectral_entropy": [{"octaves": 5, "level": 0.5}, {"octaves": 6, "level": 0.5, "trend": 1, "full": 0.2}],
    "spectral_peaks": [
        {"octaves": 5, "shortest": 3, "cycles": 2, "level": 0.5, "edge": 0.0},
        {"octaves": 6, "level": 0.5},
    ],
    "true_range_divergence": [
        {"length": 5, "window": 8, "entry": 0.5, "shrink": 0.0, "hold": 4},
        {"length": 1, "window": 2, "hold": 1},
    ],
    "variance_ratio": [{"window": 32, "level": 0.4}, {"window": 60, "level": 0.5, "full": 0.2}],
    "volatility_clustering": [{"window": 50, "every": 5}, {"window": 60, "every": 20, "power": 1.0, "band": 0.0}],
    "vpin": [
        {"buckets": 3, "size": 1.5, "sigma_window": 10, "volume_window": 10, "history": 20, "percentile": 0.6},
        {"buckets": 2, "size": 0.4, "volume_window": 5, "history": 40, "hold": 3},
        {"buckets": 3, "size": 3.0, "sigma_window": 5, "volume_window": 9, "history": 30, "aside": True},
    ],
    "wavelet_energy": [
        {"window": 32, "scales": 2, "level": 0.4},
        {"window": 64, "scales": 3, "level": 0.4, "full": 0.3},
    ],
    str(EXAMPLE): [{"window": 10, "entry": 1.0}],
}
CASES = [(name, given_params) for name in ALL for given_params in SHORT[name]]
#: Its fits take a hundred times a step: by day fewer histories of it, the others in the nightly run.
FITTED = [case for case in CASES if case[0] == "pairs_selected"]
STEPPED = [case for case in CASES if case not in FITTED]
LONG = [*STEPPED, *(pytest.param(*case, marks=pytest.mark.nightly) for case in FITTED)]


def rows(strategy: Strategy, seed: int, size: int, *, ties: bool = False) -> np.ndarray:
    """Random walks that move together, so that pairs trade; with ties, on a coarse grid of integers."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, 0.02, (size, 1)) + rng.normal(0.0, 0.01, (size, strategy.legs_of(4)))
    close = 100.0 * np.exp(np.cumsum(steps, axis=0))
    return np.repeat((np.round(close / 4.0) if ties else close)[:, :, None], len(strategy.fields), axis=2)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_table_and_the_value_agree(name: str) -> None:
    strategy = find(name)
    assert strategy.name == name
    assert strategy is find(name)
    assert set(strategy.ranges) == set(strategy.params._fields)
    assert set(strategy.timeframes) <= set(TIMEFRAMES)
    text = importlib.import_module(BUILT_IN[name]).__doc__ or ""
    for heading in ("Idea", "Formula", "Source", "Fails", "Typical"):
        assert f"\n{heading} " in text, f"{name}: its docstring does not say {heading}"


@pytest.mark.parametrize("name", ALL)
def test_defaults_are_accepted_as_they_are(name: str) -> None:
    strategy = find(name)
    assert params_of(strategy, {}) == strategy.params
    assert params_of(strategy, strategy.params._asdict()) == strategy.params


@pytest.mark.parametrize(("name", "changed"), [*CASES, *[(name, {}) for name in ALL]])
def test_the_first_forecast_comes_after_the_warmup(fold: Any, name: str, changed: dict[str, Any]) -> None:
    strategy = find(name)
    params = params_of(strategy, changed)
    _, out = fold(strategy, params, rows(strategy, 1, strategy.warmup(params) + 150))
    first, late = int(np.flatnonzero(~np.isnan(out))[0]), every_of(strategy, params, "1d") // DAY
    # A fit may have to wait for its instant.
    assert strategy.warmup(params) <= first <= strategy.warmup(params) + max(late - 1, 0)
    assert not np.isnan(out[first:]).any()


@pytest.mark.parametrize(("name", "changed"), CASES)
def test_a_series_that_stands_still_is_not_traded(fold: Any, name: str, changed: dict[str, Any]) -> None:
    strategy = find(name)
    params = params_of(strategy, changed)
    _, out = fold(strategy, params, np.full((100, strategy.legs_of(3), len(strategy.fields)), 50.0))
    assert np.isnan(out[: strategy.warmup(params)]).all()
    expected = params.weight if name == "buy_and_hold" else 0.0
    traded = out[strategy.warmup(params) :]
    assert (traded[~np.isnan(traded)] == expected).all()
    assert not np.isnan(traded).any() or strategy.fit is not None


@pytest.mark.parametrize(("name", "changed"), LONG)
def test_forecasts_stay_in_range_and_are_taken(fold: Any, name: str, changed: dict[str, Any]) -> None:
    assert_in_range_and_taken(fold, name, changed, 20)


@pytest.mark.parametrize(("name", "changed"), FITTED)
def test_fitted_forecasts_stay_in_range_and_are_taken(fold: Any, name: str, changed: dict[str, Any]) -> None:
    assert_in_range_and_taken(fold, name, changed, 6)


def assert_in_range_and_taken(fold: Any, name: str, changed: dict[str, Any], seeds: int) -> None:
    strategy = find(name)
    params = params_of(strategy, changed)
    seen: set[float] = set()
    for seed in range(seeds):
        for ties in (False, True):
            _, out = fold(strategy, params, rows(strategy, seed, 500, ties=ties))
            warm = out[~np.isnan(out)]
            assert (np.abs(warm) <= 1.0).all()
            # What is always long changes its mind about how much.
            seen |= set(np.sign(warm) if name != "volatility_clustering" else np.round(warm, 1))
    if name != "buy_and_hold":
        assert 1.0 in seen
        assert len(seen) > 1, f"it never changed its mind on {seeds * 1_000} rows"


@pytest.mark.parametrize(("name", "changed"), LONG)
@settings(max_examples=40)
@given(data=st.data())
def test_cutting_and_resuming_changes_no_bit(fold: Any, name: str, changed: dict[str, Any], data: Any) -> None:
    assert_resumed_is_whole(fold, name, changed, data)


@pytest.mark.parametrize(("name", "changed"), FITTED)
@settings(max_examples=8)
@given(data=st.data())
def test_cutting_and_resuming_fits_changes_no_bit(fold: Any, name: str, changed: dict[str, Any], data: Any) -> None:
    assert_resumed_is_whole(fold, name, changed, data)


def assert_resumed_is_whole(fold: Any, name: str, changed: dict[str, Any], data: Any) -> None:
    strategy = find(name)
    params = params_of(strategy, changed)
    size = 300
    x = rows(strategy, data.draw(st.integers(0, 2**32 - 1)), size, ties=data.draw(st.booleans()))
    cut = data.draw(st.integers(0, size))
    _, whole = fold(strategy, params, x)
    state, first = fold(strategy, params, x[:cut])
    saved = pickle.loads(pickle.dumps(state)) if data.draw(st.booleans()) else copy.deepcopy(state)
    fold(strategy, params, x[::-1].copy(), state)  # the original goes on elsewhere; the snapshot must not feel it
    _, rest = fold(strategy, params, x[cut:], saved)
    assert whole.tobytes() == np.concatenate([first, rest]).tobytes()


@pytest.mark.parametrize("name", [name for name in ALL if find(name).fit is None])
def test_one_row_at_a_time_from_python_is_the_same(fold: Any, name: str) -> None:
    strategy = find(name)
    params = params_of(strategy, SHORT[name][0])
    x = rows(strategy, 5, 300)
    _, whole = fold(strategy, params, x)
    state, single = strategy.init(params), []
    for row in x:
        state, forecast = strategy.step(params, state, row)
        single.append(forecast)
    assert type(state).__name__.split("_")[0] == "State"
    assert np.array(single).tobytes() == whole.tobytes()
