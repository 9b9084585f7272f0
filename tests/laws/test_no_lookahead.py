"""Law 1 for the rules: a row knows nothing of the rows after it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.sim.market import build_market
from trimtab.sim.simulate import Result, simulate
from trimtab.types import Panel, Weights


def run(w: Any, values: np.ndarray, weights: Weights) -> Result:
    panel = Panel(w.panel.ts[: len(values)], w.panel.instruments, w.panel.fields, np.ascontiguousarray(values), "1h")
    return simulate(build_market(panel), weights, w.setup)


def same_past(whole: Result, other: Result, rows: int, ts: int) -> None:
    """Everything written up to and with row `rows` - 1, which closes at `ts`, is the same to the last bit."""
    assert whole.equity[:rows].tobytes() == other.equity[:rows].tobytes()
    for name in ("fills", "actions"):
        one, two = getattr(whole, name), getattr(other, name)
        assert one[one["row"] < rows].tobytes() == two[two["row"] < rows].tobytes(), name
    count = int((whole.fills["row"] < rows).sum())
    assert whole.shares[:count].tobytes() == other.shares[:count].tobytes()
    placed = [{int(o["order_id"]): [o[k] for k in FACTS] for o in r.orders if o["ts"] < ts} for r in (whole, other)]
    assert placed[0] == placed[1]
    ended = [
        {int(o["order_id"]): (int(o["status"]), int(o["reason"]), int(o["filled"])) for o in r.orders if early(o, ts)}
        for r in (whole, other)
    ]
    assert ended[0] == ended[1]


FACTS = ("ts", "instrument", "kind", "tif", "post_only", "reduce_only", "parent")


def early(order: Any, ts: int) -> bool:
    return 0 < order["done_ts"] < ts


@given(st.data())
@settings(max_examples=150)
def test_a_run_cut_short_is_the_beginning_of_the_whole(worlds: Any, data: st.DataObject) -> None:
    w = data.draw(worlds)
    rows = data.draw(st.integers(1, len(w.panel.ts)))
    keep = w.weights.row < rows
    some = Weights(*(np.ascontiguousarray(column[keep]) for column in w.weights))
    whole = run(w, w.panel.values, w.weights)
    same_past(whole, run(w, w.panel.values[:rows], some), rows, int(w.panel.ts[rows - 1]))


@given(st.data())
@settings(max_examples=150)
def test_another_future_leaves_the_past_alone(worlds: Any, data: st.DataObject) -> None:
    w = data.draw(worlds)
    rows = data.draw(st.integers(1, len(w.panel.ts)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    values = w.panel.values.copy()
    values[rows:, :, :4] *= rng.lognormal(0.0, 0.5, (len(values) - rows, values.shape[1], 1))
    values[rows:, :, 4] = rng.lognormal(3.0, 3.0, values[rows:, :, 4].shape)
    changed = w.weights.value.copy()
    later = w.weights.row >= rows
    changed[later] = rng.uniform(-1.0, 1.0, int(later.sum()))
    other = run(w, values, w.weights._replace(value=changed))
    same_past(run(w, w.panel.values, w.weights), other, rows, int(w.panel.ts[rows - 1]))


@given(st.data())
@settings(max_examples=60)
def test_the_same_run_twice_is_the_same(worlds: Any, data: st.DataObject) -> None:
    w = data.draw(worlds)
    one, two = (run(w, w.panel.values, w.weights) for _ in range(2))
    for name in ("orders", "fills", "shares", "actions", "equity", "curve", "pnl", "cost"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes(), name
