"""Indicators and frame strategies: blocks in a backtest, row by row in an engine, from a snapshot: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import trimtab as tt
from tests.parity import engaged
from tests.parity.conftest import FULL, crypto
from tests.parity.engaged import head
from tests.parity.planned import SHORT, assert_same, book, made
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


@pytest.mark.parametrize("name", list(FRAMED))
@pytest.mark.parametrize("when", ["on_change", "always"])
def test_the_planner_plans_what_a_backtest_does_on_days_with_gaps(name: str, when: str) -> None:
    panel = with_gaps(synthetic_panel(3, 700, 4, "1d"), 1)
    assert_same(book(panel, model(name), rebalance=Rebalance(when=when)), panel)


@pytest.mark.parametrize("name", list(FRAMED))
def test_on_a_coarser_timeframe_and_sized(name: str) -> None:
    """4h bars of hours, sessions and round the clock, with a sizer, a calendar and a least trade."""
    panel = with_gaps(synthetic_panel(4, 1_600, 4, "1h"), 2)
    plain = model(name, timeframe="4h", params={"half_life": 0.5} if name == "framed_ewm" else {})
    assert_same(book(panel, plain), panel, least=10)
    sizer = SizerUse(name="volatility_target", params={"window": 10})
    pace = Rebalance(buffer=0.01, min_trade=0.002, every=2 * 86_400.0)
    assert_same(book(panel, msgspec.structs.replace(plain, sizer=sizer), rebalance=pace), panel, least=4)


def test_real_hours_beside_other_models(shared: Path) -> None:
    """Over many blocks, in a book whose weights are told in order."""
    panel = crypto(shared)
    models = (
        model("frame_reversal", budget=0.2),
        model("derived_pair", universe=("ADAEUR", "BTCEUR"), budget=0.2),
        model("efficient_trend", budget=0.2, timeframe="4h"),
        Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.2),
        model("framed_ewm", budget=0.2, params={"half_life": 3.0}),
    )
    assert_same(book(panel, *models), panel, 500)


@pytest.mark.parametrize("name", list(FRAMED))
def test_backtest_engine_and_journal_are_one_run(name: str, memory_path: Path) -> None:
    panel = with_gaps(synthetic_panel(5, 420, 2, "1h"), 3)
    spec = book(panel, model(name), costs=FULL)
    engaged.assert_same(spec, panel, memory_path, seed=len(name))


def test_of_several_instruments_on_real_hours(shared: Path, memory_path: Path) -> None:
    panel = head(crypto(shared), 600)
    spec = book(panel, model("frame_reversal"), model("efficient_trend"), costs=FULL)
    engaged.assert_same(spec, panel, memory_path, fills=50)


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

WRONG = """
import polars as pl
import trimtab

def forecast(p, frame):
    {body}

STRATEGY = trimtab.frame_strategy(name="wrong", forecast=forecast, fields=("close",), warmup={warmup})
"""

#: What is wrong, and what is said of it.
MISTAKES: dict[str, tuple[str, str]] = {
    "a column that is not there": ("return pl.col('volume')", "ColumnNotFoundError"),
    "an error of its own": ("raise ValueError('no luck')", "it raised ValueError: no luck"),
    "one number for all rows": ("return pl.col('close').mean() * 0", "it returned 1 values for"),
    "fewer rows": ("return frame['close'].head(3)", "it returned 3 values for"),
    "a frame": ("return frame", "it returned a DataFrame; expected a Polars expression or Series"),
    "texts": ("return pl.col('close').cast(pl.String)", "it returned values of type String; expected numbers"),
}


@pytest.mark.parametrize("kind", list(MISTAKES))
def test_a_wrong_function_is_one_clear_error_and_a_quarantine(kind: str, tmp_path: Path) -> None:
    body, said = MISTAKES[kind]
    file = tmp_path / "wrong.py"
    file.write_text(WRONG.format(body=body, warmup=20))
    panel = synthetic_panel(7, 120, 2, "1d")
    wrong = Model(strategy=str(file), name="bad", budget=0.3)
    spec = book(panel, Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.3), wrong)
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


def test_a_warm_up_that_is_none_is_refused_by_both(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG.format(body="return pl.col('close') * 0", warmup="lambda p: -1"))
    panel = synthetic_panel(7, 60, 1, "1d")
    spec = book(panel, Model(strategy=str(file)))
    calls: tuple[Callable[..., Any], ...] = (tt.backtest, made)
    for call in calls:
        with pytest.raises(TrimtabError, match="warmup of indicator forecast is -1; expected a whole number of rows"):
            call(spec, panel)
