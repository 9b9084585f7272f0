"""Two runs beside each other: a run is made to differ in one known way, and that is the cause that must be found.

Bars are drawn, weights are given or come from a strategy; one thing is changed and nothing else. Besides, whatever
is found has to add up to the difference of the final equities, for every pair of runs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trimtab as tt
from trimtab.research.execution import fingerprints
from trimtab.research.parity import CAUSES, Parity, parity
from trimtab.types import BAR_FIELDS, DAY, HOUR, Panel

ROWS = 24 * 30
START = 1_704_067_200 * 10**9
COSTS = tt.Costs(taker_fee=0.0005, half_spread=0.0002)
SEEDS = st.integers(0, 2**32 - 1)


def panel_of(seed: int, n: int = 2, rows: int = ROWS, **instrument: Any) -> Panel:
    """A random walk by the hour that gaps at the open; lots are small, so that rounding is worth nothing."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (rows, n)), axis=0))
    values = np.empty((rows, n, len(BAR_FIELDS)))
    values[:, :, 0] = np.vstack([np.full((1, n), 100.0), close[:-1]]) * np.exp(rng.normal(0.0, 0.002, (rows, n)))
    values[:, :, 3] = close
    values[:, :, 1] = values[:, :, [0, 3]].max(axis=2) * 1.003
    values[:, :, 2] = values[:, :, [0, 3]].min(axis=2) * 0.997
    values[:, :, 4], values[:, :, 5] = 1e6, HOUR
    made = tuple(tt.Instrument(symbol=f"I{k}", lot_size=1e-5, **instrument) for k in range(n))
    return Panel(START + HOUR * np.arange(1, rows + 1, dtype=np.int64), made, BAR_FIELDS, values, "1h")


def wishes(seed: int, n: int = 2, rows: int = ROWS) -> np.ndarray:
    """Weights (T, N) that change every 8 to 40 hours; together they never use half of the cash."""
    rng, dense = np.random.default_rng(seed + 1), np.full((rows, n), np.nan)
    for i in range(n):
        at = np.cumsum(rng.integers(8, 41, rows // 8))
        at = at[at < rows - 60]
        dense[at, i] = rng.integers(0, 5, len(at)) * 0.1 / n
    return dense


def simulated(panel: Panel, weights: np.ndarray, **more: Any) -> tt.Run:
    return tt.simulate(panel, weights, **{"costs": COSTS, "capital": 1e6, **more})


def compared(one: tt.Run, two: tt.Run, **more: Any) -> Parity:
    with tempfile.TemporaryDirectory() as folder:
        first = one.save(Path(folder) / "a", report=False)
        return parity(first, two.save(Path(folder) / "b", report=False), **more)


def assert_adds_up(p: Parity) -> None:
    assert abs(p.residual) <= 1e-9 * p.basis
    told = p.before + sum(money for _, money, _ in p.causes.values()) + p.residual
    assert told == pytest.approx(p.difference, rel=1e-9, abs=1e-9 * p.basis)
    by_cause = {cause: sum(d.money for d in p.differences if d.cause == cause) for cause in p.causes}
    for cause, (_, money, _) in p.causes.items():
        assert by_cause[cause] == pytest.approx(money, rel=1e-9, abs=1e-9 * p.basis)


def assert_made_by(p: Parity, cause: str) -> None:
    """All that does not only follow another difference is due to this cause."""
    assert_adds_up(p)
    assert not p.equal
    assert [d for d in p.differences if d.cause == cause and not d.follows]
    others = sum(abs(d.money) for d in p.differences if d.cause not in (cause, "carried") and not d.follows)
    own = sum(abs(d.money) for d in p.differences if d.cause == cause)
    assert others <= 1e-6 * p.basis + 1e-3 * own, [d for d in p.differences if d.cause != cause and not d.follows]


def changed_row(weights: np.ndarray, seed: int) -> tuple[int, int]:
    """A decision in the middle of the run, that asks for another weight than the one before it."""
    rng = np.random.default_rng(seed + 2)
    i = int(rng.integers(weights.shape[1]))
    at = np.flatnonzero(np.isfinite(weights[:, i]))
    moved = at[1:][np.abs(np.diff(weights[at, i])) > 0.0]
    return int(rng.choice(moved)), i


# --- what was made to differ is found --------------------------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=6)
def test_a_run_equals_itself(seed: int):
    panel, weights = panel_of(seed), wishes(seed)
    p = compared(simulated(panel, weights), simulated(panel, weights))
    assert p.equal
    assert p.whole
    assert p.matched > 0
    assert not p.differences
    assert p.difference == p.residual == p.worst == 0.0
    assert_adds_up(p)


@given(seed=SEEDS)
@settings(max_examples=6)
def test_another_fee_is_a_fee(seed: int):
    panel, weights = panel_of(seed), wishes(seed)
    p = compared(simulated(panel, weights), simulated(panel, weights, costs=COSTS._replace(taker_fee=0.002)))
    assert_made_by(p, "fee")
    assert p.causes["fee"][1] > 0.0  # the first run paid less


@given(seed=SEEDS)
@settings(max_examples=6)
def test_another_slippage_is_a_price(seed: int):
    panel, weights = panel_of(seed), wishes(seed)
    p = compared(simulated(panel, weights), simulated(panel, weights, costs=COSTS._replace(slippage=0.001)))
    assert_made_by(p, "price")
    assert p.causes["price"][1] > 0.0


@given(seed=SEEDS)
@settings(max_examples=6)
def test_a_delay_of_a_bar_is_timing(seed: int):
    panel, weights = panel_of(seed), wishes(seed)
    p = compared(simulated(panel, weights), simulated(panel, weights, costs=COSTS._replace(latency=3600.0)))
    assert_made_by(p, "timing")
    late = [t for t in p.trades if None not in t.filled]
    assert late
    assert all(t.filled[1] - t.filled[0] == HOUR for t in late)  # type: ignore[operator]


@given(seed=SEEDS)
@settings(max_examples=6)
def test_decisions_a_bar_later_are_timing(seed: int):
    panel, weights = panel_of(seed), wishes(seed)
    later = np.vstack([np.full((1, weights.shape[1]), np.nan), weights[:-1]])
    p = compared(simulated(panel, weights), simulated(panel, later))
    assert_adds_up(p)
    assert not [d for d in p.differences if d.cause == "missed"]
    timing = [p.trades[d.trade].decided for d in p.differences if d.cause == "timing"]
    assert timing
    assert all(two - one == HOUR for one, two in timing)  # type: ignore[operator]


@given(seed=SEEDS)
@settings(max_examples=6)
def test_another_weight_is_a_size(seed: int):
    panel, weights = panel_of(seed), wishes(seed)
    row, i = changed_row(weights, seed)
    before = weights[:row, i][np.isfinite(weights[:row, i])][-1]
    other = weights.copy()
    other[row, i] = (weights[row, i] + before) / 2.0  # half of the way: the same side, fewer lots
    p = compared(simulated(panel, weights), simulated(panel, other))
    assert_made_by(p, "size")


@given(seed=SEEDS)
@settings(max_examples=6)
def test_a_decision_that_one_run_lacks_is_missed(seed: int):
    panel, weights = panel_of(seed), wishes(seed)
    row, i = changed_row(weights, seed)
    other = weights.copy()
    other[row, i] = np.nan
    for runs in ((weights, other), (other, weights)):
        p = compared(*(simulated(panel, w) for w in runs), within=2)  # later, the same weight may be asked for again
        assert_made_by(p, "missed")
        found = [p.trades[d.trade].decided for d in p.differences if d.cause == "missed" and not d.follows]
        assert any(int(panel.ts[row]) in decided for decided in found)


@given(seed=SEEDS)
@settings(max_examples=6)
def test_refused_orders_are_rejected(seed: int):
    panel, weights = panel_of(seed), wishes(seed)
    two = simulated(panel, weights, costs=COSTS._replace(reject=0.15), seed=seed % 1000)
    if not (two.orders["status"] == "REJECTED").any():
        return
    p = compared(simulated(panel, weights), two)
    assert_made_by(p, "rejected")


@given(seed=SEEDS, field=st.sampled_from([0, 3]))
@settings(max_examples=6)
def test_another_bar_is_data(seed: int, field: int):
    """The open of a bar that an order filled in, or the close of one that sized it."""
    panel, weights = panel_of(seed), wishes(seed)
    row, i = changed_row(weights, seed)
    values = panel.values.copy()
    values[row + (1 if field == 0 else 0), i, field] *= 1.002  # inside its high and low
    weights[row, i] = 0.15  # what is sold to the last lot is not sized by a price
    p = compared(simulated(panel, weights), simulated(msgspec.structs.replace(panel, values=values), weights))
    assert_made_by(p, "data")
    assert any("I" + str(i) in note for note in p.notes if "bars differ" in note)


@given(seed=SEEDS)
@settings(max_examples=6)
def test_a_bar_that_a_strategy_saw_is_data(seed: int):
    """A spike in one close moves the crossings of averages that see it: trades come sooner, later, or not at all."""
    panel = panel_of(seed, n=1)
    values = panel.values.copy()
    row = 100 + seed % 400
    values[row, 0, 1] *= 1.5
    values[row, 0, 3] *= 1.5
    settings_ = {"params": {"fast": 5, "slow": 20}, "costs": COSTS, "limits": tt.Limits(max_weight=0.5)}
    one = tt.backtest("sma_cross", panel, **settings_)
    two = tt.backtest("sma_cross", msgspec.structs.replace(panel, values=values), **settings_)
    p = compared(one, two)
    assert_adds_up(p)
    seen = [d for d in p.differences if d.cause == "data" and not d.follows and d.trade >= 0]
    far = [
        d for d in p.differences
        if d.trade >= 0 and not d.follows and d.cause in ("missed", "timing", "rejected")
        and min(t for t in p.trades[d.trade].decided if t) > panel.ts[row]
        and min(t for t in p.trades[d.trade].decided if t) <= panel.ts[row] + 20 * HOUR
    ]  # fmt: skip
    assert not far, far
    if not seen:
        assert not [d for d in p.differences if d.cause in ("missed", "timing") and not d.follows]


# --- any two runs ----------------------------------------------------------------------------------------------------


@given(seed=SEEDS, other=SEEDS, shift=st.integers(0, 200), cut=st.integers(0, 200))
@settings(max_examples=12)
def test_any_two_runs_add_up(seed: int, other: int, shift: int, cut: int):
    """Other weights, costs, limits, shorts and another window: every unit of money is somewhere."""
    panel = panel_of(seed)
    limits = tt.Limits(stop_loss=0.03, max_weight=0.25)
    short = wishes(other) - 0.1
    one = simulated(panel, wishes(seed), costs=COSTS._replace(participation=0.0001, borrow=0.1))
    part = msgspec.structs.replace(panel, ts=panel.ts[shift : ROWS - cut], values=panel.values[shift : ROWS - cut])
    two = simulated(part, short[shift : ROWS - cut], costs=COSTS._replace(vol_spread=0.05, borrow=0.3), limits=limits)
    for runs in ((one, two), (two, one)):
        p = compared(*runs)
        assert_adds_up(p)
        assert p.whole == (shift == 0 and cut == 0)
        assert set(p.causes) <= set(CAUSES)
        assert any("overlap only in part" in note for note in p.notes) != p.whole


@given(seed=SEEDS)
@settings(max_examples=6)
def test_what_only_one_run_was_charged_is_carried(seed: int):
    panel, weights = panel_of(seed), -wishes(seed)
    p = compared(simulated(panel, weights), simulated(panel, weights, costs=COSTS._replace(borrow=0.5)))
    assert_made_by(p, "carried")
    assert p.causes["carried"][1] > 0.0


def test_funding_of_perpetuals_is_carried_and_a_position_kept_to_the_end():
    panel = panel_of(5, n=1, kind="perpetual", initial_margin=0.1, maintenance_margin=0.05)
    weights = np.full((ROWS, 1), np.nan)
    weights[10, 0] = 0.5
    p = compared(simulated(panel, weights), simulated(panel, weights, costs=COSTS._replace(funding=0.0005)))
    assert {cause for cause, (_, money, _) in p.causes.items() if abs(money) > 1e-6} == {"carried"}
    assert_adds_up(p)
    other = weights.copy()
    other[100, 0] = 0.0  # the second run closes, the first holds on
    p = compared(simulated(panel, weights), simulated(panel, other))
    assert_adds_up(p)
    assert p.causes["missed"][1] > 0.0  # the fee that the first run did not pay
    held = next(d for d in p.differences if d.cause == "carried")
    assert "held at the end" in held.words
    assert p.trades[held.trade].decided[1] == panel.ts[100]


# --- how it is read --------------------------------------------------------------------------------------------------


def test_a_tolerance_lets_small_differences_pass():
    panel, weights = panel_of(7), wishes(7)
    one, two = simulated(panel, weights), simulated(panel, weights, costs=COSTS._replace(half_spread=0.0002 + 1e-9))
    assert not compared(one, two).equal
    loose = compared(one, two, tolerance=1e-4)
    assert loose.equal
    assert_adds_up(loose)
    assert not compared(one, two, tolerance=1e-12).equal


@pytest.mark.parametrize(("more", "said"), [({"tolerance": 1.5}, "fraction"), ({"within": -1}, "bars")])
def test_an_argument_that_is_none_is_named(more: dict[str, Any], said: str, tmp_path: Path):
    with pytest.raises(tt.TrimtabError, match=said):
        parity(tmp_path, tmp_path, **more)


def test_orders_far_apart_are_not_one_order():
    panel, one = panel_of(9, n=1), np.full((ROWS, 1), np.nan)
    two = one.copy()
    one[50, 0], one[400, 0] = 0.3, 0.0
    two[58, 0], two[400, 0] = 0.3, 0.0
    near = compared(simulated(panel, one), simulated(panel, two))
    assert near.causes["timing"][0] == 1
    far = compared(simulated(panel, one), simulated(panel, two), within=5)
    assert "timing" not in far.causes
    assert {d.cause for d in far.differences if not d.follows} == {"missed"}
    for p in (near, far):
        assert_adds_up(p)
    assert near.difference == far.difference  # by whatever name, buying 8 hours earlier made the same
    assert sum(near.causes[name][1] for name in ("timing", "size")) == pytest.approx(far.causes["missed"][1])


def test_runs_that_cannot_be_compared_say_why(tmp_path: Path):
    weights = wishes(3, n=1)
    one = simulated(panel_of(3, n=1), weights).save(tmp_path / "a", report=False)
    lots = panel_of(3, n=1)
    lots = msgspec.structs.replace(lots, instruments=(tt.Instrument(symbol="I0", lot_size=1e-3),))
    other = msgspec.structs.replace(lots, instruments=(tt.Instrument(symbol="Z", lot_size=1e-5),))
    later = panel_of(3, n=1)
    later = msgspec.structs.replace(later, ts=later.ts + 400 * DAY)
    for panel, said in ((lots, "lot_size is 1e-05"), (other, "no instrument in common"), (later, "do not overlap")):
        two = simulated(panel, weights).save(tmp_path / said.split()[0], report=False)
        with pytest.raises(tt.TrimtabError, match=said):
            parity(one, two)
    (one / "slippage.parquet").unlink()
    with pytest.raises(tt.TrimtabError, match=r"slippage\.parquet: missing"):
        parity(one, one)


# --- fingerprints ----------------------------------------------------------------------------------------------------


def test_fingerprints_tell_bars_apart_and_know_no_bar_from_a_missing_row():
    panel = panel_of(1, rows=100)
    rows = np.arange(100)
    bars = fingerprints(panel, rows, slice(None))
    assert len(np.unique(bars)) == bars.size
    values = panel.values.copy()
    values[40, 1, 4] = np.nextafter(values[40, 1, 4], np.inf)
    values[50, 0] = np.nan
    other = fingerprints(msgspec.structs.replace(panel, values=values), rows, slice(None))
    assert [tuple(x) for x in np.argwhere(other != bars)] == [(40, 1), (50, 0)]
    assert other[50, 0] == 0


def test_the_marks_of_a_run_are_its_closes_and_days():
    panel = panel_of(2)
    run = simulated(panel, wishes(2))
    marks = run.marks.filter(pl.col("symbol") == "I1")
    ends = np.flatnonzero(panel.ts % DAY == 0)
    assert marks["ts"].dt.epoch("ns").to_list() == panel.ts[ends].tolist()
    assert marks["mark"].to_list() == panel.values[ends, 1, 3].tolist()
    bars = fingerprints(panel, np.arange(ROWS), slice(None))[:, 1]
    with np.errstate(over="ignore"):
        days = [bars[24 * k : 24 * k + 24].sum(dtype=np.uint64) for k in range(len(ends))]
    assert marks["bars"].to_list() == [int(x) for x in days]


# --- other kinds of accounts -----------------------------------------------------------------------------------------


def abroad(seed: int, drift: float = 0.0) -> Panel:
    """Two instruments, the second quoted in euros; drift moves the exchange rate of the later half."""
    panel = panel_of(seed)
    rate = 1.1 * np.exp(np.cumsum(np.random.default_rng(seed + 9).normal(0.0, 0.002, ROWS)))
    rate[ROWS // 2 :] *= 1.0 + drift
    fx = np.column_stack([np.full(ROWS, np.nan), rate])
    made = tuple(tt.Instrument(symbol=f"I{k}", lot_size=1e-5, quote=quote) for k, quote in enumerate(("USD", "EUR")))
    values = np.concatenate([panel.values, fx[:, :, None]], axis=2)
    return Panel(panel.ts, made, (*BAR_FIELDS, "fx"), values, "1h")


@given(seed=SEEDS)
@settings(max_examples=5)
def test_two_currencies_add_up(seed: int):
    capital = {"USD": 500_000.0, "EUR": 400_000.0}
    weights = wishes(seed)
    one = simulated(abroad(seed), weights, capital=capital)
    p = compared(one, simulated(abroad(seed), weights, capital=capital, costs=COSTS._replace(taker_fee=0.002)))
    assert_made_by(p, "fee")
    foreign = [d for d in p.differences if d.symbol == "I1" and d.money]
    rate = float(abroad(seed).values[-1, 1, -1])
    assert foreign
    assert {d.currency for d in foreign} == {"EUR"}
    assert all(d.money == pytest.approx(d.quote * rate) for d in foreign)
    p = compared(one, simulated(abroad(seed, 0.01), weights, capital=capital))
    assert_adds_up(p)
    assert "data" in p.causes
    assert abs(p.causes["carried"][1]) > 1_000.0  # a percent of the euros


def test_liquidations_add_up():
    panel = panel_of(11, n=1, kind="perpetual", initial_margin=0.05, maintenance_margin=0.04)
    weights = np.full((ROWS, 1), np.nan)
    weights[5::50, 0] = np.tile([15.0, -15.0], 8)[: len(weights[5::50])]
    costs = COSTS._replace(liquidation=0.01)
    one, two = (simulated(panel, weights * part, costs=costs, capital=1e6) for part in (1.0, 0.5))
    assert "LIQUIDATE" in one.actions["action"].to_list()
    for runs in ((one, two), (two, one)):
        p = compared(*runs)
        assert_adds_up(p)
        assert "carried" in p.causes


def test_a_fill_without_an_order_is_a_trade_of_its_own(tmp_path: Path):
    """What an engine adopts from its venue has no order: it has no decision price, and its money is still explained."""
    panel, weights = panel_of(13), wishes(13)
    one, two = simulated(panel, weights), simulated(panel, weights)
    two.result = two.result._replace(orders=np.sort(two.result.orders, order="order_id")[1:])
    first = two.slippage.row(0, named=True)
    assert (first["decision_ts"], first["decision_price"], first["waited"]) == (None, None, None)
    assert first["arrival_price"] == one.slippage["arrival_price"][0]
    p = compared(one, two)
    assert_adds_up(p)
    assert {d.cause for d in p.differences} == {"missed"}
    assert p.difference == 0.0
