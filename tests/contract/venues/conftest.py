"""The venues that exist, each on a bench of its own."""

from __future__ import annotations

import pytest

from tests.contract.venues.plain import plain
from tests.contract.venues.rigs import Make, paper
from trimtab.venues.link import DRILL, Faults

#: A venue joins the suite by its line here.
RIGS: dict[str, Make] = {
    "paper": paper(),
    "paper that protects": paper(protected=True),
    "paper, a plan without faults": paper(faults=Faults()),
    "plain": plain(),
}

#: What their lines do of themselves leaves no test but the last as it should be.
DRILLS: dict[str, Make] = {f"drill {seed}": paper(protected=seed > 0, faults=DRILL, seed=seed) for seed in range(3)}


@pytest.fixture(params=RIGS)
def make(request: pytest.FixtureRequest) -> Make:
    return RIGS[request.param]


@pytest.fixture(params=RIGS | DRILLS)
def any_line(request: pytest.FixtureRequest) -> Make:
    return (RIGS | DRILLS)[request.param]
