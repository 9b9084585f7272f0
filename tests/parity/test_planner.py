"""What models want, fed row by row, is bit for bit what a backtest plans for the whole panel; also from memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

import trimtab as tt
from tests.parity.conftest import acted_on, crypto, indices
from tests.parity.planned import (
    FOLLOWS,
    FORMS,
    REGIMES,
    SHORT,
    assert_same,
    book,
    by_night_unless,
    timeframe_for,
    with_fields,
)
from trimtab.app.config import complete, read_spec
from trimtab.data.resampling import resample
from trimtab.portfolio.allocators import ALLOCATORS, Allocator, inverse_volatility
from trimtab.research.streams import plan_of
from trimtab.research.synthetic import synthetic_frames, synthetic_panel
from trimtab.types import (
    DAY,
    F64,
    AllocatorUse,
    Instrument,
    Model,
    Panel,
    Rebalance,
    SizerUse,
)

SPECS = Path(__file__).resolve().parents[2] / "specs"
EXAMPLES = SPECS.parent / "examples"

# --- every strategy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SHORT))
@pytest.mark.parametrize("when", ["on_change", pytest.param("always", marks=pytest.mark.nightly)])
def test_every_strategy_on_days_with_gaps(name: str, when: str) -> None:
    panel = synthetic_panel(3, 420, 4, timeframe_for(name, "1d"))
    spec = book(panel, Model(strategy=name, params=SHORT[name]), rebalance=Rebalance(when=when))
    assert_same(spec, panel, least=1 if when == "on_change" else 20)


#: Coarser bars and sizers know nothing of a strategy: by day one of each form, and one that is a file with a fit.
COARSER = [*by_night_unless(FORMS, SHORT), str(EXAMPLES / "autoregression.py")]
COARSER += by_night_unless((), [str(EXAMPLES / "volatility_breakout.py")])
SHORT_FIT = {"window": 40, "every": 7}


@pytest.mark.parametrize("name", COARSER)
def test_every_strategy_on_a_coarser_timeframe_and_sized(name: str) -> None:
    """Days of hours, sessions and round the clock, with a sizer, a calendar and a least trade."""
    panel = synthetic_panel(4, 24 * 130, 4, "1h")
    universe = panel.symbols[:2] if name == "pairs_selected" else ()
    timeframe = timeframe_for(name, "1d")
    params = SHORT_FIT if "autoregression" in name else SHORT.get(name, {})
    model = Model(strategy=name, params=params, timeframe=timeframe, universe=universe)
    plain = book(panel, model)
    assert_same(plain, panel, least=0)
    sized = book(
        panel,
        msgspec.structs.replace(model, sizer=SizerUse(name="volatility_target", params={"window": 10})),
        rebalance=Rebalance(buffer=0.01, min_trade=0.002, every=2 * 86_400.0),
    )
    assert_same(sized, panel, least=0, whole=False)


@pytest.mark.parametrize("name", [n for n in SHORT if n != "crypto_momentum"])
def test_every_strategy_on_real_hours_with_gaps(name: str, shared: Path) -> None:
    panel = crypto(shared)
    universe = panel.symbols[:2] if name == "pairs_reversion" else ()
    timeframe = "1d" if name in ("equity_trend", "index_mean_reversion") else timeframe_for(name, "1h")
    assert_same(book(panel, Model(strategy=name, params=SHORT[name], universe=universe, timeframe=timeframe)), panel, 1)


def test_real_sessions() -> None:
    panel = indices()
    names = ("buy_and_hold", "equity_trend", "index_mean_reversion", "momentum", "pairs_reversion", "sma_cross")
    assert_same(book(panel, *(Model(strategy=n, params=SHORT[n], budget=0.1, name=n) for n in names)), panel, 500)


# --- timeframes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", ["15m", "1h", "4h", "1d"])
def test_coarser_bars_of_sessions_and_round_the_clock(grid: str) -> None:
    """A strategy that says the whole bar, so that every field of every coarser bar is compared."""
    panel = synthetic_panel(7, {"15m": 2_000, "1h": 2_500, "4h": 900, "1d": 300}[grid], 4, grid)
    fine = [t for t in ("30m", "1h", "4h", "1d", "1w") if tt.types.TIMEFRAMES[t] > tt.types.TIMEFRAMES[grid]]
    models = [Model(strategy=str(Path(__file__).parent / "bar_says.py"), timeframe=t, name=t, budget=0.1) for t in fine]
    assert_same(book(panel, *models), panel, 50)


def test_legs_in_the_order_of_the_model_and_many_pairs() -> None:
    panel = synthetic_panel(8, 500, 6, "1d")
    pairs = Model(strategy="pairs_reversion", params=SHORT["pairs_reversion"], universe=("SYN2", "SYN1"))
    assert_same(book(panel, pairs), panel, 4)  # alone it tells its legs in its own order
    many = msgspec.structs.replace(pairs, universe=("SYN6", "SYN5", "SYN2", "SYN1"), budget=0.5)
    cross = Model(strategy="sma_cross", params=SHORT["sma_cross"], universe=("SYN4", "SYN2", "SYN3"), budget=0.5)
    assert_same(book(panel, many, cross, many), panel)
    basket = Model(strategy="pairs_selected", params=SHORT["pairs_selected"], universe=("SYN6", "SYN1", "SYN5", "SYN2"))
    assert_same(book(panel, basket), panel, 4)
    assert_same(book(panel, basket, cross, rebalance=Rebalance(when="always")), panel)


@pytest.mark.parametrize("name", list(SHORT))
def test_splits_and_dividends(name: str) -> None:
    panel = acted_on(synthetic_panel(10, 500, 4, timeframe_for(name, "1d")))
    universe = ("SYN1", "SYN2") if name == "pairs_reversion" else ()
    assert_same(book(panel, Model(strategy=name, params=SHORT[name], universe=universe)), panel, least=1)


# --- sizers, regimes, allocators --------------------------------------------------------------------------------------

SIZERS: dict[str, dict[str, Any]] = {
    "fixed_fraction": {"risk": 0.02, "stop": 0.05},
    "volatility_target": {"window": 15},
    "volatility_target_window": {"window": 15},
    "confidence": {"threshold": 0.1},
    "kelly": {"window": 30},
    "convexity": {"window": 20},
    "adaptive": {"vol_window": 15},
}


@pytest.mark.parametrize("name", list(SIZERS))
@pytest.mark.parametrize(
    "strategy",
    [
        "momentum",
        "pairs_selected",
        pytest.param("pairs_reversion", marks=pytest.mark.nightly),
        pytest.param("equity_trend", marks=pytest.mark.nightly),
    ],
)
def test_every_sizer(name: str, strategy: str) -> None:
    panel = synthetic_panel(5, 500, 4, "1d")
    model = Model(strategy=strategy, params=SHORT[strategy], sizer=SizerUse(name=name, params=SIZERS[name]))
    assert_same(book(panel, model, rebalance=Rebalance(buffer=0.01)), panel)


#: An allocator without a sizer on hours: days have met it, and the other one is of the same hours.
SAME = pytest.param("4h", "inverse_volatility", marks=pytest.mark.nightly)


@pytest.mark.parametrize(
    ("grid", "allocator"),
    [("1d", None), ("4h", None), ("1d", "inverse_volatility"), SAME, ("1d", "equal_risk"), ("4h", "equal_risk")],
)
def test_a_book_of_everything(grid: str, allocator: str | None) -> None:
    panel = with_fields(synthetic_panel(6, {"1d": 500, "4h": 1_500}[grid], 4, grid))
    models = (
        Model(
            strategy="sma_cross",
            params=SHORT["sma_cross"],
            budget=0.4,
            regime_budgets=FOLLOWS,
            sizer=SizerUse(name="volatility_target", params={"window": 15}),
            allocator=AllocatorUse(name="inverse_volatility", window=20, every=3 * 86_400.0),
        ),
        Model(strategy="buy_and_hold", budget=0.2, timeframe="1d", regime_budgets={"fear": {"crisis": 0.0}}),
        Model(strategy="equity_trend", params=SHORT["equity_trend"], budget=0.1, timeframe="1d", name="trend"),
        Model(strategy="pairs_reversion", params=SHORT["pairs_reversion"], universe=("SYN2", "SYN1"), budget=0.2),
        Model(
            strategy="momentum",
            params=SHORT["momentum"],
            budget=0.1,
            regime_budgets={"equity": {"bear": 0.5}},
            sizer=SizerUse(name="adaptive", params={"vol_window": 15}),
        ),
    )
    spec = book(
        panel,
        *models,
        regimes=REGIMES,
        allocator=AllocatorUse(name=allocator, window=15, every=5 * 86_400.0) if allocator else None,
        sizer=SizerUse(name="confidence") if allocator == "equal_risk" else None,
        rebalance=Rebalance(buffer=0.01, min_trade=0.003, every=86_400.0),
    )
    assert_same(spec, panel, 200)
    if allocator is None:
        bare = tuple(msgspec.structs.replace(model, sizer=None) for model in models)
        assert_same(msgspec.structs.replace(spec, models=bare, rebalance=Rebalance()), panel, 100)


def test_an_allocator_that_refuses_leaves_what_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that finds no shares after a first day of losses, over instruments and over models."""

    def moody(returns: F64) -> F64:
        return inverse_volatility(returns) * (returns[0].sum() > 0.0)

    monkeypatch.setitem(cast("dict[str, Allocator]", ALLOCATORS), "moody", Allocator("moody", "", moody))
    panel = synthetic_panel(6, 120, 4, "1d")
    use = AllocatorUse(name="moody", window=5, every=2 * 86_400.0)
    spec = book(
        panel,
        Model(strategy="buy_and_hold", allocator=use, budget=0.5),
        Model(strategy="momentum", params=SHORT["momentum"], budget=0.5),
        allocator=use,
        rebalance=Rebalance(buffer=0.01),
    )
    assert all(len(split.refused) > 5 for split in plan_of(spec, panel).splits)
    assert_same(spec, panel)


def in_euros(panel: Panel) -> Panel:
    quoted = tuple(msgspec.structs.replace(i, quote="EUR") for i in panel.instruments)
    return Panel(panel.ts, quoted, panel.fields, panel.values, panel.timeframe)


def test_many_coins_with_calendars_and_the_shipped_book(shared: Path) -> None:
    panel = in_euros(crypto(shared))
    spec = complete(read_spec(SPECS / "crypto_book.yaml"))
    models = tuple(
        msgspec.structs.replace(model, params={**model.params, **SHORT[model.strategy]}, universe=())
        for model in spec.models
    )
    assert_same(
        msgspec.structs.replace(spec, universe=panel.symbols, timeframe="1h", start="", end="", models=models), panel
    )


# By hours it trades in the nightly run; by day the whole engine trades it in test_live_run.
@pytest.mark.parametrize("grid", [pytest.param("1h", marks=pytest.mark.nightly), "4h"])
def test_the_shipped_book_of_stocks_and_coins(grid: str) -> None:
    named = {
        **{s: Instrument(symbol=s, calendar="XNYS", asset_class="equity") for s in ("SPY", "QQQ")},
        **{s: Instrument(symbol=s) for s in ("BTC", "ETH")},
    }
    first = int(np.datetime64("2015-01-01", "ns").astype(np.int64))
    frames = synthetic_frames(7, list(named.values()), "1h", first, first + 420 * DAY)
    if grid != "1h":
        frames = {s: resample(frame, "1h", grid, named[s].calendar) for s, frame in frames.items()}
    panel = Panel.from_frames(frames, grid, named.values())
    spec = complete(read_spec(SPECS / "multi_model.yaml"))
    assert_same(msgspec.structs.replace(spec, timeframe=grid), panel)


def test_the_shipped_pair(shared: Path) -> None:
    panel = in_euros(crypto(shared))
    spec = complete(read_spec(SPECS / "neutral_pairs.yaml"))
    assert_same(msgspec.structs.replace(spec, timeframe="1h"), panel, 10)
