"""ccxt at arm's length: public data only, its addresses looked at, its markets found by the names that people use."""

from __future__ import annotations

import email.utils
import importlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from trimtab.types import Instrument, TrimtabError
from trimtab.words import near

#: Hosts that need no encryption: nothing leaves the machine.
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

#: Venues that load more markets than wanted, of which some need a key, unless they are told what to load.
_NARROWED: Final = ("binance", "bybit")


def class_of(venue: str, *flavours: str, extra: str) -> Callable[[Any], Any]:
    """ccxt's class of a venue. The first call loads ccxt, which takes seconds.

    flavours  modules of ccxt, such as ccxt.pro: the first that has the venue counts, and the last has them all
    extra     ours that brings ccxt

    TrimtabError: ccxt is not installed, or knows no such venue.
    """
    try:
        modules: list[Any] = [importlib.import_module(name) for name in flavours]
    except ImportError:
        raise TrimtabError(f"{venue} is read by ccxt, which is not installed: pip install 'trimtab[{extra}]'") from None
    venues = modules[-1].exchanges
    if venue not in venues:
        raise TrimtabError(
            f"ccxt knows no venue {venue!r}{near(venue, venues)}; its {len(venues)} have names like binance"
        )
    return getattr(next(module for module in modules if venue in module.exchanges), venue)


def is_safe_address(url: str) -> bool:
    """Is an address encrypted, or on this machine?"""
    parts = urlsplit(url)
    return parts.scheme in ("https", "wss") or parts.hostname in _LOOPBACK


def refuse_open_addresses(exchange: Any) -> None:
    """TrimtabError for an address of an exchange that is neither encrypted nor on this machine."""
    urls: list[str] = re.findall(r'"([a-z]+://[^"]*)"', json.dumps(exchange.urls["api"]))
    for url in urls:
        if not is_safe_address(url.replace("{hostname}", exchange.hostname or "localhost")):
            raise TrimtabError(f"{exchange.id} would go to {url}, which is not encrypted: expected https or wss")


def narrow(exchange: Any, instruments: Iterable[Instrument]) -> None:
    """Let an exchange load only the markets that are wanted, and nothing for which it asks for a key."""
    if exchange.id in _NARROWED:
        kinds = ["spot", "linear"] if any(i.kind == "perpetual" for i in instruments) else ["spot"]
        exchange.options["fetchMarkets"] = {**exchange.options["fetchMarkets"], "types": kinds}
        exchange.options["fetchCurrencies"] = False
        exchange.has["fetchCurrencies"] = False


def find_market(exchange: Any, instrument: Instrument) -> Any:
    """ccxt's market of an instrument, traded or not: by ccxt's name for it, the venue's own, or its base and quote."""
    symbol, kind = instrument.symbol, "swap" if instrument.kind == "perpetual" else "spot"
    pair = f"{instrument.base}/{instrument.quote}" + (f":{instrument.quote}" if kind == "swap" else "")
    found = [
        exchange.markets.get(symbol),
        *(market for market in exchange.markets_by_id.get(symbol, ()) if market["type"] == kind),
        exchange.markets.get(pair),
    ]
    for market in found:
        if market is not None:
            return market
    names = [*exchange.markets, *(name for name in exchange.markets_by_id if name)]
    raise TrimtabError(
        f"{exchange.id} has no {kind} market {symbol}{near(symbol, names)}; name it like BTC/USDT or BTCUSDT"
    )


def market_of(exchange: Any, instrument: Instrument) -> Any:
    """As `find_market`; TrimtabError, too, for one that is not traded at present."""
    market = find_market(exchange, instrument)
    if market.get("active") is False:
        raise TrimtabError(
            f"{instrument.symbol} is not traded on {exchange.id} at present: take it out of the universe"
        )
    return market


def page_of(exchange: Any, symbol: str) -> int:
    """Bars that a venue gives at one request, as far as ccxt knows."""
    most = exchange.feature_value(symbol, "fetchOHLCV", "limit", 300)
    return max(1, min(int(most or 300), 1_000))


def note_answers(exchange: Any, seen: Callable[[int, Mapping[str, str]], None]) -> None:
    """Show `seen` the status and the headers of each answer of an exchange's REST interface."""
    passed_on = exchange.on_rest_response

    def on_rest_response(code: int, reason: str, url: str, method: str, headers: Any, *rest: Any) -> Any:
        seen(code, headers)
        return passed_on(code, reason, url, method, headers, *rest)

    exchange.on_rest_response = on_rest_response


def note_pauses(exchange: Any, pause: Callable[[float], None]) -> None:
    """Tell `pause` for how many seconds a venue wants to be left alone, whenever it answers 418 or 429."""

    def seen(code: int, headers: Mapping[str, str]) -> None:
        if code in (418, 429):
            pause(pause_asked(headers))

    note_answers(exchange, seen)


def pause_asked(headers: Mapping[str, str]) -> float:
    """Seconds for which an answer asks to be left alone: Retry-After in seconds, or as a date; 0: it says nothing."""
    named = {name.lower(): value for name, value in headers.items()}
    said = named.get("retry-after", "").strip()
    if said.isdigit():
        return float(said)
    until, now = date_of(said), date_of(named.get("date", ""))
    return max((until - now) / 1e9, 0.0) if until and now else 0.0


def date_of(text: str) -> int:
    """ns UTC of a date as HTTP writes it; 0: it is none."""
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except (TypeError, ValueError):
        return 0
