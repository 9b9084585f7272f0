"""Books drawn at random: timeframes, universes, sizers, regimes, allocators and calendars in any company."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import numpy as np
import pytest

from tests.parity.planned import FOLLOWS, REGIMES, SHORT, assert_same, book, with_fields
from trimtab.research.synthetic import synthetic_panel
from trimtab.strategies import find
from trimtab.types import TIMEFRAMES, AllocatorUse, Model, NotEnoughData, Panel, Rebalance, SizerUse, Spec

T = TypeVar("T")
ROWS = {"1d": 300, "4h": 700, "1h": 1_500, "30m": 2_500}
SIZERS = ("volatility_target", "kelly", "convexity", "confidence", "adaptive", "fixed_fraction")
DAILY = ("crypto_momentum", "equity_trend", "index_mean_reversion")


def one_of(rng: np.random.Generator, values: tuple[T, ...]) -> T:
    return values[int(rng.integers(len(values)))]


def model_of(rng: np.random.Generator, k: int, panel: Panel) -> Model:
    coarser = tuple(t for t in ("30m", "1h", "4h", "1d") if TIMEFRAMES[t] >= TIMEFRAMES[panel.timeframe])
    name = one_of(rng, tuple(n for n in SHORT if {*coarser} & {*find(n).timeframes}))
    allowed = tuple(t for t in (*coarser, *(("1w",) if rng.random() < 0.2 else ())) if t in find(name).timeframes)
    universe = [str(s) for s in rng.permutation(panel.symbols)]
    if name == "pairs_selected":  # all of a basket must have bars at once: those that trade round the clock
        universe = [s for s in universe if s not in ("SYN3", "SYN4")]
    elif rng.random() < 0.5:
        universe = universe[: 2 if name == "pairs_reversion" else int(rng.integers(1, 6))]
    splits = name in ("sma_cross", "momentum", "buy_and_hold") and len(universe) > 1 and rng.random() < 0.4
    return Model(
        strategy=name,
        name=f"m{k}",
        params=SHORT[name],
        timeframe="1d" if name in DAILY else one_of(rng, allowed),
        universe=tuple(universe),
        budget=0.2,
        sizer=SizerUse(name=one_of(rng, SIZERS)) if rng.random() < 0.4 else None,
        allocator=AllocatorUse(name="inverse_volatility", window=8, every=one_of(rng, (3_600.0, 86_400.0, 259_200.0)))
        if splits
        else None,
        regime_budgets={regime: table for regime, table in FOLLOWS.items() if rng.random() < 0.3},
    )


def spec_of(rng: np.random.Generator, panel: Panel) -> Spec:
    models = tuple(model_of(rng, k, panel) for k in range(int(rng.integers(1, 5))))
    plain = rng.random() < 0.4 and not any(model.sizer for model in models)
    coarser = tuple(t for t in ("1h", "4h", "1d", "1w") if TIMEFRAMES[t] >= TIMEFRAMES[panel.timeframe])
    over = len(models) > 1 and rng.random() < 0.3
    return book(
        panel,
        *models,
        regimes=tuple(msgspec.structs.replace(use, timeframe=one_of(rng, coarser)) for use in REGIMES),
        allocator=AllocatorUse(name="equal_risk", window=8, every=2 * 86_400.0) if over else None,
        rebalance=Rebalance()
        if plain
        else Rebalance(
            when=one_of(rng, ("on_change", "always")),
            buffer=0.01,
            min_trade=one_of(rng, (0.0, 0.01)),
            every=one_of(rng, (0.0, 0.0, 86_400.0, 604_800.0)),
        ),
    )


def tried(seed: int) -> bool:
    """False where the panel is too short for a model, of which only a backtest complains."""
    rng = np.random.default_rng(seed)
    grid = one_of(rng, tuple(ROWS))
    panel = with_fields(synthetic_panel(seed, ROWS[grid], 6, grid), seed)
    try:
        assert_same(spec_of(rng, panel), panel, 0)
    except NotEnoughData:
        return False
    return True


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 30), marks=pytest.mark.nightly)])
def test_books_drawn_at_random(seeds: range) -> None:
    assert 2 * sum(tried(seed) for seed in seeds) >= len(seeds)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 500, 20))
def test_many_books_drawn_at_random(seed: int) -> None:
    assert sum(tried(k) for k in range(seed, seed + 20)) >= 8
