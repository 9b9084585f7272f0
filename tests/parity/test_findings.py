"""What models do by chance is booked with its row: a fold comes to the same account, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.engaged import Account, opened, trade
from tests.parity.planned import SHORT, book
from trimtab.engine import events as ev
from trimtab.engine.journal import read
from trimtab.engine.models import ModelRows
from trimtab.engine.recovery import fold_journal, save
from trimtab.engine.shell import Habits
from trimtab.research.synthetic import synthetic_panel
from trimtab.types import Model, TrimtabError

PANEL = synthetic_panel(3, 120, 2, "1d")
MOMENT = int(PANEL.ts[60])


class Chance:
    """While it is bad, the first model fails at one row, which no part of its code, parameters or bars says."""

    is_bad = False


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> Chance:
    found, advance = Chance(), ModelRows.advance

    def advanced(self: ModelRows, ts: int, *rest: Any) -> int:
        if found.is_bad and self.m == 0 and ts == MOMENT:
            raise MemoryError("no memory just now \ud800")
        return advance(self, ts, *rest)

    monkeypatch.setattr(ModelRows, "advance", advanced)
    return found


@pytest.fixture
def account(memory_path: Path) -> Account:
    a, b = (Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.4, name=name) for name in "ab")
    return opened(book(PANEL, a, b), PANEL, memory_path / "account")


def folded(account: Account) -> bytes:
    return save(fold_journal(account.path, account.before, account.names, whole=True).state)


def rows(account: Account) -> list[ev.RowDecided]:
    return [event.body for event in read(account.path) if isinstance(event.body, ev.RowDecided)]


def test_a_model_that_failed_by_chance_has_failed(chance: Chance, account: Account) -> None:
    chance.is_bad = True
    shell, watch = trade(account, PANEL)
    live, (alert,) = save(shell.state), watch.alerts
    assert alert.startswith("model a, row closed")
    assert "no memory just now ?" in alert
    (row,) = [row for row in rows(account) if row.failed]
    assert (row.row, row.failed) == (MOMENT, {"a": alert})
    assert row.weights[0].tolist() == [0.0, 0.0]
    assert all(np.isnan(after.weights[0]).all() for after in rows(account) if after.row > MOMENT)
    assert folded(account) == live
    chance.is_bad = False
    assert folded(account) == live
    shell, watch = trade(account, PANEL)  # the account goes on
    assert not watch.alerts
    assert save(shell.state) == live


def test_a_model_that_fails_only_when_it_is_folded_is_told_in_words(chance: Chance, account: Account) -> None:
    trade(account, PANEL)
    assert b"failed" not in ev.encode(rows(account)[60]), "a row at which nothing happened is as short as it was"
    chance.is_bad = True
    said = r"at which model a did not fail; now it does: .* no memory just now \?\. This code decides otherwise: go on"
    with pytest.raises(TrimtabError, match=said):
        folded(account)


def test_a_failure_at_a_row_that_is_only_shown_is_booked_too(chance: Chance, account: Account) -> None:
    chance.is_bad = True
    shell, watch = trade(account, PANEL, Habits(snapshot_every=0, warm_until=MOMENT))
    assert len(watch.alerts) == 1
    shown = [event.body for event in read(account.path) if isinstance(event.body, ev.RowWarmed)]
    assert [(row.row, list(row.failed)) for row in shown if row.failed] == [(MOMENT, ["a"])]
    chance.is_bad = False
    assert folded(account) == save(shell.state)


def test_a_model_that_the_account_has_not_is_told(chance: Chance, account: Account) -> None:
    chance.is_bad = True
    trade(account, PANEL)
    names = replace(account.names, models=("other", "b"))
    with pytest.raises(TrimtabError, match="speaks of model a, which this account has not: other, b"):
        fold_journal(account.path, account.before, names)


@pytest.mark.parametrize(("factor", "said"), [(1.0 + 2**-52, "the weight -0.2"), (np.nan, "no new weight")])
def test_weights_that_come_out_otherwise_are_told(
    factor: float, said: str, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(account, PANEL)
    advance = ModelRows.advance

    def advanced(self: ModelRows, ts: int, bars: Any, any_bar: Any, factors: Any, told: Any, n: int) -> int:
        end = advance(self, ts, bars, any_bar, factors, told, n)
        if self.m == 1 and ts >= MOMENT:
            told.value[n:end] *= factor
        return end

    monkeypatch.setattr(ModelRows, "advance", advanced)
    with pytest.raises(TrimtabError, match=r"at which model b gave SYN\d the weight .* comes to " + said):
        folded(account)


def test_weights_of_another_shape_are_told(account: Account) -> None:
    trade(account, PANEL)
    names = replace(account.names, models=("a", "b", "c"))
    with pytest.raises(TrimtabError, match=r"weights of shape \(2, 2\), models and instruments: this .* \(3, 2\)"):
        fold_journal(account.path, account.before, names)
