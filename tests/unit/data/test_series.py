"""Series that are not traded, as fields: in the first row at which a value may be used, and in no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.panel import load
from trimtab.data.series import rooted, with_series
from trimtab.data.store import Store, write_bars
from trimtab.types import DAY, HOUR, Instrument, Panel, TrimtabError
from trimtab.words import field_of

MakeBars = Callable[..., pl.DataFrame]


@pytest.fixture
def panel(store: Store, bars: MakeBars) -> Panel:
    write_bars(store, Instrument(symbol="BTC"), "4h", bars(60, "4h"))
    write_bars(store, Instrument(symbol="VIX", asset_class="index"), "1d", bars(10, "1d", seed=4))
    return load("BTC", timeframe="4h", root=store.root)


def column(panel: Panel, name: str) -> np.ndarray:
    return panel.values[:, 0, panel.fields.index(name)]


def test_a_daily_close_stands_in_the_row_that_closes_with_it(panel: Panel, store: Store, bars: MakeBars) -> None:
    found = column(with_series(panel, ["VIX"], store.root), "VIX")
    there = np.flatnonzero(~np.isnan(found))
    assert there.tolist() == np.flatnonzero(panel.ts % DAY == 0).tolist()
    assert found[there].tolist() == bars(10, "1d", seed=4)["close"].to_list()


def test_a_lag_puts_it_later_never_earlier(panel: Panel, store: Store) -> None:
    early = column(with_series(panel, {"VIX": HOUR}, store.root), "VIX")
    usual = column(with_series(panel, ["VIX"], store.root), "VIX")
    np.testing.assert_array_equal(early, usual)
    late = column(with_series(panel, {"VIX": DAY + HOUR}, store.root), "VIX")
    np.testing.assert_array_equal(late[1:], usual[:-1])


def test_what_was_known_before_the_first_row_is_known_there(panel: Panel, store: Store, bars: MakeBars) -> None:
    part = load("BTC", timeframe="4h", start="2021-01-07T02:00", root=store.root)
    found = column(with_series(part, ["VIX"], store.root), "VIX")
    assert found[0] == bars(10, "1d", seed=4)["close"][2]
    assert load("BTC", timeframe="4h", root=store.root, series=["VIX"]).fields[-1] == "VIX"


def test_a_column_of_a_file_is_used_after_its_lag(panel: Panel, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "curve.csv"
    file.write_text("date,spread\n2021-01-04,0.01\n2021-01-05,\n2021-01-06,-0.02\n")
    name = f"{file}#spread"
    for lag, days in ((0, (1, 3)), (2 * DAY, (2, 4))):
        found = with_series(panel, {name: lag}, store.root)
        assert found.fields[-1] == field_of(name) == "curve.csv#spread"
        values = column(found, "curve.csv#spread")
        there = np.flatnonzero(~np.isnan(values))
        start = panel.ts[0] - 4 * HOUR
        assert ((panel.ts[there] - start) / DAY).tolist() == list(days)
        assert values[there].tolist() == [0.01, -0.02]


def test_what_is_wrong_is_said(panel: Panel, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("date,a,word\n2021-01-05,1,one\n2021-01-04,2,two\n")
    for name, message in (
        ("VIXX", "VIX"),
        (f"{tmp_path}/none.csv#a", "there is no file"),
        (f"{file}#b", "no column 'b'; the file has date, a, word"),
        (f"{file}#a", "is not rising"),
        (f"{file}#word", "holds no number"),
        ("close", "close"),
    ):
        with pytest.raises(TrimtabError, match=message):
            with_series(panel, [name], store.root)
    twice = with_series(panel, ["VIX"], store.root)
    with pytest.raises(TrimtabError, match="VIX is already a field"):
        with_series(twice, ["VIX"], store.root)


def test_files_are_rooted_and_symbols_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert rooted("a.csv#b") == f"{tmp_path}/a.csv#b"
    assert rooted("VIX") == "VIX"
