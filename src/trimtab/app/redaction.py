"""Secrets taken out of whatever is about to be written: by the name they stand under, and by what they are.

A name is enough for `signature=…` in a signed URL or `'APCA-API-SECRET-KEY': '…'` in an exception; what stands under no
name is found because whoever loads a secret registers it.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np

from trimtab.types import TrimtabError

#: What stands where a secret stood.
REDACTED: Final = "***"
#: A shorter secret would be found in harmless text.
SHORTEST: Final = 4

#: Telling inside any name, whatever is written around them …
_LONG: Final = (
    r"secret|signature|passw(?:or)?d|passphrase|authorization|api[-_.]?key|credential|listen[-_.]?key|mnemonic"
)
#: … and telling only as a word of their own: KEYUSDT is a symbol.
_SHORT: Final = r"keys?|tokens?|sign|sig|auth|cookies?|otp|pin|pwd|private|bearer|seed[-_.]phrase"
_EDGE: Final = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
_NAME: Final = re.compile(rf"{_LONG}|{_EDGE.format(f'(?:{_SHORT})')}", re.IGNORECASE)
_ERROR: Final = re.compile(r"(?:Error|Exception|Warning)$")  # KeyError is no key
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_VALUE: Final = re.compile(
    r"""\\+".*?\\+"|\\+'.*?\\+'|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;&"'<>})\]]+|["'\\]+.+"""
)
_IS: Final = r"""\\*["']?\s*(?:=>|[:=]|%3[AaDd])\s*(?:b(?=["']))?|["']\s*,\s*(?=["'])"""  # a pair may be a tuple
_NAMED: Final = re.compile(rf"(?<![\w.\-])(?P<name>[\w.\-]+)(?:{_IS})")
#: Headers whose value is several words.
_HEADER: Final = re.compile(
    r"""(?i)(\b(?:proxy-)?authorization|\b(?:set-)?cookie)(\\*["']?\s*[:=]\s*b?\\*["']?)[^\r\n"'\\]+"""
)
_BARE: Final = re.compile(r"\b(Bearer|Basic)(\s+)[A-Za-z0-9+/_.~=-]{8,}")
_USERINFO: Final = re.compile(r"""(?<=://)[^\s@"']{1,300}(?=@)""")
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


@functools.lru_cache(4_096)
def is_secret_name(name: str) -> bool:
    """Does what stands under this name (a key, a header, a query parameter) look like a secret?"""
    if _ERROR.search(name):
        return False
    return _NAME.search(name) is not None or _NAME.search(_HUMP.sub("_", name)) is not None


class Redaction:
    """Takes secrets out of texts and of what is built of texts; `add` tells it one that it shall know everywhere."""

    def __init__(self, *secrets: str):
        self._known: set[str] = set()
        self._find: re.Pattern[str] | None = None
        self._seen: dict[str, str] = {}  # short texts: names come again and again
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Know a secret from now on, as it is and as URLs, JSON, Python and HTTP spell it; nothing, if it is empty."""
        if not secret.strip():
            return
        if len(secret.strip()) < SHORTEST:
            raise TrimtabError(
                f"a secret of {len(secret.strip())} characters cannot be kept out of the logs: it would be found in "
                f"harmless text too; use one of {SHORTEST} or more"
            )
        lines = [line.strip() for line in secret.splitlines() if len(line.strip()) >= 16]  # of a key file
        for text in {secret, secret.strip(), *lines}:
            self._known |= {spelled for spelled in _spellings(text) if len(spelled) >= SHORTEST}
        longest = sorted(self._known, key=lambda text: (-len(text), text))
        self._find = re.compile("|".join(map(re.escape, longest)))
        self._seen = {}

    def text(self, text: str) -> str:
        """The text without what was registered, and without what stands under a name that looks like a secret."""
        seen = self._seen  # another thread that adds a secret puts a new one in its place
        if text in seen:
            return seen[text]
        left = _unnamed(self._find.sub(REDACTED, text) if self._find is not None else text)
        if len(text) <= 64:
            if len(seen) >= 4_096:
                seen.clear()
            seen[text] = left
        return left

    def value(self, value: Any) -> Any:
        """Likewise for mappings, lists, bytes, errors and whatever else has a text; numbers stay numbers."""
        if value is None or type(value) in (bool, int, float):
            return value
        if isinstance(value, np.generic | np.ndarray):
            return self.value(cast("Any", value).tolist())
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes | bytearray):
            return self.text(bytes(value).decode("utf-8", "replace"))
        if isinstance(value, Mapping):
            pairs = cast("Mapping[Any, Any]", value).items()
            return {self.text(str(k)): REDACTED if is_secret_name(str(k)) else self.value(v) for k, v in pairs}
        if isinstance(value, list | tuple | set | frozenset):
            items = list(cast("list[Any]", value))
            if len(items) == 2 and isinstance(items[0], str) and is_secret_name(items[0]):  # a header
                return [items[0], REDACTED]
            return [self.value(item) for item in items]
        return self.text(str(value))


def _unnamed(text: str) -> str:
    text = _USERINFO.sub(REDACTED, _PEM.sub(REDACTED, text))
    text = _HEADER.sub(rf"\1\2{REDACTED}", text)
    return _BARE.sub(rf"\1\2{REDACTED}", _unnamed_pairs(text))


def _unnamed_pairs(text: str) -> str:
    """Values go where their names look like secrets; elsewhere they are looked into: url=https://…?signature=…"""
    parts: list[str] = []
    done = at = 0
    while found := _NAMED.search(text, at):
        at = found.end()
        value = _VALUE.match(text, at) if is_secret_name(found["name"]) else None
        if value is not None:
            parts += text[done:at], REDACTED
            done = at = value.end()
    return "".join((*parts, text[done:]))


def _spellings(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    standard = base64.b64encode(raw).decode()
    return {
        secret,
        urllib.parse.quote(raw, safe=""),
        urllib.parse.quote(raw),
        urllib.parse.quote_plus(raw),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        standard,
        standard.rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        raw.hex(),
    }
