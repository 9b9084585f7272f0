"""Every fault, planted where there was none, is found there and nowhere else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest

from trimtab.data.ticks.checks import ERRORS, WARNINGS, check
from trimtab.data.ticks.kinds import DEPTH, KINDS, QUOTES, TRADES, Kind, schema_of

MakeTrades = Callable[..., pl.DataFrame]
NOON = dt.datetime(2024, 3, 4, 12, tzinfo=dt.UTC)


def typed(frame: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """A frame as the reader gives it: with rows, and all columns of its kind."""
    absent = [pl.lit(None, t).alias(name) for name, t in schema_of(kind).items() if name not in frame.columns]
    whole = frame.with_columns(absent).select(*(pl.col(n).cast(t) for n, t in schema_of(kind).items()))
    return whole.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), *kind.columns)


def quotes(n: int = 50) -> pl.DataFrame:
    steps = [NOON + dt.timedelta(milliseconds=k) for k in range(n)]
    ids = [5 + 3 * k for k in range(n)]
    return pl.DataFrame({"ts": steps, "bid": 99.0, "bid_qty": 1.0, "ask": 101.0, "ask_qty": 2.0, "update_id": ids})


def depth(named: bool, n: int = 20) -> pl.DataFrame:
    """A snapshot at id 100, then n updates of two rows each: of spot (contiguous ids), or named by the one before."""
    rows: list[dict[str, object]] = [
        {"side": side, "price": price, "qty": 1.0, "first_id": 100, "final_id": 100, "prev_id": 0, "is_snapshot": True}
        for side, price in (("b", 99.0), ("a", 101.0))
    ]
    for k in range(n):
        first, final = (101 + 10 * k, 110 + 10 * k) if not named else (105 + 10 * k, 110 + 10 * k)
        ids: dict[str, object] = {
            "first_id": first,
            "final_id": final,
            "prev_id": 100 + 10 * k if named else 0,
            "is_snapshot": False,
        }
        rows += [{"side": side, "price": p + k % 3, "qty": 0.5, **ids} for side, p in (("b", 90.0), ("a", 110.0))]
    times = [NOON + dt.timedelta(milliseconds=100 * (k // 2)) for k in range(len(rows))]
    return pl.DataFrame(rows).with_columns(ts=pl.Series(times))


def planted(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    at = pl.int_range(pl.len()) == row
    return frame.with_columns(pl.when(at).then(pl.lit(v)).otherwise(name).alias(name) for name, v in values.items())


@pytest.mark.parametrize("kind", [TRADES, QUOTES, DEPTH])
def test_clean_ticks_have_no_faults(kind: Kind, trades: MakeTrades) -> None:
    frames = {"trades": [trades(500)], "quotes": [quotes()], "depth": [depth(True), depth(False)]}
    for frame in frames[kind.name]:
        report = check(typed(frame, kind), kind)
        assert (report.counts, report.rows) == ({}, len(frame))


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"ts": NOON - dt.timedelta(days=30)}, "disorder"),
        ({"ts": None}, "no_time"),
        ({"price": None}, "no_price"),
        ({"price": float("nan")}, "no_price"),
        ({"price": float("inf")}, "no_price"),
        ({"price": 0.0}, "non_positive_price"),
        ({"qty": 0.0}, "bad_quantity"),
        ({"qty": None}, "no_quantity"),
        ({"trade_id": None}, "no_id"),
        ({"trade_id": 1_099}, "duplicate"),
    ],
)
def test_a_fault_in_trades_is_found(values: dict[str, object], fault: str, trades: MakeTrades) -> None:
    report = check(typed(planted(trades(500), 100, **values), TRADES), TRADES)
    expected = {fault: 1, "id_gap": 1} if fault == "duplicate" else {fault: 1}
    assert report.counts == expected
    assert [f.row for f in report.findings if f.fault == fault] == [100]
    assert report.n_errors == 1


def test_missing_trades_are_counted(trades: MakeTrades) -> None:
    made = trades(500)
    report = check(typed(pl.concat([made[:100], made[103:200], made[210:]]), TRADES), TRADES)
    assert (report.counts, report.missing, report.n_errors) == ({"id_gap": 2}, 13, 0)
    assert report.findings[0].message == "trade_id 1103 after 1099: trades are missing"
    swapped = pl.concat([made[:100], made[101:102], made[100:101], made[102:]]).with_columns(ts=made["ts"])
    assert check(typed(swapped, TRADES), TRADES).counts["id_disorder"] == 1


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"bid": 101.0}, "crossed"),
        ({"bid": 102.0}, "crossed"),
        ({"ask": -1.0}, "non_positive_price"),
        ({"ask": None}, "no_price"),
        ({"bid_qty": -1.0}, "bad_quantity"),
        ({"ask_qty": float("nan")}, "no_quantity"),
        ({"update_id": 32}, "duplicate"),
        ({"update_id": 1}, "id_disorder"),
        ({"update_id": None}, "no_id"),
        ({"ts": NOON - dt.timedelta(seconds=1)}, "disorder"),
        ({"ts": None}, "no_time"),
    ],
)
def test_a_fault_in_quotes_is_found(values: dict[str, object], fault: str) -> None:
    report = check(typed(planted(quotes(), 10, **values), QUOTES), QUOTES)
    assert report.counts[fault] == 1
    assert next(f.row for f in report.findings if f.fault == fault) == 10


@pytest.mark.parametrize("named", [True, False])
def test_a_missing_update_is_a_gap(named: bool) -> None:
    made = depth(named)
    report = check(typed(pl.concat([made[:12], made[14:]]), DEPTH), DEPTH)
    assert report.counts == {"id_gap": 1}
    assert report.findings[0].row == 12
    unjoined = check(typed(pl.concat([made[:2], made[4:]]), DEPTH), DEPTH)
    assert unjoined.counts == {"snapshot_gap": 1}


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"side": None}, "no_side"),
        ({"price": 0.0}, "non_positive_price"),
        ({"qty": -0.5}, "bad_quantity"),
        ({"ts": None}, "no_time"),
        ({"first_id": None, "final_id": None}, "no_id"),
    ],
)
def test_a_fault_in_depth_is_found(values: dict[str, object], fault: str) -> None:
    report = check(typed(planted(depth(False), 13, **values), DEPTH), DEPTH)
    assert report.counts[fault] == 1
    assert next(f.row for f in report.findings if f.fault == fault) == 13


@pytest.mark.parametrize("named", [True, False])
def test_updates_that_come_again_or_go_back_are_errors(named: bool) -> None:
    made = depth(named)
    again = check(typed(pl.concat([made[:12], made[10:]]), DEPTH), DEPTH)
    assert again.counts == {"duplicate": 2}
    back = check(typed(pl.concat([made[:12], made[14:16], made[12:14], made[16:]]), DEPTH), DEPTH)
    assert back.counts["id_disorder"] == 1
    assert back.counts["disorder"] == 1


def test_findings_are_limited_and_counts_are_not(trades: MakeTrades) -> None:
    report = check(typed(trades(500).with_columns(qty=pl.lit(0.0)), TRADES), TRADES, limit=3)
    assert (len(report.findings), report.counts) == (3, {"bad_quantity": 500})


def test_every_fault_is_an_error_or_a_warning() -> None:
    assert not set(ERRORS) & set(WARNINGS)
    assert set(KINDS) == {"trades", "quotes", "depth"}
