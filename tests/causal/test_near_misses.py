"""Honest strategies that look suspicious: long memories, fading ones, tables of constants, gaps. None is accused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.data.demo import import_demo
from trimtab.data.panel import load
from trimtab.data.store import open_store
from trimtab.research.check import LAWS, check_strategy
from trimtab.research.synthetic import synthetic_panel
from trimtab.strategies import BUILT_IN, find
from trimtab.types import Panel, Strategy

Write = Callable[..., Strategy]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "volatility_breakout.py"


def refused(findings: list[Any]) -> list[str]:
    return [f"{f.law} {f.field} {f.row}: {f.message}" for f in findings if not f.passed]


def said(findings: list[Any], law: str) -> str:
    return next(f.message for f in findings if f.law == law)


def test_a_long_window(write: Write) -> None:
    findings = check_strategy(write("long", n="(2, 400)"), params={"n": 350})
    assert refused(findings) == []
    assert "no row before the warm-up matters" in said(findings, "history")


def test_a_fading_memory(write: Write, panel: Panel) -> None:
    strategy = write(
        "fading",
        state="mean: Ewm\nrows: int",
        init="ewm_init(2.0 / (p.n + 1.0)), 0",
        step="""
            mean = ewm_step(s.mean, x[0, 0])
            forecast = np.tanh(10.0 * (x[0, 0] / mean.mean - 1.0))
            return State(mean, s.rows + 1), (forecast if s.rows >= p.n - 1 else np.nan)
        """,
    )
    findings = check_strategy(strategy, panel)
    assert refused(findings) == []
    sizes = re.search(r"up to (\S+) after the warm-up, (\S+) after 10", said(findings, "history"))
    assert sizes is not None
    near, far = map(float, sizes.groups())
    assert near > 1e-3 > far


def test_expanding_statistics(write: Write, panel: Panel) -> None:
    strategy = write(
        "expanding",
        state="count: int\nmean: float",
        init="0, 0.0",
        step="""
            count = s.count + 1
            mean = s.mean + (x[0, 0] - s.mean) / count
            return State(count, mean), (np.tanh(x[0, 0] / mean - 1.0) if count >= p.n else np.nan)
        """,
    )
    assert refused(check_strategy(strategy, panel)) == []


def test_a_pair_whose_hedge_is_frozen_at_entry(panel: Panel) -> None:
    given = {"lookback": 30, "neutral": 1, "entry_z": 1.5, "max_holding": 40}
    assert refused(check_strategy(find("pairs_reversion"), panel, given)) == []


def test_a_ring_that_holds_missing_values(write: Write, panel: Panel) -> None:
    strategy = write(
        "gaps",
        state="ring: F64\nrows: int",
        init="np.full(p.n, np.nan), 0",
        fields='("close", "volume")',
        warmup="p.n - 1",
        step="""
            s.ring[s.rows % p.n] = x[0, 1]
            total, known = 0.0, 0
            for k in range(p.n):
                if s.ring[k] == s.ring[k]:
                    total += s.ring[k]
                    known += 1
            forecast = np.tanh(x[0, 1] * known / total - 1.0) if known > 0 and total > 0.0 else 0.0
            return State(s.ring, s.rows + 1), (forecast if s.rows >= p.n - 1 else np.nan)
        """,
    )
    assert refused(check_strategy(strategy, panel)) == []


def test_a_short_table_of_constants(write: Write, panel: Panel) -> None:
    strategy = write(
        "taps",
        head="TAPS = np.array([0.4829629131, 0.8365163037, 0.2241438680, -0.1294095226])\n",
        state="a: float\nb: float\nc: float\nrows: int",
        init="np.nan, np.nan, np.nan, 0",
        warmup="3",
        step="""
            detail = TAPS[3] * x[0, 0] - TAPS[2] * s.a + TAPS[1] * s.b - TAPS[0] * s.c
            return State(x[0, 0], s.a, s.b, s.rows + 1), (np.tanh(detail) if s.rows >= 3 else np.nan)
        """,
    )
    assert refused(check_strategy(strategy, panel)) == []


def test_abstaining_until_something_happens(write: Write, panel: Panel) -> None:
    strategy = write(
        "event",
        state="window: WindowMoments\nside: float",
        init="moments_init(p.n), np.nan",
        step="""
            score = (x[0, 0] - s.window.mean) / deviation(s.window, 0)
            side = s.side
            if abs(score) > 2.0:
                side = np.sign(score)
            return State(moments_step(s.window, x[0, 0]), side), side
        """,
    )
    assert refused(check_strategy(strategy, panel)) == []


def test_ranks_across_instruments(write: Write, panel: Panel) -> None:
    strategy = write(
        "ranked",
        more="""
@compiled
def across(p, f):
    out = f.copy()
    known = 0
    for i in range(f.shape[0]):
        known += f[i] == f[i]
    for i in range(f.shape[0]):
        if f[i] == f[i] and known > 1:
            below = 0
            for j in range(f.shape[0]):
                below += f[j] < f[i]
            out[i] = 2.0 * below / (known - 1) - 1.0
    return out


""",
        extra=", across=across",
    )
    assert refused(check_strategy(strategy, panel)) == []


# --- all that ships --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def indices(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """S&P 500 and Nasdaq, daily, 2007-2018."""
    pytest.importorskip("arch")
    root = tmp_path_factory.mktemp("store")
    import_demo(open_store(root), now=1_750_000_000_000_000_000)
    return load("SP500", "NASDAQ", timeframe="1d", start="2007-01-01", root=root)


#: On real bars in the nightly run: their fits take long. By day they are looked at with short windows, below.
SLOW = ("pairs_selected", "volatility_clustering")
ON_REAL = [
    pytest.param(name, marks=pytest.mark.nightly) if name in SLOW else name
    for name in [*BUILT_IN, str(EXAMPLE)]
    if "1d" in find(name).timeframes
]


@pytest.mark.parametrize("name", ON_REAL)
def test_every_strategy_that_ships_keeps_the_laws_on_real_bars(indices: Panel, name: str) -> None:
    strategy = find(name)
    findings = check_strategy(strategy, indices)
    assert refused(findings) == []
    expected = [law.name for law in LAWS if law.applies(strategy)]
    assert [f.law for f in findings] == expected


#: On made bars by day: who is not on real ones, since it is made for hours; and one that is, and one that is a file. In
#: the nightly run all. There alone: who has long windows, where another on the same kernel is looked at by day
#: (variance_ratio, spectral_entropy).
LONG = ("pacf_spike", "spectral_peaks")
HOURLY = [name for name in BUILT_IN if "1d" not in find(name).timeframes and name not in LONG]
ON_MADE = [
    name if name in (*HOURLY, "sma_cross", str(EXAMPLE)) else pytest.param(name, marks=pytest.mark.nightly)
    for name in [*BUILT_IN, str(EXAMPLE)]
]


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize("name", ON_MADE)
def test_every_strategy_that_ships_keeps_the_laws_on_synthetic_bars(name: str) -> None:
    assert refused(check_strategy(find(name), seed=3)) == []


SHORT_FITS: dict[str, dict[str, Any]] = {
    "pairs_selected": {
        "window": 60, "every": 20, "min_correlation": -1.0, "rate": 1.0, "entry_z": 0.5, "exit_z": 0.2,
    },
    "volatility_clustering": {"window": 60, "every": 20},
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW)
def test_what_fits_keeps_the_laws_with_short_windows(name: str) -> None:
    strategy = find(name)
    findings = check_strategy(strategy, synthetic_panel(3, 300, 2), SHORT_FITS[name])
    assert refused(findings) == []
    assert [f.law for f in findings] == [law.name for law in LAWS if law.applies(strategy)]


def test_slower_fields_are_made_where_there_is_no_data(write: Write) -> None:
    strategy = write("slower", fields='("close", "close@1d")', extra=', timeframes=("4h",)')
    findings = check_strategy(strategy)
    assert refused(findings) == []


def test_an_instrument_that_begins_later_breaks_nothing() -> None:
    panel = synthetic_panel(7, 1_200, 2, "4h")
    values = panel.values.copy()
    values[:700, 1] = np.nan
    later = Panel(panel.ts, panel.instruments, panel.fields, values, panel.timeframe)
    assert refused(check_strategy(find("sma_cross"), later, {"fast": 5, "slow": 20})) == []
