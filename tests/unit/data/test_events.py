"""Splits and dividends in bars: in which bar, in whose shares, and in what is made of finer bars."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.data.catalogue import default_instrument
from trimtab.data.events import merge_events, read_events, with_events
from trimtab.data.store import Store, open_store, write_bars
from trimtab.types import Instrument, TrimtabError

STOCK = default_instrument("ACME", "equity", "alpaca")
COIN = default_instrument("COINUSD")


def bars_from(start: str, closes: list[float], hours: float, skip: int = 0) -> pl.DataFrame:
    """Bars at a distance of some hours, that do not move inside; `skip`: calendar days after the first two."""
    first = dt.datetime.fromisoformat(start).replace(tzinfo=dt.UTC)
    times = [first + dt.timedelta(hours=hours * k, days=skip if k > 1 else 0) for k in range(len(closes))]
    prices = dict.fromkeys(("open", "high", "low", "close"), closes)
    frame = pl.DataFrame({"open_time": times, **prices, "volume": [700.0 / c for c in closes]})
    return frame.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))


def told(*events: tuple[str, str, float]) -> pl.DataFrame:
    days = [dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC) for day, _, _ in events]
    frame = pl.DataFrame({"ts": days, "kind": [e[1] for e in events], "value": [e[2] for e in events]})
    return frame.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def told_of(frame: pl.DataFrame, column: str) -> dict[int, float]:
    values = frame[column].to_list()
    return {k: v for k, v in enumerate(values) if v is not None}


@pytest.mark.parametrize(
    ("instrument", "hours", "start", "closes", "row"),
    [
        (STOCK, 24.0, "2024-06-05", 5, 1),  # the bar with the date of the day
        (STOCK, 1.0, "2024-06-06T10:00", 8, 3),  # 09:30 in New York is 13:30 UTC: in the bar from 13:00
        (STOCK, 0.5, "2024-06-06T12:00", 6, 3),
        (COIN, 1.0, "2024-06-05T22:00", 4, 2),  # round the clock a day begins at 00:00 UTC
    ],
)
def test_an_event_is_in_the_first_bar_that_trades_without_it(
    instrument: Instrument, hours: float, start: str, closes: int, row: int
) -> None:
    timeframe = {24.0: "1d", 1.0: "1h", 0.5: "30m"}[hours]
    frame = bars_from(start, [70.0] * closes, hours)
    made = with_events(
        frame, told(("2024-06-06", "split", 7.0), ("2024-06-06", "dividend", 0.1)), instrument, timeframe
    )
    assert told_of(made, "split") == {row: 7.0}
    assert told_of(made, "dividend") == {row: pytest.approx(0.7)}  # paid on new shares, told per old one


def test_events_of_days_without_bars_wait_for_the_next_and_add_up() -> None:
    """A dividend of the old shares, a split, one of the new shares, and nothing of before or later."""
    frame = bars_from("2024-06-05", [70.0, 70.0, 9.0], 24, skip=10)
    events = told(
        ("2024-06-01", "split", 3.0), ("2024-06-05", "dividend", 1.0), ("2024-06-07", "dividend", 1.0),
        ("2024-06-08", "split", 2.0), ("2024-06-09", "dividend", 0.5), ("2024-06-11", "split", 3.5),
        ("2025-01-01", "split", 2.0),
    )  # fmt: skip
    made = with_events(frame, events, STOCK, "1d")
    assert told_of(made, "split") == {2: 7.0}
    assert told_of(made, "dividend") == {2: 2.0}


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("split", 0.0, "a split of 0 new"),
        ("dividend", -1.0, "a dividend of -1"),
        ("dividend", 70.0, "close before it, 70"),
    ],
)
def test_an_event_that_cannot_be_is_refused(kind: str, value: float, said: str) -> None:
    with pytest.raises(TrimtabError, match=said):
        with_events(bars_from("2024-06-05", [70.0] * 4, 24), told(("2024-06-06", kind, value)), STOCK, "1d")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def test_a_week_in_which_a_share_splits_is_told_in_the_shares_of_its_end(store: Store) -> None:
    """Monday at 70, seven for one on Wednesday, a dividend of 0.5 on Thursday, Friday at 11."""
    closes = [63.0, 63.0, 63.0, 63.0, 63.0, 70.0, 77.0, 10.0, 10.5, 11.0, 11.0]
    days = [dt.date(2024, 6, 3) + dt.timedelta(days=k + 2 * (k // 5)) for k in range(len(closes))]
    frame = pl.DataFrame(
        {
            "open_time": days,
            **dict.fromkeys(("open", "high", "low", "close"), closes),
            "volume": [700.0 / c for c in closes],
        }
    ).with_columns(pl.col("open_time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    write_bars(store, STOCK, "1d", frame)
    merge_events(store, STOCK, told(("2024-06-12", "split", 7.0), ("2024-06-13", "dividend", 0.5)))
    panel = tt.load("ACME", timeframe="1w", root=store.root)
    assert panel.fields[-2:] == ("split", "dividend")
    week = panel.values[1, 0]
    assert week[:4].tolist() == pytest.approx([10.0, 11.0, 10.0, 11.0])
    assert week[4] == pytest.approx(70.0 + 700.0 / 11.0 + 70.0 + 700.0 / 10.5 + 700.0 / 11.0)
    assert week[-2:].tolist() == pytest.approx([7.0, 3.5])
    assert np.isnan(panel.values[0, 0, -2:]).all()


def test_a_feature_of_another_timeframe_has_no_jump(store: Store) -> None:
    frame = bars_from("2024-06-03T00:00", [70.0] * 72 + [10.0] * 48, 1)
    write_bars(store, COIN, "1h", frame)
    merge_events(store, COIN, told(("2024-06-06", "split", 7.0)))
    panel = tt.load("COINUSD", timeframe="1h", root=store.root, features=["close@1d"])
    seen = panel.values[:, 0, panel.fields.index("close@1d")]
    assert set(seen[~np.isnan(seen)].tolist()) == {70.0}
    assert tt.load("COINUSD", timeframe="1d", root=store.root).values[:, 0, 3].tolist() == [70.0] * 3 + [10.0] * 2
    run = tt.backtest("sma_cross", panel, params={"fast": 2, "slow": 5}, costs="none", capital=1e5)
    assert run.fills.filter(pl.col("order_id") != 0).height == 0  # nothing has crossed


def test_a_feature_is_there_where_its_first_day_has_no_volume(store: Store) -> None:
    frame = bars_from("2024-06-03T00:00", [70.0] * 72 + [10.0] * 48, 1)
    quiet = pl.col("open_time") < dt.datetime(2024, 6, 4, tzinfo=dt.UTC)
    write_bars(store, COIN, "1h", frame.with_columns(volume=pl.when(quiet).then(0.0).otherwise("volume")))
    merge_events(store, COIN, told(("2024-06-06", "split", 7.0)))
    panel = tt.load("COINUSD", timeframe="1h", root=store.root, features=["volume@1d"])
    seen = panel.values[:, 0, panel.fields.index("volume@1d")]
    assert np.isnan(seen).tolist() == [True] * 23 + [False] * 97
    assert seen[[23, 47, 71, 95, 119]].tolist() == pytest.approx([0.0] + [240.0] * 4)  # in shares of the first day


def test_dividends_of_one_day_add_up_and_splits_multiply(store: Store) -> None:
    """MSFT 2004-11-15: the regular 0.08 and a special 3.00. The same file once more changes nothing."""
    new = told(
        ("2004-11-13", "dividend", 3.0), ("2004-11-13", "dividend", 0.08),
        ("2004-11-14", "split", 2.0), ("2004-11-14", "split", 1.5),
    )  # fmt: skip
    for _ in range(2):
        assert merge_events(store, STOCK, new) == 2
        assert read_events(store, STOCK)["value"].to_list() == [3.08, 3.0]
    assert merge_events(store, STOCK, told(("2004-11-13", "dividend", 3.0))) == 2
    assert read_events(store, STOCK)["value"].to_list() == [3.0, 3.0], "a later call takes the stored one's place"


def test_bars_without_events_have_no_fields_for_them(store: Store) -> None:
    write_bars(store, COIN, "1h", bars_from("2024-06-03T00:00", [70.0] * 5, 1))
    assert "split" not in tt.load("COINUSD", timeframe="1h", root=store.root).fields


def test_a_panel_with_an_impossible_event_is_refused(store: Store) -> None:
    frame = bars_from("2024-06-03T00:00", [70.0] * 30, 1).with_columns(split=pl.lit(0.0))
    with pytest.raises(TrimtabError, match="split is 0; expected more than 0"):
        tt.backtest("buy_and_hold", tt.Panel.from_frames({"X": frame}, "1h"))
