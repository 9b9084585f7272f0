"""Downloads from Bybit and Kraken, whose pages differ, and of a perpetual of Binance with its funding.

Bybit and Kraken are those of the live feed's tests. Binance USD-M: developers.binance.com, Derivatives, USDⓈ-M Futures,
"Exchange Information", "Kline/Candlestick Data" and "Get Funding Rate History" (2025).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from tests.contract.feeds.test_other_venues import Bybit, Kraken, Venue, truth
from trimtab.data.download import Span, download, find
from trimtab.data.paging import Pager, Patience
from trimtab.data.sources.ccxt import CcxtSource
from trimtab.data.store import Store, find_instrument, read_bars
from trimtab.types import DAY, HOUR, MINUTE, TrimtabError

START = 20_000 * DAY
MS = 1_000_000


@contextlib.asynccontextmanager
async def serving(venue: Any) -> AsyncIterator[Any]:
    app = web.Application()
    for path, serve in venue.routes().items():
        app.router.add_get(path, serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address: Any = runner.addresses[0]
    venue.url = f"{address[0]}:{address[1]}"
    try:
        yield venue
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("kind", "symbol", "first"), [(Bybit, "BTC/USDT", 0), (Kraken, "BTC/USD", 281)])
def test_other_venues(
    kind: type[Venue], symbol: str, first: int, tmp_path: Path, thread: Any, driven: Any, patience: Patience
) -> None:
    """Bybit gives the newest first; Kraken has the last 720 bars only, whatever it is asked for."""
    venue = thread.serve(serving(kind(driven(START + 1_000 * MINUTE + MINUTE // 2))))
    source = CcxtSource(kind.venue, venue.configure)
    pager = Pager(Store(tmp_path), source, patience, clock=lambda: venue.time.at)
    download(pager, find(pager, symbol), "1m", Span(START))
    frame = read_bars(pager.store, find_instrument(pager.store, symbol.replace("/", "")), "1m")
    opens = frame["open_time"].dt.timestamp("ns").to_numpy()
    assert opens.tolist() == [START + row * MINUTE for row in range(first, 1_000)]
    wanted = np.array([truth(row) for row in range(first, 1_000)])
    assert np.array_equal(frame.drop("open_time").to_numpy(), wanted)


class Futures:
    """Binance's USD-M interface with one perpetual: hourly bars, and funding every eight hours, some ms late."""

    def __init__(self, clock: Any) -> None:
        self.time, self.url = clock, ""
        self.broken = [
            '[{"symbol":"BTCUSDT","fundi',
            "<html>soon</html>",
            '[{"symbol":"BTCUSDT","fundingTime":1728000000003}]',
        ]

    def routes(self) -> dict[str, Any]:
        return {
            "/api/v3/exchangeInfo": self.nothing, "/fapi/v1/exchangeInfo": self.info, "/api/v3/time": self.server_time,
            "/fapi/v1/klines": self.klines, "/fapi/v1/fundingRate": self.funding,
        }  # fmt: skip

    async def nothing(self, request: web.Request) -> web.Response:
        return web.json_response({"timezone": "UTC", "serverTime": self.time.at // MS, "symbols": []})

    async def server_time(self, request: web.Request) -> web.Response:
        return web.json_response({"serverTime": self.time.at // MS})

    async def info(self, request: web.Request) -> web.Response:
        filters = [
            {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "1000000", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
        ]
        perpetual = {
            "symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
            "onboardDate": 1569398400000, "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
            "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3, "filters": filters,
        }  # fmt: skip
        return web.json_response({"timezone": "UTC", "symbols": [perpetual]})

    async def klines(self, request: web.Request) -> web.Response:
        query = request.query
        first = -(-(int(query["startTime"]) * MS - START) // HOUR)
        latest = (self.time.at - START) // HOUR
        rows = range(max(first, 0), min(first + int(query["limit"]), latest + 1))
        told = []
        for row in rows:
            opened = (START + row * HOUR) // MS
            o, h, l, c, v = (f"{n:.2f}" for n in truth(row))  # noqa: E741
            told.append([opened, o, h, l, c, v, opened + 3_599_999, "0", 9, "0", "0", "0"])
        return web.json_response(told)

    async def funding(self, request: web.Request) -> web.Response:
        if self.broken:
            return web.Response(text=self.broken.pop(), content_type="application/json")
        start, most = int(request.query["startTime"]) * MS, int(request.query["limit"])
        stamps = [at for n in range(200) if start <= (at := START + n * 8 * HOUR + 3 * MS) <= self.time.at][:most]
        return web.json_response([
            {"symbol": "BTCUSDT", "fundingTime": at // MS, "fundingRate": f"{rate(at):.8f}", "markPrice": "100.0"}
            for at in stamps
        ])  # fmt: skip

    def configure(self, exchange: Any) -> None:
        exchange.enableRateLimit = False
        api = exchange.urls["api"]
        api.pop("ws", None)
        for name, url in api.items():
            api[name] = f"http://{self.url}/" + url.split("://", 1)[1].split("/", 1)[1]


def rate(at: int) -> float:
    return ((at - START) // (8 * HOUR) % 7 - 3) / 10_000


def test_a_perpetual_with_its_funding(tmp_path: Path, thread: Any, driven: Any, patience: Patience) -> None:
    venue = thread.serve(serving(Futures(driven(START + 1_200 * HOUR + MINUTE))))
    pager = Pager(Store(tmp_path), CcxtSource("binance", venue.configure), patience, clock=lambda: venue.time.at)
    download(pager, find(pager, "BTC/USDT:USDT"), "1h", Span(START))
    assert venue.broken == []
    instrument = find_instrument(pager.store, "BTCUSDT-PERP")
    assert (instrument.kind, instrument.base, instrument.quote, instrument.shortable) == (
        "perpetual", "BTC", "USDT", True,
    )  # fmt: skip
    assert (instrument.tick_size, instrument.lot_size, instrument.min_notional, instrument.multiplier) == (
        0.1, 0.001, 100.0, 1.0,
    )  # fmt: skip
    frame = read_bars(pager.store, instrument, "1h")
    assert len(frame) == 1_200
    for row, funding in enumerate(frame["funding"].to_list()):
        close = START + (row + 1) * HOUR
        assert funding == (rate(close) if (row + 1) % 8 == 0 else None), row


def test_what_cannot_be_held(tmp_path: Path, thread: Any, driven: Any, patience: Patience) -> None:
    venue = thread.serve(serving(Futures(driven(START + 10 * HOUR))))
    pager = Pager(Store(tmp_path), CcxtSource("binance", venue.configure), patience, clock=lambda: venue.time.at)
    with pytest.raises(TrimtabError, match="no swap market BTC/USD:USD"):
        find(pager, "BTC/USD:USD")
    with pytest.raises(TrimtabError, match=r"ccxt knows no venue 'binanse' \(did you mean 'binance'"):
        CcxtSource("binanse")
