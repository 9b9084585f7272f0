"""The twelve mathematical strategies over a year after year of hours, and libraries called once per window."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.figures import Figure, Sample, one_core, sample_of, timed
from benchmarks.markets import panel_of
from benchmarks.peers import FOLDER, Absent, Peer, call, environment
from trimtab.research.prepared import model_rows
from trimtab.strategies import BUILT_IN, find
from trimtab.strategies.folding import forecasts
from trimtab.strategies.indicators import Origin

#: Four years of hours.
ROWS: Final = 35_041
TWELVE: Final = (
    "lag_autocorr", "variance_ratio", "hurst_exponent", "drift_significance", "spectral_peaks", "permutation_entropy",
    "volatility_clustering", "spectral_entropy", "vpin", "wavelet_energy", "pacf_spike", "true_range_divergence",
)  # fmt: skip
PEER: Final = Peer(("antropy==0.2.2", "nolds==0.6.2", "statsmodels==0.15.0"), None, (), False)
#: Strategy -> what a library computes per window in its place, for the same window.
BESIDE: Final = {
    "permutation_entropy": "antropy.perm_entropy",
    "hurst_exponent": "nolds.hurst_rs + dfa",
    "spectral_entropy": "antropy.spectral_entropy",
    "pacf_spike": "statsmodels.pacf",
}


class Answer(msgspec.Struct, frozen=True):
    """What the script prints: seconds per window, of each way."""

    way: str
    seconds: list[float]


def figures() -> Iterator[Figure]:
    """One core, warm, each strategy at its own parameters; rates are per bar, which is per window."""
    panel = panel_of(ROWS, 1, timeframe="1h")
    spent: dict[str, Sample] = {}
    with one_core():
        for name in (name for name in TWELVE if name in BUILT_IN):
            strategy = find(name)
            index, x = model_rows(panel, [0], "1h", strategy.fields)
            ts, origin = panel.ts[index], Origin("1h")

            def work(strategy: Any = strategy, x: Any = x, ts: Any = ts, origin: Origin = origin) -> Any:
                return forecasts(strategy, strategy.params, x, ts, origin)

            if np.isnan(work()).all():
                raise RuntimeError(f"signals: {name} says nothing over {ROWS:,} bars")
            spent[name] = timed(work, 5)
            yield Figure(name=f"signals.{name}", sample=spent[name].scaled(1e9 / ROWS), unit="ns per bar")
    total = sum(sample.median for sample in spent.values())
    name = f"signals, {len(spent)} of the twelve over {ROWS:,} hours"
    yield Figure(name=name, sample=sample_of([total]), unit="s", target=3.0, note="the sum of the medians")
    yield from _libraries(spent)


def _window(params: Any) -> int:
    """Returns that a strategy looks at."""
    return int(params.window) if hasattr(params, "window") else 1 << int(params.octaves)


def _libraries(spent: dict[str, Sample]) -> Iterator[Figure]:
    try:
        python = environment("windows", PEER)
    except Absent as reason:
        print(f"  skipped: {reason}")
        return
    windows = {name: _window(find(name).params) for name in BESIDE if name in spent}
    prices = np.exp(np.cumsum(np.random.default_rng(0).normal(0.0, 0.01, 4_000)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "windows.npz"
        given: dict[str, Any] = {name: np.array(window) for name, window in windows.items()}
        np.savez(path, prices=prices, **given)
        out = call([python, FOLDER / "peer_windows.py", path])
    for answer in msgspec.json.decode(out.strip().splitlines()[-1], type=list[Answer]):
        theirs, ours = sample_of(answer.seconds), spent[answer.way].median / ROWS
        ratio = Sample(theirs.median / ours, theirs.low / ours, theirs.high / ours, theirs.runs)
        note = f"{BESIDE[answer.way]} on {windows[answer.way]} bars: {theirs.median * 1e6:,.0f} us, {ours * 1e6:.2f} us"
        yield Figure(
            name=f"signals.{answer.way} beside a library per window", sample=ratio, unit="times ours", note=note
        )
