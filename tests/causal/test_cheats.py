"""Strategies that look ahead, remember where they must not, or do not keep their word: each is caught by its law."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from trimtab.research.check import LAWS, Law, check_strategy, judge
from trimtab.research.check_subject import subject_of
from trimtab.types import NotEnoughData, Panel, Strategy, TrimtabError

Write = Callable[..., Strategy]


def law(name: str) -> Law:
    return next(law for law in LAWS if law.name == name)


def breaks(strategy: Strategy, panel: Panel | None, **given: Any) -> dict[str, list[Any]]:
    """Law -> its breaks."""
    found: dict[str, list[Any]] = {}
    for finding in check_strategy(strategy, panel, **given):
        if not finding.passed:
            found.setdefault(finding.law, []).append(finding)
    return found


# --- memory outside State --------------------------------------------------------------------------------------------


def test_a_module_level_ring_is_named_with_its_line(write: Write, panel: Panel) -> None:
    strategy = write(
        "ring",
        head="RING = np.zeros(64)\n",
        step="""
            RING[s.rows % 64] = x[0, 0]
            return State(s.window, s.rows + 1), np.tanh(RING.mean() - x[0, 0])
        """,
    )
    found = breaks(strategy, panel)
    assert list(found) == ["contract"], "nothing can be said of what does not compile"
    message = found["contract"][0].message
    line = 1 + (
        Path(strategy.step.__code__.co_filename).read_text().split("\n").index("    RING[s.rows % 64] = x[0, 0]")
    )
    assert f"ring.py, line {line}:" in message
    assert "module-level array" in message
    assert "keep it in State" in message


def test_a_global_counter(write: Write, panel: Panel) -> None:
    strategy = write(
        "counter",
        head="COUNT = 0\n",
        step="""
            global COUNT
            COUNT += 1
            return State(s.window, s.rows + 1), 0.0
        """,
    )
    found = breaks(strategy, panel)
    assert "global" in found["contract"][0].message
    assert "counter.py, line" in found["contract"][0].message


def test_a_buffer_as_default_argument_is_shared_by_all(write: Write, panel: Panel) -> None:
    strategy = write(
        "default",
        arguments=", buffer=np.zeros(2)",
        step="""
            before = buffer[0]
            buffer[0] = x[0, 0]
            window = moments_step(s.window, x[0, 0])
            return State(window, s.rows + 1), (np.tanh(x[0, 0] - before) if s.rows >= p.n - 1 else np.nan)
        """,
    )
    found = breaks(strategy, panel)
    assert found["purity"][0].field == "buffer"
    assert "default argument" in found["purity"][0].message
    assert "State" in found["purity"][0].message


def test_a_ring_shared_between_instruments_behind_the_compilers_back(write: Write, panel: Panel) -> None:
    strategy = write(
        "shared",
        head="""
from numba import objmode

RING = np.zeros(8)


def push(value):
    RING[:-1] = RING[1:]
    RING[-1] = value
    return float(RING.mean())

""",
        step="""
            with objmode(mean="float64"):
                mean = push(x[0, 0])
            window = moments_step(s.window, x[0, 0])
            return State(window, s.rows + 1), (np.tanh(x[0, 0] / mean - 1.0) if s.rows >= p.n - 1 else np.nan)
        """,
    )
    found = breaks(strategy, panel)
    assert {"split", "determinism", "purity"} <= set(found)
    assert found["purity"][0].field == "objmode"
    assert found["split"][0].row is not None
    assert "remembered outside State" in found["split"][0].message


def test_a_state_that_aliases_its_previous_state(write: Write, panel: Panel) -> None:
    strategy = write(
        "alias",
        state="ring: F64\nprevious: F64\nrows: int",
        init="np.zeros(p.n), np.zeros(p.n), 0",
        step="""
            ring = s.ring
            ring[s.rows % p.n] = x[0, 0]
            # Meant to be yesterday's ring; it is today's, until a snapshot takes the two apart.
            change = ring.sum() - s.previous.sum()
            return State(ring, ring, s.rows + 1), (np.tanh(change) if s.rows >= p.n - 1 else np.nan)
        """,
    )
    found = breaks(strategy, panel)
    assert found["split"][0].field in ("State.ring", "State.previous")
    assert found["split"][0].row is not None
    assert found["split"][0].ts == panel.ts[found["split"][0].row]
    assert "the same memory" in found["split"][0].message


def test_a_state_that_cannot_be_saved(write: Write, panel: Panel) -> None:
    strategy = write(
        "unsaved",
        head="from numba import types\nfrom numba.typed import List\n",
        state="closes: List\nrows: int",
        init="List.empty_list(types.float64), 0",
        step="""
            s.closes.append(x[0, 0])
            return State(s.closes, s.rows + 1), (np.tanh(x[0, 0] - s.closes[0]) if s.rows >= p.n - 1 else np.nan)
        """,
    )
    found = breaks(strategy, panel)
    assert "split" in found or "contract" in found


# --- randomness and time ---------------------------------------------------------------------------------------------


def test_random_numbers_inside_step(write: Write, panel: Panel) -> None:
    strategy = write(
        "random",
        step="""
            window = moments_step(s.window, x[0, 0])
            return State(window, s.rows + 1), (2.0 * np.random.random() - 1.0 if s.rows >= p.n - 1 else np.nan)
        """,
    )
    found = breaks(strategy, panel)
    assert found["determinism"][0].field == "forecast"
    assert found["determinism"][0].row is not None
    assert "np.random" in found["determinism"][0].message
    for law in ("prefix", "path"):
        assert "mend determinism first" in found[law][0].message, "chance is no look-ahead"


@pytest.mark.usefixtures("fresh_process")
def test_a_constant_that_another_process_has_otherwise(write: Write, panel: Panel) -> None:
    strategy = write(
        "hashed",
        head="SALT = hash('trimtab') % 1000 / 1000.0\n",
        step="""
            window = moments_step(s.window, x[0, 0])
            return State(window, s.rows + 1), (SALT if s.rows >= p.n - 1 else np.nan)
        """,
    )
    found = breaks(strategy, panel)
    assert list(found) == ["determinism"]
    assert found["determinism"][0].field == "SALT"
    assert "fresh process" in found["determinism"][0].message


# --- look-ahead ------------------------------------------------------------------------------------------------------


def test_an_index_past_the_row_reads_the_next_bar(write: Write, panel: Panel) -> None:
    strategy = write(
        "peek",
        step="""
            window = moments_step(s.window, x[0, 0])
            return State(window, s.rows + 1), (np.sign(x[1, 0] - x[0, 0]) if s.rows >= p.n - 1 else np.nan)
        """,
    )
    found = breaks(strategy, panel)
    first = found["prefix"][0]
    assert first.field == "close"
    assert first.row is not None
    assert first.ts == panel.ts[first.row]
    assert "x is (1, 1)" in first.message
    assert "path" in found, "the whole path must notice it too"
    assert found["path"][0].field == "close"
    assert "determinism" not in found, "what is wrong here is the index, not chance"


def test_the_future_read_from_a_file(write: Write, panel: Panel, tmp_path: Path) -> None:
    close = panel.values[:, 0, panel.fields.index("close")]
    np.save(tmp_path / "future.npy", close[~np.isnan(close)])
    strategy = write(
        "oracle",
        head=f"FUTURE = np.load({str(tmp_path / 'future.npy')!r})\n",
        step="""
            window = moments_step(s.window, x[0, 0])
            ahead = FUTURE[min(s.rows + 1, FUTURE.shape[0] - 1)]
            return State(window, s.rows + 1), (np.sign(ahead - x[0, 0]) if s.rows >= p.n - 1 else np.nan)
        """,
    )
    first = breaks(strategy, panel)["prefix"][0]
    assert first.field == "FUTURE"
    assert "close of SYN1 itself" in first.message
    assert "field of the panel" in first.message
    # On bars that it has never seen the table is still suspicious.
    assert "could hold a value for each" in breaks(strategy, None)["prefix"][0].message


def test_a_table_reached_through_another_function(write: Write, panel: Panel) -> None:
    strategy = write(
        "indirect",
        head="""
SIGNALS = np.where(np.arange(1_200) % 9 < 4, 1.0, -1.0)


@compiled
def signal(row):
    return SIGNALS[min(row, 1_199)]

""",
        step="""
            window = moments_step(s.window, x[0, 0])
            return State(window, s.rows + 1), (signal(s.rows) if s.rows >= p.n - 1 else np.nan)
        """,
    )
    assert breaks(strategy, panel)["prefix"][0].field == "SIGNALS"


# --- the row and the forecast ----------------------------------------------------------------------------------------


def test_a_step_that_writes_into_its_row(write: Write, panel: Panel) -> None:
    strategy = write(
        "scribble",
        step="""
            x[0, 1] = np.log(x[0, 1] + 1.0)
            window = moments_step(s.window, x[0, 1])
            return State(window, s.rows + 1), (np.tanh(window.mean) if s.rows >= p.n - 1 else np.nan)
        """,
        fields='("close", "volume")',
    )
    before = panel.values.tobytes()
    first = breaks(strategy, panel)["purity"][0]
    assert first.field == "volume"
    assert first.row == int(np.flatnonzero(~np.isnan(panel.values[:, 0, 3]))[0])
    assert "in-place edit" in first.message
    assert panel.values.tobytes() == before, "the check itself leaves the panel as it was"


def test_a_forecast_of_one_and_a_half(write: Write, panel: Panel) -> None:
    strategy = write("loud", step=WINDOW_TIMES.format("1.5"))
    first = breaks(strategy, panel)["range"][0]
    assert first.field == "forecast"
    assert first.row is not None
    assert "clip" in first.message


WINDOW_TIMES = """
    window = moments_step(s.window, x[0, 0])
    gap = x[0, 0] - window.mean
    forecast = 0.0 if window.m2 == 0.0 else {} * np.sign(gap)
    return State(window, s.rows + 1), (forecast if s.rows >= p.n - 1 else np.nan)
"""


def test_a_division_by_a_deviation_of_zero(write: Write, panel: Panel) -> None:
    """Fine on all bars that move; infinite on the first series that stands still after a jump."""
    strategy = write(
        "zero",
        state="window: WindowMoments\nlast: float\nrows: int",
        init="moments_init(p.n), np.nan, 0",
        step="""
            window = moments_step(s.window, x[0, 0])
            wide = deviation(window, 0)
            forecast = min(0.1 / wide, 1.0) if window.m2 > 0.0 else 0.1 / wide
            return State(window, x[0, 0], s.rows + 1), (forecast if s.rows >= p.n - 1 else np.nan)
        """,
    )
    first = breaks(strategy, panel)["range"][0]
    assert "stands still" in first.message
    assert "inf" in first.message


def test_a_nan_that_stays_in_a_running_sum(write: Write, panel: Panel) -> None:
    strategy = write(
        "poisoned",
        state="total: float\nrows: int",
        init="0.0, 0",
        fields='("close", "volume")',
        step="""
            total = s.total + x[0, 1]
            forecast = np.tanh(x[0, 1] * s.rows / total - 1.0) if total != 0.0 else 0.0
            return State(total, s.rows + 1), (forecast if s.rows >= p.n - 1 else np.nan)
        """,
    )
    first = breaks(strategy, panel)["missing data"][0]
    assert first.field == "volume"
    assert first.row is not None
    assert "running sum" in first.message


# --- promises --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("promised", "told"), [("p.n - 6", "true warm-up is 19"), ("p.n + 5", "before its windows")])
def test_a_warmup_that_is_not_what_it_says(write: Write, panel: Panel, promised: str, told: str) -> None:
    first = breaks(write("lie", warmup=promised), panel)["warm-up"][0]
    assert first.field == "warmup"
    assert told in first.message


def test_forecasts_from_half_full_windows(write: Write, panel: Panel) -> None:
    """It keeps its word on the first forecast, but that one is made of a few closes and many zeros."""
    strategy = write(
        "halffull",
        state="ring: F64\nrows: int",
        init="np.zeros(p.n), 0",
        warmup="5",
        step="""
            s.ring[s.rows % p.n] = x[0, 0]
            mean = s.ring.sum() / p.n
            return State(s.ring, s.rows + 1), (np.tanh(10.0 * (x[0, 0] / mean - 1.0)) if s.rows >= 5 else np.nan)
        """,
    )
    first = breaks(strategy, panel)["warm-up"][0]
    assert "true warm-up is 19" in first.message


def test_a_state_that_changes_its_type(write: Write, panel: Panel) -> None:
    strategy = write(
        "retyped",
        step="""
            window = moments_step(s.window, x[0, 0])
            return State(window, s.rows + 0.5), np.nan
        """,
    )
    first = breaks(strategy, panel)["contract"][0]
    assert first.field == "State.rows"
    assert "int64 in init and float64 in step" in first.message


def test_legs_that_do_not_add_up(write: Write, panel: Panel) -> None:
    strategy = write(
        "lopsided",
        more="""
@compiled
def legs(p, s, x, f):
    return np.array([f, -1.3 * f])


""",
        extra=", n_legs=2, legs=legs",
    )
    first = breaks(strategy, panel)["legs"][0]
    assert first.field == "legs"
    assert first.row is not None
    assert "Σ|w| = |f|" in first.message


ACROSS = """
@compiled
def across(p, f):
    out = np.empty(f.shape[0])
    {}
    return out


"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("out[:] = f - f.mean()", "NaN"),
        ("out[:] = f - np.nanmean(f)\n    f[0] = 0.0", "wrote into"),
        ("out[:] = np.where(np.isnan(f), 0.0, f)", "abstains"),
        ("out[:] = 2.0 * f", "a weight is"),
        ("out[:] = f\n    out[0] = -f[0]", "another order"),
        ("out[:] = f / f.shape[0]", "one more instrument"),
    ],
)
def test_across_that_is_no_function_of_its_row(write: Write, panel: Panel, body: str, told: str) -> None:
    strategy = write(f"across{abs(hash(body))}", more=ACROSS.format(body), extra=", across=across")
    first = judge(law("across"), subject_of(strategy, panel, {}, 0))[0]
    assert not first.passed
    assert first.field == "across"
    assert told in first.message


def test_the_end_of_a_range_that_makes_no_sense(write: Write, panel: Panel) -> None:
    strategy = write(
        "edge",
        n="(1, 50)",
        step="""
            window = moments_step(s.window, x[0, 0])
            forecast = np.tanh(x[0, 0] - window.mean) if p.n > 1 else 1.0 / (p.n - 1)
            return State(window, s.rows + 1), (forecast if s.rows >= p.n - 1 else np.nan)
        """,
    )
    first = breaks(strategy, panel)["parameters"][0]
    assert first.field == "n"
    assert "n=1" in first.message


# --- what the data does not have -------------------------------------------------------------------------------------


def test_a_field_that_the_panel_does_not_have(write: Write, panel: Panel) -> None:
    found = check_strategy(write("funded", fields='("close", "funding")'), panel)
    assert [(f.law, f.passed, f.field) for f in found] == [("contract", False, "funding")]
    assert "open, high, low, close, volume, duration" in found[0].message


def test_too_little_data_and_unknown_parameters_are_no_findings(write: Write, panel: Panel) -> None:
    strategy = write("short")
    few = msgspec.structs.replace(panel, ts=panel.ts[:40], values=panel.values[:40])
    with pytest.raises(NotEnoughData, match="warm-up is 19"):
        check_strategy(strategy, few)
    with pytest.raises(TrimtabError, match="no parameter is named 'm'"):
        check_strategy(strategy, panel, {"m": 3})
