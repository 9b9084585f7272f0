"""Pages as they came, on the disk: what was asked once and can change no more is never asked again.

    <root>/pages/<source>/<first two digits>/<sha256 of the request>.gz    the request, when it was answered, the page

A file appears whole or not at all. One that cannot be read is one that is not there.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from trimtab.data.sources import Request
from trimtab.data.store import Store, _file_name, _write_atomically


class Kept(NamedTuple):
    """A page, and when it was answered: ns by this machine's clock."""

    body: bytes
    at: int


def path_of(store: Store, source: str, request: Request) -> Path:
    name = hashlib.sha256(msgspec.json.encode([source, request])).hexdigest()
    return store.root / "pages" / _file_name(source) / name[:2] / f"{name}.gz"


def find_page(store: Store, source: str, request: Request) -> Kept | None:
    """The page of a request, if it is kept."""
    try:
        text = gzip.decompress(path_of(store, source, request).read_bytes())
    except (OSError, EOFError, zlib.error):
        return None
    head, _, body = text.partition(b"\n")
    try:
        told, at = msgspec.json.decode(head, type=tuple[Request, int])
    except msgspec.DecodeError:
        return None
    return Kept(body, at) if told == request else None


def keep_page(store: Store, source: str, request: Request, page: Kept) -> None:
    head = msgspec.json.encode((request, page.at))
    packed = gzip.compress(head + b"\n" + page.body, 6, mtime=0)
    _write_atomically(path_of(store, source, request), lambda path: path.write_bytes(packed))


def drop_page(store: Store, source: str, request: Request) -> None:
    path_of(store, source, request).unlink(missing_ok=True)
