"""How kernels and strategies are compiled: to disk, with numpy's division, into the loop that calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

from trimtab.compiled import point_cache

P = ParamSpec("P")
R = TypeVar("R")

# numba chooses a function's cache when it is decorated. In any other place an edited kernel would meet compiled callers
# that still hold its old state, field for field, and crash.
point_cache()

# numba publishes no types.
_njit = cast(Any, numba).njit


def inlined(f: Callable[P, R]) -> Callable[P, R]:
    """Compile `f` so that it disappears into its caller: for steps, which run on every row.

    A call costs more than the arithmetic of a step, and keeps its state out of registers.
    """
    return _njit(cache=True, error_model="numpy", forceinline=True)(f)


def compiled(f: Callable[P, R]) -> Callable[P, R]:
    """Compile `f` as a function of its own: for inits, and for work that happens once in hundreds of rows."""
    return _njit(cache=True, error_model="numpy")(f)
