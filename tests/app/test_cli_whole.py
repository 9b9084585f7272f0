"""From a file of bars to a replayed bundle, through the commands and nothing else."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import shutil
from pathlib import Path

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


def trimtab(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "120", "TRIMTAB_TRACEBACK": ""})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of 400 daily bars (two slow waves around a rise) and a spec."""
    folder = tmp_path_factory.mktemp("whole")
    days = [dt.date(2019, 1, 1) + dt.timedelta(days=i) for i in range(401)]
    prices = [round(100 * math.exp(0.001 * i + 0.1 * math.sin(i / 15)), 2) for i in range(401)]
    pl.DataFrame(
        {
            "date": days[:400],
            "open": prices[:400],
            "high": [max(pair) + 0.5 for pair in itertools.pairwise(prices)],
            "low": [min(pair) - 0.5 for pair in itertools.pairwise(prices)],
            "close": prices[1:],
            "volume": [1000.0] * 400,
        }
    ).write_csv(folder / "wave.csv")
    imported = trimtab(
        "data", "import", folder / "wave.csv", "--symbol", "WAVE", "--timeframe", "1d", "--data", folder / "store"
    )
    assert imported.exit_code == 0, imported.output
    (folder / "book.yaml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def told(place: Path) -> dict[str, object]:
    result = trimtab(
        "backtest", place / "book.yaml", "--data", place / "store", "--out", place / "out", "--json", "--no-report",
        "--log", place / "run.jsonl",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_backtest_tells_its_figures_and_writes_its_bundle(place: Path, told: dict[str, object]):
    bundle = Path(str(told["bundle"]))
    assert bundle == place / "out" / str(told["run_id"])
    equity = pl.read_parquet(bundle / "equity.parquet")
    metrics = told["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["net"]["total_return"] == pytest.approx(equity["equity"][-1] / 1e6 - 1, rel=1e-12)
    assert metrics["net"]["total_return"] < metrics["gross"]["total_return"]
    assert list(told["models"]) == ["sma_cross"]  # type: ignore[call-overload]
    assert told["report"] is None
    events = [json.loads(line)["event"] for line in (place / "run.jsonl").read_text().splitlines()]
    assert (events[0], events[-1], "trade" in events) == ("run_started", "run_finished", True)


def test_the_run_id_is_the_one_that_config_check_tells(place: Path, told: dict[str, object]):
    checked = json.loads(trimtab("config", "check", place / "book.yaml", "--json").stdout)
    assert checked["run_id"] == told["run_id"]


def test_a_bundle_replays(place: Path, told: dict[str, object]):
    again = trimtab("replay", told["bundle"], "--data", place / "store")
    assert (again.exit_code, again.stdout.split(":")[0]) == (0, "Identical"), again.output


def test_a_bundle_gets_its_report_and_a_changed_one_does_not(place: Path, told: dict[str, object]):
    page = place / "page.html"
    made = trimtab("report", told["bundle"], "--data", place / "store", "--out", page)
    assert made.exit_code == 0, made.output
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    other = trimtab("backtest", place / "book.yaml", "--data", place / "store", "--out", place / "other", "--no-report",
                    "--json")  # fmt: skip
    bundle = Path(json.loads(other.stdout)["bundle"])
    equity = pl.read_parquet(bundle / "equity.parquet")
    equity.with_columns(pl.col("equity") + 0.01).write_parquet(bundle / "equity.parquet")
    refused = trimtab("report", bundle, "--data", place / "store")
    assert refused.exit_code == 1
    assert "equity" in refused.stderr
    assert not (bundle / "report.html").exists()
    assert trimtab("replay", bundle, "--data", place / "store").exit_code == 1


def test_a_sweep_cell_is_its_backtest(place: Path, told: dict[str, object]):
    swept = trimtab(
        "sweep", place / "book.yaml", "--data", place / "store", "--json", "--top", 50,
        "--grid", "models.0.params.fast=3:9:2", "--grid", "models.0.params.slow=20,40",
    )  # fmt: skip
    assert swept.exit_code == 0, swept.output
    rows = json.loads(swept.stdout)["top"]
    assert sorted((row["fast"], row["slow"]) for row in rows) == [(f, s) for f in (3, 5, 7) for s in (20, 40)]
    sharpes = [row["sharpe"] for row in rows]
    assert sharpes == sorted(sharpes, reverse=True)
    cell = next(row for row in rows if (row["fast"], row["slow"]) == (5, 20))
    equity = pl.read_parquet(Path(str(told["bundle"])) / "equity.parquet")["equity"]
    assert cell["total_return"] == equity[-1] / 1e6 - 1.0  # to the last bit


def test_too_few_bars_exit_3(place: Path):
    short = trimtab("backtest", place / "book.yaml", "--data", place / "store", "--end", "2019-01-11")
    assert short.exit_code == 3
    assert "bars" in short.stderr


def test_a_sweep_over_too_few_bars_exits_3(place: Path):
    short = trimtab(
        "sweep", place / "book.yaml", "--data", place / "store", "--end", "2019-01-11", "--grid",
        "models.0.params.fast=3,5",
    )  # fmt: skip
    assert (short.exit_code, short.stdout) == (3, "")
    assert "no set has enough bars" in short.stderr


@pytest.mark.parametrize("command", ["backtest", "sweep", "check"])
def test_bars_that_are_not_there_say_what_to_type(
    command: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    words = {
        "backtest": ["backtest", place / "book.yaml"],
        "sweep": ["sweep", place / "book.yaml", "--grid", "models.0.params.fast=3,5"],
        "check": ["check", "sma_cross", "--symbols", "WAVE"],
    }[command]
    empty = trimtab(*words, "--data", "none")
    assert (empty.exit_code, empty.stdout) == (2, "")
    assert empty.stderr.startswith("no bars of WAVE: the store none is empty.\n")
    assert "trimtab data import SPY_1d.csv" in empty.stderr
    assert "trimtab demo" in empty.stderr
    shutil.copytree(place / "store", "demo/data")
    assert "give --data demo/data" in trimtab(*words, "--data", "none").stderr
    imported = trimtab("data", "import", place / "wave.csv", "--symbol", "WAVES", "-t", "1d", "--data", "other")
    assert imported.exit_code == 0
    shutil.rmtree("demo")
    lacking = trimtab(*words, "--data", "other").stderr
    assert "unknown symbol 'WAVE' in the store other (did you mean 'WAVES'?), which has WAVES." in lacking
    assert "Import it: trimtab data import WAVE_1d.csv" in lacking


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x[0, 0]", "x[0, 0] + foo", "mine.py: foo is not defined in the file"),
        ("return p.window", "return p.window // 0", "mine.py, line 63: ZeroDivisionError"),
        ("side = s.side", "side = s.side\n    if s.rows == 50:\n        raise ValueError('boom')", "ValueError: boom"),
    ],
)
def test_a_fault_in_a_strategy_of_ones_own_is_no_bug_of_ours(
    old: str, new: str, said: str, place: Path, tmp_path: Path
):
    source = Path(__file__).resolve().parents[2] / "examples/volatility_breakout.py"
    (tmp_path / "mine.py").write_text(source.read_text().replace(old, new))
    (tmp_path / "mine.yaml").write_text("{universe: WAVE, timeframe: 1d, models: [{strategy: mine.py}]}")
    result = trimtab("backtest", tmp_path / "mine.yaml", "--data", place / "store")
    assert (result.exit_code, said in result.stderr) == (2, True), result.output
    assert result.stderr.endswith(f"More: trimtab check {tmp_path / 'mine.py'}\n")
    assert len(result.stderr.splitlines()) == 1


def test_a_halted_book_exits_4(place: Path):
    halted = trimtab(
        "backtest", place / "book.yaml", "--data", place / "store", "--out", place / "halted", "--no-report",
        "--set", "limits.drawdown_halt=1%",
    )  # fmt: skip
    assert halted.exit_code == 4, halted.output
    assert "drawdown_halt" in halted.stdout
    assert "Bundle:" in halted.stdout


def test_an_unknown_symbol_exits_2(place: Path):
    result = trimtab("backtest", place / "book.yaml", "--data", place / "store", "--set", "universe=WAVES")
    assert result.exit_code == 2
    assert "did you mean 'WAVE'" in result.stderr
