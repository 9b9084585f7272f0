"""US equities out of Alpaca's market data: raw bars of all exchanges, splits and dividends. Needs keys.

Keys come from the environment (APCA_API_KEY_ID, APCA_API_SECRET_KEY) and go nowhere but into the headers of requests
to Alpaca, which are never redirected, logged or kept.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trimtab.data.catalogue import default_instrument
from trimtab.data.events import no_events
from trimtab.data.sources import Answer, Listing, Refused, Request, TryAgain, Whole
from trimtab.data.sources.frames import bars_of, rows_of
from trimtab.data.sources.http import get
from trimtab.schedule.sessions import local_times
from trimtab.types import DAY, HOUR, SECOND, TrimtabError

if TYPE_CHECKING:
    import polars as pl

_URL: Final = "https://data.alpaca.markets"
_KEYS: Final = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
#: Its hours begin before the open, so 1h and 4h are made of 30m, from the session's open on.
_INTERVALS: Final = {"1m": "1Min", "5m": "5Min", "15m": "15Min", "30m": "30Min", "1d": "1Day"}
#: ns per request: at most 16 hours a day are traded, and a page holds 10,000 bars.
_WINDOWS: Final = {"1m": 7 * DAY, "5m": 35 * DAY, "15m": 105 * DAY, "30m": 210 * DAY, "1d": 3_650 * DAY}
_PAGE: Final = 10_000
_CASH: Final = "cash_dividends"
_SPLITS: Final = ("forward_splits", "reverse_splits")


class AlpacaSource:
    """Alpaca's data, version 2.

    url  where it is
    """

    name = "alpaca"
    timeframes: tuple[str, ...] = tuple(_INTERVALS)
    leaps = False
    delay = 16 * 60 * SECOND  # what a free plan may not see yet
    pace = 0.3  # 200 requests a minute

    def __init__(self, url: str = _URL) -> None:
        self.url = url

    @cached_property
    def _session(self) -> Any:
        missing = [name for name in _KEYS if not os.environ.get(name)]
        if missing:
            raise Refused(
                f"alpaca needs keys: put them into the environment as {' and '.join(_KEYS)} ({missing[0]} is not "
                "set), or take --source yfinance, which needs none"
            )
        try:
            import requests
        except ImportError:
            raise TrimtabError("the source alpaca is not installed: pip install 'trimtab[download]'") from None
        session = requests.Session()
        session.trust_env = False  # no .netrc
        key, secret = (os.environ[name] for name in _KEYS)
        session.headers.update({"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret})
        return session

    def request_for(self, symbol: str) -> None:
        return None

    def listing(self, symbol: str, body: bytes) -> Listing:
        market = symbol.upper()
        if not re.fullmatch(r"[A-Z]{1,6}(\.[A-Z]{1,3})?", market):
            raise Refused(f"alpaca: {symbol!r} is no symbol of a US stock, such as SPY or BRK.B")
        return Listing(market, market, default_instrument(market, "equity", "alpaca"))

    def beside(self, listing: Listing) -> tuple[str, ...]:
        return ("actions",)

    def window(self, what: str, timeframe: str) -> int:
        return _WINDOWS["1d" if what == "actions" else timeframe]

    def ask(self, request: Request) -> Answer:
        refused = {
            401: "alpaca does not know these keys (HTTP 401): look at APCA_API_KEY_ID and APCA_API_SECRET_KEY",
            403: "alpaca's plan of these keys does not allow this (HTTP 403): look at the plan and the keys, or take "
            "--source yfinance",
        }
        if request.what == "actions":
            kinds = {"symbols": request.market, "types": "forward_split,reverse_split,cash_dividend", "limit": "1000"}
            days = {"start": _text(request.start)[:10], "end": _text(request.end - DAY)[:10], "sort": "asc"}
            return get(self._session, f"{self.url}/v1/corporate-actions", kinds | days, self.name, refused)
        # Its days begin at 00:00 in New York, its end is inclusive, and a free plan may not ask for the last minutes.
        last = request.end - SECOND + (5 * HOUR if request.timeframe == "1d" else 0)
        params = {
            "timeframe": _INTERVALS[request.timeframe],
            "start": _text(request.start),
            "end": _text(min(last, time.time_ns() - self.delay)),
            "limit": str(_PAGE),
            "adjustment": "raw",
            "feed": "sip",
            "sort": "asc",
        }
        return get(self._session, f"{self.url}/v2/stocks/{request.market}/bars", params, self.name, refused)

    def read(self, request: Request, body: bytes) -> pl.DataFrame:
        told = json.loads(body)
        if request.what == "actions":
            return _events(told["corporate_actions"])
        if told["symbol"] != request.market:
            raise TryAgain(f"alpaca gave bars of {told['symbol']} where {request.market} was asked for")
        rows: list[Any] = told["bars"] or []
        times = np.array([_instant(bar["t"]) for bar in rows], dtype=np.int64)
        if request.timeframe == "1d":
            times = local_times(times, "America/New_York") // DAY * DAY
        numbers = [[bar[name] for name in "ohlcv"] for bar in rows]
        return bars_of(self.name, [(t, *n) for t, n in zip((times // 1_000).tolist(), numbers, strict=True)])

    def whole(self, bars: pl.DataFrame, beside: Mapping[str, pl.DataFrame], timeframe: str) -> Whole:
        import polars as pl

        actions = beside.get("actions")
        if actions is None:
            return Whole(bars, no_events())
        # Several dividends of one day are one; a split comes once, however many pages have it.
        newest = actions.sort("asked_at").unique(["ts", "kind"], keep="last").sort("ts", "kind")
        kinds = pl.when(pl.col("kind") == 0.0).then(pl.lit("split")).otherwise(pl.lit("dividend"))
        return Whole(bars, newest.select("ts", kinds.alias("kind"), "value"))


def _events(told: Any) -> pl.DataFrame:
    """ts (00:00 UTC of the ex-date), kind (0 split, 1 dividend) and value."""
    found: dict[tuple[int, float], float] = {}
    for name in _SPLITS:
        for event in told.get(name) or ():
            found[_date(event["ex_date"]), 0.0] = event["new_rate"] / event["old_rate"]
    for event in told.get(_CASH) or ():
        key = _date(event["ex_date"]), 1.0
        found[key] = found.get(key, 0.0) + event["rate"]
    return rows_of("alpaca", "ts", [(at, kind, value) for (at, kind), value in found.items()], ("kind", "value"))


def _date(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000


def _instant(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * SECOND


def _text(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns // SECOND, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
