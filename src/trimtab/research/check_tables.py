"""What a strategy brought along from before the first row: tables, frames, files, and numbers made of the whole data.

Part of the law of prefix: the future in them is in no row, so no cut of history can take it out.
"""

from __future__ import annotations

import dis
from types import CodeType, FunctionType
from typing import Any, Final, cast

import numpy as np

from trimtab.research.check_columns import moments_of
from trimtab.research.check_contract import Reached, is_library, reached
from trimtab.research.check_subject import Finding, Subject
from trimtab.types import F64

#: A module-level table this long can hold a price per bar; filter taps and coefficients are shorter.
_TABLE: Final = 256
#: A shorter one is looked at only for values of the bars themselves.
_RUN: Final = 16
#: What opens files, by the names that people call it by.
_READERS: Final = frozenset(
    ("open", "read_csv", "read_parquet", "read_ipc", "read_json", "read_ndjson", "read_excel", "read_database")
) | frozenset(
    ("read_text", "read_pickle", "scan_csv", "scan_parquet", "scan_ipc", "scan_ndjson", "loadtxt", "genfromtxt")
)


def tables(subject: Subject) -> list[Finding]:
    """Tables, files and numbers that could hold the future."""
    told = [f for item in reached(subject.strategy) for f in _table(subject, item)]
    return [*told, *_moments(subject), *_reads_files(subject)]


def _table(subject: Subject, item: Reached) -> list[Finding]:
    """A module-level table that is long enough to hold the future, or that holds the bars themselves."""
    if type(item.value).__module__.split(".")[0] in ("polars", "pandas") and hasattr(item.value, "shape"):
        return _framed_table(subject, item)
    if isinstance(item.value, float | np.floating):
        return _whole_sample(subject, item.name, float(cast(Any, item.value)))
    if not isinstance(item.value, list | tuple | np.ndarray):
        return []
    try:
        values = np.asarray(cast(Any, item.value), dtype=np.float64)
    except (TypeError, ValueError):
        return []
    copied = _copied_from(subject, values.ravel()) if values.size >= _RUN else None
    if copied is None and max(values.shape, default=0) < _TABLE:
        return []
    told = f"holds {copied}" if copied else f"could hold a value for each of {max(values.shape):,} bars"
    return [
        subject.broken(
            "prefix",
            f"step reads the module-level array {item.name} of {values.size:,} values, which was there before the "
            f"first row and {told}: no cut of history can take the future out of it. Usual cause: prices, signals or "
            "fitted values read from a file. Bring them as a field of the panel, joined at the instant each was "
            "known; a short table of constants is fine",
            item.name,
        )
    ]


def _framed_table(subject: Subject, item: Reached) -> list[Finding]:
    """A module-level frame or series: with instants in it, or as long as a table of bars."""
    value: Any = item.value
    kinds = (getattr(value, "dtypes", None), getattr(value, "dtype", None), getattr(value, "index", None))
    if "date" not in " ".join(str(kind) for kind in kinds).lower() and value.shape[0] < _TABLE:
        return []  # a short table of constants
    shape = " × ".join(f"{n:,}" for n in value.shape)
    told = (
        f"the module-level {type(value).__name__} {item.name} ({shape}) was there before the first row: no cut of "
        "history can take the future out of it. Usual cause: a file of prices, signals or macro figures that is joined "
        "inside the strategy. Bring it as a field of the panel, joined at the instant each value was known"
    )
    return [subject.broken("prefix", told, item.name)]


def _copied_from(subject: Subject, values: F64) -> str | None:
    """Which series of the data a table repeats, if half of its values are found there."""
    finite = values[np.isfinite(values)]
    if len(finite) < _RUN or len(np.unique(finite)) < _RUN:
        return None
    for unit in subject.units:
        for leg, symbol in enumerate(unit.symbols):
            for k, field in enumerate(subject.strategy.reads):
                column = unit.x[:, leg, k]
                with np.errstate(all="ignore"):
                    series = {"": column, "changes of ": np.diff(column), "returns of ": column[1:] / column[:-1] - 1.0}
                for kind, known in series.items():
                    if len(np.unique(known)) >= _RUN and np.isin(finite, known).mean() > 0.5:
                        return f"the {kind}{field} of {symbol} itself"
    return None


def _moments(subject: Subject) -> list[Finding]:
    """Parameters that are a moment of the whole data: it was looked at before the first row."""
    numbers = {k: v for k, v in subject.params._asdict().items() if isinstance(v, float)}
    return [f for name, value in numbers.items() for f in _whole_sample(subject, name, value)]


def _whole_sample(subject: Subject, name: str, value: float) -> list[Finding]:
    """A number with many digits that is the mean, deviation or an extreme of a whole series of the data."""
    if not np.isfinite(value) or float(f"{value:.5g}") == value:
        return []  # a number that a person would write
    for unit in subject.units:
        for leg, symbol in enumerate(unit.symbols):
            for k, field in enumerate(subject.strategy.reads):
                for moment, known in moments_of(unit.x[:, leg, k]).items():
                    if abs(known - value) <= 1e-9 * abs(known):
                        return [_told(subject, name, value, f"the {moment} of {field} of {symbol}")]
    return []


def _told(subject: Subject, name: str, value: float, what: str) -> Finding:
    return subject.broken(
        "prefix",
        f"{name} = {value:.12g} is {what} over all rows of the data, to the ninth digit: no row but the last could "
        "know it. Usual cause: normalising by the whole sample. Keep a running or windowed one in State",
        name,
        size=1.0,
    )


def _reads_files(subject: Subject) -> list[Finding]:
    """A maker of frames that opens files: what they hold is in no row, so no cut of history can reach it."""
    found: list[Finding] = []
    for indicator in subject.strategy.indicators:
        names = sorted(_mentions(indicator.make, set()) & _READERS)
        if names:
            told = (
                f"{indicator.name} reads a file as it is made ({', '.join(names)}): what it holds is in no row, and "
                "no cut of history can take the future out of it. Usual cause: macro figures, signals or prices that "
                "are joined inside the strategy. Bring them as a field of the panel, joined at the instant each was "
                "known"
            )
            found.append(subject.broken("prefix", told, indicator.name))
    return found


def _mentions(function: Any, seen: set[int]) -> set[str]:
    """What a plain function, and the user's functions that it calls, name as a global or as a member."""
    if not isinstance(function, FunctionType) or id(function) in seen or is_library(function.__module__):
        return set()
    seen.add(id(function))
    found: set[str] = set()
    called: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        for line in dis.get_instructions(code):
            if line.opname == "LOAD_GLOBAL":
                called.add(str(line.argval))
            elif line.opname in ("LOAD_ATTR", "LOAD_METHOD") and line.argval != "open":  # a column may be called so
                found.add(str(line.argval))
        codes.extend(c for c in code.co_consts if isinstance(c, CodeType))
    inner = (function.__globals__.get(name) for name in called)
    return found.union(called, *(_mentions(each, seen) for each in inner))
