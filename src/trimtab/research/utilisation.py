"""How much of each limit was in use: what the gate and the breakers measure, taken at every close of a run.

Nothing is written down while a run goes on: positions follow from the fills, and marks and equity are there. Rows are
looked at a stretch of whole days at a time, so a run of any length takes little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from trimtab.rules.book import Groups
from trimtab.sim.setup import complete
from trimtab.types import DAY, F64, I64, Panel
from trimtab.words import day_of

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.run import Run

    Span = slice[int, int, None]

#: Cells (rows x instruments) that are looked at together, but for a day that has more.
CELLS: Final = 1 << 16
#: A limit is near from this share of it on.
NEAR: Final = 0.9
#: Relative room for rounding: what is exactly at its bound is not over it.
_ROUNDING: Final = 1e-9


class Stretch(NamedTuple):
    """R rows of whole days, and what stood at their closes; money in base currency.

    days        the day ends in it, by number
    equity      (R,)
    notional    (R, N) |lots| x mark; net: (R,) of their signed sum
    by_model    (R, M) notional of each model's part of what is held; (R, 0) where no model is capped
    day, week   (R,) equity from which the loss of the day and of the week is measured
    drawdown    (R,) fraction below the peak, >= 0
    """

    rows: Span
    days: Span
    equity: F64
    notional: F64
    net: F64
    by_model: F64
    day: F64
    week: F64
    drawdown: F64


#: What a limit is held against, (R,) of the rows of a stretch.
Measure = Callable[[Stretch], F64]


class Gauge(NamedTuple):
    """A limit that is set: its name, what it is of (a kind, venue or model; "" the book), its bound, its measure (R,).

    largest   it is about the largest instrument
    """

    limit: str
    name: str
    bound: float
    measure: Measure
    largest: bool = False


class Usage(NamedTuple):
    """One limit over a whole run.

    bound        the limit itself
    used         (D,) the most of it that was in use on each day, a share of the bound; last: at the last close
    worst        the highest of them, on the day that ends at worst_ts (ns UTC)
    near, over   days on which 90% was reached, and on which it was exceeded
    acted        times that it acted
    """

    limit: str
    name: str
    bound: float
    used: F64
    last: float
    worst: float
    worst_ts: int
    near: int
    over: int
    acted: int

    @property
    def title(self) -> str:
        """`drawdown_halt`, or with what it is of: `asset_class crypto`."""
        return f"{self.limit} {self.name}".strip()


def utilisation(run: Run) -> pl.DataFrame:
    """ts, limit, name, symbol, bound, measure, used, highest: one row per limit that is set and day end.

    name      the asset class, venue or model that a cap is of; "" for what is of the whole book
    symbol    the largest instrument, of max_weight and concentration; else ""
    bound     the limit; measure: what it is measured against, at the day's last close, both fractions
    used      measure / bound; highest: the highest share of any close of that day. Above 1 prices have drifted over it,
              or a loss went beyond it before the next open; infinite where nothing is left to measure by

    Rows come limit by limit in the order of the gate. A model's cap is of its virtual lots; what is measured is its
    part of what is held, which the other limits may have made smaller.
    """
    import polars as pl

    gauges = gauges_of(run)
    ends, symbols = run.result.sample, np.array((*run.panel.symbols, ""), dtype=object)
    days = len(ends)
    measure, highest = np.zeros((len(gauges), days)), np.zeros((len(gauges), days))
    largest = np.zeros(days, np.int64)
    for stretch in stretches_of(run, gauges):
        own = ends[stretch.days] - stretch.rows.start
        largest[stretch.days] = stretch.notional[own].argmax(axis=1)
        begins = np.concatenate(([0], own[:-1] + 1))
        for k, gauge in enumerate(gauges):
            values = gauge.measure(stretch)
            measure[k, stretch.days] = values[own]
            highest[k, stretch.days] = np.maximum.reduceat(values, begins)
    bound = np.array([gauge.bound for gauge in gauges]).reshape(-1, 1)
    whose = [largest if gauge.largest else np.full(days, len(symbols) - 1) for gauge in gauges]
    words = [(gauge.limit, gauge.name) for gauge in gauges for _ in range(days)]
    return pl.DataFrame(
        {
            "ts": pl.Series(np.tile(run.panel.ts[ends], len(gauges))).cast(pl.Datetime("ns", "UTC")),
            "limit": pl.Series([limit for limit, _ in words], dtype=pl.String),
            "name": pl.Series([name for _, name in words], dtype=pl.String),
            "symbol": pl.Series(symbols[np.concatenate(whose)] if gauges else [], dtype=pl.String),
            "bound": np.repeat(bound.ravel(), days),
            "measure": measure.ravel(),
            "used": _over(measure, bound).ravel(),
            "highest": _over(highest, bound).ravel(),
        }
    )


def usage_of(run: Run) -> tuple[Usage, ...]:
    """Each limit that is set over the whole run, in the order of the gate."""
    table, gauges = run.utilisation, gauges_of(run)
    days = len(run.result.sample)
    if not days:
        return ()
    used, highest = (table[name].to_numpy().reshape(len(gauges), days) for name in ("used", "highest"))
    ts, found = run.panel.ts[run.result.sample], list[Usage]()
    for gauge, at_end, most in zip(gauges, used, highest, strict=True):
        day = int(most.argmax())
        near, over = int((most >= NEAR).sum()), int((most > 1.0 + _ROUNDING).sum())
        facts = float(at_end[-1]), float(most[day]), int(ts[day]), near, over, _acted(run, gauge)
        found.append(Usage(gauge.limit, gauge.name, gauge.bound, most, *facts))
    return tuple(found)


def _acted(run: Run, gauge: Gauge) -> int:
    """Rows of the actions table that this limit wrote, but for those that say that it is over."""
    import polars as pl

    mine = run.actions.filter((pl.col("limit") == gauge.limit) & (pl.col("action") != "RESUME"))
    if gauge.limit == "model":
        mine = mine.filter(pl.col("model") == gauge.name)
    elif gauge.name:
        own = [i.symbol for i in run.panel.instruments if getattr(i, gauge.limit) == gauge.name]
        mine = mine.filter(pl.col("symbol").is_in(own))
    return mine.height


# --- what is measured ------------------------------------------------------------------------------------------------


def gauges_of(run: Run) -> tuple[Gauge, ...]:
    """The limits of a run that are set and have a measure at every close, in the order of the gate."""
    setup, limits = run.fold.setup, run.spec.limits
    groups = setup.groups
    found = [
        Gauge("max_weight", "", limits.max_weight, _weight, True),
        *_of_groups("asset_class", groups.asset_class, groups.class_cap, run.panel),
        *_of_groups("venue", groups.venue, groups.venue_cap, run.panel),
        *(Gauge("model", run.model_names[m], cap, _model(m)) for m, cap in enumerate(groups.model_cap.tolist())),
        Gauge("concentration", "", limits.concentration, _concentration, True),
        Gauge("gross_leverage", "", limits.gross_leverage, _gross),
        Gauge("net_exposure", "", limits.net_exposure, _net),
        Gauge("heat", "", limits.heat, _heat(np.ascontiguousarray(setup.terms["initial_margin"]))),
    ]
    if limits.group_gross < np.inf:
        correlated = _clusters(complete(setup, run.fold.market).groups)
        found.append(Gauge("group_gross", "", limits.group_gross, correlated))
    found += [
        Gauge("daily_loss", "", limits.daily_loss, _day),
        Gauge("weekly_loss", "", limits.weekly_loss, _week),
        Gauge("drawdown_derisk", "", limits.drawdown_derisk, _drawdown),
        Gauge("drawdown_halt", "", limits.drawdown_halt, _drawdown),
    ]
    return tuple(gauge for gauge in found if gauge.bound < np.inf)


def _of_groups(limit: str, group: I64, caps: F64, panel: Panel) -> Iterator[Gauge]:
    """A gauge per asset class, or per venue, of the book."""
    for k, cap in enumerate(caps.tolist()):
        mine = np.flatnonzero(group == k)
        yield Gauge(limit, getattr(panel.instruments[int(mine[0])], limit), cap, _part(mine))


def _weight(s: Stretch) -> F64:
    return _over(s.notional.max(axis=1), s.equity)


def _part(mine: I64) -> Measure:
    def measure(s: Stretch) -> F64:
        return _over(s.notional[:, mine].sum(axis=1), s.equity)

    return measure


def _model(m: int) -> Measure:
    def measure(s: Stretch) -> F64:
        return _over(s.by_model[:, m], s.equity)

    return measure


def _concentration(s: Stretch) -> F64:
    return _over(s.notional.max(axis=1), np.maximum(s.notional.sum(axis=1), s.equity))


def _gross(s: Stretch) -> F64:
    return _over(s.notional.sum(axis=1), s.equity)


def _net(s: Stretch) -> F64:
    return _over(np.abs(s.net), s.equity)


def _heat(margins: F64) -> Measure:
    def measure(s: Stretch) -> F64:
        return _over(s.notional @ margins, s.equity)

    return measure


def _clusters(groups: Groups) -> Measure:
    """The heaviest group of correlated instruments, by the groups in force at each row."""

    def measure(s: Stretch) -> F64:
        rows, n = s.notional.shape
        day = np.searchsorted(groups.cluster_row, np.arange(s.rows.start, s.rows.stop), side="right") - 1
        first = np.arange(0, rows * n, n, dtype=np.int64).reshape(-1, 1)
        cells = first + groups.cluster[np.maximum(day, 0)]
        sums = np.bincount(cells.ravel(), s.notional.ravel(), rows * n).reshape(rows, n)
        return np.where(day >= 0, _over(sums.max(axis=1), s.equity), 0.0)

    return measure


def _day(s: Stretch) -> F64:
    return _loss(s.equity, s.day)


def _week(s: Stretch) -> F64:
    return _loss(s.equity, s.week)


def _drawdown(s: Stretch) -> F64:
    return s.drawdown


def _over(amount: F64, whole: F64) -> F64:
    """amount / whole; infinite where there is no whole, and 0 where there is no amount either."""
    none = np.where(amount > 0.0, np.inf, 0.0)
    return np.divide(amount, whole, out=none, where=np.broadcast_to(whole > 0.0, none.shape))


def _loss(equity: F64, start: F64) -> F64:
    """The share of `start` that is lost, 0 where something was gained; all of nothing is a loss without end."""
    return _over(np.maximum(start - equity, 0.0), start)


# --- rows ------------------------------------------------------------------------------------------------------------


def stretches_of(run: Run, gauges: tuple[Gauge, ...]) -> Iterator[Stretch]:
    """The rows of a run, some whole days at a time; none where no limit is set."""
    if not gauges:
        return
    result, market = run.result, run.fold.market
    n, ends = len(run.panel.instruments), run.result.sample
    unit, fills, table = result.book.unit, result.fills, run.equity
    modelled = any(gauge.limit == "model" for gauge in gauges)
    lots, held = np.zeros(n, np.int64), np.zeros((n, len(run.model_names) if modelled else 0))
    drawdown: F64 = table["drawdown"].to_numpy()
    paid: F64 = np.cumsum(table["paid"].to_numpy()) if "paid" in table.columns else np.zeros(0)
    begun = _begun(run, paid)
    for days, rows in _blocks(ends, n):
        mine = slice(*np.searchsorted(fills["row"], [rows.start, rows.stop]))
        at = fills["row"][mine] - rows.start, fills["instrument"][mine]
        size = rows.stop - rows.start
        moved = np.zeros((size, n), np.int64)
        np.add.at(moved, at, fills["lots"][mine])
        moved[0] += lots
        standing = np.cumsum(moved, axis=0, out=moved)
        lots = standing[-1].copy()
        price = unit * market.mark[rows, :n]
        worth = standing * price
        by_model = np.zeros((size, held.shape[1]))
        for m in range(held.shape[1]):
            parts = np.zeros((size, n))
            np.add.at(parts, at, result.shares[mine, m])
            parts[0] += held[:, m]
            np.cumsum(parts, axis=0, out=parts)
            held[:, m] = parts[-1]
            by_model[:, m] = (np.abs(parts) * price).sum(axis=1)
        of = np.repeat(np.arange(days.start, days.stop), np.diff(ends[days], prepend=rows.start - 1))
        since = [start[of] + (paid[rows] - before[of] if len(paid) else 0.0) for start, before in begun]
        equity = run.bar_equity[rows]
        fallen = -drawdown[rows]
        yield Stretch(rows, days, equity, np.abs(worth), worth.sum(axis=1), by_model, since[0], since[1], fallen)


def _blocks(ends: I64, n: int) -> Iterator[tuple[Span, Span]]:
    """(days, rows) of the stretches: as many whole days as CELLS have room for, one at least."""
    first, day = 0, 0
    while day < len(ends):
        last = int(np.searchsorted(ends, first + max(CELLS // n, 1), side="left"))
        last = max(last, day + 1)
        yield slice(day, last), slice(first, int(ends[last - 1]) + 1)
        first, day = int(ends[last - 1]) + 1, last


def _begun(run: Run, paid: F64) -> list[tuple[F64, F64]]:
    """Of each day, and of each week: the equity with which it began, and what had been paid in until then. (D,) each"""
    ends = run.result.sample
    day = (run.panel.ts[ends] - 1) // DAY
    found: list[tuple[F64, F64]] = []
    equity = np.concatenate(([run.capital], run.bar_equity[ends]))
    brought = np.concatenate(([0.0], paid[ends])) if len(paid) else np.zeros(len(ends) + 1)
    for period in (day, (day + 3) // 7):  # 1970-01-01 was a Thursday
        new = np.append(True, period[1:] != period[:-1])
        first = np.maximum.accumulate(np.where(new, np.arange(len(ends)), 0))
        found.append((equity[first], brought[first]))
    return found


def told(usage: tuple[Usage, ...]) -> str:
    """One sentence: which limit came closest to its bound, and how often each acted; "" where none is set."""
    if not usage:
        return ""
    first = max(usage, key=lambda u: u.worst)
    acted = [f"{u.title} {u.acted:,}" for u in usage if u.acted]
    day = day_of(first.worst_ts)
    if not first.worst > 0.0:
        closest = "none was in use at any close"
    elif first.over:
        most = f", at {first.worst:.0%} of it" if first.worst < np.inf else ""
        closest = f"{first.title} went furthest beyond its bound{most} on {day}"
    else:
        closest = f"{first.title} came closest to its bound, with {first.worst:.0%} of it in use on {day}"
    return f"Limits: {closest}{'; times acted: ' if acted else ''}{', '.join(acted)}."


def plain(usage: tuple[Usage, ...]) -> list[dict[str, Any]]:
    """The same for summary.json."""
    return [
        {name: value for name, value in u._asdict().items() if name not in ("used", "worst_ts")}
        | {"worst_on": day_of(u.worst_ts)}
        for u in usage
    ]
