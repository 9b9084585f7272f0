"""How well a run's orders were carried out: slippage, fill rate, time to fill, rejects and orders of unknown outcome.

All of it is read from orders and fills, so it is the same for a backtest, on paper and live. What is undefined is null.

decision price   the last close at the instant of the decision; of a protective order, which waits for one, its level
arrival price    the market that the fill met: the open, or the level that the bar traded through (`mid` of the fill)
slippage         what was paid more (sold for less) than that price: a fraction of it, or money; negative = gained

Where a split lies between a decision and a fill, the decision price is told in the shares of the fill.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.bounds import is_plain
from trimtab.research import frames
from trimtab.research.funds import rates_of
from trimtab.rules.market import Market
from trimtab.types import F64, I64, LIMIT, MARKET, REJECTED, SECOND, STOP_LIMIT, TAKE_PROFIT, TIMEFRAMES, UNKNOWN

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.run import Run
    from trimtab.types import Panel

U64 = NDArray[np.uint64]

#: Columns of the table of figures; the first two say of what.
FIGURES: Final = (
    "by",
    "name",
    "orders",
    "fills",
    "rejected",
    "unknown",
    "fill_rate",
    "decision_slippage",
    "arrival_slippage",
    "decision_cost",
    "arrival_cost",
    "time_to_fill",
    "longest_fill",
)

#: Cells of a panel whose fingerprints are taken at once.
_SLICE: Final = 1 << 18


# ---------------------------------------------------------------------------------------------------------------------
# Which bars a run saw
# ---------------------------------------------------------------------------------------------------------------------


def fingerprints(panel: Panel, rows: I64, instrument: I64 | slice) -> U64:
    """A number per bar, equal where instant and every field are equal to the last bit; 0 where there is no bar.

    rows, instrument   of the bars, parallel; or all instruments (a slice) of each row: then (R, N)

    A field that is NaN counts as one that is not there, so runs with and without a further field can be compared.
    """
    bars = panel.values[rows, instrument]
    total = np.zeros(bars.shape[:-1], np.uint64)
    for k, name in enumerate(panel.fields):
        value = np.ascontiguousarray(bars[..., k])
        odd = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") | 1
        total += np.where(np.isnan(value), np.uint64(0), value.view(np.uint64) * np.uint64(odd))
    when = panel.ts[rows].astype(np.uint64)
    when = when[:, None] if total.ndim == 2 else when
    return np.where(total == 0, np.uint64(0), _mixed(total ^ (when * np.uint64(0x9E3779B97F4A7C15))))


def _mixed(z: U64) -> U64:
    """splitmix64's finaliser. Source: Steele, Lea and Flood (2014), OOPSLA."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _of_days(panel: Panel, ends: I64) -> U64:
    """(D, N) fingerprints of all bars of each day, by the rows that end the days."""
    found = np.zeros((len(ends), len(panel.instruments)), np.uint64)
    starts = np.concatenate(([0], ends[:-1] + 1)).astype(np.int64) if len(ends) else ends
    room = max(1, _SLICE // max(1, panel.values[:1].size))
    first = 0
    while first < len(ends):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + room)))
        rows: I64 = np.arange(int(starts[first]), int(ends[last - 1]) + 1)
        bars = fingerprints(panel, rows, slice(None))
        found[first:last] = np.add.reduceat(bars, starts[first:last] - starts[first], axis=0)
        first = last
    return found


def marks(run: Run) -> pl.DataFrame:
    """ts, symbol, mark, rate, bars: at day ends, what each instrument is worth and which bars the day was made of.

    mark   the last close in base currency (0: none yet); rate: base currency per unit of the quote currency
    bars   fingerprint of the day's bars: equal in two runs where all of them are
    """
    import polars as pl

    market, sample = run.fold.market, run.result.sample
    n, column = len(run.panel.instruments), run.fold.setup.terms["column"]
    rate = np.where(column >= 0, market.mark[sample][:, column], 1.0)
    return pl.DataFrame(
        {
            "ts": frames.time_column(np.repeat(run.panel.ts[sample], n)),
            "symbol": pl.Series(run.panel.symbols, dtype=pl.String).gather(np.tile(np.arange(n), len(sample))),
            "mark": market.mark[sample, :n].ravel(),
            "rate": rate.ravel(),
            "bars": _of_days(run.panel, sample).ravel(),
        }
    )


def memory(run: Run) -> int | None:
    """How far back the bars of a decision go, ns; None: as far as there are any (regimes, allocators, calendars)."""
    from trimtab.strategies import find, params_of

    spec, ts = run.spec, run.panel.ts
    if run.given is not None:
        return 0
    if not all(is_plain(spec, model) for model in spec.models):
        return None
    longest = 0
    for model in spec.models:
        strategy = find(model.strategy)
        params = params_of(strategy, model.params)
        rows = int(strategy.warmup(params)) + (int(strategy.fit.window(params)) if strategy.fit else 0)
        step = TIMEFRAMES[model.timeframe or run.panel.timeframe] // TIMEFRAMES[run.panel.timeframe]
        rows = (rows + 1) * max(step, 1)
        if rows >= len(ts):
            return None
        longest = max(longest, int((ts[rows:] - ts[:-rows]).max()))
    return longest


# ---------------------------------------------------------------------------------------------------------------------
# Fill by fill
# ---------------------------------------------------------------------------------------------------------------------


def is_protective(kind: I64) -> NDArray[np.bool_]:
    """Does an order of this kind guard a position: it waits for a price, and may never meet it."""
    return (kind != MARKET) & (kind != LIMIT)


def decision_prices(run: Run) -> tuple[I64, F64]:
    """Of each order in result.orders: the row of its decision, and its decision price in quote currency (NaN: none)."""
    orders, market = run.result.orders, run.fold.market
    row = np.searchsorted(market.ts, orders["ts"], side="right") - 1
    price = _quote_marks(run, market, row, orders["instrument"])
    at_limit = (orders["kind"] == TAKE_PROFIT) | (orders["kind"] == STOP_LIMIT)
    level = np.where(at_limit, orders["limit_price"], orders["stop_price"])
    price = np.where(is_protective(orders["kind"]), level, price)
    return row, np.where(price > 0.0, price, np.nan)


def shares_at(market: Market, rows: I64, instrument: I64) -> F64:
    """Shares that one of the first row has become at each row, by splits; rows and instruments are parallel."""
    if not len(market.split):
        return np.ones(len(rows))
    shares: F64 = np.cumprod(np.nan_to_num(market.split, nan=1.0), axis=0, dtype=np.float64)
    return shares[np.maximum(rows, 0), instrument]


def _quote_marks(run: Run, market: Market, row: I64, instrument: I64) -> F64:
    rates = rates_of(market, run.fold.setup.terms["column"][instrument], row)
    known = (row >= 0) & (rates > 0.0)
    return np.where(known, market.mark[row, instrument] / np.where(known, rates, 1.0), np.nan)


class Filled:
    """The fills of a run's orders (internal crossings left out), parallel, beside what was decided.

    at                  their places in result.fills
    order               the place of each one's order in result.orders; -1: it has none (what a venue did by itself)
    row, decided        row and instant of its decision; -1 and 0: there was none
    sent_row, sent_price   of every order in result.orders, filled or not: see decision_prices, the price per share
                        at the order's end
    done                (O,) lots that have filled of every order, in shares of its end
    decision, arrival   the two prices, quote currency; NaN: undefined
    money               (F,) base currency that one unit of price is worth: signed lots x unit x rate
    waited              (F,) seconds from the decision to the fill; NaN for a protective order: a price was waited for
    """

    def __init__(self, run: Run) -> None:
        result, terms = run.result, run.fold.setup.terms
        self.at: I64 = np.flatnonzero(result.fills["order_id"] != 0)
        fills = result.fills[self.at]
        by_id = np.argsort(result.orders["order_id"], kind="stable")
        ids = result.orders["order_id"][by_id]
        place = np.minimum(np.searchsorted(ids, fills["order_id"]), max(len(ids) - 1, 0))
        known = ids[place] == fills["order_id"] if len(ids) else np.zeros(len(fills), np.bool_)
        self.order: I64 = np.where(known, by_id[place], -1) if len(ids) else np.full(len(fills), -1)
        self.sent_row, sent_price = decision_prices(run)
        orders, market = result.orders, run.fold.market
        ends = np.where(orders["done_ts"] != 0, orders["done_ts"], market.ts[-1])
        end_row = np.searchsorted(market.ts, ends, side="right") - 1
        np.maximum.at(end_row, self.order[known], fills["row"][known])  # one bar may close when the next one opens
        last = shares_at(market, end_row, orders["instrument"])
        # A level has followed the splits; the close that a decision saw has not.
        first = np.where(is_protective(orders["kind"]), last, shares_at(market, self.sent_row, orders["instrument"]))
        self.sent_price: F64 = sent_price * (first / last)
        became = last[self.order[known]] / shares_at(market, fills["row"][known], fills["instrument"][known])
        lots = np.abs(fills["lots"][known]) * became
        self.done: F64 = np.bincount(self.order[known], lots, len(orders)).astype(np.float64)
        self.row, self.decided = np.full(len(fills), -1), np.zeros(len(fills), np.int64)
        self.decision, self.waited = np.full((2, len(fills)), np.nan)
        sent = result.orders[self.order[known]]
        self.row[known], self.decided[known] = self.sent_row[self.order[known]], sent["ts"]
        self.decision[known] = self.sent_price[self.order[known]] * became
        waited = (fills["ts"][known] - sent["ts"]) / SECOND
        self.waited[known] = np.where(is_protective(sent["kind"]), np.nan, waited)
        self.arrival: F64 = np.where(fills["mid"] > 0.0, fills["mid"], np.nan)
        self.price: F64 = fills["price"]
        rates = rates_of(run.fold.market, terms["column"][fills["instrument"]], fills["row"])
        self.money: F64 = fills["lots"] * terms["unit"][fills["instrument"]] * rates

    def __len__(self) -> int:
        return len(self.at)


def slippage(run: Run) -> pl.DataFrame:
    """One row per fill of an order: what was decided, what was met, what was paid, and how long it took.

    bar_ts              close of the bar that it filled in
    decision_ts         when its order was decided; waited: seconds from then to the fill, of a protective order null
    against_decision    fraction of the decision price paid more (sold for less); against_arrival likewise
    decision_cost       the same in base currency; arrival_cost likewise
    decision_bar, bar   fingerprints of the bars of the decision and of the fill
    """
    import polars as pl

    filled, panel = run.filled, run.panel
    fills = run.result.fills[filled.at]
    instrument = fills["instrument"]
    table: dict[str, Any] = {
        "fill_id": fills["fill_id"],
        "order_id": fills["order_id"],
        "ts": frames.time_column(fills["ts"]),
        "bar_ts": frames.time_column(panel.ts[fills["row"]]),
        "decision_ts": frames.time_column(filled.decided),
        "symbol": pl.Series(panel.symbols, dtype=pl.String).gather(np.ascontiguousarray(instrument)),
        "waited": filled.waited,
        "price": filled.price,
    }
    for name in ("decision", "arrival"):
        known: F64 = getattr(filled, name)
        table |= {
            f"{name}_price": known,
            f"against_{name}": np.sign(fills["lots"]) * (filled.price - known) / known,
            f"{name}_cost": filled.money * (filled.price - known),
        }
    seen = fingerprints(panel, np.maximum(filled.row, 0), instrument)
    table["decision_bar"] = np.where(filled.row >= 0, seen, np.uint64(0))
    table["bar"] = fingerprints(panel, fills["row"], instrument)
    return pl.DataFrame(table).with_columns(pl.col(pl.Float64).fill_nan(None))


# ---------------------------------------------------------------------------------------------------------------------
# Figures of the whole run
# ---------------------------------------------------------------------------------------------------------------------


def execution(run: Run) -> pl.DataFrame:
    """FIGURES of the book, of each instrument, and of each model by its share of every fill; null = undefined.

    orders, fills       how many; of a model: those it had a share in
    rejected, unknown   orders with that status. Orders are the book's, netted over models: of a model null
    fill_rate           lots filled / lots ordered of the orders that have ended, protective ones left out: they wait
                        for a price that may never come. Of the book each order counts by its worth at the decision
    decision_slippage   fraction of the notional at the decision price; arrival_slippage likewise; decision_cost and
                        arrival_cost: the same as money, base currency. Those of the models add up to the book's
    time_to_fill        seconds from decision to fill, each fill by its notional, without protective orders;
                        longest_fill: the longest of them
    """
    import polars as pl

    fills = run.result.fills[run.filled.at]
    rows = [_book(run, "book", "", np.ones(len(run.result.orders), bool), np.ones(len(fills), bool))]
    for i, symbol in enumerate(run.panel.symbols):
        mine = run.result.orders["instrument"] == i
        rows.append(_book(run, "instrument", symbol, mine, fills["instrument"] == i))
    shares = run.result.shares[run.filled.at]
    part = np.divide(shares, fills["lots"][:, None], out=np.zeros_like(shares), where=fills["lots"][:, None] != 0)
    rows += [_model(run, name, part[:, m]) for m, name in enumerate(run.model_names)]
    words, counts = FIGURES[:2], FIGURES[2:6]
    schema = {name: pl.String if name in words else pl.Int64 if name in counts else pl.Float64 for name in FIGURES}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))


def _book(run: Run, by: str, name: str, orders: NDArray[np.bool_], fills: NDArray[np.bool_]) -> tuple[Any, ...]:
    mine = run.result.orders[orders]
    counted = (int((mine["status"] == status).sum()) for status in (REJECTED, UNKNOWN))
    own = np.where(fills, 1.0, 0.0)
    return (by, name, len(mine), int(fills.sum()), *counted, _fill_rate(run, orders), *_paid(run.filled, own))


def _model(run: Run, name: str, part: F64) -> tuple[Any, ...]:
    mine = part != 0.0
    orders = len(np.unique(run.filled.order[mine & (run.filled.order >= 0)]))
    return ("model", name, orders, int(mine.sum()), None, None, None, *_paid(run.filled, part))


def _fill_rate(run: Run, mine: NDArray[np.bool_]) -> float:
    """Filled / ordered, each lot at its decision price in base currency: of one instrument's orders, just lots."""
    orders = run.result.orders
    ended = mine & (orders["done_ts"] != 0) & ~is_protective(orders["kind"])
    kept, row, price = orders[ended], run.filled.sent_row[ended], run.filled.sent_price[ended]
    done = run.filled.done[ended]
    instruments = kept["instrument"]
    if len(np.unique(instruments)) > 1:
        terms = run.fold.setup.terms
        rates = rates_of(run.fold.market, terms["column"][instruments], row)
        worth = np.nan_to_num(price) * terms["unit"][instruments] * rates
    else:
        worth = np.ones(len(kept))
    ordered = float(((done + np.abs(kept["lots"] - kept["filled"])) * worth).sum())
    return float((done * worth).sum()) / ordered if ordered > 0.0 else np.nan


def _paid(filled: Filled, part: F64) -> tuple[float, ...]:
    """The last six FIGURES of fills, of each of which (F,) `part` counts."""
    found: list[tuple[float, float]] = []
    for known in (filled.decision, filled.arrival):
        told = np.isfinite(known) & (part != 0.0)
        money = part[told] * filled.money[told]
        notional = float((np.abs(money) * known[told]).sum())
        cost = float((money * (filled.price[told] - known[told])).sum()) if told.any() else np.nan
        found.append((cost / notional if notional > 0.0 else np.nan, cost))
    (decision, decision_cost), (arrival, arrival_cost) = found
    sent = np.isfinite(filled.waited) & (part != 0.0)
    weight = np.abs(part * filled.money)[sent] * filled.price[sent]
    whole = float(weight.sum())
    mean = float((weight * filled.waited[sent]).sum()) / whole if whole > 0.0 else np.nan
    longest = float(filled.waited[sent].max()) if sent.any() else np.nan
    return decision, arrival, decision_cost, arrival_cost, mean, longest
