"""The last rows of the market as the rules read them, for whoever is given one row at a time.

A `Market` holds all of history; a `Tape` lays each new row behind the last and forgets what no rule looks back at, so
its memory does not grow. Rows have two numbers: `t`, their place on the tape, and `row`, counted from the first.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from trimtab.rules.adjust import carry_marks, columns_of, forward, is_eventful, unadjusted
from trimtab.rules.book import Book, Setup
from trimtab.rules.carry import FUNDING_EVERY
from trimtab.rules.clusters import CLUSTER_DAYS, clusters
from trimtab.rules.derive import derive, underived
from trimtab.rules.market import BY_ROW, Market, adjusted
from trimtab.types import DAY, F64, I64, SECOND, TrimtabError

#: Rows that stay at least: the gate looks back for the last 21 bars of an instrument, and for bars that are not stale.
KEPT: Final = 512

#: The row of a cash flow that has not come yet.
NEVER: Final = 2**62

_NONE: Final = np.empty(0)


class Tape:
    """Rows laid one behind the other; by `lay`, which gives the place of the newest.

    setup    what it was made for, whose cash flows and groups it brings up to date
    market   its memory; rows behind the newest mean nothing
    base     the number of the row at place 0

    fields      the K axis of what will be laid: open, high, low, close, volume, duration, then others
    length      ns of the grid's timeframe
    flows       (F,) instants of the set-up's cash flows, ns UTC, sorted
    currencies  (N,) of the instruments: whoever has a rate tells it for all wallets of its currency; none: of its own
    """

    def __init__(
        self, fields: tuple[str, ...], setup: Setup, length: int, flows: I64, currencies: tuple[str, ...] = ()
    ) -> None:
        n, columns = len(setup.terms), setup.terms["column"]
        foreign = int(columns.max(initial=-1)) + 1 - n
        self._foreign = max(foreign, 0)
        known = np.array(currencies or columns)
        self._tellers = [known == known[columns == n + k][0] for k in range(self._foreign)]
        stale = setup.limits.stale
        self._kept = KEPT if stale == np.inf else max(KEPT, 2 + int(stale * SECOND / length))
        self.setup, self._flows = setup, flows
        size = 2 * self._kept
        self._columns = columns
        self._fx = fields.index("fx") if "fx" in fields and self._foreign else -1
        if self._foreign and self._fx < 0:
            raise TrimtabError("the book holds several currencies, and its feed has no field `fx`")
        self._funding = fields.index("funding") if "funding" in fields else -1
        self._spread = fields.index("spread") if "spread" in fields else -1
        self._split, self._dividend = columns_of(fields)
        self._member = fields.index("member") if "member" in fields else -1
        self._forward = unadjusted(n) if is_eventful(fields) else None
        acted = size if self._forward is not None else 0
        mark = np.zeros((size, n + self._foreign))
        self.market = Market(
            np.zeros(size, np.int64),
            np.full((size, n, 8), np.nan),
            mark,
            np.zeros((size, n)),
            np.zeros((size, n)),
            np.full((size if self._funding >= 0 else 0, n), np.nan),
            np.full((size if self._spread >= 0 else 0, n), np.nan),
            np.full((size if self._split >= 0 else 0, n), np.nan),
            np.full((size if self._dividend >= 0 else 0, n), np.nan),
            np.ones((acted, n)),
            np.full((size if self._member >= 0 else 0, n), np.nan),
            mark.copy() if acted else mark,
            _NONE,
            _NONE,
            np.empty(0, np.int64),
        )
        terms, limits = setup.terms, setup.limits
        self._perpetual = terms["perpetual"] == 1
        self._funded = bool((terms["funding"][self._perpetual] != 0.0).any())
        clocked = min(limits.daily_loss, limits.weekly_loss) < np.inf
        self._daily = clocked or bool((terms["borrow"] > 0.0).any() or (terms["margin_interest"] > 0.0).any())
        self._state = underived(n)
        self._days = np.zeros((0, n))
        self.t = -1
        self.base = 0
        self._judged, self._due = -2, False  # the row of which it is known whether it is a stamp

    @property
    def row(self) -> int:
        """The number of the newest row; -1 before the first."""
        return self.base + self.t

    @property
    def ts(self) -> int:
        """The close instant of the newest row."""
        return int(self.market.ts[self.t])

    def lay(self, ts: int, bars: F64, books: tuple[Book, ...] = ()) -> int:
        """Lay a row behind the last and give its place; where the memory is full, the oldest half is forgotten.

        bars   (N, K) open, high, low, close, volume, duration, then the feed's other fields; NaN: not observed
        books  whatever remembers places of this tape
        """
        market = self.market
        if self.t >= 0 and ts <= market.ts[self.t]:
            raise TrimtabError(f"row {ts} came after row {self.ts}: expected instants that grow")
        if self.t + 1 == len(market.ts):
            self._forget(books)
        t = self.t = self.t + 1
        market.ts[t] = ts
        one = slice(t, t + 1)
        if self._forward is not None:
            self._act(t, bars)
        if self._foreign:
            marks = np.empty((1, bars.shape[0]))
            self._derive(one, bars, marks)
            self._translate(t, bars, marks[0])
        else:
            self._derive(one, bars, market.mark[one])
        if self._forward is not None:
            market.carried[t] = market.mark[t]
        if len(self._flows):
            self.setup.flows.row[(self._flows <= ts) & (self.setup.flows.row == NEVER)] = t
        if self._funding >= 0:
            market.funding[t] = bars[:, self._funding]
        if self._spread >= 0:
            market.spread[t] = bars[:, self._spread]
        if self._member >= 0:
            market.member[t] = bars[:, self._member]
        return t

    def _derive(self, one: slice, bars: F64, marks: F64) -> None:
        m = self.market
        split, dividend = m.split, m.dividend  # without rows where there is none
        if self._forward is not None:
            split, dividend = split[one], dividend[one]
        derive(self._state, m.ts[one], bars, m.rows[one], marks, m.low[one], m.high[one], _NONE, _NONE, split, dividend)

    def _act(self, t: int, bars: F64) -> None:
        """Splits and dividends of the newest row, and what they make of the marks that it begins with."""
        m, one = self.market, slice(t, t + 1)
        if self._split >= 0:
            m.split[t] = bars[:, self._split]
        if self._dividend >= 0:
            m.dividend[t] = bars[:, self._dividend]
        forward(self._forward, bars[None].copy(), self._split, self._dividend, m.factor[one])
        if t > 0:
            carry_marks(m.carried[t - 1 : t], m.split[one], m.dividend[one], self._columns)

    @property
    def _rows(self) -> tuple[Any, ...]:
        """The arrays that have a row per row, each once."""
        return self.market[: BY_ROW if self._forward is not None else BY_ROW - 1]

    def _translate(self, t: int, bars: F64, marks: F64) -> None:
        """Marks in base currency, and the rates of the foreign wallets, filled forward."""
        n, mark = len(marks), self.market.mark
        mark[t, n:] = mark[t - 1, n:] if t > 0 else 0.0
        for at in range(n, n + self._foreign):
            known = bars[self._tellers[at - n], self._fx]
            known = known[known > 0.0]
            if len(known):
                mark[t, at] = known[0]
        mark[t, :n] = np.where(self._columns < 0, marks, marks * mark[t, self._columns])

    def _forget(self, books: tuple[Book, ...]) -> None:
        gone = len(self.market.ts) - self._kept
        for column in self._rows:
            if len(column):
                column[: self._kept] = column[gone:]
        for book in books:
            book.positions["used_row"] -= gone
        self.t -= gone
        self.base += gone

    def is_due(self) -> bool:
        """Is the newest row a stamp: does anything fall due at it, see rules.carry?"""
        if self._judged != self.row:  # it is asked before the row is traded, and after
            self._judged, self._due = self.row, self._falls_due()
        return self._due

    def _falls_due(self) -> bool:
        t, market = self.t, self.market
        if len(self._flows) and (self.setup.flows.row == t).any():
            return True
        ts, before = int(market.ts[t]), int(market.ts[t - 1]) if t > 0 else -1
        if self._member >= 0 and self._turns(t):
            return True
        acted = (market.split, market.dividend) if self._forward is not None else ()
        if any(np.isfinite(field[t]).any() for field in acted if len(field)):
            return True
        if len(market.funding):
            if np.isfinite(market.funding[t, self._perpetual]).any():
                return True
        elif self._funded and (t == 0 or ts // FUNDING_EVERY > before // FUNDING_EVERY):
            return True
        return self._daily and (t == 0 or ts % DAY == 0 or (ts - 1) // DAY > (before - 1) // DAY)

    def _turns(self, t: int) -> bool:
        """Does anybody come or go at the newest row?"""
        now = self.market.member[t]
        return bool((now == -1.0).any() or (t > 0 and ((now <= 0.0) != (self.market.member[t - 1] <= 0.0)).any()))

    def turn_day(self) -> None:
        """After the newest row was traded: where a UTC day is over, what moves together is estimated anew."""
        if self.setup.limits.group_gross == np.inf:
            return
        t, ts = self.t, self.ts
        before = int(self.market.ts[t - 1]) if t > 0 else ts
        if before % DAY and (ts - 1) // DAY > (before - 1) // DAY:
            self._end_day(t - 1)
        if ts % DAY == 0:
            self._end_day(t)

    def _end_day(self, t: int) -> None:
        marks = adjusted(self.market, t)
        self._days = np.vstack([self._days, marks])[-(CLUSTER_DAYS + 1) :]
        groups, least = self.setup.groups, self.setup.limits.group_correlation
        groups.cluster[0] = clusters(self._days, least)[-1]
        groups.cluster_row[0] = -1

    def save(self) -> dict[str, Any]:
        """What it holds, as numbers and arrays."""
        used = self.t + 1
        return {
            "t": self.t,
            "base": self.base,
            "market": [column[:used].copy() for column in self._rows],
            "derived": [column.copy() for column in self._state],
            "forward": [column.copy() for column in self._forward or ()],
            "days": self._days,
            "flows": self.setup.flows.row.copy(),
            "cluster": self.setup.groups.cluster.copy(),
            "cluster_row": self.setup.groups.cluster_row.copy(),
        }

    def load(self, saved: dict[str, Any]) -> None:
        """What `save` gave, into a tape of the same set-up."""
        self.t, self.base = saved["t"], saved["base"]
        self._judged = -2
        for column, found in zip(self._rows, saved["market"], strict=True):
            column[: len(found)] = found
        for column, found in zip(self._state, saved["derived"], strict=True):
            column[...] = found
        for column, found in zip(self._forward or (), saved["forward"], strict=True):
            column[...] = found
        self._days = saved["days"]
        self.setup.flows.row[:] = saved["flows"]
        self.setup.groups.cluster[...] = saved["cluster"]
        self.setup.groups.cluster_row[:] = saved["cluster_row"]


def live_setup(setup: Setup) -> Setup:
    """A set-up whose cash flows and groups are told as they come: what was known of a panel is taken out of it."""
    n = len(setup.terms)
    groups = setup.groups
    if setup.limits.group_gross < np.inf:
        groups = groups._replace(cluster=np.zeros((1, n), np.int64), cluster_row=np.full(1, NEVER, np.int64))
    flows = setup.flows._replace(row=np.full(len(setup.flows.row), NEVER, np.int64))
    return setup._replace(groups=groups, flows=flows, stamps=np.empty(0, np.int64), alarm=np.empty((0, 4)))
