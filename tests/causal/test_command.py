"""`trimtab check` as a user runs it: the lines, the JSON, the exit codes, and where the bars come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trimtab.app.cli import app
from trimtab.data.store import open_store
from trimtab.types import Panel, Strategy

Write = Callable[..., Strategy]


def trimtab(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def bars(panel: Panel, tmp_path: Path) -> Path:
    """SYN1 as a user's CSV."""
    import polars as pl

    x = panel.values[:, 0]
    names = ("open", "high", "low", "close", "volume")
    columns = {name: x[:, k] for k, name in enumerate(names)}
    frame = pl.DataFrame({"date": (panel.ts - 86_400_000_000_000).view("datetime64[ns]"), **columns})
    file = tmp_path / "SYN1_1d.csv"
    frame.filter(pl.col("close").is_not_nan()).write_csv(file)
    return file


def test_a_line_for_each_law_and_exit_0(write: Write, bars: Path, tmp_path: Path) -> None:
    write("honest")
    result = trimtab("check", tmp_path / "honest.py", "--data", bars)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("The laws, on honest on SYN1, ")
    assert sum(line.startswith("✓ ") for line in lines) == 13
    assert "✗" not in result.stdout
    assert "Every law that was tested holds." in result.stdout


def test_a_cross_with_its_place_then_what_to_do_and_exit_1(write: Write, bars: Path, tmp_path: Path) -> None:
    write("peek", step=PEEK)
    result = trimtab("check", tmp_path / "peek.py", "--data", bars)
    assert result.exit_code == 1
    line = next(line for line in result.stdout.splitlines() if line.startswith("✗ prefix"))
    assert "FAIL  close of SYN1 row " in line
    assert "T00:00:00Z)" in line
    told = " ".join(result.stdout.split("What to do")[1].split())
    assert "Usual cause: step indexes past its row" in told


RAISING = """\
import polars as pl
import trimtab


def forecast(p, frame):
    if len(frame) < 250:
        raise ValueError("too few rows")
    return pl.col("close") * 0.0


STRATEGY = trimtab.frame_strategy(name="raising", forecast=forecast, fields=("close",), warmup=20)
"""


def test_a_frame_function_that_raises_is_told_once(bars: Path, tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text(RAISING)
    result = trimtab("check", tmp_path / "raising.py", "--data", bars, "--json")
    assert result.exit_code == 1
    (found,) = json.loads(result.stdout)["findings"]
    assert (found["law"], found["field"]) == ("contract", "forecast")
    assert found["message"].startswith("raising.py, line 7: model raising: indicator forecast of SYN1, ")
    assert "it raised ValueError: too few rows. It must answer every frame" in found["message"]
    assert "no other law can be tested: not split, prefix, determinism, anchor," in found["message"]


def test_json_says_the_same(write: Write, bars: Path, tmp_path: Path) -> None:
    write("peek", step=PEEK)
    result = trimtab("check", tmp_path / "peek.py", "--data", bars, "--set", "n=10", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["strategy"] == "peek"
    assert told["passed"] is False
    finding = next(f for f in told["findings"] if f["law"] == "prefix")
    assert finding["field"] == "close"
    assert isinstance(finding["row"], int)
    assert finding["ts"].endswith("Z")


def test_columns_of_a_users_file(write: Write, bars: Path, tmp_path: Path) -> None:
    """One that knows later rows, one that is doubtful, an honest one."""
    import polars as pl

    write("columned", fields='("mine", "close")')
    close = pl.col("close")
    columns = {
        "✗": (close / close.rolling_mean(21, center=True) - 1.0, 1, 1),
        "!": (close.rolling_mean(30).backward_fill(), 0, 1),
        "✓": (close / close.rolling_mean(21) - 1.0, 0, 0),
    }
    for mark, (made, code, strict) in columns.items():
        file = tmp_path / "MINE_1d.csv"
        pl.read_csv(bars).with_columns(mine=made).write_csv(file)
        asked = ("check", tmp_path / "columned.py", "--data", file, "--set", "n=40")
        shown = trimtab(*asked)
        assert shown.exit_code == code, shown.output
        line = next(line for line in shown.stdout.splitlines() if " fields " in line)
        assert line.startswith(f"{mark} fields")
        assert ("mine of MINE row " in line and " size " in line) == (mark != "✓")
        result = trimtab(*asked, "--strict", "--json")
        assert result.exit_code == strict, result.output
        finding = next(f for f in json.loads(result.stdout)["findings"] if f["law"] == "fields")
        assert (finding["passed"], finding["suspicious"]) == (mark != "✗", mark == "!")
        if mark != "✓":
            assert (finding["field"], finding["instrument"]) == ("mine", "MINE")
            assert 0.0 < finding["size"] <= 1.0
            assert finding["cause"]
            assert finding["seen"] in finding["message"]


def test_mistakes_exit_2_and_too_little_data_3(write: Write, bars: Path, tmp_path: Path) -> None:
    write("honest")
    strategy = tmp_path / "honest.py"
    assert trimtab("check", "no_such_strategy").exit_code == 2
    wrong = trimtab("check", strategy, "--set", "m=3")
    assert wrong.exit_code == 2
    assert "no parameter is named 'm'" in wrong.stderr
    assert "expected NAME=VALUE" in trimtab("check", strategy, "--set", "n=many").stderr
    lost = trimtab("check", strategy, "--data", tmp_path / "none.csv")
    assert lost.exit_code == 2
    assert "there is no file" in lost.stderr
    folder = trimtab("check", strategy, "--data", tmp_path)
    assert folder.exit_code == 2
    assert "give both" in folder.stderr.lower()
    few = tmp_path / "FEW_1d.csv"
    few.write_text("\n".join(bars.read_text().splitlines()[:30]) + "\n")
    short = trimtab("check", strategy, "--data", few)
    assert short.exit_code == 3
    assert "too few" in short.stderr


def test_bars_of_the_store_by_symbol(write: Write, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trimtab.data.catalogue import default_instrument
    from trimtab.data.importing import Source, import_file

    store = tmp_path / "store"
    import_file(open_store(store), Source(path=bars), default_instrument("SYN1"), "1d", now=2_000_000_000_000_000_000)
    write("honest")
    monkeypatch.setenv("TRIMTAB_DATA", str(store))
    assert trimtab("check", tmp_path / "honest.py", "--data", "SYN1").exit_code == 0
    assert trimtab("check", tmp_path / "honest.py", "--data", store, "--symbols", "SYN1").exit_code == 0
    wrong = trimtab("check", tmp_path / "honest.py", "--data", "SYN9")
    assert wrong.exit_code == 2
    assert "SYN1" in wrong.stderr


def test_a_users_hourly_file(write: Write, shared: Path, tmp_path: Path) -> None:
    """Real hourly crypto bars, with the gaps of their exchange."""
    files = sorted((shared / "data" / "crypto_bitvavo").rglob("*EUR*1h*.parquet"))[:2]
    assert len(files) == 2
    write("honest")
    result = trimtab("check", tmp_path / "honest.py", "--data", ",".join(map(str, files)), "--timeframe", "1h")
    assert result.exit_code == 0, result.output


PEEK = """
    window = moments_step(s.window, x[0, 0])
    return State(window, s.rows + 1), (np.sign(x[1, 0] - x[0, 0]) if s.rows >= p.n - 1 else np.nan)
"""
