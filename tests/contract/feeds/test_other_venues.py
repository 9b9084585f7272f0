"""The live feed against venues that speak otherwise: Bybit says when a bar has closed, and Kraken does not.

Payloads are those of Bybit's v5 API documentation (market/instrument, market/time, market/kline,
websocket/public/kline) and of Kraken's (REST Assets, AssetPairs, Time, OHLC; WebSocket v2 ohlc), as of 2026.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import Any

import numpy as np
import pytest
from aiohttp import WSMsgType, web

from trimtab.feeds import GridRow
from trimtab.feeds.assemble import Patience
from trimtab.feeds.ccxt import CcxtFeed, Settings
from trimtab.types import DAY, MINUTE, SECOND, Instrument

START = 20_000 * DAY
MS = 1_000_000


def truth(row: int) -> tuple[float, float, float, float, float]:
    price = 100.0 + row % 17
    return price, price + 2, price - 1, price + 1, 5.0 + row % 7


class Venue:
    """What both have in common: a clock, bars that form and close, and whoever has subscribed."""

    venue, symbol = "", ""

    def __init__(self, clock: Any) -> None:
        self.time = clock
        self.sockets: list[web.WebSocketResponse] = []
        self.subscribed = asyncio.Event()
        self.url = ""

    def numbers(self, row: int) -> tuple[float, ...]:
        whole = self.time.at >= START + (row + 1) * MINUTE
        return truth(row) if whole else (*[truth(row)[0]] * 4, 1.0)

    @property
    def latest(self) -> int:
        return (self.time.at - START) // MINUTE

    def routes(self) -> dict[str, Any]:
        raise NotImplementedError

    def acknowledge(self, order: Any) -> Any:
        raise NotImplementedError

    def message(self, row: int, *, whole: bool, closed: bool) -> Any:
        raise NotImplementedError

    def configure(self, exchange: Any) -> None:
        raise NotImplementedError

    async def stream(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert message.type == WSMsgType.TEXT
            await socket.send_json(self.acknowledge(json.loads(message.data)))
            self.sockets.append(socket)
            self.subscribed.set()
        return socket

    async def say(self, message: Any) -> None:
        for socket in self.sockets:
            await socket.send_str(message if isinstance(message, str) else json.dumps(message))


class Bybit(Venue):
    venue, symbol = "bybit", "BTCUSDT"

    def answer(self, result: Any) -> web.Response:
        whole = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": self.time.at // MS}
        return web.json_response(whole)

    async def instruments(self, request: web.Request) -> web.Response:
        spot = {
            "symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "innovation": "0", "status": "Trading",
            "marginTrading": "both", "priceFilter": {"tickSize": "0.01"},
            "lotSizeFilter": {
                "basePrecision": "0.000001", "quotePrecision": "0.00000001", "minOrderQty": "0.000048",
                "maxOrderQty": "71.73956243", "minOrderAmt": "1", "maxOrderAmt": "2000000",
            },
        }  # fmt: skip
        category = request.query["category"]
        return self.answer({"category": category, "list": [spot] if category == "spot" else [], "nextPageCursor": ""})

    async def server_time(self, request: web.Request) -> web.Response:
        return self.answer({"timeSecond": str(self.time.at // SECOND), "timeNano": str(self.time.at)})

    async def klines(self, request: web.Request) -> web.Response:
        count = int(request.query["limit"])
        first = self.latest - count + 1
        if "start" in request.query:
            first = -(-(int(request.query["start"]) * MS - START) // MINUTE)
        rows = range(first, min(first + count, self.latest + 1))
        listed = [[str((START + row * MINUTE) // MS), *map(str, self.numbers(row)), "0"] for row in rows]
        return self.answer({"symbol": "BTCUSDT", "category": "spot", "list": listed[::-1]})  # the newest first

    def routes(self) -> dict[str, Any]:
        market = {"instruments-info": self.instruments, "time": self.server_time, "kline": self.klines}
        return {**{f"/v5/market/{name}": serve for name, serve in market.items()}, "/v5/public/spot": self.stream}

    def acknowledge(self, order: Any) -> Any:
        assert (order["op"], order["args"]) == ("subscribe", ["kline.1.BTCUSDT"])
        return {"success": True, "ret_msg": "", "conn_id": "2324d924", "req_id": order["req_id"], "op": "subscribe"}

    def message(self, row: int, *, whole: bool, closed: bool) -> Any:
        o, h, l, c, v = map(str, truth(row) if whole else (*[truth(row)[0]] * 4, 1.0))  # noqa: E741
        start = (START + row * MINUTE) // MS
        data = {
            "start": start, "end": start + 59_999, "interval": "1", "open": o, "close": c, "high": h, "low": l,
            "volume": v, "turnover": "1", "confirm": closed, "timestamp": self.time.at // MS,
        }  # fmt: skip
        return {"topic": "kline.1.BTCUSDT", "data": [data], "ts": self.time.at // MS, "type": "snapshot"}

    def configure(self, exchange: Any) -> None:
        exchange.enableRateLimit, exchange.timeout_on_exit = False, 0
        api = exchange.urls["api"]
        api.update({name: f"http://{self.url}" for name, url in api.items() if isinstance(url, str)})
        kinds = ("spot", "linear", "inverse", "option")
        api.setdefault("ws", {})["public"] = {kind: f"ws://{self.url}/v5/public/{kind}" for kind in kinds}


class Kraken(Venue):
    venue, symbol = "kraken", "BTC/USD"

    def answer(self, result: Any) -> web.Response:
        return web.json_response({"error": [], "result": result})

    async def assets(self, request: web.Request) -> web.Response:
        coin = {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5, "status": "enabled"}
        cash = {"aclass": "currency", "altname": "USD", "decimals": 4, "display_decimals": 2, "status": "enabled"}
        return self.answer({"XXBT": coin, "ZUSD": cash})

    async def pairs(self, request: web.Request) -> web.Response:
        pair = {
            "altname": "XBTUSD", "wsname": "XBT/USD", "aclass_base": "currency", "base": "XXBT",
            "aclass_quote": "currency", "quote": "ZUSD", "lot": "unit", "cost_decimals": 5, "pair_decimals": 1,
            "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [2], "leverage_sell": [2], "fees": [[0, 0.26]],
            "fees_maker": [[0, 0.16]], "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40,
            "ordermin": "0.0001", "costmin": "0.5", "tick_size": "0.1", "status": "online",
        }  # fmt: skip
        return self.answer({"XXBTZUSD": pair})

    async def server_time(self, request: web.Request) -> web.Response:
        return self.answer({"unixtime": self.time.at // SECOND, "rfc1123": ""})

    async def ohlc(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", 0)) * SECOND
        rows = [row for row in range(self.latest - 719, self.latest + 1) if START + row * MINUTE > since]
        bars = [[(START + row * MINUTE) // SECOND, *self.quoted(row), 3] for row in rows]
        return self.answer({"XXBTZUSD": bars, "last": 0})

    def quoted(self, row: int) -> list[str]:
        o, h, l, c, v = map(str, self.numbers(row))  # noqa: E741
        return [o, h, l, c, "0.0", v]  # the average price stands before the volume

    def routes(self) -> dict[str, Any]:
        public = {"Assets": self.assets, "AssetPairs": self.pairs, "Time": self.server_time, "OHLC": self.ohlc}
        return {**{f"/0/public/{name}": serve for name, serve in public.items()}, "/kws/v2": self.stream}

    def acknowledge(self, order: Any) -> Any:
        assert order["params"] == {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 1}
        result = {"channel": "ohlc", "symbol": "BTC/USD", "snapshot": True, "warnings": []}
        return {"method": "subscribe", "result": result, "success": True, "req_id": order["req_id"]}

    def message(self, row: int, *, whole: bool, closed: bool) -> Any:
        o, h, l, c, v = truth(row) if whole else (*[truth(row)[0]] * 4, 1.0)  # noqa: E741
        data = {
            "symbol": "BTC/USD", "open": o, "high": h, "low": l, "close": c, "trades": 3, "volume": v, "vwap": o,
            "interval_begin": self.written(START + row * MINUTE), "interval": 1,
            "timestamp": self.written(START + (row + 1) * MINUTE),
        }  # fmt: skip
        return {"channel": "ohlc", "type": "update", "timestamp": self.written(self.time.at), "data": [data]}

    @staticmethod
    def written(ts: int) -> str:
        return f"{dt.datetime.fromtimestamp(ts / SECOND, dt.UTC):%Y-%m-%dT%H:%M:%S}.000000000Z"

    def configure(self, exchange: Any) -> None:
        exchange.enableRateLimit, exchange.timeout_on_exit = False, 0
        exchange.urls["api"].update(public=f"http://{self.url}", private=f"http://{self.url}")
        exchange.urls["api"].setdefault("ws", {})["publicV2"] = f"ws://{self.url}/kws/v2"


@pytest.mark.parametrize("kind", [Bybit, Kraken])
def test_rows_are_the_truths(kind: type[Venue], driven: Any) -> None:
    """From history into live bars, with a message in between that nobody can read, and an end that was not told."""

    async def play() -> list[Any]:
        venue = kind(driven(START + 5 * SECOND))
        app = web.Application()
        for path, serve in venue.routes().items():
            app.router.add_get(path, serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        venue.url = "{}:{}".format(*runner.addresses[0][:2])
        settings = Settings(history=3, patience=Patience(2 * SECOND, 10 * SECOND), silence=86_400.0)
        feed = CcxtFeed(
            kind.venue, [Instrument(symbol=kind.symbol)], "1m", settings=settings, clock=venue.time.clock(),
            configure=venue.configure,
        )  # fmt: skip
        given: list[Any] = []
        came = asyncio.Event()

        async def follow() -> None:
            async for event in feed.rows(0):
                given.append(event)
                came.set()

        async def given_to(row: int) -> None:
            async with asyncio.timeout(10):
                while not any(isinstance(e, GridRow) and e.ts == START + (row + 1) * MINUTE for e in given):
                    came.clear()
                    await came.wait()

        task = asyncio.create_task(follow())
        async with asyncio.timeout(10):
            await venue.subscribed.wait()
        for row in range(3):
            venue.time.move(START + row * MINUTE + 50 * SECOND)
            await venue.say(venue.message(row, whole=False, closed=False))
            await venue.say('{"cut off')
            await venue.say(venue.message(row, whole=True, closed=False))
            venue.time.move(START + (row + 1) * MINUTE + SECOND // 10)
            await venue.say(venue.message(row, whole=True, closed=True))
            await venue.say(venue.message(row + 1, whole=False, closed=False))
            await given_to(row)
        venue.time.move(START + 4 * MINUTE + 2 * SECOND)  # row 3 closes without a word
        await given_to(3)
        assert feed.counts["unreadable"] == 3
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()
        return [event for event in given if isinstance(event, GridRow)]

    rows = asyncio.run(play())
    assert [(row.ts - START) // MINUTE - 1 for row in rows] == list(range(-3, 4))
    assert np.array([row.bars[0, :5] for row in rows]).tolist() == [list(truth(row)) for row in range(-3, 4)]
