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

_SOURCES = ("compiled.py", "types.py", "kernels", "rules", "sim", "strategies")


def source_hash() -> str:
    """sha256 (16 hex digits) over the paths and bytes of all sources that are compiled, in sorted order."""
    root = Path(__file__).parent
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


def rule(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a trading rule or a part of a driver: cached, releasing the GIL, IEEE division, no reference counts.

    Reference counting of the book's arrays costs more than the trading. `_nrt=False` (private in numba, hence the pin
    and the canary test) turns it off; such a function must never allocate or return an array.
    """
    from numba import njit

    return njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """A rule that is always inlined where it is called: small, or with a single call site."""
    from numba import njit

    return njit(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)(function)
