"""The laws of the whole path are there to catch faults of Trimtab: each is shown to see one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from trimtab.research import check_money, check_path
from trimtab.research.check import LAWS, judge
from trimtab.research.check_subject import Finding, Subject, subject_of
from trimtab.research.run import Run
from trimtab.research.synthetic import synthetic_panel
from trimtab.strategies import find
from trimtab.types import COST_KINDS, Panel


@pytest.fixture(scope="module")
def subject(panel: Panel) -> Subject:
    return subject_of(find("sma_cross"), panel, {"fast": 3, "slow": 9, "short": True}, 0)


def verdict(subject: Subject, name: str) -> Finding:
    return judge(next(law for law in LAWS if law.name == name), subject)[0]


def test_the_book_that_is_checked_trades_pays_and_is_limited(subject: Subject) -> None:
    run = check_path.run_book(subject, check_path.book_of(subject, check_path.TIGHT), subject.panel)
    assert len(run.result.fills) > 100
    assert set(run.actions["limit"].unique()) >= {"max_weight", "gross_leverage", "drawdown_derisk"}
    for kind in ("fee", "spread", "slippage", "impact", "latency"):
        assert run.metrics["costs"][kind] > 0.0
    assert len(run.spec.models) == 2
    assert run.spec.models[0].params != run.spec.models[1].params


@pytest.mark.parametrize("name", ["path", "conservation", "gate"])
def test_they_hold(subject: Subject, name: str) -> None:
    finding = verdict(subject, name)
    assert finding.passed, finding.message


def test_weights_that_come_a_row_early_are_seen(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    made = check_path.model_streams

    def early(*args: Any) -> Any:
        return [stream._replace(row=np.maximum(stream.row - 1, 0)) for stream in made(*args)]

    monkeypatch.setattr(check_path, "model_streams", early)
    finding = verdict(subject, "path")
    assert not finding.passed
    assert finding.field == "close"
    assert finding.row is not None
    assert finding.ts == subject.panel.ts[finding.row]
    assert "looks ahead" in finding.message


def test_rows_that_know_the_next_close_are_seen(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    made = check_path.rows_of

    def peeking(panel: Panel, *args: Any) -> Any:
        values = panel.values.copy()
        values[:-1, :, 3] = values[1:, :, 3]
        return made(msgspec.structs.replace(panel, values=values), *args)

    monkeypatch.setattr(check_path, "rows_of", peeking)
    finding = verdict(subject, "path")
    assert not finding.passed
    assert "the bars of SYN1" in finding.message or "the rows of SYN1" in finding.message


def _with(run: Run, **changed: Any) -> Run:
    return Run(run.spec, run.panel, run.costs, run.fold._replace(result=run.result._replace(**changed)))


def _tampered(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    made = check_path.run_book
    monkeypatch.setattr(check_path, "run_book", lambda *args: change(made(*args)))


def test_a_cent_out_of_nothing_is_seen(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def richer(run: Run) -> Run:
        equity = run.bar_equity.copy()
        equity[700:] += 0.01
        return _with(run, equity=equity)

    _tampered(monkeypatch, richer)
    finding = verdict(subject, "conservation")
    assert (finding.passed, finding.field, finding.row) == (False, "equity", 700)


def test_a_profit_that_no_model_made_is_seen(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(run: Run) -> Run:
        pnl = run.result.pnl.copy()
        pnl[500:, 1] += 1.0
        return _with(run, pnl=pnl)

    _tampered(monkeypatch, shifted)
    finding = verdict(subject, "conservation")
    assert (finding.passed, finding.field) == (False, "pnl")


@pytest.fixture(scope="module")
def everything(subject: Subject) -> Run:
    """The book with margin, carry, two currencies and cash flows."""
    held, book = check_money._with_everything(subject)
    return check_path.run_book(held, book, held.panel)


def test_the_book_with_everything_on_has_it_on(everything: Run) -> None:
    metrics = everything.metrics
    assert all(metrics["costs"][kind] != 0.0 for kind in COST_KINDS)
    assert "LIQUIDATE" in everything.actions["action"].to_list()
    assert metrics["cash_paid_in"] != 0.0
    assert metrics["dividends"] != 0.0
    assert {"ADJUST", "PAY"} <= set(everything.actions["action"])
    assert metrics["revaluation"] != 0.0
    counted = check_money.count(everything)
    np.testing.assert_allclose(counted.equity, everything.bar_equity, rtol=0.0, atol=1e-7)


def other_terms(name: str, run: Run) -> Run:
    terms = run.fold.setup.terms.copy()
    terms[name] *= 1.01
    return _of(run, run.fold._replace(setup=run.fold.setup._replace(terms=terms)))


def other_field(name: str, run: Run) -> Run:
    values = run.panel.values.copy()
    values[:, :, run.panel.fields.index(name)] *= 1.01
    return _of(run, run.fold, msgspec.structs.replace(run.panel, values=values))


def other_flows(name: str, run: Run) -> Run:
    flows = run.fold.setup.flows._replace(amount=run.fold.setup.flows.amount * 1.01)
    return _of(run, run.fold._replace(setup=run.fold.setup._replace(flows=flows)))


def _of(run: Run, fold: Any, panel: Panel | None = None) -> Run:
    changed = Run(run.spec, panel or run.panel, run.costs, fold)
    changed.__dict__["bar_equity"] = run.bar_equity  # what the driver said
    return changed


@pytest.mark.parametrize(
    ("change", "name"),
    [
        *((other_terms, rate) for rate in ("borrow", "margin_interest", "liquidation")),
        (other_field, "funding"),
        (other_field, "fx"),
        (other_field, "dividend"),
        (other_flows, ""),
    ],
)
def test_a_hundredth_of_any_carry_that_goes_astray_is_seen(
    subject: Subject, everything: Run, change: Callable[[str, Run], Run], name: str
) -> None:
    assert check_money._money_break(subject, everything) is None
    finding = check_money._money_break(subject, change(name, everything))
    assert finding is not None, name
    assert finding.field == "equity"


def test_perpetuals_pay_the_fallback_where_the_bars_have_no_funding(panel: Panel) -> None:
    made = tuple(msgspec.structs.replace(i, kind="perpetual", initial_margin=0.5) for i in panel.instruments)
    perpetual = msgspec.structs.replace(panel, instruments=made)
    subject = subject_of(find("sma_cross"), perpetual, {"fast": 3, "slow": 9, "short": True}, 0)
    run = check_path.run_book(subject, check_path.book_of(subject, check_path.TIGHT), subject.panel)
    assert run.metrics["costs"]["funding"] != 0.0
    finding = verdict(subject, "conservation")
    assert finding.passed, finding.message


@pytest.mark.parametrize("name", ["pairs_reversion", "buy_and_hold"])
@pytest.mark.parametrize("instruments", [1, 2, 3])
def test_books_of_any_size_add_up(name: str, instruments: int) -> None:
    if instruments == 1 and name == "pairs_reversion":
        return
    subject = subject_of(find(name), synthetic_panel(3, 700, instruments), {}, 0)
    finding = verdict(subject, "conservation")
    assert finding.passed, finding.message


def test_more_allowed_than_wanted_is_seen(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(run: Run) -> Run:
        actions = run.result.actions.copy()
        actions["allowed"][3] = 2.0 * actions["wanted"][3] + 1.0
        return _with(run, actions=actions)

    _tampered(monkeypatch, lenient)
    finding = verdict(subject, "gate")
    assert not finding.passed
    assert "was wanted" in finding.message


def test_an_order_beyond_the_limit_is_seen(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def larger(run: Run) -> Run:
        orders = run.result.orders.copy()
        orders["lots"] *= 3
        return _with(run, orders=orders)

    _tampered(monkeypatch, larger)
    finding = verdict(subject, "gate")
    assert not finding.passed
    assert "max_weight is 0.2" in finding.message


def test_a_fill_without_an_order_is_seen(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    _tampered(monkeypatch, lambda run: _with(run, orders=run.result.orders[1:]))
    finding = verdict(subject, "gate")
    assert not finding.passed
    assert "has no order" in finding.message
