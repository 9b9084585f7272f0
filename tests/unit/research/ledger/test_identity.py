"""What makes two trials one: the same spec but for its names, the same bars, the same values of all parameters."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import trimtab as tt
from tests.unit.research.ledger.making import FREE, GRID, panel_of
from trimtab.research.backtest import spec_of
from trimtab.research.ledger.identity import hypothesis_of, identity_of, values_of
from trimtab.research.prepared import hash_of_panel
from trimtab.types import Model, Spec

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "volatility_breakout.py"


def key_of(spec: Spec, panel: tt.Panel) -> bytes:
    return identity_of(spec, hash_of_panel(panel)).keys([values_of(spec)])[0]


@pytest.fixture(scope="module")
def panel() -> tt.Panel:
    return panel_of()


@pytest.fixture(scope="module")
def spec(panel: tt.Panel) -> Spec:
    return spec_of("sma_cross", panel, {"fast": 5, "slow": 30})


def test_a_run_is_the_equal_cell_of_a_sweep_whichever_comes_first(panel: tt.Panel, ledger: Path):
    tt.sweep("sma_cross", panel, GRID, costs=FREE)
    run = tt.backtest("sma_cross", panel, params={"fast": 5, "slow": 30}, costs=FREE)
    assert run.recorded is not None
    assert (run.recorded.seq, run.recorded.fresh) == (1, 0)
    other = panel_of(seed=1)
    assert tt.backtest("sma_cross", other, params={"fast": 10, "slow": 40}, costs=FREE).recorded[1:] != ("", 0)
    tt.sweep("sma_cross", other, GRID, costs=FREE)
    again = tt.backtest("sma_cross", other, params={"fast": 5, "slow": 30}, costs=FREE).recorded
    assert again is not None
    assert (again.seq, again.fresh) == (3, 0)


def model(spec: Spec, **changes: Any) -> Spec:
    return msgspec.structs.replace(spec, models=(msgspec.structs.replace(spec.models[0], **changes),))


def test_names_dates_and_spelt_out_defaults_change_nothing(panel: tt.Panel, spec: Spec):
    one = key_of(spec, panel)
    renamed = msgspec.structs.replace(spec, name="the best ever", start="2020", end="2025-01-01T00:00:00Z")
    assert key_of(renamed, panel) == one
    assert key_of(model(spec, name="mine"), panel) == one
    short = spec.models[0].params["short"]
    assert key_of(model(spec, params={"slow": 30.0, "fast": 5}), panel) == one
    assert key_of(model(spec, params={"slow": 30, "short": short, "fast": 5}), panel) == one


@pytest.mark.parametrize(
    "changes",
    [
        {"costs": tt.Costs(taker_fee=1e-4)},
        {"costs": "venue"},
        {"limits": tt.Limits(max_weight=0.5)},
        {"capital": 2e6},
        {"seed": 1},
        {"volume": "ignore"},
        {"risk_free_rate": 0.02},
    ],
)
def test_another_setting_is_another_trial(panel: tt.Panel, spec: Spec, changes: dict[str, Any]):
    begun = msgspec.structs.replace(spec, costs=FREE)
    assert key_of(msgspec.structs.replace(begun, **changes), panel) != key_of(begun, panel)


def test_other_parameters_a_budget_and_other_bars_are_other_trials(panel: tt.Panel, spec: Spec):
    one = key_of(spec, panel)
    assert key_of(model(spec, params={"fast": 6, "slow": 30}), panel) != one
    assert key_of(model(spec, budget=0.5), panel) != one
    values = panel.values.copy()
    values[50, 0, panel.fields.index("close")] *= 1.0001
    assert key_of(spec, tt.Panel(panel.ts, panel.instruments, panel.fields, values, panel.timeframe)) != one
    assert key_of(spec, panel_of(days=99)) != one


def test_given_weights_are_what_was_tried(panel: tt.Panel, ledger: Path):
    weights = np.where(np.arange(len(panel.ts)) % 20 < 10, 1.0, 0.0)
    fresh = []
    for given in (weights, weights.copy(), 0.5 * weights):
        found = tt.simulate(panel, given, costs=FREE).recorded
        assert found is not None
        fresh.append(found.fresh)
    assert fresh == [1, 0, 1]


def test_a_strategy_file_is_its_text_by_whichever_path(
    panel: tt.Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "mine.py"
    shutil.copy(EXAMPLE, file)
    monkeypatch.chdir(tmp_path)
    whole, short = (spec_of(path, panel) for path in (str(file), "mine.py"))
    assert key_of(whole, panel) == key_of(short, panel)
    assert hypothesis_of(whole) == hypothesis_of(short)
    before = key_of(whole, panel)
    file.write_text(file.read_text() + "# another thought\n")
    assert key_of(whole, panel) != before


def test_a_hypothesis_is_strategies_instruments_and_timeframe(panel: tt.Panel, spec: Spec):
    one = hypothesis_of(spec)
    assert hypothesis_of(model(spec, params={"fast": 7, "slow": 70}, budget=0.3, name="x")) == one
    assert hypothesis_of(msgspec.structs.replace(spec, capital=5.0, start="2011", seed=9)) == one
    for other in (
        model(spec, strategy="momentum", params={}),
        msgspec.structs.replace(spec, universe=("Y",)),
        msgspec.structs.replace(spec, timeframe="1h"),
    ):
        assert hypothesis_of(other).id != one.id
    two = (Model(strategy="momentum"), Model(strategy="sma_cross"))
    both = [
        msgspec.structs.replace(spec, models=m, universe=u) for m, u in ((two, ("X", "Y")), (two[::-1], ("Y", "X")))
    ]
    assert hypothesis_of(both[0]).id == hypothesis_of(both[1]).id
    assert (len(one.id), str(one)) == (12, "sma_cross on X, 1d")
