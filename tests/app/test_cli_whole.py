"""From a file of bars to a replayed bundle, through the commands and nothing else."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
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
    assert "did you mean WAVE" in result.stderr
