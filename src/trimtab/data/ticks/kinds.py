"""The three kinds of ticks: their columns, what tells them apart, and the order that their rows are kept in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from trimtab.types import TrimtabError
from trimtab.words import near

if TYPE_CHECKING:
    import polars as pl


class Kind(NamedTuple):
    """One kind of ticks.

    columns  name -> what it holds (`TYPES`), as stored
    needed   columns that a file must have; the others are empty where it does not
    order    what rows are kept in the order of; the first of them counts up, and says what an overlap of two files is
    """

    name: str
    columns: dict[str, str]
    needed: tuple[str, ...]
    order: tuple[str, ...]


_TIMES: Final = {"ts": "instant", "ts_local": "arrival"}

TRADES: Final = Kind(
    "trades",
    {**_TIMES, "price": "number", "qty": "number", "is_buyer_maker": "truth", "trade_id": "id"},
    ("ts", "price", "qty", "trade_id"),
    ("trade_id",),
)
QUOTES: Final = Kind(
    "quotes",
    {**_TIMES, "bid": "number", "bid_qty": "number", "ask": "number", "ask_qty": "number", "update_id": "id"},
    ("bid", "bid_qty", "ask", "ask_qty", "update_id"),
    ("update_id",),
)
DEPTH: Final = Kind(
    "depth",
    {
        **_TIMES, "side": "side", "price": "number", "qty": "number", "first_id": "id", "final_id": "id",
        "prev_id": "id", "is_snapshot": "truth",
    },
    ("side", "price", "qty", "first_id", "final_id", "is_snapshot"),
    ("final_id", "is_update"),  # a snapshot stands before the update that it is joined by
)  # fmt: skip

KINDS: Final = {kind.name: kind for kind in (TRADES, QUOTES, DEPTH)}
#: What a column that belongs to one kind only says about a file.
_TELLING: Final = {"trade_id": TRADES, "ask_qty": QUOTES, "final_id": DEPTH}


def kind_named(name: str) -> Kind:
    """The kind of a name; unknown: TrimtabError."""
    if name in KINDS:
        return KINDS[name]
    raise TrimtabError(f"unknown kind of ticks {name!r}{near(name, KINDS)}; expected one of {', '.join(KINDS)}")


def kind_of(columns: Iterable[str], where: str) -> Kind:
    """The kind of a file with these columns; TrimtabError where it is none, or lacks a column."""
    found = list(columns)
    kind = next((kind for column, kind in _TELLING.items() if column in found), None)
    if kind is None:
        expected = "; ".join(f"{kind.name}: {', '.join(kind.needed)}" for kind in KINDS.values())
        raise TrimtabError(f"{where}: no kind of ticks has the columns {', '.join(found)}. Expected {expected}")
    missing = [name for name in kind.needed if name not in found]
    if missing:
        raise TrimtabError(f"{where}: {kind.name} without {', '.join(missing)}; the file has {', '.join(found)}")
    if "ts" not in found and "ts_local" not in found:
        raise TrimtabError(f"{where}: {kind.name} without an instant: expected ts (the exchange's) or ts_local")
    return kind


def types() -> dict[str, pl.DataType]:
    """What a column holds -> its type in the store."""
    import polars as pl

    return {
        "instant": pl.Datetime("us", "UTC"),
        "arrival": pl.Datetime("ns", "UTC"),
        "number": pl.Float64(),
        "truth": pl.Boolean(),
        "id": pl.Int64(),
        "side": pl.String(),
    }


def schema_of(kind: Kind) -> dict[str, pl.DataType]:
    """The stored columns of a kind with their types."""
    known = types()
    return {name: known[holds] for name, holds in kind.columns.items()}


def instants() -> pl.Expr:
    """When a row was: by the exchange's clock, else (nothing better is known) by the receiver's; us, UTC."""
    import polars as pl

    return pl.coalesce("ts", pl.col("ts_local").dt.cast_time_unit("us"))


def in_order(frame: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Rows as they are kept; those of one update stay as they came."""
    import polars as pl

    by = [~pl.col("is_snapshot") if name == "is_update" else pl.col(name) for name in kind.order]
    first = kind.order[0]
    if len(by) == 1 and frame[first].is_sorted():
        return frame
    return frame.sort(by, maintain_order=True)
