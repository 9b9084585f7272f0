"""`trimtab data` as a user drives it."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

GOOD = (
    "date,open,high,low,close,volume\n2020-01-02,1,2,0.5,1.5,10\n2020-01-03,1.5,2,1,1.2,0\n2020-01-06,1.2,2,1,1.4,5\n"
)
BAD = "date,open,high,low,close,volume\n2020-01-02,1,2,0.5,1.5,10\n2020-01-02,1,0.1,0.5,1.5,10\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_DATA", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "SPY_1d.csv").write_text(GOOD)
    (tmp_path / "QQQ_1d.csv").write_text(BAD)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def as_json(*arguments: object) -> Any:
    result = run(*arguments, "--json")
    return json.loads(result.stdout)


def test_import_list_show_and_query(data: Path) -> None:
    result = run("import", data / "SPY_1d.csv", "-a", "equity", "--venue", "alpaca")
    assert result.exit_code == 0, result.output
    assert "zero_volume 1" in result.stdout
    assert "dates, taken as 00:00 UTC" in result.stdout
    listed = run("list")
    assert "SPY" in listed.stdout
    assert "2020-01-06" in listed.stdout
    shown = run("show", "SPY")
    assert "3 bars" in shown.stdout
    assert "calendar XNYS" in shown.stdout
    assert run("sql", "select count(*) as n from bars where close > 1.3").stdout.split()[-1] == "2"
    assert as_json("sql", "select close from bars order by 1") == [{"close": 1.2}, {"close": 1.4}, {"close": 1.5}]


def test_json_is_all_that_is_on_stdout(data: Path) -> None:
    done = as_json("import", data / "SPY_1d.csv", "-a", "equity")
    assert done["imported"][0]["symbol"] == "SPY"
    assert done["imported"][0]["counts"] == {"zero_volume": 1}
    assert done["refused"] == []
    assert as_json("list")[0]["bars"] == 3
    shown = as_json("show", "SPY", "--rows", 1)
    assert [row["close"] for row in shown["series"][0]["rows"]] == [1.5, 1.4]
    assert as_json("validate")["series"][0]["errors"] == 0


def test_bad_input_is_refused_and_the_rest_imported(data: Path) -> None:
    result = run("import", data / "SPY_1d.csv", data / "QQQ_1d.csv", "-a", "equity")
    assert result.exit_code == 2
    assert "line 3 (2020-01-02T00:00Z) duplicate" in result.stderr
    assert "line 3 (2020-01-02T00:00Z) high_below_low" in result.stderr
    assert [row["symbol"] for row in as_json("list")] == ["SPY"]
    refused = as_json("import", data / "QQQ_1d.csv")
    assert refused["imported"] == []
    assert "duplicate" in refused["refused"][0]["error"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("import", "absent_1d.csv"), 2, "no such file"),
        (("import", "$/SPY_1d.csv", "--asset-class", "stock"), 2, "'stock' (did you mean 'equity'?)"),
        (("import", "$/SPY_1d.csv", "--timeframe", "2d"), 2, "the closest is 1d"),
        (("import", "$/SPY_1d.csv", "--column", "open"), 2, "expected OURS=THEIRS"),
        (("import", "$/SPY_1d.csv", "--calendar", "NYSE"), 2, "did you mean XNYS"),
        (("import", "$/SPY_1d.csv", "--kind", "futures"), 2, "unknown kind 'futures'; expected one of spot"),
        (("validate", "$/SPY_1d.csv", "--calendar", "NYSE"), 2, "did you mean XNYS"),
        (("validate", "$/absent_1d.csv"), 2, "no such file"),
        (("list", "--data", "$/SPY_1d.csv"), 2, "is a file"),
        (("import", "$/SPY_1d.csv", "--lot-size", "0"), 2, "lot_size = 0"),
        (("import", "$/SPY_1d.csv", "$/QQQ_1d.csv", "--symbol", "X"), 2, "several files"),
        (("show", "SPX"), 2, "is empty"),
        (("validate",), 2, "is empty"),
        (("sql", "drop table bars"), 2, "expected one SELECT"),
    ],
)
def test_mistakes_have_one_message_and_a_code(data: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run(*(a.replace("$", str(data)) for a in arguments))
    assert (result.exit_code, message in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [("list",), ("show", "SPY"), ("validate",)])
def test_an_empty_store_says_what_to_type(data: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == (0 if arguments == ("list",) else 2)
    assert result.stdout == ""
    first, *ways = result.stderr.splitlines()
    assert first == f"the store {data / 'store'} is empty."
    assert [way.partition(":")[2].split("(")[0].strip() for way in ways] == [
        "trimtab data import SPY_1d.csv --asset-class equity",
        "--data DIR, or set TRIMTAB_DATA",
        "trimtab demo",
    ]
    assert run("import", data / "SPY_1d.csv", "--asset-class", "equity").exit_code == 0  # the first way leads out
    assert run(*arguments).exit_code == 0


def test_many_missing_bars_ask_for_the_calendar(data: Path) -> None:
    days = [f"2020-01-{day:02d},1,2,0.5,1.5,10" for day in range(1, 32) if day % 7 > 1]
    (data / "SPY_1d.csv").write_text("date,open,high,low,close,volume\n" + "\n".join(days))
    doubt = "of the bars that 24/7 at 1d should have are missing: is that the right"
    assert doubt in as_json("import", data / "SPY_1d.csv")["imported"][0]["notes"][-1]
    assert doubt not in run("import", data / "SPY_1d.csv", "--calendar", "24/5").stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{GOOD}2020-01-07,1,2,0.5,1.5,10,99\n".encode(), "line 5 has more fields than the header's 6\n"),
        (GOOD.replace("1.5,10", "café,10").encode("latin-1"), "this is no text in UTF-8; expected CSV"),
        (GOOD.encode("utf-16"), "this is no text in UTF-8; expected CSV"),
        (GOOD.replace(",1.5,10", ',"1,5",10').encode(), "expected numbers such as 1234.5, with a point and without"),
        (GOOD.replace(",1.5,10", ",x,10").encode(), "holds 'x' (line 2), expected numbers\n"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(data: Path, content: bytes, said: str) -> None:
    (data / "SPY_1d.csv").write_bytes(content)
    result = run("import", data / "SPY_1d.csv", "-a", "equity")
    assert (result.exit_code, said in result.stderr, len(result.stderr.splitlines())) == (2, True, 1), result.stderr


def test_a_file_name_is_no_pattern(data: Path) -> None:
    (data / "[A*]_1d.csv").write_text(GOOD)
    assert run("import", data / "[A*]_1d.csv", "-a", "equity").exit_code == 0
    assert "[A*]" in run("list").stdout
    frame = pl.read_csv(data / "SPY_1d.csv")
    frame.write_parquet(data / "[B]_1d.parquet")
    assert run("import", data / "[B]_1d.parquet", "-a", "equity").exit_code == 0


def test_a_damaged_file_of_the_store_is_named(data: Path) -> None:
    assert run("import", data / "SPY_1d.csv", "-a", "equity").exit_code == 0
    path = data / "store/bars/equity/SPY/1d.parquet"
    path.write_bytes(b"PAR1")
    listed, shown, others = ("list",), ("show", "SPY"), (("validate",), ("sql", "select count(*) from bars"))
    for words, code in ((listed, 1), (shown, 1), *((words, 2) for words in others)):
        result = run(*words)
        told = (result.exit_code, str(path) in result.stderr, "import the bars again" in result.stderr)
        assert told == (code, True, True)
    again = run("import", data / "SPY_1d.csv", "-a", "equity")
    assert (again.exit_code, "import the bars again with --replace" in again.stderr) == (2, True)
    assert run("import", data / "SPY_1d.csv", "-a", "equity", "--replace").exit_code == 0
    assert run("validate").exit_code == 0


def test_one_damaged_series_keeps_no_other_from_being_told(data: Path) -> None:
    (data / "SPY_1w.csv").write_text("date,open,high,low,close,volume\n2020-01-06,1,2,0.5,1.5,10\n")
    (data / "IWM_1d.csv").write_text(GOOD)
    for name in ("SPY_1d", "SPY_1w", "IWM_1d"):
        assert run("import", data / f"{name}.csv", "-a", "equity").exit_code == 0
    path = data / "store/bars/equity/SPY/1d.parquet"
    path.write_bytes(path.read_bytes()[:200])
    listed = run("list")
    assert listed.exit_code == 1
    assert [line.split()[-1] for line in listed.stdout.splitlines() if line.startswith(("SPY", "IWM"))] == [
        "3", "damaged", "1"
    ]  # fmt: skip
    assert f"{path}: not readable as Parquet" in listed.stderr
    shown = run("show", "SPY")
    assert (shown.exit_code, "1w: 1 bar" in shown.stdout, "1d:" in shown.stdout) == (1, True, False)
    plain = json.loads(run("list", "--json").stdout)
    assert [(row["timeframe"], row["bars"], bool(row["damaged"])) for row in plain] == [
        ("1d", 3, False), ("1d", 0, True), ("1w", 1, False)
    ]  # fmt: skip


def test_bars_are_shown_in_a_narrow_terminal(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (data / "SPY_1d.csv").write_text("date,o,h,l,c,v\n2020-01-02,1229.22998,1229.22998,1228,1229.22998,1209722000\n")
    assert run("import", data / "SPY_1d.csv", "-a", "equity").exit_code == 0
    row = run("show", "SPY").stdout.splitlines()[-1].split()
    assert row == ["2020-01-02", "1,229.23", "1,229.23", "1,228", "1,229.23", "1,209,722,000"]


def test_a_missing_timeframe_is_asked_for_and_a_missing_series_is_not_enough_data(data: Path) -> None:
    (data / "SPY.csv").write_text(GOOD)
    asked = run("import", data / "SPY.csv", "-a", "equity")
    assert asked.exit_code == 2
    assert "give it with --timeframe" in asked.stderr
    assert run("import", data / "SPY.csv", "-a", "equity", "-t", "D1").exit_code == 0
    absent = run("show", "SPY", "-t", "1h")
    assert absent.exit_code == 3
    assert "no 1h bars" in absent.stderr


def test_validate_files_and_the_store(data: Path) -> None:
    bad = run("validate", data / "QQQ_1d.csv", "--calendar", "XNYS")
    assert bad.exit_code == 1
    assert "duplicate" in bad.stdout
    assert run("import", data / "SPY_1d.csv", "-a", "equity").exit_code == 0
    assert run("validate").exit_code == 0
    assert run("validate", "SPY", "--strict").exit_code == 1  # zero volume is a warning


def test_stored_rules_of_an_instrument_stay(data: Path) -> None:
    assert run("import", data / "SPY_1d.csv", "-a", "equity", "--tick-size", "0.05").exit_code == 0
    assert run("import", data / "SPY_1d.csv", "-a", "equity").exit_code == 0
    assert as_json("show", "SPY")["instrument"]["tick_size"] == 0.05


def test_a_refusal_says_how_to_do_without_the_bad_rows(data: Path) -> None:
    path = data / "IWM_1d.csv"
    path.write_text(GOOD + "2020-01-07,1.2,1,2,1.4,5\n")
    told = run("import", path, "-a", "equity").stderr
    assert f"trimtab data validate {path} --quarantine (with the same options" in told
    assert "--close-only" in told
    assert "3 bars kept, 1 taken out" in run("validate", path, "--quarantine", "-a", "equity").stdout
    (data / "rates.csv").write_text("date,y10\n2020-01-02,1.9\n")
    told = run("import", data / "rates.csv", "-t", "1d", "-a", "index").stderr
    assert (
        f"a series that nobody trades: --close-only --column close=…; or no import, but {data}/rates.csv#COLUMN" in told
    )
    done = run("import", data / "rates.csv", "-t", "1d", "-a", "index", "--close-only", "--column", "close=y10")
    assert done.exit_code == 0


def test_a_changed_rule_of_an_instrument_is_told(data: Path) -> None:
    first = run("import", data / "SPY_1d.csv", "-a", "equity", "--tick-size", "0.05")
    assert "in the catalogue" not in first.stdout
    assert "in the catalogue" not in run("import", data / "SPY_1d.csv", "-a", "equity").stdout
    terms = ["-a", "equity", "--delisted", "2020-01-06", "--tick-size", "0.01"]
    told = run("import", data / "SPY_1d.csv", *terms).stdout
    assert "changed in the catalogue: tick_size from 0.05 to 0.01, delisted from none to 2020-01-06" in told
    terms[3] = "2020-01-07"
    assert "delisted from 2020-01-06 to 2020-01-07" in run("import", data / "SPY_1d.csv", *terms).stdout


def test_options_stand_under_what_they_are_of() -> None:
    page = run("import", "--help").stdout
    panels = ["Options", "How the files are written", "What the instrument is"]
    places = [page.index(f" {panel} ") for panel in panels] + [len(page)]
    options = (("--symbol", "--replace"), ("--column", "--time-format"), ("--venue", "--kind", "--lot-size"))
    for k, names in enumerate(options):
        assert all(f"{name} " in page[places[k] : places[k + 1]] for name in names)


def test_help_shows_examples() -> None:
    for command in ("import", "list", "show", "validate", "sql"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert f"trimtab data {command}" in " ".join(result.stdout.split())


def test_the_command_itself_does_not_load_numba(data: Path) -> None:
    script = "import sys; from trimtab.app.cli import app; app(['data', 'list'], standalone_mode=False); "
    script += "assert 'numba' not in sys.modules and 'pandas' not in sys.modules and 'plotly' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ, capture_output=True)


def test_real_files_through_the_command(data: Path, shared: Path) -> None:
    files = sorted((shared / "data/crypto_bitvavo").glob("*.parquet"))
    done = as_json("import", *files, "--venue", "bitvavo")
    missing = {d["symbol"]: (d["counts"]["gap"], d["missing"]) for d in done["imported"]}
    assert missing == {"ADAEUR": (7, 25), "BTCEUR": (9, 24), "ETHEUR": (6, 20), "LTCEUR": (9, 24), "XRPEUR": (6, 20)}
    report = {r["name"]: r["missing"] for r in as_json("validate")["series"]}
    assert report["BTCEUR"] == 24
    n = as_json("sql", "select symbol, count(*) n from bars group by 1 order by 1")
    assert {r["symbol"]: r["n"] for r in n} == {f.name[:6]: len(pl.read_parquet(f)) for f in files}


# --- synthetic bars ---------------------------------------------------------------------------------------------------


def test_synthetic_bars_are_stored_and_the_same_for_a_seed(data: Path) -> None:
    words = ("equity=SPY,QQQ", "perpetual=BTC", "--seed", 7, "--start", "2019-01-01", "--end", "2020-01-01")
    done = as_json("synthetic", *words)
    assert [(d["symbol"], d["timeframe"], d["errors"]) for d in done["imported"]] == [
        ("SPY", "1h", 0), ("QQQ", "1h", 0), ("BTC", "1h", 0)
    ]  # fmt: skip
    listed = {i["symbol"]: i for i in as_json("list")}
    assert {i["venue"] for i in listed.values()} == {"synthetic"}
    assert "can be sold short" in run("show", "BTC", "--rows", 1).stdout
    again = as_json("synthetic", *words, "--data", data / "again")
    query = ("sql", "select symbol, sum(close * volume) as s from bars group by all order by 1")
    assert as_json(*query) == as_json(*query, "--data", data / "again")
    assert again == done
    assert run("synthetic", *words).exit_code == 0, "the same bars change nothing"


def test_synthetic_bars_never_take_the_place_of_others(data: Path) -> None:
    assert run("import", data / "SPY_1d.csv", "-a", "equity", "--venue", "alpaca").exit_code == 0
    result = run("synthetic", "equity=SPY", "--replace")
    assert result.exit_code == 2
    assert "SPY is stored as equity at alpaca" in result.stderr
    assert run("synthetic", "equity=QQQ").exit_code == 0
    other = run("synthetic", "equity=QQQ", "--seed", 1)
    assert (other.exit_code, "import with --replace" in other.stderr) == (2, True)
    assert run("synthetic", "equity=QQQ", "--seed", 1, "--replace").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("SPY",), "expected CLASS=SYMBOL,SYMBOL… such as equity=SPY,QQQ"),
        (("equity=",), "expected CLASS=SYMBOL,SYMBOL…"),
        (("equities=SPY",), "did you mean 'equity'?"),
        (("equity=SPY", "crypto=SPY"), "SPY is named twice"),
        (("equity=SPY", "--start", "2020"), "--start 2020: expected a date such as"),
        (("equity=SPY", "--start", "2021-01-01", "--end", "2020-01-01"), "no two bars of 1h lie between"),
        (("equity=SPY", "-t", "2d"), "2d"),
    ],
)
def test_synthetic_bars_that_cannot_be_made(data: Path, words: tuple[str, ...], message: str) -> None:
    result = run("synthetic", *words)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
    assert message in result.stderr


def test_show_tells_days_of_daily_bars_and_where_some_are_missing(tmp_path: Path) -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=k) for k in range(9) if k not in (3, 6)]
    rows = "".join(f"{day},1,1,1,1,5\n" for day in days)
    (tmp_path / "BTCEUR_1d.csv").write_text(f"date,open,high,low,close,volume\n{rows}")
    assert run("import", tmp_path / "BTCEUR_1d.csv", "--data", tmp_path / "s").exit_code == 0
    told = run("show", "BTCEUR", "--data", tmp_path / "s").stdout
    assert "1d: 7 bars, 2024-01-01 to 2024-01-09, 2 missing in 2 places\n" in told
    assert "  1 bar missing after 2024-01-03 and before 2024-01-05\n" in told
