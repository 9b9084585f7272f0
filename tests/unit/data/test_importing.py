"""Files as people have them: recognised and said, or refused with every fault and nothing stored."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.catalogue import default_instrument
from trimtab.data.demo import SYMBOLS, import_demo
from trimtab.data.importing import BadBars, Imported, Source, import_file, names_of, read_source
from trimtab.data.panel import load
from trimtab.data.store import Store, find_instrument, instruments, read_bars
from trimtab.types import TrimtabError

MakeBars = Callable[..., pl.DataFrame]
NOW = 1_790_000_000_000_000_000

HOURS = "1,2,0.5,1.5,100\n", "1.5,2,0.5,1,50\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def run(store: Store, path: Path, timeframe: str = "1h", asset_class: str = "crypto", **options: object) -> Imported:
    source = Source(path=path, **{k: v for k, v in options.items() if k != "replace"})  # type: ignore[arg-type]
    instrument = default_instrument("X", asset_class)
    return import_file(store, source, instrument, timeframe, now=NOW, replace=bool(options.get("replace", False)))


@pytest.mark.parametrize(
    ("header", "stamps", "said"),
    [
        ("open_time,open,high,low,close,volume", ("2020-01-02T00:00:00Z", "2020-01-02T01:00:00Z"), "ISO times"),
        ("Date,Open,High,Low,Close,Volume", ("2020-01-02 00:00", "2020-01-02 01:00"), "without a zone, taken as UTC"),
        ("time,O,H,L,C,V", ("2020-01-02T01:00:00+01:00", "2020-01-02T02:00:00+01:00"), "ISO times"),
        ("datetime,o,h,l,c,vol", ("2020-01-02 00:00:00.000", "2020-01-02 01:00:00.000"), "taken as UTC"),
        ("timestamp,open,high,low,close,Volume BTC", ("1577923200", "1577926800"), "epoch s"),
        ("timestamp,open,high,low,close,volume", ("1577923200000", "1577926800000"), "epoch ms"),
        ("Open time,Open,High,Low,Close,Volume", ("1577923200000000", "1577926800000000"), "epoch us"),
        ("t,o,h,l,c,v", ("1577923200000000000", "1577926800000000000"), "epoch ns"),
        ("unix,open,high,low,close,volume", ("1577923200.0", "1577926800.0"), "epoch s"),
        ("date,1. open,2. high,3. low,4. close,5. volume", ("2020/01/02 00:00", "2020/01/02 01:00"), "taken as UTC"),
    ],
)
def test_usual_columns_and_times(store: Store, tmp_path: Path, header: str, stamps: tuple[str, str], said: str) -> None:
    text = f"{header}\n" + "".join(f"{t},{bar}" for t, bar in zip(stamps, HOURS, strict=True))
    done = run(store, write(tmp_path / "x.csv", text))
    assert said in done.notes[0]
    frame = read_bars(store, done.instrument, "1h")
    assert [str(t) for t in frame["open_time"]] == ["2020-01-02 00:00:00+00:00", "2020-01-02 01:00:00+00:00"]
    assert frame["close"].to_list() == [1.5, 1.0]
    expected = [None, None] if "BTC" in header else [100.0, 50.0]
    assert frame["volume"].to_list() == expected


@pytest.mark.parametrize(
    ("stamps", "options"),
    [
        (("2020-01-02", "2020-01-03"), {}),
        (("20200102", "20200103"), {}),
        (("02/01/2020", "03/01/2020"), {"time_format": "%d/%m/%Y"}),
        (("1/2/2020", "1/3/2020"), {"time_format": "%m/%d/%Y"}),
    ],
)
def test_dates(store: Store, tmp_path: Path, stamps: tuple[str, str], options: dict[str, str]) -> None:
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n" + "".join(f"{t},1,2,0.5,1.5,9,100\n" for t in stamps)
    done = run(store, write(tmp_path / "x.csv", text), "1d", "equity", **options)
    frame = read_bars(store, done.instrument, "1d")
    assert [str(t)[:10] for t in frame["open_time"]] == ["2020-01-02", "2020-01-03"]
    assert frame["close"].to_list() == [1.5, 1.5]
    assert "ignored columns: Adj Close" in done.notes


def test_adjusted_closes_only_when_they_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "Date,Open,High,Low,Close,Adj Close\n2020-01-02,1,2,0.5,1.5,1.2\n")
    frame, _ = read_source(Source(path=path, columns={"close": "Adj Close"}))
    assert frame["close"].to_list() == [1.2]


def test_ambiguous_dates_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "date,o,h,l,c\n02/01/2020,1,2,0.5,1.5\n")
    with pytest.raises(TrimtabError, match="--time-format"):
        read_source(Source(path=path))


def test_other_separators_gzip_and_blank_volume(tmp_path: Path) -> None:
    text = "time;open;high;low;close;volume\n2020-01-02T00:00Z;1;2;0.5;1.5;\n2020-01-02T01:00Z;1;2;0.5;1.5;7\n"
    frame, _ = read_source(Source(path=write(tmp_path / "x.csv", text)))
    assert frame["volume"].to_list() == [None, 7.0]
    with gzip.open(tmp_path / "y.csv.gz", "wt") as file:
        file.write(text.replace(";", ","))
    zipped, _ = read_source(Source(path=tmp_path / "y.csv.gz"))
    assert zipped.equals(frame)


def test_named_columns(store: Store, tmp_path: Path) -> None:
    text = "when,px_open,h,l,c,open\n2020-01-02T00:00Z,1,2,0.5,1.5,77\n"
    path = write(tmp_path / "x.csv", text)
    done = run(store, path, columns={"open_time": "when", "open": "px_open"})
    assert read_bars(store, done.instrument, "1h")["open"].to_list() == [1.0]
    with pytest.raises(TrimtabError, match="no column 'nope' for open"):
        run(store, path, columns={"open": "nope"})
    with pytest.raises(TrimtabError, match="is none of open_time"):
        run(store, path, columns={"opening": "px_open"})
    with pytest.raises(TrimtabError, match="no column for low; the file has"):
        run(store, write(tmp_path / "y.csv", "time,o,h,c\n2020-01-02,1,2,3\n"))


def test_close_only(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "observation_date,DCOILWTICO\n2020-01-02,61.2\n2020-01-03,63\n")
    done = run(store, path, "1d", "commodity", close_only=True)
    assert done.instrument.close_only
    assert find_instrument(store, "X").close_only
    row = read_bars(store, done.instrument, "1d").row(1)
    assert row[1:] == (63.0, 63.0, 63.0, 63.0, None)
    with pytest.raises(TrimtabError, match="--close-only"):
        run(store, write(tmp_path / "y.csv", "date,close\n2020-01-02,1\n"), "1d")


def test_parquet_with_other_types(store: Store, tmp_path: Path, bars: MakeBars) -> None:
    frame = bars(40)
    for i, other in enumerate(
        [
            frame.with_columns(pl.col("open_time").dt.cast_time_unit("ns")),
            frame.with_columns(pl.col("open_time").dt.replace_time_zone(None)),
            frame.with_columns(pl.col("open_time").dt.convert_time_zone("Asia/Tokyo")),
            frame.with_columns(pl.col("open_time").dt.epoch("ms")),
            frame.with_columns(pl.col("open_time").dt.to_string("iso:strict")),
            frame.with_columns(pl.col("close").cast(pl.Decimal(20, 2)), pl.col("open").cast(pl.String)),
        ]
    ):
        path = tmp_path / f"{i}.parquet"
        other.write_parquet(path)
        read, _ = read_source(Source(path=path))
        assert read.equals(frame), i


def test_bad_bars_are_refused_as_a_whole(store: Store, tmp_path: Path) -> None:
    text = (
        "date,o,h,l,c,v\n2020-01-02,1,2,0.5,1.5,1\n2020-01-02,1,0.2,0.5,1.5,1\n2020-01-01,1,2,0.5,-1.5,1\n"
        "foo,1,2,0.5,,1\n2090-01-01,1,1.2,1,3,1\n"
    )
    path = write(tmp_path / "x.csv", text)
    with pytest.raises(BadBars) as error:
        run(store, path, "1d", "equity")
    message = str(error.value)
    assert "refused, nothing stored: 9 faults in 5 rows" in message
    for line, fault in [
        (3, "duplicate"), (4, "disorder"), (5, "no_time"), (6, "future"), (5, "no_price"), (4, "non_positive_price"),
        (3, "high_below_low"), (4, "outside_range"), (6, "outside_range"),
    ]:  # fmt: skip
        assert any(t.startswith(f"  line {line} (") and f") {fault}:" in t for t in message.splitlines()), (line, fault)
    assert error.value.code == 2
    assert not store.root.exists()


def test_many_faults_are_counted_beyond_the_limit(store: Store, tmp_path: Path, bars: MakeBars) -> None:
    path = tmp_path / "x.parquet"
    bars(500).with_columns(close=pl.lit(-1.0)).write_parquet(path)
    with pytest.raises(BadBars, match="… and 480 more of non_positive_price"):
        run(store, path)


def test_cells_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    good = "2020-01-02,1,2,0.5,1.5,1\n"
    path = write(tmp_path / "x.csv", "date,o,h,l,c,v\n" + good * 1_500 + "2020-01-03,1,abc,0.5,1.5,1\n" + good)
    with pytest.raises(TrimtabError, match=r"column h \(high\) holds 'abc' \(line 1502\)"):
        read_source(Source(path=path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "", "is empty"),
        ("x.csv", "date,o,h,l,c\n", "a header, but no bars"),
        ("x.parquet", "PAR1 no", "not readable as Parquet"),
        ("x.csv", "date,o,h,l,c\nyesterday,1,2,1,2\n", "neither ISO"),
        ("x.csv", "time,o,h,l,c\n,1,2,1,2\n", "holds"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(TrimtabError, match=message):
        read_source(Source(path=write(tmp_path / name, content)))
    with pytest.raises(TrimtabError, match="no such file"):
        read_source(Source(path=tmp_path / "absent.csv"))


def test_stored_bars_are_not_lost_by_accident(store: Store, tmp_path: Path, bars: MakeBars) -> None:
    frame = bars(100)
    path = tmp_path / "x.parquet"
    frame.head(80).write_parquet(path)
    run(store, path)
    frame.write_parquet(path)
    assert run(store, path).replaced == 80  # longer, the rest the same: nothing is lost
    unknown = frame.with_columns(volume=pl.lit(None, dtype=pl.Float64))
    unknown.write_parquet(path)
    assert run(store, path, replace=True).rows == 100
    assert run(store, path).replaced == 100  # unknown volume is the same as unknown volume
    frame.write_parquet(path)
    run(store, path, replace=True)
    frame.tail(50).write_parquet(path)
    with pytest.raises(TrimtabError, match=r"lacks or changes 50 of the 100 stored 1h bars of X; .*--replace"):
        run(store, path)
    frame.with_columns(volume=pl.lit(1.0)).write_parquet(path)
    with pytest.raises(TrimtabError, match="lacks or changes 100"):
        run(store, path)
    assert run(store, path, replace=True).rows == 100
    assert read_bars(store, default_instrument("X"), "1h")["volume"].to_list() == [1.0] * 100


@pytest.mark.parametrize(
    ("name", "symbol", "timeframe"),
    [
        ("BTCEUR_1h.parquet", "BTCEUR", "1h"),
        ("BTC-USDT-1h.csv", "BTC-USDT", "1h"),
        ("BTCEUR_H4.csv.gz", "BTCEUR", "4h"),
        ("BRK.B_1d.csv", "BRK.B", "1d"),
        ("spy_daily.csv", "spy", "1d"),
        ("SPY.csv", "SPY", ""),
        ("ES_F.csv", "ES_F", ""),
    ],
)
def test_names_of_files(name: str, symbol: str, timeframe: str) -> None:
    assert names_of(Path(name)) == (symbol, timeframe)


def test_a_million_rows_import_at_speed(store: Store, tmp_path: Path, bars: MakeBars) -> None:
    """The figure is in the benchmarks; this is only a guard against a slow path (a second here, twenty when slow)."""
    path = tmp_path / "x.csv"
    bars(1_000_000, "1m", "2014-01-01T00:00").write_csv(path)
    started = time.perf_counter()
    done = run(store, path, "1m")
    assert done.rows == 1_000_000
    assert time.perf_counter() - started < 20


def test_the_demos_series(store: Store) -> None:
    pytest.importorskip("arch")
    from arch.data import sp500, wti

    done = import_demo(store, now=NOW)
    assert tuple(d.instrument.symbol for d in done) == SYMBOLS == ("SP500", "NASDAQ", "WTI")
    assert [d.rows for d in done] == [5_031, 5_031, 8_321]
    panel = load(*SYMBOLS, timeframe="1d", root=store.root)
    index, oil = sp500.load(), wti.load().dropna()
    own = ~np.isnan(panel.values[:, 0, 3])
    np.testing.assert_array_equal(panel.values[own, 0, 3], index["Close"].to_numpy())
    np.testing.assert_array_equal(
        panel.ts[own], (index.index.to_numpy() + np.timedelta64(1, "D")).astype("datetime64[ns]").astype(np.int64)
    )
    np.testing.assert_array_equal(panel.values[~np.isnan(panel.values[:, 2, 3]), 2, 3], oil["DCOILWTICO"].to_numpy())
    assert np.isnan(panel.values[:, 2, 4]).all()
    assert [i.close_only for i in panel.instruments] == [False, False, True]
    assert any("290 days without a published price" in note for note in done[2].notes)
    assert import_demo(store, now=NOW)[0].replaced == 5_031


def test_the_demo_without_arch_says_what_to_install(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.data.demo.find_spec", lambda name: None)
    with pytest.raises(TrimtabError, match=r"pip install 'trimtab\[research\]'"):
        import_demo(store, now=NOW)


def test_all_real_crypto_and_equities_import(shared: Path, store: Store) -> None:
    files = sorted((shared / "data/crypto_bitvavo").glob("*.parquet"))
    files += sorted((shared / "data/crypto_binance_2024").glob("*.parquet"))
    equities = [f"{s}_1d" for s in ("SPY", "IWM", "AAPL", "IBM")] + ["SPY_1h", "AAPL_1h"]
    files += [shared / "data/equity_us" / f"{name}.parquet" for name in equities]
    for path in files:
        symbol, timeframe = names_of(path)
        folder = path.parent.name
        instrument = (
            default_instrument(symbol, "equity")
            if folder == "equity_us"
            else default_instrument(symbol, venue=folder.split("_")[1])
        )
        done = import_file(store, Source(path=path), instrument, timeframe, now=NOW)
        assert read_bars(store, done.instrument, timeframe).equals(pl.read_parquet(path))
        assert done.report.n_errors == 0
    assert len(instruments(store)) == 5 + 7 + 4
