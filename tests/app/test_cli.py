"""The commands as a user gives them. What runs behind them is replaced here by runs whose figures are known."""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app import console
from trimtab.app.cli import app
from trimtab.research.utilisation import Usage
from trimtab.types import NotEnoughData

NET = {
    "total_return": 0.25,
    "sharpe": 1.234,
    "max_drawdown": -0.1,
    "profit_factor": math.inf,
    "trades": 12,
    "beta": math.nan,
}
METRICS = {
    "net": NET,
    "gross": {**NET, "total_return": 0.30},
    "holding": {"total_return": 0.5, "sharpe": 0.7, "max_drawdown": -0.4},
    "models": {"cross": {"net": NET, "gross": {"total_return": 0.31}}},
    "costs": {"fee": 1234.5, "spread": 99.0},
    "break_even_cost": 0.0031,
    "periods": 365.0,
    "convention": "Simple daily returns sampled at 00:00 UTC, annualised by 365.",
}
SPEC = """\
name: A book
universe: [BTCEUR]
base_currency: EUR
costs: {taker_fee: 10bps}
models: [{strategy: sma_cross, name: cross}]
"""


DAYS = [dt.datetime(2021, 3, 2, 4, tzinfo=dt.UTC), dt.datetime(2021, 3, 5, tzinfo=dt.UTC)]


class FakeRun:
    """A finished run with known figures, shaped as research.run.Run is."""

    def __init__(self, spec: Any, halted: bool) -> None:
        self.run_id = "0123456789abcdef" * 4
        self.spec = spec
        self.metrics = METRICS
        self.actions = pl.DataFrame(
            {"ts": DAYS, "limit": ["max_weight"] * 2, "symbol": ["BTCEUR", ""], "action": ["SCALE"] * 2}
        )
        self.dated_actions = self.actions.with_columns(day=pl.col("ts").dt.offset_by("-1us").dt.date())
        self.ts = np.array([int(at.timestamp()) * 10**9 for at in DAYS])
        self.usage = (Usage("max_weight", "", 0.5, np.array([0.4, 1.1]), 0.4, 1.1, 1_614_643_200 * 10**9, 1, 1, 2),)
        self.equity = pl.DataFrame({"ts": DAYS, "equity": [1.0, 2.0]})
        self.execution = pl.DataFrame({"by": ["book"], "name": [""], "fill_rate": [None]})
        self.halted = halted
        self.notes = ("Shorts pay no borrow.",)
        self.refused, self.splits, self.model_names = (), (), ("cross",)
        self.trades = pl.DataFrame({"model": ["cross"], "pnl": [12.5], "event": ["x"]})
        self.verdict = "Net of costs the book does not beat holding: 25.0% against 50.0%."
        self.recorded = None
        self.saved: list[tuple[Path, bool]] = []

    def save(self, folder: Path, report: bool = True) -> Path:
        self.saved.append((Path(folder), report))
        return Path(folder) / self.run_id[:16]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands where the functions that run things stand, and keeps what they were called with."""
    seen = SimpleNamespace(calls=[], halted=False, error=None, differences=[], frame=None, run=None)
    module = ModuleType("trimtab.app.wire")

    def run_backtest(spec: Any, *, root: str | None, progress: console.Progress) -> FakeRun:
        seen.calls.append((spec, root))
        if seen.error is not None:
            raise seen.error
        progress("simulating", 1, 2)
        seen.run = FakeRun(spec, seen.halted)
        return seen.run

    def run_sweep(spec: Any, grid: Any, *, root: str | None, progress: console.Progress) -> tuple[pl.DataFrame, None]:
        seen.calls.append((spec, grid, root))
        return seen.frame, None

    def replay(bundle: Path, root: str | None) -> list[str]:
        seen.calls.append((bundle, root))
        return seen.differences

    for function in (run_backtest, run_sweep, replay):
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, "trimtab.app.wire", module)
    return seen


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.yaml"
    path.write_text(SPEC)
    return path


def trimtab(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "160", "TRIMTAB_TRACEBACK": ""})


# ---------------------------------------------------------------------------------------------------------------------
# backtest
# ---------------------------------------------------------------------------------------------------------------------


def test_the_summary_of_a_backtest(wire: SimpleNamespace, book: Path, tmp_path: Path):
    result = trimtab("backtest", book, "--out", tmp_path / "out", "--data", "store", "--start", "2021-03-02")
    assert result.exit_code == 0, result.output
    spec, root = wire.calls[0]
    assert (spec.start, root, spec.models[0].params["slow"]) == ("2021-03-02", "store", 50)
    assert wire.run.saved == [(tmp_path / "out", True)]
    # A day is named by the bars in it: the last one closed at 00:00 of the day after.
    assert trimtab("backtest", book, "--json").exit_code == 0
    told = json.loads(trimtab("backtest", book, "--json").stdout)
    assert told["actions"][0]["last"] == "2021-03-02"
    assert told["limits"] == [
        {"limit": "max_weight", "name": "", "bound": 0.5, "last": 0.4, "worst": 1.1, "near": 1, "over": 1, "acted": 2,
         "worst_on": "2021-03-01"}
    ]  # fmt: skip
    for part in (
        "A book  run 0123456789abcdef",
        "BTCEUR · 4h · 2021-03-02 to 2021-03-04 · capital 1,000,000 EUR · costs: taker_fee 10 bps",
        "Net of costs the book does not beat holding",
        "the book",
        "Shorts pay no borrow.",
        "1,234.50",
        f"Bundle: {tmp_path / 'out' / '0123456789abcdef'}",
        "Sharpe: daily returns at 00:00 UTC, annualised by 365, over 0.00% risk-free.",
    ):
        assert part in result.stdout
    limits = (
        "Limits: max_weight went furthest beyond its bound, at 110% of it on 2021-03-01; times acted: max_weight 2."
    )
    assert limits in " ".join(result.stdout.split())
    row = next(line.split() for line in result.stdout.splitlines() if line.strip().startswith("Total return"))
    assert row == ["Total", "return", "25.00%", "30.00%", "50.00%"]
    sharpe = next(line.split() for line in result.stdout.splitlines() if line.strip().startswith("Sharpe ratio"))
    assert sharpe == ["Sharpe", "ratio", "1.23", "1.23", "0.70"]


def test_json_is_all_that_stdout_gets(wire: SimpleNamespace, book: Path, tmp_path: Path):
    result = trimtab("backtest", book, "--json", "--no-report", "--out", tmp_path)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["run_id"] == wire.run.run_id
    assert told["metrics"]["net"]["total_return"] == 0.25
    assert told["metrics"]["net"]["beta"] is None
    assert told["models"]["cross"]["gross"]["total_return"] == 0.31
    assert told["bundle"] == str(tmp_path / "0123456789abcdef")
    assert wire.run.saved == [(tmp_path, False)]


def test_a_halted_book_exits_4_after_its_summary(wire: SimpleNamespace, book: Path):
    wire.halted = True
    result = trimtab("backtest", book)
    assert result.exit_code == 4
    assert "Bundle:" in result.stdout
    assert "halted by its drawdown limit" in result.stderr


def test_not_enough_data_exits_3(wire: SimpleNamespace, book: Path):
    wire.error = NotEnoughData("BTCEUR: 3 bars, expected at least 51; import more")
    result = trimtab("backtest", book)
    assert (result.exit_code, result.stderr) == (3, "BTCEUR: 3 bars, expected at least 51; import more\n")
    assert result.stdout == ""


def test_a_bug_is_one_line(wire: SimpleNamespace, book: Path):
    wire.error = ZeroDivisionError("division\nby zero")
    result = trimtab("backtest", book)
    assert result.exit_code == 70
    assert result.stderr.startswith("This is a bug in Trimtab: ZeroDivisionError: division by zero. ")
    assert "TRIMTAB_TRACEBACK=1" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_traceback_on_request(wire: SimpleNamespace, book: Path, monkeypatch: pytest.MonkeyPatch):
    wire.error = ZeroDivisionError("x")
    result = CliRunner().invoke(app, ["backtest", str(book)], env={"TRIMTAB_TRACEBACK": "1"})
    assert result.exit_code == 70
    assert "Traceback (most recent call last)" in result.stderr


def test_a_file_that_cannot_be_written(wire: SimpleNamespace, book: Path):
    wire.error = PermissionError(13, "Permission denied", "/results")
    result = trimtab("backtest", book)
    assert (result.exit_code, result.stderr) == (2, "/results: Permission denied\n")
    wire.error = PermissionError("Permission denied (os error 13): x.csv")  # as Polars has it
    assert trimtab("backtest", book).stderr == "Permission denied (os error 13): x.csv\n"


def test_a_cache_that_cannot_be_written(wire: SimpleNamespace, book: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRIMTAB_CACHE", "/cache")
    wire.error = PermissionError(13, "Permission denied", "/cache/compiled-0")
    assert "set TRIMTAB_CACHE to a folder that may be written to" in trimtab("backtest", book).stderr


def test_an_interrupt_is_clean(wire: SimpleNamespace, book: Path):
    wire.error = KeyboardInterrupt()
    result = trimtab("backtest", book)
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_mistakes_in_the_spec_exit_2(wire: SimpleNamespace, book: Path):
    result = trimtab("backtest", book, "--set", "models.0.params.slow=x", "--start", "soon")
    assert result.exit_code == 2
    assert "--set models.0.params.slow=x  models.0.params.slow: expected a whole number" in result.stderr
    assert "--start: expected a date such as 2021-03-02 (year-month-day)" in result.stderr
    assert wire.calls == []
    assert trimtab("backtest", book, "--set", "slow").exit_code == 2


# ---------------------------------------------------------------------------------------------------------------------
# The log
# ---------------------------------------------------------------------------------------------------------------------


def test_the_log_holds_trades_actions_and_figures(wire: SimpleNamespace, book: Path, tmp_path: Path):
    log = tmp_path / "run.jsonl"
    assert trimtab("backtest", book, "--log", log).exit_code == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["run_started", "action", "action", "trade", "run_finished"]
    assert (events[1]["level"], events[1]["limit"], events[1]["ts"]) == (
        "warning",
        "max_weight",
        "2021-03-02T04:00:00Z",
    )
    assert (events[3]["pnl"], events[3]["event_"]) == (12.5, "x")
    assert events[4]["net"]["profit_factor"] is None


def test_the_log_holds_the_error(wire: SimpleNamespace, book: Path):
    wire.error = NotEnoughData("no bars")
    result = trimtab("backtest", book, "--log", "-", "--json")
    assert (result.exit_code, result.stdout) == (3, "")
    first, second = result.stderr.splitlines()
    assert json.loads(first)["message"] == "no bars"
    assert json.loads(first)["code"] == 3
    assert second == "no bars"
    assert "cannot be written" in trimtab("backtest", book, "--log", "/no/such/folder/x").stderr


# ---------------------------------------------------------------------------------------------------------------------
# sweep, replay, config, strategies
# ---------------------------------------------------------------------------------------------------------------------

FRAME = pl.DataFrame(
    {
        "models.0.params.fast": [5, 6, 7, 8],
        "sharpe": [0.5, math.nan, 2.0, 1.0],
        "max_drawdown": [-0.2, -0.1, -0.3, -0.4],
    }
)


def test_sweep_shows_the_best_first(wire: SimpleNamespace, book: Path, tmp_path: Path):
    wire.frame = FRAME
    out = tmp_path / "sets.parquet"
    result = trimtab("sweep", book, "--grid", "models.0.params.fast=5:9", "--top", "3", "--json", "--out", out)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [row["models.0.params.fast"] for row in told["top"]] == [7, 8, 5]
    assert told["sets"] == 4
    assert wire.calls[0][1] == {"models.0.params.fast": [5, 6, 7, 8]}
    stored = pl.read_parquet(out)
    assert stored["models.0.params.fast"].to_list() == [7, 8, 5, 6]  # undefined last
    shown = trimtab("sweep", book, "--grid", "models.0.params.fast=5:9", "--sort", "max_drawdown").stdout
    assert shown.index("-10.00%") < shown.index("-40.00%")
    assert "all 4 sets by Maximum drawdown" in shown


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "--grid is missing"),
        (("--grid", "models.0.params.fats=1:3"), "did you mean 'fast'?"),
        (("--grid", "seed=1:3", "--sort", "sharp"), "did you mean 'sharpe'?"),
        (("--grid", "seed=1:3", "--out", "x.xlsx"), "ends in .parquet or .csv"),
        (("--grid", "seed=1:3", "--out", "no/such/x.csv"), "there is no folder"),
    ],
)
def test_sweep_refuses(wire: SimpleNamespace, book: Path, args: tuple[str, ...], message: str):
    wire.frame = FRAME
    result = trimtab("sweep", book, *args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_replay_says_whether_it_is_the_same(wire: SimpleNamespace, tmp_path: Path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "summary.json").write_text('{"data_hash": "", "code_version": "", "platform": ""}')
    same = trimtab("replay", tmp_path)
    assert (same.exit_code, same.stdout) == (0, "Identical: the same orders, fills, equity and metrics.\n")
    wire.differences = ["equity: first at row 3"]
    other = trimtab("replay", tmp_path)
    assert other.exit_code == 1
    assert "  equity: first at row 3" in other.stdout
    assert json.loads(trimtab("replay", tmp_path, "--json").stdout)["identical"] is False
    nothing = trimtab("replay", tmp_path / "none")
    assert nothing.exit_code == 2
    assert "there is no such bundle" in nothing.stderr
    several = trimtab("replay", tmp_path, tmp_path, "--json")
    assert (several.exit_code, [one["identical"] for one in json.loads(several.stdout)]) == (1, [False, False])


def test_config_check_and_schema(book: Path):
    good = trimtab("config", "check", book, "--set", "models.0.params.slow=70")
    assert good.exit_code == 0
    assert "slow: 70" in good.stdout
    assert "is good. Run id" in good.stderr
    told = json.loads(trimtab("config", "check", book, "--json").stdout)
    assert told["spec"]["limits"]["max_weight"] is None
    assert len(told["run_id"]) == 64
    assert trimtab("config", "check", book.with_name("bok.yaml")).exit_code == 2
    assert json.loads(trimtab("config", "schema").stdout)["$schema"].endswith("2020-12/schema")


def test_strategies(tmp_path: Path):
    listed = trimtab("strategies").stdout
    assert all(name in listed for name in ("sma_cross", "pairs_reversion", "buy_and_hold"))
    shown = trimtab("strategies", "show", "sma_cross").stdout
    assert "Brock, Lakonishok, LeBaron" in shown
    told = json.loads(trimtab("strategies", "show", "sma_cross", "--json").stdout)
    assert told["params"]["fast"] == {"default": 20, "range": [1, 5000]}
    wrong = trimtab("strategies", "show", "sma_cros")
    assert wrong.exit_code == 2
    assert "did you mean 'sma_cross'?" in wrong.stderr


def prices(path: Path, rows: int) -> Path:
    """A file of hourly bars whose returns take back half of the one before; the last bar falls by 2%."""
    moves = np.random.default_rng(0).normal(0.0, 0.01, rows)
    for t in range(1, rows):
        moves[t] -= 0.5 * moves[t - 1]
    moves[-1] = -0.02
    close = 100.0 * np.exp(np.cumsum(moves))
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    opens = [start + dt.timedelta(hours=t) for t in range(rows)]
    frame = pl.DataFrame({"open_time": opens, "open": close, "high": close, "low": close, "close": close})
    frame.with_columns(volume=pl.lit(1.0)).write_parquet(path)
    return path


def test_a_signal_says_what_why_and_the_order(tmp_path: Path):
    file = prices(tmp_path / "BTCEUR_1h.parquet", 800)
    asked = ("strategies", "signal", "lag_autocorr", "--data", file, "--capital", "5000")
    shown = trimtab(*asked).stdout
    assert "BTCEUR  BUY  strength 1.00  at the close of 2024-02-03T08:00:00Z (1h)" in shown
    assert "why    robust z of the autocorrelation at lag 1 is -" in shown
    assert "which noise leaves 5% of the time: significant, it wants to be long with 100% of its share." in shown
    assert "order  buy " in shown
    told = json.loads(trimtab(*asked, "--json").stdout)
    (signal,) = told["signals"]
    assert (told["strategy"], told["capital"], signal["signal"], signal["strength"]) == (
        "lag_autocorr",
        5000,
        "BUY",
        1.0,
    )
    assert signal["reason"]["value"] < signal["reason"]["low"]
    assert signal["orders"][0]["notional"] == pytest.approx(5000.0, rel=1e-4)
    held = trimtab(*asked, "--set", "edge=0.1").stdout
    assert "BTCEUR  HOLD  strength 0.00" in held
    assert "order  none of BTCEUR\n" in held


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ((), 2, "there is no --data"),
        (("--data", "NOFILE.csv"), 2, "there is no file NOFILE.csv"),
        (("--data", "{short}"), 3, "fewer than the 501"),
        (("--data", "{short}", "--capital", "0"), 2, "--capital 0: expected a number above 0"),
        (("--data", "{short}", "--set", "windw=5"), 2, "did you mean 'window'?"),
    ],
)
def test_a_signal_that_cannot_be_says_why(tmp_path: Path, more: tuple[str, ...], code: int, said: str):
    short = prices(tmp_path / "BTCEUR_1h.parquet", 100)
    wrong = trimtab("strategies", "signal", "lag_autocorr", *(part.format(short=short) for part in more))
    assert wrong.exit_code == code
    assert said in wrong.stderr


def test_check_tells_law_field_and_row(monkeypatch: pytest.MonkeyPatch):
    from trimtab.research.check_subject import Finding

    found = [Finding("split", False, "close", 17, "reads the next bar", instrument="SYN1", size=0.5)]
    module = ModuleType("trimtab.research.check")
    monkeypatch.setattr(module, "check_strategy", lambda strategy, panel, params, series: found, raising=False)
    monkeypatch.setitem(sys.modules, "trimtab.research.check", module)
    result = trimtab("check", "sma_cross")
    assert result.exit_code == 1
    assert all(word in result.stdout for word in ("split", "FAIL", "close", "SYN1", "17", "0.5", "next bar"))
    found[0] = Finding("split", True, None, None, "the same forecasts")
    told = trimtab("check", "sma_cross", "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["passed"] is True
    assert "give both" in trimtab("check", "sma_cross", "--data", "x").stderr


# ---------------------------------------------------------------------------------------------------------------------
# Help
# ---------------------------------------------------------------------------------------------------------------------


def test_the_first_page_groups_the_commands():
    page = trimtab().stdout
    places = [page.index(f"{word}:") for word in ("Start here", "Data", "Research", "Settings", "Options")]
    assert places == sorted(places)
    assert page.index("  demo") < page.index("  data") < page.index("  backtest") < page.index("  config")
    assert trimtab("--help").stdout == page


@pytest.mark.parametrize("command", ["demo", "backtest", "sweep", "check", "strategies", "replay", "report"])
def test_help_has_examples_and_says_what_is_written(command: str):
    result = trimtab(command, "--help")
    assert result.exit_code == 0
    assert f"trimtab {command}" in result.stdout.split("Examples")[1]
    assert "rites" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("backtst", "no such command 'backtst'. Did you mean 'backtest'?"),
        ("--no-such-option", "no such option"),
        ("backtest", "SPEC is missing: a YAML or JSON file"),
        ("backtest book.yaml --no-such-option", "no such option"),
        ("sweep book.yaml --top 0", "--top 0: expected at least 1"),
        ("paper book.yaml --seed x", "--seed x: expected a whole number such as 7"),
        ("paper book.yaml --speed x", "--speed x: expected a number such as 0.5"),
        ("check", "STRATEGY is missing: a strategy's name, or its Python file"),
        ("replay", "BUNDLE is missing"),
        ("data import", "FILE is missing: CSV or Parquet"),
        ("data shwo", "Did you mean 'show'?"),
    ],
)
def test_usage_mistakes_say_what_to_type_and_exit_2(words: str, said: str):
    result = trimtab(*words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    first, *others = result.stderr.splitlines()
    assert said in first
    assert others[-1].startswith("More: trimtab")
    assert "─" not in result.stderr
    if "is missing" in first:
        assert others[-2].startswith(f"Example: trimtab {words} ")


def test_backtest_without_a_spec_shows_one(tmp_path: Path):
    from trimtab.app.cli_advice import SHORTEST

    said = trimtab("backtest").stderr
    assert all(f"  {line}" in said.splitlines() for line in SHORTEST.splitlines())
    (tmp_path / "book.yaml").write_text(SHORTEST)
    assert trimtab("config", "check", tmp_path / "book.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SPY_1d.csv", "this is a file of bars: trimtab data import"),
        ("mine.py", "this is a strategy's file: name it in a spec (`models: [{strategy: mine.py}]`)"),
        ("sma_cross", "there is no such file; expected a spec, a YAML or JSON file"),
        ("none.yaml", "no such file"),
    ],
)
def test_what_is_no_spec_is_told_where_it_belongs(tmp_path: Path, name: str, said: str):
    if "." in name and "none" not in name:
        (tmp_path / name).write_text("Date,Open\n" * 1000)
    result = trimtab("backtest", tmp_path / name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr) < 600


def test_a_place_for_the_bundle_is_looked_at_before_the_run(wire: SimpleNamespace, book: Path):
    result = trimtab("backtest", book, "--out", book)
    assert (result.exit_code, wire.calls) == (2, [])
    assert "is a file; give another folder" in result.stderr


def test_combinations_that_contradict_themselves_are_counted(wire: SimpleNamespace, book: Path):
    wire.frame = FRAME
    swept = trimtab("sweep", book, "--grid", "models.0.params.fast=5:11")
    assert swept.exit_code == 0
    assert "2 of 6 combinations contradict themselves and were left out." in swept.stderr
    wire.frame = FRAME.with_columns(final_equity=pl.lit(math.nan))
    short = trimtab("sweep", book, "--grid", "models.0.params.fast=5:9")
    assert (short.exit_code, short.stdout) == (3, "")
    assert "no set has enough bars" in short.stderr
