"""Models that fail alone, quarantine, and what a planner remembers: how much, and of what."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.parity.planned import FOLLOWS, REGIMES, SHORT, book, made, with_fields
from trimtab.compiled import cache_folder
from trimtab.portfolio.budgets import combine
from trimtab.research.prepared import market_of
from trimtab.research.streams import plan_of
from trimtab.research.synthetic import synthetic_panel
from trimtab.types import (
    DAY,
    HOUR,
    AllocatorUse,
    Model,
    Panel,
    Rebalance,
    RegimeUse,
    TrimtabError,
    Weights,
)

CHEATS: dict[str, tuple[str, str, str]] = {
    "raises": ("if x[0, 0] > p.level:\n        raise ValueError('too high')", "1.0", "raised ValueError: too high"),
    "infinite": ("pass", "np.inf if x[0, 0] > p.level else 1.0", "the forecast of unit 1 is inf"),
}

STRATEGY = '''"""Fails above a level."""
from typing import NamedTuple

import numpy as np
from numba import njit

from trimtab.types import Strategy


class Params(NamedTuple):
    level: float = 1e9


class State(NamedTuple):
    rows: int


@njit(cache=True)
def init(p):
    return State(0)


@njit(cache=True)
def step(p, s, x):
    {does}
    return State(s.rows + 1), {says}


def warmup(p):
    return 0


STRATEGY = Strategy(
    name="fails", fields=("close",), params=Params(), ranges={{"level": (0.0, 1e12)}}, init=init, step=step,
    warmup=warmup,
)
'''


@pytest.mark.parametrize("kind", list(CHEATS))
def test_a_model_that_fails_is_isolated(kind: str, tmp_path: Path) -> None:
    does, says, message = CHEATS[kind]
    file = tmp_path / "fails.py"
    file.write_text(STRATEGY.format(does=does, says=says))
    panel = synthetic_panel(9, 200, 2, "1d")
    close = panel.values[:, 1, 3]
    t = 100 + int(np.nanargmax(close[100:]))
    seen = panel.values[:, :, 3][:t]
    level = max(np.nanmax(seen), panel.values[t, 0, 3] if panel.values[t, 0, 3] < close[t] else 0.0)
    if not level < close[t]:
        level = float(np.nextafter(close[t], 0.0))
        panel = Panel(panel.ts, panel.instruments, panel.fields, _capped(panel.values, t, level), panel.timeframe)
    good = Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.3)
    bad = Model(strategy=str(file), params={"level": float(level)}, budget=0.3, name="bad")
    spec = book(panel, good, bad, msgspec.structs.replace(good, name="again"))
    rest = combine(plan_of(book(panel, good, msgspec.structs.replace(good, name="again")), panel).streams)
    one, parts, mark = made(spec, panel), list[Weights](), market_of(panel, "USD").mark
    faults: list[tuple[int, str]] = []
    for row in range(len(panel.ts)):
        parts.append(one.advance(row, int(panel.ts[row]), panel.values[row], mark[row]))
        faults += one.faults
    ((m, told),) = faults
    assert m == 1
    assert one.quarantined == (1,)
    assert message in told
    assert "model bad, row closed" in told
    all_of = Weights(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    others = all_of.model != 1
    assert np.array_equal(all_of.row[others], rest.row)
    assert np.array_equal(all_of.value[others], rest.value)
    last = all_of.row[~others] == t
    assert all_of.row[~others].max() == t
    assert all_of.value[~others][last].tolist() == [0.0, 0.0]
    assert all_of.instrument[~others][last].tolist() == [0, 1]


def _capped(values: np.ndarray, t: int, level: float) -> np.ndarray:
    """Closes no higher than a level, but for one."""
    found = values.copy()
    kept = found[t, 1, 3]
    found[:, :, 3] = np.minimum(found[:, :, 3], level)
    found[t, 1, 3] = kept
    return found


#: What each part of a strategy may do wrong on its tenth row, and what is said of it.
WRONG: dict[str, tuple[str, str]] = {
    "n_legs=2, legs=legs": (
        "legs(p, s, x, f):\n    return np.full(2, np.nan if s.rows > 9 else 0.5)",
        "`legs` of unit 0 is nan",
    ),
    "n_legs=0, legs=legs": (
        "legs(p, s, x, f):\n    return np.full(2, np.inf if s.rows > 9 else 0.5)",
        "`legs` of unit 0 is inf",
    ),
    "across=across": (
        "across(p, f):\n    return np.full(2, np.inf if f[0] > 0.95 else 0.5)",
        "`across` of unit 0 is inf",
    ),
    "fit=Fit(of=of, window=lambda p: 10, every=lambda p: 86_400 * 10**9)": (
        "of(p, x):\n    raise RuntimeError('no fit')",
        "raised RuntimeError: no fit",
    ),
}


def wrong_strategy(part: str, function: str) -> str:
    """The text of a strategy that has a part, which is a function that goes wrong."""
    text = STRATEGY.format(does="pass", says="s.rows / 10").replace("import Strategy\n", "import Fit, Strategy\n")
    compiled = "" if part.startswith("fit") else "@njit\n"
    text = text.replace("\n\nSTRATEGY =", f"\n\n{compiled}def {function}\n\n\nSTRATEGY =")
    text = text.replace("warmup=warmup,", f"warmup=warmup, {part},")
    if part.startswith("fit"):
        text = text.replace("    rows: int\n", "    rows: int\n    fitted: float\n").replace(
            "State(0)", "State(0, 0.0)"
        )
        text = text.replace("State(s.rows + 1)", "State(s.rows + 1, s.fitted)")
    return text


@pytest.mark.parametrize("part", list(WRONG))
@pytest.mark.parametrize("sized", [False, True])
def test_whatever_part_fails_stops_its_model_alone(part: str, sized: bool, tmp_path: Path) -> None:
    function, message = WRONG[part]
    (tmp_path / "wrong.py").write_text(wrong_strategy(part, function))
    panel = synthetic_panel(9, 30, 2, "1d")
    good = Model(strategy="sma_cross", params={"fast": 2, "slow": 4}, budget=0.5, name="good")
    wrong = Model(strategy=str(tmp_path / "wrong.py"), budget=0.5, name="wrong")
    again = Rebalance(min_trade=0.01) if sized else Rebalance()
    one, mark = made(book(panel, wrong, good, rebalance=again), panel), market_of(panel, "USD").mark
    rest = combine(plan_of(book(panel, good, rebalance=again), panel).streams)
    parts: list[Weights] = []
    faults: list[tuple[int, str]] = []
    for t in range(30):
        parts.append(one.advance(t, int(panel.ts[t]), panel.values[t], mark[t]))
        faults += one.faults
    ((m, told),) = faults
    assert m == 0
    assert message in told
    all_of = Weights(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    assert all_of.value[all_of.model == 1].tobytes() == rest.value.tobytes()
    assert all_of.value[all_of.model == 0][-2:].tolist() == [0.0, 0.0]
    assert np.isfinite(all_of.value).all()


def test_quarantine_is_said_once_and_survives_a_restart() -> None:
    panel = synthetic_panel(9, 60, 2, "1d")
    spec = book(panel, *(Model(strategy="buy_and_hold", name=n, budget=0.5) for n in "ab"))
    mark = market_of(panel, "USD").mark
    one = made(spec, panel)
    for t in range(20):
        one.advance(t, int(panel.ts[t]), panel.values[t], mark[t])
    one.quarantine(0)
    saved = one.save()
    one = made(spec, panel)
    one.load(saved)
    told = one.advance(20, int(panel.ts[20]), panel.values[20], mark[20])
    assert [told.row.tolist(), told.model.tolist(), told.instrument.tolist()] == [[20, 20], [0, 0], [0, 1]]
    assert told.value.tolist() == [0.0, 0.0]
    assert not len(one.advance(21, int(panel.ts[21]), panel.values[21], mark[21]).row)
    with pytest.raises(TrimtabError, match="no model 2 to quarantine: the book has 2"):
        one.quarantine(2)


def test_a_memory_of_something_else_is_refused() -> None:
    panel = synthetic_panel(9, 60, 2, "1d")
    spec = book(panel, Model(strategy="sma_cross", params={"fast": 3, "slow": 9}))
    saved = made(spec, panel).save()
    other = made(msgspec.structs.replace(spec, seed=5), panel)
    with pytest.raises(TrimtabError, match="of another spec, other instruments or other code"):
        other.load(saved)
    with pytest.raises(TrimtabError, match="cannot be read"):
        other.load(saved[:-7])
    with pytest.raises(TrimtabError, match="cannot be read"):
        other.load(b"\xff\x00 nonsense")


def test_rows_come_in_order_and_models_must_fit() -> None:
    panel = synthetic_panel(9, 60, 2, "1d")
    one = made(book(panel, Model(strategy="buy_and_hold")), panel)
    one.advance(0, 10 * HOUR, panel.values[0], np.zeros(2))
    with pytest.raises(TrimtabError, match="rows come in order"):
        one.advance(1, 10 * HOUR, panel.values[1], np.zeros(2))
    for model, message in (
        (Model(strategy="pairs_reversion", universe=("SYN1",)), "multiple of 2"),
        (Model(strategy="sma_cross", universe=("NONE",)), "NONE is not in the book's universe"),
        (Model(strategy="sma_cross", timeframe="1h"), "does not fit on the book's grid"),
        (Model(strategy="sma_cross", timeframe="7h"), "is none of"),
        (Model(strategy="sma_cross", regime_budgets={"vix": {"crisis": 0.0}}), "no regime of this name"),
    ):
        with pytest.raises(TrimtabError, match=message):
            made(book(panel, model), panel)
    vix = (RegimeUse(regime="vix", reads="VXI"),)
    with pytest.raises(TrimtabError, match=r"regimes.0.reads: 'VXI' is neither a symbol nor a field of the feed"):
        made(book(panel, Model(strategy="sma_cross", regime_budgets={"vix": {"crisis": 0.0}}), regimes=vix), panel)


#: A fit, a pair, `across` and sizers on two timeframes; prints how often numba compiled.
SCRIPT = """
import json
import numba
import numpy as np
from numba.core import event
seen = event.RecordingListener()
with event.install_listener("numba:compile", seen):
    import trimtab as tt
    from trimtab.engine.planner import planner
    from trimtab.research.synthetic import synthetic_panel
    panel = synthetic_panel(3, 60, 2, "4h")
    names = ("sma_cross", "pairs_reversion", "equity_trend")
    models = [tt.Model(strategy=n, budget=0.1, timeframe="1d") for n in names]
    models += [tt.Model(strategy="crypto_momentum", params={"fast": 2, "slow": 4}, timeframe="1d", budget=0.1)]
    for rebalance in (tt.Rebalance(), tt.Rebalance(min_trade=0.1, buffer=0.1)):
        sizer = tt.SizerUse(name="volatility_target") if rebalance.buffer else None
        spec = tt.Spec(models=models, universe=panel.symbols, timeframe="4h", rebalance=rebalance, sizer=sizer)
        one = planner(spec, panel.instruments, panel.fields)
        for t in range(60):
            one.advance(t, int(panel.ts[t]), panel.values[t], np.ones(2))
        one.load(one.save())
        assert not one.faults
    numba.njit(lambda x: x + 1)(1)  # is counted, where nothing else is
print(json.dumps(sum(e.is_start for _, e in seen.buffer)))
"""


@pytest.mark.nightly
def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """In a copy of the cache, because other tests add to the cache at the same time."""
    if cache_folder().is_dir():
        shutil.copytree(cache_folder(), tmp_path / cache_folder().name)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | {"TRIMTAB_CACHE": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    counts: list[int] = []
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout))
    assert counts[1] == 1


def test_memory_does_not_grow_with_rows() -> None:
    panel = with_fields(synthetic_panel(6, 1_200, 4, "4h"))
    spec = book(
        panel,
        Model(strategy="sma_cross", params=SHORT["sma_cross"], budget=0.5, regime_budgets=FOLLOWS),
        Model(strategy="crypto_momentum", params=SHORT["crypto_momentum"], budget=0.5, timeframe="1d"),
        regimes=REGIMES,
        allocator=AllocatorUse(name="inverse_volatility", window=15, every=86_400.0),
    )
    mark, one, sizes = market_of(panel, "USD").mark, made(spec, panel), list[int]()
    for t in range(1_200):
        one.advance(t, int(panel.ts[t]), panel.values[t], mark[t])
        if panel.ts[t] % DAY == 0:
            sizes.append(len(one.save()))
    assert max(sizes[-50:]) <= max(sizes[50:100]) + 64  # numbers grow by digits
