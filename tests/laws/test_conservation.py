"""Law 3: money is neither made nor lost by the books, at every row, and the models' parts add up to the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.sim.simulate import Result, simulate

KINDS = ("fee", "spread", "slippage", "impact", "latency")


class Account:
    """Average cost in plain Python, fed by fills alone."""

    def __init__(self, n: int, unit: np.ndarray) -> None:
        self.lots, self.average, self.unit = [0] * n, [0.0] * n, unit
        self.realised = self.fees = self.cash = 0.0

    def book(self, i: int, lots: int, price: float, fee: float) -> None:
        held = self.lots[i]
        self.cash -= lots * self.unit[i] * price + fee
        self.fees += fee
        if held * lots < 0:
            closed = min(abs(held), abs(lots)) * (1 if held > 0 else -1)
            self.realised += closed * self.unit[i] * (price - self.average[i])
        if held * lots >= 0:
            self.average[i] = (self.average[i] * held + price * lots) / (held + lots)
        elif abs(lots) > abs(held):
            self.average[i] = price
        self.lots[i] = held + lots

    def unrealised(self, marks: np.ndarray) -> float:
        return sum(n * u * (p - a) for n, u, p, a in zip(self.lots, self.unit, marks, self.average, strict=True))


def scale_of(result: Result, capital: float) -> float:
    f = result.fills
    return capital + float(np.abs(f["lots"] * result.book.unit[f["instrument"]] * f["price"]).sum())


@given(st.data())
@settings(max_examples=150)
def test_equity_is_capital_plus_realised_plus_unrealised_less_fees(worlds: Any, data: st.DataObject) -> None:
    w = data.draw(worlds)
    result = simulate(w.market, w.weights, w.setup)
    account = Account(len(w.panel.instruments), result.book.unit)
    tolerance = 1e-12 * scale_of(result, w.setup.capital) * 100
    k = 0
    for t in range(len(w.panel.ts)):
        while k < len(result.fills) and result.fills["row"][k] == t:
            f = result.fills[k]
            if f["lots"] != 0:
                account.book(int(f["instrument"]), int(f["lots"]), float(f["price"]), float(f["fee"]))
            assert int(f["position"]) == account.lots[int(f["instrument"])]
            k += 1
        marks = w.market.mark[t]
        whole = w.setup.capital + account.realised + account.unrealised(marks) - account.fees
        assert result.equity[t] == pytest.approx(whole, abs=tolerance)
        value = sum(n * u * p for n, u, p in zip(account.lots, account.unit, marks, strict=True))
        assert result.equity[t] == pytest.approx(w.setup.capital + account.cash + value, abs=tolerance)
    assert k == len(result.fills)
    assert result.book.positions["lots"].tolist() == account.lots
    assert result.book.positions["realised"].sum() == pytest.approx(account.realised, abs=tolerance)
    assert result.book.cash.sum() == pytest.approx(w.setup.capital + account.cash, abs=tolerance)


@given(st.data())
@settings(max_examples=150)
def test_the_models_parts_add_up(worlds: Any, data: st.DataObject) -> None:
    w = data.draw(worlds)
    result = simulate(w.market, w.weights, w.setup)
    tolerance = 1e-9 * scale_of(result, w.setup.capital)
    assert np.allclose(result.pnl.sum(axis=1), result.curve[:, 0] - w.setup.capital, rtol=0.0, atol=tolerance)
    assert np.allclose(result.cost.sum(axis=1), result.curve[:, 1], rtol=0.0, atol=tolerance)
    paid = sum(float(result.fills[kind].sum()) for kind in KINDS)
    assert result.book.charges.sum() == pytest.approx(paid, abs=tolerance)
    for n, kind in enumerate(KINDS):
        assert result.book.charges[:, :, n].sum() == pytest.approx(float(result.fills[kind].sum()), abs=tolerance)
    largest = max(1.0, float(np.abs(result.shares).max(initial=0.0)))
    assert np.allclose(result.shares.sum(axis=1), result.fills["lots"], rtol=0.0, atol=1e-9 * largest)
    held = result.book.held.sum(axis=0)
    assert np.allclose(held, result.book.positions["lots"], rtol=0.0, atol=1e-9 * largest * (1 + len(result.fills)))


@given(st.data())
@settings(max_examples=100)
def test_every_cost_is_named_and_none_is_negative(worlds: Any, data: st.DataObject) -> None:
    w = data.draw(worlds)
    result = simulate(w.market, w.weights, w.setup)
    f = result.fills
    unit = result.book.unit[f["instrument"]]
    for kind in KINDS:
        assert (f[kind] >= -1e-12 * np.abs(f["lots"] * unit * f["mid"])).all(), kind
    adverse = f["lots"] * unit * (f["price"] - f["mid"])
    named = f["spread"] + f["slippage"] + f["impact"] + f["latency"]
    assert np.allclose(adverse, named, rtol=1e-9, atol=1e-9 * w.setup.capital)
    assert (named[f["maker"] == 1] == 0.0).all()
    terms = w.setup.terms[f["instrument"]]
    rate = np.where(f["maker"] == 1, terms["maker_fee"], terms["taker_fee"])
    assert np.allclose(f["fee"], np.abs(f["lots"] * unit * f["price"]) * rate, rtol=1e-12)
    # Makers at their price; takers at a mid inside the bar: the open, or a stop's level.
    row = w.market.rows[f["row"], f["instrument"]]
    taken = f["maker"] == 0
    assert (f["mid"][taken] <= row[taken, 1] * (1 + 1e-12)).all()
    assert (f["mid"][taken] >= row[taken, 2] * (1 - 1e-12)).all()
    assert (np.abs(f["lots"][taken]) <= 2**53).all()


@given(st.data())
@settings(max_examples=100)
def test_no_bar_gives_more_than_its_volume(worlds: Any, data: st.DataObject) -> None:
    w = data.draw(worlds)
    result = simulate(w.market, w.weights, w.setup)
    f, n = result.fills, len(w.panel.instruments)
    used = np.zeros(w.market.mark.shape)
    np.add.at(used, (f["row"], f["instrument"]), np.abs(f["lots"]))
    volume = w.market.rows[:, :, 4]
    for i in range(n):
        share, size = w.setup.terms["participation"][i], w.setup.terms["lot_size"][i]
        known = volume[:, i] > 0.0
        if np.isfinite(share):
            assert (used[known, i] * size <= share * volume[known, i] * (1 + 1e-12)).all()
        if w.setup.style.ignore_volume == 0:
            assert (used[~known, i] == 0.0).all()
        assert (used[~(w.market.rows[:, i, 0] > 0.0), i] == 0.0).all()


@given(st.data())
@settings(max_examples=100)
def test_buying_never_overdraws(worlds: Any, data: st.DataObject) -> None:
    """Cash falls below zero only by buying back what was sold short, or by a fee."""
    w = data.draw(worlds)
    result = simulate(w.market, w.weights, w.setup)
    cash = w.setup.capital
    for f in result.fills:
        spent = float(f["lots"] * result.book.unit[f["instrument"]] * f["price"] + f["fee"])
        cash -= spent
        opened = f["lots"] > 0 and f["position"] > 0  # long after a purchase: something was bought beyond a short
        if opened and f["position"] >= f["lots"]:
            assert cash >= -1e-9 * w.setup.capital
