"""Where frames begin and end, what is in them, and that they come to the same in any parts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trimtab as tt
from trimtab.strategies import find
from trimtab.strategies.files import checked
from trimtab.strategies.folding import decisions, memory_of, nothing_before, resume
from trimtab.strategies.framed import home_of
from trimtab.strategies.indicators import Origin, block_of, no_past, with_indicators
from trimtab.types import DAY, HOUR, Indicator, Strategy, TrimtabError

PARITY = Path(__file__).resolve().parents[2] / "parity"
HOURS = Origin("1h", ("A",), "a")


class Params(NamedTuple):
    n: int = 3


def plain(*indicators: Any, fields: tuple[str, ...] = ("close", "one")) -> Strategy:
    """A strategy that is never stepped."""
    return Strategy(
        name="plain", fields=fields, params=Params(), ranges={}, init=len, step=len, warmup=len,
        indicators=indicators,
    )  # fmt: skip


def rows(size: int, first: int = 1, seed: int = 0) -> tuple[Any, Any]:
    """Hours from the epoch on: instants, and closes beside volumes of which some are not known."""
    rng = np.random.default_rng(seed)
    x = np.stack([100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, size))), rng.random(size)], axis=1)[:, None, :]
    x[rng.random(size) < 0.1, 0, 1] = np.nan
    return np.arange(first, first + size, dtype=np.int64) * HOUR, x


def test_a_block_is_a_power_of_two_of_bars_not_less_than_the_warm_up() -> None:
    blocks = {warmup: block_of(warmup, "1h") // HOUR for warmup in (0, 1, 256, 257, 512, 513, 1000)}
    assert blocks == {0: 256, 1: 256, 256: 256, 257: 512, 512: 512, 513: 1024, 1000: 1024}
    assert block_of(10, "1d") == 256 * DAY


def test_a_frame_is_a_block_and_the_warm_up_before_it() -> None:
    seen: list[pl.DataFrame] = []

    def make(p: Params, frame: pl.DataFrame) -> pl.Expr:
        seen.append(frame)
        return pl.col("volume") * p.n

    strategy = plain(Indicator("one", make, ("volume", "close"), lambda p: 2 * p.n))
    assert strategy.reads == ("close", "volume")
    ts, x = rows(600, first=10)
    full, past = with_indicators(strategy, Params(), HOURS, no_past(strategy, 1), ts, x)
    assert [frame.columns for frame in seen] == [["ts", "volume", "close"]] * 3
    edges = [(int(f["ts"][0].timestamp()) // 3600, int(f["ts"][-1].timestamp()) // 3600) for f in seen]
    assert edges == [(10, 255), (250, 511), (506, 609)]  # a block ends before the close at its edge
    assert seen[0]["ts"].dtype == pl.Datetime("ns", "UTC")
    assert seen[0]["volume"].null_count() == np.isnan(x[:246, 0, 1]).sum() > 0
    np.testing.assert_array_equal(full[:, 0, 0], x[:, 0, 0])
    assert np.isnan(full[:6, 0, 1]).all(), "values without a warm-up before them"
    np.testing.assert_array_equal(full[6:, 0, 1], 3 * x[6:, 0, 1])
    assert past.ts[0] == 506 * HOUR
    assert past.ts[-1] == ts[-1]


def test_a_frame_has_the_warm_up_and_a_row_at_least() -> None:
    sizes: list[int] = []

    def make(p: Params, frame: pl.DataFrame) -> pl.Series:
        sizes.append(len(frame))
        return frame["close"]

    strategy = plain(Indicator("one", make, ("close",), 5))
    ts, x = rows(20)
    past = no_past(strategy, 1)
    for t in range(20):
        _, past = with_indicators(strategy, Params(), HOURS, past, ts[t : t + 1], x[t : t + 1, :, :1])
    assert sizes == list(range(6, 21))


def many(p: Params, frame: pl.DataFrame) -> pl.Expr:
    close = pl.col("close")
    return close.rolling_std(p.n + 20) + close.ewm_mean(half_life=2) + pl.col("volume").rolling_mean(9, min_samples=1)


@given(st.lists(st.integers(1, 699), max_size=6), st.integers(0, 10**6))
def test_in_any_parts_it_comes_to_the_same(cuts: list[int], first: int) -> None:
    strategy = plain(
        Indicator("one", many, ("close", "volume"), 30),
        Indicator("two", lambda p, frame: frame["close"].rolling_max(300), ("close",), 300),
        fields=("two", "close", "one"),
    )
    ts, x = rows(700, first, seed=first)
    kept = np.random.default_rng(first).random(700) < 0.9  # some bars are not there
    ts, x = ts[kept], x[kept]
    whole, end = with_indicators(strategy, Params(), HOURS, no_past(strategy, 1), ts, x)
    assert np.isfinite(whole).all(axis=(1, 2)).sum() > 300
    parts: list[Any] = []
    past = no_past(strategy, 1)
    edges = [0, *sorted(cuts), len(ts)]
    for a, b in pairwise(edges):
        made, past = with_indicators(strategy, Params(), HOURS, past, ts[a:b], x[a:b])
        parts.append(made)
    assert np.concatenate(parts)[: len(ts)].tobytes() == whole.tobytes()
    assert [p.tobytes() for p in past] == [p.tobytes() for p in end]


@pytest.mark.parametrize("name", ["derived_pair", "framed_ewm"])
def test_a_fold_is_resumed_from_its_memory(name: str) -> None:
    """With legs and a fit, whose windows hold indicators too."""
    strategy = find(str(PARITY / f"{name}.py"))
    p, legs = strategy.params, strategy.n_legs
    rng = np.random.default_rng(3)
    x = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (500, legs, len(strategy.reads))), axis=0))
    ts = np.arange(1, 501, dtype=np.int64) * DAY
    origin = Origin("1d", ("A", "B")[:legs])
    whole = decisions(strategy, p, x, True, ts, origin)
    assert len(whole.row) > 200
    memory, last = memory_of(strategy, p, legs), nothing_before(strategy, legs)
    found: list[Any] = []
    for a, b in ((0, 1), (1, 200), (200, 257), (257, 500)):
        made, memory, last = resume(strategy, p, memory, last, ts[a:b], x[a:b], True, origin)
        found.append(made._replace(row=made.row + a))
    for k in range(3):
        assert np.concatenate([made[k] for made in found]).tobytes() == whole[k].tobytes()


# --- mistakes ---------------------------------------------------------------------------------------------------------

ONE = Indicator("one", many, ("close",), 3)

FAULTS: dict[str, tuple[Any, str]] = {
    "no tuple": ([ONE], "indicators is [Indicator("),
    "another thing": ((many,), "expected trimtab.Indicator(name, make, fields, warmup)"),
    "a bar's name": ((Indicator("close", many, ("open",), 3),), "indicators[0].name is 'close'; expected letters"),
    "no name": ((Indicator("o n e", many, ("close",), 3),), "indicators[0].name is 'o n e'; expected letters"),
    "twice": ((ONE, ONE), "indicators[0].name is 'one', as another's"),
    "not read": ((ONE, Indicator("two", many, ("close",), 3)), "name is 'two', which STRATEGY.fields does not have"),
    "no function": ((Indicator("one", pl.col("close"), ("close",), 3),), "indicators[0].make is "),
    "fields": ((Indicator("one", many, (), 3),), "indicators[0].fields is (); expected a tuple"),
    "nested": ((Indicator("one", many, ("close", "one"), 3),), "fields has 'one', an indicator; expected fields of"),
    "warm-up": ((Indicator("one", many, ("close",), 3.5),), "indicators[0].warmup is 3.5; expected a number of rows"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_indicator_is_refused_where_a_file_is_read(fault: str) -> None:
    given, message = FAULTS[fault]
    with pytest.raises(TrimtabError) as raised:
        checked(msgspec.structs.replace(plain(), indicators=given), "mine.py")
    assert message in str(raised.value)
    assert str(raised.value).startswith("mine.py: STRATEGY.indicators")


def test_a_frame_strategy_is_a_strategy_of_the_module_that_its_function_is_in() -> None:
    strategy = tt.frame_strategy(name="mine", forecast=many, fields=("close", "volume"), warmup=7)
    assert checked(strategy, "here") is strategy
    assert home_of(strategy) == __name__
    assert (strategy.fields, strategy.reads) == (("forecast",), ("close", "volume"))
    assert strategy.warmup(strategy.params) == 7
    again = tt.frame_strategy(name="other", forecast=many, fields=("close",), warmup=lambda p: p.n, params=Params(4))
    assert again.step is strategy.step
    assert again.warmup(again.params) == 4
    with pytest.raises(TrimtabError, match=r"frame_strategy mine: forecast is .*; expected a function forecast"):
        tt.frame_strategy(name="mine", forecast=pl.col("close"), fields=("close",), warmup=0)


def test_the_timeframe_and_the_instants_are_asked_for() -> None:
    strategy = plain(ONE)
    ts, x = rows(5)
    with pytest.raises(TrimtabError, match="plain has indicators: folding it needs the timeframe of its rows"):
        with_indicators(strategy, Params(), Origin(), no_past(strategy, 1), ts, x[:, :, :1])
    framed = find(str(PARITY / "framed_ewm.py"))
    with pytest.raises(TrimtabError, match="framed_ewm has indicators: folding it needs the instants of its rows"):
        decisions(framed, framed.params, np.ones((5, 1, 3)), True)
