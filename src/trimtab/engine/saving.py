"""What a planner remembers as bytes: numbers and arrays, bit for bit, and the States of compiled code."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.types import TrimtabError

_ARRAY: Final = 1


def pack(tree: dict[str, Any]) -> bytes:
    """Dicts, lists, numbers, texts, None and arrays as bytes."""
    return msgspec.msgpack.encode(tree, enc_hook=_encoded)


def unpack(saved: bytes) -> dict[str, Any]:
    """What `pack` was given; arrays are writable, in memory of their own. TrimtabError for other bytes."""
    try:
        found: Any = msgspec.msgpack.decode(saved, type=dict[str, Any], ext_hook=_decoded)
        return found
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise TrimtabError(f"a saved memory of models cannot be read: {error}") from error


def _encoded(value: Any) -> Any:
    if isinstance(value, np.generic):
        return cast(Any, value).item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a memory of models holds numbers and arrays, and this is a {type(value).__name__}")
    array = cast("np.ndarray[Any, Any]", value)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    packed = msgspec.msgpack.encode((array.dtype.str, array.shape, order, array.tobytes(order)))
    return msgspec.msgpack.Ext(_ARRAY, packed)


def _decoded(code: int, data: memoryview) -> Any:
    dtype, shape, order, content = msgspec.msgpack.decode(data)
    found: Any = np.frombuffer(content, np.dtype(dtype))
    return found.reshape(shape, order=order).copy(order)


def alike(known: NDArray[Any], found: Any) -> Any:
    """What was found, an array of the type and size of the known one. TrimtabError where it is another."""
    if not isinstance(found, np.ndarray) or found.shape != known.shape or found.dtype != known.dtype:  # pyright: ignore[reportUnknownMemberType]
        raise TrimtabError("a saved memory of models has arrays of another size or type: start without it")
    return cast("NDArray[Any]", found)


def leaves(state: Any) -> list[Any]:
    """The numbers and arrays of a State, in order; memory that two members share is told once: the other's is its place
    in a list of one."""
    found: list[Any] = []
    seen: dict[Any, int] = {}

    def walk(value: Any) -> None:
        if isinstance(value, tuple):
            for part in cast("tuple[Any, ...]", value):
                walk(part)
            return
        if isinstance(value, np.ndarray):
            array = cast("np.ndarray[Any, Any]", value)
            key = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
            if array.size and key in seen:
                found.append([seen[key]])
                return
            seen[key] = len(found)
        found.append(value)

    walk(state)
    return found


def rebuilt(like: Any, told: list[Any]) -> Any:
    """A State of the same members as another, of the leaves that were told. TrimtabError where they do not fit."""
    at = iter(range(len(told)))

    def build(known: Any) -> Any:
        if isinstance(known, tuple):
            members = cast("tuple[Any, ...]", known)
            parts = [build(part) for part in members]
            named: Any = type(members)
            return named(*parts) if hasattr(members, "_fields") else tuple(parts)
        value = told[next(at)]
        if isinstance(value, list):
            value = told[cast("list[int]", value)[0]]
        fits = type(value) is type(known)
        if fits and isinstance(known, np.ndarray):
            fits = value.dtype == cast("np.ndarray[Any, Any]", known).dtype and value.ndim == known.ndim
        if not fits:
            raise TrimtabError("a saved memory holds another State than the strategy has; start without it")
        return value

    try:
        made = build(like)
    except (StopIteration, RuntimeError, IndexError):
        made = None
    if made is None or next(at, None) is not None:
        raise TrimtabError("a saved memory holds another State than the strategy has; start without it")
    return made
