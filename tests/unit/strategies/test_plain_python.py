"""Uncompiled (NUMBA_DISABLE_JIT=1, for a debugger) every strategy gives the same forecasts, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPT = """
import sys
import numpy as np
from trimtab.strategies import BUILT_IN, find, params_of

short = {
    "drift_significance": {"window": 30, "level": 0.3},
    "equity_trend": {"trend": 20, "exit": 5, "momentum": 8, "rerank": 3},
    "hurst_exponent": {"octaves": 7, "level": 0.5},
    "index_mean_reversion": {"entry_rsi": 30.0, "exit_rsi": 70.0, "width": 0.5, "window": 10, "short": True},
    "lag_autocorr": {"window": 40, "level": 0.4},
    "momentum": {"lookback": 10, "vol_window": 5},
    "pacf_spike": {"window": 40, "level": 0.4},
    "pairs_reversion": {"lookback": 10, "entry_z": 1.0, "stop_z": 2.5, "neutral": 1},
    "permutation_entropy": {"window": 60, "order": 3, "delay": 2, "level": 0.5},
    "sma_cross": {"fast": 3, "slow": 7, "short": True},
    "spectral_entropy": {"octaves": 5, "level": 0.5},
    "spectral_peaks": {"octaves": 5, "shortest": 3, "cycles": 2, "level": 0.5},
    "true_range_divergence": {"length": 5, "window": 8, "entry": 0.5, "shrink": 0.0},
    "variance_ratio": {"window": 40, "level": 0.4},
    "volatility_clustering": {"window": 50, "band": 0.0},
    "vpin": {"buckets": 3, "size": 1.5, "volume_window": 10, "history": 30, "percentile": 0.6},
    "wavelet_energy": {"window": 32, "scales": 2, "level": 0.4},
}
rng = np.random.default_rng(8)
close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (700, 1)) + rng.normal(0.0, 0.01, (700, 2)), axis=0))
close[300, 0] = np.nan
out = {}
with np.errstate(all="ignore"):
    for name in BUILT_IN:
        strategy = find(name)
        params = params_of(strategy, short.get(name, {}))
        state, forecasts = strategy.init(params), []
        rows = np.repeat(close[:, : strategy.legs_of(2), None], len(strategy.fields), axis=2)
        if strategy.fit:
            state = state._replace(fitted=strategy.fit.of(params, rows[: strategy.fit.window(params)]))
        for row in rows:
            state, forecast = strategy.step(params, state, row)
            forecasts.append([forecast, *(strategy.legs(params, state, row, forecast) if strategy.legs else ())])
        out[name] = np.array(forecasts)
        if strategy.across:
            out[name + ".across"] = strategy.across(params, np.array([0.1, np.nan, 0.3, 0.0, 0.2]))
    assert hasattr(strategy.step, "py_func") == (sys.argv[2] == "compiled")
np.savez(sys.argv[1], **out)
"""


def test_compiled_and_plain_steps_agree_to_the_last_bit(tmp_path: Path) -> None:
    results = {}
    for way, disabled in (("compiled", "0"), ("plain", "1")):
        file = tmp_path / f"{way}.npz"
        command = [sys.executable, "-c", SCRIPT, str(file), way]
        environment = os.environ | {"NUMBA_DISABLE_JIT": disabled}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        results[way] = np.load(file)
    assert len(results["plain"].files) == 22
    for name in results["plain"].files:
        plain, compiled = (results[way][name] for way in ("plain", "compiled"))
        np.testing.assert_array_equal(plain, compiled, err_msg=name)
        assert np.nanmin(plain) < np.nanmax(plain) or name in ("buy_and_hold", "crypto_momentum")
