"""What a message says beside the fault: the next command to give."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from trimtab.types import Spec

#: A spec that a newcomer can copy.
SHORTEST: Final = """\
universe: SPY
timeframe: 1d
models: [{strategy: sma_cross}]"""

#: So many instruments of a store are named.
_NAMED: Final = 8


# --- usage -----------------------------------------------------------------------------------------------------------


def on_usage(error: Any) -> str:
    """What is wrong with a command line (an error of typer's, with its context), an example, and where to read on."""
    command, path = error.ctx.command, error.ctx.command_path
    parameter = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter" and parameter is not None:
        said = f"{parameter.metavar or parameter.name} is missing: {_lowered(parameter.help or 'a value')}"
    else:
        said = _value_of(error, parameter) or _lowered(error.format_message().rstrip(".")) + "."
    lines = [f"{path}: {said.rstrip('.') if said.endswith('?.') else said}"]
    if said.startswith("SPEC is missing"):
        lines += ["A spec can be as short as this:", *(f"  {line}" for line in SHORTEST.splitlines())]
    example = re.search(r"Examples\[/bold\]\s*\n\s*(trimtab .*)", command.help or "")
    lines += [f"Example: {example[1]}"] if example else []
    return "\n".join([*lines, f"More: {path} --help"])


#: What an option expects, by the rule that its value broke.
_EXPECTED: Final = {
    "int_parsing": "a whole number such as 7",
    "int_from_float": "a whole number such as 7",
    "float_parsing": "a number such as 0.5",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
}


def _value_of(error: Any, parameter: Any) -> str:
    """What is wrong with the value of an option, as the type that refused it says; empty: it says nothing."""
    told = getattr(error.__cause__, "errors", None)
    if parameter is None or not callable(told):
        return ""
    (first, *_), name = cast("list[Any]", told()), max(parameter.opts, key=len)
    if first["type"] not in _EXPECTED:
        return ""
    return f"{name} {first['input']}: expected {_EXPECTED[first['type']].format(**first.get('ctx', {}))}."


def _lowered(sentence: str) -> str:
    return sentence if sentence[1:2].isupper() else sentence[:1].lower() + sentence[1:]


# --- files -----------------------------------------------------------------------------------------------------------


def on_files(error: OSError) -> str:
    """What the system refused, and to whom."""
    from trimtab.compiled import cache_folder

    if not error.strerror:  # of Polars: the text has it all
        return str(error)
    said = f"{error.filename or 'the system'}: {error.strerror}"
    if str(error.filename).startswith(str(cache_folder().parent)):
        return f"{said}; compiled code is kept there: set TRIMTAB_CACHE to a folder that may be written to"
    return said


# --- bars ------------------------------------------------------------------------------------------------------------


def on_empty_store(root: Path) -> str:
    """How bars come into a store that has none."""
    return (
        f"the store {root} is empty.\n"
        "Your own bars:       trimtab data import SPY_1d.csv --asset-class equity\n"
        "In another folder:   --data DIR, or set TRIMTAB_DATA\n"
        "No bars at hand:     trimtab demo   (puts S&P 500, Nasdaq and WTI into demo/data)"
    )


def on_missing_bars(universe: Iterable[str], root: str | None, near: Sequence[Path] = ()) -> str:
    """What the store lacks of a universe, and how to get it; empty: it has every instrument.

    near  folders that may be the store that was meant
    """
    from trimtab import words
    from trimtab.data.store import instruments, open_store

    store = open_store(root)
    known = [i.symbol for i in instruments(store)]
    lost = [symbol for symbol in universe if symbol not in known]
    if not lost:
        return ""
    found = next((place for place in near if _has(place, lost)), None)
    if found is not None:
        return f"the store {store.root} has no {', '.join(lost)}, but {found} does: give --data {found}"
    if not known:
        return f"no bars of {', '.join(lost)}: {on_empty_store(store.root)}"
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return (
        f"unknown symbol {', '.join(map(repr, lost))} in the store {store.root}{words.near(lost[0], known)}, which has "
        f"{', '.join(known[:_NAMED])}{more}.\n"
        f"Import it: trimtab data import {lost[0]}_1d.csv   (--data DIR: another store)"
    )


def _has(place: Path, symbols: Iterable[str]) -> bool:
    from trimtab.data.store import Store, instruments
    from trimtab.types import TrimtabError

    try:
        return set(symbols) <= {i.symbol for i in instruments(Store(place))}
    except TrimtabError:
        return False


# --- runs ------------------------------------------------------------------------------------------------------------


@contextmanager
def given(spec: Callable[[], Spec], root: str | None, near: Sequence[Path] = ()) -> Generator[None]:
    """While a spec is run: a store without its bars, or a fault in a strategy of the user's own, is told with a remedy.

    Anything else passes as it is. The spec is asked for only when something went wrong.
    """
    from trimtab.types import NotEnoughData, TrimtabError

    try:
        yield
    except NotEnoughData:
        raise
    except TrimtabError as error:
        said = on_missing_bars(spec().universe, root, (*near, Path("demo/data")))
        if said:
            raise TrimtabError(said) from error
        raise
    except Exception as error:
        said = on_compiling([model.strategy for model in spec().models], error)
        if said:
            raise TrimtabError(said) from error
        raise


def on_compiling(names: Iterable[str], error: Exception) -> str:
    """What is wrong with a strategy that is not built in and cannot be compiled, and where; else nothing."""
    import numpy as np

    from trimtab.research.check_contract import explain
    from trimtab.strategies import BUILT_IN, find

    if not type(error).__module__.startswith("numba."):
        return ""
    for name in names:
        strategy = find(name)
        # The compiled loop around a step carries the step's module in its name.
        if name not in BUILT_IN and strategy.step.__module__ in str(error):
            row = np.ones((1, strategy.legs_of(2), len(strategy.fields)))
            return f"{explain(strategy, strategy.params, row, error)[0]}. More: trimtab check {name}"
    return ""


def on_own_code(error: Exception) -> str:
    """Where a strategy file of the user's own raised what stopped a command; else nothing."""
    from trimtab.strategies.files import MODULE

    files = {str(getattr(module, "__file__", "")) for name, module in sys.modules.items() if name.startswith(MODULE)}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if not frames:
        return ""
    at = frames[-1]
    what = " ".join(str(error).split())
    return f"{at.filename}, line {at.lineno}: {type(error).__name__}: {what}. More: trimtab check {at.filename}"
