"""Who belongs when: listings, delistings and a file of memberships, as a field of the panel, in a run and its notes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import polars as pl
import pytest

import trimtab as tt
from trimtab.app.wire import run_backtest
from trimtab.data.catalogue import default_instrument, with_changes
from trimtab.data.members import with_members
from trimtab.data.store import Store, open_store, write_bars
from trimtab.types import Costs, Model, Spec, TrimtabError

DAYS = 30


def bars(days: int) -> pl.DataFrame:
    first = dt.datetime(2024, 6, 3, tzinfo=dt.UTC)
    closes = [10.0 + k / 10.0 for k in range(days)]
    prices = dict.fromkeys(("open", "high", "low", "close"), closes)
    frame = pl.DataFrame({"open_time": [first + dt.timedelta(days=k) for k in range(days)], **prices, "volume": 1e6})
    return frame.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One that stays, one that is listed later, and one whose last day is the 20th."""
    store = open_store(tmp_path / "store")
    known = {
        "STAYS": ({}, DAYS),
        "LATE": ({"listed": "2024-06-10"}, DAYS),
        "GONE": ({"listed": "2024-06-03", "delisted": "2024-06-20"}, 18),
    }
    for symbol, (rules, days) in known.items():
        write_bars(store, with_changes(default_instrument(symbol), **rules), "1d", bars(days))
    return store


def members(panel: tt.Panel, symbol: str) -> list[float]:
    return panel.values[:, panel.symbols.index(symbol), panel.fields.index("member")].tolist()


def test_listings_and_delistings_are_of_the_catalogue(store: Store) -> None:
    """A bar of the 9th closes at 00:00 of the 10th: from then on it may be held."""
    panel = tt.load("STAYS", "LATE", "GONE", timeframe="1d", root=store.root)
    assert members(panel, "STAYS") == [1.0] * DAYS
    assert members(panel, "LATE") == [0.0] * 6 + [1.0] * (DAYS - 6)
    assert members(panel, "GONE") == [1.0] * 17 + [-1.0] + [0.0] * (DAYS - 18)
    before = tt.load("STAYS", "GONE", timeframe="1d", root=store.root, end="2024-06-15")
    assert set(members(before, "GONE")) == {1.0}
    assert "member" not in tt.load("STAYS", timeframe="1d", root=store.root).fields


def test_a_delisting_is_known_on_its_day_and_not_at_the_last_bar(tmp_path: Path) -> None:
    """Halted after 8 bars, delisted on the 20th: the 21st ends it. Cut before that, nothing is other than it was."""
    store = open_store(tmp_path / "store")
    write_bars(store, default_instrument("STAYS"), "1d", bars(DAYS))
    write_bars(store, with_changes(default_instrument("HALTED"), delisted="2024-06-20"), "1d", bars(8))
    panel = tt.load("HALTED", "STAYS", timeframe="1d", root=store.root)
    assert members(panel, "HALTED") == [1.0] * 17 + [-1.0] + [0.0] * (DAYS - 18)
    spec = Spec(models=(Model(strategy="buy_and_hold"),), universe=("HALTED", "STAYS"), timeframe="1d", costs=Costs())
    whole = run_backtest(spec, root=str(store.root))
    cut = run_backtest(msgspec.structs.replace(spec, end="2024-06-16"), root=str(store.root))
    assert cut.fills.rows() == whole.fills.filter(pl.col("ts") <= cut.equity["ts"][-1]).rows()
    assert cut.equity["equity"].to_list() == whole.equity["equity"][: len(cut.equity)].to_list()
    last = whole.fills.filter(pl.col("symbol") == "HALTED").row(-1, named=True)
    assert (last["ts"].date(), last["price"], last["position"]) == (dt.date(2024, 6, 21), 10.7, 0)
    assert any("its last bar is that of 2024-06-10" in note for note in whole.notes)


def test_a_file_says_who_belongs_when(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_text("symbol,from,to\nSTAYS,,2024-06-08\nSTAYS,2024-06-20,\nLATE,2024-06-05,\nGONE,2024-07-01,\n")
    panel = tt.load("STAYS", "LATE", "GONE", timeframe="1d", root=store.root, members=path)
    assert members(panel, "STAYS") == [1.0] * 4 + [0.0] * 12 + [1.0] * (DAYS - 16)
    assert members(panel, "LATE") == [0.0] * 6 + [1.0] * (DAYS - 6)  # not before it was listed
    assert members(panel, "GONE")[:17] == [0.0] * 17


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,from\nA,2024-01-01\n", "no column to"),
        ("symbol,from,to\nOTHER,,\n", "STAYS is in the universe, and .* does not name it: it could never be held"),
        ("symbol,from,to\n", "no row; expected one per stay"),
        ("symbol,from,to\nSTAYS,soon,\n,,\n", "2 mistakes\n.*line 2: from 'soon'.*\n.*line 3: .*expected a symbol"),
        ("symbol,from,to\nSTAYS,soon,\n", "line 2: from 'soon' is no date"),
        ("symbol,from,to\nSTAYS,2024-02-01,2024-01-01\n", "line 2: .*expected a symbol, and a `to` after"),
    ],
)
def test_a_file_that_cannot_be_is_refused(store: Store, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "members.csv"
    path.write_text(text)
    panel = tt.load("STAYS", timeframe="1d", root=store.root)
    with pytest.raises(TrimtabError, match=said):
        with_members(panel, path)


def test_a_run_says_who_was_never_held_and_who_is_not_traded(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_text("symbol,from,to\nSTAYS,,\nLATE,2025-01-01,\nOTHER,,\n")
    spec = Spec(
        models=(Model(strategy="buy_and_hold"),), universe=("STAYS", "LATE"), timeframe="1d", costs=Costs(),
        members=str(path),
    )  # fmt: skip
    notes = run_backtest(spec, root=str(store.root)).notes
    never = "LATE: at no close of this run was it a member (listed 2024-06-10, members.csv), so it was never held."
    assert never in notes
    assert "members.csv also has members that are not in the universe, and not traded: OTHER." in notes


def test_days_of_an_instrument_are_dates_in_order() -> None:
    with pytest.raises(TrimtabError, match="listed = 'soon': expected a date"):
        with_changes(default_instrument("A"), listed="soon")
    with pytest.raises(TrimtabError, match="before it was listed"):
        with_changes(default_instrument("A"), listed="2024-02-01", delisted="2024-01-01")


def test_a_run_holds_what_was_listed_and_says_what_became_of_it(store: Store) -> None:
    spec = Spec(
        models=(Model(strategy="buy_and_hold"),), universe=("STAYS", "LATE", "GONE"), timeframe="1d", costs=Costs(),
        capital=30_000.0,
    )  # fmt: skip
    run = run_backtest(spec, root=str(store.root))
    first = run.fills.filter(pl.col("lots") > 0).group_by("symbol").agg(pl.col("ts").min())
    days = {symbol: ts.date() for symbol, ts in first.iter_rows()}
    assert days["LATE"] == dt.date(2024, 6, 10)
    assert days["GONE"] == dt.date(2024, 6, 4)
    last = run.fills.filter(pl.col("symbol") == "GONE").row(-1, named=True)
    assert (last["price"], last["position"], last["fee"]) == (11.7, 0, 0.0)
    assert {"member", "delisted"} <= set(run.actions["limit"])
    assert any("GONE: delisted" in note and "closed at its last price, 11.7" in note for note in run.notes)
