"""Strategy files as users write them, put together from a few lines each."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from trimtab.research.synthetic import synthetic_panel
from trimtab.strategies import find
from trimtab.types import Panel, Strategy

TEMPLATE = '''"""A strategy of a test."""

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.smoothing import Ewm, ewm_init, ewm_step
from trimtab.kernels.window import Lag, WindowMoments, deviation, lag_init, lag_step, moments_init, moments_step
from trimtab.types import F64, Strategy
{head}

class Params(NamedTuple):
    n: int = 20


class State(NamedTuple):
{state}


@compiled
def init(p):
    return State({init})


@inlined
def step(p, s, x{arguments}):
{step}

{more}
def warmup(p):
    return {warmup}


STRATEGY = Strategy(
    name="{name}", fields={fields}, params=Params(), ranges={{"n": {n}}}, init=init, step=step, warmup=warmup{extra}
)
'''

#: Names of State's members with their types, what init gives them, and the lines of step.
WINDOW: dict[str, str] = {
    "state": "window: WindowMoments\nrows: int",
    "init": "moments_init(p.n), 0",
    "warmup": "p.n - 1",
    "step": """
        window = moments_step(s.window, x[0, 0])
        gap = x[0, 0] - window.mean
        forecast = 0.0 if window.m2 == 0.0 else np.tanh(gap / deviation(window, 0))
        return State(window, s.rows + 1), (forecast if s.rows >= p.n - 1 else np.nan)
    """,
}


def _indented(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text.strip("\n")).rstrip(), "    ")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Strategy]:
    """write(name, **parts) -> the strategy in a new file: a window of closes, with the named parts replaced."""

    def made(name: str, **parts: str) -> Strategy:
        filled = {
            "head": "",
            "arguments": "",
            "more": "",
            "fields": '("close",)',
            "n": "(2, 200)",
            "extra": "",
            **WINDOW,
            **parts,
            "name": name,
        }
        for part in ("state", "step"):
            filled[part] = _indented(filled[part])
        file = tmp_path / f"{name}.py"
        file.write_text(TEMPLATE.format(**filled))
        return find(file)

    return made


@pytest.fixture
def fresh_process() -> None:
    """Asked for by tests in which the fresh process of the determinism law takes part; elsewhere it is left out."""


@pytest.fixture(autouse=True)
def _processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "fresh_process" not in request.fixturenames:
        monkeypatch.setattr("trimtab.research.check_forecasts.source_of", lambda strategy: None)


@pytest.fixture(scope="session")
def panel() -> Panel:
    """Two round-the-clock and two session instruments, daily."""
    return synthetic_panel(7, 1_200)
