"""The whole court before noise, and before an edge that is known: it passes as often as it should, and not more.

Every family of strategies has a ledger of its own, as if nobody had tried anything on these bars before. Families are
drawn from seeds 0, 1, 2, …; a share may be two standard errors from what it is held against.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import trimtab as tt
from tests.unit.research.court.making import NEARLY_FREE, panel_from, planted, weighed
from trimtab.research.court.court import hold
from trimtab.research.court.verdict import PASS
from trimtab.research.inference.sharpe import Moments, power
from trimtab.research.ledger.file import PLACE

ROWS = 250


def family_passes(folder: Path, seed: int, trials: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Does any of so many strategies that know nothing pass, each judged when all of them were tried?"""
    monkeypatch.setenv(PLACE, str(folder / f"{trials} {seed}"))
    panel = panel_from(0.01 * np.random.default_rng(seed).standard_normal(ROWS))
    runs = [weighed(panel, 1_000 * (seed + 1) + k) for k in range(trials)]
    # The best of them passes if any does: all have the same hurdle.
    best = max(runs, key=lambda run: run.metrics["net"]["sharpe"])
    return hold(best, stressed=False).verdict.word == PASS


def edge_passes(folder: Path, seed: int, edge: float, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv(PLACE, str(folder / f"edge {edge} {seed}"))
    panel, side = planted(ROWS, edge, seed)
    return hold(tt.simulate(panel, side, costs=NEARLY_FREE), stressed=False).verdict.word == PASS


def most(share: float, draws: int) -> float:
    """What a true share may be measured as, at most."""
    return share + 2.0 * math.sqrt(share * (1.0 - share) / draws)


def truth(edge: float) -> Moments:
    """Of `planted`: the first of its days has no return, and the side of the day before is known."""
    return Moments(ROWS, edge)


def test_a_few_families_of_noise_do_not_pass_and_a_few_edges_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    families, large = 8, 0.3
    passed = sum(family_passes(tmp_path, seed, 12, monkeypatch) for seed in range(families))
    assert passed / families <= most(0.05, families)
    assert power(truth(large)) > 0.998
    assert all(edge_passes(tmp_path, seed, large, monkeypatch) for seed in range(6))


@pytest.mark.nightly
def test_families_of_twelve_strategies_on_noise_do_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    families = 300
    passed = sum(family_passes(tmp_path, seed, 12, monkeypatch) for seed in range(families))
    assert passed / families <= most(0.05, families)


@pytest.mark.nightly
def test_a_single_strategy_on_noise_passes_at_the_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draws = 1_000
    passed = sum(family_passes(tmp_path, seed, 1, monkeypatch) for seed in range(draws))
    assert abs(passed / draws - 0.05) < most(0.05, draws) - 0.05


@pytest.mark.nightly
@pytest.mark.parametrize("edge", [0.05, 0.1, 0.15])
def test_an_edge_passes_as_often_as_its_power_says(edge: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A court that always says no fails here: the powers are 0.19, 0.47 and 0.77."""
    draws = 1_000
    passed = sum(edge_passes(tmp_path, seed, edge, monkeypatch) for seed in range(draws))
    share = power(truth(edge))
    assert abs(passed / draws - share) < most(share, draws) - share
