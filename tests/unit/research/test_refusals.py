"""Windows that a fit refuses are told wherever a reader looks: actions, notes, the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trimtab as tt
from trimtab.app.cli_log import log_run, opened
from trimtab.research.run import Run
from trimtab.types import BAR_FIELDS, DAY

EXAMPLE = str(Path(__file__).resolve().parents[3] / "examples" / "autoregression.py")
START = 19_000 * DAY


def panel_of(still: slice, names: tuple[str, ...] = ("A", "B")) -> tt.Panel:
    """A walk per instrument that stands still for some rows."""
    rng = np.random.default_rng(2)
    values = np.empty((300, len(names), len(BAR_FIELDS)))
    moves = rng.normal(0.0, 0.02, (300, len(names)))
    moves[still, 1:] = 0.0
    values[:, :, :4] = (100.0 * np.exp(np.cumsum(moves, axis=0)))[:, :, None]
    values[:, :, 4], values[:, :, 5] = 1e6, DAY
    ts = START + DAY * np.arange(1, 301, dtype=np.int64)
    return tt.Panel(ts, tuple(tt.Instrument(symbol=n) for n in names), BAR_FIELDS, values, "1d")


def spec_of(panel: tt.Panel, **changed: Any) -> tt.Spec:
    model = tt.Model(strategy=EXAMPLE, name="auto", params={"window": 40, "every": 10})
    given: dict[str, Any] = {"models": (model,), "universe": panel.symbols, "timeframe": "1d", **changed}
    return tt.Spec(**given)


@pytest.fixture(scope="module")
def run() -> Run:
    panel = panel_of(slice(100, 200))
    return tt.backtest(spec_of(panel), panel)


def test_each_is_an_action_and_the_notes_say_why(run: Run) -> None:
    told = run.actions.filter(limit="fit")
    # Fits fall on every tenth day; a window of 40 rows stands still from row 139 to row 199.
    expected = [ts for ts in run.panel.ts[139:200].tolist() if ts % (10 * DAY) == 0]
    assert told["ts"].dt.timestamp("ns").to_list() == expected
    assert set(told["model"]) == {"auto"}
    assert set(told["action"]) == {"ABSTAIN"}
    assert run.actions["ts"].is_sorted()
    (note,) = (n for n in run.notes if n.startswith("auto abstained"))
    assert f"until its next fit {len(expected)} times, the first time on 2" in note
    assert note.endswith("the prices of the window stand still.")


def test_the_log_tells_each(run: Run, tmp_path: Path) -> None:
    with opened(str(tmp_path / "log")) as events:
        log_run(events, run)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    refused = [line for line in lines if line["event"] == "fit_refused"]
    assert len(refused) == run.actions.filter(limit="fit").height
    assert refused[0]["model"] == "auto"
    assert refused[0]["reason"] == "the prices of the window stand still"


def test_with_a_sizer_too(run: Run) -> None:
    spec = spec_of(run.panel, sizer=tt.SizerUse(name="fixed_fraction"))
    assert tt.backtest(spec, run.panel).refused == run.refused


def test_a_run_without_any_has_none() -> None:
    panel = panel_of(slice(0, 0))
    run = tt.backtest(spec_of(panel), panel)
    assert run.refused == ()
    assert run.actions.filter(limit="fit").is_empty()
    assert not any("abstained" in note for note in run.notes)
