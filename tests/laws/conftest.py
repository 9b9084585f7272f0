"""Random worlds: bars with gaps and odd volumes, models that disagree, costs, limits and ways to send orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import strategies as st

from trimtab.rules.book import NO_GROUPS, TARGET, Book, Groups, Setup, Style, new_log, open_book, terms_of, wallets_of
from trimtab.rules.breakers import judge
from trimtab.rules.decide import decide, is_due
from trimtab.rules.market import Market
from trimtab.rules.orders import net
from trimtab.rules.trade import trade
from trimtab.sim.market import build_market
from trimtab.sim.setup import complete
from trimtab.types import BAR_FIELDS, HOUR, LIMIT, MARKET, Costs, Flows, Instrument, Limits, Panel, Weights


class World(NamedTuple):
    panel: Panel
    market: Market
    weights: Weights
    setup: Setup
    made: str = ""  # what it was drawn from

    def __repr__(self) -> str:
        return f"World({self.made}, {self.setup.limits}, {self.setup.style})"


def bars_of(rng: np.random.Generator, rows: int, n: int, gaps: float, odd: float) -> Panel:
    """A random walk that gaps at the open; bars are missing, and volumes zero or unknown, now and then."""
    values = np.empty((rows, n, len(BAR_FIELDS)))
    vol = float(rng.choice([0.002, 0.02, 0.08]))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, vol, (rows, n)), axis=0))
    before = np.vstack([np.full((1, n), 100.0), close[:-1]])
    opened = before * np.exp(rng.normal(0.0, vol / 2, (rows, n)))
    values[:, :, 0], values[:, :, 3] = opened, close
    values[:, :, 1] = np.maximum(opened, close) * (1.0 + np.abs(rng.normal(0.0, vol / 2, (rows, n))))
    values[:, :, 2] = np.minimum(opened, close) * (1.0 - np.minimum(np.abs(rng.normal(0.0, vol / 2, (rows, n))), 0.5))
    values[:, :, 4] = rng.lognormal(8.0, 2.0, (rows, n))
    values[:, :, 5] = HOUR
    fate = rng.random((rows, n))
    values[fate < odd, 4] = 0.0
    values[fate < odd / 2, 4] = np.nan
    values[rng.random((rows, n)) < gaps, :5] = np.nan
    ts = 1_704_067_200 * 10**9 + HOUR * np.arange(1, rows + 1, dtype=np.int64)
    lots = [float(rng.choice([1.0, 0.01, 1e-5])) for _ in range(n)]
    made = [
        Instrument(symbol=f"I{k}", lot_size=size, shortable=bool(rng.random() < 0.8)) for k, size in enumerate(lots)
    ]
    return Panel(ts, tuple(made), BAR_FIELDS, values, "1h")


def wishes(rng: np.random.Generator, rows: int, n: int, models: int, often: float) -> Weights:
    found = [
        (t, m, i, float(rng.integers(-6, 7)) / 6 * (1.5 if rng.random() < 0.1 else 0.5))
        for t in range(rows)
        for m in range(models)
        for i in range(n)
        if rng.random() < often
    ]
    columns = [np.array([x[k] for x in found], np.int64) for k in range(3)]
    return Weights(*columns, np.array([x[3] for x in found], np.float64))


def costs_from(rng: np.random.Generator) -> Costs:
    def some(*values: float) -> float:
        return float(rng.choice(values))

    return Costs(
        some(0.0, 0.0005),
        some(0.0, 0.001),
        some(0.0, 0.001),
        some(0.0, 0.1),
        some(0.0, 0.001),
        some(0.0, 0.01, 0.3),
        some(0.5, 0.5, 0.8),
        some(0.0, 0.0, 60.0, 8_000.0),
        some(np.inf, 0.2, 0.01),
        some(0.0, 0.0, 0.2),
    )


def limits_from(rng: np.random.Generator) -> Limits:
    def maybe(*values: float) -> float:
        return float(rng.choice([np.inf, np.inf, *values]))

    return Limits(
        maybe(0.5, 1.0),
        maybe(0.2, 0.6),
        maybe(0.02, 0.1),
        float(rng.choice([0.0, 0.5, 0.9])),
        maybe(0.05, 0.3),
        maybe(0.01, 0.05),
        maybe(0.01, 0.05),
        maybe(0.01, 0.05),
    )


def style_from(rng: np.random.Generator) -> Style:
    resting = rng.random() < 0.4
    return Style(
        LIMIT if resting else MARKET,
        float(rng.choice([0.0, 0.003, 0.02])) if resting else 0.0,
        int(rng.integers(4)),
        int(resting and rng.random() < 0.3),
        int(rng.random() < 0.2),
        int(rng.random() < 0.3),
        float(rng.choice([0.0, 0.0, 0.05])),
        int(rng.integers(1_000)),
    )


@st.composite
def make(draw: st.DrawFn, rows: int = 120) -> World:
    """Numbers come from a drawn seed, sizes are drawn themselves: failures shrink to few rows."""
    t, n, m = draw(st.integers(2, rows)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    gaps, odd = draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from([0.0, 0.1]))
    often = draw(st.sampled_from([0.3, 0.05, 1.0]))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    panel = bars_of(rng, t, n, gaps, odd)
    costs = tuple(costs_from(rng) for _ in range(n))
    setup = Setup(terms_of(panel.instruments, costs), limits_from(rng), style_from(rng), 1e5, m)
    made = f"rows={t}, n={n}, models={m}, gaps={gaps}, odd={odd}, often={often}, seed={seed}"
    return World(panel, build_market(panel), wishes(rng, t, n, m, often), setup, made)


def wild(rng: np.random.Generator, panel: Panel) -> Panel:
    """The same bars with gaps of up to 90% either way, funding, quoted spreads, and two currencies in two venues."""
    rows, n = panel.values.shape[:2]
    values = np.full((rows, n, len(BAR_FIELDS) + 3), np.nan)
    values[:, :, : len(BAR_FIELDS)] = panel.values
    for i in range(n):
        for t in rng.integers(0, rows, rng.integers(0, 3)):
            values[t:, i, :4] *= float(rng.choice([0.1, 0.5, 0.8, 1.25, 2.0, 10.0]))
    due = rng.random((rows, n)) < 0.1
    values[due, len(BAR_FIELDS)] = rng.normal(0.0, 0.001, int(due.sum()))
    values[:, :, len(BAR_FIELDS) + 1] = rng.lognormal(-7.0, 1.0, (rows, n))
    rate = 0.9 * np.exp(np.cumsum(rng.normal(0.0, 0.003, rows)))
    made = []
    for i, instrument in enumerate(panel.instruments):
        foreign = i % 2 == 1
        values[:, i, len(BAR_FIELDS) + 2] = rate if foreign else 1.0
        margin = float(rng.choice([1.0, 0.5, 0.1, 0.1]))
        made.append(
            msgspec.structs.replace(
                instrument,
                kind=str(rng.choice(["spot", "perpetual"])),
                quote="EUR" if foreign else "USD",
                initial_margin=margin,
                maintenance_margin=0.0 if margin == 1.0 else margin / 2,
                tick_size=float(rng.choice([0.0, 0.01])),
            )
        )
    return Panel(panel.ts, tuple(made), (*BAR_FIELDS, "funding", "spread", "fx"), values, panel.timeframe)


def acted_on(rng: np.random.Generator, panel: Panel) -> Panel:
    """The same bars with splits by odd ratios, some of them undone by the prices, and dividends; both now and then."""
    rows, n = panel.values.shape[:2]
    values = np.concatenate([panel.values, np.full((rows, n, 2), np.nan)], axis=2)
    for i in range(n):
        there = np.flatnonzero(values[:, i, 0] > 0.0)[1:]
        for t in rng.choice(there, min(len(there), int(rng.integers(0, 6))), replace=False).tolist():
            if rng.random() < 0.7:
                values[t, i, -2] = ratio = float(rng.choice([2.0, 0.5, 1.5, 1.0 / 3.0, 7.0, 0.1, 1.0]))
                values[t:, i, :4] /= ratio if rng.random() < 0.9 else 1.0
            if rng.random() < 0.7:
                values[t, i, -1] = float(rng.choice([1e-4, 0.01, 0.3, 2.0])) * values[t, i, 0]
    return Panel(panel.ts, panel.instruments, (*panel.fields, "split", "dividend"), values, panel.timeframe)


def joined_by(rng: np.random.Generator, panel: Panel) -> Panel:
    """The same bars of members that come and go, some of which are delisted."""
    rows, n = panel.values.shape[:2]
    values = np.concatenate([panel.values, np.ones((rows, n, 1))], axis=2)
    for i in range(n):
        for t in rng.integers(0, rows, rng.integers(0, 5)):
            values[t:, i, -1] = 1.0 - values[t, i, -1]
        there = np.flatnonzero(values[:, i, 0] > 0.0)
        if len(there) and rng.random() < 0.4:
            end = min(int(rng.choice(there)) + int(rng.integers(0, 4)), rows - 1)  # with a bar there or not
            values[end, i, -1], values[end + 1 :, i, -1] = -1.0, 0.0
    return Panel(panel.ts, panel.instruments, (*panel.fields, "member"), values, panel.timeframe)


def rarer(rng: np.random.Generator, limits: Limits, n: int, models: int) -> tuple[Limits, Groups]:
    """The same limits with some of the rarer ones set."""

    def maybe(*values: float) -> float:
        return float(rng.choice([np.inf, np.inf, *values]))

    groups = NO_GROUPS._replace(
        asset_class=rng.integers(0, min(n, 2), n),
        class_cap=np.array([maybe(0.3), maybe(0.6)]),
        venue=rng.integers(0, min(n, 2), n),
        venue_cap=np.array([maybe(0.3), maybe(0.6)]),
        model_cap=np.array([maybe(0.1, 0.5) for _ in range(models)]),
        cluster=np.array([rng.integers(0, n, n) for _ in range(2)]),
        cluster_row=np.array([0, 50]),
    )
    return limits._replace(
        daily_loss=maybe(0.01, 0.05),
        weekly_loss=maybe(0.02, 0.1),
        stale=maybe(3_600.0, 4 * 3_600.0),
        order_notional=maybe(2_000.0, 20_000.0),
        collar=maybe(0.01, 0.1),
        max_holding=maybe(3 * 3_600.0, 30 * 3_600.0),
        concentration=maybe(0.4),
        net_exposure=maybe(0.2),
        heat=maybe(0.1, 0.5),
        group_gross=maybe(0.4),
        unusual_vol=maybe(1.0),
        unusual_gap=maybe(0.02),
        unusual_spread=maybe(0.002),
    ), groups


@st.composite
def make_full(draw: st.DrawFn) -> World:
    """A world with everything on: margin accounts, carry, cash flows, currencies, wild prices, and all the limits."""
    w = draw(make())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    panel = wild(rng, w.panel)
    panel = acted_on(rng, panel) if draw(st.booleans()) else panel
    panel = joined_by(rng, panel) if draw(st.booleans()) else panel
    rows, n, models = len(panel.ts), len(panel.instruments), w.setup.models
    carry = {
        "funding": float(rng.choice([0.0, 1e-4])),
        "borrow": float(rng.choice([0.0, 0.1])),
        "margin_interest": float(rng.choice([0.0, 0.1])),
        "liquidation": float(rng.choice([0.0, 0.01])),
    }
    costs = tuple(costs_from(rng)._replace(**carry) for _ in range(n))
    limits, groups = rarer(rng, limits_from(rng), n, models)
    wallets = wallets_of(panel.instruments)
    cash = np.array([60_000.0 if quote == "USD" else 40_000.0 for _, quote in wallets])
    market = build_market(panel, "USD")
    terms = terms_of(panel.instruments, costs, "USD")
    at = np.sort(rng.integers(0, rows, rng.integers(0, 4)))
    flows = Flows(at, rng.integers(0, len(wallets), len(at)), rng.uniform(-5e3, 1e4, len(at)))
    first = market.mark[0]
    capital = sum(c * (first[n] if quote == "EUR" else 1.0) for c, (_, quote) in zip(cash, wallets, strict=True))
    setup = Setup(terms, limits, style_from(rng), float(capital), models, flows=flows, groups=groups, cash=cash)
    size = float(rng.choice([1.0, 4.0])) * rng.choice([1.0, 1e-6, 1e3], len(w.weights.value), p=[0.9, 0.05, 0.05])
    weights = w.weights._replace(value=w.weights.value * size)
    return World(panel, market, weights, setup, w.made)


@pytest.fixture(scope="session")
def full_worlds() -> st.SearchStrategy[World]:
    return make_full()


@pytest.fixture(scope="session")
def worlds() -> st.SearchStrategy[World]:
    return make()


def pending_of(book: Book) -> np.ndarray:
    """Lots that the target order of each instrument has left; 0 where there is none."""
    orders = book.orders[:, TARGET]
    live = (book.positions["live"] >> TARGET) & 1 == 1
    return np.where(live, orders["lots"] - orders["filled"], 0)


class Decision(NamedTuple):
    """One decision: what is held, wanted and allowed after it, per instrument."""

    row: int
    held: np.ndarray
    wanted: np.ndarray  # net of the models, per instrument
    goal: np.ndarray
    placed: np.ndarray  # instruments with a new order


def walk_rows(w: Any, look: Callable[[Book, int], None] | None = None) -> tuple[Book, list[Decision]]:
    """The plain fold, pausing around each decision; `look` sees the book at the end of every row."""
    n = len(w.panel.instruments)
    setup = complete(w.setup, w.market)
    book = open_book(setup.capital, setup.terms, setup.models, setup.cash)
    log = new_log(60_000, n, w.setup.models, 0, np.empty(0, np.int64))
    head = book.head[0]
    found: list[Decision] = []
    for t in range(len(w.panel.ts)):
        trade(book, log, w.market, setup, t, bool((setup.stamps == t).any()))
        head["floor"] = np.inf  # the breakers are asked on every row
        forced = judge(book, log, w.market, setup, t)
        if is_due(head, w.weights, t, forced):
            decide(book, log, w.weights, w.market, setup, t, forced)
            placed = (book.orders[:, TARGET]["ts"] == w.market.ts[t]) & (pending_of(book) != 0)
            wanted = np.array([net(book.target, i) for i in range(n)])
            held, goal = book.positions["lots"].copy(), book.goal.copy()
            found.append(Decision(t, held, wanted, goal, placed))
        if look is not None:
            look(book, t)
    return book, found


@pytest.fixture(scope="session")
def pending() -> Callable[[Book], np.ndarray]:
    return pending_of


@pytest.fixture(scope="session")
def walk() -> Callable[..., tuple[Book, list[Decision]]]:
    return walk_rows
