"""A small venue for exact cases: hand-written bars, decisions at stated rows, lots of one unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from trimtab.rules.book import NO_GROUPS, Groups, Setup, Style, terms_of
from trimtab.rules.orders import REASONS
from trimtab.rules.plugged import address_of
from trimtab.sim.market import build_market
from trimtab.sim.simulate import Result, simulate
from trimtab.types import (
    BAR_FIELDS,
    DAY,
    GTC,
    HOUR,
    MARKET,
    ORDER_STATUSES,
    Costs,
    Flows,
    Instrument,
    Limits,
    Panel,
    Weights,
)

#: 2024-01-01 00:00 UTC, where every case starts.
START = 1_704_067_200 * 1_000_000_000

PLAIN = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 0)
FREE = Costs()

Bar = Sequence[float] | None
Decision = tuple[int, int, int, float]


def panel_of(
    bars: Sequence[Sequence[Bar]], instruments: Sequence[Instrument], first: int = START, step: int = HOUR, **extra: Any
) -> Panel:
    """(T, N) bars (open, high, low, close[, volume[, duration]]), None = no bar; one each `step` from `first` on.

    extra   further fields (T, N) by name, such as funding and fx
    """
    values = np.full((len(bars), len(instruments), len(BAR_FIELDS) + len(extra)), np.nan)
    for k, field in enumerate(extra.values()):
        values[:, :, len(BAR_FIELDS) + k] = np.array(field, np.float64).reshape(values.shape[:2])
    for t, row in enumerate(bars):
        for i, bar in enumerate(row):
            if bar is not None:
                values[t, i, : len(BAR_FIELDS)] = [*bar, *(1e9, float(step))[len(bar) - 4 :]]
    ts = first + step * np.arange(1, len(bars) + 1, dtype=np.int64)
    return Panel(ts, tuple(instruments), (*BAR_FIELDS, *extra), values, "1h")


def weights_of(decisions: Sequence[Decision]) -> Weights:
    """(row, model, instrument, weight) in any order."""
    d = sorted(decisions)
    columns = [np.array([x[k] for x in d], np.int64) for k in range(3)]
    return Weights(*columns, np.array([x[3] for x in d], np.float64))


@pytest.fixture
def play() -> Callable[..., Result]:
    """Fold hand-written bars; every price is in quote currency per lot unless an instrument says otherwise."""

    def fold(
        bars: Sequence[Any],
        decisions: Sequence[Any],
        *,
        costs: Costs | Sequence[Costs] = FREE,
        limits: Limits = Limits(),
        capital: float = 1_000.0,
        style: Style = PLAIN,
        instruments: Sequence[Instrument] | None = None,
        first: int = START,
        step: int = HOUR,
        base: str = "",
        cash: Sequence[float] = (),
        flows: Sequence[tuple[int, int, float]] = (),
        groups: Groups = NO_GROUPS,
        rules: Sequence[tuple[Callable[..., Any], float]] = (),
        **extra: Any,
    ) -> Result:
        if bars[0] is None or not isinstance(bars[0][0], tuple | list | type(None)):
            bars = [[bar] for bar in bars]
        n = len(bars[0])
        decisions = [(row, 0, 0, *rest) if len(rest) == 1 else (row, *rest) for row, *rest in decisions]
        known = instruments or [Instrument(symbol=f"I{k}", lot_size=1.0) for k in range(n)]
        each = (costs,) * n if isinstance(costs, Costs) else tuple(costs)
        models = 1 + max((d[1] for d in decisions), default=0)
        paid = Flows(*(np.array([f[k] for f in flows], np.int64) for k in range(2)), np.array([f[2] for f in flows]))
        setup = Setup(terms_of(tuple(known), each, base), limits, style, capital, models, flows=paid)
        setup = setup._replace(cash=np.array(cash, np.float64), groups=groups)
        made = [address_of(allow) for allow, _ in rules]  # alive until the run is over
        setup = setup._replace(
            rules=np.array([address for address, _ in made], np.int64), rule_bounds=np.array([b for _, b in rules])
        )
        market = build_market(panel_of(bars, known, first, step, **extra), base)
        return simulate(market, weights_of(decisions), setup)

    return fold


def flat(price: float, count: int, volume: float = 1e9) -> list[tuple[float, ...]]:
    """Bars that do not move."""
    return [(price, price, price, price, volume)] * count


@pytest.fixture(name="flat")
def flat_bars() -> Callable[..., list[tuple[float, ...]]]:
    return flat


@pytest.fixture
def lines() -> Callable[[Result], list[tuple[Any, ...]]]:
    """Fills as (row, instrument, lots, price), the shortest form that says what happened."""

    def read(result: Result) -> list[tuple[Any, ...]]:
        f = result.fills
        return [
            (int(r), int(i), int(n), float(p))
            for r, i, n, p in zip(f["row"], f["instrument"], f["lots"], f["price"], strict=True)
        ]

    return read


@pytest.fixture
def story() -> Callable[[Result], list[tuple[Any, ...]]]:
    """Orders by id as (lots, filled, status, reason)."""

    def read(result: Result) -> list[tuple[Any, ...]]:
        o = result.orders[np.argsort(result.orders["order_id"])]
        return [(int(x["lots"]), int(x["filled"]), ORDER_STATUSES[x["status"]], REASONS[x["reason"]]) for x in o]

    return read


@pytest.fixture
def day() -> int:
    return DAY


@pytest.fixture
def made() -> Callable[..., Panel]:
    return panel_of
