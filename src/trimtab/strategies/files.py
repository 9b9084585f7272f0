"""A user's strategy file as a module: read, named by its text, imported, and checked against the contract."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from trimtab.compiled import point_cache
from trimtab.types import Strategy, TrimtabError


def load(path: str) -> Strategy:
    """The STRATEGY of a .py file.

    The module's name carries the path and a hash of the text and stands in sys.modules. So the file's NamedTuples can
    be pickled, which the disk cache of compiled code needs; an edited file is another module; an unchanged one is
    reused.
    """
    file = Path(path).expanduser().resolve()
    if file.suffix != ".py":
        raise TrimtabError(f"{path}: expected a strategy's name or a .py file.")
    try:
        source = file.read_bytes()
    except OSError as error:
        raise TrimtabError(f"{file}: cannot be read ({error.strerror}); expected a .py file with STRATEGY.") from error
    digest = hashlib.sha256(str(file).encode() + b"\0" + source).hexdigest()[:16]
    name = f"trimtab_strategy_{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}_{digest}"
    module = sys.modules.get(name) or _import(name, file, source)
    return checked(getattr(module, "STRATEGY", None), str(file))


def checked(value: Any, where: str) -> Strategy:
    """The value itself if it is a usable Strategy; else a TrimtabError that names the first fault and where it is."""
    if value is None:
        raise TrimtabError(
            f"{where}: holds no STRATEGY; expected STRATEGY = Strategy(name=…, fields=…, params=Params(), …)."
        )
    if not isinstance(value, Strategy):
        raise TrimtabError(f"{where}: STRATEGY is a {type(value).__name__}; expected a trimtab.types.Strategy.")
    fault = _fault(value)
    if fault:
        raise TrimtabError(f"{where}: STRATEGY.{fault}")
    return value


def _import(name: str, file: Path, source: bytes) -> ModuleType:
    # A file may import numba before any kernel; its compiled code belongs into the same cache as ours.
    point_cache()
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None:
        raise TrimtabError(f"{file}: cannot be imported; expected a .py file with STRATEGY.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Compiled from the text that was hashed: Python's own cache goes by time and size, and may be older.
        exec(compile(source, str(file), "exec", dont_inherit=True), module.__dict__)  # nosec B102
    except SyntaxError as error:
        del sys.modules[name]
        raise TrimtabError(f"{error.filename or file}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = f", line {lines[-1]}" if lines else ""
        raise TrimtabError(f"{file}{line}: {type(error).__name__}: {error}.") from error
    return module


def _fault(s: Strategy) -> str:
    """What is wrong with the first wrong member, as 'member …', or nothing."""
    callables = {"init": s.init, "step": s.step, "warmup": s.warmup, "legs": s.legs, "across": s.across}
    for member, function in callables.items():
        if not callable(function) and not (function is None and member in ("legs", "across")):
            return f"{member} is {function!r}; expected a function."
    if not s.name.isidentifier():
        return f"name is {s.name!r}; expected letters, digits and underscores."
    if not s.fields or len(set(s.fields)) < len(s.fields):
        return f"fields is {s.fields!r}; expected one or more different column names, such as ('close',)."
    if s.n_legs < 1:
        return f"n_legs is {s.n_legs}; expected 1 or more."
    if s.n_legs > 1 and s.legs is None:
        return f"legs is missing; expected legs(p, s, x, f) -> weights of the {s.n_legs} legs."
    return _params_fault(s.params, s.ranges)


def _params_fault(params: Any, ranges: Mapping[str, tuple[float, float]]) -> str:
    if not (isinstance(params, tuple) and hasattr(params, "_fields")):
        return f"params is {params!r}; expected an instance of a NamedTuple: its defaults."
    values: dict[str, Any] = dict(zip(getattr(params, "_fields"), params, strict=True))  # noqa: B009
    for name, value in values.items():
        if not isinstance(value, bool | int | float):
            return f"params.{name} is {value!r}; expected a number or a bool (choices are integer codes)."
    for name, (low, high) in ranges.items():
        if name not in values:
            return f"ranges has {name!r}, which is no parameter; parameters: {', '.join(values) or 'none'}."
        if not low <= values[name] <= high:
            return f"ranges[{name!r}] is {low:g} to {high:g}, but its default is {values[name]}."
    return ""
