"""`trimtab orthogonality` as a user gives it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

ENV = {"COLUMNS": "120", "TRIMTAB_TRACEBACK": "", "TRIMTAB_DATA": "", "NO_COLOR": "1"}
SPEC = """\
name: Two models
universe: [AAA]
timeframe: 1d
costs: {taker_fee: 5bps}
models:
  - {strategy: sma_cross, params: {fast: 5, slow: 20, short: true}, budget: 60%}
  - {strategy: momentum, params: {lookback: 20, vol_window: 20}, budget: 40%}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one instrument, the same bars as a file, and specs."""
    folder = tmp_path_factory.mktemp("orthogonality")
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(0).normal(0.0005, 0.02, 400)))
    opened = np.concatenate(([100.0], close[:-1]))
    pl.DataFrame(
        {
            "open_time": np.datetime64("2020-01-01", "us") + np.arange(400) * np.timedelta64(1, "D"),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": np.full(400, 1e6),
        }
    ).write_parquet(folder / "AAA_1d.parquet")
    done = CliRunner().invoke(
        app, ["data", "import", str(folder / "AAA_1d.parquet"), "--data", str(folder / "store")], env=ENV
    )
    assert done.exit_code == 0, done.output
    (folder / "two.yaml").write_text(SPEC)
    (folder / "one.yaml").write_text(SPEC[: SPEC.index("  - {strategy: momentum")].replace("Two models", "'[Cross]'"))
    return folder


def run(place: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["orthogonality", *(word.replace("@", f"{place}/") for word in words)], env=ENV)


def test_strategies_over_a_file(place: Path):
    found = run(place, "sma_cross", "buy_and_hold", "momentum", "--data", "@AAA_1d.parquet")
    assert found.exit_code == 0, found.output
    for words in ("3 parts on 400 common days", "the most alike are", "1. sma_cross", "Returns", "Forecasts", "± 0.05"):
        assert words in found.output
    same = run(place, "sma_cross", "buy_and_hold", "momentum", "--data", "@store", "--symbols", "AAA")
    assert same.output == found.output


def test_the_models_of_a_spec_as_json_and_as_a_page(place: Path):
    found = run(place, "@two.yaml", "--data", "@store", "--json", "--html", "@page.html")
    assert found.exit_code == 0, found.output
    told = json.loads(found.output)
    assert told["names"] == ["sma_cross", "momentum"]
    assert [part["share"] for part in told["parts"]] == pytest.approx([0.6, 0.4])
    assert sum(part["earned"] for part in told["parts"]) == pytest.approx(told["sharpe"])
    assert sum(part["risk"] for part in told["parts"]) == pytest.approx(1.0)
    assert told["returns"][0][1] == told["returns"][1][0]
    assert 1.0 <= told["bets"]["entropy"] <= 2.0
    page = (place / "page.html").read_text(encoding="utf-8")
    assert told["verdict"] in page
    assert 'data-chart="returns"' in page
    assert 'data-chart="forecasts"' in page
    assert "http://" not in page.split('id="payload"')[0]


def test_specs_bundles_and_strategies_together(place: Path):
    done = CliRunner().invoke(
        app, ["backtest", f"{place}/one.yaml", "--data", f"{place}/store", "--out", f"{place}/results", "--no-report"],
        env=ENV,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (bundle,) = [path for path in (place / "results").iterdir() if path.is_dir()]
    short = f"@results/{bundle.name[:8]}"
    found = run(place, "@one.yaml", short, "buy_and_hold", "--data", "@store", "--symbols", "AAA", "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.output)
    assert told["names"] == ["[Cross] 1", "[Cross] 2", "buy_and_hold"]
    assert told["returns"][0][1] == pytest.approx(1.0)
    assert told["forecasts"][0][1] == pytest.approx(1.0)
    assert told["parts"][0]["cluster"] == told["parts"][1]["cluster"]
    assert "[Cross] 1" in run(place, "@one.yaml", short, "--data", "@store").output  # no markup of ours


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["momentum"], "nothing to hold it against"),
        (["@one.yaml", "--data", "@store"], "has one model"),
        (["momentum", "sma_cross"], "there is no --data for momentum, sma_cross"),
        (["momentum", "sma_crosss", "--data", "@AAA_1d.parquet"], "did you mean 'sma_cross'"),
        (["momentum", "@nowhere/12345678", "--data", "@store", "--symbols", "AAA"], "there is no such bundle"),
        (["@two.yaml", "@one.yaml", "--data", "@AAA_1d.parquet"], "expected the folder of their store"),
        (["@two.yaml", "--data", "@store", "--html", "@page.txt"], "ends in .html"),
        (["momentum", "sma_cross", "--data", "@store", "--symbols", "BBB"], "BBB"),
    ],
)
def test_a_mistake_is_one_sentence(place: Path, words: list[str], said: str):
    found = run(place, *words)
    assert found.exit_code == 2, found.output
    assert said in found.output
    assert "Traceback" not in found.output


def test_too_few_days_are_not_enough_data(place: Path):
    few = place / "BBB_1d.parquet"
    pl.read_parquet(place / "AAA_1d.parquet").head(25).write_parquet(few)
    found = run(place, "buy_and_hold", "sma_cross.py", "--data", "@BBB_1d.parquet")
    assert found.exit_code == 2  # there is no such file
    mine = place / "held.py"
    mine.write_text("from trimtab.strategies.buy_and_hold import STRATEGY\n")
    found = run(place, "buy_and_hold", "@held.py", "--data", "@BBB_1d.parquet")
    assert found.exit_code == 3, found.output
    assert "25 days in common, 30 are needed" in found.output
