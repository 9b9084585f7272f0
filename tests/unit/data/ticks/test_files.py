"""Files of ticks as they come: Binance's dumps of trades, our own columns, and what is no such file."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import polars as pl
import pytest

from trimtab.data.ticks.files import opened, symbol_of
from trimtab.types import TrimtabError

MS = 1_709_510_400_000  # 2024-03-04T00:00Z
SPOT = f"7,100.5,0.25,25.125,{MS},True,True\n8,100.75,0.5,50.375,{MS + 1},False,True\n"
FUTURES = (
    f"id,price,qty,quote_qty,time,is_buyer_maker\n7,100.5,0.25,25.125,{MS},true\n8,100.75,0.5,50.375,{MS + 1},false\n"
)


def read(path: Path) -> pl.DataFrame:
    with opened(path) as file:
        return pl.concat(file.batches)


def written(folder: Path, text: str, name: str = "BTCUSDT-trades-2024-03-04.csv") -> Path:
    path = folder / name
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inner.csv", text)
    else:
        path.write_text(text)
    return path


# Layouts: github.com/binance/binance-public-data, README.md, as of 2025: spot without header, seven columns, times in
# us from 2025-01-01 on; USD-margined futures six, with a header in newer files.
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (SPOT, "a.csv"),
        (FUTURES, "a.csv"),
        (FUTURES.partition("\n")[2], "a.csv"),
        (SPOT.replace(str(MS), f"{MS}000").replace(str(MS + 1), f"{MS + 1}000"), "a.csv"),
        (SPOT.replace("\n", "\r\n"), "a.csv"),
        (SPOT, "a.csv.gz"),
        (FUTURES, "a.zip"),
        ("trade_id,ts,price,qty\n7,2024-03-04T00:00:00Z,100.5,0.25\n8,2024-03-04T00:00:00.001Z,100.75,0.5\n", "a.csv"),
    ],
)
def test_dumps_of_trades_are_read_as_they_come(text: str, name: str, tmp_path: Path) -> None:
    if "ts," in text:
        text = text.replace("00:00:00Z", "00:00:00.000Z")
    found = read(written(tmp_path, text, name))
    assert found["row"].to_list() == [0, 1]
    assert found["ts"].to_physical().to_list() == [MS * 1_000, MS * 1_000 + 1_000]
    assert found["price"].to_list() == [100.5, 100.75]
    assert found["qty"].to_list() == [0.25, 0.5]
    assert found["trade_id"].to_list() == [7, 8]
    sides = [None, None] if "ts," in text else [True, False]
    assert found["is_buyer_maker"].to_list() == sides


def test_parquet_of_other_types_becomes_the_stores(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "ts": [MS],
            "side": ["Bid"],
            "price": [3],
            "qty": [1.5],
            "first_id": [1],
            "final_id": [2],
            "is_snapshot": [False],
        }
    )
    frame.write_parquet(tmp_path / "d.parquet")
    found = read(tmp_path / "d.parquet").row(0, named=True)
    assert (found["side"], found["price"], found["prev_id"]) == ("b", 3.0, None)
    assert f"{found['ts']:%Y-%m-%d %H:%M}" == "2024-03-04 00:00"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("id,price,qty,quote_qty,time,is_buyer_maker\n", "no trades in it"),
        ("1,2,3\n", "no row of Binance's trades"),
        ("trade_id,price\n1,2\n", "trades without ts, qty"),
        ("when,what\n1,2\n", "no kind of ticks has the columns when, what"),
        (f"1,0.5,4.7,2,2,{MS},true\n", "aggregate trades"),
        (f"1,0.5,4.7,2,2,{MS},true,true\n", "aggregate trades"),
        (f"id,price,qty,base_qty,time,is_buyer_maker\n1,2,3,4,{MS},true\n", "coin-margined"),
        (SPOT + f"9,abc,1,1,{MS},True,True\n", "line 3, column price: 'abc', expected a number"),
        (SPOT + "9,1,1,1,soon,True,True\n", "line 3, column ts: 'soon', expected a whole number"),
        (SPOT + f"9,1,1,1,{MS},perhaps,True\n", "line 3, column is_buyer_maker: 'perhaps', expected true or false"),
        (SPOT + f"9,1,1,1,{MS},True,True,more\n", "line 3 has 8 fields, expected 7"),
        (SPOT + f"9,1,1,1,{MS}", "line 3, column is_buyer_maker: empty"),
        (FUTURES + "9,x,1,1,1,true\n", "line 4, column price: 'x'"),
    ],
)
def test_what_is_wrong_with_a_csv_is_named_by_line_and_column(text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(TrimtabError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)


def test_what_is_no_file_of_ticks_is_said(tmp_path: Path) -> None:
    for name, said in (("a.csv", "UTF-8"), ("a.csv.gz", "text"), ("a.zip", "zip archive"), ("a.parquet", "Parquet")):
        (tmp_path / name).write_bytes(b"\xf5\x00\xff" * 50)
        with pytest.raises(TrimtabError, match=said):
            read(tmp_path / name)
    for path, said in ((tmp_path, "a folder"), (tmp_path / "no.csv", "no such file")):
        with pytest.raises(TrimtabError, match=said):
            read(path)
    pl.DataFrame({"ts": [1], "price": ["x"], "qty": [1.0], "trade_id": [1]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(TrimtabError, match="column price is String"):
        read(tmp_path / "t.parquet")


def test_the_symbol_of_a_dump_is_in_its_name() -> None:
    assert symbol_of(Path("in/BTCUSDT-trades-2024-08-08.zip")) == "BTCUSDT"
    assert symbol_of(Path("BTCUSDT_240927-trades-2024-08.csv")) == "BTCUSDT_240927"
    assert symbol_of(Path("BTCUSDT-1m-2024-08.csv")) == ""
