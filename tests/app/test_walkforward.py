"""`trimtab walkforward` from a store to what is printed, its document and its page."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

SPEC = """\
name: Waves
universe: WAVE
base_currency: USD
timeframe: 1d
costs: {taker_fee: 10bps, half_spread: 2bps}
volume: ignore
models:
  - {strategy: sma_cross, params: {fast: 5, slow: 20}}
"""
GRID = ("--grid", "models.0.params.fast=3,5,8,25", "--grid", "models.0.params.slow=10,20")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of 400 daily bars (slow waves around a rise) and a spec."""
    folder = tmp_path_factory.mktemp("walk")
    prices = [round(100 * math.exp(0.001 * i + 0.1 * math.sin(i / 15)), 2) for i in range(401)]
    pl.DataFrame(
        {
            "date": [dt.date(2019, 1, 1) + dt.timedelta(days=i) for i in range(400)],
            "open": prices[:400],
            "high": [max(pair) + 0.5 for pair in itertools.pairwise(prices)],
            "low": [min(pair) - 0.5 for pair in itertools.pairwise(prices)],
            "close": prices[1:],
            "volume": [1000.0] * 400,
        }
    ).write_csv(folder / "wave.csv")
    words = ["wave.csv", "--symbol", "WAVE", "--timeframe", "1d", "--data", str(folder / "store")]
    imported = CliRunner().invoke(app, ["data", "import", str(folder / words[0]), *words[1:]])
    assert imported.exit_code == 0, imported.output
    (folder / "book.yaml").write_text(SPEC)
    return folder


def walk(place: Path, *args: object) -> Result:
    words = ["walkforward", place / "book.yaml", "--data", place / "store", *args]
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120", "TRIMTAB_TRACEBACK": ""})


def test_help_has_examples_and_says_what_is_written():
    shown = CliRunner().invoke(app, ["walkforward", "--help"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "trimtab walkforward" in shown.stdout.split("Examples")[1]
    assert "Writes nothing else" in shown.stdout
    assert "walkforward" in CliRunner().invoke(app, []).stdout


def test_a_walk_as_a_document_and_a_page(place: Path, tmp_path: Path):
    page = tmp_path / "walk.html"
    result = walk(
        place, *GRID, "--train", "180d", "--test", "60d", "--purge", "20", "--metric", "sortino", "--html", page,
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["kind"], told["metric"], told["sets"], len(told["folds"])) == ("walk-forward", "sortino", 6, 4)
    first = told["folds"][0]
    assert first["in_sample"] == ["2019-01-02T00:00:00Z", "2019-06-10T00:00:00Z"]
    assert first["out_of_sample"] == ["2019-07-01T00:00:00Z", "2019-08-29T00:00:00Z"]
    assert set(first["chosen"]) == {"models.0.params.fast", "models.0.params.slow"}
    assert sum(fold["days"] for fold in told["folds"]) == len(told["curve"]["returns"]) == told["out_of_sample"]["days"]
    total = float(np.prod(1.0 + np.array(told["curve"]["returns"]))) - 1.0
    assert told["out_of_sample"]["total_return"] == pytest.approx(total, rel=1e-9)
    assert "2 of 8 combinations contradict themselves" in result.stderr
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert all(title in text for title in ("Out-of-sample equity", "Chosen: fast", "Stability", told["verdict"]))
    assert "http://" not in text.split("<script>")[0]


def test_a_walk_as_a_trader_reads_it(place: Path):
    result = walk(place, *GRID, "--folds", "4", "--anchored")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "2019-03-22" in lines[3]
    assert lines[-1].startswith("Out-of-sample over 4 folds and 320 days, net of costs: ")
    assert "6 sets, chosen by Sharpe ratio" in result.stdout
    fixed = walk(place, "--folds", "4")
    assert "The parameters were fixed: nothing was chosen." in fixed.stdout
    assert "Dispersion" not in fixed.stdout


def test_a_cross_validation(place: Path, tmp_path: Path):
    page = tmp_path / "paths.html"
    result = walk(place, *GRID, "--groups", "6", "--purge", "20", "--hurdle", "1", "--json", "--html", page)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["kind"], len(told["splits"]), told["paths"]["count"]) == ("cross-validation", 15, 5)
    assert told["paths"]["mean"] == pytest.approx(np.mean(told["paths"]["sharpes"]))
    assert told["splits"][0]["held_out"] == [0, 1]
    assert "Paths" in page.read_text(encoding="utf-8")
    shown = walk(place, "--groups", "4", "--held-out", "1")
    assert shown.exit_code == 0, shown.output
    assert "Mean Sharpe" in shown.stdout
    assert "1 path of 400 days out of 4 splits" in shown.stdout


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--train", "180d"), 2, "test is missing"),
        (("--train", "180x", "--test", "60d"), 2, "expected a length such as 2y"),
        (("--groups", "6", "--train", "180d"), 2, "--groups and --train were both given"),
        (("--folds", "4", "--hurdle", "1"), 2, "--hurdle is of cross-validation"),
        (("--folds", "4", "--metric", "sharp"), 2, "did you mean 'sharpe'?"),
        (("--folds", "4", "--html", "x.txt"), 2, "ends in .html"),
        (("--folds", "4", "--grid", "seed=1,2"), 2, "cannot vary seed"),
        (("--train", "3y", "--test", "60d"), 3, "400 days (2019-01-01 to 2020-02-04) hold no train of 3y"),
        (("--groups", "40"), 3, "load 400 more days"),
        (("--folds", "4", "--set", "models.0.params.slow=2000"), 3, "no set has enough bars"),
    ],
)
def test_what_cannot_be_is_said_with_its_code(place: Path, args: tuple[str, ...], code: int, message: str):
    result = walk(place, *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_every_set_that_is_chosen_from_is_a_trial_once(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TRIMTAB_TRIALS", str(tmp_path))
    for _ in range(2):
        assert walk(place, *GRID, "--train", "180d", "--test", "60d").exit_code == 0
    assert walk(place, *GRID, "--groups", "4").exit_code == 0
    told = CliRunner().invoke(app, ["trials", "verify", "--json"], env={"TRIMTAB_TRIALS": str(tmp_path)})
    found = json.loads(told.stdout)
    assert (found["entries"], found["trials"]) == (1, 6)
