"""Indicators and frame strategies: blocks in a backtest, row by row in an engine, from a snapshot: the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import trimtab as tt
from tests.parity import engaged
from tests.parity.conftest import FULL, crypto
from tests.parity.engaged import Way, head
from tests.parity.planned import SHORT, assert_same, book, made
from trimtab.engine.saving import pack, unpack
from trimtab.research.prepared import market_of
from trimtab.research.synthetic import synthetic_panel
from trimtab.types import HOUR, Model, Panel, Rebalance, SizerUse, TrimtabError

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
FRAMED: dict[str, Path] = {
    "frame_reversal": EXAMPLES / "frame_reversal.py",
    "efficient_trend": EXAMPLES / "efficient_trend.py",
    "framed_ewm": HERE / "framed_ewm.py",
    "derived_pair": HERE / "derived_pair.py",
}


def model(name: str, **more: Any) -> Model:
    return Model(**{"strategy": str(FRAMED[name]), "name": name, "budget": 0.5, **more})


def with_gaps(panel: Panel, seed: int) -> Panel:
    """Bars that are not there, and volumes that nobody knows."""
    rng = np.random.default_rng(seed)
    values = panel.values.copy()
    values[rng.random(values.shape[:2]) < 0.05] = np.nan
    values[rng.random(values.shape[:2]) < 0.05, 4] = np.nan
    return Panel(panel.ts, panel.instruments, panel.fields, values, panel.timeframe)


@pytest.mark.parametrize("when", ["always", pytest.param("on_change", marks=pytest.mark.nightly)])
def test_the_planner_plans_what_a_backtest_does_on_days_with_gaps(when: str) -> None:
    panel = with_gaps(synthetic_panel(3, 300, 3, "1d"), 1)
    models = (
        model("frame_reversal"),
        model("efficient_trend"),
        model("framed_ewm", params={"half_life": 0.5}),
        model("derived_pair", universe=("SYN3", "SYN1")),
    )
    assert_same(book(panel, *models, rebalance=Rebalance(when=when)), panel, 100)
    for each in models:  # alone, a model tells its weights in an order of its own
        assert_same(book(head(panel, 120), each), head(panel, 120), 1)


@pytest.mark.parametrize("name", [*(pytest.param(n, marks=pytest.mark.nightly) for n in FRAMED), ""])
def test_on_a_coarser_timeframe_and_sized(name: str) -> None:
    """4h bars of hours, sessions and round the clock, with a sizer, a calendar and a least trade; "": all in one."""
    panel = with_gaps(synthetic_panel(4, 1_600 if name else 1_000, 4, "1h"), 2)
    names = [name] if name else list(FRAMED)
    params = {"framed_ewm": {"half_life": 0.5}}
    plain = [model(n, timeframe="4h", params=params.get(n, {}), budget=0.2) for n in names]
    assert_same(book(panel, *plain), panel, least=10, whole=False)
    use = SizerUse(name="volatility_target", params={"window": 10})
    sized = (msgspec.structs.replace(each, sizer=use) for each in plain)
    pace = Rebalance(buffer=0.01, min_trade=0.002, every=2 * 86_400.0)
    assert_same(book(panel, *sized, rebalance=pace), panel, least=4, whole=False)


@pytest.mark.parametrize("rows", [500, pytest.param(2_000, marks=pytest.mark.nightly)])
def test_real_hours_beside_other_models(rows: int, shared: Path) -> None:
    """Over several blocks, in a book whose weights are told in order."""
    panel = head(crypto(shared), rows)
    models = (
        model("frame_reversal", budget=0.2),
        model("derived_pair", universe=("ADAEUR", "BTCEUR"), budget=0.2),
        model("efficient_trend", budget=0.2, timeframe="4h"),
        Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.2),
        model("framed_ewm", budget=0.2, params={"half_life": 2.0}),
    )
    assert_same(book(panel, *models), panel, rows // 4)


def test_backtest_engine_and_journal_are_one_run(memory_path: Path, ways: Sequence[Way]) -> None:
    """Rolling means, averages that fade, a compiled step, legs with a fit, a coarser timeframe, missing bars."""
    panel = with_gaps(synthetic_panel(5, 320, 2, "1h"), 3)
    models = (
        model("frame_reversal", budget=0.3),
        model("efficient_trend", budget=0.2, timeframe="4h", params={"window": 10}),
        model("framed_ewm", budget=0.3, params={"half_life": 0.5}),
        model("derived_pair", budget=0.2, params={"window": 8}),
    )
    run = engaged.assert_same(book(panel, *models, costs=FULL), panel, memory_path, ways, seed=1, fills=50)
    assert {int(m) for m in run.fold.weights.model} == {0, 1, 2, 3}
    block = 256 * HOUR
    assert panel.ts[0] // block != panel.ts[-1] // block, "no block ended: this proves little"


@pytest.mark.nightly
@pytest.mark.parametrize("name", list(FRAMED))
def test_each_on_real_hours_through_the_engine(name: str, shared: Path, memory_path: Path, ways: Sequence[Way]) -> None:
    panel = head(crypto(shared), 600)
    universe = panel.symbols[:2] if name == "derived_pair" else ()
    spec = book(panel, model(name, universe=universe), costs=FULL)
    engaged.assert_same(spec, panel, memory_path, ways, seed=len(name), fills=10)


# --- where blocks begin -----------------------------------------------------------------------------------------------


def test_where_history_begins_moves_nothing_once_it_is_in_another_block() -> None:
    """Anchors are instants: a later start makes the same frames, so the same bits, from the next full one on."""
    panel = synthetic_panel(6, 1_500, 1, "1h")
    first = 401
    late = Panel(panel.ts[first:], panel.instruments, panel.fields, panel.values[first:].copy(), "1h")
    spec = book(panel, model("frame_reversal"), rebalance=Rebalance(when="always"))
    whole, part = (tt.backtest(spec, each).fold.weights for each in (panel, late))
    said = {int(panel.ts[row]): value for row, value in zip(whole.row, whole.value, strict=True)}
    again = {int(late.ts[row]): value for row, value in zip(part.row, part.value, strict=True)}
    block = 256 * HOUR
    full = (int(late.ts[40]) // block + 1) * block
    shared_rows = [ts for ts in again if ts >= full]
    assert len(shared_rows) > 600
    assert all(said[ts] == again[ts] for ts in shared_rows)
    assert all(abs(said[ts] - again[ts]) < 1e-9 for ts in again)


# --- mistakes ---------------------------------------------------------------------------------------------------------

#: What is wrong, and what is said of it; by the number that framed_wrong.py knows it by.
MISTAKES: dict[int, str] = {
    1: "it raised ColumnNotFoundError: ",
    2: "it raised ValueError: no luck",
    3: "it returned 1 values for",
    4: "it returned 3 values for",
    5: "it returned a DataFrame; expected a Polars expression or Series",
    6: "it returned values of type String; expected numbers",
    7: "it raised InvalidOperationError: ",
}


def wrong(**params: int) -> Model:
    return Model(strategy=str(HERE / "framed_wrong.py"), name="bad", budget=0.3, params=params)


@pytest.mark.parametrize("kind", list(MISTAKES))
def test_a_wrong_function_is_one_clear_error_and_a_quarantine(kind: int) -> None:
    said = MISTAKES[kind]
    panel = synthetic_panel(7, 120, 2, "1d")
    spec = book(panel, Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.3), wrong(kind=kind))
    with pytest.raises(TrimtabError) as raised:
        tt.backtest(spec, panel)
    for part in ("model bad: indicator forecast of SYN1, ", " rows closed 20", said):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    one, mark = made(spec, panel), market_of(panel, "USD").mark
    for row in range(30):
        one.advance(row, int(panel.ts[row]), panel.values[row], mark[row])
    ((m, told),) = one.faults
    assert m == 1
    assert "model bad, row closed 20" in told
    assert "indicator forecast of SYN1, 21 rows closed 20" in told
    assert said in told
    assert one.quarantined == (1,)


def test_a_warm_up_that_is_none_is_refused_by_both() -> None:
    panel = synthetic_panel(7, 60, 1, "1d")
    spec = book(panel, wrong(warmup=-1))
    calls: tuple[Callable[..., Any], ...] = (tt.backtest, made)
    for call in calls:
        with pytest.raises(TrimtabError, match="warmup of indicator forecast is -1; expected a whole number of rows"):
            call(spec, panel)


def test_bools_are_numbers_and_what_is_not_said_abstains() -> None:
    panel = synthetic_panel(7, 60, 1, "1d")
    spec = book(panel, wrong(kind=0, warmup=1), rebalance=Rebalance(when="always"))
    weights = tt.backtest(spec, panel).fold.weights
    close = panel.values[:, 0, 3]
    rose = np.diff(close[~np.isnan(close)]) > 0.0
    np.testing.assert_array_equal(weights.value, 0.3 * rose)


@pytest.mark.parametrize("bend", ["shorter", "fewer units"])
def test_a_memory_that_does_not_fit_is_refused(bend: str) -> None:
    panel = synthetic_panel(7, 60, 2, "1d")
    spec, mark = book(panel, wrong(kind=0)), market_of(panel, "USD").mark
    one = made(spec, panel)
    for row in range(50):
        one.advance(row, int(panel.ts[row]), panel.values[row], mark[row])
    tree = unpack(one.save())
    past = tree["models"][0]["parts"][2]
    assert len(past) == 2
    if bend == "shorter":
        past[0][1] = past[0][1][:-1]
    else:
        past.pop()
    with pytest.raises(TrimtabError, match="start without it"):
        made(spec, panel).load(pack(tree))
