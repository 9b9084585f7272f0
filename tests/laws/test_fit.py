"""Laws 1 and 2 for strategies with a fit: the same instants, the same windows, cut anywhere and begun anywhere."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.strategies import find, params_of
from trimtab.strategies.fitting import Memory, begin, due
from trimtab.strategies.folding import decisions, forecasts, memory_of, nothing_before, resume, resume_dense
from trimtab.types import DAY, HOUR, Fit, NotEnoughData, Strategy, TrimtabError

EXAMPLE = str(Path(__file__).resolve().parents[2] / "examples" / "autoregression.py")

#: A basket of all that its model trades: holds what rose most in the last window, in equal parts, the rest short.
BASKET = """
from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import DAY, F64, Fit, NotEnoughData, Strategy


class Params(NamedTuple):
    window: int = 12
    every: int = 2


class Fitted(NamedTuple):
    sides: F64


class State(NamedTuple):
    fitted: Fitted
    rows: int


@compiled
def init(p):
    return State(Fitted(np.zeros(0)), 0)


@inlined
def step(p, s, x):
    gross = 0.5 if s.rows % 3 == 0 else 1.0
    return State(s.fitted, s.rows + 1), gross if s.fitted.sides.shape[0] > 0 else np.nan


@compiled
def legs(p, s, x, f):
    return s.fitted.sides * (f / s.fitted.sides.shape[0])


def fit(p, x):
    rise = x[-1, :, 0] / x[0, :, 0]
    if rise.max() > 1.25:
        raise NotEnoughData("too wild")
    return Fitted(np.where(rise >= np.median(rise), 1.0, -1.0))


STRATEGY = Strategy(
    name="basket", fields=("close",), params=Params(), ranges={}, init=init, step=step, warmup=lambda p: p.window - 1,
    n_legs=0, legs=legs, fit=Fit(of=fit, window=lambda p: p.window, every=lambda p: p.every * DAY),
)
"""


@pytest.fixture(scope="session")
def basket(tmp_path_factory: pytest.TempPathFactory) -> Strategy:
    file = tmp_path_factory.mktemp("fit") / "basket.py"
    file.write_text(BASKET)
    return find(str(file))


class Rows(NamedTuple):
    """Closes of 8 hours with holes, so that fits fall due inside gaps too: ts (R,), x (R, L, 1)."""

    ts: np.ndarray
    x: np.ndarray


def rows(seed: int, size: int, legs: int) -> Rows:
    rng = np.random.default_rng(seed)
    skipped = np.where(rng.random(size) < 0.1, rng.integers(1, 30, size), 0)
    ts = 1_600_000_000 * 10**9 + int(rng.integers(5)) * HOUR + np.cumsum(1 + skipped) * 8 * HOUR
    x = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, (size, legs)), axis=0))
    return Rows(ts.astype(np.int64), x[:, :, None].copy())


def saved(memory: Memory, pickled: bool) -> Memory:
    return pickle.loads(pickle.dumps(memory)) if pickled else copy.deepcopy(memory)


def cases(basket: Strategy) -> list[tuple[Strategy, Any, int]]:
    alone = find(EXAMPLE)
    return [(alone, params_of(alone, {"window": 30, "every": 3}), 1), (basket, params_of(basket, {}), 3)]


@settings(max_examples=80)
@given(data=st.data())
def test_cut_anywhere_and_resumed_no_bit_changes(basket: Strategy, data: st.DataObject) -> None:
    strategy, p, legs = data.draw(st.sampled_from(cases(basket)))
    size = data.draw(st.integers(1, 200))
    ts, x = rows(data.draw(st.integers(0, 2**32 - 1)), size, legs)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=5)))
    every, pickled = data.draw(st.booleans()), data.draw(st.booleans())
    whole = decisions(strategy, p, x, every, ts)
    dense = forecasts(strategy, p, x, ts)
    memory, last = memory_of(strategy, p, legs), nothing_before(strategy, legs)
    other, out = memory_of(strategy, p, legs), np.full(size, np.nan)
    parts: list[Any] = []
    for a, b in zip([0, *cuts], [*cuts, size], strict=True):
        kept = saved(memory, pickled)
        made, memory, last = resume(strategy, p, kept, copy.deepcopy(last), ts[a:b], x[a:b], every)
        parts.append(made._replace(row=made.row + a))
        other, _ = resume_dense(strategy, p, saved(other, pickled), ts[a:b], x[a:b], out[a:b])
    for k in range(3):
        assert np.concatenate([part[k] for part in parts]).tobytes() == whole[k].tobytes()
    assert sum((part.refused for part in parts), ()) == whole.refused
    assert out.tobytes() == dense.tobytes()


@settings(max_examples=40)
@given(data=st.data())
def test_what_comes_after_a_row_changes_nothing_before_it(basket: Strategy, data: st.DataObject) -> None:
    strategy, p, legs = data.draw(st.sampled_from(cases(basket)))
    ts, x = rows(data.draw(st.integers(0, 2**32 - 1)), 150, legs)
    cut = data.draw(st.integers(1, 149))
    changed = x.copy()
    changed[cut:] *= data.draw(st.sampled_from([0.5, 1.02, 3.0]))
    one, two = decisions(strategy, p, x, True, ts), decisions(strategy, p, changed, True, ts)
    shorter = decisions(strategy, p, x[:cut].copy(), True, ts[:cut])
    kept = [d.value[d.row < cut].tobytes() + d.row[d.row < cut].tobytes() for d in (one, two, shorter)]
    assert kept[0] == kept[1] == kept[2]
    assert [r for r in one.refused if r.ts < ts[cut]] == [r for r in two.refused if r.ts < ts[cut]]


def recorded(strategy: Strategy) -> tuple[Strategy, list[bytes]]:
    """The strategy with a fit that writes down every window it is given."""
    seen: list[bytes] = []
    assert strategy.fit is not None
    fit = strategy.fit

    def of(p: Any, x: np.ndarray) -> Any:
        seen.append(x.tobytes())
        return fit.of(p, x)

    return msgspec.structs.replace(strategy, fit=Fit(of=of, window=fit.window, every=fit.every)), seen


@settings(max_examples=40)
@given(data=st.data())
def test_wherever_the_data_begins_the_same_windows_are_fitted(basket: Strategy, data: st.DataObject) -> None:
    strategy, p, legs = data.draw(st.sampled_from(cases(basket)))
    ts, x = rows(data.draw(st.integers(0, 2**32 - 1)), 160, legs)
    first = data.draw(st.integers(0, 100))
    whole, seen = recorded(strategy)
    forecasts(whole, p, x, ts)
    late, later = recorded(strategy)
    forecasts(late, p, x[first:].copy(), ts[first:])
    assert later == seen[len(seen) - len(later) :]
    # Those that the later start misses had no window: every row that a fit came at has one behind it.
    missed = due(begin(None, legs, 1), ts, p.every * DAY, p.window)[: len(seen) - len(later)]
    assert (missed < first + p.window - 1).all()


def test_a_fit_is_due_on_the_first_row_at_or_after_each_instant() -> None:
    ts = np.array([5, 10, 11, 12, 24, 25, 26, 40], np.int64) * DAY  # the 11th and the 25th are Mondays, as is the 4th
    start = begin(None, 1, 1)
    assert due(start, ts, 7 * DAY, 2).tolist() == [2, 4, 5, 7]
    assert due(start, ts, 7 * DAY, 4).tolist() == [4, 5, 7]  # the third row has no fourth behind it
    assert due(start, ts, 5 * DAY, 2).tolist() == [1, 4, 5, 7]  # what is no whole week is counted from the epoch
    between = Memory(None, 10 * DAY, np.zeros((3, 1, 1)))
    assert due(between, ts[2:], 7 * DAY, 4).tolist() == [0, 2, 3, 5]  # the rows of before are remembered


def test_a_window_holds_the_rows_up_to_the_one_that_has_just_closed() -> None:
    strategy = find(EXAMPLE)
    p = params_of(strategy, {"window": 30, "every": 2})
    ts, x = rows(3, 100, 1)
    told, seen = recorded(strategy)
    forecasts(told, p, x, ts)
    at = due(begin(None, 1, 1), ts, 2 * DAY, 30)
    assert len(at) > 10
    assert seen == [x[t - 29 : t + 1].tobytes() for t in at]


def with_fit(of: Callable[[Any, Any], Any], **changed: Any) -> Strategy:
    given: dict[str, Any] = {"window": lambda p: p.window, "every": lambda p: p.every * DAY, **changed}
    return msgspec.structs.replace(find(EXAMPLE), fit=Fit(of=of, **given))


def test_a_refused_window_makes_it_abstain_until_the_next() -> None:
    ts, x = rows(5, 120, 1)
    strategy = find(EXAMPLE)
    assert strategy.fit is not None
    answer, calls = strategy.fit.of, [0]

    def of(p: Any, window: np.ndarray) -> Any:
        calls[0] += 1
        if calls[0] % 2 == 0:
            raise NotEnoughData("every second one")
        return answer(p, window)

    p = params_of(strategy, {"window": 30, "every": 3})
    at = due(begin(None, 1, 1), ts, 3 * DAY, 30)
    made = decisions(with_fit(of), p, x, True, ts)
    assert [r.ts for r in made.refused] == ts[at[1::2]].tolist()
    assert {r.reason for r in made.refused} == {"every second one"}
    calls[0] = 0
    dense = forecasts(with_fit(of), p, x, ts)
    for n, (a, b) in enumerate(zip(at, [*at[1:], len(ts)], strict=True)):
        assert np.isnan(dense[a:b]).all() == (n % 2 == 1)


def test_what_else_a_fit_raises_names_strategy_instant_and_window() -> None:
    ts, x = rows(5, 120, 1)
    p = params_of(find(EXAMPLE), {"window": 30, "every": 3})
    with pytest.raises(TrimtabError, match=r"autoregression: fit at 20\d\d-.*Z over 30 rows raised ZeroDivisionError"):
        decisions(with_fit(lambda p, x: 1 / 0), p, x, True, ts)
    with pytest.raises(TrimtabError, match="returned a float as fitted; expected a Fitted"):
        decisions(with_fit(lambda p, x: 1.0), p, x, True, ts)
    kind: Any = type(find(EXAMPLE).init(p).fitted)
    with pytest.raises(TrimtabError, match=r"returned a str as fitted\.slope; expected a float"):
        decisions(with_fit(lambda p, x: kind("0.1", 1.0)), p, x, True, ts)
    with pytest.raises(TrimtabError, match=r"fit\.window returned 1; expected a whole number of rows, 2 or more"):
        decisions(with_fit(lambda p, x: None, window=lambda p: 1), p, x, True, ts)
    with pytest.raises(TrimtabError, match=r"fit\.every returned 0\.5; expected a whole number of nanoseconds"):
        decisions(with_fit(lambda p, x: None, every=lambda p: 0.5), p, x, True, ts)
    with pytest.raises(TrimtabError, match="needs the instants of its rows"):
        decisions(find(EXAMPLE), p, x, True)


def test_a_basket_tells_each_leg_that_moves(basket: Strategy) -> None:
    """The forecast may stand still while its legs turn round: what is new is asked of each leg."""
    ts, x = rows(1, 150, 4)
    p = params_of(basket, {})
    every = decisions(basket, p, x, True, ts)
    dense = np.full((150, 4), np.nan)
    dense[every.row, every.leg] = every.value
    made = decisions(basket, p, x, False, ts)
    held = np.full((150, 4), np.nan)
    held[made.row, made.leg] = made.value
    last = np.full(4, np.nan)
    for t in range(150):
        last = np.where(np.isnan(held[t]), last, held[t])
        if not np.isnan(dense[t]).any():
            assert (last == dense[t]).all()
    assert 0 < len(made.row) < len(every.row)
