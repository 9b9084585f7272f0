"""Laws 1 and 3 for a book with sizers, regimes, a calendar and allocators: no row after t changes what is decided at t,
and every view of the profit adds up to it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.portfolio.allocators import ALLOCATORS
from trimtab.portfolio.book import SIZERS
from trimtab.research.regimes import regime_labels
from trimtab.types import BAR_FIELDS, DAY, HOUR

ROWS = 900
#: Short windows, so that a few hundred rows see every sizer warm.
SHORT: dict[str, dict[str, Any]] = {
    "volatility_target": {"window": 10, "cap": 2.0},
    "volatility_target_window": {"window": 10, "cap": 2.0},
    "kelly": {"window": 30, "cap": 2.0},
    "convexity": {"window": 25},
    "adaptive": {"vol_window": 10, "cap": 1.5},
}
REGIMES = (
    tt.RegimeUse(regime="equity", reads="A", params={"average": 20, "slope": 4, "band": 0.01}),
    tt.RegimeUse(regime="vix", name="fear", reads="VIX"),
    tt.RegimeUse(regime="volatility", name="grid", reads="B", timeframe="4h", params={
        "window": 5, "history": 60, "least": 20,
    }),
)  # fmt: skip
MODELS = (
    tt.Model(strategy="sma_cross", params={"fast": 4, "slow": 15, "short": True}, budget=0.3, regime_budgets={
        "equity": {"bear": 0.5, "unknown": 0.25}, "fear": {"crisis": 0.0, "high": 0.6},
    }),
    tt.Model(
        strategy="momentum", timeframe="1d", params={"lookback": 12, "vol_window": 8}, budget=0.3,
        universe=("B", "C"), regime_budgets={"grid": {"high": 0.5, "low": 1.1}},
    ),
    tt.Model(strategy="pairs_reversion", params={"lookback": 30}, universe=("A", "C"), budget=0.3),
)  # fmt: skip
COSTS = tt.Costs(taker_fee=0.001, half_spread=0.0005, vol_spread=0.02, slippage=0.0002, impact=0.1)


def make_panel(seed: int = 11) -> tt.Panel:
    """Three instruments on a 4h grid with gaps, and a daily series that nobody trades."""
    rng = np.random.default_rng(seed)
    ts = 1_704_067_200 * 10**9 + 4 * HOUR * np.arange(1, ROWS + 1, dtype=np.int64)
    vol = 0.006 * np.exp(np.cumsum(rng.normal(0.0, 0.08, (ROWS, 1)), axis=0).clip(-1.0, 1.5))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1.0, (ROWS, 3)) * vol, axis=0))
    opened = np.vstack([np.full((1, 3), 100.0), close[:-1]])
    fear = np.full((ROWS, 3), np.nan)
    daily = np.flatnonzero(ts % DAY == 0)
    fear[daily] = 20.0 * np.exp(np.cumsum(rng.normal(0.0, 0.2, len(daily)))).clip(0.5, 3.0)[:, None]
    columns = (
        opened,
        np.maximum(opened, close) * 1.001,
        np.minimum(opened, close) * 0.999,
        close,
        rng.lognormal(12.0, 1.0, (ROWS, 3)),
        np.full((ROWS, 3), 4.0 * HOUR),
        fear,
    )
    values = np.stack(columns, axis=2)
    values[rng.random((ROWS, 3)) < 0.03, :5] = np.nan
    made = tuple(tt.Instrument(symbol=s, asset_class=c) for s, c in (("A", "equity"), ("B", "crypto"), ("C", "equity")))
    return tt.Panel(ts, made, (*BAR_FIELDS, "VIX"), values, "4h")


PANEL = make_panel()
BOOK = tt.Spec(
    models=MODELS,
    universe=PANEL.symbols,
    timeframe="4h",
    regimes=REGIMES,
    costs=COSTS,
    rebalance=tt.Rebalance(buffer=0.01, min_trade=0.005, every=3 * 86_400.0),
)
SPECS = {
    name: msgspec.structs.replace(BOOK, sizer=tt.SizerUse(name=name, params=SHORT.get(name, {}))) for name in SIZERS
} | {
    "no sizer": BOOK,
    "allocator of the book": msgspec.structs.replace(
        BOOK, sizer=tt.SizerUse(name="confidence"),
        allocator=tt.AllocatorUse(name="equal_risk", window=20, every=86_400.0),
    ),
    "allocator of a model": msgspec.structs.replace(
        BOOK, models=tuple(
            msgspec.structs.replace(m, allocator=tt.AllocatorUse(name="inverse_volatility", window=10, every=86_400.0))
            if m.strategy != "pairs_reversion" else m for m in MODELS
        )
    ),
    "both, by skfolio": msgspec.structs.replace(
        BOOK, allocator=tt.AllocatorUse(name="hierarchical_risk_parity", window=30), models=(
            msgspec.structs.replace(MODELS[0], allocator=tt.AllocatorUse(name="maximum_diversification", window=25)),
            *MODELS[1:],
        ),
    ),
    "on change": msgspec.structs.replace(BOOK, rebalance=tt.Rebalance()),
}  # fmt: skip


def cut(panel: tt.Panel, rows: int) -> tt.Panel:
    return msgspec.structs.replace(panel, ts=panel.ts[:rows].copy(), values=panel.values[:rows].copy(), lines=None)


def decided(run: tt.Run, rows: int) -> list[tuple[Any, ...]]:
    """Weights, and what the limits and orders were, of the rows before `rows`."""
    w = run.fold.weights
    early = w.row < rows
    return [column[early].tobytes() for column in w]


@pytest.mark.parametrize("name", SPECS)
def test_cutting_history_changes_nothing_before_the_cut(name: str) -> None:
    whole = tt.backtest(SPECS[name], PANEL)
    assert len(np.unique(whole.fold.weights.model)) == 3
    for rows in (301, 600, 787):
        part = tt.backtest(SPECS[name], cut(PANEL, rows))
        assert decided(part, rows) == decided(whole, rows)
        assert part.bar_equity.tobytes() == whole.bar_equity[:rows].tobytes()
        for early, late in zip(part.splits, whole.splits, strict=True):
            assert early.row.tolist() == [row for row in late.row.tolist() if row < rows]
            assert early.share.tobytes() == late.share[: len(early.row)].tobytes()


#: skfolio's optimisers take seconds. By day hierarchical_risk_parity stands for both, and the cut for another future.
CONVEX = "maximum_diversification"
BY_SKFOLIO = "both, by skfolio"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly) if name == BY_SKFOLIO else name for name in SPECS]
)
def test_another_future_changes_nothing_before_it(name: str) -> None:
    whole = tt.backtest(SPECS[name], PANEL)
    rng = np.random.default_rng(5)
    for rows in (301, 604):
        values = PANEL.values.copy()
        values[rows:, :, :4] *= np.exp(rng.normal(0.0, 0.3, (ROWS - rows, 3)))[:, :, None]
        values[rows:, :, 6] *= 1.7
        other = tt.backtest(SPECS[name], msgspec.structs.replace(PANEL, values=values, lines=None))
        assert decided(other, rows) == decided(whole, rows)
        assert decided(other, ROWS) != decided(whole, ROWS)


def test_a_label_is_known_at_its_row_and_acts_on_the_decision_of_that_row() -> None:
    """The field of a day is new at the close at midnight: that row's label is of it, and so is that row's decision."""
    spec = msgspec.structs.replace(
        BOOK,
        models=(tt.Model(strategy="buy_and_hold", budget=0.5, regime_budgets={"fear": {"crisis": 0.25}}),),
        rebalance=tt.Rebalance(),
    )
    labels = regime_labels(spec, PANEL)["fear"]
    turns = np.flatnonzero((labels[1:] == 3) != (labels[:-1] == 3)) + 1
    assert len(turns) > 2
    assert (PANEL.ts[turns] % DAY == 0).all()
    weights = tt.backtest(spec, PANEL).fold.weights
    later = weights.row >= turns[0]
    assert np.unique(weights.row[later]).tolist() == turns.tolist()
    for row in turns:
        mine = weights.value[weights.row == row]
        np.testing.assert_allclose(mine, 0.5 / 3 * (0.25 if labels[row] == 3 else 1.0))


@pytest.mark.parametrize("name", ["volatility_target", "no sizer", "on change"])
def test_every_view_of_the_profit_adds_up_to_it(name: str) -> None:
    run = tt.backtest(SPECS[name], PANEL)
    head, table = run.result.book.head[0], run.attribution
    profit = float(head["equity"]) - run.capital
    views = table.partition_by("by", as_dict=True)
    assert {key[0] for key in views} == {
        "model", "instrument", "asset_class", "side", "regime equity", "regime fear", "regime grid",
    }  # fmt: skip
    for view in views.values():
        assert abs(view["net"].sum() - profit) < 1e-9 * run.capital
        assert abs(view["costs"].sum() - run.result.book.charges.sum()) < 1e-9 * run.capital
    for by in ("regime equity", "regime fear", "regime grid"):
        assert views[(by,)]["days"].sum() == pytest.approx((PANEL.ts[-1] - PANEL.ts[0]) / DAY)
        assert views[(by,)].height > 2


def test_an_allocator_gives_more_to_what_moves_less() -> None:
    values = PANEL.values.copy()
    values[:, 0, :4] = 100.0 * (values[:, 0, :4] / 100.0) ** 0.25  # A moves a quarter as much
    panel = msgspec.structs.replace(PANEL, values=values, lines=None)
    hold = tt.Model(strategy="buy_and_hold", allocator=tt.AllocatorUse(name="inverse_volatility", window=20))
    spec = msgspec.structs.replace(BOOK, models=(hold,), regimes=(), rebalance=tt.Rebalance())
    w = tt.backtest(spec, panel).fold.weights
    first = w.row == w.row[w.row > 20 * 6][0]
    assert (w.value[w.row < 20 * 6] == 1 / 3).all()
    a, b, c = w.value[first]
    assert a > 2.0 * max(b, c)
    assert a + b + c == pytest.approx(1.0)
    assert (panel.ts[np.unique(w.row[w.row > 20 * 6])] % (7 * DAY) == 4 * DAY).all()  # Mondays


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly) if name == CONVEX else name for name in ALLOCATORS]
)
def test_wherever_history_begins_the_same_shares_are_chosen(name: str) -> None:
    """Of instruments and of models that do not remember: a later start misses only looks without a window."""
    use = tt.AllocatorUse(name=name, window=15, every=2 * 86_400.0)
    hold = tt.Model(strategy="buy_and_hold", budget=0.5, allocator=use)
    other = tt.Model(strategy="buy_and_hold", name="b", budget=0.2, universe=("B",))
    spec = msgspec.structs.replace(BOOK, models=(hold, other), regimes=(), allocator=use)
    spec = msgspec.structs.replace(spec, models=(msgspec.structs.replace(hold, allocator=None), other))
    inside = msgspec.structs.replace(spec, models=(hold, other), allocator=None)
    for one in (spec, inside):
        whole = tt.backtest(one, PANEL).shares
        assert whole["share"].n_unique() > 40
        for begin in (1, 100, 303):
            late = msgspec.structs.replace(
                PANEL, ts=PANEL.ts[begin:].copy(), values=PANEL.values[begin:].copy(), lines=None
            )
            shares = tt.backtest(one, late).shares
            assert shares.equals(whole.tail(shares.height))
            first = int(np.searchsorted(PANEL.ts, shares["ts"].dt.timestamp("ns")[0]))
            assert first - begin <= 6 * (15 + 2 + 1)  # rows: the window, the way to the next look, a day cut short


def test_the_books_shares_are_of_what_models_would_have_earned_whatever_the_regime() -> None:
    use = tt.AllocatorUse(name="equal_risk", window=20)
    spec = msgspec.structs.replace(BOOK, allocator=use)
    calm = msgspec.structs.replace(spec, models=tuple(msgspec.structs.replace(m, regime_budgets={}) for m in MODELS))
    run, steady = tt.backtest(spec, PANEL), tt.backtest(calm, PANEL)
    assert run.shares.equals(steady.shares)
    assert decided(run, ROWS) != decided(steady, ROWS)
    totals = run.shares.group_by("ts").agg(pl.col("share").sum())["share"]
    np.testing.assert_allclose(totals, 1.0)


def test_a_sizer_of_one_is_no_sizer() -> None:
    plain = msgspec.structs.replace(BOOK, rebalance=tt.Rebalance(), regimes=(), models=tuple(
        msgspec.structs.replace(m, regime_budgets={}) for m in MODELS
    ))  # fmt: skip
    sized = msgspec.structs.replace(plain, sizer=tt.SizerUse(name="fixed_fraction"))
    one, other = tt.backtest(plain, PANEL), tt.backtest(sized, PANEL)
    assert decided(one, ROWS) == decided(other, ROWS)
    assert one.bar_equity.tobytes() == other.bar_equity.tobytes()


@pytest.mark.parametrize("name", ["convexity", "kelly", "adaptive"])
def test_a_sizer_sees_the_model_and_never_the_account(name: str) -> None:
    """Limits, costs, capital, cash flows and a halted book: what is decided stays the same, weight by weight."""
    whole = tt.backtest(SPECS[name], PANEL)
    for changed in (
        {"limits": tt.Limits(max_weight=0.05, daily_loss=0.002, drawdown_halt=0.01)},
        {"costs": tt.Costs(taker_fee=0.02)},
        {"capital": 5_000.0, "cash_flows": (tt.CashFlow(at="2024-02-20", amount=-2_000.0),)},
        {"models": MODELS[:1]},
    ):
        other = tt.backtest(msgspec.structs.replace(SPECS[name], **changed), PANEL)
        mine, theirs = whole.fold.weights, other.fold.weights
        first, second = mine.model == 0, theirs.model == 0
        assert [c[first].tobytes() for c in mine] == [c[second].tobytes() for c in theirs]
        assert other.bar_equity.tobytes() != whole.bar_equity.tobytes()
    assert tt.backtest(SPECS["no sizer"], PANEL).fold.weights.value.tobytes() != whole.fold.weights.value.tobytes()
