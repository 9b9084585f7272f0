"""`trimtab validate` as a user meets it: words, exit codes, JSON, the page in a browser, and mistakes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

SPEC = """\
name: Crossing averages
universe: WAVE
base_currency: USD
timeframe: 1d
capital: 100_000
models: [{strategy: sma_cross, params: {fast: 5, slow: 20}}]
costs: {taker_fee: 10bps}
"""
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def trimtab(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "100", "TRIMTAB_TRACEBACK": ""})


def told(*args: object, code: int = 0) -> Any:
    done = trimtab(*args, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def bars(close: np.ndarray, hours: int = 24) -> pl.DataFrame:
    opened = np.concatenate((close[:1], close[:-1]))
    return pl.DataFrame(
        {
            "open_time": np.datetime64("2021-01-01", "us") + np.arange(len(close)) * np.timedelta64(hours, "h"),
            "open": opened,
            "high": np.maximum(opened, close) * 1.002,
            "low": np.minimum(opened, close) * 0.998,
            "close": close,
            "volume": np.full(len(close), 1e6),
        }
    )


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bars that a crossing of averages earns on, a walk that nobody earns on, and a store of both."""
    folder = tmp_path_factory.mktemp("court")
    k, drawn = np.arange(700), np.random.default_rng(0).normal(0.0, 0.02, 700)
    wave = 100.0 * np.exp(0.25 * np.sin(k / 14) + 0.1 * np.cumsum(drawn))
    walk = 100.0 * np.exp(np.cumsum(np.random.default_rng(5).normal(-0.0005, 0.02, 700)))
    for name, close in (("WAVE", wave), ("WALK", walk)):
        bars(close).write_parquet(folder / f"{name}_1d.parquet")
    bars(wave[:58]).write_parquet(folder / "SHORT_1d.parquet")
    bars(wave).write_csv(folder / "my.csv")
    store = ("--data", folder / "store")
    done = trimtab("data", "import", folder / "WAVE_1d.parquet", folder / "WALK_1d.parquet", *store)
    assert done.exit_code == 0, done.output
    (folder / "book.yaml").write_text(SPEC)
    return folder


@pytest.fixture
def place(ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with its files, and a ledger and a working folder that only this test has."""
    monkeypatch.setenv("TRIMTAB_TRIALS", str(tmp_path / "trials"))
    monkeypatch.setenv("TRIMTAB_DATA", str(ground / "store"))
    monkeypatch.chdir(tmp_path)
    return ground


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "word", "reason"),
    [
        ("WAVE", 0, "PASS", "Deflated Sharpe: a Sharpe of"),
        ("WALK", 1, "FAIL", "Deflated Sharpe: a Sharpe of"),
        ("SHORT", 3, "NOT ENOUGH DATA", "daily returns are not 0: they say nothing"),
    ],
)
def test_the_exit_code_is_the_verdict(place: Path, name: str, code: int, word: str, reason: str) -> None:
    words = ("validate", "sma_cross", "--data", place / f"{name}_1d.parquet", "--set", "fast=5", "--set", "slow=20")
    done = trimtab(*words, "--quick")
    assert done.exit_code == code, done.output
    assert re.search(rf"^{word}$", done.output, re.M)
    assert reason in " ".join(done.output.split())
    assert "Trial ledger: 1 entries" in done.output
    document = told(*words, "--quick", code=code)
    assert (document["word"], document["entries"]) == (word, 1)  # asked twice, tried once
    assert document["headline"].startswith(word)
    assert {each["name"] for each in document["findings"] if each["decides"]} == {
        "ledger",
        "costs",
        "length",
        "dsr",
        "pbo",
    }
    assert not re.search(r"\b(nan|inf)\b", done.output)


def test_the_document_has_everything(place: Path) -> None:
    document = told("validate", place / "book.yaml", code=0)
    assert set(document) == {
        "word", "reasons", "needed", "concerns", "findings", "hurdles", "hypothesis", "hypothesis_id", "run_id",
        "data_hash", "code_version", "ledger", "entries", "place", "days", "sharpe", "periods", "headline", "page",
    }  # fmt: skip
    assert document["days"] == 700
    assert document["sharpe"] > 0.0
    for each in document["findings"]:
        assert each["outcome"] in ("pass", "fail", "not enough data", "not applicable", "told")
        assert each["told"]
        assert each["needed"] or each["outcome"] != "fail" or not each["decides"]
    assert {"jitter", "cost_multiple", "noise", "entries", "starts", "periods", "capacity", "bootstrap"} < {
        each["name"] for each in document["findings"]
    }
    page = (Path(__file__).resolve().parents[2] / "docs" / "validate.md").read_text(encoding="utf-8")
    assert not [each["title"] for each in document["findings"] if f"\n| {each['title']} " not in page]
    thresholds = {each["name"]: each["threshold"] for each in document["findings"]}
    assert thresholds == {  # as the page says them
        "ledger": None, "costs": None, "length": 60.0, "psr": 0.95, "dsr": 0.95, "pbo": None, "spa": 0.05,
        "bootstrap": 0.0, "jitter": 0.5, "cost_multiple": 1.5, "noise": 0.5, "entries": 0.05, "starts": 0.75,
        "periods": 0.75, "capacity": None,
    }  # fmt: skip
    assert document["hurdles"][0]["hurdle_annual"] == 0.0  # nothing else was ever tried


def test_what_was_swept_before_is_counted_and_a_grid_is_walked(place: Path) -> None:
    grid = ("--grid", "models.0.params.fast=4,5,6", "--grid", "models.0.params.slow=15,20,25")
    before = told("validate", place / "book.yaml", "--quick")
    after = told("validate", place / "book.yaml", "--quick", *grid)
    assert [count["trials"] for count in before["hurdles"] if count["how"] == "every trial"] == [1, 1]
    assert [count["trials"] for count in after["hurdles"] if count["how"] == "every trial"] == [9, 9]
    assert "walkforward" in {each["name"] for each in after["findings"]}
    assert next(each["figure"] for each in after["findings"] if each["name"] == "pbo") is not None
    again = told("validate", place / "book.yaml", "--quick", *grid)
    assert again == after


def test_several_are_tried_before_any_is_judged(place: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    names = ("sma_cross", "momentum", "vpin")
    words = ("validate", *names, "--data", place / "WALK_1d.parquet", "--markdown", table, "--capital", 50_000)
    done = trimtab(*words)
    assert done.exit_code == 1, done.output
    assert "vpin was not run" in done.output
    text = table.read_text()
    assert text.startswith("WALK, 700 bars of 1d, 2021-01-01 to 2022-12-01, ")
    assert "capital 50,000." in text
    document = told(*words, code=1)
    assert [row["strategy"] for row in document["strategies"]] == ["sma_cross", "momentum"]
    assert [each["name"] for each in document["refused"]] == ["vpin"]
    assert table.read_text() == text
    for row in document["strategies"]:
        assert set(row) == {
            "strategy", "timeframe", "sharpe", "trials", "counted", "hurdle", "dsr", "pbo", "q", "verdict", "reason",
            "needed",
        }  # fmt: skip
    assert told("validate", "vpin", "momentum", "--data", place / "SHORT_1d.parquet", code=3)["strategies"] == []


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_opens_in_a_browser_without_a_request(place: Path, tmp_path: Path) -> None:
    page = tmp_path / "verdict.html"
    done = trimtab("validate", place / "book.yaml", "--html", page)
    assert done.exit_code == 0, done.output
    assert "Page: verdict.html" in done.output or f"Page: {page}" in done.output
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    shown = text.split('<script type="application/json"')[0]
    assert not re.search(r"(src|href)=|\b(nan|None)\b", shown)
    assert 'class="verdict beats">PASS.' in shown
    for words in ("Deflated Sharpe", "Net of costs", "Higher costs", "Later starts", "every trial of the hypothesis"):
        assert words in shown
    if BROWSER is None and not os.environ.get("CI"):
        pytest.skip("needs a browser")
    assert BROWSER is not None, "continuous integration must have chromium"
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr")
    drawn = subprocess.run(
        [BROWSER, *options, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert drawn.stdout.count('class="main-svg"') >= 6  # the charts were drawn
    assert "CONSOLE" not in drawn.stderr


# --- help and mistakes -----------------------------------------------------------------------------------------------


def test_the_examples_of_the_help_run(place: Path, tmp_path: Path) -> None:
    """As they are written, but for names of files and symbols; the last needs a strategy of the user's own."""
    page = trimtab("validate", "--help").stdout
    examples = re.findall(r"^ *(trimtab validate .*?)$", page.split("Examples")[1], re.M)
    assert len(examples) == 5
    shutil.copy(place / "book.yaml", tmp_path / "book.yaml")
    shutil.copy(place / "WAVE_1d.parquet", tmp_path / "WAVE_1d.parquet")
    source = Path(__file__).resolve().parents[2] / "examples" / "volatility_breakout.py"
    (tmp_path / "my_strategy.py").write_text(source.read_text().replace("State", "Judged"))
    swaps = {
        "BTCEUR_1h.csv": "WAVE_1d.parquet", "BTCEUR": "WAVE", "1h": "1d", "validate momentum": "validate sma_cross",
        "models.0.params.lookback=20,50,100": "models.0.params.fast=4,5", "lookback=50": "window=20",
    }  # fmt: skip
    for example in examples:
        for ours, theirs in swaps.items():
            example = example.replace(ours, theirs)
        done = trimtab(*shlex.split(example)[1:], *(() if "--markdown" in example else ("--quick",)))
        assert done.exit_code in (0, 1, 3), f"{example}\n{done.output}"
    assert (tmp_path / "verdict.html").exists()
    assert (tmp_path / "table.md").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sma_cross", "there is no --data: give symbols of the store or a file of bars"),
        ("sma_cross momentum", "there is no --data"),
        ("sma_cross --data NOWHERE", "NOWHERE"),
        ("sma_cross --data none.parquet", "there is no file none.parquet"),
        ("sma_kross --data WAVE", "no strategy is named 'sma_kross'"),
        ("sma_cross sma_kross --data WAVE", "no strategy is named 'sma_kross'"),
        ("sma_cross --data WAVE --set fats=3", "fats"),
        ("sma_cross --data WAVE --set fast", "expected NAME=VALUE"),
        ("sma_cross --data WAVE --grid fast=3", "fast"),
        ("sma_cross book.yaml --data WAVE", "book.yaml is a spec: validate it alone"),
        ("sma_cross momentum --data WAVE --set fast=3", "--set is of one strategy or spec"),
        ("sma_cross momentum --data WAVE --html page.html", "--html is of one strategy or spec"),
        ("sma_cross momentum --data WAVE --quick", "--quick is of one strategy or spec"),
        ("sma_cross sma_cross --data WAVE", "sma_cross is named twice"),
        ("sma_cross --data WAVE --markdown table.md", "--markdown is of several strategies"),
        ("sma_cross momentum --data WAVE --markdown no/such/table.md", "there is no folder"),
        ("sma_cross --data WAVE --html page.txt", "ends in .html"),
        ("none.yaml", "none.yaml"),
        ("book.yaml --data nowhere", "expected the folder of its store"),
        ("book.yaml --capital 5", "--capital is of a strategy"),
        ("", "STRATEGY"),
    ],
)
def test_a_mistake_is_one_message(place: Path, tmp_path: Path, words: str, said: str) -> None:
    shutil.copy(place / "book.yaml", tmp_path / "book.yaml")
    done = trimtab("validate", *words.split())
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert not (tmp_path / "trials").exists()  # nothing was tried
