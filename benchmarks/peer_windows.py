"""Runs where antropy, nolds and statsmodels are: `peer_windows.py WINDOWS.npz` prints seconds per window as JSON."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import antropy  # pyright: ignore[reportMissingImports]
import nolds  # pyright: ignore[reportMissingImports]
import numpy as np
from statsmodels.tsa.stattools import pacf  # pyright: ignore[reportUnknownVariableType]

COUNT = 100


def per_window(of: Callable[[Any], Any], series: Any, window: int) -> list[float]:
    """Seconds of each of three passes over so many windows, per window; the first call is outside the clock."""
    of(series[:window])
    found: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        for first in range(COUNT):
            of(series[first : first + window])
        found.append((time.perf_counter() - begun) / COUNT)
    return found


def hurst(x: Any) -> Any:
    """Both estimators, as the strategy has both."""
    return nolds.hurst_rs(x, fit="poly"), nolds.dfa(x, fit_exp="poly")


def entropy(x: Any) -> Any:
    library: Any = antropy
    return library.perm_entropy(x, order=3, normalize=True)


def spectrum(x: Any) -> Any:
    library: Any = antropy
    return library.spectral_entropy(x, sf=1.0, method="fft", normalize=True)


def partial(x: Any) -> Any:
    found: Any = pacf(x, nlags=10, method="burg")
    return found


def main() -> None:
    given = dict(np.load(sys.argv[1]))
    prices, returns = given["prices"], np.diff(np.log(given["prices"]))
    ways: dict[str, tuple[Callable[[Any], Any], Any]] = {
        "permutation_entropy": (entropy, prices),
        "hurst_exponent": (hurst, returns),
        "spectral_entropy": (spectrum, returns),
        "pacf_spike": (partial, returns),
    }
    answers = [
        {"way": name, "seconds": per_window(of, series, int(given[name]))}
        for name, (of, series) in ways.items()
        if name in given
    ]
    print(json.dumps(answers))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
