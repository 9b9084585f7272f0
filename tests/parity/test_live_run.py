"""Law 2 for whole specs: backtest == engine on the paper venue == fold of its journal, as Runs and as bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.engaged import assert_same
from tests.parity.planned import SHORT, book
from trimtab.research.synthetic import synthetic_panel
from trimtab.types import Model, Rebalance


@pytest.mark.parametrize("name", list(SHORT))
@pytest.mark.parametrize("when", ["on_change", "always"])
def test_every_strategy_on_days_with_gaps(name: str, when: str, tmp_path: Path) -> None:
    panel = synthetic_panel(3, 420, 4, "1d")
    spec = book(panel, Model(strategy=name, params=SHORT[name]), rebalance=Rebalance(when=when))
    assert_same(spec, panel, tmp_path, seed=len(name))
