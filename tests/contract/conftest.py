"""Binance's public interface on loopback, with a clock that the test drives and faults that it orders.

Payloads and rules are those of the Binance Spot API documentation: web-socket-streams.md (2023-12-04) for SUBSCRIBE,
klines and ping frames; rest-api.md of the same date for exchangeInfo, time, klines, and 429 and 418 with Retry-After;
the event `serverShutdown` as in the documentation of 2026. Nothing here is what the client under test emits.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from trimtab.feeds.clock import Clock
from trimtab.types import DAY, MINUTE, SECOND

START = 20_000 * DAY  # ns UTC; 2024-10-04
MS = 1_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")


class DrivenClock:
    """Time that stands still until it is moved on; whoever sleeps wakes in the order of the instants."""

    def __init__(self, at: int) -> None:
        self.at = at
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ids = itertools.count()

    def clock(self, ahead: int = 0) -> Clock:
        """What somebody sees of it whose own clock is ahead by so many ns."""
        return Clock(lambda: self.at + ahead, self.sleep)

    def sleep(self, seconds: float) -> asyncio.Future[None]:
        """From the instant of the call, whenever it is awaited."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.at + max(round(seconds * SECOND), 0), next(self._ids), future))
        self._wake()
        return future

    def move(self, to: int) -> None:
        assert to >= self.at
        self.at = to
        self._wake()

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self.at:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)


def truth(symbol: str, row: int) -> tuple[float, float, float, float, float]:
    """Open, high, low, close, volume of the bar that opens `row` minutes after the start."""
    price = 100.0 * (1 + SYMBOLS.index(symbol)) + row * 7 % 31 + 0.25
    return price, price + 2.5, price - 1.5, price + 0.5, 10.0 + row % 5


async def cut_off(request: web.Request, body: str) -> web.Response:
    """The connection is gone, after half of a body if there is one."""
    assert request.transport is not None
    if body:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        request.transport.write(head.encode() + body[: len(body) // 2].encode())  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
    request.transport.close() if body else request.transport.abort()  # type: ignore[attr-defined]
    return web.Response()


class Venue:
    """One server: its clock, its connections, and the faults that are ordered of it.

    mute     the stream says nothing by itself, and goes on answering pings
    refuse   connections to the stream are answered with 503
    answers  (status, headers, body), given to the next requests for klines in place of bars; status 0: the connection
             is cut before an answer, -1: in the middle of it
    newest_first  a question without an end is answered with the newest bars, whatever its start
    edit     what is done to the rows of a page before it is sent
    """

    start = START

    def __init__(self) -> None:
        self.time = DrivenClock(START)
        self.mute = self.refuse = self.combined = False
        self.answers: list[tuple[int, dict[str, str], str]] = []
        self.missing: set[tuple[str, int]] = set()  # bars that it has nowhere
        self.delisted: set[str] = set()
        self.newest_first = False
        self.edit: Callable[[list[Any]], list[Any]] = lambda rows: rows
        self.time_asked: list[int] = []
        self.sockets: dict[web.WebSocketResponse, set[str]] = {}
        self.connected_at: list[int] = []
        self.pings = 0
        self.asked: list[tuple[int, str, int, int]] = []  # at, symbol, first row, limit
        self.page = 1_000
        self.url = ""
        self.changed = asyncio.Event()

    @staticmethod
    def truth(symbol: str, row: int) -> tuple[float, float, float, float, float]:
        return truth(symbol, row)

    # What it serves ----------------------------------------------------------------------------------------------

    def numbers(self, symbol: str, row: int) -> list[float]:
        """The bar as it is now: whole once it has closed."""
        o, h, l, c, v = truth(symbol, row)  # noqa: E741
        share = min(1.0, (self.time.at - START - row * MINUTE) / MINUTE)
        return [o, h, l, c, v] if share >= 1.0 else [o, o, o, o, v * share]

    async def klines(self, request: web.Request) -> web.Response:
        query = request.query
        symbol, limit = query["symbol"], min(int(query.get("limit", 500)), self.page)
        latest = (self.time.at - START) // MINUTE
        first = max(latest - limit + 1, -500)
        if "startTime" in query and ("endTime" in query or not self.newest_first):
            first = -(-(int(query["startTime"]) * MS - START) // MINUTE)
        if "endTime" in query:
            latest = min(latest, (int(query["endTime"]) * MS - START) // MINUTE)
        self.asked.append((self.time.at, symbol, first, limit))
        self.changed.set()
        if self.answers:
            status, headers, body = self.answers.pop(0)
            if status <= 0:
                return await cut_off(request, body if status else "")
            return web.Response(status=status, headers=headers, text=body, content_type="application/json")
        if symbol in self.delisted:
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        found = [row for row in range(first, latest + 1) if (symbol, row) not in self.missing][:limit]
        return web.json_response(self.edit([self.rest_row(symbol, row) for row in found]))

    def rest_row(self, symbol: str, row: int) -> list[Any]:
        opened = (START + row * MINUTE) // MS
        o, h, l, c, v = (f"{number:.8f}" for number in self.numbers(symbol, row))  # noqa: E741
        return [opened, o, h, l, c, v, opened + 59_999, "0.0", 100, "0.0", "0.0", "0"]

    async def exchange_info(self, request: web.Request) -> web.Response:
        symbols = [
            {
                "symbol": symbol, "status": "TRADING", "baseAsset": symbol[:3], "baseAssetPrecision": 8,
                "quoteAsset": "USDT", "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT", "MARKET"],
                "icebergAllowed": True, "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
                "filters": [
                    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
                    {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
                    {"filterType": "NOTIONAL", "minNotional": "5.0", "applyMinToMarket": True, "avgPriceMins": 5},
                ],
                "permissions": ["SPOT"],
            }
            for symbol in SYMBOLS
        ]  # fmt: skip
        body = {"timezone": "UTC", "serverTime": self.time.at // MS, "rateLimits": [], "exchangeFilters": []}
        return web.json_response({**body, "symbols": symbols})

    async def server_time(self, request: web.Request) -> web.Response:
        self.time_asked.append(self.time.at)
        return web.json_response({"serverTime": self.time.at // MS})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        if self.refuse:
            self.connected_at.append(self.time.at)
            self.changed.set()
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.connected_at.append(self.time.at)
        try:
            async for message in socket:
                if message.type == WSMsgType.PING:
                    self.pings += 1
                    self.changed.set()
                    await socket.pong(message.data)
                elif message.type == WSMsgType.TEXT:
                    order = json.loads(message.data)
                    assert order["method"] == "SUBSCRIBE", order
                    await socket.send_json({"result": None, "id": order["id"]})
                    self.sockets.setdefault(socket, set()).update(order["params"])
                    self.changed.set()
        finally:
            self.sockets.pop(socket, None)
            self.changed.set()
        return socket

    # What a test orders ------------------------------------------------------------------------------------------

    async def until(self, what: Any) -> None:
        """Wait until something holds here: a request has come, a connection is there or gone."""
        async with asyncio.timeout(10):
            while not what():
                self.changed.clear()
                await self.changed.wait()

    async def subscribed(self, sockets: int = 1) -> None:
        await self.until(lambda: len(self.sockets) == sockets)

    def kline(self, symbol: str, row: int, *, closed: bool, **other: Any) -> dict[str, Any]:
        opened = (START + row * MINUTE) // MS
        o, h, l, c, v = (f"{number:.8f}" for number in (truth if closed else self.numbers)(symbol, row))  # noqa: E741
        k = {
            "t": opened, "T": opened + 59_999, "s": symbol, "i": "1m", "f": 100, "L": 200, "o": o, "c": c, "h": h,
            "l": l, "v": v, "n": 100, "x": closed, "q": "1.0000", "V": "500", "Q": "0.500", "B": "123456",
        }  # fmt: skip
        return {"e": "kline", "E": self.time.at // MS, "s": symbol, "k": {**k, **other}}

    async def say(self, *messages: Any) -> None:
        """To every connection, each message as it is: a text, or what JSON writes."""
        for socket in list(self.sockets):
            for message in messages:
                whole = message
                if self.combined and not isinstance(message, str):
                    whole = {"stream": f"{message['s'].lower()}@kline_1m", "data": message}
                with contextlib.suppress(ConnectionError):
                    await socket.send_str(whole if isinstance(whole, str) else json.dumps(whole))

    async def close_row(self, row: int, *symbols: str) -> None:
        """Time goes on to the close of a row, and the stream says what it has to say of it."""
        close = START + (row + 1) * MINUTE
        self.time.move(max(close - 2 * SECOND, self.time.at))
        if not self.mute:
            await self.say(*(self.kline(symbol, row, closed=False) for symbol in symbols or SYMBOLS[:2]))
        self.time.move(max(close + SECOND // 10, self.time.at))
        if not self.mute:
            await self.say(*(self.kline(symbol, row, closed=True) for symbol in symbols or SYMBOLS[:2]))

    async def drop(self) -> None:
        """Every connection is gone, without a word."""
        for socket in list(self.sockets):
            assert socket._req is not None
            assert socket._req.transport is not None
            socket._req.transport.abort()
        await self.subscribed(0)

    async def shut_down(self) -> None:
        await self.say({"e": "serverShutdown", "E": self.time.at // MS})

    # How a client comes here ---------------------------------------------------------------------------------------

    def configure(self, exchange: Any) -> None:
        """Point ccxt's Binance here: every address keeps its path."""
        exchange.enableRateLimit = False
        exchange.timeout_on_exit = 0
        api = exchange.urls["api"]
        for name, url in api.items():
            if isinstance(url, str):
                api[name] = f"http://{self.url}/" + url.split("://", 1)[1].split("/", 1)[1]
        if "ws" in api:
            api["ws"]["spot"] = api["ws"]["margin"] = f"ws://{self.url}/stream/ws"  # ccxt knows spot by "/stream"


@contextlib.asynccontextmanager
async def open_venue() -> AsyncIterator[Venue]:
    venue = Venue()
    app = web.Application()
    app.router.add_get("/api/v3/exchangeInfo", venue.exchange_info)
    app.router.add_get("/api/v3/time", venue.server_time)
    app.router.add_get("/api/v3/klines", venue.klines)
    app.router.add_get("/stream/{rest:.*}", venue.stream)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address: Any = runner.addresses[0]
    venue.url = f"{address[0]}:{address[1]}"
    try:
        yield venue
    finally:
        for socket in list(venue.sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)
        await runner.cleanup()


@pytest.fixture
def binance() -> Any:
    """`async with binance() as venue:` a Binance on loopback."""
    return open_venue


@pytest.fixture
def driven() -> type[DrivenClock]:
    return DrivenClock
