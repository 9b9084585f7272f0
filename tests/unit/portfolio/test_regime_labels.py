"""Bands and flips of labels, and what the table says of each regime."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.portfolio.regime import labels as module
from trimtab.portfolio.regime.labels import UNKNOWN, bands, flips_per_year
from trimtab.portfolio.regime.table import REGIMES, classify, find
from trimtab.types import DAY, TrimtabError

NAMES = list(REGIMES)


def days(n: int) -> np.ndarray:
    return 1_600_000_000 * 10**9 + DAY * np.arange(1, n + 1, dtype=np.int64)


def of(*labels: int) -> np.ndarray:
    return np.array(labels, np.int8)


# --- bands and flips --------------------------------------------------------------------------------------------------


def test_a_band_lasts_from_its_first_close_to_the_close_that_ends_it():
    ts = days(8)
    got = bands(of(-1, -1, 0, 0, 2, -1, 2, 1), ts)
    assert got.label.tolist() == [0, 2, 2, 1]
    assert got.start.tolist() == ts[[2, 4, 6, 7]].tolist()
    assert got.end.tolist() == ts[[4, 5, 7, 7]].tolist()


@pytest.mark.parametrize("labels", [of(), of(-1), of(-1, -1)])
def test_nothing_known_is_no_band(labels: np.ndarray):
    got = bands(labels, days(len(labels)))
    assert [len(column) for column in got] == [0, 0, 0]


def test_one_regime_is_one_band():
    ts = days(5)
    assert [column.tolist() for column in bands(of(1, 1, 1, 1, 1), ts)] == [[ts[0]], [ts[4]], [1]]


def test_flips_are_counted_per_calendar_year_of_known_labels():
    n = 1 + 2 * 1_461  # eight years after the first known label; 1,461 days are four
    labels = np.zeros(n + 500, np.int8)
    labels[:500] = UNKNOWN
    labels[900:1_000] = 1
    labels[1_500:] = 2
    # Years are Gregorian means: 365.2425 days.
    assert flips_per_year(labels, days(n + 500)) == pytest.approx(3 / (2 * 1_461 / 365.2425), rel=1e-12)


def test_gaps_between_rows_do_not_stretch_a_year():
    ts = days(732)[::2]
    labels = (np.arange(len(ts)) % 2).astype(np.int8)
    assert flips_per_year(labels, ts) == pytest.approx((len(ts) - 1) / (730 / 365.2425), rel=1e-12)


@pytest.mark.parametrize("labels", [of(), of(-1, -1), of(-1, 0)])
def test_flips_of_fewer_than_two_known_labels_are_undefined(labels: np.ndarray):
    assert math.isnan(flips_per_year(labels, days(len(labels))))


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_table_describes_each_regime(name: str):
    regime = find(name)
    assert regime.name == name
    assert set(regime.ranges) == set(regime.params._fields)
    assert all(low <= getattr(regime.params, key) <= high for key, (low, high) in regime.ranges.items())
    assert set(regime.lags) == set(regime.fields)
    assert min(regime.lags.values()) >= DAY  # a date label's day has to be over
    assert len(set(regime.names)) == len(regime.names) <= 4
    for heading in ("Idea", "Formula", "Source", "Fails"):
        assert f"\n{heading} " in regime.doc, f"{name}: its docstring does not say {heading}"


def test_the_labels_are_those_that_were_asked_for():
    assert {name: regime.names for name, regime in REGIMES.items()} == {
        "equity": ("bull", "bear", "neutral"),
        "crypto": ("bull", "bear", "neutral", "crisis"),
        "volatility": ("low", "normal", "high", "crisis"),
        "vix": ("low", "normal", "high", "crisis"),
        "macro": ("expansion", "slowdown", "contraction", "recovery"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_first_label_comes_after_the_warmup(name: str):
    regime = REGIMES[name]
    warm = regime.warmup(regime.params)
    rng = np.random.default_rng(0)
    walk = 20.0 * np.exp(np.cumsum(rng.normal(0.0, 0.005, (warm + 50, len(regime.fields))), axis=0))
    labels = classify(regime, regime.params, walk)
    assert (labels[:warm] == UNKNOWN).all()
    assert (labels[warm:] != UNKNOWN).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_rows_are_no_labels(name: str):
    regime = REGIMES[name]
    assert classify(regime, regime.params, np.empty((0, len(regime.fields)))).shape == (0,)


def test_rows_as_a_strategy_gets_them_are_the_same_rows():
    x = 100.0 + np.sin(np.arange(400.0) / 30.0)[:, None]
    equity = REGIMES["equity"]
    frozen = x.copy()
    frozen.flags.writeable = False
    assert (classify(equity, equity.params, x) == classify(equity, equity.params, x[:, None, :])).all()
    assert (classify(equity, equity.params, x) == classify(equity, equity.params, frozen)).all()
    assert (classify(equity, equity.params, x[::2]) == classify(equity, equity.params, x[::2].copy())).all()


@pytest.mark.parametrize(
    ("name", "changed", "fault"),
    [
        ("crypto", {"calm": 0.4}, r"calm \(0\.4\) must not be above crash \(0\.3\)"),
        ("volatility", {"least": 3_000}, r"least \(3000\) must not be above history \(2520\)"),
        ("volatility", {"high": 0.2}, r"normal \(0\.25\) must be below high \(0\.2\)"),
        ("vix", {"crisis": 20.0}, r"high below crisis \(20\.0\)"),
        ("equity", {"average": 1}, r"equity\.average: expected 2 to 2000, got 1"),
        ("equity", {"band": math.nan}, r"equity\.band: expected 0 to 0\.5, got nan"),
    ],
)
def test_parameters_that_cannot_be_are_refused(name: str, changed: dict[str, Any], fault: str):
    regime = REGIMES[name]
    with pytest.raises(TrimtabError, match=fault):
        classify(regime, regime.params._replace(**changed), np.ones((10, len(regime.fields))))


def test_what_is_not_this_regimes_is_refused():
    equity, crypto = REGIMES["equity"], REGIMES["crypto"]
    with pytest.raises(TrimtabError, match="equity takes EquityParams, got CryptoParams"):
        classify(equity, crypto.params, np.ones((10, 1)))
    with pytest.raises(TrimtabError, match=r"macro reads \(T, 2\) of term_spread, activity; got .* \(10, 1\)"):
        classify(REGIMES["macro"], REGIMES["macro"].params, np.ones((10, 1)))
    with pytest.raises(TrimtabError, match=r"got an array of shape \(10,\)"):
        classify(equity, equity.params, np.ones(10))
    with pytest.raises(TrimtabError, match=r"no regime is named 'volatlity' \(did you mean 'volatility'\?\)"):
        find("volatlity")


# --- how it is compiled -----------------------------------------------------------------------------------------------

FOLDER = Path(module.__file__).parent
COMPILED = ("trend.py", "volatility.py", "macro.py", "adaptive.py")


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_code_calls_no_other_file_of_the_package(name: str):
    """numba's cache would not see an edit there: the cache folder's name does not follow this package."""
    tree = ast.parse((FOLDER / name).read_text())
    sources = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {s for s in sources if s and s.startswith("trimtab.portfolio")} <= {"trimtab.portfolio.regime.labels"}


def test_every_compiled_file_is_looked_at():
    found = {file.name for file in FOLDER.glob("*.py") if "kernels.compiled" in file.read_text()}
    assert found == set(COMPILED)


def python(script: str, *words: str, **more: str) -> Any:
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | more
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *words], env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_labels_and_budgets_do_not_load_numba():
    script = """
import json, sys
import trimtab.portfolio.regime, trimtab.portfolio.regime.labels, trimtab.portfolio.regime.budgets
print(json.dumps("numba" in sys.modules))
"""
    assert python(script) is False


FOLDS = """
import json, sys
import numpy as np
from trimtab.portfolio.regime import adaptive
from trimtab.portfolio.regime.table import REGIMES, classify
short = {
    "equity": {"average": 20, "slope": 4},
    "crypto": {"average": 20, "slope": 4, "window": 6, "crash": 0.1, "calm": 0.05},
    "volatility": {"window": 5, "history": 60, "least": 20}, "vix": {},
    "macro": {"growth": 12, "smoothing": 3, "lead": 20},
}
rng = np.random.default_rng(8)
walk = 20.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (500, 2)), axis=0))
walk[100], walk[200, 0] = np.nan, -1.0
out = {}
with np.errstate(all="ignore"):
    for name, regime in REGIMES.items():
        x = walk[:, -len(regime.fields):].copy()
        wave = np.sin(np.arange(500.0) / 20.0)
        if name == "macro":
            x[:, 0] = 0.01 + 0.02 * wave
        elif name == "vix":
            x[:, 0] += 15.0 + 30.0 * wave
        out[name] = classify(regime, regime.params._replace(**short[name]), x).tolist()
    scale = np.where(walk[:, 1] > 20.0, 1.0, 0.5)
    sizer = adaptive.AdaptiveSizer(vol_window=10)
    out["adaptive"] = [v.hex() for v in adaptive.adaptive_multipliers(sizer, walk[:, 0], scale)]
"""

COUNTS = """
from trimtab.portfolio.regime import macro, trend, volatility
used = [r.fold for r in REGIMES.values()] + [r.init for r in REGIMES.values()] + [adaptive.fold, adaptive.init]
missed, hit = ([sum(getattr(f.stats, k).values()) for f in used] for k in ("cache_misses", "cache_hits"))
print(json.dumps([sum(missed), min(hit)]))
"""


def test_compiled_and_plain_steps_agree_to_the_last_bit():
    compiled, plain = (
        python(FOLDS + "print(json.dumps(out))", NUMBA_DISABLE_JIT=off) for off in ("0", "1")
    )  # fmt: skip
    assert compiled == plain
    assert {name: len(set(labels)) for name, labels in plain.items() if name != "adaptive"} == {
        name: len(regime.names) + (name != "vix") for name, regime in REGIMES.items()
    }
    assert len(set(plain["adaptive"])) > 20


@pytest.mark.nightly
def test_a_second_process_compiles_nothing(tmp_path: Path):
    first = python(FOLDS + COUNTS, TRIMTAB_CACHE=str(tmp_path))
    second = python(FOLDS + COUNTS, TRIMTAB_CACHE=str(tmp_path))
    assert first[0] > 0
    assert second == [0, 1]
