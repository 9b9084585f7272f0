"""Synthetic bars through the same door as real ones: `trimtab data download --source synthetic`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from trimtab.data.catalogue import SYNTHETIC, SYNTHETIC_CLASSES, default_instrument
from trimtab.data.sources import Answer, Listing, Request, Whole
from trimtab.data.sources.frames import bars_of
from trimtab.research.synthetic import FIRST, synthetic_frames
from trimtab.types import DAY, TrimtabError
from trimtab.words import near

if TYPE_CHECKING:
    import polars as pl

#: Years are made whole, from 2001 on, so that a later end changes no bar before it.
_END: Final = FIRST + 40 * 365 * DAY


class SyntheticSource:
    """Forty years of bars of a symbol, of which those asked for are given: the same bars at every call.

    Symbols are written CLASS:SYMBOL, such as perpetual:BTC; without a class they are crypto.
    """

    name = SYNTHETIC
    timeframes: tuple[str, ...] = ("1h", "4h", "1d")
    leaps = False
    delay = 0
    pace = 0.0

    def request_for(self, symbol: str) -> None:
        return None

    def listing(self, symbol: str, body: bytes) -> Listing:
        named, colon, ours = symbol.rpartition(":")
        named = named if colon else "crypto"
        if named not in SYNTHETIC_CLASSES:
            raise TrimtabError(
                f"synthetic: no class {named!r}{near(named, SYNTHETIC_CLASSES)}: expected "
                f"{', '.join(SYNTHETIC_CLASSES)}"
            )
        asset_class, kind = SYNTHETIC_CLASSES[named]
        return Listing(ours, symbol, default_instrument(ours, asset_class, SYNTHETIC, kind))

    def beside(self, listing: Listing) -> tuple[str, ...]:
        return ()

    def window(self, what: str, timeframe: str) -> int:
        return _END  # all of it

    def ask(self, request: Request) -> Answer:
        instrument = self.listing(request.market, b"").instrument
        assert instrument is not None  # nosec B101  # for the types
        frame = synthetic_frames(0, [instrument], request.timeframe, FIRST, _END)[instrument.symbol]
        return Answer(json.dumps([[int(at.timestamp()) * 1_000_000, *row] for at, *row in frame.iter_rows()]).encode())

    def read(self, request: Request, body: bytes) -> pl.DataFrame:
        return bars_of(self.name, json.loads(body))

    def whole(self, bars: pl.DataFrame, beside: Mapping[str, pl.DataFrame], timeframe: str) -> Whole:
        return Whole(bars)
