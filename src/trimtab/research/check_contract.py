"""The contract: a strategy compiles, its State keeps its types, and it knows nothing but p, s and x.

What numba says about a function that it cannot compile is long; here is what it means for a strategy.
"""

from __future__ import annotations

import hashlib
import re
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple, cast

import numpy as np

from trimtab.research.check_subject import Finding, Subject, bits, leaves, shared_members
from trimtab.strategies.framed import home_of
from trimtab.types import F64, Strategy, TrimtabError

#: What numba says -> what is wrong and what to do; {0} is the first group.
_CAUSES: Final[tuple[tuple[str, str], ...]] = (
    (
        r"Cannot modify readonly array",
        "it writes into a module-level array. Memory outside State is shared by all instruments and lost in every "
        "snapshot: create the array in init and keep it in State",
    ),
    (
        r"STORE_GLOBAL",
        "it assigns a module-level name (`global`). What is counted or remembered there is shared by all instruments "
        "and lost in every snapshot: keep it in State",
    ),
    (
        r"Untyped global name '(\w+)'.*<class 'function'>",
        "{0} is plain Python: decorate it with @inlined or @compiled from trimtab.kernels.compiled",
    ),
    (
        r"Untyped global name '(\w+)'",
        "it reads the module-level {0}, which cannot be compiled (a list, dict, frame or module). Numbers belong into "
        "Params, memory into State, data into a field of the panel",
    ),
    (r"NameError: name '(\w+)'", "{0} is not defined in the file: import it or correct its name"),
    (r"Unknown attribute '(\w+)' of type (\w+)", "{1} has no member {0}: correct the name, or add it"),
    (r"Cannot unify \w+\(.*\) and (?:int64|float64|bool) for 's", "step must return (state, forecast), in this order"),
    (r"failed to unpack|exhaust iter", "step must return two values: (state, forecast)"),
    (r"expected float64, got", "a forecast must be a number on every path; to abstain return np.nan, not None"),
    (r"(?:got|unexpected|missing).*argument", "expected the signatures init(p) and step(p, s, x)"),
)


def contract(subject: Subject) -> list[Finding]:
    """Does it compile, does State keep its types, does init give every unit memory of its own? Do indicators answer?"""
    unit = subject.units[0]
    try:
        subject.derived()
    except TrimtabError as error:  # of a frame that the data itself makes: no law could be tested
        where = f"{file_of(subject.strategy)}{_raised_at(subject.strategy, error.__cause__)}"
        told = f"{where}: {error}. It must answer every frame, a short one too; a null in a row abstains"
        names = (each.name for each in subject.strategy.indicators)
        return [subject.broken("contract", told, next((n for n in names if f"indicator {n}" in str(error)), None))]
    try:
        first = subject.start()
        before = [(path, type_of(v)) for path, v in leaves(first)]
        out = np.full(2, np.nan)
        last = subject.dense(first, unit.ts[:2], unit.x[:2].copy(), out)
    except Exception as error:  # whatever the compiler or a user's step may raise
        return [subject.broken("contract", *explain(subject.strategy, subject.params, unit.x, error))]
    after = [(path, type_of(v)) for path, v in leaves(last)]
    found = [
        _retyped(subject, path, was, now) for (path, was), (_, now) in zip(before, after, strict=False) if was != now
    ]
    shared = shared_members(subject.start(), subject.start())
    if shared:
        found.append(
            subject.broken(
                "contract",
                f"init returns the same memory every time ({shared[0]}), so instruments write into each other's past. "
                "Usual cause: an array made once at module level. Create it inside init: np.zeros(…)",
                shared[0],
            )
        )
    return found[:3]


def _raised_at(strategy: Strategy, error: BaseException | None) -> str:
    """', line 12' of the strategy's own file at which something was raised; empty where it was not raised there."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else ()
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == file_of(strategy)]
    return f", line {lines[-1]}" if lines else ""


def _retyped(subject: Subject, path: str, was: str, now: str) -> Finding:
    return subject.broken(
        "contract",
        f"{path} is {was} after init and {now} after step: every change of type compiles the loop again, or fails. "
        "Usual cause: 0 in init and 0.0 in step. Give both the same type",
        path,
    )


def type_of(value: Any) -> str:
    """The type of a leaf as the compiler sees it."""
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        return f"array({array.dtype}, {array.ndim}d)"
    names: dict[type[Any], str] = {
        bool: "bool",
        int: "int64",
        float: "float64",
        np.bool_: "bool",
        np.float64: "float64",
        np.int64: "int64",
    }
    kind = cast("type[Any]", type(value))
    return names.get(kind, kind.__name__)


def explain(strategy: Strategy, params: Any, x: F64, error: Exception) -> tuple[str, str | None]:
    """(message, field) of what a compiler or a step raised: what, on which line, what to do."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    where = f"{file_of(strategy)}{_line(strategy, text)}"
    member = _disagreement(strategy, params, x) if "Cannot unify" in text else None
    if member:
        path, was, now = member
        return (
            f"{where}: {path} is {was} in init and {now} in step; State must keep its types. Usual cause: 0 in init "
            "and 0.0 in step, or arrays of two dtypes. Give both the same type"
        ), path
    for pattern, cause in _CAUSES:
        match = re.search(pattern, text, re.DOTALL)
        if match:
            return f"{where}: {cause.format(*match.groups())}", None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Failed in nopython")]
    said = lines[0] if lines else "no reason given"
    if type(error).__module__.startswith("numba"):
        return f"{where}: it does not compile: {said}. Use numbers, arrays of numbers and NamedTuples of them", None
    return (
        f"{where}: it raised {type(error).__name__}: {said}. A step must answer every row; return np.nan to abstain",
        None,
    )


def file_of(strategy: Strategy) -> str:
    """The file a strategy was written in, without its folder; its name where there is none."""
    file = getattr(sys.modules.get(home_of(strategy)), "__file__", None)
    return Path(str(file)).name if file else strategy.name


def _line(strategy: Strategy, text: str) -> str:
    """', line 12' of the strategy's own file, the last that is named; empty where none is."""
    found = re.findall(re.escape(file_of(strategy)) + r"\"?,? \(?(?:line )?(\d+)\)?", text)
    return f", line {found[-1]}" if found else ""


def _disagreement(strategy: Strategy, params: Any, x: F64) -> tuple[str, str, str] | None:
    """The member of State that has one type after init and another after step."""
    try:
        first = strategy.init(params)
        before = [(path, type_of(v)) for path, v in leaves(first)]
        made = strategy.step(params, first, np.resize(x[0], (x.shape[1], len(strategy.fields))))[0]
    except Exception:  # the caller already tells what was raised
        return None
    if type(made) is not type(first):
        return None
    pairs = zip(before, [(path, type_of(v)) for path, v in leaves(made)], strict=False)
    # Two arrays that look alike and still do not unify: one of them is a constant of the module.
    for (path, was), (_, now) in pairs:
        if was != now:
            return path, was, now
    shared = [path for path, v in leaves(made) if isinstance(v, np.ndarray) and not v.flags.writeable]
    return (shared[0], "an array of its own", "a module-level constant") if shared else None


# --- what a step can reach beside p, s and x -------------------------------------------------------------------------


class Reached(NamedTuple):
    """A value that a compiled function can read although no one handed it over."""

    name: str
    value: Any
    default: bool  # a default argument


def reached(strategy: Strategy) -> list[Reached]:
    """Module-level values and default arguments that a strategy's functions use, also through what they call."""
    found: dict[str, Reached] = {}
    seen: set[int] = set()
    fit = strategy.fit.of if strategy.fit else None
    made = (indicator.make for indicator in strategy.indicators)
    for function in (strategy.init, strategy.step, strategy.legs, strategy.across, fit, *made):
        if function is not None:
            for item in _reach(function, seen):
                found.setdefault(item.name, item)
    return list(found.values())


def constants_of(strategy: Strategy) -> dict[str, str]:
    """sha256 of every number, text and array that the compiled functions take from their module; by name."""
    found = ((item.name, item.value) for item in reached(strategy))
    kept = (bool, int, float, str, bytes, tuple, list, np.ndarray, np.generic)
    return {name: hashlib.sha256(bits(value)).hexdigest() for name, value in found if isinstance(value, kept)}


def _reach(function: Callable[..., Any], seen: set[int]) -> Generator[Reached]:
    plain: Any = getattr(function, "py_func", function)
    if not isinstance(plain, FunctionType) or id(plain) in seen or is_library(plain.__module__):
        return
    seen.add(id(plain))
    arguments = plain.__code__.co_varnames[: plain.__code__.co_argcount]
    defaults = plain.__defaults__ or ()
    for name, value in zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True):
        yield Reached(name, value, True)
    closed = dict(zip(plain.__code__.co_freevars, (c.cell_contents for c in plain.__closure__ or ()), strict=False))
    for name, value in _named(plain.__code__, plain.__globals__ | closed):
        if isinstance(value, FunctionType) or hasattr(value, "py_func"):
            yield from _reach(value, seen)
        else:
            yield Reached(name, value, False)


def _named(code: CodeType, names: Mapping[str, Any]) -> Generator[tuple[str, Any]]:
    """The values of names that a piece of code mentions; of a user's module, its mentioned attributes."""
    mentioned = (*code.co_names, *code.co_freevars)
    for name in mentioned:
        if name not in names:
            continue
        value = names[name]
        if isinstance(value, ModuleType) and not is_library(value.__name__):
            yield from ((f"{name}.{a}", getattr(value, a)) for a in code.co_names if hasattr(value, a))
        elif not isinstance(value, ModuleType):
            yield name, value
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named(constant, names)


def is_library(module: str | None) -> bool:
    name = module or ""
    top = name.split(".")[0]
    return not name.startswith("trimtab.strategies.") and top in {
        "trimtab",
        "numba",
        "numpy",
        "polars",
        "scipy",
        *sys.stdlib_module_names,
    }


def closed_world(subject: Subject) -> list[Finding]:
    """A step may know p, s and x: no memory elsewhere, no way out."""
    found: list[Finding] = []
    for item in reached(subject.strategy):
        if type(item.value).__module__ == "numba.core.withcontexts":
            found.append(
                subject.broken(
                    "purity",
                    "numba.objmode leaves compiled code: from there a step reaches files, clocks and module-level "
                    "memory, none of which live or a snapshot can reproduce. Bring data as fields of the panel, memory "
                    "as State",
                    item.name,
                )
            )
        elif item.default and isinstance(item.value, np.ndarray | list | dict | set):
            found.append(
                subject.broken(
                    "purity",
                    f"the default argument {item.name} is made once and then shared by every call, instrument and run; "
                    "no snapshot holds it. Usual cause: a buffer as a default. Keep it in State",
                    item.name,
                )
            )
    return found


def untouched(subject: Subject) -> list[Finding]:
    """x belongs to the panel: a step that writes into it changes the bars of everyone else."""
    subject = subject.derived()
    for unit in subject.units:
        x = unit.x.copy()
        out = np.full(len(x), np.nan)
        subject.dense(subject.start(), unit.ts, x, out)
        if bits(x) != bits(unit.x):
            place = np.argwhere(x.view(np.int64) != unit.x.view(np.int64))[0]
            row, leg, k = (int(v) for v in place)
            return [
                subject.broken(
                    "purity",
                    f"step wrote {x[row, leg, k]:g} over the {subject.strategy.reads[k]} of {unit.symbols[leg]} "
                    f"({unit.x[row, leg, k]:g}): x is the panel's own memory, so the next model sees changed bars. "
                    "Usual cause: an in-place edit such as x[0, 0] = … or x *= …. Work on a copy, or on a number",
                    subject.strategy.reads[k],
                    (unit, row),
                )
            ]
    return []


def purity(subject: Subject) -> list[Finding]:
    """Everything a step knows comes in through p, s and x, and nothing but its return value goes out."""
    return [*untouched(subject), *closed_world(subject)]
