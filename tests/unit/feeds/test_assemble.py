"""Candles in any order, repeated, lost, revised or nonsense: the rows that come out are the truth's, each once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.feeds import FeedEvent, GridRow, LateBar
from trimtab.feeds.assemble import REMEMBERED, Assembler, Candle, Gap, Patience
from trimtab.schedule import MONDAY
from trimtab.types import DAY, MINUTE, SECOND

START = 1_000 * DAY
WAIT = Patience(ask=2 * SECOND, grace=10 * SECOND)
N = 3


def candle(n: int, row: int, *, closed: bool = True, version: int = 0) -> Candle:
    """The truth of the bar that opens `row` minutes after the start; another version: what it was not."""
    price = 100.0 + 10 * n + row % 89 + version / 8
    return Candle(n, START + row * MINUTE, price, price + 2, price - 1, price + 1, 5.0 + row, closed)


def made(*, flagged: bool = True, n: int = N) -> Assembler:
    return Assembler(n, MINUTE, START, flagged=flagged, patience=WAIT)


def close_of(row: int) -> int:
    return START + (row + 1) * MINUTE


def rows_of(events: list[FeedEvent]) -> list[GridRow]:
    return [event for event in events if isinstance(event, GridRow)]


def is_true(bar: np.ndarray, n: int, ts: int) -> bool:
    row = (ts - START) // MINUTE - 1
    return bar.tolist() == [*candle(n, row)[2:7], float(MINUTE)]


def answer(assembler: Assembler, gap: Gap, now: int, *, without: frozenset[tuple[int, int]] = frozenset()) -> None:
    """REST: all that had closed by then, and the bar that is forming, which it gives as well."""
    opens = range(gap.first, now, MINUTE)
    told = [candle(gap.instrument, (at - START) // MINUTE, closed=False) for at in opens]
    assembler.fill(gap, [c for c in told if (c.instrument, (c.open_time - START) // MINUTE) not in without], now)
    assembler.answered(gap, now + WAIT.ask)


def fail(assembler: Assembler, now: int) -> None:
    """REST is asked for what is missing, and does not answer."""
    for gap in assembler.asks(now):
        assembler.answered(gap, now + WAIT.ask)


def test_a_row_is_given_with_its_last_bar_and_not_before() -> None:
    assembler = made()
    for n in range(N):
        assert assembler.due(close_of(0)) == []
        assembler.hear(candle(n, 0), close_of(0))
    (row,) = rows_of(assembler.due(close_of(0)))
    assert row.ts == close_of(0)
    assert all(is_true(row.bars[n], n, row.ts) for n in range(N))
    assert not row.bars.flags.writeable
    assert assembler.asks(close_of(0) + WAIT.grace) == []


def test_a_bar_that_has_not_closed_is_never_given_however_long_it_takes() -> None:
    assembler = made(n=2)
    for second in range(0, 60, 7):
        assembler.hear(candle(0, 0, closed=False, version=second), START + second * SECOND)
    assembler.hear(candle(1, 0), close_of(0))
    fail(assembler, close_of(0) + WAIT.ask)
    assert assembler.due(close_of(0) + WAIT.grace - 1) == []
    (row,) = rows_of(assembler.due(close_of(0) + WAIT.grace))
    assert np.isnan(row.bars[0]).all()


def test_a_row_in_which_nobody_has_a_bar_waits_for_rest_and_is_none_of_the_grid() -> None:
    assembler = made(n=1)
    assembler.hear(candle(0, 0, closed=False), START + SECOND)
    fail(assembler, close_of(0) + WAIT.ask)
    now = close_of(0) + WAIT.grace
    assert assembler.due(now) == []
    assert assembler.next == close_of(0)
    (gap,) = assembler.asks(now)
    answer(assembler, gap, now, without=frozenset({(0, 0)}))
    assert assembler.due(now) == []
    assert assembler.next == close_of(1)


def test_a_process_that_stood_still_asks_before_it_gives_up() -> None:
    assembler = made(n=2)
    for n in range(2):
        assembler.hear(candle(n, 0), close_of(0))
        assembler.hear(candle(n, 1, closed=False), close_of(0) + SECOND)
    assert len(assembler.due(close_of(0))) == 1
    now = close_of(5) + WAIT.grace  # minutes later, before anything was read
    assert assembler.due(now) == []
    for gap in assembler.asks(now):
        assert assembler.due(now) == []
        answer(assembler, gap, now)
    assert [row.ts for row in rows_of(assembler.due(now))] == [close_of(row) for row in range(1, 6)]


def test_where_a_venue_does_not_say_a_bar_closes_when_the_next_begins() -> None:
    assembler = made(flagged=False, n=1)
    assembler.hear(candle(0, 0, closed=False, version=1), START + SECOND)
    assembler.hear(candle(0, 0, closed=False), START + 59 * SECOND)
    assert assembler.due(close_of(0)) == []
    assembler.hear(candle(0, 1, closed=False), close_of(0) + SECOND)
    (row,) = rows_of(assembler.due(close_of(0) + SECOND))
    assert is_true(row.bars[0], 0, row.ts)


def test_where_a_venue_does_not_say_a_bar_closes_with_the_grace_unless_the_stream_broke() -> None:
    for breaks in (False, True):
        assembler = made(flagged=False, n=1)
        assembler.hear(candle(0, 0, closed=False), START + 59 * SECOND)
        if breaks:
            assembler.leave()
        fail(assembler, close_of(0) + WAIT.ask)
        assert assembler.due(close_of(0) + WAIT.grace - 1) == []
        assert len(rows_of(assembler.due(close_of(0) + WAIT.grace))) == (0 if breaks else 1)


def test_what_a_broken_stream_was_saying_is_not_the_end_of_a_bar() -> None:
    assembler = made(flagged=False, n=1)
    assembler.hear(candle(0, 0, closed=False, version=1), START + SECOND)
    assembler.leave()
    assembler.hear(candle(0, 1, closed=False), close_of(0) + SECOND)
    now = close_of(0) + WAIT.grace
    assert assembler.due(now) == []
    (gap,) = assembler.asks(now)
    answer(assembler, gap, now)
    (row,) = rows_of(assembler.due(now))
    assert is_true(row.bars[0], 0, row.ts)


def test_rest_knows_the_end_of_a_bar_better_than_a_stream_that_does_not_tell_it() -> None:
    for given_first in (False, True):
        assembler = made(flagged=False, n=1)
        assembler.hear(candle(0, 0, closed=False, version=1), START + SECOND)
        now = close_of(0) + WAIT.ask
        (gap,) = assembler.asks(now)
        answer(assembler, gap, now)
        events = assembler.due(now) if given_first else []
        assembler.hear(candle(0, 1, closed=False), now)
        (row,) = events + assembler.due(now)
        assert isinstance(row, GridRow)
        assert is_true(row.bars[0], 0, row.ts)


def test_no_grace_for_a_bar_whose_close_the_stream_did_not_see() -> None:
    assembler = made(n=2)
    for n in range(2):
        assembler.hear(candle(n, 0), close_of(0))
    assert len(assembler.due(close_of(0))) == 1
    assembler.hear(candle(0, 1, closed=False), close_of(0) + SECOND)
    assembler.leave()
    now = close_of(1) + 2 * WAIT.grace
    assembler.fill(Gap(1, START + MINUTE, START + MINUTE), [candle(1, 1, closed=False)], now)
    assert assembler.due(now) == []  # not while it is away
    assembler.hear(candle(0, 1, closed=False), now)
    assert assembler.due(now) == []  # nor once it is back
    assembler.hear(candle(0, 1), now)
    assert [row.ts for row in rows_of(assembler.due(now))] == [close_of(1)]


def test_a_late_bar_is_nan_in_its_row_and_told_once_when_it_comes() -> None:
    assembler = made()
    for n in range(N):
        assembler.hear(candle(n, 0, closed=False), START + SECOND)
    for n in (0, 2):
        assembler.hear(candle(n, 0), close_of(0))
    assert assembler.due(close_of(0) + WAIT.grace) == []  # it was not asked for
    fail(assembler, close_of(0) + WAIT.ask)
    assert assembler.due(close_of(0) + WAIT.grace - 1) == []
    (row,) = rows_of(assembler.due(close_of(0) + WAIT.grace))
    assert np.isnan(row.bars[1]).all()
    assert is_true(row.bars[0], 0, row.ts)
    for _ in range(2):
        assembler.hear(candle(1, 0), close_of(0) + 2 * WAIT.grace)
    (late,) = assembler.due(close_of(0) + 2 * WAIT.grace)
    assert isinstance(late, LateBar)
    assert (late.ts, late.instrument) == (row.ts, 1)
    assert is_true(late.bar, 1, late.ts)
    assert np.isnan(row.bars[1]).all()
    assert assembler.counts["late"] == assembler.counts["duplicate"] == 1


@pytest.mark.parametrize("given_first", [False, True])
def test_another_version_of_a_bar_is_told_and_not_used(given_first: bool) -> None:
    assembler = made(n=1)
    now = close_of(0)
    assembler.hear(candle(0, 0), now)
    events = assembler.due(now) if given_first else []
    for version in (0, 1, 1, 0, 2):
        assembler.hear(candle(0, 0, version=version), now)
    events += assembler.due(now)
    (row,) = rows_of(events)
    assert is_true(row.bars[0], 0, row.ts)
    told = [event.bar[0] for event in events if isinstance(event, LateBar)]
    assert told == [candle(0, 0, version=version).open for version in (1, 0, 2)]


def test_the_end_of_a_bar_that_was_lost_is_asked_for_and_waited_for() -> None:
    assembler = made(n=1)
    assembler.hear(candle(0, 0, closed=False, version=1), START + SECOND)
    assembler.hear(candle(0, 1, closed=False), close_of(0) + SECOND)  # the next has begun
    now = close_of(0) + WAIT.ask
    assert assembler.asks(now - 1) == []
    (gap,) = assembler.asks(now)
    assert gap == Gap(0, START, START)
    assert assembler.asks(now) == []  # once
    later = close_of(0) + 5 * WAIT.grace
    assert assembler.due(later) == []
    answer(assembler, gap, now)
    (row,) = rows_of(assembler.due(later))
    assert is_true(row.bars[0], 0, row.ts)


def test_what_was_lost_while_the_stream_was_away_is_filled_before_the_next_row() -> None:
    assembler = made()
    for n in range(N):
        assembler.hear(candle(n, 0), close_of(0))
    assert len(assembler.due(close_of(0))) == 1
    assembler.leave()
    for n in range(N):
        assembler.hear(candle(n, 5), close_of(5))
    now = close_of(5) + WAIT.grace
    assert assembler.due(now) == []
    gaps = assembler.asks(now)
    assert gaps == [Gap(n, START + MINUTE, START + 4 * MINUTE) for n in range(N)]
    for gap in gaps:
        assert assembler.due(now) == []
        answer(assembler, gap, now)
    assert [row.ts for row in rows_of(assembler.due(now))] == [close_of(row) for row in range(1, 6)]


def test_absent_from_rest_is_absent_only_once_the_grace_has_passed() -> None:
    assembler = made(n=2)
    assembler.hear(candle(1, 0), close_of(0))
    now = close_of(0) + WAIT.ask
    (gap,) = assembler.asks(now)
    answer(assembler, gap, now, without=frozenset({(0, 0)}))
    assert assembler.due(now) == []
    assert assembler.asks(now) == []
    (gap,) = assembler.asks(now + WAIT.ask)  # again
    now = close_of(0) + WAIT.grace
    answer(assembler, gap, now, without=frozenset({(0, 0)}))
    (row,) = rows_of(assembler.due(now))
    assert np.isnan(row.bars[0]).all()
    assert is_true(row.bars[1], 1, row.ts)


def test_a_long_gap_is_asked_for_in_parts_from_its_beginning() -> None:
    assembler = made(n=1)
    now = close_of(2_500)
    (gap,) = assembler.asks(now)
    assert gap == Gap(0, START, START + 999 * MINUTE)
    answer(assembler, gap, now)
    assert len(rows_of(assembler.due(now))) == 1_000
    (gap,) = assembler.asks(now + WAIT.ask)
    assert gap.first == START + 1_000 * MINUTE


BAD = {
    "not a number": {"open": math.nan},
    "zero": {"low": 0.0},
    "negative": {"low": -1.0},
    "infinite": {"high": math.inf},
    "no market's": {"high": 1e308},
    "high below low": {"high": 1.0},
    "close outside": {"close": 1e6},
    "negative volume": {"volume": -1.0},
    "infinite volume": {"volume": math.inf},
    "misaligned": {"open_time": START + MINUTE // 2},
    "of no instrument": {"instrument": N},
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_bar_is_kept_apart_and_counted(fault: str) -> None:
    assembler = made()
    bad = candle(0, 0)._replace(**BAD[fault])
    assert assembler.hear(bad, close_of(0)) is None
    assembler.fill(Gap(0, START, START), [bad], close_of(0))
    assert assembler.counts["malformed"] >= 1
    assert assembler.quarantine[0][0] == "malformed"
    for n in range(N):
        assembler.hear(candle(n, 0), close_of(0))
    (row,) = rows_of(assembler.due(close_of(0)))
    assert all(is_true(row.bars[n], n, row.ts) for n in range(N))


def test_a_volume_that_is_not_known_is_no_fault() -> None:
    assembler = made(n=1)
    assembler.hear(candle(0, 0)._replace(volume=math.nan), close_of(0))
    (row,) = rows_of(assembler.due(close_of(0)))
    assert math.isnan(row.bars[0, 4])
    assert row.bars[0, 3] == candle(0, 0).close


def test_the_future_is_refused_and_a_venue_that_is_a_little_ahead_is_not() -> None:
    assembler = made(n=1)
    assert assembler.hear(candle(0, 0), close_of(0) - WAIT.ask - 1) is None
    assert assembler.hear(candle(0, 1, closed=False), close_of(0) - WAIT.ask - 1) is None
    assert assembler.counts["future"] == 2
    assert assembler.due(close_of(0)) == []
    assert assembler.hear(candle(0, 0), close_of(0) - WAIT.ask)
    assert len(rows_of(assembler.due(close_of(0) - WAIT.ask))) == 1


def test_bars_of_before_and_of_long_ago_are_stale() -> None:
    assembler = made(n=1)
    assembler.hear(candle(0, -1), START + SECOND)
    for row in range(REMEMBERED + 2):
        assembler.hear(candle(0, row), close_of(row))
        assembler.due(close_of(row))
    assembler.hear(candle(0, 0, version=1), close_of(REMEMBERED + 2))
    assert assembler.counts["stale"] == 2
    assert assembler.due(close_of(REMEMBERED + 2)) == []


@pytest.mark.parametrize(("every", "anchor"), [(MINUTE, 0), (DAY, 0), (7 * DAY, MONDAY)])
def test_the_first_row_is_the_first_of_the_grid_after_the_instant(every: int, anchor: int) -> None:
    for after in (START, START + 1, START - 1, START - START % every + anchor):
        assembler = Assembler(1, every, after, flagged=True, patience=WAIT)
        (gap,) = assembler.asks(after + every + WAIT.ask)
        assert gap.first <= after < gap.first + every
        assert (gap.first - anchor) % every == 0


def test_it_says_when_to_look_again() -> None:
    assembler = made(n=1)
    now = START + SECOND
    assert assembler.until(now) == close_of(0) + WAIT.ask
    assert assembler.until(close_of(0) + WAIT.ask) == close_of(0) + WAIT.grace
    assert assembler.until(close_of(0) + WAIT.grace) == close_of(1) + WAIT.ask
    assembler.answered(Gap(0, START - MINUTE, START - MINUTE), now + 5)
    assert assembler.until(now) == now + 5


LENGTH = 6


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, Candle]]:
    """(instant, candle) in any order of bars: some lost, some twice, some revised, some early frames, some nonsense."""
    found: list[tuple[int, Candle]] = []
    for n in range(N):
        for row in range(LENGTH):
            for _ in range(draw(st.integers(0, 2))):
                delay = draw(st.sampled_from([0, SECOND, 5 * SECOND, WAIT.grace, 3 * MINUTE]))
                version = draw(st.sampled_from([0, 0, 0, 1]))
                found.append((close_of(row) + delay, candle(n, row, version=version)))
            if draw(st.booleans()):
                found.append((close_of(row) - 30 * SECOND, candle(n, row, closed=False, version=3)))
            if draw(st.integers(0, 9)) == 0:
                found.append(
                    (close_of(row), candle(n, row)._replace(high=draw(st.sampled_from([0.0, math.nan, 1e308]))))
                )
    return sorted(draw(st.permutations(found)), key=lambda arrival: arrival[0])  # stable: any order at one instant


@settings(max_examples=300)
@given(
    arrivals(),
    st.sets(st.integers(0, 30)),
    st.booleans(),
    st.sets(st.tuples(st.integers(0, N - 1), st.integers(0, LENGTH - 1))),
)
def test_any_order_loss_and_repetition(
    arriving: list[tuple[int, Candle]], breaks: set[int], has_rest: bool, absent: set[tuple[int, int]]
) -> None:
    assembler = made()
    first: dict[tuple[int, int], Candle] = {}  # the first closed version of each bar that came in time
    rows: dict[int, GridRow] = {}
    kept: dict[int, bytes] = {}
    order: list[int] = []
    told: list[tuple[int, int, float]] = []

    def take(now: int) -> None:
        if has_rest:
            for gap in assembler.asks(now):
                for at in range(gap.first, gap.last + 1, MINUTE):
                    row = (at - START) // MINUTE
                    if (gap.instrument, row) not in absent and close_of(row) >= assembler.next:
                        first.setdefault((gap.instrument, row), candle(gap.instrument, row))
                answer(assembler, gap, now, without=frozenset(absent))
        else:
            fail(assembler, now)
        for event in assembler.due(now):
            if isinstance(event, GridRow):
                order.append(event.ts)
                rows[event.ts] = event
                kept[event.ts] = event.bars.tobytes()
            else:
                assert isinstance(event, LateBar)
                told.append((event.ts, event.instrument, event.bar[0]))

    moments = sorted(
        {at for at, _ in arriving} | {close_of(r) + d for r in range(LENGTH) for d in (WAIT.ask, WAIT.grace)}
    )
    for k, now in enumerate(moments):
        if k in breaks:
            assembler.leave()
        for at, said in arriving:
            if at == now:
                heard = assembler.hear(said, now)
                row = (said.open_time - START) // MINUTE
                if heard is not None and said.closed and close_of(row) >= assembler.next:
                    first.setdefault((said.instrument, row), said)
        take(now)
        take(now)
    end = close_of(LENGTH) + 10 * MINUTE
    for k in range(3):
        take(end + k * WAIT.ask)

    assert order == sorted(set(order))
    assert len(told) == assembler.counts["late"] + assembler.counts["revised"]
    for ts, n, _ in told:  # either it was not in its row, or it is not what was
        other = {said.open for _, said in arriving if (said.open_time, said.instrument) == (ts - MINUTE, n)}
        assert ts not in rows or np.isnan(rows[ts].bars[n]).all() or len(other | {rows[ts].bars[n][0]}) > 1
    assert set(order) <= {close_of(row) for row in range(LENGTH + 60)}
    for ts, row in rows.items():
        index = (ts - START) // MINUTE - 1
        assert row.bars.tobytes() == kept[ts], "a row that was given has changed"
        if index >= LENGTH:
            continue
        for n in range(N):
            came = first.get((n, index))
            if came is None:
                assert np.isnan(row.bars[n]).all()
            else:
                assert row.bars[n].tolist() == [*came[2:7], float(MINUTE)]
    if has_rest:  # nothing is missing that anybody had
        assert {close_of(row) for n, row in first if row < LENGTH} <= set(order)
        for row in range(LENGTH):
            for n in range(N):
                if (n, row) not in absent:
                    assert (n, row) in first
