"""The store: what is written is read back, a write is whole or not at all, queries only read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from trimtab.data import store as stores
from trimtab.data.catalogue import default_instrument, with_changes
from trimtab.data.store import (
    Store,
    find_instrument,
    instruments,
    open_store,
    read_bars,
    source_for,
    sql,
    timeframes,
    write_bars,
)
from trimtab.types import NotEnoughData, TrimtabError

MakeBars = Callable[..., pl.DataFrame]
X = default_instrument("BTCEUR", venue="bitvavo")


@pytest.mark.parametrize("rows", [300, 60_000])  # of a large file the columns are read in parts
def test_what_is_written_is_read_back(store: Store, bars: MakeBars, rows: int) -> None:
    frame = bars(rows).with_columns(volume=pl.when(pl.int_range(rows) == 5).then(None).otherwise(pl.col("volume")))
    write_bars(store, X, "H1", frame)
    assert (store.path_of(X, "1h").stat().st_size > stores._LARGE) == (rows > 300)
    assert read_bars(store, X, "1h").equals(frame)
    assert instruments(store) == (X,)
    assert timeframes(store, X) == ("1h",)
    assert (store.root / "bars/crypto/BTCEUR/1h.parquet").is_file()
    assert read_bars(store, X, "1h").schema["open_time"] == pl.Datetime("us", "UTC")


def test_the_root_is_an_argument_then_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_DATA", str(tmp_path / "env"))
    assert open_store().root == tmp_path / "env"
    assert open_store(tmp_path / "arg").root == tmp_path / "arg"
    monkeypatch.delenv("TRIMTAB_DATA")
    assert open_store().root == Path("trimtab-data")
    (tmp_path / "file").write_text("")
    with pytest.raises(TrimtabError, match="is a file"):
        open_store(tmp_path / "file")


@pytest.mark.parametrize("symbol", ["BTC/EUR", "..", "../../x", "A B", "C:\\x", "É", ".hidden", "BRK.B", "a*?"])
def test_any_symbol_is_a_safe_file_name(store: Store, bars: MakeBars, symbol: str) -> None:
    instrument = default_instrument(symbol)
    write_bars(store, instrument, "1h", bars(10))
    assert len(read_bars(store, find_instrument(store, symbol), "1h")) == 10
    (path,) = (store.root / "bars").rglob("*.parquet")
    assert path.resolve().is_relative_to(store.root.resolve())
    assert path.parent.parent.name == "crypto"
    assert sql(store, "select distinct symbol from bars").rows() == [(symbol,)]


def test_symbols_that_cannot_live_together(store: Store, bars: MakeBars) -> None:
    write_bars(store, X, "1h", bars(10))
    with pytest.raises(TrimtabError, match="only in case"):
        write_bars(store, default_instrument("btceur", venue="bitvavo"), "1h", bars(10))
    with pytest.raises(TrimtabError, match=r"--symbol BTCEUR\.kraken"):
        write_bars(store, default_instrument("BTCEUR", venue="kraken"), "1h", bars(10))
    with pytest.raises(TrimtabError, match="too long"):
        write_bars(store, default_instrument("X" * 200), "1h", bars(10))


def test_a_symbol_moves_to_another_class_when_all_of_it_is_replaced(store: Store, bars: MakeBars) -> None:
    write_bars(store, X, "1d", bars(10, "1d"))
    stock = default_instrument("BTCEUR", "equity")
    with pytest.raises(TrimtabError, match=r"--symbol BTCEUR\.sim, or put the file in its place with --replace"):
        write_bars(store, stock, "1d", bars(5, "1d"))
    write_bars(store, stock, "1d", bars(5, "1d"), move=True)
    assert instruments(store) == (stock,)
    assert [p.relative_to(store.root).as_posix() for p in store.root.rglob("*.parquet")] == [
        "bars/equity/BTCEUR/1d.parquet"
    ]
    assert not (store.root / "bars/crypto/BTCEUR").exists()
    assert sql(store, "select asset_class, count(*) from bars group by all").rows() == [("equity", 5)]


def test_a_symbol_does_not_move_while_other_bars_of_it_would_stay(store: Store, bars: MakeBars) -> None:
    write_bars(store, X, "1d", bars(10, "1d"))
    write_bars(store, X, "1h", bars(10))
    with pytest.raises(TrimtabError, match=r"its 1h bars would not fit the new ones"):
        write_bars(store, default_instrument("BTCEUR", "equity"), "1d", bars(5, "1d"), move=True)
    assert instruments(store) == (X,)
    assert len(read_bars(store, X, "1d")) == 10


def test_a_query_is_shown_no_tables_of_ours(store: Store, bars: MakeBars) -> None:
    assert sql(store, "select * from bars").is_empty()
    write_bars(store, default_instrument("IT'S"), "1h", bars(10))
    assert sql(store, "select distinct symbol from bars").rows() == [("IT'S",)]
    with pytest.raises(TrimtabError, match="files does not exist"):
        sql(store, "select * from files")
    assert sql(store, "show tables").get_column("name").to_list() == ["bars", "instruments"]


def test_an_unknown_symbol_names_the_closest(store: Store, bars: MakeBars) -> None:
    with pytest.raises(TrimtabError, match="is empty"):
        find_instrument(store, "BTCEUR")
    write_bars(store, X, "1h", bars(10))
    with pytest.raises(TrimtabError, match="did you mean BTCEUR"):
        find_instrument(store, "btcEuro")
    with pytest.raises(
        TrimtabError, match=r"'QQQ' in the store .*, nor one like it: bring its bars with `trimtab data"
    ):
        find_instrument(store, "QQQ")


def test_the_series_to_resample_from(store: Store, bars: MakeBars) -> None:
    write_bars(store, X, "1h", bars(500))
    write_bars(store, X, "15m", bars(2_000, "15m"))
    assert source_for(store, X, "1h") == "1h"
    assert source_for(store, X, "4h") == "15m"
    write_bars(store, X, "1m", bars(500, "1m", "2021-01-10T00:00"))
    assert source_for(store, X, "4h") == "15m"  # the 1m bars begin a week later
    with pytest.raises(NotEnoughData, match="no 1d bars"):
        read_bars(store, X, "1d")
    write_bars(store, default_instrument("DAY"), "1d", bars(5, "1d"))
    with pytest.raises(NotEnoughData, match="stored: 1d"):
        source_for(store, default_instrument("DAY"), "4h")


def test_a_write_that_fails_leaves_the_old_file(store: Store, bars: MakeBars, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bars(store, X, "1h", bars(10))

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(stores, "_flush", full)
    with pytest.raises(OSError, match="No space"):
        write_bars(store, X, "1h", bars(20))
    monkeypatch.undo()
    assert len(read_bars(store, X, "1h")) == 10
    assert [p.name for p in (store.root / "bars/crypto/BTCEUR").iterdir()] == ["1h.parquet"]


def test_a_reader_keeps_the_file_it_opened(store: Store, bars: MakeBars) -> None:
    write_bars(store, X, "1h", bars(10))
    path = store.path_of(X, "1h")
    with open(path, "rb") as reader:
        half = reader.read(100)
        write_bars(store, X, "1h", bars(5_000))
        assert len(pl.read_parquet(half + reader.read())) == 10
    assert len(read_bars(store, X, "1h")) == 5_000


def test_a_killed_writer_leaves_a_whole_store(store: Store, bars: MakeBars) -> None:
    """A process writes 20,000 and 200,000 bars in turn and is killed at some instant: one of the two is there."""
    script = """
import sys
import polars as pl
from trimtab.data.catalogue import default_instrument
from trimtab.data.store import open_store, write_bars
small, large = (pl.read_parquet(p) for p in sys.argv[2:4])
while True:
    for frame in (small, large):
        write_bars(open_store(sys.argv[1]), default_instrument("X"), "1h", frame)
    print("ready", flush=True)
"""
    store.root.mkdir()
    files = []
    for n in (20_000, 200_000):
        files.append(store.root / f"{n}.src")
        bars(n).write_parquet(files[-1])
    for i in range(3):
        command = [sys.executable, "-c", script, str(store.root), *map(str, files)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(0.037 * i)
        writer.kill()
        writer.communicate()
        assert len(read_bars(store, find_instrument(store, "X"), "1h")) in (20_000, 200_000)
    write_bars(store, default_instrument("X"), "1h", bars(5))  # the lock ended with its holder
    assert len(read_bars(store, default_instrument("X"), "1h")) == 5


def test_writers_take_turns(store: Store, bars: MakeBars) -> None:
    symbols = [f"S{i}" for i in range(12)]
    frame = bars(50)
    threads = [threading.Thread(target=write_bars, args=(store, default_instrument(s), "1h", frame)) for s in symbols]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(i.symbol for i in instruments(store)) == sorted(symbols)


def test_a_second_writer_is_told(store: Store, bars: MakeBars, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(stores, "_LOCK_PATIENCE", 0.1)
    store.root.mkdir()
    with open(store.root / ".lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TrimtabError, match="another process is writing"):
            write_bars(store, X, "1h", bars(10))
    write_bars(store, X, "1h", bars(10))


def test_a_broken_catalogue_is_said_to_be_broken(store: Store, bars: MakeBars) -> None:
    write_bars(store, X, "1h", bars(10))
    (store.root / "instruments.json").write_text('{"instruments": [{"symbol": 3}]}')
    with pytest.raises(TrimtabError, match="not a readable catalogue"):
        instruments(store)


def test_a_broken_parquet_file_is_named(store: Store, bars: MakeBars) -> None:
    write_bars(store, X, "1h", bars(10))
    store.path_of(X, "1h").write_bytes(b"PAR1 nothing of the kind")
    with pytest.raises(TrimtabError, match=r"1h\.parquet: not readable as Parquet"):
        read_bars(store, X, "1h")


def test_sql_over_all_of_it(store: Store, bars: MakeBars) -> None:
    assert sql(store, "select * from bars").is_empty()
    write_bars(store, X, "1h", bars(100))
    write_bars(store, X, "4h", bars(25, "4h"))
    write_bars(store, with_changes(default_instrument("SPY", "equity"), tick_size=0.05), "1d", bars(7, "1d"))
    counts = sql(store, "select symbol, asset_class, timeframe, count(*) n from bars group by all order by all")
    assert counts.rows() == [
        ("BTCEUR", "crypto", "1h", 100),
        ("BTCEUR", "crypto", "4h", 25),
        ("SPY", "equity", "1d", 7),
    ]
    joined = sql(
        store,
        "select tick_size, min(open_time) from bars join instruments using (symbol) where symbol = 'SPY' group by 1",
    )
    assert joined.rows()[0][0] == 0.05
    assert str(joined.rows()[0][1]) == "2021-01-04 00:00:00"
    assert sql(store, "with a as (select close c from bars) select max(c) = max(c) as same from a").rows() == [(True,)]


@pytest.mark.parametrize(
    "query",
    [
        "drop view bars",
        "create table t (i int)",
        "copy (select 1) to '$root/x.csv'",
        "attach '$root/x.db'",
        "insert into instruments values ('x')",
        "select 1; select 2",
        "select * from read_csv('/etc/hosts')",
        "select * from read_text('$outside')",
        "set enable_external_access = true",
        "select nothing from bars",
        "selec 1",
        "",
    ],
)
def test_sql_only_reads_and_only_the_store(store: Store, bars: MakeBars, tmp_path: Path, query: str) -> None:
    write_bars(store, X, "1h", bars(10))
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")
    before = sorted(p.name for p in store.root.rglob("*"))
    with pytest.raises(TrimtabError, match="data sql"):
        sql(store, query.replace("$root", str(store.root)).replace("$outside", str(outside)))
    assert sorted(p.name for p in store.root.rglob("*")) == before


def test_sql_needs_neither_pyarrow_nor_pandas(store: Store, bars: MakeBars) -> None:
    write_bars(store, X, "1h", bars(10))
    script = """
import sys
from trimtab.data.store import open_store, sql
import polars
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pyarrow", "pandas", "pytz"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
assert len(sql(open_store(sys.argv[1]), "select * from bars")) == 10
assert "numba" not in sys.modules
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    subprocess.run([sys.executable, "-c", script, str(store.root)], check=True, env=environment)
