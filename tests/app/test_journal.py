"""`trimtab journal` as a user meets it: a whole journal, a broken one, and what is none."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app
from trimtab.app.console.journal import said
from trimtab.engine import events as ev
from trimtab.engine.events import Entry
from trimtab.engine.journal import open_journal, read, verify

T0 = 1_772_409_600_000_000_000  # 2026-03-02T00:00:00Z
HOUR = 3_600_000_000_000
ORDER = ev.OrderIntent(
    client_order_id="T1", order_id=1, row=T0, venue="paper", symbol="BTCEUR", lots=-1_500, order_kind="LIMIT",
    tif="GTC", limit_price=40_000.5, reduce_only=True, reason="target",
)  # fmt: skip
BODIES: list[ev.Body] = [
    ev.Started(run_id="ab" * 32, code_version="1", symbols=("BTCEUR",), fields=("close",), models=("cross",)),
    ev.RowDecided(row=T0, bars=np.array([[1.0], [np.nan]]), weights=np.array([[0.5, np.nan]])),
    ORDER,
    ev.Outcome(client_order_id="T1", status="NEW", venue_order_id="9"),
    ev.Filled(
        venue="paper",
        symbol="BTCEUR",
        trade_id="7",
        client_order_id="T1",
        lots=-1_500,
        price=40_001.0,
        fee=0.25,
        executed=T0,
    ),
    ev.CancelIntent(cancel_id="C1", client_order_id="T1", reason="replaced"),
    ev.CashMoved(venue="paper", currency="EUR", amount=-2.5, flow="funding"),
    ev.VenueChanged(venue="paper", up=False, reason="no answer"),
    ev.Halted(reason="drawdown of 20%"),
    ev.Commanded(command="resume", by="ann"),
    ev.Adjusted(venue="paper", adjustment_id="a1", reason="found at start", symbol="BTCEUR", lots=-3, price=40_000.0),
    ev.BarLate(symbol="BTCEUR", row=T0, bar=np.array([1.0])),
]


def trimtab(*words: object) -> Result:
    return CliRunner().invoke(app, ["journal", *map(str, words)], env={"COLUMNS": "160", "TRIMTAB_TRACEBACK": ""})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "paper.journal"
    with open_journal(path, "paper") as journal:
        journal.append([Entry(T0 + k * HOUR, body) for k, body in enumerate(BODIES)])
        journal.snapshot(T0 + len(BODIES) * HOUR, b"state")
    return path


@pytest.fixture
def broken(path: Path) -> Path:
    db = sqlite3.connect(path)
    db.execute("DROP TRIGGER events_stay")
    db.execute("UPDATE events SET body = replace(body, '0.25', '0.20') WHERE seq = 5")
    db.commit()
    db.close()
    return path


def test_a_whole_journal_is_said_to_be_with_its_head(path: Path):
    done = trimtab("verify", path)
    assert done.exit_code == 0
    assert "whole; account paper, 13 events, 2026-03-02T00:00:00.000Z to 2026-03-02T12:00:00.000Z" in done.stdout
    head = verify(path).head
    assert f"head {head}" in done.stdout
    assert trimtab("verify", path, "--head", head[:16]).exit_code == 0
    cut = trimtab("verify", path, "--head", "0" * 16)
    assert cut.exit_code == 1
    assert "was cut off" in cut.stdout
    told = json.loads(trimtab("verify", path, "--json").stdout)
    assert (told["whole"], told["broken"], told["events"], told["head"]) == (True, None, 13, head)


def test_a_broken_journal_ends_with_1_and_names_the_row(broken: Path):
    done = trimtab("verify", broken)
    assert done.exit_code == 1
    assert "BROKEN; account paper, 4 events before the fault hold" in done.stdout
    assert "row 5: it is not what was booked" in done.stdout
    assert "events_stay is missing" in done.stdout
    assert "Keep a copy" in done.stderr
    told = json.loads(trimtab("verify", broken, "--json").stdout)
    assert (told["whole"], told["broken"]) == (False, 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "nix"), "there is no such journal"),
        (("show", "text"), "it is no journal"),
        (("verify", "text", "--head", "xyz"), "expected 8 or more digits"),
        (("show", "paper.journal", "--kind", "fil"), "did you mean 'fill'?"),
        (("show", "paper.journal", "--since", "yesterday"), "expected a date such as"),
        (("export", "paper.journal", "--out", "a.csv"), "ends in .jsonl or .parquet"),
        (("export", "paper.journal", "--out", "no/where/a.jsonl"), "there is no folder"),
        (("export", "nix", "--out", "a.jsonl"), "there is no such journal"),
        (("verify",), "FILE is missing"),
    ],
)
def test_what_cannot_be_done_is_told(words: tuple[str, ...], said: str, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(path.parent)
    Path("text").write_text("no journal\n" * 100)
    done = trimtab(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not Path("a.jsonl").exists()
    assert not list(Path().glob(".*.part"))


def test_show_says_each_kind_in_words(path: Path):
    shown = trimtab("show", path).stdout.splitlines()
    assert len(shown) == 13
    assert shown[2].split(maxsplit=3) == [
        "3",
        "2026-03-02T02:00:00.000Z",
        "order",
        "to paper: sell 1,500 lots BTCEUR LIMIT at 40000.5 GTC reduce-only, T1: target",
    ]
    text = "\n".join(shown)
    for words in (
        "run abababababababab, code 1, BTCEUR",
        "2026-03-02T00:00:00.000Z: 2 bars, 1 missing, 1 weight",
        "T1 (9) is NEW",
        "sell 1,500 lots BTCEUR at 40001 on paper, fee 0.25, trade 7 of T1",
        "T1: replaced",
        "funding of -2.5 EUR at paper",
        "paper is down: no answer",
        "the book: drawdown of 20%",
        "resume by ann",
        "as paper has it: -3 lots BTCEUR at 40000: found at start",
        "BTCEUR of 2026-03-02T00:00:00.000Z",
        "state after event 12",
    ):
        assert words in text


def numbers(*words: object) -> list[int]:
    return [int(line.split()[0]) for line in trimtab("show", *words).stdout.splitlines()]


def test_show_chooses_by_kind_instant_and_number(path: Path):
    assert numbers(path, "--last", 2) == [12, 13]
    assert numbers(path, "--kind", "order", "--kind", "fill") == [3, 5]
    assert numbers(path, "--kind", "order", "--kind", "fill", "--last", 1) == [5]
    assert numbers(path, "--since", "2026-03-02T10:00:00Z") == [11, 12, 13]
    assert numbers(path, "--since", "2026-03-02") == list(range(1, 14))
    told = json.loads(trimtab("show", path, "--kind", "row", "--json").stdout)
    assert told[0]["body"] == {"row": T0, "bars": [[1.0], [None]], "weights": [[0.5, None]]}
    assert told[0]["time"] == "2026-03-02T01:00:00.000Z"
    assert told[0]["key"] == str(T0)


def test_show_of_many_shows_the_last_twenty(tmp_path: Path):
    path = tmp_path / "long.journal"
    with open_journal(path, "paper") as journal:
        journal.append([Entry(k, ev.Halted(reason="x")) for k in range(100)])
    assert numbers(path) == list(range(81, 101))


def test_show_of_a_broken_journal_shows_what_holds_and_says_the_rest(broken: Path):
    done = trimtab("show", broken, "--since", "2026-03-02")
    assert done.exit_code == 2
    assert [int(line.split()[0]) for line in done.stdout.splitlines()] == [1, 2, 3, 4]
    assert "row 5 is broken" in done.stderr


def test_exports_hold_all_of_it(path: Path):
    lines, table = path.with_name("e.jsonl"), path.with_name("e.parquet")
    assert trimtab("export", path, "--out", lines).exit_code == 0
    assert "13 events" in trimtab("export", path, "--out", table).stderr
    events = list(read(path))
    documents = [json.loads(line) for line in lines.read_text().splitlines()]
    frame = pl.read_parquet(table)
    assert [d["seq"] for d in documents] == frame["seq"].to_list() == [e.seq for e in events]
    assert frame["ts"].dtype == pl.Datetime("ns", "UTC")
    assert frame["ts"].cast(pl.Int64).to_list() == [d["ts"] for d in documents] == [e.ts for e in events]
    for document, body, event in zip(documents, frame["body"], events, strict=True):
        stored = json.loads(body)
        assert ev.encode(event.body).decode() == body
        assert stored.pop("kind") == document["kind"]
        assert stored == document["body"]
    # Anybody can follow the chain with a line of code.
    for before, row in zip(frame["hash"], frame.iter_rows(named=True), strict=False):
        after = frame["seq"].to_list().index(row["seq"]) + 1
        if after < frame.height:
            seq, ts, kind, key, body = (documents[after]["seq"], documents[after]["ts"], *frame.row(after)[2:5])
            named = json.dumps([seq, ts, kind, key], separators=(",", ":"), ensure_ascii=False)
            text = f"{named[:-1]},{body}]"
            assert hashlib.sha256(bytes.fromhex(before) + text.encode()).hexdigest() == frame["hash"][after]


def test_of_a_broken_journal_what_holds_is_exported(broken: Path):
    out = broken.with_name("e.jsonl")
    done = trimtab("export", broken, "--out", out)
    assert done.exit_code == 1
    assert "row 5 is broken" in done.stderr
    assert len(out.read_text().splitlines()) == 4


def test_words_of_a_venue_do_not_reach_the_terminal_as_commands():
    assert said(ev.Halted(reason="a\nb\x1b[2J")) == "the book: a b?[2J"
