"""Our way of compiling, which stands on numba's inside: it gives what numba gives, and leaves no trace outside."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core.base import BaseContext
from numba.core.compiler import DefaultPassBuilder
from numba.core.errors import TypingError
from numba.core.types.functions import BaseFunction

from trimtab.compiled import apart, part, pipeline, rule


def compiled(kind: Any, function: Any) -> Any:
    """As `entry` and `loop` do it, but not from the disk."""
    return pipeline.made(kind, function, nogil=True, error_model="numpy", _nrt=kind is pipeline.Loop)


@part
def weighed(values, weight):
    total = 0.0
    for k in range(values.shape[0]):
        total += weight * values[k]
    return total


# --- parts and rules -------------------------------------------------------------------------------------------------


def test_a_part_is_pasted_and_nothing_is_made_of_it_alone() -> None:
    def twice(values, weight):
        return weighed(values, weight) + weighed(values, 2.0 * weight)

    caller = compiled(pipeline.Entry, twice)
    assert caller(np.arange(4.0), 3.0) == 54.0
    (found,) = weighed.overloads.values()
    assert isinstance(found.library, pipeline._PartLibrary)
    name = found.fndesc.llvm_func_name
    assert not found.library.codegen._engine.is_symbol_defined(name)
    (made,) = caller.overloads.values()
    assert f"@{name}(" not in made.library.get_llvm_str()  # neither defined nor called


def test_a_part_apart_is_called_by_what_compiled_it() -> None:
    def distance(x, y):
        total = 0.0
        for k in range(int(x * 100.0)):
            total += abs(x - y) * k
        return total

    far = apart(distance)

    def both(x, y):
        return far(x, y) + far(y, x)

    assert compiled(pipeline.Entry, both)(0.5, 2.0) == distance(0.5, 2.0) + distance(2.0, 0.5)
    (found,) = far.overloads.values()
    assert isinstance(found.library, pipeline._PartLibrary)


def test_a_part_called_from_python_says_what_to_call() -> None:
    with pytest.raises(TypeError, match=r"weighed is a part.*weighed\.py_func"):
        weighed(np.arange(4.0), 3.0)
    assert weighed.py_func(np.arange(4.0), 3.0) == 18.0


def test_a_rule_compiles_for_python_only_when_python_calls_it() -> None:
    @rule
    def halved(x):
        return x / 2.0

    def quartered(x):
        return halved(halved(x))

    assert compiled(pipeline.Entry, quartered)(8.0) == 2.0
    assert not halved.overloads
    assert halved.part.overloads
    assert halved(8.0) == 4.0
    assert halved.overloads


# --- the pipeline ----------------------------------------------------------------------------------------------------


def test_the_passes_that_rules_go_without_are_numbas() -> None:
    """A pass that numba renames or moves elsewhere would be missed by nobody."""
    flags = SimpleNamespace(no_rewrites=False, enable_ssa=True, auto_parallel=SimpleNamespace(enabled=False))
    state = SimpleNamespace(func_ir=None, flags=flags)
    usual = [each for each, _ in DefaultPassBuilder.define_nopython_pipeline(state).passes]
    assert set(pipeline._NOT_IN_RULES) <= set(usual)
    assert usual.count(pipeline.NativeLowering) == 1


def flow_cross(a, b, n):
    """Variables that are known in several blocks, in all the ways in which a value could get lost."""
    first = a + b
    kept = 0.0
    swapped, other = a, b
    for k in range(n):
        late = first * k
        if k % 3 == 0:
            swapped, other = other, swapped
            if k > 6:
                break
            continue
        kept += late + swapped
        inner = 0
        while inner < k:
            inner += 2
            if inner == 4:
                b += 1.0
        kept -= inner
    if n > 2:
        last = kept + b
    else:
        last = first
    return last + swapped * other + first


def flow_defined_late(a, b, n):
    """A value of one turn of a loop is used in the next."""
    total, before, last = 0.0, 0.0, a
    for k in range(n):
        total += before
        after = a * k + b
        before = after if k != 2 else total
        last = after
    return total if n < 3 else total + last


def flow_early(a, b, n):
    scale = a if a > b else b
    for k in range(n):
        for j in range(k):
            if j * scale > 5.0:
                return scale + k
    return scale


@pytest.mark.parametrize("flow", [flow_cross, flow_defined_late, flow_early])
@given(a=st.floats(-4, 4), b=st.floats(-4, 4), n=st.integers(0, 12))
def test_what_stays_a_value_is_the_right_one(flow: Any, a: float, b: float, n: int) -> None:
    """As an entry and as a part, bit for bit what plain Python says."""
    expected = flow(a, b, n)
    assert _as_entry[flow](a, b, n) == expected
    assert _as_part[flow](a, b, n) == expected


def _calling(inner: Any) -> Any:
    def outer(a, b, n):
        return inner(a, b, n)

    return compiled(pipeline.Entry, outer)


_FLOWS = (flow_cross, flow_defined_late, flow_early)
_as_entry = {f: compiled(pipeline.Entry, f) for f in _FLOWS}
_as_part = {f: _calling(part(f)) for f in _FLOWS}


# --- haste -----------------------------------------------------------------------------------------------------------


def inside() -> tuple[Any, ...]:
    return (BaseFunction.get_call_type, BaseContext.get_abi_sizeof, BaseContext.get_arg_packer, gc.get_threshold())


@pytest.mark.parametrize("kind", [pipeline.Entry, pipeline.Loop, pipeline.Rule])
def test_numba_is_left_as_it_was(kind: Any) -> None:
    before = inside()

    def good(x):
        return min(x, 2.0) + 1.0

    def bad(x):
        return x + "text"

    assert compiled(kind, good)(1.0) == 2.0
    assert inside() == before
    with pytest.raises(TypingError):
        compiled(kind, bad)(1.0)
    assert inside() == before


def test_answers_do_not_mix_types() -> None:
    """The same operators on integers, floats, booleans and arrays, in one compilation and in turn."""

    def mixed(i, f, values):
        total = i // 2 + i % 3 + (i + f) * (f + f) - i / 4
        total += values[0] + values[i] * (f < 1.0) + abs(-i) + max(i, 2) + max(f, 0.5) + min(values[1], f)
        return total + (i**2) + (f**2) + np.int64(f) + (i & 1) + (not i)

    values = np.array([1.5, 2.5, 3.5])
    for kind in (pipeline.Entry, pipeline.Loop):
        assert compiled(kind, mixed)(2, 0.75, values) == mixed(2, 0.75, values)


# --- linear algebra --------------------------------------------------------------------------------------------------

ALGEBRA = """
import json, sys
import numpy as np
import numba
{before}
import trimtab as tt
from trimtab.types import BAR_FIELDS, HOUR
close = 100.0 + np.sin(np.arange(300.0))
values = np.stack([close, close + 1, close - 1, close, close * 1e4, np.full(300, float(HOUR))], axis=-1)[:, None, :]
panel = tt.Panel(np.arange(1, 301) * HOUR, (tt.Instrument(symbol="X"),), BAR_FIELDS, values, "1h")
tt.simulate(panel, np.where(close > 100, 1.0, 0.0))
imported = "scipy.linalg" in sys.modules

@numba.njit
def algebra(a, b):
    return np.dot(a, b), np.linalg.solve(a, b), np.convolve(b, b), a @ a

a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0])
expected = np.dot(a, b), np.linalg.solve(a, b), np.convolve(b, b), a @ a
good = all(np.allclose(x, y, rtol=1e-14) for x, y in zip(algebra(a, b), expected))
from numba.np import arraymath
print(json.dumps([imported, good, bool(arraymath._HAVE_BLAS), "scipy.linalg" in sys.modules]))
"""
USED_BEFORE = "assert numba.njit(lambda a: np.convolve(a, a))(np.ones(3)).sum() == 9.0"


# Where scipy is there before us nothing of ours acts: numba alone, for the nightly run.
@pytest.mark.parametrize("before", ["", pytest.param(USED_BEFORE, marks=pytest.mark.nightly)])
def test_a_users_linear_algebra_works_and_is_not_imported_for_a_run(before: str) -> None:
    pytest.importorskip("scipy")
    script = ALGEBRA.format(before=before)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [bool(before), True, True, True]


def test_numba_is_the_version_that_all_this_was_written_for() -> None:
    assert numba.__version__ == "0.68.1", "see trimtab/compiled/pipeline.py, then name the new version here"
