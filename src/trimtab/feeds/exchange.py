"""ccxt at arm's length: public data only, its addresses looked at, and its stream read by us before it reads it.

ccxt 4.5.90's own loop over a stream ends unseen at the first message that it cannot read, loses a bar's closed flag,
and gives an awaiter only what came last. So every message is looked at first: what a venue says of closed bars is taken
from there, and a message that cannot be read is counted and left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from trimtab.types import Instrument, TrimtabError
from trimtab.words import near

#: Hosts that need no encryption: nothing leaves the machine.
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

#: Venues that load more markets than wanted, of which some need a key, unless they are told what to load.
_NARROWED: Final = ("binance", "bybit")


def maker_of(venue: str) -> Callable[[Any], Any]:
    """ccxt's class of a venue, with streams where ccxt has them. The first call loads ccxt, which takes seconds.

    TrimtabError: ccxt is not installed, or knows no such venue.
    """
    try:
        import ccxt.async_support as polled
        import ccxt.pro as streamed
    except ImportError:
        raise TrimtabError("the feed ccxt needs what is not installed: pip install 'trimtab[live]'") from None
    if venue not in polled.exchanges:
        known = near(venue, polled.exchanges)
        raise TrimtabError(f"ccxt knows no venue {venue!r}{known}; its {len(polled.exchanges)} have names like binance")
    return getattr(streamed if venue in streamed.exchanges else polled, venue)


def open_exchange(venue: str, configure: Callable[[Any], None] | None = None) -> Any:
    """A ccxt exchange by its id, without any key.

    configure  what is done to it first (a test's venue on loopback)

    TrimtabError: as `maker_of`, or it would go to an address without encryption.
    """
    exchange = maker_of(venue)({"enableRateLimit": True, "timeout": 10_000})
    exchange.newUpdates = False  # the last bars whenever there is news, also those that came while nobody waited
    if configure is not None:
        configure(exchange)
    refuse_open_addresses(exchange)
    return exchange


def refuse_open_addresses(exchange: Any) -> None:
    """TrimtabError for an address of an exchange that is neither encrypted nor on this machine."""
    urls: list[str] = re.findall(r'"([a-z]+://[^"]*)"', json.dumps(exchange.urls["api"]))
    for url in urls:
        parts = urlsplit(url.replace("{hostname}", exchange.hostname or "localhost"))
        if parts.scheme not in ("https", "wss") and parts.hostname not in _LOOPBACK:
            raise TrimtabError(f"{exchange.id} would go to {url}, which is not encrypted: expected https or wss")


def narrow(exchange: Any, instruments: Iterable[Instrument]) -> None:
    """Let an exchange load only the markets that are wanted, and nothing for which it asks for a key."""
    if exchange.id in _NARROWED:
        kinds = ["spot", "linear"] if any(i.kind == "perpetual" for i in instruments) else ["spot"]
        exchange.options["fetchMarkets"] = {**exchange.options["fetchMarkets"], "types": kinds}
        exchange.options["fetchCurrencies"] = False
        exchange.has["fetchCurrencies"] = False


def market_of(exchange: Any, instrument: Instrument) -> Any:
    """ccxt's market of an instrument: by ccxt's name for it, by the venue's own, or by its base and quote."""
    symbol, kind = instrument.symbol, "swap" if instrument.kind == "perpetual" else "spot"
    pair = f"{instrument.base}/{instrument.quote}" + (f":{instrument.quote}" if kind == "swap" else "")
    found = [
        exchange.markets.get(symbol),
        *(market for market in exchange.markets_by_id.get(symbol, ()) if market["type"] == kind),
        exchange.markets.get(pair),
    ]
    for market in found:
        if market is not None:
            if market.get("active") is False:
                raise TrimtabError(f"{symbol} is not traded on {exchange.id} at present: take it out of the universe")
            return market
    names = [*exchange.markets, *(name for name in exchange.markets_by_id if name)]
    raise TrimtabError(
        f"{exchange.id} has no {kind} market {symbol}{near(symbol, names)}; name it like BTC/USDT or BTCUSDT"
    )


class Frame(NamedTuple):
    """A candle as a venue's stream tells it: market and timeframe by the venue's names, open_time in ms.

    numbers  open, high, low, close, volume
    """

    market: str
    interval: str
    open_time: int
    numbers: tuple[float, float, float, float, float]
    closed: bool


def _numbers(told: Any, names: Sequence[str]) -> tuple[float, float, float, float, float]:
    o, h, l, c, v = (float(told[name]) for name in names)  # noqa: E741
    return o, h, l, c, v


def _binance(message: Any) -> Iterator[Frame]:
    """{"e":"kline","k":{"t":…,"s":…,"i":…,"o":…,"c":…,"h":…,"l":…,"v":…,"x":closed}}"""
    data: Any = message.get("data", message)
    if data.get("e") == "kline":
        k = data["k"]
        yield Frame(str(k["s"]), str(k["i"]), int(k["t"]), _numbers(k, "ohlcv"), k["x"] is True)


def _bybit(message: Any) -> Iterator[Frame]:
    """{"topic":"kline.1.BTCUSDT","data":[{"start":…,"open":…,…,"confirm":closed}]}"""
    topic = str(message.get("topic", ""))
    if topic.startswith("kline."):
        _, interval, market = topic.split(".", 2)
        for k in message["data"]:
            numbers = _numbers(k, ("open", "high", "low", "close", "volume"))
            yield Frame(market, interval, int(k["start"]), numbers, k["confirm"] is True)


#: Venues whose streams say when a bar has closed, and how to read it.
FLAGGED: Final[Mapping[str, Callable[[Any], Iterator[Frame]]]] = {
    "binance": _binance,
    "binanceus": _binance,
    "binanceusdm": _binance,
    "bybit": _bybit,
    "bybiteu": _bybit,
}


def is_farewell(message: Any) -> bool:
    """Does a venue say that it is about to close the connection?"""
    data: Any = message.get("data", message)
    return hasattr(data, "get") and data.get("e") == "serverShutdown"


def look_at_messages(exchange: Any, seen: Callable[[Any], None], unreadable: Callable[[], None]) -> None:
    """Show every message of an exchange's streams to `seen` before ccxt reads it; neither can end the stream.

    A message that either cannot read is left out, and `unreadable` is told.
    """
    read_by_ccxt, client_of = exchange.handle_message, exchange.client

    def handle_message(client: Any, message: Any) -> None:
        try:
            seen(message)
        finally:
            read_by_ccxt(client, message)

    def client(url: str) -> Any:
        made = client_of(url)
        if "handle_text_or_binary_message" not in vars(made):
            whole = made.handle_text_or_binary_message

            def handle_text(data: Any) -> None:
                try:
                    whole(data)
                except Exception:  # whatever it was: ccxt would stop reading without a word
                    unreadable()

            made.handle_text_or_binary_message = handle_text
        return made

    exchange.handle_message = handle_message
    exchange.client = client


def watch(exchange: Any, symbols: Sequence[str], timeframe: str) -> list[Callable[[], Any]]:
    """What to call again and again, each at the same time as the others, to hear of all symbols.

    Each call returns {symbol: {timeframe: [[open_time ms, open, high, low, close, volume], …]}}, the last few.
    """
    if exchange.has.get("watchOHLCVForSymbols"):

        def several(part: Sequence[str]) -> Callable[[], Any]:
            wanted = [[symbol, timeframe] for symbol in part]
            return lambda: exchange.watch_ohlcv_for_symbols(wanted, None, 3)

        return [several(symbols[k : k + 50]) for k in range(0, len(symbols), 50)]

    def single(symbol: str) -> Callable[[], Any]:
        async def one() -> Any:
            return {symbol: {timeframe: await exchange.watch_ohlcv(symbol, timeframe, None, 3)}}

        return one

    return [single(symbol) for symbol in symbols]


def has_stream(exchange: Any) -> bool:
    return bool(exchange.has.get("watchOHLCV"))


def page_of(exchange: Any, symbol: str) -> int:
    """Bars that a venue gives at one request, as far as ccxt knows."""
    most = exchange.feature_value(symbol, "fetchOHLCV", "limit", 300)
    return max(1, min(int(most or 300), 1_000))


def note_pauses(exchange: Any, pause: Callable[[float], None]) -> None:
    """Tell `pause` for how many seconds a venue wants to be left alone, whenever it answers 418 or 429."""
    passed_on = exchange.on_rest_response

    def on_rest_response(code: int, reason: str, url: str, method: str, headers: Any, *rest: Any) -> Any:
        if code in (418, 429):
            said = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
            pause(float(said) if said.isdigit() else 0.0)
        return passed_on(code, reason, url, method, headers, *rest)

    exchange.on_rest_response = on_rest_response
