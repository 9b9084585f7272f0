"""How many trials a record is held against, and how different they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.unit.research.ledger.making import batch_of, days_of, noise, recorded
from trimtab.research.inference.sharpe import hurdle
from trimtab.research.inference.trials import sharpes_of
from trimtab.research.ledger import counting
from trimtab.research.ledger.counting import (
    Count,
    Record,
    Tried,
    counts,
    groups,
    is_of_family,
    is_of_hypothesis,
    tried,
)
from trimtab.research.ledger.file import Batch
from trimtab.research.ledger.identity import Hypothesis
from trimtab.research.ledger.reading import opened
from trimtab.types import DAY, F64, I64


def record_of(ts: I64, universe: tuple[str, ...] = ("X",), strategy: str = "idea") -> Record:
    return Record(Hypothesis((strategy,), universe, "1d"), int(ts[0]), int(ts[-1]), ts)


def tried_of(folder: Path, record: Record) -> Tried:
    with opened(folder) as ledger:
        return tried(ledger, [row for row in ledger.rows() if is_of_hypothesis(row, record)], record)


def counted(folder: Path, record: Record) -> tuple[Count, ...]:
    return counts("hypothesis", tried_of(folder, record))


# --- every trial ------------------------------------------------------------------------------------------------------


def test_of_equal_lengths_v_is_the_sample_variance_and_the_hurdle_follows(ledger: Path):
    returns = noise(40, 250)
    recorded(ledger, batch_of(returns[:30], 0), batch_of(returns[30:31], 30), batch_of(returns[31:], 31))
    raw = counted(ledger, record_of(days_of(250)))[0]
    variance = sharpes_of(returns.astype(np.float32).astype(np.float64).T).var(ddof=1)
    assert (raw.scope, raw.how, raw.trials) == ("hypothesis", "every trial", 40)
    assert raw.variance == pytest.approx(variance, rel=1e-9)
    assert raw.hurdle == hurdle(40.0, raw.variance)


def test_trials_of_all_lengths_without_skill_spread_as_those_of_the_record(ledger: Path):
    """At the record's length n each null Sharpe has variance 1/n, however long its trial was.

    The sample variance of m of them has a relative error of sqrt(2/(m-1)): 0.067 with 450. Three of these, and 0.02 for
    what short records have beyond the limit, bound it. Read as they are they spread twice as wide and more.
    """
    rng, batches = np.random.default_rng(0), list[Batch]()
    for n, days in enumerate((125, 250, 500, 1_000, 2_000) * 3):
        batches.append(batch_of(rng.normal(0.0, 0.01, (30, days)), 100 * n, ts=days_of(days, n)))
    recorded(ledger, *batches)
    n = 2_000
    own = tried_of(ledger, record_of(days_of(n)))
    assert len(own.sharpe) == 450
    assert own.sharpe.var(ddof=1) * n == pytest.approx(1.0, abs=3 * math.sqrt(2 / 449) + 0.02)
    unread = np.concatenate([batch.cells.moments[:, 0] for batch in batches])
    assert unread.var(ddof=1) * n > 3.0


def test_what_has_no_sharpe_and_what_is_gone_still_counts(ledger: Path):
    returns = noise(4, 100)
    returns[1] = 0.0
    recorded(ledger, batch_of(returns), batch_of(noise(5, 100, 9), 50))
    with opened(ledger) as found:
        (ledger / "sweeps" / list(found.rows())[1].entry.file).unlink()
    raw, group = counted(ledger, record_of(days_of(100)))
    assert (raw.trials, group.trials) == (9, 9)
    assert raw.variance > 0.0


def test_one_trial_has_nothing_to_beat_and_none_no_count(ledger: Path):
    assert counted(ledger, record_of(days_of(100))) == ()
    recorded(ledger, batch_of(noise(1, 100)))
    assert [(count.trials, count.hurdle) for count in counted(ledger, record_of(days_of(100)))] == [(1, 0.0), (1, 0.0)]


# --- groups -----------------------------------------------------------------------------------------------------------


def copies(ideas: int, each: int, days: int, seed: int = 0) -> tuple[F64, I64]:
    """Near-copies (correlation 0.99) of ideas that have nothing in common: (ideas · each, days), and whose each is."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0.0, 0.01, (ideas, days))
    idea = rng.permutation(np.repeat(np.arange(ideas), each))
    return base[idea] + rng.normal(0.0, 0.001, (ideas * each, days)), idea


def is_same_split(a: I64, b: I64) -> bool:
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


def test_a_thousand_near_copies_are_few_groups_and_the_stricter_count_decides(ledger: Path):
    returns, idea = copies(5, 200, 300)
    recorded(ledger, batch_of(returns))
    raw, group = counted(ledger, record_of(days_of(300)))
    assert (raw.trials, group.how, group.trials) == (1_000, "groups of trials", 5)
    own = groups(returns.T)
    assert own is not None
    assert is_same_split(own, idea)
    # What a group has in common is a Sharpe: V of the groups is that of the five ideas themselves, but for the noise.
    ideas = np.array([sharpes_of(returns[idea == k].mean(axis=0)[:, None])[0] for k in range(5)])
    assert group.variance == pytest.approx(ideas.var(ddof=1), rel=1e-3)
    assert max(raw.hurdle, group.hurdle) == max(hurdle(1_000.0, raw.variance), hurdle(5.0, group.variance))


def test_neighbours_of_one_idea_alone_are_one_group(ledger: Path):
    returns, _ = copies(1, 1_000, 300)
    recorded(ledger, batch_of(returns))
    raw, group = counted(ledger, record_of(days_of(300)))
    assert (raw.trials, group.trials, group.hurdle) == (1_000, 1, 0.0)
    assert raw.hurdle > 0.0  # the strictest count is still that of every trial


def test_what_shares_few_days_is_two_things_tried():
    returns = np.column_stack([noise(1, 200)[0]] * 2)
    returns[59:, 1] = np.nan
    assert groups(returns).tolist() == [0, 1]  # type: ignore[union-attr]
    returns[59, 1] = returns[59, 0]
    assert groups(returns).tolist() == [0, 0]  # type: ignore[union-attr]  # 60 are enough


def test_a_flat_trial_is_like_no_other():
    returns = np.column_stack([noise(1, 100)[0], np.zeros(100), np.full(100, 1e-4)])
    assert groups(returns).tolist() == [0, 1, 2]  # type: ignore[union-attr]


def test_thousands_of_trials_are_grouped_by_leaders():
    returns, idea = copies(7, 500, 120)
    assert returns.shape[0] > counting._MOST
    own = groups(returns.T)
    assert own is not None
    assert is_same_split(own, idea)


def test_the_way_of_leaders_and_the_direct_way_agree(monkeypatch: pytest.MonkeyPatch):
    returns, _ = copies(12, 20, 150)
    direct = groups(returns.T)
    monkeypatch.setattr(counting, "_MOST", 100)
    led = groups(returns.T)
    assert direct is not None
    assert led is not None
    assert is_same_split(direct, led)
    assert led.tolist() == direct.tolist()


def test_too_many_that_differ_are_not_grouped_and_every_trial_counts(ledger: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counting, "_MOST", 20)
    recorded(ledger, batch_of(noise(30, 100)))
    assert groups(noise(30, 100).T) is None
    assert [count.how for count in counted(ledger, record_of(days_of(100)))] == ["every trial"]


# --- whose trials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("universe", "first", "count", "family"),
    [
        (("A", "B"), 0, 101, True),  # the same data
        (("A", "B"), 50, 51, True),  # its second half
        (("A", "B"), 51, 50, False),  # a day less
        (("A", "B"), -500, 2_000, True),  # much longer, around it
        (("A", "B"), 101, 300, False),  # what came after
        (("A",), 0, 101, True),  # one of two instruments, all days
        (("A",), 1, 100, False),  # one of two, and a day less
        (("A", "B", "C", "D"), 0, 101, True),  # more instruments
        (("C", "D"), 0, 101, False),  # others
        (("A", "C", "D"), 0, 101, True),
    ],
)  # fmt: skip
def test_the_family_is_what_saw_half_of_the_instrument_days(
    ledger: Path, universe: tuple[str, ...], first: int, count: int, family: bool
):
    """The record: A and B, from day 0 to day 100 (its first and its last close are 100 days apart)."""
    recorded(ledger, batch_of(noise(1, count), ts=days_of(count, first), universe=universe, strategy="another idea"))
    record = record_of(days_of(101), ("A", "B"))
    with opened(ledger) as found:
        row = next(found.rows())
    assert is_of_family(row, record) == family
    assert not is_of_hypothesis(row, record)


def test_returns_are_laid_on_the_days_of_the_record(ledger: Path):
    returns = noise(2, 10)
    recorded(ledger, batch_of(returns, ts=days_of(10, 5)))
    own = tried_of(ledger, record_of(days_of(12, 0)))
    assert np.isnan(own.returns[:5]).all()
    np.testing.assert_allclose(own.returns[5:], returns.T[:7], rtol=1e-6)
    assert (days_of(12)[5] // DAY, days_of(10, 5)[0] // DAY) == (6, 6)
    assert own.sharpe[0] == pytest.approx(sharpes_of(returns.T)[0] * math.sqrt(10 / 12), rel=1e-5)
