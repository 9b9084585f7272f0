"""What is wrong with ticks of one day, listed and never repaired.

Errors are what a venue cannot have sent in this order: such a day is refused. Warnings are facts: what is missing.
The rules of the ids of depth updates are Binance's, "How to manage a local order book correctly" in the documentation
of the spot and of the USD-margined futures' market streams (as of 2025): on spot an update begins at the id after the
last one's end; on futures it names the end of the update before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from trimtab.data.ticks.kinds import DEPTH, QUOTES, TRADES, Kind, instants
from trimtab.data.validation import Finding

if TYPE_CHECKING:
    import polars as pl

ERRORS: Final = (
    "no_time", "disorder", "no_id", "id_disorder", "duplicate", "no_price", "non_positive_price", "no_quantity",
    "bad_quantity", "no_side", "crossed", "crossed_book",
)  # fmt: skip
WARNINGS: Final = ("id_gap", "no_snapshot", "snapshot_gap", "disagreement")


class TickReport(msgspec.Struct, frozen=True):
    """Findings by fault, a limited number of each; `counts` holds all of them, `missing` the trades that gaps lack."""

    findings: tuple[Finding, ...] = ()
    counts: dict[str, int] = {}
    rows: int = 0
    missing: int = 0

    @property
    def n_errors(self) -> int:
        return sum(n for fault, n in self.counts.items() if fault in ERRORS)

    @property
    def n_warnings(self) -> int:
        return sum(n for fault, n in self.counts.items() if fault in WARNINGS)


class _Rule(NamedTuple):
    """A fault, where it is, and what to say of a row: a format of its columns, and of the row's before (`was_`…)."""

    fault: str
    where: pl.Expr
    say: str


def check(frame: pl.DataFrame, kind: Kind, *, limit: int = 20) -> TickReport:
    """Everything wrong with the ticks of a day: `row` and the columns of a kind, in the order given.

    limit  findings listed of each fault; the counts are complete
    """
    import polars as pl

    if kind is DEPTH:
        parts = [_found(frame, _depth_rules(), limit), *_update_faults(frame, limit)]
    else:
        rules = _trade_rules() if kind is TRADES else _quote_rules()
        parts = [_found(frame, rules, limit)]
    missing = 0
    if kind is TRADES and any("id_gap" in part.counts for part in parts):
        lost = (pl.col("trade_id").diff() - 1).clip(lower_bound=0).sum()
        missing = int(frame.select(lost).item() or 0)
    return msgspec.structs.replace(merged(parts), rows=len(frame), missing=missing)


def merged(parts: Iterable[TickReport]) -> TickReport:
    """Several reports as one."""
    findings: list[Finding] = []
    counts: dict[str, int] = {}
    rows = missing = 0
    for part in parts:
        findings += part.findings
        rows, missing = rows + part.rows, missing + part.missing
        for fault, n in part.counts.items():
            counts[fault] = counts.get(fault, 0) + n
    return TickReport(tuple(findings), counts, rows, missing)


def found_at(fault: str, rows: Iterable[dict[str, Any]], count: int, say: str) -> TickReport:
    """A report of one fault; `rows` (those that are listed) have `row` and `at`, the instant as text."""
    severity: Literal["error", "warning"] = "error" if fault in ERRORS else "warning"
    listed = tuple(Finding(fault, severity, r["row"], r["at"] or "no instant", say.format(**r)) for r in rows)
    return TickReport(listed, {fault: count} if count else {})


def _found(frame: pl.DataFrame, rules: list[_Rule], limit: int) -> TickReport:
    import polars as pl

    counts = frame.select(rule.where.sum().alias(str(k)) for k, rule in enumerate(rules)).row(0)
    parts: list[TickReport] = []
    for rule, n in zip(rules, counts, strict=True):
        if n:
            was = [pl.col(name).shift(1).alias(f"was_{name}") for name in frame.columns]
            at = instants().dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").alias("at")
            rows = frame.lazy().with_columns(at, *was).filter(rule.where).head(limit).collect()
            parts.append(found_at(rule.fault, rows.to_dicts(), n, rule.say))
    return merged(parts)


# --- rules -----------------------------------------------------------------------------------------------------------


def _times(required: str) -> list[_Rule]:
    import polars as pl

    missing = pl.col("ts").is_null() if required == "ts" else instants().is_null()
    return [
        _Rule("no_time", missing, "no instant"),
        _Rule("disorder", pl.col("ts") < pl.col("ts").shift(1), "the row above is of {was_ts:%H:%M:%S.%f}"),
    ]


def _ids(name: str) -> list[_Rule]:
    import polars as pl

    before = pl.col(name).shift(1)
    return [
        _Rule("no_id", pl.col(name).is_null(), f"no {name}"),
        _Rule("duplicate", pl.col(name) == before, f"{name} {{{name}}} again"),
        _Rule("id_disorder", pl.col(name) < before, f"{name} {{{name}}} after {{was_{name}}}"),
    ]


def _prices(names: tuple[str, ...], quantities: tuple[str, ...], lowest: str) -> list[_Rule]:
    """Prices above zero, quantities above zero or, where `lowest` says so, at least zero."""
    import polars as pl

    rules: list[_Rule] = []
    for name in names:
        rules += [
            _Rule("no_price", ~pl.col(name).is_finite().fill_null(False), f"{name} is {{{name}}}"),
            _Rule("non_positive_price", pl.col(name) <= 0.0, f"{name} is {{{name}:g}}"),
        ]
    for name in quantities:
        bad = pl.col(name) <= 0.0 if lowest == "above 0" else pl.col(name) < 0.0
        rules += [
            _Rule("no_quantity", ~pl.col(name).is_finite().fill_null(False), f"{name} is {{{name}}}"),
            _Rule("bad_quantity", bad, f"{name} is {{{name}:g}}, expected {lowest}"),
        ]
    return rules


def _trade_rules() -> list[_Rule]:
    import polars as pl

    gap = _Rule(
        "id_gap",
        pl.col("trade_id") > pl.col("trade_id").shift(1) + 1,
        "trade_id {trade_id} after {was_trade_id}: trades are missing",
    )
    return [*_times("ts"), *_ids("trade_id"), *_prices(("price",), ("qty",), "above 0"), gap]


def _quote_rules() -> list[_Rule]:
    import polars as pl

    crossed = _Rule("crossed", pl.col("bid") >= pl.col("ask"), "bid {bid:.10g} at or above ask {ask:.10g}")
    sizes = _prices(("bid", "ask"), ("bid_qty", "ask_qty"), "at least 0")
    return [*_times("either"), *_ids("update_id"), *sizes, crossed]


def _depth_rules() -> list[_Rule]:
    import polars as pl

    level = pl.struct("is_snapshot", "final_id", "side", "price").is_duplicated()
    again = level & (pl.struct("is_snapshot", "final_id", "side", "price").is_first_distinct().not_())
    return [
        _Rule("no_time", instants().is_null(), "no instant"),
        _Rule("no_id", pl.col("first_id").is_null() | pl.col("final_id").is_null(), "no first_id or final_id"),
        _Rule("no_side", pl.col("side").is_null() | pl.col("is_snapshot").is_null(), "no side or is_snapshot"),
        *_prices(("price",), ("qty",), "at least 0"),
        _Rule("duplicate", again, "the level {side} {price:.10g} twice in update {final_id}"),
    ]


def updates_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Depth by update: the first row of each that is no snapshot, in the order given."""
    import polars as pl

    rows = (
        frame.lazy().filter(~pl.col("is_snapshot")).select("row", "ts", "ts_local", "first_id", "final_id", "prev_id")
    )
    return rows.filter((pl.col("final_id") != pl.col("final_id").shift(1)).fill_null(True)).collect()


def _update_faults(frame: pl.DataFrame, limit: int) -> list[TickReport]:
    import polars as pl

    last, first, end = pl.col("final_id").shift(1), pl.col("first_id"), pl.col("final_id")
    named = pl.col("prev_id").fill_null(0) > 0
    backward = (end <= last) | (first > end) | (~named & (first <= last))
    gap = ~backward & pl.when(named).then(pl.col("prev_id") != last).otherwise(first != last + 1)
    disorder = pl.col("ts") < pl.col("ts").shift(1)

    ids = "update {first_id} to {final_id} after the one that ends at {was_final_id}"
    rules = [
        _Rule("disorder", disorder, "the update above is of {was_ts:%H:%M:%S.%f}"),
        _Rule("id_disorder", backward, ids),
        _Rule("id_gap", gap, ids),
    ]
    return [_found(updates_of(frame), rules, limit), _snapshot_faults(frame, limit)]


def _snapshot_faults(frame: pl.DataFrame, limit: int) -> TickReport:
    """Snapshots that no update joins: the first one that ends later has to begin at the id after it, or before."""
    import polars as pl

    at = instants().dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").alias("at")
    snapshots = frame.filter(pl.col("is_snapshot")).unique("final_id", maintain_order=True)
    updates = updates_of(frame).select("final_id", next_first="first_id", next_prev="prev_id").drop_nulls("final_id")
    joined = snapshots.sort("final_id").join_asof(
        updates.sort("final_id"), on="final_id", strategy="forward", check_sortedness=False
    )
    named = pl.col("next_prev").fill_null(0) > 0
    loose = (
        pl.when(named)
        .then(pl.col("next_prev") > pl.col("final_id"))
        .otherwise(pl.col("next_first") > pl.col("final_id") + 1)
    )
    lost = joined.with_columns(at).filter(loose)
    text = "updates are missing between the snapshot {final_id} and the first one after it, {next_first}"
    return found_at("snapshot_gap", lost.head(limit).to_dicts(), len(lost), text)


#: Which columns say what a row is, whoever received it and whenever.
FACTS: Final = {kind.name: [c for c in kind.columns if c != "ts_local"] for kind in (TRADES, QUOTES, DEPTH)}
