"""`trimtab size` as a user gives it: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

EDGE = ("--mean", "8%", "--vol", "20%", "--rate", "2%")


def size(*args: object, columns: int = 80) -> Result:
    environment = {"COLUMNS": str(columns), "TRIMTAB_TRACEBACK": "", "NO_COLOR": "1"}
    return CliRunner().invoke(app, ["size", *map(str, args)], env=environment)


def row(result: Result, label: str) -> list[str]:
    return next(line for line in result.stdout.splitlines() if line.startswith(label))[len(label) :].split()


@pytest.fixture
def returns(tmp_path: Path) -> Path:
    path = tmp_path / "returns.csv"
    values = np.round(np.random.default_rng(0).normal(0.0008, 0.01, 300), 6)
    days = [f"2020-{k}" for k in range(300)]
    pl.DataFrame({"day": days, "strategy": [None, *values[1:]], "other": values}).write_csv(path)
    return path


def test_the_table_of_an_edge():
    result = size(*EDGE)
    assert result.exit_code == 0, result.output
    assert row(result, "Fixed fraction 100%") == ["100.0%", "6.0%", "20.0%", "51.2%", "43.1%", "12.5%", "27.0%"]
    assert row(result, "Kelly ")[:4] == ["150.0%", "6.5%", "30.0%", "72.4%"]
    assert row(result, "Kelly with ruin, 10%")[3] == "10.0%"
    assert row(result, "Target, at first")[:2] == ["137.0%", "–"]
    assert "No policy has a better chance than 90.9%." in " ".join(result.stdout.split())
    last = " ".join(result.stdout.split("\n\n")[-1].split())
    assert last == (
        "Kelly would hold 150.0% of wealth, with a chance of 72.4% of ever being 20% below the start. To keep that "
        "chance at 10% or less, hold at most 45.8% of wealth."
    )


@pytest.mark.parametrize(
    "args",
    [
        EDGE,
        ("--sharpe", "-0.6", "--vol", "20%"),
        ("--win-rate", "55%", "--payoff", "1.2", "--loss", "2%", "--periods", "50"),
        ("--mean", "50%", "--vol", "5%", "--cap", "100"),
    ],
)
def test_it_fits_80_columns_and_breaks_no_row(args: tuple[str, ...]):
    result = size(*args)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    table = lines[lines.index(next(line for line in lines if line.startswith("─"))) + 1 :]
    table = table[: table.index("")]
    assert len(table) == (7 if "--payoff" in args else 8)
    assert all(len(line.split()) >= 8 for line in table)


def test_a_sharpe_ratio_is_an_edge():
    by_ratio, by_mean = size("--sharpe", "0.3", *EDGE[2:], "--json"), size(*EDGE, "--json")
    one, other = json.loads(by_ratio.stdout), json.loads(by_mean.stdout)
    for a, b in zip(one["methods"], other["methods"], strict=True):
        assert a["fraction"] == pytest.approx(b["fraction"])
        assert a["below"]["value"] == pytest.approx(b["below"]["value"], abs=1e-9)


def test_json_is_all_that_stdout_gets():
    result = size(*EDGE, "--json", "--fall", "30%", "--risk", "5%", "--goal", "150%", "--horizon", "2")
    told = json.loads(result.stdout)
    assert result.stderr == ""
    assert told["question"]["fall"] == 0.3
    rows = {row["name"]: row for row in told["methods"]}
    assert rows["kelly"]["fraction"] == pytest.approx(1.5)
    assert rows["kelly"]["below"] == {"value": pytest.approx(0.7 ** (0.13 / 0.09)), "error": 0.0}
    assert rows["kelly_with_ruin"]["below"]["value"] == pytest.approx(0.05)
    assert rows["target"]["growth"] is None
    assert rows["target"]["below"]["error"] > 0.0
    assert told["break_even"] == pytest.approx(3.0)


def test_a_bet_is_sized_by_its_stop():
    plain = json.loads(size("--win-rate", "55%", "--payoff", "1.2", "--json").stdout)
    stopped = json.loads(size("--win-rate", "55%", "--payoff", "1.2", "--loss", "2%", "--cap", "50", "--json").stdout)
    by_name = [{row["name"]: row for row in told["methods"]} for told in (plain, stopped)]
    assert by_name[0]["fixed_fraction"]["fraction"] == 0.02
    assert by_name[1]["fixed_fraction"]["fraction"] == 1.0
    assert by_name[0]["kelly"]["fraction"] == pytest.approx(0.175)
    assert by_name[1]["kelly"]["fraction"] == pytest.approx(8.75)
    assert by_name[0]["kelly"]["growth"] == pytest.approx(by_name[1]["kelly"]["growth"])


def test_returns_of_a_file(returns: Path):
    result = size("--returns", returns, "--column", "strategy", "--periods", "260")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "299 returns of strategy in returns.csv, 260 a year" in said
    assert "rows left out as empty: 1" in said
    assert "measured over 1.15 years" in said
    assert "Monte Carlo (seed 0, standard errors up to" in said
    told = json.loads(size("--returns", returns, "--column", "other", "--json").stdout)
    values = pl.read_csv(returns)["other"].to_numpy()
    rows = {row["name"]: row for row in told["methods"]}
    assert rows["kelly_moments"]["wanted"] == pytest.approx(values.mean() / values.var())
    assert rows["kelly_with_ruin"]["below"]["value"] <= 0.1
    assert told["years"] == pytest.approx(300 / 252)
    again = json.loads(size("--returns", returns, "--column", "other", "--json").stdout)
    assert again == told
    other = json.loads(size("--returns", returns, "--column", "other", "--json", "--seed", "1").stdout)
    assert other["methods"] != told["methods"]


def test_a_parquet_file_with_one_column_of_numbers(tmp_path: Path):
    path = tmp_path / "r.parquet"
    pl.DataFrame({"ret": [0.02, -0.01, math.nan] * 20, "close": [5.0] * 60}).write_parquet(path)
    assert "40 returns of ret" in " ".join(size("--returns", path).stdout.split())


def test_the_chart(tmp_path: Path):
    page = tmp_path / "sizes.html"
    result = size(*EDGE, "--plot", page)
    assert (result.exit_code, result.stderr) == (0, f"Chart: {page}\n")
    text = page.read_text()
    assert "Kelly would hold 150.0% of wealth" in text
    assert "Kelly with ruin, 10%" in text
    assert "#f000" not in text  # colours are put in
    assert 'src="http' not in text
    assert list(tmp_path.iterdir()) == [page]
    bets = size("--win-rate", "55%", "--payoff", "1.2", "--plot", page, "--json")
    assert json.loads(bets.stdout)["bet"] is True


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "the edge is missing. Say it in one of four ways"),
        (("--mean", "8%"), "--mean needs --vol beside it, e.g. --vol 20%"),
        (("--win-rate", "55%"), "--win-rate needs --payoff beside it"),
        (("--mean", "8%", "--vol", "20"), "did you mean 20% or 20bps?"),
        (("--mean", "8%", "--sharpe", "1", "--vol", "9%"), "--mean and --sharpe: one edge at a time"),
        ((*EDGE, "--payoff", "2"), "--payoff means nothing beside --mean; leave it out"),
        ((*EDGE, "--periods", "12"), "--periods means nothing beside --mean"),
        (("--mean", "nan", "--vol", "20%"), "--mean nan: expected a fraction"),
        (("--win-rate", "100%", "--payoff", "1"), "--win-rate 100%: expected a fraction"),
        (("--win-rate", "55%", "--payoff", "0"), "--payoff 0: expected a number"),
        ((*EDGE, "--fall", "100%"), "--fall 100%: expected a fraction"),
        ((*EDGE, "--goal", "90%"), "above 1"),
        ((*EDGE, "--years", "0"), "--years 0: expected a number"),
        ((*EDGE, "--plot", "x.png"), "--plot x.png: expected a file name that ends in .html"),
        ((*EDGE, "--plot", "no/such/x.html"), "there is no folder no/such; make it first"),
        (("--mean", "1%", "--vol", "20%", "--rate=-1%"), "cash shrinks"),
        (("--returns", "nope.csv"), "--returns nope.csv: no such file"),
    ],
)
def test_mistakes_exit_2_with_one_message(args: tuple[str, ...], message: str):
    result = size(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("a,b\n0.1,0.2\n", (), "which column holds the returns? Say it by --column; of numbers: a, b"),
        ("day,name\nx,y\n", (), "of numbers: none"),
        ("strategy,b\n0.1,0.2\n", ("--column", "strat"), "no column of numbers is named 'strat' (did you mean"),
        ("r\n0.01\n104.2\n", (), "row 2: r is 104.2: expected simple returns as fractions"),
        ("r\n0.01\n-1.5\n", (), "row 2: r is -1.5"),
        ("r\n0.01\n0.02\n", (), "no return in the sample loses"),
        ("r\n0.01\ninf\n", (), "row 2: r is inf"),
    ],
)
def test_a_file_that_holds_no_returns(tmp_path: Path, text: str, args: tuple[str, ...], message: str):
    path = tmp_path / "x.csv"
    path.write_text(text)
    result = size("--returns", path, *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_too_few_returns_exit_3(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text("r\n0.01\n")
    result = size("--returns", path)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "expected 2 at least" in result.stderr


def test_no_edge_is_said_plainly():
    assert "There is no edge over cash" in size("--mean", "2%", "--vol", "20%", "--rate", "2%").stdout
    short = " ".join(size("--mean=-2%", "--vol", "20%").stdout.split())
    assert "Kelly would hold 50.0% of wealth short" in short
    assert "Below 0 is short" in short
    careful = " ".join(size("--mean", "3%", "--vol", "20%", "--rate", "2%", "--risk", "50%").stdout.split())
    assert "within the 50% that you accept" in careful


def test_help_has_examples_and_says_what_is_written():
    result = size("--help", columns=120)
    assert result.exit_code == 0
    assert "trimtab size --mean 8% --vol 20% --rate 2%" in result.stdout
    assert "Writes nothing, or the chart of --plot" in " ".join(result.stdout.split())
