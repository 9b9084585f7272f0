"""What two runs are compared by: their bundles read, held against each other, and the window that both have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trimtab.research.bundle import found_bundle, read_summary, read_table
from trimtab.types import F64, I64, TrimtabError
from trimtab.words import utc


class Side(NamedTuple):
    """A run read from its bundle; times ns UTC. F fills (internal crossings left out), T rows, D day ends.

    fills    order id -> its fills in order, as dicts; orders: id -> order, as dicts
    rows     (T,) instants, equity (T,) at each, paid (T,) cumulative cash paid in
    marks    symbol -> day ends (D,), mark, rate and fingerprint of the day's bars
    acts     (ts, symbol, limit) of what limits did
    """

    name: str
    summary: dict[str, Any]
    spec: dict[str, Any]
    orders: dict[int, dict[str, Any]]
    fills: list[dict[str, Any]]
    rows: I64
    equity: F64
    paid: F64
    marks: dict[str, tuple[I64, F64, F64, Any]]
    acts: set[tuple[int, str, str]]

    @property
    def capital(self) -> float:
        return float(self.summary["metrics"]["capital"])


def read_side(path: Path) -> Side:
    """A bundle as what is compared of it."""
    import polars as pl
    import yaml

    bundle = found_bundle(path)
    summary = read_summary(bundle)
    tables = {n: _in_ns(read_table(bundle, n)) for n in ("equity", "orders", "fills", "slippage", "marks", "actions")}
    equity = tables["equity"]
    if not equity.height:
        raise TrimtabError(f"{bundle}: the run has no bar, so there is nothing to compare")
    paid = equity["paid"].to_numpy().cumsum() if "paid" in equity.columns else np.zeros(equity.height)
    fills = tables["fills"].filter(pl.col("lots") != 0)
    more = tables["slippage"].select("fill_id", "bar_ts", "decision_ts", "decision_bar", "bar")
    try:
        spec: dict[str, Any] = yaml.safe_load((bundle / "spec.yaml").read_text(encoding="utf-8"))
        marks: dict[str, Any] = {
            str(symbol): tuple(part[name].to_numpy() for name in ("ts", "mark", "rate", "bars"))
            for (symbol,), part in tables["marks"].group_by("symbol", maintain_order=True)
        }
    except (OSError, yaml.YAMLError) as error:
        raise TrimtabError(f"{bundle}/spec.yaml: cannot be read ({error})") from None
    orders = {row["order_id"]: row for row in tables["orders"].iter_rows(named=True)}
    found = fills.join(more, on="fill_id", how="left", maintain_order="left").to_dicts()
    for fill in found:
        if fill["bar_ts"] is None:  # new shares of a split: nobody traded, at the open
            fill |= {"bar_ts": fill["ts"], "decision_bar": 0, "bar": 0}
        if fill["order_id"] not in orders:  # what a venue did by itself is an order of its own
            fill["order_id"], fill["decision_ts"] = -fill["fill_id"], fill["ts"]
            own = ("order_id", "ts", "symbol", "lots")
            told = {"kind": "", "filled": fill["lots"], "status": "FILLED", "reason": "", "waited": ""}
            orders[fill["order_id"]] = {name: fill[name] for name in own} | told
    return Side(
        str(bundle.with_name(bundle.name[:16]) if len(bundle.name) == 64 else bundle),  # as people are shown it
        summary,
        spec,
        orders,
        found,
        equity["ts"].to_numpy(),
        equity["equity"].to_numpy(),
        paid,
        marks,
        set(tables["actions"].select("ts", "symbol", "limit").iter_rows()),
    )


def _in_ns(table: Any) -> Any:
    """A table with its instants as integers, ns UTC."""
    import polars as pl

    return table.with_columns(pl.col(pl.Datetime).dt.epoch("ns"))


def check_comparable(a: Side, b: Side) -> None:
    """TrimtabError where money or lots of the two runs are not of one kind."""
    money = [side.summary["metrics"]["currency"] for side in (a, b)]
    if money[0] != money[1]:
        raise TrimtabError(f"{a.name} is in {money[0]}, {b.name} in {money[1]}: expected one base currency")
    others = {i["symbol"]: i for i in b.summary["instruments"]}
    shared = [i for i in a.summary["instruments"] if i["symbol"] in others]
    if not shared:
        raise TrimtabError(f"{a.name} and {b.name} have no instrument in common: expected two runs of one book")
    for instrument in shared:
        for name in ("lot_size", "multiplier", "quote"):
            this, other = instrument.get(name), others[instrument["symbol"]].get(name)
            if this != other:
                raise TrimtabError(
                    f"{instrument['symbol']}: its {name} is {this} in {a.name} and {other} in {b.name}, so their lots "
                    "cannot be compared: run both with one catalogue"
                )


class Window(NamedTuple):
    """What is compared: after `start` (None: from the capital on), up to and with `end`; whole: all of both runs."""

    start: int | None
    first: int
    end: int
    whole: bool


def window_of(a: Side, b: Side) -> Window:
    """What both runs have: all, or from a day end of both to another; TrimtabError where there is nothing."""
    begin, close = max(a.rows[0], b.rows[0]), min(a.rows[-1], b.rows[-1])
    if begin > close:
        raise TrimtabError(
            f"{a.name} ({utc(int(a.rows[0]))} to {utc(int(a.rows[-1]))}) and {b.name} ({utc(int(b.rows[0]))} to "
            f"{utc(int(b.rows[-1]))}) do not overlap: expected two runs of one window"
        )
    together, ends = a.rows[0] == b.rows[0], a.rows[-1] == b.rows[-1]
    days = np.intersect1d(_day_ends(a), _day_ends(b))
    days = days[(days >= begin) & (days <= close)]
    start = None if together else (int(days[0]) if len(days) else None)
    last = int(close) if ends else (int(days[-1]) if len(days) else -1)
    if last < 0 or (start is None and not together) or (start is not None and start >= last):
        raise TrimtabError(
            f"{a.name} and {b.name} have less than two day ends in common, from {utc(int(begin))} to "
            f"{utc(int(close))}: expected runs whose windows overlap by two days or more"
        )
    return Window(start, start if start is not None else int(begin), last, bool(together and ends))


def _day_ends(side: Side) -> I64:
    return next(iter(side.marks.values()))[0]
