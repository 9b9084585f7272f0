"""When a strategy's `fit` is due, and how its answer becomes part of State: both drivers call this.

What a unit carries from row to row is a `Memory`: its State and, for a strategy with a fit, the rows that the next
window needs; with indicators, those that the next frame needs. Saving a Memory is a snapshot: a fold that goes on from
it fits at the same instants on the same windows.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from typing import Any, Final, NamedTuple, cast

import numpy as np

from trimtab.schedule import crossed
from trimtab.strategies.indicators import NOTHING, Past
from trimtab.types import F64, I64, TIMEFRAMES, Fit, Refusal, Strategy, TrimtabError
from trimtab.words import utc

#: The instant of a unit's last row where it has had none.
NEVER: Final = np.iinfo(np.int64).min


class Memory(NamedTuple):
    """What one unit remembers: State, the last instant, the last rows, up to one fewer than a window (…, L, K), and the
    past of its indicators."""

    state: Any
    ts: int
    rows: F64
    past: Past = NOTHING


def begin(state: Any, legs: int, fields: int, past: Past = NOTHING) -> Memory:
    """The memory of a unit that has seen no row."""
    return Memory(state, NEVER, np.empty((0, legs, fields)), past)


def window_of(strategy: Strategy, p: Any) -> int:
    """Rows that a fit is given; 0 without one. TrimtabError unless they are a whole number, 2 or more."""
    return _whole(strategy, "window", strategy.fit.window(p), 2) if strategy.fit else 0


def every_of(strategy: Strategy, p: Any, timeframe: str) -> int:
    """ns between two instants at which a fit is due. TrimtabError unless they are a whole number, 1 or more.

    timeframe  of the model; only a fit that counts bars needs it
    """
    if strategy.fit is None:
        return 0
    every = _whole(strategy, "every", strategy.fit.every(p), 1)
    if not strategy.fit.in_bars:
        return every
    if timeframe not in TIMEFRAMES:
        raise TrimtabError(f"strategy {strategy.name} is fitted every {every} bars: folding it needs its timeframe")
    return every * TIMEFRAMES[timeframe]


def _whole(strategy: Strategy, name: str, value: Any, least: int) -> int:
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number < 2**62:
        unit = "nanoseconds" if name == "every" and not (strategy.fit and strategy.fit.in_bars) else "rows"
        raise TrimtabError(
            f"{strategy.name}: fit.{name} returned {value!r}; expected a whole number of {unit}, {least} or more"
        )
    return number


def due(memory: Memory, ts: I64, every: int, window: int) -> I64:
    """Rows of ts (R,) at which a fit is called.

    ->  (D,) the first row in each new interval of `every` (see trimtab.schedule) that has `window` rows behind it,
        itself included
    """
    # A first row of all that stands on an edge would be due, but has no window behind it.
    before = ts[:1] if memory.ts == NEVER else np.array([memory.ts])
    turned = crossed(np.concatenate((before, ts[:-1])), ts, every)
    turned[: max(window - 1 - len(memory.rows), 0)] = False
    return np.flatnonzero(turned)


def segments(memory: Memory, ts: I64, at: I64) -> Generator[tuple[int, int, bool]]:
    """The rows of ts cut at those in `at`: (first, end, is a fit due before the first is stepped)."""
    edges = [0, *(int(t) for t in at if t > 0), len(ts)]
    fits = set(at.tolist())
    for first, end in pairwise(edges):
        if end > first:
            yield first, end, first in fits


def window_at(memory: Memory, x: F64, t: int, window: int) -> F64:
    """The last `window` rows up to row t of x, which follows the rows of memory: a copy (W, L, K)."""
    behind = window - 1 - t
    if behind <= 0:
        return x[t + 1 - window : t + 1].copy()
    return np.concatenate((memory.rows[len(memory.rows) - behind :], x[: t + 1]))


def advanced(memory: Memory, state: Any, ts: I64, x: F64, window: int) -> Memory:
    """The memory after rows x at ts, with their last State."""
    if not len(ts):
        return memory._replace(state=state)
    keep = max(window - 1, 0)
    rows = x[len(x) - keep :] if len(x) >= keep else np.concatenate((memory.rows, x))[-keep:]
    return memory._replace(state=state, ts=int(ts[-1]), rows=rows.copy())


def refitted(strategy: Strategy, fit: Fit, p: Any, s: Any, x: F64, ts: int) -> tuple[Any, Refusal | None]:
    """State with the answer of a fit to window x (W, L, K) in it; or, refused, with what `init` has there.

    TrimtabError names strategy, instant and window where `fit` raises something else, or answers with other types than
    `State.fitted` has.
    """
    where = f"{strategy.name}: fit at {utc(ts)} over {len(x):,} rows"
    if "fitted" not in s._fields:
        raise TrimtabError(f"{where} has no place to go: expected State to have a member `fitted`")
    try:
        found = fit.of(p, x)
    except TrimtabError as error:
        return s._replace(fitted=strategy.init(p).fitted), Refusal(ts, str(error))
    except Exception as error:  # whatever a user's fit may raise
        raise TrimtabError(
            f"{where} raised {type(error).__name__}: {error}. Mend it, or raise TrimtabError (NotEnoughData) for a "
            "window that cannot be fitted: the model then abstains until the next one"
        ) from error
    return s._replace(fitted=_like(s.fitted, found, "fitted", where)), None


def _like(known: Any, found: Any, path: str, where: str) -> Any:
    """What was found, as the types that are known; arrays in memory of their own."""
    if isinstance(known, tuple):
        parts = cast("tuple[Any, ...]", known)
        if type(found) is not type(cast(Any, known)) or len(found) != len(parts):
            raise _other(known, found, path, where)
        names = getattr(known, "_fields", range(len(parts)))
        made = [_like(a, b, f"{path}.{n}", where) for n, a, b in zip(names, parts, found, strict=True)]
        return type(found)(*made) if hasattr(found, "_fields") else tuple(made)
    if isinstance(known, np.ndarray):
        array = cast("np.ndarray[Any, Any]", known)
        if np.ndim(found) != array.ndim or not np.can_cast(np.asarray(found).dtype, array.dtype, "same_kind"):
            raise _other(known, found, path, where)
        return np.array(found, dtype=array.dtype, order="C")
    number = found.item() if isinstance(found, np.generic) else found
    if isinstance(known, float) and isinstance(number, int | float) and not isinstance(number, bool):
        return float(number)
    if type(number) is not type(known):
        raise _other(known, found, path, where)
    return number


def _other(known: Any, found: Any, path: str, where: str) -> TrimtabError:
    def told(value: Any) -> str:
        if isinstance(value, np.ndarray):
            array = cast("np.ndarray[Any, Any]", value)
            return f"an array of {array.dtype} with {array.ndim} axes"
        return f"a {type(value).__name__}"

    return TrimtabError(
        f"{where} returned {told(found)} as {path}; expected {told(known)}, as `init` makes State.{path}"
    )
