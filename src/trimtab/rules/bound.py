"""An account's memory, bound once for compiled code that Python calls again and again.

To hand a book, a log, a market and a set-up to compiled code takes longer than most of what is done with them: a
hundred arrays and numbers are looked at each time. A `Bound` holds what compiled code makes of them; entries that take
its `address` find everything there. The arrays stay where they are; numbers of the set-up are those of the binding.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any, Final, cast

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from trimtab.compiled import entry, part
from trimtab.rules.book import NOTHING, Book, Log, Setup, Style, new_log, open_book, terms_of
from trimtab.rules.market import Market
from trimtab.types import Costs, Instrument, Limits, TrimtabError

#: Bytes that the four take as compiled code holds them, and some to spare.
_SIZE: Final = 16_384


def _example() -> tuple[Book, Log, Market, Setup]:
    """The four of the smallest account: their types are those of every account."""
    terms = terms_of((Instrument(symbol="X"),), (Costs(),))
    none = np.empty(0, np.int64)
    one, cells = np.zeros(1, np.int64), np.zeros((1, 1))
    market = Market(
        one, np.zeros((1, 1, 8)), cells, cells, cells, cells, cells, cells, cells, cells, cells, cells, NOTHING,
        NOTHING, none,
    )  # fmt: skip
    setup = Setup(terms, Limits(), Style(0, 0.0, 0, 0, 0, 0, 0.0, 0), 1.0, 1)
    return open_book(1.0, terms, 1), new_log(1, 1, 1, 0, none), market, setup


_EXAMPLE: Final = _example()
_TYPE: Final[Any] = cast("Any", importlib.import_module("numba")).typeof(_EXAMPLE)


def _lay(typingctx: Any, address: Any, all_four: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(all_four)
        builder.store(args[1], builder.inttoptr(args[0], kind.as_pointer()))
        return context.get_constant(types.int64, context.get_abi_sizeof(kind))

    return types.int64(types.int64, all_four), codegen


def _take(typingctx: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], context.get_value_type(_TYPE).as_pointer()))

    return _TYPE(types.int64), codegen


_lay_at: Any = intrinsic(_lay)
_taken_from: Any = intrinsic(_take)


@part
def account_at(address):
    """Book, Log, Market and Setup of a Bound."""
    return _taken_from(address)


@entry
def _bind(address, all_four):
    return _lay_at(address, all_four)


class Bound:
    """Book, log, market and set-up where compiled code finds them; as long as this lives, so does their memory."""

    def __init__(self, book: Book, log: Log, market: Market, setup: Setup) -> None:
        four = _like(_EXAMPLE, (book, log, market, setup), "account")
        self._held = four, np.zeros(_SIZE, np.uint8)
        self.address = int(self._held[1].ctypes.data)
        if _bind(self.address, four) > _SIZE:
            raise TrimtabError("an account takes more room than was foreseen for it: this is a mistake of Trimtab")

    def __deepcopy__(self, memo: dict[int, Any]) -> Bound:
        """Of the copies of what it binds: whoever is copied with it shares them."""
        return Bound(*copy.deepcopy(self._held[0], memo))

    def __reduce__(self) -> Any:
        raise TrimtabError("a binding is of this process's memory: bind again where the account was loaded")


def _like(known: Any, found: Any, name: str) -> Any:
    """The same memory and the same numbers, which are of the types that are known."""
    if isinstance(known, tuple):
        names: Any = getattr(cast("Any", known), "_fields", range(len(cast("Any", known))))
        parts = [_like(a, b, str(n)) for n, a, b in zip(names, cast("Any", known), found, strict=True)]
        made: Any = type(cast("Any", known))
        return made(*parts) if hasattr(made, "_fields") else tuple(parts)
    if isinstance(known, np.ndarray):
        array = cast("np.ndarray[Any, Any]", known)
        fits = found.dtype == array.dtype and found.ndim == array.ndim
        if not fits or not found.flags.c_contiguous or not found.flags.writeable:
            raise TrimtabError(
                f"{name} is an array of {found.dtype} with {found.ndim} axes: expected one of {array.dtype} with "
                f"{array.ndim}, contiguous and writable"
            )
        return found
    return type(known)(found)
