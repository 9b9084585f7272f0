"""Where history comes from. A source knows how to ask for one page and how to read it; the rest is `data.download`'s.

A source of your own is a value with these members, under a name in the entry point group `trimtab.sources`:

    [project.entry-points."trimtab.sources"]
    myvendor = "my_package.bars:open_source"        # called without arguments -> Source
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from trimtab.types import Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl

GROUP: Final = "trimtab.sources"


class TryAgain(Exception):
    """An answer that may be another one soon: too many requests, a fault of the server, a cut or unreadable answer.

    pause  seconds for which the source wants to be left alone; 0: it does not say
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class Refused(TrimtabError):
    """An answer that asking again does not change, with what to do instead."""


class Request(msgspec.Struct, frozen=True):
    """One page. Its fields name it in the cache, so equal requests must mean the same page.

    what        market, bars, values (a series that nobody trades), or what else a source keeps (`Source.beside`)
    start, end  ns UTC: rows from `start` on, and if the source can be told so, before `end` (0: the first that it has)
    """

    what: str
    market: str
    timeframe: str = ""
    start: int = 0
    end: int = 0


class Answer(NamedTuple):
    """A page as it came, and the instant by the source's own clock (ns UTC; 0: it does not tell)."""

    body: bytes
    now: int = 0


class Listing(msgspec.Struct, frozen=True):
    """A market of a source, and what it is here.

    symbol      ours
    instrument  None: a series that nobody trades, such as a yield
    lag         of such a series, ns from a value's date label to its publication
    """

    symbol: str
    market: str
    instrument: Instrument | None = None
    lag: int = 0
    notes: tuple[str, ...] = ()


class Whole(NamedTuple):
    """What the pages of a series come to.

    bars    open_time (us, UTC), open … volume, EXTRAS that are known, and asked_at of the page (ns)
    events  ts (us, UTC: the ex-date at 00:00), kind (split, dividend), value (new shares per old one; cash per share in
            raw terms); None: this source has none
    """

    bars: pl.DataFrame
    events: pl.DataFrame | None = None


class Source(Protocol):
    """A place that history comes from.

    timeframes  that it has; empty: a source of series that nobody trades
    beside      what it has beside bars, such as funding or actions, of a listing
    leaps       may be asked without an end, for the first bars from an instant on, however far away
    delay       ns after its close at which a bar is final
    pace        seconds between two requests
    """

    name: str
    timeframes: tuple[str, ...]
    leaps: bool
    delay: int
    pace: float

    def request_for(self, symbol: str) -> Request | None:
        """What to ask in order to know a symbol, by the name that the user gives; None: nothing."""
        ...

    def listing(self, symbol: str, body: bytes) -> Listing:
        """What a symbol is, out of the answer. Refused where it is nothing that can be stored."""
        ...

    def beside(self, listing: Listing) -> tuple[str, ...]: ...

    def window(self, what: str, timeframe: str) -> int:
        """ns that one request spans at most: windows begin at multiples of it, and equal pages are equal requests."""
        ...

    def ask(self, request: Request) -> Answer:
        """One page over the network. TryAgain or Refused."""
        ...

    def read(self, request: Request, body: bytes) -> pl.DataFrame:
        """The rows of a page: open_time or ts (us, UTC) first, and its values. TryAgain where it is no such page."""
        ...

    def whole(self, bars: pl.DataFrame, beside: Mapping[str, pl.DataFrame], timeframe: str) -> Whole:
        """The bars of all pages as they are stored: raw prices, with what was asked for beside them.

        All frames have asked_at (ns by our clock): when the page came.
        """
        ...


def find_source(name: str, more: Mapping[str, Callable[[], Source]] | None = None) -> Source:
    """A source by its name: built in, an entry point's, else a venue of ccxt (`ccxt:alpaca` where the name is taken).

    more  sources that the caller brings

    TrimtabError: there is none, or a plug-in's cannot be loaded.
    """
    if more and name in more:
        return more[name]()
    if name == "yfinance":
        from trimtab.data.sources.yfinance import YfinanceSource

        return YfinanceSource()
    if name == "alpaca":
        from trimtab.data.sources.alpaca import AlpacaSource

        return AlpacaSource()
    if name == "fred":
        from trimtab.data.sources.fred import FredSource

        return FredSource()
    for point in entry_points(group=GROUP, name=name):
        try:
            return point.load()()
        except Exception as error:  # whatever the plug-in does
            raise TrimtabError(
                f"the source {name} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
            ) from error
    from trimtab.data.sources.ccxt import CcxtSource

    return CcxtSource(name.removeprefix("ccxt:"))
