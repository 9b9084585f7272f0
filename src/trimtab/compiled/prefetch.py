"""A hint to the processor that memory is read soon: a sweep's orders jump over rows that no cache holds."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


def _prefetch(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    """Ask for the cache line of array[row, column]; any place is safe, the hint never faults and changes no result."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = context.make_array(array)(context, builder, args[0])
        strides = cgutils.unpack_tuple(builder, found.strides, array.ndim)
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        offset = builder.mul(args[1], strides[0])
        if array.ndim > 1:
            offset = builder.add(offset, builder.mul(args[2], strides[1]))
        address = builder.gep(builder.bitcast(found.data, pointer), [offset])
        hint = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0")
        # read, keep in every cache level, data
        builder.call(function, [address, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, row, column), codegen


#: prefetch(array, row, column) in compiled code.
prefetch: Any = intrinsic(_prefetch)
