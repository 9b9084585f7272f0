"""A ledger of its own for every test, and cases made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.research.court.making import weighed
from tests.unit.research.ledger.making import panel_of
from trimtab.research.ledger.file import PLACE
from trimtab.research.run import Run


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that trials of this test go to."""
    folder = tmp_path / "trials"
    monkeypatch.setenv(PLACE, str(folder))
    return folder


@pytest.fixture(scope="session")
def anyone() -> Run:
    """A run that cases made by hand stand on: of it only costs, hashes and words are read."""
    return weighed(panel_of(90), seed=3)
