"""Random worlds: bars with gaps and odd volumes, models that disagree, costs, limits and ways to send orders."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from trimtab.rules.book import Setup, Style, terms_of
from trimtab.rules.market import Market
from trimtab.sim.market import build_market
from trimtab.types import BAR_FIELDS, HOUR, LIMIT, MARKET, Costs, Instrument, Limits, Panel, Weights


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


@pytest.fixture(scope="session")
def worlds() -> st.SearchStrategy[World]:
    return make()
