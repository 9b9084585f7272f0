"""Bundles on disk: whole or not at all, and what `trimtab replay` says of one that is not what it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

import trimtab as tt
from trimtab.app.cli import app
from trimtab.research import report as report_module
from trimtab.research.bundle import TABLES, write_bundle

FILES = {"spec.yaml", "summary.json", *(f"{name}.parquet" for name in TABLES)}


def trimtab(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "120", "TRIMTAB_TRACEBACK": ""})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    days = 500
    close = np.round(100 * np.exp(0.0005 * np.arange(days) + 0.15 * np.sin(np.arange(days) / 25)), 2)
    opened = np.concatenate(([100.0], close[:-1]))
    start = np.datetime64("2019-01-01", "us")
    bars = pl.DataFrame(
        {
            "open_time": start + np.arange(days) * np.timedelta64(1, "D"),
            "open": opened,
            "high": np.maximum(opened, close) + 0.5,
            "low": np.minimum(opened, close) - 0.5,
            "close": close,
            "volume": np.full(days, 1e6),
        }
    )
    bars.write_parquet(folder / "WAVE_1d.parquet")
    bars.with_columns(pl.col("close").cum_sum() / 500 + pl.col("close")).drop("high").with_columns(
        high=pl.col("close") + 500
    ).write_parquet(folder / "OTHER_1d.parquet")
    imported = trimtab("data", "import", folder / "WAVE_1d.parquet", "--data", folder / "store")
    assert imported.exit_code == 0, imported.output
    return folder / "store"


@pytest.fixture(scope="module")
def run(store: Path) -> tt.Run:
    panel = tt.load("WAVE", timeframe="1d", root=store)
    return tt.backtest("sma_cross", panel, params={"fast": 5, "slow": 20}, costs=tt.Costs(taker_fee=0.001))


@pytest.fixture
def bundle(run: tt.Run, tmp_path: Path) -> Path:
    return run.save(tmp_path / "results", report=False)


# --- whole or not at all ---------------------------------------------------------------------------------------------


def test_a_bundle_holds_its_files_and_nothing_is_left_beside_it(run: tt.Run, tmp_path: Path):
    bundle = run.save(tmp_path)
    assert bundle == tmp_path / run.run_id
    assert {path.name for path in bundle.iterdir()} == FILES | {"report.html"}
    assert [path.name for path in tmp_path.iterdir()] == [run.run_id]
    for name in TABLES:
        assert pl.read_parquet(bundle / f"{name}.parquet").equals(getattr(run, name))


def fail(*_: object) -> Any:
    raise OSError(28, "No space left on device")


def test_an_interrupted_bundle_leaves_nothing(run: tt.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report_module, "write_report", fail)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(run, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_bundle_leaves_the_older_one_as_it_was(
    run: tt.Run, bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    monkeypatch.setattr(report_module, "write_report", fail)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(run, bundle.parent)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == [run.run_id]


def test_a_bundle_replaces_an_older_one_whole(run: tt.Run, bundle: Path):
    (bundle / "left-over.txt").write_text("of an older version")
    assert run.save(bundle.parent, report=False) == bundle
    assert {path.name for path in bundle.iterdir()} == FILES
    assert [path.name for path in bundle.parent.iterdir()] == [run.run_id]


# --- killed ----------------------------------------------------------------------------------------------------------

#: Write a bundle in a process of its own, with something in the way that the test puts there.
WRITE = """
import os, sys, time
import trimtab as tt
from trimtab.research import bundle, report
panel = tt.load("WAVE", timeframe="1d", root=sys.argv[1])
run = tt.backtest("sma_cross", panel, params={"fast": 5, "slow": 20}, costs=tt.Costs(taker_fee=0.001))
replace, swaps = os.replace, []
"""
KILLED_BETWEEN = """
def kill(source, target):
    if swaps:
        os._exit(9)  # as kill -9 would: nothing is put in order
    replace(source, target)
    swaps.extend([target] if os.path.isdir(target) else [])
os.replace = kill
"""
KILLED_WRITING = """
report.write_report = lambda *_: os._exit(9)
"""
WAITING = """
def wait(*_):
    print("writing", flush=True)
    sys.stdin.read()
    raise OSError(28, "No space left on device")
report.write_report = wait
"""


def write(hindrance: str, store: Path, folder: Path) -> list[str]:
    return [sys.executable, "-c", f"{WRITE}{hindrance}\nrun.save(sys.argv[2])", str(store), str(folder)]


@pytest.mark.parametrize("by", ["looking it up", "saving another"])
def test_a_bundle_whose_replacement_was_killed_half_way_comes_back(store: Path, run: tt.Run, bundle: Path, by: str):
    (bundle / "mark.txt").write_text("the older one")
    killed = subprocess.run(write(KILLED_BETWEEN, store, bundle.parent), capture_output=True, timeout=120, check=False)
    assert killed.returncode == 9, killed.stderr
    left = sorted(path.name for path in bundle.parent.iterdir())
    assert left[0] == f".old-{bundle.name}"
    assert left[1].startswith(".writing-")
    assert len(left) == 2
    if by == "looking it up":
        assert trimtab("replay", bundle, "--data", store).exit_code == 0
        assert (bundle / "mark.txt").exists()
    else:
        run.save(bundle.parent, report=False)
        assert not (bundle / "mark.txt").exists()
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(store: Path, run: tt.Run, tmp_path: Path):
    killed = subprocess.run(write(KILLED_WRITING, store, tmp_path), capture_output=True, timeout=120, check=False)
    assert killed.returncode == 9, killed.stderr
    (dead,) = tmp_path.iterdir()
    with subprocess.Popen(
        write(WAITING, store, tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as living:
        assert living.stdout
        assert living.stdout.readline() == b"writing\n"
        assert not dead.exists()  # the second writer cleared it
        run.save(tmp_path, report=False)
        names = {path.name[:9] for path in tmp_path.iterdir()}
        assert names == {".writing-", run.run_id[:9]}
        living.communicate(b"", timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == [run.run_id]


# --- replay of a damaged one -----------------------------------------------------------------------------------------


def change_equity(bundle: Path) -> None:
    path = bundle / "equity.parquet"
    one = pl.when(pl.int_range(pl.len()) == 77).then(pl.col("equity") + 1e-9).otherwise(pl.col("equity"))
    pl.read_parquet(path).with_columns(one.alias("equity")).write_parquet(path)


def drop_fill(bundle: Path) -> None:
    path = bundle / "fills.parquet"
    pl.read_parquet(path).head(-1).write_parquet(path)


def change_metric(bundle: Path) -> None:
    summary = json.loads((bundle / "summary.json").read_text())
    summary["metrics"]["net"]["sharpe"] += 0.5
    (bundle / "summary.json").write_text(json.dumps(summary))


def change_lot(bundle: Path) -> None:
    summary = json.loads((bundle / "summary.json").read_text())
    summary["instruments"][0]["lot_size"] = 1.0
    (bundle / "summary.json").write_text(json.dumps(summary))
    change_equity(bundle)


def forget_orders(bundle: Path) -> None:
    (bundle / "orders.parquet").unlink()


def forget_summary(bundle: Path) -> None:
    (bundle / "summary.json").unlink()


def forget_spec(bundle: Path) -> None:
    (bundle / "spec.yaml").unlink()


def cut_table(bundle: Path) -> None:
    path = bundle / "trades.parquet"
    path.write_bytes(path.read_bytes()[:200])


def cut_summary(bundle: Path) -> None:
    path = bundle / "summary.json"
    path.write_text(path.read_text()[:300])


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (change_equity, 1, "equity: row 77 (2019-03-20 00:00), equity: "),
        (drop_fill, 1, "fills: "),
        (change_metric, 1, "summary: metrics.net.sharpe: "),
        (change_lot, 1, "WAVE: lot_size was 1.0, is 1e-06"),
        (forget_orders, 2, "orders.parquet: missing"),
        (forget_summary, 2, "not a run's bundle (summary.json is missing)"),
        (forget_spec, 2, "spec.yaml: missing"),
        (cut_table, 2, "trades.parquet: damaged"),
        (cut_summary, 2, "summary.json: damaged"),
    ],
)
def test_a_damaged_bundle_is_told_from_a_good_one(
    store: Path, bundle: Path, damage: Callable[[Path], None], code: int, said: str
):
    assert trimtab("replay", bundle, "--data", store).exit_code == 0
    damage(bundle)
    result = trimtab("replay", bundle, "--data", store)
    assert result.exit_code == code, result.output
    where = result.stdout if code == 1 else result.stderr
    assert [line for line in where.splitlines() if said in line], result.output
    assert len(result.stderr.splitlines()) == (0 if code == 1 else 1)
    folder = trimtab("report", bundle, "--data", store, "--out", bundle.parent)
    assert (folder.exit_code, "is a folder; expected a file such as" in folder.stderr) == (2, True)
    refused = trimtab("report", bundle, "--data", store)
    assert refused.exit_code == code
    assert not (bundle / "report.html").exists()


def test_the_first_digits_of_a_run_id_are_enough(store: Path, bundle: Path):
    short = bundle.parent / bundle.name[:16]
    assert trimtab("replay", short, "--data", store).exit_code == 0
    shutil.copytree(bundle, bundle.parent / f"{bundle.name[:16]}{'0' * 48}")
    twice = trimtab("replay", short, "--data", store)
    assert twice.exit_code == 2
    assert "2 bundles begin so; give more digits" in twice.stderr
    absent = trimtab("replay", bundle.parent / "0000", "--data", store)
    assert absent.exit_code == 2
    assert f"there is no such bundle; expected a folder such as {short}" in absent.stderr
    assert "is a file" in trimtab("replay", bundle / "spec.yaml").stderr
    assert f"such as {short}" in trimtab("replay", bundle.parent).stderr


def test_other_bars_under_the_same_name_are_named(bundle: Path, store: Path, tmp_path: Path):
    other = tmp_path / "store"
    path = store.parent / "OTHER_1d.parquet"
    done = trimtab("data", "import", path, "--symbol", "WAVE", "--data", other)
    assert done.exit_code == 0, done.output
    result = trimtab("replay", bundle, "--data", other, "--json")
    assert result.exit_code == 1
    differences = json.loads(result.stdout)["differences"]
    assert any(line.startswith("equity: row ") for line in differences)
    assert any(line.startswith("the store's bars are not those that the run saw: ") for line in differences)


SOURCE = Path(__file__).resolve().parents[2] / "examples/volatility_breakout.py"


@pytest.fixture
def own(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle of a strategy file that its spec names from beside it; the command was given in another folder."""
    (tmp_path / "specs").mkdir()
    shutil.copy(SOURCE, tmp_path / "specs/breakout.py")
    (tmp_path / "specs/mine.yaml").write_text("{universe: WAVE, timeframe: 1d, models: [{strategy: breakout.py}]}")
    monkeypatch.chdir(tmp_path)
    told = trimtab("backtest", "specs/mine.yaml", "--data", store, "--no-report", "--json")
    assert told.exit_code == 0, told.output
    return tmp_path / json.loads(told.stdout)["bundle"]


def test_a_strategy_file_beside_its_spec_replays_from_any_folder(
    store: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path / "specs")
    assert trimtab("backtest", "mine.yaml", "--data", store, "--no-report", "--out", own.parent).exit_code == 0
    assert [path.name for path in own.parent.iterdir()] == [own.name]  # the same run, whatever folder it is named from
    for folder in (Path("/"), own):
        monkeypatch.chdir(folder)
        same = trimtab("replay", own, "--data", store)
        assert (same.exit_code, same.stderr) == (0, ""), same.output
    monkeypatch.chdir(tmp_path)
    saved = tt.backtest("specs/breakout.py", tt.load("WAVE", timeframe="1d", root=store)).save("out", report=False)
    monkeypatch.chdir("/")
    assert trimtab("replay", tmp_path / saved, "--data", store).exit_code == 0


def test_a_strategy_file_that_was_edited_is_named(store: Path, own: Path, tmp_path: Path):
    mine = tmp_path / "specs/breakout.py"
    mine.write_text(SOURCE.read_text() + "\n# a remark\n")
    same = trimtab("replay", own, "--data", store)
    assert (same.exit_code, "Identical" in same.stdout) == (0, True)
    assert f"Note: {mine} is not the file that ran" in same.stderr
    mine.write_text(
        SOURCE.read_text().replace("entry: float = 2.0", "entry: float = 1.0").replace("> p.entry", "> 0.5")
    )
    result = trimtab("replay", own, "--data", store)
    assert result.exit_code == 1
    assert f"{mine} is not the file that ran" in result.stdout


@pytest.mark.parametrize("command", ["replay", "report"])
def test_a_strategy_file_that_is_gone_is_named(store: Path, own: Path, tmp_path: Path, command: str):
    mine = tmp_path / "specs/breakout.py"
    mine.rename(tmp_path / "specs/elsewhere.py")
    result = trimtab(command, own, "--data", store)
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        f"this run's strategy file {mine.with_name('breakout.py')} is gone; put it back there (sha256 " in result.stderr
    )


def test_a_bundle_whose_bars_are_in_another_store_says_which(store: Path, run: tt.Run, tmp_path: Path):
    bundle = run.save(tmp_path / "results", report=False)
    other = shutil.copytree(store, tmp_path / "results/data")
    result = trimtab("replay", bundle, "--data", tmp_path / "none")
    assert result.exit_code == 2
    assert f"has no WAVE, but {other} does: give --data {other}" in result.stderr
