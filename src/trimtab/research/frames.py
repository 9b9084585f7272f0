"""The tables of a run as Polars frames, with words in place of codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.research.trips import Trips, entry_notional, holding_days
from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.rules.orders import REASONS
from trimtab.sim.simulate import Result
from trimtab.types import DAY, F64, I64, ORDER_KINDS, ORDER_STATUSES, TIFS, Panel

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.allocation import Split


def time_column(values: Any) -> Any:
    import polars as pl

    series = pl.Series(np.ascontiguousarray(values)).cast(pl.Datetime("ns", "UTC"))
    absent = series.to_physical() == 0
    return series.set(absent, None) if absent.any() else series


def _days(closes: I64) -> Any:
    """The days that bars lie in, by their closes (see words.day_of): what is booked at an open is of that bar too."""
    import polars as pl

    return pl.Series((closes - 1) // DAY).cast(pl.Int32).cast(pl.Date)


def _words(names: Sequence[str], codes: Any) -> Any:
    import polars as pl

    return pl.Series(list(names), dtype=pl.String).gather(np.ascontiguousarray(codes))


def _symbols(panel: Panel, codes: Any, missing: str = "") -> Any:
    return _words((*panel.symbols, missing), codes)  # -1 is the last: the whole book


def equity(values: F64, ts: I64, capital: float, paid: F64 | None) -> pl.DataFrame:
    """ts, equity, drawdown (fraction <= 0 of the highest so far, the capital included), paid where anything was.

    paid  (T,) net cash paid in at each close: the peak moves with it; None: none
    """
    import polars as pl

    if paid is None:
        peak = np.maximum(values, capital)
        np.maximum.accumulate(peak, out=peak)
    else:
        brought = np.cumsum(paid)
        peak = np.maximum.accumulate(np.maximum(values - brought, capital)) + brought if len(values) else values
    depth = values / peak
    depth -= 1.0
    del peak  # a million bars: what is kept here counts eightfold
    table = pl.DataFrame({"ts": time_column(ts), "equity": values, "drawdown": depth})
    return table if paid is None or not paid.any() else table.with_columns(paid=pl.Series(paid))


def orders(result: Result, panel: Panel) -> pl.DataFrame:
    """One row per order, in order of id."""
    import polars as pl

    o = result.orders[np.argsort(result.orders["order_id"], kind="stable")]
    return pl.DataFrame(
        {
            "order_id": o["order_id"],
            "ts": time_column(o["ts"]),
            "symbol": _symbols(panel, o["instrument"]),
            "kind": _words(ORDER_KINDS, o["kind"]),
            "lots": o["lots"],
            "filled": o["filled"],
            "limit_price": o["limit_price"],
            "stop_price": o["stop_price"],
            "tif": _words(TIFS, o["tif"]),
            "post_only": o["post_only"] == 1,
            "reduce_only": o["reduce_only"] == 1,
            "parent": o["parent"],
            "status": _words(ORDER_STATUSES, o["status"]),
            "reason": _words(REASONS, o["reason"]),
            "waited": _words(REASONS, o["waited"]),
            "done_ts": time_column(o["done_ts"]),
        }
    )


def fills(result: Result, panel: Panel) -> pl.DataFrame:
    """One row per fill, in order of time; costs by kind are money, positive = paid."""
    import polars as pl

    f = result.fills
    sizes = np.array([i.lot_size for i in panel.instruments])
    return pl.DataFrame(
        {
            "fill_id": f["fill_id"],
            "order_id": f["order_id"],
            "ts": time_column(f["ts"]),
            "symbol": _symbols(panel, f["instrument"]),
            "lots": f["lots"],
            "quantity": f["lots"] * sizes[f["instrument"]],
            "price": f["price"],
            "fee": f["fee"],
            "maker": f["maker"] == 1,
            "mid": f["mid"],
            **{name: f[name] for name in ("spread", "slippage", "impact", "latency", "realised")},
            "position": f["position"],
            "crossed_lots": f["crossed"],
        }
    )


def trades(trips: Trips, unit: F64, panel: Panel, models: Sequence[str]) -> pl.DataFrame:
    """Round trips: of the book (model "") and of each model; open ones have no exit and no pnl yet."""
    import polars as pl

    sizes = np.array([i.lot_size for i in panel.instruments])
    parts: list[pl.DataFrame] = []
    for name, t in zip(("", *models), (trips.book, *trips.models), strict=True):
        closed = t["open"] == 0
        pnl = np.where(closed, t["pnl"], np.nan)
        parts.append(
            pl.DataFrame(
                {
                    "model": pl.Series([name], dtype=pl.String).new_from_index(0, len(t)),
                    "symbol": _symbols(panel, t["instrument"]),
                    "side": _words(("short", "long"), (t["lots"] > 0).astype(np.int64)),
                    "entry_ts": time_column(t["entry_ts"]),
                    "exit_ts": time_column(np.where(closed, t["exit_ts"], 0)),
                    "quantity": np.abs(t["lots"]) * sizes[t["instrument"]],
                    "entry_price": t["entry_price"],
                    "exit_price": np.where(closed, t["exit_price"], np.nan),
                    "pnl": pnl,
                    "return": pnl / entry_notional(t, unit),
                    "fees": t["fees"],
                    "costs": t["costs"],
                    "holding_days": np.where(closed, holding_days(t), np.nan),
                    "open": ~closed,
                }
            )
        )
    return pl.concat(parts)


def weights(result: Result, panel: Panel, marks: F64) -> pl.DataFrame:
    """ts and, per symbol, notional over equity at day ends, from the fills and marks (D, N) in base currency."""
    import polars as pl

    n = len(panel.instruments)
    lots = np.zeros((len(result.sample), n))
    for i in range(n):
        mine = result.fills[result.fills["instrument"] == i]
        at = np.searchsorted(mine["row"], result.sample, side="right")
        lots[:, i] = np.concatenate(([0.0], mine["position"].astype(np.float64)))[at]
    notional = lots * result.book.unit * marks
    table: dict[str, Any] = {"ts": time_column(panel.ts[result.sample])}
    for i, symbol in enumerate(panel.symbols):
        table[symbol] = notional[:, i] / result.curve[:, 0]
    return pl.DataFrame(table)


def shares(splits: Sequence[Split], panel: Panel, models: Sequence[str]) -> pl.DataFrame:
    """ts, model, name, share: one row per look of an allocator and part; model "" is the book's own."""
    import polars as pl

    parts = [
        pl.DataFrame(
            schema={"ts": pl.Datetime("ns", "UTC"), "model": pl.String, "name": pl.String, "share": pl.Float64}
        )
    ]
    for split in splits:
        looks, count = split.share.shape
        names = split.names(models, panel.symbols)
        parts.append(
            pl.DataFrame(
                {
                    "ts": time_column(np.repeat(panel.ts[split.row], count)),
                    "model": _words((*models, ""), np.full(looks * count, split.model)),
                    "name": _words(names, np.arange(looks * count) % count),
                    "share": split.share.ravel(),
                }
            )
        )
    return pl.concat(parts)


def actions(
    result: Result,
    panel: Panel,
    models: Sequence[str],
    refused: Sequence[tuple[int, str, str, str]] = (),
    rules: Sequence[str] = (),
) -> pl.DataFrame:
    """One row per thing that a limit did; symbol "" is the whole book, model "" all models; day: that its bar lies in.

    refused  instants at which a fit or an allocator refused its window: ts, which of them, the model's name, and what
             was done instead
    rules    names of the user's own limits, which count on after ours
    """
    import polars as pl

    a = result.actions
    acts = pl.DataFrame(
        {
            "day": _days(panel.ts[a["row"]]),
            "ts": time_column(a["ts"]),
            "limit": _words((*LIMIT_NAMES, *rules), a["limit"]),
            "symbol": _symbols(panel, a["instrument"]),
            "model": _words((*models, ""), a["model"]),
            "wanted": a["wanted"],
            "allowed": a["allowed"],
            "action": _words(ACTIONS, a["action"]),
        }
    )
    if not refused:
        return acts
    ts, what, model, done = zip(*refused, strict=True)
    told = {
        "day": _days(np.array(ts, np.int64)),
        "ts": time_column(np.array(ts, np.int64)),
        "limit": what,
        "symbol": [""] * len(refused),
        "model": model,
        "wanted": [np.nan] * len(refused),
        "allowed": [np.nan] * len(refused),
        "action": done,
    }
    return pl.concat((acts, pl.DataFrame(told))).sort("ts", maintain_order=True)
