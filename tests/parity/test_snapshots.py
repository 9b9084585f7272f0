"""Snapshots only spare time: one that does not fit in any way is as if there were none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.engaged import Account, head, opened, trade
from tests.parity.planned import SHORT, book
from trimtab.engine.journal import open_journal
from trimtab.engine.recovery import fold_journal, last_row, save
from trimtab.engine.saving import pack, unpack
from trimtab.research.synthetic import synthetic_panel
from trimtab.types import Model, Rebalance

PANEL = synthetic_panel(3, 110, 3, "1d")

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Account:
    folder: Path = tmp_path_factory.mktemp("snapshots")
    models = (
        Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.4, name="cross"),
        Model(strategy="pairs_selected", params=SHORT["pairs_selected"], budget=0.4, name="pairs"),
    )
    account = opened(book(PANEL, *models, rebalance=Rebalance(min_trade=0.01)), PANEL, folder / "account")
    trade(account, head(PANEL, 100))
    return account


def folded(account: Account) -> tuple[bytes, int]:
    """The account as it stands, and how many events it took."""
    seen: list[int] = []
    state = fold_journal(
        account.path, account.before, account.names, told=lambda event, state: seen.append(event.seq)
    ).state
    return save(state), len(seen)


def planner(change: Callable[[Tree], Any]) -> Callable[[Tree], None]:
    """A change of what the planner has saved."""

    def changed(tree: Tree) -> None:
        inner = unpack(tree["planner"])
        change(inner)
        tree["planner"] = pack(inner)

    return changed


def put(*path: Any, value: Callable[[Any], Any]) -> Callable[[Tree], None]:
    """A change of the member at a path."""

    def changed(tree: Any) -> None:
        for part in path[:-1]:
            tree = tree[part]
        tree[path[-1]] = value(tree[path[-1]])

    return changed


def longer(array: np.ndarray) -> np.ndarray:
    return np.concatenate((array, array))


KINDS: dict[str, Callable[[Tree], Any]] = {
    "another format": put("format", value=lambda n: n - 1),
    "no format": lambda tree: tree.pop("format"),
    "another planner layout": planner(put("layout", value=lambda n: n + 1)),
    "another planner identity": planner(put("of", value=lambda said: said[::-1])),
    "no planner": lambda tree: tree.pop("planner"),
    "a planner that is no bytes": put("planner", value=lambda _: 7),
    "a planner that is cut off": put("planner", value=lambda told: told[:-9]),
    "a model fewer": planner(lambda told: told["models"].pop()),
    "a unit fewer": planner(lambda told: told["models"][0]["states"].pop()),
    "another State": planner(lambda told: told["models"][0]["states"][0].append(1.0)),
    "last weights of another size": planner(put("models", 0, "last", value=longer)),
    "a window of another size": planner(put("models", 1, "parts", 0, 0, value=longer)),
    "standing weights of another type": planner(
        put("models", 0, "parts", 1, 1, 0, 0, value=lambda told: told.astype(np.float32))
    ),
    "a book with a column of another size": put("book", "positions", value=lambda told: told[:-8]),
    "a book without a column": lambda tree: tree["book"].pop("weight"),
    "a tape of more rows than there is room": put("tape", "market", 0, value=lambda told: np.repeat(told, 10**4, 0)),
    "a tape with a number for a column": put("tape", "derived", 0, value=lambda _: 1.0),
    "bars of fewer instruments": put("bars", value=lambda told: told[:-1]),
    "standing weights of other models": put("standing", value=lambda _: np.zeros((9, 9))),
    "a member that nobody knows": lambda tree: tree.update(more=1),
    "a member fewer": lambda tree: tree.pop("numbered"),
    "orders that are none": put("sent", value=lambda _: {"TT-1": [1, 0, 0, b"short", False, 0, 0]}),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_snapshot_that_does_not_fit_costs_time_alone(kind: str, account: Account) -> None:
    state = fold_journal(account.path, account.before, account.names, whole=True).state
    whole = save(state)
    tree = unpack(whole)
    KINDS[kind](tree)
    with open_journal(account.path, account.names.account) as journal:
        journal.snapshot(0, pack(tree))
        seq = journal.head[0]
    now, events = folded(account)
    assert now == whole
    assert events == seq, "all of the journal was folded"


def test_a_snapshot_that_fits_spares_time_and_bytes_that_are_none_do_not(account: Account) -> None:
    whole = save(fold_journal(account.path, account.before, account.names, whole=True).state)
    for saved, spared in ((whole, True), (b"nonsense", False), (b"", False)):
        with open_journal(account.path, account.names.account) as journal:
            journal.snapshot(0, saved)
            seq = journal.head[0]
        now, events = folded(account)
        assert now == whole
        assert (events < 3) if spared else (events == seq)


def test_an_account_goes_on_behind_a_snapshot_of_another_version(account: Account) -> None:
    tree = unpack(save(fold_journal(account.path, account.before, account.names, whole=True).state))
    planner(put("layout", value=lambda n: n + 1))(tree)
    with open_journal(account.path, account.names.account) as journal:
        journal.snapshot(0, pack(tree))
    shell, watch = trade(account, PANEL)
    assert shell.rows == len(PANEL.ts) - 100
    assert last_row(account.path) == PANEL.ts[-1]
    assert not watch.alerts
