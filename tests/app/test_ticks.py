"""`trimtab data ticks` as a user drives it, on made trades and on the real ones of two venues."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from trimtab.app.cli import app

SPEC = """name: On bars of ticks
universe: BTCUSDT
base_currency: USDT
timeframe: 1m
models:
  - strategy: buy_and_hold
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_DATA", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "ticks", *map(str, arguments)])


def as_json(*arguments: object) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def dump(folder: Path, n: int = 3_000, days: float = 1.0, begin: int = 1_709_510_400_000) -> Path:
    """A dump of trades as Binance writes them of spot: no header, seven columns (README of 2025)."""
    rng = np.random.default_rng(7)
    price = np.round(60_000 + np.cumsum(rng.normal(0, 1, n)), 2)
    qty = np.round(rng.exponential(0.05, n) + 0.00001, 5)
    path = folder / "BTCUSDT-trades-2024-03-04.csv"
    pl.DataFrame({
        "id": 5_000 + np.arange(n), "price": price, "qty": qty, "quote": price * qty,
        "time": begin + np.sort(rng.integers(0, int(days * 86_400_000), n)),
        "maker": np.where(rng.random(n) < 0.5, "True", "False"), "best": "True",
    }).write_csv(path, include_header=False)  # fmt: skip
    return path


def test_from_a_dump_to_a_backtest(folder: Path) -> None:
    done = run("import", dump(folder), "--venue", "binance")
    assert done.exit_code == 0, done.output
    assert "3,000" in done.stdout
    listed = as_json("list")
    assert [(row["symbol"], row["kind"], row["rows"], row["days"]) for row in listed] == [
        ("BTCUSDT", "trades", 3_000, 1)
    ]
    made = as_json("bars", "BTCUSDT", "--every", "1m", "--store-as", "BTCUSDT")
    assert made["stored"]["rows"] == len(made["bars"]) > 1_000
    (folder / "spec.yaml").write_text(SPEC)
    result = CliRunner().invoke(app, ["backtest", "spec.yaml", "--no-report", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["metrics"]["net"] is not None
    again = run("bars", "BTCUSDT", "--every", "1m", "--store-as", "BTCUSDT")
    assert again.exit_code == 0, again.output
    assert "Stored" in again.stdout


def test_ticks_go_to_the_instrument_that_is_stored(folder: Path) -> None:
    (folder / "SPY_1d.csv").write_text("date,open,high,low,close,volume\n2024-03-01,1,2,0.5,1.5,10\n")
    bars = ["data", "import", "SPY_1d.csv", "-a", "equity", "--venue", "alpaca"]
    assert CliRunner().invoke(app, bars).exit_code == 0
    assert run("import", dump(folder), "--symbol", "SPY").exit_code == 0
    assert [(row["symbol"], row["venue"]) for row in as_json("list")] == [("SPY", "alpaca")]
    refused = run("import", dump(folder), "--symbol", "SPY", "--venue", "binance")
    assert refused.exit_code == 2
    assert "SPY is stored as equity at alpaca, not as crypto spot at binance" in refused.stderr


def test_a_changed_rule_of_the_instrument_is_told(folder: Path) -> None:
    assert "in the catalogue" not in run("import", dump(folder), "--venue", "binance").stdout
    again = run("import", dump(folder), "--venue", "binance", "--lot-size", "0.001")
    assert "BTCUSDT: changed in the catalogue: lot_size from 1e-06 to 0.001" in again.stdout


def test_bars_are_written_where_they_are_wanted(folder: Path) -> None:
    run("import", dump(folder), "--venue", "binance")
    assert run("bars", "BTCUSDT", "--volume", 5, "--out", "v.parquet").exit_code == 0
    assert run("bars", "BTCUSDT", "--dollars", "3e5", "--out", "d.csv").exit_code == 0
    assert pl.read_parquet("v.parquet")["volume"].min() >= 5 * (1 - 1e-9)  # type: ignore[operator]
    assert pl.read_csv("d.csv")["dollars"].min() >= 3e5 * (1 - 1e-9)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["bars", "BTCUSDT"], 2, "expected one of --every, --volume and --dollars"),
        (["bars", "BTCUSDT", "--every", "1m", "--volume", "3"], 2, "given: --every and --volume"),
        (["bars", "BTCUSDT", "--volume", "5", "--store-as", "X"], 2, "write these with --out"),
        (["bars", "BTCUSDT", "--every", "10s", "--store-as", "X"], 2, "the store keeps bars of 1m"),
        (["bars", "BTCUSDT", "--every", "1m", "--out", "bars.txt"], 2, ".parquet or .csv"),
        (["bars", "BTCUSDT", "--dollars", "1e15"], 3, "no bar closes"),
        (["bars", "BTCUSDT", "--every", "1m", "--start", "2030-01-01"], 3, "stored are 2024-03-04"),
        (["bars", "BTCUSD", "--every", "1m"], 2, "did you mean BTCUSDT?"),
        (["validate", "BTCUSDT", "--only", "quotes"], 2, "no quotes are stored"),
        (["validate", "BTCUSDT", "--only", "quote"], 2, "did you mean 'quotes'?"),
        (["import", "none.csv", "--symbol", "A"], 2, "no such file"),
        (["import", "none.csv"], 2, "no such file"),
        (["import", "BTCUSDT-trades-2024-03-04.csv", "--kind", "perpetual"], 2, "--symbol BTCUSDT-PERP"),
        (["import", "BTCUSDT-trades-2024-03-04.csv", "--symbol", "btcusdt"], 2, "only in case"),
    ],
)
def test_a_mistake_gets_one_clear_message(arguments: list[str], code: int, said: str, folder: Path) -> None:
    run("import", dump(folder), "--venue", "binance")
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_ticks_the_way_in_is_said(folder: Path) -> None:
    assert "trimtab data ticks import" in run("list").stderr
    assert run("validate").exit_code == 2
    assert run("list", "--json").stdout == "[]\n"


def test_validate_tells_and_fails(folder: Path) -> None:
    path = dump(folder)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:1_000] + lines[1_010:]))
    assert "id_gap 1" in run("import", path, "--venue", "binance").stdout
    found = run("validate")
    assert found.exit_code == 0
    assert "10 trades missing" in found.stdout
    assert run("validate", "--strict").exit_code == 1
    bars = run("bars", "BTCUSDT", "--every", "1h")
    assert bars.stderr.startswith("2 bars lack trades")  # the gap is at the end of an hour
    stored = next((folder / "store" / "ticks").rglob("*.parquet"))
    damaged = pl.read_parquet(stored).with_columns(price=-pl.col("price"))
    damaged.write_parquet(stored)
    result = run("validate", "--limit", "2", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["counts"]["non_positive_price"] == 2_990


def test_a_damaged_day_keeps_nothing_else_from_being_listed(folder: Path) -> None:
    for symbol in ("AAA", "BBB"):
        run("import", dump(folder), "--venue", "binance", "--symbol", symbol)
    path = next((folder / "store/ticks/crypto/AAA").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    listed = run("list")
    assert listed.exit_code == 1
    assert "remove it and import that day again" in listed.stderr
    told = {line.split()[0]: line for line in listed.stdout.splitlines() if line}
    assert "damaged" in told["AAA"]
    assert "3,000" in told["BBB"]


# --- real ticks ------------------------------------------------------------------------------------------------------

VENUES = [("spot", "BTCUSDT", "spot"), ("usdm", "BTCUSDT-PERP", "perpetual")]


def real(shared: Path, venue: str, what: str) -> Path:
    return shared / "data" / "crypto_l2" / f"binance_{venue}_BTCUSDT_20240808_{what}.parquet"


def imported(shared: Path, venue: str, symbol: str, kind: str) -> Any:
    files = [real(shared, venue, what) for what in ("trades", "bbo", "depth")]
    return as_json("import", *files, "--symbol", symbol, "--venue", "binance", "--kind", kind)


@pytest.mark.parametrize(("venue", "symbol", "kind"), VENUES)
def test_real_ticks_are_whole_and_the_book_says_what_the_quotes_say(
    venue: str, symbol: str, kind: str, folder: Path, shared: Path
) -> None:
    done = imported(shared, venue, symbol, kind)
    assert done["refused"] == []
    assert [(d["kind"], d["counts"]) for d in done["imported"]] == [("trades", {}), ("quotes", {}), ("depth", {})]
    assert [d["new"] for d in imported(shared, venue, symbol, kind)["imported"]] == [0, 0, 0]
    found = {line["kind"]: line for line in as_json("validate", symbol, "--strict")}
    book = found["depth"]["book"]
    updates, known, compared = {"spot": (3_451, 3_449, 3_437), "usdm": (6_551, 6_547, 6_543)}[venue]
    assert (book["updates"], book["known"], book["compared"]) == (updates, known, compared)
    assert book["prices"] == book["quantities"] == compared  # every one of them
    assert book["counts"] == {}


@pytest.mark.parametrize(("venue", "symbol", "kind"), VENUES)
def test_real_bars_equal_a_group_by_of_duckdb(venue: str, symbol: str, kind: str, folder: Path, shared: Path) -> None:
    imported(shared, venue, symbol, kind)
    path = real(shared, venue, "trades")
    made = as_json("bars", symbol, "--every", "1m")
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select epoch_ms(ts) // 60000 as minute, arg_min(price, trade_id), max(price), min(price), "
            "arg_max(price, trade_id), sum(qty), sum(price * qty), sum(case when is_buyer_maker then 0 else qty end), "
            f"count(*) from '{path}' group by minute order by minute"
        ).fetchall()
    minutes = [int(dt.datetime.fromisoformat(bar["open_time"]).timestamp()) // 60 for bar in made["bars"]]
    inside = [row for row in rows if row[0] in minutes]
    # The first minute is cut off by the file's beginning; of spot the last one too, which is of the next day.
    assert minutes == [row[0] for row in rows[1 : -1 if venue == "spot" else None]]
    names = ("open", "high", "low", "close")
    assert [tuple(bar[name] for name in names) for bar in made["bars"]] == [row[1:5] for row in inside]
    sums = [[bar[name] for name in ("volume", "dollars", "buy_volume")] for bar in made["bars"]]
    np.testing.assert_allclose(sums, [row[5:8] for row in inside], rtol=1e-12)
    assert (
        sum(bar["trades"] for bar in made["bars"]) + made["left_out"] == made["trades"] == sum(row[8] for row in rows)
    )


@pytest.mark.parametrize(("venue", "symbol", "kind"), VENUES[:1])
def test_damaged_copies_of_real_ticks_are_found(venue: str, symbol: str, kind: str, folder: Path, shared: Path) -> None:
    depth = pl.read_parquet(real(shared, venue, "depth"))
    updates = depth.filter(~pl.col("is_snapshot"))["final_id"].unique(maintain_order=True)
    quotes, trades = (pl.read_parquet(real(shared, venue, what)) for what in ("bbo", "trades"))
    row = pl.int_range(pl.len())
    damaged = {
        "id_gap": depth.filter(pl.col("final_id") != updates[500]),
        "duplicate": pl.concat([trades[:700], trades[699:]]),
        "id_disorder": pl.concat([trades[:700], trades[701:702], trades[700:701], trades[702:]]).with_columns(
            trades["ts"]
        ),
        "disorder": trades.with_columns(
            ts=pl.when(row == 900).then(pl.col("ts") - pl.duration(seconds=2)).otherwise("ts")
        ),
        "crossed": quotes.with_columns(bid=pl.when(row == 1_000).then("ask").otherwise("bid")),
        "bad_quantity": depth.with_columns(qty=pl.when(row == 4_000).then(-1.0).otherwise("qty")),
    }
    for fault, frame in damaged.items():
        frame.write_parquet("damaged.parquet")
        name = f"{symbol}-{fault}".replace("_", "")
        result = run("import", "damaged.parquet", "--symbol", name, "--venue", "binance", "--kind", kind, "--json")
        found = json.loads(result.stdout)["imported"][0]
        assert found["counts"].get(fault) == 1, (fault, found["counts"])
        assert result.exit_code == (0 if fault == "id_gap" else 2)
