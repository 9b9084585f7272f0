"""`trimtab data events`: splits and dividends from a file, listed, and earned by a run."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import trimtab as tt
from trimtab.app.cli import app

SPLIT = dt.date(2014, 6, 9)

BARS = pl.DataFrame(
    {
        "date": ["2014-06-05", "2014-06-06", "2014-06-09", "2014-06-10"],
        "open": [640.0, 650.0, 92.0, 94.0],
        "high": [650.0, 652.0, 94.0, 95.0],
        "low": [638.0, 644.0, 91.0, 93.0],
        "close": [648.0, 644.0, 93.0, 94.0],
        "volume": [1e6, 1e6, 7e6, 7e6],
    }
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    BARS.write_csv(tmp_path / "AAPL_1d.csv")
    words = ["data", "import", str(tmp_path / "AAPL_1d.csv"), "--asset-class", "equity", "--data", str(tmp_path / "s")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return tmp_path / "s"


def events(root: Path, *words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["data", "events", "AAPL", "--data", str(root), *map(str, words)])
    return done.exit_code, done.output


def test_a_file_of_events_is_stored_once_and_earned(root: Path, tmp_path: Path) -> None:
    assert "no splits or dividends of AAPL" in events(root)[1]
    file = tmp_path / "actions.csv"
    file.write_text("Date,Type,Value\n2014-06-09,split,7\n2014-06-10,Dividend,0.47\n")
    assert events(root, "--import", file)[0] == 0
    code, told = events(root, "--import", file, "--json")
    assert code == 0
    said = json.loads(told[told.index("{") :])
    assert said["events"] == [
        {"date": "2014-06-09", "kind": "split", "value": 7.0},
        {"date": "2014-06-10", "kind": "dividend", "value": 0.47},
    ]
    panel = tt.load("AAPL", timeframe="1d", root=root)
    assert panel.values[2, 0, panel.fields.index("split")] == 7.0
    assert panel.values[3, 0, panel.fields.index("dividend")] == 0.47


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("June 9,split,7", "line 2: date 'June 9': expected an ex-date"),
        ("2014-06-09,merger,7", "line 2: kind 'merger': expected split or dividend"),
        ("2014-06-09,split,0", "line 2: value 0 of a split: expected new shares per old one"),
        ("2014-06-09,dividend,much", "line 2: value 'much' of a dividend: expected cash per share"),
    ],
)
def test_what_is_no_event_is_named(row: str, said: str, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "actions.csv"
    file.write_text(f"date,kind,value\n{row}\n")
    code, told = events(root, "--import", file)
    assert code == 2
    assert said in " ".join(told.split())
    assert "no splits or dividends" in events(root)[1], "nothing was stored"


def test_a_file_without_a_column_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "actions.csv").write_text("date,value\n2014-06-09,7\n")
    code, told = events(root, "--import", tmp_path / "actions.csv")
    assert code == 2
    assert "no column for kind: expected date, kind and value, found date, value" in " ".join(told.split())


def test_a_special_dividend_beside_the_regular_one_is_not_lost(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "actions.csv"
    file.write_text("date,kind,value\n2014-06-10,dividend,3.00\n2014-06-10,dividend,0.08\n")
    for _ in range(2):
        assert events(root, "--import", file)[0] == 0
        assert tt.load("AAPL", timeframe="1d", root=root).values[3, 0, -1] == pytest.approx(3.08)


def test_an_event_that_cannot_be_is_taken_out_by_a_file_without_it(root: Path, tmp_path: Path) -> None:
    """The message of the load says how; a mistyped date goes the same way."""
    wrong, right = tmp_path / "wrong.csv", tmp_path / "right.csv"
    wrong.write_text("date,kind,value\n2014-06-06,split,7\n2014-06-10,dividend,470\n")
    right.write_text("date,kind,value\n2014-06-09,split,7\n")
    assert events(root, "--import", wrong)[0] == 0
    with pytest.raises(tt.TrimtabError, match="trimtab data events AAPL --import FILE --replace"):
        tt.load("AAPL", timeframe="1d", root=root)
    assert events(root, "--import", right, "--replace")[0] == 0
    panel = tt.load("AAPL", timeframe="1d", root=root)
    split = panel.values[:, 0, panel.fields.index("split")]
    assert split[split == split].tolist() == [7.0]
    assert split[2] == 7.0
    right.write_text("date,kind,value\n")
    assert events(root, "--import", right, "--replace")[0] == 0
    assert "split" not in tt.load("AAPL", timeframe="1d", root=root).fields


def test_to_replace_without_a_file_is_refused(root: Path) -> None:
    code, told = events(root, "--replace")
    assert code == 2
    assert "--replace: of what? expected --import FILE" in " ".join(told.split())


def stored(tmp_path: Path) -> Path:
    """Forty sessions from a Thursday on, with a split and a dividend within a week."""
    days = pl.date_range(pl.date(2014, 5, 15), pl.date(2014, 7, 11), "1d", eager=True)
    days = days.filter(days.dt.weekday() < 6)
    price = pl.Series([700.0 if day < SPLIT else 100.0 for day in days])
    bars = {"date": days, "open": price, "high": price + 1, "low": price - 1, "close": price, "volume": price * 0 + 1e6}
    pl.DataFrame(bars).write_csv(tmp_path / "AAPL_1d.csv")
    words = ["data", "import", str(tmp_path / "AAPL_1d.csv"), "--asset-class", "equity", "--data", str(tmp_path / "s")]
    assert CliRunner().invoke(app, words).exit_code == 0
    (tmp_path / "actions.csv").write_text("date,kind,value\n2014-06-09,split,7\n2014-06-11,dividend,0.47\n")
    assert events(tmp_path / "s", "--import", tmp_path / "actions.csv")[0] == 0
    return tmp_path / "s"


def test_a_week_that_began_before_the_bars_is_left_out(tmp_path: Path) -> None:
    panel = tt.load("AAPL", timeframe="1w", root=stored(tmp_path))
    split, dividend = (panel.values[:, 0, panel.fields.index(name)] for name in ("split", "dividend"))
    assert split[split == split].tolist() == [7.0]
    assert dividend[dividend == dividend].tolist() == [7 * 0.47]
    assert panel.values[:, 0, 0].tolist()[:4] == [700.0, 700.0, 700.0, 100.0]


def test_parity_over_a_split(tmp_path: Path) -> None:
    root = stored(tmp_path)
    spec = "universe: AAPL\ntimeframe: 1d\ncapital: 100000\nmodels: [{strategy: buy_and_hold}]\n"
    (tmp_path / "hold.yaml").write_text(spec)
    words = ["backtest", str(tmp_path / "hold.yaml"), "--data", str(root), "--out", str(tmp_path / "r"), "--no-report"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    bundle = next((tmp_path / "r").iterdir())
    done = CliRunner().invoke(app, ["parity", str(bundle), str(bundle)])
    assert done.exit_code == 0, done.output
    assert "Equal, to the last bit" in done.output


def test_show_counts_them_and_names_the_last(root: Path, tmp_path: Path) -> None:
    def shown(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", "show", "AAPL", "--data", str(root), *words], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "trimtab data events" not in shown()
    file = tmp_path / "actions.csv"
    file.write_text("date,kind,value\n2005-02-28,split,2\n2014-06-09,split,7\n2014-06-10,dividend,0.47\n")
    assert events(root, "--import", file)[0] == 0
    said = "2 splits (the last 2014-06-09: 7), 1 dividend (the last 2014-06-10: 0.47): trimtab data events AAPL"
    assert said in shown()
    assert [e["date"] for e in json.loads(shown("--json"))["events"]] == ["2005-02-28", "2014-06-09", "2014-06-10"]


def test_a_damaged_file_of_events_is_told_with_the_way_out(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "actions.csv"
    file.write_text("date,kind,value\n2014-06-09,split,7\n")
    assert events(root, "--import", file)[0] == 0
    stored = next((root / "events").rglob("*.parquet"))
    stored.write_bytes(stored.read_bytes()[:50])
    code, told = events(root)
    assert code == 2
    assert f"{stored}: not readable as Parquet" in told
    assert "remove it, then give the events anew" in told


# --- in runs ---------------------------------------------------------------------------------------------------------

BOOK = "name: One share\nuniverse: AAPL\ntimeframe: 1d\nmodels: [{strategy: buy_and_hold}]\nvolume: ignore\n"


def real_store(shared: Path, place: Path) -> list[str]:
    """Raw AAPL bars in a store, and a book that holds them."""
    (place / "book.yaml").write_text(BOOK)
    words = ["data", "import", str(shared / "data/equity_us/AAPL_1d.parquet"), "-a", "equity", "--data", str(place)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return [str(place / "book.yaml"), "--data", str(place)]


def test_a_split_that_nobody_stored_is_a_warning_of_a_run(shared: Path, tmp_path: Path) -> None:
    """AAPL split 2:1, 2:1 and 7:1, and fell by half on 2000-09-29: only the splits are told, until they are stored."""
    book, out = real_store(shared, tmp_path), ["--out", str(tmp_path / "out"), "--no-report"]

    def warned() -> list[str]:
        done = CliRunner().invoke(app, ["backtest", *book, *out, "--json"])
        assert done.exit_code == 0, done.output
        return [n for n in json.loads(done.stdout)["notes"] if n.startswith("Warning: ")]

    told = warned()
    assert [note[15:25] for note in told] == ["2000-06-21", "2005-02-28", "2014-06-09"]
    assert "open 92.69 is 0.144 of the close before, near a 7:1 split" in told[2]
    assert "as a line 2014-06-09,split,7 of a file: trimtab data events AAPL --import FILE." in told[2]
    printed = CliRunner().invoke(app, ["backtest", *book, *out], env={"COLUMNS": "400"}).stdout
    assert all(note in printed for note in told)
    file = tmp_path / "actions.csv"
    file.write_text("date,kind,value\n2000-06-21,split,2\n2005-02-28,split,2\n2014-06-09,split,0.142857\n")
    assert events(tmp_path, "--import", file)[0] == 0
    assert "split 2014-06-09: open" not in events(tmp_path)[1], "only an import is held against prices"
    assert "inverted 2014-06-09: open 92.69 is 0.144 of the close before" in events(tmp_path, "--import", file)[1]
    (inverted,) = warned()
    assert "its ratio is upside down, 7 would fit" in inverted
    file.write_text("date,kind,value\n2014-06-09,split,7\n")
    assert events(tmp_path, "--import", file)[0] == 0
    assert warned() == []


def test_a_paper_replay_says_it_before_it_trades(shared: Path, tmp_path: Path) -> None:
    book = real_store(shared, tmp_path)
    done = CliRunner().invoke(
        app, ["paper", *book, "--out", str(tmp_path / "one"), "--days", "600", "--deadline", "0", "--no-report"]
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Warning: AAPL, 2014-06-09: open 92.69 is 0.144 of the close before")


def test_events_are_told_by_their_own_day(shared: Path, tmp_path: Path) -> None:
    """They are booked at the open of a daily bar, whose close is a day later: both are of the day of the session."""
    book = real_store(shared, tmp_path)
    file = tmp_path / "actions.csv"
    file.write_text(
        "date,kind,value\n2000-06-21,split,2\n2005-02-28,split,2\n2014-06-09,split,7\n2015-02-05,dividend,0.47\n"
    )
    assert events(tmp_path, "--import", file)[0] == 0
    done = CliRunner().invoke(app, ["backtest", *book, "--out", str(tmp_path / "out"), "--json"])
    found = json.loads(done.stdout)
    days = {act["limit"]: (act["first"], act["last"]) for act in found["actions"]}
    assert days == {"split": ("2000-06-21", "2014-06-09"), "dividend": ("2015-02-05", "2015-02-05")}
    page = Path(found["report"]).read_text()
    assert "<td>2014-06-09</td><td>split</td>" in page
    fills = pl.read_parquet(Path(found["bundle"]) / "fills.parquet")
    assert f"{fills['ts'][0]:%Y-%m-%dT%H:%M}" == "1998-01-05T00:00", "a daily bar's open is its date label"
