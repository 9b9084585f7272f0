"""How Trimtab compiles (L0): where the cache lives and the options of each kind of compiled function.

numba's disk cache looks at the file of a function and not at the modules that it imports, so the cache folder's name
carries a hash of every source that can end up inside a compiled loop: an edit to one of them starts a new folder.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SOURCES = (
    "compiled",
    "types.py",
    "kernels",
    "rules",
    "sim",
    "strategies",
    "portfolio",
)


def source_hash() -> str:
    """sha256 (16 hex digits) over the paths and bytes of all sources that are compiled, in sorted order."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(sys.version.encode())
    for name in _SOURCES:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
            digest.update(str(file.relative_to(root)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """`$TRIMTAB_CACHE`, else `$XDG_CACHE_HOME/trimtab`, else `~/.cache/trimtab`; then a folder per source hash."""
    root = os.environ.get("TRIMTAB_CACHE")
    if not root:
        root = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache"), "trimtab")
    return Path(root) / f"compiled-{source_hash()}"


def point_cache() -> None:
    """Send numba's disk cache to `cache_folder()`, before or after numba was imported; a user's own choice stays."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    folder = str(cache_folder())
    os.environ["NUMBA_CACHE_DIR"] = folder
    config = sys.modules.get("numba.core.config")
    if config is not None:
        config.CACHE_DIR = folder  # type: ignore[attr-defined]  # numba's config module has no stubs


def _made(kind: str, function: Callable[..., Any], **options: Any) -> Any:
    """A function by one of our pipelines; typed loosely, because numba publishes no types."""
    from trimtab.compiled import pipeline

    point_cache()  # numba chooses a function's cache when it is decorated
    return pipeline.made(getattr(pipeline, kind), function, nogil=True, error_model="numpy", **options)


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a rule that Python calls: cached, releasing the GIL, IEEE division, no reference counts.

    Reference counting of the book's arrays costs more than the trading. `_nrt=False` (private in numba, hence the pin
    and the canary test) turns it off; such a function must never allocate or return an array.
    """
    return _made("Entry", function, cache=True, _nrt=False)


def rule(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a rule on scalars: inlined wherever compiled code calls it, and callable from Python too."""
    return _made("Rule", function, _nrt=False)


def loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop that may allocate: cached, releasing the GIL, IEEE division, with reference counts."""
    return _made("Loop", function, cache=True)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of a rule that holds the book: always inlined, and never called from Python.

    What would unpack a book's arrays for Python costs more to compile than the part itself. An `entry` calls it.
    """
    return _made("Part", function, _nrt=False)


#: A part with a single caller. It used to be pasted before types are inferred, which no longer pays.
spliced = part


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part that is called and not inlined: for what happens seldom and would swell the loop around it."""
    return _made("Apart", function, _nrt=False)
