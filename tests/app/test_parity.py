"""`trimtab parity` as a user meets it: what it prints, its exit codes, its JSON and its page."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

SPEC = """\
name: Crossing averages
universe: WAVE
timeframe: 1d
capital: 100_000
models: [{strategy: sma_cross, params: {fast: 5, slow: 20}}]
costs: {taker_fee: 10bps}
limits: {max_weight: 50%}
"""


def trimtab(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "100", "TRIMTAB_TRACEBACK": ""})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A backtest, one that pays another fee, and one of a part of its window."""
    import numpy as np
    import polars as pl

    folder, days = tmp_path_factory.mktemp("parity"), 500
    close = np.round(100 * np.exp(0.0005 * np.arange(days) + 0.15 * np.sin(np.arange(days) / 9)), 2)
    opened = np.concatenate(([100.0], close[:-1]))
    pl.DataFrame(
        {
            "open_time": np.datetime64("2019-01-01", "us") + np.arange(days) * np.timedelta64(1, "D"),
            "open": opened,
            "high": np.maximum(opened, close) + 0.5,
            "low": np.minimum(opened, close) - 0.5,
            "close": close,
            "volume": np.full(days, 1e6),
        }
    ).write_parquet(folder / "WAVE_1d.parquet")
    store = ("--data", folder / "store")
    assert trimtab("data", "import", folder / "WAVE_1d.parquet", *store).exit_code == 0
    (folder / "book.yaml").write_text(SPEC)
    found: dict[str, Path] = {}
    for name, more in {
        "first": (),
        "fee": ("--set", "costs.taker_fee=20bps"),
        "part": ("--start", "2019-06-01", "--end", "2020-03-01"),
        "before": ("--end", "2019-04-30"),
        "after": ("--start", "2019-10-01"),
    }.items():
        done = trimtab("backtest", folder / "book.yaml", "--out", folder / name, "--no-report", "--json", *store, *more)
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert [row["name"] for row in told["execution"]] == ["", "WAVE", "sma_cross"]
        found[name] = Path(told["bundle"])
    return found


def test_a_run_is_equal_to_itself(runs: dict[str, Path]):
    done = trimtab("parity", runs["first"], runs["first"])
    assert done.exit_code == 0, done.output
    assert "Equal, to the last bit:" in done.output


def test_a_difference_is_told_with_its_cause_and_sums(runs: dict[str, Path]):
    done = trimtab("parity", runs["first"], runs["fee"], "--top", 3)
    assert done.exit_code == 1
    assert "what made the most of it: fee" in " ".join(done.output.split())
    assert "Settings that differ: costs." in done.output
    assert "paid 10 bps of fee instead of 20" in " ".join(done.output.split())
    assert "the first 3 of" in done.output
    assert max(map(len, done.output.splitlines()[1:])) <= 100  # the first names two folders
    assert trimtab("parity", runs["first"], runs["fee"], "--tolerance", "50%").exit_code == 0


def test_json_holds_all_of_it(runs: dict[str, Path]):
    done = trimtab("parity", runs["first"], runs["fee"], "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["equal"] is False
    total = told["before"] + told["residual"] + sum(cause["money"] for cause in told["causes"].values())
    assert total == pytest.approx(told["difference"], rel=1e-9)
    assert told["difference"] == pytest.approx(told["final_equity"][0] - told["final_equity"][1])
    assert told["difference_bps"] == pytest.approx(told["difference"] / 100_000 * 1e4)
    assert told["differences"][0]["lots"][0] != 0
    size = [abs(d["money"]) for d in told["differences"] if d["cause"] == "fee"]
    assert len(size) == told["causes"]["fee"]["trades"]


def test_windows_that_overlap_in_part_are_compared_where_they_do(runs: dict[str, Path]):
    done = trimtab("parity", runs["first"], runs["part"], "--json")
    told = json.loads(done.stdout)
    assert told["whole"] is False
    assert told["window"] == ["2019-06-02T00:00:00Z", "2020-03-01T00:00:00Z"]
    assert "overlap only in part" in told["notes"][0]
    assert abs(told["residual"]) < 1e-6
    apart = trimtab("parity", runs["before"], runs["after"])
    assert apart.exit_code == 2
    assert "do not overlap" in apart.output


def test_the_page_opens_without_a_network(runs: dict[str, Path], tmp_path: Path):
    page = tmp_path / "parity.html"
    done = trimtab("parity", runs["first"], runs["fee"], "--html", page)
    assert done.exit_code == 1
    assert f"Page: {page}" in done.output
    text = page.read_text()
    assert "default-src 'none'" in text
    assert "paid 10 bps of fee instead of 20" in text
    assert not list(tmp_path.glob("*.partial"))
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs a browser")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom")
    command = [browser, *options, page.as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert drawn.count('class="main-svg"') >= 3  # both curves, their difference and the causes were drawn
    assert "The second run" in drawn


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("nowhere",), "there is no such bundle"),
        (("FIRST", "--tolerance", "much"), "expected a fraction such as"),
        (("FIRST", "--tolerance", "200%"), "from 0 to below 1"),
        (("FIRST", "--html", "page.txt"), "ends in .html"),
        (("FIRST", "--html", "no/such/folder/page.html"), "there is no folder"),
    ],
)
def test_a_mistake_is_one_sentence(more: tuple[str, ...], said: str, runs: dict[str, Path]):
    done = trimtab("parity", runs["first"], *(runs["first"] if word == "FIRST" else word for word in more))
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_a_damaged_bundle_is_named(runs: dict[str, Path], tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(runs["first"], copy)
    (copy / "fills.parquet").write_bytes(b"no table")
    done = trimtab("parity", runs["first"], copy)
    assert done.exit_code == 2
    assert "fills.parquet: damaged" in done.output
    (copy / "spec.yaml").write_text("{")
    shutil.copy(runs["first"] / "fills.parquet", copy)
    done = trimtab("parity", runs["first"], copy)
    assert done.exit_code == 2
    assert "spec.yaml" in done.output
