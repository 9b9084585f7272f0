"""A ledger of its own for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.research.ledger.file import PLACE


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that trials of this test go to."""
    folder = tmp_path / "trials"
    monkeypatch.setenv(PLACE, str(folder))
    return folder
