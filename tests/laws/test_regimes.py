"""Law 1 for regimes and for the sizer that reads them: cut anywhere, resumed, or with another future, the same bits."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.portfolio.regime import adaptive
from trimtab.portfolio.regime.adaptive import AdaptiveSizer, adaptive_multipliers
from trimtab.portfolio.regime.labels import UNKNOWN, Labels
from trimtab.portfolio.regime.table import REGIMES, classify

#: Short windows, so that a few hundred rows see every label.
SHORT: dict[str, dict[str, Any]] = {
    "equity": {"average": 20, "slope": 4, "band": 0.01},
    "crypto": {"average": 20, "slope": 4, "band": 0.02, "window": 6, "crash": 0.1, "calm": 0.04},
    "volatility": {"window": 5, "history": 60, "least": 20},
    "vix": {},
    "macro": {"growth": 12, "smoothing": 3, "lead": 20},
}
NAMES = list(REGIMES)
ROWS = 300
SEEDS = st.integers(0, 2**32 - 1)


def params_of(name: str) -> Any:
    return REGIMES[name].params._replace(**SHORT[name])


def rows_of(name: str, seed: int, gaps: float, rows: int = ROWS) -> np.ndarray:
    """(T, K) of random walks whose volatility wanders; where `gaps`, fields are missing or no prices at all."""
    rng = np.random.default_rng(seed)
    vol = 0.01 * np.exp(np.cumsum(rng.normal(0.0, 0.15, rows)).clip(-2.0, 2.0))
    walk = np.exp(np.cumsum(rng.normal(0.0, 1.0, rows) * vol))
    if name == "vix":
        x = 20.0 * walk[:, None]
    elif name == "macro":
        spread = 0.01 + 0.02 * np.sin(np.arange(rows) / 25.0 + rng.uniform(0.0, 6.0)) + rng.normal(0.0, 0.003, rows)
        x = np.stack([spread, 100.0 * np.repeat(walk[: rows // 3 + 1], 3)[:rows]], axis=1)
    else:
        x = 100.0 * walk[:, None]
    fate = rng.random(x.shape)
    x[fate < gaps] = np.nan
    x[fate < gaps / 4] = rng.choice([np.inf, -np.inf])
    if name != "macro":
        x[fate < gaps / 8] = rng.choice([0.0, -5.0])
    return np.ascontiguousarray(x)


def fold(name: str, state: Any, x: np.ndarray) -> tuple[Any, Labels]:
    out = np.empty(len(x), np.int8)
    return REGIMES[name].fold(params_of(name), state, np.ascontiguousarray(x[:, None, :]), out), out


def start(name: str) -> Any:
    return REGIMES[name].init(params_of(name))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(seed=SEEDS, gaps=st.sampled_from([0.0, 0.1, 0.6]), cut=st.integers(0, ROWS), pickled=st.booleans())
def test_cutting_and_resuming_changes_no_bit(name: str, seed: int, gaps: float, cut: int, pickled: bool) -> None:
    x = rows_of(name, seed, gaps)
    end, whole = fold(name, start(name), x)
    state, first = fold(name, start(name), x[:cut])
    saved = pickle.loads(pickle.dumps(state)) if pickled else copy.deepcopy(state)
    fold(name, state, x[::-1])  # the original goes on elsewhere; the snapshot must not feel it
    resumed, rest = fold(name, saved, x[cut:])
    assert whole.tobytes() == np.concatenate([first, rest]).tobytes()
    assert bits(resumed) == bits(end)


def bits(state: Any) -> bytes:
    """Every number of a state, nested ones included; what a ring holds and nobody will read is part of it."""
    if isinstance(state, tuple):
        return b"".join(bits(part) for part in state)
    return np.asarray(state, np.float64).tobytes()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(seed=SEEDS, gaps=st.sampled_from([0.0, 0.1]), cut=st.integers(0, ROWS), other=SEEDS)
def test_another_future_leaves_the_past_alone(name: str, seed: int, gaps: float, cut: int, other: int) -> None:
    x = rows_of(name, seed, gaps)
    changed = x.copy()
    changed[cut:] = rows_of(name, other, 0.3)[cut:]
    whole = classify(REGIMES[name], params_of(name), x)
    assert (classify(REGIMES[name], params_of(name), changed)[:cut] == whole[:cut]).all()
    assert (classify(REGIMES[name], params_of(name), x[:cut]) == whole[:cut]).all()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(seed=SEEDS, gaps=st.sampled_from([0.05, 0.5]))
def test_a_row_that_was_not_observed_is_passed_over(name: str, seed: int, gaps: float) -> None:
    """Without these rows the others get the same labels, and on them the label stands."""
    x = rows_of(name, seed, gaps)
    prices = x[:, -1:] if name == "macro" else x
    seen = np.isfinite(x).all(axis=1) & (prices > 0.0).all(axis=1)
    labels = classify(REGIMES[name], params_of(name), x)
    assert (labels[seen] == classify(REGIMES[name], params_of(name), x[seen])).all()
    before = np.concatenate([[UNKNOWN], labels[:-1]])
    assert (labels[~seen] == before[~seen]).all()


@pytest.mark.parametrize("name", NAMES)
def test_live_one_row_at_a_time_is_the_fold(name: str) -> None:
    regime, params = REGIMES[name], params_of(name)
    x = rows_of(name, 3, 0.1)
    state, single = regime.init(params), []
    for row in x[:, None, :]:
        state, label = regime.step(params, state, row)
        single.append(label)
    assert single == classify(regime, params, x).tolist()


@pytest.mark.parametrize("name", ["equity", "crypto", "volatility", "macro"])
@settings(max_examples=60)
@given(seed=SEEDS, factor=st.sampled_from([1_000.0, 1.0 / 1_000.0, 1_024.0, 7.3]))
def test_the_unit_of_a_price_does_not_matter(name: str, seed: int, factor: float) -> None:
    """Nor that of an activity index; a level of VIX is a level, and a spread is a fraction."""
    x = rows_of(name, seed, 0.05)
    scaled = x.copy()
    scaled[:, -1] *= factor
    assert (classify(REGIMES[name], params_of(name), x) == classify(REGIMES[name], params_of(name), scaled)).all()


@pytest.mark.parametrize("name", NAMES)
def test_these_walks_see_every_label(name: str) -> None:
    """Without this the laws above could hold of a classifier that never says anything."""
    seen = np.concatenate([classify(REGIMES[name], params_of(name), rows_of(name, seed, 0.05)) for seed in range(60)])
    assert set(np.unique(seen)) == {UNKNOWN, *range(len(REGIMES[name].names))}


# --- the sizer --------------------------------------------------------------------------------------------------------

SIZERS = st.builds(
    AdaptiveSizer,
    vol_target=st.sampled_from([0.05, 0.15, 1.0]),
    vol_window=st.sampled_from([2, 10, 40]),
    periods=st.sampled_from([252.0, 365.0]),
    cap=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    band=st.sampled_from([0.0, 0.1]),
)


def sized(sizer: AdaptiveSizer, state: Any, x: np.ndarray) -> tuple[Any, np.ndarray]:
    out = np.empty(len(x))
    return adaptive.fold(sizer, state, np.ascontiguousarray(x[:, None, :]), out), out


def worlds_of(seed: int, gaps: float) -> np.ndarray:
    """(T, 2): closes, and regime multipliers that stand for a while; both missing now and then."""
    rng = np.random.default_rng(seed)
    scale = np.repeat(rng.choice([0.0, 0.5, 1.0, 1.5], ROWS // 20 + 1), 20)[:ROWS]
    scale[rng.random(ROWS) < gaps] = np.nan
    return np.stack([rows_of("equity", seed, gaps)[:, 0], scale], axis=1)


@settings(max_examples=100)
@given(sizer=SIZERS, seed=SEEDS, gaps=st.sampled_from([0.0, 0.1, 0.6]), cut=st.integers(0, ROWS))
def test_a_sizer_that_is_cut_and_resumed_is_the_same(sizer: AdaptiveSizer, seed: int, gaps: float, cut: int) -> None:
    x = worlds_of(seed, gaps)
    whole = adaptive_multipliers(sizer, x[:, 0], x[:, 1])
    state, first = sized(sizer, adaptive.init(sizer), x[:cut])
    _, rest = sized(sizer, copy.deepcopy(state), x[cut:])
    assert whole.tobytes() == np.concatenate([first, rest]).tobytes()
    other = worlds_of(seed + 1, 0.3)
    other[:cut] = x[:cut]
    assert adaptive_multipliers(sizer, other[:, 0], other[:, 1])[:cut].tobytes() == whole[:cut].tobytes()


@settings(max_examples=100)
@given(sizer=SIZERS, seed=SEEDS, gaps=st.sampled_from([0.0, 0.1]))
def test_a_multiplier_lies_between_zero_and_the_cap(sizer: AdaptiveSizer, seed: int, gaps: float) -> None:
    x = worlds_of(seed, gaps)
    got = adaptive_multipliers(sizer, x[:, 0], x[:, 1])
    known = got[~np.isnan(got)]
    assert len(known) > ROWS / 2
    assert (known >= 0.0).all()
    assert (known <= sizer.cap).all()
    later = got[np.flatnonzero(~np.isnan(got))[0] :]
    assert not np.isnan(later).any()
