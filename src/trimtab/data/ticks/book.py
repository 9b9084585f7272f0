"""The order book rebuilt from depth updates, and how it agrees with the best quotes that the venue sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trimtab.data.store import Store
from trimtab.data.ticks.checks import TickReport, found_at, merged
from trimtab.data.ticks.days import days, read_day
from trimtab.data.ticks.kinds import DEPTH, QUOTES, instants
from trimtab.types import Instrument

if TYPE_CHECKING:
    import polars as pl


class BookReport(NamedTuple):
    """Updates of all stored days; those after which the book is known; of these, those with a quote to compare, and
    how many agree with it in both prices, and in both prices and quantities. faults: crossed books, disagreement."""

    updates: int
    known: int
    compared: int
    prices: int
    quantities: int
    faults: TickReport


def rebuilt(depth: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The best bid and ask after each update, and the book at the end as a snapshot's rows.

    depth  columns of depth in the order of their ids; what stands before the first snapshot is not known

    -> ts, ts_local, final_id, bid, bid_qty, ask, ask_qty, one row per update or snapshot (null: not known, or none)
    """
    import polars as pl

    from trimtab.data.ticks.folds import fold_book

    prices, rank = np.unique(depth["price"].to_numpy(), return_inverse=True)
    rows = len(depth)
    ids = depth.select("first_id", "final_id", pl.col("prev_id").fill_null(0)).to_numpy().astype(np.int64)
    ids = np.ascontiguousarray(ids)
    bids = (depth["side"] == "b").to_numpy()
    sizes = np.zeros((2, max(len(prices), 1)))
    best, size = np.full((rows, 2), -1, np.int64), np.full((rows, 2), np.nan)
    snapshots = np.ascontiguousarray(depth["is_snapshot"].to_numpy())
    quantities = np.array(depth["qty"].to_numpy())
    fold_book(ids, snapshots, np.ascontiguousarray(bids), rank.astype(np.int64), quantities, sizes, best, size)
    last = pl.col("final_id") != pl.col("final_id").shift(-1)
    ends = (last | (pl.col("is_snapshot") != pl.col("is_snapshot").shift(-1))).fill_null(True)
    known = prices if len(prices) else np.zeros(1)
    tops = {
        name: pl.Series(np.where(best[:, side] >= 0, known[best[:, side]], np.nan)).fill_nan(None)
        for side, name in enumerate(("bid", "ask"))
    }
    amounts = {f"{name}_qty": pl.Series(size[:, side]).fill_nan(None) for side, name in enumerate(("bid", "ask"))}
    columns = [tops["bid"].alias("bid"), amounts["bid_qty"].alias("bid_qty"), tops["ask"].alias("ask")]
    columns.append(amounts["ask_qty"].alias("ask_qty"))
    book = (
        depth.select("ts", "ts_local", "final_id", "is_snapshot")
        .with_columns(columns)
        .filter(depth.select(ends).to_series())
    )
    return book, _standing(depth, known, sizes)


def _standing(depth: pl.DataFrame, prices: np.ndarray, sizes: np.ndarray) -> pl.DataFrame:
    """What stands in the book at the end, as rows of a snapshot that the next update joins."""
    import polars as pl

    parts = [
        pl.DataFrame({"side": side, "price": prices[sizes[k] > 0.0], "qty": sizes[k][sizes[k] > 0.0]})
        for k, side in enumerate("ba")
    ]
    last = depth["final_id"].max()
    level = pl.concat(parts).with_columns(
        ts=pl.lit(None, depth.schema["ts"]), ts_local=pl.lit(None, depth.schema["ts_local"]), first_id=pl.lit(last),
        final_id=pl.lit(last), prev_id=pl.lit(0, pl.Int64), is_snapshot=pl.lit(True),
    )  # fmt: skip
    return level.select(depth.columns).cast(depth.schema)


def books(store: Store, instrument: Instrument) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """The best bid and ask after each update, by stored day; the book goes on from one day to the next."""
    import polars as pl

    carried: pl.DataFrame | None = None
    for day in days(store, instrument, DEPTH):
        depth = read_day(store, instrument, DEPTH, day)
        whole = depth if carried is None else pl.concat([carried, depth])
        book, carried = rebuilt(whole)
        yield day, book.filter(instants().is_not_null())  # without the snapshot that was carried


def check_book(store: Store, instrument: Instrument, *, limit: int = 20) -> BookReport:
    """Whether the book rebuilt from depth is crossed, and how it agrees with the quotes where both are stored.

    A quote stands from its update_id to the next one's, and is compared after each update that ends in between.
    """
    import polars as pl

    quoted = set(days(store, instrument, QUOTES))
    updates = known = compared = prices = quantities = 0
    reports: list[TickReport] = []
    at = instants().dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").alias("at")
    for day, book in books(store, instrument):
        book = book.with_row_index("row").with_columns(at)
        changed = book.filter(~pl.col("is_snapshot"))
        there = pl.col("bid").is_not_null() & pl.col("ask").is_not_null()
        updates, known = updates + len(changed), known + len(changed.filter(there))
        crossed = changed.filter(pl.col("bid") >= pl.col("ask"))
        reports.append(found_at(
            "crossed_book", crossed.head(limit).to_dicts(), len(crossed),
            "after update {final_id} bid {bid:.10g} at or above ask {ask:.10g}",
        ))  # fmt: skip
        if day not in quoted:
            continue
        quotes = read_day(store, instrument, QUOTES, day)
        pair = _beside(changed.filter(there), quotes)
        same = (pl.col("bid") == pl.col("q_bid")) & (pl.col("ask") == pl.col("q_ask"))
        sizes = same & (pl.col("bid_qty") == pl.col("q_bid_qty")) & (pl.col("ask_qty") == pl.col("q_ask_qty"))
        counts = pair.select(same.sum().alias("prices"), sizes.sum().alias("quantities")).row(0)
        compared, prices, quantities = compared + len(pair), prices + counts[0], quantities + counts[1]
        odd = pair.filter(~sizes)
        reports.append(found_at(
            "disagreement", odd.head(limit).to_dicts(), len(odd),
            f"after update {{final_id}} the book has {_top('')}, the quote {_top('q_')}",
        ))  # fmt: skip
    if updates and not known:
        where = [{"row": 0, "at": None}]
        reports.append(found_at("no_snapshot", where, 1, "no snapshot that updates join: the book is not known"))
    return BookReport(updates, known, compared, prices, quantities, merged(reports))


def _beside(book: pl.DataFrame, quotes: pl.DataFrame) -> pl.DataFrame:
    """After each update the quote that stood then; updates after the last quote are left out."""
    import polars as pl

    names = ("bid", "bid_qty", "ask", "ask_qty")
    said = quotes.select("update_id", *(pl.col(name).alias(f"q_{name}") for name in names))
    pairs = book.join_asof(said, left_on="final_id", right_on="update_id", strategy="backward", check_sortedness=False)
    last = quotes["update_id"].max()
    return pairs.filter(pl.col("update_id").is_not_null() & (pl.col("final_id") <= last))


def _top(prefix: str) -> str:
    """How a best bid and ask are said: a format of their columns."""
    names = ("bid_qty", "bid", "ask_qty", "ask")
    return "{{{}:.10g}} @ {{{}:.10g}} / {{{}:.10g}} @ {{{}:.10g}}".format(*(prefix + name for name in names))
