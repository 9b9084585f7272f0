"""Real bars, several models, and the set-ups under which both drivers must agree."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.parity.engaged import ALL_IN_ONE, EACH, Way
from trimtab.rules.book import Setup, Style, terms_of
from trimtab.sim.market import build_market
from trimtab.types import (
    BAR_FIELDS,
    DAY,
    DAY_ORDER,
    FOK,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    TIMEFRAMES,
    Costs,
    Flows,
    Instrument,
    Limits,
    Panel,
    Weights,
)

ROWS = 2_000
MODELS = 3

PLAIN = Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 7)
FULL = Costs(0.0005, 0.001, 0.0002, 0.02, 0.0001, 0.1, 0.5, 20.0, 0.05, 0.02)
FEES = Costs(maker_fee=0.0005, taker_fee=0.001, half_spread=0.0002)
HARD = Limits(1.0, 0.6, 0.04, 0.5, 0.5, 0.02, 0.04, 0.03)

#: name -> (costs, limits, style, capital as a multiple of 100,000, what it must bring about: else it proves nothing)
SETUPS: dict[str, tuple[Costs, Limits, Style, float, set[str]]] = {
    "free": (Costs(), Limits(), PLAIN, 1.0, set()),
    "costs": (FULL, Limits(), PLAIN, 1.0, {"rejected by the venue"}),
    "participation": (FULL._replace(participation=0.001), Limits(), PLAIN, 100.0, {"replaced by a new decision"}),
    "latency beyond the bar": (FULL._replace(latency=-9.3), Limits(), PLAIN, 1.0, {"replaced by a new decision"}),
    "rejects": (FULL._replace(reject=0.3), Limits(), PLAIN, 1.0, {"rejected by the venue"}),
    "limits": (
        FEES,
        Limits(0.2, 0.12, 0.03, 0.5, 0.3),
        PLAIN,
        1.0,
        {"max_weight", "gross_leverage", "drawdown_derisk"},
    ),
    "halt": (FULL, Limits(drawdown_halt=0.03), PLAIN, 1.0, {"drawdown_halt"}),
    "stop and target": (
        FULL,
        Limits(stop_loss=0.02, take_profit=0.03),
        PLAIN,
        1.0,
        {"stop_loss", "take_profit", "the other order of the pair filled"},
    ),
    "trailing": (FULL, Limits(trailing_stop=0.025), PLAIN, 1.0, {"trailing_stop"}),
    "all limits": (FULL, HARD, PLAIN, 10.0, {"stop_loss", "trailing_stop", "drawdown_derisk"}),
    "limit orders": (FULL, HARD, PLAIN._replace(kind=LIMIT, offset=0.004), 1.0, {"stop_loss", "maker"}),
    "post only": (
        FEES,
        Limits(),
        PLAIN._replace(kind=LIMIT, offset=0.0, post_only=1),
        1.0,
        {"would have taken liquidity (post only)", "maker"},
    ),
    "IOC": (FULL._replace(participation=0.001), HARD, PLAIN._replace(tif=IOC), 100.0, {"not filled at once (IOC)"}),
    "FOK": (FULL._replace(participation=0.001), HARD, PLAIN._replace(tif=FOK), 100.0, {"could not fill whole (FOK)"}),
    "DAY limit": (FULL, HARD, PLAIN._replace(kind=LIMIT, offset=0.01, tif=DAY_ORDER), 1.0, {"end of day", "maker"}),
    "always with a buffer": (FULL, HARD, PLAIN._replace(always=1, buffer=0.02), 1.0, {"stop_loss"}),
    "always": (FEES, Limits(0.2, 0.15), PLAIN._replace(always=1), 1.0, {"gross_leverage", "max_weight"}),
    "clocks": (FULL, Limits(daily_loss=0.004, weekly_loss=0.01), PLAIN, 1.0, {"daily_loss", "weekly_loss"}),
    "carry": (FULL._replace(funding=2e-4, borrow=0.05, margin_interest=0.08), HARD, PLAIN, 1.0, {"stop_loss"}),
    "margin": (
        FULL._replace(funding=2e-4, borrow=0.05, margin_interest=0.08, liquidation=0.01),
        Limits(0.9, daily_loss=0.03),
        PLAIN,
        1.0,
        {"margin_call"},
    ),
    "ignored volume": (FULL, HARD, PLAIN._replace(ignore_volume=1), 1.0, {"stop_loss"}),
}


@pytest.fixture(params=list(SETUPS))
def case(request: pytest.FixtureRequest) -> tuple[Callable[[Panel], Setup], set[str]]:
    """The set-up of a panel under one of SETUPS, and what it must bring about. A negative latency counts bars."""
    costs, limits, style, capital, acted = SETUPS[request.param]
    margined = request.param in ("carry", "margin")

    def of(panel: Panel) -> Setup:
        bar = TIMEFRAMES[panel.timeframe] / 1e9
        paid = costs._replace(latency=abs(costs.latency) * (bar if costs.latency < 0.0 else 1.0))
        instruments = panel.instruments
        if margined:
            # A venue that wants twice the notional in equity liquidates often enough to be seen.
            rules = {"initial_margin": 0.1, "maintenance_margin": 2.0 if request.param == "margin" else 0.0}
            kinds = ("perpetual", "spot", "perpetual")[: len(instruments)]
            instruments = tuple(
                msgspec.structs.replace(i, kind=k, **rules) for i, k in zip(instruments, kinds, strict=True)
            )
        records = terms_of(instruments, (paid,) * len(instruments))
        setup = Setup(records, limits, style, capital * 100_000.0, MODELS)
        if margined:
            rows = np.array([150, 151, 900], np.int64)
            setup = setup._replace(flows=Flows(rows, np.zeros(3, np.int64), np.array([5e4, -2e4, -1e4])))
        return setup

    return of, acted


def indices() -> Panel:
    """S&P 500 and Nasdaq, daily sessions of 2006 to 2013; shares of the volume, so that the caps can act."""
    sp500 = pytest.importorskip("arch.data.sp500").load()
    nasdaq = pytest.importorskip("arch.data.nasdaq").load()
    frames = [f.iloc[1_800 : 1_800 + ROWS] for f in (sp500, nasdaq)]
    ts = frames[0].index.to_numpy().astype("datetime64[ns]").astype(np.int64) + 21 * DAY // 24
    values = np.empty((ROWS, 2, len(BAR_FIELDS)))
    for i, f in enumerate(frames):
        values[:, i, :5] = f[["Open", "High", "Low", "Close", "Volume"]].to_numpy(np.float64)
        values[:, i, 4] /= 1e4
        values[:, i, 5] = 6.5 * DAY / 24
    instruments = tuple(Instrument(symbol=s, lot_size=0.01) for s in ("SPX", "NDX"))
    return Panel(ts, instruments, BAR_FIELDS, values, "1d")


def crypto(shared: Path) -> Panel:
    """Three coins by the hour over 2021: two are listed later than the first, and all miss hours."""
    import polars as pl

    start = pl.datetime(2021, 2, 20, time_zone="UTC")
    frames = {}
    for symbol in ("BTCEUR", "ETHEUR", "ADAEUR"):
        frame = pl.read_parquet(shared / "data" / "crypto_bitvavo" / f"{symbol}_1h.parquet")
        frames[symbol] = frame.filter(pl.col("open_time") >= start).head(ROWS + 400)
    sizes = {"BTCEUR": 1e-6, "ETHEUR": 1e-5, "ADAEUR": 0.1}
    panel = Panel.from_frames(frames, "1h", [Instrument(symbol=s, lot_size=v) for s, v in sizes.items()])
    return Panel(panel.ts[:ROWS], panel.instruments, panel.fields, panel.values[:ROWS], "1h")


def decided(panel: Panel, every: bool, pace: int = 1) -> Weights:
    """Three models that disagree: a fast trend, its opposite at twice the length with shorts, and a slow trend.

    Each looks every few bars (times `pace`), and says so at every look if `every`. Weights are steps of 1/4 of the
    budget: many are equal.
    """
    close = panel.values[:, :, 3]
    found: list[tuple[int, int, int, float]] = []
    budget = (0.5, 0.3, 0.4)
    for i in range(close.shape[1]):
        seen = np.flatnonzero(close[:, i] > 0.0)
        c = close[seen, i]
        for m, n in enumerate((12, 24, 60)):
            last = np.nan
            for k in range(n, len(c), n // 2 * pace):
                mean = c[k - n : k].mean()
                gap = (c[k] / mean - 1.0) / (c[k - n : k].std() / mean + 1e-9)
                f = np.clip(round(gap * (1.0, -1.0, 1.0)[m] * 2) / 4, -1.0 if m == 1 else 0.0, 1.0)
                w = float(f) * budget[m] / close.shape[1]
                if w != last or every:
                    found.append((int(seen[k]), m, i, w))
                    last = w
    found.sort()
    columns = [np.array([x[j] for x in found], np.int64) for j in range(3)]
    return Weights(*columns, np.array([x[3] for x in found]))


@pytest.fixture(scope="session")
def daily() -> tuple[Any, ...]:
    panel = indices()
    return panel, build_market(panel), decided(panel, False), decided(panel, True)


@pytest.fixture(scope="session")
def alone() -> tuple[Any, ...]:
    """One instrument with long quiet stretches, which the driver passes over in blocks."""
    pair = indices()
    panel = Panel(pair.ts, pair.instruments[1:], pair.fields, np.ascontiguousarray(pair.values[:, 1:]), "1d")
    return panel, build_market(panel), decided(panel, False, 5), decided(panel, True, 5)


@pytest.fixture(scope="session")
def hourly(shared: Path) -> tuple[Any, ...]:
    panel = crypto(shared)
    assert np.isnan(panel.values[:, :, 3]).any()
    assert (np.diff(panel.ts) > panel.ts[1] - panel.ts[0]).any()
    return panel, build_market(panel), decided(panel, False), decided(panel, True)


def acted_on(panel: Panel) -> Panel:
    """The same bars of companies that split their shares every few weeks, by odd ratios too, and pay dividends."""
    rows, n = panel.values.shape[:2]
    rng = np.random.default_rng(3)
    values = np.concatenate([panel.values, np.full((rows, n, 2), np.nan)], axis=2)
    for i in range(n):
        there = np.flatnonzero(panel.values[:, i, 3] > 0.0)[1:]
        for k in np.sort(rng.choice(len(there), rows // 12, replace=False)).tolist():
            t, before = there[k], there[k - 1] if k else there[0]
            if rng.random() < 0.6:
                ratio = float(rng.choice([2.0, 0.5, 3.0, 1.0 / 3.0, 1.5, 2.0 / 3.0, 7.0, 1.0 / 7.0]))
                values[t, i, -2] = ratio
                values[t:, i, :4] /= ratio
                values[t:, i, 4] *= ratio
            if rng.random() < 0.6:
                values[t, i, -1] = 0.01 * values[before, i, 3]
    return Panel(panel.ts, panel.instruments, (*panel.fields, "split", "dividend"), values, panel.timeframe)


def joined_by(panel: Panel) -> Panel:
    """The same bars of a universe whose members come and go every few weeks, and of whom the last is delisted."""
    rows, n = panel.values.shape[:2]
    rng = np.random.default_rng(4)
    values = np.concatenate([panel.values, np.full((rows, n, 1), np.nan)], axis=2)
    for i in range(n):
        turns = np.sort(rng.choice(rows, 24, replace=False))
        values[:, i, -1] = np.searchsorted(turns, np.arange(rows), side="right") % 2 == (i > 0)
    last = int(np.flatnonzero(panel.values[: rows * 3 // 4, -1, 3] > 0.0)[-1])
    values[last + 1 :, -1] = np.nan
    values[last - 60 : last + 3, -1, -1] = 1.0  # so that it is held
    values[last + 3, -1, -1] = -1.0
    values[last + 4 :, -1, -1] = 0.0
    return Panel(panel.ts, panel.instruments, (*panel.fields, "member"), values, panel.timeframe)


@pytest.fixture(scope="session")
def joined(daily: tuple[Any, ...]) -> tuple[Any, ...]:
    """A universe as of each day, with splits and dividends."""
    panel = joined_by(acted_on(daily[0]))
    return panel, build_market(panel), daily[2], daily[3]


@pytest.fixture(scope="session")
def acted(daily: tuple[Any, ...]) -> tuple[Any, ...]:
    """Indices as if they were companies, with splits and dividends; what is decided is what their owners decide."""
    panel = acted_on(daily[0])
    return panel, build_market(panel), daily[2], daily[3]


@pytest.fixture(scope="session")
def acted_hourly(hourly: tuple[Any, ...]) -> tuple[Any, ...]:
    panel = acted_on(hourly[0])
    return panel, build_market(panel), hourly[2], hourly[3]


#: By day one journal meets every way of going on. A journal for each of them takes three times as long, and finds no
#: more than a fault that the next restart mends: by day the real sessions look for one.
@pytest.fixture(params=[pytest.param(ALL_IN_ONE, id="one"), pytest.param(EACH, id="each", marks=pytest.mark.nightly)])
def ways(request: pytest.FixtureRequest) -> Sequence[Way]:
    return request.param


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where the system has one: a real journal that does not wait for a disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
