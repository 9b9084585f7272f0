"""`trimtab data validate` as a user drives it: files, the store, the page, the quarantine, JSON and exit codes."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app
from trimtab.data.events import merge_events
from trimtab.data.store import find_instrument, open_store, read_bars

ENV = {"COLUMNS": "100", "TRIMTAB_TRACEBACK": "", "NO_COLOR": "1"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_DATA", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, words)], env=ENV)


def told(*words: object, code: int = 0) -> Any:
    result = run("validate", *words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def hours(n: int) -> pl.DataFrame:
    """n hours from 2021-01-04 that are whole and sound."""
    start = dt.datetime(2021, 1, 4, tzinfo=dt.UTC)
    price = [100.0 + k % 7 * 0.1 for k in range(n)]
    return pl.DataFrame(
        {
            "open_time": [start + dt.timedelta(hours=k) for k in range(n)],
            "open": price,
            "high": [p + 0.3 for p in price],
            "low": [p - 0.3 for p in price],
            "close": [p + 0.1 for p in price],
            "volume": [1.0 + k % 5 for k in range(n)],
        },
        schema_overrides={"open_time": pl.Datetime("us", "UTC")},
    )


def broken(n: int = 200) -> pl.DataFrame:
    """The same, with an impossible row and one twice."""
    frame = hours(n)
    wrong = frame.slice(50, 1).with_columns(high=pl.lit(1.0))
    return pl.concat([frame.head(50), wrong, frame.slice(51, 50), frame.slice(100)])


KEYS = {
    "name", "timeframe", "rows", "first", "last", "score", "complete", "sound", "plausible", "capped_by", "hours",
    "errors", "warnings", "missing", "counts", "findings", "coverage",
}  # fmt: skip


def test_json_has_what_the_page_of_the_documentation_lists(place: Path) -> None:
    hours(800).filter(~pl.int_range(pl.len()).is_in([10, 11])).write_parquet(place / "BTCEUR_1h.parquet")
    assert run("import", "BTCEUR_1h.parquet").exit_code == 0
    found = told()
    assert set(found) == {"verdict", "errors", "warnings", "series", "notes", "quarantined", "refused", "page"}
    (series,) = found["series"]
    assert set(series) == KEYS
    assert set(series["findings"][0]) == {"fault", "severity", "row", "instant", "message"}
    assert series["coverage"] == {"2021-01": pytest.approx(670 / 672, abs=1e-6), "2021-02": 1.0}
    assert (series["missing"], series["score"], series["first"]) == (2, 99.75, "2021-01-04")
    page = Path(__file__).parents[2] / "docs/quality.md"
    text = page.read_text(encoding="utf-8")
    assert not [
        key for key in KEYS | set(found) | {"kept", "taken", "reasons", "reordered", "file"} if f"`{key}`" not in text
    ]


def test_every_fault_is_on_the_page_of_the_documentation() -> None:
    from trimtab.data.quality.scoring import CAPS
    from trimtab.data.validation import ERRORS, WARNINGS

    text = (Path(__file__).parents[2] / "docs/quality.md").read_text(encoding="utf-8")
    assert not [fault for fault in (*ERRORS, *WARNINGS) if f"`{fault}`" not in text]
    for fault, cap in CAPS.items():
        assert re.search(rf"`{fault}`[^|]*\| [^|\n]*\| {cap} \|", text), fault


def test_a_place_is_a_line_of_a_file_and_an_instant_of_the_store(place: Path) -> None:
    """Line 52 of a CSV is row 50 below its header; the rows of a Parquet file count from 0, as in its table."""
    broken().write_csv(place / "BTCEUR_1h.csv")
    broken().write_parquet(place / "BTCEUR_1h.parquet")
    told = run("validate", "BTCEUR_1h.csv").stdout
    assert re.search(r"high_below_low +line 52 +2021-01-06T02:00Z +high is below low", told)
    assert re.search(r"high_below_low +row 50 +2021-01-06T02:00Z", run("validate", "BTCEUR_1h.parquet").stdout)
    hours(200).filter(pl.int_range(pl.len()) != 7).write_parquet(place / "ETHEUR_1h.parquet")
    assert run("import", "ETHEUR_1h.parquet").exit_code == 0
    page = place / "quality.html"
    assert re.search(r"warning gap +2021-01-04T08:00Z +1 bar missing", run("validate", "ETHEUR", "--html", page).stdout)
    assert ">Place<" not in page.read_text()
    assert run("validate", "BTCEUR_1h.csv", "--html", page).exit_code == 1
    assert "<td>line 52</td>" in page.read_text()


def test_errors_in_a_file_are_exit_1_and_nothing_is_written(place: Path) -> None:
    broken().write_parquet(place / "BTCEUR_1h.parquet")
    result = run("validate", "BTCEUR_1h.parquet")
    assert result.exit_code == 1
    assert "high_below_low" in result.stdout
    assert "duplicate" in result.stdout
    assert not (place / "store").exists()


def test_quarantine_of_a_file_imports_the_good_rows_and_keeps_the_bad_ones(place: Path) -> None:
    broken().write_parquet(place / "BTCEUR_1h.parquet")
    result = run("validate", "BTCEUR_1h.parquet", "--venue", "bitvavo", "--quarantine")
    assert result.exit_code == 0, result.output
    assert "199 bars kept, 2 taken out (high_below_low 1, duplicate 1)" in result.stdout
    store = open_store()
    instrument = find_instrument(store, "BTCEUR")
    assert (instrument.venue, len(read_bars(store, instrument, "1h"))) == ("bitvavo", 199)
    bad = pl.read_parquet(place / "store/quarantine/crypto/BTCEUR/1h.parquet")
    assert sorted(bad["reasons"]) == ["duplicate", "high_below_low"]
    again = told("BTCEUR", "--quarantine")
    assert again["quarantined"] == [
        {"symbol": "BTCEUR", "timeframe": "1h", "kept": 199, "taken": 0, "reasons": {}, "reordered": 0, "file": None}
    ]


def test_a_series_without_a_good_row_is_refused_and_the_others_are_done(place: Path) -> None:
    hours(100).with_columns(low=pl.lit(-1.0)).write_parquet(place / "BAD_1h.parquet")
    broken().write_parquet(place / "GOOD_1h.parquet")
    result = run("validate", "BAD_1h.parquet", "GOOD_1h.parquet", "--quarantine")
    assert result.exit_code == 2
    assert "BAD 1h: every row is faulty" in result.stderr
    assert (place / "store/quarantine/crypto/GOOD/1h.parquet").exists()
    assert not (place / "store/quarantine/crypto/BAD").exists()


def test_the_page_opens_without_a_network_and_shows_every_series(place: Path) -> None:
    for name in ("A", "B<b>"):
        broken().write_parquet(place / f"{name}_1h.parquet")
    result = run("validate", "A_1h.parquet", "B<b>_1h.parquet", "--html", "quality.html")
    assert result.exit_code == 1
    assert "Page: quality.html" in result.stdout
    page = (place / "quality.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", page.split('id="payload">')[0])
    assert "<b>_1h" not in page
    assert page.count("high is below low") == 2
    payload = json.loads(page.split('id="payload">')[1].split("</script>")[0])
    assert payload["charts"]["coverage"]["data"][0]["type"] == "heatmap"
    assert run("validate", "A_1h.parquet", "--html", "quality.txt").exit_code == 2
    assert run("validate", "A_1h.parquet", "--html", "no/quality.html").exit_code == 2


def test_a_stored_split_is_no_fault(place: Path, shared: Path) -> None:
    source = shared / "data/equity_us/IBM_1d.parquet"
    assert run("import", source, "-a", "equity").exit_code == 0
    (series,) = told("IBM")["series"]
    assert (series["counts"], series["score"], series["capped_by"]) == ({"split": 1}, 70.0, "split")
    store = open_store()
    event = {"ts": [dt.datetime(1999, 5, 27, tzinfo=dt.UTC)], "kind": ["split"], "value": [2.0]}
    merge_events(
        store, find_instrument(store, "IBM"), pl.DataFrame(event, schema_overrides={"ts": pl.Datetime("us", "UTC")})
    )
    (series,) = told("IBM")["series"]
    assert (series["counts"], series["score"]) == ({}, 100.0)


def test_series_of_one_instrument_are_held_against_each_other(place: Path, shared: Path) -> None:
    fine = pl.read_parquet(shared / "data/crypto_binance_2024/ETHUSDT_1h.parquet")
    days = fine.group_by_dynamic("open_time", every="1d").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    fine.write_parquet(place / "ETHUSDT_1h.parquet")
    days.slice(2).with_columns(pl.col("open_time") - pl.duration(days=1)).write_parquet(place / "ETHUSDT_1d.parquet")
    assert run("import", "ETHUSDT_1h.parquet", "ETHUSDT_1d.parquet").exit_code == 0
    found = told("ETHUSDT", code=1)
    score = {s["timeframe"]: (s["score"], s["capped_by"]) for s in found["series"]}
    assert score["1d"] == (20.0, "early_label")
    assert score["1h"][1] == ""


def test_a_whole_store_is_a_table_with_coverage_and_notes(place: Path) -> None:
    hours(800).write_parquet(place / "AAA_1h.parquet")
    hours(2_400).filter(~pl.int_range(pl.len()).is_between(900, 1_100)).write_parquet(place / "BBB_1h.parquet")
    assert run("import", "AAA_1h.parquet", "BBB_1h.parquet").exit_code == 0
    result = run("validate")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "AAA 1h 100 0 0 0 ##" in lines
    assert "BBB 1h 91.6 0 1 201 #7##" in lines
    assert any(line.startswith("Note: crypto 1h: 1 of 2 ends before 2021-04-13") for line in lines)
    assert lines[-1] == "2 series, 2,999 bars: no errors, 1 warning; the lowest score is 91.6 (BBB 1h)."
    assert run("validate", "--strict").exit_code == 1


def test_a_file_of_nothing_but_its_header_and_one_without_a_time(place: Path) -> None:
    (place / "X_1h.csv").write_text("open_time,open,high,low,close,volume\n")
    result = run("validate", "X_1h.csv")
    assert (result.exit_code, "a header, but no bars" in result.stderr) == (2, True)


def test_a_calendar_that_does_not_fit_is_asked_for(place: Path) -> None:
    days = hours(24 * 200).filter(pl.col("open_time").dt.hour() == 0)
    days.filter(pl.col("open_time").dt.weekday() < 5).write_parquet(place / "SPY_1d.parquet")
    assert told("SPY_1d.parquet")["notes"] == [
        "SPY_1d.parquet 1d: 42% of the bars are missing: are timeframe and calendar right?"
    ]
