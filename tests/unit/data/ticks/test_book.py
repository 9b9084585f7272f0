"""The book rebuilt from depth against a book in plain Python, and against quotes that say the same."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data.store import Store
from trimtab.data.ticks.book import books, check_book
from trimtab.data.ticks.importing import import_ticks
from trimtab.data.ticks.kinds import DEPTH
from trimtab.data.ticks.validating import validate_ticks
from trimtab.types import Instrument

Saved = Callable[..., Path]
BEGIN = dt.datetime(2024, 3, 4, 23, 59, 30, tzinfo=dt.UTC)
Tops = list[tuple[float | None, float | None]]


def market(
    n: int, seed: int, snapshots: tuple[int, ...] = (5,), named: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """n updates (100 ms each) of a book that never crosses, with snapshots that arrive three updates late; its quotes.

    named  updates name the end of the one before, and their ids are not contiguous
    """
    rng = np.random.default_rng(seed)
    levels: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    rows: list[dict[str, object]] = []
    tops: list[dict[str, object]] = []
    late: list[tuple[int, list[dict[str, object]]]] = []
    mid, last = 1_000, 100
    for k in range(n):
        ts = BEGIN + dt.timedelta(milliseconds=100 * k)
        first = last + 1 + (int(rng.integers(0, 5)) if named else 0)
        final = first + int(rng.integers(0, 9))
        ids = {"first_id": first, "final_id": final, "prev_id": last if named else 0, "is_snapshot": False}
        mid += int(rng.integers(-2, 3))
        wanted: dict[tuple[str, float], float] = {}
        for side, sign in (("b", -1), ("a", 1)):
            gone = [p for p in levels[side] if (p - mid / 10) * sign <= 0]
            wanted |= {(side, p): 0.0 for p in gone}
            for step in rng.choice(np.arange(1, 15), 4, replace=False):
                wanted[side, round((mid + sign * int(step)) / 10, 1)] = round(float(rng.integers(0, 4)) * 0.1, 1)
        for (side, price), qty in wanted.items():
            levels[side][price] = qty
            if not qty:
                del levels[side][price]
            rows.append({"ts": ts, "side": side, "price": price, "qty": qty, **ids})
        bid, ask = max(levels["b"], default=None), min(levels["a"], default=None)
        if bid is not None and ask is not None:
            sizes = {"bid_qty": levels["b"][bid], "ask_qty": levels["a"][ask]}
            tops.append({"ts": ts, "bid": bid, "ask": ask, **sizes, "update_id": final})
        if k in snapshots:
            taken = {"first_id": final, "final_id": final, "prev_id": 0, "is_snapshot": True}
            late.append((k + 3, [{"ts": None, "side": s, "price": p, "qty": q, **taken} for s in "ba"
                                 for p, q in levels[s].items()]))  # fmt: skip
        for due, snapshot in late:
            if due == k:
                rows += [{**row, "ts": ts} for row in snapshot]
        last = final
    return pl.DataFrame(rows, infer_schema_length=None), pl.DataFrame(tops)


def plain_book(depth: pl.DataFrame) -> dict[int, tuple[float | None, float | None]]:
    """final_id -> best bid and ask, by the venue's own rules: buffer, take the snapshot, drop what is older, go on."""
    updates: dict[int, list[dict[str, object]]] = {}
    snapshots: dict[int, list[dict[str, object]]] = {}
    for row in depth.to_dicts():
        (snapshots if row["is_snapshot"] else updates).setdefault(row["final_id"], []).append(row)
    tops: dict[int, tuple[float | None, float | None]] = {}
    start = min(snapshots)
    book: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    for row in snapshots[start]:
        book[str(row["side"])][row["price"]] = row["qty"]  # type: ignore[index, assignment]
    for final, rows in updates.items():
        if final >= start:
            for row in rows:
                book[str(row["side"])][row["price"]] = row["qty"]  # type: ignore[index, assignment]
            bids, asks = ([p for p, q in book[s].items() if q > 0] for s in "ba")
            tops[final] = (max(bids, default=None), min(asks, default=None))
    return tops


def imported(store: Store, coin: Instrument, saved: Saved, depth: pl.DataFrame, quotes: pl.DataFrame | None) -> None:
    for name, frame in (("depth", depth), ("quotes", quotes)):
        if frame is not None:
            done = import_ticks(store, saved(frame, name), coin)
            assert done.refused == {}


def tops_of(store: Store, coin: Instrument) -> dict[int, tuple[float | None, float | None]]:
    whole = pl.concat(book for _, book in books(store, coin)).filter(~pl.col("is_snapshot"))
    return {row["final_id"]: (row["bid"], row["ask"]) for row in whole.to_dicts()}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_book_equals_a_plain_one_over_midnight(
    seed: int, named: bool, store: Store, coin: Instrument, saved: Saved
) -> None:
    depth, quotes = market(600, seed, named=named)  # a minute: half of it on the next day
    imported(store, coin, saved, depth, quotes)
    found, expected = tops_of(store, coin), plain_book(depth)
    assert len(expected) == 595  # the one that ends with the snapshot, and all behind it
    assert {final: top for final, top in found.items() if final in expected} == expected
    assert all(top == (None, None) for final, top in found.items() if final not in expected)
    report = check_book(store, coin)
    assert report.updates == 600
    assert report.prices == report.quantities == report.compared > 500
    assert report.faults.counts == {}


def test_after_a_gap_the_book_is_unknown_until_the_next_snapshot(store: Store, coin: Instrument, saved: Saved) -> None:
    depth, quotes = market(200, 3, snapshots=(5, 120))
    ends = depth.filter(~pl.col("is_snapshot"))["final_id"].unique(maintain_order=True)
    imported(store, coin, saved, depth.filter(pl.col("final_id") != ends[60]), quotes)
    found = tops_of(store, coin)
    known = [k for k, final in enumerate(ends) if found.get(final, (None, None)) != (None, None)]
    assert known == [*range(known[0], 60), *range(known[known.index(59) + 1], 200)]
    assert 119 <= known[known.index(59) + 1] <= 121
    report = check_book(store, coin)
    assert report.prices == report.compared
    assert validate_ticks(store, coin, DEPTH).counts == {"id_gap": 1}


def test_a_crossed_book_and_a_quote_that_differs_are_found(store: Store, coin: Instrument, saved: Saved) -> None:
    depth, quotes = market(100, 4)
    ends = depth.filter(~pl.col("is_snapshot"))["final_id"].unique(maintain_order=True)
    ghost = pl.DataFrame({**depth.filter(pl.col("final_id") == ends[50]).row(0, named=True)}, schema=depth.schema)
    ghost = ghost.with_columns(side=pl.lit("b"), price=pl.lit(500.0), qty=pl.lit(1.0))
    before = depth.filter(pl.col("final_id") <= ends[50])
    imported(store, coin, saved, pl.concat([before, ghost, depth.filter(pl.col("final_id") > ends[50])]), quotes)
    report = check_book(store, coin, limit=2)
    assert report.faults.counts == {"crossed_book": 50, "disagreement": 50}
    assert report.faults.findings[0].message.startswith(f"after update {ends[50]} bid 500 at or above ask")
    assert report.faults.n_errors == report.faults.counts["crossed_book"]


def test_without_a_snapshot_the_book_is_not_known(store: Store, coin: Instrument, saved: Saved) -> None:
    depth, quotes = market(50, 5, snapshots=())
    imported(store, coin, saved, depth, quotes)
    report = check_book(store, coin)
    assert (report.known, report.compared, report.faults.counts) == (0, 0, {"no_snapshot": 1})
