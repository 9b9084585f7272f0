"""What models want, fed row by row, is bit for bit what a backtest plans for the whole panel; also from memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import trimtab as tt
from tests.parity.conftest import crypto, indices
from trimtab.app.config import complete, read_spec
from trimtab.data.resampling import resample
from trimtab.engine.planner import Planner, planner
from trimtab.portfolio.budgets import combine
from trimtab.research.prepared import market_of
from trimtab.research.streams import plan_of
from trimtab.research.synthetic import synthetic_frames, synthetic_panel
from trimtab.types import (
    DAY,
    HOUR,
    AllocatorUse,
    Instrument,
    Model,
    Panel,
    Rebalance,
    Refusal,
    RegimeUse,
    SizerUse,
    Spec,
    TrimtabError,
    Weights,
)

SPECS = Path(__file__).resolve().parents[2] / "specs"
EXAMPLES = SPECS.parent / "examples"

Told = tuple[Weights, list[tuple[Refusal, int]]]


def made(spec: Spec, panel: Panel) -> Planner:
    return planner(spec, panel.instruments, panel.fields)


def fed(spec: Spec, panel: Panel, cuts: Sequence[int] = ()) -> Told:
    """Every row of a panel through a planner, which is saved and made anew before each row of `cuts`."""
    mark = market_of(panel, spec.base_currency).mark
    one, parts = made(spec, panel), list[Weights]()
    refused: list[tuple[Refusal, int]] = []
    for t in range(len(panel.ts)):
        if t in cuts:
            saved = one.save()
            for _ in range(3):  # the first goes on elsewhere: what was saved must not feel it
                one.advance(t, int(panel.ts[t]) + DAY, panel.values[t] * 1.5, mark[t])
                break
            one = made(spec, panel)
            one.load(saved)
            assert one.save() == saved
        parts.append(one.advance(t, int(panel.ts[t]), panel.values[t], mark[t]))
        refused += one.refused
        assert not one.faults
    return Weights(*(np.concatenate(column) for column in zip(*parts, strict=True))), refused


def assert_same(spec: Spec, panel: Panel, least: int = 20) -> None:
    plan = plan_of(spec, panel)
    want = combine(plan.streams)
    assert len(want.row) >= least, "nothing was decided: this proves nothing"
    rows = len(panel.ts)
    fits = {(refusal, s.model) for s in plan.streams for refusal in s.refused}
    splits = {(refusal, split.model) for split in plan.splits for refusal in split.refused}
    for cuts in ((), (0, 1, rows // 7, rows // 2, rows // 2 + 1, rows - 1)):
        told, refused = fed(spec, panel, cuts)
        for name, a, b in zip(Weights._fields, told, want, strict=True):
            assert a.tobytes() == np.ascontiguousarray(b).tobytes(), (name, cuts)
        assert set(refused) == fits | splits


def book(panel: Panel, *models: Model, **more: Any) -> Spec:
    return Spec(models=models, universe=panel.symbols, timeframe=panel.timeframe, **more)


# --- every strategy ---------------------------------------------------------------------------------------------------

#: Short enough for a few hundred bars.
SHORT: dict[str, dict[str, Any]] = {
    "buy_and_hold": {},
    "crypto_momentum": {"fast": 5, "slow": 12, "every": 3},
    "equity_trend": {"trend": 20, "exit": 8, "momentum": 6, "rerank": 4},
    "index_mean_reversion": {"window": 12, "entry_rsi": 25.0, "exit_rsi": 70.0, "width": 1.0},
    "momentum": {"lookback": 12, "vol_window": 15},
    "pairs_reversion": {"lookback": 25, "entry_z": 1.0, "exit_z": 0.3},
    "pairs_selected": {"window": 60, "every": 7, "min_correlation": -1.0, "rate": 1.0, "entry_z": 0.5, "exit_z": 0.2},
    "sma_cross": {"fast": 4, "slow": 11, "short": True},
}


@pytest.mark.parametrize("name", list(SHORT))
@pytest.mark.parametrize("when", ["on_change", "always"])
def test_every_strategy_on_days_with_gaps(name: str, when: str) -> None:
    panel = synthetic_panel(3, 420, 4, "1d")
    spec = book(panel, Model(strategy=name, params=SHORT[name]), rebalance=Rebalance(when=when))
    assert_same(spec, panel, least=1 if when == "on_change" else 20)


@pytest.mark.parametrize("name", [*SHORT, *(str(EXAMPLES / f"{n}.py") for n in ("autoregression", "volatility_breakout"))])  # fmt: skip  # noqa: E501
def test_every_strategy_on_a_coarser_timeframe_and_sized(name: str) -> None:
    """Days of hours, sessions and round the clock, with a sizer, a calendar and a least trade."""
    panel = synthetic_panel(4, 24 * 300, 4, "1h")
    universe = panel.symbols[:2] if name == "pairs_selected" else ()
    model = Model(strategy=name, params=SHORT.get(name, {}), timeframe="1d", universe=universe)
    plain = book(panel, model)
    assert_same(plain, panel, least=0)
    sized = book(
        panel,
        msgspec.structs.replace(model, sizer=SizerUse(name="volatility_target", params={"window": 10})),
        rebalance=Rebalance(buffer=0.01, min_trade=0.002, every=2 * 86_400.0),
    )
    assert_same(sized, panel, least=0)


@pytest.mark.parametrize("name", [n for n in SHORT if n != "crypto_momentum"])
def test_every_strategy_on_real_hours_with_gaps(name: str, shared: Path) -> None:
    panel = crypto(shared)
    universe = panel.symbols[:2] if name == "pairs_reversion" else ()
    timeframe = "1d" if name in ("equity_trend", "index_mean_reversion") else "1h"
    assert_same(book(panel, Model(strategy=name, params=SHORT[name], universe=universe, timeframe=timeframe)), panel, 1)


def test_real_sessions() -> None:
    panel = indices()
    names = ("buy_and_hold", "equity_trend", "index_mean_reversion", "momentum", "pairs_reversion", "sma_cross")
    assert_same(book(panel, *(Model(strategy=n, params=SHORT[n], budget=0.1, name=n) for n in names)), panel, 500)


# --- timeframes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", ["15m", "1h", "4h", "1d"])
def test_coarser_bars_of_sessions_and_round_the_clock(grid: str) -> None:
    """A strategy that says the whole bar, so that every field of every coarser bar is compared."""
    panel = synthetic_panel(7, {"15m": 4_000, "1h": 2_500, "4h": 900, "1d": 300}[grid], 4, grid)
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
@pytest.mark.parametrize("strategy", ["momentum", "pairs_reversion", "equity_trend", "pairs_selected"])
def test_every_sizer(name: str, strategy: str) -> None:
    panel = synthetic_panel(5, 500, 4, "1d")
    model = Model(strategy=strategy, params=SHORT[strategy], sizer=SizerUse(name=name, params=SIZERS[name]))
    assert_same(book(panel, model, rebalance=Rebalance(buffer=0.01)), panel)


def with_fields(panel: Panel, seed: int = 1) -> Panel:
    """The panel with series that are not traded: new on some rows, unknown for some time."""
    rng = np.random.default_rng(seed)
    rows = len(panel.ts)
    columns = {
        "VIX": 20.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, rows))),
        "curve.csv#spread": 0.01 + 0.02 * np.sin(np.arange(rows) / 40.0),
        "curve.csv#activity": 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.005, rows))),
    }
    values = np.stack([np.repeat(c[:, None], len(panel.instruments), axis=1) for c in columns.values()], axis=2)
    for k, often in enumerate((0.5, 0.3, 0.05)):
        values[rng.random(rows) > often, :, k] = np.nan
    values[: rows // 10] = np.nan
    return Panel(
        panel.ts, panel.instruments, (*panel.fields, *columns), np.concatenate((panel.values, values), axis=2),
        panel.timeframe,
    )  # fmt: skip


REGIMES = (
    RegimeUse(regime="equity", reads="SYN1", params={"average": 20, "slope": 4}),
    RegimeUse(regime="vix", name="fear", reads="VIX"),
    RegimeUse(regime="volatility", reads="SYN3", params={"window": 5, "history": 60, "least": 20}),
    RegimeUse(
        regime="macro",
        name="economy",
        reads={"term_spread": "x/curve.csv#spread", "activity": "x/curve.csv#activity"},
        params={"growth": 12, "smoothing": 3, "lead": 20},
    ),
)
FOLLOWS: dict[str, dict[str, float]] = {
    "equity": {"bear": 0.5, "unknown": 0.3},
    "fear": {"crisis": 0.0, "high": 0.5, "low": 0.7},
    "volatility": {"high": 0.4, "crisis": 0.1},
    "economy": {"contraction": 0.25},
}


@pytest.mark.parametrize("grid", ["1d", "4h"])
@pytest.mark.parametrize("allocator", [None, "inverse_volatility", "equal_risk"])
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


def test_an_allocator_that_refuses_leaves_what_stood() -> None:
    pytest.importorskip("skfolio")
    panel = synthetic_panel(6, 250, 4, "1d")
    use = AllocatorUse(name="maximum_diversification", window=5, every=86_400.0)
    assert_same(book(panel, Model(strategy="buy_and_hold", allocator=use)), panel)


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


@pytest.mark.parametrize("grid", ["1h", "4h"])
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


# --- what a backtest has not ------------------------------------------------------------------------------------------

CHEATS: dict[str, tuple[str, str, str]] = {
    "raises": ("if x[0, 0] > p.level:\n        raise ValueError('too high')", "1.0", "raised ValueError: too high"),
    "infinite": ("pass", "np.inf if x[0, 0] > p.level else 1.0", "the forecast of unit 1 is inf"),
}

STRATEGY = '''"""Fails above a level."""
from typing import NamedTuple

import numpy as np
from numba import njit

from trimtab.types import Strategy


class Params(NamedTuple):
    level: float = 1e9


class State(NamedTuple):
    rows: int


@njit(cache=True)
def init(p):
    return State(0)


@njit(cache=True)
def step(p, s, x):
    {does}
    return State(s.rows + 1), {says}


def warmup(p):
    return 0


STRATEGY = Strategy(
    name="fails", fields=("close",), params=Params(), ranges={{"level": (0.0, 1e12)}}, init=init, step=step,
    warmup=warmup,
)
'''


@pytest.mark.parametrize("kind", list(CHEATS))
def test_a_model_that_fails_is_isolated(kind: str, tmp_path: Path) -> None:
    does, says, message = CHEATS[kind]
    file = tmp_path / "fails.py"
    file.write_text(STRATEGY.format(does=does, says=says))
    panel = synthetic_panel(9, 200, 2, "1d")
    close = panel.values[:, 1, 3]
    t = 100 + int(np.nanargmax(close[100:]))
    seen = panel.values[:, :, 3][:t]
    level = max(np.nanmax(seen), panel.values[t, 0, 3] if panel.values[t, 0, 3] < close[t] else 0.0)
    if not level < close[t]:
        level = float(np.nextafter(close[t], 0.0))
        panel = Panel(panel.ts, panel.instruments, panel.fields, _capped(panel.values, t, level), panel.timeframe)
    good = Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.3)
    bad = Model(strategy=str(file), params={"level": float(level)}, budget=0.3, name="bad")
    spec = book(panel, good, bad, msgspec.structs.replace(good, name="again"))
    rest = combine(plan_of(book(panel, good, msgspec.structs.replace(good, name="again")), panel).streams)
    one, parts, mark = made(spec, panel), list[Weights](), market_of(panel, "USD").mark
    faults: list[tuple[int, str]] = []
    for row in range(len(panel.ts)):
        parts.append(one.advance(row, int(panel.ts[row]), panel.values[row], mark[row]))
        faults += one.faults
    ((m, told),) = faults
    assert m == 1
    assert one.quarantined == (1,)
    assert message in told
    assert "model bad, row closed" in told
    all_of = Weights(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    others = all_of.model != 1
    assert np.array_equal(all_of.row[others], rest.row)
    assert np.array_equal(all_of.value[others], rest.value)
    last = all_of.row[~others] == t
    assert all_of.row[~others].max() == t
    assert all_of.value[~others][last].tolist() == [0.0, 0.0]
    assert all_of.instrument[~others][last].tolist() == [0, 1]


def _capped(values: np.ndarray, t: int, level: float) -> np.ndarray:
    """Closes no higher than a level, but for one."""
    found = values.copy()
    kept = found[t, 1, 3]
    found[:, :, 3] = np.minimum(found[:, :, 3], level)
    found[t, 1, 3] = kept
    return found


def test_quarantine_is_said_once_and_survives_a_restart() -> None:
    panel = synthetic_panel(9, 60, 2, "1d")
    spec = book(panel, *(Model(strategy="buy_and_hold", name=n, budget=0.5) for n in "ab"))
    mark = market_of(panel, "USD").mark
    one = made(spec, panel)
    for t in range(20):
        one.advance(t, int(panel.ts[t]), panel.values[t], mark[t])
    one.quarantine(0)
    saved = one.save()
    one = made(spec, panel)
    one.load(saved)
    told = one.advance(20, int(panel.ts[20]), panel.values[20], mark[20])
    assert [told.row.tolist(), told.model.tolist(), told.instrument.tolist()] == [[20, 20], [0, 0], [0, 1]]
    assert told.value.tolist() == [0.0, 0.0]
    assert not len(one.advance(21, int(panel.ts[21]), panel.values[21], mark[21]).row)
    with pytest.raises(TrimtabError, match="no model 2 to quarantine: the book has 2"):
        one.quarantine(2)


def test_a_memory_of_something_else_is_refused() -> None:
    panel = synthetic_panel(9, 60, 2, "1d")
    spec = book(panel, Model(strategy="sma_cross", params={"fast": 3, "slow": 9}))
    saved = made(spec, panel).save()
    other = made(msgspec.structs.replace(spec, seed=5), panel)
    with pytest.raises(TrimtabError, match="of another spec, other instruments or other code"):
        other.load(saved)
    with pytest.raises(TrimtabError, match="cannot be read"):
        other.load(saved[:-7])
    with pytest.raises(TrimtabError, match="cannot be read"):
        other.load(b"\xff\x00 nonsense")


def test_rows_come_in_order_and_models_must_fit() -> None:
    panel = synthetic_panel(9, 60, 2, "1d")
    one = made(book(panel, Model(strategy="buy_and_hold")), panel)
    one.advance(0, 10 * HOUR, panel.values[0], np.zeros(2))
    with pytest.raises(TrimtabError, match="rows come in order"):
        one.advance(1, 10 * HOUR, panel.values[1], np.zeros(2))
    for model, message in (
        (Model(strategy="pairs_reversion", universe=("SYN1",)), "multiple of 2"),
        (Model(strategy="sma_cross", universe=("NONE",)), "NONE is not in the book's universe"),
        (Model(strategy="sma_cross", timeframe="1h"), "does not fit on the book's grid"),
        (Model(strategy="sma_cross", timeframe="7h"), "is none of"),
        (Model(strategy="sma_cross", regime_budgets={"vix": {"crisis": 0.0}}), "no regime of this name"),
    ):
        with pytest.raises(TrimtabError, match=message):
            made(book(panel, model), panel)
    vix = (RegimeUse(regime="vix", reads="VXI"),)
    with pytest.raises(TrimtabError, match=r"regimes.0.reads: 'VXI' is neither a symbol nor a field of the feed"):
        made(book(panel, Model(strategy="sma_cross", regime_budgets={"vix": {"crisis": 0.0}}), regimes=vix), panel)


#: A fit, a pair, `across` and sizers on two timeframes; prints how often numba compiled.
SCRIPT = """
import json
import numpy as np
from numba.core import event
seen = event.RecordingListener()
with event.install_listener("numba:compile", seen):
    import trimtab as tt
    from trimtab.engine.planner import planner
    from trimtab.research.synthetic import synthetic_panel
    panel = synthetic_panel(3, 60, 2, "4h")
    names = ("sma_cross", "pairs_reversion", "equity_trend")
    models = [tt.Model(strategy=n, budget=0.1, timeframe="1d") for n in names]
    models += [tt.Model(strategy="crypto_momentum", params={"fast": 2, "slow": 4}, timeframe="1d", budget=0.1)]
    for rebalance in (tt.Rebalance(), tt.Rebalance(min_trade=0.1, buffer=0.1)):
        sizer = tt.SizerUse(name="volatility_target") if rebalance.buffer else None
        spec = tt.Spec(models=models, universe=panel.symbols, timeframe="4h", rebalance=rebalance, sizer=sizer)
        one = planner(spec, panel.instruments, panel.fields)
        for t in range(60):
            one.advance(t, int(panel.ts[t]), panel.values[t], np.ones(2))
        one.load(one.save())
        assert not one.faults
print(json.dumps(sum(e.is_start for _, e in seen.buffer)))
"""


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | {"TRIMTAB_CACHE": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    counts: list[int] = []
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout))
    assert counts[0] > 20
    assert counts[1] == 0


def test_memory_does_not_grow_with_rows() -> None:
    panel = with_fields(synthetic_panel(6, 1_200, 4, "4h"))
    spec = book(
        panel,
        Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.5, regime_budgets=FOLLOWS),
        Model(strategy="crypto_momentum", params=SHORT["crypto_momentum"], budget=0.5, timeframe="1d"),
        regimes=REGIMES,
        allocator=AllocatorUse(name="inverse_volatility", window=15, every=86_400.0),
    )
    mark, one, sizes = market_of(panel, "USD").mark, made(spec, panel), list[int]()
    for t in range(1_200):
        one.advance(t, int(panel.ts[t]), panel.values[t], mark[t])
        if panel.ts[t] % DAY == 0:
            sizes.append(len(one.save()))
    assert max(sizes[-50:]) <= max(sizes[50:100]) + 64  # numbers grow by digits
