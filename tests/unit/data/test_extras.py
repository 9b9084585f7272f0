"""What bars may hold beside prices: funding, spread, exchange rates; and rates that are joined from other series."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.data.catalogue import default_instrument, with_changes
from trimtab.data.importing import Imported, Source, import_file
from trimtab.data.panel import load, rows_of
from trimtab.data.rates import with_rates
from trimtab.data.resampling import resample
from trimtab.data.store import Store, extras, find_instrument, read_bars, sql, write_bars
from trimtab.types import HOUR, TrimtabError

MakeBars = Callable[..., pl.DataFrame]
NOW = 1_790_000_000_000_000_000
PERPETUAL = default_instrument("BTCUSDT", venue="binance", kind="perpetual")


def run(store: Store, frame: pl.DataFrame, folder: Path, symbol: str = "BTCUSDT", **how: object) -> Imported:
    path = folder / f"{symbol}_1h.parquet"
    frame.write_parquet(path)
    source = Source(path=path, **{k: v for k, v in how.items() if k != "replace"})  # type: ignore[arg-type]
    return import_file(store, source, PERPETUAL, "1h", now=NOW, replace=bool(how.get("replace")))


def rates(folder: Path, *rows: tuple[str, float], name: str = "funding_rate") -> Path:
    path = folder / "funding.csv"
    path.write_text(f"ts,{name}\n" + "".join(f"{ts},{rate}\n" for ts, rate in rows))
    return path


# --- columns of a file ------------------------------------------------------------------------------------------------


def test_funding_spread_and_fx_come_with_the_bars(store: Store, bars: MakeBars, tmp_path: Path) -> None:
    funding = [math.nan, 1e-4, None, -2e-4]
    frame = bars(4).with_columns(fundingRate=pl.Series(funding, strict=False), spread=1e-4, FX=0.9)
    done = run(store, frame, tmp_path)
    assert {"funding: from column fundingRate", "spread: from column spread", "fx: from column FX"} <= set(done.notes)
    stored = read_bars(store, PERPETUAL, "1h")
    assert stored["funding"].to_list() == [None, 1e-4, None, -2e-4]
    assert extras(store, PERPETUAL, "1h") == ["funding", "spread", "fx"]
    panel = load("BTCUSDT", timeframe="1h", root=store.root)
    assert panel.fields[6:] == ("funding", "spread", "fx")
    np.testing.assert_array_equal(panel.values[:, 0, 6], [math.nan, 1e-4, math.nan, -2e-4])
    assert sql(store, "select sum(funding) f, max(spread) s from bars").row(0) == pytest.approx((-1e-4, 1e-4))


def test_a_guess_that_does_not_hold_is_left_out_and_a_named_column_refused(
    store: Store, bars: MakeBars, tmp_path: Path
) -> None:
    points = bars(4).with_columns(spread=pl.Series([12, 15, 0, 3]))
    done = run(store, points, tmp_path)
    said = "column spread holds 12 (line 2), and spread is a fraction of mid, from 0 to below 1: left out"
    assert said in done.notes
    assert extras(store, PERPETUAL, "1h") == []
    with pytest.raises(TrimtabError, match=r"column spread holds 12 \(line 2\), and spread is a fraction of mid"):
        run(store, points, tmp_path, columns={"spread": "spread"})
    with pytest.raises(TrimtabError, match=r"column rate holds 1 .line 2., and funding is a fraction of notional"):
        run(store, bars(4).with_columns(rate=1.0), tmp_path, columns={"funding": "rate"})
    with pytest.raises(TrimtabError, match=r"--column fundin=x: fundin is none of open_time, .*, funding, spread, fx"):
        run(store, bars(4), tmp_path, columns={"fundin": "x"})


def test_a_panel_has_them_where_any_of_its_instruments_does(store: Store, bars: MakeBars, tmp_path: Path) -> None:
    run(store, bars(4).with_columns(funding=1e-4), tmp_path)
    write_bars(store, default_instrument("ETHUSDT"), "1h", bars(4))
    panel = load("ETHUSDT", "BTCUSDT", timeframe="1h", root=store.root)
    at = panel.fields.index("funding")
    assert np.isnan(panel.values[:, 0, at]).all()
    assert panel.values[:, 1, at].tolist() == [1e-4] * 4
    assert sql(store, "select symbol, count(funding) n from bars group by all order by all").rows() == [
        ("BTCUSDT", 4),
        ("ETHUSDT", 0),
    ]


def test_bars_without_what_is_stored_need_replace(store: Store, bars: MakeBars, tmp_path: Path) -> None:
    run(store, bars(4).with_columns(funding=1e-4), tmp_path)
    with pytest.raises(TrimtabError, match=r"no column funding, .* give it with --funding, or .* with --replace"):
        run(store, bars(4), tmp_path)
    run(store, bars(4), tmp_path, replace=True)
    assert extras(store, PERPETUAL, "1h") == []


# --- funding from a file of its own -----------------------------------------------------------------------------------


def test_a_rate_falls_due_in_the_first_bar_that_closes_at_or_after_it(
    store: Store, bars: MakeBars, tmp_path: Path
) -> None:
    """Bars from 00:00 to 06:00 without that of 03:00; a venue's stamp is some milliseconds late."""
    frame = bars(6).filter(pl.col("open_time").dt.hour() != 3)
    path = rates(
        tmp_path,
        ("2021-01-04T00:00:00.000Z", 9e-4),  # before the first bar has closed anything
        ("2021-01-04T02:00:00.005Z", 1e-4),
        ("2021-01-04T03:30:00.000Z", 2e-4),
        ("2021-01-04T04:00:00.000Z", 3e-4),
        ("2021-01-04T06:00:00.000Z", 4e-4),
        ("2021-01-04T06:00:01.000Z", 9e-4),
    )
    done = run(store, frame, tmp_path, funding=path)
    assert "funding: 4 rates from funding.csv, 2 outside the bars left out" in done.notes
    stored = read_bars(store, PERPETUAL, "1h")
    hours = {row["open_time"].hour: row["funding"] for row in stored.iter_rows(named=True)}
    assert hours == {0: None, 1: 1e-4, 2: None, 4: pytest.approx(5e-4), 5: 4e-4}


@pytest.mark.parametrize(
    ("rows", "name", "fault"),
    [
        ([("2021-01-04T02:00:00Z", 5.0)], "funding_rate", "row 0: .*, 5.0: expected an instant and a fraction"),
        ([("2021-01-04T02:00:00Z", 1e-4)], "speed", "no column of funding rates; expected one named funding_rate"),
    ],
)
def test_files_that_hold_no_rates(
    store: Store, bars: MakeBars, tmp_path: Path, rows: list[tuple[str, float]], name: str, fault: str
) -> None:
    with pytest.raises(TrimtabError, match=fault):
        run(store, bars(4), tmp_path, funding=rates(tmp_path, *rows, name=name))
    with pytest.raises(TrimtabError, match="no such file; expected a CSV or Parquet file of funding rates"):
        run(store, bars(4), tmp_path, funding=tmp_path / "gone.csv")


@given(st.lists(st.none() | st.floats(-0.01, 0.01), min_size=24, max_size=24))
def test_coarser_bars_owe_all_that_fell_due_in_them(due: list[float | None]) -> None:
    opens = [dt.datetime(2021, 1, 4, hour, tzinfo=dt.UTC) for hour in range(24)]
    close = pl.Series([100.0] * 24)
    frame = pl.DataFrame({"open_time": opens} | dict.fromkeys(("open", "high", "low", "close", "volume"), close))
    frame = frame.with_columns(funding=pl.Series(due, dtype=pl.Float64), fx=pl.Series(np.arange(24.0) + 1.0))
    coarse = resample(frame, "1h", "4h")
    for k, (funding, fx) in enumerate(coarse.select("funding", "fx").iter_rows()):
        part = [rate for rate in due[4 * k : 4 * k + 4] if rate is not None]
        assert (funding is None) == (not part)
        assert funding is None or funding == pytest.approx(sum(part), abs=1e-15)
        assert fx == 4 * k + 4.0


def test_a_slower_model_sees_what_fell_due_since_its_last_bar(store: Store, bars: MakeBars, tmp_path: Path) -> None:
    run(store, bars(8).with_columns(funding=1e-4), tmp_path)
    panel = load("BTCUSDT", timeframe="1h", root=store.root)
    index, x = rows_of(panel, ["BTCUSDT"], "4h", ("close", "funding"))
    assert index.tolist() == [3, 7]
    assert x[:, 0, 1] == pytest.approx([4e-4, 4e-4])


# --- rates of exchange ------------------------------------------------------------------------------------------------


@pytest.fixture
def traded(store: Store, bars: MakeBars) -> Store:
    """Hourly bars in three currencies, and EURUSD every four hours from the day before."""
    for symbol in ("BTCEUR", "BTCUSD", "BTCUSDT"):
        write_bars(store, default_instrument(symbol), "1h", bars(12))
    pair = bars(9, "4h", start="2021-01-03T00:00").with_columns(close=1.0 + 0.01 * pl.int_range(9).cast(pl.Float64))
    write_bars(store, default_instrument("EURUSD", "fx"), "4h", pair.with_columns(high=2.0, low=0.5))
    return store


def test_a_rate_is_known_at_the_close_of_its_bar(traded: Store) -> None:
    """The bar of 20:00 closes at midnight with 1.05: it stands until the one that closes at 04:00."""
    panel = load("BTCUSD", "BTCEUR", timeframe="1h", root=traded.root, fx={"EUR": "EURUSD"})
    fx = panel.values[:, :, panel.fields.index("fx")]
    assert np.isnan(fx[:, 0]).all()  # in base currency
    assert fx[:, 1] == pytest.approx([1.05] * 3 + [1.06] * 4 + [1.07] * 4 + [1.08])


def test_a_pair_serves_both_ways_and_a_number_stands(traded: Store) -> None:
    fx: dict[str, str | float] = {"USD": "EURUSD", "USDT": 0.9}
    panel = load("BTCUSD", "BTCEUR", "BTCUSDT", timeframe="1h", root=traded.root, fx=fx)
    table = panel.values[:, :, panel.fields.index("fx")]
    assert table[:, 0] == pytest.approx([1 / 1.05] * 3 + [1 / 1.06] * 4 + [1 / 1.07] * 4 + [1 / 1.08])
    assert np.isnan(table[:, 1]).all()
    assert table[:, 2].tolist() == [0.9] * 12


@pytest.mark.parametrize(
    ("fx", "base", "fault"),
    [
        (
            {"GBP": "EURUSD"},
            "",
            "EURUSD is EUR in USD and says nothing of GBP: name a pair that has it, such as GBPUSD",
        ),
        ({"EUR": "EURUSD", "USD": "EURUSD"}, "", "EURUSD says USD in EUR, but the base currency is USD"),
        ({"EUR": "EURUSD"}, "GBP", "EURUSD says EUR in USD, but the base currency is GBP: name a pair of EUR and GBP"),
        ({"EUR": "EURUDS"}, "", "unknown symbol 'EURUDS' .* did you mean EURUSD"),
    ],
)
def test_pairs_that_do_not_fit(traded: Store, fx: dict[str, str | float], base: str, fault: str) -> None:
    panel = load("BTCUSD", "BTCEUR", timeframe="1h", root=traded.root)
    with pytest.raises(TrimtabError, match=fault):
        with_rates(panel, fx, traded.root, base)


def test_rates_of_the_bars_stay_where_nothing_else_is_said(traded: Store, bars: MakeBars) -> None:
    write_bars(traded, default_instrument("XGBP"), "1h", bars(12).with_columns(fx=1.3))
    panel = load("XGBP", "BTCEUR", timeframe="1h", root=traded.root, fx={"EUR": "EURUSD"})
    assert panel.fields.count("fx") == 1
    fx = panel.values[:, :, panel.fields.index("fx")]
    assert fx[:, 0].tolist() == [1.3] * 12
    assert fx[0, 1] == pytest.approx(1.05)


# --- margins ----------------------------------------------------------------------------------------------------------


def test_a_perpetual_is_on_margin() -> None:
    assert (PERPETUAL.initial_margin, PERPETUAL.maintenance_margin) == (0.05, 0.025)
    assert (default_instrument("BTCUSDT").initial_margin, default_instrument("SPY", "equity").initial_margin) == (1, 1)
    changed = with_changes(PERPETUAL, initial_margin=0.5, maintenance_margin=0.25)
    assert (changed.initial_margin, changed.maintenance_margin) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"initial_margin": 0.0}, "initial_margin = 0.0 is out of range, expected above 0 and at most 1"),
        ({"initial_margin": 1.5}, "initial_margin = 1.5 is out of range"),
        ({"initial_margin": math.nan}, "initial_margin = nan is out of range"),
        ({"initial_margin": 0.02}, "maintenance_margin = 0.025 is out of range, .* at most the initial margin of 0.02"),
        ({"maintenance_margin": -0.1}, "maintenance_margin = -0.1 is out of range, expected at least 0"),
    ],
)
def test_margins_out_of_range(change: dict[str, float], fault: str) -> None:
    with pytest.raises(TrimtabError, match=fault):
        with_changes(PERPETUAL, **change)


def test_the_store_keeps_margins(store: Store, bars: MakeBars) -> None:
    write_bars(store, with_changes(PERPETUAL, initial_margin=0.1), "1h", bars(3))
    assert find_instrument(store, "BTCUSDT").initial_margin == 0.1
    assert sql(store, "select initial_margin from instruments").item() == 0.1
    assert load("BTCUSDT", timeframe="1h", root=store.root).ts[0] % HOUR == 0
