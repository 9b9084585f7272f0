"""Indicators and frame strategies as a user drives them: from a file, through every command that trades or shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SPEC = """\
name: Frames
universe: [AAA, BBB]
base_currency: USD
timeframe: 1h
start: 2021-01-02
end: 2021-01-21
models:
  - {strategy: frame_reversal.py, name: reversal, params: {window: 20}, budget: 50%}
  - {strategy: efficient_trend.py, name: trend, timeframe: 4h, params: {window: 12}, budget: 50%}
costs: {taker_fee: 5bps, half_spread: 2bps}
"""


def trimtab(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def told(*words: object) -> dict[str, Any]:
    return json.loads(trimtab(*words, "--json").stdout)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of two coins, the examples, and a spec that names them from beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIMTAB_DATA", str(tmp_path / "store"))
    trimtab("data", "synthetic", "crypto=AAA,BBB", "--start", "2021-01-01", "--end", "2021-01-21", "--seed", "3")
    for name in ("frame_reversal.py", "efficient_trend.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "book.yaml").write_text(SPEC)
    return tmp_path


def test_paper_is_the_backtest_and_a_bundle_replays_and_knows_an_edited_file(place: Path) -> None:
    bundle = told("backtest", "book.yaml", "--no-report", "--out", "tested")["bundle"]
    paper = told("paper", "book.yaml", "--deadline", "0", "--no-report", "--out", "paper")
    assert paper["quarantined"] == {}
    assert paper["rows"] > 400
    same = told("parity", bundle, paper["bundle"])
    assert same["equal"] is True
    assert "Identical" in trimtab("replay", bundle).stdout
    mine = place / "frame_reversal.py"
    mine.write_text(mine.read_text().replace("(-score / p.full_z)", "(score / p.full_z)"))
    other = trimtab("replay", bundle, code=1)
    assert f"{mine} is not the file that ran" in other.stdout


def test_a_sweep_hands_its_parameters_to_the_function(place: Path) -> None:
    one = "".join(line for line in SPEC.splitlines(keepends=True) if "trend" not in line)
    (place / "one.yaml").write_text(one)
    sets = told("sweep", "one.yaml", "--grid", "models.0.params.window=10,20", "--grid", "models.0.params.full_z=2,4")
    figures = {(row["window"], row["full_z"]): row["final_equity"] for row in sets["top"]}
    assert len(set(figures.values())) == 4
    alone = told("backtest", "one.yaml", "--no-report", "--set", "models.0.params.full_z=2")
    assert alone["metrics"]["final_equity"] == figures[20, 2]


def test_what_indicators_are_made_of_is_shown(place: Path) -> None:
    page = trimtab("strategies", "show", "frame_reversal.py").stdout
    assert page.startswith("frame_reversal, version 1\nFrame reversal: against the distance from the average")
    assert "forecast is made of close, volume, with 29 rows before the first value" in page
    shown = told("strategies", "show", "efficient_trend.py")["indicators"]
    assert shown[1] == {"name": "efficiency", "fields": ["close"], "warmup": 20}


def test_a_fault_in_the_function_is_one_line_that_says_where(place: Path) -> None:
    mine = place / "frame_reversal.py"
    mine.write_text(mine.read_text().replace('pl.col("volume")', 'pl.col("volumes")'))
    done = trimtab("backtest", "book.yaml", "--no-report", code=2)
    assert "model reversal: indicator forecast of AAA, " in done.stderr
    assert "ColumnNotFoundError: " in done.stderr
    assert "volumes" in done.stderr
    assert "Traceback" not in done.output
