"""ccxt's streams at arm's length: every message is read by us before ccxt reads it.

ccxt 4.5.90's own loop over a stream ends unseen at the first message that it cannot read, loses a bar's closed flag,
and gives an awaiter only what came last. So every message is looked at first: what a venue says of closed bars is taken
from there, and a message that cannot be read is counted and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from trimtab.exchanges import class_of, refuse_open_addresses


def maker_of(venue: str) -> Callable[[Any], Any]:
    """ccxt's class of a venue, with streams where ccxt has them. The first call loads ccxt, which takes seconds.

    TrimtabError: ccxt is not installed, or knows no such venue.
    """
    return class_of(venue, "ccxt.pro", "ccxt.async_support", extra="live")


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
    o, h, l, c, v = (float(told[name]) for name in names)  # noqa: E741  # the field's own letters
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
