"""The share of each limit in use, held against books that the driver leaves at every row."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.research import utilisation as module
from trimtab.research.utilisation import told
from trimtab.rules.book import new_log, open_book
from trimtab.sim.driver import run as fold
from trimtab.sim.setup import complete
from trimtab.sim.simulate import LOG_ROWS
from trimtab.types import BAR_FIELDS, DAY, HOUR

LIMITS = tt.Limits(
    gross_leverage=0.9,
    max_weight=0.4,
    drawdown_derisk=0.05,
    drawdown_halt=0.6,
    daily_loss=0.015,
    weekly_loss=0.02,
    concentration=0.5,
    net_exposure=0.7,
    heat=0.6,
    group_gross=0.6,
    group_correlation=0.3,
)
CAPS = tt.Caps(asset_classes={"equity": 0.5}, venues={"*": 0.8}, models={"momentum": 0.3})
NAMES = [
    ("max_weight", ""), ("asset_class", "equity"), ("venue", "one"), ("venue", "two"), ("model", "momentum"),
    ("concentration", ""), ("gross_leverage", ""), ("net_exposure", ""), ("heat", ""), ("group_gross", ""),
    ("daily_loss", ""), ("weekly_loss", ""), ("drawdown_derisk", ""), ("drawdown_halt", ""),
]  # fmt: skip


def panel_of(rows: int = 900, n: int = 4, step: int = 4 * HOUR) -> tt.Panel:
    """Correlated walks on a 4h grid with gaps; the second and fourth are euro perpetuals on margin."""
    rng = np.random.default_rng(3)
    common = rng.normal(0.0, 0.01, (rows, 1))
    close = 100.0 * np.exp(np.cumsum(0.7 * common + rng.normal(0.0, 0.01, (rows, n)), axis=0))
    opened = np.vstack([np.full((1, n), 100.0), close[:-1]])
    values = np.full((rows, n, len(BAR_FIELDS) + 2), np.nan)
    values[:, :, 0], values[:, :, 3] = opened, close
    values[:, :, 1], values[:, :, 2] = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    values[:, :, 4], values[:, :, 5] = 1e7, step
    values[:, 1::2, 6] = (1.1 * np.exp(np.cumsum(rng.normal(0.0, 0.002, rows))))[:, None]
    values[::2, 1::2, 7] = 1e-4
    values[rng.random((rows, n)) < 0.02, :5] = np.nan
    made = [
        tt.Instrument(
            symbol=f"S{i}",
            asset_class="equity" if i < 2 else "crypto",
            venue="two" if i % 2 else "one",
            quote="EUR" if i % 2 else "USD",
            kind="perpetual" if i % 2 else "spot",
            initial_margin=0.2 if i % 2 else 1.0,
            maintenance_margin=0.1 if i % 2 else 0.0,
        )
        for i in range(n)
    ]
    ts = 1_704_067_200 * 10**9 + step * np.arange(1, rows + 1, dtype=np.int64)
    return tt.Panel(ts, tuple(made), (*BAR_FIELDS, "fx", "funding"), values, "4h")


PANEL = panel_of()
SPEC = tt.Spec(
    models=(
        tt.Model(strategy="sma_cross", params={"fast": 4, "slow": 15, "short": True}, budget=0.6),
        tt.Model(strategy="momentum", params={"lookback": 20, "vol_window": 8}, budget=0.4),
    ),
    universe=PANEL.symbols,
    timeframe="4h",
    capital={"one/USD": 60_000.0, "two/EUR": 40_000.0},
    cash_flows=(
        tt.CashFlow(at="2024-02-01", amount=9_000.0),
        tt.CashFlow(at="2024-03-05T10:00:00Z", amount=-5_000.0, wallet="EUR"),
    ),
    costs=tt.Costs(taker_fee=0.001, half_spread=0.0005, borrow=0.05, margin_interest=0.08),
    limits=LIMITS,
    caps=CAPS,
)


@pytest.fixture(scope="module")
def run() -> tt.Run:
    return tt.backtest(SPEC, PANEL)


def measured(run: tt.Run) -> dict[tuple[str, str], np.ndarray]:
    """Every measure at every row, (T,), from the books that the driver leaves, one row at a time."""
    market, weights, setup, *_ = run.fold
    setup = complete(setup, market)
    book = open_book(setup.capital, setup.terms, setup.models, setup.cash)
    log = new_log(LOG_ROWS, len(PANEL.symbols), setup.models, 0, np.empty(0, np.int64))
    found: dict[tuple[str, str], list[float]] = {name: [] for name in NAMES}
    peak = day = week = before = run.capital
    today = -1
    flows = 0.0
    for t, ts in enumerate(PANEL.ts.tolist()):
        while fold(book, log, market, weights, setup, t, t + 1) == t:
            log.used[:] = 0
        log.used[:] = 0
        head, number = book.head[0], (ts - 1) // DAY
        equity, paid = float(head["equity"]), float(head["flows"]) - flows
        flows = float(head["flows"])
        if number != today:
            day = before
            week = before if (number + 3) // 7 != (today + 3) // 7 or today < 0 else week
            today = number
        peak, day, week = max(peak + paid, equity), day + paid, week + paid
        before = equity
        marks = market.mark[t, :4]
        worth = book.positions["lots"] * book.unit * marks
        held = np.abs(book.held * book.unit * marks)
        gross = np.abs(worth)
        groups = setup.groups
        row = int(np.searchsorted(groups.cluster_row, t, side="right")) - 1
        group = groups.cluster[row] if row >= 0 else np.arange(4)
        values = [
            gross.max() / equity,
            gross[:2].sum() / equity,
            gross[::2].sum() / equity,
            gross[1::2].sum() / equity,
            held[1].sum() / equity,
            gross.max() / max(gross.sum(), equity),
            gross.sum() / equity,
            abs(worth.sum()) / equity,
            (gross * [1.0, 0.2, 1.0, 0.2]).sum() / equity,
            max(gross[group == k].sum() for k in range(4)) / equity if row >= 0 else 0.0,
            max(1.0 - equity / day, 0.0),
            max(1.0 - equity / week, 0.0),
            1.0 - equity / peak,
            1.0 - equity / peak,
        ]
        for name, value in zip(NAMES, values, strict=True):
            found[name].append(float(value))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("cells", [1, 1_000, 1 << 16])
def test_every_limit_is_measured_as_the_books_were(run: tt.Run, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", cells)
    table = module.utilisation(run)
    expected, ends = measured(run), run.result.sample
    assert table.select("limit", "name").unique(maintain_order=True).rows() == NAMES
    bounds = [0.4, 0.5, 0.8, 0.8, 0.3, 0.5, 0.9, 0.7, 0.6, 0.6, 0.015, 0.02, 0.05, 0.6]
    starts = np.concatenate(([0], ends[:-1] + 1))
    for (limit, name), bound in zip(NAMES, bounds, strict=True):
        mine = table.filter((pl.col("limit") == limit) & (pl.col("name") == name))
        values = expected[limit, name]
        assert values.max() > 0.01, (limit, name)
        np.testing.assert_allclose(mine["measure"], values[ends], rtol=1e-9, atol=1e-12, err_msg=limit)
        np.testing.assert_allclose(mine["used"], values[ends] / bound, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(mine["highest"], np.maximum.reduceat(values, starts) / bound, rtol=1e-9, atol=1e-12)
        assert (mine["bound"] == bound).all()
        assert (mine["ts"].to_physical().to_numpy() == PANEL.ts[ends]).all()


def test_the_largest_instrument_is_named_where_the_limit_is_about_it(run: tt.Run) -> None:
    table = run.utilisation
    named = table.filter(pl.col("limit").is_in(["max_weight", "concentration"]))
    assert (table.filter(~pl.col("limit").is_in(["max_weight", "concentration"]))["symbol"] == "").all()
    weights = np.abs(run.weights.drop("ts").to_numpy())
    largest = [PANEL.symbols[k] for k in weights.argmax(axis=1)]
    mine = named.filter((pl.col("limit") == "max_weight") & (pl.col("measure") > 0.0))
    at = np.searchsorted(PANEL.ts[run.result.sample], mine["ts"].to_physical().to_numpy())
    assert mine["symbol"].to_list() == [largest[k] for k in at]
    np.testing.assert_allclose(mine["measure"], weights.max(axis=1)[at], rtol=1e-9)


def test_the_whole_run_in_a_row_per_limit(run: tt.Run) -> None:
    by_name = {(u.limit, u.name): u for u in run.usage}
    assert list(by_name) == NAMES
    for (limit, name), usage in by_name.items():
        mine = run.utilisation.filter((pl.col("limit") == limit) & (pl.col("name") == name))
        assert usage.worst == mine["highest"].max()
        assert usage.worst_ts == mine.row(int(mine["highest"].arg_max()), named=True)["ts"].timestamp() * 1e9
        assert usage.last == mine["used"][-1]
        assert usage.near == (mine["highest"] >= 0.9).sum()
    acts = run.actions.filter(pl.col("action") != "RESUME").group_by("limit").len()
    counted = dict(acts.iter_rows())
    for limit in {limit for limit, _ in NAMES}:
        assert sum(u.acted for u in run.usage if u.limit == limit) == counted.get(limit, 0), limit
    assert sum(u.acted for u in run.usage) > 20


def test_a_breaker_that_broke_had_more_than_all_of_it_in_use(run: tt.Run) -> None:
    for limit in ("daily_loss", "weekly_loss", "drawdown_derisk"):
        broke = (pl.col("limit") == limit) & (pl.col("symbol") == "") & (pl.col("wanted") > pl.col("allowed"))
        days = {day_of(at) for at in run.actions.filter(broke)["ts"]}
        over = (pl.col("limit") == limit) & (pl.col("highest") > 1.0)
        assert days, limit
        assert days <= {day_of(at) for at in run.utilisation.filter(over)["ts"]}


def day_of(at: dt.datetime) -> dt.date:
    """A close at midnight ends the day before."""
    return (at - dt.timedelta(microseconds=1)).date()


# --- what is said of it ----------------------------------------------------------------------------------------------


def usage(limit: str, **more: Any) -> module.Usage:
    facts = {"bound": 0.5, "used": np.zeros(1), "last": 0.0, "worst": 0.0, "near": 0, "over": 0, "acted": 0}
    return module.Usage(limit=limit, **{"name": "", "worst_ts": 1_704_067_200 * 10**9, **facts, **more})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), ""),
        ((usage("heat"),), "Limits: none was in use at any close."),
        (
            (usage("heat", worst=0.42), usage("model", name="trend", worst=0.87, near=0)),
            "Limits: model trend came closest to its bound, with 87% of it in use on 2023-12-31.",
        ),
        (
            (usage("heat", worst=1.2, over=3, acted=1_234), usage("daily_loss", worst=0.1, acted=2)),
            "Limits: heat went furthest beyond its bound, at 120% of it on 2023-12-31; times acted: heat 1,234, "
            "daily_loss 2.",
        ),
        (
            (usage("heat", worst=np.inf, over=3),),
            "Limits: heat went furthest beyond its bound on 2023-12-31.",
        ),
    ],
)
def test_one_sentence_for_the_summary(given: tuple[module.Usage, ...], said: str) -> None:
    assert told(given) == said


def test_nothing_is_measured_where_no_limit_is_set() -> None:
    free = tt.backtest(msgspec.structs.replace(SPEC, limits=tt.Limits(), caps=tt.Caps()), PANEL)
    assert free.utilisation.height == 0
    assert free.usage == ()
    assert free.utilisation.columns == ["ts", "limit", "name", "symbol", "bound", "measure", "used", "highest"]


def test_a_cap_of_nothing_is_in_use_without_end_as_soon_as_anything_is_held(run: tt.Run) -> None:
    shut = tt.backtest(msgspec.structs.replace(SPEC, limits=tt.Limits(), caps=tt.Caps(venues={"two": 0.0})), PANEL)
    table = shut.utilisation
    assert table["name"].unique().to_list() == ["two"]
    assert table["used"].to_list() == [0.0] * table.height
    assert table["bound"].max() == 0.0
