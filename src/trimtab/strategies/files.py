"""A user's file as a module: read, named by its text, imported; and its strategy, checked against the contract."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from trimtab.types import BAR_FIELDS, Fit, Indicator, Strategy, TrimtabError

#: How the names of strategy files' modules begin.
MODULE: Final = "trimtab_strategy_"


def rooted(name: str) -> str:
    """A strategy file by its whole path, so that it is found from any folder; a strategy's name stays as it is."""
    return str(Path(name).expanduser().resolve()) if name.endswith(".py") else name


def load(path: str) -> Strategy:
    """The STRATEGY of a .py file, checked."""
    module, file = module_of(path, "STRATEGY")
    return checked(getattr(module, "STRATEGY", None), str(file))


def module_of(path: str, holds: str) -> tuple[ModuleType, Path]:
    """A user's .py file as a module, and its whole path; holds: the name that is looked for in it, for messages.

    The module's name carries the path and a hash of the text and stands in sys.modules. So the file's NamedTuples can
    be pickled, which the disk cache of compiled code needs; an edited file is another module; an unchanged one is
    reused.
    """
    file = Path(path).expanduser().resolve()
    if file.suffix != ".py":
        other = "a strategy's name or " if holds == "STRATEGY" else ""
        raise TrimtabError(f"{path}: expected {other}a .py file.")
    try:
        source = file.read_bytes()
    except FileNotFoundError:
        raise TrimtabError(
            f"{file}: there is no such file; a relative path counts from the folder of the spec that names it, else "
            "from the folder you are in."
        ) from None
    except OSError as error:
        raise TrimtabError(f"{file}: cannot be read ({error.strerror}); expected a .py file with {holds}.") from error
    digest = hashlib.sha256(str(file).encode() + b"\0" + source).hexdigest()[:16]
    name = f"{MODULE}{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}_{digest}"
    return sys.modules.get(name) or _import(name, file, source), file


def checked(value: Any, where: str) -> Strategy:
    """The value itself if it is a usable Strategy; else a TrimtabError that names the first fault and where it is."""
    if value is None:
        raise TrimtabError(
            f"{where}: holds no STRATEGY; expected STRATEGY = Strategy(name=…, fields=…, params=Params(), …)."
        )
    if not isinstance(value, Strategy):
        raise TrimtabError(f"{where}: STRATEGY is of type {type(value).__name__}; expected a trimtab.types.Strategy.")
    fault = _fault(value)
    if fault:
        raise TrimtabError(f"{where}: STRATEGY.{fault}")
    return value


def _import(name: str, file: Path, source: bytes) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None:
        raise TrimtabError(f"{file}: cannot be imported; expected a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _cache_folder(name):
            # Compiled from the text that was hashed: Python's own cache goes by time and size, and may be older.
            exec(compile(source, str(file), "exec", dont_inherit=True), module.__dict__)  # nosec B102
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, SyntaxError):
            raise TrimtabError(f"{error.filename or file}, line {error.lineno}: {error.msg}.") from error
        if isinstance(error, Exception | SystemExit):
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
            line = f", line {lines[-1]}" if lines else ""
            raise TrimtabError(f"{file}{line}: {type(error).__name__}: {error}.") from error
        raise
    _name_apart(module, name.rpartition("_")[2])
    return module


def _name_apart(module: ModuleType, digest: str) -> None:
    """Give the file's NamedTuples names of their own.

    Every strategy file has a Params and a State, and numba takes two NamedTuples of one name and the same member types
    for one type when it compiles: the second file's cached code would then ask for the first file's module.
    """
    for value in list(vars(module).values()):
        if isinstance(value, type) and issubclass(value, tuple) and value.__module__ == module.__name__:
            value.__name__ = value.__qualname__ = f"{value.__name__}_{digest}"
            setattr(module, value.__name__, value)  # where pickle looks for it


@contextmanager
def _cache_folder(name: str) -> Generator[None]:
    """While a file is imported, give its compiled functions a folder of the cache for this very text.

    numba chooses the folder when a function is decorated, and reads all of an old index before it compares dates: an
    index that an earlier text has left would ask for a module that no longer exists.
    """
    # Kernels first, or those that the file is the first to import would be compiled again for every text.
    for kernel in ("window", "regression", "smoothing", "kalman"):
        importlib.import_module(f"trimtab.kernels.{kernel}")
    config = cast(Any, importlib.import_module("numba.core.config"))
    shared = config.CACHE_DIR
    config.CACHE_DIR = os.path.join(shared, name)
    try:
        yield
    finally:
        config.CACHE_DIR = shared


def _fault(s: Any) -> str:
    """What is wrong with the first wrong member, as 'member …', or nothing."""
    callables = {"init": s.init, "step": s.step, "warmup": s.warmup, "legs": s.legs}
    callables |= {"across": s.across, "explain": s.explain}
    for member, function in callables.items():
        if not callable(function) and not (function is None and member in ("legs", "across", "explain")):
            return f"{member} is {function!r}; expected a function."
    if not (isinstance(s.name, str) and s.name.isidentifier()):
        return f"name is {s.name!r}; expected letters, digits and underscores."
    fields: Any = s.fields
    if not (isinstance(fields, tuple) and fields and len(set(cast(tuple[Any, ...], fields))) == len(fields)):
        return f"fields is {fields!r}; expected a tuple of one or more different column names, such as ('close',)."
    if not (isinstance(s.n_legs, int) and s.n_legs >= 0):
        return f"n_legs is {s.n_legs!r}; expected 1 or more, or 0 for all that the model trades."
    if s.n_legs != 1 and s.legs is None:
        return f"legs is missing; expected legs(p, s, x, f) -> weights of the {s.n_legs or 'L'} legs."
    return _indicators_fault(s.indicators, fields) or _fit_fault(s.fit) or _params_fault(s.params, s.ranges)


def _indicators_fault(indicators: Any, fields: tuple[str, ...]) -> str:
    if not isinstance(indicators, tuple):
        return f"indicators is {indicators!r}; expected a tuple of trimtab.Indicator(name, make, fields, warmup)."
    found = cast(tuple[Any, ...], indicators)
    names = [getattr(each, "name", None) for each in found]
    for k, each in enumerate(found):
        if not isinstance(each, Indicator):
            return f"indicators[{k}] is {each!r}; expected trimtab.Indicator(name, make, fields, warmup)."
        fault = _indicator_fault(each, names, fields)
        if fault:
            return f"indicators[{k}].{fault}"
    return ""


def _indicator_fault(each: Any, names: list[Any], fields: tuple[str, ...]) -> str:
    if not (isinstance(each.name, str) and each.name.isidentifier()) or each.name in (*BAR_FIELDS, "ticks", "ts"):
        return f"name is {each.name!r}; expected letters, digits and underscores, and not the name of a bar's field."
    if names.count(each.name) > 1:
        return f"name is {each.name!r}, as another's; expected different names."
    if each.name not in fields:
        return f"name is {each.name!r}, which STRATEGY.fields does not have: expected it there, where step reads it."
    if not callable(each.make):
        return f"make is {each.make!r}; expected a function make(p, frame) that returns a Polars expression."
    own: Any = each.fields
    if not (isinstance(own, tuple) and own and len(set(cast(tuple[Any, ...], own))) == len(own)):
        return f"fields is {own!r}; expected a tuple of one or more different column names, such as ('close',)."
    nested = next((field for field in own if field in names), None)
    if nested is not None:
        return f"fields has {nested!r}, an indicator; expected fields of the bars: compute the one inside the other."
    if not callable(each.warmup) and (isinstance(each.warmup, bool) or not isinstance(each.warmup, int)):
        return f"warmup is {each.warmup!r}; expected a number of rows, or a function of the parameters."
    return ""


def _fit_fault(fit: Any) -> str:
    if fit is None:
        return ""
    if not isinstance(fit, Fit):
        return f"fit is {fit!r}; expected trimtab.types.Fit(of=…, window=…, every=…)."
    wrong = next((name for name in ("of", "window", "every") if not callable(getattr(fit, name))), "")
    return f"fit.{wrong} is {getattr(fit, wrong)!r}; expected a function of the parameters." if wrong else ""


def _params_fault(params: Any, ranges: Any) -> str:
    if not (isinstance(params, tuple) and hasattr(params, "_fields")):
        return f"params is {params!r}; expected an instance of a NamedTuple: its defaults."
    values: dict[str, Any] = cast(Any, params)._asdict()
    for name, value in values.items():
        if not isinstance(value, bool | int | float):
            return f"params.{name} is {value!r}; expected a number or a bool (choices are integer codes)."
    for name, bounds in ranges.items():
        if name not in values:
            return f"ranges has {name!r}, which is no parameter; parameters: {', '.join(values) or 'none'}."
        if not (isinstance(bounds, tuple) and len(cast(tuple[Any, ...], bounds)) == 2):
            return f"ranges[{name!r}] is {bounds!r}; expected (low, high)."
        if not bounds[0] <= values[name] <= bounds[1]:
            return f"ranges[{name!r}] is {bounds[0]:g} to {bounds[1]:g}, but its default is {values[name]}."
    return ""
