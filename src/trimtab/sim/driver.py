"""The compiled driver: one loop over rows, the same rules as everywhere (design §1), resumable.

Time is split at what can happen. While an order works or a crossing is due, every row is matched. Otherwise the loop is
quiet: it looks for the first row that leaves the band of a resting order, takes equity out of [floor, ceiling] (peak,
worst drawdown, breakers: see breakers.watch) or carries a new weight, and everything before that row is a mark and no
more. For one instrument it passes over 8 rows at a time whose extremes lie inside, which is exact: with cash and lots
fixed, equity is monotone in the mark, and rounding keeps order.
"""

from __future__ import annotations

from typing import Final

from trimtab.compiled import apart, entry, part, spliced
from trimtab.compiled.prefetch import prefetch
from trimtab.rules.account import mark, rate_of
from trimtab.rules.book import SLOTS
from trimtab.rules.breakers import judge_row
from trimtab.rules.carry import is_stamp
from trimtab.rules.decide import decide_row, is_due
from trimtab.rules.margin import is_endangered
from trimtab.rules.market import BLOCK
from trimtab.rules.trade import trade_row
from trimtab.types import DIVIDEND

#: Marks in a line of the processor's cache, and how many rows ahead they are fetched.
LINE: Final = 8
ROWS_AHEAD: Final = 24
#: How many decisions ahead memory is fetched.
AHEAD: Final = 4


@part
def touched(book, market, t):
    """Does row t leave the band of any resting order?"""
    hit = False
    for i in range(book.low.shape[0]):
        hit |= (market.low[t, i] <= book.low[i]) | (market.high[t, i] >= book.high[i])
    return hit


@part
def quiet_one(book, market, t, stop):
    """quiet() for a single instrument: by blocks where nothing rests."""
    head = book.head[0]
    cash, quantity, floor, ceiling = head.cash, book.quantity[0], head.floor, head.ceiling
    if head.resting != 0:
        low, high = book.low[0], book.high[0]
        while t < stop:
            equity = cash + quantity * market.mark[t, 0]
            if (market.low[t, 0] <= low) | (market.high[t, 0] >= high) | (equity < floor) | (equity > ceiling):
                return t
            t += 1
        return t
    if quantity == 0.0:
        return stop if floor <= cash <= ceiling else t
    while t < stop:
        if t % BLOCK == 0:
            while t + BLOCK <= stop:
                one = cash + quantity * market.block_low[t // BLOCK]
                other = cash + quantity * market.block_high[t // BLOCK]
                if (min(one, other) < floor) | (max(one, other) > ceiling):
                    break
                t += BLOCK
        end = min(stop, (t // BLOCK + 1) * BLOCK)
        while t < end:
            equity = cash + quantity * market.mark[t, 0]
            if (equity < floor) | (equity > ceiling):
                return t
            t += 1
    return t


@part
def fetch_marks(market, t):
    """Fetch the marks of a row: a processor foresees no further than the page that it reads, and a page is few rows."""
    for i in range(0, market.mark.shape[1], LINE):
        prefetch(market.mark, t, i)


@part
def quiet_many(book, market, t, stop):
    """quiet() for a book of several instruments."""
    head = book.head[0]
    cash, floor, ceiling, resting = head.cash, head.floor, head.ceiling, head.resting
    passed = head.equity
    while t < stop:
        fetch_marks(market, t + ROWS_AHEAD)
        equity = mark(cash, book.quantity, market.mark[t])
        if (equity < floor) | (equity > ceiling):
            break
        if resting != 0 and touched(book, market, t):
            break
        passed = equity
        t += 1
    head.equity = passed
    return t


@spliced
def sample_model(book, log, market, terms, m, first, last):
    """Write one model's profit and costs at the samples first ≤ k < last; only the marks differ between them."""
    n = book.held.shape[1]
    for k in range(first, last):
        marks = market.mark[log.sample[k]]
        profit, cost = 0.0, 0.0
        for i in range(n):
            rate = rate_of(terms, marks, i)
            profit += book.ledger[m, i] * rate
            for kind in range(DIVIDEND):
                cost += book.charges[m, i, kind] * rate
        for i in range(n):
            profit += book.held[m, i] * book.unit[i] * marks[i]
        log.pnl[k, m] = profit
        log.cost[k, m] = cost


@part
def sample(book, log, market, terms, before):
    """Write the curves at the sampled rows before row `before`: nothing has changed since they were passed."""
    head = book.head[0]
    first, samples = head.sample, log.sample.shape[0]
    if first == samples or log.sample[first] >= before:
        return
    cash, n = head.cash, book.unit.shape[0]
    last = first
    while last < samples and log.sample[last] < before:
        log.curve[last, 0] = mark(cash, book.quantity, market.mark[log.sample[last]])
        last += 1
    head.sample = last
    if log.pnl.shape[0] == 0:  # a sweep keeps equity only
        return
    for m in range(book.held.shape[0]):
        sample_model(book, log, market, terms, m, first, last)
    for k in range(first, last):
        gross, netted, paid = 0.0, 0.0, 0.0
        for i in range(n):
            notional = book.quantity[i] * market.mark[log.sample[k], i]
            gross += abs(notional)
            netted += notional
        for m in range(book.held.shape[0]):
            paid += log.cost[k, m]
        log.curve[k, 1] = paid
        log.curve[k, 2] = gross
        log.curve[k, 3] = netted
        log.curve[k, 4] = head.traded
        log.curve[k, 5] = head.flows


@entry
def sample_now(book, log, market, terms):
    """Write the curves at the log's samples, for a driver that stands at the last of them and keeps its own place."""
    sample(book, log, market, terms, log.sample[log.sample.shape[0] - 1] + 1)
    book.head[0].sample = 0


@part
def record(book, log, market, before):
    """Write the equity of every row before `before`, where it is kept."""
    head = book.head[0]
    t = head.recorded
    if log.equity.shape[0] == 0:
        return
    if book.quantity.shape[0] == 1:
        cash, quantity = head.cash, book.quantity[0]
        for r in range(t, before):
            log.equity[r] = cash + quantity * market.mark[r, 0]
    else:
        for r in range(t, before):
            log.equity[r] = mark(head.cash, book.quantity, market.mark[r])
    head.recorded = before


@part
def has_room(book, log, setup):
    """Is there room in the log for everything that one row can write?"""
    n = book.quantity.shape[0]
    if log.orders.shape[0] == 0:
        return True
    return (
        log.used[0] + 4 * SLOTS * n <= log.orders.shape[0]
        and log.used[1] + 4 * SLOTS * n <= log.fills.shape[0]
        and log.used[2] + (24 * book.held.shape[0] + setup.rules.shape[0]) * (n + 1) <= log.actions.shape[0]
    )


@part
def fetch(market, weights, e):
    """Fetch what a decision a few ahead and its order will read: they jump over rows that no cache holds."""
    if e < weights.row.shape[0]:
        row, i = weights.row[e], weights.instrument[e]
        prefetch(market.ts, row, 0)
        prefetch(market.mark, row, i)
        prefetch(market.rows, row + 1, i)


@apart
def row_at(ts, when, first):
    """The first row from `first` on that closes at or after an instant; the number of rows where there is none."""
    low, high = first, ts.shape[0]
    while low < high:
        middle = (low + high) // 2
        if ts[middle] < when:
            low = middle + 1
        else:
            high = middle
    return low


@apart
def quiet_margined(book, market, terms, t, stop):
    """quiet() for a book that a venue may liquidate."""
    head = book.head[0]
    passed = head.equity
    while t < stop:
        equity = mark(head.cash, book.quantity, market.mark[t])
        if (equity < head.floor) | (equity > head.ceiling) or touched(book, market, t):
            break
        if is_endangered(book, market, terms, t):
            break
        passed = equity
        t += 1
    head.equity = passed
    return t


@part
def quiet(book, market, terms, t, stop):
    """The first row from t on, before `stop`, at which something may happen; equity is marked up to the one before."""
    head = book.head[0]
    if head.margined != 0:
        return quiet_margined(book, market, terms, t, stop)
    if book.quantity.shape[0] > 1:
        return quiet_many(book, market, t, stop)
    end = quiet_one(book, market, t, stop)
    if end > t:
        head.equity = mark(head.cash, book.quantity, market.mark[end - 1])
    return end


@entry
def run(book, log, market, weights, setup, t0, t1):
    """Fold rows t0 ≤ t < t1 into the book; returns t1, or the row to go on from once the log is emptied.

    A row is: match what is open, pay what is due, mark, ask the breakers, decide what is new.
    """
    head = book.head[0]
    t = t0
    events, stamps = weights.row.shape[0], setup.stamps.shape[0]
    while t == t1 or has_room(book, log, setup):
        if head.working == 0 and head.retry == 0:
            stop = t1
            if head.event < events:
                stop = min(weights.row[head.event], t1)
            if head.stamp < stamps:
                stop = min(stop, setup.stamps[head.stamp])
            if head.expiry != 0:
                stop = min(stop, row_at(market.ts, head.expiry, t))
            t = quiet(book, market, setup.terms, t, stop)
        due = t < t1 and is_stamp(head, setup.stamps, t)
        busy = t < t1 and (
            due or head.working != 0 or head.margined != 0 or (head.resting != 0 and touched(book, market, t))
        )
        if busy or t == t1:
            sample(book, log, market, setup.terms, t)
            record(book, log, market, t)
        if t == t1:
            break
        if busy:
            fetch_marks(market, t + ROWS_AHEAD)
            trade_row(book, log, market, setup, t, due)
        forced = judge_row(book, log, market, setup, t)
        if is_due(head, weights, t, forced):
            decided = head.event
            decide_row(book, log, weights, market, setup, t, forced)
            for e in range(decided, head.event):
                fetch(market, weights, e + AHEAD)
        t += 1
    if t > t0:
        head.equity = mark(head.cash, book.quantity, market.mark[t - 1])
    return t
