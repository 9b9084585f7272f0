"""Limits that a user brings: compiled by us, called by address, and bound like every limit to make positions smaller.

A rule is a function `allow(now, equity, weights, held, bars, bound)`, see types.LimitRule. It is compiled to a C
function of one signature and the set-up holds addresses, so that no rule makes the driver compile anew.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from trimtab.compiled import apart, part
from trimtab.rules.account import reduced
from trimtab.rules.limits import LIMIT_NAMES, REFUSE, SCALE, SLACK, note

#: As many rules as a book may have: the log keeps room for what all of them can write in one row.
MOST_RULES: Final = 8

_WORD, _REAL = ir.IntType(64), ir.DoubleType()


def _call(typingctx: Any, address: Any, now: Any, equity: Any, weights: Any, held: Any, bars: Any, bound: Any) -> Any:
    """Call the C function at an address with what a rule is told. -> 1: it came to its end"""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in (3, 4, 5)]
        count = builder.extract_value(arrays[0].shape, 0)
        pointers = [builder.bitcast(array.data, _REAL.as_pointer()) for array in arrays]
        inputs = [_WORD, _REAL, *[_REAL.as_pointer()] * 3, _WORD, _REAL]
        function = builder.inttoptr(args[0], ir.FunctionType(_WORD, inputs).as_pointer())
        return builder.call(function, [args[1], args[2], *pointers, count, args[6]])

    return types.int64(types.int64, types.int64, types.float64, weights, held, bars, types.float64), codegen


_call_rule: Any = intrinsic(_call)


def address_of(allow: Any) -> tuple[int, Any]:
    """Compile a rule -> its address, and what has to be kept alive while the address is used.

    allow   plain function or compiled one, see types.LimitRule

    What it raises ends the call and refuses every increase: an exception cannot pass through compiled code.
    """
    numba: Any = importlib.import_module("numba")  # which publishes no types
    inner = allow if hasattr(allow, "py_func") else numba.njit(allow)

    def call(now: Any, equity: Any, weights: Any, held: Any, bars: Any, count: Any, bound: Any) -> Any:
        try:
            inner(
                now,
                equity,
                numba.carray(weights, (count,)),
                numba.carray(held, (count,)),
                numba.carray(bars, (count, 8)).copy(),  # the market's own memory
                bound,
            )
        except Exception:  # numba knows no other way to catch all
            return 0
        return 1

    reals = types.CPointer(types.float64)
    signature = types.int64(types.int64, types.float64, reals, reals, reals, types.int64, types.float64)
    compiled: Any = numba.cfunc(signature)(call)
    return int(compiled.address), compiled


@part
def shrunk(allowed, share):
    """The lots that a rule leaves of `allowed`, whose weight it multiplied by share: never more, nor the other side."""
    if not share > 0.0:  # NaN and a change of sign too
        return np.int64(0)
    return allowed if share >= 1.0 else np.int64(allowed * min(share * (1.0 + SLACK), 1.0))


@apart
def gate_rules(book, log, market, setup, row, ts):
    """Ask every rule about book.allowed, in their order, and take what makes it smaller. -> 1 when anything was cut

    A rule that fails lets nothing grow at this row.
    """
    equity, marks, n = book.head[0].equity, market.mark[row], book.goal.shape[0]
    if not equity > 0.0:
        return 0  # nothing may be held anyway
    weights, held, before = book.sums[0], book.sums[1], book.sums[2]
    cut = 0
    for k in range(setup.rules.shape[0]):
        for i in range(n):
            before[i] = weights[i] = book.allowed[i] * book.unit[i] * marks[i] / equity
            held[i] = book.quantity[i] * marks[i] / equity
        fine = _call_rule(setup.rules[k], ts, equity, weights, held, market.rows[row], setup.rule_bounds[k])
        for i in range(n):
            allowed = book.allowed[i]
            if allowed == 0 or (fine == 1 and weights[i] == before[i]):
                continue
            if fine == 1:
                book.allowed[i] = shrunk(allowed, weights[i] / before[i])
            else:
                book.allowed[i] = reduced(allowed, book.positions[i].lots)
            if book.allowed[i] != allowed:
                action = SCALE if fine == 1 and book.allowed[i] != 0 else REFUSE
                note(log, row, ts, len(LIMIT_NAMES) + k, i, allowed, book.allowed[i], action)
                cut = 1
    return cut
