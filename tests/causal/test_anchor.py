"""Where the frames of an indicator begin must not matter: what leans on it is caught, what forgets in time passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trimtab.research.check import LAWS, check_strategy, judge
from trimtab.research.check_subject import Finding, Subject, reach, subject_of
from trimtab.strategies import find
from trimtab.strategies.indicators import block_of
from trimtab.types import Panel, Strategy

FRAMED = Path(__file__).with_name("framed.py")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def subject(panel: Panel, kind: int, warmup: int = 60) -> Subject:
    return subject_of(find(str(FRAMED)), panel, {"kind": kind, "warmup": warmup}, 0)


def judged(it: Subject, law: str) -> Finding:
    return judge(next(each for each in LAWS if each.name == law), it)[0]


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_what_forgets_within_its_warm_up_passes(kind: int, panel: Panel) -> None:
    it = subject(panel, kind)
    for law in ("contract", "split", "prefix", "determinism", "anchor", "purity", "warm-up", "missing data"):
        found = judged(it, law)
        assert found.passed, found


@pytest.mark.parametrize(("kind", "enough"), [(10, 600), (12, 75)])
def test_what_remembers_more_than_its_warm_up_says_is_named_with_its_size(kind: int, enough: int, panel: Panel) -> None:
    found = judged(subject(panel, kind), "anchor")
    assert not found.passed
    assert found.field == "forecast"
    assert found.row is not None
    assert found.ts == panel.ts[found.row]
    assert found.message.startswith(f"forecast of SYN1 at row {found.row} is ")
    assert "it remembers more than the 60 rows that its warmup says" in found.message
    if kind == 10:
        assert ": a difference of 0." in found.message
        assert not judged(subject(panel, kind, 300), "anchor").passed, "1e-6 is more than 1e-9"
    assert judged(subject(panel, kind, enough), "anchor").passed


def test_what_counts_from_the_first_row_of_a_frame_has_no_warm_up(panel: Panel) -> None:
    for warmup in (60, 400):
        found = judged(subject(panel, 11, warmup), "anchor")
        assert (found.passed, found.field) == (False, "forecast")
    for law in ("split", "prefix"):
        assert judged(subject(panel, 11), law).passed, "it knows no later row"


@pytest.mark.parametrize("kind", [20, 21, 22])
def test_what_looks_ahead_in_its_frame_breaks_split_and_prefix(kind: int, panel: Panel) -> None:
    it = subject(panel, kind)
    prefix, split, anchor = (judged(it, law) for law in ("prefix", "split", "anchor"))
    assert (prefix.passed, prefix.field) == (False, "close")
    assert "look-ahead: close of SYN1" in prefix.message
    assert "forecast looks at later rows of its frame" in prefix.message
    assert not split.passed
    assert anchor.message == "cannot be tested while an indicator looks at later rows: mend prefix first"


def test_rows_behind_the_block_of_a_cut_have_no_part_in_what_comes_before_it(panel: Panel) -> None:
    it = subject(panel, 0)
    ts = it.units[0].ts
    rows = reach(it.strategy, (it.params, it.params._replace(warmup=600)), it.timeframe, ts, 700)
    block = block_of(600, it.timeframe)
    assert ts[rows - 5] // block == ts[700] // block < ts[rows - 4] // block
    assert reach(find("sma_cross"), (find("sma_cross").params,), it.timeframe, ts, 700) == len(ts)


def test_what_remembers_outside_its_arguments_breaks_determinism(panel: Panel) -> None:
    assert not judged(subject(panel, 30), "determinism").passed


@pytest.mark.parametrize("name", ["frame_reversal", "efficient_trend"])
def test_the_examples_keep_every_law(name: str) -> None:
    findings = check_strategy(find(str(EXAMPLES / f"{name}.py")))
    assert [f for f in findings if not f.passed] == []
    assert "anchor" in [f.law for f in findings]


def test_a_step_that_compares_what_ties_is_told_so(write: Callable[..., Strategy], panel: Panel) -> None:
    """Two sums of the same numbers, which differ by their rounding: and that by where the first of them was."""
    strategy = write(
        "ties",
        head="import polars as pl\nfrom trimtab.types import Indicator",
        fields='("one", "other")',
        state="rows: int",
        init="0",
        warmup="29",
        step="return s, (np.nan if x[0, 1] != x[0, 1] else 1.0 if x[0, 0] > x[0, 1] else 0.0)",
        extra=""", indicators=(
            Indicator("one", lambda p, f: pl.col("close").rolling_mean(30), ("close",), 29),
            Indicator("other", lambda p, f: (pl.col("close") * 3.0).rolling_sum(30) / 90.0, ("close",), 29),
        )""",
    )
    found = judged(subject_of(strategy, panel, {}, 0), "anchor")
    assert (found.passed, found.field) == (False, "forecast")
    assert "it compares two of them that are equal but for rounding" in found.message
    assert judged(subject_of(strategy, panel, {}, 0), "split").passed


def test_a_strategy_without_indicators_has_no_anchor(panel: Panel) -> None:
    assert not next(law for law in LAWS if law.name == "anchor").applies(find("sma_cross"))
