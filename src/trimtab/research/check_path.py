"""Laws of the whole path: look-ahead through a backtest, and the gate.

Two models of the strategy share one book, so that netting, crossing and attribution take part.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.data.panel import rows_of
from trimtab.portfolio.budgets import combine
from trimtab.research.backtest import run_weights
from trimtab.research.check_forecasts import CHANGES
from trimtab.research.check_robustness import parameter_sets
from trimtab.research.check_subject import Finding, Subject, first_difference, reach
from trimtab.research.run import Run
from trimtab.research.streams import model_streams
from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.strategies import params_of
from trimtab.types import F64, Costs, Limits, Model, Panel, Rebalance, Spec, TrimtabError

#: Every cost is at work, so that a law that holds does not hold by absence.
COSTS: Final = Costs(
    maker_fee=0.0002,
    taker_fee=0.0005,
    half_spread=0.0002,
    vol_spread=0.02,
    slippage=0.0001,
    impact=0.02,
    latency=0.5,
    participation=0.25,
    reject=0.01,
    funding=0.0001,
    borrow=0.05,
    margin_interest=0.08,
    liquidation=0.005,
)
TIGHT: Final = Limits(gross_leverage=0.5, max_weight=0.2, drawdown_derisk=0.04, derisk_factor=0.5, drawdown_halt=0.30)
_CLOSE: Final = 1e-9
_PATH_CUTS: Final = 3


# --- a book of two models --------------------------------------------------------------------------------------------


class Book(NamedTuple):
    """Two models of the strategy over the subject's units."""

    spec: Spec
    params: tuple[Any, Any]


def book_of(subject: Subject, limits: Limits, when: str = "on_change") -> Book:
    """The strategy as given beside itself with other parameters (of no longer warm-up), half the budget each."""
    strategy, panel = subject.strategy, subject.panel
    chosen = (subject.params, _other_params(subject))
    symbols = tuple(s for unit in subject.units for s in unit.symbols)
    volume = panel.values[:, :, panel.fields.index("volume")]
    known = all(np.nanmax(volume[:, n], initial=0.0) > 0.0 for n in range(len(panel.instruments)))
    models = tuple(
        Model(
            strategy=strategy.name,
            name=f"{strategy.name}_{n + 1}",
            params=params._asdict(),
            universe=symbols,
            timeframe=subject.timeframe,
            budget=0.5,
        )
        for n, params in enumerate(chosen)
    )
    spec = Spec(
        models=models,
        universe=panel.symbols,
        timeframe=panel.timeframe,
        base_currency=panel.instruments[0].quote,
        costs=COSTS,
        limits=limits,
        rebalance=Rebalance(when=when, buffer=0.002 if when == "always" else 0.0),
        volume="require" if known else "ignore",
        seed=subject.seed,
    )
    return Book(spec, chosen)


def _other_params(subject: Subject) -> Any:
    """Of the random parameter sets the one with the shortest warm-up, if the data has room for it."""
    found: list[tuple[int, int, Any]] = []
    for n, (_, values) in enumerate(list(parameter_sets(subject))[-10:]):
        try:
            params = params_of(subject.strategy, values)
        except TrimtabError:
            continue  # refused with a reason
        found.append((int(subject.strategy.warmup(params)), n, params))
    room = min(len(unit.rows) for unit in subject.units) // 2
    best = min(found, default=None)
    return best[2] if best and best[0] <= max(room, subject.warmup) else subject.params


def run_book(subject: Subject, book: Book, panel: Panel) -> Run:
    """Rows, forecasts, weights and the driver: the same functions that a backtest calls."""
    every = book.spec.rebalance.when == "always"
    streams = [
        stream
        for n, (model, params) in enumerate(zip(book.spec.models, book.params, strict=True))
        for stream in model_streams(n, model, subject.strategy, params, panel, every)
    ]
    return run_weights(book.spec, panel, combine(streams))


# --- look-ahead through the whole path -------------------------------------------------------------------------------


def path(subject: Subject) -> list[Finding]:
    """Change any field after row t: rows, orders, fills, actions and equity up to t stay, bit for bit."""
    book = book_of(subject, Limits(max_weight=0.6))
    panel = msgspec.structs.replace(subject.panel, values=subject.panel.values.copy())
    whole = run_book(subject, book, panel)
    # Not the last rows: a step that reads past its row finds chance behind the last one.
    if _run_break(whole, run_book(subject, book, panel), len(panel.ts) - 4):
        told = "cannot be tested while the same bars give different orders: mend determinism first"
        return [subject.broken("path", told)]
    for cut in _path_cuts(subject, book):
        rows = reach(subject.strategy, book.params, subject.timeframe, panel.ts, cut)
        near = msgspec.structs.replace(panel, ts=panel.ts[:rows], values=panel.values[:rows])
        for name, values in _changed_after(near, cut):
            other = _run_anyway(subject, book, msgspec.structs.replace(near, values=values))
            if other is None:
                continue
            found = _rows_break(subject, panel, other.panel, cut) or _run_break(whole, other, cut)
            if found:
                return [_path_finding(subject, name, cut, *found)]
        shorter = msgspec.structs.replace(panel, ts=panel.ts[: cut + 1], values=panel.values[: cut + 1].copy())
        found = _run_break(whole, run_book(subject, book, shorter), cut)
        if found:
            return [_path_finding(subject, "", cut, *found)]
    return []


def _run_anyway(subject: Subject, book: Book, panel: Panel) -> Run | None:
    """The run, or None where a step refuses such bars (that is for the law of range to say)."""
    try:
        return run_book(subject, book, panel)
    except Exception:  # whatever a user's step may raise on bars that no market has
        return None


def _path_finding(subject: Subject, field: str, cut: int, what: str, row: int) -> Finding:
    ts = int(subject.panel.ts[row])
    seen = f"changing {field} after row {cut}" if field else f"ending the data after row {cut}"
    return Finding(
        "path",
        False,
        field.partition(" ")[0] or None,
        row,
        f"{seen} changes {what} at row {row}: something on the way from bars to fills looks ahead. Usual cause: the "
        "strategy itself (see prefix and split), or a field that was computed over the whole series before the run "
        "(centred averages, scaling by the full sample, joins that are not as-of)",
        ts,
    )


def _path_cuts(subject: Subject, book: Book) -> list[int]:
    """Panel rows to change the future after: one in each third of what comes after the last one's warm-up."""
    rows = max((unit.rows for unit in subject.units), key=lambda rows: int(rows[0]))
    need = max(int(subject.strategy.warmup(params)) for params in book.params)
    edges = np.linspace(need + 10, len(rows) - 2, _PATH_CUTS + 1).astype(np.int64)
    drawn = subject.rng("path").integers(edges[:-1], edges[1:])
    return [int(rows[c]) for c in drawn]


def _changed_after(panel: Panel, cut: int) -> list[tuple[str, F64]]:
    """Panels whose rows after `cut` have one field changed, and whose rows after it are absent altogether."""
    found: list[tuple[str, F64]] = []
    for k, field in enumerate(panel.fields):
        if field == "duration":  # the schedule is known in advance
            continue
        for name, change in CHANGES:
            values = panel.values.copy()
            values[cut + 1 :, :, k] = change(values[cut + 1 :, :, k])
            found.append((f"{field} ({name})", values))
    values = panel.values.copy()
    values[cut + 1 :] = np.nan
    found.append(("every field (made NaN)", values))
    return found


def _rows_break(subject: Subject, panel: Panel, other: Panel, cut: int) -> tuple[str, int] | None:
    """The rows that models step on, up to the cut."""
    for unit in subject.units:
        index, x = rows_of(panel, unit.symbols, subject.timeframe, subject.strategy.reads)
        index_other, x_other = rows_of(other, unit.symbols, subject.timeframe, subject.strategy.reads)
        n, m = (int(np.searchsorted(i, cut, side="right")) for i in (index, index_other))
        if n != m or not np.array_equal(index[:n], index_other[:n]):
            return f"the rows of {unit.name}", int(index[min(n, m) - 1]) if min(n, m) else 0
        if n == 0:  # it begins later
            continue
        flat, flat_other = x[:n].reshape(n, -1), x_other[:n].reshape(n, -1)
        wrong = ~((flat == flat_other) | (np.isnan(flat) & np.isnan(flat_other))).all(axis=1)
        if wrong.any():
            return f"the bars of {unit.name}", int(index[wrong.argmax()])
    return None


_CREATED: Final = ("order_id", "ts", "instrument", "lots", "kind", "limit_price", "stop_price", "tif", "parent")


def _run_break(a: Run, b: Run, cut: int) -> tuple[str, int] | None:
    """What differs first between two runs up to row `cut`, and where."""
    row = first_difference(a.bar_equity[: cut + 1], b.bar_equity[: cut + 1])
    if row is not None:
        return "equity", row
    for name in ("fills", "actions"):
        tables: list[Any] = [getattr(run.result, name) for run in (a, b)]
        first, second = (t[t["row"] <= cut] for t in tables)
        if first.tobytes() != second.tobytes():
            return name, _first_row(first, second, cut)
    until = int(a.panel.ts[cut])
    sent, other = _orders_until(a, until), _orders_until(b, until)
    shared = min(len(sent), len(other))
    wrong = np.zeros(shared, dtype=np.bool_)
    for name in _CREATED:
        one, two = (np.ascontiguousarray(t[name][:shared]).view(np.int64) for t in (sent, other))
        wrong |= one != two
    if wrong.any() or len(sent) != len(other):
        longer = sent if len(sent) > shared else other
        told = sent[wrong.argmax()] if wrong.any() else longer[shared]
        return "orders", row_at(a.panel, int(told["ts"]))
    return None


def _first_row(first: Any, second: Any, cut: int) -> int:
    shared = min(len(first), len(second))
    for n in range(shared):
        if first[n].tobytes() != second[n].tobytes():
            return int(first[n]["row"])
    longer = first if len(first) > len(second) else second
    return int(longer[shared]["row"]) if len(longer) > shared else cut


def row_at(panel: Panel, ts: int) -> int:
    """The row of an instant."""
    return int(np.searchsorted(panel.ts, np.int64(ts)))


def _orders_until(run: Run, ts: int) -> Any:
    """Orders sent at or before an instant, by id."""
    orders: Any = run.result.orders
    orders = orders[orders["ts"] <= ts]
    return orders[np.argsort(orders["order_id"], kind="stable")]


# --- the gate --------------------------------------------------------------------------------------------------------


def gate(subject: Subject) -> list[Finding]:
    """Under tight limits no decision is allowed more than was wanted, and every fill has an order behind it."""
    run = run_book(subject, book_of(subject, TIGHT), subject.panel)
    actions, orders, fills = run.result.actions, run.result.orders, run.result.fills
    cuts = np.isin(actions["action"], [ACTIONS.index(a) for a in ("SCALE", "REFUSE", "FLATTEN")])
    sized = cuts & (actions["limit"] != LIMIT_NAMES.index("lot_range"))
    wrong = sized & (np.abs(actions["allowed"]) > np.abs(actions["wanted"]))
    if wrong.any():
        a = actions[wrong.argmax()]
        seen = f"{LIMIT_NAMES[int(a['limit'])]} allowed {a['allowed']:g} where {a['wanted']:g} was wanted"
        return [_gate_break(subject, int(a["row"]), seen)]
    stray = ~np.isin(fills["order_id"], np.append(orders["order_id"], 0))
    if stray.any():
        f = fills[stray.argmax()]
        return [_gate_break(subject, int(f["row"]), f"fill {int(f['fill_id'])} has no order")]
    found = _over_weight(run)
    return [_gate_break(subject, *found)] if found else []


def _over_weight(run: Run) -> tuple[int, str] | None:
    """An order that would take an instrument beyond max_weight at the close it was decided on."""
    panel, result = run.panel, run.result
    close = panel.values[:, :, panel.fields.index("close")]
    for i in range(len(panel.instruments)):
        sent = result.orders[result.orders["instrument"] == i]
        mine = result.fills[result.fills["instrument"] == i]
        held = np.concatenate(([0], np.cumsum(mine["lots"])))
        for order in sent:
            row = row_at(panel, int(order["ts"]))
            before = int(held[np.searchsorted(mine["row"], row, side="right")])
            after = before + int(order["lots"])
            price, equity = float(close[row, i]), float(run.bar_equity[row])
            if abs(after) <= abs(before) or not price > 0.0:
                continue
            if (abs(after) - 1) * result.book.unit[i] * price > TIGHT.max_weight * equity * (1.0 + _CLOSE):
                notional = abs(after) * result.book.unit[i] * price
                seen = f"an order takes {panel.symbols[i]} to {notional:,.2f}, with an equity of {equity:,.2f}"
                return row, f"{seen}; max_weight is {TIGHT.max_weight}"
    return None


def _gate_break(subject: Subject, row: int, seen: str) -> Finding:
    return Finding(
        "gate",
        False,
        None,
        row,
        f"{seen}. A strategy cannot cause this: it is a fault of Trimtab, please report it with the data",
        int(subject.panel.ts[row]),
    )
